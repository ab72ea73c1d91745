//! All measurements with one command: each row of the table starts what it needs, is run several times, and gives the median
//! of each of its figures. What the rows are is in the modules below; how they are written down is `table`.

mod down;
mod fairness;
mod figures;
mod limits;
mod scale;
mod size;
mod speed;
pub mod table;

use std::{
    cell::Cell,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;

use crate::{
    compare::{self, CompareError},
    http,
    measure::Percentiles,
    output::whole_text,
    smpp,
    smsc::Profile,
    stage::{Gateway, Provider, StageError, program::until, settings::Settings},
    summary::Summary,
    watch::{Watch, Watched, usage},
};
pub use figures::{Figure, Figures, median};

/// How long a gateway may take to hand over what is left after a run.
const QUIET_WITHIN: Duration = Duration::from_secs(120);
/// A gateway is idle when it takes less than this part of one core for so long.
const IDLE: f64 = 0.03;
const LOOK: Duration = Duration::from_millis(1_200);

/// What is measured, and for how long.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The gateway's program.
    #[arg(long, default_value = "target/release/tidegate")]
    pub gateway: PathBuf,
    /// Where stores and logs are kept meanwhile: on the disk that is to be measured.
    #[arg(long, default_value = "target/loadtest")]
    pub directory: PathBuf,
    /// Only these rows, by their names; `--list` shows them.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// All but these rows.
    #[arg(long, value_delimiter = ',')]
    pub except: Vec<String>,
    /// Runs of each row; the median of each figure counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Seconds of load in a run.
    #[arg(long, default_value_t = 60.0, value_parser = smpp::positive)]
    pub seconds: f64,
    /// Messages a second that the gateway reaches; measured first when not given and a row needs it.
    #[arg(long, value_parser = smpp::positive)]
    pub reached: Option<f64>,
    /// Messages of the rows that queue, of the row that fills the archive, and of the one that compares.
    #[arg(long, default_value_t = 1_000_000)]
    pub queued: u32,
    #[arg(long, default_value_t = 1_000_000)]
    pub history: u32,
    #[arg(long, default_value_t = 100_000)]
    pub compared: u32,
    /// Seconds by which late receipts are late.
    #[arg(long, default_value_t = 240.0, value_parser = smpp::positive)]
    pub late: f64,
    /// Show the rows and do nothing.
    #[arg(long)]
    pub list: bool,
    /// Write the figures here as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Write the table between the markers of this document.
    #[arg(long)]
    pub write: Option<PathBuf>,
}

/// Why a row could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error("the SMPP generator did not run")]
    Smpp(#[from] smpp::RunError),
    #[error("the HTTP generator did not run")]
    Http(#[from] http::RunError),
    #[error(transparent)]
    Compare(#[from] CompareError),
    #[error("there is no row {0}; --list shows them")]
    Unknown(String),
    #[error("{what}")]
    Io { what: String, source: io::Error },
    #[error("{0}")]
    Broken(String),
}

impl SuiteError {
    /// What was asked for makes no sense, whatever the gateway.
    #[must_use]
    pub fn is_wrong_usage(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}

/// A row of the table.
pub struct Row {
    pub name: &'static str,
    pub work: &'static str,
    /// What is to be reached.
    pub reach: &'static str,
    measure: fn(&Bench) -> Result<Figures, SuiteError>,
}

/// A row as it was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    pub name: &'static str,
    pub work: &'static str,
    pub reach: &'static str,
    pub figures: Figures,
    /// Why there are no figures.
    pub failed: Option<String>,
}

impl Measured {
    /// It was measured, and nothing was lost or doubled.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failed.is_none() && self.figures.iter().all(|figure| !figure.is_fault || figure.value == 0.0)
    }
}

/// All rows, in the order of the table.
#[must_use]
pub fn rows() -> Vec<&'static Row> {
    [speed::ROWS, scale::ROWS, size::ROWS, down::ROWS, fairness::ROWS, limits::ROWS]
        .into_iter()
        .flatten()
        .collect()
}

