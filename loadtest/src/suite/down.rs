//! The row of a provider that is down for long: what waits for it, what that takes, and how it is sent when the provider comes.

use std::{
    net::SocketAddr,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Bench, Figure, Figures, Row, SuiteError, fast, size::at_rest};
use crate::{
    smpp::{self, BindKind, Finished, RunError},
    smsc::Profile,
    stage::{
        Gateway, Provider,
        program::until,
        settings::{Settings, free_ports},
    },
    watch::{Watch, metrics},
};

/// Tenants that submit, over one bind each: half of them what is normal, the others what is of high priority.
const LANES: u32 = 4;
/// The priority_flag of high priority (SMPP 3.4 §5.2.14).
const HIGH: u8 = 3;
/// How long all may take to be accepted and on the disk.
const PARKED_WITHIN: Duration = Duration::from_secs(900);
/// The gateway's pause between two attempts to bind has become long meanwhile.
const BOUND_WITHIN: Duration = Duration::from_secs(180);
/// Without anything new for so long, it will not go on.
const STALLED: Duration = Duration::from_secs(60);

pub const ROWS: &[Row] = &[Row {
    name: "down",
    work: "a provider that is down while `--queued` messages of four tenants and two priorities are accepted, and then comes",
    reach: "≤ 48 B of memory each while it is down, all sent in their order and told, none lost or doubled (`--queued 18000000`: an hour of 5,000/s)",
    measure: down,
}];

/// What was seen while the provider was down.
struct Waited {
    base: u64,
    resident: u64,
    parked: u64,
}

/// What was seen from the moment on at which it came.
struct Drained {
    bound_seconds: f64,
    sent_seconds: f64,
    resident_most: u64,
    cpu_seconds: f64,
}

fn down(bench: &Bench) -> Result<Figures, SuiteError> {
    let [address] = free_ports().map_err(|source| SuiteError::Io { what: "no free port".into(), source })?;
    let queued = bench.options.queued / LANES * LANES;
    let gateway = bench.gateway(address, |settings| {
        settings.tenants = LANES;
        settings.more = format!("[queue]\nmax = {}\n", queued.max(20_000_000));
    })?;
    let base = at_rest(&gateway);
    let lanes: Vec<_> = (0..LANES).map(|place| submit(&gateway, place, queued / LANES)).collect();
    let waited = wait(&gateway, base, queued)?;
    let provider = arrive(address)?;
    let drained = drain(&gateway, &provider, waited.parked)?;
    let coming = Instant::now();
    let finished: Result<Vec<Finished>, SuiteError> = lanes.into_iter().map(end).collect();
    let told_seconds = drained.sent_seconds + coming.elapsed().as_secs_f64();
    Ok(figures(&waited, &drained, told_seconds, &finished?, &provider))
}

/// One tenant's messages, over one bind: so they are numbered in the order in which they are accepted.
fn submit(gateway: &Gateway, place: u32, count: u32) -> JoinHandle<Result<Finished, RunError>> {
    let name = Settings::tenant(place);
    let patience = PARKED_WITHIN + BOUND_WITHIN + STALLED;
    let options = smpp::Options {
        system_id: name.clone(),
        password: name,
        binds: 1,
        bind: BindKind::Transceiver,
        prefix: format!("254{place}"),
        priority: if place % 2 == 1 { HIGH } else { 0 },
        count,
        no_retry: true,
        timeout: patience.as_secs_f64(),
        response_timeout: patience.as_secs_f64(),
        ..gateway.over_smpp()
    };
    thread::spawn(move || smpp::run(options))
}

/// Until all that was accepted is on the disk and the gateway has nothing to do.
fn wait(gateway: &Gateway, base: u64, queued: u32) -> Result<Waited, SuiteError> {
    let address = gateway.settings.ops.to_string();
    let parked = || {
        let seen = metrics(&address);
        let of = |name: &str| seen.get(name).copied().unwrap_or(0.0) as u64;
        let (accepted, refused) =
            (of("tidegate_messages_accepted_total"), of("tidegate_messages_refused_total"));
        let parked = of("tidegate_messages_parked");
        (accepted + refused >= u64::from(queued) && parked >= accepted).then_some(parked)
    };
    let parked = until(PARKED_WITHIN, parked)
        .ok_or_else(|| SuiteError::Broken("not all that waits was parked".into()))?;
    Ok(Waited { base, resident: at_rest(gateway), parked })
}

