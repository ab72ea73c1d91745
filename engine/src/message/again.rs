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
        let mut at = None;
        // Attempts in a row that were throttled, and whether this one is among them.
        let (mut throttled, mut is_counted) = (0, false);
        for (when, step) in self.steps() {
            match step {
                Step::Intent { .. } => (at, is_counted) = (None, false),
                Step::Response { verdict: Verdict::Retry, retry_at, .. } => {
                    at = at.max(Some(retry_at));
                    throttled = if is_counted { throttled } else { 0 };
                }
                Step::Response { verdict: Verdict::Throttled, .. } => {
                    throttled += u32::from(!is_counted);
                    is_counted = true;
                    at = at.max(wait_after(throttled).map(|wait| when.after(wait)));
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
