//! Reading: frames cut from a byte stream, and fields borrowed from a frame. Writes nothing, judges nothing.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::{HEADER, PDU_OCTETS_MAX, tag};

/// Octets that one read of a socket may bring.
const READ_OCTETS: usize = 256 * 1024;

/// The length of a frame cannot be true; the stream is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a command_length of {length} is out of range")]
pub struct FramingError {
    pub length: u32,
    pub sequence: u32,
}

/// One PDU, borrowed from the buffer it was read into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pdu<'a> {
    pub command: u32,
    pub status: u32,
    pub sequence: u32,
    pub body: &'a [u8],
}

/// The read buffer of a connection, which cuts PDUs by their command_length before anything looks inside.
#[derive(Debug)]
pub struct Frames {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self { buffer: vec![0; READ_OCTETS], start: 0, end: 0 }
    }
}

impl Frames {
    /// Room for the next read; never empty once all whole PDUs were taken, as no PDU is longer than half of the buffer.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end = self.end.saturating_sub(self.start);
            self.start = 0;
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Notes that `count` octets were read into `space`.
    pub fn filled(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.buffer.len());
    }

    /// The next whole PDU, if one is there.
    ///
    /// # Errors
    /// A length below 16 or above the limit; nothing after it can be trusted.
    pub fn next_pdu(&mut self) -> Result<Option<Pdu<'_>>, FramingError> {
        let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
        let mut header = Reader(waiting);
        let (Some(length), Some(command), Some(status), Some(sequence)) =
            (header.u32(), header.u32(), header.u32(), header.u32())
        else {
            return self.too_short_to_tell();
        };
        let octets = usize::try_from(length).unwrap_or(usize::MAX);
        if !(HEADER..=PDU_OCTETS_MAX).contains(&octets) {
            return Err(FramingError { length, sequence });
        }
        let Some(frame) = waiting.get(HEADER..octets) else {
            return Ok(None);
        };
        self.start = self.start.saturating_add(octets);
        Ok(Some(Pdu { command, status, sequence, body: frame }))
    }

    /// A false length is refused as soon as its four octets are there, so that garbage cannot wait for more garbage.
    fn too_short_to_tell(&self) -> Result<Option<Pdu<'_>>, FramingError> {
        let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
        match Reader(waiting).u32() {
            Some(length)
                if !(HEADER..=PDU_OCTETS_MAX).contains(&usize::try_from(length).unwrap_or(usize::MAX)) =>
            {
                Err(FramingError { length, sequence: 0 })
            }
            _ => Ok(None),
        }
    }
}

/// A cursor over octets that answers `None` where they end.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub fn u16(&mut self) -> Option<u16> {
        let (first, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*first))
    }

    pub fn u32(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*first))
    }

    pub fn octets(&mut self, count: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(first)
    }

    /// A C-octet string without its NUL; `None` when no NUL comes.
    pub fn c_string(&mut self) -> Option<&'a [u8]> {
        let length = self.0.iter().position(|octet| *octet == 0)?;
        let text = self.octets(length)?;
        self.u8()?;
        Some(text)
    }

    fn address(&mut self) -> Option<Address<'a>> {
        Some(Address { ton: self.u8()?, npi: self.u8()?, digits: self.c_string()? })
    }
}

/// The digits of an address, without the sign or zeros of the international form.
#[must_use]
pub fn digits(text: &[u8]) -> Option<u64> {
    let text = text.strip_prefix(b"+").or_else(|| text.strip_prefix(b"00")).unwrap_or(text);
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    text.iter().try_fold(0_u64, |number, octet| {
        let digit = octet.wrapping_sub(b'0');
        if digit > 9 { None } else { number.checked_mul(10)?.checked_add(u64::from(digit)) }
    })
}

/// An address as it stands in a PDU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Address<'a> {
    pub ton: u8,
    pub npi: u8,
    pub digits: &'a [u8],
}

/// The body of a bind_*, SMPP 3.4 §4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login<'a> {
    pub system_id: &'a [u8],
    pub password: &'a [u8],
}

impl<'a> Login<'a> {
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(body);
        Some(Self { system_id: reader.c_string()?, password: reader.c_string()? })
    }
}

/// The body of a submit_sm or deliver_sm, which share one layout, SMPP 3.4 §4.4.1 and §4.6.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    pub source: Address<'a>,
    pub destination: Address<'a>,
    pub esm_class: u8,
    pub registered_delivery: u8,
    pub data_coding: u8,
    pub short_message: &'a [u8],
    pub tlvs: Tlvs<'a>,
}

