//! Ticks for a run with a rate: finer than the runtime's timers, which round to whole milliseconds.

use std::{
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use tokio::sync::Notify;

/// Between two looks at what has become due.
const TICK: Duration = Duration::from_micros(500);

/// Wakes those who wait on it every half millisecond, until it is dropped.
#[derive(Debug, Clone)]
pub struct Pace {
    tick: Option<Arc<Notify>>,
}

impl Pace {
    /// Ticks where there is a rate; without one there is nothing to wait for.
    #[must_use]
    pub fn new(rate: Option<f64>) -> Self {
        let tick = rate.map(|_| Arc::new(Notify::new()));
        if let Some(tick) = &tick {
            let weak = Arc::downgrade(tick);
            thread::spawn(move || beat(&weak));
        }
        Self { tick }
    }

    /// The next tick; never, without a rate.
    pub async fn ticked(&self) {
        match &self.tick {
            Some(tick) => tick.notified().await,
            None => std::future::pending().await,
        }
    }
}

fn beat(tick: &Weak<Notify>) {
    while let Some(tick) = tick.upgrade() {
        tick.notify_waiters();
        drop(tick);
        thread::sleep(TICK);
    }
}
