//! A message: its bytes (head, body, story of steps) and what they fold to. The only place where states change.
//! It moves no money and queues nothing: it says what a step means for the ledger, `engine.rs` does it.
//!
//! Head (`head.rs`), then the body (`submission.rs`), then the steps (`step.rs`).

mod again;
mod ending;
mod head;
mod id_hash;
mod marks;
mod pieces;
mod replaced;

use codecs::instant::Wall;
use codecs::receipt::State as ReceiptState;

pub use self::head::{HEAD_VERSION, Head, INBOUND};
pub use self::id_hash::IdHash;

use self::head::HEAD_FIXED;
use self::pieces::Piece;
use crate::bytes::{self, Reader};
use crate::catalog::{AskReceipt, SettleOn};
use crate::money::Micros;
use crate::step::{self, ALL_PARTS, DoubtCause, Resolution, Step, Verdict};
use crate::submission::{Body, Priority, Via};

/// Stands for a group where the newest image of a message is not in the journal but in the parked store.
pub const STORED: u64 = u64::MAX;
const NEVER: Wall = Wall(i64::MAX);

/// The states of design.md §5, with the numbers used in metrics; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    Scheduled = 0,
    Queued = 1,
    Held = 2,
    Sending = 3,
    InDoubt = 4,
    Sent = 5,
    Delivered = 6,
    Read = 7,
    Failed = 8,
    Rejected = 9,
    Expired = 10,
    Cancelled = 11,
    Unknown = 12,
}

impl State {
    pub const ALL: [State; 13] = [
        State::Scheduled,
        State::Queued,
        State::Held,
        State::Sending,
        State::InDoubt,
        State::Sent,
        State::Delivered,
        State::Read,
        State::Failed,
        State::Rejected,
        State::Expired,
        State::Cancelled,
        State::Unknown,
    ];

    /// The word of the HTTP API and of the metrics.
    pub fn word(self) -> &'static str {
        match self {
            State::Scheduled => "scheduled",
            State::Queued => "queued",
            State::Held => "held",
            State::Sending => "sending",
            State::InDoubt => "in_doubt",
            State::Sent => "sent",
            State::Delivered => "delivered",
            State::Read => "read",
            State::Failed => "failed",
            State::Rejected => "rejected",
            State::Expired => "expired",
            State::Cancelled => "cancelled",
            State::Unknown => "unknown",
        }
    }

    /// The SMPP message_state of a receipt in this state.
    pub fn receipt_state(self) -> ReceiptState {
        match self {
            State::Scheduled => ReceiptState::Scheduled,
            State::Queued | State::Held | State::Sending | State::InDoubt | State::Sent => {
                ReceiptState::Enroute
            }
            State::Delivered | State::Read => ReceiptState::Delivered,
            State::Failed => ReceiptState::Undeliverable,
            State::Rejected => ReceiptState::Rejected,
            State::Expired => ReceiptState::Expired,
            State::Cancelled => ReceiptState::Deleted,
            State::Unknown => ReceiptState::Unknown,
        }
    }
}

/// Where the reserved price of a message stands. Decided once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    Reserved,
    Settled(Micros),
    Released,
}

/// What is known of one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartState {
    Waiting,
    Sending,
    Doubt,
    Accepted,
    Refused,
    /// A final receipt came.
    Final(ReceiptState),
}

impl PartState {
    /// Whether a final receipt says more than what is known of the part.
    fn is_beaten_by(self, news: ReceiptState) -> bool {
        match self {
            PartState::Final(ReceiptState::Delivered) => false,
            PartState::Final(ReceiptState::Unknown) => news != ReceiptState::Unknown,
            PartState::Final(_) => news == ReceiptState::Delivered,
            _ => true,
        }
    }
}

/// What a step means beyond the message itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The price leaves the reserve: `Settled(charged)` or `Released`.
    pub charge: Option<Charge>,
    /// The state before, when the state changed.
    pub from: Option<State>,
    /// The tenant has something new to be told.
    pub tell: bool,
}

