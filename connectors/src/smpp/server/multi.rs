//! submit_multi: as many submissions as it has destinations, and the one answer to all of them. One id is told, that of the first
//! that is accepted; receipts of the others name it too.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;

use codecs::smpp::multi::{Destination, Unsuccess, submit_multi_response_body};
use codecs::smpp::pdu::SmeAddress;
use codecs::smpp::tlv::tag;
use codecs::smpp::write;
use codecs::smpp::{Command as Pdu, Status};
use engine::IdText;
use engine::command::Refusal;
use engine::effect::Outcome;

use crate::smpp::access::IdRadix;

/// No message_id, nobody in the list, and additional_status_info_text.
const NO_CREDIT_BODY: &[u8] = b"\0\0\x00\x1d\x00\x0ano credit\0";

/// A submit_multi that waits for the outcomes of its destinations.
#[derive(Default)]
pub struct Multi {
    /// Those that were handed on, in order.
    waiting: VecDeque<Address>,
    refused: Vec<(Address, Status)>,
    id: Option<u64>,
    /// The first that was refused lacks credit.
    lacks_credit: bool,
}

/// A destination as it stood in the PDU.
struct Address {
    ton: u8,
    npi: u8,
    octets: Vec<u8>,
}

impl Address {
    fn new(destination: &Destination<'_>) -> Address {
        match destination {
            Destination::Sme(SmeAddress { ton, npi, octets }) => {
                Address { ton: *ton, npi: *npi, octets: octets.to_vec() }
            }
            Destination::List(name) => Address { ton: 0, npi: 0, octets: name.to_vec() },
        }
    }
}

impl Multi {
    /// One was handed on.
    pub fn waits_for(&mut self, destination: &Destination<'_>) {
        self.waiting.push_back(Address::new(destination));
    }

    /// One was refused at once.
    pub fn refuse(&mut self, destination: &Destination<'_>, status: Status) {
        self.refused.push((Address::new(destination), status));
    }

    /// The outcome of the first that waits.
    pub fn decided(&mut self, outcome: Outcome, status: impl FnOnce(Refusal) -> Status) {
        let Some(address) = self.waiting.pop_front() else { return };
        match outcome {
            Outcome::Accepted { id, .. } => self.id = self.id.or(Some(id)),
            Outcome::Refused(reason) => {
                self.lacks_credit |= self.refused.is_empty() && reason == Refusal::InsufficientCredit;
                self.refused.push((address, status(reason)));
            }
        }
    }

    pub fn is_complete(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Appends the response. Where nothing was accepted there is no id, and it says why the first was not. `congestion`: what a
    /// peer is told that understands more (SMPP 5.0).
    pub fn write(&self, frames: &mut Vec<u8>, sequence: u32, radix: IdRadix, congestion: Option<u8>) {
        let command = Pdu::SUBMIT_MULTI_RESP;
        let Some(id) = self.id else {
            let status = self.refused.first().map_or(Status::SUBMITFAIL, |(_, status)| *status);
            let explains = self.lacks_credit && congestion.is_some();
            let body = if explains { NO_CREDIT_BODY } else { &[] };
            return write::frame(frames, command, status, sequence, body);
        };
        let unsuccess: Vec<Unsuccess<'_>> = self
            .refused
            .iter()
            .map(|(Address { ton, npi, octets }, status)| Unsuccess {
                destination: SmeAddress { ton: *ton, npi: *npi, octets },
                status: *status,
            })
            .collect();
        let text = IdText::new(id, radix);
        let written = write::pdu(frames, command, Status::OK, sequence, |body| {
            submit_multi_response_body(body, text.digits(), &unsuccess)?;
            congestion.map_or(Ok(()), |state| write::tlv(body, tag::CONGESTION_STATE, &[state]))
        });
        if written.is_err() {
            // An address that was read leniently may be longer than one may be written.
            write::header_only(frames, command, Status::SYSERR, sequence);
        }
    }
}
