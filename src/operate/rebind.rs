//! `provider rebind`: the binds of a provider, or one of them, end their sessions and begin others, one after the other. What was
//! sent is waited for as long as a response may take, and none of it is lost: what has no answer then is in doubt.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use axum::http::StatusCode;
use connectors::smpp::client::{Rebind, Rebound};
use serde_json::{Value, json};

use super::print::{list, text};
use super::request::RebindWanted;
use crate::api::problem::Problem;
use crate::providers::Watch;

/// Rebinds what is wanted. Stops at the first that is not bound again: the others go on sending as they are.
pub async fn rebind(binds: &Watch, id: &str, wanted: &RebindWanted) -> Result<Value, Problem> {
    let chosen = chosen(binds, id, wanted.bind)?;
    let mut done = Vec::with_capacity(chosen.len());
    for (place, (bind, rebind)) in chosen.iter().enumerate() {
        let outcome = match rebind.ask().await {
            Rebound::Bound => "bound",
            Rebound::AwaitsProvider => "awaits_provider",
            failed => {
                let left = chosen.len().saturating_sub(place.saturating_add(1));
                return Err(not_bound(*bind, failed, done.len(), left));
            }
        };
        done.push(json!({"bind": bind, "outcome": outcome}));
    }
    Ok(json!({"provider": id, "binds": done}))
}

fn chosen(binds: &Watch, id: &str, only: Option<u16>) -> Result<Vec<(u16, Rebind)>, Problem> {
    let all = binds.rebinds(id);
    let none = match (all.is_empty(), only) {
        (true, _) => "there is no enabled provider with this id",
        (false, None) => return Ok(all),
        (false, Some(_)) => "this provider has no bind of this number",
    };
    let chosen: Vec<_> = all.into_iter().filter(|(bind, _)| only == Some(*bind)).collect();
    if chosen.is_empty() { Err(Problem::not_found(none)) } else { Ok(chosen) }
}

fn not_bound(bind: u16, why: Rebound, done: usize, left: usize) -> Problem {
    let why = match why {
        Rebound::Refused(status) => format!("refused with {}", status.name().unwrap_or("an unknown status")),
        Rebound::Ending => "the gateway is stopping".to_owned(),
        _ => "no connection came about, or it ended".to_owned(),
    };
    let detail = format!(
        "bind {bind} has ended its session and is not bound again ({why}); it goes on trying; {done} were bound again before it, \
         {left} behind it are as they were"
    );
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable", detail)
}

/// What was done, for people.
pub fn print(answer: &Value) -> String {
    let line = |done: &Value| {
        let bind = text(&done["bind"]);
        match done["outcome"].as_str() {
            Some("awaits_provider") => {
                format!("bind {bind}: closed what was connected; the provider connects again when it likes\n")
            }
            _ => format!("bind {bind}: bound again\n"),
        }
    };
    list(&answer["binds"]).map(line).collect()
}
