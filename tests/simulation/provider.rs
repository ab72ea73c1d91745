//! The simulated providers: SMSCs that answer, refuse, throttle, forget to answer, and send receipts early, late, twice or in
//! another radix. Their record of what came is what the run is judged by.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use codecs::instant::Wall;
use codecs::message_id::Form;
use connectors::smpp::client::{Dial, ProviderBindOptions};
use tokio::time::{Instant, sleep_until};

use crate::dice::Dice;
use crate::net::Stream;
use crate::pdu::{self, Frame, MESSAGE_STATE, Peer, RECEIPTED_MESSAGE_ID, Sm, command};
use crate::phones::{self, Said, Text};
use crate::plan::{ProviderPlan, RESPONSE_TIMEOUT};
use crate::world::{World, pass, wall};

const THROTTLED: u32 = 0x58;
const SYSTEM_ERROR: u32 = 0x08;
const BIND_FAILED: u32 = 0x0D;
const WRONG_DESTINATION: u32 = 0x0B;
const QUERY_FAILED: u32 = 0x67;
/// SMPP message_state.
const ENROUTE: u8 = 1;
const UNKNOWN: u8 = 7;
/// deliver_sm without an answer at once, by session.
const DELIVERIES_MAX: usize = 10;
/// A submit_sm that was written so long ago may have been given up by the gateway: it had its place in the window before it
/// was written, and a line may stall.
const WINDOW_SEEN: Duration = Duration::from_secs(15);
/// SMPP message_state, and its word in a receipt.
const STATES: [(u8, &str); 5] =
    [(2, "DELIVRD"), (3, "EXPIRED"), (5, "UNDELIV"), (7, "UNKNOWN"), (8, "REJECTD")];

/// One submit_sm that came.
#[derive(Clone, Debug)]
pub struct Received {
    pub at: Instant,
    pub phone: u64,
    pub part: u8,
    /// It was taken for good: whoever is asked says that this message is with the provider.
    pub taken: bool,
    /// The id that it was given, as it stands in the response.
    pub id: String,
    /// What the provider calls it; others that came in the same submit_multi are called so, too.
    number: u64,
    pub is_shared: bool,
    /// What becomes of it, and when.
    pub fate: u8,
    ends: Instant,
    /// The receipts for it that were acknowledged: when, on the wall clock, and what they said.
    pub acknowledged: Vec<(Wall, u8)>,
}

/// A receipt that is to be delivered.
#[derive(Clone, Debug)]
struct Job {
    /// Its place in the record.
    of: usize,
    state: (u8, &'static str),
    tlv: bool,
}

/// A deliver_sm that is to reach the gateway.
#[derive(Clone, Debug)]
enum Errand {
    Receipt(Job),
    Phone(Said),
}

pub struct Hub {
    pub plan: ProviderPlan,
    state: Mutex<HubState>,
}

struct HubState {
    is_down: bool,
    dice: Dice,
    record: Vec<Received>,
    texts: Vec<Text>,
    jobs: BTreeMap<(Instant, u64), Errand>,
    /// Receipts, and texts of phones, on their way.
    open: usize,
    count: u64,
}

impl Hub {
    /// One of so many providers, of so many tenants to whom people write.
    pub fn new(plan: ProviderPlan, seed: u64, place: u64, tenants: usize) -> Arc<Hub> {
        let (texts, said) = phones::draw(&mut Dice::new(!seed), place, tenants);
        let mut state = HubState {
            texts,
            is_down: false,
            dice: Dice::new(seed),
            record: Vec::new(),
            jobs: BTreeMap::new(),
            open: 0,
            count: 0,
        };
        for (at, said) in said {
            state.later(Duration::from_millis(at), Errand::Phone(said));
        }
        Arc::new(Hub { plan, state: Mutex::new(state) })
    }

    /// Refuses connections, or takes them again.
    pub fn set_down(&self, is_down: bool) {
        self.lock().is_down = is_down;
    }

