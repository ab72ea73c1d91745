//! What an operation is about, compiled so that asking costs little; and the rules that stay until their end, in the one byte
//! form of the journal. It changes no message.
//!
//! A rule, little-endian: version u8 (2 where a campaign is named, else 1) · action u8 · argument u16 · given u8 (bit 0 tenant, 1 provider, 2 prefix, 3 before, 4 since,
//! 5 until, 6 it is ending) · tenant u32 · provider u16 · digits of the prefix u8 · prefix u64 · before i64 · since i64 · until i64 · made_at i64 · reason and
//! by as strings · in version 2, the campaign as a string.

use std::cell::OnceCell;

use codecs::instant::Wall;

use crate::bytes::{Reader, push_text};
use crate::message::Message;
use crate::step::BounceCode;
use crate::submission::{Body, Extra};

const RULE_VERSION: u8 = 1;
/// Of a rule that names a campaign: builds that know none would take it for one about all messages of its tenant.
const CAMPAIGN_VERSION: u8 = 2;
/// Digits of an international number (ITU-T E.164).
const PREFIX_DIGITS_MAX: usize = 15;

/// Digits that a destination begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    value: u64,
    digits: u32,
}

impl Prefix {
    /// `None` when the text is no beginning of an international number.
    pub fn read(text: &str) -> Option<Prefix> {
        let is_number = (1..=PREFIX_DIGITS_MAX).contains(&text.len())
            && text.bytes().all(|octet| octet.is_ascii_digit())
            && !text.starts_with('0');
        let value = text.parse().ok().filter(|_| is_number)?;
        Some(Prefix { value, digits: text.len() as u32 })
    }

    pub fn matches(self, destination: u64) -> bool {
        let digits = destination.checked_ilog10().map_or(1, |last| last + 1);
        match digits.checked_sub(self.digits) {
            Some(more) => destination / 10u64.pow(more) == self.value,
            None => false,
        }
    }
}

/// A message as many rules look at it: its body is read once, when the first of them asks, and its extras likewise.
pub(crate) struct Subject<'m> {
    pub message: &'m Message,
    body: OnceCell<Body<'m>>,
    campaign: OnceCell<Option<&'m [u8]>>,
}

impl<'m> Subject<'m> {
    pub fn new(message: &'m Message) -> Subject<'m> {
        Subject { message, body: OnceCell::new(), campaign: OnceCell::new() }
    }

    fn body(&self) -> &Body<'m> {
        self.body.get_or_init(|| self.message.body())
    }

    fn is_of(&self, campaign: &str) -> bool {
        let found = self.campaign.get_or_init(|| self.body().extra(Extra::Campaign));
        *found == Some(campaign.as_bytes())
    }
}

/// Which messages; everything that is given must hold. A message's answer never changes but with its provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Matcher {
    pub tenant: Option<u32>,
    pub provider: Option<u16>,
    pub prefix: Option<Prefix>,
    /// Given only with its tenant, so that no other's messages are looked into for it.
    pub campaign: Option<Box<str>>,
    /// Accepted before this, and not before that.
    pub before: Option<Wall>,
    pub since: Option<Wall>,
}

impl Matcher {
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        let message = subject.message;
        self.tenant.is_none_or(|tenant| tenant == message.tenant)
            && self.provider.is_none_or(|provider| provider == message.provider)
            && self.before.is_none_or(|before| message.accepted_at < before)
            && self.since.is_none_or(|since| message.accepted_at >= since)
            && self.prefix.is_none_or(|prefix| prefix.matches(subject.body().destination))
            && self.campaign.as_deref().is_none_or(|campaign| subject.is_of(campaign))
    }

    /// Whether it names all that the other names, and the same.
    pub fn names_all_of(&self, other: &Matcher) -> bool {
        fn same<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
            other.is_none() || one == other
        }
        same(&self.tenant, &other.tenant)
            && same(&self.provider, &other.provider)
            && same(&self.prefix, &other.prefix)
            && same(&self.campaign, &other.campaign)
            && same(&self.before, &other.before)
            && same(&self.since, &other.since)
    }
}

/// What a rule does with a message whose turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Hold,
    Bounce(BounceCode),
    Move(u16),
    /// A provider is given nothing; its matcher names only the provider.
    Disable,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub action: Action,
    pub matcher: Matcher,
    /// When it ends by itself.
    pub until: Option<Wall>,
    pub made_at: Wall,
    pub reason: String,
    /// The name of the key that made it.
    pub by: String,
    /// It holds nothing more, and not all that it held has been let go.
    pub ending: bool,
}

impl Rule {
    pub fn holds(&self) -> bool {
        self.action == Action::Hold && !self.ending
    }

