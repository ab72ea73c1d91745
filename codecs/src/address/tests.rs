//! Tests of `address`: tables and properties. No code of its own.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::*;
use proptest::prelude::*;

fn digits(number: Msisdn) -> String {
    let mut out = Vec::new();
    number.write_digits(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn destinations_are_read_as_people_write_them() {
    for text in [
        "+254712345678",
        "254712345678",
        "00254712345678",
        "+254 712 345-678",
        "(+254) 712 345678",
        "00 254 712345678",
        " 254712345678 ",
        "+٢٥٤٧١٢٣٤٥٦٧٨",
        "۲۵۴۷۱۲۳۴۵۶۷۸",
    ] {
        let number = destination(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(number.as_u64(), 254_712_345_678, "{text}");
        assert_eq!((number.to_string(), digits(number)), ("+254712345678".into(), "254712345678".into()));
    }
    for text in ["1234567", "999999999999999", "+390612345678"] {
        assert_eq!(digits(destination(text).unwrap()), text.trim_start_matches('+'));
    }
}

#[test]
fn what_is_no_destination_is_refused() {
    for (text, error) in [
        ("", Invalid::Empty),
        ("  ", Invalid::Empty),
        ("()-", Invalid::Empty),
        ("+", Invalid::TooShort),
        ("00", Invalid::TooShort),
        ("123456", Invalid::TooShort),
        ("+123456", Invalid::TooShort),
        ("1234567890123456", Invalid::TooLong),
        ("0712345678", Invalid::NoCountryCode),
        ("+0712345678", Invalid::NoCountryCode),
        ("000712345678", Invalid::NoCountryCode),
        ("+00254712345678", Invalid::NoCountryCode),
        ("01144712345678", Invalid::NoCountryCode),
        ("25471234567a", Invalid::Character),
        ("254712345678;1", Invalid::Character),
        ("++254712345678", Invalid::Character),
        ("254+712345678", Invalid::Character),
        ("254712345678\0", Invalid::Character),
        ("２５４７１２３４５６７８", Invalid::Character),
    ] {
        assert_eq!(destination(text), Err(error), "{text:?}");
    }
}

#[test]
fn destinations_of_smpp_peers_are_read() {
    for (ton, octets, expected) in [
        (1, &b"254712345678"[..], Ok(254_712_345_678)),
        (1, b"+254712345678", Ok(254_712_345_678)),
        (0, b"00254712345678", Ok(254_712_345_678)),
        (5, b"254712345678", Ok(254_712_345_678)),
        (2, b"+254712345678", Ok(254_712_345_678)),
        (2, b"712345678", Err(Invalid::NoCountryCode)),
        (0, b"0712345678", Err(Invalid::NoCountryCode)),
        (1, b"", Err(Invalid::Empty)),
        (5, b"ACME", Err(Invalid::Character)),
        (1, b"2547\xFF12345678", Err(Invalid::Character)),
    ] {
        assert_eq!(destination_octets(ton, octets).map(Msisdn::as_u64), expected, "{ton} {octets:x?}");
    }
}

#[test]
fn a_national_number_is_what_its_peer_means_by_it() {
    let kenya = National::Of(254);
    for (ton, octets, national, expected) in [
        (2, &b"254712345678"[..], National::Refused, Err(Invalid::NoCountryCode)),
        (2, b"254712345678", National::International, Ok(254_712_345_678)),
        (2, b"0712345678", National::International, Err(Invalid::NoCountryCode)),
        (2, b"712345678", kenya, Ok(254_712_345_678)),
        (2, b"0712345678", kenya, Ok(254_712_345_678)),
        (2, b"0712-345 678", kenya, Ok(254_712_345_678)),
        (2, b"2025550123", National::Of(1), Ok(12_025_550_123)),
        // Whoever writes + or 00 means a country code, and other types are not national.
        (2, b"+447700900123", kenya, Ok(447_700_900_123)),
        (2, b"00447700900123", kenya, Ok(447_700_900_123)),
        (1, b"447700900123", kenya, Ok(447_700_900_123)),
        (0, b"0712345678", kenya, Err(Invalid::NoCountryCode)),
        (2, b"123456789012", kenya, Ok(254_123_456_789_012)),
        (2, b"1234567890123", kenya, Err(Invalid::TooLong)),
        (2, b"123", kenya, Err(Invalid::TooShort)),
        (2, b"0", kenya, Err(Invalid::Empty)),
        (2, b"", kenya, Err(Invalid::Empty)),
    ] {
        let found = destination_of(ton, octets, national).map(Msisdn::as_u64);
        assert_eq!(found, expected, "{ton} {} {national:?}", octets.escape_ascii());
    }
}

#[test]
fn a_sender_gets_its_type_by_what_it_is() {
    for (text, types, octets) in [
        ("ACME", (5, 0), &b"ACME"[..]),
        ("ABCDEFGHIJK", (5, 0), b"ABCDEFGHIJK"),
        ("A 1-b@c_d", (5, 0), b"A 1-b@c_d"),
        ("Caf\u{e9}", (5, 0), b"Caf\xE9"),
        ("12345678901A".get(1..).unwrap(), (5, 0), b"2345678901A"),
        ("123", (3, 0), b"123"),
        ("22-345", (3, 0), b"22345"),
        ("12345678", (3, 0), b"12345678"),
        ("+254712345678", (1, 1), b"254712345678"),
        ("+1234567", (1, 1), b"1234567"),
        ("00254712345678", (1, 1), b"254712345678"),
        ("0712345678", (1, 1), b"0712345678"),
        ("254 712 345 678", (1, 1), b"254712345678"),
        ("123456789012345", (1, 1), b"123456789012345"),
        ("1", (0, 0), b"1"),
        ("12", (0, 0), b"12"),
        ("123456789", (0, 0), b"123456789"),
    ] {
        let sender = sender(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((sender.ton_npi(), sender.octets()), (types, octets), "{text}");
    }
}

#[test]
fn what_is_no_sender_is_refused() {
    for (text, error) in [
        ("", Invalid::Empty),
        (" ", Invalid::Empty),
        ("---", Invalid::Empty),
        ("ABCDEFGHIJKL", Invalid::TooLong),
        // An extension character is two septets.
        ("ABCDEFGHI[]", Invalid::TooLong),
        ("1234567890123456", Invalid::TooLong),
        ("+12345", Invalid::TooShort),
        ("Akçe", Invalid::Character),
        ("Мир", Invalid::Character),
        // In the GSM alphabet, but no octet of the field says it.
        ("Delta Δ", Invalid::Character),
        ("AC\nME", Invalid::Character),
        ("12#4", Invalid::Character),
    ] {
        assert_eq!(sender(text).map(|sender| sender.octets().to_vec()), Err(error), "{text:?}");
    }
}

#[test]
fn a_peer_s_sender_is_kept_as_it_came() {
    for (ton, npi, octets) in [
        (0, 0, &b""[..]),
        (5, 1, b"ACME \xE9\x01"),
        (3, 9, b"12345678901234567890"),
        (255, 255, b"+254712345678"),
    ] {
        let sender = sender_octets(ton, npi, octets).unwrap();
        assert_eq!((sender.ton_npi(), sender.octets()), ((ton, npi), octets));
    }
    assert_eq!(sender_octets(0, 0, b""), Ok(Sender::EMPTY));
    assert_eq!(sender_octets(5, 0, b"123456789012345678901"), Err(Invalid::TooLong));
    assert_eq!(sender_octets(5, 0, b"AC\0ME"), Err(Invalid::Character));
    assert_eq!(sender_octets(5, 0, b"Caf\xE9").unwrap().to_string(), "Café");
}

proptest! {
    #[test]
    fn a_number_comes_back(number in 1_000_000u64..1_000_000_000_000_000) {
        let number = Msisdn::new(number).unwrap();
        prop_assert_eq!(destination(&number.to_string()), Ok(number));
        prop_assert_eq!(destination_octets(1, digits(number).as_bytes()), Ok(number));
        prop_assert_eq!(destination_octets(0, format!("00{}", digits(number)).as_bytes()), Ok(number));
    }

    #[test]
    fn what_is_accepted_is_a_number(text in "[0-9+ ()\\-]{0,24}") {
        if let Ok(number) = destination(&text) {
            prop_assert_eq!(Msisdn::new(number.as_u64()), Some(number));
        }
    }

    #[test]
    fn any_octets_can_be_an_address(text in any::<String>(), ton in any::<u8>(), octets in any::<Vec<u8>>()) {
        let _ = destination(&text);
        let _ = sender(&text);
        let _ = destination_octets(ton, &octets);
        prop_assert_eq!(sender_octets(ton, 0, &octets).is_ok(), octets.len() <= 20 && !octets.contains(&0));
    }
}

#[test]
fn only_numbers_with_seven_to_fifteen_digits_are_made() {
    for (number, exists) in [
        (0, false),
        (999_999, false),
        (1_000_000, true),
        (999_999_999_999_999, true),
        (1_000_000_000_000_000, false),
    ] {
        assert_eq!(Msisdn::new(number).is_some(), exists, "{number}");
    }
}

#[test]
fn a_number_has_the_same_digits_at_its_end_however_it_is_written() {
    for (octets, expected) in [
        (&b"254712345678"[..], Some(254_712_345_678)),
        (b"+254 712-345678", Some(254_712_345_678)),
        (b"00254712345678", Some(254_712_345_678)),
        (b"0712345678", Some(712_345_678)),
        (b"0001234567", Some(1_234_567)),
        (b"0123456", None),
        (b"1234567890123456", None),
        (b"ACME", None),
        (b"", None),
    ] {
        assert_eq!(significant_digits(octets), expected, "{}", octets.escape_ascii());
    }
}
