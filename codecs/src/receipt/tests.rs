//! Tests of `receipt`: tables and properties. No code of its own.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::*;
use proptest::prelude::*;

use crate::time::parse_rfc3339;

/// A receipt in words: id, state, error, submit date, done date, text.
type Row<'a> = (&'a str, Option<State>, &'a str, &'a str, &'a str, &'a str);

fn check(octets: &[u8], expected: Row<'_>) {
    let shown = octets.escape_ascii();
    let receipt = read(octets).unwrap_or_else(|| panic!("no receipt: {shown}"));
    let text = |octets: &[u8]| octets.iter().copied().map(char::from).collect::<String>();
    assert_eq!(receipt.id.map(text).unwrap_or_default(), expected.0, "id of {shown}");
    assert_eq!(receipt.state, expected.1, "state of {shown}");
    assert_eq!(text(receipt.error), expected.2, "err of {shown}");
    assert_eq!(text(receipt.submit_date), expected.3, "submit date of {shown}");
    assert_eq!(text(receipt.done_date), expected.4, "done date of {shown}");
    assert_eq!(text(receipt.text), expected.5, "text of {shown}");
}

const DELIVERED: Option<State> = Some(State::Delivered);

#[test]
fn every_variant_that_is_seen_is_read() {
    let rows: [(&[u8], Row<'_>); 38] = [
        (
            b"id:0123456789 sub:001 dlvrd:001 submit date:2611201350 done date:2611201351 stat:DELIVRD err:000 text:Hello there",
            ("0123456789", DELIVERED, "000", "2611201350", "2611201351", "Hello there"),
        ),
        // sub and dlvrd missing; text as well.
        (
            b"id:1 submit date:2611201350 done date:2611201351 stat:UNDELIV err:7 text:x",
            ("1", Some(State::Undeliverable), "7", "2611201350", "2611201351", "x"),
        ),
        (
            b"id:1 submit date:2611201350 done date:2611201351 stat:EXPIRED err:7",
            ("1", Some(State::Expired), "7", "2611201350", "2611201351", ""),
        ),
        // One or two digits.
        (b"id:1 sub:0 dlvrd:28 stat:DELIVRD err:000 text:", ("1", DELIVERED, "000", "", "", "")),
        // Capital Text; text with nothing; no label at all.
        (b"id:1 stat:DELIVRD err:000 Text: ....", ("1", DELIVERED, "000", "", "", "....")),
        (b"id:1 stat:DELIVRD err:000 text:", ("1", DELIVERED, "000", "", "", "")),
        (b"id:1 stat:DELIVRD err:000 Hello you", ("1", DELIVERED, "000", "", "", "Hello you")),
        // Any order, any case.
        (
            b"STAT:delivrd ERR:001 DONE DATE:2611201351 ID:a1 SUBMIT DATE:2611201350 TEXT:y",
            ("a1", DELIVERED, "001", "2611201350", "2611201351", "y"),
        ),
        // No label for the state.
        (
            b"id:1 sub:001 dlvrd:001 submit date:180903120815 done date:180903120816 DELIVRD err:000 text:REJECTD",
            ("1", DELIVERED, "000", "180903120815", "180903120816", "REJECTD"),
        ),
        // Longer dates, and one with its offset.
        (b"id:1 done date:201906190720 stat:DELIVRD", ("1", DELIVERED, "", "", "201906190720", "")),
        (b"id:1 done date:20190619072059 stat:DELIVRD", ("1", DELIVERED, "", "", "20190619072059", "")),
        (b"id:1 done date:180711070003912+ stat:DELIVRD", ("1", DELIVERED, "", "", "180711070003912+", "")),
        // Dates of nothing.
        (
            b"id:1 submit date:0000000000 done date: stat:REJECTD",
            ("1", Some(State::Rejected), "", "0000000000", "", ""),
        ),
        (b"id:1 submit date: 2611201350 done date: 2611201351 stat: DELIVRD", (
            "1", DELIVERED, "", "2611201350", "2611201351", "",
        )),
        // err that is no number of three digits.
        (b"id:1 stat:UNDELIV err:21b text:", ("1", Some(State::Undeliverable), "21b", "", "", "")),
        (b"id:1 stat:DELIVRD err:0000 text:", ("1", DELIVERED, "0000", "", "", "")),
        (b"id:1 stat:DELIVRD err:nul text:", ("1", DELIVERED, "nul", "", "", "")),
        (b"id:1 stat:DELIVRD err: 0 text:", ("1", DELIVERED, "0", "", "", "")),
        (b"id:1 stat:UNDELIV err:2050 text:", ("1", Some(State::Undeliverable), "2050", "", "", "")),
        // Trailing NULs and eight-bit garbage.
        (b"id:1 stat:DELIVRD err:000 text:a\xFF\x80\0\0", ("1", DELIVERED, "000", "", "", "a\u{ff}\u{80}")),
        (b"id:1\0 stat:DELIVRD\0", ("1", DELIVERED, "", "", "", "")),
        // Words before the text.
        (
            b"id:1 stat:DELIVRD err:000 MCC=270 MNC=1 BillingMNC=1 text:ok",
            ("1", DELIVERED, "000", "", "", "ok"),
        ),
        // The words of keys joined otherwise.
        (
            b"id:1 submitdate:2611201350 done_date:2611201351 stat:DELIVRD",
            ("1", DELIVERED, "", "2611201350", "2611201351", ""),
        ),
        (b"id : 1 stat :DELIVRD", ("1", DELIVERED, "", "", "", "")),
        // A text longer than 20 characters, full of labels.
        (
            b"id:1 stat:DELIVRD err:000 text:id:2 stat:UNDELIV err:999 text:and a good deal more",
            ("1", DELIVERED, "000", "", "", "id:2 stat:UNDELIV err:999 text:and a good deal more"),
        ),
        (
            b"id:1 stat:DELIVRD err:000 your id:2 has stat:EXPIRED",
            ("1", DELIVERED, "000", "", "", "your id:2 has stat:EXPIRED"),
        ),
        // An id runs to the next label, on its own line; where state or text may stand behind it without a label it is a word.
        (
            b"id:AB CD sub:001 dlvrd:001 submit date:2611201350 done date:2611201351 stat:DELIVRD err:000 text:x",
            ("AB CD", DELIVERED, "000", "2611201350", "2611201351", "x"),
        ),
        (b"id:a,b sub:001 stat:DELIVRD err:000", ("a,b", DELIVERED, "000", "", "", "")),
        (b"id:a b ref:5 stat:DELIVRD err:000", ("a b", DELIVERED, "000", "", "", "")),
        (b"id:123 MCC=270 stat:DELIVRD err:000", ("123", DELIVERED, "000", "", "", "")),
        (b"id:a:b c=d stat:DELIVRD err:000", ("a:b", DELIVERED, "000", "", "", "")),
        (b"stat:DELIVRD id:a;b c, ; err:000", ("a;b c", DELIVERED, "000", "", "", "")),
        (b"id:a b\r\nc d\r\nstat:DELIVRD", ("a b", DELIVERED, "", "", "", "")),
        (b"id:, stat:DELIVRD", ("", DELIVERED, "", "", "", "")),
        (b"id:1 DELIVRD err:000", ("1", DELIVERED, "000", "", "", "")),
        (b"stat:DELIVRD id:1 Hello you", ("1", DELIVERED, "", "", "", "Hello you")),
        (b"stat:DELIVRD id:a b text:x", ("a b", DELIVERED, "", "", "", "x")),
        // Other separators.
        (b"id:1,sub:001;stat:DELIVRD,err:000\ttext:a,b", ("1", DELIVERED, "000", "", "", "a,b")),
    ];
    for (octets, expected) in rows {
        check(octets, expected);
    }
}

#[test]
fn a_receipt_in_ucs2_is_read_as_ascii() {
    let plain = "id:1 stat:DELIVRD err:000 text:ж\u{1F600}";
    let mut octets: Vec<u8> = plain.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for mark in [&b""[..], b"\xFE\xFF"] {
        octets.splice(0..0, mark.iter().copied());
        let mut ascii = Vec::new();
        ascii_of_ucs2(&octets, &mut ascii);
        check(&ascii, ("1", DELIVERED, "000", "", "", "???"));
    }
}

#[test]
fn a_receipt_may_leave_the_id_to_the_parameter() {
    check(b"stat:DELIVRD err:000", ("", DELIVERED, "000", "", "", ""));
    check(b"id: stat:DELIVRD", ("", DELIVERED, "", "", "", ""));
    check(b"id:1", ("1", None, "", "", "", ""));
}

#[test]
fn a_word_that_nobody_knows_is_kept() {
    let receipt = read(b"id:1 stat:WEIRD err:000").unwrap();
    assert_eq!((receipt.state, receipt.stat), (None, &b"WEIRD"[..]));
}

#[test]
fn what_is_no_receipt_is_none() {
    for text in [
        &b""[..],
        b"\0",
        b"Hello, are you there?",
        // Forms that need a rule of their own for the provider.
        b"00,0210021543,0,2611201350",
        b"Message delivered to 254712345678",
        b"DELIVRD",
        b"text:id:1 stat:DELIVRD",
        b"myid:1 mystat:DELIVRD",
        b"idle: 5",
        b"sub:001 err:000",
    ] {
        assert_eq!(read(text), None, "{}", text.escape_ascii());
    }
}

#[test]
fn every_state_has_its_number_word_and_end() {
    for (number, state, word, is_final) in [
        (0, State::Scheduled, "SCHEDLD", false),
        (1, State::Enroute, "ENROUTE", false),
        (2, State::Delivered, "DELIVRD", true),
        (3, State::Expired, "EXPIRED", true),
        (4, State::Deleted, "DELETED", true),
        (5, State::Undeliverable, "UNDELIV", true),
        (6, State::Accepted, "ACCEPTD", false),
        (7, State::Unknown, "UNKNOWN", true),
        (8, State::Rejected, "REJECTD", true),
        (9, State::Skipped, "SKIPPED", true),
    ] {
        assert_eq!((state.as_u8(), state.word(), state.is_final()), (number, word, is_final));
        assert_eq!(State::from_number(number), Some(state));
        assert_eq!(State::from_word(word.as_bytes()), Some(state));
        assert_eq!(State::from_word(word.to_lowercase().as_bytes()), Some(state));
    }
    assert_eq!(State::from_number(10), None);
}

#[test]
fn other_words_that_are_seen_have_a_state() {
    for (word, state) in [
        ("BUFFRED", Some(State::Enroute)),
        ("BUFFERD", Some(State::Enroute)),
        ("ACKED", Some(State::Enroute)),
        ("FAILED", Some(State::Undeliverable)),
        ("NACK", Some(State::Undeliverable)),
        ("REJECTED", Some(State::Rejected)),
        ("DELIVERED", DELIVERED),
        ("Undeliverable", Some(State::Undeliverable)),
        ("ACCEPTED", Some(State::Accepted)),
        ("DEL", None),
        ("0", None),
        ("", None),
    ] {
        assert_eq!(State::from_word(word.as_bytes()), state, "{word}");
    }
}

fn wall(text: &str) -> Wall {
    parse_rfc3339(text).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn a_date_is_the_reading_nearest_to_its_arrival() {
    for (digits, received, offset, expected) in [
        ("2611201350", "2026-11-20T13:51:00Z", 0, Some("2026-11-20T13:50:00Z")),
        ("2611201350", "2026-11-20T10:51:00Z", 180, Some("2026-11-20T10:50:00Z")),
        ("2611201350", "2026-11-20T18:51:00Z", -300, Some("2026-11-20T18:50:00Z")),
        // The same digits, in 2017 and as an epoch of 2023.
        ("1702281424", "2017-02-28T15:00:00Z", 0, Some("2017-02-28T14:24:00Z")),
        ("1702281424", "2023-12-11T08:00:00Z", 0, Some("2023-12-11T07:57:04Z")),
        // An epoch has no offset.
        ("1702281424", "2023-12-11T08:00:00Z", 180, Some("2023-12-11T07:57:04Z")),
        ("180903120816", "2018-09-03T12:09:00Z", 0, Some("2018-09-03T12:08:16Z")),
        ("201906190720", "2019-06-19T07:21:00Z", 0, Some("2019-06-19T07:20:00Z")),
        ("20190619072059", "2019-06-19T07:21:00Z", 0, Some("2019-06-19T07:20:59Z")),
        ("20190619072059+", "2019-06-19T07:21:00Z", 0, Some("2019-06-19T07:20:59Z")),
        ("180711070003912+", "2018-07-11T04:01:00Z", 999, Some("2018-07-11T04:00:03.900Z")),
        ("950207233347004+", "1995-02-07T22:34:00Z", 0, Some("1995-02-07T22:33:47Z")),
        (" 2611201350\0", "2026-11-20T13:51:00Z", 0, Some("2026-11-20T13:50:00Z")),
        // 30 days, not more.
        ("2611201350", "2026-12-20T13:50:00Z", 0, Some("2026-11-20T13:50:00Z")),
        ("2611201350", "2026-12-20T13:50:00.001Z", 0, None),
        ("0000000000", "2026-11-20T13:51:00Z", 0, None),
        ("", "2026-11-20T13:51:00Z", 0, None),
        ("+", "2026-11-20T13:51:00Z", 0, None),
        ("26112013", "2026-11-20T13:51:00Z", 0, None),
        ("26112013xx", "2026-11-20T13:51:00Z", 0, None),
        ("2613201350", "2026-11-20T13:51:00Z", 0, None),
    ] {
        assert_eq!(
            read_date(digits.as_bytes(), wall(received), offset),
            expected.map(wall),
            "{digits} {received}"
        );
    }
}

#[test]
fn esm_class_tells_receipts_from_messages() {
    for (esm_class, expected) in [
        (0x00, false),
        (0x04, true),
        (0x06, true),
        (0x44, true),
        (0x84, true),
        (0x08, true),
        (0x20, true),
        (0x24, true),
        (0xE3, true),
        (0x10, false),
        (0x18, false),
        (0x40, false),
        (0x03, false),
    ] {
        assert_eq!(is_receipt(esm_class), expected, "{esm_class:#04x}");
    }
}

fn notice<'a>(id: &'a [u8], state: State, error: &'a [u8], text: &'a [u8]) -> Notice<'a> {
    let submitted = wall("2026-11-20T13:50:59.999Z");
    Notice { id, submitted, done: wall("2026-12-01T00:01:00Z"), state, error, text }
}

