//! What one seed means: tenants, providers, their habits, and what befalls the gateway when. It runs nothing.

use std::time::Duration;

use codecs::message_id::Form;
use engine::catalog::{
    Definitions, InDoubt, InboundDefinition, InboundSettings, LongMessages, ProviderDefinition,
    RouteDefinition, Settings, SettleOn, Strategy, TenantDefinition,
};
use engine::money::Micros;
use engine::submission::Priority;

use crate::dice::Dice;
use crate::disk::Refuses;
use crate::operator::Kind;

/// What a part costs.
pub const PRICE: i64 = 1_000;
/// What tenants call what they send together.
pub const CAMPAIGNS: [&str; 2] = ["c0", "c1"];
/// For a provider's answer to a submit_sm.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The campaign of what goes to a phone over HTTP; a quarter of it has none.
pub fn campaign(phone: u64) -> Option<&'static str> {
    (!phone.is_multiple_of(4)).then(|| CAMPAIGNS[usize::from(phone.is_multiple_of(2))])
}

/// A bug that is put into the simulation's wrappers, to show that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    Nothing,
    /// The disk loses the newest flushed group in a kill.
    LostGroup,
    /// Effects are released before their group is flushed.
    EarlyRelease,
    /// A wallet's settled amount is written twice.
    DoubleSettle,
    /// A receipt is acknowledged and not told to the engine.
    DroppedReceipt,
    /// A message from a phone likewise.
    DroppedPhone,
    /// A tenant's messages are given more than their priority.
    UnfairQueue,
    /// The engine believes in larger windows than the providers do.
    WindowOverrun,
    /// The engine believes in larger rates than the providers have.
    RateOverrun,
    /// A suspension is for others than the operator meant.
    LeakingSuspension,
    /// A request's key does not reach the engine.
    ForgottenKey,
    /// A list of what lives leaves out the newest.
    ShortList,
    /// What a provider says when it is asked does not reach the engine.
    DroppedAnswer,
    /// The disk forgets parked blocks in a kill that it had flushed.
    LostParked,
    /// Retention takes a month more than it should.
    EagerRetention,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    Plain,
    /// Leaves and comes again.
    Flaky,
    /// Submits, and does not read what comes back while there are faults.
    NeverReads,
}

#[derive(Clone, Debug)]
pub struct TenantPlan {
    pub id: String,
    pub window: u32,
    pub sessions: u32,
    pub rate: u32,
    pub messages: u32,
    /// The longest pause between two submissions, in milliseconds.
    pub pause_max: u64,
    pub opening: i64,
    pub settle_on: SettleOn,
    pub priority: Priority,
    pub habit: Habit,
    /// Tasks that speak HTTP for it.
    pub callers: u32,
}

impl TenantPlan {
    /// Its key of the HTTP API.
    pub fn key(&self) -> String {
        format!("key-of-{}", self.id)
    }
}

/// What a provider does, in percent of the messages it gets.
#[derive(Clone, Debug)]
pub struct ProviderPlan {
    pub id: String,
    pub window: u32,
    pub binds: u16,
    pub throughput: u32,
    /// The same of each bind.
    pub bind_throughput: u32,
    pub form: Form,
    pub in_doubt: InDoubt,
    pub long_messages: LongMessages,
    /// The most that it is sent in one submit_multi; 1: it is sent none.
    pub submit_multi: usize,
    pub lost_answers: u64,
    pub late_answers: u64,
    pub throttles: u64,
    pub retries: u64,
    pub refuses: u64,
    pub refuses_binds: u64,
    /// In percent of its sessions: it ends them itself, in good order.
    pub unbinds: u64,
    pub answer_millis: u64,
    pub receipts_early: u64,
    pub receipts_late: u64,
    pub receipts_twice: u64,
    pub receipts_never: u64,
    pub receipts_failed: u64,
    /// When it is asked about a message without a receipt.
    pub query_after: Option<Duration>,
    pub lost_queries: u64,
    pub late_queries: u64,
    pub wrong_queries: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Kill,
    Restart,
    Cut,
    Stall(Duration),
    Refuse(u32, Refuses),
    /// By so many milliseconds.
    Jump(i64),
    ProviderDown(usize),
    ProviderUp(usize),
    DiskNearlyFull(bool),
    /// Tenants cancel some of the messages that were accepted last.
    Cancel,
    Operate(Kind),
}

/// What operators change, as often as it stands here.
const CHANGES: [Kind; 10] = [
    Kind::Suspend,
    Kind::Suspend,
    Kind::Suspend,
    Kind::Resume,
    Kind::Resume,
    Kind::Bounce,
    Kind::Move,
    Kind::Disable,
    Kind::Enable,
    Kind::Doubts,
];

