//! The head of a message: what the engine decided when it accepted it. Reading it back is `message.rs`'s.
//!
//! Little-endian: version u8 (with `INBOUND` in a message from a phone) · candidate count u8 · settle_on u8 · receipts u8 · number u64 · accepted_at i64 (ms) ·
//! tenant u32 · price i64 (millionths, whole message) · candidates u16 each.

use codecs::instant::Wall;

use crate::catalog::{AskReceipt, SettleOn};
use crate::money::Micros;

pub const HEAD_VERSION: u8 = 1;
/// The bit of a head's version that says: from a phone to a tenant. Such a message is final at once, costs nothing, and waits
/// only to be told; its candidate is the provider that brought it, its destination the phone. Builds that know none take it
/// for a newer version.
pub const INBOUND: u8 = 0x80;
pub(super) const HEAD_FIXED: usize = 32;
/// Where the price stands.
pub(super) const PRICE_AT: usize = 24;

/// The head of a message: what the engine decided when it accepted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    pub number: u64,
    pub accepted_at: Wall,
    pub tenant: u32,
    pub price: Micros,
    pub settle_on: SettleOn,
    /// Whether its provider is asked for receipts, whatever the tenant wants.
    pub receipts: AskReceipt,
    /// Providers of its route in the order they are tried, u16 little-endian each.
    pub candidates: &'a [u16],
}

impl Head<'_> {
    /// How many octets it is written in.
    pub fn octets(&self) -> usize {
        HEAD_FIXED + self.candidates.len() * 2
    }

    /// The head of a message from a phone.
    pub fn write_inbound(&self, out: &mut Vec<u8>) {
        let start = out.len();
        self.write(out);
        out[start] |= INBOUND;
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[
            HEAD_VERSION,
            self.candidates.len() as u8,
            self.settle_on as u8,
            self.receipts as u8,
        ]);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.accepted_at.0.to_le_bytes());
        out.extend_from_slice(&self.tenant.to_le_bytes());
        out.extend_from_slice(&self.price.0.to_le_bytes());
        for candidate in self.candidates {
            out.extend_from_slice(&candidate.to_le_bytes());
        }
    }
}
