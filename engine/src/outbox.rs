//! Telling tenants what became of their messages, over SMPP: whom, in which order, how much at once; and bringing back from
//! the archive what news has come for. What is untold follows from the messages' states; nothing here is stored.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::{ConnectionId, DELIVERY_WINDOW_MAX, ReplyId, Submissions, TenantOperation};
use crate::debts::is_in_line;
use crate::effect::{Load, Shelf};
use crate::engine::Engine;
use crate::inbound;
use crate::message::{Message, State};
use crate::outcome::Answer;
use crate::pages::{BLOCK_MESSAGES, block_of};
use crate::receipts::{ReceiptIds, ReceiptNews};
use crate::receiver::Receiver;
use crate::record::{self, Record};
use crate::ring::Item;
use crate::step::Step;
use crate::telling::{self, Telling, Tells, Told};

/// Blocks asked back from the archive at once.
const LOADS_MAX: usize = 64;
/// Notifications that wait for one tenant's sessions; beyond, the oldest is not sent: nothing depends on it.
const NOTICES_MAX: usize = 10_000;

/// Why a message, or a block of them, is wanted back.
#[derive(Debug)]
pub(crate) enum News {
    Tell {
        tenant: u32,
        number: u64,
    },
    /// A session has taken what it was told of this state, late.
    Taken {
        tenant: u32,
        number: u64,
        state: State,
        end: Step<'static>,
    },
    Receipt {
        number: u64,
        part: u8,
        news: ReceiptNews,
        /// What it was found by, where its phone number may say that it is for another message.
        ids: Option<ReceiptIds>,
    },
    Response {
        answer: Answer,
        id: Box<[u8]>,
    },
    Cancel {
        reply: ReplyId,
        tenant: u32,
        number: u64,
    },
    /// A tenant's operation. For a query, what the archive has is looked at and does not live again.
    Operation {
        number: u64,
        operation: Box<TenantOperation>,
    },
    /// Another message may take the place of this one.
    Present {
        number: u64,
        submissions: Box<Submissions>,
    },
    /// Receipts are held that its ids match.
    Early {
        number: u64,
    },
    /// The time has come to look at what is parked in it.
    Look {
        block: u64,
    },
    /// Its turn to be sent comes soon.
    Ahead,
}

impl News {
    fn number(&self) -> Option<u64> {
        match *self {
            News::Tell { number, .. }
            | News::Taken { number, .. }
            | News::Receipt { number, .. }
            | News::Early { number }
            | News::Present { number, .. }
            | News::Operation { number, .. }
            | News::Cancel { number, .. } => Some(number),
            News::Response { answer, .. } => Some(answer.token.number()),
            News::Look { .. } | News::Ahead => None,
        }
    }
}

/// Blocks on their way back, and what waits for each.
#[derive(Default)]
pub(crate) struct Loading {
    blocks: BTreeMap<Load, Wanted>,
    /// Tenants that wait until fewer blocks are asked for.
    waiting: Vec<u32>,
}

impl Loading {
    /// Blocks that are asked for.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }
}

#[derive(Debug, Default)]
struct Wanted {
    news: Vec<News>,
    /// How often the block was asked for and has not come. Only the last one is sure to have all that it should.
    asked: u32,
}

impl Engine {
    pub(crate) fn tenant_bound(
        &mut self,
        tenant: u32,
        connection: ConnectionId,
        receives: bool,
        tlvs: bool,
        window: u32,
    ) {
        if !receives {
            return;
        }
        if let Some(entry) = self.tenants.get_mut(tenant) {
            let window = window.clamp(1, DELIVERY_WINDOW_MAX);
            entry.receivers.push(Receiver::new(connection, tlvs, window));
            self.tenants.mark(tenant);
        }
    }

