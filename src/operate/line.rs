//! The commands that speak to a running gateway: their arguments, the requests they become, and how they end. One of them reads
//! the store itself where the gateway is stopped.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use storage::layout::Layout;

use super::client::{Client, ClientError, escaped, query};
use super::print;
use crate::settings::{self, SettingsError};
use crate::store::StoreStartError;

/// The variable that may hold the administrator's key.
const KEY_VARIABLE: &str = "TIDEGATE_OPS_KEY";
/// The answer to a request that was done.
const OK: u16 = 200;
/// The answer to a request that means nothing: wrong usage.
const INVALID: u16 = 400;

/// Which gateway, and who asks.
#[derive(Args)]
pub struct Gateway {
    /// The operations listener of the gateway, HOST:PORT; else the one of the settings.
    #[arg(long, value_name = "ADDRESS", value_parser = host_and_port, global = true)]
    ops: Option<String>,
    /// The administrator's key; else TIDEGATE_OPS_KEY, else the file that the first start wrote into the store.
    #[arg(long, value_name = "KEY", global = true)]
    key: Option<String>,
    /// The settings file of the gateway, which names its listener and its store.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Print the answer as JSON.
    #[arg(long, global = true)]
    json: bool,
}

/// Whose messages; all that is given must hold.
#[derive(Args)]
pub struct Whose {
    /// Of this tenant.
    #[arg(long, value_name = "ID", group = "which")]
    tenant: Option<String>,
    /// For this provider.
    #[arg(long, value_name = "ID", group = "which")]
    provider: Option<String>,
    /// To destinations that begin with these digits.
    #[arg(long, value_name = "DIGITS", group = "which")]
    prefix: Option<String>,
    /// Of this campaign of the tenant's.
    #[arg(long, value_name = "NAME", group = "which", requires = "tenant")]
    campaign: Option<String>,
}

