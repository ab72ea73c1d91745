//! Reads one value of the tree into each type that a setting can have. It knows no key by name.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::problem::{Fault, nearest, quoted};
use crate::tree::{Node, Value};
use crate::units::{IpBlock, Micros, Secret, Size, UnixMillis, is_digits, parse_duration, show_duration};
use crate::words::{Priority, Word};

/// Words of the documentation, kinds of provider and channels, that this version does not apply.
const NOT_SUPPORTED: [&str; 12] = [
    "onfon",
    "eskiz",
    "playmobile",
    "twilio",
    "vonage",
    "msg91",
    "whatsapp",
    "http",
    "gupshup",
    "greenapi",
    "ultramsg",
    "africastalking",
];

/// A value that can be read from a node.
pub(crate) trait Read: Sized {
    fn read(node: &Node) -> Result<Self, Fault>;
}

/// A value as the file would have it, for errors about ranges.
pub(crate) trait Show {
    fn show(&self) -> String;
}

impl Read for String {
    fn read(node: &Node) -> Result<Self, Fault> {
        text_of(node, "write it in quotes").map(str::to_owned)
    }
}

impl Read for Secret {
    fn read(node: &Node) -> Result<Self, Fault> {
        text_of(node, "write it in quotes").map(Secret::new)
    }
}

impl Read for PathBuf {
    fn read(node: &Node) -> Result<Self, Fault> {
        text_of(node, "write a path in quotes").map(PathBuf::from)
    }
}

impl Read for bool {
    fn read(node: &Node) -> Result<Self, Fault> {
        match &node.value {
            Value::Boolean(boolean) => Ok(*boolean),
            Value::Variable(text) if text == "true" => Ok(true),
            Value::Variable(text) if text == "false" => Ok(false),
            value => Err(Fault::new(format!("is {}", value.kind()), "write true or false, without quotes")),
        }
    }
}

impl Read for u8 {
    fn read(node: &Node) -> Result<Self, Fault> {
        integer_of(node, u8::MAX.into())
    }
}

impl Read for u16 {
    fn read(node: &Node) -> Result<Self, Fault> {
        integer_of(node, u16::MAX.into())
    }
}

impl Read for u32 {
    fn read(node: &Node) -> Result<Self, Fault> {
        integer_of(node, u32::MAX.into())
    }
}

impl Read for u64 {
    fn read(node: &Node) -> Result<Self, Fault> {
        // TOML's own integers end here.
        integer_of(node, i64::MAX.into())
    }
}

impl Read for Duration {
    fn read(node: &Node) -> Result<Self, Fault> {
        let mend = "write a whole number and ms, s, m, h or d, such as \"30s\"";
        parsed(node, "a duration", mend, parse_duration)
    }
}

impl Read for Size {
    fn read(node: &Node) -> Result<Self, Fault> {
        let mend = "write a whole number and B, KiB, MiB, GiB or TiB, such as \"2GiB\"";
        parsed(node, "a size", mend, Size::parse)
    }
}

impl Read for Micros {
    fn read(node: &Node) -> Result<Self, Fault> {
        let mend = "write a decimal in quotes with at most 6 digits behind the point, such as \"1.00\"";
        parsed(node, "an amount of money", mend, Micros::parse)
    }
}

impl Read for SocketAddr {
    fn read(node: &Node) -> Result<Self, Fault> {
        let mend = "write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"";
        parsed(node, "an address to listen on", mend, |text| text.parse().ok())
    }
}

impl Read for IpAddr {
    fn read(node: &Node) -> Result<Self, Fault> {
        let mend = "write an IP address, such as \"192.0.2.7\"";
        parsed(node, "an IP address", mend, |text| text.parse().ok())
    }
}

/// A text, or a number as it would be written.
pub(crate) struct Scalar(pub String);

impl Read for Scalar {
    fn read(node: &Node) -> Result<Self, Fault> {
        match &node.value {
            Value::Integer(integer) => Ok(Self(integer.to_string())),
            _ => String::read(node).map(Self),
        }
    }
}

