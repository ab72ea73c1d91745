//! The command line of the load tests: reads arguments, runs one of the library's tools, writes what it found.

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    process::{ExitCode, exit},
};

use clap::{Args, Parser, Subcommand};
use loadtest::{
    compare, disk, empty, http,
    measure::processor_seconds,
    output::{self, OutputError, say, whole_text, write_json},
    report, signals, smpp,
    smsc::{Counts, Handle, Pacing, Profile, Simulator},
    stage::{program, settings::Settings},
    suite::{self, Figure, Measured, table},
    summary::Summary,
    watch::{self, Watch},
};
use serde::Serialize;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// Load generators for Tidegate, and a simulated provider for it to send to.
///
/// Exit codes: 0 fine; 1 something was lost, came twice or stayed without an answer, nothing was accepted, or the run could not be
/// made; 2 wrong usage.
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
    /// Be an HTTP door behind which nothing is: accept each message of `loadtest http`, and do nothing with it.
    Empty {
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: String,
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

/// What was asked for cannot be done, and nothing was tried.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongUsage(String);

impl WrongUsage {
    fn of(error: impl std::error::Error) -> Failure {
        Self(whole_text(&error)).into()
    }
}

fn main() -> ExitCode {
    // A thread that is missing would be measured as silence.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |broken| {
        print(broken);
        std::process::abort();
    }));
    let result = match CommandLine::parse().tool {
        Tool::Smsc(smsc) => simulate(&smsc),
        Tool::Smpp { options, output } => output.measure(|asked| match smpp::run_until(options, asked) {
            Err(error) if error.is_wrong_usage() => Err(WrongUsage::of(error)),
            run => Ok(run?.summary),
        }),
        Tool::Http { options, output } => output.measure(|asked| match http::run_until(options, asked) {
            Err(error) if error.is_wrong_usage() => Err(WrongUsage::of(error)),
            run => Ok(run?.summary),
        }),
        Tool::Compare { options, json } => compare(&options, json.as_deref()),
        Tool::Suite(options) => run_suite(&options),
        Tool::Settings { settings, directory } => {
            settings.write(&directory).map(|()| ExitCode::SUCCESS).map_err(Failure::from)
        }
        Tool::Empty { listen } => be_empty(&listen),
        Tool::Disk { directory, count } => measure_disk(&directory, count),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            complain(whole_text(failure.as_ref()));
            if failure.is::<WrongUsage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn complain(text: impl Display) {
    // Where nobody can be told, the exit code still says it.
    let _nobody_hears = writeln!(std::io::stderr(), "loadtest: {text}");
}

/// What is to be written after a run is tried before it.
fn check_targets<'a>(paths: impl IntoIterator<Item = Option<&'a Path>>) -> Result<(), Failure> {
    paths.into_iter().flatten().try_for_each(output::check).map_err(WrongUsage::of)
}

/// Stages do not outlive a measurement that is told to end.
fn end_stages_at_a_signal() -> Result<(), Failure> {
    signals::at_first(|| {
        program::end_all();
        complain("ended by a signal; what was started has been ended as well");
        exit(1);
    })?;
    Ok(())
}

impl Output {
    fn measure(
        &self,
        run: impl FnOnce(CancellationToken) -> Result<Summary, Failure>,
    ) -> Result<ExitCode, Failure> {
        check_targets([self.json.as_deref(), self.report.as_deref()])?;
        self.watch.check().map_err(WrongUsage::of)?;
        let asked = CancellationToken::new();
        let asking = asked.clone();
        signals::at_first(move || asking.cancel())?;
        let watch = (!self.watch.is_empty()).then(|| Watch::begin(&self.watch));
        let mut summary = run(asked)?;
        summary.watched = watch.map(|watch| match summary.interrupted {
            true => watch.end(summary.accepted),
            false => watch.end_when_published(summary.accepted, summary.told()),
        });
        // Files first, as whoever reads the text may have gone; and the text whatever becomes of the files.
        let written = self.write(&summary);
        say(&summary)?;
        written?;
        Ok(code(summary.is_clean()))
    }

    fn write(&self, summary: &Summary) -> Result<(), OutputError> {
        if let Some(path) = &self.json {
            write_json(path, summary)?;
        }
        if let Some(path) = &self.report {
            output::write(path, report::page(summary) + "\n")?;
        }
        Ok(())
    }
}

