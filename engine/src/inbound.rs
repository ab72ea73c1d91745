//! Messages from phones: known again when they come twice, put together from their parts, given to the tenant whose they are.
//! From then on each is a message like any other, final, that waits to be told (`outbox`). What a PDU says is read by the driver.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod acknowledgement;
mod joining;
mod reassembly;
mod rules;
mod telling;

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use codecs::instant::Wall;
use codecs::smpp::status::Status;
use codecs::split;
use codecs::text::{self, Encoding, packed};

use crate::bytes::Reader;
use crate::catalog::{AskReceipt, Charset, Definitions, SettleOn};
use crate::command::{DiskLevel, Inbound, InboundItem, PartForm, PartOf};
use crate::engine::Engine;
use crate::kept::Drawer;
use crate::message::{Head, Message};
use crate::money::Micros;
use crate::pages::{BLOCK_MESSAGES, block_of, place_of};
use crate::record::{self, Record};
use crate::ring::Item;
use crate::submission::{Body, Extra, UDHI, Via, push_extra};
use joining::Joined;
pub(crate) use reassembly::Key;
use reassembly::{Assembled, Piece, Reassembly, Taken};
use rules::{Origin, Rules};
pub(crate) use telling::{needs_tlvs, tell};

/// PDUs that are known again at once; beyond, the oldest are not any more.
const ARRIVALS_MAX: usize = 500_000;
/// What a body may hold.
const OCTETS_MAX: usize = 0xffff;

#[derive(Default)]
pub(crate) struct Phones {
    arrivals: Arrivals,
    parts: Reassembly,
    rules: Rules,
}

/// What came lately.
#[derive(Default)]
struct Arrivals {
    /// Hashes of what phones wrote: whoever writes chooses them, so they are put in order and not into a table.
    at: BTreeMap<u64, i64>,
    order: VecDeque<(i64, u64)>,
}

impl Arrivals {
    /// Whether it came since then; what came before is forgotten. What was carried over is in the order behind what came later.
    fn is_known(&mut self, arrival: u64, since: i64) -> bool {
        self.forget(since);
        self.at.get(&arrival).is_some_and(|at| *at >= since)
    }

    fn note(&mut self, arrival: u64, at: Wall) {
        if self.at.insert(arrival, at.0) != Some(at.0) {
            self.order.push_back((at.0, arrival));
        }
    }

    fn forget(&mut self, before: i64) {
        while let Some((at, arrival)) = self.order.front().copied()
            && (at < before || self.order.len() > ARRIVALS_MAX)
        {
            self.order.pop_front();
            // It may have come again since.
            if self.at.get(&arrival) == Some(&at) {
                self.at.remove(&arrival);
            }
        }
    }
}

/// Whose a message from a phone is.
#[derive(Clone, Copy)]
enum Whose {
    /// Whoever the rules name.
    ByRules,
    /// It is known already, also that it is nobody's.
    Decided(Option<u32>),
}

impl Engine {
    pub(crate) fn inbound(&mut self, inbound: &Inbound) {
        let mut start = 0;
        for item in &inbound.items {
            let bytes = inbound.bodies.get(start..item.end as usize).unwrap_or_default();
            start = item.end as usize;
            let status = self.take_inbound(inbound.provider, item, bytes);
            if let Some(connection) = inbound.connection {
                self.effects.outgoing(connection).acknowledged.push((item.sequence, status.0));
            }
        }
    }

    /// What came since then may come again.
    fn repeats_since(&self) -> i64 {
        self.now.wall.0 - self.settings.inbound.repeat_window.as_millis() as i64
    }

    /// One PDU, and how it is answered: what cannot be taken now is to come again.
    fn take_inbound(&mut self, provider: u16, item: &InboundItem, bytes: &[u8]) -> Status {
        if !self.takes_from_phones() {
            return Status::X_T_APPN;
        }
        let Some((body, _)) = Body::read(bytes) else {
            debug_assert!(false, "a door wrote what is no body");
            return Status::X_T_APPN;
        };
        if self.came_before(item.arrival) {
            return Status::OK;
        }
        let octets = self.unpacked(provider, item.part, &body);
        let body = Body { octets: &octets, ..body };
        match item.part {
            None => self.whole(provider, &body, &[item.arrival], 0, Whose::ByRules),
            Some(part) => self.part(provider, item.arrival, part, &body),
        }
        Status::OK
    }

