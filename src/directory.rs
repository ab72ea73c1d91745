//! Who may come in: tenants by API key and by system_id, as the doors need them, the same from the start to the end.
//! It keeps hashes, not secrets, and decides nothing about credit, status or routes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use codecs::address::{self, National, Sender};
use codecs::text::Encoding;
use codecs::text::national::Languages;
use config::{IpBlock, Tenant};
use connectors::smpp::access::{self, Authenticator, Denied};

use crate::definitions;
use crate::secrets::{KeyHash, PasswordCheck, sha256};
use crate::tlv_names::TlvNames;

/// What the doors know of one tenant.
#[derive(Clone)]
pub struct TenantAccess {
    /// The permanent number that the engine gave it.
    pub number: u32,
    pub id: Arc<str>,
    pub currency: String,
    /// Messages a second; 0: no limit.
    pub rate: u32,
    pub ip_allow: Vec<IpBlock>,
    /// The source address of a message that names none; empty where the tenant has none.
    pub default_sender: Sender,
    /// Whose tables may be used for its texts.
    pub national: Languages,
    /// Whether its texts are made to fit GSM 7-bit, where a request does not say.
    pub transliterate: bool,
    pub smpp: Option<SmppAccess>,
}

impl TenantAccess {
    /// Whether it may connect from there. An unknown address fits no list.
    pub fn allows(&self, from: Option<IpAddr>) -> bool {
        let is_listed = |from| self.ip_allow.iter().any(|block| block.contains(from));
        self.ip_allow.is_empty() || from.is_some_and(is_listed)
    }
}

/// A tenant's SMPP account.
#[derive(Clone)]
pub struct SmppAccess {
    pub system_id: String,
    pub password: PasswordCheck,
    pub binds_max: u32,
    pub bind_kinds: access::BindKinds,
    pub oldest_leaves: bool,
    pub window: u32,
    pub message_id: access::IdRadix,
    /// What its data_coding 0 means; SMPP 3.4 §5.2.19 leaves that to the SMSC.
    pub charset: Encoding,
    /// The same of data_coding 1.
    pub charset_1: Encoding,
    /// The same of destinations that it calls national.
    pub national_numbers: National,
}

/// One tenant as it is put into the directory.
pub struct Account<'a> {
    pub number: u32,
    /// Its `api_keys` count beside `key_hashes`.
    pub tenant: &'a Tenant,
    /// Keys that are kept as hashes only.
    pub key_hashes: &'a [KeyHash],
}

/// What the directory holds.
#[derive(Default)]
pub struct Entries {
    by_key: HashMap<KeyHash, Arc<TenantAccess>>,
    by_system_id: HashMap<String, Arc<TenantAccess>>,
    providers: HashMap<u16, Arc<str>>,
    tlvs: Arc<TlvNames>,
}

impl Entries {
    /// `providers` are the permanent numbers with their ids, those of providers that have gone included.
    pub fn new<'a>(
        accounts: impl IntoIterator<Item = Account<'a>>,
        providers: impl IntoIterator<Item = (u16, String)>,
        tlvs: TlvNames,
    ) -> Entries {
        let mut entries = Entries { tlvs: Arc::new(tlvs), ..Entries::default() };
        for account in accounts {
            entries.insert(&account);
        }
        entries.providers = providers.into_iter().map(|(number, id)| (number, id.into())).collect();
        entries
    }

    fn insert(&mut self, account: &Account<'_>) {
        let access = Arc::new(access(account));
        let configured = account.tenant.api_keys.iter().map(|key| sha256(key.expose().as_bytes()));
        for hash in configured.chain(account.key_hashes.iter().copied()) {
            self.by_key.insert(hash, Arc::clone(&access));
        }
        if let Some(smpp) = &access.smpp {
            self.by_system_id.insert(smpp.system_id.clone(), Arc::clone(&access));
        }
    }
}

