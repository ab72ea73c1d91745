//! The command line of the load tests: reads arguments, runs one of the library's tools, writes what it found.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use loadtest::{
    compare, disk, http,
    measure::processor_seconds,
    report, smpp,
    smsc::{Counts, Handle, Pacing, Profile, Simulator},
    stage::settings::Settings,
    suite::{self, Figure, table},
    summary::Summary,
    watch::{self, Watch},
};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

/// Load generators for Tidegate, and a simulated provider for it to send to.
///
/// Exit codes: 0 fine; 1 something was lost or came twice, or the run could not be made; 2 wrong usage.
#[derive(Debug, Parser)]
#[command(version)]
struct CommandLine {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Be a provider: an SMSC with latency, faults and receipts, all seeded.
    Smsc(Smsc),
    /// Submit over SMPP, take the receipts, count what is lost and what comes twice.
    Smpp {
        #[command(flatten)]
        options: smpp::Options,
        #[command(flatten)]
        output: Output,
    },
    /// Submit over HTTP, to Tidegate or to Kannel; have the receipts called back, or ask for a sample of the messages until they are delivered.
    Http {
        #[command(flatten)]
        options: http::Options,
        #[command(flatten)]
        output: Output,
    },
    /// Measure the same work through Tidegate and, where it is installed, Kannel.
    Compare {
        #[command(flatten)]
        options: compare::Options,
        /// Write the figures here as JSON.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Measure every row of the table in docs/benchmarks.md, and write it.
    Suite(suite::Options),
    /// Write settings of a gateway with any number of tenants, providers, routes and prices, and the list of its tenants.
    Settings {
        #[command(flatten)]
        settings: Settings,
        #[arg(long, default_value = ".")]
        directory: PathBuf,
    },
    /// Measure what a durable write of 4 KiB takes.
    Disk {
        #[arg(long, default_value = ".")]
        directory: PathBuf,
        #[arg(long, default_value_t = 2_000)]
        count: u32,
    },
}

#[derive(Debug, Args)]
struct Smsc {
    #[arg(long, default_value = "127.0.0.1:2776")]
    listen: String,
    /// TOML with what differs from a fast provider without faults; `--print-profile` shows its keys.
    #[arg(long)]
    profile: Option<PathBuf>,
    /// Append a line for each accepted submit: milliseconds, destination, id, reference, part/parts.
    #[arg(long)]
    record: Option<PathBuf>,
    /// Write the counts here as JSON at the end.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Print the profile with the values of its keys, and do nothing else.
    #[arg(long)]
    print_profile: bool,
}

#[derive(Debug, Args)]
struct Output {
    /// Write the figures here as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write a page with plots here.
    #[arg(long)]
    report: Option<PathBuf>,
    #[command(flatten)]
    watch: watch::Options,
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    // A thread that is missing would be measured as silence.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |broken| {
        print(broken);
        std::process::abort();
    }));
    let result = match CommandLine::parse().tool {
        Tool::Smsc(smsc) => simulate(&smsc),
        Tool::Smpp { options, output } => output.write(|| Ok(smpp::run(options).map(|run| run.summary)?)),
        Tool::Http { options, output } => output.write(|| Ok(http::run(options).map(|run| run.summary)?)),
        Tool::Compare { options, json } => compare(&options, json.as_deref()),
        Tool::Suite(options) => run_suite(&options),
        Tool::Settings { settings, directory } => {
            settings.write(&directory).map(|()| ExitCode::SUCCESS).map_err(Failure::from)
        }
        Tool::Disk { directory, count } => measure_disk(&directory, count),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            complain(failure.as_ref());
            ExitCode::FAILURE
        }
    }
}

fn complain(failure: &dyn std::error::Error) {
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    eprintln!("loadtest: {text}");
}

