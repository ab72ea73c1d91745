//! Messages in doubt: what policies, late news and operators make of them.

use codecs::receipt::State as ReceiptState;
use engine::catalog::InDoubt;

use super::*;

pub(super) fn doubtful(policy: InDoubt) -> (House, ConnectionId, u64) {
    let mut definitions = definitions();
    definitions.providers[0].in_doubt = policy;
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    house.taken(bind);
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![PartToken::new(number, 0)] }]);
    (house, bind, number)
}

#[test]
fn an_operator_resolves_a_doubt_before_and_after_the_policy_has_held_it() {
    let table = [
        (Resolution::Sent, State::Sent, (999, 0, 1), 0),
        (Resolution::Failed, State::Failed, (1_000, 0, 0), 0),
        (Resolution::Resend, State::Sending, (999, 1, 0), 1),
    ];
    for waits in [0, 11] {
        for (resolution, state, money, sent) in table {
            let (mut house, bind, number) = doubtful(InDoubt::Hold);
            house.seconds(waits);
            let row = match house.operate(Operation::Doubts { after: 0, limit: 10 }, Filter::default()) {
                Report::Doubts(doubts) => doubts.rows[0].clone(),
                other => panic!("{other:?}"),
            };
            let held = if waits == 0 { State::InDoubt } else { State::Held };
            assert_eq!((row.number, &row.provider[..], row.state, row.since), (number, "up", held, START));
            let resolve = Operation::Resolve { number, resolution };
            let report = house.operate(resolve.clone(), Filter::default());
            assert!(matches!(report, Report::Resolved { .. }), "{report:?}");
            assert_eq!(
                (house.state(number), house.money("acme"), house.sent(bind).len()),
                (state, money, sent)
            );
            assert_eq!(house.refused(resolve, Filter::default()), Some(Refused::NotInDoubt));
            let told = house.message(number);
            assert!(told.steps().any(|(_, step)| step == Step::Resolved { resolution }));
            house.check_fold();
        }
    }
    let (mut house, ..) = doubtful(InDoubt::Hold);
    let nobody = Operation::Resolve { number: 1 << 40, resolution: Resolution::Sent };
    assert_eq!(house.refused(nobody, Filter::default()), Some(Refused::NoSuchMessage));
}

/// It was decided to send it again, and then its provider went: no other may have it, and nobody has to wait for its end.
#[test]
fn what_waits_and_was_in_doubt_can_be_given_up_in_memory_and_on_disk() {
    for parked in [false, true] {
        let (mut house, _, number) = doubtful(InDoubt::Resend);
        house.bind_down("up", 0, &[], &[]);
        house.seconds(60);
        house.bind("up", 0, 1);
        house.seconds(11);
        house.bind_down("up", 0, &[PartToken::new(number, 0)], &[]);
        assert_eq!(house.state(number), State::Queued);
        house.definitions.providers.retain(|provider| provider.id != "up");
        house.crash();
        if parked {
            house.seconds(600);
            assert_eq!(house.engine.snapshot().parked, 1);
        }
        for resolution in [Resolution::Sent, Resolution::Resend] {
            let resolve = Operation::Resolve { number, resolution };
            assert_eq!(house.refused(resolve, Filter::default()), Some(Refused::NotInDoubt));
        }
        let give_up = Operation::Resolve { number, resolution: Resolution::Failed };
        assert_eq!(house.operate(give_up, Filter::default()), Report::Resolved { state: State::Failed });
        assert_eq!((house.state(number), house.money("acme")), (State::Failed, (1_000, 0, 0)));
        house.check_fold();
    }
    // What no provider can have had is the queue's.
    let mut house = House::new(definitions());
    let number = house.accepted("acme", &Sms::default());
    let give_up = Operation::Resolve { number, resolution: Resolution::Failed };
    assert_eq!(house.refused(give_up, Filter::default()), Some(Refused::NotInDoubt));
}

