//! A PDU in hexadecimal, for the log of those that were not taken. It is read as far as it makes sense; texts, passwords and
//! whatever comes after the first octet that makes none are only counted: `[12]` stands for twelve octets.
//!
//! A PDU that is out of step has its text where another field should be. So a field is shown only when it holds what that
//! field may hold: ours to decide, for the log, and not what the readers of `pdu` let pass.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::fmt;

use super::command::Command;
use super::frame::HEADER_OCTETS;
use super::pdu::{self, Header};
use super::tlv::{Tlvs, tag};

/// The most TLVs that are shown: a log line has an end.
const TLVS_MAX: usize = 32;
/// The longest addresses: of data_sm, and of a name (SMPP 3.4 §5.2.8).
const NUMBER_OCTETS_MAX: usize = 64;
const NAME_OCTETS_MAX: usize = 20;
/// The type of number that is none (SMPP 3.4 §5.2.5).
const ALPHANUMERIC: u8 = 5;

/// What may be written to a log of a frame.
#[derive(Clone, Copy)]
pub struct Masked<'a>(pub &'a [u8]);

impl fmt::Display for Masked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Masked(frame) = self;
        let Some(header) = Header::read(frame) else {
            return write!(f, "[{}]", frame.len());
        };
        let mut rest = pdu::body(frame);
        hex(f, frame.get(..HEADER_OCTETS).unwrap_or_default())?;
        let mut before: &[u8] = &[];
        for field in layout(header.command) {
            let Some((shown, hidden, after)) = field.split(before, rest) else {
                return counted(f, rest.len());
            };
            f.write_str(" ")?;
            hex(f, shown)?;
            counted(f, hidden)?;
            (before, rest) = (shown, after);
        }
        tlvs(f, rest)
    }
}

/// What may be written to a log of the octets with which a stream was lost. They stand where a header should and may be anything,
/// the middle of a text too: command_length and command_id are shown where there is such a command, and the rest is counted.
#[derive(Clone, Copy)]
pub struct MaskedHead<'a>(pub &'a [u8]);

impl fmt::Display for MaskedHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MaskedHead(octets) = self;
        let head = octets.get(..HEADER_OCTETS).unwrap_or(octets);
        let command =
            head.get(4..8).and_then(|id| id.first_chunk()).map(|id| Command(u32::from_be_bytes(*id)));
        let shown = if command.and_then(Command::name).is_some() { 8 } else { 0 };
        let (shown, rest) = head.split_at_checked(shown).unwrap_or((&[], head));
        hex(f, shown)?;
        counted(f, rest.len())
    }
}

/// What a field may hold, for it to be shown.
#[derive(Clone, Copy)]
enum Field {
    /// One-octet fields in a row, each at most this.
    Octets(&'static [u8]),
    /// A C-octet string of at most so many octets, of which none stands in for text.
    Word(usize, fn(&u8) -> bool),
    /// An address: a number, or a name where the type before it says so.
    Address,
    /// One that may be a name whatever its type: many clients leave that 0. The only text before it is too short for one.
    Source,
    /// A C-octet string that is never shown.
    Hidden(usize),
    /// sm_length, and what it counts.
    Text,
}

const TON_NPI: Field = Field::Octets(&[6, 18]);
const NAME: Field = Field::Word(15, u8::is_ascii_graphic);
const SERVICE_TYPE: Field = Field::Word(5, u8::is_ascii_alphanumeric);
const MESSAGE_ID: Field = Field::Word(64, u8::is_ascii_alphanumeric);
const ADDRESS: Field = Field::Address;
const SOURCE: Field = Field::Source;
const TIME: Field = Field::Word(16, is_of_time);

const BIND: &[Field] =
    &[NAME, Field::Hidden(64), Field::Word(12, u8::is_ascii_alphanumeric), Field::Octets(&[0x50, 6, 18])];
/// esm_class, protocol_id, priority_flag.
const CLASS: Field = Field::Octets(&[0xFF, 0xFF, 4]);
/// registered_delivery, replace_if_present_flag, data_coding, sm_default_msg_id.
const DELIVERY: Field = Field::Octets(&[0x1F, 1, 0xFF, 0xFF]);
const MESSAGE: &[Field] =
    &[SERVICE_TYPE, TON_NPI, SOURCE, TON_NPI, ADDRESS, CLASS, TIME, TIME, DELIVERY, Field::Text];
const DATA: &[Field] = &[SERVICE_TYPE, TON_NPI, SOURCE, TON_NPI, ADDRESS, Field::Octets(&[0xFF, 0x1F, 0xFF])];
const REPLACE: &[Field] =
    &[MESSAGE_ID, TON_NPI, SOURCE, TIME, TIME, Field::Octets(&[0x1F, 0xFF]), Field::Text];

/// The mandatory fields (SMPP 3.4 §4). Of a command that is not here the header is shown and no more.
fn layout(command: Command) -> &'static [Field] {
    match command {
        Command::BIND_RECEIVER | Command::BIND_TRANSMITTER | Command::BIND_TRANSCEIVER => BIND,
        Command::OUTBIND => &[NAME, Field::Hidden(64)],
        Command::SUBMIT_SM | Command::DELIVER_SM => MESSAGE,
        Command::DATA_SM => DATA,
        Command::QUERY_SM => &[MESSAGE_ID, TON_NPI, SOURCE],
        Command::CANCEL_SM => &[SERVICE_TYPE, MESSAGE_ID, TON_NPI, SOURCE, TON_NPI, ADDRESS],
        Command::REPLACE_SM => REPLACE,
        // Its list of destinations has no fixed form; what comes before it is that of a message.
        Command::SUBMIT_MULTI => &[SERVICE_TYPE, TON_NPI, SOURCE],
        Command::ALERT_NOTIFICATION => &[TON_NPI, SOURCE, TON_NPI, ADDRESS],
        _ => &[],
    }
}

