//! What the parked store keeps of a message beside its bytes: as much as a start needs to know to have it found again by
//! its queue, its time and its receipts, without reading the message itself.
//!
//! A row, little-endian: length u8 of what follows · version u8 · place u8 · state u8 · priority u8 · waiting parts u8 · is
//! reserved u8 · provider u16 · tenant u32 · price i64 · wake i64 · others u64 · per id: part u8, hash u64. The rows of a block follow
//! one another in the order of their places.

use crate::bytes::Reader;
use crate::message::State;
use crate::submission::Priority;

const ROW_VERSION: u8 = 1;

/// Ids of one message that are kept in its row; a row's length is one octet.
const IDS_MAX: usize = 23;

/// An id of a provider's, as the receipt index has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdHash {
    pub part: u8,
    pub hash: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its place in the block.
    pub place: u8,
    pub state: State,
    pub priority: Priority,
    /// Parts that wait to be sent.
    pub waiting_parts: u8,
    pub provider: u16,
    pub tenant: u32,
    /// What of its tenant's money it holds in reserve, in millionths.
    pub reserved: i64,
    /// When something is to be done about it, in milliseconds of the wall clock.
    pub wake: i64,
    /// The other providers of its route, one bit each by their index modulo 64.
    pub others: u64,
    pub ids: Vec<IdHash>,
}

impl Row {
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let bits = [0, ROW_VERSION, self.place, self.state as u8, self.priority as u8, self.waiting_parts];
        out.extend_from_slice(&bits);
        out.extend_from_slice(&self.provider.to_le_bytes());
        out.extend_from_slice(&self.tenant.to_le_bytes());
        out.extend_from_slice(&self.reserved.to_le_bytes());
        out.extend_from_slice(&self.wake.to_le_bytes());
        out.extend_from_slice(&self.others.to_le_bytes());
        for id in self.ids.iter().take(IDS_MAX) {
            out.push(id.part);
            out.extend_from_slice(&id.hash.to_le_bytes());
        }
        out[start] = (out.len() - start - 1) as u8;
    }

    /// Whether all its ids fit a row; a message of more parts stays in memory.
    pub fn fits(ids: usize) -> bool {
        ids <= IDS_MAX
    }

    fn read(octets: &[u8]) -> Option<Row> {
        let mut reader = Reader::new(octets);
        let [version, place, state, priority, waiting_parts] = reader.array::<5>()?;
        if version != ROW_VERSION || place >= 64 {
            return None;
        }
        let mut row = Row {
            place,
            state: *State::ALL.get(usize::from(state))?,
            priority: Priority::from_u8(priority)?,
            waiting_parts,
            provider: reader.u16()?,
            tenant: reader.u32()?,
            reserved: reader.i64()?,
            wake: reader.i64()?,
            others: reader.u64()?,
            ids: Vec::new(),
        };
        while !reader.is_empty() {
            row.ids.push(IdHash { part: reader.u8()?, hash: reader.u64()? });
        }
        Some(row)
    }
}

/// The rows of a block; `None` when they are malformed or of a newer version.
pub fn read_rows(octets: &[u8]) -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    each_row(octets, |_, row| {
        rows.push(Row::read(row)?);
        Some(())
    })?;
    Some(rows)
}

/// The rows of a block after some of its messages were parked anew (`newer`) and others are gone (`gone`, bit 0 the first).
pub fn merge_rows(older: &[u8], newer: &[u8], gone: u64) -> Option<Vec<u8>> {
    let mut by_place: [&[u8]; 64] = [&[]; 64];
    for rows in [older, newer] {
        each_row(rows, |place, row| {
            *by_place.get_mut(usize::from(place))? = row;
            Some(())
        })?;
    }
    let mut merged = Vec::with_capacity(older.len() + newer.len());
    for (place, row) in by_place.iter().enumerate() {
        if !row.is_empty() && gone & (1 << place) == 0 {
            merged.push(row.len() as u8);
            merged.extend_from_slice(row);
        }
    }
    Some(merged)
}

/// The places that rows are of, bit 0 the first; `None` when they are malformed.
pub fn places(rows: &[u8]) -> Option<u64> {
    let mut places = 0u64;
    each_row(rows, |place, _| {
        places |= 1u64.checked_shl(u32::from(place))?;
        Some(())
    })?;
    Some(places)
}

fn each_row<'a>(octets: &'a [u8], mut visit: impl FnMut(u8, &'a [u8]) -> Option<()>) -> Option<()> {
    let mut reader = Reader::new(octets);
    while !reader.is_empty() {
        let length = reader.u8()?;
        let row = reader.take(usize::from(length))?;
        visit(*row.get(1)?, row)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(place: u8, price: i64, ids: usize) -> Row {
        let id = |part: usize| IdHash { part: part as u8, hash: u64::MAX - part as u64 };
        Row {
            place,
            state: State::ALL[usize::from(place) % State::ALL.len()],
            priority: Priority::High,
            waiting_parts: 3,
            provider: 513,
            tenant: 70_000,
            reserved: price,
            wake: i64::MAX - 1,
            others: 1 << 63,
            ids: (0..ids).map(id).collect(),
        }
    }

    fn written<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Vec<u8> {
        let mut out = Vec::new();
        rows.into_iter().for_each(|row| row.write(&mut out));
        out
    }

    #[test]
    fn rows_read_back_as_written_and_cut_ones_are_refused() {
        let rows = [row(0, 1, 0), row(5, -7, 1), row(63, i64::MIN, IDS_MAX)];
        let bytes = written(&rows);
        assert_eq!(read_rows(&bytes).as_deref(), Some(&rows[..]));
        assert_eq!(read_rows(&bytes[..bytes.len() - 1]), None);
        let mut newer = bytes.clone();
        newer[1] = ROW_VERSION + 1;
        assert_eq!(read_rows(&newer), None);
        let mut outside = bytes;
        outside[2] = 64;
        assert_eq!(read_rows(&outside), None);
    }

    proptest! {
        #[test]
        fn the_newest_row_of_a_place_holds_and_those_that_are_gone_are_gone(
            older in prop::collection::btree_set(0u8..64, 0..20),
            newer in prop::collection::btree_set(0u8..64, 0..20),
            gone in any::<u64>(),
        ) {
            let old: Vec<Row> = older.iter().map(|place| row(*place, 1, 1)).collect();
            let new: Vec<Row> = newer.iter().map(|place| row(*place, 2, 2)).collect();
            let merged = merge_rows(&written(&old), &written(&new), gone).expect("both are well formed");
            let merged: Vec<(u8, i64)> =
                read_rows(&merged).expect("it reads").iter().map(|row| (row.place, row.reserved)).collect();
            let expected: Vec<(u8, i64)> = older.union(&newer)
                .filter(|place| gone & (1 << **place) == 0)
                .map(|place| (*place, if newer.contains(place) { 2 } else { 1 }))
                .collect();
            prop_assert_eq!(merged, expected);
        }

        #[test]
        fn no_octets_make_it_panic(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_rows(&octets);
            let _ = merge_rows(&octets, &octets, 0);
        }
    }
}
