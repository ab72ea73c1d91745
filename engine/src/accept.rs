//! Deciding submissions: the ladder of refusals in their order, then number, price and queue.

use codecs::instant::Wall;
use codecs::split::Cut;
use codecs::text::Encoding;

use crate::catalog::SettleOn;
use crate::command::{DiskLevel, Door, IdempotencyKey, Refusal, Submissions};
use crate::effect::{Outcome, Reply, SubmitAnswer};
use crate::engine::{DueKind, Engine};
use crate::fitting::Fitted;
use crate::id::Number;
use crate::idempotency::{self, Begin, Entry};
use crate::ledger::{Reserve, Wallet};
use crate::message::{Head, IdHash, Message};
use crate::money::Micros;
use crate::pages::{BLOCK_MESSAGES, block_of, place_of};
use crate::present::Found;
use crate::record::{self, Record};
use crate::ring::Item;
use crate::routing::{self, Channel};
use crate::submission::{Body, Extra, Priority};

/// Octets kept free behind a new message for its story: intent, response, receipt, told.
const STORY_ROOM: usize = 72;
/// How far ahead the end of a validity is entered as a due of its own.
const SOON: std::time::Duration = std::time::Duration::from_secs(60);
/// Where the priority stands in a body (`submission.rs`).
const PRIORITY_AT: usize = 5;
/// Flags of an outcome that is kept with an idempotency key. What is new here needs a new version of the key's record.
const KEPT_SCHEDULED: u8 = 1;
/// Parts and encoding follow.
const KEPT_PARTS: u8 = 2;
/// Behind them stands, u16, how many more follow it that are accepted alike, each with the number behind the one before.
const KEPT_RUN: u8 = 4;
/// Octets kept at most of a slice in which all was refused.
const RUNS_OCTETS_MAX: usize = 256;

/// What is asked of the ladder for one message.
pub(crate) struct Plan {
    candidates: [u16; routing::PROVIDERS_MAX],
    count: usize,
    /// Of the whole message.
    pub price: Micros,
    priority: Priority,
    /// What its providers make of its text, where that is more than one part of plain text.
    pub fitted: Option<Fitted>,
}

impl Plan {
    pub fn candidates(&self) -> &[u16] {
        &self.candidates[..self.count]
    }

    /// The parts and the encoding that the message is sent in.
    pub fn shown(&self, body: &Body<'_>) -> (u8, Encoding) {
        match &self.fitted {
            None => (body.parts, body.encoding),
            Some(fitted) => (fitted.parts, fitted.body(body).encoding),
        }
    }
}

impl Engine {
    pub(crate) fn submit(&mut self, mut submissions: Submissions) {
        let seen = submissions.idempotency.as_ref().map(|key| self.begin_idempotent(submissions.tenant, key));
        let (mut outcomes, replayed) = match seen {
            Some(Seen::Replay(outcomes)) => (outcomes, true),
            Some(Seen::Refused(refusal)) => {
                let count = submissions.items.len();
                self.counters.refused[refusal as usize] += count as u64;
                (vec![Outcome::Refused(refusal); count], false)
            }
            Some(Seen::New) => {
                let outcomes = self.decide_all(&submissions);
                self.finish_idempotent(&submissions, &outcomes);
                (outcomes, false)
            }
            None => (self.decide_all(&submissions), false),
        };
        self.without_deferred(&mut submissions.items, &mut outcomes);
        self.effects.received.push((submissions.received, outcomes.len() as u32));
        self.answer(&submissions, outcomes, replayed);
    }

