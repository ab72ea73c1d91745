//! Walks over all messages in the order of their numbers, a bounded piece a turn: what lists, cancels, moves, resolves and lets go.
//! What is parked is read back for what changes it, and for the list of a campaign; for other lists it is only counted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::rule::{Action, Matcher, Subject};
use super::{
    Changed, Depth, DoubtRow, Doubts, Filter, LedgerRow, ProviderRow, QueueRow, Queues, Refused, Report,
    RuleRow,
};
use crate::command::{Addresses, ReplyId};
use crate::effect::{Operated, Reply};
use crate::engine::{Engine, is_waiting};
use crate::message::{Message, STORED, State};
use crate::money::Micros;
use crate::operations::Asker;
use crate::pages::{BLOCK_MESSAGES, block_of, order_of};
use crate::step::{BounceCode, HoldCause, Resolution, Step};
use crate::submission::Priority;

/// Messages cancelled or moved in one turn, and let go.
const CHANGED_MAX: u64 = 1_000;
const LET_GO_MAX: u64 = 4_096;
/// Messages that a rule's end may let go in one turn at its last pass. What has come during a pass is mostly less; where it is
/// not, each pass may do twice as much as the one before, so that there is a last one.
const LAST_PASS_MAX: u64 = 16_384;
/// Pages looked at in one turn.
const PAGES_MAX: usize = 256;
/// Pages read back at once.
const AHEAD: usize = 16;

pub(super) struct Walk {
    reply: Option<ReplyId>,
    task: Task,
    matcher: Matcher,
    /// Pages still to be looked at; `None` before it begins.
    blocks: Option<VecDeque<u64>>,
    /// Messages from this place in the order of numbers on have come after it began, and are not its business.
    end: u64,
    /// How often it has gone over what came during the pass before.
    passes: u32,
    /// Messages before this place have been looked at.
    cursor: u64,
    /// Pages that it has asked for.
    read_back: BTreeSet<u64>,
}

enum Task {
    List { rows: usize, found: Box<Found> },
    Doubts { limit: usize, found: Doubts },
    Bounce { code: BounceCode, done: Changed },
    Move { to: u16, done: Changed },
    Cancel { wanted: TenantWalk, cancelled: u64 },
    Note { tenant: u32, noted: u64 },
    LetGo { held: Vec<(u32, Matcher)>, done: Changed },
    Resolve { number: u64, resolution: Resolution, report: Report },
}

/// What a tenant cancels by addresses (SMPP 3.4 §4.9.1).
pub(crate) struct TenantWalk {
    pub tenant: u32,
    pub asker: Asker,
    pub addresses: Addresses,
}

#[derive(Default)]
struct Found {
    total: Depth,
    /// What is parked is read back and counted like the rest: of a campaign, which none of its counts is about.
    with_parked: bool,
    rows: BTreeMap<(u16, Priority, u32), Depth>,
    /// Held messages by the rule that holds them.
    held: BTreeMap<u32, u64>,
}

impl Walk {
    fn new(reply: Option<ReplyId>, matcher: Matcher, task: Task) -> Walk {
        let (blocks, read_back) = (None, BTreeSet::new());
        Walk { reply, task, matcher, blocks, end: u64::MAX, passes: 0, cursor: 0, read_back }
    }

    pub fn list(reply: ReplyId, matcher: Matcher, rows: usize) -> Walk {
        let found = Found { with_parked: matcher.campaign.is_some(), ..Found::default() };
        Walk::new(Some(reply), matcher, Task::List { rows, found: Box::new(found) })
    }

    pub fn doubts(reply: ReplyId, matcher: Matcher, after: u64, limit: usize) -> Walk {
        let task = Task::Doubts { limit, found: Doubts::default() };
        let cursor = if after == 0 { 0 } else { order_of(after) + 1 };
        Walk { cursor, ..Walk::new(Some(reply), matcher, task) }
    }

