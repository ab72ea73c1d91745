//! What tenants, providers and phones of a house are, and what they submit and write.

use codecs::text::Encoding;
use engine::submission::{Extra, Priority, Via, push_extra};

use super::*;

/// The ids of a receipt: of the TLV 0x001E and of the text; empty where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ids<'a> {
    pub tlv: &'a str,
    pub text: &'a str,
}

pub fn text_id(text: &str) -> Ids<'_> {
    Ids { tlv: "", text }
}

/// A message from a phone, or a part of one.
#[derive(Clone, Debug)]
pub struct FromPhone {
    pub phone: u64,
    pub to: &'static str,
    pub text: Vec<u8>,
    pub data_coding: u8,
    pub esm_class: u8,
    pub part: Option<PartOf>,
}

impl Default for FromPhone {
    fn default() -> FromPhone {
        let text = b"STOP it".to_vec();
        FromPhone { phone: 254_712_345_678, to: "22334", text, data_coding: 0, esm_class: 0, part: None }
    }
}

impl FromPhone {
    pub fn part(number: u8, total: u8, text: &[u8]) -> FromPhone {
        let part = PartOf { form: PartForm::Header8, reference: 7, total, number };
        FromPhone { text: text.to_vec(), part: Some(part), ..FromPhone::default() }
    }

    pub(super) fn arrival(&self) -> u64 {
        engine::hash::hash64(1, format!("{self:?}").as_bytes())
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        let body = Body {
            encoding: codecs::text::encoding_of(self.data_coding),
            data_coding: self.data_coding,
            esm_class: self.esm_class,
            destination: self.phone,
            source: self.to.as_bytes(),
            source_ton: 3,
            octets: &self.text,
            ..Body::default()
        };
        body.write(out);
    }
}

/// A message to submit.
#[derive(Clone, Debug)]
pub struct Sms {
    pub to: u64,
    pub from: &'static str,
    pub text: Vec<u8>,
    pub parts: u8,
    pub priority: Priority,
    pub via: Via,
    pub registered: u8,
    pub send_at: Option<Wall>,
    pub valid_until: Option<Wall>,
    pub provider: Option<&'static str>,
    pub campaign: Option<&'static str>,
    pub encoding: Encoding,
    pub data_coding: u8,
    pub esm_class: u8,
    pub tlvs: Vec<u8>,
    /// Of the same addresses (replace_if_present_flag).
    pub replaces_present: bool,
}

impl Default for Sms {
    fn default() -> Sms {
        Sms {
            to: 254_712_345_678,
            from: "ACME",
            text: b"hello".to_vec(),
            parts: 1,
            priority: Priority::Normal,
            via: Via::Smpp,
            registered: 1,
            send_at: None,
            valid_until: None,
            provider: None,
            campaign: None,
            encoding: Encoding::Gsm7,
            data_coding: 0,
            esm_class: 0,
            tlvs: Vec::new(),
            replaces_present: false,
        }
    }
}

impl Sms {
    pub fn of_parts(parts: u8) -> Sms {
        let octets = if parts == 1 { 5 } else { 153 * usize::from(parts) };
        Sms { text: vec![b'x'; octets], parts, ..Sms::default() }
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        let mut extras = Vec::new();
        if let Some(provider) = self.provider {
            push_extra(&mut extras, Extra::Provider, provider.as_bytes());
        }
        if let Some(campaign) = self.campaign {
            push_extra(&mut extras, Extra::Campaign, campaign.as_bytes());
        }
        if !self.tlvs.is_empty() {
            push_extra(&mut extras, Extra::Tlvs, &self.tlvs);
        }
        if self.replaces_present {
            push_extra(&mut extras, Extra::ReplacesPresent, b"");
        }
        let body = Body {
            via: self.via,
            encoding: self.encoding,
            data_coding: self.data_coding,
            esm_class: self.esm_class,
            priority: self.priority,
            registered_delivery: self.registered,
            parts: self.parts,
            destination: self.to,
            send_at: self.send_at,
            valid_until: self.valid_until,
            source: self.from.as_bytes(),
            octets: &self.text,
            extras: &extras,
            ..Body::default()
        };
        body.write(out);
    }
}

/// Tenants `acme` and `other` with 1,000 units each, a part costs one; providers `up` and, second in the route, `spare`.
pub fn definitions() -> Definitions {
    Definitions {
        settings: Settings::default(),
        tenants: vec![tenant("acme"), tenant("other")],
        providers: vec![provider("up"), provider("spare")],
        routes: vec![RouteDefinition {
            prefixes: vec!["254".to_owned()],
            providers: vec![("up".to_owned(), 1), ("spare".to_owned(), 1)],
            ..RouteDefinition::default()
        }],
        inbound: vec![InboundDefinition {
            to: vec!["22334".to_owned()],
            tenant: "acme".to_owned(),
            ..InboundDefinition::default()
        }],
        rates: Vec::new(),
    }
}

pub fn tenant(id: &str) -> TenantDefinition {
    TenantDefinition {
        id: id.to_owned(),
        currency: "KES".to_owned(),
        price: Some(Micros(1_000_000)),
        opening_balance: Micros(1_000_000_000),
        ..TenantDefinition::default()
    }
}

pub fn provider(id: &str) -> ProviderDefinition {
    ProviderDefinition { id: id.to_owned(), ..ProviderDefinition::default() }
}
