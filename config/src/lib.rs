//! The typed settings and the commented defaults. It validates; it starts nothing.
//!
//! Three layers lie over one another: `default.toml`, which is embedded and is the documentation too, the operator's
//! file, and variables named `TIDEGATE__SECTION__KEY`; beneath a provider's entry lies the profile that it names. They are
//! read into a tree that remembers where everything was written (`tree`), which is read key by key (`section`, `read`) into the types that the rest of the gateway uses;
//! then what entries say about one another is checked (`lists`). All mistakes are told at once, each with its place
//! and its mend. The crate reads no file and no environment.

mod dialect;
mod inbound;
mod lists;
mod problem;
mod profile;
mod provider;
mod reach;
mod read;
mod route;
mod section;
mod settings;
mod tenant;
mod texts;
mod tree;
mod units;
mod words;

use std::collections::BTreeMap;

pub use dialect::{AddressTypes, PATTERN_FIELDS, ReceiptDialect, StatusRule, Tlv, TonNpi};
pub use inbound::{Inbound, InboundMatch, Kept, Phones};
pub use problem::{Problem, Unusable};
pub use profile::Profiles;
pub use provider::{Backoff, Provider, Retry};
pub use reach::{Host, Outbind, ProviderTls, Reach};
pub use route::{Match, Rates, Route};
pub use settings::{Fairness, Http, Limits, Ops, Queue, Routing, Secrets, Serve, Smpp, Storage, Tls};
pub use tenant::{NationalNumbers, Price, Tenant, TenantSmpp};
pub use texts::Texts;
pub use tree::VARIABLE_PREFIX;
pub use units::{IpBlock, Micros, Secret, Size, UnixMillis, parse_duration};
pub use words::{
    AskReceipt, Billing, BindKind, BindType, Channel, Charset, Durability, Flash, IdRadix, InDoubt,
    InterfaceVersion, JournalLog, Language, LongMessages, MessageIdForm, MessageIdSide, Operation, Priority,
    ProviderKind, ReceiptDate, ReceiptParts, ReceiptState, Settle, StatusMeaning, Strategy, SubmitForm,
    TenantStatus, TlvType, WhenFull, Word,
};

use lists::Lists;
use problem::{DEFAULT_NAME, Problems};
use section::Section;
use settings::Sections;
use tree::Table;

/// The defaults with their documentation, as `tidegate config default` prints them.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

/// All settings, resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[http]`
    pub http: Http,
    /// `[smpp]`
    pub smpp: Smpp,
    /// `[ops]`
    pub ops: Ops,
    /// `[serve]`
    pub serve: Serve,
    /// `[storage]`
    pub storage: Storage,
    /// `[secrets]`
    pub secrets: Secrets,
    /// `[queue]`
    pub queue: Queue,
    /// `[limits]`
    pub limits: Limits,
    /// `[fairness]`
    pub fairness: Fairness,
    /// `[routing]`
    pub routing: Routing,
    /// `[phones]`
    pub phones: Phones,
    /// `[kept]`
    pub kept: Kept,
    /// `[[provider]]`, in the order of the file, the disabled ones included. Default none.
    pub provider: Vec<Provider>,
    /// `[[tenant]]`, in the order of the file. Default none.
    pub tenant: Vec<Tenant>,
    /// `[[route]]`, in the order in which they are tried. Default none.
    pub route: Vec<Route>,
    /// `[[inbound]]`, in the order in which they are tried. Default none.
    pub inbound: Vec<Inbound>,
    /// `[rates.NAME]`. Default none.
    pub rates: BTreeMap<String, Rates>,
}

impl Config {
    /// Whether no provider is configured, not even a disabled one: the case of the sandbox.
    pub fn is_empty_of_providers(&self) -> bool {
        self.provider.is_empty()
    }

    /// Whether a text of this provider is a receipt where it only reads like one.
    pub fn takes_unmarked_receipts(&self, provider: &Provider) -> bool {
        let is_for = |of: &[String]| of.is_empty() || of.contains(&provider.id);
        let has_phones = provider.inbound_tenant.is_some()
            || self.inbound.iter().any(|rule| is_for(&rule.matches.provider));
        provider.receipt.unmarked.unwrap_or(!has_phones)
    }

