//! Finding the message of a receipt, and what is done with one that has none yet. What it means for the message is `message.rs`'s.

use codecs::address;
use codecs::instant::{Mono, Wall};
use codecs::message_id::{self, Side};
use codecs::receipt::State as ReceiptState;
use codecs::smpp::status::Status;

use crate::bytes::Reader;
use crate::catalog::{ReceiptParts, TlvId};
use crate::command::{ConnectionId, PhoneAcknowledgement, Receipts};
use crate::engine::Engine;
use crate::kept::{Drawer, KeptWhat, Unmatched};
use crate::message::{Message, PartState};
use crate::outbox::News;
use crate::pages::block_of;
use crate::receipt_index::{self, EarlyReceipt};
use crate::record::{self, Record};
use crate::ring::Item;
use crate::shared_ids::{self, TAIL_DIGITS};
use crate::step::{ERROR_OCTETS_MAX, Step, Verdict};
use crate::submission::Body;

/// How long a receipt without a message is held, in microseconds, before the archive is asked: mostly its response is on its way.
const ASK_AFTER_MICROS: u64 = 2_000_000;
/// Ids that the archive is asked for in one turn.
const ASKED_AT_ONCE: usize = 1_000;

/// Bits of an early receipt's state: it is held under another id as well, and counted there; that id follows.
const COPY: u8 = 0x80;
const LINKED: u8 = 0x40;
/// A phone has sent it: what it said follows the error, which has a length then.
const BY_PHONE: u8 = 0x20;

/// Receipts held under one id.
const EARLY_OF_ID_MAX: usize = 32;

/// Receipts that are kept of a part on its way.
const ON_ITS_WAY_MAX: u32 = 16;

/// What is held under an id already, beside a receipt that comes.
enum Like {
    New,
    /// One that says the same, but for its time.
    Known,
    TooMany,
}

/// What a receipt says, whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReceiptNews {
    pub provider: u16,
    pub state: ReceiptState,
    pub done: Wall,
    pub phone: Option<u64>,
    pub error: ErrorText,
    /// What the phone has said, where it is one of its own.
    pub acknowledgement: Option<Box<PhoneAcknowledgement>>,
    /// Where to acknowledge it, once it is on disk.
    pub answer: Option<(ConnectionId, u32)>,
    /// It is what a provider said when it was asked, and no receipt of its own: it is not counted as one.
    pub is_asked: bool,
}

/// The ids that a receipt carries, while the message that they name is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReceiptIds {
    octets: Box<[u8]>,
    tlv_end: usize,
}

impl ReceiptIds {
    fn new(tlv: &[u8], text: &[u8]) -> ReceiptIds {
        ReceiptIds { octets: [tlv, text].concat().into(), tlv_end: tlv.len() }
    }

    fn tlv(&self) -> &[u8] {
        &self.octets[..self.tlv_end]
    }

    fn text(&self) -> &[u8] {
        &self.octets[self.tlv_end..]
    }
}

/// The provider's word for the error, as long as a step keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ErrorText {
    octets: [u8; ERROR_OCTETS_MAX],
    length: u8,
}

/// Whether a provider says of a part on its way what it said before, or has said enough: a story must have an end.
fn says_no_more(message: &Message, part: u8, state: ReceiptState) -> bool {
    let (mut count, mut last, mut is_taken) = (0, None, false);
    for (_, step) in message.steps() {
        match step {
            Step::Receipt { part: of, state, .. } if of == part && !state.is_final() => {
                count += 1;
                last = Some(state);
            }
            Step::Response { part: of, verdict: Verdict::Accepted, .. } => is_taken |= of == part,
            // Who is sent it next says it for itself; further pieces are not of it.
            Step::Intent { .. } if !is_taken => last = None,
            _ => {}
        }
    }
    last == Some(state) || count >= ON_ITS_WAY_MAX
}

