//! What comes back from providers: responses, silence and lost binds; and what becomes of a message then.

use std::time::Duration;

use codecs::message_id::{self, Side};
use codecs::smpp::status::Class;

use crate::catalog::InDoubt;
use crate::command::{PartToken, Response, Responses};
use crate::engine::{DueKind, Engine};
use crate::message::{Message, PartState, State};
use crate::outbox::News;
use crate::pages::block_of;
use crate::receipt_index;
use crate::status_table::{StatusRule, StatusTable};
use crate::step::{ALL_PARTS, DoubtCause, FailCause, HoldCause, Step, Verdict};

/// How often a message changes its provider before it stays with the last of its route, whoever else is up.
const REROUTES_MAX: usize = 64;
/// A provider that never stays up for `in_doubt_wait` has had its time to speak of a doubt when it was up for so many times as long
/// in all.
const UP_IN_ALL: u32 = 3;
/// Then it must have been up for this part of `in_doubt_wait` since it came back.
const UP_AT_LEAST: u32 = 10;
/// `in_doubt_wait` of a provider that the settings no longer name.
const NO_WAIT_GIVEN: Duration = Duration::from_secs(10);

/// A provider's answer to one request, without the id that it gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub provider: u16,
    pub bind: u16,
    pub token: PartToken,
    pub status: u32,
    pub shared: bool,
    pub late: bool,
}

impl Answer {
    /// Whether it is the answer that a part of the message waits for. A late one is not, even if the part was sent again over the same
    /// bind: that request has an answer of its own.
    fn is_awaited(&self, message: &Message) -> bool {
        !self.late && self.is_of(message) && message.any_part(self.token.part(), PartState::Sending)
    }

    /// Whether it is about the request because of which the message is in doubt: the only one for the part that this provider was sent.
    fn ends_doubt(&self, message: &Message) -> bool {
        self.late
            && self.is_of(message)
            && message.any_part(self.token.part(), PartState::Doubt)
            && message.times_sent(self.provider, self.token.part()) == 1
    }

    fn is_of(&self, message: &Message) -> bool {
        (message.provider, message.bind) == (self.provider, self.bind)
    }
}

impl Engine {
    pub(crate) fn responses(&mut self, responses: &Responses) {
        self.pages.fetch(responses.items.iter().map(|item| item.token.number()));
        let Responses { provider, bind, shared, late, .. } = *responses;
        let mut start = 0;
        for item in &responses.items {
            let id = responses.ids.get(start..item.end as usize).unwrap_or_default();
            start = item.end as usize;
            let Response { token, status, .. } = *item;
            self.response(Answer { provider, bind, token, status, shared, late }, id);
        }
    }

    /// Its message is back, unless no store has it any more.
    pub(crate) fn response_after_load(&mut self, answer: Answer, id: &[u8]) {
        let number = answer.token.number();
        if self.pages.get(number).is_none() && !self.is_parked_away(number) {
            self.counters.late_responses += 1;
            return;
        }
        self.response(answer, id);
    }

