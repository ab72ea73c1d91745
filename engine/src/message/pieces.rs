//! Of a message that goes in pieces (ADR 20): how far it has come, and how often which part was sent. Its states are `message.rs`'s.

use super::{Message, PartState};
use crate::step::Step;

/// Whether the newest intent was for some of the waiting parts alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    None,
    Sent,
    /// And some of them were accepted.
    Taken,
}

impl Message {
    pub(super) fn piece(&self) -> Piece {
        self.more_parts.as_ref().map_or(Piece::None, |more| more.piece)
    }

    pub(super) fn set_piece(&mut self, piece: Piece) {
        if let Some(more) = &mut self.more_parts {
            more.piece = piece;
        }
    }

    /// The attempt that the next intent begins, or goes on with where a piece of it was taken.
    pub fn next_attempt(&self) -> u8 {
        if self.piece() == Piece::Taken { 1 } else { self.attempt.saturating_add(1) }
    }

    /// How often a provider was sent a part.
    pub fn times_sent(&self, provider: u16, part: u8) -> usize {
        let Some((mut folded, _)) = Message::start(self.bytes.clone()) else { return 0 };
        let mut times = 0;
        for (at, step) in self.steps() {
            let waited = folded.any_part(part, PartState::Waiting);
            folded.fold(&step, at.0);
            let of_provider = matches!(step, Step::Intent { provider: of, .. } if of == provider);
            times += usize::from(of_provider && waited && folded.any_part(part, PartState::Sending));
        }
        times
    }

    /// Whether nothing has been answered since the newest intent, and nothing else is with a bind.
    pub fn is_just_sent(&self) -> bool {
        let sending = self.sending_parts();
        let is_piece = |(_, step)| matches!(step, Step::Intent { parts, .. } if u32::from(parts) == sending);
        sending == u32::from(self.parts()) || self.steps().last().is_some_and(is_piece)
    }
}
