//! What waits long leaves memory, keeps its place, and is there when its time or its news comes; across restarts as well.

use std::ops::Range;
use std::time::Duration;

use codecs::instant::Wall;
use codecs::message_id::Form;
use codecs::receipt::State as ReceiptState;
use engine::catalog::TenantStatus;
use engine::command::*;
use engine::effect::{Cancelled, Outcome, Reply};
use engine::message::State;

use crate::house::*;

/// Longer than a page stays in memory, and a round of looks at all of them.
const LONG: u64 = 75;

fn in_memory(house: &House) -> u64 {
    house.engine.snapshot().living
}

fn parked(house: &House) -> u64 {
    house.engine.snapshot().parked
}

fn numbers(requests: &[Request]) -> Vec<u64> {
    requests.iter().map(Request::number).collect()
}

/// A house with messages that a provider has accepted as `id-0`, `id-1`…, and that have waited long for their receipts.
fn sent_long_ago(count: usize) -> (House, Vec<u64>) {
    let (mut house, numbers) = sent(count);
    house.seconds(LONG);
    (house, numbers)
}

fn sent(count: usize) -> (House, Vec<u64>) {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 1_000);
    let numbers = house.accepted_all("acme", &Sms::default(), count);
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    let ids: Vec<String> = (0..count).map(|place| format!("id-{place}")).collect();
    let answers: Vec<_> = parts.iter().zip(&ids).map(|(part, id)| (*part, 0, &id[..])).collect();
    house.respond("up", 0, &answers);
    (house, numbers)
}

#[test]
fn what_waits_for_receipts_leaves_memory_and_late_receipts_find_it_also_after_a_restart() {
    for restarts in [false, true] {
        let (mut house, numbers) = sent_long_ago(150);
        assert_eq!((in_memory(&house), parked(&house)), (0, 150));
        if restarts {
            house.crash();
            assert_eq!((in_memory(&house), parked(&house)), (0, 150));
        }
        for place in 0..150 {
            house.receipt("up", text_id(&format!("id-{place}")), ReceiptState::Delivered, None);
        }
        assert_eq!(house.acknowledged.len(), 150);
        assert!(numbers.iter().all(|number| house.state(*number) == State::Delivered));
        let session = house.bind_tenant("acme", 1_000);
        let mut told = house.told(session);
        told.sort_unstable();
        assert_eq!(told, numbers);
        house.acknowledge("acme", session, &told, 0);
        house.seconds(LONG);
        assert_eq!((in_memory(&house), parked(&house)), (0, 0));
        assert!(house.parked.is_empty(), "the store keeps what is finished");
    }
}

/// The last number of their block is in the archive already: nothing of it is waited for.
#[test]
fn what_comes_back_leaves_memory_as_soon_as_it_is_done() {
    let (mut house, numbers) = sent(70);
    let session = house.bind_tenant("acme", 1_000);
    let end = |house: &mut House, places: Range<usize>| {
        for place in places.clone() {
            house.receipt("up", text_id(&format!("id-{place}")), ReceiptState::Delivered, None);
        }
        let mut told = house.told(session);
        told.sort_unstable();
        assert_eq!(told, numbers[places]);
        house.acknowledge("acme", session, &told, 0);
    };
    // The first number is 1: its block ends with the 63rd.
    end(&mut house, 62..63);
    house.seconds(LONG);
    assert_eq!((in_memory(&house), parked(&house)), (0, 69));
    end(&mut house, 0..62);
    house.turn([]);
    assert_eq!((in_memory(&house), parked(&house)), (0, 7));
}

/// The receipt of the one can be read as the id of the other, which has left memory; its own response comes while that is read.
#[test]
fn a_receipt_that_overtakes_its_response_is_not_that_of_another_whose_id_reads_alike() {
    let mut house = House::new(definitions());
    house.definitions.providers[0].message_id = Form::HexDec;
    let mended = Command::Configure { definitions: Box::new(house.definitions.clone()), reply: None };
    house.turn([mended]);
    let bind = house.bind("up", 0, 10);
    let older = house.accepted("acme", &Sms::default());
    let part = house.taken(bind).remove(0).part();
    // 16, and the receipt of the younger says 10.
    house.respond("up", 0, &[(part, 0, "10")]);
    house.seconds(LONG);
    assert_eq!(parked(&house), 1);
    let younger = house.accepted("acme", &Sms::default());
    let part = house.taken(bind).remove(0).part();
    house.archives = false;
    house.receipt("up", text_id("10"), ReceiptState::Delivered, None);
    house.respond("up", 0, &[(part, 0, "a")]);
    house.archives = true;
    house.turn([]);
    assert_eq!((house.state(older), house.state(younger)), (State::Sent, State::Delivered));
}

