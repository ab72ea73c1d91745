//! Receipts in and out: which message a receipt finds, and that its tenant is told of it, once it is known, at least once.

use std::time::Duration;

use codecs::instant::Wall;
use codecs::message_id::Form;
use codecs::receipt::{self, State as ReceiptState};
use codecs::smpp::tlv::tag;
use engine::catalog::*;
use engine::command::*;
use engine::message::State;
use engine::submission::Via;

use crate::house::*;

const UNDELIVERABLE: ReceiptState = ReceiptState::Undeliverable;
const DELIVERED: ReceiptState = ReceiptState::Delivered;

/// A house with provider `up` bound, and the numbers of messages it has accepted as `id-0`, `id-1`, …
pub fn sent(definitions: Definitions, count: usize) -> (House, Vec<u64>) {
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 1_000);
    let numbers = send(&mut house, bind, count, 0);
    (house, numbers)
}

fn send(house: &mut House, bind: ConnectionId, count: usize, first: usize) -> Vec<u64> {
    let numbers = house.accepted_all("acme", &Sms::default(), count);
    let ids: Vec<String> = (first..first + count).map(|place| format!("id-{place}")).collect();
    let requests = house.taken(bind);
    assert_eq!(requests.len(), count);
    let answers: Vec<_> = requests.iter().zip(&ids).map(|(r, id)| (r.part(), 0, &id[..])).collect();
    house.respond("up", 0, &answers);
    numbers
}

pub fn deliver(house: &mut House, places: std::ops::Range<usize>) {
    for place in places {
        house.receipt("up", text_id(&format!("id-{place}")), DELIVERED, None);
    }
}

#[test]
fn a_tenant_is_told_when_a_phone_had_its_message_and_not_when_a_late_receipt_came() {
    // Accepted at 8:00:40, sent then or at 8:30:40; the receipt comes at 9:00. Minutes after eight that the provider says, and what is told.
    for (waits, said, told) in [
        (0, Some(5), "0805"),
        (0, Some(59), "0859"),
        (0, Some(60), "0900"),
        (0, None, "0900"),
        // The minute in which it was sent.
        (0, Some(0), "0800"),
        (30, Some(30), "0830"),
        (30, Some(45), "0845"),
        // Of another clock or time zone.
        (0, Some(70), "0900"),
        (0, Some(-1), "0900"),
        (30, Some(5), "0900"),
    ] {
        let mut house = House::new(definitions());
        house.pass(Duration::from_secs(40));
        house.accepted("acme", &Sms::default());
        house.pass(Duration::from_secs(60 * waits));
        let bind = house.bind("up", 0, 10);
        let part = house.taken(bind)[0].part();
        house.respond("up", 0, &[(part, 0, "id-0")]);
        house.pass(Duration::from_secs(60 * (60 - waits) - 40));
        let session = house.bind_tenant("acme", 10);
        let done = said.map(|minutes: i64| Wall(START.0 + minutes * 60_000));
        house.receipt_done("up", text_id("id-0"), DELIVERED, None, "000", done);
        let request = house.taken(session).remove(0);
        let text = String::from_utf8_lossy(request.sm().short_message).into_owned();
        let expected = format!("submit date:2701150800 done date:270115{told} ");
        assert!(text.contains(&expected), "{said:?} after {waits}: {text}");
    }
}

#[test]
fn a_message_of_parts_was_with_a_phone_when_its_last_part_was() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    house.accepted("acme", &Sms::of_parts(2));
    for (place, request) in house.taken(bind).iter().enumerate() {
        house.respond("up", 0, &[(request.part(), 0, &format!("id-{place}"))]);
    }
    house.pass(Duration::from_secs(3_600));
    let session = house.bind_tenant("acme", 10);
    for (id, minutes) in [("id-0", 20), ("id-1", 10)] {
        let done = Some(Wall(START.0 + minutes * 60_000));
        house.receipt_done("up", text_id(id), DELIVERED, None, "000", done);
    }
    let request = house.taken(session).remove(0);
    let text = String::from_utf8_lossy(request.sm().short_message).into_owned();
    assert!(text.contains("done date:2701150820 "), "{text}");
}

