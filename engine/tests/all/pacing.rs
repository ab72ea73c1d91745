//! Rates, windows, priorities and fairness at a simulated provider that notes when what comes, in virtual time.

use std::collections::{BTreeMap, VecDeque};

use engine::catalog::*;
use engine::command::*;
use engine::money::Micros;
use engine::submission::Priority;

use crate::house::*;

const SECOND: u64 = 1_000_000;

/// What a provider with some binds has been sent, and when it answers.
struct Smsc {
    binds: Vec<ConnectionId>,
    round_trip: u64,
    /// Parts that it takes in a second of its clock; 0: all.
    limit: u32,
    second: u64,
    in_second: u32,
    /// When each part came, over which bind, and of which message.
    record: Vec<(u64, usize, u64)>,
    /// What it took, of the record.
    taken: Vec<u64>,
    open: VecDeque<(u64, usize, PartToken, u32)>,
    most_open: usize,
}

impl Smsc {
    fn new(house: &mut House, binds: u16, window: u32, round_trip_millis: u64) -> Smsc {
        Smsc {
            binds: (0..binds).map(|bind| house.bind("up", bind, window)).collect(),
            round_trip: round_trip_millis * 1_000,
            limit: 0,
            second: 0,
            in_second: 0,
            record: Vec::new(),
            taken: Vec::new(),
            open: VecDeque::new(),
            most_open: 0,
        }
    }

    /// Takes what has come, and answers what has waited for a round trip.
    fn serve(&mut self, house: &mut House) {
        let now = house.now.mono.0;
        if now / SECOND != self.second {
            (self.second, self.in_second) = (now / SECOND, 0);
        }
        for request in std::mem::take(&mut house.requests) {
            let bind = self.binds.iter().position(|bind| *bind == request.connection).expect("a bind");
            self.record.push((now, bind, request.number()));
            self.in_second += 1;
            let refused = self.limit > 0 && self.in_second > self.limit;
            if !refused {
                self.taken.push(request.number());
            }
            let status = if refused { THROTTLED } else { 0 };
            self.open.push_back((now + self.round_trip, bind, request.part(), status));
        }
        self.most_open = self.most_open.max(self.open.len());
        let mut answers: BTreeMap<usize, Vec<(PartToken, u32, &str)>> = BTreeMap::new();
        while let Some((_, bind, part, status)) = self.open.pop_front_if(|(at, ..)| *at <= now) {
            answers.entry(bind).or_default().push((part, status, ""));
        }
        for (bind, answers) in answers {
            house.respond("up", bind as u16, &answers);
        }
    }

    /// When the first part of a message came.
    fn came(&self, number: u64) -> Option<u64> {
        self.record.iter().find(|(_, _, one)| *one == number).map(|(at, ..)| *at)
    }

