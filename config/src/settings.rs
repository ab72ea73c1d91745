//! The sections of the settings that exist once, resolved: every value typed, in range and complete.
//! The defaults stand in `default.toml` alone; providers, tenants and routes have files of their own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::inbound::{Kept, Phones};
use crate::problem::Fault;
use crate::section::Section;
use crate::units::{DAY, HOUR, IpBlock, MINUTE, SECOND, Size};
use crate::words::{Durability, JournalLog};

/// `[http]`: the listener of the API.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Address and port; port 0 takes a free one. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// Where given, the listener speaks TLS and nothing else.
    pub tls: Option<Tls>,
}

/// `tls` of a listener: what it shows. Files are in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Its certificate, and those between it and a root.
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Clients must show a certificate that one of these has signed. Default none: they need none.
    pub client_ca: Option<PathBuf>,
}

/// `[smpp]`: the listener for tenants' binds.
#[derive(Debug, Clone, PartialEq)]
pub struct Smpp {
    /// Address and port; port 0 takes a free one. Default `127.0.0.1:2775`.
    pub listen: SocketAddr,
    /// A second listener, which speaks TLS; with `tls`, and not without. Default none.
    pub tls_listen: Option<SocketAddr>,
    pub tls: Option<Tls>,
    /// Balancers whose connections begin with a PROXY header, which says whence they come. Default none.
    pub proxy_protocol: Vec<IpBlock>,
    /// The name in our bind responses, 1 to 15 octets of ASCII. Default `tidegate`.
    pub system_id: String,
    /// The command_status of a submit_sm without credit. Default `0x0000040B`, in the range left to vendors
    /// (SMPP 3.4 §5.1.3); `0x0` is refused, as it would be a success.
    pub no_credit_status: u32,
}

/// `[ops]`: the operations listener, with metrics and health.
#[derive(Debug, Clone, PartialEq)]
pub struct Ops {
    /// Address and port; port 0 takes a free one. Default `127.0.0.1:9464`.
    pub listen: SocketAddr,
}

/// `[serve]`: the life of the process.
#[derive(Debug, Clone, PartialEq)]
pub struct Serve {
    /// How long SIGTERM waits for responses still out before it unbinds, which may take five seconds more. Default 15 s.
    pub drain_timeout: Duration,
}

/// `[storage]`: where and how what was acknowledged is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    /// The directory of journal, archive and catalog; created when absent. Default `tidegate-data`, below the
    /// directory the process was started in.
    pub path: PathBuf,
    /// What the journal is kept in; one that was begun in the other is refused. Default `sled`.
    pub log: JournalLog,
    /// What an acknowledgement waits for. Default `fsync`.
    pub durability: Durability,
    /// How long finished messages are kept at least. They go by the month, or by the eighth of this where that is shorter.
    /// Default 400 d, least 1 h.
    pub retention: Duration,
    /// The least size of the journal's ring; it grows to four times its living octets. Default 192 MiB, which a start reads in about a second; least 1 MiB.
    pub ring: Size,
    /// Free space below which intake is refused; the larger of this and `reserve_percent` holds. Default 2 GiB.
    pub reserve: Size,
    /// The same in percent of the file system, 0 to 50. Default 5.
    pub reserve_percent: u8,
}

/// `[secrets]`: what encrypts credentials at rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Secrets {
    /// A file of 32 octets, created with mode 0600 when absent. Default `secret.key` below `storage.path`, which is
    /// what an empty value means.
    pub key_file: PathBuf,
}

/// `[queue]`: how much may wait.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// Messages that wait in memory, of all tenants; beyond, the newest wait on disk. Default 1,000,000.
    pub memory: u64,
    /// Messages that wait, in memory and on disk; more are refused (`queue_full`, ESME_RMSGQFUL). Default 20,000,000.
    pub max: u64,
    /// Messages of one tenant that may wait; more are refused (`queue_full`, ESME_RMSGQFUL). Default 10,000,000.
    pub per_tenant: u64,
    /// Receipts, and messages from phones, that may wait for a session of their tenants, of all together.
    pub untold: u64,
    /// How long a message without a validity of its own may wait before it expires. Default 72 h.
    pub validity: Duration,
}

/// `[limits]`: what strangers may do to us.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// The longest PDU read, 1 KiB to 16 MiB; a longer command_length closes the connection. Default 64 KiB.
    pub pdu: Size,
    /// The longest HTTP body read. Default 16 MiB, which holds a full batch.
    pub body: Size,
    /// What the bodies of all HTTP requests may take at once, 1 MiB to 64 GiB. Default 256 MiB, not less than `body`.
    pub bodies: Size,
    /// What may wait for all SMPP binds of one tenant, 1 MiB to 1 GiB.
    pub tenant_outgoing: Size,
    /// Messages in one HTTP batch, at most 10,000. Default 10,000.
    pub batch: u32,
    /// From the connection to its bind. Default 10 s.
    pub session_init: Duration,
    /// Silence after which we send a tenant's bind enquire_link. Default 30 s, less than `inactivity`.
    pub enquire_link: Duration,
    /// How long a tenant's bind is kept with nothing but enquire_link of either side. Default 5 m.
    pub inactivity: Duration,
    /// How long a tenant's bind may take to answer us; then the receipt is offered elsewhere. Default 30 s.
    pub response_timeout: Duration,
}

