//! The deliver_sm that tells a tenant of one of its messages, in the dialect that the tenant has chosen: a receipt of its end, or
//! a notification on its way (SMPP 3.4 appendix B, §5.2.12, §5.3.2). To whom and when is `outbox.rs`'s.

use codecs::instant::Wall;
use codecs::receipt::{self, Minute, Notice, State as ReceiptState};
use codecs::smpp::pdu::SmeAddress;
use codecs::smpp::tlv::tag;
use codecs::smpp::write::{self, SmFields};

use crate::bytes::decimal;
use crate::catalog::{IdRadix, ReceiptStyle};
use crate::effect::{Outgoing, Request};
use crate::id::{ID_DIGITS, Number, Permutation, id_digits};
use crate::message::{Message, State};
use crate::step::{Step, Verdict};
use crate::submission::{Body, Extra, Via};

/// Which of the two it is, as esm_class says (SMPP 3.4 §5.2.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tells {
    End,
    OnItsWay,
}

/// registered_delivery: a notification on the way is wanted as well (SMPP 3.4 §5.2.17).
pub(crate) const INTERMEDIATE: u8 = 0x10;

impl Tells {
    fn esm_class(self) -> u8 {
        match self {
            Tells::End => 0x04,
            Tells::OnItsWay => 0x20,
        }
    }
}

/// In the place of the state in the token of a notification.
const ON_ITS_WAY: u64 = 0xff;

/// What the token of a deliver_sm names, so that its answer says what was told whatever has become of the message since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub number: u64,
    /// The state that it tells of; `None` of a notification.
    pub end: Option<State>,
}

impl Told {
    pub fn new(message: &Message, tells: Tells) -> Told {
        Told { number: message.number, end: (tells == Tells::End).then_some(message.state) }
    }

    pub fn token(self) -> u64 {
        let end = self.end.map_or(ON_ITS_WAY, |state| state as u64 + 1);
        (end << Number::BITS) | self.number
    }

    pub fn of_token(token: u64) -> Told {
        let end = token >> Number::BITS;
        let number = token & ((1 << Number::BITS) - 1);
        Told { number, end: State::ALL.get((end as usize).wrapping_sub(1)).copied() }
    }
}

impl Message {
    /// Whether its tenant is to be told of it on its way as well (SMPP 3.4 §5.2.17).
    pub fn tells_on_its_way(&self) -> bool {
        self.via == Via::Smpp && self.registered_delivery & INTERMEDIATE != 0
    }

    /// Whether its tenant is to be told what its provider says of it on its way.
    pub(crate) fn passes_on(&self, state: ReceiptState) -> bool {
        !state.is_final() && self.tells_on_its_way() && !self.state.receipt_state().is_final()
    }

    /// The state that a notification tells: what its provider said last since it was sent, else our own.
    fn state_on_its_way(&self) -> ReceiptState {
        let (mut said, mut is_taken) = (None, false);
        for (_, step) in self.steps() {
            match step {
                Step::Receipt { state, .. } if !state.is_final() => said = Some(state),
                Step::Response { verdict: Verdict::Accepted, .. } => is_taken = true,
                // Of what its provider has taken it has said it still.
                Step::Intent { .. } if !is_taken => said = None,
                _ => {}
            }
        }
        said.unwrap_or(self.state.receipt_state())
    }
}

/// Where several destinations were answered together and this is not the first: the number of the first, of which the tenant was
/// given the id.
pub(crate) fn shared_number(body: &Body<'_>) -> Option<u64> {
    // Hardly any message has extras.
    if body.extras.is_empty() {
        return None;
    }
    let octets = body.extra(Extra::SharedId)?.try_into().ok()?;
    Some(u64::from_le_bytes(octets)).filter(|first| *first != 0)
}

/// The id that a message's tenant was given.
fn told_id(message: &Message, body: &Body<'_>, ids: &Permutation) -> u64 {
    match shared_number(body) {
        Some(first) => ids.id(first),
        None if message.id != 0 => message.id,
        None => ids.id(message.number),
    }
}

