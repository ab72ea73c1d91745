//! Tenants, providers and routes as the engine needs them: definitions from outside, and the permanent numbers given to their names.
//! It holds no secrets and checks no passwords.

use std::time::Duration;

use codecs::instant::Wall;
use codecs::message_id::Form;
use codecs::receipt::Dates;
use codecs::text::national::{Languages, Tables};

use crate::command::AskKind;
use crate::money::Micros;
use crate::provider_form::{AddressTypes, SubmitForm, TlvRule};
use crate::quota::Quotas;
use crate::status_table::StatusTable;
use crate::submission::Priority;

/// All tenants, providers and routes that hold from now on.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    pub settings: Settings,
    pub tenants: Vec<TenantDefinition>,
    pub providers: Vec<ProviderDefinition>,
    pub routes: Vec<RouteDefinition>,
    /// Whose a message from a phone is: the first that fits decides.
    pub inbound: Vec<InboundDefinition>,
    /// Price tables by name: (prefix digits, price of a part); the empty prefix is the default.
    pub rates: Vec<(String, Vec<(String, Micros)>)>,
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a message may wait to be sent when its tenant named no validity.
    pub validity: Duration,
    /// Messages that wait in memory before the newest of them are parked on disk.
    pub queue_memory: u64,
    /// Messages that may wait in all queues together.
    pub queue_max: u64,
    /// Messages of one tenant that may wait.
    pub tenant_queue_max: u64,
    /// What may wait for tenants to come for it.
    pub untold_max: u64,
    /// Shares of high, normal and low.
    pub shares: [u32; 3],
    /// Percent of each provider's window kept for `high`.
    pub high_percent: u32,
    /// Whether an implicit route exists when no route matches.
    pub fallback: bool,
    /// How long a provider must be down before what is queued for it goes to the next of its route.
    pub failover_after: Duration,
    /// How long a receipt without a message is kept for a late response.
    pub early_receipt: Duration,
    /// How long a full or old block waits before its finished messages go to the archive.
    pub archive_after: Duration,
    pub inbound: InboundSettings,
}

/// What holds for messages from phones, and for what is kept for the operator.
#[derive(Clone, Debug)]
pub struct InboundSettings {
    /// How long the parts of a message wait for those that are missing.
    pub parts_wait: Duration,
    /// Parts that may wait; beyond, the oldest incomplete message of the phone of which most wait goes to its tenant as it is.
    pub parts_max: usize,
    /// What comes again within this is the same.
    pub repeat_window: Duration,
    /// Of each kind, what is kept for the operator at most, in number and in octets, and how long.
    pub kept_max: usize,
    pub kept_octets: usize,
    pub kept_for: Duration,
}

impl Default for InboundSettings {
    fn default() -> InboundSettings {
        InboundSettings {
            parts_wait: Duration::from_secs(600),
            parts_max: 10_000,
            repeat_window: Duration::from_secs(60),
            kept_max: 10_000,
            kept_octets: 64 << 20,
            kept_for: Duration::from_secs(7 * 24 * 3_600),
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            validity: Duration::from_secs(72 * 3600),
            queue_memory: 1_000_000,
            queue_max: 20_000_000,
            tenant_queue_max: 1_000_000,
            untold_max: 100_000_000,
            shares: [16, 4, 1],
            high_percent: 10,
            fallback: true,
            failover_after: Duration::from_secs(10),
            early_receipt: Duration::from_secs(600),
            archive_after: Duration::from_secs(60),
            inbound: InboundSettings::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TenantStatus {
    #[default]
    Active,
    Suspended,
    Expired,
    Paused,
}

/// When reserved credit is settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum SettleOn {
    #[default]
    Sent = 0,
    Delivered = 1,
}

#[derive(Clone, Debug)]
pub struct TenantDefinition {
    pub id: String,
    pub currency: String,
    /// Price of a part; `None` when `rates` names a table.
    pub price: Option<Micros>,
    pub rates: Option<String>,
    /// Credited once, when the tenant is first seen.
    pub opening_balance: Micros,
    pub credit_limit: Micros,
    /// The ceiling of its messages' priority.
    pub priority: Priority,
    pub status: TenantStatus,
    /// From then on it is refused like one that has expired.
    pub expires_at: Option<Wall>,
    pub settle_on: SettleOn,
    pub default_provider: Option<String>,
    /// How long its receipts wait for it before they are dropped.
    pub receipt_ttl: Duration,
    /// How many messages it may submit in a minute, an hour and a day.
    pub quotas: Quotas,
    /// How its receipts are written.
    pub receipts: ReceiptStyle,
    /// Messages from phones are handed to its binds; else they are only listed.
    pub binds: bool,
}

/// For who cares about some of it only: the settings say all of it.
impl Default for TenantDefinition {
    fn default() -> TenantDefinition {
        TenantDefinition {
            id: String::new(),
            currency: String::new(),
            price: None,
            rates: None,
            opening_balance: Micros::ZERO,
            credit_limit: Micros::ZERO,
            priority: Priority::High,
            status: TenantStatus::Active,
            expires_at: None,
            settle_on: SettleOn::Sent,
            default_provider: None,
            receipt_ttl: Duration::from_secs(72 * 3_600),
            quotas: Quotas::default(),
            receipts: ReceiptStyle::default(),
            binds: true,
        }
    }
}

/// How a tenant is given message ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdRadix {
    #[default]
    Dec,
    Hex,
}

/// How a tenant's receipts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiptStyle {
    /// Of the TLV, which is the submit_sm_resp's.
    pub id: IdRadix,
    /// Of the text.
    pub text_id: IdRadix,
    pub dates: Dates,
    /// Whether there are TLVs, for peers that know them.
    pub tlvs: bool,
    /// Whether the first octets of the message are in it.
    pub text: bool,
}