fn access(account: &Account<'_>) -> TenantAccess {
    let tenant = account.tenant;
    let named = tenant.default_sender.as_deref().map(address::sender);
    let smpp = tenant.smpp.as_ref().map(|smpp| SmppAccess {
        system_id: smpp.system_id.clone(),
        password: PasswordCheck::new(smpp.password.expose().as_bytes()),
        binds_max: smpp.max_binds,
        bind_kinds: access::BindKinds {
            transmitter: smpp.bind_types.contains(&config::BindType::Transmitter),
            receiver: smpp.bind_types.contains(&config::BindType::Receiver),
            transceiver: smpp.bind_types.contains(&config::BindType::Transceiver),
        },
        oldest_leaves: smpp.when_full == config::WhenFull::CloseOldest,
        window: smpp.window,
        message_id: match smpp.message_id {
            config::IdRadix::Dec => access::IdRadix::Dec,
            config::IdRadix::Hex => access::IdRadix::Hex,
        },
        charset: match smpp.charset {
            config::Charset::Latin1 | config::Charset::Ascii => Encoding::Latin1,
            config::Charset::Ucs2 => Encoding::Ucs2,
            config::Charset::Gsm7 | config::Charset::Utf8 => Encoding::Gsm7,
        },
        charset_1: match smpp.charset_1 {
            config::Charset::Gsm7 => Encoding::Gsm7,
            _ => Encoding::Latin1,
        },
        national_numbers: match smpp.national_numbers {
            config::NationalNumbers::Refuse => National::Refused,
            config::NationalNumbers::International => National::International,
            config::NationalNumbers::Of(country) => National::Of(country),
        },
    });
    TenantAccess {
        number: account.number,
        id: tenant.id.as_str().into(),
        currency: tenant.currency.clone(),
        rate: tenant.rate,
        ip_allow: tenant.ip_allow.clone(),
        // A name that is no sender was refused when the settings were read; should one come through, none is used.
        default_sender: named.and_then(Result::ok).unwrap_or(Sender::EMPTY),
        national: definitions::languages(&tenant.national),
        transliterate: tenant.transliterate,
        smpp,
    }
}

/// The directory that all doors share.
pub struct Directory {
    entries: Entries,
    /// Compared with where there is no such system_id, so that its absence takes as long.
    nobody: PasswordCheck,
}

impl Directory {
    pub fn new(entries: Entries) -> Arc<Directory> {
        Arc::new(Directory { entries, nobody: PasswordCheck::new(b"") })
    }

    /// The tenant of an API key. The key is hashed before it is compared, so the time tells nothing about it.
    pub fn by_key(&self, key: &[u8]) -> Option<Arc<TenantAccess>> {
        self.entries.by_key.get(&sha256(key)).cloned()
    }

    pub fn by_system_id(&self, system_id: &str) -> Option<Arc<TenantAccess>> {
        self.entries.by_system_id.get(system_id).cloned()
    }

    /// The id of a provider by its permanent number.
    pub fn provider(&self, number: u16) -> Option<Arc<str>> {
        self.entries.providers.get(&number).cloned()
    }

    /// The names that providers give to TLVs.
    pub fn tlvs(&self) -> Arc<TlvNames> {
        Arc::clone(&self.entries.tlvs)
    }
}

