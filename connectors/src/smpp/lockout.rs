//! Wrong passwords: how long the answer to a bind is held back, and who is not listened to for a while.
//! It does not know which passwords are right, and it forgets the oldest rather than grow.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use codecs::instant::Mono;

/// How hard guessing is made.
#[derive(Clone, Debug)]
pub struct LockoutOptions {
    /// The wait before the answer to the first wrong password; it doubles with each further one.
    pub delay_first: Duration,
    pub delay_max: Duration,
    /// Wrong passwords of one address for one system_id before it is locked out.
    pub failures_max: u32,
    /// Wrong passwords of one address for any system_id before it is locked out.
    pub address_failures_max: u32,
    /// How long a lock-out lasts, and how long a wrong password is remembered.
    pub lasts: Duration,
    /// Entries kept; beyond it the oldest half is forgotten.
    pub entries_max: usize,
}

impl Default for LockoutOptions {
    fn default() -> LockoutOptions {
        LockoutOptions {
            delay_first: Duration::from_secs(1),
            delay_max: Duration::from_secs(16),
            failures_max: 10,
            address_failures_max: 100,
            lasts: Duration::from_secs(300),
            entries_max: 100_000,
        }
    }
}

/// The failures of those who came lately.
pub struct Lockout {
    options: LockoutOptions,
    hasher: RandomState,
    table: Mutex<Table>,
}

/// Two generations: when the young one is full it becomes the old one, and the old one is dropped whole.
#[derive(Default)]
struct Table {
    young: HashMap<u64, Failures>,
    old: HashMap<u64, Failures>,
}

#[derive(Clone, Copy, Default)]
struct Failures {
    count: u32,
    last: Mono,
}

impl Lockout {
    pub fn new(options: LockoutOptions) -> Lockout {
        Lockout { options, hasher: RandomState::new(), table: Mutex::default() }
    }

    /// Whether this address is not to be listened to, for this system_id or at all. The password is not looked at then.
    pub fn is_locked(&self, now: Mono, from: IpAddr, system_id: &[u8]) -> bool {
        let (pair, address) = self.keys(from, system_id);
        let table = self.lock();
        let count = |key| table.failures(key, now, self.options.lasts).count;
        count(pair) >= self.options.failures_max || count(address) >= self.options.address_failures_max
    }

    /// Notes a wrong password and says how long its answer is to be held back.
    pub fn failed(&self, now: Mono, from: IpAddr, system_id: &[u8]) -> Duration {
        let (pair, address) = self.keys(from, system_id);
        let mut table = self.lock();
        self.count(&mut table, address, now);
        let failures = self.count(&mut table, pair, now);
        let doublings = failures.saturating_sub(1).min(20);
        let delay = self.options.delay_first.saturating_mul(1 << doublings);
        delay.min(self.options.delay_max)
    }

    /// A right password clears its own record, not that of its address.
    pub fn succeeded(&self, from: IpAddr, system_id: &[u8]) {
        let (pair, _) = self.keys(from, system_id);
        let mut table = self.lock();
        table.young.remove(&pair);
        table.old.remove(&pair);
    }

    fn count(&self, table: &mut Table, key: u64, now: Mono) -> u32 {
        let count = table.failures(key, now, self.options.lasts).count.saturating_add(1);
        if table.young.len() >= self.options.entries_max / 2 && !table.young.contains_key(&key) {
            table.old = std::mem::take(&mut table.young);
        }
        table.young.insert(key, Failures { count, last: now });
        count
    }

    /// Hashed, so that an entry is small whatever was sent. Who owns one IPv6 address owns its /64.
    fn keys(&self, from: IpAddr, system_id: &[u8]) -> (u64, u64) {
        let network = match from.to_canonical() {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        };
        let pair = self.hasher.hash_one((network, system_id));
        (pair, self.hasher.hash_one(network))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// None that are older than `lasts`.
    fn failures(&self, key: u64, now: Mono, lasts: Duration) -> Failures {
        let found = self.young.get(&key).or_else(|| self.old.get(&key)).copied();
        found.filter(|failures| now.since(failures.last) < lasts).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn lockout() -> Lockout {
        Lockout::new(LockoutOptions {
            failures_max: 3,
            address_failures_max: 5,
            delay_max: Duration::from_secs(6),
            ..LockoutOptions::default()
        })
    }

    #[test]
    fn the_answer_is_held_back_longer_each_time_up_to_the_cap() {
        let lockout = lockout();
        let delays = [1, 2, 3, 4, 5].map(|_| lockout.failed(Mono(1), HERE, b"acme").as_secs());
        assert_eq!(delays, [1, 2, 4, 6, 6]);
        assert_eq!(lockout.failed(Mono(1), THERE, b"acme").as_secs(), 1);
    }

    #[test]
    fn the_pair_is_locked_out_and_nobody_else() {
        let lockout = lockout();
        for _ in 0..3 {
            assert!(!lockout.is_locked(Mono(1), HERE, b"acme"));
            lockout.failed(Mono(1), HERE, b"acme");
        }
        assert!(lockout.is_locked(Mono(1), HERE, b"acme"));
        assert!(!lockout.is_locked(Mono(1), HERE, b"other"));
        assert!(!lockout.is_locked(Mono(1), THERE, b"acme"));
        let later = Mono(1).after(Duration::from_secs(300));
        assert!(!lockout.is_locked(later, HERE, b"acme"));
        assert_eq!(lockout.failed(later, HERE, b"acme").as_secs(), 1);
    }

    #[test]
    fn an_address_that_tries_many_names_is_locked_out_for_all() {
        let lockout = lockout();
        for name in 0..5u8 {
            lockout.failed(Mono(1), HERE, &[name]);
        }
        assert!(lockout.is_locked(Mono(1), HERE, b"acme"));
        assert!(!lockout.is_locked(Mono(1), THERE, b"acme"));
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let lockout = lockout();
        for host in 0..3u128 {
            let from = Ipv6Addr::from_bits(0x2001_0db8 << 96 | host);
            lockout.failed(Mono(1), from.into(), b"acme");
        }
        let another = Ipv6Addr::from_bits(0x2001_0db8 << 96 | 99);
        assert!(lockout.is_locked(Mono(1), another.into(), b"acme"));
    }

    #[test]
    fn a_right_password_clears_the_pair() {
        let lockout = lockout();
        lockout.failed(Mono(1), HERE, b"acme");
        lockout.succeeded(HERE, b"acme");
        assert_eq!(lockout.failed(Mono(1), HERE, b"acme").as_secs(), 1);
    }

    #[test]
    fn an_attack_from_everywhere_does_not_make_it_grow() {
        let options = LockoutOptions { entries_max: 100, ..LockoutOptions::default() };
        let lockout = Lockout::new(options);
        for address in 0..10_000u32 {
            lockout.failed(Mono(1), IpAddr::V4(Ipv4Addr::from_bits(address)), b"acme");
        }
        let table = lockout.lock();
        assert!(table.young.len() + table.old.len() <= 102);
    }
}