    pub fn bounce(reply: ReplyId, matcher: Matcher, code: BounceCode, rule: Option<u32>) -> Walk {
        let done = Changed { rules: rule.into_iter().collect(), ..Changed::default() };
        Walk::new(Some(reply), matcher, Task::Bounce { code, done })
    }

    pub fn moving(reply: ReplyId, matcher: Matcher, to: u16, rule: Option<u32>) -> Walk {
        let done = Changed { rules: rule.into_iter().collect(), ..Changed::default() };
        Walk::new(Some(reply), matcher, Task::Move { to, done })
    }

    pub fn cancelling(wanted: TenantWalk) -> Walk {
        let matcher = Matcher { tenant: Some(wanted.tenant), ..Matcher::default() };
        Walk::new(None, matcher, Task::Cancel { wanted, cancelled: 0 })
    }

    /// Notes what of a tenant waits, for those that may take its place.
    pub fn noting(tenant: u32) -> Walk {
        let matcher = Matcher { tenant: Some(tenant), ..Matcher::default() };
        Walk::new(None, matcher, Task::Note { tenant, noted: 0 })
    }

    /// The tenant that it was begun for.
    pub fn tenant(&self) -> Option<u32> {
        match &self.task {
            Task::Cancel { wanted, .. } => Some(wanted.tenant),
            Task::Note { tenant, .. } => Some(*tenant),
            _ => None,
        }
    }

    /// For rules that have ended, with what they held.
    pub fn letting_go(reply: Option<ReplyId>, held: Vec<(u32, Matcher)>, rules: Vec<u32>) -> Walk {
        let done = Changed { rules, ..Changed::default() };
        Walk::new(reply, Matcher::default(), Task::LetGo { held, done })
    }

    pub fn resolving(reply: ReplyId, number: u64, resolution: Resolution) -> Walk {
        let report = Report::Refused(Refused::NoSuchMessage);
        let task = Task::Resolve { number, resolution, report };
        let cursor = order_of(number);
        Walk { cursor, ..Walk::new(Some(reply), Matcher::default(), task) }
    }

    pub fn lets_go(&self) -> bool {
        matches!(self.task, Task::LetGo { .. })
    }

    /// What it has not come to yet stays held, so that nothing overtakes what was held before it.
    pub fn still_holds(&self, subject: &Subject<'_>) -> bool {
        match &self.task {
            Task::LetGo { held, .. } => {
                order_of(subject.message.number) >= self.cursor
                    && held.iter().any(|(_, matcher)| matcher.matches(subject))
            }
            _ => false,
        }
    }

    fn wants(&self, message: &Message) -> bool {
        let order = order_of(message.number);
        (self.cursor..self.end).contains(&order) && self.matcher.matches(&Subject::new(message))
    }

    /// Which parked messages it is about: all that wait, or only the held ones; `None`: none.
    fn parked(&self) -> Option<bool> {
        match self.task {
            Task::List { ref found, .. } => found.with_parked.then_some(false),
            Task::Bounce { .. }
            | Task::Move { .. }
            | Task::Cancel { .. }
            | Task::Note { .. }
            | Task::Resolve { .. } => Some(false),
            Task::Doubts { .. } | Task::LetGo { .. } => Some(true),
        }
    }

    fn progress(&self) -> (&'static str, u64) {
        match &self.task {
            Task::List { .. } => ("list", 0),
            Task::Doubts { .. } => ("doubts", 0),
            Task::Bounce { done, .. } => ("bounce", done.messages),
            Task::Move { done, .. } => ("move", done.messages),
            Task::Cancel { cancelled, .. } => ("cancel", *cancelled),
            Task::Note { noted, .. } => ("note", *noted),
            Task::LetGo { done, .. } => ("let go", done.messages),
            Task::Resolve { .. } => ("resolve", 0),
        }
    }

    fn changed(&self) -> u64 {
        self.progress().1
    }

    fn is_full(&self) -> bool {
        matches!(&self.task, Task::Doubts { limit, found } if found.rows.len() > *limit)
    }
}

