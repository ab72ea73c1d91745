//! Tests of `provider_form`: tables. No code of its own.

use super::*;
use crate::submission::push_extra;

#[test]
fn a_sender_goes_out_under_the_type_of_its_kind() {
    let types = AddressTypes {
        international: Some((1, 1)),
        short: Some((3, 0)),
        alphanumeric: Some((5, 0)),
        destination: Some((2, 1)),
    };
    let rows: [(&[u8], u8, (u8, u8)); 6] = [
        (b"254712345678", 0, (1, 1)),
        (b"22344", 0, (3, 0)),
        (b"12345678", 1, (3, 0)),
        (b"ACME", 5, (5, 0)),
        // A name of digits alone is still a name.
        (b"1234", 5, (5, 0)),
        (b"", 0, (0, 0)),
    ];
    for (source, source_ton, expected) in rows {
        let body = Body { source, source_ton, source_npi: 0, ..Body::default() };
        assert_eq!(types.source(&body), expected, "{}", source.escape_ascii());
        assert_eq!(AddressTypes::default().source(&body), (source_ton, 0));
        assert_eq!(types.destination(&body), (2, 1));
    }
}

#[test]
fn values_are_written_in_their_form() {
    for (form, written, expected) in [
        (TlvForm::CString, "110", Some(&b"110\0"[..])),
        (TlvForm::CString, "", Some(b"\0")),
        (TlvForm::CString, "a\0b", None),
        (TlvForm::Octets, "00fF", Some(b"\x00\xff")),
        (TlvForm::Octets, "00f", None),
        (TlvForm::Octets, "+1", None),
        (TlvForm::U8, "255", Some(b"\xff")),
        (TlvForm::U8, "256", None),
        (TlvForm::U16, "258", Some(b"\x01\x02")),
        (TlvForm::U32, "16909060", Some(b"\x01\x02\x03\x04")),
        (TlvForm::U32, "x", None),
    ] {
        assert_eq!(form.octets(written.as_bytes()).as_deref(), expected, "{form:?} {written}");
    }
}

fn rule(tag: u16, name: &str, constant: Option<&[u8]>, pass: bool) -> TlvRule {
    let constant = constant.map(<[u8]>::to_vec);
    TlvRule { tag, name: name.to_owned(), form: TlvForm::CString, constant, pass }
}

/// The TLVs that a provider with these rules is sent of a message with the usual one, a vendor's own, and a name.
fn sent(rules: Vec<TlvRule>, takes_tlvs: bool) -> Vec<(u16, Vec<u8>)> {
    let mut extras = Vec::new();
    push_extra(&mut extras, Extra::Tlvs, b"\x02\x0a\x00\x02\x01\x02");
    push_extra(&mut extras, Extra::VendorTlvs, b"\x14\x00\x00\x03aa\0\x14\x01\x00\x02bb");
    let mut named = Vec::new();
    push_named(&mut named, b"template", b"t1");
    push_named(&mut named, b"entity", b"e1");
    push_extra(&mut extras, Extra::NamedTlvs, &named);
    let body = Body { extras: &extras, ..Body::default() };
    let definition = ProviderDefinition { tlvs: rules, takes_tlvs, ..ProviderDefinition::default() };
    let out = tlvs(Some(&definition), &body);
    Tlvs::new(&out).map(|(tag, value)| (tag, value.to_vec())).collect()
}

/// It must not be sent as something else than the provider's entry says; what is left out leaves the constant in force.
#[test]
fn of_a_tenants_own_only_what_is_of_the_form_is_passed_on() {
    type Values = &'static [&'static [u8]];
    let rows: [(TlvForm, Values, Values); 5] = [
        (TlvForm::Octets, &[b"", b"a", b"a\0b"], &[]),
        (TlvForm::CString, &[b"\0", b"abc\0"], &[b"", b"abc", b"a\0b\0", b"a\0\0"]),
        (TlvForm::U8, &[b"\0"], &[b"", b"ab"]),
        (TlvForm::U16, &[b"ab"], &[b"", b"a", b"abc"]),
        (TlvForm::U32, &[b"abcd"], &[b"", b"abc", b"abcde"]),
    ];
    for (form, passed, left_out) in rows {
        let all = passed.iter().map(|value| (value, true)).chain(left_out.iter().map(|value| (value, false)));
        for (value, is_passed) in all {
            let (mut own, mut extras) = (Vec::new(), Vec::new());
            write::tlv(&mut own, 0x1400, value).unwrap();
            push_extra(&mut extras, Extra::VendorTlvs, &own);
            let body = Body { extras: &extras, ..Body::default() };
            for constant in [None, Some(&b"constant"[..])] {
                let rules = vec![TlvRule { form, ..rule(0x1400, "own", constant, true) }];
                let definition =
                    ProviderDefinition { tlvs: rules, takes_tlvs: true, ..ProviderDefinition::default() };
                let out = tlvs(Some(&definition), &body);
                let expected = if is_passed { Some(*value) } else { constant };
                assert_eq!(Tlvs::new(&out).value_of(0x1400), expected, "{form:?} {}", value.escape_ascii());
            }
        }
    }
}

#[test]
fn a_name_counts_before_the_tenants_own_and_that_before_the_constant() {
    let usual = (0x020A, b"\x01\x02".to_vec());
    let rows = [
        (vec![], true, vec![usual.clone()]),
        (vec![], false, vec![]),
        (
            vec![rule(0x1400, "entity", Some(b"c\0"), true)],
            true,
            vec![usual.clone(), (0x1400, b"e1\0".to_vec())],
        ),
        (
            vec![rule(0x1400, "other", Some(b"c\0"), true)],
            true,
            vec![usual.clone(), (0x1400, b"aa\0".to_vec())],
        ),
        (
            vec![rule(0x1400, "other", Some(b"c\0"), false)],
            true,
            vec![usual.clone(), (0x1400, b"c\0".to_vec())],
        ),
        (vec![rule(0x1402, "other", None, true)], true, vec![usual.clone()]),
        (vec![rule(0x1400, "entity", None, false)], false, vec![]),
        // A rule replaces what is passed on otherwise.
        (vec![rule(0x020A, "port", Some(b"\x09\x09"), false)], true, vec![(0x020A, b"\x09\x09".to_vec())]),
    ];
    for (rules, takes_tlvs, expected) in rows {
        assert_eq!(sent(rules.clone(), takes_tlvs), expected, "{rules:?}");
    }
    let plain = Body::default();
    assert_eq!(tlvs(None, &plain), Cow::Borrowed(&[][..]));
}
