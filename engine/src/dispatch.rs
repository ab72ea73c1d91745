//! From the queues to the binds: who may send how much now, and the intents. The bodies of the `submit_sm` are `parts.rs`'s, what
//! comes back is `outcome.rs`'s.

use std::collections::VecDeque;
use std::time::Duration;

use codecs::instant::Mono;
use hashbrown::HashMap;

use crate::catalog::{AskReceipt, Definitions, ProviderDefinition};
use crate::command::{AskKind, ConnectionId, PartToken};
use crate::engine::{DueKind, Engine, Released};
use crate::fair_queue::{FairQueue, QUANTUM_PARTS, Taken};
use crate::hash::{self, FixedState};
use crate::message::{Message, PartState, State};
use crate::money::Micros;
use crate::parts;
use crate::record::NameKind;
use crate::step::{ALL_PARTS, HoldCause, Step};
use crate::submission::{Body, Priority};
use crate::surgery::AGAIN_MICROS;
use crate::throttle::AdaptiveRate;
use crate::token_bucket::TokenBucket;

/// Parts that one bind is given before the next has its turn, so that all binds share what there is.
const RUN_PARTS: u32 = 64;
/// Parts that may be in flight before a round trip is known, where a rate limits the provider.
const IN_FLIGHT_MIN: u32 = 10;
/// Messages of a tenant that are read back ahead of their turn.
const AHEAD_MIN: usize = 256;
const AHEAD_MAX: usize = 16_384;
/// Where a round trip is shorter, some place of a full window is free again soon enough for a password.
const ROUND_TRIP_SHORT: Duration = Duration::from_millis(500);
/// None is longer: the time of day may have been set while a response was waited for.
const ROUND_TRIP_LONG: Duration = Duration::from_secs(600);
/// How long places are kept for `high` where one was seen, though a round trip is short.
const HIGH_LATELY: Duration = Duration::from_secs(60);
/// So many times `in_doubt_wait` without a bind are an outage: receipts will have gathered at the provider.
const OUTAGE: u32 = 10;

/// One bind as the engine sees it. `in_flight` is exactly the parts in state `Sending` with this bind.
#[derive(Debug, Default)]
pub(crate) struct Bind {
    pub connection: Option<ConnectionId>,
    /// 0 while it rests: it is about to end its session.
    pub window: u32,
    pub in_flight: u32,
    /// What came back unsent while more was still on its way to the driver: it waits for that, so that the order holds.
    pub unsent: Vec<PartToken>,
    /// The connection is gone, and the rest of what was given to it has yet to come back.
    pub returning: bool,
    /// Questions that it has not answered; they take their place in the window.
    pub asked: u32,
    /// Its own rate, where the provider's entry limits each bind.
    pub rate: TokenBucket,
}

impl Bind {
    /// Whether it is up, and is given more as it answers.
    fn takes(&self) -> bool {
        self.connection.is_some() && self.window > 0
    }

    /// Free places of its window.
    fn places(&self) -> u32 {
        match self.connection {
            Some(_) => self.window.saturating_sub(self.open()),
            None => 0,
        }
    }

    /// Requests that it has not answered.
    fn open(&self) -> u32 {
        self.in_flight + self.asked
    }

    /// Parts that it may be given now.
    fn room(&mut self, now: Mono) -> u32 {
        self.places().min(self.rate.available(now))
    }

    /// Parts a second, 0: no limit. What has gathered at an unchanged rate stays, so that a new connection is no new burst.
    fn limit(&mut self, now: Mono, throughput: u32) {
        let rate = u64::from(throughput) * 1_000;
        if rate != self.rate.rate() {
            self.rate = TokenBucket::new(rate, throughput / 10, now);
        }
    }
}

/// Something to be asked about one part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub token: PartToken,
    pub kind: AskKind,
}

/// Parts that were taken from the rates of a provider and of one of its binds, and leave with a group.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    /// The order of the group.
    group: u64,
    bind: usize,
    parts: u32,
    /// When the first of them were taken.
    taken: Mono,
}

