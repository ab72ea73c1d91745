//! State as the fold of the journal: each record applied again, effects never; then outstanding work derived from state.

use codecs::instant::Wall;
use codecs::message_id::Side;

use crate::accept::millis;
use crate::catalog::Definitions;
use crate::command::Now;
use crate::engine::{DueKind, Engine, Released};
use crate::id::Number;
use crate::idempotency;
use crate::kept::Entry;
use crate::ledger::{Change, Reserve, Wallet};
use crate::message::{Charge, Message, STORED, State};
use crate::money::Micros;
use crate::pages::{BLOCK_MESSAGES, order_of, place_of};
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
    #[error(
        "block {block} has messages that the journal goes on with, and no store has them. Choices: put back a backup of the whole store; or start without them: put what `tidegate journal salvage DIR` writes in the place of the journal"
    )]
    Apart { block: u64 },
    #[error("the wallet of tenant {tenant} does not add up after replay")]
    Ledger { tenant: String },
    #[error(
        "the wallet of tenant {tenant} is kept in {kept}, and the settings say {asked}: write currency = \"{kept}\", or give the tenant another id, which has a wallet of its own"
    )]
    Currency { tenant: String, kept: String, asked: String },
    #[error(transparent)]
    Routing(#[from] RoutingError),
}

/// What mending has changed of a wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MendedWallet {
    pub tenant: String,
    /// More than before in reserve, or less.
    pub reserved: Micros,
    /// Money that was given, since what was available did not suffice.
    pub adjusted: Micros,
}

impl MendedWallet {
    fn between(tenant: String, before: &Wallet, after: &Wallet) -> Option<MendedWallet> {
        // Totals of two wallets that add up, of which one was made from the other.
        let reserved = after.reserved().checked_sub(before.reserved()).unwrap_or_default();
        let adjusted = after.adjusted().checked_sub(before.adjusted()).unwrap_or_default();
        let is_changed = (reserved, adjusted) != (Micros::ZERO, Micros::ZERO);
        is_changed.then_some(MendedWallet { tenant, reserved, adjusted })
    }
}

impl Engine {
    /// Folds one group, in order of group numbers from the ring's start.
    pub fn replay(&mut self, group: u64, records: &[u8]) -> Result<(), ReplayError> {
        self.group_number = group;
        for record in Records::new(records) {
            let record = record.map_err(|error| ReplayError::Record { group, error })?;
            let content = |what| ReplayError::Content { group, what };
            match record {
                Record::Accept(bytes) => self.replay_accept(bytes).ok_or(content("a message"))?,
                Record::Step { number, step } => {
                    self.replay_step(number, step).ok_or(content("a step"))?;
                }
                Record::Apart { number, after, step } => self.replay_apart_step(number, after, step),
                Record::CarryOver(bytes) | Record::Amendment(bytes) => {
                    self.replay_image(bytes).ok_or(content("a carried message"))?;
                }
                Record::Wallet { tenant, wallet } => {
                    let entry = self.tenants.placeholder(tenant);
                    entry.take_wallet(wallet).ok_or(content("a wallet"))?;
                    if entry.wallet_group.is_none() {
                        entry.wallet_group = Some(group);
                        self.ring.add(group, Item::Wallet(tenant));
                    }
                }
                Record::Idempotency { tenant, entry } => {
                    let (_, key, entry) =
                        idempotency::Entry::decode(entry).ok_or(content("an idempotency key"))?;
                    self.idempotency.keep(tenant, key, entry);
                    self.ring.add(group, Item::Idempotency(tenant, key.to_le_bytes()));
                }
                Record::EarlyReceipt { provider, receipt, .. } => {
                    self.replay_early(provider, receipt).ok_or(content("an early receipt"))?;
                }
                Record::InboundPart { provider, at, part } => {
                    self.replay_part(provider, at, part).ok_or(content("a part from a phone"))?;
                }
                Record::Arrival { arrival, at } => self.note_arrival(arrival, Wall(at)),
                Record::Kept { drawer, number, provider, at, entry } => {
                    let entry = Entry::new(provider, Wall(at), entry);
                    self.replay_kept(drawer, number, entry).ok_or(content("what is kept"))?;
                }
                Record::Debts { block, debts } => {
                    self.replay_debts(group, block, debts).ok_or(content("what is untold"))?;
                }
                Record::Rule { number, rule } => {
                    self.replay_rule(number, rule).ok_or(content("an operator's rule"))?;
                }
                other => self.replay_other(group, &other),
            }
        }
        Ok(())
    }

