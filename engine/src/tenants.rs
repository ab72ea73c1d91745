//! The tenants of the partition: their wallets, prices and routes, and what each is still to be told.
//! It decides no message; doors hold their keys and limits.

use std::collections::VecDeque;
use std::time::Duration;

use codecs::instant::{Mono, Wall};
use hashbrown::HashMap;

use crate::catalog::{Definitions, ProviderDefinition, RouteDefinition, TenantDefinition, TenantStatus};
use crate::command::Refusal;
use crate::dispatch::Providers;
use crate::engine::Engine;
use crate::hash::FixedState;
use crate::id::tenant_slot;
use crate::ledger::{Change, Reserve, Wallet};
use crate::line::{Line, PIECE};
use crate::money::Micros;
use crate::quota::{Usage, UsedUp};
use crate::receiver::Receiver;
use crate::record::{self, MoneyKind, NameKind, Record};
use crate::ring::Item;
use crate::routing::{
    self, Channel, ProviderInput, Rates, RouteInput, Router, RoutingInput, SenderMatch, Turns,
};

/// Of how many sessions that have room the one that has least is given the next: of more hardly any would have less.
const COMPARED: usize = 16;
/// How often in one turn the longest line is looked for, to take from it.
const TAKES_MAX: usize = 64;

/// How long what a tenant refuses for now, or does not answer, waits: twice as long each time, while it takes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refusals {
    pause: Duration,
    /// What is refused before is of the same time.
    until: Mono,
}

impl Refusals {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(60);

    /// It takes something.
    pub fn end(&mut self) {
        *self = Refusals::default();
    }

    /// When what it refuses now comes again.
    pub fn again(&mut self, now: Mono) -> Mono {
        if now >= self.until {
            self.pause = (self.pause * 2).clamp(Refusals::FIRST, Refusals::LONGEST);
            self.until = now.after(self.pause);
        }
        now.after(self.pause)
    }

    /// The last pause that began is over.
    fn are_over(&self, now: Mono) -> bool {
        now >= self.until
    }
}

pub(crate) struct Tenant {
    pub id: String,
    pub slot: u8,
    pub currency: String,
    /// `None` for one that the journal knows and the definitions no longer name.
    pub definition: Option<TenantDefinition>,
    pub wallet: Wallet,
    /// What it has used of its quotas, where it has any.
    pub usage: Option<Usage>,
    /// The group of the ring's item for the wallet; the wallet itself is written in every group that changes it.
    pub wallet_group: Option<u64>,
    /// The group of its newest name record.
    pub name_group: u64,
    wallet_changed: bool,
    rates: Option<usize>,
    /// Its messages that wait to be sent.
    pub waiting: u64,
    /// Final, not yet told, and not on their way: in the order in which they became so.
    pub untold: Line,
    /// The same, of messages that no session can be sent that does not know TLVs, while no other has room.
    pub untold_long: Line,
    /// On their way, and asked to be told of.
    pub notices: VecDeque<u64>,
    pub receivers: Vec<Receiver>,
    pub next_receiver: usize,
    pub refusals: Refusals,
    in_dirty: bool,
}

impl Tenant {
    fn unnamed() -> Tenant {
        Tenant {
            id: String::new(),
            slot: 0,
            currency: String::new(),
            definition: None,
            wallet: Wallet::default(),
            usage: None,
            wallet_group: None,
            name_group: 0,
            wallet_changed: false,
            rates: None,
            waiting: 0,
            untold: Line::default(),
            untold_long: Line::default(),
            notices: VecDeque::new(),
            receivers: Vec::new(),
            next_receiver: 0,
            refusals: Refusals::default(),
            in_dirty: false,
        }
    }
}

impl Tenant {
    /// Its wallet as a record has it, and behind it what it has used of its quotas, where it has any.
    fn written_wallet(&self) -> Vec<u8> {
        let mut bytes = self.wallet.encode().to_vec();
        if let Some(usage) = &self.usage {
            usage.write(&mut bytes);
        }
        bytes
    }

