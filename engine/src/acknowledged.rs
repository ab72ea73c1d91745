//! What tenants' sessions say to the receipts that they are sent, in time, late, or not at all: what is told with that, what is
//! not to come again, and what comes again when.

use codecs::smpp::status::Status;

use crate::command::{Acknowledgement, ConnectionId, Said};
use crate::engine::{DueKind, Engine};
use crate::message::State;
use crate::outbox::News;
use crate::pages::block_of;
use crate::step::Step;
use crate::telling::Told;

impl Engine {
    pub(crate) fn acknowledged(&mut self, tenant: u32, connection: ConnectionId, items: &[Acknowledgement]) {
        let Some(entry) = self.tenants.get_mut(tenant) else { return };
        let mut receivers = entry.receivers.iter_mut();
        if let Some(receiver) = receivers.find(|receiver| receiver.connection == connection) {
            let now = self.now.mono;
            items.iter().for_each(|item| receiver.says(item.said, now));
        }
        if items.iter().any(|item| is_taken(item.said)) {
            entry.refusals.end();
        }
        self.tenants.mark(tenant);
        self.pages.fetch(items.iter().map(|item| Told::of_token(item.token).number));
        let (mut refused, mut overdue) = (Vec::new(), Vec::new());
        for item in items {
            // The answer to a notification says nothing about the receipt.
            let Told { number, end: Some(state) } = Told::of_token(item.token) else { continue };
            match item.said {
                Said::Nothing => overdue.push((number, state)),
                Said::Status(status) | Said::Late(status) => match Status(status) {
                    Status::OK => self.end_telling(tenant, number, state, Step::Told),
                    status if is_for_good(status) => self.end_telling(tenant, number, state, Step::Dropped),
                    _ if matches!(item.said, Said::Status(_)) => refused.push((number, state)),
                    // It comes again already.
                    _ => {}
                },
            }
        }
        self.counters.tellings_refused += refused.len() as u64;
        // Each is put before all others when it comes again: the last one first.
        refused.reverse();
        self.put_off(tenant, &refused, DueKind::Tell);
        // Who answers nothing else may answer what comes behind them.
        self.put_off(tenant, &overdue, DueKind::TellLast);
    }

    /// Told, or dropped, if that is what its state is still; else its tenant is owed another. After a late answer it may have
    /// left memory.
    pub(crate) fn end_telling(&mut self, tenant: u32, number: u64, state: State, end: Step<'static>) {
        let Some(message) = self.pages.get(number) else {
            if self.debts.owes(number) {
                self.load(block_of(number), News::Taken { tenant, number, state, end });
            }
            return;
        };
        let (is_to_be_told, since) = (message.is_to_be_told(), message.final_at);
        if is_to_be_told && message.state == state {
            match end {
                Step::Told => self.counters.told += 1,
                _ => self.counters.dropped += 1,
            }
            self.step(number, &end);
            return;
        }
        // One that is on its way may be another, of what came after.
        if message.telling == Some(state) {
            self.pages.set_telling(number, None);
            if is_to_be_told {
                self.tenants.owe(tenant, number, since);
            }
        }
    }

    /// These come again after a pause. Of what is not on its way any more another answer has ended the telling.
    fn put_off(&mut self, tenant: u32, told: &[(u64, State)], kind: DueKind) {
        let is_on_its_way = |(number, state): &&(u64, State)| {
            self.pages.get(*number).is_some_and(|message| message.telling == Some(*state))
        };
        let numbers: Vec<u64> = told.iter().filter(is_on_its_way).map(|(number, _)| *number).collect();
        if numbers.is_empty() {
            return;
        }
        let now = self.now.mono;
        let again = self.tenants.get_mut(tenant).map_or(now, |entry| entry.refusals.again(now));
        for number in numbers {
            self.pages.set_telling_pauses(number);
            self.mono_dues.insert(again.0, kind as u8, number);
        }
    }

    /// The pause of one that was not taken is over.
    pub(crate) fn tell_again(&mut self, number: u64, kind: DueKind) {
        let Some(message) = self.pages.get(number) else { return };
        let (tenant, since) = (message.tenant, message.final_at);
        // Another answer may have ended it, and more news be on its way.
        if !message.telling_pauses() {
            return;
        }
        let is_to_be_told = message.is_to_be_told();
        self.pages.set_telling(number, None);
        // A session without room may be tried now, whatever comes of this one.
        self.tenants.mark(tenant);
        let Some(entry) = self.tenants.get_mut(tenant).filter(|_| is_to_be_told) else { return };
        match kind {
            DueKind::TellLast => entry.untold.push_back(number, since),
            _ => entry.untold.push_front(number, since),
        }
    }
}

fn is_taken(said: Said) -> bool {
    match said {
        Said::Status(status) | Said::Late(status) => {
            Status(status) == Status::OK || is_for_good(Status(status))
        }
        Said::Nothing => false,
    }
}

/// SMPP 3.4 §4.6.2: these two say that a receipt is not to come again.
fn is_for_good(status: Status) -> bool {
    matches!(status, Status::X_P_APPN | Status::X_R_APPN)
}