#[test]
fn a_receipt_makes_a_message_delivered_and_its_tenant_is_told() {
    let (mut house, numbers) = sent(definitions(), 1);
    let session = house.bind_tenant("acme", 10);
    let sequence = house.receipt("up", text_id("ID-0"), DELIVERED, Some(254_712_345_678));
    assert_eq!(house.acknowledged.iter().map(|(_, sequence)| *sequence).collect::<Vec<_>>(), [sequence]);
    assert_eq!(house.state(numbers[0]), State::Delivered);
    let request = house.taken(session).remove(0);
    assert_eq!(request.told(), numbers[0]);
    let sm = request.sm();
    assert_eq!((sm.esm_class, sm.source.octets), (4, &b"254712345678"[..]));
    assert_eq!(sm.destination.octets, b"ACME");
    let id = engine::id::Permutation::new(&KEY).id(numbers[0]).to_string();
    let read = receipt::read(sm.short_message).expect("a receipt");
    assert_eq!((read.id, read.state), (Some(id.as_bytes()), Some(DELIVERED)));
    assert_eq!(sm.tlvs().value_of(tag::RECEIPTED_MESSAGE_ID), Some(format!("{id}\0").as_bytes()));
    assert_eq!(sm.tlvs().value_of(tag::MESSAGE_STATE), Some(&[2][..]));
    house.acknowledge("acme", session, &numbers, 0);
    assert!(house.message(numbers[0]).told);
    house.seconds(20);
    assert!(house.told(session).is_empty());
}

#[test]
fn a_tenant_is_told_the_networks_error_where_it_is_a_number() {
    for (word, expected) in [
        ("027", Some([3, 0, 27])),
        ("1027", Some([3, 4, 3])),
        // No error, no number, no room for one, and what is cut where it is kept.
        ("000", None),
        ("", None),
        ("1B", None),
        ("+27", None),
        ("70000", None),
        ("0000000270", None),
    ] {
        let (mut house, numbers) = sent(definitions(), 1);
        let session = house.bind_tenant("acme", 10);
        house.receipt_with("up", text_id("id-0"), UNDELIVERABLE, None, word);
        assert_eq!(house.state(numbers[0]), State::Failed, "{word}");
        let request = house.taken(session).remove(0);
        let found = request.sm().tlvs().value_of(tag::NETWORK_ERROR_CODE);
        assert_eq!(found, expected.as_ref().map(|code: &[u8; 3]| &code[..]), "{word}");
    }
}

#[test]
fn a_status_of_a_response_is_no_error_of_the_network() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    let requests = house.taken(bind);
    house.respond("up", 0, &[(requests[0].part(), 0x0B, "")]);
    assert_eq!(house.state(number), State::Failed);
    let session = house.bind_tenant("acme", 10);
    let sm_bodies = house.taken(session);
    let sm = sm_bodies[0].sm();
    assert_eq!(receipt::read(sm.short_message).expect("a receipt").error, b"011");
    assert_eq!(sm.tlvs().value_of(tag::NETWORK_ERROR_CODE), None);
}

/// Form of the provider's ids, id in the response, ids in the receipt, whether they are the same.
#[test]
fn a_receipt_finds_its_message_in_every_form_of_its_id() {
    let rows = [
        (Form::Text, "ABC-7", "", "abc-7", true),
        (Form::Text, "ABC-7", "abc-7", "", true),
        (Form::Text, "ABC-7", "", "abc-8", false),
        (Form::Dec, "0001234", "", "1234", true),
        (Form::HexDec, "4D2", "", "1234", true),
        (Form::HexDec, "4D2", "4d2", "1234", true),
        (Form::HexDec, "4D2", "4d2", "", true),
        (Form::HexDec, "4D2", "1234", "", true),
        (Form::DecHex, "1234", "", "000004D2", true),
        (Form::Hex, "00ff", "", "FF", true),
        (Form::Hex, "00ff", "", "255", false),
    ];
    for early in [false, true] {
        for (form, response, tlv, text, same) in rows {
            let mut definitions = definitions();
            definitions.providers[0].message_id = form;
            let mut house = House::new(definitions);
            let bind = house.bind("up", 0, 10);
            let number = house.accepted("acme", &Sms::default());
            let part = house.taken(bind).remove(0).part();
            if early {
                house.receipt("up", Ids { tlv, text }, DELIVERED, None);
                assert_eq!(house.state(number), State::Sending);
            }
            house.respond("up", 0, &[(part, 0, response)]);
            if !early {
                house.receipt("up", Ids { tlv, text }, DELIVERED, None);
            }
            let expected = if same { State::Delivered } else { State::Sent };
            assert_eq!(house.state(number), expected, "{form:?} {response} {tlv} {text} early: {early}");
            assert_eq!(house.acknowledged.len(), 1);
        }
    }
}