/// A lane, and the bind that the message at its head goes over.
#[derive(Clone, Copy, Debug)]
struct WaitsForBind {
    tenant: u32,
    priority: Priority,
    bind: usize,
}

/// What a provider's binds may be given now.
struct Credit {
    parts: u32,
    /// Of these, what may go to others than `high`.
    for_all: u32,
    /// Places and tokens that stay for `high`.
    places_kept: u32,
    tokens_kept: u32,
    /// The most parts in flight.
    in_flight_max: u32,
}

pub(crate) struct Provider {
    pub id: String,
    /// `None` for one that the journal knows and the definitions no longer name: its messages wait.
    pub definition: Option<ProviderDefinition>,
    pub queue: FairQueue,
    pub rate: AdaptiveRate,
    pub binds: Vec<Bind>,
    /// When its first bind of now came up; `None` while none is.
    pub up_since: Option<Mono>,
    /// How long it had been up before that, in all since the process began.
    pub up_before: Duration,
    /// What it had been up when it last came back from an outage, and not from a moment without binds: it may have news of then.
    pub up_before_outage: Duration,
    /// When its last bind went, or the process began; looked at while none is up.
    pub down_since: Mono,
    /// What is parked for it was looked at for other providers, since it has been down.
    pub given_up: bool,
    /// Smoothed, in microseconds; 0 until the first response.
    pub round_trip: u64,
    /// What was taken from the queue and goes back into it, when all of its parts that come back in this turn have come.
    pub returned: Vec<u64>,
    /// Messages in doubt while none of its binds is up: the wait for news begins with the first one.
    pub doubtful: Vec<u64>,
    /// The group of its newest name record.
    pub name_group: u64,
    /// An operator's rule gives it nothing.
    pub disabled: bool,
    /// It is, or once was, sent submit_multi: an id of it may name several messages.
    pub shares_ids: bool,
    /// When tokens will be there for what waits.
    wake: Option<Mono>,
    /// What has not left, where a rate limits.
    leaving: VecDeque<Leaving>,
    /// Lanes that have stopped at a tenant's own part whose bind has no room, or was not at hand.
    waits_for_bind: Vec<WaitsForBind>,
    /// When a message of high priority last waited here.
    high_seen: Option<Mono>,
    /// What it is to be asked first, for tenants that wait for it.
    pub wanted: VecDeque<Question>,
    /// What it is to be asked besides, and the parts that were sent since it was last asked.
    pub asks: VecDeque<Question>,
    pub parts_since_ask: u32,
    /// The next of `wanted` is about another part of the message that the last was to cancel a part of.
    pub is_cancelling: bool,
}

