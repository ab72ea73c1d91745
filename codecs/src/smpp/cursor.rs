//! A lenient reader over the body of one PDU. It cannot leave the frame, and it counts what it forgives.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::field::Field;
use super::pdu::{Malformed, SmeAddress};
use super::status::Status;

/// No honest C-octet string is longer. Beyond it we do not look for the NUL.
const C_STRING_OCTETS_MAX: usize = 256;

pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    anomalies: u8,
}

impl<'a> Cursor<'a> {
    pub fn new(body: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: body, anomalies: 0 }
    }

    /// A run of one-octet fields. They have no stand-in: a frame that ends before them cannot be read.
    pub fn octets<const N: usize>(&mut self, first: &'static str) -> Result<[u8; N], Malformed> {
        let Some((octets, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(Malformed { field: first, status: Status::INVCMDLEN });
        };
        self.rest = rest;
        Ok(*octets)
    }

    /// A C-octet string. One that is too long is accepted and counted, as is one that the end of the frame ends.
    pub fn c_string(&mut self, field: &Field) -> Result<&'a [u8], Malformed> {
        if let Some((0, rest)) = self.rest.split_first() {
            self.rest = rest;
            return Ok(&[]);
        }
        let searched = self.rest.get(..C_STRING_OCTETS_MAX).unwrap_or(self.rest);
        let Some(length) = searched.iter().position(|&octet| octet == 0) else {
            return self.unterminated(field);
        };
        let (value, rest) = self.rest.split_at_checked(length).unwrap_or_default();
        self.rest = rest.get(1..).unwrap_or_default();
        self.anomaly_if(length >= field.octets_max);
        Ok(value)
    }

    fn unterminated(&mut self, field: &Field) -> Result<&'a [u8], Malformed> {
        if self.rest.len() >= C_STRING_OCTETS_MAX {
            return Err(Malformed { field: field.name, status: field.status });
        }
        self.anomaly_if(true);
        Ok(std::mem::take(&mut self.rest))
    }

    pub fn address(&mut self, field: &Field) -> Result<SmeAddress<'a>, Malformed> {
        let [ton, npi] = self.octets(field.name)?;
        let octets = self.c_string(field)?;
        Ok(SmeAddress { ton, npi, octets })
    }

    /// The short_message after its sm_length.
    pub fn short_message(&mut self, length: u8) -> Result<&'a [u8], Malformed> {
        let Some((value, rest)) = self.rest.split_at_checked(usize::from(length)) else {
            return Err(Malformed { field: "sm_length", status: Status::INVMSGLEN });
        };
        self.rest = rest;
        Ok(value)
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn anomaly_if(&mut self, odd: bool) {
        self.anomalies = self.anomalies.saturating_add(u8::from(odd));
    }

    /// The octets after the mandatory fields, and how much was forgiven before them.
    pub fn finish(self) -> (&'a [u8], u8) {
        (self.rest, self.anomalies)
    }
}
