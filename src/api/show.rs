//! Messages, their stories and balances as JSON. It reads what the engine keeps and decides nothing.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;

use codecs::address;
use codecs::instant::Wall;
use codecs::smpp::Status;
use codecs::text::{self, Encoding};
use codecs::time::rfc3339_string;
use engine::effect::Balance;
use engine::message::{Charge, Message, State};
use engine::money::Micros;
use engine::step::{ALL_PARTS, DoubtCause, FailCause, HoldCause, Step, Verdict};
use engine::submission::{Body, Extra, Priority};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::ApiState;
use crate::directory::TenantAccess;
use crate::metrics::receipt_word;

/// A string in JSON, written as it is shown.
pub struct Shown<T>(pub T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A time in JSON.
#[derive(Clone, Copy)]
pub struct Time(pub Wall);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339_string(self.0))
    }
}

#[derive(Serialize)]
struct ShownMessage<'a> {
    id: Shown<u64>,
    status: &'static str,
    channel: &'static str,
    to: String,
    from: Option<String>,
    text: Option<String>,
    data: Option<String>,
    encoding: &'static str,
    parts: u8,
    priority: &'static str,
    provider: Option<Shown<Arc<str>>>,
    provider_ids: Vec<Cow<'a, str>>,
    attempts: u8,
    price: Shown<Micros>,
    charged: Shown<Micros>,
    currency: &'a str,
    error: Option<ShownError>,
    reference: Option<Cow<'a, str>>,
    campaign: Option<Cow<'a, str>>,
    metadata: Option<&'a RawValue>,
    idempotency_key: Option<Cow<'a, str>>,
    send_at: Option<Time>,
    valid_until: Option<Time>,
    created_at: Time,
    queued_at: Option<Time>,
    sent_at: Option<Time>,
    in_doubt_at: Option<Time>,
    delivered_at: Option<Time>,
    read_at: Option<Time>,
    failed_at: Option<Time>,
    updated_at: Time,
}

#[derive(Serialize, Debug, PartialEq, Eq)]
struct ShownError {
    code: &'static str,
    message: Cow<'static, str>,
    provider_code: Option<String>,
}

#[derive(Serialize)]
struct ShownPage<'a> {
    data: Vec<ShownMessage<'a>>,
    next: Option<String>,
}

/// `GET /v1/messages/{id}`.
pub fn message(message: &Message, api: &ApiState, tenant: &TenantAccess) -> Vec<u8> {
    written(&shown(message, api, tenant))
}

/// `GET /v1/messages`.
pub fn page(messages: &[Message], next: Option<String>, api: &ApiState, tenant: &TenantAccess) -> Vec<u8> {
    let data = messages.iter().map(|message| shown(message, api, tenant)).collect();
    written(&ShownPage { data, next })
}

fn shown<'a>(message: &'a Message, api: &ApiState, tenant: &'a TenantAccess) -> ShownMessage<'a> {
    let body = message.body();
    let moments = moments(message);
    let entered = |states: &[State]| moments.last_entry(states).map(Time);
    let is_binary = body.encoding == Encoding::Binary;
    let content = content(&body);
    let (text, data) = if is_binary { (None, Some(content)) } else { (Some(content), None) };
    let failed = [State::Failed, State::Rejected, State::Expired];
    ShownMessage {
        id: Shown(api.ids.id(message.number)),
        status: message.state.word(),
        channel: "sms",
        to: format!("+{}", body.destination),
        from: sender(&body),
        text,
        data,
        encoding: body.encoding.name(),
        parts: message.parts(),
        priority: priority_word(message.priority),
        provider: moments.provider.and_then(|provider| api.directory.provider(provider)).map(Shown),
        provider_ids: provider_ids(message).map(lossy).collect(),
        attempts: message.attempt,
        price: Shown(message.price),
        charged: Shown(charged(message)),
        currency: &tenant.currency,
        error: error(message),
        reference: body.extra(Extra::Reference).map(lossy),
        campaign: body.extra(Extra::Campaign).map(lossy),
        metadata: body.extra(Extra::Metadata).and_then(|metadata| serde_json::from_slice(metadata).ok()),
        idempotency_key: body.extra(Extra::IdempotencyKey).map(lossy),
        send_at: body.send_at.map(Time),
        valid_until: body.valid_until.map(Time),
        created_at: Time(message.accepted_at),
        queued_at: moments.queued_at.map(Time),
        sent_at: moments.sent_at.map(Time),
        in_doubt_at: entered(&[State::InDoubt]),
        delivered_at: entered(&[State::Delivered]),
        read_at: entered(&[State::Read]),
        failed_at: entered(&failed).filter(|_| failed.contains(&message.state)),
        updated_at: Time(moments.updated_at),
    }
}

