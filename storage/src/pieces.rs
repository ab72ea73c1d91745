//! Large values in a database whose values are small: cut into pieces, replaced as a whole. It does not know what they hold.
//!
//! A value is a header under `name ‖ 0`, which also holds the beginning of the data, and the rest under `name ‖ slot`. The
//! header names the slots, the length and the crc32c. A new value is written beside the old one, in the other half of the
//! slots; then the header is replaced, then the old pieces are removed. As sled recovers a prefix of its writes, a crash
//! leaves the old value or the new one, never half of each; and at worst pieces that no header names, which later values
//! replace.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use crate::database::{BESIDE_VALUE, Database, Pair};
use crate::error::StoreError;

/// What is read to find one value is the leaf that it is in: so pieces are small. But each costs the way into sled three times,
/// for its place, its look and itself, and a block of the archive is one.
const PIECE_MAX: usize = 8 << 10;
const HEADER: usize = 17;
const VERSION: u8 = 1;
const SLOT_BYTES: usize = 4;
const HALVES: [u32; 2] = [1, 1 << 31];

/// length 4 · crc32c 4 · first slot 4 · pieces 4 · version 1 · the first data
#[derive(Clone, Copy)]
struct Header {
    length: u32,
    crc: u32,
    first_slot: u32,
    pieces: u32,
}

/// Replaces the value called `name`. No name may be the beginning of another one.
pub(crate) fn put(database: &Database, name: &[u8], bytes: &[u8]) -> Result<(), StoreError> {
    put_cut(database, name, bytes, piece_max(database))
}

/// The same, in pieces of this length.
fn put_cut(database: &Database, name: &[u8], bytes: &[u8], most: usize) -> Result<(), StoreError> {
    let old = match database.get(&slot_key(name, 0))? {
        Some(found) => {
            refuse_newer(database, &found)?;
            parse(&found).map(|(header, _)| header)
        }
        None => None,
    };
    let first_slot = if old.is_some_and(|old| old.first_slot == HALVES[0]) { HALVES[1] } else { HALVES[0] };
    let (beginning, rest) = bytes.split_at(bytes.len().min(most.saturating_sub(HEADER)));
    let mut pieces: u32 = 0;
    for piece in rest.chunks(most) {
        database.put(&slot_key(name, first_slot.saturating_add(pieces)), piece)?;
        pieces = pieces.saturating_add(1);
    }
    let length =
        u32::try_from(bytes.len()).map_err(|_| StoreError::damaged(database.path(), "a value over 4 GiB"))?;
    let header = Header { length, crc: crc32c::crc32c(bytes), first_slot, pieces };
    database.put(&slot_key(name, 0), &encode(header, beginning))?;
    match old {
        Some(old) if old.pieces > 0 => remove_half(database, name, old.first_slot),
        _ => Ok(()),
    }
}

/// The length of a piece: what the database takes, and in memory a power of two.
fn piece_max(database: &Database) -> usize {
    PIECE_MAX.min(1 << database.value_max().ilog2()).saturating_sub(BESIDE_VALUE)
}

/// Makes places for a value to come, called `name` and of about `length` octets.
pub(crate) fn make_places(database: &Database, name: &[u8], length: usize) -> Result<(), StoreError> {
    database.make_place(&slot_key(name, 0))?;
    let most = piece_max(database);
    for (slot, _) in (HALVES[0]..).zip((most.saturating_sub(HEADER)..length).step_by(most)) {
        database.make_place(&slot_key(name, slot))?;
    }
    Ok(())
}

/// The value called `name`.
pub(crate) fn get(database: &Database, name: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    match database.get(&slot_key(name, 0))? {
        Some(header) => read(database, name, &header).map(Some),
        None => Ok(None),
    }
}

/// Nothing is called `name` any more. Of its places those that a value has not taken stay.
pub(crate) fn remove(database: &Database, name: &[u8]) -> Result<(), StoreError> {
    let Some(old) = database.remove(&slot_key(name, 0))? else { return Ok(()) };
    match parse(&old) {
        // Most are short: to look for what is not there would cost more than this.
        Some((Header { pieces: 0, .. }, _)) => Ok(()),
        _ => database.remove_range(&slot_key(name, 0), &slot_key(name, u32::MAX), u64::MAX).map(drop),
    }
}

/// The value whose name is the greatest of those that begin with `prefix` and are below `to`, with its name.
pub(crate) fn last_before(database: &Database, prefix: &[u8], to: &[u8]) -> Result<Option<Pair>, StoreError> {
    let mut to = to.to_vec();
    loop {
        let Some((key, value)) = database.last_before(&to)? else { return Ok(None) };
        if !key.starts_with(prefix) {
            return Ok(None);
        }
        let Some(name) = key.len().checked_sub(SLOT_BYTES).and_then(|length| key.get(..length)) else {
            return Ok(None);
        };
        // The pieces of a value lie behind its header.
        let header = slot_key(name, 0);
        if key == header {
            return Ok(Some((name.to_vec(), read(database, name, &value)?)));
        }
        match database.get(&header)? {
            Some(value) => return Ok(Some((name.to_vec(), read(database, name, &value)?))),
            // Pieces that no header names.
            None => to = header,
        }
    }
}

