//! File descriptors: how many the system grants this process, and how many of them strangers may take. What they cannot take is for the store,
//! the binds and the logs: a disk that cannot be written ends the process, and so does a database that cannot be opened.

use std::fs;

use config::Config;
use connectors::smpp::client::OUTBIND_CONNECTIONS_MAX;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Connections at once where there are descriptors enough; each costs one and some buffers.
const WANTED: Caps = Caps { http: 4_096, operations: 64, smpp: 10_000, unbound: 1_000 };
/// For databases that are opened while it runs, segments of the journal, resolvers, files that are written anew, and connections that are
/// accepted before another is closed for them.
const SPARE: usize = 128;
/// A pair of sessions.
const OF_A_BIND: usize = 2;
/// Where no list of what is open can be had.
const OPEN_UNKNOWN: usize = 64;
/// However few there are, a door takes some.
const LEAST: usize = 4;

/// How many connections each door takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    pub http: usize,
    pub operations: usize,
    /// At all SMPP doors together, and of them those that are not bound.
    pub smpp: usize,
    pub unbound: usize,
}

/// Takes as many as the system lets this process have: each connection costs one.
pub fn raise() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// What the doors may take of what is granted, once the store is open; says where that is less than they would.
pub fn caps(config: &Config) -> Caps {
    // None is no limit.
    let granted = getrlimit(Resource::Nofile).current;
    let granted = granted.map_or(usize::MAX, |granted| usize::try_from(granted).unwrap_or(usize::MAX));
    let is_open = fs::read_dir("/dev/fd").map_or(OPEN_UNKNOWN, Iterator::count);
    let reserved = is_open + SPARE + of_providers(config);
    let caps = share(granted, reserved);
    if caps != WANTED {
        tracing::warn!(
            granted,
            reserved,
            needed = reserved + WANTED.all(),
            http_connections = caps.http,
            smpp_connections = caps.smpp,
            "the limit of open files is low: fewer connections are taken than could be"
        );
    }
    caps
}

/// For their sessions, and for who comes where they say outbind.
fn of_providers(config: &Config) -> usize {
    let providers = config.provider.iter().filter(|provider| provider.enabled);
    let each = providers.map(|provider| {
        let outbind = provider.reach.outbind.as_ref().map_or(0, |_| OUTBIND_CONNECTIONS_MAX);
        provider.binds as usize * OF_A_BIND + outbind
    });
    each.sum()
}

/// What is not reserved, by what each door wants; a quarter of all where the reserve would leave less.
fn share(granted: usize, reserved: usize) -> Caps {
    let left = granted.saturating_sub(reserved).max(granted / 4);
    if left >= WANTED.all() {
        return WANTED;
    }
    let operations = WANTED.operations.min(left / 8).max(LEAST);
    let doors = left.saturating_sub(operations);
    let http = (doors * WANTED.http / (WANTED.http + WANTED.smpp)).max(LEAST);
    let smpp = doors.saturating_sub(http).max(LEAST);
    Caps { http, operations, smpp, unbound: WANTED.unbound.min(smpp) }
}

impl Caps {
    fn all(&self) -> usize {
        self.http + self.operations + self.smpp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_take_what_they_want_or_share_what_is_not_reserved() {
        for granted in [usize::MAX, 1 << 20, WANTED.all() + 300] {
            assert_eq!(share(granted, 300), WANTED, "{granted}");
        }
        for granted in [WANTED.all() + 299, 4_096, 1_024, 512] {
            let caps = share(granted, 300);
            assert_eq!(caps.all(), granted - 300, "{granted}: {caps:?}");
            assert!(caps.unbound <= caps.smpp && caps.http < caps.smpp && caps.operations <= 64, "{caps:?}");
        }
        // Too few for all, as it may be.
        for granted in [256, 64] {
            let caps = share(granted, 300);
            assert_eq!(caps.all(), granted / 4, "{granted}: {caps:?}");
            assert!(caps.http >= LEAST && caps.smpp >= LEAST && caps.operations >= LEAST, "{caps:?}");
        }
    }
}