impl Provider {
    /// How long it has been up in all since the process began.
    pub fn up(&self, now: Mono) -> Duration {
        self.up_before + self.up_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    fn unnamed(shares: [u32; 3], now: Mono) -> Provider {
        Provider {
            id: String::new(),
            definition: None,
            queue: FairQueue::new(shares, QUANTUM_PARTS),
            rate: AdaptiveRate::new(0, 0, now),
            binds: Vec::new(),
            up_since: None,
            up_before: Duration::ZERO,
            up_before_outage: Duration::ZERO,
            down_since: now,
            given_up: false,
            round_trip: 0,
            returned: Vec::new(),
            doubtful: Vec::new(),
            name_group: 0,
            disabled: false,
            shares_ids: false,
            wake: None,
            leaving: VecDeque::new(),
            waits_for_bind: Vec::new(),
            high_seen: None,
            wanted: VecDeque::new(),
            asks: VecDeque::new(),
            parts_since_ask: 0,
            is_cancelling: false,
        }
    }

    pub fn in_flight(&self) -> u32 {
        self.binds.iter().map(|bind| bind.in_flight).sum()
    }

    pub fn measure(&mut self, micros: u64) {
        let micros = micros.min(ROUND_TRIP_LONG.as_micros() as u64);
        self.round_trip = if self.round_trip == 0 { micros } else { (self.round_trip * 7 + micros) / 8 };
    }

    pub fn round_trip(&self) -> Duration {
        Duration::from_micros(self.round_trip.max(10_000))
    }

    /// Parts that may be handed out now.
    fn credit(&mut self, now: Mono, high_percent: u32) -> Credit {
        if self.queue.len_of(Priority::High) > 0 {
            self.high_seen = Some(now);
        }
        let share = |whole: u32| (u64::from(whole) * u64::from(high_percent) / 100) as u32;
        let room: u32 = self.binds.iter_mut().map(|bind| bind.room(now)).sum();
        let tokens = self.rate.available(now);
        let in_flight = self.in_flight_up();
        let in_flight_max = self.in_flight_max();
        let parts = room.min(tokens).min(in_flight_max.saturating_sub(in_flight));
        let places_kept = if self.keeps_places(now) { share(in_flight_max) } else { 0 };
        let places = (in_flight_max - places_kept).saturating_sub(in_flight);
        let tokens_kept = if self.rate.rate() > 0 { share(self.rate.capacity()) } else { 0 };
        let for_all = parts.min(places).min(tokens.saturating_sub(tokens_kept));
        Credit { parts, for_all, places_kept, tokens_kept, in_flight_max }
    }

    /// Places that nobody uses cost throughput where the window is what limits it. There they are kept only where a password
    /// would wait for long otherwise, or when there are passwords. Kept tokens cost nothing: they only lie there.
    fn keeps_places(&self, now: Mono) -> bool {
        let rate_limits = self.carried() < self.window();
        let high_lately = self.high_seen.is_some_and(|seen| now.since(seen) < HIGH_LATELY);
        self.round_trip == 0 || self.round_trip() >= ROUND_TRIP_SHORT || rate_limits || high_lately
    }

    /// Without those that rest.
    fn binds_up(&self) -> impl Iterator<Item = &Bind> {
        self.binds.iter().filter(|bind| bind.takes())
    }

    fn window(&self) -> u32 {
        self.binds_up().map(|bind| bind.window).sum()
    }

    /// What a lost bind has yet to give back, and a resting one yet to answer, takes no place of those that are up.
    fn in_flight_up(&self) -> u32 {
        self.binds_up().map(Bind::open).sum()
    }

    /// How many of a tenant's messages are wanted in memory ahead of their turn: what goes out in two seconds.
    pub fn read_ahead(&self) -> usize {
        match self.rate.rate() {
            0 => AHEAD_MAX,
            rate => (2 * rate as usize).clamp(AHEAD_MIN, AHEAD_MAX),
        }
    }

    /// No more than twice what the rate carries in a round trip, so that a password never waits behind a window of campaign.
    fn in_flight_max(&self) -> u32 {
        self.window().min(self.carried())
    }

    fn carried(&self) -> u32 {
        match u64::from(self.rate.rate()) {
            0 => u32::MAX,
            rate => {
                let carried = 2 * rate * self.round_trip().as_micros() as u64 / 1_000_000;
                u32::try_from(carried).unwrap_or(u32::MAX).max(IN_FLIGHT_MIN)
            }
        }
    }

    /// The bind with most room that is up and does not rest.
    fn best_bind(&mut self, now: Mono) -> Option<usize> {
        let up = self.binds.iter_mut().enumerate().filter(|(_, bind)| bind.takes());
        up.map(|(index, bind)| (index, bind.room(now))).max_by_key(|(_, room)| *room).map(|(index, _)| index)
    }

    /// The type of number and the numbering plan of a message's sender here.
    pub fn source_type(&self, body: &Body<'_>) -> (u8, u8) {
        self.definition.as_ref().map(|definition| definition.types).unwrap_or_default().source(body)
    }

    /// The bind that may be given one request now that is not urgent. When there is none for the rate, notes when there will be.
    pub fn bind_for_one(&mut self, now: Mono, high_percent: u32) -> Option<usize> {
        let credit = self.credit(now, high_percent);
        let bind = self.best_bind(now)?;
        if credit.for_all > 0 && self.binds[bind].room(now) > 0 {
            return Some(bind);
        }
        if self.binds[bind].places() > 0 {
            let wanted = credit.tokens_kept.saturating_add(1);
            let at = self.rate.wait_for(now, wanted).max(self.binds[bind].rate.wait_for(now, 1));
            self.wake = Some(at).filter(|at| *at > now);
        }
        None
    }

    /// A question goes to a bind with a group: window and rate count for it, the latter until it leaves where this is true.
    pub fn asked(&mut self, now: Mono, bind: usize, group: u64) -> bool {
        self.parts_since_ask = 0;
        if let Some(bind) = self.binds.get_mut(bind) {
            bind.asked += 1;
        }
        self.take_tokens(now, bind, 1, group)
    }

    /// Takes from the rates what goes to a bind with a group; true where they wait until it leaves.
    fn take_tokens(&mut self, now: Mono, bind: usize, parts: u32, group: u64) -> bool {
        self.rate.take_all(now, parts);
        let mut is_limited = self.rate.rate() > 0;
        if let Some(bind) = self.binds.get_mut(bind) {
            bind.rate.take_all(now, parts);
            is_limited |= bind.rate.rate() > 0;
        }
        if !is_limited {
            return false;
        }
        match self.leaving.back_mut().filter(|last| (last.group, last.bind) == (group, bind)) {
            Some(last) => last.parts += parts,
            None => self.leaving.push_back(Leaving { group, bind, parts, taken: now }),
        }
        true
    }

    /// Groups have left.
    fn parts_left(&mut self, released: Released) {
        while let Some(first) = self.leaving.pop_front_if(|first| first.group < released.groups) {
            let Leaving { bind, parts, taken, .. } = first;
            self.rate.left(released.at, parts, taken);
            if let Some(bind) = self.binds.get_mut(bind) {
                bind.rate.left(released.at, parts, taken);
            }
        }
    }

    /// The lanes that waited for a bind are looked at anew: binds have come and gone, and have room or not. The bind of the one that
    /// has waited longest of those that can go on is asked first: where a rate gives one part at a time, others would always be
    /// there before.
    fn start_waiting_lanes(&mut self, now: Mono) -> Option<usize> {
        let first = self.lane_with_room(now).and_then(|place| self.waits_for_bind.get(place)).map(|l| l.bind);
        for lane in std::mem::take(&mut self.waits_for_bind) {
            self.queue.start(lane.tenant, lane.priority);
        }
        first
    }

    /// The bind of a lane that waits for it and has room now; the lane goes on.
    fn start_lane_with_room(&mut self, now: Mono) -> Option<usize> {
        let place = self.lane_with_room(now)?;
        let lane = self.waits_for_bind.swap_remove(place);
        self.queue.start(lane.tenant, lane.priority);
        Some(lane.bind)
    }

    fn lane_with_room(&mut self, now: Mono) -> Option<usize> {
        let Provider { waits_for_bind, binds, .. } = self;
        let has_room = |lane: &WaitsForBind| binds.get_mut(lane.bind).is_some_and(|bind| bind.room(now) > 0);
        waits_for_bind.iter().position(has_room)
    }

    /// Notes when the rate of a bind allows what waits for it; a window that is full tells by itself.
    fn wake_for_lanes(&mut self, now: Mono, before: Option<Mono>) {
        let Provider { waits_for_bind, binds, .. } = self;
        let limited = waits_for_bind.iter().filter_map(|lane| {
            let bind = binds.get_mut(lane.bind).filter(|bind| bind.places() > 0)?;
            Some(bind.rate.wait_for(now, 1)).filter(|at| *at > now)
        });
        self.wake = limited.chain(before).chain(self.wake).min();
    }

    /// Takes from the queue what one bind may be given now, the one that is asked for or else the one with most room. When that is
    /// nothing, notes when it will be.
    fn take_run(
        &mut self,
        now: Mono,
        high_percent: u32,
        asked: Option<usize>,
        may_go: impl Fn(&[Bind], usize, u64) -> bool,
        taken: &mut Vec<Taken>,
    ) -> Option<usize> {
        let credit = self.credit(now, high_percent);
        let bind = asked.or_else(|| self.best_bind(now))?;
        let room = self.binds[bind].room(now).min(credit.parts);
        let most = self.most_together(bind, &credit);
        let Provider { queue, binds, .. } = &mut *self;
        let is_here = |number: u64| may_go(binds, bind, number);
        for run in [room.min(RUN_PARTS), room] {
            queue.take(run, run.saturating_sub(credit.for_all), most, is_here, taken);
            if !taken.is_empty() {
                return Some(bind);
            }
        }
        let (priority, parts) = queue.peek(most, is_here)?;
        let (places_kept, tokens_kept) = match priority {
            Priority::High => (0, 0),
            _ => (credit.places_kept, credit.tokens_kept),
        };
        let in_flight = self.in_flight_up();
        let places = credit.in_flight_max.saturating_sub(places_kept + in_flight);
        if parts > places.min(self.binds[bind].places()) && in_flight > 0 {
            return None;
        }
        let wanted = parts.saturating_add(tokens_kept);
        let at = self.rate.wait_for(now, wanted).max(self.binds[bind].rate.wait_for(now, parts));
        if at > now {
            self.wake = Some(at);
            return None;
        }
        let Provider { queue, binds, .. } = self;
        queue.take(parts, 0, most, |number: u64| may_go(binds, bind, number), taken);
        (!taken.is_empty()).then_some(bind)
    }

    /// The most parts of one message that can go together: what window and rates ever have room for, beside what is kept for `high`.
    fn most_together(&self, bind: usize, credit: &Credit) -> u8 {
        let bind = &self.binds[bind];
        let places = credit.in_flight_max.saturating_sub(credit.places_kept).min(bind.window);
        let tokens = self.rate.capacity().saturating_sub(credit.tokens_kept).min(bind.rate.capacity());
        u8::try_from(places.min(tokens).max(1)).unwrap_or(u8::MAX)
    }
}

#[derive(Default)]
pub(crate) struct Providers {
    list: Vec<Provider>,
    by_id: HashMap<String, u16, FixedState>,
    /// Some provider means an alphabet by data_coding 0 that has less than GSM 7-bit.
    pub has_narrow_charset: bool,
}

impl Providers {
    pub fn get(&self, index: u16) -> Option<&Provider> {
        self.list.get(usize::from(index))
    }

