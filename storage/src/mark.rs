//! The side file: the number of a group that is known to be on the disk, written once a second, and the stamp by which the
//! journal's chunks are known. It knows no journal.
//!
//! sled takes a damaged tail for a torn one and cuts it without a word; this number, kept outside of sled, is what tells
//! the two apart. Two slots are written in turn, so that one torn by a crash leaves the other. The stamp is there twice.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::database::sync_directory;

const MAGIC: [u8; 4] = *b"TgFl";
const SLOT_BYTES: usize = 16;
const SLOT_OFFSETS: [u64; 2] = [0, 512];
const STAMP_MAGIC: [u8; 4] = *b"TgSt";
const STAMP_OFFSETS: [u64; 2] = [256, 768];

pub const STAMP_BYTES: usize = 8;
/// Random octets that nobody is told.
pub type Stamp = [u8; STAMP_BYTES];

/// The octets of a side file: a file on the disk, or what a simulation has in its place.
pub trait SideFile: Send {
    fn read(&self, offset: u64, octets: &mut [u8]) -> io::Result<()>;
    fn write(&mut self, offset: u64, octets: &[u8]) -> io::Result<()>;
    /// Returns when what was written is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

impl SideFile for File {
    fn read(&self, offset: u64, octets: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(octets, offset)
    }

    fn write(&mut self, offset: u64, octets: &[u8]) -> io::Result<()> {
        self.write_all_at(octets, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

pub(crate) struct Mark {
    file: Box<dyn SideFile>,
    number: u64,
    next_slot: usize,
}

impl Mark {
    /// A new side file that promises nothing yet. It gets its name when it is whole, or a start that was interrupted here
    /// would be the last one.
    pub(crate) fn create(path: &Path) -> io::Result<Mark> {
        let unfinished = path.with_extension("part");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&unfinished)?;
        let mark = Mark::begin(Box::new(file))?;
        fs::rename(unfinished, path)?;
        sync_directory(path.parent().unwrap_or(Path::new("/")))?;
        Ok(mark)
    }

    /// A side file that was just made and promises nothing yet.
    pub(crate) fn begin(file: Box<dyn SideFile>) -> io::Result<Mark> {
        let mut mark = Mark { file, number: 0, next_slot: 0 };
        mark.write(0)?;
        mark.write(0)?;
        Ok(mark)
    }

    /// The side file that is there; `None` if neither slot checks.
    pub(crate) fn open(path: &Path) -> io::Result<Option<Mark>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Mark::read(Box::new(file)))
    }

    /// What a side file promises; `None` if neither slot checks.
    pub(crate) fn read(file: Box<dyn SideFile>) -> Option<Mark> {
        let numbers = read_numbers(file.as_ref());
        let number = numbers.iter().flatten().copied().max()?;
        let next_slot = usize::from(numbers.first() == Some(&Some(number)));
        Some(Mark { file, number, next_slot })
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Keeps `number`, durably.
    pub(crate) fn write(&mut self, number: u64) -> io::Result<()> {
        self.file.write(SLOT_OFFSETS[self.next_slot], &slot(MAGIC, number.to_be_bytes()))?;
        self.file.sync()?;
        self.number = number;
        self.next_slot = 1 - self.next_slot;
        Ok(())
    }

    /// The stamp that was kept, if one of its two copies checks.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        read_stamps(self.file.as_ref()).into_iter().flatten().next()
    }

    /// Keeps `stamp`, twice and durably.
    pub(crate) fn keep_stamp(&mut self, stamp: Stamp) -> io::Result<()> {
        if read_stamps(self.file.as_ref()) == [Some(stamp); 2] {
            return Ok(());
        }
        for offset in STAMP_OFFSETS {
            self.file.write(offset, &slot(STAMP_MAGIC, stamp))?;
        }
        self.file.sync()
    }
}

/// What a side file says that is not to be changed: the number, and the stamp. None of what does not check or is not there.
pub(crate) fn look(path: &Path) -> io::Result<(Option<u64>, Option<Stamp>)> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, None)),
        opened => opened?,
    };
    Ok((read_numbers(&file).into_iter().flatten().max(), read_stamps(&file).into_iter().flatten().next()))
}

fn read_numbers(file: &dyn SideFile) -> [Option<u64>; 2] {
    SLOT_OFFSETS.map(|offset| read_slot(file, MAGIC, offset).map(u64::from_be_bytes))
}

fn read_stamps(file: &dyn SideFile) -> [Option<Stamp>; 2] {
    STAMP_OFFSETS.map(|offset| read_slot(file, STAMP_MAGIC, offset))
}

fn slot(magic: [u8; 4], body: [u8; 8]) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..4].copy_from_slice(&magic);
    slot[4..8].copy_from_slice(&crc32c::crc32c(&body).to_be_bytes());
    slot[8..].copy_from_slice(&body);
    slot
}

fn read_slot(file: &dyn SideFile, magic: [u8; 4], offset: u64) -> Option<[u8; 8]> {
    let mut slot = [0; SLOT_BYTES];
    file.read(offset, &mut slot).ok()?;
    let (found, rest) = slot.split_first_chunk::<4>()?;
    let (crc, body) = rest.split_first_chunk::<4>()?;
    let valid = *found == magic && u32::from_be_bytes(*crc) == crc32c::crc32c(body);
    body.try_into().ok().filter(|_| valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_number_is_kept_and_one_broken_slot_leaves_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flushed");
        let mut mark = Mark::create(&path).unwrap();
        for number in [7, 8, 9] {
            mark.write(number).unwrap();
            assert_eq!(Mark::open(&path).unwrap().unwrap().number(), number);
        }

        let newest_slot = SLOT_OFFSETS[1 - mark.next_slot];
        mark.file.write(newest_slot + 9, &[0xFF]).unwrap();
        let mut mark = Mark::open(&path).unwrap().unwrap();
        assert_eq!(mark.number(), 8);

        mark.write(10).unwrap();
        assert_eq!(Mark::open(&path).unwrap().unwrap().number(), 10, "the broken slot is written next");
    }

    #[test]
    fn a_stamp_is_kept_beside_the_numbers_and_one_of_its_copies_is_enough() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flushed");
        let mut mark = Mark::create(&path).unwrap();
        assert_eq!(mark.stamp(), None);
        mark.keep_stamp(*b"a stamp!").unwrap();
        for (number, spoiled) in [(1, None), (2, Some(STAMP_OFFSETS[0])), (3, Some(STAMP_OFFSETS[1]))] {
            mark.write(number).unwrap();
            if let Some(offset) = spoiled {
                mark.file.write(offset + 9, &[0xFF]).unwrap();
            }
            mark = Mark::open(&path).unwrap().unwrap();
            let stamp = (number < 3).then_some(*b"a stamp!");
            assert_eq!((mark.number(), mark.stamp()), (number, stamp));
            assert_eq!(look(&path).unwrap(), (Some(number), stamp));
        }
        mark.keep_stamp(*b"a stamp!").unwrap();
        assert_eq!(read_stamps(mark.file.as_ref()), [Some(*b"a stamp!"); 2]);
        assert_eq!(look(&directory.path().join("none")).unwrap(), (None, None));
    }

    #[test]
    fn a_side_file_without_a_valid_slot_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flushed");
        for bytes in [vec![], vec![0; 600], vec![0xFF; 528]] {
            std::fs::write(&path, &bytes).unwrap();
            assert!(Mark::open(&path).unwrap().is_none(), "{} bytes", bytes.len());
        }
    }
}
