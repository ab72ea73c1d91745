//! One connection of the simulated provider: what it answers to each PDU and when. The socket is in `mod.rs`, the draws in `faults`.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

mod multi;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Counts, Shared,
    faults::{Malformed, Plan},
    phones::Phones,
    profile::{Outcome, Profile, microseconds},
    receipts::{Account, Party, Receipt, Writer},
    record::{Accepted, Body},
    sequences::OfBind,
};
use crate::{
    dice::{Dice, fingerprint, mix},
    window::Window,
    wire::{self, Address, Login, Message, Pdu, Reader, command, status, tag},
};

/// How much later than usual a response comes whose receipt is to come first, in microseconds.
const EARLY_GAP: u64 = 20_000;
/// Message ids that a session takes at a time.
const IDS_AT_A_TIME: u64 = 1_024;
const SUBMIT_RESPONSE: u32 = command::SUBMIT_SM | command::RESPONSE;

/// Whether the connection lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Open,
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Unbound,
    Transmitter,
    Receiver,
    Transceiver,
}

impl Mode {
    fn transmits(self) -> bool {
        matches!(self, Self::Transmitter | Self::Transceiver)
    }

    fn receives(self) -> bool {
        matches!(self, Self::Receiver | Self::Transceiver)
    }
}

/// A response that waits for its time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Answer {
    due: u64,
    order: u64,
    sequence: u32,
    result: Result<u64, u32>,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    profile: Arc<Profile>,
    profile_version: u64,
    plain: bool,
    account: Arc<Account>,
    mode: Mode,
    window: Window<Receipt>,
    phones: Phones,
    answers: BinaryHeap<Reverse<Answer>>,
    order: u64,
    writer: Writer,
    ids: Range<u64>,
    /// What this batch has accepted, what receipts it owes, and a list kept for its memory.
    accepted: Vec<Accepted>,
    sequences: OfBind,
    owed: Vec<(u64, Receipt)>,
    taken: Vec<Receipt>,
    counts: Counts,
    /// Microseconds since the simulator's start, and milliseconds since the Unix epoch; both of the batch.
    now: u64,
    wall: u64,
    heard: u64,
    asked: Option<u64>,
    swept: u64,
}

impl Session {
    pub fn new(shared: Arc<Shared>) -> Self {
        let (profile_version, profile) = shared.profile();
        let counts = Counts { connections: 1, ..Counts::default() };
        let mut session = Self {
            account: Arc::clone(&shared.nobody),
            window: Window::new(profile.window),
            phones: Phones::new(profile.window),
            plain: profile.is_plain(),
            shared,
            profile,
            profile_version,
            mode: Mode::Unbound,
            answers: BinaryHeap::new(),
            order: 0,
            writer: Writer::default(),
            ids: 0..0,
            accepted: Vec::new(),
            sequences: OfBind::default(),
            owed: Vec::new(),
            taken: Vec::new(),
            counts,
            now: 0,
            wall: 0,
            heard: 0,
            asked: None,
            swept: 0,
        };
        session.begin();
        (session.heard, session.swept) = (session.now, session.now);
        session
    }

    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// The time of the batch in microseconds since the simulator's start.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Begins a batch: takes the time and a profile that has changed.
    pub fn begin(&mut self) {
        self.now = self.shared.now();
        self.wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        if self.shared.profile_version() != self.profile_version {
            (self.profile_version, self.profile) = self.shared.profile();
            self.plain = self.profile.is_plain();
        }
    }

