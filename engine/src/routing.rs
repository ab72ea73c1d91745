//! Which providers a message may go to, in which order, and what a destination costs. Compiled once from plain inputs;
//! a look-up walks the destination's digits. It sends nothing, holds no names and knows no provider's health.

mod order;
mod prefixes;

use std::cmp::Reverse;

use hashbrown::HashMap;

pub use self::order::{PROVIDERS_MAX, Providers, Turns};

use self::order::weighted_cycle;
use self::prefixes::{Digits, Prefix, Prefixes};
use crate::catalog::Strategy;
use crate::hash::{self, FixedState};
use crate::money::Micros;

const SENDER_DOMAIN: u64 = 5 << 16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Channel {
    #[default]
    Sms = 0,
    Whatsapp = 1,
}

impl Channel {
    const ALL: [Channel; 2] = [Channel::Sms, Channel::Whatsapp];
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SenderMatch {
    Exact(Vec<u8>),
    StartsWith(Vec<u8>),
}

/// A route as given. An empty list of conditions means any.
#[derive(Clone, Debug, Default)]
pub struct RouteInput {
    /// Lower is tried first; then the longer prefix, then the earlier route.
    pub priority: i32,
    /// Digits, with or without a plus.
    pub prefixes: Vec<String>,
    pub tenants: Vec<u32>,
    pub senders: Vec<SenderMatch>,
    pub channels: Vec<Channel>,
    /// With the weight of each; only a weighted route looks at it.
    pub providers: Vec<(u16, u32)>,
    pub strategy: Strategy,
}

#[derive(Clone, Debug)]
pub struct ProviderInput {
    pub index: u16,
    pub enabled: bool,
    /// Its place in the implicit route; lower is tried first.
    pub priority: u32,
    /// What it can carry; empty: anything.
    pub channels: Vec<Channel>,
}

#[derive(Clone, Debug, Default)]
pub struct RoutingInput {
    pub routes: Vec<RouteInput>,
    pub providers: Vec<ProviderInput>,
    /// Each tenant's default provider, by tenant.
    pub default_providers: Vec<Option<u16>>,
    /// Whether enabled providers stand in where no route matches and the default provider is not enough.
    pub fallback: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoutingError {
    #[error("route {route}: prefix {prefix:?} is not a run of at most 19 digits")]
    Prefix { route: usize, prefix: String },
    #[error("route {route}: {count} providers, and at most {PROVIDERS_MAX} are possible")]
    TooManyProviders { route: usize, count: usize },
    #[error("route {route}: provider {provider} does not exist")]
    UnknownProvider { route: usize, provider: u16 },
    #[error("route {route}: no providers")]
    NoProviders { route: usize },
    #[error("route {route}: every weight is zero")]
    NoWeight { route: usize },
    #[error("price {entry}: prefix {prefix:?} is not a run of at most 19 digits")]
    PricePrefix { entry: usize, prefix: String },
}

/// What a look-up is asked with.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    pub tenant: u32,
    /// Digits of the number, country code first.
    pub destination: u64,
    pub sender: &'a [u8],
    pub channel: Channel,
}

/// What a look-up found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The place of the route among the inputs; `None` for the implicit route.
    pub route: Option<u32>,
    /// Empty when nothing may be used.
    pub providers: Providers,
}

