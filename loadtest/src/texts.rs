//! Texts that differ from message to message like those of people do, at the price of one copy. Seeded: a serial has its text.

use crate::dice::mix;

/// More than any compressor looks back, so that what is stored of a run says something about real texts.
const POOL_OCTETS: usize = 4 << 20;
const WORDS: u64 = 5_000;

/// A long text of drawn words; every message shows another stretch of it.
#[derive(Debug)]
pub struct Texts {
    pool: Vec<u8>,
    length: usize,
}

impl Texts {
    /// Texts of this many characters, all of them in every alphabet.
    #[must_use]
    pub fn new(length: usize) -> Self {
        let mut pool = Vec::with_capacity(POOL_OCTETS + length + 16);
        let mut draw = 0;
        while pool.len() < POOL_OCTETS + length {
            draw += 1;
            word(mix(draw) % WORDS, &mut pool);
            pool.push(b' ');
        }
        Self { pool, length }
    }

    /// The text of a message.
    #[must_use]
    pub fn of(&self, serial: u32) -> &[u8] {
        let start = (mix(u64::from(serial)) % POOL_OCTETS as u64) as usize;
        self.pool.get(start..start + self.length).unwrap_or_default()
    }
}

/// One of the words, of three to nine letters, the same every time.
fn word(number: u64, out: &mut Vec<u8>) {
    let mut letters = mix(number ^ 0x7469_6465);
    for _ in 0..3 + letters % 7 {
        letters = mix(letters);
        out.push(b'a' + (letters % 26) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_serial_has_its_own_text_and_keeps_it() {
        let texts = Texts::new(152);
        let again = Texts::new(152);
        let mut seen = std::collections::HashSet::new();
        for serial in 0..1_000 {
            assert_eq!(texts.of(serial), again.of(serial));
            assert_eq!(texts.of(serial).len(), 152);
            assert!(texts.of(serial).iter().all(|octet| octet.is_ascii_lowercase() || *octet == b' '));
            seen.insert(texts.of(serial).to_vec());
        }
        // Two may meet by chance; in a message the serial stands before them.
        assert!(seen.len() > 990);
    }
}
