//! What comes in: everything that the outside tells the engine, always in batches from one source.
//! It owns no behaviour; `engine.rs` decides.

use codecs::instant::{Mono, Wall};
use codecs::receipt::State as ReceiptState;

use crate::catalog::Definitions;
use crate::effect::Load;
use crate::flushes::Flushes;
use crate::kept::Drawer;
use crate::surgery::Order;

/// The time of a turn of the commit loop, given with the commands; the engine reads no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub wall: Wall,
    pub mono: Mono,
}

/// One connection of this process: a tenant's SMPP session or a provider's bind. Not given to another while it is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

/// Names a request that waits for an answer (an HTTP call, an operator's command). Given by the asker, comes back with the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplyId(pub u64);

/// Where the answers to submissions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// A tenant's SMPP session: each answer is a `submit_sm_resp` with the sequence number of its request.
    Smpp(ConnectionId),
    /// An HTTP request: one reply with the outcomes in the order given.
    Http(ReplyId),
}

/// A message as a door understood it, before it is priced, routed and numbered.
/// Its content is `Submissions::bodies[start..end]`, written by `submission::Body::write`.
#[derive(Clone, Copy, Debug)]
pub struct Submission {
    /// The SMPP sequence number of the request; 0 over HTTP.
    pub sequence: u32,
    /// End of its body in `bodies`; it starts where the one before ends.
    pub end: u32,
    /// Refused by the door already (bad address, over the limit…): keeps its place in the order of answers. Its body is empty.
    pub refused: Option<Refusal>,
}

/// A batch of submissions of one tenant through one door; at most 1,000 (a larger one is cut by the door).
#[derive(Debug)]
pub struct Submissions {
    pub tenant: u32,
    pub door: Door,
    /// When the first of them was read from the socket.
    pub received: Mono,
    pub idempotency: Option<IdempotencyKey>,
    pub items: Vec<Submission>,
    pub bodies: Vec<u8>,
}

/// An `Idempotency-Key` and the fingerprint of the request's body, and which of how many slices that the request enters in this is:
/// they have one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    pub key: Vec<u8>,
    pub body_hash: [u8; 16],
    pub slice: u8,
    pub slices: u8,
}

/// One part of one message on its way to a provider: the token of its `submit_sm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartToken(pub u64);

impl PartToken {
    /// `number` fits 56 bits, `part` counts from 0.
    pub fn new(number: u64, part: u8) -> PartToken {
        debug_assert!(number < 1 << 56);
        PartToken(number << 8 | u64::from(part))
    }

    pub fn number(self) -> u64 {
        self.0 >> 8
    }

    pub fn part(self) -> u8 {
        (self.0 & 0xff) as u8
    }
}

/// A provider's answer to one `submit_sm`.
#[derive(Clone, Copy, Debug)]
pub struct Response {
    pub token: PartToken,
    /// The SMPP command_status; 0 is acceptance.
    pub status: u32,
    /// End of the provider's message id in `Responses::ids`; it starts where the one before ends.
    pub end: u32,
}

/// What one read of a provider's bind brought as answers.
#[derive(Debug, Default)]
pub struct Responses {
    pub provider: u16,
    pub bind: u16,
    pub items: Vec<Response>,
    pub ids: Vec<u8>,
    /// They are answers to submit_multi: an id names several messages.
    pub shared: bool,
    /// Their requests had been given up before: what they are about may have been sent again since.
    pub late: bool,
}

/// What is asked of a provider beside messages: what became of a part, to forget it, to send another text in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AskKind {
    Query,
    Cancel,
    Replace,
}

/// What a provider said when it was asked about a part.
#[derive(Clone, Copy, Debug)]
pub struct AskAnswer {
    pub token: PartToken,
    pub kind: AskKind,
    pub status: u32,
    /// Of a query; `None` when it refused, or did not answer in time.
    pub state: Option<ReceiptState>,
    /// Its error_code.
    pub error: u8,
    /// The final date it names, where it could be read.
    pub done: Option<Wall>,
}