/// The ids of a receipt in the order in which they are tried, each as whose it may be: the TLV mostly repeats the response's form,
/// the text may be in another radix (smpp.md §2.4).
fn readings<'a>(form: TlvId, tlv_id: &'a [u8], text_id: &'a [u8]) -> impl Iterator<Item = (&'a [u8], Side)> {
    let readings = [
        (tlv_id, Side::Response),
        (text_id, Side::Receipt),
        (tlv_id, Side::Receipt),
        (text_id, Side::Response),
    ];
    let allowed = match form {
        TlvId::Either => [true; 4],
        TlvId::Response => [true, true, false, true],
        TlvId::Receipt => [false, true, true, true],
    };
    let readings = readings.into_iter().zip(allowed);
    readings.filter(|((id, _), allowed)| *allowed && !id.is_empty()).map(|(reading, _)| reading)
}

impl ErrorText {
    pub fn new(text: &[u8]) -> ErrorText {
        let length = text.len().min(ERROR_OCTETS_MAX);
        let mut octets = [0; ERROR_OCTETS_MAX];
        octets[..length].copy_from_slice(&text[..length]);
        ErrorText { octets, length: length as u8 }
    }

    fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }
}

impl Engine {
    pub(crate) fn receipts(&mut self, receipts: &Receipts) {
        let found = self.find_together(receipts);
        for ((place, (item, [tlv_id, text_id, error])), found) in receipts.each().enumerate().zip(found) {
            let news = ReceiptNews {
                provider: receipts.provider,
                state: item.state,
                done: item.done.unwrap_or(self.now.wall),
                phone: item.phone,
                error: ErrorText::new(error),
                acknowledgement: receipts.acknowledgement_at(place),
                answer: receipts.connection.map(|connection| (connection, item.sequence)),
                is_asked: false,
            };
            self.receipt(news, tlv_id, text_id, found);
        }
    }

    /// The messages that the ids of receipts name as they are mostly read.
    fn find_together(&mut self, receipts: &Receipts) -> Vec<Option<(u64, u8)>> {
        let provider = receipts.provider;
        let Some(form) = self.sole_id_form(provider) else { return vec![None; receipts.items.len()] };
        let hash = |[tlv_id, text_id, _]: [&[u8]; 3]| self.first_hash(provider, form, tlv_id, text_id);
        let hashes: Vec<Option<u64>> = receipts.each().map(|(_, ids)| ids).map(hash).collect();
        let found = self.find_hashes(hashes);
        self.pages.fetch(found.iter().flatten().map(|(number, _)| *number));
        found
    }

    /// The same for news of messages that have been read back, as far as it came by an id. A response among it may give an id
    /// another owner before its receipt's turn: then each is found in its turn.
    pub(crate) fn find_again(&mut self, news: &[News]) -> Vec<Option<(u64, u8)>> {
        if news.iter().any(|news| matches!(news, News::Response { .. })) {
            return vec![None; news.len()];
        }
        let hash = |news: &News| {
            let News::Receipt { news, ids: Some(ids), .. } = news else { return None };
            self.first_hash(news.provider, self.sole_id_form(news.provider)?, ids.tlv(), ids.text())
        };
        let hashes: Vec<Option<u64>> = news.iter().map(hash).collect();
        self.find_hashes(hashes)
    }

    /// As whose ids a provider's receipts are read first; none where several messages may share an id.
    fn sole_id_form(&self, provider: u16) -> Option<TlvId> {
        let shares_ids = self.providers.get(provider).is_some_and(|entry| entry.shares_ids);
        (!shares_ids).then(|| self.tlv_id_form(provider))
    }

    /// What the index has the id of a receipt under, as it is mostly read.
    fn first_hash(&mut self, provider: u16, form: TlvId, tlv_id: &[u8], text_id: &[u8]) -> Option<u64> {
        let (id, side) = readings(form, tlv_id, text_id).next()?;
        Some(self.with_key(provider, side, id, None, |_, key| receipt_index::key(provider, key)))
    }

