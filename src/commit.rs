//! The commit loop: the one way from a socket to the disk. A writer thread decides commands into groups; a committer thread
//! makes each durable and only then releases its effects. While one group is being flushed the next is being decided.
//!
//! It decides nothing itself (`engine`) and knows no format (`storage`).

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use codecs::instant::Mono;
use connectors::intake::Wakes;
use connectors::partition::Partition;
use connectors::reply::Replies;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use engine::command::{Command, Now};
use engine::effect::Effects;
use engine::{Engine, Group, Released};
use storage::journal::{Journal, JournalError};

use crate::history::History;
use crate::measure::Measures;
use crate::memory;
use crate::ops::Health;
use crate::packing;

#[cfg(test)]
mod durable;

/// A group ends here even when more commands wait.
const GROUP_OCTETS: usize = 4 << 20;
/// A group of so many octets is handed over although the one before it is still being flushed.
const GROUP_OCTETS_AHEAD: usize = 512 << 10;
/// How long at least a group waits for others when it answers no tenant and sends nothing to a provider.
const NOT_URGENT: Duration = Duration::from_micros(500);
/// Where such groups follow one another, the disk rests between two: so many times as long as the first of them took. What a
/// group costs by itself is shared by more of them then, and a provider that waits for acknowledgements is not held up for long.
const REST: u32 = 4;
/// It rests so long at most.
const REST_MAX: Duration = Duration::from_millis(10);
/// Only after a group of so many octets: who sends one receipt at a time waits for each answer.
const WORTH_A_REST_OCTETS: usize = 2 << 10;
/// A group for which nobody waits goes when it has so many octets, though the disk rests.
const NOT_URGENT_OCTETS: usize = 128 << 10;
/// Messages for which the writer is woken while a group is being flushed: with fewer it begins when that is done.
const WORTH_WAKING: usize = 64;
/// Before a smaller group goes, others may run.
const GROUP_OCTETS_SMALL: usize = 16 << 10;
/// After a group of so many octets there is more to do than is done at once: up to `GROUP_OCTETS_AHEAD` others may run before
/// the next goes, too. A session then reads and writes for more messages at a time.
const GROUP_OCTETS_LARGE: usize = 256 << 10;
/// How often at most, as long as they bring something.
const LET_RUN_MAX: u32 = 8;
/// What a living message takes in the journal, packed, as an estimate: the ring is made four times as large as all of them.
const LIVING_OCTETS: u64 = 256;
/// How often what the engine has counted is made visible.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(1);
/// How long after the last group the journal's side file is brought up to date.
const MARK_AFTER: Duration = Duration::from_secs(1);
/// Groups decided and not yet with the committer. With the one that it flushes, two are not yet on disk.
const GROUPS_WAITING: usize = 1;

/// Where released effects go.
pub struct Outlets {
    pub partition: Partition,
    pub replies: Arc<Replies>,
    pub history: Arc<History>,
    pub health: Arc<Health>,
    pub measures: Arc<Measures>,
}

/// A decided group on its way to the disk.
pub struct Decided {
    pub group: Group,
    number: u64,
    at: Instant,
}

/// The two threads of a partition. They end when the intake is closed and empty.
pub struct CommitLoop {
    writer: JoinHandle<()>,
    committer: JoinHandle<Result<(), JournalError>>,
}

impl CommitLoop {
    /// Takes over an engine that has recovered, and the journal that it recovered from. `next_group` is the number that
    /// the next group will get.
    pub fn start(
        engine: Engine,
        journal: Journal,
        next_group: u64,
        outlets: Outlets,
    ) -> std::io::Result<CommitLoop> {
        let (decided, to_commit) = bounded(GROUPS_WAITING);
        let (writer, committer) = halves(engine, journal, next_group, outlets);
        let disk = Arc::new(Disk::default());
        let committing = Arc::clone(&disk);
        let thread = |name: &str| thread::Builder::new().name(name.into());
        Ok(CommitLoop {
            writer: thread("writer").spawn(move || write(writer, &decided, &committing))?,
            committer: thread("committer").spawn(move || commit(committer, &to_commit, &disk))?,
        })
    }

    /// Waits until everything let in is on disk and released.
    pub fn join(self) -> Result<(), JournalError> {
        if self.writer.join().is_err() {
            return Err(JournalError::Stopped);
        }
        self.committer.join().unwrap_or(Err(JournalError::Stopped))
    }
}

