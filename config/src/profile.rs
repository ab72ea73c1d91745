//! Profiles: what is known of a kind of provider, laid beneath the entries that name one. It holds none itself.

use crate::dialect::statuses;
use crate::problem::{Problems, nearest, quoted};
use crate::tree::{self, Node, Table, Value};

/// Where profiles come from.
#[derive(Clone, Copy)]
pub struct Profiles<'p> {
    /// Names and texts of those that are part of the program.
    pub embedded: &'p [(&'p str, &'p str)],
    /// Reads one that is a file of its own: a name that ends with `.toml`.
    pub read: &'p dyn Fn(&str) -> std::io::Result<String>,
}

impl Profiles<'_> {
    /// For settings whose entries name none.
    pub const NONE: Profiles<'static> =
        Profiles { embedded: &[], read: &|_| Err(std::io::ErrorKind::NotFound.into()) };
}

/// What a profile may say: what is the same for everybody who is connected to such a provider.
const KEYS: [&str; 29] = [
    "bind",
    "charset",
    "dest_npi",
    "dest_ton",
    "enquire_link",
    "flash",
    "interface_version",
    "locking_shift",
    "long_messages",
    "message_id",
    "message_id_tlv",
    "operations",
    "packed",
    "query_after",
    "receipt",
    "receipt_parts",
    "receipt_wait",
    "registered_delivery",
    "response_timeout",
    "service_type",
    "single_shift",
    "source_npi",
    "source_ton",
    "status",
    "submit",
    "submit_multi",
    "tlv",
    "ton_npi",
    "window",
];

/// Lays the profile of each provider beneath its entry, so that the entry overrides what it likes.
pub(crate) fn lay(tree: &mut Table, profiles: Profiles<'_>, problems: &Problems) {
    let Some(Node { value: Value::List(entries), .. }) = tree.entries.get_mut("provider") else { return };
    for entry in entries {
        let Value::Table(table) = &mut entry.value else { continue };
        let Some(mut profile) = named(table, profiles, problems) else { continue };
        profile.place = table.place.clone();
        make_room(&mut profile, table);
        let own = std::mem::replace(table, profile);
        tree::overlay(table, own);
    }
}

/// Takes from a profile what its entry says by another key: a status in another spelling or range, a word in another case, and the
/// types of an address whatever its kind.
fn make_room(profile: &mut Table, own: &Table) {
    let says = |keys: [&str; 2]| keys.iter().any(|key| own.entries.contains_key(*key));
    if let Some(types) = table_mut(profile, "ton_npi") {
        if says(["source_ton", "source_npi"]) {
            types
                .entries
                .retain(|kind, _| !["international", "short", "alphanumeric"].contains(&kind.as_str()));
        }
        if says(["dest_ton", "dest_npi"]) {
            types.entries.remove("destination");
        }
    }
    if let (Some(below), Some(above)) = (table_mut(profile, "status"), table(own, "status")) {
        above.entries.keys().for_each(|name| cut_out(below, name));
    }
    let words = table_mut(profile, "receipt").and_then(|receipt| table_mut(receipt, "stat"));
    if let (Some(below), Some(above)) =
        (words, table(own, "receipt").and_then(|receipt| table(receipt, "stat")))
    {
        below.entries.retain(|word, _| !above.entries.keys().any(|own| own.eq_ignore_ascii_case(word)));
    }
}

/// Cuts the statuses of a name out of the ranges of a profile. The very same ones take its spelling and stay beneath it.
fn cut_out(below: &mut Table, name: &str) {
    let Some((first, last)) = statuses(name) else { return };
    let all = std::mem::take(&mut below.entries);
    let mut kept = |name: String, node: Node| drop(below.entries.insert(name, node));
    for (key, node) in all {
        match statuses(&key) {
            Some((low, high)) if (low, high) == (first, last) => kept(name.to_owned(), node),
            Some((low, high)) if low <= last && first <= high => {
                if low < first {
                    kept(format!("{low:#x}-{:#x}", first.saturating_sub(1)), node.clone());
                }
                if high > last {
                    kept(format!("{:#x}-{high:#x}", last.saturating_add(1)), node);
                }
            }
            _ => kept(key, node),
        }
    }
}

fn table<'t>(of: &'t Table, key: &str) -> Option<&'t Table> {
    match of.entries.get(key).map(|node| &node.value) {
        Some(Value::Table(table)) => Some(table),
        _ => None,
    }
}

fn table_mut<'t>(of: &'t mut Table, key: &str) -> Option<&'t mut Table> {
    match of.entries.get_mut(key).map(|node| &mut node.value) {
        Some(Value::Table(table)) => Some(table),
        _ => None,
    }
}

/// The profile that an entry names, checked for what a profile may not say.
fn named(table: &Table, profiles: Profiles<'_>, problems: &Problems) -> Option<Table> {
    let node = table.entries.get("profile")?;
    let (Value::Text(name) | Value::Variable(name)) = &node.value else {
        return None;
    };
    let embedded = profiles.embedded.iter().find(|(known, _)| known == name);
    let text = match embedded {
        Some((_, text)) => (*text).to_owned(),
        None if name.ends_with(".toml") => match (profiles.read)(name) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("the profile \"{name}\" cannot be read: {error}");
                problems.add(&node.place, message, "write the path of a file, or the name of a profile");
                return None;
            }
        },
        None => {
            let names = || profiles.embedded.iter().map(|(name, _)| *name);
            let mend = match nearest(name, names()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => {
                    format!("write one of {}, or the path of a file that ends with .toml", quoted(names()))
                }
            };
            problems.add(&node.place, format!("unknown profile \"{name}\""), mend);
            return None;
        }
    };
    let file = if embedded.is_some() { format!("profile {name}") } else { name.clone() };
    let profile = tree::parse(&file, &text, problems)?;
    for (key, node) in &profile.entries {
        if !KEYS.contains(&key.as_str()) {
            let mend = match nearest(key, KEYS.into_iter()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "write it in the entry".to_owned(),
            };
            problems.add(&node.place, format!("a profile cannot say \"{key}\""), mend);
        }
    }
    Some(profile)
}
