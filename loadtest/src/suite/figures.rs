//! Figures of a row: a name, a value and a unit each, and their median over the runs.

use serde::Serialize;

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
}

impl Figure {
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit }
    }

    /// As a person reads it: whole above a hundred, else two digits.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { name, value, unit } = self;
        let number = if value.fract() == 0.0 || value.abs() >= 100.0 {
            with_commas(*value)
        } else {
            format!("{value:.2}")
        };
        let gap = if unit.is_empty() || unit.starts_with('/') { "" } else { " " };
        format!("{name} {number}{gap}{unit}")
    }
}

/// The figures of a row, in order.
pub type Figures = Vec<Figure>;

/// The median of each figure, by its place; figures that some runs do not have are left out.
#[must_use]
pub fn median(runs: &[Figures]) -> Figures {
    let places = runs.iter().map(Vec::len).min().unwrap_or(0);
    let mut medians = Figures::new();
    for (place, figure) in runs.first().into_iter().flatten().take(places).enumerate() {
        let mut values: Vec<f64> =
            runs.iter().filter_map(|run| run.get(place)).map(|figure| figure.value).collect();
        values.sort_by(f64::total_cmp);
        let value = values.get(values.len() / 2).copied().unwrap_or_default();
        medians.push(Figure { value, ..figure.clone() });
    }
    medians
}

fn with_commas(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_each_figure_is_its_own() {
        let run = |rate, latency| vec![Figure::new("rate", rate, "/s"), Figure::new("p50", latency, "ms")];
        let found = median(&[run(10.0, 3.0), run(30.0, 1.0), run(20.0, 2.0)]);
        assert_eq!(found, run(20.0, 2.0));
        assert_eq!(median(&[]), Figures::new());
    }

    #[test]
    fn numbers_are_written_for_people() {
        for (figure, text) in [
            (Figure::new("rate", 278_304.4, "/s"), "rate 278,304/s"),
            (Figure::new("p50", 0.204, "ms"), "p50 0.20 ms"),
            (Figure::new("lost", 0.0, ""), "lost 0"),
            (Figure::new("growth", -1_234.5, "B"), "growth -1,234 B"),
        ] {
            assert_eq!(figure.text(), text);
        }
    }
}
