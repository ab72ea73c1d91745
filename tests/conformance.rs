//! docs/smpp.md is what engineers of other companies build upon: what of it can be counted is held against the program here.

use codecs::smpp::status::{Class, Status};
use codecs::text::{Encoding, encoding_of};

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
