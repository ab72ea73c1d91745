//! The engine's turn without sockets and disk: the whole life of messages, decided and applied, one after the other and with a
//! hundred thousand of them open. Its neighbours are the fakes of this file, which only hand back what they are given.

use std::collections::VecDeque;

use codecs::instant::{Mono, Wall};
use codecs::receipt::State;
use criterion::{Criterion, Throughput};
use engine::catalog::{Definitions, ProviderDefinition, RouteDefinition, Settings, TenantDefinition};
use engine::command::{
    Acknowledgement, Command, ConnectionId, Door, Now, PartToken, Receipt, Receipts, Response, Responses,
    Said, Submission, Submissions,
};
use engine::effect::{Effects, Outgoing, Request};
use engine::money::Micros;
use engine::submission::{Body, Priority};
use engine::{Engine, Group, Released};

const MESSAGES: u32 = 1_000;
/// Of one tenant in a batch.
const SUBMITTED: u32 = 25;
/// Connections below are tenants'.
const PROVIDERS_FROM: u32 = 1 << 20;
const TEXT: [u8; 160] = [b'x'; 160];

pub fn bench(criterion: &mut Criterion) {
    let one = Shape { tenants: 1, providers: 1, routes: 1, rounds_open: 1 };
    let many = Shape { tenants: 1_000, providers: 50, routes: 10_000, rounds_open: 50 };
    let shapes = [
        ("a message from acceptance to told", one),
        ("the same with 100,000 of them open", Shape { rounds_open: 50, ..one }),
        ("the same with 1,000 tenants, 50 providers and 10,000 routes", many),
    ];
    let mut group = criterion.benchmark_group("engine");
    group.throughput(Throughput::Elements(u64::from(MESSAGES)));
    for (name, shape) in shapes {
        let mut house = None;
        group.bench_function(name, |bencher| {
            // One that is not asked for is not built; all rounds are open before the first is measured.
            let house = house.get_or_insert_with(|| House::open(shape));
            bencher.iter(|| house.round());
            assert_eq!(house.lost(), 0);
        });
    }
    group.finish();
}

#[derive(Clone, Copy)]
struct Shape {
    tenants: u32,
    providers: u32,
    routes: u32,
    /// How many rounds of messages wait for their responses, and as many for their receipts.
    rounds_open: usize,
}

/// What went out in one round to each connection.
type Sent = Vec<(ConnectionId, Vec<Request>)>;

/// An engine with tenants and providers who do what they are asked after so many rounds.
struct House {
    shape: Shape,
    engine: Engine,
    now: Now,
    group: u64,
    tenant: u32,
    destination: u64,
    id: u64,
    sent: VecDeque<Sent>,
    answered: VecDeque<Vec<Receipts>>,
    told: u64,
    accepted: u64,
}

impl House {
    fn new(shape: Shape) -> House {
        let now = Now { wall: Wall(1_800_000_000_000), mono: Mono(0) };
        let mut engine = Engine::new(&[7; 32], now);
        engine.recovered(definitions(shape), now, 1).expect("an empty journal recovers");
        let mut house = House {
            shape,
            engine,
            now,
            group: 1,
            tenant: 0,
            destination: 0,
            id: 1_000_000,
            sent: VecDeque::new(),
            answered: VecDeque::new(),
            told: 0,
            accepted: 0,
        };
        let window = MESSAGES * (shape.rounds_open as u32 + 1);
        let up = (0..shape.providers).map(|provider| Command::BindUp {
            provider: provider as u16,
            bind: 0,
            connection: bind(provider),
            window,
        });
        let bound = (0..shape.tenants).map(|tenant| Command::TenantBound {
            tenant,
            connection: door(tenant),
            receives: true,
            tlvs: true,
            window,
        });
        house.turn(up.chain(bound).collect());
        house
    }

    /// With as many rounds open as its shape says.
    fn open(shape: Shape) -> House {
        let mut house = House::new(shape);
        (0..2 * shape.rounds_open).for_each(|_| house.round());
        house
    }

    /// A thousand messages are accepted; as many of rounds before get their responses, as many their receipts. What goes to
    /// tenants they acknowledge in the next turn.
    fn round(&mut self) {
        let submitted = if self.shape.tenants == 1 { MESSAGES } else { SUBMITTED };
        let mut commands: Vec<Command> =
            (0..MESSAGES / submitted).map(|_| Command::Submit(self.submissions(submitted))).collect();
        self.accepted += u64::from(MESSAGES);
        if self.answered.len() >= self.shape.rounds_open {
            commands.extend(self.answered.pop_front().into_iter().flatten().map(Command::Receipts));
        }
        if self.sent.len() >= self.shape.rounds_open
            && let Some(sent) = self.sent.pop_front()
        {
            let mut answered = Vec::with_capacity(sent.len());
            for (connection, requests) in &sent {
                let (responses, receipts) = self.answers(*connection, requests);
                commands.push(Command::Responses(responses));
                answered.push(receipts);
            }
            self.answered.push_back(answered);
        }
        let effects = self.turn(commands);
        let (mut sent, mut acknowledged) = (Sent::new(), Vec::new());
        for (connection, Outgoing { requests, .. }) in effects.connections {
            if requests.is_empty() {
                continue;
            }
            if connection.0 >= PROVIDERS_FROM {
                sent.push((connection, requests));
                continue;
            }
            self.told += requests.len() as u64;
            let items =
                requests.iter().map(|told| Acknowledgement { token: told.token, said: Said::Status(0) });
            let (tenant, items) = (connection.0 - 1, items.collect());
            acknowledged.push(Command::Acknowledged { tenant, connection, items });
        }
        self.sent.push_back(sent);
        self.turn(acknowledged);
    }