/// `[fairness]`: how the priorities share a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Fairness {
    /// Parts of `high` taken in a round, 1 to 1,000. Default 16.
    pub high: u32,
    /// Parts of `normal` taken in a round. Default 4; not more than `high`.
    pub normal: u32,
    /// Parts of `low` taken in a round. Default 1; not more than `normal`.
    pub low: u32,
    /// Percent of each provider's window and rate that only `high` may use, 0 to 50. Default 10.
    pub high_reserve_percent: u32,
}

/// `[routing]`: what happens where no route matches, and when a provider is gone.
#[derive(Debug, Clone, PartialEq)]
pub struct Routing {
    /// Whether the tenant's default provider and then the enabled ones by priority are tried. Default true.
    pub fallback: bool,
    /// How long a provider has no bind before what is queued for it goes to the next of its route. Default 10 s.
    pub failover_after: Duration,
}

/// The sections that exist once.
pub(crate) struct Sections {
    pub http: Http,
    pub smpp: Smpp,
    pub ops: Ops,
    pub serve: Serve,
    pub storage: Storage,
    pub secrets: Secrets,
    pub queue: Queue,
    pub limits: Limits,
    pub fairness: Fairness,
    pub routing: Routing,
    pub phones: Phones,
    pub kept: Kept,
}

impl Sections {
    /// Every section is read, whatever is wrong with the others. All keys stand in `default.toml`, so that nothing
    /// is read as absent but what was found faulty.
    pub(crate) fn read(all: &mut Section<'_>) -> Option<Self> {
        let http = all.table("http", Http::read);
        let smpp = all.table("smpp", Smpp::read);
        let ops = all.table("ops", Ops::read);
        let serve = all.table("serve", Serve::read);
        let storage = all.table("storage", Storage::read);
        let secrets = all.table("secrets", Secrets::read);
        let queue = all.table("queue", Queue::read);
        let limits = all.table("limits", Limits::read);
        let fairness = all.table("fairness", Fairness::read);
        let routing = all.table("routing", Routing::read);
        let phones = all.table("phones", Phones::read);
        let kept = all.table("kept", Kept::read);
        let storage = storage?;
        let secrets = secrets?.below(&storage);
        let (http, smpp, ops) = (http?, smpp?, ops?);
        let (serve, queue, limits, fairness, routing) = (serve?, queue?, limits?, fairness?, routing?);
        check_listeners(all, &[("http", http.listen), ("smpp", smpp.listen), ("ops", ops.listen)]);
        let others = [("smpp", smpp.listen), ("http", http.listen), ("ops", ops.listen)];
        check_tls_listener(all, smpp.tls_listen, &others);
        Some(Self {
            http,
            smpp,
            ops,
            serve,
            storage,
            secrets,
            queue,
            limits,
            fairness,
            routing,
            phones: phones?,
            kept: kept?,
        })
    }
}

impl Http {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let listen = section.get("listen");
        let tls = section.table("tls", Tls::read);
        Some(Self { listen: listen?, tls })
    }
}

impl Tls {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        section.require("cert");
        section.require("key");
        let (cert, key) = (section.get("cert"), section.get("key"));
        let client_ca = section.get("client_ca");
        Some(Self { cert: cert?, key: key?, client_ca })
    }
}

impl Smpp {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let listen = section.get("listen");
        let system_id = section.text("system_id", 1..=15);
        let no_credit_status = section.between("no_credit_status", 1..=u32::MAX);
        let (tls_listen, tls) = (section.get("tls_listen"), section.table("tls", Tls::read));
        if section.has("tls_listen") != section.has("tls") {
            section.problem(
                &["tls_listen", "tls"],
                "and \"tls\" go together",
                "write tls_listen = \"ADDRESS:PORT\" and tls = { cert = \"FILE\", key = \"FILE\" }",
            );
        }
        let proxy_protocol = section.get("proxy_protocol").unwrap_or_default();
        Some(Self {
            listen: listen?,
            tls_listen,
            tls,
            proxy_protocol,
            system_id: system_id?,
            no_credit_status: no_credit_status?,
        })
    }
}

impl Ops {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let listen = section.get("listen");
        Some(Self { listen: listen? })
    }
}

impl Serve {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let drain_timeout = section.between("drain_timeout", Duration::ZERO..=HOUR);
        Some(Self { drain_timeout: drain_timeout? })
    }
}

