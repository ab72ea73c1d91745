//! The same work through Tidegate and through Kannel, one after the other in one run: the same simulated provider, texts,
//! numbers and connections, each gateway in its usual settings for speed. What each is worth is for the reader.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;

use crate::{
    http,
    measure::Percentiles,
    numbers::SERIALS,
    smpp,
    smsc::Profile,
    stage::{
        Gateway, Provider, StageError,
        kannel::{INSTALL, Kannel, Programs, Settings as KannelSettings},
        program::until,
        settings::Settings,
    },
    summary::Summary,
    watch::{self, Watch, Watched},
};

/// How long the last receipts may take.
const RECEIPTS_WITHIN: Duration = Duration::from_secs(120);

/// The work.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The gateway's program.
    #[arg(long, default_value = "target/release/tidegate")]
    pub gateway: PathBuf,
    /// Where stores and logs are kept meanwhile: on the disk that is to be measured.
    #[arg(long, default_value = "target/loadtest")]
    pub directory: PathBuf,
    /// Messages through each gateway.
    #[arg(long, default_value_t = 100_000)]
    pub count: u32,
    /// HTTP connections, one message a request.
    #[arg(long, default_value_t = 64)]
    pub connections: u16,
    /// Binds to the provider, and the window of each.
    #[arg(long, default_value_t = 4)]
    pub binds: u32,
    #[arg(long, default_value_t = 100)]
    pub window: u32,
    /// Let Kannel keep its messages in files as well, which it does not by itself. Tidegate always keeps them, synced.
    #[arg(long)]
    pub kannel_store: bool,
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error("the HTTP generator did not run")]
    Http(#[from] http::RunError),
    #[error("the SMPP generator did not run")]
    Smpp(#[from] smpp::RunError),
}

/// What one gateway has done.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    pub gateway: &'static str,
    /// How the messages came in and how their receipts were seen.
    pub way: &'static str,
    pub accepted: u64,
    pub lost: u64,
    pub duplicates: u64,
    pub accepted_per_second: f64,
    /// Until the receipt of the last message was seen.
    pub messages_per_second: f64,
    pub accept_milliseconds: Percentiles,
    /// Of all its processes.
    pub cpu_microseconds_per_message: f64,
    pub resident_bytes_most: u64,
}

/// All that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    pub measured: Vec<Measured>,
    /// What could not be measured, and why.
    pub absent: Vec<String>,
}

/// Measures one after the other.
///
/// # Errors
/// A program that is installed does not start, or a generator cannot run.
pub fn run(options: &Options) -> Result<Comparison, CompareError> {
    let mut measured = vec![tidegate_over_http(options)?];
    let mut absent = vec!["Jasmin is not measured: it needs RabbitMQ and Redis beside it".to_owned()];
    match Programs::find() {
        Some(programs) => measured.push(kannel_over_http(options, &programs)?),
        None => absent.push(format!("Kannel is not installed; have it with: {INSTALL}")),
    }
    measured.push(tidegate_over_smpp(options)?);
    Ok(Comparison { measured, absent })
}

fn provider() -> Result<Provider, StageError> {
    let profile = Profile { record_max: 0, ..Profile::default() };
    Provider::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), profile)
}

fn gateway(options: &Options, provider: &Provider) -> Result<Gateway, StageError> {
    let ports = Settings::on_free_ports(provider.handle.address());
    let ports = ports.map_err(|source| StageError::Io { what: "no free ports".into(), source })?;
    let settings = Settings { binds: options.binds, window: options.window, ..ports };
    Gateway::start(&options.gateway, &options.directory.join("tidegate"), settings)
}

