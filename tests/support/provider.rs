//! A simulated provider in the test's own process, so that its record outlives every gateway.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use loadtest::smsc::{Accepted, Counts, Handle, Profile, Simulator};
use tokio::runtime::Runtime;

/// One runtime for all simulators of the process.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    })
}

/// It is shut down when it is dropped.
pub struct Provider {
    handle: Handle,
}

impl Provider {
    /// Without faults; it keeps what messages say.
    pub fn start() -> Provider {
        Provider::with(Profile::default())
    }

    pub fn with(profile: Profile) -> Provider {
        Provider::at(SocketAddr::from(([127, 0, 0, 1], 0)), profile)
    }

    pub fn at(address: SocketAddr, profile: Profile) -> Provider {
        let profile = Profile { record_bodies: true, ..profile };
        let start = async { Simulator::bind(address, profile).await.map(Simulator::spawn) };
        Provider { handle: runtime().block_on(start).unwrap() }
    }

    pub fn address(&self) -> SocketAddr {
        self.handle.address()
    }

    pub fn counts(&self) -> Counts {
        self.handle.counts()
    }

    /// What it has accepted, in order.
    pub fn accepted(&self) -> Vec<Accepted> {
        self.handle.record().entries()
    }

    /// What it has accepted for one destination, in order.
    pub fn of(&self, destination: u64) -> Vec<Accepted> {
        self.handle.record().of(destination)
    }

    pub fn doubled(&self) -> Vec<u64> {
        self.handle.record().doubled()
    }

    /// It behaves differently from now on.
    pub fn become_like(&self, profile: Profile) {
        self.handle.set_profile(Profile { record_bodies: true, ..profile }).unwrap();
    }

    pub fn drop_connections(&self) {
        self.handle.drop_connections();
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let shutdown = async { tokio::time::timeout(Duration::from_secs(5), self.handle.shutdown()).await };
        let _ = runtime().block_on(shutdown);
    }
}