/// An id for each part, or one for all of them; none of a provider that gave none.
fn provider_ids(message: &Message) -> impl Iterator<Item = &[u8]> {
    let all = (message.parts() > 1).then_some(ALL_PARTS);
    let ids = (0..message.parts()).chain(all).filter_map(|part| message.provider_id(part));
    ids.filter(|id| !id.is_empty())
}

/// The text of a message as a phone shows it, or the octets of one that is none as hexadecimal digits.
pub fn content(body: &Body<'_>) -> String {
    let (elements, octets) = body.header_and_text();
    text::decode_user_data(body.encoding, elements, octets)
}

pub fn sender(body: &Body<'_>) -> Option<String> {
    let sender = address::sender_octets(body.source_ton, body.source_npi, body.source).ok()?;
    Some(sender.to_string()).filter(|shown| !shown.is_empty())
}

pub fn lossy(octets: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(octets)
}

fn priority_word(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "low",
        Priority::Normal => "normal",
        Priority::High => "high",
    }
}

fn charged(message: &Message) -> Micros {
    match message.charge {
        Charge::Settled(charged) => charged,
        Charge::Reserved | Charge::Released => Micros::ZERO,
    }
}

/// When a message came into which state.
struct Moments {
    entries: Vec<(Wall, State)>,
    /// The provider of its last attempt.
    provider: Option<u16>,
    queued_at: Option<Wall>,
    sent_at: Option<Wall>,
    updated_at: Wall,
}

impl Moments {
    fn last_entry(&self, states: &[State]) -> Option<Wall> {
        let found = self.entries.iter().rev().find(|(_, state)| states.contains(state));
        found.map(|(at, _)| *at)
    }

    fn first_entry(&self, states: &[State]) -> Option<Wall> {
        let found = self.entries.iter().find(|(_, state)| states.contains(state));
        found.map(|(at, _)| *at)
    }
}

fn moments(message: &Message) -> Moments {
    let mut moments = Moments {
        entries: Vec::new(),
        provider: None,
        queued_at: None,
        sent_at: None,
        updated_at: message.accepted_at,
    };
    let mut last = None;
    for (at, step, state) in story(message) {
        if last != Some(state) {
            moments.entries.push((at, state));
        }
        if let Some(Step::Intent { provider, .. }) = step {
            moments.provider = Some(provider);
        }
        last = Some(state);
        moments.updated_at = at;
    }
    moments.queued_at = moments.first_entry(&[State::Queued]);
    moments.sent_at = moments.first_entry(&[State::Sent, State::Delivered, State::Read]);
    moments
}

