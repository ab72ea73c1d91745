//! What the outside sees of a message's number: 18 digits from which nobody can guess a neighbour's or count traffic.
//! It gives out no numbers and remembers none.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use crate::hash;

/// The smallest id: eighteen digits that do not start with a zero.
pub const FIRST_ID: u64 = 100_000_000_000_000_000;
/// The largest id.
pub const LAST_ID: u64 = 999_999_999_999_999_999;
/// Numbers from here on have no id.
pub const NUMBERS: u64 = LAST_ID - FIRST_ID + 1;

pub const ID_DIGITS: usize = 18;
const HALF_BITS: u32 = 30;
const HALF_MASK: u64 = (1 << HALF_BITS) - 1;
const ROUNDS: u64 = 6;
const SEQUENCE_BITS: u32 = 36;
const EPOCH_BITS: u32 = 12;
const SLOT_DOMAIN: u64 = 1;

/// A message's number: the tenant's slot, the epoch of the store, and a running sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(pub u64);

impl Number {
    /// Numbers use this many bits, so that a part can be kept beside one in a word.
    pub const BITS: u32 = SEQUENCE_BITS + EPOCH_BITS + u8::BITS;
    /// The low bits, epoch and sequence, order the messages of all tenants.
    pub const ORDER_BITS: u32 = SEQUENCE_BITS + EPOCH_BITS;
    /// The greatest place in that order.
    pub const LAST_ORDER: u64 = (1 << Number::ORDER_BITS) - 1;
    pub const LAST_SEQUENCE: u64 = (1 << SEQUENCE_BITS) - 1;
    pub const LAST_EPOCH: u16 = (1 << EPOCH_BITS) - 1;

    /// `None` when the epoch or the sequence is used up.
    pub fn new(slot: u8, epoch: u16, sequence: u64) -> Option<Number> {
        if epoch > Number::LAST_EPOCH || sequence > Number::LAST_SEQUENCE {
            return None;
        }
        Some(Number((u64::from(slot) << Number::ORDER_BITS) | Number::order_of(epoch, sequence)))
    }

    /// The place of an epoch's sequence in the order. One past the last sequence it is that of the next epoch's first.
    pub fn order_of(epoch: u16, sequence: u64) -> u64 {
        (u64::from(epoch) << SEQUENCE_BITS) + sequence
    }

    /// Its place in the order in which numbers are given.
    pub fn order(self) -> u64 {
        self.0 & Number::LAST_ORDER
    }

    pub fn slot(self) -> u8 {
        (self.0 >> Number::ORDER_BITS) as u8
    }

    pub fn epoch(self) -> u16 {
        (self.0 >> SEQUENCE_BITS) as u16 & Number::LAST_EPOCH
    }

    pub fn sequence(self) -> u64 {
        self.0 & Number::LAST_SEQUENCE
    }
}

/// The slot of 256 that a tenant's messages belong to, for ever.
pub fn tenant_slot(tenant_id: &str) -> u8 {
    hash::hash64(SLOT_DOMAIN, tenant_id.as_bytes()) as u8
}

/// The keyed permutation between numbers and ids.
///
/// A balanced Feistel network over 60 bits, repeated until the result is in range again (cycle walking; 1.3 turns on
/// average). Its round function is a keyed hash, so without the key a neighbour's id is as good as random.
#[derive(Clone)]
pub struct Permutation {
    even: (u64, u64),
    odd: (u64, u64),
}

impl Permutation {
    pub fn new(key: &[u8; 32]) -> Permutation {
        let [first, second, third, fourth] = key_words(key);
        Permutation { even: (first, second), odd: (third, fourth) }
    }

    /// The id of a number below [`NUMBERS`]; a larger one is a broken invariant.
    pub fn id(&self, number: u64) -> u64 {
        assert!(number < NUMBERS, "a message number is out of range");
        let mut word = self.forward(number);
        while word >= NUMBERS {
            word = self.forward(word);
        }
        FIRST_ID + word
    }

