//! submit_multi and its response (SMPP 3.4 §4.5), read and written. All but the list of destinations is a submit_sm's.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use super::cursor::Cursor;
use super::field;
use super::pdu::{Malformed, Sm, SmeAddress};
use super::status::Status;
use super::write::{self, SmFields, WriteError};

/// dest_flag (SMPP 3.4 §5.2.25).
const SME: u8 = 1;
const LIST: u8 = 2;

/// To whom (SMPP 3.4 §4.5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination<'a> {
    Sme(SmeAddress<'a>),
    /// The name of a distribution list that the SMSC keeps.
    List(&'a [u8]),
}

/// submit_multi (SMPP 3.4 §4.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubmitMulti<'a> {
    sm: Sm<'a>,
    count: u8,
    /// The list as it stands in the PDU; it was read once.
    list: &'a [u8],
}

impl<'a> SubmitMulti<'a> {
    pub fn read(body: &'a [u8]) -> Result<SubmitMulti<'a>, Malformed> {
        let mut cursor = Cursor::new(body);
        let service_type = cursor.c_string(&field::SERVICE_TYPE)?;
        let source = cursor.address(&field::SOURCE)?;
        let [count] = cursor.octets("number_of_dests")?;
        if count == 0 {
            return Err(Malformed { field: "number_of_dests", status: Status::INVNUMDESTS });
        }
        let list = cursor.rest();
        for _ in 0..count {
            read_destination(&mut cursor)?;
        }
        let octets = list.len().saturating_sub(cursor.rest().len());
        let list = list.get(..octets).unwrap_or_default();
        let sm = Sm::read_rest(cursor, service_type, source, SmeAddress::default())?;
        Ok(SubmitMulti { sm, count, list })
    }

    /// The submit_sm to one of them.
    pub fn to(&self, destination: SmeAddress<'a>) -> Sm<'a> {
        Sm { destination, ..self.sm }
    }

    pub fn destinations(&self) -> impl Iterator<Item = Destination<'a>> {
        let mut cursor = Cursor::new(self.list);
        (0..self.count).map_while(move |_| read_destination(&mut cursor).ok())
    }
}

fn read_destination<'a>(cursor: &mut Cursor<'a>) -> Result<Destination<'a>, Malformed> {
    match cursor.octets("dest_flag")? {
        [SME] => cursor.address(&field::DESTINATION).map(Destination::Sme),
        [LIST] => cursor.c_string(&field::LIST_NAME).map(Destination::List),
        _ => Err(Malformed { field: "dest_flag", status: Status::INVDESTFLAG }),
    }
}

/// The body of a submit_multi to at most 255 destinations. The destination of `sm` is not looked at.
pub fn submit_multi_body(
    out: &mut Vec<u8>,
    sm: &SmFields<'_>,
    destinations: &[Destination<'_>],
) -> Result<(), WriteError> {
    write::check_sm(sm)?;
    let octets = destinations.len();
    let count =
        u8::try_from(octets).map_err(|_| WriteError::TooLong { field: "dest_address", octets, max: 255 })?;
    for destination in destinations {
        match destination {
            Destination::Sme(address) => write::check(&field::DESTINATION, address.octets)?,
            Destination::List(name) => write::check(&field::LIST_NAME, name)?,
        }
    }
    write::c_string(out, sm.service_type);
    write::address(out, sm.source);
    out.push(count);
    for destination in destinations {
        match *destination {
            Destination::Sme(address) => {
                out.push(SME);
                write::address(out, address);
            }
            Destination::List(name) => {
                out.push(LIST);
                write::c_string(out, name);
            }
        }
    }
    write::sm_rest(out, sm);
    Ok(())
}

/// The body of a submit_sm as it was written, around its destination: what stands before and after the list of a submit_multi
/// that says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Around<'a> {
    pub before: &'a [u8],
    /// Type, plan, digits and their NUL.
    pub destination: &'a [u8],
    pub after: &'a [u8],
}

