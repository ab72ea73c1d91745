//! Text made fit for GSM 7-bit: characters put together that were written apart, and likenesses for those that the alphabet
//! has not. Whether a likeness is wanted is the tenant's to say.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::national::Languages;
use super::septets;

/// The text with letters and their marks put together (Unicode's form NFC): a letter and its accent written apart are no
/// character of GSM 7-bit, and together they often are.
pub fn composed(text: &str) -> Cow<'_, str> {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => Cow::Borrowed(text),
        IsNormalized::No | IsNormalized::Maybe => Cow::Owned(text.nfc().collect()),
    }
}

/// The text in likenesses that GSM 7-bit has; `None` when some character has none, so that a text which has to stay Unicode
/// is never changed, or when nothing had to be changed.
pub fn transliterated(text: &str) -> Option<String> {
    changed(text, |_| false)
}

/// The same where what the tables of these languages have stays as it is; `None` also when nothing but the form would be changed in
/// which Unicode writes it. Whether one of them has all of it then is not said.
pub fn transliterated_beside(text: &str, languages: Languages) -> Option<String> {
    let likeness = changed(text, |character| languages.tables().any(|tables| tables.has(character)))?;
    (likeness != composed(text)).then_some(likeness)
}

fn changed(text: &str, stays: impl Fn(char) -> bool) -> Option<String> {
    let composed = composed(text);
    let mut out = String::with_capacity(text.len());
    let mut characters = composed.chars().peekable();
    while let Some(character) = characters.next() {
        // A line end of two characters says no more than one, and takes a septet more.
        if character == '\r' && characters.peek() == Some(&'\n') {
            continue;
        }
        if septets(character).is_some() || stays(character) {
            out.push(character);
        } else {
            out.push_str(likeness(character)?);
        }
    }
    (out != text).then_some(out)
}

/// What stands for a character that GSM 7-bit has not. Letters that would become other letters are not among them: that is
/// another spelling, and nobody's default.
fn likeness(character: char) -> Option<&'static str> {
    if let Some(full) = full_width(character) {
        return Some(full);
    }
    let found = LIKENESSES.iter().find(|(_, from)| from.contains(character));
    found.map(|(to, _)| *to)
}

/// Full-width forms of ASCII (U+FF01 to U+FF5E) are 0xFEE0 above it.
fn full_width(character: char) -> Option<&'static str> {
    let place = u32::from(character).checked_sub(0xFF01)?;
    let ascii = ASCII.get(usize::try_from(place).ok()?..)?.get(..1)?;
    // The grave accent is the one of them that GSM 7-bit has not.
    Some(if ascii == "`" { "'" } else { ascii })
}

/// U+0021 to U+007E.
const ASCII: &str =
    "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";

/// What stands for which characters. Marks that combine are here as well: where they could be put together with a letter, they
/// have been before.
#[rustfmt::skip]
const LIKENESSES: &[(&str, &str)] = &[
    ("\"", "\u{AB}\u{BB}\u{201C}\u{201D}\u{201E}\u{201F}\u{2BA}\u{2EE}\u{275D}\u{275E}\u{301D}\u{301E}"),
    ("'", "\u{2018}\u{2019}\u{201B}\u{2B9}\u{2BB}\u{2BC}\u{2BD}\u{2C8}\u{2CA}\u{2CB}\u{B4}\u{60}\u{275B}\u{275C}\u{313}\u{314}\u{FE10}\u{FE11}"),
    ("-", "\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2015}\u{2022}\u{2043}\u{2212}\u{23BC}\u{23BD}\u{FE63}"),
    ("/", "\u{F7}\u{2044}\u{2215}\u{29F8}\u{337}\u{338}"),
    ("\\", "\u{29F5}\u{29F9}\u{20E5}\u{FE68}"),
    ("|", "\u{20D2}\u{20D3}\u{2223}\u{239C}\u{239F}\u{23B8}\u{23B9}\u{23D0}"),
    ("_", "\u{332}\u{2017}"),
    ("*", "\u{204E}\u{2217}\u{229B}\u{2722}\u{2723}\u{2724}\u{2725}\u{2731}\u{2732}\u{2733}\u{273A}\u{273B}\u{273C}\u{273D}\u{2743}\u{2749}\u{274A}\u{274B}\u{29C6}\u{FE61}"),
    (",", "\u{201A}\u{326}\u{3001}\u{FE50}\u{FE51}\u{FF64}"),
    (".", "\u{3002}\u{FE52}\u{FF61}"),
    (":", "\u{2D0}\u{2F8}\u{2982}\u{A789}\u{FE13}"),
    (";", "\u{204F}\u{FE14}\u{FE54}"),
    ("(", "\u{2768}\u{276A}\u{27EE}\u{2985}\u{FE59}"),
    (")", "\u{2769}\u{276B}\u{27EF}\u{2986}\u{FE5A}"),
    ("{", "\u{2774}\u{FE5B}"),
    ("}", "\u{2775}\u{FE5C}"),
    ("<", "\u{2039}\u{FE64}"),
    (">", "\u{203A}\u{FE65}"),
    ("=", "\u{347}\u{A78A}\u{FE66}"),
    ("+", "\u{2D6}\u{FE62}"),
    ("!", "\u{1C3}\u{FE15}\u{FE57}"),
    ("?", "\u{FE16}\u{FE56}"),
    ("#", "\u{FE5F}"),
    ("$", "\u{FE69}"),
    ("%", "\u{FE6A}"),
    ("&", "\u{FE60}"),
    ("@", "\u{FE6B}"),
    ("^", "\u{2C6}\u{302}\u{1DCD}"),
    ("~", "\u{2DC}\u{2F7}\u{303}\u{330}\u{334}\u{223C}"),
    ("!!", "\u{203C}"),
    ("...", "\u{2026}"),
    ("1/4", "\u{BC}"),
    ("1/2", "\u{BD}"),
    ("3/4", "\u{BE}"),
    ("Ç", "\u{E7}"),
    ("A", "\u{1D00}"),
    ("B", "\u{299}"),
    ("C", "\u{1D04}"),
    ("D", "\u{1D05}"),
    ("E", "\u{1D07}"),
    ("F", "\u{A730}"),
    ("G", "\u{262}"),
    ("H", "\u{29C}"),
    ("I", "\u{26A}"),
    ("J", "\u{1D0A}"),
    ("K", "\u{1D0B}"),
    ("L", "\u{29F}"),
    ("M", "\u{1D0D}"),
    ("N", "\u{274}"),
    ("O", "\u{1D0F}"),
    ("P", "\u{1D18}"),
    ("R", "\u{280}"),
    ("S", "\u{A731}"),
    ("T", "\u{1D1B}"),
    ("U", "\u{1D1C}"),
    ("V", "\u{1D20}"),
    ("W", "\u{1D21}"),
    ("Y", "\u{28F}"),
    ("Z", "\u{1D22}"),
    (" ", "\u{9}\u{A0}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}\u{2007}\u{2008}\u{2009}\u{200A}\u{2028}\u{2029}\u{202F}\u{205F}\u{3000}\u{80}\u{8D}\u{90}\u{9B}\u{9F}"),
    ("", "\u{AD}\u{200B}\u{2060}\u{FEFF}\u{0}\u{3}\u{4}\u{10}\u{11}\u{12}\u{13}\u{14}\u{17}\u{19}"),
];

#[cfg(test)]
mod tests;
