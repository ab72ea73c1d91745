//! One session with a provider: its turns, its events and its end. It decides nothing about messages.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use codecs::instant::Mono;
use codecs::message_id::{self, Side};
use codecs::receipt::State;
use codecs::smpp::congestion::congestion_state;
use codecs::smpp::masked::{Masked, MaskedHead};
use codecs::smpp::multi::SubmitMultiResponse;
use codecs::smpp::pdu::{self, MessageIdResponse, QuerySmResponse};
use codecs::smpp::session::{Event, Role, Session, State as SessionState, TimeoutEvent};
use codecs::smpp::{Command as Pdu, Status, write};
use engine::command::{
    AskAnswer, AskKind, Command, ConnectionId, Inbound, Now, PartToken, Receipts, Response, Responses,
};
use engine::effect::Ask;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use super::ProviderBindOptions;
use super::backoff::Ending;
use super::multi::{self, Member, Multi, Said};
use super::phone::Phones;
use super::receipt::{Delivered, Delivery, Reader};
use crate::intake::Lane;
use crate::partition::Partition;
use crate::smpp::asks::ask_command;
use crate::smpp::counters::BindCounters;
use crate::smpp::line::{Line, Woken};
use crate::smpp::phase::{Phase, Phases};

/// PDUs of one session that are logged because they were not understood, or are receipts without an id; all are counted.
const LOGGED_MAX: u32 = 10;
/// From this interface_version on responses may tell congestion_state.
const VERSION_WITH_CONGESTION: u8 = 0x50;
/// Below, a provider has room (SMPP 5.0 §4.8.4.18), and nobody need know.
const CONGESTION_TOLD: u8 = 91;

pub struct Bind<'o, S> {
    options: &'o ProviderBindOptions,
    partition: &'o Partition,
    counters: &'o Arc<BindCounters>,
    line: Line<S>,
    phase: Phase,
    /// Is told when it is bound.
    told: Option<oneshot::Sender<()>>,
    /// Once it is bound.
    up: Option<Up>,
    /// What goes in one submit_multi, where the provider offers it.
    multi: Multi,
    /// What one turn has gathered for the commit loop: answers, by their kinds.
    responses: Vec<Responses>,
    receipts: Receipts,
    inbound: Inbound,
    unanswered: Vec<PartToken>,
    ask_answers: Vec<AskAnswer>,
    /// Questions that wait for the window, and the tokens of those without an answer, with what was asked of each: what
    /// was asked in vain while the bind was down is asked at once.
    asks: VecDeque<Ask>,
    asked: HashMap<u64, Vec<AskKind>>,
    /// The ids that they were asked by.
    asked_ids: HashMap<u64, Vec<u8>>,
    reader: Reader,
    phones: Phones,
    /// The most that a response of this turn said of how busy the provider is.
    congestion: u8,
    /// Sequence numbers of data_sm without an answer: theirs is another response.
    data: HashSet<u32>,
    /// Where answers are written before they join the output.
    frames: Vec<u8>,
    refused: Option<Status>,
    /// The engine has been told to give it no more.
    rests: bool,
    /// When the connection is closed, whatever is still open.
    close_at: Option<Mono>,
    logged: u32,
}

#[derive(Clone, Copy)]
struct Up {
    id: ConnectionId,
    since: Mono,
}

