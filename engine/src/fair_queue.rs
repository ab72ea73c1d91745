//! The order in which one provider's waiting messages are sent (P5): priorities by shares, tenants in turn inside each.
//! It does not know whether a message still wants to be sent: whoever takes a number checks.
//!
//! Priorities share by rounds: each has its share of parts a round, the highest that has some left goes first, and a
//! new round begins when none that waits has any. Inside a priority, tenants are served by deficit round robin
//! (Shreedhar and Varghese, 1996) with a quantum of parts; one tenant's messages are in the order of their numbers, whenever
//! they come. A lane whose oldest message is not in memory stops, and only it: it has no turn until it is started again.

mod lane;

use std::collections::VecDeque;

use crate::submission::Priority;

use lane::{Entry, Lane};

/// Parts that a tenant may send in its turn.
pub const QUANTUM_PARTS: u32 = 8;

const PRIORITIES: usize = 3;
const NO_LANE: u32 = u32::MAX;

/// A number taken from the queue to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub number: u64,
    pub tenant: u32,
    pub priority: Priority,
    pub parts: u8,
}

#[derive(Clone, Debug)]
pub struct FairQueue {
    classes: [Class; PRIORITIES],
    quantum: i64,
    /// What lanes have stopped at and nobody has been told of yet.
    stops: Vec<Taken>,
}

/// One priority: its lanes, whose turn it is, and what is left of its share.
#[derive(Clone, Debug)]
struct Class {
    /// The lane of each tenant that has something waiting.
    lane_of_tenant: Vec<u32>,
    lanes: Vec<Lane>,
    free: Vec<u32>,
    /// The lanes that wait and have not stopped.
    turns: VecDeque<u32>,
    messages: usize,
    share: i64,
    left: i64,
}

impl FairQueue {
    /// `shares` of high, normal and low; a share of nothing counts as one.
    pub fn new(shares: [u32; PRIORITIES], quantum_parts: u32) -> FairQueue {
        let [high, normal, low] = shares.map(Class::new);
        FairQueue {
            classes: [low, normal, high],
            quantum: i64::from(quantum_parts.max(1)),
            stops: Vec::new(),
        }
    }

    /// Changes the shares from the next round on.
    pub fn set_shares(&mut self, shares: [u32; PRIORITIES]) {
        for (class, share) in self.classes.iter_mut().rev().zip(shares) {
            class.share = i64::from(share.max(1));
        }
    }

    /// Puts a message in its place in its tenant's line. One that is there already stays there.
    pub fn push(&mut self, tenant: u32, priority: Priority, number: u64, parts: u8) {
        let class = &mut self.classes[priority as usize];
        let place = class.lane_or_new(tenant);
        let lane = &mut class.lanes[place as usize];
        if lane.is_empty() {
            class.turns.push_back(place);
        }
        class.messages += usize::from(lane.push(Entry::new(number, parts)));
    }

    /// A message leaves before its turn. Whether it was there.
    pub fn remove(&mut self, tenant: u32, priority: Priority, number: u64) -> bool {
        let class = &mut self.classes[priority as usize];
        let Some(place) = class.lane_of(tenant) else { return false };
        let lane = &mut class.lanes[place as usize];
        if !lane.remove(number) {
            return false;
        }
        class.messages -= 1;
        if lane.is_empty() {
            class.turns.retain(|turn| *turn != place);
            class.end_lane(place);
        }
        true
    }

