//! The way out to a connection: what a group has for it waits here until its task takes it, all at once.
//! It does not know what the octets mean.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::{DashMap, Entry};
use engine::command::ConnectionId;
use engine::effect::Outgoing;
use tokio::sync::Notify;

/// One connection's outgoing work.
#[derive(Default)]
pub struct Link {
    outgoing: Mutex<Outgoing>,
    ready: Notify,
}

impl Link {
    /// Waits until something was released since the last `take`; it may return without. Cancel safe.
    pub async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Takes all that was released.
    pub fn take(&self) -> Outgoing {
        std::mem::take(&mut *self.lock())
    }

    /// Wakes whoever waits, though nothing was released.
    pub fn nudge(&self) {
        self.ready.notify_one();
    }

    fn release(&self, outgoing: Outgoing) {
        self.lock().append(outgoing);
        self.ready.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The living connections of the process by number.
#[derive(Default)]
pub struct Links {
    last: AtomicU32,
    table: DashMap<ConnectionId, Arc<Link>>,
}

impl Links {
    pub fn new() -> Arc<Links> {
        Arc::default()
    }

    pub fn open(&self) -> (ConnectionId, Arc<Link>) {
        let link = Arc::new(Link::default());
        loop {
            // Ids come round some day, and one that is still in use is not given to another connection.
            let id = ConnectionId(self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
            if let Entry::Vacant(place) = self.table.entry(id) {
                place.insert(Arc::clone(&link));
                return (id, link);
            }
        }
    }

    pub fn close(&self, id: ConnectionId) {
        self.table.remove(&id);
    }

    /// Hands a group's work to its connection; one that is gone has said so and needs nothing.
    pub fn release(&self, id: ConnectionId, outgoing: Outgoing) {
        let link = self.table.get(&id).map(|entry| Arc::clone(entry.value()));
        if let Some(link) = link {
            link.release(outgoing);
        }
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use engine::effect::Request;

    use super::*;

    fn request(token: u64, body: &[u8]) -> Outgoing {
        Outgoing {
            requests: vec![Request { token, end: body.len() as u32 }],
            bodies: body.to_vec(),
            ..Outgoing::default()
        }
    }

    #[test]
    fn what_was_released_is_taken_at_once_and_in_order() {
        let links = Links::new();
        let (id, link) = links.open();
        links.release(id, request(1, b"one"));
        links.release(id, request(2, b"three"));
        let outgoing = link.take();
        assert_eq!(outgoing.requests, [Request { token: 1, end: 3 }, Request { token: 2, end: 8 }]);
        assert_eq!(outgoing.bodies, b"onethree");
        assert!(link.take().is_empty());
    }

    #[test]
    fn ids_that_come_round_are_given_to_nobody_while_they_are_in_use() {
        let links = Links::new();
        let (first, _) = links.open();
        links.last.store(u32::MAX - 1, Ordering::Relaxed);
        let ids: Vec<u32> = (0..3).map(|_| links.open().0.0).collect();
        assert_eq!((first.0, ids), (1, vec![u32::MAX, 0, 2]));
    }

    #[test]
    fn a_release_before_the_wait_is_not_missed() {
        let links = Links::new();
        let (id, link) = links.open();
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(link.ready()).poll(&mut context).is_pending());
        links.release(id, request(1, b"one"));
        assert!(pin!(link.ready()).poll(&mut context).is_ready());
        assert!(pin!(link.ready()).poll(&mut context).is_pending());
    }

    #[test]
    fn numbers_are_not_used_again_and_what_is_for_a_closed_one_is_dropped() {
        let links = Links::new();
        let (first, link) = links.open();
        links.close(first);
        links.release(first, request(1, b"one"));
        assert!(link.take().is_empty());
        assert!(links.is_empty());
        let (second, _) = links.open();
        assert_ne!(first, second);
        assert_eq!(links.len(), 1);
    }
}