    /// How many of all messages are neither open nor told.
    fn lost(&self) -> u64 {
        let open = self.sent.iter().flatten().map(|(_, sent)| sent.len());
        let answered = self.answered.iter().flatten().map(|receipts| receipts.items.len());
        self.accepted - self.told - open.chain(answered).sum::<usize>() as u64
    }

    /// One turn of the commit loop; the archive says at once that it has what it was given.
    fn turn(&mut self, commands: Vec<Command>) -> Effects {
        self.now.mono = Mono(self.now.mono.0 + 1_000);
        self.now.wall = Wall(self.now.wall.0 + 1);
        self.engine.begin(self.now, self.group, Released::all(self.now));
        commands.into_iter().for_each(|command| self.engine.handle(command));
        self.engine.run(0);
        let Group { records, effects, .. } = self.engine.take_group();
        self.group += u64::from(!records.is_empty());
        if !effects.archive.is_empty() {
            let blocks = effects.archive.iter().map(|write| write.block).collect();
            self.engine.begin(self.now, self.group, Released::all(self.now));
            self.engine.handle(Command::Archived { blocks, flushes: Default::default() });
            self.engine.run(0);
            let more = self.engine.take_group();
            self.group += u64::from(!more.records.is_empty());
        }
        effects
    }

    /// Of the next tenant.
    fn submissions(&mut self, messages: u32) -> Submissions {
        let tenant = self.tenant;
        self.tenant = (tenant + 1) % self.shape.tenants;
        let mut bodies = Vec::new();
        let items = (1..=messages).map(|sequence| {
            // Numbers all over those of a country.
            self.destination = (self.destination + 38_196_601) % 100_000_000;
            body(254_700_000_000 + self.destination).write(&mut bodies);
            Submission { sequence, end: bodies.len() as u32, refused: None }
        });
        let items = items.collect();
        Submissions {
            tenant,
            door: Door::Smpp(door(tenant)),
            received: self.now.mono,
            idempotency: None,
            items,
            bodies,
        }
    }

    /// A provider's responses, and the receipts that name the same ids.
    fn answers(&mut self, connection: ConnectionId, sent: &[Request]) -> (Responses, Receipts) {
        let provider = (connection.0 - PROVIDERS_FROM) as u16;
        let mut responses = Responses { provider, ..Responses::default() };
        let mut receipts = Receipts { provider, connection: Some(connection), ..Receipts::default() };
        for (sequence, request) in (1..).zip(sent) {
            self.id += 1;
            let id = self.id.to_string();
            responses.ids.extend_from_slice(id.as_bytes());
            let end = responses.ids.len() as u32;
            responses.items.push(Response { token: PartToken(request.token), status: 0, end });
            let mut add = |octets: &[u8]| {
                receipts.bytes.extend_from_slice(octets);
                receipts.bytes.len() as u32
            };
            let (tlv_id_end, text_id_end) = (add(id.as_bytes()), add(id.as_bytes()));
            let error_end = add(b"000");
            let (state, phone, done) = (State::Delivered, None, None);
            receipts.items.push(Receipt { sequence, state, phone, tlv_id_end, text_id_end, error_end, done });
        }
        (responses, receipts)
    }
}

fn door(tenant: u32) -> ConnectionId {
    ConnectionId(tenant + 1)
}

fn bind(provider: u32) -> ConnectionId {
    ConnectionId(PROVIDERS_FROM + provider)
}

fn body(destination: u64) -> Body<'static> {
    Body { priority: Priority::High, destination, source: b"ACME", octets: &TEXT, ..Body::default() }
}

/// The prefixes of routes and prices, and the places of the two providers of each.
fn definitions(shape: Shape) -> Definitions {
    let prefix = |route: u32| if shape.routes == 1 { "254".to_owned() } else { format!("2547{route:04}") };
    let up = |provider: u32| (format!("up{}", provider % shape.providers), 1);
    let tenants = (0..shape.tenants).map(|tenant| TenantDefinition {
        id: format!("tenant{tenant}"),
        currency: "KES".to_owned(),
        rates: Some("all".to_owned()),
        opening_balance: Micros(i64::MAX / 4),
        ..TenantDefinition::default()
    });
    let providers = (0..shape.providers)
        .map(|provider| ProviderDefinition { id: format!("up{provider}"), ..ProviderDefinition::default() });
    let routes = (0..shape.routes).map(|route| RouteDefinition {
        prefixes: vec![prefix(route)],
        providers: (route..route + shape.providers.min(2)).map(up).collect(),
        ..RouteDefinition::default()
    });
    Definitions {
        settings: Settings::default(),
        tenants: tenants.collect(),
        providers: providers.collect(),
        routes: routes.collect(),
        inbound: Vec::new(),
        rates: vec![("all".to_owned(), (0..shape.routes).map(|route| (prefix(route), Micros(1))).collect())],
    }
}
