//! Watching processes from outside while a run goes on: processor time, memory, octets written, size on disk, and what
//! `/metrics` shows before and after. It asks the kernel and the operations listener, and trusts no figure of the generator.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;

use crate::stage::program::until;

/// Between two looks at the memory.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The size of a block of `st_blocks`, stat(2).
const BLOCK: u64 = 512;
/// What the gateway has journaled, where it says so.
const JOURNALED: &str = "tidegate_journal_appended_bytes_total";
/// What the gateway has accepted, and told over SMPP. It publishes its figures once a second.
const ACCEPTED: &str = "tidegate_messages_accepted_total";
const TOLD: &str = "tidegate_messages_told_total";
const PUBLISHED_WITHIN: Duration = Duration::from_secs(5);

/// What is watched beside a run.
#[derive(Debug, Clone, Default, Args)]
// The generators' options are a group of this name as well, and beside these.
#[group(id = "watch")]
pub struct Options {
    /// A process to watch: its CPU, memory and octets written. May be given several times; the figures are sums.
    #[arg(long = "watch-pid", value_name = "PID")]
    pub pids: Vec<u32>,
    /// A directory whose size on disk is watched.
    #[arg(long = "watch-dir", value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// HOST:PORT of an operations listener whose `/metrics` are read before and after the run, and not in between.
    #[arg(long = "watch-metrics", value_name = "ADDRESS")]
    pub metrics: Option<String>,
}

impl Options {
    /// Looks whether all that is to be watched is there.
    ///
    /// # Errors
    /// Something is missing.
    pub fn check(&self) -> Result<(), WatchError> {
        if let Some(pid) = self.pids.iter().find(|pid| started(**pid).is_none()) {
            return Err(WatchError::NoProcess(*pid));
        }
        if let Some(directory) = self.directory.iter().find(|directory| !directory.is_dir()) {
            return Err(WatchError::NoDirectory(directory.clone()));
        }
        let Some(address) = &self.metrics else {
            return Ok(());
        };
        let answer = get(address, "/metrics").and_then(|(status, _)| match status {
            200 => Ok(()),
            status => Err(io::Error::other(format!("HTTP {status}"))),
        });
        answer.map_err(|source| WatchError::NoMetrics { address: address.clone(), source })
    }

    /// Nothing is to be watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pids.is_empty() && self.directory.is_none() && self.metrics.is_none()
    }
}

/// Why something cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("--watch-pid {0}: there is no such process")]
    NoProcess(u32),
    #[error("--watch-dir {0}: there is no such directory")]
    NoDirectory(PathBuf),
    #[error("--watch-metrics {address}: no /metrics there")]
    NoMetrics { address: String, source: io::Error },
}

/// Figures of the kernel about processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Usage {
    /// User and system time.
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    /// What was handed to the disk, /proc/PID/io.
    pub written_bytes: u64,
}

/// What was seen.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Watched {
    /// A process that was watched has ended meanwhile: of its processor time and what it has written nothing is known.
    pub process_ended: bool,
    pub cpu_seconds: f64,
    pub cpu_microseconds_per_message: f64,
    pub resident_bytes_begin: u64,
    pub resident_bytes_end: u64,
    pub resident_bytes_most: u64,
    /// (second, bytes).
    pub resident: Vec<(f64, u64)>,
    pub written_bytes: u64,
    pub disk_bytes_begin: u64,
    pub disk_bytes_end: u64,
    pub disk_bytes_per_message: f64,
    /// Octets that the process handed to the disk for each octet it journaled, where the gateway counts those.
    pub written_per_journaled: Option<f64>,
    /// Name to (before, after), summed over labels; buckets are left out.
    pub metrics: BTreeMap<String, (f64, f64)>,
}

/// A watch that is going on.
#[derive(Debug)]
pub struct Watch {
    options: Options,
    began: Instant,
    /// When each process was started, in ticks since the start of the system: a later one may have its number.
    started: Vec<Option<u64>>,
    usage: Usage,
    disk_bytes: u64,
    metrics: BTreeMap<String, f64>,
    ended: Arc<AtomicBool>,
    memory: Option<JoinHandle<Vec<(f64, u64)>>>,
}

