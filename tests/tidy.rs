//! What must hold of the repository as a text: who imports whom, how sources and documents look, what lies at the top.
//! It builds nothing and runs nothing. Each check takes a tree of files, so that its own tests can plant what it must find.

mod documents;
mod imports;
mod lengths;
mod source;
mod sources;
mod tree;

use tree::Tree;

#[test]
fn every_crate_imports_only_what_its_row_allows() {
    assert_none(&imports::check(Tree::of_this_repository()));
}

#[test]
fn sources_say_what_they_own_and_hold_nothing_unfinished() {
    assert_none(&sources::check(Tree::of_this_repository()));
}

#[test]
fn files_and_functions_stay_short() {
    let tree = Tree::of_this_repository();
    assert_none(&lengths::check(tree, lengths::LONG_FILES, lengths::LONG_FUNCTIONS));
}

#[test]
fn documents_have_one_title_and_links_that_lead_somewhere() {
    assert_none(&documents::check(Tree::of_this_repository()));
}

#[test]
fn every_dependency_has_its_reason() {
    assert_none(&documents::check_dependencies(Tree::of_this_repository()));
}

#[test]
fn the_top_holds_what_belongs_there_and_no_file_names_a_machine() {
    assert_none(&tree::check(Tree::of_this_repository()));
}

/// Fails with everything that was found, a line each.
fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "{} to mend:\n{}\n", findings.len(), findings.join("\n"));
}

/// For the tests of the checks: exactly one finding, and it says this.
#[track_caller]
fn assert_one(findings: &[String], words: &str) {
    assert!(
        findings.len() == 1 && findings[0].contains(words),
        "wanted one finding of {words:?}, got {findings:#?}"
    );
}
