//! What tenants' sessions answer to what they are told, in time, late, or never: what is told then, and what comes again.

use std::collections::BTreeSet;

use codecs::instant::Mono;
use codecs::smpp::status::Status;

use crate::command::{Acknowledgement, ConnectionId, Said};
use crate::engine::{DueKind, Engine};
use crate::message::State;
use crate::receiver::Receiver;
use crate::step::Step;
use crate::telling::Tells;

/// What a status says of a receipt.
enum Verdict {
    Told,
    /// It is not to come again.
    Dropped,
    Again,
}

impl Verdict {
    fn of(status: Status) -> Verdict {
        match status {
            Status::OK => Verdict::Told,
            // SMPP 3.4 §4.6.2: these two say that this receipt is not to come again.
            Status::X_P_APPN | Status::X_R_APPN => Verdict::Dropped,
            _ => Verdict::Again,
        }
    }
}

impl Engine {
    pub(crate) fn acknowledged(&mut self, tenant: u32, connection: ConnectionId, items: &[Acknowledgement]) {
        let Some(entry) = self.tenants.get_mut(tenant) else { return };
        let place = entry.receivers.iter().position(|receiver| receiver.connection == connection);
        let ok = Status::OK.0;
        if items.iter().any(|item| item.said == Said::Status(ok) || item.said == Said::Late(ok)) {
            entry.refusals.end();
        }
        self.tenants.mark(tenant);
        self.pages.fetch(items.iter().map(|item| item.number));
        let (now, mut passed_over, mut again) = (self.now.mono, BTreeSet::new(), Vec::new());
        for Acknowledgement { number, said } in items.iter().copied() {
            // A notification is told once only, so of which state matters nowhere.
            let told = match said {
                Said::Nothing => self.pages.get(number).and_then(|message| message.telling),
                _ => None,
            };
            let told = told.unwrap_or(State::Delivered);
            let entry = self.tenants.get_mut(tenant);
            let receiver = entry.and_then(|entry| entry.receivers.get_mut(place?));
            let late = receiver
                .and_then(|receiver| take_note(receiver, (number, told), said, now, &mut passed_over));
            if Tells::of_token(number) == Tells::End && self.comes_again(number, said, late) {
                again.push(number);
            }
        }
        self.come_again(passed_over.into_iter());
        if again.is_empty() {
            return;
        }
        let at = self.tenants.get_mut(tenant).map_or(now, |entry| entry.refusals.again(now));
        // Each is put before all others when it comes again: the last one first.
        for number in again.into_iter().rev() {
            self.mono_dues.insert(at.0, DueKind::Tell as u8, number);
        }
    }

    /// What becomes of a receipt: whether it is to be told again after a pause. `late` is the state that it told of, where it is late.
    fn comes_again(&mut self, number: u64, said: Said, late: Option<State>) -> bool {
        match said {
            Said::Status(status) => self.answered(number, Verdict::of(Status(status))),
            Said::Nothing => self.not_answered(number),
            Said::Late(status) => self.answered_late(number, Verdict::of(Status(status)), late),
            Said::Never => {
                self.tell_again(number);
                false
            }
        }
    }

    fn answered(&mut self, number: u64, verdict: Verdict) -> bool {
        let Some(message) = self.pages.get(number) else { return false };
        if message.told {
            // By a late answer to another of it.
            self.pages.set_telling(number, None);
            return false;
        }
        match verdict {
            Verdict::Told => {
                self.counters.told += 1;
                self.end_telling(number, &Step::Told);
            }
            Verdict::Dropped => {
                self.counters.dropped += 1;
                self.end_telling(number, &Step::Dropped);
            }
            Verdict::Again => {
                self.counters.tellings_refused += 1;
                self.pages.telling_waits(number);
                return true;
            }
        }
        false
    }

    fn not_answered(&mut self, number: u64) -> bool {
        let Some(message) = self.pages.get(number) else { return false };
        if message.told {
            self.pages.set_telling(number, None);
            return false;
        }
        self.pages.telling_waits(number);
        true
    }

    /// It ends the telling of the state that it is about; another that is on its way meanwhile changes nothing then.
    fn answered_late(&mut self, number: u64, verdict: Verdict, of: Option<State>) -> bool {
        let Some(message) = self.pages.get(number) else { return false };
        let (telling, waits) = (message.telling, message.telling_waits());
        let is_owed = message.is_to_be_told() && of == Some(message.state);
        let end = match verdict {
            Verdict::Told if is_owed => Step::Told,
            Verdict::Dropped if is_owed => Step::Dropped,
            Verdict::Again if is_owed && waits && telling == of => {
                self.counters.tellings_refused += 1;
                return true;
            }
            _ => {
                self.tell_again(number);
                return false;
            }
        };
        self.counters.told += u64::from(end == Step::Told);
        self.counters.dropped += u64::from(end == Step::Dropped);
        self.step(number, &end);
        if telling.is_some() && !waits {
            // A session has it still: its answer is of this state, and not of one that the message comes to before.
            self.pages.set_telling(number, telling);
        }
        false
    }

    /// Told, or dropped, unless its state has changed since the receipt was written: then the tenant is owed another.
    fn end_telling(&mut self, number: u64, end: &Step<'_>) {
        let Some(message) = self.pages.get(number) else { return };
        if message.telling.is_none_or(|state| state == message.state) {
            self.step(number, end);
            return;
        }
        let (tenant, since) = (message.tenant, message.final_at);
        self.pages.set_telling(number, None);
        self.tenants.owe(tenant, number, since);
    }

    /// Those of these tokens whose receipts wait are told again, in order, before all others.
    pub(crate) fn come_again(&mut self, tokens: impl DoubleEndedIterator<Item = u64>) {
        for token in tokens.rev().filter(|token| Tells::of_token(*token) == Tells::End) {
            self.tell_again(token);
        }
    }

    /// A receipt need not wait any longer: its pause is over, or what it waits for will not come. One that a session has, that is in
    /// its line, or that has been told is left alone.
    pub(crate) fn tell_again(&mut self, number: u64) {
        let Some(message) = self.pages.get(number) else { return };
        if !message.telling_waits() {
            return;
        }
        let (tenant, since) = (message.tenant, message.final_at);
        self.pages.set_telling(number, None);
        if let Some(entry) = self.tenants.get_mut(tenant) {
            entry.untold.push_front(number, since);
            self.tenants.mark(tenant);
        }
    }
}

/// What a session's window makes of an answer to this token, which told of this state. The state that a late one is about.
fn take_note(
    receiver: &mut Receiver,
    (token, told): (u64, State),
    said: Said,
    now: Mono,
    passed_over: &mut BTreeSet<u64>,
) -> Option<State> {
    match said {
        Said::Status(_) => passed_over.append(&mut receiver.answered(now)),
        Said::Nothing => receiver.not_answered(token, told, now),
        Said::Late(_) => return receiver.answered_late(token, now),
        Said::Never => return receiver.not_waited_for(token),
    }
    None
}
