//! The binds that the settings ask for: one supervised task each, and what can be seen of them. It routes nothing.
//! What they need of files and listening sockets is `reach`'s.

use std::sync::Arc;
use std::time::Duration;

use codecs::smpp::Command;
use config::{BindKind, Config, InterfaceVersion, Provider, SubmitForm};
use connectors::partition::Partition;
use connectors::smpp::client::{
    Host, Keeper, Patience, Pauses, ProviderBind, ProviderBindOptions, Rebind, Reconnect, Secret,
};
use connectors::smpp::counters::BindCounters;
use connectors::smpp::{self, Phases};
use tokio::task::JoinSet;

use crate::definitions;
use crate::metrics::BindSnapshot;
use crate::reach::{Reached, ReachedProviders};

/// What can be seen of the binds of all providers, also before they are bound for the first time.
#[derive(Default)]
pub struct Watch(Vec<Watched>);

struct Watched {
    provider: u16,
    id: String,
    bind: u16,
    counters: Arc<BindCounters>,
    rebind: Rebind,
}

impl Watch {
    pub fn of(&self, provider: u16) -> impl Iterator<Item = BindSnapshot> + '_ {
        let of_it = self.0.iter().filter(move |watched| watched.provider == provider);
        of_it.map(|Watched { bind, counters, .. }| BindSnapshot {
            bind: *bind,
            is_up: counters.up.get() > 0,
            in_flight: counters.in_flight.get(),
            malformed: counters.malformed.get(),
            odd_tlvs: counters.odd_tlvs.get(),
            responses_unmatched: counters.responses_unmatched.get(),
            alerts: counters.alerts.get(),
        })
    }

    /// Where each bind of a provider is told to begin again, in the order of their numbers.
    pub fn rebinds(&self, id: &str) -> Vec<(u16, Rebind)> {
        let of_it = self.0.iter().filter(|watched| watched.id == id);
        of_it.map(|watched| (watched.bind, watched.rebind.clone())).collect()
    }
}

/// Every bind of every enabled provider. `names` are the providers' ids by their permanent numbers.
pub fn all(
    config: &Config,
    names: &[String],
    partition: &Partition,
    reached: &ReachedProviders,
) -> (Vec<ProviderBind>, Watch) {
    let (mut all, mut watch) = (Vec::new(), Watch::default());
    for provider in config.provider.iter().filter(|provider| provider.enabled) {
        let Some(index) = names.iter().position(|name| *name == provider.id) else { continue };
        for options in options_of(provider, index as u16, config, reached.of(&provider.id)) {
            let (number, of) = (options.bind, options.provider);
            let bind = ProviderBind::new(options, partition.clone());
            let (id, counters, rebind) = (provider.id.clone(), bind.counters(), bind.rebind());
            watch.0.push(Watched { provider: of, id, bind: number, counters, rebind });
            all.push(bind);
        }
    }
    (all, watch)
}

pub fn start(binds: Vec<ProviderBind>, keepers: Vec<Keeper>, phases: &Phases) -> JoinSet<()> {
    let mut tasks: JoinSet<()> = binds.into_iter().map(|bind| bind.run(phases.clone())).collect();
    for keeper in keepers {
        tasks.spawn(keeper.run(phases.clone()));
    }
    tasks
}

/// Senders have the numbers from 0 on; the receivers of pairs come behind them, and are given nothing to send.
fn options_of(
    provider: &Provider,
    index: u16,
    config: &Config,
    reached: Reached,
) -> Vec<ProviderBindOptions> {
    let count = u16::try_from(provider.binds).unwrap_or(u16::MAX / 2);
    let of_kind = |kind: smpp::BindKind, bind: u16| ProviderBindOptions {
        provider: index,
        bind,
        kind,
        pdu_octets_max: usize::try_from(config.limits.pdu.0).unwrap_or(usize::MAX),
        unmarked_receipts: config.takes_unmarked_receipts(provider),
        ..options(provider, &reached)
    };
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

/// What the binds of a provider have in common.
pub fn options(provider: &Provider, reached: &Reached) -> ProviderBindOptions {
    let usual = Pauses { first: provider.reconnect.min, max: provider.reconnect.max };
    let host = |host: &config::Host| Host { name: host.name.clone(), port: host.port };
    ProviderBindOptions {
        provider_id: provider.id.clone(),
        hosts: provider.reach.hosts.iter().map(host).collect(),
        outbind: reached.outbind.clone(),
        local_address: provider.reach.local_address,
        tls: reached.tls.clone(),
        patience: Patience {
            keepalive: provider.reach.tcp_keepalive,
            unacknowledged: provider.reach.tcp_user_timeout,
        },
        system_id: provider.system_id.clone(),
        password: Secret(provider.password.expose().to_owned()),
        system_type: provider.system_type.clone(),
        interface_version: match provider.interface_version {
            InterfaceVersion::V33 => 0x33,
            InterfaceVersion::V34 => 0x34,
            InterfaceVersion::V50 => 0x50,
        },
        submit: match provider.submit {
            SubmitForm::SubmitSm => Command::SUBMIT_SM,
            SubmitForm::DataSm => Command::DATA_SM,
        },
        submit_multi: provider.submit_multi.map_or(1, |most| most as usize),
        message_id: definitions::message_id(provider.message_id),
        dialect: Arc::new(definitions::dialect(&provider.receipt)),
        window: provider.window,
        enquire_link: provider.enquire_link,
        enquire_link_response: provider.enquire_link.min(Duration::from_secs(15)),
        response_timeout: provider.response_timeout,
        reconnect: Reconnect { usual, ..Reconnect::default() },
        ..ProviderBindOptions::default()
    }
}
