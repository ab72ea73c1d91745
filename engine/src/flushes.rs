//! How often the stores beside the journal have been flushed, as far as the journal knows: one that counts fewer is an older one that was
//! put in its place. It compares nothing: who opens the stores does.

use crate::engine::Engine;
use crate::record::{self, Record};
use crate::ring::Item;

/// What archive and parked store count of their flushes; nothing where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushes {
    /// The first block of the archive's newest database, and the flushes of that one.
    pub archive: Option<(u64, u64)>,
    pub parked: Option<u64>,
    /// As of the archive, of the ids of messages that did not succeed.
    pub late_ids: Option<(u64, u64)>,
}

/// What the journal has of them.
#[derive(Default)]
pub(crate) struct KnownFlushes {
    known: Flushes,
    /// What a start has found, until the journal has it.
    found: Option<Flushes>,
    /// The group of the newest record of them.
    group: u64,
    /// Numbers were passed over for what the stores have, and no record says so.
    pub has_skipped: bool,
}

impl Engine {
    /// What the journal knows. A store counts as many, or more: it is flushed before the journal says so.
    pub fn flushes(&self) -> Flushes {
        self.flushes.known
    }

    /// The stores that are there count so, whatever the journal knows of those before.
    pub fn found_flushes(&mut self, found: Flushes) {
        self.flushes.found = Some(found);
    }

    pub(crate) fn record_found_flushes(&mut self) {
        if let Some(found) = self.flushes.found.take()
            && found != self.flushes.known
        {
            self.flushes.known = found;
            self.record_flushes();
        }
    }

    /// What was written to the stores is there durably, and they count so many.
    pub(crate) fn note_flushes(&mut self, flushes: Flushes) {
        let known = self.flushes.known;
        let newer = Flushes {
            archive: flushes.archive.or(known.archive),
            parked: flushes.parked.or(known.parked),
            late_ids: flushes.late_ids.or(known.late_ids),
        };
        if newer != known {
            self.flushes.known = newer;
            self.record_flushes();
        }
    }

    pub(crate) fn carry_flushes(&mut self, group: u64) {
        if self.flushes.group <= group {
            self.record_flushes();
        }
    }

    pub(crate) fn replay_flushes(&mut self, group: u64, flushes: Flushes) {
        (self.flushes.known, self.flushes.group) = (flushes, group);
        self.ring.add(group, Item::Flushes);
    }

    fn record_flushes(&mut self) {
        record::write(&mut self.group, &Record::Flushes(self.flushes.known));
        self.flushes.group = self.group_number;
        self.ring.add(self.group_number, Item::Flushes);
    }
}
