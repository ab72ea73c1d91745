//! Rows of what it takes: memory over time and of what waits, room on the disk, late receipts, the way back after a kill.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Bench, Figure, Figures, House, Row, SuiteError, fast, latency};
use crate::{
    disk, smpp,
    smsc::{Delay, Profile},
    stage::{
        Gateway,
        program::until,
        settings::{Settings, free_ports},
    },
    watch::{Usage, Watch, disk_bytes, metrics, usage},
};

/// Messages a second of the row that watches the memory.
const STEADY: f64 = 100_000.0;
/// The part of the receipts that are late.
const LATE: f64 = 0.2;
/// How long all that waits may take to reach the disk; what waits in memory for a provider that is down does so for a minute.
const PARKED_WITHIN: Duration = Duration::from_secs(240);
/// Between two looks at a memory that comes to rest.
const LOOK_AGAIN: Duration = Duration::from_secs(3);
/// Looks at it that find nothing else than the first of them. What has just reached the disk is in memory for some seconds more.
const ALIKE: u32 = 6;
/// How long it may take to come to rest.
const REST_WITHIN: Duration = Duration::from_secs(120);
/// How long a gateway may take to have nothing to do.
const IDLE_WITHIN: Duration = Duration::from_secs(60);

pub const ROWS: &[Row] = &[
    Row {
        name: "disk",
        work: "the disk itself: 4 KiB appended and fdatasynced, 2,000 times",
        reach: "for the reader's own comparison",
        measure: the_disk,
    },
    Row {
        name: "memory",
        work: "resident memory at 100,000/s",
        reach: "≤ 5 % growth over the last half of 10 minutes (`--seconds 600`)",
        measure: memory_over_time,
    },
    Row {
        name: "queued",
        work: "messages of 160 characters waiting for a provider that is down",
        reach: "≤ 600 B of memory each",
        measure: memory_of_what_waits,
    },
    Row {
        name: "parked",
        work: "the same, once they are on disk: each of the second half of `--queued`",
        reach: "≤ 48 B of memory each (`--queued 10000000`)",
        measure: memory_of_what_is_parked,
    },
    Row {
        name: "archive",
        work: "room on the disk of finished messages, all texts, numbers and ids different",
        reach: "archive ≤ 250 B a message",
        measure: room_on_the_disk,
    },
    Row {
        name: "late",
        work: "20 % of receipts late (`--late` seconds): each of the second half of `--history`",
        reach: "≤ 32 B of memory each, ≤ 8 µs a late receipt (`--history 40000000 --late 620`)",
        measure: late_receipts,
    },
    Row {
        name: "late-restart",
        work: "20 % of receipts late, SIGKILL and a start before they come",
        reach: "each finds its message",
        measure: late_after_a_restart,
    },
    Row {
        name: "recovery",
        work: "SIGKILL under load with a history and messages that wait, cold page cache",
        reach: "≤ 3 s to ready with 1 M living and 20 M in the archive",
        measure: recovery,
    },
];

fn the_disk(bench: &Bench) -> Result<Figures, SuiteError> {
    let found = disk::fdatasync(&bench.options.directory, 2_000);
    let found = found.map_err(|source| SuiteError::Io { what: "the disk".into(), source })?;
    Ok(latency("fdatasync", &found).to_vec())
}