#[derive(Clone, Debug)]
pub struct Router {
    /// What routes do, each once: of thousands of routes most lead to the same few providers.
    ways: Vec<Way>,
    prefixes: Prefixes,
    /// The root of the routes that name neither a tenant nor a sender.
    root: u32,
    /// By tenant: the root of the routes that name it and no sender.
    tenant_roots: Vec<Option<u32>>,
    /// The root for a sender that some route names, with a tenant or for all.
    sender_roots: HashMap<Selector, u32, FixedState>,
    /// Runs of routes that have a prefix in common, best first. What a look-up reads lies close together: with thousands of routes
    /// most of its time is waiting for memory.
    runs: Vec<Route>,
    implicit: Implicit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Selector {
    tenant: Option<u32>,
    /// The hash of a whole sender.
    sender: u64,
}

/// A route in a run.
#[derive(Clone, Copy, Debug)]
struct Route {
    /// Among the inputs.
    place: u32,
    /// Of its way among the ways, with `LAST`.
    way: u32,
    priority: i32,
}

/// The bit of a route's way that says that it is the last one of its run.
const LAST: u32 = 1 << 31;

/// What a route does with a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Way {
    strategy: Strategy,
    /// By channel, the enabled providers that can carry it; `None` where none can, or the route is not for it.
    carriers: [Option<Providers>; 2],
    /// Few have any of it.
    more: Option<Box<More>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct More {
    senders: Vec<SenderMatch>,
    /// Of a weighted route, by channel: places among the providers in the order in which it begins with them.
    cycles: [Vec<u8>; 2],
}

#[derive(Clone, Debug)]
struct Implicit {
    default_providers: Vec<Option<u16>>,
    /// Enabled providers by priority, by channel.
    carriers: [Vec<u16>; 2],
    fallback: bool,
}

impl Router {
    /// Refuses a route that could never mean anything. Disabled providers are left out of every route.
    pub fn compile(input: &RoutingInput) -> Result<Router, RoutingError> {
        let mut prefixes = Prefixes::default();
        let mut router = Router {
            ways: Vec::new(),
            root: prefixes.add_root(),
            prefixes,
            tenant_roots: Vec::new(),
            sender_roots: HashMap::default(),
            runs: Vec::new(),
            implicit: Implicit::new(input),
        };
        let mut routes = Vec::with_capacity(input.routes.len());
        let mut lists = Vec::new();
        let mut known: HashMap<Way, u32, FixedState> = HashMap::default();
        for (place, route) in input.routes.iter().enumerate() {
            let way = Way::compile(place, route, &input.providers)?;
            let way = *known.entry(way).or_insert_with_key(|way| {
                router.ways.push(way.clone());
                (router.ways.len() - 1) as u32
            });
            routes.push(Route { place: place as u32, way, priority: route.priority });
            router.enter(place, route, &mut lists)?;
        }
        router.line_up(lists, &routes);
        Ok(router)
    }

    /// Routes that have a prefix in common, one run after the other.
    fn line_up(&mut self, lists: Vec<Vec<u32>>, routes: &[Route]) {
        let mut starts = Vec::with_capacity(lists.len());
        for mut list in lists {
            list.sort_by_key(|route| (routes[*route as usize].priority, *route));
            list.dedup();
            starts.push(self.runs.len() as u32);
            self.runs.extend(list.into_iter().map(|route| routes[route as usize]));
            if let Some(last) = self.runs.last_mut() {
                last.way |= LAST;
            }
        }
        self.prefixes.change_values(|list| starts[list as usize]);
    }

    /// The providers for a message, in order. `cost` is asked only by a least-cost route, and a provider without one
    /// is left out there: nothing is sent at an unknown price.
    pub fn choose(
        &self,
        query: &Query<'_>,
        turns: &mut Turns,
        cost: impl Fn(u16) -> Option<Micros>,
    ) -> Choice {
        self.choose_at(query, |route| turns.next(route), cost)
    }

    /// The same at a turn that the asker names, by the route: what has to go the same way is given the same turn.
    pub fn choose_at(
        &self,
        query: &Query<'_>,
        turn: impl FnOnce(u32) -> u64,
        cost: impl Fn(u16) -> Option<Micros>,
    ) -> Choice {
        match self.best(query) {
            Some((place, way)) => {
                let providers = way.order(query.channel, || turn(place), cost);
                Choice { route: Some(place), providers }
            }
            None => Choice { route: None, providers: self.implicit.order(query) },
        }
    }

    /// The route that a message takes; `None` for the implicit one.
    #[cfg(test)]
    fn matching(&self, query: &Query<'_>) -> Option<u32> {
        self.best(query).map(|(place, _)| place)
    }

    fn best(&self, query: &Query<'_>) -> Option<(u32, &Way)> {
        let digits = Digits::new(query.destination);
        let mut best: Option<(i32, Reverse<u32>, u32, u32)> = None;
        for root in self.roots_for(query).into_iter().flatten() {
            self.prefixes.walk(root, &digits, |length, start| {
                if let Some(route) = self.first_of_run(start, query) {
                    let rank = (route.priority, Reverse(length), route.place, route.way & !LAST);
                    best = Some(best.map_or(rank, |before| before.min(rank)));
                }
            });
        }
        best.map(|(_, _, place, way)| (place, &self.ways[way as usize]))
    }

    /// The first route of a run that takes the message.
    fn first_of_run(&self, start: u32, query: &Query<'_>) -> Option<Route> {
        for route in &self.runs[start as usize..] {
            if self.ways[(route.way & !LAST) as usize].accepts(query) {
                return Some(*route);
            }
            if route.way & LAST != 0 {
                break;
            }
        }
        None
    }

    fn roots_for(&self, query: &Query<'_>) -> [Option<u32>; 4] {
        let of_tenant = self.tenant_roots.get(query.tenant as usize).copied().flatten();
        let mut roots = [Some(self.root), of_tenant, None, None];
        if !self.sender_roots.is_empty() {
            let sender = sender_hash(query.sender);
            let root = |tenant| self.sender_roots.get(&Selector { tenant, sender }).copied();
            (roots[2], roots[3]) = (root(None), root(Some(query.tenant)));
        }
        roots
    }

