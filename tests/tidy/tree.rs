//! The files of the repository in memory, and what must hold of all of them alike. What a file says is judged elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// Everything that may lie at the top.
const TOP: [&str; 20] = [
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "benches",
    "clippy.toml",
    "codecs",
    "config",
    "connectors",
    "docs",
    "engine",
    "loadtest",
    "rustfmt.toml",
    "src",
    "storage",
    "tests",
];

/// What of it may be missing.
const NOT_NEEDED: [&str; 1] = ["benches"];

/// What belongs to the machine or the way a text was written on, and not to the text. Cut in two, so that this file does
/// not hold them itself.
const FOREIGN: [(&str, &str); 7] = [
    ("/wor", "k/"),
    ("/tmp/", "t-"),
    ("/roo", "t/"),
    ("/hom", "e/"),
    ("artifact", "ory"),
    ("sparse", "+http"),
    ("assis", "tant"),
];

/// The only place that packages come from.
const REGISTRY: &str = "\"registry+https://github.com/rust-lang/crates.io-index\"";

/// Paths from the top, with `/`, and what stands in the files; empty for what is not UTF-8.
pub struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// All files of the repository but those that git is told to leave out.
    pub fn of_this_repository() -> &'static Tree {
        static TREE: LazyLock<Tree> = LazyLock::new(Tree::read);
        &TREE
    }

    fn read() -> Tree {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let ignore = fs::read_to_string(top.join(".gitignore")).unwrap_or_default();
        let patterns: Vec<&str> =
            ignore.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let mut tree = Tree { files: BTreeMap::new() };
        tree.add(top, "", &patterns);
        tree
    }

    /// A tree for the tests of the checks.
    pub fn of(files: &[(&str, &str)]) -> Tree {
        let files = files.iter().map(|(path, text)| (path.to_string(), text.to_string()));
        Tree { files: files.collect() }
    }

    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// The files whose names end so.
    pub fn ending<'a>(&'a self, end: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.all().filter(move |(path, _)| path.ends_with(end))
    }

    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Whether a file or a directory is there.
    pub fn has(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        path.is_empty()
            || self.files.contains_key(path)
            || self.files.keys().any(|file| file.starts_with(&inside))
    }

    fn add(&mut self, directory: &Path, prefix: &str, patterns: &[&str]) {
        let entries = fs::read_dir(directory).expect("a directory of the repository can be read");
        for entry in entries {
            let entry = entry.expect("a directory of the repository can be read");
            let name = entry.file_name().into_string().expect("names in the repository are UTF-8");
            let path = format!("{prefix}{name}");
            if name == ".git" || patterns.iter().any(|pattern| is_ignored(pattern, prefix, &name)) {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.add(&entry.path(), &format!("{path}/"), patterns);
            } else {
                let octets = fs::read(entry.path()).expect("a file of the repository can be read");
                self.files.insert(path, String::from_utf8(octets).unwrap_or_default());
            }
        }
    }
}

/// The forms of `.gitignore` that this repository uses: a name at the top, and a name anywhere with at most one `*`.
fn is_ignored(pattern: &str, prefix: &str, name: &str) -> bool {
    match pattern.strip_prefix('/') {
        Some(at_top) => prefix.is_empty() && matches(at_top, name),
        None => matches(pattern, name),
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern.trim_end_matches('/') == name,
        Some((start, end)) => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
    }
}

/// What lies at the top, and what no file may hold.
pub fn check(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    check_top(tree, &mut findings);
    for (path, text) in tree.all() {
        check_words(path, text, &mut findings);
    }
    for (path, lock) in tree.ending("Cargo.lock") {
        for line in lock.lines().filter(|line| line.starts_with("source = ") && !line.ends_with(REGISTRY)) {
            findings
                .push(format!("{path}: packages come from crates.io and from nowhere else, not by {line}"));
        }
    }
    findings
}

fn check_top(tree: &Tree, findings: &mut Vec<String>) {
    let found: BTreeSet<&str> = tree.all().filter_map(|(path, _)| path.split('/').next()).collect();
    for name in &found {
        if !TOP.contains(name) {
            findings.push(format!("{name}: does not belong at the top of the repository"));
        }
    }
    for name in TOP {
        if !found.contains(name) && !NOT_NEEDED.contains(&name) {
            findings.push(format!("{name}: is missing at the top of the repository"));
        }
    }
}

fn check_words(path: &str, text: &str, findings: &mut Vec<String>) {
    let text = text.to_lowercase();
    for (start, end) in FOREIGN {
        let word = format!("{start}{end}");
        for (position, _) in text.match_indices(&word) {
            let line = text[..position].matches('\n').count() + 1;
            findings.push(format!("{path}:{line}: {word:?} has no place in the repository"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::assert_one;

    fn whole() -> Vec<(&'static str, &'static str)> {
        let directories =
            [".ci", "benches", "codecs", "config", "connectors", "docs", "engine", "loadtest", "src"];
        let is_directory = |name: &&str| directories.contains(name) || ["storage", "tests"].contains(name);
        let inside = |name: &str| -> &'static str { Box::leak(format!("{name}/file").into_boxed_str()) };
        TOP.iter().map(|name| (if is_directory(name) { inside(name) } else { *name }, "")).collect()
    }

    fn with(path: &'static str, text: &'static str) -> Tree {
        let mut files = whole();
        files.push((path, text));
        Tree::of(&files)
    }

    #[test]
    fn a_whole_tree_is_fine_and_may_lack_what_is_not_needed() {
        assert_eq!(check(&Tree::of(&whole())), Vec::<String>::new());
        let mut files = whole();
        files.retain(|(path, _)| *path != "benches/file");
        assert_eq!(check(&Tree::of(&files)), Vec::<String>::new());
    }

    #[test]
    fn what_is_too_much_and_what_is_missing_at_the_top_is_found() {
        assert_one(&check(&with("notes.txt", "")), "notes.txt: does not belong");
        let mut files = whole();
        files.retain(|(path, _)| *path != "README.md");
        assert_one(&check(&Tree::of(&files)), "README.md: is missing");
    }

    #[test]
    fn every_foreign_word_is_found_in_any_case_with_its_line() {
        for (start, end) in FOREIGN {
            let text: &'static str =
                Box::leak(format!("fine\nsee {start}{end}x\n").to_uppercase().into_boxed_str());
            assert_one(&check(&with("docs/page.md", text)), "docs/page.md:2: ");
        }
    }

    #[test]
    fn a_package_from_elsewhere_is_found() {
        let mut files = whole();
        files.retain(|(path, _)| *path != "Cargo.lock");
        let lock = "[[package]]\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n\
                    [[package]]\nsource = \"git+https://example.org/fork\"\n";
        files.push(("Cargo.lock", lock));
        assert_one(&check(&Tree::of(&files)), "example.org/fork");
    }

    #[test]
    fn what_git_leaves_out_is_left_out() {
        let table = [
            ("/target", "", "target", true),
            ("/target", "docs/", "target", false),
            ("*.profraw", "engine/", "a.profraw", true),
            ("perf.data*", "", "perf.data.old", true),
            ("perf.data*", "", "perf", false),
            ("build/", "src/", "build", true),
        ];
        for (pattern, prefix, name, expected) in table {
            assert_eq!(is_ignored(pattern, prefix, name), expected, "{pattern} {prefix}{name}");
        }
    }
}
