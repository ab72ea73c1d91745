//! The property: whatever is suspended and resumed, one tenant's messages to one prefix are sent in the order of their acceptance.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::folding::compare;

/// Something that an operator or the world does. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Act {
    Submit { tenant: bool, prefix: bool, count: u8 },
    Suspend { which: u8, lasts: Option<u8> },
    Resume { choice: u8 },
    Window { up: bool, window: u8 },
    Answer { count: u8 },
    Pass { millis: u16 },
    Crash,
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (any::<bool>(), any::<bool>(), 1u8..30)
            .prop_map(|(tenant, prefix, count)| Act::Submit { tenant, prefix, count }),
        4 => (0u8..5, prop::option::of(1u8..20)).prop_map(|(which, lasts)| Act::Suspend { which, lasts }),
        4 => any::<u8>().prop_map(|choice| Act::Resume { choice }),
        2 => (any::<bool>(), 1u8..50).prop_map(|(up, window)| Act::Window { up, window }),
        6 => (1u8..60).prop_map(|count| Act::Answer { count }),
        2 => (1u16..8_000).prop_map(|millis| Act::Pass { millis }),
        1 => Just(Act::Crash),
    ]
}

const PREFIXES: [u64; 2] = [254_700_000_000, 254_100_000_000];

/// One provider that refuses nothing. What is unanswered when it goes is unsent, so that no doubt changes the order.
struct Orderly {
    house: House,
    open: std::collections::VecDeque<PartToken>,
    bind: Option<ConnectionId>,
    /// By tenant and prefix, what was sent last.
    last: BTreeMap<(u32, u64), u64>,
    given: u64,
}

impl Orderly {
    fn act(&mut self, act: &Act) {
        match act {
            Act::Submit { tenant, prefix, count } => {
                let (tenant, to) = (["acme", "other"][usize::from(*tenant)], PREFIXES[usize::from(*prefix)]);
                self.house.submit_all(tenant, &vec![Sms { to, ..Sms::default() }; usize::from(*count)]);
            }
            Act::Suspend { which, lasts } => {
                let until =
                    lasts.map(|seconds| self.house.now.wall.after(Duration::from_secs(u64::from(seconds))));
                let filters = [
                    of_tenant("acme"),
                    of_tenant("other"),
                    of_prefix("2547"),
                    of_provider("up"),
                    Filter::default(),
                ];
                self.house.turn([order(Operation::Suspend { until }, filters[usize::from(*which)].clone())]);
            }
            Act::Resume { choice } => {
                let rules: Vec<u32> = self.house.engine.summary().rules.1.into_keys().collect();
                let Some(rule) = rules.get(usize::from(*choice) % rules.len().max(1)) else { return };
                self.house.turn([order(Operation::Resume { rule: Some(*rule) }, Filter::default())]);
            }
            Act::Window { up: true, window } if self.bind.is_none() => {
                self.bind = Some(self.house.bind("up", 0, u32::from(*window)));
            }
            Act::Window { up: false, .. } if self.bind.is_some() => {
                let unsent: Vec<PartToken> = self.open.drain(..).collect();
                for token in &unsent {
                    // It will be sent again, and first.
                    let message = self.house.message(token.number());
                    self.last.remove(&(message.tenant, message.body().destination));
                }
                self.bind = None;
                self.house.bind_down("up", 0, &unsent, &[]);
            }
            Act::Window { .. } => {}
            Act::Answer { count } => self.answer(usize::from(*count)),
            Act::Pass { millis } => self.house.pass(Duration::from_millis(u64::from(*millis))),
            Act::Crash => {
                // All that is out is answered before, or it would be in doubt.
                self.answer(usize::MAX);
                self.open.clear();
                self.house.crash();
                self.bind = None;
            }
        }
        self.gather();
        self.house.replies.clear();
    }

    fn answer(&mut self, count: usize) {
        for _ in 0..count.min(self.open.len()) {
            let Some(token) = self.open.pop_front() else { return };
            self.given += 1;
            self.house.respond("up", 0, &[(token, 0, &format!("id{}", self.given))]);
            self.gather();
        }
        if count == usize::MAX && !self.open.is_empty() {
            self.answer(count);
        }
    }

    fn gather(&mut self) {
        for request in std::mem::take(&mut self.house.requests) {
            let message = self.house.message(request.number());
            let last = self.last.entry((message.tenant, message.body().destination)).or_default();
            assert!(*last < message.number, "{} was sent after {last}", message.number);
            *last = message.number;
            self.open.push_back(request.part());
        }
    }

    /// With nothing suspended any more everything is sent, and money and fold are right.
    fn end(&mut self) {
        self.act(&Act::Window { up: true, window: 50 });
        let resume = order(Operation::Resume { rule: None }, Filter::default());
        self.house.turn([resume]);
        let waits =
            |message: &&Message| matches!(message.state, State::Queued | State::Held | State::Sending);
        let mut turns = 0;
        while self.house.engine.living().filter(waits).count() > 0 {
            self.house.pass(Duration::from_millis(2));
            self.gather();
            self.answer(usize::MAX);
            turns += 1;
            assert!(turns < 2_000, "something waits for ever");
        }
        compare("the journal", &self.house.fold().summary(), &self.house.expected());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    /// Tenants' messages to one prefix are sent in the order of their acceptance, whatever is suspended and resumed meanwhile.
    #[test]
    fn suspensions_keep_the_order_of_each_tenant(
        ring_over in prop_oneof![Just(0u64), Just(1 << 30)],
        acts in prop::collection::vec(acts(), 1..60),
    ) {
        let mut rich = definitions();
        rich.settings.archive_after = Duration::from_secs(1_000_000);
        rich.tenants.iter_mut().for_each(|tenant| tenant.opening_balance = Micros(1_000_000_000_000));
        rich.routes[0].providers.truncate(1);
        let mut house = House::new(rich);
        house.ring_over = ring_over;
        let (open, last) = (Default::default(), BTreeMap::new());
        let mut world = Orderly { house, open, bind: None, last, given: 0 };
        for act in &acts {
            world.act(act);
        }
        world.end();
    }
}
