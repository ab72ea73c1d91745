//! Whether the parts of a store are of one moment: each may be whole, and an older one in the place of another. It opens none of them and
//! mends nothing.

use std::path::PathBuf;

use engine::Engine;
use engine::flushes::Flushes;
use engine::pages::order_of;
use storage::archive::{ArchiveError, Blocks, ReadBlocks};
use storage::layout::Layout;
use storage::parked::{ParkedBlocks, ReadParked};

use crate::{block, shelves};

/// What a store keeps beside the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Archive,
    Parked,
    LateIds,
}

impl Part {
    pub fn path(self, layout: &Layout) -> PathBuf {
        match self {
            Part::Archive => layout.archive(),
            Part::Parked => layout.parked(),
            Part::LateIds => layout.late_ids(),
        }
    }
}

/// A part that was flushed less often than the journal knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Older {
    pub part: Part,
    pub known: u64,
    pub found: u64,
}

/// What the parts count now.
pub fn flushes(
    archive: &dyn Blocks,
    parked: &dyn ParkedBlocks,
    late_ids: &dyn Blocks,
) -> Result<Flushes, ArchiveError> {
    let (archive, late_ids) = (archive.flushes()?, late_ids.flushes()?);
    Ok(Flushes { archive, parked: Some(parked.flushes()), late_ids })
}

/// The parts that lack what they were given, by what they count. Nothing may be wrong with them but that they are older ones.
pub fn older(known: Flushes, found: Flushes) -> impl Iterator<Item = Older> {
    let of_parked = known.parked.zip(found.parked);
    let all = [
        (Part::Archive, of_one_database(known.archive, found.archive)),
        (Part::Parked, of_parked),
        (Part::LateIds, of_one_database(known.late_ids, found.late_ids)),
    ];
    let all = all.into_iter().filter_map(|(part, counts)| Some((part, counts?)));
    all.filter(|(_, (known, found))| found < known).map(|(part, (known, found))| Older { part, known, found })
}

/// What is known and found of it, where both are about the same database.
fn of_one_database(known: Option<(u64, u64)>, found: Option<(u64, u64)>) -> Option<(u64, u64)> {
    let (known, found) = known.zip(found).filter(|(known, found)| known.0 == found.0)?;
    Some((known.1, found.1))
}

/// The parts whose newest database is not there: it was moved away, or they are older ones.
pub fn without_newest(known: Flushes, found: Flushes) -> impl Iterator<Item = Part> {
    let begin = |newest: Option<(u64, u64)>| newest.map(|(database, _)| database);
    let all =
        [(Part::Archive, known.archive, found.archive), (Part::LateIds, known.late_ids, found.late_ids)];
    all.into_iter().filter(move |(_, known, found)| begin(*found) < begin(*known)).map(|(part, ..)| part)
}

/// A part that has something of a block that the journal has not come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beyond {
    pub part: Part,
    pub block: u64,
}

/// A message is in the journal before it is anywhere else. So a journal that has not come to what the others have is an older one, with
/// which ids would be given twice.
pub fn beyond(archive: &dyn ReadBlocks, parked: &dyn ReadParked, engine: &Engine) -> Option<Beyond> {
    let last = last_of_shelves(archive, parked).into_iter().flatten().max_by_key(|(_, order)| *order);
    last.filter(|(_, order)| engine.is_beyond(*order)).map(|(beyond, _)| beyond)
}

/// The last block of each of the two, and the place of its last message in the order of numbers. What cannot be read for damage counts for
/// nothing, and is told where it is needed.
fn last_of_shelves(archive: &dyn ReadBlocks, parked: &dyn ReadParked) -> [Option<(Beyond, u64)>; 2] {
    let last = |part, block: u64, messages: Option<block::Messages>| {
        let orders = messages.into_iter().flatten().map(|(number, _)| order_of(number));
        Some((Beyond { part, block }, orders.max()?))
    };
    let archived = archive.last_block().ok().flatten();
    let waiting = parked.span().ok().flatten().map(|(_, last)| last);
    [
        archived.and_then(|block| last(Part::Archive, block, shelves::read(archive, block).ok())),
        waiting.and_then(|block| {
            let stored = parked.messages(block).ok().flatten()?;
            last(Part::Parked, block, block::messages(&stored).ok())
        }),
    ]
}