/// The two halves without their threads: who calls them in turn has a commit loop.
pub fn halves(engine: Engine, journal: Journal, next_group: u64, outlets: Outlets) -> (Writer, Committer) {
    let outlets = Arc::new(outlets);
    let ring_over = Arc::new(AtomicU64::new(0));
    let released = Arc::<Progress>::default();
    let writer = Writer {
        engine,
        outlets: Arc::clone(&outlets),
        ring_over: Arc::clone(&ring_over),
        released: Arc::clone(&released),
        next_group,
    };
    let committer = Committer { journal, packed: Vec::new(), unmarked: false, outlets, ring_over, released };
    (writer, committer)
}

/// How far the committer has released groups, and when it last did.
#[derive(Default)]
struct Progress {
    groups: AtomicU64,
    at: AtomicU64,
}

impl Progress {
    fn set(&self, groups: u64, at: Mono) {
        self.at.store(at.0, Relaxed);
        self.groups.fetch_max(groups, Release);
    }

    fn get(&self) -> Released {
        let groups = self.groups.load(Acquire);
        Released { groups, at: Mono(self.at.load(Relaxed)) }
    }
}

/// What the writer knows of the committer.
#[derive(Default)]
struct Disk {
    /// It has a group, or is about to have one.
    busy: AtomicBool,
    /// Until when it need not be given another that nobody waits for (`Mono`).
    rests_until: AtomicU64,
}

impl Disk {
    /// A group of so many octets has been made durable, and took so long.
    fn rest(&self, now: Mono, octets: usize, took: Duration) {
        if octets >= WORTH_A_REST_OCTETS {
            self.rests_until.store(now.after((took * REST).min(REST_MAX)).0, Relaxed);
        }
    }

    fn rests(&self, now: Mono) -> Duration {
        Duration::from_micros(self.rests_until.load(Relaxed).saturating_sub(now.0))
    }
}

/// The writer's thread. A group stays open while the committer has one to flush, so that what comes meanwhile shares the next
/// flush; one that is worth a flush of its own is handed over before, so that the committer need not wait for it.
fn write(mut writer: Writer, decided: &Sender<Decided>, disk: &Disk) {
    let mut hand_over = |group| {
        disk.busy.store(true, Release);
        decided.send(group).is_ok()
    };
    let clock = writer.outlets.partition.clock;
    let mut commands = Vec::new();
    let mut patience = Patience::default();
    let mut watch = Watch { seen: Instant::now(), is_busy: false, has_worked: false };
    // Recovery may have left something to be written.
    let mut open = writer.take_group().is_none_or(&mut hand_over);
    while open {
        let may_go = !disk.busy.load(Acquire) && decided.is_empty();
        let now = Instant::now();
        let until = now + patience.wait(now, writer.wake_after(), may_go, disk.rests(clock.mono()));
        let intake = Arc::clone(&writer.outlets.partition.intake);
        intake.set_crowded(writer.engine.crowded());
        open = intake.take(Some(until), patience.wakes(may_go), &mut commands);
        let has_come = !commands.is_empty();
        watch.is_busy |= has_come;
        if has_come || (!patience.is_tried() && Instant::now() >= until) {
            open = writer.decide(&mut commands, &mut hand_over) && open;
        }
        let is_worth_it = !disk.busy.load(Acquire) || writer.engine.group_octets() >= GROUP_OCTETS_AHEAD;
        let mut is_over =
            || patience.is_over(Instant::now(), writer.open_group(), has_come, disk.rests(clock.mono()));
        if !open || (is_worth_it && decided.is_empty() && is_over()) {
            let octets_before = writer.engine.group_octets();
            open = writer.take_group().is_none_or(&mut hand_over) && open;
            patience = Patience { octets_before, ..Patience::default() };
        }
        watch.look(&writer);
    }
}

/// What the engine has decided and not handed over.
#[derive(Clone, Copy)]
struct OpenGroup {
    octets: usize,
    /// Somebody waits for it.
    is_urgent: bool,
}

/// How long a small group is kept open for others to join it, though the committer could take it.
#[derive(Default)]
struct Patience {
    /// What the group before had when it went.
    octets_before: usize,
    opened: Option<Instant>,
    /// How often others were let run.
    let_run: u32,
}

