//! Settings files for tests: entries with values that suit a test, each of which a test may replace.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// A key and its value as TOML writes it.
pub type Entry<'a> = (&'a str, &'a str);

pub const KEY: &str = "tg_live_acme";
pub const SYSTEM_ID: &str = "acme";
pub const PASSWORD: &str = "secret";
pub const OPENING: &str = "1000.00";

/// A gateway with one provider and one tenant.
pub fn plain(provider_at: SocketAddr) -> String {
    [provider("up", provider_at, &[]), tenant(&[])].concat()
}

/// A provider of kind smpp that is impatient enough for a test.
pub fn provider(id: &str, at: SocketAddr, more: &[Entry<'_>]) -> String {
    let (id, host, port) = (format!("\"{id}\""), format!("\"{}\"", at.ip()), at.port().to_string());
    let usual = [
        ("id", id.as_str()),
        ("host", &host),
        ("port", &port),
        ("system_id", "\"gateway\""),
        ("password", "\"pass\""),
        ("window", "50"),
        ("in_doubt_wait", "\"300ms\""),
        ("reconnect", "{ min = \"10ms\", max = \"100ms\" }"),
        ("retry", "{ attempts = 5, min = \"20ms\", max = \"100ms\" }"),
    ];
    table("provider", &usual, more)
}

/// The tenant `acme`, whose messages cost 1.00 a part.
pub fn tenant(more: &[Entry<'_>]) -> String {
    let usual = [
        ("id", "\"acme\""),
        ("api_keys", "[\"tg_live_acme\"]"),
        ("smpp", "{ system_id = \"acme\", password = \"secret\", max_binds = 4, window = 100 }"),
        ("currency", "\"KES\""),
        ("balance", "\"1000.00\""),
        ("price", "\"1.00\""),
    ];
    table("tenant", &usual, more)
}

/// A table of a list; what is in `more` replaces what is usual.
pub fn table(name: &str, usual: &[Entry<'_>], more: &[Entry<'_>]) -> String {
    let is_replaced = |key: &str| more.iter().any(|(replaced, _)| *replaced == key);
    let kept = usual.iter().filter(|(key, _)| !is_replaced(key));
    let lines = kept.chain(more).map(|(key, value)| format!("{key} = {value}\n"));
    format!("[[{name}]]\n{}\n", lines.collect::<String>())
}

/// An address on loopback where nobody listens.
pub fn nowhere() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}
