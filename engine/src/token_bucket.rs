//! A token bucket that sends evenly: what flows in is there at once, but of a burst only what has gathered slowly.
//! It holds no queue, knows no provider and counts in parts.
//!
//! A bucket that simply holds a burst lets it out whenever there was a short pause, so that traffic just below the rate
//! overshoots every few seconds. Here the level holds a hundredth of a second's worth; the rest of the burst lies in a
//! reserve that an idle bucket fills with a thousandth of its rate, so that windows of one second beyond the rate stay as
//! rare as that. While somebody waits for tokens nothing that flows in is lost: that we look late is our delay.

use std::time::Duration;

use codecs::instant::Mono;

/// One part in the units of a bucket. With rates in thousandths of a part a second and time in microseconds, what
/// flows in is exact: rate × time, and no rounding drifts.
const PART: i64 = 1_000_000_000;
/// The part of a second's worth that is there at once.
const EVEN_SHARE: u64 = 100;
/// The part of the rate with which an idle bucket fills its reserve.
const RESERVE_SHARE: i64 = 1_000;

/// The default is no limit.
#[derive(Clone, Debug, Default)]
pub struct TokenBucket {
    /// Thousandths of a part a second; 0: no limit.
    rate: u64,
    /// Negative after [`TokenBucket::take_all`] took more than there was.
    level: i64,
    level_max: i64,
    reserve: i64,
    reserve_max: i64,
    updated: Mono,
    /// Somebody waits for what is not there yet.
    awaited: bool,
}

impl TokenBucket {
    /// `rate` in thousandths of a part a second, 0 for no limit; a burst below one part counts as one. Starts full.
    pub fn new(rate: u64, burst: u32, now: Mono) -> TokenBucket {
        let (level_max, reserve_max) = room(rate, burst);
        TokenBucket {
            rate,
            level: level_max,
            level_max,
            reserve: reserve_max,
            reserve_max,
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
        parts(self.level + self.reserve)
    }

    /// Takes `parts` whether they are there or not: for a message that cannot be cut. The debt is waited for.
    pub fn take_all(&mut self, now: Mono, parts: u32) {
        if self.rate == 0 {
            return;
        }
        self.fill(now);
        self.awaited = false;
        self.level -= i64::from(parts) * PART;
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
        let missing = u64::try_from(wanted - self.level - self.reserve).unwrap_or(0);
        self.awaited = missing > 0;
        now.after(Duration::from_micros(missing.div_ceil(self.rate)))
    }

    /// Changes rate and burst; what has gathered stays, as far as there is room for it.
    pub fn set_rate(&mut self, now: Mono, rate: u64, burst: u32) {
        self.fill(now);
        self.rate = rate;
        (self.level_max, self.reserve_max) = room(rate, burst);
        self.level = self.level.min(self.level_max);
        self.reserve = self.reserve.min(self.reserve_max);
    }

    /// Forgets what has gathered; a debt stays.
    pub fn empty(&mut self) {
        self.level = self.level.min(0);
        self.reserve = 0;
    }

    fn fill(&mut self, now: Mono) {
        let micros = now.0.saturating_sub(self.updated.0);
        let inflow = i64::try_from(micros.saturating_mul(self.rate)).unwrap_or(i64::MAX);
        let to_level = inflow.min(self.level_max - self.level);
        let over = inflow - to_level;
        let kept = if self.awaited { over } else { over.min(inflow / RESERVE_SHARE) };
        self.level += to_level;
        self.reserve = self.reserve.saturating_add(kept).min(self.reserve_max);
        self.updated = self.updated.max(now);
    }
}

/// What level and reserve may hold.
fn room(rate: u64, burst: u32) -> (i64, i64) {
    let burst = u64::from(burst.max(1));
    let even = (1 + rate / 1_000 / EVEN_SHARE).min(burst);
    // Both fit: a burst has 32 bits, and a part 30.
    (even as i64 * PART, (burst - even) as i64 * PART)
}

fn parts(tokens: i64) -> u32 {
    u32::try_from(tokens.max(0) / PART).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
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
            self.take_all(now, granted);
            granted
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
            (10, false, 3),
            (100, false, 12),
            (1_000, false, 20),
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
        bucket.take_all(START, 5);
        assert_eq!(bucket.wait_for(START, 1), at(500));
        // No more than gathers is waited for.
        assert_eq!(bucket.wait_for(START, 5), at(500));
        assert_eq!(bucket.available(at(499)), 0);
        assert_eq!(bucket.available(at(500)), 1);
    }

    #[test]
    fn a_new_rate_keeps_what_there_is_room_for() {
        let mut bucket = bucket(1_000, 100);
        bucket.set_rate(START, 100_000, 10);
        assert_eq!(bucket.available(START), 10);
        bucket.empty();
        assert_eq!(bucket.available(START), 0);
        bucket.take_all(START, 3);
        bucket.empty();
        assert_eq!(bucket.wait_for(START, 1), at(40));
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
            rate in 1u32..2_000, burst in 1u32..200,
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
                let lost = 50_000 * u64::from(rate) / 1_000_000 > u64::from(burst);
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
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

        #[test]
        fn of_a_thousand_seconds_one_exceeds_the_rate_by_more_than_two_percent(
            rate in prop::sample::select(vec![50u32, 100, 1_000, 10_000]), load in 80u64..120, batch in 1u64..100,
            seed in any::<u64>(),
        ) {
            let length = 1_000;
            let sent = send_for(length, rate, load, batch, seed);
            let most = u64::from(rate) * 102 / 100;
            prop_assert!(seconds(&sent).into_iter().max().unwrap_or(0) <= u64::from(rate + rate / 10));
            let over = over(&sent, most);
            // The first burst is full, as after a start.
            prop_assert!(over <= length * 1_000 + 100_000, "{over} µs of {length} s");
        }
    }
}
