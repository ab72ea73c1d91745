//! Whether what is numbered in the order of its submission arrives in it: by sequence, which is all destinations that differ in
//! their last eight digits alone. It judges what came, and answers nobody.

use std::collections::BTreeMap;

use serde::Serialize;

use super::record::Accepted;
use crate::numbers::SERIALS;

/// What arrived of one sequence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sequence {
    pub messages: u64,
    /// Messages that came on a bind behind one with the same number or a greater one.
    pub overtaken: u64,
    /// By how many numbers one came behind the greatest before it, over whichever bind. The binds' batches are looked at one
    /// after the other, so that this says no more than that nothing was left lying.
    pub furthest_behind: u64,
    greatest: u64,
}

/// All sequences, by the digits before the last eight.
#[derive(Debug, Clone, Default)]
pub struct Sequences(BTreeMap<u64, Sequence>);

/// The greatest number of each sequence that one bind has brought.
#[derive(Debug, Default)]
pub struct OfBind(BTreeMap<u64, u64>);

impl Sequences {
    /// Takes note of what one bind has brought, in its order.
    pub fn add(&mut self, accepted: &[Accepted], bind: &mut OfBind) {
        for Accepted { destination, .. } in accepted {
            let (name, number) = (destination / SERIALS, destination % SERIALS);
            let sequence = self.0.entry(name).or_default();
            sequence.messages += 1;
            sequence.furthest_behind = sequence.furthest_behind.max(sequence.greatest.saturating_sub(number));
            sequence.greatest = sequence.greatest.max(number);
            match bind.0.get_mut(&name) {
                Some(newest) if number > *newest => *newest = number,
                Some(_) => sequence.overtaken += 1,
                None => drop(bind.0.insert(name, number)),
            }
        }
    }

    /// What has arrived so far.
    #[must_use]
    pub fn all(&self) -> Vec<Sequence> {
        self.0.values().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(destinations: &[u64]) -> Vec<Accepted> {
        let one = |destination: &u64| Accepted {
            at: 0,
            destination: *destination,
            id: 1,
            reference: 0,
            part: 1,
            parts: 1,
            body: None,
        };
        destinations.iter().map(one).collect()
    }

    #[test]
    fn what_is_overtaken_on_a_bind_is_counted_and_what_other_binds_bring_is_not() {
        let (mut sequences, mut one, mut other) =
            (Sequences::default(), OfBind::default(), OfBind::default());
        sequences.add(&accepted(&[254_100_000_000, 254_200_000_007, 254_100_000_003]), &mut one);
        sequences.add(&accepted(&[254_100_000_001, 254_100_000_002, 254_200_000_008]), &mut other);
        let [first, second] = sequences.all()[..] else { panic!() };
        assert_eq!((first.messages, first.overtaken, first.furthest_behind), (4, 0, 2));
        assert_eq!((second.messages, second.overtaken, second.furthest_behind), (2, 0, 0));
        // A planted late one, and one that comes twice.
        sequences.add(&accepted(&[254_100_000_005, 254_100_000_004, 254_100_000_005]), &mut one);
        let first = sequences.all()[0];
        assert_eq!((first.messages, first.overtaken, first.furthest_behind), (7, 2, 2));
    }
}