impl Watch {
    /// Begins to watch.
    #[must_use]
    pub fn begin(options: &Options) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (pids, flag, began) = (options.pids.clone(), Arc::clone(&ended), Instant::now());
        let memory = (!pids.is_empty()).then(|| thread::spawn(move || look(&pids, began, &flag)));
        Self {
            started: options.pids.iter().copied().map(started).collect(),
            usage: usage(&options.pids),
            disk_bytes: options.directory.as_deref().map_or(0, disk_bytes),
            metrics: options.metrics.as_deref().map(metrics).unwrap_or_default(),
            options: options.clone(),
            began,
            ended,
            memory,
        }
    }

    /// What has happened since the beginning, in which so many messages were handled.
    #[must_use]
    pub fn end(self, messages: u64) -> Watched {
        let usage = usage(&self.options.pids);
        self.close(messages, usage)
    }

    /// As `end`, for a gateway from which the last answer or receipt has only just come: its metrics are read once they know of
    /// all that was accepted and told, or do not show it in time.
    #[must_use]
    pub fn end_when_published(self, accepted: u64, told: u64) -> Watched {
        let usage = usage(&self.options.pids);
        if let Some(address) = &self.options.metrics {
            let is_published = |now: &BTreeMap<String, f64>| {
                [(ACCEPTED, accepted), (TOLD, told)].into_iter().all(|(name, count)| {
                    // A gateway that has no such counter is not waited for.
                    let before = self.metrics.get(name).copied();
                    before.is_none_or(|before| now.get(name).is_some_and(|now| now - before >= count as f64))
                })
            };
            let _in_time = until(PUBLISHED_WITHIN, || is_published(&metrics(address)).then_some(()));
        }
        self.close(accepted, usage)
    }

    fn close(mut self, messages: u64, mut usage: Usage) -> Watched {
        self.ended.store(true, Relaxed);
        let now: Vec<_> = self.options.pids.iter().copied().map(started).collect();
        let process_ended = now != self.started;
        if process_ended {
            // What has gone counts nothing any more: there is no difference to take.
            (usage.cpu_seconds, usage.written_bytes) = (self.usage.cpu_seconds, self.usage.written_bytes);
        }
        let mut resident = self.memory.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        resident.push((self.began.elapsed().as_secs_f64(), usage.resident_bytes));
        let disk_bytes_end = self.options.directory.as_deref().map_or(0, disk_bytes);
        let after = self.options.metrics.as_deref().map(metrics).unwrap_or_default();
        let before = |name: &String| self.metrics.get(name).copied().unwrap_or(0.0);
        let metrics: BTreeMap<_, _> =
            after.into_iter().map(|(name, value)| (name.clone(), (before(&name), value))).collect();
        let cpu_seconds = usage.cpu_seconds - self.usage.cpu_seconds;
        let written_bytes = usage.written_bytes.saturating_sub(self.usage.written_bytes);
        let journaled = metrics.get(JOURNALED).map(|(before, after)| after - before);
        let messages = messages.max(1) as f64;
        let is_written_known = !self.options.pids.is_empty() && !process_ended;
        Watched {
            process_ended,
            cpu_seconds,
            cpu_microseconds_per_message: cpu_seconds * 1_000_000.0 / messages,
            resident_bytes_begin: self.usage.resident_bytes,
            resident_bytes_end: usage.resident_bytes,
            resident_bytes_most: resident.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0),
            resident,
            written_bytes,
            disk_bytes_begin: self.disk_bytes,
            disk_bytes_end,
            disk_bytes_per_message: disk_bytes_end.saturating_sub(self.disk_bytes) as f64 / messages,
            written_per_journaled: journaled
                .filter(|bytes| *bytes > 0.0 && is_written_known)
                .map(|bytes| written_bytes as f64 / bytes),
            metrics,
        }
    }
}

impl Watched {
    /// Names with their figures, for a summary.
    #[must_use]
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let mut rows = Vec::new();
        if self.process_ended {
            rows.push(("watched process", "ended during the run: no figures of it".to_owned()));
        } else if self.resident_bytes_most > 0 {
            let (cpu, each) = (self.cpu_seconds, self.cpu_microseconds_per_message);
            rows.push(("watched CPU", format!("{each:.2} µs a message ({cpu:.2} s)")));
            let (begin, end) = (megabytes(self.resident_bytes_begin), megabytes(self.resident_bytes_end));
            let most = megabytes(self.resident_bytes_most);
            rows.push(("resident", format!("{begin} to {end}, most {most}")));
            rows.push(("written", megabytes(self.written_bytes)));
        }
        if self.disk_bytes_end > 0 {
            let (size, each) = (megabytes(self.disk_bytes_end), self.disk_bytes_per_message);
            rows.push(("on disk", format!("{size}, {each:.0} B a message more than before")));
        }
        rows.extend(self.written_per_journaled.map(|ratio| ("write amplification", format!("{ratio:.2}"))));
        rows
    }

    /// What a metric was afterwards.
    #[must_use]
    pub fn after(&self, name: &str) -> f64 {
        self.metrics.get(name).map_or(0.0, |(_, after)| *after)
    }

    /// How much a gauge has grown.
    #[must_use]
    pub fn growth(&self, name: &str) -> f64 {
        self.metrics.get(name).map_or(0.0, |(before, after)| after - before)
    }
}

