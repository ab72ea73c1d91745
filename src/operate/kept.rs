//! What is kept for the operator to look at, from the question on the command line to the table: receipts without a message, and
//! messages from phones without a tenant. It changes nothing.

use std::process::ExitCode;

use clap::Subcommand;
use engine::kept::{Drawer, KeptPage, KeptRow, KeptWhat};
use serde_json::{Map, Value, json};

use super::client::query;
use super::line::{Asking, Gateway, ask};
use super::print::{list, table, text};
use super::show::time;
use crate::metrics::receipt_word;

#[derive(Subcommand)]
pub enum Receipts {
    /// Receipts for which no message was found, and those that still wait for a response that names theirs.
    Unmatched {
        #[command(flatten)]
        page: Page,
        /// Of messages to this phone: its number, or the digits that it begins with.
        #[arg(long, value_name = "DIGITS")]
        to: Option<String>,
    },
}

#[derive(Subcommand)]
pub enum Inbound {
    /// Messages from phones that no rule gives to a tenant. A rule that does, and a start, gives them.
    Unrouted {
        #[command(flatten)]
        page: Page,
        /// From this phone: its number, or the digits that it begins with.
        #[arg(long, value_name = "DIGITS")]
        from: Option<String>,
    },
}

/// Which of them.
#[derive(clap::Args)]
pub struct Page {
    /// Of this provider.
    #[arg(long, value_name = "ID")]
    provider: Option<String>,
    /// From there on: the `next` of the page before.
    #[arg(long, value_name = "NUMBER")]
    cursor: Option<u64>,
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

pub fn receipts(command: &Receipts, gateway: &Gateway) -> ExitCode {
    let Receipts::Unmatched { page, to } = command;
    let query = page.query("to", to);
    ask(gateway, Asking::get(format!("/v1/ops/receipts/unmatched{query}"), print_unmatched))
}

pub fn inbound(command: &Inbound, gateway: &Gateway) -> ExitCode {
    let Inbound::Unrouted { page, from } = command;
    let query = page.query("from", from);
    ask(gateway, Asking::get(format!("/v1/ops/inbound/unrouted{query}"), print_unrouted))
}

impl Page {
    fn query(&self, phone: &'static str, digits: &Option<String>) -> String {
        query(&[
            ("provider", self.provider.clone()),
            (phone, digits.clone()),
            ("cursor", self.cursor.map(|place| place.to_string())),
            ("limit", Some(self.limit.to_string())),
        ])
    }
}

/// The page as JSON.
pub fn show(drawer: Drawer, page: &KeptPage) -> Value {
    let mut shown = json!({
        "data": page.rows.iter().map(row).collect::<Vec<_>>(),
        "total": page.total, "next": page.next.map(|next| next.to_string()),
    });
    if drawer == Drawer::Unmatched {
        shown["waiting"] = page.waiting.into();
    }
    shown
}

fn row(row: &KeptRow) -> Value {
    // It comes from strangers, and goes to a terminal.
    let lossy = |octets: &[u8]| octets.escape_ascii().to_string();
    let what = match &row.what {
        KeptWhat::Receipt { id, state, phone, error, why } => json!({
            "provider_message_id": lossy(id), "state": receipt_word(*state),
            "phone": phone.map(|phone| phone.to_string()), "error": lossy(error), "reason": why.word(),
        }),
        KeptWhat::Message { from, to, encoding, parts, missing, octets } => json!({
            "from": lossy(from), "to": lossy(to), "encoding": encoding, "parts": parts, "missing": missing,
            "octets": octets,
        }),
    };
    let mut shown: Map<String, Value> = what.as_object().cloned().unwrap_or_default();
    shown.insert("number".into(), row.number.into());
    shown.insert("provider".into(), row.provider.clone().into());
    shown.insert("at".into(), time(row.at).into());
    Value::Object(shown)
}

fn print_unmatched(answer: &Value) -> String {
    let columns = ["at", "provider", "provider_message_id", "state", "phone", "error", "reason"];
    let heads = ["CAME AT", "PROVIDER", "ITS ID", "STATE", "PHONE", "ERROR", "WHY"];
    let waiting = &answer["waiting"];
    let shown = print(answer, &heads, &columns, "every receipt has found its message\n");
    if waiting.as_u64() == Some(0) {
        shown
    } else {
        format!("{shown}{waiting} of them still wait for a response\n")
    }
}

fn print_unrouted(answer: &Value) -> String {
    let columns = ["at", "provider", "from", "to", "encoding", "parts", "missing", "octets"];
    let heads = ["CAME AT", "PROVIDER", "FROM", "TO", "ENCODING", "PARTS", "MISSING", "OCTETS"];
    print(answer, &heads, &columns, "every message from a phone has its tenant\n")
}

fn print<const N: usize>(answer: &Value, heads: &[&str; N], columns: &[&str; N], nothing: &str) -> String {
    if answer["total"].as_u64() == Some(0) {
        return nothing.to_owned();
    }
    let rows = list(&answer["data"]).map(|row| columns.iter().map(|column| text(&row[*column])).collect());
    let mut out = table(heads, rows);
    out.push_str(&format!("{} in all", answer["total"]));
    match answer["next"].as_str() {
        Some(next) => out.push_str(&format!("; --cursor {next} shows more\n")),
        None => out.push('\n'),
    }
    out
}
