//! A provider's deliver_sm or data_sm: is it a receipt, and what does it tell. Which message it belongs to is the engine's.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use codecs::address;
use codecs::instant::Wall;
use codecs::message_id;
use codecs::receipt::{self, Dialect, State};
use codecs::smpp::pdu::{DataSm, Sm, SmeAddress};
use codecs::smpp::tlv::{Oddities, Tlvs, tag};
use codecs::split;
use codecs::text::{Encoding, encoding_of};
use engine::command::{Receipt, Receipts};
use engine::step::ERROR_OCTETS_MAX;
use engine::submission::UDHI;

/// A longer text is no acknowledgement of a phone's: sm_length is one octet.
const ACKNOWLEDGEMENT_OCTETS_MAX: usize = 255;

/// What a provider has delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It is in the batch now.
    Receipt,
    /// The same, but it does not say of what: nothing will be found for it.
    ReceiptWithoutId,
    /// The same as a receipt, and what the phone says by it is to be added.
    Acknowledgement,
    /// A message from a phone.
    MobileOriginated,
}

/// The fields that matter, of either PDU.
pub struct Delivery<'a> {
    pub sequence: u32,
    pub service_type: &'a [u8],
    pub source: SmeAddress<'a>,
    pub destination: SmeAddress<'a>,
    pub esm_class: u8,
    pub protocol_id: u8,
    /// schedule_delivery_time, where some SMSCs say when the message came to them.
    pub schedule: &'a [u8],
    pub data_coding: u8,
    pub content: &'a [u8],
    pub tlvs: Tlvs<'a>,
}

impl<'a> Delivery<'a> {
    pub fn of_deliver(sequence: u32, sm: &Sm<'a>) -> Delivery<'a> {
        Delivery {
            sequence,
            service_type: sm.service_type,
            source: sm.source,
            destination: sm.destination,
            esm_class: sm.esm_class,
            protocol_id: sm.protocol_id,
            schedule: sm.schedule_delivery_time,
            data_coding: sm.data_coding,
            content: sm.content(),
            tlvs: sm.tlvs(),
        }
    }

    pub fn of_data(sequence: u32, data: &DataSm<'a>) -> Delivery<'a> {
        Delivery {
            sequence,
            service_type: data.service_type,
            source: data.source,
            destination: data.destination,
            esm_class: data.esm_class,
            protocol_id: 0,
            schedule: &[],
            data_coding: data.data_coding,
            content: data.content(),
            tlvs: data.tlvs(),
        }
    }
}

/// Reads receipts; it keeps its buffer from one to the next.
pub struct Reader {
    dialect: Arc<Dialect>,
    takes_unmarked: bool,
    ascii: Vec<u8>,
    odd_tlvs: u64,
}

/// The TLVs that receipts are read from, the first of each.
#[derive(Clone, Copy, Default)]
struct ReceiptTlvs<'a> {
    id: Option<&'a [u8]>,
    state: Option<&'a [u8]>,
    error: Option<&'a [u8]>,
}

impl Reader {
    pub fn new(dialect: Arc<Dialect>, takes_unmarked: bool) -> Reader {
        Reader { dialect, takes_unmarked, ascii: Vec::new(), odd_tlvs: 0 }
    }

