//! An operator's order as JSON or as a query, read into what the engine is asked for. What is not known is refused by name.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::fmt;
use std::time::Duration;

use codecs::instant::Wall;
use engine::command::Query;
use engine::kept::Drawer;
use engine::step::{BounceCode, Resolution};
use engine::surgery::{Filter, Operation};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::api::problem::Problem;

/// Rows of a list, and messages of a page.
const ROWS_DEFAULT: usize = 20;
const ROWS_MAX: usize = 1_000;
const REASON_OCTETS_MAX: usize = 200;
/// Members that say which messages.
const WHICH: [&str; 7] = ["tenant", "provider", "prefix", "campaign", "older_than", "newer_than", "all"];
/// A rule that has no end of its own.
const EVER: &str = "ever";

/// What was sent, member by member.
pub struct Asked(Map<String, Value>);

/// The members of a JSON object, as they were written: a map would keep the last of those with one name.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// An order, but for who gives it.
#[derive(Debug, PartialEq, Eq)]
pub struct Wanted {
    pub operation: Operation,
    pub filter: Filter,
    pub reason: String,
}

/// Which of a provider's binds are to begin anew, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct RebindWanted {
    /// None: all of them.
    pub bind: Option<u16>,
    pub reason: String,
}

impl Wanted {
    /// Of everything, and without a reason.
    pub fn question(operation: Operation) -> Wanted {
        Wanted { operation, filter: Filter::default(), reason: String::new() }
    }
}

impl Asked {
    pub fn of_body(body: &[u8]) -> Result<Asked, Problem> {
        if body.is_empty() {
            return Ok(Asked(Map::new()));
        }
        let Members(members) =
            serde_json::from_slice(body).map_err(|_| Problem::invalid("the body is no JSON object"))?;
        Asked::of_members(members)
    }

    pub fn of_query(pairs: Vec<(String, String)>) -> Result<Asked, Problem> {
        Asked::of_members(pairs.into_iter().map(|(name, value)| (name, Value::String(value))))
    }

    /// An order that says two things of one kind is not guessed at.
    fn of_members(members: impl IntoIterator<Item = (String, Value)>) -> Result<Asked, Problem> {
        let mut asked = Map::new();
        for (name, value) in members {
            if asked.contains_key(&name) {
                let name: String = name.chars().take(40).collect();
                return Err(Problem::invalid(format!("`{name}` is given twice")));
            }
            asked.insert(name, value);
        }
        Ok(Asked(asked))
    }

    pub fn list(&self, now: Wall) -> Result<Wanted, Problem> {
        self.only_which(&["rows"])?;
        let rows = self.count("rows")?.unwrap_or(ROWS_DEFAULT);
        Ok(Wanted { filter: self.filter(now)?, ..Wanted::question(Operation::List { rows }) })
    }

    /// Which of what is kept.
    pub fn kept(&self, drawer: Drawer) -> Result<Query, Problem> {
        // Of a receipt the phone is whom its message went to.
        let phone = if drawer == Drawer::Unrouted { "from" } else { "to" };
        self.only(&["provider", phone, "cursor", "limit"])?;
        let from = match self.text("cursor")? {
            Some(place) => place.parse().map_err(|_| invalid("cursor", "the `next` of the page before"))?,
            None => 0,
        };
        let most = self.count("limit")?.unwrap_or(ROWS_DEFAULT);
        let digits = self.text(phone)?.map(|text| text.trim().trim_start_matches('+'));
        if digits
            .is_some_and(|digits| digits.is_empty() || !digits.bytes().all(|octet| octet.is_ascii_digit()))
        {
            return Err(invalid(phone, "a number, or the digits that it begins with"));
        }
        let provider = self.text("provider")?.map(str::to_owned);
        Ok(Query::Kept { drawer, provider, phone: digits.map(str::to_owned), from, most })
    }

