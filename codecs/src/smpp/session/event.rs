//! What a session is told and what it says: roles, limits, states, events, refusals. No behaviour.

use std::fmt;
use std::time::Duration;

use crate::smpp::alert::AlertNotification;
use crate::smpp::command::{BindKind, Command};
use crate::smpp::frame::{FRAME_OCTETS_MAX, FrameError};
use crate::smpp::multi::SubmitMulti;
use crate::smpp::pdu::{Bind, BindResponse, CancelSm, DataSm, Malformed, QuerySm, ReplaceSm, Sm};
use crate::smpp::status::Status;
use crate::smpp::write::WriteError;

/// Our side of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The client, which binds and submits.
    Esme,
    /// The server, which is bound to and delivers.
    Smsc,
}

impl Role {
    pub(super) fn peer(self) -> Role {
        match self {
            Role::Esme => Role::Smsc,
            Role::Smsc => Role::Esme,
        }
    }
}

/// What a session may take and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Unanswered requests of ours.
    pub window: usize,
    /// For the driver's `next_frame`.
    pub pdu_octets_max: usize,
    /// Connected and not bound: the SMSC waits for a bind, the ESME for the answer to its own.
    pub session_init: Duration,
    /// Silence before an enquire_link; None sends none.
    pub enquire_link: Option<Duration>,
    /// Silence after an enquire_link before the peer counts as dead.
    pub enquire_link_response: Duration,
    /// Nothing but keep-alive before we unbind; None waits for ever.
    pub inactivity: Option<Duration>,
    /// For the response to a request, before it is in doubt. It must exceed the window ÷ the peer's slowest rate.
    pub response: Duration,
    /// How long after that a response is still recognized, while there is room to remember it.
    pub late_response: Duration,
    /// The peer comes to our requests in turn: with each answer those behind it have `response` anew, up to ten more of it. So
    /// one that answers slowly, or after a pause, is not taken for one that does not answer.
    pub in_turn: bool,
    /// For the rest of a begun PDU.
    pub pdu_read: Duration,
    /// For an unbind to be answered, and for what is open to end when the peer unbinds.
    pub unbind: Duration,
}

impl Limits {
    pub const DEFAULT: Limits = Limits {
        window: 10,
        pdu_octets_max: FRAME_OCTETS_MAX,
        session_init: Duration::from_secs(30),
        enquire_link: Some(Duration::from_secs(30)),
        enquire_link_response: Duration::from_secs(15),
        inactivity: None,
        response: Duration::from_secs(60),
        late_response: Duration::from_secs(300),
        in_turn: false,
        pdu_read: Duration::from_secs(10),
        unbind: Duration::from_secs(5),
    };
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::DEFAULT
    }
}

/// Where the session stands (SMPP 3.4 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Connected, not bound.
    Open,
    /// A bind waits for its answer: ours, or the driver's.
    Binding,
    Bound(BindKind),
    /// Still bound so, but ending: no new requests of ours.
    Unbinding(BindKind),
    Closed(CloseReason),
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    #[error("closed from our side")]
    Local,
    #[error("unbound from our side")]
    Unbound,
    #[error("unbound by the peer")]
    PeerUnbound,
    #[error("the connection ended")]
    PeerEnded,
    #[error("no bind in time")]
    SessionInit,
    #[error("a begun PDU did not end in time")]
    PduRead,
    #[error("the peer does not answer enquire_link")]
    PeerDead,
    #[error("nothing but keep-alive for too long")]
    Inactive,
    #[error("the stream is lost: {0}")]
    BrokenFrame(FrameError),
    #[error("the peer could not read our stream: {}", .0.name().unwrap_or("unknown status"))]
    PeerNack(Status),
}