#[test]
fn a_receipt_of_another_provider_or_for_another_phone_is_not_this_messages() {
    let (mut house, numbers) = sent(definitions(), 1);
    house.receipt("spare", text_id("id-0"), DELIVERED, None);
    house.receipt("up", text_id("id-0"), DELIVERED, Some(254_799_999_999));
    assert_eq!((house.state(numbers[0]), house.acknowledged.len()), (State::Sent, 2));
    house.seconds(601);
    assert_eq!(house.engine.counters().unmatched, 2);
    // The same number as the handset's country writes it.
    house.receipt("up", text_id("id-0"), DELIVERED, Some(712_345_678));
    assert_eq!(house.state(numbers[0]), State::Delivered);
}

#[test]
fn a_receipt_with_its_addresses_as_they_were_sent_names_the_sender_and_says_nothing_of_the_phone() {
    let mut house = House::new(definitions());
    house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms { from: "0700999123", ..Sms::default() });
    let request = house.requests[0].part();
    house.respond("up", 0, &[(request, 0, "id-0")]);
    house.receipt("up", text_id("id-0"), DELIVERED, Some(254_799_999_999));
    assert_eq!(house.state(number), State::Sent);
    house.receipt("up", text_id("id-0"), DELIVERED, Some(700_999_123));
    assert_eq!(house.state(number), State::Delivered);
}

#[test]
fn of_an_id_given_out_twice_the_phone_decides_and_an_early_receipt_waits() {
    let (mut house, numbers) = sent(definitions(), 1);
    house.receipt("up", text_id("id-0"), DELIVERED, Some(254_700_000_001));
    let bind = house.bind("up", 1, 1_000);
    let second = house.accepted("acme", &Sms { to: 254_700_000_001, ..Sms::default() });
    let requests = std::mem::take(&mut house.requests);
    let place = u16::from(requests[0].connection == bind);
    house.respond("up", place, &[(requests[0].part(), 0, "id-0")]);
    assert_eq!((house.state(numbers[0]), house.state(second)), (State::Sent, State::Delivered));
}

#[test]
fn of_early_receipts_of_one_id_each_goes_to_the_message_for_its_phone() {
    for crash in [false, true] {
        let mut house = House::new(definitions());
        house.bind("up", 0, 10);
        let phones = [254_700_000_001, 254_700_000_002];
        let numbers = phones.map(|to| house.accepted("acme", &Sms { to, ..Sms::default() }));
        for phone in phones {
            house.receipt("up", text_id("id"), DELIVERED, Some(phone));
        }
        house.respond("up", 0, &[(PartToken::new(numbers[0], 0), 0, "id")]);
        assert_eq!(numbers.map(|number| house.state(number)), [State::Delivered, State::Sending]);
        if crash {
            house.crash();
            house.bind("up", 0, 10);
        }
        house.respond("up", 0, &[(PartToken::new(numbers[1], 0), 0, "id")]);
        assert_eq!(house.state(numbers[1]), State::Delivered, "crash: {crash}");
        assert_eq!((house.engine.snapshot().early_receipts, house.engine.counters().unmatched), (0, 0));
    }
}

/// A receipt with two ids waits under both. Whichever a response names first, it is done with, over restarts too; and one that
/// nobody names is listed and counted once.
#[test]
fn a_receipt_with_two_ids_that_is_matched_by_one_is_not_given_up_under_the_other() {
    for (named, unmatched) in [("by-tlv", 0), ("by-text", 0), ("neither", 1)] {
        for crash in [false, true] {
            let mut house = House::new(definitions());
            let bind = house.bind("up", 0, 10);
            let number = house.accepted("acme", &Sms::default());
            let part = house.taken(bind).remove(0).part();
            house.receipt("up", Ids { tlv: "by-tlv", text: "by-text" }, DELIVERED, None);
            assert_eq!(house.engine.snapshot().early_receipts, 2);
            if crash {
                house.crash();
                house.bind("up", 0, 10);
            }
            house.respond("up", 0, &[(part, 0, named)]);
            let expected = if unmatched == 0 { State::Delivered } else { State::Sent };
            assert_eq!(house.state(number), expected, "{named}, crash: {crash}");
            if crash {
                house.crash();
            }
            assert_eq!(house.engine.snapshot().early_receipts, 2 * unmatched, "{named}, crash: {crash}");
            house.seconds(601);
            let counted = house.engine.counters().unmatched;
            assert_eq!(counted, unmatched, "{named}, crash: {crash}");
            assert_eq!(house.engine.snapshot().early_receipts, 0);
        }
    }
}

