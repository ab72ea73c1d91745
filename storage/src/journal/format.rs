//! The bytes of a group: how records are cut into chunks, and how chunks become a group again. Pure; no files.
//!
//! ```text
//! every chunk                          the commit chunk, which is the last of its group, goes on with
//!  0  magic                4           36  chunks of the group          4
//!  4  crc32c of the rest   4           40  length of the records        4
//!  8  group                8           44  crc32c of the group before   4
//! 16  chunk, from 0        4           48  first group of the ring      8
//! 20  crc32c of the group  4           56  data
//! 24  length of its data   2
//! 26  kind (0 or 1=commit) 1
//! 27  0                    1
//! 28  stamp of the journal 8
//! 36  data
//! ```
//!
//! Numbers are big endian. A chunk says itself what it is and checks by itself, so that it can be found in a file that
//! sled no longer reads. What strangers write stands in such a file as it is, and may look like a chunk: the stamp, which they
//! do not know, tells the two apart. Chunks of version 1 have none. The crc32c of a group covers its records only.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use crate::log::{CHUNK_FULL, LogError};
use crate::mark::{STAMP_BYTES, Stamp};

/// The version of the chunk follows it.
pub(super) const MAGIC: [u8; 3] = [0xF7, b'T', b'g'];
pub(super) const VERSION: u8 = 2;
const UNSTAMPED: u8 = 1;

const HEADER: usize = 28 + STAMP_BYTES;
const COMMIT_HEADER: usize = HEADER + 20;
const INNER_DATA: usize = CHUNK_FULL - HEADER;
const COMMIT_DATA: usize = CHUNK_FULL - COMMIT_HEADER;

/// What a commit chunk says of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Commit {
    pub chunks: u32,
    pub length: u32,
    pub previous_crc: u32,
    /// The oldest group of the ring when this one was written. Older ones may be gone, or gone in part.
    pub ring_start: u64,
}

/// A chunk that has been read and checked by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View<'a> {
    pub group: u64,
    pub chunk: u32,
    pub group_crc: u32,
    /// `None` in version 1.
    pub stamp: Option<Stamp>,
    pub commit: Option<Commit>,
    pub data: &'a [u8],
}

impl View<'_> {
    /// How long the chunk is.
    pub(super) fn length(&self) -> usize {
        let before = if self.stamp.is_some() { 0 } else { STAMP_BYTES };
        let header = if self.commit.is_some() { COMMIT_HEADER } else { HEADER };
        header.saturating_sub(before).saturating_add(self.data.len())
    }
}

/// How many chunks records of this length take.
pub(super) fn chunk_count(length: usize) -> u32 {
    let before_commit = length.saturating_sub(COMMIT_DATA).div_ceil(INNER_DATA);
    u32::try_from(before_commit).unwrap_or(u32::MAX).saturating_add(1)
}

/// Cuts a group and hands its chunks to `write`, in order. Returns the group's crc32c.
pub(super) fn write_group(
    group: u64,
    records: &[u8],
    previous_crc: u32,
    ring_start: u64,
    stamp: Stamp,
    mut write: impl FnMut(u32, &[u8]) -> Result<(), LogError>,
) -> Result<u32, LogError> {
    let group_crc = crc32c::crc32c(records);
    let chunks = chunk_count(records.len());
    let commit =
        Commit { chunks, length: records.len().try_into().unwrap_or(u32::MAX), previous_crc, ring_start };
    let mut buffer = Vec::with_capacity(CHUNK_FULL);
    let mut rest = records;
    for chunk in 0..chunks {
        let last = chunk == chunks.saturating_sub(1);
        let (data, behind) = rest.split_at(if last { rest.len() } else { INNER_DATA.min(rest.len()) });
        rest = behind;
        let stamp = Some(stamp);
        let view = View { group, chunk, group_crc, stamp, commit: last.then_some(commit), data };
        encode(&view, &mut buffer);
        write(chunk, &buffer)?;
    }
    Ok(group_crc)
}