    pub(crate) fn response(&mut self, answer: Answer, id: &[u8]) {
        let Answer { provider, token, status, shared, .. } = answer;
        let (number, part) = (token.number(), token.part());
        if self.is_parked_away(number) {
            // It was in doubt, and waits on disk for a decision or its turn.
            self.load(block_of(number), News::Response { answer, id: id.into() });
            return;
        }
        let Some(message) = self.pages.get(number) else {
            if status == 0 && answer.late && self.was_given(number) {
                // It was given up, and has left for the archive: what the provider has taken after all is news.
                self.load(block_of(number), News::Response { answer, id: id.into() });
            } else {
                self.counters.late_responses += 1;
            }
            return;
        };
        let was_sending = answer.is_awaited(message);
        // Of the parts that go together only the first answer says how long one takes.
        let is_first = was_sending && message.is_just_sent();
        let has_more = message.parts() > 1;
        let waited = self.now.wall.millis_since(message.sent_at);
        let attempt = message.attempt;
        let next = if status == 0 { None } else { self.next_after_refusal(message) };
        let phone = message.key_phone(shared);
        let meaning = self.meaning(provider, status);
        let (verdict, retry_millis) = self.verdict(provider, meaning, attempt, next.is_some());
        let tells_nothing = meaning.is_some_and(|meaning| meaning.class == Class::InDoubt);
        if verdict != Verdict::Accepted && !was_sending && (tells_nothing || !answer.ends_doubt(message)) {
            // Of an attempt before the one that counts now: what became of the part since then holds.
            self.counters.late_responses += 1;
            return;
        }
        if is_first {
            self.measure(provider, waited);
        }
        if tells_nothing {
            self.step(number, &Step::Doubt { part, cause: DoubtCause::Answer });
            return;
        }
        let retry_at = codecs::instant::Wall(self.now.wall.0.saturating_add(retry_millis));
        self.step(number, &Step::Response { part, verdict, status, retry_at, id, shared });
        if was_sending
            && verdict != Verdict::Throttled
            && let Some(entry) = self.providers.get_mut(provider)
        {
            entry.rate.answered(self.now.mono);
        }
        match verdict {
            Verdict::Accepted => {
                self.accepted_by_provider(provider, PartToken::new(number, part), id, phone);
                if has_more {
                    self.settle_all_parts(number);
                }
            }
            Verdict::Throttled if was_sending => {
                self.throttled(provider);
                self.pause(provider, meaning.and_then(|meaning| meaning.delay));
            }
            Verdict::Retry if retry_millis == 0 => self.reroute(number, next),
            Verdict::Retry | Verdict::Refused | Verdict::Throttled => {}
        }
        if !was_sending {
            self.let_go_if_certain(number);
        }
    }

    /// Of a message that is queued again: a part was refused as often as it may be, so that another provider was to have the message, and
    /// this one has taken a part of it. Nobody may have the rest. True when there is no more to be done for it.
    pub(crate) fn give_up_rest(&mut self, number: u64) -> bool {
        let in_part = |message: &&Message| message.parts() > 1 && message.accepted_parts() > 0;
        let Some(message) = self.pages.get(number).filter(in_part) else { return false };
        let refusal = message.steps().fold(None, |refusal, (at, step)| match step {
            Step::Intent { .. } => None,
            // One that is yet to come is of a clock that was ahead, and no earlier than the message: it says nothing of `retry_at`.
            Step::Response { verdict: Verdict::Retry, retry_at, status, .. }
                if retry_at <= at && at <= self.now.wall =>
            {
                Some(status)
            }
            _ => refusal,
        });
        let Some(status) = refusal else { return false };
        self.step(number, &Step::Failed { cause: FailCause::Attempts, status });
        true
    }

    /// What was held because it was in doubt, and no longer is: its provider has said that it did not take it.
    fn let_go_if_certain(&mut self, number: u64) {
        let is_certain = |message: &&Message| {
            message.state == State::Held
                && message.hold_cause() == Some(HoldCause::InDoubt)
                && !message.is_doubtful()
        };
        if self.pages.get(number).is_some_and(|message| is_certain(&message)) {
            self.step(number, &Step::LetGo);
        }
    }

    fn measure(&mut self, provider: u16, waited_millis: i64) {
        if let Some(counters) = self.counters.providers.get_mut(usize::from(provider)) {
            counters.submit_millis.add(waited_millis);
        }
        if let Some(entry) = self.providers.get_mut(provider) {
            entry.measure(u64::try_from(waited_millis).unwrap_or(0).max(1) * 1_000);
        }
    }

    /// What a provider means by a status; `None` when it is success.
    fn meaning(&self, provider: u16, status: u32) -> Option<StatusRule> {
        if status == 0 {
            return None;
        }
        let definition = self.providers.get(provider).and_then(|entry| entry.definition.as_ref());
        Some(match definition {
            Some(definition) => definition.statuses.meaning(status),
            None => StatusTable::default().meaning(status),
        })
    }

