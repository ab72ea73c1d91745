//! The provider simulator: an SMSC on a socket, with a profile of manners and faults and its own record of what it accepted.
//! It is the gateway's sandbox, the load tests' far end and the tests' witness. It knows nothing of the gateway.

mod faults;
mod pacing;
mod phones;
mod profile;
mod receipts;
pub mod record;
mod sequences;
mod session;

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    net::{TcpListener, TcpStream, ToSocketAddrs},
    sync::Notify,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

pub use pacing::Pacing;
pub use profile::{Delay, IdForm, Outcome, PhonesProfile, Profile, ProfileError, ReceiptForm};
pub use record::{Accepted, Body, Record};
pub use sequences::Sequence;

use crate::link::Link;
use phones::Said;
use receipts::Account;
use sequences::Sequences;
use session::{Flow, Session};

/// System ids that may bind where the profile names none.
const ACCOUNTS_MAX: usize = 10_000;
/// Messages whose tries are counted for the draws; beyond, the count begins again.
const ATTEMPTS_MAX: usize = 4_000_000;
/// The longest that a connection waits before it looks at its clock.
const TIMER_MAX: Duration = Duration::from_secs(60);

/// A simulator that listens and does not answer yet.
#[derive(Debug)]
pub struct Simulator {
    listener: TcpListener,
    handle: Handle,
}

impl Simulator {
    /// Listens on `address`; the record is kept in memory.
    ///
    /// # Errors
    /// The profile is impossible, or the address cannot be listened on.
    pub async fn bind(address: impl ToSocketAddrs, profile: Profile) -> io::Result<Self> {
        Self::bind_recording(address, profile, None).await
    }

    /// As `bind`; each accepted submit is also written to `file`.
    ///
    /// # Errors
    /// As `bind`.
    pub async fn bind_recording(
        address: impl ToSocketAddrs,
        profile: Profile,
        file: Option<File>,
    ) -> io::Result<Self> {
        profile.check().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let listener = TcpListener::bind(address).await?;
        let shared = Arc::new(Shared::new(profile, file));
        let handle = Handle { address: listener.local_addr()?, shared };
        Ok(Self { listener, handle })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.handle.address
    }

    #[must_use]
    pub fn record(&self) -> Record {
        self.handle.record()
    }

    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves every connection until `Handle::shutdown`.
    pub async fn run(self) {
        let Self { listener, handle } = self;
        let shared = &handle.shared;
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                () = shared.stop.cancelled() => break,
                () = shared.drop_connections.notified() => sessions.abort_all(),
                Some(_) = sessions.join_next() => {}
                connection = listener.accept() => match connection {
                    Ok((stream, _)) => {
                        sessions.spawn(serve(stream, Arc::clone(shared)));
                    }
                    // No descriptor is free, or the peer has gone already: neither is mended by asking again at once.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                },
            }
        }
        drop(listener);
        sessions.shutdown().await;
        shared.closed.cancel();
    }

    /// Runs on a task of its own.
    pub fn spawn(self) -> Handle {
        let handle = self.handle();
        tokio::spawn(self.run());
        handle
    }
}

/// A running simulator as seen from outside; clones are the same one, and dropping them stops nothing.
#[derive(Debug, Clone)]
pub struct Handle {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Handle {
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was accepted.
    #[must_use]
    pub fn record(&self) -> Record {
        self.shared.record.clone()
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.shared.lock(&self.shared.counts)
    }

    /// How evenly each system_id has submitted, where the profile says what was agreed.
    #[must_use]
    pub fn pacing(&self) -> BTreeMap<String, Pacing> {
        let accounts = self.shared.lock(&self.shared.accounts);
        let name = |system_id: &Vec<u8>| String::from_utf8_lossy(system_id).into_owned();
        accounts
            .iter()
            .filter_map(|(system_id, account)| Some((name(system_id), account.pacing()?)))
            .collect()
    }

    /// In which order what arrived was numbered, where the profile asks for it; one for each beginning of the destinations.
    #[must_use]
    pub fn sequences(&self) -> Vec<Sequence> {
        self.shared.lock(&self.shared.sequences).all()
    }

