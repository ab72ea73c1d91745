//! What a late receipt costs without sockets: engine, journal, parked store and archive in one thread, each with what it really
//! writes. A fifth of the messages waits for its receipt until all else has left memory; then the receipts come.
//!
//! `cargo bench --bench late [-- MESSAGES]` prints the time a late receipt takes in each stage, and how often each is entered. To count
//! instructions: `valgrind --tool=callgrind --toggle-collect='late::late' …`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use codecs::instant::{Mono, Wall};
use codecs::receipt::State;
use engine::catalog::{Definitions, ProviderDefinition, RouteDefinition, Settings, TenantDefinition};
use engine::command::{
    Acknowledgement, Command, ConnectionId, Door, Now, PartToken, Receipt, Receipts, Response, Responses,
    Said, Submission, Submissions,
};
use engine::effect::{ArchiveWrite, Effects, Request};
use engine::money::Micros;
use engine::submission::{Body, Priority};
use engine::{Engine, Group, Released};
use loadtest::texts::Texts;
use storage::archive::{Archive, Options};
use storage::journal::{self, Journal};
use storage::log::Durability;
use storage::parked::Parked;
use tidegate::history::{Archivist, History, Stores};
use tidegate::packing;

/// Messages submitted in a turn, and late receipts of one.
const SUBMITTED: u32 = 1_000;
const LATE: usize = 200;
/// Of so many, one has a late receipt.
const ONE_OF: u64 = 5;
/// Turns for which blocks for the archive gather: some 50 ms.
const GATHER: u32 = 12;
const TENANT: ConnectionId = ConnectionId(1);
const PROVIDER: ConnectionId = ConnectionId(1 << 20);

fn main() {
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(640_000);
    let mut house = House::new();
    for _ in 0..count / SUBMITTED {
        house.round();
    }
    house.settle();
    let before = house.engine.snapshot();
    println!("{} in memory and {} parked", before.living, before.parked);
    let receipts = std::mem::take(&mut house.late);
    let count = receipts.len();
    house.used = Used::default();
    late(&mut house, receipts);
    let told = house.told;
    println!("{count} late receipts, {told} told");
    house.used.print(count as f64);
}

/// The receipts come, two hundred in a turn, and what they change reaches the archive.
#[inline(never)]
fn late(house: &mut House, receipts: Vec<u64>) {
    house.told = 0;
    for some in receipts.chunks(LATE) {
        let receipts = house.receipts(some);
        house.turn(vec![Command::Receipts(receipts)]);
    }
    house.settle();
}

/// What each stage has taken, and how often there was something for it.
#[derive(Default)]
struct Used {
    writer: Duration,
    packing: Duration,
    journal: Duration,
    archive: Duration,
    turns: u64,
    groups: u64,
    octets: u64,
    packed: u64,
    loads: u64,
    loaded: u64,
    writes: u64,
    written: u64,
    parks: u64,
}

impl Used {
    fn print(&self, count: f64) {
        for (name, time) in [
            ("writer", self.writer),
            ("packing", self.packing),
            ("journal", self.journal),
            ("archive", self.archive),
        ] {
            println!("{name}: {:.3} µs", time.as_nanos() as f64 / 1_000.0 / count);
        }
        for (name, times) in [
            ("turns", self.turns),
            ("groups", self.groups),
            ("octets decided", self.octets),
            ("octets journaled", self.packed),
            ("blocks read", self.loads),
            ("messages read", self.loaded),
            ("blocks written", self.writes),
            ("messages written", self.written),
            ("blocks parked", self.parks),
        ] {
            println!("{name}: {times}, {:.3} a receipt", times as f64 / count);
        }
    }
}

struct House {
    engine: Engine,
    journal: Journal,
    history: History,
    archivist: Archivist,
    now: Now,
    group: u64,
    packed: Vec<u8>,
    texts: Texts,
    serial: u32,
    destination: u64,
    id: u64,
    told: u64,
    late: Vec<u64>,
    /// For the next turn.
    commands: VecDeque<Command>,
    gathered: Vec<ArchiveWrite>,
    turns: u32,
    used: Used,
    _directory: tempfile::TempDir,
}

