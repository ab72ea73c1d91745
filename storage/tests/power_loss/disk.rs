//! What a disk may hold after the power failed: all that was synced, and any part of the rest. It knows nothing of what the
//! files mean.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::dice::Dice;
use crate::trace::{Call, FileNumber, What};

/// Of a write that was not synced each of these may be there or not; a page now and then only in part.
const PAGE: u64 = 4096;
const SECTOR: u64 = 512;

/// How much of what was not synced is there, in percent.
const SHARES: [u64; 5] = [0, 10, 50, 90, 100];

#[derive(Default)]
struct Image {
    contents: BTreeMap<FileNumber, Vec<u8>>,
    names: BTreeMap<PathBuf, FileNumber>,
    directories: BTreeSet<PathBuf>,
}

/// Writes to `to` what the disk below `root` may hold if the power fails when the trace is at `place`.
pub fn after_power_loss(calls: &[Call], place: usize, dice: &mut Dice, root: &Path, to: &Path) {
    let mut image = Image::default();
    let (names, contents) = (SHARES[dice.below(5) as usize], SHARES[dice.below(5) as usize]);
    let piece = if dice.below(3) == 0 { SECTOR } else { PAGE };
    for call in calls.iter().filter(|call| call.issued < place) {
        let is_durable = call.durable < place;
        match &call.what {
            What::Write { file, offset, bytes } => {
                image.write(*file, *offset, bytes, piece, &mut || is_durable || dice.below(100) < contents);
            }
            What::Truncate { file, length } if is_durable || dice.below(100) < contents => {
                image.contents.entry(*file).or_default().resize(*length as usize, 0);
            }
            what if is_durable || dice.below(100) < names => image.name(what),
            _ => {}
        }
    }
    image.write_out(root, to);
}

impl Image {
    fn write(
        &mut self,
        file: FileNumber,
        offset: u64,
        bytes: &[u8],
        piece: u64,
        is_there: &mut dyn FnMut() -> bool,
    ) {
        let content = self.contents.entry(file).or_default();
        let mut begin = 0;
        while begin < bytes.len() {
            let at = offset as usize + begin;
            let length = (piece as usize - at % piece as usize).min(bytes.len() - begin);
            if is_there() {
                if content.len() < at + length {
                    content.resize(at + length, 0);
                }
                content[at..at + length].copy_from_slice(&bytes[begin..begin + length]);
            }
            begin += length;
        }
    }

    fn name(&mut self, what: &What) {
        match what {
            What::Create { path, file } => drop(self.names.insert(path.clone(), *file)),
            What::Directory { path } => drop(self.directories.insert(path.clone())),
            What::Rename { from, to, file } => {
                if self.names.get(from) == Some(file) {
                    self.names.remove(from);
                }
                self.names.insert(to.clone(), *file);
            }
            What::RenameDirectory { from, to } if self.directories.contains(from) => {
                let moved =
                    |path: PathBuf| path.strip_prefix(from).map(|rest| to.join(rest)).unwrap_or(path.clone());
                self.directories = std::mem::take(&mut self.directories).into_iter().map(moved).collect();
                let names = std::mem::take(&mut self.names).into_iter();
                self.names = names.map(|(path, file)| (moved(path), file)).collect();
            }
            // One in which something is left cannot go.
            What::RemoveDirectory { path } if !self.names.keys().any(|name| name.starts_with(path)) => {
                self.directories.remove(path);
            }
            What::Unlink { path, file } if self.names.get(path) == Some(file) => {
                self.names.remove(path);
            }
            _ => {}
        }
    }

    /// A name whose directory is not there is not there either.
    fn write_out(&self, root: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        let is_there = |path: &Path| {
            path.ancestors()
                .skip(1)
                .take_while(|above| *above != root)
                .all(|above| self.directories.contains(above))
        };
        for path in self.directories.iter().filter(|path| is_there(path)) {
            fs::create_dir_all(to.join(path.strip_prefix(root).unwrap())).unwrap();
        }
        for (path, file) in self.names.iter().filter(|(path, _)| is_there(path)) {
            let content = self.contents.get(file).map_or(&[][..], Vec::as_slice);
            fs::write(to.join(path.strip_prefix(root).unwrap()), content).unwrap();
        }
    }
}
