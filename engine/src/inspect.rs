//! What tests look at: an engine's whole state in a form that can be compared, and the rules that hold between its parts
//! at every moment. Nothing else uses it, and it changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use codecs::instant::Wall;

use crate::engine::{DueKind, Engine};
use crate::flushes::Flushes;
use crate::ledger::Wallet;
use crate::message::{Charge, Message, PartState, STORED, State};
use crate::quota::Usage;
use crate::schedule::Schedule;

/// What a fold of the journal must give again.
#[doc(hidden)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub wallets: Vec<(u32, Wallet)>,
    /// What each tenant has used of its quotas.
    pub used: Vec<Option<Usage>>,
    pub next: (u16, u64),
    /// Bytes and state of every message in memory.
    pub living: BTreeMap<u64, (Vec<u8>, State)>,
    /// What each tenant has parked: messages, those that wait to be sent, and reserved money.
    pub parked: Vec<(u64, u64, i128)>,
    /// Messages that have left memory and of which their tenants are still to be told.
    pub debts: BTreeMap<u64, u32>,
    /// Early receipts by provider.
    pub early: BTreeMap<(u16, Vec<u8>), u32>,
    /// Parts of messages from phones, and what is kept for the operator.
    pub parts: BTreeMap<(Vec<u8>, u8), Vec<u8>>,
    pub kept: Vec<(u64, Vec<u8>)>,
    pub keys: BTreeMap<(u32, u128), Vec<u8>>,
    pub names: (Vec<String>, Vec<String>),
    /// The next number of operators' rules, and the rules.
    pub rules: (u32, BTreeMap<u32, Vec<u8>>),
    pub flushes: Flushes,
}

impl Engine {
    #[doc(hidden)]
    pub fn living(&self) -> impl Iterator<Item = &Message> {
        self.pages.iter()
    }

    /// The messages whose newest image is in the journal: not the copies of what is parked.
    fn journaled(&self) -> impl Iterator<Item = &Message> {
        self.pages.iter().filter(|message| message.image_group != STORED)
    }

    #[doc(hidden)]
    pub fn summary(&self) -> Summary {
        let mut early = BTreeMap::new();
        for receipt in self.early.iter() {
            *early.entry((receipt.provider, receipt.payload.to_vec())).or_default() += 1;
        }
        let keys = self.idempotency.entries().map(|(tenant, key, entry)| {
            let mut bytes = Vec::new();
            entry.encode(tenant, key, &mut bytes);
            ((tenant, key), bytes)
        });
        Summary {
            wallets: self.tenants.wallets(),
            used: self.used_by_tenant(),
            next: (self.epoch, self.next),
            living: self.journaled().map(|m| (m.number, (m.bytes().to_vec(), m.state))).collect(),
            parked: self.parked_by_tenant(),
            debts: self.owed().map(|(number, tenant, _)| (number, tenant)).collect(),
            early,
            parts: self.waiting_parts_of_phones(),
            kept: self.kept.all(),
            keys: keys.collect(),
            names: self.names(),
            rules: self.surgery.summary(),
            flushes: self.flushes(),
        }
    }

    fn used_by_tenant(&self) -> Vec<Option<Usage>> {
        let tenants = self.tenants.wallets();
        tenants.iter().filter_map(|(tenant, _)| Some(self.tenants.get(*tenant)?.usage)).collect()
    }

    fn parked_by_tenant(&self) -> Vec<(u64, u64, i128)> {
        let tenants = self.tenants.wallets();
        let of = |tenant| self.parking.of_tenant(tenant);
        tenants
            .iter()
            .map(|(tenant, _)| (of(*tenant).messages, of(*tenant).waiting, of(*tenant).reserved))
            .collect()
    }

    /// Panics with what is wrong when two parts of the state contradict each other.
    #[doc(hidden)]
    pub fn check(&self) {
        self.check_money();
        self.check_windows();
        self.check_waiting();
        self.check_untold();
    }

    /// P3, and that every reservation belongs to a living message.
    fn check_money(&self) {
        let mut reserved: BTreeMap<u32, i64> = BTreeMap::new();
        for message in self.journaled() {
            let is_reserved = message.charge == Charge::Reserved;
            assert!(!(is_reserved && message.is_final()), "{} is final and reserved", message.number);
            *reserved.entry(message.tenant).or_default() += if is_reserved { message.price.0 } else { 0 };
        }
        for (tenant, wallet) in self.tenants.wallets() {
            assert!(wallet.holds(), "the wallet of {tenant} does not add up: {wallet:?}");
            let of_messages = i128::from(reserved.get(&tenant).copied().unwrap_or(0));
            let of_parked = self.parking.of_tenant(tenant).reserved;
            assert_eq!(
                i128::from(wallet.reserved().0),
                of_messages + of_parked,
                "reserved of tenant {tenant}"
            );
        }
    }

