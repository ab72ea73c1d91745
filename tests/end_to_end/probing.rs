//! `tidegate provider probe`: what it learns of a provider, prints and ends with; and that its suggestion works.

use std::process::Command;

use loadtest::smsc::{IdForm, Profile, ReceiptForm};
use serde_json::{Value, json};

use crate::end_to_end::{Stage, send};
use crate::support::gateway::program;
use crate::support::home::Home;
use crate::support::provider::Provider;
use crate::support::settings;

const TO: u64 = 254_719_000_000;

/// How a probe ended, what it printed and what it complained of.
#[track_caller]
fn probe(home: &Home, arguments: &[&str]) -> (i32, String, String) {
    let mut command: Command = program(home, &["provider", "probe"]);
    let output = command.args(arguments).arg("--config").arg(home.settings()).output().unwrap();
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn in_two_radixes() -> Profile {
    let receipt_form = ReceiptForm::Text;
    Profile { message_id: IdForm::Hex, receipt_id: Some(IdForm::Decimal), receipt_form, ..Profile::default() }
}

#[test]
fn a_probe_learns_the_forms_of_ids_and_its_profile_makes_receipts_match() {
    let provider = Provider::with(in_two_radixes());
    let home = Home::new(&settings::plain(provider.address()));
    let (code, printed, said) =
        probe(&home, &["up", "--to", "+254719000000", "--from", "ACME", "--count", "3"]);
    assert_eq!(code, 0, "{printed}{said}");
    assert!(printed.contains("\nmessage_id = \"hex_dec\"\n"), "{printed}");
    assert!(printed.contains("\nwindow = 3\n"), "{printed}");
    assert_eq!(provider.of(TO).len(), 3);
    // A gateway with it, and one without: only the first finds the message of a receipt by its text alone.
    let profile = home.path().join("learned.toml");
    std::fs::write(&profile, &printed).unwrap();
    let named = format!("\"{}\"", profile.display());
    let settings = [
        settings::provider("up", provider.address(), &[("profile", &named), ("window", "50")]),
        settings::tenant(&[]),
    ]
    .concat();
    let mut stage = Stage::with(provider, &settings);
    let id = send(&mut stage.http, TO + 1, &Value::Null);
    stage.http.message(&id, "delivered");
}

#[test]
fn a_probe_without_a_message_binds_and_asks_and_sends_nothing() {
    let provider = Provider::start();
    for (bind, binds) in [("\"transceiver\"", 1), ("\"pair\"", 2), ("\"receiver\"", 1)] {
        let before = provider.counts().binds;
        let entry = settings::provider("up", provider.address(), &[("bind", bind)]);
        let home = Home::new(&[entry, settings::tenant(&[])].concat());
        let (code, printed, said) = probe(&home, &["up", "--json"]);
        assert_eq!(code, 0, "{bind}: {printed}{said}");
        let found: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!((&found["ok"], &found["provider"]), (&json!(true), &json!("up")), "{found}");
        assert_eq!(found["keepalive_ms"].as_array().unwrap().len(), 3, "{found}");
        assert_eq!(provider.counts().binds, before + binds, "{bind}");
    }
    assert_eq!(provider.counts().accepted, 0);
}

#[test]
fn a_probe_that_learns_nothing_says_why() {
    let provider = Provider::with(Profile { password: Some("other".to_owned()), ..Profile::default() });
    let refusing =
        Provider::with(Profile { refusals: 1.0, refusal_statuses: vec![0x0B], ..Profile::default() });
    let waiting = [
        ("outbind", "{ listen = \"127.0.0.1:1\", password = \"x\" }"),
        ("system_id", "\"me\""),
        ("id", "\"outbound\""),
    ];
    let settings = [
        settings::provider("up", provider.address(), &[]),
        settings::provider("refusing", refusing.address(), &[]),
        settings::provider("nowhere", settings::nowhere(), &[]),
        settings::provider("hears", refusing.address(), &[("bind", "\"receiver\"")]),
        settings::table("provider", &waiting, &[]),
        settings::tenant(&[]),
    ];
    let home = Home::new(&settings.concat());
    let message = ["--to", "+254719000000", "--from", "ACME"];
    let bad_number = ["--to", "12", "--from", "ACME"];
    for (arguments, expected, says) in [
        (vec!["up"], 1, "the bind was refused with ESME_"),
        (vec!["nowhere"], 1, "no connection"),
        (vec!["unheard-of"], 2, "the settings have no provider \"unheard-of\""),
        (vec!["outbound"], 2, "connects to us"),
        ([&["hears"][..], &message].concat(), 2, "as a receiver"),
        ([&["refusing"][..], &bad_number].concat(), 2, "--to is not an address"),
        (vec!["up", "--to", "+254719000000"], 2, "--from"),
        ([&["refusing"][..], &message].concat(), 1, "ESME_RINVDSTADR"),
    ] {
        let (code, printed, said) = probe(&home, &arguments);
        assert_eq!(code, expected, "{arguments:?}: {printed}{said}");
        assert!([printed.as_str(), &said].concat().contains(says), "{arguments:?}: {printed}{said}");
        assert!(![printed, said].concat().contains("pass"), "{arguments:?} shows the password");
    }
    let home = Home::new(&settings::tenant(&[]));
    let (code, _, said) = probe(&home, &["sandbox"]);
    assert!(code == 2 && said.contains("simulates it"), "{said}");
}