/// Which messages; all that is given must hold.
#[derive(Args)]
pub struct Which {
    #[command(flatten)]
    whose: Whose,
    /// Accepted longer ago than this, such as 90s, 10m or 2h.
    #[arg(long, value_name = "DURATION", value_parser = duration, group = "which")]
    older_than: Option<String>,
    /// Accepted less long ago than this.
    #[arg(long, value_name = "DURATION", value_parser = duration, group = "which")]
    newer_than: Option<String>,
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
pub struct Chosen {
    #[command(flatten)]
    which: Which,
    /// Everything.
    #[arg(long, group = "which", conflicts_with_all = ["tenant", "provider", "prefix", "campaign", "older_than", "newer_than"])]
    all: bool,
}

#[derive(Subcommand)]
pub enum Queue {
    /// What waits, by provider, priority and tenant; what is held and why; the rules.
    #[command(group = clap::ArgGroup::new("which").multiple(true))]
    List {
        #[command(flatten)]
        which: Which,
        /// How many rows, the longest queues first.
        #[arg(long, default_value_t = 20)]
        rows: usize,
    },
    /// Hold what is chosen when its turn comes, also what is still to come.
    Suspend {
        #[command(flatten)]
        chosen: Chosen,
        /// Why: it is shown beside the rule and in the log.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// How long, such as 2h, or "ever": until it is resumed.
        #[arg(long = "for", value_name = "DURATION", value_parser = duration_or_ever)]
        lasts: String,
    },
    /// End a rule by its number, or all that name what is chosen: suspensions, lasting bounces and moves. What was held goes on.
    #[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
    Resume {
        /// The rule's number, as `queue list` shows it.
        #[arg(group = "which", conflicts_with_all = ["tenant", "provider", "prefix", "campaign", "all"])]
        rule: Option<u32>,
        #[command(flatten)]
        whose: Whose,
        /// Every rule, but for those that disable a provider.
        #[arg(long, group = "which", conflicts_with_all = ["tenant", "provider", "prefix", "campaign"])]
        all: bool,
        /// Why: it stands in the log.
        #[arg(long, value_name = "TEXT", default_value = "resumed")]
        reason: String,
    },
    /// Cancel what is chosen and release its credit.
    Bounce {
        #[command(flatten)]
        chosen: Chosen,
        /// Why: it stands in the log, and beside the rule if there is one.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// What the tenant is told: other, abuse, duplicate, outage, request or stale.
        #[arg(long, default_value = "other")]
        code: String,
        /// Also what comes, for so long.
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        lasts: Option<String>,
    },
    /// Give what is chosen to another provider, at the price it was accepted at.
    Move {
        #[command(flatten)]
        chosen: Chosen,
        /// The provider that it goes to.
        #[arg(long, value_name = "ID")]
        to: String,
        /// Why: it stands in the log, and beside the rule if there is one.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Also what comes, for so long.
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        lasts: Option<String>,
    },
}

#[derive(Subcommand)]
pub enum Doubt {
    /// The messages of which it is not known whether their provider has them.
    #[command(group = clap::ArgGroup::new("which").multiple(true))]
    List {
        #[command(flatten)]
        which: Which,
        /// Behind this message: the `next` of the page before.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Say what became of one.
    Resolve {
        id: String,
        /// sent: its provider has it; failed: it is given up; resend: it is sent again, perhaps twice.
        #[arg(long = "as", value_parser = ["sent", "failed", "resend"])]
        resolution: String,
        /// Why: it stands in the log.
        #[arg(long, value_name = "TEXT", default_value = "resolved")]
        reason: String,
    },
}

#[derive(Subcommand)]
pub enum Provider {
    /// Every provider, its binds and its queue.
    List,
    /// Give it nothing: what is queued for it goes to the next of its route.
    Disable {
        id: String,
        /// Why: it is shown beside the rule and in the log.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// How long, such as 2h, or "ever": until it is enabled.
        #[arg(long = "for", value_name = "DURATION", value_parser = duration_or_ever)]
        lasts: String,
    },
    /// End the sessions of its binds in good order and begin others, one bind after the other. What is unanswered when a response
    /// may take no longer is in doubt; what waits to be sent waits.
    Rebind {
        id: String,
        /// This one only, by the number that the metrics give it, from 0.
        #[arg(long, value_name = "N")]
        bind: Option<u16>,
        /// Why: it stands in the log.
        #[arg(long, value_name = "TEXT", default_value = "rebound")]
        reason: String,
    },
    /// Bind to it beside the gateway, learn how it speaks, and print that as a profile. With `--to` messages are sent, which it may
    /// charge for.
    Probe(Probe),
    /// End what disables it.
    Enable {
        id: String,
        /// Why: it stands in the log.
        #[arg(long, value_name = "TEXT", default_value = "enabled")]
        reason: String,
    },
}

/// What a look at a provider does.
#[derive(Args)]
pub struct Probe {
    /// As the settings call it.
    pub id: String,
    /// Send a message to this number, and wait for its receipt.
    #[arg(long, value_name = "NUMBER", requires = "from")]
    pub to: Option<String>,
    /// The sender of the message.
    #[arg(long, value_name = "SENDER", requires = "to")]
    pub from: Option<String>,
    /// Send so many at once, to see how many unanswered ones it takes.
    #[arg(long, value_name = "COUNT", default_value_t = 1, requires = "to", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub count: u16,
    /// How long receipts are waited for, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3_600))]
    pub wait: u16,
}

#[derive(Subcommand)]
pub enum Ledger {
    /// Hold every wallet against its own sums and the living messages; ends with 1 when one does not add up.
    Verify {
        /// Read the store of a gateway that is stopped, as the user that it runs as; `--config` names the store.
        #[arg(long)]
        offline: bool,
    },
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
enum LineError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Store(#[from] StoreStartError),
    #[error(
        "no key: give `--key`, set {KEY_VARIABLE}, or be who may read {}; one that is lost is replaced by `tidegate administrator renew`",
        .0.display()
    )]
    NoKey(PathBuf),
    #[error(
        "{} can be read by others; `chmod 600` it if nobody has, else make a new key with `tidegate administrator renew`",
        .0.display()
    )]
    Exposed(PathBuf),
}

/// A request, and how its answer is shown.
pub struct Asking {
    method: &'static str,
    path: String,
    body: Value,
    print: fn(&Value) -> String,
}

