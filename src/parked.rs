//! The parked store as the archive's thread drives it: blocks joined with what is there, and taken apart again. It decides
//! nothing: what is parked when is the engine's.

use std::collections::BTreeMap;

use engine::effect::ParkWrite;
use engine::pages::place_of;
use engine::parking::row::{merge_rows, places};
use storage::StoreError;
use storage::parked::{Parked, ParkedBlock, ParkedReader};

use crate::history::{encode, unpack};
use crate::packing;

/// Why the parked store cannot be used any more. The journal or the store itself still has every message.
#[derive(Debug, thiserror::Error)]
pub enum ParkedError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the rows of block {block} in the parked store cannot be read")]
    Rows { block: u64 },
}

pub struct ParkedShelf {
    store: Parked,
    packed: Vec<u8>,
}

impl ParkedShelf {
    pub fn new(store: Parked) -> ParkedShelf {
        ParkedShelf { store, packed: Vec::new() }
    }

    pub fn reader(&self) -> ParkedReader {
        self.store.reader()
    }

    /// Adds messages to what is kept of their block.
    pub fn park(&mut self, write: &ParkWrite) -> Result<(), ParkedError> {
        let stored = self.store.read(write.block)?.unwrap_or_default();
        let rows =
            merge_rows(&stored.rows, &write.rows, 0).ok_or(ParkedError::Rows { block: write.block })?;
        let mut messages = unpack(&stored.messages);
        for message in &write.messages {
            if let Some(number) = engine::message::number_of(message) {
                messages.insert(number, message.clone());
            }
        }
        self.write(write.block, rows, messages)
    }

    /// Removes messages of a block, bit 0 the first: they are in the archive.
    pub fn unpark(&mut self, block: u64, gone: u64) -> Result<(), ParkedError> {
        let Some(stored) = self.store.read(block)? else { return Ok(()) };
        let rows = merge_rows(&stored.rows, &[], gone).ok_or(ParkedError::Rows { block })?;
        if rows.is_empty() {
            return Ok(self.store.remove(block)?);
        }
        self.write(block, rows, unpack(&stored.messages))
    }

    fn write(
        &mut self,
        block: u64,
        rows: Vec<u8>,
        mut messages: BTreeMap<u64, Vec<u8>>,
    ) -> Result<(), ParkedError> {
        // A message without a row is what a crash between two writes has left.
        let kept = places(&rows).ok_or(ParkedError::Rows { block })?;
        messages.retain(|number, _| kept & (1 << place_of(*number)) != 0);
        packing::pack(&encode(messages.values().map(Vec::as_slice)), &mut self.packed);
        let messages = std::mem::take(&mut self.packed);
        let parked = ParkedBlock { rows, messages };
        self.store.write(block, &parked)?;
        self.packed = parked.messages;
        Ok(())
    }

    pub fn messages(&self, block: u64) -> Result<Vec<Vec<u8>>, ParkedError> {
        let stored = self.store.read(block)?.unwrap_or_default();
        Ok(unpack(&stored.messages).into_values().collect())
    }

    pub fn flush(&mut self) -> Result<(), ParkedError> {
        Ok(self.store.flush()?)
    }

    pub fn mark(&mut self) -> Result<(), ParkedError> {
        Ok(self.store.mark()?)
    }
}
