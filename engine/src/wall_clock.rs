//! The time of day as the engine takes it: that of the system, but it does not jump at the system's first word, and it
//! never goes back. It reads no clock: every turn gives it one reading of both.
//!
//! A jump (a virtual machine that was moved, a time server that is wrong, somebody who sets the clock) would expire what is
//! valid and send what is scheduled. So for some minutes time goes on as if there had been none; when the new time has
//! lasted, it is believed. Where that is earlier, ours goes at half its speed until the system has caught up, so that waits
//! end and nothing is recorded before what it follows from.

use std::time::Duration;

use codecs::instant::{Mono, Wall};

use crate::command::Now;

/// A step of more than this, in milliseconds, is a jump.
const JUMP_MILLIS: u64 = 60_000;
/// How long a jump must last to be believed.
const BELIEVED_AFTER: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug)]
pub(crate) struct WallClock {
    /// The last time given.
    wall: Wall,
    /// What the believed time of day is ahead of the monotonic clock, in milliseconds.
    offset: i64,
    /// Another offset that is not believed yet, and when it was first seen.
    doubted: Option<(i64, Mono)>,
    /// From where time goes at half its speed.
    slow_from: Option<Now>,
    jumps: u64,
}

impl WallClock {
    pub fn new(now: Now) -> WallClock {
        WallClock { wall: now.wall, offset: offset(now), doubted: None, slow_from: None, jumps: 0 }
    }

    /// Jumps seen, and whether one is not believed yet.
    pub fn alarm(&self) -> (u64, bool) {
        (self.jumps, self.doubted.is_some())
    }

    /// The time of this turn.
    pub fn follow(&mut self, now: Now) -> Wall {
        let gone_on = match self.slow_from {
            Some(from) => from.wall.after(now.mono.since(from.mono) / 2),
            None => self.believed(now.mono),
        };
        self.wall = self.wall.max(gone_on);
        self.look(now);
        let believed = self.believed(now.mono);
        if believed < self.wall {
            self.slow_from.get_or_insert(Now { wall: self.wall, mono: now.mono });
        } else {
            self.slow_from = None;
            self.wall = believed;
        }
        self.wall
    }

    fn believed(&self, mono: Mono) -> Wall {
        Wall(millis(mono).saturating_add(self.offset))
    }

    /// Takes over what the system says, unless it has jumped.
    fn look(&mut self, now: Now) {
        let seen = offset(now);
        if seen.abs_diff(self.offset) <= JUMP_MILLIS {
            (self.offset, self.doubted) = (seen, None);
            return;
        }
        match self.doubted {
            Some((doubted, since)) if seen.abs_diff(doubted) <= JUMP_MILLIS => {
                if now.mono.since(since) >= BELIEVED_AFTER {
                    (self.offset, self.doubted) = (seen, None);
                }
            }
            _ => {
                self.jumps += 1;
                self.doubted = Some((seen, now.mono));
            }
        }
    }
}

fn offset(now: Now) -> i64 {
    now.wall.0.saturating_sub(millis(now.mono))
}

fn millis(mono: Mono) -> i64 {
    i64::try_from(mono.0 / 1_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOON: i64 = 1_800_000_000_000;
    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;

    /// So many milliseconds after the start, with the system's clock so much ahead.
    fn at(millis: i64, ahead: i64) -> Now {
        Now { wall: Wall(NOON + millis + ahead), mono: Mono(7_000 + millis as u64 * 1_000) }
    }

    fn started() -> WallClock {
        WallClock::new(at(0, 0))
    }

    #[test]
    fn a_jump_is_believed_when_it_has_lasted() {
        // what the system's clock jumps by → whether that is a jump
        for (ahead, is_jump) in
            [(HOUR, true), (-HOUR, true), (MINUTE + 1, true), (MINUTE, false), (-MINUTE, false), (30, false)]
        {
            let mut clock = started();
            let seen = clock.follow(at(1_000, ahead));
            assert_eq!(clock.alarm(), (u64::from(is_jump), is_jump), "{ahead}");
            let expected = if is_jump { 0 } else { ahead.max(0) };
            assert_eq!(seen, Wall(NOON + 1_000 + expected), "{ahead}");
            if is_jump {
                assert_eq!(clock.follow(at(300_999, ahead)), Wall(NOON + 300_999), "{ahead}");
                let believed = clock.follow(at(301_000, ahead));
                assert_eq!(clock.alarm(), (1, false));
                let forward = Wall(NOON + 301_000 + ahead);
                assert_eq!(believed, forward.max(Wall(NOON + 301_000)), "{ahead}");
            }
        }
    }

    #[test]
    fn a_jump_that_is_taken_back_leaves_no_trace() {
        let mut clock = started();
        for second in 1..600 {
            let ahead = if (10..200).contains(&second) { -HOUR } else { 0 };
            assert_eq!(clock.follow(at(second * 1_000, ahead)), Wall(NOON + second * 1_000));
        }
        assert_eq!(clock.alarm(), (1, false));
    }

    #[test]
    fn each_jump_has_its_own_five_minutes() {
        let mut clock = started();
        clock.follow(at(1_000, HOUR));
        clock.follow(at(200_000, 2 * HOUR));
        assert_eq!(clock.follow(at(400_000, 2 * HOUR)), Wall(NOON + 400_000));
        assert_eq!(clock.alarm(), (2, true));
        assert_eq!(clock.follow(at(500_000, 2 * HOUR)), Wall(NOON + 500_000 + 2 * HOUR));
    }

    #[test]
    fn after_a_believed_jump_back_time_goes_slowly_until_the_system_has_caught_up() {
        let mut clock = started();
        clock.follow(at(1_000, -HOUR));
        clock.follow(at(301_000, -HOUR));
        // minutes after that → how far ours is ahead of the system's, in minutes
        for (minutes, ahead) in [(10, 55), (60, 30), (118, 1), (121, 0), (200, 0)] {
            let now = at(301_000 + minutes * MINUTE, -HOUR);
            assert_eq!(clock.follow(now).millis_since(now.wall) / MINUTE, ahead, "{minutes}");
        }
    }

    proptest! {
        /// Whatever the system says, time never goes back, never stands, and is the system's where that keeps still.
        #[test]
        fn time_goes_on_and_finds_its_way_back(
            steps in prop::collection::vec((1i64..100_000, prop_oneof![3 => Just(0i64), 1 => -2 * HOUR..2 * HOUR]), 1..60),
        ) {
            let mut clock = started();
            let (mut millis, mut ahead, mut before) = (0, 0, Wall(NOON));
            for (passed, jump) in steps {
                (millis, ahead) = (millis + passed, ahead + jump);
                let wall = clock.follow(at(millis, ahead));
                prop_assert!(wall.millis_since(before) >= passed / 2 - 1, "{wall:?} after {before:?}");
                before = wall;
            }
            clock.follow(at(millis + 1, ahead));
            clock.follow(at(millis + 300_001, ahead));
            let later = at(millis + 1_000 * HOUR, ahead);
            prop_assert_eq!(clock.follow(later), later.wall);
            prop_assert!(!clock.alarm().1);
        }
    }
}