    /// Behaves differently from each connection's next batch on; windows keep their size until the next bind.
    ///
    /// # Errors
    /// The profile is impossible; nothing has changed.
    pub fn set_profile(&self, profile: Profile) -> Result<(), ProfileError> {
        profile.check()?;
        let mut current = self.shared.lock(&self.shared.profile);
        *current = Arc::new(profile);
        self.shared.profile_version.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Closes every connection without a word; receipts not answered are sent again on later ones.
    pub fn drop_connections(&self) {
        self.shared.drop_connections.notify_one();
    }

    /// Lets `Simulator::run` close everything and end; does not wait for it.
    pub fn stop(&self) {
        self.shared.stop.cancel();
    }

    /// Closes everything and waits until the address is free.
    pub async fn shutdown(&self) {
        self.stop();
        self.shared.closed.cancelled().await;
    }
}

/// What a simulator has done and met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    pub connections: u64,
    pub binds: u64,
    pub binds_refused: u64,
    pub submits: u64,
    pub accepted: u64,
    pub refused: u64,
    pub throttled: u64,
    pub lost_answers: u64,
    pub drops: u64,
    pub malformed: u64,
    /// Connections closed because their bytes were no SMPP.
    pub garbage: u64,
    /// Receipts owed, duplicates included, and what became of them.
    pub receipts: u64,
    pub receipts_withheld: u64,
    pub receipts_sent: u64,
    pub receipts_acknowledged: u64,
    pub receipts_refused: u64,
    pub receipts_again: u64,
    pub receipts_dropped: u64,
    /// Parts of phones' messages sent, repetitions included, and what became of them.
    pub phones_sent: u64,
    pub phones_acknowledged: u64,
    pub phones_again: u64,
}

impl Counts {
    /// The counts with their names, in order.
    #[must_use]
    pub fn rows(&self) -> [(&'static str, u64); 21] {
        [
            ("connections", self.connections),
            ("binds", self.binds),
            ("binds refused", self.binds_refused),
            ("submits", self.submits),
            ("accepted", self.accepted),
            ("refused", self.refused),
            ("throttled", self.throttled),
            ("answers lost", self.lost_answers),
            ("connections dropped", self.drops),
            ("malformed PDUs sent", self.malformed),
            ("connections with garbage", self.garbage),
            ("receipts owed", self.receipts),
            ("receipts withheld", self.receipts_withheld),
            ("receipts sent", self.receipts_sent),
            ("receipts acknowledged", self.receipts_acknowledged),
            ("receipts refused", self.receipts_refused),
            ("receipts to be sent again", self.receipts_again),
            ("receipts dropped", self.receipts_dropped),
            ("from phones", self.phones_sent),
            ("from phones acknowledged", self.phones_acknowledged),
            ("from phones to be sent again", self.phones_again),
        ]
    }

    /// Receipts owed that nobody has answered yet.
    #[must_use]
    pub fn unacknowledged(&self) -> u64 {
        self.receipts
            .saturating_sub(self.receipts_acknowledged + self.receipts_refused + self.receipts_dropped)
    }

    fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.binds += other.binds;
        self.binds_refused += other.binds_refused;
        self.submits += other.submits;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.throttled += other.throttled;
        self.lost_answers += other.lost_answers;
        self.drops += other.drops;
        self.malformed += other.malformed;
        self.garbage += other.garbage;
        self.receipts += other.receipts;
        self.receipts_withheld += other.receipts_withheld;
        self.receipts_sent += other.receipts_sent;
        self.receipts_acknowledged += other.receipts_acknowledged;
        self.receipts_refused += other.receipts_refused;
        self.receipts_again += other.receipts_again;
        self.receipts_dropped += other.receipts_dropped;
        self.phones_sent += other.phones_sent;
        self.phones_acknowledged += other.phones_acknowledged;
        self.phones_again += other.phones_again;
    }
}

/// What all connections of a simulator share; a batch takes each lock at most once.
#[derive(Debug)]
struct Shared {
    profile: Mutex<Arc<Profile>>,
    profile_version: AtomicU64,
    accounts: Mutex<BTreeMap<Vec<u8>, Arc<Account>>>,
    /// The account of those who are not bound; it stays empty.
    nobody: Arc<Account>,
    attempts: Mutex<HashMap<u64, u64>>,
    next_id: AtomicU64,
    /// The next message of a phone, and what was said on connections that are gone and nobody acknowledged.
    next_phone: AtomicU64,
    unheard: Mutex<Vec<Said>>,
    record: Record,
    sequences: Mutex<Sequences>,
    counts: Mutex<Counts>,
    started: Instant,
    stop: CancellationToken,
    closed: CancellationToken,
    drop_connections: Notify,
}

impl Shared {
    fn new(profile: Profile, file: Option<File>) -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let first_id = match profile.first_id {
            0 => u64::try_from(since_epoch.as_micros()).unwrap_or(1),
            first => first,
        };
        Self {
            record: Record::new(profile.record_max, file),
            profile: Mutex::new(Arc::new(profile)),
            profile_version: AtomicU64::new(0),
            accounts: Mutex::default(),
            nobody: Arc::default(),
            attempts: Mutex::default(),
            next_id: AtomicU64::new(first_id),
            next_phone: AtomicU64::new(0),
            unheard: Mutex::default(),
            sequences: Mutex::default(),
            counts: Mutex::default(),
            started: Instant::now(),
            stop: CancellationToken::new(),
            closed: CancellationToken::new(),
            drop_connections: Notify::new(),
        }
    }

    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Microseconds since the start.
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn profile_version(&self) -> u64 {
        self.profile_version.load(Relaxed)
    }

