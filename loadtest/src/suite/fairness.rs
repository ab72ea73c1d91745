//! Rows of fairness: a quiet tenant beside a flood, turns as the provider sees them, a high priority behind a campaign.

use std::{
    thread,
    time::{Duration, SystemTime},
};

use super::{Bench, Figure, Figures, House, Row, SuiteError, fast, latency};
use crate::{
    order,
    smpp::{self, BindKind},
    smsc::{Accepted, Profile},
    stage::{
        Provider,
        program::until,
        settings::{Settings, free_ports},
    },
};

/// Messages a second of the quiet tenant.
const QUIET: f64 = 100.0;
const CAMPAIGN: u32 = 4_000;
const SENDERS: u32 = 5;

pub const ROWS: &[Row] = &[
    Row {
        name: "neighbour",
        work: "a quiet tenant (100/s) beside one that floods at half of the reached rate",
        reach: "p99 ≤ max(2 × alone, 10 ms)",
        measure: beside_a_flood,
    },
    Row {
        name: "turns",
        work: "5 tenants with 2,000 messages each before the provider comes, one of them with 20,000: the provider's record",
        reach: "between two of one at most one round: a quantum of parts of each other",
        measure: turns,
    },
    Row {
        name: "priority",
        work: "a 100/s provider with 4,000 campaign messages waiting, then one of high priority",
        reach: "≤ 1 s until the provider has it",
        measure: behind_a_campaign,
    },
];

fn beside_a_flood(bench: &Bench) -> Result<Figures, SuiteError> {
    let rate = bench.reached()? / 2.0;
    let house = bench.house(fast(), |settings| settings.tenants = 2)?;
    let quiet = |first| smpp::Options {
        rate: Some(QUIET),
        count: (bench.options.seconds * QUIET) as u32,
        binds: 1,
        first,
        ..as_tenant(&house, 1)
    };
    let alone = smpp::run(quiet(0))?.summary;
    let flood = smpp::Options { rate: Some(rate), prefix: "2541".into(), ..bench.load(&house) };
    let flooding = thread::spawn(move || smpp::run(flood));
    let beside = smpp::run(quiet(10_000_000))?.summary;
    let flood = flooding.join().map_err(|_| SuiteError::Broken("the flood broke off".into()))??.summary;
    let mut figures = latency("**quiet accept beside the flood**", &beside.accept_milliseconds).to_vec();
    figures.extend(latency("alone", &alone.accept_milliseconds));
    figures.extend(latency("**end to end beside the flood**", &beside.end_to_end_milliseconds));
    figures.extend(latency("alone", &alone.end_to_end_milliseconds));
    figures.push(Figure::new("flood", flood.messages_per_second, "/s"));
    figures.push(Figure::fault("lost", beside.lost + alone.lost + flood.lost));
    Ok(figures)
}

/// The generator as the tenant of this place.
fn as_tenant(house: &House, place: u32) -> smpp::Options {
    let name = Settings::tenant(place);
    smpp::Options { system_id: name.clone(), password: name, ..house.gateway.over_smpp() }
}

/// All is queued while nobody listens at the provider's address; then it comes, with one bind, so that its record is in order.
fn turns(bench: &Bench) -> Result<Figures, SuiteError> {
    let [address] = free_ports().map_err(|source| SuiteError::Io { what: "no free port".into(), source })?;
    let gateway = bench.gateway(address, |settings| {
        (settings.tenants, settings.binds, settings.window) = (SENDERS, 1, 100);
    })?;
    let mut all = 0;
    for place in 0..SENDERS {
        let name = Settings::tenant(place);
        let count = if place == 0 { 20_000 } else { 2_000 };
        let from = format!("FROM{place}");
        let options = smpp::Options { system_id: name.clone(), password: name, from, ..gateway.over_smpp() };
        let queue = smpp::Options { count, bind: BindKind::Transmitter, first: all, ..options };
        all += smpp::run(queue)?.summary.accepted;
    }
    let provider = Provider::start(address, Profile { record_bodies: true, ..Profile::default() })?;
    let record = provider.handle.record();
    // The gateway's pause between two attempts to bind has become long meanwhile.
    until(Duration::from_secs(180), || (record.count() as u64 >= all).then_some(()))
        .ok_or_else(|| SuiteError::Broken(format!("the provider has {} of {all}", record.count())))?;
    let entries = record.entries();
    let senders = entries.iter().filter_map(|entry| entry.body.as_ref()).map(|body| body.source.as_slice());
    // While all of them wait: up to the last message of the first that has no more.
    let shared = shared_stretch(&entries);
    let found = order::turns(senders.take(shared));
    let most = |value: fn(&order::Turns) -> u64| found.iter().map(value).max().unwrap_or(0) as f64;
    Ok(vec![
        Figure::new("**most of one other between two of one**", most(|one| one.most_of_one_other), ""),
        Figure::new("of all others", most(|one| one.most_of_all_others), ""),
        Figure::new("messages looked at", shared as f64, ""),
        Figure::fault("twice in the record", record.doubled().len() as u64),
    ])
}

/// How many messages there are until the first sender has sent its last.
fn shared_stretch(entries: &[Accepted]) -> usize {
    let mut last = std::collections::BTreeMap::new();
    for (place, entry) in entries.iter().enumerate() {
        if let Some(body) = &entry.body {
            last.insert(body.source.as_slice(), place + 1);
        }
    }
    last.into_values().min().unwrap_or(0)
}

fn behind_a_campaign(bench: &Bench) -> Result<Figures, SuiteError> {
    let house = bench.house(Profile::default(), |settings| {
        (settings.throughput, settings.binds) = (100, 1);
    })?;
    let once = smpp::Options { bind: BindKind::Transmitter, binds: 1, ..house.gateway.over_smpp() };
    let queued = smpp::run(smpp::Options { count: CAMPAIGN, ..once.clone() })?.summary;
    let sent = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let high = smpp::run(smpp::Options { count: 1, priority: 3, first: 1_000_000, ..once })?;
    let destination = high.numbers.destination(0);
    let record = house.provider.handle.record();
    let found = until(Duration::from_secs(60), || record.of(destination).into_iter().next());
    let found = found.ok_or_else(|| SuiteError::Broken("the high message never came".into()))?;
    let before = record.entries().iter().take_while(|entry| entry.destination != destination).count();
    Ok(vec![
        Figure::new("**until the provider has it**", found.at as f64 - sent.as_millis() as f64, "ms"),
        Figure::new("campaign messages accepted", queued.accepted as f64, ""),
        Figure::new("of them at the provider before", before as f64, ""),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smsc::Body;

    #[test]
    fn the_stretch_in_which_all_wait_ends_with_the_first_that_is_done() {
        let entry = |source: u8| {
            let body = Body {
                source: vec![source],
                destination: Vec::new(),
                esm_class: 0,
                data_coding: 0,
                registered_delivery: 0,
                content: Vec::new(),
                tlvs: Vec::new(),
            };
            let body = Some(Box::new(body));
            Accepted { at: 0, destination: 1, id: 1, reference: 0, part: 1, parts: 1, body }
        };
        let entries: Vec<Accepted> = b"ababaaab".iter().chain(b"aaaa").map(|source| entry(*source)).collect();
        assert_eq!(shared_stretch(&entries), 8);
        assert_eq!(shared_stretch(&[]), 0);
    }
}