impl<'a> Around<'a> {
    pub fn read(body: &'a [u8]) -> Result<Around<'a>, Malformed> {
        let mut cursor = Cursor::new(body);
        cursor.c_string(&field::SERVICE_TYPE)?;
        cursor.address(&field::SOURCE)?;
        let rest = cursor.rest();
        cursor.address(&field::DESTINATION)?;
        let after = cursor.rest();
        let (before, rest) = body.split_at(body.len().saturating_sub(rest.len()));
        let destination = rest.get(..rest.len().saturating_sub(after.len())).unwrap_or_default();
        Ok(Around { before, destination, after })
    }

    /// The octets of the address.
    pub fn digits(&self) -> &'a [u8] {
        let digits = self.destination.get(2..).unwrap_or_default();
        digits.strip_suffix(&[0]).unwrap_or(digits)
    }

    /// The body of the submit_multi to all of `destinations`, each as `destination` has it; at most 255.
    pub fn write_multi(&self, out: &mut Vec<u8>, count: u8, destinations: &[u8]) {
        out.extend_from_slice(self.before);
        out.push(count);
        out.extend_from_slice(destinations);
        out.extend_from_slice(self.after);
    }

    /// Appends the destination as it stands in a list.
    pub fn write_destination(&self, out: &mut Vec<u8>) {
        out.push(SME);
        out.extend_from_slice(self.destination);
    }
}

/// A destination that was not taken, and why (SMPP 3.4 §4.5.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsuccess<'a> {
    pub destination: SmeAddress<'a>,
    pub status: Status,
}

/// submit_multi_resp (SMPP 3.4 §4.5.2). There is no body that cannot be read: what is cut off is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubmitMultiResponse<'a> {
    pub message_id: &'a [u8],
    count: u8,
    list: &'a [u8],
}

impl<'a> SubmitMultiResponse<'a> {
    pub fn read(body: &'a [u8]) -> SubmitMultiResponse<'a> {
        let mut cursor = Cursor::new(body);
        let message_id = cursor.c_string(&field::MESSAGE_ID).unwrap_or_default();
        let [count] = cursor.octets("no_unsuccess").unwrap_or_default();
        SubmitMultiResponse { message_id, count, list: cursor.rest() }
    }

    /// How many it says are listed, of which some may be cut off.
    pub fn unsuccess_told(&self) -> usize {
        usize::from(self.count)
    }

    pub fn unsuccess(&self) -> impl Iterator<Item = Unsuccess<'a>> {
        let mut cursor = Cursor::new(self.list);
        (0..self.count).map_while(move |_| read_unsuccess(&mut cursor))
    }
}

fn read_unsuccess<'a>(cursor: &mut Cursor<'a>) -> Option<Unsuccess<'a>> {
    let destination = cursor.address(&field::DESTINATION).ok()?;
    let status = u32::from_be_bytes(cursor.octets("error_status_code").ok()?);
    Some(Unsuccess { destination, status: Status(status) })
}

