//! `POST /v1/messages`: one message or a batch, checked here, decided by the engine, answered when the journal has it.
//! A batch enters in slices, so that nobody else waits behind the whole of it, and is answered in the order given.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Display;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use codecs::instant::Mono;
use codecs::text::Encoding;
use connectors::intake::Source;
use engine::command::{Command, Door, Refusal, Submission, Submissions};
use engine::effect::{Outcome, Reply};
use engine::quota::UsedUp;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::compose::{Composed, Context, Scratch, compose};
use super::idempotency::{self, RequestKey};
use super::problem::{Problem, RatePolicy, Refused};
use super::request::{self, Message, Sent};
use super::show::Shown;
use super::{ApiState, body};
use crate::directory::TenantAccess;
use crate::tlv_names::TlvNames;

/// Messages that enter the engine at once; it takes no more of one tenant before the next one's turn.
const SLICE_MESSAGES: usize = 1_000;
/// Octets of a usual message's body, to reserve room by.
const BODY_BYTES_USUAL: usize = 256;
/// Octets of a usual message in the answer.
const ANSWER_BYTES_USUAL: usize = 192;

pub async fn create(State(api): State<Arc<ApiState>>, request: Request) -> Result<Response<Body>, Problem> {
    let received = api.clock.mono();
    let (head, body) = request.into_parts();
    let tenant = api.authenticate(&head)?;
    api.health.intake(received).map_err(|refusal| api.refuse(refusal.into()))?;
    body::check_type(&head.headers)?;
    let body = api.collect(tenant.number, body).await?;
    let key = idempotency::read(&head.headers, &body)?;
    let sent = request::read(&body).map_err(|refused| api.refuse(refused))?;
    let call = Call { api: &api, tenant, tlvs: api.directory.tlvs(), received, key };
    match sent {
        Sent::One(message) => call.one(&message).await,
        Sent::Many(items) => call.many(&items).await,
    }
}

/// One request on its way.
struct Call<'a> {
    api: &'a ApiState,
    tenant: Arc<TenantAccess>,
    tlvs: Arc<TlvNames>,
    received: Mono,
    key: Option<RequestKey<'a>>,
}

/// What the engine said to one slice.
struct Answer {
    outcomes: Vec<Outcome>,
    replayed: bool,
    limited: Option<UsedUp>,
}

/// A slice of a batch and what is shown of its messages.
#[derive(Default)]
struct Slice {
    items: Vec<Submission>,
    bodies: Vec<u8>,
    shown: Vec<Result<Composed, Refused>>,
    /// How many of them the tenant's rate was charged with.
    admitted: u32,
    /// From which item on the good ones are over the tenant's rate, where some are.
    over_rate: Option<usize>,
}

