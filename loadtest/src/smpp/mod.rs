//! The SMPP generator: submits, answers receipts and keeps the books. One thread serves all binds; `bind` is one of them.

mod bind;

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::Duration,
};

use clap::{Args, Parser, ValueEnum};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use crate::{
    book::{Book, Schedule},
    measure::{Clock, processor_seconds},
    numbers::{Numbers, NumbersError},
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
    /// Sender of all messages.
    #[arg(long, default_value = "LOADTEST")]
    pub from: String,
    /// Digits before the eight digits that number the messages.
    #[arg(long, default_value = "2547")]
    pub prefix: String,
    /// The first message's number; a later run against the same gateway takes other ones.
    #[arg(long, default_value_t = 0)]
    pub first: u64,
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
    #[error("the runtime cannot start")]
    Runtime(#[source] io::Error),
}

/// Runs to the end on the calling thread.
///
/// # Errors
/// The options do not fit, or the binds cannot be made. What happens later is counted, not an error.
pub fn run(options: Options) -> Result<Finished, RunError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
    LocalSet::new().block_on(&runtime, drive(options))
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
        let (pdu, destination_at, text_at) =
            wire::submit_template(&options.from, &numbers.sample(), &text, !options.no_receipts);
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

async fn drive(options: Options) -> Result<Finished, RunError> {
    let numbers = Numbers::new(&options.prefix, options.first, u64::from(options.count))?;
    let mut links = Vec::new();
    for role in roles(&options) {
        links.push((role, bind::connect(&options, role).await?));
    }
    let schedule = options.rate.map(|rate| Schedule { rate, burst: 1 });
    let cpu_before = processor_seconds();
    let run = Rc::new(Run {
        template: Template::new(&options, &numbers),
        book: RefCell::new(Book::new(options.count, schedule, options.awaits_receipts())),
        pace: Pace::new(options.rate),
        ticked_at: Cell::new(0),
        done: CancellationToken::new(),
        clock: Clock::start(),
        numbers,
        options,
    });
    let binds: Vec<_> = links
        .into_iter()
        .map(|(role, link)| tokio::task::spawn_local(Bind::new(Rc::clone(&run), role).serve(link)))
        .collect();
    let timed_out = watch(&run).await;
    let cpu_seconds = processor_seconds() - cpu_before;
    for bind in binds {
        let _ended = bind.await;
    }
    let mut book = run.book.replace(Book::new(0, None, false));
    let summary = Summary::new(run.shape(), &mut book, timed_out, cpu_seconds);
    Ok(Finished { summary, book, numbers: run.numbers.clone() })
}

fn roles(options: &Options) -> Vec<Role> {
    let roles: &[Role] = match options.bind {
        BindKind::Transceiver => &[Role::Transceiver],
        BindKind::Pair => &[Role::Transmitter, Role::Receiver],
        BindKind::Transmitter => &[Role::Transmitter],
    };
    roles.repeat(usize::from(options.binds))
}

/// Shows the progress, and ends a run that hears nothing any more; answers whether it had to.
async fn watch(run: &Run) -> bool {
    let receipts = run.options.awaits_receipts();
    let mut progress = Progress::new(u64::from(run.options.count), !run.options.quiet);
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let (mut seen, mut seen_at) = (u64::MAX, 0);
    loop {
        tokio::select! {
            () = run.done.cancelled() => break,
            _ = tick.tick() => {}
        }
        let (book, now) = (run.book.borrow(), run.clock.now());
        progress.show(&book, receipts, now);
        if book.is_finished() {
            run.done.cancel();
        }
        if book.progress() != seen {
            (seen, seen_at) = (book.progress(), now);
        } else if now - seen_at > (run.options.timeout * 1_000_000.0) as u64 {
            run.done.cancel();
        }
    }
    progress.finish();
    !run.book.borrow().is_finished()
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
            connections: roles(&self.options).len(),
            window: self.options.window as usize,
            count: u64::from(self.options.count),
            rate: self.options.rate,
        }
    }
}

/// A rate or a time of the command line.
///
/// # Errors
/// The text is no number above 0 and up to a thousand million.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 1e9 => Ok(number),
        _ => Err("must be a number above 0 and up to 1e9".into()),
    }
}

#[cfg(test)]
mod tests;
