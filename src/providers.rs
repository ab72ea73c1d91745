//! The binds that the settings ask for: one supervised task each, and what can be seen of them. It routes nothing.

use std::sync::Arc;
use std::time::Duration;

use config::{BindKind, Config, Provider};
use connectors::partition::Partition;
use connectors::smpp::client::{Pauses, ProviderBind, ProviderBindOptions, Reconnect, Secret};
use connectors::smpp::counters::BindCounters;
use connectors::smpp::{self, Phases};
use tokio::task::JoinSet;

use crate::metrics::BindSnapshot;

/// What can be seen of the binds of all providers, also before they are bound for the first time.
#[derive(Default)]
pub struct Watch(Vec<(u16, u16, Arc<BindCounters>)>);

impl Watch {
    pub fn of(&self, provider: u16) -> impl Iterator<Item = BindSnapshot> + '_ {
        self.0.iter().filter(move |(of, ..)| *of == provider).map(|(_, bind, counters)| BindSnapshot {
            bind: *bind,
            is_up: counters.up.get() > 0,
            in_flight: counters.in_flight.get(),
            malformed: counters.malformed.get(),
            responses_unmatched: counters.responses_unmatched.get(),
        })
    }
}

/// Every bind of every enabled provider. `names` are the providers' ids by their permanent numbers.
pub fn all(config: &Config, names: &[String], partition: &Partition) -> (Vec<ProviderBind>, Watch) {
    let (mut all, mut watch) = (Vec::new(), Watch::default());
    for provider in config.provider.iter().filter(|provider| provider.enabled) {
        let Some(index) = names.iter().position(|name| *name == provider.id) else { continue };
        for options in options_of(provider, index as u16, config) {
            let (provider, number) = (options.provider, options.bind);
            let bind = ProviderBind::new(options, partition.clone());
            watch.0.push((provider, number, bind.counters()));
            all.push(bind);
        }
    }
    (all, watch)
}

pub fn start(binds: Vec<ProviderBind>, phases: &Phases) -> JoinSet<()> {
    binds.into_iter().map(|bind| bind.run(phases.clone())).collect()
}

/// Senders have the numbers from 0 on; the receivers of pairs come behind them, and are given nothing to send.
fn options_of(provider: &Provider, index: u16, config: &Config) -> Vec<ProviderBindOptions> {
    let count = u16::try_from(provider.binds).unwrap_or(u16::MAX / 2);
    let of_kind = |kind: smpp::BindKind, bind: u16| options(provider, index, bind, kind, config);
    match provider.bind {
        BindKind::Transmitter => (0..count).map(|n| of_kind(smpp::BindKind::Transmitter, n)).collect(),
        BindKind::Receiver => (0..count).map(|n| of_kind(smpp::BindKind::Receiver, n)).collect(),
        BindKind::Transceiver => (0..count).map(|n| of_kind(smpp::BindKind::Transceiver, n)).collect(),
        BindKind::Pair => (0..count)
            .map(|n| of_kind(smpp::BindKind::Transmitter, n))
            .chain((0..count).map(|n| of_kind(smpp::BindKind::Receiver, count + n)))
            .collect(),
    }
}

fn options(
    provider: &Provider,
    index: u16,
    bind: u16,
    kind: smpp::BindKind,
    config: &Config,
) -> ProviderBindOptions {
    let usual = Pauses { first: provider.reconnect.min, max: provider.reconnect.max };
    ProviderBindOptions {
        provider: index,
        bind,
        provider_id: provider.id.clone(),
        host: provider.host.clone(),
        port: provider.port,
        system_id: provider.system_id.clone(),
        password: Secret(provider.password.expose().to_owned()),
        system_type: provider.system_type.clone(),
        kind,
        window: provider.window,
        pdu_octets_max: usize::try_from(config.limits.pdu.0).unwrap_or(usize::MAX),
        enquire_link: provider.enquire_link,
        enquire_link_response: provider.enquire_link.min(Duration::from_secs(15)),
        response_timeout: provider.response_timeout,
        reconnect: Reconnect { usual, ..Reconnect::default() },
        ..ProviderBindOptions::default()
    }
}
