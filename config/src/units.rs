//! The values people write with a unit or a form of their own: money, sizes, durations, times, addresses, secrets.
//! Each parses itself and says in words what it would have accepted; none knows which key it belongs to.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use toml::value::{Datetime, Offset};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// An amount of money in millionths of its currency's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Micros(pub i64);

impl Micros {
    /// Reads a decimal string such as `"1.00"` or `"-0.000001"`, exactly, or nothing at all.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        if !is_digits(whole) || !is_digits(fraction) || fraction.len() > 6 {
            return None;
        }
        let millionths: i64 = format!("{fraction:0<6}").parse().ok()?;
        let amount = whole.parse::<i64>().ok()?.checked_mul(1_000_000)?;
        let amount = amount.checked_add(millionths)?;
        Some(Self(if negative { -amount } else { amount }))
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let fraction = format!("{:06}", amount % 1_000_000);
        let shown = fraction.trim_end_matches('0');
        write!(formatter, "{sign}{}.{shown:0<2}", amount / 1_000_000)
    }
}

/// A size in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(pub u64);

const SIZES: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Size {
    /// Reads a whole number and a binary unit, such as `"2GiB"`.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split_unit(text)?;
        let (_, octets) = SIZES.iter().find(|(name, _)| *name == unit)?;
        number.checked_mul(*octets).map(Self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |octets: &u64| self.0 >= *octets && self.0.is_multiple_of(*octets);
        let (unit, octets) = SIZES.iter().find(|(_, octets)| fits(octets)).unwrap_or(&("B", 1));
        write!(formatter, "{}{unit}", self.0 / octets)
    }
}

const DURATIONS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a whole number and a unit, such as `"10s"`, `"72h"` or `"400d"`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let (_, milliseconds) = DURATIONS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*milliseconds).map(Duration::from_millis)
}

/// Writes a duration as `parse_duration` reads it.
pub(crate) fn show_duration(duration: Duration) -> String {
    let total = duration.as_millis();
    let fits = |unit: u64| total >= u128::from(unit) && total.is_multiple_of(u128::from(unit));
    let found = DURATIONS.iter().find(|(_, unit)| fits(*unit));
    let (name, unit) = found.unwrap_or(&("s", 1_000));
    format!("{}{name}", total / u128::from(*unit))
}

/// An instant of the wall clock in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Reads an RFC 3339 time with its offset, such as `"2027-01-01T00:00:00Z"`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_datetime(&text.parse().ok()?)
    }

    pub(crate) fn from_datetime(datetime: &Datetime) -> Option<Self> {
        let (date, time) = (datetime.date?, datetime.time?);
        let offset_minutes = match datetime.offset? {
            Offset::Z => 0,
            Offset::Custom { minutes } => i64::from(minutes),
        };
        let days = days_since_epoch(date.year.into(), date.month.into(), date.day.into());
        let minutes = i64::from(time.hour) * 60 + i64::from(time.minute) - offset_minutes;
        let seconds = days * 86_400 + minutes * 60 + i64::from(time.second.unwrap_or(0));
        let milliseconds = i64::from(time.nanosecond.unwrap_or(0)) / 1_000_000;
        Some(Self(seconds * 1_000 + milliseconds))
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar. Counting the year from March puts the leap day last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let march_year = if month > 2 { year } else { year - 1 };
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let leap_days = march_year.div_euclid(4) - march_year.div_euclid(100) + march_year.div_euclid(400);
    march_year * 365 + leap_days + day_of_year - 719_468
}

/// A block of addresses, such as `10.0.0.0/8` or `2001:db8::/32`. One address is a block of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpBlock {
    /// The first address of the block.
    pub network: IpAddr,
    /// How many leading bits all its addresses share.
    pub prefix_bits: u8,
}

impl IpBlock {
    /// Reads CIDR notation or a bare address. Bits set beyond the prefix are a mistake, not a shorthand.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) if is_digits(bits) => (address, Some(bits.parse().ok()?)),
            Some(_) => return None,
            None => (text, None),
        };
        let network: IpAddr = address.parse().ok()?;
        let width = if network.is_ipv4() { 32 } else { 128 };
        let prefix_bits = bits.unwrap_or(width);
        let block = Self { network, prefix_bits };
        (prefix_bits <= width && block.host_bits_are_zero()).then_some(block.canonical())
    }

    /// A block of IPv4 addresses written as IPv6 (RFC 4291 §2.5.5.2) is one of IPv4: as that they are looked for.
    fn canonical(self) -> IpBlock {
        match (self.network.to_canonical(), self.prefix_bits.checked_sub(128 - 32)) {
            (network @ IpAddr::V4(_), Some(prefix_bits)) if self.network.is_ipv6() => {
                Self { network, prefix_bits }
            }
            _ => self,
        }
    }

    /// Whether the address lies in the block; an IPv4 address that came in over an IPv6 socket counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix_bits)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix_bits)
            }
            _ => false,
        }
    }

    fn host_bits_are_zero(&self) -> bool {
        let (bits, width) = match self.network {
            IpAddr::V4(network) => (u128::from(network.to_bits()), 32),
            IpAddr::V6(network) => (network.to_bits(), 128),
        };
        bits == 0 || bits.trailing_zeros() + u32::from(self.prefix_bits) >= width
    }
}

/// A password or a key. It never shows itself: what is needed is taken with `expose`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Hides the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for a bind, a comparison or a hash; never for a log, an answer or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

pub(crate) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit())
}

#[cfg(test)]
mod tests;
