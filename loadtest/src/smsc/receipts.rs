//! Receipts of the simulated provider: how one is written, and the queue of a system_id where they wait for a bind.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::sync::Notify;

use super::pacing::{Meter, Pacing};
use super::profile::{IdForm, Profile, ReceiptForm};
use crate::wire::{self, Address, command, tag};

/// An address kept beyond the buffer it was read from, at most 20 octets as SMPP 3.4 §5.2.8 has it.
#[derive(Debug, Clone, Copy)]
pub struct Party {
    octets: [u8; 20],
    length: u8,
    ton: u8,
    npi: u8,
}

impl From<Address<'_>> for Party {
    fn from(address: Address<'_>) -> Self {
        let mut octets = [0; 20];
        for (target, octet) in octets.iter_mut().zip(address.digits) {
            *target = *octet;
        }
        let length = address.digits.len().min(octets.len()) as u8;
        Self { octets, length, ton: address.ton, npi: address.npi }
    }
}

impl Party {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.ton, self.npi]);
        out.extend_from_slice(self.octets.get(..usize::from(self.length)).unwrap_or_default());
        out.push(0);
    }
}

/// A receipt that is owed to a system_id.
#[derive(Debug, Clone, Copy)]
pub struct Receipt {
    pub id: u64,
    pub source: Party,
    pub destination: Party,
    /// Minutes since the Unix epoch.
    pub submitted: u32,
    /// The place of its end among the profile's outcomes.
    pub outcome: u16,
}

/// Writes receipts; remembers the dates it has last written.
#[derive(Debug, Default)]
pub struct Writer {
    submitted: Date,
    done: Date,
}