impl Engine {
    /// The walk whose turn it is goes on for a piece, and answers when it has come to its end.
    pub(super) fn walk_on(&mut self) {
        let Some(mut walk) = self.surgery.walks.pop_front() else { return };
        if walk.blocks.is_none() {
            self.begin_pass(&mut walk);
        }
        let (mut pages, mut until) = (PAGES_MAX, walk.changed() + CHANGED_MAX);
        if walk.lets_go() {
            until = walk.changed() + LET_GO_MAX;
        }
        loop {
            if !self.walk_pages(&mut walk, pages, until) {
                self.surgery.walks.push_back(walk);
                return;
            }
            if !walk.lets_go() || walk.end == self.next_order() {
                break;
            }
            // What has come meanwhile was held as well. When it is not much it goes at once, so that no more comes.
            let before = walk.end;
            self.begin_pass(&mut walk);
            walk.passes += 1;
            if walk.end - before <= LAST_PASS_MAX << walk.passes.min(u32::BITS) {
                (pages, until) = (usize::MAX, u64::MAX);
            }
        }
        self.end_walk(walk);
    }

    fn begin_pass(&mut self, walk: &mut Walk) {
        walk.end = self.next_order();
        let first = block_of(walk.cursor);
        let mut blocks = self.pages.blocks();
        if let Task::Resolve { number, .. } = walk.task {
            blocks = vec![block_of(number)];
        } else if let Some(held) = self.parked_for(walk) {
            blocks.extend(self.parking.blocks_that_wait(held));
            blocks.sort_unstable();
            blocks.dedup();
        }
        blocks.retain(|block| *block >= first);
        walk.blocks = Some(blocks.into());
    }

    /// Whether it has come to its end.
    fn walk_pages(&mut self, walk: &mut Walk, pages: usize, until: u64) -> bool {
        for _ in 0..pages {
            let Some(block) = walk.blocks.as_ref().and_then(|blocks| blocks.front().copied()) else { break };
            if self.awaits(walk, block) {
                break;
            }
            walk.blocks.as_mut().map(VecDeque::pop_front);
            self.walk_page(walk, block);
            if walk.read_back.remove(&block) {
                self.drop_copies(block);
            }
            if walk.changed() >= until || walk.is_full() {
                break;
            }
        }
        walk.is_full() || walk.blocks.as_ref().is_none_or(VecDeque::is_empty)
    }

    /// Which parked messages a walk is to read back; none where all of them are other tenants'.
    fn parked_for(&self, walk: &Walk) -> Option<bool> {
        let has_any = |tenant| self.parking.of_tenant(tenant).waiting > 0;
        walk.parked().filter(|_| walk.matcher.tenant.is_none_or(has_any))
    }

    /// Whether the block has to be read back first. The blocks behind it are asked for as well.
    fn awaits(&mut self, walk: &mut Walk, block: u64) -> bool {
        let Some(held) = self.parked_for(walk) else { return false };
        if !self.misses_waiting(block, held) {
            return false;
        }
        // What is let go beyond what memory should hold is parked again first.
        if walk.lets_go() && self.waiting_in_memory() > self.settings.queue_memory {
            return true;
        }
        for block in walk.blocks.iter().flatten().copied().take(AHEAD) {
            if self.misses_waiting(block, held) {
                self.read_back(block);
                walk.read_back.insert(block);
            }
        }
        true
    }

    fn end_walk(&mut self, walk: Walk) {
        if let Task::LetGo { held, .. } = &walk.task {
            held.iter().for_each(|(number, _)| self.forget_rule(*number));
        }
        self.answer_walk(walk);
    }

