//! The first minute of a gateway: an administrator and, where nobody has configured a tenant, the tenant `demo`, made once and
//! kept in the catalog, and what is printed at the start. Keys are kept as hashes, the SMPP password sealed; only the first start
//! knows them in the clear. The administrator's key is also in a file of the store that only its owner can read, where the
//! commands find it.
//!
//! The demo tenant stands while the settings name no tenant: with the operator's own it is not let in.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use config::{Config, Tenant};
use serde::{Deserialize, Serialize};
use storage::StoreError;
use storage::catalog::Catalog;
use storage::secret::SecretError;

use crate::directory::{Account, Entries};
use crate::secrets::{self, KeyHash, Unsealable, Vault, sha256};
use crate::tlv_names::TlvNames;

const DEMO: &str = "demo";
/// Where the records stand in the catalog.
const DEMO_RECORD: &str = "tenants/demo";
const ADMINISTRATOR_RECORD: &str = "administrators/first";
/// Where the second printed line finds the answer to the first, whichever shell it is pasted into.
const ANSWER_FILE: &str = "/tmp/tidegate-hello.json";

#[derive(Debug, thiserror::Error)]
pub enum FirstRunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    KeyFile(#[from] SecretError),
    #[error(
        "the demo tenant of the first start: {0}: put the one in its place that was used then, or name it in [secrets] key_file"
    )]
    Unsealable(#[from] Unsealable),
    #[error("the catalog's {0} is damaged: put the catalog back from a backup")]
    Damaged(&'static str),
}

/// What was made at the first start, as far as this start needs it.
#[derive(Debug, Default)]
pub struct FirstRun {
    demo: Option<Demo>,
}

/// Who may change what is running.
#[derive(Debug)]
pub struct Administrator {
    pub key_hash: KeyHash,
    /// On the very first start only.
    made: Option<Made>,
}

/// A key as it is printed once, and the file that holds it.
struct Made {
    key: String,
    file: PathBuf,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("***")
    }
}

#[derive(Debug)]
struct Demo {
    key_hash: KeyHash,
    /// On the very first start only.
    shown: Option<Shown>,
}

/// What is printed once and kept nowhere.
struct Shown {
    api_key: String,
    smpp_password: String,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("***")
    }
}

/// Where the gateway listens, for those who are to find it.
#[derive(Clone, Copy, Debug)]
pub struct Announcement {
    pub http: SocketAddr,
    pub http_is_tls: bool,
    pub smpp: SocketAddr,
    pub smpp_tls: Option<SocketAddr>,
    pub ops: SocketAddr,
    /// Messages go to the simulated provider.
    pub sandbox: bool,
}