    /// `number` knows the number of an id.
    pub fn doubts(&self, now: Wall, number: impl Fn(&str) -> Option<u64>) -> Result<Wanted, Problem> {
        self.only_which(&["after", "limit"])?;
        let limit = self.count("limit")?.unwrap_or(ROWS_DEFAULT);
        let after = match self.text("after")? {
            Some(id) => number(id).ok_or_else(|| invalid("after", "the id of a message"))?,
            None => 0,
        };
        Ok(Wanted { filter: self.filter(now)?, ..Wanted::question(Operation::Doubts { after, limit }) })
    }

    pub fn change(&self, verb: &str, now: Wall) -> Result<Wanted, Problem> {
        let operation = match verb {
            "suspend" => {
                self.only_which(&["reason", "for"])?;
                Operation::Suspend { until: self.end(now)? }
            }
            "resume" => {
                self.only_which(&["reason", "rule"])?;
                self.without_ages()?;
                Operation::Resume { rule: self.rule()? }
            }
            "bounce" => {
                self.only_which(&["reason", "for", "code"])?;
                Operation::Bounce { code: self.code()?, until: self.end_if_any(now)? }
            }
            "move" => {
                self.only_which(&["reason", "for", "to"])?;
                let to = self.text("to")?.ok_or_else(|| invalid("to", "the id of a provider"))?.to_owned();
                Operation::Move { to, until: self.end_if_any(now)? }
            }
            _ => return Err(Problem::not_found("a queue can be suspended, resumed, bounced and moved")),
        };
        let filter = self.filter(now)?;
        let names_one = matches!(operation, Operation::Resume { rule: Some(_) });
        if filter == Filter::default() && !names_one && !self.flag("all")? {
            return Err(Problem::invalid("say which messages, or `all`"));
        }
        if self.flag("all")? && (filter != Filter::default() || names_one) {
            return Err(Problem::invalid("`all` and a choice contradict each other"));
        }
        if names_one && filter != Filter::default() {
            return Err(Problem::invalid("`rule` names one: a choice beside it would be passed over"));
        }
        Ok(Wanted { operation, filter, reason: self.reason()? })
    }

    pub fn resolution(&self, number: u64) -> Result<Wanted, Problem> {
        self.only(&["reason", "as"])?;
        let word = self.text("as")?;
        let found = Resolution::ALL.into_iter().find(|resolution| Some(resolution.word()) == word);
        let resolution = found.ok_or_else(|| invalid("as", "sent, failed or resend"))?;
        let operation = Operation::Resolve { number, resolution };
        Ok(Wanted { reason: self.reason()?, ..Wanted::question(operation) })
    }

    pub fn provider(&self, id: &str, verb: &str, now: Wall) -> Result<Wanted, Problem> {
        let operation = match verb {
            "enable" => {
                self.only(&["reason"])?;
                Operation::Enable
            }
            "disable" => {
                self.only(&["reason", "for"])?;
                Operation::Disable { until: self.end(now)? }
            }
            _ => return Err(Problem::not_found("a provider can be enabled, disabled and rebound")),
        };
        let filter = Filter { provider: Some(id.to_owned()), ..Filter::default() };
        Ok(Wanted { operation, filter, reason: self.reason()? })
    }

    pub fn rebind(&self) -> Result<RebindWanted, Problem> {
        self.only(&["reason", "bind"])?;
        let bind = match self.0.get("bind") {
            None | Some(Value::Null) => None,
            Some(value) => {
                let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
                Some(number.ok_or_else(|| invalid("bind", "the number of a bind, from 0"))?)
            }
        };
        Ok(RebindWanted { bind, reason: self.reason()? })
    }

    /// Refuses what means nothing here, but for what says which messages.
    fn only_which(&self, beyond: &[&str]) -> Result<(), Problem> {
        self.only(&[&WHICH, beyond].concat())
    }

