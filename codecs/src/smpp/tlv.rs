//! Optional parameters (TLVs): their tags and a lenient iterator. What a value means is the reader's business.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::fmt;

/// Tags of SMPP 3.4 §5.3.2 and SMPP 5.0 §4.8.4.
pub mod tag {
    pub const DEST_ADDR_SUBUNIT: u16 = 0x0005;
    pub const DEST_NETWORK_TYPE: u16 = 0x0006;
    pub const DEST_BEARER_TYPE: u16 = 0x0007;
    pub const DEST_TELEMATICS_ID: u16 = 0x0008;
    pub const SOURCE_ADDR_SUBUNIT: u16 = 0x000D;
    pub const SOURCE_NETWORK_TYPE: u16 = 0x000E;
    pub const SOURCE_BEARER_TYPE: u16 = 0x000F;
    pub const SOURCE_TELEMATICS_ID: u16 = 0x0010;
    pub const QOS_TIME_TO_LIVE: u16 = 0x0017;
    pub const PAYLOAD_TYPE: u16 = 0x0019;
    pub const ADDITIONAL_STATUS_INFO_TEXT: u16 = 0x001D;
    pub const RECEIPTED_MESSAGE_ID: u16 = 0x001E;
    pub const MS_MSG_WAIT_FACILITIES: u16 = 0x0030;
    pub const PRIVACY_INDICATOR: u16 = 0x0201;
    pub const SOURCE_SUBADDRESS: u16 = 0x0202;
    pub const DEST_SUBADDRESS: u16 = 0x0203;
    pub const USER_MESSAGE_REFERENCE: u16 = 0x0204;
    pub const USER_RESPONSE_CODE: u16 = 0x0205;
    pub const SOURCE_PORT: u16 = 0x020A;
    pub const DESTINATION_PORT: u16 = 0x020B;
    pub const SAR_MSG_REF_NUM: u16 = 0x020C;
    pub const LANGUAGE_INDICATOR: u16 = 0x020D;
    pub const SAR_TOTAL_SEGMENTS: u16 = 0x020E;
    pub const SAR_SEGMENT_SEQNUM: u16 = 0x020F;
    pub const SC_INTERFACE_VERSION: u16 = 0x0210;
    pub const CALLBACK_NUM_PRES_IND: u16 = 0x0302;
    pub const CALLBACK_NUM_ATAG: u16 = 0x0303;
    pub const NUMBER_OF_MESSAGES: u16 = 0x0304;
    pub const CALLBACK_NUM: u16 = 0x0381;
    pub const DPF_RESULT: u16 = 0x0420;
    pub const SET_DPF: u16 = 0x0421;
    pub const MS_AVAILABILITY_STATUS: u16 = 0x0422;
    pub const NETWORK_ERROR_CODE: u16 = 0x0423;
    pub const MESSAGE_PAYLOAD: u16 = 0x0424;
    pub const DELIVERY_FAILURE_REASON: u16 = 0x0425;
    pub const MORE_MESSAGES_TO_SEND: u16 = 0x0426;
    pub const MESSAGE_STATE: u16 = 0x0427;
    pub const CONGESTION_STATE: u16 = 0x0428;
    pub const USSD_SERVICE_OP: u16 = 0x0501;
    pub const BILLING_IDENTIFICATION: u16 = 0x060B;
    pub const SOURCE_NETWORK_ID: u16 = 0x060D;
    pub const DEST_NETWORK_ID: u16 = 0x060E;
    pub const SOURCE_NODE_ID: u16 = 0x060F;
    pub const DEST_NODE_ID: u16 = 0x0610;
    pub const DEST_ADDR_NP_RESOLUTION: u16 = 0x0611;
    pub const DEST_ADDR_NP_INFORMATION: u16 = 0x0612;
    pub const DEST_ADDR_NP_COUNTRY: u16 = 0x0613;
    pub const DISPLAY_TIME: u16 = 0x1201;
    pub const SMS_SIGNAL: u16 = 0x1203;
    pub const MS_VALIDITY: u16 = 0x1204;
    pub const ALERT_ON_MESSAGE_DELIVERY: u16 = 0x130C;
    pub const ITS_REPLY_TYPE: u16 = 0x1380;
    pub const ITS_SESSION_INFO: u16 = 0x1383;
}

/// The TLVs of a PDU, `(tag, value)`, read as they are asked for.
///
/// What cannot be a TLV ends the iteration: stray octets, or a length that reaches beyond the PDU (real peers send
/// both). `malformed` then says so; what came before stands.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Tlvs<'a> {
    rest: &'a [u8],
    malformed: bool,
}

/// message_payload stays out of logs.
impl fmt::Debug for Tlvs<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} octets of TLVs", self.rest.len())
    }
}

impl<'a> Tlvs<'a> {
    /// Reads the octets that follow the mandatory fields.
    pub const fn new(octets: &'a [u8]) -> Tlvs<'a> {
        Tlvs { rest: octets, malformed: false }
    }

    /// The iteration so far has ended at octets that are no TLV.
    pub const fn malformed(&self) -> bool {
        self.malformed
    }

    /// The value of the first TLV with this tag.
    pub fn value_of(&self, tag: u16) -> Option<&'a [u8]> {
        let mut tlvs = *self;
        tlvs.find_map(|(found, value)| (found == tag).then_some(value))
    }