impl Storage {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let path = section.checked("path", |path: &PathBuf| match path.as_os_str().is_empty() {
            true => Err(Fault::new("is empty", "write the path of a directory")),
            false => Ok(()),
        });
        let log = section.get("log");
        let durability = section.get("durability");
        let retention = section.between("retention", HOUR..=DAY * 36_500);
        let ring = section.between("ring", Size(1 << 20)..=Size(1 << 40));
        let reserve = section.between("reserve", Size(0)..=Size(1 << 40));
        let reserve_percent = section.between("reserve_percent", 0..=50);
        Some(Self {
            path: path?,
            log: log?,
            durability: durability?,
            retention: retention?,
            ring: ring?,
            reserve: reserve?,
            reserve_percent: reserve_percent?,
        })
    }
}

impl Secrets {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let key_file = section.get("key_file");
        Some(Self { key_file: key_file? })
    }

    fn below(self, storage: &Storage) -> Self {
        match self.key_file.as_os_str().is_empty() {
            true => Self { key_file: storage.path.join("secret.key") },
            false => self,
        }
    }
}

impl Queue {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let memory = section.between("memory", 1_000..=100_000_000);
        let max = section.between("max", 1_000..=1_000_000_000);
        let per_tenant = section.between("per_tenant", 1..=1_000_000_000);
        let validity = section.between("validity", MINUTE..=DAY * 365);
        let untold = section.between("untold", 1..=1_000_000_000);
        Some(Self {
            memory: memory?,
            max: max?,
            per_tenant: per_tenant?,
            untold: untold?,
            validity: validity?,
        })
    }
}

impl Limits {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let tenant_outgoing = section.between("tenant_outgoing", Size(1 << 20)..=Size(1 << 30));
        let pdu = section.between("pdu", Size(1 << 10)..=Size(16 << 20));
        let body = section.between("body", Size(1 << 10)..=Size(256 << 20));
        let bodies = section.between("bodies", Size(1 << 20)..=Size(64 << 30));
        let batch = section.between("batch", 1..=10_000);
        let session_init = section.between("session_init", SECOND..=HOUR);
        let enquire_link = section.between("enquire_link", SECOND..=HOUR);
        let inactivity = section.between("inactivity", SECOND..=DAY);
        let response_timeout = section.between("response_timeout", SECOND..=HOUR);
        if let (Some(enquire_link), Some(inactivity)) = (enquire_link, inactivity)
            && enquire_link >= inactivity
        {
            section.problem(
                &["inactivity", "enquire_link"],
                "is not longer than \"enquire_link\"",
                "raise it, or lower enquire_link",
            );
        }
        if let (Some(body), Some(bodies)) = (body, bodies)
            && body > bodies
        {
            section.problem(&["bodies", "body"], "is less than \"body\"", "raise it, or lower body");
        }
        Some(Self {
            pdu: pdu?,
            tenant_outgoing: tenant_outgoing?,
            body: body?,
            bodies: bodies?,
            batch: batch?,
            session_init: session_init?,
            enquire_link: enquire_link?,
            inactivity: inactivity?,
            response_timeout: response_timeout?,
        })
    }
}

impl Fairness {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let high = section.between("high", 1..=1_000);
        let normal = section.between("normal", 1..=1_000);
        let low = section.between("low", 1..=1_000);
        let high_reserve_percent = section.between("high_reserve_percent", 0..=50);
        let fairness =
            Self { high: high?, normal: normal?, low: low?, high_reserve_percent: high_reserve_percent? };
        if fairness.normal > fairness.high {
            section.problem(
                &["normal", "high"],
                "is more than \"high\"",
                "write the shares in falling order",
            );
        }
        if fairness.low > fairness.normal {
            section.problem(
                &["low", "normal"],
                "is more than \"normal\"",
                "write the shares in falling order",
            );
        }
        Some(fairness)
    }
}

impl Routing {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let fallback = section.get("fallback");
        let failover_after = section.between("failover_after", Duration::ZERO..=DAY);
        Some(Self { fallback: fallback?, failover_after: failover_after? })
    }
}

/// Two listeners cannot share a port.
fn check_listeners(all: &Section<'_>, listeners: &[(&str, SocketAddr)]) {
    for (index, (name, listen)) in listeners.iter().enumerate() {
        let clashes = |other: &&(&str, SocketAddr)| other.1 == *listen && listen.port() != 0;
        if let Some((other, _)) = listeners.iter().take(index).find(clashes) {
            let message = format!("[{name}] listens on the same address as [{other}]");
            all.problem_below(&[name, other], "listen", &message, "give each a port of its own");
        }
    }
}

/// The same of the listener that a section has beside another.
fn check_tls_listener(all: &Section<'_>, tls: Option<SocketAddr>, others: &[(&str, SocketAddr)]) {
    let Some(tls) = tls.filter(|tls| tls.port() != 0) else { return };
    if let Some((other, _)) = others.iter().find(|(_, listen)| *listen == tls) {
        let message = format!("\"tls_listen\" in [smpp] is the address of [{other}]");
        all.problem_below(&["smpp"], "tls_listen", &message, "give each a port of its own");
    }
}