impl Default for ReceiptStyle {
    fn default() -> ReceiptStyle {
        ReceiptStyle {
            id: IdRadix::Dec,
            text_id: IdRadix::Dec,
            dates: Dates::default(),
            tlvs: true,
            text: true,
        }
    }
}

/// What is done with a message whose bytes may have reached a provider that did not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InDoubt {
    #[default]
    Resend,
    Hold,
    Fail,
}

/// Whether a provider is asked for receipts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum AskReceipt {
    /// When the tenant wants one or its plan needs one.
    #[default]
    Asked = 0,
    Always = 1,
    Never = 2,
}

impl AskReceipt {
    pub fn from_u8(value: u8) -> Option<AskReceipt> {
        [AskReceipt::Asked, AskReceipt::Always, AskReceipt::Never].get(usize::from(value)).copied()
    }
}

/// The alphabet of data_coding 0 at a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Charset {
    #[default]
    Gsm7,
    Latin1,
    Ascii,
    Utf8,
    Ucs2,
}

impl Charset {
    /// The last character that it has, where it has not all that GSM 7-bit has.
    pub fn last(self) -> Option<char> {
        match self {
            Charset::Latin1 => Some('\u{FF}'),
            Charset::Ascii => Some('\u{7F}'),
            Charset::Gsm7 | Charset::Utf8 | Charset::Ucs2 => None,
        }
    }
}

/// How a provider takes a message of several parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LongMessages {
    /// Cut, with a user data header and a reference of one octet.
    #[default]
    Udh8,
    /// The same with a reference of two octets, which takes a little of each part's room.
    Udh16,
    /// Cut, with sar parameters: it writes the header itself.
    Sar,
    /// As one, in message_payload: it cuts.
    Payload,
}

/// How a provider takes a message that is shown at once and not kept (class 0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flash {
    /// By the data_coding that its tenant gave it.
    #[default]
    AsGiven,
    /// data_coding 0x10, 0x14 or 0x18.
    General,
    /// data_coding 0xF0 or 0xF4; UCS-2 as 0x18, because that group has none.
    Class,
    /// The parameter dest_addr_subunit, beside the data_coding of a usual message.
    Subunit,
}

/// National language tables that a provider takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NationalTables {
    pub single: Languages,
    pub locking: Languages,
}

impl NationalTables {
    pub fn take(&self, tables: Tables) -> bool {
        tables.single.is_none_or(|language| self.single.contains(language))
            && tables.locking.is_none_or(|language| self.locking.contains(language))
    }
}

/// Whose form the id in a receipt's TLV (0x001E) has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlvId {
    /// The response's, else the receipt's.
    #[default]
    Either,
    Response,
    Receipt,
}

/// Of what a provider's receipt for one of several parts speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReceiptParts {
    /// Of that part.
    #[default]
    Each,
    /// Of all that it has taken: it sends one for the whole message, for whichever part.
    Any,
}

