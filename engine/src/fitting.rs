//! What all providers of a message can carry: the room of its parts, so that it is cut the same way at each of them, and tables of
//! national languages, in place of which others of that language go, or UCS-2, where one of them does not take them. It routes nothing.

use codecs::split::{Cut, PARTS_MAX, Reference};
use codecs::text::national::{Languages, Tables};
use codecs::text::{self, Choice, Encoding};

use crate::catalog::{Charset, LongMessages, ProviderDefinition};
use crate::command::Refusal;
use crate::engine::Engine;
use crate::hash;
use crate::submission::{self, Body, Extra, UDHI, Via};

/// References in use: one of these counts for each pair of source and destination.
const REFERENCES: usize = 1 << 16;
const REFERENCE_DOMAIN: u64 = 7 << 16;

/// The reference numbers given last, each for the pairs of source and destination that share its place.
///
/// A phone joins parts by source, reference and total. So two long messages of one sender to one phone must not have the same reference
/// within the time that a phone waits for parts: they have neighbouring ones.
#[derive(Debug, Default)]
pub(crate) struct References {
    /// Empty until there is a long message.
    last: Vec<u16>,
}

impl References {
    fn place(&mut self, body: &Body<'_>) -> &mut u16 {
        if self.last.is_empty() {
            self.last = vec![0; REFERENCES];
        }
        let mut key = [0; 28];
        let source = body.source.get(..20).unwrap_or(body.source);
        key[..8].copy_from_slice(&body.destination.to_le_bytes());
        key[8..8 + source.len()].copy_from_slice(source);
        &mut self.last[hash::hash64(REFERENCE_DOMAIN, &key) as usize % REFERENCES]
    }

    /// The reference of a new message. The first of a place is told from its number, so that a start does not begin anew.
    pub fn next(&mut self, body: &Body<'_>, number: u64) -> u16 {
        let last = self.place(body);
        let next = if *last == 0 { number as u16 } else { last.wrapping_add(1) };
        *last = next.max(1);
        *last
    }

    /// A message of before the start has this one.
    pub fn seen(&mut self, body: &Body<'_>) {
        if let Some(reference) = body.reference() {
            let last = self.place(body);
            // What the ring has carried over is older than what came after it.
            if *last == 0 || reference.wrapping_sub(*last) < 1 << 15 {
                *last = reference;
            }
        }
    }
}

/// What is changed in a body before it is priced and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fitted {
    pub parts: u8,
    pub reference: Reference,
    /// The text in another encoding, where its own is not taken.
    pub recoded: Option<Recoded>,
}

/// A text in UCS-2; or by other tables of its language, which a header in front of it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recoded {
    octets: Vec<u8>,
    encoding: Encoding,
}

impl Fitted {
    /// The body as it is kept, with the reference number of its parts.
    pub fn write(&self, body: &Body<'_>, number: u16, out: &mut Vec<u8>) {
        let mut extras = Vec::with_capacity(body.extras.len() + 9);
        extras.extend_from_slice(body.extras);
        if self.recoded.is_some() && body.esm_class & UDHI == 0 {
            submission::push_extra(&mut extras, Extra::Recoded, b"");
        }
        if self.parts > 1 {
            submission::push_cut(&mut extras, self.reference, number);
        }
        Body { parts: self.parts, extras: &extras, ..self.body(body) }.write(out);
    }

    /// The body with its text as it is sent.
    pub fn body<'a>(&'a self, body: &Body<'a>) -> Body<'a> {
        match &self.recoded {
            None => Body { parts: self.parts, ..*body },
            Some(Recoded { octets, encoding: Encoding::Gsm7 }) => Body { parts: self.parts, octets, ..*body },
            Some(Recoded { octets, encoding }) => Body {
                parts: self.parts,
                encoding: *encoding,
                data_coding: if body.data_coding == 0 { 0x08 } else { 0x18 },
                esm_class: body.esm_class & !UDHI,
                octets,
                ..*body
            },
        }
    }
}

/// Whether a body has to be fitted to its providers at all; a text of one part in a plain encoding has not.
fn is_to_be_fitted(body: &Body<'_>) -> bool {
    body.parts > 1 || national_tables(body).is_some()
}

/// The national tables of a text that we encoded ourselves. What a tenant has encoded is sent as it is.
fn national_tables(body: &Body<'_>) -> Option<Tables> {
    let is_ours = body.via == Via::Http && body.esm_class & UDHI != 0 && body.encoding == Encoding::Gsm7;
    let tables = is_ours.then(|| Tables::of(body.header_and_text().0))?;
    Some(tables).filter(|tables| !tables.is_default())
}

