//! `[[tenant]]`: who may send, by which credentials, at which price and how fast.

use std::time::Duration;

use crate::problem::Fault;
use crate::read::{PriorityOrNumber, Scalar};
use crate::section::Section;
use crate::units::{DAY, HOUR, IpBlock, MINUTE, Micros, Secret, UnixMillis, is_digits};
use crate::words::{Billing, BindType, Charset, IdRadix, Language, Priority, Settle, TenantStatus, WhenFull};

/// One customer.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Its name in routes, answers and metrics, 1 to 64 of letters, digits, `.`, `_` and `-`; unique.
    pub id: String,
    /// What people call it. Default its id.
    pub name: String,
    /// A number by which older programs know it; unique. Default none.
    pub client_id: Option<u64>,
    /// Where it is written to. Default none.
    pub email: Option<String>,
    /// Its telephone. Default none.
    pub phone: Option<String>,
    /// The person to ask for. Default none.
    pub contact: Option<String>,
    /// Keys of the HTTP API, 8 to 256 visible ASCII characters each; unique over all tenants. Default none.
    pub api_keys: Vec<Secret>,
    /// Its SMPP account. Default none: it cannot bind.
    pub smpp: Option<TenantSmpp>,
    /// Three capital letters (ISO 4217).
    pub currency: String,
    /// Opening balance, credited once, when the tenant is first seen. Default 0.
    pub balance: Micros,
    /// What a part costs it: the key `price`, or `rates`, and exactly one of them.
    pub price: Price,
    /// Messages a second over HTTP and SMPP together; 0: no limit. Default 0.
    pub rate: u32,
    /// Messages a minute, likewise; 0: no limit. Default 0.
    pub per_minute: u32,
    /// Messages an hour, likewise. Default 0.
    pub per_hour: u32,
    /// Messages a day of UTC, likewise. Default 0.
    pub per_day: u32,
    /// Whence it may connect; empty: from anywhere. Default empty.
    pub ip_allow: Vec<IpBlock>,
    /// The highest priority its messages may ask for. Default `normal`.
    pub priority: Priority,
    /// Whether it may send. Default `active`.
    pub status: TenantStatus,
    /// From when on it is refused with `tenant_expired`. Default never.
    pub expires_at: Option<UnixMillis>,
    /// When it pays. Default `prepaid`; `postpaid` needs a `credit_limit`, which no other has.
    pub billing: Billing,
    /// How far below zero its balance may go. Default 0.
    pub credit_limit: Micros,
    /// The provider tried first where no route matches. Default none.
    pub default_provider: Option<String>,
    /// The sender of a message that names none, at most 20 octets. Default none.
    pub default_sender: Option<String>,
    /// Languages whose GSM 7-bit tables may be used for its texts, where that takes fewer parts than UCS-2 and every provider of the
    /// message takes them. Default none.
    pub national: Vec<Language>,
    /// Whether likenesses are put for characters that GSM 7-bit has not, where the whole text then fits it. Default false.
    pub transliterate: bool,
    /// Which outcome charges it. Default `sent`.
    pub settle: Settle,
    /// How long what it must be told is kept while it cannot be reached. Default 72 h.
    pub receipt_ttl: Duration,
}

/// A tenant's SMPP account.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantSmpp {
    /// 1 to 15 octets (SMPP 3.4 §5.2.1); unique.
    pub system_id: String,
    /// 1 to 64 octets. More than 8 is beyond SMPP 3.4 §5.2.2 and more than some clients can send.
    pub password: Secret,
    /// How many binds at once, 1 to 1,024. Default 8.
    pub max_binds: u32,
    /// Which kinds of binds it may have, at least one. Default all.
    pub bind_types: Vec<BindType>,
    /// What becomes of one more. Default `refuse`.
    pub when_full: WhenFull,
    /// Unanswered requests on each bind, 1 to 65,535; more are answered ESME_RTHROTTLED. Half as many again of ours, at most 1,500,
    /// are unanswered there. Default 100.
    pub window: u32,
    /// What its data_coding 0 means: `gsm7`, `latin1`, `ascii` or `ucs2`. Default `gsm7`.
    pub charset: Charset,
    /// What its data_coding 1 means: `latin1`, of which IA5 is a part, or `gsm7`. Default `latin1`.
    pub charset_1: Charset,
    /// What a destination is that it calls national and writes without `+` or `00`. Default `refuse`.
    pub national_numbers: NationalNumbers,
    /// How message ids are written in responses and in the TLVs of receipts. Default `dec`.
    pub message_id: IdRadix,
    /// The same in the text of receipts. Default as `message_id`.
    pub receipt_id: IdRadix,
    /// Whether the dates of receipts have seconds: 12 digits and not 10. Default false.
    pub receipt_seconds: bool,
    /// What the dates of receipts are ahead of UTC, in minutes. Default 0.
    pub receipt_offset: i16,
    /// Whether receipts have TLVs, for peers that know them. Default true.
    pub receipt_tlvs: bool,
    /// Whether receipts have the first 20 octets of the message. Default true.
    pub receipt_text: bool,
}

