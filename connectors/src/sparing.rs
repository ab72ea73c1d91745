//! How many lines a second the log may get about those whom nobody knows: anybody who reaches a port could fill a disk else.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use codecs::instant::Mono;

/// At the doors that are open to all.
pub static STRANGERS: Sparing = Sparing::new(10);
/// Of guesses at the administrator's key, which no crowd elsewhere may hide.
pub static STRANGERS_TO_OPERATIONS: Sparing = Sparing::new(10);
/// Of keys that are known and come from where they may not be used.
pub static KEYS_FROM_ELSEWHERE: Sparing = Sparing::new(10);
/// Refused binds, which name who was meant.
pub static REFUSED_BINDS: Sparing = Sparing::new(100);

/// So many lines a second.
pub struct Sparing {
    lines_max: u32,
    state: Mutex<State>,
}

struct State {
    began: Mono,
    lines: u32,
    left_out: u64,
}

impl Sparing {
    const fn new(lines_max: u32) -> Sparing {
        Sparing { lines_max, state: Mutex::new(State { began: Mono(0), lines: 0, left_out: 0 }) }
    }

    /// Whether one more line may be written, and how many were left out since the last one.
    pub fn line(&self, now: Mono) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now < state.began || now.since(state.began) >= Duration::from_secs(1) {
            state.began = now;
            state.lines = 0;
        }
        if state.lines >= self.lines_max {
            state.left_out = state.left_out.saturating_add(1);
            return None;
        }
        state.lines = state.lines.saturating_add(1);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;

    #[test]
    fn so_many_lines_a_second_are_written_and_the_others_counted() {
        let sparing = Sparing::new(3);
        let at = |millis: u64| sparing.line(Mono(millis * 1_000));
        assert_eq!([5_000, 5_001, 5_999, 5_999, 5_999].map(at), [Some(0), Some(0), Some(0), None, None]);
        assert_eq!([6_000, 6_000, 6_000, 6_500, 7_000].map(at), [Some(2), Some(0), Some(0), None, Some(1)]);
        // Another clock, whose time began later.
        assert_eq!([10, 10, 10, 10].map(at), [Some(0), Some(0), Some(0), None]);
    }
}
