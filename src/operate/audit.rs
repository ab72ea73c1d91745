//! What the log says of operators: who did what to which messages, why and to how many; and who was turned away. A field that
//! says nothing is left out; keys are never among them.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;

use codecs::instant::{Mono, Wall};
use connectors::sparing::STRANGERS_TO_OPERATIONS;
use engine::id::Permutation;
use engine::surgery::{Operation, Order, Report};

use serde_json::Value;

use super::request::RebindWanted;
use super::show::time;
use crate::api::problem::Problem;

/// Of a path, or a name in it.
const WORD_CHARACTERS_MAX: usize = 100;

/// What an operation says of itself.
#[derive(Default)]
struct Verb<'a> {
    name: &'static str,
    id: Option<u64>,
    rule: Option<u32>,
    code: Option<&'static str>,
    to: Option<&'a str>,
    resolution: Option<&'static str>,
    /// The end of the rule that it makes.
    until: Option<String>,
}

/// Questions change nothing and are not written down.
pub fn order(order: &Order, report: &Report, ids: &Permutation) {
    let Order { operation, filter, reason, by } = order;
    let Some(Verb { name: verb, id, rule, code, to, resolution, until }) = verb(operation, ids) else {
        return;
    };
    let (tenant, provider) = (filter.tenant.as_deref(), filter.provider.as_deref());
    let (prefix, campaign) = (filter.prefix.as_deref(), filter.campaign.as_deref());
    let (accepted_before, accepted_since) =
        (filter.accepted_before.map(time), filter.accepted_since.map(time));
    let (messages, passed_over, rules, refused) = match report {
        Report::Changed(changed) => (changed.messages, changed.passed_over, &changed.rules[..], None),
        Report::Resolved { .. } => (1, 0, &[][..], None),
        Report::Refused(why) => (0, 0, &[][..], Some(why.to_string())),
        _ => return,
    };
    let rules: Vec<String> = rules.iter().map(u32::to_string).collect();
    let rules = Some(rules.join(",")).filter(|rules| !rules.is_empty());
    tracing::info!(
        by,
        verb,
        id,
        rule,
        code,
        to,
        resolution,
        until,
        tenant,
        provider,
        prefix,
        campaign,
        accepted_before,
        accepted_since,
        reason,
        refused,
        messages,
        passed_over,
        rules,
        "an operator's order"
    );
}

fn verb<'a>(operation: &'a Operation, ids: &Permutation) -> Option<Verb<'a>> {
    let of = |name| Verb { name, ..Verb::default() };
    let for_ever = |until: Option<Wall>| Some(until.map_or_else(|| "ever".to_owned(), time));
    Some(match operation {
        Operation::List { .. } | Operation::Doubts { .. } | Operation::Verify | Operation::Providers => {
            return None;
        }
        Operation::Suspend { until } => Verb { until: for_ever(*until), ..of("suspend") },
        Operation::Resume { rule } => Verb { rule: *rule, ..of("resume") },
        Operation::Bounce { code, until } => {
            Verb { code: Some(code.word()), until: until.map(time), ..of("bounce") }
        }
        Operation::Move { to, until } => Verb { to: Some(to), until: until.map(time), ..of("move") },
        Operation::Resolve { number, resolution } => {
            Verb { id: Some(ids.id(*number)), resolution: Some(resolution.word()), ..of("resolve") }
        }
        Operation::Disable { until } => Verb { until: for_ever(*until), ..of("disable") },
        Operation::Enable => of("enable"),
    })
}

/// Binds that were told to begin again, and what came of it.
pub fn rebind(by: &str, provider: &str, wanted: &RebindWanted, done: &Result<Value, Problem>) {
    let RebindWanted { bind, reason } = wanted;
    let refused = done.as_ref().err().map(|problem| &*problem.detail);
    tracing::info!(by, verb = "rebind", provider, bind, reason, refused, "an operator's order");
}

/// An order that cannot be read, or says what cannot be.
pub fn not_understood(by: &str, verb: &str, id: Option<&str>, problem: &Problem) {
    let (verb, id) = (beginning(verb), id.map(beginning));
    tracing::info!(by, verb, id, refused = &*problem.detail, "an operator's order");
}

/// A request that came without the administrator's key, or with another one. Anybody may send these: few get a line, and a short one.
pub fn turned_away(now: Mono, from: Option<SocketAddr>, method: &str, path: &str, key: &'static str) {
    let Some(left_out) = STRANGERS_TO_OPERATIONS.line(now) else { return };
    let from = from.map(|from| from.to_string());
    let (method, path) = (beginning(method), beginning(path));
    tracing::warn!(from, method, path, key, left_out, "a request to operate was refused");
}

/// As much of a word from outside as a line of the log has room for.
fn beginning(word: &str) -> &str {
    word.char_indices().nth(WORD_CHARACTERS_MAX).map_or(word, |(end, _)| word.get(..end).unwrap_or_default())
}
