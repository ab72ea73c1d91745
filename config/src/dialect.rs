//! How a provider speaks: types of addresses, statuses, TLVs and receipts of its own. Most of it is what profiles are made of.

use std::time::Duration;

use crate::problem::Fault;
use crate::read::{Read, Scalar};
use crate::section::Section;
use crate::tree::{Node, Value};
use crate::units::{DAY, is_digits};
use crate::words::{ReceiptDate, ReceiptState, StatusMeaning, TlvType};

/// message_payload and the three of sar: what long messages are sent with (SMPP 3.4 §5.3.2).
const WRITTEN_BY_US: [u16; 4] = [0x0424, 0x020C, 0x020E, 0x020F];

/// Type of number and numbering plan.
pub type TonNpi = (u8, u8);

/// What is put in place of the types told from the addresses, by the kind of address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressTypes {
    /// A sender that is a number with a country code.
    pub international: Option<TonNpi>,
    /// A sender of at most 8 digits.
    pub short: Option<TonNpi>,
    /// A sender with a letter.
    pub alphanumeric: Option<TonNpi>,
    /// Every destination.
    pub destination: Option<TonNpi>,
}

/// What a provider means by a status, or by a range of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusRule {
    pub first: u32,
    /// Not less than `first`.
    pub last: u32,
    pub class: StatusMeaning,
    /// How long until the message is sent again, or how long nothing is sent at all where it means too fast; else the usual pauses.
    pub delay: Option<Duration>,
    /// How often a message is sent in all when it is answered so; else `retry.attempts`.
    pub tries: Option<u8>,
}

/// A TLV of the provider's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlv {
    /// 1 to 0xFFFF.
    pub tag: u16,
    /// What messages call it.
    pub name: String,
    pub form: TlvType,
    /// What it says where the message does not; as its type is written. Default none: it is left out.
    pub value: Option<String>,
    /// Whether the TLV of a tenant's own submit_sm is passed on. Default false.
    pub pass: bool,
}

/// How a provider's receipts read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReceiptDialect {
    /// Its local time less UTC, in minutes.
    pub offset_minutes: i16,
    pub date: ReceiptDate,
    /// The words, and the words of states that come as numbers, that mean something else than they say.
    pub stat: Vec<(String, ReceiptState)>,
    /// Whether a text with an id and a state is a receipt also where nothing else says so. Default: unless phones may write to us by
    /// this provider, for whoever holds a phone can write such a text.
    pub unmarked: Option<bool>,
    /// The receipt's text where it is of another form, such as `{stat},{id},{}`. Default none.
    pub pattern: Option<String>,
}

/// What a pattern may have between braces.
pub const PATTERN_FIELDS: [&str; 7] = ["id", "stat", "err", "submit date", "done date", "text", ""];

impl AddressTypes {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let source = pair(section.between("source_ton", 0..=6), section.between("source_npi", 0..=18));
        let destination = pair(section.between("dest_ton", 0..=6), section.between("dest_npi", 0..=18));
        let kinds = section
            .table("ton_npi", |below| {
                Some(Self {
                    international: read_pair(below, "international"),
                    short: read_pair(below, "short"),
                    alphanumeric: read_pair(below, "alphanumeric"),
                    destination: read_pair(below, "destination"),
                })
            })
            .unwrap_or_default();
        Self {
            international: kinds.international.or(source),
            short: kinds.short.or(source),
            alphanumeric: kinds.alphanumeric.or(source),
            destination: kinds.destination.or(destination),
        }
    }
}

fn pair(ton: Option<u8>, npi: Option<u8>) -> Option<TonNpi> {
    (ton.is_some() || npi.is_some()).then(|| (ton.unwrap_or(0), npi.unwrap_or(0)))
}

fn read_pair(section: &mut Section<'_>, key: &'static str) -> Option<TonNpi> {
    let pair = section.checked(key, |pair: &Vec<u8>| match pair.as_slice() {
        [0..=6, 0..=18] => Ok(()),
        _ => Err(Fault::new(
            "is not a type of number and a numbering plan",
            "write both, from 0 to 6 and from 0 to 18, such as [1, 1]",
        )),
    })?;
    Some((*pair.first()?, *pair.get(1)?))
}

impl StatusRule {
    pub(crate) fn read_all(section: &mut Section<'_>) -> Vec<Self> {
        let mut rules = section.each("status", |name, node, problems| {
            let (first, last) = statuses(name).ok_or_else(|| {
                let mend = "write statuses in hexadecimal, such as 0x45 or 0x0400-0x04FF";
                Fault::new("is not a status", mend)
            })?;
            let rule = Self { first, last, class: StatusMeaning::Permanent, delay: None, tries: None };
            match &node.value {
                Value::Table(table) => Section::read("status of [[provider]]", table, problems, |below| {
                    Ok(Self {
                        class: below.get("class").unwrap_or(StatusMeaning::Temporary),
                        delay: below.between("delay", Duration::from_millis(10)..=DAY),
                        tries: below.between("tries", 1..=255),
                        ..rule
                    })
                }),
                _ => StatusMeaning::read(node).map(|class| Self { class, ..rule }),
            }
        });
        rules.sort_by_key(|rule| rule.first);
        if rules.windows(2).any(|pair| matches!(pair, [one, next] if next.first <= one.last)) {
            section.problem(&["status"], "names a status twice", "give each one meaning");
        }
        rules
    }
}

