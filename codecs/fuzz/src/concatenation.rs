//! User data headers and the parts of long messages: parts lie end to end, hold what fits, and cut no character.

use codecs::split::{self, Cut, PARTS_MAX, Reference};
use codecs::text::{Encoding, decode};
use codecs::user_data;

use crate::front;

pub fn check(octets: &[u8]) {
    header(octets);
    let ([choice, elements], content) = front(octets);
    let encoding = Encoding::ALL[usize::from(choice) % Encoding::ALL.len()];
    let reference = if choice & 0x40 == 0 { Reference::Narrow } else { Reference::Wide };
    parts(
        Cut { encoding, elements: usize::from(elements % 140), reference, is_first_form: choice >= 0x80 },
        content,
    );
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

fn parts(cut: Cut, content: &[u8]) {
    let parts: Vec<_> = cut.parts(content).take(PARTS_MAX + 2).collect();
    if parts.len() > PARTS_MAX {
        return;
    }
    assert_eq!(parts.len(), cut.count(content));
    let room = room(cut, parts.len() > 1);
    let mut end = 0;
    let mut text = String::new();
    for part in &parts {
        assert!(part.start == end && (!part.is_empty() || content.is_empty()));
        assert!(room.is_none_or(|room| part.len() <= room), "{} octets in {room:?}", part.len());
        end = part.end;
        text.push_str(&decode(cut.encoding, &content[part.clone()]));
    }
    assert_eq!(end, content.len());
    // A byte order mark means something at the front only, and there it may come to stand by a cut.
    let mark = |unit: &[u8; 2]| matches!(unit, [0xFE, 0xFF] | [0xFF, 0xFE]);
    if cut.encoding != Encoding::Ucs2 || !content.as_chunks::<2>().0.iter().any(mark) {
        assert_eq!(text, decode(cut.encoding, content));
    }
}

/// The octets that a part may have at most: what 140 octets on the air leave beside the header. None where an octet may take
/// more than one place.
fn room(cut: Cut, is_one_of_several: bool) -> Option<usize> {
    let joined = if is_one_of_several { cut.reference.element_octets() } else { 0 };
    let elements = cut.elements + joined;
    let octets = 140_usize.saturating_sub(if elements == 0 { 0 } else { elements + 1 });
    let room = match cut.encoding {
        Encoding::Gsm7 => octets * 8 / 7,
        Encoding::Ucs2 => octets & !1,
        Encoding::Binary => octets,
        Encoding::Latin1 => return None,
    };
    Some(room.max(4))
}
