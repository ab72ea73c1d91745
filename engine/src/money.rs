//! Amounts of money: exact integers inside, decimal strings at the edges. It knows no wallet, currency or price.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::fmt;

const DECIMALS: u32 = 6;
const PER_UNIT: i64 = 1_000_000;

/// Millionths of the currency's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

impl Micros {
    pub const ZERO: Micros = Micros(0);

    pub fn checked_add(self, other: Micros) -> Option<Micros> {
        self.0.checked_add(other.0).map(Micros)
    }

    pub fn checked_sub(self, other: Micros) -> Option<Micros> {
        self.0.checked_sub(other.0).map(Micros)
    }

    /// The price of `count` pieces at this price each.
    pub fn checked_mul(self, count: u32) -> Option<Micros> {
        self.0.checked_mul(i64::from(count)).map(Micros)
    }

    pub fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Reads a plain decimal: an optional minus, digits, and after a point at most six more that matter.
    /// What cannot be held exactly is refused, never rounded.
    pub fn parse(text: &str) -> Option<Micros> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, "")) => return None,
            Some((whole, fraction)) => (whole, fraction),
            None => (digits, ""),
        };
        let units = digits_value(whole, whole.len())?.checked_mul(i128::from(PER_UNIT))?;
        let micros = units.checked_add(fraction_micros(fraction)?)?;
        let signed = if negative { micros.checked_neg()? } else { micros };
        i64::try_from(signed).ok().map(Micros)
    }
}

impl fmt::Display for Micros {
    /// At least two decimals, more only when they matter: `1.00`, `0.0075`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let units = magnitude.checked_div(PER_UNIT.unsigned_abs()).unwrap_or(0);
        let mut fraction = magnitude.checked_rem(PER_UNIT.unsigned_abs()).unwrap_or(0);
        let mut width = DECIMALS as usize;
        while width > 2 && fraction.is_multiple_of(10) {
            fraction = fraction.checked_div(10).unwrap_or(0);
            width = width.saturating_sub(1);
        }
        let sign = if self.is_negative() { "-" } else { "" };
        write!(formatter, "{sign}{units}.{fraction:0width$}")
    }
}

/// The digits after the point in millionths; zeros beyond the sixth place are harmless.
fn fraction_micros(fraction: &str) -> Option<i128> {
    let kept = match fraction.get(DECIMALS as usize..) {
        Some(beyond) if beyond.bytes().all(|octet| octet == b'0') => fraction.get(..DECIMALS as usize)?,
        Some(_) => return None,
        None => fraction,
    };
    let mut micros = if kept.is_empty() { 0 } else { digits_value(kept, kept.len())? };
    for _ in kept.len()..DECIMALS as usize {
        micros = micros.checked_mul(10)?;
    }
    Some(micros)
}

/// The value of one to nineteen decimal digits and nothing else.
fn digits_value(digits: &str, length: usize) -> Option<i128> {
    if length == 0 || length > 19 || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimal_strings_are_read_exactly_or_refused() {
        let table = [
            ("1", Some(1_000_000)),
            ("1.00", Some(1_000_000)),
            ("0.0075", Some(7_500)),
            ("0.000001", Some(1)),
            ("0.0000010000", Some(1)),
            ("-2.5", Some(-2_500_000)),
            ("-0", Some(0)),
            ("007", Some(7_000_000)),
            ("9223372036854.775807", Some(i64::MAX)),
            ("-9223372036854.775808", Some(i64::MIN)),
            ("9223372036854.775808", None),
            ("99999999999999999999999999", None),
            ("0.0000001", None),
            ("", None),
            ("-", None),
            (".5", None),
            ("1.", None),
            ("+1", None),
            ("1e3", None),
            ("1,00", None),
            (" 1", None),
            ("--1", None),
            ("1.-5", None),
            ("1.2.3", None),
            ("١", None),
            ("0.12345é", None),
        ];
        for (text, expected) in table {
            assert_eq!(Micros::parse(text), expected.map(Micros), "{text:?}");
        }
    }

    #[test]
    fn amounts_show_at_least_two_decimals() {
        let table = [
            (0, "0.00"),
            (1_000_000, "1.00"),
            (7_500, "0.0075"),
            (1, "0.000001"),
            (1_500_000, "1.50"),
            (1_230_000, "1.23"),
            (-250_000, "-0.25"),
            (i64::MIN, "-9223372036854.775808"),
            (i64::MAX, "9223372036854.775807"),
        ];
        for (micros, expected) in table {
            assert_eq!(Micros(micros).to_string(), expected);
        }
    }

    #[test]
    fn sums_and_products_are_checked() {
        assert_eq!(Micros(i64::MAX).checked_add(Micros(1)), None);
        assert_eq!(Micros(i64::MIN).checked_sub(Micros(1)), None);
        assert_eq!(Micros(i64::MAX).checked_mul(2), None);
        assert_eq!(Micros(7_500).checked_mul(4), Some(Micros(30_000)));
    }

    proptest! {
        #[test]
        fn every_amount_survives_its_string(micros: i64) {
            let amount = Micros(micros);
            prop_assert_eq!(Micros::parse(&amount.to_string()), Some(amount));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+.,0-9e ]{0,40}") {
            let _ = Micros::parse(&text);
        }
    }
}