#[test]
fn a_receipt_is_written_as_the_appendix_shows() {
    for (notice, expected) in [
        (
            notice(b"123456789012345678", State::Delivered, b"", b"Hello"),
            "id:123456789012345678 sub:001 dlvrd:001 submit date:2611201350 done date:2612010001 stat:DELIVRD err:000 text:Hello",
        ),
        (
            notice(b"1", State::Undeliverable, b"7", b"123456789012345678901"),
            "id:1 sub:001 dlvrd:000 submit date:2611201350 done date:2612010001 stat:UNDELIV err:007 text:12345678901234567890",
        ),
        (
            notice(b"1", State::Undeliverable, b"-1", b""),
            "id:1 sub:001 dlvrd:000 submit date:2611201350 done date:2612010001 stat:UNDELIV err:-1 text:",
        ),
        (
            notice(b"1", State::Expired, b"a b\xFF", b"\x00\x1B\x65 \xE9\n~"),
            "id:1 sub:001 dlvrd:000 submit date:2611201350 done date:2612010001 stat:EXPIRED err:a.b. text:..e ..~",
        ),
    ] {
        let mut out = b">".to_vec();
        write(&mut out, &notice, Dates::default(), &mut Minute::default());
        assert_eq!(String::from_utf8(out).unwrap(), format!(">{expected}"));
    }
}