    /// Enters a route under every pair of tenant and sender and every prefix that it names.
    fn enter(
        &mut self,
        place: usize,
        route: &RouteInput,
        lists: &mut Vec<Vec<u32>>,
    ) -> Result<(), RoutingError> {
        let tenants = any_or(route.tenants.iter().copied());
        let senders =
            any_or(route.senders.iter().map(SenderMatch::selector)).into_iter().map(Option::flatten);
        let senders: Vec<Option<u64>> = senders.collect();
        let any_prefix = [String::new()];
        let prefixes = if route.prefixes.is_empty() { &any_prefix } else { &route.prefixes[..] };
        for prefix in prefixes {
            let read = Prefix::read(prefix)
                .ok_or_else(|| RoutingError::Prefix { route: place, prefix: prefix.clone() })?;
            for &tenant in &tenants {
                for &sender in &senders {
                    let root = self.root_of(tenant, sender);
                    let list = *self.prefixes.value_or(root, read, lists.len() as u32) as usize;
                    if list == lists.len() {
                        lists.push(Vec::new());
                    }
                    lists[list].push(place as u32);
                }
            }
        }
        Ok(())
    }

    fn root_of(&mut self, tenant: Option<u32>, sender: Option<u64>) -> u32 {
        let prefixes = &mut self.prefixes;
        match (tenant, sender) {
            (None, None) => self.root,
            (Some(tenant), None) => {
                let place = tenant as usize;
                if self.tenant_roots.len() <= place {
                    self.tenant_roots.resize(place + 1, None);
                }
                *self.tenant_roots[place].get_or_insert_with(|| prefixes.add_root())
            }
            (tenant, Some(sender)) => {
                let selector = Selector { tenant, sender };
                *self.sender_roots.entry(selector).or_insert_with(|| prefixes.add_root())
            }
        }
    }
}

impl Way {
    fn compile(place: usize, input: &RouteInput, known: &[ProviderInput]) -> Result<Way, RoutingError> {
        check(place, input)?;
        let mut providers = Vec::with_capacity(input.providers.len());
        for &(index, weight) in &input.providers {
            let provider = known.iter().find(|provider| provider.index == index);
            let provider = provider.ok_or(RoutingError::UnknownProvider { route: place, provider: index })?;
            providers.push((provider, weight));
        }
        let carriers = Channel::ALL.map(|channel| {
            let is_for = input.channels.is_empty() || input.channels.contains(&channel);
            Carriers::new(&providers, channel).filter(|_| is_for)
        });
        let cycle =
            |of: &Option<Carriers>| of.as_ref().map(|of| weighted_cycle(&of.weights)).unwrap_or_default();
        let is_weighted = input.strategy == Strategy::Weighted;
        let more = || More {
            senders: input.senders.clone(),
            cycles: if is_weighted { carriers.each_ref().map(cycle) } else { Default::default() },
        };
        Ok(Way {
            strategy: input.strategy,
            more: (is_weighted || !input.senders.is_empty()).then(|| Box::new(more())),
            carriers: carriers.map(|carriers| carriers.map(|carriers| carriers.providers)),
        })
    }

    fn accepts(&self, query: &Query<'_>) -> bool {
        self.carriers[query.channel as usize].is_some()
            && self.more.as_ref().is_none_or(|more| more.accepts(query.sender))
    }

    fn order(
        &self,
        channel: Channel,
        turn: impl FnOnce() -> u64,
        cost: impl Fn(u16) -> Option<Micros>,
    ) -> Providers {
        let Some(providers) = self.carriers[channel as usize] else { return Providers::default() };
        match self.strategy {
            Strategy::Failover => providers,
            Strategy::RoundRobin => providers.rotated(turn()),
            Strategy::Weighted => match self.more.as_ref().map(|more| &more.cycles[channel as usize]) {
                Some(cycle) if !cycle.is_empty() => {
                    providers.with_first(cycle[(turn() % cycle.len() as u64) as usize])
                }
                _ => providers,
            },
            Strategy::LeastCost => providers.by_cost(cost),
        }
    }
}

impl More {
    fn accepts(&self, sender: &[u8]) -> bool {
        self.senders.is_empty() || self.senders.iter().any(|known| known.accepts(sender))
    }
}

/// The enabled providers of a route that can carry a channel, and their weights.
struct Carriers {
    providers: Providers,
    weights: Vec<u32>,
}

impl Carriers {
    fn new(providers: &[(&ProviderInput, u32)], channel: Channel) -> Option<Carriers> {
        let able = || providers.iter().filter(|(provider, _)| provider.carries(channel));
        able().next()?;
        let enabled = able().filter(|(provider, _)| provider.enabled);
        let (providers, weights): (Vec<u16>, Vec<u32>) =
            enabled.map(|(provider, weight)| (provider.index, *weight)).unzip();
        Some(Carriers { providers: providers.into_iter().collect(), weights })
    }
}

impl ProviderInput {
    fn carries(&self, channel: Channel) -> bool {
        self.channels.is_empty() || self.channels.contains(&channel)
    }
}

impl SenderMatch {
    fn accepts(&self, sender: &[u8]) -> bool {
        match self {
            SenderMatch::Exact(whole) => whole == sender,
            SenderMatch::StartsWith(start) => sender.starts_with(start),
        }
    }