    /// The number of an id; `None` when it is no id at all. Most ids belong to no message.
    pub fn number(&self, id: u64) -> Option<u64> {
        if !(FIRST_ID..=LAST_ID).contains(&id) {
            return None;
        }
        let mut word = self.backward(id - FIRST_ID);
        while word >= NUMBERS {
            word = self.backward(word);
        }
        Some(word)
    }

    fn forward(&self, word: u64) -> u64 {
        let (mut left, mut right) = (word >> HALF_BITS, word & HALF_MASK);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.mix(round, right));
        }
        (left << HALF_BITS) | right
    }

    fn backward(&self, word: u64) -> u64 {
        let (mut left, mut right) = (word >> HALF_BITS, word & HALF_MASK);
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.mix(round, left), left);
        }
        (left << HALF_BITS) | right
    }

    fn mix(&self, round: u64, half: u64) -> u64 {
        let keys = if round.is_multiple_of(2) { self.even } else { self.odd };
        sip13_of_word(keys, (round << 32) | half) & HALF_MASK
    }
}

/// SipHash-1-3 of eight octets, the word's in little-endian order. Each message's id takes some eight of these: for any number of
/// octets the hash takes twice the time.
fn sip13_of_word((low, high): (u64, u64), word: u64) -> u64 {
    // The initial values and the length in the last block are those of Aumasson and Bernstein's paper, §2.
    let mut state = [
        low ^ 0x736f_6d65_7073_6575,
        high ^ 0x646f_7261_6e64_6f6d,
        low ^ 0x6c79_6765_6e65_7261,
        high ^ 0x7465_6462_7974_6573,
    ];
    for block in [word, 8 << 56] {
        state[3] ^= block;
        sip_round(&mut state);
        state[0] ^= block;
    }
    state[2] ^= 0xff;
    for _ in 0..3 {
        sip_round(&mut state);
    }
    state.into_iter().fold(0, |mixed, word| mixed ^ word)
}

fn sip_round([first, second, third, fourth]: &mut [u64; 4]) {
    *first = first.wrapping_add(*second);
    *second = second.rotate_left(13) ^ *first;
    *first = first.rotate_left(32);
    *third = third.wrapping_add(*fourth);
    *fourth = fourth.rotate_left(16) ^ *third;
    *first = first.wrapping_add(*fourth);
    *fourth = fourth.rotate_left(21) ^ *first;
    *third = third.wrapping_add(*second);
    *second = second.rotate_left(17) ^ *third;
    *third = third.rotate_left(32);
}