    /// What an answer means for the message, and how many milliseconds a retry waits; none at all for one at another provider.
    fn verdict(
        &self,
        provider: u16,
        meaning: Option<StatusRule>,
        attempt: u8,
        has_next: bool,
    ) -> (Verdict, i64) {
        let Some(meaning) = meaning else { return (Verdict::Accepted, 0) };
        let definition = self.providers.get(provider).and_then(|entry| entry.definition.as_ref());
        let attempts_max =
            meaning.tries.or(definition.map(|definition| definition.attempts_max)).unwrap_or(1);
        match meaning.class {
            Class::Throttle => (Verdict::Throttled, 0),
            Class::Retry | Class::Session if attempt < attempts_max => {
                if let Some(delay) = meaning.delay {
                    return (Verdict::Retry, (delay.as_millis() as i64).max(1));
                }
                let first = definition.map_or(1_000, |d| d.retry_first.as_millis() as i64);
                let most = definition.map_or(60_000, |d| d.retry_max.as_millis() as i64);
                let doublings = u32::from(attempt.saturating_sub(1)).min(20);
                (Verdict::Retry, first.saturating_mul(1 << doublings).min(most).max(1))
            }
            Class::Retry | Class::Session if has_next => (Verdict::Retry, 0),
            _ => (Verdict::Refused, 0),
        }
    }

    fn accepted_by_provider(&mut self, provider: u16, token: PartToken, id: &[u8], phone: Option<u64>) {
        let (number, part) = (token.number(), token.part());
        self.with_key(provider, Side::Response, id, phone, |engine, key| {
            if key.is_empty() {
                return;
            }
            let hash = receipt_index::key(provider, key);
            engine.index.insert_hash(hash, number, part);
            if let Some((_, message)) = engine.pages.with_page(number) {
                message.provider_id_hash.note(hash);
            }
            if !engine.early.is_empty() {
                engine.match_held(provider, key, number);
            }
        });
    }

    pub(crate) fn id_form(&self, provider: u16) -> message_id::Form {
        let definition = self.providers.get(provider).and_then(|entry| entry.definition.as_ref());
        definition.map_or(message_id::Form::Text, |definition| definition.message_id)
    }

    pub(crate) fn throttled(&mut self, provider: u16) {
        let now = self.now.mono;
        if let Some(entry) = self.providers.get_mut(provider) {
            let round_trip = entry.round_trip();
            entry.rate.throttled(now, round_trip);
        }
        if let Some(counters) = self.counters.providers.get_mut(usize::from(provider)) {
            counters.throttled += 1;
        }
    }

    /// A provider that named no rate is sent nothing for a while.
    fn pause(&mut self, provider: u16, delay: Option<Duration>) {
        let now = self.now.mono;
        if let Some((entry, delay)) = self.providers.get_mut(provider).zip(delay) {
            entry.rate.pause(now, delay);
        }
    }

    /// A provider of SMPP 5.0 says how busy it is (congestion_state, §4.8.4.18): from 91 on it is sent no more than now, at
    /// 100 less.
    pub(crate) fn congested(&mut self, provider: u16, state: u8) {
        let now = self.now.mono;
        match state {
            0..=90 => {}
            91..=99 => {
                if let Some(entry) = self.providers.get_mut(provider) {
                    entry.rate.stop_growing();
                }
            }
            _ => {
                if let Some(entry) = self.providers.get_mut(provider) {
                    let round_trip = entry.round_trip();
                    entry.rate.congested(now, round_trip);
                }
            }
        }
    }

    /// The attempts at one provider are used up: the next one has its own.
    fn reroute(&mut self, number: u64, next: Option<u16>) {
        let Some(next) = next else { return };
        if self.pages.get(number).is_none_or(|message| message.state != State::Queued) {
            return;
        }
        self.step(number, &self.rerouted(next));
        if let Some(message) = self.pages.get(number) {
            self.providers.enqueue(message);
            self.surgery.arrived(number);
        }
    }

