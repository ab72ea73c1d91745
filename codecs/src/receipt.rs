//! Delivery receipts: reading every text that is seen in the wild, and the one text we write.
//! Not here: the parameters 0x001E and 0x0427 (`smpp`), and what a receipt does to a message.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

mod dialect;

pub use dialect::{DateForm, Dialect, Pattern, PatternError};

use crate::instant::Wall;
use crate::text::utf16_units;
use crate::time::{Civil, MINUTE_MILLIS, absolute, earlier, pairs, two_digits, unpadded, write_minute};

/// What became of a message, with the numbers of message_state (SMPP 3.4 §5.2.28, 5.0 §4.7.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    Scheduled = 0,
    Enroute = 1,
    Delivered = 2,
    Expired = 3,
    Deleted = 4,
    Undeliverable = 5,
    Accepted = 6,
    Unknown = 7,
    Rejected = 8,
    Skipped = 9,
}

impl State {
    pub const ALL: [State; 10] = [
        State::Scheduled,
        State::Enroute,
        State::Delivered,
        State::Expired,
        State::Deleted,
        State::Undeliverable,
        State::Accepted,
        State::Unknown,
        State::Rejected,
        State::Skipped,
    ];

    pub fn as_u8(self) -> u8 {
        self as u8
    }

    pub fn from_number(number: u8) -> Option<State> {
        State::ALL.into_iter().find(|state| state.as_u8() == number)
    }

    /// Whether nothing more is to come. Not after ACCEPTED, although the specification calls it final: in practice the real
    /// outcome follows.
    pub fn is_final(self) -> bool {
        !matches!(self, State::Scheduled | State::Enroute | State::Accepted)
    }

    /// The word after `stat:`.
    pub fn word(self) -> &'static str {
        match self {
            State::Scheduled => "SCHEDLD",
            State::Enroute => "ENROUTE",
            State::Delivered => "DELIVRD",
            State::Expired => "EXPIRED",
            State::Deleted => "DELETED",
            State::Undeliverable => "UNDELIV",
            State::Accepted => "ACCEPTD",
            State::Unknown => "UNKNOWN",
            State::Rejected => "REJECTD",
            State::Skipped => "SKIPPED",
        }
    }

    /// Reads the word after `stat:` in any case and spelling: by its first letters.
    pub fn from_word(word: &[u8]) -> Option<State> {
        let begins = |start: &str| {
            let head = word.get(..start.len());
            head.is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
        };
        BEGINNINGS.iter().find(|(start, _)| begins(start)).map(|(_, state)| *state)
    }
}

/// How the words begin, the commonest first. FAILED, NACK, BUFFRED, BUFFERD and ACKED are not in the specification.
const BEGINNINGS: [(&str, State); 14] = [
    ("DELIV", State::Delivered),
    ("UNDEL", State::Undeliverable),
    ("EXPIR", State::Expired),
    ("REJEC", State::Rejected),
    ("ACCEP", State::Accepted),
    ("ENROU", State::Enroute),
    ("DELET", State::Deleted),
    ("UNKNO", State::Unknown),
    ("SKIPP", State::Skipped),
    ("SCHED", State::Scheduled),
    ("FAILE", State::Undeliverable),
    ("NACK", State::Undeliverable),
    ("BUFF", State::Enroute),
    ("ACKED", State::Enroute),
];

/// A receipt's text, cut into its fields. What is absent is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt<'a> {
    pub id: Option<&'a [u8]>,
    /// `None` when there is no word for it, or one that nobody knows: `stat` has it.
    pub state: Option<State>,
    pub stat: &'a [u8],
    /// Each provider has its own codes, not always numbers.
    pub error: &'a [u8],
    pub submit_date: &'a [u8],
    pub done_date: &'a [u8],
    pub text: &'a [u8],
}

/// Reads a receipt's text from left to right. `None` when it has neither `id:` nor `stat:`. With only one of the two it may
/// still be a message that happens to look like this: the caller has esm_class and the parameters to tell.
pub fn read(text: &[u8]) -> Option<Receipt<'_>> {
    interpret(text, false)
}

/// The same of what is known to be a receipt by other signs: a state's word is enough then.
pub fn read_known(text: &[u8]) -> Option<Receipt<'_>> {
    interpret(text, true).filter(|receipt| receipt.id.is_some() || !receipt.stat.is_empty())
}

fn interpret(text: &[u8], is_known: bool) -> Option<Receipt<'_>> {
    let text = unpadded(text);
    usual(text).or_else(|| by_labels(text, is_known))
}

