//! Tests of `learned`: what was seen, and the keys that follow. No code of its own.

use super::*;

const AT: Wall = Wall(1_795_182_600_000);

fn answer(id: &str) -> Option<Answer> {
    Some(Answer { status: Status::OK, id: id.as_bytes().to_vec(), waited: Duration::from_millis(5) })
}

fn refused(status: Status) -> Option<Answer> {
    Some(Answer { status, id: Vec::new(), waited: Duration::from_millis(5) })
}

fn receipt(text_id: &str, tlv_id: &str, done_date: &str) -> ReceiptFound {
    ReceiptFound {
        text_id: text_id.as_bytes().to_vec(),
        tlv_id: tlv_id.as_bytes().to_vec(),
        stat: b"DELIVRD".to_vec(),
        done_date: done_date.as_bytes().to_vec(),
        arrived: AT,
        ..ReceiptFound::default()
    }
}

fn learned(answers: Vec<Option<Answer>>, receipts: Vec<ReceiptFound>, version: Option<u8>) -> Learned {
    let entry = "[[provider]]\nid = 'up'\nhost = 'a'\nsystem_id = 'b'\nwindow = 50\n";
    let provider = config::load(Some(("test.toml", entry)), []).unwrap().provider.remove(0);
    let keepalive = vec![Duration::from_millis(1); 3];
    let found = Found { version, keepalive, answers, receipts, ..Found::default() };
    Learned::of(&provider, found, &Dialect::default(), AT)
}

/// The keys of a profile, without its comments. It must be one.
fn keys(learned: &Learned) -> Vec<String> {
    let profile = learned.profile();
    let entry = "[[provider]]\nid = 'up'\nhost = 'a'\nsystem_id = 'b'\nprofile = 'learned'\n";
    let embedded = [("learned", profile.as_str())];
    let profiles = config::Profiles { embedded: &embedded, ..config::Profiles::NONE };
    if let Err(problems) = config::load_with(Some(("test.toml", entry)), [], profiles) {
        panic!("{profile}\n{problems:#?}");
    }
    let is_key = |line: &&str| !line.is_empty() && !line.starts_with('#');
    profile.lines().filter(is_key).map(str::to_owned).collect()
}

#[test]
fn the_forms_of_ids_follow_from_a_receipt() {
    for (response, text, tlv, expected) in [
        ("0a1b", "0A1B", "", vec!["message_id = \"text\""]),
        ("77", "77", "77", vec!["message_id = \"text\""]),
        (
            "18d0e03a",
            "0416342074",
            "18d0e03a",
            vec!["message_id = \"hex_dec\"", "message_id_tlv = \"response\""],
        ),
        (
            "0416342074",
            "18d0e03a",
            "18D0E03A",
            vec!["message_id = \"dec_hex\"", "message_id_tlv = \"receipt\""],
        ),
        ("one", "other", "one", vec![]),
        ("one", "", "one", vec![]),
    ] {
        let learned = learned(vec![answer(response)], vec![receipt(text, tlv, "")], Some(0x34));
        let expected: Vec<String> = [&["interface_version = \"3.4\""], &expected[..]]
            .concat()
            .iter()
            .map(|key| (*key).to_owned())
            .collect();
        assert_eq!(keys(&learned), expected, "{response} {text} {tlv}");
    }
}

/// 10 and 16 are each other's in two radixes: only both receipts together tell.
#[test]
fn every_receipt_must_fit_the_form() {
    let answers = vec![answer("10"), answer("16"), answer("a")];
    let receipts = vec![receipt("16", "", ""), receipt("22", "", "")];
    let learned = learned(answers, receipts, None);
    assert!(keys(&learned).contains(&"message_id = \"hex_dec\"".to_owned()), "{}", learned.profile());
}

#[test]
fn the_providers_clock_and_version_and_window_follow() {
    // AT is 13:50 UTC.
    for (done, expected) in [
        ("2611201349", None),
        ("2611201651", Some("receipt = { offset = \"+03:00\" }")),
        ("2611200820", Some("receipt = { offset = \"-05:30\" }")),
        ("2611201357", None),
        ("", None),
    ] {
        let learned = learned(vec![answer("1")], vec![receipt("1", "", done)], None);
        assert_eq!(
            keys(&learned).iter().find(|key| key.starts_with("receipt")).map(String::as_str),
            expected,
            "{done}"
        );
    }
    for (version, expected) in [(Some(0x33), "3.3"), (Some(0x34), "3.4"), (Some(0x50), "5.0"), (None, "3.4")]
    {
        let learned = learned(Vec::new(), Vec::new(), version);
        let key = format!("interface_version = \"{expected}\"");
        assert!(keys(&learned).contains(&key), "{version:?}");
        assert!(learned.is_good());
    }
    let all = vec![answer("1"), answer("2"), refused(Status::THROTTLED), refused(Status::MSGQFUL)];
    let few = learned(all, Vec::new(), None);
    assert!(keys(&few).contains(&"window = 2".to_owned()), "{}", few.profile());
    let enough = learned(vec![answer("1"), answer("2")], Vec::new(), None);
    assert!(keys(&enough).contains(&"window = 2".to_owned()), "{}", enough.profile());
    assert!(!learned(vec![refused(Status::INVDSTADR), None], Vec::new(), None).is_good());
}

#[test]
fn what_a_provider_writes_stays_in_its_comment() {
    let learned = learned(vec![answer("1\nwindow = 9")], vec![receipt("1\nbinds = 9", "", "")], None);
    assert_eq!(keys(&learned), ["interface_version = \"3.4\""]);
}
