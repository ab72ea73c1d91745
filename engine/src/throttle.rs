//! How fast a provider is sent to: a token bucket, and a rate that gives way when the provider says so.
//! It holds no queue and counts in parts; who is sent is not its business.

use std::time::Duration;

use codecs::instant::Mono;

/// One part in the units of a bucket. With rates in thousandths of a part a second and time in microseconds, what
/// flows in is exact: rate × time, and no rounding drifts.
const PART: i64 = 1_000_000_000;
const SECOND: Duration = Duration::from_secs(1);
/// The slowest rate: one part a second.
const FLOOR: u64 = 1_000;
/// Where an unlimited provider's rate begins at the least when it throttles for the first time: what was measured says little
/// just after a start. It can be lowered further from there.
const FIRST_FLOOR: u64 = 100_000;
/// Raising 1/s by 5 % a second for so long passes every rate there is.
const STEPS_TO_ANY_RATE: u32 = 600;

/// The generic cell rate algorithm kept as a level: it holds at most `burst` parts and fills with `rate`.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    /// Thousandths of a part a second; 0: no limit.
    rate: u64,
    capacity: i64,
    /// Negative after [`TokenBucket::take_all`] took more than there was.
    level: i64,
    updated: Mono,
}

impl TokenBucket {
    /// `rate` in parts a second, 0 for no limit; a burst below one part counts as one. Starts full.
    pub fn new(rate: u32, burst: u32, now: Mono) -> TokenBucket {
        let capacity = i64::from(burst.max(1)) * PART;
        TokenBucket { rate: u64::from(rate) * 1_000, capacity, level: capacity, updated: now }
    }

    /// Takes as many of `wanted` parts as there are, and says how many.
    pub fn take_up_to(&mut self, now: Mono, wanted: u32) -> u32 {
        let granted = self.available(now).min(wanted);
        self.take_all(now, granted);
        granted
    }

    /// Takes `parts` whether they are there or not: for a message that cannot be cut. The debt is waited for.
    pub fn take_all(&mut self, now: Mono, parts: u32) {
        if self.rate > 0 {
            self.fill(now);
            self.level -= i64::from(parts) * PART;
        }
    }

    /// Gives back what was taken and not sent.
    pub fn put_back(&mut self, parts: u32) {
        self.level = (self.level + i64::from(parts) * PART).min(self.capacity);
    }

    /// Whole parts that could be taken now.
    pub fn available(&mut self, now: Mono) -> u32 {
        if self.rate == 0 {
            return u32::MAX;
        }
        self.fill(now);
        u32::try_from(self.level.max(0) / PART).unwrap_or(u32::MAX)
    }

    /// The earliest time at which a part can be taken.
    pub fn next_at(&self, now: Mono) -> Mono {
        let missing = u64::try_from(PART - self.level).unwrap_or(0);
        if self.rate == 0 || missing == 0 {
            return now;
        }
        now.max(self.updated.after(Duration::from_micros(missing.div_ceil(self.rate))))
    }

    fn set_rate(&mut self, now: Mono, rate: u64, burst: u32) {
        self.fill(now);
        self.rate = rate;
        self.capacity = i64::from(burst.max(1)) * PART;
    }

    /// Forgets what has gathered; a debt stays.
    fn empty(&mut self) {
        self.level = self.level.min(0);
    }

    fn fill(&mut self, now: Mono) {
        let micros = now.0.saturating_sub(self.updated.0);
        let inflow = i64::try_from(micros.saturating_mul(self.rate)).unwrap_or(i64::MAX);
        self.level = self.level.saturating_add(inflow).min(self.capacity);
        self.updated = self.updated.max(now);
    }
}

/// A provider's rate: its ceiling, lowered when it throttles us and slowly raised again.
#[derive(Clone, Debug)]
pub struct AdaptiveRate {
    bucket: TokenBucket,
    /// Parts a second; 0: no limit until the provider sets one.
    ceiling: u32,
    burst: u32,
    lowered: Option<Mono>,
    /// When the rate was last raised or lowered.
    stepped: Mono,
    paused_until: Mono,
    measure: Measure,
}

impl AdaptiveRate {
    /// `burst` is granted at the ceiling, and less in proportion below it.
    pub fn new(ceiling: u32, burst: u32, now: Mono) -> AdaptiveRate {
        AdaptiveRate {
            bucket: TokenBucket::new(ceiling, burst, now),
            ceiling,
            burst,
            lowered: None,
            stepped: now,
            paused_until: now,
            measure: Measure::new(now),
        }
    }

