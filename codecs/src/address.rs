//! Addresses: destination numbers in their one canonical form, and senders with the type of number they go out under.
//! Not here: national numbers, which need to know a country, and which sender or destination a tenant may use.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use crate::text;
use core::fmt;

/// Type of number (SMPP 3.4 §5.2.5).
pub const TON_UNKNOWN: u8 = 0;
pub const TON_INTERNATIONAL: u8 = 1;
pub const TON_NATIONAL: u8 = 2;
pub const TON_NETWORK: u8 = 3;
pub const TON_ALPHANUMERIC: u8 = 5;
/// Numbering plan (SMPP 3.4 §5.2.6).
pub const NPI_UNKNOWN: u8 = 0;
pub const NPI_ISDN: u8 = 1;

/// Fewer digits are no number with a country code.
pub const DIGITS_MIN: usize = 7;
/// E.164: country code and all.
pub const DIGITS_MAX: usize = 15;
/// source_addr without its NUL (SMPP 3.4 §4.4.1).
pub const SENDER_OCTETS_MAX: usize = 20;
/// What ten octets of address hold on the air (3GPP TS 23.040 §9.1.2.5).
pub const SENDER_SEPTETS_MAX: usize = 11;

/// Why an address is none. The text of the address is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the address is empty")]
    Empty,
    #[error("the address holds a character that it cannot have")]
    Character,
    #[error("the number has fewer than 7 digits")]
    TooShort,
    #[error("the address is too long")]
    TooLong,
    #[error("the number does not begin with a country code")]
    NoCountryCode,
}

/// An international number: 7 to 15 digits, the first not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Msisdn(u64);

impl Msisdn {
    /// `None` when the digits are too few or too many.
    pub fn new(number: u64) -> Option<Msisdn> {
        (1_000_000..=999_999_999_999_999).contains(&number).then_some(Msisdn(number))
    }

    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// Appends the digits, without a plus.
    pub fn write_digits(self, out: &mut Vec<u8>) {
        let mut digits = [b'0'; DIGITS_MAX];
        let mut rest = self.0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' | u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        out.extend_from_slice(digits.get(zeros..).unwrap_or_default());
    }
}

impl fmt::Display for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

/// A destination as people write it: `+CC…`, `00CC…` or `CC…`, with spaces, dashes and parentheses, in Arabic-Indic digits
/// too. `011CC…` is not taken: elsewhere than in North America such numbers are national ones.
pub fn destination(text: &str) -> Result<Msisdn, Invalid> {
    let mut number = Number::default();
    for character in text.trim().chars() {
        match character {
            '0'..='9' | '+' | ' ' | '-' | '(' | ')' => number.take(u8::try_from(character).unwrap_or(0))?,
            '\u{660}'..='\u{669}' | '\u{6F0}'..='\u{6F9}' => {
                number.take(b'0' | u8::try_from(u32::from(character) & 0x0F).unwrap_or(0))?;
            }
            _ => return Err(Invalid::Character),
        }
    }
    number.finish()
}

/// A destination from an SMPP peer. The type of number is not believed, but a number said to be national needs a `+` or `00`
/// to be taken for an international one: its first digits would be read as another country.
pub fn destination_octets(ton: u8, octets: &[u8]) -> Result<Msisdn, Invalid> {
    destination_of(ton, octets, National::Refused)
}

/// The same from a peer of which we know what it calls national.
pub fn destination_of(ton: u8, octets: &[u8], national: National) -> Result<Msisdn, Invalid> {
    let mut number = Number::default();
    for octet in octets {
        number.take(*octet)?;
    }
    match national {
        _ if ton != TON_NATIONAL || number.plus || number.zeros > 1 => number.finish(),
        National::Refused if number.zeros == 0 => Err(Invalid::NoCountryCode),
        National::Refused | National::International => number.finish(),
        National::Of(country) => number.finish_in(country),
    }
}

/// The digits of a number in whatever form a peer writes it, zeros before them aside, a national one without its country: for
/// comparing the ends of two. `None` where there are fewer than 7 or more than 15, or other characters.
pub fn significant_digits(octets: &[u8]) -> Option<u64> {
    let mut number = Number::default();
    for octet in octets {
        number.take(*octet).ok()?;
    }
    (number.count >= DIGITS_MIN).then_some(number.value)
}

/// What a number is that its peer calls national and writes without `+` or `00`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum National {
    /// Nobody knows of which country.
    #[default]
    Refused,
    /// International all the same: some clients say national of whatever has no `+`.
    International,
    /// Of the country with this code, one leading zero aside, which only callers within it dial.
    Of(u16),
}

/// A source address with its type of number and numbering plan, of at most 20 octets.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sender {
    ton: u8,
    npi: u8,
    length: u8,
    /// Zero from `length` on.
    octets: [u8; SENDER_OCTETS_MAX],
}

impl Sender {
    /// No source address: the SMSC uses the account's own.
    pub const EMPTY: Sender =
        Sender { ton: TON_UNKNOWN, npi: NPI_UNKNOWN, length: 0, octets: [0; SENDER_OCTETS_MAX] };

    pub fn ton_npi(&self) -> (u8, u8) {
        (self.ton, self.npi)
    }

