//! What operators do to queues, by subject; here what they see, and what all of these tests use.

mod campaigns;
mod doubts;
mod moving;
mod parked;
mod rules;
mod suspending;
mod walks;

use std::time::Duration;

use codecs::instant::Wall;
use engine::command::*;
use engine::effect::Reply;
use engine::ledger::{Change, Wallet};
use engine::message::{Message, State};
use engine::money::Micros;
use engine::record::{Record, write};
use engine::step::{BounceCode, HoldCause, Resolution, Step};
use engine::submission::Priority;
use engine::surgery::*;

use crate::folding::compare;
use crate::house::*;

pub fn order(operation: Operation, filter: Filter) -> Command {
    let order = Order { operation, filter, reason: "a test".to_owned(), by: "first".to_owned() };
    Command::Operate { reply: ReplyId(9), order: Box::new(order) }
}

fn of_tenant(id: &str) -> Filter {
    Filter { tenant: Some(id.to_owned()), ..Filter::default() }
}

pub fn of_provider(id: &str) -> Filter {
    Filter { provider: Some(id.to_owned()), ..Filter::default() }
}

fn of_prefix(prefix: &str) -> Filter {
    Filter { prefix: Some(prefix.to_owned()), ..Filter::default() }
}

/// Of acme's.
fn of_campaign(name: &str) -> Filter {
    Filter { campaign: Some(name.to_owned()), ..of_tenant("acme") }
}

impl House {
    fn operate(&mut self, operation: Operation, filter: Filter) -> Report {
        self.turn([order(operation, filter)]);
        for _ in 0..1_000 {
            if let Some((_, Reply::Operated(report))) = self.replies.pop() {
                assert!(self.replies.is_empty());
                return report;
            }
            self.pass(Duration::from_millis(1));
        }
        panic!("no reply");
    }

    #[track_caller]
    pub fn changed(&mut self, operation: Operation, filter: Filter) -> Changed {
        match self.operate(operation, filter) {
            Report::Changed(changed) => changed,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn suspend(&mut self, filter: Filter) -> u32 {
        self.changed(Operation::Suspend { until: None }, filter).rules[0]
    }

    #[track_caller]
    fn resume(&mut self, rule: u32) -> u64 {
        self.changed(Operation::Resume { rule: Some(rule) }, Filter::default()).messages
    }

    #[track_caller]
    fn list(&mut self, filter: Filter) -> Queues {
        match self.operate(Operation::List { rows: 100 }, filter) {
            Report::Queues(queues) => *queues,
            other => panic!("{other:?}"),
        }
    }

    fn refused(&mut self, operation: Operation, filter: Filter) -> Option<Refused> {
        match self.operate(operation, filter) {
            Report::Refused(refused) => Some(refused),
            _ => None,
        }
    }

    fn sent(&mut self, connection: ConnectionId) -> Vec<u64> {
        self.taken(connection).iter().map(Request::number).collect()
    }

    fn in_minutes(&self, minutes: u64) -> Wall {
        self.now.wall.after(Duration::from_secs(60 * minutes))
    }

    fn check_fold(&self) {
        compare("the journal", &self.fold().summary(), &self.engine.summary());
    }
}

#[test]
fn the_list_says_what_waits_why_and_since_when() {
    let mut house = House::new(definitions());
    let began = house.now.wall;
    let up = house.bind("up", 0, 3);
    let high = Sms { priority: Priority::High, ..Sms::default() };
    let sending = house.accepted_all("acme", &high, 3);
    house.seconds(5);
    house.accepted_all("acme", &Sms::default(), 4);
    let later = Sms { send_at: Some(house.in_minutes(60)), ..Sms::default() };
    house.accepted("other", &later);
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![PartToken::new(sending[0], 0)] }]);
    house.suspend(of_provider("spare"));
    house.bind("spare", 0, 10);
    house.accepted_all("other", &Sms { provider: Some("spare"), ..Sms::default() }, 2);
    let list = house.list(Filter::default());
    let total = list.total;
    assert_eq!(
        (total.sending, total.queued, total.in_doubt, total.held_operator, total.scheduled),
        (3, 3, 1, 2, 1),
        "{list:?}"
    );
    let rows: Vec<_> =
        list.rows.iter().map(|r| (&r.provider[..], r.priority, &r.tenant[..], r.depth.waiting())).collect();
    let normal = Priority::Normal;
    assert_eq!(
        rows,
        [
            ("up", normal, "acme", 3),
            ("spare", normal, "other", 2),
            ("up", normal, "other", 0),
            ("up", Priority::High, "acme", 0)
        ]
    );
    assert_eq!(list.rows[0].depth.oldest, Some(began.after(Duration::from_secs(5))));
    let [rule] = &list.rules[..] else { panic!("{list:?}") };
    assert_eq!((rule.number, rule.action, rule.holds), (1, "hold", 2));
    assert_eq!((&rule.reason[..], &rule.by[..], &rule.filter), ("a test", "first", &of_provider("spare")));
    let acme = house.list(of_tenant("acme"));
    assert_eq!((acme.rows.len(), acme.total.held_operator), (2, 0));
    let Report::Queues(short) = house.operate(Operation::List { rows: 1 }, Filter::default()) else {
        panic!()
    };
    assert_eq!((short.rows.len(), short.left_out), (1, 3));
    assert_eq!(house.sent(up).len(), 4);
}

