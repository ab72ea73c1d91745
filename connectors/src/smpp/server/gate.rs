//! How many connections there may be. It counts; it knows none of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::smpp::counters::ServerCounters;

pub struct Gate {
    connections_max: usize,
    unbound_max: usize,
    connections: AtomicUsize,
    unbound: AtomicUsize,
    counters: Arc<ServerCounters>,
}

/// One connection's place, given back when it is dropped.
pub struct Pass {
    gate: Arc<Gate>,
    is_bound: bool,
}

impl Gate {
    pub fn new(connections_max: usize, unbound_max: usize, counters: Arc<ServerCounters>) -> Arc<Gate> {
        Arc::new(Gate {
            connections_max,
            unbound_max,
            connections: AtomicUsize::new(0),
            unbound: AtomicUsize::new(0),
            counters,
        })
    }

    /// `None` when there are too many connections, or too many that are not bound.
    pub fn enter(self: &Arc<Gate>) -> Option<Pass> {
        let pass = Pass { gate: Arc::clone(self), is_bound: false };
        let connections = self.connections.fetch_add(1, Relaxed);
        let unbound = self.unbound.fetch_add(1, Relaxed);
        self.counters.connections.add(1);
        if connections >= self.connections_max || unbound >= self.unbound_max {
            self.counters.turned_away.add(1);
            return None;
        }
        Some(pass)
    }
}

impl Pass {
    pub fn bound(&mut self) {
        if !self.is_bound {
            self.is_bound = true;
            self.gate.unbound.fetch_sub(1, Relaxed);
            self.gate.counters.bound.add(1);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.connections.fetch_sub(1, Relaxed);
        self.gate.counters.connections.subtract(1);
        if self.is_bound {
            self.gate.counters.bound.subtract(1);
        } else {
            self.gate.unbound.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_hold_and_places_come_back() {
        let counters = Arc::<ServerCounters>::default();
        let gate = Gate::new(3, 2, Arc::clone(&counters));
        let mut first = gate.enter().unwrap();
        let second = gate.enter();
        assert!(second.is_some());
        assert!(gate.enter().is_none());
        first.bound();
        let third = gate.enter();
        assert!(third.is_some());
        drop(second);
        assert!(gate.enter().is_some());
        let fourth = gate.enter();
        assert!(fourth.is_some() && gate.enter().is_none());
        let snapshot = counters.snapshot();
        assert_eq!((snapshot.connections, snapshot.bound, snapshot.turned_away), (3, 1, 2));
    }
}
