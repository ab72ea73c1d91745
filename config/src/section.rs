//! Reads one table of the tree key by key: typed, in range, and every mistake with its place and its mend.
//! What was not asked for is unknown. It knows no key by name but those a later version will have.

use std::ops::RangeInclusive;

use crate::problem::{Fault, Place, Problems, nearest, quoted};
use crate::read::{Read, Show};
use crate::tree::{Node, Table, Value, variable_form};
use crate::units::Secret;

/// Keys of the documentation that this version does not apply: section, key.
const NOT_SUPPORTED: [(&str, &str); 16] = [
    ("", "public"),
    ("", "mail"),
    ("", "payment"),
    ("", "tiers"),
    ("", "console"),
    ("[[tenant]]", "tier"),
    ("[[tenant]]", "country"),
    ("[[tenant]]", "channels"),
    ("[[tenant]]", "metadata"),
    ("[[tenant]]", "dedupe"),
    ("[[provider]]", "rates"),
    ("match of [[route]]", "mcc_mnc"),
    ("match of [[route]]", "text"),
    ("match of [[route]]", "time"),
    ("match of [[route]]", "time_of_day"),
    ("[storage]", "ballast"),
];

/// One table being read.
pub(crate) struct Section<'t> {
    name: String,
    table: &'t Table,
    problems: &'t Problems,
    asked: Vec<&'static str>,
}

impl<'t> Section<'t> {
    /// Reads a table, then refuses what was not asked for. The name is what errors call it: `[http]`, or nothing for
    /// the whole of the settings.
    pub(crate) fn read<T>(
        name: &str,
        table: &'t Table,
        problems: &'t Problems,
        read: impl FnOnce(&mut Section<'t>) -> T,
    ) -> T {
        let mut section = Section { name: name.to_owned(), table, problems, asked: Vec::new() };
        let value = read(&mut section);
        section.refuse_unknown();
        value
    }

    /// The value of a key, or nothing when it is absent or was found faulty.
    pub(crate) fn get<T: Read>(&mut self, key: &'static str) -> Option<T> {
        self.checked(key, |_| Ok(()))
    }

    /// The same with a check of one's own.
    pub(crate) fn checked<T: Read>(
        &mut self,
        key: &'static str,
        check: impl FnOnce(&T) -> Result<(), Fault>,
    ) -> Option<T> {
        let node = self.node(key)?;
        let value = T::read(node).and_then(|value| check(&value).map(|()| value));
        value.map_err(|fault| self.fault(key, &node.place, fault)).ok()
    }

    /// A value inside a range.
    pub(crate) fn between<T: Read + Show + PartialOrd>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        self.checked(key, |value| match range.contains(value) {
            true => Ok(()),
            false => Err(Fault::new(
                format!("is {}, which is out of range", value.show()),
                format!("write a value from {} to {}", range.start().show(), range.end().show()),
            )),
        })
    }

    /// A text of so many octets without control characters.
    pub(crate) fn text(&mut self, key: &'static str, octets: RangeInclusive<usize>) -> Option<String> {
        self.checked(key, |text: &String| check_text(text, &octets))
    }

    /// A secret of so many octets without control characters.
    pub(crate) fn secret(&mut self, key: &'static str, octets: RangeInclusive<usize>) -> Option<Secret> {
        self.checked(key, |secret: &Secret| check_text(secret.expose(), &octets))
    }

