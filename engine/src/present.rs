//! Which of a tenant's waiting messages a new one takes the place of (replace_if_present_flag, SMPP 3.4 §5.2.18): the newest with the
//! same source, destination and service type, in memory or parked. How it takes its place is `replacing.rs`'s.
//!
//! A tenant that never uses the flag costs nothing. With the first use after a start all that waits of the tenant is looked
//! through, in pieces where it is much (`surgery/walk.rs`), and from then on a hash of the addresses of each is kept. What
//! cannot be said yet waits for that, or for a block to be read, and is refused for the rate when it takes too long.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::time::Duration;

use codecs::instant::Mono;

use crate::command::{Door, Refusal, Submission, Submissions};
use crate::effect::Outcome;
use crate::engine::Engine;
use crate::hash;
use crate::message::{Message, State};
use crate::outbox::News;
use crate::pages::{block_of, order_of};
use crate::replacing::is_cut_by_tenant;
use crate::submission::{Body, Extra};

const PRESENT_DOMAIN: u64 = 8 << 16;
/// Pages of the tenant, and of all, that are looked through at once; where there are more it is done in pieces.
const PAGES_AT_ONCE: usize = 64;
const BLOCKS_AT_ONCE: usize = 4_096;
/// Messages of one tenant that wait to know whose place they take, and how long each may.
const DEFERRED_MAX: usize = 1_000;
const DEFERRED_FOR: Duration = Duration::from_secs(5);
/// Where too much is looked through already, a tenant's messages are not looked at for so long: each would cost a thousand others.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Candidates of one search. All of them have the same addresses; those that are with providers are passed over.
const CANDIDATES_MAX: usize = 256;
/// Entries looked at with each new one: what does not wait any more goes, and there are hardly more than what does.
const SWEPT: usize = 2;

/// What a search has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    This(u64),
    /// It cannot be said yet.
    Later(Wait),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// What waits is being looked through.
    Walk,
    /// This message is to be read back.
    Message(u64),
}

#[derive(Default)]
pub(crate) struct Present {
    tenants: BTreeMap<u32, Known>,
    /// Why the message that is being decided cannot be.
    later: Option<Wait>,
    /// Places in the present batch of those that are answered later.
    deferred: Vec<usize>,
    /// How many wait for walks.
    waiting: usize,
    /// How many wait for blocks.
    reading: usize,
}

/// What is known of one tenant.
#[derive(Default)]
struct Known {
    is_whole: bool,
    /// Nothing looks through what waits, for want of room; from then on it is tried again.
    again: Option<Mono>,
    /// Numbers, by hash of the addresses and in the order in which they were given.
    entries: BTreeMap<(u64, u64), u64>,
    swept: (u64, u64),
    deferred: VecDeque<(Mono, Submissions)>,
}

impl Present {
    /// Whether nobody has used the flag.
    pub fn is_unused(&self) -> bool {
        self.tenants.is_empty()
    }
}

impl Engine {
    /// The newest message of a tenant that waits and has the addresses of this one; a part of something longer replaces nothing.
    pub(crate) fn find_present(&mut self, tenant: u32, body: &Body<'_>) -> Found {
        if is_cut_by_tenant(body) {
            return Found::Nothing;
        }
        let now = self.now.mono;
        let known = self.present.tenants.get(&tenant);
        if known.is_none_or(|known| known.again.is_some_and(|again| again <= now)) {
            self.begin_present(tenant);
        }
        let key = key_of(body);
        let known = self.present.tenants.get_mut(&tenant).filter(|known| known.is_whole);
        let Some(known) = known else { return Found::Later(Wait::Walk) };
        let mut over = Vec::new();
        let mut found = Found::Nothing;
        for (place, number) in known.entries.range((key, 0)..=(key, u64::MAX)).rev().take(CANDIDATES_MAX) {
            match self.pages.get(*number) {
                Some(message) if is_it(message, tenant, body) => {
                    found = Found::This(*number);
                    break;
                }
                Some(message) if !is_over(message) => {}
                None if self.parking.is_away(*number) => {
                    found = Found::Later(Wait::Message(*number));
                    break;
                }
                _ => over.push(*place),
            }
        }
        for place in over {
            known.entries.remove(&place);
        }
        found
    }

    /// The first use of the flag by a tenant since the start.
    fn begin_present(&mut self, tenant: u32) {
        let mut known = Known::default();
        let (mut pages, mut blocks) = (0, 0);
        let looked_through = self.pages.each_down_from(u64::MAX, tenant, |_, page| {
            blocks += 1;
            pages += usize::from(page.is_some());
            if pages > PAGES_AT_ONCE || blocks > BLOCKS_AT_ONCE {
                return ControlFlow::Break(());
            }
            let messages = page.into_iter().flat_map(|page| page.messages());
            messages.filter(|message| message.tenant == tenant).for_each(|message| known.note(message));
            ControlFlow::Continue(())
        });
        known.is_whole = looked_through.is_continue() && self.parking.of_tenant(tenant).waiting == 0;
        if !known.is_whole && !self.look_for_present(tenant) {
            known = Known { again: Some(self.now.mono.after(AGAIN_AFTER)), ..Known::default() };
        }
        self.present.tenants.insert(tenant, known);
    }

    /// A walk has come to a message that waits, or it has just been accepted.
    pub(crate) fn note_present(&mut self, number: u64) {
        let Some(message) = self.pages.get(number) else { return };
        let known = self.present.tenants.get_mut(&message.tenant).filter(|known| known.again.is_none());
        let Some(known) = known else { return };
        known.note(message);
        for _ in 0..SWEPT {
            let next = known.entries.range((known.swept.0, known.swept.1.saturating_add(1))..).next();
            let Some((place, number)) = next.map(|(place, number)| (*place, *number)) else {
                known.swept = (0, 0);
                break;
            };
            known.swept = place;
            let is_gone = match self.pages.get(number) {
                Some(message) => is_over(message),
                None => !self.parking.is_away(number),
            };
            if is_gone {
                known.entries.remove(&place);
            }
        }
    }