    /// Looks ids up one after the other before anything is done with what they name: looks do not wait for each other's memory,
    /// what is done in between would.
    fn find_hashes(&self, hashes: Vec<Option<u64>>) -> Vec<Option<(u64, u8)>> {
        hashes.into_iter().map(|hash| self.index.find_hash(hash?)).collect()
    }

    fn receipt(&mut self, news: ReceiptNews, tlv_id: &[u8], text_id: &[u8], found: Option<(u64, u8)>) {
        if news.acknowledgement.is_none() {
            self.count_receipt(news.provider, news.state);
        } else if !self.takes_from_phones() {
            if let Some((connection, sequence)) = news.answer {
                self.effects.outgoing(connection).acknowledged.push((sequence, Status::X_T_APPN.0));
            }
            return;
        }
        match found.or_else(|| self.find_by_receipt(&news, tlv_id, text_id)) {
            Some(found) => self.matched(found, news, tlv_id, text_id),
            None => self.hold_early(news, tlv_id, text_id),
        }
    }

    /// The message of a receipt is found, in memory or out of it.
    fn matched(&mut self, (number, part): (u64, u8), news: ReceiptNews, tlv_id: &[u8], text_id: &[u8]) {
        match self.pages.get(number) {
            // Where an id is given out again, the receipt may be for a message whose response has not come.
            Some(message) if !phones_agree(message, news.phone) => self.hold_early(news, tlv_id, text_id),
            Some(_) => self.receipt_for(number, part, news),
            None => {
                let ids = Some(ReceiptIds::new(tlv_id, text_id));
                self.load(block_of(number), News::Receipt { number, part, news, ids });
            }
        }
    }

    /// The message that a receipt was taken to be for has been read back; `found` is what its first id names now.
    pub(crate) fn receipt_after_load(
        &mut self,
        number: u64,
        part: u8,
        news: ReceiptNews,
        ids: Option<ReceiptIds>,
        found: Option<(u64, u8)>,
    ) {
        match ids {
            _ if self.pages.get(number).is_none() => {
                let key = self.any_key(&news, ids.as_ref());
                self.unmatched(&news, &key, Unmatched::Gone);
                self.acknowledge(news.answer);
            }
            // Its id may have been given out again, before or meanwhile, or has come to the message that it was meant for.
            Some(ids) => match found.or_else(|| self.find_by_receipt(&news, ids.tlv(), ids.text())) {
                Some(found) => self.matched(found, news, ids.tlv(), ids.text()),
                None => self.hold_early(news, ids.tlv(), ids.text()),
            },
            None => self.receipt_for(number, part, news),
        }
    }

    pub(crate) fn count_receipt(&mut self, provider: u16, state: ReceiptState) {
        if let Some(counters) = self.counters.providers.get_mut(usize::from(provider)) {
            counters.receipts[usize::from(state as u8).min(9)] += 1;
        }
    }

    /// The message that an id names, by every reading of it; before, together with the number, where the id may be shared.
    fn find_by_receipt(&mut self, news: &ReceiptNews, tlv_id: &[u8], text_id: &[u8]) -> Option<(u64, u8)> {
        let phone = self.receipt_phone(news.provider, news.phone);
        let of_several = phone.and_then(|_| self.find_by_id(news.provider, tlv_id, text_id, phone));
        of_several.or_else(|| self.find_by_id(news.provider, tlv_id, text_id, None))
    }

    fn find_by_id(
        &mut self,
        provider: u16,
        tlv_id: &[u8],
        text_id: &[u8],
        phone: Option<u64>,
    ) -> Option<(u64, u8)> {
        readings(self.tlv_id_form(provider), tlv_id, text_id).find_map(|(id, side)| {
            self.with_key(provider, side, id, phone, |engine, key| engine.index.find(provider, key))
        })
    }

