//! `[[provider]]`: the upstreams. What a provider is asked for, how fast, and how its answers are to be read.
//! How it is reached stands in `reach`, how it speaks in `dialect`.

use std::time::Duration;

use crate::dialect::{AddressTypes, ReceiptDialect, StatusRule, Tlv};
use crate::reach::Reach;
use crate::section::Section;
use crate::texts::Texts;
use crate::units::{DAY, HOUR, Micros, SECOND, Secret};
use crate::words::{
    AskReceipt, BindKind, Charset, InDoubt, InterfaceVersion, MessageIdForm, MessageIdSide, Operation,
    ProviderKind, ReceiptParts, SubmitForm,
};

/// One upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    /// Its name in routes, answers and metrics, 1 to 64 of letters, digits, `.`, `_` and `-`; unique.
    pub id: String,
    /// What it is. Default `smpp`.
    pub kind: ProviderKind,
    /// The profile whose data lies beneath the entry, by its name or its file. Default none.
    pub profile: Option<String>,
    /// Where it is, or where we wait for it.
    pub reach: Reach,
    /// At most 15 octets (SMPP 3.4 §5.2.1).
    pub system_id: String,
    /// At most 64 octets: the specification allows 8, providers go beyond it. Default empty.
    pub password: Secret,
    /// At most 12 octets (SMPP 3.4 §5.2.3). Default empty.
    pub system_type: String,
    /// Said in every message; where it is empty, what its tenant said goes along. At most 5 octets (SMPP 3.4 §5.2.11).
    /// Default empty.
    pub service_type: String,
    /// How it is bound. Default `transceiver`.
    pub bind: BindKind,
    /// The version of SMPP that we say we speak. Default `3.4`; under `3.3` no TLV is sent, and there is no transceiver.
    pub interface_version: InterfaceVersion,
    /// How many binds, or pairs of them, 1 to 256. Default 1.
    pub binds: u32,
    /// Unanswered requests on each bind, 1 to 65,535. Default 10, what the specification suggests.
    pub window: u32,
    /// Messages (parts) a second over all binds together; 0: no limit. Default 0.
    pub throughput: u32,
    /// How many parts may leave at once after a pause. Default a tenth of a second of `throughput`; 0,
    /// which is what that is below 10: no second has more than `throughput`. Refused where there is no `throughput`.
    pub burst: u32,
    /// Messages (parts) a second over each bind; 0: no limit but `throughput`. Default 0.
    pub bind_throughput: u32,
    /// Which operation carries messages. Default `submit_sm`.
    pub submit: SubmitForm,
    /// How many messages that are alike may go to it in one submit_multi, 2 to 254. Default none: each goes by itself.
    pub submit_multi: Option<u32>,
    /// How its message ids read in response and receipt. Default `text`.
    pub message_id: MessageIdForm,
    /// Whose form the id in a receipt's TLV has. Default `either`.
    pub message_id_tlv: MessageIdSide,
    /// How its receipts read. Default the form of SMPP 3.4 appendix B, in UTC.
    pub receipt: ReceiptDialect,
    /// What it means by a status, in the order of the statuses, none twice; the other statuses mean what they usually do. Default none.
    pub status: Vec<StatusRule>,
    /// Its own TLVs. Default none.
    pub tlv: Vec<Tlv>,
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
    /// Of what its receipt for one of several parts speaks. Default `each`.
    pub receipt_parts: ReceiptParts,
    /// What data_coding 0 means there. Default `gsm7`.
    pub charset: Charset,
    /// How it takes texts that are not one part of plain text.
    pub texts: Texts,
    /// The id of the tenant whose its messages from phones are where no `[[inbound]]` matches. Default none.
    pub inbound_tenant: Option<String>,
    /// Types of number and numbering plans in place of those told from the addresses. Default none.
    pub types: AddressTypes,
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
    /// How often it is submitted in all, 1 to 255.
    pub attempts: u8,
    /// The pauses.
    pub pause: Backoff,
}

