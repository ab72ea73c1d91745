//! The SMPP server: listeners, who is let in, and what all its connections share. One connection is `connection`'s.
//!
//! Served are bind_*, submit_sm, submit_multi, data_sm, query_sm, cancel_sm, replace_sm, deliver_sm, enquire_link and unbind.

mod connection;
mod multi;
mod operations;
mod submit;
mod tenant;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use codecs::instant::Mono;
use codecs::smpp::Status;
use codecs::smpp::session::{Limits, Role, Session};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::connection::Connection;
use super::access::Authenticator;
use super::counters::{RefusalCounters, ServerCounters};
use super::gate::{Gate, Pass};
use super::line::Line;
use super::lockout::{Lockout, LockoutOptions};
use super::phase::{Phase, Phases};
use super::seats::Seats;
use super::socket;
use crate::admission::Admission;
use crate::partition::Partition;
use crate::proxy::{self, ProxyError};

/// The wait after accept has failed, doubling up to the second.
const ACCEPT_PAUSE_FIRST: Duration = Duration::from_millis(10);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// The window before the tenant is known: nothing is delivered then.
const UNBOUND_WINDOW: usize = 1;

/// What the server allows, and how long it waits.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The name in our bind responses, at most 15 octets.
    pub system_id: String,
    /// The command_status of a submit_sm without credit.
    pub no_credit_status: Status,
    pub pdu_octets_max: usize,
    /// From the connection to its bind, wrong passwords included.
    pub session_init: Duration,
    /// Silence before we ask whether the peer lives.
    pub enquire_link: Duration,
    /// Further silence before it counts as dead.
    pub enquire_link_response: Duration,
    /// Nothing but keep-alive before we unbind.
    pub inactivity: Duration,
    /// For a tenant's answer to a deliver_sm, from when it has answered the one before.
    pub response_timeout: Duration,
    /// For the rest of a begun PDU.
    pub pdu_read: Duration,
    /// What may wait for the peers of all binds of a tenant; beyond, the oldest that does not read is closed.
    pub tenant_octets_max: usize,
    /// How long a peer that does not read is borne.
    pub stalled: Duration,
    /// For all sessions to be unbound at the end.
    pub closing: Duration,
    /// Connections at once.
    pub connections_max: usize,
    /// Of these, not bound ones.
    pub unbound_max: usize,
    pub lockout: LockoutOptions,
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            system_id: "tidegate".to_owned(),
            no_credit_status: Status(0x0000_040B),
            pdu_octets_max: 64 * 1024,
            session_init: Duration::from_secs(10),
            enquire_link: Duration::from_secs(30),
            enquire_link_response: Duration::from_secs(15),
            inactivity: Duration::from_secs(300),
            response_timeout: Duration::from_secs(30),
            pdu_read: Duration::from_secs(10),
            tenant_octets_max: 16 * 1024 * 1024,
            stalled: Duration::from_secs(10),
            closing: Duration::from_secs(5),
            connections_max: 10_000,
            unbound_max: 1_000,
            lockout: LockoutOptions::default(),
        }
    }
}

impl ServerOptions {
    fn limits(&self, window: usize) -> Limits {
        Limits {
            window,
            pdu_octets_max: self.pdu_octets_max,
            session_init: self.session_init,
            enquire_link: Some(self.enquire_link),
            enquire_link_response: self.enquire_link_response,
            inactivity: Some(self.inactivity),
            response: self.response_timeout,
            in_turn: true,
            pdu_read: self.pdu_read,
            unbind: self.closing,
            ..Limits::DEFAULT
        }
    }
}

/// How connections begin at one listener.
#[derive(Clone, Default)]
pub struct Entrance {
    /// It speaks nothing else then.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whose connections begin with a PROXY header, and nobody else's: it says who is to be let in.
    pub proxies: Option<Arc<dyn Fn(IpAddr) -> bool + Send + Sync>>,
}

/// What all connections share.
struct Shared {
    options: ServerOptions,
    partition: Partition,
    authenticator: Arc<dyn Authenticator>,
    admission: Arc<Admission>,
    lockout: Arc<Lockout>,
    seats: Arc<Seats>,
    gate: Arc<Gate>,
    counters: Arc<ServerCounters>,
    refusals: Arc<RefusalCounters>,
}

/// The server of one partition. It may listen at several places.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

impl Server {
    /// `admission` is shared with the other doors of the tenants.
    pub fn new(
        options: ServerOptions,
        partition: Partition,
        authenticator: Arc<dyn Authenticator>,
        admission: Arc<Admission>,
    ) -> Server {
        let counters = Arc::<ServerCounters>::default();
        let gate = Gate::new(options.connections_max, options.unbound_max, Arc::clone(&counters));
        let shared = Shared {
            lockout: Arc::new(Lockout::new(options.lockout.clone())),
            seats: Seats::new(),
            gate,
            counters,
            refusals: Arc::default(),
            options,
            partition,
            authenticator,
            admission,
        };
        Server { shared: Arc::new(shared) }
    }

    pub fn counters(&self) -> Arc<ServerCounters> {
        Arc::clone(&self.shared.counters)
    }