    /// Takes over a wallet of the journal. `None`: it is none, or of a newer version.
    pub fn take_wallet(&mut self, bytes: &[u8]) -> Option<()> {
        let (wallet, usage) = bytes.split_at_checked(Wallet::ENCODED_BYTES)?;
        self.wallet = Wallet::decode(wallet)?;
        self.usage = if usage.is_empty() { None } else { Some(Usage::read(usage)?) };
        Some(())
    }

    /// What is untold: what waits for a session that knows TLVs, or all else.
    pub fn line(&mut self, is_long: bool) -> &mut Line {
        if is_long { &mut self.untold_long } else { &mut self.untold }
    }

    /// The place of the session that is given the next: of those that fit and have room the one that has least, in turn where that is the
    /// same. Where none has room, one is tried that has left its window unanswered, once a pause.
    pub fn receiver_for(&self, now: Mono, fits: impl Fn(&Receiver) -> bool) -> Option<usize> {
        let next = self.next_receiver.min(self.receivers.len());
        let places =
            || (next..self.receivers.len()).chain(0..next).filter(|place| fits(&self.receivers[*place]));
        let with_room = places().filter(|place| self.receivers[*place].has_room()).take(COMPARED);
        let least = with_room.min_by_key(|place| self.receivers[*place].load(now));
        least.or_else(|| {
            places().find(|place| self.receivers[*place].may_be_tried() && self.refusals.are_over(now))
        })
    }
}

#[derive(Default)]
pub(crate) struct Tenants {
    list: Vec<Tenant>,
    by_id: HashMap<String, u32, FixedState>,
    rates: Vec<Rates>,
    pub router: Option<Router>,
    pub turns: Turns,
    /// Tenants that may have something to be told.
    dirty: Vec<u32>,
    /// Tenants whose wallet this group changes.
    wallets_changed: Vec<u32>,
}

/// Routes and prices, compiled.
pub(crate) struct Routing {
    router: Router,
    rates: Vec<Rates>,
}

impl Tenants {
    pub fn get(&self, index: u32) -> Option<&Tenant> {
        self.list.get(index as usize)
    }

    pub fn get_mut(&mut self, index: u32) -> Option<&mut Tenant> {
        self.list.get_mut(index as usize)
    }

