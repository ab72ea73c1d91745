//! What is wrong with the settings, where, and what would mend it. It finds nothing itself.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// One mistake in the settings. It never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub struct Problem {
    /// The name of the file as it was given, or of the environment variable.
    pub file: String,
    /// The line from 1; 0 where there is none, as in an environment variable.
    pub line: u32,
    /// The column from 1 in characters; 0 where there is none.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub mend: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if self.line > 0 {
            write!(formatter, ":{}", self.line)?;
        }
        write!(formatter, ": {}; {}", self.message, self.mend)
    }
}

/// What a setting names and cannot be used as it is: found by who looks at more than its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// The keys from the outside in; an entry of a list by its place, from 0: `provider.0.tls.ca`.
    pub setting: String,
    /// The end of a sentence that begins with the setting.
    pub message: String,
    pub mend: String,
}

/// What the embedded defaults are called. No file can be.
pub(crate) const DEFAULT_NAME: &str = "\0defaults";

/// Where a key or a value stands.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The file, or the environment variable.
    pub file: Rc<str>,
    pub line: u32,
    pub column: u32,
}

impl Place {
    /// An environment variable as a whole.
    pub(crate) fn variable(name: &str) -> Self {
        let file = Rc::from(name);
        Self { file, line: 0, column: 0 }
    }

    /// Whether it is in the embedded defaults, where nobody can mend anything.
    pub(crate) fn is_default(&self) -> bool {
        &*self.file == DEFAULT_NAME
    }

    pub(crate) fn is_variable(&self) -> bool {
        self.line == 0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_variable() {
            true => write!(formatter, "by {}", self.file),
            false => write!(formatter, "on line {}", self.line),
        }
    }
}

/// What is wrong with a value, before it is known whose value it is: the end of a sentence that begins with its key.
pub(crate) struct Fault {
    pub message: String,
    pub mend: String,
    /// Where in a list it is, if the key's place is not near enough.
    pub place: Option<Place>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>, mend: impl Into<String>) -> Self {
        let (message, mend) = (message.into(), mend.into());
        Self { message, mend, place: None }
    }

    pub(crate) fn at(self, place: &Place) -> Self {
        Self { place: Some(place.clone()), ..self }
    }
}

/// The problems found so far. Shared by all readers of one set of settings, so that each can go on after a mistake.
#[derive(Default)]
pub(crate) struct Problems {
    found: RefCell<Vec<Problem>>,
    /// Every key that was asked for, by section, and whether it was ever there: the measure of `default.toml`.
    #[cfg(test)]
    pub asked: RefCell<std::collections::BTreeMap<(String, &'static str), bool>>,
}

impl Problems {
    pub(crate) fn add(&self, place: &Place, message: impl Into<String>, mend: impl Into<String>) {
        self.found.borrow_mut().push(Problem {
            file: place.file.to_string(),
            line: place.line,
            column: place.column,
            message: message.into(),
            mend: mend.into(),
        });
    }

    /// All of them, in the order of their places.
    pub(crate) fn into_sorted(self) -> Vec<Problem> {
        let mut problems = self.found.into_inner();
        problems.sort();
        problems.dedup();
        problems
    }
}

/// The name nearest to what was written, if any is near enough to be meant.
pub(crate) fn nearest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_ascii_lowercase();
    let distance_max = 1 + written.chars().count() / 4;
    let distance = |name: &&str| strsim::osa_distance(&written, &name.to_ascii_lowercase());
    names
        .map(|name| (distance(&name), name))
        .filter(|(far, _)| *far <= distance_max)
        .min()
        .map(|(_, name)| name)
}

/// A list of names as a person reads it.
pub(crate) fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}
