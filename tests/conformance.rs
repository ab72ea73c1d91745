//! docs/smpp.md is what engineers of other companies build upon: what of it can be counted is held against the program here.

use std::time::Duration;

use codecs::instant::Mono;
use codecs::receipt::State;
use codecs::smpp::pdu::{Bind, Header};
use codecs::smpp::session::{Event, Limits, Role, Session};
use codecs::smpp::status::{Class, Status};
use codecs::smpp::{BindKind, Command, write};
use codecs::text::{Encoding, encoding_of};
use connectors::smpp::client::ProviderBindOptions;
use connectors::smpp::refusal;
use connectors::smpp::server::ServerOptions;
use engine::command::Refusal;

const PAGE: &str = include_str!("../docs/smpp.md");

/// The cells of each row of a table, by the words of its section.
fn table(section: &str) -> Vec<Vec<&'static str>> {
    let (_, after) = PAGE.split_once(&format!("\n## {section}\n")).expect("the page has the section");
    let section = after.split_once("\n## ").map_or(after, |(section, _)| section);
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The numbers that a cell names: `0x14 0x58`, `0xC0-0xC4`, `5–7, 9–15`.
fn numbers(cell: &str) -> Vec<u32> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let words = cell.split([' ', ',']).filter(|word| !word.is_empty());
    let ranges = words.filter_map(|word| {
        let (first, last) = word.split_once(['-', '–']).unwrap_or((word, word));
        Some(number(first)?..=number(last)?)
    });
    ranges.flatten().collect()
}

#[test]
fn the_statuses_of_providers_are_in_their_classes() {
    let class = |name: &str| match name {
        "taken" => Class::Ok,
        "throttled" => Class::Throttle,
        "again" => Class::Retry,
        "refused" => Class::Permanent,
        "to be mended" => Class::Configuration,
        "not bound" => Class::Session,
        other => panic!("{other} is no class"),
    };
    let mut named = Vec::new();
    for row in table("Statuses from providers") {
        for number in numbers(row[1]) {
            assert_eq!(Status(number).class_on_submit(), class(row[0]), "{number:#x}");
            named.push(number);
        }
    }
    let missing: Vec<u32> =
        (0..0x400).filter(|number| Status(*number).name().is_some() && !named.contains(number)).collect();
    assert!(missing.is_empty(), "the page does not say what is done about {missing:#x?}");
}

#[test]
fn every_data_coding_is_read_as_the_page_says() {
    let mut named = Vec::new();
    for row in table("Encodings") {
        for number in numbers(row[0]) {
            let encoding = encoding_of(u8::try_from(number).expect("a data_coding is one octet"));
            let word = match encoding {
                Encoding::Gsm7 => "GSM 7-bit",
                Encoding::Ucs2 if number == 8 => "UTF-16",
                Encoding::Ucs2 => "UCS-2",
                Encoding::Latin1 => "Latin-1",
                Encoding::Binary => "octets",
            };
            assert!(row[1].contains(word), "{number:#x} is {word}, and the page says: {}", row[1]);
            named.push(number);
        }
    }
    named.sort_unstable();
    assert_eq!(named, (0..=0xFF).collect::<Vec<u32>>());
}

const NOW: Mono = Mono(1_000_000);

fn frame(command: Command, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write::frame(&mut frame, command, Status::OK, 1, body);
    frame
}

/// A session of ours in this role, with a transceiver.
fn bound(role: Role) -> Session {
    let mut session = Session::new(role, Limits::DEFAULT, NOW);
    let bind = Bind { interface_version: 0x34, ..Bind::default() };
    match role {
        Role::Smsc => {
            let mut body = Vec::new();
            write::bind_body(&mut body, &bind).expect("a bind");
            let bind = frame(Command::BIND_TRANSCEIVER, &body);
            assert!(matches!(session.receive(NOW, &bind), Event::Bind { sequence: 1, .. }));
            session.accept_bind(NOW, 1, b"us").expect("a name");
        }
        Role::Esme => {
            session.bind(NOW, BindKind::Transceiver, &bind).expect("a bind");
            let answer = frame(Command::BIND_TRANSCEIVER_RESP, b"them\0");
            assert!(matches!(session.receive(NOW, &answer), Event::Bound { .. }));
        }
    }
    session.sent(session.output().len());
    session
}

/// Whether a command of the peer is refused as one that is not served; its answer is of the right kind then.
fn is_refused(role: Role, command: Command) -> bool {
    let mut session = bound(role);
    let frame = frame(command, b"");
    let Event::Refused { status, .. } = session.receive(NOW, &frame) else { return false };
    let own = match command.name() {
        Some("alert_notification") | None => Command::GENERIC_NACK,
        Some(_) => command.response(),
    };
    let answer = Header::read(session.output()).expect("an answer");
    assert_eq!(
        (status, answer.command, answer.status),
        (Status::INVCMDID, own, Status::INVCMDID),
        "{command:?}"
    );
    true
}

