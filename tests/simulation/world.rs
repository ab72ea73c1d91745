//! What everybody in a run shares: its plan, its lines, its disk, its trace, and what the tenants have seen. It checks nothing.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{Arguments, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use codecs::instant::Wall;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::dice::Dice;
use crate::disk::Disk;
use crate::http::Call;
use crate::net::{Net, Stream};
use crate::operator::Rule;
use crate::plan::{Plan, Planted};
use crate::provider::Hub;
use crate::watch::Watch;

/// When the runs begin, in milliseconds since 1970.
const WALL_FIRST: i64 = 1_795_182_600_000;

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    static JUMPED: Cell<i64> = const { Cell::new(0) };
}

/// The wall clock of the run on this thread.
pub fn wall() -> Wall {
    let since = BEGAN.get().map_or(Duration::ZERO, |began| began.elapsed());
    Wall(WALL_FIRST + JUMPED.get()).after(since)
}

pub fn jump(millis: i64) {
    JUMPED.set(JUMPED.get() + millis);
}

/// Lets virtual time pass.
pub async fn pass(duration: Duration) {
    sleep_until(Instant::now() + duration).await;
}

/// What a tenant knows of one of its messages.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub tenant: usize,
    pub campaign: Option<&'static str>,
    pub registered: bool,
    /// The id, once it is acknowledged.
    pub id: Option<u64>,
    pub acked_at: Option<Instant>,
    /// The states of the receipts that came for it.
    pub told: Vec<u8>,
    pub refused: bool,
}

/// What the tenants have seen, by the phone that a message is for: each goes to another one.
#[derive(Default)]
pub struct Book {
    pub seen: BTreeMap<u64, Seen>,
    /// What phones have written, as tenants have heard it.
    pub heard: BTreeMap<u64, Vec<(usize, Vec<u8>)>>,
    /// What is still to be submitted, by tenant.
    pub todo: Vec<VecDeque<u64>>,
    /// Submissions without an answer yet.
    pub unanswered: u32,
    /// The phones whose messages their tenant was told are cancelled.
    pub cancelled: BTreeSet<u64>,
    /// The text that a tenant was last told its message to this phone has.
    pub replaced: BTreeMap<u64, Vec<u8>>,
    /// What operators were told holds.
    pub rules: Vec<Rule>,
    /// How often they have begun to end some, and how many of those orders have no answer yet.
    pub endings: u64,
    pub ending: u64,
    pub tally: Tally,
}

/// How often what was tried has been answered as it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub accepted: u64,
    pub replayed: u64,
    pub mismatched: u64,
    pub read: u64,
    pub listed: u64,
    pub cancelled: u64,
    pub replaced: u64,
    pub rules: u64,
    pub bounced: u64,
    pub moved: u64,
    pub let_go: u64,
    pub resolved: u64,
    pub asked: u64,
    /// Messages that came to a provider in a submit_multi.
    pub together: u64,
    pub parked: u64,
    pub read_back: u64,
    pub months: u64,
    pub retired: u64,
    pub heard: u64,
}

struct Trace {
    hash: u64,
    line: String,
    shows: bool,
}

pub struct World {
    pub seed: u64,
    pub plan: Plan,
    pub planted: Planted,
    pub net: Net,
    pub disk: Disk,
    pub hubs: Vec<Arc<Hub>>,
    /// Where connections are accepted, while the gateway is up.
    pub front: Mutex<Option<mpsc::Sender<(Stream, SocketAddr)>>>,
    /// Where HTTP requests are taken, likewise.
    pub doors: Mutex<Option<mpsc::Sender<Call>>>,
    /// What the writer has decided.
    pub watch: Mutex<Watch>,
    /// What the product's directory is made of.
    pub accounts: Vec<config::Tenant>,
    /// No more faults: what is open can end.
    pub is_calm: AtomicBool,
    book: Mutex<Book>,
    trace: Mutex<Trace>,
    failure: Mutex<Option<String>>,
}

impl World {
    /// To be called inside of the run's runtime.
    pub fn new(seed: u64, planted: Planted, shows: bool) -> Arc<World> {
        let mut dice = Dice::new(seed);
        let plan = Plan::new(&mut dice);
        BEGAN.set(Some(Instant::now()));
        JUMPED.set(0);
        // Where turns are counted nobody writes.
        let tenants = if plan.is_fair { 0 } else { plan.tenants.len() };
        let hubs = (0..).zip(&plan.providers);
        let hubs = hubs.map(|(place, provider)| Hub::new(provider.clone(), dice.word(), place, tenants));
        let todo = plan.tenants.iter().enumerate().map(|(index, tenant)| {
            let first = 254_700_000_000 + index as u64 * 1_000_000;
            (first..first + u64::from(tenant.messages)).collect()
        });
        let book = Book { todo: todo.collect(), ..Book::default() };
        let disk = Disk::default();
        disk.lock().months.period = plan.archive_period;
        disk.lock().late_ids.period = plan.archive_period;
        Arc::new(World {
            seed,
            planted,
            net: Net::default(),
            disk,
            hubs: hubs.collect(),
            front: Mutex::default(),
            doors: Mutex::default(),
            watch: Mutex::default(),
            accounts: plan.accounts(),
            is_calm: AtomicBool::new(plan.is_fair || plan.is_gentle),
            book: Mutex::new(book),
            trace: Mutex::new(Trace { hash: 0xcbf2_9ce4_8422_2325, line: String::new(), shows }),
            failure: Mutex::default(),
            plan,
        })
    }

    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("the book is never left half written")
    }

    pub fn is_calm(&self) -> bool {
        self.is_calm.load(Relaxed)
    }

    /// A step of the run: part of what two runs of a seed must have in common.
    pub fn note(&self, what: Arguments<'_>) {
        let at = BEGAN.get().map_or(0, |began| began.elapsed().as_micros());
        let mut trace = self.trace.lock().expect("the trace is whole");
        let Trace { hash, line, shows } = &mut *trace;
        line.clear();
        // A String takes everything.
        let _ = write!(line, "{:>5}.{:03} {what}", at / 1_000_000, at / 1_000 % 1_000);
        for octet in line.as_bytes() {
            *hash = (*hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        }
        if *shows {
            println!("{line}");
        }
    }

    pub fn hash(&self) -> u64 {
        self.trace.lock().expect("the trace is whole").hash
    }

    /// A promise was broken. The first one counts.
    pub fn fail(&self, what: String) {
        self.note(format_args!("FAILED: {what}"));
        self.failure.lock().expect("a failure is whole").get_or_insert(what);
    }

    pub fn failure(&self) -> Option<String> {
        self.failure.lock().expect("a failure is whole").clone()
    }

    /// Nobody comes in any more.
    pub fn close(&self) {
        *self.front.lock().expect("the front is whole") = None;
        *self.doors.lock().expect("the doors are whole") = None;
    }

    /// A connection to the gateway, if it is up and accepts.
    pub fn connect(&self, tenant: usize, dice: &mut Dice) -> Option<Stream> {
        let front = self.front.lock().expect("the front is whole").clone()?;
        let (ours, theirs) = self.net.line(dice, self.plan.delay_max, self.plan.room);
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, tenant as u8 + 1));
        front.try_send((theirs, SocketAddr::new(address, 4_000))).ok()?;
        Some(ours)
    }
}