impl Call<'_> {
    async fn one(&self, message: &Message<'_>) -> Result<Response<Body>, Problem> {
        let mut bodies = Vec::with_capacity(BODY_BYTES_USUAL);
        let composed = compose(message, self.context(), &mut Scratch::default(), &mut bodies)
            .map_err(|refused| self.api.refuse(refused))?;
        let admitted = self.admitted(1);
        let is_over_rate = admitted == 0;
        if is_over_rate && self.key.is_none() {
            return Err(self.rate_limited());
        }
        let refused = is_over_rate.then_some(Refusal::RateLimited);
        let items = vec![Submission { sequence: 0, end: length(&bodies), refused }];
        let waiting = self.enter((0, 1), items, bodies)?;
        let answer = answered(waiting).await;
        self.settle(admitted, &answer);
        match answer.outcomes.first() {
            Some(Outcome::Refused(Refusal::RateLimited)) if is_over_rate => Err(self.over_rate_problem()),
            Some(Outcome::Accepted { id, price, parts, encoding, scheduled }) => {
                let sent = composed.sent_as(*parts, *encoding);
                let accepted = self.accepted(&composed, sent, *id, price, *scheduled);
                Ok(json(StatusCode::ACCEPTED, written(&accepted), answer.replayed))
            }
            Some(Outcome::Refused(refusal)) => Err(match answer.limited {
                Some(used_up) => used_up.into(),
                // The rate is kept by the door: what the engine refuses so is another bound, that of the idempotency keys.
                None => Problem::from(*refusal),
            }),
            None => unreachable!("the engine answers every submission"),
        }
    }

    async fn many(&self, items: &[&RawValue]) -> Result<Response<Body>, Problem> {
        if items.len() > self.api.limits.batch_messages_max {
            let detail = format!("a batch has at most {} messages", self.api.limits.batch_messages_max);
            return Err(self.api.refuse(Refused::invalid("messages", detail)));
        }
        let mut scratch = Scratch::default();
        let slices = items.len().div_ceil(SLICE_MESSAGES) as u8;
        let mut waiting = Vec::with_capacity(slices.into());
        for (number, items) in (0..slices).zip(items.chunks(SLICE_MESSAGES)) {
            let mut slice = self.compose_all(items, &mut scratch);
            let is_over_rate = self.admit_some(&mut slice) && number == 0;
            if is_over_rate && self.key.is_none() {
                return Err(self.rate_limited());
            }
            let Slice { items, bodies, shown, admitted, over_rate } = slice;
            let entered = self.enter((number, slices), items, bodies);
            let entered = match number {
                0 => self.first(entered?, admitted).await?,
                _ => entered.map_or(Entered::Not, Entered::Waits),
            };
            if is_over_rate && !matches!(&entered, Entered::Answered(answer) if answer.replayed) {
                return Err(self.over_rate_problem());
            }
            waiting.push(OwedSlice { shown, admitted, over_rate, entered });
            // Composing a slice takes a while; others have their turn.
            tokio::task::yield_now().await;
        }
        self.join(waiting).await
    }

    /// With a key, nothing of a batch enters before its first slice has shown that the key is not used for another body:
    /// the later slices' keys could not show it.
    async fn first(&self, waiting: oneshot::Receiver<Reply>, admitted: u32) -> Result<Entered, Problem> {
        if self.key.is_none() {
            return Ok(Entered::Waits(waiting));
        }
        let answer = answered(waiting).await;
        self.check_key(&answer)?;
        // Before the later slices ask for theirs: they may be new.
        self.settle(admitted, &answer);
        Ok(Entered::Answered(answer))
    }

    /// A key that is used otherwise refuses the whole request.
    fn check_key(&self, answer: &Answer) -> Result<(), Problem> {
        match answer.outcomes.first() {
            Some(Outcome::Refused(refusal @ Refusal::IdempotencyMismatch)) => Err(Problem::from(*refusal)),
            _ => Ok(()),
        }
    }

    fn compose_all(&self, items: &[&RawValue], scratch: &mut Scratch) -> Slice {
        let mut slice = Slice::default();
        slice.bodies.reserve(items.len().saturating_mul(BODY_BYTES_USUAL));
        for item in items {
            let composed = request::read_one(item)
                .and_then(|message| compose(&message, self.context(), scratch, &mut slice.bodies));
            let refused = composed.as_ref().err().map(|refused| refused.refusal);
            slice.items.push(Submission { sequence: 0, end: length(&slice.bodies), refused });
            slice.shown.push(composed);
        }
        slice
    }

    /// Refuses message by message what is over the tenant's rate; true when all is that might have entered.
    fn admit_some(&self, slice: &mut Slice) -> bool {
        let wanted = slice.items.iter().filter(|item| item.refused.is_none()).count();
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        slice.admitted = self.admitted(wanted);
        let good = slice.items.iter_mut().enumerate().filter(|(_, item)| item.refused.is_none());
        for (place, item) in good.skip(usize::try_from(slice.admitted).unwrap_or(usize::MAX)) {
            item.refused = Some(Refusal::RateLimited);
            slice.over_rate.get_or_insert(place);
        }
        slice.admitted == 0 && wanted > 0
    }

    /// What was answered before is no message anew. With a key, the engine is asked even over the rate: it knows of what was answered.
    fn settle(&self, admitted: u32, answer: &Answer) {
        if answer.replayed {
            self.api.admission.bucket(self.tenant.number).give_back(self.tenant.rate, admitted);
        }
    }

    /// How many messages of these the tenant's rate allows now.
    fn admitted(&self, wanted: u32) -> u32 {
        match self.tenant.rate {
            0 => wanted,
            rate => self.api.admission.bucket(self.tenant.number).admit_some(self.received, rate, wanted),
        }
    }

    /// Hands a slice to the engine. It is never given up after that: what was accepted is answered as accepted.
    fn enter(
        &self,
        (slice, of): (u8, u8),
        items: Vec<Submission>,
        bodies: Vec<u8>,
    ) -> Result<oneshot::Receiver<Reply>, Problem> {
        let (reply, waiting) = self.api.replies.open();
        let submissions = Submissions {
            tenant: self.tenant.number,
            door: Door::Http(reply),
            received: self.received,
            idempotency: self.key.as_ref().map(|key| key.of_slice(slice, of)),
            items,
            bodies,
        };
        // A lane of its own: a request has at most ten slices, and a connection one request at a time.
        let lane = self.api.intake.lane(Source::Tenant(self.tenant.number));
        let taken = lane.try_offer(Command::Submit(submissions));
        taken.map(|()| waiting).map_err(|_| self.api.refuse(Refusal::Unavailable.into()))
    }

    async fn join(&self, slices: Vec<OwedSlice>) -> Result<Response<Body>, Problem> {
        let messages = slices.len().saturating_mul(SLICE_MESSAGES);
        let mut data = Vec::with_capacity(messages.saturating_mul(ANSWER_BYTES_USUAL));
        let (mut accepted, mut refused, mut replayed) = (0u32, 0u32, true);
        for OwedSlice { shown, admitted, over_rate, entered } in slices {
            let answer = match entered {
                Entered::Answered(answer) => answer,
                Entered::Waits(waiting) => {
                    let answer = answered(waiting).await;
                    self.settle(admitted, &answer);
                    answer
                }
                Entered::Not => Answer::unavailable(shown.len()),
            };
            self.check_key(&answer)?;
            replayed &= answer.replayed;
            for (place, (shown, outcome)) in shown.iter().zip(&answer.outcomes).enumerate() {
                // What is answered again was over the rate the first time.
                let is_over_rate =
                    over_rate.is_some_and(|first| place >= first) || answer.replayed && self.tenant.rate > 0;
                let counter = if self.write_entry(shown, outcome, is_over_rate, answer.limited, &mut data) {
                    &mut accepted
                } else {
                    &mut refused
                };
                *counter = counter.saturating_add(1);
            }
        }
        let mut body = Vec::with_capacity(data.len().saturating_add(64));
        body.extend_from_slice(
            format!("{{\"accepted\":{accepted},\"refused\":{refused},\"data\":[").as_bytes(),
        );
        body.extend_from_slice(data.strip_suffix(b",").unwrap_or_default());
        body.extend_from_slice(b"]}");
        Ok(json(StatusCode::ACCEPTED, body, replayed))
    }

    /// Appends one entry of a batch's answer and a comma; tells whether the message was accepted.
    fn write_entry(
        &self,
        shown: &Result<Composed, Refused>,
        outcome: &Outcome,
        is_over_rate: bool,
        limited: Option<UsedUp>,
        data: &mut Vec<u8>,
    ) -> bool {
        let accepted = match (outcome, shown) {
            (Outcome::Accepted { id, price, parts, encoding, scheduled }, Ok(composed)) => {
                let sent = composed.sent_as(*parts, *encoding);
                write(&self.accepted(composed, sent, *id, price, *scheduled), data);
                true
            }
            (Outcome::Refused(refusal), Ok(_)) => {
                let refused = match (*refusal, limited) {
                    (Refusal::RateLimited, Some(used_up)) => used_up.into(),
                    (Refusal::RateLimited, None) if is_over_rate => self.over_rate(),
                    // Without a rate it is another bound, that of the idempotency keys.
                    (refusal, _) => refusal.into(),
                };
                write(&EntryRefused::of(&refused), data);
                false
            }
            // What the door refused the engine has refused too.
            (_, Err(refused)) => {
                write(&EntryRefused::of(refused), data);
                false
            }
        };
        data.push(b',');
        accepted
    }

    fn accepted<'s>(
        &'s self,
        composed: &Composed,
        (parts, encoding): (u8, Encoding),
        id: u64,
        price: &'s impl Display,
        scheduled: bool,
    ) -> Accepted<'s> {
        Accepted {
            id: Shown(id),
            status: if scheduled { "scheduled" } else { "queued" },
            to: Shown(composed.destination),
            parts,
            encoding: encoding.name(),
            price: Shown(price),
            currency: &self.tenant.currency,
        }
    }

    fn context(&self) -> Context<'_> {
        let idempotency_key = self.key.as_ref().map(|key| key.key);
        Context { tenant: &self.tenant, tlvs: &self.tlvs, now: self.api.clock.wall(), idempotency_key }
    }

    fn rate_limited(&self) -> Problem {
        self.api.counts.refused(Refusal::RateLimited);
        self.over_rate_problem()
    }

    /// The same, where the engine has counted it.
    fn over_rate_problem(&self) -> Problem {
        let policy = RatePolicy { messages: self.tenant.rate, seconds: 1 };
        Problem { policy: Some(policy), ..Problem::from(self.over_rate()) }
    }

    /// The refusal of what is over the tenant's rate.
    fn over_rate(&self) -> Refused {
        let detail =
            format!("more than the {} messages a second that this tenant may send", self.tenant.rate);
        Refused { detail: detail.into(), ..Refused::from(Refusal::RateLimited) }
    }
}

