//! Command ids (SMPP 3.4 §5.1.2.1, SMPP 5.0 §4.7.5) and the three kinds of bind.

/// A command_id, known or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Command(pub u32);

/// Bit 31 is set in the ids of responses.
const RESPONSE_BIT: u32 = 0x8000_0000;

impl Command {
    pub const BIND_RECEIVER: Command = Command(0x0000_0001);
    pub const BIND_TRANSMITTER: Command = Command(0x0000_0002);
    pub const QUERY_SM: Command = Command(0x0000_0003);
    pub const SUBMIT_SM: Command = Command(0x0000_0004);
    pub const DELIVER_SM: Command = Command(0x0000_0005);
    pub const UNBIND: Command = Command(0x0000_0006);
    pub const REPLACE_SM: Command = Command(0x0000_0007);
    pub const CANCEL_SM: Command = Command(0x0000_0008);
    pub const BIND_TRANSCEIVER: Command = Command(0x0000_0009);
    pub const OUTBIND: Command = Command(0x0000_000B);
    pub const ENQUIRE_LINK: Command = Command(0x0000_0015);
    pub const SUBMIT_MULTI: Command = Command(0x0000_0021);
    pub const ALERT_NOTIFICATION: Command = Command(0x0000_0102);
    pub const DATA_SM: Command = Command(0x0000_0103);
    pub const BROADCAST_SM: Command = Command(0x0000_0111);
    pub const QUERY_BROADCAST_SM: Command = Command(0x0000_0112);
    pub const CANCEL_BROADCAST_SM: Command = Command(0x0000_0113);
    pub const GENERIC_NACK: Command = Command(0x8000_0000);
    pub const BIND_RECEIVER_RESP: Command = Command::BIND_RECEIVER.response();
    pub const BIND_TRANSMITTER_RESP: Command = Command::BIND_TRANSMITTER.response();
    pub const QUERY_SM_RESP: Command = Command::QUERY_SM.response();
    pub const SUBMIT_SM_RESP: Command = Command::SUBMIT_SM.response();
    pub const DELIVER_SM_RESP: Command = Command::DELIVER_SM.response();
    pub const UNBIND_RESP: Command = Command::UNBIND.response();
    pub const REPLACE_SM_RESP: Command = Command::REPLACE_SM.response();
    pub const CANCEL_SM_RESP: Command = Command::CANCEL_SM.response();
    pub const BIND_TRANSCEIVER_RESP: Command = Command::BIND_TRANSCEIVER.response();
    pub const ENQUIRE_LINK_RESP: Command = Command::ENQUIRE_LINK.response();
    pub const SUBMIT_MULTI_RESP: Command = Command::SUBMIT_MULTI.response();
    pub const DATA_SM_RESP: Command = Command::DATA_SM.response();

    /// The id of the response to this request.
    pub const fn response(self) -> Command {
        Command(self.0 | RESPONSE_BIT)
    }

    /// True of every response and of generic_nack, known or not.
    pub const fn is_response(self) -> bool {
        self.0 & RESPONSE_BIT != 0
    }

    /// The name in the specification, in lower case, for logs and metrics.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Command::BIND_RECEIVER => "bind_receiver",
            Command::BIND_TRANSMITTER => "bind_transmitter",
            Command::QUERY_SM => "query_sm",
            Command::SUBMIT_SM => "submit_sm",
            Command::DELIVER_SM => "deliver_sm",
            Command::UNBIND => "unbind",
            Command::REPLACE_SM => "replace_sm",
            Command::CANCEL_SM => "cancel_sm",
            Command::BIND_TRANSCEIVER => "bind_transceiver",
            Command::OUTBIND => "outbind",
            Command::ENQUIRE_LINK => "enquire_link",
            Command::SUBMIT_MULTI => "submit_multi",
            Command::ALERT_NOTIFICATION => "alert_notification",
            Command::DATA_SM => "data_sm",
            Command::BROADCAST_SM => "broadcast_sm",
            Command::QUERY_BROADCAST_SM => "query_broadcast_sm",
            Command::CANCEL_BROADCAST_SM => "cancel_broadcast_sm",
            Command::GENERIC_NACK => "generic_nack",
            Command::BIND_RECEIVER_RESP => "bind_receiver_resp",
            Command::BIND_TRANSMITTER_RESP => "bind_transmitter_resp",
            Command::QUERY_SM_RESP => "query_sm_resp",
            Command::SUBMIT_SM_RESP => "submit_sm_resp",
            Command::DELIVER_SM_RESP => "deliver_sm_resp",
            Command::UNBIND_RESP => "unbind_resp",
            Command::REPLACE_SM_RESP => "replace_sm_resp",
            Command::CANCEL_SM_RESP => "cancel_sm_resp",
            Command::BIND_TRANSCEIVER_RESP => "bind_transceiver_resp",
            Command::ENQUIRE_LINK_RESP => "enquire_link_resp",
            Command::SUBMIT_MULTI_RESP => "submit_multi_resp",
            Command::DATA_SM_RESP => "data_sm_resp",
            _ => return None,
        })
    }
}

impl From<rusmpp::CommandId> for Command {
    fn from(id: rusmpp::CommandId) -> Command {
        Command(id.into())
    }
}

impl From<Command> for rusmpp::CommandId {
    fn from(command: Command) -> rusmpp::CommandId {
        command.0.into()
    }
}

/// What a bound ESME may do: send messages, receive them, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BindKind {
    Transmitter,
    Receiver,
    Transceiver,
}

impl BindKind {
    /// The kind that a bind request asks for.
    pub const fn of(command: Command) -> Option<BindKind> {
        match command {
            Command::BIND_TRANSMITTER => Some(BindKind::Transmitter),
            Command::BIND_RECEIVER => Some(BindKind::Receiver),
            Command::BIND_TRANSCEIVER => Some(BindKind::Transceiver),
            _ => None,
        }
    }

    /// The request that asks for this kind.
    pub const fn command(self) -> Command {
        match self {
            BindKind::Transmitter => Command::BIND_TRANSMITTER,
            BindKind::Receiver => Command::BIND_RECEIVER,
            BindKind::Transceiver => Command::BIND_TRANSCEIVER,
        }
    }

    /// The ESME may submit on it.
    pub const fn transmits(self) -> bool {
        matches!(self, BindKind::Transmitter | BindKind::Transceiver)
    }

    /// The ESME is delivered to on it.
    pub const fn receives(self) -> bool {
        matches!(self, BindKind::Receiver | BindKind::Transceiver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_vocabulary() {
        for id in 0..0x200_u32 {
            for command in [Command(id), Command(id).response()] {
                let theirs = rusmpp::CommandId::from(command);
                assert_eq!(Command::from(theirs), command);
                assert_eq!(command.is_response(), theirs.is_response());
                let name = command.name().unwrap_or_default().replace('_', "");
                let known = !matches!(theirs, rusmpp::CommandId::Other(_));
                if known && !name.is_empty() {
                    assert_eq!(name, format!("{theirs:?}").to_lowercase());
                }
                assert!(known || name.is_empty(), "{command:?}");
            }
        }
    }
}
