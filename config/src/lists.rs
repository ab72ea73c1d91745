//! The lists of entries, and what must hold between them: names that are unique, names that name something.
//! What is wrong with one entry alone is found where it is read.

use std::collections::BTreeMap;

use crate::inbound::Inbound;
use crate::problem::{Place, Problems, nearest, quoted};
use crate::provider::Provider;
use crate::route::{Rates, Route};
use crate::section::Section;
use crate::tenant::{Price, Tenant};
use crate::tree::{Table, Value};

/// An entry of a list and the table that it was read from.
struct Entry<'t, T> {
    table: &'t Table,
    value: T,
}

/// All entries that could be read.
pub(crate) struct Lists<'t> {
    providers: Vec<Entry<'t, Provider>>,
    tenants: Vec<Entry<'t, Tenant>>,
    routes: Vec<Entry<'t, Route>>,
    inbound: Vec<Entry<'t, Inbound>>,
    rates: BTreeMap<String, Rates>,
    /// The names written, those of faulty entries included: one mistake is not to be told twice.
    provider_ids: Vec<&'t str>,
    tenant_ids: Vec<&'t str>,
    rates_names: Vec<&'t str>,
}

impl<'t> Lists<'t> {
    /// Reads every entry and checks what they say about one another.
    pub(crate) fn read(all: &mut Section<'t>, problems: &'t Problems) -> Self {
        let (providers, tenants, routes) = (all.list("provider"), all.list("tenant"), all.list("route"));
        let inbound = all.list("inbound");
        let rates = all.named("rates");
        let read_rates =
            |(name, table): &(&str, &Table)| ((*name).to_owned(), Rates::read(name, table, problems));
        let lists = Self {
            provider_ids: ids(&providers),
            tenant_ids: ids(&tenants),
            rates_names: rates.iter().map(|(name, _)| *name).collect(),
            providers: entries("[[provider]]", &providers, problems, |section, _| Provider::read(section)),
            tenants: entries("[[tenant]]", &tenants, problems, |section, _| Tenant::read(section)),
            routes: entries("[[route]]", &routes, problems, |section, index| Route::read(section, index + 1)),
            inbound: entries("[[inbound]]", &inbound, problems, |section, _| Inbound::read(section)),
            rates: rates.iter().map(read_rates).collect(),
        };
        lists.check_providers(problems);
        lists.check_tenants(problems);
        lists.check_routes(problems);
        lists.check_inbound(problems);
        lists
    }

    /// The entries alone, the routes in the order in which they are tried.
    pub(crate) fn into_parts(self) -> Parts {
        let mut routes = values(self.routes);
        routes.sort_by_key(|route| route.priority);
        (values(self.providers), values(self.tenants), routes, values(self.inbound), self.rates)
    }

    fn check_providers(&self, problems: &Problems) {
        let ids = self.providers.iter().map(|entry| (entry.value.id.as_str(), entry.place("id")));
        unique("this id of a provider", ids, problems);
        for entry in &self.providers {
            if let Some(tenant) = &entry.value.inbound_tenant {
                refer("tenant", tenant, &self.tenant_ids, entry.place("inbound_tenant"), problems);
            }
        }
    }

    fn check_tenants(&self, problems: &Problems) {
        let all = || self.tenants.iter();
        unique(
            "this id of a tenant",
            all().map(|entry| (entry.value.id.as_str(), entry.place("id"))),
            problems,
        );
        let client_ids = all().filter_map(|entry| Some((entry.value.client_id?, entry.place("client_id"))));
        unique("this client_id", client_ids, problems);
        let keys = all().flat_map(|entry| {
            let keys = entry.value.api_keys.iter().enumerate();
            keys.map(|(index, key)| (key.expose(), entry.table.place_in("api_keys", index)))
        });
        unique("this API key", keys, problems);
        let accounts = all().filter_map(|entry| Some((entry.value.smpp.as_ref()?, entry.place("smpp"))));
        let system_ids = accounts.map(|(account, place)| (account.system_id.as_str(), place));
        unique("this system_id of a tenant", system_ids, problems);

        for entry in all() {
            if let Some(provider) = &entry.value.default_provider {
                refer("provider", provider, &self.provider_ids, entry.place("default_provider"), problems);
            }
            if let Price::Rates(name) = &entry.value.price {
                refer("price list", name, &self.rates_names, entry.place("rates"), problems);
            }
        }
    }

    fn check_inbound(&self, problems: &Problems) {
        for entry in &self.inbound {
            refer("tenant", &entry.value.tenant, &self.tenant_ids, entry.place("tenant"), problems);
            for provider in &entry.value.matches.provider {
                refer("provider", provider, &self.provider_ids, entry.place("match"), problems);
            }
        }
    }

    fn check_routes(&self, problems: &Problems) {
        let ids = self.routes.iter().map(|entry| (entry.value.id.as_str(), entry.place("id")));
        unique("this id of a route", ids, problems);
        for entry in &self.routes {
            for (index, provider) in entry.value.providers.iter().enumerate() {
                let place = entry.table.place_in("providers", index);
                refer("provider", provider, &self.provider_ids, place, problems);
            }
            for tenant in &entry.value.matches.tenant {
                refer("tenant", tenant, &self.tenant_ids, entry.place("match"), problems);
            }
        }
    }
}

/// The entries alone.
type Parts = (Vec<Provider>, Vec<Tenant>, Vec<Route>, Vec<Inbound>, BTreeMap<String, Rates>);

impl<T> Entry<'_, T> {
    fn place(&self, key: &str) -> &Place {
        self.table.place_of(key)
    }
}

fn entries<'t, T>(
    name: &str,
    tables: &[&'t Table],
    problems: &'t Problems,
    read: impl Fn(&mut Section<'t>, usize) -> Option<T>,
) -> Vec<Entry<'t, T>> {
    let entry = |(index, table): (usize, &&'t Table)| {
        let value = Section::read(name, table, problems, |section| read(section, index))?;
        Some(Entry { table, value })
    };
    tables.iter().enumerate().filter_map(entry).collect()
}

fn values<T>(entries: Vec<Entry<'_, T>>) -> Vec<T> {
    entries.into_iter().map(|entry| entry.value).collect()
}

fn ids<'t>(tables: &[&'t Table]) -> Vec<&'t str> {
    let id = |table: &&'t Table| match table.entries.get("id").map(|node| &node.value) {
        Some(Value::Text(id) | Value::Variable(id)) => Some(id.as_str()),
        _ => None,
    };
    tables.iter().filter_map(id).collect()
}

/// No two of them may be alike. The later one is told, without its value: it may be a secret.
fn unique<'p, K: Ord>(what: &str, found: impl Iterator<Item = (K, &'p Place)>, problems: &Problems) {
    let mut seen: BTreeMap<K, &Place> = BTreeMap::new();
    for (key, place) in found {
        if let Some(first) = seen.get(&key) {
            problems.add(place, format!("{what} was used before, {first}"), "give each its own");
        } else {
            seen.insert(key, place);
        }
    }
}

fn refer(what: &str, name: &str, names: &[&str], place: &Place, problems: &Problems) {
    if names.contains(&name) {
        return;
    }
    let mend = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if names.is_empty() => format!("there is no {what} at all: add one"),
        None => format!("write one of {}", quoted(names.iter().copied())),
    };
    problems.add(place, format!("unknown {what} \"{name}\""), mend);
}
