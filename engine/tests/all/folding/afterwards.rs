//! What tenants do with what they submitted, what providers that are asked for it answer, and tenants' terms.

use codecs::receipt::State as ReceiptState;
use engine::catalog::SettleOn;
use engine::command::*;
use engine::id::Permutation;
use engine::money::Micros;

use super::acts::Shape;
use super::{TO, World};
use crate::house::*;

/// Messages that tenants do something with: the newest.
const CHOICES_MAX: usize = 60;

/// A question that a bind has been given.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    connection: ConnectionId,
    part: PartToken,
    kind: AskKind,
}

impl World {
    pub(super) fn replace(&self, choice: u16, text: &Shape) -> Option<Command> {
        let octets = Sms::of_parts(text.parts).text;
        let (send_at, valid_until) = (self.after(text.later), self.after(text.valid));
        let registered_delivery = text.registered;
        let replacement = Replacement { octets, send_at, valid_until, registered_delivery };
        self.of_one(choice, OfOne::Replace(replacement))
    }

    pub(super) fn ask(&self, choice: u16, kind: AskKind) -> Option<Command> {
        self.of_one(choice, if kind == AskKind::Cancel { OfOne::Cancel } else { OfOne::Query })
    }

    fn of_one(&self, choice: u16, what: OfOne) -> Option<Command> {
        let back = usize::from(choice) % self.numbers.len().clamp(1, CHOICES_MAX);
        let number = *self.numbers.iter().nth_back(back)?;
        let living = self.house.engine.message(number).map(|message| message.tenant);
        let tenant = living.or_else(|| Some(self.house.stored(number)?.tenant))?;
        let named = Named { id: Permutation::new(&KEY).id(number), source: Vec::new(), destination: None };
        Some(operation(tenant, Wanted::OfOne { named, what }))
    }

    /// The oldest questions of all are answered; those of binds that are gone never are.
    pub(super) fn ask_answers(&mut self, count: u8, status: u8, state: u8) -> Vec<Command> {
        let status = match status {
            0 => REFUSED,
            1 => THROTTLED,
            2 => 0xFF,
            _ => 0,
        };
        let state = match state {
            0 => Some(ReceiptState::Undeliverable),
            1 => Some(ReceiptState::Delivered),
            2 => Some(ReceiptState::Deleted),
            3 => Some(ReceiptState::Enroute),
            4 => Some(ReceiptState::Unknown),
            _ => None,
        };
        let count = usize::from(count).min(self.asked.len());
        let asked: Vec<Asked> = self.asked.drain(..count).collect();
        let answers = asked.into_iter().filter_map(|Asked { connection, part, kind }| {
            let (&(provider, bind), _) = self.binds.iter().find(|(_, (open, _))| *open == connection)?;
            let state = state.filter(|_| kind == AskKind::Query);
            let items = vec![AskAnswer { token: part, kind, status, state, error: 0, done: None }];
            Some(Command::AskAnswers { provider, bind, items })
        });
        answers.collect()
    }

    pub(super) fn gather_asked(&mut self) {
        let asks = std::mem::take(&mut self.house.asks).into_iter();
        self.asked.extend(asks.map(|(connection, part, ask)| Asked { connection, part, kind: ask.kind }));
    }

    pub(super) fn terms(&mut self, price: u8, limit: u8, settle_on: SettleOn) -> Command {
        let tenant = &mut self.house.definitions.tenants[0];
        tenant.price = Some(Micros(i64::from(price) * 500_000));
        tenant.credit_limit = Micros(i64::from(limit) * 1_000_000);
        tenant.settle_on = settle_on;
        Command::Configure { definitions: Box::new(self.house.definitions.clone()), reply: None }
    }
}

pub fn cancel_all(tenant: u8, to: u8) -> Command {
    let (source, destination) = (b"ACME".to_vec(), TO + u64::from(to));
    let addresses = Addresses { service_type: Vec::new(), source, destination };
    operation(u32::from(tenant), Wanted::CancelAll(addresses))
}

fn operation(tenant: u32, wanted: Wanted) -> Command {
    let connection = ConnectionId(u32::MAX);
    Command::Operation(Box::new(TenantOperation { tenant, connection, sequence: 1, wanted }))
}
