//! Asks the kernel for whole files in their own order, while others read them in theirs: a disk is fastest that way.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::thread;

use rustix::fs::{Advice, fadvise};

/// What is asked for at once; the kernel makes who asks wait while its queue is full.
const STEP: NonZeroU64 = NonZeroU64::new(8 << 20).unwrap();

/// Begins, and returns at once. It is only advice: what goes wrong with it is seen by who reads.
pub(crate) fn read(files: Vec<File>) -> io::Result<()> {
    thread::Builder::new().name("read-ahead".into()).spawn(move || {
        for file in files {
            let length = file.metadata().map_or(0, |metadata| metadata.len());
            for offset in (0..length).step_by(STEP.get() as usize) {
                if fadvise(&file, offset, Some(STEP), Advice::WillNeed).is_err() {
                    return;
                }
            }
        }
    })?;
    Ok(())
}
