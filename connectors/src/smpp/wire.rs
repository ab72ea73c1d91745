//! A socket and the octets read from it: one read takes all that is there, one write gives all that is due.
//! It cuts frames and knows no PDUs.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use codecs::smpp::frame::{self, FrameError};
use codecs::smpp::session::Session;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// What a stranger's read takes at most, and what a buffer has beyond the beginning of a frame.
pub const READ_OCTETS_FIRST: usize = 4 * 1024;
/// What is kept of the room for the beginning of a frame, once there is none.
const REST_OCTETS_KEPT: usize = 1024;

thread_local! {
    /// Where the sockets of a thread are read to, one at a time. A room for each would be out of the processor's cache whenever it
    /// is its turn, and most have nothing to read most of the time.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What was read and not yet used.
#[derive(Default)]
pub struct Input {
    /// From a read until its frames have been cut: the thread's room, with what was there before and what was read.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Between two reads: the beginning of a frame.
    rest: Vec<u8>,
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
        self.start < self.end || !self.rest.is_empty()
    }

    /// Reads up to `octets_max` octets, and some more where a frame does not fit in so many, with what the frames before left in
    /// front of them; how many `read` has read.
    fn read_by<E>(
        &mut self,
        octets_max: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let mut room = ROOM.take();
        let before = self.rest.len();
        let wanted = octets_max.max(before.saturating_add(READ_OCTETS_FIRST));
        if room.len() < wanted {
            room.resize(wanted, 0);
        }
        let done = read(room.get_mut(before..wanted).unwrap_or_default());
        match done {
            Ok(octets) if octets > 0 => {
                if let Some(front) = room.get_mut(..before) {
                    front.copy_from_slice(&self.rest);
                }
                (self.start, self.end) = (0, before.saturating_add(octets));
                self.buffer = room;
            }
            _ => ROOM.set(room),
        }
        done
    }

    /// The frames have been cut: what is left of the last one is kept, and the room goes back.
    pub fn settle(&mut self) {
        self.rest.clear();
        let left = self.buffer.get(self.start..self.end).unwrap_or_default();
        if left.is_empty() {
            self.rest.shrink_to(REST_OCTETS_KEPT);
        }
        self.rest.extend_from_slice(left);
        (self.start, self.end) = (0, 0);
        ROOM.set(std::mem::take(&mut self.buffer));
    }
}

/// What a socket has brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Octets were read.
    Read,
    /// The kernel took octets, and the caller waits for that.
    Written,
    /// The peer has ended its own half: nothing more comes, and it may still read.
    HalfClosed,
    /// The connection broke.
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

