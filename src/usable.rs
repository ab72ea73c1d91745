//! Whether what the settings name can be used: files of TLS, the key file, the storage directory, addresses that would be listened on
//! twice, senders of tenants. It looks by the functions that a start goes through, makes nothing and takes no port; whether a port is
//! free, a disk has room or a database is whole shows at the start.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use codecs::address;
use config::{Config, Unusable};
use connectors::tls::TlsError;
use rustix::fs::{Access, access};
use storage::OpenError;
use storage::journal;
use storage::layout::Layout;
use storage::secret::{self, SecretError};

use crate::reach::{self, ReachError};
use crate::say::whole;
use crate::store;

/// All that a start would fail for.
pub fn unusable(config: &Config) -> Vec<Unusable> {
    let mut found = Vec::from_iter(storage(config));
    // What is below a directory that cannot be used is mended with it.
    if found.is_empty() || !config.secrets.key_file.starts_with(&config.storage.path) {
        found.extend(key_file(config));
    }
    if let Some(tls) = &config.http.tls {
        found.extend(listener_tls("http", tls));
    }
    if let Some(tls) = config.smpp.tls.as_ref().filter(|_| config.smpp.tls_listen.is_some()) {
        found.extend(listener_tls("smpp", tls));
    }
    for (place, provider) in config.provider.iter().enumerate().filter(|(_, provider)| provider.enabled) {
        let Err(ReachError::Tls { source, .. }) = reach::read_tls(provider) else { continue };
        let tls = provider.reach.tls.as_ref();
        let keys = tls.map_or([("ca", Path::new("")); 2], |tls| [("ca", &tls.ca), ("key", &tls.key)]);
        found.push(tls_problem(&format!("provider.{place}.tls"), &keys, &source));
    }
    found.extend(outbinds(config));
    found.extend(default_senders(config));
    found
}

/// A sender of this kind would be refused in a message as well.
fn default_senders(config: &Config) -> impl Iterator<Item = Unusable> + '_ {
    config.tenant.iter().enumerate().filter_map(|(place, tenant)| {
        let error = address::sender(tenant.default_sender.as_deref()?).err()?;
        let mend = "write at most 11 characters of GSM 7-bit, or a number of at most 15 digits";
        Some(of(&format!("tenant.{place}.default_sender"), &error, mend))
    })
}

fn listener_tls(section: &str, tls: &config::Tls) -> Option<Unusable> {
    let problem = reach::server_tls(Some(tls)).err()?;
    let client_ca = tls.client_ca.as_deref().unwrap_or(Path::new(""));
    Some(tls_problem(&format!("{section}.tls"), &[("client_ca", client_ca), ("key", &tls.key)], &problem))
}

/// The file at fault is the one of these keys, or else the certificate.
fn tls_problem(table: &str, keys: &[(&str, &Path)], problem: &TlsError) -> Unusable {
    let key = keys.iter().find(|(_, path)| *path == problem.path()).map_or("cert", |(key, _)| key);
    let mend = match problem {
        TlsError::Read { .. } => "name a PEM file that can be read by who starts the gateway",
        TlsError::NoCertificate { .. } => "name a PEM file with a certificate in it",
        TlsError::NoAuthority { .. } => "name a PEM file with the certificate of an authority in it",
        TlsError::Unfit { .. } => "name a certificate and the key that it was made for",
    };
    of(&format!("{table}.{key}"), problem, mend)
}

fn of(setting: &str, error: &dyn std::error::Error, mend: &str) -> Unusable {
    Unusable {
        setting: setting.to_owned(),
        message: format!("cannot be used: {}", whole(error)),
        mend: mend.to_owned(),
    }
}

fn storage(config: &Config) -> Option<Unusable> {
    let path = &config.storage.path;
    let problem = |message: String| Unusable {
        setting: "storage.path".to_owned(),
        message: format!("cannot be used: {message}"),
        mend: "name a directory that the gateway may write, or where it may make one".to_owned(),
    };
    match may_write(path) {
        Err(why) => return Some(problem(why)),
        // Nothing is there yet.
        Ok(false) => return None,
        Ok(true) => {}
    }
    if let Err(error) = Layout::new(path).version() {
        let mend = match &error {
            OpenError::Newer { .. } => "or name another directory",
            _ => "start the version that wrote it, or name another directory",
        };
        return Some(of("storage.path", &error, mend));
    }
    let (asked, found) = (store::journal_log(config), journal::kind_of(path).ok()??);
    let error = OpenError::OtherLog { path: Layout::new(path).journal(), found, asked };
    (found != asked).then(|| of("storage.log", &error, &format!("write log = \"{found}\"")))
}