    fn replay_other(&mut self, group: u64, record: &Record<'_>) {
        match *record {
            Record::Parked { block, mask } => self.replay_parked(block, mask),
            Record::Catalog { kind: NameKind::Tenant, index, id, currency } => {
                self.tenants.name_at(index, id, currency);
                self.name_recorded(NameKind::Tenant, index);
            }
            Record::Catalog { kind: NameKind::Provider, index, id, currency: mark } => {
                let shares = self.settings.shares;
                self.providers.name_at(index as u16, id, shares, self.now.mono);
                self.replay_mark(index as u16, mark);
                self.name_recorded(NameKind::Provider, index);
            }
            Record::Epoch { epoch, next } => {
                (self.epoch, self.next) = (self.epoch, self.next).max((epoch, next));
                self.epoch_group = group;
                self.ring.add(group, Item::Epoch);
            }
            Record::Flushes(flushes) => self.replay_flushes(group, flushes),
            Record::Untold { tenant, number, since } => {
                // A release of before did not say it.
                let since = if since == 0 { self.now.wall } else { Wall(since) };
                self.replay_untold(group, tenant, number, since);
            }
            _ => {}
        }
    }

    fn replay_accept(&mut self, bytes: &[u8]) -> Option<()> {
        let mut message = Message::accepted(bytes.to_vec())?;
        let number = Number(message.number);
        (self.epoch, self.next) = (self.epoch, self.next).max((number.epoch(), number.sequence() + 1));
        message.image_group = self.group_number;
        if message.is_inbound() {
            self.note_arrivals(&message.body(), message.accepted_at);
        }
        self.ring.add_fresh(self.group_number, message.number);
        if message.parts() > 1 {
            self.references.seen(&message.body());
        }
        let since = message.accepted_at.0;
        self.pages.insert(message, since);
        Some(())
    }

    fn replay_image(&mut self, bytes: &[u8]) -> Option<()> {
        let mut message = Message::read(bytes.to_vec())?;
        message.image_group = self.group_number;
        let number = Number(message.number);
        (self.epoch, self.next) = (self.epoch, self.next).max((number.epoch(), number.sequence() + 1));
        self.debts.forget(message.number);
        self.apart.forget(message.number);
        self.ring.add(self.group_number, Item::Message(message.number));
        // Another text has a reference of its own.
        if message.parts() > 1 {
            self.references.seen(&message.body());
        }
        let since = message.accepted_at.0;
        self.pages.insert(message, since);
        Some(())
    }

    fn replay_step(&mut self, number: u64, encoded: &[u8]) -> Option<()> {
        // A message that is not here was archived, or all of it is in groups that were dropped, unless its image is to be read.
        let Some((counts, message)) = self.pages.with_page(number) else {
            self.apart.go_on(number, encoded);
            return Some(());
        };
        let was_done = message.is_done();
        message.take_encoded(encoded)?;
        counts.note(was_done, message.is_done());
        Some(())
    }

    fn replay_parked(&mut self, block: u64, mask: u64) {
        self.pages.take(block, |message| mask & (1 << place_of(message.number)) != 0);
        self.apart.forget_places(block, mask);
        if mask >> (BLOCK_MESSAGES - 1) != 0 {
            self.go_beyond(block);
        }
    }

    /// Whether the journal has not given the number at this place in the order. A store that has its message is newer than the journal.
    pub fn is_beyond(&self, order: u64) -> bool {
        Number::order_of(self.epoch, self.next) <= order
    }

    /// As `go_beyond`, where the journal itself does not say so.
    pub fn skip_beyond(&mut self, block: u64) {
        self.go_beyond(block);
        self.flushes.has_skipped = true;
    }

    /// No number of this block or of one before it is given from here on.
    fn go_beyond(&mut self, block: u64) {
        let next = Number(block.saturating_add(1).saturating_mul(BLOCK_MESSAGES).min(Number::LAST_ORDER));
        (self.epoch, self.next) = (self.epoch, self.next).max((next.epoch(), next.sequence()));
    }

    /// The ids under which receipts for this message will come, by what the definitions say of them now.
    fn index(&mut self, number: u64) {
        self.with_ids(number, |engine, provider, key, part| {
            // The newest owner of an id keeps it.
            let owner = engine.index.find(provider, key).map(|(owner, _)| order_of(owner));
            if owner.is_none_or(|owner| owner <= order_of(number)) {
                engine.index.insert(provider, key, number, part);
            }
        });
    }

