//! The commit loop: the one way from a socket to the disk. A writer thread decides commands into groups; a committer thread
//! makes each durable and only then releases its effects. While one group is being flushed the next is being decided.
//!
//! It decides nothing itself (`engine`) and knows no format (`storage`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use connectors::partition::Partition;
use connectors::reply::Replies;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use engine::command::Command;
use engine::effect::Effects;
use engine::{Engine, Group};
use storage::journal::{Journal, JournalError};

use crate::history::History;
use crate::measure::Measures;
use crate::ops::Health;
use crate::packing;

/// A group ends here even when more commands wait.
const GROUP_OCTETS: usize = 4 << 20;
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
struct Decided {
    group: Group,
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
        let outlets = Arc::new(outlets);
        let ring_over = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            engine,
            outlets: Arc::clone(&outlets),
            ring_over: Arc::clone(&ring_over),
            decided,
            next_group,
            seen: Instant::now(),
        };
        let committer = Committer { journal, packed: Vec::new(), unmarked: false, outlets, ring_over };
        Ok(CommitLoop {
            writer: thread::Builder::new().name("writer".into()).spawn(move || writer.run())?,
            committer: thread::Builder::new()
                .name("committer".into())
                .spawn(move || committer.run(&to_commit))?,
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

struct Writer {
    engine: Engine,
    outlets: Arc<Outlets>,
    ring_over: Arc<AtomicU64>,
    decided: Sender<Decided>,
    next_group: u64,
    /// When the engine's counts were last made visible.
    seen: Instant,
}

impl Writer {
    fn run(mut self) {
        let mut commands = Vec::new();
        // Recovery may have left something to be written.
        let mut open = self.hand_over();
        while open {
            let until = self.wake_at();
            open =
                self.outlets.partition.intake.take(Some(until), &mut commands) && self.decide(&mut commands);
            if self.seen.elapsed() >= SNAPSHOT_EVERY {
                self.seen = Instant::now();
                self.outlets.measures.see(self.engine.snapshot());
            }
        }
    }

    /// Decides what was taken, as one group or as several when it is much. False when the committer has ended.
    fn decide(&mut self, commands: &mut Vec<Command>) -> bool {
        self.engine.begin(self.outlets.partition.clock.now(), self.next_group);
        for command in commands.drain(..) {
            self.engine.handle(command);
            if self.engine.group_octets() >= GROUP_OCTETS {
                self.engine.run(self.ring_over.load(Relaxed));
                if !self.hand_over() {
                    return false;
                }
                self.engine.begin(self.outlets.partition.clock.now(), self.next_group);
            }
        }
        self.engine.run(self.ring_over.load(Relaxed));
        self.hand_over()
    }

    /// Gives the group to the committer; waits while two are not yet on disk.
    fn hand_over(&mut self) -> bool {
        if !self.engine.has_group() {
            return true;
        }
        let group = self.engine.take_group();
        let number = self.next_group;
        self.next_group += u64::from(!group.records.is_empty());
        self.decided.send(Decided { group, number, at: Instant::now() }).is_ok()
    }

    fn wake_at(&self) -> Instant {
        let due = self.engine.next_due_micros().map(Duration::from_micros);
        Instant::now() + due.unwrap_or(SNAPSHOT_EVERY).min(SNAPSHOT_EVERY)
    }
}

struct Committer {
    journal: Journal,
    /// The group as it is written; kept for its room.
    packed: Vec<u8>,
    /// Groups were written since the journal's side file was last known to be up to date.
    unmarked: bool,
    outlets: Arc<Outlets>,
    ring_over: Arc<AtomicU64>,
}

impl Committer {
    fn run(mut self, decided: &Receiver<Decided>) -> Result<(), JournalError> {
        loop {
            let Decided { group, number, at } = match decided.recv_timeout(MARK_AFTER) {
                Ok(decided) => decided,
                Err(RecvTimeoutError::Timeout) => {
                    self.mark();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if !group.records.is_empty()
                && let Err(error) = self.write(&group, number, at)
            {
                stop(&error);
            }
            self.outlets.health.set_oldest_unflushed(None);
            self.release(group.effects);
        }
        self.journal.close()
    }

    /// Nothing has come for a while: what is on disk is noted beside it now, else only the next group would see to that.
    fn mark(&mut self) {
        if std::mem::take(&mut self.unmarked)
            && let Err(error) = self.journal.mark()
        {
            stop(&error);
        }
    }

    fn write(&mut self, group: &Group, number: u64, at: Instant) -> Result<(), JournalError> {
        let clock = self.outlets.partition.clock;
        self.outlets.health.set_oldest_unflushed(Some(clock.mono()));
        packing::pack(&group.records, &mut self.packed);
        let given = self.journal.append(&self.packed)?;
        assert_eq!(given, number, "the writer and the journal disagree about the number of a group");
        let flushing = Instant::now();
        self.journal.flush()?;
        self.unmarked = true;
        self.journal.release_before(group.release_before);
        let over = self.journal.pressure().map_or(0, |pressure| pressure.bytes_over_target);
        self.ring_over.store(over, Relaxed);
        let messages: u64 = group.effects.received.iter().map(|(_, count)| u64::from(*count)).sum();
        self.outlets.measures.group(messages, flushing.elapsed(), at.elapsed());
        self.outlets.measures.journal(|| self.journal.sizes());
        Ok(())
    }

    /// The group is on disk: its effects leave. What goes to the archive is seen by readers before any answer can send them there.
    fn release(&self, effects: Effects) {
        let Effects { connections, replies, archive, parks, loads, received } = effects;
        self.outlets.history.take(archive, parks, loads);
        for (connection, outgoing) in connections {
            self.outlets.partition.links.release(connection, outgoing);
        }
        for (id, reply) in replies {
            self.outlets.replies.release(id, reply);
        }
        self.outlets.measures.accepted(self.outlets.partition.clock.mono(), &received);
    }
}

/// The disk did not take a group: nothing more may be acknowledged, so the process ends here and now.
fn stop(error: &JournalError) -> ! {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    tracing::error!(error = %text, "the journal cannot be written; nothing that was acknowledged is lost; stopping");
    eprintln!("tidegate: the journal cannot be written: {text}");
    std::process::exit(1)
}