    /// Adds a receipt to the batch, if it is one.
    pub fn read(&mut self, now: Wall, delivery: &Delivery<'_>, receipts: &mut Receipts) -> Delivered {
        let esm_class = delivery.esm_class;
        let tlvs = self.tlvs(delivery.tlvs);
        let tlv_id = tlvs.id.map(unpadded).unwrap_or_default();
        let is_marked = receipt::is_receipt(esm_class) || !tlv_id.is_empty();
        let Reader { dialect, takes_unmarked, ascii, .. } = self;
        let content = text_of(delivery, ascii);
        let text = dialect
            .read(content, is_marked)
            .or_else(|| dialect.read(after_header(esm_class, content), is_marked));
        // Without the mark a text counts only when it has both, and where nobody can write it: people have phones.
        let looks_like_one = (*takes_unmarked || receipt::is_by_user(esm_class))
            && text.is_some_and(|text| text.id.is_some() && !text.stat.is_empty());
        if !is_marked && !looks_like_one {
            return Delivered::MobileOriginated;
        }
        let text = text.unwrap_or_default();
        let text_id = text.id.unwrap_or_default();
        let has_no_id = tlv_id.is_empty() && text_id.is_empty();
        let is_acknowledgement = receipt::is_acknowledgement(esm_class);
        if has_no_id && is_acknowledgement && !content.is_empty() {
            return Delivered::MobileOriginated;
        }
        let (bytes, word) = (&mut receipts.bytes, network_error(tlvs.error));
        let error = telling(text.error, word.as_bytes());
        let tlv_id_end = append(bytes, &message_id::kept(tlv_id));
        let text_id_end = append(bytes, &message_id::kept(text_id));
        let error_end = append(bytes, error.get(..ERROR_OCTETS_MAX).unwrap_or(error));
        receipts.items.push(Receipt {
            sequence: delivery.sequence,
            state: state(dialect, tlvs.state, text.state),
            phone: phone(delivery.source.octets),
            tlv_id_end,
            text_id_end,
            error_end,
            done: dialect.date(text.done_date, now),
        });
        match has_no_id {
            true => Delivered::ReceiptWithoutId,
            false if is_acknowledgement && delivery.content.len() <= ACKNOWLEDGEMENT_OCTETS_MAX => {
                Delivered::Acknowledgement
            }
            false => Delivered::Receipt,
        }
    }
}

impl Reader {
    /// How many TLVs were odd since this was last asked.
    pub fn take_odd_tlvs(&mut self) -> u64 {
        std::mem::take(&mut self.odd_tlvs)
    }

    /// One walk for all.
    fn tlvs<'a>(&mut self, mut tlvs: Tlvs<'a>) -> ReceiptTlvs<'a> {
        let (mut found, mut odd) = (ReceiptTlvs::default(), Oddities::default());
        for (tag, value) in tlvs.by_ref() {
            odd.look(tag, value);
            let place = match tag {
                tag::RECEIPTED_MESSAGE_ID => &mut found.id,
                tag::MESSAGE_STATE => &mut found.state,
                tag::NETWORK_ERROR_CODE => &mut found.error,
                _ => continue,
            };
            *place = place.or(Some(value));
        }
        self.odd_tlvs = self.odd_tlvs.saturating_add(odd.count(tlvs));
        found
    }
}

/// The text as ASCII; some SMSCs write their receipts in UCS-2.
fn text_of<'t>(delivery: &Delivery<'t>, ascii: &'t mut Vec<u8>) -> &'t [u8] {
    if encoding_of(delivery.data_coding) != Encoding::Ucs2 {
        return delivery.content;
    }
    ascii.clear();
    receipt::ascii_of_ucs2(delivery.content, ascii);
    ascii
}

/// What follows a user data header. Some SMSCs set the flag and write none, so it is read without only in the second place.
fn after_header(esm_class: u8, content: &[u8]) -> &[u8] {
    let marked = esm_class & UDHI != 0;
    let text = split::header_and_text(content).filter(|_| marked).map(|(_, text)| text);
    text.unwrap_or_default()
}

/// message_state counts before the text. A length of 2 has been seen: the last octet is the state. What nobody knows is no
/// outcome, so more is waited for.
fn state(dialect: &Dialect, tlv: Option<&[u8]>, text: Option<State>) -> State {
    let number = tlv.and_then(|value| value.last().copied());
    let by_number = number.and_then(State::from_number).map(|state| dialect.state(state));
    by_number.or(text).unwrap_or(State::Enroute)
}

