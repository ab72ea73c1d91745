//! The window: our requests that wait for their responses, found by sequence number. It writes no PDUs.
//!
//! A request lies in the slot that its number names modulo the number of slots; numbers whose slot is taken are passed
//! over. So nothing is hashed, and nothing is allocated after the start.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use super::command::Command;
use crate::instant::Mono;

/// SMPP 3.4 §5.1.4: own numbers run from 1 to here, then begin again.
const SEQUENCE_MAX: u32 = 0x7FFF_FFFF;

/// A sane end for what a configuration may ask for.
const WINDOW_MAX: usize = 1 << 20;

/// A request of ours. `end` is the position of the octet after its last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub command: Command,
    pub token: u64,
    pub deadline: Mono,
    pub end: u64,
}

/// A request that a response has ended; `late` when its token was given up before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub command: Command,
    pub token: u64,
    pub late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Free,
    Pending,
    /// Its time is over, but the response may still come until the deadline.
    Late,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    sequence: u32,
    used: Use,
    request: Request,
}

/// The time that an answer gives those behind it, and the most that all answers give one.
#[derive(Clone, Copy, Debug)]
pub(super) struct InTurn {
    pub each: Duration,
    pub most: Duration,
}

#[derive(Debug)]
pub(super) struct Window {
    slots: Box<[Slot]>,
    limit: usize,
    late_for: Duration,
    /// Where the peer comes to each in its turn: what those behind an answer have from then on, and what none has more of than
    /// its own time.
    in_turn: Option<InTurn>,
    pending: usize,
    late: usize,
    /// The number to try next.
    next: u32,
    /// The number of the oldest pending request, if there is one. Deadlines are in the order of the numbers.
    oldest: u32,
    /// From here on nothing has been answered yet, and what is pending has until `turn_until` at least.
    front: u32,
    turn_until: Mono,
}

impl Window {
    /// At most `limit` pending requests; those given up are remembered `late_for` longer, while there is room. `in_turn`:
    /// an answer, late or not, gives so long to those that wait behind it, and to those that it passes over.
    pub fn new(limit: usize, late_for: Duration, in_turn: Option<InTurn>) -> Window {
        let limit = limit.clamp(1, WINDOW_MAX);
        let free = Slot {
            sequence: 0,
            used: Use::Free,
            request: Request { command: Command(0), token: 0, deadline: Mono(0), end: 0 },
        };
        // Twice the window, so that a free slot is near; a power of two, so that the remainder is a mask.
        let slots = limit.saturating_mul(2).next_power_of_two().max(8);
        Window {
            slots: vec![free; slots].into_boxed_slice(),
            limit,
            late_for,
            in_turn,
            pending: 0,
            late: 0,
            next: 1,
            oldest: 1,
            front: 1,
            turn_until: Mono(0),
        }
    }

