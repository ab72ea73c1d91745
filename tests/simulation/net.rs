//! The simulated network: lines with delay and bounded room, which can stall and be cut. It knows no PDUs.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::dice::Dice;

/// One direction of a line.
struct Flow {
    /// Octets on their way: when they arrive, and when they were written.
    chunks: VecDeque<(Instant, Instant, Vec<u8>)>,
    octets: usize,
    room: usize,
    /// Nothing follows what is on its way.
    ended: bool,
    /// Nobody takes anything any more.
    refuses: bool,
    /// Nothing written from now on arrives before.
    not_before: Instant,
    delay_max: u64,
    dice: Dice,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Flow {
    fn new(dice: Dice, delay_max: u64, room: usize) -> Shared {
        let not_before = Instant::now();
        Arc::new(Mutex::new(Flow {
            chunks: VecDeque::new(),
            octets: 0,
            room,
            ended: false,
            refuses: false,
            not_before,
            delay_max,
            dice,
            reader: None,
            writer: None,
        }))
    }

    fn push(&mut self, octets: &[u8]) {
        let delay = Duration::from_millis(self.dice.in_range(0..self.delay_max + 1));
        let arrives = self.not_before.max(Instant::now() + delay);
        self.not_before = arrives;
        self.octets += octets.len();
        self.chunks.push_back((arrives, Instant::now(), octets.to_vec()));
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }

    /// The line breaks: some of what is on its way still arrives.
    fn cut(&mut self) {
        let kept = self.dice.in_range(0..self.octets as u64 + 1) as usize;
        let mut left = kept;
        for (.., chunk) in &mut self.chunks {
            chunk.truncate(left);
            left -= chunk.len();
        }
        self.chunks.retain(|(.., chunk)| !chunk.is_empty());
        self.octets = kept;
        self.ended = true;
        self.refuses = true;
        self.wake();
    }
}

type Shared = Arc<Mutex<Flow>>;

fn lock(flow: &Shared) -> MutexGuard<'_, Flow> {
    flow.lock().expect("no flow breaks")
}

/// One end of a line.
pub struct Stream {
    inbound: Shared,
    outbound: Shared,
    alarm: Pin<Box<Sleep>>,
    /// When what was read last had been written.
    pub written: Instant,
}

/// All lines that there are.
#[derive(Default)]
pub struct Net {
    lines: Mutex<Vec<[Weak<Mutex<Flow>>; 2]>>,
}

impl Net {
    /// A line and its two ends. What waits in one direction is at most `room` octets.
    pub fn line(&self, dice: &mut Dice, delay_max: u64, room: usize) -> (Stream, Stream) {
        let mut flow = || Flow::new(Dice::new(dice.word()), delay_max, room);
        let (there, back) = (flow(), flow());
        let mut lines = self.lines.lock().expect("the lines are never left broken");
        lines.retain(|line| line.iter().all(|flow| flow.strong_count() > 0));
        lines.push([Arc::downgrade(&there), Arc::downgrade(&back)]);
        let end = |inbound: &Shared, outbound: &Shared| Stream {
            inbound: Arc::clone(inbound),
            outbound: Arc::clone(outbound),
            alarm: Box::pin(sleep_until(Instant::now())),
            written: Instant::now(),
        };
        (end(&there, &back), end(&back, &there))
    }

    /// Breaks one of the lines. Nothing happens where there is none.
    pub fn cut_one(&self, dice: &mut Dice) {
        for flow in self.any(dice) {
            lock(&flow).cut();
        }
    }

    /// Holds one of the lines up for a while: nothing is lost, all of it is late.
    pub fn stall_one(&self, dice: &mut Dice, pause: Duration) {
        for flow in self.any(dice) {
            let mut flow = lock(&flow);
            flow.not_before = flow.not_before.max(Instant::now() + pause);
        }
    }

    fn any(&self, dice: &mut Dice) -> Vec<Shared> {
        let lines = self.lines.lock().expect("the lines are never left broken");
        let living: Vec<Vec<Shared>> = lines
            .iter()
            .map(|line| line.iter().filter_map(Weak::upgrade).collect::<Vec<_>>())
            .filter(|line| line.len() == 2)
            .collect();
        match living.len() {
            0 => Vec::new(),
            count => living.into_iter().nth(dice.in_range(0..count as u64) as usize).unwrap_or_default(),
        }
    }
}

impl Stream {
    /// Sends without looking at the room: the simulated peers hold what they cannot send, and this is it.
    pub fn send(&mut self, octets: &[u8]) {
        let mut flow = lock(&self.outbound);
        if !flow.refuses {
            flow.push(octets);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let this = &mut *self;
            let arrives = {
                let mut flow = lock(&this.inbound);
                let flow = &mut *flow;
                match flow.chunks.front_mut() {
                    Some((arrives, written, chunk)) if *arrives <= Instant::now() => {
                        this.written = *written;
                        let taken = chunk.len().min(into.remaining());
                        into.put_slice(&chunk[..taken]);
                        chunk.drain(..taken);
                        if chunk.is_empty() {
                            flow.chunks.pop_front();
                        }
                        flow.octets -= taken;
                        flow.writer.take().into_iter().for_each(Waker::wake);
                        return Poll::Ready(Ok(()));
                    }
                    Some((arrives, ..)) => *arrives,
                    None if flow.ended => return Poll::Ready(Ok(())),
                    None => {
                        flow.reader = Some(context.waker().clone());
                        return Poll::Pending;
                    }
                }
            };
            lock(&self.inbound).reader = Some(context.waker().clone());
            self.alarm.as_mut().reset(arrives);
            if self.alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let mut flow = lock(&self.outbound);
        if flow.refuses || flow.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = flow.room.saturating_sub(flow.octets);
        if room == 0 {
            flow.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let taken = room.min(octets.len());
        flow.push(&octets[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut flow = lock(&self.outbound);
        flow.ended = true;
        flow.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut outbound = lock(&self.outbound);
        outbound.ended = true;
        outbound.wake();
        drop(outbound);
        let mut inbound = lock(&self.inbound);
        inbound.refuses = true;
        inbound.wake();
    }
}