    fn tlv_id_form(&self, provider: u16) -> TlvId {
        let definition = self.providers.get(provider).and_then(|entry| entry.definition.as_ref());
        definition.map(|definition| definition.tlv_id).unwrap_or_default()
    }

    /// Works with the canonical octets of a provider's id, and the number where it is shared, which are written to a buffer that is
    /// kept.
    pub(crate) fn with_key<T>(
        &mut self,
        provider: u16,
        side: Side,
        id: &[u8],
        phone: Option<u64>,
        work: impl FnOnce(&mut Engine, &[u8]) -> T,
    ) -> T {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        message_id::canonical(self.id_form(provider), side, id, &mut key);
        if let Some(phone) = phone {
            shared_ids::push_tail(&mut key, phone);
        }
        let result = work(self, &key);
        self.key = key;
        result
    }

    fn key(&self, provider: u16, side: Side, id: &[u8]) -> Vec<u8> {
        let mut key = Vec::new();
        message_id::canonical(self.id_form(provider), side, id, &mut key);
        key
    }

    /// The ids under which a response may name a receipt's message: what both of its own ids say, where they differ. With the
    /// number where they may be shared: so many receipts come with one id.
    fn early_keys(&self, news: &ReceiptNews, tlv_id: &[u8], text_id: &[u8]) -> Vec<Vec<u8>> {
        let provider = news.provider;
        let is_of_receipt = self.tlv_id_form(provider) == TlvId::Receipt;
        let by_tlv = self.key(provider, if is_of_receipt { Side::Receipt } else { Side::Response }, tlv_id);
        let other = if text_id.is_empty() { tlv_id } else { text_id };
        let mut keys = vec![by_tlv, self.key(provider, Side::Receipt, other)];
        keys.retain(|key| !key.is_empty());
        keys.dedup();
        if let Some(phone) = self.receipt_phone(provider, news.phone) {
            keys.iter_mut().for_each(|key| shared_ids::push_tail(key, phone));
        }
        keys
    }

    /// A receipt whose message is known: told to it if it is in memory, else it is read back from the archive first.
    pub(crate) fn receipt_for(&mut self, number: u64, part: u8, news: ReceiptNews) {
        let Some(message) = self.pages.get(number) else {
            self.load(block_of(number), News::Receipt { number, part, news, ids: None });
            return;
        };
        if !phones_agree(message, news.phone) {
            self.unmatched(&news, b"", Unmatched::OtherPhone);
            self.acknowledge(news.answer);
            return;
        }
        if let Some(said) = &news.acknowledgement {
            if said.is_for(message) {
                self.acknowledged_by_phone(news.provider, number, said);
                self.acknowledge(news.answer);
            } else {
                self.count_receipt(news.provider, news.state);
                self.receipt_for(number, part, ReceiptNews { acknowledgement: None, ..news });
            }
            return;
        }
        let (tenant, passes_on) = (message.tenant, message.passes_on(news.state));
        let has_more = message.parts() > 1;
        let is_known = match news.state.is_final() {
            true => !message.is_news(part, news.state),
            false => message.is_final() && !passes_on || says_no_more(message, part, news.state),
        };
        if is_known {
            self.counters.repeated += u64::from(!news.is_asked);
            self.acknowledge(news.answer);
            return;
        }
        let waited = self.now.wall.millis_since(message.sent_at);
        self.step(
            number,
            &Step::Receipt { part, state: news.state, done: news.done, error: news.error.octets() },
        );
        if news.state.is_final()
            && !news.is_asked
            && let Some(counters) = self.counters.providers.get_mut(usize::from(news.provider))
        {
            counters.receipt_millis.add(waited);
        }
        if passes_on {
            self.owe_notice(tenant, number);
        }
        if has_more {
            self.settle_all_parts(number);
        }
        self.acknowledge(news.answer);
    }

