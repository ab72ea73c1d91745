//! Measuring: latencies, rates over time and the processor time of this process. Decides nothing.

use std::time::Instant;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::watch::cpu_seconds;

/// Width of a point of a series in microseconds.
const POINT: u64 = 100_000;
/// Percentiles that the summary names and the report draws.
const PERCENTILES: [f64; 11] = [0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0];

/// Microseconds since a start.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    #[must_use]
    pub fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A histogram of microseconds. Messages of one batch share their times, so equal neighbours are counted as one entry.
#[derive(Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
    value: u64,
    count: u64,
}

impl Default for Latency {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, 24 * 3_600 * 1_000_000, 3);
        Self { histogram: histogram.expect("the bounds are fixed and fit"), value: 0, count: 0 }
    }
}

impl Latency {
    pub fn record(&mut self, microseconds: u64) {
        if microseconds != self.value {
            self.flush();
            self.value = microseconds;
        }
        self.count += 1;
    }

    #[must_use]
    pub fn percentiles(&mut self) -> Percentiles {
        self.flush();
        let histogram = &self.histogram;
        let milliseconds = |value: u64| value as f64 / 1_000.0;
        let at = |percentile| milliseconds(histogram.value_at_percentile(percentile));
        Percentiles {
            samples: histogram.len(),
            mean: histogram.mean() / 1_000.0,
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p999: at(99.9),
            max: milliseconds(if histogram.is_empty() { 0 } else { histogram.max() }),
            curve: PERCENTILES.map(|percentile| (percentile, at(percentile))).to_vec(),
        }
    }

    fn flush(&mut self) {
        if self.count > 0 {
            self.histogram.saturating_record_n(self.value, self.count);
            self.count = 0;
        }
    }
}

/// A latency's percentiles in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Percentiles {
    pub samples: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// (percentile, milliseconds), for a plot.
    pub curve: Vec<(f64, f64)>,
}

/// What happened in each tenth of a second.
#[derive(Debug, Clone, Default)]
pub struct Series {
    points: Vec<Point>,
}

/// What happened in the time around `second`, as rates a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Point {
    pub second: f64,
    pub accepted: f64,
    pub finished: f64,
}

impl Series {
    pub fn add(&mut self, now: u64, accepted: u64, finished: u64) {
        let place = usize::try_from(now / POINT).unwrap_or(usize::MAX);
        if place >= self.points.len() {
            self.points.resize(place + 1, Point::default());
        }
        if let Some(point) = self.points.get_mut(place) {
            point.accepted += accepted as f64;
            point.finished += finished as f64;
        }
    }

    /// At most about `count` points of equal width.
    #[must_use]
    pub fn points(&self, count: usize) -> Vec<Point> {
        let width = self.points.len().div_ceil(count.max(1)).max(1);
        let seconds = width as f64 * POINT as f64 / 1_000_000.0;
        let merge = |(place, points): (usize, &[Point])| Point {
            second: (place as f64 + 0.5) * seconds,
            accepted: points.iter().map(|point| point.accepted).sum::<f64>() / seconds,
            finished: points.iter().map(|point| point.finished).sum::<f64>() / seconds,
        };
        self.points.chunks(width).enumerate().map(merge).collect()
    }
}

/// Processor time of this process so far, user and system, in seconds; 0 where /proc is not there.
#[must_use]
pub fn processor_seconds() -> f64 {
    cpu_seconds("self")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_all_that_was_recorded() {
        let mut latency = Latency::default();
        for value in 1..=1_000 {
            latency.record(value * 1_000);
            latency.record(value * 1_000);
        }
        let found = latency.percentiles();
        assert_eq!(found.samples, 2_000);
        assert!((found.p50 - 500.0).abs() < 1.0 && (found.p99 - 990.0).abs() < 1.0, "{found:?}");
        assert!((found.max - 1_000.0).abs() < 1.0, "{found:?}");
        assert_eq!(Latency::default().percentiles().max, 0.0);
    }

    #[test]
    fn a_series_keeps_its_sums_when_points_are_merged() {
        let mut series = Series::default();
        for tenth in 0..95 {
            series.add(tenth * 100_000 + 5, 10, 9);
        }
        let points = series.points(10);
        assert_eq!((points.len(), points[0].accepted, points[0].finished), (10, 100.0, 90.0));
        assert_eq!(points[9].accepted, 50.0);
    }

    #[test]
    fn this_process_has_used_some_processor_time() {
        let clock = Clock::start();
        while processor_seconds() == 0.0 && clock.now() < 2_000_000 {}
        assert!(processor_seconds() > 0.0);
    }
}
