//! The progress bar of a run. It shows what the books say and keeps nothing of its own but the last figures.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::book::Book;

/// A bar on the terminal, or nothing where there is none or nobody wants one.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    accepted: u64,
    shown_at: u64,
}

impl Progress {
    #[must_use]
    pub fn new(count: u64, shown: bool) -> Self {
        let bar = if shown { ProgressBar::new(count) } else { ProgressBar::hidden() };
        let template = "{elapsed_precise} {wide_bar} {human_pos}/{human_len} {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, accepted: 0, shown_at: 0 }
    }

    /// Shows how many messages are finished, and the rate of acceptance since the last look.
    pub fn show(&mut self, book: &Book, receipts: bool, now: u64) {
        let accepted = book.counts.accepted;
        let seconds = now.saturating_sub(self.shown_at) as f64 / 1_000_000.0;
        let rate = (accepted - self.accepted) as f64 / seconds.max(0.001);
        self.bar.set_position(if receipts { book.counts.receipts_first } else { accepted });
        self.bar.set_message(format!("{rate:.0} accepted/s"));
        (self.accepted, self.shown_at) = (accepted, now);
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
