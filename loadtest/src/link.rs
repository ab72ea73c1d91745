//! A connection as the load tests use it: one large read, one large write, never a wait for one while the other could go on.

use std::io;

use tokio::{
    io::{Interest, Ready},
    net::TcpStream,
};

use crate::wire::Frames;

/// Octets waiting to be written above which nothing more is read, so that a peer that never reads cannot fill the memory.
const BACKLOG_OCTETS_MAX: usize = 4 * 1024 * 1024;
/// What an emptied output buffer may keep of its memory.
const OUTPUT_OCTETS_KEPT: usize = 1024 * 1024;

/// A socket with its input cut into PDUs and its output gathered for one write.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    pub frames: Frames,
    pub out: Vec<u8>,
    written: usize,
}

impl Link {
    /// # Errors
    /// The socket refuses its options.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, frames: Frames::default(), out: Vec::new(), written: 0 })
    }

    /// Waits until the socket can be read, or written where something waits to be written.
    ///
    /// # Errors
    /// The socket has failed.
    pub async fn ready(&self) -> io::Result<Ready> {
        let interest = match self.backlog() {
            0 => Interest::READABLE,
            1..BACKLOG_OCTETS_MAX => Interest::READABLE | Interest::WRITABLE,
            _ => Interest::WRITABLE,
        };
        self.stream.ready(interest).await
    }

    /// Reads once; answers whether anything came.
    ///
    /// # Errors
    /// The peer has closed the connection, or the socket has failed.
    pub fn receive(&mut self) -> io::Result<bool> {
        if self.backlog() >= BACKLOG_OCTETS_MAX {
            return Ok(false);
        }
        match self.stream.try_read(self.frames.space()) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.frames.filled(count);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes as much as the socket takes now.
    ///
    /// # Errors
    /// The socket has failed.
    pub fn send(&mut self) -> io::Result<()> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.try_write(rest) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.out.shrink_to(OUTPUT_OCTETS_KEPT);
        self.written = 0;
        Ok(())
    }

    /// Octets that wait to be written.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.out.len() - self.written
    }
}
