//! A tenant's session that takes receipts: how much it is given, and what of that it leaves unanswered. What it is given is
//! `outbox.rs`'s, and what its answers do `acknowledged.rs`'s.

use std::time::Duration;

use codecs::instant::Mono;
use codecs::smpp::status::Status;

use crate::command::{ConnectionId, Said};

#[derive(Debug)]
pub(crate) struct Receiver {
    pub connection: ConnectionId,
    /// Its peer knows them.
    pub tlvs: bool,
    pub window: u32,
    /// Those that it may still answer in time.
    pub in_flight: u32,
    /// Those that it did not, since it last answered one in time. As far as we know it has them before it still.
    overdue: u32,
    /// Those that it has refused since it last took one, and until when that counts.
    refused: u32,
    refused_until: Mono,
}

/// After which one that refused, and was given nothing because of that, is given one again.
const REFUSAL_COUNTS: Duration = Duration::from_secs(60);

impl Receiver {
    pub fn new(connection: ConnectionId, tlvs: bool, window: u32) -> Receiver {
        Receiver { connection, tlvs, window, in_flight: 0, overdue: 0, refused: 0, refused_until: Mono(0) }
    }

    pub fn has_room(&self) -> bool {
        self.in_flight + self.overdue < self.window
    }

    /// Who has least is given the next: one that refuses is done with what it has at once, and would have least always.
    pub fn load(&self, now: Mono) -> u32 {
        let refused = if now < self.refused_until { self.refused } else { 0 };
        self.in_flight + self.overdue + refused
    }

    /// Whether it may be given one though it has no room, so that it is seen when it answers again.
    pub fn may_be_tried(&self) -> bool {
        self.in_flight == 0
    }

    pub fn says(&mut self, said: Said, now: Mono) {
        match said {
            Said::Status(status) => {
                self.in_flight = self.in_flight.saturating_sub(1);
                // It has come to what was sent after them.
                self.overdue = 0;
                let takes = Status(status) == Status::OK;
                self.refused = if takes { 0 } else { (self.refused + 1).min(self.window) };
                self.refused_until = now.after(REFUSAL_COUNTS);
            }
            Said::Nothing => {
                self.in_flight = self.in_flight.saturating_sub(1);
                self.overdue = (self.overdue + 1).min(self.window);
            }
            Said::Late(_) => self.overdue = self.overdue.saturating_sub(1),
        }
    }
}
