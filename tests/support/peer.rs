//! A tenant's SMPP client, or a stranger on its port: blocking, one connection, PDUs as octets where a test wants that.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use loadtest::wire::{self, Frames, Message, Notice, command, status};

use super::settings::{PASSWORD, SYSTEM_ID};
use super::wait::PATIENCE;

/// A PDU that the gateway sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdu {
    pub command: u32,
    pub status: u32,
    pub sequence: u32,
    pub body: Vec<u8>,
}

/// What came within a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Pdu(Pdu),
    Silence,
    Closed,
}

/// A receipt as the tenant reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub id: String,
    /// The number that the message went to.
    pub from: u64,
    pub state: Option<u8>,
    pub text: String,
}

pub struct Peer {
    stream: TcpStream,
    frames: Frames,
    sequence: u32,
    closed: bool,
    /// Receipts that came while something else was waited for.
    pub receipts: VecDeque<Receipt>,
    /// Whether receipts are answered.
    pub acknowledges: bool,
}

impl Peer {
    pub fn connect(to: SocketAddr) -> io::Result<Peer> {
        Peer::over(TcpStream::connect_timeout(&to, Duration::from_secs(5))?)
    }

    /// A connection that is there, whoever began it.
    pub fn over(stream: TcpStream) -> io::Result<Peer> {
        stream.set_nodelay(true)?;
        // A gateway that does not read must not hold up a test for ever.
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Peer {
            stream,
            frames: Frames::default(),
            sequence: 0,
            closed: false,
            receipts: VecDeque::new(),
            acknowledges: true,
        })
    }

    /// A connection bound as the usual tenant.
    #[track_caller]
    pub fn bound(to: SocketAddr, kind: u32) -> Peer {
        let mut peer = Peer::connect(to).unwrap();
        assert_eq!(peer.bind(kind, SYSTEM_ID, PASSWORD), status::OK);
        peer
    }

    #[track_caller]
    pub fn transceiver(to: SocketAddr) -> Peer {
        Peer::bound(to, command::BIND_TRANSCEIVER)
    }

    /// Binds; the status of the answer.
    #[track_caller]
    pub fn bind(&mut self, kind: u32, system_id: &str, password: &str) -> u32 {
        let mut pdu = Vec::new();
        let sequence = self.next_sequence();
        wire::bind(&mut pdu, kind, sequence, system_id, password);
        self.send(&pdu);
        self.answer_to(sequence).status
    }

    pub fn next_sequence(&mut self) -> u32 {
        self.sequence += 1;
        self.sequence
    }

    /// Sends octets as they are. A connection that the gateway has closed takes them without a word.
    pub fn send(&mut self, octets: &[u8]) {
        if self.stream.write_all(octets).is_err() {
            self.closed = true;
        }
    }

    /// Sends a request with a body, and waits for what answers it.
    #[track_caller]
    pub fn request(&mut self, command: u32, body: &[u8]) -> Pdu {
        let sequence = self.next_sequence();
        let mut pdu = Vec::new();
        wire::body(&mut pdu, command, 0, sequence, body);
        self.send(&pdu);
        self.answer_to(sequence)
    }

    /// Submits a text, asking for a receipt; the answer.
    #[track_caller]
    pub fn submit(&mut self, to: u64, text: &[u8]) -> Pdu {
        let sequence = self.next_sequence();
        self.send(&submission(sequence, to, text));
        self.answer_to(sequence)
    }

    /// Submits a text that is accepted; its id.
    #[track_caller]
    pub fn submit_fine(&mut self, to: u64, text: &[u8]) -> String {
        let answer = self.submit(to, text);
        assert_eq!(answer.status, status::OK, "submit_sm to {to}");
        answer.id()
    }

    /// The answer to a request of ours. What comes before it is taken as it comes.
    #[track_caller]
    pub fn answer_to(&mut self, sequence: u32) -> Pdu {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.hear(deadline.saturating_duration_since(Instant::now())) {
                Heard::Pdu(pdu) if pdu.sequence == sequence && pdu.command & command::RESPONSE != 0 => {
                    return pdu;
                }
                Heard::Pdu(_) => {}
                other => panic!("no answer to request {sequence}: {other:?}"),
            }
        }
    }

    /// The next receipt.
    #[track_caller]
    pub fn receipt(&mut self) -> Receipt {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(receipt) = self.receipts.pop_front() {
                return receipt;
            }
            let heard = self.hear(deadline.saturating_duration_since(Instant::now()));
            assert!(matches!(heard, Heard::Pdu(_)), "no receipt: {heard:?}");
        }
    }

    /// The next PDU, or that there is none. Receipts are put aside, and answered unless that is turned off; so are enquire_links.
    pub fn hear(&mut self, within: Duration) -> Heard {
        let deadline = Instant::now() + within;
        loop {
            match self.frames.next_pdu() {
                Ok(Some(pdu)) => {
                    let pdu = Pdu {
                        command: pdu.command,
                        status: pdu.status,
                        sequence: pdu.sequence,
                        body: pdu.body.to_vec(),
                    };
                    self.serve(&pdu);
                    return Heard::Pdu(pdu);
                }
                Ok(None) => {}
                Err(error) => panic!("the gateway sent something else than SMPP: {error}"),
            }
            if self.closed {
                return Heard::Closed;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.read(left) {
                Ok(0) => self.closed = true,
                Ok(_) => {}
                Err(error) if is_silence(&error) => return Heard::Silence,
                Err(_) => self.closed = true,
            }
        }
    }

    /// Waits until the gateway closes the connection; what it said before.
    #[track_caller]
    pub fn last_words(&mut self) -> Vec<Pdu> {
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            match self.hear(deadline.saturating_duration_since(Instant::now())) {
                Heard::Pdu(pdu) => said.push(pdu),
                Heard::Closed => return said,
                Heard::Silence => panic!("the gateway does not close the connection; it said {said:?}"),
            }
        }
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    fn read(&mut self, within: Duration) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(within.max(Duration::from_millis(1))))?;
        let count = loop {
            match self.stream.read(self.frames.space()) {
                // A process that was stopped and goes on has its wait cut short; nothing was silent.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.frames.filled(count);
        Ok(count)
    }

    fn serve(&mut self, pdu: &Pdu) {
        let mut answer = Vec::new();
        match pdu.command {
            command::ENQUIRE_LINK | command::UNBIND => {
                wire::empty(&mut answer, pdu.command | command::RESPONSE, status::OK, pdu.sequence);
            }
            command::DELIVER_SM => {
                self.receipts.extend(receipt(pdu));
                if self.acknowledges {
                    wire::message_response(&mut answer, pdu.sequence);
                }
            }
            _ => return,
        }
        self.send(&answer);
    }
}

impl Pdu {
    /// The message id of a submit_sm_resp.
    pub fn id(&self) -> String {
        String::from_utf8_lossy(self.body.strip_suffix(&[0]).unwrap_or(&self.body)).into_owned()
    }
}

/// A submit_sm of a text in the default alphabet that asks for a receipt.
pub fn submission(sequence: u32, to: u64, text: &[u8]) -> Vec<u8> {
    let (mut pdu, ..) = wire::submit_template("ACME", &to.to_string(), text, true);
    wire::patch(&mut pdu, 12, &sequence.to_be_bytes());
    pdu
}

fn receipt(pdu: &Pdu) -> Option<Receipt> {
    let message = Message::parse(&pdu.body)?;
    let notice = Notice::parse(&message)?;
    assert!(!notice.contradictory, "a receipt that names two messages");
    Some(Receipt {
        id: String::from_utf8_lossy(notice.id).into_owned(),
        from: wire::digits(message.source.digits).unwrap_or_default(),
        state: notice.state,
        text: String::from_utf8_lossy(message.content()).into_owned(),
    })
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
