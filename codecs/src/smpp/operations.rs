//! The operation matrix: who may send which request in which state (SMPP 3.4 §2.3, SMPP 5.0 §2.4).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::command::{BindKind, Command};
use super::session::Role;

/// What the matrix says of a request. Binding, unbinding and enquire_link are not asked here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    Legal,
    /// Legal in another state of the session.
    WrongState,
    /// A command that this side never sends, or that we do not serve.
    Unsupported,
    Unknown,
}

/// May `sender` send `command` while bound so?
pub(super) fn ruling(sender: Role, bound: Option<BindKind>, command: Command) -> Ruling {
    let legal = match (command, sender) {
        (
            Command::SUBMIT_SM
            | Command::SUBMIT_MULTI
            | Command::QUERY_SM
            | Command::CANCEL_SM
            | Command::REPLACE_SM
            | Command::DATA_SM,
            Role::Esme,
        ) => bound.is_some_and(BindKind::transmits),
        (Command::DELIVER_SM | Command::DATA_SM | Command::ALERT_NOTIFICATION, Role::Smsc) => {
            bound.is_some_and(BindKind::receives)
        }
        (Command::OUTBIND, Role::Smsc) => bound.is_none(),
        _ if command.name().is_some() => return Ruling::Unsupported,
        _ => return Ruling::Unknown,
    };
    if legal { Ruling::Legal } else { Ruling::WrongState }
}

/// The same of what has come. Some SMSCs deliver on transmitters too (NowSMS): what they bring there would be lost if it were refused.
pub(super) fn ruling_of_peer(peer: Role, bound: Option<BindKind>, command: Command) -> Ruling {
    let carries = match peer {
        Role::Smsc => bound.map(|_| BindKind::Transceiver),
        Role::Esme => bound,
    };
    ruling(peer, carries, command)
}

/// alert_notification and outbind have no response.
pub(super) fn is_answered(command: Command) -> bool {
    !matches!(command, Command::ALERT_NOTIFICATION | Command::OUTBIND)
}
