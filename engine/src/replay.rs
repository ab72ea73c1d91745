//! State as the fold of the journal: each record applied again, effects never; then outstanding work derived from state.

use crate::accept::millis;
use crate::catalog::Definitions;
use crate::command::Now;
use crate::engine::{DueKind, Engine};
use crate::id::Number;
use crate::idempotency::Entry;
use crate::ledger::{Reserve, Wallet};
use crate::message::{Message, State};
use crate::message_id_of;
use crate::pages::{BLOCK_MESSAGES, place_of};
use crate::receipts::decode_early_payload;
use crate::record::{NameKind, Record, RecordError, Records};
use crate::ring::Item;
use crate::routing::RoutingError;
use crate::step::{Step, Verdict};

/// Why the journal's groups could not be folded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error("group {group}: {error}")]
    Record { group: u64, error: RecordError },
    #[error("group {group}: {what} cannot be read")]
    Content { group: u64, what: &'static str },
    #[error("the wallet of tenant {tenant} does not add up after replay")]
    Ledger { tenant: u32 },
    #[error(transparent)]
    Routing(#[from] RoutingError),
}

impl Engine {
    /// Folds one group, in order of group numbers from the ring's start.
    pub fn replay(&mut self, group: u64, records: &[u8]) -> Result<(), ReplayError> {
        self.replaying = true;
        self.group_number = group;
        for record in Records::new(records) {
            let record = record.map_err(|error| ReplayError::Record { group, error })?;
            let content = |what| ReplayError::Content { group, what };
            match record {
                Record::Accept(bytes) => self.replay_accept(bytes).ok_or(content("a message"))?,
                Record::Step { number, step } => {
                    self.replay_step(number, step).ok_or(content("a step"))?;
                }
                Record::CarryOver(bytes) | Record::Amendment(bytes) => {
                    self.replay_image(bytes).ok_or(content("a carried message"))?;
                }
                Record::Wallet { tenant, wallet } => {
                    let wallet = Wallet::decode(wallet).ok_or(content("a wallet"))?;
                    let entry = self.tenants.placeholder(tenant);
                    entry.wallet = wallet;
                    entry.wallet_known = true;
                    self.ring.add(group, Item::Wallet(tenant));
                }
                Record::Idempotency { tenant, entry } => {
                    let (_, key, entry) = Entry::decode(entry).ok_or(content("an idempotency key"))?;
                    self.idempotency.keep(tenant, key, entry);
                    self.ring.add(group, Item::Idempotency(tenant, key));
                }
                Record::EarlyReceipt { provider, receipt, .. } => {
                    let (key, _) =
                        decode_early_payload(provider, receipt).ok_or(content("an early receipt"))?;
                    if self.early.of(provider, &key).next().is_none() {
                        self.keep_early(provider, &key, receipt.to_vec());
                    }
                    self.ring.add(group, Item::Early(provider, key.into()));
                }
                other => self.replay_other(group, &other),
            }
        }
        Ok(())
    }

    fn replay_other(&mut self, group: u64, record: &Record<'_>) {
        match *record {
            Record::Money { tenant, kind, amount, .. } => {
                if self.tenants.get(tenant).is_some_and(|entry| entry.wallet_known) {
                    self.apply_money(tenant, kind, amount);
                }
            }
            Record::Parked { block, mask, untold } => self.replay_parked(block, mask, untold),
            Record::Catalog { kind: NameKind::Tenant, index, id, currency } => {
                self.tenants.name_at(index, id, currency);
                self.ring.add(group, Item::Name(NameKind::Tenant, index));
            }
            Record::Catalog { kind: NameKind::Provider, index, id, .. } => {
                let shares = self.settings.shares;
                self.providers.name_at(index as u16, id, shares, self.now.mono);
                self.ring.add(group, Item::Name(NameKind::Provider, index));
            }
            Record::Epoch { epoch, next } => {
                (self.epoch, self.next) = (self.epoch, self.next).max((epoch, next));
                self.ring.add(group, Item::Epoch);
            }
            Record::Untold { tenant, number } => {
                if self.pages.get(number).is_none() {
                    self.sweep.owe(number, tenant);
                    self.ring.add(group, Item::Untold(tenant, number));
                }
            }
            _ => {}
        }
    }

    fn replay_accept(&mut self, bytes: &[u8]) -> Option<()> {
        let mut message = Message::accepted(bytes.to_vec())?;
        let number = Number(message.number);
        (self.epoch, self.next) = (self.epoch, self.next).max((number.epoch(), number.sequence() + 1));
        if let Some(entry) = self.tenants.get_mut(message.tenant)
            && entry.wallet_known
        {
            // It was covered then, in this order of events; the overdraft may have been changed since.
            let reserved = entry.wallet.reserve(message.price);
            assert!(reserved == Reserve::Done, "replay cannot reserve what was reserved: {reserved:?}");
        }
        message.image_group = self.group_number;
        self.ring.add_fresh(self.group_number, message.number);
        let since = message.accepted_at.0;
        self.pages.insert(message, since);
        Some(())
    }

    fn replay_image(&mut self, bytes: &[u8]) -> Option<()> {
        let mut message = Message::read(bytes.to_vec())?;
        message.image_group = self.group_number;
        let number = Number(message.number);
        (self.epoch, self.next) = (self.epoch, self.next).max((number.epoch(), number.sequence() + 1));
        self.sweep.lives_again(message.number);
        self.ring.add(self.group_number, Item::Message(message.number));
        let since = message.accepted_at.0;
        self.pages.insert(message, since);
        Some(())
    }

    fn replay_step(&mut self, number: u64, encoded: &[u8]) -> Option<()> {
        // A message that is not here was archived, or all of it is in groups that were dropped.
        let Some((counts, message)) = self.pages.with_page(number) else { return Some(()) };
        let was_done = message.is_done();
        let change = message.take_encoded(encoded)?;
        let (tenant, price) = (message.tenant, message.price);
        counts.note(was_done, message.is_done());
        self.move_money(tenant, price, change.charge);
        Some(())
    }

    fn replay_parked(&mut self, block: u64, mask: u64, untold: u64) {
        let group = self.group_number;
        let taken = self.pages.take(block, |message| mask & (1 << place_of(message.number)) != 0);
        for message in taken {
            if untold & (1 << place_of(message.number)) != 0 {
                self.sweep.owe(message.number, message.tenant);
                self.ring.add(group, Item::Untold(message.tenant, message.number));
            }
        }
        let last = (block + 1) * BLOCK_MESSAGES;
        let (epoch, sequence) = ((last >> 36) as u16 & 0xfff, last & ((1 << 36) - 1));
        if mask >> (BLOCK_MESSAGES - 1) != 0 {
            (self.epoch, self.next) = (self.epoch, self.next).max((epoch, sequence));
        }
    }

    /// The ids under which receipts for this message will come, by what the definitions say of them now.
    fn index(&mut self, number: u64) {
        let Some(message) = self.pages.get(number) else { return };
        let form = self.id_form(message.provider);
        for (_, step) in message.steps() {
            if let Step::Response { part, verdict: Verdict::Accepted, id, .. } = step {
                self.index.insert(message.provider, &message_id_of(form, id), number, part);
            }
        }
    }

    /// Ends the replay: takes over the definitions that hold now, checks the sums, and puts everything that is outstanding
    /// where it waits. What was being sent when the process ended is in doubt; that is new, and in the group that follows.
    pub fn recovered(&mut self, definitions: Definitions, now: Now, next_group: u64) -> Result<(), ReplayError> {
        self.replaying = false;
        self.begin(now, next_group);
        for (tenant, wallet) in self.tenants.wallets() {
            if !wallet.holds() {
                return Err(ReplayError::Ledger { tenant });
            }
        }
        if self.ring.is_empty() {
            self.record_epoch();
        }
        self.configure(definitions)?;
        for block in self.pages.blocks() {
            let numbers: Vec<u64> =
                self.pages.page(block).into_iter().flat_map(|page| page.messages()).map(|m| m.number).collect();
            for number in numbers {
                self.index(number);
                self.resume(number);
            }
            if self.pages.page(block).is_some_and(|page| page.is_done()) {
                self.sweep.done(block);
            }
        }
        let parked: Vec<(u64, u32)> = self.sweep.owed().collect();
        for (number, tenant) in parked {
            self.tenants.owe(tenant, number);
        }
        self.match_all_early();
        Ok(())
    }

    fn resume(&mut self, number: u64) {
        let Some(message) = self.pages.get(number) else { return };
        let (tenant, waits) = (message.tenant, crate::engine::is_waiting(message.state));
        self.count_waiting(tenant, false, waits);
        let Some(message) = self.pages.get(number) else { return };
        if let Some(until) = message.valid_until
            && !message.is_final()
        {
            self.wall_dues.insert(millis(until), DueKind::Expire as u8, number);
        }
        match message.state {
            State::Queued => match retry_at(message) {
                Some(at) if at > millis(self.now.wall) => self.wall_dues.insert(at, DueKind::Send as u8, number),
                _ => self.providers.queue_back(message),
            },
            State::Scheduled => {
                let at = message.body().send_at.map_or(0, millis);
                self.wall_dues.insert(at, DueKind::Send as u8, number);
            }
            State::Sending => {
                let provider = message.provider;
                self.doubt_after_restart(number);
                self.wait_for_news(provider, number);
            }
            State::InDoubt => self.wait_for_news(message.provider, number),
            _ if message.is_to_be_told() => self.tenants.owe(message.tenant, number),
            _ => {}
        }
    }
}

/// When a message that was refused for now is to be tried again; its last words decide.
fn retry_at(message: &Message) -> Option<u64> {
    let mut at = None;
    for (_, step) in message.steps() {
        at = match step {
            Step::Response { verdict: Verdict::Retry, retry_at, .. } => Some(millis(retry_at)),
            Step::Rerouted { .. } => at,
            _ => None,
        };
    }
    at
}
