//! Receipts, their dates and the ids in them: what is read stands in the text, and what we write is read again.

use std::sync::LazyLock;

use codecs::instant::Wall;
use codecs::message_id::{self, Form, Side};
use codecs::receipt::{self, DateForm, Dates, Dialect, Minute, Notice, Pattern, Receipt, State};

use crate::front;

/// 2026-01-01, around which the dates lie.
const RECEIVED: Wall = Wall(1_767_225_600_000);
const NEAR_MILLIS: u64 = 30 * 86_400_000;

pub fn check(octets: &[u8]) {
    if let Some(found) = receipt::read(octets) {
        stands_in(octets, &found);
    }
    let mut ascii = Vec::new();
    receipt::ascii_of_ucs2(octets, &mut ascii);
    assert!(ascii.is_ascii() && ascii.len() <= octets.len().div_ceil(2));
    let _ = receipt::read(&ascii);
    date(octets, 0);
    ids(octets);
    dialects(octets);
    written(octets);
}

fn stands_in(octets: &[u8], found: &Receipt<'_>) {
    assert!(found.id.is_some() || !found.stat.is_empty() || octets.len() > 4);
    let inside = octets.as_ptr_range();
    for field in [found.stat, found.error, found.submit_date, found.done_date, found.text] {
        assert!(field.is_empty() || inside.contains(&field.as_ptr()));
    }
    assert_eq!(State::from_word(found.stat), found.state);
    for digits in [found.submit_date, found.done_date] {
        date(digits, 120);
    }
    if let Some(id) = found.id {
        assert!(!id.is_empty());
        ids(id);
    }
}

fn date(digits: &[u8], offset_minutes: i32) {
    if let Some(wall) = receipt::read_date(digits, RECEIVED, offset_minutes) {
        assert!(wall.0.abs_diff(RECEIVED.0) <= NEAR_MILLIS);
    }
}

/// Texts without labels, and dates of one form only, as the entries of some providers have them. An octet chooses which.
fn dialects(octets: &[u8]) {
    static DIALECTS: LazyLock<Vec<Dialect>> = LazyLock::new(|| {
        let patterns = ["{stat},{id},{}", "{id} {stat} {done date}", "{}|{id}|{stat}|{err}"];
        let dates = [DateForm::Auto, DateForm::Short, DateForm::Long, DateForm::Epoch];
        let dialect = |(pattern, date): (&str, DateForm)| Dialect {
            offset_minutes: -330,
            date,
            states: vec![(b"ACCEPTD".to_vec(), State::Delivered)],
            pattern: Some(Pattern::parse(pattern).expect("the pattern is one")),
        };
        patterns.into_iter().flat_map(|pattern| dates.map(|date| dialect((pattern, date)))).collect()
    });
    let choice = octets.last().map_or(0, |octet| usize::from(*octet));
    let dialect = &DIALECTS[choice % DIALECTS.len()];
    let Some(found) = dialect.read(octets, choice & 0x80 != 0) else { return };
    for digits in [found.done_date, found.submit_date] {
        let wall = dialect.date(digits, RECEIVED);
        assert!(wall.is_none_or(|wall| wall.0.abs_diff(RECEIVED.0) <= NEAR_MILLIS));
    }
    found.id.into_iter().for_each(ids);
}

fn ids(id: &[u8]) {
    for form in Form::ALL {
        for side in [Side::Response, Side::Receipt] {
            let (mut once, mut twice) = (Vec::new(), Vec::new());
            message_id::canonical(form, side, id, &mut once);
            // A form that is canonical stays so, read as a response's.
            message_id::canonical(form, Side::Response, &once, &mut twice);
            assert!(side == Side::Receipt || once == twice || once.len() > twice.len());
        }
    }
}

fn written(octets: &[u8]) {
    let ([state, day, id_length, error_length], rest) = front(octets);
    let dates =
        Dates { seconds: state & 0x80 != 0, offset_minutes: if state & 0x40 != 0 { -330 } else { 0 } };
    let state = State::ALL[usize::from(state) % State::ALL.len()];
    let graphic: Vec<u8> = rest.iter().copied().filter(u8::is_ascii_alphanumeric).collect();
    let (id, rest_of_word) = graphic.split_at(usize::from(id_length).min(graphic.len()));
    let error = &rest_of_word[..usize::from(error_length).min(rest_of_word.len())];
    if id.is_empty() {
        return;
    }
    let done = Wall(RECEIVED.0 - i64::from(day % 29) * 86_400_000);
    let notice = Notice { id, submitted: RECEIVED, done, state, error, text: rest };
    let mut text = Vec::new();
    receipt::write(&mut text, &notice, dates, &mut Minute::default());
    let again = receipt::read(&text).expect("what we write is a receipt");
    assert_eq!((again.id, again.state), (Some(id), Some(state)));
    assert!(again.error.ends_with(error));
    let offset_minutes = i32::from(dates.offset_minutes);
    assert_eq!(receipt::read_date(again.submit_date, RECEIVED, offset_minutes), Some(RECEIVED));
    assert_eq!(receipt::read_date(again.done_date, RECEIVED, offset_minutes), Some(done));
}
