//! The records of a journal group: their frame, and what each kind holds. What they mean is the fold's, in `replay.rs`.
//!
//! A record is: kind u8 · version u8 · payload length u32 little-endian · payload. Kinds are never reused; a newer version
//! than ours is refused with a clear error.

use crate::bytes::{Reader, push_text};
use crate::flushes::Flushes;
use crate::money::Micros;
use crate::step::Step;

/// Octets before a record's payload.
pub const RECORD_HEADER: usize = 6;
/// Idempotency keys are of the second version since their outcomes say how many parts they have, and of the third since they say how
/// many follow that are alike; those before are read like it, for each of their outcomes says what it knows. All else is of the first.
const IDEMPOTENCY_VERSION: u8 = 3;
/// What is untold says since when, from the second version on.
const UNTOLD_VERSION: u8 = 2;
const RECORD_VERSION: u8 = 1;

const fn version_of(kind: u8) -> u8 {
    match kind {
        kind::IDEMPOTENCY => IDEMPOTENCY_VERSION,
        kind::UNTOLD => UNTOLD_VERSION,
        _ => RECORD_VERSION,
    }
}

/// How a wallet's total changed from outside the life of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MoneyKind {
    /// The opening balance, once.
    Opening = 1,
    Deposit = 2,
    Withdrawal = 3,
    Adjustment = 4,
    Refund = 5,
    CreditLimit = 6,
}

/// What a permanent number was given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NameKind {
    Tenant = 1,
    Provider = 2,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A new message: head and body.
    Accept(&'a [u8]),
    /// One step of a message, encoded. Written as one of four kinds: intent, outcome, receipt, told.
    Step {
        number: u64,
        step: &'a [u8],
    },
    /// The first step of a message after it was read back from the parked store: its image is there, and has so many octets. What
    /// happens to it then are steps as ever.
    Apart {
        number: u64,
        after: u32,
        step: &'a [u8],
    },
    Money {
        tenant: u32,
        kind: MoneyKind,
        amount: Micros,
        at: i64,
    },
    /// A whole message written again, so that its older groups can go.
    CarryOver(&'a [u8]),
    /// Messages of a block that are in the archive and have left memory (`mask`, bit 0 the first of the block).
    Parked {
        block: u64,
        mask: u64,
    },
    /// A message that had left memory is living again, whole, because news came for it.
    Amendment(&'a [u8]),
    /// A permanent number for a name. For a tenant `currency` is its wallet's; for a provider it may say that ids of it are shared.
    Catalog {
        kind: NameKind,
        index: u32,
        id: &'a str,
        currency: &'a str,
    },
    /// The next number to be given.
    Epoch {
        epoch: u16,
        next: u64,
    },
    /// How often the stores beside the journal had been flushed.
    Flushes(Flushes),
    /// A wallet with its running totals, as they stand at the end of the group or at its carry-over. Replay takes wallets from
    /// here alone, so that it need not begin before every message that a wallet has money for.
    Wallet {
        tenant: u32,
        wallet: &'a [u8],
    },
    /// An idempotency key and its answer.
    Idempotency {
        tenant: u32,
        entry: &'a [u8],
    },
    /// What is in the archive of a block and its tenants have not been told.
    Debts {
        block: u64,
        debts: &'a [u8],
    },
    /// The same of one message, as releases before wrote it.
    Untold {
        tenant: u32,
        number: u64,
        /// When it became final, in milliseconds of the wall clock; 0 where nobody knows.
        since: i64,
    },
    /// A receipt whose message is not known yet; with nothing but its id, those held under the id have found theirs.
    EarlyReceipt {
        provider: u16,
        at: i64,
        receipt: &'a [u8],
    },
    /// A part of a message from a phone; with nothing but its key, the parts under the key have been told or are given up.
    InboundPart {
        provider: u16,
        at: i64,
        part: &'a [u8],
    },
    /// What stands for a PDU from a phone, and when it came, where the message that it brought is in no group any more.
    Arrival {
        arrival: u64,
        at: i64,
    },
    /// Something kept for the operator; with nothing but its number, it is kept no more.
    Kept {
        drawer: u8,
        number: u64,
        provider: u16,
        at: i64,
        entry: &'a [u8],
    },
    /// An operator's rule; with nothing but its number, the rule has ended. Numbers are given once.
    Rule {
        number: u32,
        rule: &'a [u8],
    },
}

mod kind {
    pub const ACCEPT: u8 = 1;
    pub const INTENT: u8 = 2;
    pub const OUTCOME: u8 = 3;
    pub const RECEIPT: u8 = 4;
    pub const TOLD: u8 = 5;
    pub const MONEY: u8 = 6;
    pub const CARRY_OVER: u8 = 7;
    pub const PARKED: u8 = 8;
    pub const AMENDMENT: u8 = 9;
    pub const CATALOG: u8 = 10;
    pub const EPOCH: u8 = 11;
    pub const WALLET: u8 = 12;
    pub const IDEMPOTENCY: u8 = 13;
    pub const UNTOLD: u8 = 14;
    pub const EARLY_RECEIPT: u8 = 15;
    pub const RULE: u8 = 20;
    pub const INBOUND_PART: u8 = 24;
    pub const KEPT: u8 = 25;
    pub const ARRIVAL: u8 = 26;
    pub const APART: u8 = 27;
    pub const FLUSHES: u8 = 28;
    pub const DEBTS: u8 = 29;
}

/// Why a group's bytes could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("record at octet {at} of its group is of version {version}, newer than {known}")]
    Newer { at: usize, version: u8, known: u8 },
    #[error("record at octet {at} of its group is of the unknown kind {kind}")]
    UnknownKind { at: usize, kind: u8 },
    #[error("record at octet {at} of its group is malformed")]
    Malformed { at: usize },
}

/// Appends a step's record without encoding the step twice: the caller has its octets in the message already.
pub fn write_step(out: &mut Vec<u8>, number: u64, step: &Step<'_>, encoded: &[u8]) {
    let kind = match step {
        Step::Intent { .. } => kind::INTENT,
        Step::Receipt { .. } => kind::RECEIPT,
        Step::Told | Step::Dropped => kind::TOLD,
        _ => kind::OUTCOME,
    };
    frame(out, kind, |out| {
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(encoded);
    });
}

/// Appends the record of the first step since a message was read back.
pub fn write_apart(out: &mut Vec<u8>, number: u64, after: u32, encoded: &[u8]) {
    frame(out, kind::APART, |out| {
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&after.to_le_bytes());
        out.extend_from_slice(encoded);
    });
}

