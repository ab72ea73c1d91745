//! Asking a provider: what became of a message whose receipt does not come (query_sm, SMPP 3.4 §4.8), which does what a receipt does and is counted as none;
//! and what tenants' operations on messages that it has are carried to it for (`operations.rs`), cancel_sm and replace_sm
//! included. A message in doubt cannot be asked about: without a response there is no id to ask by.

use std::collections::BTreeSet;

use codecs::instant::Wall;
use codecs::receipt::State as ReceiptState;
use codecs::smpp::pdu::{CancelSm, QuerySm, SmeAddress};
use codecs::smpp::status::{Class, Status};
use codecs::smpp::write::{self, ReplaceFields};

use crate::accept::millis;
use crate::command::{AskAnswer, AskKind, PartToken};
use crate::dispatch::{Provider, Question};
use crate::effect::Ask;
use crate::engine::{DueKind, Engine};
use crate::message::{Message, PartState, STORED, State};
use crate::pages::block_of;
use crate::parking::NEAR;
use crate::parts;
use crate::receipts::{ErrorText, ReceiptNews};
use crate::step::ALL_PARTS;

/// Parts that are sent between two questions while messages wait.
const PARTS_PER_ASK: u32 = 16;
/// Questions that may wait at one provider, and as many for tenants; beyond, a message is asked about in its next turn, and a
/// tenant answered from what we know.
const ASKS_MAX: usize = 100_000;

impl Engine {
    /// A message has been sent, or was found so after a start: its provider is asked after a while, and each time after
    /// twice as long, so that a provider that loses receipts is not flooded.
    pub(crate) fn ask_later(&mut self, number: u64) {
        let Some(message) = self.pages.get(number) else { return };
        let Some(at) = self.ask_at(message) else { return };
        if message.image_group == STORED {
            self.parking.wake_at(block_of(number), at.0);
        } else if at <= self.now.wall.after(NEAR) {
            // What is to be asked later is parked before, and read back for it.
            self.wall_dues.insert(millis(at), DueKind::Ask as u8, number);
        }
    }

    /// When its provider is asked about a message next.
    pub(crate) fn ask_at(&self, message: &Message) -> Option<Wall> {
        let (_, next) = self.asks_around(message)?;
        Some(Wall(message.sent_at.0.saturating_add(next)))
    }

    /// When its provider was last to be asked about a message.
    pub(crate) fn last_ask(&self, message: &Message) -> Option<Wall> {
        let (last, _) = self.asks_around(message)?;
        Some(Wall(message.sent_at.0.saturating_add(last?)))
    }

    /// Whether its provider was to be asked about a message a moment ago: the question may still wait for its place.
    pub(crate) fn is_ask_due(&self, message: &Message) -> bool {
        self.last_ask(message).is_some_and(|at| self.now.wall.millis_since(at) < NEAR.as_millis() as i64)
    }

    /// How long after its response a message was last to be asked about, if it was, and is to be next, in milliseconds.
    fn asks_around(&self, message: &Message) -> Option<(Option<i64>, i64)> {
        if message.state != State::Sent || !message.wants_receipts() {
            return None;
        }
        let entry = self.providers.get(message.provider)?;
        let after = entry.definition.as_ref().and_then(|definition| definition.query_after)?;
        if entry.names_others(message) {
            return None;
        }
        let waited = self.now.wall.millis_since(message.sent_at);
        let (mut last, mut next) = (None, i64::try_from(after.as_millis()).unwrap_or(i64::MAX).max(1));
        while next <= waited {
            (last, next) = (Some(next), next.saturating_mul(2));
        }
        Some((last, next))
    }

    /// The time to ask has come: each part without an outcome joins the questions that wait for a place.
    pub(crate) fn ask(&mut self, number: u64) {
        let Some(message) = self.pages.get(number).filter(|message| message.state == State::Sent) else {
            return;
        };
        if let Some(entry) = self.providers.get_mut(message.provider) {
            // What went as one has one id.
            let is_one = message.parts() > 1 && message.provider_id(ALL_PARTS).is_some();
            let parts = if is_one { ALL_PARTS..=ALL_PARTS } else { 0..=message.parts() - 1 };
            let parts = parts.filter(|part| message.any_part(*part, PartState::Accepted));
            let room = ASKS_MAX.saturating_sub(entry.asks.len());
            let query = |part| Question { token: PartToken::new(number, part), kind: AskKind::Query };
            entry.asks.extend(parts.take(room).map(query));
        }
        self.ask_later(number);
    }

    /// Hands out the questions that windows and rates allow.
    pub(crate) fn send_asks(&mut self, index: u16) {
        let (now, percent) = (self.now.mono, self.settings.high_percent);
        loop {
            self.forget_unwanted(index);
            let Some(entry) = self.providers.get_mut(index) else { return };
            let Some((bind, Question { token, kind })) = entry.next_ask(now, percent) else { return };
            let Some(connection) = entry.binds[bind].connection else { return };
            if self.pages.get(token.number()).is_none() && self.parking.is_away(token.number()) {
                // There was no room for it in memory until its question's turn; it comes back for that.
                return self.read_back(block_of(token.number()));
            }
            entry.take_ask();
            let Some(body) = self.question(index, Question { token, kind }) else {
                self.carried_without_asking(token, kind);
                continue;
            };
            if kind == AskKind::Cancel {
                self.operations.begin_cancel(token.number());
            }
            let group = self.groups_taken;
            if let Some(entry) = self.providers.get_mut(index) {
                self.has_leaving |= entry.asked(now, bind, group);
            }
            self.effects.outgoing(connection).asks.push(Ask { token: token.0, kind, body });
            if let Some(counters) = self.counters.providers.get_mut(usize::from(index)) {
                counters.asked += 1;
            }
        }
    }

