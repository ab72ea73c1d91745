//! Lists of what is living: every message of a tenant once, the newest first, some at a time.

use engine::command::{Command, Query, ReplyId};
use engine::effect::Reply;
use engine::id::Number;
use engine::message::number_of;
use engine::pages::order_of;

use crate::house::*;

/// The numbers that a tenant is shown, page by page, and how many pages that took.
fn listed(house: &mut House, tenant: &str, most: usize) -> (Vec<u64>, usize) {
    let tenant = house.tenant(tenant);
    let (mut numbers, mut at) = (Vec::new(), Number::LAST_ORDER);
    for pages in 1.. {
        let query = Query::Living { tenant, at, most, inbound: false };
        let Reply::Living(living) = house.ask(Command::Query { reply: ReplyId(1), query }) else { panic!() };
        assert!(living.messages.len() <= most);
        numbers.extend(living.messages.iter().filter_map(|message| number_of(message)));
        match living.floor.checked_sub(1) {
            Some(next) => at = next,
            None => return (numbers, pages),
        }
    }
    unreachable!()
}

fn newest_first(mut numbers: Vec<u64>) -> Vec<u64> {
    numbers.sort_by_key(|number| std::cmp::Reverse(order_of(*number)));
    numbers
}

#[test]
fn every_living_message_of_a_tenant_is_listed_once_whatever_the_size_of_a_page() {
    let mut house = House::new(definitions());
    let (mut acme, mut other) = (Vec::new(), Vec::new());
    for count in [1, 3, 70, 2, 130, 9] {
        acme.extend(house.accepted_all("acme", &Sms::default(), count));
        other.extend(house.accepted_all("other", &Sms::default(), count / 2));
    }
    let (acme, other) = (newest_first(acme), newest_first(other));
    for most in [1, 7, 64, 100, 1_000] {
        assert_eq!(listed(&mut house, "acme", most).0, acme, "pages of {most}");
        assert_eq!(listed(&mut house, "other", most).0, other, "pages of {most}");
    }
}

#[test]
fn what_leaves_memory_leaves_the_list() {
    let mut house = House::new(definitions());
    house.bind("up", 0, 1_000);
    let silent = Sms { registered: 0, ..Sms::default() };
    let gone = house.accepted_all("acme", &silent, 128);
    let tokens: Vec<_> = house.requests.iter().map(|request| (request.part(), 0, "")).collect();
    let stays = house.accepted_all("other", &Sms::default(), 3);
    house.respond("up", 0, &tokens);
    house.turn([]);
    let left = listed(&mut house, "acme", 10).0;
    assert!(
        left.len() < gone.len() && left.iter().all(|number| house.archived(*number).is_none()),
        "{left:?}"
    );
    assert_eq!(listed(&mut house, "other", 10).0, newest_first(stays));
}

#[test]
fn a_call_looks_at_some_pages_only() {
    let mut house = House::new(definitions());
    let first = house.accepted_all("other", &Sms::default(), 1);
    for _ in 0..20 {
        house.accepted_all("acme", &Sms { to: 254_712_000_000, ..Sms::default() }, 1_000 / 20);
    }
    // Tenants whose index is the same modulo 64 share a bit: what may be theirs is searched, some pages a call.
    let (numbers, pages) = listed(&mut house, "other", 100);
    assert_eq!((numbers, pages), (first, 1), "pages without a message of the tenant are passed over");
}