    fn walk_page(&mut self, walk: &mut Walk, block: u64) {
        let Some(page) = self.pages.page(block) else { return };
        match &mut walk.task {
            Task::List { .. } | Task::Doubts { .. } => {
                let wanted: Vec<&Message> = page.messages().filter(|message| walk.wants(message)).collect();
                wanted.into_iter().for_each(|message| self.look(&mut walk.task, message));
            }
            _ => {
                let wanted: Vec<u64> = page
                    .messages()
                    .filter(|message| walk.wants(message))
                    .map(|message| message.number)
                    .collect();
                for number in wanted {
                    walk.cursor = order_of(number) + 1;
                    self.treat(&mut walk.task, number);
                }
            }
        }
        walk.cursor = walk.cursor.max(((block + 1) * BLOCK_MESSAGES).min(walk.end));
    }

    fn look(&self, task: &mut Task, message: &Message) {
        match task {
            Task::List { found, .. } => {
                let is_counted_there = message.image_group == STORED && !found.with_parked;
                if message.is_final() || message.state == State::Sent || is_counted_there {
                    return;
                }
                let key = (message.provider, message.priority, message.tenant);
                let cause = if message.state == State::Held { message.hold_cause() } else { None };
                count(&mut found.total, message, cause);
                count(found.rows.entry(key).or_default(), message, cause);
                if cause == Some(HoldCause::Operator)
                    && let Some(rule) = self.surgery.holding(&Subject::new(message))
                {
                    *found.held.entry(rule).or_default() += 1;
                }
            }
            Task::Doubts { limit, found } if message.is_doubtful() && found.rows.len() <= *limit => {
                found.rows.push(self.doubt_row(message));
            }
            _ => {}
        }
    }

    fn treat(&mut self, task: &mut Task, number: u64) {
        let Some(message) = self.pages.get(number) else { return };
        let waits = is_waiting(message.state);
        let is_with_nobody = message.is_with_nobody();
        match task {
            Task::Resolve { number: wanted, resolution, report } if number == *wanted => {
                *report = self.resolve(number, *resolution);
            }
            Task::Bounce { code, done } if waits && is_with_nobody => {
                let (tenant, price) = (message.tenant, message.price);
                self.step(number, &Step::Bounced { code: *code });
                done.messages += 1;
                self.note_released(done, tenant, price);
            }
            Task::Move { to, .. } if waits && message.provider == *to => {}
            Task::Move { to, done } if waits && is_with_nobody => {
                self.move_to(number, *to);
                done.messages += 1;
            }
            Task::Bounce { done, .. } | Task::Move { done, .. } => {
                let is_meant = waits || matches!(message.state, State::Sending | State::InDoubt);
                done.passed_over += u64::from(is_meant);
            }
            Task::Cancel { wanted, cancelled } if waits && is_with_nobody => {
                let body = message.body();
                let Addresses { service_type, source, destination } = &wanted.addresses;
                if body.destination == *destination
                    && body.source == source
                    && body.service_type == service_type
                {
                    *cancelled += 1;
                    self.step(number, &Step::Cancelled);
                }
            }
            Task::Note { noted, .. } => {
                *noted += 1;
                self.note_present(number);
            }
            Task::LetGo { done, .. } if self.is_free_of_rules(message) => {
                self.step(number, &Step::LetGo);
                done.messages += 1;
            }
            _ => {}
        }
    }

    fn resolve(&mut self, number: u64, resolution: Resolution) -> Report {
        // Of what waits, that which no other order reaches can be given up: a provider may have had it.
        let may_be_given_up = |message: &Message| {
            resolution == Resolution::Failed && is_waiting(message.state) && !message.is_with_nobody()
        };
        let may_be = |message: &&Message| message.is_doubtful() || may_be_given_up(message);
        let Some(message) = self.pages.get(number).filter(may_be) else {
            return Report::Refused(Refused::NotInDoubt);
        };
        if resolution == Resolution::Resend {
            // What may be with a provider is sent again by that one alone: it would wait there for nobody, and in doubt no more.
            if self.providers.get(message.provider).is_none_or(|provider| provider.definition.is_none()) {
                return Report::Refused(Refused::ProviderGone);
            }
            self.counters.resent_in_doubt += 1;
        }
        if self.step(number, &Step::Resolved { resolution }).is_none() {
            return Report::Refused(Refused::NoSuchMessage);
        }
        // What was said of its other parts may hold for those that it has by this word.
        if resolution == Resolution::Sent {
            self.settle_all_parts(number);
        }
        self.pages
            .get(number)
            .map_or(Report::Refused(Refused::NoSuchMessage), |m| Report::Resolved { state: m.state })
    }

