//! What a client wrote: the JSON of `POST /v1/messages`, read into borrowed fields. Names and types are checked here, what the
//! values mean is `compose.rs`'s.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::problem::Refused;

/// Messages in one batch.
pub const BATCH_MAX: usize = 10_000;
const BATCH_EXPECTED: &str = "a list of at most 10,000 messages";
/// Characters of a stranger's field name that are shown back to it.
const NAME_SHOWN_MAX: usize = 64;

/// A message as it was written; nothing is checked but names and types. `null` is the same as absent.
#[derive(Debug, Default)]
pub struct Message<'a> {
    pub to: Option<Text<'a>>,
    pub from: Option<Text<'a>>,
    pub text: Option<Text<'a>>,
    pub data: Option<Text<'a>>,
    pub channel: Option<Text<'a>>,
    pub encoding: Option<Text<'a>>,
    pub priority: Option<Text<'a>>,
    pub provider: Option<Text<'a>>,
    pub send_at: Option<Text<'a>>,
    pub validity: Option<u64>,
    pub reference: Option<Text<'a>>,
    pub campaign: Option<Text<'a>>,
    pub metadata: Option<&'a RawValue>,
    pub tlvs: Option<&'a RawValue>,
    pub flash: Option<bool>,
    pub transliterate: Option<bool>,
    pub receipt: Option<bool>,
}

/// A string of the request, borrowed unless it holds escapes.
#[derive(Debug, Deserialize)]
pub struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The two forms of the request's body.
#[derive(Debug)]
pub enum Sent<'a> {
    One(Box<Message<'a>>),
    /// Each is read by itself with `read_one`, so that one that is wrong takes no other with it.
    Many(Vec<&'a RawValue>),
}

/// Reads a whole body.
pub fn read(body: &[u8]) -> Result<Sent<'_>, Refused> {
    let fault = RefCell::new(None);
    let shape = Shape { fault: &fault, whole: true };
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = shape.deserialize(&mut deserializer).and_then(|fields| deserializer.end().map(|()| fields));
    let fields = read.map_err(|error| explain(&error, fault.take()))?;
    let Some(batch) = fields.messages else { return Ok(Sent::One(Box::new(fields.message))) };
    if fields.given > 1 {
        return Err(Refused::invalid(
            "messages",
            "`messages` stands alone: each message has its own members",
        ));
    }
    if batch.items.is_empty() {
        return Err(Refused::invalid("messages", "`messages` is empty"));
    }
    Ok(Sent::Many(batch.items))
}

/// Reads one message of a batch.
pub fn read_one(item: &RawValue) -> Result<Message<'_>, Refused> {
    let fault = RefCell::new(None);
    let shape = Shape { fault: &fault, whole: false };
    let mut deserializer = serde_json::Deserializer::from_str(item.get());
    let fields = shape.deserialize(&mut deserializer).map_err(|error| explain(&error, fault.take()))?;
    Ok(fields.message)
}

/// What serde says of an error would repeat values of the request; what we say never does.
fn explain(error: &serde_json::Error, fault: Option<Refused>) -> Refused {
    let whole = |detail: Cow<'static, str>| Refused {
        refusal: engine::command::Refusal::InvalidRequest,
        field: None,
        detail,
    };
    match (error.classify(), fault) {
        (Category::Data, Some(fault)) => fault,
        (Category::Data, None) => whole("a message is a JSON object".into()),
        (Category::Io | Category::Syntax | Category::Eof, _) => {
            let place = format!("not JSON: see line {}, column {}", error.line(), error.column());
            whole(place.into())
        }
    }
}

#[derive(Default)]
struct Fields<'a> {
    message: Message<'a>,
    messages: Option<Batch<'a>>,
    /// Members that were not null.
    given: u32,
}

/// Reads the members of an object; what is wrong with one is left in `fault`.
struct Shape<'f> {
    fault: &'f RefCell<Option<Refused>>,
    /// It is the request itself, which may be a batch.
    whole: bool,
}