/// In version 2 where it has a stamp.
pub(super) fn encode(view: &View<'_>, buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend_from_slice(&MAGIC);
    buffer.push(if view.stamp.is_some() { VERSION } else { UNSTAMPED });
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&view.group.to_be_bytes());
    buffer.extend_from_slice(&view.chunk.to_be_bytes());
    buffer.extend_from_slice(&view.group_crc.to_be_bytes());
    buffer.extend_from_slice(&u16::try_from(view.data.len()).unwrap_or(u16::MAX).to_be_bytes());
    buffer.extend_from_slice(&[u8::from(view.commit.is_some()), 0]);
    if let Some(stamp) = view.stamp {
        buffer.extend_from_slice(&stamp);
    }
    if let Some(commit) = view.commit {
        buffer.extend_from_slice(&commit.chunks.to_be_bytes());
        buffer.extend_from_slice(&commit.length.to_be_bytes());
        buffer.extend_from_slice(&commit.previous_crc.to_be_bytes());
        buffer.extend_from_slice(&commit.ring_start.to_be_bytes());
    }
    buffer.extend_from_slice(view.data);
    let crc = crc32c::crc32c(buffer.get(8..).unwrap_or_default());
    if let Some(place) = buffer.get_mut(4..8) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
}

/// Reads the chunk at the beginning of `bytes`; what follows it is ignored. `None` if it does not check.
pub(super) fn decode(bytes: &[u8]) -> Option<View<'_>> {
    let mut reader = Reader(bytes);
    let _ = reader.take::<3>().filter(|magic| *magic == MAGIC)?;
    let [version] = reader.take()?;
    let crc = u32::from_be_bytes(reader.take()?);
    let group = u64::from_be_bytes(reader.take()?);
    let chunk = u32::from_be_bytes(reader.take()?);
    let group_crc = u32::from_be_bytes(reader.take()?);
    let length = usize::from(u16::from_be_bytes(reader.take()?));
    let kind = reader.take()?;
    let stamp = match version {
        UNSTAMPED => None,
        VERSION => Some(reader.take()?),
        _ => return None,
    };
    let commit = match kind {
        [0, 0] => None,
        [1, 0] => Some(Commit {
            chunks: u32::from_be_bytes(reader.take()?),
            length: u32::from_be_bytes(reader.take()?),
            previous_crc: u32::from_be_bytes(reader.take()?),
            ring_start: u64::from_be_bytes(reader.take()?),
        }),
        _ => return None,
    };
    let data = reader.0.get(..length)?;
    let view = View { group, chunk, group_crc, stamp, commit, data };
    let checked = bytes.get(8..view.length())?;
    (crc32c::crc32c(checked) == crc).then_some(view)
}

/// The version of a chunk that a newer version of this code wrote.
pub(super) fn newer_version(bytes: &[u8]) -> Option<u8> {
    let ([magic @ .., version], _) = bytes.split_first_chunk::<4>()?;
    (*magic == MAGIC && *version > VERSION).then_some(*version)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }
}

/// A whole group, checked by itself; whether it follows the one before is the caller's to compare.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub number: u64,
    pub records: Vec<u8>,
    pub crc: u32,
    pub previous_crc: u32,
    pub ring_start: u64,
}

/// Puts the chunks of one group together. Chunks come in order; the commit chunk ends it.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    records: Vec<u8>,
    chunks: u32,
    group_crc: u32,
}