    pub fn record(&self) -> Vec<Received> {
        self.lock().record.clone()
    }

    /// What people have written.
    pub fn texts(&self) -> Vec<Text> {
        self.lock().texts.clone()
    }

    /// Receipts and texts that the gateway has not acknowledged yet.
    pub fn receipts_left(&self) -> usize {
        let state = self.lock();
        state.jobs.len() + state.open
    }

    fn lock(&self) -> MutexGuard<'_, HubState> {
        self.state.lock().expect("a provider is never left half changed")
    }
}

impl HubState {
    fn next_number(&self) -> u64 {
        0xA_0000 + self.record.len() as u64 * 7
    }

    /// Notes one message, to a phone and with the status that it is answered, by what it is called, and plans its receipts.
    fn receive(
        &mut self,
        plan: &ProviderPlan,
        is_calm: bool,
        sm: &Sm,
        (phone, status): (u64, u32),
        (number, is_shared): (u64, bool),
        pause: u64,
    ) {
        let (at, of, taken) = (Instant::now(), self.record.len(), status == 0);
        let id = if taken { response_id(plan.form, number) } else { String::new() };
        let outcome =
            if self.dice.happens(plan.receipts_failed) { self.dice.in_range(1..5) as usize } else { 0 };
        let ends = at + Duration::from_millis(pause + self.dice.in_range(0..10_000));
        self.record.push(Received {
            at,
            phone,
            part: sm.part(),
            taken,
            id,
            number,
            is_shared,
            fate: STATES[outcome].0,
            ends,
            acknowledged: Vec::new(),
        });
        if taken && sm.registered & 1 != 0 {
            plan_receipts(self, plan, is_calm, of, (pause, STATES[outcome]));
        }
    }

    fn later(&mut self, pause: Duration, job: Errand) {
        self.count += 1;
        self.jobs.insert((Instant::now() + pause, self.count), job);
    }
}

/// The ways to one provider.
pub struct Door {
    pub world: Arc<World>,
    pub hub: Arc<Hub>,
}

impl Dial for Door {
    type Stream = Stream;

    async fn dial(&self, options: &ProviderBindOptions, _: usize) -> io::Result<Stream> {
        let mut dice = {
            let mut state = self.hub.lock();
            Dice::new(state.dice.word())
        };
        pass(Duration::from_millis(dice.in_range(0..50))).await;
        if self.hub.lock().is_down {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let plan = &self.world.plan;
        let (ours, theirs) = self.world.net.line(&mut dice, plan.delay_max, plan.room);
        let session = Session {
            world: Arc::clone(&self.world),
            hub: Arc::clone(&self.hub),
            name: format!("{}.{}", options.provider_id, options.bind),
            peer: Peer::new(theirs),
            answers: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            unbinds_at: None,
        };
        tokio::spawn(session.run());
        Ok(ours)
    }
}

struct Session {
    world: Arc<World>,
    hub: Arc<Hub>,
    name: String,
    peer: Peer,
    /// Answers that are due, with their status and body.
    answers: BTreeMap<(Instant, u32), (Frame, u32, Vec<u8>)>,
    /// When each submit_sm was written that has no answer yet.
    unanswered: BTreeMap<u32, Instant>,
    deliveries: BTreeMap<u32, (Instant, Errand)>,
    /// When it ends the session, until it has said so.
    unbinds_at: Option<Instant>,
}

impl Session {
    async fn run(mut self) {
        if self.bound().await {
            self.serve().await;
        }
        let mut state = self.hub.lock();
        let deliveries = std::mem::take(&mut self.deliveries);
        state.open -= deliveries.len();
        for (_, job) in deliveries.into_values() {
            state.later(Duration::from_millis(500), job);
        }
        drop(state);
        self.world.note(format_args!("{} is gone", self.name));
    }

