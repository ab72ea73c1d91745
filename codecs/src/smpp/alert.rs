//! alert_notification (SMPP 3.4 §4.12.1): a phone is there again for which something waits. It has no response. What is done about
//! it is the holder's.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::cursor::Cursor;
use super::field;
use super::pdu::{Malformed, SmeAddress};
use super::tlv::{Tlvs, tag};
use super::write::{self, WriteError};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlertNotification<'a> {
    /// The phone.
    pub source: SmeAddress<'a>,
    /// The ESME that asked to be told.
    pub esme: SmeAddress<'a>,
    /// Whether the phone can be reached (SMPP 3.4 §5.3.2.30); absent it can.
    pub ms_availability_status: Option<u8>,
    /// What was forgiven in the mandatory fields.
    pub anomalies: u8,
}

impl<'a> AlertNotification<'a> {
    pub fn read(body: &'a [u8]) -> Result<AlertNotification<'a>, Malformed> {
        let mut cursor = Cursor::new(body);
        let source = cursor.address(&field::DATA_SOURCE)?;
        let esme = cursor.address(&field::ESME)?;
        let (optional, anomalies) = cursor.finish();
        let availability = Tlvs::new(optional).value_of(tag::MS_AVAILABILITY_STATUS);
        let ms_availability_status = availability.and_then(|value| value.first().copied());
        Ok(AlertNotification { source, esme, ms_availability_status, anomalies })
    }
}

/// The body of an alert_notification.
pub fn alert_notification_body(out: &mut Vec<u8>, alert: &AlertNotification<'_>) -> Result<(), WriteError> {
    write::check(&field::DATA_SOURCE, alert.source.octets)?;
    write::check(&field::ESME, alert.esme.octets)?;
    write::address(out, alert.source);
    write::address(out, alert.esme);
    match alert.ms_availability_status {
        Some(status) => write::tlv(out, tag::MS_AVAILABILITY_STATUS, &[status]),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::smpp::Status;

    #[test]
    fn an_alert_names_two_addresses_and_may_say_more() {
        let both = &b"\x01\x01254712345678\0\x05\0us\0"[..];
        for (body, expected) in [
            (both.to_vec(), Ok((None, 0))),
            ([both, b"\x04\x22\0\x01\x02"].concat(), Ok((Some(2), 0))),
            // Another one before it, none in it, and stray octets.
            ([both, b"\x14\0\0\0\x04\x22\0\x01\0"].concat(), Ok((Some(0), 0))),
            ([both, b"\x04\x22\0\0"].concat(), Ok((None, 0))),
            ([both, b"\0"].concat(), Ok((None, 0))),
            // The last NUL is missing.
            (both.split_last().unwrap().1.to_vec(), Ok((None, 1))),
            (b"\x01\x01254712345678\0".to_vec(), Err(("esme_addr", Status::INVCMDLEN))),
            (b"\x01\x01254712345678\0\x05".to_vec(), Err(("esme_addr", Status::INVCMDLEN))),
            (b"".to_vec(), Err(("source_addr", Status::INVCMDLEN))),
        ] {
            let read = AlertNotification::read(&body);
            let said = read.map(|alert| (alert.ms_availability_status, alert.anomalies));
            let said = said.map_err(|malformed| (malformed.field, malformed.status));
            assert_eq!(said, expected, "{}", body.escape_ascii());
            if let Ok(alert) = read {
                assert_eq!((alert.source.octets, alert.esme.octets), (&b"254712345678"[..], &b"us"[..]));
            }
        }
    }
}