/// All values whose names begin with `prefix`, in the names' order.
pub(crate) fn scan(database: &Database, prefix: &[u8]) -> impl Iterator<Item = Result<Pair, StoreError>> {
    database.scan(prefix).filter_map(|pair| {
        let (key, value) = match pair {
            Ok(pair) => pair,
            Err(error) => return Some(Err(error)),
        };
        let name = key.strip_suffix(&0u32.to_be_bytes())?;
        Some(read(database, name, &value).map(|bytes| (name.to_vec(), bytes)))
    })
}

fn read(database: &Database, name: &[u8], header: &[u8]) -> Result<Vec<u8>, StoreError> {
    let damaged = || StoreError::damaged(database.path(), format!("the value {}", hexadecimal(name)));
    refuse_newer(database, header)?;
    let (header, inline) = parse(header).ok_or_else(damaged)?;
    let mut bytes = inline.to_vec();
    for piece in 0..header.pieces {
        let key = slot_key(name, header.first_slot.saturating_add(piece));
        bytes.extend_from_slice(&database.get(&key)?.ok_or_else(damaged)?);
    }
    let whole = u32::try_from(bytes.len()) == Ok(header.length) && crc32c::crc32c(&bytes) == header.crc;
    if whole { Ok(bytes) } else { Err(damaged()) }
}

/// A value of a newer version is no damage, and must not be replaced as if it were.
fn refuse_newer(database: &Database, header: &[u8]) -> Result<(), StoreError> {
    match header.get(HEADER - 1).filter(|version| **version > VERSION) {
        Some(found) => Err(StoreError::Newer {
            path: database.path().to_owned(),
            what: "value",
            found: u32::from(*found),
            known: u32::from(VERSION),
        }),
        None => Ok(()),
    }
}

fn remove_half(database: &Database, name: &[u8], first_slot: u32) -> Result<(), StoreError> {
    let end = if first_slot == HALVES[0] { HALVES[1] } else { u32::MAX };
    database.remove_range(&slot_key(name, first_slot), &slot_key(name, end), u64::MAX)?;
    Ok(())
}

fn slot_key(name: &[u8], slot: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len().saturating_add(SLOT_BYTES));
    key.extend_from_slice(name);
    key.extend_from_slice(&slot.to_be_bytes());
    key
}

fn encode(header: Header, inline: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER.saturating_add(inline.len()));
    for number in [header.length, header.crc, header.first_slot, header.pieces] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.push(VERSION);
    bytes.extend_from_slice(inline);
    bytes
}

fn parse(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let (numbers, rest) = bytes.split_first_chunk::<16>()?;
    let (version, inline) = rest.split_first()?;
    let (quads, _) = numbers.as_chunks::<4>();
    let [length, crc, first_slot, pieces] = quads else {
        return None;
    };
    let header = Header {
        length: u32::from_be_bytes(*length),
        crc: u32::from_be_bytes(*crc),
        first_slot: u32::from_be_bytes(*first_slot),
        pieces: u32::from_be_bytes(*pieces),
    };
    (*version == VERSION && HALVES.contains(&header.first_slot)).then_some((header, inline))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::database::Settings;
    use crate::log::Durability;

    #[test]
    fn values_of_a_build_with_shorter_pieces_are_read_and_replaced_and_so_are_these_by_that_build() {
        let directory = tempfile::tempdir().unwrap();
        for segment_bytes in [512 << 10, 2 << 20] {
            let settings = Settings {
                durability: Durability::Fsync,
                cache_bytes: 1 << 20,
                segment_bytes,
                keep_tail: false,
                zeros_ahead: false,
                read_ahead: false,
            };
            let path = directory.path().join(segment_bytes.to_string());
            let database = Database::open(&path, settings).unwrap();
            for (turn, length) in (0u8..).zip([1, 4_080, 7_250, 8_176, 8_192, 30_000, 7_250, 0]) {
                let bytes = vec![turn; length];
                for most in [4 << 10, piece_max(&database)] {
                    put_cut(&database, b"name", &bytes, most).unwrap();
                    assert_eq!(get(&database, b"name").unwrap().as_ref(), Some(&bytes), "{length} by {most}");
                    let keys = scan_keys(&database);
                    assert_eq!(keys, 1 + (length + HEADER).saturating_sub(1) / most, "{length} by {most}");
                }
            }
        }
    }

    fn scan_keys(database: &Database) -> usize {
        database.scan(b"name").map(Result::unwrap).count()
    }
}