    /// Of a provider that sends one receipt for all parts of a message: what it said holds for every part that it has taken, now
    /// and when it takes more.
    pub(crate) fn settle_all_parts(&mut self, number: u64) {
        let Some(message) = self.pages.get(number) else { return };
        let entry = self.providers.get(message.provider).and_then(|entry| entry.definition.as_ref());
        if !entry.is_some_and(|definition| definition.receipt_parts == ReceiptParts::Any) {
            return;
        }
        let said = message.steps().filter_map(|(_, step)| match step {
            Step::Receipt { state, done, error, .. } if state.is_final() => {
                Some((state, done, ErrorText::new(error)))
            }
            _ => None,
        });
        // Delivered beats what failed; else the last one counts.
        let is_delivered = |said: &(ReceiptState, Wall, ErrorText)| said.0 == ReceiptState::Delivered;
        let Some((state, done, error)) =
            said.reduce(|one, other| if is_delivered(&one) { one } else { other })
        else {
            return;
        };
        let is_open = |part: &u8| match message.part(*part) {
            Some(PartState::Accepted) => true,
            Some(PartState::Final(said)) if state == ReceiptState::Delivered => said != state,
            Some(PartState::Final(ReceiptState::Unknown)) => state != ReceiptState::Unknown,
            _ => false,
        };
        let open: Vec<u8> = (0..message.parts()).filter(is_open).collect();
        for part in open {
            self.step(number, &Step::Receipt { part, state, done, error: error.octets() });
        }
    }

    pub(crate) fn acknowledge(&mut self, answer: Option<(ConnectionId, u32)>) {
        if let Some((connection, sequence)) = answer {
            self.effects.outgoing(connection).acknowledged.push((sequence, 0));
        }
    }

    /// Keeps a receipt for a response that may still come, on disk before it is acknowledged.
    fn hold_early(&mut self, news: ReceiptNews, tlv_id: &[u8], text_id: &[u8]) {
        let (provider, at) = (news.provider, self.now.wall.0);
        let keys = self.early_keys(&news, tlv_id, text_id);
        if keys.is_empty() {
            self.unmatched(&news, text_id, Unmatched::NoId);
        }
        let (mut is_held, mut is_repeated) = (false, false);
        for (place, key) in keys.iter().enumerate() {
            let other = if place == 0 { keys.get(1) } else { keys.first() };
            let payload = encode_early(&news, key, is_held, other.map(Vec::as_slice));
            match self.early_like(provider, key, &payload) {
                Like::New => {}
                Like::Known => {
                    is_repeated = true;
                    continue;
                }
                Like::TooMany => continue,
            }
            is_held = true;
            record::write(&mut self.group, &Record::EarlyReceipt { provider, at, receipt: &payload });
            self.ring.add(self.group_number, Item::Early(provider, key[..].into()));
            let pushed_out = self.early.hold(provider, key, payload.into_boxed_slice(), self.now.mono);
            self.give_up(pushed_out.as_slice(), Unmatched::NoRoom);
        }
        self.counters.repeated += u64::from(is_repeated);
        if let Some(key) = keys.first().filter(|_| !is_held && !is_repeated) {
            self.unmatched(&news, key, Unmatched::NoRoom);
        }
        self.acknowledge(news.answer);
    }

    /// Whether what is held under an id says the same. All of an id is written again together, so there must not be many.
    fn early_like(&self, provider: u16, key: &[u8], payload: &[u8]) -> Like {
        let done = 2 + key.len()..10 + key.len();
        let said = |payload: &[u8]| {
            let mut said = payload.to_vec();
            said.drain(done.clone().start.min(said.len())..done.clone().end.min(said.len()));
            said
        };
        let ours = said(payload);
        let mut count = 0;
        for held in self.early.of(provider, key) {
            count += 1;
            if said(&held.payload) == ours {
                return Like::Known;
            }
        }
        if count < EARLY_OF_ID_MAX { Like::New } else { Like::TooMany }
    }

