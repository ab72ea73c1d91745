//! submit_multi: as many submissions as it has destinations, and the one answer to all of them. One id is told, that of the first
//! that is accepted; receipts of the others name it too.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;

use codecs::smpp::multi::{Destination, Unsuccess, submit_multi_response_body};
use codecs::smpp::pdu::SmeAddress;
use codecs::smpp::write;
use codecs::smpp::{Command as Pdu, Status};
use engine::effect::Outcome;

use super::operations::id_text;
use crate::smpp::access::IdRadix;

/// A submit_multi that waits for the outcomes of its destinations.
#[derive(Default)]
pub struct Multi {
    /// Those that were handed on, in order.
    waiting: VecDeque<Address>,
    refused: Vec<(Address, Status)>,
    id: Option<u64>,
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
    pub fn decided(&mut self, outcome: Outcome, status: impl FnOnce(engine::command::Refusal) -> Status) {
        let Some(address) = self.waiting.pop_front() else { return };
        match outcome {
            Outcome::Accepted { id, .. } => self.id = self.id.or(Some(id)),
            Outcome::Refused(reason) => self.refused.push((address, status(reason))),
        }
    }

    pub fn is_complete(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Appends the response. Where nothing was accepted there is no id, and it says why the first was not.
    pub fn write(&self, frames: &mut Vec<u8>, sequence: u32, radix: IdRadix) {
        let command = Pdu::SUBMIT_MULTI_RESP;
        let Some(id) = self.id else {
            let status = self.refused.first().map_or(Status::SUBMITFAIL, |(_, status)| *status);
            return write::header_only(frames, command, status, sequence);
        };
        let unsuccess: Vec<Unsuccess<'_>> = self
            .refused
            .iter()
            .map(|(Address { ton, npi, octets }, status)| Unsuccess {
                destination: SmeAddress { ton: *ton, npi: *npi, octets },
                status: *status,
            })
            .collect();
        let text = id_text(id, radix);
        let id = text.trim_end_matches('\0').as_bytes();
        let written = write::pdu(frames, command, Status::OK, sequence, |body| {
            submit_multi_response_body(body, id, &unsuccess)
        });
        if written.is_err() {
            // An address that was read leniently may be longer than one may be written.
            write::header_only(frames, command, Status::SYSERR, sequence);
        }
    }
}