#[test]
fn receipts_before_the_response_are_kept_in_order_over_a_restart() {
    for crash in [false, true] {
        let mut house = House::new(definitions());
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &Sms::default());
        let part = house.taken(bind).remove(0).part();
        house.receipt("up", text_id("early"), ReceiptState::Enroute, None);
        house.receipt("up", text_id("early"), UNDELIVERABLE, None);
        if crash {
            house.crash();
            house.bind("up", 0, 10);
        }
        house.respond("up", 0, &[(part, 0, "early")]);
        assert_eq!(house.state(number), State::Failed, "crash: {crash}");
        assert_eq!(house.engine.snapshot().early_receipts, 0);
        house.crash();
        assert_eq!(house.engine.snapshot().early_receipts, 0);
    }
}

#[test]
fn a_second_receipt_changes_nothing_and_late_news_does_where_it_is_better() {
    let (mut house, numbers) = sent(definitions(), 2);
    house.receipt("up", text_id("id-0"), DELIVERED, None);
    house.receipt("up", text_id("id-0"), UNDELIVERABLE, None);
    house.receipt("up", text_id("id-1"), UNDELIVERABLE, None);
    house.receipt("up", text_id("id-1"), ReceiptState::Expired, None);
    assert_eq!((house.state(numbers[0]), house.state(numbers[1])), (State::Delivered, State::Failed));
    house.receipt("up", text_id("id-1"), DELIVERED, None);
    assert_eq!(house.state(numbers[1]), State::Delivered);
    assert_eq!((house.engine.counters().repeated, house.acknowledged.len()), (2, 5));
    assert_eq!(house.money("acme"), (998, 0, 2));
}

#[test]
fn what_a_provider_says_again_of_a_part_leaves_no_word_in_the_story() {
    let answers = [
        ("open", [0, 0], DELIVERED, State::Sent),
        ("undeliverable", [0, 0], UNDELIVERABLE, State::Sent),
        ("unknown", [0, 0], ReceiptState::Unknown, State::Sent),
        ("failed in part", [0, REFUSED], DELIVERED, State::Failed),
    ];
    for (case, statuses, says, state) in answers {
        let mut house = House::new(definitions());
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &Sms::of_parts(2));
        let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
        house.respond("up", 0, &[(parts[0], statuses[0], "a"), (parts[1], statuses[1], "b")]);
        house.receipt("up", text_id("a"), says, None);
        let story = house.message(number);
        for _ in 0..3 {
            house.receipt("up", text_id("a"), says, None);
        }
        assert_eq!(house.message(number).bytes(), story.bytes(), "{case}");
        assert_eq!((house.state(number), house.engine.counters().repeated), (state, 3), "{case}");
        assert_eq!(house.acknowledged.len(), 4, "{case}");
    }
}

#[test]
fn a_state_that_changes_while_its_receipt_is_on_its_way_is_told_again_however_that_one_is_answered() {
    // ESME_RX_P_APPN, ESME_RX_R_APPN and ESME_RX_T_APPN (SMPP 3.4 §5.1.3).
    for answer in [0, 0x65, 0x66, 0x64] {
        let (mut house, numbers) = sent(definitions(), 1);
        let session = house.bind_tenant("acme", 10);
        house.receipt("up", text_id("id-0"), UNDELIVERABLE, None);
        assert_eq!(house.told(session), numbers);
        house.receipt("up", text_id("id-0"), DELIVERED, None);
        assert!(house.told(session).is_empty(), "one after the other");
        house.acknowledge("acme", session, &numbers, answer);
        house.pass(Duration::from_millis(1_001));
        let again = house.taken(session);
        assert_eq!(again.len(), 1, "answered {answer:#x}");
        assert_eq!(again[0].sm().tlvs().value_of(tag::MESSAGE_STATE), Some(&[2][..]));
        assert!(!house.message(numbers[0]).told, "answered {answer:#x}");
        house.acknowledge("acme", session, &numbers, 0);
        assert!(house.message(numbers[0]).told);
        assert!(house.told(session).is_empty());
    }
}

#[test]
fn a_message_of_parts_is_delivered_when_all_of_them_are() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::of_parts(3));
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    house.respond("up", 0, &[(parts[0], 0, "a"), (parts[1], 0, "b"), (parts[2], 0, "c")]);
    for (id, state) in [("c", State::Sent), ("a", State::Sent), ("b", State::Delivered)] {
        house.receipt("up", text_id(id), DELIVERED, None);
        assert_eq!(house.state(number), state);
    }
}

