//! How many messages a tenant may submit in a minute, an hour and a day, and how many it has. The counts are of calendar windows in
//! UTC and stand beside its wallet in the journal, so that they cost no record of their own and survive a start. The rate of a
//! second is kept at the doors.
//!
//! As it is written, little-endian: version u8 · for each window its end i64 (ms) and its count u32.

use std::time::Duration;

use codecs::instant::Wall;

use crate::bytes::Reader;

const VERSION: u8 = 1;
const WINDOWS_MILLIS: [i64; 3] = [60_000, 3_600_000, 86_400_000];

/// Messages of a minute, an hour and a day; 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas(pub [u32; 3]);

impl Quotas {
    pub fn are_any(self) -> bool {
        self.0 != [0; 3]
    }
}

/// A quota that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedUp {
    /// Messages of one window.
    pub quota: u32,
    pub window: Duration,
    /// Until the next one begins.
    pub left: Duration,
}

/// What a tenant has used of each window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage([Window; 3]);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Window {
    end: i64,
    count: u32,
}

impl Usage {
    /// Begins the windows anew that have ended. One that is yet to begin is of a clock that was ahead before the last start: what it
    /// has counted holds for the present one, and no longer.
    pub fn follow(&mut self, now: Wall) {
        for (window, millis) in self.0.iter_mut().zip(WINDOWS_MILLIS) {
            let left = window.end.saturating_sub(now.0);
            if left > 0 && left <= millis {
                continue;
            }
            let end = now.0.div_euclid(millis).saturating_add(1).saturating_mul(millis);
            *window = Window { end, count: if left > 0 { window.count } else { 0 } };
        }
    }

    /// The quota that is used up, of several the one that lasts longest.
    pub fn used_up(&self, quotas: Quotas, now: Wall) -> Option<UsedUp> {
        let mut windows = self.0.iter().zip(quotas.0).zip(WINDOWS_MILLIS);
        let full = windows.rfind(|((window, quota), _)| *quota > 0 && window.count >= *quota);
        full.map(|((window, quota), millis)| UsedUp {
            quota,
            window: Duration::from_millis(millis.unsigned_abs()),
            left: Duration::from_millis(u64::try_from(window.end.saturating_sub(now.0)).unwrap_or(0)),
        })
    }

    /// A message was accepted.
    pub fn add(&mut self) {
        for window in &mut self.0 {
            window.count = window.count.saturating_add(1);
        }
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        for Window { end, count } in self.0 {
            out.extend_from_slice(&end.to_le_bytes());
            out.extend_from_slice(&count.to_le_bytes());
        }
    }

    /// `None` when it is of a newer version, or none.
    pub fn read(bytes: &[u8]) -> Option<Usage> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return None;
        }
        let mut windows = [Window::default(); 3];
        for window in &mut windows {
            *window = Window { end: reader.i64()?, count: reader.u32()? };
        }
        reader.is_empty().then_some(Usage(windows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall(1_800_000_000_000);

    fn used(count: usize) -> Usage {
        let mut usage = Usage::default();
        usage.follow(NOW);
        (0..count).for_each(|_| usage.add());
        usage
    }

    #[test]
    fn windows_end_with_the_clock_and_each_by_itself() {
        let quotas = Quotas([2, 3, 0]);
        let mut usage = used(2);
        let minute = usage.used_up(quotas, NOW).unwrap();
        assert_eq!((minute.quota, minute.window.as_secs(), minute.left.as_secs()), (2, 60, 60));
        let next = NOW.after(minute.left);
        usage.follow(Wall(next.0 - 1));
        assert!(usage.used_up(quotas, next).is_some());
        usage.follow(next);
        assert_eq!(usage.used_up(quotas, next), None);
        usage.add();
        let hour = usage.used_up(quotas, next).unwrap();
        assert_eq!((hour.quota, hour.window.as_secs(), hour.left.as_secs()), (3, 3_600, 3_540));
        assert_eq!(used(1_000).used_up(Quotas::default(), NOW), None);
    }

    /// It is 2027-01-15T08:00:00Z, and the clock was ahead when the messages came.
    #[test]
    fn a_clock_that_was_ahead_gives_nothing_away_and_takes_no_more_than_the_present_window() {
        let quotas = Quotas([2, 2, 2]);
        for hours in [1, 3, 10, 24, 30, 365 * 24] {
            let now = Wall(NOW.0 - hours * 3_600_000);
            let mut usage = used(2);
            usage.follow(now);
            let day = usage.used_up(quotas, now).unwrap();
            assert!(day.left <= day.window, "{hours}");
            usage.follow(now.after(Duration::from_secs(3_600)));
            let full = usage.used_up(Quotas([2, 2, 0]), now);
            assert_eq!(full, None, "{hours}: the minute and the hour have ended");
            let tomorrow = now.after(Duration::from_secs(86_400));
            usage.follow(tomorrow);
            assert_eq!(usage.used_up(quotas, tomorrow), None, "{hours}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let usage = used(70_000);
        let mut bytes = Vec::new();
        usage.write(&mut bytes);
        assert_eq!(Usage::read(&bytes), Some(usage));
        assert_eq!(Usage::read(&bytes[..bytes.len() - 1]), None);
        bytes[0] += 1;
        assert_eq!(Usage::read(&bytes), None);
    }
}
