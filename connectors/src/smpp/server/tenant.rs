//! The bound side of a tenant's connection: its submissions in batches, the answers to them, and its acknowledgements.
//! It has no socket; what it has for the commit loop is taken from `commands`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;
use std::sync::Arc;

use codecs::instant::Mono;
use codecs::smpp::pdu::{DataSm, Sm};
use codecs::smpp::session::Session;
use codecs::smpp::write;
use codecs::smpp::{BindKind, Command as Pdu, Status};
use engine::command::{
    Acknowledgement, Command, ConnectionId, Door, Now, Refusal, Submission, Submissions, TenantOperation,
};
use engine::effect::{OperationAnswer, Outcome, SubmitAnswer};

use super::Shared;
use super::operations::{self, About, id_text};
use super::submit::{Context, Reader};
use crate::admission::Bucket;
use crate::smpp::access::{IdRadix, Seat, TenantAccess};
use crate::smpp::refusal;

/// The engine's bound of a batch.
const BATCH_MESSAGES_MAX: usize = 1_000;
/// A batch of large messages ends before that.
const BATCH_OCTETS_MAX: usize = 1024 * 1024;
const DELIVERY_WINDOW_MAX: u32 = 1_000;
/// Peers from here on understand a body beside an error (SMPP 5.0 §4.2.1.2).
pub const VERSION_5: u8 = 0x50;
/// No message_id, and additional_status_info_text.
const NO_CREDIT_BODY: &[u8] = b"\0\x00\x1d\x00\x09no credit";

/// A message that a tenant submits, in either PDU.
pub enum Request<'a> {
    Submit { sequence: u32, sm: Sm<'a> },
    Data { sequence: u32, data: DataSm<'a> },
}

impl Request<'_> {
    fn head(&self) -> (Pdu, u32) {
        match self {
            Request::Submit { sequence, .. } => (Pdu::SUBMIT_SM, *sequence),
            Request::Data { sequence, .. } => (Pdu::DATA_SM, *sequence),
        }
    }
}

pub struct Tenant {
    /// What the commit loop is to be told, in order.
    pub commands: Vec<Command>,
    shared: Arc<Shared>,
    access: TenantAccess,
    id: ConnectionId,
    bucket: Arc<Bucket>,
    reader: Reader,
    batch: Submissions,
    /// Submissions, answers, and requests without one, since the counters were told.
    submits: u64,
    answered: u64,
    unanswered: u64,
    acknowledgements: Vec<Acknowledgement>,
    /// Sequence numbers of data_sm without an answer: theirs is another response.
    data: HashSet<u32>,
    /// Where answers are written before they join the output.
    frames: Vec<u8>,
    /// The tenant has one bind less when this is dropped.
    _seat: Seat,
}

impl Tenant {
    /// Of a session that has just been bound.
    pub fn new(
        shared: &Arc<Shared>,
        id: ConnectionId,
        access: TenantAccess,
        kind: BindKind,
        seat: Seat,
    ) -> Tenant {
        let bound = Command::TenantBound {
            tenant: access.tenant,
            connection: id,
            receives: kind.receives(),
            window: delivery_window(access.window),
        };
        Tenant {
            commands: vec![bound],
            shared: Arc::clone(shared),
            id,
            bucket: shared.admission.bucket(access.tenant),
            reader: Reader::default(),
            batch: empty_batch(access.tenant, id),
            submits: 0,
            answered: 0,
            unanswered: 0,
            acknowledgements: Vec::new(),
            data: HashSet::new(),
            frames: Vec::new(),
            access,
            _seat: seat,
        }
    }

    pub fn id(&self) -> ConnectionId {
        self.id
    }

    pub fn number(&self) -> u32 {
        self.access.tenant
    }

    /// Puts a message into the batch, or refuses it at once: the order of responses is free in SMPP.
    pub fn submit(&mut self, now: Now, session: &mut Session, request: &Request<'_>) {
        self.submits = self.submits.saturating_add(1);
        // This one is among the unanswered already.
        let is_over_window = session.unanswered() > self.access.window as usize;
        let outcome = if is_over_window || !self.bucket.admit(now.mono, self.access.rate) {
            Err(Refusal::RateLimited)
        } else {
            self.add(now, request)
        };
        if let Err(reason) = outcome {
            self.shared.refusals.add(reason);
            let status = refusal::status(reason, self.shared.options.no_credit_status);
            let (command, sequence) = request.head();
            session.respond(now.mono, command, sequence, status, &[]);
        }
    }

