//! What tenants want of messages they have submitted: query_sm, cancel_sm and replace_sm, answered from our own state, and carried
//! to the provider where it has the message and offers the operation. How a message gets its new text is `replacing.rs`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use codecs::instant::{Mono, Wall};
use codecs::receipt::State as ReceiptState;
use codecs::smpp::status::Status;
use codecs::text::{self, Encoding};

use crate::asking::is_askable;
use crate::command::{
    AskAnswer, AskKind, ConnectionId, Named, OfOne, PartToken, Refusal, Replacement, TenantOperation, Wanted,
};
use crate::effect::{Cancelled, Operated, OperationAnswer};
use crate::engine::{DueKind, Engine};
use crate::id::Number;
use crate::message::{Message, PartState, State};
use crate::outbox::News;
use crate::pages::block_of;
use crate::replacing::as_written;
use crate::step::{ALL_PARTS, Step};
use crate::surgery::TenantWalk;
use crate::telling;

/// Operations of one tenant that wait for a block to be read; more are refused for the rate.
const READING_MAX: u32 = 64;
/// How long a tenant waits for what a provider says to its operation.
const CARRIED_WAIT: Duration = Duration::from_secs(5);
/// How long the provider's answer is still understood after that.
const CARRIED_LATE: Duration = Duration::from_secs(60);
/// How often in a row a provider may throttle a question of a cancel before that counts as its answer.
const THROTTLED_MAX: u8 = 8;
/// Operations that are with providers at once.
const CARRIED_MAX: usize = 10_000;

/// What has been begun and not answered.
#[derive(Default)]
pub(crate) struct Operations {
    /// By tenant, those that wait for a block.
    reading: BTreeMap<u32, u32>,
    /// By message, those that are with its provider.
    carried: BTreeMap<u64, Vec<Carried>>,
    carried_count: usize,
}

impl Operations {
    /// Whether what a message's provider is to do, or has been asked to, may still be answered: until then it stays in memory.
    pub fn has(&self, number: u64) -> bool {
        self.carried.contains_key(&number)
    }

    /// Whether a message's provider is being asked the same about these parts for somebody who waits for it.
    fn is_asked(&self, number: u64, kind: AskKind, parts: &BTreeSet<u8>) -> bool {
        let mut waiting = self.carried.get(&number).into_iter().flatten();
        waiting.any(|other| {
            other.asker.kind == kind && other.asks && !other.is_answered && other.open.is_superset(parts)
        })
    }

    /// The parts that a provider has still to speak of, of a message that it has begun to cancel and has not refused to.
    fn begun_cancel(&self, number: u64) -> Option<&BTreeSet<u8>> {
        let mut waiting = self.carried.get(&number)?.iter();
        waiting.find(|other| other.asks && other.is_begun && !other.is_refused).map(|other| &other.open)
    }

    /// A provider has throttled a question of a begun cancel: whether it is to be asked that again.
    pub fn may_ask_again(&mut self, number: u64) -> bool {
        let mut begun =
            self.carried.get_mut(&number).into_iter().flatten().filter(|carried| carried.is_begun);
        begun.next().is_some_and(|carried| {
            carried.throttled = carried.throttled.saturating_add(1);
            carried.throttled <= THROTTLED_MAX
        })
    }

    /// A provider is asked to cancel a part of a message: it is asked for all then, or the phone gets a torn text.
    pub fn begin_cancel(&mut self, number: u64) {
        let waiting = self.carried.get_mut(&number).into_iter().flatten();
        for carried in waiting.filter(|carried| carried.asker.kind == AskKind::Cancel && carried.asks) {
            carried.is_begun = true;
        }
    }
}

/// An operation on its way to a provider and back.
struct Carried {
    asker: Asker,
    /// It is for this one that the provider is asked, and not for one that came before.
    asks: bool,
    replacement: Option<Replacement>,
    /// Parts that the provider has not spoken of, and whether it refused one.
    open: BTreeSet<u8>,
    is_refused: bool,
    /// To a query: what the provider said of the part that is worst off.
    said: Option<Said>,
    /// The tenant has had its answer: the time was over.
    is_answered: bool,
    /// It is a cancel of which the provider has been asked for a part, and of which it has confirmed one.
    is_begun: bool,
    is_confirmed: bool,
    /// Parts were asked for again, which the provider may have cancelled when it was asked first.
    is_repeated: bool,
    /// How often in a row the provider has said that it is asked too often.
    throttled: u8,
    until: Mono,
}

