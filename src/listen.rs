//! HTTP listeners: connections bounded in number, in the time that a request's head may take, in idleness, and in the time that
//! a peer may leave its answer unread. Axum's own loop bounds none of these. Who makes no request makes room for who comes.
//! What HTTP itself asks of a request is asked here; what is answered is the router's.

mod stream;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Response, Version, header};
use axum::response::IntoResponse;
use axum::{Extension, Router};
use connectors::smpp::counters::ServerCounters;
use connectors::smpp::gate::{Gate, Pass};
use connectors::smpp::{Phase, Phases};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use self::stream::{Request, Stream};
use crate::api::problem::Problem;

/// From the connection to the end of its first request's head, TLS included.
const BEGINNING: Duration = Duration::from_secs(10);
/// For a later request's head, and for the silence between two requests of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Octets of an answer that the kernel takes before the peer has room for them. It says that there is room for more when the peer has
/// taken half of them: of a whole send buffer, which grows to megabytes, a slow reader takes too little in the time that it is borne.
#[cfg(target_os = "linux")]
const UNSENT_OCTETS_MAX: u32 = 64 << 10;
/// The wait after accept has failed, mostly for want of file descriptors, doubling up to the second.
const ACCEPT_PAUSE_FIRST: Duration = Duration::from_millis(50);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Serves one listener until the phase is `Closing` and what was being answered is answered. Beyond `connections_max` one that
/// makes no request makes room for a new connection, of the address that has most; where all make one, one of an address that
/// has more than the new one's, and else the new one is closed. With `tls` it speaks nothing else.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Arc<ServerConfig>>,
    connections_max: usize,
    counters: Arc<ServerCounters>,
    phases: Phases,
) {
    let tls = tls.map(TlsAcceptor::from);
    let gate = Gate::new(connections_max, connections_max, Arc::clone(&counters));
    let mut connections = JoinSet::new();
    let mut watched = phases.clone();
    let mut pause = ACCEPT_PAUSE_FIRST;
    loop {
        tokio::select! {
            biased;
            _ = watched.after(Phase::Draining) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    pause = ACCEPT_PAUSE_FIRST;
                    let Some(pass) = gate.enter(from.ip()) else { continue };
                    let number = pass.number();
                    let conversation = Conversation::new(pass, Arc::clone(&counters));
                    let task = connections.spawn(begin(stream, from, tls.clone(), router.clone(), phases.clone(), conversation));
                    gate.may_end(number, task);
                    // Who goes for this one goes first: else a crowd has more descriptors for a moment than it may.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
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

/// How far a connection has come.
struct Conversation {
    pass: Pass,
    counters: Arc<ServerCounters>,
    /// By when its first request has to have come.
    deadline: Instant,
    has_begun: AtomicBool,
    /// A request has come that is not answered yet, or its answer is not yet with the peer's kernel; and whether it may change something.
    is_answering: AtomicBool,
    changes: AtomicBool,
    /// An answer is ready, and not yet with the peer's kernel.
    is_answered: AtomicBool,
    /// Something was read since the end of the last request: more of one may come.
    is_within: AtomicBool,
}

impl Conversation {
    fn new(pass: Pass, counters: Arc<ServerCounters>) -> Arc<Conversation> {
        let [has_begun, is_answering, changes, is_answered, is_within] = [false; 5].map(AtomicBool::new);
        let deadline = Instant::now() + BEGINNING;
        Arc::new(Conversation {
            pass,
            counters,
            deadline,
            has_begun,
            is_answering,
            changes,
            is_answered,
            is_within,
        })
    }

    /// A request has come. False when the connection has been told to go: then its task ends where it waits next.
    fn begins(&self, changes: bool) -> bool {
        self.has_begun.store(true, Relaxed);
        self.is_answering.store(true, Relaxed);
        self.changes.store(changes, Relaxed);
        self.is_answered.store(false, Relaxed);
        self.pass.works()
    }

    fn has_begun(&self) -> bool {
        self.has_begun.load(Relaxed)
    }

    fn is_answered(&self) {
        self.is_answered.store(true, Relaxed);
    }

    /// All that there was to write is written.
    fn is_flushed(&self) {
        if self.is_answered.swap(false, Relaxed) {
            self.is_answering.store(false, Relaxed);
            self.pass.rests();
        }
    }

    fn has_read(&self) {
        self.is_within.store(true, Relaxed);
    }

    /// The request that has begun has come to its end.
    fn is_whole(&self) {
        self.is_within.store(false, Relaxed);
    }

    fn is_within(&self) -> bool {
        self.is_within.load(Relaxed)
    }

    /// Whether a request waits for its answer, or for that to be written.
    fn is_answering(&self) -> bool {
        self.is_answering.load(Relaxed)
    }

    /// Whether it is one that may change something, so that its answer is owed, and has been taken as a whole.
    fn is_changing(&self) -> bool {
        self.is_answering() && !self.is_within() && self.changes.load(Relaxed)
    }

    fn is_stalled(&self) {
        self.counters.slow_readers.add(1);
    }

    /// Waits for the time by which it has to have begun; for ever if it has.
    async fn is_late(&self) {
        tokio::time::sleep_until(self.deadline).await;
        if self.has_begun() {
            std::future::pending().await
        }
    }
}

async fn begin(
    stream: TcpStream,
    from: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    mut phases: Phases,
    conversation: Arc<Conversation>,
) {
    if let Err(error) = configure(&stream) {
        tracing::debug!(%from, %error, "a connection could not be configured");
    }
    let Some(tls) = tls else { return converse(stream, from, router, phases, conversation).await };
    let secured = tokio::select! {
        biased;
        _ = phases.after(Phase::Draining) => return,
        secured = tokio::time::timeout_at(conversation.deadline, tls.accept(stream)) => secured,
    };
    match secured {
        Ok(Ok(stream)) => converse(stream, from, router, phases, conversation).await,
        Ok(Err(error)) => tracing::debug!(%from, %error, "no TLS"),
        Err(_) => tracing::debug!(%from, "no TLS in time"),
    }
}

fn configure(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_OCTETS_MAX)?;
    Ok(())
}

async fn converse<S>(
    stream: S,
    from: SocketAddr,
    router: Router,
    mut phases: Phases,
    conversation: Arc<Conversation>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answering = TowerToHyperService::new(router.layer(Extension(ConnectInfo(from))));
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let stays = conversation.begins(!request.method().is_safe());
        if request.body().is_end_stream() {
            conversation.is_whole();
        }
        let conversation = Arc::clone(&conversation);
        let answer = match wrong_host(request.version(), request.headers()) {
            None => Ok(answering.call(request.map(|body| Request::new(body, Arc::clone(&conversation))))),
            Some(problem) => Err(problem),
        };
        async move {
            if !stays {
                return std::future::pending().await;
            }
            let answer: Result<Response<Body>, Infallible> = match answer {
                Ok(answer) => answer.await,
                Err(problem) => Ok(problem.into_response()),
            };
            conversation.is_answered();
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(Stream::new(stream, Arc::clone(&conversation))), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(%from, %error, "a connection ended badly");
            }
        }
        () = conversation.is_late() => tracing::debug!(%from, "no request in time"),
        _ = phases.after(Phase::Draining) => {
            if conversation.has_begun() {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
}

/// RFC 9112 §3.2: a request of HTTP/1.1 has one Host, and none has several.
fn wrong_host(version: Version, headers: &HeaderMap) -> Option<Problem> {
    match headers.get_all(header::HOST).iter().count() {
        0 if version >= Version::HTTP_11 => Some(Problem::invalid("a request of HTTP/1.1 names its `Host`")),
        0 | 1 => None,
        _ => Some(Problem::invalid("a request has one `Host`")),
    }
}

#[cfg(test)]
mod tests;
