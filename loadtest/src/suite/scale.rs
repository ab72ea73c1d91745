//! Rows of size in number: many tenants, providers and routes, a provider that is far away, and questions beside a load.

use super::{Bench, Figure, Figures, House, Load, Row, SuiteError, fast, latency};
use crate::{
    http::{Questions, read_all, read_latency},
    smpp::{self, Finished},
    smsc::{Delay, Profile},
    stage::settings::Settings,
};

const TENANTS: u32 = 1_000;
const PROVIDERS: u32 = 50;
const ROUTES: u32 = 10_000;
/// Questions a second.
const QUESTIONS: f64 = 200.0;
/// Pages, and searches, a second.
const LISTS: f64 = 20.0;
const SEARCHES: f64 = 5.0;

pub const ROWS: &[Row] = &[
    Row {
        name: "many",
        work: "1,000 tenants, 50 providers, 10,000 routes and prices",
        reach: "≥ 80 % of the rate with one of each",
        measure: with_many,
    },
    Row {
        name: "far",
        work: "1 provider answering in 200 ms, window 1,000, 1 bind",
        reach: "≥ 4,800/s",
        measure: far_away,
    },
    Row {
        name: "read",
        work: "`GET /v1/messages/{id}` at half load, over all of the history",
        reach: "p99 ≤ 20 ms",
        measure: reading,
    },
    Row {
        name: "page",
        work: "a tenant's page of 100 at half load, anywhere in the history",
        reach: "p99 ≤ 50 ms",
        measure: listing,
    },
    Row {
        name: "search",
        work: "all messages to one number at half load, over all of the history",
        reach: "≤ 1 s",
        measure: searching,
    },
];

/// A tenant has a window of 100 here, and so many tenants more open together than the four binds of the other run. What of the
/// difference is the number of connections and of open messages, and not of tenants, providers and routes, is seen beside one
/// tenant and one provider with as many.
fn with_many(bench: &Bench) -> Result<Figures, SuiteError> {
    let seconds = Some(bench.options.seconds);
    let one = bench.house(fast(), |_| {})?;
    let alone = one.submit(smpp::Options { seconds, scatter: true, ..one.gateway.over_smpp() })?;
    drop(one);
    let wide = bench.house(fast(), |settings| {
        (settings.tenant_binds, settings.binds) = (TENANTS, PROVIDERS);
    })?;
    let work = smpp::Options { seconds, scatter: true, window: 100, ..wide.gateway.over_smpp() };
    let as_many = wide.submit(smpp::Options { binds: TENANTS as u16, ..work })?;
    drop(wide);
    let many = bench.house(fast(), |settings| {
        let one = settings.clone();
        *settings = Settings { tenants: TENANTS, providers: PROVIDERS, routes: ROUTES, binds: 1, ..one };
    })?;
    let work =
        smpp::Options { seconds, scatter: true, binds: 1, window: 100, ..many.gateway.over_smpp_as_all() };
    let load = many.submit(work)?;
    let rate_of = |load: &Load| load.summary().messages_per_second;
    let cpu_of = |load: &Load| load.watched.cpu_microseconds_per_message;
    let rate = rate_of(&load);
    let mut figures = vec![
        Figure::new(
            "**of the rate with one of each over as many connections**",
            rate / rate_of(&as_many) * 100.0,
            "%",
        ),
        Figure::new("**of the rate with one of each over four binds**", rate / rate_of(&alone) * 100.0, "%"),
        Figure::new("many", rate, "/s"),
        Figure::new("one over as many", rate_of(&as_many), "/s"),
        Figure::new("one over four", rate_of(&alone), "/s"),
        Figure::new("CPU with many", cpu_of(&load), "µs a message"),
        Figure::new("with one over as many", cpu_of(&as_many), "µs"),
        Figure::new("with one over four", cpu_of(&alone), "µs"),
    ];
    figures.extend(load.faults());
    Ok(figures)
}

