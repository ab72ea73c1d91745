//! The two kinds of time that the pure crates are given as parameters. It reads no clock.

use std::time::Duration;

/// Microseconds on a monotonic clock with an arbitrary start. Windows, back-off and rates run on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// The instant `duration` later; saturates at the end of time.
    pub fn after(self, duration: Duration) -> Mono {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Mono(self.0.saturating_add(micros))
    }

    /// The time from `earlier` to here; zero when `earlier` is later.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Milliseconds since the Unix epoch, UTC. Validity, `send_at` and retention run on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub i64);

impl Wall {
    /// The instant `duration` later; saturates at the end of time.
    pub fn after(self, duration: Duration) -> Wall {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Wall(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to here; negative when `earlier` is later.
    pub fn millis_since(self, earlier: Wall) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}
