//! Values at prefixes of decimal digits. It knows neither routes nor prices, only places in somebody's list.
//!
//! One table for all lengths: a look-up asks it once for each length that there is, and as no answer waits for the one before,
//! the memory's delays overlap. A tree by digits would wait for one of them after the other.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use crate::hash::BlockHash;

/// The digits that a prefix may have: so many always fit 64 bits.
const LENGTH_MAX: usize = 19;

/// Values at runs of decimal digits; several roots share the table.
#[derive(Clone, Debug, Default)]
pub(super) struct Prefixes {
    entries: HashTable<Entry>,
    /// By root: bit n is set when it has a prefix of n digits.
    lengths: Vec<u32>,
}

/// Four of them fit a line of the cache.
#[derive(Clone, Debug)]
struct Entry {
    number: u64,
    below: Below,
    value: u32,
}

/// A root, and the length of a prefix below it: with its number all of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Below(u32);

/// Bits of a length.
const LENGTH_BITS: u32 = 5;

impl Below {
    fn new(root: u32, length: u32) -> Below {
        Below(root << LENGTH_BITS | length)
    }
}

/// A run of digits: their number, and how many they are. One that begins with zeros is no number's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    number: u64,
    length: u32,
}

impl Prefix {
    /// `None` for what is not a run of digits, with or without a plus, or too long for any number.
    pub(super) fn read(prefix: &str) -> Option<Prefix> {
        let digits = prefix.strip_prefix('+').unwrap_or(prefix);
        if digits.len() > LENGTH_MAX || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
            return None;
        }
        let number = digits.bytes().fold(0, |number, octet| number * 10 + u64::from(octet - b'0'));
        Some(Prefix { number, length: digits.len() as u32 })
    }
}

impl Prefixes {
    pub(super) fn add_root(&mut self) -> u32 {
        assert!(self.lengths.len() >> (u32::BITS - LENGTH_BITS) == 0, "more roots than any settings have");
        self.lengths.push(0);
        (self.lengths.len() - 1) as u32
    }

    /// The place of the value at a prefix below `root`, and `new` in it where there was none.
    pub(super) fn value_or(&mut self, root: u32, prefix: Prefix, new: u32) -> &mut u32 {
        self.lengths[root as usize] |= 1 << prefix.length;
        let (number, below) = (prefix.number, Below::new(root, prefix.length));
        let is_it = |entry: &Entry| entry.number == number && entry.below == below;
        let entry = self.entries.entry(hash(number, below), is_it, |entry| hash(entry.number, entry.below));
        &mut entry.or_insert(Entry { number, below, value: new }).into_mut().value
    }

    /// Puts another value in the place of each.
    pub(super) fn change_values(&mut self, change: impl Fn(u32) -> u32) {
        self.entries.iter_mut().for_each(|entry| entry.value = change(entry.value));
    }

    /// Shows the value of every prefix that the number begins with, the shortest first, with its length.
    pub(super) fn walk(&self, root: u32, number: &Digits, mut show: impl FnMut(u32, u32)) {
        let mut lengths = self.lengths.get(root as usize).copied().unwrap_or(0);
        while lengths != 0 {
            let length = lengths.trailing_zeros();
            lengths &= lengths - 1;
            let Some(prefix) = number.first(length) else { return };
            let (number, below) = (prefix.number, Below::new(root, length));
            let is_it = |entry: &Entry| entry.number == number && entry.below == below;
            if let Some(entry) = self.entries.find(hash(number, below), is_it) {
                show(length, entry.value);
            }
        }
    }
}

/// A number and how many decimal digits it has; zero has none.
pub(super) struct Digits {
    number: u64,
    count: u32,
}

impl Digits {
    pub(super) fn new(number: u64) -> Digits {
        Digits { number, count: number.checked_ilog10().map_or(0, |log| log + 1) }
    }

    /// Its first digits; `None` when it has fewer.
    fn first(&self, length: u32) -> Option<Prefix> {
        let behind = self.count.checked_sub(length)?;
        let number = if behind == self.count { 0 } else { self.number / 10u64.pow(behind) };
        Some(Prefix { number, length })
    }
}

fn hash(number: u64, below: Below) -> u64 {
    // One prefix may stand below every root: what tells roots apart has to reach the low bits, which choose the place.
    BlockHash.hash_one(number ^ u64::from(below.0).wrapping_mul(0xD6E8_FEB8_6659_FD93))
}
