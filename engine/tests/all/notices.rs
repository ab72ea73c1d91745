//! How tenants are told: receipts in the form they chose, notifications on the way, one id for several destinations, and messages
//! that take the place of one that waits.

use codecs::receipt::{self, Dates, State as ReceiptState};
use codecs::smpp::tlv::tag;
use engine::catalog::{IdRadix, ReceiptStyle};
use engine::command::*;
use engine::effect::Outcome;
use engine::message::State;
use engine::submission::{Body, Extra, push_extra};

use crate::house::*;

#[test]
fn each_session_of_a_tenant_is_told_in_its_turn() {
    let mut house = House::new(definitions());
    let sessions = [1, 2, 3].map(|_| house.bind_tenant("acme", 10));
    let bind = house.bind("up", 0, 10);
    let mut told = Vec::new();
    for _ in 0..6 {
        let number = house.accepted("acme", &Sms::default());
        let part = house.taken(bind).remove(0).part();
        house.respond("up", 0, &[(part, 0, "id")]);
        house.receipt("up", text_id("id"), codecs::receipt::State::Delivered, None);
        let session = house.requests.remove(0).connection;
        house.acknowledge("acme", session, &[number], 0);
        told.push(session);
    }
    assert_eq!(told, [sessions, sessions].concat());
}

/// The deliver_sm that a session was given, in order.
fn delivered(house: &mut House, session: ConnectionId) -> Vec<Request> {
    let (of_session, others) = house.requests.drain(..).partition(|request| request.connection == session);
    house.requests = others;
    of_session
}

fn id_of(number: u64) -> u64 {
    engine::id::Permutation::new(&KEY).id(number)
}

/// One message of `text` to its end, and the deliver_sm that tell of it, to a session that knows TLVs or does not.
fn told(dialect: ReceiptStyle, tlvs: bool) -> (u64, Request) {
    let mut definitions = definitions();
    definitions.tenants[0].receipts = dialect;
    let mut house = House::new(definitions);
    let session = house.connection();
    house.turn([Command::TenantBound { tenant: 0, connection: session, receives: true, tlvs, window: 10 }]);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    let request = house.taken(bind).remove(0);
    house.respond("up", 0, &[(request.part(), 0, "id")]);
    house.receipt("up", text_id("id"), ReceiptState::Delivered, None);
    (id_of(number), delivered(&mut house, session).remove(0))
}

#[test]
fn a_receipt_is_written_as_its_tenant_wants_it() {
    let (id, request) = told(ReceiptStyle::default(), true);
    let sm = request.sm();
    let decimal = format!("{id:018}");
    assert_eq!(receipt::read(sm.short_message).unwrap().id, Some(decimal.as_bytes()));
    assert_eq!(sm.tlvs().value_of(tag::RECEIPTED_MESSAGE_ID), Some(format!("{decimal}\0").as_bytes()));
    assert!(sm.short_message.ends_with(b"text:hello"));

    let hex = ReceiptStyle { id: IdRadix::Hex, text_id: IdRadix::Hex, ..ReceiptStyle::default() };
    let (id, request) = told(ReceiptStyle { text: false, ..hex }, true);
    let sm = request.sm();
    assert_eq!(receipt::read(sm.short_message).unwrap().id, Some(format!("{id:x}").as_bytes()));
    assert_eq!(sm.tlvs().value_of(tag::RECEIPTED_MESSAGE_ID), Some(format!("{id:x}\0").as_bytes()));
    assert!(sm.short_message.ends_with(b"text:"));

    let dates = Dates { seconds: true, offset_minutes: 180 };
    let mixed = ReceiptStyle { text_id: IdRadix::Dec, dates, ..hex };
    let (id, request) = told(mixed, true);
    let sm = request.sm();
    assert_eq!(receipt::read(sm.short_message).unwrap().id, Some(format!("{id:018}").as_bytes()));
    assert_eq!(sm.tlvs().value_of(tag::RECEIPTED_MESSAGE_ID), Some(format!("{id:x}\0").as_bytes()));
    // 2027-01-15T08:00:00Z, in Nairobi.
    assert!(sm.short_message.windows(24).any(|text| text == b"submit date:270115110000"));
}

