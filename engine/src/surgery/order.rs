//! What operators ask for and what they are told: the vocabulary of queue surgery. It decides nothing.

use codecs::instant::Wall;

use crate::ledger::Wallet;
use crate::message::State;
use crate::money::Micros;
use crate::step::{BounceCode, Resolution};
use crate::submission::Priority;

/// Which messages; everything that is given must hold, and nothing given is every message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub tenant: Option<String>,
    pub provider: Option<String>,
    /// Digits that the destination begins with.
    pub prefix: Option<String>,
    /// The tenant's own word; without the tenant it names nothing.
    pub campaign: Option<String>,
    /// Accepted before this: older.
    pub accepted_before: Option<Wall>,
    /// Not accepted before this: newer.
    pub accepted_since: Option<Wall>,
}

/// Something that an operator asks for, who it is and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub operation: Operation,
    pub filter: Filter,
    pub reason: String,
    /// The name of the operator's key.
    pub by: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// What waits, by provider, priority and tenant, the longest queues first; and the rules.
    List {
        rows: usize,
    },
    /// Messages in doubt behind this number, in their order.
    Doubts {
        after: u64,
        limit: usize,
    },
    /// What matches is held when its turn comes.
    Suspend {
        until: Option<Wall>,
    },
    /// Ends one rule, or all that name what the filter names.
    Resume {
        rule: Option<u32>,
    },
    /// Cancels what waits, and until its end also what comes.
    Bounce {
        code: BounceCode,
        until: Option<Wall>,
    },
    /// Gives what waits to another provider, and until its end also what comes.
    Move {
        to: String,
        until: Option<Wall>,
    },
    /// Says what became of one message in doubt.
    Resolve {
        number: u64,
        resolution: Resolution,
    },
    /// Holds every wallet against the living messages.
    Verify,
    Providers,
    /// Gives the filter's provider nothing: what is queued for it goes to the next of its route.
    Disable {
        until: Option<Wall>,
    },
    Enable,
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is no tenant of this id")]
    UnknownTenant,
    #[error("there is no provider of this id")]
    UnknownProvider,
    #[error("a prefix is 1 to 15 digits of an international number, without + or leading 0")]
    Prefix,
    #[error("a campaign is its tenant's own word: name the tenant as well")]
    CampaignAlone,
    #[error("a campaign is a word of 1 to 64 letters, digits, or - _ . : of ASCII")]
    Campaign,
    #[error("no rule is meant by this")]
    NoSuchRule,
    #[error("there are {} rules already; end some", super::RULES_MAX)]
    TooManyRules,
    #[error("too many operations are under way; ask again when they have ended")]
    Busy,
    #[error("the provider that it should go to is not enabled")]
    Disabled,
    #[error("it is with that provider already")]
    SameProvider,
    #[error("its end is in the past")]
    Past,
    #[error("a provider, and nothing else, is to be named")]
    ProviderOnly,
    #[error("no message of this id lives")]
    NoSuchMessage,
    #[error("the message is not in doubt")]
    NotInDoubt,
    #[error(
        "the settings do not have its provider any more, and no other may be sent what that one may have"
    )]
    ProviderGone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    Queues(Box<Queues>),
    Doubts(Doubts),
    Changed(Changed),
    Resolved { state: State },
    Ledger(Vec<LedgerRow>),
    Providers(Vec<ProviderRow>),
    Refused(Refused),
}

/// What an operation has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Rules that it made or ended.
    pub rules: Vec<u32>,
    /// Messages that it cancelled, moved or let go.
    pub messages: u64,
    /// Messages that it meant and left alone, because a provider may have something of them.
    pub passed_over: u64,
    /// Credit that is available again, by currency.
    pub released: Vec<(String, Micros)>,
}

/// Messages by what they wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    pub scheduled: u64,
    pub queued: u64,
    pub held_in_doubt: u64,
    pub held_tenant: u64,
    pub held_operator: u64,
    /// Held and parked: why is in their stories.
    pub held_parked: u64,
    pub sending: u64,
    pub in_doubt: u64,
    /// When the oldest of them that is queued or held was accepted.
    pub oldest: Option<Wall>,
}

impl Depth {
    /// Queued or held.
    pub fn waiting(&self) -> u64 {
        self.queued + self.held_in_doubt + self.held_tenant + self.held_operator + self.held_parked
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRow {
    pub provider: String,
    pub priority: Priority,
    pub tenant: String,
    pub depth: Depth,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    pub total: Depth,
    /// The longest first.
    pub rows: Vec<QueueRow>,
    /// Rows that are not shown.
    pub left_out: usize,
    pub rules: Vec<RuleRow>,
    /// Operations under way: what they do, and how many messages they have changed so far.
    pub under_way: Vec<(&'static str, u64)>,
    /// Messages that are parked and wait, and that were not looked into: the filter asks for more than provider and tenant.
    pub uncounted: u64,
}

/// A rule that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRow {
    pub number: u32,
    /// hold, bounce, move or disable.
    pub action: &'static str,
    /// The code of a bounce, the provider of a move.
    pub argument: Option<String>,
    pub filter: Filter,
    pub reason: String,
    pub by: String,
    pub made_at: Wall,
    pub until: Option<Wall>,
    /// Messages in memory that it holds, of those asked for.
    pub holds: u64,
    /// It has ended, and what it held is being let go.
    pub ending: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    pub rows: Vec<DoubtRow>,
    /// More follow behind the last row.
    pub more: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoubtRow {
    pub number: u64,
    pub provider: String,
    pub tenant: String,
    /// In doubt, or held because it is.
    pub state: State,
    /// When the doubt began.
    pub since: Wall,
}

/// A wallet, and what the living messages of its tenant have in reserve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    pub tenant: String,
    pub currency: String,
    pub wallet: Wallet,
    pub of_messages: Micros,
    /// Its own sums hold, and its reserve is the messages'.
    pub holds: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRow {
    pub id: String,
    /// By its definition.
    pub enabled: bool,
    /// By an operator's rule.
    pub disabled: bool,
    /// By bind, whether it is up.
    pub binds: Vec<bool>,
    pub in_flight: u32,
    /// Entries of its queue.
    pub queued: u64,
    /// Parts a second at present; 0: no limit.
    pub rate: u32,
}