impl House {
    fn new() -> House {
        let directory = tempfile::tempdir_in(".").expect("a directory to write in");
        let options = journal::Options { durability: Durability::Os, ..journal::Options::default() };
        let (journal, mut recovery) =
            journal::create_or_open(&directory.path().join("store"), options).expect("it is new");
        while recovery.next_group().expect("nothing to recover").is_some() {}
        let archive =
            |name| Archive::open(&directory.path().join(name), Options::default()).expect("it is new");
        let parked = Parked::open(&directory.path().join("parked")).expect("it is new");
        let (history, mut archivist) = History::over(Stores::new(archive("archive"), parked, archive("ids")));
        archivist.restore_index().expect("it is empty");
        let now = Now { wall: Wall(1_800_000_000_000), mono: Mono(0) };
        let mut engine = Engine::new(&[7; 32], now);
        engine.recovered(definitions(), now, 1).expect("an empty journal recovers");
        let mut house = House {
            engine,
            journal,
            history,
            archivist,
            now,
            group: 1,
            packed: Vec::new(),
            texts: Texts::new(160),
            serial: 0,
            destination: 0,
            id: 1_000_000,
            told: 0,
            late: Vec::new(),
            commands: VecDeque::new(),
            gathered: Vec::new(),
            turns: 0,
            used: Used::default(),
            _directory: directory,
        };
        let up = Command::BindUp { provider: 0, bind: 0, connection: PROVIDER, window: 1 << 20 };
        let bound = Command::TenantBound {
            tenant: 0,
            connection: TENANT,
            receives: true,
            tlvs: true,
            window: 10_000,
        };
        house.turn(vec![up, bound]);
        house
    }

    /// A thousand messages with their responses, and four of five with their receipts.
    fn round(&mut self) {
        let submissions = self.submissions();
        let sent = self.turn(vec![Command::Submit(submissions)]);
        let (responses, ids) = self.responses(&sent);
        self.turn(vec![Command::Responses(responses)]);
        let is_late = |id: &u64| (id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32).is_multiple_of(ONE_OF);
        let (late, soon): (Vec<u64>, Vec<u64>) = ids.into_iter().partition(is_late);
        self.late.extend(late);
        let receipts = self.receipts(&soon);
        self.turn(vec![Command::Receipts(receipts)]);
    }

    /// Two minutes in which nothing comes.
    fn settle(&mut self) {
        for _ in 0..1_200 {
            self.now.mono = Mono(self.now.mono.0 + 100_000);
            self.now.wall = Wall(self.now.wall.0 + 100);
            self.turn(Vec::new());
        }
    }

    /// A turn of the commit loop, and one of the archive's thread. What was sent to the provider comes back.
    fn turn(&mut self, mut commands: Vec<Command>) -> Vec<Request> {
        commands.extend(self.commands.drain(..));
        self.now.mono = Mono(self.now.mono.0 + 4_000);
        self.now.wall = Wall(self.now.wall.0 + 4);
        let began = Instant::now();
        let group = self.decide(commands);
        self.used.writer += began.elapsed();
        self.used.turns += 1;
        self.commit(&group);
        let Effects { connections, archive, parks, loads, questions, .. } = group.effects;
        let mut sent = Vec::new();
        for (connection, outgoing) in connections {
            if connection == PROVIDER {
                sent.extend(outgoing.requests);
            } else if !outgoing.requests.is_empty() {
                self.told += outgoing.requests.len() as u64;
                let items = outgoing.requests.iter();
                let items =
                    items.map(|told| Acknowledgement { token: told.token, said: Said::Status(0) }).collect();
                self.commands.push_back(Command::Acknowledged { tenant: 0, connection, items });
            }
        }
        self.gathered.extend(archive);
        self.turns += 1;
        let is_due = self.turns.is_multiple_of(GATHER);
        let writes = if is_due { std::mem::take(&mut self.gathered) } else { Vec::new() };
        self.used.loads += loads.len() as u64;
        self.used.parks += parks.len() as u64;
        self.used.writes += writes.len() as u64;
        self.used.written += writes.iter().map(|write| write.messages.len() as u64).sum::<u64>();
        let began = Instant::now();
        self.archive((writes, parks, loads, questions));
        self.used.archive += began.elapsed();
        sent
    }

    #[inline(never)]
    fn decide(&mut self, commands: Vec<Command>) -> Group {
        self.engine.begin(self.now, self.group, Released::all(self.now));
        commands.into_iter().for_each(|command| self.engine.handle(command));
        self.engine.run(0);
        self.engine.take_group()
    }

