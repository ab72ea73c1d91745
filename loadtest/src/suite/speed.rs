//! Rows of speed: how many messages a second through each door, how long an answer takes, and what Kannel does beside it.

use std::time::Instant;

use super::{Bench, Figure, Figures, House, Row, SuiteError, fast, latency};
use crate::{
    http, smpp,
    stage::EmptyDoor,
    summary::Summary,
    watch::{self, Watch},
};

/// Connections with one message a request.
const SINGLE_CONNECTIONS: u16 = 64;

pub const ROWS: &[Row] = &[
    Row {
        name: "smpp",
        work: "SMPP → SMPP → receipt back, 4 binds a side, window 1,000",
        reach: "≥ 300,000 messages/s; CPU ≤ 4 µs a message",
        measure: through_four_binds,
    },
    Row {
        name: "small",
        work: "the same with 1 bind a side, window 10",
        reach: "≥ 15,000/s, p50 ≤ 1 ms, where fdatasync takes ≤ 0.2 ms",
        measure: through_one_small_bind,
    },
    Row {
        name: "http",
        work: "HTTP, one message a request, 64 connections → SMPP → receipt",
        reach: "≥ 50,000/s",
        measure: |bench| over_http(bench, SINGLE_CONNECTIONS, 1),
    },
    Row {
        name: "http-empty",
        work: "the same generator at an axum handler that accepts at once and does nothing",
        reach: "for the reader's own comparison with `http`",
        measure: at_an_empty_door,
    },
    Row {
        name: "http-batch",
        work: "HTTP, batches of 1,000, 8 connections → SMPP → receipt",
        reach: "≥ 250,000 messages/s",
        measure: |bench| over_http(bench, 8, 1_000),
    },
    Row {
        name: "latency",
        work: "accept latency at half of the reached rate",
        reach: "p50 ≤ 2 ms, p99 ≤ 10 ms",
        measure: at_half_of_the_rate,
    },
    Row {
        name: "kannel",
        work: "HTTP in, one message a request, 64 connections, 4 binds out, window 100, receipt back: Tidegate, and Kannel in memory",
        reach: "many times Kannel's rate",
        measure: super::against_kannel,
    },
];

fn through_four_binds(bench: &Bench) -> Result<Figures, SuiteError> {
    let house = bench.house(fast(), |_| {})?;
    sustained(&house, bench.load(&house))
}

fn through_one_small_bind(bench: &Bench) -> Result<Figures, SuiteError> {
    let house = bench.house(fast(), |settings| (settings.binds, settings.window) = (1, 10))?;
    sustained(&house, smpp::Options { binds: 1, window: 10, ..bench.load(&house) })
}

/// The figures of a load over SMPP.
fn sustained(house: &House, options: smpp::Options) -> Result<Figures, SuiteError> {
    let load = house.submit(options)?;
    let (summary, watched) = (load.summary(), &load.watched);
    let of_us = summary.generator_cpu_microseconds_per_message;
    let left = watched.growth("tidegate_queue_depth") + watched.growth("tidegate_untold_pending");
    let mut figures = vec![Figure::new("**end to end**", summary.messages_per_second, "/s")];
    figures.extend(latency("accept", &summary.accept_milliseconds));
    figures.push(Figure::new("CPU", watched.cpu_microseconds_per_message, "µs a message"));
    figures.push(Figure::new("generator's and provider's CPU", of_us, "µs"));
    figures.push(Figure::new("resident", watched.resident_bytes_most as f64 / 1e6, "MB"));
    figures.push(Figure::new("open at the stop", summary.backlog_when_stopped as f64, "messages"));
    figures.push(Figure::new("left over", left, "messages"));
    figures.push(Figure::new("idle after", load.settled_seconds, "s"));
    figures.push(Figure::new("ring", watched.after("tidegate_journal_bytes") / 1e6, "MB"));
    figures.extend(load.faults());
    Ok(figures)
}

fn over_http(bench: &Bench, connections: u16, batch: u32) -> Result<Figures, SuiteError> {
    let house = bench.house(fast(), |_| {})?;
    let watch = Watch::begin(&house.gateway.watched());
    let began = Instant::now();
    let seconds = Some(bench.options.seconds);
    let options = http::Options { seconds, connections, batch, ..house.gateway.over_http() };
    let Summary { accepted, accepted_per_second, accept_milliseconds, .. } = http::run(options)?.summary;
    let all_told = house.is_quiet(accepted);
    let rate = accepted as f64 / began.elapsed().as_secs_f64();
    let watched = watch.end(accepted);
    let counts = house.provider.handle.counts();
    let mut figures = vec![
        Figure::new("**until its receipt is on disk**", rate, "messages/s"),
        Figure::new("accepted", accepted_per_second, "/s"),
    ];
    figures.extend(latency("answer", &accept_milliseconds));
    figures.push(Figure::new("CPU", watched.cpu_microseconds_per_message, "µs a message"));
    let missing = if all_told { 0 } else { accepted.saturating_sub(counts.receipts_acknowledged) };
    figures.push(Figure::fault("lost", missing));
    figures.push(Figure::fault("doubled", counts.accepted.saturating_sub(accepted)));
    Ok(figures)
}

fn at_an_empty_door(bench: &Bench) -> Result<Figures, SuiteError> {
    let door = EmptyDoor::start(&bench.options.directory)?;
    let watch = Watch::begin(&watch::Options { pids: vec![door.pid()], ..watch::Options::default() });
    let finished = http::run(http::Options {
        target: format!("http://{}", door.address),
        connections: SINGLE_CONNECTIONS,
        seconds: Some(bench.options.seconds),
        quiet: true,
        ..http::Options::default()
    })?;
    let summary = finished.summary;
    let mut figures = vec![Figure::new("accepted", summary.accepted_per_second, "/s")];
    figures.extend(latency("answer", &summary.accept_milliseconds));
    let used = watch.end(summary.accepted).cpu_microseconds_per_message;
    figures.push(Figure::new("CPU", used, "µs a message"));
    let of_us = summary.generator_cpu_microseconds_per_message;
    figures.push(Figure::new("generator's CPU", of_us, "µs"));
    Ok(figures)
}

fn at_half_of_the_rate(bench: &Bench) -> Result<Figures, SuiteError> {
    let rate = bench.reached()? / 2.0;
    let house = bench.house(fast(), |_| {})?;
    let load = house.submit(smpp::Options { rate: Some(rate), ..bench.load(&house) })?;
    let mut figures = vec![Figure::new("at", rate, "/s")];
    figures.extend(latency("**accept**", &load.summary().accept_milliseconds));
    figures.extend(latency("end to end", &load.summary().end_to_end_milliseconds));
    figures.extend(load.faults());
    Ok(figures)
}
