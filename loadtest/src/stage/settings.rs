//! The gateway's settings for a measurement, as text: tenants, providers, routes and prices in any number. It knows the names
//! of the settings and nothing else of the gateway.

use std::{
    fmt::Write,
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
};

use clap::{Args, Parser};

/// The names of what `write` makes.
pub const SETTINGS: &str = "tidegate.toml";
pub const TENANTS: &str = "tenants";

/// What a gateway is set up with.
#[derive(Debug, Clone, Args)]
// The command `settings` is a group of this name as well.
#[group(id = "gateway")]
pub struct Settings {
    /// Where all providers are: the address of `loadtest smsc`.
    #[arg(long, default_value = "127.0.0.1:2776")]
    pub smsc: SocketAddr,
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,
    #[arg(long, default_value = "127.0.0.1:2775")]
    pub smpp: SocketAddr,
    #[arg(long, default_value = "127.0.0.1:9464")]
    pub ops: SocketAddr,
    /// Tenants; the first is `bench`.
    #[arg(long, default_value_t = 1)]
    pub tenants: u32,
    /// Binds that a tenant may have.
    #[arg(long, default_value_t = 8)]
    pub tenant_binds: u32,
    /// Unanswered requests on a tenant's bind.
    #[arg(long, default_value_t = 1000)]
    pub tenant_window: u32,
    #[arg(long, default_value_t = 1)]
    pub providers: u32,
    /// Binds of each provider, and the window of each.
    #[arg(long, default_value_t = 4)]
    pub binds: u32,
    #[arg(long, default_value_t = 1000)]
    pub window: u32,
    /// Parts a second of each provider; 0: no limit.
    #[arg(long, default_value_t = 0)]
    pub throughput: u32,
    /// Routes, and as many prices; more than one are for prefixes of eight digits, each to two of the providers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub routes: u32,
    /// More settings, as TOML.
    #[arg(long, default_value = "")]
    pub more: String,
}

impl Default for Settings {
    /// What the command line has for what is not given.
    fn default() -> Self {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            settings: Settings,
        }
        Line::parse_from(["settings"]).settings
    }
}

impl Settings {
    /// The defaults with doors on ports that nobody has now.
    ///
    /// # Errors
    /// No port is free.
    pub fn on_free_ports(smsc: SocketAddr) -> io::Result<Self> {
        let [http, smpp, ops] = free_ports()?;
        Ok(Self { smsc, http, smpp, ops, ..Self::default() })
    }

    /// Writes the settings, and the list of tenants for `loadtest smpp --tenants`.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join(SETTINGS), self.toml())?;
        fs::write(directory.join(TENANTS), self.logins())
    }

    /// A tenant's system_id, which is its password as well.
    #[must_use]
    pub fn tenant(place: u32) -> String {
        if place == 0 { "bench".into() } else { format!("tenant{place}") }
    }

    /// A tenant's key of the HTTP API.
    #[must_use]
    pub fn key(place: u32) -> String {
        format!("tg_live_{}", Self::tenant(place))
    }

    fn logins(&self) -> String {
        (0..self.tenants).map(Self::tenant).map(|name| format!("{name} {name}\n")).collect()
    }

    fn toml(&self) -> String {
        let Self { http, smpp, ops, more, .. } = self;
        let mut text = format!(
            "{more}\n[http]\nlisten = \"{http}\"\n[smpp]\nlisten = \"{smpp}\"\n[ops]\nlisten = \"{ops}\"\n\
             [storage]\npath = \"data\"\nreserve = \"256MiB\"\nreserve_percent = 1\n\n"
        );
        // Writing to a String cannot fail.
        for place in 0..self.providers {
            let _ = self.provider(&mut text, place);
        }
        for place in 0..self.tenants {
            let _ = self.tenant_entry(&mut text, place);
        }
        let _ = self.routes(&mut text);
        text
    }

    fn provider(&self, text: &mut String, place: u32) -> std::fmt::Result {
        let (host, port) = (self.smsc.ip(), self.smsc.port());
        writeln!(
            text,
            "[[provider]]\nid = \"up{place}\"\nkind = \"smpp\"\nhost = \"{host}\"\nport = {port}"
        )?;
        writeln!(text, "system_id = \"up{place}\"\npassword = \"bench\"\nbinds = {}", self.binds)?;
        writeln!(text, "window = {}\nthroughput = {}\n", self.window, self.throughput)
    }

    fn tenant_entry(&self, text: &mut String, place: u32) -> std::fmt::Result {
        let (name, key, window) = (Self::tenant(place), Self::key(place), self.tenant_window);
        let binds = self.tenant_binds;
        let price = if self.routes > 1 { "rates = \"many\"" } else { "price = \"1.00\"" };
        writeln!(text, "[[tenant]]\nid = \"{name}\"\napi_keys = [\"{key}\"]")?;
        writeln!(
            text,
            "smpp = {{ system_id = \"{name}\", password = \"{name}\", max_binds = {binds}, window = {window} }}"
        )?;
        writeln!(text, "currency = \"KES\"\nbalance = \"1000000000\"\npriority = \"high\"\n{price}\n")
    }

    fn routes(&self, text: &mut String) -> std::fmt::Result {
        if self.routes == 1 {
            return writeln!(text, "[[route]]\nmatch = {{ prefix = [\"254\"] }}\nproviders = [\"up0\"]");
        }
        for place in 0..self.routes {
            let (first, second) = (place % self.providers, (place + 1) % self.providers);
            let both = if first == second { String::new() } else { format!(", \"up{second}\"") };
            writeln!(text, "[[route]]\nmatch = {{ prefix = [\"2547{place:04}\"] }}")?;
            writeln!(text, "providers = [\"up{first}\"{both}]\n")?;
        }
        text.push_str("[rates.many]\n");
        for place in 0..self.routes {
            writeln!(text, "2547{place:04} = \"1.00\"")?;
        }
        Ok(())
    }
}

/// Ports of loopback that were free a moment ago.
///
/// # Errors
/// There is none.
pub fn free_ports<const COUNT: usize>() -> io::Result<[SocketAddr; COUNT]> {
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); COUNT];
    let mut held = Vec::new();
    for address in &mut addresses {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        held.push(listener);
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_of_each_as_asked_for() {
        let settings = Settings { tenants: 1_000, providers: 50, routes: 10_000, ..Settings::default() };
        let read: toml::Table = settings.toml().parse().unwrap();
        let count = |list: &str| read[list].as_array().unwrap().len();
        assert_eq!((count("tenant"), count("provider"), count("route")), (1_000, 50, 10_000));
        assert_eq!(read["rates"]["many"].as_table().unwrap().len(), 10_000);
        assert_eq!(settings.logins().lines().last(), Some("tenant999 tenant999"));
        let one: toml::Table = Settings::default().toml().parse().unwrap();
        assert_eq!((one["tenant"][0]["id"].as_str(), one.get("rates")), (Some("bench"), None));
    }

    #[test]
    fn ports_that_are_free_are_different() {
        let [one, other] = free_ports().unwrap();
        assert_ne!(one, other);
    }
}
