//! What the answers of Tidegate and Kannel say of each message of a request. Knows JSON as far as it must, HTTP not at all.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use serde_json::Value;

use crate::{dice::fingerprint, wire};

/// What became of one message of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Taken, under this id.
    Accepted(Vec<u8>),
    /// To be sent again later.
    NotNow,
    /// Not taken, for the reason of this code.
    Refused(String),
}

/// The verdicts on `count` messages, in the order of the request.
#[must_use]
pub fn verdicts(status: u16, body: &[u8], count: usize) -> Vec<Verdict> {
    match status {
        202 if is_all_accepted(body) => {
            let ids: Vec<Verdict> = ids(body).map(|id| Verdict::Accepted(id.to_vec())).collect();
            if ids.len() == count { ids } else { read_slowly(body, count) }
        }
        202 => read_slowly(body, count),
        429 | 503 => vec![Verdict::NotNow; count],
        _ => vec![Verdict::Refused(code(body).unwrap_or_else(|| format!("HTTP {status}"))); count],
    }
}

/// Kannel's verdict on one message. It gives no id: the destination stands for it.
#[must_use]
pub fn kannel(status: u16, body: &[u8], destination: u64) -> Verdict {
    match (status, body.first()) {
        // "0: Accepted for delivery", "3: Queued for later delivery".
        (202, Some(b'0' | b'3')) => Verdict::Accepted(destination.to_string().into_bytes()),
        (503, _) => Verdict::NotNow,
        _ => Verdict::Refused(format!("HTTP {status}")),
    }
}

/// The state of a message that will not change any more.
#[must_use]
pub fn final_state(body: &[u8]) -> Option<String> {
    let message: Value = serde_json::from_slice(body).ok()?;
    let state = message.get("status")?.as_str()?;
    let states = ["delivered", "read", "failed", "rejected", "expired", "cancelled", "unknown"];
    states.contains(&state).then(|| state.to_owned())
}

/// A message id as a number: itself where it is one, else its fingerprint.
#[must_use]
pub fn id_number(id: &[u8]) -> u64 {
    wire::digits(id).filter(|_| id.len() <= 18).unwrap_or_else(|| fingerprint(id))
}

/// A single message's answer, or a batch's that says so; only then may ids be picked out without reading the JSON.
fn is_all_accepted(body: &[u8]) -> bool {
    let head = body.get(..64).unwrap_or(body);
    !head.starts_with(br#"{"accepted""#) || find(head, br#""refused":0,"#).is_some()
}

/// The values of all `"id":"…"`.
fn ids(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let label = br#""id":""#;
        let found = rest.get(find(rest, label)?.saturating_add(label.len())..)?;
        let (id, after) = found.split_at_checked(found.iter().position(|octet| *octet == b'"')?)?;
        rest = after;
        Some(id)
    })
}

fn find(text: &[u8], label: &[u8]) -> Option<usize> {
    text.windows(label.len()).position(|window| window == label)
}

fn read_slowly(body: &[u8], count: usize) -> Vec<Verdict> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut verdicts: Vec<Verdict> = match answer.get("data").and_then(Value::as_array) {
        Some(entries) => entries.iter().map(verdict).collect(),
        None => vec![verdict(&answer)],
    };
    verdicts.resize(count, Verdict::Refused("no answer in the batch".into()));
    verdicts
}

fn verdict(entry: &Value) -> Verdict {
    let text = |key| entry.get(key).and_then(Value::as_str);
    match (text("id"), text("code")) {
        (Some(id), _) => Verdict::Accepted(id.as_bytes().to_vec()),
        (None, Some("rate_limited" | "queue_full" | "unavailable")) => Verdict::NotNow,
        (None, Some(code)) => Verdict::Refused(code.to_owned()),
        (None, None) => Verdict::Refused("an answer without id and code".into()),
    }
}

fn code(body: &[u8]) -> Option<String> {
    let problem: Value = serde_json::from_slice(body).ok()?;
    Some(problem.get("code")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_answer_is_understood() {
        let accepted = |id: &str| Verdict::Accepted(id.into());
        let refused = |code: &str| Verdict::Refused(code.into());
        for (status, body, verdicts_wanted) in [
            (202, r#"{"id":"123","status":"queued"}"#, vec![accepted("123")]),
            (
                202,
                r#"{"accepted":2,"refused":0,"data":[{"id":"1"},{"id":"2"}]}"#,
                vec![accepted("1"), accepted("2")],
            ),
            (202, r#"{"accepted": 2, "data":[{"id":"1"},{"id": "2"}]}"#, vec![accepted("1"), accepted("2")]),
            (
                202,
                r#"{"accepted":1,"refused":2,"data":[{"code":"no_route"},{"id":"2"},{"code":"rate_limited"}]}"#,
                vec![refused("no_route"), accepted("2"), Verdict::NotNow],
            ),
            (
                202,
                r#"{"accepted":1,"refused":0,"data":[{"id":"1"}]}"#,
                vec![accepted("1"), refused("no answer in the batch")],
            ),
            (402, r#"{"code":"insufficient_credit"}"#, vec![refused("insufficient_credit")]),
            (500, "oops", vec![refused("HTTP 500")]),
            (429, "", vec![Verdict::NotNow, Verdict::NotNow]),
            (202, "no json", vec![refused("an answer without id and code")]),
        ] {
            assert_eq!(verdicts(status, body.as_bytes(), verdicts_wanted.len()), verdicts_wanted, "{body}");
        }
    }

    #[test]
    fn kannel_takes_refuses_and_asks_for_patience() {
        for (status, body, wanted) in [
            (202, "0: Accepted for delivery", Verdict::Accepted(b"2547".to_vec())),
            (202, "3: Queued for later delivery", Verdict::Accepted(b"2547".to_vec())),
            (503, "Temporal failure, try again later.", Verdict::NotNow),
            (403, "Authorization failed for sendsms", Verdict::Refused("HTTP 403".into())),
            (202, "", Verdict::Refused("HTTP 202".into())),
        ] {
            assert_eq!(kannel(status, body.as_bytes(), 2547), wanted, "{body}");
        }
    }

    #[test]
    fn only_final_states_end_the_asking() {
        assert_eq!(final_state(br#"{"status":"delivered"}"#), Some("delivered".into()));
        assert_eq!(final_state(br#"{"status":"sent"}"#), None);
        assert_eq!(final_state(b"oops"), None);
    }
}
