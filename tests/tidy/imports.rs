//! Who may import whom: the table of crates (docs/ARCHITECTURE.md explains it), held against every manifest.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::source::{Source, words};
use super::tree::Tree;

/// What the crate in one folder may depend on.
struct Row {
    folder: &'static str,
    /// Crates of this workspace and packages from outside that its work is made of. It need not use them all.
    may_use: &'static [&'static str],
    /// Libraries beyond those, each with the reason that let it in. One that is no longer used must go from here.
    beyond: &'static [(&'static str, &'static str)],
    /// For its tests only.
    in_tests: &'static [&'static str],
}

const ROWS: [Row; 7] = [
    Row {
        folder: "codecs",
        may_use: &["bytes", "rusmpp", "serde", "unicode-normalization"],
        beyond: &[("thiserror", "derives the texts of error enums; nothing of it is left at run time")],
        in_tests: &["proptest"],
    },
    Row {
        // A workspace of its own, which nobody builds but who fuzzes.
        folder: "codecs/fuzz",
        may_use: &["codecs", "libfuzzer-sys"],
        beyond: &[],
        in_tests: &[],
    },
    Row {
        folder: "config",
        may_use: &["serde", "toml"],
        beyond: &[
            (
                "strsim",
                "finds the known key that an unknown one was meant to be; pure arithmetic on two strings",
            ),
            ("thiserror", "derives the texts of error enums; nothing of it is left at run time"),
        ],
        in_tests: &["proptest", "tempfile"],
    },
    Row {
        folder: "connectors",
        may_use: &[
            "codecs",
            "crossbeam",
            "dashmap",
            "engine",
            "hyper",
            "reqwest",
            "rustls",
            "tokio",
            "tokio-rustls",
            "tokio-util",
        ],
        beyond: &[
            ("siphasher", "the keyed hash of lock-outs, which must read the same after a restart"),
            ("socket2", "sets keep-alive and buffers on sockets, which tokio leaves to it"),
            ("thiserror", "derives the texts of error enums; nothing of it is left at run time"),
            ("tracing", "says that peers come, go and misbehave; the front of logging only"),
            (
                "webpki-roots",
                "the authorities that browsers trust, for providers whose entry names none; data only",
            ),
        ],
        in_tests: &["proptest", "tempfile"],
    },
    Row {
        folder: "engine",
        may_use: &["chrono-tz", "codecs", "config", "phonenumber", "regex", "rust_decimal"],
        beyond: &[
            ("hashbrown", "hash maps whose hasher we choose: std's has random state, which does not replay"),
            ("siphasher", "the keyed hash behind ids and maps, the same in every process and version"),
            ("thiserror", "derives the texts of error enums; nothing of it is left at run time"),
        ],
        in_tests: &["allocation-counter", "proptest"],
    },
    Row {
        folder: "loadtest",
        // `codecs` for writing only: a witness that read with the gateway's code would share its mistakes.
        may_use: &["codecs", "hdrhistogram", "tokio"],
        beyond: &[
            ("axum", "the empty handler beside which the gateway's HTTP door is read"),
            ("clap", "the command line of the tools"),
            ("indicatif", "the progress bar of a run"),
            ("rustix", "ends the programs that a measurement has started, politely"),
            ("serde", "summaries, profiles and records as data"),
            ("serde_json", "the summary and the record as JSON"),
            ("thiserror", "derives the texts of error enums; nothing of it is left at run time"),
            ("tokio-util", "stops the tasks of a run together"),
            ("toml", "reads profiles of simulated providers"),
        ],
        in_tests: &["proptest", "tempfile"],
    },
    Row {
        folder: "storage",
        may_use: &["crc32c", "lz4_flex", "sled", "zstd"],
        beyond: &[
            ("rustix", "locks, syncs and measures file systems without unsafe code of ours"),
            ("thiserror", "derives the texts of error enums; nothing of it is left at run time"),
        ],
        in_tests: &["proptest", "tempfile"],
    },
];

/// Tables of a manifest that name dependencies, and whether tests alone see them.
const TABLES: [(&str, bool); 2] = [("dependencies", false), ("dev-dependencies", true)];

pub fn check(tree: &Tree) -> Vec<String> {
    check_rows(tree, &ROWS)
}

fn check_rows(tree: &Tree, rows: &[Row]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut used = BTreeSet::new();
    for (path, text) in tree.ending("Cargo.toml") {
        let manifest = match text.parse::<Table>() {
            Ok(manifest) => manifest,
            Err(error) => {
                findings.push(format!("{path}: {error}"));
                continue;
            }
        };
        let folder = path.trim_end_matches("Cargo.toml").trim_end_matches('/');
        check_form(path, &manifest, &mut findings);
        check_use(tree, path, folder, &manifest, &mut findings);
        used.extend(names(&manifest));
        match rows.iter().find(|row| row.folder == folder) {
            Some(row) => check_row(path, &manifest, row, &mut findings),
            // The gateway itself joins everything.
            None if folder.is_empty() => {}
            None => findings.push(format!("{path}: stands in no row of the table of imports")),
        }
    }
    for name in outside(tree).difference(&used) {
        findings.push(format!("Cargo.toml: nobody uses `{name}` of the workspace's dependencies; delete it"));
    }
    findings
}

