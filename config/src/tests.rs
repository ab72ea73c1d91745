//! Whole settings in, values out. What is refused stands in `problems`, what each type accepts beside the types.

mod problems;
mod profiles;

use std::path::PathBuf;
use std::time::Duration;

use super::*;

/// An entry that is right, for tests of what stands beside it.
const UP: &str = "[[provider]]\nid = 'up'\nhost = 'smpp.example.com'\nsystem_id = 'me'\n";
const ACME: &str = "[[tenant]]\nid = 'acme'\ncurrency = 'KES'\nprice = '1.00'\n";

fn load_text(text: &str) -> Result<Config, Vec<Problem>> {
    load(Some(("tidegate.toml", text)), [])
}

fn load_variables(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    load(Some(("tidegate.toml", text)), variables.iter().map(owned))
}

fn good(text: &str) -> Config {
    let plain = Profiles { embedded: &[("plain", "")], ..Profiles::NONE };
    load_with(Some(("tidegate.toml", text)), [], plain)
        .unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
}

fn shown(outcome: Result<Config, Vec<Problem>>) -> Vec<String> {
    outcome.err().unwrap_or_default().iter().map(Problem::to_string).collect()
}

/// Strips the `#` of what is commented out; prose has a space behind its `#`.
fn uncommented(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(code) if !code.starts_with(' ') => format!("{code}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn the_defaults_are_what_the_documentation_promises() {
    let config = Config::default();
    assert_eq!(config, good(""));
    assert_eq!(config.http.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.smpp.listen, "127.0.0.1:2775".parse().unwrap());
    assert_eq!(config.smpp.no_credit_status, 0x0000_040B);
    assert_eq!(config.ops.listen, "127.0.0.1:9464".parse().unwrap());
    assert_eq!(config.serve.drain_timeout, Duration::from_secs(15));
    assert_eq!(config.storage.path, PathBuf::from("tidegate-data"));
    assert_eq!((config.storage.log, config.storage.durability), (JournalLog::Sled, Durability::Fsync));
    assert_eq!(config.storage.retention, Duration::from_secs(400 * 86_400));
    assert_eq!((config.storage.ring, config.storage.reserve), (Size(192 << 20), Size(2 << 30)));
    assert_eq!(config.secrets.key_file, PathBuf::from("tidegate-data/secret.key"));
    assert_eq!((config.queue.memory, config.queue.max), (1_000_000, 20_000_000));
    assert_eq!(config.limits.batch, 10_000);
    let fairness = &config.fairness;
    assert_eq!((fairness.high, fairness.normal, fairness.low, fairness.high_reserve_percent), (16, 4, 1, 10));
    assert_eq!((config.routing.fallback, config.routing.failover_after), (true, Duration::from_secs(10)));
    assert_eq!((config.phones.parts_wait, config.phones.parts_max), (Duration::from_secs(600), 10_000));
    assert_eq!(config.phones.repeat_window, Duration::from_secs(60));
    assert_eq!((config.kept.max, config.kept.octets), (10_000, Size(64 << 20)));
    assert_eq!(config.kept.time, Duration::from_secs(7 * 86_400));
    assert!(config.is_empty_of_providers() && config.is_empty_of_tenants());
}

#[test]
fn the_commented_examples_of_the_defaults_are_right_and_complete() {
    let text = uncommented(DEFAULT_TOML);
    let config = good(&text);
    assert_eq!((config.provider.len(), config.tenant.len(), config.route.len()), (3, 2, 2));
    assert_eq!(config.inbound.len(), 2);
    assert_eq!(config.inbound[1].matches.keyword, ["STOP", "START"]);
    assert_eq!(config.rates["kenya"].prices["2547"], Micros(750_000));

    let problems = Problems::default();
    let tree = tree::parse("default.toml", &text, &problems).unwrap();
    Section::read("", &tree, &problems, |all| resolve(all, &problems));
    let asked = problems.asked.borrow();
    let absent: Vec<_> = asked.iter().filter(|(_, there)| !**there).map(|(key, _)| key).collect();
    assert!(absent.is_empty(), "not in default.toml: {absent:?}");
    assert!(asked.len() > 90, "only {} keys were asked for", asked.len());
}

#[test]
fn the_commented_examples_show_the_defaults() {
    let example = good(&uncommented(DEFAULT_TOML));
    let bare = "[[provider]]\nid = 'up'\nhost = 'smpp.example.com'\nsystem_id = 'me'\n\
                [[tenant]]\nid = 'acme'\ncurrency = 'KES'\nprice = '1.00'\n\
                [[tenant]]\nid = 'other'\ncurrency = 'KES'\nprice = '1'\nsmpp = { system_id = 'other', password = \
                'change me' }\n\
                [[provider]]\nid = 'other'\nhost = 'x'\nsystem_id = 'y'\n\
                [[route]]\nproviders = ['up', 'other']\n";
    let bare = good(bare);
    assert_eq!(example.provider[0], bare.provider[0]);
    assert_eq!(example.tenant[0], bare.tenant[0]);
    assert_eq!(example.tenant[1].smpp, bare.tenant[1].smpp);
    assert_eq!(example.route[0], bare.route[0]);
}

#[test]
fn the_documented_example_is_read() {
    let config = good(include_str!("tests/example.toml"));
    let provider = &config.provider[0];
    assert_eq!((provider.id.as_str(), provider.kind), ("up", ProviderKind::Smpp));
    assert_eq!(provider.reach.hosts, [Host { name: "127.0.0.1".to_owned(), port: 2776 }]);
    assert_eq!((provider.binds, provider.window, provider.throughput, provider.burst), (4, 1000, 0, 0));
    assert_eq!(provider.bind, BindKind::Transceiver);
    assert_eq!(provider.password.expose(), "bench");
    assert_eq!(provider.receipt_wait, Duration::from_secs(72 * 3600));
    let tenant = &config.tenant[0];
    assert_eq!(tenant.api_keys[0].expose(), "tg_live_bench");
    assert_eq!(tenant.balance, Micros(1_000_000_000_000_000));
    assert_eq!(tenant.price, Price::Part(Micros(1_000_000)));
    let account = tenant.smpp.as_ref().unwrap();
    assert_eq!((account.system_id.as_str(), account.max_binds, account.window), ("bench", 8, 1000));
    let route = &config.route[0];
    assert_eq!((route.id.as_str(), route.strategy), ("route-1", Strategy::Failover));
    assert_eq!((&route.matches.prefix, &route.providers), (&vec!["254".to_owned()], &vec!["up".to_owned()]));
}

#[test]
fn unmarked_receipts_are_taken_where_no_phone_writes_to_anybody() {
    let rule = |keys: &str| format!("[[inbound]]\ntenant = 'acme'\n{keys}\n");
    let cases = [
        (String::new(), "", true),
        (String::new(), "receipt.unmarked = false", false),
        (String::new(), "inbound_tenant = 'acme'", false),
        (rule(""), "", false),
        (rule("match = { to = ['1'], provider = ['up'] }"), "", false),
        (rule("match = { provider = ['down'] }"), "", true),
        (rule(""), "receipt.unmarked = true", true),
    ];
    for (rules, line, expected) in cases {
        let other = "[[provider]]\nid = 'down'\nhost = 'x'\nsystem_id = 'y'\n";
        let config = good(&format!("{other}{UP}{line}\n{ACME}{rules}"));
        assert_eq!(config.takes_unmarked_receipts(&config.provider[1]), expected, "{rules}{line}");
    }
}

#[test]
fn values_are_resolved() {
    let provider = |line: &str| good(&format!("{UP}{line}\n")).provider.remove(0);
    assert_eq!(provider("").submit_multi, None);
    assert_eq!(provider("submit_multi = 254").submit_multi, Some(254));
    assert_eq!(provider("throughput = 100").burst, 10);
    assert_eq!(provider("throughput = 9").burst, 0);
    assert_eq!(provider("throughput = 5\nburst = 7").burst, 7);
    assert_eq!((provider("").bind_throughput, provider("bind_throughput = 9").bind_throughput), (0, 9));
    assert_eq!(provider("message_id = 'hex_dec'").message_id, MessageIdForm::HexDec);
    assert_eq!(provider("reconnect = { min = '2m' }").reconnect.max, Duration::from_secs(120));
    let tenant = |line: &str| good(&format!("{ACME}{line}\n")).tenant.remove(0);
    assert_eq!(tenant("").name, "acme");
    assert_eq!(tenant("priority = 2").priority, Priority::High);
    assert_eq!(tenant("priority = 'high'").priority, Priority::High);
    assert_eq!(tenant("expires_at = 1970-01-01T00:00:01Z").expires_at, Some(UnixMillis(1_000)));
    assert_eq!(tenant("expires_at = '1970-01-01T00:00:01Z'").expires_at, Some(UnixMillis(1_000)));
    assert_eq!(tenant("ip_allow = ['::1']").ip_allow, [IpBlock::parse("::1").unwrap()]);
    let smpp = |keys: &str| {
        let account = format!("smpp = {{ system_id = 'x', password = 'p'{keys} }}");
        tenant(&account).smpp.unwrap()
    };
    // A receipt names a message as the answer to it did.
    for (keys, ids) in [
        ("", (IdRadix::Dec, IdRadix::Dec)),
        (", message_id = 'hex'", (IdRadix::Hex, IdRadix::Hex)),
        (", message_id = 'hex', receipt_id = 'dec'", (IdRadix::Hex, IdRadix::Dec)),
    ] {
        assert_eq!((smpp(keys).message_id, smpp(keys).receipt_id), ids, "{keys}");
    }
    assert_eq!(smpp(", receipt_offset = '-14:00'").receipt_offset, -840);
    let smpp = good("[smpp]\ntls_listen = '[::]:3550'\ntls = { cert = 'c', key = 'k' }\nproxy_protocol = ['10.0.0.0/8']\n").smpp;
    assert_eq!(smpp.tls_listen.unwrap().port(), 3550);
    let files = Tls { cert: "c".into(), key: "k".into(), client_ca: None };
    assert_eq!((smpp.tls, good("").smpp.tls), (Some(files), None));
    assert_eq!(smpp.proxy_protocol, [IpBlock::parse("10.0.0.0/8").unwrap()]);
    let secrets = good("[storage]\npath = '/data'\n").secrets;
    assert_eq!(secrets.key_file, PathBuf::from("/data/secret.key"));
    // A section keeps what the file does not say.
    assert_eq!(good("[storage]\npath = '/data'\n").storage.ring, Size(192 << 20));
}

#[test]
fn routes_come_in_the_order_in_which_they_are_tried() {
    let route = |id: &str, rest: &str| format!("[[route]]\nid = '{id}'\nproviders = ['up']\n{rest}\n");
    let text =
        [UP, &route("c", ""), &route("a", "priority = 1"), &route("d", ""), &route("b", "priority = 1")]
            .concat();
    let ids: Vec<_> = good(&text).route.into_iter().map(|route| route.id).collect();
    assert_eq!(ids, ["a", "b", "c", "d"]);
}

#[test]
fn variables_lie_over_the_file_and_are_typed_by_their_key() {
    let text = format!(
        "{UP}password = 'file'\n[[tenant]]\nid = 'acme-1'\ncurrency = 'KES'\nprice = '1'\n[rates.Kenya]\n254 = '1'\n"
    );
    let config = load_variables(
        &text,
        &[
            ("PATH", "/bin"),
            ("TIDEGATE_LOG", "debug"),
            ("TIDEGATE__HTTP__LISTEN", "0.0.0.0:80"),
            ("TIDEGATE__STORAGE__RESERVE_PERCENT", "7"),
            ("TIDEGATE__STORAGE__DURABILITY", "os"),
            ("TIDEGATE__ROUTING__FALLBACK", "false"),
            ("TIDEGATE__PROVIDER__UP__PASSWORD", "123"),
            ("TIDEGATE__PROVIDER__UP__RECONNECT__MIN", "3s"),
            ("TIDEGATE__TENANT__ACME_1__PRIORITY", "2"),
            ("TIDEGATE__TENANT__ACME_1__API_KEYS", "tg_live_one, tg_live_two"),
            ("TIDEGATE__TENANT__ACME_1__SMPP__SYSTEM_ID", "acme"),
            ("TIDEGATE__TENANT__ACME_1__SMPP__PASSWORD", "secret"),
            ("TIDEGATE__RATES__KENYA__254", "0.5"),
            ("TIDEGATE__PROVIDER__SPARE__HOST", "127.0.0.1"),
            ("TIDEGATE__PROVIDER__SPARE__SYSTEM_ID", "me"),
            ("TIDEGATE__ROUTE__ALL__PROVIDERS", "up,spare"),
        ],
    )
    .unwrap();
    assert_eq!(config.http.listen.port(), 80);
    assert_eq!((config.storage.reserve_percent, config.storage.durability), (7, Durability::Os));
    assert!(!config.routing.fallback);
    assert_eq!(config.provider[0].password.expose(), "123");
    assert_eq!(config.provider[0].reconnect.min, Duration::from_secs(3));
    let tenant = &config.tenant[0];
    assert_eq!((tenant.priority, tenant.api_keys[1].expose()), (Priority::High, "tg_live_two"));
    assert_eq!(tenant.smpp.as_ref().unwrap().password.expose(), "secret");
    assert_eq!(config.rates["Kenya"].prices["254"], Micros(500_000));
    assert_eq!(config.provider[1].id, "spare");
    assert_eq!((config.route[0].id.as_str(), config.route[0].providers.len()), ("all", 2));
}

#[test]
fn no_text_makes_the_reader_panic() {
    // Every prefix of a good text, and the text with each character replaced, is read or refused.
    let text = include_str!("tests/example.toml");
    for (offset, character) in text.char_indices() {
        _ = load_text(&text[..offset]);
        for other in ["\"", "[", "\n", "0", "é"] {
            let after = &text[offset + character.len_utf8()..];
            _ = load_text(&[&text[..offset], other, after].concat());
        }
    }
}