fn far_away(bench: &Bench) -> Result<Figures, SuiteError> {
    let profile = Profile { latency: Delay::Fixed(200.0), ..fast() };
    let house = bench.house(profile, |settings| settings.binds = 1)?;
    let count = (bench.options.seconds * 5_000.0) as u32;
    let load = house.submit(smpp::Options { count, ..house.gateway.over_smpp() })?;
    let mut figures = vec![Figure::new("**end to end**", load.summary().messages_per_second, "/s")];
    figures.extend(load.faults());
    Ok(figures)
}

/// A history first, then a load at half of the rate, and beside it questions for messages all over the history.
fn reading(bench: &Bench) -> Result<Figures, SuiteError> {
    let (house, history) = house_with_a_history(bench)?;
    asking(bench, &house, &messages_all_over(bench, &history, QUESTIONS), QUESTIONS)
}

/// The same with questions for pages of a tenant's list, each from the moment on at which some message of the history came.
fn listing(bench: &Bench) -> Result<Figures, SuiteError> {
    let (house, history) = house_with_a_history(bench)?;
    let messages = messages_all_over(bench, &history, LISTS);
    let address = house.gateway.settings.http.to_string();
    let asker = Questions { address, key: Settings::key(0), rate: LISTS };
    let answers = read_all(&asker, &messages)
        .map_err(|source| SuiteError::Io { what: "a message was not shown".into(), source })?;
    let came = answers.iter().filter_map(|answer| {
        let message: serde_json::Value = serde_json::from_slice(answer).ok()?;
        Some(message.get("created_at")?.as_str()?.to_owned())
    });
    let paths: Vec<String> = came.map(|at| format!("/v1/messages?limit=100&until={at}")).collect();
    asking(bench, &house, &paths, LISTS)
}

/// The same with questions for all messages to one number.
fn searching(bench: &Bench) -> Result<Figures, SuiteError> {
    let (house, history) = house_with_a_history(bench)?;
    let numbers = serials_all_over(bench, SEARCHES).map(|serial| history.numbers.destination(serial));
    let paths: Vec<String> = numbers.map(|number| format!("/v1/messages?to=%2B{number}")).collect();
    asking(bench, &house, &paths, SEARCHES)
}

/// Places all over the history, as many as are asked about.
fn serials_all_over(bench: &Bench, rate: f64) -> impl Iterator<Item = u32> {
    let (questions, history) = ((bench.options.seconds * rate) as u32, bench.options.history);
    (0..questions).map(move |place| place.wrapping_mul(2_654_435_761) % history)
}

fn messages_all_over(bench: &Bench, history: &Finished, rate: f64) -> Vec<String> {
    let ids = serials_all_over(bench, rate).filter_map(|serial| history.book.accepted_id(serial));
    ids.map(|id| format!("/v1/messages/{id}")).collect()
}

fn house_with_a_history(bench: &Bench) -> Result<(House, Finished), SuiteError> {
    let house = bench.house(fast(), |_| {})?;
    let work = smpp::Options { count: bench.options.history, ..house.gateway.over_smpp() };
    let history = house.submit(work)?.finished;
    Ok((house, history))
}

/// How long answers take beside a load at half of the rate.
fn asking(bench: &Bench, house: &House, paths: &[String], rate: f64) -> Result<Figures, SuiteError> {
    let half = bench.reached()? / 2.0;
    let count = bench.options.history;
    let load = smpp::Options { rate: Some(half), first: u64::from(count), ..bench.load(house) };
    let beside = std::thread::spawn(move || smpp::run(load));
    let address = house.gateway.settings.http.to_string();
    let found = read_latency(&Questions { address, key: Settings::key(0), rate }, paths);
    let loaded = beside.join().map_err(|_| SuiteError::Broken("the generator broke off".into()))??;
    let found =
        found.map_err(|source| SuiteError::Io { what: "a question was not answered".into(), source })?;
    let mut figures = latency("**answer**", &found).to_vec();
    figures.push(Figure::new("questions", found.samples as f64, ""));
    figures.push(Figure::new("beside", loaded.summary.messages_per_second, "messages/s"));
    figures.push(Figure::new("history", f64::from(count), "messages"));
    Ok(figures)
}