    /// Takes one PDU and appends what is answered to it at once.
    pub fn take(&mut self, pdu: Pdu<'_>, out: &mut Vec<u8>) -> Flow {
        self.heard = self.now;
        self.asked = None;
        match pdu.command {
            command::SUBMIT_SM => return self.submit(pdu, out),
            acknowledgement if acknowledgement == command::DELIVER_SM | command::RESPONSE => {
                self.acknowledged(pdu)
            }
            command::GENERIC_NACK => self.acknowledged(pdu),
            command::ENQUIRE_LINK => {
                wire::empty(out, pdu.command | command::RESPONSE, status::OK, pdu.sequence)
            }
            command::BIND_RECEIVER | command::BIND_TRANSMITTER | command::BIND_TRANSCEIVER => {
                self.bind(pdu, out)
            }
            command::UNBIND => {
                wire::empty(out, pdu.command | command::RESPONSE, status::OK, pdu.sequence);
                return Flow::Close;
            }
            response if response & command::RESPONSE != 0 => {}
            command::SUBMIT_MULTI if self.profile.multi && self.mode.transmits() => {
                return self.submit_multi(pdu, out);
            }
            command::QUERY_SM if self.profile.queries && self.mode.transmits() => self.query(pdu, out),
            command::QUERY_SM
            | command::REPLACE_SM
            | command::CANCEL_SM
            | command::SUBMIT_MULTI
            | command::DATA_SM => {
                wire::empty(out, pdu.command | command::RESPONSE, status::INVALID_COMMAND, pdu.sequence);
            }
            _ => wire::empty(out, command::GENERIC_NACK, status::INVALID_COMMAND, pdu.sequence),
        }
        Flow::Open
    }

    /// The stream cannot be cut into PDUs any more; the connection is to be closed after this answer.
    pub fn framing_failed(&mut self, sequence: u32, out: &mut Vec<u8>) {
        self.counts.garbage = self.counts.garbage.saturating_add(1);
        wire::empty(out, command::GENERIC_NACK, status::INVALID_COMMAND_LENGTH, sequence);
    }

    /// Ends a batch: what was accepted is recorded before any answer leaves, what is due is appended; answers when to come again.
    pub fn settle(&mut self, out: &mut Vec<u8>) -> io::Result<u64> {
        if self.profile.sequences && !self.accepted.is_empty() {
            self.shared.lock(&self.shared.sequences).add(&self.accepted, &mut self.sequences);
        }
        self.shared.record.append(&mut self.accepted)?;
        let answer = self.write_answers(out);
        let receipt = self.send_receipts(out).min(self.let_phones_speak(out));
        if self.profile.pacing > 0 && self.counts.submits > 0 {
            self.account.count(self.profile.pacing, self.now, self.counts.submits);
        }
        self.shared.add(&mut self.counts);
        let swept = self.swept.saturating_add(self.sweep_interval());
        Ok(answer.min(receipt).min(swept).min(self.silence_ends()))
    }

    /// Looks after silence and receipts never answered. Answers `Close` when the peer has gone.
    pub fn tick(&mut self, out: &mut Vec<u8>) -> Flow {
        if self.now >= self.swept.saturating_add(self.sweep_interval()) {
            self.swept = self.now;
            let unanswered = self.now.saturating_sub(microseconds(self.profile.receipt_timeout));
            self.return_receipts(unanswered);
            self.phones.repeat(self.now, self.profile.receipt_timeout, &mut self.counts);
        }
        if self.now < self.silence_ends() {
            return Flow::Open;
        }
        if self.asked.is_some() {
            return Flow::Close;
        }
        self.asked = Some(self.now);
        // A sequence number far from those of receipts; nothing but silence is remembered of it.
        wire::empty(out, command::ENQUIRE_LINK, status::OK, wire::SEQUENCE_MAX);
        Flow::Open
    }

    fn bind(&mut self, pdu: Pdu<'_>, out: &mut Vec<u8>) {
        let response = pdu.command | command::RESPONSE;
        let refusal = if self.mode == Mode::Unbound { self.log_in(pdu) } else { Some(status::ALREADY_BOUND) };
        if let Some(status) = refusal {
            self.counts.binds_refused = self.counts.binds_refused.saturating_add(1);
            return wire::empty(out, response, status, pdu.sequence);
        }
        self.counts.binds = self.counts.binds.saturating_add(1);
        self.mode = match pdu.command {
            command::BIND_RECEIVER => Mode::Receiver,
            command::BIND_TRANSMITTER => Mode::Transmitter,
            _ => Mode::Transceiver,
        };
        wire::framed(out, response, status::OK, pdu.sequence, |out| {
            out.extend_from_slice(b"simulator\0");
            out.extend_from_slice(&tag::SC_INTERFACE_VERSION.to_be_bytes());
            out.extend_from_slice(&[0, 1, 0x34]);
        });
    }

