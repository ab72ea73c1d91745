//! What time does to messages: dues, the end of validities and waits, and their way from memory to the archive.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use codecs::instant::Mono;
use codecs::message_id::Side;

use crate::accept::millis;
use crate::effect::{ArchiveWrite, Load, OwnedId, Shelf};
use crate::engine::{DueKind, Engine};
use crate::message::{Message, State};
use crate::pages::{BLOCK_MESSAGES, order_of, place_of};
use crate::receipt_index;
use crate::record::{self, Record};
use crate::schedule::Due;
use crate::step::{Step, Verdict};

/// Dues taken in one turn.
const DUES_MAX: usize = 20_000;
/// Pages looked at in one turn of the commit loop.
const SWEEP_PAGES: usize = 256;
/// How often every page is looked at, in microseconds.
const SWEEP_EVERY_MICROS: u64 = 5_000_000;
/// How soon `run` is wanted in the middle of a round, in microseconds: nothing else may bring it on.
pub(crate) const GO_ON_MICROS: u64 = 2_000;
/// How often `run` is wanted while messages live, in microseconds.
const WAKE_EVERY_MICROS: u64 = 1_000_000;
/// How long a page that is not done stays in memory that holds much.
const STAY_WHEN_FULL: Duration = Duration::from_secs(5);
/// Blocks on their way to the archive at once; the others wait as they are.
const ARCHIVING_MAX: usize = 1_024;
/// Idempotency keys of one tenant that may be forgotten in one round.
const KEYS_FORGOTTEN: usize = 10_000;
/// How long what belongs to a tenant or provider that is no longer defined waits.
pub(crate) const WAIT: Duration = Duration::from_secs(72 * 3_600);

#[derive(Default)]
pub(crate) struct Sweep {
    /// Pages that are wholly done.
    done: VecDeque<u64>,
    /// Pages still to be looked at in this round.
    round: VecDeque<u64>,
    round_began: Mono,
    /// Of this round, pages that were to leave memory while too much was on its way.
    again: VecDeque<u64>,
    /// Blocks on their way to the archive.
    archiving: BTreeMap<u64, Archiving>,
    /// Ids of messages of a block that leaves memory, as the receipt index has them, and their numbers: to be forgotten together.
    forgotten: Vec<(u64, u64)>,
}

/// Messages of one block on their way to the archive.
struct Archiving {
    /// Their places.
    mask: u64,
    /// What is kept there of their ids, and in the receipt index until then.
    ids: Vec<OwnedId>,
}

impl Sweep {
    pub fn done(&mut self, block: u64) {
        self.done.push_back(block);
    }

    pub fn is_archiving(&self, block: u64) -> bool {
        self.archiving.contains_key(&block)
    }

    /// Which places of a block are on their way to the archive.
    pub fn leaving(&self, block: u64) -> u64 {
        self.archiving.get(&block).map_or(0, |archiving| archiving.mask)
    }

    /// The first block that is on its way to the archive.
    pub fn first_block(&self) -> Option<u64> {
        self.archiving.first_key_value().map(|(block, _)| *block)
    }

