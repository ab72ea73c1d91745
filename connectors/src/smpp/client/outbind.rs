//! Providers that connect to us and say outbind (SMPP 3.4 §4.1.7): who is let in, and to which bind a connection goes.
//! The bind follows on the same connection, and is `bind`'s.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use codecs::smpp::Command;
use codecs::smpp::pdu::{self, Header};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::{Secret, closing};
use crate::smpp::phase::Phases;

/// How long a connection may take to say outbind, and how many may be about to: they are strangers until then.
const GREETING: Duration = Duration::from_secs(10);
const GREETING_MAX: usize = 64;
/// The header, and two fields far beyond what the specification allows.
const OUTBIND_OCTETS_MAX: usize = 256;
/// After accept has failed, which mostly means too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a provider must say of itself.
#[derive(Clone, Debug)]
pub struct Expected {
    /// For logs.
    pub provider_id: String,
    /// Empty: anything.
    pub system_id: String,
    pub password: Secret,
}

/// The connections of one provider that have said outbind and wait for a bind of ours.
pub struct Outbind {
    waiting: Mutex<mpsc::Receiver<TcpStream>>,
}

impl Outbind {
    /// With who keeps it. `places` are as many as there are binds; a connection that no bind waits for is closed.
    pub fn open(listener: TcpListener, expected: Expected, places: usize) -> (Arc<Outbind>, Keeper) {
        let (sender, receiver) = mpsc::channel(places.max(1));
        let outbind = Arc::new(Outbind { waiting: Mutex::new(receiver) });
        (outbind, Keeper { listener, expected: Arc::new(expected), sender })
    }

    /// The next connection.
    pub(super) async fn next(&self) -> io::Result<TcpStream> {
        let next = self.waiting.lock().await.recv().await;
        next.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "nobody listens for outbind any more"))
    }
}

/// Lets the provider in.
pub struct Keeper {
    listener: TcpListener,
    expected: Arc<Expected>,
    sender: mpsc::Sender<TcpStream>,
}

impl Keeper {
    /// Until the phase is `Closing`.
    pub async fn run(self, mut phases: Phases) {
        let Keeper { listener, expected, sender } = self;
        let mut greetings = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = closing(&mut phases) => return,
                Some(_) = greetings.join_next() => {}
                accepted = listener.accept(), if greetings.len() < GREETING_MAX => match accepted {
                    Ok((stream, _)) => {
                        greetings.spawn(greet(stream, Arc::clone(&expected), sender.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(provider = %expected.provider_id, %error, "no outbind can be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }
}

async fn greet(mut stream: TcpStream, expected: Arc<Expected>, sender: mpsc::Sender<TcpStream>) {
    let provider = &expected.provider_id;
    let from = stream.peer_addr().ok();
    let greeted = tokio::time::timeout(GREETING, read_outbind(&mut stream, &expected)).await;
    match greeted {
        Ok(Ok(true)) => {
            if sender.try_send(stream).is_err() {
                tracing::warn!(%provider, ?from, "outbind: no bind waits for a connection");
            }
        }
        Ok(Ok(false)) => tracing::error!(%provider, ?from, "outbind with a wrong system_id or password"),
        Ok(Err(error)) => tracing::warn!(%provider, ?from, %error, "no outbind came"),
        Err(_) => tracing::warn!(%provider, ?from, "no outbind came in time"),
    }
}

/// Whether the peer is who it should be. Not an octet more than the PDU is read.
async fn read_outbind(stream: &mut TcpStream, expected: &Expected) -> io::Result<bool> {
    let nonsense = || io::Error::new(io::ErrorKind::InvalidData, "the first PDU is no outbind");
    let mut octets = [0; OUTBIND_OCTETS_MAX];
    let (head, rest) = octets.split_at_mut(16);
    stream.read_exact(head).await?;
    let header =
        Header::read(head).filter(|header| header.command == Command::OUTBIND).ok_or_else(nonsense)?;
    let length = usize::try_from(header.length).ok().and_then(|length| length.checked_sub(16));
    let body = length.and_then(|length| rest.get_mut(..length)).ok_or_else(nonsense)?;
    stream.read_exact(body).await?;
    let outbind = pdu::Outbind::read(body).map_err(|_| nonsense())?;
    let is_named = expected.system_id.is_empty() || outbind.system_id == expected.system_id.as_bytes();
    Ok(is_named & is_same(outbind.password, expected.password.0.as_bytes()))
}

/// Takes as long wherever two passwords of one length differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |found, (one, other)| found | (one ^ other));
    one.len() == other.len() && differences == 0
}
