//! One partition's engine: all its state, and the one way a message's state changes. Decides commands against memory, writes the
//! events of the group and collects its effects. No I/O: the commit loop gives time and commands, and releases.

use std::time::Duration;

use codecs::instant::{Mono, Wall};
use hashbrown::HashMap;

use crate::accept::millis;
use crate::apart::Apart;
use crate::catalog::{Definitions, Settings};
use crate::command::{Command, DiskLevel, Now, Query, ReplyId};
use crate::counters::Counters;
use crate::debts::{Debts, is_in_line};
use crate::dispatch::Providers;
use crate::effect::{Balance, Cancelled, Effects, OnTheWay, Reply};
use crate::fitting::References;
use crate::flushes::KnownFlushes;
use crate::hash::BlockHash;
use crate::id::{Number, Permutation};
use crate::idempotency::Idempotency;
use crate::inbound::Phones;
use crate::kept::Kept;
use crate::ledger::{Change as LedgerChange, Wallet};
use crate::message::{Charge, Message, STORED, State};
use crate::operations::Operations;
use crate::outbox::{Loading, News};
use crate::pages::{Pages, block_of};
use crate::parking::Parking;
use crate::present::Present;
use crate::queued::Queued;
use crate::receipt_index::{EarlyReceipts, ReceiptIndex};
use crate::record::{self, Record};
use crate::ring::{Item, Ring};
use crate::routing::RoutingError;
use crate::schedule::Schedule;
use crate::step::Step;
use crate::surgery::Surgery;
use crate::sweep::Sweep;
use crate::telling::Notepad;
use crate::tenants::Tenants;
use crate::wall_clock::WallClock;

/// Early receipts kept at once; beyond, the oldest counts as unmatched.
const EARLY_RECEIPTS_MAX: usize = 100_000;

/// What has to be done at a time; the numbers are the kinds of `Schedule` entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum DueKind {
    /// A scheduled message's time, or a retry's.
    Send = 1,
    /// The end of a message's own validity.
    Expire = 2,
    /// The end of the wait for news of a message in doubt.
    Doubt = 3,
    /// A receipt that the tenant refused for now: before all others.
    Tell = 4,
    /// A receipt that is late: its provider is asked.
    Ask = 5,
    /// The end of the wait for what a tenant's operation was carried to a provider for.
    Carried = 6,
    /// A receipt that was not answered in time: after all others.
    TellLast = 7,
}

/// How far groups have been released.
#[derive(Clone, Copy, Debug)]
pub struct Released {
    /// How many since the start.
    pub groups: u64,
    /// When the last of them was.
    pub at: Mono,
}

impl Released {
    /// Nothing since the start.
    pub const NONE: Released = Released { groups: 0, at: Mono(0) };

    /// All that was taken before, where nothing holds a group up.
    pub fn all(now: Now) -> Released {
        Released { groups: u64::MAX, at: now.mono }
    }
}

/// A group that has been decided: what must reach the disk, and what may happen then.
#[derive(Debug, Default)]
pub struct Group {
    /// Its records; empty when nothing changed, and then nothing is written.
    pub records: Vec<u8>,
    pub effects: Effects,
    /// Nothing that lives is in groups before this one, once this group is on disk.
    pub release_before: u64,
    /// Messages in memory, which the journal has to keep.
    pub living: u64,
}

pub struct Engine {
    pub(crate) now: Now,
    pub(crate) wall_clock: WallClock,
    pub(crate) settings: Settings,
    pub(crate) ids: Permutation,
    pub(crate) epoch: u16,
    /// The next sequence to be given.
    pub(crate) next: u64,
    pub(crate) tenants: Tenants,
    pub(crate) providers: Providers,
    pub(crate) pages: Pages,
    pub(crate) index: ReceiptIndex,
    pub(crate) early: EarlyReceipts,
    pub(crate) phones: Phones,
    /// What waits for the operator to look at it.
    pub(crate) kept: Kept,
    pub(crate) idempotency: Idempotency,
    /// Dues on the wall clock, in milliseconds.
    pub(crate) wall_dues: Schedule,
    /// Dues on the monotonic clock, in microseconds.
    pub(crate) mono_dues: Schedule,
    /// For each message in doubt how long its provider had been up in all when that began (`Provider::up`).
    pub(crate) doubts: HashMap<u64, Duration, BlockHash>,
    /// The records of the group being decided.
    pub(crate) group: Vec<u8>,
    /// The number that group will have.
    pub(crate) group_number: u64,
    /// Since the start.
    pub(crate) groups_taken: u64,
    /// Parts are about to leave whose providers' rates wait for it.
    pub(crate) has_leaving: bool,
    pub(crate) effects: Effects,
    pub(crate) ring: Ring,
    pub(crate) loading: Loading,
    pub(crate) sweep: Sweep,
    pub(crate) debts: Debts,
    pub(crate) parking: Parking,
    pub(crate) apart: Apart,
    pub(crate) surgery: Surgery,
    pub(crate) operations: Operations,
    pub(crate) present: Present,
    pub(crate) counters: Counters,
    pub(crate) disk: DiskLevel,
    pub(crate) draining: Option<Vec<ReplyId>>,
    /// Messages that wait to be sent: queued, scheduled or held.
    pub(crate) waiting: u64,
    /// Of these, the queued ones.
    pub(crate) queued: Queued,
    /// The group of the newest epoch record that the ring knows of.
    pub(crate) epoch_group: u64,
    pub(crate) flushes: KnownFlushes,
    /// The reference numbers of long messages.
    pub(crate) references: References,
    /// Room for the canonical octets of one provider's id.
    pub(crate) key: Vec<u8>,
    pub(crate) notepad: Notepad,
}