    /// Nothing is kept of a message but its record, so every one has had the first outcome.
    fn query(&mut self, pdu: Pdu<'_>, out: &mut Vec<u8>) {
        let response = command::RESPONSE | command::QUERY_SM;
        let Some(id) = Reader(pdu.body).c_string() else {
            return wire::empty(out, response, status::INVALID_COMMAND_LENGTH, pdu.sequence);
        };
        let state = self.profile.outcomes.first().and_then(Outcome::number).unwrap_or(7);
        wire::framed(out, response, status::OK, pdu.sequence, |out| {
            out.extend_from_slice(id);
            // The end of the id, no final date, the state and no error (SMPP 3.4 §4.8.2).
            out.extend_from_slice(&[0, 0, state, 0]);
        });
    }

    fn log_in(&mut self, pdu: Pdu<'_>) -> Option<u32> {
        let Some(login) = Login::parse(pdu.body) else {
            return Some(status::INVALID_COMMAND_LENGTH);
        };
        let differs = |wanted: &Option<String>, given: &[u8]| {
            wanted.as_ref().is_some_and(|wanted| wanted.as_bytes() != given)
        };
        if differs(&self.profile.system_id, login.system_id) {
            return Some(status::INVALID_SYSTEM_ID);
        }
        if differs(&self.profile.password, login.password) {
            return Some(status::INVALID_PASSWORD);
        }
        match self.shared.account(login.system_id) {
            Some(account) => self.account = account,
            None => return Some(status::SYSTEM_ERROR),
        }
        None
    }

    fn submit(&mut self, pdu: Pdu<'_>, out: &mut Vec<u8>) -> Flow {
        if !self.mode.transmits() {
            wire::empty(out, SUBMIT_RESPONSE, status::INVALID_BIND_STATE, pdu.sequence);
            return Flow::Open;
        }
        self.counts.submits = self.counts.submits.saturating_add(1);
        let refusal = match Message::parse(pdu.body) {
            Some(message) if message.destination.digits.is_empty() => status::INVALID_DESTINATION,
            Some(message) if self.plain => {
                self.accept_at_once(pdu.sequence, &message, out);
                return Flow::Open;
            }
            Some(message) => return self.decide(pdu.sequence, &message, out),
            None => status::INVALID_COMMAND_LENGTH,
        };
        self.counts.refused = self.counts.refused.saturating_add(1);
        wire::empty(out, SUBMIT_RESPONSE, refusal, pdu.sequence);
        Flow::Open
    }

    /// The fast path: response and receipt are appended while the submit is read.
    fn accept_at_once(&mut self, sequence: u32, message: &Message<'_>, out: &mut Vec<u8>) {
        let id = self.accept(message);
        write_response(out, sequence, Ok(id), &self.profile);
        let Some(receipt) = self.receipt(message, id, 0) else {
            return;
        };
        self.counts.receipts = self.counts.receipts.saturating_add(1);
        if self.mode.receives() && !self.window.is_full() && self.account.waiting() == 0 {
            self.send_receipt(receipt, out);
        } else {
            self.owed.push((self.now, receipt));
        }
    }

    /// The slow path: what happens is drawn.
    fn decide(&mut self, sequence: u32, message: &Message<'_>, out: &mut Vec<u8>) -> Flow {
        if self.profile.throughput > 0 && !self.account.within(self.profile.throughput, self.now) {
            self.counts.throttled = self.counts.throttled.saturating_add(1);
            self.answer(self.now, sequence, Err(status::THROTTLED));
            return Flow::Open;
        }
        let part = message.concatenation().part;
        let key = mix(fingerprint(message.destination.digits) ^ u64::from(part));
        let attempt = self.shared.attempt(key);
        let plan = Plan::draw(&self.profile, Dice::new(self.profile.seed, key, attempt));
        let due = self.now.saturating_add(plan.latency);
        if let Some(status) = plan.refusal {
            self.counts.refused = self.counts.refused.saturating_add(1);
            self.answer(due, sequence, Err(status));
            return Flow::Open;
        }
        let id = self.accept(message);
        self.owe(&plan, due, message, id);
        self.respond(&plan, due, sequence, id, out)
    }

