//! A socket and the octets read from it: one read takes all that is there, one write gives all that is due.
//! It cuts frames and knows no PDUs.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use codecs::smpp::frame::{self, FrameError};
use codecs::smpp::session::Session;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// A buffer starts with this much.
pub const READ_OCTETS_FIRST: usize = 4 * 1024;
/// After so many reads in a row that brought less than a quarter of what there is room for, some of the room is given back.
const ROOMY_MAX: u8 = 64;

/// What was read and not yet used.
#[derive(Default)]
pub struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read filled all the room there was.
    was_filled: bool,
    /// How often in a row a read brought less than a quarter of that.
    roomy: u8,
}

impl Input {
    /// The next whole frame, if it is there.
    pub fn next_frame(&mut self, octets_max: usize) -> Result<Option<&[u8]>, FrameError> {
        let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
        let Some(length) = frame::next_frame(waiting, octets_max)? else {
            return Ok(None);
        };
        self.start = self.start.saturating_add(length);
        Ok(waiting.get(..length))
    }

    /// The octets that wait to be cut.
    pub fn waiting(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// It ends inside a frame.
    pub fn is_partial(&self) -> bool {
        self.start < self.end
    }

    /// Where to read to: what is left of the last read is moved to the front. A buffer that was filled grows up to
    /// `octets_max`; one in which a frame does not fit grows whatever that is.
    fn room(&mut self, octets_max: usize) -> &mut [u8] {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end = self.end.saturating_sub(self.start);
        self.start = 0;
        if self.roomy >= ROOMY_MAX && self.buffer.len() > READ_OCTETS_FIRST {
            let smaller = (self.buffer.len() / 4).max(READ_OCTETS_FIRST).max(self.end);
            self.buffer.truncate(smaller);
            self.buffer.shrink_to_fit();
            self.roomy = 0;
        }
        let length = self.buffer.len();
        let wanted = if self.end == length {
            length.saturating_mul(2).max(READ_OCTETS_FIRST)
        } else if self.was_filled {
            length.saturating_mul(4).min(octets_max)
        } else {
            length
        };
        self.buffer.resize(wanted.max(length), 0);
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    fn filled(&mut self, octets: usize) {
        self.end = self.end.saturating_add(octets);
        self.was_filled = self.end == self.buffer.len();
        self.roomy = if self.end < self.buffer.len() / 4 { self.roomy.saturating_add(1) } else { 0 };
    }
}

/// What a socket has brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Octets were read.
    Read,
    /// The kernel took octets, and the caller waits for that.
    Written,
    /// The peer has closed the connection, or it broke.
    Ended,
}

/// What the caller wants of the socket beside writing what is due.
#[derive(Clone, Copy, Debug)]
pub struct Wants {
    /// To read, into a buffer of at most so many octets.
    pub read: Option<usize>,
    /// To be told when the kernel has taken octets.
    pub room: bool,
}

/// One connection's socket.
pub struct Wire<S> {
    stream: S,
    /// Nothing can be written any more. What the peer sent before is still read: it may be the answer to what is in flight.
    is_broken: bool,
    /// Octets the stream has taken since it was last asked.
    taken: usize,
    /// The stream may keep to itself some of what it took: TLS does, where the kernel took no more.
    is_unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub fn new(stream: S) -> Wire<S> {
        Wire { stream, is_broken: false, taken: 0, is_unflushed: false }
    }

    /// Writes what is due and reads what is there.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        session: &mut Session,
        input: &mut Input,
        wants: Wants,
    ) -> Poll<Progress> {
        let wrote = self.poll_write(context, session);
        if let Some(octets_max) = wants.read {
            let mut room = ReadBuf::new(input.room(octets_max));
            match Pin::new(&mut self.stream).poll_read(context, &mut room) {
                Poll::Ready(Ok(())) if !room.filled().is_empty() => {
                    let octets = room.filled().len();
                    input.filled(octets);
                    return Poll::Ready(Progress::Read);
                }
                Poll::Ready(_) => return Poll::Ready(Progress::Ended),
                Poll::Pending => {}
            }
        } else if self.is_broken {
            return Poll::Ready(Progress::Ended);
        }
        if wrote && wants.room {
            return Poll::Ready(Progress::Written);
        }
        Poll::Pending
    }

