//! What time does to messages: dues, the end of validities and waits, and their way from memory to the archive.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use codecs::instant::{Mono, Wall};
use codecs::message_id::Side;

use crate::accept::millis;
use crate::effect::{ArchiveWrite, Load, Shelf};
use crate::engine::{DueKind, Engine};
use crate::message::{Message, State};
use crate::pages::{BLOCK_MESSAGES, order_of, place_of};
use crate::record::{self, Record};
use crate::schedule::Due;
use crate::step::{Step, Verdict};

/// Dues taken in one turn.
const DUES_MAX: usize = 20_000;
/// Pages looked at in one turn of the commit loop.
const SWEEP_PAGES: usize = 256;
/// How often every page is looked at, in microseconds.
const SWEEP_EVERY_MICROS: u64 = 5_000_000;
/// How often `run` is wanted while messages live, in microseconds.
const WAKE_EVERY_MICROS: u64 = 1_000_000;
/// How long a page that is not done stays in memory that holds much.
const STAY_WHEN_FULL: Duration = Duration::from_secs(5);
/// Blocks on their way to the archive at once; the others wait as they are.
const ARCHIVING_MAX: usize = 1_024;
/// Ids kept for late news at once; beyond, the oldest is forgotten.
const RETIRED_MAX: usize = 1_000_000;
/// Idempotency keys of one tenant that may be forgotten in one round.
const KEYS_FORGOTTEN: usize = 10_000;
/// How long what belongs to a tenant or provider that is no longer defined waits.
const WAIT: Duration = Duration::from_secs(72 * 3_600);
/// How long an id of a message that did not succeed is kept for late news.
const LATE_NEWS: Duration = Duration::from_secs(3_600);

#[derive(Default)]
pub(crate) struct Sweep {
    /// Pages that are wholly done.
    done: VecDeque<u64>,
    /// Pages still to be looked at in this round.
    round: VecDeque<u64>,
    round_began: Mono,
    /// When the oldest message seen waiting in this round was accepted, and in the last whole round.
    oldest: Option<Wall>,
    oldest_before: Option<Wall>,
    /// Blocks on their way to the archive: which of their messages, and those of them that are untold, with their tenants.
    archiving: BTreeMap<u64, (u64, Vec<(u64, u32)>)>,
    /// Messages in the archive, or on their way there, that their tenant has not been told of.
    untold: BTreeMap<u64, Debt>,
    /// Ids kept for late news of messages that have left memory.
    retired: VecDeque<(Mono, u64, u16, Box<[u8]>)>,
}

/// What a tenant is still to be told.
struct Debt {
    tenant: u32,
    /// The group of its newest record.
    group: u64,
    /// When the message became final.
    since: Wall,
}

impl Sweep {
    pub fn done(&mut self, block: u64) {
        self.done.push_back(block);
    }

    pub fn is_archiving(&self, block: u64) -> bool {
        self.archiving.contains_key(&block)
    }

    pub fn owes(&self, number: u64) -> bool {
        self.untold.contains_key(&number)
    }

    /// Whether it is owed, and this group has the newest record of it.
    pub fn owes_since(&self, number: u64, group: u64) -> bool {
        self.untold.get(&number).is_some_and(|debt| debt.group == group)
    }

    /// `since` is when it became final, as far as that is known.
    pub fn owe(&mut self, number: u64, tenant: u32, group: u64, since: Wall) {
        let debt = self.untold.entry(number).or_insert(Debt { tenant, group, since });
        debt.group = group;
    }

    /// Nothing is owed for it any more, or it lives again and says so itself.
    pub fn forget(&mut self, number: u64) {
        self.untold.remove(&number);
    }

    pub fn owed(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.untold.iter().map(|(number, debt)| (*number, debt.tenant))
    }

    pub fn next_micros(&self, empty: bool) -> Option<u64> {
        (!empty || !self.retired.is_empty()).then_some(WAKE_EVERY_MICROS)
    }
}

impl Engine {
    /// Everything whose time has come.
    pub(crate) fn dues(&mut self) {
        let mut due = Vec::new();
        let wall = millis(self.now.wall);
        self.wall_dues.take_due(wall, DUES_MAX, &mut due);
        self.mono_dues.take_due(self.now.mono.0, DUES_MAX, &mut due);
        for Due { kind, number, .. } in due {
            match kind {
                kind if kind == DueKind::Send as u8 => self.send_now(number),
                kind if kind == DueKind::Expire as u8 => self.expire(number),
                kind if kind == DueKind::Doubt as u8 => self.decide_doubt(number),
                kind if kind == DueKind::Ask as u8 => self.ask(number),
                _ => self.tell_again(number),
            }
        }
    }

