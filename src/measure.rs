//! What the commit loop measures of itself, and the engine's counts, put together for `/metrics` once a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use codecs::instant::Mono;
use storage::journal::Sizes;

use crate::metrics::{Distribution, ProviderSnapshot, Snapshot};

const SECONDS_BOUNDS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
const MESSAGES_BOUNDS: [f64; 10] =
    [1.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 5_000.0, 10_000.0, 20_000.0, 50_000.0];
/// How often the journal's files are measured.
const SIZES_EVERY: Duration = Duration::from_secs(1);

/// A histogram over fixed bounds, filled by one thread.
struct Tally {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
}

impl Tally {
    fn new(bounds: &'static [f64]) -> Tally {
        Tally { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    fn add(&mut self, value: f64, count: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket] += count;
        self.sum += value * count as f64;
    }

    fn distribution(&self) -> Distribution {
        let buckets = self.bounds.iter().copied().zip(self.counts.iter().copied()).collect();
        Distribution { buckets, beyond: self.counts[self.bounds.len()], sum: self.sum }
    }
}

struct Inner {
    accept: Tally,
    group: Tally,
    flush: Tally,
    commit: Tally,
    /// Octets of all groups, as they were given to the journal.
    appended: u64,
    sizes: Sizes,
    sized: Option<Instant>,
    engine: engine::Snapshot,
}

/// One partition's measures. Locked once a group.
pub struct Measures {
    inner: Mutex<Inner>,
    durable: bool,
}

impl Measures {
    /// `durable`: answers wait for the disk.
    pub fn new(durable: bool) -> Measures {
        let inner = Inner {
            accept: Tally::new(&SECONDS_BOUNDS),
            group: Tally::new(&MESSAGES_BOUNDS),
            flush: Tally::new(&SECONDS_BOUNDS),
            commit: Tally::new(&SECONDS_BOUNDS),
            appended: 0,
            sizes: Sizes::default(),
            sized: None,
            engine: engine::Snapshot::default(),
        };
        Measures { inner: Mutex::new(inner), durable }
    }

    /// A group of so many submissions and octets was flushed; `since` it was decided.
    pub fn group(&self, messages: u64, octets: usize, flush: Duration, since: Duration) {
        let mut inner = self.lock();
        inner.appended += octets as u64;
        inner.group.add(messages as f64, 1);
        inner.flush.add(flush.as_secs_f64(), 1);
        inner.commit.add(since.as_secs_f64(), 1);
    }

    /// The journal's sizes, asked for at most once a second.
    pub fn journal(&self, sizes: impl FnOnce() -> Sizes) {
        let mut inner = self.lock();
        if inner.sized.is_none_or(|sized| sized.elapsed() >= SIZES_EVERY) {
            inner.sizes = sizes();
            inner.sized = Some(Instant::now());
        }
    }

    /// Submissions that were received then are answered now.
    pub fn accepted(&self, now: Mono, received: &[(Mono, u32)]) {
        let mut inner = self.lock();
        for (then, count) in received {
            inner.accept.add(now.since(*then).as_secs_f64(), u64::from(*count));
        }
    }

    /// The engine as it is now.
    pub fn see(&self, engine: engine::Snapshot) {
        let before = std::mem::replace(&mut self.lock().engine, engine.clone()).clock;
        if engine.clock.0 > before.0 {
            tracing::error!(
                "the system's clock has jumped by more than a minute; it is believed if that lasts 5 minutes"
            );
        } else if before.1 && !engine.clock.1 {
            tracing::warn!("the system's clock is believed again");
        }
    }

    /// All of it, as `/metrics` shows it, but for what the connectors count.
    pub fn snapshot(&self) -> Snapshot {
        let inner = self.lock();
        let engine = &inner.engine;
        let counters = &engine.counters;
        let providers = engine.providers.iter().zip(&counters.providers);
        Snapshot {
            accepted: counters.accepted,
            refused: counters.refused,
            unmatched: counters.unmatched,
            repeated: counters.repeated,
            inbound_unrouted: counters.inbound_unrouted,
            inbound_incomplete: counters.inbound_incomplete,
            inbound_duplicates: counters.inbound_repeated,
            kept_dropped: counters.kept_dropped,
            late_responses: counters.late_responses,
            told: counters.told,
            tellings_refused: counters.tellings_refused,
            dropped: counters.dropped,
            operations: counters.operations,
            resent_in_doubt: counters.resent_in_doubt,
            expired_in_doubt: counters.expired_in_doubt,
            untold: engine.untold,
            parked: engine.parked,
            providers: providers.map(|(seen, counts)| provider(seen, counts)).collect(),
            queue_oldest: engine.queue_oldest,
            accept_seconds: inner.accept.distribution(),
            group_messages: inner.group.distribution(),
            flush_seconds: inner.flush.distribution(),
            journal_bytes: inner.sizes.bytes_live,
            journal_appended: inner.appended,
            durable: self.durable,
            blob_files: inner.sizes.blob_files,
            clock_jumps: engine.clock.0,
            clock_doubted: engine.clock.1,
            wall: engine.wall,
            server: Default::default(),
            living_from: engine.living_from,
            archive_damaged: 0,
            credit_reserved: engine.reserved.clone(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn provider(
    seen: &engine::ProviderSnapshot,
    counts: &engine::counters::ProviderCounters,
) -> ProviderSnapshot {
    ProviderSnapshot {
        id: seen.id.clone(),
        submitted: counts.submitted,
        outcomes: counts.outcomes,
        receipts: counts.receipts,
        throttled: counts.throttled,
        asked: counts.asked,
        inbound: counts.inbound,
        queue_depth: seen.queued,
        rate: f64::from(seen.rate),
        submit_seconds: Distribution::of_millis(&counts.submit_millis),
        receipt_seconds: Distribution::of_millis(&counts.receipt_millis),
        ..ProviderSnapshot::default()
    }
}
