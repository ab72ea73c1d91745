//! The table of the rows as Markdown, and its place in a document. It measures nothing and knows no row.

use std::fmt::Write;

use super::Measured;

/// Between these the table stands in a document.
pub const BEGIN: &str = "<!-- loadtest suite: begin -->";
pub const END: &str = "<!-- loadtest suite: end -->";

/// A table with a line for each row.
#[must_use]
pub fn markdown(measured: &[Measured]) -> String {
    let mut text = String::from("| row | work | reach | measured |\n|---|---|---|---|\n");
    for row in measured {
        let figures = match &row.failed {
            Some(reason) => format!("not measured: {reason}"),
            None => row.figures.iter().map(super::Figure::text).collect::<Vec<_>>().join(", "),
        };
        let figures = figures.replace('|', "\\|");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| `{}` | {} | {} | {figures} |", row.name, row.work, row.reach);
    }
    text
}

/// The document with its table replaced; rows that were not measured now keep the lines they have. None without the markers.
#[must_use]
pub fn placed(document: &str, measured: &[Measured]) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (old, after) = rest.split_once(END)?;
    let new = markdown(measured);
    let mut lines: Vec<&str> = new.lines().take(2).collect();
    let name = |line: &str| line.split('`').nth(1).map(str::to_owned);
    let fresh = |wanted: &str| new.lines().skip(2).find(|line| name(line).as_deref() == Some(wanted));
    for row in super::rows() {
        let kept = || old.lines().find(|line| name(line).as_deref() == Some(row.name));
        lines.extend(fresh(row.name).or_else(kept));
    }
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::{Figure, Figures};

    fn measured(name: &'static str, rate: f64) -> Measured {
        let figures = vec![Figure::new("rate", rate, "/s")];
        Measured { name, work: "work", reach: "much", figures, failed: None }
    }

    #[test]
    fn a_table_takes_its_place_and_leaves_the_rest_of_the_document_and_of_the_rows() {
        let document = format!("# Title\n\n{BEGIN}\n{END}\n\nmore\n");
        let first = placed(&document, &[measured("smpp", 1_000.0), measured("http", 5.0)]).unwrap();
        let second = placed(&first, &[measured("http", 7.0)]).unwrap();
        assert!(second.starts_with("# Title\n\n") && second.ends_with("\n\nmore\n"), "{second}");
        assert!(second.contains("| `smpp` | work | much | rate 1,000/s |"), "{second}");
        assert!(second.contains("rate 7/s") && !second.contains("rate 5/s"), "{second}");
        assert_eq!(placed("# No markers\n", &[]), None);
    }

    #[test]
    fn a_row_that_could_not_be_measured_says_why() {
        let failed = Some("no | such thing".to_owned());
        let row = Measured { figures: Figures::new(), failed, ..measured("smpp", 0.0) };
        assert!(markdown(&[row]).contains("not measured: no \\| such thing"));
    }
}
