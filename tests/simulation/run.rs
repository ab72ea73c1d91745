//! One run from its seed to its verdict: the tenants and the gateway are started, what is planned befalls them, and then
//! everything is let come to its end.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::caller;
use crate::dice::Dice;
use crate::gateway::{self, Gateway, Living, clock};
use crate::operator;
use crate::plan::{Event, Planted};
use crate::verdict;
use crate::world::{Tally, World, jump, pass, wall};

/// Messages that are cancelled in one go.
const CANCELLED_AT_ONCE: usize = 10;
/// In which quiet round old months are removed.
const RETIRES_AT: u32 = 4;

/// Something that is to happen in a good share of the runs, and how often it has.
type Kind = (&'static str, fn(&Tally) -> u64);

pub const KINDS: [Kind; 19] = [
    ("accepted over HTTP", |tally| tally.accepted),
    ("replayed under a key", |tally| tally.replayed),
    ("refused another body", |tally| tally.mismatched),
    ("read", |tally| tally.read),
    ("listed", |tally| tally.listed),
    ("cancelled", |tally| tally.cancelled),
    ("replaced", |tally| tally.replaced),
    ("rules", |tally| tally.rules),
    ("bounced", |tally| tally.bounced),
    ("moved", |tally| tally.moved),
    ("let go", |tally| tally.let_go),
    ("resolved", |tally| tally.resolved),
    ("asked by query_sm", |tally| tally.asked),
    ("in a submit_multi", |tally| tally.together),
    ("parked", |tally| tally.parked),
    ("read back", |tally| tally.read_back),
    ("several months", |tally| tally.months.saturating_sub(1)),
    ("retired", |tally| tally.retired),
    ("heard from phones", |tally| tally.heard),
];

/// What a run was like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub hash: u64,
    pub messages: u64,
    pub acknowledged: u64,
    pub kills: u64,
    pub stops: u64,
    pub doubled: u64,
    pub virtual_seconds: u64,
    pub tally: Tally,
    /// Runs in which each of these happened, in the order of `KINDS`.
    pub with: [u64; KINDS.len()],
}

impl Report {
    pub fn add(&mut self, other: &Report) {
        self.hash ^= other.hash;
        self.messages += other.messages;
        self.acknowledged += other.acknowledged;
        self.kills += other.kills;
        self.stops += other.stops;
        self.doubled += other.doubled;
        self.virtual_seconds += other.virtual_seconds;
        for (sum, (_, count)) in self.with.iter_mut().zip(KINDS) {
            *sum += u64::from(count(&other.tally) > 0);
        }
    }
}

thread_local! {
    static BROKEN: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A broken invariant in a task of the run is the run's failure, and is not printed.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |broken| {
            let is_test = !RUNS.get();
            if is_test {
                return usual(broken);
            }
            let place = broken.location().map(ToString::to_string).unwrap_or_default();
            let what = broken.payload_as_str().unwrap_or("no words");
            BROKEN.with_borrow_mut(|first| {
                first.get_or_insert(format!("a broken invariant at {place}: {what}"));
            });
        }));
    });
}

thread_local! {
    static RUNS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs one seed; the failure, if a promise was broken.
pub fn run(seed: u64, planted: Planted, shows: bool) -> Result<Report, String> {
    watch_panics();
    BROKEN.take();
    RUNS.set(true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let world = World::new(seed, planted, shows);
            let outcome = Run::new(&world).live().await;
            let failure = world.failure().or_else(|| BROKEN.take());
            failure.map_or(outcome, Err)
        })
    }));
    drop(runtime);
    RUNS.set(false);
    outcome.unwrap_or_else(|_| Err(BROKEN.take().unwrap_or_default()))
}

struct Run {
    world: Arc<World>,
    dice: Dice,
    gateway: Option<Gateway>,
    report: Report,
    began: Instant,
}

impl Run {
    fn new(world: &Arc<World>) -> Run {
        let dice = Dice::new(world.seed ^ 0x5EED);
        let (gateway, report) = (None, Report::default());
        Run { world: Arc::clone(world), dice, gateway, report, began: Instant::now() }
    }

    async fn live(mut self) -> Result<Report, String> {
        self.start()?;
        let world = Arc::clone(&self.world);
        let mut tenants = JoinSet::new();
        for (index, tenant) in world.plan.tenants.iter().enumerate() {
            for number in 0..tenant.sessions {
                let seed = self.dice.word();
                tenants.spawn(crate::tenant::run(Arc::clone(&world), index, number, seed));
            }
            for number in 0..tenant.callers {
                let seed = self.dice.word();
                tenants.spawn(crate::caller::run(Arc::clone(&world), index, number, seed));
            }
        }
        for (at, event) in world.plan.events.clone() {
            self.until(self.began + at).await?;
            self.befall(event).await?;
        }
        self.calm().await?;
        self.finish().await?;
        tenants.shutdown().await;
        Ok(self.report)
    }

    /// Starts a process. Everything that was acknowledged must be there before it does anything.
    fn start(&mut self) -> Result<(), String> {
        let clock = clock();
        let opened = gateway::open(&self.world, clock)?;
        verdict::all_are_found(&self.world, &opened)?;
        self.gateway = Some(Gateway::start(&self.world, opened, clock, &mut self.dice)?);
        self.world.note(format_args!("the gateway is up"));
        Ok(())
    }

