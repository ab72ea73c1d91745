//! One bind of the generator: fills its window, takes answers and receipts, binds again when it breaks.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::{io, rc::Rc, time::Duration};

use tokio::{
    net::TcpStream,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{Login, Options, Run, RunError};
use crate::{
    book::Book,
    dice::fingerprint,
    link::Link,
    window::Window,
    wire::{self, Message, Notice, Pdu, Reader, command, status},
};

/// Octets of submits gathered for one write.
const OUTPUT_OCTETS_MAX: usize = 1024 * 1024;
/// The first pause after a throttling answer and the longest, in microseconds.
const PAUSE_MIN: u64 = 5_000;
const PAUSE_MAX: u64 = 500_000;
/// Silence after which enquire_link is sent, in microseconds.
const SILENCE: u64 = 10_000_000;
const BIND_TIMEOUT: Duration = Duration::from_secs(10);
const REBIND_PAUSE: Duration = Duration::from_millis(100);
/// How long a finished run listens for receipts that should not come, and waits for its unbind_resp.
const LINGER: Duration = Duration::from_millis(300);
const SUBMIT_RESPONSE: u32 = command::SUBMIT_SM | command::RESPONSE;

/// What a connection binds as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Transceiver,
    Transmitter,
    Receiver,
}

impl Role {
    fn command(self) -> u32 {
        match self {
            Self::Transceiver => command::BIND_TRANSCEIVER,
            Self::Transmitter => command::BIND_TRANSMITTER,
            Self::Receiver => command::BIND_RECEIVER,
        }
    }
}

/// Connects and binds.
pub async fn connect(options: &Options, login: &Login, role: Role) -> Result<Link, RunError> {
    let lost = |source| RunError::Connect { target: options.target.clone(), source };
    let attempt = async {
        let mut link = Link::new(TcpStream::connect(&options.target).await?)?;
        wire::bind(&mut link.out, role.command(), wire::SEQUENCE_MAX, &login.system_id, &login.password);
        let status = answer_to_bind(&mut link).await?;
        io::Result::Ok((link, status))
    };
    let elapsed = |_| io::Error::from(io::ErrorKind::TimedOut);
    match timeout(BIND_TIMEOUT, attempt).await.map_err(elapsed).flatten().map_err(lost)? {
        (link, status::OK) => Ok(link),
        (_, status) => {
            let (target, system_id) = (options.target.clone(), login.system_id.clone());
            Err(RunError::Refused { target, system_id, status })
        }
    }
}

/// The first response is the bind's; the server may ask before, and what follows stays in the buffer.
async fn answer_to_bind(link: &mut Link) -> io::Result<u32> {
    loop {
        while let Some(pdu) = link.frames.next_pdu().map_err(io::Error::other)? {
            if pdu.command & command::RESPONSE != 0 {
                return Ok(pdu.status);
            }
            wire::empty(&mut link.out, pdu.command | command::RESPONSE, status::OK, pdu.sequence);
        }
        link.send()?;
        link.ready().await?;
        link.receive()?;
    }
}

/// One bind.
#[derive(Debug)]
pub struct Bind {
    run: Rc<Run>,
    login: Login,
    role: Role,
    window: Window<u32>,
    paused_until: u64,
    pause: u64,
    heard: u64,
    asked: bool,
}

impl Bind {
    pub fn new(run: Rc<Run>, login: Login, role: Role) -> Self {
        let window = Window::new(run.options.window as usize);
        Self { run, login, role, window, paused_until: 0, pause: PAUSE_MIN, heard: 0, asked: false }
    }

    /// Works until the run is done, and binds again whenever the connection is lost.
    pub async fn serve(mut self, link: Link) {
        let mut link = Some(link);
        while let Some(bound) = link.take() {
            if self.converse(bound).await.is_ok() {
                return;
            }
            self.disconnected();
            let run = Rc::clone(&self.run);
            tokio::select! {
                () = run.done.cancelled() => return,
                again = self.bind_again() => link = Some(again),
            }
        }
    }

