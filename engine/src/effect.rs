//! What goes out: everything the engine wants done once a group is on disk. Released by the commit loop, in order.

use codecs::instant::{Mono, Wall};
use codecs::receipt::State as ReceiptState;
use codecs::text::Encoding;

use hashbrown::HashMap;

use crate::command::{AskKind, ConnectionId, Refusal, ReplyId};
use crate::hash::BlockHash;
use crate::kept::KeptPage;
use crate::ledger::Wallet;
use crate::listing::Living;
use crate::money::Micros;
use crate::quota::UsedUp;
use crate::routing::RoutingError;
use crate::surgery::Report;

/// Room made for one connection at once, at most.
const ROOM_ANSWERS_MAX: usize = 4_096;
const ROOM_OCTETS_MAX: usize = 1 << 20;

/// The outcome of one submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `id` is what the outside sees; `price` the whole message's.
    Accepted {
        id: u64,
        price: Micros,
        /// As it is sent, which its providers decide with the door; 0 parts where that is said again and was not kept.
        parts: u8,
        encoding: Encoding,
        scheduled: bool,
    },
    Refused(Refusal),
}

/// The answer to one `submit_sm` of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubmitAnswer {
    pub sequence: u32,
    pub outcome: Outcome,
}

/// A request of ours for a connection: a `submit_sm` for a provider's bind (the token is a `PartToken`), a `deliver_sm`
/// for a tenant's session (the token is the message's number). Its mandatory fields and TLVs are `Outgoing::bodies` up to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub token: u64,
    pub end: u32,
}

/// The answer to one `TenantOperation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationAnswer {
    pub sequence: u32,
    pub kind: AskKind,
    pub outcome: Operated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operated {
    /// A query's. `done` is when it came to its end, if it has.
    State {
        id: u64,
        state: ReceiptState,
        done: Option<Wall>,
        error: u8,
    },
    Done,
    /// There is no such message, or it is too late.
    Failed,
    Refused(Refusal),
}

/// One query_sm, cancel_sm or replace_sm: the part it is about, and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub token: u64,
    pub kind: AskKind,
    pub body: Vec<u8>,
}

/// All that one group has for one connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    pub answers: Vec<SubmitAnswer>,
    /// How full what takes the tenant's messages is, in percent, as of these answers.
    pub congestion: u8,
    /// Receipts now on disk: (sequence number, command_status) of their `deliver_sm_resp`.
    pub acknowledged: Vec<(u32, u32)>,
    pub requests: Vec<Request>,
    pub bodies: Vec<u8>,
    /// What is to be asked of a provider. Few, so each has its own octets.
    pub asks: Vec<Ask>,
    /// Answers to a tenant's operations.
    pub operated: Vec<OperationAnswer>,
    /// The engine has taken note that the connection is gone: nothing follows. Requests up to here that the
    /// session never took are given back by the driver.
    pub closed: bool,
}

impl Outgoing {
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
            && self.acknowledged.is_empty()
            && self.requests.is_empty()
            && self.asks.is_empty()
            && self.operated.is_empty()
            && !self.closed
    }

    /// Joins what a later group has to what was not taken yet.
    pub fn append(&mut self, mut later: Outgoing) {
        if self.is_empty() {
            *self = later;
            return;
        }
        let offset = self.bodies.len() as u32;
        self.closed |= later.closed;
        self.congestion = self.congestion.max(later.congestion);
        self.answers.append(&mut later.answers);
        self.acknowledged.append(&mut later.acknowledged);
        self.asks.append(&mut later.asks);
        self.operated.append(&mut later.operated);
        self.bodies.append(&mut later.bodies);
        self.requests
            .extend(later.requests.iter().map(|request| Request { end: request.end + offset, ..*request }));
    }
}

/// The answer to an asker that is no connection of ours.
#[derive(Debug)]
pub enum Reply {
    /// One outcome per submission, in the order given; `replayed` when an idempotency key was seen before.
    Submitted {
        outcomes: Vec<Outcome>,
        replayed: bool,
        /// The tenant's quota that some of them were refused for, if one was.
        limited: Option<UsedUp>,
    },
    /// The message's bytes (`message::View` reads them), or `None` when it is not living: ask the archive.
    Message(Option<Vec<u8>>),
    /// The number was never given: there is no such message anywhere.
    NeverGiven,
    Living(Living),
    /// `None`: there is no such provider.
    Kept(Option<KeptPage>),
    Balance(Option<Balance>),
    Estimated(Result<Estimate, Refusal>),
    Wallets(Vec<(u32, Wallet)>),
    OnTheWay(OnTheWay),
    Cancelled(Cancelled),
    Configured(Result<(), RoutingError>),
    Drained,
    Operated(Report),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    Done,
    /// Its intent is in a group already, or it is final.
    TooLate,
    NotLiving,
}

