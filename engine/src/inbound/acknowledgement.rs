//! What phones acknowledge themselves (SMPP 3.4 §5.2.12): an SME delivery or manual acknowledgement that a provider brings of a
//! message becomes a message from the phone to that message's tenant, whatever the rules say of the phone's other messages. It
//! changes nothing of what it acknowledges. How its message is found is `receipts.rs`'s.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use codecs::smpp::tlv::{Tlvs, tag};
use codecs::smpp::write;

use super::Whose;
use crate::catalog::AskReceipt;
use crate::command::PhoneAcknowledgement;
use crate::engine::Engine;
use crate::message::Message;
use crate::submission::{Body, Extra, push_extra};
use crate::telling::{self, INTERMEDIATE};

/// esm_class: the phone's user has answered (SMPP 3.4 §5.2.12). Nothing but an acknowledgement says so.
const BY_USER: u8 = 0x10;

/// Bits of registered_delivery: acknowledgements of the phone and of its user are wanted (SMPP 3.4 §5.2.17).
const OF_THE_PHONE: u8 = 0x0C;

impl Message {
    /// Whether its tenant wants to know what the phone acknowledges.
    pub fn asks_the_phone(&self) -> bool {
        self.registered_delivery & OF_THE_PHONE != 0
    }

    /// registered_delivery as a provider is asked (SMPP 3.4 §5.2.17).
    pub fn asks_for(&self, registered_delivery: u8) -> u8 {
        let on_the_way = if self.receipts == AskReceipt::Never { 0 } else { INTERMEDIATE };
        let beside = OF_THE_PHONE | on_the_way;
        u8::from(self.would_want_receipts(registered_delivery)) | registered_delivery & beside
    }
}

impl PhoneAcknowledgement {
    /// Whether it is for its message's tenant. Some providers mark their receipts as those of phones, so where the tenant asked
    /// for none it is a receipt.
    pub(crate) fn is_for(&self, message: &Message) -> bool {
        let is_by_user = Body::read(&self.body).is_some_and(|(body, _)| body.esm_class & BY_USER != 0);
        is_by_user || message.asks_the_phone()
    }
}

impl Engine {
    /// Gives the tenant of a message what the phone says of it.
    pub(crate) fn acknowledged_by_phone(&mut self, provider: u16, number: u64, said: &PhoneAcknowledgement) {
        let Some((body, _)) = Body::read(&said.body) else { return };
        if self.came_before(said.arrival) {
            return;
        }
        let Some(message) = self.pages.get(number) else { return };
        let tenant = message.tenant;
        // The first of two extras counts: what the phone's own says is in these TLVs.
        let mut extras = Vec::new();
        push_extra(
            &mut extras,
            Extra::Acknowledged,
            &telling::shared_number(&message.body()).unwrap_or(message.number).to_le_bytes(),
        );
        push_extra(&mut extras, Extra::Tlvs, &own_tlvs(&message.body(), &body));
        extras.extend_from_slice(body.extras);
        let octets = self.unpacked(provider, None, &body);
        let body = Body { octets: &octets, extras: &extras, ..body };
        self.whole(provider, &body, &[said.arrival], 0, Whose::Decided(Some(tenant)));
    }
}

/// What an acknowledgement says beside its text (SMPP 3.4 §5.3.2.17, §5.3.2.18): the reference with which the tenant named its
/// message, or the one that came back, and the user's answer.
fn own_tlvs(message: &Body<'_>, said: &Body<'_>) -> Vec<u8> {
    let of = |body: &Body<'_>, tag| Some(Tlvs::new(body.extra(Extra::Tlvs)?).value_of(tag)?.to_vec());
    let reference = tag::USER_MESSAGE_REFERENCE;
    let values = [
        (reference, of(message, reference).or_else(|| of(said, reference))),
        (tag::USER_RESPONSE_CODE, of(said, tag::USER_RESPONSE_CODE)),
    ];
    let mut tlvs = Vec::new();
    for (tag, value) in values {
        let written = value.map(|value| write::tlv(&mut tlvs, tag, &value));
        debug_assert!(written.is_none_or(|written| written.is_ok()), "what was a TLV is one");
    }
    tlvs
}