impl Field {
    /// The octets to show, how many after them to count, and what follows. None where it makes no sense. `before`: what is shown
    /// of the field before this one.
    fn split<'a>(self, before: &[u8], octets: &'a [u8]) -> Option<(&'a [u8], usize, &'a [u8])> {
        match self {
            Field::Octets(limits) => {
                let (shown, rest) = octets.split_at_checked(limits.len())?;
                let fits = shown.iter().zip(limits).all(|(octet, limit)| octet <= limit);
                fits.then_some((shown, 0, rest))
            }
            Field::Word(octets_max, may_hold) => word(octets, octets_max, may_hold),
            Field::Address | Field::Source => {
                let may_be_name = matches!(self, Field::Source) || before.first() == Some(&ALPHANUMERIC);
                let number = word(octets, NUMBER_OCTETS_MAX, is_of_number);
                number.or_else(|| word(octets, NAME_OCTETS_MAX, is_of_name).filter(|_| may_be_name))
            }
            Field::Hidden(octets_max) => {
                let length = octets.iter().position(|octet| *octet == 0)?;
                let (_, rest) = octets.split_at_checked(length)?;
                (length <= octets_max).then_some((&[], length, rest.get(1..)?))
            }
            Field::Text => {
                let (length, rest) = octets.split_first()?;
                let (shown, _) = octets.split_at_checked(1)?;
                let (text, rest) = rest.split_at_checked(usize::from(*length)).unwrap_or((rest, &[]));
                Some((shown, text.len(), rest))
            }
        }
    }
}

/// A C-octet string to show with its NUL, and what follows.
fn word(octets: &[u8], octets_max: usize, may_hold: fn(&u8) -> bool) -> Option<(&[u8], usize, &[u8])> {
    let length = octets.iter().position(|octet| *octet == 0)?;
    let (value, _) = octets.split_at_checked(length)?;
    let (shown, rest) = octets.split_at_checked(length.checked_add(1)?)?;
    (length <= octets_max && value.iter().all(may_hold)).then_some((shown, 0, rest))
}

/// Shown only when all of what is left is TLVs that there are: else it may be the end of a text. Values that may be text are
/// counted.
fn tlvs(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    let mut all = Tlvs::new(octets);
    let are_known = all.by_ref().take(TLVS_MAX).all(|(tag, _)| is_known(tag));
    if !are_known || all.malformed() || !all.octets().is_empty() {
        return counted(f, octets.len());
    }
    for (tag, value) in Tlvs::new(octets) {
        write!(f, " {tag:04x} {:04x} ", value.len())?;
        if is_number(tag) {
            hex(f, value)?;
        } else {
            counted(f, value.len())?;
        }
    }
    Ok(())
}

/// The tags of the specifications, and the range that they leave to vendors (SMPP 3.4 §5.3.2).
fn is_known(tag: u16) -> bool {
    matches!(tag, 0x0005..=0x0030 | 0x0201..=0x0210 | 0x0302..=0x0304 | 0x0381 | 0x0420..=0x0428 | 0x0501)
        || matches!(tag, 0x0600..=0x0613 | 0x1201..=0x1204 | 0x130C | 0x1380..=0x1383 | 0x1400..=0x3FFF)
}

/// Tags whose values are numbers of a few octets.
fn is_number(tag: u16) -> bool {
    let is_sar = matches!(tag, tag::SAR_MSG_REF_NUM | tag::SAR_TOTAL_SEGMENTS | tag::SAR_SEGMENT_SEQNUM);
    is_sar
        || matches!(tag, tag::SC_INTERFACE_VERSION | tag::MESSAGE_STATE | tag::NETWORK_ERROR_CODE)
        || tag == tag::MS_AVAILABILITY_STATUS
}

fn is_of_number(octet: &u8) -> bool {
    octet.is_ascii_digit() || *octet == b'+'
}

fn is_of_name(octet: &u8) -> bool {
    octet.is_ascii_graphic() || *octet == b' '
}

fn is_of_time(octet: &u8) -> bool {
    octet.is_ascii_digit() || matches!(octet, b'+' | b'-' | b'R')
}

fn hex(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

fn counted(f: &mut fmt::Formatter<'_>, octets: usize) -> fmt::Result {
    if octets == 0 { Ok(()) } else { write!(f, "[{octets}]") }
}

#[cfg(test)]
mod tests;