#[test]
fn who_knows_no_tlvs_or_wants_none_is_sent_none() {
    let without = ReceiptStyle { tlvs: false, ..ReceiptStyle::default() };
    for (dialect, tlvs) in [(without, true), (ReceiptStyle::default(), false)] {
        let (_, request) = told(dialect, tlvs);
        assert!(request.sm().tlvs().octets().is_empty());
    }
}

#[test]
fn notifications_come_on_the_way_and_only_where_they_are_asked_for() {
    for (registered, expected) in [
        (
            0x11,
            vec![
                (0x20, ReceiptState::Enroute),
                (0x20, ReceiptState::Enroute),
                (0x04, ReceiptState::Delivered),
            ],
        ),
        (0x10, vec![(0x20, ReceiptState::Enroute), (0x20, ReceiptState::Enroute)]),
        (0x12, vec![(0x20, ReceiptState::Enroute), (0x20, ReceiptState::Enroute)]),
        (0x01, vec![(0x04, ReceiptState::Delivered)]),
        (0x03, vec![(0x04, ReceiptState::Delivered)]),
        (0x02, vec![]),
    ] {
        let mut house = House::new(definitions());
        let session = house.bind_tenant("acme", 1);
        let bind = house.bind("up", 0, 10);
        let send_at = Some(house.now.wall.after(std::time::Duration::from_secs(60)));
        house.accepted("acme", &Sms { registered, send_at, ..Sms::default() });
        house.seconds(61);
        let mut seen = Vec::new();
        let mut see = |house: &mut House| {
            for request in delivered(house, session) {
                let sm = request.sm();
                let told = receipt::read(sm.short_message).unwrap();
                seen.push((sm.esm_class, told.state.unwrap()));
                house.acknowledge("acme", session, &[request.token], 0);
            }
        };
        see(&mut house);
        let request = house.taken(bind).remove(0);
        house.respond("up", 0, &[(request.part(), 0, "id")]);
        see(&mut house);
        house.receipt("up", text_id("id"), ReceiptState::Delivered, None);
        see(&mut house);
        assert_eq!(seen, expected, "registered_delivery {registered:#x}");
    }
}

#[test]
fn a_notification_that_is_refused_or_lost_says_nothing_about_the_receipt() {
    let mut house = House::new(definitions());
    let session = house.bind_tenant("acme", 10);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms { registered: 0x11, ..Sms::default() });
    let request = house.taken(bind).remove(0);
    house.respond("up", 0, &[(request.part(), 0, "id")]);
    let notice = delivered(&mut house, session).remove(0);
    // ESME_RX_R_APPN: it is not to come again.
    house.acknowledge("acme", session, &[notice.token], 0x66);
    house.receipt("up", text_id("id"), ReceiptState::Delivered, None);
    let receipt = delivered(&mut house, session).remove(0);
    assert_eq!((receipt.told(), receipt.sm().esm_class), (number, 4));
    let untold = vec![receipt.token, notice.token];
    house.turn([Command::TenantUnbound { tenant: 0, connection: session, untold }]);
    let session = house.bind_tenant("acme", 10);
    let again: Vec<u64> = delivered(&mut house, session).iter().map(Request::told).collect();
    assert_eq!(again, [number]);
}