impl<'a> Message<'a> {
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(body);
        reader.c_string()?; // service_type
        let source = reader.address()?;
        let destination = reader.address()?;
        Self::parse_rest(reader, source, destination)
    }

    /// A submit_multi, SMPP 3.4 §4.5.1: the message to the first of its destinations, and all of them. `None` where one is a list.
    #[must_use]
    pub fn parse_multi(body: &'a [u8]) -> Option<(Self, Vec<Address<'a>>)> {
        let mut reader = Reader(body);
        reader.c_string()?; // service_type
        let source = reader.address()?;
        let count = reader.u8()?;
        let mut destination = || (reader.u8()? == 1).then(|| reader.address()).flatten();
        let destinations = (0..count).map(|_| destination()).collect::<Option<Vec<_>>>()?;
        Some((Self::parse_rest(reader, source, *destinations.first()?)?, destinations))
    }

    fn parse_rest(mut reader: Reader<'a>, source: Address<'a>, destination: Address<'a>) -> Option<Self> {
        let esm_class = reader.u8()?;
        reader.octets(2)?; // protocol_id, priority_flag
        reader.c_string()?; // schedule_delivery_time
        reader.c_string()?; // validity_period
        let registered_delivery = reader.u8()?;
        reader.u8()?; // replace_if_present_flag
        let data_coding = reader.u8()?;
        reader.u8()?; // sm_default_msg_id
        let length = reader.u8()?;
        let short_message = reader.octets(usize::from(length))?;
        Some(Self {
            source,
            destination,
            esm_class,
            registered_delivery,
            data_coding,
            short_message,
            tlvs: Tlvs(reader.0),
        })
    }

    /// What the message says, header of concatenation included, wherever it is carried.
    #[must_use]
    pub fn content(&self) -> &'a [u8] {
        if !self.short_message.is_empty() {
            return self.short_message;
        }
        let mut tlvs = self.tlvs;
        tlvs.find(|(tag, _)| *tag == tag::MESSAGE_PAYLOAD).map_or(self.short_message, |(_, value)| value)
    }

    /// Which part of a long message this is, by its user data header or its SAR fields.
    #[must_use]
    pub fn concatenation(&self) -> Concatenation {
        // SMPP 3.4 §5.2.12: 0x40 says that the text begins with a user data header.
        if self.esm_class & 0x40 != 0 {
            return Concatenation::from_header(self.content()).unwrap_or_default();
        }
        if self.tlvs.0.is_empty() { Concatenation::default() } else { Concatenation::from_tlvs(self.tlvs) }
    }
}

/// The place of a part among the parts of one message; a message in one piece is part 1 of 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concatenation {
    pub reference: u16,
    pub part: u8,
    pub parts: u8,
}

impl Default for Concatenation {
    fn default() -> Self {
        Self { reference: 0, part: 1, parts: 1 }
    }
}

impl Concatenation {
    /// 3GPP TS 23.040 §9.2.3.24: element 0 has a reference of one octet, element 8 of two.
    fn from_header(content: &[u8]) -> Option<Self> {
        let mut reader = Reader(content);
        let length = reader.u8()?;
        let mut elements = Reader(reader.octets(usize::from(length))?);
        while let (Some(element), Some(length)) = (elements.u8(), elements.u8()) {
            let mut value = Reader(elements.octets(usize::from(length))?);
            let reference = match element {
                0 => u16::from(value.u8()?),
                8 => value.u16()?,
                _ => continue,
            };
            let parts = value.u8()?;
            return Some(Self { reference, parts, part: value.u8()? });
        }
        None
    }

    fn from_tlvs(tlvs: Tlvs<'_>) -> Self {
        let mut found = Self::default();
        for (tag, value) in tlvs {
            let mut value = Reader(value);
            match tag {
                tag::SAR_REFERENCE => found.reference = value.u16().unwrap_or_default(),
                tag::SAR_TOTAL => found.parts = value.u8().unwrap_or(1),
                tag::SAR_NUMBER => found.part = value.u8().unwrap_or(1),
                _ => {}
            }
        }
        found
    }
}

/// The optional fields at the end of a body, one after the other; what is cut short ends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlvs<'a>(pub &'a [u8]);

impl<'a> Iterator for Tlvs<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = Reader(self.0);
        let tag = reader.u16()?;
        let length = reader.u16()?;
        let value = reader.octets(usize::from(length))?;
        self.0 = reader.0;
        Some((tag, value))
    }
}

/// What a receipt says: whose, and how it went. Its text and its optional fields are both looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice<'a> {
    /// From receipted_message_id, else from the text.
    pub id: &'a [u8],
    /// The message_state, by TLV or by the word of `stat:`.
    pub state: Option<u8>,
    /// The text and the optional field name two different messages.
    pub contradictory: bool,
}

impl<'a> Notice<'a> {
    #[must_use]
    pub fn parse(message: &Message<'a>) -> Option<Self> {
        let text = message.content();
        let said = text.strip_prefix(b"id:").and_then(|rest| rest.split(|octet| *octet == b' ').next());
        let (mut receipted, mut state) = (None, None);
        for (tag, value) in message.tlvs {
            match tag {
                tag::RECEIPTED_MESSAGE_ID => receipted = Some(value.strip_suffix(&[0]).unwrap_or(value)),
                tag::MESSAGE_STATE => state = value.last().copied(),
                _ => {}
            }
        }
        Some(Self {
            id: receipted.or(said)?,
            state: state.or_else(|| stat(text)),
            contradictory: said.is_some() && receipted.is_some() && said != receipted,
        })
    }
}

/// The state that the word after `stat:` names.
fn stat(text: &[u8]) -> Option<u8> {
    let label = b" stat:";
    let place = text.windows(label.len()).position(|window| window == label)?;
    let word = text.get(place.saturating_add(label.len())..)?.split(|octet| *octet == b' ').next()?;
    super::state_number(word)
}
