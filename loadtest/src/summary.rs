//! What a run has come to: the figures that are printed, written as JSON and drawn in the report.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{
    book::Book,
    ending::Ended,
    measure::{Percentiles, Point},
    watch::Watched,
    wire::STATES,
};

/// Points that a series is given with at most.
const POINTS_MAX: usize = 240;

/// The shape of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Shape {
    /// `smpp` or `http`.
    pub kind: &'static str,
    pub target: String,
    pub connections: usize,
    /// Unanswered requests a connection, over SMPP; messages a request, over HTTP.
    pub window: usize,
    /// Messages to send, or the seconds to send for.
    pub count: u64,
    pub send_seconds: Option<f64>,
    pub rate: Option<f64>,
}

/// The result of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    #[serde(flatten)]
    pub shape: Shape,
    pub sent: u64,
    pub accepted: u64,
    /// By status or code.
    pub refused: BTreeMap<String, u64>,
    /// Answers "not now"; those messages were sent again.
    pub throttled: u64,
    /// Refused for now when the sending had stopped.
    pub given_up: u64,
    /// Accepted and without a receipt at the moment when the sending stopped.
    pub backlog_when_stopped: u64,
    pub unanswered: u64,
    /// Final receipts by state, and over HTTP the final states of the polled sample.
    pub receipts: BTreeMap<String, u64>,
    pub intermediate_receipts: u64,
    /// Receipts of messages that had asked for none.
    pub unasked_receipts: u64,
    /// Accepted, and no receipt came; of a sample polled over HTTP also what was not final in time.
    pub lost: u64,
    /// A second receipt for one message, or one id for two messages.
    pub duplicates: u64,
    pub unknown_receipts: u64,
    /// Receipts that name another id than the response did.
    pub wrong_ids: u64,
    pub stray_answers: u64,
    pub inbound: u64,
    pub inbound_repeated: u64,
    pub disconnects: u64,
    /// The run ended because nothing more was heard.
    pub timed_out: bool,
    /// Somebody has asked the run to end; what was open then counts as lost or unanswered.
    pub interrupted: bool,
    pub seconds: f64,
    /// Accepted, a second, until the last answer.
    pub accepted_per_second: f64,
    /// Accepted and receipted, a second, until the last receipt; accepted alone where no receipts were asked for.
    pub messages_per_second: f64,
    pub accept_milliseconds: Percentiles,
    pub end_to_end_milliseconds: Percentiles,
    /// Processor time of the generator itself.
    pub generator_cpu_seconds: f64,
    pub generator_cpu_microseconds_per_message: f64,
    pub series: Vec<Point>,
    /// What was seen of the gateway from outside.
    pub watched: Option<Watched>,
}

impl Summary {
    /// Closes the books.
    #[must_use]
    pub(crate) fn new(shape: Shape, book: &mut Book, ended: &Ended, cpu_seconds: f64) -> Self {
        let counts = book.counts.clone();
        let answered = counts.last_answer as f64 / 1_000_000.0;
        let last = counts.last_answer.max(counts.last_receipt) as f64 / 1_000_000.0;
        let receipts = STATES.iter().zip(counts.receipts).filter(|(_, count)| *count > 0);
        Self {
            sent: book.sent(),
            accepted: counts.accepted,
            throttled: counts.throttled,
            given_up: counts.given_up,
            backlog_when_stopped: ended.backlog,
            watched: None,
            unanswered: counts.unanswered,
            receipts: receipts.map(|((word, _), count)| ((*word).to_owned(), count)).collect(),
            intermediate_receipts: counts.intermediate,
            unasked_receipts: counts.unasked,
            lost: book.lost(),
            duplicates: counts.duplicates + book.repeated_ids(),
            unknown_receipts: counts.unknown,
            wrong_ids: counts.wrong_ids,
            stray_answers: counts.stray_answers,
            inbound: counts.inbound,
            inbound_repeated: counts.inbound_repeated,
            disconnects: counts.disconnects,
            timed_out: ended.timed_out,
            interrupted: ended.asked,
            seconds: last,
            accepted_per_second: rate(counts.accepted, answered),
            messages_per_second: rate(book.finished(), last),
            accept_milliseconds: book.accept.percentiles(),
            end_to_end_milliseconds: book.end_to_end.percentiles(),
            generator_cpu_seconds: cpu_seconds,
            generator_cpu_microseconds_per_message: cpu_seconds * 1_000_000.0 / counts.accepted.max(1) as f64,
            series: book.series.points(POINTS_MAX),
            refused: counts.refused,
            shape,
        }
    }

    /// Receipts that a gateway has told over SMPP.
    #[must_use]
    pub fn told(&self) -> u64 {
        if self.shape.kind == "smpp" { self.receipts.values().sum() } else { 0 }
    }