#[test]
fn what_nobody_knows_is_refused_by_name() {
    let mut house = House::new(definitions());
    let suspend = Operation::Suspend { until: None };
    let table = [
        (of_tenant("nobody"), Refused::UnknownTenant),
        (of_provider("nobody"), Refused::UnknownProvider),
        (of_prefix("+254"), Refused::Prefix),
        (of_prefix(""), Refused::Prefix),
        (Filter { tenant: None, ..of_campaign("spring") }, Refused::CampaignAlone),
        (of_campaign(""), Refused::Campaign),
        (of_campaign("two words"), Refused::Campaign),
        (of_campaign(&"x".repeat(65)), Refused::Campaign),
    ];
    for (filter, expected) in table {
        assert_eq!(house.refused(suspend.clone(), filter), Some(expected));
    }
    for only in [of_tenant("acme"), Filter { tenant: Some("acme".to_owned()), ..of_provider("up") }] {
        assert_eq!(house.refused(Operation::Disable { until: None }, only), Some(Refused::ProviderOnly));
    }
    assert_eq!(house.refused(Operation::Enable, of_provider("up")), Some(Refused::NoSuchRule));
    for _ in 0..RULES_MAX {
        house.suspend(of_prefix("1"));
    }
    assert_eq!(house.refused(suspend, of_prefix("1")), Some(Refused::TooManyRules));
}

#[test]
fn verifying_the_ledger_finds_a_wrong_entry() {
    let mut house = House::new(definitions());
    house.accepted_all("acme", &Sms::default(), 5);
    let verify = |house: &mut House| match house.operate(Operation::Verify, Filter::default()) {
        Report::Ledger(rows) => rows,
        other => panic!("{other:?}"),
    };
    let rows = verify(&mut house);
    assert!(rows.iter().all(|row| row.holds), "{rows:?}");
    assert_eq!((&rows[0].tenant[..], rows[0].of_messages), ("acme", Micros(5_000_000)));
    // A wallet that adds up in itself and has forgotten a message's reserve.
    let mut planted = Wallet::default();
    assert_eq!(planted.deposit(Micros(1_000_000_000)), Change::Done);
    assert_eq!(planted.reserve(Micros(4_000_000)), engine::ledger::Reserve::Done);
    let mut group = Vec::new();
    write(&mut group, &Record::Wallet { tenant: 0, wallet: &planted.encode() });
    house.engine.replay(1, &group).expect("it reads");
    // The house's own check would stop the test here, and is right to.
    house.engine.begin(house.now, 1_000, engine::Released::NONE);
    house.engine.handle(order(Operation::Verify, Filter::default()));
    let effects = house.engine.take_group().effects;
    let [(_, Reply::Operated(Report::Ledger(rows)))] = &effects.replies[..] else { panic!("{effects:?}") };
    let wrong: Vec<&str> = rows.iter().filter(|row| !row.holds).map(|row| &row.tenant[..]).collect();
    assert_eq!(wrong, ["acme"]);
}
