//! `tlvs` of a message: values for TLVs by the names that providers' entries give them. What no provider could use is refused here;
//! what a name means is said where the message is sent, since a route may lead to several providers.

use std::collections::BTreeMap;
use std::fmt;

use engine::command::Refusal;
use engine::provider_form::push_named;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::Refused;
use crate::tlv_names::{TlvNames, Unusable};

const NAMES_MAX: usize = 16;
const NAME_OCTETS_MAX: usize = 64;
const VALUE_OCTETS_MAX: usize = 255;
/// Room for as many names and values as there may be, each character of them escaped.
const WRITTEN_OCTETS_MAX: usize = 32 << 10;

/// A value as it may be written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u32),
    Text(String),
}

/// The members of the object, the last of each name. It ends at the first too many: what a stranger sends does not decide how much
/// memory it takes.
struct Named(BTreeMap<String, Written>);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Named, D::Error> {
        deserializer.deserialize_map(NamedVisitor)
    }
}

struct NamedVisitor;

impl<'de> Visitor<'de> for NamedVisitor {
    type Value = Named;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of at most 16 members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named, A::Error> {
        let mut named = BTreeMap::new();
        let mut given = 0usize;
        while let Some(name) = map.next_key()? {
            if given == NAMES_MAX {
                return Err(A::Error::invalid_length(NAMES_MAX.saturating_add(1), &self));
            }
            given = given.saturating_add(1);
            named.insert(name, map.next_value()?);
        }
        Ok(Named(named))
    }
}

/// The names and values as the engine keeps them.
pub fn read(tlvs: &RawValue, known: &TlvNames) -> Result<Vec<u8>, Refused> {
    let refused = |detail: &str| Refused::invalid("tlvs", detail.to_owned());
    if tlvs.get().len() > WRITTEN_OCTETS_MAX {
        return Err(refused("`tlvs` is longer than 32,768 octets"));
    }
    let Named(named) = serde_json::from_str(tlvs.get()).map_err(|_| {
        refused("`tlvs` must be an object of at most 16 strings and whole numbers up to 4294967295")
    })?;
    let mut out = Vec::new();
    for (name, value) in named {
        let value = match value {
            Written::Number(number) => number.to_string(),
            Written::Text(text) => text,
        };
        if name.len() > NAME_OCTETS_MAX || value.len() > VALUE_OCTETS_MAX || value.contains('\0') {
            return Err(refused(
                "a member of `tlvs` has a name longer than 64 octets, or a value longer than 255 or with a NUL",
            ));
        }
        known.check(&name, &value).map_err(|unusable| useless(&name, unusable))?;
        push_named(&mut out, name.as_bytes(), value.as_bytes());
    }
    Ok(out)
}

/// The field is the member: a value may hold what is nobody's business, a name of 64 octets is what the tenant wrote.
fn useless(name: &str, unusable: Unusable) -> Refused {
    let detail = match unusable {
        Unusable::Name => format!("no provider here knows a TLV by the name `{name}`"),
        Unusable::Value => format!("the value of `{name}` fits no provider that knows this TLV"),
    };
    Refused {
        refusal: Refusal::InvalidRequest,
        field: Some(format!("tlvs.{name}").into()),
        detail: detail.into(),
    }
}