/// A delivery receipt as read from a provider's `deliver_sm` or `data_sm`.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The sequence number to answer with.
    pub sequence: u32,
    pub state: ReceiptState,
    /// Digits of the receipt's source address (the phone), for checking a match; `None` when it is not a number.
    pub phone: Option<u64>,
    /// Ends in `Receipts::bytes` of, in this order, the id of the TLV 0x001E, the id of the text, and the error word.
    pub tlv_id_end: u32,
    pub text_id_end: u32,
    pub error_end: u32,
    /// The done date it names, where it could be read.
    pub done: Option<Wall>,
}

/// What one read of a provider's bind brought as receipts. Each is answered when it is on disk.
#[derive(Debug, Default)]
pub struct Receipts {
    pub provider: u16,
    pub connection: Option<ConnectionId>,
    pub items: Vec<Receipt>,
    pub bytes: Vec<u8>,
    /// Of those that phones have sent themselves, by place among the items.
    pub acknowledgements: Vec<(usize, PhoneAcknowledgement)>,
}

impl Receipts {
    /// Each with the id of its TLV, the one of its text, and the error.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&Receipt, [&[u8]; 3])> {
        let field = |from: u32, to: u32| self.bytes.get(from as usize..to as usize).unwrap_or_default();
        self.items.iter().scan(0, move |start, item| {
            let begin = std::mem::replace(start, item.error_end);
            let (tlv_end, text_end) = (item.tlv_id_end, item.text_id_end);
            Some((item, [field(begin, tlv_end), field(tlv_end, text_end), field(text_end, item.error_end)]))
        })
    }

    pub(crate) fn acknowledgement_at(&self, place: usize) -> Option<Box<PhoneAcknowledgement>> {
        let mut all = self.acknowledgements.iter();
        all.find(|(at, _)| *at == place).map(|(_, said)| Box::new(said.clone()))
    }
}

/// What a phone, or who holds it, acknowledges (SMPP 3.4 §5.2.12): a message from there, about one of a tenant's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneAcknowledgement {
    /// As an `InboundItem`'s.
    pub arrival: u64,
    /// A `Body`, of which esm_class keeps the kind.
    pub body: Box<[u8]>,
}

/// How a phone's message says that it is a part of a longer one. The numbers are kept on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum PartForm {
    /// A user data header with a reference of 8 bits, or of 16.
    Header8 = 0,
    Header16 = 1,
    /// The three sar_ TLVs.
    Sar = 2,
}

/// Which part it is, of what; parts are numbered from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartOf {
    pub form: PartForm,
    pub reference: u16,
    pub total: u8,
    pub number: u8,
}

/// A message from a phone, or a part of one, as read from a provider's `deliver_sm` or `data_sm`.
#[derive(Clone, Copy, Debug)]
pub struct InboundItem {
    /// The sequence number to answer with.
    pub sequence: u32,
    /// Stands for what the PDU brought: the same again has the same.
    pub arrival: u64,
    /// What makes it a part is not in its octets.
    pub part: Option<PartOf>,
    /// End of its body in `Inbound::bodies`; it starts where the one before ends.
    pub end: u32,
}

/// What one read of a provider's bind brought from phones. Each is answered when it is on disk.
#[derive(Debug, Default)]
pub struct Inbound {
    pub provider: u16,
    pub connection: Option<ConnectionId>,
    pub items: Vec<InboundItem>,
    pub bodies: Vec<u8>,
}

/// How a tenant's session answered one of our `deliver_sm`.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledgement {
    /// Of the request.
    pub token: u64,
    pub said: Said,
}

/// A request that was sent comes back once, as one of the first two, or with the end of its session. After `Nothing` the last
/// may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// This command_status, in time.
    Status(u32),
    /// Nothing in time.
    Nothing,
    /// This command_status after all.
    Late(u32),
}

/// A block that was asked for, and what there is of it.
#[derive(Debug)]
pub struct LoadedBlock {
    pub load: Load,
    pub messages: Vec<Vec<u8>>,
}

/// What a tenant's session wants of messages that it has submitted (SMPP 3.4 §4.8 to §4.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantOperation {
    pub tenant: u32,
    pub connection: ConnectionId,
    /// The sequence number to answer with.
    pub sequence: u32,
    pub wanted: Wanted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    OfOne {
        named: Named,
        what: OfOne,
    },
    /// That all are cancelled that have these three and wait.
    CancelAll(Addresses),
}

