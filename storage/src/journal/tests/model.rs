//! Random runs with crashes against a model that knows only: what was flushed is there until it was released.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::*;
use super::memory::{self, MemoryLog};
use super::{SMALL, drain};

#[derive(Debug, Clone)]
enum Action {
    Append {
        length: usize,
    },
    Flush,
    /// The engine has carried over this share of the ring.
    Release {
        percent: u64,
    },
    Living {
        bytes: u64,
    },
    Mark,
    /// The process dies, and dies again while it recovers; these shares of the unflushed calls survive.
    Crash {
        kept_percent: usize,
        again: Option<usize>,
    },
    /// The disk refuses the n-th writing call from now.
    Fail {
        after: usize,
    },
    Close,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => prop_oneof![0..300usize, 0..60_000usize].prop_map(|length| Action::Append { length }),
        4 => Just(Action::Flush),
        2 => (0..=100u64).prop_map(|percent| Action::Release { percent }),
        1 => (0..20_000u64).prop_map(|bytes| Action::Living { bytes }),
        1 => Just(Action::Mark),
        2 => (0..=100usize, proptest::option::of(0..=100usize))
            .prop_map(|(kept_percent, again)| Action::Crash { kept_percent, again }),
        1 => (0..12usize).prop_map(|after| Action::Fail { after }),
        1 => Just(Action::Close),
    ]
}

/// What must be true, kept without looking into the journal.
#[derive(Debug, Default)]
struct Model {
    groups: BTreeMap<u64, Vec<u8>>,
    acknowledged: u64,
    released: u64,
    next: u64,
}

impl Model {
    fn check_recovered(&mut self, found: &BTreeMap<u64, Vec<u8>>) {
        let newest = found.keys().next_back().copied().unwrap_or(0);
        let oldest = found.keys().next().copied().unwrap_or(1);
        assert!(newest >= self.acknowledged, "{newest} is the newest, but {} was flushed", self.acknowledged);
        assert!(newest < self.next, "{newest} was never appended");
        assert!(
            oldest <= self.released.max(1),
            "{oldest} is the oldest, but only {} was released",
            self.released
        );
        assert_eq!(
            found.len() as u64,
            (newest + 1).saturating_sub(oldest),
            "no hole from {oldest} to {newest}"
        );
        for (number, records) in found {
            assert_eq!(Some(records), self.groups.get(number), "group {number}");
        }
        self.next = newest + 1;
        self.acknowledged = newest;
        self.released = self.released.min(self.next);
        self.groups.retain(|number, _| *number <= newest);
    }
}

struct Run {
    root: tempfile::TempDir,
    log: MemoryLog,
    journal: Option<Journal>,
    model: Model,
}

const OPTIONS: Options = Options { ring_bytes_min: 30_000, ..SMALL };

impl Run {
    fn begin() -> Run {
        let root = tempfile::tempdir().unwrap();
        let mut run = Run {
            root,
            log: MemoryLog::default(),
            journal: None,
            model: Model { next: 1, ..Model::default() },
        };
        run.recover();
        run
    }

    /// A new process opens the journal; whatever the disk refused the old one, it has room now.
    fn recover(&mut self) {
        self.log.0.lock().unwrap().calls_left = None;
        let (journal, recovery) = memory::open(&self.log, self.root.path(), OPTIONS).unwrap();
        self.model.check_recovered(&drain(recovery).unwrap());
        self.journal = Some(journal);
    }

    fn act(&mut self, action: &Action) {
        let journal = self.journal.as_mut().unwrap();
        let outcome = match action {
            Action::Append { length } => self.append(*length),
            Action::Flush => journal.flush().map(|()| self.model.acknowledged = self.model.next - 1),
            Action::Release { percent } => {
                let sizes = journal.sizes();
                let group =
                    sizes.oldest_group + (sizes.newest_group + 1 - sizes.oldest_group) * percent / 100;
                journal.release_before(group);
                self.model.released = self.model.released.max(group);
                Ok(())
            }
            Action::Living { bytes } => {
                journal.set_living_bytes(*bytes);
                Ok(())
            }
            Action::Mark => journal.write_mark(),
            Action::Crash { kept_percent, again } => {
                self.crash(*kept_percent, *again);
                Ok(())
            }
            Action::Fail { after } => {
                self.log.0.lock().unwrap().calls_left = Some(*after);
                Ok(())
            }
            Action::Close => self.journal.take().unwrap().close().map(|()| {
                self.model.acknowledged = self.model.next - 1;
                self.recover();
            }),
        };
        match outcome {
            Ok(()) => {}
            Err(JournalError::Log(LogError::Full { .. })) => self.after_failure(),
            Err(error) => panic!("{action:?} gave {error}"),
        }
    }

    fn append(&mut self, length: usize) -> Result<(), JournalError> {
        let number = self.model.next;
        let records: Vec<u8> = (0..length).map(|index| (index as u64 ^ number) as u8).collect();
        // Even if this fails its commit chunk may have been written.
        self.model.groups.insert(number, records.clone());
        self.model.next += 1;
        let before = self.log.0.lock().unwrap().current.len();
        let given = self.journal.as_mut().unwrap().append(&records)?;
        assert_eq!(given, number);
        let after = self.log.0.lock().unwrap().current.len();
        let wrote = format::chunk_count(length) as usize;
        assert!(
            after + (REMOVED_FOR_ONE as usize - 1) * wrote >= before,
            "an append removed more than {REMOVED_FOR_ONE} times as many chunks as it wrote"
        );
        Ok(())
    }

    /// An error stops the journal for good, and the process with it.
    fn after_failure(&mut self) {
        if let Some(journal) = &mut self.journal {
            assert!(matches!(journal.append(b"more"), Err(JournalError::Stopped)));
            assert!(matches!(journal.flush(), Err(JournalError::Stopped)));
        }
        self.crash(50, None);
    }

    fn crash(&mut self, kept_percent: usize, again: Option<usize>) {
        let kept = |log: &MemoryLog, percent| log.0.lock().unwrap().unflushed() * percent / 100;
        if let Some(journal) = self.journal.take() {
            memory::die(journal, &self.log, kept(&self.log, kept_percent));
        } else {
            self.log.0.lock().unwrap().crash(0);
        }
        if let Some(percent) = again {
            let (journal, mut recovery) = memory::open(&self.log, self.root.path(), OPTIONS).unwrap();
            self.log.0.lock().unwrap().calls_left = Some(percent / 10);
            while let Ok(Some(_)) = recovery.next_group() {}
            drop(recovery);
            memory::die(journal, &self.log, kept(&self.log, percent));
        }
        self.recover();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_flushed_is_there_until_it_is_released(actions in proptest::collection::vec(action(), 1..80)) {
        let mut run = Run::begin();
        for action in &actions {
            run.act(action);
        }
        run.crash(0, None);
    }
}
