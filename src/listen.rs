//! HTTP listeners: connections bounded in number, in the time that a request's head may take, and in idleness. Axum's own
//! loop bounds none of these.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use connectors::smpp::{Phase, Phases};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// For a request's head, and for the silence between two requests of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The wait after accept has failed, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves one listener until the phase is `Closing` and what was being answered is answered. Beyond `connections_max` a
/// new connection waits to be accepted until another ends. With `tls` it speaks nothing else.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Arc<ServerConfig>>,
    connections_max: usize,
    phases: Phases,
) {
    let tls = tls.map(TlsAcceptor::from);
    let places = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    let mut watched = phases.clone();
    loop {
        tokio::select! {
            biased;
            _ = watched.after(Phase::Draining) => break,
            Some(_) = connections.join_next() => {}
            accepted = accept(&listener, &places) => {
                let Some((stream, from, place)) = accepted else { continue };
                connections.spawn(begin(stream, from, tls.clone(), router.clone(), phases.clone(), place));
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, from)) => Some((stream, from, place)),
        Err(error) => {
            tracing::warn!(%error, "accept failed");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn begin(
    stream: TcpStream,
    from: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    phases: Phases,
    _place: OwnedSemaphorePermit,
) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return converse(stream, from, router, phases).await };
    match tokio::time::timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, from, router, phases).await,
        Ok(Err(error)) => tracing::debug!(%from, %error, "no TLS"),
        Err(_) => tracing::debug!(%from, "no TLS in time"),
    }
}

async fn converse<S>(stream: S, from: SocketAddr, router: Router, mut phases: Phases)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router.layer(Extension(ConnectInfo(from))));
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
        _ = phases.after(Phase::Draining) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