/// The number of a message, from its bytes alone.
pub fn number_of(bytes: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(bytes);
    reader.take(4)?;
    reader.u64()
}

/// A message in memory: its bytes and their fold. Millions of them wait: see `a_message_is_small`.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Vec<u8>,
    /// Where the story starts in `bytes`.
    story: u32,
    /// The group that holds its newest whole image, or all that happened since the store's (`apart.rs`), for the ring; or `STORED`.
    pub image_group: u64,
    pub number: u64,
    /// The id of `number`, or 0 where it was read back: worked out again where it is needed.
    pub id: u64,
    pub accepted_at: Wall,
    /// When it may first be sent: a validity that its tenant has not named begins here.
    pub starts_at: Wall,
    /// When it was last handed to a provider or accepted by it; for receipt_wait.
    pub sent_at: Wall,
    /// When it got the final state that it has; for receipt_ttl.
    pub final_at: Wall,
    /// `NEVER` where its tenant has named no end.
    validity: Wall,
    pub price: Micros,
    pub charge: Charge,
    pub tenant: u32,
    pub provider: u16,
    pub bind: u16,
    pub state: State,
    pub attempt: u8,
    pub settle_on: SettleOn,
    pub receipts: AskReceipt,
    pub priority: Priority,
    pub registered_delivery: u8,
    pub via: Via,
    /// One part of a message that its tenant has cut: all of them go over one bind.
    pub is_own_part: bool,
    /// The tenant has nothing more to be told.
    pub told: bool,
    /// A receipt is on its way to the tenant, and tells of this state.
    pub telling: Option<State>,
    /// Of `marks.rs`.
    marks: u8,
    first_part: PartState,
    more_parts: Option<Box<MoreParts>>,
    pub provider_id_hash: IdHash,
}

/// The other parts of a long message. Few have them: they are to cost the others no more than a pointer.
#[derive(Clone, Debug)]
struct MoreParts {
    states: Vec<PartState>,
    piece: Piece,
}

impl Message {
    /// Reads a message with its whole story; `None` when the bytes are none.
    pub fn read(bytes: Vec<u8>) -> Option<Message> {
        let (mut message, story) = Message::start(bytes)?;
        // A step changes what was made of the octets, and not them.
        let bytes = std::mem::take(&mut message.bytes);
        let mut reader = Reader::new(&bytes[story..]);
        while !reader.is_empty() {
            let (since, step) = step::read(&mut reader)?;
            message.fold(&step, message.accepted_at.0 + since);
        }
        message.bytes = bytes;
        Some(message)
    }

    /// A message just accepted; `bytes` are its head and body, with room for its story.
    pub fn accepted(bytes: Vec<u8>) -> Option<Message> {
        let (message, story) = Message::start(bytes)?;
        (story == message.bytes.len()).then_some(message)
    }

    /// The same of a head and a body that were written to `bytes` a moment ago.
    pub fn written(bytes: Vec<u8>, head: &Head<'_>, body: &Body<'_>) -> Message {
        let mut message = Message::begin(head, body);
        message.story = bytes.len() as u32;
        message.bytes = bytes;
        message
    }

    fn start(bytes: Vec<u8>) -> Option<(Message, usize)> {
        let mut reader = Reader::new(&bytes);
        let [version, candidates, settle_on, receipts] = reader.array::<4>()?;
        if version & !INBOUND != HEAD_VERSION {
            return None;
        }
        let head = Head {
            number: reader.u64()?,
            accepted_at: Wall(reader.i64()?),
            tenant: reader.u32()?,
            price: Micros(reader.i64()?),
            settle_on: if settle_on == 0 { SettleOn::Sent } else { SettleOn::Delivered },
            receipts: AskReceipt::from_u8(receipts)?,
            candidates: &[reader.u16()?],
        };
        reader.take(usize::from(candidates).checked_sub(1)? * 2)?;
        let head_length = reader.position();
        let (body, length) = Body::read(bytes.get(head_length..)?)?;
        let mut message = Message::begin(&head, &body);
        if version & INBOUND != 0 {
            message.come_from_phone();
        }
        message.story = (head_length + length) as u32;
        message.bytes = bytes;
        Some((message, head_length + length))
    }

