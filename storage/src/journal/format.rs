//! The bytes of a group: how records are cut into chunks, and how chunks become a group again. Pure; no files.
//!
//! ```text
//! every chunk                          the commit chunk, which is the last of its group, goes on with
//!  0  magic                4           28  chunks of the group          4
//!  4  crc32c of the rest   4           32  length of the records        4
//!  8  group                8           36  crc32c of the group before   4
//! 16  chunk, from 0        4           40  first group of the ring      8
//! 20  crc32c of the group  4           48  data
//! 24  length of its data   2
//! 26  kind (0 or 1=commit) 1
//! 27  0                    1
//! 28  data
//! ```
//!
//! Numbers are big endian. A chunk says itself what it is and checks by itself, so that it can be found in a file that
//! sled no longer reads. The crc32c of a group covers its records only.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used
)]

use crate::log::{CHUNK_MAX, LogError};

pub(super) const MAGIC: [u8; 4] = [0xF7, b'T', b'g', 0x01];

const HEADER: usize = 28;
const COMMIT_HEADER: usize = 48;
const INNER_DATA: usize = CHUNK_MAX - HEADER;
const COMMIT_DATA: usize = CHUNK_MAX - COMMIT_HEADER;

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
    pub commit: Option<Commit>,
    pub data: &'a [u8],
}

/// How many chunks records of this length take.
pub(super) fn chunk_count(length: usize) -> u32 {
    let before_commit = length.saturating_sub(COMMIT_DATA).div_ceil(INNER_DATA);
    u32::try_from(before_commit)
        .unwrap_or(u32::MAX)
        .saturating_add(1)
}

/// Cuts a group and hands its chunks to `write`, in order. Returns the group's crc32c.
pub(super) fn write_group(
    group: u64,
    records: &[u8],
    previous_crc: u32,
    ring_start: u64,
    mut write: impl FnMut(u32, &[u8]) -> Result<(), LogError>,
) -> Result<u32, LogError> {
    let group_crc = crc32c::crc32c(records);
    let chunks = chunk_count(records.len());
    let commit = Commit {
        chunks,
        length: records.len().try_into().unwrap_or(u32::MAX),
        previous_crc,
        ring_start,
    };
    let mut buffer = Vec::with_capacity(CHUNK_MAX);
    let mut rest = records;
    for chunk in 0..chunks {
        let last = chunk == chunks.saturating_sub(1);
        let (data, behind) = rest.split_at(if last {
            rest.len()
        } else {
            INNER_DATA.min(rest.len())
        });
        rest = behind;
        let view = View {
            group,
            chunk,
            group_crc,
            commit: last.then_some(commit),
            data,
        };
        encode(&view, &mut buffer);
        write(chunk, &buffer)?;
    }
    Ok(group_crc)
}

fn encode(view: &View<'_>, buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend_from_slice(&MAGIC);
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&view.group.to_be_bytes());
    buffer.extend_from_slice(&view.chunk.to_be_bytes());
    buffer.extend_from_slice(&view.group_crc.to_be_bytes());
    buffer.extend_from_slice(
        &u16::try_from(view.data.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes(),
    );
    buffer.extend_from_slice(&[u8::from(view.commit.is_some()), 0]);
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
    let _ = reader.take::<4>().filter(|magic| *magic == MAGIC)?;
    let crc = u32::from_be_bytes(reader.take()?);
    let group = u64::from_be_bytes(reader.take()?);
    let chunk = u32::from_be_bytes(reader.take()?);
    let group_crc = u32::from_be_bytes(reader.take()?);
    let length = usize::from(u16::from_be_bytes(reader.take()?));
    let commit = match reader.take()? {
        [0, 0] => None,
        [1, 0] => Some(Commit {
            chunks: u32::from_be_bytes(reader.take()?),
            length: u32::from_be_bytes(reader.take()?),
            previous_crc: u32::from_be_bytes(reader.take()?),
            ring_start: u64::from_be_bytes(reader.take()?),
        }),
        _ => return None,
    };
    let header = if commit.is_some() {
        COMMIT_HEADER
    } else {
        HEADER
    };
    let data = reader.0.get(..length)?;
    let checked = bytes.get(8..header.checked_add(length)?)?;
    (crc32c::crc32c(checked) == crc).then_some(View {
        group,
        chunk,
        group_crc,
        commit,
        data,
    })
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
    pub(super) fn take(
        &mut self,
        group: u64,
        chunk: u32,
        bytes: &[u8],
    ) -> Result<Option<Whole>, String> {
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
        Ok(Some(Whole {
            number: group,
            records,
            crc: view.group_crc,
            previous_crc,
            ring_start,
        }))
    }
}