    /// Whether no tenant is configured: the case of the demo tenant.
    pub fn is_empty_of_tenants(&self) -> bool {
        self.tenant.is_empty()
    }
}

impl Default for Config {
    fn default() -> Self {
        // The text is part of the program, and a test reads it.
        load(None, []).expect("the embedded defaults are right")
    }
}

/// The same as `load_with` for settings that name no profile.
pub fn load(
    file: Option<(&str, &str)>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, Vec<Problem>> {
    load_with(file, environment, Profiles::NONE)
}

/// Reads the settings from a file, given as its name and its text, and from variables. Variables that do not begin
/// with `TIDEGATE__` are not ours. Every mistake that can be seen is in the answer, in the order of its place.
pub fn load_with(
    file: Option<(&str, &str)>,
    environment: impl IntoIterator<Item = (String, String)>,
    profiles: Profiles<'_>,
) -> Result<Config, Vec<Problem>> {
    load_usable(file, environment, profiles, |_| Vec::new())
}

/// The same, where what the settings name is looked at too, by `unusable`, once they are right in themselves.
pub fn load_usable(
    file: Option<(&str, &str)>,
    environment: impl IntoIterator<Item = (String, String)>,
    profiles: Profiles<'_>,
    unusable: impl FnOnce(&Config) -> Vec<Unusable>,
) -> Result<Config, Vec<Problem>> {
    let problems = Problems::default();
    let Some(mut tree) = layers(file, environment, &problems) else {
        return Err(problems.into_sorted());
    };
    profile::lay(&mut tree, profiles, &problems);
    let config = Section::read("", &tree, &problems, |all| resolve(all, &problems));
    let problems = problems.into_sorted();
    match config {
        Some(config) if problems.is_empty() => {
            let found = unusable(&config);
            let name = file.map_or("the defaults", |(name, _)| name);
            let mut problems: Vec<_> = found.into_iter().map(|found| placed(found, &tree, name)).collect();
            problems.sort();
            if problems.is_empty() { Ok(config) } else { Err(problems) }
        }
        _ => {
            assert!(!problems.is_empty(), "settings were refused without a word");
            Err(problems)
        }
    }
}

/// With the place of its setting; a default has none, and then it is the file that would have to say otherwise.
fn placed(unusable: Unusable, tree: &Table, file: &str) -> Problem {
    let Unusable { setting, message, mend } = unusable;
    let place = tree.place_at(setting.split('.'));
    Problem {
        file: place.map_or(file, |place| &place.file).to_owned(),
        line: place.map_or(0, |place| place.line),
        column: place.map_or(0, |place| place.column),
        message: format!("{setting} {message}"),
        mend,
    }
}

/// The three layers as one tree, or nothing where the syntax of one is broken: the rest would be guesses.
fn layers(
    file: Option<(&str, &str)>,
    environment: impl IntoIterator<Item = (String, String)>,
    problems: &Problems,
) -> Option<Table> {
    let mut tree = tree::parse(DEFAULT_NAME, DEFAULT_TOML, problems)?;
    if let Some((name, text)) = file {
        tree::overlay(&mut tree, tree::parse(name, text, problems)?);
    }
    let is_ours = |(name, _): &(String, String)| name.starts_with(tree::VARIABLE_PREFIX);
    let mut variables: Vec<_> = environment.into_iter().filter(is_ours).collect();
    // Entries that only variables describe come in the order of their names, not in that of the environment.
    variables.sort();
    for (name, value) in variables {
        tree::set_variable(&mut tree, &name, value, problems);
    }
    Some(tree)
}

fn resolve<'t>(all: &mut Section<'t>, problems: &'t Problems) -> Option<Config> {
    let sections = Sections::read(all);
    let (provider, tenant, route, inbound, rates) = Lists::read(all, problems).into_parts();
    let sections = sections?;
    Some(Config {
        http: sections.http,
        smpp: sections.smpp,
        ops: sections.ops,
        serve: sections.serve,
        storage: sections.storage,
        secrets: sections.secrets,
        queue: sections.queue,
        limits: sections.limits,
        fairness: sections.fairness,
        routing: sections.routing,
        phones: sections.phones,
        kept: sections.kept,
        provider,
        tenant,
        route,
        inbound,
        rates,
    })
}

#[cfg(test)]
mod tests;