/// Appends an accept's record.
pub fn write_accept(out: &mut Vec<u8>, message: &[u8]) {
    frame(out, kind::ACCEPT, |out| out.extend_from_slice(message));
}

/// Appends any other record.
pub fn write(out: &mut Vec<u8>, record: &Record<'_>) {
    match *record {
        Record::Accept(message) => write_accept(out, message),
        Record::Step { number, step } => {
            // The kind follows from the step's own kind octet.
            let kind = match step.first() {
                Some(1 | 25) => kind::INTENT,
                Some(6) => kind::RECEIPT,
                Some(7 | 16) => kind::TOLD,
                _ => kind::OUTCOME,
            };
            frame(out, kind, |out| {
                out.extend_from_slice(&number.to_le_bytes());
                out.extend_from_slice(step);
            });
        }
        Record::Apart { number, after, step } => write_apart(out, number, after, step),
        Record::Money { tenant, kind, amount, at } => frame(out, kind::MONEY, |out| {
            out.extend_from_slice(&tenant.to_le_bytes());
            out.push(kind as u8);
            out.extend_from_slice(&amount.0.to_le_bytes());
            out.extend_from_slice(&at.to_le_bytes());
        }),
        Record::CarryOver(message) => frame(out, kind::CARRY_OVER, |out| out.extend_from_slice(message)),
        Record::Amendment(message) => frame(out, kind::AMENDMENT, |out| out.extend_from_slice(message)),
        Record::Parked { block, mask } => frame(out, kind::PARKED, |out| {
            out.extend_from_slice(&block.to_le_bytes());
            out.extend_from_slice(&mask.to_le_bytes());
        }),
        Record::Catalog { kind, index, id, currency } => frame(out, kind::CATALOG, |out| {
            out.push(kind as u8);
            out.extend_from_slice(&index.to_le_bytes());
            push_text(out, id);
            push_text(out, currency);
        }),
        Record::Epoch { epoch, next } => frame(out, kind::EPOCH, |out| {
            out.extend_from_slice(&epoch.to_le_bytes());
            out.extend_from_slice(&next.to_le_bytes());
        }),
        Record::Wallet { tenant, wallet } => frame(out, kind::WALLET, |out| {
            out.extend_from_slice(&tenant.to_le_bytes());
            out.extend_from_slice(wallet);
        }),
        Record::Idempotency { tenant, entry } => frame(out, kind::IDEMPOTENCY, |out| {
            out.extend_from_slice(&tenant.to_le_bytes());
            out.extend_from_slice(entry);
        }),
        Record::Debts { .. } | Record::Untold { .. } => write_untold(out, record),
        Record::EarlyReceipt { provider, at, receipt } => frame(out, kind::EARLY_RECEIPT, |out| {
            out.extend_from_slice(&provider.to_le_bytes());
            out.extend_from_slice(&at.to_le_bytes());
            out.extend_from_slice(receipt);
        }),
        Record::InboundPart { .. } | Record::Arrival { .. } | Record::Kept { .. } => {
            write_inbound(out, record)
        }
        Record::Flushes(flushes) => frame(out, kind::FLUSHES, |out| write_flushes(out, flushes)),
        Record::Rule { number, rule } => frame(out, kind::RULE, |out| {
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(rule);
        }),
    }
}