    /// An early receipt of the journal; one that was carried over comes twice.
    pub(crate) fn replay_early(&mut self, provider: u16, receipt: &[u8]) -> Option<()> {
        if let Some(key) = decode_key(receipt) {
            while self.early.take(provider, key).is_some() {}
            return Some(());
        }
        let Early { key, .. } = decode_early_payload(provider, receipt)?;
        if self.early.of(provider, &key).all(|early| *early.payload != *receipt) {
            self.early.put(provider, &key, receipt.into(), self.now.mono);
        }
        self.ring.add(self.group_number, Item::Early(provider, key.into()));
        Some(())
    }

    /// A response has named the message of receipts that came before it.
    pub(crate) fn match_early(&mut self, provider: u16, key: &[u8]) {
        let Some((number, part)) = self.owner_of_held(provider, key) else { return };
        let owner = self.pages.get(number);
        let is_for = |phone| owner.is_none_or(|owner| phones_agree(owner, phone));
        let fits = |early: &EarlyReceipt| decode_early(early).is_none_or(|early| is_for(early.news.phone));
        if !self.early.of(provider, key).any(fits) {
            return;
        }
        for early in self.take_early(provider, key) {
            let Some(receipt) = decode_early(&early) else { continue };
            if self.pages.get(number).is_none_or(|owner| phones_agree(owner, receipt.news.phone)) {
                self.forget_twins(provider, &receipt);
                self.receipt_for(number, part, receipt.news);
            } else {
                // That of another message, whose response may still come, stays.
                self.early.hold(provider, key, early.payload, early.held);
            }
        }
        self.carry_early(provider, key.into());
    }

    /// Takes all that is held under an id out of memory and journal; what stays is held and carried along again.
    fn take_early(&mut self, provider: u16, key: &[u8]) -> Vec<EarlyReceipt> {
        let (at, receipt) = (self.now.wall.0, &encode_key(key));
        record::write(&mut self.group, &Record::EarlyReceipt { provider, at, receipt });
        std::iter::from_fn(|| self.early.take(provider, key)).collect()
    }

    /// What is done with under one of its ids is not held under the other any more. Whether it would have counted there.
    fn forget_twins(&mut self, provider: u16, receipt: &Early) -> bool {
        let Some(other) = &receipt.other else { return false };
        if !self.early.of(provider, other).any(|early| receipt.is_twin_of(early)) {
            return false;
        }
        let mut counts = false;
        for early in self.take_early(provider, other) {
            match decode_early(&early).filter(|_| receipt.is_twin_of(&early)) {
                Some(twin) => counts |= !twin.is_copy,
                None => drop(self.early.hold(provider, other, early.payload, early.held)),
            }
        }
        self.carry_early(provider, other[..].into());
        counts
    }

    /// After a start: early receipts whose response is in the journal.
    pub(crate) fn match_all_early(&mut self) {
        let held: Vec<(u16, Vec<u8>)> =
            self.early.iter().filter_map(|early| Some((early.provider, decode_early(early)?.key))).collect();
        for (provider, key) in held {
            if self.owner_of_held(provider, &key).is_some() {
                self.match_early(provider, &key);
            }
        }
    }

    /// Asks for messages in the archive that own the ids of receipts for which no response has come.
    pub(crate) fn ask_for_owners(&mut self) {
        if !self.early.is_empty()
            && let Some(until) = self.now.mono.0.checked_sub(ASK_AFTER_MICROS)
        {
            let questions = &mut self.effects.questions;
            self.early.unasked(Mono(until), ASKED_AT_ONCE, |hash, early| {
                questions.push(hash);
                // One that went alone has the id alone.
                let key = decode_early(early).map(|early| early.key).unwrap_or_default();
                let id = Some(shared_ids::id_of(&key)).filter(|id| id.len() < key.len());
                questions.extend(id.map(|id| receipt_index::key(early.provider, id)));
            });
        }
    }

    /// Archived messages for which receipts are held: they live again, and take them then.
    pub(crate) fn owners(&mut self, numbers: &[u64]) {
        for number in numbers {
            if self.pages.get(*number).is_none() && !self.parking.is_away(*number) {
                self.load(block_of(*number), News::Early { number: *number });
            }
        }
    }

