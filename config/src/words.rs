//! The settings that are one word out of a list, and how each word is written in the file. It owns no defaults.

/// A setting that is one word out of a fixed list.
pub trait Word: Copy + PartialEq + 'static {
    /// Every word as it is written, with its meaning.
    const WORDS: &'static [(&'static str, Self)];

    /// The word as it is written in the file.
    fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, value)| *value == self);
        found.map_or("", |(word, _)| word)
    }
}

/// When a group of the journal counts as kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On disk (fdatasync) before the answer leaves.
    Fsync,
    /// Left to the page cache: a power cut loses what was acknowledged in the last seconds.
    Os,
}

impl Word for Durability {
    const WORDS: &'static [(&'static str, Self)] = &[("fsync", Self::Fsync), ("os", Self::Os)];
}

/// What the journal is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalLog {
    /// A sled database.
    Sled,
    /// Plain files that are appended to.
    Segments,
}

impl Word for JournalLog {
    const WORDS: &'static [(&'static str, Self)] = &[("sled", Self::Sled), ("segments", Self::Segments)];
}

/// What kind of upstream a provider is. The other kinds of the documentation are not supported by this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    /// An SMSC reached over SMPP 3.4 binds.
    Smpp,
}

impl Word for ProviderKind {
    const WORDS: &'static [(&'static str, Self)] = &[("smpp", Self::Smpp)];
}

/// How a provider's binds are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindKind {
    /// Submits only; receipts come elsewhere.
    Transmitter,
    /// Receives only; nothing is submitted.
    Receiver,
    /// Both ways on one bind.
    Transceiver,
    /// Each of the `binds` is a transmitter with a receiver beside it.
    Pair,
}

/// What becomes of a bind that is one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// ESME_RALYBND.
    Refuse,
    /// It is let in, and the oldest is unbound.
    CloseOldest,
}

impl Word for WhenFull {
    const WORDS: &'static [(&'static str, Self)] =
        &[("refuse", Self::Refuse), ("close_oldest", Self::CloseOldest)];
}

/// A kind of bind that a tenant may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindType {
    Transmitter,
    Receiver,
    Transceiver,
}

impl BindType {
    pub const ALL: [Self; 3] = [Self::Transmitter, Self::Receiver, Self::Transceiver];
}

impl Word for BindType {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("transmitter", Self::Transmitter),
        ("receiver", Self::Receiver),
        ("transceiver", Self::Transceiver),
    ];
}

/// How a tenant is given message ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdRadix {
    /// 18 decimal digits.
    Dec,
    /// 15 hexadecimal digits, small letters.
    Hex,
}

impl Word for IdRadix {
    const WORDS: &'static [(&'static str, Self)] = &[("dec", Self::Dec), ("hex", Self::Hex)];
}

/// What a provider may be asked beside taking messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Query,
    Cancel,
    Replace,
}

impl Word for Operation {
    const WORDS: &'static [(&'static str, Self)] =
        &[("query", Self::Query), ("cancel", Self::Cancel), ("replace", Self::Replace)];
}

impl Word for BindKind {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("transmitter", Self::Transmitter),
        ("receiver", Self::Receiver),
        ("transceiver", Self::Transceiver),
        ("pair", Self::Pair),
    ];
}

/// How a message id reads in the provider's response, and how the same id reads in its receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageIdForm {
    /// The same text in both.
    Text,
    /// Hexadecimal in both, whatever the case and the leading zeros.
    Hex,
    /// Decimal in both, whatever the leading zeros.
    Dec,
    /// Hexadecimal in the response, decimal in the receipt.
    HexDec,
    /// Decimal in the response, hexadecimal in the receipt.
    DecHex,
}

impl Word for MessageIdForm {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("text", Self::Text),
        ("hex", Self::Hex),
        ("dec", Self::Dec),
        ("hex_dec", Self::HexDec),
        ("dec_hex", Self::DecHex),
    ];
}

/// Whose form the id in a receipt's TLV (0x001E) has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageIdSide {
    /// The response's, else the receipt's.
    Either,
    /// The response's.
    Response,
    /// The receipt's text's.
    Receipt,
}

impl Word for MessageIdSide {
    const WORDS: &'static [(&'static str, Self)] =
        &[("either", Self::Either), ("response", Self::Response), ("receipt", Self::Receipt)];
}

/// The version of SMPP that a provider is told at the bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterfaceVersion {
    V33,
    V34,
    V50,
}

