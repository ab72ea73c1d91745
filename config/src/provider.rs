//! `[[provider]]`: the upstreams. What a provider is asked for, how fast, and how its answers are to be read.

use std::time::Duration;

use crate::problem::Fault;
use crate::section::Section;
use crate::units::{DAY, HOUR, Micros, SECOND, Secret};
use crate::words::{AskReceipt, BindKind, Charset, InDoubt, MessageIdForm, Operation, ProviderKind};

/// One upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    /// Its name in routes, answers and metrics, 1 to 64 of letters, digits, `.`, `_` and `-`; unique.
    pub id: String,
    /// What it is. Default `smpp`.
    pub kind: ProviderKind,
    /// Host name or address, resolved at every connection.
    pub host: String,
    /// TCP port, not 0. Default 2775.
    pub port: u16,
    /// At most 15 octets (SMPP 3.4 §5.2.1).
    pub system_id: String,
    /// At most 64 octets: the specification allows 8, providers go beyond it. Default empty.
    pub password: Secret,
    /// At most 12 octets (SMPP 3.4 §5.2.3). Default empty.
    pub system_type: String,
    /// How it is bound. Default `transceiver`.
    pub bind: BindKind,
    /// How many binds, or pairs of them, 1 to 256. Default 1.
    pub binds: u32,
    /// Unanswered requests on each bind, 1 to 65,535. Default 10, what the specification suggests.
    pub window: u32,
    /// Messages (parts) a second over all binds together; 0: no limit. Default 0.
    pub throughput: u32,
    /// How many parts may leave at once after a pause. Default a tenth of a second of `throughput`, at least 1;
    /// 0 where there is no `throughput`, and refused there.
    pub burst: u32,
    /// Messages (parts) a second over each bind; 0: no limit but `throughput`. Default 0.
    pub bind_throughput: u32,
    /// How its message ids read in response and receipt. Default `text`.
    pub message_id: MessageIdForm,
    /// What happens to what it left unanswered. Default `resend`.
    pub in_doubt: InDoubt,
    /// How long after the rebind `in_doubt` waits for receipts to speak first. Default 10 s.
    pub in_doubt_wait: Duration,
    /// How long a receipt is waited for; then the message is `unknown`. Default 72 h.
    pub receipt_wait: Duration,
    /// How long after a message was sent its provider is asked by query_sm what became of it, and again each time after
    /// twice as long. Default none: it is not asked.
    pub query_after: Option<Duration>,
    /// Which of query_sm, cancel_sm and replace_sm it is sent for tenants that ask about messages it has. Default none.
    pub operations: Vec<Operation>,
    /// When it is asked for a receipt. Default `asked`.
    pub registered_delivery: AskReceipt,
    /// What data_coding 0 means there. Default `gsm7`.
    pub charset: Charset,
    /// Type of number of the source address, 0 to 6, in place of the one told from its form. Default none.
    pub source_ton: Option<u8>,
    /// Numbering plan of the source address, 0 to 18, likewise.
    pub source_npi: Option<u8>,
    /// Type of number of the destination address, 0 to 6, likewise.
    pub dest_ton: Option<u8>,
    /// Numbering plan of the destination address, 0 to 18, likewise.
    pub dest_npi: Option<u8>,
    /// Silence after which we send enquire_link. Default 30 s.
    pub enquire_link: Duration,
    /// How long a response is waited for; then the message is in doubt. Default 30 s. It must be longer than the
    /// provider needs for a full window, or its late answers become duplicates.
    pub response_timeout: Duration,
    /// The pauses between attempts to bind, drawn between `min` and an upper end that doubles up to `max`. Default 1 s to 60 s.
    pub reconnect: Backoff,
    /// What is done with a message it refused for now. Default 10 attempts, 5 s to 10 m apart.
    pub retry: Retry,
    /// Its place where no route matches, and in ties; lower goes first, then the order in the file. Default 100.
    pub priority: u32,
    /// What it takes for a part, for `least_cost` and for reports. Default 0.
    pub cost: Micros,
    /// Whether it is bound at all. Default true.
    pub enabled: bool,
}

/// Pauses that double from one to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    /// The first pause, at least 10 ms.
    pub min: Duration,
    /// The longest pause, not less than `min`.
    pub max: Duration,
}

/// Attempts at one message and the doubling pauses between them. Throttled attempts are not counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// How often it is submitted in all, 1 to 1,000.
    pub attempts: u32,
    /// The pauses.
    pub pause: Backoff,
}

