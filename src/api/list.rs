//! Lists of a tenant's messages, and `GET /v1/messages`: a tenant's messages, the newest first and a page at a time, with what may be asked of them. What lives
//! the engine says, the rest is read from the archive; which of the two a message is in nobody sees.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{Response, Uri};
use codecs::address;
use codecs::time::parse_rfc3339;
use engine::command::{Command, Query as Question};
use engine::effect::Reply;
use engine::id::{self, Number};
use engine::listing::Living;
use engine::message::{Message, State as MessageState};
use engine::pages::order_of;
use engine::step::Step;
use engine::submission::{Extra, is_campaign};

use super::problem::{Problem, Refused};
use super::read::ok;
use super::{ApiState, show};
use crate::directory::TenantAccess;
use crate::lists::Asked;

pub const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1_000;
/// Living messages that are asked for at once.
const LIVING_MAX: usize = 100;
/// Looks into memory and archive for one page; beyond, it is shorter than asked for, and `next` goes on.
const ROUNDS_MAX: usize = 16;

pub async fn messages(State(api): State<Arc<ApiState>>, request: Request) -> Result<Response<Body>, Problem> {
    let (head, _) = request.into_parts();
    let tenant = api.authenticate(&head)?;
    let (asked, limit) = asked(&api, &tenant, &head.uri)?;
    let (found, next) = api.page(&tenant, asked, limit).await?;
    Ok(ok(show::page(&found, next, &api, &tenant)))
}

/// A stretch of the list.
struct Round {
    messages: Vec<Message>,
    /// Where the next one begins; none at the end.
    next: Option<u64>,
}

impl ApiState {
    /// A page of what is asked for, and the cursor of the next one.
    pub async fn page(
        &self,
        tenant: &TenantAccess,
        mut asked: Asked,
        limit: usize,
    ) -> Result<(Vec<Message>, Option<String>), Problem> {
        if asked.until != i64::MAX {
            // Else all that has come since would be looked at first.
            asked.at = asked.at.min(self.history.place_before(tenant.number, asked.until).await?);
        }
        let mut found = Vec::new();
        let mut next = None;
        for _ in 0..ROUNDS_MAX {
            let round = match self.round(tenant, &asked).await {
                // What was found is an answer; who goes on behind it learns why that cannot be had.
                Err(_) if !found.is_empty() => break,
                round => round?,
            };
            found.extend(round.messages);
            next = round.next;
            let Some(at) = next.filter(|_| found.len() < limit) else { break };
            asked.at = at;
            asked.most = limit.saturating_sub(found.len());
        }
        let next = next.map(|at| self.ids.id(at).to_string());
        Ok((found, next))
    }

    async fn round(&self, tenant: &TenantAccess, asked: &Asked) -> Result<Round, Problem> {
        let living = self.living(tenant, asked).await?;
        let below = Asked { floor: living.floor, ..asked.clone() };
        let kept = self.history.list(below).await?;
        let living: Vec<Message> = living.messages.into_iter().filter_map(Message::read).collect();
        // The archive may have an older form of what lives again.
        let lives = |message: &Message| living.iter().any(|living| living.number == message.number);
        let mut messages: Vec<Message> =
            kept.messages.into_iter().filter(|message| !lives(message)).collect();
        let is_within = |message: &Message| order_of(message.number) >= kept.floor && asked.is(message);
        messages.extend(living.iter().filter(|message| is_within(message)).cloned());
        messages.sort_by_key(|message| std::cmp::Reverse(order_of(message.number)));
        let is_cut = messages.len() > asked.most;
        messages.truncate(asked.most);
        let floor = match messages.last() {
            Some(last) if is_cut => order_of(last.number),
            _ if kept.is_last => 0,
            _ => kept.floor,
        };
        Ok(Round { messages, next: floor.checked_sub(1) })
    }

    async fn living(&self, tenant: &TenantAccess, asked: &Asked) -> Result<Living, Problem> {
        let Asked { at, inbound, .. } = *asked;
        let query = Question::Living { tenant: tenant.number, at, most: LIVING_MAX, inbound };
        match self.ask(tenant, |reply| Command::Query { reply, query }).await? {
            Reply::Living(living) => Ok(living),
            other => unreachable!("{other:?} answers no question for living messages"),
        }
    }
}

