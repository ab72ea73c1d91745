//! What must hold of every Rust source: its first line, and what must not stand in it. How long it may be is `lengths`'.

use super::source::{Source, calls, words};
use super::tree::Tree;

/// Where the outside begins: not for `codecs` and `engine`, which are given what they need.
const OUTSIDE: [&str; 6] = ["std::env", "std::fs", "std::net", "std::process", "std::thread", "SystemTime"];

/// The only sources that may name sled.
const SLED_AT_HOME: [&str; 2] = ["storage/src/database.rs", "storage/src/database/"];

/// Tests that let time pass because the moment is what they test, each with what that moment is.
const MAY_SLEEP: &[(&str, &str)] =
    &[("storage/src/journal/tests/child.rs", "a process is killed at a random moment of its writing")];

pub fn check(tree: &Tree) -> Vec<String> {
    check_with(tree, MAY_SLEEP)
}

fn check_with(tree: &Tree, may_sleep: &[(&str, &str)]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut slept = Vec::new();
    for (path, text) in tree.ending(".rs") {
        if !text.starts_with("//! ") {
            findings.push(format!("{path}: begin with a `//!` line: what the file owns and what not"));
        }
        let source = Source::read(path, text);
        for (number, code, is_test) in source.lines() {
            let found = unfinished(code).or_else(|| without_bound(code)).or_else(|| misplaced(path, code));
            findings.extend(found.map(|what| format!("{path}:{number}: {what}")));
            if is_test && calls(code, "sleep") {
                slept.push((path, number));
            }
        }
    }
    check_sleep(&slept, may_sleep, &mut findings);
    findings
}

fn check_sleep(slept: &[(&str, usize)], may_sleep: &[(&str, &str)], findings: &mut Vec<String>) {
    for (path, number) in slept {
        if !may_sleep.iter().any(|(listed, _)| listed == path) {
            let what = "a test that sleeps is slow or lies: wait for what is to happen";
            findings.push(format!("{path}:{number}: {what}"));
        }
    }
    for (listed, _) in may_sleep {
        if !slept.iter().any(|(path, _)| path == listed) {
            findings.push(format!("{listed}: does not sleep; take it off the list in tests/tidy/sources.rs"));
        }
    }
}

fn unfinished(code: &str) -> Option<String> {
    for word in ["todo", "unimplemented", "dbg"] {
        let is_macro = |after: &str| after.starts_with('!') && !after.starts_with("!=");
        if words(code, word).any(|start| is_macro(&code[start + word.len()..])) {
            return Some(format!("`{word}!` is for work in progress"));
        }
    }
    let is_ignored = code.contains("#[ignore") || code.contains(", ignore)]");
    is_ignored.then(|| "an ignored test shows nothing: mend it or delete it".to_owned())
}

fn without_bound(code: &str) -> Option<String> {
    let found = words(code, "unbounded_channel").next().is_some() || calls(code, "unbounded");
    found.then(|| "every queue has a bound".to_owned())
}

/// What belongs to another crate or another file.
fn misplaced(path: &str, code: &str) -> Option<String> {
    let is_in = |folder: &str| path.starts_with(folder);
    if is_in("codecs/src/") || is_in("engine/src/") {
        let found = OUTSIDE.into_iter().find(|outside| words(code, outside).next().is_some());
        return found
            .map(|outside| format!("a pure crate knows no `{outside}`: what it needs comes as a parameter"));
    }
    if words(code, "sled").any(|start| code[start..].starts_with("sled::"))
        && !SLED_AT_HOME.into_iter().any(is_in)
    {
        return Some("only storage/src/database.rs and what lies below it name sled".to_owned());
    }
    let uses = |start: usize| !code[start..].starts_with("loadtest::smsc");
    let is_more = is_in("src/") && words(code, "loadtest").any(uses);
    is_more
        .then(|| "of loadtest the gateway uses the simulator only, as its sandbox: loadtest::smsc".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::assert_one;

    /// What is found in a source whose second line is this.
    fn found(path: &str, line: &str) -> Vec<String> {
        check_with(&Tree::of(&[(path, &format!("//! A file.\n{line}\n"))]), &[])
    }

    #[test]
    fn a_source_without_its_first_line_is_found() {
        assert_one(&check_with(&Tree::of(&[("src/a.rs", "// A file.\n")]), &[]), "src/a.rs: begin with");
        assert_eq!(found("src/a.rs", "fn main() {}"), Vec::<String>::new());
    }

    #[test]
    fn what_must_not_stand_anywhere_is_found() {
        let table = [
            ("fn a() { todo!() }", "todo!"),
            ("fn a() { unimplemented!(\"later\") }", "unimplemented!"),
            ("fn a() { dbg![x]; }", "dbg!"),
            ("#[ignore = \"slow\"]", "ignored"),
            ("#[cfg_attr(slow, ignore)]", "ignored"),
            ("let a = mpsc::unbounded_channel();", "bound"),
            ("let a = unbounded::<u8>();", "bound"),
            ("let a = channel::unbounded();", "bound"),
        ];
        for (line, words) in table {
            let findings = found("storage/src/a.rs", line);
            assert_one(&findings, words);
            assert!(findings[0].starts_with("storage/src/a.rs:2: "), "{findings:?}");
        }
    }

    #[test]
    fn what_is_only_spoken_of_is_fine() {
        for line in ["// todo!() and dbg!()", "let a = \"unbounded()\";", "let todo = 1;", "if todo!=done {}"]
        {
            assert_eq!(found("src/a.rs", line), Vec::<String>::new(), "{line}");
        }
    }

    #[test]
    fn only_tests_may_not_sleep() {
        let line = "fn a() { thread::sleep(PAUSE); }";
        assert_eq!(found("src/a.rs", line), Vec::<String>::new());
        assert_one(&found("tests/a.rs", line), "sleeps");
        assert_one(&found("src/a.rs", &format!("#[cfg(test)] mod tests {{ {line} }}")), "sleeps");
    }

    #[test]
    fn the_list_of_tests_that_may_sleep_only_becomes_shorter() {
        let listed = &[("tests/kill.rs", "the moment of the kill")];
        let sleeps = Tree::of(&[("tests/kill.rs", "//! Kills.\nfn a() { sleep(MOMENT); }\n")]);
        assert_eq!(check_with(&sleeps, listed), Vec::<String>::new());
        let waits = Tree::of(&[("tests/kill.rs", "//! Kills.\nfn a() { wait(); }\n")]);
        assert_one(&check_with(&waits, listed), "does not sleep");
    }

    #[test]
    fn the_outside_in_a_pure_crate_is_found() {
        for outside in OUTSIDE {
            let line = format!("use {outside}::Thing;");
            assert_one(&found("engine/src/a.rs", &line), outside);
            assert_one(&found("codecs/src/a.rs", &line), outside);
            assert_eq!(found("connectors/src/a.rs", &line), Vec::<String>::new());
        }
    }

    #[test]
    fn sled_and_the_load_test_are_named_where_they_belong() {
        let sled = "let a: sled::Db = b;";
        assert_one(&found("storage/src/journal.rs", sled), "sled");
        assert_eq!(found("storage/src/database/tail.rs", sled), Vec::<String>::new());
        assert_one(&found("src/sandbox.rs", "use loadtest::measure::Rate;"), "loadtest::smsc");
        assert_eq!(found("src/sandbox.rs", "use loadtest::smsc::Simulator;"), Vec::<String>::new());
        assert_eq!(found("tests/flow.rs", "use loadtest::smpp::Options;"), Vec::<String>::new());
    }
}