    pub(crate) fn takes_from_phones(&self) -> bool {
        let is_full = self.pages.len() >= self.settings.queue_memory.saturating_mul(4);
        self.draining.is_none() && self.disk == DiskLevel::Fine && !is_full
    }

    /// Whether it is a repetition. The window begins with the first: somebody who writes the same for ever is heard once in each.
    fn came_before(&mut self, arrival: u64) -> bool {
        if self.settings.inbound.repeat_window.is_zero() {
            return false;
        }
        let since = self.repeats_since();
        let is_known = self.phones.arrivals.is_known(arrival, since);
        self.counters.inbound_repeated += u64::from(is_known);
        if !is_known {
            self.note_arrival(arrival, self.now.wall);
        }
        is_known
    }

    /// The octets with a septet in each, whatever the provider makes of its own.
    fn unpacked<'b>(&self, provider: u16, part: Option<PartOf>, body: &Body<'b>) -> Cow<'b, [u8]> {
        let definition = self.providers.get(provider).and_then(|provider| provider.definition.as_ref());
        if body.encoding != Encoding::Gsm7 || definition.is_none_or(|definition| !definition.packed) {
            return Cow::Borrowed(body.octets);
        }
        let header = header(body);
        // The septets were aligned behind the header that they came with, which said their place too.
        let came_with = match part.map(|part| part.form) {
            Some(PartForm::Header8) => header.len().max(1) + 5,
            Some(PartForm::Header16) => header.len().max(1) + 6,
            Some(PartForm::Sar) | None => header.len(),
        };
        let mut octets = header.to_vec();
        octets.extend(packed::unpack(text_of(body), packed::fill_bits(came_with)));
        octets.truncate(OCTETS_MAX);
        Cow::Owned(octets)
    }

    /// A part waits for the others, on disk before it is acknowledged.
    fn part(&mut self, provider: u16, arrival: u64, part: PartOf, body: &Body<'_>) {
        let PartOf { form, reference, total, number } = part;
        let mut bytes = Vec::new();
        body.write(&mut bytes);
        let bytes = &bytes[..];
        let key = Key { provider, form, reference, total, ends: ends(body) };
        if let Some(other) = self.phones.parts.displaced(&key, number, bytes) {
            self.assembled(other);
        }
        let (at, group) = (self.now.wall, self.group_number);
        match self.phones.parts.add(&key, number, Piece { arrival, at, group, octets: bytes.into() }) {
            Taken::Waits(true) => {
                self.record_part(&key, number, at, arrival, bytes);
                self.ring.add(group, Item::Part(Box::new((key, number))));
                self.end_parts();
            }
            Taken::Waits(false) => self.counters.inbound_repeated += 1,
            Taken::Complete(assembled) => self.assembled(assembled),
        }
    }

    /// Messages of which parts are still missing at the end of their time go as they are, and so do some when too many parts wait.
    pub(crate) fn end_parts(&mut self) {
        let (wait, most) = (self.settings.inbound.parts_wait, self.settings.inbound.parts_max);
        while let Some(assembled) = self.phones.parts.end_one(self.now.wall, wait, most) {
            self.assembled(assembled);
        }
    }

    /// When the time of the oldest parts ends.
    pub(crate) fn next_parts_end(&self) -> Option<Wall> {
        self.phones.parts.next_end(self.settings.inbound.parts_wait)
    }

    /// The parts of one message become it: their texts joined, behind what the first says beside its place.
    fn assembled(&mut self, assembled: Assembled) {
        let missing = assembled.missing();
        let Assembled { key, pieces } = assembled;
        self.record_parts_gone(&key);
        self.counters.inbound_incomplete += u64::from(missing > 0);
        let read = pieces.values().filter_map(|piece| Some((piece.arrival, Body::read(&piece.octets)?.0)));
        let (arrivals, bodies): (Vec<u64>, Vec<Body<'_>>) = read.unzip();
        let Some(first) = bodies.first() else { return };
        if let Some(joined) = joining::join(&bodies, self.charset(key.provider)) {
            let Joined { encoding, data_coding, octets } = joined;
            let body = Body { encoding, data_coding, octets: &octets, parts: bodies.len() as u8, ..*first };
            return self.whole(key.provider, &body, &arrivals, missing, Whose::ByRules);
        }
        // What makes no one text is told part by part, to whom the first belongs, if to anybody: where the others go is not theirs to say.
        let (encoding, data_coding, octets) = understood(first, self.charset(key.provider));
        let body = Body { encoding, data_coding, octets: &octets, ..*first };
        let whose = Whose::Decided(self.tenant_of(key.provider, &body));
        for (arrival, body) in arrivals.iter().zip(&bodies) {
            self.whole(key.provider, body, &[*arrival], key.total.saturating_sub(1), whose);
        }
    }

    /// What a provider means by data_coding 0.
    fn charset(&self, provider: u16) -> Charset {
        let definition = self.providers.get(provider).and_then(|provider| provider.definition.as_ref());
        definition.map_or(Charset::Gsm7, |definition| definition.charset)
    }

    /// A whole message, or what there is of it: its alphabet named, and given to its tenant.
    fn whole(&mut self, provider: u16, body: &Body<'_>, arrivals: &[u64], missing: u8, whose: Whose) {
        if let Some(counters) = self.counters.providers.get_mut(usize::from(provider)) {
            counters.inbound += 1;
        }
        let (encoding, data_coding, octets) = understood(body, self.charset(provider));
        let mut extras = body.extras.to_vec();
        let stamps: Vec<u8> = arrivals.iter().flat_map(|arrival| arrival.to_le_bytes()).collect();
        push_extra(&mut extras, Extra::Arrivals, &stamps);
        if missing > 0 {
            push_extra(&mut extras, Extra::Missing, &[missing]);
        }
        let body = Body { encoding, data_coding, octets: &octets, extras: &extras, ..*body };
        let tenant = match whose {
            Whose::ByRules => self.tenant_of(provider, &body),
            Whose::Decided(tenant) => tenant,
        };
        match tenant {
            Some(tenant) => self.accept_inbound(tenant, provider, &body),
            None => {
                self.counters.inbound_unrouted += 1;
                let mut octets = Vec::new();
                body.write(&mut octets);
                self.keep(Drawer::Unrouted, provider, self.now.wall, &octets);
            }
        }
    }

    fn tenant_of(&self, provider: u16, body: &Body<'_>) -> Option<u32> {
        let from = body.phone();
        let origin = Origin { provider, from: &from, to: body.address(), body, text: text_of(body) };
        self.phones.rules.tenant_of(&origin)
    }

    /// It gets its number, and its tenant is owed it.
    fn accept_inbound(&mut self, tenant: u32, provider: u16, body: &Body<'_>) {
        let definition = self.tenants.get(tenant).and_then(|entry| entry.definition.as_ref());
        let via = if definition.is_none_or(|definition| definition.binds) { Via::Smpp } else { Via::Http };
        let number = self.take_number(tenant);
        let head = Head {
            number,
            accepted_at: self.now.wall,
            tenant,
            price: Micros::ZERO,
            settle_on: SettleOn::Sent,
            receipts: AskReceipt::Never,
            candidates: &[provider],
        };
        let mut bytes = Vec::new();
        head.write_inbound(&mut bytes);
        Body { via, registered_delivery: 1, ..*body }.write(&mut bytes);
        record::write_accept(&mut self.group, &bytes);
        let Some(mut message) = Message::accepted(bytes) else {
            debug_assert!(false, "what was just written reads back");
            return;
        };
        message.image_group = self.group_number;
        self.ring.add_fresh(self.group_number, number);
        let owes = message.is_to_be_told();
        self.pages.insert(message, self.now.wall.0);
        if place_of(number) as u64 == BLOCK_MESSAGES - 1 {
            self.has_come(block_of(number));
        }
        if owes {
            self.tenants.owe(tenant, number, self.now.wall);
        } else if self.pages.page(block_of(number)).is_some_and(|page| page.is_done()) {
            self.sweep.done(block_of(number));
        }
    }

    /// Takes over whose messages from phones are, and gives away what was kept because nobody was named.
    pub(crate) fn configure_inbound(&mut self, definitions: &Definitions) {
        let tenant = |id: &str| self.tenants.index_of(id);
        self.phones.rules = Rules::compile(definitions, tenant, |id| self.providers.index_of(id));
    }

    pub(crate) fn route_unrouted(&mut self) {
        let routed: Vec<(u64, u32)> = self
            .kept
            .of(Drawer::Unrouted)
            .iter()
            .filter_map(|(number, entry)| {
                let (body, _) = Body::read(&entry.octets)?;
                Some((*number, self.tenant_of(entry.provider, &body)?))
            })
            .collect();
        for (number, tenant) in routed {
            let Some(entry) = self.take_kept(Drawer::Unrouted, number) else { continue };
            if let Some((body, _)) = Body::read(&entry.octets) {
                let mut extras = body.extras.to_vec();
                push_extra(&mut extras, Extra::CameAt, &entry.at.0.to_le_bytes());
                self.accept_inbound(tenant, entry.provider, &Body { extras: &extras, ..body });
            }
        }
    }

    fn record_part(&mut self, key: &Key, number: u8, at: Wall, arrival: u64, bytes: &[u8]) {
        let mut part = encode_key(key);
        part.push(number);
        part.extend_from_slice(&arrival.to_le_bytes());
        part.extend_from_slice(bytes);
        let (provider, at) = (key.provider, at.0);
        record::write(&mut self.group, &Record::InboundPart { provider, at, part: &part });
    }

    fn record_parts_gone(&mut self, key: &Key) {
        let (provider, at) = (key.provider, self.now.wall.0);
        record::write(&mut self.group, &Record::InboundPart { provider, at, part: &encode_key(key) });
    }

    /// Writes a part again whose newest record is in a group that is to go.
    pub(crate) fn carry_part(&mut self, group: u64, key: Key, number: u8) {
        let newest = self.group_number;
        let Some(piece) = self.phones.parts.piece_mut(&key, number, group) else { return };
        piece.group = newest;
        let Piece { at, arrival, octets, .. } = piece.clone();
        self.record_part(&key, number, at, arrival, &octets);
        self.ring.add(newest, Item::Part(Box::new((key, number))));
    }

    pub(crate) fn replay_part(&mut self, provider: u16, at: i64, part: &[u8]) -> Option<()> {
        let mut reader = Reader::new(part);
        let key = decode_key(provider, &mut reader)?;
        if reader.is_empty() {
            self.phones.parts.remove(&key);
            return Some(());
        }
        let (number, arrival, octets) = (reader.u8()?, reader.u64()?, reader.rest());
        Body::read(octets)?;
        let (at, group) = (Wall(at), self.group_number);
        self.note_arrival(arrival, at);
        self.phones.parts.keep(&key, number, Piece { arrival, at, group, octets: octets.into() });
        self.ring.add(group, Item::Part(Box::new((key, number))));
        Some(())
    }

    /// What came with a message that is folded again: it may come once more.
    pub(crate) fn note_arrivals(&mut self, body: &Body<'_>, at: Wall) {
        let stamps = body.extra(Extra::Arrivals).unwrap_or_default();
        for stamp in stamps.as_chunks::<8>().0 {
            self.note_arrival(u64::from_le_bytes(*stamp), at);
        }
    }

    /// The present group says that it came.
    pub(crate) fn note_arrival(&mut self, arrival: u64, at: Wall) {
        self.phones.arrivals.note(arrival, at);
        self.ring.add(self.group_number, Item::Arrival(arrival));
    }

    /// Its message may leave the journal before it has come for the last time.
    pub(crate) fn carry_arrival(&mut self, arrival: u64) {
        let at = self.phones.arrivals.at.get(&arrival).copied();
        if let Some(at) = at.filter(|at| *at >= self.repeats_since()) {
            record::write(&mut self.group, &Record::Arrival { arrival, at });
            self.ring.add(self.group_number, Item::Arrival(arrival));
        }
    }

    /// Parts that wait, by message and number, for tests.
    pub(crate) fn waiting_parts_of_phones(&self) -> BTreeMap<(Vec<u8>, u8), Vec<u8>> {
        let parts = self.phones.parts.iter();
        parts.map(|(key, number, piece)| ((encode_key(key), number), piece.octets.to_vec())).collect()
    }

    /// How many parts wait.
    pub fn parts_of_phones(&self) -> usize {
        self.phones.parts.len()
    }
}

