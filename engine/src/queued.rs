//! What is queued, wherever it lies: how many messages by provider and priority, and since when the oldest of them waits.
//! The order in which they go is `fair_queue.rs`'s, which also holds numbers of messages that have gone elsewhere meanwhile.

use std::time::Duration;

use codecs::instant::Wall;

use crate::engine::Engine;
use crate::message::{Message, State};
use crate::pages::{block_of, order_of};
use crate::submission::Priority;

/// Numbers of one line that are looked at in search of one that is parked; before it are only those that went elsewhere.
const LOOKED_MAX: usize = 4_096;

#[derive(Default)]
pub(crate) struct Queued {
    /// By provider and by `Priority as usize`.
    counts: Vec<[u64; 3]>,
    /// The oldest that is known; it may have left its queue since it was seen.
    oldest: Option<Seen>,
    /// The oldest that this round of looks has seen.
    of_round: Option<Seen>,
    /// A block that is being read back for its oldest message.
    wanted: Option<u64>,
    /// Messages up to this place in the order of numbers have been read back, and were not the oldest.
    passed: u64,
}

/// A queued message, and when it was known to be queued.
#[derive(Clone, Copy, Debug)]
struct Seen {
    number: u64,
    accepted_at: Wall,
    seen_at: Wall,
    /// It has left its queue since.
    is_gone: bool,
}

impl Queued {
    /// Messages of a provider: low, normal, high.
    pub fn of(&self, provider: u16) -> [u64; 3] {
        self.counts.get(usize::from(provider)).copied().unwrap_or_default()
    }

    /// A message with this provider has begun to be queued.
    pub fn add(&mut self, provider: u16, priority: Priority, count: u64) {
        *self.count(provider, priority) += count;
    }

    /// A message has come from one provider and state to another.
    pub fn moved(&mut self, priority: Priority, before: (u16, State), after: (u16, State)) {
        if before.1 == State::Queued {
            *self.count(before.0, priority) -= 1;
        }
        if after.1 == State::Queued {
            self.add(after.0, priority, 1);
        }
    }

    fn count(&mut self, provider: u16, priority: Priority) -> &mut u64 {
        let place = usize::from(provider);
        if self.counts.len() <= place {
            self.counts.resize(place + 1, [0; 3]);
        }
        &mut self.counts[place][priority as usize]
    }

    fn is_empty(&self) -> bool {
        self.counts.iter().flatten().all(|count| *count == 0)
    }
}

impl Engine {
    /// How long the oldest queued message has waited. One that has gone since the last look has waited until then.
    pub(crate) fn oldest_queued(&self) -> Duration {
        let Some(oldest) = self.queued.oldest.filter(|_| !self.queued.is_empty()) else {
            return Duration::ZERO;
        };
        let until = if self.is_queued(&oldest) { self.now.wall } else { oldest.seen_at };
        Duration::from_millis(u64::try_from(until.millis_since(oldest.accepted_at)).unwrap_or(0))
    }

    /// Whether a message that was seen queued still is. What is parked is as it was when it was parked, and seen then.
    fn is_queued(&self, seen: &Seen) -> bool {
        match self.pages.get(seen.number) {
            Some(message) => message.state == State::Queued,
            None => !seen.is_gone && self.parking.is_away(seen.number),
        }
    }

    /// A round of looks at all pages begins. Only a start leaves parked messages that no round has seen, and they are read back.
    pub(crate) fn look_for_oldest(&mut self) {
        let now = self.now.wall;
        let is_queued = |seen: &Seen| self.is_queued(seen);
        let known = self.queued.oldest.filter(is_queued).map(|seen| Seen { seen_at: now, ..seen });
        let seen = self.queued.of_round;
        let bound = older(known, seen.filter(is_queued));
        if known.is_none() {
            self.queued.passed = 0;
        }
        self.queued.oldest = older(known, seen);
        self.queued.of_round = None;
        let before = bound.map_or(u64::MAX, |seen| order_of(seen.number));
        self.queued.wanted = self.oldest_parked(before).map(|number| {
            self.queued.passed = order_of(number);
            self.read_back(block_of(number));
            block_of(number)
        });
    }

    /// The first message before this place in the order of numbers that is parked in some queue and has not been looked at.
    fn oldest_parked(&self, before: u64) -> Option<u64> {
        let waiting = self.parking.depths().filter(|(_, depth)| depth.queued > 0);
        let first = |(provider, priority, tenant): (u16, Priority, u32)| {
            let line = self.providers.get(provider)?.queue.line(tenant, priority).take(LOOKED_MAX);
            let unseen =
                |number: &u64| self.parking.is_away(*number) && order_of(*number) > self.queued.passed;
            let is_here = |number: &u64| self.pages.get(*number).is_some_and(|m| m.state == State::Queued);
            line.take_while(|number| !is_here(number)).find(unseen)
        };
        let found = waiting.filter_map(|(line, _)| first(*line));
        found.filter(|number| order_of(*number) < before).min_by_key(|number| order_of(*number))
    }

    /// Looks at the block that was read back for its oldest message, once it is in memory.
    pub(crate) fn see_wanted(&mut self) {
        if let Some(block) = self.queued.wanted.filter(|block| !self.misses_waiting(*block, false)) {
            self.queued.wanted = None;
            self.see_queued(block);
        }
    }

    /// Looks at a page: every queued message is seen before it is parked.
    pub(crate) fn see_queued(&mut self, block: u64) {
        let Some(page) = self.pages.page(block) else { return };
        let first = page.messages().find(|message| message.state == State::Queued);
        let seen_at = self.now.wall;
        let seen =
            |m: &Message| Seen { number: m.number, accepted_at: m.accepted_at, seen_at, is_gone: false };
        let first = first.map(seen);
        let mut known = self.queued.oldest;
        if let Some(seen) = known.as_mut().filter(|seen| block_of(seen.number) == block) {
            // It may be parked in another state now.
            seen.is_gone = !self.is_queued(seen);
        }
        self.queued.of_round = older(self.queued.of_round, first);
        self.queued.oldest = older(known, first);
    }
}

/// Numbers are given in the order in which messages are accepted.
fn older(one: Option<Seen>, other: Option<Seen>) -> Option<Seen> {
    [one, other].into_iter().flatten().min_by_key(|seen| order_of(seen.number))
}
