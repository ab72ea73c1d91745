//! How many connections there may be, and which has to go when there are too many. Of those that are known it only keeps count.
//! Where nobody is known for good, as over HTTP, a connection says by and by when it works and when it rests.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use super::counters::ServerCounters;
use super::lockout::network;

pub struct Gate {
    connections_max: usize,
    unbound_max: usize,
    connections: AtomicUsize,
    strangers: Mutex<Strangers>,
    counters: Arc<ServerCounters>,
}

/// Connections that are not bound, the oldest first.
#[derive(Default)]
struct Strangers {
    next: u64,
    waiting: BTreeMap<u64, Stranger>,
    /// How many wait of each network.
    crowds: HashMap<u64, usize>,
}

struct Stranger {
    network: u64,
    /// What ends it, where it may be ended.
    end: Option<AbortHandle>,
    /// A request of it is being read or answered.
    is_working: bool,
    /// Its place in the order in which connections came, or last began to work or to rest.
    since: u64,
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

    /// `None` when there are too many connections. Of those that are not bound the oldest of the network that has most of them
    /// has to go for the newest: who means to bind does so at once, and a crowd that stands there silent must keep nobody out.
    /// One that works goes only where none rests that may, and only for a network that has fewer connections.
    pub fn enter(self: &Arc<Gate>, from: IpAddr) -> Option<Pass> {
        let network = network(from);
        let mut strangers = self.strangers();
        let has_room = strangers.waiting.len() < self.unbound_max
            && self.connections.load(Relaxed) < self.connections_max;
        if !has_room {
            if !strangers.push_out(network) {
                self.counters.turned_away.add(1);
                return None;
            }
            // Its place is free from now on, not only when its task has ended.
            self.counters.pushed_out.add(1);
            self.leave();
        }
        let number = strangers.add(network);
        self.connections.fetch_add(1, Relaxed);
        self.counters.connections.add(1);
        Some(Pass { gate: Arc::clone(self), number, is_bound: false })
    }

    /// From now on the connection with this number may be ended by `task`, as long as it is not bound.
    pub fn may_end(&self, number: u64, task: AbortHandle) {
        if let Some(stranger) = self.strangers().waiting.get_mut(&number) {
            stranger.end = Some(task);
        }
    }

    fn leave(&self) {
        self.connections.fetch_sub(1, Relaxed);
        self.counters.connections.subtract(1);
    }

    fn strangers(&self) -> MutexGuard<'_, Strangers> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Strangers {
    fn add(&mut self, network: u64) -> u64 {
        let number = self.next();
        self.waiting.insert(number, Stranger { network, end: None, is_working: false, since: number });
        *self.crowds.entry(network).or_default() += 1;
        number
    }

    fn next(&mut self) -> u64 {
        let next = self.next;
        self.next = next.wrapping_add(1);
        next
    }

    /// False when the connection has been told to go.
    fn turn(&mut self, number: u64, is_working: bool) -> bool {
        let since = self.next();
        let Some(stranger) = self.waiting.get_mut(&number) else { return false };
        (stranger.is_working, stranger.since) = (is_working, since);
        true
    }

    fn remove(&mut self, number: u64) -> Option<Stranger> {
        let stranger = self.waiting.remove(&number)?;
        if let Some(crowd) = self.crowds.get_mut(&stranger.network) {
            *crowd = crowd.saturating_sub(1);
            if *crowd == 0 {
                self.crowds.remove(&stranger.network);
            }
        }
        Some(stranger)
    }

