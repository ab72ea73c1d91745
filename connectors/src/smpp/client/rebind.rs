//! An operator's wish that a bind ends its session and begins another, from who asks to the supervisor that does it. How a session
//! ends in good order is `bind`'s.

use codecs::smpp::Status;
use tokio::sync::{mpsc, oneshot};

use super::Ending;

/// Where one bind can be told to begin again.
#[derive(Clone, Debug)]
pub struct Rebind(mpsc::Sender<oneshot::Sender<Rebound>>);

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebound {
    /// A new session is bound.
    Bound,
    /// The old one has ended, and the provider opens the connection for a new one when it likes.
    AwaitsProvider,
    /// The provider did not let it in again. The bind goes on trying.
    Refused(Status),
    /// No connection, or it ended before it was bound. The bind goes on trying.
    Lost,
    /// The gateway ends.
    Ending,
}

impl Rebind {
    /// Ends the session that there is, as far as it has come, and answers when the next is bound or is not. What was sent is waited
    /// for as long as a response may take.
    pub async fn ask(&self) -> Rebound {
        let (asker, answer) = oneshot::channel();
        match self.0.send(asker).await {
            Ok(()) => answer.await.unwrap_or(Rebound::Ending),
            Err(_) => Rebound::Ending,
        }
    }
}

/// The supervisor's end.
pub(super) struct Rebinding {
    asks: mpsc::Receiver<oneshot::Sender<Rebound>>,
    /// Who wants the session of now to end.
    asked: Vec<oneshot::Sender<Rebound>>,
    /// Who waits for the session of now to be bound.
    waiting: Vec<oneshot::Sender<Rebound>>,
}

impl Rebinding {
    pub fn channel() -> (Rebind, Rebinding) {
        let (sender, asks) = mpsc::channel(1);
        (Rebind(sender), Rebinding { asks, asked: Vec::new(), waiting: Vec::new() })
    }

    /// Waits until somebody asks; for ever where nobody can. Cancel safe.
    pub async fn asked(&mut self) {
        match self.asks.recv().await {
            Some(asker) => self.asked.push(asker),
            None => std::future::pending().await,
        }
    }

    /// Whether the next session begins at once.
    pub fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// A new attempt begins, which those wait for who have asked for it; not for a provider that connects when it likes.
    pub fn begins(&mut self, awaits_provider: bool) {
        self.waiting.append(&mut self.asked);
        if awaits_provider {
            self.answer(Rebound::AwaitsProvider);
        }
    }

    pub fn bound(&mut self) {
        self.answer(Rebound::Bound);
    }

    /// The attempt is over. Those who wait go on waiting where somebody has asked meanwhile: then another begins at once.
    pub fn ended(&mut self, ending: Ending) {
        if !self.is_asked() {
            self.answer(match ending {
                Ending::Refused(status) => Rebound::Refused(status),
                Ending::Lost => Rebound::Lost,
            });
        }
    }

    fn answer(&mut self, rebound: Rebound) {
        for asker in self.waiting.drain(..) {
            // Who has gone away need not be told.
            let _ = asker.send(rebound);
        }
    }
}
