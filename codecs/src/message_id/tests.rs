//! Tests of `message_id`: tables and properties. No code of its own.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::*;
use proptest::prelude::*;

fn key(form: Form, side: Side, id: &str) -> String {
    let mut out = b">".to_vec();
    canonical(form, side, id.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

fn same(form: Form, response: &str, receipt: &str) -> bool {
    key(form, Side::Response, response) == key(form, Side::Receipt, receipt)
}

#[test]
fn a_form_is_known_by_its_name() {
    let names = Form::ALL.map(Form::name);
    assert_eq!(names, ["text", "hex", "dec", "hex_dec", "dec_hex"]);
    assert_eq!(names.map(Form::parse), Form::ALL.map(Some));
    assert_eq!(Form::parse("HEX"), None);
}

#[test]
fn ids_that_are_seen_to_differ_find_each_other() {
    for (form, response, receipt) in [
        (Form::Text, "abc-1", "abc-1"),
        (Form::Text, "00B8BE19", "00b8be19"),
        (Form::Text, "0F9619FF-8B86-D011-B42D-00CF4FC964FF", "0f9619ff-8b86-d011-b42d-00cf4fc964ff"),
        (Form::Text, "SAR-0a1B", "sar-0A1b"),
        (Form::Text, "0406123", "406123"),
        (Form::Text, "0a1", "a1"),
        (Form::Text, "00004061230000000000022", "4061230000000000022"),
        (Form::Text, "000", "0"),
        (Form::Text, "12\0", " 12"),
        (Form::Hex, "00B8BE19", "b8be19"),
        (Form::Hex, "0", "00000000"),
        (Form::Dec, "0406", "406"),
        (Form::HexDec, "39f99dd5", "0972660181"),
        (Form::HexDec, "18d0e03a", "0416342074"),
        (Form::HexDec, "6E84FC04", "1854209028"),
        (Form::HexDec, "38601fa", "0059113978"),
        (Form::HexDec, "6aad5", "436949"),
        (Form::HexDec, "ffffffffffffffffffffffffffffffff", "340282366920938463463374607431768211455"),
        (Form::DecHex, "0972660181", "39F99DD5"),
        (Form::DecHex, "18446744073709551616", "10000000000000000"),
        // Not of the form: the text, without case.
        (Form::HexDec, "MSG-7", "msg-7"),
        (Form::DecHex, "xyz", "XYZ"),
        (Form::Hex, "g1", "G1"),
    ] {
        assert!(same(form, response, receipt), "{} {response} {receipt}", form.name());
    }
}

#[test]
fn different_ids_stay_different() {
    for (form, response, receipt) in [
        (Form::Text, "10", "1"),
        (Form::Text, "1", ""),
        (Form::Hex, "10", "1"),
        (Form::Dec, "10", "16"),
        (Form::HexDec, "10", "10"),
        (Form::DecHex, "10", "10"),
        // More than 128 bits: no overflow into another number.
        (Form::HexDec, "100000000000000000000000000000001", "1"),
        (Form::HexDec, "+1f", "31"),
    ] {
        assert!(!same(form, response, receipt), "{} {response} {receipt}", form.name());
    }
}

#[test]
fn what_was_kept_of_a_response_does_not_depend_on_the_form() {
    for form in Form::ALL {
        for (response, expected) in
            [("0255", ">255"), ("0FF", ">ff"), ("000", ">0"), (" -X\0", ">-x"), ("", ">")]
        {
            assert_eq!(key(form, Side::Response, response), expected, "{} {response}", form.name());
        }
    }
}

proptest! {
    #[test]
    fn a_number_is_found_in_the_other_radix(number in any::<u128>(), zeros in 0usize..8) {
        let zeros = "0".repeat(zeros);
        let (dec, lower, upper) = (format!("{zeros}{number}"), format!("{zeros}{number:x}"), format!("{number:X}"));
        for hex in [&lower, &upper] {
            prop_assert!(same(Form::HexDec, hex, &dec));
            prop_assert!(same(Form::DecHex, &dec, hex));
        }
        prop_assert!(same(Form::Hex, &lower, &upper));
        prop_assert!(same(Form::Dec, &dec, &number.to_string()));
    }

    #[test]
    fn two_numbers_are_two_ids(one in any::<u128>(), step in 1u128..1_000) {
        let other = one.wrapping_add(step);
        let (one_hex, other_hex) = (format!("{one:x}"), format!("{other:x}"));
        prop_assert!(!same(Form::HexDec, &one_hex, &other.to_string()));
        prop_assert!(!same(Form::DecHex, &one.to_string(), &other_hex));
    }

    #[test]
    fn any_octets_can_be_an_id(octets in any::<Vec<u8>>()) {
        for form in Form::ALL {
            for side in [Side::Response, Side::Receipt] {
                let mut out = Vec::new();
                canonical(form, side, &octets, &mut out);
                prop_assert!(out.len() <= octets.len() * 2 + 1);
            }
        }
    }
}

#[test]
fn a_long_id_is_one_with_itself_as_it_was_kept_and_two_that_begin_alike_are_two() {
    let id = |octets: usize, end: &str| "0aB".repeat(octets)[..octets - end.len()].to_owned() + end;
    for octets in [64, 65, 70, 230, 240, 241, 255, 3000] {
        let one = id(octets, "x");
        let kept = String::from_utf8(kept(one.as_bytes()).into_owned()).unwrap();
        assert!(kept.len() <= KEPT_OCTETS_MAX);
        for form in Form::ALL {
            assert!(same(form, &kept, &one) && same(form, &one, &kept), "{octets} octets");
            assert!(same(form, &one, &format!(" 00{}", one.to_uppercase())), "{octets} octets");
            assert!(!same(form, &kept, &id(octets, "y")), "{octets} octets");
        }
    }
    let zeros = format!("{}39f99dd5", "0".repeat(247));
    assert!(same(Form::HexDec, &zeros, "972660181"));
}

#[test]
fn the_sum_in_a_long_id_never_changes() {
    let kept = kept(&[b'a'; 255]).into_owned();
    assert_eq!(String::from_utf8(kept).unwrap()[224..], *"7b04934eeef462a6");
}
