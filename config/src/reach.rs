//! How a provider is reached: its hosts, or the outbind that it opens, our own address, and TLS.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::problem::Fault;
use crate::section::Section;
use crate::units::{HOUR, IpBlock, MINUTE, SECOND, Secret};

/// Where a provider is, or where we wait for it, and what lies between.
#[derive(Debug, Clone, PartialEq)]
pub struct Reach {
    /// Each attempt begins with another one. Written as `host` and `port`, or as `hosts`; none where there is an `outbind`.
    pub hosts: Vec<Host>,
    /// Where it connects to us and says outbind (SMPP 3.4 §4.1.7). Default none: we connect.
    pub outbind: Option<Outbind>,
    /// The address of ours that connections come from. Default whatever the system takes.
    pub local_address: Option<IpAddr>,
    /// Default none: octets go as they are.
    pub tls: Option<ProviderTls>,
    /// Silence after which the kernel asks whether the connection lives. Default 60 s.
    pub tcp_keepalive: Duration,
    /// How long octets may lie unacknowledged before the connection counts as dead. Default 60 s.
    pub tcp_user_timeout: Duration,
}

/// One host of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Host name or address, resolved at every connection.
    pub name: String,
    /// TCP port, not 0. Default 2775.
    pub port: u16,
}

/// The listener for a provider that connects to us.
#[derive(Debug, Clone, PartialEq)]
pub struct Outbind {
    /// Address and port.
    pub listen: SocketAddr,
    /// Whence it comes; nobody else is listened to. Default empty: from anywhere.
    pub from: Vec<IpBlock>,
    /// What it calls itself; empty: anything.
    pub system_id: String,
    /// What it must know; empty only where it sends none, and then `from` says who it is.
    pub password: Secret,
}

/// TLS to a provider. Its certificate is checked in any case.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderTls {
    /// A PEM file of the authorities that may sign for it; empty: those that browsers trust.
    pub ca: PathBuf,
    /// The name in its certificate; empty: the host's.
    pub server_name: String,
    /// PEM files of our own certificate, with its chain, and its key; empty: we show none.
    pub cert: PathBuf,
    pub key: PathBuf,
}

const PORT: u16 = 2_775;

impl Reach {
    pub(crate) fn read(section: &mut Section<'_>) -> Option<Self> {
        let outbind_written = section.has("outbind");
        let outbind = section.table("outbind", Outbind::read);
        let hosts = read_hosts(section, outbind_written);
        let local_address = section.get("local_address");
        let tls = section.table("tls", |below| Some(ProviderTls::read(below)));
        if tls.is_some() && outbind_written {
            section.problem(&["tls", "outbind"], "is not spoken where the provider connects", "remove one");
        }
        let tcp_keepalive = section.between("tcp_keepalive", SECOND..=HOUR).unwrap_or(MINUTE);
        let tcp_user_timeout = section.between("tcp_user_timeout", SECOND..=HOUR).unwrap_or(MINUTE);
        if outbind_written && outbind.is_none() {
            return None;
        }
        Some(Self { hosts: hosts?, outbind, local_address, tls, tcp_keepalive, tcp_user_timeout })
    }
}

fn read_hosts(section: &mut Section<'_>, has_outbind: bool) -> Option<Vec<Host>> {
    let host = section.checked("host", |host: &String| check_host(host));
    let port = section.between("port", 1..=u16::MAX);
    let hosts = section.checked("hosts", |hosts: &Vec<String>| check_hosts(hosts));
    match (section.has("host"), section.has("hosts")) {
        (_, _) if has_outbind && (section.has("host") || section.has("hosts")) => {
            section.problem(&["outbind", "host"], "stands beside a host", "write one of them");
            None
        }
        (false, false) if has_outbind => Some(Vec::new()),
        (true, true) => {
            section.problem(&["hosts", "host"], "stands beside \"host\"", "write one of them");
            None
        }
        (_, true) if section.has("port") => {
            section.problem(
                &["port"],
                "means nothing beside \"hosts\"",
                "write it behind each host, \"a:2775\"",
            );
            None
        }
        (_, true) => Some(hosts?.iter().filter_map(|host| split(host)).collect()),
        (false, false) => {
            section.require("host");
            None
        }
        (true, false) => Some(vec![Host { name: host?, port: port.unwrap_or(PORT) }]),
    }
}

impl Outbind {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let listen = section.get("listen");
        section.require("listen");
        let from: Option<Vec<IpBlock>> = section.get("from");
        let password = section.secret("password", 0..=64);
        // Whoever came first would be bound to, and so be told our own password.
        let is_open = match &password {
            Some(password) => password.expose().is_empty(),
            None => !section.has("password"),
        };
        if is_open && section.is_sound("from", &from) && from.as_ref().is_none_or(Vec::is_empty) {
            let mend = "write one, or from = [\"192.0.2.7\"] with the addresses that it comes from";
            section.problem(&["password", "listen"], "lets everybody in without a password", mend);
        }
        Some(Self {
            from: from.unwrap_or_default(),
            system_id: section.text("system_id", 0..=15).unwrap_or_default(),
            password: password.unwrap_or(Secret::new("")),
            listen: listen?,
        })
    }
}

impl ProviderTls {
    fn read(section: &mut Section<'_>) -> Self {
        let tls = Self {
            ca: section.get("ca").unwrap_or_default(),
            server_name: section
                .checked("server_name", |name: &String| match name.is_empty() {
                    true => Ok(()),
                    false => check_host(name),
                })
                .unwrap_or_default(),
            cert: section.get("cert").unwrap_or_default(),
            key: section.get("key").unwrap_or_default(),
        };
        if tls.cert.as_os_str().is_empty() != tls.key.as_os_str().is_empty() {
            section.problem(
                &["cert", "key"],
                "stands without the other of cert and key",
                "write both, or neither",
            );
        }
        tls
    }
}

/// A host with its port, `name`, `name:port` or `[address]:port`.
fn split(text: &str) -> Option<Host> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(Host { name: address.ip().to_string(), port: address.port() })
            .filter(|host| host.port != 0);
    }
    if check_host(text).is_ok() {
        return Some(Host { name: text.to_owned(), port: PORT });
    }
    let (name, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    check_host(name).ok().map(|()| Host { name: name.to_owned(), port })
}

fn check_hosts(hosts: &[String]) -> Result<(), Fault> {
    let mend = "write 1 to 16 hosts with their ports, such as [\"a.example.com:2775\", \"192.0.2.7:2775\"]";
    match (1..=16).contains(&hosts.len()) && hosts.iter().all(|host| split(host).is_some()) {
        true => Ok(()),
        // They are not shown: people paste whole addresses, with a password in them.
        false => Err(Fault::new("is not a list of hosts", mend)),
    }
}

fn check_host(host: &str) -> Result<(), Fault> {
    let mend =
        "write a host name or an address alone, such as \"smpp.example.com\"; the port is a key of its own";
    let is_address = host.parse::<IpAddr>().is_ok();
    let is_part = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_');
    match is_address || (!host.is_empty() && host.len() <= 253 && host.chars().all(is_part)) {
        true => Ok(()),
        // It is not shown: people paste whole addresses, with a password in them.
        false => Err(Fault::new("is not a host", mend)),
    }
}
