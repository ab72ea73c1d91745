//! Queue surgery: what operators do to messages that wait. Rules that hold, cancel or move what comes to its turn, for as long as
//! they last; walks over all messages that list, cancel, move and let go; doubts that an operator resolves.
//!
//! A rule is journaled when it is made, when it ends, and when all that it held has been let go, so that a start knows where it
//! was. Other walks are not: each of their steps is, so that a crash leaves every message either as it was or dealt with, and the
//! operator, who has had no answer, asks again.

mod order;
mod rule;
mod walk;

use std::collections::{BTreeMap, VecDeque};

use codecs::instant::Wall;

use crate::command::ReplyId;
use crate::effect::Reply;
use crate::engine::Engine;
use crate::message::{Message, State};
use crate::record::{self, Record};
use crate::ring::Item;
use crate::step::{HoldCause, Step};
use crate::submission::is_campaign;

pub use order::*;
use rule::{Action, Matcher, Prefix, Rule, Subject};
pub(crate) use walk::TenantWalk;
use walk::Walk;

/// Rules at once: each is asked for every message whose turn has come.
pub const RULES_MAX: usize = 256;
/// Walks that wait for their turn at once.
const WALKS_MAX: usize = 64;
/// Of these, tenants' own, so that operators find room; and those of one tenant.
const TENANT_WALKS_MAX: usize = 16;
const WALKS_OF_ONE_MAX: usize = 2;
/// Messages that rules hold, cancel or move in one turn of the commit loop.
const INTERCEPTED_MAX: u32 = 4_096;
/// How soon a walk, or a queue that rules have emptied for long enough, goes on, in microseconds.
pub(crate) const AGAIN_MICROS: u64 = 1_000;

#[derive(Default)]
pub(crate) struct Surgery {
    rules: BTreeMap<u32, Made>,
    /// The number that the next rule gets, and the group of the newest record that says so.
    next: u32,
    next_group: u64,
    walks: VecDeque<Walk>,
    /// Messages that rules have dealt with in this turn.
    intercepted: u32,
    /// Messages that have come into queues in this turn while rules bounce or move what comes.
    arrivals: Vec<u64>,
}

struct Made {
    rule: Rule,
    /// The group of its newest record.
    group: u64,
}

impl Surgery {
    /// Whether messages whose turn has come are to be asked about at all.
    pub fn is_active(&self) -> bool {
        !self.rules.is_empty() || self.walks.iter().any(Walk::lets_go)
    }

    /// Notes that a message has come into a queue, where a rule may bounce or move it: it need not wait for its turn, which does
    /// not come while its provider is down.
    pub fn arrived(&mut self, number: u64) {
        let acts = |made: &Made| matches!(made.rule.action, Action::Bounce(_) | Action::Move(_));
        if self.rules.values().any(acts) {
            self.arrivals.push(number);
        }
    }

    /// Whether a rule holds it, or one that has ended and whose walk has not come to it.
    fn holds(&self, subject: &Subject<'_>) -> bool {
        self.holding(subject).is_some() || self.walks.iter().any(|walk| walk.still_holds(subject))
    }

    /// The rule that holds it, if one does.
    fn holding(&self, subject: &Subject<'_>) -> Option<u32> {
        let holds = |made: &&Made| made.rule.holds() && made.rule.matcher.matches(subject);
        self.rules.iter().rev().find(|(_, made)| holds(made)).map(|(number, _)| *number)
    }

    pub fn is_used_up(&self) -> bool {
        self.intercepted >= INTERCEPTED_MAX
    }

    /// When something is to be done, in microseconds from now.
    pub fn next_micros(&self, now: Wall) -> Option<u64> {
        let going_on = self.rules.values().filter(|made| !made.rule.ending);
        let ends = going_on.filter_map(|made| made.rule.until);
        let end =
            ends.min().map(|end| u64::try_from(end.millis_since(now)).unwrap_or(0).saturating_mul(1_000));
        let walk = (!self.walks.is_empty()).then_some(AGAIN_MICROS);
        [walk, end].into_iter().flatten().min()
    }