#[test]
fn a_receipt_speaks_for_a_response_that_never_came() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 1);
    let numbers = house.accepted_all("acme", &Sms::of_parts(1), 1);
    let part = house.taken(bind).remove(0).part();
    house.respond("up", 0, &[(part, BUSY, "")]);
    house.seconds(6);
    // The refusal was wrong: an answer to the first try comes with an id, and then its receipt, while the second is open.
    house.respond("up", 1, &[(part, 0, "first")]);
    house.receipt("up", text_id("first"), DELIVERED, None);
    assert_eq!((house.state(numbers[0]), house.in_flight("up")), (State::Delivered, 0));
}

#[test]
fn tenants_are_told_only_what_they_asked_for() {
    // registered_delivery, what the receipt says, whether it is told (SMPP 3.4 §5.2.17).
    let rows = [
        (0, DELIVERED, false),
        (1, DELIVERED, true),
        (1, UNDELIVERABLE, true),
        (2, DELIVERED, false),
        (2, UNDELIVERABLE, true),
        (3, DELIVERED, true),
        (3, UNDELIVERABLE, false),
    ];
    for via in [Via::Smpp, Via::Http] {
        for (registered, state, told) in rows {
            let mut definitions = definitions();
            definitions.tenants[0].settle_on = SettleOn::Delivered;
            let mut house = House::new(definitions);
            let bind = house.bind("up", 0, 10);
            let session = house.bind_tenant("acme", 10);
            house.accepted("acme", &Sms { registered, via, ..Sms::default() });
            let part = house.taken(bind).remove(0).part();
            house.respond("up", 0, &[(part, 0, "x")]);
            house.receipt("up", text_id("x"), state, None);
            assert_eq!(
                house.told(session).len(),
                usize::from(told && via == Via::Smpp),
                "{registered} {state:?}"
            );
        }
    }
}

/// ENROUTE says that more is to come.
#[test]
fn where_no_receipt_will_come_a_tenant_that_wants_one_is_told_that_nobody_knows() {
    let mut definitions = definitions();
    definitions.providers[0].receipts = AskReceipt::Never;
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let session = house.bind_tenant("acme", 10);
    let number = house.accepted("acme", &Sms::default());
    let part = house.taken(bind).remove(0).part();
    house.respond("up", 0, &[(part, 0, "id-0")]);
    let told = house.taken(session).remove(0);
    let read = receipt::read(told.sm().short_message).expect("a receipt");
    assert_eq!((read.state, house.state(number)), (Some(ReceiptState::Unknown), State::Sent));
}

#[test]
fn receipts_wait_for_a_session_and_spread_over_those_there_are() {
    let (mut house, numbers) = sent(definitions(), 20);
    deliver(&mut house, 0..20);
    assert!(house.requests.is_empty());
    let first = house.bind_tenant("acme", 8);
    assert_eq!(house.told(first), numbers[..8]);
    let second = house.bind_tenant("acme", 4);
    assert_eq!(house.told(second), numbers[8..12]);
    house.acknowledge("acme", first, &numbers[..2], 0);
    house.acknowledge("acme", second, &numbers[8..10], 0);
    let (to_first, to_second) = (house.told(first), house.told(second));
    assert_eq!((to_first.len(), to_second.len()), (2, 2));
    assert_eq!([to_first, to_second].concat(), numbers[12..16]);
}

#[test]
fn what_a_closed_session_did_not_acknowledge_is_told_first() {
    let (mut house, numbers) = sent(definitions(), 10);
    let first = house.bind_tenant("acme", 4);
    deliver(&mut house, 0..10);
    assert_eq!(house.told(first), numbers[..4]);
    house.acknowledge("acme", first, &numbers[1..2], 0);
    assert_eq!(house.told(first), numbers[4..5]);
    house.tenant_down("acme", first, &[numbers[0], numbers[2], numbers[3]]);
    assert_eq!(house.closed, [first]);
    // What was still on its way to the driver comes back after that.
    house.tenant_down("acme", first, &numbers[4..5]);
    let second = house.bind_tenant("acme", 100);
    let told = house.told(second);
    assert_eq!(told, [&numbers[4..5], &numbers[0..1], &numbers[2..4], &numbers[5..]].concat());
}

#[test]
fn a_session_that_takes_no_receipts_is_given_none_and_is_closed() {
    let (mut house, _) = sent(definitions(), 1);
    let connection = house.connection();
    house.turn([Command::TenantBound { tenant: 0, connection, receives: false, tlvs: true, window: 10 }]);
    deliver(&mut house, 0..1);
    assert!(house.taken(connection).is_empty());
    house.turn([Command::TenantUnbound { tenant: 0, connection, untold: Vec::new() }]);
    assert_eq!(house.closed, [connection]);
}

