//! The HTTP generator: sends messages over keep-alive connections and keeps the books. `exchange` is HTTP/1.1, `request` and
//! `answer` are what the doors of Tidegate and Kannel want and say, `callback` takes receipts.

mod answer;
mod callback;
mod exchange;
mod reading;
mod request;
mod sample;

use std::{cell::RefCell, collections::BTreeMap, io, rc::Rc, time::Duration};

use clap::{Args, Parser, ValueEnum};
use tokio::{
    net::TcpListener,
    task::LocalSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    book::{Book, Schedule},
    ending::{Ended, Ending},
    measure::{Clock, processor_seconds},
    numbers::{Numbers, NumbersError},
    pace::Pace,
    progress::Progress,
    smpp::{messages_at_most, positive},
    summary::{Shape, Summary},
};
use answer::Verdict;
use exchange::{Connection, Response};
pub use reading::{Questions, read_all, read_latency};
use request::Requests;
use sample::Sample;

/// The pause after an answer "not now" that names none, and the longest that is taken, in microseconds.
const PAUSE: u64 = 20_000;
const PAUSE_MAX: u64 = 5_000_000;
/// Between two looks for work that other connections may leave.
const LOOK: Duration = Duration::from_millis(5);
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);
const POLL_PAUSE: Duration = Duration::from_millis(20);

/// How the generator works.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Address of the API: http://HOST:PORT
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub target: String,
    /// Whose door it is.
    #[arg(long, value_enum, default_value_t = Door::Tidegate)]
    pub door: Door,
    /// API key of a tenant; USER:PASSWORD at Kannel's door.
    #[arg(long, default_value = "tg_live_bench")]
    pub key: String,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub connections: u16,
    /// Messages in a request.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch: u32,
    /// Messages to send.
    #[arg(long, default_value_t = 1_000_000)]
    pub count: u32,
    /// Send for so many seconds in place of a count; then what is on its way is waited for.
    #[arg(long, value_parser = positive, conflicts_with = "count")]
    pub seconds: Option<f64>,
    /// Messages a second; as fast as the connections allow when not given. Latencies then count from the intended moment.
    #[arg(long, value_parser = positive)]
    pub rate: Option<f64>,
    /// Characters of each message.
    #[arg(long, default_value_t = 160)]
    pub text_length: u16,
    /// Have receipts called back to a listener of our own; a message is finished when its receipt has come.
    #[arg(long)]
    pub callback: bool,
    /// Ask afterwards for this many of the messages until each is final.
    #[arg(long, default_value_t = 0)]
    pub poll: u32,
    /// Seconds without any news after which the run ends, and that an answer may take.
    #[arg(long, default_value_t = 30.0, value_parser = positive)]
    pub timeout: f64,
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
        Line::parse_from(["http"]).options
    }
}

/// Whose door is knocked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Door {
    /// POST /v1/messages.
    Tidegate,
    /// GET /cgi-bin/sendsms, one message a request.
    Kannel,
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
    #[error("{0} is no address of the form http://HOST:PORT")]
    Target(String),
    #[error("Kannel's door takes one message a request: --batch 1")]
    Batch,
    #[error("no connection to {target}")]
    Connect { target: String, source: io::Error },
    #[error("no listener for callbacks")]
    Listen(#[source] io::Error),
    #[error("the runtime cannot start")]
    Runtime(#[source] io::Error),
}

impl RunError {
    /// What was asked for makes no sense, whoever is asked.
    #[must_use]
    pub fn is_wrong_usage(&self) -> bool {
        matches!(self, Self::Numbers(_) | Self::Target(_) | Self::Batch)
    }
}

/// Runs to the end on the calling thread.
///
/// # Errors
/// The options do not fit, or nobody listens. What happens later is counted, not an error.
pub fn run(options: Options) -> Result<Finished, RunError> {
    run_until(options, CancellationToken::new())
}

/// As `run`; once `asked` is cancelled nothing more is sent or asked, and what is on its way is waited for no longer than a moment.
///
/// # Errors
/// As `run`.
pub fn run_until(options: Options, asked: CancellationToken) -> Result<Finished, RunError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
    LocalSet::new().block_on(&runtime, drive(options, asked))
}

/// What all connections share; they live on one thread.
#[derive(Debug)]
struct Run {
    options: Options,
    address: String,
    requests: Requests,
    book: RefCell<Book>,
    /// What to ask for afterwards.
    sample: RefCell<Sample>,
    numbers: Numbers,
    clock: Clock,
    pace: Pace,
    done: CancellationToken,
    /// Somebody asks the run to end.
    asked: CancellationToken,
}

