//! Certificates and keys from files, as configurations of rustls. What is served or called through them is said elsewhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: pem::Error },
    #[error("{path} holds no certificate")]
    NoCertificate { path: PathBuf },
    #[error("{path} holds no certificate that others could be checked against")]
    NoAuthority { path: PathBuf },
    #[error("the certificate of {path} cannot be used with its key")]
    Unfit { path: PathBuf, source: rustls::Error },
}

impl TlsError {
    /// The file that is at fault.
    pub fn path(&self) -> &Path {
        match self {
            TlsError::Read { path, .. }
            | TlsError::NoCertificate { path }
            | TlsError::NoAuthority { path }
            | TlsError::Unfit { path, .. } => path,
        }
    }
}

/// What a server shows, and whom it asks for a certificate. Files are in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// The server's certificate, and those between it and a root.
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Clients must show a certificate that one of these has signed.
    pub client_ca: Option<PathBuf>,
}

/// A server's side, TLS 1.2 and 1.3.
pub fn server(files: &ServerFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = match &files.client_ca {
        None => ServerConfig::builder().with_no_client_auth(),
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder(Arc::new(authorities(path)?)).build();
            let verifier = verifier.map_err(|_| TlsError::NoAuthority { path: path.clone() })?;
            ServerConfig::builder().with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(certificates(&files.cert)?, key(&files.key)?);
    let unfit = |source| TlsError::Unfit { path: files.cert.clone(), source };
    config.map(Arc::new).map_err(unfit)
}

/// What a client checks a server against, and what it shows. Files are in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// Those that may have signed the server's certificate; else those that browsers trust.
    pub ca: Option<PathBuf>,
    /// The client's certificate, with those between it and a root, and its key.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// A client's side, TLS 1.2 and 1.3. The server's certificate and its name are always checked.
pub fn client(files: &ClientFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match &files.ca {
        Some(path) => authorities(path)?,
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
    };
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let Some((cert, own_key)) = &files.own else { return Ok(Arc::new(builder.with_no_client_auth())) };
    let config = builder.with_client_auth_cert(certificates(cert)?, key(own_key)?);
    config.map(Arc::new).map_err(|source| TlsError::Unfit { path: cert.clone(), source })
}

/// The certificates in a file, against which others are checked.
pub fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(path)?);
    match added {
        0 => Err(TlsError::NoAuthority { path: path.to_owned() }),
        _ => Ok(roots),
    }
}

/// All certificates in a file, at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    match found.is_empty() {
        true => Err(TlsError::NoCertificate { path: path.to_owned() }),
        false => Ok(found),
    }
}

/// The first private key in a file.
pub fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}
