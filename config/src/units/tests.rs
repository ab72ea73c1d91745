//! What each unit reads and refuses.

use super::*;

#[test]
fn money_is_read_exactly_or_not_at_all() {
    let cases = [
        ("0", Some(0)),
        ("1.00", Some(1_000_000)),
        ("0.000001", Some(1)),
        ("-0.5", Some(-500_000)),
        ("1000000000", Some(1_000_000_000_000_000)),
        ("9223372036854.775807", Some(i64::MAX)),
        ("9223372036854.775808", None),
        ("99999999999999999999", None),
        ("0.0000001", None),
        ("0.0000000", None),
        ("", None),
        ("-", None),
        (".5", None),
        ("5.", None),
        ("+1", None),
        ("--1", None),
        ("1e3", None),
        ("1,5", None),
        ("1.-5", None),
        (" 1", None),
        ("1_000", None),
        ("١", None),
    ];
    for (text, expected) in cases {
        assert_eq!(Micros::parse(text), expected.map(Micros), "{text}");
    }
}

#[test]
fn money_reads_back_what_it_shows() {
    let cases = [(0, "0.00"), (1, "0.000001"), (-500_000, "-0.50"), (1_234_500, "1.2345")];
    for (micros, expected) in cases {
        assert_eq!(Micros(micros).to_string(), expected);
    }
    // Steps by a prime, so that every digit takes every value.
    for micros in (-40_000_000_000..40_000_000_000).step_by(104_729_111).chain([i64::MAX, -i64::MAX]) {
        assert_eq!(Micros::parse(&Micros(micros).to_string()), Some(Micros(micros)));
    }
}

#[test]
fn sizes_have_binary_units() {
    let cases = [
        ("0B", Some(0)),
        ("512B", Some(512)),
        ("64KiB", Some(65_536)),
        ("2 GiB", Some(2 << 30)),
        ("1TiB", Some(1 << 40)),
        ("16777216TiB", None),
        ("2GB", None),
        ("2gib", None),
        ("2", None),
        ("GiB", None),
        ("1.5GiB", None),
        ("-1B", None),
        ("", None),
    ];
    for (text, expected) in cases {
        assert_eq!(Size::parse(text), expected.map(Size), "{text}");
    }
    for (octets, expected) in [(0, "0B"), (1_000, "1000B"), (65_536, "64KiB"), (3 << 30, "3GiB")] {
        assert_eq!(Size(octets).to_string(), expected);
    }
}

#[test]
fn durations_have_one_unit() {
    let cases = [
        ("0s", Some(0)),
        ("500ms", Some(500)),
        ("10s", Some(10_000)),
        ("5m", Some(300_000)),
        ("72h", Some(259_200_000)),
        ("400d", Some(34_560_000_000)),
        ("10", None),
        ("1h30m", None),
        ("1.5h", None),
        ("-1s", None),
        ("10 seconds", None),
        ("s", None),
        ("", None),
        ("18446744073709551615d", None),
        ("99999999999999999999s", None),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_duration(text), expected.map(Duration::from_millis), "{text}");
    }
    for text in ["0s", "500ms", "90s", "5m", "3d"] {
        assert_eq!(show_duration(parse_duration(text).unwrap()), text);
    }
}

#[test]
fn times_are_instants_and_need_their_offset() {
    let cases = [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("1969-12-31T23:59:59.999Z", Some(-1)),
        ("2000-02-29T12:00:00Z", Some(951_825_600_000)),
        ("2000-03-01T00:00:00Z", Some(951_868_800_000)),
        ("2027-01-01T03:00:00+03:00", Some(1_798_761_600_000)),
        ("2026-12-31T18:30:00-05:30", Some(1_798_761_600_000)),
        ("2027-01-01T00:00:00", None),
        ("2027-01-01", None),
        ("2027-02-30T00:00:00Z", None),
        ("tomorrow", None),
    ];
    for (text, expected) in cases {
        assert_eq!(UnixMillis::parse(text), expected.map(UnixMillis), "{text}");
    }
}

#[test]
fn blocks_hold_their_addresses_and_no_others() {
    let cases = [
        ("10.0.0.0/8", "10.255.255.255", true),
        ("10.0.0.0/8", "11.0.0.0", false),
        ("10.0.0.0/8", "::ffff:10.1.2.3", true),
        ("192.0.2.7", "192.0.2.7", true),
        ("192.0.2.7", "192.0.2.6", false),
        ("0.0.0.0/0", "203.0.113.1", true),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("::/0", "2001:db8::1", true),
        ("2001:db8::/32", "2001:db8:ffff::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
        ("::1", "::1", true),
        ("::ffff:10.0.0.1", "10.0.0.1", true),
        ("::ffff:10.0.0.0/104", "10.9.9.9", true),
        ("::ffff:10.0.0.0/104", "11.0.0.0", false),
        ("::ffff:0:0/96", "192.0.2.7", true),
        ("::/0", "2001:db8::1", true),
    ];
    for (block, address, expected) in cases {
        let block = IpBlock::parse(block).unwrap();
        assert_eq!(block.contains(address.parse().unwrap()), expected, "{block:?} {address}");
    }
    for text in
        ["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "::/129", "2001:db8::1/64", "host", ""]
    {
        assert_eq!(IpBlock::parse(text), None, "{text}");
    }
}

#[test]
fn a_secret_does_not_show_itself() {
    let secret = Secret::new("hunter2");
    assert_eq!(format!("{secret:?}"), "***");
    assert_eq!(secret.expose(), "hunter2");
}
