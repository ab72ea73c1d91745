//! A salvage leaves a journal that starts: whatever is missing of the other stores, and however old the journal is beside them.

use codecs::instant::Wall;
use engine::ReplayError;
use engine::command::Now;
use engine::effect::{ArchiveWrite, Shelf};
use engine::record::{NameKind, Record};
use storage::parked::ParkedBlocks;

use super::*;
use crate::shelves::{Shelves, tests::message};
use crate::store::{Beyond, Older, nothing_is_beyond, nothing_is_older};

const NOW: Now = Now { wall: Wall(1_795_000_000_000), mono: codecs::instant::Mono(0) };
/// A block that no month has, of any store here.
const LATER: u64 = 9;

/// What the stores count in a house whose journal was written when they had counted these.
fn older(house: &House) -> Result<Option<Older>, String> {
    let (_journal, recovery) =
        journal::create_or_open(&house.config.storage.path, journal_options(&house.config)).unwrap();
    let mut engine = Engine::new(&[0; 32], NOW);
    fold::fold(recovery, &mut engine, |_| {}).unwrap();
    let archive = Archive::open(&house.layout().archive(), archive_options(&house.config)).unwrap();
    let parked = Parked::open(&house.layout().parked()).unwrap();
    nothing_is_older(&archive, &parked, &mut engine).map_err(|error| error.to_string())
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
    fn started(&self) -> (Result<Engine, ReplayError>, Result<(), Beyond>) {
        let (_journal, recovery) =
            journal::create_or_open(&self.config.storage.path, journal_options(&self.config)).unwrap();
        let mut engine = Engine::new(&[0; 32], NOW);
        let next_group = fold::fold(recovery, &mut engine, |_| {}).unwrap();
        let archive = Archive::open(&self.layout().archive(), archive_options(&self.config)).unwrap();
        let parked = Parked::open(&self.layout().parked()).unwrap();
        let beyond = nothing_is_beyond(&*archive.reader(), &*parked.reader(), &engine);
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
    assert_eq!((salvaged.messages_lost, &salvaged.archive_unread), (2, &None));
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
        let expected = Beyond { shelf: Shelf::Archive, block };
        assert_eq!(beyond, if is_newer { Err(expected) } else { Ok(()) }, "{last}");
        drop(started.unwrap());
        house.salvaged();
        let (started, beyond) = house.started();
        assert_eq!(beyond, Ok(()), "{last}");
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
    let why = salvaged.archive_unread.unwrap_or_default();
    assert!(why.contains("2026-12.1798761600000.70"), "{why}");
    assert_eq!(salvaged.messages_lost, 0);
    fs::write(&list, listed).unwrap();
    assert!(house.started().0.unwrap().message(3).is_some());
}

#[test]
fn a_salvage_that_comes_to_no_end_leaves_nothing_and_takes_nothing_away() {
    let house = House::going_on_with(&[]);
    let mut parked = Parked::open(&house.layout().parked()).unwrap();
    parked.flush().unwrap();
    parked.mark().unwrap();
    drop(parked);
    fs::write(house.layout().parked().join("db"), [77; 5_000]).unwrap();
    let to = house.directory.path().join("saved");
    for _ in 0..2 {
        let refused = salvage(&house.config, &to);
        assert!(matches!(refused, Err(SalvageStop::Fold(_))), "{:?}", refused.map(|found| found.report));
        assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
    }
    fs::write(to.join("mine"), "of somebody else").unwrap();
    let refused = salvage(&house.config, &to);
    assert!(matches!(refused, Err(SalvageStop::Salvage(SalvageError::TargetExists { .. }))));
    assert_eq!(fs::read_dir(&to).unwrap().count(), 1);
}

#[test]
fn a_store_that_counts_fewer_flushes_than_the_journal_knows_is_an_older_one_until_a_salvage_takes_it_as_it_is()
 {
    let archived = |known| Some(Older { shelf: Shelf::Archive, known, found: 1 });
    let waiting = |known| Some(Older { shelf: Shelf::Parked, known, found: 1 });
    // Both have been flushed once; the archive has one database, from block 0 on.
    let table = [
        (None, None, None),
        (Some((0, 1)), Some(1), None),
        (Some((0, 2)), Some(1), archived(2)),
        (Some((0, 1)), Some(9), waiting(9)),
        (None, Some(2), waiting(2)),
        // A newest database that is not there was moved away.
        (Some((LATER, 2)), None, None),
        (Some((LATER, 2)), Some(2), waiting(2)),
    ];
    for (archive, parked, expected) in table {
        let house = House::with(Flushes { archive, parked }, &[]);
        house.archive(&[1]);
        let mut store = Parked::open(&house.layout().parked()).unwrap();
        store.flush().unwrap();
        store.mark().unwrap();
        drop(store);
        assert_eq!(older(&house), Ok(expected), "{archive:?} {parked:?}");
        house.salvaged();
        assert_eq!(older(&house), Ok(None), "{archive:?} {parked:?}, salvaged");
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
    let beyond = |engine: &Engine| nothing_is_beyond(&*archive.reader(), &*parked.reader(), engine);
    let expected = Beyond { shelf: Shelf::Parked, block: LATER };
    assert_eq!(beyond(&engine), Err(expected));
    engine.go_beyond(LATER);
    assert_eq!(beyond(&engine), Ok(()));
}
