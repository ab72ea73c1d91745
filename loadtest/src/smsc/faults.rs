//! What happens to one submit, drawn from the profile: the draws are made in one order, all of them, every time.

use super::profile::Profile;
use crate::{
    dice::Dice,
    wire::{self, command},
};

/// The fate of one try of one message.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The status that refuses it.
    pub refusal: Option<u32>,
    /// Microseconds to its response.
    pub latency: u64,
    pub lost_answer: bool,
    pub drop: bool,
    pub malformed: Option<Malformed>,
    /// Microseconds from its response to its receipt; `None`: there is no receipt.
    pub receipt: Option<u64>,
    /// The receipt goes before the response.
    pub early: bool,
    pub duplicated: bool,
    /// The place of its end among the profile's outcomes.
    pub outcome: usize,
}

impl Plan {
    #[must_use]
    pub fn draw(profile: &Profile, mut dice: Dice) -> Self {
        let dice = &mut dice;
        let refused = dice.happens(profile.refusals);
        let status = profile.refusal_statuses.get(dice.place(profile.refusal_statuses.len())).copied();
        let latency = profile.latency.draw(dice);
        let lost_answer = dice.happens(profile.lost_answers);
        let drop = dice.happens(profile.drops);
        let malformed = dice.happens(profile.malformed);
        let kind = Malformed::ALL.get(dice.place(Malformed::ALL.len())).copied();
        let early = dice.happens(profile.receipts_early);
        Self {
            refusal: status.filter(|_| refused),
            latency,
            lost_answer,
            drop,
            malformed: kind.filter(|_| malformed),
            receipt: receipt_delay(profile, dice),
            early,
            duplicated: dice.happens(profile.receipts_duplicated),
            outcome: outcome(profile, dice),
        }
    }
}

fn receipt_delay(profile: &Profile, dice: &mut Dice) -> Option<u64> {
    let missing = dice.happens(profile.receipts_missing);
    let usual = profile.receipt_delay.draw(dice);
    let late = dice.happens(profile.receipts_late);
    let late_by = profile.late_delay.draw(dice);
    let reordered = dice.happens(profile.receipts_reordered);
    let held_back = super::profile::microseconds(profile.reorder_within * dice.fraction());
    let delay = usual + if late { late_by } else { 0 } + if reordered { held_back } else { 0 };
    (!missing).then_some(delay)
}

fn outcome(profile: &Profile, dice: &mut Dice) -> usize {
    let total: usize = profile.outcomes.iter().map(|outcome| outcome.weight as usize).sum();
    let mut place = dice.place(total);
    for (index, outcome) in profile.outcomes.iter().enumerate() {
        match place.checked_sub(outcome.weight as usize) {
            Some(rest) => place = rest,
            None => return index,
        }
    }
    0
}

/// A PDU that no provider should send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// A request that does not exist.
    UnknownCommand,
    /// A response to nothing, whose message id never ends.
    MissingNul,
    /// A deliver_sm that ends in its addresses.
    CutBody,
    /// A command_length below the header; the stream is lost after it.
    FalseLength,
}

impl Malformed {
    pub const ALL: [Self; 4] = [Self::UnknownCommand, Self::MissingNul, Self::CutBody, Self::FalseLength];

    /// Appends the PDU.
    pub fn write(self, out: &mut Vec<u8>) {
        const NOBODYS: u32 = 0x7F00_0000;
        match self {
            Self::UnknownCommand => wire::empty(out, 0x0000_0F0F, 0, NOBODYS),
            Self::MissingNul => wire::body(out, command::SUBMIT_SM | command::RESPONSE, 0, NOBODYS, b"12345"),
            Self::CutBody => wire::body(out, command::DELIVER_SM, 0, NOBODYS, &[0, 1, 1, b'2', b'5', b'4']),
            Self::FalseLength => out.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smsc::profile::{Delay, Outcome};

    fn faulty() -> Profile {
        Profile {
            refusals: 0.2,
            lost_answers: 0.2,
            drops: 0.2,
            malformed: 0.2,
            latency: Delay::Uniform(1.0, 9.0),
            receipts_late: 0.2,
            receipts_missing: 0.2,
            ..Profile::default()
        }
    }

    fn plans(profile: &Profile, seed: u64) -> Vec<Plan> {
        (0..2_000).map(|key| Plan::draw(profile, Dice::new(seed, key, 0))).collect()
    }

    #[test]
    fn the_same_seed_draws_the_same_faults() {
        assert_eq!(plans(&faulty(), 7), plans(&faulty(), 7));
        assert_ne!(plans(&faulty(), 7), plans(&faulty(), 8));
    }

    #[test]
    fn changing_one_rate_moves_no_other_fault() {
        let other = Profile { refusals: 0.9, ..faulty() };
        for (plan, other) in plans(&faulty(), 7).into_iter().zip(plans(&other, 7)) {
            assert_eq!(
                (plan.drop, plan.lost_answer, plan.receipt),
                (other.drop, other.lost_answer, other.receipt)
            );
        }
    }

    #[test]
    fn outcomes_come_by_their_weight() {
        let outcome = |stat: &str, weight| Outcome { stat: stat.into(), weight, ..Outcome::default() };
        let outcomes = vec![outcome("DELIVRD", 3), outcome("UNKNOWN", 0), outcome("UNDELIV", 1)];
        let drawn = plans(&Profile { outcomes, ..Profile::default() }, 7);
        let count = |place| drawn.iter().filter(|plan| plan.outcome == place).count();
        assert_eq!(count(1), 0);
        assert!((400..600).contains(&count(2)), "{}", count(2));
    }
}
