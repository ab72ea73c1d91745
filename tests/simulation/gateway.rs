//! The gateway in a run: the product's own parts, joined as `serve` joins them, each a task of the one thread. It can be
//! killed between any two of their steps, and drained.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connectors::admission::Admission;
use connectors::clock::Clock;
use connectors::intake::{Lane, Source, Wakes};
use connectors::partition::Partition;
use connectors::reply::Replies;
use connectors::smpp::client::{ProviderBind, ProviderBindOptions};
use connectors::smpp::server::{Server, ServerOptions};
use connectors::smpp::{Phase, Phases};
use engine::Engine;
use engine::command::{Command, DiskLevel};
use engine::effect::Shelf;
use engine::id::Permutation;
use engine::message::State;
use ring::digest;
use storage::journal::{self, Options};
use storage::log::Durability;
use tidegate::api::{self, ApiState};
use tidegate::commit::{self, Committer, Decided, Outlets, Writer};
use tidegate::directory::{Account, Directory, Entries};
use tidegate::history::{Archivist, History, Stores};
use tidegate::measure::Measures;
use tidegate::operate::{self, Operations};
use tidegate::ops::Health;
use tidegate::tlv_names::TlvNames;
use tidegate::{fold, moment, store};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::disk::Files;
use crate::http::{ADMINISTRATOR, Doors};
use crate::net::Stream;
use crate::plan::Planted;
use crate::planted;
use crate::provider::Door;
use crate::verdict;
use crate::watch::Watch;
use crate::world::{World, pass, wall};

/// The key of message ids, the same for every run.
pub const ID_KEY: [u8; 32] = [7; 32];
/// Connections that wait to be accepted.
const FRONT: usize = 64;

/// A message in memory.
#[derive(Clone, Copy, Debug)]
pub struct Living {
    pub number: u64,
    pub state: State,
    pub is_done: bool,
}

/// What the writer lets the run see of the engine.
#[derive(Default)]
pub struct Window {
    /// What it had in memory when it was last asked.
    pub living: Vec<Living>,
    pub asked: bool,
}

/// A process: what it is made of, and the ways to end it.
pub struct Gateway {
    tasks: JoinSet<()>,
    bells: Bells,
    partition: Partition,
    replies: Arc<Replies>,
    health: Arc<Health>,
    process_lane: Lane,
    pub window: Arc<Mutex<Window>>,
    pub history: Arc<History>,
    /// Told when the process has ended by itself.
    pub died: Arc<Notify>,
}

/// Tells each task of the phase by a channel of its own: tokio wakes those that share one in an order that it draws.
#[derive(Clone, Default)]
struct Bells(Arc<Mutex<(Phase, Vec<watch::Sender<Phase>>)>>);

impl Bells {
    fn phases(&self) -> Phases {
        let mut bells = self.0.lock().expect("the bells are whole");
        let (sender, phases) = Phases::channel();
        sender.send_replace(bells.0);
        bells.1.retain(|sender| !sender.is_closed());
        bells.1.push(sender);
        phases
    }

    fn ring(&self, phase: Phase) {
        let mut bells = self.0.lock().expect("the bells are whole");
        bells.0 = phase;
        bells.1.iter().for_each(|sender| _ = sender.send_replace(phase));
    }
}

/// What the tasks of one process share.
#[derive(Clone)]
struct House {
    world: Arc<World>,
    partition: Partition,
    window: Arc<Mutex<Window>>,
    died: Arc<Notify>,
    archive_wanted: Arc<Notify>,
    checks: u64,
}

/// The engine as the disk has it, the archive's two ends, and the journal: what a start begins with.
pub struct Opened {
    pub engine: Engine,
    pub history: Arc<History>,
    archivist: Archivist,
    journal: journal::Journal,
    next_group: u64,
}

