//! Wrong passwords: how long the answer to a bind is held back, and who is not listened to for a while.
//! It does not know which passwords are right, and it forgets the oldest rather than grow. It reads and writes no file:
//! whoever has one is given the lock-outs as octets, and gives them back after a restart.
//!
//! Those octets, little-endian: version u8 · key 16 · for each lock-out: who u64 · wrong passwords u32 · end i64 (ms, wall).

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use codecs::instant::{Mono, Wall};
use engine::command::Now;
use siphasher::sip::SipHasher24;

const KEPT_VERSION: u8 = 1;
/// Octets of what is kept before its entries, and of one of them.
const KEPT_HEAD: usize = 17;
const KEPT_ENTRY: usize = 20;

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
    table: Mutex<Table>,
}

/// Two generations: when the young one is full it becomes the old one, and the old one is dropped whole.
struct Table {
    /// Nobody outside knows it, so that nobody can be locked out by somebody whose name has the same hash.
    key: [u8; 16],
    young: HashMap<u64, Failures>,
    old: HashMap<u64, Failures>,
    /// A lock-out has begun or ended since they were last kept.
    changed: bool,
}

#[derive(Clone, Copy, Default)]
struct Failures {
    count: u32,
    /// When they are forgotten.
    end: Mono,
}

impl Lockout {
    pub fn new(options: LockoutOptions) -> Lockout {
        let random = |salt: u64| RandomState::new().hash_one(salt).to_le_bytes();
        let [low, high] = [random(0), random(1)];
        let mut key = [0; 16];
        key.iter_mut().zip(low.into_iter().chain(high)).for_each(|(place, octet)| *place = octet);
        let table = Table { key, young: HashMap::new(), old: HashMap::new(), changed: false };
        Lockout { options, table: Mutex::new(table) }
    }

    /// The lock-outs of now, if there are others than when they were last kept.
    pub fn keep(&self, now: Now) -> Option<Vec<u8>> {
        let mut table = self.lock();
        if !std::mem::take(&mut table.changed) {
            return None;
        }
        let mut kept = vec![KEPT_VERSION];
        kept.extend_from_slice(&table.key);
        for (who, failures) in table.old.iter().chain(&table.young) {
            if failures.count >= self.options.failures_max && failures.end > now.mono {
                kept.extend_from_slice(&who.to_le_bytes());
                kept.extend_from_slice(&failures.count.to_le_bytes());
                kept.extend_from_slice(&now.wall.after(failures.end.since(now.mono)).0.to_le_bytes());
            }
        }
        Some(kept)
    }

    /// Takes back what was kept, before anybody has come; `false` when it cannot be read.
    pub fn restore(&self, now: Now, kept: &[u8]) -> bool {
        let Some((head, entries)) = kept.split_at_checked(KEPT_HEAD) else { return false };
        let ([KEPT_VERSION, key @ ..], []) = (head, entries.as_chunks::<KEPT_ENTRY>().1) else {
            return false;
        };
        let mut table = self.lock();
        table.key.copy_from_slice(key);
        for entry in entries.as_chunks::<KEPT_ENTRY>().0.iter().take(self.options.entries_max / 2) {
            let (who, rest) = entry.split_at(8);
            let (count, end) = rest.split_at(4);
            let end = Wall(i64::from_le_bytes(end.try_into().unwrap_or_default()));
            // Never longer than a fresh one, whatever the clock has done meanwhile.
            let left = Duration::from_millis(u64::try_from(end.millis_since(now.wall)).unwrap_or(0));
            let failures = Failures {
                count: u32::from_le_bytes(count.try_into().unwrap_or_default()),
                end: now.mono.after(left.min(self.options.lasts)),
            };
            table.young.insert(u64::from_le_bytes(who.try_into().unwrap_or_default()), failures);
        }
        true
    }

    /// Whether this address is not to be listened to, for this system_id or at all. The password is not looked at then.
    pub fn is_locked(&self, now: Mono, from: IpAddr, system_id: &[u8]) -> bool {
        let table = self.lock();
        let (pair, address) = table.keys(from, system_id);
        let count = |key| table.failures(key, now).count;
        count(pair) >= self.options.failures_max || count(address) >= self.options.address_failures_max
    }

    /// Notes a wrong password and says how long its answer is to be held back.
    pub fn failed(&self, now: Mono, from: IpAddr, system_id: &[u8]) -> Duration {
        let mut table = self.lock();
        let (pair, address) = table.keys(from, system_id);
        self.count(&mut table, address, now);
        let failures = self.count(&mut table, pair, now);
        let doublings = failures.saturating_sub(1).min(20);
        let delay = self.options.delay_first.saturating_mul(1 << doublings);
        delay.min(self.options.delay_max)
    }

    /// A right password clears its own record, not that of its address.
    pub fn succeeded(&self, from: IpAddr, system_id: &[u8]) {
        let mut table = self.lock();
        let (pair, _) = table.keys(from, system_id);
        table.young.remove(&pair);
        table.old.remove(&pair);
    }