    /// The rules as they are written, and the next number.
    pub fn summary(&self) -> (u32, BTreeMap<u32, Vec<u8>>) {
        (self.next, self.rules.iter().map(|(number, made)| (*number, made.rule.encode())).collect())
    }
}

impl Engine {
    pub(crate) fn operate(&mut self, reply: ReplyId, order: Order) {
        match self.begin_operation(reply, order) {
            Ok(Some(report)) => self.effects.replies.push((reply, Reply::Operated(report))),
            // The reply comes at the end of the walk.
            Ok(None) => {}
            Err(refused) => self.effects.replies.push((reply, Reply::Operated(Report::Refused(refused)))),
        }
    }

    fn begin_operation(&mut self, reply: ReplyId, order: Order) -> Result<Option<Report>, Refused> {
        if self.surgery.walks.len() >= WALKS_MAX {
            return Err(Refused::Busy);
        }
        let Order { operation, filter, reason, by } = order;
        let matcher = self.matcher(&filter)?;
        let made_at = self.now.wall;
        let make =
            |action, matcher, until| Rule { action, matcher, until, made_at, reason, by, ending: false };
        match operation {
            Operation::List { rows } => self.walk(Walk::list(reply, matcher, rows)),
            Operation::Doubts { after, limit } => self.walk(Walk::doubts(reply, matcher, after, limit)),
            Operation::Suspend { until } => {
                let rule = self.make_rule(make(Action::Hold, matcher, until))?;
                return Ok(Some(Report::Changed(Changed { rules: vec![rule], ..Changed::default() })));
            }
            Operation::Resume { rule } => return self.end_meant(reply, rule, &matcher),
            Operation::Bounce { code, until } => {
                let rule = until.map(|_| self.make_rule(make(Action::Bounce(code), matcher.clone(), until)));
                let rule = rule.transpose()?;
                self.walk(Walk::bounce(reply, matcher, code, rule));
            }
            Operation::Move { to, until } => {
                let to = self.target(&to, &matcher)?;
                let rule = until.map(|_| self.make_rule(make(Action::Move(to), matcher.clone(), until)));
                let rule = rule.transpose()?;
                self.walk(Walk::moving(reply, matcher, to, rule));
            }
            Operation::Resolve { number, resolution } => {
                self.walk(Walk::resolving(reply, number, resolution));
            }
            Operation::Verify => return Ok(Some(Report::Ledger(self.ledger()))),
            Operation::Providers => return Ok(Some(Report::Providers(self.provider_rows()))),
            Operation::Disable { until } => {
                let only = Matcher { provider: matcher.provider, ..Matcher::default() };
                if only.provider.is_none() || only != matcher {
                    return Err(Refused::ProviderOnly);
                }
                let rule = self.make_rule(make(Action::Disable, only, until))?;
                return Ok(Some(Report::Changed(Changed { rules: vec![rule], ..Changed::default() })));
            }
            Operation::Enable => {
                return self.enable(matcher.provider.ok_or(Refused::ProviderOnly)?).map(Some);
            }
        }
        Ok(None)
    }

    fn walk(&mut self, walk: Walk) {
        self.surgery.walks.push_back(walk);
    }

    fn matcher(&self, filter: &Filter) -> Result<Matcher, Refused> {
        fn known<T>(
            given: Option<&String>,
            index: impl Fn(&str) -> Option<T>,
            none: Refused,
        ) -> Result<Option<T>, Refused> {
            given.map(|id| index(id).ok_or(none)).transpose()
        }
        let prefix =
            filter.prefix.as_deref().map(|text| Prefix::read(text).ok_or(Refused::Prefix)).transpose()?;
        Ok(Matcher {
            tenant: known(filter.tenant.as_ref(), |id| self.tenants.index_of(id), Refused::UnknownTenant)?,
            provider: known(
                filter.provider.as_ref(),
                |id| self.providers.index_of(id),
                Refused::UnknownProvider,
            )?,
            prefix,
            campaign: campaign(filter)?,
            before: filter.accepted_before,
            since: filter.accepted_since,
        })
    }

