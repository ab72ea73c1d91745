//! What the committer releases, and when: over a log in memory that refuses what it is told to.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicI64;
use std::sync::{Mutex, MutexGuard};

use codecs::instant::Wall;
use connectors::clock::Clock;
use connectors::link::Link;
use engine::command::{Door, ReplyId, Submission, Submissions};
use engine::effect::{Load, Outgoing, Reply, Request, Shelf};
use engine::submission::Body;
use storage::archive::Archive;
use storage::error::StoreError;
use storage::journal::{self, Options, SideFile};
use storage::log::{Chunk, Durability, Log, Visit};
use storage::parked::Parked;

use super::*;
use crate::history::{Archivist, Stores};
use crate::ops::JOURNAL_BEHIND;

const RING_OCTETS: u64 = 4 << 10;

/// What the disk has been asked for, and the first thing that it refuses.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Platter>>);

#[derive(Default)]
struct Platter {
    chunks: BTreeMap<(u64, u32), Vec<u8>>,
    side: Vec<u8>,
    /// How often the side file was written.
    marks: usize,
    flushes: usize,
    refuses: Option<Refuses>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refuses {
    Append,
    Flush,
}

impl Disk {
    fn look(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }

    fn ask(&self, what: Refuses) -> Result<MutexGuard<'_, Platter>, StoreError> {
        let platter = self.look();
        match platter.refuses == Some(what) {
            true => Err(StoreError::Full { path: Path::new("memory").to_owned() }),
            false => Ok(platter),
        }
    }
}

impl Log for Disk {
    fn append(&mut self, group: u64, chunk: u32, bytes: &[u8]) -> Result<(), StoreError> {
        self.ask(Refuses::Append)?.chunks.insert((group, chunk), bytes.to_vec());
        Ok(())
    }

    fn flush(&mut self, _: Durability) -> Result<(), StoreError> {
        self.ask(Refuses::Flush)?.flushes += 1;
        Ok(())
    }

    fn read_from(&self, group: u64, visit: Visit<'_>) -> Result<(), StoreError> {
        for ((group, chunk), bytes) in self.look().chunks.range((group, 0)..) {
            if let ControlFlow::Break(()) = visit(*group, *chunk, bytes) {
                break;
            }
        }
        Ok(())
    }

    fn last_before(&self, group: u64) -> Result<Option<Chunk>, StoreError> {
        let platter = self.look();
        let last = platter.chunks.range(..(group, 0)).next_back();
        Ok(last.map(|((group, chunk), bytes)| Chunk { group: *group, chunk: *chunk, bytes: bytes.clone() }))
    }