impl Engine {
    /// An empty engine; `id_key` keys the permutation between numbers and ids and must never change for a store.
    pub fn new(id_key: &[u8; 32], now: Now) -> Engine {
        let settings = Settings::default();
        Engine {
            now,
            wall_clock: WallClock::new(now),
            ids: Permutation::new(id_key),
            epoch: 0,
            next: 1,
            tenants: Tenants::default(),
            providers: Providers::default(),
            pages: Pages::default(),
            index: ReceiptIndex::default(),
            early: EarlyReceipts::new(EARLY_RECEIPTS_MAX, settings.early_receipt),
            phones: Phones::default(),
            kept: Kept::default(),
            idempotency: Idempotency::default(),
            wall_dues: Schedule::default(),
            mono_dues: Schedule::default(),
            doubts: HashMap::default(),
            group: Vec::new(),
            group_number: 0,
            groups_taken: 0,
            has_leaving: false,
            effects: Effects::default(),
            ring: Ring::default(),
            loading: Loading::default(),
            sweep: Sweep::default(),
            debts: Debts::default(),
            parking: Parking::default(),
            apart: Apart::default(),
            surgery: Surgery::default(),
            operations: Operations::default(),
            present: Present::default(),
            counters: Counters::default(),
            disk: DiskLevel::Fine,
            draining: None,
            waiting: 0,
            queued: Queued::default(),
            epoch_group: 0,
            flushes: KnownFlushes::default(),
            references: References::default(),
            key: Vec::new(),
            notepad: Notepad::default(),
            settings,
        }
    }

    /// Starts a turn: the time that holds for it, the number that its group will have if it changes anything, and which groups have
    /// been released.
    pub fn begin(&mut self, now: Now, group_number: u64, released: Released) {
        let mono = now.mono.max(self.now.mono);
        self.now = Now { wall: self.wall_clock.follow(Now { mono, ..now }), mono };
        self.group_number = group_number;
        self.parts_left(released);
    }

    /// Decides one command and applies it.
    pub fn handle(&mut self, command: Command) {
        match command {
            Command::Submit(submissions) => self.submit(submissions),
            Command::BindUp { provider, bind, connection, window } => {
                self.bind_up(provider, bind, connection, window);
            }
            Command::BindRests { provider, bind } => self.bind_rests(provider, bind),
            Command::BindDown { provider, bind, unsent, in_flight } => {
                self.bind_down(provider, bind, &unsent, &in_flight);
            }
            Command::Responses(responses) => self.responses(&responses),
            Command::Congested { provider, state } => self.congested(provider, state),
            Command::Unanswered { provider, bind, tokens } => {
                self.unanswered(provider, bind, &tokens);
            }
            Command::Receipts(receipts) => self.receipts(&receipts),
            Command::Inbound(inbound) => self.inbound(&inbound),
            Command::AskAnswers { provider, bind, items } => self.ask_answers(provider, bind, &items),
            Command::TenantBound { tenant, connection, receives, tlvs, window } => {
                self.tenant_bound(tenant, connection, receives, tlvs, window);
            }
            Command::TenantUnbound { tenant, connection, untold } => {
                self.tenant_unbound(tenant, connection, &untold);
            }
            Command::Acknowledged { tenant, connection, items } => {
                self.acknowledged(tenant, connection, &items);
            }
            Command::Operation(operation) => self.operation(*operation),
            Command::Configure { definitions, reply } => {
                let configured = self.configure(*definitions);
                self.let_go_held();
                self.route_unrouted();
                if let Some(reply) = reply {
                    self.effects.replies.push((reply, Reply::Configured(configured)));
                }
            }
            Command::Query { reply, query } => self.query(reply, &query),
            Command::Cancel { reply, tenant, number } => self.cancel(reply, tenant, number),
            Command::Archived { blocks, flushes } => {
                self.archived(&blocks);
                self.note_flushes(flushes);
            }
            Command::Parked { blocks, flushes } => {
                self.parked(&blocks);
                self.note_flushes(flushes);
            }
            Command::Owners { numbers } => self.owners(&numbers),
            Command::Loaded { blocks } => {
                blocks.into_iter().for_each(|block| self.loaded(block.load, block.messages));
            }
            Command::Drain { reply } => self.draining.get_or_insert_default().push(reply),
            Command::Disk(level) => self.disk = level,
            Command::Operate { reply, order } => self.operate(reply, *order),
        }
    }