    pub fn get_mut(&mut self, index: u16) -> Option<&mut Provider> {
        self.list.get_mut(usize::from(index))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.list.iter()
    }

    pub fn count(&self) -> u16 {
        self.list.len() as u16
    }

    pub fn index_of(&self, id: &str) -> Option<u16> {
        self.by_id.get(id).copied()
    }

    pub fn is_enabled(&self, index: u16) -> bool {
        self.get(index).is_some_and(|provider| {
            !provider.disabled && provider.definition.as_ref().is_some_and(|definition| definition.enabled)
        })
    }

    /// Whether it is asked for receipts.
    pub fn receipts(&self, index: u16) -> AskReceipt {
        let definition = self.get(index).and_then(|provider| provider.definition.as_ref());
        definition.map_or(AskReceipt::Asked, |definition| definition.receipts)
    }

    /// What a part costs there.
    pub fn cost(&self, index: u16) -> Option<Micros> {
        Some(self.get(index)?.definition.as_ref()?.cost)
    }

    pub fn is_up(&self, index: u16) -> bool {
        self.get(index).is_some_and(|provider| provider.up_since.is_some() && !provider.disabled)
    }

    pub fn in_flight(&self) -> u64 {
        self.list.iter().map(|provider| u64::from(provider.in_flight())).sum()
    }

