//! Another text for a message that waits: priced again, journaled as a whole image, and put where it belongs now. Either all of it
//! happens or nothing (ADR 14). Which message, and who is told, is decided elsewhere.

use codecs::instant::Wall;
use codecs::smpp::tlv::{Tlvs, tag};
use codecs::smpp::write::SHORT_MESSAGE_OCTETS_MAX;
use codecs::split::Cut;
use codecs::text::Encoding;

use crate::bytes::Reader;
use crate::command::{DiskLevel, Refusal, Replacement};
use crate::effect::{Operated, Outcome};
use crate::engine::Engine;
use crate::ledger::{Change, Reserve, Wallet};
use crate::message::{Message, STORED, State};
use crate::money::Micros;
use crate::pages::{block_of, place_of};
use crate::record::{self, Record};
use crate::ring::Item;
use crate::step::Step;
use crate::submission::{Body, Extra, UDHI};

/// Why a message keeps its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreplaced {
    /// It is not there, or not ours alone any more, or a part that its tenant has cut itself.
    Failed,
    Refused(Refusal),
}

impl From<Unreplaced> for Operated {
    fn from(unreplaced: Unreplaced) -> Operated {
        match unreplaced {
            Unreplaced::Failed => Operated::Failed,
            Unreplaced::Refused(refusal) => Operated::Refused(refusal),
        }
    }
}

impl Engine {
    /// Gives a message that no provider can have another text, time and validity. When it is refused nothing has changed.
    pub(crate) fn replace(&mut self, number: u64, replacement: &Replacement) -> Result<(), Unreplaced> {
        let message = self.pages.get(number).filter(|message| message.is_still_ours());
        let message = message.ok_or(Unreplaced::Failed)?;
        let body = message.body();
        if self.disk != DiskLevel::Fine {
            return Err(Unreplaced::Refused(Refusal::Unavailable));
        }
        if let Some(refusal) = self.tenants.refusal(message.tenant, self.now.wall) {
            return Err(Unreplaced::Refused(refusal));
        }
        if is_cut_by_tenant(&body) {
            return Err(Unreplaced::Failed);
        }
        let state = self.state_after(message, replacement.send_at);
        let (message, extras) = (message.clone(), without_fitting(body.extras));
        let before = Body { extras: &extras, ..as_written(message.body()) };
        let body = self.body_after(&before, state, replacement)?;
        let replaced = self.replaced(number, &body, state)?;
        let (before, price, tenant) = (message.price, replaced.price, message.tenant);
        self.reserve_instead(tenant, before, price)?;
        self.put_instead(replaced);
        Ok(())
    }

    /// A message takes the place of one that waits, whole; it keeps that one's number, route and priority.
    pub(crate) fn replace_present(&mut self, number: u64, body: &Body<'_>) -> Result<Outcome, Refusal> {
        let Some(message) = self.pages.get(number) else { return Err(Refusal::Unavailable) };
        // It waits from now on, and not from when the one before came.
        let send_at = Some(body.send_at.unwrap_or(self.now.wall).max(self.now.wall));
        let state = self.state_after(message, send_at);
        let body = Body { priority: message.priority, send_at, ..*body };
        let (before, tenant) = (message.price, message.tenant);
        let replaced = self.replaced(number, &body, state).map_err(|unreplaced| match unreplaced {
            Unreplaced::Refused(refusal) => refusal,
            Unreplaced::Failed => Refusal::NoRoute,
        })?;
        let price = replaced.price;
        self.reserve_instead(tenant, before, price).map_err(|_| Refusal::InsufficientCredit)?;
        self.put_instead(replaced);
        let (id, scheduled) = (self.ids.id(number), state == State::Scheduled);
        let (parts, encoding) =
            self.pages.get(number).map_or((1, body.encoding), |m| (m.parts(), m.body().encoding));
        Ok(Outcome::Accepted { id, price, parts, encoding, scheduled })
    }