    /// Does what follows from the commands and from the time: dues, dispatch, receipts to tenants, archive, the ring.
    /// `ring_over` is how many octets the ring is over its size.
    pub fn run(&mut self, ring_over: u64) {
        self.dues();
        self.expire_early_receipts();
        self.end_parts();
        self.ask_for_owners();
        self.queue_all_returned();
        self.sweep_pages();
        self.forget_debts();
        self.look_at_parked();
        self.surgery();
        self.dispatch();
        // After it, so that what can be sent at once is not parked before.
        self.park_overflow();
        self.tell();
        self.archive_done();
        self.carry_over(ring_over);
        self.drained();
    }

    /// The group decided since the last one was taken.
    pub fn take_group(&mut self) -> Group {
        self.record_wallets();
        let release_before = self.ring.release_before(self.group_number);
        self.ring.group_taken();
        // A little more than this one took: one that is a little larger need not be copied to where there is room.
        let room = Vec::with_capacity(self.group.len() + self.group.len() / 4);
        let records = std::mem::replace(&mut self.group, room);
        let next = self.effects.next();
        let mut effects = std::mem::replace(&mut self.effects, next);
        effects.order = self.groups_taken;
        self.groups_taken += 1;
        Group { records, effects, release_before, living: self.pages.len() }
    }

    /// Octets of the group being decided.
    pub fn group_octets(&self) -> usize {
        self.group.len()
    }

    /// Whether there is something to be committed or released.
    pub fn has_group(&self) -> bool {
        !self.group.is_empty() || !self.effects.is_empty()
    }

    /// Whether somebody waits for what was decided since the last group was taken: for an answer, or a provider for work.
    pub fn is_urgent(&self) -> bool {
        self.effects.is_urgent || !self.effects.replies.is_empty()
    }

