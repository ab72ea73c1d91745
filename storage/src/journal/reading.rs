//! Reads the groups of a log on a thread of its own, ahead of who folds them, and judges each by itself. It holds few of
//! them at a time, and leaves to `recovery` whether they follow each other.

use std::io;
use std::ops::ControlFlow;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};
use std::vec;

use super::format::{Assembler, Whole};
use super::recovery::refuse_newer;
use crate::error::OpenError;
use crate::log::Log;

/// Groups travel together until they are this large: a journal of a quiet time is made of very small ones.
const BATCH_BYTES: usize = 1 << 20;
/// What is read ahead, beside the batch being made and the one being taken.
const BATCHES_AHEAD: usize = 2;

type Outcome = (Box<dyn Log>, Result<(), OpenError>);

/// The groups `first..=last` of a log, in order.
pub(super) struct Reading {
    batches: Option<Receiver<Vec<Whole>>>,
    batch: vec::IntoIter<Whole>,
    thread: Option<JoinHandle<Outcome>>,
}

impl Reading {
    pub(super) fn start(log: Box<dyn Log>, path: &Path, first: u64, last: u64) -> io::Result<Reading> {
        let (sender, batches) = mpsc::sync_channel(BATCHES_AHEAD);
        let reader = Reader { path: path.to_owned(), batch: Vec::new(), batch_bytes: 0, sender };
        let thread = thread::Builder::new().name("journal-reader".into()).spawn(move || {
            let read = reader.read(log.as_ref(), first, last);
            (log, read)
        })?;
        Ok(Reading { batches: Some(batches), batch: Vec::new().into_iter(), thread: Some(thread) })
    }

    /// The next group; `None` once all are read or one is not as it must be, which `finish` tells apart.
    pub(super) fn next(&mut self) -> Option<Whole> {
        loop {
            if let Some(whole) = self.batch.next() {
                return Some(whole);
            }
            self.batch = self.batches.as_ref()?.recv().ok()?.into_iter();
        }
    }

    /// Ends the thread: the log, or what is wrong with it. `None` if it was asked before.
    pub(super) fn finish(&mut self) -> Option<Result<Box<dyn Log>, OpenError>> {
        drop(self.batches.take());
        let (log, read) = self.thread.take()?.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
        Some(read.map(|()| log))
    }
}

impl Drop for Reading {
    /// The log is closed, and its lock free, when this has gone.
    fn drop(&mut self) {
        drop(self.batches.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Reader {
    path: PathBuf,
    batch: Vec<Whole>,
    batch_bytes: usize,
    sender: SyncSender<Vec<Whole>>,
}

impl Reader {
    fn read(mut self, log: &dyn Log, first: u64, last: u64) -> Result<(), OpenError> {
        let mut number = first;
        let mut assembler = Assembler::default();
        let mut wrong = None;
        let path = self.path.clone();
        let damaged = |place: String| OpenError::damaged(&path, place);
        let mut visit = |group: u64, chunk: u32, bytes: &[u8]| {
            if group != number {
                wrong = Some(damaged(format!("group {number}: it is missing, or its commit chunk")));
                return ControlFlow::Break(());
            }
            if let Err(newer) = refuse_newer(&path, bytes) {
                wrong = Some(newer);
                return ControlFlow::Break(());
            }
            match assembler.take(group, chunk, bytes) {
                Ok(None) => ControlFlow::Continue(()),
                Ok(Some(whole)) => {
                    number += 1;
                    let taken = self.hand_over(whole);
                    if number > last { ControlFlow::Break(()) } else { taken }
                }
                Err(place) => {
                    wrong = Some(damaged(place));
                    ControlFlow::Break(())
                }
            }
        };
        if first <= last {
            log.read_from(first, &mut visit)?;
            if wrong.is_none() && number <= last {
                wrong = Some(damaged(format!("group {number}: its commit chunk is missing")));
            }
        }
        let _ = self.send();
        wrong.map_or(Ok(()), Err)
    }

    fn hand_over(&mut self, whole: Whole) -> ControlFlow<()> {
        self.batch_bytes += whole.records.len();
        self.batch.push(whole);
        if self.batch_bytes < BATCH_BYTES { ControlFlow::Continue(()) } else { self.send() }
    }

    /// Breaks when nobody takes groups any more.
    fn send(&mut self) -> ControlFlow<()> {
        self.batch_bytes = 0;
        match self.sender.send(std::mem::take(&mut self.batch)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}
