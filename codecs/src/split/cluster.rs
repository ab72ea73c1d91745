//! Where a UTF-16 text may be cut: never inside a surrogate pair, and by choice not inside what a reader sees as one character. It
//! knows the common kinds of such (marks, variation selectors, joiners, skin tones, flags), not all of Unicode's rules.

/// Octets that a part gives up at most so that a character stays whole: a family of four is eleven units.
const GIVEN_UP_MAX: usize = 24;

/// Octets by which a part is shortened so that its last character is whole. `next` is what follows it.
pub fn open(part: &[u8], next: &[u8]) -> usize {
    let least = open_surrogate(part);
    let mut given_up = least;
    while given_up <= GIVEN_UP_MAX {
        let Some((before, after)) = around(part, next, given_up) else { break };
        if !is_inside(before, after) {
            return given_up;
        }
        let Some(last) = last_scalar(before) else { break };
        given_up = given_up.saturating_add(last.len_utf16().saturating_mul(2));
    }
    least
}

/// 2 when the last unit is the first half of a surrogate pair.
pub fn open_surrogate(part: &[u8]) -> usize {
    match part {
        [.., 0xD8..=0xDB, _] => 2,
        _ => 0,
    }
}

/// What stays in the part when it gives up so many octets, and the first scalar of what then follows.
fn around<'a>(part: &'a [u8], next: &[u8], given_up: usize) -> Option<(&'a [u8], char)> {
    let (before, tail) = part.split_at_checked(part.len().checked_sub(given_up)?)?;
    let mut units = tail.iter().chain(next).copied();
    let mut unit = || Some(u16::from_be_bytes([units.next()?, units.next()?]));
    let first = [unit()?, unit().unwrap_or(0)];
    let scalar = char::decode_utf16(first).next()?.unwrap_or(char::REPLACEMENT_CHARACTER);
    Some((before, scalar))
}

fn last_scalar(text: &[u8]) -> Option<char> {
    let unit = |pair: &[u8; 2]| u16::from_be_bytes(*pair);
    let (rest, last) = text.split_last_chunk::<2>()?;
    let single = char::decode_utf16([unit(last)]).next()?;
    match (single, rest.split_last_chunk::<2>()) {
        (Ok(character), _) => Some(character),
        (Err(_), Some((_, first))) => char::decode_utf16([unit(first), unit(last)]).next()?.ok(),
        (Err(_), None) => None,
    }
}

/// Whether a cut here would be inside one visible character.
fn is_inside(before: &[u8], after: char) -> bool {
    match last_scalar(before) {
        None => false,
        Some(ZERO_WIDTH_JOINER) => true,
        Some('\r') => after == '\n',
        Some(last) if is_regional(last) && is_regional(after) => regional_run(before) % 2 == 1,
        Some(_) => extends(after),
    }
}

const ZERO_WIDTH_JOINER: char = '\u{200D}';

/// Flags are pairs of these.
fn is_regional(character: char) -> bool {
    ('\u{1F1E6}'..='\u{1F1FF}').contains(&character)
}

/// How many regional indicators the text ends in.
fn regional_run(mut text: &[u8]) -> usize {
    let mut run = 0usize;
    while last_scalar(text).is_some_and(is_regional) {
        text = text.get(..text.len().saturating_sub(4)).unwrap_or_default();
        run = run.saturating_add(1);
    }
    run
}

/// Joins the character before it.
fn extends(character: char) -> bool {
    matches!(
        character,
        ZERO_WIDTH_JOINER
            | '\u{0300}'..='\u{036F}'
            | '\u{0483}'..='\u{0489}'
            | '\u{0591}'..='\u{05BD}'
            | '\u{0610}'..='\u{061A}'
            | '\u{064B}'..='\u{065F}'
            | '\u{0670}'
            | '\u{20D0}'..='\u{20F0}'
            | '\u{FE00}'..='\u{FE0F}'
            | '\u{FE20}'..='\u{FE2F}'
            | '\u{1F3FB}'..='\u{1F3FF}'
            | '\u{E0020}'..='\u{E007F}'
    ) || is_indian_mark(character)
}

/// The signs and the virama of the Indian scripts U+0900 to U+0D7F, which stand at the same places of each block of 128.
fn is_indian_mark(character: char) -> bool {
    let scalar = u32::from(character);
    (0x0900..0x0D80).contains(&scalar)
        && matches!(scalar & 0x7F, 0x01..=0x03 | 0x3C | 0x3E..=0x4D | 0x62 | 0x63)
}
