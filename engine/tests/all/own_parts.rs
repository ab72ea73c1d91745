//! Parts that a tenant has cut itself: they go over one bind of one provider, in order, and each is a message with its own price and
//! receipt.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use codecs::smpp::tlv::tag;
use codecs::smpp::write;
use codecs::split::udh8;
use codecs::text::{Encoding, packed};
use engine::catalog::{ProviderDefinition, Strategy};
use engine::command::{Command, ConnectionId, PartToken, Refusal};
use engine::effect::Outcome;
use engine::submission::UDHI;

use crate::house::*;

const BINDS: u16 = 4;

fn by_header(to: u64, reference: u8, total: u8, number: u8) -> Sms {
    let mut text = udh8(reference, total, number).to_vec();
    text.extend_from_slice(b"part");
    Sms { to, text, esm_class: UDHI, ..Sms::default() }
}

fn by_sar(to: u64, reference: u8, total: u8, number: u8) -> Sms {
    let mut tlvs = Vec::new();
    for (tag, value) in [
        (tag::SAR_MSG_REF_NUM, &[0, reference][..]),
        (tag::SAR_TOTAL_SEGMENTS, &[total]),
        (tag::SAR_SEGMENT_SEQNUM, &[number]),
    ] {
        write::tlv(&mut tlvs, tag, value).unwrap();
    }
    Sms { to, tlvs, ..Sms::default() }
}

/// Two providers in proportion, each with four binds.
struct Road {
    house: House,
    connections: Vec<(&'static str, u16, ConnectionId)>,
}

impl Road {
    fn new(strategy: Strategy, window: u32) -> Road {
        let mut definitions = definitions();
        definitions.routes[0].strategy = strategy;
        definitions.routes[0].providers = vec![("up".to_owned(), 2), ("spare".to_owned(), 1)];
        let mut house = House::new(definitions);
        let mut connections = Vec::new();
        for provider in ["up", "spare"] {
            for bind in 0..BINDS {
                connections.push((provider, bind, house.bind(provider, bind, window)));
            }
        }
        Road { house, connections }
    }

