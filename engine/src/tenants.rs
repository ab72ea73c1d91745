//! The tenants of the partition: their wallets, prices and routes, and what each is still to be told.
//! It decides no message; doors hold their keys and limits.

use std::collections::VecDeque;

use codecs::instant::Wall;
use hashbrown::HashMap;

use crate::catalog::{Definitions, TenantDefinition, TenantStatus};
use crate::command::{ConnectionId, Refusal};
use crate::dispatch::Providers;
use crate::engine::Engine;
use crate::hash::FixedState;
use crate::id::tenant_slot;
use crate::ledger::{Change, Reserve, Wallet};
use crate::money::Micros;
use crate::record::{self, MoneyKind, NameKind, Record};
use crate::ring::Item;
use crate::routing::{self, Channel, ProviderInput, Rates, RouteInput, Router, RoutingInput, SenderMatch, Turns};

/// A tenant's session that takes receipts.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub connection: ConnectionId,
    pub window: u32,
    pub in_flight: u32,
}

pub(crate) struct Tenant {
    pub id: String,
    pub slot: u8,
    pub currency: String,
    /// `None` for one that the journal knows and the definitions no longer name.
    pub definition: Option<TenantDefinition>,
    pub wallet: Wallet,
    /// False during replay until the wallet's totals were read: the ring's older groups may be gone.
    pub wallet_known: bool,
    rates: Option<usize>,
    /// Its messages that wait to be sent.
    pub waiting: u64,
    /// Final, not yet told, and not on their way: in the order in which they became so.
    pub untold: VecDeque<u64>,
    pub receivers: Vec<Receiver>,
    pub next_receiver: usize,
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
            wallet_known: false,
            rates: None,
            waiting: 0,
            untold: VecDeque::new(),
            receivers: Vec::new(),
            next_receiver: 0,
            in_dirty: false,
        }
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
}

impl Tenants {
    pub fn get(&self, index: u32) -> Option<&Tenant> {
        self.list.get(index as usize)
    }

    pub fn get_mut(&mut self, index: u32) -> Option<&mut Tenant> {
        self.list.get_mut(index as usize)
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

    /// The message has something for its tenant.
    pub fn owe(&mut self, tenant: u32, number: u64) {
        if let Some(entry) = self.list.get_mut(tenant as usize) {
            entry.untold.push_back(number);
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

    pub fn take_dirty(&mut self) -> Vec<u32> {
        for tenant in &self.dirty {
            self.list[*tenant as usize].in_dirty = false;
        }
        std::mem::take(&mut self.dirty)
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
        self.list[index as usize].wallet_known = true;
        (index, true)
    }

    /// Gives a name the index that it has in the journal. Its wallet is not known before its totals were read.
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
        self.list.iter().map(|tenant| tenant.untold.len() as u64).sum()
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

    /// Compiles prices and routes; what cannot be compiled leaves the old ones in place.
    pub fn configure_routes(
        &mut self,
        definitions: &Definitions,
        providers: &Providers,
    ) -> Result<(), routing::RoutingError> {
        let rates: Result<Vec<Rates>, _> =
            definitions.rates.iter().map(|(_, entries)| Rates::compile(entries)).collect();
        let rates = rates?;
        let default_of = |tenant: &Tenant| {
            providers.index_of(tenant.definition.as_ref()?.default_provider.as_ref()?)
        };
        let input = RoutingInput {
            routes: definitions.routes.iter().map(|route| self.route_input(route, providers)).collect(),
            providers: provider_inputs(definitions, providers),
            default_providers: self.list.iter().map(default_of).collect(),
            fallback: definitions.settings.fallback,
        };
        self.router = Some(Router::compile(&input)?);
        self.rates = rates;
        for tenant in &mut self.list {
            let table = tenant.definition.as_ref().and_then(|definition| definition.rates.as_ref());
            tenant.rates = table
                .and_then(|table| definitions.rates.iter().position(|(name, _)| name == table));
        }
        Ok(())
    }

    fn route_input(&self, route: &crate::catalog::RouteDefinition, providers: &Providers) -> RouteInput {
        let weighted =
            route.providers.iter().filter_map(|(id, weight)| Some((providers.index_of(id)?, *weight)));
        RouteInput {
            priority: route.priority,
            prefixes: route.prefixes.clone(),
            tenants: route.tenants.iter().filter_map(|id| self.index_of(id)).collect(),
            senders: route
                .senders
                .iter()
                .map(|sender| SenderMatch::Exact(sender.as_bytes().to_vec()))
                .collect(),
            channels: Vec::new(),
            providers: weighted.collect(),
            strategy: route.strategy,
        }
    }
}

fn provider_inputs(definitions: &Definitions, providers: &Providers) -> Vec<ProviderInput> {
    let input = |definition: &crate::catalog::ProviderDefinition| {
        Some(ProviderInput {
            index: providers.index_of(&definition.id)?,
            enabled: definition.enabled,
            priority: definition.priority,
            channels: vec![Channel::Sms],
        })
    };
    definitions.providers.iter().filter_map(input).collect()
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
                let wallet = Wallet::default().encode();
                record::write(&mut self.group, &Record::Wallet { tenant: index, wallet: &wallet });
                self.ring.add(self.group_number, Item::Wallet(index));
                if definition.opening_balance > Micros::ZERO {
                    self.money(index, MoneyKind::Opening, definition.opening_balance);
                }
            }
            let limit_now = self.tenants.get(index).map(|tenant| tenant.wallet.credit_limit());
            if limit_now != Some(definition.credit_limit) {
                self.money(index, MoneyKind::CreditLimit, definition.credit_limit);
            }
            if let Some(tenant) = self.tenants.get_mut(index) {
                tenant.definition = Some(definition.clone());
            }
            self.tenants.mark(index);
        }
    }

    pub(crate) fn record_name(&mut self, kind: NameKind, index: u32, id: &str, currency: &str) {
        record::write(&mut self.group, &Record::Catalog { kind, index, id, currency });
        self.ring.add(self.group_number, Item::Name(kind, index));
    }

    /// A change of a wallet from outside the life of a message, journaled. A limit that the wallet cannot take is left as it was.
    fn money(&mut self, tenant: u32, kind: MoneyKind, amount: Micros) {
        if self.apply_money(tenant, kind, amount) {
            let at = self.now.wall.0;
            record::write(&mut self.group, &Record::Money { tenant, kind, amount, at });
        }
    }

    /// The fold of a money record. False when the wallet refused it, and then nothing has changed.
    pub(crate) fn apply_money(&mut self, tenant: u32, kind: MoneyKind, amount: Micros) -> bool {
        let Some(tenant) = self.tenants.get_mut(tenant) else { return false };
        let wallet = &mut tenant.wallet;
        match kind {
            MoneyKind::Opening | MoneyKind::Deposit => wallet.deposit(amount) == Change::Done,
            MoneyKind::Withdrawal => wallet.withdraw(amount) == Reserve::Done,
            MoneyKind::Adjustment => wallet.adjust(amount) == Reserve::Done,
            MoneyKind::Refund => wallet.refund(amount) == Change::Done,
            MoneyKind::CreditLimit => wallet.set_credit_limit(amount) == Reserve::Done,
        }
    }
}