    /// The provider that messages are moved to.
    fn target(&self, id: &str, matcher: &Matcher) -> Result<u16, Refused> {
        let to = self.providers.index_of(id).ok_or(Refused::UnknownProvider)?;
        if !self.providers.is_enabled(to) {
            return Err(Refused::Disabled);
        }
        if matcher.provider == Some(to) { Err(Refused::SameProvider) } else { Ok(to) }
    }

    fn make_rule(&mut self, rule: Rule) -> Result<u32, Refused> {
        if self.surgery.rules.len() >= RULES_MAX {
            return Err(Refused::TooManyRules);
        }
        if rule.until.is_some_and(|until| until <= self.now.wall) {
            return Err(Refused::Past);
        }
        let number = self.surgery.next.max(1);
        self.surgery.next = number + 1;
        self.note_disabled(&rule, true);
        self.surgery.rules.insert(number, Made { rule, group: 0 });
        self.record_rule(number);
        Ok(number)
    }

    /// Ends the rule of a number, or all that name what is given.
    fn end_meant(
        &mut self,
        reply: ReplyId,
        rule: Option<u32>,
        matcher: &Matcher,
    ) -> Result<Option<Report>, Refused> {
        let is_meant = |number: u32, made: &Made| match rule {
            _ if made.rule.ending => false,
            Some(wanted) => wanted == number,
            None => made.rule.action != Action::Disable && made.rule.matcher.names_all_of(matcher),
        };
        let meant = self.surgery.rules.iter().filter(|(number, made)| is_meant(**number, made));
        let ended: Vec<u32> = meant.map(|(number, _)| *number).collect();
        if ended.is_empty() {
            return Err(Refused::NoSuchRule);
        }
        if !self.end_rules(&ended, Some(reply)) {
            return Ok(Some(Report::Changed(Changed { rules: ended, ..Changed::default() })));
        }
        Ok(None)
    }

    /// Whether there is now a walk that lets go of what they held, at the end of which the asker is told.
    fn end_rules(&mut self, numbers: &[u32], reply: Option<ReplyId>) -> bool {
        let mut held = Vec::new();
        for number in numbers {
            let Some(made) = self.surgery.rules.get_mut(number) else { continue };
            if made.rule.holds() {
                made.rule.ending = true;
                held.push((*number, made.rule.matcher.clone()));
                self.record_rule(*number);
            } else {
                self.forget_rule(*number);
            }
        }
        if held.is_empty() {
            return false;
        }
        self.walk(Walk::letting_go(reply, held, numbers.to_vec()));
        true
    }

    /// Nothing is left of a rule but its number.
    fn forget_rule(&mut self, number: u32) {
        if let Some(Made { rule, .. }) = self.surgery.rules.remove(&number) {
            self.record_number(number);
            self.note_disabled(&rule, false);
        }
    }

    fn enable(&mut self, provider: u16) -> Result<Report, Refused> {
        let is_meant =
            |made: &Made| made.rule.action == Action::Disable && made.rule.matcher.provider == Some(provider);
        let meant = self.surgery.rules.iter().filter(|(_, made)| is_meant(made));
        let rules: Vec<u32> = meant.map(|(number, _)| *number).collect();
        if rules.is_empty() {
            return Err(Refused::NoSuchRule);
        }
        self.end_rules(&rules, None);
        Ok(Report::Changed(Changed { rules, ..Changed::default() }))
    }

    /// A provider is disabled while any rule says so.
    fn note_disabled(&mut self, rule: &Rule, begins: bool) {
        let Some(provider) = rule.matcher.provider.filter(|_| rule.action == Action::Disable) else { return };
        let is_disabled =
            |made: &Made| made.rule.action == Action::Disable && made.rule.matcher.provider == Some(provider);
        let disabled = begins || self.surgery.rules.values().any(is_disabled);
        let Some(entry) = self.providers.get_mut(provider) else { return };
        entry.disabled = disabled;
        if begins {
            // What is parked and queued for it may go to the next of its route.
            let others = (0..self.providers.count()).filter(|other| self.providers.is_up(*other));
            others.collect::<Vec<u16>>().into_iter().for_each(|other| self.look_at_queued_for_others(other));
        }
    }