    /// What each bind has been given since it was last asked, and the provider's answers to all of it.
    fn answer_all(&mut self, seen: &mut BTreeMap<u64, (&'static str, u16, usize)>, order: &mut usize) {
        for (provider, bind, connection) in self.connections.clone() {
            let mut answers = Vec::new();
            for request in self.house.taken(connection) {
                seen.insert(request.number(), (provider, bind, *order));
                *order += 1;
                answers.push((request.part(), 0, ""));
            }
            self.house.respond(provider, bind, &answers);
        }
    }
}

#[test]
fn parts_of_one_message_take_one_bind_in_order_and_others_spread() {
    for strategy in [Strategy::Weighted, Strategy::RoundRobin] {
        for part in [by_header, by_sar] {
            let mut road = Road::new(strategy, 7);
            let mut sets: BTreeMap<(u64, u8), Vec<u64>> = BTreeMap::new();
            let (mut seen, mut order) = (BTreeMap::new(), 0);
            // The parts come one after another, among those of others and among plain messages.
            for number in 1..=3 {
                for reference in 0..40u8 {
                    let to = 254_700_000_000 + u64::from(reference % 7);
                    let accepted = road.house.accepted("acme", &part(to, reference, 3, number));
                    sets.entry((to, reference)).or_default().push(accepted);
                    road.house.accepted("other", &Sms::default());
                    if reference % 5 == 0 {
                        road.answer_all(&mut seen, &mut order);
                    }
                }
            }
            for _ in 0..100 {
                road.answer_all(&mut seen, &mut order);
            }
            assert_eq!(seen.len(), 240, "{strategy:?}");
            let mut ways = BTreeMap::new();
            for numbers in sets.values() {
                let places: Vec<_> = numbers.iter().map(|number| seen[number]).collect();
                let way = (places[0].0, places[0].1);
                assert!(places.iter().all(|place| (place.0, place.1) == way), "{strategy:?} {places:?}");
                assert!(places.is_sorted_by_key(|place| place.2), "{strategy:?} {places:?}");
                *ways.entry(way).or_insert(0) += 1;
            }
            assert!(ways.len() >= 6, "{strategy:?}: all of them took {ways:?}");
            assert_eq!(road.house.money("acme"), (1_000 - 120, 0, 120), "each part has its price");
        }
    }
}

#[test]
fn a_bind_without_room_holds_its_own_lane_only() {
    let mut road = Road::new(Strategy::Failover, 2);
    let full: Vec<u64> =
        (1..=4).map(|n| road.house.accepted("acme", &by_header(254_700_000_001, 9, 4, n))).collect();
    let given: Vec<(u16, Vec<u64>)> = road
        .connections
        .clone()
        .into_iter()
        .map(|(_, bind, connection)| {
            (bind, road.house.taken(connection).iter().map(Request::number).collect())
        })
        .filter(|(_, numbers): &(u16, Vec<u64>)| !numbers.is_empty())
        .collect();
    let [(bind, numbers)] = &given[..] else { panic!("one bind: {given:?}") };
    assert_eq!(numbers, &full[..2], "the window of its bind is full, and the others are not for it");
    // Others pass, over the binds that have room.
    let plain = road.house.accepted_all("other", &Sms::default(), 3);
    let mut passed = Vec::new();
    for (_, _, connection) in road.connections.clone() {
        passed.extend(road.house.taken(connection).iter().map(Request::number));
    }
    passed.sort_unstable();
    assert_eq!(passed, plain);
    // Each answer makes room for the next part.
    let bind = *bind;
    let connection = road.connections[usize::from(bind)].2;
    for (answered, next) in [(0, full[2]), (1, full[3])] {
        let part = PartToken::new(full[answered], 0);
        road.house.respond("up", bind, &[(part, 0, "")]);
        let taken: Vec<u64> = road.house.taken(connection).iter().map(Request::number).collect();
        assert_eq!(taken, [next]);
    }
}

#[test]
fn a_bind_that_is_limited_is_waited_for_and_wakes_by_itself() {
    let mut road = Road::new(Strategy::Failover, 10);
    road.house.definitions.providers[0].bind_throughput = 10;
    let definitions = Box::new(road.house.definitions.clone());
    road.house.turn([Command::Configure { definitions, reply: None }]);
    let all: Vec<u64> =
        (1..=30).map(|n| road.house.accepted("acme", &by_header(254_700_000_001, 9, 30, n))).collect();
    let (mut seen, mut order) = (BTreeMap::new(), 0);
    for _ in 0..40 {
        road.answer_all(&mut seen, &mut order);
        road.house.pass(Duration::from_millis(100));
    }
    assert_eq!(seen.len(), all.len());
    let ways: BTreeSet<_> = seen.values().map(|place| (place.0, place.1)).collect();
    assert_eq!(ways.len(), 1, "{ways:?}");
    assert!(all.iter().is_sorted_by_key(|number| seen[number].2));
}

#[test]
fn when_their_bind_or_provider_goes_the_rest_goes_over_another_one_together() {
    let mut road = Road::new(Strategy::Weighted, 100);
    let part = |n| by_header(254_700_000_005, 3, 8, n);
    let way = |road: &mut Road, numbers: std::ops::RangeInclusive<u8>| {
        let all: Vec<u64> = numbers.map(|n| road.house.accepted("acme", &part(n))).collect();
        let (mut seen, mut order) = (BTreeMap::new(), 0);
        road.answer_all(&mut seen, &mut order);
        let places: Vec<_> = all.iter().map(|number| seen[number]).collect();
        assert!(places.is_sorted_by_key(|place| place.2));
        assert!(places.iter().all(|place| (place.0, place.1) == (places[0].0, places[0].1)), "{places:?}");
        (places[0].0, places[0].1)
    };
    let first = way(&mut road, 1..=3);
    road.house.bind_down(first.0, first.1, &[], &[]);
    let second = way(&mut road, 4..=5);
    assert_eq!(second.0, first.0, "the provider has other binds");
    assert_ne!(second.1, first.1);
    for bind in 0..BINDS {
        road.house.bind_down(first.0, bind, &[], &[]);
    }
    let third = way(&mut road, 6..=8);
    assert_ne!(third.0, first.0, "the next provider of the route");
}

#[test]
fn after_a_start_they_go_the_same_way() {
    let mut road = Road::new(Strategy::Failover, 1);
    let all: Vec<u64> =
        (1..=6).map(|n| road.house.accepted("acme", &by_header(254_700_000_001, 9, 6, n))).collect();
    road.house.crash();
    // The first was on its way when the process ended, and is in doubt. All binds are up again at once.
    let mut commands = Vec::new();
    for (provider, bind, connection) in &mut road.connections {
        *connection = road.house.connection();
        let provider = road.house.provider(provider);
        commands.push(Command::BindUp { provider, bind: *bind, connection: *connection, window: 1 });
    }
    road.house.turn(commands);
    let (mut seen, mut order) = (BTreeMap::new(), 0);
    for _ in 0..20 {
        road.answer_all(&mut seen, &mut order);
        road.house.seconds(2);
    }
    assert_eq!(seen.len(), all.len());
    let ways: BTreeSet<_> = seen.values().map(|place| (place.0, place.1)).collect();
    assert_eq!(ways.len(), 1, "{ways:?}");
    assert!(all[1..].iter().is_sorted_by_key(|number| seen[number].2));
}

#[test]
fn a_message_of_one_part_is_no_part() {
    for sms in [
        Sms::default(),
        by_header(1, 3, 1, 1),
        by_sar(1, 3, 1, 1),
        // Ports, and no concatenation.
        Sms { text: b"\x06\x05\x04\x0B\x84\x23\xF0hi".to_vec(), esm_class: UDHI, ..Sms::default() },
    ] {
        let mut bytes = Vec::new();
        sms.write(&mut bytes);
        assert!(!engine::submission::Body::read(&bytes).unwrap().0.is_own_part(), "{sms:?}");
    }
    let mut bytes = Vec::new();
    by_sar(1, 3, 2, 1).write(&mut bytes);
    assert!(engine::submission::Body::read(&bytes).unwrap().0.is_own_part());
}

#[test]
fn where_a_rate_limits_parts_have_their_turn_whichever_bind_they_take() {
    for reference in 0..8 {
        let mut definitions = definitions();
        definitions.providers[0].throughput = 10;
        definitions.providers[0].burst = 1;
        let mut house = House::new(definitions);
        let binds = [0, 1].map(|bind| (bind, house.bind("up", bind, 10)));
        house.accepted_all("other", &Sms::default(), 200);
        let parts: Vec<u64> =
            (1..=3).map(|n| house.accepted("acme", &by_header(254_700_000_001, reference, 3, n))).collect();
        let mut sent = BTreeSet::new();
        for _ in 0..100 {
            house.pass(Duration::from_millis(50));
            for (bind, connection) in binds {
                let given: Vec<PartToken> = house.taken(connection).iter().map(Request::part).collect();
                sent.extend(given.iter().map(|part| part.number()));
                let answers: Vec<_> = given.into_iter().map(|part| (part, 0, "")).collect();
                house.respond("up", bind, &answers);
            }
        }
        assert!(
            parts.iter().all(|part| sent.contains(part)),
            "set {reference}: {} of others went",
            sent.len()
        );
    }
}

/// A part by sar parameters, of which one provider of the route takes none.
struct Sar {
    reference: u16,
    encoding: Encoding,
    text: Vec<u8>,
    header: &'static [u8],
}

impl Sar {
    fn of(reference: u16, encoding: Encoding, text: Vec<u8>) -> Sar {
        Sar { reference, encoding, text, header: b"" }
    }