    fn decide_all(&mut self, submissions: &Submissions) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(submissions.items.len());
        let mut start = 0;
        let mut group = SharedId::default();
        for (place, item) in submissions.items.iter().enumerate() {
            group.begin(item.sequence);
            let body = submissions.bodies.get(start..item.end as usize).unwrap_or_default();
            start = item.end as usize;
            let outcome = match item.refused {
                Some(refusal) => Err(refusal),
                None => self.decide(submissions.tenant, body, &mut group),
            };
            outcomes.push(match outcome {
                Ok(accepted) => {
                    self.counters.accepted += 1;
                    accepted
                }
                Err(refusal) if self.defer(submissions, place, body) => Outcome::Refused(refusal),
                Err(refusal) => {
                    self.counters.refused[refusal as usize] += 1;
                    Outcome::Refused(refusal)
                }
            });
        }
        outcomes
    }

    /// One message: every refusal before anything changes, then the change.
    fn decide(&mut self, tenant: u32, bytes: &[u8], group: &mut SharedId) -> Result<Outcome, Refusal> {
        if self.draining.is_some() || self.disk != DiskLevel::Fine {
            return Err(Refusal::Unavailable);
        }
        if let Some(refusal) = self.tenants.refusal(tenant, self.now.wall) {
            return Err(refusal);
        }
        if self.tenants.used_up(tenant, self.now.wall).is_some() {
            return Err(Refusal::RateLimited);
        }
        let of_tenant = self.tenants.get(tenant).map_or(0, |entry| entry.waiting);
        let in_memory = self.waiting_in_memory();
        if in_memory >= self.settings.queue_memory.saturating_mul(2)
            // An archive that does not keep up leaves what is finished in memory.
            || self.pages.len() >= self.settings.queue_memory.saturating_mul(4)
        {
            return Err(Refusal::QueueFull);
        }
        let is_full = self.waiting >= self.settings.queue_max || of_tenant >= self.settings.tenant_queue_max;
        let (body, length) = Body::read(bytes).ok_or(Refusal::InvalidRequest)?;
        // Few have extras, and hardly any one of these. What takes the place of one that waits makes the queue no longer.
        let may_replace = !body.extras.is_empty() && body.extra(Extra::ReplacesPresent).is_some();
        if is_full && !may_replace {
            return Err(Refusal::QueueFull);
        }
        self.check_body(&body, length == bytes.len())?;
        if may_replace {
            match self.find_present(tenant, &body) {
                Found::Nothing => {}
                Found::Later(wait) => return Err(self.later(wait)),
                Found::This(number) => {
                    let shared = group.shared_with(&body, bytes);
                    let body = shared.as_deref().and_then(Body::read).map_or(body, |(body, _)| body);
                    let replaced = self.replace_present(number, &body)?;
                    group.accepted(number);
                    self.tenants.use_quotas(tenant);
                    return Ok(replaced);
                }
            }
        }
        if is_full {
            return Err(Refusal::QueueFull);
        }
        let plan = self.plan(tenant, &body)?;
        let reserve = |wallet: &mut Wallet| {
            let outcome = wallet.reserve(plan.price);
            (outcome, outcome == Reserve::Done)
        };
        match self.tenants.change_wallet(tenant, reserve) {
            Some(Reserve::Done) => {}
            None | Some(Reserve::Insufficient | Reserve::Overflow) => {
                return Err(Refusal::InsufficientCredit);
            }
        }
        self.tenants.use_quotas(tenant);
        Ok(self.accept(tenant, &body, bytes, &plan, group))
    }

    /// Whether a body is as a door writes one: all of these octets, its parts counted, its times possible.
    pub(crate) fn check_body(&self, body: &Body<'_>, is_all: bool) -> Result<(), Refusal> {
        let counted = || Cut { is_first_form: false, ..body.cut() }.count(body.header_and_text().1);
        let is_miscounted = body.parts > 1 && counted() != usize::from(body.parts);
        if !is_all || body.parts == 0 || is_miscounted {
            return Err(Refusal::InvalidRequest);
        }
        self.check_times(body)
    }

    fn check_times(&self, body: &Body<'_>) -> Result<(), Refusal> {
        let now = self.now.wall;
        let start = body.send_at.unwrap_or(now).max(now);
        match body.valid_until {
            Some(until) if until <= start => Err(Refusal::InvalidValidity),
            _ => Ok(()),
        }
    }

    /// Route and price. A provider without a price for the destination is never used.
    pub(crate) fn plan(&mut self, tenant: u32, body: &Body<'_>) -> Result<Plan, Refusal> {
        let price = self.tenants.price(tenant, body.destination).ok_or(Refusal::NoRoute)?;
        let ceiling = self.tenants.get(tenant).and_then(|tenant| tenant.definition.as_ref());
        let priority = ceiling.map_or(Priority::Normal, |definition| body.priority.min(definition.priority));
        let mut plan =
            Plan { candidates: [0; routing::PROVIDERS_MAX], count: 0, price, priority, fitted: None };
        match body.extra(Extra::Provider) {
            Some(id) => {
                let asked = core::str::from_utf8(id).ok().and_then(|id| self.providers.index_of(id));
                plan.candidates[0] =
                    asked.filter(|index| self.providers.is_enabled(*index)).ok_or(Refusal::NoSuchProvider)?;
                plan.count = 1;
            }
            None => self.route(tenant, body, &mut plan)?,
        }
        plan.fitted = self.fitted(body, plan.candidates())?;
        let parts = plan.fitted.as_ref().map_or(body.parts, |fitted| fitted.parts);
        plan.price = price.checked_mul(u32::from(parts)).ok_or(Refusal::InsufficientCredit)?;
        Ok(plan)
    }

    fn route(&mut self, tenant: u32, body: &Body<'_>, plan: &mut Plan) -> Result<(), Refusal> {
        let query = routing::Query {
            tenant,
            destination: body.destination,
            sender: body.source,
            channel: Channel::Sms,
        };
        let router = self.tenants.router.as_ref().ok_or(Refusal::NoRoute)?;
        let cost = |index| self.providers.cost(index);
        // The parts that a tenant has cut of one message go the same way.
        let choice = match body.is_own_part().then(|| body.set_of_own_part(tenant)).flatten() {
            Some(set) => router.choose_at(&query, |_| set, cost),
            None => router.choose(&query, &mut self.tenants.turns, cost),
        };
        let candidates: &[u16] = &choice.providers;
        // The first that is up is tried first, and the order is kept otherwise.
        let first = candidates.iter().position(|index| self.providers.is_up(*index)).unwrap_or(0);
        for (place, candidate) in candidates.iter().enumerate() {
            plan.candidates[place] = *candidate;
        }
        plan.count = candidates.len();
        if plan.count == 0 {
            return Err(Refusal::NoRoute);
        }
        plan.candidates[..=first].rotate_right(1);
        Ok(())
    }

    /// Numbers the message, writes it once for memory and journal, and queues it.
    fn accept(
        &mut self,
        tenant: u32,
        body: &Body<'_>,
        bytes: &[u8],
        plan: &Plan,
        group: &mut SharedId,
    ) -> Outcome {
        let number = self.take_number(tenant);
        let shared = group.put_into(body, bytes, number);
        let (body, bytes) = match shared.as_deref().and_then(|bytes| Some((Body::read(bytes)?.0, bytes))) {
            Some((body, bytes)) => (&body.clone(), bytes),
            None => (body, bytes),
        };
        let settle_on = self
            .tenants
            .get(tenant)
            .and_then(|tenant| tenant.definition.as_ref())
            .map_or(SettleOn::Sent, |definition| definition.settle_on);
        let head = Head {
            number,
            accepted_at: self.now.wall,
            tenant,
            price: plan.price,
            settle_on,
            receipts: self.providers.receipts(plan.candidates[0]),
            candidates: plan.candidates(),
        };
        // What has to wait is kept small; room for its story is made when it is sent.
        let story =
            if self.providers.is_up(plan.candidates[0]) && body.send_at.is_none() { STORY_ROOM } else { 0 };
        let mut message = Vec::with_capacity(head.octets() + bytes.len() + story);
        head.write(&mut message);
        let body_at = message.len();
        match &plan.fitted {
            None => message.extend_from_slice(bytes),
            Some(fitted) => {
                let reference = self.references.next(body, number);
                fitted.write(body, reference, &mut message);
            }
        }
        message[body_at + PRIORITY_AT] = plan.priority as u8;
        record::write_accept(&mut self.group, &message);
        let mut message = match &plan.fitted {
            None => Message::written(message, &head, body),
            Some(_) => Message::accepted(message).expect("what was just written reads back"),
        };
        message.priority = plan.priority;
        message.id = self.ids.id(number);
        message.provider_id_hash = IdHash::NONE;
        message.image_group = self.group_number;
        let id = message.id;
        self.ring.add_fresh(self.group_number, number);
        self.count_waiting(tenant, false, true);
        let scheduled = self.queue_new(&message, body.send_at);
        self.pages.insert(message, self.now.wall.0);
        if !self.present.is_unused() {
            self.note_present(number);
        }
        if place_of(number) as u64 == BLOCK_MESSAGES - 1 {
            self.has_come(block_of(number));
        }
        let (parts, encoding) = plan.shown(body);
        Outcome::Accepted { id, price: plan.price, parts, encoding, scheduled }
    }

    /// Puts a message that waits where it waits: a queue, or the schedule. Whether it is scheduled.
    pub(crate) fn queue_new(&mut self, message: &Message, send_at: Option<Wall>) -> bool {
        self.watch_validity(message.number, message.valid_until());
        match send_at {
            Some(at) => {
                self.watch_start(message.number, at);
                true
            }
            None => {
                self.providers.enqueue(message);
                self.queued.add(message.provider, message.priority, 1);
                self.surgery.arrived(message.number);
                false
            }
        }
    }

    /// A validity that ends soon is kept to the millisecond. A later one is seen when all pages are looked at, every five
    /// seconds: an entry a message, until its end, would grow with the traffic and not with what waits.
    pub(crate) fn watch_validity(&mut self, number: u64, valid_until: Option<Wall>) {
        if let Some(until) = valid_until.filter(|until| *until <= self.now.wall.after(SOON)) {
            self.wall_dues.insert(millis(until), DueKind::Expire as u8, number);
        }
    }

    /// The place in the order of numbers that the next message gets.
    pub(crate) fn next_order(&self) -> u64 {
        Number::order_of(self.epoch, self.next)
    }

    /// The next number, with the tenant's slot. A new epoch begins when the sequences of this one are used up.
    pub(crate) fn take_number(&mut self, tenant: u32) -> u64 {
        let slot = self.tenants.get(tenant).map_or(0, |tenant| tenant.slot);
        if let Some(number) = Number::new(slot, self.epoch, self.next) {
            self.next += 1;
            return number.0;
        }
        self.epoch = self.epoch.checked_add(1).expect("4,096 epochs of 68,719,476,736 numbers are enough");
        self.next = 0;
        record::write(&mut self.group, &Record::Epoch { epoch: self.epoch, next: 0 });
        self.take_number(tenant)
    }

    pub(crate) fn answer(&mut self, submissions: &Submissions, outcomes: Vec<Outcome>, replayed: bool) {
        match submissions.door {
            Door::Smpp(connection) => {
                self.effects.is_urgent = true;
                let congestion = self.congestion(submissions.tenant);
                let outgoing = self.effects.outgoing(connection);
                outgoing.congestion = congestion;
                outgoing.answers.extend(
                    submissions
                        .items
                        .iter()
                        .zip(outcomes)
                        .map(|(item, outcome)| SubmitAnswer { sequence: item.sequence, outcome }),
                );
            }
            Door::Http(reply) => {
                let is_limited = outcomes.contains(&Outcome::Refused(Refusal::RateLimited));
                let limited =
                    is_limited.then(|| self.tenants.used_up(submissions.tenant, self.now.wall)).flatten();
                self.effects.replies.push((reply, Reply::Submitted { outcomes, replayed, limited }));
            }
        }
    }

    /// The fullest of the queues that a message of this tenant goes through, in percent of where it would be refused.
    fn congestion(&self, tenant: u32) -> u8 {
        let of_tenant = self.tenants.get(tenant).map_or(0, |entry| entry.waiting);
        let settings = &self.settings;
        let fills = [
            (of_tenant, settings.tenant_queue_max),
            (self.waiting, settings.queue_max),
            (self.waiting_in_memory(), settings.queue_memory.saturating_mul(2)),
        ];
        let percent = fills.map(|(waiting, most)| waiting.saturating_mul(100) / most.max(1));
        percent.into_iter().max().unwrap_or(0).min(100) as u8
    }

    fn begin_idempotent(&mut self, tenant: u32, key: &IdempotencyKey) -> Seen {
        let hash = idempotency::key_hash(&key.key, key.slice);
        let body = u128::from_le_bytes(key.body_hash);
        match self.idempotency.begin(tenant, hash, body, self.now.wall) {
            Begin::New => Seen::New,
            Begin::Replay(entry) => {
                let (first, outcome) = (entry.first_number, entry.outcome.clone());
                Seen::Replay(self.outcomes_again(first, &outcome))
            }
            Begin::Mismatch => Seen::Refused(Refusal::IdempotencyMismatch),
            Begin::Full => Seen::Refused(Refusal::RateLimited),
        }
    }

    /// Keeps the answer with the key. When nothing was accepted the same request is decided anew; another one may have the key, unless
    /// there are more slices of which something may be accepted.
    fn finish_idempotent(&mut self, submissions: &Submissions, outcomes: &[Outcome]) {
        let Some(key) = &submissions.idempotency else { return };
        let tenant = submissions.tenant;
        let hash = idempotency::key_hash(&key.key, key.slice);
        let body = u128::from_le_bytes(key.body_hash);
        let is_accepted = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Accepted { .. }));
        let is_answered = is_accepted || self.other_slices(tenant, key).any(|(_, entry)| entry.count > 0);
        if !is_answered && (key.slices <= 1 || self.idempotency.is_held(tenant, hash, body, self.now.wall)) {
            return;
        }
        let began = self.now.wall;
        let (first_number, outcome, count) = match is_answered {
            true => {
                let (first, kept) = self.keep_outcomes(outcomes);
                (first, kept, outcomes.len() as u32)
            }
            false => (0, runs_of(outcomes), 0),
        };
        self.keep_idempotent(tenant, hash, Entry { body, began, first_number, count, outcome });
        if is_accepted {
            // What was refused of the same request is answered as it was from now on: it is one answer.
            let refused: Vec<(u128, Entry)> = self
                .other_slices(tenant, key)
                .filter(|(_, entry)| entry.count == 0 && !entry.outcome.is_empty())
                .map(|(hash, entry)| {
                    let outcome = of_runs(&entry.outcome);
                    (hash, Entry { count: outcome.len() as u32, outcome, ..entry.clone() })
                })
                .collect();
            for (hash, entry) in refused {
                self.keep_idempotent(tenant, hash, entry);
            }
        }
    }

    /// What is kept of the other slices of the same request.
    fn other_slices<'a>(
        &'a self,
        tenant: u32,
        key: &'a IdempotencyKey,
    ) -> impl Iterator<Item = (u128, &'a Entry)> {
        let body = u128::from_le_bytes(key.body_hash);
        (0..key.slices).filter(|slice| *slice != key.slice).filter_map(move |slice| {
            let hash = idempotency::key_hash(&key.key, slice);
            Some((hash, self.idempotency.known(tenant, hash, body, self.now.wall)?))
        })
    }

    fn keep_idempotent(&mut self, tenant: u32, hash: u128, entry: Entry) {
        self.idempotency.keep(tenant, hash, entry);
        self.record_idempotency(tenant, hash);
        self.ring.add(self.group_number, Item::Idempotency(tenant, hash.to_le_bytes()));
    }

    /// Journals an idempotency entry; false when it has been forgotten.
    pub(crate) fn record_idempotency(&mut self, tenant: u32, key: u128) -> bool {
        let Some(entry) = self.idempotency.get(tenant, key) else { return false };
        let mut bytes = Vec::new();
        Entry::encode(entry, tenant, key, &mut bytes);
        record::write(&mut self.group, &Record::Idempotency { tenant, entry: &bytes });
        true
    }

    /// The outcomes in few octets: per item a refusal + 1, or 0 with the distance of its number from the first, price, flags, parts and
    /// encoding, and how many follow that are like it.
    fn keep_outcomes(&self, outcomes: &[Outcome]) -> (u64, Box<[u8]>) {
        let mut kept = Vec::new();
        let mut first = None;
        let mut rest = outcomes;
        while let Some((outcome, behind)) = rest.split_first() {
            rest = behind;
            match outcome {
                Outcome::Refused(refusal) => kept.push(*refusal as u8 + 1),
                Outcome::Accepted { id, price, parts, encoding, scheduled } => {
                    let number = self.ids.number(*id).unwrap_or(0);
                    let first = *first.get_or_insert(number);
                    let run = self.alike(number, *outcome, behind);
                    rest = behind.get(usize::from(run)..).unwrap_or_default();
                    kept.push(0);
                    kept.extend_from_slice(&((number - first) as u32).to_le_bytes());
                    kept.extend_from_slice(&price.0.to_le_bytes());
                    let is_scheduled = if *scheduled { KEPT_SCHEDULED } else { 0 };
                    let flags = KEPT_PARTS | is_scheduled | if run > 0 { KEPT_RUN } else { 0 };
                    kept.extend_from_slice(&[flags, *parts, encoding.as_u8()]);
                    if run > 0 {
                        kept.extend_from_slice(&run.to_le_bytes());
                    }
                }
            }
        }
        (first.unwrap_or(0), kept.into_boxed_slice())
    }

    /// How many of those behind an outcome are like it, each with the number behind the one before.
    fn alike(&self, number: u64, outcome: Outcome, behind: &[Outcome]) -> u16 {
        let follows = |(next, number): &(&Outcome, u64)| **next == self.for_number(outcome, *number);
        behind.iter().zip(number + 1..).take(usize::from(u16::MAX)).take_while(follows).count() as u16
    }

    /// The same outcome for another message.
    fn for_number(&self, outcome: Outcome, number: u64) -> Outcome {
        match outcome {
            Outcome::Accepted { price, parts, encoding, scheduled, .. } => {
                Outcome::Accepted { id: self.ids.id(number), price, parts, encoding, scheduled }
            }
            refused => refused,
        }
    }

    fn outcomes_again(&self, first: u64, kept: &[u8]) -> Vec<Outcome> {
        let mut reader = crate::bytes::Reader::new(kept);
        let mut outcomes = Vec::new();
        while let Some(kind) = reader.u8() {
            match kind.checked_sub(1) {
                Some(refusal) => {
                    let refusal = Refusal::from_u8(refusal).unwrap_or(Refusal::InvalidRequest);
                    outcomes.push(Outcome::Refused(refusal));
                }
                None => {
                    let distance = reader.u32().unwrap_or(0);
                    let price = Micros(reader.i64().unwrap_or(0));
                    let flags = reader.u8().unwrap_or(0);
                    let scheduled = flags & KEPT_SCHEDULED != 0;
                    // Earlier versions kept neither; the door that reads the request again knows as much.
                    let [parts, encoding] = match flags & KEPT_PARTS {
                        0 => [0, 0],
                        _ => reader.array().unwrap_or_default(),
                    };
                    let encoding = Encoding::from_u8(encoding).unwrap_or(Encoding::Gsm7);
                    let run = if flags & KEPT_RUN != 0 { reader.array().unwrap_or_default() } else { [0; 2] };
                    let number = first + u64::from(distance);
                    let id = self.ids.id(number);
                    let outcome = Outcome::Accepted { id, price, parts, encoding, scheduled };
                    let behind = (number + 1..).take(u16::from_le_bytes(run).into());
                    outcomes.push(outcome);
                    outcomes.extend(behind.map(|number| self.for_number(outcome, number)));
                }
            }
        }
        outcomes
    }
}