#[test]
fn a_mended_message_id_form_finds_what_was_sent_and_parked_before() {
    for (parks, restarts) in [(false, false), (true, false), (true, true)] {
        let mut house = House::new(definitions());
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &Sms::default());
        let part = house.taken(bind).remove(0).part();
        house.respond("up", 0, &[(part, 0, "039F99DD5")]);
        house.seconds(if parks { LONG } else { 1 });
        assert_eq!(parked(&house), u64::from(parks));
        // The entry said nothing of the forms; the operator finds out that receipts are decimal.
        house.definitions.providers[0].message_id = Form::HexDec;
        let mended = Command::Configure { definitions: Box::new(house.definitions.clone()), reply: None };
        if restarts {
            house.crash();
        } else {
            house.turn([mended]);
        }
        house.receipt("up", text_id("0972660181"), ReceiptState::Delivered, None);
        assert_eq!(house.state(number), State::Delivered, "parked: {parks}, restarted: {restarts}");
    }
}

#[test]
fn a_receipt_whose_id_a_parked_message_had_before_waits_for_its_own_response() {
    for response_is_late in [false, true] {
        let mut house = House::new(definitions());
        let bind = house.bind("up", 0, 10);
        let to = |to| Sms { to, ..Sms::default() };
        let older = house.accepted("acme", &to(254_700_000_001));
        let part = house.taken(bind).remove(0).part();
        house.respond("up", 0, &[(part, 0, "7")]);
        house.seconds(LONG);
        assert_eq!(parked(&house), 1);
        // The provider gives the id again, and the receipt comes before the response, or while the older one is read.
        let newer = house.accepted("acme", &to(254_700_000_002));
        let part = house.taken(bind).remove(0).part();
        house.archives = response_is_late;
        house.receipt("up", text_id("7"), ReceiptState::Delivered, Some(254_700_000_002));
        house.respond("up", 0, &[(part, 0, "7")]);
        house.archives = true;
        house.turn([]);
        assert_eq!((house.state(older), house.state(newer)), (State::Sent, State::Delivered));
        assert_eq!(house.acknowledged.len(), 1);
    }
}

#[test]
fn what_was_read_back_and_not_changed_leaves_memory_without_a_write() {
    let (mut house, numbers) = sent_long_ago(64);
    house.receipt("up", text_id("id-7"), ReceiptState::Delivered, None);
    // The first number is 1: its block has 63.
    assert_eq!((in_memory(&house), parked(&house)), (63, 63));
    let rows = house.parked.clone();
    house.seconds(LONG);
    assert_eq!(parked(&house), 63);
    assert_eq!(house.state(numbers[7]), State::Delivered);
    // Only the one that changed is gone from the store.
    let (_, before) = rows.first_key_value().expect("a block").1.clone();
    let (_, after) = house.parked.first_key_value().expect("a block").1.clone();
    assert_eq!(before.len() - after.len(), 1);
    assert!(after.iter().all(|(number, bytes)| before[number] == *bytes));
}

#[test]
fn a_provider_that_is_down_for_long_is_sent_everything_in_order_afterwards() {
    for (restarts, window) in [(false, 1_000), (true, 1_000), (true, 7)] {
        let mut definitions = definitions();
        definitions.routes[0].providers.pop();
        let mut house = House::new(definitions);
        let mut waiting = Vec::new();
        for _ in 0..10 {
            waiting.extend(house.accepted_all("acme", &Sms::default(), 40));
            waiting.extend(house.accepted_all(
                "acme",
                &Sms { parts: 2, text: vec![b'x'; 300], ..Sms::default() },
                1,
            ));
            house.seconds(20);
        }
        assert!(parked(&house) >= 250, "{} are parked", parked(&house));
        let money = house.money("acme");
        if restarts {
            house.crash();
        }
        house.seconds(LONG);
        assert_eq!((house.money("acme"), in_memory(&house)), (money, 0));
        let bind = house.bind("up", 0, window);
        let mut sent = Vec::new();
        while sent.len() < waiting.len() {
            let requests = house.taken(bind);
            assert!(!requests.is_empty(), "{} of {} were sent", sent.len(), waiting.len());
            let answers: Vec<_> = requests.iter().map(|request| (request.part(), 0, "")).collect();
            house.respond("up", 0, &answers);
            sent.extend(numbers(&requests));
            sent.dedup();
        }
        assert_eq!(sent, waiting);
    }
}

