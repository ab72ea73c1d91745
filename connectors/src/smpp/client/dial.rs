//! How a connection to a provider comes about: to one of its hosts, through TLS, or from it. What is said over it is `bind`'s.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::ProviderBindOptions;
use crate::smpp::socket;

/// Makes the connections of a bind, one for each attempt.
pub trait Dial: Send + Sync {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send;

    /// `attempt` counts from 0. It ends within the options' `connect_timeout` for each address that it tries.
    fn dial(
        &self,
        options: &ProviderBindOptions,
        attempt: usize,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// One host of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub port: u16,
}

impl Default for Host {
    fn default() -> Host {
        Host { name: "127.0.0.1".to_owned(), port: 2775 }
    }
}

/// TLS to a provider.
#[derive(Clone, Debug)]
pub struct Tls {
    pub config: Arc<ClientConfig>,
    /// The name that its certificate must have; else the host's.
    pub server_name: Option<String>,
}

/// To the hosts of the options, or from the provider where it opens the connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Network;

impl Dial for Network {
    type Stream = Connection;

    /// Tries each address of each host, another host first at every attempt, and another of its addresses: one that connects
    /// may yet refuse the bind.
    async fn dial(&self, options: &ProviderBindOptions, attempt: usize) -> io::Result<Connection> {
        if let Some(outbind) = &options.outbind {
            let stream = outbind.next().await?;
            socket::configure(&stream, options.patience)?;
            return Ok(Connection::Plain(stream));
        }
        let count = options.hosts.len();
        let first = attempt.checked_rem(count).unwrap_or(0);
        let round = attempt.checked_div(count).unwrap_or(0);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the provider has no address");
        for host in options.hosts.iter().cycle().skip(first).take(count) {
            match connect_to_host(options, host, round).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

async fn connect_to_host(options: &ProviderBindOptions, host: &Host, round: usize) -> io::Result<Connection> {
    let limit = options.connect_timeout;
    let lookup = lookup_host((host.name.as_str(), host.port));
    let mut addresses: Vec<SocketAddr> = tokio::time::timeout(limit, lookup).await??.collect();
    // From an address of ours only those of its family can be reached.
    addresses
        .retain(|address| options.local_address.is_none_or(|local| local.is_ipv4() == address.is_ipv4()));
    let first = round.checked_rem(addresses.len()).unwrap_or(0);
    addresses.rotate_left(first);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match tokio::time::timeout(limit, connect(options, host, address)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => last = error,
            Err(elapsed) => last = elapsed.into(),
        }
    }
    Err(last)
}

async fn connect(options: &ProviderBindOptions, host: &Host, address: SocketAddr) -> io::Result<Connection> {
    let dialed = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(local) = options.local_address {
        dialed.bind(SocketAddr::new(local, 0))?;
    }
    let stream = dialed.connect(address).await?;
    socket::configure(&stream, options.patience)?;
    let Some(tls) = &options.tls else { return Ok(Connection::Plain(stream)) };
    let name = tls.server_name.clone().unwrap_or_else(|| host.name.clone());
    let name =
        ServerName::try_from(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let secured = TlsConnector::from(Arc::clone(&tls.config)).connect(name, stream).await?;
    Ok(Connection::Tls(Box::new(secured)))
}

/// A connection with a provider.
pub enum Connection {
    Plain(TcpStream),
    /// It is large, and there are few.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Connection::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_write(context, octets),
            Connection::Tls(stream) => Pin::new(stream).poll_write(context, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_flush(context),
            Connection::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Connection::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
