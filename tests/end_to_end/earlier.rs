//! A store that an earlier release wrote, kept in `tests/fixtures` as it was: 20 messages delivered, three queued, stopped well.
//! Its name is the commit that wrote it, on 2026-11-20: one of a later release takes its place within a year.

use std::path::Path;

use crate::end_to_end::{Stage, balance};
use crate::support::home::{Home, copy};
use crate::support::provider::Provider;
use crate::support::settings;

const QUEUED: [&str; 3] = ["541651148943839251", "285006397879233458", "737186170846456670"];

#[test]
fn the_store_of_the_release_before_is_read_and_goes_on() {
    let provider = Provider::start();
    // The names under which it was written.
    let tenant = [("id", "\"bench\""), ("balance", "\"1000000000\"")];
    // They were accepted when the store was written, and wait for as long as the settings of today say.
    let longest = "[queue]\nvalidity = \"365d\"\n".to_owned();
    let up = settings::provider("up", provider.address(), &[]);
    let home = Home::new(&[longest, up, settings::tenant(&tenant)].concat());
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-5b888ff");
    copy(&fixture, &home.store());

    let mut stage = Stage::over(provider, home);
    for id in QUEUED {
        let message = stage.http.message(id, "delivered");
        assert_eq!(message["text"], "written by the release before", "{message}");
    }
    assert_eq!(balance(&mut stage.http), ["999999977.00", "0.00", "23.00"]);
    let mut stage = stage.restart();
    let metrics = stage.gateway.ops("/metrics").text();
    let ring = metrics.lines().find_map(|line| line.strip_prefix("tidegate_journal_bytes "));
    assert!(ring.is_some_and(|octets| octets != "0"), "{metrics}");
    assert_eq!(balance(&mut stage.http), ["999999977.00", "0.00", "23.00"]);
}