    /// As they go on the wire, without a NUL.
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..usize::from(self.length)).unwrap_or_default()
    }

    fn new(ton: u8, npi: u8, given: impl IntoIterator<Item = u8>) -> Result<Sender, Invalid> {
        let mut sender = Sender { ton, npi, ..Sender::EMPTY };
        for octet in given {
            let slot = sender.octets.get_mut(usize::from(sender.length)).ok_or(Invalid::TooLong)?;
            *slot = octet;
            sender.length = sender.length.saturating_add(1);
        }
        Ok(sender)
    }
}

/// As people read it: each octet as Latin-1, numbers without a plus.
impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.octets().iter().try_for_each(|octet| write!(f, "{}", char::from(*octet)))
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({}/{} {:?})", self.ton, self.npi, self.octets().escape_ascii().to_string())
    }
}

/// A sender as people write it: a name with a letter in it, a short code, or a number. The types follow what most gateways do:
/// a letter 5/0; `+`, `00` or 10 to 15 digits 1/1; 3 to 8 digits 3/0; else 0/0.
pub fn sender(text: &str) -> Result<Sender, Invalid> {
    let text = text.trim();
    if text.chars().any(char::is_alphabetic) { name(text) } else { number(text) }
}

/// A sender from an SMPP peer: kept as it came, empty or not ASCII too.
pub fn sender_octets(ton: u8, npi: u8, octets: &[u8]) -> Result<Sender, Invalid> {
    if octets.contains(&0) {
        return Err(Invalid::Character);
    }
    Sender::new(ton, npi, octets.iter().copied())
}

/// At most 11 septets on the air. On the wire it is Latin-1: the GSM alphabet's code for `@` would end the field.
fn name(text: &str) -> Result<Sender, Invalid> {
    let mut septets = 0usize;
    for character in text.chars() {
        let taken = text::septets(character).filter(|_| !character.is_control());
        septets = septets.saturating_add(taken.ok_or(Invalid::Character)?);
        if septets > SENDER_SEPTETS_MAX {
            return Err(Invalid::TooLong);
        }
    }
    let octets: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    Sender::new(TON_ALPHANUMERIC, NPI_UNKNOWN, octets.map_err(|_| Invalid::Character)?)
}

fn number(text: &str) -> Result<Sender, Invalid> {
    if text.starts_with("+") || text.starts_with("00") {
        let mut digits = Vec::with_capacity(DIGITS_MAX);
        destination(text)?.write_digits(&mut digits);
        return Sender::new(TON_INTERNATIONAL, NPI_ISDN, digits);
    }
    let kept = text.bytes().filter(|octet| !is_separator(*octet));
    let (ton, npi) = match kept.clone().count() {
        0 => return Err(Invalid::Empty),
        _ if !kept.clone().all(|octet| octet.is_ascii_digit()) => return Err(Invalid::Character),
        3..=8 => (TON_NETWORK, NPI_UNKNOWN),
        10..=DIGITS_MAX => (TON_INTERNATIONAL, NPI_ISDN),
        1 | 2 | 9 => (TON_UNKNOWN, NPI_UNKNOWN),
        _ => return Err(Invalid::TooLong),
    };
    Sender::new(ton, npi, kept)
}

fn is_separator(octet: u8) -> bool {
    matches!(octet, b' ' | b'-' | b'(' | b')')
}

/// A number being read, octet by octet.
#[derive(Default)]
struct Number {
    plus: bool,
    /// Zeros before the first other digit.
    zeros: usize,
    /// Digits from there on.
    count: usize,
    value: u64,
}

impl Number {
    fn take(&mut self, octet: u8) -> Result<(), Invalid> {
        match octet {
            b'0' if self.count == 0 => self.zeros = self.zeros.saturating_add(1),
            b'0'..=b'9' if self.count == DIGITS_MAX => return Err(Invalid::TooLong),
            b'0'..=b'9' => {
                self.count = self.count.saturating_add(1);
                self.value = self.value.saturating_mul(10).saturating_add(u64::from(octet & 0x0F));
            }
            b'+' if !self.plus && self.zeros == 0 && self.count == 0 => self.plus = true,
            _ if is_separator(octet) => {}
            _ => return Err(Invalid::Character),
        }
        Ok(())
    }

    fn finish(self) -> Result<Msisdn, Invalid> {
        match (self.plus, self.zeros) {
            (false, 0) if self.count == 0 => Err(Invalid::Empty),
            (true, 0) | (false, 0 | 2) if self.count < DIGITS_MIN => Err(Invalid::TooShort),
            (true, 0) | (false, 0 | 2) => Ok(Msisdn(self.value)),
            _ => Err(Invalid::NoCountryCode),
        }
    }

    /// As a number of this country.
    fn finish_in(mut self, country: u16) -> Result<Msisdn, Invalid> {
        if self.count == 0 {
            return Err(Invalid::Empty);
        }
        let mut rest = country;
        let mut place = u32::try_from(self.count).unwrap_or(u32::MAX);
        while rest > 0 {
            if self.count == DIGITS_MAX {
                return Err(Invalid::TooLong);
            }
            self.value =
                self.value.saturating_add(u64::from(rest % 10).saturating_mul(10u64.saturating_pow(place)));
            self.count = self.count.saturating_add(1);
            place = place.saturating_add(1);
            rest /= 10;
        }
        Number { zeros: 0, ..self }.finish()
    }
}

#[cfg(test)]
mod tests;
