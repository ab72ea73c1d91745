//! Messages from phones: each is durable before it is acknowledged, is given to its tenant once however often it comes and in
//! however many parts, and is kept for the operator where nobody is named.

use std::time::Duration;

use codecs::text::Encoding;
use engine::catalog::{Charset, InboundDefinition};
use engine::command::*;
use engine::effect::{Operated, Reply};
use engine::kept::{Drawer, KeptPage, KeptWhat, Unmatched};
use engine::message::Charge;
use engine::submission::Extra;

use crate::house::*;

/// Living messages from phones, by number.
fn inbound(house: &House) -> Vec<u64> {
    house.engine.living().filter(|message| message.is_inbound()).map(|message| message.number).collect()
}

fn text(house: &House, number: u64) -> String {
    String::from_utf8_lossy(house.message(number).body().octets).into_owned()
}

pub fn kept(house: &mut House, drawer: Drawer) -> KeptPage {
    kept_of(house, drawer, None)
}

fn kept_of(house: &mut House, drawer: Drawer, phone: Option<&str>) -> KeptPage {
    let phone = phone.map(str::to_owned);
    let query = Query::Kept { drawer, provider: None, phone, from: 0, most: 100 };
    match house.ask(Command::Query { reply: ReplyId(3), query }) {
        Reply::Kept(Some(page)) => page,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_from_a_phone_is_on_disk_then_acknowledged_then_told() {
    let mut house = House::new(definitions());
    let before = house.money("acme");
    let groups = house.journal.len();
    let sequences = house.phones_write("up", &[FromPhone::default()]);
    assert_eq!(house.journal.len(), groups + 1);
    assert_eq!(house.acknowledged, [(ConnectionId(u32::MAX - 1), sequences[0])]);
    let number = inbound(&house)[0];
    let message = house.message(number);
    assert_eq!(
        (message.charge, message.price.0, message.provider),
        (Charge::Released, 0, house.provider("up"))
    );
    // Nobody is bound, and the process ends: it is still to be told.
    house.crash();
    let session = house.bind_tenant("acme", 5);
    let told = house.taken(session);
    let sm = told[0].sm();
    assert_eq!((sm.source.octets, sm.destination.octets), (&b"254712345678"[..], &b"22334"[..]));
    assert_eq!((sm.esm_class, sm.data_coding, sm.content()), (0, 0, &b"STOP it"[..]));
    assert_eq!(told[0].told(), number);
    house.acknowledge("acme", session, &[number], 0);
    assert!(house.message(number).told);
    assert_eq!(house.money("acme"), before);
    house.crash();
    let session = house.bind_tenant("acme", 5);
    assert_eq!(house.told(session), [], "it was acknowledged");
}

#[test]
fn what_comes_again_within_the_window_is_acknowledged_and_nothing_more() {
    let mut house = House::new(definitions());
    let one = FromPhone::default();
    house.phones_write("up", &[one.clone(), one.clone()]);
    assert_eq!((inbound(&house).len(), house.acknowledged.len()), (1, 2));
    // The acknowledgement was lost with the process.
    house.crash();
    house.phones_write("up", std::slice::from_ref(&one));
    assert_eq!(inbound(&house).len(), 1);
    assert_eq!(house.engine.counters().inbound_repeated, 1);
    house.seconds(61);
    house.phones_write("up", &[one]);
    assert_eq!(house.engine.counters().inbound_repeated, 1, "the same text again, later, is another message");
    assert_eq!(house.engine.counters().providers[0].inbound, 1, "since the start");
}

#[test]
fn a_phone_that_writes_the_same_again_and_again_is_heard_once_a_window() {
    let mut house = House::new(definitions());
    for (time, is_heard) in [true, false, true, false, true].into_iter().enumerate() {
        let heard = house.engine.counters().providers[0].inbound;
        house.phones_write("up", &[FromPhone::default()]);
        let heard = house.engine.counters().providers[0].inbound - heard;
        assert_eq!(heard, u64::from(is_heard), "after {time} times 50 seconds");
        house.seconds(50);
        if time == 2 {
            house.crash();
        }
    }
}

#[test]
fn parts_in_any_order_become_one_message_also_across_a_crash() {
    let mut house = House::new(definitions());
    let parts = [(3, "gamma"), (1, "alpha "), (2, "beta ")];
    let parts = parts.map(|(number, text)| FromPhone::part(number, 3, text.as_bytes()));
    for part in &parts {
        house.phones_write("up", &[part.clone(), part.clone()]);
        house.crash();
        // The provider did not see the answer.
        house.phones_write("up", std::slice::from_ref(part));
    }
    assert_eq!(house.acknowledged.len(), 9);
    let numbers = inbound(&house);
    assert_eq!(numbers.len(), 1);
    assert_eq!(text(&house, numbers[0]), "alpha beta gamma");
    assert_eq!((house.message(numbers[0]).parts(), house.engine.parts_of_phones()), (3, 0));
    house.phones_write("up", &parts);
    assert_eq!((inbound(&house).len(), house.engine.parts_of_phones()), (1, 0), "all came before");
}

#[test]
fn a_part_that_waited_over_a_start_is_known_when_it_comes_again_after_the_last() {
    let mut house = House::new(definitions());
    let parts = [FromPhone::part(1, 2, b"alpha "), FromPhone::part(2, 2, b"beta")];
    house.phones_write("up", &parts[..1]);
    house.crash();
    house.phones_write("up", &[parts[1].clone(), parts[0].clone()]);
    assert_eq!((inbound(&house).len(), house.engine.parts_of_phones()), (1, 0));
    assert_eq!(house.engine.counters().inbound_repeated, 1);
}

#[test]
fn a_surrogate_pair_across_two_parts_is_one_character() {
    let mut house = House::new(definitions());
    let units: Vec<u8> = "a🌍b".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let (first, second) = units.split_at(4);
    for (number, text) in [(2, second), (1, first)] {
        house.phones_write("up", &[FromPhone { data_coding: 8, ..FromPhone::part(number, 2, text) }]);
    }
    let message = house.message(inbound(&house)[0]);
    assert_eq!(codecs::text::decode(Encoding::Ucs2, message.body().octets), "a🌍b");
}

/// The texts of what came of these parts of one message, which are given as data_coding and octets, with their data_codings.
fn joined(charset: Charset, parts: &[(u8, &[u8])]) -> Vec<(u8, String)> {
    let mut definitions = definitions();
    definitions.providers[0].charset = charset;
    let mut house = House::new(definitions);
    let total = parts.len() as u8;
    for (number, (data_coding, text)) in (1..=total).zip(parts).rev() {
        let part = FromPhone::part(number, total, text);
        house.phones_write("up", &[FromPhone { data_coding: *data_coding, ..part }]);
        house.crash();
    }
    assert_eq!(house.engine.parts_of_phones(), 0);
    let messages = inbound(&house).into_iter().map(|number| house.message(number));
    messages
        .map(|message| {
            let body = message.body();
            let is_apart = usize::from(body.parts) < parts.len();
            let missing = [total - 1];
            assert_eq!(body.extra(Extra::Missing), is_apart.then_some(&missing[..]));
            (body.data_coding, codecs::text::decode(body.encoding, body.octets))
        })
        .collect()
}

fn units(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

#[test]
fn parts_in_different_alphabets_are_one_text_in_ucs_2() {
    let russian = units("при");
    let emoji = units("🌍");
    let (high, low) = emoji.split_at(2);
    type Case<'a> = (Charset, &'a [(u8, &'a [u8])], u8, &'a str);
    let cases: [Case<'_>; 10] = [
        (Charset::Gsm7, &[(8, &russian), (0, b"abc")], 8, "приabc"),
        (Charset::Gsm7, &[(0, b"text \x1b"), (0, b"e"), (8, &russian)], 8, "text €при"),
        (Charset::Gsm7, &[(0, b"\x00"), (8, high), (8, low), (0, b"\x02")], 8, "@🌍$"),
        (Charset::Gsm7, &[(3, b"\xe9"), (0, b"\x05")], 8, "éé"),
        (Charset::Latin1, &[(0, b"\xe9"), (8, &russian)], 8, "éпри"),
        (Charset::Utf8, &[(0, b"\xc3"), (0, b"\xa9"), (8, &russian)], 8, "éпри"),
        // Flash stays flash.
        (Charset::Gsm7, &[(0x10, b"a"), (0x18, &russian)], 0x18, "aпри"),
        (Charset::Gsm7, &[(0xF1, b"a"), (0x08, &russian)], 0x19, "aпри"),
        // Another class is no other alphabet.
        (Charset::Gsm7, &[(0x00, b"a"), (0x11, b"b")], 0, "ab"),
        // An octet too many spoils no other part.
        (Charset::Gsm7, &[(8, b"\x00a\x00"), (0, b"bc")], 8, "a\u{fffd}bc"),
    ];
    for (charset, parts, data_coding, text) in cases {
        assert_eq!(joined(charset, parts), [(data_coding, text.to_owned())], "{charset:?} {parts:x?}");
    }
}

#[test]
fn parts_of_which_one_is_no_text_are_told_one_by_one() {
    let text = |data_coding: u8, text: &str| (data_coding, text.to_owned());
    for (parts, expected) in [
        ([(4, &b"\x01\x02"[..]), (0, b"abc")], [text(4, "0102"), text(0, "abc")]),
        ([(0, b"abc"), (0xF5, b"\x01\x02")], [text(0, "abc"), text(0xF5, "0102")]),
        // JIS and Cyrillic, which we do not read.
        ([(5, b"\x01"), (6, b"\x02")], [text(5, "01"), text(6, "02")]),
    ] {
        assert_eq!(joined(Charset::Gsm7, &parts), expected);
    }
    assert_eq!(joined(Charset::Gsm7, &[(4, b"\x01"), (4, b"\x02")]), [text(4, "0102")]);
}

#[test]
fn parts_that_are_told_one_by_one_go_where_the_first_goes() {
    let stop = units("stop it");
    // Whose the first is decides: by its word as its provider means it, or nobody's.
    for (charset, first, second, expected) in [
        (Charset::Ucs2, (0, &stop[..]), (4, &b"\x01"[..]), 2),
        (Charset::Gsm7, (0, b"stop"), (4, b"\x01"), 2),
        (Charset::Gsm7, (4, b"\x01"), (0, b"stop"), 0),
    ] {
        let mut definitions = definitions();
        definitions.providers[0].charset = charset;
        definitions.providers[0].inbound_tenant = None;
        let keywords = vec!["stop".to_owned()];
        let tenant = "other".to_owned();
        definitions.inbound = vec![InboundDefinition { tenant, keywords, ..InboundDefinition::default() }];
        let mut house = House::new(definitions);
        for (number, (data_coding, text)) in [(1, first), (2, second)] {
            house.phones_write("up", &[FromPhone { data_coding, ..FromPhone::part(number, 2, text) }]);
        }
        let tenants: Vec<u32> = inbound(&house).iter().map(|number| house.message(*number).tenant).collect();
        assert_eq!(tenants, vec![house.tenant("other"); expected], "{charset:?} {first:x?}");
        assert_eq!(house.engine.counters().inbound_unrouted, 2 - expected as u64);
    }
}

#[test]
fn what_is_incomplete_at_its_time_is_told_as_it_is_and_marked() {
    let mut house = House::new(definitions());
    house.phones_write("up", &[FromPhone::part(1, 3, b"only "), FromPhone::part(3, 3, b"this")]);
    house.seconds(599);
    assert_eq!(inbound(&house), []);
    house.crash();
    house.seconds(1);
    let number = inbound(&house)[0];
    assert_eq!(text(&house, number), "only this");
    assert_eq!(house.message(number).body().extra(Extra::Missing), Some(&[1][..]));
    assert_eq!(house.engine.counters().inbound_incomplete, 1);
}

#[test]
fn beyond_the_bound_the_oldest_incomplete_message_goes() {
    let mut definitions = definitions();
    definitions.settings.inbound.parts_max = 2;
    let mut house = House::new(definitions);
    for phone in 1..=3 {
        house.phones_write("up", &[FromPhone { phone, ..FromPhone::part(1, 2, b"half") }]);
    }
    let numbers = inbound(&house);
    assert_eq!(numbers.len(), 1);
    assert_eq!(house.message(numbers[0]).body().destination, 1);
}

#[test]
fn a_phone_that_begins_many_messages_ends_its_own_and_no_others() {
    let mut definitions = definitions();
    definitions.settings.inbound.parts_max = 4;
    let mut house = House::new(definitions);
    for phone in 1..=2 {
        house.phones_write("up", &[FromPhone { phone, ..FromPhone::part(1, 2, b"half") }]);
    }
    for reference in 0..20 {
        let part = Some(PartOf { form: PartForm::Sar, reference, total: 2, number: 1 });
        // To another address each time: the phone is the same.
        let to = ["22334", "999"][usize::from(reference % 2)];
        house.phones_write("up", &[FromPhone { phone: 9, part, to, ..FromPhone::default() }]);
        house.crash();
    }
    let phones: Vec<u64> =
        inbound(&house).iter().map(|number| house.message(*number).body().destination).collect();
    assert!(!phones.is_empty() && phones.iter().all(|phone| *phone == 9), "{phones:?}");
    house.phones_write("up", &[FromPhone { phone: 1, ..FromPhone::part(2, 2, b" and half") }]);
    let last = *inbound(&house).last().expect("a whole message");
    assert_eq!(text(&house, last), "half and half");
}

#[test]
fn a_reference_that_is_given_out_again_loses_no_text() {
    let mut house = House::new(definitions());
    house.phones_write("up", &[FromPhone::part(1, 2, b"old")]);
    house.phones_write("up", &[FromPhone::part(1, 2, b"new "), FromPhone::part(2, 2, b"one")]);
    let texts: Vec<String> = inbound(&house).iter().map(|number| text(&house, *number)).collect();
    assert_eq!(texts, ["old", "new one"]);
}

#[test]
fn the_first_rule_that_fits_decides_then_the_providers_default() {
    let rule = |change: &dyn Fn(&mut InboundDefinition)| {
        let mut rule = InboundDefinition { tenant: "other".to_owned(), ..InboundDefinition::default() };
        change(&mut rule);
        rule
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let to_other = |house: &House| house.message(inbound(house)[0]).tenant == house.tenant("other");
    let stop = |text: &str| FromPhone { text: text.into(), ..FromPhone::default() };
    type Change<'a> = &'a dyn Fn(&mut InboundDefinition);
    // A header that names the Hindi locking table, and a word of it.
    let hindi =
        FromPhone { text: b"\x03\x25\x01\x06\x2f\x42 x".to_vec(), esm_class: 0x40, ..FromPhone::default() };
    let cases: [(Change<'_>, FromPhone, bool); 15] = [
        (&|rule| rule.keywords = words(&["नम"]), hindi, true),
        (&|_| {}, FromPhone::default(), true),
        (&|rule| rule.providers = words(&["spare"]), FromPhone::default(), false),
        (&|rule| rule.providers = words(&["spare", "up"]), FromPhone::default(), true),
        (&|rule| rule.to = words(&["22335"]), FromPhone::default(), false),
        (&|rule| rule.to = words(&["+22334"]), FromPhone::default(), true),
        (&|rule| rule.to = words(&["Shop"]), FromPhone { to: "SHOP", ..FromPhone::default() }, true),
        (&|rule| rule.to_prefixes = words(&["223"]), FromPhone::default(), true),
        (&|rule| rule.from_prefixes = words(&["255"]), FromPhone::default(), false),
        (&|rule| rule.from_prefixes = words(&["255", "25471"]), FromPhone::default(), true),
        (&|rule| rule.keywords = words(&["stop"]), stop(" Stop, please"), true),
        (&|rule| rule.keywords = words(&["stop"]), stop("stopping"), false),
        (&|rule| rule.keywords = words(&["STOP"]), stop("stop"), true),
        // One that names only what is not there.
        (&|rule| rule.providers = words(&["nobody"]), FromPhone::default(), false),
        (&|rule| (rule.keywords, rule.to) = (words(&["stop"]), words(&["1"])), stop("stop"), false),
    ];
    for (place, (change, message, expected)) in cases.iter().enumerate() {
        let mut definitions = definitions();
        definitions.inbound = vec![rule(change)];
        definitions.providers[0].inbound_tenant = Some("acme".to_owned());
        let mut house = House::new(definitions);
        house.phones_write("up", std::slice::from_ref(message));
        assert_eq!(to_other(&house), *expected, "case {place}");
    }
}

#[test]
fn what_no_rule_names_is_kept_and_goes_to_whom_a_later_rule_names() {
    let mut house = House::new(definitions());
    let one = FromPhone { to: "999", ..FromPhone::default() };
    house.phones_write("up", std::slice::from_ref(&one));
    assert_eq!((inbound(&house).len(), house.acknowledged.len()), (0, 1));
    assert_eq!(house.engine.counters().inbound_unrouted, 1);
    house.crash();
    house.phones_write("up", &[one]);
    let page = kept(&mut house, Drawer::Unrouted);
    assert_eq!((page.total, page.rows.len()), (1, 1));
    let KeptWhat::Message { from, to, parts, .. } = &page.rows[0].what else { panic!("{page:?}") };
    assert_eq!((&from[..], &to[..], *parts), (&b"254712345678"[..], &b"999"[..], 1));
    for (phone, found) in [("254", 1), ("254712345678", 1), ("2547123456789", 0), ("255", 0)] {
        assert_eq!(kept_of(&mut house, Drawer::Unrouted, Some(phone)).rows.len(), found, "{phone}");
    }
    let came_at = page.rows[0].at;
    house.pass(Duration::from_secs(3_600));
    house.definitions.inbound[0].to.push("999".to_owned());
    house.crash();
    assert_eq!((inbound(&house).len(), kept(&mut house, Drawer::Unrouted).total), (1, 0));
    let message = house.message(inbound(&house)[0]);
    assert!(message.accepted_at > came_at && message.body().came_at() == Some(came_at));
    house.crash();
    assert_eq!((inbound(&house).len(), kept(&mut house, Drawer::Unrouted).total), (1, 0));
}

#[test]
fn what_is_kept_is_bounded_and_lives_in_the_ring() {
    let mut definitions = definitions();
    definitions.settings.inbound.kept_max = 5;
    let mut house = House::new(definitions);
    house.ring_over = 1;
    for phone in 1..=40 {
        house.phones_write("up", &[FromPhone { phone, to: "999", ..FromPhone::default() }]);
        house.phones_write("up", &[FromPhone { phone, ..FromPhone::part(1, 2, b"half") }]);
    }
    for _ in 0..200 {
        house.accepted("acme", &Sms::default());
    }
    assert!(house.release_before > 40, "the ring turns: {}", house.release_before);
    house.crash();
    let rows = kept(&mut house, Drawer::Unrouted).rows;
    let phones: Vec<String> = rows
        .iter()
        .map(|row| match &row.what {
            KeptWhat::Message { from, .. } => String::from_utf8_lossy(from).into_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(phones, ["36", "37", "38", "39", "40"]);
    assert_eq!(house.engine.parts_of_phones(), 40);
    house.advance(8 * 24 * 3_600 * 1_000_000);
    house.seconds(60);
    assert_eq!(kept(&mut house, Drawer::Unrouted).total, 0, "after a week they are dropped");
}

#[test]
fn what_is_kept_is_bounded_in_octets() {
    let mut definitions = definitions();
    definitions.settings.inbound.kept_octets = 100_000;
    let mut house = House::new(definitions);
    for phone in 1..=20 {
        let text = vec![b'x'; 30_000];
        house.phones_write("up", &[FromPhone { phone, to: "999", text, ..FromPhone::default() }]);
    }
    assert_eq!(kept(&mut house, Drawer::Unrouted).total, 3);
    assert_eq!(house.engine.counters().kept_dropped, 17);
    house.crash();
    assert_eq!(kept(&mut house, Drawer::Unrouted).total, 3);
    let text = vec![b'y'; 60_000];
    house.definitions.settings.inbound.kept_octets = 50_000;
    house.crash();
    house.phones_write("up", &[FromPhone { to: "999", text, ..FromPhone::default() }]);
    assert_eq!(kept(&mut house, Drawer::Unrouted).total, 1, "the newest always has room");
}

#[test]
fn a_receipt_without_an_id_is_kept_and_then_acknowledged() {
    let mut house = House::new(definitions());
    house.receipt("up", text_id(""), codecs::receipt::State::Enroute, Some(254_700_000_001));
    assert_eq!(house.acknowledged.len(), 1);
    house.crash();
    let page = kept(&mut house, Drawer::Unmatched);
    let whys = page.rows.iter().map(|row| match &row.what {
        KeptWhat::Receipt { why, .. } => *why,
        other => panic!("{other:?}"),
    });
    assert_eq!(whys.collect::<Vec<_>>(), [Unmatched::NoId]);
}

#[test]
fn receipts_without_a_message_can_be_seen_with_their_reason() {
    let mut house = House::new(definitions());
    house.receipt("up", text_id("77"), codecs::receipt::State::Delivered, Some(254_700_000_001));
    let why = |house: &mut House| {
        let page = kept(house, Drawer::Unmatched);
        let rows = page.rows.into_iter().map(|row| match row.what {
            KeptWhat::Receipt { id, why, .. } => (row.provider, String::from_utf8(id).expect("an id"), why),
            other => panic!("{other:?}"),
        });
        rows.collect::<Vec<_>>()
    };
    let row = |why| vec![("up".to_owned(), "77".to_owned(), why)];
    assert_eq!(why(&mut house), row(Unmatched::Waits));
    house.seconds(601);
    assert_eq!(why(&mut house), row(Unmatched::NoResponse));
    assert_eq!(house.engine.counters().unmatched, 1);
    house.crash();
    assert_eq!(why(&mut house), row(Unmatched::NoResponse), "it does not wait again");
    house.seconds(601);
    assert_eq!(why(&mut house), row(Unmatched::NoResponse));
}

#[test]
fn a_full_disk_sends_them_back_for_later() {
    let mut house = House::new(definitions());
    house.turn([Command::Disk(DiskLevel::RefuseIntake)]);
    house.phones_write("up", &[FromPhone::default()]);
    assert_eq!(inbound(&house), []);
    house.turn([Command::Disk(DiskLevel::Fine)]);
    house.phones_write("up", &[FromPhone::default()]);
    assert_eq!(inbound(&house).len(), 1);
}

#[test]
fn data_coding_0_is_told_by_a_number_that_means_the_same_to_everybody() {
    for (charset, octets, coding, told) in [
        (Charset::Gsm7, &b"\x00"[..], 0, &b"\x00"[..]),
        (Charset::Latin1, b"\xe9", 3, b"\xe9"),
        (Charset::Ascii, b"@", 1, b"@"),
        (Charset::Ucs2, b"\0a", 8, b"\0a"),
        (Charset::Utf8, "é".as_bytes(), 8, b"\0\xe9"),
    ] {
        let mut definitions = definitions();
        definitions.providers[0].charset = charset;
        let mut house = House::new(definitions);
        let session = house.bind_tenant("acme", 5);
        house.phones_write("up", &[FromPhone { text: octets.to_vec(), ..FromPhone::default() }]);
        let requests = house.taken(session);
        assert_eq!((requests[0].sm().data_coding, requests[0].sm().content()), (coding, told), "{charset:?}");
    }
}

#[test]
fn a_long_message_goes_as_message_payload() {
    let mut house = House::new(definitions());
    let session = house.bind_tenant("acme", 5);
    let half = [b'x'; 153];
    house.phones_write("up", &[FromPhone::part(1, 2, &half), FromPhone::part(2, 2, &half)]);
    let requests = house.taken(session);
    let sm = requests[0].sm();
    assert_eq!((sm.short_message, sm.esm_class, sm.content().len()), (&b""[..], 0, 306));
}

#[test]
fn a_long_message_that_waits_for_room_where_tlvs_are_known_holds_up_no_other_session() {
    let mut house = House::new(definitions());
    let (early, late) = (house.bind_tenant_of("acme", false, 5), house.bind_tenant_of("acme", true, 1));
    let half = [b'x'; 153];
    for phone in 1..=3 {
        let part = |of| FromPhone { phone, ..FromPhone::part(of, 2, &half) };
        house.phones_write("up", &[part(1), part(2)]);
    }
    let first = house.told(late);
    house.phones_write("up", &[FromPhone::default()]);
    assert_eq!((first.len(), house.told(early).len(), house.told(late).len()), (1, 1, 0));
    // They come in their order, before what came after them.
    house.phones_write("up", &[FromPhone { phone: 7, ..FromPhone::default() }]);
    let mut told = vec![first];
    for _ in 0..2 {
        house.acknowledge("acme", late, told.last().expect("one"), 0);
        told.push(house.told(late));
    }
    let told = told.concat();
    assert!(told.len() == 3 && told.is_sorted(), "{told:?}");
    assert_eq!(house.told(early).len(), 1);
}

#[test]
fn a_long_message_waits_for_a_session_that_knows_tlvs_and_holds_up_nothing() {
    let mut house = House::new(definitions());
    let early = house.bind_tenant_of("acme", false, 5);
    let half = [b'x'; 153];
    let short = |phone| FromPhone { phone, ..FromPhone::default() };
    house.phones_write("up", &[FromPhone::part(1, 2, &half), FromPhone::part(2, 2, &half), short(7)]);
    let numbers = inbound(&house);
    let long = numbers[0];
    assert_eq!(house.told(early), numbers[1..], "no message_payload before SMPP 3.4");
    // Also when it has gone to the archive meanwhile, and across a crash.
    house.seconds(300);
    assert!(house.engine.message(long).is_none());
    house.crash();
    let early = house.bind_tenant_of("acme", false, 5);
    house.phones_write("up", &[short(8)]);
    assert!(!house.told(early).contains(&long));
    let late = house.bind_tenant("acme", 1);
    assert_eq!(house.told(late), [long]);
    // What is not acknowledged goes back to where it waited.
    house.tenant_down("acme", late, &[long]);
    assert!(!house.told(early).contains(&long));
    let late = house.bind_tenant("acme", 1);
    assert_eq!(house.told(late), [long]);
    house.acknowledge("acme", late, &[long], 0);
    house.phones_write("up", &[short(9)]);
    assert_eq!(house.told(early).len() + house.told(late).len(), 1);
}

#[test]
fn the_id_of_a_message_from_a_phone_names_none_that_was_submitted() {
    let mut house = House::new(definitions());
    house.phones_write("up", &[FromPhone::default()]);
    let number = inbound(&house)[0];
    let text =
        Replacement { octets: b"x".to_vec(), send_at: None, valid_until: None, registered_delivery: 0 };
    for is_living in [true, false] {
        for what in [OfOne::Query, OfOne::Cancel, OfOne::Replace(text.clone())] {
            assert_eq!(house.of_one("acme", number, what), Some(Operated::Failed), "living: {is_living}");
        }
        house.seconds(300);
        assert!(house.archived(number).is_some());
    }
}

#[test]
fn a_tenant_without_binds_is_not_told_and_its_messages_go_to_the_archive() {
    let mut definitions = definitions();
    definitions.tenants[0].binds = false;
    let mut house = House::new(definitions);
    house.phones_write("up", &[FromPhone::default()]);
    let number = inbound(&house)[0];
    assert_eq!(house.engine.snapshot().untold, 0, "nobody will come for it");
    house.pass(Duration::from_secs(70));
    assert_eq!(inbound(&house), []);
    assert!(house.archived(number).is_some_and(|message| message.is_inbound()));
    assert_eq!(house.engine.counters().dropped, 0);
}

#[test]
fn untold_messages_from_phones_wait_in_the_archive_until_their_time() {
    let mut house = House::new(definitions());
    house.phones_write("up", &[FromPhone::default()]);
    let number = inbound(&house)[0];
    house.seconds(300);
    assert_eq!(inbound(&house), []);
    house.crash();
    let session = house.bind_tenant("acme", 5);
    assert_eq!(house.told(session), [number]);
    house.acknowledge("acme", session, &[number], 0x66);
    assert_eq!(house.engine.counters().dropped, 1);
}

#[test]
fn a_repetition_is_known_also_when_its_message_has_left_the_journal() {
    let mut definitions = definitions();
    definitions.settings.inbound.repeat_window = Duration::from_secs(3_600);
    definitions.tenants[0].binds = false;
    let mut house = House::new(definitions);
    house.ring_over = 1;
    house.phones_write("up", &[FromPhone::default()]);
    house.seconds(100);
    for _ in 0..200 {
        house.accepted("acme", &Sms::default());
    }
    assert_eq!(inbound(&house), []);
    assert!(house.release_before > 10, "the ring turns: {}", house.release_before);
    house.crash();
    house.phones_write("up", &[FromPhone::default()]);
    assert_eq!((inbound(&house).len(), house.engine.counters().inbound_repeated), (0, 1));
    house.seconds(3_700);
    house.crash();
    house.phones_write("up", &[FromPhone::default()]);
    assert_eq!(inbound(&house).len(), 1);
}

#[test]
fn receipts_of_one_unknown_id_are_held_once_and_never_many() {
    let mut house = House::new(definitions());
    let delivered = codecs::receipt::State::Delivered;
    for _ in 0..3 {
        house.receipt("up", text_id("77"), delivered, Some(254_700_000_001));
    }
    assert_eq!((kept(&mut house, Drawer::Unmatched).total, house.engine.counters().repeated), (1, 2));
    // One that never ends: each names another phone.
    for phone in 0..200 {
        house.receipt("up", text_id("77"), delivered, Some(254_700_000_002 + phone));
    }
    let page = kept(&mut house, Drawer::Unmatched);
    assert_eq!((page.waiting, page.total), (32, 201), "those that found no room are shown as well");
    assert_eq!(house.acknowledged.len(), 203);
    let octets: usize = house.journal.iter().map(|(_, records)| records.len()).sum();
    assert!(octets < 100_000, "{octets} octets for 203 receipts");
}

#[test]
fn packed_septets_are_unpacked_behind_the_header_that_they_came_with() {
    use codecs::text::packed;
    let mut definitions = definitions();
    definitions.providers[0].packed = true;
    let mut house = House::new(definitions);
    let packed = |septets: &[u8], header: usize| {
        let mut octets = Vec::new();
        packed::pack(septets, packed::fill_bits(header), &mut octets);
        octets
    };
    let whole = FromPhone { text: packed(b"whole text", 0), ..FromPhone::default() };
    house.phones_write("up", &[whole]);
    for (form, header, reference) in
        [(PartForm::Header8, 6, 1), (PartForm::Header16, 7, 2), (PartForm::Sar, 0, 3)]
    {
        for (number, text) in [(1, &b"in some "[..]), (2, b"parts")] {
            let part = Some(PartOf { form, reference, total: 2, number });
            house.phones_write(
                "up",
                &[FromPhone { text: packed(text, header), part, ..FromPhone::default() }],
            );
        }
    }
    let binary = FromPhone { text: b"\x01\xff".to_vec(), data_coding: 4, ..FromPhone::default() };
    house.phones_write("up", &[binary]);
    let octets: Vec<Vec<u8>> =
        inbound(&house).iter().map(|number| house.message(*number).body().octets.to_vec()).collect();
    let parts = &b"in some parts"[..];
    assert_eq!(octets, [&b"whole text"[..], parts, parts, parts, b"\x01\xff"]);
}

#[test]
fn a_part_that_comes_again_later_is_still_carried_over_by_the_ring() {
    let mut house = House::new(definitions());
    house.ring_over = 1;
    let first = FromPhone::part(1, 2, b"alpha ");
    house.phones_write("up", std::slice::from_ref(&first));
    house.seconds(61);
    house.phones_write("up", &[first]);
    for _ in 0..200 {
        house.accepted("acme", &Sms::default());
    }
    assert!(house.release_before > 10, "the ring turns: {}", house.release_before);
    house.crash();
    assert_eq!(house.engine.parts_of_phones(), 1);
    house.phones_write("up", &[FromPhone::part(2, 2, b"beta")]);
    assert_eq!(text(&house, inbound(&house)[0]), "alpha beta");
}

#[test]
fn parts_that_the_ring_has_carried_over_wait_no_longer_than_others() {
    let mut house = House::new(definitions());
    house.ring_over = 1;
    house.phones_write("up", &[FromPhone::part(1, 3, b"alpha ")]);
    house.seconds(500);
    house.phones_write("up", &[FromPhone::part(2, 3, b"beta")]);
    let at = house.journal.last().expect("a group").0;
    while house.release_before <= at {
        house.accepted("acme", &Sms::default());
    }
    house.crash();
    house.seconds(100);
    assert_eq!(inbound(&house).len(), 1, "ten minutes after the first of them");
}

#[test]
fn what_was_carried_over_is_known_no_longer_than_its_time() {
    let mut definitions = definitions();
    definitions.settings.inbound.repeat_window = Duration::from_secs(100);
    let mut house = House::new(definitions);
    house.ring_over = 1;
    house.phones_write("up", &[FromPhone::default()]);
    let at = house.journal.last().expect("a group").0;
    house.seconds(90);
    house.phones_write("up", &[FromPhone { phone: 1, ..FromPhone::default() }]);
    while house.release_before <= at {
        house.accepted("acme", &Sms::default());
    }
    house.crash();
    house.seconds(15);
    house.phones_write("up", &[FromPhone::default()]);
    assert_eq!(house.engine.counters().inbound_repeated, 0, "it is another one");
}

#[test]
fn what_waits_is_parked_also_where_phones_write_the_last_of_each_block() {
    let mut definitions = definitions();
    definitions.settings.queue_memory = 100;
    let mut house = House::new(definitions);
    for _ in 0..600 {
        let number = house.accepted("acme", &Sms::default());
        if engine::pages::place_of(number) == 62 {
            house.phones_write("up", &[FromPhone { phone: number, ..FromPhone::default() }]);
        }
    }
    assert!(house.engine.living().count() < 200 + 600 / 64, "the rest is parked");
}
