//! What lives in which group of the journal, so that old groups can go: everything living is written again before its group
//! is dropped, at most as many octets a group as the group itself has. It touches no disk.

use std::collections::VecDeque;

use crate::engine::Engine;
use crate::inbound::Key;
use crate::kept::Drawer;
use crate::message::Message;
use crate::pages::{BLOCK_MESSAGES, block_of, order_of, place_of};
use crate::record::{self, NameKind, Record};

/// Octets that a group may carry over even when it brings little itself, so that the ring also turns when it is quiet.
const CARRY_OCTETS_MIN: usize = 4_096;

/// Items looked at in one turn: most of an old group's messages have long left memory, and cost no octets.
const CARRY_ITEMS_MAX: usize = 20_000;

/// Items that there is always room for.
const ROOM_MIN: usize = 16_384;

/// Something that lives, and whose newest image is in the group beside it, or the first step that the parked store's does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// Messages as they were accepted: so many from this place in the order of numbers.
    Fresh {
        first: u64,
        count: u32,
    },
    Message(u64),
    Wallet(u32),
    Name(NameKind, u32),
    /// A key's fingerprint, as octets: as a number it would stand at every second word only, and each item take half as much again.
    Idempotency(u32, [u8; 16]),
    /// A block of which something is in the archive that its tenant has not been told of.
    Debts(u64),
    Early(u16, Box<[u8]>),
    /// A part of a message from a phone, by its key and its number.
    Part(Box<(Key, u8)>),
    /// What stands for a PDU from a phone.
    Arrival(u64),
    Kept(Drawer, u64),
    Epoch,
    Flushes,
    /// An operator's, or the last number that was given to one.
    Rule(u32),
}

#[derive(Default)]
pub(crate) struct Ring {
    /// Octets of the open group that were carried over into it.
    carried: usize,
    items: VecDeque<(u64, Item)>,
}

impl Ring {
    pub fn add(&mut self, group: u64, item: Item) {
        self.items.push_back((group, item));
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The open group was taken.
    pub fn group_taken(&mut self) {
        self.carried = 0;
        // After a flood that has gone.
        if self.items.capacity() > ROOM_MIN && self.items.len() < self.items.capacity() / 4 {
            self.items.shrink_to(2 * self.items.len());
        }
    }

    /// A new message of this group. Neighbours share an item.
    pub fn add_fresh(&mut self, group: u64, number: u64) {
        let order = order_of(number);
        if let Some((last_group, Item::Fresh { first, count })) = self.items.back_mut()
            && *last_group == group
            && *first + u64::from(*count) == order
        {
            *count += 1;
            return;
        }
        self.add(group, Item::Fresh { first: order, count: 1 });
    }

    /// Nothing living is in groups before this one, as far as is known; `present` when nothing lives at all.
    pub fn release_before(&self, present: u64) -> u64 {
        self.items.front().map_or(present, |(group, _)| *group)
    }
}

impl Engine {
    /// Moves what lives at the ring's tail to the present group, while the ring is larger than it should be.
    pub(crate) fn carry_over(&mut self, ring_over: u64) {
        if ring_over == 0 {
            return;
        }
        // The open group has several turns; what was carried in the others is not its own.
        let start = self.group.len();
        let own = start - self.ring.carried;
        let budget = own.max(CARRY_OCTETS_MIN).saturating_sub(self.ring.carried);
        self.carry_some(start, budget);
        self.ring.carried += self.group.len() - start;
    }

    fn carry_some(&mut self, start: usize, budget: usize) {
        for _ in 0..CARRY_ITEMS_MAX {
            let is_old = self.ring.items.front().is_some_and(|(group, _)| *group < self.group_number);
            if !is_old || self.group.len() - start >= budget {
                return;
            }
            let Some((group, item)) = self.ring.items.pop_front() else { return };
            if !self.carry(group, item) {
                return;
            }
        }
    }

