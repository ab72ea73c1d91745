//! Messages of several parts, at providers that take them in different ways: what is priced, what goes out, and that the cut is the
//! same wherever and whenever it goes. And texts in alphabets that not every provider takes.

use std::time::Duration;

use codecs::receipt::State as ReceiptState;
use codecs::smpp::tlv::tag;
use codecs::split::{self, Concatenation, concatenation};
use codecs::text::national::{Language, Languages};
use codecs::text::{self, Encoding, packed};
use engine::catalog::{
    AskReceipt, Charset, Flash, LongMessages, NationalTables, ProviderDefinition, ReceiptParts, SettleOn,
    Strategy as RouteStrategy,
};
use engine::command::{Command, PartToken, Query, Refusal, ReplyId};
use engine::effect::{Estimate, Outcome, Reply};
use engine::message::State;
use engine::money::Micros;
use engine::step::ALL_PARTS;
use engine::submission::{Priority, UDHI, Via};
use engine::surgery::{Filter, Operation};

use proptest::prelude::*;

use crate::house::*;
use crate::surgery::order;

/// The first provider as given, the second one usual.
fn house_with(change: impl Fn(&mut ProviderDefinition)) -> House {
    let mut definitions = definitions();
    change(&mut definitions.providers[0]);
    House::new(definitions)
}

fn long(octets: usize, parts: u8) -> Sms {
    Sms { text: (0..octets).map(|place| b'a' + (place % 26) as u8).collect(), parts, ..Sms::default() }
}

/// The text of a request without its header, and what joins it.
fn cut(request: &Request) -> (Option<Concatenation>, Vec<u8>) {
    let sm = request.sm();
    if sm.esm_class & UDHI != 0 {
        let (_, text) = split::header_and_text(sm.content()).unwrap();
        return (concatenation(sm.content()), text.to_vec());
    }
    let value = |tag| sm.tlvs().value_of(tag);
    let sar = value(tag::SAR_MSG_REF_NUM).map(|reference| Concatenation {
        reference: u16::from_be_bytes(reference.try_into().unwrap()),
        total: value(tag::SAR_TOTAL_SEGMENTS).unwrap()[0],
        number: value(tag::SAR_SEGMENT_SEQNUM).unwrap()[0],
    });
    (sar, sm.content().to_vec())
}

fn joined(requests: &[Request]) -> Vec<u8> {
    requests.iter().flat_map(|request| cut(request).1).collect()
}

#[test]
fn each_way_of_long_messages_carries_the_whole_text_at_the_price_of_its_parts() {
    // 306 septets are two parts beside a header of six octets and three beside one of seven.
    for (way, parts, header) in [
        (LongMessages::Udh8, 2, &[5, 0x00, 3][..]),
        (LongMessages::Udh16, 3, &[6, 0x08, 4]),
        (LongMessages::Sar, 2, &[]),
    ] {
        let mut house = house_with(|up| up.long_messages = way);
        let bind = house.bind("up", 0, 10);
        let sms = long(306, 2);
        let number = house.accepted("acme", &sms);
        let requests = house.taken(bind);
        assert_eq!(requests.len(), parts, "{way:?}");
        assert_eq!(house.money("acme"), (1_000 - parts as i64, parts as i64, 0));
        assert_eq!(joined(&requests), sms.text, "{way:?}");
        let mut references = Vec::new();
        for (place, request) in requests.iter().enumerate() {
            assert!(request.sm().short_message.starts_with(header), "{way:?}");
            assert_eq!(request.sm().esm_class & UDHI != 0, !header.is_empty());
            let (joins, text) = cut(request);
            let joins = joins.expect("it is joined");
            assert_eq!((joins.total, joins.number), (parts as u8, place as u8 + 1));
            assert!(text.len() <= if way == LongMessages::Udh16 { 152 } else { 153 });
            references.push(joins.reference);
        }
        references.dedup();
        assert_eq!(references.len(), 1);
        assert_eq!(house.message(number).parts(), parts as u8);
    }
}