impl Word for InterfaceVersion {
    const WORDS: &'static [(&'static str, Self)] =
        &[("3.3", Self::V33), ("3.4", Self::V34), ("5.0", Self::V50)];
}

/// The operation that carries messages to a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmitForm {
    SubmitSm,
    DataSm,
}

impl Word for SubmitForm {
    const WORDS: &'static [(&'static str, Self)] =
        &[("submit_sm", Self::SubmitSm), ("data_sm", Self::DataSm)];
}

/// What a provider means by a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusMeaning {
    /// Never: the message fails.
    Permanent,
    /// Not now: the message is sent again later, and the attempt counts.
    Temporary,
    /// Too fast: the provider is sent less, and the attempt does not count.
    Throttle,
    /// It may have the message, or not: its `in_doubt` decides.
    InDoubt,
}

impl Word for StatusMeaning {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("permanent", Self::Permanent),
        ("temporary", Self::Temporary),
        ("throttle", Self::Throttle),
        ("in_doubt", Self::InDoubt),
    ];
}

/// How a TLV's value is written in the settings and in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlvType {
    /// Hexadecimal digits, two an octet.
    Octets,
    /// Text, to which a NUL is added.
    CString,
    U8,
    U16,
    U32,
}

impl Word for TlvType {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("octets", Self::Octets),
        ("cstring", Self::CString),
        ("u8", Self::U8),
        ("u16", Self::U16),
        ("u32", Self::U32),
    ];
}

/// What a word in a receipt says of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptState {
    Scheduled,
    Enroute,
    Delivered,
    Expired,
    Deleted,
    Undeliverable,
    /// Not the end: in practice the outcome follows.
    Accepted,
    Unknown,
    Rejected,
    Skipped,
}

impl Word for ReceiptState {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("scheduled", Self::Scheduled),
        ("enroute", Self::Enroute),
        ("delivered", Self::Delivered),
        ("expired", Self::Expired),
        ("deleted", Self::Deleted),
        ("undeliverable", Self::Undeliverable),
        ("accepted", Self::Accepted),
        ("unknown", Self::Unknown),
        ("rejected", Self::Rejected),
        ("skipped", Self::Skipped),
    ];
}

/// How a receipt writes its dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReceiptDate {
    /// Every reading is tried; the one nearest to its arrival counts.
    #[default]
    Auto,
    /// A year of two digits.
    Short,
    /// A year of four digits.
    Long,
    /// Seconds since 1970.
    Epoch,
}

impl Word for ReceiptDate {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("short", Self::Short), ("long", Self::Long), ("epoch", Self::Epoch)];
}

/// What happens to a message that may have reached the provider though no response came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InDoubt {
    /// It is submitted again after `in_doubt_wait`: at least once, now and then twice.
    Resend,
    /// It waits for a person: at most once.
    Hold,
    /// It fails, and its credit is released.
    Fail,
}

impl Word for InDoubt {
    const WORDS: &'static [(&'static str, Self)] =
        &[("resend", Self::Resend), ("hold", Self::Hold), ("fail", Self::Fail)];
}

/// What data_coding 0 means at a provider (SMPP 3.4 §5.2.19 leaves it to the SMSC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// GSM 03.38 default alphabet, one septet an octet.
    Gsm7,
    /// ISO 8859-1.
    Latin1,
    /// US-ASCII.
    Ascii,
    /// UTF-8.
    Utf8,
    /// UCS-2, big-endian.
    Ucs2,
}

impl Word for Charset {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("gsm7", Self::Gsm7),
        ("latin1", Self::Latin1),
        ("ascii", Self::Ascii),
        ("utf8", Self::Utf8),
        ("ucs2", Self::Ucs2),
    ];
}

/// How a provider takes a message of several parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongMessages {
    /// Cut, with a user data header and an 8-bit reference.
    Udh8,
    /// Cut, with a user data header and a 16-bit reference.
    Udh16,
    /// Cut, with the three sar parameters.
    Sar,
    /// As one, in message_payload.
    Payload,
}

impl Word for LongMessages {
    const WORDS: &'static [(&'static str, Self)] =
        &[("udh8", Self::Udh8), ("udh16", Self::Udh16), ("sar", Self::Sar), ("payload", Self::Payload)];
}

/// How a provider takes a message that is shown at once and not kept (class 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flash {
    /// By the data_coding that the tenant gave it; over HTTP as `General`.
    AsGiven,
    /// data_coding 0x10, 0x14 and 0x18.
    General,
    /// data_coding 0xF0 and 0xF4; UCS-2 as 0x18.
    Class,
    /// The parameter dest_addr_subunit.
    Subunit,
}

