//! Finished messages to measure with: texts like those of the load tests, complete stories, all numbers and ids different.
//! It measures nothing.

use codecs::instant::Wall;
use codecs::receipt::State;
use engine::catalog::{AskReceipt, SettleOn};
use engine::id::Number;
use engine::message::Head;
use engine::money::Micros;
use engine::pages::BLOCK_MESSAGES;
use engine::step::{ALL_PARTS, Step, Verdict};
use engine::submission::Body;

use loadtest::dice::mix;
use loadtest::texts::Texts;

/// Octets of a text, as in the load tests: eight digits and then words.
const TEXT: usize = 160;
const SERIAL: usize = 8;
/// Messages a second, of all tenants.
const RATE: u64 = 100_000;
/// When the first of them was accepted.
pub const BEGAN: i64 = 1_795_000_000_000;

/// What kind of ids the provider gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Ten digits that count.
    Counter,
    /// Sixteen hexadecimal digits of no order.
    Random,
}

/// Makes messages.
pub struct Stories {
    texts: Texts,
    pub ids: Ids,
    pub tenants: u64,
}

impl Stories {
    pub fn new(ids: Ids, tenants: u64) -> Stories {
        Stories { texts: Texts::new(TEXT - SERIAL), ids, tenants }
    }

    /// The tenant of a message; its number's order is its serial.
    pub fn tenant(&self, order: u64) -> u32 {
        (mix(order ^ 0x7465_6e61) % self.tenants) as u32
    }

    pub fn number(&self, order: u64) -> u64 {
        mix(u64::from(self.tenant(order))) >> 56 << Number::ORDER_BITS | order
    }

    pub fn destination(&self, order: u64) -> u64 {
        254_700_000_000 + mix(order) % 100_000_000
    }

    /// A message without the last `missing` steps of its story.
    pub fn message(&self, order: u64, missing: usize) -> Vec<u8> {
        let accepted = Wall(BEGAN + (order * 1_000 / RATE) as i64);
        let mut bytes = Vec::with_capacity(400);
        Head {
            number: self.number(order),
            accepted_at: accepted,
            tenant: self.tenant(order),
            price: Micros(1_000_000),
            settle_on: SettleOn::Sent,
            receipts: AskReceipt::Asked,
            candidates: &[0],
        }
        .write(&mut bytes);
        let mut text = format!("{order:08}").into_bytes();
        text.extend_from_slice(self.texts.of(order as u32));
        self.body(order, &text).write(&mut bytes);
        self.story(order, accepted, missing, &mut bytes);
        bytes
    }

    fn body<'a>(&self, order: u64, text: &'a [u8]) -> Body<'a> {
        Body { destination: self.destination(order), source: b"ACME", octets: text, ..Body::default() }
    }

    fn story(&self, order: u64, accepted: Wall, missing: usize, bytes: &mut Vec<u8>) {
        let draw = mix(order ^ 0x7374_6f72);
        let id = match self.ids {
            Ids::Counter => format!("{:010}", 4_000_000_000 + order),
            Ids::Random => format!("{:016x}", mix(draw)),
        };
        let answered = 2 + (draw % 7) as i64;
        let delivered = answered + 1 + (draw >> 8) as i64 % 12;
        let done = Wall((accepted.0 + delivered) / 1_000 * 1_000);
        let steps = [
            (0, Step::Intent { attempt: 1, provider: 0, bind: (draw >> 16) as u16 % 4, parts: ALL_PARTS }),
            (
                answered,
                Step::Response {
                    part: 0,
                    verdict: Verdict::Accepted,
                    status: 0,
                    retry_at: Wall(0),
                    id: id.as_bytes(),
                    shared: false,
                },
            ),
            (delivered, Step::Receipt { part: 0, state: State::Delivered, done, error: b"000" }),
            (delivered + 1 + (draw >> 24) as i64 % 9, Step::Told),
        ];
        for (since, step) in steps.iter().take(steps.len().saturating_sub(missing)) {
            step.write(accepted, Wall(accepted.0 + since), bytes);
        }
    }

    /// The messages of a block.
    pub fn block(&self, block: u64, missing: usize) -> Vec<Vec<u8>> {
        let first = block * BLOCK_MESSAGES;
        (first..first + BLOCK_MESSAGES).map(|order| self.message(order, missing)).collect()
    }
}
