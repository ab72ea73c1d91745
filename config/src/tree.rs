//! The settings as they were written, each value with its place: defaults, file and environment laid over one another.
//! It knows how TOML and variables are written, and no key by name but the lists whose entries have an id.

use std::collections::BTreeMap;
use std::rc::Rc;

use toml::de::{DeTable, DeValue};
use toml::value::Datetime;

use crate::problem::{Place, Problems};

/// How the names of our environment variables begin.
pub const VARIABLE_PREFIX: &str = "TIDEGATE__";

/// The lists of tables whose entries a variable names by their id.
const LISTS: [&str; 3] = ["provider", "tenant", "route"];

/// A value as it was written.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    /// Saturated where it is longer than any setting can be.
    Integer(i128),
    /// No setting is one, so only its presence matters.
    Float,
    Boolean(bool),
    Datetime(Datetime),
    List(Vec<Node>),
    Table(Table),
    /// The text of an environment variable, typed by the key that it sets.
    Variable(String),
}

impl Value {
    /// What it is, in the words of an error.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) | Value::Variable(_) => "a string",
            Value::Integer(_) => "a whole number",
            Value::Float => "a number with a fraction",
            Value::Boolean(_) => "true or false",
            Value::Datetime(_) => "a time",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// A value and where it stands: at its key, or at itself inside a list.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub place: Place,
    pub value: Value,
}

/// A table and where its header stands.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub place: Place,
    pub entries: BTreeMap<String, Node>,
}

impl Table {
    fn empty(place: Place) -> Self {
        Self { place, entries: BTreeMap::new() }
    }

    /// Where a key stands, or the table where it does not.
    pub(crate) fn place_of(&self, key: &str) -> &Place {
        self.entries.get(key).map_or(&self.place, |node| &node.place)
    }

    /// Where the setting at the end of these keys stands, or the nearest around it that somebody wrote.
    pub(crate) fn place_at<'p>(&self, path: impl IntoIterator<Item = &'p str>) -> Option<&Place> {
        let (mut table, mut entries, mut found) = (Some(self), None::<&[Node]>, None);
        for key in path {
            let node = match (table, entries) {
                (Some(table), _) => table.entries.get(key),
                (None, Some(entries)) => key.parse().ok().and_then(|place: usize| entries.get(place)),
                (None, None) => None,
            };
            let Some(node) = node else { break };
            found = Some(&node.place).filter(|place| !place.is_default()).or(found);
            (table, entries) = match &node.value {
                Value::Table(table) => (Some(table), None),
                Value::List(entries) => (None, Some(&entries[..])),
                _ => (None, None),
            };
        }
        found
    }

    /// Where a value of a list stands.
    pub(crate) fn place_in(&self, key: &str, index: usize) -> &Place {
        match self.entries.get(key).map(|node| &node.value) {
            Some(Value::List(items)) => items.get(index).map_or(&self.place, |item| &item.place),
            _ => self.place_of(key),
        }
    }
}