    fn owe(&mut self, plan: &Plan, response_due: u64, message: &Message<'_>, id: u64) {
        let Some(delay) = plan.receipt else {
            self.counts.receipts_withheld = self.counts.receipts_withheld.saturating_add(1);
            return;
        };
        let Some(receipt) = self.receipt(message, id, plan.outcome) else {
            return;
        };
        let due = if plan.early { self.now } else { response_due.saturating_add(delay) };
        let times = if plan.duplicated { 2_u64 } else { 1 };
        for _ in 0..times {
            self.owed.push((due, receipt));
        }
        self.counts.receipts = self.counts.receipts.saturating_add(times);
    }

    fn respond(&mut self, plan: &Plan, due: u64, sequence: u32, id: u64, out: &mut Vec<u8>) -> Flow {
        if plan.drop {
            self.counts.drops = self.counts.drops.saturating_add(1);
            return Flow::Close;
        }
        if let Some(malformed) = plan.malformed {
            self.counts.malformed = self.counts.malformed.saturating_add(1);
            // After it nothing may be readable any more, so what is due goes first.
            self.write_answers(out);
            malformed.write(out);
            if malformed == Malformed::FalseLength {
                return Flow::Close;
            }
        }
        if plan.lost_answer {
            self.counts.lost_answers = self.counts.lost_answers.saturating_add(1);
            return Flow::Open;
        }
        self.answer(if plan.early { due.saturating_add(EARLY_GAP) } else { due }, sequence, Ok(id));
        Flow::Open
    }

    /// Gives the message an id and notes it in the record.
    fn accept(&mut self, message: &Message<'_>) -> u64 {
        let id = self.next_id();
        self.accept_as(message, id);
        id
    }

    fn next_id(&mut self) -> u64 {
        if self.ids.is_empty() {
            self.ids = self.shared.take_ids(IDS_AT_A_TIME);
        }
        self.ids.next().unwrap_or_default()
    }

    fn accept_as(&mut self, message: &Message<'_>, id: u64) {
        self.counts.accepted = self.counts.accepted.saturating_add(1);
        let wire::Concatenation { reference, part, parts } = message.concatenation();
        let destination = wire::digits(message.destination.digits).unwrap_or_default();
        let body = self.profile.record_bodies.then(|| Box::new(Body::from(message)));
        self.accepted.push(Accepted { at: self.wall, destination, id, reference, part, parts, body });
    }

    /// The receipt that the message asks for, SMPP 3.4 §5.2.17: 1 of any end, 2 of a failure, 3 (5.0) of a success.
    fn receipt(&self, message: &Message<'_>, id: u64, outcome: usize) -> Option<Receipt> {
        let delivered = self.profile.outcomes.get(outcome).is_some_and(|outcome| outcome.number() == Some(2));
        let wanted = match message.registered_delivery & 3 {
            1 => true,
            2 => !delivered,
            3 => delivered,
            _ => false,
        };
        wanted.then(|| Receipt {
            id,
            source: Party::from(message.source),
            destination: Party::from(message.destination),
            submitted: self.minute(),
            outcome: u16::try_from(outcome).unwrap_or_default(),
        })
    }

    fn answer(&mut self, due: u64, sequence: u32, result: Result<u64, u32>) {
        self.order = self.order.saturating_add(1);
        self.answers.push(Reverse(Answer { due, order: self.order, sequence, result }));
    }

    /// Appends the responses whose time has come, and answers when the next one's will.
    fn write_answers(&mut self, out: &mut Vec<u8>) -> u64 {
        while let Some(Reverse(answer)) = self.answers.peek() {
            if answer.due > self.now {
                return answer.due;
            }
            write_response(out, answer.sequence, answer.result, &self.profile);
            self.answers.pop();
        }
        u64::MAX
    }

    /// Hands over what this batch owes, appends what this bind may send, and answers when more will be due.
    fn send_receipts(&mut self, out: &mut Vec<u8>) -> u64 {
        let given = !self.owed.is_empty();
        if given {
            let refused = self.account.give(&mut self.owed, self.now, self.profile.receipts_max);
            let refused = u64::try_from(refused).unwrap_or(u64::MAX);
            self.counts.receipts_dropped = self.counts.receipts_dropped.saturating_add(refused);
        }
        let mut next = u64::MAX;
        if self.mode.receives() && !self.window.is_full() && self.account.waiting() > 0 {
            let mut taken = std::mem::take(&mut self.taken);
            let due = self.account.take(self.now, self.window.room(), &mut taken);
            for receipt in taken.drain(..) {
                self.send_receipt(receipt, out);
            }
            self.taken = taken;
            next = due.filter(|_| !self.window.is_full()).unwrap_or(u64::MAX);
        }
        if given && self.account.waiting() > 0 {
            self.account.wake.notify_waiters();
        }
        next
    }

