//! The SMPP generator: submits, answers receipts and keeps the books. One thread serves all binds; `bind` is one of them.

mod bind;

use std::{
    cell::{Cell, RefCell},
    fs, io,
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use clap::{Args, Parser, ValueEnum};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use crate::{
    book::{Book, Schedule},
    ending::{Ended, Ending},
    measure::{Clock, processor_seconds},
    numbers::{Numbers, NumbersError, SERIALS},
    pace::Pace,
    progress::Progress,
    summary::{Shape, Summary},
    texts::Texts,
    wire,
};
use bind::{Bind, Role};

/// How the generator works.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Address of the SMPP server.
    #[arg(long, default_value = "127.0.0.1:2775")]
    pub target: String,
    #[arg(long, default_value = "bench")]
    pub system_id: String,
    #[arg(long, default_value = "bench")]
    pub password: String,
    /// Connections that submit.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub binds: u16,
    /// How each binds.
    #[arg(long, value_enum, default_value_t = BindKind::Transceiver)]
    pub bind: BindKind,
    /// Unanswered submits on one bind.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub window: u32,
    /// Messages to send.
    #[arg(long, default_value_t = 1_000_000)]
    pub count: u32,
    /// Send for so many seconds in place of a count; then what is on its way is waited for.
    #[arg(long, value_parser = positive, conflicts_with = "count")]
    pub seconds: Option<f64>,
    /// Messages a second; as fast as the windows allow when not given. Latencies then count from the intended moment.
    #[arg(long, value_parser = positive)]
    pub rate: Option<f64>,
    /// Characters of each message; above 254 they go as message_payload.
    #[arg(long, default_value_t = 160)]
    pub text_length: u16,
    /// Ask for no receipts; a message is finished when it is accepted.
    #[arg(long)]
    pub no_receipts: bool,
    /// Seconds without any news after which the run ends.
    #[arg(long, default_value_t = 30.0, value_parser = positive)]
    pub timeout: f64,
    /// Seconds after which an unanswered submit is given up.
    #[arg(long, default_value_t = 30.0, value_parser = positive)]
    pub response_timeout: f64,
    /// Take ESME_RTHROTTLED and ESME_RMSGQFUL for refusals; else they slow the bind down and the message is sent again.
    #[arg(long)]
    pub no_retry: bool,
    /// A file with `SYSTEM_ID PASSWORD` in each line: each of these tenants has `--binds` connections.
    #[arg(long)]
    pub tenants: Option<PathBuf>,
    /// priority_flag of all messages.
    #[arg(long, default_value_t = 0)]
    pub priority: u8,
    /// Sender of all messages.
    #[arg(long, default_value = "LOADTEST")]
    pub from: String,
    /// Digits before the eight digits that number the messages.
    #[arg(long, default_value = "2547")]
    pub prefix: String,
    /// The first message's number; a later run against the same gateway takes other ones.
    #[arg(long, default_value_t = 0)]
    pub first: u64,
    /// Scatter the numbers over all eight digits, so that many routes and rates are met.
    #[arg(long)]
    pub scatter: bool,
    /// Show no progress bar.
    #[arg(long)]
    pub quiet: bool,
}

impl Default for Options {
    /// What the command line has for what is not given.
    fn default() -> Self {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            options: Options,
        }
        Line::parse_from(["smpp"]).options
    }
}

impl Options {
    /// A transmitter may ask for receipts and never sees them.
    fn awaits_receipts(&self) -> bool {
        !self.no_receipts && self.bind != BindKind::Transmitter
    }
}

/// How a connection binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BindKind {
    /// Submits and takes receipts.
    Transceiver,
    /// A transmitter and a receiver beside it.
    Pair,
    /// Submits only; receipts are left to somebody else, and a message is finished when it is accepted.
    Transmitter,
}

