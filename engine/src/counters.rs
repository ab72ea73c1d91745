//! Plain counts of what the engine did, gathered by its one thread and read once a second. It publishes nothing.

use crate::command::Refusal;
use crate::message::State;

/// Upper bounds of the time histograms, in milliseconds; the last bucket has none.
pub const MILLIS_BOUNDS: [u64; 14] =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 30_000, 300_000, 3_600_000];

/// Counts by upper bound, and the sum of what was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    pub buckets: [u64; MILLIS_BOUNDS.len() + 1],
    pub sum_millis: u64,
}

impl Histogram {
    pub fn add(&mut self, millis: i64) {
        let millis = u64::try_from(millis).unwrap_or(0);
        let bucket = MILLIS_BOUNDS.partition_point(|bound| *bound < millis);
        self.buckets[bucket] += 1;
        // What a wrong clock makes of a time is not to stop the process.
        self.sum_millis = self.sum_millis.saturating_add(millis);
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderCounters {
    /// Parts handed to its binds.
    pub submitted: u64,
    /// Messages that reached a state, by `State as usize`.
    pub outcomes: [u64; State::ALL.len()],
    /// Receipts by message_state.
    pub receipts: [u64; 10],
    pub throttled: u64,
    /// Questions by query_sm.
    pub asked: u64,
    /// Messages from phones.
    pub inbound: u64,
    /// Intent to response.
    pub submit_millis: Histogram,
    /// Response to final receipt.
    pub receipt_millis: Histogram,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub accepted: u64,
    /// By `Refusal as usize`.
    pub refused: [u64; Refusal::NUMBERS],
    /// Receipts that found no message within the wait for an early one.
    pub unmatched: u64,
    /// Receipts that changed nothing: the message had its final state.
    pub repeated: u64,
    /// Responses for messages that are no longer in memory.
    pub late_responses: u64,
    /// Receipts handed to tenants and acknowledged.
    pub told: u64,
    /// Receipts that tenants refused for now.
    pub tellings_refused: u64,
    /// Receipts dropped untold after their time.
    pub dropped: u64,
    /// Operations of tenants by `AskKind`: done, and not done.
    pub operations: [[u64; 2]; 3],
    /// Messages that got another text.
    pub replaced: u64,
    /// Messages from phones for which no rule names a tenant, those of which parts never came, and PDUs that came again.
    pub inbound_unrouted: u64,
    pub inbound_incomplete: u64,
    pub inbound_repeated: u64,
    /// What the operator was to be shown and there was no room for any more.
    pub kept_dropped: u64,
    /// Messages queued again although the provider may have them.
    pub resent_in_doubt: u64,
    /// Messages that expired although a provider may have had them.
    pub expired_in_doubt: u64,
    pub providers: Vec<ProviderCounters>,
}
