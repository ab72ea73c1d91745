//! The binds of each tenant: how many there are, how much waits for each to read it, and which has to go when there is too much or
//! another one comes. It closes none: each looks at its own seat in its turns.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use dashmap::DashMap;

use crate::link::Link;

/// Octets that wait for a peer that reads as they come; who has more is behind.
const BEHIND_OCTETS: usize = 64 * 1024;

/// The binds of all tenants, each tenant's in the order in which they came.
#[derive(Default)]
pub struct Seats {
    tenants: DashMap<u32, Vec<Arc<Place>>>,
}

/// One bind's place; given back when it is dropped.
pub struct Seat {
    seats: Arc<Seats>,
    tenant: u32,
    place: Arc<Place>,
}

#[derive(Default)]
struct Place {
    /// What waits for its peer.
    octets: AtomicUsize,
    /// It has to go: another bind has come in its place, or its peer does not read.
    is_superseded: AtomicBool,
    is_too_much: AtomicBool,
    /// By which its connection wakes up.
    link: OnceLock<Arc<Link>>,
}

/// Why a bind has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// Another one has taken its place.
    Superseded,
    /// Too much waits for the tenant's binds, and this is the oldest that does not read.
    TooMuch,
}

impl Place {
    fn leaving(&self) -> Option<Leaving> {
        match (self.is_too_much.load(Relaxed), self.is_superseded.load(Relaxed)) {
            (true, _) => Some(Leaving::TooMuch),
            (false, true) => Some(Leaving::Superseded),
            (false, false) => None,
        }
    }

    fn wake(&self) {
        if let Some(link) = self.link.get() {
            link.nudge();
        }
    }
}

impl Seats {
    pub fn new() -> Arc<Seats> {
        Arc::default()
    }

    /// A place for one more; where the tenant has as many as it may, none, or that of its oldest bind.
    pub fn take(self: &Arc<Seats>, tenant: u32, max: u32, oldest_leaves: bool) -> Option<Seat> {
        let mut places = self.tenants.entry(tenant).or_default();
        let mut staying = places.iter().filter(|place| place.leaving().is_none());
        if staying.clone().count() >= max as usize {
            let oldest = staying.next().filter(|_| oldest_leaves)?;
            oldest.is_superseded.store(true, Relaxed);
            oldest.wake();
        }
        let place = Arc::<Place>::default();
        places.push(Arc::clone(&place));
        Some(Seat { seats: Arc::clone(self), tenant, place })
    }
}

impl Seat {
    /// The connection looks at its seat when this is nudged.
    pub fn wakes(&self, link: &Arc<Link>) {
        let _ = self.place.link.set(Arc::clone(link));
    }

    pub fn leaving(&self) -> Option<Leaving> {
        self.place.leaving()
    }

    /// So much waits for the peer now. When it is too much for all binds of the tenant, the oldest that does not read has to go.
    pub fn waits(&self, octets: usize, tenant_octets_max: usize) {
        let before = self.place.octets.swap(octets, Relaxed);
        if octets <= before || octets < BEHIND_OCTETS {
            return;
        }
        let Some(places) = self.seats.tenants.get(&self.tenant) else { return };
        let staying = places.iter().filter(|place| place.leaving().is_none());
        let all = staying.clone().map(|place| place.octets.load(Relaxed)).fold(0, usize::saturating_add);
        if all <= tenant_octets_max {
            return;
        }
        let mut behind = staying.filter(|place| place.octets.load(Relaxed) >= BEHIND_OCTETS);
        if let Some(oldest) = behind.next() {
            oldest.is_too_much.store(true, Relaxed);
            oldest.wake();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(mut places) = self.seats.tenants.get_mut(&self.tenant) {
            places.retain(|place| !Arc::ptr_eq(place, &self.place));
        }
        self.seats.tenants.remove_if(&self.tenant, |_, places| places.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_so_many_seats_and_gets_them_back() {
        let seats = Seats::new();
        let first = seats.take(1, 2, false);
        let second = seats.take(1, 2, false);
        assert!(first.is_some() && second.is_some());
        assert!(seats.take(1, 2, false).is_none());
        assert!(seats.take(2, 2, false).is_some());
        drop(first);
        assert!(seats.take(1, 2, false).is_some());
        assert!(seats.take(1, 0, false).is_none());
    }

    #[test]
    fn the_oldest_makes_room_where_that_is_wanted() {
        let seats = Seats::new();
        let all: Vec<Seat> = (0..5).filter_map(|_| seats.take(1, 2, true)).collect();
        let leaving: Vec<Option<Leaving>> = all.iter().map(Seat::leaving).collect();
        let superseded = Some(Leaving::Superseded);
        assert_eq!(leaving, [superseded, superseded, superseded, None, None]);
        assert!(seats.take(2, 0, true).is_none(), "there is no oldest");
    }

    #[test]
    fn when_too_much_waits_the_oldest_that_does_not_read_goes_and_no_other_tenants() {
        const MAX: usize = 4 * BEHIND_OCTETS;
        let seats = Seats::new();
        let take = |tenant| seats.take(tenant, 10, false).unwrap();
        let (reads, slow, slower, other) = (take(1), take(1), take(1), take(2));
        reads.waits(100, MAX);
        other.waits(3 * BEHIND_OCTETS, MAX);
        slow.waits(2 * BEHIND_OCTETS, MAX);
        slower.waits(2 * BEHIND_OCTETS - 100, MAX);
        assert!([&reads, &slow, &slower, &other].iter().all(|seat| seat.leaving().is_none()));
        slower.waits(2 * BEHIND_OCTETS, MAX);
        assert_eq!((slow.leaving(), slower.leaving()), (Some(Leaving::TooMuch), None));
        // What waits for one that goes counts no more.
        slower.waits(3 * BEHIND_OCTETS, MAX);
        assert_eq!((reads.leaving(), slower.leaving(), other.leaving()), (None, None, None));
    }
}