    /// What a whole sender is found by; a start is looked for among the routes of any sender.
    fn selector(&self) -> Option<u64> {
        match self {
            SenderMatch::Exact(whole) => Some(sender_hash(whole)),
            SenderMatch::StartsWith(_) => None,
        }
    }
}

impl Implicit {
    fn new(input: &RoutingInput) -> Implicit {
        let mut enabled: Vec<&ProviderInput> =
            input.providers.iter().filter(|provider| provider.enabled).collect();
        enabled.sort_by_key(|provider| (provider.priority, provider.index));
        let carriers = Channel::ALL.map(|channel| {
            let able = enabled.iter().filter(|provider| provider.carries(channel));
            able.map(|provider| provider.index).collect()
        });
        Implicit { default_providers: input.default_providers.clone(), carriers, fallback: input.fallback }
    }

    /// The tenant's default provider, then the enabled ones by priority.
    fn order(&self, query: &Query<'_>) -> Providers {
        let carriers = &self.carriers[query.channel as usize];
        let default = self.default_providers.get(query.tenant as usize).copied().flatten();
        let default = default.filter(|index| carriers.contains(index));
        let others = carriers.iter().copied().filter(|index| self.fallback && Some(*index) != default);
        default.into_iter().chain(others).collect()
    }
}

/// Prices by the longest prefix of the destination.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    prefixes: Prefixes,
    root: u32,
    /// Each once: a table of thousands of prefixes has few.
    prices: Vec<Micros>,
}

impl Rates {
    /// From pairs of prefix and price of a part; the empty prefix is the price of everything else, and of two equal
    /// prefixes the later one holds.
    pub fn compile(entries: &[(String, Micros)]) -> Result<Rates, RoutingError> {
        let mut prefixes = Prefixes::default();
        let root = prefixes.add_root();
        let mut prices = Vec::new();
        let mut known: HashMap<Micros, u32, FixedState> = HashMap::default();
        for (entry, (prefix, price)) in entries.iter().enumerate() {
            let read = Prefix::read(prefix)
                .ok_or_else(|| RoutingError::PricePrefix { entry, prefix: prefix.clone() })?;
            *prefixes.value_or(root, read, 0) = *known.entry(*price).or_insert_with(|| {
                prices.push(*price);
                (prices.len() - 1) as u32
            });
        }
        Ok(Rates { prefixes, root, prices })
    }

    /// The price of a part to this destination; `None` where nothing may be sent.
    pub fn price(&self, destination: u64) -> Option<Micros> {
        let mut longest = None;
        self.prefixes.walk(self.root, &Digits::new(destination), |_, price| longest = Some(price));
        longest.map(|price| self.prices[price as usize])
    }
}

fn sender_hash(sender: &[u8]) -> u64 {
    hash::hash64(SENDER_DOMAIN, sender)
}

/// What can be refused without knowing the providers.
fn check(place: usize, input: &RouteInput) -> Result<(), RoutingError> {
    let count = input.providers.len();
    if count == 0 {
        return Err(RoutingError::NoProviders { route: place });
    }
    if count > PROVIDERS_MAX {
        return Err(RoutingError::TooManyProviders { route: place, count });
    }
    let weightless = input.providers.iter().all(|(_, weight)| *weight == 0);
    if input.strategy == Strategy::Weighted && weightless {
        return Err(RoutingError::NoWeight { route: place });
    }
    Ok(())
}

/// The conditions given, or one that stands for any.
fn any_or<T>(conditions: impl Iterator<Item = T>) -> Vec<Option<T>> {
    let mut conditions: Vec<Option<T>> = conditions.map(Some).collect();
    if conditions.is_empty() {
        conditions.push(None);
    }
    conditions
}

#[cfg(test)]
mod tests;