/// What becomes of a number with the type of number 2 (SMPP 3.4 §5.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NationalNumbers {
    Refuse,
    /// It is read as it stands, with its country code.
    International,
    /// This country code is put before it.
    Of(u16),
}

/// What a part costs a tenant.
#[derive(Debug, Clone, PartialEq)]
pub enum Price {
    /// The same for every destination, in the tenant's currency.
    Part(Micros),
    /// By the longest prefix in `[rates.NAME]`; a destination that is not there has no route.
    Rates(String),
}

impl Tenant {
    pub(crate) fn read(section: &mut Section<'_>) -> Option<Self> {
        let id = section.id();
        section.require("id");
        let currency = section.checked("currency", |code: &String| check_currency(code));
        section.require("currency");
        let price = Price::read(section);
        let name = section.text("name", 1..=256);
        let billing = section.get("billing");
        let credit_limit = section.between("credit_limit", Micros(0)..=Micros(i64::MAX));
        let tenant = Self {
            client_id: section.get("client_id"),
            email: section.text("email", 1..=254),
            phone: section.text("phone", 1..=32),
            contact: section.text("contact", 1..=256),
            api_keys: section.checked("api_keys", |keys: &Vec<Secret>| check_keys(keys)).unwrap_or_default(),
            smpp: section.table("smpp", TenantSmpp::read),
            balance: section.between("balance", Micros(0)..=Micros(i64::MAX)).unwrap_or_default(),
            rate: section.between("rate", 0..=10_000_000).unwrap_or(0),
            per_minute: section.between("per_minute", 0..=u32::MAX).unwrap_or(0),
            per_hour: section.between("per_hour", 0..=u32::MAX).unwrap_or(0),
            per_day: section.between("per_day", 0..=u32::MAX).unwrap_or(0),
            ip_allow: section.get("ip_allow").unwrap_or_default(),
            priority: section.get("priority").map_or(Priority::Normal, |PriorityOrNumber(priority)| priority),
            status: section.get("status").unwrap_or(TenantStatus::Active),
            expires_at: section.get("expires_at"),
            billing: billing.unwrap_or(Billing::Prepaid),
            credit_limit: credit_limit.unwrap_or_default(),
            default_provider: section.get("default_provider"),
            default_sender: section.text("default_sender", 1..=20),
            national: section.get("national").unwrap_or_default(),
            transliterate: section.get("transliterate").unwrap_or(false),
            settle: section.get("settle").unwrap_or(Settle::Sent),
            receipt_ttl: section.between("receipt_ttl", MINUTE..=DAY * 30).unwrap_or(HOUR * 72),
            name: name.or_else(|| id.clone()).unwrap_or_default(),
            id: id?,
            currency: currency?,
            price: price?,
        };
        if tenant.billing == Billing::Postpaid
            && section.is_sound("credit_limit", &credit_limit)
            && tenant.credit_limit == Micros(0)
        {
            let mend = "write how far below zero it may go, such as credit_limit = \"1000.00\"";
            section.problem(&["billing"], "is \"postpaid\" without a \"credit_limit\"", mend);
        }
        if tenant.billing == Billing::Prepaid
            && section.is_sound("billing", &billing)
            && tenant.credit_limit > Micros(0)
        {
            let mend = "write billing = \"postpaid\", or leave it out: what is paid before is never owed";
            section.problem(&["credit_limit"], "is that of a tenant whose billing is \"prepaid\"", mend);
        }
        Some(tenant)
    }
}