impl<'de> DeserializeSeed<'de> for Shape<'_> {
    type Value = Fields<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fields<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Shape<'_> {
    type Value = Fields<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<Text<'de>>()? {
            let taken = if self.whole && &*name == "messages" {
                member(&mut fields.messages, &mut map, BATCH_EXPECTED)
            } else {
                fields.message.take(&name, &mut map)
            };
            let given = taken.map_err(|wrong| self.report(&name, wrong))?;
            fields.given = fields.given.saturating_add(u32::from(given));
        }
        Ok(fields)
    }
}

impl Shape<'_> {
    fn report<E>(&self, name: &str, wrong: Wrong<E>) -> E
    where
        E: serde::de::Error,
    {
        let name: String = name.chars().take(NAME_SHOWN_MAX).collect();
        let (detail, error) = match wrong {
            Wrong::Unknown => (format!("`{name}` is not a member of a message"), E::custom("unknown")),
            Wrong::Unsupported => {
                (format!("`{name}` is not supported by this version"), E::custom("unsupported"))
            }
            Wrong::Twice => (format!("`{name}` is given twice"), E::custom("twice")),
            Wrong::Type(expected, error) => (format!("`{name}` must be {expected}"), error),
        };
        let refusal = engine::command::Refusal::InvalidRequest;
        *self.fault.borrow_mut() = Some(Refused { refusal, field: Some(name.into()), detail: detail.into() });
        error
    }
}

/// What is wrong with a member.
enum Wrong<E> {
    Unknown,
    Unsupported,
    Twice,
    /// It should have been this.
    Type(&'static str, E),
}

impl<'de> Message<'de> {
    /// Takes one member; tells whether it held anything.
    fn take<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, Wrong<A::Error>> {
        const TEXT: &str = "a string";
        const FLAG: &str = "true or false";
        match name {
            "to" => member(&mut self.to, map, TEXT),
            "from" => member(&mut self.from, map, TEXT),
            "text" => member(&mut self.text, map, TEXT),
            "data" => member(&mut self.data, map, TEXT),
            "channel" => member(&mut self.channel, map, TEXT),
            "encoding" => member(&mut self.encoding, map, TEXT),
            "priority" => member(&mut self.priority, map, TEXT),
            "provider" => member(&mut self.provider, map, TEXT),
            "send_at" => member(&mut self.send_at, map, TEXT),
            "validity" => member(&mut self.validity, map, "a whole number of seconds"),
            "reference" => member(&mut self.reference, map, TEXT),
            "campaign" => member(&mut self.campaign, map, TEXT),
            "metadata" => member(&mut self.metadata, map, "an object"),
            "tlvs" => member(&mut self.tlvs, map, "an object"),
            "flash" => member(&mut self.flash, map, FLAG),
            "transliterate" => member(&mut self.transliterate, map, FLAG),
            "receipt" => member(&mut self.receipt, map, FLAG),
            "callback_url" | "template" | "variables" | "media" => {
                let value =
                    map.next_value::<Option<IgnoredAny>>().map_err(|error| Wrong::Type("a value", error))?;
                if value.is_some() { Err(Wrong::Unsupported) } else { Ok(false) }
            }
            _ => Err(Wrong::Unknown),
        }
    }
}

/// Reads the value of a member into its place, once.
fn member<'de, T, A>(
    place: &mut Option<T>,
    map: &mut A,
    expected: &'static str,
) -> Result<bool, Wrong<A::Error>>
where
    T: Deserialize<'de>,
    A: MapAccess<'de>,
{
    if place.is_some() {
        return Err(Wrong::Twice);
    }
    *place = map.next_value().map_err(|error| Wrong::Type(expected, error))?;
    Ok(place.is_some())
}

/// The list of a batch. It ends at the first message too many: what a stranger sends does not decide how much memory it takes.
struct Batch<'a> {
    items: Vec<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Batch<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Batch<'de>, D::Error> {
        deserializer.deserialize_seq(BatchVisitor)
    }
}

struct BatchVisitor;

impl<'de> Visitor<'de> for BatchVisitor {
    type Value = Batch<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(BATCH_EXPECTED)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Batch<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<&'de RawValue>()? {
            if items.len() == BATCH_MAX {
                return Err(A::Error::invalid_length(BATCH_MAX.saturating_add(1), &self));
            }
            items.push(item);
        }
        Ok(Batch { items })
    }
}
