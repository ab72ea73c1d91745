//! The bound side of a tenant's connection: its submissions in batches, the answers to them, and its acknowledgements.
//! It has no socket; what it has for the commit loop is taken from `commands`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use codecs::instant::Mono;
use codecs::smpp::multi::{Destination, SubmitMulti};
use codecs::smpp::pdu::{DataSm, Sm, SmeAddress};
use codecs::smpp::session::{INTERFACE_VERSION, Session};
use codecs::smpp::tlv::tag;
use codecs::smpp::write;
use codecs::smpp::{BindKind, Command as Pdu, Status};
use engine::IdText;
use engine::command::{
    Acknowledgement, Command, ConnectionId, DELIVERY_WINDOW_MAX, Door, Now, Refusal, Said, Submission,
    Submissions, TenantOperation,
};
use engine::effect::{OperationAnswer, Outcome, SubmitAnswer};

use super::Shared;
use super::multi::Multi;
use super::operations::{self, About};
use super::submit::{Context, Reader};
use crate::admission::Bucket;
use crate::smpp::access::{IdRadix, TenantAccess};
use crate::smpp::refusal;
use crate::smpp::seats::Seat;

/// The engine's bound of a batch.
const BATCH_MESSAGES_MAX: usize = 1_000;
/// A batch of large messages ends before that.
const BATCH_OCTETS_MAX: usize = 1024 * 1024;
/// Destinations of one submit_multi; their count is an octet (SMPP 3.4 §5.2.24 says 254).
const DESTINATIONS_MAX: usize = 255;
/// What a text may become that is sent to many at once.
const MULTI_OCTETS_MAX: usize = 4 * BATCH_OCTETS_MAX;
/// Peers from here on understand a body beside an error (SMPP 5.0 §4.2.1.2).
pub const VERSION_5: u8 = 0x50;
/// No message_id, and additional_status_info_text with its NUL (SMPP 3.4 §5.3.2.11).
const NO_CREDIT_BODY: &[u8] = b"\0\x00\x1d\x00\x0ano credit\0";

/// A message that a tenant submits, in either PDU.
pub enum Request<'a> {
    Submit { sequence: u32, sm: Sm<'a> },
    Data { sequence: u32, data: DataSm<'a> },
}

impl Request<'_> {
    fn head(&self) -> (Pdu, u32) {
        match self {
            Request::Submit { sequence, .. } => (Pdu::SUBMIT_SM, *sequence),
            Request::Data { sequence, .. } => (Pdu::DATA_SM, *sequence),
        }
    }
}

pub struct Tenant {
    /// What the commit loop is to be told, in order.
    pub commands: Vec<Command>,
    shared: Arc<Shared>,
    access: TenantAccess,
    id: ConnectionId,
    bucket: Arc<Bucket>,
    reader: Reader,
    batch: Submissions,
    /// Submissions, answers, and requests without one, since the counters were told.
    submits: u64,
    answered: u64,
    unanswered: u64,
    acknowledgements: Vec<Acknowledgement>,
    /// Sequence numbers of data_sm without an answer: theirs is another response.
    data: HashSet<u32>,
    /// Those of submit_multi, each with what it waits for.
    multis: HashMap<u32, Multi>,
    /// How full the gateway is, as the last answers of the commit loop say.
    congestion: u8,
    /// Where answers are written before they join the output.
    frames: Vec<u8>,
    /// The tenant has one bind less when this is dropped.
    pub seat: Seat,
}

impl Tenant {
    /// Of a session that has just been bound.
    pub fn new(
        shared: &Arc<Shared>,
        id: ConnectionId,
        access: TenantAccess,
        kind: BindKind,
        version: u8,
        seat: Seat,
    ) -> Tenant {
        let bound = Command::TenantBound {
            tenant: access.tenant,
            connection: id,
            receives: kind.receives(),
            // SMPP 3.4 §3.4: a peer of an earlier version must not be sent optional parameters.
            tlvs: version >= INTERFACE_VERSION,
            window: delivery_window(access.window),
        };
        Tenant {
            commands: vec![bound],
            shared: Arc::clone(shared),
            id,
            bucket: shared.admission.bucket(access.tenant),
            reader: Reader::default(),
            batch: empty_batch(access.tenant, id),
            submits: 0,
            answered: 0,
            unanswered: 0,
            acknowledgements: Vec::new(),
            data: HashSet::new(),
            multis: HashMap::new(),
            congestion: 0,
            frames: Vec::new(),
            access,
            seat,
        }
    }

