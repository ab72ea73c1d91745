//! A tenant's program that submits without a pause, comes back whenever it is cut off, and forgets nothing: what it sent, what
//! was answered, and what it was told. It runs in the test's own thread, a turn at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use loadtest::wire::{self, command, status};

use super::dice::Dice;
use super::peer::{Heard, Pdu, Peer, Receipt, submission};
use super::settings::{PASSWORD, SYSTEM_ID};

const PREFIX: u64 = 254_700_000_000;
const WINDOW: usize = 60;
/// Messages accepted whose end is not known.
const AHEAD_MAX: usize = 1_000;
const AGAIN_AFTER: Duration = Duration::from_millis(20);
const LISTEN: Duration = Duration::from_millis(1);

pub struct Sender {
    at: SocketAddr,
    links: Vec<Link>,
    pub book: Book,
}

/// What the program knows. Every submission has a destination of its own, so that a destination is a name for it.
#[derive(Default)]
pub struct Book {
    /// Submissions so far.
    sent: u64,
    /// Submissions that it may still make; `None`: no end.
    pub wanted: Option<u64>,
    /// Positive answers: destination and id, in their order.
    pub accepted: Vec<(u64, String)>,
    ids: BTreeMap<String, u64>,
    /// Submissions whose connection ended before their answer came.
    pub unanswered: BTreeSet<u64>,
    pub refused: BTreeMap<u32, u64>,
    /// By id, every receipt in the order of its coming.
    pub told: BTreeMap<String, Vec<Receipt>>,
    pub receipts: u64,
    /// What must never happen, as far as it can be seen from here.
    pub faults: Vec<String>,
}

struct Link {
    kind: u32,
    peer: Option<Peer>,
    is_bound: bool,
    again: Instant,
    /// Sequence number and destination of what is not answered.
    open: BTreeMap<u32, u64>,
}

impl Sender {
    /// One connection for each kind of bind.
    pub fn new(at: SocketAddr, kinds: &[u32]) -> Sender {
        let link = |kind: &u32| Link {
            kind: *kind,
            peer: None,
            is_bound: false,
            again: Instant::now(),
            open: BTreeMap::new(),
        };
        Sender { at, links: kinds.iter().map(link).collect(), book: Book::default() }
    }

    /// Comes back where it was cut off, submits what fits the window, and takes what has come.
    pub fn turn(&mut self) {
        for link in &mut self.links {
            link.turn(self.at, &mut self.book);
        }
    }

    pub fn is_connected(&self) -> bool {
        self.links.iter().any(|link| link.peer.is_some())
    }
}

impl Book {
    /// The destination that an id was given for, by the answer or by a receipt.
    pub fn destination(&self, id: &str) -> Option<u64> {
        let told = self.told.get(id).and_then(|receipts| receipts.first());
        self.ids.get(id).copied().or(told.map(|receipt| receipt.from))
    }

    /// Every id that it has heard of.
    pub fn known(&self) -> BTreeSet<String> {
        self.ids.keys().chain(self.told.keys()).cloned().collect()
    }

    pub fn was_sent(&self, destination: u64) -> bool {
        (PREFIX + 1..=PREFIX + self.sent).contains(&destination)
    }

    /// Events so far: what moments of a run are counted in.
    pub fn events(&self) -> u64 {
        self.accepted.len() as u64 + self.receipts
    }

    fn next(&mut self) -> Option<u64> {
        // Nobody sends for ever without hearing of any of it.
        if self.accepted.len() > self.told.len() + AHEAD_MAX {
            return None;
        }
        if let Some(wanted) = &mut self.wanted {
            *wanted = wanted.checked_sub(1)?;
        }
        self.sent += 1;
        Some(PREFIX + self.sent)
    }

    fn answered(&mut self, destination: u64, answer: &Pdu) {
        if answer.status != status::OK {
            *self.refused.entry(answer.status).or_default() += 1;
            return;
        }
        let id = answer.id();
        if let Some(other) = self.ids.insert(id.clone(), destination) {
            self.faults.push(format!("id {id} was given to {other} and to {destination}"));
        }
        self.accepted.push((destination, id));
    }

    fn told(&mut self, receipt: Receipt) {
        self.receipts += 1;
        let known = self.ids.get(&receipt.id);
        if known.is_some_and(|destination| *destination != receipt.from) {
            self.faults.push(format!("a receipt for {known:?} names another number: {receipt:?}"));
        }
        if !self.was_sent(receipt.from) {
            self.faults.push(format!("a receipt for what was never sent: {receipt:?}"));
        }
        self.told.entry(receipt.id.clone()).or_default().push(receipt);
    }
}

impl Link {
    fn turn(&mut self, at: SocketAddr, book: &mut Book) {
        if self.peer.is_none() && !self.connect(at) {
            return;
        }
        self.submit(book);
        loop {
            let Some(peer) = &mut self.peer else { return };
            let heard = peer.hear(LISTEN);
            for receipt in std::mem::take(&mut peer.receipts) {
                book.told(receipt);
            }
            match heard {
                Heard::Pdu(pdu) => self.take(&pdu, book),
                Heard::Silence => return,
                Heard::Closed => return self.cut_off(book),
            }
        }
    }

    fn connect(&mut self, at: SocketAddr) -> bool {
        if Instant::now() < self.again {
            return false;
        }
        self.again = Instant::now() + AGAIN_AFTER;
        let Ok(mut peer) = Peer::connect(at) else { return false };
        let mut bind = Vec::new();
        wire::bind(&mut bind, self.kind, peer.next_sequence(), SYSTEM_ID, PASSWORD);
        peer.send(&bind);
        self.peer = Some(peer);
        true
    }

    fn submit(&mut self, book: &mut Book) {
        let Some(peer) = self.peer.as_mut().filter(|_| self.is_bound && self.kind != command::BIND_RECEIVER)
        else {
            return;
        };
        let mut pdus = Vec::new();
        while self.open.len() < WINDOW {
            let Some(destination) = book.next() else { break };
            let sequence = peer.next_sequence();
            pdus.extend(submission(sequence, destination, text(destination).as_bytes()));
            self.open.insert(sequence, destination);
        }
        if !pdus.is_empty() {
            peer.send(&pdus);
        }
    }

    fn take(&mut self, pdu: &Pdu, book: &mut Book) {
        if pdu.command == self.kind | command::RESPONSE {
            self.is_bound = pdu.status == status::OK;
            if !self.is_bound {
                self.cut_off(book);
            }
        } else if pdu.command == command::SUBMIT_SM | command::RESPONSE {
            match self.open.remove(&pdu.sequence) {
                Some(destination) => book.answered(destination, pdu),
                None => book.faults.push(format!("an answer to nothing: {pdu:?}")),
            }
        }
    }

    /// What was not answered may have been accepted or not; nobody can tell, so it is not sent again under its name.
    fn cut_off(&mut self, book: &mut Book) {
        self.peer = None;
        self.is_bound = false;
        self.again = Instant::now() + AGAIN_AFTER;
        book.unanswered.extend(std::mem::take(&mut self.open).into_values());
    }
}

/// What a destination is sent: one to four parts, the same for everybody who asks, and nothing that compresses well.
pub fn text(destination: u64) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .";
    let mut dice = Dice::new(destination);
    let length = dice.in_range(20..500);
    (0..length).map(|_| char::from(dice.choose(LETTERS))).collect()
}