    /// Changes a tenant's wallet. What the change answers, and whether it changed anything, decides the caller.
    pub fn change_wallet<T>(
        &mut self,
        index: u32,
        change: impl FnOnce(&mut Wallet) -> (T, bool),
    ) -> Option<T> {
        let entry = self.list.get_mut(index as usize)?;
        let (answer, has_changed) = change(&mut entry.wallet);
        if has_changed && !std::mem::replace(&mut entry.wallet_changed, true) {
            self.wallets_changed.push(index);
        }
        Some(answer)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Tenant> {
        self.list.iter_mut()
    }

    pub fn wallets(&self) -> Vec<(u32, Wallet)> {
        (0u32..).zip(&self.list).map(|(index, tenant)| (index, tenant.wallet)).collect()
    }

    /// Receipts on their way to tenants.
    pub fn telling(&self) -> u64 {
        let receivers = self.list.iter().flat_map(|tenant| &tenant.receivers);
        receivers.map(|receiver| u64::from(receiver.in_flight)).sum()
    }

    /// The message has something for its tenant, since then.
    pub fn owe(&mut self, tenant: u32, number: u64, since: Wall) {
        if let Some(entry) = self.list.get_mut(tenant as usize) {
            entry.untold.push_back(number, since);
            self.mark(tenant);
        }
    }

    /// The tenant is to be looked at in this turn.
    pub fn mark(&mut self, tenant: u32) {
        if let Some(entry) = self.list.get_mut(tenant as usize)
            && !std::mem::replace(&mut entry.in_dirty, true)
        {
            self.dirty.push(tenant);
        }
    }

    /// Whether its sessions are to be given what there is.
    pub fn is_marked(&self, tenant: u32) -> bool {
        self.get(tenant).is_some_and(|entry| entry.in_dirty)
    }

    pub fn take_dirty(&mut self) -> Vec<u32> {
        for tenant in &self.dirty {
            self.list[*tenant as usize].in_dirty = false;
        }
        std::mem::take(&mut self.dirty)
    }

    /// The quota of the tenant that is used up, if one is.
    pub fn used_up(&mut self, tenant: u32, now: Wall) -> Option<UsedUp> {
        let entry = self.list.get_mut(tenant as usize)?;
        let usage = entry.usage.as_mut()?;
        usage.follow(now);
        usage.used_up(entry.definition.as_ref()?.quotas, now)
    }

    /// A message of the tenant was accepted. Its wallet is written with this group, for it has reserved the price.
    pub fn use_quotas(&mut self, tenant: u32) {
        if let Some(usage) = self.list.get_mut(tenant as usize).and_then(|entry| entry.usage.as_mut()) {
            usage.add();
        }
    }

    /// Why nothing is taken from this tenant, if so.
    pub fn refusal(&self, tenant: u32, now: Wall) -> Option<Refusal> {
        let Some(definition) = self.get(tenant).and_then(|tenant| tenant.definition.as_ref()) else {
            return Some(Refusal::TenantSuspended);
        };
        if definition.expires_at.is_some_and(|at| at <= now) {
            return Some(Refusal::TenantExpired);
        }
        match definition.status {
            TenantStatus::Active => None,
            TenantStatus::Suspended => Some(Refusal::TenantSuspended),
            TenantStatus::Expired => Some(Refusal::TenantExpired),
            TenantStatus::Paused => Some(Refusal::TenantPaused),
        }
    }

    /// The tenant's price of a part to this number.
    pub fn price(&self, tenant: u32, destination: u64) -> Option<Micros> {
        let entry = self.get(tenant)?;
        match entry.rates {
            Some(rates) => self.rates[rates].price(destination),
            None => entry.definition.as_ref()?.price,
        }
    }

    /// Gives a name its index, or finds the one it has.
    pub fn name(&mut self, id: &str, currency: &str) -> (u32, bool) {
        if let Some(index) = self.by_id.get(id) {
            return (*index, false);
        }
        let index = self.list.len() as u32;
        self.name_at(index, id, currency);
        (index, true)
    }

    /// Gives a name the index that it has in the journal.
    pub fn name_at(&mut self, index: u32, id: &str, currency: &str) {
        let entry = self.placeholder(index);
        id.clone_into(&mut entry.id);
        currency.clone_into(&mut entry.currency);
        entry.slot = tenant_slot(id);
        self.by_id.insert(id.to_owned(), index);
    }

    /// The tenant of an index, named or not yet.
    pub fn placeholder(&mut self, index: u32) -> &mut Tenant {
        let index = index as usize;
        if self.list.len() <= index {
            self.list.resize_with(index + 1, Tenant::unnamed);
        }
        &mut self.list[index]
    }

    pub fn names(&self) -> Vec<String> {
        self.list.iter().map(|tenant| tenant.id.clone()).collect()
    }

    /// Receipts that wait for a session.
    pub fn untold(&self) -> u64 {
        self.list.iter().map(|tenant| (tenant.untold.len() + tenant.untold_long.len()) as u64).sum()
    }

    /// Takes so many at most that are untold, the oldest of the longest line: a little at a time, so that lines of the same length
    /// stay that.
    pub fn take_oldest_untold(&mut self, most: u64) -> Vec<u64> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut taken = Vec::new();
        for _ in 0..TAKES_MAX {
            let lines = self.list.iter_mut().flat_map(|tenant| [&mut tenant.untold_long, &mut tenant.untold]);
            let Some(line) = lines.max_by_key(|line| line.len()) else { return taken };
            let some = (line.len() / 8).clamp(1, PIECE).min(most - taken.len());
            taken.extend((0..some).map_while(|_| line.pop_front()).map(|(number, _)| number));
            if taken.len() == most {
                break;
            }
        }
        taken
    }

    /// Those that the definitions do not have, with how many of their messages wait.
    pub fn unknown_waiting(&self) -> impl Iterator<Item = (&str, u64)> {
        let unknown = self.list.iter().filter(|tenant| tenant.definition.is_none() && tenant.waiting > 0);
        unknown.map(|tenant| (&*tenant.id, tenant.waiting))
    }

