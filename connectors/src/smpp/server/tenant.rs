//! The bound side of a tenant's connection: its submissions in batches, the answers to them, and its acknowledgements.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used
)]

use std::collections::HashSet;
use std::sync::Arc;

use codecs::instant::Mono;
use codecs::smpp::pdu::{DataSm, Sm};
use codecs::smpp::session::Lost;
use codecs::smpp::tlv::tag;
use codecs::smpp::write;
use codecs::smpp::{BindKind, Command as Pdu, Status};
use engine::command::{
    Acknowledgement, Command, ConnectionId, Door, Now, Refusal, Submission, Submissions,
};
use engine::effect::{Outcome, SubmitAnswer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Shared;
use super::submit::{Context, Reader};
use crate::admission::Bucket;
use crate::intake::{Source, Stopped};
use crate::smpp::access::{Seat, TenantAccess};
use crate::smpp::line::Line;
use crate::smpp::refusal;

/// The engine's bound of a batch.
const BATCH_MESSAGES_MAX: usize = 1_000;
/// A batch of large messages ends before that.
const BATCH_OCTETS_MAX: usize = 1024 * 1024;
/// Peers from here on understand a body beside an error (SMPP 5.0 §4.2.1.2).
const VERSION_5: u8 = 0x50;

/// A message that a tenant submits, in either PDU.
pub enum Request<'a> {
    Submit { sequence: u32, sm: Sm<'a> },
    Data { sequence: u32, data: DataSm<'a> },
}

pub struct Tenant {
    shared: Arc<Shared>,
    access: TenantAccess,
    id: ConnectionId,
    bucket: Arc<Bucket>,
    reader: Reader,
    batch: Option<Submissions>,
    acknowledgements: Vec<Acknowledgement>,
    /// Sequence numbers of data_sm without an answer: theirs is another response.
    data: HashSet<u32>,
    /// Where answers are written before they join the output.
    frames: Vec<u8>,
    /// The tenant has one bind less when this is dropped.
    _seat: Seat,
}

impl Tenant {
    /// Of a session that has just been bound. The commit loop is told.
    pub fn new<S>(
        shared: &Arc<Shared>,
        line: &mut Line<S>,
        access: TenantAccess,
        kind: BindKind,
        seat: Seat,
    ) -> Tenant
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let tenant = access.tenant;
        let (id, link) = shared.partition.links.open();
        line.join(shared.partition.intake.lane(Source::Tenant(tenant)), link);
        line.offer(Command::TenantBound {
            tenant,
            connection: id,
            receives: kind.receives(),
            window: access.window,
        });
        Tenant {
            bucket: shared.admission.bucket(tenant),
            shared: Arc::clone(shared),
            access,
            id,
            reader: Reader::default(),
            batch: None,
            acknowledgements: Vec::new(),
            data: HashSet::new(),
            frames: Vec::new(),
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
    pub fn submit<S>(&mut self, now: Now, line: &mut Line<S>, request: Request<'_>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.shared.counters.submits.add(1);
        let (command, sequence) = match &request {
            Request::Submit { sequence, .. } => (Pdu::SUBMIT_SM, *sequence),
            Request::Data { sequence, .. } => (Pdu::DATA_SM, *sequence),
        };
        // This one is among the unanswered already.
        let is_over_window = line.session.unanswered() > self.access.window as usize;
        let outcome = if is_over_window || !self.bucket.admit(now.mono, self.access.rate) {
            Err(Refusal::RateLimited)
        } else {
            self.add(now, &request)
        };
        match outcome {
            Ok(()) if command == Pdu::DATA_SM => {
                self.data.insert(sequence);
            }
            Ok(()) => {}
            Err(reason) => {
                self.shared.refusals.add(reason);
                let status = refusal::status(reason, self.shared.options.no_credit_status);
                line.session.respond(now.mono, command, sequence, status, &[]);
            }
        }
        if self.batch.as_ref().is_some_and(is_large) {
            self.offer_batch(line);
        }
    }

    /// An answer to one of our deliver_sm, or the end of waiting for it.
    pub fn acknowledge(&mut self, number: u64, status: Status) {
        self.acknowledgements.push(Acknowledgement { number, status: status.0 });
    }

    /// All that a read has brought goes to the commit loop.
    pub fn end_of_read<S>(&mut self, line: &mut Line<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.offer_acknowledgements(line);
        self.offer_batch(line);
    }

    pub fn offer_acknowledgements<S>(&mut self, line: &mut Line<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.acknowledgements.is_empty() {
            line.offer(Command::Acknowledged {
                tenant: self.access.tenant,
                connection: self.id,
                items: std::mem::take(&mut self.acknowledgements),
            });
        }
    }

    /// Answers what the commit loop has decided, in one piece.
    pub fn answer<S>(&mut self, now: Mono, line: &mut Line<S>, answers: &[SubmitAnswer])
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if answers.is_empty() {
            return;
        }
        self.frames.clear();
        let version = line.session.peer_version().unwrap_or_default();
        for answer in answers {
            self.write_answer(version, answer);
        }
        line.session.respond_frames(now, answers.len(), &self.frames);
    }

    /// Gives back all that the tenant was to be told. Its place is free once the commit loop knows.
    pub async fn leave<S>(self, mut line: Line<S>, lost: Lost) -> Result<(), Stopped>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (tenant, connection) = (self.access.tenant, self.id);
        let unbound = |untold| Command::TenantUnbound { tenant, connection, untold };
        let mut untold = lost.in_flight;
        untold.extend(lost.unsent);
        line.leave(unbound(untold), unbound).await
    }

    fn add(&mut self, now: Now, request: &Request<'_>) -> Result<(), Refusal> {
        let context = Context { now: now.wall, charset: self.access.charset };
        let (tenant, door) = (self.access.tenant, Door::Smpp(self.id));
        let batch = self.batch.get_or_insert_with(|| Submissions {
            tenant,
            door,
            received: now.mono,
            idempotency: None,
            items: Vec::new(),
            bodies: Vec::new(),
        });
        let sequence = match request {
            Request::Submit { sequence, sm } => {
                self.reader.submit(sm, context, &mut batch.bodies)?;
                *sequence
            }
            Request::Data { sequence, data } => {
                self.reader.data(data, context, &mut batch.bodies)?;
                *sequence
            }
        };
        let end = batch.bodies.len() as u32;
        batch.items.push(Submission { sequence, end, refused: None });
        Ok(())
    }

    fn offer_batch<S>(&mut self, line: &mut Line<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // One without items is kept: it was opened for a message that then was refused.
        if let Some(batch) = self.batch.take_if(|batch| !batch.items.is_empty()) {
            line.offer(Command::Submit(batch));
        }
    }

    fn write_answer(&mut self, version: u8, answer: &SubmitAnswer) {
        let SubmitAnswer { sequence, outcome } = *answer;
        let is_data = !self.data.is_empty() && self.data.remove(&sequence);
        let command = if is_data { Pdu::DATA_SM } else { Pdu::SUBMIT_SM };
        match outcome {
            Outcome::Accepted { id, .. } => {
                let start = self.frames.len();
                write::submit_sm_response(&mut self.frames, sequence, id);
                if is_data {
                    rename(&mut self.frames, start, command.response());
                }
            }
            Outcome::Refused(reason) => {
                self.shared.refusals.add(reason);
                let status = refusal::status(reason, self.shared.options.no_credit_status);
                let explains = reason == Refusal::InsufficientCredit && version >= VERSION_5;
                let body: &[u8] = if explains { &NO_CREDIT_BODY } else { &[] };
                write::frame(&mut self.frames, command.response(), status, sequence, body);
            }
        }
    }
}