/// Reads a TOML text. What breaks its syntax is a problem, one for each line at most.
pub(crate) fn parse(file: &str, text: &str, problems: &Problems) -> Option<Table> {
    let lines = Lines::new(file, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut last_line = 0;
    for error in &errors {
        let place = lines.place(error.span().map_or(text.len(), |span| span.start));
        if place.line != last_line {
            problems.add(&place, error.message(), "correct it and check again: nothing else was read");
        }
        last_line = place.line;
    }
    errors.is_empty().then(|| lines.table(lines.place(0), document.get_ref()))
}

/// Lays the upper table over the lower one. Tables are merged key by key, everything else is replaced.
pub(crate) fn overlay(lower: &mut Table, upper: Table) {
    for (key, node) in upper.entries {
        match (lower.entries.get_mut(&key), node) {
            (
                Some(Node { value: Value::Table(below), place }),
                Node { value: Value::Table(above), place: upper_place },
            ) => {
                *place = upper_place;
                overlay(below, above);
            }
            (_, node) => {
                lower.entries.insert(key, node);
            }
        }
    }
}

/// Lays one environment variable, `TIDEGATE__SECTION__KEY`, over the tree.
pub(crate) fn set_variable(tree: &mut Table, name: &str, value: String, problems: &Problems) {
    let place = Place::variable(name);
    let path: Vec<&str> = name.trim_start_matches(VARIABLE_PREFIX).split("__").collect();
    let node = Node { place: place.clone(), value: Value::Variable(value) };
    if set(tree, &path, node, &place).is_none() {
        problems.add(
            &place,
            "this variable names no key",
            "write TIDEGATE__SECTION__KEY, such as TIDEGATE__HTTP__LISTEN",
        );
    }
}

fn set(table: &mut Table, path: &[&str], node: Node, place: &Place) -> Option<()> {
    let (segment, rest) = path.split_first()?;
    let key = existing_key(table, segment);
    if key.is_empty() {
        return None;
    }
    if rest.is_empty() {
        table.entries.insert(key, node);
        return Some(());
    }
    let is_list = LISTS.contains(&key.as_str());
    let fresh = || match is_list {
        true => Value::List(Vec::new()),
        false => Value::Table(Table::empty(place.clone())),
    };
    let below = table.entries.entry(key).or_insert_with(|| Node { place: place.clone(), value: fresh() });
    match &mut below.value {
        Value::Table(below) => set(below, rest, node, place),
        Value::List(entries) if is_list => {
            let (id, rest) = rest.split_first()?;
            set(entry_of(entries, id, place)?, rest, node, place)
        }
        _ => None,
    }
}

/// The key of the table that the segment means, or else the segment as a key.
fn existing_key(table: &Table, segment: &str) -> String {
    let found = table.entries.keys().find(|key| variable_form(key) == segment);
    found.cloned().unwrap_or_else(|| segment.to_ascii_lowercase())
}

/// The entry of a list with this id, made when there is none: a container may have no file at all.
fn entry_of<'a>(entries: &'a mut Vec<Node>, id: &str, place: &Place) -> Option<&'a mut Table> {
    let is_meant = |node: &Node| match &node.value {
        Value::Table(table) => match table.entries.get("id").map(|node| &node.value) {
            Some(Value::Text(text) | Value::Variable(text)) => variable_form(text) == id,
            _ => false,
        },
        _ => false,
    };
    let index = entries.iter().position(is_meant).unwrap_or_else(|| {
        let mut table = Table::empty(place.clone());
        let id = Value::Variable(id.to_ascii_lowercase());
        table.entries.insert("id".to_owned(), Node { place: place.clone(), value: id });
        entries.push(Node { place: place.clone(), value: Value::Table(table) });
        entries.len() - 1
    });
    match entries.get_mut(index).map(|node| &mut node.value) {
        Some(Value::Table(table)) => Some(table),
        _ => None,
    }
}

/// A key or an id as it stands in the name of a variable.
pub(crate) fn variable_form(name: &str) -> String {
    let upper = |character: char| match character.is_ascii_alphanumeric() {
        true => character.to_ascii_uppercase(),
        false => '_',
    };
    name.chars().map(upper).collect()
}

/// Turns offsets of one text into places.
struct Lines<'t> {
    file: Rc<str>,
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(file: &str, text: &'t str) -> Self {
        let after_newline = text.match_indices('\n').map(|(offset, _)| offset + 1);
        let starts = std::iter::once(0).chain(after_newline).collect();
        Self { file: Rc::from(file), text, starts }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or("");
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Place { file: Rc::clone(&self.file), line: number(line), column: number(before.chars().count() + 1) }
    }

    fn table(&self, place: Place, table: &DeTable<'_>) -> Table {
        let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let key: &toml::Spanned<std::borrow::Cow<'_, str>> = key;
            let place = self.place(key.span().start);
            (key.get_ref().to_string(), self.node(place, value.get_ref()))
        };
        Table { place, entries: table.iter().map(entry).collect() }
    }

    fn node(&self, place: Place, value: &DeValue<'_>) -> Node {
        let value = match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(integer) => {
                Value::Integer(i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX))
            }
            DeValue::Float(_) => Value::Float,
            DeValue::Boolean(boolean) => Value::Boolean(*boolean),
            DeValue::Datetime(datetime) => Value::Datetime(*datetime),
            DeValue::Array(items) => {
                let item = |item: &toml::Spanned<DeValue<'_>>| {
                    self.node(self.place(item.span().start), item.get_ref())
                };
                Value::List(items.iter().map(item).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(place.clone(), table)),
        };
        Node { place, value }
    }
}