#[test]
fn a_quiet_tenant_behind_a_parked_backlog_of_another_has_its_turn() {
    let mut definitions = definitions();
    definitions.routes[0].providers.pop();
    let mut house = House::new(definitions);
    let flood: Vec<u64> = (0..9).flat_map(|_| house.accepted_all("acme", &Sms::default(), 100)).collect();
    let quiet = house.accepted_all("other", &Sms::default(), 3);
    house.seconds(LONG);
    assert_eq!(in_memory(&house), 0);
    let bind = house.bind("up", 0, 20);
    let mut sent = Vec::new();
    while sent.len() < 40 {
        let requests = house.taken(bind);
        let answers: Vec<_> = requests.iter().map(|request| (request.part(), 0, "")).collect();
        house.respond("up", 0, &answers);
        sent.extend(numbers(&requests));
    }
    let places: Vec<usize> =
        quiet.iter().map(|number| sent.iter().position(|sent| sent == number).expect("it is sent")).collect();
    assert!(places.iter().all(|place| *place < 20), "its turns came at {places:?}");
    assert!(
        sent.iter()
            .filter(|number| flood.contains(number))
            .copied()
            .eq(flood.iter().copied().take(sent.len() - 3))
    );
}

#[test]
fn a_scheduled_message_waits_on_disk_and_is_sent_at_its_time() {
    for restarts in [false, true] {
        let mut house = House::new(definitions());
        let bind = house.bind("up", 0, 10);
        let at = Wall(house.now.wall.0 + 3_600_000);
        let scheduled = house.accepted("acme", &Sms { send_at: Some(at), ..Sms::default() });
        house.seconds(LONG);
        assert_eq!((in_memory(&house), parked(&house)), (0, 1));
        let bind = if restarts {
            house.crash();
            house.bind("up", 0, 10)
        } else {
            bind
        };
        house.pass(Duration::from_millis((at.0 - house.now.wall.0 - 1) as u64));
        assert!(house.taken(bind).is_empty());
        house.pass(Duration::from_millis(2));
        assert_eq!(numbers(&house.taken(bind)), [scheduled]);
    }
}

#[test]
fn what_is_parked_can_be_cancelled_and_its_credit_comes_back() {
    let mut house = House::new(definitions());
    let at = Some(Wall(house.now.wall.0 + 3_600_000));
    let numbers = house.accepted_all("acme", &Sms { send_at: at, registered: 0, ..Sms::default() }, 2);
    house.seconds(LONG);
    assert_eq!((in_memory(&house), house.money("acme")), (0, (998, 2, 0)));
    let cancel = |house: &House, tenant| {
        let tenant = house.tenant(tenant);
        Command::Cancel { reply: ReplyId(5), tenant, number: numbers[0] }
    };
    for (tenant, expected) in
        [("other", Cancelled::NotLiving), ("acme", Cancelled::Done), ("acme", Cancelled::TooLate)]
    {
        let command = cancel(&house, tenant);
        match house.ask(command) {
            Reply::Cancelled(found) => assert_eq!(found, expected, "{tenant}"),
            other => panic!("{other:?}"),
        }
    }
    house.seconds(LONG);
    house.crash();
    assert_eq!(house.money("acme"), (999, 1, 0));
    assert_eq!(house.state(numbers[0]), State::Cancelled);
}

#[test]
fn beyond_what_memory_should_hold_the_newest_are_parked_at_once_and_the_order_holds() {
    let mut definitions = definitions();
    definitions.settings.queue_memory = 128;
    let mut house = House::new(definitions);
    let mut all = Vec::new();
    for _ in 0..16 {
        all.extend(house.accepted_all("acme", &Sms::default(), 50));
    }
    assert!(in_memory(&house) <= 256, "{} are in memory", in_memory(&house));
    assert_eq!(in_memory(&house) + parked(&house), 800);
    let bind = house.bind("up", 0, 30);
    let mut sent = Vec::new();
    while sent.len() < all.len() {
        let requests = house.taken(bind);
        assert!(!requests.is_empty(), "{} were sent", sent.len());
        let answers: Vec<_> = requests.iter().map(|request| (request.part(), 0, "")).collect();
        house.respond("up", 0, &answers);
        sent.extend(numbers(&requests));
    }
    assert_eq!(sent, all);
}

#[test]
fn when_the_disk_does_not_take_what_is_to_be_parked_intake_is_refused_before_memory_is_full() {
    let mut definitions = definitions();
    definitions.settings.queue_memory = 128;
    let mut house = House::new(definitions);
    house.archives = false;
    let outcomes: Vec<Outcome> = (0..8)
        .flat_map(|_| house.submit_all("acme", &vec![Sms { registered: 0, ..Sms::default() }; 100]))
        .collect();
    let refused = outcomes.iter().filter(|o| matches!(o, Outcome::Refused(Refusal::QueueFull))).count();
    // What is on its way to the store counts as parked.
    assert!(in_memory(&house) <= 256);
    assert_eq!(in_memory(&house) + parked(&house) + refused as u64, 800);
}