fn arrive(address: SocketAddr) -> Result<Provider, SuiteError> {
    // It sends faster than it is told: no receipt of what is sent may be given up here.
    let profile = Profile { sequences: true, receipts_max: usize::MAX, ..fast() };
    Ok(Provider::start(address, profile)?)
}

/// Until the provider has as many as wait, or nothing more comes.
fn drain(gateway: &Gateway, provider: &Provider, waiting: u64) -> Result<Drained, SuiteError> {
    let came = Instant::now();
    let watch = Watch::begin(&gateway.watched());
    let accepted = || provider.handle.counts().accepted;
    until(BOUND_WITHIN, || (accepted() > 0).then_some(()))
        .ok_or_else(|| SuiteError::Broken("the gateway did not bind again".into()))?;
    let (began, mut seen) = (Instant::now(), 0);
    while seen < waiting {
        let more = until(STALLED, || Some(accepted()).filter(|now| *now > seen));
        seen = more.ok_or_else(|| SuiteError::Broken(format!("the provider has {seen} of {waiting}")))?;
    }
    let sent_seconds = began.elapsed().as_secs_f64();
    let watched = watch.end(waiting);
    Ok(Drained {
        bound_seconds: (began - came).as_secs_f64(),
        sent_seconds,
        resident_most: watched.resident_bytes_most,
        cpu_seconds: watched.cpu_seconds,
    })
}

fn end(lane: JoinHandle<Result<Finished, RunError>>) -> Result<Finished, SuiteError> {
    Ok(lane.join().map_err(|_| SuiteError::Broken("a generator broke off".into()))??)
}

fn figures(
    waited: &Waited,
    drained: &Drained,
    told_seconds: f64,
    finished: &[Finished],
    provider: &Provider,
) -> Figures {
    let sum = |of: fn(&Finished) -> u64| finished.iter().map(of).sum::<u64>();
    let accepted = sum(|one| one.summary.accepted);
    let taking = finished
        .iter()
        .map(|one| one.summary.accepted as f64 / one.summary.accepted_per_second.max(f64::MIN_POSITIVE));
    let taking = taking.fold(f64::MIN_POSITIVE, f64::max);
    let each = waited.resident.saturating_sub(waited.base) as f64 / accepted.max(1) as f64;
    let given = provider.handle.counts().accepted;
    let sequences = provider.handle.sequences();
    let overtaken: u64 = sequences.iter().map(|sequence| sequence.overtaken).sum();
    let looked_at: u64 = sequences.iter().map(|sequence| sequence.messages).sum();
    let behind = sequences.iter().map(|sequence| sequence.furthest_behind).max().unwrap_or(0);
    let doubled = sum(|one| one.summary.duplicates) + given.saturating_sub(accepted);
    vec![
        Figure::new("**resident while it is down**", each, "B a message beyond the base"),
        Figure::new("base", waited.base as f64 / 1e6, "MB"),
        Figure::new("with all on disk", waited.resident as f64 / 1e6, "MB"),
        Figure::new("accepted", accepted as f64 / taking, "/s"),
        Figure::new("refused", sum(|one| one.summary.refused.values().sum()) as f64, ""),
        Figure::new("waiting", waited.parked as f64, "messages"),
        Figure::new("bound again after", drained.bound_seconds, "s"),
        Figure::new("**sent**", given as f64 / drained.sent_seconds.max(f64::MIN_POSITIVE), "/s"),
        Figure::new("told", accepted as f64 / told_seconds.max(f64::MIN_POSITIVE), "/s"),
        Figure::new("resident meanwhile", drained.resident_most as f64 / 1e6, "MB"),
        Figure::new("CPU", drained.cpu_seconds * 1e6 / given.max(1) as f64, "µs a message sent"),
        Figure::new("**overtaken on a bind**", overtaken as f64, ""),
        Figure::new("furthest behind over all binds", behind as f64, "messages"),
        Figure::new("looked at", looked_at as f64, "messages"),
        Figure::fault("lost", sum(|one| one.summary.lost)),
        Figure::fault("doubled", doubled),
    ]
}
