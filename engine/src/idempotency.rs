//! Which requests were made before under an `Idempotency-Key`, and what came of them. It knows keys and bodies only by
//! their hashes, and builds no answers: the holder makes them again from the messages and the outcome kept here.

use std::collections::VecDeque;
use std::time::Duration;

use codecs::instant::Wall;
use hashbrown::HashMap;

use crate::bytes::Reader;
use crate::hash::{self, HashedKey};

/// How long a key is kept.
pub const KEPT: Duration = Duration::from_secs(24 * 3600);
/// After how long a key that is kept for its body alone is kept anew for the same request.
const HELD_ANEW: Duration = Duration::from_secs(3_600);
/// Keys kept of one tenant; beyond them new ones are refused, and none is forgotten early.
pub const KEYS_MAX: usize = 1_000_000;

const KEY_DOMAIN: u64 = 3 << 16;
const BODY_DOMAIN: u64 = 4 << 16;
/// Keys of one tenant that may expire in one turn, so that a million old ones do not hold up one request.
const EXPIRED_A_TURN: usize = 8;

/// The fingerprint of a tenant's key, as one slice of its request is known by. No client can send the NUL that sets a slice apart.
pub fn key_hash(key: &[u8], slice: u8) -> u128 {
    match slice {
        0 => hash::hash128(KEY_DOMAIN, key),
        _ => hash::hash128(KEY_DOMAIN, &[key, b"\0", slice.to_string().as_bytes()].concat()),
    }
}

/// The fingerprint of a request's body.
pub fn body_hash(body: &[u8]) -> u128 {
    hash::hash128(BODY_DOMAIN, body)
}

/// Stands in the layout of an entry, where earlier builds read whether the request was done. None has written another.
const DONE: u8 = 1;

/// What is kept of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub body: u128,
    pub began: Wall,
    /// The number of the first message it made; the others follow.
    pub first_number: u64,
    /// None where the key is kept for its body alone: the same request may be made again, and no other. There may be an outcome all
    /// the same, in another form: that of a slice in which all was refused, which is answered again if another slice has brought something.
    pub count: u32,
    /// What the messages do not tell: the refusals, in the holder's own form.
    pub outcome: Box<[u8]>,
}

/// What a request with a key may do.
#[derive(Debug, PartialEq, Eq)]
pub enum Begin<'a> {
    /// No answer is known of the key: go on, then [`Idempotency::keep`] what came of it, if anything did.
    New,
    /// The same request was answered before.
    Replay(&'a Entry),
    /// The key was used for another body.
    Mismatch,
    /// The tenant has used too many keys within the time that they are kept.
    Full,
}

#[derive(Clone, Debug, Default)]
pub struct Idempotency {
    tenants: Vec<Keys>,
    keys_max: Option<usize>,
}

/// One tenant's keys, and the order in which they began.
#[derive(Clone, Debug, Default)]
struct Keys {
    entries: HashMap<u128, Entry, HashedKey>,
    order: VecDeque<(Wall, u128)>,
}

impl Idempotency {
    /// As [`Idempotency::default`], with another bound than [`KEYS_MAX`].
    #[cfg(test)]
    pub(crate) fn with_keys_max(keys_max: usize) -> Idempotency {
        Idempotency { tenants: Vec::new(), keys_max: Some(keys_max) }
    }