/// Refusals as they are kept while nothing is accepted, in runs: a refusal + 1 and how often, u16. Nothing where they are many octets,
/// which cost a tenant nothing.
fn runs_of(outcomes: &[Outcome]) -> Box<[u8]> {
    let mut runs = Vec::new();
    for alike in outcomes.chunk_by(|one, next| one == next) {
        let Some(Outcome::Refused(refusal)) = alike.first() else { return Box::default() };
        runs.push(*refusal as u8 + 1);
        runs.extend_from_slice(&(alike.len() as u16).to_le_bytes());
    }
    if runs.len() > RUNS_OCTETS_MAX { Box::default() } else { runs.into() }
}

/// Such runs as outcomes are kept.
fn of_runs(runs: &[u8]) -> Box<[u8]> {
    let (runs, _) = runs.as_chunks();
    let alike = |[refusal, low, high]: &[u8; 3]| {
        std::iter::repeat_n(*refusal, u16::from_le_bytes([*low, *high]).into())
    };
    runs.iter().flat_map(alike).collect()
}

/// The number whose id several submissions of one request are answered with.
#[derive(Default)]
struct SharedId {
    sequence: u32,
    first: Option<u64>,
}

impl SharedId {
    fn begin(&mut self, sequence: u32) {
        if sequence != self.sequence {
            *self = SharedId { sequence, first: None };
        }
    }