/// Measures the rows asked for, and tells each as it is done.
///
/// # Errors
/// A row that is asked for does not exist. A row that cannot be measured says so in its place.
pub fn run(options: &Options, mut tell: impl FnMut(&Measured)) -> Result<Vec<Measured>, SuiteError> {
    let rows = rows();
    for name in options.only.iter().chain(&options.except) {
        if !rows.iter().any(|row| row.name == name) {
            return Err(SuiteError::Unknown(name.clone()));
        }
    }
    let is_asked_for = |row: &&&Row| {
        let named = |names: &[String]| names.iter().any(|name| name == row.name);
        (options.only.is_empty() || named(&options.only)) && !named(&options.except)
    };
    let bench = Bench { options: options.clone(), reached: Cell::new(options.reached), runs: Cell::new(0) };
    let mut measured = Vec::new();
    for row in rows.iter().filter(is_asked_for) {
        let all: Result<Vec<Figures>, SuiteError> =
            (0..options.runs).map(|_| (row.measure)(&bench)).collect();
        let (figures, failed) = match all {
            Ok(all) => (median(&all), None),
            Err(error) => (Figures::default(), Some(whole_text(&error))),
        };
        measured.push(Measured { name: row.name, work: row.work, reach: row.reach, figures, failed });
        measured.last().into_iter().for_each(&mut tell);
    }
    Ok(measured)
}

/// What the rows share: the options, and the rate that was reached.
struct Bench {
    options: Options,
    reached: Cell<Option<f64>>,
    runs: Cell<u32>,
}

/// A gateway and its provider.
struct House {
    provider: Provider,
    gateway: Gateway,
}

impl Bench {
    /// A fresh gateway and a provider with these manners; `shape` has the last word on the settings.
    fn house(&self, profile: Profile, shape: impl FnOnce(&mut Settings)) -> Result<House, SuiteError> {
        let provider = self.provider(profile)?;
        let gateway = self.gateway(provider.handle.address(), shape)?;
        Ok(House { provider, gateway })
    }

    fn provider(&self, profile: Profile) -> Result<Provider, SuiteError> {
        Ok(Provider::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), profile)?)
    }

    fn gateway(&self, smsc: SocketAddr, shape: impl FnOnce(&mut Settings)) -> Result<Gateway, SuiteError> {
        let ports = Settings::on_free_ports(smsc);
        let mut settings = ports.map_err(|source| SuiteError::Io { what: "no free ports".into(), source })?;
        shape(&mut settings);
        self.runs.set(self.runs.get() + 1);
        let directory = self.options.directory.join(format!("run-{}", self.runs.get()));
        Ok(Gateway::start(&self.options.gateway, &directory, settings)?)
    }

    /// Messages a second over four binds, end to end; measured once and shortly when nobody said it.
    fn reached(&self) -> Result<f64, SuiteError> {
        if let Some(rate) = self.reached.get() {
            return Ok(rate);
        }
        let house = self.house(fast(), |_| {})?;
        let seconds = Some(self.options.seconds.min(10.0));
        let rate =
            smpp::run(smpp::Options { seconds, ..house.gateway.over_smpp() })?.summary.messages_per_second;
        self.reached.set(Some(rate));
        Ok(rate)
    }

    /// A load over four binds for the time of a run.
    fn load(&self, house: &House) -> smpp::Options {
        smpp::Options { seconds: Some(self.options.seconds), ..house.gateway.over_smpp() }
    }
}