    /// One tenant's messages are numbered in the order in which they were accepted, and wait in it.
    pub fn enqueue(&mut self, message: &Message) {
        let parts = waiting_parts(message);
        if let Some(provider) = self.get_mut(message.provider) {
            provider.queue.push(message.tenant, message.priority, message.number, parts);
        }
    }

    /// A message, by its tenant, priority and number, leaves its provider's queue before its turn, if it is there. Whether it was.
    pub fn dequeue(&mut self, provider: u16, (tenant, priority, number): (u32, Priority, u64)) -> bool {
        self.get_mut(provider).is_some_and(|provider| provider.queue.remove(tenant, priority, number))
    }

    /// A message that was taken from its queue and not sent goes back into it, before this turn dispatches.
    pub fn put_back(&mut self, message: &Message) {
        if let Some(provider) = self.get_mut(message.provider) {
            provider.returned.push(message.number);
        }
    }

    /// A message had so many parts with a bind of a provider, and has so many with this one now.
    pub fn in_flight_changed(&mut self, before: (u16, u16, u32), after: (u16, u16, u32)) {
        if before.2 > 0
            && let Some(bind) = self.bind_mut(before.0, before.1)
        {
            debug_assert!(bind.in_flight >= before.2, "more parts came back than were sent");
            bind.in_flight = bind.in_flight.saturating_sub(before.2);
        }
        if after.2 > 0
            && let Some(bind) = self.bind_mut(after.0, after.1)
        {
            bind.in_flight += after.2;
        }
    }

