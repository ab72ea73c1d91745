//! Ids that stand for several messages: the answer to a submit_multi names all of its destinations by one id (SMPP 3.4 §4.5.2), and
//! the receipt of each has it. Such an id is a key only together with the end of a phone's number. Which messages go together is
//! the connector's.
//!
//! A message's story says whether its id is shared (`Step::Response`), so its key never depends on settings. A receipt does not say
//! so, and is looked up both ways where a provider has ever been sent a submit_multi.

use crate::dispatch::Provider;
use crate::engine::Engine;
use crate::message::Message;
use crate::step::{Step, Verdict};

/// Digits at the end of a number that are the same however it is written: with a prefix, with zeros or as a national one.
pub const TAIL_DIGITS: u32 = 7;

/// Numbers that end alike are one number to a receipt, and to who names those that were not taken.
pub const TAILS: u64 = 10u64.pow(TAIL_DIGITS);

/// Between an id and the digits. It ends every string of SMPP, so that no id has it.
const BETWEEN: u8 = 0;

/// What the record of a provider's name says beside it, where its ids may be shared.
const MARK: &str = "shared ids";

/// Makes the canonical octets of an id those of an id and a number. An id without octets names nothing, and stays so.
pub(crate) fn push_tail(key: &mut Vec<u8>, phone: u64) {
    if !key.is_empty() {
        let mut left = phone % TAILS;
        key.push(BETWEEN);
        for _ in 0..TAIL_DIGITS {
            key.push(b'0' + (left % 10) as u8);
            left /= 10;
        }
    }
}

/// The id in a key of either form.
pub(crate) fn id_of(key: &[u8]) -> &[u8] {
    key.split(|octet| *octet == BETWEEN).next().unwrap_or_default()
}

/// The number, where it has all digits that belong to a key.
pub(crate) fn whole_tail(phone: Option<u64>) -> Option<u64> {
    phone.filter(|phone| *phone >= TAILS / 10)
}

impl Message {
    /// The number that belongs to the key of one of its ids.
    pub(crate) fn key_phone(&self, shared: bool) -> Option<u64> {
        shared.then(|| self.body().destination)
    }

    /// Whether some id of it names other messages as well: a provider that is asked about it would speak of any of them.
    pub(crate) fn has_shared_id(&self) -> bool {
        let brings_one =
            |step: &Step<'_>| matches!(step, Step::Response { shared: true, verdict: Verdict::Accepted, .. });
        self.steps().any(|(_, step)| brings_one(&step))
    }
}

impl Provider {
    /// What its name's record says beside the name: once it is said it stays so, since ids of before are on disk.
    pub fn mark(&self) -> &'static str {
        if self.shares_ids { MARK } else { "" }
    }

    /// Whether what is done to a message by its id would be done to others.
    pub(crate) fn names_others(&self, message: &Message) -> bool {
        self.shares_ids && message.has_shared_id()
    }
}

impl Engine {
    /// A provider's name and mark, as the journal has them.
    pub(crate) fn replay_mark(&mut self, provider: u16, mark: &str) {
        if let Some(provider) = self.providers.get_mut(provider) {
            provider.shares_ids |= mark == MARK;
        }
    }

    /// The number that belongs to the keys of a provider's receipt, where its ids may be shared.
    pub(crate) fn receipt_phone(&self, provider: u16, phone: Option<u64>) -> Option<u64> {
        let shares_ids = self.providers.get(provider).is_some_and(|entry| entry.shares_ids);
        whole_tail(phone).filter(|_| shares_ids)
    }

    /// The message that receipts are for which are held under a key: by that key, or by the id alone, since one that came
    /// before its response did not say whether the id is shared.
    pub(crate) fn owner_of_held(&self, provider: u16, key: &[u8]) -> Option<(u64, u8)> {
        let alone = || Some(id_of(key)).filter(|id| id.len() < key.len());
        self.index.find(provider, key).or_else(|| self.index.find(provider, alone()?))
    }

    /// A message has this key: it takes the receipts that are held for it, under its id alone and with its number.
    pub(crate) fn match_held(&mut self, provider: u16, key: &[u8], number: u64) {
        self.match_early(provider, key);
        let phone = self.pages.get(number).map(|message| message.body().destination);
        if id_of(key).len() == key.len()
            && let Some(phone) = self.receipt_phone(provider, phone)
        {
            let mut key = key.to_vec();
            push_tail(&mut key, phone);
            self.match_early(provider, &key);
        }
    }
}