async fn drive(options: Options, asked: CancellationToken) -> Result<Finished, RunError> {
    let count = messages_at_most(options.count, options.seconds, options.first);
    let numbers = Numbers::new(&options.prefix, options.first, u64::from(count))?;
    if options.door == Door::Kannel && options.batch != 1 {
        return Err(RunError::Batch);
    }
    let address = address(&options.target)?;
    let callback = match options.callback {
        true => Some(TcpListener::bind("127.0.0.1:0").await.map_err(RunError::Listen)?),
        false => None,
    };
    let called_at = callback.as_ref().and_then(|listener| listener.local_addr().ok());
    let mut connections = Vec::new();
    for _ in 0..options.connections {
        let lost = |source| RunError::Connect { target: options.target.clone(), source };
        connections.push(Connection::open(&address).await.map_err(lost)?);
    }
    let schedule = options.rate.map(|rate| Schedule { rate, burst: options.batch });
    let cpu_before = processor_seconds();
    let run = Rc::new(Run {
        requests: Requests::new(&options, &address, called_at, numbers.clone()),
        book: RefCell::new(Book::new(count, schedule, options.callback)),
        sample: RefCell::new(Sample::new(options.poll)),
        numbers,
        pace: Pace::new(options.rate),
        done: CancellationToken::new(),
        asked,
        clock: Clock::start(),
        address,
        options,
    });
    if let Some(listener) = callback {
        tokio::task::spawn_local(callback::listen(Rc::clone(&run), listener));
    }
    let senders: Vec<_> = connections
        .into_iter()
        .map(|connection| tokio::task::spawn_local(send(Rc::clone(&run), connection)))
        .collect();
    let ending = watch(&run).await;
    let cpu_seconds = processor_seconds() - cpu_before;
    for sender in senders {
        let _ended = sender.await;
    }
    let mut book = run.book.replace(Book::new(0, None, false));
    let mut summary = Summary::new(run.shape(), &mut book, &ending, cpu_seconds);
    if run.options.poll > 0 && !ending.asked {
        run.poll(&book, &mut summary).await;
    }
    Ok(Finished { summary, book, numbers: run.numbers.clone() })
}

fn address(target: &str) -> Result<String, RunError> {
    let address = target.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let is_plain = |address: &&str| address.contains(':') && !address.contains(['/', '@', '?']);
    address.filter(is_plain).map(str::to_owned).ok_or_else(|| RunError::Target(target.into()))
}

/// Shows the progress, and ends the run when it is over; answers how that came.
async fn watch(run: &Run) -> Ended {
    let mut progress = Progress::new(u64::from(run.options.count), !run.options.quiet);
    let mut ending = Ending::new(run.options.timeout, run.options.seconds, run.asked.clone());
    while !run.done.is_cancelled() {
        tokio::select! {
            () = run.done.cancelled() => {}
            () = sleep(Duration::from_millis(200)) => {}
        }
        let (mut book, now) = (run.book.borrow_mut(), run.clock.now());
        progress.show(&book, run.options.callback, now);
        if ending.is_over(&mut book, now) {
            run.done.cancel();
        }
    }
    progress.finish();
    ending.ended(&run.book.borrow())
}

/// One connection: request after request, until the run is done.
async fn send(run: Rc<Run>, connection: Connection) {
    let mut connection = Some(connection);
    let (mut serials, mut request) = (Vec::new(), Vec::new());
    while !run.done.is_cancelled() {
        run.take_work(&mut serials);
        if serials.is_empty() {
            run.wait().await;
            continue;
        }
        run.requests.write(&serials, &mut request);
        let answer = tokio::select! {
            answer = run.exchange(&mut connection, &request) => answer,
            () = run.done.cancelled() => return run.unanswered(&serials, connection.is_some()),
        };
        match answer {
            Ok(response) => run.settle(&serials, &response),
            Err(_) => run.broken(&serials, &mut connection).await,
        }
        if run.book.borrow().is_finished() {
            run.done.cancel();
        }
    }
}

impl Run {
    fn take_work(&self, serials: &mut Vec<u32>) {
        let (mut book, now) = (self.book.borrow_mut(), self.clock.now());
        serials.clear();
        while serials.len() < self.options.batch as usize {
            match book.next_to_send(now) {
                Some(serial) => serials.push(serial),
                None => return,
            }
        }
    }

    async fn wait(&self) {
        tokio::select! {
            () = self.done.cancelled() => {}
            () = self.pace.ticked() => {}
            () = sleep(LOOK) => {}
        }
    }

