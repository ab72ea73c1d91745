//! submit_multi (SMPP 3.4 §4.5): a message to each of its destinations, all with one id, and the refused ones in a list. What is drawn
//! of the whole, an answer that is lost and a connection that ends, is drawn for the first of them.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::{super::faults::Plan, Flow, Session};
use crate::{
    dice::{Dice, fingerprint, mix},
    wire::{self, Address, Message, Pdu, command, status},
};

const RESPONSE: u32 = command::SUBMIT_MULTI | command::RESPONSE;

impl Session {
    pub(super) fn submit_multi(&mut self, pdu: Pdu<'_>, out: &mut Vec<u8>) -> Flow {
        self.counts.submits = self.counts.submits.saturating_add(1);
        let Some((message, destinations)) = Message::parse_multi(pdu.body) else {
            self.counts.refused = self.counts.refused.saturating_add(1);
            wire::empty(out, RESPONSE, status::INVALID_COMMAND_LENGTH, pdu.sequence);
            return Flow::Open;
        };
        let id = self.next_id();
        let mut refused = Vec::new();
        let mut of_first = None;
        for destination in &destinations {
            let message = Message { destination: *destination, ..message };
            let key = mix(fingerprint(destination.digits));
            let attempt = self.shared.attempt(key);
            let plan = Plan::draw(&self.profile, Dice::new(self.profile.seed, key, attempt));
            match self.refusal(&plan, *destination) {
                Some(status) => {
                    self.counts.refused = self.counts.refused.saturating_add(1);
                    refused.push((*destination, status));
                }
                None => {
                    self.accept_as(&message, id);
                    self.owe(&plan, self.now, &message, id);
                }
            }
            of_first.get_or_insert(plan);
        }
        let of_first = of_first.as_ref();
        if of_first.is_some_and(|plan| plan.drop) {
            self.counts.drops = self.counts.drops.saturating_add(1);
            return Flow::Close;
        }
        if of_first.is_some_and(|plan| plan.lost_answer) {
            self.counts.lost_answers = self.counts.lost_answers.saturating_add(1);
            return Flow::Open;
        }
        self.answer_multi(pdu.sequence, id, &refused, out);
        Flow::Open
    }

    fn refusal(&self, plan: &Plan, destination: Address<'_>) -> Option<u32> {
        let ends = |ending: &String| destination.digits.ends_with(ending.as_bytes());
        let is_refused = self.profile.multi_refused.iter().any(ends);
        plan.refusal.or(is_refused.then_some(status::INVALID_DESTINATION))
    }

    fn answer_multi(&self, sequence: u32, id: u64, refused: &[(Address<'_>, u32)], out: &mut Vec<u8>) {
        wire::framed(out, RESPONSE, status::OK, sequence, |out| {
            self.profile.message_id.write(out, id);
            out.push(0);
            out.push(u8::try_from(refused.len()).unwrap_or(u8::MAX));
            for (address, status) in refused {
                out.extend_from_slice(&[address.ton, address.npi]);
                out.extend_from_slice(address.digits);
                out.push(0);
                out.extend_from_slice(&status.to_be_bytes());
            }
        });
    }
}