#[derive(Serialize, Deserialize)]
struct DemoRecord {
    api_key_sha256: KeyHash,
    smpp_password_sealed: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct AdministratorRecord {
    key_sha256: KeyHash,
    /// Where the key is not that of the first start.
    #[serde(default)]
    renewed: Option<Renewed>,
}

#[derive(Serialize, Deserialize)]
struct Renewed {
    at: String,
    reason: String,
}

/// The administrator of the first start, or a new one whose key is kept in `file`. The record is written last: while it is
/// missing, the next start makes another.
pub fn administrator(catalog: &mut Catalog, file: PathBuf) -> Result<Administrator, FirstRunError> {
    if let Some(record) = catalog.get(ADMINISTRATOR_RECORD)? {
        let record: AdministratorRecord =
            serde_json::from_slice(&record).map_err(|_| FirstRunError::Damaged(ADMINISTRATOR_RECORD))?;
        if let Some(Renewed { at, reason }) = &record.renewed {
            tracing::info!(at, reason, "the administrator's key was renewed");
        }
        return Ok(Administrator { key_hash: record.key_sha256, made: None });
    }
    make_administrator(catalog, file, None)
}

/// Another key in the place of the one that there is, which is kept in `file` too.
pub fn renew_administrator(
    catalog: &mut Catalog,
    file: PathBuf,
    at: String,
    reason: String,
) -> Result<Administrator, FirstRunError> {
    make_administrator(catalog, file, Some(Renewed { at, reason }))
}

fn make_administrator(
    catalog: &mut Catalog,
    file: PathBuf,
    renewed: Option<Renewed>,
) -> Result<Administrator, FirstRunError> {
    let key = secrets::new_admin_key();
    let key_hash = sha256(key.as_bytes());
    storage::secret::write(&file, format!("{key}\n").as_bytes())?;
    put(catalog, ADMINISTRATOR_RECORD, &AdministratorRecord { key_sha256: key_hash, renewed })?;
    Ok(Administrator { key_hash, made: Some(Made { key, file }) })
}

/// Where no tenant is configured, adds the demo tenant to the settings: the one of the first start, or a new one.
pub fn tenants(config: &mut Config, catalog: &mut Catalog, vault: &Vault) -> Result<FirstRun, FirstRunError> {
    if !config.is_empty_of_tenants() {
        return Ok(FirstRun::default());
    }
    let (demo, password) = match catalog.get(DEMO_RECORD)? {
        Some(record) => kept(&record, vault)?,
        None => made(catalog, vault)?,
    };
    config.tenant.push(tenant(&password));
    Ok(FirstRun { demo: Some(demo) })
}

fn kept(record: &[u8], vault: &Vault) -> Result<(Demo, String), FirstRunError> {
    let damaged = || FirstRunError::Damaged(DEMO_RECORD);
    let record: DemoRecord = serde_json::from_slice(record).map_err(|_| damaged())?;
    let password = vault.open(DEMO_RECORD, &record.smpp_password_sealed)?;
    let password = String::from_utf8(password).map_err(|_| damaged())?;
    Ok((Demo { key_hash: record.api_key_sha256, shown: None }, password))
}

/// The tenant's record is written last: while it is missing, nothing of this start was printed, and the next makes all anew.
fn made(catalog: &mut Catalog, vault: &Vault) -> Result<(Demo, String), FirstRunError> {
    let shown = Shown { api_key: secrets::new_live_key(), smpp_password: secrets::new_smpp_password() };
    let key_hash = sha256(shown.api_key.as_bytes());
    let smpp_password_sealed = vault.seal(DEMO_RECORD, shown.smpp_password.as_bytes());
    put(catalog, DEMO_RECORD, &DemoRecord { api_key_sha256: key_hash, smpp_password_sealed })?;
    let password = shown.smpp_password.clone();
    Ok((Demo { key_hash, shown: Some(shown) }, password))
}

fn put(catalog: &mut Catalog, key: &str, record: &impl Serialize) -> Result<(), FirstRunError> {
    let bytes = serde_json::to_vec(record).expect("octets and numbers always serialize");
    Ok(catalog.put(key, &bytes)?)
}

/// The entry that a file would hold for it.
fn tenant(password: &str) -> Tenant {
    let entry = format!(
        "[[tenant]]\nid = \"{DEMO}\"\nname = \"Demo\"\ncurrency = \"KES\"\nbalance = \"1000.00\"\nprice = \"1.00\"\n\
         default_sender = \"Tidegate\"\nsmpp = {{ system_id = \"{DEMO}\", password = \"{password}\" }}\n"
    );
    let config = config::load(Some((DEMO, &entry)), []);
    let tenant = config.ok().and_then(|mut config| config.tenant.pop());
    tenant.expect("the demo tenant's entry is a valid one")
}

impl FirstRun {
    /// The doors' directory. The names stand at their permanent numbers, those that have gone included.
    pub fn entries(&self, config: &Config, tenant_names: &[String], provider_names: &[String]) -> Entries {
        let demo_key = self.demo.as_ref().map(|demo| demo.key_hash);
        let accounts = config.tenant.iter().filter_map(|tenant| {
            let number = tenant_names.iter().position(|name| *name == tenant.id)?;
            let key_hashes = match &demo_key {
                Some(hash) if tenant.id == DEMO => std::slice::from_ref(hash),
                _ => &[],
            };
            Some(Account { number: u32::try_from(number).ok()?, tenant, key_hashes })
        });
        let providers = (0..).zip(provider_names.iter().cloned());
        Entries::new(accounts, providers, TlvNames::new(&config.provider))
    }