    /// The octets not yet iterated, for a relay that copies them whole.
    pub const fn octets(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((tag, value, rest)) = split_tlv(self.rest) else {
            self.rest = &[];
            self.malformed = true;
            return None;
        };
        self.rest = rest;
        Some((tag, value))
    }
}

fn split_tlv(octets: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (&[tag_high, tag_low, length_high, length_low], rest) = octets.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    let (value, rest) = rest.split_at_checked(length)?;
    Some((u16::from_be_bytes([tag_high, tag_low]), value, rest))
}

/// Counts the TLVs of one PDU that are not as the specification has them: those that we read, where they have a wrong length or
/// a value that there is not, or come a second time, and what is cut off. It is told of each in a walk that there is anyway.
#[derive(Clone, Copy, Debug, Default)]
pub struct Oddities {
    seen: u8,
    count: u8,
}

/// The last of message_state (SMPP 5.0 §4.7.15).
const MESSAGE_STATE_MAX: u8 = 9;

impl Oddities {
    pub fn look(&mut self, tag: u16, value: &[u8]) {
        let (bit, fits) = match tag {
            tag::MESSAGE_PAYLOAD => (1, true),
            tag::QOS_TIME_TO_LIVE => (1 << 1, value.len() == 4),
            tag::SAR_MSG_REF_NUM => (1 << 2, value.len() == 2),
            tag::SAR_TOTAL_SEGMENTS => (1 << 3, value.len() == 1 && value != [0]),
            tag::SAR_SEGMENT_SEQNUM => (1 << 4, value.len() == 1 && value != [0]),
            tag::RECEIPTED_MESSAGE_ID => (1 << 5, matches!(value.len(), 1..=65)),
            tag::MESSAGE_STATE => (1 << 6, matches!(value, [..=MESSAGE_STATE_MAX])),
            tag::NETWORK_ERROR_CODE => (1 << 7, value.len() == 3),
            _ => return,
        };
        self.count = self.count.saturating_add(u8::from(!fits || self.seen & bit != 0));
        self.seen |= bit;
    }

    /// How many there were, when the walk has ended.
    pub fn count(self, walked: Tlvs<'_>) -> u64 {
        u64::from(self.count).saturating_add(u64::from(walked.malformed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads all, and says what was found and whether the end was clean.
    fn read(octets: &[u8]) -> (Vec<(u16, &[u8])>, bool) {
        let mut tlvs = Tlvs::new(octets);
        (tlvs.by_ref().collect(), tlvs.malformed())
    }

    #[test]
    fn what_parses_is_kept_and_the_rest_reported() {
        let state: (u16, &[u8]) = (tag::MESSAGE_STATE, &[2]);
        for (octets, expected, malformed) in [
            (&b""[..], vec![], false),
            (b"\x04\x27\x00\x01\x02", vec![state], false),
            (b"\x13\x0c\x00\x00\x04\x27\x00\x01\x02", vec![(0x130c, &b""[..]), state], false),
            (b"\x04\x27\x00\x01\x02\x04\x27\x00\x01\x02", vec![state, state], false),
            (b"\x04\x27\x00\x01\x02\x00", vec![state], true),
            (b"\x04\x27\x00\x01\x02\x00\x00\x00", vec![state], true),
            (b"\x04\x27\x00\x01\x02\x04\x24\x00\x05abcd", vec![state], true),
            (b"\x04\x24\xff\xff", vec![], true),
            (b"\x00", vec![], true),
        ] {
            assert_eq!(read(octets), (expected, malformed), "{octets:02x?}");
        }
    }

    #[test]
    fn what_is_not_as_it_should_be_is_counted() {
        for (octets, expected) in [
            (&b""[..], 0),
            (b"\x04\x27\0\x01\x02\0\x1e\0\x02a\0\x04\x23\0\x03\x03\0\x21", 0),
            // Unknown ones, vendors' own and others that we do not read are nobody's fault, however often they come.
            (b"\x14\0\0\x01x\x14\0\0\0\x03\x81\0\0\x03\x81\0\0", 0),
            (b"\x04\x27\0\x01\x02\x04\x27\0\x01\x02", 1),
            (b"\x04\x27\0\x02\0\x02", 1),
            (b"\x04\x27\0\x01\x0a", 1),
            (b"\0\x1e\0\0\x04\x23\0\x02\0\x21", 2),
            (b"\0\x17\0\x02\0\x21\x02\x0c\0\x01\x01\x02\x0e\0\x01\0\x02\x0f\0\0", 4),
            (b"\x04\x24\0\x01a\x04\x24\0\x01b", 1),
            // Cut off, and a stray octet.
            (b"\x04\x27\0\x01\x02\x04\x24\0\x05a", 1),
            (b"\0", 1),
        ] {
            let (mut tlvs, mut odd) = (Tlvs::new(octets), Oddities::default());
            tlvs.by_ref().for_each(|(tag, value)| odd.look(tag, value));
            assert_eq!(odd.count(tlvs), expected, "{octets:02x?}");
        }
    }

    #[test]
    fn a_value_is_found_by_its_tag() {
        let tlvs = Tlvs::new(b"\x00\x1e\x00\x03ab\x00\x04\x27\x00\x01\x02\x00");
        assert_eq!(tlvs.value_of(tag::RECEIPTED_MESSAGE_ID), Some(&b"ab\0"[..]));
        assert_eq!(tlvs.value_of(tag::MESSAGE_STATE), Some(&[2][..]));
        assert_eq!(tlvs.value_of(tag::MESSAGE_PAYLOAD), None);
    }
}