/// What a provider says of a part that it is asked about.
#[derive(Clone, Copy)]
struct Said {
    state: ReceiptState,
    done: Wall,
    error: u8,
}

impl Said {
    /// Of two parts the one that says what the message is: one that is on its way, then one that did not arrive, then the later.
    fn of_both(self, other: Said) -> Said {
        let place = |said: Said| match said.state {
            state if !state.is_final() => (2, said.done),
            ReceiptState::Delivered => (0, said.done),
            _ => (1, said.done),
        };
        if place(other) > place(self) { other } else { self }
    }
}

/// Who waits for an answer, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub connection: ConnectionId,
    pub sequence: u32,
    pub kind: AskKind,
}

impl OfOne {
    fn kind(&self) -> AskKind {
        match self {
            OfOne::Query => AskKind::Query,
            OfOne::Cancel => AskKind::Cancel,
            OfOne::Replace(_) => AskKind::Replace,
        }
    }
}

impl Engine {
    pub(crate) fn operation(&mut self, operation: TenantOperation) {
        let TenantOperation { tenant, connection, sequence, wanted } = operation;
        match wanted {
            Wanted::CancelAll(addresses) => {
                let asker = Asker { connection, sequence, kind: AskKind::Cancel };
                if !self.cancel_all(TenantWalk { tenant, asker, addresses }) {
                    self.answer_operation(asker, Operated::Refused(Refusal::RateLimited));
                }
            }
            Wanted::OfOne { named, what } => {
                let asker = Asker { connection, sequence, kind: what.kind() };
                let number = self.ids.number(named.id).filter(|number| number >> Number::BITS == 0);
                match number.filter(|number| self.was_given(*number)) {
                    Some(number) => self.operation_on(number, tenant, asker, named, what),
                    None => self.answer_operation(asker, Operated::Failed),
                }
            }
        }
    }

    fn operation_on(&mut self, number: u64, tenant: u32, asker: Asker, named: Named, what: OfOne) {
        let Some(message) = self.pages.get(number) else {
            // What the archive has can be looked at, and is too late for all else.
            let may_be_read = self.parking.is_away(number) || what == OfOne::Query;
            if !may_be_read {
                return self.answer_operation(asker, Operated::Failed);
            }
            return self.read_for_operation(number, tenant, asker, named, what);
        };
        if !is_meant(message, tenant, &named) {
            return self.answer_operation(asker, Operated::Failed);
        }
        match what {
            OfOne::Query if self.is_carried(number, asker, None) => {}
            OfOne::Query => self.answer_query(number, asker, None),
            OfOne::Cancel => match self.cancel_living(tenant, number) {
                Cancelled::Done => self.answer_operation(asker, Operated::Done),
                _ if self.is_carried(number, asker, None) => {}
                _ => self.answer_operation(asker, Operated::Failed),
            },
            OfOne::Replace(replacement) => self.replace_or_carry(number, asker, replacement),
        }
    }

    fn replace_or_carry(&mut self, number: u64, asker: Asker, mut replacement: Replacement) {
        let encoding = self.pages.get(number).map(|message| as_written(message.body()).encoding);
        if encoding == Some(Encoding::Ucs2)
            && let Some(octets) = text::big_endian(&replacement.octets)
        {
            replacement.octets = octets;
        }
        let is_ours = self.pages.get(number).is_some_and(Message::is_still_ours);
        if !is_ours {
            if !self.is_carried(number, asker, Some(replacement)) {
                self.answer_operation(asker, Operated::Failed);
            }
            return;
        }
        let outcome = match self.replace(number, &replacement) {
            Ok(()) => Operated::Done,
            Err(refused) => refused.into(),
        };
        self.answer_operation(asker, outcome);
    }

    pub(crate) fn answer_operation(&mut self, asker: Asker, outcome: Operated) {
        self.effects.is_urgent = true;
        let Asker { connection, sequence, kind } = asker;
        self.counters.operations[kind as usize]
            [usize::from(!matches!(outcome, Operated::Done | Operated::State { .. }))] += 1;
        self.effects.outgoing(connection).operated.push(OperationAnswer { sequence, kind, outcome });
    }