    /// Takes as many of `wanted` parts as may be sent now, and says how many.
    pub fn take_up_to(&mut self, now: Mono, wanted: u32) -> u32 {
        let granted = self.available(now).min(wanted);
        self.take_all(now, granted);
        granted
    }

    /// Takes `parts` whether they are there or not: for a message that cannot be cut.
    pub fn take_all(&mut self, now: Mono, parts: u32) {
        self.bucket.take_all(now, parts);
        self.measure.add(now, parts);
    }

    /// Gives back what was taken and not sent.
    pub fn put_back(&mut self, parts: u32) {
        self.bucket.put_back(parts);
        self.measure.remove(parts);
    }

    /// Whole parts that may be sent now.
    pub fn available(&mut self, now: Mono) -> u32 {
        if now < self.paused_until {
            return 0;
        }
        self.recover(now);
        self.bucket.available(now)
    }

    /// The earliest time at which a part may be sent.
    pub fn next_at(&self, now: Mono) -> Mono {
        self.bucket.next_at(now).max(self.paused_until)
    }

    /// The provider said "too fast". Answers to what was sent before the last reduction do not count again: one
    /// reduction a round trip. `retry_after` pauses in any case.
    pub fn throttled(&mut self, now: Mono, round_trip: Duration, retry_after: Option<Duration>) {
        self.recover(now);
        if let Some(pause) = retry_after {
            self.paused_until = self.paused_until.max(now.after(pause));
            // A pause proves nothing, so the rate does not rise in it.
            self.stepped = self.stepped.max(self.paused_until);
        }
        if self.lowered.is_some_and(|lowered| now.since(lowered) < round_trip) {
            return;
        }
        let present =
            if self.bucket.rate > 0 { self.bucket.rate } else { self.measure.rate(now).max(FIRST_FLOOR) };
        self.lowered = Some(now);
        self.stepped = now.max(self.paused_until);
        self.apply(now, (present * 7 / 10).max(FLOOR));
        // Who is too fast does not begin the slower rate with a burst.
        self.bucket.empty();
    }

    /// Parts a second at present; 0: no limit.
    pub fn rate(&self) -> u32 {
        u32::try_from(self.bucket.rate.div_ceil(1_000)).unwrap_or(u32::MAX)
    }

    /// Takes over a new setting; a rate that was lowered stays as it is, below the new ceiling.
    pub fn set_ceiling(&mut self, now: Mono, ceiling: u32, burst: u32) {
        self.recover(now);
        self.ceiling = ceiling;
        self.burst = burst;
        let limit = u64::from(ceiling) * 1_000;
        let lowered = self.lowered.is_some() && self.bucket.rate > 0;
        let rate = if !lowered { limit } else { self.bucket.rate.min(self.top()) };
        self.apply(now, rate);
    }

    /// Raises a lowered rate by 5 % for each second that has passed since the last step.
    fn recover(&mut self, now: Mono) {
        if self.lowered.is_none() {
            return;
        }
        for _ in 0..STEPS_TO_ANY_RATE {
            if now.since(self.stepped) < SECOND {
                return;
            }
            if self.bucket.rate >= self.top() {
                break;
            }
            self.stepped = self.stepped.after(SECOND);
            self.apply(self.stepped, (self.bucket.rate + self.bucket.rate / 20).min(self.top()));
        }
        self.lowered = None;
        self.apply(now, u64::from(self.ceiling) * 1_000);
    }

    fn apply(&mut self, now: Mono, rate: u64) {
        let burst = match u64::from(self.ceiling) * 1_000 {
            0 => rate / 10_000,
            limit => u64::from(self.burst) * rate / limit,
        };
        self.bucket.set_rate(now, rate, u32::try_from(burst).unwrap_or(u32::MAX));
    }

    /// Where raising ends, in thousandths.
    fn top(&self) -> u64 {
        match self.ceiling {
            0 => u64::from(u32::MAX) * 1_000,
            ceiling => u64::from(ceiling) * 1_000,
        }
    }
}

/// What was really sent: the parts of this second and of the one before.
#[derive(Clone, Debug)]
struct Measure {
    began: Mono,
    parts: u64,
    parts_before: u64,
}

impl Measure {
    fn new(now: Mono) -> Measure {
        Measure { began: now, parts: 0, parts_before: 0 }
    }

    fn add(&mut self, now: Mono, parts: u32) {
        self.roll(now);
        self.parts += u64::from(parts);
    }

    fn remove(&mut self, parts: u32) {
        self.parts = self.parts.saturating_sub(u64::from(parts));
    }