    /// Puts what a tenant waits for behind what others do. False where too much waits already.
    pub(crate) fn want(&mut self, index: u16, number: u64, kind: AskKind, parts: &BTreeSet<u8>) -> bool {
        self.forget_unwanted(index);
        let Some(entry) = self.providers.get_mut(index) else { return false };
        let has_room = entry.wanted.len() + parts.len() <= ASKS_MAX;
        if has_room {
            entry
                .wanted
                .extend(parts.iter().map(|part| Question { token: PartToken::new(number, *part), kind }));
        }
        has_room
    }

    /// Nobody waits any more for what was wanted longest ago.
    fn forget_unwanted(&mut self, index: u16) {
        while let Some(entry) = self.providers.get(index)
            && let Some(first) = entry.wanted.front()
            && !self.is_carrying(first.token, first.kind)
        {
            if let Some(entry) = self.providers.get_mut(index) {
                entry.take_ask();
            }
        }
    }

    pub(crate) fn ask_answers(&mut self, provider: u16, bind: u16, answers: &[AskAnswer]) {
        for answer in answers {
            if let Some(bind) = self.providers.bind_mut(provider, bind) {
                bind.asked = bind.asked.saturating_sub(1);
            }
            if Status(answer.status).class_on_submit() == Class::Throttle {
                self.throttled(provider);
                let number = answer.token.number();
                if answer.kind == AskKind::Cancel && self.operations.may_ask_again(number) {
                    // That it may not be asked so often says nothing of the part.
                    self.want(provider, number, answer.kind, &BTreeSet::from([answer.token.part()]));
                    continue;
                }
            }
            if answer.kind != AskKind::Query {
                self.carried_answer(answer);
                continue;
            }
            // UNKNOWN says that the provider has no record any more: a receipt may still come.
            let outcome = answer.state.filter(|state| state.is_final() && *state != ReceiptState::Unknown);
            if let Some(state) = outcome {
                let error = ErrorText::new(format!("{:03}", answer.error).as_bytes());
                let done = answer.done.unwrap_or(self.now.wall);
                let news = ReceiptNews {
                    provider,
                    state,
                    done,
                    phone: None,
                    error,
                    acknowledgement: None,
                    answer: None,
                    is_asked: true,
                };
                self.receipt_for(answer.token.number(), answer.token.part(), news);
            }
            self.carried_answer(answer);
        }
    }

    /// The body of what is asked; `None` when there is nothing to ask any more.
    fn question(&self, provider: u16, question: Question) -> Option<Vec<u8>> {
        let Question { token, kind } = question;
        let provider = self.providers.get(provider)?;
        let message = self.pages.get(token.number())?;
        if message.state != State::Sent || !message.any_part(token.part(), PartState::Accepted) {
            return None;
        }
        let message_id = message.provider_id(token.part()).filter(|id| is_askable(id))?;
        let body = message.body();
        let (ton, npi) = provider.source_type(&body);
        // It must be the source of the submit_sm (SMPP 3.4 §4.8.1, §4.9.1, §4.10.1).
        let source = SmeAddress { ton, npi, octets: body.source };
        let mut out = Vec::with_capacity(40);
        match kind {
            AskKind::Query => write::query_sm_body(&mut out, &QuerySm { message_id, source, anomalies: 0 }),
            // With an id the service type and the destination say nothing.
            AskKind::Cancel => {
                write::cancel_sm_body(&mut out, &CancelSm { message_id, source, ..CancelSm::default() })
            }
            AskKind::Replace => {
                let replacement = self.carried_text(token)?;
                let text = parts::plain(provider.definition.as_ref(), &body, &replacement.octets);
                let mut validity = Vec::new();
                if let Some(until) = replacement.valid_until {
                    codecs::time::write_absolute(&mut validity, until);
                }
                let fields = ReplaceFields {
                    message_id,
                    source,
                    schedule_delivery_time: &[],
                    validity_period: &validity,
                    registered_delivery: message.asks_for(replacement.registered_delivery),
                    text: &text,
                };
                write::replace_sm_body(&mut out, &fields)
            }
        }
        .ok()?;
        Some(out)
    }
}

/// Whether a provider can be asked about an id: the field has 64 octets (SMPP 3.4 §4.8.1).
pub(crate) fn is_askable(id: &[u8]) -> bool {
    (1..=64).contains(&id.len())
}

impl Provider {
    /// The next question and the bind that takes it.
    fn next_ask(&mut self, now: codecs::instant::Mono, high_percent: u32) -> Option<(usize, Question)> {
        let next = *self.wanted.front().or(self.asks.front())?;
        // No less often than each second, where its rate says so little; and a cancel that has been begun for a part of a message goes
        // on for the others.
        let a_second = Some(self.rate.rate()).filter(|rate| *rate > 0);
        let parts = match self.is_cancelling {
            true => 1,
            false => a_second.map_or(PARTS_PER_ASK, |rate| rate.min(PARTS_PER_ASK)),
        };
        if !self.queue.is_empty() && self.parts_since_ask < parts {
            return None;
        }
        let bind = self.bind_for_one(now, high_percent)?;
        Some((bind, next))
    }

    /// The next question is asked, or not to be asked any more.
    fn take_ask(&mut self) {
        let taken = self.wanted.pop_front().or_else(|| self.asks.pop_front());
        let of = |question: &Question| (question.token.number(), question.kind);
        let goes_on = self.wanted.front().map(of) == taken.as_ref().map(of);
        self.is_cancelling = goes_on && taken.is_some_and(|question| question.kind == AskKind::Cancel);
    }
}
