//! The books of a run: what was sent, answered and reported for every message, in flat arrays indexed by its serial.
//! Lost and duplicate are found here and nowhere else.

use std::collections::{BTreeMap, HashSet, VecDeque};

use crate::{
    measure::{Latency, Series},
    wire::STATES,
};

const ACCEPTED: u8 = 1;
const REFUSED: u8 = 2;
const UNANSWERED: u8 = 4;
const RECEIPTED: u8 = 8;
const KNOWN_ID: u8 = 16;
const WRONG_ID: u8 = 32;

/// When messages should go: `burst` of them at a time, `rate` a second.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    pub rate: f64,
    pub burst: u32,
}

impl Schedule {
    /// The moment at which a message should go, in microseconds since the start.
    fn intended(self, serial: u32) -> u64 {
        let first = serial - serial % self.burst.max(1);
        (f64::from(first) * 1_000_000.0 / self.rate) as u64
    }
}

/// What is known of every message of a run.
#[derive(Debug)]
pub struct Book {
    marks: Vec<u8>,
    /// When each was (to be) sent: microseconds since the start, modulo 2³²: latencies below 71 minutes are right.
    sent: Vec<u32>,
    ids: Vec<u64>,
    receipts_wanted: bool,
    schedule: Option<Schedule>,
    next: u32,
    again: VecDeque<(u64, u32)>,
    /// Messages of which an answer or a receipt is still missing.
    open: u64,
    /// Nothing is sent any more, not even again.
    stopped: bool,
    /// Fingerprints of the phones that have written.
    pub phones: HashSet<u64>,
    pub counts: Counts,
    pub accept: Latency,
    pub end_to_end: Latency,
    pub series: Series,
}

/// The sums of a run.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub accepted: u64,
    pub refused: BTreeMap<String, u64>,
    pub throttled: u64,
    /// Refused for now, or not sent for want of a connection, when nothing was sent again any more.
    pub given_up: u64,
    pub unanswered: u64,
    /// Final receipts by message_state.
    pub receipts: [u64; STATES.len()],
    pub receipts_first: u64,
    pub intermediate: u64,
    /// Receipts of messages that had asked for none.
    pub unasked: u64,
    pub duplicates: u64,
    pub unknown: u64,
    pub wrong_ids: u64,
    pub stray_answers: u64,
    pub inbound: u64,
    /// Of these, from a phone that has written before.
    pub inbound_repeated: u64,
    pub disconnects: u64,
    /// The times of the last answer and of the last receipt.
    pub last_answer: u64,
    pub last_receipt: u64,
}

impl Book {
    /// Books for `count` messages, sent by a schedule or as fast as windows allow.
    #[must_use]
    pub fn new(count: u32, schedule: Option<Schedule>, receipts_wanted: bool) -> Self {
        let size = count as usize;
        Self {
            marks: vec![0; size],
            sent: vec![0; size],
            ids: vec![0; size],
            receipts_wanted,
            schedule,
            next: 0,
            again: VecDeque::new(),
            open: u64::from(count),
            stopped: false,
            phones: HashSet::new(),
            counts: Counts::default(),
            accept: Latency::default(),
            end_to_end: Latency::default(),
            series: Series::default(),
        }
    }

    /// The next message that may be sent now: one to be sent again, else a new one whose time has come.
    pub fn next_to_send(&mut self, now: u64) -> Option<u32> {
        if let Some((_, serial)) = self.again.pop_front_if(|(due, _)| *due <= now) {
            return Some(serial);
        }
        let serial = self.next;
        let sent = self.sent.get_mut(serial as usize)?;
        // With a schedule, time counts from when the message should have gone, else a stall would hide what waited in it.
        let intended = self.schedule.map_or(now, |schedule| schedule.intended(serial));
        if intended > now {
            return None;
        }
        *sent = intended as u32;
        self.next += 1;
        Some(serial)
    }

