//! What can be seen of an engine from outside, taken once a second: counts and gauges. It changes nothing.

use std::time::Duration;

use codecs::instant::Wall;

use crate::counters::Counters;
use crate::engine::{Engine, is_waiting};
use crate::message::{STORED, State};
use crate::money::Micros;

#[derive(Clone, Debug, Default)]
pub struct ProviderSnapshot {
    pub id: String,
    /// Queued messages by priority: low, normal, high; wherever they lie.
    pub queued: [u64; 3],
    /// Parts in flight by bind, and whether the bind is up.
    pub binds: Vec<(u32, bool)>,
    /// Parts a second at present; 0: no limit.
    pub rate: u32,
}

#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub counters: Counters,
    pub providers: Vec<ProviderSnapshot>,
    /// Reserved credit by currency.
    pub reserved: Vec<(String, Micros)>,
    /// Messages in memory.
    pub living: u64,
    /// Messages that wait to be sent.
    pub waiting: u64,
    /// Messages parked on disk.
    pub parked: u64,
    /// How long the oldest queued message has waited since it was accepted.
    pub queue_oldest: Duration,
    /// Ids in the receipt index, and receipts without a message yet.
    pub receipt_ids: u64,
    pub early_receipts: u64,
    /// Receipts that tenants have not been given yet.
    pub untold: u64,
    /// Jumps of the system's time of day, and whether one is not believed yet.
    pub clock: (u64, bool),
    /// The time that the engine goes by.
    pub wall: Wall,
    /// The first block of which something lives, on its way somewhere or untold included; what is parked is the store's to say.
    pub living_from: Option<u64>,
}

impl Engine {
    /// Tenants that the definitions do not have, with how many of their messages wait.
    pub fn waiting_of_unknown_tenants(&self) -> impl Iterator<Item = (&str, u64)> {
        self.tenants.unknown_waiting()
    }

    /// How many messages wait with a provider, queued, scheduled or held, in memory and on disk, and how many it has of
    /// which it is still to say what became of them. It looks at all of them.
    pub fn waiting_with(&self, provider: u16) -> (u64, u64) {
        let depths = self.parking.depths().filter(|((of, ..), _)| *of == provider);
        let parked = depths.fold((0, 0), |(waiting, sent), (_, depth)| {
            (waiting + depth.queued + depth.scheduled + depth.held, sent + depth.sent)
        });
        let here = self.pages.iter().filter(|m| m.provider == provider && m.image_group != STORED);
        here.fold(parked, |(waiting, sent), message| match message.state {
            state if is_waiting(state) => (waiting + 1, sent),
            State::Sent if message.wants_receipts() => (waiting, sent + 1),
            State::Sending | State::InDoubt => (waiting, sent + 1),
            _ => (waiting, sent),
        })
    }

    pub fn snapshot(&self) -> Snapshot {
        let providers = (0u16..).zip(self.providers.iter()).map(|(index, provider)| ProviderSnapshot {
            id: provider.id.clone(),
            queued: self.queued.of(index),
            binds: provider.binds.iter().map(|bind| (bind.in_flight, bind.connection.is_some())).collect(),
            rate: provider.rate.rate(),
        });
        Snapshot {
            counters: self.counters.clone(),
            providers: providers.collect(),
            reserved: self.tenants.reserved(),
            living: self.pages.len(),
            waiting: self.waiting,
            parked: self.parking.messages(),
            queue_oldest: self.oldest_queued(),
            receipt_ids: self.index.len() as u64,
            early_receipts: self.early.len() as u64,
            untold: self.tenants.untold(),
            clock: self.wall_clock.alarm(),
            wall: self.now.wall,
            living_from: self.living_from(),
        }
    }

    fn living_from(&self) -> Option<u64> {
        let (pages, archiving) = (self.pages.first_block(), self.sweep.first_block());
        [pages, archiving, self.debts.first_block(), self.parking.first_writing(), self.first_loading()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The tenants and providers by their permanent numbers, for those who speak with the engine in numbers.
    pub fn names(&self) -> (Vec<String>, Vec<String>) {
        (self.tenants.names(), self.providers.iter().map(|provider| provider.id.clone()).collect())
    }
}
