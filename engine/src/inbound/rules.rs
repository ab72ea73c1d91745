//! Whose a message from a phone is: the operator's rules in their order, then the default of its provider. It keeps nothing.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use codecs::split;
use codecs::text::{self, Encoding};

use crate::catalog::{Definitions, InboundDefinition};
use crate::submission::Body;

/// The rules with names made numbers.
#[derive(Default)]
pub(crate) struct Rules {
    list: Vec<Rule>,
    /// By provider.
    defaults: Vec<(u16, u32)>,
}

struct Rule {
    providers: Vec<u16>,
    definition: InboundDefinition,
    tenant: u32,
}

/// What the rules look at.
pub(crate) struct Origin<'a> {
    pub provider: u16,
    pub from: &'a [u8],
    pub to: &'a [u8],
    pub body: &'a Body<'a>,
    /// Where the text begins in the body's octets.
    pub text: &'a [u8],
}

impl Rules {
    pub fn compile(
        definitions: &Definitions,
        tenant: impl Fn(&str) -> Option<u32>,
        provider: impl Fn(&str) -> Option<u16>,
    ) -> Rules {
        let rule = |definition: &InboundDefinition| {
            let providers: Vec<u16> = definition.providers.iter().filter_map(|id| provider(id)).collect();
            // One that names only what is not there must not fit everything.
            let is_sound = providers.is_empty() == definition.providers.is_empty();
            let tenant = tenant(&definition.tenant).filter(|_| is_sound)?;
            Some(Rule { providers, tenant, definition: definition.clone() })
        };
        let default = |definition: &crate::catalog::ProviderDefinition| {
            Some((provider(&definition.id)?, tenant(definition.inbound_tenant.as_deref()?)?))
        };
        Rules {
            list: definitions.inbound.iter().filter_map(rule).collect(),
            defaults: definitions.providers.iter().filter_map(default).collect(),
        }
    }

    pub fn tenant_of(&self, origin: &Origin<'_>) -> Option<u32> {
        let mut word = None;
        let rule = self.list.iter().find(|rule| rule.fits(origin, &mut word));
        let default = || self.defaults.iter().find(|(provider, _)| *provider == origin.provider);
        rule.map(|rule| rule.tenant).or_else(|| default().map(|(_, tenant)| *tenant))
    }
}

impl Rule {
    /// `word` is the first of the text, once somebody has asked for it.
    fn fits(&self, origin: &Origin<'_>, word: &mut Option<String>) -> bool {
        let InboundDefinition { to, to_prefixes, from_prefixes, keywords, .. } = &self.definition;
        let (called, phone) = (without_plus(origin.to), without_plus(origin.from));
        let begins = |address: &[u8], prefixes: &[String]| {
            prefixes.iter().any(|prefix| address.starts_with(without_plus(prefix.as_bytes())))
        };
        let is_to = || {
            to.iter().any(|wanted| called.eq_ignore_ascii_case(without_plus(wanted.as_bytes())))
                || begins(called, to_prefixes)
        };
        (self.providers.is_empty() || self.providers.contains(&origin.provider))
            && ((to.is_empty() && to_prefixes.is_empty()) || is_to())
            && (from_prefixes.is_empty() || begins(phone, from_prefixes))
            && (keywords.is_empty() || {
                let word = word.get_or_insert_with(|| first_word(origin));
                keywords.iter().any(|keyword| keyword.to_lowercase() == *word)
            })
    }
}

fn without_plus(address: &[u8]) -> &[u8] {
    address.strip_prefix(b"+").unwrap_or(address)
}

/// The first word of the text in small letters, without the signs around it; none of what is no text.
fn first_word(origin: &Origin<'_>) -> String {
    if origin.body.encoding == Encoding::Binary {
        return String::new();
    }
    // A keyword stands at the beginning: the rest of a long text need not be read.
    let start = origin.text.get(..256).unwrap_or(origin.text);
    let header = Some(origin.body.octets).filter(|octets| octets.len() > origin.text.len());
    let elements = header.and_then(split::header_and_text).map_or(&[][..], |(elements, _)| elements);
    let text = text::decode_user_data(origin.body.encoding, elements, start);
    let word = text.split_whitespace().next().unwrap_or_default();
    word.trim_matches(|sign: char| !sign.is_alphanumeric()).to_lowercase()
}