/// The story of a message, step by step, with the state after each; first its accept. The fold is the engine's own.
fn story(message: &Message) -> impl Iterator<Item = (Wall, Option<Step<'_>>, State)> + '_ {
    let mut folded = Message::accepted(as_accepted(message));
    let first = folded.as_ref().map_or(State::Queued, |folded| folded.state);
    let accept = std::iter::once((message.accepted_at, None, first));
    accept.chain(message.steps().map(move |(at, step)| {
        let state = folded.as_mut().map_or(message.state, |folded| {
            folded.take(&step, at);
            folded.state
        });
        (at, Some(step), state)
    }))
}

/// The bytes of the message before anything happened to it.
fn as_accepted(message: &Message) -> Vec<u8> {
    let mut story = Vec::new();
    for (at, step) in message.steps() {
        step.write(message.accepted_at, at, &mut story);
    }
    let bytes = message.bytes();
    bytes.get(..bytes.len().saturating_sub(story.len())).unwrap_or_default().to_vec()
}

/// Why a message ended badly: the word of its provider that decided, or ours.
fn error(message: &Message) -> Option<ShownError> {
    let shown = |code, message: &'static str, provider_code| ShownError {
        code,
        message: message.into(),
        provider_code,
    };
    match message.state {
        State::Failed => {}
        State::Rejected => {
            return Some(shown("rejected", "the provider's receipt says rejected", receipt_error(message)));
        }
        State::Expired => {
            let text = match message.accepted_parts() == 0 && message.was_in_doubt() {
                true => "its validity ended, and a provider that did not answer may have it",
                false => "its validity ended before it was delivered",
            };
            return Some(shown("expired", text, receipt_error(message)));
        }
        State::Unknown => {
            return Some(shown("unknown", "no receipt told what became of it", receipt_error(message)));
        }
        _ => return None,
    }
    if message.deciding_error().is_some() {
        return Some(shown(
            "undeliverable",
            "the provider's receipt says undeliverable",
            receipt_error(message),
        ));
    }
    let (cause, status) = message.failure()?;
    Some(ShownError {
        code: fail_code(cause),
        message: fail_text(cause, status),
        provider_code: (status != 0).then(|| status_code(status)),
    })
}

fn receipt_error(message: &Message) -> Option<String> {
    let error = message.deciding_error().filter(|error| !error.is_empty())?;
    Some(lossy(error).into_owned())
}

fn fail_code(cause: FailCause) -> &'static str {
    match cause {
        FailCause::Attempts => "attempts_exhausted",
        FailCause::InDoubt => "in_doubt",
        FailCause::Partial => "partial",
        FailCause::Refused => "refused",
    }
}

fn fail_text(cause: FailCause, status: u32) -> Cow<'static, str> {
    let text = match cause {
        FailCause::Attempts => "it was refused as often as it may be tried",
        FailCause::InDoubt => "the provider may have it and did not answer",
        FailCause::Partial => "the provider took some of its parts, and not the others",
        FailCause::Refused => "the provider refused it",
    };
    match Status(status).name() {
        Some(name) if status != 0 => format!("{text}: {name}").into(),
        _ => text.into(),
    }
}

fn status_code(status: u32) -> String {
    format!("0x{status:08X}")
}

#[derive(Serialize)]
struct ShownEvents<'a> {
    data: Vec<ShownEvent<'a>>,
    next: Option<&'static str>,
}

/// One thing that happened. What does not apply is left out.
#[derive(Default, Serialize)]
struct ShownEvent<'a> {
    at: Option<Time>,
    event: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<Shown<Arc<str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bind: Option<u16>,
    /// So many of its parts, where not all that wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts_before: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price_before: Option<Shown<Micros>>,
}

/// `GET /v1/messages/{id}/events`.
pub fn events(message: &Message, api: &ApiState) -> Vec<u8> {
    let data = story(message).map(|(at, step, state)| ShownEvent {
        at: Some(Time(at)),
        status: state.word(),
        ..step.map_or_else(accepted, |step| event(step, api))
    });
    written(&ShownEvents { data: data.collect(), next: None })
}

fn accepted<'a>() -> ShownEvent<'a> {
    named("accepted")
}

fn named<'a>(event: &'static str) -> ShownEvent<'a> {
    ShownEvent { event, ..ShownEvent::default() }
}

