//! A gateway around an engine: tenants, providers and a disk that are told what to do, and virtual time. After every turn it
//! checks the engine's own rules. It asserts nothing about behaviour; the tests do.

use std::collections::BTreeMap;
use std::time::Duration;

use codecs::instant::{Mono, Wall};
use codecs::receipt::State as ReceiptState;
use codecs::smpp::pdu;
use engine::catalog::*;
use engine::command::*;
use engine::effect::*;
use engine::id::Number;
use engine::message::{Message, State};
use engine::money::Micros;
use engine::submission::Body;
use engine::{Engine, Released};

mod given;
mod stores;

pub use given::*;

pub const START: Wall = Wall(1_800_000_000_000);
pub const KEY: [u8; 32] = [7; 32];
/// A status for good, one for now, one for the rate (SMPP 3.4 §5.1.3).
pub const REFUSED: u32 = 0x0b;
pub const BUSY: u32 = 0x08;
pub const THROTTLED: u32 = 0x58;

/// One `submit_sm` or `deliver_sm` that the engine has released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub connection: ConnectionId,
    pub token: u64,
    pub body: Vec<u8>,
}

impl Request {
    pub fn part(&self) -> PartToken {
        PartToken(self.token)
    }

    pub fn number(&self) -> u64 {
        self.part().number()
    }

    /// The message that a session is told of.
    pub fn told(&self) -> u64 {
        told(self.token)
    }

    pub fn sm(&self) -> pdu::Sm<'_> {
        pdu::Sm::read(&self.body).expect("a submit_sm or deliver_sm")
    }
}

/// The message that the token of a `deliver_sm` is about.
pub fn told(token: u64) -> u64 {
    token & ((1 << Number::BITS) - 1)
}

/// The messages of a block, by number.
type Block = BTreeMap<u64, Vec<u8>>;

pub struct House {
    pub engine: Engine,
    pub now: Now,
    pub definitions: Definitions,
    pub next_group: u64,
    /// The groups on disk, of which those before `release_before` may be gone.
    pub journal: Vec<(u64, Vec<u8>)>,
    pub release_before: u64,
    pub ring_over: u64,
    /// The archive, by block and number.
    pub archive: BTreeMap<u64, BTreeMap<u64, Vec<u8>>>,
    /// When false, blocks are neither written nor read until `serve_archive`.
    pub archives: bool,
    pub writes: Vec<ArchiveWrite>,
    /// The parked store, by block: its rows and its messages.
    pub parked: BTreeMap<u64, (Vec<u8>, Block)>,
    pub parks: Vec<ParkWrite>,
    pub loads: Vec<Load>,
    /// Whose the ids of archived messages are, by hash; and what the engine asked for.
    pub owners: BTreeMap<u64, u64>,
    /// Flushes of the archive and of the parked store.
    pub flushes: (u64, u64),
    pub questions: Vec<u64>,
    pub archive_writes: Vec<(u64, bool, usize)>,
    pub requests: Vec<Request>,
    /// By which each message was told last.
    tokens: BTreeMap<u64, u64>,
    /// What providers were asked: the bind, the part, and the question.
    pub asks: Vec<(ConnectionId, PartToken, Ask)>,
    /// What was answered to tenants' operations.
    pub operated: Vec<(ConnectionId, OperationAnswer)>,
    pub answers: Vec<SubmitAnswer>,
    /// What was last told with answers.
    pub congestion: u8,
    /// Receipts of providers that were acknowledged.
    pub acknowledged: Vec<(ConnectionId, u32)>,
    pub closed: Vec<ConnectionId>,
    pub replies: Vec<(ReplyId, Reply)>,
    /// Whether the engine's own rules are looked at after every command; that walks through all messages.
    pub checks: bool,
    /// What the system's time of day is ahead of what it should be, in milliseconds.
    pub clock_ahead: i64,
    /// What the disk has not taken, while it takes nothing.
    stuck: Option<Vec<Effects>>,
    /// Groups that have been released.
    released: Released,
    connections: u32,
    sequence: u32,
}

