//! One database of the archive as it is used: opened when it is asked for, closed again, gone, or damaged. It does not know
//! which blocks it has, only where the next ones will go.
//!
//! sled panics over damage, at any read. Here that is caught (`database::guarded`): the database counts as damaged from then
//! on, nobody touches it again, and the others go on.

use std::fs;
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{AMENDMENT, ArchiveError, NOTE, amendment_name, block_name};
use crate::database::{Database, Settings, guarded};
use crate::error::{OpenError, StoreError};
use crate::log::Durability;
use crate::places::Places;
use crate::witness::Witness;

const SETTINGS: Settings = Settings {
    durability: Durability::Fsync,
    cache_bytes: 8 << 20,
    segment_bytes: 2 << 20,
    keep_tail: false,
    zeros_ahead: false,
    read_ahead: false,
};

/// Amendments come for late blocks here and there, or for all of them in their order: places are for these, and cost more than they
/// save where they are not followed by their values.
const AMENDMENTS_IN_ORDER: u32 = 16;

pub(super) struct Slot {
    path: PathBuf,
    hold: Mutex<Hold>,
    /// Something of it could not be read.
    hurt: AtomicBool,
}

enum Hold {
    Closed,
    Open(Box<Open>),
    /// What was found; and whether what was written to it since its last flush may be gone, and nobody has been told.
    Damaged(String, bool),
    /// It has been retired.
    Gone,
}

pub(super) struct Open {
    pub database: Database,
    pub witness: Witness,
    blocks: Places,
    amendments: Places,
}

impl Open {
    pub fn make_places_behind_block(&mut self, block: u64, length: usize) -> Result<(), StoreError> {
        self.blocks.make(&self.database, (block, length), block_name, &[AMENDMENT])
    }

    /// However long this one is: others begin with one short piece.
    pub fn make_places_behind_amendment(&mut self, block: u64) -> Result<(), StoreError> {
        self.amendments.make(&self.database, (block, 0), amendment_name, &[NOTE])
    }
}

impl Slot {
    pub fn new(path: PathBuf) -> Slot {
        Slot { path, hold: Mutex::new(Hold::Closed), hurt: AtomicBool::new(false) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does `act` with the database, which is opened for it; `None` when it is gone. After an error that is damage it is used
    /// on, as other parts of it may be whole; after a panic, and when it does not open, it is not.
    pub fn with<T>(
        &self,
        act: impl FnOnce(&mut Open) -> Result<T, ArchiveError>,
    ) -> Result<Option<T>, ArchiveError> {
        let done = self.with_hold(&mut self.lock(), act);
        if done.as_ref().is_err_and(ArchiveError::is_damage) {
            self.hurt.store(true, Ordering::Relaxed);
        }
        done
    }

    fn with_hold<T>(
        &self,
        hold: &mut Hold,
        act: impl FnOnce(&mut Open) -> Result<T, ArchiveError>,
    ) -> Result<Option<T>, ArchiveError> {
        if matches!(hold, Hold::Closed) {
            match self.open() {
                Ok(open) => *hold = Hold::Open(Box::new(open)),
                Err(error) => {
                    if let OpenError::Damaged { place, .. } = &error {
                        found_damage(hold, place.clone());
                    }
                    return Err(error.into());
                }
            }
        }
        let open = match hold {
            Hold::Open(open) => open,
            Hold::Damaged(place, _) => return Err(StoreError::damaged(&self.path, place.clone()).into()),
            Hold::Closed | Hold::Gone => return Ok(None),
        };
        match guarded(&self.path, || act(open)) {
            Ok(done) => done.map(Some),
            Err(error) => {
                let error = error.into();
                found_damage(hold, place_of(&error));
                Err(error)
            }
        }
    }

    /// It did not take what was written to it: it is not used any more.
    pub fn give_up(&self, error: &ArchiveError) {
        let mut hold = self.lock();
        if matches!(*hold, Hold::Open(_)) {
            found_damage(&mut hold, place_of(error));
        }
    }

    /// The same if it is open.
    pub fn with_open(
        &self,
        act: impl FnOnce(&mut Open) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        if self.is_open() { self.with(act).map(drop) } else { Ok(()) }
    }

    /// Whether it was found damaged since it was last asked, and had been written to.
    pub fn take_loss(&self) -> bool {
        match &mut *self.lock() {
            Hold::Damaged(_, has_loss) => mem::take(has_loss),
            Hold::Closed | Hold::Open(_) | Hold::Gone => false,
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(*self.lock(), Hold::Open(_))
    }

    /// Whether something of it could not be read since the process began.
    pub fn is_damaged(&self) -> bool {
        self.hurt.load(Ordering::Relaxed)
    }

    pub fn close(&self) {
        let mut hold = self.lock();
        if matches!(*hold, Hold::Open(_)) {
            self.let_go(&mut hold, Hold::Closed);
        }
    }

    /// From now on it is not there. Who reads in it at this moment is waited for.
    pub fn retire(&self) {
        let mut hold = self.lock();
        self.let_go(&mut hold, Hold::Gone);
    }

    fn let_go(&self, hold: &mut Hold, then: Hold) {
        let before = mem::replace(hold, then);
        // sled writes when it is dropped; what was to be kept was flushed before.
        let _ = guarded(&self.path, || drop(before));
    }

    pub fn disk_bytes(&self) -> u64 {
        fs::metadata(self.path.join("db")).map_or(0, |file| file.blocks() * 512)
    }

    fn open(&self) -> Result<Open, OpenError> {
        guarded(&self.path, || {
            let database = Database::open(&self.path, SETTINGS)?;
            let witness = Witness::open(&database)?;
            let (blocks, amendments) = (Places::after(0), Places::after(AMENDMENTS_IN_ORDER));
            Ok(Open { database, witness, blocks, amendments })
        })?
    }

    fn lock(&self) -> MutexGuard<'_, Hold> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What sled has in memory of a damaged database is in an unknown state: it is neither used nor dropped, as that writes.
fn found_damage(hold: &mut Hold, place: String) {
    let was_open = matches!(hold, Hold::Open(_));
    mem::forget(mem::replace(hold, Hold::Damaged(place, was_open)));
}

fn place_of(damage: &ArchiveError) -> String {
    match damage {
        ArchiveError::Store(StoreError::Damaged { place, .. }) => place.clone(),
        other => other.to_string(),
    }
}
