//! Folds the journal into the engine at a start. Storage reads groups ahead on a thread of its own, another unpacks them, and
//! the caller's folds: a start takes as long as the slowest of the three. It knows nothing of records.

use std::panic;
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded};
use engine::Engine;
use storage::journal::Recovery;

use crate::packing::{self, UnpackError};
use crate::store::StoreStartError;

/// Groups travel together until they are this large: a journal of a quiet time is made of very small ones.
const BATCH_OCTETS: usize = 1 << 20;
/// Batches unpacked ahead, beside the one being made and the one being folded.
const BATCHES_AHEAD: usize = 2;

/// Unpacked groups, one behind the other.
#[derive(Default)]
struct Batch {
    /// It only grows: what is behind the last end is of an earlier use.
    room: Vec<u8>,
    /// The number of each group, and where it ends.
    groups: Vec<(u64, usize)>,
}

impl Batch {
    fn octets(&self) -> usize {
        self.groups.last().map_or(0, |(_, end)| *end)
    }

    fn clear(&mut self) {
        self.groups.clear();
    }
}

/// Folds all groups, and shows the records of each to `look`; the number that the next one gets.
pub fn fold(
    recovery: Recovery,
    engine: &mut Engine,
    mut look: impl FnMut(&[u8]),
) -> Result<u64, StoreStartError> {
    let (sender, batches) = bounded(BATCHES_AHEAD);
    let (give_back, used) = bounded(BATCHES_AHEAD + 2);
    thread::scope(move |scope| {
        let unpacking = scope.spawn(move || unpack(recovery, &sender, &used));
        let mut next_group = 1;
        for mut batch in batches {
            next_group = fold_batch(&batch, engine, &mut look)?.unwrap_or(next_group);
            batch.clear();
            let _ = give_back.try_send(batch);
        }
        unpacking.join().unwrap_or_else(|cause| panic::resume_unwind(cause))?;
        Ok(next_group)
    })
}

fn fold_batch(
    batch: &Batch,
    engine: &mut Engine,
    look: &mut impl FnMut(&[u8]),
) -> Result<Option<u64>, StoreStartError> {
    let mut begin = 0;
    for (number, end) in &batch.groups {
        let records = batch.room.get(begin..*end).unwrap_or_default();
        look(records);
        engine.replay(*number, records)?;
        begin = *end;
    }
    Ok(batch.groups.last().map(|(number, _)| number + 1))
}

/// Ends early when nobody takes batches any more.
fn unpack(
    mut recovery: Recovery,
    batches: &Sender<Batch>,
    used: &Receiver<Batch>,
) -> Result<(), StoreStartError> {
    let mut batch = Batch::default();
    while let Some(group) = recovery.next_group()? {
        let begin = batch.octets();
        let end = packing::unpack_at(&group.records, &mut batch.room, begin)
            .map_err(|error| cannot_unpack(group.number, error))?;
        batch.groups.push((group.number, end));
        if batch.octets() >= BATCH_OCTETS {
            let next = used.try_recv().unwrap_or_default();
            if batches.send(std::mem::replace(&mut batch, next)).is_err() {
                return Ok(());
            }
        }
    }
    let _ = batches.send(batch);
    Ok(())
}

fn cannot_unpack(group: u64, error: UnpackError) -> StoreStartError {
    match error {
        UnpackError::Damaged => StoreStartError::Group { group, error },
        UnpackError::Newer { .. } => StoreStartError::NewerGroup { group, error },
    }
}