    /// What is printed when the gateway is up. Secrets are in it on the first start only.
    pub fn announce(&self, at: &Announcement, administrator: &Administrator) -> String {
        let mut text = String::from("Tidegate is running.\n\n");
        // Writing to a string does not fail.
        let _ = writeln!(text, "  HTTP API     {}", http_url(at));
        let _ = writeln!(text, "  SMPP         {}", reachable(at.smpp));
        if let Some(listen) = at.smpp_tls {
            let _ = writeln!(text, "  SMPP, TLS    {}", reachable(listen));
        }
        let _ = writeln!(text, "  operations   http://{}  (/metrics, /healthz, /readyz)", reachable(at.ops));
        if at.sandbox {
            text.push_str("\nNo provider is configured: a simulated one delivers everything, and no message leaves this machine.\n");
        }
        if let Some(made) = &administrator.made {
            let file = made.file.display();
            let _ = writeln!(
                text,
                "\nThe administrator's key, for commands such as `tidegate queue list`, is in {file}, which only you can read."
            );
        }
        match self.demo.as_ref().map(|demo| &demo.shown) {
            Some(Some(shown)) => text.push_str(&first_words(shown, at, administrator)),
            Some(None) => text.push_str(
                "\nThe tenant \"demo\" is the one of the first start, which printed its keys. They are kept nowhere in the\n\
                 clear; who has lost them stops the gateway, removes its storage directory and starts anew.\n",
            ),
            None => {}
        }
        text
    }
}

fn http_url(at: &Announcement) -> String {
    let scheme = if at.http_is_tls { "https" } else { "http" };
    format!("{scheme}://{}", reachable(at.http))
}

fn first_words(shown: &Shown, at: &Announcement, administrator: &Administrator) -> String {
    let url = format!("{}/v1/messages", http_url(at));
    let key = &shown.api_key;
    let password = &shown.smpp_password;
    let administrator_key = administrator.made.as_ref().map_or("made at an earlier start", |made| &made.key);
    let find_id = r#"s/.*"id":"\([0-9]*\)".*/\1/p"#;
    format!(
        r#"
Made for you, and shown this once:

  administrator   {administrator_key}
  tenant          {DEMO}, with 1000.00 KES; a part costs 1.00
  API key         {key}
  SMPP            system_id {DEMO}, password {password}

Send a message (paste this line into another terminal):

curl -sw '\n' {url} -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{{"to":"+254712345678","text":"Hello from Tidegate"}}' | tee {ANSWER_FILE}

See what became of it:

sleep 1; curl -sw '\n' {url}/$(sed -n '{find_id}' {ANSWER_FILE}) -H 'Authorization: Bearer {key}'
"#
    )
}

/// An address that a program on this machine can connect to: who listens everywhere listens on loopback too.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Directory;