    /// Nobody knows any more whether the unanswered submits were taken.
    fn disconnected(&mut self) {
        {
            let counts = &mut self.run.book.borrow_mut().counts;
            counts.disconnects = counts.disconnects.saturating_add(1);
        }
        self.give_up();
        self.asked = false;
        if self.run.book.borrow().is_finished() {
            self.run.done.cancel();
        }
    }

    /// Waits no longer for what is unanswered.
    fn give_up(&mut self) {
        let mut book = self.run.book.borrow_mut();
        for serial in self.window.take_older(u64::MAX) {
            book.unanswered(serial);
        }
    }

    async fn bind_again(&self) -> Link {
        loop {
            sleep(REBIND_PAUSE).await;
            if let Ok(link) = connect(&self.run.options, &self.login, self.role).await {
                return link;
            }
        }
    }

    /// Batch after batch, until the run is done.
    async fn converse(&mut self, mut link: Link) -> io::Result<()> {
        let run = Rc::clone(&self.run);
        let mut tick = interval(Duration::from_millis(500));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.heard = run.clock.now();
        loop {
            self.read(&mut link)?;
            let waits = self.fill(&mut link);
            link.send()?;
            tokio::select! {
                ready = link.ready() => { ready?; }
                () = run.pace.ticked() => run.ticked_at.set(run.clock.now()),
                () = sleep(Duration::from_millis(2)), if waits => {}
                _ = tick.tick() => self.sweep(&mut link)?,
                () = run.done.cancelled() => break,
            }
            link.receive()?;
        }
        // The run is over; what breaks from here on changes nothing.
        let _ended = timeout(LINGER, self.listen(&mut link)).await;
        let _unbound = timeout(LINGER, self.unbind(&mut link)).await;
        self.give_up();
        Ok(())
    }

    /// Takes and acknowledges what should not come any more.
    async fn listen(&mut self, link: &mut Link) -> io::Result<()> {
        loop {
            link.ready().await?;
            link.receive()?;
            self.read(link)?;
            link.send()?;
        }
    }

    async fn unbind(&mut self, link: &mut Link) -> io::Result<()> {
        wire::empty(&mut link.out, command::UNBIND, status::OK, wire::SEQUENCE_MAX);
        link.send()?;
        self.listen(link).await
    }

    /// Appends submits while the window, the rate and the pause allow; answers whether only time is in the way.
    fn fill(&mut self, link: &mut Link) -> bool {
        let run = &self.run;
        if self.role == Role::Receiver {
            return false;
        }
        let now = run.clock.now();
        let due_until = run.due_until(now);
        let mut book = run.book.borrow_mut();
        if now < self.paused_until {
            return true;
        }
        while !self.window.is_full() && link.backlog() < OUTPUT_OCTETS_MAX {
            let Some(serial) = book.next_to_send(due_until) else {
                return book.has_again();
            };
            if let Some(sequence) = self.window.push(serial, now) {
                run.template.write(&mut link.out, sequence, serial, &run.numbers.digits(serial));
            }
        }
        false
    }

    /// Takes every whole PDU that has been read.
    fn read(&mut self, link: &mut Link) -> io::Result<()> {
        let run = Rc::clone(&self.run);
        let mut book = run.book.borrow_mut();
        let now = run.clock.now();
        let before = (book.counts.accepted, book.counts.receipts_first);
        while let Some(pdu) = link.frames.next_pdu().map_err(io::Error::other)? {
            (self.heard, self.asked) = (now, false);
            self.take(pdu, &mut book, now, &mut link.out)?;
        }
        let accepted = book.counts.accepted.saturating_sub(before.0);
        let receipted = book.counts.receipts_first.saturating_sub(before.1);
        if accepted.saturating_add(receipted) > 0 {
            book.series.add(now, accepted, receipted);
        }
        if book.is_finished() {
            run.done.cancel();
        }
        Ok(())
    }