fn memory_over_time(bench: &Bench) -> Result<Figures, SuiteError> {
    let house = bench.house(fast(), |_| {})?;
    // The numbers of a run end at 100,000,000; a load that is paced needs room for its rate alone.
    let count = (STEADY * bench.options.seconds) as u32;
    let load = house.submit(smpp::Options { count, rate: Some(STEADY), ..house.gateway.over_smpp() })?;
    let watched = &load.watched;
    let half = bench.options.seconds / 2.0;
    let at_half = watched.resident.iter().find(|(second, _)| *second >= half).map_or(0, |(_, bytes)| *bytes);
    // What is freed or built up after the last message is no growth under load.
    let end = bench.options.seconds;
    let at_end = watched.resident.iter().rfind(|(second, _)| *second <= end).map_or(0, |(_, bytes)| *bytes);
    let growth = at_end as f64 / at_half.max(1) as f64 - 1.0;
    let mut figures = vec![
        Figure::new("**growth over the last half**", growth * 100.0, "%"),
        Figure::new("at the half", at_half as f64 / 1e6, "MB"),
        Figure::new("at the end", at_end as f64 / 1e6, "MB"),
        Figure::new("reached", load.summary().messages_per_second, "/s"),
        Figure::new("CPU", watched.cpu_microseconds_per_message, "µs a message"),
    ];
    figures.extend(load.faults());
    Ok(figures)
}

/// An address where nobody listens stands for a provider that is down.
fn house_without_a_provider(bench: &Bench) -> Result<Gateway, SuiteError> {
    let [nowhere] = free_ports().map_err(|source| SuiteError::Io { what: "no free port".into(), source })?;
    bench.gateway(nowhere, |settings| {
        settings.more = format!("[queue]\nper_tenant = {}\n", bench.options.queued.max(1_000_000))
    })
}

/// What the first half leaves in caches stays there for the second, which shows what one more takes.
fn memory_of_what_is_parked(bench: &Bench) -> Result<Figures, SuiteError> {
    let gateway = house_without_a_provider(bench)?;
    let half = bench.options.queued / 2;
    let park = |first: u32| -> Result<u64, SuiteError> {
        let bind = smpp::BindKind::Transmitter;
        let work = smpp::Options {
            count: half,
            first: u64::from(first),
            bind,
            no_retry: true,
            ..gateway.over_smpp()
        };
        smpp::run(work)?;
        at_rest_with_parked(&gateway, u64::from(first + half), PARKED_WITHIN)
    };
    let first = park(0)?;
    let second = park(half)?;
    let each = second.saturating_sub(first) as f64 / f64::from(half.max(1));
    Ok(vec![
        Figure::new("**resident**", each, "B a parked message"),
        Figure::new("parked", f64::from(half) * 2.0, "messages"),
        Figure::new("the whole process", second as f64 / 1e6, "MB"),
    ])
}

/// Octets in memory once so many messages are parked, which takes no longer than `within`, and nothing is done any more.
fn at_rest_with_parked(gateway: &Gateway, parked: u64, within: Duration) -> Result<u64, SuiteError> {
    let address = gateway.settings.ops.to_string();
    let is_parked = || {
        let now = metrics(&address).get("tidegate_messages_parked").copied().unwrap_or(0.0);
        (now >= parked as f64).then_some(())
    };
    until(within, is_parked).ok_or_else(|| SuiteError::Broken("not all that waits was parked".into()))?;
    Ok(at_rest(gateway))
}

/// Octets in memory once nothing is done any more and what is free has gone back to the system.
pub(super) fn at_rest(gateway: &Gateway) -> u64 {
    let resident = || usage(&[gateway.pid()]).resident_bytes;
    let (mut at_first, mut alike) = (resident(), 0);
    let is_at_rest = || {
        until(LOOK_AGAIN, || None::<()>);
        let now = resident();
        if at_first.abs_diff(now) < now / 200 {
            alike += 1;
        } else {
            (at_first, alike) = (now, 0);
        }
        (alike >= ALIKE).then_some(now)
    };
    until(REST_WITHIN, is_at_rest).unwrap_or_else(resident)
}

fn memory_of_what_waits(bench: &Bench) -> Result<Figures, SuiteError> {
    let count = bench.options.queued;
    let gateway = house_without_a_provider(bench)?;
    let before = usage(&[gateway.pid()]).resident_bytes;
    let bind = smpp::BindKind::Transmitter;
    let work = smpp::Options { count, bind, no_retry: true, ..gateway.over_smpp() };
    let summary = smpp::run(work)?.summary;
    let after = usage(&[gateway.pid()]).resident_bytes;
    let each = after.saturating_sub(before) as f64 / summary.accepted.max(1) as f64;
    Ok(vec![
        Figure::new("**resident**", each, "B a waiting message"),
        Figure::new("waiting", summary.accepted as f64, "messages"),
        Figure::new("refused", summary.refused.values().sum::<u64>() as f64, ""),
        Figure::new("accepted", summary.accepted_per_second, "/s"),
    ])
}

