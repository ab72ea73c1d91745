//! Blocks and amendments come back; the blocks of the release before are read.

use codecs::instant::Wall;
use engine::step::Step;

use super::*;

/// A message with this number whose story has as many steps.
fn message(number: u64, steps: u8) -> Vec<u8> {
    crate::shelves::tests::message(
        number,
        1,
        254_700_000_000 + number,
        1_795_000_000_000 + number as i64,
        steps,
    )
}

fn slices(messages: &[Vec<u8>]) -> Vec<&[u8]> {
    messages.iter().map(Vec::as_slice).collect()
}

fn by_number(messages: &[Vec<u8>]) -> Messages {
    messages.iter().map(|message| (number_of(message).unwrap(), message.clone())).collect()
}

#[test]
fn a_block_reads_back_and_says_which_places_it_has() {
    let mut writers = [BlockWriter::default(), BlockWriter::quick()];
    // The quick writer's blocks of few messages are in the test below.
    for (count, quick) in [(0, 0), (1, 0), (5, 0), (25, 1), (64, 0), (64, 1)] {
        let writer = &mut writers[quick];
        let messages: Vec<Vec<u8>> = (640..640 + count).map(|number| message(number, 2)).collect();
        let stored = writer.block(&slices(&messages)).to_vec();
        assert_eq!(messages_of(&stored), by_number(&messages), "{count}");
        let mask = if count == 64 { u64::MAX } else { (1 << count) - 1 };
        assert_eq!(places(&stored), Some(mask), "{count}");
        for cut in 1..stored.len() {
            let found = super::messages(&stored[..cut]).unwrap_or_default();
            assert!(found.is_empty(), "cut at {cut} of {count} messages");
        }
    }
}

#[test]
fn a_few_messages_that_are_parked_are_rows_and_read_back_with_room_for_a_step() {
    for count in [0, 1, 5, 24] {
        let messages: Vec<Vec<u8>> = (640..640 + count).map(|number| message(number, 2)).collect();
        let stored = BlockWriter::quick().block(&slices(&messages)).to_vec();
        let found = messages_of(&stored);
        assert_eq!(found, by_number(&messages), "{count}");
        assert!(found.values().all(|message| message.capacity() - message.len() >= STORY_ROOM));
        assert_eq!(places(&stored), None, "{count}");
        for cut in 0..stored.len() {
            // Cut between two rows, what is before them is whole.
            let found = super::messages(&stored[..cut]).unwrap_or_default();
            assert!(found.iter().all(|(number, bytes)| messages[*number as usize - 640] == *bytes), "{cut}");
        }
    }
}

fn messages_of(stored: &[u8]) -> Messages {
    super::messages(stored).unwrap()
}

/// It was archived, brought back, given a longer or a shorter text, and is archived again.
#[test]
fn an_amendment_brings_the_text_of_a_message_that_was_given_another() {
    for text in ["another text, and a longer one than the first was when it came", "short"] {
        let first: Vec<Vec<u8>> = (64..70).map(|number| message(number, 2)).collect();
        let stored = BlockWriter::default().block(&slices(&first)).to_vec();
        let mut replaced = first.clone();
        let old = engine::message::Message::read(first[3].clone()).unwrap();
        let body = engine::submission::Body { octets: text.as_bytes(), ..old.body() };
        let mut new = old.with_body(&body, old.price, old.state, Wall(old.accepted_at.0 + 9)).unwrap();
        new.take(&Step::Told, Wall(old.accepted_at.0 + 10));
        replaced[3] = new.into_bytes();
        let had = places(&stored).unwrap();
        let mut amendment = Vec::new();
        BlockWriter::default().amend(&mut amendment, &slices(&replaced[2..5]), had);
        assert_eq!(amended(&stored, &amendment).unwrap(), by_number(&replaced), "{text}");
    }
}

#[test]
fn an_amendment_adds_messages_and_replaces_stories_and_the_last_piece_counts() {
    let mut writer = BlockWriter::default();
    let first: Vec<Vec<u8>> = (64..100).map(|number| message(number, 1)).collect();
    let stored = writer.block(&slices(&first)).to_vec();
    let mut amendment = Vec::new();
    let mut expected = by_number(&first);
    for (range, steps) in [(90..110u64, 3), (95..128, 4), (64..65, 9)] {
        let later: Vec<Vec<u8>> = range.map(|number| message(number, steps)).collect();
        let had = places(&stored).unwrap() | amended_places(&amendment).unwrap().0;
        writer.amend(&mut amendment, &slices(&later), had);
        expected.extend(by_number(&later));
    }
    assert_eq!(amended(&stored, &amendment).unwrap(), expected);
    let amended_are = 1 | (90..128).fold(0, |mask, number| mask | 1 << (number - 64));
    assert_eq!(amended_places(&amendment), Some((amended_are, 5)));
    for cut in 1..amendment.len() {
        // Whole pieces before the cut are found, or nothing.
        let found = amended(&stored, &amendment[..cut]);
        assert!(found.map_or(true, |found| found != expected), "cut at {cut}");
    }
}

#[test]
fn a_story_costs_a_fraction_of_its_message() {
    let mut writer = BlockWriter::default();
    let later: Vec<Vec<u8>> = (64..77).map(|number| message(number, 4)).collect();
    let mut amendment = Vec::new();
    writer.amend(&mut amendment, &slices(&later), u64::MAX);
    assert!(amendment.len() < 13 * 24, "{} octets for the stories of 13 messages", amendment.len());
}

#[test]
fn blocks_of_the_release_before_are_read() {
    let messages: Vec<Vec<u8>> = (64..128).map(|number| message(number, 2)).collect();
    let mut rows = vec![ROWS_VERSION];
    for message in &messages {
        rows.extend_from_slice(&number_of(message).unwrap().to_le_bytes());
        rows.extend_from_slice(&(message.len() as u32).to_le_bytes());
        rows.extend_from_slice(message);
    }
    let mut stored = Vec::new();
    packing::pack(&rows, &mut stored);
    assert_eq!(messages_of(&stored), by_number(&messages));
    assert_eq!(places(&stored), None, "they are not known without reading it");
    assert_eq!(messages_of(&[]), Messages::new(), "what was lost and mended");
    for unreadable in [&[3u8, 1][..], &[0, ROWS_VERSION + 1], &[1, 2]] {
        assert_eq!(super::messages(unreadable), Err(Unreadable));
    }
}

#[test]
fn what_is_no_message_of_the_layout_is_kept_all_the_same() {
    let mut cut = message(70, 3);
    cut.truncate(90);
    let mut strange = message(71, 1);
    Step::Told.write(Wall(0), Wall(5), &mut strange);
    let length = strange.len();
    strange[length - 7] = 200;
    let messages = [message(69, 1), cut, strange, message(72, 2)];
    let stored = BlockWriter::default().block(&slices(&messages)).to_vec();
    assert_eq!(messages_of(&stored), by_number(&messages));
}
