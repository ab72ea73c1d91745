//! What happens to a message that was read back from the parked store is journaled without the message, and a start puts the two
//! together, wherever the process ended.

use codecs::receipt::State as ReceiptState;
use engine::ReplayError;
use engine::command::*;
use engine::effect::Shelf;
use engine::message::State;
use engine::pages::{block_of, place_of};
use engine::parking::row::merge_rows;
use engine::record::{Record, Records};
use engine::step::Step;

use crate::folding::compare;
use crate::house::*;

/// Longer than a page stays in memory, and a round of looks at all of them.
const LONG: u64 = 75;

/// A house with messages of so many parts that were accepted by their provider, part by part as `id-0`, `id-1`…, and have been parked.
fn parked_long_ago(count: usize, parts: u8) -> (House, Vec<u64>) {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 1_000);
    let numbers = house.accepted_all("acme", &Sms::of_parts(parts), count);
    let tokens: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    let ids: Vec<String> = (0..tokens.len()).map(|place| format!("id-{place}")).collect();
    let answers: Vec<_> = tokens.iter().zip(&ids).map(|(part, id)| (*part, 0, &id[..])).collect();
    house.respond("up", 0, &answers);
    house.seconds(LONG);
    assert_eq!(house.engine.snapshot().parked, numbers.len() as u64);
    (house, numbers)
}

fn delivered(house: &mut House, id: &str) {
    house.receipt("up", text_id(id), ReceiptState::Delivered, None);
}

/// Octets of messages that are whole in the groups from this one on, and how many steps apart there are.
fn journaled_since(house: &House, group: u64) -> (usize, usize) {
    let groups = house.journal.iter().filter(|(number, _)| *number >= group);
    let records =
        groups.flat_map(|(_, records)| Records::new(records).collect::<Result<Vec<_>, _>>()).flatten();
    records.fold((0, 0), |(octets, apart), record| match record {
        Record::Amendment(message) | Record::CarryOver(message) => (octets + message.len(), apart),
        Record::Apart { .. } => (octets, apart + 1),
        _ => (octets, apart),
    })
}

/// The fold of the journal and the stores is what was in memory.
fn fold_is_whole(house: &House) {
    compare("a start from here", &house.fold().summary(), &house.expected());
}

#[test]
fn a_late_receipt_is_journaled_without_its_message() {
    let (mut house, numbers) = parked_long_ago(3, 1);
    let since = house.next_group;
    delivered(&mut house, "id-1");
    assert_eq!(journaled_since(&house, since), (0, 1));
    fold_is_whole(&house);
    let session = house.bind_tenant("acme", 10);
    assert_eq!(house.told(session), [numbers[1]]);
    house.acknowledge("acme", session, &numbers[1..2], 0);
    assert_eq!(journaled_since(&house, since), (0, 1));
    fold_is_whole(&house);
}

/// Where a process ends on a late receipt's way into the archive.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Received,
    Told,
    /// On its way into the archive.
    Leaving,
    /// The archive has it and the parked store no longer, which the journal does not know.
    Archived,
    /// The same, but of the parked store's two values only the one has been written.
    RowLeft,
    RowAndMessageLeft,
}

#[test]
fn wherever_the_process_ends_a_late_receipt_counts_once_and_is_told_once() {
    let ends = [End::Received, End::Told, End::Leaving, End::Archived, End::RowLeft, End::RowAndMessageLeft];
    for (end, is_told) in ends.into_iter().flat_map(|end| [(end, false), (end, true)]) {
        // The first number is 1: with 63 its block is full.
        let (mut house, numbers) = parked_long_ago(63, 1);
        let block = block_of(numbers[0]);
        let before = house.parked[&block].clone();
        let session = house.bind_tenant("acme", 100);
        for place in 0..63 {
            delivered(&mut house, &format!("id-{place}"));
        }
        let told = house.told(session);
        house.archives = false;
        let is_told = is_told && end != End::Received;
        if is_told {
            house.acknowledge("acme", session, &told, 0);
        } else {
            house.tenant_down("acme", session, &told);
        }
        if !matches!(end, End::Received | End::Told) {
            house.seconds(LONG);
            assert_eq!(house.writes.len(), 1, "{end:?}: the block is on its way");
        }
        if matches!(end, End::Archived | End::RowLeft | End::RowAndMessageLeft) {
            house.write_archive();
            assert!(house.parked.is_empty());
        }
        if end == End::RowLeft {
            house.parked.insert(block, (before.0, Default::default()));
        } else if end == End::RowAndMessageLeft {
            house.parked.insert(block, before);
        }
        let owed = if is_told { 0 } else { 63 };
        let money = house.money("acme");
        house.crash();
        house.archives = true;
        assert_eq!(house.money("acme"), money, "{end:?}");
        assert!(numbers.iter().all(|number| house.state(*number) == State::Delivered), "{end:?}");
        let session = house.bind_tenant("acme", 100);
        let mut told = house.told(session);
        told.sort_unstable();
        told.dedup();
        assert_eq!(told.len(), owed, "{end:?}, told before: {is_told}");
        house.acknowledge("acme", session, &told, 0);
        house.seconds(LONG);
        assert_eq!((house.engine.snapshot().living, house.engine.snapshot().parked), (0, 0), "{end:?}");
        assert!(house.parked.is_empty(), "{end:?}: the store keeps what is finished");
        house.crash();
        assert!(house.engine.living().next().is_none(), "{end:?}");
    }
}