    fn only(&self, names: &[&str]) -> Result<(), Problem> {
        match self.0.keys().find(|name| !names.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let name: String = name.chars().take(40).collect();
                Err(Problem::invalid(format!("`{name}` means nothing here")))
            }
        }
    }

    /// An age is reckoned when an order is given, so that no later one names the same messages.
    fn without_ages(&self) -> Result<(), Problem> {
        match ["older_than", "newer_than"]
            .into_iter()
            .find(|name| self.0.get(*name).is_some_and(|age| !age.is_null()))
        {
            None => Ok(()),
            Some(name) => Err(invalid(
                name,
                "left out: end the rule by its number, tenant, provider, prefix or campaign",
            )),
        }
    }

    fn filter(&self, now: Wall) -> Result<Filter, Problem> {
        let id = |name| self.text(name).map(|text| text.map(str::to_owned));
        let (older, newer) = (self.duration("older_than")?, self.duration("newer_than")?);
        if older.zip(newer).is_some_and(|(older, newer)| older >= newer) {
            let expected =
                "more than `older_than`: no message is older than the one and newer than the other";
            return Err(invalid("newer_than", expected));
        }
        Ok(Filter {
            tenant: id("tenant")?,
            provider: id("provider")?,
            prefix: id("prefix")?,
            campaign: id("campaign")?,
            accepted_before: older.map(|age| before(now, age)),
            accepted_since: newer.map(|age| before(now, age)),
        })
    }

    fn text(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(invalid(name, "a string")),
        }
    }

    fn flag(&self, name: &'static str) -> Result<bool, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(invalid(name, "true or false")),
        }
    }

    /// A number as JSON has it, or as a query does.
    fn count(&self, name: &'static str) -> Result<Option<usize>, Problem> {
        let number = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_u64(),
        };
        let number = number.and_then(|number| usize::try_from(number).ok());
        let number = number.filter(|number| (1..=ROWS_MAX).contains(number));
        number.map(Some).ok_or_else(|| invalid(name, "a number from 1 to 1000"))
    }

    fn rule(&self) -> Result<Option<u32>, Problem> {
        match self.0.get("rule") {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
                number.map(Some).ok_or_else(|| invalid("rule", "the number of a rule"))
            }
        }
    }

    fn code(&self) -> Result<BounceCode, Problem> {
        let Some(word) = self.text("code")? else { return Ok(BounceCode::Other) };
        let found = BounceCode::ALL.into_iter().find(|code| code.word() == word);
        found.ok_or_else(|| invalid("code", "other, abuse, duplicate, outage, request or stale"))
    }

    fn duration(&self, name: &'static str) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let duration = config::parse_duration(text);
        duration
            .map(Some)
            .ok_or_else(|| invalid(name, "a whole number and a unit, such as 90s, 10m, 2h or 3d"))
    }

    /// When a rule ends: an operator says so, or that it does not.
    fn end(&self, now: Wall) -> Result<Option<Wall>, Problem> {
        match self.text("for")? {
            Some(EVER) => Ok(None),
            Some(_) => self.end_if_any(now),
            None => Err(invalid("for", "how long it is to last, such as 2h, or \"ever\"")),
        }
    }

    fn end_if_any(&self, now: Wall) -> Result<Option<Wall>, Problem> {
        Ok(self.duration("for")?.map(|lasts| now.after(lasts)))
    }

    fn reason(&self) -> Result<String, Problem> {
        let reason = self.text("reason")?.map(str::trim).unwrap_or_default();
        let is_fine =
            (1..=REASON_OCTETS_MAX).contains(&reason.len()) && !reason.chars().any(char::is_control);
        if is_fine {
            Ok(reason.to_owned())
        } else {
            Err(invalid("reason", "1 to 200 octets of text in one line"))
        }
    }
}

fn before(now: Wall, age: Duration) -> Wall {
    Wall(now.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)))
}

fn invalid(name: &'static str, expected: &str) -> Problem {
    Problem { field: Some(name.into()), ..Problem::invalid(format!("`{name}` must be {expected}")) }
}