/// The packages from outside that the tables of the workspaces name: of the one at the top, and of what stands apart.
pub fn outside(tree: &Tree) -> BTreeSet<String> {
    let manifests = tree.ending("Cargo.toml").filter_map(|(_, text)| text.parse::<Table>().ok());
    manifests.flat_map(|manifest| outside_in(&manifest)).collect()
}

fn outside_in(manifest: &Table) -> Vec<String> {
    let workspace = manifest.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let table = workspace.and_then(Value::as_table).into_iter().flatten();
    table.filter(|(_, value)| value.get("path").is_none()).map(|(name, _)| name.clone()).collect()
}

/// Versions stand in one place, packages keep their names, and nothing runs while building or on one system only.
fn check_form(path: &str, manifest: &Table, findings: &mut Vec<String>) {
    for table in ["build-dependencies", "target", "patch", "replace"] {
        if manifest.contains_key(table) {
            findings.push(format!("{path}: no [{table}]: it would hide a dependency from this table"));
        }
    }
    for (name, value, _) in dependencies(manifest) {
        if value.get("workspace").and_then(Value::as_bool) != Some(true) {
            findings
                .push(format!("{path}: take `{name}` from the workspace's table: {name}.workspace = true"));
        }
    }
    let workspace = manifest.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    for (name, value) in workspace.and_then(Value::as_table).into_iter().flatten() {
        if value.get("package").is_some() {
            findings.push(format!("{path}: `{name}` is another package's name; leave it its own"));
        }
    }
}

/// A dependency that no source of the crate names is only built and carried along.
fn check_use(tree: &Tree, path: &str, folder: &str, manifest: &Table, findings: &mut Vec<String>) {
    let homes = ["src/", "tests/", "benches/", "fuzz_targets/"].map(|home| format!("{folder}/{home}"));
    let is_own = |path: &str| homes.iter().any(|home| path.starts_with(home.trim_start_matches('/')));
    let sources: Vec<Source> = tree
        .ending(".rs")
        .filter(|(path, _)| is_own(path))
        .map(|(path, text)| Source::read(path, text))
        .collect();
    for (name, ..) in dependencies(manifest) {
        let word = name.replace('-', "_");
        if !sources.iter().any(|source| words(&source.code, &word).next().is_some()) {
            findings.push(format!("{path}: no source of the crate names `{name}`; delete it"));
        }
    }
}

fn check_row(path: &str, manifest: &Table, row: &Row, findings: &mut Vec<String>) {
    for (name, _, is_for_tests) in dependencies(manifest) {
        let is_beyond = row.beyond.iter().any(|(beyond, _)| *beyond == name);
        let is_in_tests = is_for_tests && row.in_tests.contains(&name);
        if !is_beyond && !is_in_tests && !row.may_use.contains(&name) {
            let folder = row.folder;
            findings.push(format!(
                "{path}: {folder} may not use `{name}`; what it may is in tests/tidy/imports.rs"
            ));
        }
    }
    let used = names(manifest);
    for (name, _) in row.beyond.iter().filter(|(name, _)| !used.contains(*name)) {
        findings.push(format!("{path}: no longer uses `{name}`; delete its reason in tests/tidy/imports.rs"));
    }
}

fn names(manifest: &Table) -> BTreeSet<String> {
    dependencies(manifest).map(|(name, ..)| name.to_owned()).collect()
}

