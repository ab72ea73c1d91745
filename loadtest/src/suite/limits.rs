//! Rows of limits: how evenly a provider's rate is kept, and what happens when more is offered than it takes.

use super::{Bench, Figure, Figures, Row, SuiteError, fast, latency};
use crate::{measure::Point, smpp, smsc::Profile};

/// Parts a second of the provider whose pacing is counted.
const PACED: u32 = 500;
/// Messages a second that the provider of the overload takes, and that are offered.
const TAKEN: u32 = 50_000;
const OFFERED: f64 = 150_000.0;

pub const ROWS: &[Row] = &[
    Row {
        name: "pacing",
        work: "a provider of 500/s with more waiting: submits in every window of one second, as the provider counts",
        reach: "99.9 % of windows ≤ 2 % above, none more than 10 % above",
        measure: pacing,
    },
    Row {
        name: "overload",
        work: "a provider limited to 50,000/s, 150,000/s offered",
        reach: "accepted within 10 % of sent once queues are full; typed refusals; bounded latency",
        measure: overload,
    },
];

fn pacing(bench: &Bench) -> Result<Figures, SuiteError> {
    let profile = Profile { pacing: PACED, ..fast() };
    let house = bench.house(profile, |settings| settings.throughput = PACED)?;
    let count = (bench.options.seconds * f64::from(PACED)) as u32;
    let load = house.submit(smpp::Options { count, ..house.gateway.over_smpp() })?;
    let pacing = house.provider.handle.pacing().into_values().next();
    let pacing = pacing.ok_or_else(|| SuiteError::Broken("the provider has counted nothing".into()))?;
    let mut figures = vec![
        Figure::new("**windows within 2 %**", pacing.share_within() * 100.0, "%"),
        Figure::new("windows more than 10 % above", pacing.windows_above_10_percent as f64, ""),
        Figure::new("most", pacing.most as f64, "in a second"),
        Figure::new("windows", pacing.windows as f64, ""),
        Figure::new("sent", load.summary().messages_per_second, "/s"),
    ];
    figures.extend(load.faults());
    Ok(figures)
}

/// The queues are made short, so that they are full before the run is half over.
fn overload(bench: &Bench) -> Result<Figures, SuiteError> {
    let house = bench.house(fast(), |settings| {
        settings.throughput = TAKEN;
        settings.more = "[queue]\nmemory = 200_000\nper_tenant = 200_000\n".into();
    })?;
    let load = smpp::Options { rate: Some(OFFERED), no_retry: true, ..bench.load(&house) };
    let load = house.submit(load)?;
    let summary = load.summary();
    let (accepted, sent) = last_half(&summary.series, bench.options.seconds);
    let refused: u64 = summary.refused.values().sum();
    let full = summary.refused.get("0x00000014").copied().unwrap_or(0);
    let slowed = summary.refused.get("0x00000058").copied().unwrap_or(0);
    let mut figures = vec![
        Figure::new("**accepted of what was sent, last half**", accepted / sent.max(1.0) * 100.0, "%"),
        Figure::new("accepted", accepted, "/s"),
        Figure::new("sent", sent, "/s"),
        Figure::new("ESME_RMSGQFUL", full as f64, ""),
        Figure::new("ESME_RTHROTTLED", slowed as f64, ""),
        Figure::new("other refusals", refused.saturating_sub(full + slowed) as f64, ""),
    ];
    figures.extend(latency("accept", &summary.accept_milliseconds));
    figures.push(Figure::new("resident", load.watched.resident_bytes_most as f64 / 1e6, "MB"));
    figures.extend(load.faults());
    Ok(figures)
}

/// Mean rates of acceptance and of receipts in the last half of the sending.
fn last_half(series: &[Point], seconds: f64) -> (f64, f64) {
    let half = || series.iter().filter(|point| (seconds / 2.0..seconds * 0.98).contains(&point.second));
    let mean = |value: fn(&Point) -> f64| half().map(value).sum::<f64>() / half().count().max(1) as f64;
    (mean(|point| point.accepted), mean(|point| point.finished))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_half_of_the_sending_counts() {
        let point = |second, accepted| Point { second, accepted, finished: 50.0 };
        let series =
            [point(1.0, 900.0), point(4.0, 900.0), point(6.0, 40.0), point(9.0, 60.0), point(12.0, 0.0)];
        assert_eq!(last_half(&series, 10.0), (50.0, 50.0));
        assert_eq!(last_half(&[], 10.0), (0.0, 0.0));
    }
}
