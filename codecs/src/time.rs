//! Times as SMPP and RFC 3339 write them, and the civil calendar under both. It reads no clock and knows no time zone but
//! fixed offsets. Not here: the dates inside receipts, which need guessing (`receipt`).

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use crate::instant::Wall;

/// A schedule_delivery_time, validity_period or date of a receipt that cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an SMPP time")]
pub struct InvalidTime;

/// Reads a time field (SMPP 3.4 §7.1.1), absolute or relative to `now`. `None`: not set, or all zero, which several senders
/// mean by it. Shorter forms that can mean only one thing are taken too: no offset is UTC. A time in the past is no error here.
pub fn read(octets: &[u8], now: Wall) -> Result<Option<Wall>, InvalidTime> {
    let (digits, mark) = match unpadded(octets) {
        [] => return Ok(None),
        [digits @ .., mark @ (b'+' | b'-' | b'R' | b'r')] => (digits, *mark),
        digits => (digits, 0),
    };
    if !digits.is_empty() && digits.iter().all(|digit| *digit == b'0') {
        return Ok(None);
    }
    let read = match mark {
        b'R' | b'r' => relative(digits, now),
        b'+' => absolute(digits, 1),
        b'-' => absolute(digits, -1),
        _ => unmarked(digits),
    };
    read.map(Some).ok_or(InvalidTime)
}

/// Appends the 16 octets of the absolute form, in UTC and without the final NUL. What two digits of a year cannot say becomes the
/// nearest moment that they can: another century would make the far future the past.
pub fn write_absolute(out: &mut Vec<u8>, wall: Wall) {
    let civil = Civil::of(Wall(wall.0.clamp(SHORT_FIRST, SHORT_LAST)));
    write_minute(out, civil);
    let [second_tens, second] = two_digits(civil.second);
    let [_, tenth, ..] = four_digits(civil.millisecond);
    out.extend_from_slice(&[second_tens, second, tenth, b'0', b'0', b'+']);
}

/// Appends the RFC 3339 form with milliseconds: `2026-11-20T13:50:00.123Z`.
pub fn rfc3339(wall: Wall, out: &mut Vec<u8>) {
    let civil = Civil::of(wall);
    out.extend_from_slice(&four_digits(civil.year));
    for (mark, number) in [
        (b'-', civil.month),
        (b'-', civil.day),
        (b'T', civil.hour),
        (b':', civil.minute),
        (b':', civil.second),
    ] {
        let [tens, ones] = two_digits(number);
        out.extend_from_slice(&[mark, tens, ones]);
    }
    let [_, hundreds, tens, ones] = four_digits(civil.millisecond);
    out.extend_from_slice(&[b'.', hundreds, tens, ones, b'Z']);
}

/// The same as a `String`.
pub fn rfc3339_string(wall: Wall) -> String {
    let mut octets = Vec::with_capacity(24);
    rfc3339(wall, &mut octets);
    octets.into_iter().map(char::from).collect()
}

/// Reads an RFC 3339 time with any offset. What is finer than a millisecond is dropped.
pub fn parse_rfc3339(text: &str) -> Option<Wall> {
    let (date, rest) = text.as_bytes().split_at_checked(10)?;
    let [year @ .., b'-', month_tens, month, b'-', day_tens, day] = date else {
        return None;
    };
    let [
        b'T' | b't' | b' ',
        hour_tens,
        hour,
        b':',
        minute_tens,
        minute,
        b':',
        second_tens,
        second,
        rest @ ..,
    ] = rest
    else {
        return None;
    };
    let [century, year] = pairs(year)?;
    let digits = [
        *month_tens,
        *month,
        *day_tens,
        *day,
        *hour_tens,
        *hour,
        *minute_tens,
        *minute,
        *second_tens,
        *second,
    ];
    let (millisecond, offset) = fraction(rest)?;
    let civil = Civil { millisecond, ..Civil::from_year(century, year, &digits)? };
    Some(earlier(civil.wall()?, offset_minutes(offset)?))
}

