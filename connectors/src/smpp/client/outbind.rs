//! Providers that connect to us and say outbind (SMPP 3.4 §4.1.7): who is let in, and to which bind a connection goes.
//! The bind follows on the same connection, and is `bind`'s.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use codecs::smpp::Command;
use codecs::smpp::pdu::{self, Header};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;

use super::{Secret, closing};
use crate::clock::Clock;
use crate::smpp::counters::ServerCounters;
use crate::smpp::gate::{Gate, Pass};
use crate::smpp::lockout::Lockout;
use crate::smpp::phase::Phases;
use crate::sparing::STRANGERS;

/// How long a connection may take to say outbind, and how many may be about to: they are strangers until then. The oldest
/// makes room for the newest.
const GREETING: Duration = Duration::from_secs(10);
const GREETING_MAX: usize = 64;
/// How long one that has said it waits for a bind, and how many there may be of both kinds.
const WAITING: Duration = Duration::from_secs(30);
pub const CONNECTIONS_MAX: usize = 2 * GREETING_MAX;
/// The header, and two fields far beyond what the specification allows.
const OUTBIND_OCTETS_MAX: usize = 256;
/// After accept has failed, which mostly means too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a provider must say of itself.
#[derive(Clone)]
pub struct Expected {
    /// For logs.
    pub provider_id: String,
    /// Empty: anything.
    pub system_id: String,
    pub password: Secret,
    /// Whence it comes; nobody else is listened to. `None`: from anywhere.
    pub from: Option<Arc<dyn Fn(IpAddr) -> bool + Send + Sync>>,
    /// What the doors of all providers share.
    pub shared: Shared,
}

/// Who has guessed lately, and how many connections there were too many of.
#[derive(Clone)]
pub struct Shared {
    pub lockout: Arc<Lockout>,
    pub counters: Arc<ServerCounters>,
}

/// Where the binds of one provider wait for its connections.
pub struct Outbind {
    asking: mpsc::Sender<oneshot::Sender<TcpStream>>,
}

impl Outbind {
    /// With who keeps it. `places` are as many as there are binds.
    pub fn open(
        listener: TcpListener,
        expected: Expected,
        places: usize,
        clock: Clock,
    ) -> (Arc<Outbind>, Keeper) {
        let (asking, askers) = mpsc::channel(places.max(1));
        let door = Arc::new(Door { expected, clock, askers: Mutex::new(askers) });
        (Arc::new(Outbind { asking }), Keeper { listener, door })
    }

    /// The next connection.
    pub(super) async fn next(&self) -> io::Result<TcpStream> {
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "nobody listens for outbind any more");
        let (sender, connection) = oneshot::channel();
        self.asking.send(sender).await.map_err(|_| gone())?;
        connection.await.map_err(|_| gone())
    }
}

/// Lets the provider in.
pub struct Keeper {
    listener: TcpListener,
    door: Arc<Door>,
}

/// What all its connections share.
struct Door {
    expected: Expected,
    clock: Clock,
    /// Binds that wait for a connection.
    askers: Mutex<mpsc::Receiver<oneshot::Sender<TcpStream>>>,
}

