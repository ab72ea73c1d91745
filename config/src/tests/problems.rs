//! Whole settings in, errors out, as tables.

use super::*;

#[test]
fn every_mistake_is_told_with_its_place_and_its_mend() {
    let cases: &[(&str, &[&str])] = &[
        // Syntax.
        (
            "[http]\nlisten = \n",
            &[
                "tidegate.toml:2: string values must be quoted, expected literal string; correct it and check again: \
             nothing else was read",
            ],
        ),
        (
            "[http]\nlisten = 'a'\nlisten = 'b'\n[ops\n",
            &[
                "tidegate.toml:3: duplicate key; correct it and check again: nothing else was read",
                "tidegate.toml:4: unclosed table, expected `]`; correct it and check again: nothing else was read",
            ],
        ),
        // Unknown names.
        (
            "\n[[provider]]\nid = 'up'\nhost = 'a'\nsystem_id = 'b'\nthoughput = 3\n",
            &["tidegate.toml:6: unknown key \"thoughput\" in [[provider]]; did you mean \"throughput\"?"],
        ),
        ("[htp]\nlisten = 1\n", &["tidegate.toml:1: unknown section [htp]; did you mean \"http\"?"]),
        ("[[providers]]\n", &["tidegate.toml:1: unknown section [[providers]]; did you mean \"provider\"?"]),
        (
            "[http]\nport = 1\n",
            &[
                "tidegate.toml:2: unknown key \"port\" in [http]; write one of \"listen\", \"tls\", or remove it",
            ],
        ),
        (
            "[http]\ntls = { cert = 'a' }\n",
            &["tidegate.toml:2: \"key\" is missing in tls of [http]; write key = …"],
        ),
        (
            "[smpp]\ntls_listen = '127.0.0.1:3550'\n",
            &[
                "tidegate.toml:2: \"tls_listen\" in [smpp] and \"tls\" go together; write tls_listen = \"ADDRESS:PORT\" and tls = { cert = \"FILE\", key = \"FILE\" }",
            ],
        ),
        (
            "[smpp]\ntls_listen = '127.0.0.1:2775'\ntls = { cert = 'a', key = 'b' }\n",
            &[
                "tidegate.toml:2: \"tls_listen\" in [smpp] is the address of [smpp]; give each a port of its own",
            ],
        ),
        (
            "[[tenant]]\nid = 'a'\ncurrency = 'KES'\nprice = '1.00'\nsmpp = { system_id = 'a', password = 'b', bind_types = [] }\n",
            &[
                "tidegate.toml:5: \"bind_types\" in smpp of [[tenant]] is empty; write \"transmitter\", \"receiver\" or \"transceiver\" in it",
            ],
        ),
        (
            "[[provider]]\nid = 'up'\nhost = 'a'\nsystem_id = 'b'\nreceipt_parts = 'all'\n",
            &[
                "tidegate.toml:5: \"receipt_parts\" in [[provider]] is \"all\", which is not one of its words; write one of \"each\", \"any\"",
            ],
        ),
        // Of a later version.
        (
            "[public]\nurl = 'x'\n",
            &["tidegate.toml:1: section [public] is not supported by this version; remove it"],
        ),
        (
            "[[payment]]\n",
            &["tidegate.toml:1: section [[payment]] is not supported by this version; remove it"],
        ),
        // Shapes.
        (
            "http = 3\n",
            &["tidegate.toml:1: \"http\" is a whole number, not a table; write [http], and its keys below"],
        ),
        (
            "[provider]\nid = 'x'\n",
            &[
                "tidegate.toml:1: \"provider\" is a table, not a list of tables; write [[provider]] above each",
            ],
        ),
        (
            "rates = 3\n",
            &["tidegate.toml:1: \"rates\" is a whole number, not a table; write [rates.NAME] above each"],
        ),
        // Values.
        (
            "[http]\nlisten = '127.0.0.1'\n",
            &[
                "tidegate.toml:2: \"listen\" in [http] is \"127.0.0.1\", which is not an address to listen on; write an IP \
             address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"",
            ],
        ),
        (
            "[routing]\nfallback = 'yes'\nfailover_after = '25h'\n",
            &[
                "tidegate.toml:2: \"fallback\" in [routing] is a string; write true or false, without quotes",
                "tidegate.toml:3: \"failover_after\" in [routing] is \"25h\", which is out of range; write a value from \"0s\" to \
             \"1d\"",
            ],
        ),
        (
            "[storage]\npath = ''\ndurability = 'fsnc'\nretention = 400\nring = '1GB'\nreserve_percent = 60\n",
            &[
                "tidegate.toml:2: \"path\" in [storage] is empty; write the path of a directory",
                "tidegate.toml:3: \"durability\" in [storage] is \"fsnc\", which is not one of its words; did you mean \
             \"fsync\"?",
                "tidegate.toml:4: \"retention\" in [storage] is a whole number, not a string; write a whole number and ms, \
             s, m, h or d, such as \"30s\"",
                "tidegate.toml:5: \"ring\" in [storage] is \"1GB\", which is not a size; write a whole number and B, KiB, \
             MiB, GiB or TiB, such as \"2GiB\"",
                "tidegate.toml:6: \"reserve_percent\" in [storage] is 60, which is out of range; write a value from 0 to 50",
            ],
        ),
        (
            "[limits]\nsession_init = '0s'\nbatch = 99999999999\n",
            &[
                "tidegate.toml:2: \"session_init\" in [limits] is \"0s\", which is out of range; write a value from \"1s\" \
             to \"1h\"",
                "tidegate.toml:3: \"batch\" in [limits] is out of range; write a whole number from 0 to 4294967295, without \
             quotes",
            ],
        ),
        // Keys that disagree are told where somebody wrote one of them.
        (
            "[limits]\nenquire_link = '10m'\n",
            &[
                "tidegate.toml:2: \"inactivity\" in [limits] is not longer than \"enquire_link\"; raise it, or lower \
             enquire_link",
            ],
        ),
        (
            "[limits]\nbodies = '8MiB'\n",
            &["tidegate.toml:2: \"bodies\" in [limits] is less than \"body\"; raise it, or lower body"],
        ),
        (
            "[fairness]\nlow = 5\n",
            &[
                "tidegate.toml:2: \"low\" in [fairness] is more than \"normal\"; write the shares in falling order",
            ],
        ),
        (
            "[http]\nlisten = '127.0.0.1:9464'\n",
            &["tidegate.toml:2: [ops] listens on the same address as [http]; give each a port of its own"],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(shown(load_text(text)), *expected, "{text}");
    }
}

#[test]
fn every_mistake_of_a_provider_is_told() {
    let cases: &[(&str, &str)] = &[
        (
            "id = 'a b'",
            "\"id\" in [[provider]] is not an id; write 1 to 64 of letters, digits, \".\", \"_\" and \"-\"",
        ),
        (
            "kind = 'twilio'",
            "\"kind\" in [[provider]] is \"twilio\", which is not supported by this version; write one of \"smpp\"",
        ),
        (
            "kind = 'smtp'",
            "\"kind\" in [[provider]] is \"smtp\", which is not one of its words; did you mean \"smpp\"?",
        ),
        (
            "host = 'smpp://me:pw@x'",
            "\"host\" in [[provider]] is not a host; write a host name or an address alone, such as \"smpp.example.com\"; the port is a key of its own",
        ),
        (
            "host = ''",
            "\"host\" in [[provider]] is not a host; write a host name or an address alone, such as \"smpp.example.com\"; the port is a key of its own",
        ),
        ("port = 0", "\"port\" in [[provider]] is 0, which is out of range; write a value from 1 to 65535"),
        (
            "port = '2775'",
            "\"port\" in [[provider]] is a string, not a whole number; write a whole number from 0 to 65535, without quotes",
        ),
        (
            "system_id = '1234567890123456'",
            "\"system_id\" in [[provider]] has 16 octets; write 0 to 15 octets",
        ),
        (
            "password = 12345678",
            "\"password\" in [[provider]] is a whole number, not a string; write it in quotes",
        ),
        (
            "system_type = \"a\\u0000\"",
            "\"system_type\" in [[provider]] holds a control character; remove it",
        ),
        (
            "bind = 'tranceiver'",
            "\"bind\" in [[provider]] is \"tranceiver\", which is not one of its words; did you mean \"transceiver\"?",
        ),
        (
            "bind = 'both'",
            "\"bind\" in [[provider]] is \"both\", which is not one of its words; write one of \"transmitter\", \"receiver\", \"transceiver\", \"pair\"",
        ),
        ("binds = 0", "\"binds\" in [[provider]] is 0, which is out of range; write a value from 1 to 256"),
        (
            "window = 0",
            "\"window\" in [[provider]] is 0, which is out of range; write a value from 1 to 65535",
        ),
        (
            "throughput = -1",
            "\"throughput\" in [[provider]] is out of range; write a whole number from 0 to 4294967295, without quotes",
        ),
        (
            "burst = 3",
            "\"burst\" in [[provider]] means nothing without \"throughput\"; write throughput too, or remove it",
        ),
        (
            "submit_multi = 255",
            "\"submit_multi\" in [[provider]] is 255, which is out of range; write a value from 2 to 254",
        ),
        (
            "submit_multi = 1",
            "\"submit_multi\" in [[provider]] is 1, which is out of range; write a value from 2 to 254",
        ),
        (
            "submit = 'data_sm'\nsubmit_multi = 9",
            "\"submit_multi\" in [[provider]] stands beside a \"submit\" that has one destination; remove it, or let submit be \"submit_sm\"",
        ),
        (
            "interface_version = '3.3'\nbind = 'pair'\nsubmit_multi = 9",
            "\"submit_multi\" in [[provider]] is of SMPP 3.4, and \"interface_version\" is \"3.3\"; remove it, or let interface_version be \"3.4\"",
        ),
        (
            "in_doubt_wait = 10",
            "\"in_doubt_wait\" in [[provider]] is a whole number, not a string; write a whole number and ms, s, m, h or d, such as \"30s\"",
        ),
        (
            "source_ton = 7",
            "\"source_ton\" in [[provider]] is 7, which is out of range; write a value from 0 to 6",
        ),
        (
            "response_timeout = '0s'",
            "\"response_timeout\" in [[provider]] is \"0s\", which is out of range; write a value from \"1s\" to \"1h\"",
        ),
        (
            "reconnect = { min = '5s', max = '1s' }",
            "\"max\" in reconnect of [[provider]] is less than \"min\"; raise it, or lower min",
        ),
        ("reconnect = '5s'", "\"reconnect\" is a string, not a table; write reconnect = { … }"),
        (
            "retry = { atempts = 3 }",
            "unknown key \"atempts\" in retry of [[provider]]; did you mean \"attempts\"?",
        ),
        (
            "retry = { attempts = 0 }",
            "\"attempts\" in retry of [[provider]] is 0, which is out of range; write a value from 1 to 255",
        ),
        (
            "retry = { attempts = 256 }",
            "\"attempts\" in retry of [[provider]] is out of range; write a whole number from 0 to 255, without quotes",
        ),
        (
            "cost = 0.5",
            "\"cost\" in [[provider]] is a number with a fraction, not a string; write a decimal in quotes with at most 6 digits behind the point, such as \"1.00\"",
        ),
        (
            "long_messages = 'udh'",
            "\"long_messages\" in [[provider]] is \"udh\", which is not one of its words; did you mean \"udh8\"?",
        ),
        (
            "flash = '0x10'",
            "\"flash\" in [[provider]] is \"0x10\", which is not one of its words; write one of \"as_given\", \"general\", \"class\", \"subunit\"",
        ),
        (
            "single_shift = ['Turkish']",
            "\"single_shift\" in [[provider]] is \"Turkish\", which is not one of its words; did you mean \"turkish\"?",
        ),
    ];
    for (line, expected) in cases {
        let key = line.split(' ').next().unwrap();
        let others = UP.lines().filter(|other| !other.starts_with(&format!("{key} ")));
        let text: String = others.chain([*line]).map(|line| format!("{line}\n")).collect();
        let last = text.lines().count();
        assert_eq!(shown(load_text(&text)), [format!("tidegate.toml:{last}: {expected}")], "{text}");
    }
    assert_eq!(
        shown(load_text("\n[[provider]]\n")),
        [
            "tidegate.toml:2: \"host\" is missing in [[provider]]; write host = …",
            "tidegate.toml:2: \"id\" is missing in [[provider]]; write id = …",
            "tidegate.toml:2: \"system_id\" is missing in [[provider]]; write system_id = …",
        ]
    );
}

#[test]
fn what_is_said_of_the_gsm_alphabet_goes_with_it_only() {
    let mend = "goes with the charset \"gsm7\" only; remove it, or write charset = \"gsm7\"";
    for (line, key) in [
        ("packed = true", "packed"),
        ("single_shift = ['spanish']", "single_shift"),
        ("locking_shift = ['urdu']", "locking_shift"),
    ] {
        assert!(load_text(&format!("{UP}{line}\n")).is_ok());
        let found = shown(load_text(&format!("{UP}charset = 'latin1'\n{line}\n")));
        let place = UP.lines().count() + 2;
        assert_eq!(found, [format!("tidegate.toml:{place}: \"{key}\" in [[provider]] {mend}")]);
    }
}

#[test]
fn every_mistake_of_a_tenant_is_told() {
    let keys = "write 8 to 256 visible ASCII characters";
    let cases: &[(&str, &str)] = &[
        (
            "currency = 'kes'",
            "\"currency\" in [[tenant]] is not three capital letters; write its ISO 4217 code, such as \"KES\"",
        ),
        (
            "price = 1",
            "\"price\" in [[tenant]] is a whole number, not a string; write a decimal in quotes with at most 6 digits behind the point, such as \"1.00\"",
        ),
        (
            "price = '-1'",
            "\"price\" in [[tenant]] is \"-1.00\", which is out of range; write a value from \"0.00\" to \"9223372036854.775807\"",
        ),
        (
            "price = '0.0000001'",
            "\"price\" in [[tenant]] is \"0.0000001\", which is not an amount of money; write a decimal in quotes with at most 6 digits behind the point, such as \"1.00\"",
        ),
        ("rates = 'up'", "\"rates\" in [[tenant]] stands beside \"price\"; remove one of them"),
        (
            "api_keys = 'tg_live_x'",
            "\"api_keys\" in [[tenant]] is a string, not a list; write it in square brackets",
        ),
        ("api_keys = ['']", &format!("\"api_keys\" in [[tenant]] holds an empty key; remove it, or {keys}")),
        ("api_keys = ['secret word']", &format!("\"api_keys\" in [[tenant]] holds an unfit key; {keys}")),
        ("api_keys = ['short']", &format!("\"api_keys\" in [[tenant]] holds an unfit key; {keys}")),
        (
            "api_keys = ['tg_test_acme']",
            "\"api_keys\" in [[tenant]] holds a test key, which is not supported by this version; remove it",
        ),
        (
            "smpp = { system_id = 'x', password = '' }",
            "\"password\" in smpp of [[tenant]] is empty; write 1 to 64 octets",
        ),
        (
            "smpp = { system_id = 'x', password = 'p', windw = 3 }",
            "unknown key \"windw\" in smpp of [[tenant]]; did you mean \"window\"?",
        ),
        (
            "smpp = { system_id = 'x', password = 'p', receipt_offset = '3' }",
            "\"receipt_offset\" in smpp of [[tenant]] is no offset from UTC; write it like \"+03:00\" or \"-05:30\"",
        ),
        (
            "smpp = { system_id = 'x', password = 'p', receipt_offset = '-15:00' }",
            "\"receipt_offset\" in smpp of [[tenant]] is no offset from UTC; write it like \"+03:00\" or \"-05:30\"",
        ),
        (
            "smpp = { system_id = 'x', password = 'p', charset_1 = 'ucs2' }",
            "\"charset_1\" in smpp of [[tenant]] is neither IA5 nor GSM 7-bit; write \"latin1\" or \"gsm7\"",
        ),
        (
            "smpp = { system_id = 'x', password = 'p', national_numbers = '0254' }",
            "\"national_numbers\" in smpp of [[tenant]] is no country code; write \"refuse\", \"international\", or the country code to put before them, such as \"254\"",
        ),
        (
            "smpp = { system_id = 'x', password = 'p', charset = 'utf8' }",
            "\"charset\" in smpp of [[tenant]] is \"utf8\", which no data_coding says of a tenant's message; write \"gsm7\", \"latin1\", \"ascii\" or \"ucs2\"",
        ),
        ("smpp = { password = 'p' }", "\"system_id\" is missing in smpp of [[tenant]]; write system_id = …"),
        (
            "ip_allow = ['10.0.0.1/8']",
            "\"ip_allow\" in [[tenant]] is \"10.0.0.1/8\", which is not a block of addresses; write an address or a block without host bits, such as \"192.0.2.7\" or \"10.0.0.0/8\"",
        ),
        ("priority = 3", "\"priority\" in [[tenant]] is out of range; write 1 (normal) or 2 (high)"),
        (
            "expires_at = 2030-01-01",
            "\"expires_at\" in [[tenant]] is a time without date or offset; write date, time and offset, such as \"2027-01-01T00:00:00Z\"",
        ),
        (
            "credit_limit = '5.00'",
            "\"credit_limit\" in [[tenant]] is that of a tenant whose billing is \"prepaid\"; write billing = \"postpaid\", or leave it out: what is paid before is never owed",
        ),
        (
            "billing = 'postpaid'",
            "\"billing\" in [[tenant]] is \"postpaid\" without a \"credit_limit\"; write how far below zero it may go, such as credit_limit = \"1000.00\"",
        ),
        ("default_provider = 'up'", "unknown provider \"up\"; there is no provider at all: add one"),
        ("tier = 'gold'", "key \"tier\" in [[tenant]] is not supported by this version; remove it"),
    ];
    for (line, expected) in cases {
        let key = line.split(' ').next().unwrap();
        let others = ACME.lines().filter(|other| !other.starts_with(&format!("{key} ")));
        let text: String = others.chain([*line]).map(|line| format!("{line}\n")).collect();
        let last = text.lines().count();
        assert_eq!(shown(load_text(&text)), [format!("tidegate.toml:{last}: {expected}")], "{text}");
    }
    assert_eq!(
        shown(load_text("[[tenant]]\nid = 'a'\ncurrency = 'KES'\n")),
        [
            "tidegate.toml:1: \"price\" in [[tenant]] is missing, and so is \"rates\"; write price = \"1.00\" or rates = \
         \"NAME\"",
        ]
    );
}

#[test]
fn entries_must_agree_with_one_another() {
    let cases: &[(&str, &[&str])] = &[
        (
            &format!("{UP}{UP}"),
            &["tidegate.toml:6: this id of a provider was used before, on line 2; give each its own"],
        ),
        (
            &format!("{ACME}{ACME}"),
            &["tidegate.toml:6: this id of a tenant was used before, on line 2; give each its own"],
        ),
        (
            "[[tenant]]\nid = 'a'\ncurrency = 'KES'\nprice = '1'\nclient_id = 7\napi_keys = ['tg_live_aaa']\n\
             smpp = { system_id = 's', password = 'p' }\n\
             [[tenant]]\nid = 'b'\ncurrency = 'KES'\nprice = '1'\nclient_id = 7\napi_keys = [\n'tg_live_bbb',\n\
             'tg_live_aaa']\nsmpp = { system_id = 's', password = 'q' }\n",
            &[
                "tidegate.toml:12: this client_id was used before, on line 5; give each its own",
                "tidegate.toml:15: this API key was used before, on line 6; give each its own",
                "tidegate.toml:16: this system_id of a tenant was used before, on line 7; give each its own",
            ],
        ),
        (
            &format!("{UP}[[route]]\nproviders = ['upp',\n'elsewhere']\n"),
            &[
                "tidegate.toml:6: unknown provider \"upp\"; did you mean \"up\"?",
                "tidegate.toml:7: unknown provider \"elsewhere\"; write one of \"up\"",
            ],
        ),
        // A faulty provider is told once, not again by each route that names it.
        (
            "[[provider]]\nid = 'up'\nsystem_id = 'x'\n[[route]]\nproviders = ['up']\n",
            &["tidegate.toml:1: \"host\" is missing in [[provider]]; write host = …"],
        ),
        (
            &format!("{UP}{ACME}[[route]]\nproviders = ['up']\nmatch.tenant = ['acne']\n"),
            &["tidegate.toml:11: unknown tenant \"acne\"; did you mean \"acme\"?"],
        ),
        (
            &format!("{UP}[[route]]\nproviders = []\n[[route]]\n[[route]]\nproviders = ['up', 'up']\n"),
            &[
                "tidegate.toml:6: \"providers\" in [[route]] is empty; write the id of at least one provider",
                "tidegate.toml:7: \"providers\" is missing in [[route]]; write providers = …",
                "tidegate.toml:9: \"providers\" in [[route]] names \"up\" twice; remove one",
            ],
        ),
        (
            &format!(
                "{UP}[[route]]\nproviders = ['up']\nstrategy = 'weighted'\n[[route]]\nproviders = ['up']\nweights = [1]\n"
            ),
            &[
                "tidegate.toml:5: \"weights\" in [[route]] does not give one number for each provider; write weights = \
             [3, 1] for two",
                "tidegate.toml:10: \"weights\" in [[route]] means nothing with this strategy; remove it, or write strategy \
             = \"weighted\"",
            ],
        ),
        (
            &format!(
                "{UP}[[route]]\nproviders = ['up']\nmatch = {{ prefix = ['+254'], mcc_mnc = [], channel = ['whatsapp'] }}\n"
            ),
            &[
                "tidegate.toml:7: \"prefix\" in match of [[route]] holds \"+254\", which is not a prefix; write 1 to 15 \
             digits without +, such as \"254\"",
                "tidegate.toml:7: key \"mcc_mnc\" in match of [[route]] is not supported by this version; remove it",
                "tidegate.toml:7: \"channel\" in match of [[route]] is \"whatsapp\", which is not supported by this \
             version; write one of \"sms\"",
            ],
        ),
        // Whose messages from phones are.
        (
            &format!(
                "{UP}{ACME}[[inbound]]\ntenant = 'acne'\n[[inbound]]\nmatch.provider = ['upp']\ntenant = 'acme'\n"
            ),
            &[
                "tidegate.toml:10: unknown tenant \"acne\"; did you mean \"acme\"?",
                "tidegate.toml:12: unknown provider \"upp\"; did you mean \"up\"?",
            ],
        ),
        (
            &format!("{UP}inbound_tenant = 'acne'\n{ACME}[[inbound]]\n"),
            &[
                "tidegate.toml:5: unknown tenant \"acne\"; did you mean \"acme\"?",
                "tidegate.toml:10: \"tenant\" is missing in [[inbound]]; write tenant = …",
            ],
        ),
        (
            &format!(
                "{ACME}[[inbound]]\ntenant = 'acme'\nmatch = {{ to = [''], to_prefix = ['+1'], from_prefix = [''], keyword = ['STOP ALL'] }}\n"
            ),
            &[
                "tidegate.toml:7: \"to\" in match of [[inbound]] holds what is no address; write numbers, short codes or names of \
                 1 to 64 characters, such as \"22334\"",
                "tidegate.toml:7: \"to_prefix\" in match of [[inbound]] holds \"+1\", which is not a prefix; write 1 to 15 digits \
                 without +, such as \"254\"",
                "tidegate.toml:7: \"from_prefix\" in match of [[inbound]] holds \"\", which is not a prefix; write 1 to 15 digits \
                 without +, such as \"254\"",
                "tidegate.toml:7: \"keyword\" in match of [[inbound]] holds \"STOP ALL\", which is not one word; write one word for \
                 each, such as \"STOP\"",
            ],
        ),
        (
            &format!(
                "{UP}{ACME}[[inbound]]\ntenant = 'acme'\nprovider = 'up'\n[phones]\nparts_wait = '0s'\n"
            ),
            &[
                "tidegate.toml:11: unknown key \"provider\" in [[inbound]]; write one of \"match\", \"tenant\", or remove it",
                "tidegate.toml:13: \"parts_wait\" in [phones] is \"0s\", which is out of range; write a value from \"1s\" to \"3d\"",
            ],
        ),
        (
            "[kept]\nmax = 0\noctets = '1KiB'\n",
            &[
                "tidegate.toml:2: \"max\" in [kept] is 0, which is out of range; write a value from 1 to 1000000",
                "tidegate.toml:3: \"octets\" in [kept] is \"1KiB\", which is out of range; write a value from \"1MiB\" to \"16GiB\"",
            ],
        ),
        (
            &format!("{UP}[[route]]\nid = 'route-2'\nproviders = ['up']\n[[route]]\nproviders = ['up']\n"),
            &["tidegate.toml:8: this id of a route was used before, on line 6; give each its own"],
        ),
        (
            "[rates.kenya]\n254 = '0.8'\n\"+254\" = '1'\n2547 = '-1'\n2541 = 3\n[[tenant]]\nid = 'a'\ncurrency = 'KES'\nrates = 'kenia'\n",
            &[
                "tidegate.toml:3: \"+254\" in [rates.kenya] is not a prefix; write 1 to 15 digits without +, such as \"254\"",
                "tidegate.toml:4: \"2547\" in [rates.kenya] is a price below zero; write what a part costs",
                "tidegate.toml:5: \"2541\" in [rates.kenya] is a whole number, not a string; write a decimal in quotes with \
             at most 6 digits behind the point, such as \"1.00\"",
                "tidegate.toml:9: unknown price list \"kenia\"; did you mean \"kenya\"?",
            ],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(shown(load_text(text)), *expected, "{text}");
    }
}

#[test]
fn a_mistake_does_not_make_others() {
    let cases = [
        format!("{UP}throughput = -1\nburst = 3\n"),
        format!("{UP}[[route]]\nproviders = ['up']\nstrategy = 'wieghted'\nweights = [1]\n"),
        format!("{ACME}billing = 'postpaid'\ncredit_limit = 5\n"),
        format!("{ACME}billing = 'postpayed'\ncredit_limit = '5.00'\n"),
        format!("{UP}window = 0\n[[route]]\nproviders = ['up']\n"),
        "[limits]\nenquire_link = '1x'\ninactivity = '5s'\n".to_owned(),
    ];
    for text in cases {
        assert_eq!(shown(load_text(&text)).len(), 1, "{text}");
    }
}

#[test]
fn columns_count_characters() {
    let problems = load_text("[storage]\n\"päth\" = 1\nrings = 1 # é\n").unwrap_err();
    let places: Vec<_> = problems.iter().map(|problem| (problem.line, problem.column)).collect();
    assert_eq!(places, [(2, 1), (3, 1)]);
    let problems =
        load_text("[[tenant]]\nid = 'a'\ncurrency = 'KES'\nprice = '1'\nip_allow = ['::1', 'é', 'x']\n");
    assert_eq!(problems.unwrap_err()[0].column, 20);
}

#[test]
fn no_error_shows_a_secret() {
    let texts = [
        "[[provider]]\npassword = hunter22\n",
        "[[provider]]\nid = 'up'\npassword = [\"hunter22\"]\npasword = 'hunter22'\n",
        "[[provider]]\nid = 'up'\npassword = \"hunter22\\n\"\nhost = 'me:hunter22@host'\n",
        "[[tenant]]\nid = 'a'\napi_keys = ['hunter22 x', 'hunter22']\n",
        "[[tenant]]\nid = 'a'\nprice = '1'\ncurrency = 'KES'\napi_keys = ['hunter22', 'hunter22']\n",
        "[[tenant]]\nid = 'a'\nsmpp = { system_id = 'x', password = \"hunter22\\t\" }\n",
        "[[tenant]]\nid = 'a'\nsmpp = 'hunter22'\n",
    ];
    for text in texts {
        let problems = load_text(text).unwrap_err();
        assert!(!format!("{problems:?}").contains("hunter22"), "{text}\n{problems:?}");
    }
    let variables = [
        ("TIDEGATE__PROVIDER", "hunter22"),
        ("TIDEGATE__PROVIDER__UP", "hunter22"),
        ("TIDEGATE__PROVIDER__UP__PASSWORT", "hunter22"),
        ("TIDEGATE__TENANT__A__API_KEYS", "hunter22,hunter22"),
    ];
    for variable in variables {
        let problems = load_variables(ACME, &[variable]).unwrap_err();
        assert!(!format!("{problems:?}").contains("hunter22"), "{variable:?}\n{problems:?}");
    }
    let config = good("[[tenant]]\nid = 'a'\nprice = '1'\ncurrency = 'KES'\napi_keys = ['hunter22']\n");
    assert!(!format!("{config:?}").contains("hunter22"));
}

#[test]
fn mistakes_in_variables_name_the_variable() {
    let cases = [
        (
            ("TIDEGATE__HTTP__LISTEN", "here"),
            "TIDEGATE__HTTP__LISTEN: \"listen\" in [http] is \"here\", which is not an address to listen on; write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"",
        ),
        (
            ("TIDEGATE__HTTP__LISTN", "x"),
            "TIDEGATE__HTTP__LISTN: unknown key \"listn\" in [http]; did you mean \"TIDEGATE__HTTP__LISTEN\"?",
        ),
        (
            ("TIDEGATE__HTP__LISTEN", "x"),
            "TIDEGATE__HTP__LISTEN: unknown section [htp]; did you mean \"TIDEGATE__HTTP__LISTEN\"?",
        ),
        (
            ("TIDEGATE__HTTP", "x"),
            "TIDEGATE__HTTP: \"http\" is a string, not a table; write [http], and its keys below",
        ),
        (
            ("TIDEGATE__HTTP__TLS__CERT", "x"),
            "TIDEGATE__HTTP__TLS__CERT: \"key\" is missing in tls of [http]; write key = …",
        ),
        (
            ("TIDEGATE__STORAGE__RESERVE_PERCENT", "7%"),
            "TIDEGATE__STORAGE__RESERVE_PERCENT: \"reserve_percent\" in [storage] is a string, not a whole number; write a whole number from 0 to 255, without quotes",
        ),
        (
            ("TIDEGATE__PROVIDER__UP__WINDOW", "0"),
            "TIDEGATE__PROVIDER__UP__WINDOW: \"window\" in [[provider]] is 0, which is out of range; write a value from 1 to 65535",
        ),
        (
            ("TIDEGATE__PROVIDER__UP__WINDWO", "1"),
            "TIDEGATE__PROVIDER__UP__WINDWO: unknown key \"windwo\" in [[provider]]; did you mean \"TIDEGATE__PROVIDER__UP__WINDOW\"?",
        ),
        (
            ("TIDEGATE__", "x"),
            "TIDEGATE__: this variable names no key; write TIDEGATE__SECTION__KEY, such as TIDEGATE__HTTP__LISTEN",
        ),
        (
            ("TIDEGATE__HTTP__LISTEN__X", "x"),
            "TIDEGATE__HTTP__LISTEN__X: this variable names no key; write TIDEGATE__SECTION__KEY, such as TIDEGATE__HTTP__LISTEN",
        ),
        (
            ("TIDEGATE__PROVIDER__UP", "x"),
            "TIDEGATE__PROVIDER__UP: this variable names no key; write TIDEGATE__SECTION__KEY, such as TIDEGATE__HTTP__LISTEN",
        ),
    ];
    for (variable, expected) in cases {
        assert_eq!(shown(load_variables(UP, &[variable])), [expected], "{variable:?}");
    }
}
