//! A salvage leaves a journal that starts: whatever is missing of the other stores, and however old the journal is beside them.

use std::fs;

use codecs::instant::Wall;
use engine::ReplayError;
use engine::command::Now;
use engine::effect::ArchiveWrite;
use engine::record::{NameKind, Record};
use storage::parked::ParkedBlocks;

use super::*;
use crate::moment::{Beyond, beyond};
use crate::shelves::{Shelves, tests::message};

const NOW: Now = Now { wall: Wall(1_795_000_000_000), mono: codecs::instant::Mono(0) };
/// A block that no month has, of any store here.
const LATER: u64 = 9;

/// Which parts of a house are older than its journal.
fn older(house: &House) -> Vec<Older> {
    let (_journal, recovery) =
        journal::create_or_open(&house.config.storage.path, journal_options(&house.config)).unwrap();
    let mut engine = Engine::new(&[0; 32], NOW);
    fold::fold(recovery, &mut engine, |_| {}).unwrap();
    let archive = Archive::open(&house.layout().archive(), archive_options(&house.config)).unwrap();
    let late_ids = Archive::open(&house.layout().late_ids(), LATE_IDS).unwrap();
    let parked = Parked::open(&house.layout().parked()).unwrap();
    moment::older(engine.flushes(), moment::flushes(&archive, &parked, &late_ids).unwrap()).collect()
}

/// A stopped gateway's store, and where a salvage of it goes.
struct House {
    directory: tempfile::TempDir,
    config: Config,
}

impl House {
    /// The journal names a tenant, and goes on with these messages.
    fn going_on_with(orders: &[u64]) -> House {
        House::with(Flushes::default(), orders)
    }

    /// The same, and it knows how often the stores were flushed.
    fn with(flushes: Flushes, orders: &[u64]) -> House {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.storage.path = directory.path().join("data");
        Layout::new(&config.storage.path).prepare().unwrap();
        let mut records = Vec::new();
        let tenant = Record::Catalog { kind: NameKind::Tenant, index: 0, id: "acme", currency: "KES" };
        engine::record::write(&mut records, &tenant);
        // As many numbers are given as a block has, and one.
        engine::record::write(&mut records, &Record::Epoch { epoch: 0, next: 65 });
        engine::record::write(&mut records, &Record::Flushes(flushes));
        for order in orders {
            let (before, after) = (image(*order, 2), image(*order, 4));
            let step = &after[before.len()..];
            let apart = Record::Apart { number: *order, after: before.len() as u32, step };
            engine::record::write(&mut records, &apart);
        }
        let (mut journal, mut recovery) =
            journal::create_or_open(&config.storage.path, journal_options(&config)).unwrap();
        assert!(recovery.next_group().unwrap().is_none());
        let mut packed = Vec::new();
        packing::pack(&records, &mut packed);
        journal.append(&packed).unwrap();
        journal.close().unwrap();
        House { directory, config }
    }

    /// Writes messages to the archive.
    fn archive(&self, orders: &[u64]) {
        let archive = Archive::open(&self.layout().archive(), archive_options(&self.config)).unwrap();
        let mut shelves = Shelves::new(Box::new(archive));
        for order in orders {
            let messages = vec![image(*order, 4)];
            let block = engine::pages::block_of(*order);
            let write = ArchiveWrite {
                block,
                whole: false,
                messages,
                unpark: 0,
                unparks_all: false,
                ids: Vec::new(),
                at: NOW.wall,
            };
            shelves.write(&write).unwrap();
        }
        shelves.flush().unwrap();
        shelves.mark().unwrap();
    }

    /// A parked store and late ids, each flushed once.
    fn make_others(&self) {
        let mut parked = Parked::open(&self.layout().parked()).unwrap();
        parked.flush().unwrap();
        parked.mark().unwrap();
        let mut late_ids = Archive::open(&self.layout().late_ids(), LATE_IDS).unwrap();
        late_ids.make_room(0, 0).unwrap();
        late_ids.put_note(0, b"a", b"b").unwrap();
        late_ids.flush().unwrap();
        late_ids.mark().unwrap();
    }

    fn layout(&self) -> Layout {
        Layout::new(&self.config.storage.path)
    }

    fn salvaged(&self) -> Salvaged {
        let to = self.directory.path().join("saved");
        let salvaged = salvage(&self.config, &to).unwrap();
        // As the last line that it prints has it.
        for part in ["journal", "flushed"] {
            let place = self.config.storage.path.join(part);
            fs::rename(&place, self.directory.path().join(format!("{part}-before"))).unwrap();
            fs::rename(to.join(part), place).unwrap();
        }
        salvaged
    }

