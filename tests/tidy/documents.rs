//! What must hold of the documents: one title, links inside the repository that lead somewhere, and a reason for every
//! dependency. Links to the outside are not followed.

use std::collections::BTreeMap;

use super::imports;
use super::tree::Tree;

/// The page with a line of reason for each dependency.
const REASONS: &str = "docs/dependencies.md";

pub fn check(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".md") {
        let lines = prose(text);
        let titles = lines.iter().filter(|(_, line)| line.starts_with("# ")).count();
        if titles != 1 {
            findings.push(format!("{path}: {titles} titles (`# `), there must be one"));
        }
        for (number, line) in &lines {
            for target in targets(line) {
                if leads_nowhere(tree, path, target) {
                    findings.push(format!("{path}:{number}: the link to {target} leads nowhere"));
                }
            }
        }
    }
    findings
}

/// Each package of the workspace's table has one line "- `name`: reason", and each such line a package.
pub fn check_dependencies(tree: &Tree) -> Vec<String> {
    let Some(text) = tree.text(REASONS) else { return vec![format!("{REASONS}: is missing")] };
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let mut findings = Vec::new();
    for (name, reason) in text.lines().filter_map(entry) {
        *reasons.entry(name).or_default() += 1;
        if reason.is_empty() {
            findings.push(format!("{REASONS}: `{name}` has no reason"));
        }
    }
    let used = imports::outside(tree);
    for name in &used {
        match reasons.get(name.as_str()) {
            Some(1) => {}
            Some(count) => findings.push(format!("{REASONS}: {count} lines for `{name}`, there must be one")),
            None => findings.push(format!("{REASONS}: no line for `{name}`; say in one why it is needed")),
        }
    }
    for name in reasons.keys().filter(|name| !used.contains(**name)) {
        findings.push(format!("{REASONS}: `{name}` is no longer a dependency; delete its line"));
    }
    findings
}

fn entry(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("- `")?.split_once('`')?;
    Some((name, rest.trim_start_matches(':').trim()))
}

/// The lines that are not inside a fence, with their numbers from 1, and without what is in backticks.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut in_fence = false;
    for (index, line) in text.lines().enumerate() {
        let is_fence = line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~");
        in_fence ^= is_fence;
        if !in_fence && !is_fence {
            let outside_of_backticks: Vec<&str> = line.split('`').step_by(2).collect();
            lines.push((index + 1, outside_of_backticks.join("`")));
        }
    }
    lines
}

/// Where the links of a line go: `[…](target "title")` and `[…]: target`.
fn targets(line: &str) -> Vec<&str> {
    let inline = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let is_definition = line.starts_with('[') && !line.starts_with("[^");
    let defined = line.split_once("]: ").filter(|_| is_definition).map(|(_, target)| target);
    let targets = inline.chain(defined).filter_map(|target| target.split_whitespace().next());
    targets.map(|target| target.trim_matches(['<', '>'])).collect()
}

fn leads_nowhere(tree: &Tree, from: &str, target: &str) -> bool {
    let path = target.split(['#', '?']).next().unwrap_or_default();
    if path.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return false;
    }
    let mut place: Vec<&str> = match path.starts_with('/') {
        true => Vec::new(),
        false => from.split('/').collect(),
    };
    place.pop();
    for step in path.split('/') {
        match step {
            "" | "." => {}
            ".." if place.pop().is_none() => return true,
            ".." => {}
            step => place.push(step),
        }
    }
    !tree.has(&place.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::assert_one;

    /// What is found where `docs/page.md` says this under its title.
    fn found(text: &str) -> Vec<String> {
        let page = format!("# Page\n\n{text}\n");
        check(&Tree::of(&[
            ("docs/page.md", &page),
            ("docs/adr/one.md", "# One\n"),
            ("README.md", "# Read\n"),
        ]))
    }

    #[test]
    fn a_page_without_one_title_is_found() {
        assert_eq!(found("## Part\n\n```\n# a comment\n```"), Vec::<String>::new());
        assert_one(&found("# Another"), "docs/page.md: 2 titles");
        assert_one(&check(&Tree::of(&[("a.md", "## Part\n")])), "a.md: 0 titles");
    }

    #[test]
    fn links_are_followed_inside_the_repository_only() {
        let fine = [
            "[a](adr/one.md)",
            "[a](./adr/one.md#part \"title\")",
            "[a](../README.md) and [b](adr)",
            "[a](/docs/adr/one.md)",
            "[a]: adr/one.md",
            "[a](#part), [b](https://example.org/x), [c](mailto:a@example.org)",
            "`[a](gone.md)`",
            "```\n[a](gone.md)\n```",
        ];
        for text in fine {
            assert_eq!(found(text), Vec::<String>::new(), "{text}");
        }
        let broken =
            ["[a](gone.md)", "x [a](README.md) y", "[a](../../README.md)", "[a]: gone.md", "[a](<gone.md>)"];
        for text in broken {
            assert_one(&found(text), "docs/page.md:3: the link to");
        }
    }

    #[test]
    fn a_dependency_without_its_line_is_found_and_a_line_without_its_dependency_too() {
        let root = "[workspace.dependencies]\nengine = { path = \"engine\" }\nbytes = \"1\"\nnom = { version = \"8\" }\n";
        let table = [
            ("- `bytes`: buffers.\n- `nom`: grammar.\n", None),
            ("- `bytes`: buffers.\n", Some("no line for `nom`")),
            ("- `bytes`: buffers.\n- `nom`:\n", Some("`nom` has no reason")),
            ("- `bytes`: b.\n- `nom`: g.\n- `nom`: g.\n", Some("2 lines for `nom`")),
            ("- `bytes`: b.\n- `nom`: g.\n- `sled`: log.\n", Some("`sled` is no longer")),
        ];
        for (page, expected) in table {
            let findings = check_dependencies(&Tree::of(&[("Cargo.toml", root), (REASONS, page)]));
            match expected {
                None => assert_eq!(findings, Vec::<String>::new()),
                Some(words) => assert_one(&findings, words),
            }
        }
        assert_one(&check_dependencies(&Tree::of(&[("Cargo.toml", root)])), "is missing");
    }
}
