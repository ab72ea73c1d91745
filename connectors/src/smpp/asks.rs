//! Which PDU asks what of messages that were submitted before: of a provider, and by a tenant. What is asked and answered is elsewhere.

use codecs::smpp::Command as Pdu;
use engine::command::AskKind;

pub fn ask_command(kind: AskKind) -> Pdu {
    match kind {
        AskKind::Query => Pdu::QUERY_SM,
        AskKind::Cancel => Pdu::CANCEL_SM,
        AskKind::Replace => Pdu::REPLACE_SM,
    }
}