    pub(crate) fn expire_early_receipts(&mut self) {
        if self.early.next_expiry().is_some_and(|expiry| expiry <= self.now.mono) {
            let mut expired = Vec::new();
            self.early.expire(self.now.mono, &mut expired);
            self.give_up(&expired, Unmatched::NoResponse);
        }
    }

    /// Receipts for which no response has come. One that was held under two ids counts once.
    fn give_up(&mut self, given_up: &[EarlyReceipt], why: Unmatched) {
        for early in given_up {
            let Some(receipt) = decode_early(early) else { continue };
            let (provider, at) = (early.provider, self.now.wall.0);
            // Else it would be held again after a start, and be given up a second time.
            let gone = encode_key(&receipt.key);
            record::write(&mut self.group, &Record::EarlyReceipt { provider, at, receipt: &gone });
            self.carry_early(provider, receipt.key[..].into());
            if self.forget_twins(provider, &receipt) || !receipt.is_copy {
                self.unmatched(&receipt.news, &receipt.key, why);
            }
        }
    }

    /// A receipt that has no message: counted, and kept for the operator.
    fn unmatched(&mut self, news: &ReceiptNews, key: &[u8], why: Unmatched) {
        self.counters.unmatched += 1;
        let news = &ReceiptNews { acknowledgement: None, ..news.clone() };
        let mut entry = vec![why as u8];
        entry.extend_from_slice(&encode_early(news, shared_ids::id_of(key), false, None));
        self.keep(Drawer::Unmatched, news.provider, self.now.wall, &entry);
    }

    fn any_key(&self, news: &ReceiptNews, ids: Option<&ReceiptIds>) -> Vec<u8> {
        let keys = ids.map(|ids| self.early_keys(news, ids.tlv(), ids.text()));
        keys.and_then(|keys| keys.into_iter().next()).unwrap_or_default()
    }

    /// Receipts that still wait for the response that names their message: provider, when they came, what they say.
    pub(crate) fn waiting_receipts(&self) -> Vec<(u16, Wall, KeptWhat)> {
        let shown = |early: &EarlyReceipt| {
            let Early { key: id, is_copy, news, .. } = decode_early(early)?;
            let waited = self.now.mono.since(early.held).as_millis() as i64;
            let what = KeptWhat::Receipt {
                id: shared_ids::id_of(&id).to_vec(),
                state: news.state,
                phone: news.phone,
                error: news.error.octets().to_vec(),
                why: Unmatched::Waits,
            };
            (!is_copy).then_some((early.provider, Wall(self.now.wall.0 - waited), what))
        };
        self.early.iter().filter_map(shown).collect()
    }
}

/// What is kept of a receipt without a message.
pub(crate) fn read_unmatched(entry: &[u8]) -> Option<KeptWhat> {
    let (why, early) = entry.split_first()?;
    let why = *Unmatched::ALL.get(usize::from(*why))?;
    let Early { key: id, news, .. } = decode_early_payload(0, early)?;
    let error = news.error.octets().to_vec();
    Some(KeptWhat::Receipt { id, state: news.state, phone: news.phone, error, why })
}

/// Ids repeat over time at some providers: the phone must be the one that was written to, as far as both say. A provider that leaves
/// the addresses of a receipt as they were sent names the sender here, and says nothing of the phone.
fn phones_agree(message: &Message, phone: Option<u64>) -> bool {
    let Some(theirs) = phone else { return true };
    let body = message.body();
    end_alike(body.destination, theirs)
        || address::significant_digits(body.source).is_some_and(|sender| end_alike(sender, theirs))
}

fn end_alike(one: u64, other: u64) -> bool {
    let digits = |number: u64| number.checked_ilog10().map_or(1, |log| log + 1);
    let last = 10u64.pow(TAIL_DIGITS.min(digits(one)).min(digits(other)));
    one % last == other % last
}

