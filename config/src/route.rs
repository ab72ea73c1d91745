//! `[[route]]` and `[rates.NAME]`: which provider takes a message, and what a part of it costs.

use std::collections::BTreeMap;

use crate::problem::Fault;
use crate::problem::Problems;
use crate::read::Read;
use crate::section::Section;
use crate::tree::Table;
use crate::units::{Micros, is_digits};
use crate::words::{Channel, Strategy};

/// One route. Routes stand in the order in which they are tried; the first that matches decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its name in answers and in `explain`; unique. Default `route-N`, N being its place in the file from 1.
    pub id: String,
    /// Lower is tried first, then the order in the file. Default 100.
    pub priority: u32,
    /// The key `match`: what a message must be like. All that is given must hold; an empty list asks nothing.
    pub matches: Match,
    /// The providers it chooses from, at least one, none twice.
    pub providers: Vec<String>,
    /// How it chooses. Default `failover`.
    pub strategy: Strategy,
    /// With `weighted` alone, one for each provider, 1 to 1,000; else empty.
    pub weights: Vec<u32>,
}

/// What a message must be like for a route. One value of each list suffices.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Match {
    /// How the destination begins, in digits without `+`.
    pub prefix: Vec<String>,
    /// Ids of tenants.
    pub tenant: Vec<String>,
    /// Senders, compared as they are written.
    pub sender: Vec<String>,
    /// Channels.
    pub channel: Vec<Channel>,
}

/// A price list: prefix in digits without `+`, and the price of a part in the currency of whoever uses it. The longest
/// prefix that fits decides.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rates {
    /// Prefix to price.
    pub prices: BTreeMap<String, Micros>,
}

impl Route {
    /// Its place in the file, from 1, names it where it has no id.
    pub(crate) fn read(section: &mut Section<'_>, place: usize) -> Option<Self> {
        let id = section.id();
        let providers = section.checked("providers", |ids: &Vec<String>| check_providers(ids));
        section.require("providers");
        let priority = section.between("priority", 0..=1_000_000).unwrap_or(100);
        let matches = section.table("match", |below| Some(Match::read(below))).unwrap_or_default();
        let written = section.get("strategy");
        let is_sound = section.is_sound("strategy", &written);
        let strategy = written.unwrap_or(Strategy::Failover);
        let weights =
            section.checked("weights", |weights: &Vec<u32>| check_weights(weights)).unwrap_or_default();
        let providers = providers?;
        if strategy == Strategy::Weighted && weights.len() != providers.len() {
            section.problem(
                &["weights"],
                "does not give one number for each provider",
                "write weights = [3, 1] for two",
            );
        }
        if is_sound && strategy != Strategy::Weighted && section.has("weights") {
            let mend = "remove it, or write strategy = \"weighted\"";
            section.problem(&["weights"], "means nothing with this strategy", mend);
        }
        let id = id.unwrap_or_else(|| format!("route-{place}"));
        Some(Self { id, priority, matches, providers, strategy, weights })
    }
}

impl Match {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            prefix: section
                .checked("prefix", |prefixes: &Vec<String>| check_prefixes(prefixes))
                .unwrap_or_default(),
            tenant: section.get("tenant").unwrap_or_default(),
            sender: section.get("sender").unwrap_or_default(),
            channel: section.get("channel").unwrap_or_default(),
        }
    }
}

impl Rates {
    /// Every key is a prefix, so none is unknown.
    pub(crate) fn read(name: &str, table: &Table, problems: &Problems) -> Self {
        let mut rates = Self::default();
        for (prefix, node) in &table.entries {
            let place = &node.place;
            if !is_prefix(prefix) {
                problems.add(place, format!("\"{prefix}\" in [rates.{name}] is not a prefix"), PREFIX_MEND);
            }
            match Micros::read(node) {
                Ok(price) if price >= Micros(0) => _ = rates.prices.insert(prefix.clone(), price),
                Ok(_) => problems.add(
                    place,
                    format!("\"{prefix}\" in [rates.{name}] is a price below zero"),
                    "write what a part costs",
                ),
                Err(Fault { message, mend, .. }) => {
                    problems.add(place, format!("\"{prefix}\" in [rates.{name}] {message}"), mend)
                }
            }
        }
        rates
    }
}

const PREFIX_MEND: &str = "write 1 to 15 digits without +, such as \"254\"";

fn is_prefix(text: &str) -> bool {
    is_digits(text) && text.len() <= 15
}

pub(crate) fn check_prefixes(prefixes: &[String]) -> Result<(), Fault> {
    match prefixes.iter().find(|prefix| !is_prefix(prefix)) {
        Some(prefix) => Err(Fault::new(format!("holds \"{prefix}\", which is not a prefix"), PREFIX_MEND)),
        None => Ok(()),
    }
}

fn check_providers(providers: &[String]) -> Result<(), Fault> {
    if providers.is_empty() {
        return Err(Fault::new("is empty", "write the id of at least one provider"));
    }
    let twice = providers
        .iter()
        .enumerate()
        .find(|(index, id)| providers.iter().take(*index).any(|other| other == *id));
    match twice {
        Some((_, id)) => Err(Fault::new(format!("names \"{id}\" twice"), "remove one")),
        None => Ok(()),
    }
}

fn check_weights(weights: &[u32]) -> Result<(), Fault> {
    match weights.iter().all(|weight| (1..=1_000).contains(weight)) {
        true => Ok(()),
        false => Err(Fault::new("holds a weight out of range", "write weights from 1 to 1000")),
    }
}