    pub fn bind_mut(&mut self, provider: u16, bind: u16) -> Option<&mut Bind> {
        self.get_mut(provider)?.binds.get_mut(usize::from(bind))
    }

    /// When some provider's rate allows what waits for it, in monotonic microseconds.
    pub fn next_due(&self, now: Mono) -> impl Iterator<Item = u64> + '_ {
        self.list.iter().filter_map(move |provider| provider.wake.map(|wake| wake.max(now).0))
    }

    /// Gives a name its index, or finds the one it has.
    pub fn name(&mut self, id: &str, shares: [u32; 3], now: Mono) -> (u16, bool) {
        if let Some(index) = self.by_id.get(id) {
            return (*index, false);
        }
        let index = self.list.len() as u16;
        self.name_at(index, id, shares, now);
        (index, true)
    }

    /// Gives a name the index that it has in the journal.
    pub fn name_at(&mut self, index: u16, id: &str, shares: [u32; 3], now: Mono) {
        let place = usize::from(index);
        if self.list.len() <= place {
            self.list.resize_with(place + 1, || Provider::unnamed(shares, now));
        }
        id.clone_into(&mut self.list[place].id);
        self.by_id.insert(id.to_owned(), index);
    }
}

/// The bind over which all parts go that a tenant has cut of one message: of those that are up the one that ranks highest for them,
/// so that another one that comes or goes changes the way of few.
fn own_bind(binds: &[Bind], message: &Message) -> Option<usize> {
    let set = message.body().set_of_own_part(message.tenant)?;
    let up = binds.iter().enumerate().filter(|(_, bind)| bind.connection.is_some());
    let rank = |bind: usize| hash::hash64(set, &(bind as u64).to_le_bytes());
    up.map(|(bind, _)| bind).max_by_key(|bind| rank(*bind))
}

pub(crate) fn waiting_parts(message: &Message) -> u8 {
    message.part_states().filter(|part| *part == PartState::Waiting).count() as u8
}

impl Engine {
    pub(crate) fn configure_providers(&mut self, definitions: &Definitions) {
        let now = self.now.mono;
        for provider in &mut self.providers.list {
            provider.definition = None;
            provider.queue.set_shares(self.settings.shares);
        }
        self.providers.has_narrow_charset =
            definitions.providers.iter().any(|definition| definition.charset.last().is_some());
        for definition in &definitions.providers {
            let (index, mut new) = self.providers.name(&definition.id, self.settings.shares, now);
            if let Some(provider) = self.providers.get_mut(index) {
                new |= definition.submit_multi && !provider.shares_ids;
                provider.shares_ids |= definition.submit_multi;
                provider.rate.set_ceiling(now, definition.throughput, definition.burst);
                provider.binds.iter_mut().for_each(|bind| bind.limit(now, definition.bind_throughput));
                provider.definition = Some(definition.clone());
                let mark = provider.mark();
                if new {
                    self.record_name(NameKind::Provider, u32::from(index), &definition.id, mark);
                }
            }
        }
        self.counters.providers.resize_with(usize::from(self.providers.count()), Default::default);
    }

