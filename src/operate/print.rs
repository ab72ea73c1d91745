//! What the gateway answered an operator, as tables for people.

use std::fmt::Write as _;

use serde_json::Value;

pub fn queues(answer: &Value) -> String {
    let mut out = summary(&answer["total"], count(&answer["uncounted"]));
    for row in list(&answer["under_way"]) {
        // Writing to a string does not fail.
        let _ =
            writeln!(out, "under way: {}, {} so far", text(&row["operation"]), messages(&row["messages"]));
    }
    let rows = list(&answer["data"]).map(|row| {
        let held = &row["held"];
        let shown = [&row["provider"], &row["priority"], &row["tenant"], &row["queued"]];
        let held = [&held["operator"], &held["tenant"], &held["in_doubt"], &held["parked"]];
        let rest = [&row["scheduled"], &row["sending"], &row["in_doubt"], &row["oldest_at"]];
        [shown, held, rest].concat().into_iter().map(text).collect()
    });
    out.push_str(&table(&QUEUE_HEADS, rows));
    if count(&answer["left_out"]) > 0 {
        let _ = writeln!(out, "{} rows more: --rows shows them", answer["left_out"]);
    }
    out.push_str(&rules(&answer["rules"]));
    out
}

const QUEUE_HEADS: [&str; 12] = [
    "PROVIDER",
    "PRIORITY",
    "TENANT",
    "QUEUED",
    "HELD BY RULES",
    "HELD FOR TENANT",
    "HELD IN DOUBT",
    "HELD ON DISK",
    "SCHEDULED",
    "SENDING",
    "IN DOUBT",
    "OLDEST IN MEMORY",
];

/// What all of it waits for. That nothing is in doubt is said only where nothing can be.
fn summary(total: &Value, uncounted: u64) -> String {
    let held = &total["held"];
    let [by_rules, for_tenants, in_doubt, on_disk] =
        ["operator", "tenant", "in_doubt", "parked"].map(|cause| count(&held[cause]));
    let mut out = String::new();
    if uncounted > 0 {
        let _ = writeln!(
            out,
            "only what is in memory; {uncounted} more wait on disk, where a choice by prefix or age is not looked into"
        );
    }
    let _ = writeln!(
        out,
        "{} waiting: {} queued, {} held ({by_rules} by rules, {for_tenants} for their tenants, {in_doubt} in doubt, \
         {on_disk} on disk)\n{} scheduled, {} sending, {} in doubt and not held",
        total["waiting"],
        total["queued"],
        by_rules + for_tenants + in_doubt + on_disk,
        total["scheduled"],
        total["sending"],
        total["in_doubt"]
    );
    if on_disk > 0 {
        out.push_str("what is held on disk is not looked into: rules or doubts may hold it\n");
    }
    if in_doubt + on_disk + count(&total["in_doubt"]) > 0 {
        out.push_str("`tidegate doubt list` shows all that is in doubt, held or not\n");
    }
    out
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
    table(&["RULE", "DOES", "TO", "HOLDS IN MEMORY", "UNTIL", "BY", "REASON"], rows)
}

pub fn suspended(answer: &Value) -> String {
    let rule = numbers(answer);
    format!("rule {rule} holds them when their turn comes, until it ends or `tidegate queue resume {rule}`\n")
}

pub fn disabled(answer: &Value) -> String {
    format!("rule {} gives it nothing, until it ends or `tidegate provider enable`\n", numbers(answer))
}

pub fn resumed(answer: &Value) -> String {
    format!("rule {} ended; {} let go\n", numbers(answer), messages(&answer["messages"]))
}

pub fn enabled(answer: &Value) -> String {
    format!("rule {} ended\n", numbers(answer))
}

pub fn bounced(answer: &Value) -> String {
    changed(answer, "cancelled")
}

pub fn moved(answer: &Value) -> String {
    changed(answer, "moved")
}