    /// Hands an operation on, after what was submitted before it; or refuses it at once.
    pub fn operate(&mut self, now: Now, session: &mut Session, sequence: u32, about: &About<'_>) {
        let is_over_window = session.unanswered() > self.access.window as usize;
        let wanted = if is_over_window { Err(Status::THROTTLED) } else { about.wanted(now.wall) };
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(status) => return session.respond(now.mono, about.command(), sequence, status, &[]),
        };
        if !self.batch.items.is_empty() {
            self.end_batch();
        }
        let (tenant, connection) = (self.access.tenant, self.id);
        let operation = TenantOperation { tenant, connection, sequence, wanted };
        self.commands.push(Command::Operation(Box::new(operation)));
    }

    /// Answers operations, in one piece.
    pub fn answer_operations(&mut self, now: Mono, session: &mut Session, answers: &[OperationAnswer]) {
        if answers.is_empty() {
            return;
        }
        self.frames.clear();
        let version = session.peer_version().unwrap_or_default();
        let no_credit = self.shared.options.no_credit_status;
        for answer in answers {
            let radix = self.access.message_id;
            operations::write_answer(&mut self.frames, version, radix, no_credit, answer);
        }
        session.respond_frames(now, answers.len(), &self.frames);
    }

    /// An answer to one of our deliver_sm.
    pub fn acknowledge(&mut self, number: u64, status: Status) {
        self.answered = self.answered.saturating_add(1);
        self.acknowledgements.push(Acknowledgement { number, status: status.0 });
    }

    /// One that was not answered in time is to be tried again: what SMPP calls a temporary error of the application.
    pub fn give_back(&mut self, number: u64) {
        self.unanswered = self.unanswered.saturating_add(1);
        self.acknowledgements.push(Acknowledgement { number, status: Status::X_T_APPN.0 });
    }

    /// Makes commands of all that has been gathered.
    pub fn gather(&mut self) {
        if !self.acknowledgements.is_empty() {
            let items = std::mem::take(&mut self.acknowledgements);
            let (tenant, connection) = (self.access.tenant, self.id);
            self.commands.push(Command::Acknowledged { tenant, connection, items });
        }
        if !self.batch.items.is_empty() {
            self.end_batch();
        }
        let counters = &self.shared.counters;
        counters.submits.add(std::mem::take(&mut self.submits));
        counters.deliveries_answered.add(std::mem::take(&mut self.answered));
        counters.deliveries_unanswered.add(std::mem::take(&mut self.unanswered));
    }

    /// Answers what the commit loop has decided, in one piece.
    pub fn answer(&mut self, now: Mono, session: &mut Session, answers: &[SubmitAnswer]) {
        if answers.is_empty() {
            return;
        }
        self.frames.clear();
        let version = session.peer_version().unwrap_or_default();
        for answer in answers {
            self.write_answer(version, answer);
        }
        session.respond_frames(now, answers.len(), &self.frames);
    }

    fn add(&mut self, now: Now, request: &Request<'_>) -> Result<(), Refusal> {
        let context = Context { now: now.wall, charset: self.access.charset };
        let bodies = &mut self.batch.bodies;
        match request {
            Request::Submit { sm, .. } => self.reader.submit(sm, context, bodies)?,
            Request::Data { sequence, data } => {
                self.reader.data(data, context, bodies)?;
                self.data.insert(*sequence);
            }
        }
        if self.batch.items.is_empty() {
            self.batch.received = now.mono;
        }
        let (_, sequence) = request.head();
        let end = self.batch.bodies.len();
        // The bound below keeps it far from the end of u32.
        self.batch.items.push(Submission { sequence, end: end as u32, refused: None });
        if self.batch.items.len() >= BATCH_MESSAGES_MAX || end >= BATCH_OCTETS_MAX {
            self.end_batch();
        }
        Ok(())
    }

    fn end_batch(&mut self) {
        let mut next = empty_batch(self.access.tenant, self.id);
        next.items.reserve(self.batch.items.len());
        next.bodies.reserve(self.batch.bodies.len());
        let batch = std::mem::replace(&mut self.batch, next);
        self.commands.push(Command::Submit(batch));
    }

    fn write_answer(&mut self, version: u8, answer: &SubmitAnswer) {
        let SubmitAnswer { sequence, outcome } = *answer;
        let is_data = !self.data.is_empty() && self.data.remove(&sequence);
        let response = if is_data { Pdu::DATA_SM_RESP } else { Pdu::SUBMIT_SM_RESP };
        let frames = &mut self.frames;
        match outcome {
            Outcome::Accepted { id, .. } if is_data || self.access.message_id != IdRadix::Dec => {
                let body = id_text(id, self.access.message_id);
                write::frame(frames, response, Status::OK, sequence, body.as_bytes());
            }
            Outcome::Accepted { id, .. } => write::submit_sm_response(frames, sequence, id),
            Outcome::Refused(reason) => {
                let status = refusal::status(reason, self.shared.options.no_credit_status);
                let explains = reason == Refusal::InsufficientCredit && version >= VERSION_5;
                let body = if explains { NO_CREDIT_BODY } else { &[] };
                write::frame(frames, response, status, sequence, body);
            }
        }
    }
}

/// How many deliver_sm may be unanswered. A larger window is meant for submissions; this is ours, and costs memory.
pub fn delivery_window(window: u32) -> u32 {
    window.clamp(1, DELIVERY_WINDOW_MAX)
}

fn empty_batch(tenant: u32, id: ConnectionId) -> Submissions {
    Submissions {
        tenant,
        door: Door::Smpp(id),
        received: Mono::default(),
        idempotency: None,
        items: Vec::new(),
        bodies: Vec::new(),
    }
}
