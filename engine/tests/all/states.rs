//! The table of states: from which state which step leads where, what becomes of the money, and whether the tenant is told.
//! A message starts queued; `before` brings it to where the row begins.

use codecs::instant::Wall;
use codecs::receipt::State as ReceiptState;
use engine::catalog::{AskReceipt, SettleOn};
use engine::message::{Charge, Head, Message, State};
use engine::money::Micros;
use engine::step::*;
use engine::submission::{Body, Via};

use crate::house::{BUSY, REFUSED, START, Sms, THROTTLED};

use ReceiptState::{
    Accepted, Deleted, Delivered, Enroute, Expired, Rejected, Skipped, Undeliverable, Unknown,
};
use SettleOn::{Delivered as ByReceipt, Sent as BySent};
use State as S;

const INTENT: Step<'static> = Step::Intent { attempt: 1, provider: 0, bind: 0, parts: ALL_PARTS };
const AGAIN: Step<'static> = Step::Intent { attempt: 2, provider: 0, bind: 1, parts: ALL_PARTS };

fn answer(part: u8, verdict: Verdict) -> Step<'static> {
    let status = match verdict {
        Verdict::Accepted => 0,
        Verdict::Refused => REFUSED,
        Verdict::Retry => BUSY,
        Verdict::Throttled => THROTTLED,
    };
    Step::Response { part, verdict, status, retry_at: START, id: b"id", shared: false }
}

fn ok(part: u8) -> Step<'static> {
    answer(part, Verdict::Accepted)
}

fn refused(part: u8) -> Step<'static> {
    answer(part, Verdict::Refused)
}

fn retry(part: u8) -> Step<'static> {
    answer(part, Verdict::Retry)
}

fn throttled(part: u8) -> Step<'static> {
    answer(part, Verdict::Throttled)
}

fn receipt(part: u8, state: ReceiptState) -> Step<'static> {
    Step::Receipt { part, state, done: START, error: b"" }
}

fn doubt(part: u8) -> Step<'static> {
    Step::Doubt { part, cause: DoubtCause::NoAnswer }
}

const RESTART: Step<'static> = Step::Doubt { part: ALL_PARTS, cause: DoubtCause::Restart };
const HELD: Step<'static> = Step::Held { cause: HoldCause::InDoubt };
const SUSPENDED: Step<'static> = Step::Held { cause: HoldCause::Tenant };
const FAILED: Step<'static> = Step::Failed { cause: FailCause::InDoubt, status: 0 };

/// What the money says after a row: still reserved, released, or so many parts of the price settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Money {
    Reserved,
    Released,
    Parts(u8),
}
use Money::{Parts, Released, Reserved};

/// name, parts, when it is settled, the steps before, the step, the state after, the money after, whether it is told.
type Row<'a> = (&'a str, u8, SettleOn, &'a [Step<'a>], Step<'a>, State, Money, bool);

fn fresh(parts: u8, settle_on: SettleOn, sms: &Sms) -> Message {
    let mut bytes = Vec::new();
    let price = Micros(i64::from(parts) * 1_000_000);
    let candidates = &[0, 1];
    let head = Head {
        number: 65,
        accepted_at: START,
        tenant: 0,
        price,
        settle_on,
        receipts: AskReceipt::Asked,
        candidates,
    };
    head.write(&mut bytes);
    sms.write(&mut bytes);
    assert_eq!(sms.parts, parts);
    let (body, _) = Body::read(&bytes[head.octets()..]).expect("a body");
    let written = Message::written(bytes.clone(), &head, &body);
    let message = Message::accepted(bytes).expect("a message");
    assert_eq!(format!("{written:?}"), format!("{message:?}"));
    message
}

fn money(message: &Message) -> Money {
    match message.charge {
        Charge::Reserved => Reserved,
        Charge::Released => Released,
        Charge::Settled(charged) => Parts((charged.0 / 1_000_000) as u8),
    }
}