    /// Thousandths of a part a second over the last second.
    fn rate(&mut self, now: Mono) -> u64 {
        self.roll(now);
        let into = now.since(self.began).as_micros() as u64;
        let before = self.parts_before * 1_000_000u64.saturating_sub(into) / 1_000_000;
        (self.parts + before) * 1_000
    }

    fn roll(&mut self, now: Mono) {
        let passed = now.since(self.began);
        if passed >= SECOND {
            self.parts_before = if passed < 2 * SECOND { self.parts } else { 0 };
            self.parts = 0;
            let whole = Duration::from_secs(passed.as_secs());
            self.began = self.began.after(whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Mono = Mono(5_000_000);

    fn at(millis: u64) -> Mono {
        Mono(START.0 + millis * 1_000)
    }

    const ROUND_TRIP: Duration = Duration::from_millis(50);

    #[test]
    fn a_bucket_grants_its_burst_and_then_its_rate() {
        let mut bucket = TokenBucket::new(10, 3, START);
        assert_eq!(bucket.take_up_to(START, 5), 3);
        assert_eq!(bucket.take_up_to(at(99), 5), 0);
        assert_eq!(bucket.next_at(at(99)), at(100));
        assert_eq!(bucket.take_up_to(at(100), 5), 1);
        assert_eq!(bucket.take_up_to(at(10_000), 5), 3);
        bucket.put_back(2);
        assert_eq!(bucket.take_up_to(at(10_000), 5), 2);
        bucket.put_back(100);
        assert_eq!(bucket.available(at(10_000)), 3);
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let mut bucket = TokenBucket::new(0, 1, START);
        assert_eq!(bucket.take_up_to(START, u32::MAX), u32::MAX);
        assert_eq!(bucket.take_up_to(START, u32::MAX), u32::MAX);
        assert_eq!(bucket.next_at(START), START);
    }

    #[test]
    fn what_is_taken_in_one_piece_is_waited_for_afterwards() {
        let mut bucket = TokenBucket::new(10, 1, START);
        bucket.take_all(START, 5);
        assert_eq!(bucket.next_at(START), at(500));
        assert_eq!(bucket.available(at(499)), 0);
        assert_eq!(bucket.available(at(500)), 1);
    }

    #[test]
    fn throttling_lowers_the_rate_once_a_round_trip() {
        let mut rate = AdaptiveRate::new(1_000, 100, START);
        // milliseconds → rate after a throttling answer then
        for (millis, expected) in [(0, 700), (49, 700), (50, 490), (60, 490), (100, 343)] {
            rate.throttled(at(millis), ROUND_TRIP, None);
            assert_eq!(rate.rate(), expected, "{millis}");
        }
    }

    #[test]
    fn the_rate_never_falls_below_one_a_second_and_rises_to_its_ceiling() {
        let mut rate = AdaptiveRate::new(100, 10, START);
        (0..50).for_each(|turn| rate.throttled(at(turn * 50), ROUND_TRIP, None));
        assert_eq!(rate.rate(), 1);
        let lowered = 49 * 50;
        rate.available(at(lowered + 999));
        assert_eq!(rate.bucket.rate, 1_000);
        rate.available(at(lowered + 1_000));
        assert_eq!(rate.bucket.rate, 1_050);
        rate.available(at(lowered + 94_000));
        assert_eq!(rate.rate(), 98);
        rate.available(at(lowered + 95_000));
        assert_eq!(rate.rate(), 100);
        rate.available(at(1 << 40));
        assert_eq!(rate.rate(), 100);
        assert_eq!(rate.take_up_to(at(1 << 40), 50), 10);
    }

    #[test]
    fn a_pause_is_honoured_even_within_a_round_trip() {
        let mut rate = AdaptiveRate::new(1_000, 100, START);
        rate.throttled(START, ROUND_TRIP, None);
        rate.throttled(at(1), ROUND_TRIP, Some(Duration::from_secs(3)));
        assert_eq!(rate.rate(), 700);
        assert_eq!(rate.available(at(3_000)), 0);
        assert_eq!(rate.next_at(at(1)), at(3_001));
        assert_eq!(rate.available(at(3_001)), 70);
        assert_eq!((rate.available(at(4_000)), rate.rate()), (70, 700));
        assert_eq!((rate.available(at(4_010)), rate.rate()), (73, 735));
    }

    #[test]
    fn the_measured_rate_is_that_of_the_last_second() {
        // when 100 parts were sent after the start, when ten more, when asked → thousandths of a part a second
        let table = [
            (0, None, 0, 100_000),
            (0, None, 1_000, 100_000),
            (0, None, 1_500, 50_000),
            (0, Some(1_400), 1_500, 60_000),
            (0, None, 2_000, 0),
            (0, Some(3_000), 3_000, 10_000),
        ];
        for (hundred, ten, asked, expected) in table {
            let mut measure = Measure::new(START);
            measure.add(at(hundred), 100);
            if let Some(ten) = ten {
                measure.add(at(ten), 10);
            }
            assert_eq!(measure.rate(at(asked)), expected, "{ten:?} {asked}");
        }
    }

    #[test]
    fn without_a_ceiling_the_measured_rate_is_lowered_and_in_the_end_free_again() {
        let mut rate = AdaptiveRate::new(0, 0, START);
        assert_eq!((rate.rate(), rate.available(START)), (0, u32::MAX));
        (0..2_000).for_each(|millis| rate.take_all(at(millis), 2));
        rate.take_all(at(2_000), 500);
        rate.put_back(500);
        rate.throttled(at(2_000), ROUND_TRIP, None);
        assert_eq!(rate.rate(), 1_400);
        assert_eq!(rate.take_up_to(at(2_000), u32::MAX), 0);
        assert!((139..=141).contains(&rate.take_up_to(at(2_999), u32::MAX)));
        assert_eq!(rate.available(at(1_000_000)), u32::MAX);
        assert_eq!(rate.rate(), 0);
    }

    #[test]
    fn a_new_ceiling_holds_at_once_and_a_lowered_rate_stays_lowered() {
        let mut rate = AdaptiveRate::new(1_000, 100, START);
        rate.set_ceiling(START, 2_000, 200);
        assert_eq!(rate.rate(), 2_000);
        rate.throttled(START, ROUND_TRIP, None);
        rate.set_ceiling(START, 5_000, 500);
        assert_eq!(rate.rate(), 1_400);
        rate.set_ceiling(START, 1_000, 100);
        assert_eq!(rate.rate(), 1_000);
    }

    /// The most parts sent in any second, of sends in order of time.
    fn busiest_second(sent: &[(u64, u64)]) -> u64 {
        let of_second = |first: usize| {
            let end = sent[first].0 + 1_000_000;
            sent[first..].iter().take_while(|(time, _)| *time <= end).map(|(_, parts)| parts).sum()
        };
        (0..sent.len()).map(of_second).max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn no_second_carries_more_than_rate_and_burst(
            rate in 1u32..2_000, burst in 1u32..200,
            takes in prop::collection::vec((0u64..400_000, 0u32..300), 1..100),
        ) {
            let mut bucket = TokenBucket::new(rate, burst, START);
            let mut now = START;
            let mut sent = Vec::new();
            for (passed, wanted) in takes {
                now = Mono(now.0 + passed);
                sent.push((now.0, u64::from(bucket.take_up_to(now, wanted))));
            }
            prop_assert!(busiest_second(&sent) <= u64::from(rate + burst));
        }

        #[test]
        fn a_throttled_provider_gets_no_more_than_its_ceiling(
            ceiling in 1u32..2_000, burst in 1u32..200,
            steps in prop::collection::vec((0u64..400_000, 0u32..300, 0u8..5), 1..100),
        ) {
            let mut rate = AdaptiveRate::new(ceiling, burst, START);
            let mut now = START;
            let mut sent = Vec::new();
            for (passed, wanted, step) in steps {
                now = Mono(now.0 + passed);
                match step {
                    0 => rate.throttled(now, ROUND_TRIP, None),
                    1 => rate.throttled(now, ROUND_TRIP, Some(Duration::from_millis(300))),
                    _ => sent.push((now.0, u64::from(rate.take_up_to(now, wanted)))),
                }
                prop_assert!((1..=ceiling).contains(&rate.rate()));
            }
            prop_assert!(busiest_second(&sent) <= u64::from(ceiling + burst));
        }

        #[test]
        fn the_time_to_ask_again_is_exact(rate in 1u32..300_000, burst in 1u32..100, passed in 0u64..5_000_000, wanted in 0u32..200) {
            let mut bucket = TokenBucket::new(rate, burst, START);
            let now = Mono(START.0 + passed);
            bucket.take_up_to(START, wanted);
            bucket.take_up_to(now, wanted);
            let next = bucket.next_at(now);
            prop_assert!(bucket.clone().available(next) > 0);
            prop_assert!(next == now || bucket.available(Mono(next.0 - 1)) == 0);
        }
    }
}
