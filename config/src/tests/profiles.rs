//! Profiles beneath entries, and the dialects and reaches that they and entries write.

use super::*;

const KANNEL: &str = "message_id = 'hex_dec'\nreceipt = { offset = '+03:00', stat = { ACCEPTD = 'delivered' } }\n\
                      [status]\n0x45 = 'permanent'\n0x14 = { class = 'throttle', delay = '1s' }\n";

fn load_profiles(text: &str, embedded: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
    let read = |name: &str| match name {
        "./own.toml" => Ok("message_id = 'dec'\n".to_owned()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    load_with(Some(("tidegate.toml", text)), [], Profiles { embedded, read: &read })
}

fn provider(lines: &str) -> Provider {
    let config = load_profiles(&format!("{UP}{lines}\n"), &[("kannel", KANNEL), ("plain", "")]);
    config.unwrap_or_else(|problems| panic!("{lines}\n{problems:#?}")).provider.remove(0)
}

/// What is wrong with an entry of these lines, without its place.
fn refused(lines: &str) -> String {
    let text = format!("[[provider]]\nid = 'up'\nsystem_id = 'me'\n{lines}\n");
    let shown = shown(load_profiles(&text, &[("kannel", KANNEL), ("wrong", "host = 'x'\nwindw = 3\n")]));
    shown.join("\n")
}

#[test]
fn an_entry_lies_over_its_profile_key_by_key() {
    let plain = provider("");
    assert_eq!(provider("profile = 'plain'"), Provider { profile: Some("plain".to_owned()), ..plain });
    let laid = provider(
        "profile = 'kannel'\nmessage_id = 'dec_hex'\nreceipt = { stat = { FAILED = 'expired' } }\n\
         [provider.status]\n0x14 = 'permanent'",
    );
    assert_eq!((laid.message_id, laid.receipt.offset_minutes), (MessageIdForm::DecHex, 180));
    let words: Vec<_> = laid.receipt.stat.iter().map(|(word, state)| (word.as_str(), *state)).collect();
    assert_eq!(words, [("ACCEPTD", ReceiptState::Delivered), ("FAILED", ReceiptState::Expired)]);
    let rules: Vec<_> = laid.status.iter().map(|rule| (rule.first, rule.class)).collect();
    assert_eq!(rules, [(0x14, StatusMeaning::Permanent), (0x45, StatusMeaning::Permanent)]);
    assert_eq!(provider("profile = './own.toml'").message_id, MessageIdForm::Dec);
}

/// Statuses as `first-last class`, told from the whole of one provider.
fn rules(laid: &Provider) -> Vec<String> {
    let shown = |rule: &StatusRule| format!("{:x}-{:x} {:?}", rule.first, rule.last, rule.class);
    laid.status.iter().map(shown).collect()
}

#[test]
fn a_status_of_an_entry_is_cut_out_of_its_profile_however_it_is_written() {
    const RANGES: &str =
        "[status]\n0x0400-0x04FF = { class = 'temporary', delay = '1m' }\n0xFF = 'throttle'\n";
    for (lines, expected) in [
        ("", ["ff-ff Throttle", "400-4ff Temporary"].as_slice()),
        ("0xff = 'permanent'", &["ff-ff Permanent", "400-4ff Temporary"]),
        (
            "0x0433 = 'permanent'",
            &["ff-ff Throttle", "400-432 Temporary", "433-433 Permanent", "434-4ff Temporary"],
        ),
        ("0x400 = 'permanent'", &["ff-ff Throttle", "400-400 Permanent", "401-4ff Temporary"]),
        ("0x4ff = 'permanent'", &["ff-ff Throttle", "400-4fe Temporary", "4ff-4ff Permanent"]),
        ("0x80-0x410 = 'permanent'", &["80-410 Permanent", "411-4ff Temporary"]),
        ("0x400-0x4ff = 'permanent'", &["ff-ff Throttle", "400-4ff Permanent"]),
        (
            "0x410 = 'permanent'\n0x420-0x4FF = 'throttle'",
            &[
                "ff-ff Throttle",
                "400-40f Temporary",
                "410-410 Permanent",
                "411-41f Temporary",
                "420-4ff Throttle",
            ],
        ),
    ] {
        let text = format!("{UP}profile = 'ranges'\n[provider.status]\n{lines}\n");
        let config =
            load_profiles(&text, &[("ranges", RANGES)]).unwrap_or_else(|found| panic!("{lines}: {found:#?}"));
        let laid = &config.provider[0];
        assert_eq!(rules(laid), expected, "{lines}");
        let cut = laid.status.iter().filter(|rule| rule.class == StatusMeaning::Temporary);
        assert!(cut.clone().all(|rule| rule.delay == Some(Duration::from_secs(60))), "{lines}");
    }
}

#[test]
fn a_word_of_an_entry_replaces_its_profiles_in_any_case() {
    for word in ["ACCEPTD", "acceptd", "Acceptd"] {
        let laid = provider(&format!("profile = 'kannel'\nreceipt = {{ stat = {{ {word} = 'expired' }} }}"));
        assert_eq!(laid.receipt.stat, [("ACCEPTD".to_owned(), ReceiptState::Expired)], "{word}");
    }
}

#[test]
fn types_of_an_entry_replace_all_of_their_side_in_its_profile() {
    const TYPES: &str =
        "ton_npi = { international = [1, 1], short = [3, 0], alphanumeric = [5, 0], destination = [1, 1] }\n";
    for (lines, source, short, destination) in [
        ("", Some((1, 1)), Some((3, 0)), Some((1, 1))),
        ("source_ton = 5", Some((5, 0)), Some((5, 0)), Some((1, 1))),
        ("source_npi = 8", Some((0, 8)), Some((0, 8)), Some((1, 1))),
        ("dest_ton = 2", Some((1, 1)), Some((3, 0)), Some((2, 0))),
        ("source_ton = 5\nton_npi = { short = [4, 1] }", Some((5, 0)), Some((4, 1)), Some((1, 1))),
    ] {
        let text = format!("{UP}profile = 'types'\n{lines}\n");
        let config =
            load_profiles(&text, &[("types", TYPES)]).unwrap_or_else(|found| panic!("{lines}: {found:#?}"));
        let types = &config.provider[0].types;
        assert_eq!(
            (types.international, types.short, types.destination),
            (source, short, destination),
            "{lines}"
        );
    }
}

#[test]
fn a_variable_names_a_profile_too() {
    let embedded = [("kannel", KANNEL)];
    let variables = [("TIDEGATE__PROVIDER__UP__PROFILE".to_owned(), "kannel".to_owned())];
    let config = load_with(Some(("t", UP)), variables, Profiles { embedded: &embedded, ..Profiles::NONE });
    assert_eq!(config.unwrap().provider[0].message_id, MessageIdForm::HexDec);
}

#[test]
fn dialects_are_read() {
    let types = provider("source_ton = 5\nton_npi = { short = [3, 0], destination = [2, 1] }").types;
    assert_eq!((types.international, types.alphanumeric), (Some((5, 0)), Some((5, 0))));
    assert_eq!((types.short, types.destination), (Some((3, 0)), Some((2, 1))));
    let rules =
        provider("[provider.status]\n0x0400-0x04FF = { class = 'temporary', delay = '1m', tries = 3 }")
            .status;
    let rule = StatusRule {
        first: 0x400,
        last: 0x4FF,
        class: StatusMeaning::Temporary,
        delay: Some(Duration::from_secs(60)),
        tries: Some(3),
    };
    assert_eq!(rules, [rule]);
    let tlvs =
        provider("[[provider.tlv]]\ntag = 0x1400\nname = 'entity'\ntype = 'u32'\nvalue = 7\npass = true").tlv;
    let tlv = Tlv {
        tag: 0x1400,
        name: "entity".to_owned(),
        form: TlvType::U32,
        value: Some("7".to_owned()),
        pass: true,
    };
    assert_eq!(tlvs, [tlv]);
    let receipt =
        provider("receipt = { offset = '-05:30', date = 'long', pattern = '{stat},{id},{}' }").receipt;
    assert_eq!((receipt.offset_minutes, receipt.date), (-330, ReceiptDate::Long));
    assert_eq!(receipt.pattern.as_deref(), Some("{stat},{id},{}"));
}

#[test]
fn a_provider_is_reached_at_its_hosts_or_waited_for() {
    let reach = |lines: &str| {
        let text = format!("[[provider]]\nid = 'up'\nsystem_id = 'me'\n{lines}\n");
        good(&text).provider.remove(0).reach
    };
    let hosts: Vec<_> = reach("hosts = ['a.example.com:3000', '192.0.2.7', '[::1]:9']").hosts;
    let shown: Vec<_> = hosts.iter().map(|host| (host.name.as_str(), host.port)).collect();
    assert_eq!(shown, [("a.example.com", 3000), ("192.0.2.7", 2775), ("::1", 9)]);
    let waiting = reach("outbind = { listen = '127.0.0.1:2777', password = 'x' }");
    assert!(waiting.hosts.is_empty());
    assert_eq!(waiting.outbind.unwrap().password.expose(), "x");
    let from = reach("outbind = { listen = '127.0.0.1:2777', from = ['192.0.2.7', '2001:db8::/32'] }");
    assert_eq!(from.outbind.unwrap().from.len(), 2);
    let tls = reach("host = 'a'\nlocal_address = '192.0.2.1'\ntls = { cert = 'c.pem', key = 'k.pem' }");
    assert_eq!(
        (tls.local_address, tls.tls.unwrap().cert),
        ("192.0.2.1".parse().ok(), PathBuf::from("c.pem"))
    );
}

#[test]
fn every_mistake_of_a_dialect_is_told() {
    for (lines, expected) in [
        ("host = 'a'\nprofile = 'kanel'", "unknown profile \"kanel\"; did you mean \"kannel\"?"),
        ("host = 'a'\nprofile = 'x.toml'", "the profile \"x.toml\" cannot be read"),
        (
            "host = 'a'\nprofile = 'wrong'",
            "profile wrong:1: a profile cannot say \"host\"; write it in the entry",
        ),
        (
            "host = 'a'\nprofile = 'wrong'",
            "profile wrong:2: a profile cannot say \"windw\"; did you mean \"window\"?",
        ),
        ("host = 'a'\nhosts = ['b']", "\"hosts\" in [[provider]] stands beside \"host\"; write one of them"),
        ("hosts = ['b']\nport = 3", "\"port\" in [[provider]] means nothing beside \"hosts\""),
        ("hosts = ['b:0']", "\"hosts\" in [[provider]] is not a list of hosts"),
        ("hosts = []", "\"hosts\" in [[provider]] is not a list of hosts"),
        (
            "host = 'a'\noutbind = { listen = '127.0.0.1:1', password = 'x' }",
            "\"outbind\" in [[provider]] stands beside a host",
        ),
        ("outbind = { password = 'x' }", "\"listen\" is missing in outbind of [[provider]]"),
        (
            "outbind = { listen = '127.0.0.1:1', system_id = 'smsc' }",
            "\"password\" in outbind of [[provider]] lets everybody in without a password; write one, or from = [",
        ),
        (
            "outbind = { listen = '127.0.0.1:1', password = '', from = [] }",
            "\"password\" in outbind of [[provider]] lets everybody in",
        ),
        (
            "outbind = { listen = '127.0.0.1:1', from = ['192.0.2.7/8'] }",
            "\"from\" in outbind of [[provider]] is \"192.0.2.7/8\", which is not a block",
        ),
        (
            "outbind = { listen = '127.0.0.1:1', password = 'x' }\nbind = 'pair'",
            "\"bind\" in [[provider]] cannot follow an outbind",
        ),
        (
            "host = 'a'\ninterface_version = '3.3'",
            "\"bind\" in [[provider]] is \"transceiver\", which SMPP 3.3 does not know",
        ),
        (
            "host = 'a'\ninterface_version = '3.3'\nbind = 'pair'\nlong_messages = 'sar'",
            "\"long_messages\" in [[provider]] needs a parameter, which SMPP 3.3 does not know",
        ),
        (
            "host = 'a'\ninterface_version = '3.3'\nbind = 'pair'\nflash = 'subunit'",
            "\"flash\" in [[provider]] needs a parameter, which SMPP 3.3 does not know",
        ),
        (
            "host = 'a'\ntls = { cert = 'x' }",
            "stands without the other of cert and key; write both, or neither",
        ),
        (
            "host = 'a'\nton_npi = { short = [3] }",
            "\"short\" in ton_npi of [[provider]] is not a type of number",
        ),
        (
            "host = 'a'\nton_npi = { short = [7, 0] }",
            "\"short\" in ton_npi of [[provider]] is not a type of number",
        ),
        (
            "host = 'a'\nstatus = { 45 = 'permanent' }",
            "\"status.45\" in [[provider]] is not a status; write statuses in hex",
        ),
        ("host = 'a'\nstatus = { 0x0 = 'permanent' }", "\"status.0x0\" in [[provider]] is not a status"),
        ("host = 'a'\nstatus = { 0x45 = 'permanet' }", "did you mean \"permanent\"?"),
        ("host = 'a'\nstatus = { 0x45 = { tries = 0 } }", "\"tries\" in status of [[provider]] is 0"),
        ("host = 'a'\nstatus = { 0x45 = 'permanent', 0x40-0x50 = 'throttle' }", "names a status twice"),
        ("host = 'a'\nstatus = { 0xff = 'permanent', 0xFF = 'throttle' }", "names a status twice"),
        (
            "host = 'a'\nprofile = 'kannel'\nstatus = { 0xff = 'permanent', 0xFF = 'throttle' }",
            "names a status twice",
        ),
        (
            "host = 'a'\nprofile = 'kannel'\nreceipt = { stat = { failed = 'expired', FAILED = 'delivered' } }",
            "\"stat\" in receipt of [[provider]] names a word twice",
        ),
        (
            "host = 'a'\ntlv = [{ tag = 1, name = 'a', type = 'u8', value = 256 }]",
            "\"value\" in [[provider.tlv]] is not of its type",
        ),
        (
            "host = 'a'\ntlv = [{ tag = 1, name = 'a', type = 'octets', value = 'abc' }]",
            "\"value\" in [[provider.tlv]] is not",
        ),
        (
            "host = 'a'\ntlv = [{ tag = 0x0424, name = 'a' }]",
            "\"tag\" in [[provider.tlv]] is one that long messages are written with; set long_messages, or remove it",
        ),
        ("host = 'a'\ntlv = [{ tag = 1, name = 'a b' }]", "\"name\" in [[provider.tlv]] is not a name"),
        (
            "host = 'a'\ntlv = [{ tag = 1, name = 'a' }, { tag = 1, name = 'b' }]",
            "\"tlv\" in [[provider]] has a tag or a name twice",
        ),
        (
            "host = 'a'\nreceipt = { offset = '3:00' }",
            "\"offset\" in receipt of [[provider]] is not an offset from UTC",
        ),
        (
            "host = 'a'\nreceipt = { pattern = '{stat},x' }",
            "\"pattern\" in receipt of [[provider]] has no {id}",
        ),
        (
            "host = 'a'\nreceipt = { pattern = '{id}{stat}' }",
            "\"pattern\" in receipt of [[provider]] is not a pattern",
        ),
        (
            "host = 'a'\nreceipt = { pattern = '{who},{id}' }",
            "\"pattern\" in receipt of [[provider]] is not a pattern",
        ),
        (
            "host = 'a'\nreceipt = { stat = { X = 'gone' } }",
            "\"stat.X\" in receipt of [[provider]] is \"gone\"",
        ),
    ] {
        let shown = refused(lines);
        assert!(shown.contains(expected), "{lines}\n{shown}");
    }
}

#[test]
fn whether_one_receipt_speaks_for_all_parts_is_said_by_profile_or_entry() {
    let embedded = &[("one", "receipt_parts = 'any'\n")];
    for (lines, expected) in [
        ("", ReceiptParts::Each),
        ("receipt_parts = 'any'", ReceiptParts::Any),
        ("profile = 'one'", ReceiptParts::Any),
        ("profile = 'one'\nreceipt_parts = 'each'", ReceiptParts::Each),
    ] {
        let config = load_profiles(&format!("{UP}{lines}\n"), embedded).unwrap();
        assert_eq!(config.provider[0].receipt_parts, expected, "{lines}");
    }
}