    fn send_now(&mut self, number: u64) {
        let Some(message) = self.pages.get(number) else { return };
        match message.state {
            State::Scheduled => {
                self.step(number, &Step::Due);
            }
            // Only a retry waits for its time outside of the queue.
            State::Queued if message.retry_at().is_some() => self.providers.queue_back(message),
            _ => {}
        }
    }

    fn expire(&mut self, number: u64) {
        if self.pages.get(number).is_some_and(|message| crate::engine::is_waiting(message.state)) {
            self.step(number, &Step::Expired);
        }
    }

    /// Looks at some pages: waits that have ended, and what may go to the archive by its age.
    pub(crate) fn sweep_pages(&mut self) {
        let now = self.now.mono;
        while self.sweep.retired.front().is_some_and(|(until, ..)| *until <= now) {
            self.forget_retired();
        }
        if self.sweep.round.is_empty() {
            if now.0 < self.sweep.round_began.0.saturating_add(SWEEP_EVERY_MICROS) {
                return;
            }
            self.sweep.round_began = now;
            self.sweep.oldest_before = self.sweep.oldest.take();
            self.sweep.round = self.pages.blocks().into();
            self.idempotency.expire(self.now.wall, KEYS_FORGOTTEN);
            self.forget_debts();
            self.look_at_queued_for_the_down();
        }
        for _ in 0..SWEEP_PAGES {
            let Some(block) = self.sweep.round.pop_front() else { return };
            self.sweep_page(block);
        }
    }

    /// Drops what tenants have not fetched in time.
    fn forget_debts(&mut self) {
        let now = self.now.wall;
        let before = self.sweep.untold.len();
        let tenants = &self.tenants;
        self.sweep.untold.retain(|_, debt| {
            let definition = tenants.get(debt.tenant).and_then(|tenant| tenant.definition.as_ref());
            let ttl = definition.map_or(WAIT, |definition| definition.receipt_ttl);
            now.millis_since(debt.since) < ttl.as_millis() as i64
        });
        self.counters.dropped += (before - self.sweep.untold.len()) as u64;
    }

    pub(crate) fn sweep_page(&mut self, block: u64) {
        let Some(page) = self.pages.page(block) else { return };
        let since = page.since;
        let queued = page.messages().find(|message| message.state == State::Queued);
        let accepted = queued.map(|message| message.accepted_at);
        self.sweep.oldest = [self.sweep.oldest, accepted].into_iter().flatten().min();
        // Before the next look, kept to the millisecond; twice as long, for a round may take a while.
        let next_look = self.now.wall.after(Duration::from_micros(2 * SWEEP_EVERY_MICROS));
        let soon = page
            .messages()
            .filter(|message| message.state == State::Scheduled && message.starts_at <= next_look);
        for message in soon {
            self.wall_dues.insert(millis(message.starts_at), DueKind::Send as u8, message.number);
        }
        let overdue: Vec<(u64, Step<'static>)> =
            page.messages().filter_map(|message| Some((message.number, self.overdue(message)?))).collect();
        for (number, step) in overdue {
            if step == Step::Dropped {
                self.counters.dropped += 1;
            }
            self.step(number, &step);
            if matches!(step, Step::Rerouted { .. })
                && let Some(message) = self.pages.get(number)
            {
                // What is left of it in the other queue is passed over there.
                self.providers.queue_back(message);
            }
        }
        let age = self.now.wall.0.saturating_sub(since);
        let may_go = !self.is_leaving(block) && self.sweep.archiving.len() < ARCHIVING_MAX;
        if may_go && age >= self.stay().as_millis() as i64 {
            // Not telling: a receipt on its way will be acknowledged in a moment.
            self.archive(block, |message| message.is_final() && message.telling.is_none());
            self.park_page(block);
        }
    }

    /// What of an old page waits for long leaves memory too.
    fn park_page(&mut self, block: u64) {
        // What goes to the archive must have arrived there first: a block has one way at a time.
        let Some(page) = self.pages.page(block).filter(|_| self.may_park_more() && !self.is_leaving(block))
        else {
            return;
        };
        let waiting: Vec<u64> =
            page.messages().filter(|m| self.waits_long(m)).map(|message| message.number).collect();
        if !waiting.is_empty() {
            self.park(block, |message| {
                waiting.binary_search_by_key(&order_of(message.number), |n| order_of(*n)).is_ok()
            });
        }
    }

    /// How long a page may stay in memory that is not done: less when memory holds much.
    fn stay(&self) -> Duration {
        let is_much = self.pages.len() > self.settings.queue_memory / 4;
        if is_much { self.settings.archive_after.min(STAY_WHEN_FULL) } else { self.settings.archive_after }
    }

    /// How long the oldest message has been queued, by the last whole round of looks.
    pub(crate) fn oldest_waiting(&self) -> Duration {
        let oldest = self.sweep.oldest_before.filter(|_| self.waiting > 0);
        let waited = oldest.map_or(0, |oldest| self.now.wall.millis_since(oldest));
        Duration::from_millis(u64::try_from(waited).unwrap_or(0))
    }

    /// What the time has decided for a message that waits for something.
    fn overdue(&self, message: &Message) -> Option<Step<'static>> {
        let now = self.now.wall;
        let waited = |since: codecs::instant::Wall| now.millis_since(since).max(0) as u64;
        let ended = |since, wait: Duration| waited(since) >= wait.as_millis() as u64;
        match message.state {
            State::Queued | State::Held if self.is_over(message) => Some(Step::Expired),
            State::Held if self.is_let_go(message) => Some(Step::LetGo),
            State::Scheduled if message.starts_at <= now => Some(Step::Due),
            State::Queued => self.failover(message).map(|provider| Step::Rerouted { provider }),
            // A provider that never comes back leaves no other end.
            State::InDoubt if self.is_over(message) => {
                ended(message.sent_at, self.receipt_wait(message)).then_some(Step::Expired)
            }
            State::Sent if message.wants_receipts() => {
                ended(message.sent_at, self.receipt_wait(message)).then_some(Step::Unknown)
            }
            _ if message.is_to_be_told() && message.telling.is_none() => {
                let definition =
                    self.tenants.get(message.tenant).and_then(|tenant| tenant.definition.as_ref());
                let ttl = definition.map_or(WAIT, |definition| definition.receipt_ttl);
                ended(message.final_at, ttl).then_some(Step::Dropped)
            }
            _ => None,
        }
    }

