//! Figures of a row: a name, a value and a unit each, and their median over the runs.

use serde::Serialize;

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    /// It counts what was lost or doubled and should be 0.
    #[serde(skip)]
    pub is_fault: bool,
}

impl Figure {
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, is_fault: false }
    }

    /// What was lost or doubled.
    pub fn fault(name: impl Into<String>, count: u64) -> Self {
        Self { is_fault: true, ..Self::new(name, count as f64, "") }
    }

    /// As a person reads it: whole above a hundred, else two digits.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { name, value, unit, .. } = self;
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

/// The median of each figure, by its place; of an even number of runs it is the mean of the middle two. Of what was lost or
/// doubled it is the most: one bad run among good ones is not hidden. Figures that some runs do not have are left out.
#[must_use]
pub fn median(runs: &[Figures]) -> Figures {
    let places = runs.iter().map(Vec::len).min().unwrap_or(0);
    let mut medians = Figures::new();
    for (place, figure) in runs.first().into_iter().flatten().take(places).enumerate() {
        let mut values: Vec<f64> =
            runs.iter().filter_map(|run| run.get(place)).map(|figure| figure.value).collect();
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or_default();
        let value = match figure.is_fault {
            true => at(values.len() - 1),
            false => f64::midpoint(at((values.len() - 1) / 2), at(values.len() / 2)),
        };
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
    fn the_median_of_an_even_number_of_runs_is_the_mean_of_the_middle_two() {
        let of = |rates: &[f64]| {
            let runs: Vec<Figures> = rates.iter().map(|rate| vec![Figure::new("rate", *rate, "")]).collect();
            median(&runs)[0].value
        };
        assert_eq!((of(&[4.0]), of(&[4.0, 1.0]), of(&[9.0, 1.0, 2.0, 4.0])), (4.0, 2.5, 3.0));
    }

    #[test]
    fn one_run_that_lost_something_is_not_hidden_by_the_others() {
        let run = |lost| vec![Figure::fault("lost", lost)];
        assert_eq!(median(&[run(0), run(3), run(0)]), run(3));
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