    /// Appends to `out` what may be sent for `credit` parts. The last `reserve_for_high` of the credit are not touched
    /// while no `high` message waits, so that one that comes finds them; while one waits, the shares decide. A lane whose
    /// oldest message `is_here` denies stops.
    ///
    /// A message larger than the credit left ends the taking, and nothing overtakes it: it goes when credit has
    /// gathered. Of one larger than `most`, the most parts that can ever go together, so many are taken, and counted: who sends them
    /// puts it back for the rest.
    pub fn take(
        &mut self,
        credit: u32,
        reserve_for_high: u32,
        most: u8,
        is_here: impl Fn(u64) -> bool,
        out: &mut Vec<Taken>,
    ) {
        let mut left = credit;
        while let Some((priority, parts)) = self.peek(most, &is_here) {
            let high_waits = !self.classes[Priority::High as usize].turns.is_empty();
            let usable = if high_waits { left } else { left.saturating_sub(reserve_for_high) };
            if parts > usable {
                return;
            }
            left -= parts;
            out.push(self.take_head(priority, most));
        }
    }

    /// Priority and parts of what is next in the fair order.
    pub fn peek(&mut self, most: u8, is_here: impl Fn(u64) -> bool) -> Option<(Priority, u32)> {
        let (priority, entry) = self.next(most, &is_here)?;
        Some((priority, u32::from(entry.parts().min(most))))
    }

    /// What lanes have stopped at since it was last asked.
    pub fn take_stops(&mut self) -> Vec<Taken> {
        std::mem::take(&mut self.stops)
    }

    /// A lane that stopped goes on, with what it had left of its turn.
    pub fn start(&mut self, tenant: u32, priority: Priority) {
        let class = &mut self.classes[priority as usize];
        let Some(place) = class.lane_of(tenant) else { return };
        if std::mem::take(&mut class.lanes[place as usize].stopped) {
            class.turns.push_front(place);
        }
    }

    /// The numbers that wait in one tenant's line, the oldest first.
    pub fn line(&self, tenant: u32, priority: Priority) -> impl Iterator<Item = u64> + '_ {
        self.lane(tenant, priority).into_iter().flat_map(Lane::numbers)
    }

    /// A number that waits about so many places behind the first of a tenant's line.
    pub fn ahead(&self, tenant: u32, priority: Priority, places: usize) -> Option<u64> {
        self.lane(tenant, priority)?.ahead(places)
    }

    /// All that waits.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.classes.iter().flat_map(|class| &class.lanes).flat_map(Lane::numbers)
    }

    /// Messages waiting.
    pub fn len(&self) -> usize {
        self.classes.iter().map(|class| class.messages).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn len_of(&self, priority: Priority) -> usize {
        self.classes[priority as usize].messages
    }

    fn lane(&self, tenant: u32, priority: Priority) -> Option<&Lane> {
        let class = &self.classes[priority as usize];
        Some(&class.lanes[class.lane_of(tenant)? as usize])
    }

    /// The message that is next in the fair order: the oldest of the lane whose turn it is. Lanes whose turn it would be and whose
    /// oldest is not here stop.
    fn next(&mut self, most: u8, is_here: impl Fn(u64) -> bool) -> Option<(Priority, Entry)> {
        loop {
            let priority = self.next_class()?;
            let class = &mut self.classes[priority as usize];
            let entry = class.next(self.quantum, most);
            if is_here(entry.number()) {
                return Some((priority, entry));
            }
            let Some(place) = class.turns.pop_front() else { continue };
            let lane = &mut class.lanes[place as usize];
            lane.stopped = true;
            let (number, tenant, parts) = (entry.number(), lane.tenant, entry.parts());
            self.stops.push(Taken { number, tenant, priority, parts });
        }
    }

    /// The highest priority that waits and has something left of its share; begins rounds until there is one.
    fn next_class(&mut self) -> Option<Priority> {
        if self.classes.iter().all(|class| class.turns.is_empty()) {
            return None;
        }
        loop {
            for priority in [Priority::High, Priority::Normal, Priority::Low] {
                let class = &self.classes[priority as usize];
                if !class.turns.is_empty() && class.left > 0 {
                    return Some(priority);
                }
            }
            // A message of many parts may have overdrawn the share of its round; it is paid back here.
            for class in &mut self.classes {
                class.left = (class.left + class.share).min(class.share);
            }
        }
    }

    /// Takes the oldest message of the lane whose turn it is, or so many parts of it.
    fn take_head(&mut self, priority: Priority, most: u8) -> Taken {
        let (tenant, entry) = self.classes[priority as usize].take_head(most);
        Taken { number: entry.number(), tenant, priority, parts: entry.parts().min(most) }
    }
}

