//! What the SMPP connectors count. Plain atomics, added to once a batch and read once a second by whoever publishes them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use engine::command::Refusal;

/// A number that only grows, or one that goes up and down.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub fn subtract(&self, count: u64) {
        self.0.fetch_sub(count, Relaxed);
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A struct of counters and its snapshot, with the same names.
macro_rules! counters {
    ($(#[$about:meta])* $name:ident, $snapshot:ident { $($(#[$doc:meta])* $field:ident,)* }) => {
        $(#[$about])*
        #[derive(Debug, Default)]
        pub struct $name { $($(#[$doc])* pub $field: Counter,)* }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $snapshot { $($(#[$doc])* pub $field: u64,)* }

        impl $name {
            pub fn snapshot(&self) -> $snapshot {
                $snapshot { $($field: self.$field.get(),)* }
            }
        }
    };
}

counters! {
    /// What the server counts, over all tenants.
    ServerCounters, ServerSnapshot {
        /// Connections that are open now.
        connections,
        /// Of these, bound ones.
        bound,
        /// Connections that were not let in because there were too many of them.
        turned_away,
        /// Connections without a bind that were ended for newer ones because there were too many.
        pushed_out,
        /// Connections without the PROXY header or the TLS that they had to begin with.
        not_entered,
        /// accept failed: mostly too many open files.
        accept_failures,
        binds_accepted,
        /// For whatever reason.
        binds_refused,
        /// Of these, for a wrong system_id or password.
        wrong_passwords,
        /// Binds that were not looked at after too many wrong passwords.
        locked_out,
        /// submit_sm and data_sm that came.
        submits,
        /// PDUs that could not be read, unknown commands, commands in the wrong state, and lost streams.
        malformed,
        /// TLVs of a wrong length, out of range, come twice or cut off; their messages were taken.
        odd_tlvs,
        /// Responses to nothing that is waited for; they are passed over.
        responses_unmatched,
        /// deliver_sm that were answered in time.
        deliveries_answered,
        /// deliver_sm that were not answered in time.
        deliveries_unanswered,
        /// Connections closed because the peer did not read.
        slow_readers,
    }
}

counters! {
    /// What one bind to a provider counts.
    BindCounters, BindSnapshot {
        /// 1 while it is bound.
        up,
        /// submit_sm without a response.
        in_flight,
        /// Times that it was bound.
        binds,
        /// Attempts that failed, and sessions that ended, other than by us.
        failures,
        /// Binds that the provider refused.
        refused,
        submitted,
        responses,
        /// submit_sm without a response in time.
        unanswered,
        /// Responses that came after that.
        late_responses,
        receipts,
        /// Messages from phones, and parts of such.
        mobile_originated,
        /// alert_notification: phones that are there again.
        alerts,
        /// PDUs that could not be read, unknown commands, and lost streams.
        malformed,
        /// TLVs of a wrong length, out of range, come twice or cut off; their messages were taken.
        odd_tlvs,
        /// Responses to nothing that is waited for; they are passed over.
        responses_unmatched,
    }
}

/// Submissions that the SMPP door refused by itself, by reason. What the engine refuses is counted there.
#[derive(Debug, Default)]
pub struct RefusalCounters([Counter; Refusal::NUMBERS]);

impl RefusalCounters {
    pub fn add(&self, refusal: Refusal) {
        if let Some(counter) = self.0.get(refusal as usize) {
            counter.add(1);
        }
    }

    pub fn snapshot(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        Refusal::ALL.into_iter().map(|refusal| (refusal, self.0[refusal as usize].get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_holds_what_was_counted() {
        let counters = ServerCounters::default();
        counters.submits.add(3);
        counters.bound.add(2);
        counters.bound.subtract(1);
        let expected = ServerSnapshot { submits: 3, bound: 1, ..ServerSnapshot::default() };
        assert_eq!(counters.snapshot(), expected);
    }

    #[test]
    fn each_reason_has_its_own_counter() {
        let refusals = RefusalCounters::default();
        for refusal in Refusal::ALL {
            refusals.add(refusal);
        }
        refusals.add(Refusal::NoRoute);
        for (refusal, count) in refusals.snapshot() {
            assert_eq!(count, if refusal == Refusal::NoRoute { 2 } else { 1 }, "{refusal:?}");
        }
    }
}