fn changed(answer: &Value, done: &str) -> String {
    let mut out = format!("{} {done}\n", messages(&answer["messages"]));
    if count(&answer["passed_over"]) > 0 {
        let passed_over = messages(&answer["passed_over"]);
        let _ = writeln!(out, "{passed_over} passed over: a provider may have something of them");
    }
    for released in list(&answer["released"]) {
        let _ = writeln!(out, "{} {} released", text(&released["amount"]), text(&released["currency"]));
    }
    let rule = numbers(answer);
    if !rule.is_empty() {
        let _ = writeln!(
            out,
            "rule {rule} does so with what comes, until it ends or `tidegate queue resume {rule}`"
        );
    }
    out
}

/// The numbers of the rules that were made or ended.
fn numbers(answer: &Value) -> String {
    list(&answer["rules"]).map(text).collect::<Vec<String>>().join(", ")
}

fn messages(number: &Value) -> String {
    let number = count(number);
    format!("{number} message{}", if number == 1 { "" } else { "s" })
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
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
    let columns = ["provider", "enabled", "disabled_by_operator", "binds", "binds_up", "in_flight", "queued"];
    let rows = list(&answer["data"]).map(|row| {
        let rate = if count(&row["rate"]) == 0 { "no limit".to_owned() } else { text(&row["rate"]) };
        columns.iter().map(|name| text(&row[name])).chain([rate]).collect()
    });
    let heads = [
        "PROVIDER",
        "ENABLED",
        "DISABLED BY OPERATOR",
        "BINDS",
        "UP",
        "IN FLIGHT",
        "QUEUED",
        "PARTS A SECOND",
    ];
    table(&heads, rows)
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

pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

/// Columns as wide as they need to be; nothing when there is no row.
pub fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
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
    use serde_json::json;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let rows = [vec!["up".to_owned(), "1".to_owned()], vec!["another".to_owned(), String::new()]];
        assert_eq!(table(&["PROVIDER", "N"], rows.into_iter()), "PROVIDER  N\nup        1\nanother\n");
        assert_eq!(table(&["PROVIDER"], std::iter::empty()), "");
    }

    #[test]
    fn the_summary_of_queues_hides_no_doubt() {
        let total = |in_doubt, held_in_doubt, parked| {
            json!({
                "waiting": 12, "queued": 7, "scheduled": 2, "sending": 1, "in_doubt": in_doubt,
                "held": {"operator": 3, "tenant": 1, "in_doubt": held_in_doubt, "parked": parked},
            })
        };
        let nothing = summary(&total(0, 0, 0), 0);
        assert!(
            nothing.starts_with("12 waiting: 7 queued, 4 held (3 by rules, 1 for their tenants, "),
            "{nothing}"
        );
        assert!(
            nothing.ends_with("0 in doubt, 0 on disk)\n2 scheduled, 1 sending, 0 in doubt and not held\n"),
            "{nothing}"
        );
        assert_eq!(summary(&total(0, 0, 0), 6).lines().count(), 3);
        for (in_doubt, held_in_doubt, parked) in [(1, 0, 0), (0, 1, 0), (0, 0, 1)] {
            let some = summary(&total(in_doubt, held_in_doubt, parked), 0);
            assert!(some.contains("`tidegate doubt list` shows all that is in doubt"), "{some}");
            assert_eq!(some.contains("is not looked into"), parked > 0, "{some}");
        }
    }

    #[test]
    fn what_was_done_is_said_in_words() {
        let answer =
            |rules: &[u32], messages: u64| json!({"rules": rules, "messages": messages, "passed_over": 0});
        let table = [
            (
                suspended(&answer(&[3], 0)),
                "rule 3 holds them when their turn comes, until it ends or `tidegate queue resume 3`\n",
            ),
            (
                disabled(&answer(&[4], 0)),
                "rule 4 gives it nothing, until it ends or `tidegate provider enable`\n",
            ),
            (resumed(&answer(&[1, 2], 1)), "rule 1, 2 ended; 1 message let go\n"),
            (enabled(&answer(&[4], 0)), "rule 4 ended\n"),
            (bounced(&answer(&[], 2)), "2 messages cancelled\n"),
            (
                moved(&answer(&[5], 0)),
                "0 messages moved\nrule 5 does so with what comes, until it ends or `tidegate queue resume 5`\n",
            ),
        ];
        for (said, expected) in table {
            assert_eq!(said, expected);
        }
    }
}