    async fn exchange(&self, connection: &mut Option<Connection>, request: &[u8]) -> io::Result<Response> {
        let limit = Duration::from_secs_f64(self.options.timeout);
        // A server may close a connection on which nothing is asked; what is written on it then is lost, and nobody to blame.
        if connection.as_ref().is_some_and(Connection::is_closed) {
            *connection = None;
        }
        let open = match connection {
            Some(open) => open,
            None => connection.insert(timeout(limit, Connection::open(&self.address)).await??),
        };
        let response = timeout(limit, open.exchange(request)).await??;
        if response.close {
            *connection = None;
        }
        Ok(response)
    }

    /// Nobody knows whether the messages of a broken request were taken.
    async fn broken(&self, serials: &[u32], connection: &mut Option<Connection>) {
        let sent = connection.take().is_some();
        self.book.borrow_mut().counts.disconnects += u64::from(sent);
        self.unanswered(serials, sent);
        sleep(RECONNECT_PAUSE).await;
    }

    /// A connection that was never made has sent nothing: those messages may go again.
    fn unanswered(&self, serials: &[u32], sent: bool) {
        let (mut book, now) = (self.book.borrow_mut(), self.clock.now());
        for serial in serials {
            if sent { book.unanswered(*serial) } else { book.not_sent(*serial, now + PAUSE) }
        }
    }

    fn settle(&self, serials: &[u32], response: &Response) {
        let (mut book, now) = (self.book.borrow_mut(), self.clock.now());
        let before = book.counts.accepted;
        let pause =
            response.retry_after.map_or(PAUSE, |seconds| (seconds * 1_000_000.0) as u64).min(PAUSE_MAX);
        let verdicts = self.verdicts(serials, response);
        for (serial, verdict) in serials.iter().zip(verdicts) {
            match verdict {
                Verdict::Accepted(id) => {
                    self.sample.borrow_mut().offer(*serial, &id);
                    book.accepted(*serial, answer::id_number(&id), now);
                }
                Verdict::NotNow => book.throttled(*serial, now + pause),
                Verdict::Refused(code) => book.refused(*serial, code, now),
            }
        }
        let accepted = book.counts.accepted - before;
        book.series.add(now, accepted, 0);
    }

    fn verdicts(&self, serials: &[u32], response: &Response) -> Vec<Verdict> {
        match (self.options.door, serials) {
            (Door::Kannel, [serial]) => {
                vec![answer::kannel(response.status, &response.body, self.numbers.destination(*serial))]
            }
            _ => answer::verdicts(response.status, &response.body, serials.len()),
        }
    }

    /// Asks for the sample until every message of it is final; the figures are then those of the whole chain. Where receipts are
    /// called back as well, what those say stays.
    async fn poll(&self, book: &Book, summary: &mut Summary) {
        let mut open: BTreeMap<String, u32> =
            self.sample.borrow().chosen().into_iter().map(|(serial, id)| (id, serial)).collect();
        let asked = open.len();
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        let mut heard = self.clock.now();
        let mut connection = None;
        while !open.is_empty()
            && !self.asked.is_cancelled()
            && self.clock.now() - heard < (self.options.timeout * 1_000_000.0) as u64
        {
            for id in open.clone().into_keys() {
                let request = self.requests.status(&id);
                let answer = tokio::select! {
                    answer = self.exchange(&mut connection, &request) => answer.ok(),
                    () = self.asked.cancelled() => None,
                };
                let Some(response) = answer else {
                    connection = None;
                    break;
                };
                if let Some(state) = answer::final_state(&response.body) {
                    *states.entry(state).or_default() += 1;
                    open.remove(&id);
                    heard = self.clock.now();
                }
            }
            sleep(POLL_PAUSE).await;
        }
        summary.interrupted |= self.asked.is_cancelled();
        summary.timed_out |= !open.is_empty() && !summary.interrupted;
        summary.receipts.extend(states);
        // A message whose callback is missing is lost already.
        let is_counted = |serial: u32| self.options.callback && !book.is_receipted(serial);
        summary.lost += open.values().filter(|serial| !is_counted(**serial)).count() as u64;
        if !self.options.callback {
            // What of the sample is final stands for all of them.
            let share = (asked - open.len()) as f64 / asked.max(1) as f64;
            summary.seconds = summary.seconds.max(heard as f64 / 1_000_000.0);
            summary.messages_per_second = summary.accepted as f64 * share / summary.seconds.max(0.001);
        }
    }

    fn shape(&self) -> Shape {
        Shape {
            kind: "http",
            target: self.options.target.clone(),
            connections: usize::from(self.options.connections),
            window: self.options.batch as usize,
            count: u64::from(self.options.count),
            send_seconds: self.options.seconds,
            rate: self.options.rate,
        }
    }
}

#[cfg(test)]
mod tests;