    /// Answers a query by our own state. What a provider said was taken like a receipt, and is in it; but where no receipt was
    /// asked for the message is over for us, and what was said is in the answer alone.
    fn answer_query(&mut self, number: u64, asker: Asker, said: Option<Said>) {
        let outcome = match (self.pages.get(number), said) {
            (Some(message), Some(Said { state, done, error }))
                if message.state == State::Sent && message.is_final() =>
            {
                let done = state.is_final().then_some(done);
                Operated::State { id: self.ids.id(message.number), state, done, error }
            }
            (Some(message), _) => self.state_of(message),
            (None, _) => Operated::Failed,
        };
        self.answer_operation(asker, outcome);
    }

    fn state_of(&self, message: &Message) -> Operated {
        let state = message.state.receipt_state();
        let (reached, error) = telling::last_word(message);
        let error = core::str::from_utf8(error.as_bytes()).ok().and_then(|word| word.parse().ok());
        let done = (message.is_final() && state.is_final()).then_some(reached.min(message.final_at));
        Operated::State { id: self.ids.id(message.number), state, done, error: error.unwrap_or(0) }
    }

    // What is not in memory.

    fn read_for_operation(&mut self, number: u64, tenant: u32, asker: Asker, named: Named, what: OfOne) {
        let reading = self.operations.reading.entry(tenant).or_default();
        if *reading >= READING_MAX {
            return self.answer_operation(asker, Operated::Refused(Refusal::RateLimited));
        }
        *reading += 1;
        let Asker { connection, sequence, .. } = asker;
        let wanted = Wanted::OfOne { named, what };
        let operation = Box::new(TenantOperation { tenant, connection, sequence, wanted });
        self.load(block_of(number), News::Operation { number, operation });
    }

    pub(crate) fn operation_after_load(&mut self, operation: TenantOperation) {
        self.has_been_read(operation.tenant);
        self.operation(operation);
    }

    fn has_been_read(&mut self, tenant: u32) {
        if let Some(reading) = self.operations.reading.get_mut(&tenant) {
            *reading -= 1;
            if *reading == 0 {
                self.operations.reading.remove(&tenant);
            }
        }
    }

    /// Answers the queries of messages that the archive has; they need not live again for that. What else there is for the block.
    pub(crate) fn answer_from_archive(&mut self, messages: &[Vec<u8>], news: Vec<News>) -> Vec<News> {
        let mut others = Vec::with_capacity(news.len());
        for news in news {
            let News::Operation { number, operation } = news else {
                others.push(news);
                continue;
            };
            if self.pages.get(number).is_some() || self.parking.is_away(number) {
                // It lives again since it was asked for.
                self.operation_after_load(*operation);
                continue;
            }
            let TenantOperation { tenant, connection, sequence, wanted } = *operation;
            self.has_been_read(tenant);
            let Wanted::OfOne { named, .. } = wanted else { continue };
            let found = messages.iter().find(|bytes| crate::message::number_of(bytes) == Some(number));
            let message = found.and_then(|bytes| Message::read(bytes.clone()));
            let outcome = match message.filter(|message| is_meant(message, tenant, &named)) {
                Some(message) => self.state_of(&message),
                None => Operated::Failed,
            };
            self.answer_operation(Asker { connection, sequence, kind: AskKind::Query }, outcome);
        }
        others
    }

    // What the provider is asked to do.