fn room_on_the_disk(bench: &Bench) -> Result<Figures, SuiteError> {
    let house = bench.house(fast(), |_| {})?;
    let count = bench.options.history;
    let load = house.submit(smpp::Options { count, ..house.gateway.over_smpp() })?;
    let (watched, messages) = (&load.watched, load.summary().accepted.max(1) as f64);
    let archive = disk_bytes(&house.gateway.data().join("archive")) as f64;
    let mut figures = vec![
        Figure::new("**archive**", archive / messages, "B a message"),
        Figure::new("all of the store", watched.disk_bytes_end as f64 / 1e6, "MB"),
        Figure::new("handed to the disk", watched.written_bytes as f64 / messages, "B a message"),
        Figure::new("messages", messages, ""),
    ];
    figures.extend(load.faults());
    figures.extend(watched.written_per_journaled.map(|ratio| Figure::new("per byte journaled", ratio, "")));
    Ok(figures)
}

/// Two tenants submit half of `--history` each, the second once what waits of the first is on disk: what the first leaves in caches
/// stays there for the second, which shows what one more takes. What the gateway computes from shortly before the late receipts of the
/// second is what those cost.
fn late_receipts(bench: &Bench) -> Result<Figures, SuiteError> {
    let (house, work) = house_with_late_receipts(bench, |settings| settings.tenants = 2)?;
    let mut generators = Vec::new();
    let measured = two_waves_of_late_receipts(bench, &house, &work, &mut generators);
    let (mut lost, mut twice) = (0, 0);
    for generator in generators {
        let summary = generator.join().map_err(|_| broken_off())??.summary;
        (lost, twice) = (lost + summary.lost, twice + summary.duplicates);
    }
    let (resident, settled, told_before) = measured?;
    until(IDLE_WITHIN, || house.is_idle().then_some(()));
    let late = told(&house).saturating_sub(told_before);
    let cpu = usage(&[house.gateway.pid()]).cpu_seconds - settled.cpu_seconds;
    let each = resident[1].saturating_sub(resident[0]) as f64 / late.max(1) as f64;
    Ok(vec![
        Figure::new("**resident**", each, "B a waiting message"),
        Figure::new("**CPU**", cpu * 1e6 / late.max(1) as f64, "µs a late receipt"),
        Figure::new("late", late as f64, "receipts"),
        Figure::new("the whole process", resident[1] as f64 / 1e6, "MB"),
        Figure::fault("lost", lost),
        Figure::fault("told twice", twice),
    ])
}

type Generator = thread::JoinHandle<Result<smpp::Finished, smpp::RunError>>;

/// Memory when the late ones of the first tenant wait, and when those of both do; then, when those of the first are told and those of the
/// second are about to be, what the gateway has used and how many were told.
fn two_waves_of_late_receipts(
    bench: &Bench,
    house: &House,
    work: &smpp::Options,
    generators: &mut Vec<Generator>,
) -> Result<([u64; 2], Usage, u64), SuiteError> {
    let half = work.count / 2;
    let late = Duration::from_secs_f64(bench.options.late);
    let first = Instant::now();
    let mut second = first;
    let mut resident = [0; 2];
    for (place, resident) in (0..).zip(&mut resident) {
        let name = Settings::tenant(place);
        let numbers = u64::from(place * half);
        let work = smpp::Options {
            count: half,
            first: numbers,
            system_id: name.clone(),
            password: name,
            ..work.clone()
        };
        second = Instant::now();
        generators.push(thread::spawn(move || smpp::run(work)));
        let waiting = f64::from(half) * f64::from(place + 1) * LATE;
        let left = late.saturating_sub(first.elapsed());
        *resident = at_rest_with_parked(&house.gateway, (waiting * 0.99) as u64, left)?;
        if first.elapsed() > late {
            return Err(SuiteError::Broken(
                "receipts came before all was at rest: give more `--late` seconds".into(),
            ));
        }
    }
    until((late * 97 / 100).saturating_sub(second.elapsed()), || None::<()>);
    Ok((resident, usage(&[house.gateway.pid()]), told(house)))
}