type Extras<'a> = &'a [(Extra, &'a [u8])];

/// Refused by the door.
const NOWHERE: u64 = 1;

/// Submits bodies with extras, each with its own sequence number.
fn submit(house: &mut House, all: &[(u32, u64, Extras<'_>, &[u8])]) -> Vec<Outcome> {
    let (mut items, mut bodies) = (Vec::new(), Vec::new());
    for (sequence, destination, tags, octets) in all {
        let mut extras = Vec::new();
        tags.iter().for_each(|(tag, value)| push_extra(&mut extras, *tag, value));
        let (destination, source) = (*destination, &b"ACME"[..]);
        Body { destination, source, octets, extras: &extras, ..Body::default() }.write(&mut bodies);
        let refused = (destination == NOWHERE).then_some(Refusal::InvalidDestination);
        items.push(Submission { sequence: *sequence, end: bodies.len() as u32, refused });
    }
    let door = Door::Smpp(ConnectionId(u32::MAX));
    let received = house.now.mono;
    house.turn([Command::Submit(Submissions {
        tenant: 0,
        door,
        received,
        idempotency: None,
        items,
        bodies,
    })]);
    house.answers.drain(..).map(|answer| answer.outcome).collect()
}

#[test]
fn several_destinations_of_one_request_are_told_of_under_the_first_ones_id() {
    const TO: u64 = 254_712_345_000;
    let mut house = House::new(definitions());
    let session = house.bind_tenant("acme", 100);
    let bind = house.bind("up", 0, 100);
    let shared: Extras<'_> = &[(Extra::SharedId, &[0; 8])];
    let none: Extras<'_> = &[];
    let outcomes = submit(
        &mut house,
        &[
            (7, TO, none, b"a"),
            (8, NOWHERE, shared, b"nowhere to go"),
            (8, TO + 1, shared, b"b"),
            (8, TO + 2, shared, b"b"),
            (9, TO + 3, shared, b"c"),
            (9, TO + 4, shared, b"c"),
        ],
    );
    assert!(matches!(outcomes[1], Outcome::Refused(_)));
    let numbers: Vec<u64> = [0, 2, 3, 4, 5].iter().map(|place| house.number(outcomes[*place])).collect();
    for request in house.taken(bind) {
        house.respond("up", 0, &[(request.part(), 0, &request.number().to_string())]);
    }
    house.crash();
    let session_again = house.bind_tenant("acme", 100);
    assert_ne!(session, session_again);
    for number in &numbers {
        house.receipt("up", text_id(&number.to_string()), ReceiptState::Delivered, None);
    }
    let ids: Vec<Vec<u8>> = delivered(&mut house, session_again)
        .iter()
        .map(|request| receipt::read(request.sm().short_message).unwrap().id.unwrap().to_vec())
        .collect();
    let told = [numbers[0], numbers[1], numbers[1], numbers[3], numbers[3]];
    assert_eq!(ids, told.map(|number| format!("{:018}", id_of(number)).into_bytes()));
}

#[test]
fn what_waits_makes_room_for_a_message_that_replaces_it() {
    const TO: u64 = 254_712_345_000;
    let mut house = House::new(definitions());
    let present: Extras<'_> = &[(Extra::ReplacesPresent, b"")];
    let none: Extras<'_> = &[];
    // Nothing waits: it is a new one. An older one of the same addresses stays.
    let outcomes = submit(&mut house, &[(1, TO, present, b"first"), (2, TO, none, b"second")]);
    let numbers: Vec<u64> = outcomes.iter().map(|outcome| house.number(*outcome)).collect();
    let outcomes = submit(&mut house, &[(3, TO, present, b"third"), (4, TO + 1, present, b"to another")]);
    assert_eq!(house.number(outcomes[0]), numbers[1]);
    let another = house.number(outcomes[1]);
    assert_eq!(house.money("acme"), (997, 3, 0));
    let bind = house.bind("up", 0, 10);
    let sent: Vec<(u64, Vec<u8>)> = house
        .taken(bind)
        .iter()
        .map(|request| (request.number(), request.sm().short_message.to_vec()))
        .collect();
    let expected = [(numbers[0], &b"first"[..]), (numbers[1], b"third"), (another, b"to another")];
    assert_eq!(sent, expected.map(|(number, text)| (number, text.to_vec())));
    // What is on its way is not replaced.
    let outcomes = submit(&mut house, &[(5, TO, present, b"fourth")]);
    let fourth = house.number(outcomes[0]);
    assert!(!numbers.contains(&fourth));
    assert_eq!(house.state(fourth), State::Sending);
}

#[test]
fn who_submits_is_told_how_full_it_is() {
    let mut definitions = definitions();
    definitions.settings.tenant_queue_max = 4;
    let mut house = House::new(definitions);
    let seen: Vec<u8> = (0..5)
        .map(|_| {
            house.submit("acme", &Sms::default());
            house.congestion
        })
        .collect();
    assert_eq!(seen, [25, 50, 75, 100, 100]);
}

/// What a provider says on the way: the states that a tenant is told in notifications, and how its message ended.
fn told_on_the_way(registered: u8, said: &[ReceiptState]) -> (u8, Vec<(u8, ReceiptState)>, State) {
    let mut house = House::new(definitions());
    let session = house.bind_tenant("acme", 10);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms { registered, ..Sms::default() });
    let request = house.taken(bind).remove(0);
    let asked = request.sm().registered_delivery;
    house.respond("up", 0, &[(request.part(), 0, "id")]);
    // That a provider has taken it.
    for notice in delivered(&mut house, session) {
        house.acknowledge("acme", session, &[notice.token], 0);
    }
    let mut seen = Vec::new();
    for state in said {
        house.receipt("up", text_id("id"), *state, None);
        for request in delivered(&mut house, session) {
            let sm = request.sm();
            let told = receipt::read(sm.short_message).unwrap();
            assert_eq!(told.id, Some(format!("{:018}", id_of(number)).as_bytes()));
            assert_eq!(sm.tlvs().value_of(tag::MESSAGE_STATE), Some(&[told.state.unwrap() as u8][..]));
            seen.push((sm.esm_class, told.state.unwrap()));
            // A notification that is refused for now does not come again.
            let status = if sm.esm_class == 0x20 { 0x64 } else { 0 };
            house.acknowledge("acme", session, &[request.token], status);
        }
    }
    house.seconds(10);
    assert!(delivered(&mut house, session).is_empty());
    (asked, seen, house.state(number))
}

#[test]
fn what_a_provider_says_on_the_way_is_told_where_it_was_asked_for() {
    use ReceiptState as R;
    let said = [R::Accepted, R::Enroute, R::Delivered, R::Enroute];
    let on_its_way = [(0x20, R::Accepted), (0x20, R::Enroute)];
    let end = (0x04, R::Delivered);
    assert_eq!(told_on_the_way(0x11, &said), (0x11, [&on_its_way[..], &[end]].concat(), State::Delivered));
    assert_eq!(told_on_the_way(0x01, &said), (0x01, vec![end], State::Delivered));
    // Notifications alone: the message is over for us when it is sent, and is still told of. Its end was not asked for.
    let (asked, seen, state) = told_on_the_way(0x10, &said[..2]);
    assert_eq!((asked, &seen[..], state), (0x10, &on_its_way[..], State::Sent));
}

#[test]
fn what_a_provider_said_before_its_response_is_told_after_it() {
    let mut house = House::new(definitions());
    let session = house.bind_tenant("acme", 10);
    let bind = house.bind("up", 0, 10);
    house.accepted("acme", &Sms { registered: 0x11, ..Sms::default() });
    let request = house.taken(bind).remove(0);
    house.receipt("up", text_id("id"), ReceiptState::Accepted, None);
    assert!(delivered(&mut house, session).is_empty());
    house.respond("up", 0, &[(request.part(), 0, "id")]);
    let told = delivered(&mut house, session);
    let last = receipt::read(told.last().unwrap().sm().short_message).unwrap().state;
    assert_eq!(last, Some(ReceiptState::Accepted));
}

#[test]
fn a_provider_that_says_the_same_without_end_is_heard_once_and_another_a_few_times() {
    use ReceiptState as R;
    let (_, seen, state) = told_on_the_way(0x11, &[R::Enroute; 300]);
    assert!(seen.len() <= 2, "told {} times", seen.len());
    assert_eq!(state, State::Sent);
    let turns: Vec<R> = [R::Enroute, R::Accepted].into_iter().cycle().take(300).collect();
    let (_, seen, state) = told_on_the_way(0x11, &turns);
    assert!(seen.len() <= 18, "told {} times", seen.len());
    assert_eq!(state, State::Sent);
}