/// How a session is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Telling<'a> {
    pub tells: Tells,
    pub dialect: &'a ReceiptStyle,
    /// Whether the peer knows TLVs: one before SMPP 3.4 does not.
    pub tlvs: bool,
}

/// Room for the text of one receipt, and what the next one's has in common with it.
#[derive(Debug, Default)]
pub(crate) struct Notepad {
    text: Vec<u8>,
    minute: Minute,
}

/// Appends the deliver_sm that tells a message's state.
pub(crate) fn write(
    message: &Message,
    telling: Telling<'_>,
    ids: &Permutation,
    notepad: &mut Notepad,
    out: &mut Outgoing,
) {
    let Telling { tells, dialect, tlvs } = telling;
    let body = message.body();
    let id = told_id(message, &body, ids);
    let (done, error) = last_word(message);
    let state = match tells {
        // Its provider is asked for no receipts, so nobody will say more, and more is what ENROUTE promises (SMPP 3.4 §5.2.28).
        Tells::End if message.state == State::Sent => ReceiptState::Unknown,
        Tells::End => message.state.receipt_state(),
        Tells::OnItsWay => message.state_on_its_way(),
    };
    let text_id = IdText::new(id, dialect.text_id);
    let notice = Notice {
        id: text_id.digits(),
        submitted: message.accepted_at,
        done,
        state,
        error: error.as_bytes(),
        text: if dialect.text { body.octets } else { &[] },
    };
    let Notepad { text, minute } = notepad;
    text.clear();
    receipt::write(text, &notice, dialect.dates, minute);
    let mut digits = [0; 20];
    let destination = decimal(body.destination, &mut digits);
    let fields = SmFields {
        service_type: body.service_type,
        source: SmeAddress { ton: body.destination_ton, npi: body.destination_npi, octets: destination },
        destination: SmeAddress { ton: body.source_ton, npi: body.source_npi, octets: body.source },
        esm_class: tells.esm_class(),
        text,
        ..SmFields::default()
    };
    let written = write::sm_body(&mut out.bodies, &fields);
    debug_assert!(written.is_ok(), "a receipt fits a deliver_sm");
    if tlvs && dialect.tlvs {
        // Nearly always the same digits again.
        let id = if dialect.id == dialect.text_id { text_id } else { IdText::new(id, dialect.id) };
        let tlvs = write::tlv(&mut out.bodies, tag::RECEIPTED_MESSAGE_ID, id.with_nul())
            .and_then(|()| write::tlv(&mut out.bodies, tag::MESSAGE_STATE, &[state as u8]))
            .and_then(|()| match error.network_code() {
                Some(code) => write::tlv(&mut out.bodies, tag::NETWORK_ERROR_CODE, &code),
                None => Ok(()),
            });
        debug_assert!(tlvs.is_ok(), "an id, a state and a code fit their TLVs");
    }
    let token = Told::new(message, tells).token();
    out.requests.push(Request { token, end: out.bodies.len() as u32 });
}

/// An id in a tenant's form, without an allocation, and the NUL that ends it in a field of SMPP.
#[derive(Clone, Copy)]
pub struct IdText {
    octets: [u8; ID_DIGITS + 1],
    length: usize,
}

impl IdText {
    pub fn new(id: u64, radix: IdRadix) -> IdText {
        let mut octets = [0; ID_DIGITS + 1];
        let length = match radix {
            IdRadix::Dec => {
                octets[..ID_DIGITS].copy_from_slice(&id_digits(id));
                ID_DIGITS
            }
            IdRadix::Hex => {
                // An id has at most 60 bits.
                let digits = id.checked_ilog(16).map_or(1, |last| last as usize + 1);
                for (place, digit) in octets[..digits].iter_mut().rev().enumerate() {
                    *digit = b"0123456789abcdef"[(id >> (4 * place) & 0xf) as usize];
                }
                digits
            }
        };
        IdText { octets, length }
    }