/// Draws an event, for so many providers.
type Make = fn(&mut Dice, usize) -> Event;

#[derive(Clone, Debug)]
pub struct Plan {
    pub tenants: Vec<TenantPlan>,
    pub providers: Vec<ProviderPlan>,
    /// What happens, in order of time.
    pub events: Vec<(Duration, Event)>,
    /// Octets of the journal's ring.
    pub ring: u64,
    /// Whether the side file follows every flush, or only at the end and when nothing happens.
    pub marks: bool,
    /// Milliseconds that a flush takes at most.
    pub flush_max: u64,
    /// Milliseconds that octets are on their way at most.
    pub delay_max: u64,
    /// Octets on their way in one direction.
    pub room: usize,
    pub archive_after: Duration,
    /// After so many milliseconds the archive begins another database.
    pub archive_period: i64,
    /// Milliseconds for which the archive's thread may be held up each time it has something to do.
    pub archive_stall: u64,
    /// Messages that wait in memory; more are parked.
    pub queue_memory: u64,
    /// One provider, tenants of one priority and no faults: whose turn it is can be checked.
    pub is_fair: bool,
    /// Restarts, and nothing else: nothing can be in doubt.
    pub is_gentle: bool,
    shares: [u32; 3],
}

impl Plan {
    pub fn is_alike(&self) -> bool {
        self.providers.iter().any(|provider| provider.submit_multi > 1)
    }

    /// What is written to a phone: the same to all where messages that are alike may go together.
    pub fn text(&self, phone: u64) -> String {
        match self.is_alike() {
            true => "text for everybody".to_owned(),
            false => format!("text for {phone}"),
        }
    }

    pub fn new(dice: &mut Dice) -> Plan {
        let is_fair = dice.happens(15);
        let is_gentle = !is_fair && dice.happens(10);
        let is_kind = is_fair || is_gentle;
        let tenants = dice.in_range(2..5) as usize;
        let providers = if is_fair { 1 } else { dice.in_range(1..4) as usize };
        let mut plan = Plan {
            tenants: (0..tenants).map(|index| tenant(dice, index, is_fair)).collect(),
            providers: (0..providers).map(|index| provider(dice, index, is_fair, is_kind)).collect(),
            events: Vec::new(),
            ring: dice.choose(&[16 << 10, 128 << 10, 1 << 30]),
            marks: dice.happens(50),
            flush_max: dice.choose(&[0, 2, 10, 100]),
            delay_max: dice.choose(&[0, 2, 20, 100]),
            room: dice.choose(&[512, 4 << 10, 64 << 10]),
            archive_after: Duration::from_secs(dice.choose(&[1, 10, 60])),
            archive_period: dice.choose(&[2_000, 20_000, 20_000, i64::MAX]),
            archive_stall: dice.choose(&[0, 0, 0, 2_000, 20_000]),
            queue_memory: dice.choose(&[3, 10, 30, 1_000_000]),
            is_fair,
            is_gentle,
            shares: [16, 4, 1],
        };
        if !is_fair {
            plan.draw_events(dice);
        }
        for provider in &mut plan.providers {
            provider.unbinds = if is_fair { 0 } else { dice.choose(&[0, 0, 30, 100]) };
        }
        plan
    }

    fn draw_events(&mut self, dice: &mut Dice) {
        let until = dice.in_range(10_000..90_000);
        let providers = self.providers.len();
        let kinds: [(u64, Make); 10] = [
            (4, |_, _| Event::Kill),
            (2, |_, _| Event::Restart),
            (6, |_, _| Event::Cut),
            (3, |dice, _| Event::Stall(Duration::from_millis(dice.in_range(100..40_000)))),
            (2, |dice, _| {
                Event::Refuse(dice.in_range(0..60) as u32, dice.choose(&[Refuses::Full, Refuses::Broken]))
            }),
            (2, |dice, _| Event::Jump(dice.choose(&[3_600_000, -3_600_000, 90_000, -5_000]))),
            (3, |dice, providers| Event::ProviderDown(dice.in_range(0..providers as u64) as usize)),
            (1, |_, _| Event::DiskNearlyFull(true)),
            (8, |_, _| Event::Cancel),
            (4, |dice, _| Event::Operate(dice.choose(&CHANGES))),
        ];
        for (most, make) in kinds {
            for _ in 0..dice.in_range(0..most + 1) {
                let at = Duration::from_millis(dice.in_range(200..until));
                let event = make(dice, providers);
                if self.is_gentle && !matches!(event, Event::Restart | Event::Cancel | Event::Operate(_)) {
                    continue;
                }
                self.events.push((at, event));
                let ends = at + Duration::from_millis(dice.in_range(500..30_000));
                match event {
                    Event::ProviderDown(index) => self.events.push((ends, Event::ProviderUp(index))),
                    Event::DiskNearlyFull(_) => {
                        // Where it goes on, the process stops while that can still be written.
                        let next =
                            if dice.happens(30) { Event::Restart } else { Event::DiskNearlyFull(false) };
                        self.events.push((ends, next));
                    }
                    _ => {}
                }
            }
        }
        if dice.happens(75) {
            self.draw_surgery(dice, until);
        }
        self.events.sort_by_key(|(at, _)| *at);
    }

