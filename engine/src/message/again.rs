//! When a message that was refused for now is tried again, from its story. It sends nothing.

use std::time::Duration;

use codecs::instant::Wall;

use super::Message;
use crate::step::{Step, Verdict};

/// Attempts in a row that a provider may throttle, each tried again in its place at once: the rate follows. Beyond them it is this
/// message that it does not take, a number that has had enough of them for the day for one, and the rate is none of its business.
const AT_ONCE_MAX: u32 = 32;
/// How long it waits then for the first time, each time twice as long, and at the most.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(900);

impl Message {
    /// When the parts that were refused for now are to be tried again: never before the time given with the last refusal.
    pub fn retry_at(&self) -> Option<Wall> {
        self.refused_until().map(|(at, _)| at)
    }

    /// Whether it waits to be tried again. Not by a refusal that is yet to come: the clock was ahead before the last start, which has
    /// given its wait another end ([`Message::paused_anew`]).
    pub fn is_paused(&self, now: Wall) -> bool {
        self.refused_until().is_some_and(|(at, refused)| refused <= now && now < at)
    }

    /// After a start: when it is to be tried again, if not now. Where the clock was ahead before, it does not wait for longer than it
    /// was to when it was refused; for twice as long where the refusal is no longer yet to come by then ([`Message::is_paused`]).
    pub fn paused_anew(&self, now: Wall) -> Option<Wall> {
        let (at, refused) = self.refused_until()?;
        let longest = Wall(now.0.saturating_add(at.millis_since(refused)));
        (now < at).then_some(at.min(longest))
    }

    /// When it is to be tried again, and when that was said.
    fn refused_until(&self) -> Option<(Wall, Wall)> {
        let mut at = None;
        // Attempts in a row that were throttled, and whether this one is among them.
        let (mut throttled, mut is_counted) = (0, false);
        for (when, step) in self.steps() {
            match step {
                Step::Intent { .. } => (at, is_counted) = (None, false),
                Step::Response { verdict: Verdict::Retry, retry_at, .. } => {
                    at = at.max(Some((retry_at, when)));
                    throttled = if is_counted { throttled } else { 0 };
                }
                Step::Response { verdict: Verdict::Throttled, .. } => {
                    throttled += u32::from(!is_counted);
                    is_counted = true;
                    at = at.max(wait_after(throttled).map(|wait| (when.after(wait), when)));
                }
                // A part was taken: it is not this message that the provider does not take.
                Step::Response { verdict: Verdict::Accepted, .. } => throttled = 0,
                // Another provider has refused nothing yet.
                Step::Rerouted { .. } | Step::Moved { .. } => (at, throttled) = (None, 0),
                _ => {}
            }
        }
        at
    }
}

/// How long to wait after so many attempts in a row were throttled; `None`: not at all.
fn wait_after(throttled: u32) -> Option<Duration> {
    let doublings = throttled.checked_sub(AT_ONCE_MAX + 1)?;
    let wait = FIRST_WAIT.checked_mul(1 << doublings.min(20)).unwrap_or(WAIT_MAX);
    Some(wait.min(WAIT_MAX))
}