/// `0x45`, or a range of them; 0 is success and means nothing else.
pub(crate) fn statuses(name: &str) -> Option<(u32, u32)> {
    let one =
        |text: &str| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok().filter(|status| *status > 0);
    let (first, last) = match name.split_once('-') {
        Some((first, last)) => (one(first)?, one(last)?),
        None => (one(name)?, one(name)?),
    };
    (first <= last).then_some((first, last))
}

impl Tlv {
    pub(crate) fn read_all(section: &mut Section<'_>) -> Vec<Self> {
        let tlvs = section.list_of("tlv", "[[provider.tlv]]", Self::read);
        let twice = |one: &Self| {
            tlvs.iter().filter(|other| other.tag == one.tag || other.name == one.name).count() > 1
        };
        if tlvs.iter().any(twice) {
            section.problem(&["tlv"], "has a tag or a name twice", "give each its own");
        }
        tlvs
    }

    fn read(section: &mut Section<'_>) -> Option<Self> {
        let tag = section.checked("tag", |tag: &u16| match WRITTEN_BY_US.contains(tag) {
            _ if *tag == 0 => Err(Fault::new("is 0", "write a value from 1 to 65535")),
            true => Err(Fault::new(
                "is one that long messages are written with",
                "set long_messages, or remove it",
            )),
            false => Ok(()),
        });
        section.require("tag");
        let name = section.checked("name", |name: &String| check_name(name));
        section.require("name");
        let form = section.get("type").unwrap_or(TlvType::CString);
        let value = section.checked("value", |value: &Scalar| check_value(form, &value.0));
        let pass = section.get("pass").unwrap_or(false);
        Some(Self { tag: tag?, name: name?, form, value: value.map(|value| value.0), pass })
    }
}

fn check_name(name: &str) -> Result<(), Fault> {
    let is_part = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-');
    match (1..=64).contains(&name.len()) && name.bytes().all(is_part) {
        true => Ok(()),
        false => Err(Fault::new("is not a name", "write 1 to 64 of letters, digits, \"_\" and \"-\"")),
    }
}

fn check_value(form: TlvType, value: &str) -> Result<(), Fault> {
    let number = |most: u64| value.parse::<u64>().is_ok_and(|number| is_digits(value) && number <= most);
    let (is_right, mend) = match form {
        TlvType::Octets => (
            value.len() <= 2_048
                && value.len().is_multiple_of(2)
                && value.bytes().all(|octet| octet.is_ascii_hexdigit()),
            "write hexadecimal digits, two an octet",
        ),
        TlvType::CString => {
            (value.len() <= 1_024 && !value.contains('\0'), "write at most 1,024 octets without a NUL")
        }
        TlvType::U8 => (number(u8::MAX.into()), "write a whole number from 0 to 255"),
        TlvType::U16 => (number(u16::MAX.into()), "write a whole number from 0 to 65535"),
        TlvType::U32 => (number(u32::MAX.into()), "write a whole number from 0 to 4294967295"),
    };
    if is_right { Ok(()) } else { Err(Fault::new("is not of its type", mend)) }
}

impl ReceiptDialect {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let offset = section.checked("offset", |offset: &String| match minutes(offset) {
            Some(_) => Ok(()),
            None => {
                Err(Fault::new("is not an offset from UTC", "write hours and minutes, such as \"+03:00\""))
            }
        });
        let stat = section
            .each("stat", |word, node: &Node, _| Ok((word.to_ascii_uppercase(), ReceiptState::read(node)?)));
        if stat.iter().any(|(word, _)| stat.iter().filter(|(other, _)| other == word).count() > 1) {
            section.problem(&["stat"], "names a word twice", "give each one meaning");
        }
        Self {
            offset_minutes: offset.and_then(|offset| minutes(&offset)).unwrap_or(0),
            date: section.get("date").unwrap_or_default(),
            stat,
            unmarked: section.get("unmarked"),
            pattern: section
                .checked("pattern", |pattern: &String| check_pattern(pattern))
                .filter(|pattern| !pattern.is_empty()),
        }
    }
}

/// `+03:00`, less than a day.
fn minutes(offset: &str) -> Option<i16> {
    let (sign, rest) = match offset.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let part = |text: &str, most: i16| {
        text.parse::<i16>().ok().filter(|part| text.len() == 2 && is_digits(text) && *part <= most)
    };
    Some(sign * (part(hours, 23)? * 60 + part(minutes, 59)?))
}

/// Fields between braces, with something between one and the next, and an id among them.
fn check_pattern(pattern: &str) -> Result<(), Fault> {
    let mend = "write the text with {id}, {stat}, {err}, {submit date}, {done date}, {text} and {} where they stand, such as \
                \"{stat},{id},{}\"";
    let mut pieces = pattern.split('{');
    let _before = pieces.next();
    let mut has_id = false;
    for (place, piece) in pieces.enumerate() {
        let Some((field, after)) = piece.split_once('}') else {
            return Err(Fault::new("has a brace without its other", mend));
        };
        let is_last = pattern.split('{').count() == place + 2;
        if !PATTERN_FIELDS.contains(&field) || (after.is_empty() && !is_last) || after.contains('}') {
            return Err(Fault::new("is not a pattern of a receipt", mend));
        }
        has_id |= field == "id";
    }
    if has_id || pattern.is_empty() { Ok(()) } else { Err(Fault::new("has no {id}", mend)) }
}