    /// The id of an entry: what stands in paths, metrics and variables.
    pub(crate) fn id(&mut self) -> Option<String> {
        self.checked("id", |id: &String| {
            let is_part = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'_' | b'-');
            match (1..=64).contains(&id.len()) && id.bytes().all(is_part) {
                true => Ok(()),
                false => Err(Fault::new(
                    "is not an id",
                    "write 1 to 64 of letters, digits, \".\", \"_\" and \"-\"",
                )),
            }
        })
    }

    /// A table below this one.
    pub(crate) fn table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'t>) -> Option<T>,
    ) -> Option<T> {
        let (name, mend) = match self.name.as_str() {
            "" => (format!("[{key}]"), format!("write [{key}], and its keys below")),
            above => (format!("{key} of {above}"), format!("write {key} = {{ … }}")),
        };
        let node = self.node(key)?;
        let table = self.as_table(key, node, &mend)?;
        Section::read(&name, table, self.problems, read)
    }

    /// The tables of a list, `[[key]]`.
    pub(crate) fn list(&mut self, key: &'static str) -> Vec<&'t Table> {
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let mend = format!("write [[{key}]] above each");
        match &node.value {
            Value::List(items) => items.iter().filter_map(|item| self.as_table(key, item, &mend)).collect(),
            value => {
                self.problems.add(
                    &node.place,
                    format!("\"{key}\" is {}, not a list of tables", value.kind()),
                    mend,
                );
                Vec::new()
            }
        }
    }

    /// The tables below a key by the names people gave them, `[key.NAME]`.
    pub(crate) fn named(&mut self, key: &'static str) -> Vec<(&'t str, &'t Table)> {
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let mend = format!("write [{key}.NAME] above each");
        let Some(tables) = self.as_table(key, node, &mend) else {
            return Vec::new();
        };
        let named =
            |(name, node): (&'t String, &'t Node)| Some((name.as_str(), self.as_table(name, node, &mend)?));
        tables.entries.iter().filter_map(named).collect()
    }

    /// What stands below a key under names that people gave, each read by itself.
    pub(crate) fn each<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&str, &'t Node, &'t Problems) -> Result<T, Fault>,
    ) -> Vec<T> {
        let mend = format!("write {key} = {{ NAME = …, … }}");
        let Some(table) = self.node(key).and_then(|node| self.as_table(key, node, &mend)) else {
            return Vec::new();
        };
        let mut values = Vec::new();
        for (name, node) in &table.entries {
            match read(name, node, self.problems) {
                Ok(value) => values.push(value),
                Err(fault) => self.fault(&format!("{key}.{name}"), &node.place, fault),
            }
        }
        values
    }

    /// Reads each table of a list below this section, `[[provider.key]]`.
    pub(crate) fn list_of<T>(
        &mut self,
        key: &'static str,
        name: &str,
        read: impl Fn(&mut Section<'t>) -> Option<T>,
    ) -> Vec<T> {
        let tables = self.list(key);
        tables.into_iter().filter_map(|table| Section::read(name, table, self.problems, &read)).collect()
    }

    /// Whether the key was written.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.entries.contains_key(key)
    }

    /// Whether the key is right or absent, so that it can be held against others.
    pub(crate) fn is_sound<T>(&self, key: &str, value: &Option<T>) -> bool {
        value.is_some() || !self.has(key)
    }

    /// Records what is wrong with a key beside others. It is told where the first of them stands that was written by
    /// somebody.
    pub(crate) fn problem(&self, keys: &[&str], message: &str, mend: &str) {
        let place = written(keys.iter().map(|key| self.table.place_of(key))).unwrap_or(&self.table.place);
        let key = keys.first().copied().unwrap_or_default();
        self.fault(key, place, Fault::new(message, mend));
    }

    /// Records what is wrong with the same key of several sections, likewise.
    pub(crate) fn problem_below(&self, sections: &[&str], key: &str, message: &str, mend: &str) {
        let place_in = |section: &&str| match self.table.entries.get(*section).map(|node| &node.value) {
            Some(Value::Table(table)) => Some(table.place_of(key)),
            _ => None,
        };
        let place = written(sections.iter().filter_map(place_in)).unwrap_or(&self.table.place);
        self.problems.add(place, message, mend);
    }

    /// Records that a key is missing, if it is.
    pub(crate) fn require(&self, key: &str) {
        if !self.has(key) {
            let message = format!("\"{key}\" is missing in {}", self.name);
            self.problems.add(&self.table.place, message, format!("write {key} = …"));
        }
    }

    fn node(&mut self, key: &'static str) -> Option<&'t Node> {
        self.asked.push(key);
        #[cfg(test)]
        {
            let mut asked = self.problems.asked.borrow_mut();
            *asked.entry((self.name.clone(), key)).or_default() |= self.has(key);
        }
        self.table.entries.get(key)
    }

    fn as_table(&self, key: &str, node: &'t Node, mend: &str) -> Option<&'t Table> {
        match &node.value {
            Value::Table(table) => Some(table),
            value => {
                let message = format!("\"{key}\" is {}, not a table", value.kind());
                self.problems.add(&node.place, message, mend);
                None
            }
        }
    }

    fn fault(&self, key: &str, place: &Place, fault: Fault) {
        let message = format!("\"{key}\" in {} {}", self.name, fault.message);
        self.problems.add(fault.place.as_ref().unwrap_or(place), message, fault.mend);
    }

    fn refuse_unknown(&self) {
        for (key, node) in &self.table.entries {
            if self.asked.contains(&key.as_str()) {
                continue;
            }
            let what = self.describe(key, &node.value);
            if NOT_SUPPORTED.contains(&(self.name.as_str(), key)) {
                self.problems.add(
                    &node.place,
                    format!("{what} is not supported by this version"),
                    "remove it",
                );
            } else {
                self.problems.add(&node.place, format!("unknown {what}"), self.suggest(key, &node.place));
            }
        }
    }

    fn describe(&self, key: &str, value: &Value) -> String {
        match (self.name.as_str(), value) {
            ("", Value::Table(_)) => format!("section [{key}]"),
            ("", Value::List(_)) => format!("section [[{key}]]"),
            ("", _) => format!("key \"{key}\" outside of any section"),
            (name, _) => format!("key \"{key}\" in {name}"),
        }
    }

    fn suggest(&self, key: &str, place: &Place) -> String {
        match nearest(key, self.asked.iter().copied()) {
            Some(near) if place.is_variable() => {
                let (wrong, right) = (variable_form(key), variable_form(near));
                format!(
                    "did you mean \"{}\"?",
                    place.file.replacen(&format!("__{wrong}"), &format!("__{right}"), 1)
                )
            }
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("write one of {}, or remove it", quoted(self.asked.iter().copied())),
        }
    }
}

fn written<'p>(mut places: impl Iterator<Item = &'p Place>) -> Option<&'p Place> {
    places.find(|place| !place.is_default())
}

fn check_text(text: &str, octets: &RangeInclusive<usize>) -> Result<(), Fault> {
    let (min, max) = (octets.start(), octets.end());
    if text.is_empty() && *min > 0 {
        return Err(Fault::new("is empty", format!("write {min} to {max} octets")));
    }
    if !octets.contains(&text.len()) {
        return Err(Fault::new(format!("has {} octets", text.len()), format!("write {min} to {max} octets")));
    }
    match text.chars().any(char::is_control) {
        true => Err(Fault::new("holds a control character", "remove it")),
        false => Ok(()),
    }
}