impl Provider {
    pub(crate) fn read(section: &mut Section<'_>) -> Option<Self> {
        let id = section.id();
        section.require("id");
        let reach = Reach::read(section);
        let system_id = section.text("system_id", 0..=15);
        section.require("system_id");
        let throughput = section.between("throughput", 0..=1_000_000);
        let charset = section.get("charset").unwrap_or(Charset::Gsm7);
        let bind = section.get("bind").unwrap_or(BindKind::Transceiver);
        let interface_version = section.get("interface_version").unwrap_or(InterfaceVersion::V34);
        let submit = section.get("submit").unwrap_or(SubmitForm::SubmitSm);
        check_bind(section, bind, interface_version, reach.as_ref());
        Some(Self {
            kind: section.get("kind").unwrap_or(ProviderKind::Smpp),
            profile: section.get("profile"),
            password: section.secret("password", 0..=64).unwrap_or(Secret::new("")),
            system_type: section.text("system_type", 0..=12).unwrap_or_default(),
            service_type: section.text("service_type", 0..=5).unwrap_or_default(),
            bind,
            interface_version,
            binds: section.between("binds", 1..=256).unwrap_or(1),
            window: section.between("window", 1..=65_535).unwrap_or(10),
            throughput: throughput.unwrap_or(0),
            burst: read_burst(section, throughput),
            bind_throughput: section.between("bind_throughput", 0..=1_000_000).unwrap_or(0),
            submit_multi: read_submit_multi(section, submit, interface_version),
            submit,
            message_id: section.get("message_id").unwrap_or(MessageIdForm::Text),
            message_id_tlv: section.get("message_id_tlv").unwrap_or(MessageIdSide::Either),
            receipt: section.table("receipt", |below| Some(ReceiptDialect::read(below))).unwrap_or_default(),
            status: StatusRule::read_all(section),
            tlv: Tlv::read_all(section),
            in_doubt: section.get("in_doubt").unwrap_or(InDoubt::Resend),
            in_doubt_wait: section.between("in_doubt_wait", Duration::ZERO..=DAY).unwrap_or(SECOND * 10),
            receipt_wait: section.between("receipt_wait", SECOND..=DAY * 30).unwrap_or(HOUR * 72),
            query_after: section.between("query_after", SECOND..=DAY * 30),
            operations: section.get("operations").unwrap_or_default(),
            registered_delivery: section.get("registered_delivery").unwrap_or(AskReceipt::Asked),
            receipt_parts: section.get("receipt_parts").unwrap_or(ReceiptParts::Each),
            charset,
            texts: Texts::read(section, charset, interface_version),
            inbound_tenant: section.get("inbound_tenant"),
            types: AddressTypes::read(section),
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
            reach: reach?,
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
        let attempts = section.between("attempts", 1..=255).unwrap_or(Self::DEFAULT.attempts);
        Self { attempts, pause: Backoff::read(section, min, max) }
    }
}

/// It is submit_sm to several (SMPP 3.4 §4.5), and of an earlier version's nothing is known for certain.
fn read_submit_multi(
    section: &mut Section<'_>,
    submit: SubmitForm,
    interface_version: InterfaceVersion,
) -> Option<u32> {
    let most = section.between("submit_multi", 2..=254)?;
    if submit == SubmitForm::DataSm {
        let mend = "remove it, or let submit be \"submit_sm\"";
        section.problem(&["submit_multi"], "stands beside a \"submit\" that has one destination", mend);
    }
    if interface_version == InterfaceVersion::V33 {
        let mend = "remove it, or let interface_version be \"3.4\"";
        section.problem(&["submit_multi"], "is of SMPP 3.4, and \"interface_version\" is \"3.3\"", mend);
    }
    Some(most)
}

/// A tenth of a second's worth is what the writer grants ahead, and what no SMSC takes for a flood.
fn read_burst(section: &mut Section<'_>, throughput: Option<u32>) -> u32 {
    let burst = section.between("burst", 0..=1_000_000);
    if burst.is_some() && section.is_sound("throughput", &throughput) && throughput.unwrap_or(0) == 0 {
        section.problem(
            &["burst"],
            "means nothing without \"throughput\"",
            "write throughput too, or remove it",
        );
    }
    match throughput.unwrap_or(0) {
        0 => 0,
        limit => burst.unwrap_or(limit / 10),
    }
}

/// What a kind of bind cannot do.
fn check_bind(section: &Section<'_>, bind: BindKind, version: InterfaceVersion, reach: Option<&Reach>) {
    if bind == BindKind::Transceiver && version == InterfaceVersion::V33 {
        section.problem(
            &["bind", "interface_version"],
            "is \"transceiver\", which SMPP 3.3 does not know",
            "write bind = \"pair\"",
        );
    }
    let receives = matches!(bind, BindKind::Transceiver | BindKind::Receiver);
    if !receives && reach.is_some_and(|reach| reach.outbind.is_some()) {
        section.problem(
            &["bind", "outbind"],
            "cannot follow an outbind",
            "write bind = \"transceiver\" or \"receiver\", or remove outbind",
        );
    }
}
