//! How a provider takes texts: packed or not, in which national tables, long ones and flash. Its keys stand in its entry.

use crate::section::Section;
use crate::words::{Charset, Flash, InterfaceVersion, Language, LongMessages};

/// The ways of texts to one provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Texts {
    /// Whether its GSM 7-bit is packed, eight septets in seven octets; with the charset `gsm7` only. Default false.
    pub packed: bool,
    /// Languages whose single shift table it passes on to phones, likewise. Default none.
    pub single_shift: Vec<Language>,
    /// Languages whose locking shift table it passes on to phones, likewise. Default none.
    pub locking_shift: Vec<Language>,
    /// How it takes messages of several parts. Default `udh8`.
    pub long_messages: LongMessages,
    /// How it takes messages that are shown at once and not kept. Default `as_given`.
    pub flash: Flash,
}

impl Texts {
    pub(crate) fn read(section: &mut Section<'_>, charset: Charset, version: InterfaceVersion) -> Self {
        let texts = Self {
            packed: section.get("packed").unwrap_or(false),
            single_shift: section.get("single_shift").unwrap_or_default(),
            locking_shift: section.get("locking_shift").unwrap_or_default(),
            long_messages: section.get("long_messages").unwrap_or(LongMessages::Udh8),
            flash: section.get("flash").unwrap_or(Flash::AsGiven),
        };
        if charset != Charset::Gsm7 {
            texts.check_alphabet(section);
        }
        if version == InterfaceVersion::V33 {
            texts.check_parameters(section);
        }
        texts
    }

    /// What is said of the GSM alphabet means nothing where data_coding 0 is another one.
    fn check_alphabet(&self, section: &Section<'_>) {
        let given = [
            ("packed", self.packed),
            ("single_shift", !self.single_shift.is_empty()),
            ("locking_shift", !self.locking_shift.is_empty()),
        ];
        for (key, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
            let mend = "remove it, or write charset = \"gsm7\"";
            section.problem(&[key], "goes with the charset \"gsm7\" only", mend);
        }
    }

    /// SMPP 3.3 knows no optional parameters.
    fn check_parameters(&self, section: &Section<'_>) {
        let needs_them = "needs a parameter, which SMPP 3.3 does not know";
        if matches!(self.long_messages, LongMessages::Sar | LongMessages::Payload) {
            section.problem(
                &["long_messages", "interface_version"],
                needs_them,
                "write long_messages = \"udh8\"",
            );
        }
        if self.flash == Flash::Subunit {
            section.problem(&["flash", "interface_version"], needs_them, "write flash = \"general\"");
        }
    }
}