impl ApiState {
    /// Counts what is refused before the engine sees it.
    pub(super) fn refuse(&self, refused: Refused) -> Problem {
        self.counts.refused(refused.refusal);
        refused.into()
    }
}

/// A slice that is owed an answer.
struct OwedSlice {
    shown: Vec<Result<Composed, Refused>>,
    /// As in `Slice`, both.
    admitted: u32,
    over_rate: Option<usize>,
    entered: Entered,
}

/// Where a slice stands.
enum Entered {
    Waits(oneshot::Receiver<Reply>),
    Answered(Answer),
    /// The gateway began to stop between two slices.
    Not,
}

impl Answer {
    fn unavailable(messages: usize) -> Answer {
        let outcomes = vec![Outcome::Refused(Refusal::Unavailable); messages];
        Answer { outcomes, replayed: false, limited: None }
    }
}

/// Waits for the engine. When it ends without an answer nobody knows what became of the messages, and no answer is better
/// than one that may be wrong: the connection ends with the process.
async fn answered(waiting: oneshot::Receiver<Reply>) -> Answer {
    match waiting.await {
        Ok(Reply::Submitted { outcomes, replayed, limited }) => Answer { outcomes, replayed, limited },
        Ok(other) => unreachable!("{other:?} answers no submission"),
        Err(_) => std::future::pending().await,
    }
}

#[derive(Serialize)]
struct Accepted<'a> {
    id: Shown<u64>,
    status: &'static str,
    to: Shown<codecs::address::Msisdn>,
    parts: u8,
    encoding: &'static str,
    price: Shown<&'a dyn Display>,
    currency: &'a str,
}

#[derive(Serialize)]
struct EntryRefused<'a> {
    code: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl<'a> EntryRefused<'a> {
    fn of(refused: &'a Refused) -> EntryRefused<'a> {
        EntryRefused {
            code: refused.refusal.code(),
            detail: &refused.detail,
            field: refused.field.as_deref(),
        }
    }
}

fn written(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(ANSWER_BYTES_USUAL);
    write(value, &mut out);
    out
}

fn write(value: &impl Serialize, out: &mut Vec<u8>) {
    // Strings and small numbers always serialize, and memory always takes them.
    let done = serde_json::to_writer(out, value);
    debug_assert!(done.is_ok());
}

fn json(status: StatusCode, body: Vec<u8>, replayed: bool) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if replayed {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response
}

/// The limit of a request's body keeps this far below four gigabytes.
fn length(bodies: &[u8]) -> u32 {
    u32::try_from(bodies.len()).unwrap_or(u32::MAX)
}