    /// What a session did not acknowledge goes to the head of the line again, in order.
    pub(crate) fn tenant_unbound(&mut self, tenant: u32, connection: ConnectionId, untold: &[u64]) {
        // A notification that was lost is not sent again, nor is what a late answer has ended.
        let untold = untold.iter().map(|token| Told::of_token(*token));
        let untold: Vec<u64> =
            untold.filter(|told| self.is_on_its_way_to(told)).map(|told| told.number).collect();
        for number in &untold {
            self.pages.set_telling(*number, None);
        }
        if let Some(entry) = self.tenants.get_mut(tenant) {
            entry.receivers.retain(|receiver| receiver.connection != connection);
            for number in untold.iter().rev() {
                let since = self.pages.get(*number).map_or(self.now.wall, |message| message.final_at);
                entry.untold.push_front(*number, since);
            }
            self.tenants.mark(tenant);
        }
        self.effects.outgoing(connection).closed = true;
    }

    /// Whether it is that receipt which a session has, as far as is known here.
    fn is_on_its_way_to(&self, told: &Told) -> bool {
        let telling = self.pages.get(told.number).and_then(|message| message.telling);
        telling.is_some() && telling == told.end
    }

    /// Gives every tenant's sessions what their windows allow.
    pub(crate) fn tell(&mut self) {
        for tenant in self.tenants.take_dirty() {
            // What is on its way comes before its end.
            while let Some((place, number)) = self.next_notice(tenant) {
                self.tell_one(tenant, place, number, Tells::OnItsWay);
            }
            while let Some((place, number)) = self.next_to_tell(tenant) {
                self.tell_one(tenant, place, number, Tells::End);
            }
        }
    }

    /// A message that asks for notifications has gone on: its tenant is told, if it comes for it before the end.
    pub(crate) fn owe_notice(&mut self, tenant: u32, number: u64) {
        let Some(entry) = self.tenants.get_mut(tenant) else { return };
        if entry.notices.len() >= NOTICES_MAX {
            entry.notices.pop_front();
        }
        entry.notices.push_back(number);
        self.tenants.mark(tenant);
    }

    /// The next number to notify of and the place of the session that takes it. One that has come to its end, or has left
    /// memory, is not on its way any more.
    fn next_notice(&mut self, tenant: u32) -> Option<(usize, u64)> {
        let now = self.now.mono;
        loop {
            let entry = self.tenants.get_mut(tenant).filter(|entry| !entry.notices.is_empty())?;
            let place = entry.receiver_for(now, |_| true)?;
            let number = entry.notices.pop_front()?;
            let is_final = |state: State| state.receipt_state().is_final();
            if self.pages.get(number).is_some_and(|message| !is_final(message.state)) {
                entry.next_receiver = place + 1;
                return Some((place, number));
            }
        }
    }

    /// The next untold number and the place of the session that takes it: what was set aside for one that knows TLVs comes first.
    fn next_to_tell(&mut self, tenant: u32) -> Option<(usize, u64)> {
        let waits_for_tlvs = self.tenants.get(tenant).is_some_and(|entry| !entry.untold_long.is_empty());
        let next = if waits_for_tlvs { self.next_of_line(tenant, true) } else { None };
        next.or_else(|| self.next_of_line(tenant, false))
    }

    /// The same of one of the two lines. What has left memory is brought back first, so that the order holds.
    fn next_of_line(&mut self, tenant: u32, is_long: bool) -> Option<(usize, u64)> {
        let now = self.now.mono;
        loop {
            let entry = self.tenants.get_mut(tenant)?;
            let mut place = entry.receiver_for(now, |receiver| receiver.tlvs || !is_long)?;
            let number = entry.line(is_long).front()?;
            match self.pages.get(number) {
                Some(message) if is_in_line(message) => {
                    if !entry.receivers[place].tlvs && inbound::needs_tlvs(message) {
                        let Some(other) = entry.receiver_for(now, |receiver| receiver.tlvs) else {
                            self.set_aside(tenant);
                            continue;
                        };
                        place = other;
                    }
                    entry.line(is_long).pop_front();
                    entry.next_receiver = place + 1;
                    return Some((place, number));
                }
                None if self.debts.owes(number) => {
                    if !self.is_fetched(tenant, block_of(number)) {
                        self.fetch(tenant, is_long);
                    }
                    return None;
                }
                // It has been told, or forgotten, or is on its way.
                _ => {
                    entry.line(is_long).pop_front();
                }
            }
        }
    }

