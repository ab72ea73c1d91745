//! `[[inbound]]`, `[phones]` and `[kept]`: whose a message from a phone is, how long its parts wait, and what is kept for the
//! operator of all that found nobody.

use std::time::Duration;

use crate::problem::Fault;
use crate::route::check_prefixes;
use crate::section::Section;
use crate::units::{DAY, HOUR, SECOND, Size};

/// One rule. Rules stand in the order in which they are tried; the first that matches decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Inbound {
    /// The key `match`: what a message must be like. All that is given must hold; an empty list asks nothing.
    pub matches: InboundMatch,
    /// The id of the tenant whose it is.
    pub tenant: String,
}

/// What a message from a phone must be like. One value of each list suffices; of `to` and `to_prefix` a value of either.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InboundMatch {
    /// Ids of providers that brought it.
    pub provider: Vec<String>,
    /// The number, short code or name that was written to, whole; a `+` and the case of letters do not count.
    pub to: Vec<String>,
    /// How that number begins, in digits without `+`.
    pub to_prefix: Vec<String>,
    /// How the phone's number begins, in digits without `+`.
    pub from_prefix: Vec<String>,
    /// The first word of the text, in whatever case; one word each.
    pub keyword: Vec<String>,
}

/// `[phones]`: what holds for messages from phones.
#[derive(Debug, Clone, PartialEq)]
pub struct Phones {
    /// How long the parts of a message wait for those that are missing; then it goes to its tenant as it is, marked. Default 10 m.
    pub parts_wait: Duration,
    /// Parts that may wait, of all messages; beyond, the oldest incomplete message of the phone of which most wait goes as it is.
    /// Default 10,000.
    pub parts_max: u64,
    /// A message that comes again with the same text within this of the first is the same; 0: none is. Default 60 s.
    pub repeat_window: Duration,
}

/// `[kept]`: what is kept for the operator to look at.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Receipts without a message, and likewise messages without a tenant; beyond, the oldest is forgotten. Default 10,000.
    pub max: u64,
    /// What these may hold in octets, each of the two kinds; beyond, the same. Default 64 MiB, least 1 MiB.
    pub octets: Size,
    /// How long. Default 7 d.
    pub time: Duration,
}

impl Inbound {
    pub(crate) fn read(section: &mut Section<'_>) -> Option<Self> {
        let matches = section.table("match", |below| Some(InboundMatch::read(below))).unwrap_or_default();
        let tenant = section.get("tenant");
        section.require("tenant");
        Some(Self { matches, tenant: tenant? })
    }
}

impl InboundMatch {
    fn read(section: &mut Section<'_>) -> Self {
        let mut prefixes =
            |key| section.checked(key, |prefixes: &Vec<String>| check_prefixes(prefixes)).unwrap_or_default();
        let (to_prefix, from_prefix) = (prefixes("to_prefix"), prefixes("from_prefix"));
        Self {
            provider: section.get("provider").unwrap_or_default(),
            to: section.checked("to", |all: &Vec<String>| check_addresses(all)).unwrap_or_default(),
            to_prefix,
            from_prefix,
            keyword: section.checked("keyword", |all: &Vec<String>| check_keywords(all)).unwrap_or_default(),
        }
    }
}

impl Phones {
    pub(crate) fn read(section: &mut Section<'_>) -> Option<Self> {
        let parts_wait = section.between("parts_wait", SECOND..=DAY * 3);
        let parts_max = section.between("parts_max", 0..=1_000_000);
        let repeat_window = section.between("repeat_window", Duration::ZERO..=HOUR);
        Some(Self { parts_wait: parts_wait?, parts_max: parts_max?, repeat_window: repeat_window? })
    }
}

impl Kept {
    pub(crate) fn read(section: &mut Section<'_>) -> Option<Self> {
        let max = section.between("max", 1..=1_000_000);
        let octets = section.between("octets", Size(1 << 20)..=Size(16 << 30));
        let time = section.between("time", SECOND..=DAY * 400);
        Some(Self { max: max?, octets: octets?, time: time? })
    }
}

fn check_addresses(addresses: &[String]) -> Result<(), Fault> {
    let is_fit = |address: &String| {
        (1..=64).contains(&address.len()) && address.bytes().all(|octet| (0x20..0x7f).contains(&octet))
    };
    match addresses.iter().find(|address| !is_fit(address)) {
        Some(_) => Err(Fault::new(
            "holds what is no address",
            "write numbers, short codes or names of 1 to 64 characters, such as \"22334\"",
        )),
        None => Ok(()),
    }
}

fn check_keywords(keywords: &[String]) -> Result<(), Fault> {
    let is_word = |word: &String| {
        let has_signs_around = word.starts_with(|sign: char| !sign.is_alphanumeric())
            || word.ends_with(|sign: char| !sign.is_alphanumeric());
        (1..=64).contains(&word.len()) && !word.contains(char::is_whitespace) && !has_signs_around
    };
    match keywords.iter().find(|word| !is_word(word)) {
        Some(word) => Err(Fault::new(
            format!("holds \"{word}\", which is not one word"),
            "write one word for each, such as \"STOP\"",
        )),
        None => Ok(()),
    }
}