impl<'o, S: AsyncRead + AsyncWrite + Unpin> Bind<'o, S> {
    pub fn new(
        options: &'o ProviderBindOptions,
        partition: &'o Partition,
        counters: &'o Arc<BindCounters>,
        stream: S,
        told: oneshot::Sender<()>,
    ) -> Bind<'o, S> {
        let clock = partition.clock;
        let session = Session::new(Role::Esme, options.limits(), clock.mono());
        Bind {
            options,
            partition,
            counters,
            line: Line::new(stream, session, clock, options.stalled),
            phase: Phase::Running,
            told: Some(told),
            up: None,
            multi: Multi::new(options.submit_multi, options.limits().late_response),
            responses: Vec::new(),
            receipts: Receipts::default(),
            inbound: Inbound::default(),
            unanswered: Vec::new(),
            ask_answers: Vec::new(),
            asks: VecDeque::new(),
            asked: HashMap::new(),
            asked_ids: HashMap::new(),
            reader: Reader::new(Arc::clone(&options.dialect), options.unmarked_receipts),
            phones: Phones::default(),
            congestion: 0,
            data: HashSet::new(),
            frames: Vec::new(),
            refused: None,
            rests: false,
            close_at: None,
            logged: 0,
        }
    }

    /// Binds, serves, and gives back what is open at the end. How it ended, and how long it was bound.
    pub async fn run(mut self, lane: Lane, mut phases: Phases) -> (Ending, Duration) {
        if !self.ask() {
            return (Ending::Refused(Status::INVSYSID), Duration::ZERO);
        }
        loop {
            // What was read must be on disk before it is answered: a provider that is faster than the disk waits.
            let reads = self.line.session.unanswered() < self.options.receipts_max;
            let woken = self.line.wait(reads, self.close_at, &mut phases, self.phase).await;
            let now = self.line.clock().now();
            let is_stalled = self.line.is_stalled(now.mono);
            match woken {
                Woken::Read => self.read(now, &lane),
                Woken::Phase(phase) => self.enter(now.mono, phase),
                Woken::HalfClosed | Woken::Ended | Woken::Other => {}
            }
            self.run_out(now);
            self.rest_if_leaving();
            self.gather();
            if self.line.flush().is_err() {
                break;
            }
            if is_stalled {
                tracing::warn!(provider = %self.options.provider_id, "closed: the provider does not read");
                break;
            }
            self.release(now.mono);
            let is_over = self.close_at.is_some_and(|at| at <= now.mono);
            let is_closed = self.refused.is_some() || self.line.session.closed().is_some();
            // A provider that says nothing more answers nothing: the bind is lost, whichever half has ended.
            let is_lost = matches!(woken, Woken::HalfClosed | Woken::Ended);
            if is_lost || is_over || is_closed {
                break;
            }
        }
        self.end().await
    }

    /// `false` when our own settings cannot be sent.
    fn ask(&mut self) -> bool {
        let options = self.options;
        let bind = pdu::Bind {
            system_id: options.system_id.as_bytes(),
            password: options.password.0.as_bytes(),
            system_type: options.system_type.as_bytes(),
            interface_version: options.interface_version,
            ..pdu::Bind::default()
        };
        match self.line.session.bind(self.line.clock().mono(), options.kind, &bind) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(provider = %options.provider_id, %error, "the bind cannot be sent");
                false
            }
        }
    }

    fn read(&mut self, now: Now, lane: &Lane) {
        let mut input = self.line.take_input();
        loop {
            match input.next_frame(self.options.pdu_octets_max) {
                Ok(Some(frame)) => self.frame(now, lane, frame),
                Ok(None) => break,
                Err(error) => {
                    self.counters.malformed.add(1);
                    let (provider, header) = (&self.options.provider_id, MaskedHead(input.waiting()));
                    tracing::warn!(%provider, %error, %header, "the stream is lost");
                    self.line.session.broken_frame(error);
                    break;
                }
            }
        }
        self.line.keep(now.mono, input);
    }

    fn frame(&mut self, now: Now, lane: &Lane, frame: &[u8]) {
        if self.options.interface_version >= VERSION_WITH_CONGESTION {
            self.congestion = self.congestion.max(congestion_state(frame).unwrap_or(0));
        }
        match self.line.session.receive(now.mono, frame) {
            Event::Response { token, command, status, late, body } => {
                if let Some(kind) = self.asked_kind(token, command) {
                    self.ask_answered(now, token, kind, status, body);
                } else if let Some(members) = self.multi.answered(token, late) {
                    self.multi_answered(frame, &members, status, late);
                } else if ask_kind(command).is_none() {
                    self.answered(token, status, late, body);
                }
            }
            Event::Deliver { sequence, sm } => {
                let delivery = Delivery::of_deliver(sequence, &sm);
                self.delivered(now, frame, sequence, Pdu::DELIVER_SM, &delivery);
            }
            Event::Data { sequence, data } => {
                let delivery = Delivery::of_data(sequence, &data);
                self.delivered(now, frame, sequence, Pdu::DATA_SM, &delivery);
            }
            Event::Bound { .. } => self.bound(now.mono, lane),
            Event::BindRefused { status } => {
                self.counters.refused.add(1);
                self.refused = Some(status);
            }
            Event::Malformed { malformed, .. } => {
                self.counters.malformed.add(1);
                self.log(frame, malformed.field);
            }
            Event::Refused { status, .. } => {
                self.counters.malformed.add(1);
                self.log(frame, status.name().unwrap_or("refused"));
            }
            Event::Alert { alert, .. } => self.alerted(alert.ms_availability_status),
            Event::Unmatched { .. } => self.counters.responses_unmatched.add(1),
            // outbind has no answer, and comes too late.
            _ => {}
        }
    }

    fn bound(&mut self, now: Mono, lane: &Lane) {
        let ProviderBindOptions { provider, bind, provider_id, kind, window, .. } = self.options;
        let (id, link) = self.partition.links.open();
        self.line.join(lane.clone(), link);
        // A receiver is given nothing to send: what it brings says to whom the answers go.
        if kind.transmits() {
            let (provider, bind, window) = (*provider, *bind, *window);
            self.line.offer(Command::BindUp { provider, bind, connection: id, window });
        }
        self.up = Some(Up { id, since: now });
        // The supervisor lasts longer than its session.
        let _ = self.told.take().map(|told| told.send(()));
        self.counters.binds.add(1);
        self.counters.up.set(1);
        tracing::info!(provider = %provider_id, bind, ?kind, connection = id.0, "bound");
    }

    /// A phone is there again for which the provider set its delivery pending flag (SMPP 3.4 §4.12). We set none, so it changes
    /// nothing.
    fn alerted(&mut self, ms_availability_status: Option<u8>) {
        self.counters.alerts.add(1);
        tracing::debug!(provider = %self.options.provider_id, ?ms_availability_status, "alert_notification");
    }

    fn answered(&mut self, token: u64, status: Status, late: bool, body: &[u8]) {
        let response = MessageIdResponse::read(body);
        let id = if status == Status::OK { response.message_id } else { &[] };
        self.counters.late_responses.add(u64::from(late));
        self.add_response(PartToken(token), status, id, (false, late));
    }

    /// Together with those of its kind: whether it is an answer to submit_multi, and whether it is late.
    fn add_response(&mut self, token: PartToken, status: Status, id: &[u8], (shared, late): (bool, bool)) {
        let place = self.responses.iter().position(|of| (of.shared, of.late) == (shared, late));
        let place = place.unwrap_or_else(|| {
            let ProviderBindOptions { provider, bind, .. } = *self.options;
            self.responses.push(Responses { provider, bind, shared, late, ..Responses::default() });
            self.responses.len().saturating_sub(1)
        });
        if let Some(Responses { items, ids, .. }) = self.responses.get_mut(place) {
            ids.extend_from_slice(id);
            // A read brings at most some hundred kilobytes.
            items.push(Response { token, status: status.0, end: ids.len() as u32 });
        }
    }

    /// One answer for several messages: each has its own, with the id that all of them share.
    fn multi_answered(&mut self, frame: &[u8], members: &[Member], status: Status, late: bool) {
        let response = SubmitMultiResponse::read(pdu::body(frame));
        let mut status = status;
        if multi::refuses_the_form(status) {
            tracing::warn!(provider = %self.options.provider_id, status = status.0, "submit_multi is refused: messages go alone until the next bind");
            self.multi.stop();
            // To the engine: not now, and no attempt has been made.
            status = Status::THROTTLED;
        }
        let verdicts = multi::verdicts(members, status, &response);
        if verdicts.senseless > 0 {
            self.counters.malformed.add(verdicts.senseless as u64);
            self.log(frame, "unsuccess_sme");
        }
        self.counters.late_responses.add(if late { members.len() as u64 } else { 0 });
        for (token, said) in verdicts.said {
            let token = PartToken(token);
            let (status, id) = match said {
                Said::Taken => (Status::OK, response.message_id),
                Said::Refused(status) => (status, &[][..]),
                Said::Unclear => {
                    if !late {
                        self.unanswered.push(token);
                    }
                    continue;
                }
            };
            self.add_response(token, status, id, (true, late));
        }
    }

    /// What was asked with this token, by the command of a response to it or of its own; a generic_nack is for the first.
    fn asked_kind(&self, token: u64, command: Pdu) -> Option<AskKind> {
        let asked = self.asked.get(&token)?;
        match ask_kind(command) {
            Some(kind) => asked.contains(&kind).then_some(kind),
            None if command == Pdu::GENERIC_NACK => asked.first().copied(),
            None => None,
        }
    }

    /// What a question has brought; a late answer is as good as none, for the question may have been asked again.
    fn ask_answered(&mut self, now: Now, token: u64, kind: AskKind, status: Status, body: &[u8]) {
        let Some(asked) = self.asked.get_mut(&token) else { return };
        if let Some(place) = asked.iter().position(|asked| *asked == kind) {
            asked.remove(place);
        }
        if asked.is_empty() {
            self.asked.remove(&token);
        }
        let is_state = kind == AskKind::Query && status == Status::OK;
        let response = QuerySmResponse::read(body).ok().filter(|_| is_state);
        let response = response.filter(|response| self.is_about(token, response.message_id));
        if !self.asked.contains_key(&token) {
            self.asked_ids.remove(&token);
        }
        let date = response.map(|response| response.final_date).unwrap_or_default();
        self.ask_answers.push(AskAnswer {
            token: PartToken(token),
            kind,
            status: status.0,
            state: response
                .and_then(|response| State::from_number(response.message_state))
                .map(|state| self.options.dialect.state(state)),
            error: response.map_or(0, |response| response.error_code),
            done: codecs::time::read(date, now.wall).ok().flatten(),
        });
    }

    /// Whether an answer names the message that was asked about, in whichever of the provider's forms, or none.
    fn is_about(&self, token: u64, named: &[u8]) -> bool {
        let Some(asked) = self.asked_ids.get(&token).filter(|_| !named.is_empty()) else { return true };
        let form = self.options.message_id;
        let key = |side, id: &[u8]| {
            let mut key = Vec::new();
            message_id::canonical(form, side, id, &mut key);
            key
        };
        let wanted = key(Side::Response, asked);
        let is_same = [Side::Response, Side::Receipt].into_iter().any(|side| key(side, named) == wanted);
        if !is_same {
            self.counters.malformed.add(1);
            tracing::warn!(provider = %self.options.provider_id, "a query_sm_resp of another message");
        }
        is_same
    }

    fn delivered(&mut self, now: Now, frame: &[u8], sequence: u32, command: Pdu, delivery: &Delivery<'_>) {
        match self.reader.read(now.wall, delivery, &mut self.receipts) {
            Delivered::Receipt => {}
            Delivered::Acknowledgement => {
                self.phones.add_acknowledgement(self.options.provider, delivery, &mut self.receipts);
            }
            Delivered::MobileOriginated => {
                self.counters.mobile_originated.add(1);
                self.phones.add(self.options.provider, delivery, &mut self.inbound);
            }
            // Kept and counted as unmatched by the engine; the operator may wonder what it looks like.
            Delivered::ReceiptWithoutId => {
                if self.may_log() {
                    let (provider, pdu) = (&self.options.provider_id, Masked(frame));
                    tracing::info!(%provider, %pdu, "a receipt without an id, kept as unmatched");
                }
            }
        }
        // It is answered when it is on disk.
        if command == Pdu::DATA_SM {
            self.data.insert(sequence);
        }
    }

    /// The header says enough; what follows may be the text of a message.
    fn log(&mut self, frame: &[u8], what: &str) {
        if self.may_log() {
            let (provider, pdu) = (&self.options.provider_id, Masked(frame));
            tracing::warn!(%provider, what, %pdu, "a PDU that was not taken");
        }
    }

    fn may_log(&mut self) -> bool {
        self.logged = self.logged.saturating_add(1);
        self.logged <= LOGGED_MAX
    }

    fn enter(&mut self, now: Mono, phase: Phase) {
        self.phase = phase;
        match phase {
            Phase::Running => return,
            // Another session is to take the place of this one.
            Phase::Draining => {}
            Phase::Closing => self.close_at = Some(now.after(self.options.closing)),
        }
        self.line.session.unbind(now);
    }

    /// A session that ends in good order, whoever wants it to, is given no more: what is handed to it would wait for its end. The
    /// responses to what it has sent are waited for.
    fn rest_if_leaving(&mut self) {
        let ProviderBindOptions { provider, bind, kind, .. } = *self.options;
        let is_leaving = matches!(self.line.session.state(), SessionState::Unbinding(_));
        if is_leaving && !self.rests && self.up.is_some() && kind.transmits() {
            self.rests = true;
            self.line.offer(Command::BindRests { provider, bind });
        }
    }

    /// What time has brought about.
    fn run_out(&mut self, now: Now) {
        while let TimeoutEvent::Expired { token, command } = self.line.session.timeout(now.mono) {
            if let Some(kind) = self.asked_kind(token, command) {
                self.ask_answered(now, token, kind, Status::UNKNOWNERR, &[]);
            } else if let Some(messages) = self.multi.give_up(now.mono, token) {
                self.unanswered.extend(messages.map(PartToken));
            } else {
                self.unanswered.push(PartToken(token));
            }
        }
    }

    /// All that a turn has brought goes to the commit loop.
    fn gather(&mut self) {
        let Some(up) = self.up else { return };
        let ProviderBindOptions { provider, bind, .. } = *self.options;
        for responses in self.responses.drain(..) {
            self.counters.responses.add(responses.items.len() as u64);
            self.line.offer(Command::Responses(responses));
        }
        let congestion = std::mem::take(&mut self.congestion);
        if congestion >= CONGESTION_TOLD {
            self.line.offer(Command::Congested { provider, state: congestion });
        }
        let odd_tlvs = self.reader.take_odd_tlvs();
        if odd_tlvs > 0 {
            self.counters.odd_tlvs.add(odd_tlvs);
        }
        if !self.receipts.items.is_empty() {
            let receipts = std::mem::take(&mut self.receipts);
            self.counters.receipts.add(receipts.items.len() as u64);
            let connection = Some(up.id);
            self.line.offer(Command::Receipts(Receipts { provider, connection, ..receipts }));
        }
        if !self.inbound.items.is_empty() {
            let inbound = std::mem::take(&mut self.inbound);
            let connection = Some(up.id);
            self.line.offer(Command::Inbound(Inbound { provider, connection, ..inbound }));
        }
        if !self.ask_answers.is_empty() {
            let items = std::mem::take(&mut self.ask_answers);
            self.line.offer(Command::AskAnswers { provider, bind, items });
        }
        if !self.unanswered.is_empty() {
            let tokens = std::mem::take(&mut self.unanswered);
            self.counters.unanswered.add(tokens.len() as u64);
            self.line.offer(Command::Unanswered { provider, bind, tokens });
        }
    }

    /// Asks what the window has room for, after the messages.
    fn ask_about(&mut self, now: Mono) {
        while let Some(Ask { token, kind, body }) = self.asks.front() {
            if self.line.session.request(now, ask_command(*kind), *token, body).is_err() {
                return;
            }
            if *kind == AskKind::Query {
                let id = body.split(|octet| *octet == 0).next().unwrap_or_default();
                if !id.is_empty() {
                    self.asked_ids.insert(*token, id.to_vec());
                }
            }
            self.asked.entry(*token).or_default().push(*kind);
            self.asks.pop_front();
        }
    }

    /// What the commit loop has for the provider.
    fn release(&mut self, now: Mono) {
        if self.up.is_none() {
            return;
        }
        let outgoing = self.line.take_outgoing();
        self.acknowledge(now, &outgoing.acknowledged);
        self.counters.submitted.add(outgoing.requests.len() as u64);
        self.line.backlog.push(outgoing.requests, outgoing.bodies);
        if self.multi.is_offered() {
            self.multi.feed(now, &mut self.line);
        } else {
            self.line.feed(now, self.options.submit);
        }
        self.asks.extend(outgoing.asks);
        self.ask_about(now);
        let in_flight = self.line.session.in_flight().saturating_add(self.multi.beyond_first());
        self.counters.in_flight.set(in_flight as u64);
    }

    /// Answers receipts that are on disk, in one piece.
    fn acknowledge(&mut self, now: Mono, acknowledged: &[(u32, u32)]) {
        if acknowledged.is_empty() {
            return;
        }
        self.frames.clear();
        for (sequence, status) in acknowledged {
            let status = Status(*status);
            if !self.data.is_empty() && self.data.remove(sequence) {
                let body: &[u8] = if status == Status::OK { &[0] } else { &[] };
                write::frame(&mut self.frames, Pdu::DATA_SM_RESP, status, *sequence, body);
            } else {
                write::deliver_sm_response(&mut self.frames, status, *sequence);
            }
        }
        self.line.session.respond_frames(now, acknowledged.len(), &self.frames);
    }

    async fn end(mut self) -> (Ending, Duration) {
        let ending = self.refused.map_or(Ending::Lost, Ending::Refused);
        let reason = self.line.why_closed();
        let mut lost = self.line.close().await;
        // Nothing comes back of a question but its answer.
        lost.unsent.retain(|token| !self.asked.contains_key(token));
        lost.in_flight.retain(|token| !self.asked.contains_key(token));
        let Some(up) = self.up else {
            let provider = &self.options.provider_id;
            // A refusal is reported with its pause, and what we end ourselves is no news.
            if ending == Ending::Lost && self.phase == Phase::Running {
                tracing::warn!(%provider, reason, "not bound");
            } else {
                tracing::debug!(%provider, %ending, reason, "not bound");
            }
            return (ending, Duration::ZERO);
        };
        self.counters.up.set(0);
        self.counters.in_flight.set(0);
        let ProviderBindOptions { provider, bind, kind, .. } = *self.options;
        tracing::info!(provider = %self.options.provider_id, bind, ?kind, reason, "unbound");
        let multi = &self.multi;
        let tokens = |tokens| multi.messages(tokens).into_iter().map(PartToken).collect::<Vec<_>>();
        let down = |unsent, in_flight| Command::BindDown { provider, bind, unsent, in_flight };
        if kind.transmits() {
            let gone = down(tokens(lost.unsent), tokens(lost.in_flight));
            let left = self.line.leave(gone, |unsent| down(tokens(unsent), Vec::new())).await;
            if left.is_err() {
                tracing::debug!(provider = %self.options.provider_id, "the commit loop has ended before this bind");
            }
        }
        self.partition.links.close(up.id);
        (ending, self.partition.clock.mono().since(up.since))
    }
}

/// What a request or its response is about, if it is no message.
fn ask_kind(command: Pdu) -> Option<AskKind> {
    let all = [AskKind::Query, AskKind::Cancel, AskKind::Replace];
    all.into_iter().find(|kind| [ask_command(*kind), ask_command(*kind).response()].contains(&command))
}
