//! The adaptive rate by tables, and against simulated providers with limits that nobody has told it.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const START: Mono = Mono(5_000_000);
const ROUND_TRIP: Duration = Duration::from_millis(50);

fn at(millis: u64) -> Mono {
    Mono(START.0 + millis * 1_000)
}

fn throttle(rate: &mut AdaptiveRate, now: Mono, count: u32) {
    (0..count).for_each(|_| rate.throttled(now, ROUND_TRIP));
}

fn answer(rate: &mut AdaptiveRate, now: Mono, count: u32) {
    (0..count).for_each(|_| rate.answered(now));
}

#[test]
fn the_share_of_throttled_answers_decides() {
    // answers of 500 ms, throttled ones then → rate
    let table = [(0, 4, 1_000), (0, 5, 700), (95, 5, 1_000), (94, 5, 700), (90, 5, 700), (1_000, 40, 1_000)];
    for (taken, throttled, expected) in table {
        let mut rate = AdaptiveRate::new(1_000, 100, START);
        answer(&mut rate, START, taken);
        throttle(&mut rate, at(500), throttled);
        assert_eq!(rate.rate(), expected, "{taken} {throttled}");
    }
}

#[test]
fn a_rate_is_lowered_to_what_was_taken_and_once_a_round_trip() {
    let mut rate = AdaptiveRate::new(1_000, 100, START);
    (0..1_000).for_each(|milli| answer(&mut rate, at(milli), u32::from(milli % 10 < 9)));
    throttle(&mut rate, at(1_000), 100);
    assert_eq!(rate.rate(), 900);
    // Answers to what was sent before.
    throttle(&mut rate, at(1_049), 100);
    assert_eq!(rate.rate(), 900);
    throttle(&mut rate, at(1_050), 5);
    assert_eq!(rate.rate(), 882);
}

#[test]
fn the_rate_never_falls_below_one_a_second() {
    let mut rate = AdaptiveRate::new(100, 10, START);
    (0..50).for_each(|turn| throttle(&mut rate, at(turn * 50), 5));
    assert_eq!(rate.rate(), 1);
}

#[test]
fn a_pause_is_honoured_even_within_a_round_trip_and_proves_nothing() {
    let mut rate = AdaptiveRate::new(1_000, 100, START);
    throttle(&mut rate, START, 5);
    rate.pause(at(1), Duration::from_secs(3));
    rate.throttled(at(1), ROUND_TRIP);
    assert_eq!(rate.rate(), 700);
    assert_eq!(rate.available(at(3_000)), 0);
    assert_eq!(rate.wait_for(at(1), 1), at(3_001));
    assert!(rate.available(at(3_001)) > 0);
    throttle(&mut rate, at(3_000), 100);
    assert_eq!(rate.rate(), 700);
}

/// Takes parts, which leave at once.
fn send(rate: &mut AdaptiveRate, now: Mono, parts: u32) {
    rate.take_all(now, parts);
    rate.left(now, parts, now);
}

/// Some seconds in which all that is sent is taken.
fn pass(rate: &mut AdaptiveRate, from: u64, seconds: u64, held_up: bool) {
    for milli in (from..from + seconds * 1_000).step_by(10) {
        let granted = rate.available(at(milli)).min(1_000);
        send(rate, at(milli), granted);
        if held_up {
            rate.wait_for(at(milli), 1);
        }
        answer(rate, at(milli), granted.max(u32::from(!held_up)));
    }
}

#[test]
fn a_lowered_rate_rises_slowly_and_then_fast_where_it_holds_something_up() {
    let mut rate = AdaptiveRate::new(1_000, 100, START);
    (0..8).for_each(|turn| throttle(&mut rate, at(turn * 50), 5));
    assert_eq!(rate.rate(), 58);
    let mut seen = Vec::new();
    for second in 0..12 {
        pass(&mut rate, 400 + second * 1_000, 1, true);
        seen.push(rate.rate());
    }
    assert!(seen.is_sorted() && seen[2] < 61 && seen[6] < 120, "{seen:?}");
    assert!(seen[11] > 500, "{seen:?}");
    pass(&mut rate, 12_400, 3, true);
    assert_eq!(rate.rate(), 1_000);
}