    fn profile(&self) -> (u64, Arc<Profile>) {
        let profile = self.lock(&self.profile);
        (self.profile_version(), Arc::clone(&profile))
    }

    fn account(&self, system_id: &[u8]) -> Option<Arc<Account>> {
        let mut accounts = self.lock(&self.accounts);
        if accounts.len() >= ACCOUNTS_MAX && !accounts.contains_key(system_id) {
            return None;
        }
        Some(Arc::clone(accounts.entry(system_id.to_vec()).or_default()))
    }

    fn take_ids(&self, count: u64) -> Range<u64> {
        let first = self.next_id.fetch_add(count, Relaxed);
        first..first.saturating_add(count)
    }

    /// The number of the next phone's message, unless there have been so many; 0: there is no end.
    fn next_phone(&self, count: u64) -> Option<u64> {
        let within = |next: u64| (count == 0 || next < count).then(|| next + 1);
        self.next_phone.fetch_update(Relaxed, Relaxed, within).ok()
    }

    fn take_unheard(&self) -> Vec<Said> {
        std::mem::take(&mut *self.lock(&self.unheard))
    }

    fn leave_unheard(&self, unheard: Vec<Said>) {
        self.lock(&self.unheard).extend(unheard);
    }

    /// How often a message was tried before.
    fn attempt(&self, key: u64) -> u64 {
        let mut attempts = self.lock(&self.attempts);
        if attempts.len() >= ATTEMPTS_MAX {
            attempts.clear();
        }
        let tried = attempts.entry(key).or_default();
        *tried += 1;
        *tried - 1
    }

    fn add(&self, counts: &mut Counts) {
        self.lock(&self.counts).add(counts);
        *counts = Counts::default();
    }
}

/// Serves one connection to its end; whatever ends it concerns nobody else.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    if let Ok(link) = Link::new(stream) {
        let _ended = converse(link, Session::new(shared)).await;
    }
}

async fn converse(mut link: Link, mut session: Session) -> io::Result<()> {
    let timer = tokio::time::sleep(Duration::ZERO);
    tokio::pin!(timer);
    let mut armed = 0;
    let mut flow = Flow::Open;
    loop {
        let account = Arc::clone(session.account());
        let wake = account.wake.notified();
        tokio::pin!(wake);
        wake.as_mut().enable();
        let next = session.settle(&mut link.out)?;
        link.send()?;
        if flow == Flow::Close {
            return Ok(());
        }
        // The timer is set again only when it would come too late; one that comes too early finds nothing to do.
        if next < armed || timer.is_elapsed() {
            armed = next;
            let wait = Duration::from_micros(next.saturating_sub(session.now())).min(TIMER_MAX);
            timer.as_mut().reset(tokio::time::Instant::now() + wait);
        }
        tokio::select! {
            ready = link.ready() => { ready?; }
            () = wake => {}
            () = &mut timer => {}
        }
        session.begin();
        flow = session.tick(&mut link.out);
        if flow == Flow::Open && link.receive()? {
            flow = read(&mut link, &mut session);
        }
    }
}

/// Takes every whole PDU that has been read.
fn read(link: &mut Link, session: &mut Session) -> Flow {
    loop {
        match link.frames.next_pdu() {
            Ok(Some(pdu)) => {
                if session.take(pdu, &mut link.out) == Flow::Close {
                    return Flow::Close;
                }
            }
            Ok(None) => return Flow::Open,
            Err(error) => {
                session.framing_failed(error.sequence, &mut link.out);
                return Flow::Close;
            }
        }
    }
}

#[cfg(test)]
mod tests;