/// A moment of the civil calendar in UTC, years 0 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    pub year: u16,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    pub millisecond: u16,
}

const DAY_MILLIS: i64 = 86_400_000;
pub(crate) const MINUTE_MILLIS: i64 = 60_000;
/// The first and the last millisecond of the years 0 to 9999.
const FIRST: i64 = -62_167_219_200_000;
const LAST: i64 = 253_402_300_799_999;
/// The same of the years 1990 to 2089, which `Civil::from_short` reads from two digits.
const SHORT_FIRST: i64 = 631_152_000_000;
const SHORT_LAST: i64 = 3_786_911_999_999;

impl Civil {
    /// What is outside of the years 0 to 9999 becomes the nearest moment inside.
    #[allow(
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        reason = "the range is clamped first"
    )]
    pub fn of(wall: Wall) -> Civil {
        let millis = wall.0.clamp(FIRST, LAST);
        let (year, month, day) = date_of(millis.div_euclid(DAY_MILLIS));
        let in_day = millis.rem_euclid(DAY_MILLIS);
        Civil {
            year,
            month,
            day,
            hour: (in_day / 3_600_000) as u8,
            minute: (in_day / MINUTE_MILLIS % 60) as u8,
            second: (in_day / 1_000 % 60) as u8,
            millisecond: (in_day % 1_000) as u16,
        }
    }

    /// `None` when there is no such day or time of day.
    pub fn wall(self) -> Option<Wall> {
        let time_exists = self.hour < 24 && self.minute < 60 && self.second < 60 && self.millisecond < 1_000;
        if !time_exists || self.year > 9999 || !(1..=days_in_month(self.year, self.month)).contains(&self.day)
        {
            return None;
        }
        let seconds = i64::from(self.hour)
            .saturating_mul(60)
            .saturating_add(i64::from(self.minute))
            .saturating_mul(60)
            .saturating_add(i64::from(self.second));
        let in_day = seconds.saturating_mul(1_000).saturating_add(i64::from(self.millisecond));
        Some(Wall(days_to(self.year, self.month, self.day).saturating_mul(DAY_MILLIS).saturating_add(in_day)))
    }

    /// YYMMDDhhmm or YYMMDDhhmmss: years from 90 on are of the last century.
    pub(crate) fn from_short(digits: &[u8]) -> Option<Civil> {
        let (year, rest) = digits.split_at_checked(2)?;
        let [year] = pairs(year)?;
        let century = if year >= 90 { 19 } else { 20 };
        Civil::from_year(century, year, rest)
    }

    /// YYYYMMDDhhmm or YYYYMMDDhhmmss.
    pub(crate) fn from_long(digits: &[u8]) -> Option<Civil> {
        let (year, rest) = digits.split_at_checked(4)?;
        let [century, year] = pairs(year)?;
        Civil::from_year(century, year, rest)
    }

    fn from_year(century: u8, year: u8, rest: &[u8]) -> Option<Civil> {
        let [month, day, hour, minute, second] = match pairs::<4>(rest) {
            Some([month, day, hour, minute]) => [month, day, hour, minute, 0],
            None => pairs(rest)?,
        };
        let year = u16::from(century).saturating_mul(100).saturating_add(u16::from(year));
        Some(Civil { year, month, day, hour, minute, second, millisecond: 0 })
    }
}

/// 0 when there is no such month.
pub fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 0,
    }
}