    /// Nothing was lost, came twice, had another's id or stayed without an answer, and something was accepted. Refusals of some
    /// messages beside others that are accepted may be what a run is about.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let faults = self.lost + self.duplicates + self.wrong_ids + self.unanswered;
        faults == 0 && !self.timed_out && !self.interrupted && (self.accepted > 0 || self.sent == 0)
    }
}

fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape { kind, target, connections, window, .. } = &self.shape;
        let unit = if *kind == "http" { "messages a request" } else { "window" };
        writeln!(f, "{kind} {target}, {connections} connections, {unit} {window}")?;
        writeln!(f, "  sent             {:>12}", self.sent)?;
        writeln!(f, "  accepted         {:>12}   {:.0} a second", self.accepted, self.accepted_per_second)?;
        write_map(f, "refused", &self.refused)?;
        write_map(f, "receipts", &self.receipts)?;
        for (name, count) in [
            ("not now", self.throttled),
            ("given up", self.given_up),
            ("open at the stop", self.backlog_when_stopped),
            ("unanswered", self.unanswered),
            ("not final yet", self.intermediate_receipts),
            ("unasked receipts", self.unasked_receipts),
            ("unknown receipts", self.unknown_receipts),
            ("wrong ids", self.wrong_ids),
            ("stray answers", self.stray_answers),
            ("inbound", self.inbound),
            ("inbound again", self.inbound_repeated),
            ("disconnects", self.disconnects),
        ] {
            if count > 0 {
                writeln!(f, "  {name:<16} {count:>12}")?;
            }
        }
        writeln!(f, "  lost             {:>12}", self.lost)?;
        writeln!(f, "  duplicates       {:>12}", self.duplicates)?;
        if self.timed_out {
            writeln!(f, "  ended because nothing more was heard")?;
        }
        if self.interrupted {
            writeln!(f, "  ended by a signal; what was open then counts as lost or unanswered")?;
        }
        writeln!(
            f,
            "  end to end       {:>12.0} messages a second in {:.2} s",
            self.messages_per_second, self.seconds
        )?;
        write_latency(f, "accept", &self.accept_milliseconds)?;
        write_latency(f, "end to end", &self.end_to_end_milliseconds)?;
        write!(
            f,
            "  generator's CPU  {:>12.2} µs a message ({:.2} s)",
            self.generator_cpu_microseconds_per_message, self.generator_cpu_seconds
        )?;
        for (name, figures) in self.watched.iter().flat_map(Watched::rows) {
            write!(f, "\n  {name:<20} {figures}")?;
        }
        Ok(())
    }
}

fn write_map(f: &mut fmt::Formatter<'_>, name: &str, counts: &BTreeMap<String, u64>) -> fmt::Result {
    for (key, count) in counts {
        writeln!(f, "  {name:<16} {count:>12}   {key}")?;
    }
    Ok(())
}

fn write_latency(f: &mut fmt::Formatter<'_>, name: &str, latency: &Percentiles) -> fmt::Result {
    if latency.samples == 0 {
        return Ok(());
    }
    let Percentiles { p50, p90, p99, p999, max, .. } = latency;
    writeln!(
        f,
        "  {name:<12} ms   p50 {p50:.2}   p90 {p90:.2}   p99 {p99:.2}   p99.9 {p999:.2}   max {max:.2}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_sent(count: u32, receipts_wanted: bool) -> Book {
        let mut book = Book::new(count, None, receipts_wanted);
        while book.next_to_send(0).is_some() {}
        book
    }

    #[test]
    fn only_a_run_in_which_something_worked_and_nothing_was_missed_is_clean() {
        let of = |accepted: u64, change: fn(&mut Summary)| {
            let mut summary = Summary { sent: 10, accepted, ..Summary::default() };
            change(&mut summary);
            summary.is_clean()
        };
        assert!(of(10, |_| {}));
        assert!(of(4, |run| run.throttled = 7) && of(4, |run| _ = run.refused.insert("0x14".into(), 6)));
        assert!(!of(0, |run| _ = run.refused.insert("unauthorized".into(), 10)) && !of(0, |_| {}));
        assert!(!of(10, |run| run.lost = 1) && !of(10, |run| run.duplicates = 1));
        assert!(!of(9, |run| run.unanswered = 1) && !of(10, |run| run.wrong_ids = 1));
        assert!(!of(10, |run| run.timed_out = true) && !of(10, |run| run.interrupted = true));
    }

    #[test]
    fn without_the_receipts_that_were_asked_for_nothing_went_end_to_end() {
        for (receipts_wanted, wanted) in [(true, 0.0), (false, 10.0)] {
            let mut book = all_sent(10, receipts_wanted);
            (0..10).for_each(|serial| book.accepted(serial, u64::from(serial), 1_000_000));
            let summary = Summary::new(Shape::default(), &mut book, &Ended::default(), 0.0);
            assert_eq!((summary.accepted_per_second, summary.messages_per_second), (10.0, wanted));
        }
    }
}
