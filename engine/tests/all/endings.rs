//! Why a message ended as it did, as its tenant is told and as is shown to who asks.

use codecs::receipt::State as ReceiptState;
use engine::command::PartToken;
use engine::step::FailCause;

use crate::house::*;

#[test]
fn the_error_of_a_message_of_parts_is_that_of_what_decided() {
    use ReceiptState::{Delivered as D, Expired as E, Rejected as R, Undeliverable as U};
    const TAKEN: [u32; 2] = [0, 0];
    const ONE_REFUSED: [u32; 2] = [0, 0x0B];
    // The statuses of the responses, the receipts with their parts, and what is told.
    type Row<'a> = ([u32; 2], &'a [(usize, ReceiptState, &'a str)], &'a str, Option<&'a str>);
    let rows: [Row<'_>; 11] = [
        (TAKEN, &[(0, D, "000"), (1, D, "000")], "DELIVRD err:000", Some("000")),
        (TAKEN, &[(0, U, "007"), (1, D, "000")], "UNDELIV err:007", Some("007")),
        (TAKEN, &[(1, U, "007"), (0, D, "000")], "UNDELIV err:007", Some("007")),
        (TAKEN, &[(0, R, "007"), (1, D, "000")], "REJECTD err:007", Some("007")),
        (TAKEN, &[(0, E, "007"), (1, U, "033")], "EXPIRED err:007", Some("007")),
        (TAKEN, &[(1, U, "033"), (0, E, "007")], "EXPIRED err:007", Some("007")),
        (TAKEN, &[(0, U, "007"), (0, U, "033"), (1, D, "000")], "UNDELIV err:007", Some("007")),
        (TAKEN, &[(0, U, "007"), (1, D, "000"), (0, D, "001")], "DELIVRD err:000", Some("000")),
        (ONE_REFUSED, &[], "UNDELIV err:011", None),
        (ONE_REFUSED, &[(0, D, "000")], "UNDELIV err:011", None),
        (ONE_REFUSED, &[(0, U, "007")], "UNDELIV err:011", None),
    ];
    for (place, (statuses, receipts, told, deciding)) in rows.into_iter().enumerate() {
        let mut house = House::new(definitions());
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &Sms::of_parts(2));
        let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
        for (part, status) in statuses.into_iter().enumerate() {
            house.respond("up", 0, &[(parts[part], status, &format!("id-{part}"))]);
        }
        for (part, state, error) in receipts {
            house.receipt_done("up", text_id(&format!("id-{part}")), *state, None, error, None);
        }
        let session = house.bind_tenant("acme", 10);
        let request = house.taken(session).remove(0);
        let text = String::from_utf8_lossy(request.sm().short_message).into_owned();
        assert!(text.contains(&format!("stat:{told} ")), "row {place}: {text}");
        let message = house.message(number);
        assert_eq!(message.deciding_error(), deciding.map(str::as_bytes), "row {place}");
        assert!(deciding.is_some() || message.failure() == Some((FailCause::Partial, 0x0B)), "row {place}");
    }
}