/// Form, reference, total, length of the ends u16, the ends.
fn encode_key(key: &Key) -> Vec<u8> {
    let mut octets = vec![key.form as u8];
    octets.extend_from_slice(&key.reference.to_le_bytes());
    octets.push(key.total);
    octets.extend_from_slice(&(key.ends.len() as u16).to_le_bytes());
    octets.extend_from_slice(&key.ends);
    octets
}

fn decode_key(provider: u16, reader: &mut Reader<'_>) -> Option<Key> {
    let form = match reader.u8()? {
        0 => PartForm::Header8,
        1 => PartForm::Header16,
        2 => PartForm::Sar,
        _ => return None,
    };
    let (reference, total, length) = (reader.u16()?, reader.u8()?, reader.u16()?);
    let ends = reader.take(usize::from(length))?.into();
    Some(Key { provider, form, reference, total, ends })
}

/// The phone and what it wrote to; parts of one message agree in both, however their types of number vary.
fn ends(body: &Body<'_>) -> Box<[u8]> {
    let mut ends = body.phone().into_owned();
    ends.push(0);
    ends.extend_from_slice(body.address());
    ends.into()
}

/// The user data header of the octets, with its length; empty where there is none.
fn header<'a>(body: &Body<'a>) -> &'a [u8] {
    let length = body.octets.len() - text_of(body).len();
    body.octets.get(..length).unwrap_or_default()
}