    /// What is at the head of a tenant's line waits until a session that knows TLVs has room; those who have waited too long for that go.
    fn set_aside(&mut self, tenant: u32) {
        let Some(entry) = self.tenants.get_mut(tenant) else { return };
        if let Some((number, since)) = entry.untold.pop_front() {
            entry.untold_long.push_back(number, since);
        }
        let is_owed = |number: u64| {
            self.debts.owes(number) || self.pages.get(number).is_some_and(Message::is_to_be_told)
        };
        while entry.untold_long.front().is_some_and(|number| !is_owed(number)) {
            entry.untold_long.pop_front();
        }
    }

    /// Asks for what is at the head of one of a tenant's lines and has left memory.
    fn fetch(&mut self, tenant: u32, is_long: bool) {
        let Some(entry) = self.tenants.get_mut(tenant) else { return };
        let head =
            entry.line(is_long).iter().map(|(number, _)| number).take(LOADS_MAX * BLOCK_MESSAGES as usize);
        let away: Vec<u64> = head.filter(|number| self.debts.owes(*number)).collect();
        let mut blocks: BTreeSet<u64> = away.iter().map(|number| block_of(*number)).collect();
        blocks.retain(|block| !self.is_fetched(tenant, *block));
        for number in away.into_iter().filter(|number| blocks.contains(&block_of(*number))) {
            let block = block_of(number);
            let is_loading = self.is_loading(Load { block, shelf: Shelf::Archive });
            if self.loading.blocks.len() >= LOADS_MAX && !is_loading {
                self.loading.waiting.push(tenant);
                return;
            }
            self.load(block, News::Tell { tenant, number });
        }
    }

    /// Whether what a tenant is to be told comes from the archive by itself.
    pub(crate) fn is_coming(&self, tenant: u32, number: u64) -> bool {
        self.is_fetched(tenant, block_of(number)) || self.loading.waiting.contains(&tenant)
    }

    /// Whether a block is on its way back for what this tenant is to be told. One that comes for a neighbour brings nothing for this one.
    fn is_fetched(&self, tenant: u32, block: u64) -> bool {
        let wanted = self.loading.blocks.get(&Load { block, shelf: Shelf::Archive });
        let is_for_it = |news: &News| matches!(news, News::Tell { tenant: of, .. } if *of == tenant);
        wanted.is_some_and(|wanted| wanted.news.iter().any(is_for_it))
    }

    fn tell_one(&mut self, tenant: u32, place: usize, number: u64, tells: Tells) {
        let Some(message) = self.pages.get(number) else { return };
        let state = message.state;
        let Some(entry) = self.tenants.get_mut(tenant) else { return };
        let dialect = entry.definition.as_ref().map(|definition| definition.receipts).unwrap_or_default();
        let Some(receiver) = entry.receivers.get_mut(place) else { return };
        receiver.in_flight += 1;
        let out = self.effects.outgoing(receiver.connection);
        let telling = Telling { tells, dialect: &dialect, tlvs: receiver.tlvs };
        match message.is_inbound() {
            false => telling::write(message, telling, &self.ids, &mut self.notepad, out),
            true => inbound::tell(message, telling, &self.ids, out),
        }
        if tells == Tells::End {
            self.pages.set_telling(number, Some(state));
        }
    }

    /// Asks for a block, for news that one of its messages has, or for a look at what is parked of it.
    pub(crate) fn load(&mut self, block: u64, news: News) {
        let is_parked = news.number().is_none_or(|number| self.parking.is_away(number));
        let load = Load { block, shelf: if is_parked { Shelf::Parked } else { Shelf::Archive } };
        // A block on its way out is asked for when it has arrived there.
        let is_leaving = self.is_on_its_way(load);
        let wanted = self.loading.blocks.entry(load).or_default();
        wanted.news.push(news);
        if wanted.asked == 0 && !is_leaving {
            wanted.asked = 1;
            self.effects.loads.push(load);
        }
    }

    fn is_on_its_way(&self, load: Load) -> bool {
        match load.shelf {
            Shelf::Archive => self.sweep.is_archiving(load.block),
            Shelf::Parked => self.parking.is_writing(load.block),
        }
    }