    /// A message of which nothing has happened yet, without its octets.
    fn begin(head: &Head<'_>, body: &Body<'_>) -> Message {
        let more = usize::from(body.parts).saturating_sub(1);
        Message {
            bytes: Vec::new(),
            story: 0,
            image_group: 0,
            number: head.number,
            id: 0,
            accepted_at: head.accepted_at,
            starts_at: body.send_at.unwrap_or(head.accepted_at).max(head.accepted_at),
            sent_at: head.accepted_at,
            final_at: head.accepted_at,
            validity: body.valid_until.unwrap_or(NEVER),
            price: head.price,
            charge: Charge::Reserved,
            tenant: head.tenant,
            provider: head.candidates.first().copied().unwrap_or(0),
            bind: 0,
            state: if body.send_at.is_some() { State::Scheduled } else { State::Queued },
            attempt: 0,
            settle_on: head.settle_on,
            receipts: head.receipts,
            priority: body.priority,
            registered_delivery: body.registered_delivery,
            via: body.via,
            is_own_part: body.is_own_part(),
            told: false,
            telling: None,
            marks: 0,
            first_part: PartState::Waiting,
            more_parts: (more > 0)
                .then(|| Box::new(MoreParts { states: vec![PartState::Waiting; more], piece: Piece::None })),
            provider_id_hash: IdHash::IN_STORY,
        }
    }

    /// Nothing is left to happen to it but that its tenant is told.
    fn come_from_phone(&mut self) {
        let part = PartState::Final(ReceiptState::Delivered);
        self.state = State::Delivered;
        self.charge = Charge::Released;
        self.first_part = part;
        self.more_states().for_each(|other| *other = part);
    }

