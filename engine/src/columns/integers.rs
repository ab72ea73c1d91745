//! A column of integers as few bits: what they are less the one before, or less another column, or as they are, above the
//! least of them, each in as many bits as the greatest needs. It does not know what they count.
//!
//! A column of none is nothing. Else: transform × 65 + width u8 · for differences the first value · the least, zigzag · the
//! offsets from it, packed from the low bit up.

use crate::bytes::Reader;

const PLAIN: u8 = 0;
const FROM_PREVIOUS: u8 = 1;
const FROM_REFERENCE: u8 = 2;
/// Widths are 0 to 64 bits.
const WIDTHS: u8 = 65;

/// How one transform of a column would be written.
struct Choice {
    transform: u8,
    least: i64,
    width: u32,
}

/// Appends the column. `reference` is a column of the same length that may explain it, or empty.
pub fn write(values: &[u64], reference: &[u64], out: &mut Vec<u8>) {
    let Some((&first, rest)) = values.split_first() else { return };
    if rest.iter().all(|value| *value == first) {
        out.push(PLAIN * WIDTHS);
        push_varint(out, zigzag(first.cast_signed()));
        return;
    }
    let mut best = choice(PLAIN, values.iter().copied());
    let previous = rest.iter().zip(values).map(|(value, before)| value.wrapping_sub(*before));
    best = narrower(best, choice(FROM_PREVIOUS, previous.clone()));
    let differences = values.iter().zip(reference).map(|(value, reference)| value.wrapping_sub(*reference));
    if best.width > 0 && reference.len() == values.len() {
        best = narrower(best, choice(FROM_REFERENCE, differences.clone()));
    }
    out.push(best.transform * WIDTHS + best.width as u8);
    match best.transform {
        FROM_PREVIOUS => {
            push_varint(out, first);
            pack(previous, &best, out);
        }
        FROM_REFERENCE => pack(differences, &best, out),
        _ => pack(values.iter().copied(), &best, out),
    }
}

/// Reads a column of `count` values into `values`.
pub fn read(reader: &mut Reader<'_>, count: usize, reference: &[u64], values: &mut Vec<u64>) -> Option<()> {
    values.clear();
    if count == 0 {
        return Some(());
    }
    let head = reader.u8()?;
    let width = u32::from(head % WIDTHS);
    match head / WIDTHS {
        PLAIN => unpack(reader, count, width, values),
        FROM_PREVIOUS => {
            let mut last = read_varint(reader)?;
            unpack(reader, count - 1, width, values)?;
            for value in values.iter_mut() {
                (last, *value) = (last.wrapping_add(*value), last);
            }
            values.push(last);
            Some(())
        }
        FROM_REFERENCE if reference.len() == count => {
            unpack(reader, count, width, values)?;
            for (value, reference) in values.iter_mut().zip(reference) {
                *value = value.wrapping_add(*reference);
            }
            Some(())
        }
        _ => None,
    }
}

pub fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn read_varint(reader: &mut Reader<'_>) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let octet = reader.u8()?;
        value |= u64::from(octet & 0x7f) << shift;
        if octet < 0x80 {
            return Some(value);
        }
    }
    None
}

fn narrower(one: Choice, other: Choice) -> Choice {
    if other.width < one.width { other } else { one }
}

fn choice(transform: u8, values: impl Iterator<Item = u64>) -> Choice {
    let (mut least, mut most) = (i64::MAX, i64::MIN);
    for value in values {
        least = least.min(value as i64);
        most = most.max(value as i64);
    }
    if least > most {
        return Choice { transform, least: 0, width: 0 };
    }
    let range = most.wrapping_sub(least) as u64;
    Choice { transform, least, width: u64::BITS - range.leading_zeros() }
}

fn pack(values: impl Iterator<Item = u64>, choice: &Choice, out: &mut Vec<u8>) {
    push_varint(out, zigzag(choice.least));
    let width = choice.width;
    if width == 0 {
        return;
    }
    let (mut word, mut filled) = (0u64, 0u32);
    for value in values {
        let offset = value.wrapping_sub(choice.least as u64);
        word |= offset << filled;
        filled += width;
        if filled >= u64::BITS {
            out.extend_from_slice(&word.to_le_bytes());
            filled -= u64::BITS;
            // What of it had no room any more; all of it had when it ends where the word does.
            word = offset.checked_shr(width - filled).unwrap_or(0);
        }
    }
    let rest = filled.div_ceil(8) as usize;
    out.extend_from_slice(&word.to_le_bytes()[..rest]);
}

/// So that numbers near zero are small, whatever their sign.
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

fn unpack(reader: &mut Reader<'_>, count: usize, width: u32, values: &mut Vec<u64>) -> Option<()> {
    let least = read_varint(reader)?;
    let least = (least >> 1) ^ (least & 1).wrapping_neg();
    if width == 0 {
        values.resize(count, least);
        return Some(());
    }
    let octets = count.checked_mul(width as usize)?.div_ceil(8);
    let packed = reader.take(octets)?;
    let mask = u64::MAX >> (u64::BITS - width);
    values.reserve(count);
    let (mut bits, mut filled) = (0u128, 0);
    let mut octets = packed.iter();
    for _ in 0..count {
        while filled < width {
            bits |= u128::from(*octets.next()?) << filled;
            filled += 8;
        }
        values.push((bits as u64 & mask).wrapping_add(least));
        bits >>= width;
        filled -= width;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(values: &[u64], reference: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        write(values, reference, &mut out);
        let mut read_back = Vec::new();
        let mut reader = Reader::new(&out);
        read(&mut reader, values.len(), reference, &mut read_back).unwrap();
        assert_eq!(read_back, values);
        assert!(reader.is_empty());
        out
    }

    #[test]
    fn what_can_be_said_shortly_is() {
        let times = [1_795_000_000_000, 1_795_000_000_004, 1_795_000_000_001];
        let later = times.map(|time| time + 259_200_000);
        let table: [(&[u64], &[u64], usize); 7] = [
            (&[], &[], 0),
            (&[7; 64], &[], 2),
            (&(0..64).collect::<Vec<_>>(), &[], 3),
            (&(1 << 40..(1 << 40) + 64).collect::<Vec<_>>(), &[], 8),
            (&later, &times, 6),
            (&[0, u64::MAX, 1 << 63], &[], 28),
            (&[u64::MAX], &[], 2),
        ];
        for (values, reference, octets) in table {
            assert_eq!(written(values, reference).len(), octets, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn any_column_reads_back(
            values in proptest::collection::vec(prop_oneof![any::<u64>(), 0u64..300, (1u64 << 40)..(1 << 40) + 99], 0..80),
            shift in any::<u64>(),
        ) {
            let reference: Vec<u64> = values.iter().map(|value| value.wrapping_add(shift)).collect();
            written(&values, &reference);
            written(&values, &[]);
        }

        #[test]
        fn no_octets_make_it_panic(octets in proptest::collection::vec(any::<u8>(), 0..64), count in 0usize..200) {
            let mut values = Vec::new();
            let _ = read(&mut Reader::new(&octets), count, &[], &mut values);
        }
    }
}