/// Opens the store and folds it. What stops it is a failure of the run.
pub fn open(world: &World, clock: Clock) -> Result<Opened, String> {
    let Files { log, side, blocks, parked, late_ids } = world.disk.open();
    let options = Options {
        durability: Durability::Fsync,
        ring_bytes_min: world.plan.ring,
        mark_every: if world.plan.marks { Duration::ZERO } else { Duration::MAX },
        ..Options::default()
    };
    let opened = journal::open_on(log, side, std::path::Path::new("simulated"), options);
    let (journal, recovery) = opened.map_err(|error| format!("the store does not open: {error}"))?;
    let mut engine = Engine::new(&ID_KEY, clock.system());
    let folded = fold::fold(recovery, &mut engine, |_| {});
    let next_group = folded.map_err(|error| format!("the journal cannot be folded: {error}"))?;
    let found = moment::flushes(blocks.as_ref(), parked.as_ref(), late_ids.as_ref());
    let (known, found) = (engine.flushes(), found.map_err(|error| format!("nothing is counted: {error}"))?);
    if let Some(older) = moment::older(known, found).next() {
        return Err(format!("a part of the store is older than the journal: {older:?}"));
    }
    engine.found_flushes(found);
    if let Some(beyond) = moment::beyond(&*blocks.reader(), &*parked.reader(), &engine) {
        return Err(format!("the journal is behind: {beyond:?}"));
    }
    store::fold_parked(parked.as_ref(), &mut engine)
        .map_err(|error| format!("what is parked cannot be folded: {error}"))?;
    store::fold_archived(&*blocks.reader(), &mut engine)
        .map_err(|error| format!("what the archive has cannot be folded: {error}"))?;
    let (history, archivist) = History::over(Stores { archive: blocks, parked, late_ids });
    Ok(Opened { engine, history: Arc::new(history), archivist, journal, next_group })
}

impl Gateway {
    /// Starts a process over an opened store.
    pub fn start(
        world: &Arc<World>,
        opened: Opened,
        clock: Clock,
        dice: &mut Dice,
    ) -> Result<Gateway, String> {
        let messages = verdict::all_messages(world, &opened)?;
        let Opened { mut engine, history, archivist, journal, next_group } = opened;
        let definitions = world.plan.definitions(world.planted);
        let recovered = engine.recovered(definitions, clock.system(), next_group);
        recovered.map_err(|error| format!("the engine does not recover: {error}"))?;
        engine.check();
        let (tenants, providers) = engine.names();
        *world.watch.lock().expect("the watch is whole") =
            Watch::begin((tenants.clone(), providers.clone()), &messages);
        let house = House {
            world: Arc::clone(world),
            partition: Partition::new(clock),
            window: Arc::default(),
            died: Arc::default(),
            archive_wanted: Arc::default(),
            checks: dice.in_range(1..20),
        };
        let partition = house.partition.clone();
        let replies = Replies::new();
        let handing_out = Arc::clone(&replies);
        let health = Health::new();
        let outlets = Outlets {
            partition: partition.clone(),
            replies: Arc::clone(&replies),
            history: Arc::clone(&history),
            health: Arc::clone(&health),
            measures: Arc::new(Measures::new(true)),
        };
        let (writer, committer) = commit::halves(engine, journal, next_group, outlets);
        let bells = Bells::default();
        let (decided, to_commit) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        tasks.spawn(write(house.clone(), writer, decided));
        tasks.spawn(commit(house.clone(), committer, to_commit, Dice::new(dice.word())));
        let lane = partition.intake.lane(Source::Process);
        let stopped = lane.clone();
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = handing_out.hand_out() => {}
                () = stopped.stopped() => {}
            }
        });
        tasks.spawn(archive(house.clone(), archivist, lane.clone(), Dice::new(dice.word())));
        spawn_binds(&mut tasks, world, &providers, &partition, &bells, dice);
        let (directory, admission) = (directory(world, &tenants, &providers), Admission::new());
        let authenticator = Arc::clone(&directory) as _;
        let server =
            Server::new(ServerOptions::default(), partition.clone(), authenticator, Arc::clone(&admission));
        let (front, connections) = mpsc::channel(FRONT);
        *world.front.lock().expect("the front is whole") = Some(front);
        tasks.spawn(accept(server, connections, bells.clone()));
        let state = ApiState {
            directory,
            admission,
            intake: Arc::clone(&partition.intake),
            replies: Arc::clone(&replies),
            history: Arc::clone(&history) as _,
            health: Arc::clone(&health),
            counts: Arc::default(),
            ids: Arc::new(Permutation::new(&ID_KEY)),
            clock,
            limits: api::Limits::default(),
            bodies: api::Bodies::new(usize::MAX, usize::MAX),
        };
        let (front, calls) = mpsc::channel(FRONT);
        *world.doors.lock().expect("the doors are whole") = Some(front);
        tasks.spawn(doors(state).serve(calls, lane.clone()));
        health.set_started();
        let (window, died) = (house.window, house.died);
        Ok(Gateway { tasks, bells, partition, replies, health, process_lane: lane, window, history, died })
    }

    /// SIGKILL: nothing of the process runs any more.
    pub async fn kill(mut self, world: &World, dice: &mut Dice) {
        world.close();
        world.disk.crash(dice);
        self.tasks.shutdown().await;
    }

    /// SIGTERM: as `serve` ends. It is killed if that takes too long.
    pub async fn end(mut self, world: &World, dice: &mut Dice) {
        world.close();
        self.health.set_draining();
        self.bells.ring(Phase::Draining);
        let (reply, drained) = self.replies.open();
        let drained_in_time = match self.process_lane.offer(Command::Drain { reply }).await {
            Ok(()) => tokio::time::timeout(Duration::from_secs(15), drained).await.is_ok(),
            Err(_) => false,
        };
        self.bells.ring(Phase::Closing);
        pass(Duration::from_secs(6)).await;
        self.partition.intake.close();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let closed = tokio::time::timeout(Duration::from_secs(60), all).await.is_ok();
        world.note(format_args!("ended; drained: {drained_in_time}, closed: {closed}"));
        if !closed && world.failure().is_none() && !world.disk.refuses() {
            world.fail("a process that was told to end does not".to_owned());
        }
        world.disk.crash(dice);
        self.tasks.shutdown().await;
    }

    pub async fn disk_is_nearly_full(&self, is_so: bool) {
        let level = if is_so { DiskLevel::RefuseIntake } else { DiskLevel::Fine };
        self.health.set_storage_full(is_so);
        // One that is stopping needs no telling.
        let _ = self.process_lane.offer(Command::Disk(level)).await;
    }
}