/// `digits` of the absolute form without its sign: YYMMDDhhmmss, then perhaps tenths, then perhaps the offset in quarters of
/// an hour. `ahead` is 1 where local time is ahead of UTC, else -1.
pub(crate) fn absolute(digits: &[u8], ahead: i64) -> Option<Wall> {
    let (date, rest) = digits.split_at_checked(12)?;
    let (tenths, quarters) = match rest {
        [] => (0, 0),
        [tenths] => (digit(*tenths)?, 0),
        [tenths, offset @ ..] => (digit(*tenths)?, pairs::<1>(offset)?[0]),
    };
    if quarters > 48 {
        return None;
    }
    let millisecond = u16::from(tenths).saturating_mul(100);
    let local = Civil { millisecond, ..Civil::from_short(date)? }.wall()?;
    Some(earlier(local, i64::from(quarters).saturating_mul(15).saturating_mul(ahead)))
}

/// Minutes as an offset from UTC, taken away.
pub(crate) fn earlier(local: Wall, offset_minutes: i64) -> Wall {
    Wall(local.0.saturating_sub(offset_minutes.saturating_mul(MINUTE_MILLIS)))
}

/// Appends YYMMDDhhmm.
pub(crate) fn write_minute(out: &mut Vec<u8>, civil: Civil) {
    let [_, _, year_tens, year] = four_digits(civil.year);
    let [month_tens, month] = two_digits(civil.month);
    let [day_tens, day] = two_digits(civil.day);
    let [hour_tens, hour] = two_digits(civil.hour);
    let [minute_tens, minute] = two_digits(civil.minute);
    out.extend_from_slice(&[
        year_tens,
        year,
        month_tens,
        month,
        day_tens,
        day,
        hour_tens,
        hour,
        minute_tens,
        minute,
    ]);
}

/// Without the spaces and NULs around it.
pub(crate) fn unpadded(octets: &[u8]) -> &[u8] {
    let padding = |octet: &u8| matches!(octet, 0 | b' ');
    let start = octets.iter().take_while(|octet| padding(octet)).count();
    let octets = octets.get(start..).unwrap_or_default();
    let end = octets.iter().rposition(|octet| !padding(octet)).map_or(0, |last| last.saturating_add(1));
    octets.get(..end).unwrap_or_default()
}

/// Exactly `N` numbers of two digits each.
pub(crate) fn pairs<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (given, rest) = digits.as_chunks::<2>();
    if given.len() != N || !rest.is_empty() {
        return None;
    }
    let mut numbers = [0; N];
    for (number, [tens, ones]) in numbers.iter_mut().zip(given) {
        *number = digit(*tens)?.saturating_mul(10).saturating_add(digit(*ones)?);
    }
    Some(numbers)
}

fn digit(octet: u8) -> Option<u8> {
    octet.checked_sub(b'0').filter(|digit| *digit < 10)
}

/// A time without a mark: 12 or 13 digits without an offset, 14 with a year of four digits, 15 where the offset is zero.
fn unmarked(digits: &[u8]) -> Option<Wall> {
    match digits.len() {
        12 | 13 => absolute(digits, 1),
        14 => Civil::from_long(digits)?.wall(),
        15 if digits.ends_with(b"00") => absolute(digits, 1),
        _ => None,
    }
}

/// Years and months are steps of the calendar, kept inside the month they reach; the rest are plain durations.
fn relative(digits: &[u8], now: Wall) -> Option<Wall> {
    let (steps, rest) = digits.split_at_checked(12)?;
    if rest.len() > 3 || !rest.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let [years, months, days, hours, minutes, seconds] = pairs(steps)?;
    let from = Civil::of(now);
    let month = u16::from(from.month).saturating_sub(1).saturating_add(u16::from(months));
    let year = from.year.saturating_add(u16::from(years)).saturating_add(month / 12).min(9999);
    let month = u8::try_from(month % 12).ok()?.saturating_add(1);
    let day = from.day.min(days_in_month(year, month));
    let seconds = i64::from(days)
        .saturating_mul(24)
        .saturating_add(i64::from(hours))
        .saturating_mul(60)
        .saturating_add(i64::from(minutes))
        .saturating_mul(60)
        .saturating_add(i64::from(seconds));
    let stepped = Civil { year, month, day, ..from }.wall()?;
    Some(Wall(stepped.0.saturating_add(seconds.saturating_mul(1_000))))
}

