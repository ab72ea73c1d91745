//! The bytes of a segment's header and of its frames; `segments` shows them. Pure; no files.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use crate::log::CHUNK_MAX;
use crate::mark::Stamp;

const SEGMENT_MAGIC: [u8; 4] = *b"TgSg";
const FRAME_MAGIC: [u8; 4] = [0xF9, b'T', b'f', b'r'];

/// The version of segments that this code writes, and the newest that it reads.
pub(super) const VERSION: u8 = 2;
/// The frames of its segments bear no stamp.
const UNSTAMPED: u8 = 1;

pub(super) const SEGMENT_HEADER: usize = 20;
pub(super) const FRAME_HEADER: usize = 28;
pub(super) const FRAME_MAX: usize = FRAME_HEADER + CHUNK_MAX;

/// What the first bytes of a segment say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    Ours { number: u64, is_stamped: bool },
    Newer { version: u8 },
    Unknown,
}

/// A chunk as a segment keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub group: u64,
    pub chunk: u32,
    /// Where the flushed part of the segment ended when this was written.
    pub flushed: u32,
    pub bytes: &'a [u8],
}

pub(super) fn encode_header(number: u64) -> [u8; SEGMENT_HEADER] {
    let mut header = [0; SEGMENT_HEADER];
    let (body, crc) = header.split_at_mut(SEGMENT_HEADER - 4);
    let fields = [SEGMENT_MAGIC, [VERSION, 0, 0, 0]].concat();
    body.iter_mut().zip(fields.into_iter().chain(number.to_be_bytes())).for_each(|(to, from)| *to = from);
    crc.copy_from_slice(&crc32c::crc32c(body).to_be_bytes());
    header
}

pub(super) fn decode_header(bytes: &[u8]) -> Header {
    let Some((body, crc)) = bytes.first_chunk::<SEGMENT_HEADER>().and_then(|all| all.split_last_chunk::<4>())
    else {
        return Header::Unknown;
    };
    let rest = body.strip_prefix(&SEGMENT_MAGIC).and_then(|rest| rest.split_first_chunk::<4>());
    match rest {
        Some(([version, ..], number)) if crc32c::crc32c(body) == u32::from_be_bytes(*crc) => {
            match number.first_chunk() {
                _ if *version > VERSION => Header::Newer { version: *version },
                Some(number) => {
                    let (number, is_stamped) = (u64::from_be_bytes(*number), *version > UNSTAMPED);
                    Header::Ours { number, is_stamped }
                }
                None => Header::Unknown,
            }
        }
        _ => Header::Unknown,
    }
}

/// With what the crc32c of a segment's frames begins: a frame checks only in the segment that it was written for, and who does not
/// know the stamp can write none.
pub(super) fn seed(segment: u64, stamp: Option<Stamp>) -> u32 {
    let seed = crc32c::crc32c(&segment.to_be_bytes());
    stamp.map_or(seed, |stamp| crc32c::crc32c_append(seed, &stamp))
}

/// Adds the frame to `buffer`.
pub(super) fn encode(frame: &Frame<'_>, seed: u32, buffer: &mut Vec<u8>) {
    let begin = buffer.len();
    buffer.extend_from_slice(&FRAME_MAGIC);
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    buffer.extend_from_slice(&frame.group.to_be_bytes());
    buffer.extend_from_slice(&frame.chunk.to_be_bytes());
    buffer.extend_from_slice(&frame.flushed.to_be_bytes());
    buffer.extend_from_slice(frame.bytes);
    let body = begin.saturating_add(8);
    let crc = crc32c::crc32c_append(seed, buffer.get(body..).unwrap_or_default());
    if let Some(place) = buffer.get_mut(begin.saturating_add(4)..body) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
}