/// What is asked for, and how many at most.
fn asked(api: &Arc<ApiState>, tenant: &TenantAccess, uri: &Uri) -> Result<(Asked, usize), Problem> {
    let parameters = parameters(uri)?;
    let mut at = Number::LAST_ORDER;
    let mut limit = LIMIT;
    let (mut destination, mut since, mut until) = (None, i64::MIN, i64::MAX);
    let mut wanted = Wanted {
        statuses: Vec::new(),
        senders: Vec::new(),
        provider: None,
        campaign: None,
        api: Arc::clone(api),
    };
    for (name, value) in &parameters {
        // A plus of a query is a space.
        let value = value.trim();
        match name.as_str() {
            "status" => wanted.statuses = statuses(value)?,
            "to" => destination = Some(phone("to", value)?),
            "from" => wanted.senders = senders(value)?,
            "provider" => wanted.provider = Some(value.to_owned()),
            "campaign" => wanted.campaign = Some(campaign(value)?),
            "since" => since = time("since", value)?,
            "until" => until = time("until", value)?,
            "limit" => limit = count(value)?,
            "cursor" => at = place(api, value)?,
            _ => {
                return Err(Problem::invalid(
                    "the query may have status, to, from, provider, campaign, since, until, limit and cursor",
                ));
            }
        }
    }
    let matches = Arc::new(move |message: &Message| wanted.is(message));
    let tenant = tenant.number;
    Ok((
        Asked { tenant, inbound: false, at, floor: 0, destination, since, until, most: limit, matches },
        limit,
    ))
}

/// What the query names, each once.
pub fn parameters(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    let Query(parameters) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| Problem::invalid("the query cannot be read"))?;
    let names: BTreeSet<&String> = parameters.iter().map(|(name, _)| name).collect();
    if names.len() < parameters.len() {
        return Err(Problem::invalid("the query names something twice"));
    }
    Ok(parameters)
}

/// What must hold of a message beside its phone and its time.
struct Wanted {
    statuses: Vec<MessageState>,
    senders: Vec<String>,
    provider: Option<String>,
    campaign: Option<String>,
    api: Arc<ApiState>,
}

impl Wanted {
    fn is(&self, message: &Message) -> bool {
        let has_sender =
            || show::sender(&message.body()).is_some_and(|sender| self.senders.contains(&sender));
        let is_of = |wanted: &String| message.body().extra(Extra::Campaign) == Some(wanted.as_bytes());
        (self.statuses.is_empty() || self.statuses.contains(&message.state))
            && (self.senders.is_empty() || has_sender())
            && self.campaign.as_ref().is_none_or(is_of)
            && self.provider.as_ref().is_none_or(|wanted| self.is_of(message, wanted))
    }

    /// The provider of its last attempt is this one.
    fn is_of(&self, message: &Message, wanted: &str) -> bool {
        let intents = message.steps().filter_map(|(_, step)| match step {
            Step::Intent { provider, .. } => Some(provider),
            _ => None,
        });
        let provider = intents.last().and_then(|provider| self.api.directory.provider(provider));
        provider.is_some_and(|provider| *provider == *wanted)
    }
}

fn statuses(value: &str) -> Result<Vec<MessageState>, Problem> {
    let state = |word: &str| MessageState::ALL.into_iter().find(|state| state.word() == word.trim());
    let states: Option<Vec<MessageState>> = value.split(',').map(state).collect();
    states.ok_or_else(|| invalid("status", "is not a status, or several with commas between them"))
}

/// The forms that a sender may have which is written so: that in which it is sent over HTTP, and as it stands, since SMPP keeps it.
fn senders(value: &str) -> Result<Vec<String>, Problem> {
    if value.is_empty() {
        return Err(invalid("from", "is empty"));
    }
    let sent = address::sender(value).ok().map(|sender| sender.to_string());
    Ok(sent.into_iter().chain([value.to_owned()]).collect())
}

/// What no campaign can be called is refused, so that a slip does not look like an empty campaign.
fn campaign(value: &str) -> Result<String, Problem> {
    let name = is_campaign(value).then(|| value.to_owned());
    name.ok_or_else(|| invalid("campaign", "is not a campaign's name"))
}

pub fn phone(name: &'static str, value: &str) -> Result<u64, Problem> {
    let number = address::destination(value).map_err(|_| invalid(name, "is not an international number"))?;
    Ok(number.as_u64())
}

pub fn time(name: &'static str, value: &str) -> Result<i64, Problem> {
    // The plus of an offset has become a space.
    let time = parse_rfc3339(value).or_else(|| parse_rfc3339(&value.replace(' ', "+")));
    Ok(time.ok_or_else(|| invalid(name, "is not a time of RFC 3339"))?.0)
}

pub fn count(value: &str) -> Result<usize, Problem> {
    let count = value.parse().ok().filter(|count| (1..=LIMIT_MAX).contains(count));
    count.ok_or_else(|| invalid("limit", "is not a number from 1 to 1000"))
}

/// The place that a cursor names; it is a number's id, so that it tells no more than ids do.
pub fn place(api: &ApiState, value: &str) -> Result<u64, Problem> {
    let place = id::parse_id(value.as_bytes()).and_then(|id| api.ids.number(id));
    place.filter(|place| *place <= Number::LAST_ORDER).ok_or_else(|| invalid("cursor", "is not one of ours"))
}

pub fn invalid(field: &'static str, what: &str) -> Problem {
    Refused::invalid(field, format!("{field} {what}")).into()
}