#[test]
fn a_rate_that_nothing_waits_for_stays_and_is_forgotten_in_the_end() {
    let mut rate = AdaptiveRate::new(0, 0, START);
    assert_eq!((rate.rate(), rate.available(START)), (0, u32::MAX));
    (0..2_000).for_each(|millis| send(&mut rate, at(millis), 2));
    throttle(&mut rate, at(2_000), 5);
    assert_eq!(rate.rate(), 1_400);
    assert_eq!(rate.available(at(2_000)), 0);
    pass(&mut rate, 3_000, 30, false);
    assert_eq!(rate.rate(), 1_400);
    assert_ne!(rate.available(at(601_999)), u32::MAX);
    assert_eq!(rate.available(at(602_000)), u32::MAX);
    assert_eq!(rate.rate(), 0);
}

#[test]
fn a_provider_that_nears_its_limit_stops_the_growth_of_one_period() {
    let mut rate = AdaptiveRate::new(1_000, 100, START);
    throttle(&mut rate, START, 5);
    rate.stop_growing();
    pass(&mut rate, 50, 1, true);
    answer(&mut rate, at(1_050), 1);
    assert_eq!(rate.rate(), 700);
    pass(&mut rate, 1_060, 2, true);
    assert!(rate.rate() > 700);
}

#[test]
fn a_new_ceiling_holds_at_once_and_a_lowered_rate_stays_lowered() {
    let mut rate = AdaptiveRate::new(1_000, 100, START);
    rate.set_ceiling(START, 2_000, 200);
    assert_eq!(rate.rate(), 2_000);
    throttle(&mut rate, START, 5);
    rate.set_ceiling(START, 5_000, 500);
    assert_eq!(rate.rate(), 1_400);
    rate.set_ceiling(START, 0, 0);
    assert_eq!(rate.rate(), 1_400);
    rate.set_ceiling(START, 1_000, 100);
    assert_eq!(rate.rate(), 1_000);
}

#[test]
fn the_measured_rate_is_that_of_the_last_second() {
    // when 100 parts were sent after the start, when ten more, when asked → thousandths of a part a second
    let table = [
        (0, None, 0, 0),
        (0, None, 100, 100_000),
        (0, None, 1_000, 100_000),
        (0, None, 1_100, 0),
        (0, Some(950), 1_000, 110_000),
        (0, Some(1_400), 1_500, 10_000),
        (0, Some(3_000), 3_099, 0),
    ];
    for (hundred, ten, asked, expected) in table {
        let mut measure = LastSecond::default();
        measure.add(at(hundred), 100);
        if let Some(ten) = ten {
            measure.add(at(ten), 10);
        }
        assert_eq!(measure.rate(at(asked)), expected, "{ten:?} {asked}");
    }
}

/// How a provider decides what is too fast.
#[derive(Clone, Copy, Debug)]
enum Limit {
    /// So many in each second of its clock.
    Seconds(u32),
    /// Evenly, with so many at once.
    Bucket(u32, u32),
    /// Nothing but strays, in a thousand.
    Strays(u32),
}

struct Provider {
    limit: Limit,
    bucket: TokenBucket,
    second: u64,
    in_second: u32,
    answered: u64,
}

impl Provider {
    fn new(limit: Limit) -> Provider {
        let (rate, burst) = match limit {
            Limit::Bucket(rate, burst) => (rate, burst),
            _ => (0, 0),
        };
        let bucket = TokenBucket::new(u64::from(rate) * 1_000, burst, START);
        Provider { limit, bucket, second: 0, in_second: 0, answered: 0 }
    }

    fn takes(&mut self, now: Mono) -> bool {
        self.answered += 1;
        match self.limit {
            Limit::Seconds(limit) => {
                let second = (now.0 + 370_000) / 1_000_000;
                self.in_second = if second == self.second { self.in_second + 1 } else { 1 };
                self.second = second;
                self.in_second <= limit
            }
            Limit::Bucket(..) => {
                // Waited for, so that its reserve is as good as its level.
                let takes = self.bucket.available(now) > 0;
                self.bucket.take_all(now, u32::from(takes));
                self.bucket.left(now, u32::from(takes), now);
                self.bucket.wait_for(now, u32::MAX);
                takes
            }
            // Spread as a hash spreads them.
            Limit::Strays(strays) => {
                self.answered.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
                    >= u64::from(strays) * (1 << 32) / 1_000
            }
        }
    }
}

/// A provider and what is on its way to it; there is always more to send, as far as the window allows.
struct World {
    rate: AdaptiveRate,
    provider: Provider,
    window: u32,
    round_trip: u64,
    now: u64,
    on_their_way: VecDeque<(u64, bool)>,
}