/// What others have been given and have not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnTheWay {
    /// Parts of messages, at providers.
    pub parts: u64,
    /// Receipts and messages from phones, at tenants.
    pub told: u64,
}

/// What a message would be, if it were sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    pub parts: u8,
    pub encoding: Encoding,
    /// Its user data begins with a header that names tables of a national language.
    pub is_national: bool,
    /// Of the whole message.
    pub price: Micros,
    /// The provider that it would go to first.
    pub provider: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    pub wallet: Wallet,
    pub currency: String,
    /// The tenant's price of a part, where it has a flat one.
    pub price: Option<Micros>,
}

impl Room {
    fn outgoing(self) -> Outgoing {
        Outgoing {
            answers: Vec::with_capacity(self.answers.min(ROOM_ANSWERS_MAX)),
            requests: Vec::with_capacity(self.requests.min(ROOM_ANSWERS_MAX)),
            bodies: Vec::with_capacity(self.bodies.min(ROOM_OCTETS_MAX)),
            ..Outgoing::default()
        }
    }
}

/// Messages of one block for the archive.
#[derive(Debug, PartialEq, Eq)]
pub struct ArchiveWrite {
    pub block: u64,
    /// All 64 of the block are here: what the archive held before need not be read.
    pub whole: bool,
    /// The messages' bytes in order of their numbers.
    pub messages: Vec<Vec<u8>>,
    /// Places of the block, bit 0 the first, whose messages the parked store is to forget with this.
    pub unpark: u64,
    /// It has no other of the block.
    pub unparks_all: bool,
    /// Providers' ids of those messages for which news may still come.
    pub ids: Vec<OwnedId>,
    /// When they left memory.
    pub at: Wall,
}

/// Whose an id of a provider's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnedId {
    /// As the receipt index has it (`receipt_index::key`).
    pub hash: u64,
    pub number: u64,
}

/// Messages of one block for the parked store. It keeps what it has of the block's other messages.
#[derive(Debug, PartialEq, Eq)]
pub struct ParkWrite {
    pub block: u64,
    /// What a start needs of each (`parking::row`).
    pub rows: Vec<u8>,
    /// The messages' bytes in order of their numbers.
    pub messages: Vec<Vec<u8>>,
}

/// Where messages are that are not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shelf {
    Archive,
    Parked,
}

/// A block to be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Load {
    pub block: u64,
    pub shelf: Shelf,
}

/// All that is released when a group is on disk.
#[derive(Debug, Default)]
pub struct Effects {
    /// How many groups were taken before this one since the start. [`crate::Engine::begin`] is told how far they have been released.
    pub order: u64,
    pub connections: Vec<(ConnectionId, Outgoing)>,
    pub replies: Vec<(ReplyId, Reply)>,
    pub archive: Vec<ArchiveWrite>,
    pub parks: Vec<ParkWrite>,
    pub loads: Vec<Load>,
    /// Ids, as hashes, whose owners may be in the archive.
    pub questions: Vec<u64>,
    /// When submissions answered here were received, and how many each time: for the accept latency.
    pub received: Vec<(Mono, u32)>,
    /// Somebody waits for an answer, or something is to be sent to a provider.
    pub(crate) is_urgent: bool,
    /// Where in `connections` each connection is, and the one that was asked for last.
    places: HashMap<u64, usize, BlockHash>,
    last: usize,
    /// What the group before had for a connection: as much room is made at once.
    usual: Room,
}

/// Lengths of an `Outgoing`.
#[derive(Clone, Copy, Debug, Default)]
struct Room {
    answers: usize,
    requests: usize,
    bodies: usize,
}

impl Effects {
    /// Empty effects for the group that follows this one.
    pub(crate) fn next(&self) -> Effects {
        let mut usual = Room::default();
        for (_, outgoing) in &self.connections {
            usual.answers += outgoing.answers.len();
            usual.requests += outgoing.requests.len();
            usual.bodies += outgoing.bodies.len();
        }
        // A little more than the mean, so that few of them have to grow.
        let usually = |sum: usize| sum / self.connections.len().max(1) * 5 / 4;
        let Room { answers, requests, bodies } = usual;
        let usual = Room { answers: usually(answers), requests: usually(requests), bodies: usually(bodies) };
        Effects { usual, ..Effects::default() }
    }

    /// The part that is for one connection.
    pub(crate) fn outgoing(&mut self, connection: ConnectionId) -> &mut Outgoing {
        // Mostly it is the one that was asked for last.
        if self.connections.get(self.last).is_none_or(|(id, _)| *id != connection) {
            let next = self.connections.len();
            self.last = *self.places.entry(u64::from(connection.0)).or_insert(next);
            if self.last == next {
                self.connections.push((connection, self.usual.outgoing()));
            }
        }
        &mut self.connections[self.last].1
    }

    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
            && self.replies.is_empty()
            && self.archive.is_empty()
            && self.parks.is_empty()
            && self.loads.is_empty()
            && self.questions.is_empty()
    }
}
