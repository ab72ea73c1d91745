//! `tidegate serve`: opens the store, starts every part and joins them, runs until a signal, drains, ends.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use config::Config;
use connectors::admission::Admission;
use connectors::clock::Clock;
use connectors::intake::Source;
use connectors::partition::Partition;
use connectors::reply::Replies;
use connectors::smpp::client::{ProviderBind, Shared};
use connectors::smpp::counters::{RefusalCounters, ServerCounters};
use connectors::smpp::lockout::{Lockout, LockoutOptions};
use connectors::smpp::server::{Entrance, Server, ServerOptions};
use connectors::smpp::{Phase, Phases, Status};
use connectors::tls;
use engine::Engine;
use engine::command::{Command, DiskLevel, Query};
use engine::effect::{OnTheWay, Reply};
use engine::id::Permutation;
use rustls::ServerConfig;
use storage::layout::Layout;
use storage::space::{self, Level, Room};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api::{self, ApiState};
use crate::commit::{CommitLoop, Outlets};
use crate::descriptors::Caps;
use crate::directory::Directory;
use crate::first_run::{self, Announcement};
use crate::history::{History, Stores};
use crate::lockouts::Lockouts;
use crate::measure::Measures;
use crate::metrics::{DoorCounts, Entry, Metrics, Snapshot};
use crate::operate::{self, Operations};
use crate::ops::{self, Health, OpsState};
use crate::reach::{self, ReachError, ReachedProviders};
use crate::secrets::KeyHash;
use crate::signals::{EndSignals, Opening};
use crate::store::{self, Store};
use crate::{definitions, descriptors, listen, providers, sandbox, settings};

/// How often metrics are published and the disk is looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// How often what is older than the retention is removed.
const RETIRING: Duration = Duration::from_secs(60);
/// How long the gateway must have run before old messages are removed by the system's clock; as long as a jump is doubted.
const CLOCK_TRIED: Duration = Duration::from_secs(300);
/// How long unbinding everything may take after the drain.
const CLOSING: Duration = Duration::from_secs(6);

