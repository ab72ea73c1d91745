//! How long files and functions may be, and the lists of those that are longer. The lists may only become shorter.
//! Tests do not count: a table of cases is data, and a row more is never too much.

use super::source::Source;
use super::tree::Tree;

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// Files of more lines without their tests: path and lines at most.
pub const LONG_FILES: &[(&str, usize)] = &[];

/// Longer functions: path, function and lines at most.
pub const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[];

/// Something that has a length.
struct Measured {
    path: String,
    /// Empty for a file.
    function: String,
    lines: usize,
}

pub fn check(
    tree: &Tree,
    long_files: &[(&str, usize)],
    long_functions: &[(&str, &str, usize)],
) -> Vec<String> {
    let mut files = Vec::new();
    let mut functions = Vec::new();
    for (path, text) in tree.ending(".rs") {
        let source = Source::read(path, text);
        let path = path.to_owned();
        for function in source.functions().into_iter().filter(|function| !function.is_test) {
            functions.push(Measured { path: path.clone(), function: function.name, lines: function.lines });
        }
        files.push(Measured { path, function: String::new(), lines: source.lines_without_tests() });
    }
    let listed_files: Vec<(&str, &str, usize)> =
        long_files.iter().map(|(path, lines)| (*path, "", *lines)).collect();
    let mut findings = compare(&files, &listed_files, FILE_LINES_MAX);
    findings.extend(compare(&functions, long_functions, FUNCTION_LINES_MAX));
    findings
}

/// What is too long and not listed, longer than listed, or listed and no longer too long.
fn compare(measured: &[Measured], listed: &[(&str, &str, usize)], most: usize) -> Vec<String> {
    let mut findings = Vec::new();
    for Measured { path, function, lines } in measured.iter().filter(|measured| measured.lines > most) {
        let allowed = listed.iter().find(|(listed, name, _)| listed == path && name == function);
        let allowed = allowed.map_or(most, |(.., lines)| *lines);
        if *lines > allowed {
            findings.push(format!("{path} {function}: {lines} lines, at most {allowed}; take it apart"));
        }
    }
    for (path, function, _) in listed {
        let is_long = |one: &Measured| one.path == *path && one.function == *function && one.lines > most;
        if !measured.iter().any(is_long) {
            findings.push(format!("{path} {function}: no longer above {most} lines; take it off the list"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::assert_one;

    fn function(lines: usize) -> String {
        format!("//! A file.\nfn long() {{\n{}}}\n", "    a();\n".repeat(lines - 2))
    }

    fn check_function(lines: usize, listed: &[(&str, &str, usize)]) -> Vec<String> {
        check(&Tree::of(&[("src/a.rs", &function(lines))]), &[], listed)
    }

    #[test]
    fn a_function_may_be_as_long_as_the_rule_or_its_entry_says() {
        assert_eq!(check_function(70, &[]), Vec::<String>::new());
        assert_one(&check_function(71, &[]), "src/a.rs long: 71 lines, at most 70");
        assert_eq!(check_function(80, &[("src/a.rs", "long", 80)]), Vec::<String>::new());
        assert_one(&check_function(81, &[("src/a.rs", "long", 80)]), "81 lines, at most 80");
    }

    #[test]
    fn a_test_may_be_as_long_as_its_table() {
        let tree = Tree::of(&[("src/a/tests.rs", &function(200))]);
        assert_eq!(check(&tree, &[], &[]), Vec::<String>::new());
    }

    #[test]
    fn an_entry_that_is_not_needed_is_found() {
        assert_one(&check_function(70, &[("src/a.rs", "long", 80)]), "take it off the list");
        assert_one(&check_function(10, &[("src/gone.rs", "gone", 80)]), "take it off the list");
    }

    #[test]
    fn files_are_measured_without_their_tests() {
        let code = format!("//! A file.\n{}", "use a;\n".repeat(799));
        let tests = format!("{code}#[cfg(test)]\nmod tests {{\n{}}}\n", "use a;\n".repeat(100));
        assert_eq!(check(&Tree::of(&[("src/a.rs", &tests)]), &[], &[]), Vec::<String>::new());
        let longer = format!("{code}use b;\n");
        assert_one(&check(&Tree::of(&[("src/a.rs", &longer)]), &[], &[]), "801 lines, at most 800");
        assert_eq!(
            check(&Tree::of(&[("src/a.rs", &longer)]), &[("src/a.rs", 801)], &[]),
            Vec::<String>::new()
        );
        assert_one(
            &check(&Tree::of(&[("src/a.rs", &code)]), &[("src/a.rs", 801)], &[]),
            "take it off the list",
        );
    }
}