/// A message as its tenant names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What the outside was given.
    pub id: u64,
    /// Its source must be this one; empty: any.
    pub source: Vec<u8>,
    /// Its destination must be this one, where it is given.
    pub destination: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfOne {
    Query,
    Cancel,
    Replace(Replacement),
}

/// What messages of a tenant may have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    pub service_type: Vec<u8>,
    pub source: Vec<u8>,
    pub destination: u64,
}

/// What takes the place of what a message was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// In the encoding of the message.
    pub octets: Vec<u8>,
    /// `None`: as it was.
    pub send_at: Option<Wall>,
    pub valid_until: Option<Wall>,
    pub registered_delivery: u8,
}

/// Receipts on their way to one session at once; they cost memory.
pub const DELIVERY_WINDOW_MAX: u32 = 1_500;

/// One batch from one source.
#[derive(Debug)]
pub enum Command {
    Submit(Submissions),
    /// A provider's bind is up and may be given work.
    BindUp {
        provider: u16,
        bind: u16,
        connection: ConnectionId,
        window: u32,
    },
    /// A provider's bind is about to end its session, and is given no more until it is up again.
    BindRests {
        provider: u16,
        bind: u16,
    },
    /// A provider's bind is gone. `unsent`: the kernel never took all their octets; `in_flight`: sent, unanswered.
    /// Sent a second time, with what was still on its way to the driver, after `Outgoing::closed`.
    BindDown {
        provider: u16,
        bind: u16,
        unsent: Vec<PartToken>,
        in_flight: Vec<PartToken>,
    },
    Responses(Responses),
    /// A provider has said how busy it is (congestion_state of SMPP 5.0, 0 to 100): the most of one read.
    Congested {
        provider: u16,
        state: u8,
    },
    /// No answer within the response timeout: in doubt.
    Unanswered {
        provider: u16,
        bind: u16,
        tokens: Vec<PartToken>,
    },
    Receipts(Receipts),
    Inbound(Inbound),
    /// Each question that a bind was given is answered once, unless the bind goes down before.
    AskAnswers {
        provider: u16,
        bind: u16,
        items: Vec<AskAnswer>,
    },
    /// A tenant's session is bound; `receives` when it takes `deliver_sm`.
    TenantBound {
        tenant: u32,
        connection: ConnectionId,
        receives: bool,
        /// Its peer may be sent TLVs.
        tlvs: bool,
        /// Receipts that it may have unanswered; `DELIVERY_WINDOW_MAX` at most.
        window: u32,
    },
    /// A tenant's session is gone; `untold` are the tokens given to it that have not come back. A second time like `BindDown`.
    TenantUnbound {
        tenant: u32,
        connection: ConnectionId,
        untold: Vec<u64>,
    },
    Acknowledged {
        tenant: u32,
        connection: ConnectionId,
        items: Vec<Acknowledgement>,
    },
    Operation(Box<TenantOperation>),
    /// The tenants, providers and routes that hold from now on.
    Configure {
        definitions: Box<Definitions>,
        reply: Option<ReplyId>,
    },
    Query {
        reply: ReplyId,
        query: Query,
    },
    Cancel {
        reply: ReplyId,
        tenant: u32,
        number: u64,
    },
    /// Blocks that the archive holds durably now, and what the stores that it took count.
    Archived {
        blocks: Vec<u64>,
        flushes: Flushes,
    },
    /// Blocks that the parked store holds durably now, and the same.
    Parked {
        blocks: Vec<u64>,
        flushes: Flushes,
    },
    /// Blocks read back, because `Effects::loads` asked for them.
    Loaded {
        blocks: Vec<LoadedBlock>,
    },
    /// Numbers of archived messages that own ids of `Effects::questions`.
    Owners {
        numbers: Vec<u64>,
    },
    /// Refuse intake and grant no new intent; the reply comes when nothing is in flight.
    Drain {
        reply: ReplyId,
    },
    /// What the disk allows from now on.
    Disk(DiskLevel),
    /// An operator's, answered at once or when all of it is done.
    Operate {
        reply: ReplyId,
        order: Box<Order>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskLevel {
    Fine,
    /// Below the reserve: intake is refused, receipts and outcomes are still written.
    RefuseIntake,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// A message as it is now, if it is living.
    Message {
        number: u64,
    },
    /// A tenant's messages that are living, the newest first, at or below a place in the order of numbers; at most so many.
    Living {
        tenant: u32,
        at: u64,
        most: usize,
        /// Those from phones, or those to them.
        inbound: bool,
    },
    /// What is kept for the operator, from this one on; of one provider, where it is named, and of phones whose numbers begin so.
    Kept {
        drawer: Drawer,
        provider: Option<String>,
        phone: Option<String>,
        from: u64,
        most: usize,
    },
    Balance {
        tenant: u32,
    },
    /// What a message would cost; nothing is sent or reserved. `body` is as in `Submissions::bodies`.
    Estimate {
        tenant: u32,
        body: Vec<u8>,
    },
    /// All wallets, for `ledger verify` and tests.
    Wallets,
    /// What a drain waits for.
    OnTheWay,
}

/// Why a submission is refused at the door. One code for all doors; each maps it to its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Refusal {
    InvalidRequest = 0,
    InsufficientCredit = 1,
    NoRoute = 2,
    InvalidDestination = 3,
    InvalidSource = 4,
    TooLong = 5,
    RateLimited = 6,
    QueueFull = 7,
    Unavailable = 8,
    IdempotencyMismatch = 9,
    // 10 is none any more. The numbers stand in the journal, and are not given twice.
    TenantSuspended = 11,
    TenantExpired = 12,
    TenantPaused = 13,
    InvalidEncoding = 14,
    InvalidSchedule = 15,
    InvalidValidity = 16,
    /// An esm_class that promises what we cannot do.
    UnsupportedMode = 17,
    /// TLVs that go together, and not all of them.
    MissingParameter = 18,
    /// It asks for a provider that there is not, or that is disabled.
    NoSuchProvider = 19,
}

impl Refusal {
    /// More than any refusal's number.
    pub const NUMBERS: usize = 20;

