//! Puts many integers in order by counting them, digit by digit: for some ten thousand of them a fraction of what comparing
//! them costs, and what is in order already costs a look. It does not know what they say.

use std::ops::Range;

/// Bits of a digit: its counts stay in the nearest cache.
const DIGIT: u32 = 12;
const COUNTS: usize = 1 << DIGIT;

/// Sorts by these bits, which are one at least; where they are alike, the order stays. `room` is lent.
pub fn sort(values: &mut Vec<u64>, room: &mut Vec<u64>, bits: Range<u32>) {
    let key = |value: u64| value << (u64::BITS - bits.end) >> (u64::BITS - bits.end + bits.start);
    if values.is_sorted_by_key(|value| key(*value)) {
        return;
    }
    let first = values.first().copied().unwrap_or(0);
    let differ = values.iter().fold(0, |differ, value| differ | value ^ first);
    for shift in (0..bits.end - bits.start).step_by(DIGIT as usize) {
        let digit = |value: u64| (key(value) >> shift) as usize % COUNTS;
        // A digit that all have alike orders nothing.
        if digit(differ) > 0 {
            place(values, room, digit);
            std::mem::swap(values, room);
        }
    }
}

/// Leaves in `room` the values in the order of a digit.
fn place(values: &[u64], room: &mut Vec<u64>, digit: impl Fn(u64) -> usize) {
    let mut places = [0u32; COUNTS];
    for value in values {
        places[digit(*value)] += 1;
    }
    let mut before = 0;
    for place in &mut places {
        before += std::mem::replace(place, before);
    }
    room.resize(values.len(), 0);
    for value in values {
        let place = &mut places[digit(*value)];
        room[*place as usize] = *value;
        *place += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_order_that_comparing_gives_and_is_stable(
            values in prop::collection::vec((any::<u64>(), 0u32..64), 0..400),
            bits in (0u32..64, 1u32..=64),
        ) {
            let bits = bits.0..(bits.0 + bits.1).min(64);
            // Some are alike but for a few bits.
            let mut values: Vec<u64> = values.iter().map(|(value, shift)| value >> shift).collect();
            let key = |value: &u64| (0..64).fold(0, |key, bit| key | if bits.contains(&bit) { value & 1 << bit } else { 0 });
            let mut expected = values.clone();
            expected.sort_by_key(key);
            let mut room = vec![7; 3];
            sort(&mut values, &mut room, bits.clone());
            prop_assert_eq!(values, expected);
        }
    }
}