impl Writer {
    /// Appends the deliver_sm of a receipt, which is done at `minute`.
    pub fn write(
        &mut self,
        out: &mut Vec<u8>,
        sequence: u32,
        receipt: &Receipt,
        profile: &Profile,
        minute: u32,
    ) {
        let outcome = profile.outcomes.get(usize::from(receipt.outcome)).or(profile.outcomes.first());
        let (stat, state) =
            outcome.map_or(("UNKNOWN", 7), |outcome| (&outcome.stat, outcome.number().unwrap_or(7)));
        wire::framed(out, command::DELIVER_SM, 0, sequence, |out| {
            out.push(0); // service_type
            receipt.destination.write(out);
            receipt.source.write(out);
            // SMPP 3.4 §5.2.12: 0x04 says that this is a receipt; the other fields and both times are empty.
            out.extend_from_slice(&[4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            let length_at = out.len() - 1;
            if profile.receipt_form != ReceiptForm::Tlv {
                let error = outcome.map_or("000", |outcome| &outcome.error);
                self.write_text(out, receipt, profile, minute, stat, error);
            }
            let length = u8::try_from(out.len() - length_at - 1).unwrap_or(u8::MAX);
            wire::patch(out, length_at, &[length]);
            if profile.receipt_form != ReceiptForm::Text {
                write_fields(out, receipt.id, profile.message_id, state);
            }
        });
    }

    /// The text of SMPP 3.4 Appendix B.
    fn write_text(
        &mut self,
        out: &mut Vec<u8>,
        receipt: &Receipt,
        profile: &Profile,
        minute: u32,
        stat: &str,
        error: &str,
    ) {
        out.extend_from_slice(b"id:");
        profile.receipt_id.unwrap_or(profile.message_id).write(out, receipt.id);
        let delivered: &[u8] = if stat == "DELIVRD" { b"001" } else { b"000" };
        out.extend_from_slice(b" sub:001 dlvrd:");
        out.extend_from_slice(delivered);
        out.extend_from_slice(b" submit date:");
        out.extend_from_slice(self.submitted.at(receipt.submitted));
        out.extend_from_slice(b" done date:");
        out.extend_from_slice(self.done.at(minute));
        out.extend_from_slice(b" stat:");
        out.extend_from_slice(stat.as_bytes());
        out.extend_from_slice(b" err:");
        out.extend_from_slice(error.as_bytes());
        out.extend_from_slice(b" text:");
    }
}

fn write_fields(out: &mut Vec<u8>, id: u64, form: IdForm, state: u8) {
    let start = out.len();
    out.extend_from_slice(&tag::RECEIPTED_MESSAGE_ID.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    form.write(out, id);
    out.push(0);
    let length = u16::try_from(out.len() - start - 4).unwrap_or(u16::MAX);
    wire::patch(out, start + 2, &length.to_be_bytes());
    out.extend_from_slice(&tag::MESSAGE_STATE.to_be_bytes());
    out.extend_from_slice(&[0, 1, state]);
}

impl IdForm {
    /// Appends an id in this form.
    pub fn write(self, out: &mut Vec<u8>, id: u64) {
        match self {
            Self::Decimal => wire::number(out, id),
            Self::Padded => out.extend_from_slice(&wire::twenty_digits(id)),
            Self::Hex => out.extend_from_slice(format!("{id:x}").as_bytes()),
            Self::HexUpper => out.extend_from_slice(format!("{id:X}").as_bytes()),
            Self::Text => out.extend_from_slice(format!("sim-{id}-z").as_bytes()),
        }
    }
}

/// A minute written as YYMMDDhhmm.
#[derive(Debug, Default)]
struct Date {
    minute: Option<u32>,
    text: [u8; 10],
}

impl Date {
    fn at(&mut self, minute: u32) -> &[u8; 10] {
        if self.minute != Some(minute) {
            self.minute = Some(minute);
            self.text = date(minute);
        }
        &self.text
    }
}

/// The Gregorian calendar of a minute since 1970, reckoned in years that begin with March.
fn date(minute: u32) -> [u8; 10] {
    let days = minute / 1_440 + 719_468;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + u32::from(month <= 2);
    let mut text = [0; 10];
    for (target, value) in text.chunks_exact_mut(2).zip([year, month, day, minute / 60 % 24, minute % 60]) {
        target.copy_from_slice(&[b'0' + (value % 100 / 10) as u8, b'0' + (value % 10) as u8]);
    }
    text
}

/// A receipt that is not due yet, ordered so that the heap's greatest is the next one.
#[derive(Debug)]
struct Later {
    due: u64,
    order: u64,
    receipt: Receipt,
}

impl Ord for Later {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.order).cmp(&(self.due, self.order))
    }
}

impl PartialOrd for Later {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Later {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Later {}

/// What all binds of one system_id share.
#[derive(Debug, Default)]
pub struct Account {
    queue: Mutex<Queue>,
    /// Receipts in the queue, readable without the lock.
    waiting: AtomicUsize,
    /// Wakes the binds when receipts have come that another bind did not send itself.
    pub wake: Notify,
    throttle: Mutex<u64>,
    meter: Mutex<Option<Meter>>,
}

#[derive(Debug, Default)]
struct Queue {
    ready: VecDeque<Receipt>,
    later: BinaryHeap<Later>,
    order: u64,
}

impl Account {
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Takes over receipts with the times they are due; answers how many found no room.
    pub fn give(&self, receipts: &mut Vec<(u64, Receipt)>, now: u64, limit: usize) -> usize {
        let mut queue = self.lock();
        let room = limit.saturating_sub(queue.len());
        let refused = receipts.len().saturating_sub(room);
        receipts.truncate(room);
        for (due, receipt) in receipts.drain(..) {
            if due <= now {
                queue.ready.push_back(receipt);
            } else {
                queue.order += 1;
                let order = queue.order;
                queue.later.push(Later { due, order, receipt });
            }
        }
        self.waiting.store(queue.len(), Relaxed);
        refused
    }

    /// Takes back what a bind had sent and nobody answered; it goes first.
    pub fn give_back(&self, receipts: Vec<Receipt>) {
        let mut queue = self.lock();
        for receipt in receipts.into_iter().rev() {
            queue.ready.push_front(receipt);
        }
        self.waiting.store(queue.len(), Relaxed);
    }