    /// What the rules do with a message whose turn has come: true when it is not to be sent now.
    pub(crate) fn intercepted(&mut self, provider: u16, number: u64) -> bool {
        let message = self.pages.get(number);
        let is_next = |message: &&Message| message.state == State::Queued && message.provider == provider;
        let Some(message) = message.filter(is_next) else { return false };
        match self.ruling(message) {
            Some(Action::Hold) => {
                self.step(number, &Step::Held { cause: HoldCause::Operator });
            }
            Some(Action::Bounce(code)) => {
                self.step(number, &Step::Bounced { code });
            }
            Some(Action::Move(to)) => self.move_to(number, to),
            Some(Action::Disable) | None => return false,
        }
        self.surgery.intercepted += 1;
        true
    }

    /// Bounces and moves what has come since the last turn. What is to be held is held at its turn.
    pub(crate) fn act_on_arrivals(&mut self) {
        for number in std::mem::take(&mut self.surgery.arrivals) {
            let Some(message) = self.pages.get(number).filter(|m| m.state == State::Queued) else { continue };
            let provider = message.provider;
            let acts = matches!(self.ruling(message), Some(Action::Bounce(_) | Action::Move(_)));
            if acts {
                self.intercepted(provider, number);
            }
        }
    }

    /// The newest rule that matches and may do what it says decides.
    fn ruling(&self, message: &Message) -> Option<Action> {
        let applies = |action| match action {
            Action::Hold => true,
            Action::Bounce(_) => message.is_with_nobody(),
            // What has been moved is tried where it is, else two rules could send it to and fro.
            Action::Move(to) => {
                message.provider != to
                    && self.providers.is_enabled(to)
                    && message.is_with_nobody()
                    && !message.was_just_moved()
            }
            Action::Disable => false,
        };
        let mut rules = self.surgery.rules.values().rev().map(|made| &made.rule);
        let subject = Subject::new(message);
        let found = rules.find(|rule| !rule.ending && rule.matcher.matches(&subject) && applies(rule.action));
        let still_held = || self.surgery.holds(&subject).then_some(Action::Hold);
        found.map(|rule| rule.action).or_else(still_held)
    }

    /// Gives a waiting message to another provider.
    fn move_to(&mut self, number: u64, to: u16) {
        let receipts = Some(self.providers.receipts(to));
        self.step(number, &Step::Moved { provider: to, receipts });
        let Some(message) = self.pages.get(number) else { return };
        let is_paused = message.is_paused(self.now.wall);
        match message.state {
            State::Queued if !is_paused => self.providers.enqueue(message),
            State::Held if self.is_free_of_rules(message) => {
                self.step(number, &Step::LetGo);
            }
            _ => {}
        }
    }

    /// Held by an operator's rule that is no more.
    pub(crate) fn is_free_of_rules(&self, message: &Message) -> bool {
        message.state == State::Held
            && message.hold_cause() == Some(HoldCause::Operator)
            && !self.surgery.holds(&Subject::new(message))
    }

    /// One turn's share of everything that operators have begun, and the end of rules whose time has come.
    pub(crate) fn surgery(&mut self) {
        self.surgery.intercepted = 0;
        let now = self.now.wall;
        let is_over = |made: &Made| !made.rule.ending && made.rule.until.is_some_and(|until| until <= now);
        let over = self.surgery.rules.iter().filter(|(_, made)| is_over(made)).map(|(number, _)| *number);
        let over: Vec<u32> = over.collect();
        if !over.is_empty() && self.surgery.walks.len() < WALKS_MAX {
            self.end_rules(&over, None);
        }
        self.act_on_arrivals();
        self.refuse_overdue();
        self.walk_on();
    }

