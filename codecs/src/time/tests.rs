//! Tests of `time`: tables and properties. No code of its own.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::*;
use proptest::prelude::*;

fn wall(text: &str) -> Wall {
    parse_rfc3339(text).unwrap_or_else(|| panic!("{text}"))
}

const NOW: &str = "2026-11-20T13:50:00.250Z";

#[test]
fn time_fields_are_read() {
    for (field, expected) in [
        // Not set.
        ("", None),
        ("\0", None),
        ("000000000000000R", None),
        ("000000000000000+", None),
        ("0000000000000000", None),
        // Absolute.
        ("261120135000000+", Some("2026-11-20T13:50:00Z")),
        ("261120135000700+\0", Some("2026-11-20T13:50:00.700Z")),
        ("261120135000012+", Some("2026-11-20T10:50:00Z")),
        ("261120135000012-", Some("2026-11-20T16:50:00Z")),
        ("261120135000748+", Some("2026-11-20T01:50:00.700Z")),
        ("261120235959001-", Some("2026-11-21T00:14:59Z")),
        ("950207233347004+", Some("1995-02-07T22:33:47Z")),
        ("240229000000000+", Some("2024-02-29T00:00:00Z")),
        // In the past: the caller decides.
        ("200101000000000+", Some("2020-01-01T00:00:00Z")),
        // Relative: the examples of the specification, and steps of the calendar.
        ("020610233429000R", Some("2029-05-31T13:24:29.250Z")),
        ("000000010000000R", Some("2026-11-20T14:50:00.250Z")),
        ("000003000000000R", Some("2026-11-23T13:50:00.250Z")),
        ("000003000000000r", Some("2026-11-23T13:50:00.250Z")),
        ("000000000005000R", Some("2026-11-20T13:50:05.250Z")),
        ("000200000000000R", Some("2027-01-20T13:50:00.250Z")),
        ("990000000000000R", Some("2125-11-20T13:50:00.250Z")),
        ("000000990000000R", Some("2026-11-24T16:50:00.250Z")),
        // Shorter forms that are clear.
        ("261120135000", Some("2026-11-20T13:50:00Z")),
        ("2611201350007", Some("2026-11-20T13:50:00.700Z")),
        ("20261120135000", Some("2026-11-20T13:50:00Z")),
        ("261120135000000", Some("2026-11-20T13:50:00Z")),
        ("261120135000+", Some("2026-11-20T13:50:00Z")),
        ("000000010000R", Some("2026-11-20T14:50:00.250Z")),
        ("0000000100000R", Some("2026-11-20T14:50:00.250Z")),
        (" 261120135000000+ ", Some("2026-11-20T13:50:00Z")),
    ] {
        assert_eq!(read(field.as_bytes(), wall(NOW)), Ok(expected.map(wall)), "{field:?}");
    }
}

#[test]
fn a_month_later_stays_inside_the_month_it_reaches() {
    for (now, field, expected) in [
        ("2026-01-31T10:00:00Z", "000100000000000R", "2026-02-28T10:00:00Z"),
        ("2024-01-31T10:00:00Z", "000100000000000R", "2024-02-29T10:00:00Z"),
        ("2024-02-29T10:00:00Z", "010000000000000R", "2025-02-28T10:00:00Z"),
        ("2026-12-31T10:00:00Z", "000101000000000R", "2027-02-01T10:00:00Z"),
    ] {
        assert_eq!(read(field.as_bytes(), wall(now)), Ok(Some(wall(expected))), "{now} {field}");
    }
}

#[test]
fn what_is_no_time_is_refused() {
    for field in [
        "R",
        "+",
        "tomorrow",
        "2611201350",
        "261120135000000*",
        "261320135000000+",
        "261132135000000+",
        "260229135000000+",
        "261120245000000+",
        "261120136000000+",
        "261120135060000+",
        "261120135000049+",
        "261120135000012",
        "26112013500000x+",
        "2611201350000000+",
        "00000001000R",
        "000000010000000 R",
        "00000001000000xR",
        "é61120135000000+",
    ] {
        assert_eq!(read(field.as_bytes(), wall(NOW)), Err(InvalidTime), "{field:?}");
    }
}

#[test]
fn the_absolute_form_is_written_in_utc() {
    for (time, field) in [
        ("2026-11-20T13:50:07.987Z", "261120135007900+"),
        ("2030-01-02T03:04:05Z", "300102030405000+"),
        ("1999-12-31T23:59:59.999Z", "991231235959900+"),
        // What two digits of a year cannot say.
        ("2090-01-01T00:00:00Z", "891231235959900+"),
        ("2162-12-29T20:15:22Z", "891231235959900+"),
        ("1989-12-31T23:59:59.999Z", "900101000000000+"),
    ] {
        let mut out = Vec::new();
        write_absolute(&mut out, wall(time));
        assert_eq!(String::from_utf8(out).unwrap(), field);
    }
}