proptest! {
    #[test]
    fn a_receipt_written_is_read(
        id in "[1-9][0-9]{0,17}",
        state in proptest::sample::select(&State::ALL[..]),
        error in "[0-9A-Za-z]{0,6}",
        text in any::<Vec<u8>>(),
        submitted in 1_600_000_000_000i64..3_000_000_000_000,
        took in 0i64..1_000_000_000,
    ) {
        let (submitted, done) = (Wall(submitted), Wall(submitted + took));
        let mut out = Vec::new();
        let notice = Notice { id: id.as_bytes(), submitted, done, state, error: error.as_bytes(), text: &text };
        write(&mut out, &notice, Dates::default(), &mut Minute::default());
        let receipt = read(&out).unwrap();
        prop_assert_eq!(receipt.id, Some(id.as_bytes()));
        prop_assert_eq!(receipt.state, Some(state));
        let padded = format!("{error:0>3}");
        prop_assert_eq!(receipt.error, padded.as_bytes());
        let minute = |wall: Wall| Wall(wall.0 / 60_000 * 60_000);
        prop_assert_eq!(read_date(receipt.submit_date, submitted, 0), Some(minute(submitted)));
        prop_assert_eq!(read_date(receipt.done_date, done, 0), Some(minute(done)));
        let shown: Vec<u8> = text.iter().take(20).map(|o| if (b' '..=b'~').contains(o) { *o } else { b'.' }).collect();
        prop_assert_eq!(receipt.text, unpadded(&shown));
    }

    #[test]
    fn any_octets_can_be_a_receipt(octets in any::<Vec<u8>>(), received in any::<i64>(), offset in any::<i32>()) {
        let _ = read(&octets);
        let _ = read_date(&octets, Wall(received), offset);
        ascii_of_ucs2(&octets, &mut Vec::new());
    }

    #[test]
    fn any_mixture_of_labels_can_be_a_receipt(
        words in proptest::collection::vec(
            proptest::sample::select(&["id", "sub", "submit", "date", "stat", "err", "text", "done", "DELIVRD", ":", " ", ",", "\0", "7"][..]),
            0..40,
        ),
        received in any::<i64>(),
    ) {
        let text = words.concat();
        if let Some(receipt) = read(text.as_bytes()) {
            prop_assert!(receipt.id.is_none_or(|id| !id.is_empty()));
            let _ = read_date(receipt.done_date, Wall(received), 0);
        }
    }

    #[test]
    fn what_is_read_as_usual_reads_the_same_by_its_labels(
        values in proptest::collection::vec("[0-9A-Za-z:.]{0,6}|id:1|text:", 7),
        labels in proptest::sample::select(&[
            ["id:", " sub:", " dlvrd:", " submit date:", " done date:", " stat:", " err:", " text:"],
            ["ID:", " Sub:", " dlvrd:", " Submit Date:", " done date:", " STAT:", " err:", " Text:"],
            ["id:", " sub:", " dlvrd:", " submit date:", " done date:", " stat:", " err:", "text:"],
        ][..]),
        gap in proptest::sample::select(&["", "", "", " ", "\0"][..]),
        text in any::<Vec<u8>>(),
        is_known in any::<bool>(),
    ) {
        let fields = labels.iter().zip(values.iter().map(|value| value.as_str()).chain([""]));
        let mut octets: Vec<u8> = fields.flat_map(|(label, value)| [label, gap, value].concat().into_bytes()).collect();
        octets.extend(&text);
        let octets = unpadded(&octets);
        if let Some(usual) = usual(octets) {
            prop_assert_eq!(Some(usual), by_labels(octets, is_known));
        }
        let all_given = labels[7].starts_with(' ') && gap.is_empty() && values.iter().all(|value| !value.is_empty());
        prop_assert_eq!(usual(octets).is_some(), all_given);
    }

    #[test]
    fn any_digits_can_be_a_date(digits in "[0-9]{8,16}[+-]?", received in any::<i64>(), offset in any::<i32>()) {
        if let Some(read) = read_date(digits.as_bytes(), Wall(received), offset) {
            prop_assert!(read.0.abs_diff(received) <= 30 * 86_400_000);
        }
    }
}

#[test]
fn dates_are_written_in_the_time_and_the_length_that_is_asked_for() {
    let notice = notice(b"1", State::Delivered, b"", b"");
    let mut minute = Minute::default();
    for (seconds, offset_minutes, done) in [
        (false, 0, "done date:2612010001 "),
        (true, 0, "done date:261201000100 "),
        (true, 180, "done date:261201030100 "),
        (false, -330, "done date:2611301831 "),
    ] {
        let mut out = Vec::new();
        write(&mut out, &notice, Dates { seconds, offset_minutes }, &mut minute);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(done), "{text}");
    }
}