    /// Messages taken and not all finished, or not taken yet.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.open == 0
    }

    /// Whether a message waits to be sent again.
    #[must_use]
    pub fn has_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// Whether every message was sent at least once.
    #[must_use]
    pub fn all_sent(&self) -> bool {
        self.next as usize == self.sent.len()
    }

    /// Messages sent so far, each counted once.
    #[must_use]
    pub fn sent(&self) -> u64 {
        u64::from(self.next)
    }

    /// A number that grows whenever anything is heard; connections that nobody takes are no news.
    #[must_use]
    pub fn progress(&self) -> u64 {
        let counts = &self.counts;
        counts.accepted
            + counts.refused_total()
            + counts.unanswered
            + counts.receipts_first
            + counts.throttled
    }

    /// A positive response; its id must be the one that the receipt names, whichever comes first.
    pub fn accepted(&mut self, serial: u32, id: u64, now: u64) {
        self.counts.accepted += 1;
        self.counts.last_answer = now;
        let latency = self.age(serial, now);
        self.accept.record(latency);
        self.note_id(serial, id);
        let receipts_wanted = self.receipts_wanted;
        let marks = self.mark(serial, ACCEPTED);
        if !receipts_wanted || marks & RECEIPTED != 0 {
            self.open -= 1;
        }
    }

    /// A refusal for good.
    pub fn refused(&mut self, serial: u32, reason: String, now: u64) {
        *self.counts.refused.entry(reason).or_default() += 1;
        self.counts.last_answer = now;
        self.mark(serial, REFUSED);
        self.open -= 1;
    }

    /// A refusal for now: it is sent again at `due`, unless the sending has stopped.
    pub fn throttled(&mut self, serial: u32, due: u64) {
        self.counts.throttled += 1;
        self.not_sent(serial, due);
    }

    /// It could not be sent at all, as nobody took the connection: it is sent later, and nobody has said anything.
    pub fn not_sent(&mut self, serial: u32, due: u64) {
        if self.stopped {
            self.give_up();
        } else {
            self.again.push_back((due, serial));
        }
    }

    /// Nothing more is sent. What is on its way is still waited for; what was to be sent again is given up.
    pub fn stop(&mut self) {
        let sent = self.next as usize;
        self.open -= (self.sent.len() - sent) as u64;
        self.sent.truncate(sent);
        self.marks.truncate(sent);
        self.ids.truncate(sent);
        self.stopped = true;
        for _ in std::mem::take(&mut self.again) {
            self.give_up();
        }
    }

    /// Whether the sending has been stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Accepted messages whose receipt has not come yet, where one was asked for.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        if self.receipts_wanted { self.counts.accepted.saturating_sub(self.counts.receipts_first) } else { 0 }
    }

    fn give_up(&mut self) {
        self.counts.given_up += 1;
        self.open -= 1;
    }

    /// No answer will come any more; whether the message was taken is not known.
    pub fn unanswered(&mut self, serial: u32) {
        self.counts.unanswered += 1;
        self.mark(serial, UNANSWERED);
        self.open -= 1;
    }

    /// A receipt that names the message's id.
    pub fn receipt(&mut self, serial: u32, id: u64, state: u8, now: u64) {
        self.take_receipt(serial, Some(id), state, now);
    }

    /// A receipt that is known by its way and names no id.
    pub fn receipt_without_id(&mut self, serial: u32, state: u8, now: u64) {
        self.take_receipt(serial, None, state, now);
    }

    fn take_receipt(&mut self, serial: u32, id: Option<u64>, state: u8, now: u64) {
        if !self.receipts_wanted {
            // Such a message was finished when it was accepted, and is not finished again.
            self.counts.unasked += 1;
            return;
        }
        if matches!(state, 0 | 1 | 6) {
            self.counts.intermediate += 1;
            return;
        }
        let before = self.marks.get(serial as usize).copied().unwrap_or_default();
        if before & RECEIPTED != 0 {
            self.counts.duplicates += 1;
            return;
        }
        if let Some(id) = id {
            self.note_id(serial, id);
        }
        self.mark(serial, RECEIPTED);
        if let Some(count) = self.counts.receipts.get_mut(usize::from(state)) {
            *count += 1;
        }
        self.counts.receipts_first += 1;
        self.counts.last_receipt = now;
        let latency = self.age(serial, now);
        self.end_to_end.record(latency);
        if before & ACCEPTED != 0 {
            self.open -= 1;
        }
    }

    /// The id that a message was accepted under; ids that are no 18 digits are stood for by their fingerprints.
    #[must_use]
    pub fn accepted_id(&self, serial: u32) -> Option<u64> {
        let marks = self.marks.get(serial as usize)?;
        if marks & ACCEPTED == 0 { None } else { self.ids.get(serial as usize).copied() }
    }

    /// Whether the message's final receipt has come.
    #[must_use]
    pub fn is_receipted(&self, serial: u32) -> bool {
        self.marks.get(serial as usize).is_some_and(|marks| marks & RECEIPTED != 0)
    }

    /// Whether it was sent and nobody knows whether it was taken.
    #[must_use]
    pub fn is_unanswered(&self, serial: u32) -> bool {
        self.marks.get(serial as usize).is_some_and(|marks| marks & UNANSWERED != 0)
    }

    /// Messages that have come to what a run waits for: their receipts, or being accepted where none were asked for.
    #[must_use]
    pub fn finished(&self) -> u64 {
        if self.receipts_wanted { self.counts.receipts_first } else { self.counts.accepted }
    }

    /// Messages accepted whose receipt never came, where one was asked for.
    #[must_use]
    pub fn lost(&self) -> u64 {
        if !self.receipts_wanted {
            return 0;
        }
        self.marks.iter().filter(|marks| **marks & (ACCEPTED | RECEIPTED) == ACCEPTED).count() as u64
    }

    /// Ids that were given to more than one message.
    #[must_use]
    pub fn repeated_ids(&self) -> u64 {
        let accepted = self.marks.iter().zip(&self.ids).filter(|(marks, _)| **marks & ACCEPTED != 0);
        let mut ids: Vec<u64> = accepted.map(|(_, id)| *id).collect();
        ids.sort_unstable();
        ids.windows(2).filter(|pair| pair.first() == pair.last()).count() as u64
    }

    fn note_id(&mut self, serial: u32, id: u64) {
        let before = self.mark(serial, KNOWN_ID);
        let Some(known) = self.ids.get_mut(serial as usize) else {
            return;
        };
        if before & KNOWN_ID == 0 {
            *known = id;
        } else if *known != id {
            self.counts.wrong_ids += 1;
            self.mark(serial, WRONG_ID);
        }
    }

    fn age(&self, serial: u32, now: u64) -> u64 {
        let sent = self.sent.get(serial as usize).copied().unwrap_or_default();
        u64::from((now as u32).wrapping_sub(sent))
    }

    /// Adds a mark and answers those that were there before.
    fn mark(&mut self, serial: u32, mark: u8) -> u8 {
        match self.marks.get_mut(serial as usize) {
            Some(marks) => std::mem::replace(marks, *marks | mark),
            None => 0,
        }
    }
}