    fn sms(&self) -> Sms {
        let mut tlvs = Vec::new();
        for (tag, value) in [
            (tag::SAR_MSG_REF_NUM, &self.reference.to_be_bytes()[..]),
            (tag::SAR_TOTAL_SEGMENTS, &[2]),
            (tag::SAR_SEGMENT_SEQNUM, &[1]),
        ] {
            write::tlv(&mut tlvs, tag, value).unwrap();
        }
        let esm_class = if self.header.is_empty() { 0 } else { UDHI };
        let (encoding, data_coding) = (self.encoding, self.encoding.data_coding());
        let text = [self.header, &self.text[..]].concat();
        Sms { text, tlvs, esm_class, encoding, data_coding, ..Sms::default() }
    }
}

fn house_without_tlvs(change: impl Fn(&mut ProviderDefinition)) -> House {
    let mut definitions = definitions();
    definitions.providers.iter_mut().for_each(|provider| provider.takes_tlvs = false);
    change(&mut definitions.providers[0]);
    House::new(definitions)
}

#[test]
fn where_a_provider_is_sent_no_parameters_a_header_says_what_they_said() {
    let text = b"part".to_vec();
    let long = Sar::of(0x1234, Encoding::Gsm7, text.clone());
    let short = Sar::of(0x34, Encoding::Gsm7, text.clone());
    // Ports, which stay behind what joins.
    let ports = Sar { header: b"\x04\x04\x02\x0b\x84", ..Sar::of(0x1234, Encoding::Binary, text.clone()) };
    // What a header says already counts.
    let headed = Sar { header: b"\x05\x00\x03\x09\x02\x01", ..Sar::of(0x1234, Encoding::Gsm7, text) };
    for (part, header) in [
        (&long, &b"\x06\x08\x04\x12\x34\x02\x01"[..]),
        (&short, b"\x05\x00\x03\x34\x02\x01"),
        (&ports, b"\x0a\x08\x04\x12\x34\x02\x01\x04\x02\x0b\x84"),
        (&headed, b"\x05\x00\x03\x09\x02\x01"),
    ] {
        let mut house = house_without_tlvs(|_| {});
        let bind = house.bind("up", 0, 10);
        house.accepted("acme", &part.sms());
        let requests = house.taken(bind);
        let sm = requests[0].sm();
        assert_eq!(sm.content(), [header, b"part"].concat(), "{:x?}", part.header);
        assert_eq!((sm.esm_class, sm.tlvs().octets()), (UDHI, &b""[..]));
    }
    // To others they go as they came.
    let mut house = house_without_tlvs(|provider| provider.takes_tlvs = true);
    let bind = house.bind("up", 0, 10);
    house.accepted("acme", &short.sms());
    let requests = house.taken(bind);
    let sm = requests[0].sm();
    assert_eq!((sm.esm_class, sm.content(), sm.tlvs().count()), (0, &b"part"[..], 3));
}

#[test]
fn packed_septets_are_aligned_behind_the_header_that_stands_for_parameters() {
    let mut house = house_without_tlvs(|provider| provider.packed = true);
    let bind = house.bind("up", 0, 10);
    house.accepted("acme", &Sar::of(0x34, Encoding::Gsm7, vec![b'x'; 153]).sms());
    let requests = house.taken(bind);
    let content = requests[0].sm().content().to_vec();
    assert_eq!(content.len(), 140);
    assert_eq!(packed::unpack(&content[6..], packed::fill_bits(6)), vec![b'x'; 153]);
}

#[test]
fn a_part_without_room_for_that_header_is_refused_where_some_provider_of_its_route_needs_it() {
    for (encoding, reference, fits) in [
        (Encoding::Gsm7, 0x34, 153),
        (Encoding::Gsm7, 0x1234, 152),
        (Encoding::Ucs2, 0x34, 134),
        (Encoding::Ucs2, 0x1234, 132),
        (Encoding::Binary, 0x1234, 133),
        (Encoding::Latin1, 0x1234, 152),
    ] {
        let more = if encoding == Encoding::Ucs2 { 2 } else { 1 };
        let part = |octets: usize| Sar::of(reference, encoding, vec![b'x'; octets]).sms();
        let mut house = house_without_tlvs(|provider| provider.takes_tlvs = true);
        house.accepted("acme", &part(fits));
        let outcome = house.submit("acme", &part(fits + more));
        assert!(
            matches!(outcome, Outcome::Refused(Refusal::TooLong)),
            "{encoding:?} {reference:x}: {outcome:?}"
        );
        let to_up = Sms { provider: Some("up"), ..part(fits + more) };
        house.accepted("acme", &to_up);
    }
}
