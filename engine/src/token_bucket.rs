//! A token bucket that sends evenly: what flows in is there at once, but of a burst only what has gathered slowly.
//! It holds no queue, knows no provider and counts in parts.
//!
//! A bucket that simply holds a burst lets it out whenever there was a short pause, so that traffic just below the rate
//! overshoots every few seconds. Here the level holds a hundredth of a second's worth; the rest of the burst lies in a
//! reserve that an idle bucket fills with a ten-thousandth of its rate. A burst of a tenth is there once in a quarter of
//! an hour, and one second in a thousand is more than two hundredths too full. While somebody waits for tokens nothing that
//! flows in is lost: that we look late is our delay.
//!
//! What was taken leaves a moment later, when it is on the disk. Until then it lies in the bucket as if nobody could take it, so that a
//! disk that holds it up for long makes no more come together than gathers in an idle bucket, or than flows in while a usual group
//! is on its way, where that is more: a disk that is always slow costs nothing of the rate.
//!
//! A bucket without a burst lets no second have a part more than its rate: nothing flows in while a part is about to leave, so that
//! each comes its whole time after the one before has left, and a hundredth less flows in, so that it does not matter when one is
//! looked for, or under way, for some milliseconds more than the next.

use std::time::Duration;

use codecs::instant::Mono;

/// One part in the units of a bucket. With rates in thousandths of a part a second and time in microseconds, what
/// flows in is exact: rate × time, and no rounding drifts.
const PART: i64 = 1_000_000_000;
/// The part of a second's worth that is there at once.
const EVEN_SHARE: u64 = 100;
/// How much more than its room the level may hold while something is about to leave: less than a part, so that nothing of a slow
/// rate is lost and no part more comes together.
const NEARLY_A_PART: i64 = PART - 1;
/// The longest time on the way that is taken for a usual one.
const USUAL_MAX: Duration = Duration::from_millis(200);
/// How soon at least tokens are looked for again while something is about to leave: until it has left there may be none.
const LEAVING: Duration = Duration::from_millis(1);
/// The part of its rate that a bucket without a burst does without.
const STRICT_SHARE: u64 = 100;
/// What it keeps of what flows in while it is looked at too late, in microseconds: half of what it does without in a second.
const STRICT_LATE: u64 = 5_000;
/// The part of the rate with which an idle bucket fills its reserve.
const RESERVE_SHARE: i64 = 10_000;

/// The default is no limit.
#[derive(Clone, Debug, Default)]
pub struct TokenBucket {
    /// Thousandths of a part a second; 0: no limit.
    rate: u64,
    /// What was taken and has left is no more in it. Negative after more left than there was.
    level: i64,
    level_max: i64,
    /// What was taken and has not left.
    leaving: i64,
    /// How long what was taken usually takes to leave, smoothed, in microseconds.
    usual: u64,
    reserve: i64,
    reserve_max: i64,
    /// There is no burst.
    is_strict: bool,
    updated: Mono,
    /// Somebody waits for what is not there yet.
    awaited: bool,
}

impl TokenBucket {
    /// `rate` in thousandths of a part a second, 0 for no limit; a burst of 0: no second has a part more than `rate`, which is for
    /// rates at which the time between two parts is long beside a flush. Starts full.
    pub fn new(rate: u64, burst: u32, now: Mono) -> TokenBucket {
        let (level_max, reserve_max) = room(rate, burst);
        TokenBucket {
            rate,
            level: level_max,
            level_max,
            leaving: 0,
            usual: 0,
            reserve: reserve_max,
            reserve_max,
            is_strict: burst == 0,
            updated: now,
            awaited: false,
        }
    }

    /// Thousandths of a part a second; 0: no limit.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// Parts that can gather.
    pub fn capacity(&self) -> u32 {
        if self.rate == 0 { u32::MAX } else { parts(self.level_max + self.reserve_max) }
    }

