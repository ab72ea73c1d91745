//! A new user's first minute: nothing configured, two lines to paste, and a second start.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use loadtest::wire::{command, status};
use serde_json::Value;

use crate::end_to_end::balance;
use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::wait::until;

/// The word that follows a mark.
#[track_caller]
fn after<'t>(printed: &'t str, mark: &str) -> &'t str {
    let found = printed.split(mark).nth(1).and_then(|rest| rest.split_whitespace().next());
    found.unwrap_or_else(|| panic!("no {mark:?} in {printed}"))
}

/// What here may be read or written by other accounts than its own.
fn open_to_others(path: &Path) -> Vec<PathBuf> {
    let about = fs::metadata(path).unwrap();
    let is_open = about.permissions().mode() & 0o077 != 0;
    let within = about.is_dir().then(|| fs::read_dir(path).unwrap()).into_iter().flatten();
    let within = within.flat_map(|entry| open_to_others(&entry.unwrap().path()));
    is_open.then(|| path.to_owned()).into_iter().chain(within).collect()
}

#[test]
fn nothing_configured_delivers_a_message_and_the_second_start_finds_it() {
    let home = Home::bare();
    let gateway = Gateway::start(&home);
    let printed = until("the second line to paste", || {
        let printed = gateway.printed();
        (printed.matches("curl -s").count() == 2).then_some(printed)
    });
    let key = after(&printed, "API key");
    assert!(key.starts_with("tg_live_"), "{printed}");
    let password = after(&printed, "password");
    let line = printed.lines().find(|line| line.starts_with("curl")).unwrap();
    assert!(line.contains(&format!("http://{}/v1/messages", gateway.addresses().http)), "{line}");
    assert!(line.contains(&format!("'Authorization: Bearer {key}'")), "{line}");

    let mut http = gateway.http(key);
    let body = line.split("-d '").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    let answer = http.post("/v1/messages", &serde_json::from_str::<Value>(body).unwrap());
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let delivered = http.message(&id, "delivered");
    assert_eq!(
        (&delivered["provider"], &delivered["price"]),
        (&"sandbox".into(), &"1.00".into()),
        "{delivered}"
    );
    assert!(delivered["provider_ids"][0].as_str().is_some_and(|id| !id.is_empty()), "{delivered}");
    for time in ["created_at", "queued_at", "sent_at", "delivered_at"] {
        assert!(delivered[time].as_str().is_some_and(|time| time.ends_with('Z')), "{time} of {delivered}");
    }
    let money = balance(&mut http);
    assert_eq!(money, ["999.00", "0.00", "1.00"]);
    gateway.end_well();
    let open = open_to_others(&home.store());
    assert_eq!(open, Vec::<PathBuf>::new(), "other accounts may read them");

    let again = Gateway::start(&home);
    assert!(!again.printed().contains("tg_"), "the second start prints secrets: {}", again.printed());
    let mut http = again.http(key);
    assert_eq!(http.message(&id, "delivered"), delivered);
    assert_eq!(balance(&mut http), money);
    let mut peer = Peer::connect(again.addresses().smpp).unwrap();
    assert_eq!(peer.bind(command::BIND_TRANSCEIVER, "demo", password), status::OK);
    again.end_well();
}