    /// What waits is held, some of it is cancelled and moved, and in the end all is let go; the process may die in between.
    fn draw_surgery(&mut self, dice: &mut Dice, until: u64) {
        let mut at = dice.in_range(200..until / 2);
        let kinds = [Kind::SuspendAll, Kind::Bounce, Kind::List, Kind::Move, Kind::Ledger, Kind::Resume];
        for kind in kinds {
            self.events.push((Duration::from_millis(at), Event::Operate(kind)));
            at += dice.in_range(500..8_000);
            if dice.happens(10) {
                let event = if self.is_gentle { Event::Restart } else { Event::Kill };
                self.events.push((Duration::from_millis(at), event));
                at += dice.in_range(100..5_000);
            }
        }
    }

    /// Whether the clock does.
    pub fn jumps(&self) -> bool {
        self.events.iter().any(|(_, event)| matches!(event, Event::Jump(_)))
    }

    /// The tenants as they stand in a file, for the doors.
    pub fn accounts(&self) -> Vec<config::Tenant> {
        let text = self.tenants.iter().map(|tenant| {
            let TenantPlan { id, rate, window, .. } = tenant;
            let (key, price) = (tenant.key(), Micros(PRICE));
            format!(
                "[[tenant]]\nid = \"{id}\"\ncurrency = \"EUR\"\nprice = \"{price}\"\nrate = {rate}\n\
                 api_keys = [\"{key}\"]\n\
                 smpp = {{ system_id = \"{id}\", password = \"secret\", window = {window}, max_binds = 10 }}\n"
            )
        });
        let text: String = text.collect();
        let config = config::load(Some(("simulated", &text)), []);
        config.unwrap_or_else(|problems| panic!("{problems:?}")).tenant
    }

    /// What the engine is told. A planted bug may make it tell a lie.
    pub fn definitions(&self, planted: Planted) -> Definitions {
        let raised = |index: usize| planted == Planted::UnfairQueue && index == 0;
        let tenants = self.tenants.iter().enumerate().map(|(index, tenant)| {
            let priority = if raised(index) { Priority::High } else { tenant.priority };
            tenant_definition(tenant, priority)
        });
        let ids = self.providers.iter().map(|provider| (provider.id.clone(), 1)).collect();
        let strategy = if self.providers.len() > 1 { Strategy::RoundRobin } else { Strategy::Failover };
        Definitions {
            settings: Settings {
                shares: self.shares,
                archive_after: self.archive_after,
                high_percent: 10,
                queue_memory: self.queue_memory,
                // Longer than any clock jumps: no text of a phone comes twice in earnest.
                inbound: InboundSettings {
                    repeat_window: Duration::from_secs(24 * 3_600),
                    parts_wait: Duration::from_secs(24 * 3_600),
                    ..InboundSettings::default()
                },
                ..Settings::default()
            },
            tenants: tenants.collect(),
            providers: self.providers.iter().map(|provider| provider_definition(provider, planted)).collect(),
            routes: vec![RouteDefinition { providers: ids, strategy, ..RouteDefinition::default() }],
            inbound: self.tenants.iter().map(inbound_definition).collect(),
            rates: Vec::new(),
        }
    }
}