fn tidegate_over_http(options: &Options) -> Result<Measured, CompareError> {
    let provider = provider()?;
    let gateway = gateway(options, &provider)?;
    let work =
        http::Options { count: options.count, connections: options.connections, ..gateway.over_http() };
    if calls_back(&gateway)? {
        let way = "HTTP in, receipts to a callback";
        let (summary, watched) = watched(&[gateway.pid()], || http::run(work))?;
        return Ok(Measured::new("Tidegate", way, &summary, &watched));
    }
    // Without callbacks, a receipt is seen when the gateway has answered the provider, which is when it is on its disk.
    let way = "HTTP in; this build calls nobody back: receipts as acknowledged to the provider";
    let before = provider.handle.counts().receipts_acknowledged;
    let acknowledged = || provider.handle.counts().receipts_acknowledged - before;
    let began = Instant::now();
    let ((finished, seconds), watched) = watched_all(&[gateway.pid()], || {
        let finished = http::run(work)?;
        let accepted = finished.summary.accepted;
        until(RECEIPTS_WITHIN, || (acknowledged() >= accepted).then_some(()));
        Ok::<_, http::RunError>((finished, began.elapsed().as_secs_f64()))
    })?;
    let mut summary = finished.summary;
    summary.lost = summary.accepted.saturating_sub(acknowledged());
    summary.messages_per_second = summary.accepted as f64 / seconds.max(0.001);
    Ok(Measured::new("Tidegate", way, &summary, &watched.end(summary.accepted)))
}

/// Whether the gateway takes a callback_url and calls it.
fn calls_back(gateway: &Gateway) -> Result<bool, http::RunError> {
    let probe =
        http::Options { count: 1, connections: 1, callback: true, first: SERIALS - 1, ..gateway.over_http() };
    Ok(http::run(http::Options { timeout: 5.0, ..probe })?.summary.receipts.values().sum::<u64>() == 1)
}

fn tidegate_over_smpp(options: &Options) -> Result<Measured, CompareError> {
    let provider = provider()?;
    let gateway = gateway(options, &provider)?;
    let work =
        smpp::Options { count: options.count, binds: 4, window: options.window, ..gateway.over_smpp() };
    let (finished, watch) = watched_all(&[gateway.pid()], || smpp::run(work))?;
    let watched = watch.end(finished.summary.accepted);
    Ok(Measured::new("Tidegate", "SMPP in, receipts over SMPP", &finished.summary, &watched))
}

fn kannel_over_http(options: &Options, programs: &Programs) -> Result<Measured, CompareError> {
    let provider = provider()?;
    let settings = KannelSettings {
        smsc: provider.handle.address(),
        binds: options.binds,
        window: options.window,
        stores: options.kannel_store,
    };
    let kannel = Kannel::start(programs, &options.directory.join("kannel"), settings)?;
    let work = http::Options { count: options.count, connections: options.connections, ..kannel.over_http() };
    let (summary, watched) = watched(&kannel.pids(), || http::run(http::Options { callback: true, ..work }))?;
    let way = match options.kannel_store {
        true => "HTTP in, receipts to a callback; messages in files, not synced",
        false => "HTTP in, receipts to a callback; messages in memory only",
    };
    Ok(Measured::new("Kannel", way, &summary, &watched))
}

fn watched(
    pids: &[u32],
    work: impl FnOnce() -> Result<http::Finished, http::RunError>,
) -> Result<(Summary, Watched), http::RunError> {
    let (finished, watch) = watched_all(pids, work)?;
    let watched = watch.end(finished.summary.accepted);
    Ok((finished.summary, watched))
}

fn watched_all<T, E>(pids: &[u32], work: impl FnOnce() -> Result<T, E>) -> Result<(T, Watch), E> {
    let watch = Watch::begin(&watch::Options { pids: pids.to_vec(), ..watch::Options::default() });
    Ok((work()?, watch))
}

impl Measured {
    fn new(gateway: &'static str, way: &'static str, summary: &Summary, watched: &Watched) -> Self {
        Self {
            gateway,
            way,
            accepted: summary.accepted,
            lost: summary.lost,
            duplicates: summary.duplicates,
            accepted_per_second: summary.accepted_per_second,
            messages_per_second: summary.messages_per_second,
            accept_milliseconds: summary.accept_milliseconds.clone(),
            cpu_microseconds_per_message: watched.cpu_microseconds_per_message,
            resident_bytes_most: watched.resident_bytes_most,
        }
    }

