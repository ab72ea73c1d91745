//! What providers' entries say of their statuses, addresses, TLVs and operations, and what follows from it.

use std::time::Duration;

use codecs::instant::Wall;
use codecs::receipt::State as ReceiptState;
use codecs::smpp::pdu::DataSm;
use codecs::smpp::status::Class;
use codecs::smpp::tlv::tag;
use engine::catalog::*;
use engine::command::Command;
use engine::message::State;
use engine::provider_form::{AddressTypes, SubmitForm, TlvForm, TlvRule};
use engine::status_table::{StatusRule, StatusTable};

use crate::house::*;

const FAILED: u32 = 0x45;

/// A gateway whose provider is like this, with no other one.
fn house(change: impl Fn(&mut ProviderDefinition)) -> House {
    let mut definitions = definitions();
    definitions.providers.truncate(1);
    definitions.routes[0].providers.truncate(1);
    change(&mut definitions.providers[0]);
    House::new(definitions)
}

fn means(class: Class, delay: Option<Duration>, tries: Option<u8>) -> StatusTable {
    StatusTable::new(vec![StatusRule { first: FAILED, last: FAILED, class, delay, tries }])
}

/// Answers the one part that was sent with a status that the provider's table names.
fn refuse(house: &mut House, bind: engine::command::ConnectionId) {
    let requests = house.taken(bind);
    assert_eq!(requests.len(), 1, "one part waits for its answer");
    house.respond("up", 0, &[(requests[0].part(), FAILED, "")]);
}

#[test]
fn a_status_means_what_the_providers_table_says() {
    for (class, expected) in [
        (Class::Permanent, State::Failed),
        (Class::Retry, State::Queued),
        // A stray one goes again at once.
        (Class::Throttle, State::Sending),
        (Class::InDoubt, State::InDoubt),
    ] {
        let mut house = house(|provider| provider.statuses = means(class, None, None));
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &Sms::default());
        refuse(&mut house, bind);
        assert_eq!(house.state(number), expected, "{class:?}");
        // What the table does not name means what it usually does.
        let number = house.accepted("acme", &Sms { to: 254_712_000_000, ..Sms::default() });
        let requests = house.taken(bind);
        let answers: Vec<_> = requests.iter().map(|request| (request.part(), 0x0B, "")).collect();
        house.respond("up", 0, &answers);
        assert_eq!(house.state(number), State::Failed, "{class:?}");
    }
}

#[test]
fn a_status_has_its_own_delay_and_number_of_tries() {
    let minute = Duration::from_secs(60);
    let mut house = house(|provider| {
        provider.statuses = means(Class::Retry, Some(minute), Some(3));
        provider.attempts_max = 10;
    });
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    for _ in 0..2 {
        refuse(&mut house, bind);
        house.pass(minute - Duration::from_secs(1));
        assert!(house.taken(bind).is_empty(), "before its time");
        house.pass(Duration::from_secs(2));
    }
    refuse(&mut house, bind);
    assert_eq!(house.state(number), State::Failed);
}

#[test]
fn what_throttles_with_a_delay_stops_the_provider_for_so_long() {
    let mut house = house(|provider| {
        provider.statuses = means(Class::Throttle, Some(Duration::from_secs(5)), None);
    });
    let bind = house.bind("up", 0, 10);
    house.accepted("acme", &Sms::default());
    refuse(&mut house, bind);
    house.accepted("acme", &Sms::default());
    house.pass(Duration::from_secs(4));
    assert!(house.taken(bind).is_empty());
    house.pass(Duration::from_secs(2));
    assert_eq!(house.taken(bind).len(), 2);
}

#[test]
fn what_is_throttled_again_and_again_waits_longer_each_time_and_nobody_behind_it_does() {
    let mut house = house(|provider| provider.statuses = means(Class::Throttle, None, None));
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    let mut tried = Vec::new();
    let mut others = 0;
    for second in 0..4 * 3_600 {
        if second % 60 == 0 {
            house.accepted("acme", &Sms::default());
        }
        for request in house.taken(bind) {
            let is_it = request.number() == number;
            house.respond("up", 0, &[(request.part(), if is_it { FAILED } else { 0 }, "")]);
            match is_it {
                true => tried.push(second),
                false => others += 1,
            }
        }
        house.pass(Duration::from_secs(1));
    }
    assert_eq!(others, 240, "what came behind it");
    assert!((50..64).contains(&tried.len()), "{tried:?}");
    assert!(tried[31] < 120, "it goes again in its place at first: {tried:?}");
    let waits: Vec<i32> = tried.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[32..].is_sorted_by(|a, b| *b >= a - 2), "{waits:?}");
    assert!(waits.last().is_some_and(|wait| (899..=902).contains(wait)), "{waits:?}");
    assert_eq!((house.state(number), house.message(number).attempt), (State::Queued, 0));

    // A restart waits as long.
    house.restart();
    let bind = house.bind("up", 0, 10);
    assert!(house.taken(bind).iter().all(|request| request.number() != number));
}