fn tenant(dice: &mut Dice, index: usize, is_fair: bool) -> TenantPlan {
    let habits = [Habit::Plain, Habit::Plain, Habit::Flaky, Habit::NeverReads];
    let is_poor = !is_fair && dice.happens(10);
    // With fairness to be seen, the first one floods and the others come now and then.
    let (messages, pause_max) = match (is_fair, index) {
        (true, 0) => (300, 0),
        (true, _) => (20, 1_500),
        _ => (dice.in_range(5..90) as u32, dice.choose(&[0, 50, 500, 2_000])),
    };
    TenantPlan {
        id: format!("t{index}"),
        window: if is_fair { 100 } else { dice.choose(&[1, 3, 10, 100]) },
        sessions: if is_fair { 1 } else { dice.in_range(1..4) as u32 },
        rate: if is_fair { 0 } else { dice.choose(&[0, 0, 5, 50]) },
        messages,
        pause_max,
        opening: if is_poor { 20 * PRICE } else { 1_000_000_000 },
        settle_on: dice.choose(&[SettleOn::Sent, SettleOn::Delivered]),
        priority: if is_fair { Priority::Normal } else { dice.choose(&[Priority::Normal, Priority::High]) },
        habit: if is_fair { Habit::Plain } else { dice.choose(&habits) },
        callers: if is_fair { 0 } else { dice.in_range(0..3) as u32 },
    }
}

fn provider(dice: &mut Dice, index: usize, is_fair: bool, is_kind: bool) -> ProviderPlan {
    let mut some = |of: &[u64]| if is_kind { 0 } else { dice.choose(of) };
    let percents = [0, 0, 2, 10];
    let fates = [0; 13].map(|_: u64| some(&percents));
    let [
        lost_answers,
        late_answers,
        throttles,
        retries,
        refuses,
        refuses_binds,
        early,
        late,
        twice,
        never,
        ..,
    ] = fates;
    let [.., lost_queries, late_queries, wrong_queries] = fates;
    let query_after = dice.choose(&[None, Some(5), Some(60)]).filter(|_| !is_fair);
    ProviderPlan {
        id: format!("p{index}"),
        window: if is_fair { 10 } else { dice.choose(&[1, 4, 10, 50]) },
        binds: if is_fair { 1 } else { dice.in_range(1..4) as u16 },
        throughput: if is_fair { 20 } else { dice.choose(&[0, 0, 10, 100]) },
        bind_throughput: if is_fair { 0 } else { dice.choose(&[0, 0, 0, 4, 20]) },
        form: dice.choose(&Form::ALL),
        in_doubt: dice.choose(&[InDoubt::Resend, InDoubt::Resend, InDoubt::Fail, InDoubt::Hold]),
        long_messages: dice.choose(&[
            LongMessages::Udh8,
            LongMessages::Udh16,
            LongMessages::Sar,
            LongMessages::Payload,
        ]),
        submit_multi: if is_fair { 1 } else { dice.choose(&[1, 2, 20]) },
        lost_answers,
        late_answers,
        throttles,
        retries,
        refuses,
        refuses_binds: refuses_binds * 3,
        unbinds: 0,
        answer_millis: dice.choose(&[1, 20, 200]),
        receipts_early: early * 3,
        receipts_late: late,
        receipts_twice: twice,
        // One that is asked loses more of them.
        receipts_never: if query_after.is_some() { never * 3 } else { never },
        receipts_failed: if is_kind { 0 } else { 20 },
        query_after: query_after.map(Duration::from_secs),
        lost_queries: lost_queries * 2,
        late_queries: late_queries * 2,
        wrong_queries: wrong_queries * 2,
    }
}

/// What is written to a tenant's name is its own.
fn inbound_definition(tenant: &TenantPlan) -> InboundDefinition {
    let (to, tenant) = (vec![tenant.id.clone()], tenant.id.clone());
    InboundDefinition { to, tenant, ..InboundDefinition::default() }
}

fn tenant_definition(tenant: &TenantPlan, priority: Priority) -> TenantDefinition {
    TenantDefinition {
        id: tenant.id.clone(),
        currency: "EUR".to_owned(),
        price: Some(Micros(PRICE)),
        opening_balance: Micros(tenant.opening),
        priority,
        settle_on: tenant.settle_on,
        ..TenantDefinition::default()
    }
}

fn provider_definition(provider: &ProviderPlan, planted: Planted) -> ProviderDefinition {
    let faster = if planted == Planted::RateOverrun { 3 } else { 1 };
    ProviderDefinition {
        id: provider.id.clone(),
        priority: 1,
        throughput: provider.throughput * faster,
        burst: 1,
        message_id: provider.form,
        in_doubt: provider.in_doubt,
        long_messages: provider.long_messages,
        submit_multi: provider.submit_multi > 1,
        in_doubt_wait: Duration::from_secs(10),
        query_after: provider.query_after,
        bind_throughput: provider.bind_throughput * faster,
        receipt_wait: Duration::from_secs(1_800),
        cost: Micros(1),
        attempts_max: 4,
        retry_first: Duration::from_secs(1),
        retry_max: Duration::from_secs(30),
        ..ProviderDefinition::default()
    }
}