    /// Whether an operation goes to the message's provider, which has it and offers that.
    fn is_carried(&mut self, number: u64, asker: Asker, replacement: Option<Replacement>) -> bool {
        if self.is_in_the_way(number, asker.kind) {
            return false;
        }
        let Some(message) = self.pages.get(number).filter(|message| message.state == State::Sent) else {
            return false;
        };
        let index = message.provider;
        let Some(provider) = self.providers.get(index) else { return false };
        let offers = provider.definition.as_ref().is_some_and(|d| d.operations.contains(&asker.kind));
        // By a shared id it would be done to others as well: as if it were not offered.
        let offers = offers && !provider.names_others(message);
        let may_ask = provider.up_since.is_some() && self.providers.is_enabled(index);
        if !offers || !may_ask || self.operations.carried_count >= CARRIED_MAX {
            return false;
        }
        // What went as one has one id.
        let is_one = message.parts() > 1 && message.provider_id(ALL_PARTS).is_some();
        let parts = if is_one { ALL_PARTS..=ALL_PARTS } else { 0..=message.parts() - 1 };
        let open: BTreeSet<u8> = parts.filter(|part| message.any_part(*part, PartState::Accepted)).collect();
        // What is over for some parts can be asked about, and not be undone, unless that is what is over.
        let is_whole = message.part_states().all(|state| {
            state == PartState::Accepted
                || asker.kind == AskKind::Cancel && state == PartState::Final(ReceiptState::Deleted)
        });
        let has_ids = open.iter().all(|part| message.provider_id(*part).is_some_and(is_askable));
        let fits = match (asker.kind, &replacement) {
            (AskKind::Query, _) => !open.is_empty(),
            (AskKind::Cancel, _) => is_whole && !open.is_empty(),
            (AskKind::Replace, Some(replacement)) => {
                is_whole && open.len() == 1 && Engine::may_replace_sent(message, replacement)
            }
            (AskKind::Replace, None) => false,
        };
        if !fits || !has_ids {
            return false;
        }
        // Who wants what is being asked already is answered with that.
        let begun = self.operations.begun_cancel(number).filter(|_| asker.kind == AskKind::Cancel).cloned();
        let is_asked = begun.is_some() || self.operations.is_asked(number, asker.kind, &open);
        let open = begun.unwrap_or(open);
        if !is_asked && !self.want(index, number, asker.kind, &open) {
            return false;
        }
        let until = self.now.mono.after(CARRIED_WAIT);
        self.mono_dues.insert(until.0, DueKind::Carried as u8, number);
        let carried = Carried {
            asker,
            asks: !is_asked,
            replacement,
            open,
            is_refused: false,
            said: None,
            is_answered: false,
            is_begun: false,
            is_confirmed: false,
            is_repeated: false,
            throttled: 0,
            until,
        };
        self.operations.carried.entry(number).or_default().push(carried);
        self.operations.carried_count += 1;
        true
    }

    /// Whether something is with the provider of which the answer could be taken for that to this: two texts for one message are.
    fn is_in_the_way(&self, number: u64, kind: AskKind) -> bool {
        let mut waiting = self.operations.carried.get(&number).into_iter().flatten();
        let undoes = |kind: AskKind| kind != AskKind::Query;
        waiting.any(|other| {
            let has_text = kind == AskKind::Replace || other.asker.kind == AskKind::Replace;
            has_text && undoes(kind) && undoes(other.asker.kind)
        })
    }

    /// The text that a provider is asked to send instead; `None` when nobody waits for it any more.
    pub(crate) fn carried_text(&self, token: PartToken) -> Option<&Replacement> {
        let waiting = self.operations.carried.get(&token.number())?.iter();
        waiting.filter(|carried| !carried.is_answered).find_map(|carried| carried.replacement.as_ref())
    }

    /// Whether somebody still waits for this, or it has been done in part.
    pub(crate) fn is_carrying(&self, token: PartToken, kind: AskKind) -> bool {
        let waiting = self.operations.carried.get(&token.number()).into_iter().flatten();
        let is_wanted = |carried: &Carried| !carried.is_answered || carried.is_begun;
        waiting.into_iter().any(|carried| carried.asker.kind == kind && is_wanted(carried))
    }

    /// A part need not be asked about any more: its message has gone on since that was wanted. A part that the provider has deleted is
    /// cancelled, whatever it says first.
    pub(crate) fn carried_without_asking(&mut self, token: PartToken, kind: AskKind) {
        let is_deleted = PartState::Final(ReceiptState::Deleted);
        let is_done = kind == AskKind::Cancel
            && self
                .pages
                .get(token.number())
                .is_some_and(|message| message.any_part(token.part(), is_deleted));
        let status = if is_done { Status::OK } else { Status::CANCELFAIL };
        self.carried_answer(&AskAnswer { token, kind, status: status.0, state: None, done: None, error: 0 });
    }

    /// A provider has spoken of a part that tenants wait for.
    pub(crate) fn carried_answer(&mut self, answer: &AskAnswer) {
        let number = answer.token.number();
        let Some(waiting) = self.operations.carried.get_mut(&number) else { return };
        let is_refused = answer.status != 0;
        let done = answer.done.unwrap_or(self.now.wall);
        let said = answer.state.map(|state| Said { state, done, error: answer.error });
        let (late, mut goes_on) = (self.now.mono.after(CARRIED_LATE), false);
        for carried in waiting.iter_mut().filter(|carried| carried.asker.kind == answer.kind) {
            if carried.open.remove(&answer.token.part()) {
                carried.is_refused |= is_refused;
                carried.throttled = 0;
                carried.is_confirmed |= !is_refused;
                let is_first_word = carried.is_begun && !carried.is_confirmed && !carried.is_repeated;
                if is_first_word && is_refused && Status(answer.status) != Status::UNKNOWNERR {
                    // The phone gets a part of it: then it should get the others.
                    carried.open.clear();
                }
                if carried.is_begun && carried.is_answered {
                    // It is finished, however long that takes.
                    carried.until = late;
                    goes_on = true;
                }
                carried.said = match (carried.said, said) {
                    (Some(before), Some(now)) => Some(before.of_both(now)),
                    (before, now) => before.or(now),
                };
            }
        }
        let (ended, rest): (Vec<Carried>, Vec<Carried>) =
            std::mem::take(waiting).into_iter().partition(|carried| carried.open.is_empty());
        if rest.is_empty() {
            self.operations.carried.remove(&number);
        } else {
            self.operations.carried.insert(number, rest);
        }
        self.operations.carried_count -= ended.len();
        if goes_on {
            self.mono_dues.insert(late.0, DueKind::Carried as u8, number);
        }
        for carried in ended {
            self.end_carried(number, carried);
        }
    }