impl Read for IpBlock {
    fn read(node: &Node) -> Result<Self, Fault> {
        let mend = "write an address or a block without host bits, such as \"192.0.2.7\" or \"10.0.0.0/8\"";
        parsed(node, "a block of addresses", mend, IpBlock::parse)
    }
}

impl Read for UnixMillis {
    fn read(node: &Node) -> Result<Self, Fault> {
        let mend = "write date, time and offset, such as \"2027-01-01T00:00:00Z\"";
        match &node.value {
            Value::Datetime(datetime) => UnixMillis::from_datetime(datetime)
                .ok_or_else(|| Fault::new("is a time without date or offset", mend)),
            _ => parsed(node, "a time", mend, UnixMillis::parse),
        }
    }
}

/// A tenant's priority may be written as its number too.
#[derive(Clone, Copy)]
pub(crate) struct PriorityOrNumber(pub Priority);

impl Read for PriorityOrNumber {
    fn read(node: &Node) -> Result<Self, Fault> {
        match &node.value {
            Value::Integer(1) => Ok(Self(Priority::Normal)),
            Value::Integer(2) => Ok(Self(Priority::High)),
            Value::Variable(text) if text == "1" => Ok(Self(Priority::Normal)),
            Value::Variable(text) if text == "2" => Ok(Self(Priority::High)),
            Value::Integer(_) => Err(Fault::new("is out of range", "write 1 (normal) or 2 (high)")),
            _ => Priority::read(node).map(Self),
        }
    }
}

impl<T: Word> Read for T {
    fn read(node: &Node) -> Result<Self, Fault> {
        let words = || T::WORDS.iter().map(|(word, _)| *word);
        let all = format!("write one of {}", quoted(words()));
        let text = text_of(node, &all)?;
        if let Some((_, value)) = T::WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        if NOT_SUPPORTED.contains(&text) {
            return Err(Fault::new(format!("is \"{text}\", which is not supported by this version"), all));
        }
        let mend = nearest(text, words()).map_or(all, |near| format!("did you mean \"{near}\"?"));
        Err(Fault::new(format!("is \"{text}\", which is not one of its words"), mend))
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node) -> Result<Self, Fault> {
        match &node.value {
            Value::List(items) => {
                items.iter().map(|item| T::read(item).map_err(|fault| fault.at(&item.place))).collect()
            }
            Value::Variable(text) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                let item =
                    |item: &str| Node { place: node.place.clone(), value: Value::Variable(item.to_owned()) };
                items.map(|text| T::read(&item(text))).collect()
            }
            value => {
                Err(Fault::new(format!("is {}, not a list", value.kind()), "write it in square brackets"))
            }
        }
    }
}

impl Show for u8 {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for u16 {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for u32 {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for u64 {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for Size {
    fn show(&self) -> String {
        format!("\"{self}\"")
    }
}

impl Show for Micros {
    fn show(&self) -> String {
        format!("\"{self}\"")
    }
}

impl Show for Duration {
    fn show(&self) -> String {
        format!("\"{}\"", show_duration(*self))
    }
}

fn text_of<'n>(node: &'n Node, mend: &str) -> Result<&'n str, Fault> {
    match &node.value {
        Value::Text(text) | Value::Variable(text) => Ok(text),
        value => Err(Fault::new(format!("is {}, not a string", value.kind()), mend)),
    }
}

fn integer_of<T: TryFrom<i128>>(node: &Node, max: i128) -> Result<T, Fault> {
    let integer = match &node.value {
        Value::Integer(integer) => Some(*integer),
        Value::Variable(text) if is_digits(text) => Some(text.parse().unwrap_or(i128::MAX)),
        _ => None,
    };
    let mend = format!("write a whole number from 0 to {max}, without quotes");
    match integer {
        Some(integer) if (0..=max).contains(&integer) => {
            T::try_from(integer).map_err(|_| Fault::new("is out of range", mend))
        }
        Some(_) => Err(Fault::new("is out of range", mend)),
        None => Err(Fault::new(format!("is {}, not a whole number", node.value.kind()), mend)),
    }
}

fn parsed<T>(node: &Node, what: &str, mend: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Fault> {
    let text = text_of(node, mend)?;
    parse(text).ok_or_else(|| Fault::new(format!("is \"{text}\", which is not {what}"), mend))
}