    /// The same for a message that has come back, with the receipts that have come for it meanwhile.
    pub(crate) fn index_again(&mut self, number: u64) {
        self.index(number);
        if !self.early.is_empty() {
            self.with_ids(number, |engine, provider, key, _| engine.match_held(provider, key, number));
        }
    }

    /// Works with each id that providers have given a message, in its canonical form.
    fn with_ids(&mut self, number: u64, mut work: impl FnMut(&mut Engine, u16, &[u8], u8)) {
        let Some(message) = self.pages.get(number) else { return };
        let provider = message.provider;
        let accepted = |(_, step): (Wall, Step<'_>)| match step {
            Step::Response { part, verdict: Verdict::Accepted, id, shared, .. } => {
                Some((part, id.to_vec(), message.key_phone(shared)))
            }
            _ => None,
        };
        let ids: Vec<(u8, Vec<u8>, Option<u64>)> = message.steps().filter_map(accepted).collect();
        for (part, id, phone) in ids {
            self.with_key(provider, Side::Response, &id, phone, |engine, key| {
                if !key.is_empty() {
                    work(engine, provider, key, part);
                }
            });
        }
    }

    /// Ends the replay: takes over the definitions that hold now, checks the sums, and puts everything that is outstanding
    /// where it waits. What was being sent when the process ended is in doubt; that is new, and in the group that follows.
    pub fn recovered(
        &mut self,
        definitions: Definitions,
        now: Now,
        next_group: u64,
    ) -> Result<(), ReplayError> {
        self.begin(now, next_group, Released::NONE);
        self.check_apart()?;
        self.check_wallets()?;
        self.check_currencies(&definitions)?;
        if self.ring.is_empty() || self.flushes.has_skipped {
            self.record_epoch();
        }
        self.record_found_flushes();
        self.configure(definitions)?;
        self.recover_rules();
        // What is in the archive became final before most of what is in memory.
        self.line_up_debts();
        for block in self.pages.blocks() {
            let numbers: Vec<u64> = self
                .pages
                .page(block)
                .into_iter()
                .flat_map(|page| page.messages())
                .map(|m| m.number)
                .collect();
            for number in numbers {
                self.queue_parked(order_of(number));
                self.index(number);
                self.resume(number);
            }
            if self.pages.page(block).is_some_and(|page| page.is_done()) {
                self.sweep.done(block);
            }
        }
        self.queue_parked(u64::MAX);
        self.parking.queued_all();
        for ((provider, priority, _), parked) in self.parking.depths() {
            self.queued.add(*provider, *priority, parked.queued);
        }
        self.let_go_held();
        self.idempotency.put_in_order(self.now.wall);
        self.match_all_early();
        self.tidy_kept();
        self.route_unrouted();
        self.look_for_oldest();
        Ok(())
    }

    /// After groups of the journal were lost: a new epoch, so that no number that was given is given again, and every wallet
    /// holds in reserve what its living messages have. What was reserved for lost messages is available again; what is
    /// missing comes out of what is available, and what that does not cover is adjusted.
    pub fn mend_after_loss(&mut self, now: Now, next_group: u64) -> Vec<MendedWallet> {
        self.begin(now, next_group, Released::NONE);
        (self.epoch, self.next) = (self.epoch.saturating_add(1), 0);
        self.record_epoch();
        self.record_found_flushes();
        self.mend_apart();
        let mut reserved = vec![0i64; self.tenants.wallets().len()];
        for (tenant, sum) in (0u32..).zip(&mut reserved) {
            *sum = i64::try_from(self.parking.of_tenant(tenant).reserved).unwrap_or(i64::MAX);
        }
        for message in self.pages.iter().filter(|message| message.charge == Charge::Reserved) {
            if let Some(sum) = reserved.get_mut(message.tenant as usize) {
                *sum = sum.saturating_add(message.price.0);
            }
        }
        let mut mended = Vec::new();
        for (tenant, sum) in (0u32..).zip(reserved) {
            if let Some(entry) = self.tenants.get_mut(tenant) {
                let before = entry.wallet;
                fit_reserve(&mut entry.wallet, sum);
                let name = if entry.id.is_empty() { format!("number {tenant}") } else { entry.id.clone() };
                mended.extend(MendedWallet::between(name, &before, &entry.wallet));
            }
            self.record_wallet(tenant);
        }
        mended
    }