impl Class {
    fn new(share: u32) -> Class {
        let share = i64::from(share.max(1));
        Class {
            lane_of_tenant: Vec::new(),
            lanes: Vec::new(),
            free: Vec::new(),
            turns: VecDeque::new(),
            messages: 0,
            share,
            left: share,
        }
    }

    fn lane_of(&self, tenant: u32) -> Option<u32> {
        self.lane_of_tenant.get(tenant as usize).copied().filter(|place| *place != NO_LANE)
    }

    fn lane_or_new(&mut self, tenant: u32) -> u32 {
        let index = tenant as usize;
        if index >= self.lane_of_tenant.len() {
            self.lane_of_tenant.resize(index + 1, NO_LANE);
        }
        if self.lane_of_tenant[index] == NO_LANE {
            let place = self.free.pop().unwrap_or_else(|| {
                self.lanes.push(Lane::default());
                (self.lanes.len() - 1) as u32
            });
            self.lanes[place as usize].tenant = tenant;
            self.lane_of_tenant[index] = place;
        }
        self.lane_of_tenant[index]
    }

    /// Passes the turn on until a tenant can afford its oldest message, or so many parts of it.
    fn next(&mut self, quantum: i64, most: u8) -> Entry {
        loop {
            let lane = &mut self.lanes[self.turns[0] as usize];
            let entry = lane.head().expect("only lanes that wait have turns");
            if !lane.in_turn {
                lane.in_turn = true;
                lane.deficit += quantum;
            }
            if i64::from(entry.parts().min(most)) <= lane.deficit {
                return entry;
            }
            lane.in_turn = false;
            self.turns.rotate_left(1);
        }
    }

    /// Takes the oldest message of the lane whose turn it is, with its tenant.
    fn take_head(&mut self, most: u8) -> (u32, Entry) {
        let place = self.turns[0];
        let lane = &mut self.lanes[place as usize];
        let entry = lane.pop().expect("only lanes that wait have turns");
        let tenant = lane.tenant;
        let parts = i64::from(entry.parts().min(most));
        lane.deficit -= parts;
        self.left -= parts;
        self.messages -= 1;
        if lane.is_empty() {
            self.turns.pop_front();
            self.end_lane(place);
        }
        (tenant, entry)
    }