    /// What a start makes of it: the engine, and whether the others are newer.
    fn started(&self) -> (Result<Engine, ReplayError>, Option<Beyond>) {
        let (_journal, recovery) =
            journal::create_or_open(&self.config.storage.path, journal_options(&self.config)).unwrap();
        let mut engine = Engine::new(&[0; 32], NOW);
        let next_group = fold::fold(recovery, &mut engine, |_| {}).unwrap();
        let archive = Archive::open(&self.layout().archive(), archive_options(&self.config)).unwrap();
        let parked = Parked::open(&self.layout().parked()).unwrap();
        let beyond = beyond(&*archive.reader(), &*parked.reader(), &engine);
        store::fold_parked(&parked, &mut engine).unwrap();
        store::fold_archived(&*archive.reader(), &mut engine).unwrap();
        (engine.recovered(Default::default(), NOW, next_group).map(|()| engine), beyond)
    }
}

fn image(order: u64, steps: u8) -> Vec<u8> {
    message(order, 0, 254_700_000_000 + order, NOW.wall.0, steps)
}

#[test]
fn what_no_store_has_is_lost_and_said_to_be_and_the_rest_starts() {
    let house = House::going_on_with(&[3, 5, 64]);
    house.archive(&[5]);
    assert_eq!(house.started().0.map(drop), Err(ReplayError::Apart { block: 0 }));
    let salvaged = house.salvaged();
    assert_eq!(salvaged.messages_lost, 2);
    assert!(salvaged.has_lost());
    let engine = house.started().0.unwrap();
    let there: Vec<u64> = (0..65).filter(|number| engine.message(*number).is_some()).collect();
    assert_eq!(there, [5]);
    // With nothing that a second one would have to end.
    let again = House { directory: tempfile::tempdir().unwrap(), config: house.config.clone() };
    assert_eq!(again.salvaged().messages_lost, 0);
}

#[test]
fn a_journal_that_is_older_than_the_archive_is_noticed_and_a_salvage_goes_beyond_it() {
    // The last number that the journal has given is 64.
    for (last, is_newer) in [(0, false), (64, false), (65, true), (2 * 64, true), (LATER * 64 + 1, true)] {
        let house = House::going_on_with(&[]);
        house.archive(&[last]);
        let block = last / 64;
        let (started, beyond) = house.started();
        let expected = Beyond { part: Part::Archive, block };
        assert_eq!(beyond, is_newer.then_some(expected), "{last}");
        drop(started.unwrap());
        house.salvaged();
        let (started, beyond) = house.started();
        assert_eq!(beyond, None, "{last}");
        assert!(!started.unwrap().is_beyond(last), "{last}");
    }
}

#[test]
fn an_archive_that_cannot_be_looked_at_is_named_and_nothing_of_it_counts_as_lost() {
    let house = House::going_on_with(&[3]);
    house.archive(&[3]);
    let list = house.layout().archive().join(archive::LIST);
    let listed = fs::read_to_string(&list).unwrap();
    fs::write(&list, format!("{listed}2026-12.1798761600000.70\n")).unwrap();
    let salvaged = house.salvaged();
    let said = salvaged.remarks.join("\n");
    assert!(said.contains("2026-12.1798761600000.70"), "{said}");
    assert_eq!(salvaged.messages_lost, 0);
    fs::write(&list, listed).unwrap();
    assert!(house.started().0.unwrap().message(3).is_some());
}

#[test]
fn a_salvage_that_comes_to_no_end_leaves_nothing_and_takes_nothing_away() {
    let house = House::going_on_with(&[]);
    house.make_others();
    fs::write(house.layout().parked().join("db"), [77; 5_000]).unwrap();
    let to = house.directory.path().join("saved");
    for _ in 0..2 {
        let refused = salvage(&house.config, &to);
        assert!(matches!(refused, Err(SalvageStop::Fold(_))), "{:?}", refused.map(|found| found.report));
        assert!(!to.exists());
    }
    fs::create_dir(&to).unwrap();
    fs::write(to.join("mine"), "of somebody else").unwrap();
    let refused = salvage(&house.config, &to);
    assert!(matches!(refused, Err(SalvageStop::Salvage(SalvageError::TargetExists { .. }))));
    assert_eq!(fs::read_dir(&to).unwrap().count(), 1);
}