impl House {
    /// Runs the SMPP generator and watches the gateway meanwhile, until it has nothing left to do.
    fn submit(&self, options: smpp::Options) -> Result<Load, SuiteError> {
        let watch = Watch::begin(&self.gateway.watched());
        let before = self.provider.handle.counts();
        let finished = smpp::run(options)?;
        let accepted = finished.summary.accepted;
        let _all_told = self.is_quiet(before.receipts_acknowledged + accepted);
        let settling = Instant::now();
        let _settled = until(QUIET_WITHIN, || self.is_idle().then_some(()));
        let settled_seconds = settling.elapsed().as_secs_f64();
        let given = self.provider.handle.counts().accepted - before.accepted;
        let doubled = finished.summary.duplicates + given.saturating_sub(accepted);
        Ok(Load { finished, watched: watch.end(accepted), settled_seconds, doubled })
    }

    /// Whether the gateway computes nothing worth speaking of: archive and journal have caught up, and `/metrics`, which are made
    /// once a second, are true.
    fn is_idle(&self) -> bool {
        let used = || usage(&[self.gateway.pid()]).cpu_seconds;
        let before = used();
        until(LOOK, || None::<()>);
        used() - before <= IDLE * LOOK.as_secs_f64()
    }

    /// Waits until the provider has so many receipts acknowledged; answers whether it has.
    fn is_quiet(&self, messages: u64) -> bool {
        let acknowledged = || self.provider.handle.counts().receipts_acknowledged;
        until(QUIET_WITHIN, || (acknowledged() >= messages).then_some(())).is_some()
    }
}

/// A load over SMPP that has ended.
struct Load {
    finished: smpp::Finished,
    watched: Watched,
    /// From the last receipt until the gateway was idle.
    settled_seconds: f64,
    /// What the generator was told twice, and what the provider was given beyond what was accepted.
    doubled: u64,
}

impl Load {
    fn summary(&self) -> &Summary {
        &self.finished.summary
    }

    /// What went wrong, which should be nothing.
    fn faults(&self) -> [Figure; 2] {
        [Figure::fault("lost", self.summary().lost), Figure::fault("doubled", self.doubled)]
    }
}

/// A provider that answers at once and keeps no record in memory.
fn fast() -> Profile {
    Profile { record_max: 0, ..Profile::default() }
}

/// p50 and p99 of a latency.
fn latency(name: &'static str, latency: &Percentiles) -> [Figure; 2] {
    [
        Figure::new(format!("{name} p50"), latency.p50, "ms"),
        Figure::new(format!("{name} p99"), latency.p99, "ms"),
    ]
}

/// Compares with Kannel, where it is installed.
fn against_kannel(bench: &Bench) -> Result<Figures, SuiteError> {
    let options = compare::Options {
        gateway: bench.options.gateway.clone(),
        directory: bench.options.directory.clone(),
        count: bench.options.compared,
        connections: 64,
        binds: 4,
        window: 100,
        kannel_store: false,
    };
    let comparison = compare::run(&options)?;
    if comparison.pair().is_none() {
        return Err(SuiteError::Broken(comparison.absent.join("; ")));
    }
    let figures = comparison.ratios().into_iter().flat_map(|(name, ours, theirs, ratio)| {
        [
            Figure::new(format!("{name}: Tidegate"), ours, ""),
            Figure::new("Kannel", theirs, ""),
            Figure::new("times better", ratio, ""),
        ]
    });
    Ok(figures.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_lost_or_doubled_something_or_was_not_measured_is_not_clean() {
        let of = |figure: Figure, failed: Option<&str>| {
            let figures = vec![Figure::new("rate", 5.0, "/s"), figure];
            let failed = failed.map(str::to_owned);
            Measured { name: "smpp", work: "", reach: "", figures, failed }.is_clean()
        };
        assert!(of(Figure::fault("lost", 0), None));
        assert!(!of(Figure::fault("lost", 2), None) && !of(Figure::fault("doubled", 0), Some("no gateway")));
    }

    #[test]
    fn every_row_has_a_name_of_its_own_and_says_what_it_does() {
        let rows = rows();
        let names: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), rows.len());
        assert!(rows.iter().all(|row| !row.work.is_empty() && !row.reach.is_empty()));
    }
}