    pub fn reserved(&self) -> Vec<(String, Micros)> {
        let mut sums: Vec<(String, Micros)> = Vec::new();
        for tenant in &self.list {
            let reserved = tenant.wallet.reserved();
            match sums.iter_mut().find(|(currency, _)| *currency == tenant.currency) {
                Some((_, sum)) => *sum = Micros(sum.0.saturating_add(reserved.0)),
                None => sums.push((tenant.currency.clone(), reserved)),
            }
        }
        sums
    }

    pub fn index_of(&self, id: &str) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    /// Compiles prices and routes. Names that are new get the indices here that they will be given.
    pub fn compile(
        &self,
        definitions: &Definitions,
        providers: &Providers,
    ) -> Result<Routing, routing::RoutingError> {
        let tenant_names = definitions.tenants.iter().map(|definition| definition.id.as_str());
        let tenants = indices(tenant_names, self.list.len() as u32, |id| self.index_of(id));
        let provider_names = definitions.providers.iter().map(|definition| definition.id.as_str());
        let known = |id: &str| providers.index_of(id).map(u32::from);
        let providers = indices(provider_names, u32::from(providers.count()), known);
        let provider = |id: &str| providers.get(id).map(|index| *index as u16);
        let mut default_providers = vec![None; tenants.values().max().map_or(0, |last| *last as usize + 1)];
        for definition in &definitions.tenants {
            default_providers[tenants[definition.id.as_str()] as usize] =
                definition.default_provider.as_deref().and_then(provider);
        }
        let input = RoutingInput {
            routes: definitions.routes.iter().map(|route| route_input(route, &tenants, provider)).collect(),
            providers: definitions.providers.iter().filter_map(|d| provider_input(d, provider)).collect(),
            default_providers,
            fallback: definitions.settings.fallback,
        };
        let rates: Result<Vec<Rates>, _> =
            definitions.rates.iter().map(|(_, entries)| Rates::compile(entries)).collect();
        Ok(Routing { rates: rates?, router: Router::compile(&input)? })
    }

    /// Takes over what was compiled from these definitions.
    pub fn route_by(&mut self, routing: Routing, definitions: &Definitions) {
        self.router = Some(routing.router);
        self.rates = routing.rates;
        for tenant in &mut self.list {
            let table = tenant.definition.as_ref().and_then(|definition| definition.rates.as_ref());
            tenant.rates =
                table.and_then(|table| definitions.rates.iter().position(|(name, _)| name == table));
        }
    }
}

/// The index of every name of the definitions: the one that it has, or the one that it will be given.
fn indices<'a>(
    names: impl Iterator<Item = &'a str>,
    mut next: u32,
    known: impl Fn(&str) -> Option<u32>,
) -> HashMap<&'a str, u32, FixedState> {
    let mut indices = HashMap::default();
    for name in names {
        indices.entry(name).or_insert_with(|| {
            known(name).unwrap_or_else(|| {
                next += 1;
                next - 1
            })
        });
    }
    indices
}

fn route_input(
    route: &RouteDefinition,
    tenants: &HashMap<&str, u32, FixedState>,
    provider: impl Fn(&str) -> Option<u16>,
) -> RouteInput {
    RouteInput {
        priority: route.priority,
        prefixes: route.prefixes.clone(),
        tenants: route.tenants.iter().filter_map(|id| tenants.get(id.as_str()).copied()).collect(),
        senders: route.senders.iter().map(|sender| SenderMatch::Exact(sender.as_bytes().to_vec())).collect(),
        channels: Vec::new(),
        providers: route.providers.iter().filter_map(|(id, weight)| Some((provider(id)?, *weight))).collect(),
        strategy: route.strategy,
    }
}

fn provider_input(
    definition: &ProviderDefinition,
    provider: impl Fn(&str) -> Option<u16>,
) -> Option<ProviderInput> {
    Some(ProviderInput {
        index: provider(&definition.id)?,
        enabled: definition.enabled,
        priority: definition.priority,
        channels: vec![Channel::Sms],
    })
}

