//! What phones acknowledge themselves: asked of the provider where the tenant asked, told to that tenant once however late it
//! comes and however often, and never a reason to change a message.

use codecs::receipt::State as ReceiptState;
use codecs::smpp::tlv::tag;
use engine::message::State;

use crate::house::*;

/// user_message_reference 0x1234, as a TLV.
const REFERENCE: [u8; 6] = [0x02, 0x04, 0, 2, 0x12, 0x34];
const ASKED: u8 = 0x0D;

fn said(kind: u8) -> FromPhone {
    FromPhone { esm_class: kind, to: "ACME", text: b"read".to_vec(), ..FromPhone::default() }
}

fn sms(registered: u8) -> Sms {
    Sms { registered, tlvs: REFERENCE.to_vec(), ..Sms::default() }
}

#[test]
fn the_provider_is_asked_for_what_the_tenant_asked_for() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    for (registered, expected) in
        [(0, 0), (1, 1), (2, 1), (0x04, 0x04), (0x1D, 0x1D), (0x08, 0x08), (0x10, 0x10)]
    {
        house.accepted("acme", &sms(registered));
        assert_eq!(house.taken(bind)[0].sm().registered_delivery, expected, "{registered:#x}");
    }
}

/// Whatever has become of the message meanwhile, its tenant is told in the kind that came, with its own id and reference, and again
/// when it did not acknowledge; the message is as it was.
#[test]
fn what_a_phone_acknowledges_is_told_to_the_tenant_of_the_message_and_changes_nothing() {
    for (registered, ends, waits) in
        [(ASKED, false, 0), (ASKED, true, 0), (ASKED, true, 75), (0x08, false, 75), (0x04, false, 0)]
    {
        let mut house = House::new(definitions());
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &sms(registered));
        let part = house.taken(bind).remove(0).part();
        house.respond("up", 0, &[(part, 0, "id")]);
        if ends {
            house.receipt("up", text_id("id"), ReceiptState::Delivered, None);
            let session = house.bind_tenant("acme", 10);
            let told = house.told(session);
            house.acknowledge("acme", session, &told, 0);
            house.tenant_down("acme", session, &[]);
        }
        house.seconds(waits);
        let name = format!("{registered:#x}, {ends}, after {waits} s");
        assert_eq!(house.engine.message(number).is_some(), waits == 0, "{name}");
        let (state, money) = (house.state(number), house.money("acme"));
        for kind in [0x08, 0x10] {
            // It comes twice.
            house.phone_says("up", "id", ReceiptState::Enroute, &said(kind));
            house.phone_says("up", "id", ReceiptState::Enroute, &said(kind));
        }
        house.seconds(5);
        house.crash();
        for is_again in [false, true] {
            let session = house.bind_tenant("acme", 10);
            let told = house.taken(session);
            assert_eq!(told.len(), 2, "{name}, again: {is_again}");
            for (request, kind) in told.iter().zip([0x08, 0x10]) {
                let sm = request.sm();
                assert_eq!((sm.esm_class, sm.content()), (kind, &b"read"[..]), "{name}");
                assert_eq!((sm.source.octets, sm.destination.octets), (&b"254712345678"[..], &b"ACME"[..]));
                let id = engine::id::Permutation::new(&KEY).id(number);
                let tlvs = sm.tlvs();
                let expected = format!("{id:018}\0");
                assert_eq!(tlvs.value_of(tag::RECEIPTED_MESSAGE_ID), Some(expected.as_bytes()), "{name}");
                assert_eq!(tlvs.value_of(tag::USER_MESSAGE_REFERENCE), Some(&[0x12, 0x34][..]), "{name}");
            }
            let tokens: Vec<u64> = told.iter().map(|request| request.token).collect();
            if is_again {
                house.acknowledge("acme", session, &tokens, 0);
            } else {
                house.tenant_down("acme", session, &tokens);
            }
        }
        assert_eq!((house.state(number), house.money("acme")), (state, money), "{name}");
        assert_eq!(house.engine.counters().unmatched, 0, "{name}");
    }
}

#[test]
fn where_the_tenant_asked_for_none_a_receipt_marked_as_a_phones_is_a_receipt_and_a_users_is_told() {
    for (kind, delivered, told) in [(0x08, State::Delivered, 0), (0x10, State::Sent, 1)] {
        let mut house = House::new(definitions());
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &sms(1));
        let part = house.taken(bind).remove(0).part();
        house.respond("up", 0, &[(part, 0, "id")]);
        house.phone_says("up", "id", ReceiptState::Delivered, &said(kind));
        assert_eq!(house.state(number), delivered, "{kind:#x}");
        let inbound = house.engine.living().filter(|message| message.is_inbound()).count();
        assert_eq!(inbound, told, "{kind:#x}");
    }
}

#[test]
fn one_that_comes_before_the_response_waits_for_it_over_a_restart_and_else_is_kept_as_unmatched() {
    for (id, unmatched) in [("id", 0), ("other", 1)] {
        let mut house = House::new(definitions());
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &sms(ASKED));
        let part = house.taken(bind).remove(0).part();
        house.phone_says("up", id, ReceiptState::Enroute, &said(0x08));
        assert_eq!(house.acknowledged.len(), 1, "it is on disk");
        house.crash();
        house.bind("up", 0, 10);
        house.respond("up", 0, &[(part, 0, "id")]);
        assert_eq!(house.state(number), State::Sent);
        let session = house.bind_tenant("acme", 10);
        let told: Vec<u8> = house.taken(session).iter().map(|request| request.sm().esm_class).collect();
        assert_eq!(told.len() as u64, 1 - unmatched, "{id}");
        assert!(told.iter().all(|kind| *kind == 0x08), "{id}");
        house.seconds(601);
        assert_eq!(house.engine.counters().unmatched, unmatched, "{id}");
    }
}

#[test]
fn a_provider_that_is_never_asked_for_receipts_is_asked_for_no_notifications() {
    let mut definitions = definitions();
    definitions.providers[0].receipts = engine::catalog::AskReceipt::Never;
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    for registered in [0x01, 0x11, 0x10] {
        house.accepted("acme", &sms(registered));
        assert_eq!(house.taken(bind)[0].sm().registered_delivery, 0, "{registered:#x}");
    }
}
