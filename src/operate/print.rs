//! What the gateway answered an operator, as tables for people.

use std::fmt::Write as _;

use serde_json::Value;

pub fn queues(answer: &Value) -> String {
    let total = &answer["total"];
    let mut out = format!(
        "{} waiting ({} queued, {} held), {} scheduled, {} sending, {} in doubt\n",
        total["waiting"],
        total["queued"],
        held(total),
        total["scheduled"],
        total["sending"],
        total["in_doubt"]
    );
    for row in list(&answer["under_way"]) {
        // Writing to a string does not fail.
        let _ = writeln!(out, "under way: {}, {} messages so far", text(&row["operation"]), row["messages"]);
    }
    let rows = list(&answer["data"]).map(|row| {
        let held = &row["held"];
        vec![
            text(&row["provider"]),
            text(&row["priority"]),
            text(&row["tenant"]),
            text(&row["queued"]),
            text(&held["operator"]),
            text(&held["tenant"]),
            text(&held["in_doubt"]),
            text(&held["parked"]),
            text(&row["scheduled"]),
            text(&row["sending"]),
            text(&row["in_doubt"]),
            text(&row["oldest_at"]),
        ]
    });
    let heads = [
        "PROVIDER",
        "PRIORITY",
        "TENANT",
        "QUEUED",
        "HELD:RULE",
        "HELD:TENANT",
        "HELD:DOUBT",
        "HELD:PARKED",
        "SCHEDULED",
        "SENDING",
        "IN DOUBT",
        "OLDEST",
    ];
    out.push_str(&table(&heads, rows));
    if answer["left_out"].as_u64().is_some_and(|left_out| left_out > 0) {
        let _ = writeln!(out, "{} rows more: --rows shows them", answer["left_out"]);
    }
    if answer["uncounted"].as_u64().is_some_and(|uncounted| uncounted > 0) {
        let _ = writeln!(
            out,
            "{} messages that are parked were not looked into: choose by tenant and provider only to have them counted",
            answer["uncounted"]
        );
    }
    out.push_str(&rules(&answer["rules"]));
    out
}

fn held(depth: &Value) -> u64 {
    ["operator", "tenant", "in_doubt", "parked"]
        .iter()
        .filter_map(|cause| depth["held"][cause].as_u64())
        .sum()
}

fn rules(rules: &Value) -> String {
    let rows = list(rules).map(|rule| {
        let filter = rule["filter"].as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        let what: Vec<String> = filter.map(|(name, value)| format!("{name}={}", text(value))).collect();
        let action = [text(&rule["action"]), text(&rule["argument"])].join(" ");
        let is_ending = rule["ending"].as_bool().unwrap_or(false);
        let until = if is_ending {
            "ending".to_owned()
        } else if rule["until"].is_null() {
            "ever".to_owned()
        } else {
            text(&rule["until"])
        };
        vec![
            text(&rule["rule"]),
            action.trim().to_owned(),
            if what.is_empty() { "everything".to_owned() } else { what.join(" ") },
            text(&rule["holds"]),
            until,
            text(&rule["by"]),
            text(&rule["reason"]),
        ]
    });
    table(&["RULE", "DOES", "TO", "HOLDS", "UNTIL", "BY", "REASON"], rows)
}

pub fn changed(answer: &Value) -> String {
    let mut out = String::new();
    let rules: Vec<String> = list(&answer["rules"]).map(text).collect();
    if !rules.is_empty() {
        let _ = writeln!(out, "rule {}", rules.join(", "));
    }
    let _ = writeln!(out, "{} messages", answer["messages"]);
    if answer["passed_over"].as_u64().is_some_and(|count| count > 0) {
        let _ = writeln!(out, "{} passed over: a provider may have something of them", answer["passed_over"]);
    }
    for released in list(&answer["released"]) {
        let _ = writeln!(out, "{} {} released", text(&released["amount"]), text(&released["currency"]));
    }
    out
}

pub fn doubts(answer: &Value) -> String {
    let columns = ["id", "provider", "tenant", "status", "since"];
    let rows = list(&answer["data"]).map(|row| columns.iter().map(|name| text(&row[name])).collect());
    let mut out = table(&["ID", "PROVIDER", "TENANT", "STATUS", "SINCE"], rows);
    if let Some(next) = answer["next"].as_str() {
        let _ = writeln!(out, "more: --after {next}");
    }
    if out.is_empty() { "nothing is in doubt\n".to_owned() } else { out }
}

pub fn resolved(answer: &Value) -> String {
    format!("it is {} now\n", text(&answer["status"]))
}

pub fn providers(answer: &Value) -> String {
    let columns =
        ["provider", "enabled", "disabled_by_operator", "binds_up", "binds", "in_flight", "queued", "rate"];
    let rows = list(&answer["data"]).map(|row| columns.iter().map(|name| text(&row[name])).collect());
    table(&["PROVIDER", "ENABLED", "BY OPERATOR", "UP", "BINDS", "IN FLIGHT", "QUEUED", "RATE"], rows)
}

pub fn ledger(answer: &Value) -> String {
    let columns = ["tenant", "currency", "available", "reserved", "reserved_by_messages", "spent", "holds"];
    let rows = list(&answer["data"]).map(|row| columns.iter().map(|name| text(&row[name])).collect());
    let mut out =
        table(&["TENANT", "CURRENCY", "AVAILABLE", "RESERVED", "BY MESSAGES", "SPENT", "ADDS UP"], rows);
    let holds = answer["holds"].as_bool().unwrap_or(false);
    out.push_str(if holds { "every wallet adds up\n" } else { "A WALLET DOES NOT ADD UP\n" });
    out
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

/// Columns as wide as they need to be; nothing when there is no row.
fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&heads).chain(&rows).collect();
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut out = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let rows = [vec!["up".to_owned(), "1".to_owned()], vec!["another".to_owned(), String::new()]];
        assert_eq!(table(&["PROVIDER", "N"], rows.into_iter()), "PROVIDER  N\nup        1\nanother\n");
        assert_eq!(table(&["PROVIDER"], std::iter::empty()), "");
    }
}