impl Engine {
    /// Takes over the tenants' definitions. A tenant seen for the first time gets its number and its opening balance, once.
    pub(crate) fn configure_tenants(&mut self, definitions: &Definitions) {
        for tenant in self.tenants.iter_mut() {
            tenant.definition = None;
        }
        for definition in &definitions.tenants {
            let (index, new) = self.tenants.name(&definition.id, &definition.currency);
            if new {
                self.record_name(NameKind::Tenant, index, &definition.id, &definition.currency);
                self.record_wallet(index);
                if definition.opening_balance > Micros::ZERO {
                    self.money(index, MoneyKind::Opening, definition.opening_balance);
                }
            }
            self.fit_credit_limit(index, definition.credit_limit);
            if let Some(tenant) = self.tenants.get_mut(index) {
                tenant.definition = Some(definition.clone());
                // What is counted goes on being counted while there are none: they may be given back in the same window.
                if definition.quotas.are_any() {
                    tenant.usage.get_or_insert_default();
                }
            }
            self.tenants.mark(index);
        }
    }

    /// The wallet takes over the limit that is agreed. While its tenant owes more, the limit is what it owes: nothing more is let in,
    /// and it follows down as that becomes less.
    pub(crate) fn fit_credit_limit(&mut self, tenant: u32, agreed: Micros) {
        let Some(wallet) = self.tenants.get(tenant).map(|tenant| tenant.wallet) else { return };
        let owed = Micros(wallet.available().0.saturating_neg());
        let limit = agreed.max(owed);
        if wallet.credit_limit() != limit {
            self.money(tenant, MoneyKind::CreditLimit, limit);
        }
    }

    pub(crate) fn record_name(&mut self, kind: NameKind, index: u32, id: &str, currency: &str) {
        record::write(&mut self.group, &Record::Catalog { kind, index, id, currency });
        self.name_recorded(kind, index);
    }

    /// The present group has a record of this name.
    pub(crate) fn name_recorded(&mut self, kind: NameKind, index: u32) {
        let group = self.group_number;
        self.ring.add(group, Item::Name(kind, index));
        match kind {
            NameKind::Tenant => self.tenants.placeholder(index).name_group = group,
            NameKind::Provider => {
                if let Some(provider) =
                    u16::try_from(index).ok().and_then(|index| self.providers.get_mut(index))
                {
                    provider.name_group = group;
                }
            }
        }
    }

    /// Writes a wallet for the ring to hold on to.
    pub(crate) fn record_wallet(&mut self, tenant: u32) {
        let Some(entry) = self.tenants.get_mut(tenant) else { return };
        entry.wallet_group = Some(self.group_number);
        let wallet = entry.written_wallet();
        record::write(&mut self.group, &Record::Wallet { tenant, wallet: &wallet });
        self.ring.add(self.group_number, Item::Wallet(tenant));
    }

    /// The wallets that the group has changed, as they stand at its end.
    pub(crate) fn record_wallets(&mut self) {
        for tenant in std::mem::take(&mut self.tenants.wallets_changed) {
            let Some(entry) = self.tenants.get_mut(tenant) else { continue };
            entry.wallet_changed = false;
            let wallet = entry.written_wallet();
            record::write(&mut self.group, &Record::Wallet { tenant, wallet: &wallet });
        }
    }

    /// A change of a wallet from outside the life of a message, journaled.
    fn money(&mut self, tenant: u32, kind: MoneyKind, amount: Micros) {
        if self.change_wallet(tenant, kind, amount) {
            let at = self.now.wall.0;
            record::write(&mut self.group, &Record::Money { tenant, kind, amount, at });
        }
    }

    /// False when the wallet refused it, and then nothing has changed.
    fn change_wallet(&mut self, tenant: u32, kind: MoneyKind, amount: Micros) -> bool {
        let change = |wallet: &mut Wallet| {
            let is_done = match kind {
                MoneyKind::Opening | MoneyKind::Deposit => wallet.deposit(amount) == Change::Done,
                MoneyKind::Withdrawal => wallet.withdraw(amount) == Reserve::Done,
                MoneyKind::Adjustment => wallet.adjust(amount) == Reserve::Done,
                MoneyKind::Refund => wallet.refund(amount) == Change::Done,
                MoneyKind::CreditLimit => wallet.set_credit_limit(amount) == Reserve::Done,
            };
            (is_done, is_done)
        };
        self.tenants.change_wallet(tenant, change) == Some(true)
    }
}
