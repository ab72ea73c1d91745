//! A gateway around an engine: tenants, providers and a disk that are told what to do, and virtual time. After every turn it
//! checks the engine's own rules. It asserts nothing about behaviour; the tests do.

use std::collections::BTreeMap;
use std::time::Duration;

use codecs::instant::{Mono, Wall};
use codecs::receipt::State as ReceiptState;
use codecs::smpp::pdu;
use codecs::text::Encoding;
use engine::catalog::*;
use engine::command::*;
use engine::effect::*;
use engine::message::{Charge, Message, State, number_of};
use engine::money::Micros;
use engine::pages::place_of;
use engine::parking::row::merge_rows;
use engine::submission::{Body, Extra, Priority, Via, push_extra};
use engine::{Engine, Summary};

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

    pub fn sm(&self) -> pdu::Sm<'_> {
        pdu::Sm::read(&self.body).expect("a submit_sm or deliver_sm")
    }
}

/// The messages of a block, by number.
type Block = BTreeMap<u64, Vec<u8>>;

pub struct House {
    pub engine: Engine,
    pub now: Now,
    pub definitions: Definitions,
    next_group: u64,
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
    pub questions: Vec<u64>,
    pub archive_writes: Vec<(u64, bool, usize)>,
    pub requests: Vec<Request>,
    /// What providers were asked: the bind, the part, and the body of the query_sm.
    pub asks: Vec<(ConnectionId, PartToken, Vec<u8>)>,
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
            questions: Vec::new(),
            archive_writes: Vec::new(),
            requests: Vec::new(),
            asks: Vec::new(),
            operated: Vec::new(),
            answers: Vec::new(),
            congestion: 0,
            acknowledged: Vec::new(),
            closed: Vec::new(),
            replies: Vec::new(),
            checks: true,
            clock_ahead: 0,
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

    fn is_archive_wanted(&self) -> bool {
        let is_idle = self.writes.is_empty() && self.parks.is_empty() && self.loads.is_empty();
        !(is_idle && self.questions.is_empty())
    }

    /// The archive does what it was asked for, and says so.
    pub fn serve_archive(&mut self) {
        let mut commands = Vec::new();
        let blocks = self.write_archive();
        if !blocks.is_empty() {
            commands.push(Command::Archived { blocks });
        }
        let parked = self.park();
        if !parked.is_empty() {
            commands.push(Command::Parked { blocks: parked });
        }
        for load in std::mem::take(&mut self.loads) {
            let messages = self.held(load);
            commands.push(Command::Loaded { blocks: vec![LoadedBlock { load, messages }] });
        }
        let questions = std::mem::take(&mut self.questions);
        let numbers: Vec<u64> = questions.iter().filter_map(|hash| self.owners.get(hash).copied()).collect();
        if !numbers.is_empty() {
            commands.push(Command::Owners { numbers });
        }
        self.one_turn(commands);
    }

    /// What a store has of a block.
    fn held(&self, load: Load) -> Vec<Vec<u8>> {
        let stored = match load.shelf {
            Shelf::Archive => self.archive.get(&load.block),
            Shelf::Parked => self.parked.get(&load.block).map(|(_, messages)| messages),
        };
        stored.map(|stored| stored.values().cloned().collect()).unwrap_or_default()
    }

    /// The archive takes what it is given, which then leaves the parked store.
    pub fn write_archive(&mut self) -> Vec<u64> {
        let mut blocks = Vec::new();
        for write in std::mem::take(&mut self.writes) {
            let stored = self.archive.entry(write.block).or_default();
            for bytes in write.messages {
                let number = Message::read(bytes.clone()).expect("an archived message reads").number;
                stored.insert(number, bytes);
            }
            self.owners.extend(write.ids.iter().map(|id| (id.hash, id.number)));
            self.forget_parked(write.block, write.unpark);
            blocks.push(write.block);
        }
        blocks
    }