/// Who may come in, by the permanent numbers that the engine gave.
fn directory(world: &World, tenants: &[String], providers: &[String]) -> Arc<Directory> {
    let accounts = world.accounts.iter().filter_map(|tenant| {
        let number = tenants.iter().position(|id| *id == tenant.id)? as u32;
        Some(Account { number, tenant, key_hashes: &[] })
    });
    let providers = (0u16..).zip(providers.iter().cloned());
    Directory::new(Entries::new(accounts, providers, TlvNames::default()))
}

fn doors(state: ApiState) -> Doors {
    let hash = digest::digest(&digest::SHA256, ADMINISTRATOR.as_bytes());
    let operations = Operations {
        administrator: hash.as_ref().try_into().expect("SHA-256 has 32 octets"),
        intake: Arc::clone(&state.intake),
        replies: Arc::clone(&state.replies),
        ids: Arc::clone(&state.ids),
        clock: state.clock,
        counts: Arc::default(),
        binds: Arc::default(),
    };
    Doors { api: api::router(state), operations: operate::router(Arc::new(operations)) }
}

fn spawn_binds(
    tasks: &mut JoinSet<()>,
    world: &Arc<World>,
    names: &[String],
    partition: &Partition,
    bells: &Bells,
    dice: &mut Dice,
) {
    for hub in &world.hubs {
        let Some(number) = names.iter().position(|name| *name == hub.plan.id) else { continue };
        let factor = if world.planted == Planted::WindowOverrun { 2 } else { 1 };
        for bind in 0..hub.plan.binds {
            let options = ProviderBindOptions {
                provider: number as u16,
                bind,
                provider_id: hub.plan.id.clone(),
                window: hub.plan.window * factor,
                submit_multi: hub.plan.submit_multi,
                seed: Some(dice.word()),
                ..ProviderBindOptions::default()
            };
            let door = Door { world: Arc::clone(world), hub: Arc::clone(hub) };
            let bind = ProviderBind::over(door, options, partition.clone());
            tasks.spawn(bind.run(bells.phases()));
        }
    }
}

async fn accept(server: Server, mut connections: mpsc::Receiver<(Stream, SocketAddr)>, bells: Bells) {
    let mut open = JoinSet::new();
    let mut watched = bells.phases();
    loop {
        tokio::select! {
            biased;
            _ = watched.after(Phase::Running) => break,
            Some(_) = open.join_next() => {}
            accepted = connections.recv() => match accepted {
                Some((stream, from)) => {
                    let (server, phases) = (server.clone(), bells.phases());
                    open.spawn(async move { server.converse(stream, from, phases).await });
                }
                None => break,
            },
        }
    }
    while open.join_next().await.is_some() {}
}

