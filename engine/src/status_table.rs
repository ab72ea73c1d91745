//! What one provider means by its statuses, where that is not what they usually mean. What follows from it is `outcome.rs`'s.

use std::time::Duration;

use codecs::smpp::status::{Class, Status};

/// What a provider means by a status, or by a range of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRule {
    pub first: u32,
    pub last: u32,
    pub class: Class,
    /// Before the message goes again, or during which nothing is sent where it means too fast; else the usual pauses.
    pub delay: Option<Duration>,
    /// How often a message is sent in all; else as often as the provider's entry says.
    pub tries: Option<u8>,
}

/// The rules of a provider. Looked at only when something was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusTable(Box<[StatusRule]>);

impl StatusTable {
    /// None of the rules may overlap another.
    pub fn new(mut rules: Vec<StatusRule>) -> StatusTable {
        rules.sort_by_key(|rule| rule.first);
        debug_assert!(rules.windows(2).all(|pair| pair[0].last < pair[1].first));
        StatusTable(rules.into())
    }

    /// What a status that is no success means.
    pub fn meaning(&self, status: u32) -> StatusRule {
        let behind = self.0.partition_point(|rule| rule.first <= status);
        let rule = behind.checked_sub(1).and_then(|place| self.0.get(place));
        rule.filter(|rule| status <= rule.last).copied().unwrap_or_else(|| StatusRule {
            first: status,
            last: status,
            class: Status(status).class_on_submit(),
            delay: None,
            tries: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_counts_before_what_is_usual_and_only_for_its_own() {
        let rule = |first, last, class| StatusRule { first, last, class, delay: None, tries: Some(3) };
        let table = StatusTable::new(vec![
            rule(0x400, 0x4FF, Class::Permanent),
            rule(0x45, 0x45, Class::InDoubt),
            rule(0x500, 0x500, Class::Throttle),
        ]);
        for (status, class, tries) in [
            (0x44, Class::Permanent, None),
            (0x45, Class::InDoubt, Some(3)),
            (0x48, Class::Configuration, None),
            (0x3FF, Class::Retry, None),
            (0x400, Class::Permanent, Some(3)),
            (0x4FF, Class::Permanent, Some(3)),
            (0x500, Class::Throttle, Some(3)),
            (0x501, Class::Retry, None),
            (u32::MAX, Class::Retry, None),
        ] {
            let found = table.meaning(status);
            assert_eq!((found.class, found.tries), (class, tries), "{status:#x}");
            assert_eq!(StatusTable::default().meaning(status).class, Status(status).class_on_submit());
        }
    }
}
