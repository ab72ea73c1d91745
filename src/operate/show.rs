//! The engine's reports to operators as JSON. Ids are those that the outside sees; no message's text is among it.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use codecs::instant::Wall;
use codecs::time::rfc3339_string;
use engine::id::Permutation;
use engine::submission::Priority;
use engine::surgery::{Changed, Depth, Doubts, Filter, LedgerRow, ProviderRow, Queues, Report, RuleRow};
use serde_json::{Map, Value, json};

use crate::providers::Watch;

pub fn report(report: &Report, ids: &Permutation, binds: &Watch) -> Value {
    match report {
        Report::Queues(list) => queues(list),
        Report::Doubts(page) => doubts(page, ids),
        Report::Changed(done) => changed(done),
        Report::Resolved { state } => json!({"status": state.word()}),
        Report::Ledger(rows) => ledger(rows),
        Report::Providers(rows) => providers(rows, binds),
        Report::Refused(why) => json!({"detail": why.to_string()}),
    }
}

pub fn time(wall: Wall) -> String {
    rfc3339_string(wall)
}

fn changed(done: &Changed) -> Value {
    let released = done.released.iter();
    let released =
        released.map(|(currency, amount)| json!({"currency": currency, "amount": amount.to_string()}));
    json!({
        "rules": done.rules, "messages": done.messages, "passed_over": done.passed_over,
        "released": released.collect::<Vec<_>>(),
    })
}

fn queues(list: &Queues) -> Value {
    let rows = list.rows.iter().map(|row| {
        let mut shown = depth(&row.depth);
        shown.insert("provider".into(), row.provider.clone().into());
        shown.insert("priority".into(), priority(row.priority).into());
        shown.insert("tenant".into(), row.tenant.clone().into());
        Value::Object(shown)
    });
    let under_way = list.under_way.iter();
    let under_way = under_way.map(|(what, messages)| json!({"operation": what, "messages": messages}));
    json!({
        "total": Value::Object(depth(&list.total)), "data": rows.collect::<Vec<_>>(), "left_out": list.left_out,
        "uncounted": list.uncounted, "rules": list.rules.iter().map(rule).collect::<Vec<_>>(), "under_way": under_way.collect::<Vec<_>>(),
    })
}

fn depth(depth: &Depth) -> Map<String, Value> {
    let shown = json!({
        "waiting": depth.waiting(), "queued": depth.queued, "scheduled": depth.scheduled, "sending": depth.sending,
        "in_doubt": depth.in_doubt, "oldest_at": depth.oldest.map(time),
        "held": {
            "operator": depth.held_operator, "tenant": depth.held_tenant, "in_doubt": depth.held_in_doubt,
            "parked": depth.held_parked,
        },
    });
    match shown {
        Value::Object(shown) => shown,
        _ => Map::new(),
    }
}

fn rule(row: &RuleRow) -> Value {
    json!({
        "rule": row.number, "action": row.action, "argument": row.argument, "filter": filter(&row.filter),
        "reason": row.reason, "by": row.by, "made_at": time(row.made_at), "until": row.until.map(time),
        "holds": row.holds, "ending": row.ending,
    })
}

fn filter(filter: &Filter) -> Value {
    json!({
        "tenant": filter.tenant, "provider": filter.provider, "prefix": filter.prefix,
        "campaign": filter.campaign,
        "accepted_before": filter.accepted_before.map(time), "accepted_since": filter.accepted_since.map(time),
    })
}

fn doubts(page: &Doubts, ids: &Permutation) -> Value {
    let rows = page.rows.iter().map(|row| {
        json!({
            "id": ids.id(row.number).to_string(), "provider": row.provider, "tenant": row.tenant,
            "status": row.state.word(), "since": time(row.since),
        })
    });
    let next = page.rows.last().filter(|_| page.more).map(|row| ids.id(row.number).to_string());
    json!({"data": rows.collect::<Vec<_>>(), "next": next})
}

pub fn ledger(rows: &[LedgerRow]) -> Value {
    let shown = rows.iter().map(|row| {
        json!({
            "tenant": row.tenant, "currency": row.currency, "available": row.wallet.available().to_string(),
            "reserved": row.wallet.reserved().to_string(), "spent": row.wallet.spent().to_string(),
            "reserved_by_messages": row.of_messages.to_string(), "holds": row.holds,
        })
    });
    json!({"holds": rows.iter().all(|row| row.holds), "data": shown.collect::<Vec<_>>()})
}

fn providers(rows: &[ProviderRow], binds: &Watch) -> Value {
    let shown = (0u16..).zip(rows).map(|(index, row)| {
        json!({
            "provider": row.id, "enabled": row.enabled, "disabled_by_operator": row.disabled,
            "binds": binds.of(index).count(), "binds_up": binds.of(index).filter(|bind| bind.is_up).count(),
            "in_flight": row.in_flight, "queued": row.queued, "rate": row.rate,
        })
    });
    json!({"data": shown.collect::<Vec<_>>()})
}

fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "low",
        Priority::Normal => "normal",
        Priority::High => "high",
    }
}
