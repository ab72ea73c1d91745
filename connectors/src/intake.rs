//! The way into the commit loop: commands wait per source, bounded, and are taken round robin over sources, what providers say
//! before what tenants bring. It moves commands and looks at none; deciding is the engine's.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::command::Command;
use tokio::sync::Notify;

/// Batches of one lane that may wait; its connection stops reading beyond.
pub const LANE_COMMANDS_MAX: usize = 64;
/// Messages taken from one source before the next one's turn.
const TURN_MESSAGES: usize = 1_000;
/// Messages taken at once from providers and this process: what is in the house already goes on first, else it piles up behind
/// what many tenants bring.
const HOUSE_MESSAGES: usize = 5_000;
/// Turns of each of them: one alone, which may say what nobody asked for, does not take all.
const HOUSE_ROUNDS: usize = 2;
/// Messages taken at once from tenants. A provider says two things of a message, its tenant too (the message, and that it was
/// told): as long as this is not the greater number, what comes in does not outrun what goes out.
const TENANTS_MESSAGES: usize = TURN_MESSAGES;
/// Where much waits for a provider already, tenants' next turn comes when it has said so much of what went out that the one before
/// is made up for, where that takes no longer than this: then it is our own processors that are the limit, and what waits costs
/// them more. Where it does, the provider is, and who fills its queue, or another one's, need not wait for it.
const TENANTS_WAIT: Duration = Duration::from_millis(8);
/// Over which that is measured, in waits.
const WAITS_MEASURED: u32 = 8;

/// Who shares a turn: all connections of a tenant, all binds of a provider, or this process itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    Tenant(u32),
    Provider(u16),
    Process,
}

/// What the one who takes is woken for, before its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wakes {
    /// Whatever comes.
    #[default]
    Any,
    /// What somebody waits for. Receipts, and the news that they were told, can wait a moment for others of their kind.
    Hurried,
    /// So many messages at once: there is no use in fewer of them yet.
    Many(usize),
}

/// The commands that wait for the commit loop of one partition.
#[derive(Default)]
pub struct Intake {
    waiting: Mutex<Waiting>,
    ready: Condvar,
    /// As `ready`, for a commit loop that is a task and not a thread.
    arrived: Notify,
    closed: AtomicBool,
    stopped: Notify,
    /// The provider for which much waits, and one more; 0: none.
    crowded: AtomicU32,
}

#[derive(Default)]
struct Waiting {
    /// The one who takes is to look up, though nothing may have come.
    nudged: bool,
    /// What it is woken for.
    wakes: Wakes,
    /// For whom much that was taken from tenants waits.
    crowded: Option<Source>,
    /// What is still to be said of as many messages as tenants last brought, and since when.
    ahead: usize,
    since: Option<Instant>,
    pace: Pace,
    /// What providers say, and this process.
    house: Turns,
    tenants: Turns,
}

/// Whether what providers say makes up for tenants' turns in time.
#[derive(Default)]
struct Pace {
    began: Option<Instant>,
    said: usize,
    is_fast: bool,
}

/// Sources that take turns, and what waits of each.
#[derive(Default)]
struct Turns {
    /// Messages, and commands that somebody waits for.
    messages: usize,
    hurried: usize,
    queues: HashMap<Source, VecDeque<(Arc<LaneRoom>, Command)>>,
    order: VecDeque<Source>,
}

#[derive(Default)]
struct LaneRoom {
    /// Batches waiting; changed under the intake's lock only.
    waiting: AtomicUsize,
    /// Notified when the lane is no longer full.
    freed: Notify,
}

/// One connection's way in, or one that askers of a source share.
#[derive(Clone)]
pub struct Lane {
    intake: Arc<Intake>,
    source: Source,
    room: Arc<LaneRoom>,
}

/// The commit loop has ended; nothing is taken any more.
#[derive(Debug, thiserror::Error)]
#[error("the gateway is stopping")]
pub struct Stopped;

/// A batch that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// It comes back, to be offered again after `Lane::room`.
    #[error("too many batches of this connection wait")]
    Full(Box<Command>),
    #[error("the gateway is stopping")]
    Stopped,
}

