//! One connection of the server: its turns, its bind and its end. What a bound tenant submits is `tenant`'s.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use codecs::instant::Mono;
use codecs::smpp::frame::FrameError;
use codecs::smpp::masked::{Masked, MaskedHead};
use codecs::smpp::pdu::Bind;
use codecs::smpp::session::{Event, Role, Session, TimeoutEvent};
use codecs::smpp::{BindKind, Command as Pdu, Status};
use engine::command::{Command, Now};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Shared;
use super::operations::About;
use super::tenant::{Request, Tenant, delivery_window};
use crate::intake::Source;
use crate::partition::Partition;
use crate::smpp::access::{Denied, TenantAccess};
use crate::smpp::gate::Pass;
use crate::smpp::line::{Line, UNBOUND_PDU_OCTETS_MAX, Woken};
use crate::smpp::phase::{Phase, Phases};
use crate::smpp::seats::Leaving;
use crate::sparing::{REFUSED_BINDS, STRANGERS};

/// Malformed PDUs of one connection that are logged; all are counted.
const LOGGED_MAX: u32 = 10;

pub struct Connection<S> {
    shared: Arc<Shared>,
    line: Line<S>,
    from: SocketAddr,
    pass: Pass,
    phases: Phases,
    phase: Phase,
    tenant: Option<Tenant>,
    held: Option<HeldRefusal>,
    /// When the connection is closed, whatever is still open.
    close_at: Option<Mono>,
    /// The peer has ended its own half: there is nothing more to read.
    is_half_closed: bool,
    logged: u32,
}

/// The answer to a bind, held back so that guessing is slow.
struct HeldRefusal {
    sequence: u32,
    status: Status,
    at: Mono,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub fn new(
        shared: Arc<Shared>,
        line: Line<S>,
        from: SocketAddr,
        pass: Pass,
        phases: Phases,
    ) -> Connection<S> {
        Connection {
            shared,
            line,
            from,
            pass,
            phases,
            phase: Phase::Running,
            tenant: None,
            held: None,
            close_at: None,
            is_half_closed: false,
            logged: 0,
        }
    }

    pub async fn run(mut self) {
        loop {
            let deadline = self.held.as_ref().map(|held| held.at).or(self.close_at);
            let woken = self.line.wait(!self.is_half_closed, deadline, &mut self.phases, self.phase).await;
            let now = self.line.clock().now();
            let is_stalled = self.line.is_stalled(now.mono);
            match woken {
                Woken::Read => self.read(now),
                Woken::Phase(phase) => self.enter(now.mono, phase),
                Woken::HalfClosed => {
                    // What was accepted of it is still to be answered.
                    self.is_half_closed = true;
                    self.line.session.half_closed(now.mono);
                }
                Woken::Ended | Woken::Other => {}
            }
            self.run_out(now.mono);
            self.gather();
            if self.line.flush().is_err() {
                break;
            }
            if is_stalled {
                self.shared.counters.slow_readers.add(1);
                tracing::warn!(from = %self.from, "closed: the peer does not read");
                break;
            }
            self.release(now.mono);
            if self.has_to_leave(now.mono) {
                break;
            }
            let is_over = self.close_at.is_some_and(|at| at <= now.mono);
            if woken == Woken::Ended || is_over || self.line.session.closed().is_some() {
                break;
            }
        }
        self.end().await;
    }

    /// All frames of a read.
    fn read(&mut self, now: Now) {
        let mut input = self.line.take_input();
        loop {
            match input.next_frame(self.pdu_octets_max()) {
                Ok(Some(frame)) => self.frame(now, frame),
                Ok(None) => break,
                Err(error) => {
                    self.stream_lost(error, input.waiting());
                    break;
                }
            }
        }
        self.line.keep(now.mono, input);
    }

    fn stream_lost(&mut self, error: FrameError, octets: &[u8]) {
        self.shared.counters.malformed.add(1);
        self.line.session.broken_frame(error);
        let (from, header) = (self.from, MaskedHead(octets));
        if let Some(tenant) = self.tenant.as_ref().map(Tenant::name) {
            tracing::warn!(%from, tenant = &*tenant, %error, %header, "the stream is lost");
        } else if tracing::enabled!(tracing::Level::DEBUG)
            && let Some(left_out) = STRANGERS.line(self.line.clock().mono())
        {
            tracing::debug!(%from, %error, %header, left_out, "a stranger's stream is lost");
        }
    }

    fn pdu_octets_max(&self) -> usize {
        let octets_max = self.shared.options.pdu_octets_max;
        if self.tenant.is_some() { octets_max } else { octets_max.min(UNBOUND_PDU_OCTETS_MAX) }
    }