fn event<'a>(step: Step<'a>, api: &ApiState) -> ShownEvent<'a> {
    match step {
        Step::Intent { attempt, provider, bind, parts } => ShownEvent {
            attempt: Some(attempt),
            provider: api.directory.provider(provider).map(Shown),
            bind: Some(bind),
            parts: (parts != ALL_PARTS).then_some(parts),
            ..named("sending")
        },
        Step::Unsent { part } => ShownEvent { part: shown_part(part), ..named("unsent") },
        Step::Response { part, verdict, status, retry_at, id, .. } => ShownEvent {
            part: shown_part(part),
            result: Some(verdict_word(verdict)),
            provider_id: (!id.is_empty()).then(|| lossy(id)),
            provider_code: (status != 0).then(|| status_code(status)),
            retry_at: (retry_at.0 != 0).then_some(Time(retry_at)),
            ..named("response")
        },
        Step::Doubt { part, cause } => {
            ShownEvent { part: shown_part(part), cause: Some(doubt_word(cause)), ..named("in_doubt") }
        }
        Step::Receipt { part, state, done, error } => ShownEvent {
            part: shown_part(part),
            result: Some(receipt_word(state)),
            provider_code: (!error.is_empty()).then(|| lossy(error).into_owned()),
            done_at: (done.0 != 0).then_some(Time(done)),
            ..named("receipt")
        },
        Step::Held { cause } => ShownEvent { cause: Some(hold_word(cause)), ..named("held") },
        Step::Failed { cause, status } => ShownEvent {
            cause: Some(fail_code(cause)),
            provider_code: (status != 0).then(|| status_code(status)),
            ..named("failed")
        },
        Step::Rerouted { provider, .. } => {
            ShownEvent { provider: api.directory.provider(provider).map(Shown), ..named("rerouted") }
        }
        Step::Moved { provider, .. } => ShownEvent {
            provider: api.directory.provider(provider).map(Shown),
            cause: Some(hold_word(HoldCause::Operator)),
            ..named("rerouted")
        },
        Step::Bounced { code } => ShownEvent {
            cause: Some(hold_word(HoldCause::Operator)),
            result: Some(code.word()),
            ..named("cancelled")
        },
        Step::Resolved { resolution } => ShownEvent {
            cause: Some(hold_word(HoldCause::Operator)),
            result: Some(resolution.word()),
            ..named("resolved")
        },
        Step::Resend => named("resend"),
        Step::Told => named("told"),
        Step::Replaced { parts, price, .. } => {
            ShownEvent { parts_before: Some(parts), price_before: Some(Shown(price)), ..named("replaced") }
        }
        Step::LetGo => named("released"),
        Step::Expired => named("expired"),
        Step::Cancelled => named("cancelled"),
        Step::Unknown => named("unknown"),
        Step::Due => named("due"),
        Step::Dropped => named("receipt_dropped"),
    }
}

/// People count from 1; a step for all parts names none.
fn shown_part(part: u8) -> Option<u8> {
    part.checked_add(1)
}

fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted => "accepted",
        Verdict::Refused => "refused",
        Verdict::Retry => "retry",
        Verdict::Throttled => "throttled",
    }
}

fn doubt_word(cause: DoubtCause) -> &'static str {
    match cause {
        DoubtCause::NoAnswer => "no_answer",
        DoubtCause::BindLost => "bind_lost",
        DoubtCause::Restart => "restart",
        DoubtCause::Answer => "answer",
    }
}

fn hold_word(cause: HoldCause) -> &'static str {
    match cause {
        HoldCause::InDoubt => "in_doubt",
        HoldCause::Tenant => "tenant",
        HoldCause::Operator => "operator",
    }
}

#[derive(Serialize)]
struct ShownBalance<'a> {
    currency: &'a str,
    available: Shown<Micros>,
    reserved: Shown<Micros>,
    spent: Shown<Micros>,
    credit_limit: Shown<Micros>,
    price_per_unit: Option<Shown<Micros>>,
    units: Option<i64>,
}

/// `GET /v1/balance`. A tenant without a flat price has no units.
pub fn balance(balance: &Balance) -> Vec<u8> {
    let wallet = &balance.wallet;
    let units = |price: Micros| wallet.available().0.max(0).checked_div(price.0);
    written(&ShownBalance {
        currency: &balance.currency,
        available: Shown(wallet.available()),
        reserved: Shown(wallet.reserved()),
        spent: Shown(wallet.spent()),
        credit_limit: Shown(wallet.credit_limit()),
        price_per_unit: balance.price.map(Shown),
        units: balance.price.and_then(units),
    })
}

pub fn written(value: &impl Serialize) -> Vec<u8> {
    // Strings and small numbers always serialize.
    let written = serde_json::to_vec(value);
    debug_assert!(written.is_ok());
    written.unwrap_or_default()
}

#[cfg(test)]
mod tests;
