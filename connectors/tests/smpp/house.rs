//! A commit loop that decides nothing: it notes each command and answers at once, unless it is told to hold still.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use codecs::text::Encoding;
use connectors::clock::Clock;
use connectors::intake::Wakes;
use connectors::partition::Partition;
use engine::command::{AskKind, Command, ConnectionId, Door, Refusal};
use engine::effect::{Ask, Outcome, Outgoing, Request, SubmitAnswer};
use engine::money::Micros;
use engine::submission::Body;

/// What is waited for comes within this, or the test fails.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// The first id that is given.
pub const FIRST_ID: u64 = 100_000_000_000_000_000;
/// How full it always is, in percent.
pub const BUSY: u8 = 42;
/// A message to this number is refused for want of credit.
pub const POOR: u64 = 254_700_000_402;

pub struct House {
    pub partition: Partition,
    pub runtime: tokio::runtime::Runtime,
    noted: Arc<Noted>,
    commit_loop: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Noted {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    commands: Vec<Command>,
    /// Commands are noted and not answered while this is set.
    holds: bool,
    /// No commands are taken while this is set.
    stands: bool,
    unanswered: Vec<(ConnectionId, Outgoing)>,
}

impl Noted {
    /// A test that fails while it looks must still be able to end.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl House {
    pub fn new() -> House {
        let partition = Partition::new(Clock::start());
        let noted = Arc::<Noted>::default();
        let commit_loop = std::thread::spawn({
            let (partition, noted) = (partition.clone(), Arc::clone(&noted));
            move || run(&partition, &noted)
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        House { partition, runtime: runtime.unwrap(), noted, commit_loop: Some(commit_loop) }
    }

    /// Waits until the commands that have come so far hold what is looked for.
    pub fn wait_for<T>(&self, what: &str, mut find: impl FnMut(&[Command]) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut state = self.noted.lock();
        loop {
            if let Some(found) = find(&state.commands) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} has not come; so far: {:#?}", state.commands);
            let look_again = left.min(Duration::from_millis(5));
            state =
                self.noted.changed.wait_timeout(state, look_again).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until something is so that no command tells of.
    pub fn wait_until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        self.wait_for(what, |_| holds().then_some(()));
    }

    /// The connection of the tenant's or provider's bind that came up last, after `count` in all.
    pub fn connection(&self, count: usize) -> ConnectionId {
        self.wait_for("a bind", |commands| {
            let mut connections = commands.iter().filter_map(|command| match command {
                Command::TenantBound { connection, .. } | Command::BindUp { connection, .. } => {
                    Some(*connection)
                }
                _ => None,
            });
            connections.nth(count - 1)
        })
    }

    /// From here on answers wait for `go_on`.
    pub fn hold_still(&self) {
        self.noted.lock().holds = true;
    }

    pub fn go_on(&self) {
        let mut state = self.noted.lock();
        state.holds = false;
        for (connection, outgoing) in state.unanswered.drain(..) {
            self.partition.links.release(connection, outgoing);
        }
    }

    /// Says that the commit loop has taken note of a connection's end.
    pub fn closed(&self, connection: ConnectionId) {
        let outgoing = Outgoing { closed: true, ..Outgoing::default() };
        self.partition.links.release(connection, outgoing);
    }

    /// No command is taken before it is told to go.
    pub fn stand(&self, stands: bool) {
        self.noted.lock().stands = stands;
        self.noted.changed.notify_all();
    }

    /// Gives a connection a request.
    pub fn request(&self, connection: ConnectionId, token: u64, body: &[u8]) {
        self.requests(connection, &[token], body);
    }

    /// Gives a connection several requests at once, with the same body.
    pub fn requests(&self, connection: ConnectionId, tokens: &[u64], body: &[u8]) {
        let requests: Vec<(u64, &[u8])> = tokens.iter().map(|token| (*token, body)).collect();
        self.requests_of(connection, &requests);
    }

    /// Gives a connection several requests at once, each with its body.
    pub fn requests_of(&self, connection: ConnectionId, requests: &[(u64, &[u8])]) {
        let mut outgoing = Outgoing::default();
        for (token, body) in requests {
            outgoing.bodies.extend_from_slice(body);
            outgoing.requests.push(Request { token: *token, end: outgoing.bodies.len() as u32 });
        }
        self.partition.links.release(connection, outgoing);
    }

    /// Gives a connection several questions at once, with the same body.
    pub fn asks(&self, connection: ConnectionId, tokens: &[u64], body: &[u8]) {
        let asks =
            tokens.iter().map(|token| Ask { token: *token, kind: AskKind::Query, body: body.to_vec() });
        self.partition.links.release(connection, Outgoing { asks: asks.collect(), ..Outgoing::default() });
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.partition.intake.close();
        self.stand(false);
        if let Some(commit_loop) = self.commit_loop.take() {
            let _ = commit_loop.join();
        }
    }
}

fn run(partition: &Partition, noted: &Noted) {
    let mut closed = HashSet::new();
    let mut binds = HashMap::new();
    let mut next_id = FIRST_ID;
    let mut taken = Vec::new();
    while partition.intake.take(None, Wakes::Any, &mut taken) {
        for command in taken.drain(..) {
            let answer = answer(&command, &mut next_id, &mut closed, &mut binds);
            let mut state = noted.lock();
            state.commands.push(command);
            if let Some((connection, outgoing)) = answer {
                if state.holds {
                    state.unanswered.push((connection, outgoing));
                } else {
                    partition.links.release(connection, outgoing);
                }
            }
        }
        noted.changed.notify_all();
        let state = noted.lock();
        let gone_on = noted.changed.wait_while(state, |state| state.stands);
        drop(gone_on.unwrap_or_else(PoisonError::into_inner));
    }
}

fn answer(
    command: &Command,
    next_id: &mut u64,
    closed: &mut HashSet<ConnectionId>,
    binds: &mut HashMap<(u16, u16), ConnectionId>,
) -> Option<(ConnectionId, Outgoing)> {
    let mut outgoing = Outgoing::default();
    match command {
        Command::Submit(submissions) => {
            let Door::Smpp(connection) = submissions.door else { return None };
            let mut start = 0;
            for item in &submissions.items {
                let body = Body::read(&submissions.bodies[start..item.end as usize]).unwrap().0;
                start = item.end as usize;
                let id = *next_id;
                *next_id += 1;
                let outcome = match body.destination {
                    POOR => Outcome::Refused(Refusal::InsufficientCredit),
                    _ => Outcome::Accepted {
                        id,
                        price: Micros(0),
                        parts: 1,
                        encoding: Encoding::Gsm7,
                        scheduled: false,
                    },
                };
                outgoing.congestion = BUSY;
                outgoing.answers.push(SubmitAnswer { sequence: item.sequence, outcome });
            }
            Some((connection, outgoing))
        }
        Command::Receipts(receipts) => {
            outgoing.acknowledged = receipts.items.iter().map(|receipt| (receipt.sequence, 0)).collect();
            Some((receipts.connection?, outgoing))
        }
        Command::Inbound(inbound) => {
            outgoing.acknowledged = inbound.items.iter().map(|item| (item.sequence, 0)).collect();
            Some((inbound.connection?, outgoing))
        }
        Command::BindUp { provider, bind, connection, .. } => {
            binds.insert((*provider, *bind), *connection);
            None
        }
        Command::BindDown { provider, bind, .. } => {
            outgoing.closed = true;
            Some((binds.remove(&(*provider, *bind))?, outgoing))
        }
        Command::TenantUnbound { connection, .. } if closed.insert(*connection) => {
            outgoing.closed = true;
            Some((*connection, outgoing))
        }
        _ => None,
    }
}
