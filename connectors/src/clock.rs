//! The process's two clocks in the form that the pure crates take. It is the only place of this crate that reads one.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use codecs::instant::{Mono, Wall};
use engine::command::Now;
use tokio::time::Instant;

/// One start for everybody, so that a `Mono` means the same to every task and to the commit loop.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    system: fn() -> Wall,
    /// What the engine's time of day is ahead of the monotonic clock, in microseconds: one number for every copy of a clock.
    ahead: &'static AtomicI64,
}

/// The engine has not said yet what it takes for the time of day.
const UNSAID: i64 = i64::MIN;

impl Clock {
    pub fn start() -> Clock {
        Clock::with_wall(system_wall)
    }

    /// A clock whose days are told by another source: a simulation's, which can be made to jump.
    pub fn with_wall(system: fn() -> Wall) -> Clock {
        // A process has one clock, or a few in tests: it is a value that all may copy.
        let ahead = Box::leak(Box::new(AtomicI64::new(UNSAID)));
        Clock { start: Instant::now(), system, ahead }
    }

    pub fn mono(self) -> Mono {
        Mono::default().after(self.start.elapsed())
    }

    /// The time of day that the engine goes by: it does not jump when the system's does, and whoever reads a time that somebody
    /// has written must mean the same as the engine. The system's until the engine has said.
    pub fn wall(self) -> Wall {
        match self.ahead.load(Relaxed) {
            UNSAID => (self.system)(),
            ahead => Wall(ahead.saturating_add(micros(self.mono())).div_euclid(1_000)),
        }
    }

    pub fn now(self) -> Now {
        Now { wall: self.wall(), mono: self.mono() }
    }

    /// What the system says, for the engine alone.
    pub fn system(self) -> Now {
        Now { wall: (self.system)(), mono: self.mono() }
    }

    /// The engine takes this for the time.
    pub fn follow(self, engine: Now) {
        let ahead = engine.wall.0.saturating_mul(1_000).saturating_sub(micros(engine.mono));
        if self.ahead.load(Relaxed) != ahead {
            self.ahead.store(ahead, Relaxed);
        }
    }

    /// The instant of a `Mono` of this clock, for timers. A time beyond all timers is a day from the start of the process on.
    pub fn instant(self, mono: Mono) -> Instant {
        const DAY: Duration = Duration::from_secs(86_400);
        let since = Duration::from_micros(mono.0);
        self.start.checked_add(since).unwrap_or_else(|| Instant::now() + DAY)
    }
}

fn micros(mono: Mono) -> i64 {
    i64::try_from(mono.0).unwrap_or(i64::MAX)
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

    #[test]
    fn the_time_of_day_is_the_systems_until_the_engine_says_what_it_goes_by() {
        let clock = Clock::with_wall(|| Wall(86_400_000));
        let copy = clock;
        assert_eq!(copy.wall(), Wall(86_400_000));
        let mono = clock.mono();
        clock.follow(Now { wall: Wall(5_000), mono });
        let gone_on = copy.now();
        assert_eq!(gone_on.wall, Wall(5_000 + (gone_on.mono.0 - mono.0) as i64 / 1_000));
        assert_eq!(copy.system().wall, Wall(86_400_000));
    }
}