    pub fn id(&self) -> ConnectionId {
        self.id
    }

    pub fn number(&self) -> u32 {
        self.access.tenant
    }

    /// What the log calls it.
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.access.tenant_id)
    }

    /// Puts a message into the batch, or refuses it at once: the order of responses is free in SMPP.
    pub fn submit(&mut self, now: Now, session: &mut Session, request: &Request<'_>) {
        self.submits = self.submits.saturating_add(1);
        // This one is among the unanswered already.
        let is_over_window = session.unanswered() > self.access.window as usize;
        let outcome = if is_over_window || !self.bucket.admit(now.mono, self.access.rate) {
            Err(Refusal::RateLimited)
        } else {
            self.add(now, request)
        };
        if let Err(reason) = outcome {
            let status = self.refuse(reason);
            let (command, sequence) = request.head();
            session.respond(now.mono, command, sequence, status, &[]);
        }
    }

    /// Puts a message for each destination into the batch. What is refused at once is in the answer with what is decided.
    pub fn submit_multi(&mut self, now: Now, session: &mut Session, sequence: u32, multi: &SubmitMulti<'_>) {
        let is_over_window = session.unanswered() > self.access.window as usize;
        // Its submissions must be in one batch, or they would not know of one another. A number that is in use already has
        // its answer to come.
        if self.batch.items.len() > BATCH_MESSAGES_MAX.saturating_sub(DESTINATIONS_MAX) {
            self.end_batch();
        }
        let mut waiting = Multi::default();
        for destination in multi.destinations() {
            self.submits = self.submits.saturating_add(1);
            let outcome = match destination {
                Destination::List(_) => Err(Status::INVDLNAME),
                _ if is_over_window || self.multis.contains_key(&sequence) => Err(Status::THROTTLED),
                Destination::Sme(address) => {
                    self.add_one(now, sequence, multi, address).map_err(|reason| self.refuse(reason))
                }
            };
            match outcome {
                Ok(()) => waiting.waits_for(&destination),
                Err(status) => waiting.refuse(&destination, status),
            }
        }
        if waiting.is_complete() {
            self.frames.clear();
            let congestion = self.congestion_told(session);
            waiting.write(&mut self.frames, sequence, self.access.message_id, congestion);
            return session.respond_frames(now.mono, 1, &self.frames);
        }
        self.multis.insert(sequence, waiting);
        self.end_full_batch();
    }

    fn add_one<'a>(
        &mut self,
        now: Now,
        sequence: u32,
        multi: &SubmitMulti<'a>,
        address: SmeAddress<'a>,
    ) -> Result<(), Refusal> {
        if self.batch.bodies.len() >= MULTI_OCTETS_MAX {
            return Err(Refusal::TooLong);
        }
        if !self.bucket.admit(now.mono, self.access.rate) {
            return Err(Refusal::RateLimited);
        }
        let context = self.context(now);
        let sm = multi.to(address);
        self.reader.submit(&sm, Context { shares_id: true, ..context }, &mut self.batch.bodies)?;
        self.push(now, sequence);
        Ok(())
    }

    /// Counts what the door refuses, and says it in a status.
    fn refuse(&self, reason: Refusal) -> Status {
        self.shared.refusals.add(reason);
        refusal::status(reason, self.shared.options.no_credit_status)
    }

    fn context(&self, now: Now) -> Context {
        let TenantAccess { charset, charset_1, national, .. } = self.access;
        Context { now: now.wall, charset, charset_1, national, shares_id: false }
    }

    /// Hands an operation on, after what was submitted before it; or refuses it at once.
    pub fn operate(&mut self, now: Now, session: &mut Session, sequence: u32, about: &About<'_>) {
        let is_over_window = session.unanswered() > self.access.window as usize;
        let wanted = if is_over_window {
            Err(Status::THROTTLED)
        } else {
            about.wanted(now.wall, self.access.national)
        };
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(status) => return session.respond(now.mono, about.command(), sequence, status, &[]),
        };
        if !self.batch.items.is_empty() {
            self.end_batch();
        }
        let (tenant, connection) = (self.access.tenant, self.id);
        let operation = TenantOperation { tenant, connection, sequence, wanted };
        self.commands.push(Command::Operation(Box::new(operation)));
    }

    /// Answers operations, in one piece.
    pub fn answer_operations(&mut self, now: Mono, session: &mut Session, answers: &[OperationAnswer]) {
        if answers.is_empty() {
            return;
        }
        self.frames.clear();
        let version = session.peer_version().unwrap_or_default();
        let no_credit = self.shared.options.no_credit_status;
        for answer in answers {
            let radix = self.access.message_id;
            operations::write_answer(&mut self.frames, version, radix, no_credit, answer);
        }
        session.respond_frames(now, answers.len(), &self.frames);
    }

    /// An answer to one of our deliver_sm.
    pub fn acknowledge(&mut self, token: u64, status: Status, late: bool) {
        self.answered = self.answered.saturating_add(u64::from(!late));
        let said = if late { Said::Late(status.0) } else { Said::Status(status.0) };
        self.acknowledgements.push(Acknowledgement { token, said });
    }

    /// One was not answered in time.
    pub fn give_back(&mut self, token: u64) {
        self.unanswered = self.unanswered.saturating_add(1);
        self.acknowledgements.push(Acknowledgement { token, said: Said::Nothing });
    }

    /// Makes commands of all that has been gathered.
    pub fn gather(&mut self) {
        if !self.acknowledgements.is_empty() {
            let items = std::mem::take(&mut self.acknowledgements);
            let (tenant, connection) = (self.access.tenant, self.id);
            self.commands.push(Command::Acknowledged { tenant, connection, items });
        }
        if !self.batch.items.is_empty() {
            self.end_batch();
        }
        let counters = &self.shared.counters;
        counters.submits.add(std::mem::take(&mut self.submits));
        counters.odd_tlvs.add(self.reader.take_odd_tlvs());
        counters.deliveries_answered.add(std::mem::take(&mut self.answered));
        counters.deliveries_unanswered.add(std::mem::take(&mut self.unanswered));
    }

    /// Answers what the commit loop has decided, in one piece.
    pub fn answer(&mut self, now: Mono, session: &mut Session, congestion: u8, answers: &[SubmitAnswer]) {
        if answers.is_empty() {
            return;
        }
        self.congestion = congestion;
        self.frames.clear();
        let version = session.peer_version().unwrap_or_default();
        let mut count = 0usize;
        for answer in answers {
            let is_one = self.multis.is_empty() || !self.is_of_multi(answer);
            if is_one {
                self.write_answer(version, answer);
            }
            count = count.saturating_add(usize::from(is_one));
        }
        session.respond_frames(now, count, &self.frames);
        self.answer_multis(now, session);
    }

    /// Whether it is the outcome of one destination of several, which is noted then.
    fn is_of_multi(&mut self, answer: &SubmitAnswer) -> bool {
        let no_credit = self.shared.options.no_credit_status;
        let Some(multi) = self.multis.get_mut(&answer.sequence) else { return false };
        multi.decided(answer.outcome, |reason| refusal::status(reason, no_credit));
        true
    }

    fn answer_multis(&mut self, now: Mono, session: &mut Session) {
        if self.multis.is_empty() {
            return;
        }
        self.frames.clear();
        let congestion = self.congestion_told(session);
        let (frames, radix) = (&mut self.frames, self.access.message_id);
        let before = self.multis.len();
        self.multis.retain(|sequence, multi| {
            if multi.is_complete() {
                multi.write(frames, *sequence, radix, congestion);
            }
            !multi.is_complete()
        });
        session.respond_frames(now, before.saturating_sub(self.multis.len()), &self.frames);
    }

    /// How busy we are, for a peer that may be told.
    fn congestion_told(&self, session: &Session) -> Option<u8> {
        let version = session.peer_version().unwrap_or_default();
        (version >= VERSION_5).then_some(self.congestion)
    }

    fn add(&mut self, now: Now, request: &Request<'_>) -> Result<(), Refusal> {
        let context = self.context(now);
        let bodies = &mut self.batch.bodies;
        match request {
            Request::Submit { sm, .. } => self.reader.submit(sm, context, bodies)?,
            Request::Data { sequence, data } => {
                self.reader.data(data, context, bodies)?;
                self.data.insert(*sequence);
            }
        }
        self.push(now, request.head().1);
        self.end_full_batch();
        Ok(())
    }

    /// The body that was just written is a submission of the batch.
    fn push(&mut self, now: Now, sequence: u32) {
        if self.batch.items.is_empty() {
            self.batch.received = now.mono;
        }
        let end = self.batch.bodies.len();
        // The bound below keeps it far from the end of u32.
        self.batch.items.push(Submission { sequence, end: end as u32, refused: None });
    }

    fn end_full_batch(&mut self) {
        if self.batch.items.len() >= BATCH_MESSAGES_MAX || self.batch.bodies.len() >= BATCH_OCTETS_MAX {
            self.end_batch();
        }
    }

    fn end_batch(&mut self) {
        let mut next = empty_batch(self.access.tenant, self.id);
        next.items.reserve(self.batch.items.len());
        next.bodies.reserve(self.batch.bodies.len());
        let batch = std::mem::replace(&mut self.batch, next);
        self.commands.push(Command::Submit(batch));
    }

    fn write_answer(&mut self, version: u8, answer: &SubmitAnswer) {
        let SubmitAnswer { sequence, outcome } = *answer;
        let is_data = !self.data.is_empty() && self.data.remove(&sequence);
        let response = if is_data { Pdu::DATA_SM_RESP } else { Pdu::SUBMIT_SM_RESP };
        let frames = &mut self.frames;
        match outcome {
            Outcome::Accepted { id, .. } if version >= VERSION_5 => {
                let mut body = IdText::new(id, self.access.message_id).with_nul().to_vec();
                // SMPP 5.0 §4.8.4.18.
                let [tag_high, tag_low] = tag::CONGESTION_STATE.to_be_bytes();
                body.extend_from_slice(&[tag_high, tag_low, 0, 1, self.congestion]);
                write::frame(frames, response, Status::OK, sequence, &body);
            }
            Outcome::Accepted { id, .. } if is_data || self.access.message_id != IdRadix::Dec => {
                let body = IdText::new(id, self.access.message_id);
                write::frame(frames, response, Status::OK, sequence, body.with_nul());
            }
            Outcome::Accepted { id, .. } => write::submit_sm_response(frames, sequence, id),
            Outcome::Refused(reason) => {
                let status = refusal::status(reason, self.shared.options.no_credit_status);
                let explains = reason == Refusal::InsufficientCredit && version >= VERSION_5;
                let body = if explains { NO_CREDIT_BODY } else { &[] };
                write::frame(frames, response, status, sequence, body);
            }
        }
    }
}

/// How many deliver_sm may be unanswered: half as many again as submissions. Each of those has its receipt, which with no more
/// places would wait for longer and longer where both windows are full.
pub fn delivery_window(window: u32) -> u32 {
    window.saturating_add(window / 2).clamp(1, DELIVERY_WINDOW_MAX)
}

fn empty_batch(tenant: u32, id: ConnectionId) -> Submissions {
    Submissions {
        tenant,
        door: Door::Smpp(id),
        received: Mono::default(),
        idempotency: None,
        items: Vec::new(),
        bodies: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_have_half_as_many_places_again_as_submissions() {
        for (window, deliveries) in
            [(0, 1), (1, 1), (2, 3), (10, 15), (100, 150), (1_000, 1_500), (1_001, 1_500), (u32::MAX, 1_500)]
        {
            assert_eq!(delivery_window(window), deliveries, "{window}");
        }
    }
}