/// An early receipt, read.
struct Early {
    key: Vec<u8>,
    /// It is held under another id as well, and counted there.
    is_copy: bool,
    /// The other id, as far as it was written down.
    other: Option<Vec<u8>>,
    news: ReceiptNews,
}

impl Early {
    /// Whether it is the same receipt, held under its other id.
    fn is_twin_of(&self, held: &EarlyReceipt) -> bool {
        let said =
            |news: &ReceiptNews| (news.state, news.phone, news.error.clone(), news.acknowledgement.clone());
        decode_early(held).is_some_and(|other| {
            other.other.as_ref() == Some(&self.key)
                && self.other.as_ref() == Some(&other.key)
                && said(&other.news) == said(&self.news)
        })
    }
}

/// The early receipt's form, in memory and in its record: key length u8, key, state u8 (with the bits above), done i64,
/// phone u64 (0: none), where it is linked the other key as the first, error; of a phone's own: length u8 of the error, error,
/// arrival u64, body.
fn encode_early(news: &ReceiptNews, key: &[u8], is_copy: bool, other: Option<&[u8]>) -> Vec<u8> {
    let mut payload = encode_key(key);
    let linked = if other.is_some() { LINKED } else { 0 };
    let said = news.acknowledgement.as_deref();
    let by_phone = if said.is_some() { BY_PHONE } else { 0 };
    payload.push(news.state as u8 | if is_copy { COPY } else { 0 } | linked | by_phone);
    payload.extend_from_slice(&news.done.0.to_le_bytes());
    payload.extend_from_slice(&news.phone.unwrap_or(0).to_le_bytes());
    if let Some(other) = other {
        payload.extend_from_slice(&encode_key(other));
    }
    if said.is_some() {
        payload.push(news.error.length);
    }
    payload.extend_from_slice(news.error.octets());
    if let Some(said) = said {
        payload.extend_from_slice(&said.arrival.to_le_bytes());
        payload.extend_from_slice(&said.body);
    }
    payload
}

fn encode_key(key: &[u8]) -> Vec<u8> {
    let key = &key[..key.len().min(255)];
    let mut payload = vec![key.len() as u8];
    payload.extend_from_slice(key);
    payload
}

/// The id alone, where the record says that its receipts have found their message.
pub(crate) fn decode_key(payload: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(payload);
    let length = reader.u8()?;
    let key = reader.take(usize::from(length))?;
    reader.is_empty().then_some(key)
}

fn decode_early(early: &EarlyReceipt) -> Option<Early> {
    decode_early_payload(early.provider, &early.payload)
}

fn decode_early_payload(provider: u16, payload: &[u8]) -> Option<Early> {
    let mut reader = Reader::new(payload);
    let length = reader.u8()?;
    let key = reader.take(usize::from(length))?.to_vec();
    let word = reader.u8()?;
    let state = ReceiptState::from_number(word & !(COPY | LINKED | BY_PHONE))?;
    let done = Wall(reader.i64()?);
    let phone = Some(reader.u64()?).filter(|phone| *phone != 0);
    let mut other = None;
    if word & LINKED != 0 {
        let length = reader.u8()?;
        other = Some(reader.take(usize::from(length))?.to_vec());
    }
    let mut acknowledgement = None;
    let error = if word & BY_PHONE == 0 {
        ErrorText::new(reader.rest())
    } else {
        let length = reader.u8()?;
        let error = ErrorText::new(reader.take(usize::from(length))?);
        let arrival = reader.u64()?;
        let body: Box<[u8]> = reader.rest().into();
        Body::read(&body)?;
        acknowledgement = Some(Box::new(PhoneAcknowledgement { arrival, body }));
        error
    };
    let news =
        ReceiptNews { provider, state, done, phone, error, acknowledgement, answer: None, is_asked: false };
    Some(Early { key, is_copy: word & COPY != 0, other, news })
}