#[test]
fn a_block_goes_to_the_archive_when_all_of_it_is_done() {
    let (mut house, numbers) = sent(definitions(), 200);
    let session = house.bind_tenant("acme", 1_000);
    deliver(&mut house, 0..190);
    let told = house.told(session);
    assert!(house.archive_writes.is_empty(), "nothing is told yet");
    house.acknowledge("acme", session, &told, 0);
    // Numbers begin at 1, so the first block has 63; 190 is within the third.
    let expected = [(0, false, 63), (1, true, 64)]
        .map(|(place, whole, count)| (engine::pages::block_of(numbers[0]) + place, whole, count));
    assert_eq!(house.archive_writes, expected);
    assert!(house.engine.message(numbers[0]).is_none());
    assert_eq!(house.state(numbers[0]), State::Delivered);
}

#[test]
fn an_old_block_is_archived_in_part() {
    let (mut house, numbers) = sent(definitions(), 10);
    deliver(&mut house, 0..5);
    let session = house.bind_tenant("acme", 4);
    assert_eq!(house.told(session), numbers[..4]);
    house.seconds(75);
    // Four are on their way to the tenant, one waits to be told, five have no receipt yet.
    assert_eq!(
        house.archive_writes.iter().map(|(_, whole, count)| (*whole, *count)).collect::<Vec<_>>(),
        [(false, 1)]
    );
    house.acknowledge("acme", session, &numbers[..4], 0);
    assert_eq!(house.told(session), numbers[4..5]);
    house.acknowledge("acme", session, &numbers[4..5], 0);
    house.seconds(90);
    assert_eq!(house.archive.values().map(|block| block.len()).sum::<usize>(), 5);
    assert!(house.archived(numbers[4]).is_some_and(|message| message.told));
}

#[test]
fn a_late_receipt_brings_an_archived_message_back_and_amends_it() {
    let (mut house, numbers) = sent(definitions(), 3);
    house.receipt("up", text_id("id-1"), UNDELIVERABLE, None);
    let session = house.bind_tenant("acme", 4);
    house.told(session);
    house.acknowledge("acme", session, &numbers[1..2], 0);
    house.seconds(75);
    assert!(house.engine.message(numbers[1]).is_none());
    let sequence = house.receipt("up", text_id("id-1"), DELIVERED, None);
    assert!(
        house.acknowledged.iter().any(|(_, acknowledged)| *acknowledged == sequence),
        "it is on the disk"
    );
    assert!(house.told(session).is_empty());
    house.seconds(4);
    assert_eq!(house.told(session), numbers[1..2]);
    house.acknowledge("acme", session, &numbers[1..2], 0);
    house.seconds(75);
    assert_eq!(house.archived(numbers[1]).map(|message| message.state), Some(State::Delivered));
    house.crash();
    assert!(house.engine.message(numbers[1]).is_none());
    assert_eq!(house.money("acme"), (997, 0, 3));
}

#[test]
fn the_engine_says_from_which_block_on_something_lives() {
    let first = |house: &House| house.engine.snapshot().living_from;
    let (mut house, numbers) = sent(definitions(), 200);
    let block = |number: u64| Some(engine::pages::block_of(number));
    assert_eq!(first(&house), block(numbers[0]));
    // Those of the first block are delivered, archived and untold; the others wait for their receipts, parked.
    deliver(&mut house, 0..63);
    house.archives = false;
    house.seconds(75);
    assert_eq!(first(&house), block(numbers[0]), "on its way to the archive");
    house.archives = true;
    house.seconds(75);
    assert_eq!((house.engine.snapshot().living, first(&house)), (0, block(numbers[0])), "untold");
    house.crash();
    assert_eq!(first(&house), block(numbers[0]), "untold after a restart");
    let session = house.bind_tenant("acme", 100);
    let told = house.told(session);
    house.acknowledge("acme", session, &told, 0);
    house.seconds(75);
    assert_eq!(first(&house), None, "what is parked is the store's to say");
    house.archives = false;
    house.receipt("up", text_id("id-100"), DELIVERED, None);
    assert_eq!(first(&house), block(numbers[100]), "read back");
}