    /// Whole parts that could be taken now.
    pub fn available(&mut self, now: Mono) -> u32 {
        if self.rate == 0 {
            return u32::MAX;
        }
        self.fill(now);
        parts(self.level + self.reserve - self.leaving)
    }

    /// Takes `parts` whether they are there or not: a debt is waited for.
    /// [`TokenBucket::left`] is to be told when they have left.
    pub fn take_all(&mut self, now: Mono, parts: u32) {
        if self.rate == 0 {
            return;
        }
        self.fill(now);
        self.awaited = false;
        self.leaving += i64::from(parts) * PART;
    }

    /// So many of the parts, taken at that time, have left.
    pub fn left(&mut self, now: Mono, parts: u32, taken: Mono) {
        if self.rate == 0 {
            return;
        }
        self.fill(now);
        let took = now.since(taken).min(USUAL_MAX).as_micros() as u64;
        self.usual = (self.usual * 7 + took) / 8;
        let parts = (i64::from(parts) * PART).min(self.leaving);
        self.leaving -= parts;
        self.level -= parts;
        let missing = (-self.level).clamp(0, self.reserve);
        self.reserve -= missing;
        self.level += missing;
    }

    /// The earliest time at which so many parts, or all that can gather, are there. From now on they are waited for.
    pub fn wait_for(&mut self, now: Mono, parts: u32) -> Mono {
        if self.rate == 0 {
            return now;
        }
        self.fill(now);
        let wanted = i64::from(parts.min(self.capacity())) * PART;
        let missing = u64::try_from(wanted + self.leaving - self.level - self.reserve).unwrap_or(0);
        self.awaited = missing > 0;
        let wait = Duration::from_micros(missing.div_ceil(self.flow()));
        let least = if self.awaited && self.leaving > 0 { LEAVING } else { Duration::ZERO };
        now.after(wait.max(least))
    }

    /// Changes rate and burst; what has gathered stays, as far as there is room for it.
    pub fn set_rate(&mut self, now: Mono, rate: u64, burst: u32) {
        self.fill(now);
        let covered = self.covered();
        self.rate = rate;
        (self.level_max, self.reserve_max) = room(rate, burst);
        self.is_strict = burst == 0;
        self.level = self.level.min(self.level_max);
        self.reserve = self.reserve.min(self.reserve_max);
        self.level += (covered - self.level - self.reserve).max(0);
        if rate == 0 {
            // What leaves is not looked at any more.
            (self.level, self.leaving) = (self.level_max, 0);
        }
    }

    /// Forgets what has gathered; a debt stays.
    pub fn empty(&mut self) {
        self.level = self.covered();
        self.reserve = 0;
    }

    /// What flows in, in thousandths of a part a second.
    fn flow(&self) -> u64 {
        if self.is_strict { self.rate - self.rate / STRICT_SHARE } else { self.rate }
    }

    /// What there is for what is about to leave; it was paid when it was taken.
    fn covered(&self) -> i64 {
        (self.level + self.reserve).min(self.leaving)
    }

    fn fill(&mut self, now: Mono) {
        let micros = now.0.saturating_sub(self.updated.0);
        let inflow = i64::try_from(micros.saturating_mul(self.flow())).unwrap_or(i64::MAX);
        let level_max =
            if self.leaving == 0 || self.is_strict { self.level_max } else { self.level_max_leaving() };
        let to_level = inflow.min(level_max - self.level).max(0);
        let over = inflow - to_level;
        let kept = if self.awaited { over } else { over.min(inflow / RESERVE_SHARE) };
        self.level += to_level;
        self.reserve = self.reserve.saturating_add(kept).min(self.reserve_max);
        self.updated = self.updated.max(now);
    }

    /// What the level may hold while something is about to leave.
    fn level_max_leaving(&self) -> i64 {
        // Whole parts are on the way, and one is decided.
        let usually = Some((self.usual * self.rate) as i64).filter(|usually| *usually >= PART);
        let on_the_way = usually.map_or(0, |usually| usually + 2 * PART - self.reserve_max);
        on_the_way.max(self.level_max + NEARLY_A_PART)
    }
}