fn look(pids: &[u32], began: Instant, ended: &AtomicBool) -> Vec<(f64, u64)> {
    let mut seen = Vec::new();
    while !ended.load(Relaxed) {
        let resident = pids.iter().map(|pid| resident_bytes(&pid.to_string())).sum();
        seen.push((began.elapsed().as_secs_f64(), resident));
        thread::sleep(LOOK_EVERY);
    }
    seen
}

/// The sums over some processes; one that has gone counts nothing.
#[must_use]
pub fn usage(pids: &[u32]) -> Usage {
    let mut sum = Usage::default();
    for pid in pids {
        let pid = pid.to_string();
        sum.cpu_seconds += cpu_seconds(&pid);
        sum.resident_bytes += resident_bytes(&pid);
        sum.written_bytes += number(&format!("/proc/{pid}/io"), "write_bytes:");
    }
    sum
}

/// Processor time of a process (`self`, or a number), user and system, in seconds; 0 where there is none.
#[must_use]
pub fn cpu_seconds(process: &str) -> f64 {
    // proc(5): fields 14 and 15 in hundredths of a second; the name, field 2, may hold spaces and ends with the last ')'.
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// When a process was started, in ticks since the start of the system; none where there is none that still runs.
fn started(pid: u32) -> Option<u64> {
    // proc(5): field 3 is the state, Z of one that has ended and was not waited for; field 22 is the start.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

fn resident_bytes(process: &str) -> u64 {
    number(&format!("/proc/{process}/status"), "VmRSS:") * 1_024
}

/// The number after a label that begins a line.
fn number(file: &str, label: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let rest = text.lines().find_map(|line| line.strip_prefix(label)).unwrap_or_default();
    rest.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// What a directory and all below it take on the disk, as du(1) counts it. What vanishes meanwhile counts nothing.
#[must_use]
pub fn disk_bytes(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return 0;
    };
    let own = metadata.blocks() * BLOCK;
    let below = if metadata.is_dir() { fs::read_dir(path).ok() } else { None };
    own + below.into_iter().flatten().flatten().map(|entry| disk_bytes(&entry.path())).sum::<u64>()
}

/// What `/metrics` shows at an address, summed over labels; empty where nobody answers.
#[must_use]
pub fn metrics(address: &str) -> BTreeMap<String, f64> {
    let (_, body) = get(address, "/metrics").unwrap_or_default();
    let mut sums = BTreeMap::new();
    for line in body.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let name = series.split('{').next().unwrap_or(series);
        if let (false, Ok(value)) = (name.ends_with("_bucket"), value.parse::<f64>()) {
            *sums.entry(name.to_owned()).or_insert(0.0) += value;
        }
    }
    sums
}

/// Status and body of a GET on a connection of its own.
///
/// # Errors
/// Nobody answers, or not in HTTP.
pub fn get(address: &str, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    match (status, body) {
        (Some(status), Some(body)) => Ok((status, body)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// An operations listener that answers each question with the next of these bodies.
    fn operations(bodies: Vec<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for body in bodies {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1_024];
                let _read = stream.read(&mut request).unwrap();
                write!(stream, "HTTP/1.1 200 OK\r\n\r\n{body}").unwrap();
            }
        });
        address
    }

    #[test]
    fn a_watch_sees_what_this_process_uses_and_writes() {
        let directory = tempfile::tempdir().unwrap();
        let bodies = [
            "# HELP x\ntidegate_told_total 3\ntidegate_queue_depth{provider=\"a\"} 1\n",
            "tidegate_told_total 13\ntidegate_queue_depth{provider=\"a\"} 1\ntidegate_queue_depth{provider=\"b\"} 4\n\
             tidegate_accept_seconds_bucket{le=\"1\"} 7\ntidegate_journal_appended_bytes_total 100\n",
        ];
        let address = operations(bodies.map(str::to_owned).to_vec());
        let options = Options {
            pids: vec![std::process::id()],
            directory: Some(directory.path().into()),
            metrics: Some(address),
        };
        let watch = Watch::begin(&options);
        let before = cpu_seconds("self");
        while cpu_seconds("self") < before + 0.05 {
            std::hint::black_box((0..100_000).sum::<u64>());
        }
        fs::write(directory.path().join("file"), vec![b'x'; 1_000_000]).unwrap();
        let seen = watch.end(10);
        assert!(seen.cpu_microseconds_per_message >= 4_000.0, "{seen:?}");
        assert!(seen.resident_bytes_most > 1_000_000 && seen.resident_bytes_end > 0, "{seen:?}");
        assert!(seen.disk_bytes_end >= 1_000_000 && seen.disk_bytes_per_message >= 99_000.0, "{seen:?}");
        assert_eq!((seen.growth("tidegate_told_total"), seen.growth("tidegate_queue_depth")), (10.0, 4.0));
        assert!(!seen.metrics.contains_key("tidegate_accept_seconds_bucket"));
        assert!(seen.written_per_journaled.is_some() && seen.rows().len() >= 4);
    }

    #[test]
    fn a_process_that_ends_meanwhile_has_no_figures() {
        let mut process = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let options = Options { pids: vec![process.id()], ..Options::default() };
        options.check().unwrap();
        let watch = Watch::begin(&options);
        // As if it had computed for an hour before.
        let watch = Watch { usage: Usage { cpu_seconds: 3_600.0, ..watch.usage }, ..watch };
        process.kill().unwrap();
        process.wait().unwrap();
        let seen = watch.end(10);
        assert!(seen.process_ended && seen.cpu_seconds == 0.0, "{seen:?}");
        assert_eq!(seen.rows(), [("watched process", "ended during the run: no figures of it".to_owned())]);
        assert!(matches!(options.check(), Err(WatchError::NoProcess(_))));
    }

    #[test]
    fn without_a_process_nothing_is_said_of_what_is_written() {
        let body = |octets| format!("{JOURNALED} {octets}\n");
        let address = operations(vec![body(5), body(500)]);
        let seen = Watch::begin(&Options { metrics: Some(address), ..Options::default() }).end(10);
        assert_eq!((seen.growth(JOURNALED), seen.written_per_journaled), (495.0, None));
        assert!(seen.rows().is_empty());
    }

    #[test]
    fn metrics_are_read_once_they_know_of_all_that_was_accepted() {
        let body = |(accepted, told): (u32, u32)| format!("{ACCEPTED} {accepted}\n{TOLD} {told}\n");
        // At the beginning, three times while they are old, once when they are not, and the last look.
        let shown = [(7, 4), (7, 4), (15, 12), (17, 12), (17, 13), (17, 13)];
        let address = operations(shown.map(body).to_vec());
        let watch = Watch::begin(&Options { metrics: Some(address), ..Options::default() });
        let seen = watch.end_when_published(10, 9);
        assert_eq!((seen.growth(ACCEPTED), seen.growth(TOLD)), (10.0, 9.0));
    }

    #[test]
    fn what_cannot_be_watched_is_named_at_the_start() {
        let said = |options: Options| options.check().map_err(|error| error.to_string());
        let none = Options::default;
        let address = operations(vec![]);
        let directory = tempfile::tempdir().unwrap();
        let here = Some(directory.path().to_owned());
        assert_eq!(said(Options { pids: vec![std::process::id()], directory: here, ..none() }), Ok(()));
        assert_eq!(
            said(Options { pids: vec![u32::MAX], ..none() }),
            Err("--watch-pid 4294967295: there is no such process".to_owned())
        );
        assert_eq!(
            said(Options { directory: Some("/nowhere/at/all".into()), ..none() }),
            Err("--watch-dir /nowhere/at/all: there is no such directory".to_owned())
        );
        assert_eq!(
            said(Options { metrics: Some(address.clone()), ..none() }),
            Err(format!("--watch-metrics {address}: no /metrics there"))
        );
    }

    #[test]
    fn what_is_not_there_counts_nothing() {
        assert!(Options::default().is_empty());
        assert_eq!(usage(&[u32::MAX]), Usage::default());
        assert_eq!(disk_bytes(Path::new("/nowhere/at/all")), 0);
    }
}
