//! What one provider does otherwise in its receipts: its clock, its words, and texts without labels. What is usual is `receipt`'s.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::{Receipt, State, read, read_date_as, read_known};
use crate::instant::Wall;
use crate::time::unpadded;

/// How a provider's receipts read. The default is what is usual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// Its local time less UTC.
    pub offset_minutes: i32,
    pub date: DateForm,
    /// Words that mean another state than they say, in capitals. A state that comes as a number counts by its word.
    pub states: Vec<(Vec<u8>, State)>,
    /// The form of a text without labels, which is tried first.
    pub pattern: Option<Pattern>,
}

/// How dates are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DateForm {
    /// In any form that makes sense.
    #[default]
    Auto,
    /// With a year of two digits.
    Short,
    /// With a year of four digits.
    Long,
    /// Seconds since 1970.
    Epoch,
}

impl DateForm {
    pub(super) fn is(self, form: DateForm) -> bool {
        self == DateForm::Auto || self == form
    }
}

impl Dialect {
    /// Reads a text that may be a receipt; `known` when other signs say that it is one.
    pub fn read<'a>(&self, text: &'a [u8], known: bool) -> Option<Receipt<'a>> {
        let by_pattern = self.pattern.as_ref().and_then(|pattern| pattern.read(text));
        // People write commas, too: without other signs its word must mean something.
        let by_pattern =
            by_pattern.filter(|found| known || self.state_of_word(found.stat).or(found.state).is_some());
        let found = by_pattern.or_else(|| if known { read_known(text) } else { read(text) })?;
        // Mostly no word means anything else.
        if self.states.is_empty() {
            return Some(found);
        }
        Some(Receipt { state: self.state_of_word(found.stat).or(found.state), ..found })
    }

    /// What a state means here that came as a number, or was read as usual.
    pub fn state(&self, state: State) -> State {
        if self.states.is_empty() {
            return state;
        }
        self.state_of_word(state.word().as_bytes()).unwrap_or(state)
    }

    pub fn date(&self, digits: &[u8], received: Wall) -> Option<Wall> {
        read_date_as(self.date, digits, received, self.offset_minutes)
    }

    /// A word's own row, else that of the state that it usually means.
    fn state_of_word(&self, word: &[u8]) -> Option<State> {
        let row = |word: &[u8]| {
            let found = self.states.iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
            found.map(|(_, state)| *state)
        };
        row(word).or_else(|| row(State::from_word(word)?.word().as_bytes()))
    }
}

/// A text that has its fields in fixed places, such as `{stat},{id},{}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// In any case.
    Literal(Vec<u8>),
    /// Up to the next literal, or to the end.
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Id,
    Stat,
    Error,
    SubmitDate,
    DoneDate,
    Text,
    Skipped,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("a brace without its other")]
    Brace,
    #[error("a field that nobody knows")]
    Field,
    #[error("two fields with nothing between them")]
    Joined,
    #[error("no id")]
    NoId,
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, field) = rest.split_once('{').unwrap_or((rest, ""));
            if literal.contains('}') {
                return Err(PatternError::Brace);
            }
            let is_field = literal.len() < rest.len();
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.as_bytes().to_vec()));
            } else if is_field && !pieces.is_empty() {
                return Err(PatternError::Joined);
            }
            if !is_field {
                break;
            }
            let (name, after) = field.split_once('}').ok_or(PatternError::Brace)?;
            pieces.push(Piece::Field(Field::parse(name).ok_or(PatternError::Field)?));
            rest = after;
        }
        match pieces.contains(&Piece::Field(Field::Id)) {
            true => Ok(Pattern { pieces }),
            false => Err(PatternError::NoId),
        }
    }

    /// `None` when the text is not of this form, or has no id.
    pub fn read<'a>(&self, text: &'a [u8]) -> Option<Receipt<'a>> {
        let mut receipt = Receipt::default();
        let mut rest = unpadded(text);
        let mut pieces = self.pieces.iter().peekable();
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Literal(literal) => rest = after(rest, literal)?,
                Piece::Field(field) => {
                    let end = match pieces.peek() {
                        Some(Piece::Literal(next)) => find(rest, next)?,
                        _ => rest.len(),
                    };
                    let (value, behind) = rest.split_at_checked(end)?;
                    field.set(&mut receipt, unpadded(value));
                    rest = behind;
                }
            }
        }
        receipt.state = State::from_word(receipt.stat);
        receipt.id.is_some().then_some(receipt)
    }
}