    /// The figures that ratios are made of: name, value, whether more is better.
    fn figures(&self) -> [(&'static str, f64, bool); 6] {
        [
            ("end to end, messages/s", self.messages_per_second, true),
            ("intake, messages/s", self.accepted_per_second, true),
            ("accept p50, ms", self.accept_milliseconds.p50, false),
            ("accept p99, ms", self.accept_milliseconds.p99, false),
            ("CPU a message, µs", self.cpu_microseconds_per_message, false),
            ("resident, MB", self.resident_bytes_most as f64 / 1e6, false),
        ]
    }
}

impl Comparison {
    /// Neither gateway has lost or doubled anything.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.measured.iter().all(|one| one.lost == 0 && one.duplicates == 0)
    }

    /// Kannel's figures, and Tidegate's over the same door.
    #[must_use]
    pub fn pair(&self) -> Option<(&Measured, &Measured)> {
        let of = |gateway| self.measured.iter().find(|measured| measured.gateway == gateway);
        Some((of("Tidegate")?, of("Kannel")?))
    }

    /// Name, Tidegate's figure, Kannel's, and how many times better Tidegate's is.
    #[must_use]
    pub fn ratios(&self) -> Vec<(&'static str, f64, f64, f64)> {
        let Some((tidegate, kannel)) = self.pair() else {
            return Vec::new();
        };
        let ratio = |((name, ours, more), (_, theirs, _)): ((_, f64, bool), (_, f64, bool))| {
            (name, ours, theirs, if more { ours / theirs } else { theirs / ours })
        };
        tidegate.figures().into_iter().zip(kannel.figures()).map(ratio).collect()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.measured {
            writeln!(f, "{}: {}", one.gateway, one.way)?;
            writeln!(f, "  accepted {}, lost {}, duplicates {}", one.accepted, one.lost, one.duplicates)?;
            for (name, value, _) in one.figures() {
                writeln!(f, "  {name:<24} {value:>12.2}")?;
            }
        }
        for (name, ours, theirs, ratio) in self.ratios() {
            writeln!(
                f,
                "{name:<26} Tidegate {ours:>10.2}   Kannel {theirs:>10.2}   {ratio:.1} times better"
            )?;
        }
        self.absent.iter().try_for_each(|reason| writeln!(f, "{reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(gateway: &'static str, rate: f64, cpu: f64) -> Measured {
        let summary = Summary { messages_per_second: rate, accepted_per_second: rate, ..Summary::default() };
        let watched = Watched { cpu_microseconds_per_message: cpu, ..Watched::default() };
        Measured::new(gateway, "", &summary, &watched)
    }

    #[test]
    fn ratios_say_how_many_times_better_in_either_direction() {
        let comparison = Comparison {
            measured: vec![measured("Tidegate", 30_000.0, 5.0), measured("Kannel", 3_000.0, 100.0)],
            absent: Vec::new(),
        };
        let ratio = |wanted| comparison.ratios().into_iter().find(|(name, ..)| *name == wanted).unwrap().3;
        assert_eq!((ratio("end to end, messages/s"), ratio("CPU a message, µs")), (10.0, 20.0));
    }

    #[test]
    fn a_comparison_in_which_something_was_lost_or_doubled_is_not_clean() {
        let of = |lost, duplicates| {
            let one = Measured { lost, duplicates, ..measured("Kannel", 1.0, 1.0) };
            Comparison { measured: vec![measured("Tidegate", 1.0, 1.0), one], absent: Vec::new() }.is_clean()
        };
        assert_eq!((of(0, 0), of(1, 0), of(0, 1)), (true, false, false));
    }

    #[test]
    fn without_kannel_there_are_no_ratios_and_the_reason_is_said() {
        let absent = vec![format!("Kannel is not installed; have it with: {INSTALL}")];
        let comparison = Comparison { measured: vec![measured("Tidegate", 1.0, 1.0)], absent };
        assert!(comparison.ratios().is_empty());
        assert!(comparison.to_string().contains("apt-get install kannel"));
    }
}
