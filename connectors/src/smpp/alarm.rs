//! One timer a connection. It is set anew only when it would ring too late: deadlines move on with almost every PDU.

use std::pin::Pin;

use codecs::instant::Mono;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::clock::Clock;

pub struct Alarm {
    clock: Clock,
    sleep: Pin<Box<Sleep>>,
    /// When it rings; `None` when it has rung or was never set.
    at: Option<Mono>,
}

impl Alarm {
    pub fn new(clock: Clock) -> Alarm {
        Alarm { clock, sleep: Box::pin(sleep_until(Instant::now())), at: None }
    }

    /// It rings at this time, or before.
    pub fn set(&mut self, deadline: Option<Mono>) {
        let Some(deadline) = deadline else { return };
        if self.at.is_none_or(|at| deadline < at) {
            self.sleep.as_mut().reset(self.clock.instant(deadline));
            self.at = Some(deadline);
        }
    }

    /// Waits until it rings; for ever when it is not set. Cancel safe.
    pub async fn rings(&mut self) {
        if self.at.is_none() {
            return std::future::pending().await;
        }
        self.sleep.as_mut().await;
        self.at = None;
    }
}

/// The earlier of two deadlines.
pub fn earlier(one: Option<Mono>, other: Option<Mono>) -> Option<Mono> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