impl Counts {
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(count: u32) -> Book {
        let mut book = Book::new(count, None, true);
        while book.next_to_send(0).is_some() {}
        book
    }

    #[test]
    fn receipts_before_and_after_their_responses_finish_a_message() {
        let mut book = sent(2);
        book.accepted(0, 70, 5);
        book.receipt(0, 70, 2, 9);
        book.receipt(1, 71, 2, 9);
        assert!(!book.is_finished());
        book.accepted(1, 71, 10);
        assert!(book.is_finished());
        assert_eq!((book.lost(), book.counts.wrong_ids, book.counts.receipts[2]), (0, 0, 2));
    }

    #[test]
    fn what_is_missing_twice_there_or_wrong_is_told_apart() {
        let mut book = sent(5);
        for serial in 0..4 {
            book.accepted(serial, u64::from(serial), 5);
        }
        book.unanswered(4);
        book.receipt(0, 0, 2, 9);
        book.receipt(0, 0, 2, 9);
        book.receipt(1, 99, 5, 9);
        book.receipt(2, 2, 1, 9);
        assert_eq!((book.lost(), book.counts.duplicates, book.counts.wrong_ids), (2, 1, 1));
        assert_eq!((book.counts.intermediate, book.counts.unanswered, book.is_unanswered(4)), (1, 1, true));
        assert_eq!((book.accepted_id(3), book.accepted_id(4), book.is_receipted(3)), (Some(3), None, false));
    }