/// The octets behind the user data header, if there is one.
fn text_of<'a>(body: &Body<'a>) -> &'a [u8] {
    match body.esm_class & UDHI {
        0 => body.octets,
        _ => split::header_and_text(body.octets).map_or(body.octets, |(_, text)| text),
    }
}

/// What data_coding 0 means is the provider's; the tenant is told by a number that means the same to everybody (SMPP 3.4 §5.2.19).
fn understood<'a>(body: &Body<'a>, charset: Charset) -> (Encoding, u8, Cow<'a, [u8]>) {
    let octets = Cow::Borrowed(body.octets);
    if body.data_coding != 0 {
        return (body.encoding, body.data_coding, octets);
    }
    match charset {
        Charset::Gsm7 => (body.encoding, 0, octets),
        Charset::Latin1 => (Encoding::Latin1, 0x03, octets),
        Charset::Ascii => (Encoding::Latin1, 0x01, octets),
        Charset::Ucs2 => (Encoding::Ucs2, 0x08, octets),
        Charset::Utf8 => {
            let mut written = header(body).to_vec();
            let text = String::from_utf8_lossy(text_of(body));
            match text::encode(&text, text::Choice::Only(Encoding::Ucs2), &mut written) {
                Ok(_) if written.len() <= OCTETS_MAX => (Encoding::Ucs2, 0x08, Cow::Owned(written)),
                // Twice as long it does not fit: the octets stay as they came.
                _ => (Encoding::Binary, 0x04, octets),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_kept_for_its_time_and_no_more_than_so_many_of_it() {
        let mut arrivals = Arrivals::default();
        let come = |arrivals: &mut Arrivals, arrival, at: i64| {
            let is_known = arrivals.is_known(arrival, at - 10);
            arrivals.note(arrival, Wall(at));
            (is_known, arrivals.at.len())
        };
        assert_eq!(come(&mut arrivals, 1, 100), (false, 1));
        assert_eq!(come(&mut arrivals, 1, 110), (true, 1));
        assert_eq!(come(&mut arrivals, 2, 130), (false, 1), "the first is over");
        for arrival in 3..ARRIVALS_MAX as u64 + 100 {
            come(&mut arrivals, arrival, 135);
        }
        assert!(arrivals.at.len() <= ARRIVALS_MAX + 1, "{}", arrivals.at.len());
    }

    #[test]
    fn what_a_replay_finds_twice_takes_one_place() {
        let mut arrivals = Arrivals::default();
        let count = ARRIVALS_MAX as u64 * 2 / 3;
        // As its message says it, and as it was carried over.
        for _ in 0..2 {
            (0..count).for_each(|arrival| arrivals.note(arrival, Wall(100)));
        }
        let forgotten = (0..count).filter(|arrival| !arrivals.is_known(*arrival, 90)).count();
        assert_eq!(forgotten, 0, "of {count}, and {ARRIVALS_MAX} may be known");
    }
}