    /// What a request with this key and body may do, without a change.
    pub fn look(&self, tenant: u32, key: u128, body: u128, now: Wall) -> Begin<'_> {
        let Some(keys) = self.tenants.get(tenant as usize) else {
            return Begin::New;
        };
        match keys.entries.get(&key).filter(|entry| !expired(entry.began, now)) {
            Some(entry) if entry.body != body => Begin::Mismatch,
            Some(entry) if entry.count == 0 => Begin::New,
            Some(entry) => Begin::Replay(entry),
            None if keys.is_full(self.keys_max.unwrap_or(KEYS_MAX), now) => Begin::Full,
            None => Begin::New,
        }
    }

    /// As [`Idempotency::look`], and forgets some keys of the tenant that have been kept long enough.
    pub fn begin(&mut self, tenant: u32, key: u128, body: u128, now: Wall) -> Begin<'_> {
        if let Some(keys) = self.tenants.get_mut(tenant as usize) {
            keys.expire(now, EXPIRED_A_TURN);
        }
        self.look(tenant, key, body, now)
    }

    /// Whether a key has lately been kept for this body alone: nothing is kept anew each time that nothing came of its request.
    pub fn is_held(&self, tenant: u32, key: u128, body: u128, now: Wall) -> bool {
        let lately = |entry: &&Entry| now.millis_since(entry.began) < HELD_ANEW.as_millis() as i64;
        self.get(tenant, key).filter(lately).is_some_and(|entry| entry.body == body && entry.count == 0)
    }

    /// What is kept of this body under a key.
    pub fn known(&self, tenant: u32, key: u128, body: u128, now: Wall) -> Option<&Entry> {
        self.get(tenant, key).filter(|entry| entry.body == body && !expired(entry.began, now))
    }

    /// Keeps an entry: what came of a request, or what was read from the journal, where `put_in_order` follows the last of them.
    pub fn keep(&mut self, tenant: u32, key: u128, entry: Entry) {
        let index = tenant as usize;
        if index >= self.tenants.len() {
            self.tenants.resize_with(index + 1, Keys::default);
        }
        let keys = &mut self.tenants[index];
        let known = keys.entries.get(&key).is_some_and(|known| known.began == entry.began);
        if !known {
            keys.order.push_back((entry.began, key));
        }
        keys.entries.insert(key, entry);
    }

    /// After a start: what was carried over has come behind what began after it. What began while the clock was ahead, and is yet to
    /// begin by the one that is right, begins now: else it would be kept for as much longer, and what stands behind it with it.
    pub fn put_in_order(&mut self, now: Wall) {
        for keys in &mut self.tenants {
            keys.put_in_order(now);
        }
    }

    pub fn get(&self, tenant: u32, key: u128) -> Option<&Entry> {
        self.tenants.get(tenant as usize)?.entries.get(&key)
    }

    /// Forgets, of every tenant, at most `max` keys that have been kept long enough.
    pub fn expire(&mut self, now: Wall, max: usize) {
        for keys in &mut self.tenants {
            keys.expire(now, max);
        }
    }

    /// Everything kept, by tenant and in the order in which it began.
    pub fn entries(&self) -> impl Iterator<Item = (u32, u128, &Entry)> {
        (0u32..).zip(&self.tenants).flat_map(|(tenant, keys)| {
            keys.order.iter().filter_map(move |(began, key)| {
                // A key that expired and was used again stands twice in the order; the later place is its own.
                let entry = keys.entries.get(key).filter(|entry| entry.began == *began)?;
                Some((tenant, *key, entry))
            })
        })
    }

    /// Keys kept of a tenant.
    #[cfg(test)]
    fn len_of(&self, tenant: u32) -> usize {
        self.tenants.get(tenant as usize).map_or(0, |keys| keys.entries.len())
    }
}

impl Keys {
    fn put_in_order(&mut self, now: Wall) {
        let began = self.entries.iter_mut().map(|(key, entry)| {
            entry.began = entry.began.min(now);
            (entry.began, *key)
        });
        let mut order: Vec<(Wall, u128)> = began.collect();
        order.sort_unstable();
        self.order = order.into();
    }

