//! The parked store as the archive's thread drives it: blocks joined with what is there, and taken apart again. It decides
//! nothing: what is parked when is the engine's.

use std::sync::Arc;

use engine::effect::ParkWrite;
use engine::pages::place_of;
use engine::parking::row::{merge_rows, places};
use storage::StoreError;
use storage::archive::ArchiveError;
use storage::parked::{ParkedBlock, ParkedBlocks, ReadParked};

use crate::block::{self, BlockWriter, Messages};
use crate::shelves::ReadError;

/// Why the archive or the parked store cannot be used any more. The journal or the store itself still has every message.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the rows of block {block} in the parked store cannot be read")]
    Rows { block: u64 },
    #[error("the messages of block {block} in the parked store cannot be read")]
    Messages { block: u64 },
}

pub struct ParkedShelf {
    store: Box<dyn ParkedBlocks>,
    reader: Arc<dyn ReadParked>,
    writer: BlockWriter,
}

impl ParkedShelf {
    pub fn new(store: Box<dyn ParkedBlocks>) -> ParkedShelf {
        ParkedShelf { reader: store.reader(), store, writer: BlockWriter::quick() }
    }

    /// Adds messages to what is kept of their block.
    pub fn park(&mut self, write: &ParkWrite) -> Result<(), ShelfError> {
        let stored = self.store.read(write.block)?.unwrap_or_default();
        let rows = merge_rows(&stored.rows, &write.rows, 0).ok_or(ShelfError::Rows { block: write.block })?;
        let mut messages = read(write.block, &stored.messages)?;
        for message in &write.messages {
            if let Some(number) = engine::message::number_of(message) {
                messages.insert(number, message.clone());
            }
        }
        self.write(write.block, rows, messages)
    }

    /// Removes messages of a block, bit 0 the first: they are in the archive. Their rows go at once, which is what counts; the
    /// messages are written again without them only when about half of them are gone. Where they are `all`, nothing is read.
    pub fn unpark(&mut self, block: u64, gone: u64, all: bool) -> Result<(), ShelfError> {
        if all {
            return Ok(self.store.remove(block)?);
        }
        let unreadable = ShelfError::Rows { block };
        let Some(older) = self.store.rows(block)? else { return Ok(self.store.remove(block)?) };
        let Some((had, rows)) = places(&older).zip(merge_rows(&older, &[], gone)) else {
            return Err(unreadable);
        };
        let left = had & !gone;
        if left == 0 {
            return Ok(self.store.remove(block)?);
        }
        if left.count_ones().ilog2() == had.count_ones().ilog2() {
            return Ok(self.store.write_rows(block, &rows)?);
        }
        let stored = self.reader.messages(block)?.unwrap_or_default();
        self.write(block, rows, read(block, &stored)?)
    }

    fn write(&mut self, block: u64, rows: Vec<u8>, mut messages: Messages) -> Result<(), ShelfError> {
        // A message without a row is what a crash between two writes has left.
        let kept = places(&rows).ok_or(ShelfError::Rows { block })?;
        messages.retain(|number, _| kept & (1 << place_of(*number)) != 0);
        let messages: Vec<&[u8]> = messages.values().map(Vec::as_slice).collect();
        let messages = self.writer.block(&messages).to_vec();
        Ok(self.store.write(block, &ParkedBlock { rows, messages })?)
    }

    pub fn messages(&self, block: u64) -> Result<Vec<Vec<u8>>, ShelfError> {
        let stored = self.reader.messages(block)?.unwrap_or_default();
        Ok(read(block, &stored)?.into_values().collect())
    }

    pub fn flush(&mut self) -> Result<(), ShelfError> {
        Ok(self.store.flush()?)
    }

    pub fn flushes(&self) -> u64 {
        self.store.flushes()
    }

    pub fn mark(&mut self) -> Result<(), ShelfError> {
        Ok(self.store.mark()?)
    }
}

fn read(block: u64, stored: &[u8]) -> Result<Messages, ShelfError> {
    block::messages(stored).map_err(|_| ShelfError::Messages { block })
}