    /// A tenant without any message keeps no lane.
    fn end_lane(&mut self, place: u32) {
        let lane = &mut self.lanes[place as usize];
        lane.end();
        self.lane_of_tenant[lane.tenant as usize] = NO_LANE;
        self.free.push(place);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use proptest::prelude::*;

    const ALL: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

    fn queue() -> FairQueue {
        FairQueue::new([16, 4, 1], QUANTUM_PARTS)
    }

    fn taken(queue: &mut FairQueue, credit: u32, reserve_for_high: u32) -> Vec<Taken> {
        let mut out = Vec::new();
        queue.take(credit, reserve_for_high, u8::MAX, |_| true, &mut out);
        out
    }

    /// What is next, or so many parts of it.
    fn next(queue: &mut FairQueue, most: u8, is_here: impl Fn(u64) -> bool) -> Vec<Taken> {
        let mut out = Vec::new();
        queue.take(u32::from(most), 0, most, is_here, &mut out);
        out
    }

    fn put_back(queue: &mut FairQueue, unsent: &[Taken]) {
        unsent.iter().for_each(|one| queue.push(one.tenant, one.priority, one.number, one.parts));
    }

    fn numbers(taken: &[Taken]) -> Vec<u64> {
        taken.iter().map(|taken| taken.number).collect()
    }

    #[test]
    fn one_tenants_messages_keep_their_order() {
        let mut queue = queue();
        (0..5).for_each(|number| queue.push(1, Priority::Normal, number, 1));
        let first = taken(&mut queue, 3, 0);
        assert_eq!(numbers(&first), [0, 1, 2]);
        put_back(&mut queue, &first[2..]);
        put_back(&mut queue, &first[1..2]);
        assert_eq!(numbers(&taken(&mut queue, 10, 0)), [1, 2, 3, 4]);
        assert!(queue.is_empty());
    }

    #[test]
    fn the_reserve_is_kept_until_a_high_message_comes() {
        let mut queue = queue();
        (0..20).for_each(|number| queue.push(1, Priority::Normal, number, 1));
        assert_eq!(taken(&mut queue, 10, 3).len(), 7);
        assert_eq!(taken(&mut queue, 3, 3).len(), 0);
        queue.push(2, Priority::High, 100, 2);
        assert_eq!(numbers(&taken(&mut queue, 3, 3)), [100]);
    }

    #[test]
    fn shares_decide_while_every_priority_waits() {
        let mut queue = queue();
        for number in 0..100 {
            ALL.iter().for_each(|priority| queue.push(number as u32 % 3, *priority, number, 1));
        }
        for _ in 0..4 {
            let round = taken(&mut queue, 21, 20);
            let of = |priority| round.iter().filter(|taken| taken.priority == priority).count();
            assert_eq!(ALL.map(of), [16, 4, 1]);
        }
        queue.set_shares([1, 1, 1]);
        let evened = taken(&mut queue, 21 + 9, 0);
        let last = &evened[21..];
        assert_eq!(
            ALL.map(|priority| last.iter().filter(|taken| taken.priority == priority).count()),
            [3, 3, 3]
        );
    }

    #[test]
    fn nothing_overtakes_a_message_that_waits_for_credit() {
        let mut queue = queue();
        queue.push(1, Priority::Normal, 1, 5);
        queue.push(2, Priority::Normal, 2, 1);
        queue.push(3, Priority::Low, 3, 1);
        assert_eq!(taken(&mut queue, 4, 0), []);
        assert_eq!(taken(&mut queue, 6, 2), []);
        assert_eq!(numbers(&taken(&mut queue, 5, 0)), [1]);
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn of_a_message_larger_than_goes_together_so_many_parts_are_taken_and_counted() {
        let mut queue = queue();
        queue.push(1, Priority::Low, 1, 255);
        assert_eq!(next(&mut queue, 254, |_| false), []);
        queue.start(1, Priority::Low);
        assert_eq!(taken(&mut queue, 254, 0), []);
        let expected = Taken { number: 1, tenant: 1, priority: Priority::Low, parts: 9 };
        assert_eq!(next(&mut queue, 9, |_| true), [expected]);
        assert!(queue.is_empty());
        // Who sends large ones in pieces sends no more than others.
        let mut sent = [0u32; 3];
        (0..400).for_each(|number| queue.push(2, Priority::Normal, 1_000 + number, 1));
        queue.push(1, Priority::Normal, 1, 200);
        while sent[1] < 100 {
            for taken in next(&mut queue, 3, |_| true) {
                sent[taken.tenant as usize] += u32::from(taken.parts);
                if taken.tenant == 1 {
                    queue.push(1, Priority::Normal, 1, 200);
                }
            }
        }
        assert!(sent[1] <= sent[2] + QUANTUM_PARTS, "{sent:?}");
    }

    #[test]
    fn nobody_saves_up_a_claim_while_idle() {
        let mut queue = queue();
        for number in 0..50 {
            queue.push(1, Priority::Normal, number, 1);
            taken(&mut queue, 1, 0);
        }
        for number in 0..100 {
            queue.push(1, Priority::Normal, number, 1);
            queue.push(2, Priority::Normal, number, 1);
            queue.push(3, Priority::High, number, 1);
        }
        let both = taken(&mut queue, 60, 0);
        let of = |tenant| both.iter().filter(|taken| taken.tenant == tenant).count();
        // The round that had begun has 16 and 2 parts left; then two rounds of 16 and 4, and 2 parts of a third. Tenant 1
        // has its turn of 8 and no more.
        assert_eq!((of(1), of(2), of(3)), (8, 2, 50));
    }

    #[test]
    fn tenants_that_have_nothing_left_keep_no_memory() {
        let mut queue = queue();
        for round in 0..3 {
            for number in 0..999 {
                queue.push(number as u32 + round, ALL[number as usize % 3], number, 1);
            }
            taken(&mut queue, u32::MAX, 0);
            for class in &queue.classes {
                assert_eq!((class.lanes.len(), class.free.len()), (333, 333));
            }
        }
        (0..10_000).for_each(|number| queue.push(0, Priority::Normal, number, 1));
        taken(&mut queue, u32::MAX, 0);
        let lanes = queue.classes.iter().flat_map(|class| &class.lanes);
        assert!(lanes.map(Lane::room).max() < Some(2 * lane::KEPT_CAPACITY));
    }

    #[test]
    fn what_leaves_before_its_turn_is_gone_and_nothing_else() {
        let mut queue = queue();
        for number in 0..30 {
            queue.push(number as u32 % 4, ALL[number as usize % 3], number, 1);
        }
        let stays = |number: &u64| number % 4 != 1 && *number < 20;
        for number in (0..30u64).filter(|number| !stays(number)) {
            queue.remove(number as u32 % 4, ALL[number as usize % 3], number);
            queue.remove(number as u32 % 4, ALL[number as usize % 3], number);
        }
        assert_eq!(ALL.iter().map(|priority| queue.len_of(*priority)).sum::<usize>(), 15);
        let mut left = numbers(&taken(&mut queue, 100, 0));
        left.sort_unstable();
        assert_eq!(left, (0..20).filter(stays).collect::<Vec<u64>>());
    }

    #[test]
    fn a_lane_whose_oldest_is_away_stops_and_the_others_go_on() {
        let mut queue = queue();
        for number in 0..20 {
            queue.push(1, Priority::Normal, number, 1);
            queue.push(1, Priority::High, 100 + number, 1);
            queue.push(2, Priority::Normal, 200 + number, 1);
        }
        let mut out = Vec::new();
        queue.take(100, 0, u8::MAX, |number| number != 3, &mut out);
        let of = |tenant, priority| {
            let taken = out.iter().filter(|taken| (taken.tenant, taken.priority) == (tenant, priority));
            taken.map(|taken| taken.number).collect::<Vec<u64>>()
        };
        assert_eq!(of(1, Priority::Normal), [0, 1, 2]);
        assert_eq!(of(1, Priority::High), (100..120).collect::<Vec<u64>>());
        assert_eq!(of(2, Priority::Normal), (200..220).collect::<Vec<u64>>());
        let stop = Taken { number: 3, tenant: 1, priority: Priority::Normal, parts: 1 };
        assert_eq!((queue.take_stops(), queue.len()), (vec![stop], 17));
        // It stays so, and is not told again, until it is started.
        assert_eq!((next(&mut queue, 1, |_| true), queue.take_stops()), (vec![], vec![]));
        queue.start(1, Priority::Normal);
        assert_eq!(numbers(&taken(&mut queue, 100, 0)), (3..20).collect::<Vec<u64>>());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u32, Priority, u8),
        Take(u32, u32),
        TakeNext(u8),
        Return(usize),
        Remove(u64),
        /// What a number divides is away, until all comes back.
        Leave(u64),
        Come,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let parts = prop_oneof![5 => 0u8..4, 1 => any::<u8>()];
        let step = prop_oneof![
            6 => (0u32..4, prop::sample::select(&ALL[..]), parts).prop_map(|(tenant, priority, parts)| Step::Push(tenant, priority, parts)),
            2 => (0u32..40, 0u32..10).prop_map(|(credit, reserve)| Step::Take(credit, reserve)),
            1 => (1u8..).prop_map(Step::TakeNext),
            1 => (0usize..4).prop_map(Step::Return),
            1 => (2u64..5).prop_map(Step::Remove),
            1 => (2u64..9).prop_map(Step::Leave),
            1 => Just(Step::Come),
        ];
        prop::collection::vec(step, 0..150)
    }

    /// What waits, by tenant and priority, in order, and which of these lanes have stopped.
    #[derive(Default)]
    struct Model {
        lanes: BTreeMap<(u32, Priority), VecDeque<(u64, u8)>>,
        stopped: BTreeSet<(u32, Priority)>,
        away: BTreeSet<u64>,
    }

    impl Model {
        fn lane(&mut self, tenant: u32, priority: Priority) -> &mut VecDeque<(u64, u8)> {
            self.lanes.entry((tenant, priority)).or_default()
        }

        fn waiting_of(&self, priority: Priority) -> usize {
            self.lanes.iter().filter(|(key, _)| key.1 == priority).map(|(_, lane)| lane.len()).sum()
        }

        /// Whether something of the priority waits in a lane that has not stopped.
        fn may_go(&self, priority: Priority) -> bool {
            self.lanes
                .iter()
                .any(|(key, lane)| key.1 == priority && !lane.is_empty() && !self.stopped.contains(key))
        }

        /// Whether `taken` was the oldest of its lane, or so many parts of it, and could be.
        fn take(&mut self, taken: &Taken, most: u8) -> bool {
            let key = (taken.tenant, taken.priority);
            let may = !self.away.contains(&taken.number) && !self.stopped.contains(&key);
            let first = self.lane(key.0, key.1).pop_front();
            may && first.map(|(number, parts)| (number, parts.min(most))) == Some((taken.number, taken.parts))
        }

        /// Whether `stop` is the oldest of its lane, and away.
        fn stop(&mut self, stop: &Taken) -> bool {
            let key = (stop.tenant, stop.priority);
            let head = self.lane(key.0, key.1).front().copied();
            self.stopped.insert(key)
                && self.away.contains(&stop.number)
                && head == Some((stop.number, stop.parts))
        }

        /// A lane that becomes empty starts anew.
        fn tidy(&mut self) {
            let Model { lanes, stopped, .. } = self;
            stopped.retain(|key| lanes.get(key).is_some_and(|lane| !lane.is_empty()));
        }

        fn come(&mut self, queue: &mut FairQueue) {
            self.away.clear();
            for (tenant, priority) in std::mem::take(&mut self.stopped) {
                queue.start(tenant, priority);
            }
        }
    }

    /// The ideal that the queue comes near: every tenant that waits is served at the same time with the same share.
    #[derive(Default)]
    struct Fluid {
        waiting: [f64; 6],
        served: [f64; 6],
    }

    impl Fluid {
        fn serve(&mut self, mut parts: f64) {
            while parts > 1e-9 {
                let waiting: Vec<usize> = (0..6).filter(|tenant| self.waiting[*tenant] > 1e-9).collect();
                let least = waiting.iter().map(|tenant| self.waiting[*tenant]).fold(f64::MAX, f64::min);
                let share = least.min(parts / waiting.len() as f64);
                for tenant in &waiting {
                    self.waiting[*tenant] -= share;
                    self.served[*tenant] += share;
                }
                parts -= share * waiting.len() as f64;
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Traffic {
        Arrive(usize, Vec<u8>),
        Send(u32),
    }

    fn traffic(largest: u8) -> impl Strategy<Value = Vec<Traffic>> {
        let many = prop_oneof![3 => 1usize..3, 1 => 1usize..60];
        let messages = many.prop_flat_map(move |count| prop::collection::vec(1u8..=largest, count));
        let arrive = (0usize..6, messages);
        let step = prop_oneof![
            2 => arrive.prop_map(|(tenant, parts)| Traffic::Arrive(tenant, parts)),
            2 => (1u32..20).prop_map(Traffic::Send),
            1 => (1u32..120).prop_map(Traffic::Send),
        ];
        prop::collection::vec(step, 1..400)
    }

    proptest! {
        /// However they come and go, nobody is ever further from the ideal than two turns and two of the largest messages.
        #[test]
        fn nobody_lags_behind_the_ideal_share(steps in (1u8..20).prop_flat_map(traffic)) {
            let (mut queue, mut fluid) = (queue(), Fluid::default());
            let (mut served, mut number, mut most) = ([0.0; 6], 0, 1u8);
            for step in steps {
                match step {
                    Traffic::Arrive(tenant, messages) => {
                        for parts in messages {
                            queue.push(tenant as u32, Priority::Normal, number, parts);
                            fluid.waiting[tenant] += f64::from(parts);
                            number += 1;
                            most = most.max(parts);
                        }
                    }
                    Traffic::Send(credit) => {
                        for taken in taken(&mut queue, credit, 0) {
                            served[taken.tenant as usize] += f64::from(taken.parts);
                            fluid.serve(f64::from(taken.parts));
                            for (tenant, served) in served.iter().enumerate() {
                                let lag = fluid.served[tenant] - served;
                                let bound = 2.0 * (f64::from(QUANTUM_PARTS) + f64::from(most));
                                prop_assert!(lag.abs() <= bound, "tenant {tenant} lags {lag} parts, largest {most}");
                            }
                        }
                    }
                }
            }
        }

        #[test]
        fn nothing_is_lost_doubled_reordered_or_taken_without_credit(steps in steps()) {
            let (mut queue, mut model) = (queue(), Model::default());
            let mut last: Vec<Taken> = Vec::new();
            for (number, step) in (0u64..).zip(steps) {
                match step {
                    Step::Push(tenant, priority, parts) => {
                        queue.push(tenant, priority, number, parts);
                        model.lane(tenant, priority).push_back((number, parts.max(1)));
                    }
                    Step::Take(credit, reserve) => {
                        last.clear();
                        queue.take(credit, reserve, u8::MAX, |number| !model.away.contains(&number), &mut last);
                        let mut left = credit;
                        for taken in &last {
                            let kept = if model.waiting_of(Priority::High) > 0 { 0 } else { reserve };
                            prop_assert!(u32::from(taken.parts) + kept <= left);
                            left -= u32::from(taken.parts);
                            prop_assert!(model.take(taken, u8::MAX), "{taken:?}");
                        }
                    }
                    Step::TakeNext(most) => {
                        last = next(&mut queue, most, |number| !model.away.contains(&number));
                        prop_assert!(last.iter().all(|taken| model.take(taken, most)));
                    }
                    Step::Return(keep) => {
                        let mut unsent = last.split_off(keep.min(last.len()));
                        // In any order: over several binds they come back as they come.
                        unsent.sort_by_key(|taken| taken.number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                        put_back(&mut queue, &unsent);
                        for taken in unsent {
                            let lane = model.lane(taken.tenant, taken.priority);
                            let place = lane.partition_point(|entry| entry.0 < taken.number);
                            lane.insert(place, (taken.number, taken.parts));
                        }
                    }
                    Step::Remove(divisor) => {
                        for ((tenant, priority), lane) in &mut model.lanes {
                            let gone = lane.iter().filter(|entry| entry.0.is_multiple_of(divisor));
                            gone.for_each(|(number, _)| assert!(queue.remove(*tenant, *priority, *number)));
                            lane.retain(|entry| !entry.0.is_multiple_of(divisor));
                        }
                        last.clear();
                    }
                    Step::Leave(divisor) => {
                        model.away = queue.numbers().filter(|number| number.is_multiple_of(divisor)).collect();
                    }
                    Step::Come => model.come(&mut queue),
                }
                for stop in queue.take_stops() {
                    prop_assert!(model.stop(&stop), "{stop:?}");
                }
                model.tidy();
                if matches!(step, Step::TakeNext(_)) && last.is_empty() {
                    prop_assert!(ALL.iter().all(|priority| !model.may_go(*priority)), "something that is here waits");
                }
                for priority in ALL {
                    prop_assert_eq!(queue.len_of(priority), model.waiting_of(priority));
                }
            }
            model.come(&mut queue);
            let rest = taken(&mut queue, u32::MAX, 0);
            prop_assert!(rest.iter().all(|taken| model.take(taken, u8::MAX)));
            prop_assert!(queue.is_empty() && model.lanes.values().all(VecDeque::is_empty));
        }

        #[test]
        fn of_two_busy_tenants_none_gets_ahead(
            parts in prop::collection::vec((1u8..20, 1u8..20), 200), credits in prop::collection::vec(1u32..60, 1..40),
        ) {
            let mut queue = queue();
            for (number, (one, other)) in (0..).zip(&parts) {
                queue.push(1, Priority::Normal, number, *one);
                queue.push(2, Priority::Normal, number, *other);
            }
            let mut sent = [0i64; 3];
            for credit in credits {
                for taken in taken(&mut queue, credit, 0) {
                    sent[taken.tenant as usize] += i64::from(taken.parts);
                    let largest = 19;
                    let busy = sent.iter().all(|parts| *parts < 180);
                    prop_assert!(!busy || (sent[1] - sent[2]).abs() <= i64::from(QUANTUM_PARTS) + largest);
                }
            }
        }

        #[test]
        fn a_quiet_tenants_message_is_taken_within_one_round(
            busy in 1u32..20, before in 0u32..500, parts in 1u8..=QUANTUM_PARTS as u8,
        ) {
            let mut queue = queue();
            for number in 0..1_000u64 {
                (0..busy).for_each(|tenant| queue.push(tenant, Priority::Normal, number, 1));
            }
            taken(&mut queue, before, 0);
            queue.push(busy, Priority::Normal, 5_000, parts);
            let round = taken(&mut queue, busy * QUANTUM_PARTS + u32::from(parts), 0);
            prop_assert!(round.iter().any(|taken| taken.tenant == busy));
        }

        #[test]
        fn a_high_message_goes_before_a_backlog(backlog in 1u64..200, before in 0u32..100, parts in 1u8..20) {
            let mut queue = queue();
            for number in 0..backlog {
                queue.push(0, Priority::Normal, number, 1);
                queue.push(1, Priority::Low, number, 1);
            }
            taken(&mut queue, before, 0);
            queue.push(2, Priority::High, 1_000, parts);
            prop_assert_eq!(numbers(&next(&mut queue, parts, |_| true)), [1_000]);
        }

        #[test]
        fn priorities_keep_their_shares_within_one_round(
            parts in prop::collection::vec(1u8..12, 600), credits in prop::collection::vec(1u32..100, 1..30),
        ) {
            let mut queue = queue();
            for (number, parts) in (0..).zip(&parts) {
                ALL.iter().for_each(|priority| queue.push(number as u32 % 5, *priority, number, *parts));
            }
            let mut sent = [0i64; 3];
            for credit in credits {
                for taken in taken(&mut queue, credit, 0) {
                    sent[taken.priority as usize] += i64::from(taken.parts);
                    // Each priority's rounds, in units of its share: nobody is a round and one message ahead of another.
                    let [low, normal, high] = sent;
                    if queue.len_of(Priority::High) > 0 {
                        prop_assert!((high - 16 * low).abs() <= 16 * 12 + 16, "{sent:?}");
                        prop_assert!((high - 4 * normal).abs() <= 4 * 12 + 16, "{sent:?}");
                    }
                }
            }
        }
    }
}