    /// The message with another body, at the price of now, cut as the providers of its route can carry it.
    fn replaced(&mut self, number: u64, body: &Body<'_>, state: State) -> Result<Message, Unreplaced> {
        let message = self.pages.get(number).ok_or(Unreplaced::Failed)?;
        let tenant = message.tenant;
        let candidates: Vec<u16> = message.candidates().collect();
        let fitted = self.fitted(body, &candidates).map_err(Unreplaced::Refused)?;
        let parts = fitted.as_ref().map_or(body.parts, |fitted| fitted.parts);
        let price = self.tenants.price(tenant, body.destination);
        let price = price.and_then(|price| price.checked_mul(u32::from(parts))).ok_or(Unreplaced::Failed)?;
        let mut written = Vec::new();
        match fitted {
            Some(fitted) => fitted.write(body, self.references.next(body, number), &mut written),
            None => body.write(&mut written),
        }
        let (body, _) = Body::read(&written).ok_or(Unreplaced::Failed)?;
        message.with_body(&body, price, state, self.now.wall).ok_or(Unreplaced::Failed)
    }

    /// A provider has taken another text for a message that it has. Its price stands: it is one part, as before.
    pub(crate) fn replace_sent(&mut self, number: u64, replacement: &Replacement) {
        let Some(message) = self.pages.get(number) else { return };
        let body = message.body();
        let body = Body {
            octets: &replacement.octets,
            registered_delivery: replacement.registered_delivery,
            valid_until: replacement.valid_until.or(body.valid_until),
            ..body
        };
        if let Some(replaced) = message.with_body(&body, message.price, State::Sent, self.now.wall) {
            self.put_instead(replaced);
        }
    }

    /// Whether a replace_sm can carry the text (SMPP 3.4 §4.10.1), and it is one part as before.
    pub(crate) fn may_replace_sent(message: &Message, replacement: &Replacement) -> bool {
        let body = message.body();
        replacement.octets.len() <= SHORT_MESSAGE_OCTETS_MAX
            && replacement.send_at.is_none()
            && !is_cut_by_tenant(&body)
            && body.extra(Extra::Recoded).is_none()
            && count(&body, &replacement.octets) == 1
    }

    /// A time in the past is now. What is held waits for another time like any other, and is held again when that has come, if
    /// need be.
    fn state_after(&self, message: &Message, send_at: Option<Wall>) -> State {
        match (message.state, send_at) {
            (_, Some(at)) if at > self.now.wall => State::Scheduled,
            (State::Scheduled, Some(_)) => State::Queued,
            (state, _) => state,
        }
    }