    pub(crate) fn receipt_wait(&self, message: &Message) -> Duration {
        let definition =
            self.providers.get(message.provider).and_then(|provider| provider.definition.as_ref());
        definition.map_or(WAIT, |definition| definition.receipt_wait)
    }

    /// Sends the pages that are wholly done to the archive.
    pub(crate) fn archive_done(&mut self) {
        while self.sweep.archiving.len() < ARCHIVING_MAX {
            let Some(block) = self.sweep.done.pop_front() else { return };
            let ready = self.pages.page(block).is_some_and(|page| page.is_done());
            if ready && !self.is_leaving(block) {
                self.archive(block, Message::is_done);
            }
        }
    }

    /// Takes messages out of memory for the archive. They count as gone once it holds them durably.
    fn archive(&mut self, block: u64, leaves: impl Fn(&Message) -> bool) {
        let split = self.pages.page(block).is_some_and(|page| page.split);
        let taken = self.pages.take(block, leaves);
        if taken.is_empty() {
            return;
        }
        let whole = !split && taken.len() as u64 == BLOCK_MESSAGES;
        let (mut mask, mut untold) = (0, Vec::new());
        let mut messages = Vec::with_capacity(taken.len());
        for message in taken {
            mask |= 1 << place_of(message.number);
            if message.is_to_be_told() {
                untold.push((message.number, message.tenant));
                self.sweep.owe(message.number, message.tenant, 0, message.final_at);
            }
            self.retire_ids(&message);
            messages.push(message.into_bytes());
        }
        self.sweep.archiving.insert(block, (mask, untold));
        let unpark = self.parking.rows(block, mask);
        self.effects.archive.push(ArchiveWrite { block, whole, messages, unpark });
    }

    /// Forgets the provider's ids of a message that no news can change; those of another are kept a while for late news.
    fn retire_ids(&mut self, message: &Message) {
        let until = self.now.mono.after(LATE_NEWS);
        let is_over = matches!(message.state, State::Delivered | State::Read | State::Sent);
        let (provider, number) = (message.provider, message.number);
        for (_, step) in message.steps() {
            let Step::Response { verdict: Verdict::Accepted, id, .. } = step else { continue };
            self.with_key(provider, Side::Response, id, |engine, key| {
                if is_over {
                    engine.index.remove(provider, key, number);
                } else {
                    engine.sweep.retired.push_back((until, number, provider, key.into()));
                }
            });
        }
        if self.sweep.retired.len() > RETIRED_MAX {
            self.forget_retired();
        }
    }

    fn forget_retired(&mut self) {
        if let Some((_, number, provider, key)) = self.sweep.retired.pop_front() {
            self.index.remove(provider, &key, number);
        }
    }

    /// The archive holds these blocks durably: from now on a replay need not bring their messages back.
    pub(crate) fn archived(&mut self, blocks: &[u64]) {
        for block in blocks {
            let Some((mask, untold)) = self.sweep.archiving.remove(block) else { continue };
            record::write(&mut self.group, &Record::Parked { block: *block, mask });
            self.parking.rows_gone(*block, mask);
            for (number, tenant) in untold {
                if self.sweep.owes(number) {
                    self.record_untold(tenant, number);
                }
            }
            self.load_if_wanted(Load { block: *block, shelf: Shelf::Archive });
            if self.pages.page(*block).is_some_and(|page| page.is_done()) {
                self.sweep.done(*block);
            }
        }
    }
}
