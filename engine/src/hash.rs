//! Hashing that gives the same result in every process and on every machine. It owns no table and knows no message.
//!
//! The keys are constants: a hash that decides something must replay identically, so nothing here may be random.

use std::hash::{BuildHasher, Hasher};

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher128};

const KEY_LOW: u64 = 0x7469_6465_6761_7465;
const KEY_HIGH: u64 = 0x656e_6769_6e65_2e31;

/// The fixed hasher for maps whose keys are ordinary values.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedState;

impl BuildHasher for FixedState {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(KEY_LOW, KEY_HIGH)
    }
}

/// For maps whose keys are block numbers, which nobody outside chooses: one multiplication spreads neighbours.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlockHash;

impl BuildHasher for BlockHash {
    type Hasher = Spread;

    fn build_hasher(&self) -> Spread {
        Spread(0)
    }
}

/// The hasher of [`BlockHash`].
#[derive(Clone, Copy, Debug)]
pub struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash64(self.0, bytes);
    }

    fn write_u64(&mut self, value: u64) {
        // The golden ratio in 64 bits: the high bits, which tell entries apart, and the low ones, which place them, both vary.
        let product = value.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = product ^ (product >> 32);
    }
}

/// For maps whose keys are already hashes: takes the low 64 bits of the key as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct HashedKey;

impl BuildHasher for HashedKey {
    type Hasher = TakeAsIs;

    fn build_hasher(&self) -> TakeAsIs {
        TakeAsIs(0)
    }
}

/// The hasher of [`HashedKey`].
#[derive(Clone, Copy, Debug)]
pub struct TakeAsIs(u64);

impl Hasher for TakeAsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash64(self.0, bytes);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn write_u128(&mut self, value: u128) {
        // The low half of a 128-bit hash is itself a hash; the map compares the whole key.
        self.0 = value as u64;
    }
}

/// 64 bits over `bytes`; `domain` keeps equal bytes of different owners apart.
pub fn hash64(domain: u64, bytes: &[u8]) -> u64 {
    SipHasher13::new_with_keys(KEY_LOW ^ domain, KEY_HIGH).hash(bytes)
}

/// 128 bits over `bytes`, wide enough to stand for the bytes themselves.
pub fn hash128(domain: u64, bytes: &[u8]) -> u128 {
    let mut hasher = SipHasher128::new_with_keys(KEY_LOW ^ domain, KEY_HIGH);
    hasher.write(bytes);
    hasher.finish128().as_u128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_same_for_ever() {
        // They are on disk (idempotency keys) and decide (slots), so a change of these values is a change of format.
        // The values come from a second, independent implementation of SipHash-1-3.
        assert_eq!(hash64(0, b"tidegate"), 0x5fb8_c834_8c4a_b8ba);
        assert_eq!(hash128(0, b"tidegate"), 0xe01b_b526_d953_14a1_bc76_c96e_9067_bd25);
        assert_eq!(FixedState.hash_one(7u32), 0x0890_4f17_6919_0170);
    }

    #[test]
    fn domains_keep_equal_bytes_apart() {
        assert_ne!(hash64(1, b"a"), hash64(2, b"a"));
        assert_ne!(hash128(1, b"a"), hash128(2, b"a"));
    }
}