impl Intake {
    pub fn new() -> Arc<Intake> {
        Arc::default()
    }

    pub fn lane(self: &Arc<Intake>, source: Source) -> Lane {
        Lane { intake: Arc::clone(self), source, room: Arc::default() }
    }

    /// Fills `taken` with what waits, at most a group's worth, round robin over sources. Waits until `until` for what `wakes`
    /// names, or for a nudge; `false` when the intake is closed and empty.
    pub fn take(&self, until: Option<Instant>, wakes: Wakes, taken: &mut Vec<Command>) -> bool {
        let mut waiting = self.lock();
        waiting.wakes = wakes;
        let crowded = self.crowded.load(Relaxed).checked_sub(1).filter(|_| !self.closed.load(Relaxed));
        waiting.crowded = crowded.map(|provider| Source::Provider(provider as u16));
        while !waiting.is_worth_it() && !waiting.nudged {
            if self.closed.load(Relaxed) {
                if waiting.is_empty() {
                    return false;
                }
                break;
            }
            let Some(until) = until.into_iter().chain(waiting.held_until()).min() else {
                waiting = self.ready.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.ready.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        waiting.nudged = false;
        waiting.take(taken);
        true
    }

    /// The provider for which much of what was taken waits, if there is one: then tenants bring no more than it takes, where it
    /// takes as much as we can send.
    pub fn set_crowded(&self, provider: Option<u16>) {
        self.crowded.store(provider.map_or(0, |provider| u32::from(provider) + 1), Relaxed);
    }

    /// Waits until something has come since the last `take`, or the intake was closed; it may return without. Cancel safe.
    pub async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Lets a `take` that waits return, and the next one that would wait.
    pub fn nudge(&self) {
        self.lock().nudged = true;
        self.ready.notify_one();
    }

    /// Ends the intake: what waits is still taken, nothing more is let in.
    pub fn close(&self) {
        let waiting = self.lock();
        self.closed.store(true, Relaxed);
        self.stopped.notify_waiters();
        let queues = waiting.house.queues.values().chain(waiting.tenants.queues.values());
        for (room, _) in queues.flatten() {
            room.freed.notify_waiters();
        }
        self.ready.notify_all();
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.house.order.is_empty() && self.tenants.order.is_empty()
    }

    fn is_worth_it(&self) -> bool {
        let is_held = self.held_until().is_some();
        let of =
            |count: fn(&Turns) -> usize| count(&self.house) + if is_held { 0 } else { count(&self.tenants) };
        match self.wakes {
            Wakes::Any => of(|turns| turns.order.len()) > 0,
            Wakes::Hurried => of(|turns| turns.hurried) > 0,
            Wakes::Many(messages) => of(|turns| turns.messages) >= messages,
        }
    }

    fn push(&mut self, source: Source, room: Arc<LaneRoom>, command: Command) {
        self.turns_of(source).push(source, room, command);
    }

    fn take(&mut self, taken: &mut Vec<Command>) {
        let crowded = self.crowded;
        let said = |source, command: &Command| if crowded == Some(source) { said_of(command) } else { 0 };
        let said = self.house.take(HOUSE_MESSAGES, HOUSE_ROUNDS, said, taken);
        self.ahead = self.ahead.saturating_sub(said);
        if crowded.is_some() {
            self.pace.look(Instant::now(), said);
        }
        if self.held_until().is_none() {
            let submitted = |_, command: &Command| submitted(command);
            self.ahead = 2 * self.tenants.take(TENANTS_MESSAGES, usize::MAX, submitted, taken);
            self.since = crowded.map(|_| Instant::now());
        }
    }

    /// Until when tenants wait at the latest, if they do; those too who come before then, as the taker is not woken for them.
    fn held_until(&self) -> Option<Instant> {
        if self.crowded.is_none() || !self.pace.is_fast || self.ahead == 0 {
            return None;
        }
        self.since.map(|since| since + TENANTS_WAIT).filter(|until| *until > Instant::now())
    }

    fn turns_of(&mut self, source: Source) -> &mut Turns {
        match source {
            Source::Provider(_) | Source::Process => &mut self.house,
            Source::Tenant(_) => &mut self.tenants,
        }
    }
}

impl Pace {
    fn look(&mut self, now: Instant, said: usize) {
        self.said += said;
        let began = *self.began.get_or_insert(now);
        if now.saturating_duration_since(began) >= TENANTS_WAIT * WAITS_MEASURED {
            self.is_fast = self.said >= 2 * TENANTS_MESSAGES * WAITS_MEASURED as usize;
            (self.began, self.said) = (Some(now), 0);
        }
    }
}

impl Turns {
    fn push(&mut self, source: Source, room: Arc<LaneRoom>, command: Command) {
        self.messages += weight(&command);
        self.hurried += usize::from(is_hurried(&command));
        let queue = self.queues.entry(source).or_default();
        if queue.is_empty() {
            self.order.push_back(source);
        }
        queue.push_back((room, command));
    }

    /// Takes at most `most` messages and the rest of a command; each source at most so many turns. What counts of them.
    fn take(
        &mut self,
        most: usize,
        rounds: usize,
        counts: impl Fn(Source, &Command) -> usize,
        taken: &mut Vec<Command>,
    ) -> usize {
        let (mut total, mut counted) = (0, 0);
        let mut turns = self.order.len().saturating_mul(rounds);
        while total < most && turns > 0 {
            turns -= 1;
            let Some(source) = self.order.pop_front() else { break };
            let Some(queue) = self.queues.get_mut(&source) else { continue };
            let mut turn = 0;
            while turn < TURN_MESSAGES {
                let Some((room, command)) = queue.pop_front() else { break };
                turn += weight(&command);
                self.hurried -= usize::from(is_hurried(&command));
                counted += counts(source, &command);
                taken.push(command);
                room.free_one();
            }
            total += turn;
            if queue.is_empty() {
                self.queues.remove(&source);
            } else {
                self.order.push_back(source);
            }
        }
        self.messages -= total;
        counted
    }
}

impl LaneRoom {
    fn free_one(&self) {
        if self.waiting.fetch_sub(1, Relaxed) == LANE_COMMANDS_MAX {
            self.freed.notify_waiters();
        }
    }
}

impl Lane {
    /// Puts a batch in; waits while the lane is full.
    pub async fn offer(&self, command: Command) -> Result<(), Stopped> {
        let mut command = command;
        loop {
            match self.try_offer(command) {
                Ok(()) => return Ok(()),
                Err(NotTaken::Stopped) => return Err(Stopped),
                Err(NotTaken::Full(back)) => command = *back,
            }
            self.room().await;
        }
    }

    /// Waits until the lane has room or the intake is closed. Cancel safe.
    pub async fn room(&self) {
        loop {
            // Made before the look, so that what is freed between the two is not missed.
            let freed = self.room.freed.notified();
            let is_full = self.room.waiting.load(Relaxed) >= LANE_COMMANDS_MAX;
            if !is_full || self.intake.closed.load(Relaxed) {
                return;
            }
            freed.await;
        }
    }

    /// Waits until the intake is closed: nothing more will be released then. Cancel safe.
    pub async fn stopped(&self) {
        let stopped = self.intake.stopped.notified();
        if !self.intake.closed.load(Relaxed) {
            stopped.await;
        }
    }

    /// Puts a batch in, or gives it back.
    pub fn try_offer(&self, command: Command) -> Result<(), NotTaken> {
        let mut waiting = self.intake.lock();
        if self.intake.closed.load(Relaxed) {
            return Err(NotTaken::Stopped);
        }
        if self.room.waiting.load(Relaxed) >= LANE_COMMANDS_MAX {
            return Err(NotTaken::Full(Box::new(command)));
        }
        self.room.waiting.fetch_add(1, Relaxed);
        let (was_idle, was_worth_it) = (waiting.is_empty(), waiting.is_worth_it());
        waiting.push(self.source, Arc::clone(&self.room), command);
        let wakes = waiting.is_worth_it() && !was_worth_it;
        drop(waiting);
        if wakes {
            self.intake.ready.notify_one();
        }
        if was_idle {
            self.intake.arrived.notify_one();
        }
        Ok(())
    }
}

/// Messages a command stands for; what has none counts as one.
fn weight(command: &Command) -> usize {
    let messages = match command {
        Command::Submit(submissions) => submissions.items.len(),
        Command::Responses(responses) => responses.items.len(),
        Command::Receipts(receipts) => receipts.items.len(),
        Command::AskAnswers { items, .. } => items.len(),
        Command::Acknowledged { items, .. } => items.len(),
        Command::Loaded { blocks } => blocks.iter().map(|block| block.messages.len()).sum(),
        _ => 1,
    };
    messages.max(1)
}

/// Messages that a tenant brings.
fn submitted(command: &Command) -> usize {
    match command {
        Command::Submit(submissions) => submissions.items.len(),
        _ => 0,
    }
}

/// Of how many messages a provider says that it has them, or what became of them.
fn said_of(command: &Command) -> usize {
    match command {
        Command::Responses(responses) => responses.items.len(),
        Command::Receipts(receipts) => receipts.items.len(),
        _ => 0,
    }
}

/// Whether somebody waits for what becomes of it: for an answer, or for a message to be sent.
fn is_hurried(command: &Command) -> bool {
    !matches!(command, Command::Receipts(_) | Command::Acknowledged { .. })
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use codecs::instant::Mono;
    use engine::command::{
        Acknowledgement, AskAnswer, AskKind, ConnectionId, Door, LoadedBlock, PartToken, Response, Responses,
        Said, Submission, Submissions,
    };
    use engine::effect::{Load, Shelf};

    use super::*;

    /// A command of `messages` messages that can be told from others.
    fn batch(tenant: u32, name: u32, messages: usize) -> Command {
        let items = vec![Acknowledgement { token: 0, said: Said::Status(0) }; messages];
        Command::Acknowledged { tenant, connection: ConnectionId(name), items }
    }

    fn submission(messages: u32) -> Command {
        let items = (0..messages).map(|sequence| Submission { sequence, end: 0, refused: None }).collect();
        let (door, received) = (Door::Smpp(ConnectionId(1)), Mono(0));
        Command::Submit(Submissions {
            tenant: 1,
            door,
            received,
            idempotency: None,
            items,
            bodies: Vec::new(),
        })
    }

    fn responses(messages: usize) -> Command {
        let response = Response { token: PartToken(0), status: 0, end: 0 };
        Command::Responses(Responses { items: vec![response; messages], ..Responses::default() })
    }

    fn name(command: &Command) -> (u32, u32) {
        match command {
            Command::Acknowledged { tenant, connection, .. } => (*tenant, connection.0),
            other => panic!("{other:?}"),
        }
    }

    /// How many commands each turn takes, until there are none.
    fn turns(intake: &Intake) -> Vec<usize> {
        let turn = || {
            let mut taken = Vec::new();
            assert!(intake.take(Some(Instant::now()), Wakes::Any, &mut taken));
            taken.len()
        };
        std::iter::repeat_with(turn).take_while(|count| *count > 0).collect()
    }

    fn take(intake: &Intake) -> Vec<(u32, u32)> {
        let mut taken = Vec::new();
        assert!(intake.take(Some(Instant::now()), Wakes::Any, &mut taken));
        taken.iter().map(name).collect()
    }

    #[test]
    fn tenants_take_turns_and_each_keeps_its_order() {
        let intake = Intake::new();
        let flood = intake.lane(Source::Tenant(1));
        let quiet = intake.lane(Source::Tenant(2));
        for number in 0..3 {
            flood.try_offer(batch(1, number, 600)).unwrap();
        }
        quiet.try_offer(batch(2, 0, 1)).unwrap();
        assert_eq!(take(&intake), [(1, 0), (1, 1)]);
        assert_eq!(take(&intake), [(2, 0), (1, 2)]);
    }

    #[test]
    fn connections_of_one_tenant_share_its_turn() {
        let intake = Intake::new();
        let lanes = [(1, 0), (1, 1), (2, 0)]
            .map(|(tenant, connection)| (intake.lane(Source::Tenant(tenant)), tenant, connection));
        for (lane, tenant, connection) in &lanes {
            lane.try_offer(batch(*tenant, *connection, 1_000)).unwrap();
            lane.try_offer(batch(*tenant, *connection, 1_000)).unwrap();
        }
        let taken: Vec<(u32, u32)> = (0..6).flat_map(|_| take(&intake)).collect();
        assert_eq!(taken, [(1, 0), (2, 0), (1, 0), (2, 0), (1, 1), (1, 1)]);
    }

    #[test]
    fn a_group_has_an_end_and_the_rest_is_taken_next() {
        let intake = Intake::new();
        let lane = intake.lane(Source::Tenant(1));
        for number in 0..7 {
            lane.try_offer(batch(1, number, 1_000)).unwrap();
        }
        let takes: Vec<usize> = (0..8).map(|_| take(&intake).len()).collect();
        assert_eq!(takes, [1, 1, 1, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn a_command_counts_by_its_messages_whatever_they_are() {
        let answer = AskAnswer {
            token: PartToken(0),
            kind: AskKind::Query,
            status: 0,
            state: None,
            error: 0,
            done: None,
        };
        let answers = |items| Command::AskAnswers { provider: 0, bind: 0, items: vec![answer; items] };
        for (name, command) in [
            ("acknowledgements", &(|items| batch(1, 0, items)) as &dyn Fn(usize) -> Command),
            ("answers to questions", &answers),
            ("responses", &responses),
        ] {
            let intake = Intake::new();
            let lane = intake.lane(Source::Tenant(1));
            (0..3).for_each(|_| lane.try_offer(command(1_000)).unwrap());
            (0..5).for_each(|_| lane.try_offer(command(1)).unwrap());
            assert_eq!(turns(&intake), [1, 1, 1, 5], "{name}");
        }
    }

    #[test]
    fn one_provider_alone_leaves_tenants_a_third() {
        let intake = Intake::new();
        let (provider, tenant) = (intake.lane(Source::Provider(0)), intake.lane(Source::Tenant(1)));
        for number in 0..9 {
            provider.try_offer(batch(1_000, number, 500)).unwrap();
            tenant.try_offer(batch(1, number, 500)).unwrap();
        }
        let of_tenants = take(&intake).iter().filter(|(tenant, _)| *tenant == 1).count();
        assert_eq!(of_tenants, 2);
        assert_eq!(take(&intake).len(), 6);
    }

    #[test]
    fn what_a_provider_says_does_not_wait_for_many_tenants() {
        let intake = Intake::new();
        for tenant in 0..100 {
            intake.lane(Source::Tenant(tenant)).try_offer(batch(tenant, 0, 100)).unwrap();
        }
        intake.lane(Source::Provider(0)).try_offer(batch(1_000, 7, 1_000)).unwrap();
        let taken = take(&intake);
        assert_eq!((taken[0], taken.len()), ((1_000, 7), 11));
    }

    #[test]
    fn a_full_lane_gives_the_batch_back_and_others_are_not_held_up() {
        let intake = Intake::new();
        let lane = intake.lane(Source::Tenant(1));
        for number in 0..LANE_COMMANDS_MAX as u32 {
            lane.try_offer(batch(1, number, 1)).unwrap();
        }
        let Err(NotTaken::Full(back)) = lane.try_offer(batch(1, 99, 1)) else {
            panic!("the lane took more than its bound");
        };
        assert_eq!(name(&back), (1, 99));
        intake.lane(Source::Tenant(1)).try_offer(batch(1, 100, 1)).unwrap();
    }

    #[test]
    fn all_who_wait_for_room_are_woken_by_the_first_batch_taken() {
        let intake = Intake::new();
        let lane = intake.lane(Source::Process);
        for number in 0..LANE_COMMANDS_MAX as u32 {
            lane.try_offer(batch(0, number, 1)).unwrap();
        }
        let mut offers = [pin!(lane.offer(batch(0, 64, 1))), pin!(lane.offer(batch(0, 65, 1)))];
        let mut context = Context::from_waker(Waker::noop());
        for offer in &mut offers {
            assert!(offer.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(take(&intake).len(), LANE_COMMANDS_MAX);
        for offer in &mut offers {
            assert!(matches!(offer.as_mut().poll(&mut context), Poll::Ready(Ok(()))));
        }
        assert_eq!(take(&intake), [(0, 64), (0, 65)]);
    }

    #[test]
    fn after_the_close_what_waits_is_taken_and_nothing_comes_in() {
        let intake = Intake::new();
        let lane = intake.lane(Source::Process);
        for number in 0..LANE_COMMANDS_MAX as u32 {
            lane.try_offer(batch(0, number, 1)).unwrap();
        }
        let mut waits = pin!(lane.offer(batch(0, 64, 1)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waits.as_mut().poll(&mut context).is_pending());
        assert!(pin!(lane.stopped()).poll(&mut context).is_pending());
        intake.close();
        assert!(matches!(waits.as_mut().poll(&mut context), Poll::Ready(Err(Stopped))));
        assert!(pin!(lane.stopped()).poll(&mut context).is_ready());
        assert!(matches!(lane.try_offer(batch(0, 65, 1)), Err(NotTaken::Stopped)));
        assert_eq!(take(&intake).len(), LANE_COMMANDS_MAX);
        assert!(!intake.take(None, Wakes::Any, &mut Vec::new()));
    }

    #[test]
    fn where_much_waits_tenants_bring_what_providers_have_made_up_for() {
        let intake = Intake::new();
        let (provider, tenant) = (intake.lane(Source::Provider(0)), intake.lane(Source::Tenant(1)));
        let said = |messages| provider.try_offer(responses(messages)).unwrap();
        let take = || {
            let mut taken = Vec::new();
            assert!(intake.take(Some(Instant::now()), Wakes::Any, &mut taken));
            let of_tenants = taken.iter().filter(|command| submitted(command) > 0).count();
            (taken.iter().filter(|command| said_of(command) > 0).count(), of_tenants)
        };
        intake.set_crowded(Some(0));
        intake.lock().pace.is_fast = true;
        (0..20).for_each(|_| tenant.try_offer(submission(500)).unwrap());
        // Nothing has been taken before.
        said(1);
        assert_eq!(take(), (1, 2));
        // All but the time: that is another test's.
        let hold = || intake.lock().since = Some(Instant::now() + Duration::from_secs(600));
        for (messages, expected) in [(1_998, (1, 0)), (1, (1, 0)), (2, (1, 2)), (2_000, (1, 2))] {
            hold();
            said(messages);
            assert_eq!(take(), expected, "{messages}");
        }
        intake.set_crowded(None);
        said(1);
        assert_eq!(take(), (1, 2));
        intake.set_crowded(Some(0));
        hold();
        // What is read back from the disk says nothing of what went out, nor does another provider.
        intake.lane(Source::Provider(1)).try_offer(responses(5_000)).unwrap();
        let blocks = vec![LoadedBlock {
            load: Load { block: 0, shelf: Shelf::Parked },
            messages: vec![Vec::new(); 5_000],
        }];
        intake.lane(Source::Process).try_offer(Command::Loaded { blocks }).unwrap();
        assert_eq!(take(), (1, 0));
        // What is let in no longer goes on at once.
        intake.close();
        assert_eq!(take(), (0, 2));
    }

    #[test]
    fn where_much_waits_what_tenants_say_of_receipts_counts_for_nothing() {
        let intake = Intake::new();
        let tenant = intake.lane(Source::Tenant(1));
        intake.set_crowded(Some(0));
        intake.lock().pace.is_fast = true;
        (0..4).for_each(|number| tenant.try_offer(batch(1, number, 1_000)).unwrap());
        assert_eq!(turns(&intake), [1, 1, 1, 1]);
        tenant.try_offer(submission(3)).unwrap();
        tenant.try_offer(batch(1, 0, 997)).unwrap();
        assert_eq!(turns(&intake), [2]);
        assert_eq!(intake.lock().ahead, 6);
    }

    #[test]
    fn where_much_waits_and_nothing_goes_out_any_more_tenants_wait_for_a_moment_only() {
        let intake = Intake::new();
        let tenant = intake.lane(Source::Tenant(1));
        intake.set_crowded(Some(0));
        intake.lock().pace =
            Pace { is_fast: true, began: Some(Instant::now() + Duration::from_secs(600)), said: 0 };
        for wakes in [Wakes::Any, Wakes::Many(1), Wakes::Any] {
            (0..2).for_each(|_| tenant.try_offer(submission(1_000)).unwrap());
            let first = Instant::now();
            let mut taken = Vec::new();
            while taken.len() < 2 {
                assert!(intake.take(None, wakes, &mut taken));
            }
            assert!(first.elapsed() >= TENANTS_WAIT);
        }
        // Nobody waits, and who comes now does not wake the taker: it looks by itself.
        intake.lock().since = Some(Instant::now() + Duration::from_secs(600));
        assert!(intake.lock().held_until().is_some());
    }

    #[test]
    fn providers_are_the_limit_where_they_take_longer_than_a_tenants_turn_waits() {
        let measured = TENANTS_WAIT * WAITS_MEASURED;
        let (start, enough) = (Instant::now(), 2 * TENANTS_MESSAGES * WAITS_MEASURED as usize);
        let mut pace = Pace::default();
        for (round, (said, is_fast)) in
            (1u32..).zip([(enough, true), (enough - 1, false), (enough, true), (0, false)])
        {
            pace.look(start + measured * (round - 1), 0);
            pace.look(start + measured * round - Duration::from_micros(1), said);
            pace.look(start + measured * round, 0);
            assert_eq!(pace.is_fast, is_fast, "{round}");
        }
    }

    #[test]
    fn the_taker_is_woken_by_a_batch_and_by_the_time() {
        let intake = Intake::new();
        let taker = std::thread::spawn({
            let intake = Arc::clone(&intake);
            move || {
                let mut taken = Vec::new();
                while taken.is_empty() && intake.take(None, Wakes::Any, &mut taken) {}
                taken.len()
            }
        });
        intake.lane(Source::Process).try_offer(batch(0, 0, 1)).unwrap();
        assert_eq!(taker.join().unwrap(), 1);
        let until = Instant::now() + Duration::from_millis(5);
        assert!(intake.take(Some(until), Wakes::Any, &mut Vec::new()));
        assert!(Instant::now() >= until);
    }

    #[test]
    fn the_taker_sleeps_on_for_what_can_wait_and_then_takes_all_of_it() {
        let hurried = || Command::Archived { blocks: Vec::new(), flushes: Default::default() };
        for (wakes, calm, rousing) in
            [(Wakes::Hurried, batch(0, 1, 500), hurried()), (Wakes::Many(10), batch(0, 1, 9), batch(0, 2, 1))]
        {
            let intake = Intake::new();
            let lane = intake.lane(Source::Process);
            lane.try_offer(calm).unwrap();
            let until = Instant::now() + Duration::from_millis(5);
            assert!(intake.take(Some(until), wakes, &mut Vec::new()));
            assert!(Instant::now() >= until, "{wakes:?}: what can wait has woken it");
            lane.try_offer(batch(0, 1, 9)).unwrap();
            lane.try_offer(rousing).unwrap();
            let mut taken = Vec::new();
            assert!(intake.take(None, wakes, &mut taken));
            assert_eq!(taken.len(), 2);
            lane.try_offer(batch(0, 3, 1)).unwrap();
            intake.nudge();
            assert!(intake.take(None, wakes, &mut taken) && taken.len() == 3, "a nudge is always heard");
            let waiting = intake.lock();
            assert_eq!((waiting.house.messages, waiting.house.hurried), (0, 0));
        }
    }
}
