//! One connection between a socket and a commit loop, the same for tenants and providers: what is read, what waits for
//! the lane, for the window or for the peer, and when to wake up. What the PDUs mean is said by `server` and `client`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use codecs::instant::Mono;
use codecs::smpp::session::{Lost, Session};
use engine::command::Command;
use engine::effect::Outgoing;
use tokio::io::{AsyncRead, AsyncWrite};

use super::alarm::{Alarm, earlier};
use super::backlog::Backlog;
use super::phase::{Phase, Phases};
use super::wire::{Input, Progress, READ_OCTETS_FIRST, Wants, Wire};
use crate::clock::Clock;
use crate::intake::{Lane, NotTaken, Stopped};
use crate::link::Link;

/// Octets that may wait for the peer; reading stops beyond. From half of it on no more requests of ours are added.
const OUTGOING_OCTETS_MAX: usize = 1024 * 1024;
/// The most that one read takes, which is also the bound of a turn.
const READ_OCTETS_MAX: usize = 256 * 1024;
/// The same of a stranger, whose memory nobody answers for.
const UNBOUND_OUTGOING_OCTETS_MAX: usize = 16 * 1024;
/// The longest PDU of a stranger: a bind with every field too long still fits.
pub const UNBOUND_PDU_OCTETS_MAX: usize = READ_OCTETS_FIRST;
/// How long a closed session's last octets are written.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The commit loop answers within a group or two. Without an end a mistake there would keep the bind down for ever.
const FAREWELL_MAX: Duration = Duration::from_secs(60);

/// What has ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    Read,
    /// The peer has ended its own half of the connection: nothing more is to be read.
    HalfClosed,
    /// The connection broke.
    Ended,
    Phase(Phase),
    /// Time, room, or work from the commit loop: all of it is looked at in every turn.
    Other,
}

pub struct Line<S> {
    pub session: Session,
    pub backlog: Backlog,
    clock: Clock,
    wire: Wire<S>,
    input: Input,
    alarm: Alarm,
    ends: Option<Ends>,
    /// Commands that the lane had no room for.
    unoffered: VecDeque<Command>,
    /// The last time that the peer kept up with us.
    eased: Mono,
    stalled_max: Duration,
}

/// Both ends at the commit loop; there are none before the bind.
struct Ends {
    lane: Lane,
    link: Arc<Link>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// `stalled_max`: how long a peer may keep us from writing before it is cut off.
    pub fn new(stream: S, session: Session, clock: Clock, stalled_max: Duration) -> Line<S> {
        Line {
            session,
            backlog: Backlog::default(),
            clock,
            wire: Wire::new(stream),
            input: Input::default(),
            alarm: Alarm::new(clock),
            ends: None,
            unoffered: VecDeque::new(),
            eased: clock.mono(),
            stalled_max,
        }
    }

    /// From here on there is somebody to talk to.
    pub fn join(&mut self, lane: Lane, link: Arc<Link>) {
        self.ends = Some(Ends { lane, link });
    }

    /// Writes what is due and waits for something to do. `reads`: the caller wants more.
    pub async fn wait(
        &mut self,
        reads: bool,
        deadline: Option<Mono>,
        phases: &mut Phases,
        phase: Phase,
    ) -> Woken {
        let stalled = self.stalled_at();
        let deadline = earlier(earlier(deadline, stalled), self.session.next_timeout());
        self.alarm.set(deadline);
        let may_read = reads && self.unoffered.is_empty() && !self.is_full();
        let wants = Wants {
            read: may_read.then_some(if self.ends.is_some() { READ_OCTETS_MAX } else { READ_OCTETS_FIRST }),
            room: stalled.is_some() || !self.backlog.is_empty(),
        };
        let Line { wire, input, session, alarm, ends, unoffered, .. } = self;
        let ends = ends.as_ref();
        // The socket first: all else is looked at in every turn, whoever has woken us.
        tokio::select! {
            biased;
            progress = poll_fn(|context| wire.poll(context, session, input, wants)) => match progress {
                Progress::Read => Woken::Read,
                Progress::Written => Woken::Other,
                Progress::HalfClosed => Woken::HalfClosed,
                Progress::Ended => Woken::Ended,
            },
            () = alarm.rings() => Woken::Other,
            () = released(ends) => Woken::Other,
            () = room(ends), if !unoffered.is_empty() => Woken::Other,
            phase = phases.after(phase) => Woken::Phase(phase),
        }
    }

    /// What was read; to be given back by `keep` after its frames have been taken.
    pub fn take_input(&mut self) -> Input {
        std::mem::take(&mut self.input)
    }

    pub fn keep(&mut self, now: Mono, mut input: Input) {
        input.settle();
        self.session.partial(now, input.is_partial());
        self.input = input;
    }

    /// Gives the commit loop a command, now or when the lane has room.
    pub fn offer(&mut self, command: Command) {
        self.unoffered.push_back(command);
    }