    fn expire(&mut self, now: Wall, max: usize) {
        for _ in 0..max {
            match self.order.front() {
                Some((began, _)) if expired(*began, now) => self.drop_oldest(),
                _ => break,
            }
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((began, key)) = self.order.pop_front()
            && self.entries.get(&key).is_some_and(|entry| entry.began == began)
        {
            self.entries.remove(&key);
        }
    }

    /// A key that has been kept long enough makes room for a new one, even if it was not dropped yet.
    fn is_full(&self, keys_max: usize, now: Wall) -> bool {
        // A key that was kept anew is not at its first place any more.
        let is_there =
            |(began, key): &(Wall, u128)| self.entries.get(key).is_some_and(|entry| entry.began == *began);
        let mut old = self.order.iter().take_while(|(began, _)| expired(*began, now));
        self.entries.len() >= keys_max && !old.any(is_there)
    }
}

impl Entry {
    /// Appends the carry-over layout, little-endian: tenant u32, key u128, body u128, began i64, [`DONE`], first number u64,
    /// count u32, length of the outcome u32, the outcome.
    pub fn encode(&self, tenant: u32, key: u128, out: &mut Vec<u8>) {
        out.extend_from_slice(&tenant.to_le_bytes());
        out.extend_from_slice(&key.to_le_bytes());
        out.extend_from_slice(&self.body.to_le_bytes());
        out.extend_from_slice(&self.began.0.to_le_bytes());
        out.push(DONE);
        out.extend_from_slice(&self.first_number.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&(self.outcome.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.outcome);
    }

    /// Reads what [`Entry::encode`] wrote: tenant, key, entry. `None` when the bytes are no entry or more than one.
    pub fn decode(bytes: &[u8]) -> Option<(u32, u128, Entry)> {
        let mut reader = Reader::new(bytes);
        let tenant = reader.u32()?;
        let key = u128::from_le_bytes(reader.array()?);
        let body = u128::from_le_bytes(reader.array()?);
        let began = Wall(reader.i64()?);
        reader.u8().filter(|done| *done <= DONE)?;
        let first_number = reader.u64()?;
        let count = reader.u32()?;
        let length = reader.u32()?;
        let outcome = reader.take(length as usize)?.into();
        let whole = reader.position() == bytes.len();
        whole.then_some((tenant, key, Entry { body, began, first_number, count, outcome }))
    }
}

fn expired(began: Wall, now: Wall) -> bool {
    began.after(KEPT) <= now
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = 24 * 3600 * 1000;
    const NOW: Wall = Wall(1_700_000_000_000);

    fn later(millis: i64) -> Wall {
        Wall(NOW.0 + millis)
    }

    fn entry(body: u128, began: Wall) -> Entry {
        Entry { body, began, first_number: 1_000, count: 2, outcome: Box::new([5]) }
    }

    #[test]
    fn a_repeated_request_is_answered_by_what_is_kept() {
        let mut keys = Idempotency::default();
        assert_eq!(keys.begin(3, 7, 70, NOW), Begin::New);
        keys.keep(3, 7, entry(70, NOW));
        assert_eq!(keys.begin(3, 7, 70, later(DAY - 1)), Begin::Replay(&entry(70, NOW)));
        assert_eq!(keys.begin(3, 7, 71, later(DAY - 1)), Begin::Mismatch);
        assert_eq!(keys.begin(2, 7, 71, NOW), Begin::New);
        assert_eq!(keys.get(3, 7), Some(&entry(70, NOW)));
    }

    #[test]
    fn a_request_that_nothing_was_kept_of_may_be_made_again() {
        let mut keys = Idempotency::default();
        for body in [10, 10, 11] {
            assert_eq!(keys.begin(0, 1, body, NOW), Begin::New);
        }
        assert_eq!(keys.len_of(0), 0);
    }

    #[test]
    fn after_a_start_room_is_made_by_those_that_began_first_however_they_came() {
        let mut keys = Idempotency::with_keys_max(2);
        // The older one was carried over.
        keys.keep(0, 2, entry(1, later(DAY / 2)));
        keys.keep(0, 1, entry(1, NOW));
        keys.put_in_order(later(DAY / 2));
        assert_eq!(keys.begin(0, 3, 1, later(DAY - 1)), Begin::Full);
        assert_eq!(keys.begin(0, 3, 1, later(DAY)), Begin::New);
        assert!(keys.get(0, 1).is_none() && keys.get(0, 2).is_some());
    }

    #[test]
    fn what_began_while_the_clock_was_ahead_is_kept_for_a_day_from_the_start_with_the_right_one() {
        let mut keys = Idempotency::with_keys_max(3);
        // The second has been kept anew.
        for (key, began) in [(1, later(300 * DAY)), (2, later(300 * DAY)), (2, later(301 * DAY)), (3, NOW)] {
            keys.keep(0, key, entry(10, began));
        }
        keys.put_in_order(later(1));
        assert_eq!(keys.entries().map(|(_, key, _)| key).collect::<Vec<_>>(), [3, 1, 2]);
        assert_eq!(keys.begin(0, 4, 10, later(DAY - 1)), Begin::Full);
        assert_eq!(keys.look(0, 4, 10, later(DAY)), Begin::New);
        assert_eq!(keys.look(0, 1, 10, later(DAY)), Begin::Replay(&entry(10, later(1))));
        assert_eq!(keys.look(0, 1, 11, later(DAY + 1)), Begin::New);
        keys.expire(later(DAY + 1), 10);
        assert_eq!(keys.len_of(0), 0);
    }

    #[test]
    fn a_key_without_an_answer_holds_for_its_body() {
        let mut keys = Idempotency::default();
        keys.keep(0, 1, Entry { count: 0, ..entry(10, NOW) });
        assert_eq!(keys.begin(0, 1, 11, later(1)), Begin::Mismatch);
        assert_eq!(keys.begin(0, 1, 10, later(1)), Begin::New);
        keys.keep(0, 1, entry(10, later(1)));
        assert_eq!(keys.begin(0, 1, 10, later(2)), Begin::Replay(&entry(10, later(1))));
        // The first place in the order is nobody's any more.
        assert_eq!(keys.entries().count(), 1);
        keys.expire(later(DAY), 10);
        assert_eq!(keys.len_of(0), 1);
        keys.expire(later(DAY + 1), 10);
        assert_eq!(keys.len_of(0), 0);
    }

    #[test]
    fn a_key_is_free_after_its_day() {
        let mut keys = Idempotency::default();
        keys.keep(0, 1, entry(10, NOW));
        assert_eq!(keys.begin(0, 1, 11, later(DAY - 1)), Begin::Mismatch);
        assert_eq!(keys.look(0, 1, 11, later(DAY)), Begin::New);
        assert_eq!(keys.begin(0, 1, 11, later(DAY)), Begin::New);
        keys.keep(0, 1, entry(11, later(DAY)));
        assert_eq!(keys.entries().count(), 1);
        keys.expire(later(2 * DAY), 10);
        assert_eq!((keys.len_of(0), keys.get(0, 1)), (0, None));
    }

    #[test]
    fn a_key_used_again_before_it_was_dropped_is_kept_once() {
        let mut keys = Idempotency::default();
        let last = EXPIRED_A_TURN as u128 + 1;
        for key in 0..=last {
            keys.keep(0, key, entry(10, NOW));
        }
        assert_eq!(keys.begin(0, last, 11, later(DAY)), Begin::New);
        keys.keep(0, last, entry(11, later(DAY)));
        let kept: Vec<u128> = keys.entries().map(|(_, key, _)| key).collect();
        assert_eq!(kept, [last - 1, last]);
        keys.expire(later(DAY), 10);
        assert_eq!(keys.entries().map(|(_, key, _)| key).collect::<Vec<_>>(), [last]);
        assert_eq!(keys.len_of(0), 1);
    }

    #[test]
    fn a_full_tenant_is_refused_and_forgets_nothing_early() {
        let mut keys = Idempotency::with_keys_max(2);
        keys.keep(0, 1, entry(10, NOW));
        assert_eq!(keys.begin(0, 2, 10, later(1)), Begin::New);
        keys.keep(0, 2, entry(10, later(1)));
        assert_eq!(keys.begin(0, 3, 10, later(2)), Begin::Full);
        assert_eq!(keys.begin(1, 3, 10, later(2)), Begin::New);
        assert_eq!(keys.begin(0, 1, 10, later(2)), Begin::Replay(&entry(10, NOW)));
        assert_eq!(keys.look(0, 3, 10, later(DAY)), Begin::New);
        assert_eq!(keys.begin(0, 3, 10, later(DAY)), Begin::New);
        keys.keep(0, 3, entry(10, later(DAY)));
        assert_eq!(keys.begin(0, 4, 10, later(DAY)), Begin::Full);
        assert_eq!(keys.len_of(0), 2);
    }

    #[test]
    fn the_carry_over_layout_is_fixed() {
        let entry =
            Entry { body: 2, began: Wall(3), first_number: 4, count: 5, outcome: Box::new([0xaa, 0xbb]) };
        let mut bytes = Vec::new();
        entry.encode(1, u128::MAX, &mut bytes);
        let mut expected = vec![1, 0, 0, 0];
        expected.extend([0xff; 16]);
        expected.extend([2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([3, 0, 0, 0, 0, 0, 0, 0]);
        expected.push(1);
        expected.extend([4, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([5, 0, 0, 0, 2, 0, 0, 0, 0xaa, 0xbb]);
        assert_eq!(bytes, expected);
        assert_eq!(Entry::decode(&bytes), Some((1, u128::MAX, entry)));
    }

    #[test]
    fn bytes_that_are_no_entry_are_refused() {
        let mut bytes = Vec::new();
        entry(0, NOW).encode(0, 0, &mut bytes);
        for length in 0..bytes.len() {
            assert_eq!(Entry::decode(&bytes[..length]), None, "{length}");
        }
        let mut long = bytes.clone();
        long.push(0);
        assert_eq!(Entry::decode(&long), None);
        bytes[44] = 2;
        assert_eq!(Entry::decode(&bytes), None);
    }

    #[test]
    fn fingerprints_are_the_same_for_ever() {
        assert_eq!(key_hash(b"order-1", 0), 0x07a1_36c4_2e3a_a895_5d41_2725_0221_2b7e);
        assert_eq!(key_hash(b"order-1", 12), key_hash(b"order-1\x0012", 0));
        assert_eq!(body_hash(b"order-1"), 0x6a44_b314_8b17_a24f_ca46_01eb_a68c_931f);
    }

    proptest! {
        #[test]
        fn what_is_carried_over_decides_the_same(
            steps in prop::collection::vec((0u32..4, 0u32..2, 0u128..5, 0u128..2, 0i64..DAY), 0..100),
        ) {
            let mut keys = Idempotency::with_keys_max(3);
            let mut now = NOW;
            for (count, tenant, key, body, passed) in steps {
                now = Wall(now.0 + passed / 4);
                if keys.begin(tenant, key, body, now) == Begin::New && count < 2 {
                    keys.keep(tenant, key, Entry { count, ..entry(body, now) });
                }
                prop_assert!(keys.len_of(tenant) <= 3);
                prop_assert_eq!(keys.entries().filter(|kept| kept.0 == tenant).count(), keys.len_of(tenant));
            }
            let mut restored = Idempotency::with_keys_max(3);
            for (tenant, key, entry) in keys.entries() {
                let mut bytes = Vec::new();
                entry.encode(tenant, key, &mut bytes);
                let (tenant, key, entry) = Entry::decode(&bytes).expect("just encoded");
                restored.keep(tenant, key, entry);
            }
            for (tenant, key, body) in (0..2).flat_map(|t| (0..5).flat_map(move |k| (0..2).map(move |b| (t, k, b)))) {
                for passed in [0, DAY / 2, DAY] {
                    let then = Wall(now.0 + passed);
                    prop_assert_eq!(restored.look(tenant, key, body, then), keys.look(tenant, key, body, then));
                }
            }
        }
    }
}