impl Assembler {
    /// Takes the next chunk of `group`: the group if this was its last, or what is wrong with it.
    pub(super) fn take(&mut self, group: u64, chunk: u32, bytes: &[u8]) -> Result<Option<Whole>, String> {
        let place = |what: &str| format!("group {group}, chunk {chunk}: {what}");
        let view = decode(bytes).ok_or_else(|| place("its bytes do not match their crc32c"))?;
        if (view.group, view.chunk) != (group, chunk) {
            return Err(place("it belongs elsewhere"));
        }
        if chunk != self.chunks {
            return Err(place(&format!("chunk {} is missing", self.chunks)));
        }
        if chunk > 0 && view.group_crc != self.group_crc {
            return Err(place("it is of another writing of this group"));
        }
        self.chunks = self.chunks.saturating_add(1);
        self.group_crc = view.group_crc;
        self.records.extend_from_slice(view.data);
        let Some(commit) = view.commit else {
            return Ok(None);
        };
        let records = std::mem::take(&mut self.records);
        let chunks = std::mem::take(&mut self.chunks);
        if commit.chunks != chunks || u32::try_from(records.len()) != Ok(commit.length) {
            return Err(place("the group's chunks do not add up"));
        }
        if crc32c::crc32c(&records) != view.group_crc {
            return Err(place("the group does not match its crc32c"));
        }
        let (previous_crc, ring_start) = (commit.previous_crc, commit.ring_start);
        Ok(Some(Whole { number: group, records, crc: view.group_crc, previous_crc, ring_start }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used
    )]

    use proptest::prelude::*;

    use super::*;
    use crate::log::CHUNK_MAX;

    fn chunks_of(group: u64, records: &[u8], previous_crc: u32, ring_start: u64) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        write_group(group, records, previous_crc, ring_start, *b"a stamp!", |chunk, bytes| {
            assert_eq!(chunk as usize, chunks.len());
            chunks.push(bytes.to_vec());
            Ok(())
        })
        .unwrap();
        chunks
    }

    fn assemble(group: u64, chunks: &[Vec<u8>]) -> Result<Option<Whole>, String> {
        let mut assembler = Assembler::default();
        for (chunk, bytes) in chunks.iter().enumerate() {
            if let Some(whole) = assembler.take(group, chunk as u32, bytes)? {
                return Ok(Some(whole));
            }
        }
        Ok(None)
    }

    #[test]
    fn only_a_chunk_of_a_newer_version_is_newer() {
        let chunk = |version| [MAGIC[0], MAGIC[1], MAGIC[2], version, 9, 9];
        for (bytes, version) in [
            (chunk(1).to_vec(), None),
            (chunk(2).to_vec(), None),
            (chunk(3).to_vec(), Some(3)),
            (chunk(255).to_vec(), Some(255)),
            (chunk(0).to_vec(), None),
            (vec![1, 2, 3, 4, 5], None),
            (MAGIC.to_vec(), None),
        ] {
            assert_eq!(newer_version(&bytes), version, "{bytes:?}");
        }
    }