#[test]
fn attempts_that_are_refused_for_another_reason_end_a_row_of_throttled_ones() {
    let mut house = house(|provider| {
        provider.statuses = means(Class::Retry, Some(Duration::from_secs(1)), Some(100));
    });
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    for attempt in 0..100 {
        let part = (0..20).find_map(|_| {
            house.pass(Duration::from_secs(1));
            house.taken(bind).first().map(Request::part)
        });
        let status = if attempt % 20 == 0 { FAILED } else { THROTTLED };
        house.respond("up", 0, &[(part.expect("it is tried again soon"), status, "")]);
        let waits = house.message(number).retry_at().is_some();
        assert_eq!(waits, status == FAILED, "{attempt}");
    }
}

#[test]
fn an_answer_that_does_not_tell_is_decided_by_the_policy_for_doubts() {
    for (policy, expected) in
        [(InDoubt::Resend, State::Sending), (InDoubt::Hold, State::Held), (InDoubt::Fail, State::Failed)]
    {
        let mut house = house(|provider| {
            provider.statuses = means(Class::InDoubt, None, None);
            provider.in_doubt = policy;
        });
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &Sms::default());
        refuse(&mut house, bind);
        assert_eq!(house.in_flight("up"), 0);
        house.pass(Duration::from_secs(11));
        assert_eq!(house.state(number), expected, "{policy:?}");
        assert_eq!(house.fold().summary(), house.expected(), "{policy:?}");
    }
}

#[test]
fn a_provider_that_says_it_is_full_is_sent_less() {
    let mut house = house(|provider| (provider.throughput, provider.burst) = (1_000, 100));
    house.bind("up", 0, 1_000);
    let rate = |house: &House| house.engine.snapshot().providers[0].rate;
    let before = rate(&house);
    for (state, lower) in [(0, false), (90, false), (99, false), (100, true)] {
        house.turn([Command::Congested { provider: 0, state }]);
        assert_eq!(rate(&house) < before, lower, "congestion_state {state}");
    }
}

#[test]
fn data_sm_carries_what_it_can() {
    let mut house = house(|provider| provider.submit = SubmitForm::DataSm);
    let bind = house.bind("up", 0, 10);
    let valid_until = Some(Wall(house.now.wall.0 + 90_000));
    house.accepted("acme", &Sms { valid_until, ..Sms::of_parts(2) });
    let requests = house.taken(bind);
    assert_eq!(requests.len(), 2);
    for (place, request) in requests.iter().enumerate() {
        let data = DataSm::read(&request.body).unwrap();
        assert_eq!((data.source.octets, data.destination.octets), (&b"ACME"[..], &b"254712345678"[..]));
        assert_eq!((data.esm_class & 0x40, data.registered_delivery), (0x40, 1));
        assert_eq!(data.content()[..3], [5, 0, 3]);
        assert_eq!(data.content()[5], place as u8 + 1);
        assert_eq!(data.tlvs().value_of(tag::QOS_TIME_TO_LIVE), Some(&[0, 0, 0, 90][..]));
    }
    // No time at all would be no limit: in its last second it is one.
    house.accepted(
        "acme",
        &Sms { valid_until: Some(house.now.wall.after(Duration::from_millis(400))), ..Sms::default() },
    );
    let requests = [requests, house.taken(bind)].concat();
    let last = DataSm::read(&requests[2].body).unwrap();
    assert_eq!(last.tlvs().value_of(tag::QOS_TIME_TO_LIVE), Some(&[0, 0, 0, 1][..]));
    house.respond("up", 0, &[(requests[0].part(), 0, "a"), (requests[1].part(), 0, "b")]);
    assert_eq!(house.state(requests[0].number()), State::Sent);
}