/// Why the gateway did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Settings(#[from] settings::SettingsError),
    #[error(transparent)]
    Store(#[from] store::StoreStartError),
    #[error(transparent)]
    FirstRun(#[from] first_run::FirstRunError),
    #[error(transparent)]
    Replay(engine::ReplayError),
    #[error(
        "the wallet of tenant {tenant} does not add up: the journal and the parked store are not of one moment, or what they hold is damaged. `tidegate ledger verify --offline` with the same settings shows every wallet. Choices: put back a backup of the whole store; or put what `tidegate journal salvage DIR` writes in the place of the journal"
    )]
    Wallet { tenant: String },
    #[error(transparent)]
    Logging(#[from] crate::logging::LoggingError),
    #[error("cannot listen on {address} for {door}")]
    Listen { door: &'static str, address: SocketAddr, source: std::io::Error },
    #[error("stopped because the disk is nearly full; {mend}")]
    DiskFull { mend: &'static str },
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error("the keys of {door}'s TLS cannot be used")]
    Tls { door: &'static str, source: tls::TlsError },
    #[error("cannot start")]
    Start(#[source] std::io::Error),
    #[error(transparent)]
    Journal(#[from] storage::journal::JournalError),
}

impl ServeError {
    fn disk_full(layout: &Layout) -> ServeError {
        ServeError::DiskFull { mend: store::mend_of_full_disk(layout) }
    }
}

impl From<engine::ReplayError> for ServeError {
    fn from(error: engine::ReplayError) -> ServeError {
        match error {
            engine::ReplayError::Ledger { tenant } => ServeError::Wallet { tenant },
            other => ServeError::Replay(other),
        }
    }
}

/// Runs the gateway until it is told to end.
pub fn run(config: Option<&Path>, use_ballast: bool) -> ExitCode {
    let started = crate::logging::start().map_err(ServeError::from);
    let served = started.and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(ServeError::Start)?;
        // Before anything that takes time.
        let opening = runtime.block_on(async { Opening::begin() }).map_err(ServeError::Start)?;
        let config = settings::read_to_start(config)?;
        descriptors::raise();
        let clock = Clock::start();
        // Opened before anything else runs: it reads the whole ring.
        let store = store::open(&config, use_ballast, clock)?;
        let served = runtime.block_on(serve(config, store, clock, &runtime, opening));
        runtime.shutdown_timeout(Duration::from_secs(1));
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => store::failed(&error),
    }
}

/// The listening sockets, taken before anything is started that a taken port would have to stop again.
struct Listeners {
    http: TcpListener,
    http_tls: Option<Arc<ServerConfig>>,
    smpp: Vec<(TcpListener, Entrance)>,
    ops: TcpListener,
}

impl Listeners {
    async fn open(config: &Config) -> Result<Listeners, ServeError> {
        let listen = async |door: &'static str, address: SocketAddr| {
            TcpListener::bind(address).await.map_err(|source| ServeError::Listen { door, address, source })
        };
        let balancers = config.smpp.proxy_protocol.clone();
        let proxies: Option<Arc<dyn Fn(IpAddr) -> bool + Send + Sync>> = match balancers.is_empty() {
            true => None,
            false => Some(Arc::new(move |from| balancers.iter().any(|block| block.contains(from)))),
        };
        let plain = Entrance { tls: None, proxies: proxies.clone() };
        let mut smpp = vec![(listen("SMPP", config.smpp.listen).await?, plain)];
        if let Some(address) = config.smpp.tls_listen {
            let entrance = Entrance { tls: server_tls("SMPP", config.smpp.tls.as_ref())?, proxies };
            smpp.push((listen("SMPP with TLS", address).await?, entrance));
        }
        Ok(Listeners {
            http: listen("HTTP", config.http.listen).await?,
            http_tls: server_tls("HTTP", config.http.tls.as_ref())?,
            smpp,
            ops: listen("operations", config.ops.listen).await?,
        })
    }

    /// Where they really listen: a port of 0 in the settings means any.
    fn announcement(&self, config: &Config, sandbox: bool) -> Announcement {
        let local = |listener: &TcpListener, configured| listener.local_addr().unwrap_or(configured);
        Announcement {
            http: local(&self.http, config.http.listen),
            http_is_tls: self.http_tls.is_some(),
            smpp: self.smpp.first().map_or(config.smpp.listen, |(smpp, _)| local(smpp, config.smpp.listen)),
            smpp_tls: self
                .smpp
                .get(1)
                .zip(config.smpp.tls_listen)
                .map(|((smpp, _), listen)| local(smpp, listen)),
            ops: local(&self.ops, config.ops.listen),
            sandbox,
        }
    }
}

fn server_tls(
    door: &'static str,
    tls: Option<&config::Tls>,
) -> Result<Option<Arc<ServerConfig>>, ServeError> {
    reach::server_tls(tls).map_err(|source| ServeError::Tls { door, source })
}

/// What the doors and the housekeeping share.
#[derive(Clone)]
struct House {
    partition: Partition,
    replies: Arc<Replies>,
    health: Arc<Health>,
    measures: Arc<Measures>,
    metrics: Arc<Metrics>,
    doors: Arc<DoorCounts>,
    admission: Arc<Admission>,
    binds: Arc<providers::Watch>,
}

/// What the SMPP server counts and refuses.
struct SmppCounts {
    refusals: Arc<RefusalCounters>,
    server: Arc<ServerCounters>,
}

impl House {
    /// With the binds that the settings ask for, which are not begun yet.
    fn new(
        config: &Config,
        clock: Clock,
        provider_names: &[String],
        reached: &ReachedProviders,
        doors: Arc<DoorCounts>,
    ) -> (House, Vec<ProviderBind>) {
        let durable = store::durability(config) == storage::log::Durability::Fsync;
        let partition = Partition::new(clock);
        let (binds, watch) = providers::all(config, provider_names, &partition, reached);
        let house = House {
            partition,
            replies: Replies::new(),
            health: Health::new(),
            measures: Arc::new(Measures::new(durable)),
            metrics: Arc::new(Metrics::new()),
            doors,
            admission: Admission::new(),
            binds: Arc::new(watch),
        };
        (house, binds)
    }

    /// What has been counted and measured until now, for `/metrics` and for the housekeeping.
    fn publish(&self, smpp: &SmppCounts, archive_damaged: usize) -> Snapshot {
        let mut snapshot = self.measures.snapshot();
        snapshot.archive_damaged = archive_damaged;
        snapshot.server = smpp.server.snapshot();
        for (refusal, count) in smpp.refusals.snapshot() {
            snapshot.refused[refusal as usize] += count;
        }
        for (index, provider) in (0u16..).zip(&mut snapshot.providers) {
            provider.binds = self.binds.of(index).collect();
        }
        self.metrics.publish(&snapshot, &self.doors);
        snapshot
    }
}

async fn serve(
    mut config: Config,
    mut store: Store,
    clock: Clock,
    runtime: &tokio::runtime::Runtime,
    opening: Opening,
) -> Result<(), ServeError> {
    // Before a door opens: whoever has been let in is drained.
    let signals = opening.over().await.map_err(ServeError::Start)?;
    let listeners = Listeners::open(&config).await?;
    let doors = Arc::<DoorCounts>::default();
    let lockout = Arc::new(Lockout::new(LockoutOptions::default()));
    let outbind = Shared { lockout, counters: doors.connections(Entry::Outbind) };
    let (reached, keepers) = reach::open(&config, &outbind, clock).await?;
    let simulator = sandbox::stand_in(&mut config).await.map_err(ServeError::Start)?;
    let administrator = first_run::administrator(&mut store.catalog, store.layout.administrator_key())?;
    let first_run = first_run::tenants(&mut config, &mut store.catalog, &store.vault)?;
    store.engine.recovered(definitions::definitions(&config), clock.system(), store.next_group)?;
    let (tenant_names, provider_names) = store.engine.names();
    let directory = Directory::new(first_run.entries(&config, &tenant_names, &provider_names));
    let (house, binds) = House::new(&config, clock, &provider_names, &reached, doors);
    let ids = Arc::new(Permutation::new(&store.id_key));
    let lane = house.partition.intake.lane(Source::Process);
    let stores = Stores::new(store.archive, store.parked, store.late_ids);
    let (history, archive_thread) =
        History::start(stores, lane, runtime.handle().clone()).map_err(ServeError::Start)?;
    let outlets = Outlets {
        partition: house.partition.clone(),
        replies: Arc::clone(&house.replies),
        history: Arc::clone(&history),
        health: Arc::clone(&house.health),
        measures: Arc::clone(&house.measures),
    };
    let replies = Arc::clone(&house.replies);
    let handing_out = tokio::spawn(async move { replies.hand_out().await });
    house.measures.see(first_look(&store.engine, &config));
    house.measures.journal(|| store.journal.sizes());
    let commit = CommitLoop::start(store.engine, store.journal, store.next_group, outlets)
        .map_err(ServeError::Start)?;
    let (phase, phases) = Phases::channel();
    let announcement = listeners.announcement(&config, simulator.is_some());
    let caps = descriptors::caps(&config);
    let smpp = smpp_server(&config, caps, &house, &directory);
    let operations = operations(administrator.key_hash, &house, &ids);
    let state = api_state(&config, &house, directory, Arc::clone(&history) as _, ids);
    let counts = SmppCounts { refusals: smpp.refusals(), server: smpp.counters() };
    let lockouts = restored_lockouts(&store.layout, smpp.lockout(), outbind.lockout, clock);
    let doors = open_doors(listeners, caps, smpp, state, operations, &house, &phases);
    let binds = providers::start(binds, keepers, &phases);
    house.publish(&counts, history.damaged());
    let (keeper, room) = (Arc::clone(&history), store.room);
    let housekeeping =
        keep_house(house.clone(), counts, lockouts.clone(), config.clone(), keeper, room, phase.clone());
    let housekeeping = tokio::spawn(housekeeping);
    house.health.set_started();
    warn_of_durability(&config);
    crate::say::line(format_args!("{}", first_run.announce(&announcement, &administrator)));
    let disk_is_full = until_told_to_end(&phase, signals).await;
    end(&config, &house, phase, doors, binds).await;
    housekeeping.abort();
    lockouts.iter().for_each(Lockouts::keep);
    finish(house, commit, history, archive_thread).await?;
    handing_out.abort();
    if let Some(simulator) = simulator {
        simulator.shutdown().await;
    }
    tracing::info!("ended; everything is on disk");
    if disk_is_full { Err(ServeError::disk_full(&store.layout)) } else { Ok(()) }
}

fn smpp_server(config: &Config, caps: Caps, house: &House, directory: &Arc<Directory>) -> Server {
    let (partition, admission) = (house.partition.clone(), Arc::clone(&house.admission));
    Server::new(server_options(config, caps), partition, Arc::clone(directory) as _, admission)
}

/// The lock-outs of the process before: of tenants, and of outbind.
fn restored_lockouts(
    layout: &Layout,
    tenants: Arc<Lockout>,
    outbind: Arc<Lockout>,
    clock: Clock,
) -> [Lockouts; 2] {
    [
        Lockouts::restore(layout.lockouts(), tenants, clock),
        Lockouts::restore(layout.outbind_lockouts(), outbind, clock),
    ]
}

fn operations(administrator: KeyHash, house: &House, ids: &Arc<Permutation>) -> Operations {
    Operations {
        administrator,
        intake: Arc::clone(&house.partition.intake),
        replies: Arc::clone(&house.replies),
        ids: Arc::clone(ids),
        clock: house.partition.clock,
        counts: Arc::clone(&house.doors),
        binds: Arc::clone(&house.binds),
    }
}

fn warn_of_durability(config: &Config) {
    if store::durability(config) == storage::log::Durability::Os {
        tracing::warn!(
            "storage.durability is \"os\": answers do not wait for the disk, and a power failure loses them"
        );
    }
}

fn server_options(config: &Config, caps: Caps) -> ServerOptions {
    ServerOptions {
        system_id: config.smpp.system_id.clone(),
        no_credit_status: Status(config.smpp.no_credit_status),
        pdu_octets_max: usize::try_from(config.limits.pdu.0).unwrap_or(usize::MAX),
        tenant_octets_max: usize::try_from(config.limits.tenant_outgoing.0).unwrap_or(usize::MAX),
        session_init: config.limits.session_init,
        enquire_link: config.limits.enquire_link,
        inactivity: config.limits.inactivity,
        response_timeout: config.limits.response_timeout,
        connections_max: caps.smpp,
        unbound_max: caps.unbound,
        ..ServerOptions::default()
    }
}

fn api_state(
    config: &Config,
    house: &House,
    directory: Arc<Directory>,
    history: Arc<dyn api::History>,
    ids: Arc<Permutation>,
) -> ApiState {
    ApiState {
        directory,
        admission: Arc::clone(&house.admission),
        intake: Arc::clone(&house.partition.intake),
        replies: Arc::clone(&house.replies),
        history,
        health: Arc::clone(&house.health),
        counts: Arc::clone(&house.doors),
        ids,
        clock: house.partition.clock,
        limits: api::Limits {
            body_bytes_max: usize::try_from(config.limits.body.0).unwrap_or(usize::MAX),
            batch_messages_max: config.limits.batch as usize,
        },
        bodies: api::Bodies::new(
            usize::try_from(config.limits.bodies.0).unwrap_or(usize::MAX),
            usize::try_from(config.limits.body.0).unwrap_or(usize::MAX),
        ),
    }
}

/// Everything that takes connections. Each task ends after its phase has.
fn open_doors(
    listeners: Listeners,
    caps: Caps,
    smpp: Server,
    state: ApiState,
    operations: Operations,
    house: &House,
    phases: &Phases,
) -> JoinSet<()> {
    let mut doors = JoinSet::new();
    let Listeners { http, http_tls, smpp: smpp_listeners, ops: ops_listener } = listeners;
    doors.spawn(listen::serve(
        http,
        api::router(state),
        http_tls,
        caps.http,
        house.doors.connections(Entry::Http),
        phases.clone(),
    ));
    let ops = OpsState {
        metrics: Arc::clone(&house.metrics),
        health: Arc::clone(&house.health),
        clock: house.partition.clock,
    };
    let ops = ops::router(ops, operate::router(Arc::new(operations)));
    doors.spawn(listen::serve(
        ops_listener,
        ops,
        None,
        caps.operations,
        house.doors.connections(Entry::Operations),
        phases.clone(),
    ));
    for (listener, entrance) in smpp_listeners {
        let (smpp, phases) = (smpp.clone(), phases.clone());
        doors.spawn(async move { smpp.serve(listener, entrance, phases).await });
    }
    doors
}

/// Publishes the metrics and watches the disk, once a second.
async fn keep_house(
    house: House,
    counts: SmppCounts,
    lockouts: [Lockouts; 2],
    config: Config,
    history: Arc<History>,
    mut room: Room,
    phase: watch::Sender<Phase>,
) {
    let retention = i64::try_from(config.storage.retention.as_millis()).unwrap_or(i64::MAX);
    let late_news = i64::try_from(late_news(&config).as_millis()).unwrap_or(i64::MAX);
    let (started, mut retired_at) = (Instant::now(), None::<Instant>);
    let lane = house.partition.intake.lane(Source::Process);
    let mut level_before = Level::Fine;
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        lockouts.iter().for_each(Lockouts::keep);
        let snapshot = house.publish(&counts, history.damaged());
        let Ok(mut space) = space::space(&config.storage.path) else { continue };
        let mut level = room.level(space);
        // Now and then, and before anything is refused.
        let is_time = level != Level::Fine || retired_at.is_none_or(|at| at.elapsed() >= RETIRING);
        // Nothing is removed by the word of a clock that has not been right for a while.
        if is_time && started.elapsed() >= CLOCK_TRIED && !snapshot.clock_doubted {
            retired_at = Some(Instant::now());
            let before = snapshot.wall.0.saturating_sub(retention);
            history.retire_ids(snapshot.wall.0.saturating_sub(late_news)).await;
            if history.retire(before, snapshot.living_from).await {
                space = space::space(&config.storage.path).unwrap_or(space);
                level = room.level(space);
            }
        }
        if level == level_before {
            continue;
        }
        level_before = level;
        house.health.set_storage_full(level != Level::Fine);
        tracing::warn!(
            free_octets = space.free_bytes,
            ?level,
            "the free space of the disk has crossed a limit"
        );
        let told = match level {
            Level::Fine => DiskLevel::Fine,
            Level::RefuseIntake | Level::Stop => DiskLevel::RefuseIntake,
        };
        if lane.offer(Command::Disk(told)).await.is_err() {
            return;
        }
        if level == Level::Stop {
            tracing::error!("the disk is nearly full: stopping while that can still be written");
            phase.send_replace(Phase::Draining);
        }
    }
}

/// What the engine begins with. Messages that wait for a provider which is no more go nowhere by themselves, unless their route had
/// another, and those of a tenant which is no more are held: whoever has taken it out of the settings is told.
fn first_look(engine: &Engine, config: &Config) -> engine::Snapshot {
    let snapshot = engine.snapshot();
    let is_there = |id: &str| config.provider.iter().any(|provider| provider.enabled && provider.id == id);
    for (index, provider) in (0u16..).zip(&snapshot.providers) {
        if is_there(&provider.id) {
            continue;
        }
        let (waiting, sent) = engine.waiting_with(index);
        if waiting > 0 {
            tracing::warn!(
                provider = provider.id,
                messages = waiting,
                "messages wait for a provider that the settings do not have, or have disabled: `tidegate queue move` gives them to another, but for those that it may have had"
            );
        }
        if sent > 0 {
            tracing::warn!(
                provider = provider.id,
                messages = sent,
                "receipts are still to come from a provider that the settings do not have, or have disabled; under another id they find no message"
            );
        }
    }
    for (tenant, messages) in engine.waiting_of_unknown_tenants() {
        tracing::warn!(
            tenant,
            messages,
            "messages of a tenant that the settings do not have are held, and their credit is reserved: `tidegate queue bounce` cancels them"
        );
    }
    snapshot
}

/// How long news may come for a message after its end: as long as any provider's receipts are waited for, or any tenant's kept.
fn late_news(config: &Config) -> Duration {
    let waits = config.provider.iter().map(|provider| provider.receipt_wait);
    let kept = config.tenant.iter().map(|tenant| tenant.receipt_ttl);
    waits.chain(kept).max().unwrap_or_default()
}

/// Waits for SIGTERM, SIGINT, or the disk to be full; whether it was the disk.
async fn until_told_to_end(phase: &watch::Sender<Phase>, mut signals: EndSignals) -> bool {
    let mut phases = phase.subscribe();
    let disk_is_full = tokio::select! {
        () = signals.next() => false,
        _ = phases.wait_for(|phase| *phase != Phase::Running) => true,
    };
    // A second signal ends the process at once: what is acknowledged is on disk anyway.
    tokio::spawn(async move {
        signals.next().await;
        tracing::warn!("told twice; ending at once");
        std::process::exit(1);
    });
    disk_is_full
}

/// Drains: nothing new is let in or sent; waits for what is in flight; unbinds everything.
async fn end(
    config: &Config,
    house: &House,
    phase: watch::Sender<Phase>,
    mut doors: JoinSet<()>,
    mut binds: JoinSet<()>,
) {
    tracing::info!("draining");
    house.health.set_draining();
    phase.send_replace(Phase::Draining);
    let (reply, drained) = house.replies.open();
    let lane = house.partition.intake.lane(Source::Process);
    if lane.offer(Command::Drain { reply }).await.is_ok()
        && tokio::time::timeout(config.serve.drain_timeout, drained).await.is_err()
    {
        warn_of_undrained(house).await;
    }
    phase.send_replace(Phase::Closing);
    let closed = async {
        while binds.join_next().await.is_some() {}
        while doors.join_next().await.is_some() {}
    };
    if tokio::time::timeout(CLOSING, closed).await.is_err() {
        tracing::warn!("some connections did not close in time");
    }
}

/// Says who has not answered in time: what providers leave open is in doubt, what tenants leave open is not.
async fn warn_of_undrained(house: &House) {
    let (reply, answer) = house.replies.open();
    let lane = house.partition.intake.lane(Source::Process);
    let asked = async {
        lane.offer(Command::Query { reply, query: Query::OnTheWay }).await.ok()?;
        answer.await.ok()
    };
    let Ok(Some(Reply::OnTheWay(OnTheWay { parts, told }))) = tokio::time::timeout(CLOSING, asked).await
    else {
        tracing::warn!("drain_timeout has passed, and the commit loop does not answer");
        return;
    };
    if parts > 0 {
        tracing::warn!(parts, "drain_timeout has passed; what providers have not answered will be in doubt");
    }
    if told > 0 {
        tracing::warn!(
            receipts = told,
            "drain_timeout has passed; receipts that tenants have not answered will be offered again"
        );
    }
}

/// Lets the last groups reach the disk.
async fn finish(
    house: House,
    commit: CommitLoop,
    history: Arc<History>,
    archive_thread: JoinHandle<()>,
) -> Result<(), ServeError> {
    house.partition.intake.close();
    let committed = tokio::task::spawn_blocking(move || {
        let committed = commit.join();
        history.close();
        let _ = archive_thread.join();
        committed
    });
    committed.await.map_err(|_| storage::journal::JournalError::Stopped)??;
    Ok(())
}