    fn end_carried(&mut self, number: u64, carried: Carried) {
        let Carried { asker, replacement, is_refused, said, is_answered, .. } = carried;
        let message = self.pages.get(number);
        let is_sent = message.is_some_and(|message| message.state == State::Sent);
        // The provider's receipt may be quicker than its answer, and who asked for the same may have been first.
        let is_cancelled = asker.kind == AskKind::Cancel
            && message.is_some_and(|message| {
                let is_deleted = |state| state == PartState::Final(ReceiptState::Deleted);
                message.state == State::Cancelled || message.part_states().all(is_deleted)
            });
        let is_done = !is_refused && (is_sent || is_cancelled);
        match (asker.kind, replacement) {
            (AskKind::Query, _) if is_answered => {}
            (AskKind::Query, _) => return self.answer_query(number, asker, said.filter(|_| !is_refused)),
            (AskKind::Cancel, _) if is_done && is_sent => {
                self.step(number, &Step::Cancelled);
            }
            (AskKind::Replace, Some(replacement)) if is_done => self.replace_sent(number, &replacement),
            _ => {}
        }
        if !is_answered {
            self.answer_operation(asker, if is_done { Operated::Done } else { Operated::Failed });
        }
    }

    /// A bind is lost, and with it what was asked over it: nothing comes back of that. A cancel that has begun is asked for again.
    pub(crate) fn cancel_again(&mut self, provider: u16) {
        let begun = self.operations.carried.keys().filter_map(|number| {
            let message = self.pages.get(*number).filter(|message| message.provider == provider)?;
            Some((message.number, self.operations.begun_cancel(*number)?.clone()))
        });
        let begun: Vec<(u64, BTreeSet<u8>)> = begun.collect();
        for (number, mut open) in begun {
            let wanted = self.providers.get(provider).into_iter().flat_map(|entry| &entry.wanted);
            for question in wanted.filter(|question| question.token.number() == number) {
                open.remove(&question.token.part());
            }
            self.want(provider, number, AskKind::Cancel, &open);
            for carried in self.operations.carried.get_mut(&number).into_iter().flatten() {
                carried.is_repeated = true;
            }
        }
    }

    /// The wait for a provider may have ended: the tenant is answered from what we know.
    pub(crate) fn carried_too_long(&mut self, number: u64) {
        let now = self.now.mono;
        let Some(waiting) = self.operations.carried.get_mut(&number) else { return };
        let mut unanswered = Vec::new();
        let before = waiting.len();
        waiting.retain_mut(|carried| {
            if carried.until > now {
                return true;
            }
            if !std::mem::replace(&mut carried.is_answered, true) {
                unanswered.push(carried.asker);
                carried.until = now.after(CARRIED_LATE);
                return true;
            }
            false
        });
        self.operations.carried_count -= before - waiting.len();
        if waiting.is_empty() {
            self.operations.carried.remove(&number);
        }
        for asker in unanswered {
            self.mono_dues.insert(now.after(CARRIED_LATE).0, DueKind::Carried as u8, number);
            match asker.kind {
                AskKind::Query => self.answer_query(number, asker, None),
                AskKind::Cancel | AskKind::Replace => self.answer_operation(asker, Operated::Failed),
            }
        }
    }
}

/// Another tenant's message is none, nor is one from a phone, or with another source than the one that is named.
fn is_meant(message: &Message, tenant: u32, named: &Named) -> bool {
    let body = message.body();
    message.tenant == tenant
        && !message.is_inbound()
        && (named.source.is_empty() || body.source == named.source)
        && named.destination.is_none_or(|destination| body.destination == destination)
}