    async fn bound(&mut self) -> bool {
        let first = tokio::time::timeout(Duration::from_secs(60), self.peer.frame()).await;
        let Ok(Some(frame)) = first else { return false };
        let percent = if self.world.is_calm() { 0 } else { self.hub.plan.refuses_binds };
        let refuses = self.hub.lock().dice.happens(percent);
        let status = if refuses { BIND_FAILED } else { 0 };
        self.world.note(format_args!("{} is bound: {status}", self.name));
        let body: &[u8] = if refuses { &[] } else { b"smsc\0" };
        self.peer.respond(&frame, status, body);
        let mut state = self.hub.lock();
        // Drawn for those alone that do, so that others are as they were without.
        let percent = if self.world.is_calm() { 0 } else { self.hub.plan.unbinds };
        if percent > 0 && state.dice.happens(percent) {
            self.unbinds_at = Some(Instant::now() + Duration::from_millis(state.dice.in_range(0..20_000)));
        }
        drop(state);
        let can_bind = [command::BIND_TRANSCEIVER, command::BIND_TRANSMITTER, command::BIND_RECEIVER];
        !refuses && can_bind.contains(&frame.command)
    }

    async fn serve(&mut self) {
        loop {
            let next = self.next();
            tokio::select! {
                biased;
                frame = self.peer.frame() => {
                    let Some(frame) = frame else { return };
                    if !self.take(frame) {
                        return;
                    }
                }
                () = sleep_until(next) => {}
            }
            if self.hub.lock().is_down {
                return;
            }
            self.answer();
            self.deliver();
            self.unbind();
        }
    }

    /// It goes on with what it has, until that is answered.
    fn unbind(&mut self) {
        if self.unbinds_at.take_if(|at| *at <= Instant::now()).is_some() {
            self.world.note(format_args!("{} unbinds", self.name));
            self.peer.request(command::UNBIND, &[]);
        }
    }

    fn next(&self) -> Instant {
        let state = self.hub.lock();
        let job = state.jobs.keys().next().filter(|_| self.deliveries.len() < DELIVERIES_MAX);
        let answer = self.answers.keys().next();
        let soon = Instant::now() + Duration::from_secs(1);
        let times = [job.map(|key| key.0), answer.map(|key| key.0), self.unbinds_at];
        times.into_iter().flatten().fold(soon, Instant::min)
    }

    /// `false` when the session is over.
    fn take(&mut self, frame: Frame) -> bool {
        match frame.command {
            command::ENQUIRE_LINK => self.peer.respond(&frame, 0, &[]),
            command::SUBMIT_SM => self.submitted(frame),
            command::SUBMIT_MULTI => self.multi_submitted(frame),
            command::QUERY_SM => self.queried(frame),
            command::UNBIND => {
                self.peer.respond(&frame, 0, &[]);
                return false;
            }
            of if of == command::UNBIND | command::RESPONSE => return false,
            of if of == command::DELIVER_SM | command::RESPONSE => self.acknowledged(&frame),
            of if of & command::RESPONSE != 0 => {}
            of => self.world.fail(format!("{} is sent the command {of:#x}", self.name)),
        }
        true
    }

    /// The window is for requests of both kinds.
    fn takes_a_place(&mut self, frame: &Frame) {
        let now = Instant::now();
        self.unanswered.retain(|_, written| *written + WINDOW_SEEN > now);
        self.unanswered.insert(frame.sequence, frame.written);
        if self.unanswered.len() > self.hub.plan.window as usize {
            let (count, window) = (self.unanswered.len(), self.hub.plan.window);
            self.world.fail(format!("{}: {count} unanswered in a window of {window}", self.name));
        }
    }

