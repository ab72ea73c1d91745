//! How a connection to a provider comes about. What is said over it is `bind`'s.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};

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

/// To the host and port of the options.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Dial for Tcp {
    type Stream = TcpStream;

    /// Tries each address of the host, another one first at every attempt: one that connects may yet refuse the bind.
    async fn dial(&self, options: &ProviderBindOptions, attempt: usize) -> io::Result<TcpStream> {
        let limit = options.connect_timeout;
        let lookup = lookup_host((options.host.as_str(), options.port));
        let mut addresses: Vec<SocketAddr> = tokio::time::timeout(limit, lookup).await??.collect();
        let first = attempt.checked_rem(addresses.len()).unwrap_or(0);
        addresses.rotate_left(first);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in addresses {
            match tokio::time::timeout(limit, connect_to(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(elapsed) => last = elapsed.into(),
            }
        }
        Err(last)
    }
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    socket::configure(&stream)?;
    Ok(stream)
}