    /// Waits; a process that ends by itself meanwhile is started again.
    async fn until(&mut self, at: Instant) -> Result<(), String> {
        while Instant::now() < at {
            if let Some(failure) = self.world.failure().or_else(|| BROKEN.take()) {
                return Err(failure);
            }
            let died = self.gateway.as_ref().map(|gateway| Arc::clone(&gateway.died));
            let Some(died) = died else { return Err("no gateway".to_owned()) };
            let look_again = at.min(Instant::now() + Duration::from_secs(1));
            let has_died = tokio::select! {
                biased;
                () = died.notified() => true,
                () = sleep_until(look_again) => false,
            };
            if has_died {
                self.report.stops += 1;
                self.die().await?;
            }
        }
        Ok(())
    }

    /// The process is gone at once, and after a while there is another one.
    async fn die(&mut self) -> Result<(), String> {
        if let Some(gateway) = self.gateway.take() {
            gateway.kill(&self.world, &mut self.dice).await;
        }
        self.world.note(format_args!("the gateway is dead"));
        pass(Duration::from_millis(self.dice.in_range(0..5_000))).await;
        self.start()
    }

    async fn befall(&mut self, event: Event) -> Result<(), String> {
        self.world.note(format_args!("{event:?}"));
        match event {
            Event::Kill => {
                self.report.kills += 1;
                if self.world.planted == Planted::LostGroup {
                    self.world.disk.lose_a_group();
                }
                if self.world.planted == Planted::LostParked {
                    self.world.disk.lose_parked();
                }
                self.die().await?;
            }
            Event::Restart => {
                if let Some(gateway) = self.gateway.take() {
                    gateway.end(&self.world, &mut self.dice).await;
                }
                self.start()?;
            }
            Event::Cut => self.world.net.cut_one(&mut self.dice),
            Event::Stall(pause) => self.world.net.stall_one(&mut self.dice, pause),
            Event::Refuse(calls, how) => self.world.disk.refuse_after(calls, how),
            Event::Jump(millis) => jump(millis),
            Event::ProviderDown(index) => self.world.hubs[index].set_down(true),
            Event::ProviderUp(index) => self.world.hubs[index].set_down(false),
            Event::Cancel => self.cancel(),
            Event::Operate(kind) => {
                drop(tokio::spawn(operator::operate(Arc::clone(&self.world), kind, self.dice.word())));
            }
            Event::DiskNearlyFull(is_so) => {
                if let Some(gateway) = &self.gateway {
                    gateway.disk_is_nearly_full(is_so).await;
                }
            }
        }
        Ok(())
    }

    /// Tenants ask to cancel the messages that were accepted last.
    fn cancel(&mut self) {
        let accepted: Vec<(u64, u64, usize)> = {
            let book = self.world.book();
            let accepted = book.seen.iter().filter_map(|(phone, seen)| Some((*phone, seen.id?, seen.tenant)));
            accepted.rev().take(CANCELLED_AT_ONCE).collect()
        };
        for (phone, id, tenant) in accepted {
            let seed = self.dice.word();
            tokio::spawn(caller::cancel(Arc::clone(&self.world), phone, id, tenant, seed));
        }
    }

    /// No more faults: everything that is open comes to its end, or the run fails.
    async fn calm(&mut self) -> Result<(), String> {
        self.world.note(format_args!("calm"));
        self.world.is_calm.store(true, Relaxed);
        self.world.hubs.iter().for_each(|hub| hub.set_down(false));
        let deadline = gateway::deadline();
        let mut quiet = 0;
        loop {
            self.until(Instant::now() + Duration::from_secs(10)).await?;
            if quiet == 0 && !self.world.plan.is_fair {
                let settling = operator::settle(Arc::clone(&self.world), self.dice.word());
                drop(tokio::spawn(settling));
            }
            let living = self.look();
            let open = verdict::still_open(&self.world, &living);
            self.world.note(format_args!("open: {open:?}"));
            match open {
                None => quiet += 1,
                Some(_) if Instant::now() < deadline => quiet = 0,
                Some(open) => return Err(format!("it does not come to an end: {open}")),
            }
            if quiet == RETIRES_AT {
                self.retire().await;
            }
            // Some more, for what comes twice and for the archive.
            if quiet == 8 {
                return Ok(());
            }
        }
    }

    /// What is older than a month or two goes.
    async fn retire(&mut self) {
        let Some(gateway) = &self.gateway else { return };
        let age = self.dice.in_range(0..200_000) as i64;
        let months = self.world.disk.lock().months.databases() as u64;
        let living = self.look().iter().map(|living| engine::pages::block_of(living.number)).min();
        gateway.history.retire(wall().0 - age, living).await;
        if self.world.planted == Planted::EagerRetention {
            self.world.disk.lock().months.lose_oldest();
        }
        let left = self.world.disk.lock().months.databases() as u64;
        let mut book = self.world.book();
        (book.tally.months, book.tally.retired) = (months.max(1), months - left);
        self.world.note(format_args!("of {months} months {left} are left"));
    }

    /// What the engine had in memory at the last look; asks for the next one.
    fn look(&self) -> Vec<Living> {
        let Some(gateway) = &self.gateway else { return Vec::new() };
        let mut window = gateway.window.lock().expect("the window is whole");
        window.asked = true;
        window.living.clone()
    }

    /// The last kill; what the disk holds then is judged.
    async fn finish(&mut self) -> Result<(), String> {
        if let Some(gateway) = self.gateway.take() {
            gateway.kill(&self.world, &mut self.dice).await;
        }
        let opened = gateway::open(&self.world, clock())?;
        self.report.virtual_seconds = self.began.elapsed().as_secs();
        self.report.hash = self.world.hash();
        self.report.tally = self.world.book().tally;
        self.report.tally.parked = self.world.disk.parked_ever();
        verdict::judge(&self.world, &opened, &mut self.report)
    }
}