fn code(is_clean: bool) -> ExitCode {
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn compare(options: &compare::Options, json: Option<&Path>) -> Result<ExitCode, Failure> {
    check_targets([json])?;
    end_stages_at_a_signal()?;
    let comparison = compare::run(options)?;
    if let Some(path) = json {
        write_json(path, &comparison)?;
    }
    say(comparison.to_string().trim_end())?;
    Ok(code(comparison.is_clean()))
}

fn run_suite(options: &suite::Options) -> Result<ExitCode, Failure> {
    if options.list {
        let line = |row: &&suite::Row| format!("{:<12} {}: {}", row.name, row.work, row.reach);
        say(suite::rows().iter().map(line).collect::<Vec<_>>().join("\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    check_targets([options.json.as_deref(), options.write.as_deref()])?;
    if let Some(path) = &options.write {
        with_table(path, &[]).map_err(|error| WrongUsage(error.to_string()))?;
    }
    end_stages_at_a_signal()?;
    // What cannot be said is no reason to lose what was measured.
    let mut said = Ok(());
    let measured = suite::run(options, |row| said = std::mem::replace(&mut said, Ok(())).and(say(told(row))));
    let measured = match measured {
        Err(error) if error.is_wrong_usage() => return Err(WrongUsage::of(error)),
        measured => measured?,
    };
    if let Some(path) = &options.json {
        write_json(path, &measured)?;
    }
    if let Some(path) = &options.write {
        output::write(path, with_table(path, &measured)?)?;
    }
    said?;
    Ok(code(measured.iter().all(Measured::is_clean)))
}

/// A row as it is told when it has been measured.
fn told(row: &Measured) -> String {
    let head = format!("{}: {} ({})", row.name, row.work, row.reach);
    let lines = row.figures.iter().map(Figure::text).chain(row.failed.clone());
    std::iter::once(head).chain(lines.map(|line| format!("  {line}"))).collect::<Vec<_>>().join("\n")
}

/// A document with the table of these rows in its place.
fn with_table(path: &Path, measured: &[Measured]) -> Result<String, Failure> {
    let document = output::read(path).map_err(|error| whole_text(&error))?;
    let no_markers = || format!("{}: no markers {} and {}", path.display(), table::BEGIN, table::END);
    Ok(table::placed(&document, measured).ok_or_else(no_markers)?)
}

fn measure_disk(directory: &Path, count: u32) -> Result<ExitCode, Failure> {
    let found = disk::fdatasync(directory, count)?;
    say(format_args!(
        "4 KiB appended and fdatasynced {count} times: p50 {:.2} ms, p99 {:.2} ms",
        found.p50, found.p99
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn be_empty(listen: &str) -> Result<ExitCode, Failure> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind(listen).await.map_err(|error| format!("{listen}: {error}"))?;
        say(format_args!("an empty handler on {}", listener.local_addr()?))?;
        Ok(empty::serve(listener).await.map(|()| ExitCode::SUCCESS)?)
    })
}

fn simulate(options: &Smsc) -> Result<ExitCode, Failure> {
    let profile = match &options.profile {
        Some(path) => Profile::from_toml(&output::read(path).map_err(WrongUsage::of)?)
            .map_err(|error| WrongUsage(format!("{}: {error}", path.display())))?,
        None => Profile::default(),
    };
    if options.print_profile {
        say(toml::to_string(&profile)?.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    check_targets([options.json.as_deref()])?;
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
        say(format_args!("simulated provider on {}", simulator.address()))?;
        let handle = simulator.spawn();
        until_stopped(&handle).await?;
        Ok::<Found, Failure>(Found { counts: handle.counts(), pacing: handle.pacing() })
    })?;
    if let Some(path) = &options.json {
        write_json(path, &found)?;
    }
    say(&found)?;
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

impl Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = &self.counts;
        for (name, count) in counts.rows().into_iter().filter(|(_, count)| *count > 0) {
            writeln!(f, "  {name:<26} {count:>12}")?;
        }
        writeln!(f, "  {:<26} {:>12}", "receipts unacknowledged", counts.unacknowledged())?;
        for (system_id, pacing) in &self.pacing {
            let Pacing { throughput, windows, most, windows_above_10_percent: above, .. } = pacing;
            let within = pacing.share_within() * 100.0;
            writeln!(
                f,
                "  pacing of {system_id}: {within:.3} % of {windows} windows of a second within {throughput} + 2 %, \
                 {above} above 10 %, most {most}"
            )?;
        }
        let seconds = processor_seconds();
        let each = seconds * 1_000_000.0 / counts.submits.max(1) as f64;
        write!(f, "  {:<26} {each:>12.2} µs a submit ({seconds:.2} s)", "CPU")
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }
}