#[test]
fn each_side_may_send_us_what_the_page_says() {
    let rows = table("PDUs");
    let mut count = 0;
    for (id, name) in (0..0x200).filter_map(|id| Some((id, Command(id).name()?))) {
        // These are between the sessions of both sides, and have tests of their own there.
        if name.contains("bind") || name == "enquire_link" {
            continue;
        }
        for (role, column, other, words) in [
            (Role::Smsc, 1, "of the SMSC", &["served"][..]),
            (Role::Esme, 2, "of the ESME", &["read", "counted"]),
        ] {
            let names = |cell: &str| cell.split([' ', ',']).any(|word| word == name) && !cell.contains(other);
            let Some(row) = rows.iter().find(|row| names(row[0])) else {
                assert!(name.contains("broadcast"), "the page does not name {name}");
                continue;
            };
            let is_taken = words.iter().any(|word| row[column].starts_with(word));
            assert_eq!(is_refused(role, Command(id)), !is_taken, "{name} to us as {role:?}: {}", row[column]);
            count += 1;
        }
    }
    assert!(count > 15, "the page names {count} operations");
    assert!(is_refused(Role::Smsc, Command(0x0001_0200)) && is_refused(Role::Esme, Command(0x0001_0200)));
}

/// The times that a cell names, in its order: `30 s`, `5 minutes`.
fn times(cell: &str) -> Vec<Duration> {
    let words: Vec<&str> = cell.split([' ', ',', ';']).filter(|word| !word.is_empty()).collect();
    let time = |pair: &[&str]| {
        let unit = match pair[1] {
            "s" => 1,
            "minutes" => 60,
            _ => return None,
        };
        Some(Duration::from_secs(pair[0].parse::<u64>().ok()? * unit))
    };
    words.windows(2).filter_map(time).collect()
}

#[test]
fn the_timers_are_the_ones_of_the_page() {
    let limits = config::load(None, []).expect("the settings of nobody").limits;
    let (tenants, providers) = (ServerOptions::default(), ProviderBindOptions::default());
    let expected = [
        ("session_init", vec![limits.session_init], vec![providers.bind_timeout, providers.connect_timeout]),
        ("enquire_link", vec![limits.enquire_link], vec![providers.enquire_link]),
        ("further silence", vec![tenants.enquire_link_response], vec![providers.enquire_link_response]),
        ("inactivity", vec![limits.inactivity], vec![]),
        ("response", vec![limits.response_timeout], vec![providers.response_timeout]),
        ("the rest of a PDU", vec![tenants.pdu_read], vec![Limits::DEFAULT.pdu_read]),
        ("unbind", vec![tenants.closing], vec![providers.closing]),
        ("a peer that does not read", vec![tenants.stalled], vec![providers.stalled]),
    ];
    let rows = table("Timers");
    assert_eq!(rows.len(), expected.len());
    for (row, (name, tenants, providers)) in rows.iter().zip(expected) {
        assert!(row[0].starts_with(name), "{name} is not: {}", row[0]);
        assert_eq!((times(row[1]), times(row[2])), (tenants, providers), "{name}");
    }
}

#[test]
fn the_states_of_receipts_mean_what_the_page_says() {
    let mut named = Vec::new();
    for row in table("Receipts from providers").iter().filter(|row| row[0] != "anything else") {
        for word in row[0].split(", ") {
            let state = State::from_word(word.as_bytes()).unwrap_or_else(|| panic!("{word} is no state"));
            assert!(
                numbers(row[1]).contains(&state.as_u8().into()),
                "{word} is {state:?}, not of {}",
                row[1]
            );
        }
        for number in numbers(row[1]) {
            let state = u8::try_from(number).ok().and_then(State::from_number).expect("a message_state");
            let means = match state {
                State::Scheduled | State::Enroute | State::Accepted => "more is to come",
                State::Delivered => "delivered",
                State::Expired => "expired",
                State::Unknown => "unknown",
                State::Deleted | State::Undeliverable | State::Rejected | State::Skipped => "failed",
            };
            assert_eq!(row[2], means, "{state:?}");
            assert_eq!(state.is_final(), means != "more is to come", "{state:?}");
            named.push(number);
        }
    }
    named.sort_unstable();
    assert_eq!(named, (0..=9).collect::<Vec<u32>>());
    assert_eq!(State::from_word(b"anything else"), None);
}

#[test]
fn every_refusal_has_its_status_in_a_tenants_table() {
    let rows = table("Statuses to tenants");
    for reason in Refusal::ALL {
        let status = refusal::status(reason, ServerOptions::default().no_credit_status);
        let name = status.name().map_or(format!("{:#010X}", status.0).replace("0X", "0x"), str::to_owned);
        let words = rows.iter().flat_map(|row| row[0].split([' ', ',']));
        assert!(words.clone().any(|word| word == name), "{reason:?} is {name}, which the page does not name");
    }
}

#[test]
fn every_status_of_a_tenants_table_exists() {
    let names: Vec<&str> = (0..0x400).filter_map(|number| Status(number).name()).collect();
    let rows = table("Statuses to tenants");
    let words = rows.iter().flat_map(|row| row[0].split([' ', ','])).filter(|word| word.starts_with("ESME_"));
    let mut count = 0;
    for word in words {
        assert!(names.contains(&word), "{word} is no status");
        count += 1;
    }
    assert!(count > 8, "the table names {count} statuses");
}