/// Of a message of three parts one receipt comes, and it waits again: twice.
#[test]
fn what_waits_again_is_parked_with_its_news_and_a_crash_in_between_does_not_count_them_twice() {
    for is_stored in [false, true] {
        let (mut house, numbers) = parked_long_ago(1, 3);
        for (part, state) in [State::Sent, State::Sent, State::Delivered].into_iter().enumerate() {
            let since = house.next_group;
            delivered(&mut house, &format!("id-{part}"));
            assert_eq!(journaled_since(&house, since).1, 1, "part {part}");
            let steps = house.message(numbers[0]).steps().count();
            assert_eq!(house.state(numbers[0]), state);
            fold_is_whole(&house);
            house.archives = false;
            house.seconds(LONG);
            if is_stored {
                // The store has it, and the journal does not know.
                house.park();
            }
            house.crash();
            house.archives = true;
            house.turn([]);
            assert_eq!(house.message(numbers[0]).steps().count(), steps, "part {part}, stored: {is_stored}");
            house.seconds(LONG);
        }
        assert_eq!(house.money("acme").1, 0);
    }
}

/// The store has the message with its first receipt, which the journal does not know; after a start the others find it in memory.
#[test]
fn of_what_was_parked_anew_before_a_crash_only_what_came_since_is_added() {
    let (mut house, numbers) = parked_long_ago(1, 3);
    delivered(&mut house, "id-0");
    house.archives = false;
    house.seconds(LONG);
    house.park();
    for part in 1..3 {
        house.restart();
        delivered(&mut house, &format!("id-{part}"));
        fold_is_whole(&house);
    }
    house.restart();
    house.archives = true;
    house.turn([]);
    let receipts =
        house.message(numbers[0]).steps().filter(|(_, step)| matches!(step, Step::Receipt { .. })).count();
    assert_eq!((receipts, house.state(numbers[0])), (3, State::Delivered));
}

/// The archive has the message as it failed, which the journal does not know; after a start better news finds it in memory.
#[test]
fn of_what_was_archived_before_a_crash_only_what_came_since_is_added() {
    let (mut house, numbers) = parked_long_ago(63, 1);
    for place in 0..63 {
        house.receipt("up", text_id(&format!("id-{place}")), ReceiptState::Undeliverable, None);
    }
    house.archives = false;
    house.seconds(LONG);
    house.write_archive();
    assert!(house.parked.is_empty());
    house.restart();
    delivered(&mut house, "id-5");
    fold_is_whole(&house);
    house.restart();
    house.archives = true;
    house.turn([]);
    let states: Vec<State> = numbers[4..6].iter().map(|number| house.state(*number)).collect();
    assert_eq!(states, [State::Failed, State::Delivered]);
    assert_eq!(house.archived(numbers[5]).map(|message| message.steps().count()), Some(4));
}

#[test]
fn what_the_ring_carries_over_is_whole_again() {
    let (mut house, numbers) = parked_long_ago(2, 1);
    let since = house.next_group;
    delivered(&mut house, "id-0");
    house.ring_over = 1 << 30;
    house.accepted("other", &Sms::default());
    house.turn([]);
    assert!(house.release_before > since, "the group of the receipt may go");
    assert_eq!(journaled_since(&house, house.release_before).1, 0);
    assert_ne!(journaled_since(&house, house.release_before).0, 0);
    house.ring_over = 0;
    house.journal.retain(|(group, _)| *group >= house.release_before);
    // Nothing of it is read from the store any more.
    house.parked.values_mut().for_each(|(_, messages)| drop(messages.remove(&numbers[0])));
    house.crash();
    assert_eq!(house.state(numbers[0]), State::Delivered);
}