    pub fn next_micros(&self, empty: bool) -> Option<u64> {
        if !self.round.is_empty() {
            return Some(GO_ON_MICROS);
        }
        (!empty).then_some(WAKE_EVERY_MICROS)
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
                kind if kind == DueKind::Carried as u8 => self.carried_too_long(number),
                kind if kind == DueKind::Tell as u8 => self.tell_again(number, DueKind::Tell),
                _ => self.tell_again(number, DueKind::TellLast),
            }
        }
    }

    fn send_now(&mut self, number: u64) {
        let Some(message) = self.pages.get(number) else { return };
        match message.state {
            // One that was replaced may have another time.
            State::Scheduled if message.starts_at <= self.now.wall => {
                self.step(number, &Step::Due);
            }
            // Only a retry waits for its time outside of the queue.
            State::Queued => match message.retry_at() {
                // A start gave the wait another end, and the clock has come to the refusal before that: it is as if it was said now.
                Some(at) if message.is_paused(self.now.wall) => {
                    self.wall_dues.insert(millis(at), DueKind::Send as u8, number);
                }
                Some(_) => {
                    self.providers.enqueue(message);
                    self.surgery.arrived(number);
                }
                None => {}
            },
            _ => {}
        }
    }

    fn expire(&mut self, number: u64) {
        // One that was replaced may be valid for longer.
        let is_over = |message: &Message| crate::engine::is_waiting(message.state) && self.is_over(message);
        if self.pages.get(number).is_some_and(is_over) {
            self.step(number, &Step::Expired);
        }
    }

    /// Looks at some pages: waits that have ended, and what may go to the archive by its age.
    pub(crate) fn sweep_pages(&mut self) {
        let now = self.now.mono;
        self.see_wanted();
        // Before what has been woken is parked.
        self.act_on_arrivals();
        self.let_leave_again();
        if self.sweep.round.is_empty() {
            if now.0 < self.sweep.round_began.0.saturating_add(SWEEP_EVERY_MICROS) {
                return;
            }
            self.sweep.round_began = now;
            self.look_for_oldest();
            self.sweep.round = self.pages.blocks().into();
            self.sweep.again.clear();
            self.idempotency.expire(self.now.wall, KEYS_FORGOTTEN);
            self.debts.look();
            self.tidy_kept();
            self.look_at_queued_for_the_down();
        }
        for _ in 0..SWEEP_PAGES {
            let Some(block) = self.sweep.round.pop_front() else { return };
            self.sweep_page(block);
        }
    }

    pub(crate) fn sweep_page(&mut self, block: u64) {
        self.see_queued(block);
        let Some(page) = self.pages.page(block) else { return };
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
                self.providers.enqueue(message);
                self.surgery.arrived(number);
            }
        }
        // Before what has been woken is parked.
        self.act_on_arrivals();
        self.let_leave(block);
    }

    /// What of an old page is final goes to the archive, and what will wait long is parked.
    fn let_leave(&mut self, block: u64) {
        let Some(page) = self.pages.page(block).filter(|_| !self.is_leaving(block)) else { return };
        if self.now.wall.0.saturating_sub(page.since) < self.stay().as_millis() as i64 {
            return;
        }
        if self.sweep.archiving.len() >= ARCHIVING_MAX || !self.may_park_more() {
            self.sweep.again.push_back(block);
            return;
        }
        // Not telling: a receipt on its way will be acknowledged in a moment.
        self.archive(block, |message| message.is_final() && message.telling.is_none());
        self.park_page(block);
    }

    /// Those that had to stay because too much was on its way: they need not wait for the next round.
    fn let_leave_again(&mut self) {
        for _ in 0..SWEEP_PAGES {
            if self.sweep.archiving.len() >= ARCHIVING_MAX || !self.may_park_more() {
                return;
            }
            let Some(block) = self.sweep.again.pop_front() else { return };
            self.let_leave(block);
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

    /// What the time has decided for a message that waits for something.
    fn overdue(&self, message: &Message) -> Option<Step<'static>> {
        let now = self.now.wall;
        let waited = |since: codecs::instant::Wall| now.millis_since(since).max(0) as u64;
        let ended = |since, wait: Duration| waited(since) >= wait.as_millis() as u64;
        match message.state {
            State::Queued | State::Held if self.is_over(message) => Some(Step::Expired),
            State::Held if self.is_let_go(message) => Some(Step::LetGo),
            State::Scheduled if message.starts_at <= now => Some(Step::Due),
            State::Queued => self.failover(message).map(|provider| self.rerouted(provider)),
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
        let operations = &self.operations;
        let taken = self.pages.take(block, |message| leaves(message) && !operations.has(message.number));
        if taken.is_empty() {
            return;
        }
        let whole = taken.len() as u64 == BLOCK_MESSAGES;
        let (mut mask, mut ids) = (0, Vec::new());
        let mut messages = Vec::with_capacity(taken.len());
        for message in taken {
            mask |= 1 << place_of(message.number);
            if message.is_to_be_told() {
                self.debts.owe(message.number, message.tenant, message.final_at);
            }
            self.retire_ids(&message, &mut ids);
            messages.push(message.into_bytes());
        }
        self.forget_ids();
        self.sweep.archiving.insert(block, Archiving { mask, ids: ids.clone() });
        let (unpark, unparks_all) = self.parking.rows(block, mask);
        let at = self.now.wall;
        self.effects.archive.push(ArchiveWrite { block, whole, messages, unpark, unparks_all, ids, at });
    }

    /// Forgets the provider's ids of a message that no news can change; those of another are to be found in the archive.
    fn retire_ids(&mut self, message: &Message, kept: &mut Vec<OwnedId>) {
        let is_over = matches!(message.state, State::Delivered | State::Read | State::Sent)
            && !message.asks_the_phone();
        let (provider, number) = (message.provider, message.number);
        let mut retire = |engine: &mut Engine, hash| match is_over {
            true => engine.sweep.forgotten.push((hash, number)),
            false => kept.push(OwnedId { hash, number }),
        };
        if let Some(hash) = message.provider_id_hash.only() {
            retire(self, hash);
            return;
        }
        for (_, step) in message.steps() {
            let Step::Response { verdict: Verdict::Accepted, id, shared, .. } = step else { continue };
            let phone = message.key_phone(shared);
            self.with_key(provider, Side::Response, id, phone, |engine, key| {
                if !key.is_empty() {
                    retire(engine, receipt_index::key(provider, key));
                }
            });
        }
    }

    /// Forgets the ids that were found to be over.
    fn forget_ids(&mut self) {
        self.index.remove_all(&self.sweep.forgotten);
        self.sweep.forgotten.clear();
    }

    /// The archive holds these blocks durably: from now on a replay need not bring their messages back.
    pub(crate) fn archived(&mut self, blocks: &[u64]) {
        for block in blocks {
            let Some(Archiving { mask, ids }) = self.sweep.archiving.remove(block) else { continue };
            for id in ids {
                // Unless it lives again: then it is found in memory.
                if self.pages.get(id.number).is_none() {
                    self.index.remove_hash(id.hash, id.number);
                }
            }
            record::write(&mut self.group, &Record::Parked { block: *block, mask });
            self.parking.rows_gone(*block, mask);
            if self.debts.places(*block) & mask != 0 {
                self.record_debts(*block);
            }
            self.load_if_wanted(Load { block: *block, shelf: Shelf::Archive });
            match self.pages.page(*block).map(|page| page.is_done()) {
                Some(true) => self.sweep.done(*block),
                // What waits long of the same page could not leave before: a block has one way at a time. And not now: what has come
                // back in this turn is in no queue yet.
                Some(false) => self.sweep.again.push_back(*block),
                None => {}
            }
        }
    }
}
