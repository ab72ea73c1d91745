//! The hash of the one id that a provider has given a message, as the index of receipts has it. The ids themselves stand in the
//! message's story; with this the story of one that ends need not be read for them.

/// No more than a word: every message has one.
#[derive(Clone, Copy, Debug)]
pub struct IdHash(u64);

impl IdHash {
    /// No provider has given it an id so far, and each that one gives from here on is noted.
    pub const NONE: IdHash = IdHash(0);
    /// Its ids are looked for in its story: it has several, or was read back.
    pub const IN_STORY: IdHash = IdHash(u64::MAX);

    pub fn note(&mut self, hash: u64) {
        let is_first = self.0 == IdHash::NONE.0 && hash != IdHash::NONE.0;
        *self = if is_first { IdHash(hash) } else { IdHash::IN_STORY };
    }

    /// `None` where it has no id, or its story has to be asked.
    pub fn only(self) -> Option<u64> {
        Some(self.0).filter(|hash| ![IdHash::NONE.0, IdHash::IN_STORY.0].contains(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_message_with_one_noted_id_is_known_by_it() {
        for (start, notes, only) in [
            (IdHash::NONE, &[][..], None),
            (IdHash::NONE, &[7], Some(7)),
            (IdHash::NONE, &[7, 7], None),
            (IdHash::NONE, &[7, 8], None),
            (IdHash::NONE, &[7, 8, 9], None),
            (IdHash::NONE, &[0], None),
            (IdHash::NONE, &[u64::MAX], None),
            (IdHash::NONE, &[0, 7], None),
            (IdHash::IN_STORY, &[7], None),
        ] {
            let mut hash = start;
            notes.iter().for_each(|note| hash.note(*note));
            assert_eq!(hash.only(), only, "{start:?} {notes:?}");
        }
    }
}