    /// The first block that is asked for.
    pub(crate) fn first_loading(&self) -> Option<u64> {
        self.loading.blocks.first_key_value().map(|(load, _)| load.block)
    }

    pub(crate) fn is_loading(&self, load: Load) -> bool {
        self.loading.blocks.contains_key(&load)
    }

    /// A block has reached its shelf; what waited for that is asked for now.
    pub(crate) fn load_if_wanted(&mut self, load: Load) {
        if let Some(wanted) = self.loading.blocks.get_mut(&load) {
            wanted.asked += 1;
            self.effects.loads.push(load);
        }
    }

    /// A block is back. The messages that have news live again, whole, and then take their news.
    pub(crate) fn loaded(&mut self, load: Load, messages: Vec<Vec<u8>>) {
        let is_leaving = self.is_on_its_way(load);
        let Some(wanted) = self.loading.blocks.get_mut(&load) else { return };
        wanted.asked = wanted.asked.saturating_sub(1);
        if wanted.asked > 0 || is_leaving {
            // What came is older than what is on its way there.
            return;
        }
        let Some(Wanted { mut news, .. }) = self.loading.blocks.remove(&load) else { return };
        for tenant in std::mem::take(&mut self.loading.waiting) {
            self.tenants.mark(tenant);
        }
        let is_ahead = news.iter().any(|news| matches!(news, News::Ahead));
        match load.shelf {
            Shelf::Parked => self.copies(load.block, messages),
            Shelf::Archive => {
                news = self.answer_from_archive(&messages, news);
                self.live_again(messages, &news);
            }
        }
        let found = self.find_again(&news);
        for (news, found) in news.into_iter().zip(found) {
            self.take_news(news, found);
        }
        if load.shelf == Shelf::Parked {
            self.settle_copies(load.block, is_ahead);
        }
    }

    /// Those messages of an archived block that have news.
    fn live_again(&mut self, messages: Vec<Vec<u8>>, news: &[News]) {
        let wanted: BTreeSet<u64> = news.iter().filter_map(News::number).collect();
        for message in messages.into_iter().filter_map(Message::read) {
            if wanted.contains(&message.number) && self.pages.get(message.number).is_none() {
                self.lives_again(message);
            }
        }
    }

    fn lives_again(&mut self, mut message: Message) {
        record::write(&mut self.group, &Record::Amendment(message.bytes()));
        message.image_group = self.group_number;
        message.telling = None;
        // Its tenant did not come for it in time, which is not in its story yet: what is still to come is news, and this is not.
        let is_dropped = !self.debts.forget(message.number) && message.is_to_be_told();
        self.ring.add(self.group_number, Item::Message(message.number));
        let number = message.number;
        self.pages.insert(message, self.now.wall.0);
        if is_dropped {
            self.step(number, &Step::Dropped);
        }
        self.index_again(number);
    }

    /// It has been asked for: what has not come the archive has no more.
    fn look_for_debt(&mut self, number: u64) {
        if self.pages.get(number).is_none() && self.debts.forget(number) {
            self.counters.dropped += 1;
        }
    }

    /// `found` is what the id names now that a receipt came by.
    fn take_news(&mut self, news: News, found: Option<(u64, u8)>) {
        match news {
            News::Tell { tenant, number } => {
                self.look_for_debt(number);
                self.tenants.mark(tenant);
            }
            News::Taken { tenant, number, state, end } => {
                self.look_for_debt(number);
                self.end_telling(tenant, number, state, end);
            }
            News::Receipt { number, part, news, ids } => {
                self.receipt_after_load(number, part, news, ids, found);
            }
            News::Response { answer, id } => self.response_after_load(answer, &id),
            News::Cancel { reply, tenant, number } => self.cancel(reply, tenant, number),
            News::Operation { operation, .. } => self.operation_after_load(*operation),
            News::Present { submissions, .. } => self.decide_again(*submissions),
            News::Look { block } => self.looked_at(block),
            // They were matched when it was put into memory.
            News::Early { .. } | News::Ahead => {}
        }
    }
}
