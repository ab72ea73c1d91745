//! The engine's turn without sockets and disk: the whole life of a thousand messages, decided and applied. Its neighbours are
//! the fakes of this file, which only hand back what they are given.

use codecs::instant::{Mono, Wall};
use codecs::receipt::State;
use criterion::{Criterion, Throughput};
use engine::catalog::{Definitions, ProviderDefinition, RouteDefinition, Settings, TenantDefinition};
use engine::command::{
    Acknowledgement, Command, ConnectionId, Door, Now, PartToken, Receipt, Receipts, Response, Responses,
    Submission, Submissions,
};
use engine::effect::{Effects, Outgoing, Request};
use engine::money::Micros;
use engine::submission::{Body, Priority};
use engine::{Engine, Group};

const MESSAGES: u32 = 1_000;
const TENANT: ConnectionId = ConnectionId(1);
const BIND: ConnectionId = ConnectionId(2);
const TEXT: [u8; 160] = [b'x'; 160];

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("engine");
    group.throughput(Throughput::Elements(u64::from(MESSAGES)));
    let mut house = House::new();
    group.bench_function("a message from acceptance to told", |bencher| {
        bencher.iter(|| house.live(MESSAGES));
    });
    group.finish();
}

/// An engine with a tenant and a provider who do at once what they are asked.
struct House {
    engine: Engine,
    now: Now,
    group: u64,
    destination: u64,
    id: u64,
}

impl House {
    fn new() -> House {
        let now = Now { wall: Wall(1_800_000_000_000), mono: Mono(0) };
        let mut engine = Engine::new(&[7; 32], now);
        engine.recovered(definitions(), now, 1).expect("an empty journal recovers");
        let mut house = House { engine, now, group: 1, destination: 254_700_000_000, id: 1_000_000 };
        house.turn(Command::BindUp { provider: 0, bind: 0, connection: BIND, window: MESSAGES });
        house.turn(Command::TenantBound {
            tenant: 0,
            connection: TENANT,
            receives: true,
            tlvs: true,
            window: MESSAGES,
        });
        house
    }

    /// Acceptance and intent, response, receipt, and what the tenant is told: four turns for each batch, as over sockets.
    fn live(&mut self, messages: u32) {
        let submissions = self.submissions(messages);
        let sent = self.turn(Command::Submit(submissions));
        let sent = requests(&sent, BIND);
        assert_eq!(sent.len(), messages as usize, "all fit the window");
        let (responses, receipts) = self.answers(&sent);
        self.turn(Command::Responses(responses));
        let told = self.turn(Command::Receipts(receipts));
        let told = requests(&told, TENANT);
        assert_eq!(told.len(), messages as usize, "all have their receipts");
        let items = told.iter().map(|request| Acknowledgement { number: request.token, status: 0 }).collect();
        self.turn(Command::Acknowledged { tenant: 0, connection: TENANT, items });
    }

    /// One turn of the commit loop; the archive says at once that it has what it was given.
    fn turn(&mut self, command: Command) -> Effects {
        self.now.mono = Mono(self.now.mono.0 + 1_000);
        self.now.wall = Wall(self.now.wall.0 + 1);
        self.engine.begin(self.now, self.group);
        self.engine.handle(command);
        self.engine.run(0);
        let Group { records, effects, .. } = self.engine.take_group();
        self.group += u64::from(!records.is_empty());
        if !effects.archive.is_empty() {
            let blocks = effects.archive.iter().map(|write| write.block).collect();
            self.engine.begin(self.now, self.group);
            self.engine.handle(Command::Archived { blocks });
            self.engine.run(0);
            let more = self.engine.take_group();
            self.group += u64::from(!more.records.is_empty());
        }
        effects
    }

    fn submissions(&mut self, messages: u32) -> Submissions {
        let mut bodies = Vec::new();
        let items = (1..=messages).map(|sequence| {
            self.destination += 1;
            body(self.destination).write(&mut bodies);
            Submission { sequence, end: bodies.len() as u32, refused: None }
        });
        let items = items.collect();
        Submissions {
            tenant: 0,
            door: Door::Smpp(TENANT),
            received: self.now.mono,
            idempotency: None,
            items,
            bodies,
        }
    }

    /// The provider's responses, and the receipts that name the same ids.
    fn answers(&mut self, sent: &[Request]) -> (Responses, Receipts) {
        let mut responses = Responses::default();
        let mut receipts = Receipts { connection: Some(BIND), ..Receipts::default() };
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

fn requests(effects: &Effects, connection: ConnectionId) -> Vec<Request> {
    let of_it = effects.connections.iter().filter(|(to, _)| *to == connection);
    of_it.flat_map(|(_, Outgoing { requests, .. })| requests.iter().copied()).collect()
}

fn body(destination: u64) -> Body<'static> {
    Body { priority: Priority::High, destination, source: b"ACME", octets: &TEXT, ..Body::default() }
}

fn definitions() -> Definitions {
    let tenant = TenantDefinition {
        id: "acme".to_owned(),
        currency: "KES".to_owned(),
        price: Some(Micros(1)),
        opening_balance: Micros(i64::MAX / 4),
        ..TenantDefinition::default()
    };
    let provider = ProviderDefinition { id: "up".to_owned(), ..ProviderDefinition::default() };
    Definitions {
        settings: Settings::default(),
        tenants: vec![tenant],
        providers: vec![provider],
        routes: vec![RouteDefinition {
            prefixes: vec!["254".to_owned()],
            providers: vec![("up".to_owned(), 1)],
            ..RouteDefinition::default()
        }],
        inbound: Vec::new(),
        rates: Vec::new(),
    }
}