    #[test]
    fn with_a_rate_time_counts_from_the_intended_moment() {
        let mut book = Book::new(10, Some(Schedule { rate: 1_000.0, burst: 1 }), true);
        assert_eq!((book.next_to_send(0), book.next_to_send(999)), (Some(0), None));
        // The sender was held up for 5 ms: the messages it owes were due at 1, 2, … ms.
        let late: Vec<u32> = std::iter::from_fn(|| book.next_to_send(5_000)).collect();
        assert_eq!(late, [1, 2, 3, 4, 5]);
        for serial in late {
            book.accepted(serial, 1, 5_000);
        }
        assert!((book.accept.percentiles().max - 4.0).abs() < 0.1);
    }

    #[test]
    fn the_messages_of_a_burst_are_due_together() {
        let mut book = Book::new(10, Some(Schedule { rate: 1_000.0, burst: 4 }), true);
        let due = |book: &mut Book, now| std::iter::from_fn(|| book.next_to_send(now)).count();
        assert_eq!((due(&mut book, 0), due(&mut book, 3_999), due(&mut book, 4_000)), (4, 0, 4));
    }

    #[test]
    fn a_throttled_message_is_sent_again_when_its_pause_is_over() {
        let mut book = sent(1);
        book.throttled(0, 50);
        assert_eq!(
            (book.next_to_send(49), book.next_to_send(50), book.next_to_send(51)),
            (None, Some(0), None)
        );
    }

    #[test]
    fn a_stopped_run_waits_for_what_is_on_its_way_and_for_nothing_else() {
        let mut book = Book::new(10, None, true);
        for serial in 0..4 {
            assert_eq!(book.next_to_send(0), Some(serial));
        }
        book.throttled(0, 5);
        book.accepted(1, 1, 2);
        book.stop();
        assert_eq!((book.next_to_send(9), book.sent(), book.backlog()), (None, 4, 1));
        book.throttled(2, 5);
        book.accepted(3, 3, 6);
        book.receipt(1, 1, 2, 7);
        assert!(!book.is_finished());
        book.receipt_without_id(3, 2, 8);
        assert!(book.is_finished() && book.all_sent());
        assert_eq!((book.lost(), book.counts.given_up, book.counts.wrong_ids), (0, 2, 0));
    }

    #[test]
    fn a_stopped_run_still_finds_what_is_lost_and_what_came_twice() {
        let mut book = Book::new(100, None, true);
        for serial in 0..3 {
            book.next_to_send(0);
            book.accepted(serial, u64::from(serial), 1);
        }
        book.stop();
        book.receipt(0, 0, 2, 2);
        book.receipt(0, 0, 2, 2);
        book.receipt(2, 2, 2, 2);
        assert_eq!((book.lost(), book.counts.duplicates, book.is_finished()), (1, 1, false));
    }

    #[test]
    fn receipts_that_nobody_asked_for_are_counted_and_finish_nothing() {
        let mut book = Book::new(2, None, false);
        while book.next_to_send(0).is_some() {}
        book.receipt(1, 71, 2, 4);
        book.accepted(0, 70, 5);
        book.receipt(0, 70, 2, 9);
        book.receipt(0, 70, 2, 9);
        assert!(!book.is_finished());
        book.accepted(1, 71, 10);
        let counts = &book.counts;
        assert!(book.is_finished());
        assert_eq!((counts.unasked, counts.duplicates, counts.receipts_first), (3, 0, 0));
    }

    #[test]
    fn an_id_given_twice_is_found() {
        let mut book = sent(3);
        for (serial, id) in [(0, 8), (1, 9), (2, 8)] {
            book.accepted(serial, id, 1);
        }
        assert_eq!(book.repeated_ids(), 1);
    }
}