    const AT: Announcement = Announcement {
        http: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080),
        http_is_tls: false,
        smpp_tls: None,
        smpp: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2775),
        ops: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464),
        sandbox: true,
    };

    fn vault() -> Vault {
        Vault::new([7; 32], std::path::Path::new("secret.key"))
    }

    /// One start over a catalog: its settings, what it made, and what it prints.
    fn start(directory: &std::path::Path, toml: &str) -> (Config, FirstRun, String) {
        let mut catalog = Catalog::open(directory).unwrap();
        let mut config = config::load(Some(("test.toml", toml)), []).unwrap();
        let administrator = administrator(&mut catalog, directory.join("administrator.key")).unwrap();
        let first_run = tenants(&mut config, &mut catalog, &vault()).unwrap();
        let text = first_run.announce(&AT, &administrator);
        (config, first_run, text)
    }

    fn after<'t>(text: &'t str, mark: &str) -> &'t str {
        let found = text.split(mark).nth(1).unwrap_or_else(|| panic!("no {mark:?} in {text}"));
        found.split_whitespace().next().unwrap()
    }

    #[test]
    fn the_first_start_makes_a_tenant_and_the_second_finds_it() {
        let directory = tempfile::tempdir().unwrap();
        let (config, first_run, text) = start(directory.path(), "");
        let key = after(&text, "API key").to_owned();
        let password = after(&text, "password").to_owned();
        let doors = Directory::new(first_run.entries(&config, &["demo".into()], &[]));
        assert!(doors.by_key(key.as_bytes()).is_some_and(|tenant| tenant.number == 0));

        let (config, first_run, text) = start(directory.path(), "");
        assert_eq!(config.tenant.len(), 1);
        assert!(!text.contains(&key) && !text.contains(&password) && !text.contains("tg_"), "{text}");
        let doors =
            Directory::new(first_run.entries(&config, &["gone".into(), "demo".into()], &["up".into()]));
        assert!(doors.by_key(key.as_bytes()).is_some_and(|tenant| tenant.number == 1));
        let account = doors.by_system_id("demo").unwrap();
        assert!(account.smpp.as_ref().unwrap().password.is_right(password.as_bytes()));
        assert_eq!(doors.provider(0).as_deref(), Some("up"));
    }

    #[test]
    fn the_administrators_key_is_kept_for_its_owner_and_its_hash_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let (_, _, text) = start(directory.path(), "");
        let file = directory.path().join("administrator.key");
        let key = std::fs::read_to_string(&file).unwrap();
        assert_eq!(key.trim(), after(&text, "administrator  "));
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        // Who takes the file away keeps the key elsewhere.
        std::fs::remove_file(&file).unwrap();
        let (_, _, text) = start(directory.path(), "");
        let mut catalog = Catalog::open(directory.path()).unwrap();
        let found = administrator(&mut catalog, file.clone()).unwrap();
        assert!(!text.contains("tg_admin") && !file.exists());
        assert_eq!(found.key_hash, sha256(key.trim().as_bytes()));
        catalog.put(ADMINISTRATOR_RECORD, b"{}").unwrap();
        let error = administrator(&mut catalog, file).unwrap_err();
        assert!(matches!(error, FirstRunError::Damaged(ADMINISTRATOR_RECORD)), "{error}");
    }

    #[test]
    fn a_configured_tenant_leaves_no_demo() {
        let directory = tempfile::tempdir().unwrap();
        let toml =
            "[[tenant]]\nid = \"acme\"\ncurrency = \"KES\"\nprice = \"1\"\napi_keys = [\"tg_live_acme\"]\n";
        let (config, first_run, text) = start(directory.path(), toml);
        assert_eq!(config.tenant.len(), 1);
        assert!(!text.contains("demo") && !text.contains("tg_"), "{text}");
        let doors = Directory::new(first_run.entries(&config, &["acme".into()], &[]));
        assert!(doors.by_key(b"tg_live_acme").is_some());
        assert!(Catalog::open(directory.path()).unwrap().get(DEMO_RECORD).unwrap().is_none());
    }

    #[test]
    fn nothing_secret_is_kept_in_the_clear() {
        let directory = tempfile::tempdir().unwrap();
        let (_, _, text) = start(directory.path(), "");
        let catalog = Catalog::open(directory.path()).unwrap();
        let kept: Vec<u8> = catalog.iterate("").flat_map(|pair| pair.unwrap().1).collect();
        assert!(!kept.is_empty());
        for mark in ["administrator", "API key", "password"] {
            let secret = after(&text, mark);
            assert!(!kept.windows(secret.len()).any(|window| window == secret.as_bytes()), "{mark}");
        }
    }

    #[test]
    fn another_key_file_is_told_by_name() {
        let directory = tempfile::tempdir().unwrap();
        start(directory.path(), "");
        let mut catalog = Catalog::open(directory.path()).unwrap();
        let error = tenants(
            &mut Config::default(),
            &mut catalog,
            &Vault::new([8; 32], std::path::Path::new("secret.key")),
        )
        .unwrap_err();
        assert!(matches!(error, FirstRunError::Unsealable(_)), "{error}");
        catalog.put(DEMO_RECORD, b"{}").unwrap();
        let error = tenants(&mut Config::default(), &mut catalog, &vault()).unwrap_err();
        assert!(matches!(error, FirstRunError::Damaged(DEMO_RECORD)), "{error}");
    }

    /// The two lines go through a real shell, with a `curl` that shows what it was asked and answers as the API does.
    #[test]
    fn the_printed_lines_can_be_pasted() {
        let directory = tempfile::tempdir().unwrap();
        let (_, _, text) = start(&directory.path().join("catalog"), "");
        let key = after(&text, "API key");
        let curl = directory.path().join("curl");
        std::fs::write(
            &curl,
            "#!/bin/sh\nprintf '{\"id\":\"123456789012345678\",\"asked\":\"%s\"}' \"$*\" | tr -d '\\n'\n",
        )
        .unwrap();
        std::fs::set_permissions(&curl, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let answer = directory.path().join("answer.json");
        let run = |line: &str| {
            let line = line.replace(ANSWER_FILE, answer.to_str().unwrap()).replace("sleep 1; ", "");
            let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
            let output =
                std::process::Command::new("sh").args(["-c", &line]).env("PATH", path).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("curl ")).collect();
        assert_eq!(lines.len(), 2, "{text}");
        let sent = run(lines[0]);
        assert!(
            sent.contains("http://127.0.0.1:8080/v1/messages ") && sent.contains("+254712345678"),
            "{sent}"
        );
        assert!(sent.contains(&format!("Bearer {key}")), "{sent}");
        let shown = run(lines[1]);
        assert!(shown.contains("http://127.0.0.1:8080/v1/messages/123456789012345678 "), "{shown}");
    }
}
