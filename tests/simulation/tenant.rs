//! The simulated tenants: sessions that bind, submit within their window, answer receipts, leave and come again.
//! They remember what they were told, and judge nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::dice::Dice;
use crate::pdu::{self, Frame, MESSAGE_STATE, Peer, RECEIPTED_MESSAGE_ID, Sm, command};
use crate::plan::{Habit, TenantPlan};
use crate::world::{World, pass};

const THROTTLED: u32 = 0x58;
const QUEUE_FULL: u32 = 0x14;
/// The bits of esm_class that say what a deliver_sm is.
const KIND: u8 = 0x3C;
/// ESME_RX_T_APPN: not now.
const NOT_NOW: u32 = 0x64;

enum Act {
    Submit,
    Answer(Frame, u32),
    /// Changes its mind about the message to this phone, which has this id.
    Change(u64, u64),
    Leave,
}

struct Session {
    world: Arc<World>,
    tenant: usize,
    plan: TenantPlan,
    name: String,
    dice: Dice,
    peer: Peer,
    acts: BTreeMap<(Instant, u64), Act>,
    count: u64,
    receives: bool,
    /// It was told to be slower.
    not_before: Instant,
    /// Submissions without an answer: sequence number and phone.
    open: BTreeMap<u32, u64>,
    /// Changes without an answer: the phone, and the text that it is to have; none, and it is to be cancelled.
    changes: BTreeMap<u32, (u64, Option<Vec<u8>>)>,
}

/// One session of a tenant after the other, to the end of the run.
pub async fn run(world: Arc<World>, tenant: usize, number: u32, seed: u64) {
    let mut dice = Dice::new(seed);
    let plan = world.plan.tenants[tenant].clone();
    loop {
        pass(Duration::from_millis(dice.in_range(10..3_000))).await;
        let Some(stream) = world.connect(tenant, &mut dice) else { continue };
        let mut session = Session {
            name: format!("{}.{number}", plan.id),
            plan: plan.clone(),
            tenant,
            dice: Dice::new(dice.word()),
            peer: Peer::new(stream),
            acts: BTreeMap::new(),
            count: 0,
            receives: true,
            not_before: Instant::now(),
            open: BTreeMap::new(),
            changes: BTreeMap::new(),
            world: Arc::clone(&world),
        };
        if session.bind().await {
            session.serve().await;
        }
        let lost = session.open.len();
        world.book().unanswered -= lost as u32;
        world.note(format_args!("{} is gone, {lost} unanswered", session.name));
    }
}

impl Session {
    async fn bind(&mut self) -> bool {
        let body = pdu::bind_body(&self.plan.id, "secret");
        let kind = match self.dice.in_range(0..10) {
            0 if !self.world.is_calm() && self.plan.habit != Habit::Plain => command::BIND_TRANSMITTER,
            _ => command::BIND_TRANSCEIVER,
        };
        self.receives = kind == command::BIND_TRANSCEIVER;
        self.peer.request(kind, &body);
        let answer = tokio::time::timeout(Duration::from_secs(60), self.peer.frame()).await;
        let status = answer.ok().flatten().map(|frame| frame.status);
        self.world.note(format_args!("{} binds: {status:?}", self.name));
        status == Some(0)
    }