/// What level and reserve may hold.
fn room(rate: u64, burst: u32) -> (i64, i64) {
    if burst == 0 {
        return (PART, (rate * STRICT_LATE) as i64);
    }
    let burst = u64::from(burst);
    let even = (1 + rate / 1_000 / EVEN_SHARE).min(burst);
    // Both fit: a burst has 32 bits, and a part 30.
    (even as i64 * PART, (burst - even) as i64 * PART)
}

fn parts(tokens: i64) -> u32 {
    u32::try_from(tokens.max(0) / PART).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use proptest::prelude::*;

    const START: Mono = Mono(5_000_000);

    fn at(millis: u64) -> Mono {
        Mono(START.0 + millis * 1_000)
    }

    fn bucket(rate: u32, burst: u32) -> TokenBucket {
        TokenBucket::new(u64::from(rate) * 1_000, burst, START)
    }

    impl TokenBucket {
        fn take_up_to(&mut self, now: Mono, wanted: u32) -> u32 {
            let granted = self.available(now).min(wanted);
            self.send(now, granted);
            granted
        }

        fn send(&mut self, now: Mono, parts: u32) {
            self.take_all(now, parts);
            self.left(now, parts, now);
        }
    }

    #[test]
    fn a_bucket_grants_its_burst_and_then_its_rate() {
        let mut bucket = bucket(10, 3);
        assert_eq!(bucket.take_up_to(START, 5), 3);
        assert_eq!(bucket.take_up_to(at(99), 5), 0);
        assert_eq!(bucket.wait_for(at(99), 1), at(100));
        assert_eq!(bucket.take_up_to(at(100), 5), 1);
    }

    #[test]
    fn a_burst_gathers_slowly_when_nobody_waits_and_at_once_when_somebody_does() {
        // seconds of idleness after the burst was used, whether somebody waits meanwhile → parts that are there
        for (seconds, awaited, expected) in [
            (0, false, 0),
            (1, false, 2),
            (100, false, 3),
            (1_000, false, 12),
            (10_000, false, 20),
            (1, true, 20),
        ] {
            let mut bucket = bucket(100, 20);
            assert_eq!(bucket.take_up_to(START, 100), 20);
            if awaited {
                bucket.wait_for(START, 20);
            }
            assert_eq!(bucket.available(at(seconds * 1_000)), expected, "{seconds} {awaited}");
        }
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let mut bucket = bucket(0, 1);
        assert_eq!(bucket.take_up_to(START, u32::MAX), u32::MAX);
        assert_eq!(bucket.take_up_to(START, u32::MAX), u32::MAX);
        assert_eq!((bucket.wait_for(START, 7), bucket.capacity()), (START, u32::MAX));
    }

    #[test]
    fn what_is_taken_in_one_piece_is_waited_for_afterwards() {
        let mut bucket = bucket(10, 1);
        bucket.send(START, 5);
        assert_eq!(bucket.wait_for(START, 1), at(500));
        // No more than gathers is waited for.
        assert_eq!(bucket.wait_for(START, 5), at(500));
        assert_eq!(bucket.available(at(499)), 0);
        assert_eq!(bucket.available(at(500)), 1);
    }

    #[test]
    fn what_leaves_a_moment_after_it_was_taken_costs_nothing_of_a_rate() {
        for (rate, burst) in [(1, 1), (10, 1), (500, 50), (5_000, 500)] {
            let mut bucket = bucket(rate, burst);
            let (mut sent, mut leaving) = (0, 0);
            for milli in 1..10_001 {
                bucket.left(at(milli), leaving, at(milli - 1));
                leaving = bucket.available(at(milli)).min(if milli == 1 { burst } else { u32::MAX });
                bucket.take_all(at(milli), leaving);
                bucket.wait_for(at(milli), 1);
                sent += leaving;
            }
            assert!(sent >= burst + 10 * rate - rate / 100 - 1, "{sent} at {rate}");
        }
    }

    #[test]
    fn a_disk_that_is_always_slow_costs_nothing_of_a_rate() {
        // parts a second, burst, and how long each group takes, of which three are on their way
        for (rate, burst, millis) in
            [(100, 1, 25), (1_000, 1, 2), (500, 50, 40), (500, 5, 60), (10, 1, 40), (9, 0, 1)]
        {
            let mut bucket = bucket(rate, burst);
            let (mut sent, mut on_the_way) = (0, VecDeque::from([(START, 0); 2]));
            for group in 1..=20_000 / millis {
                // Decided as tokens come, within the group that is open.
                let mut open = 0;
                let began = at((group - 1) * millis);
                for milli in 0..millis {
                    let now = Mono(began.0 + milli * 1_000);
                    let granted = bucket.available(now);
                    bucket.take_all(now, granted);
                    bucket.wait_for(now, 1);
                    open += granted;
                }
                on_the_way.push_back((began, open));
                let (taken, parts) = on_the_way.pop_front().expect("three");
                bucket.left(at(group * millis), parts, taken);
                sent += parts;
            }
            assert!(sent >= 20 * rate * 96 / 100, "{sent} at {rate} and {burst}, groups of {millis} ms");
            assert!(sent <= 20 * rate + burst.max(rate / 5), "{sent} at {rate} and {burst}");
        }
    }

    #[test]
    fn what_is_about_to_leave_is_paid_once_though_the_rate_is_lowered() {
        let mut bucket = bucket(1_000, 100);
        bucket.take_all(START, 80);
        bucket.set_rate(START, 500_000, 50);
        bucket.empty();
        assert_eq!(bucket.wait_for(START, 1), at(2));
        bucket.left(START, 80, START);
        assert_eq!(bucket.wait_for(START, 1), at(2));
        // Without a rate nothing is owed.
        bucket.take_all(at(1_000), 300);
        bucket.set_rate(at(1_000), 0, 0);
        bucket.left(at(1_000), 300, at(1_000));
        bucket.set_rate(at(1_000), 1_000_000, 10);
        assert_eq!(bucket.available(at(1_000)), 1);
    }

    #[test]
    fn while_something_is_about_to_leave_tokens_are_not_looked_for_all_the_time() {
        let mut bucket = bucket(10, 1);
        bucket.take_all(START, 1);
        assert_eq!(bucket.wait_for(START, 1), at(100));
        let mut looks = 0;
        let mut now = START;
        while now < at(1_000) {
            now = bucket.wait_for(now, 1);
            looks += 1;
        }
        assert!(looks <= 1_000, "{looks}");
        bucket.left(now, 1, START);
        assert_eq!((bucket.available(now), bucket.wait_for(now, 1)), (0, Mono(now.0 + 1)));
    }

    #[test]
    fn a_new_rate_keeps_what_there_is_room_for() {
        let mut bucket = bucket(1_000, 100);
        bucket.set_rate(START, 100_000, 10);
        assert_eq!(bucket.available(START), 10);
        bucket.empty();
        assert_eq!(bucket.available(START), 0);
        bucket.send(START, 3);
        bucket.empty();
        assert_eq!(bucket.wait_for(START, 1), at(40));
    }

    #[test]
    fn a_late_look_loses_nothing() {
        // milliseconds of a usual turn, every so many turns one is longer, and how long that is
        for (usual, every, stall) in [(1, 1, 1), (20, 1, 20), (80, 1, 80), (2, 100, 90), (5, 40, 50)] {
            let mut bucket = bucket(1_000, 100);
            bucket.take_up_to(START, 100);
            let (mut millis, mut sent) = (0, Vec::new());
            for turn in 1.. {
                bucket.wait_for(at(millis), 1);
                millis += if turn % every == 0 { stall } else { usual };
                if millis > 60_000 {
                    break;
                }
                sent.push((at(millis).0, u64::from(bucket.take_up_to(at(millis), u32::MAX))));
            }
            let what = format!("turns of {usual} ms, every {every} of {stall}");
            assert_eq!(
                sent.iter().map(|(_, parts)| parts).sum::<u64>(),
                sent[sent.len() - 1].0 / 1_000 - 5_000
            );
            // What has come together in the longest turn is what a second may have too much.
            let busiest = seconds(&sent).into_iter().max().unwrap_or(0);
            assert!(busiest <= 1_000 + stall, "{what}: {busiest}");
        }
    }

    /// Parts in the half-open second that begins at each send; a window that holds most begins at one.
    fn seconds(sent: &[(u64, u64)]) -> Vec<u64> {
        let (mut end, mut sum) = (0, 0);
        (0..sent.len())
            .map(|first| {
                while end < sent.len() && sent[end].0 < sent[first].0 + 1_000_000 {
                    sum += sent[end].1;
                    end += 1;
                }
                let count = sum;
                sum -= sent[first].1;
                count
            })
            .collect()
    }

    /// How long, of the time in which sends began, the second that begins then holds more than `most`, in microseconds.
    fn over(sent: &[(u64, u64)], most: u64) -> u64 {
        let mut edges: Vec<u64> =
            sent.iter().flat_map(|(at, _)| [at + 1, at.saturating_sub(999_999)]).collect();
        edges.sort_unstable();
        edges.dedup();
        let (mut first, mut end, mut sum, mut over) = (0, 0, 0u64, 0);
        for edge in edges.windows(2) {
            while end < sent.len() && sent[end].0 < edge[0] + 1_000_000 {
                sum += sent[end].1;
                end += 1;
            }
            while first < end && sent[first].0 < edge[0] {
                sum -= sent[first].1;
                first += 1;
            }
            over += if sum > most { edge[1] - edge[0] } else { 0 };
        }
        over
    }

    /// What arrives at random, at `load` percent of the rate in batches of up to `batch`, is sent as tokens allow.
    fn send_for(seconds: u64, rate: u32, load: u64, batch: u64, seed: u64) -> Vec<(u64, u64)> {
        let mut bucket = bucket(rate, rate / 10);
        // Without the burst of the start, which is one of a quarter of an hour.
        bucket.send(START, rate / 10);
        let (mut seed, mut waiting, mut sent) = (seed | 1, 0u64, Vec::new());
        let mut random = move |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        for milli in 0..seconds * 1_000 {
            // A batch of (batch + 1) ÷ 2 on average.
            if random(1_000_000) < u64::from(rate) * load * 20 / (batch + 1) {
                waiting += 1 + random(batch);
            }
            let now = at(milli);
            let granted = u64::from(bucket.take_up_to(now, waiting as u32));
            waiting -= granted;
            if granted > 0 {
                sent.push((now.0, granted));
            }
            if waiting > 0 {
                bucket.wait_for(now, 1);
            }
        }
        sent
    }

    proptest! {
        #[test]
        fn no_second_carries_more_than_rate_and_burst(
            rate in 1u32..2_000, burst in 0u32..200,
            takes in prop::collection::vec((0u64..400_000, 0u32..300, any::<bool>()), 1..100),
        ) {
            let mut bucket = bucket(rate, burst);
            let mut now = START;
            let mut sent = Vec::new();
            for (passed, wanted, awaits) in takes {
                now = Mono(now.0 + passed);
                let granted = bucket.take_up_to(now, wanted);
                sent.push((now.0, u64::from(granted)));
                if awaits {
                    bucket.wait_for(now, wanted - granted);
                }
            }
            let busiest = seconds(&sent).into_iter().max().unwrap_or(0);
            prop_assert!(busiest <= u64::from(rate + burst));
        }

        /// A disk that holds up what was taken, for however long, brings no more of it together than is allowed.
        #[test]
        fn no_second_carries_more_though_what_is_taken_leaves_late(
            rate in prop_oneof![1u32..20, 1u32..2_000], burst in prop_oneof![Just(0), 0u32..200],
            turns in prop::collection::vec((0u64..50_000, 0u32..100, prop::bool::weighted(0.2)), 1..300),
        ) {
            let mut bucket = bucket(rate, burst);
            let (mut now, mut leaving, mut sent, mut usual) = (START, Vec::new(), Vec::new(), 0);
            for (passed, wanted, leave) in turns {
                now = Mono(now.0 + passed);
                let granted = bucket.available(now).min(wanted);
                bucket.take_all(now, granted);
                bucket.wait_for(now, wanted - granted);
                leaving.push((now, granted));
                if leave {
                    for (taken, parts) in leaving.drain(..) {
                        bucket.left(now, parts, taken);
                        sent.push((now.0, u64::from(parts)));
                    }
                }
                usual = usual.max(bucket.usual);
            }
            let busiest = seconds(&sent).into_iter().max().unwrap_or(0);
            let on_the_way = if burst == 0 { 0 } else { usual * u64::from(rate) / 1_000_000 + 2 };
            prop_assert!(busiest <= u64::from(rate) + u64::from(burst).max(on_the_way), "{busiest}");
        }

        /// The model: what was taken never exceeds burst + rate × time, and where somebody always waits it is that to
        /// within what has not flowed in yet.
        #[test]
        fn what_is_taken_is_the_burst_and_the_rate(
            rate in 1u32..5_000, burst in 1u32..500, steps in prop::collection::vec((0u64..50_000, 0u32..1_000), 1..300),
        ) {
            let mut bucket = bucket(rate, burst);
            let (mut now, mut taken) = (START, u64::from(bucket.take_up_to(START, burst)));
            bucket.wait_for(START, burst);
            let mut always_waited = true;
            for (passed, wanted) in steps {
                now = Mono(now.0 + passed);
                let granted = bucket.take_up_to(now, wanted);
                taken += u64::from(granted);
                always_waited &= bucket.available(now) == 0;
                bucket.wait_for(now, burst);
                let allowed = u64::from(burst) + (now.0 - START.0) * u64::from(rate) / 1_000_000;
                prop_assert!(taken <= allowed, "{taken} of {allowed}");
                let lost = 50_000 * u64::from(rate) / 1_000_000 + 1 >= u64::from(burst);
                prop_assert!(!always_waited || lost || taken >= allowed, "{taken} of {allowed}");
            }
        }

        #[test]
        fn the_time_to_ask_again_is_exact(rate in 1u32..300_000, burst in 1u32..100, passed in 0u64..5_000_000, wanted in 0u32..200, parts in 1u32..20) {
            let mut bucket = bucket(rate, burst);
            let now = Mono(START.0 + passed);
            bucket.take_up_to(START, wanted);
            bucket.take_up_to(now, wanted);
            let next = bucket.wait_for(now, parts);
            let parts = parts.min(burst);
            prop_assert!(bucket.clone().available(next) >= parts);
            prop_assert!(next == now || bucket.available(Mono(next.0 - 1)) < parts);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

        #[test]
        fn of_a_thousand_seconds_one_exceeds_the_rate_by_more_than_two_percent(
            rate in prop::sample::select(vec![50u32, 100, 1_000, 10_000]), load in 80u64..120, batch in 1u64..100,
            seed in any::<u64>(),
        ) {
            let length = 300;
            let sent = send_for(length, rate, load, batch, seed);
            let most = u64::from(rate) * 102 / 100;
            prop_assert!(seconds(&sent).into_iter().max().unwrap_or(0) <= u64::from(rate + rate / 10));
            let over = over(&sent, most);
            prop_assert!(over <= length * 1_000, "{over} µs of {length} s");
        }
    }
}