/// What a manifest depends on: name, how it is given, and whether for tests only.
fn dependencies(manifest: &Table) -> impl Iterator<Item = (&str, &Value, bool)> {
    TABLES.into_iter().flat_map(|(table, is_for_tests)| {
        let entries = manifest.get(table).and_then(Value::as_table).into_iter().flatten();
        entries.map(move |(name, value)| (name.as_str(), value, is_for_tests))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::assert_one;

    const PLAIN: &str =
        "[workspace.dependencies]\ncore = { path = \"core\" }\nbytes = \"1\"\nproptest = \"1\"\n";
    const ROW: Row =
        Row { folder: "core", may_use: &["bytes"], beyond: &[("nom", "reads")], in_tests: &["proptest"] };

    const SOURCE: &str = "use bytes::Buf;\nuse nom::Parser;\nuse proptest::prelude::*;\nuse tokio::net;\n";

    /// What is found where the crate `core` has this manifest.
    fn found(manifest: &str) -> Vec<String> {
        let root = format!("{PLAIN}nom = \"8\"\ntokio = \"1\"\n[dependencies]\ntokio.workspace = true\n");
        let files = [
            ("Cargo.toml", root.as_str()),
            ("core/Cargo.toml", manifest),
            ("core/src/lib.rs", SOURCE),
            ("src/main.rs", SOURCE),
        ];
        check_rows(&Tree::of(&files), &[ROW])
    }

    const FINE: &str = "[dependencies]\nbytes.workspace = true\nnom = { workspace = true }\n\
                        [dev-dependencies]\nproptest.workspace = true\n";

    #[test]
    fn what_the_row_allows_is_fine() {
        assert_eq!(found(FINE), Vec::<String>::new());
    }

    #[test]
    fn what_the_row_does_not_allow_is_found_in_tests_too() {
        let in_code = FINE.replace("[dev-", "tokio.workspace = true\n[dev-");
        assert_one(&found(&in_code), "core/Cargo.toml: core may not use `tokio`");
        assert_one(&found(&format!("{FINE}tokio.workspace = true\n")), "core may not use `tokio`");
        let for_tests_only = FINE.replace("[dev-dependencies]\n", "");
        assert_one(&found(&for_tests_only), "core may not use `proptest`");
    }

    #[test]
    fn what_would_go_round_the_table_is_found() {
        let table = [
            ("[build-dependencies]\ncc = \"1\"\n", "no [build-dependencies]"),
            ("[target.'cfg(unix)'.dependencies]\ntokio.workspace = true\n", "no [target]"),
            ("bytes = \"1\"\n", "take `bytes` from the workspace's table"),
            ("not toml", "core/Cargo.toml: "),
        ];
        for (end, words) in table {
            let findings = found(&format!("{FINE}{end}"));
            assert!(findings.iter().any(|finding| finding.contains(words)), "{end}: {findings:#?}");
        }
        let renamed = format!("{PLAIN}core2 = {{ package = \"bytes\", version = \"1\" }}\n");
        let findings = check_rows(&Tree::of(&[("Cargo.toml", &renamed)]), &[]);
        assert!(findings.iter().any(|finding| finding.contains("another package's name")), "{findings:#?}");
    }

    #[test]
    fn what_nobody_uses_any_more_is_found() {
        let without = FINE.replace("nom = { workspace = true }\n", "");
        let findings = found(&without);
        assert!(findings.iter().any(|finding| finding.contains("no longer uses `nom`")), "{findings:#?}");
        assert!(findings.iter().any(|finding| finding.contains("nobody uses `nom`")), "{findings:#?}");
    }

    #[test]
    fn what_no_source_names_is_found() {
        let manifest = "[dependencies]\nrustls-pki-types.workspace = true\n";
        let row = Row { folder: "core", may_use: &["rustls-pki-types"], beyond: &[], in_tests: &[] };
        let with = |source| {
            let files = [
                ("core/Cargo.toml", manifest),
                ("core/src/a.rs", source),
                ("src/a.rs", "use rustls_pki_types;"),
            ];
            check_rows(&Tree::of(&files), std::slice::from_ref(&row))
        };
        assert_one(&with("// use rustls_pki_types;"), "no source of the crate names `rustls-pki-types`");
        assert_eq!(with("use rustls_pki_types::Name;"), Vec::<String>::new());
    }

    #[test]
    fn a_workspace_apart_is_held_to_its_row_too() {
        let root = "[workspace.dependencies]\nbytes = \"1\"\n[dependencies]\nbytes.workspace = true\n";
        let apart =
            "[workspace.dependencies]\nnom = \"8\"\ntokio = \"1\"\n[dependencies]\nnom.workspace = true\n";
        let files = [
            ("Cargo.toml", root),
            ("core/Cargo.toml", apart),
            ("core/fuzz_targets/a.rs", "use nom;"),
            ("src/a.rs", "use bytes;"),
        ];
        let tree = Tree::of(&files);
        assert_one(&check_rows(&tree, &[ROW]), "nobody uses `tokio`");
        assert_eq!(outside(&tree), BTreeSet::from(["bytes", "nom", "tokio"].map(str::to_owned)));
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        let tree = Tree::of(&[("Cargo.toml", ""), ("extra/Cargo.toml", "")]);
        assert_one(&check_rows(&tree, &[]), "extra/Cargo.toml: stands in no row");
    }

    #[test]
    fn the_pure_crates_have_no_way_to_the_outside() {
        for row in ROWS.iter().filter(|row| ["codecs", "engine", "config"].contains(&row.folder)) {
            for outside in
                ["tokio", "sled", "axum", "hyper", "reqwest", "rustls", "socket2", "getrandom", "storage"]
            {
                let names =
                    row.may_use.iter().chain(row.in_tests).chain(row.beyond.iter().map(|(name, _)| name));
                assert!(!names.copied().any(|name| name == outside), "{} and {outside}", row.folder);
            }
        }
    }
}
