//! One thing that happened to a message, in the one byte form used in the journal, in memory and in the archive.
//! A message's story is its accept and these, in order. What a step changes is `message.rs`'s.
//!
//! Little-endian: kind u8 · payload length u8 · milliseconds since the accept u40 · payload.

use codecs::instant::Wall;
use codecs::message_id;
use codecs::receipt::State as ReceiptState;

use crate::bytes::Reader;
use crate::catalog::AskReceipt;
use crate::message::State;
use crate::money::Micros;

/// Octets of a provider's word for an error that are kept.
pub const ERROR_OCTETS_MAX: usize = 32;

/// Beside a response's verdict: its id names other messages as well.
const SHARED: u8 = 0x10;

/// Octets of a step before its payload.
pub const STEP_HEADER: usize = 7;

/// How a provider's response was understood, by the provider's status table at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    Accepted = 0,
    /// Refused for good.
    Refused = 1,
    /// Refused for now: tried again at `retry_at`; the attempt counts.
    Retry = 2,
    /// Refused for the rate: tried again; the attempt does not count.
    Throttled = 3,
}

/// Why it is not known whether a provider has a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DoubtCause {
    NoAnswer = 0,
    BindLost = 1,
    Restart = 2,
    /// Its answer, as its entry says, does not tell.
    Answer = 3,
}

/// Why a message failed without a provider's last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FailCause {
    /// Tried as often as the provider's entry allows.
    Attempts = 0,
    /// In doubt, and the policy is `fail`.
    InDoubt = 1,
    /// Refused for good after some of its parts were accepted.
    Partial = 2,
    /// The provider refused it for good.
    Refused = 3,
}

/// Why a message is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HoldCause {
    InDoubt = 0,
    Tenant = 1,
    Operator = 2,
}

/// Why an operator cancelled a message, in words that its tenant may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BounceCode {
    Other = 0,
    Abuse = 1,
    Duplicate = 2,
    Outage = 3,
    Request = 4,
    Stale = 5,
}

impl BounceCode {
    pub const ALL: [BounceCode; 6] = [
        BounceCode::Other,
        BounceCode::Abuse,
        BounceCode::Duplicate,
        BounceCode::Outage,
        BounceCode::Request,
        BounceCode::Stale,
    ];

    pub fn word(self) -> &'static str {
        match self {
            BounceCode::Other => "other",
            BounceCode::Abuse => "abuse",
            BounceCode::Duplicate => "duplicate",
            BounceCode::Outage => "outage",
            BounceCode::Request => "request",
            BounceCode::Stale => "stale",
        }
    }

    pub fn from_u8(value: u8) -> Option<BounceCode> {
        BounceCode::ALL.get(usize::from(value)).copied()
    }
}

/// What an operator knows of a message in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Resolution {
    /// Its provider has it.
    Sent = 0,
    /// It is given up.
    Failed = 1,
    /// It is sent again, and the provider may see it twice.
    Resend = 2,
}

impl Resolution {
    pub const ALL: [Resolution; 3] = [Resolution::Sent, Resolution::Failed, Resolution::Resend];

    pub fn word(self) -> &'static str {
        match self {
            Resolution::Sent => "sent",
            Resolution::Failed => "failed",
            Resolution::Resend => "resend",
        }
    }
}