impl Patience {
    /// How long the writer may sleep when nothing comes.
    fn wait(&self, now: Instant, wake_after: Duration, may_go: bool, rest: Duration) -> Duration {
        match self.opened.filter(|_| may_go) {
            Some(_) if self.is_tried() => Duration::ZERO,
            Some(opened) => wake_after.min(NOT_URGENT.saturating_sub(now - opened).max(rest)),
            None => wake_after,
        }
    }

    /// What the writer is woken for before that.
    fn wakes(&self, may_go: bool) -> Wakes {
        match self.opened {
            Some(_) if may_go => Wakes::Hurried,
            // Where groups are large, deciding must go on while the one before is flushed.
            _ if !may_go && self.octets_before < GROUP_OCTETS_SMALL => Wakes::Many(WORTH_WAKING),
            _ => Wakes::Any,
        }
    }

    fn is_tried(&self) -> bool {
        self.let_run > 0
    }

    /// Whether the group goes now. When nobody waits for it, the disk may rest first. Else those who are about to bring more are
    /// let run: where a processor is free that takes no time, and where none is, more share the flush.
    fn is_over(&mut self, now: Instant, group: Option<OpenGroup>, has_come: bool, rest: Duration) -> bool {
        let Some(group) = group else { return false };
        let opened = *self.opened.get_or_insert(now);
        if !group.is_urgent {
            let has_rested = now - opened >= NOT_URGENT && rest.is_zero();
            return has_rested || group.octets >= NOT_URGENT_OCTETS;
        }
        let follows_a_large_one = self.octets_before >= GROUP_OCTETS_LARGE;
        if group.octets >= if follows_a_large_one { GROUP_OCTETS_AHEAD } else { GROUP_OCTETS_SMALL } {
            return true;
        }
        let is_tried = self.is_tried() && (!has_come || self.let_run >= LET_RUN_MAX);
        if !is_tried {
            thread::yield_now();
            self.let_run += 1;
        }
        is_tried
    }
}

/// What the writer does about once a second beside its work.
struct Watch {
    seen: Instant,
    /// Something has come since then, and since memory was given back.
    is_busy: bool,
    has_worked: bool,
}

impl Watch {
    fn look(&mut self, writer: &Writer) {
        if self.seen.elapsed() < SNAPSHOT_EVERY {
            return;
        }
        writer.outlets.measures.see(writer.engine.snapshot());
        self.has_worked |= self.is_busy;
        if self.has_worked && !self.is_busy {
            self.has_worked = false;
            memory::give_back();
        }
        self.is_busy = false;
        self.seen = Instant::now();
    }
}

/// The committer's thread.
fn commit(mut committer: Committer, decided: &Receiver<Decided>, disk: &Disk) -> Result<(), JournalError> {
    loop {
        match decided.recv_timeout(MARK_AFTER) {
            Ok(group) => {
                disk.busy.store(true, Release);
                let (began, octets) = (Instant::now(), group.group.records.len());
                committer.commit(group).unwrap_or_else(|error| stop(&error));
                disk.rest(committer.outlets.partition.clock.mono(), octets, began.elapsed());
                disk.busy.store(false, Release);
                committer.outlets.partition.intake.nudge();
            }
            Err(RecvTimeoutError::Timeout) => committer.mark().unwrap_or_else(|error| stop(&error)),
            Err(RecvTimeoutError::Disconnected) => return committer.close(),
        }
    }
}

/// Owns the engine, and makes groups of commands.
pub struct Writer {
    engine: Engine,
    outlets: Arc<Outlets>,
    ring_over: Arc<AtomicU64>,
    released: Arc<Progress>,
    next_group: u64,
}

impl Writer {
    /// Decides what was taken, and adds it to the open group; full groups are handed over. False when `hand_over` is:
    /// nobody takes them any more.
    pub fn decide(
        &mut self,
        commands: &mut Vec<Command>,
        mut hand_over: impl FnMut(Decided) -> bool,
    ) -> bool {
        self.begin();
        for command in commands.drain(..) {
            self.engine.handle(command);
            if self.engine.group_octets() >= GROUP_OCTETS {
                self.engine.run(self.ring_over.load(Relaxed));
                if !self.take_group().is_none_or(&mut hand_over) {
                    return false;
                }
                self.begin();
            }
        }
        self.engine.run(self.ring_over.load(Relaxed));
        true
    }

    fn begin(&mut self) {
        let released = self.released.get();
        let clock = self.outlets.partition.clock;
        let now = clock.system();
        self.engine.begin(now, self.next_group, released);
        clock.follow(Now { wall: self.engine.wall(), mono: now.mono });
    }