    fn let_phones_speak(&mut self, out: &mut Vec<u8>) -> u64 {
        if !self.mode.receives() {
            return u64::MAX;
        }
        let Profile { seed, phones, .. } = &*self.profile;
        self.phones.speak(self.now, *seed, phones, &self.shared, &mut self.counts, out)
    }

    fn send_receipt(&mut self, receipt: Receipt, out: &mut Vec<u8>) {
        let Some(sequence) = self.window.push(receipt, self.now) else {
            return self.owed.push((self.now, receipt));
        };
        self.counts.receipts_sent = self.counts.receipts_sent.saturating_add(1);
        self.writer.write(out, sequence, &receipt, &self.profile, self.minute());
    }

    fn acknowledged(&mut self, pdu: Pdu<'_>) {
        if self.phones.acknowledged(pdu.sequence, pdu.status, &mut self.counts) {
            return;
        }
        let Some(receipt) = self.window.take(pdu.sequence) else {
            return;
        };
        let counts = &mut self.counts;
        match pdu.status {
            status::OK => counts.receipts_acknowledged = counts.receipts_acknowledged.saturating_add(1),
            status::THROTTLED | status::QUEUE_FULL | status::RECEIVER_TEMPORARY | status::SYSTEM_ERROR => {
                counts.receipts_again = counts.receipts_again.saturating_add(1);
                let due = self.now.saturating_add(microseconds(self.profile.receipt_retry));
                self.owed.push((due, receipt));
            }
            _ => counts.receipts_refused = counts.receipts_refused.saturating_add(1),
        }
    }

    /// Gives receipts sent before `limit` and never answered back to the queue.
    fn return_receipts(&mut self, limit: u64) {
        let unanswered = self.window.take_older(limit);
        if unanswered.is_empty() {
            return;
        }
        let count = u64::try_from(unanswered.len()).unwrap_or(u64::MAX);
        self.counts.receipts_again = self.counts.receipts_again.saturating_add(count);
        self.account.give_back(unanswered);
        self.account.wake.notify_waiters();
    }

    fn sweep_interval(&self) -> u64 {
        microseconds(self.profile.receipt_timeout).checked_div(4).unwrap_or_default().max(100_000)
    }

    fn silence_ends(&self) -> u64 {
        match microseconds(self.profile.enquire_link) {
            0 => u64::MAX,
            interval => self.asked.unwrap_or(self.heard).saturating_add(interval),
        }
    }

    fn minute(&self) -> u32 {
        u32::try_from(Duration::from_millis(self.wall).as_secs().checked_div(60).unwrap_or_default())
            .unwrap_or(u32::MAX)
    }
}

impl Drop for Session {
    /// What was sent and not answered is sent again on another bind, and what was owed stays owed.
    fn drop(&mut self) {
        self.account.give(&mut self.owed, self.now, self.profile.receipts_max);
        self.return_receipts(u64::MAX);
        self.shared.leave_unheard(self.phones.unheard());
        self.shared.add(&mut self.counts);
    }
}

impl From<&Message<'_>> for Body {
    fn from(message: &Message<'_>) -> Self {
        let digits = |address: Address<'_>| address.digits.to_vec();
        Self {
            source: digits(message.source),
            destination: digits(message.destination),
            esm_class: message.esm_class,
            data_coding: message.data_coding,
            registered_delivery: message.registered_delivery,
            content: message.content().to_vec(),
            tlvs: message.tlvs.0.to_vec(),
        }
    }
}

fn write_response(out: &mut Vec<u8>, sequence: u32, result: Result<u64, u32>, profile: &Profile) {
    match result {
        Ok(id) => wire::framed(out, SUBMIT_RESPONSE, status::OK, sequence, |out| {
            profile.message_id.write(out, id);
            out.push(0);
        }),
        // SMPP 3.4 §4.4.2: a refusal has no body.
        Err(status) => wire::empty(out, SUBMIT_RESPONSE, status, sequence),
    }
}