/// All parts of a message, where a step or a token names one part.
pub const ALL_PARTS: u8 = 0xff;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The durable decision to send the first `parts` of those that wait over this bind; `ALL_PARTS`: all of them.
    Intent {
        attempt: u8,
        provider: u16,
        bind: u16,
        parts: u8,
    },
    /// `part` is `ALL_PARTS` here and below where they were sent as one. It never left the process: it waits again, and the attempt does not count.
    Unsent {
        part: u8,
    },
    Response {
        part: u8,
        verdict: Verdict,
        status: u32,
        retry_at: Wall,
        id: &'a [u8],
        /// It was the answer to a submit_multi: other messages have the same id.
        shared: bool,
    },
    /// `part` may be `ALL_PARTS`: all that were sending.
    Doubt {
        part: u8,
        cause: DoubtCause,
    },
    /// In doubt, and queued again by policy: the provider may see it twice.
    Resend,
    Receipt {
        part: u8,
        state: ReceiptState,
        done: Wall,
        error: &'a [u8],
    },
    /// The tenant has acknowledged its receipt.
    Told,
    Held {
        cause: HoldCause,
    },
    LetGo,
    Failed {
        cause: FailCause,
        status: u32,
    },
    Expired,
    Cancelled,
    /// No receipt came in time.
    Unknown,
    /// Queued for another provider of its route, which is asked for receipts so; as the one before where it does not say.
    Rerouted {
        provider: u16,
        receipts: Option<AskReceipt>,
    },
    /// The time it was scheduled for has come.
    Due,
    /// Its receipt was dropped untold, after `receipt_ttl`.
    Dropped,
    /// Cancelled by an operator.
    Bounced {
        code: BounceCode,
    },
    /// In doubt, and an operator said what became of it.
    Resolved {
        resolution: Resolution,
    },
    /// Queued for another provider by an operator; the same holds for receipts.
    Moved {
        provider: u16,
        receipts: Option<AskReceipt>,
    },
    /// Its tenant gave it another text. Only a whole image has this step: the body before it is the new one. `state` and `attempt`
    /// hold from here on, whatever the steps before mean to the new body; `parts` and `price` are what it had.
    Replaced {
        state: State,
        attempt: u8,
        parts: u8,
        price: Micros,
    },
}

impl Step<'_> {
    pub fn kind(&self) -> u8 {
        match self {
            Step::Intent { parts: ALL_PARTS, .. } => 1,
            Step::Intent { .. } => 25,
            Step::Unsent { .. } => 2,
            Step::Response { .. } => 3,
            Step::Doubt { .. } => 4,
            Step::Resend => 5,
            Step::Receipt { .. } => 6,
            Step::Told => 7,
            Step::Held { .. } => 8,
            Step::LetGo => 9,
            Step::Failed { .. } => 10,
            Step::Expired => 11,
            Step::Cancelled => 12,
            Step::Unknown => 13,
            Step::Rerouted { .. } => 14,
            Step::Due => 15,
            Step::Dropped => 16,
            Step::Bounced { .. } => 17,
            Step::Resolved { .. } => 18,
            Step::Moved { .. } => 19,
            Step::Replaced { .. } => 24,
        }
    }

    /// Appends the step; `at` is its time, `accepted` the message's.
    pub fn write(&self, accepted: Wall, at: Wall, out: &mut Vec<u8>) {
        let start = out.len();
        let since = at.millis_since(accepted).clamp(0, (1 << 40) - 1) as u64;
        let since = since.to_le_bytes();
        out.extend_from_slice(&[self.kind(), 0, since[0], since[1], since[2], since[3], since[4]]);
        match *self {
            Step::Intent { attempt, provider, bind, parts } => {
                out.push(attempt);
                out.extend_from_slice(&provider.to_le_bytes());
                out.extend_from_slice(&bind.to_le_bytes());
                out.extend((parts != ALL_PARTS).then_some(parts));
            }
            Step::Unsent { part } => out.push(part),
            Step::Response { part, verdict, status, retry_at, id, shared } => {
                out.push(part);
                out.push(verdict as u8 | if shared { SHARED } else { 0 });
                if verdict != Verdict::Accepted {
                    out.extend_from_slice(&status.to_le_bytes());
                    out.extend_from_slice(&retry_at.0.to_le_bytes());
                }
                out.extend_from_slice(&message_id::kept(id));
            }
            Step::Doubt { part, cause } => out.extend_from_slice(&[part, cause as u8]),
            Step::Receipt { part, state, done, error } => {
                out.extend_from_slice(&[part, state as u8]);
                out.extend_from_slice(&done.0.to_le_bytes());
                out.extend_from_slice(clip(error, ERROR_OCTETS_MAX));
            }
            Step::Held { cause } => out.push(cause as u8),
            Step::Failed { cause, status } => {
                out.push(cause as u8);
                out.extend_from_slice(&status.to_le_bytes());
            }
            Step::Rerouted { provider, receipts } | Step::Moved { provider, receipts } => {
                out.extend_from_slice(&provider.to_le_bytes());
                out.extend(receipts.map(|receipts| receipts as u8));
            }
            Step::Bounced { code } => out.push(code as u8),
            Step::Resolved { resolution } => out.push(resolution as u8),
            Step::Replaced { state, attempt, parts, price } => {
                out.extend_from_slice(&[state as u8, attempt, parts]);
                out.extend_from_slice(&price.0.to_le_bytes());
            }
            Step::Resend
            | Step::Told
            | Step::LetGo
            | Step::Expired
            | Step::Cancelled
            | Step::Unknown
            | Step::Due
            | Step::Dropped => {}
        }
        // The longest payload is a response's: 14 octets and its id, which has 240.
        out[start + 1] = (out.len() - start - STEP_HEADER) as u8;
    }
}