    /// The octets of a body that shares its id with others, with the number of the first of them at their end.
    fn put_into(&mut self, body: &Body<'_>, bytes: &[u8], number: u64) -> Option<Vec<u8>> {
        if body.extras.is_empty() || body.extra(Extra::SharedId).is_none() {
            return None;
        }
        let mut bytes = bytes.to_vec();
        let end = bytes.len().checked_sub(8)?;
        bytes.get_mut(end..)?.copy_from_slice(&self.accepted(number).to_le_bytes());
        Some(bytes)
    }

    /// The same for what takes the place of another, and where none was accepted before it, `None`: then the id is its own.
    fn shared_with(&mut self, body: &Body<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        let first = self.first?;
        self.put_into(body, bytes, first)
    }

    /// One of them is accepted: the number of the first, and 0 when that is this one.
    fn accepted(&mut self, number: u64) -> u64 {
        match self.first {
            Some(first) => first,
            None => {
                self.first = Some(number);
                0
            }
        }
    }
}

enum Seen {
    New,
    Replay(Vec<Outcome>),
    Refused(Refusal),
}

pub(crate) fn millis(wall: Wall) -> u64 {
    u64::try_from(wall.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Now, Submission};
    use crate::idempotency::Idempotency;

    #[test]
    fn what_is_refused_for_its_key_is_counted_as_everything_that_is_refused() {
        let mut engine = Engine::new(&[7; 32], Now::default());
        engine.idempotency = Idempotency::with_keys_max(1);
        let held = Entry { body: 1, began: Wall(0), first_number: 0, count: 0, outcome: Box::default() };
        engine.idempotency.keep(0, idempotency::key_hash(b"held", 0), held);
        for key in [b"held", b"more"] {
            let idempotency =
                Some(IdempotencyKey { key: key.as_slice().into(), body_hash: [2; 16], slice: 0, slices: 1 });
            let item = Submission { sequence: 0, end: 0, refused: None };
            engine.submit(Submissions {
                tenant: 0,
                door: Door::Http(crate::command::ReplyId(1)),
                received: engine.now.mono,
                idempotency,
                items: vec![item; 3],
                bodies: Vec::new(),
            });
        }
        let mut expected = [0; Refusal::NUMBERS];
        expected[Refusal::IdempotencyMismatch as usize] = 3;
        expected[Refusal::RateLimited as usize] = 3;
        assert_eq!(engine.counters.refused, expected);
    }

    #[test]
    fn what_is_kept_of_a_slice_in_which_all_was_refused_is_bounded() {
        let [credit, route] = [Refusal::InsufficientCredit, Refusal::NoRoute].map(Outcome::Refused);
        let [of_credit, of_route] = [Refusal::InsufficientCredit, Refusal::NoRoute].map(|r| r as u8 + 1);
        let usual = [vec![credit; 900], vec![route; 1], vec![credit; 99]].concat();
        let expected = [vec![of_credit; 900], vec![of_route; 1], vec![of_credit; 99]].concat();
        assert_eq!((runs_of(&usual).len(), &of_runs(&runs_of(&usual))[..]), (9, &expected[..]));
        for (turns, octets) in [(42, 252), (43, 0), (500, 0)] {
            assert_eq!(runs_of(&[credit, route].repeat(turns)).len(), octets, "{turns}");
        }
    }

    #[test]
    fn outcomes_kept_with_a_key_read_back_and_those_of_earlier_versions_too() {
        let engine = Engine::new(&[7; 32], Now::default());
        let accepted = |number, parts, encoding, scheduled| Outcome::Accepted {
            id: engine.ids.id(number),
            price: Micros(5),
            parts,
            encoding,
            scheduled,
        };
        let outcomes = [
            accepted(65, 1, Encoding::Gsm7, false),
            Outcome::Refused(Refusal::NoRoute),
            accepted(67, 3, Encoding::Ucs2, true),
        ];
        let (first, kept) = engine.keep_outcomes(&outcomes);
        assert_eq!(engine.outcomes_again(first, &kept), outcomes);
        // A batch of messages that are alike, one of them refused and one dearer, takes no more than a few octets.
        let mut batch: Vec<Outcome> =
            (0..100_000).map(|place| accepted(200 + place, 1, Encoding::Gsm7, false)).collect();
        batch[1_000] = Outcome::Refused(Refusal::NoRoute);
        batch[2_000] = accepted(2_200, 2, Encoding::Gsm7, false);
        let (first, kept) = engine.keep_outcomes(&batch);
        assert_eq!((engine.outcomes_again(first, &kept), kept.len()), (batch, 4 * 18 + 16 + 1));
        // Without parts and encoding: accepted for now and for later, as they were written before.
        let mut earlier = vec![0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, Refusal::NoRoute as u8 + 1];
        earlier.extend_from_slice(&[0, 2, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1]);
        let expected = [
            accepted(65, 0, Encoding::Gsm7, false),
            Outcome::Refused(Refusal::NoRoute),
            accepted(67, 0, Encoding::Gsm7, true),
        ];
        assert_eq!(engine.outcomes_again(65, &earlier), expected);
    }
}