    /// Whether the kernel has taken octets since this was last asked.
    pub fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.taken) > 0
    }

    /// Writes what is left, for as long as is given, and says goodbye.
    pub async fn finish(&mut self, session: &mut Session, within: Duration) {
        if self.is_broken {
            return;
        }
        let last_words = async {
            while !session.output().is_empty() {
                let octets = self.stream.write(session.output()).await?;
                if octets == 0 {
                    break;
                }
                session.sent(octets);
            }
            self.stream.shutdown().await
        };
        let outcome: Result<io::Result<()>, _> = tokio::time::timeout(within, last_words).await;
        if !matches!(outcome, Ok(Ok(()))) {
            tracing::debug!("the peer did not take our last octets");
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, session: &mut Session) -> bool {
        let mut wrote = false;
        while !self.is_broken && !session.output().is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, session.output()) {
                Poll::Ready(Ok(octets)) if octets > 0 => {
                    session.sent(octets);
                    self.taken = self.taken.saturating_add(octets);
                    self.is_unflushed = true;
                    wrote = true;
                }
                Poll::Ready(_) => self.is_broken = true,
                Poll::Pending => break,
            }
        }
        self.poll_flush(context);
        wrote
    }

    /// In every turn until all is out: nothing else would ask the stream again.
    fn poll_flush(&mut self, context: &mut Context<'_>) {
        if !self.is_unflushed || self.is_broken {
            return;
        }
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(Ok(())) => self.is_unflushed = false,
            Poll::Ready(Err(_)) => self.is_broken = true,
            Poll::Pending => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use codecs::instant::Mono;
    use codecs::smpp::session::{Limits, Role};

    use super::*;

    const READ_OCTETS_MAX: usize = 256 * 1024;

    fn feed(input: &mut Input, octets: &[u8]) {
        let mut octets = octets;
        while !octets.is_empty() {
            let room = input.room(READ_OCTETS_MAX);
            let taken = room.len().min(octets.len());
            room[..taken].copy_from_slice(&octets[..taken]);
            input.filled(taken);
            octets = &octets[taken..];
        }
    }

    fn frame(length: usize, content: u8) -> Vec<u8> {
        let mut frame = (length as u32).to_be_bytes().to_vec();
        frame.resize(length, content);
        frame
    }

    #[test]
    fn frames_come_whole_however_they_were_read() {
        let stream: Vec<u8> = [frame(16, 1), frame(40, 2), frame(17, 3)].concat();
        for step in [1, 3, 16, 39, 73] {
            let mut input = Input::default();
            let mut frames = Vec::new();
            for octets in stream.chunks(step) {
                feed(&mut input, octets);
                while let Some(frame) = input.next_frame(1_000).unwrap() {
                    frames.push(frame.to_vec());
                }
            }
            assert_eq!(frames.concat(), stream, "{step}");
            assert_eq!(frames.len(), 3);
            assert!(!input.is_partial());
        }
    }

    #[test]
    fn a_bursts_room_is_given_back_when_reads_bring_little_for_long() {
        let mut input = Input::default();
        let mut read = |octets: usize| {
            feed(&mut input, &frame(octets, 1));
            while input.next_frame(1 << 20).unwrap().is_some() {}
            input.buffer.len()
        };
        let grown = (0..8).map(|_| read(200_000)).last().unwrap();
        assert!(grown >= 200_000, "{grown}");
        let rested = (0..4 * u32::from(ROOMY_MAX)).map(|_| read(20)).last().unwrap();
        assert_eq!(rested, READ_OCTETS_FIRST);
        assert!(read(200_000) >= 200_000, "and it grows again");
    }

    #[test]
    fn a_frame_longer_than_a_read_fits_and_the_buffer_stops_growing() {
        let mut input = Input::default();
        for _ in 0..3 {
            feed(&mut input, &frame(300_000, 7));
            assert!(input.is_partial());
            assert_eq!(input.next_frame(400_000).unwrap().unwrap().len(), 300_000);
        }
        assert!(input.buffer.len() <= 4 * READ_OCTETS_MAX, "{}", input.buffer.len());
        let mut small = Input::default();
        feed(&mut small, &frame(100, 1));
        small.next_frame(1_000).unwrap();
        small.room(READ_OCTETS_MAX);
        assert_eq!(small.buffer.len(), READ_OCTETS_FIRST);
        let mut bounded = Input::default();
        for _ in 0..100 {
            let room = bounded.room(READ_OCTETS_FIRST).len();
            bounded.filled(room);
            bounded.start = bounded.end;
        }
        assert_eq!(bounded.buffer.len(), READ_OCTETS_FIRST);
    }

    /// Like TLS over a kernel that is full: what is written is kept, and goes out when a flush is asked for with room.
    #[derive(Default)]
    struct Kept {
        kept: Vec<u8>,
        has_room: bool,
        sent: Vec<u8>,
    }

    impl AsyncRead for Kept {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Kept {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            octets: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.kept.extend_from_slice(octets);
            Poll::Ready(Ok(octets.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if !self.has_room {
                return Poll::Pending;
            }
            let kept = std::mem::take(&mut self.kept);
            self.sent.extend(kept);
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(context)
        }
    }

    #[test]
    fn what_the_stream_kept_goes_out_though_nothing_more_is_written() {
        let mut session = Session::new(Role::Smsc, Limits::DEFAULT, Mono(0));
        let due = frame(40, 1);
        session.respond_frames(Mono(0), 0, &due);
        let mut wire = Wire::new(Kept::default());
        let mut input = Input::default();
        let mut context = Context::from_waker(std::task::Waker::noop());
        for read in [Some(READ_OCTETS_MAX), None] {
            assert!(
                wire.poll(&mut context, &mut session, &mut input, Wants { read, room: false }).is_pending()
            );
            assert!(session.output().is_empty() && wire.stream.sent.is_empty());
        }
        wire.stream.has_room = true;
        assert!(
            wire.poll(&mut context, &mut session, &mut input, Wants { read: None, room: false }).is_pending()
        );
        assert_eq!(wire.stream.sent, due);
    }
}