impl Field {
    fn parse(name: &str) -> Option<Field> {
        Some(match name {
            "id" => Field::Id,
            "stat" => Field::Stat,
            "err" => Field::Error,
            "submit date" => Field::SubmitDate,
            "done date" => Field::DoneDate,
            "text" => Field::Text,
            "" => Field::Skipped,
            _ => return None,
        })
    }

    fn set<'a>(self, receipt: &mut Receipt<'a>, value: &'a [u8]) {
        match self {
            Field::Id => receipt.id = Some(value).filter(|id| !id.is_empty()),
            Field::Stat => receipt.stat = value,
            Field::Error => receipt.error = value,
            Field::SubmitDate => receipt.submit_date = value,
            Field::DoneDate => receipt.done_date = value,
            Field::Text => receipt.text = value,
            Field::Skipped => {}
        }
    }
}

fn after<'a>(text: &'a [u8], literal: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(literal.len())?;
    head.eq_ignore_ascii_case(literal).then_some(rest)
}

fn find(text: &[u8], literal: &[u8]) -> Option<usize> {
    text.windows(literal.len().max(1)).position(|window| window.eq_ignore_ascii_case(literal))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn dialect(pattern: &str, states: &[(&str, State)]) -> Dialect {
        let states = states.iter().map(|(word, state)| (word.as_bytes().to_vec(), *state)).collect();
        let pattern = Some(pattern).filter(|pattern| !pattern.is_empty());
        Dialect { states, pattern: pattern.map(|text| Pattern::parse(text).unwrap()), ..Dialect::default() }
    }

    /// A pattern, words, a text, and its id, state and error.
    type Row<'a> = (&'a str, &'a [(&'a str, State)], &'a str, Option<(&'a str, Option<State>, &'a str)>);

    #[test]
    fn texts_without_labels_are_read_by_their_pattern() {
        let rows: [Row<'_>; 12] = [
            // The comma form of one operator: a code for the state comes first.
            (
                "{stat},{id},{}",
                &[("00", State::Delivered), ("01", State::Undeliverable)],
                "00,0210021543,0,2611201350",
                Some(("0210021543", Some(State::Delivered), "")),
            ),
            ("{stat},{id},{}", &[], "00,0210021543,0,2611201350", None),
            ("{stat},{id},{}", &[("00", State::Delivered)], "Well, yes, I will", None),
            ("{stat},{id},{}", &[], "hello", None),
            (
                "Message {id} to {} was {stat}",
                &[],
                "message 4711 to 254712345678 was delivered",
                Some(("4711", Some(State::Delivered), "")),
            ),
            (
                "Message {id} was {stat} ({err})",
                &[],
                "Message 7 was failed (27)",
                Some(("7", Some(State::Undeliverable), "27")),
            ),
            ("Message {id} was {stat}", &[], "Message  was DELIVRD", None),
            // What has labels is read by them, whatever the pattern.
            ("{stat},{id},{}", &[], "id:1 stat:DELIVRD err:000", Some(("1", Some(State::Delivered), "000"))),
            // Words.
            (
                "",
                &[("ACCEPTD", State::Delivered)],
                "id:1 stat:ACCEPTD",
                Some(("1", Some(State::Delivered), "")),
            ),
            (
                "",
                &[("ACCEPTD", State::Delivered)],
                "id:1 stat:ACCEPTED",
                Some(("1", Some(State::Delivered), "")),
            ),
            ("", &[("0", State::Delivered)], "id:1 stat:0 err:1", Some(("1", Some(State::Delivered), "1"))),
            (
                "",
                &[("FAILED", State::Expired)],
                "id:1 stat:UNDELIV",
                Some(("1", Some(State::Undeliverable), "")),
            ),
        ];
        for (pattern, states, text, expected) in rows {
            let found = dialect(pattern, states).read(text.as_bytes(), false);
            let shown = found.map(|found| {
                let text = |octets| std::str::from_utf8(octets).unwrap();
                (text(found.id.unwrap_or_default()), found.state, text(found.error))
            });
            assert_eq!(shown, expected, "{pattern} of {text}");
        }
    }

    #[test]
    fn a_word_that_means_nothing_is_enough_where_other_signs_say_that_it_is_a_receipt() {
        let dialect = dialect("{stat},{id},{}", &[]);
        let found = dialect.read(b"00,0210021543,0,2611201350", true).unwrap();
        assert_eq!((found.id, found.stat, found.state), (Some(&b"0210021543"[..]), &b"00"[..], None));
    }

    #[test]
    fn what_is_known_to_be_a_receipt_needs_no_more_than_a_word() {
        let usual = Dialect::default();
        for (text, state) in [
            ("DELIVRD", Some(State::Delivered)),
            ("done date:180903120816 UNDELIV err:000", Some(State::Undeliverable)),
            ("your message is on its way", None),
        ] {
            assert_eq!(usual.read(text.as_bytes(), true).and_then(|found| found.state), state, "{text}");
            assert_eq!(usual.read(text.as_bytes(), false), None, "{text}");
        }
    }

    #[test]
    fn a_state_that_comes_as_a_number_counts_by_its_word() {
        let dialect = dialect("", &[("ACCEPTD", State::Delivered), ("UNKNOWN", State::Enroute)]);
        assert_eq!(dialect.state(State::Accepted), State::Delivered);
        assert_eq!(dialect.state(State::Unknown), State::Enroute);
        assert_eq!(dialect.state(State::Rejected), State::Rejected);
        assert_eq!(Dialect::default().state(State::Accepted), State::Accepted);
    }

    #[test]
    fn dates_are_local_and_of_the_form_that_is_said() {
        let at = |text: &str| crate::time::parse_rfc3339(text).unwrap();
        let read = |date, offset_minutes, digits: &str, received| {
            Dialect { date, offset_minutes, ..Dialect::default() }.date(digits.as_bytes(), at(received))
        };
        let received = "2023-12-11T08:00:00Z";
        for (form, offset, digits, expected) in [
            (DateForm::Auto, 0, "1702281424", Some("2023-12-11T07:57:04Z")),
            (DateForm::Epoch, 180, "1702281424", Some("2023-12-11T07:57:04Z")),
            (DateForm::Short, 0, "1702281424", None),
            (DateForm::Short, 180, "2312111057", Some("2023-12-11T07:57:00Z")),
            (DateForm::Long, 180, "202312111057", Some("2023-12-11T07:57:00Z")),
            (DateForm::Long, 180, "20231211105704", Some("2023-12-11T07:57:04Z")),
            (DateForm::Short, 0, "231211075704", Some("2023-12-11T07:57:04Z")),
            (DateForm::Epoch, 0, "231211075704", None),
        ] {
            assert_eq!(read(form, offset, digits, received), expected.map(at), "{form:?} {digits}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (text, error) in [
            ("", PatternError::NoId),
            ("{stat}", PatternError::NoId),
            ("{id}{stat}", PatternError::Joined),
            ("{id", PatternError::Brace),
            ("id}{id}", PatternError::Brace),
            ("{who},{id}", PatternError::Field),
        ] {
            assert_eq!(Pattern::parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_can_meet_any_pattern(pattern in "([a-z, ]{1,3}\\{(id|stat|err|text|)\\}){1,5}", text in any::<Vec<u8>>()) {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                let _ = pattern.read(&text);
            }
        }

        #[test]
        fn what_was_put_into_a_pattern_comes_out(id in "[0-9a-f]{1,20}", stat in "[A-Z]{5,7}") {
            let text = format!("state {stat}; of {id} .");
            let found = Pattern::parse("state {stat}; of {id} .").unwrap().read(text.as_bytes()).unwrap();
            prop_assert_eq!((found.id, found.stat), (Some(id.as_bytes()), stat.as_bytes()));
        }
    }
}
