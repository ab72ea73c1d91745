//! Destinations that carry a message's serial number, so that the message is known at every hop without a table.

use crate::wire::{digits, eight_digits};

/// Digits of a serial in a destination.
const SERIAL_DIGITS: usize = 8;
/// Serials there are: eight digits.
pub const SERIALS: u64 = 100_000_000;
/// Neighbouring serials get numbers far apart: their product with this, and this with its inverse, is one modulo `SERIALS`.
const STRIDE: u64 = 38_196_601;
const STRIDE_BACK: u64 = inverse(STRIDE);

/// Destinations `prefix` + eight digits, the first of which is `first`.
#[derive(Debug, Clone)]
pub struct Numbers {
    prefix: String,
    prefix_number: u64,
    first: u64,
    count: u64,
    scattered: bool,
}

/// Why a run cannot have its destinations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumbersError {
    #[error("the prefix must be 1 to 7 digits that do not begin with 0")]
    Prefix,
    #[error("there are only {SERIALS} numbers behind a prefix, and {first} + {count} is more")]
    TooMany { first: u64, count: u64 },
}

impl Numbers {
    /// # Errors
    /// The prefix is none, or the serials do not fit into eight digits.
    pub fn new(prefix: &str, first: u64, count: u64) -> Result<Self, NumbersError> {
        let fits = (1..=7).contains(&prefix.len()) && prefix.bytes().all(|octet| octet.is_ascii_digit());
        let prefix_number = digits(prefix.as_bytes()).filter(|_| fits && !prefix.starts_with('0'));
        let prefix_number = prefix_number.ok_or(NumbersError::Prefix)?;
        if first.checked_add(count).is_none_or(|end| end > SERIALS) {
            return Err(NumbersError::TooMany { first, count });
        }
        Ok(Self { prefix: prefix.into(), prefix_number, first, count, scattered: false })
    }

    /// The same messages with numbers scattered over all eight digits, so that longer prefixes are met alike.
    #[must_use]
    pub fn scattered(self, scattered: bool) -> Self {
        Self { scattered, ..self }
    }

    /// Where the serial's eight digits begin in a destination.
    #[must_use]
    pub fn serial_at(&self) -> usize {
        self.prefix.len()
    }

    /// A destination to make templates of.
    #[must_use]
    pub fn sample(&self) -> String {
        format!("{}{:0SERIAL_DIGITS$}", self.prefix, 0)
    }

    /// The eight digits of a message's destination.
    #[must_use]
    pub fn digits(&self, serial: u32) -> [u8; 8] {
        eight_digits(self.suffix(serial))
    }

    /// The destination of a message as a number.
    #[must_use]
    pub fn destination(&self, serial: u32) -> u64 {
        self.prefix_number * SERIALS + self.suffix(serial)
    }

    /// The message whose destination this is.
    #[must_use]
    pub fn serial(&self, destination: &[u8]) -> Option<u32> {
        let number = digits(destination)?;
        let suffix = number % SERIALS;
        let place = if self.scattered { suffix * STRIDE_BACK % SERIALS } else { suffix };
        let serial = place.checked_sub(self.first).filter(|serial| *serial < self.count)?;
        if number / SERIALS == self.prefix_number { u32::try_from(serial).ok() } else { None }
    }

    fn suffix(&self, serial: u32) -> u64 {
        let place = self.first + u64::from(serial);
        if self.scattered { place * STRIDE % SERIALS } else { place }
    }
}

/// What a number must be multiplied with to give 1 modulo `SERIALS` (Euler: its power of φ − 1, which is 4·10⁷ − 1).
const fn inverse(number: u64) -> u64 {
    let (mut power, mut exponent, mut found) = (number % SERIALS, 39_999_999_u64, 1);
    while exponent > 0 {
        if exponent % 2 == 1 {
            found = found * power % SERIALS;
        }
        power = power * power % SERIALS;
        exponent /= 2;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_numbers_are_all_different_spread_and_found_again() {
        let numbers = Numbers::new("2547", 7, 20_000).unwrap().scattered(true);
        let mut seen = std::collections::BTreeSet::new();
        let mut prefixes = std::collections::BTreeSet::new();
        for serial in 0..20_000 {
            let destination = numbers.destination(serial);
            assert_eq!(numbers.serial(destination.to_string().as_bytes()), Some(serial));
            assert_eq!(destination % SERIALS, digits(&numbers.digits(serial)).unwrap());
            seen.insert(destination);
            prefixes.insert(destination / 10_000);
        }
        assert_eq!(seen.len(), 20_000);
        assert!(prefixes.len() > 9_000, "{}", prefixes.len());
    }

    #[test]
    fn a_serial_is_found_again_in_its_destination() {
        let numbers = Numbers::new("2547", 500, 1_000).unwrap();
        for serial in [0, 1, 999] {
            let destination = numbers.destination(serial).to_string();
            assert_eq!(destination.as_bytes()[numbers.serial_at()..], numbers.digits(serial));
            assert_eq!(numbers.serial(destination.as_bytes()), Some(serial));
            assert_eq!(numbers.serial(format!("+{destination}").as_bytes()), Some(serial));
        }
        for stranger in ["254700000499", "254700001500", "255700000500", "ACME", ""] {
            assert_eq!(numbers.serial(stranger.as_bytes()), None, "{stranger}");
        }
    }

    #[test]
    fn impossible_numbers_are_refused() {
        assert_eq!(Numbers::new("", 0, 1).unwrap_err(), NumbersError::Prefix);
        assert_eq!(Numbers::new("0254", 0, 1).unwrap_err(), NumbersError::Prefix);
        let error = Numbers::new("2547", SERIALS - 1, 2).unwrap_err();
        assert_eq!(error, NumbersError::TooMany { first: SERIALS - 1, count: 2 });
    }
}
