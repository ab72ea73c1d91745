//! The signals that tell the process to end, from its first moment on: what they do by themselves is to end it without a word, and as process 1
//! of a container to do nothing at all.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What tells the process to end.
pub struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl EndSignals {
    /// From now on they do not end the process by themselves. Called inside of a runtime.
    pub fn caught() -> std::io::Result<EndSignals> {
        Ok(EndSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// A hang-up is no reason to end: a terminal was closed, or somebody expects settings to be read again.
    pub async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    tracing::warn!("SIGHUP changes nothing: settings are read at a start");
                }
            }
        }
    }
}

/// The time before a door opens. There is nothing to drain yet, and a start may be cut off at any moment: told to end, the process ends, without
/// waiting for a store that may take long to be read.
pub struct Opening {
    watching: JoinHandle<EndSignals>,
    over: oneshot::Sender<()>,
}

impl Opening {
    /// Called inside of a runtime, before anything that takes time.
    pub fn begin() -> std::io::Result<Opening> {
        let mut signals = EndSignals::caught()?;
        let (over, mut is_over) = oneshot::channel();
        let watching = tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = &mut is_over => {}
                () = signals.next() => {
                    tracing::info!("told to end before a door was open; ending");
                    std::process::exit(0);
                }
            }
            signals
        });
        Ok(Opening { watching, over })
    }

    /// From now on whoever tells the process to end is heard by who has the signals.
    pub async fn over(self) -> std::io::Result<EndSignals> {
        let _ = self.over.send(());
        Ok(self.watching.await?)
    }
}