/// network_error_code (SMPP 3.4 §5.3.2.31) as text: three octets, the last two of them the code. ASCII digits have been seen.
fn network_error(tlv: Option<&[u8]>) -> String {
    match tlv {
        Some(&[a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9']) => {
            [a, b, c].map(char::from).iter().collect()
        }
        Some(&[_, high, low]) => format!("{:03}", u16::from_be_bytes([high, low])),
        _ => String::new(),
    }
}

/// The error of the text, unless it says nothing and the other does: many SMSCs write `err:000` whatever has happened.
fn telling<'e>(of_text: &'e [u8], of_tlv: &'e [u8]) -> &'e [u8] {
    let says_nothing = |error: &[u8]| error.iter().all(|octet| *octet == b'0');
    if of_text.is_empty() || (says_nothing(of_text) && !says_nothing(of_tlv)) { of_tlv } else { of_text }
}

/// The phone is the source of a receipt (SMPP 3.4 §2.11). A national form will do: the ends of numbers are compared.
fn phone(source: &[u8]) -> Option<u64> {
    address::significant_digits(source)
}

fn unpadded(id: &[u8]) -> &[u8] {
    let end = id.iter().position(|octet| *octet == 0).unwrap_or(id.len());
    id.get(..end).unwrap_or_default().trim_ascii()
}

fn append(bytes: &mut Vec<u8>, value: &[u8]) -> u32 {
    bytes.extend_from_slice(value);
    // A read brings at most some hundred kilobytes.
    bytes.len() as u32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use codecs::smpp::write::{self, SmFields};

    use super::*;

    const NOW: Wall = Wall(1_795_182_600_000);
    const TEXT: &[u8] =
        b"id:0123 sub:001 dlvrd:001 submit date:2611200930 done date:2611201350 stat:DELIVRD err:000 text:hi";

    type TlvOf<'a> = (u16, &'a [u8]);

    fn deliver(esm_class: u8, data_coding: u8, text: &[u8], tlvs: &[(u16, &[u8])]) -> Vec<u8> {
        let source = SmeAddress { ton: 1, npi: 1, octets: b"+254712345678" };
        let mut body = Vec::new();
        let fields = SmFields { source, esm_class, data_coding, text, ..SmFields::default() };
        write::sm_body(&mut body, &fields).unwrap();
        for (tag, value) in tlvs {
            write::tlv(&mut body, *tag, value).unwrap();
        }
        body
    }

    fn reader(dialect: Dialect) -> Reader {
        Reader::new(Arc::new(dialect), true)
    }

    fn read(body: &[u8]) -> (Delivered, Receipts) {
        let mut receipts = Receipts::default();
        let sm = Sm::read(body).unwrap();
        let delivery = Delivery::of_deliver(5, &sm);
        let delivered = reader(Dialect::default()).read(NOW, &delivery, &mut receipts);
        assert_eq!(receipts.items.len(), usize::from(delivered != Delivered::MobileOriginated));
        (delivered, receipts)
    }

    /// The ids of the TLV and of the text, the error, and the state of a receipt.
    fn parts(receipts: &Receipts) -> (&str, &str, &str, State) {
        let receipt = &receipts.items[0];
        let [tlv_end, text_end, error_end] =
            [receipt.tlv_id_end, receipt.text_id_end, receipt.error_end].map(|end| end as usize);
        let text = |range: std::ops::Range<usize>| std::str::from_utf8(&receipts.bytes[range]).unwrap();
        (text(0..tlv_end), text(tlv_end..text_end), text(text_end..error_end), receipt.state)
    }

    #[test]
    fn the_usual_receipt() {
        let (_, receipts) = read(&deliver(0x04, 0, TEXT, &[]));
        assert_eq!(parts(&receipts), ("", "0123", "000", State::Delivered));
        let receipt = &receipts.items[0];
        assert_eq!((receipt.sequence, receipt.phone), (5, Some(254_712_345_678)));
        assert_eq!(receipt.done, Some(Wall(1_795_182_600_000)));
    }

    #[test]
    fn what_counts_as_a_receipt() {
        let id: (u16, &[u8]) = (tag::RECEIPTED_MESSAGE_ID, b"ab\0");
        let cases: [(u8, &[u8], &[TlvOf<'_>], Delivered); 18] = [
            (0x00, TEXT, &[], Delivered::Receipt),
            (0x44, TEXT, &[], Delivered::Receipt),
            (0x00, b"", &[id], Delivered::Receipt),
            (0x00, b"hello", &[], Delivered::MobileOriginated),
            (0x00, b"my id:7 please", &[], Delivered::MobileOriginated),
            (0x40, b"\x05\0\x03\x01\x02\x01hello", &[], Delivered::MobileOriginated),
            (0x04, b"hello", &[], Delivered::ReceiptWithoutId),
            (0x04, b"", &[(tag::MESSAGE_STATE, &[2])], Delivered::ReceiptWithoutId),
            // What a handset acknowledges with may be what somebody wrote.
            (0x08, b"read it", &[], Delivered::MobileOriginated),
            (0x08, b"", &[], Delivered::ReceiptWithoutId),
            (0x08, TEXT, &[], Delivered::Acknowledgement),
            (0x48, b"", &[id], Delivered::Acknowledgement),
            (0x10, b"yes", &[id], Delivered::Acknowledgement),
            (0x10, TEXT, &[], Delivered::Acknowledgement),
            (0x10, b"", &[id, (tag::MESSAGE_PAYLOAD, &[b'y'; 256])], Delivered::Receipt),
            // No number says of which: the user may just have written.
            (0x10, b"yes", &[], Delivered::MobileOriginated),
            (0x10, b"my id:7 please", &[], Delivered::MobileOriginated),
            (0x18, b"yes", &[], Delivered::MobileOriginated),
        ];
        for (esm_class, text, tlvs, expected) in cases {
            assert_eq!(read(&deliver(esm_class, 0, text, tlvs)).0, expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn where_people_write_to_us_what_is_not_marked_is_no_receipt() {
        let id: (u16, &[u8]) = (tag::RECEIPTED_MESSAGE_ID, b"ab\0");
        let mut reader = Reader::new(Arc::default(), false);
        for (esm_class, tlvs, expected) in [
            (0x00, &[][..], Delivered::MobileOriginated),
            (0x00, &[id], Delivered::Receipt),
            (0x04, &[], Delivered::Receipt),
        ] {
            let body = deliver(esm_class, 0, TEXT, tlvs);
            let sm = Sm::read(&body).unwrap();
            let delivered = reader.read(NOW, &Delivery::of_deliver(5, &sm), &mut Receipts::default());
            assert_eq!(delivered, expected, "{esm_class:#x}, {} parameters", tlvs.len());
        }
    }

    #[test]
    fn parameters_count_before_the_text_and_both_ids_are_told() {
        let tlvs: [(u16, &[u8]); 3] = [
            (tag::RECEIPTED_MESSAGE_ID, b"18d0e03a\0"),
            (tag::MESSAGE_STATE, &[0, 5]),
            (tag::NETWORK_ERROR_CODE, &[3, 0, 27]),
        ];
        let (_, receipts) = read(&deliver(0x04, 0, b"id:0416342074 stat:DELIVRD", &tlvs));
        assert_eq!(parts(&receipts), ("18d0e03a", "0416342074", "027", State::Undeliverable));
        let (_, receipts) = read(&deliver(0x04, 0, b"id:1 stat:WHATEVER", &[]));
        assert_eq!(parts(&receipts), ("", "1", "", State::Enroute));
    }

    #[test]
    fn of_a_parameter_that_comes_twice_the_first_counts() {
        let tlvs: [TlvOf<'_>; 6] = [
            (tag::RECEIPTED_MESSAGE_ID, b"first\0"),
            (tag::MESSAGE_STATE, &[2]),
            (tag::NETWORK_ERROR_CODE, &[3, 0, 27]),
            (tag::NETWORK_ERROR_CODE, &[3, 0, 28]),
            (tag::MESSAGE_STATE, &[5]),
            (tag::RECEIPTED_MESSAGE_ID, b"second\0"),
        ];
        let (_, receipts) = read(&deliver(0x04, 0, b"", &tlvs));
        assert_eq!(parts(&receipts), ("first", "", "027", State::Delivered));
    }

    #[test]
    fn the_error_is_the_one_that_says_something_and_of_two_the_text_s() {
        let code: TlvOf<'_> = (tag::NETWORK_ERROR_CODE, &[3, 0, 33]);
        let none: TlvOf<'_> = (tag::NETWORK_ERROR_CODE, &[3, 0, 0]);
        for (text, tlvs, expected) in [
            (&b"id:1 stat:UNDELIV err:000"[..], &[code][..], "033"),
            (b"id:1 stat:UNDELIV err:0", &[code], "033"),
            (b"id:1 stat:UNDELIV", &[code], "033"),
            (b"id:1 stat:UNDELIV err:011", &[code], "011"),
            (b"id:1 stat:UNDELIV err:011", &[none], "011"),
            (b"id:1 stat:UNDELIV err:0", &[none], "0"),
            (b"id:1 stat:UNDELIV err:000", &[], "000"),
            (b"id:1 stat:UNDELIV", &[none], "000"),
            (b"id:1 stat:UNDELIV err:00A", &[code], "00A"),
        ] {
            let (_, receipts) = read(&deliver(0x04, 0, text, tlvs));
            assert_eq!(parts(&receipts).2, expected, "{} {tlvs:?}", text.escape_ascii());
        }
    }

    #[test]
    fn a_receipt_in_ucs_2_is_read() {
        let text: Vec<u8> = TEXT.iter().flat_map(|octet| [0, *octet]).collect();
        let (_, receipts) = read(&deliver(0x04, 8, &text, &[]));
        assert_eq!(parts(&receipts), ("", "0123", "000", State::Delivered));
    }

    #[test]
    fn a_data_sm_without_text_is_read() {
        let mut body = b"\0\x01\x01254712345678\0\x01\x01100\0\x04\0\0".to_vec();
        write::tlv(&mut body, tag::RECEIPTED_MESSAGE_ID, b"77").unwrap();
        write::tlv(&mut body, tag::MESSAGE_STATE, &[8]).unwrap();
        let data = DataSm::read(&body).unwrap();
        let mut receipts = Receipts::default();
        let delivery = Delivery::of_data(9, &data);
        let delivered = reader(Dialect::default()).read(NOW, &delivery, &mut receipts);
        assert_eq!(delivered, Delivered::Receipt);
        assert_eq!(parts(&receipts), ("77", "", "", State::Rejected));
        assert_eq!(receipts.items[0].sequence, 9);
    }

    #[test]
    fn a_receipt_in_message_payload_is_read() {
        let body = deliver(0x04, 0, b"", &[(tag::MESSAGE_PAYLOAD, TEXT)]);
        assert_eq!(parts(&read(&body).1), ("", "0123", "000", State::Delivered));
    }

    #[test]
    fn a_provider_may_mean_something_else_by_a_word_or_a_number_and_live_elsewhere() {
        let dialect = Dialect {
            offset_minutes: 180,
            states: vec![(b"ACCEPTD".to_vec(), State::Delivered), (b"0".to_vec(), State::Expired)],
            ..Dialect::default()
        };
        let mut reader = reader(dialect);
        let accepted = [6];
        let state: (u16, &[u8]) = (tag::MESSAGE_STATE, &accepted);
        for (text, tlvs, expected) in [
            (&b"id:1 done date:2611201650 stat:ACCEPTD"[..], &[][..], State::Delivered),
            (b"id:1 done date:2611201650 stat:DELIVRD", &[state], State::Delivered),
            (b"id:1 done date:2611201650 stat:0", &[], State::Expired),
            (b"id:1 done date:2611201650 stat:UNDELIV", &[], State::Undeliverable),
        ] {
            let body = deliver(0x04, 0, text, tlvs);
            let mut receipts = Receipts::default();
            let sm = Sm::read(&body).unwrap();
            reader.read(NOW, &Delivery::of_deliver(5, &sm), &mut receipts);
            assert_eq!(receipts.items[0].state, expected, "{}", text.escape_ascii());
            assert_eq!(receipts.items[0].done, Some(NOW));
        }
    }

    #[test]
    fn a_receipt_behind_a_header_is_read() {
        let text = [&b"\x05\0\x03\x01\x01\x01"[..], TEXT].concat();
        assert_eq!(parts(&read(&deliver(0x44, 0, &text, &[])).1).1, "0123");
    }

    #[test]
    fn long_ids_are_told_as_they_are_kept() {
        let long = |octets: usize| "7".repeat(octets);
        for octets in [64, 65, 70, 230, 255, 3000] {
            let id = long(octets);
            let text = format!("id:{id} stat:DELIVRD");
            let tlvs: [TlvOf<'_>; 2] =
                [(tag::RECEIPTED_MESSAGE_ID, id.as_bytes()), (tag::MESSAGE_PAYLOAD, text.as_bytes())];
            let (_, receipts) = read(&deliver(0x04, 0, b"", &tlvs));
            let kept = String::from_utf8(message_id::kept(id.as_bytes()).into_owned()).unwrap();
            assert_eq!(kept.len(), octets.min(message_id::KEPT_OCTETS_MAX));
            assert_eq!(parts(&receipts), (&kept[..], &kept[..], "", State::Delivered), "{octets} octets");
        }
    }
}
