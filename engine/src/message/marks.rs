//! What of a message is yes or no and has an octet together: millions of messages wait in memory.

use super::Message;

/// The present attempt counts: it was refused for now, or left without an answer.
const ATTEMPT_COUNTS: u8 = 1;
/// The receipt on its way was not taken, and comes again after a pause.
const TELLING_PAUSES: u8 = 2;

impl Message {
    /// Whether the attempt under way is one of those that are limited.
    pub(crate) fn attempt_counts(&self) -> bool {
        self.marks & ATTEMPT_COUNTS != 0
    }

    pub(super) fn set_attempt_counts(&mut self, counts: bool) {
        self.mark(ATTEMPT_COUNTS, counts);
    }

    /// Whether its receipt was not taken, and comes again after a pause.
    pub(crate) fn telling_pauses(&self) -> bool {
        self.marks & TELLING_PAUSES != 0
    }

    pub(crate) fn set_telling_pauses(&mut self, pauses: bool) {
        self.mark(TELLING_PAUSES, pauses);
    }

    fn mark(&mut self, mark: u8, is_set: bool) {
        self.marks = if is_set { self.marks | mark } else { self.marks & !mark };
    }
}