    /// Says what became of a message, unless it forgets to, or something else.
    fn queried(&mut self, frame: Frame) {
        self.takes_a_place(&frame);
        let id = pdu::take_text(&mut &frame.body[..]).unwrap_or_default();
        let is_calm = self.world.is_calm();
        let mut state = self.hub.lock();
        let mut fate = |percent: u64| !is_calm && state.dice.happens(percent);
        let plan = &self.hub.plan;
        let (is_lost, is_late, is_wrong) =
            (fate(plan.lost_queries), fate(plan.late_queries), fate(plan.wrong_queries));
        let pause = state.dice.in_range(0..plan.answer_millis + 1);
        let pause = pause + if is_late { state.dice.in_range(31_000..50_000) } else { 0 };
        let wrong = state.dice.choose(&[None, Some(ENROUTE), Some(UNKNOWN), Some(0), Some(99)]);
        let found = state.record.iter().find(|received| received.taken && received.id == id);
        let speaks_of_others = found.is_some_and(|found| found.is_shared);
        let truth = found.map(|found| if found.ends <= Instant::now() { found.fate } else { ENROUTE });
        drop(state);
        if speaks_of_others {
            self.world.fail(format!("{} is asked about {id:?}, which names several", self.name));
        }
        if truth.is_none() {
            self.world.fail(format!("{} is asked about {id:?}, which it never gave", self.name));
        }
        let said = if is_wrong { wrong } else { truth };
        let lost = if is_lost { ", no answer" } else { "" };
        self.world
            .note(format_args!("{} is asked about {id} in {}: {said:?}{lost}", self.name, frame.sequence));
        if is_lost {
            self.unanswered.remove(&frame.sequence);
            return;
        }
        self.world.book().tally.asked += 1;
        let (status, body) = match said {
            Some(state) => (0, [id.as_bytes(), b"\0\0", &[state, 0]].concat()),
            None => (QUERY_FAILED, Vec::new()),
        };
        let at = Instant::now() + Duration::from_millis(pause);
        self.answers.insert((at, frame.sequence), (frame, status, body));
    }

    fn submitted(&mut self, frame: Frame) {
        let Some(sm) = Sm::read(&frame.body) else {
            return self.world.fail(format!("{}: a submit_sm that is cut", self.name));
        };
        self.takes_a_place(&frame);
        let plan = self.hub.plan.clone();
        let is_calm = self.world.is_calm();
        let mut state = self.hub.lock();
        let status = refusal(&mut state, &plan, is_calm);
        let answering = Answering::draw(&mut state, &plan, is_calm);
        let number = state.next_number();
        let phone = sm.destination.parse().unwrap_or_default();
        state.receive(&plan, is_calm, &sm, (phone, status), (number, false), answering.pause);
        drop(state);
        let id = if status == 0 { response_id(plan.form, number) } else { String::new() };
        let part = sm.part();
        self.world.note(format_args!(
            "{} gets {phone}/{part} in {}: {status} {id:?}{answering}",
            self.name, frame.sequence,
        ));
        let body = if status == 0 { [id.as_bytes(), b"\0"].concat() } else { Vec::new() };
        self.answer_later(frame, answering, status, body);
    }

