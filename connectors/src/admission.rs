//! Rates at the door: one token bucket a tenant, shared by all its connections and doors, without a lock.
//! It knows no tenant's settings; the door gives the rate with every question.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use codecs::instant::Mono;
use dashmap::DashMap;

const SECOND_NANOS: u64 = 1_000_000_000;

/// The generic cell rate algorithm: all that is kept is the time at which the bucket would be full again.
/// A second's worth may come at once, so that a client that sends its allowance in one burst is served.
#[derive(Debug, Default)]
pub struct Bucket {
    full_at_nanos: AtomicU64,
}

impl Bucket {
    /// Takes one message's worth; `false` when the rate (messages a second, 0: no limit) does not allow it now.
    pub fn admit(&self, now: Mono, rate: u32) -> bool {
        self.admit_some(now, rate, 1) == 1
    }

    /// Takes what the rate allows of `wanted` messages and says how many that is.
    pub fn admit_some(&self, now: Mono, rate: u32, wanted: u32) -> u32 {
        if rate == 0 {
            return wanted;
        }
        let now = now.0.saturating_mul(1_000);
        let interval = interval(rate);
        let latest = now.saturating_add(SECOND_NANOS);
        let mut allowed = 0;
        let take = |full_at: u64| {
            let from = full_at.max(now);
            let room = latest.saturating_sub(from) / interval;
            allowed = u32::try_from(room).unwrap_or(u32::MAX).min(wanted);
            let taken = interval.saturating_mul(u64::from(allowed));
            (allowed > 0).then(|| from.saturating_add(taken))
        };
        let _ = self.full_at_nanos.fetch_update(Relaxed, Relaxed, take);
        allowed
    }

    /// Gives back what was taken at this rate for messages that turned out to be none.
    pub fn give_back(&self, rate: u32, messages: u32) {
        if rate == 0 {
            return;
        }
        let taken = interval(rate).saturating_mul(u64::from(messages));
        let untake = |full_at: u64| Some(full_at.saturating_sub(taken));
        let _ = self.full_at_nanos.fetch_update(Relaxed, Relaxed, untake);
    }
}

/// Rounded up: never more than the rate, which is not 0.
fn interval(rate: u32) -> u64 {
    SECOND_NANOS.div_ceil(u64::from(rate))
}

/// The buckets of all tenants that have come.
#[derive(Debug, Default)]
pub struct Admission {
    buckets: DashMap<u32, Arc<Bucket>>,
}

impl Admission {
    pub fn new() -> Arc<Admission> {
        Arc::default()
    }

    /// The bucket of a tenant; looked up once a connection or a request, not once a message.
    pub fn bucket(&self, tenant: u32) -> Arc<Bucket> {
        Arc::clone(self.buckets.entry(tenant).or_default().value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000)
    }

    #[test]
    fn a_second_of_messages_is_admitted_at_once_and_then_the_rate_holds() {
        let bucket = Bucket::default();
        assert_eq!(bucket.admit_some(second(100), 10, 25), 10);
        assert!(!bucket.admit(second(100), 10));
        assert!(bucket.admit(Mono(100_100_000), 10));
        assert!(!bucket.admit(Mono(100_100_000), 10));
        assert_eq!(bucket.admit_some(second(200), 10, 25), 10);
    }

    #[test]
    fn over_many_seconds_no_more_than_the_rate_is_admitted() {
        for rate in [1, 3, 1_000, 300_000] {
            let bucket = Bucket::default();
            let admitted: u64 = (0..10_000)
                .map(|tick| u64::from(bucket.admit_some(Mono(1 + tick * 1_000), rate, 1_000)))
                .sum();
            let allowed = u64::from(rate) * 11;
            assert!(admitted <= allowed + 1, "{rate}: {admitted}");
            assert!(admitted >= u64::from(rate) * 9, "{rate}: {admitted}");
        }
    }

    #[test]
    fn what_is_given_back_may_be_taken_again_and_no_more() {
        let bucket = Bucket::default();
        assert_eq!(bucket.admit_some(second(100), 10, 10), 10);
        bucket.give_back(10, 4);
        assert_eq!(bucket.admit_some(second(100), 10, 10), 4);
        bucket.give_back(10, 1_000);
        assert_eq!(bucket.admit_some(second(200), 10, 1_000), 10);
    }

    #[test]
    fn no_rate_is_no_limit() {
        let bucket = Bucket::default();
        bucket.give_back(0, 1);
        assert_eq!(bucket.admit_some(Mono(0), 0, u32::MAX), u32::MAX);
    }

    #[test]
    fn connections_of_a_tenant_share_one_bucket() {
        let admission = Admission::new();
        let (one, other) = (admission.bucket(7), admission.bucket(7));
        assert_eq!(one.admit_some(second(1), 2, 2), 2);
        assert!(!other.admit(second(1), 2));
        assert!(admission.bucket(8).admit(second(1), 2));
    }
}