/// The frame at the beginning of `bytes`, and how long it is; what follows it is ignored. `None` if it does not check.
pub(super) fn decode(bytes: &[u8], seed: u32) -> Option<(Frame<'_>, usize)> {
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    let (crc_bytes, body) = rest.split_first_chunk::<4>()?;
    let (length, rest) = body.split_first_chunk::<4>()?;
    let (group, rest) = rest.split_first_chunk::<8>()?;
    let (chunk, rest) = rest.split_first_chunk::<4>()?;
    let (flushed, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok().filter(|length| *length <= CHUNK_MAX)?;
    let end = FRAME_HEADER.checked_add(length)?;
    let checked = body.get(..end.checked_sub(8)?)?;
    let crc = crc32c::crc32c_append(seed, checked);
    let valid = *magic == FRAME_MAGIC && u32::from_be_bytes(*crc_bytes) == crc;
    let frame = Frame {
        group: u64::from_be_bytes(*group),
        chunk: u32::from_be_bytes(*chunk),
        flushed: u32::from_be_bytes(*flushed),
        bytes: rest.get(..length)?,
    };
    valid.then_some((frame, end))
}

/// Where the next frame may begin in `bytes`.
pub(super) fn find(bytes: &[u8]) -> Option<usize> {
    bytes.windows(FRAME_MAGIC.len()).position(|window| *window == FRAME_MAGIC)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn hexadecimal(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The bytes on users' disks. A change here is a new version.
    #[test]
    fn golden_bytes_of_a_header_and_a_frame() {
        assert_eq!(hexadecimal(&encode_header(0x0102)), "546753670200000000000000000001024c2c289a");
        let before: Vec<u8> =
            [&b"TgSg"[..], &[1, 0, 0, 0], &0x0102u64.to_be_bytes(), &[0x1f, 0xbe, 0x54, 0xca]].concat();
        assert_eq!(decode_header(&before), Header::Ours { number: 0x0102, is_stamped: false });
        let mut bytes = Vec::new();
        encode(
            &Frame { group: 7, chunk: 3, flushed: 20, bytes: b"tidegate" },
            seed(0x0102, None),
            &mut bytes,
        );
        assert_eq!(
            hexadecimal(&bytes),
            "f95466724c6afbbc00000008000000000000000700000003000000147469646567617465"
        );
    }

    #[test]
    fn a_header_is_ours_newer_or_unknown() {
        let header = encode_header(9);
        assert_eq!(decode_header(&header), Header::Ours { number: 9, is_stamped: true });
        assert_eq!(decode_header(&header[..19]), Header::Unknown);
        assert_eq!(decode_header(&[0; 20]), Header::Unknown);
        let mut newer = header;
        newer[4] = 3;
        let crc = crc32c::crc32c(&newer[..16]).to_be_bytes();
        newer[16..].copy_from_slice(&crc);
        assert_eq!(decode_header(&newer), Header::Newer { version: 3 });
    }

    proptest! {
        #[test]
        fn any_frame_comes_back_in_its_own_segment_only(
            segment: u64, group: u64, chunk: u32, flushed: u32, length in 0..=CHUNK_MAX
        ) {
            let data = vec![3; length];
            let frame = Frame { group, chunk, flushed, bytes: &data };
            let mut bytes = vec![1, 2];
            let stamp = Some(*b"a stamp!");
            encode(&frame, seed(segment, stamp), &mut bytes);
            let end = bytes.len() - 2;
            bytes.push(9);
            prop_assert_eq!(find(&bytes), Some(2));
            prop_assert_eq!(decode(&bytes[2..], seed(segment, stamp)), Some((frame, end)));
            for other in [seed(segment ^ 1, stamp), seed(segment, None), seed(segment, Some([0; 8]))] {
                prop_assert_eq!(decode(&bytes[2..], other), None);
            }
        }

        #[test]
        fn one_flipped_bit_is_always_seen(length in 0..300usize, at: prop::sample::Index, bit in 0..8u8) {
            let mut bytes = Vec::new();
            encode(&Frame { group: 1, chunk: 2, flushed: 3, bytes: &vec![5; length] }, 1, &mut bytes);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(decode(&bytes, 1).is_none());
        }
    }
}