    pub(crate) fn bind_up(&mut self, provider: u16, bind: u16, connection: ConnectionId, window: u32) {
        let now = self.now.mono;
        self.reclaim(provider, bind);
        let Some(entry) = self.providers.get_mut(provider) else { return };
        let place = usize::from(bind);
        if entry.binds.len() <= place {
            entry.binds.resize_with(place + 1, Bind::default);
        }
        let bind = &mut entry.binds[place];
        bind.connection = Some(connection);
        bind.window = window.max(1);
        bind.asked = 0;
        bind.limit(now, entry.definition.as_ref().map_or(0, |definition| definition.bind_throughput));
        if entry.up_since.is_none() {
            entry.up_since = Some(now);
            entry.given_up = false;
            let wait =
                entry.definition.as_ref().map_or(Duration::ZERO, |definition| definition.in_doubt_wait);
            if now.since(entry.down_since) >= wait * OUTAGE {
                entry.up_before_outage = entry.up_before;
            }
            for number in std::mem::take(&mut entry.doubtful) {
                self.mono_dues.insert(now.0, DueKind::Doubt as u8, number);
            }
            self.look_at_queued_for_others(provider);
        }
    }

    /// Its connection stays for what is in flight, with no place for more.
    pub(crate) fn bind_rests(&mut self, provider: u16, bind: u16) {
        if let Some(bind) = self.providers.bind_mut(provider, bind) {
            bind.window = 0;
        }
    }

    /// Hands out what every provider's windows and rates allow.
    pub(crate) fn dispatch(&mut self) {
        if self.draining.is_some() {
            self.providers.list.iter_mut().for_each(|provider| provider.wake = None);
            return;
        }
        for index in 0..self.providers.count() {
            self.queue_returned(index);
            self.dispatch_to(index);
        }
    }

    /// What came back in this turn has its place in a queue before any of it can be parked, where only the queue knows it.
    pub(crate) fn queue_all_returned(&mut self) {
        for index in 0..self.providers.count() {
            self.queue_returned(index);
        }
    }

    fn queue_returned(&mut self, index: u16) {
        let Some(provider) = self.providers.get_mut(index) else { return };
        for number in std::mem::take(&mut provider.returned) {
            let is_here = |message: &&Message| message.provider == index && message.state == State::Queued;
            if let Some(message) = self.pages.get(number).filter(is_here) {
                provider.queue.push(message.tenant, message.priority, number, waiting_parts(message));
            }
        }
    }

    fn dispatch_to(&mut self, index: u16) {
        let now = self.now.mono;
        let mut taken = Vec::new();
        // Since something was last sent, a lane was given its bind and sent nothing: when the rate allows it.
        let mut stuck: Option<Option<Mono>> = None;
        let mut first = self.providers.get_mut(index).and_then(|provider| provider.start_waiting_lanes(now));
        loop {
            let is_enabled = self.providers.is_enabled(index);
            let Some(provider) = self.providers.get_mut(index) else { return };
            provider.wake = None;
            if !is_enabled {
                return;
            }
            if self.surgery.is_used_up() {
                provider.wake = Some(Mono(now.0 + AGAIN_MICROS));
                return;
            }
            self.send_asks(index);
            let Engine { providers, pages, parking, settings, .. } = &mut *self;
            let Some(provider) = providers.get_mut(index).filter(|provider| !provider.queue.is_empty())
            else {
                return;
            };
            taken.clear();
            let asked = match (stuck, first.take()) {
                (Some(_), _) => None,
                (None, Some(bind)) => Some(bind),
                (None, None) => provider.start_lane_with_room(now),
            };
            let may_go = |binds: &[Bind], bind: usize, number: u64| match pages.get(number) {
                Some(message) => !message.is_own_part || own_bind(binds, message) == Some(bind),
                None => !parking.is_away(number),
            };
            let bind = provider.take_run(now, settings.high_percent, asked, may_go, &mut taken);
            self.note_stops(index);
            if let Some(bind) = bind {
                stuck = None;
                self.pages.fetch(taken.iter().map(|one| one.number));
                for one in &taken {
                    self.intend(index, bind, one);
                }
                self.read_further(index, &taken);
                continue;
            }
            let Some(provider) = self.providers.get_mut(index) else { return };
            if asked.is_some() {
                stuck = Some(provider.wake);
            } else if stuck.is_some() || provider.lane_with_room(now).is_none() {
                return provider.wake_for_lanes(now, stuck.flatten());
            }
        }
    }