    /// The whole message as it is kept: head, body, story.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub fn body(&self) -> Body<'_> {
        // The bytes were read as a body when the message was made, and nothing changes that part of them.
        let bytes = &self.bytes[self.head_length()..];
        Body::read(bytes).expect("a message's body was checked when it was made").0
    }

    /// Whether it came from a phone.
    pub fn is_inbound(&self) -> bool {
        self.bytes[0] & INBOUND != 0
    }

    /// As `bytes::fetch`.
    pub fn fetch(&self) -> u8 {
        bytes::fetch(&self.bytes)
    }

    fn head_length(&self) -> usize {
        HEAD_FIXED + usize::from(self.bytes[1]) * 2
    }

    /// The providers of its route, in the order they are tried.
    pub fn candidates(&self) -> impl Iterator<Item = u16> + '_ {
        let octets = &self.bytes[HEAD_FIXED..self.head_length()];
        octets.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
    }

    /// Its story: when each step was, and the step.
    pub fn steps(&self) -> impl Iterator<Item = (Wall, Step<'_>)> + '_ {
        let mut reader = Reader::new(&self.bytes[self.story as usize..]);
        let accepted = self.accepted_at.0;
        std::iter::from_fn(move || {
            step::read(&mut reader).map(|(since, step)| (Wall(accepted + since), step))
        })
    }

    /// The provider's id of a part, as it was received; of `ALL_PARTS` where they were sent as one.
    pub fn provider_id(&self, wanted: u8) -> Option<&[u8]> {
        let mut found = None;
        for (_, step) in self.steps() {
            if let Step::Response { part, verdict: Verdict::Accepted, id, .. } = step
                && part == wanted
            {
                found = Some(id);
            }
        }
        found
    }

    /// How many ids providers have given it.
    pub fn ids_known(&self) -> usize {
        let is_id =
            |step: &(Wall, Step<'_>)| matches!(step.1, Step::Response { verdict: Verdict::Accepted, .. });
        self.steps().filter(is_id).count()
    }

    /// The end that its tenant has named.
    pub fn valid_until(&self) -> Option<Wall> {
        Some(self.validity).filter(|at| *at != NEVER)
    }

    pub fn parts(&self) -> u8 {
        1 + self.more_parts.as_ref().map_or(0, |more| more.states.len() as u8)
    }

    pub fn part(&self, index: u8) -> Option<PartState> {
        match index.checked_sub(1) {
            None => Some(self.first_part),
            Some(rest) => self.more_parts.as_ref()?.states.get(usize::from(rest)).copied(),
        }
    }

    /// The places of the parts that a step names.
    fn places(&self, part: u8) -> std::ops::Range<u8> {
        match part {
            ALL_PARTS => 0..self.parts(),
            one => one..one + 1,
        }
    }

    /// Whether any of the parts that a step names is in a state.
    pub fn any_part(&self, part: u8, wanted: PartState) -> bool {
        self.places(part).any(|index| self.part(index) == Some(wanted))
    }

    fn set_part(&mut self, index: u8, state: PartState) {
        match index.checked_sub(1) {
            None => self.first_part = state,
            Some(rest) => {
                if let Some(part) = self.more_states().nth(usize::from(rest)) {
                    *part = state;
                }
            }
        }
    }

    fn more_states(&mut self) -> impl Iterator<Item = &mut PartState> {
        self.more_parts.iter_mut().flat_map(|more| more.states.iter_mut())
    }

    /// Parts that are with a bind, unanswered.
    pub fn sending_parts(&self) -> u32 {
        self.part_states().filter(|part| *part == PartState::Sending).count() as u32
    }

    pub fn part_states(&self) -> impl Iterator<Item = PartState> + '_ {
        let more = self.more_parts.as_ref().map_or(&[][..], |more| &more.states);
        std::iter::once(self.first_part).chain(more.iter().copied())
    }

    pub fn is_final(&self) -> bool {
        match self.state {
            State::Delivered
            | State::Read
            | State::Failed
            | State::Rejected
            | State::Expired
            | State::Cancelled
            | State::Unknown => true,
            State::Sent => !self.wants_receipts(),
            _ => false,
        }
    }

    /// Whether the provider is asked for receipts: the tenant wants them, or its plan charges by them.
    pub fn wants_receipts(&self) -> bool {
        self.would_want_receipts(self.registered_delivery)
    }

    /// The same, if its tenant asked for them so.
    pub fn would_want_receipts(&self, registered_delivery: u8) -> bool {
        match self.receipts {
            AskReceipt::Asked => registered_delivery & 0b11 != 0 || self.settle_on == SettleOn::Delivered,
            AskReceipt::Always => true,
            AskReceipt::Never => false,
        }
    }

    /// Final, and nothing is left to be told: it may leave memory.
    pub fn is_done(&self) -> bool {
        self.is_final() && (self.told || !self.is_to_be_told())
    }

    /// Whether its tenant is to be sent a receipt for the state it is in (SMPP 3.4 §5.2.17; 5.0's 11: success only).
    pub fn is_to_be_told(&self) -> bool {
        if self.via != Via::Smpp || !self.is_final() || self.told {
            return false;
        }
        match self.registered_delivery & 0b11 {
            0 => false,
            1 => true,
            2 => self.state != State::Delivered,
            _ => self.state == State::Delivered,
        }
    }

    /// Adds a step to the story and folds it.
    pub fn take(&mut self, step: &Step<'_>, at: Wall) -> Change {
        step.write(self.accepted_at, at, &mut self.bytes);
        self.fold(step, at.0)
    }

    /// Adds a step that is already encoded, as replay finds it.
    pub fn take_encoded(&mut self, encoded: &[u8]) -> Option<Change> {
        let (since, step) = step::read(&mut Reader::new(encoded))?;
        self.bytes.extend_from_slice(encoded);
        Some(self.fold(&step, self.accepted_at.0 + since))
    }

    fn fold(&mut self, step: &Step<'_>, at: i64) -> Change {
        let before = self.state;
        let was_final = self.is_final();
        match *step {
            Step::Intent { attempt, provider, bind, parts } => {
                self.intend((attempt, provider, bind), parts, at);
            }
            Step::Unsent { part } => self.part_came_back(part),
            Step::Response { part, verdict, .. } => self.answer(part, verdict, at),
            Step::Doubt { part, cause } => self.doubt(part, cause),
            Step::Resend => self.let_go(),
            Step::Receipt { part, state, .. } => self.receive(part, state),
            Step::Told | Step::Dropped => {
                self.told = true;
                self.telling = None;
                self.set_telling_pauses(false);
            }
            Step::Held { .. } => self.state = State::Held,
            Step::LetGo => self.let_go(),
            Step::Due => self.state = State::Queued,
            Step::Failed { .. } => self.state = State::Failed,
            Step::Expired => self.state = State::Expired,
            Step::Cancelled | Step::Bounced { .. } => self.state = State::Cancelled,
            Step::Resolved { resolution } => self.resolve(resolution, at),
            Step::Unknown => self.state = State::Unknown,
            Step::Rerouted { provider, receipts } | Step::Moved { provider, receipts } => {
                self.provider = provider;
                self.receipts = receipts.unwrap_or(self.receipts);
                self.attempt = 0;
            }
            Step::Replaced { state, attempt, .. } => self.replace(state, attempt),
        }
        let news = self.state != before && self.is_final();
        if news {
            self.final_at = Wall(at);
            self.told &= !was_final;
        }
        Change {
            charge: self.settle(),
            from: (self.state != before).then_some(before),
            tell: news && self.is_to_be_told(),
        }
    }

    fn intend(&mut self, by: (u8, u16, u16), parts: u8, at: i64) {
        (self.attempt, self.provider, self.bind) = by;
        self.sent_at = Wall(at);
        self.state = State::Sending;
        self.set_attempt_counts(false);
        self.set_piece(if parts == ALL_PARTS { Piece::None } else { Piece::Sent });
        let mut left = parts;
        for index in 0..self.parts() {
            if left > 0 && self.part(index) == Some(PartState::Waiting) {
                self.set_part(index, PartState::Sending);
                left -= 1;
            }
        }
    }

    /// Its body is another one from here on. What is with a provider has as many parts as before.
    fn replace(&mut self, state: State, attempt: u8) {
        self.state = state;
        if state != State::Sent {
            self.attempt = attempt;
            self.set_attempt_counts(true);
            self.set_piece(Piece::None);
            self.first_part = PartState::Waiting;
            self.more_states().for_each(|part| *part = PartState::Waiting);
        }
    }

    fn part_came_back(&mut self, part: u8) {
        if !self.any_part(part, PartState::Sending) {
            return;
        }
        for index in self.places(part) {
            if self.part(index) == Some(PartState::Sending) {
                self.set_part(index, PartState::Waiting);
            }
        }
        self.settle_parts();
    }

    fn answer(&mut self, part: u8, verdict: Verdict, at: i64) {
        let next = match verdict {
            Verdict::Accepted => PartState::Accepted,
            Verdict::Refused => PartState::Refused,
            Verdict::Retry | Verdict::Throttled => PartState::Waiting,
        };
        if self.is_final() {
            return;
        }
        let mut is_news = false;
        for index in self.places(part) {
            if self.part(index).is_some_and(|now| !matches!(now, PartState::Accepted | PartState::Final(_))) {
                self.set_part(index, next);
                is_news = true;
            }
        }
        if is_news {
            self.sent_at = Wall(at);
            self.set_attempt_counts(self.attempt_counts() || verdict == Verdict::Retry);
            if verdict == Verdict::Accepted && self.piece() == Piece::Sent {
                self.set_piece(Piece::Taken);
            }
            self.settle_parts();
        }
    }

    fn doubt(&mut self, part: u8, cause: DoubtCause) {
        // That our own process ended says nothing against the message.
        self.set_attempt_counts(self.attempt_counts() || cause != DoubtCause::Restart);
        for index in 0..self.parts() {
            if (part == ALL_PARTS || part == index) && self.part(index) == Some(PartState::Sending) {
                self.set_part(index, PartState::Doubt);
            }
        }
        self.settle_parts();
    }

    /// Queued again with all that is not accepted, what was in doubt included.
    fn let_go(&mut self) {
        self.state = State::InDoubt;
        for index in 0..self.parts() {
            if self.part(index) == Some(PartState::Doubt) {
                self.set_part(index, PartState::Waiting);
            }
        }
        self.settle_parts();
    }

    /// An operator knows what became of it.
    fn resolve(&mut self, resolution: Resolution, at: i64) {
        match resolution {
            Resolution::Resend => self.let_go(),
            Resolution::Failed => self.state = State::Failed,
            Resolution::Sent => {
                self.state = State::InDoubt;
                self.sent_at = Wall(at);
                for index in 0..self.parts() {
                    if self.part(index) == Some(PartState::Doubt) {
                        self.set_part(index, PartState::Accepted);
                    }
                }
                self.settle_parts();
            }
        }
    }

    /// A receipt for one part, or for all that went as one.
    fn receive(&mut self, part: u8, news: ReceiptState) {
        if !self.is_news(part, news) {
            return;
        }
        for index in self.places(part) {
            if self.part(index).is_some_and(|known| known.is_beaten_by(news)) {
                self.set_part(index, PartState::Final(news));
            }
        }
        if !self.is_final() {
            self.settle_parts();
        } else if self.part_states().all(|part| matches!(part, PartState::Final(_))) {
            // Late news of some parts does not reopen the message, and does not give it another bad end.
            let anew = self.state_by_receipts();
            if self.state == State::Unknown || anew == State::Delivered {
                self.state = anew;
            }
        }
    }

    /// Whether a final receipt for one part, or for all that went as one, says more than what is known. Rank decides late news:
    /// `late_news_counts`; nothing beats delivered.
    pub fn is_news(&self, part: u8, news: ReceiptState) -> bool {
        let is_late = self.is_final() && !self.late_news_counts(news);
        let mut places = self.places(part);
        news.is_final()
            && !is_late
            && places.any(|place| self.part(place).is_some_and(|known| known.is_beaten_by(news)))
    }

    /// Rank decides late news: delivered beats failed, expired, cancelled and unknown; everything beats unknown.
    pub fn late_news_counts(&self, news: ReceiptState) -> bool {
        match self.state {
            // A cancellation that its provider agreed to may have come too late for it.
            State::Failed | State::Expired | State::Cancelled => news == ReceiptState::Delivered,
            State::Unknown => news.is_final() && news != ReceiptState::Unknown,
            _ => false,
        }
    }

    /// The state of the message from those of its parts, while it is with a provider.
    fn settle_parts(&mut self) {
        let any = |wanted: PartState| self.part_states().any(|part| part == wanted);
        let next = if any(PartState::Sending) {
            State::Sending
        } else if any(PartState::Doubt) {
            State::InDoubt
        } else if any(PartState::Refused) {
            State::Failed
        } else if any(PartState::Waiting) {
            State::Queued
        } else {
            self.state_by_receipts()
        };
        if self.state == State::Held && matches!(next, State::InDoubt | State::Queued) {
            // Only a decision lets it go.
            return;
        }
        if next == State::Queued && self.state != State::Queued {
            self.attempt = match self.piece() {
                // It has come further: what the parts before have cost is not theirs that are left.
                Piece::Taken => 1,
                _ => self.attempt.saturating_sub(u8::from(!self.attempt_counts())),
            };
            self.set_attempt_counts(true);
        }
        self.state = next;
    }

    /// All parts are accepted; final when all have their receipt, of which the first that says something else than delivered decides.
    fn state_by_receipts(&self) -> State {
        let mut worst = ReceiptState::Delivered;
        for part in self.part_states() {
            match part {
                PartState::Final(ReceiptState::Delivered) => {}
                PartState::Final(state) => {
                    if worst == ReceiptState::Delivered {
                        worst = state;
                    }
                }
                _ => return State::Sent,
            }
        }
        ending::state_by(worst)
    }

    /// Money follows the state, once: design.md §5's column.
    fn settle(&mut self) -> Option<Charge> {
        if self.charge != Charge::Reserved {
            return None;
        }
        // Where no receipt will come, nothing more will be known than that it was sent.
        let is_known = self.settle_on == SettleOn::Sent || !self.wants_receipts();
        let charge = match (self.state, self.settle_on) {
            (State::Sent, _) if is_known => Charge::Settled(self.price),
            (State::Delivered | State::Read, _) => Charge::Settled(self.price),
            (State::Failed | State::Rejected | State::Expired | State::Unknown, SettleOn::Sent)
                if self.accepted_parts() > 0 =>
            {
                Charge::Settled(self.price_of(self.accepted_parts()))
            }
            (State::Failed | State::Rejected | State::Expired | State::Unknown, _)
            | (State::Cancelled, _) => Charge::Released,
            _ => return None,
        };
        self.charge = charge;
        Some(charge)
    }

    pub fn accepted_parts(&self) -> u8 {
        let accepted = |part: &PartState| matches!(part, PartState::Accepted | PartState::Final(_));
        self.part_states().filter(accepted).count() as u8
    }

    fn price_of(&self, parts: u8) -> Micros {
        // Exact: the price is the price of a part times the parts.
        Micros(self.price.0 / i64::from(self.parts()) * i64::from(parts))
    }

    /// Whether a provider may have had any of it without saying so.
    pub fn was_in_doubt(&self) -> bool {
        self.steps().any(|(_, step)| matches!(step, Step::Doubt { .. }))
    }

    /// When it last became unknown whether a provider has a part of it.
    pub fn doubtful_since(&self) -> Wall {
        let doubts = self.steps().filter(|(_, step)| matches!(step, Step::Doubt { .. }));
        doubts.last().map_or(self.sent_at, |(at, _)| at)
    }

    /// Whether no provider can have any of it: it may be cancelled, or go to another one.
    pub fn is_with_nobody(&self) -> bool {
        self.accepted_parts() == 0 && self.sending_parts() == 0 && !self.was_in_doubt()
    }

    /// Whether it waits and no provider can have any of it: until its intent is in a group, its tenant may do with it what it likes.
    pub fn is_still_ours(&self) -> bool {
        matches!(self.state, State::Scheduled | State::Queued | State::Held) && self.is_with_nobody()
    }

    /// Whether an operator has moved it and it has not been tried since.
    pub fn was_just_moved(&self) -> bool {
        self.steps().fold(false, |moved, (_, step)| match step {
            Step::Moved { .. } => true,
            Step::Intent { .. } => false,
            _ => moved,
        })
    }

    /// Whether it waits for somebody to say what became of it: in doubt, or held because it is.
    pub fn is_doubtful(&self) -> bool {
        matches!(self.state, State::InDoubt | State::Held)
            && self.part_states().any(|part| part == PartState::Doubt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_small() {
        // Beside its octets, and in its page.
        assert!(size_of::<Option<Message>>() <= 152);
    }
}