    pub fn digits(&self) -> &[u8] {
        &self.octets[..self.length]
    }

    pub fn with_nul(&self) -> &[u8] {
        &self.octets[..=self.length]
    }
}

/// Most providers tell the time in minutes: what is no further apart is the same, and ours is the more precise.
const SAME_MINUTE: i64 = 60_000;

/// When a phone had the message: what the provider says, where its receipt came later than that, as after an outage. A date that
/// cannot be, of a clock or a time zone that is another, is not passed on.
fn reached(sent: Wall, done: Wall, came: Wall) -> Wall {
    let is_older = came.millis_since(done) >= SAME_MINUTE;
    let can_be = done.millis_since(sent) > -SAME_MINUTE;
    if is_older && can_be { done.max(sent) } else { came }
}

/// When the message got its final state, which is that of its last part, and the characters of `err`: of the receipt or the refusal
/// that decided, and on its way of the last.
pub(crate) fn last_word(message: &Message) -> (Wall, ErrorWord) {
    let mut word = (message.accepted_at, ErrorWord::default());
    // Before it was first sent, no phone had it.
    let mut sent = None;
    let mut last = Wall(i64::MIN);
    let is_final = message.is_final();
    // By the first that said so: one that came again changed nothing.
    let mut is_decided = false;
    for (at, step) in message.steps() {
        match step {
            Step::Receipt { part, state, error, done } => {
                last = last.max(reached(sent.unwrap_or(message.accepted_at), done, at));
                word.0 = last;
                if !is_final || (!is_decided && message.is_decided_by(part, state)) {
                    word.1 = ErrorWord::new(error);
                    is_decided = is_final;
                }
            }
            Step::Response { verdict: Verdict::Refused, status, .. } | Step::Failed { status, .. } => {
                word = (at, ErrorWord::of_status(status));
            }
            Step::Told | Step::Dropped => {}
            Step::Intent { .. } => {
                sent.get_or_insert(at);
                word.0 = at;
            }
            _ => word.0 = at,
        }
    }
    word
}

/// `err` of a receipt: the provider's word, short.
#[derive(Clone, Copy, Default)]
pub(crate) struct ErrorWord {
    octets: [u8; 8],
    length: u8,
    /// It is of a receipt, and whole.
    is_networks: bool,
}

/// The network type of a network_error_code (SMPP 3.4 §5.3.2.31). Which network it was does not stand in a receipt's text.
const GSM: u8 = 3;

impl ErrorWord {
    /// A command_status, in decimal.
    fn of_status(status: u32) -> ErrorWord {
        let mut digits = [0; 20];
        match status {
            0 => ErrorWord::default(),
            _ => ErrorWord { is_networks: false, ..ErrorWord::new(decimal(u64::from(status), &mut digits)) },
        }
    }

    fn new(word: &[u8]) -> ErrorWord {
        let mut octets = [0; 8];
        let length = word.len().min(8);
        octets[..length].copy_from_slice(&word[..length]);
        ErrorWord { octets, length: length as u8, is_networks: length == word.len() }
    }

    /// As a network_error_code, where a receipt brought a number; 0 is no error.
    fn network_code(&self) -> Option<[u8; 3]> {
        let digits = self.as_bytes();
        if !self.is_networks || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let code: u16 = core::str::from_utf8(digits).ok()?.parse().ok()?;
        let [high, low] = code.to_be_bytes();
        (code != 0).then_some([GSM, high, low])
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_as_it_is_written_elsewhere() {
        for id in [0, 15, 16, 100_000_000_000_000_000, 123_456_789_012_345_678, 999_999_999_999_999_999] {
            let hex = IdText::new(id, IdRadix::Hex);
            assert_eq!(hex.digits(), format!("{id:x}").as_bytes());
            assert_eq!(hex.with_nul(), format!("{id:x}\0").as_bytes());
            assert_eq!(IdText::new(id, IdRadix::Dec).with_nul(), format!("{id:018}\0").as_bytes());
        }
    }
}
