//! Compression of what goes to the disk: a journal group, an archive block. It does not know what it packs.
//!
//! Packed bytes are: kind u8 (0 as they were, 1 LZ4 block), then for LZ4 the length before as u32 little-endian, then the data.
//! Kind 2 is packed bytes of kind 0 or 1 in a Huffman code (`huffman`); only `TightPacker` makes it.

use crate::huffman;

const PLAIN: u8 = 0;
const LZ4: u8 = 1;
const HUFFMAN: u8 = 2;
const LZ4_HEADER: usize = 5;
/// Below this nothing is gained: a group of one chunk stays one.
const PACK_MIN: usize = 1_024;
/// Of so many blocks LZ4 is tried with one, while it gains little.
const LZ4_PASSES: u32 = 32;
/// No group and no block is larger; a length beyond it is damage.
const UNPACKED_MAX: usize = 256 << 20;

/// The bytes are not what this version's `pack` wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    #[error("its packed bytes do not check")]
    Damaged,
    #[error("packed by a newer tidegate (packing {kind}, this one knows {HUFFMAN})")]
    Newer { kind: u8 },
}

/// Replaces `packed` by `bytes`, compressed where that makes them shorter.
pub fn pack(bytes: &[u8], packed: &mut Vec<u8>) {
    packed.clear();
    if bytes.len() >= PACK_MIN {
        packed.resize(LZ4_HEADER + lz4_flex::block::get_maximum_output_size(bytes.len()), 0);
        packed[0] = LZ4;
        packed[1..LZ4_HEADER].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        if let Ok(length) = lz4_flex::block::compress_into(bytes, &mut packed[LZ4_HEADER..])
            && length + LZ4_HEADER < bytes.len()
        {
            packed.truncate(LZ4_HEADER + length);
            return;
        }
        packed.clear();
    }
    packed.push(PLAIN);
    packed.extend_from_slice(bytes);
}

/// Packs more tightly, for some more work: for what is written once and kept for months. Where LZ4 has gained little, as with
/// texts that do not repeat themselves, it is tried again only now and then: what comes next is mostly alike.
#[derive(Default)]
pub struct TightPacker {
    room: Vec<u8>,
    /// How often LZ4 is passed over before it is tried again.
    passes: u32,
}

impl TightPacker {
    /// Replaces `packed` by `bytes`, packed for `unpack`.
    pub fn pack(&mut self, bytes: &[u8], packed: &mut Vec<u8>) {
        let gains = self.passes == 0 && {
            pack(bytes, &mut self.room);
            self.room.len() < bytes.len() / 5 * 4
        };
        self.passes = match gains {
            true => 0,
            false => self.passes.checked_sub(1).unwrap_or(LZ4_PASSES),
        };
        if !gains {
            self.room.clear();
            self.room.push(PLAIN);
            self.room.extend_from_slice(bytes);
        }
        packed.clear();
        packed.push(HUFFMAN);
        if !huffman::encode(&self.room, packed) {
            std::mem::swap(&mut self.room, packed);
        }
    }
}

/// What `pack` was given. Empty bytes are empty: a salvaged store has them in place of what was lost.
pub fn unpack(packed: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let mut room = Vec::new();
    unpack_at(packed, &mut room, 0)?;
    Ok(room)
}

/// As `unpack`, into `room` from `at` on, which grows where it must; where the unpacked bytes end.
pub fn unpack_at(packed: &[u8], room: &mut Vec<u8>, at: usize) -> Result<usize, UnpackError> {
    let inner = match packed.split_first() {
        Some((&HUFFMAN, coded)) => Some(huffman::decode(coded, UNPACKED_MAX).ok_or(UnpackError::Damaged)?),
        _ => None,
    };
    let packed = inner.as_deref().unwrap_or(packed);
    let (length, data, is_plain) = match packed.split_first() {
        None => (0, packed, true),
        Some((&PLAIN, data)) => (data.len(), data, true),
        Some((&LZ4, rest)) => {
            let (length, data) = rest.split_first_chunk::<4>().ok_or(UnpackError::Damaged)?;
            (u32::from_le_bytes(*length) as usize, data, false)
        }
        // Not one code within the other, however deep.
        Some((&HUFFMAN, _)) => return Err(UnpackError::Damaged),
        Some((&kind, _)) => return Err(UnpackError::Newer { kind }),
    };
    if length > UNPACKED_MAX {
        return Err(UnpackError::Damaged);
    }
    let end = at + length;
    if room.len() < end {
        room.resize(end, 0);
    }
    let unpacked = room.get_mut(at..end).ok_or(UnpackError::Damaged)?;
    if is_plain {
        unpacked.copy_from_slice(data);
        return Ok(end);
    }
    match lz4_flex::block::decompress_into(data, unpacked) {
        Ok(filled) if filled == length => Ok(end),
        _ => Err(UnpackError::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_unpacks_and_only_what_gains_is_compressed() {
        // No four octets of it come twice within LZ4's reach.
        let mut state = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(5_000)
        .collect();
        let text = b"Your code is 123456. ".repeat(300);
        let table: [(&[u8], u8); 4] = [(b"", PLAIN), (b"short", PLAIN), (&noise, PLAIN), (&text, LZ4)];
        let mut packed = Vec::new();
        for (bytes, kind) in table {
            pack(bytes, &mut packed);
            assert_eq!(packed[0], kind);
            assert_eq!(unpack(&packed).as_deref(), Ok(bytes));
            let mut room = vec![7; 100];
            assert_eq!(unpack_at(&packed, &mut room, 3), Ok(3 + bytes.len()));
            assert_eq!(room.get(3..3 + bytes.len()), Some(bytes));
        }
        assert!(packed.len() * 4 < text.len());
        let letters: Vec<u8> = noise.iter().map(|octet| b'a' + octet % 16).collect();
        for bytes in [b"".as_slice(), b"short", &noise, &text, &letters] {
            TightPacker::default().pack(bytes, &mut packed);
            assert_eq!(unpack(&packed).as_deref(), Ok(bytes));
        }
        assert!(packed[0] == HUFFMAN && packed.len() < letters.len() * 5 / 8);
    }

    #[test]
    fn repetition_that_begins_later_is_found_soon() {
        let mut packer = TightPacker::default();
        let mut packed = Vec::new();
        let letters: Vec<u8> =
            (0..4_000u32).map(|at| b'a' + (at.wrapping_mul(2_654_435_761) >> 28) as u8).collect();
        let text = b"Your code is 123456. ".repeat(200);
        packer.pack(&letters, &mut packed);
        let found = (0..=LZ4_PASSES).any(|_| {
            packer.pack(&text, &mut packed);
            assert_eq!(unpack(&packed).as_deref(), Ok(&text[..]));
            packed.len() * 10 < text.len()
        });
        assert!(found, "{} octets of {}", packed.len(), text.len());
    }

    #[test]
    fn damage_is_told() {
        let mut packed = Vec::new();
        pack(&b"Your code is 123456. ".repeat(300), &mut packed);
        let cut = &packed[..packed.len() - 1];
        let table: [&[u8]; 3] = [cut, &[LZ4, 1, 0], &[LZ4, 255, 255, 255, 255, 0]];
        for bytes in table {
            assert_eq!(unpack(bytes), Err(UnpackError::Damaged));
        }
        assert_eq!(unpack(&[]), Ok(Vec::new()));
    }

    #[test]
    fn a_newer_packing_is_named() {
        let error = unpack(&[3, 0, 0]).unwrap_err();
        assert_eq!(error.to_string(), "packed by a newer tidegate (packing 3, this one knows 2)");
    }
}