pub fn queue(command: &Queue, gateway: &Gateway) -> ExitCode {
    let post = |verb: &str, which: Vec<Pair>, more: Value, print| {
        ask(gateway, Asking::post(format!("/v1/ops/queue/{verb}"), with_pairs(which, more), print))
    };
    match command {
        Queue::List { which, rows } => {
            let mut given = which.pairs();
            given.push(("rows", Some(rows.to_string())));
            ask(gateway, Asking::get(format!("/v1/ops/queue{}", query(&given)), print::queues))
        }
        Queue::Suspend { chosen: Chosen { which, all }, reason, lasts } => {
            let more = json!({"all": all, "reason": reason, "for": lasts});
            post("suspend", which.pairs(), more, print::suspended)
        }
        Queue::Resume { rule, whose, all, reason } => {
            let more = json!({"all": all, "reason": reason, "rule": rule});
            post("resume", whose.pairs(), more, print::resumed)
        }
        Queue::Bounce { chosen: Chosen { which, all }, reason, code, lasts } => {
            let more = json!({"all": all, "reason": reason, "code": code, "for": lasts});
            post("bounce", which.pairs(), more, print::bounced)
        }
        Queue::Move { chosen: Chosen { which, all }, to, reason, lasts } => {
            let more = json!({"all": all, "reason": reason, "to": to, "for": lasts});
            post("move", which.pairs(), more, print::moved)
        }
    }
}

pub fn doubt(command: &Doubt, gateway: &Gateway) -> ExitCode {
    let asking = match command {
        Doubt::List { which, after, limit } => {
            let mut given = which.pairs();
            given.extend([("after", after.clone()), ("limit", Some(limit.to_string()))]);
            Asking::get(format!("/v1/ops/doubts{}", query(&given)), print::doubts)
        }
        Doubt::Resolve { id, resolution, reason } => {
            let body = json!({"as": resolution, "reason": reason});
            Asking::post(format!("/v1/ops/doubts/{}", escaped(id)), body, print::resolved)
        }
    };
    ask(gateway, asking)
}

pub fn provider(command: &Provider, gateway: &Gateway) -> ExitCode {
    let asking = match command {
        Provider::Probe(probe) => return crate::probe::run(probe, gateway.config.as_deref(), gateway.json),
        Provider::List => Asking::get("/v1/ops/providers".to_owned(), print::providers),
        Provider::Disable { id, reason, lasts } => {
            let body = json!({"reason": reason, "for": lasts});
            Asking::post(format!("/v1/ops/providers/{}/disable", escaped(id)), body, print::disabled)
        }
        Provider::Rebind { id, bind, reason } => Asking::post(
            format!("/v1/ops/providers/{}/rebind", escaped(id)),
            json!({"bind": bind, "reason": reason}),
            super::rebind::print,
        ),
        Provider::Enable { id, reason } => Asking::post(
            format!("/v1/ops/providers/{}/enable", escaped(id)),
            json!({"reason": reason}),
            print::enabled,
        ),
    };
    ask(gateway, asking)
}

pub fn ledger(command: &Ledger, gateway: &Gateway) -> ExitCode {
    match command {
        Ledger::Verify { offline: false } => {
            ask(gateway, Asking::get("/v1/ops/ledger".to_owned(), print::ledger))
        }
        Ledger::Verify { offline: true } if gateway.ops.is_some() || gateway.key.is_some() => {
            crate::say::complaint(format_args!(
                "tidegate: --offline asks no gateway: neither --ops nor --key goes with it"
            ));
            ExitCode::from(2)
        }
        Ledger::Verify { offline: true } => match ledger_on_disk(gateway) {
            Ok(answer) => show(gateway, OK, &answer, print::ledger),
            Err(error) => crate::store::failed(&error),
        },
    }
}

/// The wallets as the store has them, in the form in which a running gateway answers.
fn ledger_on_disk(gateway: &Gateway) -> Result<Value, LineError> {
    let config = settings::read(gateway.config.as_deref())?;
    Ok(super::show::ledger(&crate::store::folded(&config)?.ledger()))
}