    pub fn pending(&self) -> usize {
        self.pending
    }

    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.pending)
    }

    /// Takes the request in and gives its number; None when the window is full.
    pub fn insert(&mut self, now: Mono, request: Request) -> Option<u32> {
        if self.pending >= self.limit {
            return None;
        }
        let sequence = self.claim(now);
        if self.pending == 0 {
            self.oldest = sequence;
            self.front = sequence;
        }
        self.pending = self.pending.saturating_add(1);
        if let Some(slot) = self.slot_mut(sequence) {
            *slot = Slot { sequence, used: Use::Pending, request };
        }
        Some(sequence)
    }

    /// A number for a request that is kept elsewhere (bind, unbind, enquire_link).
    pub fn number(&mut self) -> u32 {
        let number = self.next;
        self.next = successor(number);
        number
    }

    /// Ends the request that this response belongs to. A response to another command ends nothing.
    pub fn answer(&mut self, now: Mono, sequence: u32, response: Command) -> Option<Answered> {
        let slot = self.slot_mut(sequence)?;
        let Slot { used, request, .. } = *slot;
        let fits = response == request.command.response() || response == Command::GENERIC_NACK;
        if slot.sequence != sequence || used == Use::Free || !fits {
            return None;
        }
        slot.used = Use::Free;
        if used == Use::Late {
            self.late = self.late.saturating_sub(1);
            if request.deadline < now {
                return None;
            }
        } else {
            self.finished(sequence);
        }
        if let Some(in_turn) = self.in_turn {
            self.come_to(sequence, now.after(in_turn.each), in_turn.most);
        }
        Some(Answered { command: request.command, token: request.token, late: used == Use::Late })
    }

    /// Gives up the oldest request, if its time is over.
    pub fn expire(&mut self, now: Mono) -> Option<Request> {
        if self.next_deadline()? > now {
            return None;
        }
        let until = now.after(self.late_for);
        let oldest = self.oldest;
        let slot = self.slot_mut(oldest)?;
        let request = slot.request;
        slot.used = Use::Late;
        slot.request.deadline = until;
        self.late = self.late.saturating_add(1);
        self.finished(oldest);
        Some(request)
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        let own = self.slot(self.oldest)?.request.deadline;
        let deadline = match self.in_turn.filter(|_| self.is_behind(self.oldest)) {
            Some(in_turn) => later(own, self.turn_until, in_turn.most),
            None => own,
        };
        (self.pending > 0).then_some(deadline)
    }

    /// Takes the oldest request out, whatever its time.
    pub fn drain_oldest(&mut self) -> Option<Request> {
        if self.pending == 0 {
            return None;
        }
        let oldest = self.oldest;
        let slot = self.slot_mut(oldest)?;
        slot.used = Use::Free;
        let request = slot.request;
        self.finished(oldest);
        Some(request)
    }

    /// The next number whose slot may be used. At most half of the slots are pending and a quarter kept for the late,
    /// so one is found.
    fn claim(&mut self, now: Mono) -> u32 {
        let late_max = self.slots.len() / 4;
        loop {
            let number = self.number();
            let late = self.late;
            let Some(slot) = self.slot(number) else {
                return number;
            };
            match slot.used {
                Use::Free => return number,
                Use::Pending => {}
                Use::Late if late > late_max || slot.request.deadline < now => {
                    self.late = late.saturating_sub(1);
                    return number;
                }
                Use::Late => {}
            }
        }
    }

    /// The peer has come to this number: so long has what is pending before it and behind it now.
    fn come_to(&mut self, sequence: u32, until: Mono, most: Duration) {
        if self.is_behind(sequence) {
            let from = std::mem::replace(&mut self.front, successor(sequence));
            // What is passed over has been behind until now. Each number is passed once.
            let passed = distance(from, sequence);
            let waits_longer = move |slot: &mut Slot| {
                if slot.used == Use::Pending && distance(from, slot.sequence) < passed {
                    slot.request.deadline = later(slot.request.deadline, until, most);
                }
            };
            if passed as usize > self.slots.len() {
                self.slots.iter_mut().for_each(waits_longer);
            } else {
                let mut number = from;
                for _ in 0..passed {
                    if let Some(slot) = self.slot_mut(number) {
                        waits_longer(slot);
                    }
                    number = successor(number);
                }
            }
        }
        self.turn_until = until;
    }

    /// Whether nothing from this number on has been answered.
    fn is_behind(&self, sequence: u32) -> bool {
        distance(self.front, sequence) <= SEQUENCE_MAX / 2
    }

    /// One pending request less; when it was the oldest, the next oldest is found.
    fn finished(&mut self, sequence: u32) {
        self.pending = self.pending.saturating_sub(1);
        if self.pending == 0 || sequence != self.oldest {
            return;
        }
        if distance(sequence, self.next) as usize <= self.slots.len() {
            while !self.is_pending(self.oldest) {
                self.oldest = successor(self.oldest);
            }
            return;
        }
        // One request has waited while the others went round: looking at each slot once is shorter.
        let pending = self.slots.iter().filter(|slot| slot.used == Use::Pending);
        let oldest = pending.min_by_key(|slot| distance(sequence, slot.sequence));
        self.oldest = oldest.map_or(self.next, |slot| slot.sequence);
    }

    fn is_pending(&self, sequence: u32) -> bool {
        self.slot(sequence).is_some_and(|slot| slot.used == Use::Pending && slot.sequence == sequence)
    }

    fn slot(&self, sequence: u32) -> Option<&Slot> {
        self.slots.get(self.place(sequence))
    }

    fn slot_mut(&mut self, sequence: u32) -> Option<&mut Slot> {
        let place = self.place(sequence);
        self.slots.get_mut(place)
    }

    fn place(&self, sequence: u32) -> usize {
        sequence as usize & self.slots.len().wrapping_sub(1)
    }
}

/// A deadline put off until then, if that is later, by so much at most.
fn later(deadline: Mono, until: Mono, most: Duration) -> Mono {
    deadline.max(until.min(deadline.after(most)))
}

fn successor(sequence: u32) -> u32 {
    if sequence >= SEQUENCE_MAX { 1 } else { sequence.wrapping_add(1) }
}

/// How many numbers lie from `from` to `to`, going round.
fn distance(from: u32, to: u32) -> u32 {
    if to >= from { to.wrapping_sub(from) } else { SEQUENCE_MAX.wrapping_sub(from).wrapping_add(to) }
}

#[cfg(test)]
mod tests;