    fn note_released(&self, done: &mut Changed, tenant: u32, price: Micros) {
        let Some(entry) = self.tenants.get(tenant) else { return };
        match done.released.iter_mut().find(|(currency, _)| *currency == entry.currency) {
            Some((_, sum)) => sum.0 = sum.0.saturating_add(price.0),
            None => done.released.push((entry.currency.clone(), price)),
        }
    }

    fn answer_walk(&mut self, walk: Walk) {
        let report = match walk.task {
            Task::List { rows, mut found } => {
                let uncounted = self.count_parked(&walk.matcher, &mut found);
                Report::Queues(Box::new(Queues { uncounted, ..self.queues(*found, rows) }))
            }
            Task::Doubts { limit, mut found } => {
                found.more = found.rows.len() > limit;
                found.rows.truncate(limit);
                Report::Doubts(found)
            }
            Task::Bounce { done, .. } | Task::Move { done, .. } | Task::LetGo { done, .. } => {
                Report::Changed(done)
            }
            Task::Resolve { report, .. } => report,
            Task::Note { tenant, .. } => return self.present_is_whole(tenant),
            Task::Cancel { wanted, cancelled } => {
                let outcome = if cancelled > 0 { Operated::Done } else { Operated::Failed };
                return self.answer_operation(wanted.asker, outcome);
            }
        };
        if let Some(reply) = walk.reply {
            self.effects.replies.push((reply, Reply::Operated(report)));
        }
    }

    /// Adds what is parked and waits. What a filter wants to know more of than its provider and tenant is not looked into; how
    /// many those are is answered.
    fn count_parked(&self, matcher: &Matcher, found: &mut Found) -> u64 {
        if found.with_parked {
            return 0;
        }
        let is_plain = matcher.prefix.is_none() && matcher.before.is_none() && matcher.since.is_none();
        let mut uncounted = 0;
        for (key, parked) in self.parking.depths() {
            let (provider, _, tenant) = *key;
            let is_meant = matcher.tenant.is_none_or(|wanted| wanted == tenant)
                && matcher.provider.is_none_or(|wanted| wanted == provider);
            let count = parked.queued + parked.scheduled + parked.held;
            if !is_meant || count == 0 {
                continue;
            }
            if !is_plain {
                uncounted += count;
                continue;
            }
            for depth in [&mut found.total, found.rows.entry(*key).or_default()] {
                depth.queued += parked.queued;
                depth.scheduled += parked.scheduled;
                depth.held_parked += parked.held;
            }
        }
        uncounted
    }

    fn queues(&self, found: Found, rows: usize) -> Queues {
        let mut all: Vec<_> = found.rows.into_iter().collect();
        all.sort_by_key(|(key, depth)| (std::cmp::Reverse(depth.waiting()), *key));
        let left_out = all.len().saturating_sub(rows);
        all.truncate(rows);
        let shown = all.into_iter().map(|((provider, priority, tenant), depth)| QueueRow {
            provider: self.provider_name(provider),
            priority,
            tenant: self.tenant_name(tenant),
            depth,
        });
        Queues {
            total: found.total,
            rows: shown.collect(),
            left_out,
            rules: self.rule_rows(&found.held),
            under_way: self.surgery.walks.iter().map(Walk::progress).collect(),
            uncounted: 0,
        }
    }