    fn frame(&mut self, now: Now, frame: &[u8]) {
        let request = match self.line.session.receive(now.mono, frame) {
            Event::Submit { sequence, sm } => Request::Submit { sequence, sm },
            Event::Data { sequence, data } => Request::Data { sequence, data },
            Event::Response { token, status, late, .. } => {
                return self.answered(token, status, late);
            }
            Event::Bind { sequence, kind, bind } => return self.bind(now, frame, sequence, kind, &bind),
            Event::Multi { sequence, multi } => {
                if let Some(tenant) = &mut self.tenant {
                    tenant.submit_multi(now, &mut self.line.session, sequence, &multi);
                }
                return;
            }
            Event::Query { sequence, query } => return self.operate(now, sequence, &About::Query(query)),
            Event::Cancel { sequence, cancel } => {
                return self.operate(now, sequence, &About::Cancel(cancel));
            }
            Event::Replace { sequence, replace } => {
                return self.operate(now, sequence, &About::Replace(replace));
            }
            // SMPP 3.4 §4.3.1 leaves no status for a known operation that is not served but this one.
            Event::Other { command, sequence, .. } => return self.not_served(now, command, sequence),
            Event::Malformed { malformed, .. } => return self.malformed(frame, malformed.field),
            Event::Refused { status, .. } => {
                return self.malformed(frame, status.name().unwrap_or("refused"));
            }
            Event::Unmatched { .. } => return self.shared.counters.responses_unmatched.add(1),
            _ => return,
        };
        if let Some(tenant) = &mut self.tenant {
            tenant.submit(now, &mut self.line.session, &request);
        }
    }

    fn operate(&mut self, now: Now, sequence: u32, about: &About<'_>) {
        if let Some(tenant) = &mut self.tenant {
            tenant.operate(now, &mut self.line.session, sequence, about);
        }
    }

    fn answered(&mut self, token: u64, status: Status, late: bool) {
        if let Some(tenant) = &mut self.tenant {
            tenant.acknowledge(token, status, late);
        }
    }

    fn not_served(&mut self, now: Now, command: Pdu, sequence: u32) {
        self.line.session.respond(now.mono, command, sequence, Status::INVCMDID, &[]);
    }

    /// One bad PDU costs one PDU: it is counted, and written down without what may be a text or a password. A stranger's only
    /// where somebody looks for it.
    fn malformed(&mut self, frame: &[u8], what: &str) {
        self.shared.counters.malformed.add(1);
        self.logged = self.logged.saturating_add(1);
        if self.logged > LOGGED_MAX {
            return;
        }
        let (from, pdu) = (self.from, Masked(frame));
        if let Some(tenant) = self.tenant.as_ref().map(Tenant::name) {
            tracing::warn!(%from, tenant = &*tenant, what, %pdu, "a PDU that was not taken");
        } else if tracing::enabled!(tracing::Level::DEBUG)
            && let Some(left_out) = STRANGERS.line(self.line.clock().mono())
        {
            tracing::debug!(%from, what, %pdu, left_out, "a stranger's PDU that was not taken");
        }
    }

    fn bind(&mut self, now: Now, frame: &[u8], sequence: u32, kind: BindKind, bind: &Bind<'_>) {
        match self.authenticate(now.mono, bind) {
            Ok(access) => self.let_in(now, frame, sequence, kind, access),
            Err((status, delay)) => {
                self.shared.counters.binds_refused.add(1);
                if let Some(left_out) = REFUSED_BINDS.line(now.mono) {
                    let (system_id, status) = (bind.system_id.escape_ascii(), status.name());
                    tracing::info!(from = %self.from, %system_id, status, left_out, "bind refused");
                }
                self.held = Some(HeldRefusal { sequence, status, at: now.mono.after(delay) });
            }
        }
    }

    /// The tenant's access, or the status of the refusal and how long it is held back.
    fn authenticate(&self, now: Mono, bind: &Bind<'_>) -> Result<TenantAccess, (Status, Duration)> {
        let Shared { lockout, counters, options, authenticator, .. } = &*self.shared;
        let (from, system_id) = (self.from.ip(), bind.system_id);
        if self.phases.now() != Phase::Running {
            return Err((Status::SYSERR, Duration::ZERO));
        }
        if lockout.is_locked(now, from, system_id) {
            counters.locked_out.add(1);
            return Err((Status::THROTTLED, options.lockout.delay_first));
        }
        match authenticator.authenticate(system_id, bind.password, from) {
            Ok(access) => {
                lockout.succeeded(from, system_id);
                Ok(access)
            }
            Err(Denied::Unavailable) => Err((Status::SYSERR, Duration::ZERO)),
            Err(Denied::Credentials | Denied::Address) => {
                counters.wrong_passwords.add(1);
                Err((Status::BINDFAIL, lockout.failed(now, from, system_id)))
            }
        }
    }