#[test]
fn what_is_held_for_its_tenant_is_parked_and_let_go_when_the_tenant_is_active_again() {
    let mut house = House::new(definitions());
    let waiting = house.accepted_all("acme", &Sms::default(), 100);
    let mut suspended = house.definitions.clone();
    suspended.tenants[0].status = TenantStatus::Suspended;
    house.turn([Command::Configure { definitions: Box::new(suspended), reply: None }]);
    let bind = house.bind("up", 0, 1_000);
    house.seconds(LONG);
    assert_eq!((in_memory(&house), parked(&house)), (0, 100));
    let active = house.definitions.clone();
    house.turn([Command::Configure { definitions: Box::new(active), reply: None }]);
    house.seconds(1);
    assert_eq!(numbers(&house.taken(bind)), waiting);
}

#[test]
fn what_is_parked_for_a_provider_goes_to_another_of_its_route_that_comes_up() {
    let mut house = House::new(definitions());
    let waiting = house.accepted_all("acme", &Sms::default(), 100);
    house.seconds(LONG);
    assert_eq!((in_memory(&house), parked(&house)), (0, 100));
    let spare = house.bind("spare", 0, 1_000);
    house.seconds(LONG);
    let mut sent = numbers(&house.taken(spare));
    sent.sort_unstable();
    assert_eq!(sent, waiting);
    assert_eq!(house.engine.snapshot().providers[0].queued, [0, 0, 0]);
    let up = house.bind("up", 0, 1_000);
    house.seconds(1);
    assert!(house.taken(up).is_empty(), "they are sent twice");
}

#[test]
fn a_validity_ends_on_disk_as_it_does_in_memory() {
    for restarts in [false, true] {
        let mut house = House::new(definitions());
        let until = Some(Wall(house.now.wall.0 + 600_000));
        let brief = house.accepted("acme", &Sms { valid_until: until, ..Sms::default() });
        let long = house.accepted("acme", &Sms::default());
        house.seconds(LONG);
        assert_eq!((in_memory(&house), parked(&house)), (0, 2));
        if restarts {
            house.crash();
        }
        house.seconds(560);
        assert_eq!((house.state(brief), house.state(long)), (State::Expired, State::Queued));
        assert_eq!(house.engine.snapshot().providers[0].queued, [0, 1, 0]);
        house.advance(73 * 3_600 * 1_000_000);
        house.seconds(60);
        assert_eq!(house.state(long), State::Expired);
        assert_eq!(house.money("acme"), (1_000, 0, 0));
    }
}

#[test]
fn the_wait_for_a_receipt_ends_on_disk() {
    let (mut house, numbers) = sent_long_ago(3);
    house.receipt("up", text_id("id-1"), ReceiptState::Delivered, None);
    house.seconds(73 * 3_600);
    let states: Vec<State> = numbers.iter().map(|number| house.state(*number)).collect();
    assert_eq!(states, [State::Unknown, State::Delivered, State::Unknown]);
    assert_eq!(parked(&house), 0);
}

#[test]
fn the_ring_does_not_wait_for_what_is_parked() {
    let (mut house, _) = sent_long_ago(64);
    let last = house.journal.last().expect("groups").0;
    house.ring_over = 1 << 30;
    for _ in 0..20 {
        house.accepted("other", &Sms::default());
        house.seconds(1);
    }
    assert!(house.release_before > last, "released before {} of {last}", house.release_before);
    house.crash();
    assert_eq!(parked(&house), 64);
}

#[test]
fn a_late_response_finds_a_message_that_waits_on_disk_in_doubt() {
    let mut definitions = definitions();
    definitions.providers[0].in_doubt = engine::catalog::InDoubt::Hold;
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    let request = house.taken(bind).remove(0);
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![request.part()] }]);
    house.seconds(LONG);
    assert_eq!((in_memory(&house), parked(&house), house.state(number)), (0, 1, State::Held));
    house.receipt("up", text_id("late"), ReceiptState::Delivered, None);
    house.respond("up", 0, &[(request.part(), 0, "late")]);
    assert_eq!(house.state(number), State::Delivered);
}