    /// Who is locked out.
    pub fn lockout(&self) -> Arc<Lockout> {
        Arc::clone(&self.shared.lockout)
    }

    /// Submissions that were refused over SMPP before the engine saw them.
    pub fn refusals(&self) -> Arc<RefusalCounters> {
        Arc::clone(&self.shared.refusals)
    }

    /// Serves one listener until the phase is `Closing` and all its connections are closed.
    pub async fn serve(&self, listener: TcpListener, entrance: Entrance, phases: Phases) {
        let mut connections = JoinSet::new();
        let mut watched = phases.clone();
        let mut pause = ACCEPT_PAUSE_FIRST;
        loop {
            tokio::select! {
                biased;
                _ = watched.after(Phase::Running) => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) => {
                        pause = ACCEPT_PAUSE_FIRST;
                        self.admit(stream, from, &entrance, &phases, &mut connections);
                        // Who goes for this one goes first: else a crowd has more descriptors for a moment than it may.
                        tokio::task::yield_now().await;
                    }
                    Err(error) => {
                        self.shared.counters.accept_failures.add(1);
                        tracing::warn!(%error, "accept failed");
                        tokio::time::sleep(pause).await;
                        pause = pause.saturating_mul(2).min(ACCEPT_PAUSE_MAX);
                    }
                },
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    /// Serves one connection that was accepted elsewhere, to its end, if there is room for one more.
    pub async fn converse<S>(&self, stream: S, from: SocketAddr, phases: Phases)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if let Some(pass) = self.shared.gate.enter(from.ip()) {
            let accepted = self.shared.partition.clock.mono();
            converse(Arc::clone(&self.shared), stream, from, accepted, pass, phases).await;
        }
    }

    /// Starts a connection's task, if there is room for one more.
    fn admit(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        entrance: &Entrance,
        phases: &Phases,
        connections: &mut JoinSet<()>,
    ) {
        let Some(pass) = self.shared.gate.enter(from.ip()) else {
            tracing::debug!(%from, "too many connections");
            return;
        };
        if let Err(error) = socket::configure(&stream, socket::Patience::default()) {
            tracing::debug!(%from, %error, "a connection ended before it began");
            return;
        }
        let (shared, entrance, phases) = (Arc::clone(&self.shared), entrance.clone(), phases.clone());
        let number = pass.number();
        let task = connections.spawn(begin(shared, stream, from, entrance, pass, phases));
        self.shared.gate.may_end(number, task);
    }
}

/// A connection from its beginning to its end. While it has not begun it keeps nobody waiting who wants to stop.
async fn begin(
    shared: Arc<Shared>,
    stream: TcpStream,
    from: SocketAddr,
    entrance: Entrance,
    pass: Pass,
    phases: Phases,
) {
    let accepted = shared.partition.clock.mono();
    let mut watched = phases.clone();
    let entering = tokio::time::timeout(shared.options.session_init, enter(stream, from, entrance));
    let entered = tokio::select! {
        biased;
        _ = watched.after(Phase::Running) => return,
        entered = entering => entered,
    };
    match entered {
        Ok(Ok((Entered::Plain(stream), from))) => {
            converse(shared, stream, from, accepted, pass, phases).await;
        }
        Ok(Ok((Entered::Tls(stream), from))) => {
            converse(shared, *stream, from, accepted, pass, phases).await;
        }
        Ok(Err(error)) => {
            shared.counters.not_entered.add(1);
            tracing::debug!(%from, error = &error as &dyn std::error::Error, "a connection that did not begin");
        }
        Err(_) => {
            shared.counters.not_entered.add(1);
            tracing::debug!(%from, "a connection that did not begin in time");
        }
    }
}

/// A connection whose beginning is over.
enum Entered {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why a connection was not begun.
#[derive(Debug, thiserror::Error)]
enum EntranceError {
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("no TLS")]
    Tls(#[source] std::io::Error),
}

/// The connection past its beginning, and where it comes from.
async fn enter(
    mut stream: TcpStream,
    from: SocketAddr,
    entrance: Entrance,
) -> Result<(Entered, SocketAddr), EntranceError> {
    let is_proxied = entrance.proxies.is_some_and(|is_proxy| is_proxy(from.ip()));
    let from = if is_proxied { proxy::read(&mut stream).await?.unwrap_or(from) } else { from };
    let Some(tls) = entrance.tls else { return Ok((Entered::Plain(stream), from)) };
    let stream = TlsAcceptor::from(tls).accept(stream).await.map_err(EntranceError::Tls)?;
    Ok((Entered::Tls(Box::new(stream)), from))
}

/// The time to the bind counts from `accepted`, TLS included.
async fn converse<S>(
    shared: Arc<Shared>,
    stream: S,
    from: SocketAddr,
    accepted: Mono,
    pass: Pass,
    phases: Phases,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let clock = shared.partition.clock;
    let limits = shared.options.limits(UNBOUND_WINDOW);
    let session = Session::new(Role::Smsc, limits, accepted);
    let line = Line::new(stream, session, clock, shared.options.stalled);
    Connection::new(shared, line, from, pass, phases).run().await;
}