#[test]
fn a_queue_that_waited_on_disk_is_sent_with_steps_alone_and_is_in_doubt_after_a_crash() {
    let mut house = House::new(definitions());
    house.definitions.routes[0].providers.pop();
    let mended = Command::Configure { definitions: Box::new(house.definitions.clone()), reply: None };
    house.turn([mended]);
    let numbers = house.accepted_all("acme", &Sms::default(), 20);
    house.seconds(600);
    assert_eq!(house.engine.snapshot().parked, 20);
    let since = house.next_group;
    let bind = house.bind("up", 0, 5);
    assert_eq!(house.taken(bind).len(), 5);
    assert_eq!(journaled_since(&house, since), (0, 5));
    fold_is_whole(&house);
    let money = house.money("acme");
    house.crash();
    assert_eq!(house.money("acme"), money);
    assert!(numbers[..5].iter().all(|number| house.state(*number) == State::InDoubt));
    assert!(numbers[5..].iter().all(|number| house.state(*number) == State::Queued));
}

#[test]
fn a_start_is_refused_where_no_store_has_a_message_that_the_journal_goes_on_with() {
    let (mut house, numbers) = parked_long_ago(2, 1);
    delivered(&mut house, "id-0");
    let block = block_of(numbers[0]);
    let (rows, messages) = house.parked.get_mut(&block).expect("it is parked");
    *rows = merge_rows(rows, &[], 1 << place_of(numbers[0])).expect("rows");
    messages.remove(&numbers[0]);
    let mut engine = house.fold();
    let refused = engine.recovered(house.definitions.clone(), house.now, 1_000);
    assert_eq!(refused, Err(ReplayError::Apart { block }));
    // Where the archive cannot be read for good it is given up: it was finished.
    let mut engine = house.fold();
    assert_eq!(
        engine.apart().iter().map(|load| (load.block, load.shelf)).collect::<Vec<_>>(),
        [(block, Shelf::Archive)]
    );
    engine.forget_apart(block);
    engine.recovered(house.definitions.clone(), house.now, 1_000).expect("all else is whole");
}

#[test]
fn an_image_that_ends_before_its_steps_begin_is_refused() {
    let (mut house, numbers) = parked_long_ago(1, 1);
    delivered(&mut house, "id-0");
    let block = block_of(numbers[0]);
    let mut engine = engine::Engine::new(&KEY, house.now);
    for (group, records) in &house.journal {
        engine.replay(*group, records).expect("it reads");
    }
    engine.replay_row(block, &house.parked[&block].0).expect("rows");
    let load = engine.apart()[0];
    let mut image = house.parked[&block].1[&numbers[0]].clone();
    image.pop();
    assert_eq!(engine.replay_apart(load, vec![image]), Err(ReplayError::Apart { block }));
}

/// Of a message of three parts one receipt comes, is parked with it, and another one; the third finds it in memory. Whichever group of
/// these is lost, what is left is salvaged.
#[test]
fn a_salvage_puts_together_what_fits_and_writes_it_whole() {
    let (mut house, numbers) = parked_long_ago(1, 3);
    let since = house.next_group;
    for part in 0..3 {
        delivered(&mut house, &format!("id-{part}"));
        if part == 0 {
            house.seconds(LONG);
        }
    }
    let last = house.next_group;
    assert_eq!(journaled_since(&house, since).1, 2);
    let lost_one = (since..last).map(|group| group..group + 1);
    let lost_more = (since..last).flat_map(|first| (first + 1..=last).map(move |end| first..end));
    for lost in lost_one.chain(lost_more) {
        let fold = |is_lossy: bool, mending: &[u8]| {
            let mut engine = engine::Engine::new(&KEY, house.now);
            if is_lossy {
                engine.expect_loss();
            }
            for (group, records) in house.journal.iter().filter(|(group, _)| !lost.contains(group)) {
                engine.replay(*group, records).expect("what is left reads");
            }
            engine.replay(last, mending).expect("the mending group reads");
            house.fold_stored(&mut engine);
            engine
        };
        let mut salvaged = fold(true, &[]);
        salvaged.mend_after_loss(house.now, last);
        let mending = salvaged.take_group().records;
        let mut engine = fold(false, &mending);
        engine.recovered(house.definitions.clone(), house.now, last + 1).expect("it adds up");
        engine.check();
        let is_found = engine.message(numbers[0]).is_some() || engine.snapshot().parked == 1;
        assert!(is_found, "without {lost:?} the message is nowhere");
    }
}