    /// The most parts of any second, and the microseconds in which seconds with more than `most` begin.
    fn windows(&self, bind: Option<usize>, most: usize) -> (usize, u64) {
        let times: Vec<u64> = self
            .record
            .iter()
            .filter(|(_, one, _)| bind.is_none_or(|bind| bind == *one))
            .map(|(at, ..)| *at)
            .collect();
        let (mut busiest, mut over) = (0, 0);
        let mut end = 0;
        for (first, begin) in times.iter().enumerate() {
            while end < times.len() && times[end] < begin + SECOND {
                end += 1;
            }
            let count = end - first;
            busiest = busiest.max(count);
            // Seconds that begin since the part before, as far as they still hold the last of the parts that are too many.
            if count > most {
                let last = times[first + most];
                let earliest = (last + 1).saturating_sub(SECOND);
                let before = if first == 0 { 0 } else { times[first - 1] + 1 };
                over += (begin + 1).saturating_sub(earliest.max(before));
            }
        }
        (busiest, over)
    }
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A house whose tenants have money without end, and whose provider `up` is changed as told.
fn house(change: impl Fn(&mut ProviderDefinition)) -> House {
    let mut definitions = definitions();
    definitions.tenants.extend((0..6).map(|one| tenant(&format!("tenant-{one}"))));
    for tenant in &mut definitions.tenants {
        tenant.opening_balance = Micros(1_000_000_000_000_000);
    }
    change(&mut definitions.providers[0]);
    let mut house = House::new(definitions);
    house.checks = false;
    house
}

/// Receipts are not asked for, so that what is sent is done.
fn sms(priority: Priority, parts: u8) -> Sms {
    Sms { priority, registered: 0, ..Sms::of_parts(parts) }
}

/// How much is submitted in a millisecond.
#[derive(Clone, Copy, Debug)]
enum Traffic {
    /// There is always more.
    Backlog,
    /// At random, so many percent of the rate.
    Random(u64),
    /// Ten times the rate for a second, then nothing for twelve.
    Campaigns,
}

impl Traffic {
    fn messages(self, milli: u64, rate: u64, random: &mut Random) -> u64 {
        match self {
            Traffic::Backlog => {
                rate.div_ceil(1_000) * u64::from(milli.is_multiple_of(1_000 / rate.min(1_000)))
            }
            Traffic::Random(percent) => {
                let per_million = rate * percent * 10;
                per_million / 1_000_000 + u64::from(random.below(1_000_000) < per_million % 1_000_000)
            }
            Traffic::Campaigns => {
                if milli.is_multiple_of(13_000) {
                    rate * 10
                } else {
                    0
                }
            }
        }
    }
}

#[test]
fn in_every_second_a_provider_sees_its_rate() {
    // rate, traffic, milliseconds between turns at most, parts of each third message, seconds
    let table = [
        (100, Traffic::Backlog, 1, 1, 60),
        (100, Traffic::Backlog, 8, 3, 60),
        (1_000, Traffic::Backlog, 8, 1, 20),
        (1_000, Traffic::Backlog, 20, 1, 20),
        (1_000, Traffic::Backlog, 3, 3, 20),
        (100, Traffic::Random(90), 1, 1, 200),
        (500, Traffic::Random(97), 5, 1, 100),
        (100, Traffic::Campaigns, 3, 2, 65),
        // Messages of more parts than gather, and than are sent in a second.
        (5, Traffic::Backlog, 8, 4, 120),
        (5, Traffic::Backlog, 8, 10, 240),
        (20, Traffic::Backlog, 8, 10, 60),
        (20, Traffic::Random(20), 8, 10, 240),
    ];
    for (rate, traffic, turn, parts, seconds) in table {
        let what = format!("{rate}/s, {traffic:?}, turns of {turn} ms, {parts} parts");
        let burst = rate / 10;
        let mut house = house(|provider| (provider.throughput, provider.burst) = (rate as u32, burst as u32));
        let mut smsc = Smsc::new(&mut house, 2, 500, 30);
        let mut random = Random(7);
        if matches!(traffic, Traffic::Backlog) {
            house.submit_all("acme", &vec![sms(Priority::Normal, 1); rate as usize]);
        }
        let mut all = Vec::new();
        while house.now.mono.0 < seconds * SECOND {
            let milli = house.now.mono.0 / 1_000;
            let passed = 1 + random.below(turn);
            for milli in milli..milli + passed {
                let count = traffic.messages(milli, rate, &mut random);
                all.extend(
                    (0..count).map(|_| sms(Priority::Normal, if random.below(3) == 0 { parts } else { 1 })),
                );
            }
            house.advance(passed * 1_000);
            match all.is_empty() {
                true => house.turn([]),
                false => drop(house.submit_all("other", &std::mem::take(&mut all))),
            }
            smsc.serve(&mut house);
        }
        // Of what gathers the parts of a message go together, so that a second may end with the last of them.
        let most = rate as usize * 102 / 100 + usize::from(parts).min(burst as usize);
        let (busiest, over) = smsc.windows(None, most);
        assert!(busiest <= (rate + burst) as usize, "{what}: {busiest} in a second");
        // The burst that is there after the start is one of a thousand seconds, whatever the length of the test.
        let allowed = seconds * SECOND / 1_000 + 100_000;
        assert!(over <= allowed, "{what}: for {over} µs seconds of more than 2 % too much begin");
        if matches!(traffic, Traffic::Backlog) {
            assert!(smsc.record.len() as u64 >= rate * seconds * 98 / 100, "{what}: {}", smsc.record.len());
        }
    }
}

#[test]
fn a_disk_that_stalls_brings_no_more_together_than_the_burst() {
    // Parts a second of the provider and of each bind, milliseconds that each flush takes, those between two stalls, and how long they are
    let table = [
        (500, 0, 5, 900, 300),
        (500, 0, 1, 3_000, 990),
        (100, 0, 20, 2_000, 500),
        (1_000, 0, 10, 100, 100),
        (2_000, 0, 2, 700, 80),
        (10, 0, 3, 2_000, 700),
        // Less than a part is no burst.
        (5, 0, 3, 2_000, 700),
        (9, 0, 20, 300, 150),
        (0, 4, 3, 1_100, 300),
        (0, 250, 5, 900, 300),
    ];
    for (rate, of_bind, flush, between, stall) in table {
        let what =
            format!("{rate}/s, {of_bind}/s a bind, flushes of {flush} ms, every {between} ms one of {stall}");
        let mut house = house(|provider| {
            (provider.throughput, provider.burst) = (rate, rate / 10);
            provider.bind_throughput = of_bind;
        });
        let all = rate.max(2 * of_bind);
        house.submit_all("acme", &vec![sms(Priority::Normal, 1); all as usize * 10]);
        let mut smsc = Smsc::new(&mut house, 2, 5_000, 300);
        let (mut ends, mut next_stall) = (0, between * 1_000);
        while house.now.mono.0 < 10 * SECOND {
            let now = house.now.mono.0;
            if now >= ends {
                house.stick(false);
                smsc.serve(&mut house);
                let stalls = now >= next_stall;
                ends = now + if stalls { stall } else { flush } * 1_000;
                next_stall = if stalls { ends + between * 1_000 } else { next_stall };
                house.stick(true);
            }
            house.turn([]);
            house.advance(1_000);
        }
        // Two binds have a burst each.
        let burst = if of_bind > 0 { 2 * (of_bind / 10) } else { rate / 10 };
        let (busiest, _) = smsc.windows(None, 0);
        assert!(busiest <= (all + burst) as usize, "{what}: {busiest} in a second");
        // They cost no more than their own time.
        let least = u64::from(all) * 10 * between / (between + stall) * 97 / 100 - u64::from(all / 4);
        assert!(smsc.record.len() as u64 >= least, "{what}: {} of {least}", smsc.record.len());
    }
}

#[test]
fn each_bind_has_its_own_rate() {
    for (throughput, bind_throughput, total) in [(0, 50, 100), (80, 50, 80), (200, 50, 100)] {
        let mut house = house(|provider| {
            (provider.throughput, provider.burst) = (throughput, throughput / 10);
            provider.bind_throughput = bind_throughput;
        });
        house.submit_all("acme", &vec![sms(Priority::Normal, 1); 4_000]);
        let mut smsc = Smsc::new(&mut house, 2, 100, 20);
        while house.now.mono.0 < 20 * SECOND {
            house.advance(2_000);
            house.turn([]);
            smsc.serve(&mut house);
        }
        for bind in 0..2 {
            let (busiest, _) = smsc.windows(Some(bind), 0);
            assert!(busiest <= 55, "{throughput}: {busiest} over bind {bind} in a second");
        }
        let sent = smsc.record.len();
        assert!((total * 19..=total * 21).contains(&sent), "{throughput}: {sent}");
    }
}

/// How long passwords take to reach a provider that 4,000 messages of a campaign wait for, in milliseconds.
fn passwords(house: &mut House, smsc: &mut Smsc) -> Vec<u64> {
    let mut random = Random(5);
    let (mut passwords, mut next) = (Vec::new(), 3 * SECOND);
    house.submit_all("acme", &vec![sms(Priority::Normal, 1); 4_000]);
    while house.now.mono.0 < 30 * SECOND {
        house.advance(1_000 + random.below(4) * 1_000);
        if house.now.mono.0 >= next {
            next += 700_000 + random.below(2 * SECOND);
            let at = house.now.mono.0;
            passwords.push((house.accepted("other", &sms(Priority::High, 1)), at));
        } else {
            house.turn([]);
        }
        smsc.serve(house);
    }
    let came = |(number, at): (u64, u64)| (smsc.came(number).unwrap_or(u64::MAX) - at) / 1_000;
    // The last one may be on its way yet.
    passwords.pop();
    passwords.into_iter().map(came).collect()
}

#[test]
fn a_password_never_waits_behind_a_campaign() {
    // throughput, what the provider takes in a second, window, round trip in milliseconds → a password's wait in milliseconds
    let table = [
        (100, 0, 1_000, 20, 20),
        (100, 0, 1_000, 2_000, 20),
        (100, 0, 10, 500, 20),
        (0, 100, 1_000, 20, 500),
        (0, 100, 1_000, 300, 500),
        (0, 0, 50, 3_000, 20),
        (0, 0, 10, 100, 120),
    ];
    for (throughput, limit, window, round_trip, most) in table {
        let mut house =
            house(|provider| (provider.throughput, provider.burst) = (throughput, throughput / 10));
        let mut smsc = Smsc::new(&mut house, 1, window, round_trip);
        smsc.limit = limit;
        let waits = passwords(&mut house, &mut smsc);
        assert!(waits.len() > 10);
        let what = format!("{throughput}/s, taking {limit}, window {window}, {round_trip} ms");
        assert!(waits.iter().all(|wait| *wait <= most), "{what}: {waits:?}");
        // What is ahead of it at the provider: at a rate, no more than twice what that carries in a round trip.
        if throughput > 0 {
            let most = (2 * u64::from(throughput) * round_trip / 1_000).max(10) as usize;
            assert!(smsc.most_open <= most, "{what}: {} in flight", smsc.most_open);
        }
    }
}

#[test]
fn where_only_the_provider_limits_no_more_is_in_flight_than_it_carries() {
    let mut house = house(|_| ());
    let mut smsc = Smsc::new(&mut house, 1, 1_000, 100);
    smsc.limit = 200;
    house.submit_all("acme", &vec![sms(Priority::Normal, 1); 12_000]);
    while house.now.mono.0 < 50 * SECOND {
        if house.now.mono.0 == 20 * SECOND {
            (smsc.most_open, smsc.record) = (0, Vec::new());
            smsc.taken.clear();
        }
        house.advance(2_000);
        house.turn([]);
        smsc.serve(&mut house);
    }
    // Twice what 200 a second and some hundredths more are in a tenth of a second.
    assert!(smsc.most_open <= 42, "{} in flight", smsc.most_open);
    let (sent, taken) = (smsc.record.len(), smsc.taken.len());
    assert!(sent <= 30 * 200 * 105 / 100 && taken >= 30 * 200 * 95 / 100, "{sent} sent, {taken} taken");
}

#[test]
fn a_window_is_used_wholly_where_nothing_is_urgent() {
    for (high, expected) in [(false, 4_800), (true, 4_400)] {
        let mut house = house(|_| ());
        let mut smsc = Smsc::new(&mut house, 1, 1_000, 200);
        house.submit_all("acme", &vec![sms(Priority::Normal, 1); 20_000]);
        let mut at_second = BTreeMap::new();
        while house.now.mono.0 < 3 * SECOND {
            if high && house.now.mono.0 % 500_000 == 0 {
                house.submit("other", &sms(Priority::High, 1));
            }
            at_second.entry(house.now.mono.0 / SECOND).or_insert(smsc.record.len());
            house.advance(1_000);
            house.turn([]);
            smsc.serve(&mut house);
        }
        let sent = smsc.record.len() - at_second[&1];
        assert!(sent >= 2 * expected, "{sent} in two seconds, high: {high}");
        assert!(!high || smsc.most_open <= 1_000);
    }
}

fn rate(house: &House) -> u32 {
    house.engine.snapshot().providers[0].rate
}

#[test]
fn what_a_provider_says_of_how_busy_it_is_holds_from_91_and_slows_at_100() {
    for (state, slower) in [(90, false), (91, false), (99, false), (100, true)] {
        let mut house = house(|up| (up.throughput, up.burst) = (20, 1));
        house.bind("up", 0, 100);
        house.turn([Command::Congested { provider: 0, state }]);
        assert_eq!(rate(&house) < 20, slower, "{state}");
    }
    // A rate that was lowered grows, unless it says that it is near its limit.
    for (state, grows) in [(0, true), (90, true), (91, false), (99, false)] {
        let mut house = house(|up| (up.throughput, up.burst) = (20, 1));
        let bind = house.bind("up", 0, 100);
        house.turn([Command::Congested { provider: 0, state: 100 }]);
        let lowered = rate(&house);
        house.accepted_all("acme", &sms(Priority::Normal, 1), 1_000);
        for _ in 0..200 {
            house.turn([Command::Congested { provider: 0, state }]);
            house.pass(std::time::Duration::from_millis(100));
            for request in house.taken(bind) {
                house.respond("up", 0, &[(request.part(), 0, "")]);
            }
        }
        assert_eq!(rate(&house) > lowered, grows, "{state}");
    }
}

#[test]
fn a_throttled_answer_is_none_that_was_taken() {
    let mut house = house(|up| (up.throughput, up.burst) = (1_000, 200));
    let bind = house.bind("up", 0, 1_000);
    house.accepted_all("acme", &sms(Priority::High, 1), 120);
    let mut answers = 0;
    while answers < 99 {
        for request in house.taken(bind).into_iter().take(99 - answers) {
            assert_eq!(rate(&house), 1_000, "{answers} answers");
            let status = if answers < 94 { 0 } else { THROTTLED };
            house.respond("up", 0, &[(request.part(), status, "")]);
            answers += 1;
        }
        house.pass(std::time::Duration::from_millis(2));
    }
    assert!(rate(&house) < 1_000, "five of a hundred, and no more were taken");
}

#[test]
fn places_are_counted_by_what_is_left_of_a_message_and_of_its_queue() {
    // Two parts of three were taken: the third needs one place.
    let mut house = house(|_| {});
    let bind = house.bind("up", 0, 3);
    let long = house.accepted("acme", &sms(Priority::High, 3));
    let short = house.accepted_all("acme", &sms(Priority::High, 1), 2);
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    for (place, status) in [(0, 0), (2, 0), (1, THROTTLED)] {
        house.respond("up", 0, &[(parts[place], status, "")]);
    }
    let sent: Vec<u64> = house.taken(bind).iter().map(Request::number).collect();
    assert_eq!(sent, [&short[..], &[long]].concat());
    // What needs more places than there are is cancelled: what was behind it has them at once.
    let waits = house.accepted("acme", &sms(Priority::High, 3));
    let behind = house.accepted("acme", &sms(Priority::High, 1));
    house.respond("up", 0, &[(PartToken::new(short[0], 0), 0, "")]);
    assert_eq!(house.taken(bind), []);
    assert_eq!(house.of_one("acme", waits, OfOne::Cancel), Some(engine::effect::Operated::Done));
    house.turn([]);
    let sent: Vec<u64> = house.taken(bind).iter().map(Request::number).collect();
    assert_eq!(sent, [behind]);
}

#[test]
fn what_is_throttled_goes_again_in_order() {
    let mut house = house(|_| ());
    let mut smsc = Smsc::new(&mut house, 3, 40, 30);
    smsc.limit = 50;
    let all: Vec<u64> = house.accepted_all("acme", &sms(Priority::Normal, 1), 600);
    while house.now.mono.0 < 30 * SECOND && smsc.taken.len() < all.len() {
        house.advance(1_000);
        house.turn([]);
        smsc.serve(&mut house);
    }
    let mut sorted = smsc.taken.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, all, "none is lost and none is taken twice");
    // What is in flight when others are refused may be taken before them, and nothing else.
    let in_flight = smsc.most_open;
    for (place, number) in smsc.taken.iter().enumerate() {
        let wanted = all.partition_point(|one| one < number);
        assert!(place.abs_diff(wanted) <= in_flight, "{number} at {place} instead of {wanted}");
    }
    let record: Vec<u64> = smsc.record.iter().map(|(_, _, number)| *number).collect();
    let first_again = record.iter().enumerate().find(|(place, number)| record[..*place].contains(number));
    assert!(first_again.is_some(), "the provider has throttled");
}

