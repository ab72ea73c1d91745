//! What the tests stand on: a router, an engine in a thread, and a provider that accepts and delivers at once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request};
use codecs::receipt::State;
use codecs::text::Encoding;
use connectors::admission::Admission;
use connectors::clock::Clock;
use connectors::intake::{Intake, Source, Wakes};
use connectors::reply::Replies;
use engine::Engine;
use engine::command::{
    Command, ConnectionId, PartToken, Receipt, Receipts, ReplyId, Response, Responses, Submissions,
};
use engine::effect::{Effects, Outcome, Reply};
use engine::id::Permutation;
use engine::message::Message;
use engine::pages::order_of;
use serde_json::Value;
use tower::ServiceExt;

use crate::api::{
    ApiState, Bodies, History, HistoryUnavailable, Kept, Limits, Listing, Looking, Placing, router,
};
use crate::directory::{Account, Directory, Entries};
use crate::lists::{Asked, Page};
use crate::metrics::DoorCounts;
use crate::ops::Health;
use crate::tlv_names::TlvNames;

pub const ID_KEY: [u8; 32] = [9; 32];
/// Its key is `tg_live_acme`.
pub const ACME: &str = r#"
    [[provider]]
    id = "up"
    host = "127.0.0.1"
    system_id = "up"
    [[tenant]]
    id = "acme"
    currency = "KES"
    balance = "100000.00"
    price = "1.00"
    api_keys = ["tg_live_acme"]
"#;
/// Beside `ACME`; its key is `tg_live_other`.
pub const OTHER: &str = r#"
    [[tenant]]
    id = "other"
    currency = "EUR"
    balance = "1.50"
    price = "0.0075"
    api_keys = ["tg_live_other"]
"#;

pub struct House {
    pub state: ApiState,
    pub archive: Arc<Shelf>,
    thread: Option<JoinHandle<()>>,
}

/// An archive in memory.
#[derive(Default)]
pub struct Shelf {
    pub messages: Mutex<HashMap<u64, Vec<u8>>>,
    pub broken: Mutex<bool>,
}

impl History for Shelf {
    fn read(&self, _tenant: u32, number: u64) -> Looking<'_> {
        let found = match *self.broken.lock().unwrap() {
            true => Err(HistoryUnavailable::Unreadable),
            false => Ok(self.messages.lock().unwrap().get(&number).cloned()),
        };
        Box::pin(async move { Ok(found?.map_or(Kept::Nowhere, Kept::Message)) })
    }

    fn place_before(&self, _tenant: u32, _until: i64) -> Placing<'_> {
        Box::pin(async { Ok(u64::MAX) })
    }

    fn list(&self, asked: Asked) -> Listing<'_> {
        let is_broken = *self.broken.lock().unwrap();
        let is_there = |message: &Message| {
            (asked.floor..=asked.at).contains(&order_of(message.number)) && asked.is(message)
        };
        let kept = self.messages.lock().unwrap();
        let mut messages: Vec<Message> =
            kept.values().cloned().filter_map(Message::read).filter(is_there).collect();
        messages.sort_by_key(|message| std::cmp::Reverse(order_of(message.number)));
        let is_cut = messages.len() > asked.most;
        messages.truncate(asked.most);
        let last = messages.last().map_or(asked.floor, |last| order_of(last.number));
        let floor = if is_cut { last } else { asked.floor };
        let page = Page { messages, floor, is_last: false };
        Box::pin(async move { if is_broken { Err(HistoryUnavailable::Unreadable) } else { Ok(page) } })
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_else(|| panic!("no {member} in {}", self.body))
    }

    /// What a refusal says, after its form was checked (RFC 9457).
    pub fn refusal(&self) -> (u16, &str, Option<&str>) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.body);
        assert_eq!(self.body["status"], self.status);
        assert_eq!(self.text("type"), format!("urn:tidegate:problem:{}", self.text("code")));
        assert!(!self.text("title").is_empty() && !self.text("detail").is_empty());
        (self.status, self.text("code"), self.body["field"].as_str())
    }
}

impl House {
    /// With a provider that is never bound: everything stays queued.
    pub fn open(toml: &str) -> House {
        House::with_engine(toml, false)
    }

    /// With a provider that accepts and delivers what it gets.
    pub fn delivering(toml: &str) -> House {
        House::with_engine(toml, true)
    }

    fn with_engine(toml: &str, delivers: bool) -> House {
        let (mut house, definitions) = House::door(toml);
        let (intake, replies) = (Arc::clone(&house.state.intake), Arc::clone(&house.state.replies));
        let clock = house.state.clock;
        let mut engine = Engine::new(&ID_KEY, clock.system());
        engine.recovered(definitions, clock.system(), 1).unwrap();
        if delivers {
            let up = Command::BindUp { provider: 0, bind: 0, connection: ConnectionId(1), window: 100 };
            intake.lane(Source::Provider(0)).try_offer(up).unwrap();
        }
        let archive = Arc::clone(&house.archive);
        house.thread = Some(std::thread::spawn(move || run(engine, &intake, &replies, &archive, clock)));
        house
    }