    /// Takes at most `room` receipts that are due, and answers when the next one will be.
    pub fn take(&self, now: u64, room: usize, into: &mut Vec<Receipt>) -> Option<u64> {
        let mut queue = self.lock();
        while queue.later.peek().is_some_and(|later| later.due <= now) {
            if let Some(later) = queue.later.pop() {
                queue.ready.push_back(later.receipt);
            }
        }
        let count = room.min(queue.ready.len());
        into.extend(queue.ready.drain(..count));
        self.waiting.store(queue.len(), Relaxed);
        queue.later.peek().map(|later| later.due)
    }

    /// Whether a submit stays under `rate` a second; a tenth of a second may come at once.
    pub fn within(&self, rate: u32, now: u64) -> bool {
        let mut due = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        let start = (*due).max(now.saturating_mul(1_000));
        if start.saturating_sub(now.saturating_mul(1_000)) > 100_000_000 {
            return false;
        }
        *due = start.saturating_add(1_000_000_000 / u64::from(rate.max(1)));
        true
    }

    /// Counts submits of a batch against an agreed throughput.
    pub fn count(&self, throughput: u32, now: u64, submits: u64) {
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        meter.get_or_insert_with(|| Meter::new(throughput)).add(now, submits);
    }

    /// What those counts have come to.
    pub fn pacing(&self) -> Option<Pacing> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Meter::report)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn len(&self) -> usize {
        self.ready.len() + self.later.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{HEADER, Message, Notice};

    fn receipt(id: u64) -> Receipt {
        let address = |digits| Party::from(Address { ton: 1, npi: 1, digits });
        Receipt {
            id,
            source: address(b"ACME"),
            destination: address(b"254700000001"),
            submitted: 0,
            outcome: 0,
        }
    }

    #[test]
    fn dates_follow_the_calendar() {
        for (minute, text) in [
            (0, "7001010000"),
            (15_778_079, "9912312359"),
            (15_863_040, "0002290000"),
            (29_338_559, "2510122359"),
        ] {
            assert_eq!(String::from_utf8_lossy(&date(minute)), text);
        }
    }

    #[test]
    fn every_form_of_receipt_is_read_by_the_witness() {
        for (form, id_form, id) in [
            (ReceiptForm::Both, IdForm::Decimal, "438104"),
            (ReceiptForm::Text, IdForm::Hex, "6af58"),
            (ReceiptForm::Text, IdForm::HexUpper, "6AF58"),
            (ReceiptForm::Text, IdForm::Padded, "00000000000000438104"),
            (ReceiptForm::Tlv, IdForm::Text, "sim-438104-z"),
        ] {
            let profile = Profile { receipt_form: form, message_id: id_form, ..Profile::default() };
            let mut out = Vec::new();
            Writer::default().write(&mut out, 9, &receipt(438_104), &profile, 10);
            let message = Message::parse(&out[HEADER..]).unwrap();
            assert_eq!((message.source.digits, message.esm_class), (b"254700000001".as_slice(), 4));
            let notice = Notice::parse(&message).unwrap();
            assert_eq!(
                (notice.id, notice.state, notice.contradictory),
                (id.as_bytes(), Some(2), false),
                "{form:?}"
            );
        }
    }

    #[test]
    fn receipts_leave_when_due_in_order_and_returned_ones_first() {
        let account = Account::default();
        account.give(&mut vec![(30, receipt(3)), (20, receipt(2)), (0, receipt(1))], 0, 10);
        let taken = |now, room| {
            let mut into = Vec::new();
            let next = account.take(now, room, &mut into);
            (into.iter().map(|receipt| receipt.id).collect::<Vec<_>>(), next)
        };
        assert_eq!(taken(0, 5), (vec![1], Some(20)));
        assert_eq!(account.give(&mut vec![(0, receipt(4)), (0, receipt(5))], 0, 3), 1);
        account.give_back(vec![receipt(1)]);
        assert_eq!(taken(25, 2), (vec![1, 4], Some(30)));
        assert_eq!((taken(30, 5), account.waiting()), ((vec![2, 3], None), 0));
    }

    #[test]
    fn the_throttle_lets_a_tenth_of_a_second_through_and_then_the_rate() {
        let account = Account::default();
        let passed = |now| (0..1_000).filter(|_| account.within(100, now)).count();
        assert_eq!((passed(0), passed(50_000), passed(10_000_000)), (11, 5, 11));
    }
}