    pub fn encode(&self) -> Vec<u8> {
        let (action, argument) = match self.action {
            Action::Hold => (0, 0),
            Action::Bounce(code) => (1, code as u16),
            Action::Move(to) => (2, to),
            Action::Disable => (3, 0),
        };
        let Matcher { tenant, provider, prefix, ref campaign, before, since } = self.matcher;
        let given = [
            tenant.is_some(),
            provider.is_some(),
            prefix.is_some(),
            before.is_some(),
            since.is_some(),
            self.until.is_some(),
            self.ending,
        ];
        let given = given.iter().rev().fold(0u8, |bits, given| bits << 1 | u8::from(*given));
        let prefix = prefix.unwrap_or(Prefix { value: 0, digits: 0 });
        let version = if campaign.is_some() { CAMPAIGN_VERSION } else { RULE_VERSION };
        let mut out = vec![version, action];
        out.extend_from_slice(&argument.to_le_bytes());
        out.push(given);
        out.extend_from_slice(&tenant.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&provider.unwrap_or(0).to_le_bytes());
        out.push(prefix.digits as u8);
        out.extend_from_slice(&prefix.value.to_le_bytes());
        for time in [before, since, self.until, Some(self.made_at)] {
            out.extend_from_slice(&time.map_or(0, |time| time.0).to_le_bytes());
        }
        push_text(&mut out, &self.reason);
        push_text(&mut out, &self.by);
        campaign.iter().for_each(|campaign| push_text(&mut out, campaign));
        out
    }

    /// `None` when the octets are no rule.
    pub fn decode(bytes: &[u8]) -> Option<Rule> {
        let mut reader = Reader::new(bytes);
        let [version, action] = reader.array::<2>()?;
        let argument = reader.u16()?;
        if !matches!(version, RULE_VERSION | CAMPAIGN_VERSION) {
            return None;
        }
        let action = match action {
            0 => Action::Hold,
            1 => Action::Bounce(BounceCode::from_u8(u8::try_from(argument).ok()?)?),
            2 => Action::Move(argument),
            3 => Action::Disable,
            _ => return None,
        };
        let given = reader.u8()?;
        let has = |bit: u8| given & (1 << bit) != 0;
        let (tenant, provider) = (reader.u32()?, reader.u16()?);
        let digits = u32::from(reader.u8()?);
        let prefix = Prefix { value: reader.u64()?, digits };
        let mut times = [Wall(0); 4];
        for time in &mut times {
            *time = Wall(reader.i64()?);
        }
        let [before, since, until, made_at] = times;
        let (reason, by) = (reader.text()?.to_owned(), reader.text()?.to_owned());
        let campaign = if version == CAMPAIGN_VERSION { Some(reader.text()?.into()) } else { None };
        let matcher = Matcher {
            tenant: has(0).then_some(tenant),
            provider: has(1).then_some(provider),
            prefix: has(2).then_some(prefix),
            campaign,
            before: has(3).then_some(before),
            since: has(4).then_some(since),
        };
        let until = has(5).then_some(until);
        reader.is_empty().then_some(Rule { action, matcher, until, made_at, reason, by, ending: has(6) })
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_matches_the_numbers_that_begin_with_it() {
        let table = [
            ("254", 254_712_345_678, true),
            ("2547", 254_712_345_678, true),
            ("2541", 254_712_345_678, false),
            ("254712345678", 254_712_345_678, true),
            ("2547123456780", 254_712_345_678, false),
            ("9", 0, false),
            ("1", 1, true),
            ("999999999999999", u64::MAX, false),
        ];
        for (prefix, destination, expected) in table {
            let prefix = Prefix::read(prefix).expect("a prefix");
            assert_eq!(prefix.matches(destination), expected, "{prefix} {destination}");
        }
        for none in ["", "0", "0254", "+254", "2 5", "1234567890123456", "２"] {
            assert_eq!(Prefix::read(none), None, "{none:?}");
        }
    }

    /// What names no campaign is on disk as it was before there were any.
    #[test]
    fn only_a_rule_about_a_campaign_is_of_the_second_version() {
        let mut rule = Rule {
            action: Action::Hold,
            matcher: Matcher { tenant: Some(3), ..Matcher::default() },
            until: None,
            made_at: Wall(1),
            reason: "down".to_owned(),
            by: "first".to_owned(),
            ending: false,
        };
        let first = rule.encode();
        assert_eq!((first[0], &first[first.len() - 13..]), (1, &b"\x04\0down\x05\0first"[..]));
        rule.matcher.campaign = Some("spring".into());
        let second = rule.encode();
        assert_eq!(second[0], 2);
        assert_eq!(second[1..], [&first[1..], &b"\x06\0spring"[..]].concat());
    }

    #[test]
    fn every_rule_reads_back_as_written_and_a_cut_one_is_none() {
        let actions = [Action::Hold, Action::Bounce(BounceCode::Stale), Action::Move(513), Action::Disable];
        let matcher = Matcher {
            tenant: Some(7),
            provider: Some(258),
            prefix: Prefix::read("2547"),
            campaign: Some("spring-2026".into()),
            before: Some(Wall(5)),
            since: Some(Wall(-5)),
        };
        let without = Matcher { campaign: None, ..matcher.clone() };
        let matchers = [matcher, without, Matcher::default()];
        for (action, matcher) in
            actions.into_iter().flat_map(|action| matchers.iter().map(move |matcher| (action, matcher)))
        {
            for until in [None, Some(Wall(9))] {
                let matcher = matcher.clone();
                let (reason, by) = ("a reason, with ü".to_owned(), "first".to_owned());
                let ending = until.is_some();
                let rule = Rule { action, matcher, until, made_at: Wall(1), reason, by, ending };
                let bytes = rule.encode();
                assert_eq!(Rule::decode(&bytes), Some(rule));
                for end in 0..bytes.len() {
                    assert_eq!(Rule::decode(&bytes[..end]), None);
                }
            }
        }
    }
}