/// Both of one block, which is read back for the response and for the receipt at once.
#[test]
fn a_receipt_behind_the_late_response_that_gives_its_id_out_again_is_the_second_ones() {
    let mut definitions = definitions();
    definitions.providers[0].in_doubt = engine::catalog::InDoubt::Hold;
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let numbers = house.accepted_all("acme", &Sms::default(), 2);
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    house.respond("up", 0, &[(parts[0], 0, "same")]);
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![parts[1]] }]);
    house.seconds(LONG);
    assert_eq!((in_memory(&house), parked(&house)), (0, 2));
    house.archives = false;
    house.respond("up", 0, &[(parts[1], 0, "same")]);
    house.receipt("up", text_id("same"), ReceiptState::Delivered, None);
    house.archives = true;
    house.turn([]);
    assert_eq!([0, 1].map(|place| house.state(numbers[place])), [State::Sent, State::Delivered]);
}

#[test]
fn a_provider_is_asked_about_messages_that_wait_on_disk() {
    let mut definitions = definitions();
    definitions.providers[0].query_after = Some(Duration::from_secs(600));
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    let part = house.taken(bind).remove(0).part();
    house.respond("up", 0, &[(part, 0, "id-0")]);
    house.seconds(LONG);
    assert_eq!((in_memory(&house), parked(&house)), (0, 1));
    house.seconds(500);
    assert!(house.asks.is_empty());
    // Asked after ten minutes and after twenty, though it was parked again between.
    house.seconds(60);
    assert_eq!(house.asks.len(), 1);
    house.seconds(600);
    assert_eq!(house.asks.len(), 2);
    assert_eq!(house.state(number), State::Sent);
}

/// Found by the simulation, seed 563: what was refused for the rate in the same turn in which its block was parked was in no
/// queue any more.
#[test]
fn what_comes_back_in_the_turn_in_which_its_block_is_parked_keeps_its_place() {
    let mut definitions = definitions();
    definitions.settings.queue_memory = 45;
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 5);
    let mut waiting = house.accepted_all("acme", &Sms::default(), 40);
    let throttled = house.taken(bind);
    let refusal = |request: &Request| Response { token: request.part(), status: 0x58, end: 0 };
    let items = throttled.iter().map(refusal).collect();
    let responses = Responses { provider: house.provider("up"), bind: 0, items, ..Responses::default() };
    let (items, bodies) = house.written(&vec![Sms::default(); 40]);
    let submissions = Submissions {
        tenant: house.tenant("acme"),
        door: Door::Smpp(ConnectionId(u32::MAX)),
        received: house.now.mono,
        idempotency: None,
        items,
        bodies,
    };
    house.turn([Command::Responses(responses), Command::Submit(submissions)]);
    let answers = std::mem::take(&mut house.answers);
    waiting.extend(answers.into_iter().map(|answer| house.number(answer.outcome)));
    assert!(parked(&house) > 0);
    let mut sent = Vec::new();
    for _ in 0..waiting.len() {
        let requests = house.taken(bind);
        sent.extend(numbers(&requests));
        let answers: Vec<_> = requests.iter().map(|request| (request.part(), 0, "")).collect();
        house.respond("up", 0, &answers);
        house.seconds(1);
    }
    sent.sort_unstable();
    assert_eq!(sent, waiting);
}

#[test]
fn what_is_parked_for_a_provider_that_goes_down_goes_to_one_that_was_up_all_the_time() {
    let mut definitions = definitions();
    definitions.settings.queue_memory = 128;
    let mut house = House::new(definitions);
    let (up, spare) = (house.bind("up", 0, 1), house.bind("spare", 0, 1_000));
    let mut waiting = Vec::new();
    for _ in 0..30 {
        waiting.extend(house.accepted_all("acme", &Sms::default(), 20));
    }
    assert!(parked(&house) > 100, "{} are parked", parked(&house));
    let sent = house.taken(up).remove(0);
    house.bind_down("up", 0, &[sent.part()], &[]);
    house.seconds(30);
    let mut rerouted = numbers(&house.taken(spare));
    rerouted.sort_unstable();
    assert_eq!(rerouted, waiting);
}

#[test]
fn a_provider_is_asked_about_each_message_of_a_block_in_its_time() {
    let mut definitions = definitions();
    definitions.providers[0].query_after = Some(Duration::from_secs(600));
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    house.accepted_all("acme", &Sms::default(), 3);
    for (place, request) in house.taken(bind).into_iter().enumerate() {
        house.respond("up", 0, &[(request.part(), 0, &format!("id-{place}"))]);
        house.seconds(1);
    }
    house.seconds(LONG);
    assert_eq!((in_memory(&house), parked(&house)), (0, 3));
    house.seconds(540);
    let mut asked: Vec<PartToken> = house.asks.iter().map(|(_, part, _)| *part).collect();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked.len(), 3);
}