#[test]
fn shares_in_a_providers_record_differ_by_a_round_at_most() {
    let table = [(0, 0, 1, 1), (0, 0, 1, 2), (300, 0, 1, 2), (300, 0, 4, 1), (0, 200, 1, 1), (0, 200, 1, 2)];
    for (throughput, limit, parts, binds) in table {
        let mut house =
            house(|provider| (provider.throughput, provider.burst) = (throughput, throughput / 10));
        let mut smsc = Smsc::new(&mut house, binds, 50, 40);
        smsc.limit = limit;
        let tenants: Vec<String> = (0..6).map(|one| format!("tenant-{one}")).collect();
        let mut owner = BTreeMap::new();
        let mut random = Random(11);
        // Each comes at its own time, with more than it can get rid of; the first with most.
        for (place, tenant) in tenants.iter().enumerate() {
            let count = if place == 0 { 3_000 } else { 600 };
            let all: Vec<Sms> =
                (0..count).map(|_| sms(Priority::Normal, 1 + random.below(parts) as u8)).collect();
            for outcome in house.submit_all(tenant, &all) {
                owner.insert(house.number(outcome), place);
            }
            house.advance(3_000);
            house.turn([]);
            smsc.serve(&mut house);
        }
        let begin = smsc.record.len();
        while house.now.mono.0 < 6 * SECOND && smsc.record.len() < begin + 1_800 {
            house.advance(1_000 + random.below(5) * 1_000);
            house.turn([]);
            smsc.serve(&mut house);
        }
        let mut sent = [0i64; 6];
        // A turn of eight parts, and a message that overdraws one and lacks to the other. What goes over several binds at
        // once comes bind by bind.
        let round = (8 + 2 * (parts as i64 - 1)) * i64::from(binds);
        for (_, _, number) in &smsc.record[begin..] {
            sent[owner[number]] += 1;
            let (least, most) = (sent.iter().min().unwrap_or(&0), sent.iter().max().unwrap_or(&0));
            assert!(most - least <= round, "{throughput}/s, taking {limit}, {parts} parts: {sent:?}");
        }
        assert!(sent.iter().all(|count| *count > 30), "{sent:?}");
    }
}