#[test]
fn a_store_that_counts_fewer_flushes_than_the_journal_knows_is_an_older_one_until_a_salvage_takes_it_as_it_is()
 {
    // Each of them has been flushed once; both archives have one database, from block 0 on.
    let older_than = |part, known| vec![Older { part, known, found: 1 }];
    let table = [
        (Flushes::default(), vec![]),
        (Flushes { archive: Some((0, 1)), parked: Some(1), late_ids: Some((0, 1)) }, vec![]),
        (Flushes { archive: Some((0, 2)), parked: Some(1), late_ids: None }, older_than(Part::Archive, 2)),
        (Flushes { archive: Some((0, 1)), parked: Some(9), late_ids: None }, older_than(Part::Parked, 9)),
        (Flushes { archive: None, parked: Some(1), late_ids: Some((0, 3)) }, older_than(Part::LateIds, 3)),
        // A newest database that is not there was moved away.
        (Flushes { archive: Some((LATER, 2)), parked: None, late_ids: Some((LATER, 2)) }, vec![]),
    ];
    for (known, expected) in table {
        let house = House::with(known, &[]);
        house.archive(&[1]);
        house.make_others();
        assert_eq!(older(&house), expected, "{known:?}");
        let salvaged = house.salvaged();
        assert_eq!(salvaged.remarks.len(), expected.len(), "{known:?}: {:?}", salvaged.remarks);
        assert_eq!(older(&house), [], "{known:?}, salvaged");
    }
}

#[test]
fn what_is_parked_is_looked_at_too() {
    let house = House::going_on_with(&[]);
    house.archive(&[70, 5]);
    let mut parked = Parked::open(&house.layout().parked()).unwrap();
    let mut writer = crate::block::BlockWriter::quick();
    let messages = writer.block(&[&image(LATER * 64, 2)]).to_vec();
    parked.write(LATER, &storage::parked::ParkedBlock { rows: vec![1], messages }).unwrap();
    let archive = Archive::open(&house.layout().archive(), archive_options(&house.config)).unwrap();
    let mut engine = Engine::new(&[0; 32], NOW);
    let beyond = |engine: &Engine| beyond(&*archive.reader(), &*parked.reader(), engine);
    assert_eq!(beyond(&engine), Some(Beyond { part: Part::Parked, block: LATER }));
    engine.skip_beyond(LATER);
    assert_eq!(beyond(&engine), None);
}

/// The row of a message of this tenant that waits to be sent, with this much in reserve.
fn waiting(order: u64, tenant: u32) -> Vec<u8> {
    let mut rows = Vec::new();
    let place = (order % 64) as u8;
    row::Row {
        place,
        state: engine::message::State::Queued,
        priority: engine::submission::Priority::Normal,
        waiting_parts: 1,
        provider: 0,
        tenant,
        reserved: 1_000_000,
        wake: 0,
        others: 0,
        ids: Vec::new(),
    }
    .write(&mut rows);
    rows
}

#[test]
fn what_an_older_parked_store_has_as_waiting_and_the_archive_as_finished_is_finished() {
    let house = House::with(Flushes { parked: Some(7), ..Flushes::default() }, &[]);
    house.archive(&[1, 2]);
    let mut parked = Parked::open(&house.layout().parked()).unwrap();
    let mut rows = waiting(1, 0);
    rows.extend(waiting(3, 0));
    let mut writer = crate::block::BlockWriter::quick();
    let messages = writer.block(&[&image(1, 0), &image(3, 0)]).to_vec();
    parked.write(0, &storage::parked::ParkedBlock { rows, messages }).unwrap();
    parked.flush().unwrap();
    parked.mark().unwrap();
    drop(parked);
    let salvaged = house.salvaged();
    assert!(
        salvaged.remarks.iter().any(|remark| remark.contains("parked is older")),
        "{:?}",
        salvaged.remarks
    );
    let engine = house.started().0.unwrap();
    assert!(engine.message(1).is_some_and(engine::message::Message::is_final));
    assert_eq!(engine.snapshot().parked, 1, "the third one still waits");
    assert!(engine.message(2).is_none(), "what is in no other part stays in the archive");
}

#[test]
fn a_parked_message_of_a_tenant_that_the_journal_does_not_name_stops_it_with_what_there_is_to_do() {
    let house = House::going_on_with(&[]);
    let mut parked = Parked::open(&house.layout().parked()).unwrap();
    parked.write(0, &storage::parked::ParkedBlock { rows: waiting(1, 5), messages: Vec::new() }).unwrap();
    parked.flush().unwrap();
    drop(parked);
    let refused = salvage(&house.config, &house.directory.path().join("saved")).err();
    let said = refused.map(|error| crate::say::whole(&error)).unwrap_or_default();
    for words in ["a tenant (number 5) that the journal does not name", "make an empty directory `parked`"] {
        assert!(said.contains(words), "{said}");
    }
}