    /// Gives the lane what waits for it.
    pub fn flush(&mut self) -> Result<(), Stopped> {
        let Some(ends) = &self.ends else { return Ok(()) };
        while let Some(command) = self.unoffered.pop_front() {
            match ends.lane.try_offer(command) {
                Ok(()) => {}
                Err(NotTaken::Stopped) => return Err(Stopped),
                Err(NotTaken::Full(command)) => {
                    self.unoffered.push_front(*command);
                    break;
                }
            }
        }
        Ok(())
    }

    /// What the commit loop has released.
    pub fn take_outgoing(&self) -> Outgoing {
        self.ends.as_ref().map(|ends| ends.link.take()).unwrap_or_default()
    }

    /// Moves requests from the backlog into the window, as far as there is room and the peer reads.
    pub fn feed(&mut self, now: Mono, command: codecs::smpp::Command) {
        while let Some((token, body)) = self.backlog.first() {
            if self.is_half_full() || self.session.request(now, command, token, body).is_err() {
                break;
            }
            self.backlog.pop();
        }
    }

    /// Whether another request would be taken now.
    pub fn may_request(&self) -> bool {
        !self.is_half_full() && self.session.room() > 0
    }

    /// Notes whether the peer keeps up; to be called in every turn before anything is added. `true` when it has not for too long.
    pub fn is_stalled(&mut self, now: Mono) -> bool {
        let has_moved = self.wire.has_moved();
        if !self.is_half_full() || (has_moved && !self.is_full()) {
            self.eased = now;
        }
        now.since(self.eased) >= self.stalled_max
    }

    /// What waits for the peer, in the session's output and for its window.
    pub fn waiting_octets(&self) -> usize {
        self.session.outgoing_octets().saturating_add(self.backlog.octets())
    }

    /// Why the session is over, in words for the log.
    pub fn why_closed(&self) -> String {
        match (self.session.closed(), self.wire.why_broken()) {
            (Some(reason), _) => reason.to_string(),
            (None, Some(error)) => format!("the connection ended: {error}"),
            (None, None) => "the connection ended".to_owned(),
        }
    }

    /// Ends the connection: what is left is written, and the socket closed. What the session had open comes back, and
    /// what waited for its window is unsent.
    pub async fn close(&mut self) -> Lost {
        self.wire.finish(&mut self.session, LAST_WORDS).await;
        let mut lost = self.session.close();
        lost.unsent.extend(self.backlog.drain());
        lost
    }

    /// Tells the commit loop that the connection is gone, and gives back what was on its way here meanwhile.
    pub async fn leave(
        &mut self,
        gone: Command,
        returned: impl FnOnce(Vec<u64>) -> Command,
    ) -> Result<(), Stopped> {
        let Some(Ends { lane, link }) = self.ends.take() else { return Ok(()) };
        self.unoffered.push_back(gone);
        while let Some(command) = self.unoffered.pop_front() {
            lane.offer(command).await?;
        }
        let tokens = late_requests(&lane, &link).await?;
        if !tokens.is_empty() {
            lane.offer(returned(tokens)).await?;
        }
        Ok(())
    }

    pub fn clock(&self) -> Clock {
        self.clock
    }

    fn is_full(&self) -> bool {
        self.session.outgoing_octets() >= self.outgoing_octets_max()
    }

    fn is_half_full(&self) -> bool {
        self.session.outgoing_octets() >= self.outgoing_octets_max() / 2
    }

    fn outgoing_octets_max(&self) -> usize {
        if self.ends.is_some() { OUTGOING_OCTETS_MAX } else { UNBOUND_OUTGOING_OCTETS_MAX }
    }

    /// When the peer will have stalled for too long, if it goes on like this.
    fn stalled_at(&self) -> Option<Mono> {
        self.is_half_full().then(|| self.eased.after(self.stalled_max))
    }
}

/// The tokens of what was released until the commit loop took note that the connection is gone.
async fn late_requests(lane: &Lane, link: &Link) -> Result<Vec<u64>, Stopped> {
    let mut tokens = Vec::new();
    let patience = tokio::time::sleep(FAREWELL_MAX);
    tokio::pin!(patience);
    loop {
        let outgoing = link.take();
        tokens.extend(outgoing.requests.iter().map(|request| request.token));
        if outgoing.closed {
            return Ok(tokens);
        }
        tokio::select! {
            biased;
            () = link.ready() => {}
            () = lane.stopped() => return Err(Stopped),
            () = &mut patience => {
                tracing::error!("the commit loop has not said farewell to a connection");
                return Ok(tokens);
            }
        }
    }
}

async fn released(ends: Option<&Ends>) {
    match ends {
        Some(ends) => ends.link.ready().await,
        None => std::future::pending().await,
    }
}

async fn room(ends: Option<&Ends>) {
    match ends {
        Some(ends) => ends.lane.room().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