/// What a time has brought.
#[derive(Debug, Default)]
struct Counts {
    sent: u32,
    taken: u32,
}

impl World {
    fn new(ceiling: u32, limit: Limit, window: u32, round_trip: u64) -> World {
        World {
            rate: AdaptiveRate::new(ceiling, ceiling / 10, START),
            provider: Provider::new(limit),
            window,
            round_trip,
            now: 0,
            on_their_way: VecDeque::new(),
        }
    }

    fn run(&mut self, seconds: u64) -> Counts {
        let mut counts = Counts::default();
        for _ in 0..seconds * 1_000 {
            self.now += 1;
            let now = at(self.now);
            while let Some((_, taken)) = self.on_their_way.pop_front_if(|(when, _)| *when <= self.now) {
                counts.taken += u32::from(taken);
                match taken {
                    true => self.rate.answered(now),
                    false => self.rate.throttled(now, Duration::from_millis(self.round_trip)),
                }
            }
            let room = self.window - self.on_their_way.len() as u32;
            let granted = self.rate.available(now).min(room);
            send(&mut self.rate, now, granted);
            for _ in 0..granted {
                let taken = self.provider.takes(now);
                self.on_their_way.push_back((self.now + self.round_trip, taken));
            }
            counts.sent += granted;
            if granted < room {
                self.rate.wait_for(now, 1);
            }
        }
        counts
    }
}

/// After a while all that a provider takes is used, and little more is sent.
fn converges(
    ceiling: u32,
    limit: Limit,
    hidden: u32,
    window: u32,
    round_trip: u64,
) -> Result<(), TestCaseError> {
    let mut world = World::new(ceiling, limit, window, round_trip);
    world.run(60);
    let counts = world.run(60);
    let whole = hidden * 60;
    let (least, most) = ((whole - whole / 20).saturating_sub(60), whole + whole / 20 + 60);
    prop_assert!(counts.taken >= least, "{counts:?} of {whole}, at {}", world.rate.rate());
    prop_assert!(counts.sent <= most, "{counts:?} of {whole}, at {}", world.rate.rate());
    Ok(())
}

#[test]
fn the_limits_of_providers_are_found() {
    for hidden in [3, 10, 100, 2_000] {
        for ceiling in [0, hidden + hidden / 10 + 1, hidden * 10] {
            for round_trip in [5, 200] {
                for limit in [Limit::Seconds(hidden), Limit::Bucket(hidden, hidden.div_ceil(10))] {
                    let found = converges(ceiling, limit, hidden, 2_000, round_trip);
                    assert!(found.is_ok(), "{limit:?}, ceiling {ceiling}, {round_trip} ms: {found:?}");
                }
            }
        }
    }
}

/// What is left of a second that is full is refused whatever the rate: with fast answers that was once taken for hundreds of
/// reasons to be slower, and the rate went up and down between a third of the limit and far beyond it.
#[test]
fn a_full_second_of_a_provider_that_answers_at_once_is_one_reason_to_be_slower() {
    let table = [
        (1_104, 0, 852, 1),
        (1_788, 0, 1_091, 1),
        (1_707, 0, 1_152, 3),
        (1_234, 7_404, 498, 2),
        (1_973, 3_946, 331, 1),
    ];
    for (hidden, ceiling, window, round_trip) in table {
        let found = converges(ceiling, Limit::Seconds(hidden), hidden, window, round_trip);
        assert!(found.is_ok(), "{hidden}, ceiling {ceiling}, {round_trip} ms: {found:?}");
    }
}

#[test]
fn stray_throttling_does_not_slow_anybody_down() {
    for (ceiling, window, full) in [(0, 100, 10_000), (0, 1, 100), (1_000, 100, 1_000), (20, 100, 20)] {
        for strays in [1, 3, 5] {
            let mut world = World::new(ceiling, Limit::Strays(strays), window, 10);
            let counts = world.run(120);
            assert!(counts.sent >= full * 118, "{ceiling} {window} {strays}: {counts:?}");
        }
    }
}

#[test]
fn a_limit_that_rises_or_falls_is_followed() {
    for (before, after) in [(100, 1_000), (1_000, 100), (1_000, 5_000)] {
        let mut world = World::new(0, Limit::Seconds(before), 1_000, 20);
        world.run(30);
        world.provider.limit = Limit::Seconds(after);
        world.run(20);
        let counts = world.run(20);
        assert!(counts.taken >= after * 18, "{before} {after}: {counts:?}");
        assert!(counts.sent <= after * 22, "{before} {after}: {counts:?}");
    }
}

