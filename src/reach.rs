//! What binds need before they begin: TLS from files, and listening sockets for providers that connect to us; and the TLS of our
//! own listeners.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::{Config, Outbind as OutbindSettings, Provider, ProviderTls};
use connectors::clock::Clock;
use connectors::smpp::client::{Expected, Keeper, Outbind, Secret, Shared, Tls};
use connectors::tls::{self, ClientFiles, TlsError};
use rustls::ServerConfig;
use tokio::net::TcpListener;

/// Why a provider cannot be reached as its entry says.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    #[error("the keys of provider {provider}'s TLS cannot be used")]
    Tls { provider: String, source: TlsError },
    #[error("cannot listen on {address} for outbind of provider {provider}")]
    Listen { provider: String, address: SocketAddr, source: std::io::Error },
}

/// What the binds of one provider share.
#[derive(Clone, Default)]
pub struct Reached {
    pub tls: Option<Tls>,
    pub outbind: Option<Arc<Outbind>>,
}

/// The same of all enabled providers, by their ids.
#[derive(Default)]
pub struct ReachedProviders(BTreeMap<String, Reached>);

impl ReachedProviders {
    pub fn of(&self, id: &str) -> Reached {
        self.0.get(id).cloned().unwrap_or_default()
    }
}

/// Reads every file and takes every port that the enabled providers' entries name.
pub async fn open(
    config: &Config,
    shared: &Shared,
    clock: Clock,
) -> Result<(ReachedProviders, Vec<Keeper>), ReachError> {
    let (mut all, mut keepers) = (ReachedProviders::default(), Vec::new());
    for provider in config.provider.iter().filter(|provider| provider.enabled) {
        let mut reached = Reached { tls: read_tls(provider)?, outbind: None };
        if let Some(outbind) = &provider.reach.outbind {
            let (outbind, keeper) = listen(provider, outbind, shared, clock).await?;
            reached.outbind = Some(outbind);
            keepers.push(keeper);
        }
        all.0.insert(provider.id.clone(), reached);
    }
    Ok((all, keepers))
}

/// A listener's TLS, where its section says so.
pub fn server_tls(tls: Option<&config::Tls>) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    let Some(config::Tls { cert, key, client_ca }) = tls.cloned() else { return Ok(None) };
    tls::server(&tls::ServerFiles { cert, key, client_ca }).map(Some)
}

/// A provider's TLS, where its entry says so.
pub fn read_tls(provider: &Provider) -> Result<Option<Tls>, ReachError> {
    let Some(ProviderTls { ca, server_name, cert, key }) = &provider.reach.tls else { return Ok(None) };
    let given = |path: &Path| Some(path.to_owned()).filter(|path: &PathBuf| !path.as_os_str().is_empty());
    let files = ClientFiles { ca: given(ca), own: given(cert).zip(given(key)) };
    let failed = |source| ReachError::Tls { provider: provider.id.clone(), source };
    let server_name = Some(server_name.clone()).filter(|name| !name.is_empty());
    Ok(Some(Tls { config: tls::client(&files).map_err(failed)?, server_name }))
}

async fn listen(
    provider: &Provider,
    outbind: &OutbindSettings,
    shared: &Shared,
    clock: Clock,
) -> Result<(Arc<Outbind>, Keeper), ReachError> {
    let address = outbind.listen;
    let failed = |source| ReachError::Listen { provider: provider.id.clone(), address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let blocks = outbind.from.clone();
    let expected = Expected {
        provider_id: provider.id.clone(),
        system_id: outbind.system_id.clone(),
        password: Secret(outbind.password.expose().to_owned()),
        from: (!blocks.is_empty())
            .then(|| Arc::new(move |from| blocks.iter().any(|block| block.contains(from))) as Arc<_>),
        shared: shared.clone(),
    };
    let places = usize::try_from(provider.binds).unwrap_or(usize::MAX);
    Ok(Outbind::open(listener, expected, places, clock))
}
