//! HTTP listeners: connections bounded in number, in the time that a request's head may take, and in idleness. Axum's own
//! loop bounds none of these. Who has made no request yet makes room for who comes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use connectors::smpp::counters::ServerCounters;
use connectors::smpp::gate::{Gate, Pass};
use connectors::smpp::{Phase, Phases};
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

/// From the connection to the end of its first request's head, TLS included.
const BEGINNING: Duration = Duration::from_secs(10);
/// For a later request's head, and for the silence between two requests of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The wait after accept has failed, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves one listener until the phase is `Closing` and what was being answered is answered. Beyond `connections_max` one that
/// has made no request makes room for a new connection; where all have made one, the new one is closed. With `tls` it speaks
/// nothing else.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Arc<ServerConfig>>,
    connections_max: usize,
    counters: Arc<ServerCounters>,
    phases: Phases,
) {
    let tls = tls.map(TlsAcceptor::from);
    let gate = Gate::new(connections_max, connections_max, counters);
    let mut connections = JoinSet::new();
    let mut watched = phases.clone();
    loop {
        tokio::select! {
            biased;
            _ = watched.after(Phase::Draining) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let Some(pass) = gate.enter(from.ip()) else { continue };
                    let number = pass.number();
                    let beginner = Beginner::new(pass);
                    let task = connections.spawn(begin(stream, from, tls.clone(), router.clone(), phases.clone(), beginner));
                    gate.may_end(number, task);
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// A connection that has made no request yet.
struct Beginner {
    has_begun: AtomicBool,
    pass: Mutex<Pass>,
    deadline: Instant,
}

impl Beginner {
    fn new(pass: Pass) -> Arc<Beginner> {
        let (has_begun, deadline) = (AtomicBool::new(false), Instant::now() + BEGINNING);
        Arc::new(Beginner { has_begun, pass: Mutex::new(pass), deadline })
    }

    /// A request has come. False when the connection has been told to go: then its task ends where it waits next.
    fn begins(&self) -> bool {
        self.has_begun.swap(true, Relaxed) || self.pass.lock().unwrap_or_else(PoisonError::into_inner).bound()
    }

    fn has_begun(&self) -> bool {
        self.has_begun.load(Relaxed)
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
    beginner: Arc<Beginner>,
) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return converse(stream, from, router, phases, beginner).await };
    let secured = tokio::select! {
        biased;
        _ = phases.after(Phase::Draining) => return,
        secured = tokio::time::timeout_at(beginner.deadline, tls.accept(stream)) => secured,
    };
    match secured {
        Ok(Ok(stream)) => converse(stream, from, router, phases, beginner).await,
        Ok(Err(error)) => tracing::debug!(%from, %error, "no TLS"),
        Err(_) => tracing::debug!(%from, "no TLS in time"),
    }
}

async fn converse<S>(stream: S, from: SocketAddr, router: Router, mut phases: Phases, beginner: Arc<Beginner>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answering = TowerToHyperService::new(router.layer(Extension(ConnectInfo(from))));
    let service = service_fn(|request| {
        let (stays, answer) = (beginner.begins(), answering.call(request));
        async move { if stays { answer.await } else { std::future::pending().await } }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(%from, %error, "a connection ended badly");
            }
        }
        () = beginner.is_late() => tracing::debug!(%from, "no request in time"),
        _ = phases.after(Phase::Draining) => {
            if beginner.has_begun() {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn answering() -> Router {
        Router::new().route("/", axum::routing::get(async || "fine"))
    }

    /// How long a connection lasts that sends this and is silent then, and what it is answered.
    async fn lasts(sent: &[u8]) -> (Duration, String) {
        let pass = Gate::new(1, 1, Arc::default()).enter([127, 0, 0, 1].into()).unwrap();
        let (_phase, phases) = Phases::channel();
        let (mut peer, ours) = duplex(4_096);
        peer.write_all(sent).await.unwrap();
        let began = Instant::now();
        let served = converse(ours, ([127, 0, 0, 1], 1).into(), answering(), phases, Beginner::new(pass));
        let mut answer = String::new();
        let ((), read) = tokio::join!(served, peer.read_to_string(&mut answer));
        read.unwrap();
        (began.elapsed(), answer)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_request_has_ten_seconds_and_silence_after_it_thirty() {
        for unfinished in [&b""[..], b"GET / HTTP/1.1\r\nhost:"] {
            assert_eq!(lasts(unfinished).await.0.as_secs(), 10, "{}", unfinished.escape_ascii());
        }
        let (lasted, answer) = lasts(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("fine"), "{answer}");
        assert_eq!(lasted.as_secs(), 30);
    }

    #[tokio::test]
    async fn a_silent_crowd_keeps_nobody_out_and_does_not_hold_the_end_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (phase, phases) = Phases::channel();
        let serving = tokio::spawn(serve(listener, answering(), None, 4, Arc::default(), phases));
        let mut crowd = Vec::new();
        for _ in 0..20 {
            crowd.push(TcpStream::connect(address).await.unwrap());
        }
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("fine"), "{answer}");
        phase.send(Phase::Closing).unwrap();
        tokio::time::timeout(BEGINNING / 2, serving).await.unwrap().unwrap();
    }
}
