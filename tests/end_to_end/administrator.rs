//! A lost administrator's key: with the gateway stopped there is a way to a new one, and the log says so ever after.

use crate::support::gateway::{Gateway, run};
use crate::support::home::Home;
use crate::support::http::Http;
use crate::support::settings;

#[test]
fn a_lost_key_is_replaced_while_the_gateway_is_stopped_and_the_old_one_is_worth_nothing() {
    let home = Home::new(&settings::plain(settings::nowhere()));
    let renew = ["administrator", "renew", "--config", "tidegate.toml", "--reason", "lost with a laptop"];
    let gateway = Gateway::start(&home);
    let file = home.store().join("administrator.key");
    let old = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    let (ended, _) = run(&home, &renew);
    assert!(ended.code == Some(1) && ended.said.contains("in use by another process"), "{ended:?}");
    gateway.end_well();
    std::fs::remove_file(&file).unwrap();

    let (ended, printed) = run(&home, &renew);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(printed.contains("administrator.key") && !printed.contains("tg_admin"), "{printed}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let new = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    let gateway = Gateway::start(&home);
    let status = |key: &str| Http::new(gateway.addresses().ops, key).get("/v1/ops/queue").status;
    assert_eq!((status(&old), status(&new)), (401, 200));
    let said = gateway.said();
    let line = said.lines().find(|line| line.contains("the administrator's key was renewed"));
    assert!(
        line.is_some_and(|line| line.contains("reason=\"lost with a laptop\"") && line.contains("at=")),
        "{said}"
    );
    assert!(!said.contains(&new), "the log shows the key");
    gateway.end_well();

    let (ended, _) = run(&Home::bare(), &["administrator", "renew", "--reason", "x"]);
    assert!(ended.code == Some(1) && ended.said.contains("there is no store"), "{ended:?}");
    assert_eq!(run(&home, &["administrator", "renew"]).0.code, Some(2), "without a reason");
}