    /// A bind's count is exactly the parts in state `Sending` with it.
    fn check_windows(&self) {
        let mut sending: BTreeMap<(u16, u16), u32> = BTreeMap::new();
        for message in self.pages.iter().filter(|message| message.sending_parts() > 0) {
            assert_eq!(message.state, State::Sending, "{} has parts on their way", message.number);
            *sending.entry((message.provider, message.bind)).or_default() += message.sending_parts();
        }
        for (index, provider) in (0u16..).zip(self.providers.iter()) {
            for (place, bind) in (0u16..).zip(&provider.binds) {
                let expected = sending.remove(&(index, place)).unwrap_or(0);
                assert_eq!(bind.in_flight, expected, "in flight with bind {place} of {}", provider.id);
            }
        }
        assert!(sending.is_empty(), "parts with binds that do not exist: {sending:?}");
    }

    /// What waits is where it will be found: in its queue, or with a time.
    fn check_waiting(&self) {
        let queued: Vec<BTreeSet<u64>> = self
            .providers
            .iter()
            .map(|provider| {
                let mut numbers: BTreeSet<u64> = provider.queue.numbers().collect();
                numbers.extend(&provider.returned);
                numbers
            })
            .collect();
        let doubtful: BTreeSet<u64> =
            self.providers.iter().flat_map(|provider| provider.doubtful.iter().copied()).collect();
        let (wall, mono) = (dues(&self.wall_dues), dues(&self.mono_dues));
        let has_due =
            |dues: &BTreeSet<(u8, u64)>, kind: DueKind, number| dues.contains(&(kind as u8, number));
        let mut waiting = 0;
        let mut counts = vec![[0; 3]; self.providers.iter().count()];
        for ((provider, priority, _), parked) in self.parking.depths() {
            counts[usize::from(*provider)][*priority as usize] += parked.queued;
        }
        for message in self.pages.iter() {
            let number = message.number;
            if message.image_group != STORED {
                waiting += u64::from(crate::engine::is_waiting(message.state));
                let is_queued = u64::from(message.state == State::Queued);
                counts[usize::from(message.provider)][message.priority as usize] += is_queued;
            }
            let is_found = match message.state {
                State::Queued => {
                    queued.get(usize::from(message.provider)).is_some_and(|queue| queue.contains(&number))
                        || has_due(&wall, DueKind::Send, number)
                }
                State::InDoubt => has_due(&mono, DueKind::Doubt, number) || doubtful.contains(&number),
                State::Sending => message.part_states().any(|part| part == PartState::Sending),
                // What is scheduled is seen when all pages are looked at.
                _ => true,
            };
            assert!(is_found, "{number} is {:?}, and nothing will wake it", message.state);
        }
        let copies = self.pages.iter().filter(|message| message.image_group == STORED).count();
        assert_eq!(self.parking.copies(), copies as u64, "copies of what is parked");
        waiting += self.parking.waiting();
        assert_eq!(self.waiting, waiting, "messages that wait");
        for (provider, count) in (0u16..).zip(counts) {
            assert_eq!(self.queued.of(provider), count, "messages queued for provider {provider}");
        }
        let of_tenants: u64 =
            self.tenants.wallets().iter().filter_map(|(t, _)| self.tenants.get(*t)).map(|t| t.waiting).sum();
        assert_eq!(of_tenants, waiting, "messages that wait, by tenant");
    }

    /// What is to be told is in its tenant's line, on its way, or being read back.
    fn check_untold(&self) {
        let again = dues(&self.mono_dues);
        for (tenant, _) in self.tenants.wallets() {
            let Some(entry) = self.tenants.get(tenant) else { continue };
            let mut line: BTreeMap<u64, Wall> = BTreeMap::new();
            for (number, since) in entry.untold.iter().chain(entry.untold_long.iter()) {
                let earliest = line.entry(number).or_insert(since);
                *earliest = since.min(*earliest);
            }
            let in_line = |number: &u64| line.contains_key(number);
            for message in self.pages.iter().filter(|m| m.tenant == tenant && m.is_to_be_told()) {
                let number = message.number;
                let is_found = in_line(&number)
                    || message.telling.is_some()
                    || again.contains(&(DueKind::Tell as u8, number))
                    || again.contains(&(DueKind::TellLast as u8, number));
                assert!(is_found, "{number} is {:?}, and its tenant is never told", message.state);
            }
            let debts = self.owed().filter(|(_, of, _)| *of == tenant);
            for (number, _, since) in debts {
                assert!(in_line(&number), "{number} is parked, and its tenant is never told");
                assert!(line[&number] <= since, "{number} would be dropped late");
            }
            if let Some(number) = entry.untold.front().filter(|number| self.pages.get(*number).is_none())
                && self.debts.owes(number)
                && !self.tenants.is_marked(tenant)
                && entry.receiver_for(self.now.mono, |_| true).is_some()
            {
                assert!(
                    self.is_coming(tenant, number),
                    "{number} is not read for {tenant}, who waits for it"
                );
            }
            for receiver in &entry.receivers {
                assert!(
                    receiver.in_flight <= receiver.window,
                    "a session of {tenant} has more than its window"
                );
            }
        }
    }
}

fn dues(schedule: &Schedule) -> BTreeSet<(u8, u64)> {
    let mut all = Vec::new();
    schedule.clone().take_due(u64::MAX, usize::MAX, &mut all);
    all.into_iter().map(|due| (due.kind, due.number)).collect()
}