fn key_file(config: &Config) -> Option<Unusable> {
    let path = &config.secrets.key_file;
    match secret::read_existing(path) {
        Err(error) => {
            let mend = match &error {
                SecretError::Exposed { .. } => "let nobody but its owner read it",
                SecretError::Length { .. } => "name the key file that this store was begun with",
                SecretError::Io { .. } => "name a file that the gateway may read, or none: then it makes one",
            };
            Some(of("secrets.key_file", &error, mend))
        }
        Ok(Some(_)) => None,
        Ok(None) => cannot_be_made(path, &config.storage.path),
    }
}

/// Why a start could make no key file there. It makes the storage directory first, and no other.
fn cannot_be_made(path: &Path, storage: &Path) -> Option<Unusable> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let why = match may_write(directory) {
        Ok(true) => return None,
        Ok(false) if directory == storage => return None,
        Ok(false) => format!("there is no directory {}", directory.display()),
        Err(why) => why,
    };
    let message = format!("cannot be used: it is not there and could not be made, since {why}");
    let mend = "name a file in a directory that the gateway may write".to_owned();
    Some(Unusable { setting: "secrets.key_file".to_owned(), message, mend })
}

/// Whether a directory is there. An error where it is none, or may not be written, or could not be made.
fn may_write(directory: &Path) -> Result<bool, String> {
    let shown = directory.display();
    match fs::metadata(directory) {
        Ok(found) if !found.is_dir() => Err(format!("{shown} is no directory")),
        Ok(_) => match access(directory, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => Ok(true),
            Err(error) => Err(format!("{shown} may not be written: {error}")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Nothing is made in the place of a link.
            if let Ok(target) = fs::read_link(directory) {
                return Err(format!(
                    "{shown} is a symbolic link to {}, which is not there",
                    target.display()
                ));
            }
            let above: PathBuf = match directory.parent() {
                Some(above) if above.as_os_str().is_empty() => ".".into(),
                Some(above) => above.to_owned(),
                None => return Ok(false),
            };
            may_write(&above).map(|_| false)
        }
        Err(error) => Err(format!("{shown} cannot be looked at: {error}")),
    }
}

/// Listeners for providers that have the address of another one.
fn outbinds(config: &Config) -> Vec<Unusable> {
    let mut taken: Vec<(String, SocketAddr)> = vec![
        ("http.listen".to_owned(), config.http.listen),
        ("smpp.listen".to_owned(), config.smpp.listen),
        ("ops.listen".to_owned(), config.ops.listen),
    ];
    taken.extend(config.smpp.tls_listen.map(|listen| ("smpp.tls_listen".to_owned(), listen)));
    let mut found = Vec::new();
    for (place, provider) in config.provider.iter().enumerate().filter(|(_, provider)| provider.enabled) {
        let Some(outbind) = &provider.reach.outbind else { continue };
        let setting = format!("provider.{place}.outbind.listen");
        let other = taken.iter().find(|(_, listen)| *listen == outbind.listen && listen.port() != 0);
        if let Some((other, _)) = other {
            let message = format!("is the address of {other}");
            let mend = "give each a port of its own".to_owned();
            found.push(Unusable { setting: setting.clone(), message, mend });
        }
        taken.push((setting, outbind.listen));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls");

    /// What is wrong with these settings, each with its line.
    fn wrong(toml: &str) -> Vec<(u32, String)> {
        let loaded = config::load_usable(Some(("test.toml", toml)), [], config::Profiles::NONE, unusable);
        let problems = loaded.err().unwrap_or_default();
        assert!(problems.iter().all(|problem| problem.file == "test.toml" && !problem.mend.is_empty()));
        problems.into_iter().map(|problem| (problem.line, problem.message)).collect()
    }

    /// In a directory with a file that is none of what is wanted, a link to nothing, a key that others may read, and a store of tomorrow.
    #[test]
    fn what_a_start_would_fail_for_is_told_with_the_line_of_its_setting() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path().display();
        fs::write(directory.path().join("words"), "words").unwrap();
        fs::write(directory.path().join("exposed"), [7; 32]).unwrap();
        fs::set_permissions(directory.path().join("exposed"), fs::Permissions::from_mode(0o644)).unwrap();
        symlink("not-mounted", directory.path().join("link")).unwrap();
        fs::create_dir(directory.path().join("tomorrow")).unwrap();
        fs::write(directory.path().join("tomorrow/FORMAT"), "tidegate store 99\n").unwrap();
        fs::create_dir_all(directory.path().join("segments/journal")).unwrap();
        fs::write(directory.path().join("segments/journal/0000000000000001.segment"), "").unwrap();
        let provider = |keys: &str| format!("[[provider]]\nid = 'up'\nsystem_id = 'up'\n{keys}\n");
        let tenant = |keys: &str| format!("[[tenant]]\nid = 'a'\ncurrency = 'KES'\nprice = '1'\n{keys}\n");
        let good = format!("cert = '{TLS}/cert.pem', key = '{TLS}/key.pem'");
        let store = format!("[storage]\npath = '{here}/store'\n");
        let table = [
            (format!("[http]\ntls = {{ {good} }}"), None),
            (
                format!("[http]\ntls = {{ cert = '{here}/none.pem', key = '{TLS}/key.pem' }}"),
                Some((2, "http.tls.cert")),
            ),
            (format!("[http.tls]\ncert = '{TLS}/cert.pem'\nkey = '{here}/words'"), Some((3, "http.tls.key"))),
            (
                format!("[http]\ntls = {{ cert = '{TLS}/client.pem', key = '{TLS}/key.pem' }}"),
                Some((2, "http.tls.cert")),
            ),
            (
                format!("[smpp]\ntls_listen = '127.0.0.1:0'\ntls = {{ {good}, client_ca = '{here}/words' }}"),
                Some((3, "smpp.tls.client_ca")),
            ),
            (provider(&format!("host = 'a'\ntls = {{ ca = '{TLS}/client_ca.pem' }}")), None),
            (provider("host = 'a'\ntls = { ca = '/none.pem' }"), Some((5, "provider.0.tls.ca"))),
            (provider("host = 'a'\nenabled = false\ntls = { ca = '/none.pem' }"), None),
            (
                provider(&format!("host = 'a'\ntls = {{ cert = '{TLS}/client.pem', key = '{here}/none' }}")),
                Some((5, "provider.0.tls.key")),
            ),
            (
                provider("outbind = { listen = '127.0.0.1:2775', password = 'open' }"),
                Some((4, "provider.0.outbind.listen")),
            ),
            (tenant("default_sender = 'ACME'"), None),
            (tenant("default_sender = 'ACME Company'"), Some((5, "tenant.0.default_sender"))),
            (tenant("default_sender = 'АКМЕ'"), Some((5, "tenant.0.default_sender"))),
            (format!("[secrets]\nkey_file = '{here}/exposed'"), Some((2, "secrets.key_file"))),
            (format!("[secrets]\nkey_file = '{here}/words'"), Some((2, "secrets.key_file"))),
            (format!("[secrets]\nkey_file = '{here}/none/key'"), Some((2, "secrets.key_file"))),
            (format!("[secrets]\nkey_file = '{here}/key'"), None),
            (store.clone(), None),
            (format!("[storage]\npath = '{here}/words'"), Some((2, "storage.path"))),
            (format!("[storage]\npath = '{here}/words/below'"), Some((2, "storage.path"))),
            (format!("[storage]\npath = '{here}/tomorrow'"), Some((2, "storage.path"))),
            (format!("[storage]\npath = '{here}/link'"), Some((2, "storage.path"))),
            (format!("[storage]\npath = '{here}/link/below'"), Some((2, "storage.path"))),
            (format!("[storage]\npath = '{here}/segments'\nlog = 'sled'"), Some((3, "storage.log"))),
            (format!("[storage]\npath = '{here}/segments'\nlog = 'segments'"), None),
        ];
        for (settings, expected) in table {
            let in_store = if settings.contains("[storage]") { "" } else { &store };
            let found = wrong(&[&settings, "\n", in_store].concat());
            let shown: Vec<(u32, &str)> = found
                .iter()
                .map(|(line, text)| (*line, text.split(' ').next().unwrap_or_default()))
                .collect();
            assert_eq!(shown, Vec::from_iter(expected), "{settings}: {found:?}");
        }
        let mut left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["exposed", "link", "segments", "tomorrow", "words"], "something was made");
    }
}
