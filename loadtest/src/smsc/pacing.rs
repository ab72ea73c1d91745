//! How evenly a client submits: submits counted in every window of one second. It judges what came, and slows nobody down.

use serde::Serialize;

/// A window slides in steps of a millisecond.
const STEPS: usize = 1_000;

/// The submits of the last second by millisecond, and what the windows so far have come to.
#[derive(Debug)]
pub struct Meter {
    steps: Vec<u32>,
    /// The millisecond that is being filled, and the sum of all that are kept.
    now: u64,
    sum: u64,
    report: Pacing,
}

/// What was found in all windows that held at least one submit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pacing {
    /// Submits a second that were agreed.
    pub throughput: u32,
    pub submits: u64,
    /// Windows of one second, one for each millisecond in which one ended.
    pub windows: u64,
    /// Of these, those above the throughput and 2 %, and those above it and 10 %.
    pub windows_above_2_percent: u64,
    pub windows_above_10_percent: u64,
    /// Most submits in any window.
    pub most: u64,
}

impl Pacing {
    /// The part of the windows that held at most the throughput and 2 %.
    #[must_use]
    pub fn share_within(&self) -> f64 {
        1.0 - self.windows_above_2_percent as f64 / self.windows.max(1) as f64
    }
}

impl Meter {
    #[must_use]
    pub fn new(throughput: u32) -> Self {
        let report = Pacing { throughput, ..Pacing::default() };
        Self { steps: vec![0; STEPS], now: 0, sum: 0, report }
    }

    /// Counts submits that came at this microsecond; times must not run backwards.
    pub fn add(&mut self, microsecond: u64, count: u64) {
        self.advance(microsecond / 1_000);
        let place = self.place();
        if let Some(step) = self.steps.get_mut(place) {
            *step = step.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        }
        self.sum += count;
        self.report.submits += count;
    }

    /// What the windows up to the last submit have come to.
    #[must_use]
    pub fn report(&self) -> Pacing {
        let mut report = self.report;
        judge(&mut report, self.sum);
        report
    }

    /// Closes every window that ends before this millisecond.
    fn advance(&mut self, millisecond: u64) {
        while self.now < millisecond {
            if self.sum == 0 {
                self.now = millisecond;
                return;
            }
            judge(&mut self.report, self.sum);
            self.now += 1;
            let place = self.place();
            if let Some(step) = self.steps.get_mut(place) {
                self.sum -= u64::from(std::mem::take(step));
            }
        }
    }

    fn place(&self) -> usize {
        (self.now % STEPS as u64) as usize
    }
}

fn judge(report: &mut Pacing, sum: u64) {
    if sum == 0 {
        return;
    }
    let throughput = u64::from(report.throughput);
    report.windows += 1;
    report.windows_above_2_percent += u64::from(sum * 100 > throughput * 102);
    report.windows_above_10_percent += u64::from(sum * 100 > throughput * 110);
    report.most = report.most.max(sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Submits at these (millisecond, count).
    fn paced(throughput: u32, submits: impl IntoIterator<Item = (u64, u64)>) -> Pacing {
        let mut meter = Meter::new(throughput);
        for (millisecond, count) in submits {
            meter.add(millisecond * 1_000 + 7, count);
        }
        meter.report()
    }

    #[test]
    fn an_even_stream_stays_within_its_throughput() {
        let found = paced(100, (0..60_000).step_by(10).map(|millisecond| (millisecond, 1)));
        assert_eq!((found.submits, found.most, found.windows_above_2_percent), (6_000, 100, 0));
        assert!((59_990..=60_000).contains(&found.windows), "{found:?}");
        assert_eq!(found.share_within(), 1.0);
    }

    #[test]
    fn a_planted_burst_is_seen_in_every_window_that_holds_it() {
        // Five too many at one moment: they stand in the thousand windows around it.
        let burst = |millisecond| if millisecond == 30_000 { 6 } else { 1 };
        let found = paced(100, (0..60_000).step_by(10).map(|millisecond| (millisecond, burst(millisecond))));
        assert_eq!((found.most, found.windows_above_2_percent), (105, 1_000));
        assert_eq!(found.windows_above_10_percent, 0);
        assert!(found.share_within() < 0.984, "{found:?}");
    }

    #[test]
    fn a_burst_over_the_seam_of_two_seconds_is_one_window() {
        let found = paced(100, [(900, 100), (1_100, 100), (5_000, 1)]);
        assert_eq!((found.most, found.windows_above_10_percent), (200, 800));
        let apart = paced(100, [(900, 100), (1_900, 100)]);
        assert_eq!((apart.most, apart.windows_above_2_percent), (100, 0));
    }

    #[test]
    fn silence_is_no_window() {
        let found = paced(10, [(0, 5), (1_000_000, 5)]);
        assert_eq!((found.windows, found.most), (1_001, 5));
        assert_eq!(Meter::new(10).report().windows, 0);
    }
}
