//! Binds to providers: one supervisor a bind, which connects, serves, and begins again. One living session is `bind`'s.
//! When and what to send is the engine's.
//!
//! Receipts and messages from phones are answered when they are on disk.

mod backoff;
mod bind;
mod dial;
mod multi;
mod outbind;
mod phone;
pub mod probe;
mod rebind;
mod receipt;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use codecs::message_id::Form;
use codecs::receipt::Dialect;
use codecs::smpp::session::{INTERFACE_VERSION, Limits};
use codecs::smpp::{BindKind, Command as Pdu};
use tokio::sync::oneshot;

use self::backoff::Backoff;
pub use self::backoff::{Ending, Pauses, Reconnect};
use self::bind::Bind;
pub use self::dial::{Connection, Dial, Host, Network, Tls};
pub use self::outbind::{CONNECTIONS_MAX as OUTBIND_CONNECTIONS_MAX, Expected, Keeper, Outbind, Shared};
use self::rebind::Rebinding;
pub use self::rebind::{Rebind, Rebound};
use super::counters::BindCounters;
use super::phase::{Phase, Phases};
pub use super::socket::Patience;
use crate::intake::{Lane, Source};
use crate::partition::Partition;

/// One bind to a provider. A pair is a transmitter and a receiver with the same provider and bind.
#[derive(Clone)]
pub struct ProviderBindOptions {
    /// The engine's numbers.
    pub provider: u16,
    pub bind: u16,
    /// For logs.
    pub provider_id: String,
    /// Each attempt begins with the next one; names are resolved at every attempt.
    pub hosts: Vec<Host>,
    /// Where the provider connects to us, in place of the hosts.
    pub outbind: Option<Arc<Outbind>>,
    /// The address of ours that connections come from.
    pub local_address: Option<IpAddr>,
    pub tls: Option<Tls>,
    pub patience: Patience,
    pub system_id: String,
    pub password: Secret,
    pub system_type: String,
    pub kind: BindKind,
    /// What the bind says; congestion_state is heeded from 5.0 on.
    pub interface_version: u8,
    /// What carries messages: submit_sm or data_sm, as the engine writes their bodies.
    pub submit: Pdu,
    /// How many messages that are alike may go in one submit_multi; 1: each goes by itself.
    pub submit_multi: usize,
    /// How its message ids read.
    pub message_id: Form,
    /// How its receipts read.
    pub dialect: Arc<Dialect>,
    /// A text that reads like a receipt is one also where nothing else says so.
    pub unmarked_receipts: bool,
    pub window: u32,
    pub pdu_octets_max: usize,
    /// For the connection to come up.
    pub connect_timeout: Duration,
    /// For the answer to the bind.
    pub bind_timeout: Duration,
    /// Silence before we ask whether the provider lives.
    pub enquire_link: Duration,
    /// Further silence before it counts as dead.
    pub enquire_link_response: Duration,
    /// For the answer to a submit_sm.
    pub response_timeout: Duration,
    /// How long a provider that does not read is borne.
    pub stalled: Duration,
    /// For the session to be unbound at the end.
    pub closing: Duration,
    /// Receipts that may wait for the disk; reading stops beyond.
    pub receipts_max: usize,
    pub reconnect: Reconnect,
    /// For the jitter of the pauses; none draws other numbers in every process.
    pub seed: Option<u64>,
}

/// A word that is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("(secret)")
    }
}

impl Default for ProviderBindOptions {
    fn default() -> ProviderBindOptions {
        ProviderBindOptions {
            provider: 0,
            bind: 0,
            provider_id: String::new(),
            hosts: vec![Host::default()],
            outbind: None,
            local_address: None,
            tls: None,
            patience: Patience::default(),
            system_id: String::new(),
            password: Secret::default(),
            system_type: String::new(),
            kind: BindKind::Transceiver,
            interface_version: INTERFACE_VERSION,
            submit: Pdu::SUBMIT_SM,
            submit_multi: 1,
            message_id: Form::Text,
            dialect: Arc::default(),
            unmarked_receipts: true,
            window: 10,
            pdu_octets_max: 64 * 1024,
            connect_timeout: Duration::from_secs(10),
            bind_timeout: Duration::from_secs(30),
            enquire_link: Duration::from_secs(30),
            enquire_link_response: Duration::from_secs(15),
            response_timeout: Duration::from_secs(30),
            stalled: Duration::from_secs(10),
            closing: Duration::from_secs(5),
            receipts_max: 10_000,
            reconnect: Reconnect::default(),
            seed: None,
        }
    }
}