    fn take(&mut self, pdu: Pdu<'_>, book: &mut Book, now: u64, out: &mut Vec<u8>) -> io::Result<()> {
        match pdu.command {
            SUBMIT_RESPONSE | command::GENERIC_NACK => self.answered(pdu, book, now),
            command::DELIVER_SM => self.deliver(pdu, book, now, out),
            command::ENQUIRE_LINK => {
                wire::empty(out, pdu.command | command::RESPONSE, status::OK, pdu.sequence)
            }
            command::UNBIND => return Err(io::ErrorKind::ConnectionAborted.into()),
            response if response & command::RESPONSE != 0 => {}
            _ => wire::empty(out, command::GENERIC_NACK, status::INVALID_COMMAND, pdu.sequence),
        }
        Ok(())
    }

    fn answered(&mut self, pdu: Pdu<'_>, book: &mut Book, now: u64) {
        let Some(serial) = self.window.take(pdu.sequence) else {
            book.counts.stray_answers = book.counts.stray_answers.saturating_add(1);
            return;
        };
        match (pdu.command, pdu.status) {
            (SUBMIT_RESPONSE, status::OK) => {
                self.pause = PAUSE_MIN;
                book.accepted(serial, id_number(Reader(pdu.body).c_string().unwrap_or(pdu.body)), now);
            }
            (SUBMIT_RESPONSE, status::THROTTLED | status::QUEUE_FULL) if !self.run.options.no_retry => {
                if now >= self.paused_until {
                    self.paused_until = now.saturating_add(self.pause);
                    self.pause = self.pause.saturating_mul(2).min(PAUSE_MAX);
                }
                book.throttled(serial, self.paused_until);
            }
            (SUBMIT_RESPONSE, status) => book.refused(serial, format!("0x{status:08X}"), now),
            (_, status) => book.refused(serial, format!("generic_nack 0x{status:08X}"), now),
        }
    }

    fn deliver(&self, pdu: Pdu<'_>, book: &mut Book, now: u64, out: &mut Vec<u8>) {
        let Some(message) = Message::parse(pdu.body) else {
            let response = pdu.command | command::RESPONSE;
            return wire::empty(out, response, status::INVALID_COMMAND_LENGTH, pdu.sequence);
        };
        wire::message_response(out, pdu.sequence);
        // SMPP 3.4 §5.2.12: bits 5 to 2 tell a receipt (0x04) or an intermediate notification (0x20) from a message.
        if !matches!(message.esm_class & 0x3C, 0x04 | 0x20) {
            book.counts.inbound = book.counts.inbound.saturating_add(1);
            if !book.phones.insert(fingerprint(message.source.digits)) {
                book.counts.inbound_repeated = book.counts.inbound_repeated.saturating_add(1);
            }
            return;
        }
        match (Notice::parse(&message), self.run.numbers.serial(message.source.digits)) {
            (Some(notice), Some(serial)) => {
                if notice.contradictory {
                    book.counts.wrong_ids = book.counts.wrong_ids.saturating_add(1);
                }
                book.receipt(serial, id_number(notice.id), notice.state.unwrap_or(7), now);
            }
            _ => book.counts.unknown = book.counts.unknown.saturating_add(1),
        }
    }

    /// Gives up what is unanswered for too long, and asks a silent server whether it is there.
    fn sweep(&mut self, link: &mut Link) -> io::Result<()> {
        let now = self.run.clock.now();
        let limit = now.saturating_sub((self.run.options.response_timeout * 1_000_000.0) as u64);
        let mut book = self.run.book.borrow_mut();
        for serial in self.window.take_older(limit) {
            book.unanswered(serial);
        }
        if now < self.heard.saturating_add(SILENCE) {
            return Ok(());
        }
        if self.asked {
            return Err(io::ErrorKind::TimedOut.into());
        }
        (self.heard, self.asked) = (now, true);
        wire::empty(&mut link.out, command::ENQUIRE_LINK, status::OK, wire::SEQUENCE_MAX);
        Ok(())
    }
}

/// A message id as a number: itself where it is at most 18 digits without zeros in front, else its fingerprint.
fn id_number(id: &[u8]) -> u64 {
    match id {
        [b'1'..=b'9', ..] if id.len() <= 18 => wire::digits(id).unwrap_or_else(|| fingerprint(id)),
        _ => fingerprint(id),
    }
}