/// What a frame means to the driver. Who gets a `sequence` must answer with `respond` (a bind: `accept_bind` or
/// `refuse_bind`); all else is already answered where it has to be.
#[derive(Clone, Copy, PartialEq)]
pub enum Event<'f> {
    /// Nothing to do.
    None,
    /// Smsc.
    Bind {
        sequence: u32,
        kind: BindKind,
        bind: Bind<'f>,
    },
    /// Esme: bound.
    Bound {
        response: BindResponse<'f>,
    },
    /// Esme: still open, another bind may be tried.
    BindRefused {
        status: Status,
    },
    /// Smsc.
    Submit {
        sequence: u32,
        sm: Sm<'f>,
    },
    /// Esme.
    Deliver {
        sequence: u32,
        sm: Sm<'f>,
    },
    Data {
        sequence: u32,
        data: DataSm<'f>,
    },
    /// Smsc, as are the next two.
    Query {
        sequence: u32,
        query: QuerySm<'f>,
    },
    Cancel {
        sequence: u32,
        cancel: CancelSm<'f>,
    },
    Replace {
        sequence: u32,
        replace: ReplaceSm<'f>,
    },
    /// Smsc.
    Multi {
        sequence: u32,
        multi: SubmitMulti<'f>,
    },
    /// Esme. It has no answer.
    Alert {
        sequence: u32,
        alert: AlertNotification<'f>,
    },
    /// Esme: outbind, which has no answer.
    Other {
        command: Command,
        sequence: u32,
        body: &'f [u8],
    },
    /// A request of ours has its response. `command` is the response's: generic_nack is one, never with Status::OK.
    /// `late`: its token was given up by `timeout` before.
    Response {
        token: u64,
        command: Command,
        status: Status,
        late: bool,
        body: &'f [u8],
    },
    /// A response to nothing that we know. Answered by silence.
    Unmatched {
        command: Command,
        sequence: u32,
    },
    /// A request whose body could not be read; its status was answered, where it has an answer.
    Malformed {
        command: Command,
        sequence: u32,
        malformed: Malformed,
    },
    /// A request that is unknown, not served, or wrong in this state; the status was answered.
    Refused {
        command: Command,
        sequence: u32,
        status: Status,
    },
    Closed(CloseReason),
}

/// Texts and passwords stay out of logs: the views say what of them may be shown, bare bodies are not.
impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::None => f.write_str("None"),
            Event::Bind { sequence, kind, bind } => write!(f, "Bind {sequence} {kind:?} {bind:?}"),
            Event::Bound { response } => write!(f, "Bound {response:?}"),
            Event::BindRefused { status } => write!(f, "BindRefused {status:?}"),
            Event::Submit { sequence, sm } => write!(f, "Submit {sequence} {sm:?}"),
            Event::Deliver { sequence, sm } => write!(f, "Deliver {sequence} {sm:?}"),
            Event::Data { sequence, data } => write!(f, "Data {sequence} {data:?}"),
            Event::Multi { sequence, multi } => write!(f, "Multi {sequence} {multi:?}"),
            Event::Query { sequence, query } => write!(f, "Query {sequence} {query:?}"),
            Event::Cancel { sequence, cancel } => write!(f, "Cancel {sequence} {cancel:?}"),
            Event::Replace { sequence, replace } => write!(f, "Replace {sequence} {replace:?}"),
            Event::Alert { sequence, alert } => write!(f, "Alert {sequence} {alert:?}"),
            Event::Other { command, sequence, body } => {
                write!(f, "Other {sequence} {command:?}, {} octets", body.len())
            }
            Event::Response { token, command, status, late, body } => {
                write!(f, "Response {token} {command:?} {status:?}, late {late}, {} octets", body.len())
            }
            Event::Unmatched { command, sequence } => write!(f, "Unmatched {sequence} {command:?}"),
            Event::Malformed { command, sequence, malformed } => {
                write!(f, "Malformed {sequence} {command:?} {malformed:?}")
            }
            Event::Refused { command, sequence, status } => {
                write!(f, "Refused {sequence} {command:?} {status:?}")
            }
            Event::Closed(reason) => write!(f, "Closed {reason:?}"),
        }
    }
}

/// What time has brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutEvent {
    /// Nothing more is due.
    None,
    /// A request of ours was not answered in time. Its token comes once; a late response still names it.
    Expired {
        token: u64,
        command: Command,
    },
    Closed(CloseReason),
}

/// A request of ours that was not taken. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the window is full")]
    WindowFull,
    #[error("not bound")]
    NotBound,
    #[error("already bound or binding")]
    AlreadyBound,
    #[error("the session is ending")]
    Closing,
    #[error("this bind does not carry that request")]
    NotAllowed,
    #[error(transparent)]
    Field(#[from] WriteError),
}

/// The tokens of requests without a response when the session ended, each in the order of the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Not wholly given to the kernel: the peer cannot have them.
    pub unsent: Vec<u64>,
    /// Given to the kernel: nobody knows.
    pub in_flight: Vec<u64>,
}
