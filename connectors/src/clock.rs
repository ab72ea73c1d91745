//! The process's two clocks in the form that the pure crates take. It is the only place of this crate that reads one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use codecs::instant::{Mono, Wall};
use engine::command::Now;
use tokio::time::Instant;

/// One start for everybody, so that a `Mono` means the same to every task and to the commit loop.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    wall: fn() -> Wall,
}

impl Clock {
    pub fn start() -> Clock {
        Clock::with_wall(system_wall)
    }

    /// A clock whose days are told by another source: a simulation's, which can be made to jump.
    pub fn with_wall(wall: fn() -> Wall) -> Clock {
        Clock { start: Instant::now(), wall }
    }

    pub fn mono(self) -> Mono {
        Mono::default().after(self.start.elapsed())
    }

    pub fn wall(self) -> Wall {
        (self.wall)()
    }

    pub fn now(self) -> Now {
        Now { wall: self.wall(), mono: self.mono() }
    }

    /// The instant of a `Mono` of this clock, for timers. A time beyond all timers is a day from the start of the process on.
    pub fn instant(self, mono: Mono) -> Instant {
        const DAY: Duration = Duration::from_secs(86_400);
        let since = Duration::from_micros(mono.0);
        self.start.checked_add(since).unwrap_or_else(|| Instant::now() + DAY)
    }
}

fn system_wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall::default().after(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_and_its_instant_agree() {
        let clock = Clock::start();
        let now = clock.mono();
        assert!(clock.instant(now) <= Instant::now());
        let later = now.after(Duration::from_secs(5));
        assert_eq!(clock.instant(later) - clock.instant(now), Duration::from_secs(5));
        clock.instant(Mono(u64::MAX));
    }
}