fn check(rows: &[Row<'_>]) {
    for (name, parts, settle_on, before, step, state, expected, told) in rows {
        let mut message = fresh(*parts, *settle_on, &Sms::of_parts(*parts));
        let at = |place: usize| Wall(START.0 + place as i64);
        for (place, step) in before.iter().enumerate() {
            message.take(step, at(place));
        }
        let (from, was) = (message.state, money(&message));
        let change = message.take(step, at(before.len()));
        assert_eq!((message.state, money(&message), change.tell), (*state, *expected, *told), "{name}");
        assert_eq!(change.from, (from != *state).then_some(from), "{name}");
        assert_eq!(change.charge.is_some(), was == Reserved && *expected != Reserved, "{name}");
        assert!(was == Reserved || was == *expected, "{name}: decided once");
        // What is kept says the same when it is read again.
        let read = Message::read(message.bytes().to_vec()).expect("its own bytes");
        assert_eq!(format!("{read:?}"), format!("{message:?}"), "{name}");
    }
}

#[test]
fn messages_of_one_part() {
    let sent = &[INTENT, ok(0)];
    let delivered = &[INTENT, ok(0), receipt(0, Delivered)];
    let failed = &[INTENT, ok(0), receipt(0, Undeliverable)];
    let doubtful = &[INTENT, doubt(0)];
    let unknown = &[INTENT, ok(0), Step::Unknown];
    check(&[
        // On the way out.
        ("intent", 1, BySent, &[], INTENT, S::Sending, Reserved, false),
        ("unsent", 1, BySent, &[INTENT], Step::Unsent { part: 0 }, S::Queued, Reserved, false),
        ("accepted", 1, BySent, &[INTENT], ok(0), S::Sent, Parts(1), false),
        ("accepted, by receipt", 1, ByReceipt, &[INTENT], ok(0), S::Sent, Reserved, false),
        ("refused", 1, BySent, &[INTENT], refused(0), S::Failed, Released, true),
        ("refused for now", 1, BySent, &[INTENT], retry(0), S::Queued, Reserved, false),
        ("throttled", 1, BySent, &[INTENT], throttled(0), S::Queued, Reserved, false),
        (
            "rerouted",
            1,
            BySent,
            &[INTENT, retry(0)],
            Step::Rerouted { provider: 1, receipts: None },
            S::Queued,
            Reserved,
            false,
        ),
        ("rejected at the door", 1, BySent, &[INTENT], receipt(0, Rejected), S::Rejected, Parts(1), true),
        // Doubts.
        ("unanswered", 1, BySent, &[INTENT], doubt(0), S::InDoubt, Reserved, false),
        ("restart", 1, BySent, &[INTENT], RESTART, S::InDoubt, Reserved, false),
        ("doubt, resend", 1, BySent, doubtful, Step::Resend, S::Queued, Reserved, false),
        ("doubt, hold", 1, BySent, doubtful, HELD, S::Held, Reserved, false),
        ("doubt, fail", 1, BySent, doubtful, FAILED, S::Failed, Released, true),
        ("doubt, late answer", 1, BySent, doubtful, ok(0), S::Sent, Parts(1), false),
        ("doubt, receipt", 1, BySent, doubtful, receipt(0, Delivered), S::Delivered, Parts(1), true),
        ("doubt, bad receipt", 1, BySent, doubtful, receipt(0, Undeliverable), S::Failed, Parts(1), true),
        ("doubt, bad receipt", 1, ByReceipt, doubtful, receipt(0, Undeliverable), S::Failed, Released, true),
        ("held in doubt, late answer", 1, BySent, &[INTENT, doubt(0), HELD], ok(0), S::Sent, Parts(1), false),
        (
            "held in doubt, let go",
            1,
            BySent,
            &[INTENT, doubt(0), HELD],
            Step::LetGo,
            S::Queued,
            Reserved,
            false,
        ),
        (
            "failed in doubt, late answer",
            1,
            BySent,
            &[INTENT, doubt(0), FAILED],
            ok(0),
            S::Failed,
            Released,
            false,
        ),
        (
            "failed in doubt, late receipt",
            1,
            BySent,
            &[INTENT, doubt(0), FAILED],
            receipt(0, Delivered),
            S::Delivered,
            Released,
            true,
        ),
        (
            "resent, and the first is answered",
            1,
            BySent,
            &[INTENT, doubt(0), Step::Resend],
            ok(0),
            S::Sent,
            Parts(1),
            false,
        ),
        (
            "resent, and a receipt comes",
            1,
            BySent,
            &[INTENT, doubt(0), Step::Resend, AGAIN],
            receipt(0, Delivered),
            S::Delivered,
            Parts(1),
            true,
        ),
        // Receipts.
        ("delivered", 1, BySent, sent, receipt(0, Delivered), S::Delivered, Parts(1), true),
        ("delivered, by receipt", 1, ByReceipt, sent, receipt(0, Delivered), S::Delivered, Parts(1), true),
        ("undeliverable", 1, BySent, sent, receipt(0, Undeliverable), S::Failed, Parts(1), true),
        (
            "undeliverable, by receipt",
            1,
            ByReceipt,
            sent,
            receipt(0, Undeliverable),
            S::Failed,
            Released,
            true,
        ),
        ("deleted", 1, ByReceipt, sent, receipt(0, Deleted), S::Failed, Released, true),
        ("skipped", 1, ByReceipt, sent, receipt(0, Skipped), S::Failed, Released, true),
        ("rejected", 1, ByReceipt, sent, receipt(0, Rejected), S::Rejected, Released, true),
        ("expired", 1, ByReceipt, sent, receipt(0, Expired), S::Expired, Released, true),
        ("receipt says unknown", 1, ByReceipt, sent, receipt(0, Unknown), S::Unknown, Released, true),
        ("on its way", 1, BySent, sent, receipt(0, Enroute), S::Sent, Parts(1), false),
        ("taken on", 1, ByReceipt, sent, receipt(0, Accepted), S::Sent, Reserved, false),
        ("no receipt came", 1, BySent, sent, Step::Unknown, S::Unknown, Parts(1), true),
        ("no receipt came, by receipt", 1, ByReceipt, sent, Step::Unknown, S::Unknown, Released, true),
        ("before the answer", 1, ByReceipt, &[INTENT], receipt(0, Delivered), S::Delivered, Parts(1), true),
        (
            "the answer after it",
            1,
            BySent,
            &[INTENT, receipt(0, Delivered)],
            ok(0),
            S::Delivered,
            Parts(1),
            false,
        ),
        // Late news: delivered beats failed, expired and unknown; nothing beats delivered; the money is decided.
        ("late delivery", 1, BySent, failed, receipt(0, Delivered), S::Delivered, Parts(1), true),
        (
            "late delivery, by receipt",
            1,
            ByReceipt,
            failed,
            receipt(0, Delivered),
            S::Delivered,
            Released,
            true,
        ),
        ("late failure", 1, BySent, delivered, receipt(0, Undeliverable), S::Delivered, Parts(1), false),
        ("failed again", 1, BySent, failed, receipt(0, Expired), S::Failed, Parts(1), false),
        ("news of unknown", 1, BySent, unknown, receipt(0, Delivered), S::Delivered, Parts(1), true),
        ("bad news of unknown", 1, ByReceipt, unknown, receipt(0, Undeliverable), S::Failed, Released, true),
        ("no news of unknown", 1, BySent, unknown, receipt(0, Unknown), S::Unknown, Parts(1), false),
        (
            "rejected stays",
            1,
            BySent,
            &[INTENT, ok(0), receipt(0, Rejected)],
            receipt(0, Delivered),
            S::Rejected,
            Parts(1),
            false,
        ),
        (
            "late after expired",
            1,
            BySent,
            &[INTENT, ok(0), receipt(0, Expired)],
            receipt(0, Delivered),
            S::Delivered,
            Parts(1),
            true,
        ),
        // Ends without a provider.
        ("validity", 1, BySent, &[], Step::Expired, S::Expired, Released, true),
        (
            "validity after a refusal",
            1,
            BySent,
            &[INTENT, retry(0)],
            Step::Expired,
            S::Expired,
            Released,
            true,
        ),
        ("cancelled", 1, BySent, &[], Step::Cancelled, S::Cancelled, Released, true),
        ("held for its tenant", 1, BySent, &[], SUSPENDED, S::Held, Reserved, false),
        ("let go", 1, BySent, &[SUSPENDED], Step::LetGo, S::Queued, Reserved, false),
        ("cancelled while held", 1, BySent, &[SUSPENDED], Step::Cancelled, S::Cancelled, Released, true),
        ("expired while held", 1, BySent, &[SUSPENDED], Step::Expired, S::Expired, Released, true),
        ("told", 1, BySent, delivered, Step::Told, S::Delivered, Parts(1), false),
        ("dropped", 1, BySent, delivered, Step::Dropped, S::Delivered, Parts(1), false),
    ]);
}

#[test]
fn messages_of_several_parts() {
    let sent = &[INTENT, ok(0), ok(1), ok(2)];
    let partial = &[INTENT, ok(0), ok(1), refused(2)];
    check(&[
        ("one accepted", 3, BySent, &[INTENT], ok(0), S::Sending, Reserved, false),
        ("all accepted", 3, BySent, &[INTENT, ok(2), ok(0)], ok(1), S::Sent, Parts(3), false),
        ("one refused, others open", 3, BySent, &[INTENT], refused(1), S::Sending, Reserved, false),
        ("partial", 3, BySent, &[INTENT, ok(0), ok(1)], refused(2), S::Failed, Parts(2), true),
        ("partial, by receipt", 3, ByReceipt, &[INTENT, ok(0), ok(1)], refused(2), S::Failed, Released, true),
        ("all refused", 3, BySent, &[INTENT, refused(0), refused(1)], refused(2), S::Failed, Released, true),
        ("one for now", 3, BySent, &[INTENT, ok(0), retry(1)], ok(2), S::Queued, Reserved, false),
        ("one throttled", 3, BySent, &[INTENT, throttled(0), ok(1)], ok(2), S::Queued, Reserved, false),
        (
            "one unsent",
            3,
            BySent,
            &[INTENT, ok(0), ok(1)],
            Step::Unsent { part: 2 },
            S::Queued,
            Reserved,
            false,
        ),
        (
            "the rest sent",
            3,
            BySent,
            &[INTENT, ok(0), retry(1), ok(2), AGAIN],
            ok(1),
            S::Sent,
            Parts(3),
            false,
        ),
        (
            "expired with parts sent",
            3,
            BySent,
            &[INTENT, ok(0), retry(1), ok(2)],
            Step::Expired,
            S::Expired,
            Parts(2),
            true,
        ),
        (
            "expired with parts sent, by receipt",
            3,
            ByReceipt,
            &[INTENT, ok(0), retry(1), ok(2)],
            Step::Expired,
            S::Expired,
            Released,
            true,
        ),
        ("one in doubt, others open", 3, BySent, &[INTENT], doubt(1), S::Sending, Reserved, false),
        ("one in doubt", 3, BySent, &[INTENT, ok(0), doubt(1)], ok(2), S::InDoubt, Reserved, false),
        (
            "one in doubt, one waits",
            3,
            BySent,
            &[INTENT, ok(0), doubt(1)],
            retry(2),
            S::InDoubt,
            Reserved,
            false,
        ),
        ("restart", 3, BySent, &[INTENT, ok(0)], RESTART, S::InDoubt, Reserved, false),
        ("resend", 3, BySent, &[INTENT, ok(0), RESTART], Step::Resend, S::Queued, Reserved, false),
        ("doubt, fail", 3, BySent, &[INTENT, ok(0), RESTART], FAILED, S::Failed, Parts(1), true),
        ("held, one answers", 3, BySent, &[INTENT, ok(0), RESTART, HELD], ok(1), S::Held, Reserved, false),
        (
            "held, all have answered",
            3,
            BySent,
            &[INTENT, ok(0), RESTART, HELD, ok(1)],
            ok(2),
            S::Sent,
            Parts(3),
            false,
        ),
        (
            "held for its tenant, a receipt of a part",
            2,
            BySent,
            &[INTENT, ok(0), retry(1), SUSPENDED],
            receipt(0, Delivered),
            S::Held,
            Reserved,
            false,
        ),
        ("one delivered", 3, BySent, sent, receipt(1, Delivered), S::Sent, Parts(3), false),
        (
            "all delivered",
            3,
            ByReceipt,
            &[INTENT, ok(0), ok(1), ok(2), receipt(0, Delivered), receipt(2, Delivered)],
            receipt(1, Delivered),
            S::Delivered,
            Parts(3),
            true,
        ),
        (
            "one undeliverable, others open",
            3,
            ByReceipt,
            sent,
            receipt(1, Undeliverable),
            S::Sent,
            Reserved,
            false,
        ),
        (
            "the worst decides",
            3,
            ByReceipt,
            &[INTENT, ok(0), ok(1), ok(2), receipt(0, Delivered), receipt(1, Expired)],
            receipt(2, Delivered),
            S::Expired,
            Released,
            true,
        ),
        (
            "late delivery of the bad one",
            2,
            BySent,
            &[INTENT, ok(0), ok(1), receipt(0, Undeliverable), receipt(1, Delivered)],
            receipt(0, Delivered),
            S::Delivered,
            Parts(2),
            true,
        ),
        (
            "late delivery of one of two bad ones",
            2,
            BySent,
            &[INTENT, ok(0), ok(1), receipt(0, Undeliverable), receipt(1, Undeliverable)],
            receipt(0, Delivered),
            S::Failed,
            Parts(2),
            false,
        ),
        (
            "receipt of a part of a failed one",
            3,
            BySent,
            partial,
            receipt(0, Delivered),
            S::Failed,
            Parts(2),
            false,
        ),
        (
            "unknown, news of one part",
            2,
            BySent,
            &[INTENT, ok(0), ok(1), Step::Unknown],
            receipt(0, Delivered),
            S::Unknown,
            Parts(2),
            false,
        ),
        (
            "unknown, news of all parts",
            2,
            BySent,
            &[INTENT, ok(0), ok(1), Step::Unknown, receipt(0, Delivered)],
            receipt(1, Delivered),
            S::Delivered,
            Parts(2),
            true,
        ),
        (
            "expired with a part never sent, news of the other",
            2,
            BySent,
            &[INTENT, ok(0), retry(1), Step::Expired],
            receipt(0, Delivered),
            S::Expired,
            Parts(1),
            false,
        ),
        ("a part that is none", 2, BySent, &[INTENT], receipt(7, Delivered), S::Sending, Reserved, false),
    ]);
}

/// The steps of a message, and the attempts that count afterwards.
#[test]
fn only_refusals_for_now_and_silence_count_as_attempts() {
    let lost = Step::Doubt { part: 0, cause: DoubtCause::BindLost };
    let rows: &[(&str, u8, &[Step<'_>], u8)] = &[
        ("throttled", 1, &[INTENT, throttled(0)], 0),
        ("unsent", 1, &[INTENT, Step::Unsent { part: 0 }], 0),
        ("restart", 1, &[INTENT, RESTART, Step::Resend], 0),
        ("retry", 1, &[INTENT, retry(0)], 1),
        ("silence", 1, &[INTENT, doubt(0), Step::Resend], 1),
        ("lost bind", 1, &[INTENT, lost, Step::Resend], 1),
        ("retry beside throttled", 2, &[INTENT, retry(0), throttled(1)], 1),
        ("throttled beside retry", 2, &[INTENT, throttled(0), retry(1)], 1),
        ("throttled beside accepted", 2, &[INTENT, throttled(0), ok(1)], 0),
        ("accepted beside throttled", 2, &[INTENT, ok(0), throttled(1)], 0),
        ("throttled after a retry", 1, &[INTENT, retry(0), AGAIN, throttled(0)], 1),
        ("another provider", 1, &[INTENT, retry(0), Step::Rerouted { provider: 1, receipts: None }], 0),
        ("held and let go", 1, &[INTENT, retry(0), SUSPENDED, Step::LetGo], 1),
    ];
    for (name, parts, steps, attempts) in rows {
        let mut message = fresh(*parts, BySent, &Sms::of_parts(*parts));
        steps.iter().for_each(|step| {
            message.take(step, START);
        });
        assert_eq!((message.state, message.attempt), (S::Queued, *attempts), "{name}");
    }
}

#[test]
fn sent_is_final_where_no_receipt_is_asked_and_none_is_needed() {
    // registered_delivery, plan, whether `sent` is final.
    for (registered, settle_on, is_final) in [(0, BySent, true), (1, BySent, false), (0, ByReceipt, false)] {
        let mut message = fresh(1, settle_on, &Sms { registered, ..Sms::default() });
        message.take(&INTENT, START);
        let change = message.take(&ok(0), START);
        assert_eq!((message.state, message.is_final()), (S::Sent, is_final));
        assert!(!change.tell);
    }
}

#[test]
fn what_was_told_is_told_again_when_it_changes() {
    let mut message = fresh(1, BySent, &Sms::default());
    for step in [INTENT, ok(0), receipt(0, Undeliverable), Step::Told] {
        message.take(&step, START);
    }
    assert!(message.is_done());
    let change = message.take(&receipt(0, Delivered), START);
    assert!(change.tell && !message.is_done());
}

#[test]
fn a_scheduled_message_is_queued_when_it_is_due_or_cancelled_before() {
    for (step, state, told) in [(Step::Due, S::Queued, false), (Step::Cancelled, S::Cancelled, true)] {
        let sms = Sms { send_at: Some(Wall(START.0 + 1)), ..Sms::default() };
        let mut message = fresh(1, BySent, &sms);
        assert_eq!(message.state, S::Scheduled);
        let change = message.take(&step, START);
        assert_eq!((message.state, change.from, change.tell), (state, Some(S::Scheduled), told));
    }
    let over_http = Sms { via: Via::Http, ..Sms::default() };
    assert!(!fresh(1, BySent, &over_http).take(&Step::Cancelled, START).tell);
}