fn clip(octets: &[u8], most: usize) -> &[u8] {
    &octets[..octets.len().min(most)]
}

/// Reads one step from `reader`: its time as milliseconds since the accept, and the step. `None` at the end or when the bytes are no step.
pub fn read<'a>(reader: &mut Reader<'a>) -> Option<(i64, Step<'a>)> {
    let [kind, length, a, b, c, d, e] = reader.array::<STEP_HEADER>()?;
    let since = u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]) as i64;
    let mut payload = Reader::new(reader.take(usize::from(length))?);
    let step = read_payload(kind, &mut payload)?;
    Some((since, step))
}

fn read_payload<'a>(kind: u8, payload: &mut Reader<'a>) -> Option<Step<'a>> {
    Some(match kind {
        1 | 25 => Step::Intent {
            attempt: payload.u8()?,
            provider: payload.u16()?,
            bind: payload.u16()?,
            parts: if kind == 1 { ALL_PARTS } else { payload.u8()? },
        },
        2 => Step::Unsent { part: payload.u8()? },
        3 => read_response(payload)?,
        4 => Step::Doubt { part: payload.u8()?, cause: doubt_cause(payload.u8()?)? },
        5 => Step::Resend,
        6 => Step::Receipt {
            part: payload.u8()?,
            state: ReceiptState::from_number(payload.u8()?)?,
            done: Wall(payload.i64()?),
            error: payload.rest(),
        },
        7 => Step::Told,
        8 => Step::Held { cause: hold_cause(payload.u8()?)? },
        9 => Step::LetGo,
        10 => Step::Failed { cause: fail_cause(payload.u8()?)?, status: payload.u32()? },
        11 => Step::Expired,
        12 => Step::Cancelled,
        13 => Step::Unknown,
        14 => Step::Rerouted { provider: payload.u16()?, receipts: ask_receipt(payload)? },
        15 => Step::Due,
        16 => Step::Dropped,
        17 => Step::Bounced { code: BounceCode::from_u8(payload.u8()?)? },
        18 => Step::Resolved { resolution: *Resolution::ALL.get(usize::from(payload.u8()?))? },
        19 => Step::Moved { provider: payload.u16()?, receipts: ask_receipt(payload)? },
        24 => Step::Replaced {
            state: *State::ALL.get(usize::from(payload.u8()?))?,
            attempt: payload.u8()?,
            parts: payload.u8()?,
            price: Micros(payload.i64()?),
        },
        _ => return None,
    })
}

/// What the release before wrote says nothing of it.
fn ask_receipt(payload: &mut Reader) -> Option<Option<AskReceipt>> {
    payload.u8().map_or(Some(None), |receipts| AskReceipt::from_u8(receipts).map(Some))
}