#[test]
fn message_payload_is_one_request_and_one_receipt_for_all_parts() {
    let mut house = house_with(|up| up.long_messages = LongMessages::Payload);
    let bind = house.bind("up", 0, 10);
    let tenant = house.bind_tenant("acme", 10);
    let sms = long(400, 3);
    let number = house.accepted("acme", &sms);
    let requests = house.taken(bind);
    let [request] = &requests[..] else { panic!("{} requests", requests.len()) };
    let sm = request.sm();
    assert_eq!((sm.short_message, sm.esm_class), (&b""[..], 0));
    assert_eq!(sm.tlvs().value_of(tag::MESSAGE_PAYLOAD), Some(&sms.text[..]));
    assert_eq!(request.part().part(), ALL_PARTS);
    assert_eq!((house.money("acme"), house.in_flight("up")), ((997, 3, 0), 3));
    house.respond("up", 0, &[(request.part(), 0, "whole")]);
    assert_eq!((house.state(number), house.in_flight("up")), (State::Sent, 0));
    assert_eq!(house.money("acme"), (997, 0, 3));
    assert_eq!(house.message(number).provider_id(ALL_PARTS), Some(&b"whole"[..]));
    // Read anew, it is known by the same id.
    house.crash();
    let tenant_again = house.bind_tenant("acme", 10);
    assert_ne!(tenant, tenant_again);
    house.receipt("up", text_id("whole"), ReceiptState::Delivered, None);
    assert_eq!(house.state(number), State::Delivered);
    assert_eq!(house.told(tenant_again), [number]);
}

#[test]
fn what_went_as_one_is_refused_throttled_lost_and_doubted_as_one() {
    let mut house = house_with(|up| {
        up.long_messages = LongMessages::Payload;
        up.query_after = Some(Duration::from_secs(60));
    });
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &long(400, 3));
    let all = PartToken::new(number, ALL_PARTS);
    let again = |house: &mut House, bind| {
        let tokens: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
        assert_eq!((&tokens[..], house.in_flight("up")), (&[all][..], 3));
    };
    again(&mut house, bind);
    house.respond("up", 0, &[(all, THROTTLED, "")]);
    house.seconds(3);
    again(&mut house, bind);
    house.respond("up", 0, &[(all, BUSY, "")]);
    assert_eq!((house.state(number), house.in_flight("up")), (State::Queued, 0));
    house.seconds(10);
    again(&mut house, bind);
    house.bind_down("up", 0, &[all], &[]);
    assert_eq!((house.state(number), house.in_flight("up")), (State::Queued, 0));
    let bind = house.bind("up", 0, 10);
    again(&mut house, bind);
    house.bind_down("up", 0, &[], &[all]);
    assert_eq!((house.state(number), house.in_flight("up")), (State::InDoubt, 0));
    let bind = house.bind("up", 0, 10);
    // A late response for all of it ends the doubt, and the provider can be asked about it.
    house.respond("up", 0, &[(all, 0, "whole")]);
    assert_eq!(house.state(number), State::Sent);
    house.seconds(70);
    let asked: Vec<_> = house.asks.iter().map(|(asked, token, _)| (*asked, *token)).collect();
    assert_eq!(asked, [(bind, all)]);
    assert_eq!(house.money("acme"), (997, 0, 3));
}

#[test]
fn the_room_of_the_parts_is_that_of_all_providers_of_the_route() {
    let mut definitions = definitions();
    definitions.providers[1].long_messages = LongMessages::Udh16;
    let mut house = House::new(definitions);
    let up = house.bind("up", 0, 10);
    let sms = long(306, 2);
    let number = house.accepted("acme", &sms);
    assert_eq!((house.message(number).parts(), house.money("acme")), (3, (997, 3, 0)));
    let first = house.taken(up);
    let lengths: Vec<usize> = first.iter().map(|request| cut(request).1.len()).collect();
    assert_eq!(lengths, [152, 152, 2], "a header of six octets and the room of seven");
    // At the next provider of the route the same parts have a long reference, of which the short one was the low octet.
    for request in &first {
        house.respond("up", 0, &[(request.part(), BUSY, "")]);
    }
    house.bind_down("up", 0, &[], &[]);
    let spare = house.bind("spare", 0, 10);
    house.seconds(60);
    let second = house.taken(spare);
    assert_eq!(second.len(), 3);
    for (first, second) in first.iter().zip(&second) {
        let ((narrow, text), (wide, same)) = (cut(first), cut(second));
        assert_eq!(text, same);
        assert_eq!(narrow.unwrap().reference, wide.unwrap().reference & 0xff);
        assert!(second.sm().short_message.starts_with(&[6, 0x08, 4]));
    }
}

#[test]
fn who_is_moved_to_a_provider_with_less_room_gets_the_short_header_there() {
    let mut definitions = definitions();
    definitions.providers[1].long_messages = LongMessages::Udh16;
    definitions.routes[0].providers.truncate(1);
    let mut house = House::new(definitions);
    let sms = long(306, 2);
    let number = house.accepted("acme", &sms);
    assert_eq!(house.message(number).parts(), 2);
    let spare = house.bind("spare", 0, 10);
    let filter = Filter { provider: Some("up".to_owned()), ..Filter::default() };
    house.turn([order(Operation::Move { to: "spare".to_owned(), until: None }, filter)]);
    house.seconds(5);
    let requests = house.taken(spare);
    assert_eq!((requests.len(), joined(&requests)), (2, sms.text));
    assert!(requests.iter().all(|request| request.sm().short_message.starts_with(&[5, 0x00, 3])));
}