#[test]
fn addresses_and_tlvs_go_out_as_the_entry_says() {
    let rule = TlvRule {
        tag: 0x1400,
        name: "entity_id".to_owned(),
        form: TlvForm::CString,
        constant: Some(b"1101\0".to_vec()),
        pass: false,
    };
    for takes_tlvs in [true, false] {
        let mut house = house(|provider| {
            provider.types = AddressTypes {
                alphanumeric: Some((5, 1)),
                destination: Some((0, 0)),
                ..AddressTypes::default()
            };
            provider.tlvs = vec![rule.clone()];
            provider.takes_tlvs = takes_tlvs;
            provider.service_type = takes_tlvs.then(|| "CMT".to_owned());
        });
        let bind = house.bind("up", 0, 10);
        house.accepted("acme", &Sms::of_parts(2));
        for request in house.taken(bind) {
            let sm = request.sm();
            assert_eq!((sm.source.ton, sm.source.npi), (5, 1));
            assert_eq!((sm.destination.ton, sm.destination.npi), (0, 0));
            assert_eq!(sm.service_type, if takes_tlvs { &b"CMT"[..] } else { b"" });
            let expected = takes_tlvs.then_some(&b"1101\0"[..]);
            assert_eq!(sm.tlvs().value_of(0x1400), expected, "in every part");
        }
    }
}

#[test]
fn parts_that_are_refused_for_different_times_wait_for_the_longest() {
    for statuses in [[FAILED, BUSY], [BUSY, FAILED]] {
        let mut house = house(|provider| {
            provider.statuses = means(Class::Retry, Some(Duration::from_secs(60)), None);
        });
        let bind = house.bind("up", 0, 10);
        house.accepted("acme", &Sms::of_parts(2));
        for (request, status) in house.taken(bind).iter().zip(statuses) {
            house.respond("up", 0, &[(request.part(), status, "")]);
        }
        house.pass(Duration::from_millis(59_999));
        assert_eq!(house.taken(bind), []);
        house.pass(Duration::from_millis(1));
        assert_eq!(house.taken(bind).len(), 2);
    }
}

/// 18 as a hexadecimal id is not 18 as a decimal one.
#[test]
fn the_id_in_a_tlv_has_the_form_that_the_entry_says() {
    let sent = |side: TlvId| {
        let mut house = house(|provider| {
            provider.message_id = codecs::message_id::Form::HexDec;
            provider.tlv_id = side;
        });
        let bind = house.bind("up", 0, 10);
        let all = house.accepted_all("acme", &Sms::default(), 2);
        let requests = house.taken(bind);
        // Of the first the response's form is "18", of the second the receipt's.
        house.respond("up", 0, &[(requests[0].part(), 0, "18"), (requests[1].part(), 0, "12")]);
        house.receipt("up", Ids { tlv: "18", text: "" }, ReceiptState::Delivered, None);
        all.into_iter().map(|number| house.state(number)).collect::<Vec<_>>()
    };
    assert_eq!(sent(TlvId::Either), [State::Delivered, State::Sent]);
    assert_eq!(sent(TlvId::Response), [State::Delivered, State::Sent]);
    assert_eq!(sent(TlvId::Receipt), [State::Sent, State::Delivered]);
    // Where nothing has the id in the response's form, the receipt's is looked for only where that may be.
    for (side, expected) in [
        (TlvId::Either, State::Delivered),
        (TlvId::Response, State::Sent),
        (TlvId::Receipt, State::Delivered),
    ] {
        let mut house = house(|provider| {
            (provider.message_id, provider.tlv_id) = (codecs::message_id::Form::HexDec, side);
        });
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &Sms::default());
        let part = house.taken(bind).remove(0).part();
        house.respond("up", 0, &[(part, 0, "12")]);
        house.receipt("up", Ids { tlv: "18", text: "" }, ReceiptState::Delivered, None);
        assert_eq!(house.state(number), expected, "{side:?}");
    }
}

#[test]
fn a_long_id_is_found_by_its_receipt_and_two_that_begin_alike_are_two() {
    for octets in [64, 65, 70, 230, 255] {
        let ids = ["x", "y"].map(|end| "aB".repeat(128)[..octets - 1].to_owned() + end);
        for (tlv, is_early) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut house = house(|_| {});
            let bind = house.bind("up", 0, 10);
            let numbers = house.accepted_all("acme", &Sms::default(), 2);
            let parts: Vec<_> = house.taken(bind).iter().map(|request| request.part()).collect();
            let answers = [(parts[0], 0, &ids[0][..]), (parts[1], 0, &ids[1][..])];
            let by = |id| if tlv { Ids { tlv: id, text: "" } } else { text_id(id) };
            if is_early {
                house.receipt("up", by(&ids[1]), ReceiptState::Delivered, None);
            }
            house.respond("up", 0, &answers);
            house.crash();
            if !is_early {
                house.receipt("up", by(&ids[1]), ReceiptState::Delivered, None);
            }
            let states: Vec<_> = numbers.iter().map(|number| house.state(*number)).collect();
            assert_eq!(states, [State::Sent, State::Delivered], "{octets} octets, by TLV: {tlv}");
        }
    }
}