impl House {
    pub fn new(definitions: Definitions) -> House {
        let now = Now { wall: START, mono: Mono(0) };
        let mut engine = Engine::new(&KEY, now);
        engine.recovered(definitions.clone(), now, 1).expect("an empty journal recovers");
        let mut house = House {
            engine,
            now,
            definitions,
            next_group: 1,
            journal: Vec::new(),
            release_before: 0,
            ring_over: 0,
            archive: BTreeMap::new(),
            archives: true,
            writes: Vec::new(),
            parked: BTreeMap::new(),
            parks: Vec::new(),
            loads: Vec::new(),
            owners: BTreeMap::new(),
            flushes: (0, 0),
            questions: Vec::new(),
            archive_writes: Vec::new(),
            requests: Vec::new(),
            tokens: BTreeMap::new(),
            asks: Vec::new(),
            operated: Vec::new(),
            answers: Vec::new(),
            congestion: 0,
            acknowledged: Vec::new(),
            closed: Vec::new(),
            replies: Vec::new(),
            checks: true,
            clock_ahead: 0,
            stuck: None,
            released: Released::NONE,
            connections: 0,
            sequence: 0,
        };
        house.turn([]);
        house
    }

    /// One turn of the commit loop, and the archive's part after it.
    pub fn turn(&mut self, commands: impl IntoIterator<Item = Command>) {
        self.one_turn(commands);
        while self.archives && self.is_archive_wanted() {
            self.serve_archive();
        }
    }

    fn one_turn(&mut self, commands: impl IntoIterator<Item = Command>) {
        self.engine.begin(self.now, self.next_group, self.released);
        for command in commands {
            self.engine.handle(command);
            if self.checks {
                self.engine.check();
            }
        }
        self.engine.run(self.ring_over);
        let has_group = self.engine.has_group();
        let group = self.engine.take_group();
        if has_group && self.checks {
            self.engine.check();
        }
        assert_eq!(has_group, !(group.records.is_empty() && group.effects.is_empty()));
        if !group.records.is_empty() {
            self.journal.push((self.next_group, group.records));
            self.next_group += 1;
            assert!(group.release_before < self.next_group);
            self.release_before = self.release_before.max(group.release_before);
        }
        match &mut self.stuck {
            Some(stuck) => stuck.push(group.effects),
            None => self.release(group.effects),
        }
    }

    /// The disk takes nothing from now on, or has taken all.
    pub fn stick(&mut self, sticks: bool) {
        let waited = std::mem::replace(&mut self.stuck, sticks.then(Vec::new));
        waited.into_iter().flatten().for_each(|effects| self.release(effects));
    }

    fn release(&mut self, effects: Effects) {
        self.released = Released { groups: effects.order + 1, at: self.now.mono };
        for (connection, outgoing) in effects.connections {
            let mut start = 0;
            for request in outgoing.requests {
                let end = request.end as usize;
                let body = outgoing.bodies[start..end].to_vec();
                start = end;
                let request = Request { connection, token: request.token, body };
                self.tokens.insert(request.told(), request.token);
                self.requests.push(request);
            }
            assert_eq!(start, outgoing.bodies.len());
            let asks = outgoing.asks.into_iter();
            self.asks.extend(asks.map(|ask| (connection, PartToken(ask.token), ask)));
            if !outgoing.answers.is_empty() {
                self.congestion = outgoing.congestion;
            }
            self.answers.extend(outgoing.answers);
            self.operated.extend(outgoing.operated.into_iter().map(|answer| (connection, answer)));
            self.acknowledged
                .extend(outgoing.acknowledged.iter().map(|(sequence, _)| (connection, *sequence)));
            if outgoing.closed {
                self.closed.push(connection);
            }
        }
        self.replies.extend(effects.replies);
        self.loads.extend(effects.loads);
        self.questions.extend(effects.questions);
        self.parks.extend(effects.parks);
        for write in effects.archive {
            self.archive_writes.push((write.block, write.whole, write.messages.len()));
            self.writes.push(write);
        }
    }

