//! What the writer decides, group by group, held against what it promised: nothing is sent that an operator has stopped, that
//! has expired or whose time has not come; no rate is passed; nobody's messages overtake each other. It reads the groups with
//! eyes of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use codecs::instant::Wall;
use engine::catalog::LongMessages;
use engine::message::{Message, State};
use engine::pages::order_of;
use engine::record::{Record, Records};
use engine::step::Step;
use engine::submission::Priority;
use tokio::time::Instant;

use crate::operator::{Stops, Subject};
use crate::world::{World, wall};

/// Kinds of steps, and where in them stands what is looked at (`engine/src/step.rs`).
mod step {
    pub const INTENT: u8 = 1;
    pub const RESPONSE: u8 = 3;
    pub const HELD: u8 = 8;
    pub const LET_GO: u8 = 9;
    pub const DUE: u8 = 15;
    pub const INTENT_OF_SOME: u8 = 25;
    pub const PAYLOAD: usize = 7;
    pub const ALL_PARTS: u8 = 255;
}

/// How exactly times of day are kept.
const SLACK: Duration = Duration::from_secs(2);
/// How long a process may need to know what it has.
const STARTING: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Known {
    tenant: u32,
    provider: u16,
    priority: Priority,
    phone: u64,
    accepted: Wall,
    starts: Wall,
    ends: Option<Wall>,
    /// Parts that no provider has accepted.
    left: u32,
    /// It has been given to a provider.
    is_tried: bool,
    /// Nothing has happened to it that gives it another place in its queue.
    is_plain: bool,
}

type Lane = (u16, u32, Priority);
/// A provider, or one of its binds.
type Sender = (u16, Option<u16>);

#[derive(Debug, Default)]
pub struct Watch {
    tenants: Vec<String>,
    providers: Vec<String>,
    /// When the process began.
    began: Wall,
    messages: BTreeMap<u64, Known>,
    /// Places of untried messages that wait, in the order of numbers.
    lanes: BTreeMap<Lane, BTreeSet<u64>>,
    /// When parts were given to each provider, and to each of its binds, within the last second.
    given: BTreeMap<Sender, VecDeque<(Instant, u32)>>,
}

impl Known {
    fn of(message: &Message) -> Known {
        let kinds = message.steps().map(|(_, step)| step.kind());
        let kinds: BTreeSet<u8> = kinds.collect();
        Known {
            tenant: message.tenant,
            provider: message.provider,
            priority: message.priority,
            phone: message.body().destination,
            accepted: message.accepted_at,
            starts: message.starts_at,
            ends: message.valid_until(),
            left: u32::from(message.parts() - message.accepted_parts()),
            is_tried: kinds.contains(&step::INTENT) || kinds.contains(&step::INTENT_OF_SOME),
            is_plain: kinds.iter().all(|kind| matches!(*kind, step::HELD | step::LET_GO))
                && message.body().send_at.is_none(),
        }
    }

    fn lane(&self) -> Lane {
        (self.provider, self.tenant, self.priority)
    }
}

impl Watch {
    /// A process begins with this.
    pub fn begin(names: (Vec<String>, Vec<String>), messages: &BTreeMap<u64, Message>) -> Watch {
        let (tenants, providers) = names;
        let mut watch = Watch { tenants, providers, began: wall(), ..Watch::default() };
        for message in messages.values() {
            watch.enter(message);
        }
        watch
    }

    fn enter(&mut self, message: &Message) {
        let known = Known::of(message);
        if known.is_plain && message.state == State::Queued {
            self.lanes.entry(known.lane()).or_default().insert(order_of(message.number));
        }
        self.messages.insert(message.number, known);
    }

    /// A group has been decided.
    pub fn see(&mut self, world: &World, records: &[u8]) {
        for record in Records::new(records) {
            let Ok(record) = record else { return world.fail("a group that cannot be read".to_owned()) };
            match record {
                Record::Accept(bytes) | Record::CarryOver(bytes) | Record::Amendment(bytes) => {
                    let Some(message) = Message::read(bytes.to_vec()) else { continue };
                    let known = self.messages.get(&message.number);
                    let has_another_text = message.steps().any(|(_, s)| matches!(s, Step::Replaced { .. }));
                    if let Some(known) = known.filter(|_| has_another_text) {
                        let lane = known.lane();
                        self.lanes.entry(lane).or_default().remove(&order_of(message.number));
                        self.enter(&message);
                    } else if known.is_none() || matches!(record, Record::Accept(_)) {
                        self.enter(&message);
                    }
                }
                Record::Step { number, step } | Record::Apart { number, step, .. } => {
                    self.step(world, number, step);
                }
                _ => {}
            }
        }
    }

