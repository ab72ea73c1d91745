//! The whole program at its main job: the real binary, a simulated provider, and tenants over SMPP and HTTP. What strangers and
//! broken disks do to it is `bad_input`'s.

mod administrator;
mod afterwards;
mod credit;
mod doors;
mod earlier;
mod entrances;
mod first_minute;
mod lists;
mod operators;
mod outbind;
mod phones;
mod probing;
mod process;
mod providers;
mod reaching;
mod rebinding;
mod receipts;
mod texts;
mod together;

use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::http::Http;
use crate::support::provider::Provider;
use crate::support::settings::{self, KEY};

/// A gateway with one provider without faults, and its tenant's HTTP connection.
struct Stage {
    provider: Provider,
    http: Http,
    gateway: Gateway,
    // Last, so that it is removed when nothing writes to it any more.
    home: Home,
}

impl Stage {
    #[track_caller]
    fn new() -> Stage {
        let provider = Provider::start();
        let settings = settings::plain(provider.address());
        Stage::with(provider, &settings)
    }

    #[track_caller]
    fn with(provider: Provider, settings: &str) -> Stage {
        Stage::over(provider, Home::new(settings))
    }

    /// Over a store that may hold something already.
    #[track_caller]
    fn over(provider: Provider, home: Home) -> Stage {
        let gateway = Gateway::start(&home);
        let http = gateway.http(KEY);
        Stage { provider, http, gateway, home }
    }

    /// SIGTERM, and another start over the same store.
    #[track_caller]
    fn restart(self) -> Stage {
        let Stage { provider, gateway, home, .. } = self;
        gateway.end_well();
        Stage::over(provider, home)
    }

    /// SIGKILL, and another start over the same store.
    #[track_caller]
    fn restart_after_kill(self) -> Stage {
        let Stage { provider, gateway, home, .. } = self;
        gateway.kill();
        Stage::over(provider, home)
    }

    fn smpp(&self) -> std::net::SocketAddr {
        self.gateway.addresses().smpp
    }
}

/// Sends one message over HTTP; its id.
#[track_caller]
pub fn send(http: &mut Http, to: u64, more: &Value) -> String {
    let mut message = json!({"to": format!("+{to}"), "from": "ACME", "text": "Hello"});
    for (name, value) in more.as_object().into_iter().flatten() {
        message[name] = value.clone();
    }
    let answer = http.post("/v1/messages", &message);
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// The names of a message's events, in their order.
#[track_caller]
fn story(http: &mut Http, id: &str) -> Vec<String> {
    events(http, id).iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn events(http: &mut Http, id: &str) -> Vec<Value> {
    let answer = http.get(&format!("/v1/messages/{id}/events"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["data"].as_array().unwrap().clone()
}

/// Available, reserved and spent, as they are written.
#[track_caller]
fn balance(http: &mut Http) -> [String; 3] {
    let shown = http.get("/v1/balance").json();
    ["available", "reserved", "spent"].map(|name| shown[name].as_str().unwrap().to_owned())
}