impl Asking {
    pub fn get(path: String, print: fn(&Value) -> String) -> Asking {
        Asking { method: "GET", path, body: Value::Null, print }
    }

    fn post(path: String, body: Value, print: fn(&Value) -> String) -> Asking {
        Asking { method: "POST", path, body, print }
    }
}

/// A member of a body, or of a query, where it was given.
type Pair = (&'static str, Option<String>);

impl Whose {
    fn pairs(&self) -> Vec<Pair> {
        let given = [
            ("tenant", &self.tenant),
            ("provider", &self.provider),
            ("prefix", &self.prefix),
            ("campaign", &self.campaign),
        ];
        given.map(|(name, value)| (name, value.clone())).into()
    }
}

impl Which {
    fn pairs(&self) -> Vec<Pair> {
        let mut pairs = self.whose.pairs();
        pairs.extend([("older_than", self.older_than.clone()), ("newer_than", self.newer_than.clone())]);
        pairs
    }
}

fn with_pairs(pairs: Vec<Pair>, more: Value) -> Value {
    let mut body: Map<String, Value> = match more {
        Value::Object(more) => more,
        _ => Map::new(),
    };
    body.extend(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.into())));
    Value::Object(body)
}

/// Asks, prints what came of it, and ends as the answer says.
pub fn ask(gateway: &Gateway, asking: Asking) -> ExitCode {
    let body = if asking.body.is_null() { String::new() } else { asking.body.to_string() };
    let answered =
        client(gateway).and_then(|client| Ok(client.request(asking.method, &asking.path, &body)?));
    match answered {
        Ok((status, answer)) => show(gateway, status, &answer, asking.print),
        Err(error) => crate::store::failed(&error),
    }
}

/// Prints an answer, and ends as it says.
fn show(gateway: &Gateway, status: u16, answer: &Value, print: fn(&Value) -> String) -> ExitCode {
    let done = match status {
        INVALID => ExitCode::from(2),
        200..300 if answer["holds"] != Value::Bool(false) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    };
    if gateway.json {
        return crate::say::answer(format_args!("{answer}\n"), done);
    }
    if status < 300 {
        return crate::say::answer(format_args!("{}", print(answer)), done);
    }
    let detail = answer["detail"].as_str().unwrap_or("the gateway refused it and did not say why");
    crate::say::complaint(format_args!("tidegate: {detail}"));
    done
}

fn client(gateway: &Gateway) -> Result<Client, LineError> {
    let key = gateway.key.clone().or_else(|| std::env::var(KEY_VARIABLE).ok()).filter(|key| !key.is_empty());
    if let (Some(address), Some(key)) = (&gateway.ops, &key) {
        return Ok(Client { address: address.clone(), key: key.clone() });
    }
    let config = settings::read(gateway.config.as_deref())?;
    let key = match key {
        Some(key) => key,
        None => key_of_file(&Layout::new(&config.storage.path).administrator_key())?,
    };
    let address = gateway.ops.clone().unwrap_or_else(|| config.ops.listen.to_string());
    Ok(Client { address, key })
}

fn key_of_file(path: &Path) -> Result<String, LineError> {
    let missing = |_| LineError::NoKey(path.to_owned());
    let mode = std::fs::metadata(path).map_err(missing)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(LineError::Exposed(path.to_owned()));
    }
    Ok(std::fs::read_to_string(path).map_err(missing)?.trim().to_owned())
}

/// A name or an address, which is resolved when it is connected to; of IPv6, the address is in brackets.
fn host_and_port(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let is_address = parts.is_some_and(|(host, port)| {
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        (is_bracketed || !host.contains([':', '/', '@'])) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    match is_address {
        true => Ok(text.to_owned()),
        false => Err("a host and a port, such as localhost:9464, 192.0.2.7:9464 or [::1]:9464".to_owned()),
    }
}

fn duration(text: &str) -> Result<String, String> {
    match config::parse_duration(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("a whole number and a unit, such as 90s, 10m, 2h or 3d".to_owned()),
    }
}

fn duration_or_ever(text: &str) -> Result<String, String> {
    if text == "ever" { Ok(text.to_owned()) } else { duration(text) }
}