/// A text as appendix B writes it, which most are: each label has its place, and nothing need be looked for. `None` for any
/// other, and where a value is missing.
fn usual(text: &[u8]) -> Option<Receipt<'_>> {
    let (id, rest) = word(after_word(text, b"id:")?)?;
    let (_, rest) = word(after_word(rest, b" sub:")?)?;
    let (_, rest) = word(after_word(rest, b" dlvrd:")?)?;
    let (submit_date, rest) = word(after_word(rest, b" submit date:")?)?;
    let (done_date, rest) = word(after_word(rest, b" done date:")?)?;
    let (stat, rest) = word(after_word(rest, b" stat:")?)?;
    let (error, rest) = word(after_word(rest, b" err:")?)?;
    let text = unpadded(after_word(rest, b" text:")?);
    Some(Receipt { id: Some(id), state: State::from_word(stat), stat, error, submit_date, done_date, text })
}

fn by_labels(text: &[u8], is_known: bool) -> Option<Receipt<'_>> {
    let fields = Fields::read(text);
    let id = fields.whole_id().filter(|id| !id.is_empty());
    let stat = match fields.stat {
        Some(stat) => first_word(stat),
        None if id.is_some() || is_known => bare_state(before(text, fields.text.unwrap_or_default())),
        None => return None,
    };
    Some(Receipt {
        id,
        state: State::from_word(stat),
        stat,
        error: fields.error.map(first_word).unwrap_or_default(),
        submit_date: fields.submit_date.map(first_word).unwrap_or_default(),
        done_date: fields.done_date.map(first_word).unwrap_or_default(),
        text: fields.text.map(unpadded).unwrap_or_else(|| fields.unlabelled_text()),
    })
}

/// The moment that a date of a receipt means. Many forms are seen and some digits have two readings: of those that exist the
/// one nearest to the receive time counts, if it is within 30 days. `offset_minutes` is the provider's local time less UTC.
pub fn read_date(digits: &[u8], received: Wall, offset_minutes: i32) -> Option<Wall> {
    read_date_as(DateForm::Auto, digits, received, offset_minutes)
}

fn read_date_as(form: DateForm, digits: &[u8], received: Wall, offset_minutes: i32) -> Option<Wall> {
    const NEAR_MILLIS: u64 = 30 * 86_400_000;
    let local = |civil: Option<Civil>| Some(earlier(civil?.wall()?, i64::from(offset_minutes)));
    let short = |digits| local(Civil::from_short(digits).filter(|_| form.is(DateForm::Short)));
    let long = |digits| local(Civil::from_long(digits).filter(|_| form.is(DateForm::Long)));
    let epoch = |digits| epoch_seconds(digits).filter(|_| form.is(DateForm::Epoch));
    let (digits, ahead) = match unpadded(digits) {
        [digits @ .., b'+'] => (digits, Some(1)),
        [digits @ .., b'-'] => (digits, Some(-1)),
        digits => (digits, None),
    };
    let readings = match (digits.len(), ahead) {
        (10, None) => [short(digits), epoch(digits)],
        (12, None) => [short(digits), long(digits)],
        (14, _) => [long(digits), None],
        // The form of SMPP's own time fields, which says its offset.
        (12 | 13 | 15, Some(ahead)) => [absolute(digits, ahead), None],
        _ => return None,
    };
    let distance = |wall: &Wall| wall.0.abs_diff(received.0);
    let nearest = readings.into_iter().flatten().min_by_key(distance)?;
    (distance(&nearest) <= NEAR_MILLIS).then_some(nearest)
}

/// Whether esm_class says that this is a receipt or an intermediate notification (SMPP 3.4 §5.2.12), the handset's own
/// acknowledgement included. Some SMSCs do not set it, so a text with both id and state is one too.
pub fn is_receipt(esm_class: u8) -> bool {
    matches!(esm_class & KIND, 0x04 | 0x08 | 0x20 | 0x24)
}

/// Whether esm_class says that it is the handset's own acknowledgement, or its user's, which may hold what somebody wrote.
pub fn is_acknowledgement(esm_class: u8) -> bool {
    matches!(esm_class & KIND, 0x08 | BY_USER)
}

/// Whether it is the user's: no SMSC sends one itself.
pub fn is_by_user(esm_class: u8) -> bool {
    esm_class & KIND == BY_USER
}

/// Appends UCS-2 text as ASCII for `read`: some SMSCs send their receipts under data_coding 8. Other characters become `?`.
pub fn ascii_of_ucs2(octets: &[u8], out: &mut Vec<u8>) {
    let ascii = |unit| u8::try_from(unit).ok().filter(u8::is_ascii).unwrap_or(b'?');
    out.extend(utf16_units(octets).map(ascii));
}

/// What a receipt that we write tells.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// The id that our submit_sm_resp gave.
    pub id: &'a [u8],
    pub submitted: Wall,
    pub done: Wall,
    pub state: State,
    /// Filled up with zeros to three characters; empty is none.
    pub error: &'a [u8],
    /// The message's octets; the first 20 are used.
    pub text: &'a [u8],
}

