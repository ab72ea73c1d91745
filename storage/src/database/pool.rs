//! How many threads sled writes with. sled 0.34.7 keeps seven for all databases of the process and wakes every one of them for each
//! buffer, of which one finds something to do: where groups are small, a fifth of all processor time went there. Two are
//! enough for a journal and what is written beside it, so the others are given a call that never returns.
//!
//! sled has no setting for it. It runs a caller's code on those threads in one place only: a waker of `flush_async`.

use std::fs;
use std::pin::pin;
use std::sync::{Arc, Barrier, Once};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

/// Threads that sled starts with its first work, and never ends. It starts more while a large file is opened.
const STARTED: usize = 7;
/// Threads that go on writing. With one, a group would wait behind what the archive hands to the disk.
const WRITERS: usize = 2;
/// A flush that is over before it is waited for holds nobody, and is tried again so often at most.
const ATTEMPTS: usize = 1_000;

/// Holds all of sled's threads but [`WRITERS`], at the first call in the process. sled starts no others afterwards: it counts a held
/// thread as one that is about to be free.
///
/// The database must have nothing that is not flushed, and nobody may write to it meanwhile.
pub(super) fn hold_spare_threads(database: &sled::Db) {
    static HELD: Once = Once::new();
    HELD.call_once(|| {
        let mut spare = threads().count().max(STARTED) - WRITERS;
        for _ in 0..ATTEMPTS {
            if spare == 0 {
                break;
            }
            spare -= usize::from(hold_one(database));
        }
    });
}

/// Whether a thread is held from now on.
fn hold_one(database: &sled::Db) -> bool {
    let hold = Arc::new(Hold(Barrier::new(2)));
    let waker = Waker::from(Arc::clone(&hold));
    let is_held = pin!(database.flush_async()).poll(&mut Context::from_waker(&waker)) == Poll::Pending;
    if is_held {
        hold.0.wait();
    }
    is_held
}

/// Both the thread that is held and the one that holds it come to the barrier.
struct Hold(Barrier);

impl Wake for Hold {
    fn wake(self: Arc<Self>) {
        self.0.wait();
        loop {
            thread::park();
        }
    }
}

/// The directories in which the system tells of sled's threads.
fn threads() -> impl Iterator<Item = std::path::PathBuf> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten().map(|task| task.path());
    tasks.filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("sled-io-")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::database::{Database, Settings};
    use crate::log::Durability;

    /// How often each thread has waited for something.
    fn waits() -> BTreeMap<PathBuf, u64> {
        let count = |task: &PathBuf| {
            let status = fs::read_to_string(task.join("status")).unwrap();
            let mut counts = status.lines().filter_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            counts.next().unwrap().trim().parse().unwrap()
        };
        threads().map(|task| (task.clone(), count(&task))).collect()
    }

    #[test]
    fn two_of_the_threads_of_sled_write_and_the_others_are_not_woken() {
        const FLUSHES: u32 = 200;
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            durability: Durability::Os,
            cache_bytes: 1 << 20,
            segment_bytes: 512 << 10,
            keep_tail: false,
            read_ahead: false,
        };
        let database = Database::open(&directory.path().join("database"), settings).unwrap();
        let before = waits();
        for key in 0..FLUSHES {
            database.put(&key.to_be_bytes(), b"value").unwrap();
            database.flush(Durability::Os).unwrap();
        }
        let after = waits();
        assert!(after.len() >= STARTED, "{after:?}");
        // One that is held may have come to rest since.
        let often = |(task, waits): &(&PathBuf, &u64)| {
            **waits > before.get(*task).unwrap_or(&0) + u64::from(FLUSHES) / 10
        };
        let woken = after.iter().filter(often).count();
        assert!((1..=WRITERS).contains(&woken), "{before:?} {after:?}");
    }
}