    /// One PDU for several phones: one id, and a list of those that are refused.
    fn multi_submitted(&mut self, frame: Frame) {
        let Some((sm, phones)) = Sm::read_multi(&frame.body) else {
            return self.world.fail(format!("{}: a submit_multi that is cut", self.name));
        };
        self.takes_a_place(&frame);
        let plan = self.hub.plan.clone();
        let is_calm = self.world.is_calm();
        let tails: BTreeSet<&str> =
            phones.iter().map(|phone| &phone[phone.len().saturating_sub(7)..]).collect();
        if phones.len() < 2 || tails.len() < phones.len() || phones.len() > plan.submit_multi {
            let most = plan.submit_multi;
            self.world.fail(format!("{}: a submit_multi to {phones:?}, at most {most}", self.name));
        }
        let mut state = self.hub.lock();
        let throttled = !is_calm && state.dice.happens(plan.throttles);
        let answering = Answering::draw(&mut state, &plan, is_calm);
        let number = state.next_number();
        let mut refused = Vec::new();
        for phone in &phones {
            let status = if throttled { THROTTLED } else { refusal(&mut state, &plan, is_calm) };
            // A national number, as some providers write it.
            let shown = if state.dice.happens(30) { format!("0{}", &phone[3..]) } else { phone.clone() };
            let phone = phone.parse().unwrap_or_default();
            state.receive(&plan, is_calm, &sm, (phone, status), (number, true), answering.pause);
            if status != 0 {
                refused.push((shown, status));
            }
        }
        drop(state);
        let id = response_id(plan.form, number);
        self.world.book().tally.together += phones.len() as u64;
        self.world.note(format_args!(
            "{} gets {phones:?} in {}: {id:?}, throttled: {throttled}, but {refused:?}{answering}",
            self.name, frame.sequence,
        ));
        let mut body = [id.as_bytes(), &[0, refused.len() as u8]].concat();
        for (phone, status) in &refused {
            body.extend([&[1, 1], phone.as_bytes(), &[0], &status.to_be_bytes()].concat());
        }
        let (status, body) = if throttled { (THROTTLED, Vec::new()) } else { (0, body) };
        self.answer_later(frame, answering, status, body);
    }

    fn answer_later(&mut self, frame: Frame, answering: Answering, status: u32, body: Vec<u8>) {
        if answering.is_lost {
            // It was answered; the answer did not arrive.
            self.unanswered.remove(&frame.sequence);
        } else {
            let at = Instant::now() + Duration::from_millis(answering.pause);
            self.answers.insert((at, frame.sequence), (frame, status, body));
        }
    }

    fn answer(&mut self) {
        while let Some(entry) = self.answers.first_entry().filter(|entry| entry.key().0 <= Instant::now()) {
            let (frame, status, body) = entry.remove();
            self.unanswered.remove(&frame.sequence);
            self.peer.respond(&frame, status, &body);
        }
    }

    fn deliver(&mut self) {
        let now = Instant::now();
        let mut state = self.hub.lock();
        let overdue: Vec<u32> = self
            .deliveries
            .iter()
            .filter(|(_, (sent, _))| *sent + RESPONSE_TIMEOUT <= now)
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in overdue {
            if let Some((_, job)) = self.deliveries.remove(&sequence) {
                state.open -= 1;
                state.later(Duration::from_millis(500), job);
            }
        }
        while self.deliveries.len() < DELIVERIES_MAX
            && let Some(entry) = state.jobs.first_entry().filter(|entry| entry.key().0 <= now)
        {
            let job = entry.remove();
            state.open += 1;
            let (sm, what) = match &job {
                Errand::Receipt(job) => {
                    let received = &state.record[job.of];
                    let id = receipt_id(self.hub.plan.form, received.number);
                    (receipt(received, &id, job), format!("{id} is {:?}", job.state))
                }
                Errand::Phone(Said { of, part }) => {
                    let text = &state.texts[*of];
                    (text.write(*part), format!("part {part} of {}", text.phone))
                }
            };
            let sequence = self.peer.request(command::DELIVER_SM, &sm.write());
            self.world.note(format_args!("{} tells {what} in {sequence}", self.name));
            self.deliveries.insert(sequence, (now, job));
        }
    }