impl Word for Flash {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("as_given", Self::AsGiven),
        ("general", Self::General),
        ("class", Self::Class),
        ("subunit", Self::Subunit),
    ];
}

/// A language with GSM 7-bit tables of its own (3GPP TS 23.038 annex A).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Its identifier is 1; those below follow in their order.
    Turkish,
    /// Without a locking shift table.
    Spanish,
    /// Portuguese.
    Portuguese,
    /// Bengali.
    Bengali,
    /// Gujarati.
    Gujarati,
    /// Hindi.
    Hindi,
    /// Kannada.
    Kannada,
    /// Malayalam.
    Malayalam,
    /// Oriya.
    Oriya,
    /// Punjabi.
    Punjabi,
    /// Tamil.
    Tamil,
    /// Telugu.
    Telugu,
    /// Urdu.
    Urdu,
}

impl Word for Language {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("turkish", Self::Turkish),
        ("spanish", Self::Spanish),
        ("portuguese", Self::Portuguese),
        ("bengali", Self::Bengali),
        ("gujarati", Self::Gujarati),
        ("hindi", Self::Hindi),
        ("kannada", Self::Kannada),
        ("malayalam", Self::Malayalam),
        ("oriya", Self::Oriya),
        ("punjabi", Self::Punjabi),
        ("tamil", Self::Tamil),
        ("telugu", Self::Telugu),
        ("urdu", Self::Urdu),
    ];
}

/// When a provider is asked for a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskReceipt {
    /// When the tenant asked for one, or its plan settles on delivery.
    Asked,
    /// For every message.
    Always,
    /// For none: the provider sends none, or charges for them.
    Never,
}

impl Word for AskReceipt {
    const WORDS: &'static [(&'static str, Self)] =
        &[("asked", Self::Asked), ("always", Self::Always), ("never", Self::Never)];
}

/// Of what a provider's receipt for one of several parts speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptParts {
    /// Of that part: each has its own.
    Each,
    /// Of all that it has taken: it sends one for the whole message, for whichever part.
    Any,
}

impl Word for ReceiptParts {
    const WORDS: &'static [(&'static str, Self)] = &[("each", Self::Each), ("any", Self::Any)];
}

/// How one of a route's providers is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// The first that is up, in the order given.
    Failover,
    /// In proportion to `weights`.
    Weighted,
    /// The lowest `cost`; the order given decides between equals.
    LeastCost,
    /// Each in turn.
    RoundRobin,
}

impl Word for Strategy {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("failover", Self::Failover),
        ("weighted", Self::Weighted),
        ("least_cost", Self::LeastCost),
        ("round_robin", Self::RoundRobin),
    ];
}

/// How a message reaches the phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// A short message.
    Sms,
}

impl Word for Channel {
    const WORDS: &'static [(&'static str, Self)] = &[("sms", Self::Sms)];
}

/// The highest priority a tenant's messages may ask for. Written `1` or `"normal"`, `2` or `"high"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// `high` is treated as `normal`.
    Normal,
    /// All three priorities are open to it.
    High,
}

impl Word for Priority {
    const WORDS: &'static [(&'static str, Self)] = &[("normal", Self::Normal), ("high", Self::High)];
}

/// Whether a tenant may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantStatus {
    /// It may.
    Active,
    /// Refused with `tenant_suspended`; what it had queued is held.
    Suspended,
    /// Refused with `tenant_paused`; what it had queued is held.
    Paused,
}

impl Word for TenantStatus {
    const WORDS: &'static [(&'static str, Self)] =
        &[("active", Self::Active), ("suspended", Self::Suspended), ("paused", Self::Paused)];
}

/// When a tenant pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Billing {
    /// Before: it sends while credit is available.
    Prepaid,
    /// After: its balance may go down to minus `credit_limit`.
    Postpaid,
}

impl Word for Billing {
    const WORDS: &'static [(&'static str, Self)] =
        &[("prepaid", Self::Prepaid), ("postpaid", Self::Postpaid)];
}

/// Which outcome turns a reservation into a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// The provider's positive response.
    Sent,
    /// The delivered receipt; without it the reservation is released.
    Delivered,
}

impl Word for Settle {
    const WORDS: &'static [(&'static str, Self)] = &[("sent", Self::Sent), ("delivered", Self::Delivered)];
}