/// A run that has ended: its figures, and what is known of each message.
#[derive(Debug)]
pub struct Finished {
    pub summary: Summary,
    pub book: Book,
    pub numbers: Numbers,
}

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Numbers(#[from] NumbersError),
    #[error("no connection to {target}")]
    Connect { target: String, source: io::Error },
    #[error("{target} refuses the bind of {system_id} with status 0x{status:08X}")]
    Refused { target: String, system_id: String, status: u32 },
    #[error("{path} names no tenants")]
    Tenants { path: PathBuf, source: Option<io::Error> },
    #[error("the runtime cannot start")]
    Runtime(#[source] io::Error),
}

impl RunError {
    /// What was asked for makes no sense, whoever is asked.
    #[must_use]
    pub fn is_wrong_usage(&self) -> bool {
        matches!(self, Self::Numbers(_) | Self::Tenants { .. })
    }
}

/// Who binds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Login {
    system_id: String,
    password: String,
}

/// Runs to the end on the calling thread.
///
/// # Errors
/// The options do not fit, or the binds cannot be made. What happens later is counted, not an error.
pub fn run(options: Options) -> Result<Finished, RunError> {
    run_until(options, CancellationToken::new())
}

/// As `run`; once `asked` is cancelled nothing more is sent, and what is on its way is waited for no longer than a moment.
///
/// # Errors
/// As `run`.
pub fn run_until(options: Options, asked: CancellationToken) -> Result<Finished, RunError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
    LocalSet::new().block_on(&runtime, drive(options, asked))
}

/// What all binds share; they live on one thread.
#[derive(Debug)]
struct Run {
    options: Options,
    numbers: Numbers,
    template: Template,
    book: RefCell<Book>,
    clock: Clock,
    pace: Pace,
    connections: usize,
    /// With a rate, the time of the last tick. Between ticks nothing new is sent: answers that come one by one would
    /// otherwise draw out the messages one by one as well.
    ticked_at: Cell<u64>,
    done: CancellationToken,
}

/// Digits of a message's serial number, in its destination and at the beginning of its text.
const SERIAL_DIGITS: usize = 8;

/// A submit_sm to be patched, and the places to patch.
#[derive(Debug)]
struct Template {
    pdu: Vec<u8>,
    serial_at: usize,
    text_at: Option<usize>,
    /// What follows the serial in the text.
    texts: Texts,
}

impl Template {
    fn new(options: &Options, numbers: &Numbers) -> Self {
        // The serial is in the text as well, so that no two texts are alike.
        let text = vec![b'0'; usize::from(options.text_length)];
        let (mut pdu, destination_at, text_at) =
            wire::submit_template(&options.from, &numbers.sample(), &text, !options.no_receipts);
        // The destination ends with a NUL; esm_class and protocol_id follow, then priority_flag, SMPP 3.4 §4.4.1.
        wire::patch(&mut pdu, destination_at + numbers.sample().len() + 3, &[options.priority]);
        let text_at = (text.len() >= 8).then_some(text_at);
        let texts = Texts::new(text.len().saturating_sub(SERIAL_DIGITS));
        Self { pdu, serial_at: destination_at + numbers.serial_at(), text_at, texts }
    }

    fn write(&self, out: &mut Vec<u8>, sequence: u32, serial: u32, digits: &[u8; SERIAL_DIGITS]) {
        let start = out.len();
        out.extend_from_slice(&self.pdu);
        wire::patch(out, start + 12, &sequence.to_be_bytes());
        wire::patch(out, start + self.serial_at, digits);
        if let Some(text_at) = self.text_at {
            wire::patch(out, start + text_at, digits);
            wire::patch(out, start + text_at + SERIAL_DIGITS, self.texts.of(serial));
        }
    }
}

