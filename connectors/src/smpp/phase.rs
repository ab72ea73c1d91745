//! How far the end of the process, or of one provider's binds, has come. Whoever holds the sender decides.

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    #[default]
    Running,
    /// New connections and binds are refused; what is bound goes on, so that what is open can end.
    Draining,
    /// Everything is unbound and closed.
    Closing,
}

/// Where a task reads the phase. A sender that is gone means the end.
#[derive(Clone, Debug)]
pub struct Phases(watch::Receiver<Phase>);

impl Phases {
    pub fn channel() -> (watch::Sender<Phase>, Phases) {
        let (sender, receiver) = watch::channel(Phase::Running);
        (sender, Phases(receiver))
    }

    pub fn now(&self) -> Phase {
        if self.0.has_changed().is_err() { Phase::Closing } else { *self.0.borrow() }
    }

    /// Waits for a phase later than `seen`; for ever after the last. Cancel safe.
    pub async fn after(&mut self, seen: Phase) -> Phase {
        if seen == Phase::Closing {
            return std::future::pending().await;
        }
        match self.0.wait_for(|phase| *phase > seen).await {
            Ok(phase) => *phase,
            Err(_) => Phase::Closing,
        }
    }
}