    /// Ends, for one of this network, the oldest of the largest crowd that may be ended; false when none may. A network makes
    /// room for none that has more connections than it, so that nobody gains by coming with many.
    fn push_out(&mut self, newcomer: u64) -> bool {
        let crowd = |network| self.crowds.get(&network).copied().unwrap_or_default();
        let own = crowd(newcomer);
        let choice = |(number, stranger): (&u64, &Stranger)| {
            let crowd = crowd(stranger.network);
            let least = if stranger.is_working { own.saturating_add(2) } else { own };
            let may_go = stranger.end.is_some() && crowd >= least;
            may_go.then_some((!stranger.is_working, crowd, Reverse(stranger.since), *number))
        };
        let Some((.., number)) = self.waiting.iter().filter_map(choice).max() else { return false };
        let task = self.remove(number).and_then(|stranger| stranger.end);
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
            self.is_bound = self.gate.strangers().remove(self.number).is_some();
            self.gate.counters.bound.add(u64::from(self.is_bound));
        }
        self.is_bound
    }

    /// A request has come over a connection that is never bound. False when it has been told to go: then its task ends where
    /// it waits next, and the request must not be begun.
    #[must_use]
    pub fn works(&self) -> bool {
        self.gate.strangers().turn(self.number, true)
    }

    /// The request is answered.
    pub fn rests(&self) {
        self.gate.strangers().turn(self.number, false);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.is_bound {
            self.gate.counters.bound.subtract(1);
            self.gate.leave();
        } else if self.gate.strangers().remove(self.number).is_some() {
            // Who was pushed out has left already.
            self.gate.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn gate(connections_max: usize, unbound_max: usize) -> (Arc<Gate>, Arc<ServerCounters>) {
        let counters = Arc::<ServerCounters>::default();
        (Gate::new(connections_max, unbound_max, Arc::clone(&counters)), counters)
    }

    #[test]
    fn both_bounds_hold_and_places_come_back() {
        let (gate, counters) = gate(3, 2);
        let mut first = gate.enter(HERE).unwrap();
        let second = gate.enter(HERE);
        assert!(second.is_some());
        assert!(gate.enter(HERE).is_none());
        assert!(first.bound());
        let third = gate.enter(HERE);
        assert!(third.is_some());
        drop(second);
        assert!(gate.enter(HERE).is_some());
        let fourth = gate.enter(HERE);
        assert!(fourth.is_some() && gate.enter(HERE).is_none());
        let snapshot = counters.snapshot();
        assert_eq!((snapshot.connections, snapshot.bound, snapshot.turned_away), (3, 1, 2));
    }

    #[tokio::test]
    async fn the_oldest_that_is_not_bound_goes_for_the_newest() {
        let (gate, counters) = gate(10, 2);
        let mut tasks = tokio::task::JoinSet::new();
        let mut passes: Vec<Pass> = (0..2).map(|_| gate.enter(HERE).unwrap()).collect();
        for pass in &passes {
            gate.may_end(pass.number(), tasks.spawn(std::future::pending::<()>()));
        }
        assert!(passes[0].bound(), "the oldest has bound, so the next is the oldest");
        let third = gate.enter(HERE);
        assert!(third.is_some());
        let fourth = gate.enter(HERE);
        assert!(fourth.is_some() && tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
        assert!(!passes[1].bound(), "who was told to go is not bound any more");
        assert!(gate.enter(HERE).is_none(), "nobody is left who may be ended");
        drop(passes);
        assert_eq!((counters.snapshot().bound, counters.snapshot().connections), (0, 2));
    }

    /// Connections from these addresses that may be ended, and their tasks.
    fn crowd(
        gate: &Arc<Gate>,
        from: impl IntoIterator<Item = IpAddr>,
    ) -> Vec<(Pass, tokio::task::JoinHandle<()>)> {
        let enter = |from| {
            let pass = gate.enter(from).unwrap();
            let task = tokio::spawn(std::future::pending());
            gate.may_end(pass.number(), task.abort_handle());
            (pass, task)
        };
        from.into_iter().map(enter).collect()
    }

    #[tokio::test]
    async fn who_comes_with_many_makes_room_and_not_who_came_first() {
        // Who owns one IPv6 address owns its /64.
        let many = |host: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host));
        for flood in [vec![HERE; 20], (0..20).map(many).collect()] {
            let (gate, counters) = gate(10, 3);
            let mut quiet = crowd(&gate, [THERE]);
            let flooded = crowd(&gate, flood);
            assert!(quiet[0].0.bound(), "the only one of its address stays");
            assert_eq!((counters.snapshot().pushed_out, counters.snapshot().connections), (18, 3));
            drop(flooded);
        }
    }

    #[tokio::test]
    async fn nobody_is_pushed_out_in_vain() {
        let (gate, counters) = gate(3, 2);
        let mut passes = crowd(&gate, [HERE; 2]);
        assert!(passes[0].0.bound() && passes[1].0.bound());
        let mut strangers = crowd(&gate, [HERE]);
        // All three places are taken: the one that is not bound makes room, and its place counts as free at once.
        let newest = crowd(&gate, [THERE]);
        assert_eq!((counters.snapshot().pushed_out, counters.snapshot().connections), (1, 3));
        assert!(!strangers[0].0.bound());
        drop(strangers);
        assert_eq!(counters.snapshot().connections, 3);
        drop(newest);
        let mut last = crowd(&gate, [HERE]);
        assert!(last[0].0.bound());
        assert!(gate.enter(THERE).is_none(), "everybody is bound");
        assert_eq!((counters.snapshot().pushed_out, counters.snapshot().turned_away), (1, 1));
    }
    #[tokio::test]
    async fn who_rests_goes_first_the_longest_rested_of_the_largest_crowd() {
        let (gate, counters) = gate(4, 4);
        let passes = crowd(&gate, [THERE, HERE, HERE, HERE]);
        for place in [0, 3, 1] {
            assert!(passes[place].0.works());
            passes[place].0.rests();
        }
        assert!(passes[2].0.works(), "the first of its crowd works");
        let newest = crowd(&gate, [THERE]);
        let stays = [0, 1, 2, 3].map(|place| passes[place].0.works());
        assert_eq!(stays, [true, true, true, false], "that which rested before the other one of its crowd");
        assert!(newest[0].0.works() && counters.snapshot().pushed_out == 1);
    }

    #[tokio::test]
    async fn who_works_goes_for_a_network_that_has_fewer_and_for_no_other() {
        let (gate, counters) = gate(4, 4);
        let crowded = crowd(&gate, [HERE; 4]);
        assert!(crowded.iter().rev().all(|(pass, _)| pass.works()));
        assert!(gate.enter(HERE).is_none(), "its own crowd is cut off in no request");
        let quiet = crowd(&gate, [THERE]);
        assert!(!crowded[3].0.works(), "that which had worked longest");
        assert!(gate.enter(HERE).is_none(), "nor does who came with few go for a crowd, though it rests");
        assert!(quiet[0].0.works());
        let second = crowd(&gate, [THERE]);
        assert!(
            second[0].0.works() && gate.enter(THERE).is_none(),
            "with as many as the other one nobody gains"
        );
        assert_eq!((counters.snapshot().pushed_out, counters.snapshot().turned_away), (2, 3));
    }
}