pub fn id_digits(id: u64) -> [u8; ID_DIGITS] {
    let mut digits = [b'0'; ID_DIGITS];
    let mut rest = id;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

/// Reads exactly eighteen digits that do not start with a zero.
#[deny(clippy::arithmetic_side_effects)]
pub fn parse_id(text: &[u8]) -> Option<u64> {
    let all_digits = text.iter().all(u8::is_ascii_digit);
    if text.len() != ID_DIGITS || !all_digits {
        return None;
    }
    let id = std::str::from_utf8(text).ok()?.parse().ok()?;
    (id >= FIRST_ID).then_some(id)
}

fn key_words(key: &[u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, octets) in words.iter_mut().zip(key.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*octets);
    }
    words
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;

    fn key() -> [u8; 32] {
        std::array::from_fn(|index| index as u8)
    }

    #[test]
    fn ids_are_the_same_for_ever() {
        let permutation = Permutation::new(&key());
        // The values come from a second, independent implementation.
        let table = [
            (0, 406_126_572_488_176_608),
            (1, 572_910_832_139_709_396),
            (2, 716_824_910_258_932_031),
            ((1 << 56) - 1, 415_671_919_625_998_323),
            (NUMBERS - 1, 837_176_877_513_628_513),
        ];
        for (number, id) in table {
            assert_eq!(permutation.id(number), id, "{number}");
        }
    }

    #[test]
    fn another_key_gives_other_ids() {
        let one = Permutation::new(&key());
        for changed in [0, 8, 16, 31] {
            let mut other = key();
            other[changed] ^= 1;
            assert_ne!(one.id(7), Permutation::new(&other).id(7), "octet {changed}");
        }
    }

    #[test]
    fn neighbours_do_not_look_alike() {
        // Over 10,000 neighbours the upper and lower halves of the range come up about equally, and a step changes
        // the id by less than a thousandth of the range about once in 500, as it would by chance.
        let permutation = Permutation::new(&key());
        let ids: Vec<u64> = (0..10_000).map(|number| permutation.id(number)).collect();
        let upper = ids.iter().filter(|id| **id > FIRST_ID + NUMBERS / 2).count();
        let near = ids.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < NUMBERS / 1_000).count();
        assert!((4_800..5_200).contains(&upper), "{upper}");
        assert!(near < 60, "{near}");
    }

    #[test]
    fn only_eighteen_digits_are_an_id() {
        let table: [(&[u8], Option<u64>); 9] = [
            (b"100000000000000000", Some(FIRST_ID)),
            (b"999999999999999999", Some(LAST_ID)),
            (b"099999999999999999", None),
            (b"99999999999999999", None),
            (b"1000000000000000000", None),
            (b"10000000000000000a", None),
            (b"+10000000000000000", None),
            (b"", None),
            (b"10000000000000000\xff", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_id(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_id_has_no_number() {
        let permutation = Permutation::new(&key());
        for id in [0, FIRST_ID - 1, LAST_ID + 1, u64::MAX] {
            assert_eq!(permutation.number(id), None);
        }
    }

    #[test]
    fn numbers_hold_slot_epoch_and_sequence() {
        let number = Number::new(0xab, 0xcde, 0x9_8765_4321).unwrap();
        assert_eq!(number.0, 0x00ab_cde9_8765_4321);
        assert_eq!((number.slot(), number.epoch(), number.sequence()), (0xab, 0xcde, 0x9_8765_4321));
        assert_eq!(number.order(), 0xcde9_8765_4321);
        assert_eq!(Number::new(0, Number::LAST_EPOCH + 1, 0), None);
        assert_eq!(Number::new(0, 0, Number::LAST_SEQUENCE + 1), None);
        let last = Number::new(u8::MAX, Number::LAST_EPOCH, Number::LAST_SEQUENCE).unwrap();
        assert_eq!(last.0, (1 << Number::BITS) - 1);
        assert!(last.0 < NUMBERS);
        assert_eq!(last.order(), Number::LAST_ORDER);
    }

    #[test]
    fn behind_the_last_sequence_comes_the_next_epoch() {
        for epoch in [0, 1, Number::LAST_EPOCH - 1] {
            let next = Number::order_of(epoch, Number::LAST_SEQUENCE + 1);
            assert_eq!(next, Number::order_of(epoch + 1, 0), "{epoch}");
            assert_eq!((Number(next).epoch(), Number(next).sequence()), (epoch + 1, 0));
        }
    }

    #[test]
    fn a_tenant_keeps_its_slot_for_ever() {
        let table = [("", 170), ("bench", 182), ("demo", 60)];
        for (tenant, slot) in table {
            assert_eq!(tenant_slot(tenant), slot, "{tenant}");
        }
    }

    proptest! {
        #[test]
        fn the_hash_of_a_word_is_siphash(low: u64, high: u64, word: u64) {
            let expected = SipHasher13::new_with_keys(low, high).hash(&word.to_le_bytes());
            prop_assert_eq!(sip13_of_word((low, high), word), expected);
        }

        #[test]
        fn numbers_and_ids_are_one_to_one(number in 0..NUMBERS, octets: [u8; 32]) {
            let permutation = Permutation::new(&octets);
            let id = permutation.id(number);
            prop_assert!((FIRST_ID..=LAST_ID).contains(&id));
            prop_assert_eq!(permutation.number(id), Some(number));
        }

        #[test]
        fn every_id_has_exactly_one_number(id in FIRST_ID..=LAST_ID, octets: [u8; 32]) {
            let permutation = Permutation::new(&octets);
            prop_assert_eq!(permutation.number(id).map(|number| permutation.id(number)), Some(id));
        }

        #[test]
        fn ids_survive_their_digits(id in FIRST_ID..=LAST_ID) {
            prop_assert_eq!(parse_id(&id_digits(id)), Some(id));
        }
    }
}