/// Nothing is read any more: the peer has ended its half, or the connection broke.
#[derive(Debug)]
enum Ended {
    ByPeer,
    Broken(io::Error),
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
    /// What the system or TLS said when the connection broke.
    why_broken: Option<io::Error>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub fn new(stream: S) -> Wire<S> {
        Wire { stream, is_broken: false, taken: 0, is_unflushed: false, why_broken: None }
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
            match input.read_by(octets_max, |room| self.read(context, room)) {
                Ok(octets) if octets > 0 => return Poll::Ready(Progress::Read),
                Ok(_) => {}
                Err(Ended::ByPeer) if !self.is_broken => return Poll::Ready(Progress::HalfClosed),
                Err(Ended::ByPeer) => return Poll::Ready(Progress::Ended),
                Err(Ended::Broken(error)) => {
                    // It counts for more than what a write met before: what TLS has to say comes to be read.
                    self.why_broken = Some(error);
                    return Poll::Ready(Progress::Ended);
                }
            }
        } else if self.is_broken {
            return Poll::Ready(Progress::Ended);
        }
        if wrote && wants.room {
            return Poll::Ready(Progress::Written);
        }
        Poll::Pending
    }

    /// How many octets were there.
    fn read(&mut self, context: &mut Context<'_>, room: &mut [u8]) -> Result<usize, Ended> {
        let mut room = ReadBuf::new(room);
        match Pin::new(&mut self.stream).poll_read(context, &mut room) {
            Poll::Ready(Ok(())) if !room.filled().is_empty() => Ok(room.filled().len()),
            Poll::Ready(Ok(())) => Err(Ended::ByPeer),
            Poll::Ready(Err(error)) => Err(Ended::Broken(error)),
            Poll::Pending => Ok(0),
        }
    }

    /// Why the connection broke, if it did.
    pub fn why_broken(&self) -> Option<&io::Error> {
        self.why_broken.as_ref()
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
                Poll::Ready(wrote) => self.broke(wrote.err()),
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
            Poll::Ready(Err(error)) => self.broke(Some(error)),
            Poll::Pending => {}
        }
    }

    fn broke(&mut self, why: Option<io::Error>) {
        self.is_broken = true;
        self.why_broken = self.why_broken.take().or(why);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use codecs::instant::Mono;
    use codecs::smpp::session::{Limits, Role};

    use super::*;

    const READ_OCTETS_MAX: usize = 256 * 1024;

    /// Reads these octets, in as many reads as it takes, and gives the frames that they end.
    fn feed(input: &mut Input, octets: &[u8], octets_max: usize) -> Vec<Vec<u8>> {
        let (mut octets, mut frames) = (octets, Vec::new());
        while !octets.is_empty() {
            let read = |room: &mut [u8]| {
                let taken = room.len().min(octets.len());
                room[..taken].copy_from_slice(&octets[..taken]);
                Ok::<usize, Ended>(taken)
            };
            let taken = input.read_by(octets_max, read).unwrap_or_default();
            assert!(taken > 0);
            octets = &octets[taken..];
            while let Some(frame) = input.next_frame(400_000).unwrap() {
                frames.push(frame.to_vec());
            }
            input.settle();
        }
        frames
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
            let frames: Vec<Vec<u8>> =
                stream.chunks(step).flat_map(|octets| feed(&mut input, octets, READ_OCTETS_MAX)).collect();
            assert_eq!(frames.concat(), stream, "{step}");
            assert_eq!(frames.len(), 3);
            assert!(!input.is_partial());
        }
    }

    #[test]
    fn what_is_read_of_one_connection_is_not_in_another_ones_way() {
        let (mut one, mut other) = (Input::default(), Input::default());
        let (first, second) = (frame(5_000, 1), frame(300, 2));
        for cut in [1, 15, 16, 17, 4_999] {
            assert!(feed(&mut one, &first[..cut], READ_OCTETS_MAX).is_empty());
            assert!(one.is_partial());
            assert_eq!(feed(&mut other, &second, READ_OCTETS_MAX), [&second[..]]);
            // Nothing has come, and nothing is lost by that.
            assert!(matches!(one.read_by(READ_OCTETS_MAX, |_| Ok::<usize, Ended>(0)), Ok(0)));
            assert_eq!(feed(&mut one, &first[cut..], READ_OCTETS_MAX), [&first[..]]);
        }
    }

    #[test]
    fn between_reads_there_is_no_room_but_for_the_beginning_of_a_frame() {
        let mut input = Input::default();
        for (octets, octets_max) in
            [(300_000, READ_OCTETS_MAX), (100, READ_OCTETS_MAX), (9_000, READ_OCTETS_FIRST)]
        {
            let whole = frame(octets, 7);
            assert_eq!(feed(&mut input, &whole, octets_max), [&whole[..]], "longer than a read, too");
            assert!(feed(&mut input, &whole[..octets / 2], octets_max).is_empty());
            assert!(input.buffer.capacity() == 0 && input.rest.len() == octets / 2);
            assert_eq!(feed(&mut input, &whole[octets / 2..], octets_max), [&whole[..]]);
            assert!(input.rest.capacity() <= REST_OCTETS_KEPT && !input.is_partial());
        }
    }

    #[test]
    fn a_read_takes_no_more_than_it_may() {
        let mut input = Input::default();
        let lengths = [READ_OCTETS_MAX, READ_OCTETS_FIRST].map(|octets_max| {
            let mut length = 0;
            let _ = input.read_by(octets_max, |room| {
                length = room.len();
                Ok::<usize, Ended>(0)
            });
            length
        });
        assert_eq!(lengths, [READ_OCTETS_MAX, READ_OCTETS_FIRST]);
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