/// How the dates of a receipt are written: appendix B leaves the time zone open, and many read seconds as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dates {
    /// YYMMDDhhmmss and not YYMMDDhhmm.
    pub seconds: bool,
    /// What local time is ahead of UTC.
    pub offset_minutes: i16,
}

impl Dates {
    fn write(self, out: &mut Vec<u8>, wall: Wall, minute: &mut Minute) {
        let local = earlier(wall, i64::from(self.offset_minutes).saturating_neg());
        out.extend_from_slice(minute.digits(local));
        if self.seconds {
            out.extend_from_slice(&two_digits(Civil::of(local).second));
        }
    }
}

/// The minute that was written last: receipts mostly tell of what happened a moment ago, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Minute {
    /// Since 1970.
    minute: Option<i64>,
    digits: Vec<u8>,
}

impl Minute {
    /// YYMMDDhhmm.
    fn digits(&mut self, wall: Wall) -> &[u8] {
        let minute = wall.0.div_euclid(MINUTE_MILLIS);
        if self.minute != Some(minute) {
            self.minute = Some(minute);
            self.digits.clear();
            write_minute(&mut self.digits, Civil::of(wall));
        }
        &self.digits
    }
}

/// Appends the text of SMPP 3.4 appendix B, in ASCII. `minute` is kept from one receipt to the next, and starts empty.
pub fn write(out: &mut Vec<u8>, notice: &Notice<'_>, dates: Dates, minute: &mut Minute) {
    out.reserve(notice.id.len().saturating_add(140));
    out.extend_from_slice(b"id:");
    out.extend_from_slice(notice.id);
    out.extend_from_slice(match notice.state {
        State::Delivered => b" sub:001 dlvrd:001 submit date:",
        _ => b" sub:001 dlvrd:000 submit date:",
    });
    dates.write(out, notice.submitted, minute);
    out.extend_from_slice(b" done date:");
    dates.write(out, notice.done, minute);
    out.extend_from_slice(b" stat:");
    out.extend_from_slice(notice.state.word().as_bytes());
    out.extend_from_slice(b" err:");
    // At least three characters, as most read it; with a sign in front it would be another number.
    if !notice.error.contains(&b'-') {
        out.extend((notice.error.len()..3).map(|_| b'0'));
    }
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
    out.extend(notice.error.iter().map(|octet| if is_plain(*octet) { *octet } else { b'.' }));
    out.extend_from_slice(b" text:");
    let printable = |octet: &u8| {
        if matches!(octet, b' '..=b'~') { *octet } else { b'.' }
    };
    out.extend(notice.text.iter().take(TEXT_OCTETS).map(printable));
}

/// The bits of esm_class that give the kind of message.
pub const KIND: u8 = 0x3C;
const BY_USER: u8 = 0x10;
const TEXT_OCTETS: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Id,
    Sub,
    Dlvrd,
    SubmitDate,
    DoneDate,
    Stat,
    Err,
    Text,
}

/// The octets after each label, up to the next label.
#[derive(Default)]
struct Fields<'a> {
    id: Option<&'a [u8]>,
    sub: Option<&'a [u8]>,
    dlvrd: Option<&'a [u8]>,
    submit_date: Option<&'a [u8]>,
    done_date: Option<&'a [u8]>,
    stat: Option<&'a [u8]>,
    error: Option<&'a [u8]>,
    text: Option<&'a [u8]>,
    last: Option<Label>,
}

impl<'a> Fields<'a> {
    /// A label counts at the start or after a separator, and once: what looks like one again is text that somebody wrote.
    /// After `text:` all is text.
    fn read(text: &'a [u8]) -> Fields<'a> {
        let mut fields = Fields::default();
        let mut candidate = Some(text);
        while let Some(here) = candidate {
            candidate = after_separator(here);
            let Some((value, label)) = label(here) else {
                continue;
            };
            if fields.slot(label).is_some() {
                continue;
            }
            fields.close(here);
            *fields.slot(label) = Some(value);
            fields.last = Some(label);
            if label == Label::Text {
                break;
            }
        }
        fields
    }

    fn slot(&mut self, label: Label) -> &mut Option<&'a [u8]> {
        match label {
            Label::Id => &mut self.id,
            Label::Sub => &mut self.sub,
            Label::Dlvrd => &mut self.dlvrd,
            Label::SubmitDate => &mut self.submit_date,
            Label::DoneDate => &mut self.done_date,
            Label::Stat => &mut self.stat,
            Label::Err => &mut self.error,
            Label::Text => &mut self.text,
        }
    }

    /// Ends the value of the last label where the next one begins.
    fn close(&mut self, next: &[u8]) {
        if let Some(last) = self.last {
            let slot = self.slot(last);
            *slot = slot.map(|value| before(value, next));
        }
    }