/// A bit for each that is known, and then these.
fn write_flushes(out: &mut Vec<u8>, flushes: Flushes) {
    let Flushes { archive, parked, late_ids } = flushes;
    let known = [archive.is_some(), parked.is_some(), late_ids.is_some()];
    out.push((0u8..).zip(known).map(|(bit, known)| u8::from(known) << bit).sum());
    let pair = |of: Option<(u64, u64)>| of.into_iter().flat_map(|(database, count)| [database, count]);
    for number in pair(archive).chain(parked).chain(pair(late_ids)) {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn read_flushes(reader: &mut Reader<'_>) -> Option<Flushes> {
    let known = reader.u8().filter(|known| *known < 8)?;
    let archive = if known & 1 != 0 { Some((reader.u64()?, reader.u64()?)) } else { None };
    let parked = if known & 2 != 0 { Some(reader.u64()?) } else { None };
    let late_ids = if known & 4 != 0 { Some((reader.u64()?, reader.u64()?)) } else { None };
    Some(Flushes { archive, parked, late_ids })
}

/// What tenants are still to be told.
fn write_untold(out: &mut Vec<u8>, record: &Record<'_>) {
    match *record {
        Record::Debts { block, debts } => frame(out, kind::DEBTS, |out| {
            out.extend_from_slice(&block.to_le_bytes());
            out.extend_from_slice(debts);
        }),
        Record::Untold { tenant, number, since } => frame(out, kind::UNTOLD, |out| {
            out.extend_from_slice(&tenant.to_le_bytes());
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(&since.to_le_bytes());
        }),
        _ => {}
    }
}

/// Of messages from phones, and of what is kept for the operator.
fn write_inbound(out: &mut Vec<u8>, record: &Record<'_>) {
    match *record {
        Record::InboundPart { provider, at, part } => frame(out, kind::INBOUND_PART, |out| {
            out.extend_from_slice(&provider.to_le_bytes());
            out.extend_from_slice(&at.to_le_bytes());
            out.extend_from_slice(part);
        }),
        Record::Arrival { arrival, at } => frame(out, kind::ARRIVAL, |out| {
            out.extend_from_slice(&arrival.to_le_bytes());
            out.extend_from_slice(&at.to_le_bytes());
        }),
        Record::Kept { drawer, number, provider, at, entry } => frame(out, kind::KEPT, |out| {
            out.push(drawer);
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(&provider.to_le_bytes());
            out.extend_from_slice(&at.to_le_bytes());
            out.extend_from_slice(entry);
        }),
        _ => {}
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[kind, version_of(kind), 0, 0, 0, 0]);
    payload(out);
    let length = (out.len() - start - RECORD_HEADER) as u32;
    out[start + 2..start + RECORD_HEADER].copy_from_slice(&length.to_le_bytes());
}

/// The records of one group, in order.
pub struct Records<'a> {
    reader: Reader<'a>,
}

impl<'a> Records<'a> {
    pub fn new(group: &'a [u8]) -> Records<'a> {
        Records { reader: Reader::new(group) }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    // Handed over in memory, a record is read in other pieces than it was written in, and waits for all that is being written: a
    // twentieth of a start.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let at = self.reader.position();
        let malformed = RecordError::Malformed { at };
        let Some([kind, version]) = self.reader.array::<2>() else { return Some(Err(malformed)) };
        let known = version_of(kind);
        if version > known {
            return Some(Err(RecordError::Newer { at, version, known }));
        }
        let payload = self.reader.u32().and_then(|length| self.reader.take(usize::try_from(length).ok()?));
        let Some(payload) = payload else { return Some(Err(malformed)) };
        let is_known = (kind::ACCEPT..=kind::EARLY_RECEIPT).contains(&kind)
            || kind == kind::RULE
            || (kind::INBOUND_PART..=kind::DEBTS).contains(&kind);
        if !is_known {
            return Some(Err(RecordError::UnknownKind { at, kind }));
        }
        Some(read_payload(kind, payload).ok_or(malformed))
    }
}

#[inline(always)]
fn read_payload(kind: u8, payload: &[u8]) -> Option<Record<'_>> {
    let mut reader = Reader::new(payload);
    Some(match kind {
        kind::ACCEPT => Record::Accept(payload),
        kind::INTENT | kind::OUTCOME | kind::RECEIPT | kind::TOLD => {
            Record::Step { number: reader.u64()?, step: reader.rest() }
        }
        kind::APART => Record::Apart { number: reader.u64()?, after: reader.u32()?, step: reader.rest() },
        kind::MONEY => Record::Money {
            tenant: reader.u32()?,
            kind: money_kind(reader.u8()?)?,
            amount: Micros(reader.i64()?),
            at: reader.i64()?,
        },
        kind::CARRY_OVER => Record::CarryOver(payload),
        kind::AMENDMENT => Record::Amendment(payload),
        kind::PARKED => Record::Parked { block: reader.u64()?, mask: reader.u64()? },
        kind::CATALOG => Record::Catalog {
            kind: match reader.u8()? {
                1 => NameKind::Tenant,
                2 => NameKind::Provider,
                _ => return None,
            },
            index: reader.u32()?,
            id: reader.text()?,
            currency: reader.text()?,
        },
        kind::FLUSHES => Record::Flushes(read_flushes(&mut reader)?),
        kind::EPOCH => Record::Epoch { epoch: reader.u16()?, next: reader.u64()? },
        kind::WALLET => Record::Wallet { tenant: reader.u32()?, wallet: reader.rest() },
        kind::IDEMPOTENCY => Record::Idempotency { tenant: reader.u32()?, entry: reader.rest() },
        kind::UNTOLD => {
            let (tenant, number) = (reader.u32()?, reader.u64()?);
            Record::Untold { tenant, number, since: reader.i64().unwrap_or(0) }
        }
        kind::DEBTS => Record::Debts { block: reader.u64()?, debts: reader.rest() },
        kind::EARLY_RECEIPT => {
            Record::EarlyReceipt { provider: reader.u16()?, at: reader.i64()?, receipt: reader.rest() }
        }
        kind::INBOUND_PART => {
            Record::InboundPart { provider: reader.u16()?, at: reader.i64()?, part: reader.rest() }
        }
        kind::ARRIVAL => Record::Arrival { arrival: reader.u64()?, at: reader.i64()? },
        kind::KEPT => Record::Kept {
            drawer: reader.u8()?,
            number: reader.u64()?,
            provider: reader.u16()?,
            at: reader.i64()?,
            entry: reader.rest(),
        },
        kind::RULE => Record::Rule { number: reader.u32()?, rule: reader.rest() },
        _ => return None,
    })
}

fn money_kind(value: u8) -> Option<MoneyKind> {
    Some(match value {
        1 => MoneyKind::Opening,
        2 => MoneyKind::Deposit,
        3 => MoneyKind::Withdrawal,
        4 => MoneyKind::Adjustment,
        5 => MoneyKind::Refund,
        6 => MoneyKind::CreditLimit,
        _ => return None,
    })
}