impl Authenticator for Directory {
    fn authenticate(
        &self,
        system_id: &[u8],
        password: &[u8],
        from: IpAddr,
    ) -> Result<access::TenantAccess, Denied> {
        let tenant = std::str::from_utf8(system_id).ok().and_then(|system_id| self.by_system_id(system_id));
        let account = tenant.as_ref().and_then(|tenant| tenant.smpp.as_ref());
        let is_right = account.map_or(&self.nobody, |account| &account.password).is_right(password);
        let (Some(tenant), Some(account), true) = (&tenant, account, is_right) else {
            return Err(Denied::Credentials);
        };
        if !tenant.allows(Some(from)) {
            return Err(Denied::Address);
        }
        Ok(access::TenantAccess {
            tenant: tenant.number,
            tenant_id: Arc::clone(&tenant.id),
            max_binds: account.binds_max,
            bind_kinds: account.bind_kinds,
            oldest_leaves: account.oldest_leaves,
            window: account.window,
            rate: tenant.rate,
            charset: account.charset,
            charset_1: account.charset_1,
            national: account.national_numbers,
            message_id: account.message_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tenants as they stand in a file.
    fn tenants(toml: &str) -> Vec<Tenant> {
        match config::load(Some(("test.toml", toml)), []) {
            Ok(config) => config.tenant,
            Err(problems) => panic!("{problems:?}"),
        }
    }

    fn entries(toml: &str, key_hashes: &[KeyHash]) -> Entries {
        let tenants = tenants(toml);
        let accounts = tenants.iter().zip(1..).map(|(tenant, number)| Account { number, tenant, key_hashes });
        Entries::new(accounts, [(3, "up".to_owned())], TlvNames::default())
    }

    const ACME: &str = r#"
        [[tenant]]
        id = "acme"
        currency = "KES"
        price = "1.00"
        api_keys = ["tg_live_first", "tg_live_second"]
        smpp = { system_id = "acme", password = "secret", window = 5 }
        ip_allow = ["192.0.2.0/24", "2001:db8::/32"]
        default_sender = "ACME"
    "#;

    #[test]
    fn a_tenant_is_found_by_each_of_its_keys_and_by_its_system_id() {
        let directory = Directory::new(entries(ACME, &[sha256(b"tg_live_stored")]));
        for key in ["tg_live_first", "tg_live_second", "tg_live_stored"] {
            assert_eq!(directory.by_key(key.as_bytes()).map(|tenant| tenant.number), Some(1), "{key}");
        }
        for key in ["", "tg_live_", "tg_live_firsT", "tg_live_first "] {
            assert!(directory.by_key(key.as_bytes()).is_none(), "{key}");
        }
        let access = directory.by_system_id("acme").unwrap();
        assert_eq!(access.default_sender.octets(), b"ACME");
        assert!(access.smpp.as_ref().unwrap().password.is_right(b"secret"));
        assert!(directory.by_system_id("ACME").is_none());
        assert_eq!(directory.provider(3).as_deref(), Some("up"));
        assert_eq!(directory.provider(4), None);
    }

    #[test]
    fn addresses_are_held_against_the_list_of_the_tenant() {
        let directory = Directory::new(entries(ACME, &[]));
        let access = directory.by_system_id("acme").unwrap();
        let table = [
            ("192.0.2.9", true),
            ("::ffff:192.0.2.9", true),
            ("192.0.3.1", false),
            ("2001:db8:1::1", true),
            ("::1", false),
        ];
        for (address, expected) in table {
            assert_eq!(access.allows(Some(address.parse().unwrap())), expected, "{address}");
        }
        assert!(!access.allows(None));
    }

    #[test]
    fn a_bind_needs_the_right_password_and_then_the_right_address() {
        let directory = Directory::new(entries(ACME, &[]));
        let (inside, outside) = ("192.0.2.9".parse().unwrap(), "192.0.3.1".parse().unwrap());
        type Row = (&'static [u8], &'static [u8], IpAddr, Result<u32, Denied>);
        let table: [Row; 6] = [
            (b"acme", b"secret", inside, Ok(1)),
            (b"acme", b"secret", outside, Err(Denied::Address)),
            (b"acme", b"Secret", outside, Err(Denied::Credentials)),
            (b"nobody", b"secret", inside, Err(Denied::Credentials)),
            (b"nobody", b"", inside, Err(Denied::Credentials)),
            (b"\xff", b"secret", inside, Err(Denied::Credentials)),
        ];
        for (system_id, password, from, expected) in table {
            let found = directory.authenticate(system_id, password, from).map(|access| access.tenant);
            assert_eq!(found, expected, "{} {from}", system_id.escape_ascii());
        }
    }

    #[test]
    fn what_data_coding_0_means_is_the_tenants_to_say() {
        let from = "192.0.2.9".parse().unwrap();
        for (setting, expected) in [
            ("", Encoding::Gsm7),
            (", charset = 'latin1'", Encoding::Latin1),
            (", charset = 'ascii'", Encoding::Latin1),
            (", charset = 'ucs2'", Encoding::Ucs2),
        ] {
            let directory = Directory::new(entries(&ACME.replace(", window = 5", setting), &[]));
            let access = directory.authenticate(b"acme", b"secret", from).unwrap();
            assert_eq!(access.charset, expected, "{setting}");
        }
    }

    #[test]
    fn what_data_coding_1_and_national_numbers_mean_is_the_tenants_to_say() {
        let from = "192.0.2.9".parse().unwrap();
        for (setting, expected) in [
            ("", (Encoding::Latin1, National::Refused)),
            (", charset_1 = 'gsm7'", (Encoding::Gsm7, National::Refused)),
            (", national_numbers = 'international'", (Encoding::Latin1, National::International)),
            (", national_numbers = '254'", (Encoding::Latin1, National::Of(254))),
            (", national_numbers = 44", (Encoding::Latin1, National::Of(44))),
        ] {
            let directory = Directory::new(entries(&ACME.replace(", window = 5", setting), &[]));
            let access = directory.authenticate(b"acme", b"secret", from).unwrap();
            assert_eq!((access.charset_1, access.national), expected, "{setting}");
        }
    }
}
