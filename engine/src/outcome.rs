//! What comes back from providers: responses, silence and lost binds; and what becomes of a message then.

use codecs::message_id::{self, Side};
use codecs::smpp::status::{Class, Status};

use crate::accept::millis;
use crate::catalog::InDoubt;
use crate::command::{PartToken, Responses};
use crate::engine::{DueKind, Engine};
use crate::message::{PartState, State};
use crate::step::{ALL_PARTS, DoubtCause, FailCause, HoldCause, Step, Verdict};

impl Engine {
    pub(crate) fn responses(&mut self, responses: &Responses) {
        let mut start = 0;
        for item in &responses.items {
            let id = responses.ids.get(start..item.end as usize).unwrap_or_default();
            start = item.end as usize;
            self.response(responses.provider, responses.bind, item.token, item.status, id);
        }
    }

    fn response(&mut self, provider: u16, bind: u16, token: PartToken, status: u32, id: &[u8]) {
        let (number, part) = (token.number(), token.part());
        let Some(message) = self.pages.get(number) else {
            self.counters.late_responses += 1;
            return;
        };
        let was_sending = message.part(part) == Some(PartState::Sending)
            && (message.provider, message.bind) == (provider, bind);
        let waited = self.now.wall.millis_since(message.sent_at);
        let attempt = message.attempt;
        let (verdict, retry_millis) = self.verdict(provider, status, attempt);
        if !was_sending && verdict != Verdict::Accepted {
            // A late refusal: what became of the part meanwhile holds.
            return;
        }
        if was_sending {
            self.providers.landed(provider, bind);
            self.measure(provider, waited);
        }
        let retry_at = codecs::instant::Wall(self.now.wall.0.saturating_add(retry_millis));
        let state = self.step(number, &Step::Response { part, verdict, status, retry_at, id });
        match verdict {
            Verdict::Accepted => self.accepted_by_provider(provider, number, part, id),
            Verdict::Throttled => self.throttled(provider, number, state),
            Verdict::Retry => self.try_again(number, state, retry_at),
            Verdict::Refused => {}
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

    /// What a status means for the message, and how many milliseconds a retry waits.
    fn verdict(&self, provider: u16, status: u32, attempt: u8) -> (Verdict, i64) {
        if status == 0 {
            return (Verdict::Accepted, 0);
        }
        let definition = self.providers.get(provider).and_then(|entry| entry.definition.as_ref());
        let attempts_max = definition.map_or(1, |definition| definition.attempts_max);
        match Status(status).class_on_submit() {
            Class::Throttle => (Verdict::Throttled, 0),
            Class::Retry | Class::Session if attempt < attempts_max => {
                let first = definition.map_or(1_000, |d| d.retry_first.as_millis() as i64);
                let most = definition.map_or(60_000, |d| d.retry_max.as_millis() as i64);
                let doublings = u32::from(attempt.saturating_sub(1)).min(20);
                (Verdict::Retry, first.saturating_mul(1 << doublings).min(most))
            }
            _ => (Verdict::Refused, 0),
        }
    }

    fn accepted_by_provider(&mut self, provider: u16, number: u64, part: u8, id: &[u8]) {
        let mut key = Vec::with_capacity(65);
        message_id::canonical(self.id_form(provider), Side::Response, id, &mut key);
        self.index.insert(provider, &key, number, part);
        if !self.early.is_empty() {
            self.match_early(provider, &key);
        }
    }

    pub(crate) fn id_form(&self, provider: u16) -> message_id::Form {
        let definition = self.providers.get(provider).and_then(|entry| entry.definition.as_ref());
        definition.map_or(message_id::Form::Text, |definition| definition.message_id)
    }

    fn throttled(&mut self, provider: u16, number: u64, state: Option<State>) {
        let now = self.now.mono;
        if let Some(entry) = self.providers.get_mut(provider) {
            let round_trip = entry.round_trip();
            entry.rate.throttled(now, round_trip, None);
        }
        if let Some(counters) = self.counters.providers.get_mut(usize::from(provider)) {
            counters.throttled += 1;
        }
        if state == Some(State::Queued)
            && let Some(message) = self.pages.get(number)
        {
            self.providers.queue_front(message);
        }
    }

    /// A refusal for now: tried again when its time comes, at the next provider of its route if nothing was accepted yet.
    fn try_again(&mut self, number: u64, state: Option<State>, retry_at: codecs::instant::Wall) {
        if state != Some(State::Queued) {
            return;
        }
        self.wall_dues.insert(millis(retry_at), DueKind::Send as u8, number);
        if let Some(next) = self.other_provider(number) {
            self.step(number, &Step::Rerouted { provider: next });
        }
    }

    /// The next provider of the message's route that is up, while no part of it was accepted or is in doubt.
    fn other_provider(&self, number: u64) -> Option<u16> {
        let message = self.pages.get(number)?;
        if message.part_states().any(|part| part != PartState::Waiting) {
            return None;
        }
        let candidates: Vec<u16> = message.candidates().collect();
        let place = candidates.iter().position(|candidate| *candidate == message.provider)?;
        let after = candidates.iter().skip(place + 1).chain(candidates.iter().take(place));
        after.copied().find(|candidate| self.providers.is_enabled(*candidate) && self.providers.is_up(*candidate))
    }

    pub(crate) fn unanswered(&mut self, provider: u16, bind: u16, tokens: &[PartToken]) {
        for token in tokens {
            self.doubt(provider, bind, *token, DoubtCause::NoAnswer);
        }
    }

    pub(crate) fn bind_down(&mut self, provider: u16, bind: u16, unsent: &[PartToken], in_flight: &[PartToken]) {
        for token in in_flight {
            self.doubt(provider, bind, *token, DoubtCause::BindLost);
        }
        // To the head of their queue, in the order in which they were taken from it.
        for token in unsent.iter().rev() {
            self.unsent(provider, bind, *token);
        }
        let Some(entry) = self.providers.get_mut(provider) else { return };
        let connection = entry.binds.get_mut(usize::from(bind)).and_then(|bind| bind.connection.take());
        if entry.binds.iter().all(|bind| bind.connection.is_none()) {
            entry.up_since = None;
        }
        if let Some(connection) = connection {
            Engine::outgoing(&mut self.effects, connection).closed = true;
        }
    }

    fn is_sending(&self, provider: u16, bind: u16, token: PartToken) -> bool {
        self.pages.get(token.number()).is_some_and(|message| {
            message.part(token.part()) == Some(PartState::Sending)
                && (message.provider, message.bind) == (provider, bind)
        })
    }

    fn unsent(&mut self, provider: u16, bind: u16, token: PartToken) {
        if !self.is_sending(provider, bind, token) {
            return;
        }
        self.providers.landed(provider, bind);
        let state = self.step(token.number(), &Step::Unsent { part: token.part() });
        if state == Some(State::Queued)
            && let Some(message) = self.pages.get(token.number())
        {
            self.providers.queue_front(message);
        }
    }

    fn doubt(&mut self, provider: u16, bind: u16, token: PartToken, cause: DoubtCause) {
        if !self.is_sending(provider, bind, token) {
            return;
        }
        self.providers.landed(provider, bind);
        self.step(token.number(), &Step::Doubt { part: token.part(), cause });
        self.wait_for_news(provider, token.number());
    }

    /// The time that receipts and late responses have to speak before the policy for doubts decides.
    pub(crate) fn wait_for_news(&mut self, provider: u16, number: u64) {
        let wait = self.providers.get(provider).and_then(|entry| entry.definition.as_ref());
        let wait = wait.map_or(std::time::Duration::from_secs(10), |definition| definition.in_doubt_wait);
        self.mono_dues.insert(self.now.mono.after(wait).0, DueKind::Doubt as u8, number);
    }

    /// After a start: what was being sent when the process ended may have left.
    pub(crate) fn doubt_after_restart(&mut self, number: u64) {
        self.step(number, &Step::Doubt { part: ALL_PARTS, cause: DoubtCause::Restart });
    }

    /// The wait for news has ended. The provider must have been bound for as long, else it starts again.
    pub(crate) fn decide_doubt(&mut self, number: u64) {
        let Some(message) = self.pages.get(number) else { return };
        if message.state != State::InDoubt {
            return;
        }
        let provider = message.provider;
        let Some(entry) = self.providers.get(provider) else { return };
        let (policy, wait) = entry.definition.as_ref().map_or(
            (InDoubt::Hold, std::time::Duration::from_secs(10)),
            |definition| (definition.in_doubt, definition.in_doubt_wait),
        );
        let ready = entry.up_since.map(|up| up.after(wait));
        let now = self.now.mono;
        if ready.is_none_or(|ready| ready > now) {
            let again = ready.unwrap_or(now.after(wait)).max(now.after(std::time::Duration::from_millis(10)));
            self.mono_dues.insert(again.0, DueKind::Doubt as u8, number);
            return;
        }
        match policy {
            InDoubt::Resend => self.resend(number),
            InDoubt::Hold => {
                self.step(number, &Step::Held { cause: HoldCause::InDoubt });
            }
            InDoubt::Fail => {
                self.step(number, &Step::Failed { cause: FailCause::InDoubt, status: 0 });
            }
        }
    }

    fn resend(&mut self, number: u64) {
        self.counters.resent_in_doubt += 1;
        if self.step(number, &Step::Resend) == Some(State::Queued)
            && let Some(message) = self.pages.get(number)
        {
            self.providers.queue_front(message);
        }
    }
}
