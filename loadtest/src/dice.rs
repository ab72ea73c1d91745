//! Seeded draws: what happens to a message depends on the seed, the message and the try, never on the order of threads.

/// A draw from 64 bits that anybody with the same inputs makes alike.
#[derive(Debug, Clone, Copy)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// The dice for one try of one message.
    #[must_use]
    pub fn new(seed: u64, key: u64, attempt: u64) -> Self {
        Self { state: mix(mix(mix(seed) ^ key) ^ attempt) }
    }

    /// An even number in 0..1.
    pub fn fraction(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something of this probability happens. Always uses one draw, so that changing one rate moves no other fault.
    pub fn happens(&mut self, rate: f64) -> bool {
        self.fraction() < rate
    }

    /// A place in a list of this length; 0 for an empty one.
    pub fn place(&mut self, length: usize) -> usize {
        (self.word() % length.max(1) as u64) as usize
    }

    fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
#[must_use]
pub fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// A number that stands for octets; equal octets give equal numbers on every machine.
#[must_use]
pub fn fingerprint(octets: &[u8]) -> u64 {
    octets.iter().fold(octets.len() as u64, |hash, octet| mix(hash ^ u64::from(*octet)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_inputs_draw_the_same_and_others_do_not() {
        let draws = |seed, key, attempt| {
            let mut dice = Dice::new(seed, key, attempt);
            [dice.word(), dice.word(), dice.word()]
        };
        assert_eq!(draws(1, 2, 3), draws(1, 2, 3));
        assert_ne!(draws(1, 2, 3), draws(2, 2, 3));
        assert_ne!(draws(1, 2, 3), draws(1, 3, 3));
        assert_ne!(draws(1, 2, 3), draws(1, 2, 4));
    }

    #[test]
    fn a_rate_is_met_over_many_messages() {
        let hits = (0..100_000).filter(|key| Dice::new(7, *key, 0).happens(0.1)).count();
        assert!((9_500..10_500).contains(&hits), "{hits}");
        assert_eq!((0..1_000).filter(|key| Dice::new(7, *key, 0).happens(0.0)).count(), 0);
        assert_eq!((0..1_000).filter(|key| Dice::new(7, *key, 0).happens(1.0)).count(), 1_000);
    }
}