#[test]
fn after_an_outage_the_rate_is_soon_what_it_was() {
    let mut world = World::new(1_000, Limit::Strays(0), 1_000, 20);
    world.run(5);
    world.provider.limit = Limit::Strays(1_001);
    world.run(10);
    assert!(world.rate.rate() <= 5, "{}", world.rate.rate());
    world.provider.limit = Limit::Strays(0);
    world.run(60);
    assert_eq!(world.rate.rate(), 1_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn any_hidden_limit_is_found(
        hidden in 2u32..2_000, factor in 0u32..8, window in 100u32..2_000, round_trip in 1u64..300, seconds in any::<bool>(),
    ) {
        let limit = if seconds { Limit::Seconds(hidden) } else { Limit::Bucket(hidden, 1 + hidden / 5) };
        // What the window carries is above the limit.
        prop_assume!(u64::from(window) * 1_000 / round_trip > 2 * u64::from(hidden));
        converges(hidden * factor, limit, hidden, window, round_trip)?;
    }
}

proptest! {
    #[test]
    fn a_throttled_provider_gets_no_more_than_its_ceiling(
        ceiling in 1u32..2_000, burst in 0u32..200,
        steps in prop::collection::vec((0u64..400_000, 0u32..300, 0u8..5), 1..100),
    ) {
        let mut rate = AdaptiveRate::new(ceiling, burst, START);
        let mut now = START;
        let mut sent: Vec<(u64, u64)> = Vec::new();
        for (passed, wanted, step) in steps {
            now = Mono(now.0 + passed);
            match step {
                0 => throttle(&mut rate, now, 5),
                1 => {
                    rate.pause(now, Duration::from_millis(300));
                    rate.throttled(now, ROUND_TRIP);
                }
                2 => answer(&mut rate, now, wanted),
                _ => {
                    let granted = rate.available(now).min(wanted);
                    send(&mut rate, now, granted);
                    rate.wait_for(now, wanted - granted);
                    sent.push((now.0, u64::from(granted)));
                }
            }
            prop_assert!((1..=ceiling).contains(&rate.rate()));
        }
        for (place, (begin, _)) in sent.iter().enumerate() {
            let second = sent[place..].iter().take_while(|(time, _)| *time <= begin + 1_000_000);
            prop_assert!(second.map(|(_, parts)| parts).sum::<u64>() <= u64::from(ceiling + burst));
        }
    }
}

#[test]
fn what_was_proven_long_ago_says_nothing_of_what_is_taken_now() {
    let mut rate = AdaptiveRate::new(0, 0, START);
    // A bad night: it is slowed, and holds something up for two seconds.
    (0..40).for_each(|turn| throttle(&mut rate, at(turn * 50), 5));
    pass(&mut rate, 2_050, 3, true);
    let then = rate.rate();
    assert!(then < 100, "{then}");
    // Little to send for longer than a limit is remembered: it is forgotten, and nothing limits.
    pass(&mut rate, 6_000, 700, false);
    assert_eq!((rate.rate(), rate.available(at(706_000))), (0, u32::MAX));
    // 2,000 a second are sent, and nine of ten taken.
    for milli in 706_000..708_000 {
        send(&mut rate, at(milli), 2);
        answer(&mut rate, at(milli), 2 - u32::from(milli % 5 == 0));
    }
    throttle(&mut rate, at(708_000), 300);
    assert!(rate.rate() >= 1_400, "{} a second of a provider that took 1,800 in the last one", rate.rate());
}

#[test]
fn the_same_for_one_with_a_ceiling() {
    let mut rate = AdaptiveRate::new(1_000, 100, START);
    (0..40).for_each(|turn| throttle(&mut rate, at(turn * 50), 5));
    pass(&mut rate, 2_050, 3, true);
    assert!(rate.rate() < 10);
    pass(&mut rate, 6_000, 700, false);
    assert_eq!(rate.rate(), 1_000);
    for milli in 706_000..708_000 {
        send(&mut rate, at(milli), 1);
        answer(&mut rate, at(milli), u32::from(milli % 10 != 0));
    }
    throttle(&mut rate, at(708_000), 200);
    assert!(rate.rate() >= 700, "{} a second of a provider that took 900 in the last one", rate.rate());
}