impl ProviderBindOptions {
    fn limits(&self) -> Limits {
        Limits {
            window: self.window as usize,
            pdu_octets_max: self.pdu_octets_max,
            session_init: self.bind_timeout,
            enquire_link: Some(self.enquire_link),
            enquire_link_response: self.enquire_link_response,
            response: self.response_timeout,
            unbind: self.closing,
            ..Limits::DEFAULT
        }
    }
}

/// The supervisor of one bind.
pub struct ProviderBind<D = Network> {
    dial: D,
    options: Arc<ProviderBindOptions>,
    partition: Partition,
    counters: Arc<BindCounters>,
    rebind: Rebind,
    rebinding: Rebinding,
}

impl ProviderBind {
    pub fn new(options: ProviderBindOptions, partition: Partition) -> ProviderBind {
        ProviderBind::over(Network, options, partition)
    }
}

impl<D: Dial> ProviderBind<D> {
    /// A bind whose connections come from elsewhere.
    pub fn over(dial: D, options: ProviderBindOptions, partition: Partition) -> ProviderBind<D> {
        let (rebind, rebinding) = Rebinding::channel();
        ProviderBind {
            dial,
            options: Arc::new(options),
            partition,
            counters: Arc::default(),
            rebind,
            rebinding,
        }
    }

    pub fn counters(&self) -> Arc<BindCounters> {
        Arc::clone(&self.counters)
    }

    pub fn rebind(&self) -> Rebind {
        self.rebind.clone()
    }

    /// Keeps the bind up until the phase is `Closing`.
    pub async fn run(mut self, mut phases: Phases) {
        let source = Source::Provider(self.options.provider);
        let lane = self.partition.intake.lane(source);
        let mut backoff = Backoff::new(self.options.reconnect.clone(), self.options.seed);
        for attempt in 0usize.. {
            if phases.now() == Phase::Closing {
                return;
            }
            let (ending, lived) = self.attempt(attempt, &lane, &phases).await;
            if phases.now() == Phase::Closing {
                return;
            }
            if self.rebinding.is_asked() {
                continue;
            }
            self.counters.failures.add(1);
            let pause = backoff.pause(ending, lived);
            self.report(ending, pause);
            tokio::select! {
                biased;
                () = closing(&mut phases) => return,
                () = self.rebinding.asked() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One connection from its begin to its end, and how long it was bound.
    async fn attempt(&mut self, attempt: usize, lane: &Lane, phases: &Phases) -> (Ending, Duration) {
        let mut watched = phases.clone();
        self.rebinding.begins(self.options.outbind.is_some());
        let connected = tokio::select! {
            biased;
            () = closing(&mut watched) => return (Ending::Lost, Duration::ZERO),
            () = self.rebinding.asked() => return (Ending::Lost, Duration::ZERO),
            connected = self.dial.dial(&self.options, attempt) => connected,
        };
        let ended = match connected {
            Ok(stream) => self.serve(stream, lane, watched).await,
            Err(error) => {
                tracing::warn!(provider = %self.options.provider_id, %error, "no connection");
                (Ending::Lost, Duration::ZERO)
            }
        };
        self.rebinding.ended(ended.0);
        ended
    }

    /// One session. Its phases are its own: it drains when somebody wants another one in its place, and closes with the process.
    async fn serve(&mut self, stream: D::Stream, lane: &Lane, mut watched: Phases) -> (Ending, Duration) {
        let ProviderBind { options, partition, counters, rebinding, .. } = self;
        let (phase, phases) = Phases::channel();
        let (told, mut bound) = oneshot::channel();
        let (mut is_told, mut is_closing) = (false, false);
        let session = Bind::new(options, partition, counters, stream, told).run(lane.clone(), phases);
        tokio::pin!(session);
        loop {
            tokio::select! {
                biased;
                ended = &mut session => return ended,
                () = closing(&mut watched), if !is_closing => {
                    is_closing = true;
                    phase.send_replace(Phase::Closing);
                }
                told = &mut bound, if !is_told => {
                    is_told = true;
                    if told.is_ok() {
                        rebinding.bound();
                    }
                }
                () = rebinding.asked(), if !is_closing => {
                    phase.send_replace(Phase::Draining);
                }
            }
        }
    }

    fn report(&self, ending: Ending, pause: Duration) {
        let ProviderBindOptions { provider_id, bind, kind, .. } = &*self.options;
        if ending.is_configuration() {
            tracing::error!(
                provider = %provider_id, bind, ?kind, %ending, ?pause,
                "the provider refuses the bind: check its credentials"
            );
        } else {
            tracing::info!(provider = %provider_id, bind, ?kind, %ending, ?pause, "binding again");
        }
    }
}

async fn closing(phases: &mut Phases) {
    while phases.now() != Phase::Closing {
        phases.after(phases.now()).await;
    }
}