impl Engine {
    /// What has to be changed in a body for these providers, if anything.
    pub(crate) fn fitted(&self, body: &Body<'_>, candidates: &[u16]) -> Result<Option<Fitted>, Refusal> {
        if self.has_no_room(body, candidates) {
            return Err(Refusal::TooLong);
        }
        let is_to_be_fitted = is_to_be_fitted(body) || self.loses(body, candidates);
        is_to_be_fitted.then(|| self.fit(body, candidates)).transpose()
    }

    /// Whether one of its providers is sent no TLVs, and a part of the tenant's own has no room for the header that says there what
    /// its sar parameters say.
    fn has_no_room(&self, body: &Body<'_>, candidates: &[u16]) -> bool {
        let Some(place) = body.place_by_sar() else { return false };
        let mut definitions = candidates.iter().filter_map(|index| self.definition(*index));
        if definitions.all(|provider| provider.takes_tlvs) {
            return false;
        }
        let (elements, text) = body.header_and_text();
        let (elements, reference) = (elements.len(), Reference::of(place.reference));
        !Cut { elements, reference, ..Cut::new(body.encoding) }.fits_part(text)
    }

    fn fit(&self, body: &Body<'_>, candidates: &[u16]) -> Result<Fitted, Refusal> {
        let definitions = || candidates.iter().filter_map(|index| self.definition(*index));
        let takes = |tables| {
            move |provider: &ProviderDefinition| {
                provider.charset == Charset::Gsm7 && provider.national.take(tables)
            }
        };
        let refused = national_tables(body).filter(|tables| !definitions().all(takes(*tables)));
        let recoded = match refused {
            None if self.loses(body, candidates) => {
                let text = text::decode(Encoding::Gsm7, body.octets);
                Some(recode(&text, Languages::NONE, |_| false)?)
            }
            None => None,
            Some(tables) => {
                let languages = [tables.single, tables.locking].into_iter().flatten().collect();
                let text = tables.decode(body.header_and_text().1);
                Some(recode(&text, languages, |tables| definitions().all(takes(tables)))?)
            }
        };
        let is_wide = definitions().any(|provider| provider.long_messages == LongMessages::Udh16);
        let reference = if is_wide { Reference::Wide } else { Reference::Narrow };
        let mut fitted = Fitted { parts: body.parts, reference, recoded };
        let fit = fitted.body(body);
        let cut = Cut { reference, is_first_form: false, ..fit.cut() };
        let parts = cut.count(fit.header_and_text().1);
        if parts > PARTS_MAX {
            return Err(Refusal::TooLong);
        }
        fitted.parts = parts as u8;
        Ok(fitted)
    }

    /// Whether one of its providers means an alphabet by data_coding 0 that has not all characters of a text. A part that a tenant
    /// has cut is no text of its own, and would not fit in another encoding.
    fn loses(&self, body: &Body<'_>, candidates: &[u16]) -> bool {
        let is_text = body.encoding == Encoding::Gsm7 && body.data_coding == 0;
        if !self.providers.has_narrow_charset || !is_text || body.esm_class & UDHI != 0 || body.is_own_part()
        {
            return false;
        }
        let last = candidates.iter().filter_map(|index| self.definition(*index)?.charset.last()).min();
        last.is_some_and(|last| text::decode(Encoding::Gsm7, body.octets).chars().any(|one| one > last))
    }

    fn definition(&self, provider: u16) -> Option<&ProviderDefinition> {
        self.providers.get(provider)?.definition.as_ref()
    }
}

/// By tables of these languages that are taken, or in UCS-2.
fn recode(text: &str, languages: Languages, takes: impl Fn(Tables) -> bool) -> Result<Recoded, Refusal> {
    let mut octets = Vec::new();
    let encoding = match languages.is_empty() {
        true => {
            text::encode(text, Choice::Only(Encoding::Ucs2), &mut octets).map_err(|_| Refusal::TooLong)?
        }
        false => text::cheapest_taken(text, languages, takes, &mut octets).encoding,
    };
    // A body's length has sixteen bits; no text of 255 parts comes near it.
    if u16::try_from(octets.len()).is_err() {
        Err(Refusal::TooLong)
    } else {
        Ok(Recoded { octets, encoding })
    }
}