/// Receipts that the provider has acknowledged.
fn told(house: &House) -> u64 {
    house.provider.handle.counts().receipts_acknowledged
}

fn late_after_a_restart(bench: &Bench) -> Result<Figures, SuiteError> {
    let (mut house, work) = house_with_late_receipts(bench, |_| {})?;
    let running = thread::spawn(move || smpp::run(work));
    until_almost_late(bench);
    let told = self::told(&house);
    let took = house.gateway.kill_and_start()?;
    let summary = running.join().map_err(|_| broken_off())??.summary;
    let late = self::told(&house).saturating_sub(told);
    Ok(vec![
        Figure::fault("**lost**", summary.lost),
        // No fault here: who was told and had not answered when the gateway was killed is told again.
        Figure::new("told twice", summary.duplicates as f64, ""),
        Figure::new("late", late as f64, "receipts"),
        Figure::new("ready after", took.as_secs_f64(), "s"),
    ])
}

fn house_with_late_receipts(
    bench: &Bench,
    change: impl FnOnce(&mut Settings),
) -> Result<(House, smpp::Options), SuiteError> {
    let late_delay = Delay::Fixed(bench.options.late * 1_000.0);
    let receipts_max = usize::MAX;
    let house = bench.house(Profile { receipts_late: LATE, late_delay, receipts_max, ..fast() }, change)?;
    let (count, timeout) = (bench.options.history, bench.options.late + 30.0);
    let work = smpp::Options { count, timeout, ..house.gateway.over_smpp() };
    Ok((house, work))
}

/// Waits from the first submit until shortly before its receipt; meanwhile the rest of the gateway comes to rest.
fn until_almost_late(bench: &Bench) {
    until(Duration::from_secs_f64(bench.options.late * 0.95), || None::<()>);
}

fn broken_off() -> SuiteError {
    SuiteError::Broken("the generator broke off".into())
}

/// History first, then messages that wait for a provider that is gone, then a load in the middle of which the process is killed.
fn recovery(bench: &Bench) -> Result<Figures, SuiteError> {
    let mut house = bench.house(fast(), |_| {})?;
    let history = bench.options.history;
    house.submit(smpp::Options { count: history, ..house.gateway.over_smpp() })?;
    house.provider.handle.stop();
    let watch = Watch::begin(&house.gateway.watched());
    let queued = bench.options.queued;
    let waiting = smpp::Options {
        count: queued,
        first: u64::from(history),
        bind: smpp::BindKind::Transmitter,
        ..house.gateway.over_smpp()
    };
    let accepted = smpp::run(waiting)?.summary.accepted;
    let journal = watch.end(accepted).disk_bytes_end;
    let load = smpp::Options {
        count: 10_000_000,
        first: u64::from(history) + u64::from(queued),
        bind: smpp::BindKind::Transmitter,
        timeout: 1.0,
        no_retry: true,
        ..house.gateway.over_smpp()
    };
    let beside = thread::spawn(move || smpp::run(load));
    // In the middle of the load: a kill at rest would find everything in order.
    until(Duration::from_secs(1), || None::<()>);
    let took = house.gateway.kill_and_start()?;
    let _broken_off = beside.join();
    Ok(vec![
        Figure::new("**ready after**", took.as_secs_f64(), "s"),
        Figure::new("waiting", accepted as f64, "messages"),
        Figure::new("history", f64::from(history), "messages"),
        Figure::new("store", journal as f64 / 1e6, "MB"),
    ])
}