    fn count(&self, table: &mut Table, key: u64, now: Mono) -> u32 {
        let count = table.failures(key, now).count.saturating_add(1);
        table.changed |= count >= self.options.failures_max;
        if table.young.len() >= self.options.entries_max / 2 && !table.young.contains_key(&key) {
            table.old = std::mem::take(&mut table.young);
        }
        table.young.insert(key, Failures { count, end: now.after(self.options.lasts) });
        count
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// None that are forgotten.
    fn failures(&self, key: u64, now: Mono) -> Failures {
        let found = self.young.get(&key).or_else(|| self.old.get(&key)).copied();
        found.filter(|failures| now < failures.end).unwrap_or_default()
    }

    /// Hashed, so that an entry is small whatever was sent.
    fn keys(&self, from: IpAddr, system_id: &[u8]) -> (u64, u64) {
        let network = network(from);
        let hash = |name: Option<&[u8]>| {
            let mut hasher = SipHasher24::new_with_key(&self.key);
            (network, name).hash(&mut hasher);
            hasher.finish()
        };
        (hash(Some(system_id)), hash(None))
    }
}

/// What one sender owns: who owns one IPv6 address owns its /64.
pub(super) fn network(from: IpAddr) -> u64 {
    match from.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
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
    fn a_right_password_clears_the_pair_though_others_have_come_since() {
        let lockout = Lockout::new(LockoutOptions { entries_max: 6, ..LockoutOptions::default() });
        lockout.failed(Mono(1), HERE, b"acme");
        lockout.failed(Mono(1), THERE, b"other");
        assert!(lockout.lock().old.len() == 3, "it is of the generation before");
        lockout.succeeded(HERE, b"acme");
        assert_eq!(lockout.failed(Mono(1), HERE, b"acme").as_secs(), 1);
        assert_eq!(lockout.failed(Mono(1), HERE, b"acme").as_secs(), 2);
    }

    fn fail(lockout: &Lockout, now: Mono, times: u32) {
        for _ in 0..times {
            lockout.failed(now, HERE, b"acme");
        }
    }

    fn at(seconds: u64) -> Now {
        Now { wall: Wall(1_800_000_000_000 + seconds as i64 * 1_000), mono: Mono(seconds * 1_000_000) }
    }

    #[test]
    fn lock_outs_survive_a_restart_and_end_in_their_time() {
        let before = lockout();
        before.failed(at(1_000).mono, HERE, b"once");
        assert_eq!(before.keep(at(1_000)), None, "nobody is locked out");
        fail(&before, at(1_000).mono, 3);
        let kept = before.keep(at(1_100)).expect("a lock-out");
        assert_eq!(before.keep(at(1_100)), None, "nothing has changed");
        // The process that starts has a monotonic clock of its own.
        let started = Now { mono: Mono(5_000_000), ..at(1_160) };
        let after = lockout();
        assert!(after.restore(started, &kept));
        assert!(after.is_locked(started.mono, HERE, b"acme"));
        assert!(!after.is_locked(started.mono, HERE, b"once"));
        assert!(!after.is_locked(started.mono, THERE, b"acme"));
        let later = |seconds| started.mono.after(Duration::from_secs(seconds));
        assert!(after.is_locked(later(139), HERE, b"acme"));
        assert!(!after.is_locked(later(140), HERE, b"acme"));
    }

    #[test]
    fn an_address_that_was_locked_out_still_is() {
        let before = lockout();
        for name in 0..5u8 {
            before.failed(at(1).mono, HERE, &[name]);
        }
        let kept = before.keep(at(2)).expect("a lock-out");
        let after = lockout();
        assert!(after.restore(at(2), &kept));
        assert!(after.is_locked(at(2).mono, HERE, b"acme") && !after.is_locked(at(2).mono, THERE, b"acme"));
    }

    #[test]
    fn a_clock_that_jumped_makes_no_lock_out_longer() {
        let before = lockout();
        fail(&before, at(90_000).mono, 3);
        let kept = before.keep(at(90_000)).expect("a lock-out");
        let after = lockout();
        assert!(after.restore(at(50), &kept));
        assert!(after.is_locked(at(349).mono, HERE, b"acme"));
        assert!(!after.is_locked(at(350).mono, HERE, b"acme"));
    }

    #[test]
    fn what_cannot_be_read_locks_nobody_out() {
        let before = lockout();
        fail(&before, at(1).mono, 3);
        let kept = before.keep(at(1)).expect("a lock-out");
        let mut newer = kept.clone();
        newer[0] = 2;
        for damaged in [&[][..], &kept[..5], &kept[..kept.len() - 1], &newer] {
            let after = lockout();
            assert!(!after.restore(at(1), damaged));
            assert!(!after.is_locked(at(1).mono, HERE, b"acme"));
        }
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
