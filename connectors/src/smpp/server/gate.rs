//! How many connections there may be, and which has to go when there are too many. Of those that are bound it only keeps count.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use crate::smpp::counters::ServerCounters;

pub struct Gate {
    connections_max: usize,
    unbound_max: usize,
    connections: AtomicUsize,
    strangers: Mutex<Strangers>,
    counters: Arc<ServerCounters>,
}

/// Connections that are not bound, the oldest first, each with what ends it, where it may be ended.
#[derive(Default)]
struct Strangers {
    next: u64,
    waiting: BTreeMap<u64, Option<AbortHandle>>,
}

/// One connection's place, given back when it is dropped.
pub struct Pass {
    gate: Arc<Gate>,
    number: u64,
    is_bound: bool,
}

impl Gate {
    pub fn new(connections_max: usize, unbound_max: usize, counters: Arc<ServerCounters>) -> Arc<Gate> {
        let (connections, strangers) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Gate { connections_max, unbound_max, connections, strangers, counters })
    }

    /// `None` when there are too many connections. Of those that are not bound the oldest has to go for the newest: who
    /// means to bind does so at once, and a crowd that stands there silent must keep nobody out.
    pub fn enter(self: &Arc<Gate>) -> Option<Pass> {
        let mut strangers = self.strangers();
        let has_room = strangers.waiting.len() < self.unbound_max || strangers.push_out();
        if !has_room || self.connections.load(Relaxed) >= self.connections_max {
            self.counters.turned_away.add(1);
            return None;
        }
        let number = strangers.next;
        strangers.next = number.wrapping_add(1);
        strangers.waiting.insert(number, None);
        self.connections.fetch_add(1, Relaxed);
        self.counters.connections.add(1);
        Some(Pass { gate: Arc::clone(self), number, is_bound: false })
    }

    /// From now on the connection with this number may be ended by `task`, as long as it is not bound.
    pub fn may_end(&self, number: u64, task: AbortHandle) {
        if let Some(end) = self.strangers().waiting.get_mut(&number) {
            *end = Some(task);
        }
    }

    fn strangers(&self) -> MutexGuard<'_, Strangers> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Strangers {
    /// Ends the oldest that may be ended; false when none may.
    fn push_out(&mut self) -> bool {
        let oldest = self.waiting.iter().find(|(_, task)| task.is_some()).map(|(number, _)| *number);
        let task = oldest.and_then(|number| self.waiting.remove(&number)).flatten();
        task.inspect(AbortHandle::abort).is_some()
    }
}

impl Pass {
    pub fn number(&self) -> u64 {
        self.number
    }

    /// False when the connection has been told to go: then its task ends where it waits next, and it must not be bound.
    #[must_use]
    pub fn bound(&mut self) -> bool {
        if !self.is_bound {
            self.is_bound = self.gate.strangers().waiting.remove(&self.number).is_some();
            self.gate.counters.bound.add(u64::from(self.is_bound));
        }
        self.is_bound
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.connections.fetch_sub(1, Relaxed);
        self.gate.counters.connections.subtract(1);
        if self.is_bound {
            self.gate.counters.bound.subtract(1);
        } else {
            self.gate.strangers().waiting.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(connections_max: usize, unbound_max: usize) -> (Arc<Gate>, Arc<ServerCounters>) {
        let counters = Arc::<ServerCounters>::default();
        (Gate::new(connections_max, unbound_max, Arc::clone(&counters)), counters)
    }

    #[test]
    fn both_bounds_hold_and_places_come_back() {
        let (gate, counters) = gate(3, 2);
        let mut first = gate.enter().unwrap();
        let second = gate.enter();
        assert!(second.is_some());
        assert!(gate.enter().is_none());
        assert!(first.bound());
        let third = gate.enter();
        assert!(third.is_some());
        drop(second);
        assert!(gate.enter().is_some());
        let fourth = gate.enter();
        assert!(fourth.is_some() && gate.enter().is_none());
        let snapshot = counters.snapshot();
        assert_eq!((snapshot.connections, snapshot.bound, snapshot.turned_away), (3, 1, 2));
    }

    #[tokio::test]
    async fn the_oldest_that_is_not_bound_goes_for_the_newest() {
        let (gate, counters) = gate(10, 2);
        let mut tasks = tokio::task::JoinSet::new();
        let mut passes: Vec<Pass> = (0..2).map(|_| gate.enter().unwrap()).collect();
        for pass in &passes {
            gate.may_end(pass.number(), tasks.spawn(std::future::pending::<()>()));
        }
        assert!(passes[0].bound(), "the oldest has bound, so the next is the oldest");
        let third = gate.enter();
        assert!(third.is_some());
        let fourth = gate.enter();
        assert!(fourth.is_some() && tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
        assert!(!passes[1].bound(), "who was told to go is not bound any more");
        assert!(gate.enter().is_none(), "nobody is left who may be ended");
        drop(passes);
        assert_eq!((counters.snapshot().bound, counters.snapshot().connections), (0, 2));
    }
}
