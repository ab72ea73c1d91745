//! `tidegate provider probe`: looks at a provider by a bind of its own and prints what was learned as a profile. What the
//! answers mean is `learned`'s; how they are got is the connector's.

mod learned;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use codecs::address;
use codecs::smpp::BindKind;
use codecs::smpp::pdu::SmeAddress;
use codecs::smpp::write::SmFields;
use config::Provider;
use connectors::clock::Clock;
use connectors::smpp::client::ProviderBindOptions;
use connectors::smpp::client::probe::{ProbeError, Probing, probe};
use engine::provider_form;
use engine::submission::Body;
use serde_json::json;

use self::learned::Learned;
use crate::operate::line::Probe;
use crate::reach::{self, ReachError, Reached};
use crate::settings::{self, SettingsError};
use crate::{definitions, providers, sandbox, say};

/// In GSM 03.38 the last two octets are an inverted exclamation mark and a currency sign, in ASCII and Latin-1 "@$": who looks at
/// the phone sees what data_coding 0 means there.
const TEXT: &[u8] = b"Tidegate probe @$";

/// Why nothing was learned.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error("the settings have no provider \"{0}\"")]
    Unknown(String),
    #[error(
        "the sandbox is no provider to be learned from: a gateway whose settings name none simulates it, within itself"
    )]
    Sandbox,
    #[error(
        "provider {0} connects to us (outbind), and the gateway listens where it does: a probe has nothing to bind to"
    )]
    Outbind(String),
    #[error("provider {0} is bound as a receiver: it can be sent nothing")]
    Receiver(String),
    #[error("{0} is not an address that a message can go to or come from: {1}")]
    Address(&'static str, address::Invalid),
    #[error("the message does not fit the provider's form")]
    Form(#[from] codecs::smpp::write::WriteError),
    #[error("cannot start")]
    Start(#[source] std::io::Error),
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

impl RunError {
    /// Wrong usage ends with 2, and what went wrong with 1.
    fn exit_code(&self) -> ExitCode {
        match self {
            RunError::Unknown(_)
            | RunError::Sandbox
            | RunError::Outbind(_)
            | RunError::Receiver(_)
            | RunError::Address(..) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

pub fn run(arguments: &Probe, config: Option<&Path>, as_json: bool) -> ExitCode {
    match learn(arguments, config) {
        Ok(learned) => {
            let done = if learned.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            match as_json {
                true => say::answer(format_args!("{}\n", learned.json()), done),
                false => say::answer(format_args!("{}", learned.profile()), done),
            }
        }
        Err(error) => {
            let told = say::whole(&error);
            match as_json {
                true => say::line(format_args!("{}", json!({"ok": false, "detail": told}))),
                false => say::complaint(format_args!("{told}")),
            }
            error.exit_code()
        }
    }
}

fn learn(arguments: &Probe, config: Option<&Path>) -> Result<Learned, RunError> {
    let config = settings::read(config)?;
    let provider = config.provider.iter().find(|provider| provider.id == arguments.id);
    let is_sandbox = arguments.id == sandbox::ID && config.is_empty_of_providers();
    let unknown = || if is_sandbox { RunError::Sandbox } else { RunError::Unknown(arguments.id.clone()) };
    let provider = provider.ok_or_else(unknown)?;
    if provider.reach.outbind.is_some() {
        return Err(RunError::Outbind(provider.id.clone()));
    }
    let reached = Reached { tls: reach::read_tls(provider)?, outbind: None };
    let kind = match provider.bind {
        config::BindKind::Transceiver => BindKind::Transceiver,
        config::BindKind::Receiver => BindKind::Receiver,
        config::BindKind::Transmitter | config::BindKind::Pair => BindKind::Transmitter,
    };
    let options = ProviderBindOptions { kind, ..providers::options(provider, &reached) };
    let clock = Clock::start();
    let probing = Probing {
        messages: messages(arguments, provider, clock)?,
        phone: arguments
            .to
            .as_deref()
            .and_then(|to| address::destination(to).ok())
            .map_or(0, |to| to.as_u64()),
        receipt_wait: match provider.bind {
            // Its receipts come elsewhere.
            config::BindKind::Transmitter => Duration::ZERO,
            _ => Duration::from_secs(arguments.wait.into()),
        },
        pair: provider.bind == config::BindKind::Pair,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let found = runtime.map_err(RunError::Start)?.block_on(probe(&options, &probing, clock))?;
    let dialect = Arc::clone(&options.dialect);
    Ok(Learned::of(provider, found, &dialect, clock.now().wall))
}

/// The bodies of the messages, as the gateway would write them for this provider.
fn messages(arguments: &Probe, provider: &Provider, clock: Clock) -> Result<Vec<Vec<u8>>, RunError> {
    let (Some(to), Some(from)) = (&arguments.to, &arguments.from) else { return Ok(Vec::new()) };
    if provider.bind == config::BindKind::Receiver {
        return Err(RunError::Receiver(provider.id.clone()));
    }
    let destination = address::destination(to).map_err(|error| RunError::Address("--to", error))?;
    let sender = address::sender(from).map_err(|error| RunError::Address("--from", error))?;
    let definition = definitions::provider(provider);
    let (source_ton, source_npi) = sender.ton_npi();
    let body = Body { source_ton, source_npi, source: sender.octets(), ..Body::default() };
    let (source, target) = (definition.types.source(&body), definition.types.destination(&body));
    let mut digits = Vec::new();
    destination.write_digits(&mut digits);
    let fields = SmFields {
        source: SmeAddress { ton: source.0, npi: source.1, octets: sender.octets() },
        destination: SmeAddress { ton: target.0, npi: target.1, octets: &digits },
        registered_delivery: 1,
        text: TEXT,
        ..SmFields::default()
    };
    let mut written = Vec::new();
    definition.submit.write(&mut written, &fields, None, clock.now().wall)?;
    written.extend_from_slice(&provider_form::tlvs(Some(&definition), &body));
    Ok(vec![written; usize::from(arguments.count)])
}