/// Why a connection was not let in.
#[derive(Debug, thiserror::Error)]
enum GreetingError {
    #[error("no outbind came in time")]
    Late,
    #[error("no outbind came")]
    Lost(#[from] io::Error),
    #[error("the first PDU is no outbind")]
    Nonsense,
    #[error("outbind with a wrong system_id or password")]
    Wrong,
    #[error("too many wrong outbinds came from there")]
    LockedOut,
}

impl Keeper {
    /// Until the phase is `Closing`.
    pub async fn run(self, mut phases: Phases) {
        let Keeper { listener, door } = self;
        let gate = Gate::new(CONNECTIONS_MAX, GREETING_MAX, Arc::clone(&door.expected.shared.counters));
        let mut greetings = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = closing(&mut phases) => return,
                Some(_) = greetings.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) if door.listens_to(from.ip()) => {
                        let Some(pass) = gate.enter(from.ip()) else { continue };
                        let number = pass.number();
                        let task = greetings.spawn(Arc::clone(&door).greet(stream, from, pass));
                        gate.may_end(number, task);
                    }
                    Ok((_, from)) => door.report(from, "a connection from where no outbind may come"),
                    Err(error) => {
                        tracing::warn!(provider = %door.expected.provider_id, %error, "no outbind can be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }
}

impl Door {
    fn listens_to(&self, from: IpAddr) -> bool {
        self.expected.from.as_ref().is_none_or(|is_allowed| is_allowed(from))
    }

    async fn greet(self: Arc<Door>, mut stream: TcpStream, from: SocketAddr, mut pass: Pass) {
        if let Err(error) = self.judge(&mut stream, from.ip()).await {
            return self.report(from, &error.to_string());
        }
        if !pass.bound() {
            return;
        }
        let provider = &self.expected.provider_id;
        match tokio::time::timeout(WAITING, self.hand_over(stream)).await {
            Ok(true) => tracing::debug!(%provider, %from, "outbind"),
            Ok(false) => {
                tracing::warn!(%provider, %from, "outbind: the connection ended before a bind wanted it")
            }
            Err(_) => tracing::warn!(%provider, %from, "outbind: no bind waits for a connection"),
        }
    }

    /// Whether the peer is who it should be. Guessing is slow: a wrong answer is held back, and after some the address is not
    /// listened to for a while.
    async fn judge(&self, stream: &mut (impl AsyncRead + Unpin), from: IpAddr) -> Result<(), GreetingError> {
        let expected = &self.expected;
        let name = expected.system_id.as_bytes();
        let lockout = &expected.shared.lockout;
        // Who guesses at one provider's door is still heard at another's.
        let guessed = [expected.provider_id.as_bytes(), b"\0", name].concat();
        if lockout.is_locked(self.clock.mono(), from, &guessed) {
            return Err(GreetingError::LockedOut);
        }
        let mut octets = [0; OUTBIND_OCTETS_MAX];
        let reading = tokio::time::timeout(GREETING, read_outbind(stream, &mut octets));
        let outbind = reading.await.map_err(|_| GreetingError::Late)??;
        let is_named = name.is_empty() || outbind.system_id == name;
        let is_right = is_named & is_same(outbind.password, expected.password.0.as_bytes());
        // Others of this address may have guessed meanwhile.
        if lockout.is_locked(self.clock.mono(), from, &guessed) {
            return Err(GreetingError::LockedOut);
        }
        if !is_right {
            let delay = lockout.failed(self.clock.mono(), from, &guessed);
            tokio::time::sleep(delay).await;
            return Err(GreetingError::Wrong);
        }
        lockout.succeeded(from, &guessed);
        Ok(())
    }

    /// Gives a bind that waits the connection. `false` when the connection ended before, or spoke though it was not its turn.
    async fn hand_over(&self, mut stream: TcpStream) -> bool {
        let mut octet = [0];
        loop {
            let asker = tokio::select! {
                biased;
                _ = stream.peek(&mut octet) => return false,
                asker = async { self.askers.lock().await.recv().await } => asker,
            };
            let Some(asker) = asker else { return false };
            match asker.send(stream) {
                Ok(()) => return true,
                // That bind is told to end.
                Err(unsent) => stream = unsent,
            }
        }
    }

    fn report(&self, from: SocketAddr, what: &str) {
        if let Some(left_out) = STRANGERS.line(self.clock.mono()) {
            tracing::warn!(provider = %self.expected.provider_id, %from, left_out, "{what}");
        }
    }
}

/// The first PDU. Not an octet more than it is read.
async fn read_outbind<'o>(
    stream: &mut (impl AsyncRead + Unpin),
    octets: &'o mut [u8; OUTBIND_OCTETS_MAX],
) -> Result<pdu::Outbind<'o>, GreetingError> {
    let (head, rest) = octets.split_at_mut(16);
    stream.read_exact(head).await?;
    let header = Header::read(head).filter(|header| header.command == Command::OUTBIND);
    let length = header.and_then(|header| usize::try_from(header.length).ok()?.checked_sub(16));
    let body = length.and_then(|length| rest.get_mut(..length)).ok_or(GreetingError::Nonsense)?;
    stream.read_exact(body).await?;
    pdu::Outbind::read(body).map_err(|_| GreetingError::Nonsense)
}

/// Takes as long wherever two passwords of one length differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |found, (one, other)| found | (one ^ other));
    one.len() == other.len() && differences == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use std::net::Ipv4Addr;

    use tokio::io::AsyncWriteExt;
    use tokio::time::Instant;

    use super::*;
    use crate::smpp::lockout::LockoutOptions;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn door() -> Door {
        let expected = Expected {
            provider_id: "up".to_owned(),
            system_id: "smsc".to_owned(),
            password: Secret("right".to_owned()),
            from: None,
            shared: Shared {
                lockout: Arc::new(Lockout::new(LockoutOptions::default())),
                counters: Arc::default(),
            },
        };
        Door { expected, clock: Clock::start(), askers: Mutex::new(mpsc::channel(1).1) }
    }

    /// What becomes of this password, and how long that takes.
    async fn says(door: &Door, from: IpAddr, password: &[u8; 5]) -> (Result<(), GreetingError>, Duration) {
        let began = Instant::now();
        let (mut peer, mut ours) = tokio::io::duplex(OUTBIND_OCTETS_MAX);
        // command_length 27, outbind, ESME_ROK, sequence 1.
        let outbind = [&b"\0\0\0\x1b\0\0\0\x0b\0\0\0\0\0\0\0\x01smsc\0"[..], password, b"\0"].concat();
        peer.write_all(&outbind).await.unwrap();
        let judged = door.judge(&mut ours, from).await;
        (judged, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_answer_is_held_back_and_after_ten_of_them_none_is_read() {
        let door = door();
        for held in [1, 2, 4, 8, 16, 16, 16, 16, 16, 16] {
            let (judged, took) = says(&door, HERE, b"guess").await;
            assert!(matches!(judged, Err(GreetingError::Wrong)), "{judged:?}");
            assert!(took >= Duration::from_secs(held), "{took:?}");
        }
        assert!(matches!(says(&door, HERE, b"right").await.0, Err(GreetingError::LockedOut)));
        let (judged, took) = says(&door, THERE, b"right").await;
        assert!(judged.is_ok() && took < Duration::from_secs(1), "{judged:?} {took:?}");
    }
}
