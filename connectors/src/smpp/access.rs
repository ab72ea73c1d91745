//! Who may bind: the question that the server asks of its surroundings, and the count of each tenant's binds.
//! It holds no passwords.

use std::net::IpAddr;
use std::sync::Arc;

use codecs::text::Encoding;
use dashmap::DashMap;

/// The directory of tenants. It is asked on a connection's task, so it must not wait for anything.
pub trait Authenticator: Send + Sync {
    /// Compares in constant time.
    fn authenticate(&self, system_id: &[u8], password: &[u8], from: IpAddr) -> Result<TenantAccess, Denied>;
}

/// What a tenant may do on a bind. It holds for as long as the bind does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantAccess {
    pub tenant: u32,
    /// Binds at once, over all addresses.
    pub max_binds: u32,
    /// Unanswered submissions on this bind, and unanswered deliveries up to 1,000.
    pub window: u32,
    /// Messages a second over all doors of the tenant; 0: no limit.
    pub rate: u32,
    /// What the tenant means by data_coding 0.
    pub charset: Encoding,
    /// How message ids are written for it.
    pub message_id: IdRadix,
}

/// How a tenant is given message ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdRadix {
    #[default]
    Dec,
    Hex,
}

/// Why a bind is refused. The peer is not told the difference between the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("wrong system_id or password")]
    Credentials,
    #[error("not from this address")]
    Address,
    #[error("not now")]
    Unavailable,
}

/// How many binds each tenant has.
#[derive(Debug, Default)]
pub struct Seats {
    taken: DashMap<u32, u32>,
}

/// One bind's place; given back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    tenant: u32,
}

impl Seats {
    pub fn new() -> Arc<Seats> {
        Arc::default()
    }

    /// `None` when the tenant has as many as it may.
    pub fn take(self: &Arc<Seats>, tenant: u32, max: u32) -> Option<Seat> {
        let mut taken = self.taken.entry(tenant).or_insert(0);
        if *taken >= max {
            return None;
        }
        *taken += 1;
        Some(Seat { seats: Arc::clone(self), tenant })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(mut taken) = self.seats.taken.get_mut(&self.tenant) {
            *taken = taken.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_so_many_seats_and_gets_them_back() {
        let seats = Seats::new();
        let first = seats.take(1, 2);
        let second = seats.take(1, 2);
        assert!(first.is_some() && second.is_some());
        assert!(seats.take(1, 2).is_none());
        assert!(seats.take(2, 2).is_some());
        drop(first);
        assert!(seats.take(1, 2).is_some());
        assert!(seats.take(1, 0).is_none());
    }
}
