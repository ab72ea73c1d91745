//! Profiles: what is known of a kind of provider, laid beneath the entries that name one. It holds none itself.

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
const KEYS: [&str; 26] = [
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
    "receipt_wait",
    "registered_delivery",
    "response_timeout",
    "single_shift",
    "source_npi",
    "source_ton",
    "status",
    "submit",
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
        let own = std::mem::replace(table, profile);
        tree::overlay(table, own);
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