    /// All that waits of a tenant has been looked through: what waited for that is decided now, in order.
    pub(crate) fn present_is_whole(&mut self, tenant: u32) {
        let Some(known) = self.present.tenants.get_mut(&tenant) else { return };
        known.is_whole = true;
        let deferred = std::mem::take(&mut known.deferred);
        self.present.waiting -= deferred.len();
        for (_, submissions) in deferred {
            self.submit(submissions);
        }
    }

    /// Those that have waited for too long are refused: they may come again.
    pub(crate) fn refuse_overdue(&mut self) {
        if self.present.waiting == 0 {
            return;
        }
        let now = self.now.mono;
        let mut overdue = Vec::new();
        for known in self.present.tenants.values_mut() {
            while known.deferred.front().is_some_and(|(until, _)| *until <= now) {
                overdue.extend(known.deferred.pop_front());
            }
        }
        self.present.waiting -= overdue.len();
        for (_, submissions) in overdue {
            self.counters.refused[Refusal::RateLimited as usize] += 1;
            self.answer(&submissions, vec![Outcome::Refused(Refusal::RateLimited)], false);
        }
    }

    /// Notes why the message that is being decided has to wait.
    #[cold]
    pub(crate) fn later(&mut self, wait: Wait) -> Refusal {
        self.present.later = Some(wait);
        Refusal::RateLimited
    }

    /// Whether the message at a place of a batch is answered later, and not refused for what `decide` has said. One of several that
    /// are answered together is not.
    pub(crate) fn defer(&mut self, batch: &Submissions, place: usize, bytes: &[u8]) -> bool {
        let Some(wait) = self.present.later.take() else { return false };
        let is_alone = Body::read(bytes).is_some_and(|(body, _)| body.extra(Extra::SharedId).is_none());
        let Some(item) = batch.items.get(place) else { return false };
        if !is_alone || !matches!(batch.door, Door::Smpp(_)) {
            if let Wait::Message(number) = wait {
                // So that it is there when they come again.
                self.read_back(block_of(number));
            }
            return false;
        }
        let submissions = Submissions {
            tenant: batch.tenant,
            door: batch.door,
            received: batch.received,
            idempotency: None,
            items: vec![Submission { end: bytes.len() as u32, ..*item }],
            bodies: bytes.to_vec(),
        };
        let until = self.now.mono.after(DEFERRED_FOR);
        let known = self.present.tenants.get_mut(&batch.tenant);
        match (wait, known) {
            (Wait::Walk, Some(known)) if known.again.is_none() && known.deferred.len() < DEFERRED_MAX => {
                known.deferred.push_back((until, submissions));
                self.present.waiting += 1;
            }
            (Wait::Message(number), _) if self.present.reading < DEFERRED_MAX => {
                self.present.reading += 1;
                let submissions = Box::new(submissions);
                self.load(block_of(number), News::Present { number, submissions });
            }
            _ => return false,
        }
        self.present.deferred.push(place);
        true
    }

    /// The message that another may take the place of is back.
    pub(crate) fn decide_again(&mut self, submissions: Submissions) {
        self.present.reading -= 1;
        self.submit(submissions);
    }

    /// Takes out what is answered later: the rest of the items and their outcomes.
    pub(crate) fn without_deferred(&mut self, items: &mut Vec<Submission>, outcomes: &mut Vec<Outcome>) {
        if self.present.deferred.is_empty() {
            return;
        }
        let deferred = std::mem::take(&mut self.present.deferred);
        keep_others(items, &deferred);
        keep_others(outcomes, &deferred);
    }
}

impl Known {
    fn note(&mut self, message: &Message) {
        let body = message.body();
        if !message.is_inbound() && !is_over(message) && !is_cut_by_tenant(&body) {
            self.entries.insert((key_of(&body), order_of(message.number)), message.number);
        }
    }
}

/// Takes out what is at these places, which are in order.
fn keep_others<T>(of: &mut Vec<T>, places: &[usize]) {
    let (mut place, mut leave) = (0, places.iter().peekable());
    of.retain(|_| {
        let stays = leave.next_if_eq(&&place).is_none();
        place += 1;
        stays
    });
}

/// It will not wait again.
fn is_over(message: &Message) -> bool {
    message.is_final() || message.state == State::Sent
}

fn is_it(message: &Message, tenant: u32, body: &Body<'_>) -> bool {
    let other = message.body();
    message.tenant == tenant
        && message.is_still_ours()
        && other.destination == body.destination
        && other.source == body.source
        && other.service_type == body.service_type
        && !is_cut_by_tenant(&other)
}

fn key_of(body: &Body<'_>) -> u64 {
    let mut key = Vec::with_capacity(40);
    key.extend_from_slice(&body.destination.to_le_bytes());
    key.push(body.source.len() as u8);
    key.extend_from_slice(body.source);
    key.extend_from_slice(body.service_type);
    hash::hash64(PRESENT_DOMAIN, &key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_answered_later_goes_and_the_rest_keeps_its_order(leaves in prop::collection::vec(any::<bool>(), 0..50)) {
            let places: Vec<usize> = (0..leaves.len()).filter(|place| leaves[*place]).collect();
            let mut left: Vec<usize> = (0..leaves.len()).collect();
            keep_others(&mut left, &places);
            prop_assert_eq!(left, (0..leaves.len()).filter(|place| !leaves[*place]).collect::<Vec<usize>>());
        }
    }
}
