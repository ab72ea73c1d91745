//! When a run is over: all is finished, nothing more is heard, or somebody asks it to end. It sends and receives nothing.

use tokio_util::sync::CancellationToken;

use crate::book::Book;

/// How long a run that is asked to end waits for what is on its way, in microseconds.
const MOMENT: u64 = 1_000_000;
const SECOND: f64 = 1_000_000.0;

/// How a run has ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ended {
    /// Somebody has asked for it.
    pub asked: bool,
    /// Nothing more was heard, and not all was finished.
    pub timed_out: bool,
    /// Accepted and without a receipt when the sending stopped.
    pub backlog: u64,
}

/// Looks at the books of a run from time to time.
#[derive(Debug)]
pub struct Ending {
    /// How long nothing may be heard.
    timeout: u64,
    /// When the sending stops, where it does so at a time.
    stop_at: Option<u64>,
    asked: CancellationToken,
    /// When it was seen that somebody asks.
    asked_at: Option<u64>,
    /// Accepted and without a receipt when the sending stopped.
    backlog: u64,
    seen: u64,
    seen_at: u64,
}

impl Ending {
    /// For a run that ends when nothing is heard for `timeout` seconds, stops sending after `seconds`, and ends when `asked`.
    #[must_use]
    pub fn new(timeout: f64, seconds: Option<f64>, asked: CancellationToken) -> Self {
        let stop_at = seconds.map(|seconds| (seconds * SECOND) as u64);
        let timeout = (timeout * SECOND) as u64;
        Self { timeout, stop_at, asked, asked_at: None, backlog: 0, seen: u64::MAX, seen_at: 0 }
    }

    /// Stops the sending when it is time for that; answers whether the run is over.
    pub fn is_over(&mut self, book: &mut Book, now: u64) -> bool {
        if self.asked.is_cancelled() {
            self.asked_at.get_or_insert(now);
        }
        let is_time = self.asked_at.is_some() || self.stop_at.is_some_and(|at| now >= at);
        if is_time && !book.is_stopped() {
            book.stop();
            self.backlog = book.backlog();
        }
        if book.progress() != self.seen {
            (self.seen, self.seen_at) = (book.progress(), now);
        }
        let is_asked = self.asked_at.is_some_and(|at| now.saturating_sub(at) >= MOMENT);
        book.is_finished() || is_asked || now.saturating_sub(self.seen_at) > self.timeout
    }

    /// How the run came to its end.
    #[must_use]
    pub fn ended(&self, book: &Book) -> Ended {
        let asked = self.asked_at.is_some();
        Ended { asked, timed_out: !asked && !book.is_finished(), backlog: self.backlog }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: u64 = 1_000_000;

    /// The books of a run that has sent one of a hundred messages.
    fn begun() -> Book {
        let mut book = Book::new(100, None, true);
        assert_eq!(book.next_to_send(0), Some(0));
        book
    }

    #[test]
    fn a_run_is_over_when_nothing_is_heard_for_its_time() {
        let mut book = begun();
        let mut ending = Ending::new(5.0, None, CancellationToken::new());
        assert!(!ending.is_over(&mut book, 0) && !ending.is_over(&mut book, 5 * SECONDS));
        book.accepted(0, 1, 5 * SECONDS);
        // A connection that nobody takes is nothing that is heard.
        let serial = book.next_to_send(6 * SECONDS).unwrap();
        assert!(!ending.is_over(&mut book, 6 * SECONDS));
        book.not_sent(serial, 7 * SECONDS);
        assert!(!ending.is_over(&mut book, 11 * SECONDS) && ending.is_over(&mut book, 11 * SECONDS + 1));
        let Ended { asked, timed_out, .. } = ending.ended(&book);
        assert_eq!((asked, timed_out), (false, true));
    }

    #[test]
    fn a_run_of_seconds_stops_sending_and_waits_for_what_is_on_its_way() {
        let mut book = begun();
        let mut ending = Ending::new(30.0, Some(2.0), CancellationToken::new());
        book.accepted(0, 1, 1);
        assert!(!ending.is_over(&mut book, 2 * SECONDS - 1) && !book.is_stopped());
        assert!(!ending.is_over(&mut book, 2 * SECONDS) && book.is_stopped());
        assert_eq!((ending.ended(&book).backlog, book.sent()), (1, 1));
        book.receipt(0, 1, 2, 3 * SECONDS);
        assert!(ending.is_over(&mut book, 3 * SECONDS) && !ending.ended(&book).timed_out);
    }

    #[test]
    fn a_run_that_is_asked_to_end_sends_nothing_more_and_waits_for_a_moment() {
        let (mut book, asked) = (begun(), CancellationToken::new());
        let mut ending = Ending::new(30.0, None, asked.clone());
        assert!(!ending.is_over(&mut book, SECONDS) && !book.is_stopped());
        asked.cancel();
        assert!(!ending.is_over(&mut book, 2 * SECONDS) && book.is_stopped());
        assert_eq!(book.next_to_send(2 * SECONDS), None);
        assert!(ending.is_over(&mut book, 3 * SECONDS));
        let Ended { asked, timed_out, .. } = ending.ended(&book);
        assert_eq!((asked, timed_out), (true, false));
    }
}
