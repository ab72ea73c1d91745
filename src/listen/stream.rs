//! The octets of one connection on their way to HTTP and back: a peer that does not read what it is answered is cut off, one that
//! has ended its own half is answered all the same, and what a peer still sends of a request that is answered already is read and
//! dropped before the end.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::HttpBody;
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::Conversation;

/// How long a peer is borne that takes no octet of what it is sent; as long as over SMPP.
const STALLED: Duration = Duration::from_secs(10);

/// How long who ended its own half is still answered that asked for something to read: it may as well be gone, which looks the
/// same, and has its tenant's turns. A request that changes something is taken as a whole before that, or is none.
const READS_WITHIN: Duration = Duration::from_secs(5);

/// How long, and how much, is read of a request that is answered before it is whole: a socket that is closed with octets
/// unread takes the answer from a peer that sends all before it reads. The octets are twice the longest body of the defaults.
const DROPPED_WITHIN: Duration = Duration::from_secs(5);
const DROPPED_OCTETS_MAX: usize = 32 << 20;
/// What is read at once of what is dropped.
const DROPPED_AT_ONCE: usize = 16 << 10;

pub struct Stream<S> {
    inner: S,
    conversation: Arc<Conversation>,
    /// Begun when our own half is shut.
    dropping: Option<Dropping>,
    /// Since the peer took nothing.
    patience: Option<Pin<Box<Sleep>>>,
    /// Since the peer said that no more comes, in the middle of an answer to something that it wants to read.
    leaving: Option<Pin<Box<Sleep>>>,
}

struct Dropping {
    octets: usize,
    ends: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    pub fn new(inner: S, conversation: Arc<Conversation>) -> Stream<S> {
        Stream { inner, conversation, dropping: None, patience: None, leaving: None }
    }

    /// Reads and drops, until the peer has ended or enough was borne.
    fn poll_drop(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(dropping) = &mut self.dropping else { return Poll::Ready(()) };
        let mut octets = [0; DROPPED_AT_ONCE];
        loop {
            let mut room = ReadBuf::new(&mut octets);
            match Pin::new(&mut self.inner).poll_read(context, &mut room) {
                Poll::Ready(Ok(())) if !room.filled().is_empty() => {
                    dropping.octets = dropping.octets.saturating_add(room.filled().len());
                    if dropping.octets >= DROPPED_OCTETS_MAX {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return dropping.ends.as_mut().poll(context),
            }
        }
    }

    /// The end of what a peer sends is no end while a request of it is being answered: hyper would give up the answer.
    fn hide_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.conversation.is_answering() {
            return Poll::Ready(Ok(()));
        }
        if self.conversation.is_changing() {
            return Poll::Pending;
        }
        let leaving = self.leaving.get_or_insert_with(|| Box::pin(sleep(READS_WITHIN)));
        leaving.as_mut().poll(context).map(Ok)
    }

    /// Ends the wait for a peer that takes nothing. What it takes makes the wait begin anew.
    fn bear<T>(&mut self, context: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.patience = None;
            return wrote;
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(STALLED)));
        ready!(patience.as_mut().poll(context));
        self.conversation.is_stalled();
        Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the peer does not read")))
    }
}

/// Whether the peer is gone: over TLS that is an error also where it has only closed.
fn is_end(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = room.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, room);
        if room.filled().len() > before {
            self.conversation.has_read();
            return read;
        }
        match read {
            Poll::Ready(Ok(())) => self.hide_end(context),
            // Who is cut off in the middle of a change has begun it all the same; that its answer cannot be written is seen then.
            Poll::Ready(Err(error)) if is_end(&error) && self.conversation.is_changing() => Poll::Pending,
            read => read,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(context, octets);
        self.bear(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write_vectored(context, octets);
        self.bear(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        if let Poll::Ready(Ok(())) = flushed {
            self.conversation.is_flushed();
        }
        self.bear(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.dropping.is_none() {
            let shut = Pin::new(&mut self.inner).poll_shutdown(context);
            ready!(self.bear(context, shut))?;
            if !self.conversation.is_within() {
                return Poll::Ready(Ok(()));
            }
            self.dropping = Some(Dropping { octets: 0, ends: Box::pin(sleep(DROPPED_WITHIN)) });
        }
        self.poll_drop(context).map(Ok)
    }
}

/// The body of a request, which tells the conversation when it has come to its end.
pub struct Request {
    inner: Incoming,
    conversation: Arc<Conversation>,
}

impl Request {
    pub fn new(inner: Incoming, conversation: Arc<Conversation>) -> Request {
        Request { inner, conversation }
    }
}

impl HttpBody for Request {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if frame.is_none() || self.inner.is_end_stream() {
            self.conversation.is_whole();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