    /// The parked store takes what it is given.
    pub fn park(&mut self) -> Vec<u64> {
        let parks = std::mem::take(&mut self.parks);
        for write in &parks {
            let (rows, messages) = self.parked.entry(write.block).or_default();
            *rows = merge_rows(rows, &write.rows, 0).expect("rows are well formed");
            for bytes in &write.messages {
                messages.insert(number_of(bytes).expect("a message has a number"), bytes.clone());
            }
        }
        parks.iter().map(|write| write.block).collect()
    }

    fn forget_parked(&mut self, block: u64, gone: u64) {
        let Some((rows, messages)) = self.parked.get_mut(&block) else { return };
        *rows = merge_rows(rows, &[], gone).expect("rows are well formed");
        messages.retain(|number, _| gone & (1 << place_of(*number)) == 0);
        if rows.is_empty() {
            assert!(messages.is_empty(), "messages of block {block} without rows");
            self.parked.remove(&block);
        }
    }

    fn one_turn(&mut self, commands: impl IntoIterator<Item = Command>) {
        self.engine.begin(self.now, self.next_group);
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
        self.release(group.effects);
    }

    fn release(&mut self, effects: Effects) {
        for (connection, outgoing) in effects.connections {
            let mut start = 0;
            for request in outgoing.requests {
                let end = request.end as usize;
                let body = outgoing.bodies[start..end].to_vec();
                start = end;
                self.requests.push(Request { connection, token: request.token, body });
            }
            assert_eq!(start, outgoing.bodies.len());
            let asks = outgoing.asks.into_iter();
            self.asks.extend(asks.map(|ask| (connection, PartToken(ask.token), ask.body)));
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
        self.wants(tenant, Wanted::OfOne { id, source: Vec::new(), what })
    }

    pub fn balance(&mut self, tenant: &str) -> Balance {
        let query = Query::Balance { tenant: self.tenant(tenant) };
        match self.ask(Command::Query { reply: ReplyId(2), query }) {
            Reply::Balance(Some(balance)) => balance,
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
        let (tenant, untold) = (self.tenant(tenant), untold.to_vec());
        self.turn([Command::TenantUnbound { tenant, connection, untold }]);
    }

    pub fn acknowledge(&mut self, tenant: &str, connection: ConnectionId, numbers: &[u64], status: u32) {
        let items = numbers.iter().map(|number| Acknowledgement { number: *number, status }).collect();
        let tenant = self.tenant(tenant);
        self.turn([Command::Acknowledged { tenant, connection, items }]);
    }

    /// What was released for a connection since it was last asked.
    pub fn taken(&mut self, connection: ConnectionId) -> Vec<Request> {
        let all = std::mem::take(&mut self.requests);
        let (here, others) = all.into_iter().partition(|request| request.connection == connection);
        self.requests = others;
        here
    }

    pub fn told(&mut self, connection: ConnectionId) -> Vec<u64> {
        self.taken(connection).into_iter().map(|request| request.token).collect()
    }

    // Providers.

    pub fn bind(&mut self, provider: &str, bind: u16, window: u32) -> ConnectionId {
        let connection = self.connection();
        let provider = self.provider(provider);
        self.turn([Command::BindUp { provider, bind, connection, window }]);
        connection
    }

    pub fn respond(&mut self, provider: &str, bind: u16, answers: &[(PartToken, u32, &str)]) {
        let mut responses = Responses { provider: self.provider(provider), bind, ..Responses::default() };
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
        self.sequence += 1;
        let mut bytes = ids.tlv.as_bytes().to_vec();
        let tlv_id_end = bytes.len() as u32;
        bytes.extend_from_slice(ids.text.as_bytes());
        let text_id_end = bytes.len() as u32;
        bytes.extend_from_slice(error.as_bytes());
        let error_end = bytes.len() as u32;
        let sequence = self.sequence;
        let done = None;
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

    pub fn archived(&self, number: u64) -> Option<Message> {
        let block = engine::pages::block_of(number);
        let bytes = self.archive.get(&block)?.get(&number)?;
        Message::read(bytes.clone())
    }

    /// A message that has left memory: in the parked store, or else in the archive.
    pub fn stored(&self, number: u64) -> Option<Message> {
        let block = engine::pages::block_of(number);
        let parked = self.parked.get(&block).and_then(|(_, messages)| messages.get(&number));
        let mut on_its_way = self.parks.iter().flat_map(|write| &write.messages);
        let on_its_way = on_its_way.rfind(|bytes| number_of(bytes) == Some(number));
        let found = on_its_way.or(parked);
        found.map_or_else(|| self.archived(number), |bytes| Message::read(bytes.clone()))
    }

    pub fn in_flight(&self, provider: &str) -> u32 {
        let snapshot = self.engine.snapshot();
        let found = snapshot.providers.iter().find(|one| one.id == provider).expect("a provider");
        found.binds.iter().map(|(in_flight, _)| in_flight).sum()
    }

    /// The fold of the journal from its released start on.
    pub fn fold(&self) -> Engine {
        self.fold_from(self.release_before)
    }

    pub fn fold_from(&self, start: u64) -> Engine {
        let mut engine = Engine::new(&KEY, self.now);
        for (group, records) in self.journal.iter().filter(|(group, _)| *group >= start) {
            engine.replay(*group, records).expect("our own journal replays");
        }
        self.fold_stored(&mut engine);
        engine
    }

    /// What the stores have that the journal does not.
    pub fn fold_stored(&self, engine: &mut Engine) {
        for (block, (rows, _)) in &self.parked {
            engine.replay_row(*block, rows).expect("our own rows replay");
        }
        for shelf in [Shelf::Parked, Shelf::Archive] {
            for load in engine.apart().into_iter().filter(|load| load.shelf == shelf) {
                engine.replay_apart(load, self.held(load)).expect("our own images replay");
            }
        }
    }

    /// What a fold of the journal must be equal to: what is in memory, and what the archive has not yet answered for.
    pub fn expected(&self) -> Summary {
        let mut summary = self.engine.summary();
        for write in &self.writes {
            for bytes in &write.messages {
                let message = Message::read(bytes.clone()).expect("an archived message reads");
                summary.debts.remove(&message.number);
                summary.living.insert(message.number, (bytes.clone(), message.state));
            }
        }
        for bytes in self.parks.iter().flat_map(|write| &write.messages) {
            let message = Message::read(bytes.clone()).expect("a parked message reads");
            let (messages, waiting, reserved) = &mut summary.parked[message.tenant as usize];
            let is_waiting = matches!(message.state, State::Queued | State::Scheduled | State::Held);
            let is_reserved = message.charge == Charge::Reserved;
            *messages -= 1;
            *waiting -= u64::from(is_waiting);
            *reserved -= if is_reserved { i128::from(message.price.0) } else { 0 };
            summary.living.insert(message.number, (bytes.clone(), message.state));
        }
        summary
    }

    /// The process ends without a word and starts again.
    pub fn crash(&mut self) {
        self.restart();
        self.turn([]);
    }

    /// The same, before the first turn.
    pub fn restart(&mut self) {
        let mut engine = self.fold();
        self.now.mono = Mono(self.now.mono.0 + 1_000_000);
        self.advance(0);
        engine.recovered(self.definitions.clone(), self.now, self.next_group).expect("the journal recovers");
        engine.check();
        self.engine = engine;
        self.writes.clear();
        self.parks.clear();
        self.loads.clear();
        self.questions.clear();
        self.requests.clear();
    }
}

/// The ids of a receipt: of the TLV 0x001E and of the text; empty where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ids<'a> {
    pub tlv: &'a str,
    pub text: &'a str,
}

pub fn text_id(text: &str) -> Ids<'_> {
    Ids { tlv: "", text }
}

/// A message from a phone, or a part of one.
#[derive(Clone, Debug)]
pub struct FromPhone {
    pub phone: u64,
    pub to: &'static str,
    pub text: Vec<u8>,
    pub data_coding: u8,
    pub esm_class: u8,
    pub part: Option<PartOf>,
}

impl Default for FromPhone {
    fn default() -> FromPhone {
        let text = b"STOP it".to_vec();
        FromPhone { phone: 254_712_345_678, to: "22334", text, data_coding: 0, esm_class: 0, part: None }
    }
}

impl FromPhone {
    pub fn part(number: u8, total: u8, text: &[u8]) -> FromPhone {
        let part = PartOf { form: PartForm::Header8, reference: 7, total, number };
        FromPhone { text: text.to_vec(), part: Some(part), ..FromPhone::default() }
    }

