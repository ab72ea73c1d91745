//! Where lock-outs are kept over a restart: a small file each for those of tenants and those of outbind, written within a second of a
//! change. What they are is the SMPP connectors'. Losing them costs an attacker's patience and nothing else, so no file is forced to the disk.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use connectors::clock::Clock;
use connectors::smpp::lockout::Lockout;

#[derive(Clone)]
pub struct Lockouts {
    path: PathBuf,
    lockout: Arc<Lockout>,
    clock: Clock,
}

impl Lockouts {
    /// With what the process before has kept.
    pub fn restore(path: PathBuf, lockout: Arc<Lockout>, clock: Clock) -> Lockouts {
        match std::fs::read(&path) {
            Ok(kept) if lockout.restore(clock.now(), &kept) => {}
            Ok(_) => tracing::warn!("the lock-outs that were kept cannot be read; nobody is locked out"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "the lock-outs that were kept cannot be read"),
        }
        Lockouts { path, lockout, clock }
    }

    /// Writes them, if there are others than before.
    pub fn keep(&self) {
        let Some(kept) = self.lockout.keep(self.clock.now()) else { return };
        let new = self.path.with_extension("new");
        let written = std::fs::write(&new, kept).and_then(|()| std::fs::rename(&new, &self.path));
        if let Err(error) = written {
            tracing::warn!(%error, "the lock-outs cannot be kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use connectors::smpp::lockout::LockoutOptions;

    use super::*;

    #[test]
    fn who_is_locked_out_is_so_after_a_restart() {
        const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lockouts");
        let start = |clock| {
            let lockout = Arc::new(Lockout::new(LockoutOptions::default()));
            (Lockouts::restore(path.clone(), Arc::clone(&lockout), clock), lockout)
        };
        let clock = Clock::start();
        let (lockouts, lockout) = start(clock);
        lockouts.keep();
        assert!(!path.exists(), "nobody is locked out");
        for _ in 0..10 {
            lockout.failed(clock.mono(), HERE, b"acme");
        }
        lockouts.keep();
        let clock = Clock::start();
        let (_, lockout) = start(clock);
        assert!(lockout.is_locked(clock.mono(), HERE, b"acme"));
        assert!(!lockout.is_locked(clock.mono(), HERE, b"other"));
        std::fs::write(&path, b"nonsense").expect("a file");
        let (_, lockout) = start(clock);
        assert!(!lockout.is_locked(clock.mono(), HERE, b"acme"));
    }
}