#[derive(Clone, Debug)]
pub struct ProviderDefinition {
    pub id: String,
    pub enabled: bool,
    /// Order in the implicit route; lower is tried first.
    pub priority: u32,
    /// Parts a second over all binds; 0: no limit.
    pub throughput: u32,
    /// Parts beyond `throughput` that may go at once after a pause; 0: no second has more than `throughput`.
    pub burst: u32,
    /// Parts a second over each bind; 0: no limit but the provider's.
    pub bind_throughput: u32,
    pub message_id: Form,
    /// Whose form the id in a receipt's TLV has.
    pub tlv_id: TlvId,
    pub in_doubt: InDoubt,
    pub in_doubt_wait: Duration,
    pub receipt_wait: Duration,
    /// How long after a message was sent it is asked (query_sm) what became of it; `None`: never.
    pub query_after: Option<Duration>,
    /// Whether messages that are alike may go to it in one submit_multi.
    pub submit_multi: bool,
    /// What it lets tenants do with messages that it has.
    pub operations: Vec<AskKind>,
    pub receipts: AskReceipt,
    /// What its receipts say of a message of several parts.
    pub receipt_parts: ReceiptParts,
    /// What data_coding 0 means there.
    pub charset: Charset,
    /// Whether it takes septets packed, eight in seven octets.
    pub packed: bool,
    pub national: NationalTables,
    pub long_messages: LongMessages,
    pub flash: Flash,
    /// What a part costs the operator, for least-cost routes.
    pub cost: Micros,
    /// Tries of a whole message here before it fails or goes elsewhere; throttled ones do not count.
    pub attempts_max: u8,
    pub retry_first: Duration,
    pub retry_max: Duration,
    /// What it means by its statuses.
    pub statuses: StatusTable,
    pub types: AddressTypes,
    /// Said in place of the messages' own; at most 5 octets.
    pub service_type: Option<String>,
    pub submit: SubmitForm,
    /// Whether it may be sent TLVs at all.
    pub takes_tlvs: bool,
    pub tlvs: Vec<TlvRule>,
    /// Whose its messages from phones are where no rule fits.
    pub inbound_tenant: Option<String>,
}

/// For who cares about some of it only: the settings say all of it.
impl Default for ProviderDefinition {
    fn default() -> ProviderDefinition {
        ProviderDefinition {
            id: String::new(),
            enabled: true,
            priority: 0,
            throughput: 0,
            burst: 1,
            bind_throughput: 0,
            message_id: Form::Text,
            tlv_id: TlvId::Either,
            in_doubt: InDoubt::Resend,
            in_doubt_wait: Duration::from_secs(10),
            receipt_wait: Duration::from_secs(72 * 3_600),
            query_after: None,
            submit_multi: false,
            operations: Vec::new(),
            receipts: AskReceipt::Asked,
            receipt_parts: ReceiptParts::Each,
            charset: Charset::Gsm7,
            packed: false,
            national: NationalTables::default(),
            long_messages: LongMessages::Udh8,
            flash: Flash::AsGiven,
            cost: Micros::ZERO,
            attempts_max: 3,
            retry_first: Duration::from_secs(5),
            retry_max: Duration::from_secs(60),
            statuses: StatusTable::default(),
            types: AddressTypes::default(),
            service_type: None,
            submit: SubmitForm::SubmitSm,
            takes_tlvs: true,
            tlvs: Vec::new(),
            inbound_tenant: None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    #[default]
    Failover,
    Weighted,
    LeastCost,
    RoundRobin,
}

/// Whose messages from phones are that are like this. One value of each list suffices; an empty list asks nothing, but of the
/// two for the address that was written to, a value of either suffices.
#[derive(Clone, Debug, Default)]
pub struct InboundDefinition {
    /// Provider ids.
    pub providers: Vec<String>,
    /// The address that was written to, without a plus; in any case of letters.
    pub to: Vec<String>,
    /// How it begins.
    pub to_prefixes: Vec<String>,
    /// How the phone's number begins, in digits.
    pub from_prefixes: Vec<String>,
    /// The first word of the text, in any case.
    pub keywords: Vec<String>,
    pub tenant: String,
}

#[derive(Clone, Debug, Default)]
pub struct RouteDefinition {
    /// Lower is tried first; then the longer prefix, then the earlier route.
    pub priority: i32,
    /// Destination digits; empty: any.
    pub prefixes: Vec<String>,
    /// Tenant ids; empty: any.
    pub tenants: Vec<String>,
    /// Sender ids, exact; empty: any.
    pub senders: Vec<String>,
    /// Provider ids with their weights (1 where none is given).
    pub providers: Vec<(String, u32)>,
    pub strategy: Strategy,
}
