//! What of a message is yes or no and has an octet together: millions of messages wait in memory.

use super::Message;

/// The present attempt counts: it was refused for now, or left without an answer.
const ATTEMPT_COUNTS: u8 = 1;
/// No session has its receipt that may still answer in time: it waits for a late answer, or to be sent again.
const TELLING_WAITS: u8 = 2;

impl Message {
    /// Whether the attempt under way is one of those that are limited.
    pub(crate) fn attempt_counts(&self) -> bool {
        self.marks & ATTEMPT_COUNTS != 0
    }

    pub(super) fn set_attempt_counts(&mut self, counts: bool) {
        self.mark(ATTEMPT_COUNTS, counts);
    }

    /// Whether the receipt on its way waits for a late answer, or to be sent again.
    pub(crate) fn telling_waits(&self) -> bool {
        self.telling.is_some() && self.marks & TELLING_WAITS != 0
    }

    pub(crate) fn set_telling_waits(&mut self, waits: bool) {
        self.mark(TELLING_WAITS, waits);
    }

    fn mark(&mut self, mark: u8, is_set: bool) {
        self.marks = if is_set { self.marks | mark } else { self.marks & !mark };
    }
}