#[test]
fn the_parts_that_are_left_are_cut_the_same_after_a_start() {
    for way in [LongMessages::Udh8, LongMessages::Udh16, LongMessages::Sar] {
        let mut house = house_with(|up| up.long_messages = way);
        let bind = house.bind("up", 0, 10);
        house.accepted("acme", &long(600, 4));
        let first = house.taken(bind);
        house.respond("up", 0, &[(first[0].part(), 0, "one"), (first[2].part(), 0, "three")]);
        house.respond("up", 0, &[(first[1].part(), BUSY, ""), (first[3].part(), BUSY, "")]);
        house.crash();
        let bind = house.bind("up", 0, 10);
        house.seconds(5);
        let again = house.taken(bind);
        assert_eq!(
            again.iter().map(|r| r.body.clone()).collect::<Vec<_>>(),
            [first[1].body.clone(), first[3].body.clone()]
        );
    }
}

#[test]
fn two_long_messages_to_one_phone_never_have_the_same_reference() {
    let mut definitions = definitions();
    definitions.tenants[1].opening_balance = Micros(1_000_000_000_000);
    let mut house = House::new(definitions);
    house.checks = false;
    let mut bind = house.bind("up", 0, 1_000);
    let reference = |request: &Request| cut(request).0.unwrap().reference & 0xff;
    let mut seen = Vec::new();
    for round in 0..120 {
        house.accepted("acme", &long(200, 2));
        // So that the low octets of the numbers repeat in every second round.
        house.accepted_all("other", &Sms::default(), 127);
        let requests = house.taken(bind);
        seen.extend(requests.iter().filter(|r| r.sm().esm_class & UDHI != 0).map(reference).step_by(2));
        let answers: Vec<_> = requests.iter().map(|request| (request.part(), 0, "")).collect();
        house.respond("up", 0, &answers);
        // Of what comes next the low octet is that of the first, and of what was between.
        if [60, 61].contains(&round) {
            house.crash();
            bind = house.bind("up", 0, 1_000);
        }
    }
    assert_eq!(seen.len(), 120);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 120, "of 256 that there are");
}

fn turkish() -> Languages {
    [Language::Turkish].into_iter().collect()
}

/// A text with a header of our own that names the Turkish locking table, as the HTTP door writes it.
fn national(text: &str) -> (Sms, usize) {
    let mut octets = Vec::new();
    let found = text::cheapest(text, turkish(), &mut octets);
    assert!(!found.tables.is_default(), "{text}");
    let elements = 3;
    let cut = split::Cut { elements, ..split::Cut::new(Encoding::Gsm7) };
    let parts = cut.count(&octets[4..]);
    let sms = Sms { via: Via::Http, text: octets, parts: parts as u8, esm_class: UDHI, ..Sms::default() };
    (sms, parts)
}