    /// With somebody else in the engine's place.
    pub fn scripted(toml: &str, mut answer: impl FnMut(Submissions) -> Reply + Send + 'static) -> House {
        let (mut house, _) = House::door(toml);
        let (intake, replies) = (Arc::clone(&house.state.intake), Arc::clone(&house.state.replies));
        house.thread = Some(std::thread::spawn(move || {
            let mut commands = Vec::new();
            while intake.take(None, Wakes::Any, &mut commands) {
                for command in commands.drain(..) {
                    let Command::Submit(submissions) = command else { panic!("{command:?}") };
                    let engine::command::Door::Http(reply) = submissions.door else { panic!() };
                    replies.release(reply, answer(submissions));
                }
            }
        }));
        house
    }

    fn door(toml: &str) -> (House, engine::catalog::Definitions) {
        let config = config::load(Some(("test.toml", toml)), []).unwrap();
        let definitions = crate::definitions::definitions(&config);
        let accounts =
            (0..).zip(&config.tenant).map(|(number, tenant)| Account { number, tenant, key_hashes: &[] });
        let entries = Entries::new(accounts, [(0, "up".to_owned())], TlvNames::new(&config.provider));
        let archive = Arc::<Shelf>::default();
        let state = ApiState {
            directory: Directory::new(entries),
            admission: Admission::new(),
            intake: Intake::new(),
            replies: Replies::new(),
            history: Arc::clone(&archive) as _,
            health: Health::new(),
            counts: Arc::<DoorCounts>::default(),
            ids: Arc::new(Permutation::new(&ID_KEY)),
            clock: Clock::start(),
            limits: Limits::default(),
            bodies: Bodies::new(256 << 20, 16 << 20),
        };
        state.health.set_started();
        (House { state, archive, thread: None }, definitions)
    }

    pub async fn send(&self, body: &str) -> Answer {
        self.ask(Method::POST, "/v1/messages", &[], body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], "").await
    }

    /// With acme's key, unless the headers bring another one.
    pub async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| ["authorization", "x-api-key"].contains(name)) {
            request = request.header("authorization", "Bearer tg_live_acme");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        let peer: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = router(self.state.clone()).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, 64 << 20).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// The message once it has this status; the engine's thread needs a few turns for it.
    pub async fn until(&self, id: &str, status: &str) -> Answer {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = self.get(&format!("/v1/messages/{id}")).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            if answer.text("status") == status {
                return answer;
            }
            assert!(Instant::now() < deadline, "still {}", answer.body);
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.state.intake.close();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

pub fn accepted(count: usize, first: u64) -> Vec<Outcome> {
    let price = engine::money::Micros(1_000_000);
    let ids = (first..).take(count);
    ids.map(|number| Outcome::Accepted {
        id: 100_000_000_000_000_000 + number,
        price,
        parts: 0,
        encoding: Encoding::Gsm7,
        scheduled: false,
    })
    .collect()
}

fn run(mut engine: Engine, intake: &Arc<Intake>, replies: &Replies, archive: &Shelf, clock: Clock) {
    let (mut commands, mut group) = (Vec::new(), 1);
    while intake.take(Some(Instant::now() + Duration::from_millis(1)), Wakes::Any, &mut commands) {
        let now = clock.now();
        engine.begin(now, group, engine::Released::all(now));
        for command in commands.drain(..) {
            engine.handle(command);
        }
        engine.run(0);
        let taken = engine.take_group();
        group += u64::from(!taken.records.is_empty());
        release(taken.effects, intake, replies, archive);
    }
}

fn release(effects: Effects, intake: &Arc<Intake>, replies: &Replies, archive: &Shelf) {
    for write in &effects.archive {
        for message in &write.messages {
            let number = engine::message::number_of(message).unwrap();
            archive.messages.lock().unwrap().insert(number, message.clone());
        }
    }
    let tokens: Vec<u64> =
        effects.connections.iter().flat_map(|(_, out)| &out.requests).map(|r| r.token).collect();
    if !tokens.is_empty() {
        let (responses, receipts) = deliver(&tokens);
        // Ended by now is fine.
        let lane = intake.lane(Source::Provider(0));
        let _ = lane.try_offer(Command::Responses(responses));
        let _ = lane.try_offer(Command::Receipts(receipts));
    }
    for (id, reply) in effects.replies {
        answer(replies, id, reply);
    }
}

fn answer(replies: &Replies, id: ReplyId, reply: Reply) {
    replies.release(id, reply);
}

/// A response and a delivered receipt for each part.
fn deliver(tokens: &[u64]) -> (Responses, Receipts) {
    let mut responses = Responses { provider: 0, ..Responses::default() };
    let mut receipts = Receipts { provider: 0, connection: Some(ConnectionId(1)), ..Receipts::default() };
    for (sequence, token) in (1..).zip(tokens) {
        let id = format!("up-{:x}-{}", PartToken(*token).number(), PartToken(*token).part());
        responses.ids.extend_from_slice(id.as_bytes());
        responses.items.push(Response {
            token: PartToken(*token),
            status: 0,
            end: responses.ids.len() as u32,
        });
        let tlv_id_end = receipts.bytes.len() as u32;
        receipts.bytes.extend_from_slice(id.as_bytes());
        let text_id_end = receipts.bytes.len() as u32;
        receipts.bytes.extend_from_slice(b"000");
        let error_end = receipts.bytes.len() as u32;
        let state = State::Delivered;
        receipts.items.push(Receipt {
            sequence,
            state,
            phone: None,
            tlv_id_end,
            text_id_end,
            error_end,
            done: None,
        });
    }
    (responses, receipts)
}
