//! What a session makes of each PDU of the peer.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::{Ending, Event, PendingBind, Role, Session, State};
use crate::instant::Mono;
use crate::smpp::alert::AlertNotification;
use crate::smpp::command::{BindKind, Command};
use crate::smpp::multi::SubmitMulti;
use crate::smpp::operations::{Ruling, is_answered, ruling_of_peer};
use crate::smpp::pdu::{Bind, BindResponse, CancelSm, DataSm, Header, Malformed, QuerySm, ReplaceSm, Sm};
use crate::smpp::session::CloseReason;
use crate::smpp::status::Status;
use crate::smpp::write;

impl Session {
    pub(super) fn peer_request<'f>(&mut self, now: Mono, header: Header, body: &'f [u8]) -> Event<'f> {
        let Header { command, sequence, .. } = header;
        match command {
            // Load balancers and eager clients send it before the bind; SMPP 5.0 §2.4 allows it in every state.
            Command::ENQUIRE_LINK => {
                let out = self.output.buffer();
                write::respond(out, command, Status::OK, sequence);
                Event::None
            }
            Command::UNBIND => self.peer_unbind(now, sequence),
            Command::BIND_RECEIVER | Command::BIND_TRANSMITTER | Command::BIND_TRANSCEIVER => {
                self.peer_bind(header, body)
            }
            _ => match ruling_of_peer(self.role.peer(), self.peer_may_use(), command) {
                Ruling::Legal => self.operation(header, body),
                Ruling::WrongState => self.refuse(header, Status::INVBNDSTS),
                Ruling::Unsupported => self.refuse(header, Status::INVCMDID),
                Ruling::Unknown => self.nack(header),
            },
        }
    }

    /// The bind as the peer may use it: a client not after its own unbind. What a provider sends until it has our answer is taken:
    /// the receipts and messages of the responses that we let it finish, which hardly any provider sends again.
    fn peer_may_use(&self) -> Option<BindKind> {
        match self.state {
            State::Bound(kind) => Some(kind),
            State::Unbinding(kind) if self.role == Role::Esme || !matches!(self.ending, Ending::Owed(_)) => {
                Some(kind)
            }
            _ => None,
        }
    }

    fn operation<'f>(&mut self, header: Header, body: &'f [u8]) -> Event<'f> {
        let sequence = header.sequence;
        let read = match header.command {
            Command::SUBMIT_SM => Sm::read(body).map(|sm| Event::Submit { sequence, sm }),
            Command::SUBMIT_MULTI => SubmitMulti::read(body).map(|multi| Event::Multi { sequence, multi }),
            Command::DELIVER_SM => Sm::read(body).map(|sm| Event::Deliver { sequence, sm }),
            Command::DATA_SM => DataSm::read(body).map(|data| Event::Data { sequence, data }),
            Command::QUERY_SM => QuerySm::read(body).map(|query| Event::Query { sequence, query }),
            Command::CANCEL_SM => CancelSm::read(body).map(|cancel| Event::Cancel { sequence, cancel }),
            Command::REPLACE_SM => ReplaceSm::read(body).map(|replace| Event::Replace { sequence, replace }),
            Command::ALERT_NOTIFICATION => {
                AlertNotification::read(body).map(|alert| Event::Alert { sequence, alert })
            }
            command => Ok(Event::Other { command, sequence, body }),
        };
        match read {
            Ok(event) => {
                let owed = usize::from(is_answered(header.command));
                self.unanswered = self.unanswered.saturating_add(owed);
                event
            }
            Err(malformed) => self.malformed(header, malformed),
        }
    }

    fn malformed<'f>(&mut self, header: Header, malformed: Malformed) -> Event<'f> {
        let Header { command, sequence, .. } = header;
        if is_answered(command) {
            write::respond(self.output.buffer(), command, malformed.status, sequence);
        }
        Event::Malformed { command, sequence, malformed }
    }

    /// A known command in the wrong place: its own response says so, or generic_nack where it has none.
    fn refuse<'f>(&mut self, header: Header, status: Status) -> Event<'f> {
        let Header { command, sequence, .. } = header;
        let response = if is_answered(command) { command.response() } else { Command::GENERIC_NACK };
        write::header_only(self.output.buffer(), response, status, sequence);
        Event::Refused { command, sequence, status }
    }

    /// SMPP 3.4 §4.3.1: a command_id that nobody knows is answered by generic_nack; the session goes on.
    fn nack<'f>(&mut self, header: Header) -> Event<'f> {
        let Header { command, sequence, .. } = header;
        let status = Status::INVCMDID;
        let out = self.output.buffer();
        write::header_only(out, Command::GENERIC_NACK, status, sequence);
        Event::Refused { command, sequence, status }
    }

    fn peer_bind<'f>(&mut self, header: Header, body: &'f [u8]) -> Event<'f> {
        let Some(kind) = BindKind::of(header.command).filter(|_| self.role == Role::Smsc) else {
            return self.refuse(header, Status::INVCMDID);
        };
        match self.state {
            State::Open => {}
            State::Binding | State::Bound(_) => return self.refuse(header, Status::ALYBND),
            State::Unbinding(_) | State::Closed(_) => {
                return self.refuse(header, Status::INVBNDSTS);
            }
        }
        let bind = match Bind::read(body) {
            Ok(bind) => bind,
            Err(malformed) => return self.malformed(header, malformed),
        };
        let sequence = header.sequence;
        self.pending_bind = Some(PendingBind { sequence, kind, interface_version: bind.interface_version });
        self.state = State::Binding;
        Event::Bind { sequence, kind, bind }
    }

    /// Smsc: the bind that the driver speaks of, if it still waits.
    pub(super) fn waiting_bind(&self, sequence: u32) -> Option<PendingBind> {
        let waits = self.role == Role::Smsc && self.state == State::Binding;
        self.pending_bind.filter(|bind| waits && bind.sequence == sequence)
    }

    pub(super) fn bound(&mut self, now: Mono, kind: BindKind) {
        self.state = State::Bound(kind);
        self.timers.bound(now);
    }

    pub(super) fn response<'f>(&mut self, now: Mono, header: Header, body: &'f [u8]) -> Event<'f> {
        let Header { command, status, sequence, .. } = header;
        if let Some(answered) = self.window.answer(now, sequence, command) {
            if !answered.late {
                self.settle(now);
            }
            return Event::Response {
                token: answered.token,
                command,
                status: refusal_if_nack(command, status),
                late: answered.late,
                body,
            };
        }
        self.control_response(now, header, body)
    }

    /// A response to a bind, unbind or enquire_link of ours, or to nothing.
    fn control_response<'f>(&mut self, now: Mono, header: Header, body: &'f [u8]) -> Event<'f> {
        let Header { command, status, sequence, .. } = header;
        let nack = command == Command::GENERIC_NACK;
        if let Some(bind) = self.own_bind(sequence)
            && (nack || command == bind.kind.command().response())
        {
            return self.bind_answered(now, bind, refusal_if_nack(command, status), body);
        }
        // What the question was for is done: something came, were it a nack or the answer to an earlier one.
        if command == Command::ENQUIRE_LINK_RESP || (nack && self.enquiry == Some(sequence)) {
            self.enquiry = None;
            return Event::None;
        }
        if self.ending == Ending::Sent(sequence) && (nack || command == Command::UNBIND_RESP) {
            return Event::Closed(self.shut(self.ending_reason));
        }
        // SMPP 3.4 §4.3.1: the peer met a command_length that it cannot believe, so it has lost our stream.
        if nack && sequence == 0 {
            return Event::Closed(self.shut(CloseReason::PeerNack(status)));
        }
        Event::Unmatched { command, sequence }
    }

    fn own_bind(&self, sequence: u32) -> Option<PendingBind> {
        self.pending_bind.filter(|bind| self.role == Role::Esme && bind.sequence == sequence)
    }

    fn bind_answered<'f>(
        &mut self,
        now: Mono,
        bind: PendingBind,
        status: Status,
        body: &'f [u8],
    ) -> Event<'f> {
        self.pending_bind = None;
        if status != Status::OK {
            self.state = State::Open;
            return Event::BindRefused { status };
        }
        let response = BindResponse::read(body);
        self.peer_version = response.sc_interface_version;
        self.bound(now, bind.kind);
        Event::Bound { response }
    }
}

/// A generic_nack is a refusal, even one that says ESME_ROK.
fn refusal_if_nack(command: Command, status: Status) -> Status {
    if command == Command::GENERIC_NACK && status == Status::OK { Status::UNKNOWNERR } else { status }
}