async fn drive(options: Options, asked: CancellationToken) -> Result<Finished, RunError> {
    let count = messages_at_most(options.count, options.seconds, options.first);
    let numbers = Numbers::new(&options.prefix, options.first, u64::from(count))?.scattered(options.scatter);
    let mut links = Vec::new();
    for login in logins(&options)? {
        for role in roles(&options) {
            links.push((login.clone(), role, bind::connect(&options, &login, role).await?));
        }
    }
    let schedule = options.rate.map(|rate| Schedule { rate, burst: 1 });
    let cpu_before = processor_seconds();
    let connections = links.len();
    let run = Rc::new(Run {
        template: Template::new(&options, &numbers),
        connections,
        book: RefCell::new(Book::new(count, schedule, options.awaits_receipts())),
        pace: Pace::new(options.rate),
        ticked_at: Cell::new(0),
        done: CancellationToken::new(),
        clock: Clock::start(),
        numbers,
        options,
    });
    let binds: Vec<_> = links
        .into_iter()
        .map(|(login, role, link)| {
            tokio::task::spawn_local(Bind::new(Rc::clone(&run), login, role).serve(link))
        })
        .collect();
    let ending = watch(&run, asked).await;
    let cpu_seconds = processor_seconds() - cpu_before;
    for bind in binds {
        let _ended = bind.await;
    }
    let mut book = run.book.replace(Book::new(0, None, false));
    let summary = Summary::new(run.shape(), &mut book, &ending, cpu_seconds);
    Ok(Finished { summary, book, numbers: run.numbers.clone() })
}

/// Messages that there is room for: the count, or where seconds are given more than any generator sends in them.
pub(crate) fn messages_at_most(count: u32, seconds: Option<f64>, first: u64) -> u32 {
    const A_SECOND: f64 = 1_000_000.0;
    let left = u32::try_from(SERIALS.saturating_sub(first)).unwrap_or(u32::MAX);
    seconds.map_or(count, |seconds| ((seconds * A_SECOND) as u32).clamp(1, left.max(1)))
}

fn logins(options: &Options) -> Result<Vec<Login>, RunError> {
    let Some(path) = &options.tenants else {
        let Options { system_id, password, .. } = options.clone();
        return Ok(vec![Login { system_id, password }]);
    };
    let none = |source| RunError::Tenants { path: path.clone(), source };
    let text = fs::read_to_string(path).map_err(|error| none(Some(error)))?;
    let words = text.lines().filter_map(|line| line.split_once(' '));
    let login = |(system_id, password): (&str, &str)| Login {
        system_id: system_id.into(),
        password: password.trim().into(),
    };
    let logins: Vec<Login> = words.map(login).collect();
    if logins.is_empty() { Err(none(None)) } else { Ok(logins) }
}

fn roles(options: &Options) -> Vec<Role> {
    let roles: &[Role] = match options.bind {
        BindKind::Transceiver => &[Role::Transceiver],
        BindKind::Pair => &[Role::Transmitter, Role::Receiver],
        BindKind::Transmitter => &[Role::Transmitter],
    };
    roles.repeat(usize::from(options.binds))
}

/// Shows the progress, and ends the run when it is over; answers how that came.
async fn watch(run: &Run, asked: CancellationToken) -> Ended {
    let receipts = run.options.awaits_receipts();
    let mut progress = Progress::new(u64::from(run.options.count), !run.options.quiet);
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let mut ending = Ending::new(run.options.timeout, run.options.seconds, asked);
    loop {
        tokio::select! {
            () = run.done.cancelled() => break,
            _ = tick.tick() => {}
        }
        let (mut book, now) = (run.book.borrow_mut(), run.clock.now());
        progress.show(&book, receipts, now);
        if ending.is_over(&mut book, now) {
            run.done.cancel();
        }
    }
    progress.finish();
    ending.ended(&run.book.borrow())
}

impl Run {
    /// The time up to which messages may be sent that are due.
    fn due_until(&self, now: u64) -> u64 {
        self.options.rate.map_or(now, |_| self.ticked_at.get())
    }

    fn shape(&self) -> Shape {
        Shape {
            kind: "smpp",
            target: self.options.target.clone(),
            connections: self.connections,
            window: self.options.window as usize,
            count: u64::from(self.options.count),
            send_seconds: self.options.seconds,
            rate: self.options.rate,
        }
    }
}

/// A rate or a time of the command line.
///
/// # Errors
/// The text is no number above 0 and up to a thousand million.
pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 1e9 => Ok(number),
        _ => Err("must be a number above 0 and up to 1e9".into()),
    }
}

#[cfg(test)]
mod tests;