    /// Cancels what a tenant names by its addresses, in turns; the answer comes at the end. False when too much is under way.
    pub(crate) fn cancel_all(&mut self, wanted: TenantWalk) -> bool {
        let has_room = self.may_walk_for(wanted.tenant);
        if has_room {
            self.walk(Walk::cancelling(wanted));
        }
        has_room
    }

    /// Looks through all that waits of a tenant for what others may take the place of, in turns. False when too much is under way.
    pub(crate) fn look_for_present(&mut self, tenant: u32) -> bool {
        let has_room = self.may_walk_for(tenant);
        if has_room {
            self.walk(Walk::noting(tenant));
        }
        has_room
    }

    fn may_walk_for(&self, tenant: u32) -> bool {
        let tenants = self.surgery.walks.iter().filter_map(Walk::tenant);
        let of_one = tenants.clone().filter(|other| *other == tenant).count();
        tenants.count() < TENANT_WALKS_MAX && of_one < WALKS_OF_ONE_MAX
    }

    /// At a start: providers that rules disable, and walks that had not come to their end. Rules whose time has come meanwhile end
    /// in the first turn.
    pub(crate) fn recover_rules(&mut self) {
        let rules: Vec<(u32, Rule)> =
            self.surgery.rules.iter().map(|(number, made)| (*number, made.rule.clone())).collect();
        for (_, rule) in &rules {
            self.note_disabled(rule, true);
        }
        let ending = rules.iter().filter(|(_, rule)| rule.ending);
        let held: Vec<(u32, Matcher)> =
            ending.map(|(number, rule)| (*number, rule.matcher.clone())).collect();
        if !held.is_empty() {
            let numbers = held.iter().map(|(number, _)| *number).collect();
            self.walk(Walk::letting_go(None, held, numbers));
        }
    }

    fn record_rule(&mut self, number: u32) {
        let Some(made) = self.surgery.rules.get_mut(&number) else { return };
        made.group = self.group_number;
        if number + 1 == self.surgery.next {
            self.surgery.next_group = self.group_number;
        }
        record::write(&mut self.group, &Record::Rule { number, rule: &made.rule.encode() });
        self.ring.add(self.group_number, Item::Rule(number));
    }

    /// That a rule has ended, and its number was given.
    fn record_number(&mut self, number: u32) {
        record::write(&mut self.group, &Record::Rule { number, rule: &[] });
        if number + 1 == self.surgery.next {
            self.surgery.next_group = self.group_number;
            self.ring.add(self.group_number, Item::Rule(number));
        }
    }

    /// Writes a rule again, so that its older group can go. The last number that was given is kept when its rule has ended.
    pub(crate) fn carry_rule(&mut self, number: u32, group: u64) {
        match self.surgery.rules.get(&number) {
            Some(made) if made.group == group => self.record_rule(number),
            None if number + 1 == self.surgery.next && group == self.surgery.next_group => {
                self.record_number(number)
            }
            _ => {}
        }
    }

    /// `None` when the octets are no rule.
    pub(crate) fn replay_rule(&mut self, number: u32, bytes: &[u8]) -> Option<()> {
        let group = self.group_number;
        let next = number.checked_add(1)?;
        if next >= self.surgery.next {
            (self.surgery.next, self.surgery.next_group) = (next, group);
        }
        if bytes.is_empty() {
            self.surgery.rules.remove(&number);
        } else {
            self.surgery.rules.insert(number, Made { rule: Rule::decode(bytes)?, group });
        }
        self.ring.add(group, Item::Rule(number));
        Some(())
    }
}

/// The campaign that a filter names, with its tenant.
fn campaign(filter: &Filter) -> Result<Option<Box<str>>, Refused> {
    match filter.campaign.as_deref() {
        None => Ok(None),
        Some(_) if filter.tenant.is_none() => Err(Refused::CampaignAlone),
        Some(name) if !is_campaign(name) => Err(Refused::Campaign),
        Some(name) => Ok(Some(name.into())),
    }
}