fn read_response<'a>(payload: &mut Reader<'a>) -> Option<Step<'a>> {
    let part = payload.u8()?;
    let word = payload.u8()?;
    let verdict = match word & !SHARED {
        0 => Verdict::Accepted,
        1 => Verdict::Refused,
        2 => Verdict::Retry,
        3 => Verdict::Throttled,
        _ => return None,
    };
    let (status, retry_at) = match verdict {
        Verdict::Accepted => (0, Wall(0)),
        _ => (payload.u32()?, Wall(payload.i64()?)),
    };
    let shared = word & SHARED != 0;
    Some(Step::Response { part, verdict, status, retry_at, id: payload.rest(), shared })
}

fn doubt_cause(value: u8) -> Option<DoubtCause> {
    let all = [DoubtCause::NoAnswer, DoubtCause::BindLost, DoubtCause::Restart, DoubtCause::Answer];
    all.get(usize::from(value)).copied()
}

fn fail_cause(value: u8) -> Option<FailCause> {
    let all = [FailCause::Attempts, FailCause::InDoubt, FailCause::Partial, FailCause::Refused];
    all.get(usize::from(value)).copied()
}

fn hold_cause(value: u8) -> Option<HoldCause> {
    [HoldCause::InDoubt, HoldCause::Tenant, HoldCause::Operator].get(usize::from(value)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One sample of each kind and variant; the round trip below goes over all of them.
    pub(crate) fn samples() -> Vec<Step<'static>> {
        let response = |verdict, status, retry_at, id| Step::Response {
            part: 2,
            verdict,
            status,
            retry_at: Wall(retry_at),
            id,
            shared: false,
        };
        let of_multi = Step::Response {
            part: 0,
            verdict: Verdict::Accepted,
            status: 0,
            retry_at: Wall(0),
            id: b"7",
            shared: true,
        };
        vec![
            of_multi,
            Step::Intent { attempt: 3, provider: 513, bind: 7, parts: ALL_PARTS },
            Step::Intent { attempt: 3, provider: 513, bind: 7, parts: 2 },
            Step::Unsent { part: 1 },
            response(Verdict::Accepted, 0, 0, b"39f99dd5"),
            response(Verdict::Refused, 0x0b, 0, b""),
            response(Verdict::Retry, 8, 1_800_000_000_000, b""),
            response(Verdict::Throttled, 0x58, 0, b""),
            Step::Doubt { part: ALL_PARTS, cause: DoubtCause::Restart },
            Step::Resend,
            Step::Receipt { part: 0, state: ReceiptState::Delivered, done: Wall(5), error: b"000" },
            Step::Told,
            Step::Held { cause: HoldCause::InDoubt },
            Step::LetGo,
            Step::Failed { cause: FailCause::Refused, status: 0x45 },
            Step::Expired,
            Step::Cancelled,
            Step::Unknown,
            Step::Rerouted { provider: 4, receipts: None },
            Step::Rerouted { provider: 4, receipts: Some(AskReceipt::Never) },
            Step::Due,
            Step::Dropped,
            Step::Bounced { code: BounceCode::Stale },
            Step::Resolved { resolution: Resolution::Failed },
            Step::Moved { provider: 4, receipts: None },
            Step::Moved { provider: 4, receipts: Some(AskReceipt::Always) },
            Step::Replaced { state: State::Held, attempt: 2, parts: 3, price: Micros(1_500_000) },
        ]
    }

    #[test]
    fn every_step_reads_back_as_written() {
        for step in samples() {
            let mut bytes = Vec::new();
            step.write(Wall(1_000), Wall(1_000 + 77), &mut bytes);
            let mut reader = Reader::new(&bytes);
            assert_eq!(read(&mut reader), Some((77, step)));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_cut_step_is_no_step() {
        for step in samples() {
            let mut bytes = Vec::new();
            step.write(Wall(0), Wall(9), &mut bytes);
            bytes.pop();
            assert_eq!(read(&mut Reader::new(&bytes)), None, "{step:?}");
        }
    }
}