    /// False when the item must stay where it is for now.
    fn carry(&mut self, group: u64, item: Item) -> bool {
        match item {
            Item::Fresh { first, count } => return self.carry_fresh(group, first, count),
            Item::Message(number) => return self.carry_one(group, order_of(number), Item::Message(number)),
            Item::Wallet(tenant) => {
                if self.tenants.get(tenant).is_some_and(|entry| entry.wallet_group == Some(group)) {
                    self.record_wallet(tenant);
                }
            }
            Item::Name(kind, index) => self.carry_name(group, kind, index),
            Item::Idempotency(tenant, key) => {
                if self.record_idempotency(tenant, u128::from_le_bytes(key)) {
                    self.ring.add(self.group_number, item);
                }
            }
            Item::Debts(block) => {
                if self.debts.is_recorded_in(block, group) {
                    self.record_debts(block);
                }
            }
            Item::Early(provider, key) => self.carry_early(provider, key),
            Item::Part(part) => self.carry_part(group, part.0, part.1),
            Item::Arrival(arrival) => self.carry_arrival(arrival),
            Item::Kept(drawer, number) => self.carry_kept(group, drawer, number),
            Item::Epoch if self.epoch_group > group => {}
            Item::Epoch => self.record_epoch(),
            Item::Flushes => self.carry_flushes(group),
            Item::Rule(number) => self.carry_rule(number, group),
        }
        true
    }

    fn carry_fresh(&mut self, group: u64, first: u64, count: u32) -> bool {
        let place = first % BLOCK_MESSAGES;
        let is_gone = self.pages.page(block_of(first)).is_none() && !self.is_leaving(block_of(first));
        // One at a time, so that a group's budget holds, but all of a block that has left; the rest goes back to the front.
        let looked_at = if is_gone { count.min((BLOCK_MESSAGES - place) as u32) } else { 1 };
        if count > looked_at {
            let rest = Item::Fresh { first: first + u64::from(looked_at), count: count - looked_at };
            self.ring.items.push_front((group, rest));
        }
        if is_gone {
            return true;
        }
        self.carry_one(group, first, Item::Fresh { first, count: 1 })
    }

    fn carry_one(&mut self, group: u64, order: u64, item: Item) -> bool {
        if self.is_leaving(block_of(order)) {
            // Its new place is not durable yet.
            self.ring.items.push_front((group, item));
            return false;
        }
        let Some(message) = self.pages.at(order) else { return true };
        if message.image_group > group {
            return true;
        }
        let number = message.number;
        record::write(&mut self.group, &Record::CarryOver(Message::bytes(message)));
        self.pages.set_image(order, self.group_number);
        self.parking.not_apart(block_of(order), 1 << place_of(order));
        self.ring.add(self.group_number, Item::Message(number));
        true
    }

    fn carry_name(&mut self, group: u64, kind: NameKind, index: u32) {
        let (newest, id, currency) = match kind {
            NameKind::Tenant => match self.tenants.get(index) {
                Some(entry) => (entry.name_group, entry.id.clone(), entry.currency.clone()),
                None => return,
            },
            NameKind::Provider => match u16::try_from(index).ok().and_then(|i| self.providers.get(i)) {
                Some(entry) => (entry.name_group, entry.id.clone(), entry.mark().to_owned()),
                None => return,
            },
        };
        if newest == group {
            self.record_name(kind, index, &id, &currency);
        }
    }

    pub(crate) fn carry_early(&mut self, provider: u16, key: Box<[u8]>) {
        let mut kept = false;
        for early in self.early.of(provider, &key) {
            let at = self.now.wall.0;
            record::write(&mut self.group, &Record::EarlyReceipt { provider, at, receipt: &early.payload });
            kept = true;
        }
        if kept {
            self.ring.add(self.group_number, Item::Early(provider, key));
        }
    }

    pub(crate) fn record_epoch(&mut self) {
        record::write(&mut self.group, &Record::Epoch { epoch: self.epoch, next: self.next });
        self.epoch_group = self.group_number;
        self.ring.add(self.group_number, Item::Epoch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_small_and_room_for_many_is_given_back() {
        assert_eq!(size_of::<(u64, Item)>(), 32);
        let mut ring = Ring::default();
        (0..100_000).for_each(|number| ring.add(1, Item::Message(number)));
        ring.group_taken();
        assert!(ring.items.capacity() >= 100_000);
        ring.items.truncate(10);
        ring.group_taken();
        assert!(ring.items.capacity() <= ROOM_MIN);
        assert_eq!(ring.items.front(), Some(&(1, Item::Message(0))));
    }
}