    fn arrival(&self) -> u64 {
        engine::hash::hash64(1, format!("{self:?}").as_bytes())
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        let body = Body {
            encoding: codecs::text::encoding_of(self.data_coding),
            data_coding: self.data_coding,
            esm_class: self.esm_class,
            destination: self.phone,
            source: self.to.as_bytes(),
            source_ton: 3,
            octets: &self.text,
            ..Body::default()
        };
        body.write(out);
    }
}

/// A message to submit.
#[derive(Clone, Debug)]
pub struct Sms {
    pub to: u64,
    pub from: &'static str,
    pub text: Vec<u8>,
    pub parts: u8,
    pub priority: Priority,
    pub via: Via,
    pub registered: u8,
    pub send_at: Option<Wall>,
    pub valid_until: Option<Wall>,
    pub provider: Option<&'static str>,
    pub campaign: Option<&'static str>,
    pub encoding: Encoding,
    pub data_coding: u8,
    pub esm_class: u8,
    pub tlvs: Vec<u8>,
}

impl Default for Sms {
    fn default() -> Sms {
        Sms {
            to: 254_712_345_678,
            from: "ACME",
            text: b"hello".to_vec(),
            parts: 1,
            priority: Priority::Normal,
            via: Via::Smpp,
            registered: 1,
            send_at: None,
            valid_until: None,
            provider: None,
            campaign: None,
            encoding: Encoding::Gsm7,
            data_coding: 0,
            esm_class: 0,
            tlvs: Vec::new(),
        }
    }
}

impl Sms {
    pub fn of_parts(parts: u8) -> Sms {
        let octets = if parts == 1 { 5 } else { 153 * usize::from(parts) };
        Sms { text: vec![b'x'; octets], parts, ..Sms::default() }
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        let mut extras = Vec::new();
        if let Some(provider) = self.provider {
            push_extra(&mut extras, Extra::Provider, provider.as_bytes());
        }
        if let Some(campaign) = self.campaign {
            push_extra(&mut extras, Extra::Campaign, campaign.as_bytes());
        }
        if !self.tlvs.is_empty() {
            push_extra(&mut extras, Extra::Tlvs, &self.tlvs);
        }
        let body = Body {
            via: self.via,
            encoding: self.encoding,
            data_coding: self.data_coding,
            esm_class: self.esm_class,
            priority: self.priority,
            registered_delivery: self.registered,
            parts: self.parts,
            destination: self.to,
            send_at: self.send_at,
            valid_until: self.valid_until,
            source: self.from.as_bytes(),
            octets: &self.text,
            extras: &extras,
            ..Body::default()
        };
        body.write(out);
    }
}

/// Tenants `acme` and `other` with 1,000 units each, a part costs one; providers `up` and, second in the route, `spare`.
pub fn definitions() -> Definitions {
    Definitions {
        settings: Settings::default(),
        tenants: vec![tenant("acme"), tenant("other")],
        providers: vec![provider("up"), provider("spare")],
        routes: vec![RouteDefinition {
            prefixes: vec!["254".to_owned()],
            providers: vec![("up".to_owned(), 1), ("spare".to_owned(), 1)],
            ..RouteDefinition::default()
        }],
        inbound: vec![InboundDefinition {
            to: vec!["22334".to_owned()],
            tenant: "acme".to_owned(),
            ..InboundDefinition::default()
        }],
        rates: Vec::new(),
    }
}

pub fn tenant(id: &str) -> TenantDefinition {
    TenantDefinition {
        id: id.to_owned(),
        currency: "KES".to_owned(),
        price: Some(Micros(1_000_000)),
        opening_balance: Micros(1_000_000_000),
        ..TenantDefinition::default()
    }
}

pub fn provider(id: &str) -> ProviderDefinition {
    ProviderDefinition { id: id.to_owned(), ..ProviderDefinition::default() }
}
