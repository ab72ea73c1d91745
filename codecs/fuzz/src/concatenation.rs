//! User data headers and the parts of long messages: parts lie end to end, hold what fits, and cut no character.

use codecs::split::{self, PARTS_MAX};
use codecs::text::{Encoding, decode};
use codecs::user_data;

use crate::front;

pub fn check(octets: &[u8]) {
    header(octets);
    let ([choice], content) = front(octets);
    parts(Encoding::ALL[usize::from(choice) % Encoding::ALL.len()], content);
}

fn header(octets: &[u8]) {
    if let Some((elements, text)) = split::header_and_text(octets) {
        assert_eq!(1 + elements.len() + text.len(), octets.len());
    }
    let mut others = Vec::new();
    let part = user_data::part(octets, &mut others);
    let found = split::concatenation(octets);
    assert_eq!(part.map(|part| part.place), found);
    if let (Some(part), Some((_, text))) = (part, split::header_and_text(octets)) {
        assert_eq!(part.text, text);
        // What else the header says is a header again, and says nothing of parts.
        assert!(
            others.is_empty() || split::header_and_text(&others).is_some_and(|(_, text)| text.is_empty())
        );
        assert_eq!(split::concatenation(&others), None);
    } else {
        assert!(others.is_empty());
    }
    let Some(found) = found else { return };
    assert!((1..=found.total).contains(&found.number));
    if let Ok(reference) = u8::try_from(found.reference) {
        let again = split::udh8(reference, found.total, found.number);
        assert_eq!(split::concatenation(&again), Some(found));
    }
}

fn parts(encoding: Encoding, content: &[u8]) {
    let limits = split::limits(encoding);
    let parts: Vec<_> = split::parts(encoding, content).take(PARTS_MAX + 2).collect();
    if parts.len() > PARTS_MAX {
        return;
    }
    assert_eq!(parts.len(), split::count(encoding, content));
    let room = if parts.len() == 1 { limits.single } else { limits.part };
    let mut end = 0;
    let mut text = String::new();
    for part in &parts {
        assert!(part.start == end && part.len() <= room && (!part.is_empty() || content.is_empty()));
        end = part.end;
        text.push_str(&decode(encoding, &content[part.clone()]));
    }
    assert_eq!(end, content.len());
    // A byte order mark means something at the front only, and there it may come to stand by a cut.
    let mark = |unit: &[u8; 2]| matches!(unit, [0xFE, 0xFF] | [0xFF, 0xFE]);
    if encoding != Encoding::Ucs2 || !content.as_chunks::<2>().0.iter().any(mark) {
        assert_eq!(text, decode(encoding, content));
    }
}
