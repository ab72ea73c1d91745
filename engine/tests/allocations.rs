//! How often the engine allocates for a message on its way: a figure that must not creep up unseen. What it decides is not
//! looked at here.

use std::time::Duration;

use codecs::instant::{Mono, Wall};
use codecs::receipt::State as ReceiptState;
use engine::catalog::*;
use engine::command::*;
use engine::money::Micros;
use engine::submission::Body;
use engine::{Engine, Group, Released};

/// Messages of a batch, and batches that are not counted: tables and buffers have their size then.
const BATCH: usize = 1_000;
const WARM: usize = 30;
const COUNTED: usize = 10;
/// Allocations a message, from its acceptance to the acknowledgement of its receipt: its own octets, which the archive
/// takes over, and what batches share.
const MOST: f64 = 1.25;

const UP: ConnectionId = ConnectionId(1);
const SESSION: ConnectionId = ConnectionId(2);

struct Road {
    engine: Engine,
    now: Now,
    group: u64,
    allocations: u64,
}

impl Road {
    fn new() -> Road {
        let now = Now { wall: Wall(1_800_000_000_000), mono: Mono(0) };
        let mut engine = Engine::new(&[7; 32], now);
        engine.recovered(definitions(), now, 1).expect("an empty journal recovers");
        let mut road = Road { engine, now, group: 1, allocations: 0 };
        road.turn(Command::BindUp { provider: 0, bind: 0, connection: UP, window: 10_000 });
        road.turn(Command::TenantBound {
            tenant: 0,
            connection: SESSION,
            receives: true,
            tlvs: true,
            window: 10_000,
        });
        road
    }

    /// One turn; the engine's allocations in it are counted, and nobody else's.
    fn turn(&mut self, command: Command) -> Group {
        self.now.mono = self.now.mono.after(Duration::from_millis(1));
        let mut group = Group::default();
        let counted = allocation_counter::measure(|| {
            self.engine.begin(self.now, self.group, Released::all(self.now));
            self.engine.handle(command);
            self.engine.run(0);
            group = self.engine.take_group();
        });
        self.allocations += counted.count_total;
        self.group += u64::from(!group.records.is_empty());
        group
    }

    /// A batch of messages from acceptance to the acknowledgement of their receipts.
    fn batch(&mut self, batch: usize) {
        let (mut items, mut bodies) = (Vec::new(), Vec::new());
        for sequence in 0..BATCH as u32 {
            body().write(&mut bodies);
            items.push(Submission { sequence, end: bodies.len() as u32, refused: None });
        }
        let (tenant, door, received) = (0, Door::Smpp(SESSION), self.now.mono);
        let submissions = Submissions { tenant, door, received, idempotency: None, items, bodies };
        let sent = self.turn(Command::Submit(submissions));
        let tokens: Vec<PartToken> = requests(&sent, UP).map(PartToken).collect();
        assert_eq!(tokens.len(), BATCH, "the window takes all");

        let mut responses = Responses::default();
        let mut receipts = Receipts { connection: Some(UP), ..Receipts::default() };
        for (place, token) in tokens.iter().enumerate() {
            let id = format!("{:016}", batch * BATCH + place);
            responses.ids.extend_from_slice(id.as_bytes());
            responses.items.push(Response { token: *token, status: 0, end: responses.ids.len() as u32 });
            receipts.bytes.extend_from_slice(id.as_bytes());
            let text_id_end = receipts.bytes.len() as u32;
            receipts.bytes.extend_from_slice(b"000");
            receipts.items.push(Receipt {
                sequence: place as u32,
                state: ReceiptState::Delivered,
                phone: None,
                tlv_id_end: text_id_end - id.len() as u32,
                text_id_end,
                error_end: receipts.bytes.len() as u32,
                done: None,
            });
        }
        self.turn(Command::Responses(responses));
        let told = self.turn(Command::Receipts(receipts));
        let items = requests(&told, SESSION).map(|token| Acknowledgement { token, said: Said::Status(0) });
        let items: Vec<Acknowledgement> = items.collect();
        assert_eq!(items.len(), BATCH, "the session takes all");
        let done = self.turn(Command::Acknowledged { tenant: 0, connection: SESSION, items });
        let blocks = done.effects.archive.iter().map(|write| write.block).collect();
        self.turn(Command::Archived { blocks, flushes: Default::default() });
    }
}

fn requests(group: &Group, to: ConnectionId) -> impl Iterator<Item = u64> + '_ {
    let of = group.effects.connections.iter().filter(move |(connection, _)| *connection == to);
    of.flat_map(|(_, outgoing)| &outgoing.requests).map(|request| request.token)
}

fn body() -> Body<'static> {
    Body { destination: 254_712_345_678, source: b"ACME", octets: &[b'x'; 160], ..Body::default() }
}

fn definitions() -> Definitions {
    Definitions {
        tenants: vec![TenantDefinition {
            id: "acme".to_owned(),
            currency: "KES".to_owned(),
            price: Some(Micros(1)),
            opening_balance: Micros(1_000_000_000),
            receipt_ttl: Duration::from_secs(3_600),
            ..TenantDefinition::default()
        }],
        providers: vec![ProviderDefinition {
            id: "up".to_owned(),
            receipt_wait: Duration::from_secs(3_600),
            cost: Micros(1),
            retry_first: Duration::from_secs(1),
            ..ProviderDefinition::default()
        }],
        routes: vec![RouteDefinition {
            prefixes: vec!["254".to_owned()],
            providers: vec![("up".to_owned(), 1)],
            ..RouteDefinition::default()
        }],
        ..Definitions::default()
    }
}

#[test]
fn a_message_costs_few_allocations() {
    let mut road = Road::new();
    (0..WARM).for_each(|batch| road.batch(batch));
    road.allocations = 0;
    (WARM..WARM + COUNTED).for_each(|batch| road.batch(batch));
    let each = road.allocations as f64 / (COUNTED * BATCH) as f64;
    println!("{each:.2} allocations a message");
    assert!(each <= MOST, "{each:.2} allocations a message");
}
