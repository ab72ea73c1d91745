//! Places for values that come in about the order of their blocks' numbers, made before them: why is among the rules of
//! `database`. It knows what the values are called and nothing of what is in them.

use crate::database::{Database, PLACES_OF_LEAF};
use crate::error::StoreError;
use crate::pieces;

/// Blocks behind the one that is written of which each has a place at least.
const AHEAD: u64 = 2 * PLACES_OF_LEAF as u64;
/// What a value is thought to have at most, where the one before it has more.
const LENGTH_AHEAD: usize = 64 << 10;
/// Blocks that the next one may be away from the one before it.
const STEP_MAX: u64 = 8;

/// The places of one kind of values of a database.
#[derive(Debug)]
pub(crate) struct Places {
    /// So many values come one after the other before there are places for more.
    run_min: u32,
    /// How many have come so, and for which block the last one did.
    run: u32,
    last: u64,
    /// Up to which block there are places.
    to: u64,
}

impl Places {
    pub fn after(run_min: u32) -> Places {
        Places { run_min, run: 0, last: 0, to: 0 }
    }

    /// A value of a block is to be written, of this length: makes places for those of the blocks behind it. `name` says what they
    /// are called, and `end` is behind the names of all of them.
    pub fn make<const N: usize>(
        &mut self,
        database: &Database,
        (block, length): (u64, usize),
        name: impl Fn(u64) -> [u8; N],
        end: &[u8],
    ) -> Result<(), StoreError> {
        self.run = match block.abs_diff(std::mem::replace(&mut self.last, block)) {
            // The same one again says nothing of those behind it.
            0 => self.run,
            1..=STEP_MAX => self.run.saturating_add(1),
            _ => 0,
        };
        if self.run < self.run_min || block.saturating_add(AHEAD) < self.to {
            return Ok(());
        }
        // Behind a late block there are others: places among them would have their leaves written again. A block that has a
        // place is no late one.
        if block >= self.to {
            let behind = database.first_key_from(&name(block.saturating_add(1)))?;
            if behind.is_some_and(|behind| behind.as_slice() < end) {
                return Ok(());
            }
        }
        let length = length.min(LENGTH_AHEAD);
        // After a start it is not known how far they go; making them again changes nothing.
        let from = if self.to.abs_diff(block) <= AHEAD { self.to } else { block };
        self.to = block.saturating_add(2 * AHEAD);
        for block in from..self.to {
            pieces::make_places(database, &name(block), length)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::TEST_SETTINGS;
    use crate::log::Durability;

    const LENGTH: usize = 2_000;

    fn name(block: u64) -> [u8; 9] {
        let mut name = [7; 9];
        name[1..].copy_from_slice(&block.to_be_bytes());
        name
    }

    /// A database in which values of these blocks were written one after the other, and up to where it then has places.
    fn written(blocks: impl IntoIterator<Item = u64>, mut places: Option<Places>) -> (f64, u64) {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path(), TEST_SETTINGS).unwrap();
        let mut octets = 0;
        for block in blocks {
            if let Some(places) = &mut places {
                places.make(&database, (block, LENGTH), name, &[8]).unwrap();
            }
            pieces::put(&database, &name(block), &[block as u8; LENGTH]).unwrap();
            octets += LENGTH;
        }
        database.flush(Durability::Os).unwrap();
        (database.written_bytes() as f64 / octets as f64, places.map_or(0, |places| places.to))
    }

    #[test]
    fn with_places_values_that_come_in_order_are_written_less_often() {
        let blocks = || (0..4_000).map(|index: u64| index ^ 3);
        let ((with, to), (without, _)) =
            (written(blocks(), Some(Places::after(16))), written(blocks(), None));
        assert!(to > 4_000, "{to}");
        assert!(with < 2.0 && without > 1.5 * with, "{with} times with places, {without} without");
    }

    #[test]
    fn there_are_no_places_behind_what_comes_here_and_there_or_among_others() {
        let strays = (0..100).map(|index| index * 9);
        assert_eq!(written(strays, Some(Places::after(16))).1, 0);
        let back = (0..100).map(|index| 9_000 - index * 9);
        assert_eq!(written(back, Some(Places::after(16))).1, 0);
        let among_others = [500, 20, 60].into_iter().chain(100..160);
        assert_eq!(written(among_others, Some(Places::after(16))).1, 0);
        assert_eq!(written([500; 40], Some(Places::after(16))).1, 0, "one that grows");
        assert!(written([500], Some(Places::after(0))).1 > 500, "the first of all");
    }
}