    pub(crate) fn rerouted(&self, provider: u16) -> Step<'static> {
        Step::Rerouted { provider, receipts: Some(self.providers.receipts(provider)) }
    }

    /// The next provider of the message's route that is up, for a message of which no provider can have any part.
    fn next_provider(&self, message: &Message) -> Option<u16> {
        behind(message)
            .find(|candidate| self.providers.is_up(*candidate) && self.may_have(message, *candidate))
    }

    /// The same when its own has refused it, else one that is away for no longer than a reconnect takes: it waits for that one, and
    /// does not fail.
    fn next_after_refusal(&self, message: &Message) -> Option<u16> {
        let is_away = |candidate: &u16| !self.is_long_down(*candidate) && self.may_have(message, *candidate);
        self.next_provider(message).or_else(|| behind(message).find(is_away))
    }

    fn may_have(&self, message: &Message, provider: u16) -> bool {
        self.providers.is_enabled(provider) && message.accepted_parts() == 0 && !message.was_in_doubt()
    }

    /// Whether a provider takes nothing, and has not for longer than a reconnect takes.
    pub(crate) fn is_long_down(&self, provider: u16) -> bool {
        self.providers.get(provider).is_some_and(|entry| {
            let is_down = entry.up_since.is_none();
            entry.disabled || is_down && self.now.mono >= entry.down_since.after(self.settings.failover_after)
        })
    }

    /// Where a queued message goes instead, when its provider has been down for long enough to be more than a reconnect: to the next
    /// of its route, and behind the last one to the first again, which may have come back.
    pub(crate) fn failover(&self, message: &Message) -> Option<u16> {
        let down = self.is_long_down(message.provider);
        if !down || message.is_paused(self.now.wall) {
            return None;
        }
        self.next_provider(message).or_else(|| {
            let mut before = message.candidates().take_while(|candidate| *candidate != message.provider);
            let is_free =
                |candidate: &u16| self.providers.is_up(*candidate) && self.may_have(message, *candidate);
            let first = before.find(is_free)?;
            // Each time is a step of its story, which is not to grow without end where providers come and go for days. What an
            // operator has moved was not to stay with those before.
            let mut times = 0;
            for (_, step) in message.steps() {
                match step {
                    Step::Moved { .. } => return None,
                    Step::Rerouted { .. } => times += 1,
                    _ => {}
                }
            }
            (times < REROUTES_MAX).then_some(first)
        })
    }

    pub(crate) fn unanswered(&mut self, provider: u16, bind: u16, tokens: &[PartToken]) {
        for token in tokens {
            self.doubt(provider, bind, *token, DoubtCause::NoAnswer);
        }
    }

    /// Comes twice where something was still on its way to the driver when the connection ended.
    pub(crate) fn bind_down(
        &mut self,
        provider: u16,
        bind: u16,
        unsent: &[PartToken],
        in_flight: &[PartToken],
    ) {
        for token in in_flight {
            self.doubt(provider, bind, *token, DoubtCause::BindLost);
        }
        let place = usize::from(bind);
        let now = self.now.mono;
        let Engine { providers, pages, .. } = &mut *self;
        let Some(entry) = providers.get_mut(provider) else { return };
        let Some(bind_entry) = entry.binds.get_mut(place) else { return };
        bind_entry.unsent.extend_from_slice(unsent);
        let connection = bind_entry.connection.take();
        let parts = |token: &PartToken| match token.part() {
            ALL_PARTS => pages.get(token.number()).map_or(0, Message::sending_parts),
            _ => 1,
        };
        let unsent: u32 = bind_entry.unsent.iter().map(parts).sum();
        bind_entry.returning = connection.is_some() && bind_entry.in_flight > unsent;
        if entry.binds.iter().all(|bind| bind.connection.is_none()) {
            entry.up_before = entry.up(now);
            entry.up_since = None;
            entry.down_since = now;
        }
        if let Some(connection) = connection {
            self.effects.outgoing(connection).closed = true;
            self.cancel_again(provider);
        }
        self.put_back(provider, bind);
    }

    /// What never left goes back to its queue, once all of it is here.
    fn put_back(&mut self, provider: u16, bind: u16) {
        let entry = self.providers.bind_mut(provider, bind);
        let Some(entry) = entry.filter(|entry| !entry.returning) else { return };
        for token in std::mem::take(&mut entry.unsent) {
            if self.is_sending(provider, bind, token) {
                self.step(token.number(), &Step::Unsent { part: token.part() });
            }
        }
    }

    /// A bind is up again: what its connection before never gave back may have left.
    pub(crate) fn reclaim(&mut self, provider: u16, bind: u16) {
        let entry = self.providers.bind_mut(provider, bind);
        let Some(entry) = entry.filter(|entry| entry.in_flight > 0) else { return };
        entry.returning = false;
        self.put_back(provider, bind);
        let is_here = |message: &&Message| {
            message.state == State::Sending && (message.provider, message.bind) == (provider, bind)
        };
        let lost: Vec<u64> = self.pages.iter().filter(is_here).map(|message| message.number).collect();
        for number in lost {
            self.step(number, &Step::Doubt { part: ALL_PARTS, cause: DoubtCause::BindLost });
        }
    }

    fn is_sending(&self, provider: u16, bind: u16, token: PartToken) -> bool {
        self.pages.get(token.number()).is_some_and(|message| {
            message.any_part(token.part(), PartState::Sending)
                && (message.provider, message.bind) == (provider, bind)
        })
    }

    fn doubt(&mut self, provider: u16, bind: u16, token: PartToken, cause: DoubtCause) {
        if !self.is_sending(provider, bind, token) {
            return;
        }
        self.step(token.number(), &Step::Doubt { part: token.part(), cause });
    }

    /// The time that receipts and late responses have to speak before the policy for doubts decides.
    pub(crate) fn wait_for_news(&mut self, provider: u16, number: u64) {
        let now = self.now.mono;
        let entry = self.providers.get(provider);
        let wait =
            entry.and_then(|entry| entry.definition.as_ref()).map(|definition| definition.in_doubt_wait);
        self.doubts.insert(number, entry.map_or(Duration::ZERO, |entry| entry.up(now)));
        self.mono_dues.insert(now.after(wait.unwrap_or(NO_WAIT_GIVEN)).0, DueKind::Doubt as u8, number);
    }

    /// After a start: what was being sent when the process ended may have left.
    pub(crate) fn doubt_after_restart(&mut self, number: u64) {
        self.step(number, &Step::Doubt { part: ALL_PARTS, cause: DoubtCause::Restart });
    }

    /// The wait for news has ended. The provider must have been bound for as long at a stretch, else it starts again; where the
    /// provider never is, for some times as long in all.
    pub(crate) fn decide_doubt(&mut self, number: u64) {
        let Some(message) = self.pages.get(number).filter(|message| message.state == State::InDoubt) else {
            self.doubts.remove(&number);
            return;
        };
        // One that our own end cut short is none.
        let attempt = message.attempt.saturating_sub(u8::from(!message.attempt_counts()));
        let provider = message.provider;
        let doubted = self.now.wall.millis_since(message.doubtful_since());
        let now = self.now.mono;
        let Some(entry) = self.providers.get_mut(provider) else { return };
        let Some(up_since) = entry.up_since else {
            entry.doubtful.push(number);
            return;
        };
        let (policy, wait, attempts_max) =
            entry.definition.as_ref().map_or((InDoubt::Hold, NO_WAIT_GIVEN, 1), |definition| {
                (definition.in_doubt, definition.in_doubt_wait, definition.attempts_max)
            });
        // The due may be of a doubt before this one.
        let left =
            u64::try_from(doubted).map_or(0, |doubted| (wait.as_millis() as u64).saturating_sub(doubted));
        let at_a_stretch = up_since.after(wait).max(now.after(Duration::from_millis(left)));
        let up = self.doubts.get(&number).map_or(Duration::ZERO, |before| {
            entry.up(now).saturating_sub(entry.up_before_outage.max(*before))
        });
        let in_all = now.after((wait * UP_IN_ALL).saturating_sub(up)).max(up_since.after(wait / UP_AT_LEAST));
        let ready = at_a_stretch.min(in_all);
        if ready > now {
            self.mono_dues.insert(ready.0, DueKind::Doubt as u8, number);
            return;
        }
        self.doubts.remove(&number);
        match policy {
            InDoubt::Resend if attempt < attempts_max => {
                self.counters.resent_in_doubt += 1;
                self.step(number, &Step::Resend);
            }
            InDoubt::Hold => {
                self.step(number, &Step::Held { cause: HoldCause::InDoubt });
            }
            // Nobody has refused it: what is known is that a provider may have it.
            InDoubt::Resend | InDoubt::Fail => {
                self.step(number, &Step::Failed { cause: FailCause::InDoubt, status: 0 });
            }
        }
    }
}

/// The providers of a message's route behind its own.
fn behind(message: &Message) -> impl Iterator<Item = u16> + '_ {
    message.candidates().skip_while(|candidate| *candidate != message.provider).skip(1)
}

impl Message {
    /// Why it was last held.
    pub fn hold_cause(&self) -> Option<HoldCause> {
        let cause = |(_, step)| match step {
            Step::Held { cause } => Some(cause),
            _ => None,
        };
        self.steps().filter_map(cause).last()
    }
}