    /// Tenants that have a wallet and no name any more, by their numbers: the group is lost that gave it.
    pub fn nameless_tenants(&self) -> impl Iterator<Item = u32> {
        (0u32..).zip(self.tenants.names()).filter(|(_, name)| name.is_empty()).map(|(tenant, _)| tenant)
    }

    /// Every wallet adds up, and holds in reserve what its living messages have.
    fn check_wallets(&self) -> Result<(), ReplayError> {
        match self.ledger().into_iter().find(|row| !row.holds) {
            Some(row) => Err(ReplayError::Ledger { tenant: row.tenant }),
            None => Ok(()),
        }
    }

    /// What was paid in one currency is not charged in another.
    fn check_currencies(&self, definitions: &Definitions) -> Result<(), ReplayError> {
        let other = definitions.tenants.iter().find_map(|definition| {
            let kept = &self.tenants.get(self.tenants.index_of(&definition.id)?)?.currency;
            (*kept != definition.currency).then(|| (definition, kept.clone()))
        });
        match other {
            None => Ok(()),
            Some((definition, kept)) => {
                let (tenant, asked) = (definition.id.clone(), definition.currency.clone());
                Err(ReplayError::Currency { tenant, kept, asked })
            }
        }
    }

    /// Every wallet, and what the living messages of its tenant have in reserve, the parked ones included.
    pub(crate) fn reserves(&self) -> Vec<(u32, Wallet, i128)> {
        let wallets = self.tenants.wallets().into_iter();
        let mut rows: Vec<(u32, Wallet, i128)> = wallets
            .map(|(tenant, wallet)| (tenant, wallet, self.parking.of_tenant(tenant).reserved))
            .collect();
        // A copy of what is parked is counted there.
        let counts = |m: &&Message| m.charge == Charge::Reserved && m.image_group != STORED;
        for message in self.pages.iter().filter(counts) {
            let place = message.tenant as usize;
            for missing in rows.len()..=place {
                rows.push((missing as u32, Wallet::default(), 0));
            }
            rows[place].2 += i128::from(message.price.0);
        }
        rows
    }

    /// A tenant that is active again sends what was held because it was not.
    pub(crate) fn let_go_held(&mut self) {
        self.look_at_held();
        let is_free = |message: &&Message| message.state == State::Held && self.is_let_go(message);
        let free: Vec<u64> = self.pages.iter().filter(is_free).map(|message| message.number).collect();
        for number in free {
            self.step(number, &Step::LetGo);
        }
    }

    fn resume(&mut self, number: u64) {
        let Some(message) = self.pages.get(number) else { return };
        let (tenant, waits) = (message.tenant, crate::engine::is_waiting(message.state));
        self.count_waiting(tenant, false, waits);
        let Some(message) = self.pages.get(number) else { return };
        if let Some(until) = message.valid_until()
            && !message.is_final()
        {
            self.wall_dues.insert(millis(until), DueKind::Expire as u8, number);
        }
        match message.state {
            State::Queued => {
                self.queued.add(message.provider, message.priority, 1);
                match message.paused_anew(self.now.wall) {
                    Some(at) => self.wall_dues.insert(millis(at), DueKind::Send as u8, number),
                    None => self.providers.enqueue(message),
                }
            }
            State::Scheduled => {
                let at = message.starts_at;
                self.watch_start(number, at);
            }
            State::Sending => self.doubt_after_restart(number),
            State::InDoubt => self.wait_for_news(message.provider, number),
            State::Sent if message.wants_receipts() => self.ask_later(number),
            _ if message.is_to_be_told() => self.tenants.owe(message.tenant, number, message.final_at),
            _ => {}
        }
    }
}

/// Makes a wallet's reserve what it should be, without breaking its sum. No money is made for what the wallet itself can cover.
fn fit_reserve(wallet: &mut Wallet, reserved: i64) {
    let over = wallet.reserved().0.saturating_sub(reserved);
    let fitted = match over {
        0 => true,
        1.. => wallet.release(Micros(over)) == Change::Done,
        _ => {
            let missing = over.saturating_neg();
            // Neither is negative: a wallet owes its credit limit at most.
            let covered = wallet.available().0.saturating_add(wallet.credit_limit().0);
            let lacking = Micros(missing.saturating_sub(covered).max(0));
            wallet.adjust(lacking) == Reserve::Done && wallet.reserve(Micros(missing)) == Reserve::Done
        }
    };
    assert!(fitted, "a wallet's reserve cannot be made {reserved}");
}
