//! A tenant's query_sm, cancel_sm and replace_sm: what they ask of the commit loop, and how its answers are written. What may be
//! done, and what it costs, is the engine's.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use codecs::address::{self, Invalid, National};
use codecs::instant::Wall;
use codecs::receipt::State;
use codecs::smpp::pdu::{CancelSm, QuerySm, QuerySmResponse, ReplaceSm, SmeAddress};
use codecs::smpp::tlv::tag;
use codecs::smpp::write;
use codecs::smpp::{Command as Pdu, Status};
use codecs::time;
use engine::command::{Addresses, AskKind, Named, OfOne, Refusal, Replacement, Wanted};
use engine::effect::{Operated, OperationAnswer};
use engine::{IdText, id};

use super::submit::{read_schedule, read_validity};
use super::tenant::VERSION_5;
use crate::smpp::access::IdRadix;
use crate::smpp::asks::ask_command;
use crate::smpp::refusal;

/// A request about messages that were submitted before.
pub enum About<'a> {
    Query(QuerySm<'a>),
    Cancel(CancelSm<'a>),
    Replace(ReplaceSm<'a>),
}

impl About<'_> {
    pub fn command(&self) -> Pdu {
        ask_command(self.kind())
    }

    fn kind(&self) -> AskKind {
        match self {
            About::Query(_) => AskKind::Query,
            About::Cancel(_) => AskKind::Cancel,
            About::Replace(_) => AskKind::Replace,
        }
    }

    /// What is wanted, or the status of the refusal.
    pub fn wanted(&self, now: Wall, national: National) -> Result<Wanted, Status> {
        let failed = failure(self.kind());
        match self {
            About::Query(query) => {
                let named = named(query.message_id, query.source, None).ok_or(failed)?;
                Ok(Wanted::OfOne { named, what: OfOne::Query })
            }
            About::Cancel(cancel) if cancel.message_id.is_empty() => cancel_all(cancel, national),
            About::Cancel(cancel) => {
                let destination = destination(cancel, national).map_err(|_| failed)?;
                let named = named(cancel.message_id, cancel.source, destination).ok_or(failed)?;
                Ok(Wanted::OfOne { named, what: OfOne::Cancel })
            }
            About::Replace(replace) => {
                let replacement = replacement(replace, now)?;
                let named = named(replace.message_id, replace.source, None).ok_or(failed)?;
                Ok(Wanted::OfOne { named, what: OfOne::Replace(replacement) })
            }
        }
    }
}

/// `None`: there can be no such message.
fn named(message_id: &[u8], source: SmeAddress<'_>, destination: Option<u64>) -> Option<Named> {
    let id = read_id(message_id)?;
    // NULL where the submit_sm had none, or where the client leaves it out: then it is not compared.
    let source = match source.octets {
        [] => Vec::new(),
        _ => sender(source)?,
    };
    Some(Named { id, source, destination })
}

/// SMPP 3.4 §4.9.1: it may be left out beside an id. One that is given is the message's, or another message is meant, as one of several
/// of a submit_multi.
fn destination(cancel: &CancelSm<'_>, national: National) -> Result<Option<u64>, Invalid> {
    let SmeAddress { ton, octets, .. } = cancel.destination;
    match octets {
        [] => Ok(None),
        _ => address::destination_of(ton, octets, national).map(|destination| Some(destination.as_u64())),
    }
}

/// SMPP 3.4 §4.9: without an id all messages that have these three are meant.
fn cancel_all(cancel: &CancelSm<'_>, national: National) -> Result<Wanted, Status> {
    let destination = destination(cancel, national).ok().flatten().ok_or(Status::INVDSTADR)?;
    Ok(Wanted::CancelAll(Addresses {
        service_type: cancel.service_type.to_vec(),
        source: sender(cancel.source).ok_or(Status::INVSRCADR)?,
        destination,
    }))
}

fn replacement(replace: &ReplaceSm<'_>, now: Wall) -> Result<Replacement, Status> {
    let payload = replace.tlvs().value_of(tag::MESSAGE_PAYLOAD).unwrap_or_default();
    if !replace.short_message.is_empty() && !payload.is_empty() {
        // As of a submit_sm: which of two texts is meant is not for us to guess.
        return Err(Status::SUBMITFAIL);
    }
    let send_at = read_schedule(replace.schedule_delivery_time, now).map_err(|_| Status::INVSCHED)?;
    let valid_until = read_validity(replace.validity_period, now, send_at).map_err(|_| Status::INVEXPIRY)?;
    if valid_until.is_some_and(|until| until <= now) {
        return Err(Status::INVEXPIRY);
    }
    Ok(Replacement {
        octets: replace.content().to_vec(),
        send_at,
        valid_until,
        registered_delivery: replace.registered_delivery,
    })
}

/// A source as the message has it that was submitted with it.
fn sender(source: SmeAddress<'_>) -> Option<Vec<u8>> {
    let SmeAddress { ton, npi, octets } = source;
    address::sender_octets(ton, npi, octets).ok().map(|sender| sender.octets().to_vec())
}

/// 18 decimal digits, or the same number in hexadecimal, which is never as long.
fn read_id(octets: &[u8]) -> Option<u64> {
    id::parse_id(octets).or_else(|| {
        let text = str::from_utf8(octets).ok().filter(|text| text.bytes().all(|o| o.is_ascii_hexdigit()))?;
        u64::from_str_radix(text, 16).ok().filter(|id| *id < ID_END)
    })
}

/// Ids have at most 18 digits.
const ID_END: u64 = 1_000_000_000_000_000_000;

/// Appends the response to one operation.
pub fn write_answer(
    frames: &mut Vec<u8>,
    version: u8,
    radix: IdRadix,
    no_credit: Status,
    answer: &OperationAnswer,
) {
    let OperationAnswer { sequence, kind, outcome } = *answer;
    let response = ask_command(kind).response();
    let status = match outcome {
        Operated::State { id, state, done, error } => {
            let mut final_date = Vec::new();
            if let Some(done) = done {
                time::write_absolute(&mut final_date, done);
            }
            let text = IdText::new(id, radix);
            let state = QuerySmResponse {
                message_id: text.digits(),
                final_date: &final_date,
                message_state: message_state(state, version),
                error_code: error,
                anomalies: 0,
            };
            let written = write::pdu(frames, response, Status::OK, sequence, |body| {
                write::query_sm_response_body(body, &state)
            });
            debug_assert!(written.is_ok(), "an id and a date of ours fit");
            return;
        }
        Operated::Done => Status::OK,
        Operated::Failed => failure(kind),
        Operated::Refused(reason) => refused(reason, kind, no_credit),
    };
    write::header_only(frames, response, status, sequence);
}

/// SCHEDULED is of SMPP 5.0; before, what waits is on its way.
fn message_state(state: State, version: u8) -> u8 {
    match state {
        State::Scheduled if version < VERSION_5 => State::Enroute.as_u8(),
        state => state.as_u8(),
    }
}

fn failure(kind: AskKind) -> Status {
    match kind {
        AskKind::Query => Status::QUERYFAIL,
        AskKind::Cancel => Status::CANCELFAIL,
        AskKind::Replace => Status::REPLACEFAIL,
    }
}

/// What says more than that it failed is said as for a submit_sm.
fn refused(reason: Refusal, kind: AskKind, no_credit: Status) -> Status {
    match reason {
        Refusal::InsufficientCredit
        | Refusal::RateLimited
        | Refusal::TooLong
        | Refusal::Unavailable
        | Refusal::InvalidSchedule
        | Refusal::InvalidValidity => refusal::status(reason, no_credit),
        _ => failure(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_in_both_forms_and_nothing_else_is_one() {
        let id = 123_456_789_012_345_678;
        for radix in [IdRadix::Dec, IdRadix::Hex] {
            assert_eq!(read_id(IdText::new(id, radix).digits()), Some(id));
        }
        for none in [&b""[..], b"nobody", b"+12", b"ffffffffffffffff", b"1234567890123456789012"] {
            assert_eq!(read_id(none), None, "{}", none.escape_ascii());
        }
    }

    #[test]
    fn what_cannot_be_done_has_the_status_of_its_own_operation() {
        let no_credit = Status(0x40B);
        for (kind, failed) in [
            (AskKind::Query, Status::QUERYFAIL),
            (AskKind::Cancel, Status::CANCELFAIL),
            (AskKind::Replace, Status::REPLACEFAIL),
        ] {
            for (outcome, status) in [
                (Operated::Done, Status::OK),
                (Operated::Failed, failed),
                (Operated::Refused(Refusal::RateLimited), Status::THROTTLED),
                (Operated::Refused(Refusal::InsufficientCredit), no_credit),
                (Operated::Refused(Refusal::TenantSuspended), failed),
            ] {
                let mut frames = Vec::new();
                let answer = OperationAnswer { sequence: 9, kind, outcome };
                write_answer(&mut frames, 0x34, IdRadix::Dec, no_credit, &answer);
                let mut expected = Vec::new();
                write::header_only(&mut expected, ask_command(kind).response(), status, 9);
                assert_eq!(frames, expected, "{kind:?} {outcome:?}");
            }
        }
    }
}