#[test]
fn news_that_comes_long_after_the_end_finds_its_message_also_after_a_restart() {
    for (restarts, long) in [(false, 2 * 3_600), (true, 75), (true, 50 * 3_600)] {
        let name = format!("restarts: {restarts}, {long} s");
        let (mut house, numbers) = sent(definitions(), 130);
        for place in (0..130).step_by(2) {
            house.receipt("up", text_id(&format!("id-{place}")), UNDELIVERABLE, None);
        }
        house.seconds(long);
        assert_eq!(house.engine.snapshot().living, 0, "{name}");
        // What is finished costs nothing in memory; the others wait for theirs, parked.
        assert_eq!(house.engine.snapshot().receipt_ids, 65, "{name}");
        if restarts {
            house.crash();
        }
        for place in (0..130).step_by(2) {
            house.receipt("up", text_id(&format!("id-{place}")), DELIVERED, None);
        }
        // A restart between the receipt, which is acknowledged, and the answer to whose it is.
        if restarts {
            house.crash();
        }
        house.seconds(5);
        let states: Vec<State> = numbers.iter().step_by(2).map(|number| house.state(*number)).collect();
        assert!(states.iter().all(|state| *state == State::Delivered), "{name}: {states:?}");
        assert_eq!((house.engine.counters().unmatched, house.acknowledged.len()), (0, 130), "{name}");
        house.seconds(75);
        assert_eq!(house.engine.snapshot().living, 0, "{name}");
        assert_eq!(house.engine.snapshot().receipt_ids, 65, "{name}");
        house.seconds(700);
        assert_eq!(house.engine.snapshot().early_receipts, 0, "{name}");
    }
}

#[test]
fn a_late_receipt_for_a_message_that_the_archive_has_lost_is_acknowledged_and_counted() {
    let (mut house, _) = sent(definitions(), 1);
    house.receipt("up", text_id("id-0"), UNDELIVERABLE, None);
    house.seconds(75);
    house.archive.clear();
    house.receipt("up", text_id("id-0"), DELIVERED, None);
    house.seconds(700);
    assert_eq!((house.engine.counters().unmatched, house.acknowledged.len()), (1, 2));
    // Its tenant cannot be told any more either.
    let session = house.bind_tenant("acme", 10);
    assert_eq!((house.told(session).len(), house.engine.counters().dropped), (0, 1));
}

#[test]
fn a_parked_message_that_is_untold_is_told_when_its_tenant_comes() {
    for crash in [false, true] {
        let (mut house, numbers) = sent(definitions(), 200);
        deliver(&mut house, 0..200);
        house.seconds(75);
        assert_eq!(house.engine.snapshot().living, 0);
        if crash {
            house.crash();
        }
        let session = house.bind_tenant("acme", 10);
        let mut told = Vec::new();
        while told.len() < numbers.len() {
            let some = house.told(session);
            assert!(!some.is_empty() && some.len() <= 10);
            house.acknowledge("acme", session, &some, 0);
            told.extend(some);
        }
        assert_eq!(told, numbers, "crash: {crash}");
        house.seconds(75);
        assert!(numbers.iter().all(|number| house.archived(*number).is_some_and(|message| message.told)));
        house.crash();
        let session = house.bind_tenant("acme", 10);
        assert!(house.told(session).is_empty());
    }
}

#[test]
fn news_for_a_block_on_its_way_into_the_archive_waits_for_it() {
    let (mut house, numbers) = sent(definitions(), 2);
    house.archives = false;
    deliver(&mut house, 0..1);
    house.receipt("up", text_id("id-1"), UNDELIVERABLE, None);
    house.seconds(75);
    assert_eq!((house.writes.len(), house.loads.len()), (1, 0));
    house.receipt("up", text_id("id-1"), DELIVERED, None);
    let session = house.bind_tenant("acme", 10);
    assert!(house.loads.is_empty() && house.told(session).is_empty());
    house.archives = true;
    house.turn([]);
    assert_eq!(house.told(session), numbers);
    assert_eq!(house.state(numbers[1]), State::Delivered);
}

#[test]
fn an_answer_of_the_archive_that_is_older_than_a_write_is_not_believed() {
    let (mut house, numbers) = sent(definitions(), 3);
    house.receipt("up", text_id("id-0"), UNDELIVERABLE, None);
    house.receipt("up", text_id("id-1"), UNDELIVERABLE, None);
    house.seconds(75);
    // The first comes back and is archived again as delivered, while a look for the second is under way.
    house.receipt("up", text_id("id-0"), DELIVERED, None);
    house.seconds(4);
    assert_eq!(house.state(numbers[0]), State::Delivered);
    house.archives = false;
    house.receipt("up", text_id("id-1"), DELIVERED, None);
    house.turn([Command::Owners { numbers: numbers[1..2].to_vec() }]);
    assert_eq!(house.loads.len(), 1);
    let load = house.loads[0];
    let block = load.block;
    let old: Vec<Vec<u8>> = house.archive[&block].values().cloned().collect();
    house.seconds(75);
    assert_eq!(house.writes.len(), 1);
    let session = house.bind_tenant("acme", 10);
    house.turn([Command::Loaded { blocks: vec![LoadedBlock { load, messages: old }] }]);
    assert!(house.told(session).is_empty());
    house.loads.clear();
    house.archives = true;
    house.turn([]);
    let mut told = house.told(session);
    told.sort_unstable();
    assert_eq!(told, numbers[..2]);
    assert_eq!([house.state(numbers[0]), house.state(numbers[1])], [State::Delivered; 2]);
}