impl Output {
    fn write(&self, run: impl FnOnce() -> Result<Summary, Failure>) -> Result<ExitCode, Failure> {
        let watch = (!self.watch.is_empty()).then(|| Watch::begin(&self.watch));
        let mut summary = run()?;
        summary.watched = watch.map(|watch| watch.end(summary.accepted));
        let summary = &summary;
        println!("{summary}");
        if let Some(path) = &self.json {
            write_json(path, summary)?;
        }
        if let Some(path) = &self.report {
            write_file(path, report::page(summary))?;
        }
        Ok(if summary.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn compare(options: &compare::Options, json: Option<&Path>) -> Result<ExitCode, Failure> {
    let comparison = compare::run(options)?;
    print!("{comparison}");
    if let Some(path) = json {
        write_json(path, &comparison)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run_suite(options: &suite::Options) -> Result<ExitCode, Failure> {
    if options.list {
        suite::rows().iter().for_each(|row| println!("{:<12} {}: {}", row.name, row.work, row.reach));
        return Ok(ExitCode::SUCCESS);
    }
    let measured = suite::run(options, |row| {
        println!("{}: {} ({})", row.name, row.work, row.reach);
        row.figures.iter().map(Figure::text).chain(row.failed.clone()).for_each(|line| println!("  {line}"));
    })?;
    if let Some(path) = &options.json {
        write_json(path, &measured)?;
    }
    if let Some(path) = &options.write {
        let document = fs::read_to_string(path)?;
        let document = table::placed(&document, &measured)
            .ok_or_else(|| format!("{}: no markers {} and {}", path.display(), table::BEGIN, table::END))?;
        fs::write(path, document)?;
    }
    let failed = measured.iter().any(|row| row.failed.is_some());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn measure_disk(directory: &Path, count: u32) -> Result<ExitCode, Failure> {
    let found = disk::fdatasync(directory, count)?;
    println!(
        "4 KiB appended and fdatasynced {count} times: p50 {:.2} ms, p99 {:.2} ms",
        found.p50, found.p99
    );
    Ok(ExitCode::SUCCESS)
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), Failure> {
    write_file(path, serde_json::to_string_pretty(value)?)
}

fn write_file(path: &Path, text: String) -> Result<(), Failure> {
    fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()).into())
}

fn simulate(options: &Smsc) -> Result<ExitCode, Failure> {
    let profile = match &options.profile {
        Some(path) => fs::read_to_string(path)
            .map_err(Failure::from)
            .and_then(|text| Ok(Profile::from_toml(&text)?))
            .map_err(|error| format!("{}: {error}", path.display()))?,
        None => Profile::default(),
    };
    if options.print_profile {
        print!("{}", toml::to_string(&profile)?);
        return Ok(ExitCode::SUCCESS);
    }
    // The file is the record; memory would only grow.
    let profile = Profile { record_max: 0, ..profile };
    let file = match &options.record {
        Some(path) => Some(OpenOptions::new().create(true).append(true).open(path)?),
        None => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(async {
        let simulator = Simulator::bind_recording(&options.listen, profile, file)
            .await
            .map_err(|error| format!("{}: {error}", options.listen))?;
        println!("simulated provider on {}", simulator.address());
        let handle = simulator.spawn();
        until_stopped(&handle).await?;
        Ok::<Found, Failure>(Found { counts: handle.counts(), pacing: handle.pacing() })
    })?;
    found.print();
    if let Some(path) = &options.json {
        write_json(path, &found)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn until_stopped(handle: &Handle) -> Result<(), Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    handle.shutdown().await;
    Ok(())
}

/// What a simulated provider has done and met.
#[derive(Debug, Serialize)]
struct Found {
    #[serde(flatten)]
    counts: Counts,
    pacing: BTreeMap<String, Pacing>,
}

impl Found {
    fn print(&self) {
        let counts = &self.counts;
        for (name, count) in counts.rows().into_iter().filter(|(_, count)| *count > 0) {
            println!("  {name:<26} {count:>12}");
        }
        println!("  {:<26} {:>12}", "receipts unacknowledged", counts.unacknowledged());
        for (system_id, pacing) in &self.pacing {
            let Pacing { throughput, windows, most, windows_above_10_percent: above, .. } = pacing;
            let within = pacing.share_within() * 100.0;
            println!(
                "  pacing of {system_id}: {within:.3} % of {windows} windows of a second within {throughput} + 2 %, \
                 {above} above 10 %, most {most}"
            );
        }
        let seconds = processor_seconds();
        let each = seconds * 1_000_000.0 / counts.submits.max(1) as f64;
        println!("  {:<26} {each:>12.2} µs a submit ({seconds:.2} s)", "CPU");
    }
}