    fn let_in(&mut self, now: Now, frame: &[u8], sequence: u32, kind: BindKind, access: TenantAccess) {
        if !access.bind_kinds.allow(kind) {
            self.shared.counters.binds_refused.add(1);
            tracing::info!(from = %self.from, tenant = &*access.tenant_id, ?kind, "bind refused: of a kind that it may not have");
            return self.line.session.refuse_bind(sequence, Status::BINDFAIL);
        }
        let seats = &self.shared.seats;
        let Some(seat) = seats.take(access.tenant, access.max_binds, access.oldest_leaves) else {
            self.shared.counters.binds_refused.add(1);
            return self.line.session.refuse_bind(sequence, Status::ALYBND);
        };
        if !self.pass.bound() {
            return;
        }
        self.fit_window(now.mono, frame, access.window);
        let system_id = self.shared.options.system_id.as_bytes();
        if let Err(error) = self.line.session.accept_bind(now.mono, sequence, system_id) {
            tracing::error!(%error, "our own system_id cannot be sent");
            return self.line.session.refuse_bind(sequence, Status::SYSERR);
        }
        self.shared.counters.binds_accepted.add(1);
        let Partition { intake, links, .. } = &self.shared.partition;
        let (id, link) = links.open();
        seat.wakes(&link);
        self.line.join(intake.lane(Source::Tenant(access.tenant)), link);
        tracing::info!(from = %self.from, tenant = &*access.tenant_id, connection = id.0, ?kind, "bound");
        let version = self.line.session.peer_version().unwrap_or_default();
        self.tenant = Some(Tenant::new(&self.shared, id, access, kind, version, seat));
    }

    /// The window is known with the tenant, so the session begins anew with this bind. A stranger's has next to none, or
    /// many connections would be much memory. What was answered before goes out first.
    fn fit_window(&mut self, now: Mono, frame: &[u8], window: u32) {
        let limits = self.shared.options.limits(delivery_window(window) as usize);
        let before = std::mem::replace(&mut self.line.session, Session::new(Role::Smsc, limits, now));
        self.line.session.respond_frames(now, 0, before.output());
        let _ = self.line.session.receive(now, frame);
    }

    fn enter(&mut self, now: Mono, phase: Phase) {
        self.phase = phase;
        if phase == Phase::Closing {
            self.close_at = Some(now.after(self.shared.options.closing));
            self.held = None;
            self.line.session.unbind(now);
        }
    }

    /// What time has brought about.
    fn run_out(&mut self, now: Mono) {
        if let Some(held) = self.held.take_if(|held| held.at <= now) {
            self.line.session.refuse_bind(held.sequence, held.status);
        }
        while let TimeoutEvent::Expired { token, .. } = self.line.session.timeout(now) {
            if let Some(tenant) = &mut self.tenant {
                tenant.give_back(token);
            }
        }
    }

    /// All that a turn has brought goes to the commit loop.
    fn gather(&mut self) {
        if let Some(tenant) = &mut self.tenant {
            tenant.gather();
            tenant.commands.drain(..).for_each(|command| self.line.offer(command));
        }
    }

    /// What the commit loop has for the peer.
    fn release(&mut self, now: Mono) {
        let Some(tenant) = &mut self.tenant else { return };
        let outgoing = self.line.take_outgoing();
        tenant.answer(now, &mut self.line.session, outgoing.congestion, &outgoing.answers);
        tenant.answer_operations(now, &mut self.line.session, &outgoing.operated);
        self.line.backlog.push(outgoing.requests, outgoing.bodies);
        self.line.feed(now, Pdu::DELIVER_SM);
    }

    /// Tells the tenant's other binds what waits here, and looks whether this one makes room: at once where its peer does not
    /// read, in good order where another one has come.
    fn has_to_leave(&mut self, now: Mono) -> bool {
        let Some(tenant) = &self.tenant else { return false };
        tenant.seat.waits(self.line.waiting_octets(), self.shared.options.tenant_octets_max);
        match tenant.seat.leaving() {
            Some(Leaving::TooMuch) => {
                self.shared.counters.slow_readers.add(1);
                let name = &*tenant.name();
                tracing::warn!(from = %self.from, tenant = name, "closed: too much waits for the tenant, and this peer does not read");
                true
            }
            Some(Leaving::Superseded) if self.close_at.is_none() => {
                let name = &*tenant.name();
                tracing::info!(from = %self.from, tenant = name, "unbound: another bind has come in its place");
                self.close_at = Some(now.after(self.shared.options.closing));
                self.line.session.unbind(now);
                false
            }
            _ => false,
        }
    }

    async fn end(mut self) {
        let reason = self.line.why_closed();
        let ids = self.tenant.take().map(|tenant| (tenant.id(), tenant.number(), tenant.name()));
        // With the tenant its seat is free, before the peer can know that the session is over: a client that binds again
        // at once must not be told that it is bound already.
        let lost = self.line.close().await;
        drop(self.pass);
        let Some((connection, tenant, name)) = ids else {
            tracing::debug!(from = %self.from, reason, "closed before a bind");
            return;
        };
        tracing::info!(from = %self.from, tenant = &*name, connection = connection.0, reason, "unbound");
        let unbound = |untold| Command::TenantUnbound { tenant, connection, untold };
        let untold = [lost.in_flight, lost.unsent].concat();
        if self.line.leave(unbound(untold), unbound).await.is_err() {
            tracing::debug!(connection = connection.0, "the commit loop has ended before this connection");
        }
        self.shared.partition.links.close(connection);
    }
}