/// The writer's thread as a task.
async fn write(house: House, mut writer: Writer, decided: mpsc::Sender<Decided>) {
    let mut commands = Vec::new();
    let mut turns = 0u64;
    let mut groups: Vec<Decided> = writer.take_group().into_iter().collect();
    loop {
        for group in groups.drain(..) {
            if decided.send(group).await.is_err() {
                return;
            }
        }
        let intake = &house.partition.intake;
        let now = Some(std::time::Instant::now());
        let mut is_open = intake.take(now, Wakes::Any, &mut commands);
        if is_open && commands.is_empty() {
            let wake = writer.wake_after().max(Duration::from_millis(1));
            let _ = tokio::time::timeout(wake, intake.arrival()).await;
            is_open = intake.take(now, Wakes::Any, &mut commands);
        }
        if !is_open {
            return;
        }
        planted::alter_commands(&house.world, &house.partition, &mut commands);
        writer.decide(&mut commands, |group| {
            groups.push(group);
            true
        });
        groups.extend(writer.take_group());
        let mut watch = house.world.watch.lock().expect("the watch is whole");
        groups.iter().for_each(|decided| watch.see(&house.world, &decided.group.records));
        drop(watch);
        turns += 1;
        if turns.is_multiple_of(house.checks) {
            writer.engine().check();
        }
        house.show(writer.engine());
    }
}

impl House {
    fn show(&self, engine: &Engine) {
        let mut window = self.window.lock().expect("the window is whole");
        if std::mem::take(&mut window.asked) {
            let living = engine.living().map(|message| Living {
                number: message.number,
                state: message.state,
                is_done: message.is_done(),
            });
            window.living = living.collect();
        }
    }
}

/// The committer's thread as a task. A disk that refuses ends the process, and nothing of the group is released.
async fn commit(
    house: House,
    mut committer: Committer,
    mut decided: mpsc::Receiver<Decided>,
    mut dice: Dice,
) {
    let flush_max = house.world.plan.flush_max;
    loop {
        let next = tokio::time::timeout(Duration::from_secs(1), decided.recv()).await;
        let done = match next {
            Ok(Some(mut decided)) => {
                planted::alter_group(&house.world, &mut decided);
                if house.world.planted == Planted::EarlyRelease {
                    committer.release(std::mem::take(&mut decided.group.effects));
                }
                pass(Duration::from_millis(dice.in_range(0..flush_max + 1))).await;
                let written = committer.write(&decided);
                // A kill may come between the flush and the release.
                if written.is_ok() && dice.happens(2) {
                    pass(Duration::from_millis(dice.in_range(0..50))).await;
                }
                written.map(|()| {
                    committer.release(decided.group.effects);
                    house.archive_wanted.notify_one();
                })
            }
            Ok(None) => {
                if let Err(error) = committer.close() {
                    house.world.note(format_args!("not closed: {error}"));
                }
                return;
            }
            Err(_) => committer.mark(),
        };
        if let Err(error) = done {
            house.stop(&error.to_string()).await;
        }
    }
}

impl House {
    /// What the product does by `exit`.
    async fn stop(&self, error: &str) {
        self.world.note(format_args!("the process stops: {error}"));
        self.died.notify_one();
        std::future::pending().await
    }
}

/// The archive's thread as a task.
async fn archive(house: House, mut archivist: Archivist, lane: Lane, mut dice: Dice) {
    if let Err(error) = archivist.restore_index() {
        house.stop(&error.to_string()).await;
    }
    loop {
        let wanted = tokio::time::timeout(Duration::from_secs(1), house.archive_wanted.notified());
        tokio::select! {
            biased;
            () = lane.stopped() => return,
            _ = wanted => {}
        }
        let plan = &house.world.plan;
        let stall = if house.world.is_calm() { 0 } else { plan.archive_stall };
        pass(Duration::from_millis(dice.in_range(0..plan.flush_max * 3 + stall + 1))).await;
        let work = archivist.work();
        match archivist.turn(&work) {
            Ok(told) => {
                for command in told {
                    if let Command::Loaded { blocks } = &command {
                        let parked = blocks.iter().filter(|block| block.load.shelf == Shelf::Parked);
                        house.world.book().tally.read_back += parked.count() as u64;
                    }
                    // A process that is stopping needs no telling.
                    let _ = lane.offer(command).await;
                }
            }
            Err(error) => house.stop(&error.to_string()).await,
        }
    }
}

/// A clock that begins now.
pub fn clock() -> Clock {
    Clock::with_wall(wall)
}

/// When a run must have come to its end, at the latest.
pub fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(4 * 3_600)
}
