//! What people write through the simulated provider: messages from phones at a rate, whole and in parts, some of them twice. What is
//! not acknowledged comes again, on another connection too. Each phone writes once, so that a witness can tell them apart.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;

use super::{
    Counts, Shared,
    profile::{PhonesProfile, microseconds},
};
use crate::{
    dice::Dice,
    window::Window,
    wire::{self, command, status},
};

/// Sequence numbers of receipts are below.
const SEQUENCES_FROM: u32 = 0x4000_0000;
/// Parts of a long message, and octets of each.
const PARTS: u8 = 3;
const PART_OCTETS: usize = 120;
/// What the phones' numbers begin with; eight digits follow.
const PREFIX: &str = "2557";
const SECOND: f64 = 1_000_000.0;

/// One deliver_sm: of which message, which part of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    pub message: u64,
    pub part: u8,
    pub parts: u8,
}

/// The phones of one connection.
#[derive(Debug)]
pub struct Phones {
    window: Window<Said>,
    waiting: VecDeque<Said>,
    /// When the next message is due, in microseconds; none before the first.
    next: Option<u64>,
}

impl Phones {
    pub fn new(window: usize) -> Self {
        Self { window: Window::new(window), waiting: VecDeque::new(), next: None }
    }

    /// Appends what is due, and answers when more will be.
    pub fn speak(
        &mut self,
        now: u64,
        seed: u64,
        profile: &PhonesProfile,
        shared: &Shared,
        counts: &mut Counts,
        out: &mut Vec<u8>,
    ) -> u64 {
        if profile.rate <= 0.0 {
            return u64::MAX;
        }
        self.waiting.extend(shared.take_unheard());
        let pause = (SECOND / profile.rate) as u64;
        let mut due = self.next.unwrap_or(now);
        while due <= now && self.waiting.len() < self.window.room() {
            let Some(message) = shared.next_phone(profile.count) else {
                due = u64::MAX;
                break;
            };
            let mut dice = Dice::new(seed, message, 0);
            let parts = if dice.happens(profile.long) { PARTS } else { 1 };
            let times = if dice.happens(profile.duplicated) { 2 } else { 1 };
            for _ in 0..times {
                // Not in their order.
                self.waiting.extend((0..parts).rev().map(|part| Said { message, part, parts }));
            }
            due = due.saturating_add(pause.max(1));
        }
        self.next = Some(due);
        while !self.window.is_full()
            && let Some(said) = self.waiting.pop_front()
            && let Some(sequence) = self.window.push(said, now)
        {
            counts.phones_sent = counts.phones_sent.saturating_add(1);
            write(out, sequence | SEQUENCES_FROM, said, &profile.to);
        }
        if self.window.is_full() { u64::MAX } else { due }
    }

    /// Whether a response with this number answers a phone's message.
    pub fn acknowledged(&mut self, sequence: u32, answer: u32, counts: &mut Counts) -> bool {
        let Some(said) = sequence.checked_sub(SEQUENCES_FROM).and_then(|own| self.window.take(own)) else {
            return false;
        };
        if answer == status::OK {
            counts.phones_acknowledged = counts.phones_acknowledged.saturating_add(1);
        } else {
            counts.phones_again = counts.phones_again.saturating_add(1);
            self.waiting.push_back(said);
        }
        true
    }

    /// What was said so long ago and is unanswered is said again.
    pub fn repeat(&mut self, now: u64, timeout: f64, counts: &mut Counts) {
        let unanswered = self.window.take_older(now.saturating_sub(microseconds(timeout)));
        counts.phones_again = counts.phones_again.saturating_add(unanswered.len() as u64);
        self.waiting.extend(unanswered);
    }

    /// What nobody has acknowledged when the connection ends.
    pub fn unheard(&mut self) -> Vec<Said> {
        let mut left = self.window.take_older(u64::MAX);
        left.extend(self.waiting.drain(..));
        left
    }
}

fn write(out: &mut Vec<u8>, sequence: u32, said: Said, to: &str) {
    let Said { message, part, parts } = said;
    wire::framed(out, command::DELIVER_SM, 0, sequence, |out| {
        // No service type; an international number of ISDN; a short code.
        out.extend_from_slice(&[0, 1, 1]);
        out.extend_from_slice(PREFIX.as_bytes());
        out.extend_from_slice(&wire::eight_digits(message));
        out.extend_from_slice(&[0, 3, 0]);
        out.extend_from_slice(to.as_bytes());
        // SMPP 3.4 §5.2.12: 0x40 says that the text begins with a user data header.
        let esm_class = if parts > 1 { 0x40 } else { 0 };
        out.extend_from_slice(&[0, esm_class, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut text = Vec::new();
        if parts > 1 {
            text.extend_from_slice(&[5, 0, 3, (message % 256) as u8, parts, part.saturating_add(1)]);
        }
        text.extend_from_slice(format!("message {message} from a phone").as_bytes());
        if parts > 1 {
            text.resize(PART_OCTETS, b'.');
        }
        out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(&text);
    });
}