    /// Time passes; the engine is woken when it asked for it, and it must not ask for ever.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.mono.after(time);
        let mut woken_at_once = 0;
        while self.now.mono < end {
            let left = end.0 - self.now.mono.0;
            let step = self.engine.next_due_micros().unwrap_or(u64::MAX).min(left);
            woken_at_once = if step == 0 { woken_at_once + 1 } else { 0 };
            assert!(woken_at_once < 20, "the engine asks to be woken at once, again and again");
            // The wall clock ticks in milliseconds; what is due then is due at the next tick.
            self.advance(step);
            self.turn([]);
        }
    }

    pub fn advance(&mut self, micros: u64) {
        self.now.mono = Mono(self.now.mono.0 + micros);
        let millis = self.now.mono.0 / 1_000;
        self.now.wall = Wall(START.0 + millis as i64 + self.clock_ahead);
    }

    /// A group was written by somebody else.
    pub fn skip_group(&mut self) {
        self.next_group += 1;
    }

    pub fn seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    pub fn connection(&mut self) -> ConnectionId {
        self.connections += 1;
        ConnectionId(self.connections)
    }

    // Tenants.

    pub fn body(&self, number: u64) -> Body<'_> {
        self.engine.message(number).expect("a message in memory").body()
    }

    pub fn tenant(&self, id: &str) -> u32 {
        self.engine.names().0.iter().position(|name| name == id).expect("a tenant") as u32
    }

    pub fn provider(&self, id: &str) -> u16 {
        self.engine.names().1.iter().position(|name| name == id).expect("a provider") as u16
    }

    /// Submits in one batch over SMPP, and gives the outcomes.
    pub fn submit_all(&mut self, tenant: &str, all: &[Sms]) -> Vec<Outcome> {
        let connection = ConnectionId(u32::MAX);
        let (items, bodies) = self.written(all);
        let submissions = Submissions {
            tenant: self.tenant(tenant),
            door: Door::Smpp(connection),
            received: self.now.mono,
            idempotency: None,
            items,
            bodies,
        };
        self.turn([Command::Submit(submissions)]);
        let answers = std::mem::take(&mut self.answers);
        assert_eq!(answers.len(), all.len());
        answers.into_iter().map(|answer| answer.outcome).collect()
    }

    pub fn written(&mut self, all: &[Sms]) -> (Vec<Submission>, Vec<u8>) {
        let (mut items, mut bodies) = (Vec::new(), Vec::new());
        for sms in all {
            self.sequence += 1;
            sms.write(&mut bodies);
            items.push(Submission { sequence: self.sequence, end: bodies.len() as u32, refused: None });
        }
        (items, bodies)
    }

    pub fn submit(&mut self, tenant: &str, sms: &Sms) -> Outcome {
        self.submit_all(tenant, std::slice::from_ref(sms)).remove(0)
    }

    /// Submits one message that must be accepted, and gives its number.
    pub fn accepted(&mut self, tenant: &str, sms: &Sms) -> u64 {
        let outcome = self.submit(tenant, sms);
        self.number(outcome)
    }

    pub fn accepted_all(&mut self, tenant: &str, sms: &Sms, count: usize) -> Vec<u64> {
        let outcomes = self.submit_all(tenant, &vec![sms.clone(); count]);
        outcomes.into_iter().map(|outcome| self.number(outcome)).collect()
    }

    pub fn number(&self, outcome: Outcome) -> u64 {
        let Outcome::Accepted { id, .. } = outcome else { panic!("refused: {outcome:?}") };
        engine::id::Permutation::new(&KEY).number(id).expect("an id of ours")
    }

    pub fn over_http(
        &mut self,
        tenant: &str,
        key: Option<IdempotencyKey>,
        all: &[Sms],
    ) -> (Vec<Outcome>, bool) {
        let (items, bodies) = self.written(all);
        let submissions = Submissions {
            tenant: self.tenant(tenant),
            door: Door::Http(ReplyId(1)),
            received: self.now.mono,
            idempotency: key,
            items,
            bodies,
        };
        match self.ask(Command::Submit(submissions)) {
            Reply::Submitted { outcomes, replayed, .. } => (outcomes, replayed),
            other => panic!("{other:?}"),
        }
    }

    /// A command that has one reply.
    pub fn ask(&mut self, command: Command) -> Reply {
        self.turn([command]);
        let reply = self.replies.pop().expect("a reply").1;
        assert!(self.replies.is_empty());
        reply
    }

    /// What is answered to an operation of a tenant; `None` while it waits for somebody.
    pub fn wants(&mut self, tenant: &str, wanted: Wanted) -> Option<Operated> {
        self.sequence += 1;
        let (connection, sequence) = (ConnectionId(u32::MAX), self.sequence);
        let operation = TenantOperation { tenant: self.tenant(tenant), connection, sequence, wanted };
        self.turn([Command::Operation(Box::new(operation))]);
        self.operated.pop().map(|(to, answer)| {
            assert_eq!((to, answer.sequence), (connection, sequence));
            answer.outcome
        })
    }

    pub fn of_one(&mut self, tenant: &str, number: u64, what: OfOne) -> Option<Operated> {
        let id = engine::id::Permutation::new(&KEY).id(number);
        self.wants(tenant, Wanted::OfOne { named: Named { id, source: Vec::new(), destination: None }, what })
    }

    pub fn balance(&mut self, tenant: &str) -> Balance {
        let query = Query::Balance { tenant: self.tenant(tenant) };
        match self.ask(Command::Query { reply: ReplyId(2), query }) {
            Reply::Balance(Some(balance)) => balance,
            other => panic!("{other:?}"),
        }
    }

    pub fn on_the_way(&mut self) -> OnTheWay {
        match self.ask(Command::Query { reply: ReplyId(2), query: Query::OnTheWay }) {
            Reply::OnTheWay(on_the_way) => on_the_way,
            other => panic!("{other:?}"),
        }
    }

    /// available, reserved and spent of a tenant, in whole units.
    pub fn money(&mut self, tenant: &str) -> (i64, i64, i64) {
        let wallet = self.balance(tenant).wallet;
        let units = |amount: Micros| amount.0 / 1_000_000;
        (units(wallet.available()), units(wallet.reserved()), units(wallet.spent()))
    }

    pub fn bind_tenant(&mut self, tenant: &str, window: u32) -> ConnectionId {
        self.bind_tenant_of(tenant, true, window)
    }

    /// A session of a peer that knows TLVs, or of one that does not.
    pub fn bind_tenant_of(&mut self, tenant: &str, tlvs: bool, window: u32) -> ConnectionId {
        let connection = self.connection();
        let tenant = self.tenant(tenant);
        self.turn([Command::TenantBound { tenant, connection, receives: true, tlvs, window }]);
        connection
    }

    /// A session ends that has not acknowledged these.
    pub fn tenant_down(&mut self, tenant: &str, connection: ConnectionId, untold: &[u64]) {
        let (tenant, untold) = (self.tenant(tenant), self.tokens(untold));
        self.turn([Command::TenantUnbound { tenant, connection, untold }]);
    }

    pub fn acknowledge(&mut self, tenant: &str, connection: ConnectionId, numbers: &[u64], status: u32) {
        self.says(tenant, connection, numbers, Said::Status(status));
    }

    /// Of what was told last of each of these, or of these tokens.
    pub fn says(&mut self, tenant: &str, connection: ConnectionId, numbers: &[u64], said: Said) {
        let items = self.tokens(numbers).into_iter().map(|token| Acknowledgement { token, said }).collect();
        let tenant = self.tenant(tenant);
        self.turn([Command::Acknowledged { tenant, connection, items }]);
    }

    /// The tokens by which sessions were told last of these.
    pub fn tokens(&self, numbers: &[u64]) -> Vec<u64> {
        numbers.iter().map(|number| self.tokens.get(number).copied().unwrap_or(*number)).collect()
    }

    /// What was released for a connection since it was last asked.
    pub fn taken(&mut self, connection: ConnectionId) -> Vec<Request> {
        let all = std::mem::take(&mut self.requests);
        let (here, others) = all.into_iter().partition(|request| request.connection == connection);
        self.requests = others;
        here
    }

    pub fn told(&mut self, connection: ConnectionId) -> Vec<u64> {
        self.taken(connection).into_iter().map(|request| request.told()).collect()
    }

    // Providers.

    pub fn bind(&mut self, provider: &str, bind: u16, window: u32) -> ConnectionId {
        let connection = self.connection();
        let provider = self.provider(provider);
        self.turn([Command::BindUp { provider, bind, connection, window }]);
        connection
    }

    pub fn respond(&mut self, provider: &str, bind: u16, answers: &[(PartToken, u32, &str)]) {
        self.answer(Responses { bind, ..Responses::default() }, provider, answers);
    }

    /// To requests that were given up before.
    pub fn respond_late(&mut self, provider: &str, bind: u16, answers: &[(PartToken, u32, &str)]) {
        self.answer(Responses { bind, late: true, ..Responses::default() }, provider, answers);
    }

    fn answer(&mut self, mut responses: Responses, provider: &str, answers: &[(PartToken, u32, &str)]) {
        responses.provider = self.provider(provider);
        for (token, status, id) in answers {
            responses.ids.extend_from_slice(id.as_bytes());
            let end = responses.ids.len() as u32;
            responses.items.push(Response { token: *token, status: *status, end });
        }
        self.turn([Command::Responses(responses)]);
    }

    /// A receipt by the text's id and by the TLV's; gives its sequence number.
    pub fn receipt(&mut self, provider: &str, ids: Ids<'_>, state: ReceiptState, phone: Option<u64>) -> u32 {
        self.receipt_with(provider, ids, state, phone, "000")
    }

    /// The same with a word for its error.
    pub fn receipt_with(
        &mut self,
        provider: &str,
        ids: Ids<'_>,
        state: ReceiptState,
        phone: Option<u64>,
        error: &str,
    ) -> u32 {
        self.receipt_done(provider, ids, state, phone, error, None)
    }

    /// The same with the provider's date.
    pub fn receipt_done(
        &mut self,
        provider: &str,
        ids: Ids<'_>,
        state: ReceiptState,
        phone: Option<u64>,
        error: &str,
        done: Option<Wall>,
    ) -> u32 {
        self.sequence += 1;
        let mut bytes = ids.tlv.as_bytes().to_vec();
        let tlv_id_end = bytes.len() as u32;
        bytes.extend_from_slice(ids.text.as_bytes());
        let text_id_end = bytes.len() as u32;
        bytes.extend_from_slice(error.as_bytes());
        let error_end = bytes.len() as u32;
        let sequence = self.sequence;
        let item = Receipt { sequence, state, phone, tlv_id_end, text_id_end, error_end, done };
        let provider = self.provider(provider);
        let connection = Some(ConnectionId(u32::MAX - 1));
        self.turn([Command::Receipts(Receipts {
            provider,
            connection,
            items: vec![item],
            bytes,
            ..Receipts::default()
        })]);
        sequence
    }

    /// What a phone acknowledges of the message with this id, with the state that it names.
    pub fn phone_says(&mut self, provider: &str, id: &str, state: ReceiptState, one: &FromPhone) {
        self.sequence += 1;
        let mut body = Vec::new();
        one.write(&mut body);
        let body = body.into();
        let end = id.len() as u32;
        let item = Receipt {
            sequence: self.sequence,
            state,
            phone: Some(254_712_345_678),
            tlv_id_end: end,
            text_id_end: end,
            error_end: end,
            done: None,
        };
        let receipts = Receipts {
            provider: self.provider(provider),
            connection: Some(ConnectionId(u32::MAX - 1)),
            items: vec![item],
            bytes: id.as_bytes().to_vec(),
            acknowledgements: vec![(0, PhoneAcknowledgement { arrival: one.arrival(), body })],
        };
        self.turn([Command::Receipts(receipts)]);
    }

    /// Messages from phones in one batch; gives their sequence numbers.
    pub fn phones_write(&mut self, provider: &str, all: &[FromPhone]) -> Vec<u32> {
        let command = self.inbound(provider, all);
        let Command::Inbound(inbound) = &command else { unreachable!() };
        let sequences = inbound.items.iter().map(|item| item.sequence).collect();
        self.turn([command]);
        sequences
    }

    pub fn inbound(&mut self, provider: &str, all: &[FromPhone]) -> Command {
        let mut inbound = Inbound {
            provider: self.provider(provider),
            connection: Some(ConnectionId(u32::MAX - 1)),
            ..Inbound::default()
        };
        for one in all {
            self.sequence += 1;
            one.write(&mut inbound.bodies);
            inbound.items.push(InboundItem {
                sequence: self.sequence,
                arrival: one.arrival(),
                part: one.part,
                end: inbound.bodies.len() as u32,
            });
        }
        Command::Inbound(inbound)
    }

    pub fn bind_down(&mut self, provider: &str, bind: u16, unsent: &[PartToken], in_flight: &[PartToken]) {
        let (unsent, in_flight) = (unsent.to_vec(), in_flight.to_vec());
        let provider = self.provider(provider);
        self.turn([Command::BindDown { provider, bind, unsent, in_flight }]);
    }

    // Looking.

    pub fn state(&self, number: u64) -> State {
        self.message(number).state
    }

    /// A message, living or archived.
    pub fn message(&self, number: u64) -> Message {
        match self.engine.message(number) {
            Some(message) => message.clone(),
            None => self.stored(number).expect("a message is living, parked or archived"),
        }
    }

    pub fn in_flight(&self, provider: &str) -> u32 {
        let snapshot = self.engine.snapshot();
        let found = snapshot.providers.iter().find(|one| one.id == provider).expect("a provider");
        found.binds.iter().map(|(in_flight, _)| in_flight).sum()
    }
}