#[test]
fn what_is_in_doubt_at_a_provider_that_the_settings_have_no_more_is_not_queued_for_it() {
    let (mut house, _, number) = doubtful(InDoubt::Hold);
    house.seconds(11);
    let scheduled = Sms { send_at: Some(START.after(Duration::from_secs(3_600))), ..Sms::default() };
    house.accepted("acme", &scheduled);
    house.definitions.providers.retain(|provider| provider.id != "up");
    house.definitions.routes.clear();
    house.crash();
    assert_eq!(house.state(number), State::Held);
    let at = house.provider("up");
    assert_eq!(house.engine.waiting_with(at), (2, 0), "held and scheduled");
    let resolve = |resolution| Operation::Resolve { number, resolution };
    assert_eq!(house.refused(resolve(Resolution::Resend), Filter::default()), Some(Refused::ProviderGone));
    let report = house.operate(resolve(Resolution::Failed), Filter::default());
    assert_eq!(report, Report::Resolved { state: State::Failed });
    assert_eq!((house.engine.waiting_with(at), house.money("acme")), ((1, 0), (999, 1, 0)));
}

#[test]
fn each_policy_for_doubts_decides_when_nothing_has_spoken() {
    let table = [
        (InDoubt::Resend, State::Sending, (999, 1, 0), 1),
        (InDoubt::Hold, State::Held, (999, 1, 0), 0),
        (InDoubt::Fail, State::Failed, (1_000, 0, 0), 0),
    ];
    for (policy, state, money, sent) in table {
        let (mut house, bind, number) = doubtful(policy);
        house.seconds(9);
        assert_eq!(house.state(number), State::InDoubt);
        house.seconds(2);
        assert_eq!((house.state(number), house.money("acme"), house.sent(bind).len()), (state, money, sent));
        house.check_fold();
    }
}

#[test]
fn late_news_resolves_a_doubt_whatever_has_been_decided() {
    for policy in [InDoubt::Hold, InDoubt::Resend] {
        for waits in [1, 11] {
            // A response that comes late.
            let (mut house, bind, number) = doubtful(policy);
            house.seconds(waits);
            house.respond("up", 0, &[(PartToken::new(number, 0), 0, "late")]);
            assert_eq!(house.state(number), State::Sent, "{policy:?} after {waits} s");
            house.receipt("up", text_id("late"), ReceiptState::Delivered, None);
            assert_eq!(house.state(number), State::Delivered);
            assert_eq!(house.money("acme"), (999, 0, 1));
            let again = house.sent(bind).len();
            assert_eq!(again, usize::from(policy == InDoubt::Resend && waits > 10));
        }
    }
    // A receipt for what an operator gave up, because its response has come after all.
    let (mut house, _, number) = doubtful(InDoubt::Hold);
    house.operate(Operation::Resolve { number, resolution: Resolution::Sent }, Filter::default());
    house.respond("up", 0, &[(PartToken::new(number, 0), 0, "late")]);
    house.receipt("up", text_id("late"), ReceiptState::Delivered, None);
    assert_eq!((house.state(number), house.money("acme")), (State::Delivered, (999, 0, 1)));
}

#[test]
fn doubts_are_listed_page_by_page() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 200);
    let numbers = house.accepted_all("acme", &Sms::default(), 150);
    let tokens = house.taken(bind).iter().map(Request::part).collect();
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens }]);
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let Report::Doubts(page) = house.operate(Operation::Doubts { after, limit: 40 }, Filter::default())
        else {
            panic!()
        };
        assert!(page.rows.len() <= 40);
        found.extend(page.rows.iter().map(|row| row.number));
        if !page.more {
            break;
        }
        after = found[found.len() - 1];
    }
    assert_eq!(found, numbers);
}

#[test]
fn one_receipt_for_all_parts_counts_again_where_it_comes_again() {
    let mut definitions = definitions();
    definitions.providers[0].receipt_parts = engine::catalog::ReceiptParts::Any;
    definitions.providers[0].in_doubt = InDoubt::Hold;
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::of_parts(2));
    house.taken(bind);
    house.respond("up", 0, &[(PartToken::new(number, 0), 0, "id")]);
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![PartToken::new(number, 1)] }]);
    house.receipt("up", text_id("id"), ReceiptState::Delivered, None);
    house.operate(Operation::Resolve { number, resolution: Resolution::Sent }, Filter::default());
    // The provider says it again: it holds for all parts.
    house.receipt("up", text_id("id"), ReceiptState::Delivered, None);
    assert_eq!(house.state(number), State::Delivered);
}