    /// Lanes have stopped: at a parked message, which is read back, or at a tenant's own part that goes over another bind. Nothing of the
    /// same tenant and priority overtakes either.
    fn note_stops(&mut self, index: u16) {
        let Engine { providers, pages, .. } = &mut *self;
        let Some(provider) = providers.get_mut(index) else { return };
        let mut away = Vec::new();
        for stop in provider.queue.take_stops() {
            match pages.get(stop.number) {
                Some(message) => {
                    let bind = own_bind(&provider.binds, message).unwrap_or(0);
                    let Taken { tenant, priority, .. } = stop;
                    provider.waits_for_bind.push(WaitsForBind { tenant, priority, bind });
                }
                None => away.push(stop),
            }
        }
        for stop in away {
            self.read_for(index, &stop);
        }
    }

    /// The intent of one message, or of so many parts of it as go together, and these on their way to the bind. The rest is queued again
    /// when they are answered.
    fn intend(&mut self, index: u16, bind: usize, taken: &Taken) {
        let (now, number) = (self.now, taken.number);
        if self.surgery.is_active() && self.intercepted(index, number) {
            return;
        }
        let Some(message) = self.pages.get(number) else { return };
        if message.state != State::Queued || message.provider != index {
            return;
        }
        if self.is_over(message) {
            self.step(number, &Step::Expired);
            return;
        }
        if self.tenants.refusal(message.tenant, now.wall).is_some() {
            self.step(number, &Step::Held { cause: HoldCause::Tenant });
            return;
        }
        let attempt = message.next_attempt();
        let waiting = waiting_parts(message);
        let Some(provider) = self.providers.get_mut(index) else { return };
        let Some(connection) = provider.binds.get(bind).and_then(|bind| bind.connection) else { return };
        let definition = provider.definition.as_ref();
        let is_whole = taken.parts >= waiting || parts::goes_as_one(message, definition);
        let parts = if is_whole { waiting } else { taken.parts };
        self.effects.is_urgent = true;
        parts::write(message, parts, definition, now.wall, self.effects.outgoing(connection));
        // Where all goes as one it is one request, which never costs more than can be there.
        let tokens = u32::from(taken.parts.min(waiting));
        self.has_leaving |= provider.take_tokens(now.mono, bind, tokens, self.groups_taken);
        provider.parts_since_ask = provider.parts_since_ask.saturating_add(tokens);
        if let Some(counters) = self.counters.providers.get_mut(usize::from(index)) {
            counters.submitted += u64::from(parts);
        }
        let parts = if is_whole { ALL_PARTS } else { parts };
        self.step(number, &Step::Intent { attempt, provider: index, bind: bind as u16, parts });
    }

    /// What has left counts for the rates from when it did.
    pub(crate) fn parts_left(&mut self, released: Released) {
        if !self.has_leaving {
            return;
        }
        self.has_leaving = false;
        for provider in &mut self.providers.list {
            provider.parts_left(released);
            self.has_leaving |= !provider.leaving.is_empty();
        }
    }

    /// Whether the time in which it may be sent has ended.
    pub(crate) fn is_over(&self, message: &Message) -> bool {
        self.valid_until(message) <= self.now.wall
    }
}