    fn acknowledged(&mut self, frame: &Frame) {
        let Some((_, job)) = self.deliveries.remove(&frame.sequence) else { return };
        let mut state = self.hub.lock();
        state.open -= 1;
        match job {
            job if frame.status != 0 => state.later(Duration::from_secs(1), job),
            Errand::Receipt(job) => state.record[job.of].acknowledged.push((wall(), job.state.0)),
            Errand::Phone(Said { of, part }) => state.texts[of].acknowledge(part),
        }
    }
}

/// How one PDU is answered.
#[derive(Clone, Copy)]
struct Answering {
    is_lost: bool,
    is_late: bool,
    /// In milliseconds.
    pause: u64,
}

impl Answering {
    fn draw(state: &mut HubState, plan: &ProviderPlan, is_calm: bool) -> Answering {
        let mut fate = |percent: u64| !is_calm && state.dice.happens(percent);
        let (is_lost, is_late) = (fate(plan.lost_answers), fate(plan.late_answers));
        let pause = state.dice.in_range(0..plan.answer_millis + 1);
        let late = if is_late { state.dice.in_range(31_000..50_000) } else { 0 };
        Answering { is_lost, is_late, pause: pause + late }
    }
}

impl fmt::Display for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_lost { ", no answer" } else { "" })?;
        f.write_str(if self.is_late { ", late answer" } else { "" })
    }
}

/// The status that refuses one message; 0: it is taken.
fn refusal(state: &mut HubState, plan: &ProviderPlan, is_calm: bool) -> u32 {
    let mut fate = |percent: u64| !is_calm && state.dice.happens(percent);
    match (fate(plan.throttles), fate(plan.retries), fate(plan.refuses)) {
        (true, ..) => THROTTLED,
        (_, true, _) => SYSTEM_ERROR,
        (.., true) => WRONG_DESTINATION,
        _ => 0,
    }
}

fn plan_receipts(
    state: &mut HubState,
    plan: &ProviderPlan,
    is_calm: bool,
    of: usize,
    (answer_millis, outcome): (u64, (u8, &'static str)),
) {
    let ends = state.record[of].ends.saturating_duration_since(Instant::now()).as_millis() as u64;
    let dice = &mut state.dice;
    let mut fate = |percent: u64| !is_calm && dice.happens(percent);
    let (never, early, late, twice) = (
        fate(plan.receipts_never),
        fate(plan.receipts_early),
        fate(plan.receipts_late),
        fate(plan.receipts_twice),
    );
    if never {
        return;
    }
    let pause = match (early, late) {
        (true, _) => dice.in_range(0..answer_millis + 1),
        (_, true) => dice.in_range(60_000..900_000),
        _ => ends,
    };
    let job = Job { of, state: outcome, tlv: dice.happens(30) };
    let mut all: VecDeque<(u64, Job)> = VecDeque::from([(pause, job.clone())]);
    if twice {
        all.push_back((pause + dice.in_range(0..20_000), job));
    }
    for (pause, job) in all {
        state.later(Duration::from_millis(pause), Errand::Receipt(job));
    }
}

fn receipt(received: &Received, id: &str, job: &Job) -> Sm {
    let (state, word) = job.state;
    let text = format!(
        "id:{id} sub:001 dlvrd:001 submit date:2611200930 done date:2611200931 stat:{word} err:000 text:"
    );
    let tlvs = match job.tlv {
        true => vec![
            (RECEIPTED_MESSAGE_ID, format!("{}\0", received.id).into_bytes()),
            (MESSAGE_STATE, vec![state]),
        ],
        false => Vec::new(),
    };
    Sm {
        source: received.phone.to_string(),
        destination: "12345".to_owned(),
        esm_class: 4,
        text: text.into_bytes(),
        tlvs,
        ..Sm::default()
    }
}

fn response_id(form: Form, number: u64) -> String {
    match form {
        Form::Text => format!("Sm-{number}-x"),
        Form::Hex => format!("{number:X}"),
        Form::Dec => format!("{number:012}"),
        Form::HexDec => format!("{number:08x}"),
        Form::DecHex => format!("{number}"),
    }
}

fn receipt_id(form: Form, number: u64) -> String {
    match form {
        Form::Text => format!("SM-{number}-X"),
        Form::Hex => format!("{number:010x}"),
        Form::Dec => format!("{number}"),
        Form::HexDec => format!("{number:010}"),
        Form::DecHex => format!("{number:X}"),
    }
}