    fn drop_before(&mut self, _: u64, _: u64) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn keep_only(&mut self, _: u64, _: u64) -> Result<(), StoreError> {
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn blob_files(&self) -> u64 {
        0
    }
}

impl SideFile for Disk {
    fn read(&self, offset: u64, octets: &mut [u8]) -> io::Result<()> {
        let platter = self.look();
        let found = platter.side.get(offset as usize..offset as usize + octets.len());
        octets.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&mut self, offset: u64, octets: &[u8]) -> io::Result<()> {
        let mut platter = self.look();
        let end = offset as usize + octets.len();
        let length = platter.side.len().max(end);
        platter.side.resize(length, 0);
        platter.side[offset as usize..end].copy_from_slice(octets);
        // The stamp has places of its own, and is written once.
        platter.marks += usize::from(matches!(offset, 0 | 512));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A commit loop without threads, and somebody at each of its outlets.
struct House {
    disk: Disk,
    writer: Writer,
    committer: Committer,
    connection: engine::command::ConnectionId,
    link: Arc<Link>,
    asked: ReplyId,
    answer: tokio::sync::oneshot::Receiver<Reply>,
    archivist: Archivist,
    health: Arc<Health>,
    clock: Clock,
    _directory: tempfile::TempDir,
}

impl House {
    fn new() -> House {
        House::with(Clock::start())
    }

    fn with(clock: Clock) -> House {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let options =
            Options { ring_bytes_min: RING_OCTETS, mark_every: Duration::MAX, ..Options::default() };
        let opened =
            journal::open_on(Box::new(disk.clone()), Box::new(disk.clone()), directory.path(), options);
        let (journal, mut recovery) = opened.unwrap();
        assert!(recovery.next_group().unwrap().is_none());
        let config = config::load(Some(("test.toml", crate::api::tests::house::ACME)), []).unwrap();
        let mut engine = Engine::new(&[9; 32], clock.system());
        engine.recovered(crate::definitions::definitions(&config), clock.system(), 1).unwrap();
        let archive = |name| Archive::open(&directory.path().join(name), Default::default()).unwrap();
        let parked = Parked::open(&directory.path().join("parked")).unwrap();
        let (history, mut archivist) =
            History::over(Stores::new(archive("archive"), parked, archive("late-ids")));
        archivist.restore_index().unwrap();
        let health = Health::new();
        health.set_started();
        let outlets = Outlets {
            partition: Partition::new(clock),
            replies: Replies::new(),
            history: Arc::new(history),
            health: Arc::clone(&health),
            measures: Arc::new(Measures::new(true)),
        };
        let (connection, link) = outlets.partition.links.open();
        let (asked, answer) = outlets.replies.open();
        let (writer, committer) = halves(engine, journal, 1, outlets);
        House {
            disk,
            writer,
            committer,
            connection,
            link,
            asked,
            answer,
            archivist,
            health,
            clock,
            _directory: directory,
        }
    }

    /// A group with something for every outlet.
    fn group(&self, number: u64, octets: usize, living: u64) -> Decided {
        let mut effects = Effects::default();
        let outgoing = Outgoing { requests: vec![Request { token: 7, end: 0 }], ..Outgoing::default() };
        effects.connections.push((self.connection, outgoing));
        effects.replies.push((self.asked, Reply::Drained));
        effects.loads.push(Load { block: 3, shelf: Shelf::Parked });
        // No two octets are alike, so that packing them brings nothing.
        let mut state = 1_u64;
        let mut octet = || {
            state = engine::hash::hash64(number, &state.to_le_bytes());
            state as u8
        };
        let records = std::iter::repeat_with(&mut octet).take(octets).collect();
        let group = Group { records, effects, release_before: 0, living };
        Decided { group, number, at: Instant::now() }
    }

    /// What has reached the connection, who has asked, and the archive.
    fn released(&mut self) -> (usize, usize, usize) {
        let answers = usize::from(self.answer.try_recv().is_ok());
        let told = self.archivist.turn(&self.archivist.work()).unwrap();
        (self.link.take().requests.len(), answers, told.len())
    }
}

/// What a door makes of "in an hour" must be an hour from now for the engine, too.
#[test]
fn the_doors_go_by_the_engines_time_when_the_systems_jumps() {
    const DAY: i64 = 86_400_000;
    static SYSTEM: AtomicI64 = AtomicI64::new(1_800_000_000_000);
    let mut house = House::with(Clock::with_wall(|| Wall(SYSTEM.load(Relaxed))));
    for jump in [DAY, -DAY] {
        house.writer.decide(&mut Vec::new(), |_| true);
        let before = house.clock.wall();
        SYSTEM.fetch_add(jump, Relaxed);
        assert!(house.clock.wall().millis_since(before) < DAY / 2, "before the engine has seen it");
        house.writer.decide(&mut Vec::new(), |_| true);
        assert!(house.clock.wall().millis_since(before) < DAY / 2);
        assert!(house.clock.wall() >= before);
        assert_eq!(house.writer.engine().wall().millis_since(house.clock.wall()) / 1_000, 0);
    }
}

#[test]
fn nothing_leaves_before_it_is_on_the_disk() {
    for refuses in [None, Some(Refuses::Append), Some(Refuses::Flush)] {
        let mut house = House::new();
        let flushes = house.disk.look().flushes;
        house.disk.look().refuses = refuses;
        let group = house.group(1, 100, 1);
        let committed = house.committer.commit(group);
        assert_eq!(committed.is_ok(), refuses.is_none(), "{refuses:?}");
        let (released, flushed) = if refuses.is_none() { ((1, 1, 1), 1) } else { ((0, 0, 0), 0) };
        assert_eq!(house.released(), released, "{refuses:?}");
        assert_eq!(house.disk.look().flushes, flushes + flushed, "{refuses:?}");
        // A group that does not get there is known to wait.
        let later = house.clock.mono().after(JOURNAL_BEHIND);
        assert_eq!(house.health.intake(later).is_ok(), refuses.is_none(), "{refuses:?}");
        if refuses.is_some() {
            house.disk.look().refuses = None;
            let group = house.group(1, 100, 1);
            assert!(house.committer.commit(group).is_err(), "after an error it is over");
            assert_eq!(house.released(), (0, 0, 0), "{refuses:?}");
        }
    }
}

#[test]
fn what_needs_no_record_leaves_though_the_disk_takes_nothing() {
    let mut house = House::new();
    house.disk.look().refuses = Some(Refuses::Append);
    let group = house.group(1, 0, 1);
    house.committer.commit(group).unwrap();
    assert_eq!(house.released(), (1, 1, 1));
}

#[test]
fn the_side_file_is_brought_up_to_date_once_when_nothing_follows() {
    let mut house = House::new();
    let marks = |house: &House| house.disk.look().marks;
    let before = marks(&house);
    house.committer.mark().unwrap();
    assert_eq!(marks(&house), before, "nothing was written");
    for number in 1..3 {
        let (before, group) = (marks(&house), house.group(number, 100, 1));
        house.committer.commit(group).unwrap();
        assert_eq!(marks(&house), before, "it waits for the next second");
        for _ in 0..2 {
            house.committer.mark().unwrap();
            assert_eq!(marks(&house), before + 1);
        }
    }
}

/// The ring is four times as large as what lives; of what is beyond the engine is told, so that it carries over.
#[test]
fn the_ring_grows_with_what_lives_and_turns_where_it_is_too_large() {
    let mut house = House::new();
    let enough = 100_000 / LIVING_OCTETS;
    for (number, living, is_over) in [(1, 0, false), (2, 0, true), (3, enough, false), (4, 0, true)] {
        let octets = if number == 1 { 1_000 } else { 8_000 };
        let group = house.group(number, octets, living);
        house.committer.commit(group).unwrap();
        let over = house.committer.ring_over.load(Relaxed);
        assert_eq!(over > 0, is_over, "group {number}: {over}");
    }
}

/// 400 long texts are twelve megabytes.
#[test]
fn a_burst_becomes_groups_of_which_none_has_no_end() {
    let House { mut writer, mut committer, disk, _directory, .. } = House::new();
    let text = [b'x'; 30_000];
    let mut commands: Vec<Command> = (0..400)
        .map(|sequence| {
            let mut bodies = Vec::new();
            let body =
                Body { destination: 254_712_345_678, source: b"ACME", octets: &text, ..Body::default() };
            body.write(&mut bodies);
            let end = bodies.len() as u32;
            Command::Submit(Submissions {
                tenant: 0,
                door: Door::Http(ReplyId(sequence)),
                received: Mono(0),
                idempotency: None,
                items: vec![Submission { sequence: 0, end, refused: None }],
                bodies,
            })
        })
        .collect();
    let mut groups = Vec::new();
    assert!(writer.decide(&mut commands, |group| {
        groups.push(group);
        true
    }));
    groups.extend(writer.take_group());
    let octets: Vec<usize> = groups.iter().map(|group| group.group.records.len()).collect();
    assert!(octets.len() >= 3 && octets.iter().all(|octets| *octets < GROUP_OCTETS + 100_000), "{octets:?}");
    assert!(groups.iter().map(|group| group.number).eq(1..=octets.len() as u64));
    groups.into_iter().for_each(|group| committer.commit(group).unwrap());
    assert_eq!(disk.look().chunks.keys().next_back().map(|(group, _)| *group), Some(octets.len() as u64));
}