    fn hexadecimal(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The bytes on users' disks. A change here is a new store version.
    #[test]
    fn golden_bytes_of_a_groups_chunks() {
        let small = chunks_of(0x0102_0304_0506_0708, b"tidegate", 0xCAFE_F00D, 0x0102_0304_0506_0700);
        assert_eq!(small.len(), 1);
        assert_eq!(
            hexadecimal(&small[0]),
            "f7546702de858d55010203040506070800000000d12e9e60000801006120737461\
             6d70210000000100000008cafef00d01020304050607007469646567617465"
        );

        let large = chunks_of(7, &[b'x'; 20_000], 1, 5);
        let headers: Vec<String> = large.iter().map(|chunk| hexadecimal(&chunk[..28])).collect();
        assert_eq!(
            headers,
            [
                "f754670203fda89d000000000000000700000000e7c8233a3fcc0000",
                "f754670241755608000000000000000700000001e7c8233a0e540100"
            ]
        );
        assert_eq!(hexadecimal(&large[1][36..56]), "0000000200004e20000000010000000000000005");
        assert_eq!((large[0].len(), large[1].len()), (CHUNK_FULL, 56 + 3_668));
    }

    #[test]
    fn chunks_of_builds_without_stamps_that_filled_them_to_the_limit_are_read() {
        let records = [b'x'; 20_000];
        let (first, last) = records.split_at(CHUNK_MAX - HEADER + STAMP_BYTES);
        let group_crc = crc32c::crc32c(&records);
        let commit = Commit { chunks: 2, length: 20_000, previous_crc: 1, ring_start: 5 };
        let chunks = [(0, first, None), (1, last, Some(commit))].map(|(chunk, data, commit)| {
            let mut buffer = Vec::new();
            encode(&View { group: 7, chunk, group_crc, stamp: None, commit, data }, &mut buffer);
            buffer
        });
        assert_eq!(hexadecimal(&chunks[1][..48])[..8], *"f7546701");
        assert_eq!((chunks[0].len(), chunks[1].len()), (CHUNK_MAX, 48 + 3_644));
        assert_eq!(assemble(7, &chunks).unwrap().unwrap().records, records);
    }

    #[test]
    fn a_group_takes_as_many_chunks_as_counted_and_none_is_over_the_limit() {
        for (length, expected) in [
            (0, 1),
            (1, 1),
            (COMMIT_DATA, 1),
            (COMMIT_DATA + 1, 2),
            (INNER_DATA, 2),
            (INNER_DATA + COMMIT_DATA, 2),
            (INNER_DATA + COMMIT_DATA + 1, 3),
            (4 << 20, 257),
        ] {
            let records = vec![9; length];
            let chunks = chunks_of(1, &records, 0, 1);
            assert_eq!((chunks.len(), chunk_count(length)), (expected, expected as u32), "{length} bytes");
            assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_FULL));
            assert_eq!(assemble(1, &chunks).unwrap().unwrap().records, records);
        }
    }

    #[test]
    fn a_chunk_out_of_place_is_named() {
        let chunks = chunks_of(7, &[1; 36_000], 0, 1);
        let other = chunks_of(7, &[2; 36_000], 0, 1);
        for (given, place) in [
            (vec![chunks[1].clone()], "group 7, chunk 0: it belongs elsewhere"),
            (
                vec![chunks[0].clone(), other[1].clone()],
                "group 7, chunk 1: it is of another writing of this group",
            ),
            (vec![chunks[0].clone(), chunks[0].clone()], "group 7, chunk 1: it belongs elsewhere"),
            (vec![vec![]], "group 7, chunk 0: its bytes do not match their crc32c"),
        ] {
            assert_eq!(assemble(7, &given).unwrap_err(), place);
        }
        let mut assembler = Assembler::default();
        assembler.take(7, 0, &chunks[0]).unwrap();
        assert_eq!(assembler.take(7, 2, &chunks[2]).unwrap_err(), "group 7, chunk 2: chunk 1 is missing");
    }

    proptest! {
        #[test]
        fn any_group_comes_back(group: u64, previous_crc: u32, ring_start: u64, length in 0..80_000usize, seed: u8) {
            let records: Vec<u8> = (0..length).map(|index| (index as u8).wrapping_mul(seed)).collect();
            let whole = assemble(group, &chunks_of(group, &records, previous_crc, ring_start)).unwrap().unwrap();
            let crc = crc32c::crc32c(&records);
            prop_assert_eq!(whole, Whole { number: group, records, crc, previous_crc, ring_start });
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&bytes).is_none());
            for version in [UNSTAMPED, VERSION] {
                prop_assert!(decode(&[&MAGIC[..], &[version], &bytes[..]].concat()).is_none());
            }
        }

        #[test]
        fn one_flipped_bit_is_always_seen(length in 0..24_000usize, at: prop::sample::Index, bit in 0..8u8) {
            let mut chunks = chunks_of(3, &vec![5; length], 0, 1);
            let chunk = at.index(chunks.len());
            let byte = at.index(chunks[chunk].len());
            chunks[chunk][byte] ^= 1 << bit;
            prop_assert!(assemble(3, &chunks).is_err());
        }
    }
}