    #[inline(never)]
    fn commit(&mut self, group: &Group) {
        if group.records.is_empty() {
            return;
        }
        let began = Instant::now();
        packing::pack(&group.records, &mut self.packed);
        self.used.packing += began.elapsed();
        let began = Instant::now();
        self.journal.append(&self.packed).expect("append");
        self.journal.flush().expect("flush");
        self.journal.release_before(group.release_before);
        self.used.journal += began.elapsed();
        self.used.groups += 1;
        self.used.octets += group.records.len() as u64;
        self.used.packed += self.packed.len() as u64;
        self.group += 1;
    }

    #[inline(never)]
    fn archive(
        &mut self,
        (writes, parks, loads, questions): (
            Vec<ArchiveWrite>,
            Vec<engine::effect::ParkWrite>,
            Vec<engine::effect::Load>,
            Vec<u64>,
        ),
    ) {
        if writes.is_empty() && parks.is_empty() && loads.is_empty() && questions.is_empty() {
            return;
        }
        self.history.take(writes, parks, loads, questions);
        loop {
            let work = self.archivist.work();
            let told = self.archivist.turn(&work).expect("the disk takes it");
            if told.is_empty() {
                return;
            }
            for command in &told {
                if let Command::Loaded { blocks } = command {
                    self.used.loaded += blocks.iter().map(|block| block.messages.len() as u64).sum::<u64>();
                }
            }
            self.commands.extend(told);
        }
    }

    fn submissions(&mut self) -> Submissions {
        let mut bodies = Vec::new();
        let items = (1..=SUBMITTED).map(|sequence| {
            self.destination = (self.destination + 38_196_601) % 100_000_000;
            self.serial += 1;
            body(254_700_000_000 + self.destination, self.texts.of(self.serial)).write(&mut bodies);
            Submission { sequence, end: bodies.len() as u32, refused: None }
        });
        let items = items.collect();
        let (door, received) = (Door::Smpp(TENANT), self.now.mono);
        Submissions { tenant: 0, door, received, idempotency: None, items, bodies }
    }

    fn responses(&mut self, sent: &[Request]) -> (Responses, Vec<u64>) {
        let mut responses = Responses::default();
        let mut ids = Vec::new();
        for request in sent {
            self.id += 1;
            ids.push(self.id);
            responses.ids.extend_from_slice(self.id.to_string().as_bytes());
            let end = responses.ids.len() as u32;
            responses.items.push(Response { token: PartToken(request.token), status: 0, end });
        }
        (responses, ids)
    }

    fn receipts(&self, ids: &[u64]) -> Receipts {
        let mut receipts = Receipts { connection: Some(PROVIDER), ..Receipts::default() };
        for (sequence, id) in (1..).zip(ids) {
            let mut add = |octets: &[u8]| {
                receipts.bytes.extend_from_slice(octets);
                receipts.bytes.len() as u32
            };
            let id = id.to_string();
            let (tlv_id_end, text_id_end) = (add(id.as_bytes()), add(id.as_bytes()));
            let error_end = add(b"000");
            let (state, phone, done) = (State::Delivered, None, None);
            receipts.items.push(Receipt { sequence, state, phone, tlv_id_end, text_id_end, error_end, done });
        }
        receipts
    }
}

fn body(destination: u64, octets: &[u8]) -> Body<'_> {
    Body { priority: Priority::High, destination, source: b"ACME", octets, ..Body::default() }
}

fn definitions() -> Definitions {
    Definitions {
        settings: Settings::default(),
        tenants: vec![TenantDefinition {
            id: "tenant".to_owned(),
            currency: "KES".to_owned(),
            rates: Some("all".to_owned()),
            opening_balance: Micros(i64::MAX / 4),
            ..TenantDefinition::default()
        }],
        providers: vec![ProviderDefinition { id: "up".to_owned(), ..ProviderDefinition::default() }],
        routes: vec![RouteDefinition {
            prefixes: vec!["254".to_owned()],
            providers: vec![("up".to_owned(), 1)],
            ..RouteDefinition::default()
        }],
        inbound: Vec::new(),
        rates: vec![("all".to_owned(), vec![("254".to_owned(), Micros(1))])],
    }
}