#[test]
fn a_national_text_goes_with_its_header_in_every_part_where_all_providers_take_it() {
    let text = "Sayın müşterimiz, siparişiniz yola çıktı. ".repeat(8);
    for (charset, takes_up, takes_spare, is_national) in [
        (Charset::Gsm7, true, true, true),
        (Charset::Gsm7, true, false, false),
        (Charset::Gsm7, false, true, false),
        (Charset::Latin1, true, true, false),
    ] {
        let mut definitions = definitions();
        for (provider, takes) in definitions.providers.iter_mut().zip([takes_up, takes_spare]) {
            provider.charset = charset;
            let languages = if takes { turkish() } else { Languages::NONE };
            provider.national = NationalTables { single: languages, locking: languages };
        }
        let mut house = House::new(definitions);
        let bind = house.bind("up", 0, 20);
        let (sms, parts) = national(&text);
        assert_eq!(parts, 3);
        let outcome = house.submit("acme", &sms);
        let requests = house.taken(bind);
        let data_coding = if is_national { 0 } else { 8 };
        assert!(requests.iter().all(|request| request.sm().data_coding == data_coding));
        let mut read = String::new();
        for request in &requests {
            let content = request.sm().short_message;
            let (elements, octets) = split::header_and_text(content).unwrap();
            assert_eq!(elements.ends_with(&[0x25, 1, 1]), is_national);
            let encoding = if is_national { Encoding::Gsm7 } else { Encoding::Ucs2 };
            read.push_str(&text::decode_user_data(encoding, elements, octets));
            let air = if is_national { (octets.len() * 7).div_ceil(8) } else { octets.len() };
            assert!((0..=140).contains(&(air + elements.len() + 1)));
        }
        assert_eq!(read, text);
        let Outcome::Accepted { parts, encoding, price, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(usize::from(parts), requests.len());
        assert_eq!(price, Micros(1_000_000 * i64::from(parts)));
        assert_eq!(encoding == Encoding::Gsm7, is_national);
    }
}

#[test]
fn where_one_of_two_tables_is_not_taken_the_other_goes_alone() {
    let text = format!("Ş{}", "a".repeat(80));
    let none = Languages::NONE;
    for (single, locking, header, data_coding) in
        [(turkish(), none, &[0x24, 1, 1][..], 0), (none, turkish(), &[0x25, 1, 1], 0), (none, none, &[], 8)]
    {
        let mut definitions = definitions();
        for provider in &mut definitions.providers {
            provider.national = NationalTables { single, locking };
        }
        let mut house = House::new(definitions);
        let bind = house.bind("up", 0, 20);
        let (sms, _) = national(&text);
        let outcome = house.submit("acme", &sms);
        let requests = house.taken(bind);
        let sm = requests[0].sm();
        assert_eq!((sm.data_coding, requests.len()), (data_coding, if data_coding == 0 { 1 } else { 2 }));
        let Outcome::Accepted { parts, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(usize::from(parts), requests.len());
        if data_coding == 0 {
            let (elements, octets) = split::header_and_text(sm.short_message).unwrap();
            assert_eq!(elements, header);
            assert_eq!(text::decode_user_data(Encoding::Gsm7, elements, octets), text);
        }
    }
}

#[test]
fn an_estimate_is_what_would_be_accepted_and_changes_nothing() {
    let mut definitions = definitions();
    definitions.providers[1].long_messages = LongMessages::Udh16;
    definitions.routes[0].strategy = RouteStrategy::RoundRobin;
    let mut house = House::new(definitions);
    let asked = |house: &mut House, sms: &Sms| {
        let mut body = Vec::new();
        sms.write(&mut body);
        let query = Query::Estimate { tenant: house.tenant("acme"), body };
        match house.ask(Command::Query { reply: ReplyId(3), query }) {
            Reply::Estimated(estimate) => estimate,
            other => panic!("{other:?}"),
        }
    };
    let (turkish, _) = national(&"Sayın müşterimiz, siparişiniz yola çıktı. ".repeat(8));
    for sms in [Sms::default(), long(306, 2), turkish] {
        let before = (house.money("acme"), house.journal.len());
        let first = asked(&mut house, &sms).unwrap();
        assert_eq!(asked(&mut house, &sms).unwrap(), first);
        assert_eq!((house.money("acme"), house.journal.len()), before);
        let outcome = house.submit("acme", &sms);
        let Outcome::Accepted { parts, encoding, price, .. } = outcome else { panic!("{outcome:?}") };
        let provider = house.message(house.number(outcome)).provider;
        let Estimate { is_national, .. } = first;
        assert_eq!(first, Estimate { parts, encoding, is_national, price, provider });
        assert!(!is_national, "no provider takes it");
    }
    let nowhere = Sms { provider: Some("nobody"), ..Sms::default() };
    assert_eq!(asked(&mut house, &nowhere), Err(Refusal::NoSuchProvider));
    // More than it has is no reason not to say what it would cost.
    let dear = long(255 * 152, 254);
    assert_eq!(asked(&mut house, &dear).map(|estimate| estimate.price), Ok(Micros(255_000_000)));
    assert_eq!(asked(&mut house, &long(255 * 153, 255)), Err(Refusal::TooLong), "for the second provider");
    let miscounted = long(306, 3);
    assert_eq!(asked(&mut house, &miscounted), Err(Refusal::InvalidRequest));
}

#[test]
fn flash_is_said_in_the_way_of_the_provider() {
    use Encoding::{Binary, Gsm7, Ucs2};
    for (way, encoding, given, expected, subunit) in [
        (Flash::AsGiven, Gsm7, 0xF0, 0xF0, false),
        (Flash::AsGiven, Gsm7, 0x10, 0x10, false),
        (Flash::General, Gsm7, 0xF0, 0x10, false),
        (Flash::General, Ucs2, 0x18, 0x18, false),
        (Flash::General, Binary, 0xF4, 0x14, false),
        (Flash::Class, Gsm7, 0x10, 0xF0, false),
        (Flash::Class, Ucs2, 0x18, 0x18, false),
        (Flash::Class, Binary, 0x14, 0xF4, false),
        (Flash::Subunit, Gsm7, 0x10, 0x00, true),
        (Flash::Subunit, Ucs2, 0x18, 0x08, true),
        // What is no flash message is left alone.
        (Flash::Subunit, Gsm7, 0x00, 0x00, false),
        (Flash::Class, Gsm7, 0xF1, 0xF1, false),
    ] {
        let mut house = house_with(|up| up.flash = way);
        let bind = house.bind("up", 0, 10);
        house
            .accepted("acme", &Sms { encoding, data_coding: given, text: b"\0a".to_vec(), ..Sms::default() });
        let requests = house.taken(bind);
        let sm = requests[0].sm();
        assert_eq!(sm.data_coding, expected, "{way:?} {given:#x}");
        let display = sm.tlvs().value_of(tag::DEST_ADDR_SUBUNIT);
        assert_eq!(display, subunit.then_some(&[1][..]), "{way:?} {given:#x}");
    }
}

#[test]
fn a_parameter_for_flash_is_said_once_and_never_where_none_may_be() {
    let display = [&tag::DEST_ADDR_SUBUNIT.to_be_bytes()[..], &[0, 1, 1]].concat();
    for (takes_tlvs, tlvs, data_coding, said) in
        [(true, display, 0, 1), (true, Vec::new(), 0, 1), (false, Vec::new(), 0x10, 0)]
    {
        let mut house = house_with(|up| (up.flash, up.takes_tlvs) = (Flash::Subunit, takes_tlvs));
        let bind = house.bind("up", 0, 10);
        house.accepted("acme", &Sms { data_coding: 0x10, tlvs, ..Sms::default() });
        let requests = house.taken(bind);
        let sm = requests[0].sm();
        let subunits = sm.tlvs().filter(|(tag, _)| *tag == tag::DEST_ADDR_SUBUNIT).count();
        assert_eq!((sm.data_coding, subunits), (data_coding, said), "TLVs: {takes_tlvs}");
    }
}

#[test]
fn where_a_provider_is_sent_no_parameters_headers_say_which_part_it_is() {
    for way in [LongMessages::Sar, LongMessages::Payload] {
        let mut house = house_with(|up| (up.long_messages, up.takes_tlvs) = (way, false));
        let bind = house.bind("up", 0, 10);
        house.accepted("acme", &long(300, 2));
        let requests = house.taken(bind);
        let sms: Vec<_> = requests.iter().map(Request::sm).collect();
        assert!(sms.iter().all(|sm| sm.tlvs().next().is_none()), "{way:?}");
        let places: Vec<Option<(u8, u8)>> =
            requests.iter().map(|request| cut(request).0.map(|place| (place.number, place.total))).collect();
        assert_eq!(places, [Some((1, 2)), Some((2, 2))], "{way:?}");
    }
}

#[test]
fn septets_are_packed_where_the_provider_takes_them_so() {
    let mut house = house_with(|up| up.packed = true);
    let bind = house.bind("up", 0, 10);
    for sms in [long(160, 1), long(300, 2)] {
        house.accepted("acme", &sms);
        let mut read = Vec::new();
        for request in house.taken(bind) {
            let content = request.sm().short_message;
            assert!(content.len() <= 140);
            let header = if sms.parts > 1 { 6 } else { 0 };
            read.extend(packed::unpack(&content[header..], packed::fill_bits(header)));
        }
        assert_eq!(read, sms.text);
    }
    // Other alphabets are not.
    house.accepted(
        "acme",
        &Sms { encoding: Encoding::Ucs2, data_coding: 8, text: b"\x04\x34".to_vec(), ..Sms::default() },
    );
    assert_eq!(house.taken(bind)[0].sm().short_message, b"\x04\x34");
}

#[test]
fn what_data_coding_0_means_there_holds_for_a_tenants_own_parts_too_and_for_nothing_else() {
    let header = split::udh8(7, 2, 1);
    let own = |text: &[u8]| [&header[..], text].concat();
    for (sms, expected) in [
        (Sms { text: own(b"\x04\x1B\x65"), esm_class: UDHI, ..Sms::default() }, own("é\u{80}".as_bytes())),
        (Sms { text: b"\x05".to_vec(), data_coding: 0x10, ..Sms::default() }, b"\x05".to_vec()),
        (
            Sms { text: b"\xE9".to_vec(), encoding: Encoding::Latin1, data_coding: 3, ..Sms::default() },
            b"\xE9".to_vec(),
        ),
        (Sms { text: b"\x05".to_vec(), ..Sms::default() }, b"\xE9".to_vec()),
    ] {
        let mut house = house_with(|up| up.charset = Charset::Latin1);
        let bind = house.bind("up", 0, 10);
        house.accepted("acme", &sms);
        let requests = house.taken(bind);
        let sm = requests[0].sm();
        assert_eq!(sm.data_coding, sms.data_coding);
        if sms.esm_class == 0 {
            assert_eq!(sm.short_message, expected, "{sms:?}");
        } else {
            assert_eq!(sm.short_message, own(b"\xE8?"), "the header stays, and the euro is not in Latin-1");
        }
    }
}

#[test]
fn a_header_that_names_ports_goes_in_every_part_of_what_we_cut() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let ports = b"\x06\x05\x04\x0B\x84\x23\xF0";
    let content: Vec<u8> = (0..=255).collect();
    let text = [&ports[..], &content].concat();
    let sms =
        Sms { text, esm_class: UDHI, encoding: Encoding::Binary, data_coding: 4, parts: 2, ..Sms::default() };
    house.accepted("acme", &sms);
    let requests = house.taken(bind);
    assert_eq!((requests.len(), joined(&requests)), (2, content));
    for request in &requests {
        assert!(request.sm().short_message.len() <= 140);
        let (elements, _) = split::header_and_text(request.sm().short_message).unwrap();
        assert!(elements.ends_with(&ports[1..]));
    }
}

#[test]
fn sar_parameters_of_a_tenant_go_with_its_own_parts_and_never_beside_ours() {
    let sar = |total: u8| {
        let mut tlvs = Vec::new();
        let all: [(u16, &[u8]); 4] = [
            (tag::SAR_MSG_REF_NUM, &[0, 9]),
            (tag::SAR_TOTAL_SEGMENTS, &[total]),
            (tag::SAR_SEGMENT_SEQNUM, &[1]),
            (tag::SOURCE_PORT, &[1, 2]),
        ];
        for (tag, value) in all {
            codecs::smpp::write::tlv(&mut tlvs, tag, value).unwrap();
        }
        tlvs
    };
    for way in [LongMessages::Udh8, LongMessages::Sar, LongMessages::Payload] {
        let mut house = house_with(|up| up.long_messages = way);
        let bind = house.bind("up", 0, 10);
        house.accepted("acme", &Sms { tlvs: sar(2), ..Sms::default() });
        house.accepted("acme", &Sms { tlvs: sar(1), ..long(300, 2) });
        let requests = house.taken(bind);
        let totals = |request: &Request| {
            let all = request.sm().tlvs().filter(|(found, _)| *found == tag::SAR_TOTAL_SEGMENTS);
            let totals: Vec<u8> = all.map(|(_, value)| value[0]).collect();
            assert_eq!(request.sm().tlvs().value_of(tag::SOURCE_PORT), Some(&[1, 2][..]));
            totals
        };
        assert_eq!(totals(&requests[0]), [2], "its own, as it is");
        let ours: &[u8] = if way == LongMessages::Sar { &[2] } else { &[] };
        assert!(requests[1..].iter().all(|request| totals(request) == ours), "{way:?}");
    }
}

#[test]
fn what_the_version_before_kept_is_cut_as_it_was() {
    // 150 octets of Latin-1 were two parts then, and would be one now.
    let mut bytes = Vec::new();
    let sms =
        Sms { text: vec![b'a'; 150], parts: 2, encoding: Encoding::Latin1, data_coding: 3, ..Sms::default() };
    let head = engine::message::Head {
        number: 64,
        accepted_at: START,
        tenant: 0,
        price: Micros(2_000_000),
        settle_on: SettleOn::Sent,
        receipts: AskReceipt::Asked,
        candidates: &[0],
    };
    head.write(&mut bytes);
    sms.write(&mut bytes);
    let message = engine::message::Message::accepted(bytes).unwrap();
    let body = message.body();
    let lengths: Vec<usize> = body.cut().parts(body.octets).map(|part| part.len()).collect();
    assert_eq!((lengths, message.priority), (vec![134, 16], Priority::Normal));
}

/// A text, what it is encoded as, and its octets.
fn any_content() -> impl Strategy<Value = (Encoding, Vec<u8>)> {
    let gsm = "[a-zA-Z0-9 €\\[\\]{}£éà]{0,700}";
    let wide = "[a-zа-я\u{1F600}-\u{1F64F}e\u{301}\u{200D}]{0,400}";
    let latin = "[a-z\u{A0}-\u{FF}\\[]{0,500}";
    let encoded = |encoding: Encoding| {
        move |text: String| {
            let mut octets = Vec::new();
            text::encode(&text, text::Choice::Only(encoding), &mut octets).expect("it is of the alphabet");
            (encoding, octets)
        }
    };
    prop_oneof![
        gsm.prop_map(encoded(Encoding::Gsm7)),
        wide.prop_map(encoded(Encoding::Ucs2)),
        latin.prop_map(encoded(Encoding::Latin1)),
        proptest::collection::vec(any::<u8>(), 0..700).prop_map(|octets| (Encoding::Binary, octets)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the text, the encoding, the ways of the two providers and the one it goes to: all of it arrives, in as many parts as
    /// were paid for, and each fits the air.
    #[test]
    fn every_text_arrives_whole_in_the_parts_that_were_paid((encoding, octets) in any_content(), ways in any::<[u8; 2]>()) {
        let ways = ways.map(|way| match way % 4 {
            0 => LongMessages::Udh8,
            1 => LongMessages::Udh16,
            2 => LongMessages::Sar,
            _ => LongMessages::Payload,
        });
        let mut definitions = definitions();
        for (provider, way) in definitions.providers.iter_mut().zip(ways) {
            provider.long_messages = way;
        }
        let mut house = House::new(definitions);
        let bind = house.bind("up", 0, 300);
        let parts = split::Cut::new(encoding).count(&octets) as u8;
        let data_coding = encoding.data_coding();
        let number = house.accepted("acme", &Sms { encoding, data_coding, text: octets.clone(), parts, ..Sms::default() });
        let paid = house.message(number).parts();
        prop_assert!(paid >= parts);
        prop_assert_eq!(house.message(number).price, Micros(1_000_000 * i64::from(paid)));
        let requests = house.taken(bind);
        let is_one = ways[0] == LongMessages::Payload && paid > 1;
        prop_assert_eq!(requests.len(), if is_one { 1 } else { usize::from(paid) });
        prop_assert_eq!(joined(&requests), octets);
        for request in requests.iter().filter(|_| !is_one) {
            let header = request.sm().content().len() - cut(request).1.len();
            let text = cut(request).1.len();
            let air = match encoding {
                Encoding::Gsm7 => (text * 7).div_ceil(8),
                // Shown by the properties of `split`: it depends on the whole text.
                Encoding::Latin1 => 0,
                _ => text,
            };
            prop_assert!(header + air <= 140, "{header} and {air}");
        }
    }
}

#[test]
fn a_message_of_as_many_parts_as_there_can_be_goes_in_every_way() {
    // For a message_payload it is too long.
    for way in [LongMessages::Udh8, LongMessages::Sar, LongMessages::Payload] {
        let mut house = house_with(|up| up.long_messages = way);
        let bind = house.bind("up", 0, 300);
        let sms = long(153 * 255, 255);
        let number = house.accepted("acme", &sms);
        let requests = house.taken(bind);
        let given: Vec<(PartToken, u32, &str)> =
            requests.iter().map(|request| (request.part(), 0, "")).collect();
        assert_eq!((given.len(), house.in_flight("up")), (255, 255), "{way:?}");
        assert_eq!(joined(&requests), sms.text, "{way:?}");
        house.respond("up", 0, &given);
        assert_eq!((house.state(number), house.in_flight("up")), (State::Sent, 0), "{way:?}");
    }
    let mut house = house_with(|up| up.long_messages = LongMessages::Udh8);
    let bind = house.bind("up", 0, 300);
    let number = house.accepted("acme", &long(153 * 255, 255));
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    for (place, part) in parts.iter().enumerate() {
        house.respond("up", 0, &[(*part, 0, &format!("id-{place}"))]);
    }
    for place in 0..parts.len() {
        house.receipt("up", text_id(&format!("id-{place}")), ReceiptState::Undeliverable, None);
    }
    let session = house.bind_tenant("acme", 10);
    assert_eq!(house.taken(session).len(), 1);
    assert_eq!(
        (house.state(number), house.message(number).deciding_error()),
        (State::Failed, Some(&b"000"[..]))
    );
}

#[test]
fn a_packed_part_that_ends_in_a_return_is_no_longer_than_a_part() {
    for (octets, parts) in [(160, 1), (306, 2)] {
        let mut house = house_with(|up| up.packed = true);
        let bind = house.bind("up", 0, 10);
        let mut sms = long(octets, parts);
        *sms.text.last_mut().unwrap() = b'\r';
        house.accepted("acme", &sms);
        for request in house.taken(bind) {
            assert!(request.sm().short_message.len() <= 140, "{octets}");
        }
    }
}

/// A message of three parts at a provider that sends one receipt for all: the ids in the order in which things come.
#[test]
fn one_receipt_for_any_part_ends_a_message_where_its_provider_sends_one_for_all() {
    use ReceiptState as R;
    let sent = |receipt_parts| {
        let mut house = house_with(|up| up.receipt_parts = receipt_parts);
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &long(400, 3));
        let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
        (house, number, parts)
    };
    let ids = ["one", "two", "three"];
    for (state, end) in [(R::Delivered, State::Delivered), (R::Undeliverable, State::Failed)] {
        for named in ids {
            let (mut house, number, parts) = sent(ReceiptParts::Any);
            parts.iter().zip(ids).for_each(|(part, id)| house.respond("up", 0, &[(*part, 0, id)]));
            house.receipt("up", text_id(named), R::Enroute, None);
            assert_eq!(house.state(number), State::Sent, "what is not final says nothing");
            house.receipt("up", text_id(named), state, None);
            assert_eq!(house.state(number), end, "{named}");
            house.crash();
            assert_eq!(house.state(number), end, "{named}");
        }
    }
    // It comes before the responses to the others: they are settled as they are taken.
    let (mut house, number, parts) = sent(ReceiptParts::Any);
    house.receipt("up", text_id("two"), R::Delivered, None);
    for place in [1, 0, 2] {
        assert_ne!(house.state(number), State::Delivered);
        house.respond("up", 0, &[(parts[place], 0, ids[place])]);
    }
    assert_eq!(house.state(number), State::Delivered);
    // A part that was refused is not delivered by the receipt of another.
    let (mut house, number, parts) = sent(ReceiptParts::Any);
    house.respond("up", 0, &[(parts[0], 0, "one"), (parts[1], 0x0B, ""), (parts[2], 0, "three")]);
    house.receipt("up", text_id("one"), R::Delivered, None);
    assert_ne!(house.state(number), State::Delivered);
    // By default each part has its own.
    let (mut house, number, parts) = sent(ReceiptParts::Each);
    parts.iter().zip(ids).for_each(|(part, id)| house.respond("up", 0, &[(*part, 0, id)]));
    for id in ids {
        assert_eq!(house.state(number), State::Sent);
        house.receipt("up", text_id(id), R::Delivered, None);
    }
    assert_eq!(house.state(number), State::Delivered);
}

#[test]
fn a_late_delivery_beats_a_failure_where_one_receipt_is_for_all_parts_too() {
    use ReceiptState as R;
    for (first, then, expected) in [
        (R::Undeliverable, R::Delivered, State::Delivered),
        (R::Expired, R::Delivered, State::Delivered),
        (R::Unknown, R::Delivered, State::Delivered),
        (R::Delivered, R::Undeliverable, State::Delivered),
    ] {
        for (parts, text) in [(1u8, 100), (3, 400)] {
            let mut house = house_with(|up| up.receipt_parts = ReceiptParts::Any);
            let bind = house.bind("up", 0, 10);
            let number = house.accepted("acme", &long(text, parts));
            let all: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
            all.iter()
                .zip(["one", "two", "three"])
                .for_each(|(part, id)| house.respond("up", 0, &[(*part, 0, id)]));
            house.receipt("up", text_id("one"), first, None);
            house.receipt("up", text_id("one"), then, None);
            assert_eq!(house.state(number), expected, "{first:?}, then {then:?}, of {parts} parts");
        }
    }
}

#[test]
fn what_gets_on_part_by_part_does_not_wait_as_if_its_provider_never_took_it() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 100);
    let number = house.accepted("acme", &Sms::of_parts(40));
    let mut waited = Vec::new();
    for attempt in 0..38 {
        let mut requests = house.taken(bind);
        for _ in 0..1_000 {
            if !requests.is_empty() {
                break;
            }
            house.seconds(1);
            requests = house.taken(bind);
        }
        let id = format!("id-{attempt}");
        // It takes one part each time, as one with a small limit does.
        for (place, request) in requests.iter().enumerate() {
            let answer =
                if place == 0 { (request.part(), 0, &id[..]) } else { (request.part(), THROTTLED, "") };
            house.respond("up", 0, &[answer]);
        }
        let message = house.message(number);
        assert_eq!(message.accepted_parts(), attempt + 1);
        waited.push(message.retry_at().map(|at| at.millis_since(house.now.wall)));
    }
    assert!(waited.iter().all(Option::is_none), "{waited:?}");
}