impl TenantSmpp {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let system_id = section.text("system_id", 1..=15);
        section.require("system_id");
        let password = section.secret("password", 1..=64);
        section.require("password");
        let max_binds = section.between("max_binds", 1..=1_024).unwrap_or(8);
        let bind_types = section.checked("bind_types", |types: &Vec<BindType>| match types.is_empty() {
            true => {
                Err(Fault::new("is empty", "write \"transmitter\", \"receiver\" or \"transceiver\" in it"))
            }
            false => Ok(()),
        });
        let window = section.between("window", 1..=65_535).unwrap_or(100);
        let charset = section.get("charset").unwrap_or(Charset::Gsm7);
        if charset == Charset::Utf8 {
            let mend = "write \"gsm7\", \"latin1\", \"ascii\" or \"ucs2\"";
            section.problem(
                &["charset"],
                "is \"utf8\", which no data_coding says of a tenant's message",
                mend,
            );
        }
        let charset_1 = section.checked("charset_1", |charset: &Charset| match charset {
            Charset::Latin1 | Charset::Gsm7 => Ok(()),
            _ => Err(Fault::new("is neither IA5 nor GSM 7-bit", "write \"latin1\" or \"gsm7\"")),
        });
        let national = section.checked("national_numbers", |text: &Scalar| read_national(&text.0).map(drop));
        let message_id = section.get("message_id").unwrap_or(IdRadix::Dec);
        let receipt_offset =
            section.checked("receipt_offset", |offset: &String| read_offset(offset).map(drop));
        Some(Self {
            system_id: system_id?,
            password: password?,
            max_binds,
            bind_types: bind_types.unwrap_or_else(|| BindType::ALL.to_vec()),
            when_full: section.get("when_full").unwrap_or(WhenFull::Refuse),
            window,
            charset,
            charset_1: charset_1.unwrap_or(Charset::Latin1),
            national_numbers: national
                .and_then(|text| read_national(&text.0).ok())
                .unwrap_or(NationalNumbers::Refuse),
            message_id,
            receipt_id: section.get("receipt_id").unwrap_or(message_id),
            receipt_seconds: section.get("receipt_seconds").unwrap_or(false),
            receipt_offset: receipt_offset.and_then(|offset| read_offset(&offset).ok()).unwrap_or(0),
            receipt_tlvs: section.get("receipt_tlvs").unwrap_or(true),
            receipt_text: section.get("receipt_text").unwrap_or(true),
        })
    }
}

impl Price {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let part = section.between("price", Micros(0)..=Micros(i64::MAX)).map(Self::Part);
        let rates = section.get("rates").map(Self::Rates);
        match (section.has("price"), section.has("rates")) {
            (true, true) => section.problem(&["rates"], "stands beside \"price\"", "remove one of them"),
            (false, false) => {
                let message = "is missing, and so is \"rates\"";
                section.problem(&["price"], message, "write price = \"1.00\" or rates = \"NAME\"");
            }
            _ => {}
        }
        part.or(rates)
    }
}

fn read_national(text: &str) -> Result<NationalNumbers, Fault> {
    let country = || {
        // E.164: at most three digits, and none begins with 0.
        let is_code = is_digits(text) && (1..=3).contains(&text.len()) && !text.starts_with('0');
        text.parse().ok().filter(|_| is_code).map(NationalNumbers::Of)
    };
    match text {
        "refuse" => Ok(NationalNumbers::Refuse),
        "international" => Ok(NationalNumbers::International),
        _ => country().ok_or_else(|| {
            let mend = "write \"refuse\", \"international\", or the country code to put before them, such as \"254\"";
            Fault::new("is no country code", mend)
        }),
    }
}

/// Minutes of `+hh:mm` or `-hh:mm`.
fn read_offset(text: &str) -> Result<i16, Fault> {
    let read = || {
        let ahead = match text.get(..1)? {
            "+" => 1,
            "-" => -1,
            _ => return None,
        };
        let (hours, minutes) = text.get(1..)?.split_once(':')?;
        let number = |text: &str, most: i16| {
            let is_digits = text.len() == 2 && text.bytes().all(|octet| octet.is_ascii_digit());
            text.parse::<i16>().ok().filter(|number| is_digits && *number <= most)
        };
        Some(ahead * (number(hours, 14)? * 60 + number(minutes, 59)?))
    };
    read().ok_or_else(|| Fault::new("is no offset from UTC", "write it like \"+03:00\" or \"-05:30\""))
}

fn check_currency(currency: &str) -> Result<(), Fault> {
    match currency.len() == 3 && currency.bytes().all(|octet| octet.is_ascii_uppercase()) {
        true => Ok(()),
        false => Err(Fault::new("is not three capital letters", "write its ISO 4217 code, such as \"KES\"")),
    }
}

/// The keys themselves stay out of every message.
fn check_keys(keys: &[Secret]) -> Result<(), Fault> {
    let is_fit = |key: &Secret| {
        (8..=256).contains(&key.expose().len()) && key.expose().bytes().all(|octet| octet.is_ascii_graphic())
    };
    if keys.iter().any(|key| key.expose().is_empty()) {
        return Err(Fault::new(
            "holds an empty key",
            "remove it, or write 8 to 256 visible ASCII characters",
        ));
    }
    if !keys.iter().all(is_fit) {
        return Err(Fault::new("holds an unfit key", "write 8 to 256 visible ASCII characters"));
    }
    // Taken for a live key, it would send and charge.
    match keys.iter().any(|key| key.expose().starts_with("tg_test_")) {
        true => Err(Fault::new("holds a test key, which is not supported by this version", "remove it")),
        false => Ok(()),
    }
}