impl Provider {
    pub(crate) fn read(section: &mut Section<'_>) -> Option<Self> {
        let id = section.id();
        section.require("id");
        let host = section.checked("host", |host: &String| check_host(host));
        section.require("host");
        let system_id = section.text("system_id", 0..=15);
        section.require("system_id");
        let throughput = section.between("throughput", 0..=1_000_000);
        Some(Self {
            kind: section.get("kind").unwrap_or(ProviderKind::Smpp),
            port: section.between("port", 1..=u16::MAX).unwrap_or(2_775),
            password: section.secret("password", 0..=64).unwrap_or(Secret::new("")),
            system_type: section.text("system_type", 0..=12).unwrap_or_default(),
            bind: section.get("bind").unwrap_or(BindKind::Transceiver),
            binds: section.between("binds", 1..=256).unwrap_or(1),
            window: section.between("window", 1..=65_535).unwrap_or(10),
            throughput: throughput.unwrap_or(0),
            burst: read_burst(section, throughput),
            bind_throughput: section.between("bind_throughput", 0..=1_000_000).unwrap_or(0),
            message_id: section.get("message_id").unwrap_or(MessageIdForm::Text),
            in_doubt: section.get("in_doubt").unwrap_or(InDoubt::Resend),
            in_doubt_wait: section.between("in_doubt_wait", Duration::ZERO..=DAY).unwrap_or(SECOND * 10),
            receipt_wait: section.between("receipt_wait", SECOND..=DAY * 30).unwrap_or(HOUR * 72),
            query_after: section.between("query_after", SECOND..=DAY * 30),
            operations: section.get("operations").unwrap_or_default(),
            registered_delivery: section.get("registered_delivery").unwrap_or(AskReceipt::Asked),
            charset: section.get("charset").unwrap_or(Charset::Gsm7),
            source_ton: section.between("source_ton", 0..=6),
            source_npi: section.between("source_npi", 0..=18),
            dest_ton: section.between("dest_ton", 0..=6),
            dest_npi: section.between("dest_npi", 0..=18),
            enquire_link: section.between("enquire_link", SECOND..=HOUR).unwrap_or(SECOND * 30),
            response_timeout: section.between("response_timeout", SECOND..=HOUR).unwrap_or(SECOND * 30),
            reconnect: section
                .table("reconnect", |below| Some(Backoff::read(below, SECOND, SECOND * 60)))
                .unwrap_or(Backoff { min: SECOND, max: SECOND * 60 }),
            retry: section.table("retry", |below| Some(Retry::read(below))).unwrap_or(Retry::DEFAULT),
            priority: section.between("priority", 0..=1_000_000).unwrap_or(100),
            cost: section.between("cost", Micros(0)..=Micros(i64::MAX)).unwrap_or_default(),
            enabled: section.get("enabled").unwrap_or(true),
            id: id?,
            host: host?,
            system_id: system_id?,
        })
    }
}

impl Backoff {
    fn read(section: &mut Section<'_>, min: Duration, max: Duration) -> Self {
        let written = section.between("min", Duration::from_millis(10)..=DAY);
        let min = written.unwrap_or(min);
        let max = section.between("max", Duration::from_millis(10)..=DAY).unwrap_or(max.max(min));
        if max < min {
            section.problem(&["max"], "is less than \"min\"", "raise it, or lower min");
        }
        Self { min, max }
    }
}

impl Retry {
    const DEFAULT: Self =
        Self { attempts: 10, pause: Backoff { min: Duration::from_secs(5), max: Duration::from_secs(600) } };

    fn read(section: &mut Section<'_>) -> Self {
        let Backoff { min, max } = Self::DEFAULT.pause;
        let attempts = section.between("attempts", 1..=1_000).unwrap_or(Self::DEFAULT.attempts);
        Self { attempts, pause: Backoff::read(section, min, max) }
    }
}

/// A tenth of a second's worth is what the writer grants ahead, and what no SMSC takes for a flood.
fn read_burst(section: &mut Section<'_>, throughput: Option<u32>) -> u32 {
    let burst = section.between("burst", 1..=1_000_000);
    if burst.is_some() && section.is_sound("throughput", &throughput) && throughput.unwrap_or(0) == 0 {
        section.problem(
            &["burst"],
            "means nothing without \"throughput\"",
            "write throughput too, or remove it",
        );
    }
    match throughput.unwrap_or(0) {
        0 => 0,
        limit => burst.unwrap_or((limit / 10).max(1)),
    }
}

fn check_host(host: &str) -> Result<(), Fault> {
    let mend =
        "write a host name or an address alone, such as \"smpp.example.com\"; the port is a key of its own";
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    let is_part = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_');
    match is_address || (!host.is_empty() && host.len() <= 253 && host.chars().all(is_part)) {
        true => Ok(()),
        // It is not shown: people paste whole addresses, with a password in them.
        false => Err(Fault::new("is not a host", mend)),
    }
}