    fn rule_rows(&self, held: &BTreeMap<u32, u64>) -> Vec<RuleRow> {
        let row = |(number, made): (&u32, &super::Made)| {
            let rule = &made.rule;
            let (action, argument) = match rule.action {
                Action::Hold => ("hold", None),
                Action::Bounce(code) => ("bounce", Some(code.word().to_owned())),
                Action::Move(to) => ("move", Some(self.provider_name(to))),
                Action::Disable => ("disable", None),
            };
            RuleRow {
                number: *number,
                action,
                argument,
                filter: self.filter(&rule.matcher),
                reason: rule.reason.clone(),
                by: rule.by.clone(),
                made_at: rule.made_at,
                until: rule.until,
                holds: held.get(number).copied().unwrap_or(0),
                ending: rule.ending,
            }
        };
        self.surgery.rules.iter().map(row).collect()
    }

    fn filter(&self, matcher: &Matcher) -> Filter {
        Filter {
            tenant: matcher.tenant.map(|tenant| self.tenant_name(tenant)),
            provider: matcher.provider.map(|provider| self.provider_name(provider)),
            prefix: matcher.prefix.map(|prefix| prefix.to_string()),
            campaign: matcher.campaign.as_deref().map(str::to_owned),
            accepted_before: matcher.before,
            accepted_since: matcher.since,
        }
    }

    fn doubt_row(&self, message: &Message) -> DoubtRow {
        DoubtRow {
            number: message.number,
            provider: self.provider_name(message.provider),
            tenant: self.tenant_name(message.tenant),
            state: message.state,
            since: message.doubtful_since(),
        }
    }

    /// Every wallet against the living messages of its tenant; also of an engine that has only folded its journal.
    pub fn ledger(&self) -> Vec<LedgerRow> {
        let rows = self.reserves().into_iter().map(|(tenant, wallet, of_messages)| LedgerRow {
            tenant: match self.tenant_name(tenant) {
                unnamed if unnamed.is_empty() => format!("number {tenant}"),
                name => name,
            },
            currency: self.tenants.get(tenant).map_or_else(String::new, |entry| entry.currency.clone()),
            holds: wallet.holds() && i128::from(wallet.reserved().0) == of_messages,
            wallet,
            of_messages: Micros(i64::try_from(of_messages).unwrap_or(i64::MAX)),
        });
        rows.collect()
    }

    pub(super) fn provider_rows(&self) -> Vec<ProviderRow> {
        let rows = self.providers.iter().map(|provider| ProviderRow {
            id: provider.id.clone(),
            enabled: provider.definition.as_ref().is_some_and(|definition| definition.enabled),
            disabled: provider.disabled,
            binds: provider.binds.iter().map(|bind| bind.connection.is_some()).collect(),
            in_flight: provider.in_flight(),
            queued: provider.queue.len() as u64,
            rate: provider.rate.rate(),
        });
        rows.collect()
    }

    fn provider_name(&self, index: u16) -> String {
        self.providers.get(index).map_or_else(String::new, |provider| provider.id.clone())
    }

    fn tenant_name(&self, index: u32) -> String {
        self.tenants.get(index).map_or_else(String::new, |tenant| tenant.id.clone())
    }
}

fn count(depth: &mut Depth, message: &Message, cause: Option<HoldCause>) {
    let place = match (message.state, cause) {
        (State::Scheduled, _) => &mut depth.scheduled,
        (State::Queued, _) => &mut depth.queued,
        (State::Held, Some(HoldCause::InDoubt)) => &mut depth.held_in_doubt,
        (State::Held, Some(HoldCause::Tenant)) => &mut depth.held_tenant,
        (State::Held, _) => &mut depth.held_operator,
        (State::Sending, _) => &mut depth.sending,
        (State::InDoubt, _) => &mut depth.in_doubt,
        _ => return,
    };
    *place += 1;
    if matches!(message.state, State::Queued | State::Held) {
        let accepted = Some(message.accepted_at);
        depth.oldest = [depth.oldest, accepted].into_iter().flatten().min();
    }
}