    fn step(&mut self, world: &World, number: u64, step: &[u8]) {
        let Some(known) = self.messages.get_mut(&number) else { return };
        let lane = self.lanes.entry(known.lane()).or_default();
        let payload = &step[step::PAYLOAD..];
        match step[0] {
            step::INTENT | step::INTENT_OF_SOME => {
                let [provider, bind] = [1, 3].map(|at| u16::from_le_bytes([payload[at], payload[at + 1]]));
                lane.remove(&order_of(number));
                self.intent(world, number, (provider, bind), payload.get(5).copied());
            }
            step::RESPONSE if payload[..2] == [step::ALL_PARTS, 0] => known.left = 0,
            step::RESPONSE if payload[1] == 0 => known.left = known.left.saturating_sub(1),
            step::HELD => drop(lane.remove(&order_of(number))),
            step::LET_GO if known.is_plain && !known.is_tried => drop(lane.insert(order_of(number))),
            step::DUE => self.due(world, number),
            step::LET_GO => {}
            _ => {
                known.is_plain = false;
                lane.remove(&order_of(number));
            }
        }
    }

    /// What a process has known for a while is sent at its time.
    fn due(&self, world: &World, number: u64) {
        let (began, known) = (self.began, &self.messages[&number]);
        let is_late = wall() > known.starts.after(SLACK) && known.starts > began.after(STARTING);
        if is_late && !world.plan.jumps() {
            let late = wall().millis_since(known.starts);
            world.fail(format!("schedule: {} is due {late} ms late", known.phone));
        }
    }

    fn intent(&mut self, world: &World, number: u64, (provider, bind): (u16, u16), parts: Option<u8>) {
        let Some(known) = self.messages.get_mut(&number) else { return };
        let was_tried = std::mem::replace(&mut known.is_tried, true);
        let (known, phone) = (&*known, known.phone);
        let name = self.providers.get(usize::from(provider)).map_or("", String::as_str);
        let tenant = self.tenants.get(known.tenant as usize).map_or("", String::as_str);
        let stops = |stops| stops == Stops::All || !was_tried;
        let book = world.book();
        let campaign = book.seen.get(&phone).and_then(|seen| seen.campaign);
        let subject = Subject { tenant, provider: name, phone, campaign, accepted: known.accepted };
        if let Some(rule) = book.rules.iter().find(|rule| stops(rule.stops) && rule.stops(world, &subject)) {
            world.fail(format!("surgery: {subject:?} is sent in spite of {rule:?}"));
        }
        drop(book);
        if !world.plan.jumps() {
            if known.ends.is_some_and(|ends| wall() > ends.after(SLACK)) {
                world.fail(format!("expiry: {phone} is sent, and was valid until {:?}", known.ends));
            }
            if wall().after(SLACK) < known.starts {
                world.fail(format!("schedule: {phone} is sent before {:?}", known.starts));
            }
        }
        let (left, lane, is_plain) = (known.left, known.lane(), known.is_plain && !was_tried);
        let plan = world.plan.providers.iter().find(|plan| plan.id == name);
        let goes_as_one = plan.is_some_and(|plan| plan.long_messages == LongMessages::Payload);
        let parts = if goes_as_one { 1 } else { parts.map_or(left, u32::from) };
        if is_plain {
            self.overtakes(world, number, lane);
        }
        self.paces(world, (provider, None), parts);
        self.paces(world, (provider, Some(bind)), parts);
    }

    /// P5: within a tenant's priority, what was accepted first is sent first.
    fn overtakes(&self, world: &World, number: u64, lane: Lane) {
        let before = self.lanes.get(&lane).and_then(|lane| lane.first().copied());
        if let Some(before) = before.filter(|before| *before < order_of(number)) {
            let phones = self.messages.iter().find(|(number, _)| order_of(**number) == before);
            let phone = phones.map_or(0, |(_, known)| known.phone);
            let overtaking = self.messages[&number].phone;
            world.fail(format!("P5: {overtaking} overtakes {phone} in {lane:?}"));
        }
    }

    /// In each second no more parts than the rate of the provider, or the bind, and its burst.
    fn paces(&mut self, world: &World, of: Sender, parts: u32) {
        let name = self.providers.get(usize::from(of.0)).map_or("", String::as_str);
        let Some(plan) = world.plan.providers.iter().find(|plan| plan.id == name) else { return };
        let rate = if of.1.is_none() { plan.throughput } else { plan.bind_throughput };
        if rate == 0 {
            return;
        }
        let now = Instant::now();
        let given = self.given.entry(of).or_default();
        given.retain(|(at, _)| *at + Duration::from_secs(1) > now);
        given.push_back((now, parts));
        let sum: u32 = given.iter().map(|(_, parts)| parts).sum();
        // What is decided leaves a moment later, and the second begins there.
        let most = rate + rate.div_ceil(10) + parts;
        if sum > most {
            world.fail(format!("rates: {sum} parts within a second to {name}, {of:?}, whose rate is {rate}"));
        }
    }
}