/// Milliseconds of the digits after a point, if there is one, and what follows them.
fn fraction(text: &[u8]) -> Option<(u16, &[u8])> {
    let [b'.', digits @ ..] = text else {
        return Some((0, text));
    };
    let length = digits.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let (digits, rest) = digits.split_at_checked(length).filter(|_| length > 0)?;
    let padded = digits.iter().copied().chain([b'0', b'0']).take(3);
    let millis = padded
        .filter_map(digit)
        .fold(0u16, |sum, digit| sum.saturating_mul(10).saturating_add(u16::from(digit)));
    Some((millis, rest))
}

/// `Z`, `+hh:mm` or `-hh:mm`.
fn offset_minutes(text: &[u8]) -> Option<i64> {
    let (ahead, digits) = match text {
        [b'Z' | b'z'] => return Some(0),
        [b'+', hour_tens, hour, b':', minute_tens, minute] => {
            (1i64, [*hour_tens, *hour, *minute_tens, *minute])
        }
        [b'-', hour_tens, hour, b':', minute_tens, minute] => {
            (-1, [*hour_tens, *hour, *minute_tens, *minute])
        }
        _ => return None,
    };
    let [hours, minutes] = pairs(&digits)?;
    let exists = hours < 24 && minutes < 60;
    exists
        .then(|| ahead.saturating_mul(i64::from(hours).saturating_mul(60).saturating_add(i64::from(minutes))))
}

pub(crate) fn two_digits(number: u8) -> [u8; 2] {
    [b'0' | (number / 10 % 10), b'0' | (number % 10)]
}

fn four_digits(number: u16) -> [u8; 4] {
    let [[thousands, hundreds], [tens, ones]] =
        [number / 100 % 100, number % 100].map(|half| two_digits(u8::try_from(half).unwrap_or(0)));
    [thousands, hundreds, tens, ones]
}

/// Days from 1 March of the year 0 to the Unix epoch.
const MARCH_TO_EPOCH: i64 = 719_468;
const CYCLE_YEARS: i64 = 400;
const CYCLE_DAYS: i64 = 146_097;

/// Days from the Unix epoch. Years are counted from March, so that the leap day is the last of its year.
#[allow(clippy::arithmetic_side_effects, reason = "the year is below 65,536 and the day exists")]
fn days_to(year: u16, month: u8, day: u8) -> i64 {
    let (year, month, day) = (i64::from(year), i64::from(month), i64::from(day));
    let year = if month < 3 { year - 1 } else { year };
    let cycle = year.div_euclid(CYCLE_YEARS);
    let year = year.rem_euclid(CYCLE_YEARS);
    let months = (month + 9) % 12;
    cycle * CYCLE_DAYS + year * 365 + year / 4 - year / 100 + days_before(months) + day - 1 - MARCH_TO_EPOCH
}

/// The date of a day counted from the Unix epoch, within the years 0 to 9999.
#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the caller clamps"
)]
fn date_of(day: i64) -> (u16, u8, u8) {
    let day = day + MARCH_TO_EPOCH;
    let cycle = day.div_euclid(CYCLE_DAYS);
    let day = day.rem_euclid(CYCLE_DAYS);
    // Taking the leap days that have passed out of the count leaves years of 365 days.
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (year * 365 + year / 4 - year / 100);
    let months = (day * 5 + 2) / 153;
    let month = if months < 10 { months + 3 } else { months - 9 };
    let year = cycle * CYCLE_YEARS + year + i64::from(month < 3);
    (year as u16, month as u8, (day - days_before(months) + 1) as u8)
}

/// Days of the year before a month, both counted from March: five months have 153 days.
#[allow(clippy::arithmetic_side_effects, reason = "a month is below 12")]
fn days_before(months: i64) -> i64 {
    (months * 153 + 2) / 5
}

#[cfg(test)]
mod tests;
