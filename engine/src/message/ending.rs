//! Why a message ended as it did: which word of its story decided. It decides nothing.

use codecs::receipt::State as ReceiptState;

use super::{Message, PartState, State};
use crate::step::{FailCause, Resolution, Step, Verdict};

/// The state of a message all of whose parts have their receipt, from the one that decides.
pub(super) fn state_by(receipt: ReceiptState) -> State {
    match receipt {
        ReceiptState::Delivered => State::Delivered,
        ReceiptState::Expired => State::Expired,
        ReceiptState::Rejected => State::Rejected,
        ReceiptState::Unknown => State::Unknown,
        _ => State::Failed,
    }
}

impl Message {
    /// Whether a receipt of these parts, with this state, is one that has decided the message's own.
    pub(crate) fn is_decided_by(&self, part: u8, state: ReceiptState) -> bool {
        let mut decides = None;
        for (index, now) in (0..self.parts()).zip(self.part_states()) {
            match now {
                PartState::Final(ReceiptState::Delivered) => {}
                PartState::Final(worse) => decides = decides.or(Some((index, worse))),
                // It was not decided by receipts.
                _ => return false,
            }
        }
        let (of_it, said) = match decides {
            None => (true, ReceiptState::Delivered),
            Some((index, worse)) => (self.places(part).contains(&index), worse),
        };
        if self.state != state_by(said) && self.state != State::Read {
            // Late news of some parts has not given it another end.
            return state.is_final() && self.state == state_by(state);
        }
        of_it && said == state
    }

    /// The error of the receipt that decided the message's state, where one did: one that came again changed nothing.
    pub fn deciding_error(&self) -> Option<&[u8]> {
        let decides = |(_, step)| match step {
            Step::Receipt { part, state, error, .. } if self.is_decided_by(part, state) => Some(error),
            _ => None,
        };
        self.steps().find_map(decides)
    }

    /// Why it failed, for those who ask: the last refusal or failure of its story.
    pub fn failure(&self) -> Option<(FailCause, u32)> {
        let mut found = None;
        for (_, step) in self.steps() {
            match step {
                Step::Failed { cause, status } => found = Some((cause, status)),
                Step::Resolved { resolution: Resolution::Failed } => {
                    let cause = if self.was_in_doubt() { FailCause::InDoubt } else { FailCause::Partial };
                    found = Some((cause, 0));
                }
                Step::Response { verdict: Verdict::Refused, status, .. } => {
                    let cause =
                        if self.accepted_parts() > 0 { FailCause::Partial } else { FailCause::Refused };
                    found = Some((cause, status));
                }
                _ => {}
            }
        }
        found
    }
}