    fn open_group(&self) -> Option<OpenGroup> {
        let (octets, is_urgent) = (self.engine.group_octets(), self.engine.is_urgent());
        self.engine.has_group().then_some(OpenGroup { octets, is_urgent })
    }

    /// What has been decided since the last group.
    pub fn take_group(&mut self) -> Option<Decided> {
        if !self.engine.has_group() {
            return None;
        }
        let group = self.engine.take_group();
        let number = self.next_group;
        self.next_group += u64::from(!group.records.is_empty());
        Some(Decided { group, number, at: Instant::now() })
    }

    /// How long nothing need be decided when no command comes.
    pub fn wake_after(&self) -> Duration {
        let due = self.engine.next_due_micros().map(Duration::from_micros);
        due.unwrap_or(SNAPSHOT_EVERY).min(SNAPSHOT_EVERY)
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// Owns the journal, and releases what is on disk. After an error nothing more may be released: the process must end.
pub struct Committer {
    journal: Journal,
    /// The group as it is written; kept for its room.
    packed: Vec<u8>,
    /// Groups were written since the journal's side file was last known to be up to date, and since memory was given back.
    unmarked: bool,
    outlets: Arc<Outlets>,
    ring_over: Arc<AtomicU64>,
    released: Arc<Progress>,
}

impl Committer {
    /// Makes the group durable, and then releases its effects.
    pub fn commit(&mut self, decided: Decided) -> Result<(), JournalError> {
        self.write(&decided)?;
        self.release(decided.group.effects);
        Ok(())
    }

    /// Everything is written and nothing follows.
    pub fn close(self) -> Result<(), JournalError> {
        self.journal.close()
    }

    /// Nothing has come for a while: what is on disk is noted beside it now, else only the next group would see to that.
    pub fn mark(&mut self) -> Result<(), JournalError> {
        if !std::mem::take(&mut self.unmarked) {
            return Ok(());
        }
        memory::give_back();
        self.journal.mark()
    }

    /// Makes the group durable.
    pub fn write(&mut self, decided: &Decided) -> Result<(), JournalError> {
        let Decided { group, number, at } = decided;
        if group.records.is_empty() {
            return Ok(());
        }
        let clock = self.outlets.partition.clock;
        self.outlets.health.set_oldest_unflushed(Some(clock.mono()));
        packing::pack(&group.records, &mut self.packed);
        let given = self.journal.append(&self.packed)?;
        assert_eq!(given, *number, "the writer and the journal disagree about the number of a group");
        let flushing = Instant::now();
        self.journal.flush()?;
        self.unmarked = true;
        self.journal.release_before(group.release_before);
        self.journal.set_living_bytes(group.living.saturating_mul(LIVING_OCTETS));
        let over = self.journal.bytes_over_target();
        self.ring_over.store(over, Relaxed);
        let messages: u64 = group.effects.received.iter().map(|(_, count)| u64::from(*count)).sum();
        self.outlets.measures.group(messages, self.packed.len(), flushing.elapsed(), at.elapsed());
        self.outlets.measures.journal(|| self.journal.sizes());
        Ok(())
    }

    /// The group is on disk: its effects leave. What goes to the archive is seen by readers before any answer can send them there.
    pub fn release(&self, effects: Effects) {
        self.outlets.health.set_oldest_unflushed(None);
        let Effects { order, connections, replies, archive, parks, loads, questions, received, .. } = effects;
        self.outlets.history.take(archive, parks, loads, questions);
        for (connection, outgoing) in connections {
            self.outlets.partition.links.release(connection, outgoing);
        }
        self.outlets.replies.release_all(replies);
        self.released.set(order + 1, self.outlets.partition.clock.mono());
        self.outlets.measures.accepted(self.outlets.partition.clock.mono(), &received);
    }
}

/// The disk did not take a group: nothing more may be acknowledged, so the process ends here and now.
fn stop(error: &JournalError) -> ! {
    let text = crate::say::whole(error);
    tracing::error!(error = %text, "the journal cannot be written; nothing that was acknowledged is lost; stopping");
    crate::say::complaint(format_args!("tidegate: the journal cannot be written: {text}"));
    std::process::exit(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn micros(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    /// Whether a group goes: by whether somebody waits for it, its octets, whether something has come, for how long the disk still
    /// rests, and how long it has been open (both in microseconds), the first time that this is asked.
    #[test]
    fn a_group_goes_when_it_is_large_or_has_waited_and_the_disk_has_rested() {
        let table = [
            (false, 131_071, false, 0, 0, false),
            (false, 131_071, false, 0, 499, false),
            (false, 0, false, 0, 500, true),
            (false, 0, true, 0, 500, true),
            (false, 0, false, 1, 500, false),
            (false, 131_071, true, 1, 60_000, false),
            (false, 131_072, true, 1, 0, true),
            (true, 16_383, false, 0, 60_000, false),
            (true, 16_384, true, 1, 0, true),
        ];
        for (is_urgent, octets, has_come, rest, elapsed, expected) in table {
            let now = Instant::now();
            let mut patience = Patience { opened: Some(now), ..Patience::default() };
            let group = Some(OpenGroup { octets, is_urgent });
            let is_over = patience.is_over(now + micros(elapsed), group, has_come, micros(rest));
            let row =
                format!("urgent {is_urgent}, {octets} octets, came {has_come}, {rest} and {elapsed} us");
            assert_eq!(is_over, expected, "{row}");
        }
    }

    #[test]
    fn a_group_is_open_from_when_it_is_first_seen() {
        let (begin, mut patience) = (Instant::now(), Patience::default());
        let group = Some(OpenGroup { octets: 1, is_urgent: false });
        assert!(!patience.is_over(begin, None, true, Duration::ZERO));
        assert!(!patience.is_over(begin + MILLI, group, true, Duration::ZERO));
        assert!(patience.is_over(begin + MILLI + micros(500), group, true, Duration::ZERO));
    }

    #[test]
    fn who_brings_something_is_let_run_before_a_small_group_goes_and_not_for_ever() {
        let now = Instant::now();
        let group = Some(OpenGroup { octets: 1, is_urgent: true });
        for (brings, asked) in [(0, 2), (3, 5), (1_000, 9)] {
            let mut patience = Patience::default();
            let turns = (0..).take_while(|turn| !patience.is_over(now, group, *turn <= brings, MILLI));
            assert_eq!(turns.count() + 1, asked, "{brings}");
        }
    }

    #[test]
    fn after_a_large_group_others_are_let_run_until_the_next_is_large_too() {
        let now = Instant::now();
        for (before, octets, asked) in [
            (0, 16_383, 9),
            (0, 16_384, 1),
            (262_143, 16_384, 1),
            (262_144, 16_384, 9),
            (262_144, 524_287, 9),
            (262_144, 524_288, 1),
        ] {
            let mut patience = Patience { octets_before: before, ..Patience::default() };
            let group = Some(OpenGroup { octets, is_urgent: true });
            let turns = (0..).take_while(|_| !patience.is_over(now, group, true, MILLI));
            assert_eq!(turns.count() + 1, asked, "{before} {octets}");
        }
    }

    #[test]
    fn the_writer_sleeps_until_the_group_may_go() {
        let begin = Instant::now();
        let table = [
            // May go, open for so long, others were let run, the rest; and how long it may sleep, in microseconds.
            (false, Some(100), 0, 0, 1_000),
            (true, None, 0, 0, 1_000),
            (true, Some(100), 0, 0, 400),
            (true, Some(600), 0, 0, 0),
            (true, Some(100), 0, 700, 700),
            (true, Some(100), 0, 9_000, 1_000),
            (true, Some(100), 1, 700, 0),
        ];
        for (may_go, open, let_run, rest, expected) in table {
            let opened = open.map(|_| begin);
            let patience = Patience { opened, let_run, ..Patience::default() };
            let waits = patience.wait(begin + micros(open.unwrap_or(0)), MILLI, may_go, micros(rest));
            assert_eq!(waits, micros(expected), "{may_go} {open:?} {let_run} {rest}");
        }
    }

    #[test]
    fn the_disk_rests_four_times_as_long_as_a_group_took_that_is_worth_it() {
        let table =
            [(2_047, 1_000, 0), (2_048, 1_000, 4_000), (4_096, 2_499, 9_996), (4_096, 60_000, 10_000)];
        for (octets, took, expected) in table {
            let (disk, now) = (Disk::default(), Mono(7));
            disk.rest(now, octets, micros(took));
            assert_eq!(disk.rests(now), micros(expected), "{octets} {took}");
            assert_eq!(disk.rests(now.after(micros(3_000))), micros(expected).saturating_sub(micros(3_000)));
        }
    }
}