    /// How long until `run` has something to do without a command, in microseconds; `None`: nothing is due.
    pub fn next_due_micros(&self) -> Option<u64> {
        let parts = self.next_parts_end().map(millis);
        let wall = self.wall_dues.next_due().into_iter().chain(self.parking.next_wake()).chain(parts).min();
        let wall = wall
            .map(|due| due.saturating_sub(u64::try_from(self.now.wall.0).unwrap_or(0)).saturating_mul(1_000));
        let mono = self.mono_dues.next_due().into_iter().chain(self.providers.next_due(self.now.mono));
        let mono = mono.min().map(|due| due.saturating_sub(self.now.mono.0));
        let is_idle = self.pages.is_empty() && self.early.is_empty() && self.parking.waiting() == 0;
        let surgery = self.surgery.next_micros(self.now.wall);
        [wall, mono, self.sweep.next_micros(is_idle), self.debts.next_micros(), surgery]
            .into_iter()
            .flatten()
            .min()
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The one way a message changes: the step joins its story and the group, and money, counts, pages, windows and queues follow.
    /// `None` when the message is not in memory.
    pub(crate) fn step(&mut self, number: u64, step: &Step<'_>) -> Option<State> {
        let (counts, message) = self.pages.with_page(number)?;
        let was_copy = message.image_group == STORED;
        // It was read back, and is changed now: the journal gets the step, and its image only where a start would have to read too
        // much from the store.
        let is_apart = was_copy && self.parking.keep_apart(number);
        if was_copy {
            message.image_group = self.group_number;
            self.ring.add(self.group_number, Item::Message(number));
            self.parking.taken_back(message);
            if !is_apart {
                record::write(&mut self.group, &Record::Amendment(message.bytes()));
            }
        }
        let was_done = message.is_done();
        let was_in_line = is_in_line(message);
        let before = (message.provider, message.bind, message.sending_parts());
        let (state_before, priority) = (message.state, message.priority);
        let start = message.bytes().len();
        let change = message.take(step, self.now.wall);
        self.counters.expired_in_doubt += u64::from(matches!(step, Step::Expired) && message.was_in_doubt());
        let (before_it, encoded) = message.bytes().split_at(start);
        match is_apart {
            true => record::write_apart(&mut self.group, number, before_it.len() as u32, encoded),
            false => record::write_step(&mut self.group, number, step, encoded),
        }
        let page_done = counts.note(was_done, message.is_done());
        let after = (message.provider, message.bind, message.sending_parts());
        let (state, tenant, price) = (message.state, message.tenant, message.price);
        let tells_on_its_way = change.from.is_some() && message.tells_on_its_way();
        if page_done {
            self.sweep.done(block_of(number));
        }
        let waits = (tenant, message.priority, number);
        if before != after {
            self.providers.in_flight_changed(before, after);
        }
        // A message that ends or goes elsewhere before its turn must not be counted in its queue until then.
        let has_left = change.from == Some(State::Queued) && state != State::Sending;
        if has_left || before.0 != after.0 {
            self.providers.dequeue(before.0, waits);
        }
        self.queued.moved(priority, (before.0, state_before), (after.0, state));
        self.move_money(tenant, price, change.charge);
        if change.tell {
            match was_in_line {
                true => self.tenants.mark(tenant),
                false => self.tenants.owe(tenant, number, self.now.wall),
            }
        }
        if let Some(from) = change.from {
            self.count_outcome(after.0, state);
            self.count_waiting(tenant, is_waiting(from), is_waiting(state));
            self.entered(number, from, state);
            if tells_on_its_way
                && matches!((from, state), (State::Scheduled, State::Queued) | (_, State::Sent))
            {
                self.owe_notice(tenant, number);
            }
        } else if was_copy && state == State::Sent {
            self.ask_later(number);
        }
        Some(state)
    }

    /// A message of the tenant has begun or ended to wait.
    pub(crate) fn count_waiting(&mut self, tenant: u32, before: bool, now: bool) {
        let moved = |count: u64| count + u64::from(now) - u64::from(before);
        self.waiting = moved(self.waiting);
        if let Some(entry) = self.tenants.get_mut(tenant) {
            entry.waiting = moved(entry.waiting);
        }
    }

    /// A message has come from one state into another, and waits where its new state waits.
    fn entered(&mut self, number: u64, from: State, state: State) {
        if state == State::Queued && self.give_up_rest(number) {
            return;
        }
        let Some(message) = self.pages.get(number) else { return };
        let retry_at = match from {
            // The refusal may be of a clock that was ahead.
            State::Held => message.paused_anew(self.now.wall),
            _ => message.retry_at().filter(|at| *at > self.now.wall),
        };
        match (from, state, retry_at) {
            (_, State::Queued, Some(at)) => self.wall_dues.insert(millis(at), DueKind::Send as u8, number),
            (State::Scheduled | State::Held, State::Queued, None) => {
                self.providers.enqueue(message);
                self.surgery.arrived(number);
                self.has_come(block_of(number));
            }
            (_, State::Queued, None) => {
                self.providers.put_back(message);
                self.surgery.arrived(number);
            }
            (_, State::InDoubt, _) => self.wait_for_news(message.provider, number),
            (_, State::Sent, _) => self.ask_later(number),
            _ => {}
        }
    }

    /// Money follows a message's charge. What cannot be, by the ledger's own sums, stops the process.
    fn move_money(&mut self, tenant: u32, price: crate::money::Micros, charge: Option<Charge>) {
        let Some(charge) = charge else { return };
        let settle = |wallet: &mut Wallet| match charge {
            Charge::Settled(charged) => (wallet.settle(price, charged), true),
            Charge::Released => (wallet.release(price), true),
            Charge::Reserved => (LedgerChange::Done, false),
        };
        let Some(outcome) = self.tenants.change_wallet(tenant, settle) else { return };
        assert!(
            outcome == LedgerChange::Done,
            "the ledger of tenant {tenant} cannot take {charge:?} of {price:?}: {outcome:?}"
        );
        self.follow_credit_limit(tenant);
    }

    /// A limit that is more than agreed follows down what is owed.
    pub(crate) fn follow_credit_limit(&mut self, tenant: u32) {
        let Some(entry) = self.tenants.get(tenant) else { return };
        if let Some(agreed) = entry.definition.as_ref().map(|definition| definition.credit_limit)
            && entry.wallet.credit_limit() > agreed
        {
            self.fit_credit_limit(tenant, agreed);
        }
    }

    fn count_outcome(&mut self, provider: u16, state: State) {
        if let Some(counters) = self.counters.providers.get_mut(usize::from(provider)) {
            counters.outcomes[state as usize] += 1;
        }
    }

    fn query(&mut self, reply: ReplyId, query: &Query) {
        let answer = match *query {
            Query::Message { number } if !self.was_given(number) => Reply::NeverGiven,
            Query::Message { number } => {
                Reply::Message(self.pages.get(number).map(|message| message.bytes().to_vec()))
            }
            Query::Living { tenant, at, most, inbound } => {
                Reply::Living(self.living_of(tenant, at, most, inbound))
            }
            Query::Kept { drawer, ref provider, ref phone, from, most } => {
                let phone = phone.as_deref().unwrap_or_default();
                Reply::Kept(self.kept_page(drawer, provider.as_deref(), phone, from, most))
            }
            Query::Balance { tenant } => Reply::Balance(self.balance(tenant)),
            Query::Estimate { tenant, ref body } => Reply::Estimated(self.estimate(tenant, body)),
            Query::Wallets => Reply::Wallets(self.tenants.wallets()),
            Query::OnTheWay => Reply::OnTheWay(self.on_the_way()),
        };
        self.effects.replies.push((reply, answer));
    }

    /// Whether a message has this number. Its tenant's slot is not looked at: the asker compares the tenant.
    pub(crate) fn was_given(&self, number: u64) -> bool {
        let number = Number(number);
        (number.epoch(), number.sequence()) < (self.epoch, self.next)
    }

    fn balance(&self, tenant: u32) -> Option<Balance> {
        let entry = self.tenants.get(tenant)?;
        let definition = entry.definition.as_ref();
        Some(Balance {
            wallet: entry.wallet,
            currency: entry.currency.clone(),
            price: definition.and_then(|definition| definition.price),
        })
    }

    /// Possible until the intent is in a group; a message in doubt may be on its way.
    pub(crate) fn cancel(&mut self, reply: ReplyId, tenant: u32, number: u64) {
        if self.is_parked_away(number) {
            self.load(block_of(number), News::Cancel { reply, tenant, number });
            return;
        }
        let answer = self.cancel_living(tenant, number);
        self.effects.replies.push((reply, Reply::Cancelled(answer)));
    }

    /// The same for one that is in memory, if it is anywhere.
    pub(crate) fn cancel_living(&mut self, tenant: u32, number: u64) -> Cancelled {
        let message = self.pages.get(number).filter(|message| message.tenant == tenant);
        match message {
            None => Cancelled::NotLiving,
            Some(message) if message.is_still_ours() => {
                self.step(number, &Step::Cancelled);
                Cancelled::Done
            }
            Some(_) => Cancelled::TooLate,
        }
    }

    /// When draining, the askers are told once nothing is in flight and no receipt is on its way to a tenant.
    fn drained(&mut self) {
        let idle = self.on_the_way() == OnTheWay { parts: 0, told: 0 };
        if idle && let Some(askers) = &mut self.draining {
            for asker in askers.drain(..) {
                self.effects.replies.push((asker, Reply::Drained));
            }
        }
    }

    fn on_the_way(&self) -> OnTheWay {
        OnTheWay { parts: self.providers.in_flight(), told: self.tenants.telling() }
    }

    /// Takes over new definitions; names seen for the first time are given their numbers, for ever. Where routes or prices mean
    /// nothing, nothing changes.
    pub(crate) fn configure(&mut self, definitions: Definitions) -> Result<(), RoutingError> {
        let routing = self.tenants.compile(&definitions, &self.providers)?;
        self.settings = definitions.settings.clone();
        self.early.set_age_max(self.settings.early_receipt);
        self.configure_providers(&definitions);
        self.configure_tenants(&definitions);
        self.tenants.route_by(routing, &definitions);
        self.configure_inbound(&definitions);
        Ok(())
    }

    pub fn message(&self, number: u64) -> Option<&Message> {
        self.pages.get(number)
    }

    pub fn wall(&self) -> Wall {
        self.now.wall
    }
}

pub(crate) fn is_waiting(state: State) -> bool {
    matches!(state, State::Queued | State::Scheduled | State::Held)
}