    fn body_after<'a>(
        &self,
        body: &Body<'a>,
        state: State,
        replacement: &'a Replacement,
    ) -> Result<Body<'a>, Unreplaced> {
        let now = self.now.wall;
        let parts = count(body, &replacement.octets);
        let parts = u8::try_from(parts).map_err(|_| Unreplaced::Refused(Refusal::TooLong))?;
        let body = Body {
            octets: &replacement.octets,
            parts,
            registered_delivery: replacement.registered_delivery,
            // Of a time that has come already its queue is what counts.
            send_at: replacement.send_at.map(|at| at.max(now)).or(body.send_at),
            valid_until: replacement.valid_until.or(body.valid_until),
            ..*body
        };
        let start = body.send_at.filter(|_| state == State::Scheduled).unwrap_or(now).max(now);
        match body.valid_until {
            Some(until) if until <= start => Err(Unreplaced::Refused(Refusal::InvalidValidity)),
            _ => Ok(body),
        }
    }

    /// The reserve holds the new price instead of the old one, or is as it was.
    fn reserve_instead(&mut self, tenant: u32, before: Micros, price: Micros) -> Result<(), Unreplaced> {
        let instead = |wallet: &mut Wallet| {
            let more = Micros(price.0.saturating_sub(before.0));
            let is_done = if more < Micros::ZERO {
                wallet.release(Micros(before.0.saturating_sub(price.0))) == Change::Done
            } else {
                wallet.reserve(more) == Reserve::Done
            };
            (is_done, is_done)
        };
        match self.tenants.change_wallet(tenant, instead) {
            Some(true) => {
                self.follow_credit_limit(tenant);
                Ok(())
            }
            _ => Err(Unreplaced::Refused(Refusal::InsufficientCredit)),
        }
    }

    /// The new image takes the place of the old one: in the journal, in memory, and where the message waits.
    fn put_instead(&mut self, mut replaced: Message) {
        let number = replaced.number;
        let Some(old) = self.pages.get(number) else { return };
        let was_copy = old.image_group == STORED;
        if was_copy {
            self.parking.taken_back(old);
        }
        let waits = (old.tenant, old.priority, number);
        let (provider, before) = (old.provider, old.state);
        debug_assert_eq!(replaced.charge, old.charge, "another text moves no charge");
        replaced.image_group = self.group_number;
        record::write(&mut self.group, &Record::Amendment(replaced.bytes()));
        self.parking.not_apart(block_of(number), 1 << place_of(number));
        self.ring.add(self.group_number, Item::Message(number));
        let was_queued = before == State::Queued && self.providers.dequeue(provider, waits);
        let (state, priority) = (replaced.state, replaced.priority);
        self.queued.moved(priority, (provider, before), (provider, state));
        self.counters.replaced += 1;
        self.pages.insert(replaced, self.now.wall.0);
        self.waits_again(number, before, was_queued);
        if was_copy && before == State::Sent {
            self.ask_later(number);
        }
    }

    /// What was in no queue though it was queued waits for its retry, or returns in this turn, and is queued then.
    fn waits_again(&mut self, number: u64, before: State, was_queued: bool) {
        let Some(message) = self.pages.get(number) else { return };
        let (starts_at, valid_until) = (message.starts_at, message.valid_until());
        match message.state {
            State::Scheduled => self.watch_start(number, starts_at),
            State::Queued if was_queued || before != State::Queued => {
                self.providers.enqueue(message);
                self.surgery.arrived(number);
            }
            // What held the one before may not hold this one: it may be of another campaign.
            State::Held if self.is_free_of_rules(message) => {
                self.step(number, &Step::LetGo);
            }
            _ => {}
        }
        self.watch_validity(number, valid_until);
    }
}

/// How many parts a text makes in the encoding of a message.
fn count(body: &Body<'_>, octets: &[u8]) -> usize {
    Cut { is_first_form: false, ..body.cut() }.count(octets)
}

/// In the alphabet of its tenant, who does not know that the text went into another.
pub(crate) fn as_written(body: Body<'_>) -> Body<'_> {
    match body.extra(Extra::Recoded) {
        None => body,
        Some(_) => Body { encoding: Encoding::Gsm7, data_coding: 0, ..body },
    }
}

/// The extras without what the engine has put there: another text is fitted anew.
fn without_fitting(extras: &[u8]) -> Vec<u8> {
    let (mut reader, mut kept) = (Reader::new(extras), Vec::new());
    while let (Some(tag), Some(length)) = (reader.u8(), reader.u16()) {
        let Some(value) = reader.take(usize::from(length)) else { break };
        if tag != Extra::Cut as u8 && tag != Extra::Recoded as u8 {
            kept.push(tag);
            kept.extend_from_slice(&length.to_le_bytes());
            kept.extend_from_slice(value);
        }
    }
    kept
}

/// A part of something longer cannot be replaced alone, and replace_sm brings no header.
pub(crate) fn is_cut_by_tenant(body: &Body<'_>) -> bool {
    let tlvs = body.extra(Extra::Tlvs).map(Tlvs::new);
    let is_sar = tlvs.is_some_and(|tlvs| tlvs.value_of(tag::SAR_TOTAL_SEGMENTS).is_some());
    body.esm_class & UDHI != 0 || is_sar
}