#[test]
fn rfc3339_is_read_and_written() {
    for (text, written) in [
        ("2026-11-20T13:50:00.123Z", "2026-11-20T13:50:00.123Z"),
        ("2026-11-20t13:50:00z", "2026-11-20T13:50:00.000Z"),
        ("2026-11-20 13:50:00.1Z", "2026-11-20T13:50:00.100Z"),
        ("2026-11-20T13:50:00.123999999Z", "2026-11-20T13:50:00.123Z"),
        ("2026-11-20T13:50:00+03:00", "2026-11-20T10:50:00.000Z"),
        ("2026-11-20T13:50:00-05:30", "2026-11-20T19:20:00.000Z"),
        ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
        ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ] {
        assert_eq!(rfc3339_string(wall(text)), written);
    }
    assert_eq!(parse_rfc3339("1970-01-01T00:00:01.002Z"), Some(Wall(1_002)));
    assert_eq!(parse_rfc3339("2026-11-20T13:50:00Z"), Some(Wall(1_795_182_600_000)));
}

#[test]
fn what_is_not_rfc3339_is_refused() {
    for text in [
        "",
        "2026-11-20",
        "2026-11-20T13:50:00",
        "2026-11-20T13:50Z",
        "2026-11-20T13:50:00.Z",
        "2026-13-20T13:50:00Z",
        "2026-02-30T13:50:00Z",
        "2026-11-20T24:50:00Z",
        "2026-11-20T13:60:00Z",
        "2026-11-20T13:50:61Z",
        "2026-11-20T13:50:00+0300",
        "2026-11-20T13:50:00+24:00",
        "2026-11-20T13:50:00Zz",
        "2026-11-2éT13:50:00Z",
        "20261120T135000Z",
        "+026-11-20T13:50:00Z",
    ] {
        assert_eq!(parse_rfc3339(text), None, "{text:?}");
    }
}

#[test]
fn every_day_of_ten_thousand_years_is_in_its_place() {
    let mut expected = Civil { year: 0, month: 1, day: 1, hour: 0, minute: 0, second: 0, millisecond: 0 };
    let mut day = FIRST;
    while day <= LAST {
        let civil = Civil::of(Wall(day));
        assert_eq!(civil, expected);
        assert_eq!(civil.wall(), Some(Wall(day)));
        // The next day by counting, not by the formula.
        expected.day += 1;
        if expected.day > days_in_month(expected.year, expected.month) {
            (expected.day, expected.month) = (1, expected.month + 1);
        }
        if expected.month > 12 {
            (expected.month, expected.year) = (1, expected.year + 1);
        }
        day += DAY_MILLIS;
    }
    assert_eq!(expected.year, 10_000);
}

#[test]
fn moments_outside_of_the_calendar_become_the_nearest_inside() {
    assert_eq!(rfc3339_string(Wall(i64::MIN)), "0000-01-01T00:00:00.000Z");
    assert_eq!(rfc3339_string(Wall(i64::MAX)), "9999-12-31T23:59:59.999Z");
    assert_eq!(read(b"990000000000000R", Wall(i64::MAX)), Ok(Some(Wall(LAST))));
}

proptest! {
    #[test]
    fn rfc3339_comes_back(millis in FIRST..=LAST) {
        prop_assert_eq!(parse_rfc3339(&rfc3339_string(Wall(millis))), Some(Wall(millis)));
    }

    #[test]
    fn an_absolute_time_of_1990_to_2089_comes_back(tenths in 6_311_520_000i64..37_869_120_000) {
        let wall = Wall(tenths * 100);
        let mut out = Vec::new();
        write_absolute(&mut out, wall);
        prop_assert_eq!(out.len(), 16);
        prop_assert_eq!(read(&out, Wall(0)), Ok(Some(wall)));
    }

    #[test]
    fn no_absolute_time_is_read_in_another_century_than_it_was_written_in(millis in any::<i64>()) {
        let mut out = Vec::new();
        write_absolute(&mut out, Wall(millis));
        let nearest = millis.clamp(SHORT_FIRST, SHORT_LAST);
        prop_assert_eq!(read(&out, Wall(0)), Ok(Some(Wall(nearest - nearest % 100))));
    }

    #[test]
    fn any_octets_can_be_a_time(octets in "[0-9+R \\-\\x00.:TZ]{0,30}", now in any::<i64>()) {
        let _ = read(octets.as_bytes(), Wall(now));
        let _ = parse_rfc3339(&octets);
    }

    #[test]
    fn any_string_can_be_rfc3339(text in any::<String>()) {
        let _ = parse_rfc3339(&text);
        let _ = read(text.as_bytes(), Wall(0));
    }
}