    async fn serve(&mut self) {
        self.plan_next_submit();
        if self.plan.habit != Habit::Plain {
            let stays = Duration::from_millis(self.dice.in_range(500..60_000));
            self.later(stays, Act::Leave);
        }
        loop {
            let reads = self.plan.habit != Habit::NeverReads || self.world.is_calm();
            let next = self.acts.keys().next().map(|(at, _)| *at);
            let next = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(5));
            tokio::select! {
                biased;
                frame = self.peer.frame(), if reads => {
                    let Some(frame) = frame else { return };
                    if !self.take(frame) {
                        return;
                    }
                }
                () = sleep_until(next) => {}
            }
            while let Some(entry) = self.acts.first_entry().filter(|entry| entry.key().0 <= Instant::now()) {
                match entry.remove() {
                    Act::Submit => self.submit(),
                    Act::Answer(frame, status) => {
                        let body: &[u8] = if status == 0 { &[0] } else { &[] };
                        self.peer.respond(&frame, status, body);
                    }
                    Act::Change(phone, id) => self.change(phone, id),
                    Act::Leave if self.world.is_calm() && self.receives => {}
                    Act::Leave => return,
                }
            }
        }
    }

    fn later(&mut self, pause: Duration, act: Act) {
        self.count += 1;
        self.acts.insert((Instant::now() + pause, self.count), act);
    }

    fn plan_next_submit(&mut self) {
        let most = if self.world.is_calm() { self.plan.pause_max.min(100) } else { self.plan.pause_max };
        let most = if self.world.plan.is_fair { self.plan.pause_max } else { most };
        let pause = Duration::from_millis(self.dice.in_range(0..most + 1));
        self.later(pause, Act::Submit);
    }

    fn submit(&mut self) {
        if let Some(pause) = self.not_before.checked_duration_since(Instant::now()).filter(|p| !p.is_zero()) {
            return self.later(pause, Act::Submit);
        }
        if self.open.len() as u32 >= self.plan.window {
            // The next answer plans it.
            return;
        }
        let mut book = self.world.book();
        let Some(phone) = book.todo[self.tenant].pop_front() else { return };
        let seen = book.seen.entry(phone).or_default();
        let registered = self.world.plan.is_fair || !phone.is_multiple_of(10);
        (seen.tenant, seen.registered, seen.campaign) = (self.tenant, registered, None);
        book.unanswered += 1;
        drop(book);
        let sm = self.message(phone, registered);
        let sequence = self.peer.request(command::SUBMIT_SM, &sm.write());
        self.open.insert(sequence, phone);
        self.world.note(format_args!("{} submits {phone}", self.name));
        self.plan_next_submit();
    }

    fn message(&mut self, phone: u64, registered: bool) -> Sm {
        let is_fair = self.world.plan.is_fair;
        let (is_long, expires) = (self.dice.happens(10), self.dice.happens(5));
        let is_plain = self.world.plan.is_alike() && self.dice.happens(70);
        let text = if is_long && !is_fair { "long text ".repeat(22) } else { self.world.plan.text(phone) };
        Sm {
            source: "12345".to_owned(),
            destination: phone.to_string(),
            registered: u8::from(registered),
            priority: if is_fair || is_plain { 0 } else { self.dice.in_range(0..3) as u8 },
            // In a minute and a half (SMPP 3.4 §7.1.1.2).
            validity: if expires && !is_fair { "000000000130000R".to_owned() } else { String::new() },
            text: text.into_bytes(),
            ..Sm::default()
        }
    }

    /// `false` when the session is over.
    fn take(&mut self, frame: Frame) -> bool {
        match frame.command {
            command::ENQUIRE_LINK => self.peer.respond(&frame, 0, &[]),
            command::DELIVER_SM => self.told(frame),
            command::UNBIND => {
                self.peer.respond(&frame, 0, &[]);
                return false;
            }
            of if of == command::SUBMIT_SM | command::RESPONSE => self.answered(&frame),
            of if of & command::RESPONSE != 0 => self.changed(&frame),
            of => self.world.fail(format!("{} is sent the command {of:#x}", self.name)),
        }
        true
    }

    fn answered(&mut self, frame: &Frame) {
        let Some(phone) = self.open.remove(&frame.sequence) else {
            return self.world.fail(format!("{}: an answer to nothing: {frame:?}", self.name));
        };
        let mut book = self.world.book();
        book.unanswered -= 1;
        let seen = book.seen.entry(phone).or_default();
        if frame.status == 0 {
            let id = pdu::take_text(&mut &frame.body[..]).and_then(|id| id.parse().ok());
            seen.id = id;
            seen.acked_at = Some(Instant::now());
            drop(book);
            self.world.note(format_args!("{} has {id:?} for {phone}", self.name));
            if let Some(id) = id.filter(|_| !self.world.plan.is_fair && self.dice.happens(5)) {
                let pause = Duration::from_millis(self.dice.in_range(0..5_000));
                self.later(pause, Act::Change(phone, id));
            }
            if id.is_none() {
                self.world.fail(format!("{}: {phone} is accepted without an id", self.name));
            }
        } else {
            let again = matches!(frame.status, THROTTLED | QUEUE_FULL);
            seen.refused = !again;
            if again {
                book.todo[self.tenant].push_back(phone);
            }
            drop(book);
            self.world.note(format_args!("{} is refused {phone}: {:#x}", self.name, frame.status));
            if again {
                self.not_before = Instant::now() + Duration::from_millis(500);
            }
        }
        self.plan_next_submit();
    }

    /// Cancels a message, or gives it another text, if it still waits. Another change of it must not be under way.
    fn change(&mut self, phone: u64, id: u64) {
        if self.changes.values().any(|(other, _)| *other == phone) {
            return;
        }
        let mut body = Vec::new();
        let (command, text) = if self.dice.happens(50) {
            body.extend_from_slice(format!("\0{id}\0\0\0\0\0\0\0").as_bytes());
            (command::CANCEL_SM, None)
        } else {
            // One part, or two.
            let text = vec![b'n'; if self.dice.happens(50) { 200 } else { 150 }];
            body.extend_from_slice(format!("{id}\0\0\0\0\0\0").as_bytes());
            body.extend_from_slice(&[1, 0, text.len() as u8]);
            body.extend_from_slice(&text);
            (command::REPLACE_SM, Some(text))
        };
        let sequence = self.peer.request(command, &body);
        self.changes.insert(sequence, (phone, text));
    }

    /// A change is answered; one without an answer may have been made or not.
    fn changed(&mut self, frame: &Frame) {
        let Some((phone, text)) = self.changes.remove(&frame.sequence) else { return };
        self.world.note(format_args!("{} has changed {phone}: {:#x}", self.name, frame.status));
        if frame.status != 0 {
            return;
        }
        let mut book = self.world.book();
        match text {
            Some(text) => {
                book.replaced.insert(phone, text);
                book.tally.replaced += 1;
            }
            None => {
                book.cancelled.insert(phone);
                book.tally.cancelled += 1;
            }
        }
    }

    /// A receipt came, or what a phone has written.
    fn told(&mut self, frame: Frame) {
        let sm = Sm::read(&frame.body);
        if let Some(sm) = sm.as_ref().filter(|sm| sm.esm_class & KIND == 0) {
            return self.hears(frame, sm);
        }
        let value = |wanted: u16| {
            let tlvs = sm.iter().flat_map(|sm| &sm.tlvs);
            tlvs.filter(|(tag, _)| *tag == wanted).map(|(_, value)| value.clone()).next()
        };
        let id = value(RECEIPTED_MESSAGE_ID).and_then(|id| pdu::take_text(&mut &id[..])?.parse::<u64>().ok());
        let state = value(MESSAGE_STATE).and_then(|state| state.first().copied());
        let phone = sm.as_ref().and_then(|sm| sm.source.parse::<u64>().ok());
        let (Some(id), Some(state), Some(phone)) = (id, state, phone) else {
            return self.world.fail(format!("{}: a receipt of nothing: {sm:?}", self.name));
        };
        let status = match self.dice.in_range(0..20) {
            0 if !self.world.is_calm() => NOT_NOW,
            _ => 0,
        };
        self.world.note(format_args!("{} is told {id} for {phone} is {state}: {status}", self.name));
        let mut book = self.world.book();
        let tenant = self.tenant;
        match book.seen.get_mut(&phone) {
            Some(seen) if seen.tenant == tenant && seen.id.is_none_or(|known| known == id) => {
                if status == 0 {
                    seen.told.push(state);
                }
            }
            seen => {
                let what =
                    format!("{} is told of {id} for {phone}: {:?}", self.name, seen.map(|seen| seen.id));
                self.world.fail(what);
            }
        }
        drop(book);
        self.answer_later(frame, status);
    }

    fn hears(&mut self, frame: Frame, sm: &Sm) {
        let Ok(phone) = sm.source.parse::<u64>() else {
            return self.world.fail(format!("{}: a message of nobody: {sm:?}", self.name));
        };
        let status = if self.dice.happens(5) && !self.world.is_calm() { NOT_NOW } else { 0 };
        self.world.note(format_args!("{} hears {phone}: {status}", self.name));
        if status == 0 {
            let mut book = self.world.book();
            book.tally.heard += 1;
            book.heard.entry(phone).or_default().push((self.tenant, sm.content().to_vec()));
        }
        self.answer_later(frame, status);
    }

    fn answer_later(&mut self, frame: Frame, status: u32) {
        // Some answers come when the gateway does not wait for them any more.
        let patience = match self.world.is_calm() {
            true => 100,
            false if self.dice.happens(5) => 300_000,
            false => 3_000,
        };
        let pause = if self.dice.happens(80) { 0 } else { self.dice.in_range(0..patience) };
        if self.world.is_calm() || !self.dice.happens(2) {
            self.later(Duration::from_millis(pause), Act::Answer(frame, status));
        }
    }
}