    /// Ids may have spaces and commas in them. Where the state or the text may stand behind the id without a label, and at the end of a
    /// line, it is one word. A label that nobody knows ends it as well.
    fn whole_id(&self) -> Option<&'a [u8]> {
        let value = self.id?;
        if self.stat.is_none() || self.last == Some(Label::Id) {
            return Some(first_word(value));
        }
        let line = unpadded(value).split(|octet| octet.is_ascii_control()).next().unwrap_or_default();
        let (first, others) = line.split_at_checked(first_word(line).len())?;
        let label = others.iter().position(|octet| matches!(octet, b':' | b'='));
        let before = others.get(..label.unwrap_or(others.len())).unwrap_or_default();
        let word = label.and_then(|_| before.iter().rposition(|octet| is_separator(*octet)));
        let line = line.get(..first.len().saturating_add(word.unwrap_or(before.len())))?;
        let end = line.iter().rposition(|octet| !is_separator(*octet)).map_or(0, |at| at.saturating_add(1));
        line.get(..end)
    }

    /// Some write the text without a label: what follows the first word of the last field.
    fn unlabelled_text(mut self) -> &'a [u8] {
        let value = self.last.and_then(|last| *self.slot(last)).map(unpadded).unwrap_or_default();
        unpadded(value.get(first_word(value).len()..).unwrap_or_default())
    }
}

/// What follows one label with its colon, and the label. Its words may be joined by spaces, an underscore or nothing.
///
/// By hand and not by combinators: each receipt has some ten places where a label could begin.
fn label(input: &[u8]) -> Option<(&[u8], Label)> {
    let (rest, label) = match input.first()? | 0x20 {
        b'i' => (after_word(input, b"id")?, Label::Id),
        b's' => None
            .or_else(|| Some((after_words(input, b"submit", b"date")?, Label::SubmitDate)))
            .or_else(|| Some((after_word(input, b"sub")?, Label::Sub)))
            .or_else(|| Some((after_word(input, b"stat")?, Label::Stat)))?,
        b'd' => None
            .or_else(|| Some((after_words(input, b"done", b"date")?, Label::DoneDate)))
            .or_else(|| Some((after_word(input, b"dlvrd")?, Label::Dlvrd)))?,
        b'e' => (after_word(input, b"err")?, Label::Err),
        b't' => (after_word(input, b"text")?, Label::Text),
        _ => return None,
    };
    Some((after_joint(rest).strip_prefix(b":")?, label))
}

/// What follows a word in any case.
fn after_word<'a>(input: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = input.split_at_checked(word.len())?;
    head.eq_ignore_ascii_case(word).then_some(rest)
}

fn after_words<'a>(input: &'a [u8], first: &[u8], second: &[u8]) -> Option<&'a [u8]> {
    after_word(after_joint(after_word(input, first)?), second)
}

fn after_joint(mut input: &[u8]) -> &[u8] {
    while let [b' ' | b'_', rest @ ..] = input {
        input = rest;
    }
    input
}

/// Spaces and all control characters, NUL too.
fn is_separator(octet: u8) -> bool {
    matches!(octet, 0..=b' ' | b',' | b';')
}

/// What stands before the first separator, if there are both; and the rest from the separator on.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|octet| is_separator(*octet)).filter(|at| *at > 0)?;
    text.split_at_checked(at)
}

/// What follows the first separator.
fn after_separator(text: &[u8]) -> Option<&[u8]> {
    let at = text.iter().position(|octet| is_separator(*octet))?;
    text.get(at.saturating_add(1)..)
}

/// What stands in `whole` before its end `tail`.
fn before<'a>(whole: &'a [u8], tail: &[u8]) -> &'a [u8] {
    whole.get(..whole.len().saturating_sub(tail.len())).unwrap_or_default()
}

fn first_word(value: &[u8]) -> &[u8] {
    let value = unpadded(value);
    let end = value.iter().position(|octet| is_separator(*octet));
    end.and_then(|end| value.get(..end)).unwrap_or(value)
}

/// A state's word that stands without `stat:`. It must be the very word: anything looser finds states in people's texts.
fn bare_state(text: &[u8]) -> &[u8] {
    let known = |word: &&[u8]| State::ALL.iter().any(|state| state.word().as_bytes() == *word);
    text.split(|octet| is_separator(*octet)).find(known).unwrap_or_default()
}

fn epoch_seconds(digits: &[u8]) -> Option<Wall> {
    let seconds = pairs::<5>(digits)?
        .into_iter()
        .fold(0i64, |sum, pair| sum.saturating_mul(100).saturating_add(i64::from(pair)));
    Some(Wall(seconds.saturating_mul(1_000)))
}

#[cfg(test)]
mod tests;