/// The body of a submit_multi_resp.
pub fn submit_multi_response_body(
    out: &mut Vec<u8>,
    message_id: &[u8],
    unsuccess: &[Unsuccess<'_>],
) -> Result<(), WriteError> {
    write::check(&field::MESSAGE_ID, message_id)?;
    let octets = unsuccess.len();
    let count =
        u8::try_from(octets).map_err(|_| WriteError::TooLong { field: "unsuccess_sme", octets, max: 255 })?;
    for one in unsuccess {
        write::check(&field::DESTINATION, one.destination.octets)?;
    }
    write::c_string(out, message_id);
    out.push(count);
    for one in unsuccess {
        write::address(out, one.destination);
        out.extend_from_slice(&one.status.0.to_be_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used)]
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn word(octets_max: usize) -> impl Strategy<Value = Vec<u8>> {
        vec(1u8.., 0..=octets_max)
    }

    /// Whether it is an address, its type and plan, its octets, and the status of its refusal.
    type Row = (bool, u8, u8, Vec<u8>, u32);

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        vec((any::<bool>(), any::<u8>(), any::<u8>(), word(20), any::<u32>()), 1..=255)
    }

    fn address((_, ton, npi, octets, _): &Row) -> SmeAddress<'_> {
        SmeAddress { ton: *ton, npi: *npi, octets }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            rows in rows(),
            service_type in word(5),
            source in word(20),
            text in vec(any::<u8>(), 0..=254),
            fields in any::<[u8; 7]>(),
        ) {
            let destinations: Vec<Destination<'_>> = rows
                .iter()
                .map(|row| if row.0 { Destination::Sme(address(row)) } else { Destination::List(&row.3) })
                .collect();
            let [esm_class, protocol_id, priority_flag, registered_delivery, replace, data_coding, id] = fields;
            let sm = SmFields {
                service_type: &service_type,
                source: SmeAddress { ton: 5, npi: 0, octets: &source },
                esm_class,
                protocol_id,
                priority_flag,
                validity_period: b"000003000000000R",
                registered_delivery,
                replace_if_present_flag: replace,
                data_coding,
                sm_default_msg_id: id,
                text: &text,
                ..SmFields::default()
            };
            let mut body = Vec::new();
            submit_multi_body(&mut body, &sm, &destinations).unwrap();
            write::tlv(&mut body, 0x1400, b"vendor").unwrap();
            let read = SubmitMulti::read(&body).unwrap();
            prop_assert_eq!(read.destinations().collect::<Vec<_>>(), destinations);
            // All else is as a submit_sm would have it.
            let to = SmeAddress { ton: 1, npi: 1, octets: b"254712345678" };
            let mut plain = Vec::new();
            write::sm_body(&mut plain, &SmFields { destination: to, ..sm }).unwrap();
            write::tlv(&mut plain, 0x1400, b"vendor").unwrap();
            prop_assert_eq!(read.to(to), Sm::read(&plain).unwrap());
            // And made of the submit_sm to each it is the same.
            let around = Around::read(&plain).unwrap();
            prop_assert_eq!(around.digits(), to.octets);
            let mut list = Vec::new();
            for row in &rows {
                let mut one = Vec::new();
                write::sm_body(&mut one, &SmFields { destination: address(row), ..sm }).unwrap();
                Around::read(&one).unwrap().write_destination(&mut list);
            }
            let mut made = Vec::new();
            around.write_multi(&mut made, rows.len() as u8, &list);
            let smes: Vec<Destination<'_>> = rows.iter().map(|row| Destination::Sme(address(row))).collect();
            let mut written = Vec::new();
            submit_multi_body(&mut written, &sm, &smes).unwrap();
            write::tlv(&mut written, 0x1400, b"vendor").unwrap();
            prop_assert_eq!(made, written);

            let unsuccess: Vec<Unsuccess<'_>> = rows
                .iter()
                .map(|row| Unsuccess { destination: address(row), status: Status(row.4) })
                .collect();
            let mut body = Vec::new();
            submit_multi_response_body(&mut body, b"123", &unsuccess).unwrap();
            let read = SubmitMultiResponse::read(&body);
            prop_assert_eq!(read.unsuccess_told(), unsuccess.len());
            prop_assert_eq!(read.message_id, b"123");
            prop_assert_eq!(read.unsuccess().collect::<Vec<_>>(), unsuccess);
        }

        #[test]
        fn whatever_comes_nothing_panics_and_no_more_is_read_than_is_there(body in vec(any::<u8>(), 0..400)) {
            if let Ok(read) = SubmitMulti::read(&body) {
                prop_assert!(read.destinations().count() <= body.len());
            }
            let _ = Around::read(&body).map(|around| around.digits());
            prop_assert!(SubmitMultiResponse::read(&body).unsuccess().count() <= body.len());
        }
    }

    #[test]
    fn what_no_destination_can_be_has_its_status() {
        for (body, status) in [
            (&b"\0\0\0\0\0"[..], Status::INVNUMDESTS),
            (b"\0\0\0\0\x01\x03x\0", Status::INVDESTFLAG),
            (b"\0\0\0\0\x02\x01\0\x001\0", Status::INVCMDLEN),
        ] {
            assert_eq!(SubmitMulti::read(body).unwrap_err().status, status, "{}", body.escape_ascii());
        }
    }
}