    pub const ALL: [Refusal; 19] = [
        Refusal::InvalidRequest,
        Refusal::InsufficientCredit,
        Refusal::NoRoute,
        Refusal::InvalidDestination,
        Refusal::InvalidSource,
        Refusal::TooLong,
        Refusal::RateLimited,
        Refusal::QueueFull,
        Refusal::Unavailable,
        Refusal::IdempotencyMismatch,
        Refusal::TenantSuspended,
        Refusal::TenantExpired,
        Refusal::TenantPaused,
        Refusal::InvalidEncoding,
        Refusal::InvalidSchedule,
        Refusal::InvalidValidity,
        Refusal::UnsupportedMode,
        Refusal::MissingParameter,
        Refusal::NoSuchProvider,
    ];

    /// The stable code of `application/problem+json` and of the metric's label.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::InvalidRequest
            | Refusal::InvalidSource
            | Refusal::InvalidEncoding
            | Refusal::InvalidSchedule
            | Refusal::InvalidValidity
            | Refusal::UnsupportedMode
            | Refusal::MissingParameter => "invalid_request",
            Refusal::InsufficientCredit => "insufficient_credit",
            Refusal::NoRoute | Refusal::NoSuchProvider => "no_route",
            Refusal::InvalidDestination => "invalid_destination",
            Refusal::TooLong => "too_long",
            Refusal::RateLimited => "rate_limited",
            Refusal::QueueFull => "queue_full",
            Refusal::Unavailable => "unavailable",
            Refusal::IdempotencyMismatch => "idempotency_mismatch",
            Refusal::TenantSuspended => "tenant_suspended",
            Refusal::TenantExpired => "tenant_expired",
            Refusal::TenantPaused => "tenant_paused",
        }
    }

    pub fn from_u8(value: u8) -> Option<Refusal> {
        Refusal::ALL.into_iter().find(|refusal| *refusal as u8 == value)
    }
}
