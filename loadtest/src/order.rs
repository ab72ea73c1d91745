//! Fairness as a provider sees it: how many messages of another came between two of one sender. It knows an order and no times.

use std::collections::BTreeMap;

use serde::Serialize;

/// What one sender met in the order of all messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Turns {
    pub sender: String,
    pub messages: u64,
    /// Most messages of any *one* other sender between two neighbouring messages of this one. Where both had messages waiting
    /// all the time, that is what one round gives to the other.
    pub most_of_one_other: u64,
    /// Most messages of all others together between two neighbours.
    pub most_of_all_others: u64,
}

/// One sender's counts since its last message.
struct Since {
    messages: u64,
    others: Vec<u64>,
    most_of_one: u64,
    most_of_all: u64,
}

/// The turns of each sender of an order. Only what lies between a sender's first and last message counts: before and after it
/// may have had nothing to send.
#[must_use]
pub fn turns<'a>(order: impl IntoIterator<Item = &'a [u8]>) -> Vec<Turns> {
    let mut places: BTreeMap<&[u8], usize> = BTreeMap::new();
    let mut senders: Vec<(&[u8], Since)> = Vec::new();
    for sender in order {
        let count = places.len();
        let place = *places.entry(sender).or_insert(count);
        if place == senders.len() {
            senders.push((sender, Since { messages: 0, others: Vec::new(), most_of_one: 0, most_of_all: 0 }));
        }
        for (other, (_, since)) in senders.iter_mut().enumerate() {
            if other == place {
                since.close();
            } else {
                since.others.resize(since.others.len().max(place + 1), 0);
                since.others[place] += 1;
            }
        }
    }
    let turns = |(sender, since): (&[u8], Since)| Turns {
        sender: String::from_utf8_lossy(sender).into_owned(),
        messages: since.messages,
        most_of_one_other: since.most_of_one,
        most_of_all_others: since.most_of_all,
    };
    senders.into_iter().map(turns).collect()
}

impl Since {
    /// The sender itself comes: what was counted lies between two of its messages.
    fn close(&mut self) {
        if self.messages > 0 {
            self.most_of_one = self.most_of_one.max(self.others.iter().copied().max().unwrap_or(0));
            self.most_of_all = self.most_of_all.max(self.others.iter().sum());
        }
        self.messages += 1;
        self.others.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sender, messages, most of one other, most of all others.
    fn found(order: &str) -> Vec<(String, u64, u64, u64)> {
        let rows = turns(order.as_bytes().chunks(1)).into_iter();
        rows.map(|one| (one.sender, one.messages, one.most_of_one_other, one.most_of_all_others)).collect()
    }

    #[test]
    fn who_takes_turns_meets_one_of_each() {
        let row = |sender: &str, all| (sender.to_owned(), 4, 1, all);
        assert_eq!(found("abcabcabcabc"), [row("a", 2), row("b", 2), row("c", 2)]);
    }

    #[test]
    fn a_planted_unfair_stretch_is_found_with_its_victim() {
        let rows = found("ababaaaaabab");
        assert_eq!(rows[0], ("a".into(), 8, 1, 1));
        assert_eq!(rows[1], ("b".into(), 4, 5, 5));
    }

    #[test]
    fn what_comes_before_the_first_and_after_the_last_is_no_wait() {
        assert_eq!(found("aaaabaaaa")[1], ("b".into(), 1, 0, 0));
        assert_eq!(found(""), []);
    }
}