#[test]
fn a_sent_message_is_final_where_no_receipt_was_asked() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms { registered: 0, ..Sms::default() });
    let request = house.taken(bind).remove(0);
    assert_eq!(request.sm().registered_delivery, 0);
    house.respond("up", 0, &[(request.part(), 0, "x")]);
    assert!(house.message(number).is_done());
    house.seconds(75);
    assert!(house.engine.message(number).is_none());
    assert_eq!((house.state(number), house.engine.snapshot().receipt_ids), (State::Sent, 0));
}

#[test]
fn a_message_without_a_receipt_becomes_unknown_and_late_news_still_counts() {
    let mut definitions = definitions();
    definitions.providers[0].receipt_wait = Duration::from_secs(3_600);
    let (mut house, numbers) = sent(definitions, 1);
    house.seconds(3_590);
    assert_eq!(house.state(numbers[0]), State::Sent);
    house.seconds(30);
    assert_eq!(house.state(numbers[0]), State::Unknown);
    assert_eq!(house.money("acme"), (999, 0, 1));
    house.receipt("up", text_id("id-0"), DELIVERED, None);
    assert_eq!(house.state(numbers[0]), State::Delivered);
}

#[test]
fn what_is_untold_waits_no_longer_for_a_start() {
    let mut definitions = definitions();
    definitions.tenants[0].receipt_ttl = Duration::from_secs(1_000);
    definitions.settings.archive_after = Duration::from_secs(10);
    let (mut house, _) = sent(definitions, 3);
    house.ring_over = 1;
    deliver(&mut house, 0..3);
    house.seconds(600);
    assert!(house.engine.living().next().is_none(), "they are in the archive");
    for seconds in [300, 150] {
        house.restart();
        house.accepted("acme", &Sms::default());
        house.seconds(seconds);
    }
    let session = house.bind_tenant("acme", 10);
    assert_eq!(house.told(session), []);
}

#[test]
fn what_a_tenant_never_fetches_is_dropped_and_counted() {
    let mut definitions = definitions();
    definitions.tenants[0].receipt_ttl = Duration::from_secs(1_000);
    definitions.settings.archive_after = Duration::from_secs(500);
    let (mut house, _) = sent(definitions, 3);
    deliver(&mut house, 0..2);
    house.seconds(900);
    deliver(&mut house, 2..3);
    assert_eq!(house.engine.counters().dropped, 0);
    house.seconds(500);
    assert_eq!(house.engine.counters().dropped, 2);
    house.seconds(400);
    assert_eq!(house.engine.counters().dropped, 2);
    house.seconds(300);
    assert_eq!(house.engine.counters().dropped, 3);
    let session = house.bind_tenant("acme", 10);
    assert!(house.told(session).is_empty());
}

#[test]
fn late_news_finds_a_message_that_a_start_has_brought_back_to_be_told() {
    let (mut house, numbers) = sent(definitions(), 1);
    house.receipt("up", text_id("id-0"), UNDELIVERABLE, None);
    house.seconds(75);
    house.crash();
    let session = house.bind_tenant("acme", 10);
    assert_eq!(house.told(session), numbers);
    house.receipt("up", text_id("id-0"), DELIVERED, None);
    assert_eq!(house.state(numbers[0]), State::Delivered);
}

#[test]
fn news_that_came_while_nobody_knew_the_id_finds_the_message_that_is_brought_back() {
    let (mut house, numbers) = sent(definitions(), 1);
    house.receipt("up", text_id("id-0"), UNDELIVERABLE, None);
    house.seconds(75);
    house.crash();
    house.receipt("up", text_id("id-0"), DELIVERED, None);
    assert_eq!(house.state(numbers[0]), State::Failed);
    house.bind_tenant("acme", 10);
    assert_eq!(house.state(numbers[0]), State::Delivered);
}
