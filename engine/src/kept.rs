//! What is kept for the operator to look at: receipts that found no message, and messages from phones that no rule gives to a
//! tenant. Bounded in number, in octets and in time, and durable. It says nothing about what becomes of them.

use std::collections::BTreeMap;

use codecs::instant::Wall;
use codecs::receipt::State as ReceiptState;

use crate::catalog::InboundSettings;
use crate::engine::Engine;
use crate::record::{self, Record};
use crate::ring::Item;
use crate::submission::Body;

/// Entries looked at for one page.
const LOOKED_AT_MAX: usize = 20_000;

/// The kinds of things that are kept. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Drawer {
    /// Receipts without a message.
    Unmatched = 0,
    /// Messages from phones without a tenant.
    Unrouted = 1,
}

impl Drawer {
    pub const ALL: [Drawer; 2] = [Drawer::Unmatched, Drawer::Unrouted];

    fn from_u8(value: u8) -> Option<Drawer> {
        Drawer::ALL.get(usize::from(value)).copied()
    }
}

/// Why a receipt has found no message. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Unmatched {
    /// No response named its id in time.
    NoResponse = 0,
    /// So many waited that it had to go before its time.
    NoRoom = 1,
    /// It carries no id that could be one.
    NoId = 2,
    /// Its id is that of a message to another phone.
    OtherPhone = 3,
    /// Its message has left the archive.
    Gone = 4,
    /// It still waits for the response that names it.
    Waits = 5,
}

impl Unmatched {
    pub const ALL: [Unmatched; 6] = [
        Unmatched::NoResponse,
        Unmatched::NoRoom,
        Unmatched::NoId,
        Unmatched::OtherPhone,
        Unmatched::Gone,
        Unmatched::Waits,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Unmatched::NoResponse => "no_response",
            Unmatched::NoRoom => "no_room",
            Unmatched::NoId => "no_id",
            Unmatched::OtherPhone => "other_phone",
            Unmatched::Gone => "gone",
            Unmatched::Waits => "waits",
        }
    }
}

/// One row of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRow {
    pub number: u64,
    pub provider: String,
    pub at: Wall,
    pub what: KeptWhat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptWhat {
    Receipt {
        id: Vec<u8>,
        state: ReceiptState,
        phone: Option<u64>,
        error: Vec<u8>,
        why: Unmatched,
    },
    /// Without its text: that is its tenant's, once it has one.
    Message {
        from: Vec<u8>,
        to: Vec<u8>,
        encoding: &'static str,
        parts: u8,
        missing: u8,
        octets: usize,
    },
}

impl KeptWhat {
    /// Whether the phone's number begins so.
    fn is_of_phone(&self, digits: &str) -> bool {
        match self {
            KeptWhat::Receipt { phone, .. } => {
                digits.is_empty() || phone.is_some_and(|phone| phone.to_string().starts_with(digits))
            }
            KeptWhat::Message { from, .. } => from.starts_with(digits.as_bytes()),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptPage {
    pub rows: Vec<KeptRow>,
    /// Where the next page begins; none at the end.
    pub next: Option<u64>,
    /// How many are kept in all.
    pub total: usize,
    /// Of these receipts, those that still wait for a response; they are at the end of the list.
    pub waiting: usize,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub provider: u16,
    pub at: Wall,
    group: u64,
    pub octets: Box<[u8]>,
}

#[derive(Default)]
pub(crate) struct Kept {
    /// By drawer.
    drawers: [Contents; 2],
    next: u64,
}

#[derive(Default)]
struct Contents {
    /// In the order in which they came.
    entries: BTreeMap<u64, Entry>,
    octets: usize,
}

impl Contents {
    /// The newest record of an entry counts.
    fn insert(&mut self, number: u64, entry: Entry) {
        self.remove(number);
        self.octets += entry.octets.len();
        self.entries.insert(number, entry);
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        self.octets -= entry.octets.len();
        Some(entry)
    }

    /// Forgets the oldest, if there is more than may be; the newest always has room.
    fn make_room(&mut self, settings: &InboundSettings) -> bool {
        let is_over = self.entries.len() > settings.kept_max || self.octets > settings.kept_octets;
        let oldest = self.entries.first_key_value().map(|(number, _)| *number);
        match oldest.filter(|_| is_over && self.entries.len() > 1) {
            Some(oldest) => self.remove(oldest).is_some(),
            None => false,
        }
    }
}

impl Kept {
    pub fn of(&self, drawer: Drawer) -> &BTreeMap<u64, Entry> {
        &self.drawers[drawer as usize].entries
    }

    /// All of it, for tests.
    pub fn all(&self) -> Vec<(u64, Vec<u8>)> {
        let entries = self.drawers.iter().flat_map(|drawer| &drawer.entries);
        entries.map(|(number, entry)| (*number, entry.octets.to_vec())).collect()
    }
}

impl Engine {
    pub(crate) fn keep(&mut self, drawer: Drawer, provider: u16, at: Wall, octets: &[u8]) {
        let number = self.kept.next;
        self.kept.next += 1;
        let entry = Entry { provider, at, group: self.group_number, octets: octets.into() };
        record_kept(&mut self.group, drawer, number, &entry);
        self.ring.add(self.group_number, Item::Kept(drawer, number));
        self.kept.drawers[drawer as usize].insert(number, entry);
        // What has no room is gone at the next start too: the newest are kept.
        while self.kept.drawers[drawer as usize].make_room(&self.settings.inbound) {
            self.counters.kept_dropped += 1;
        }
    }

    /// It is kept no more.
    pub(crate) fn take_kept(&mut self, drawer: Drawer, number: u64) -> Option<Entry> {
        let entry = self.kept.drawers[drawer as usize].remove(number)?;
        let (provider, at) = (entry.provider, entry.at.0);
        let gone = Record::Kept { drawer: drawer as u8, number, provider, at, entry: b"" };
        record::write(&mut self.group, &gone);
        Some(entry)
    }

    pub(crate) fn replay_kept(&mut self, drawer: u8, number: u64, entry: Entry) -> Option<()> {
        let drawer = Drawer::from_u8(drawer)?;
        self.kept.next = self.kept.next.max(number + 1);
        if entry.octets.is_empty() {
            self.kept.drawers[drawer as usize].remove(number);
            return Some(());
        }
        if drawer == Drawer::Unrouted {
            let (body, _) = Body::read(&entry.octets)?;
            self.note_arrivals(&body, entry.at);
        }
        let group = self.group_number;
        self.ring.add(group, Item::Kept(drawer, number));
        self.kept.drawers[drawer as usize].insert(number, Entry { group, ..entry });
        Some(())
    }

    /// Drops what is older than it is kept, and what has no room.
    pub(crate) fn tidy_kept(&mut self) {
        let before = self.now.wall.0.saturating_sub(self.settings.inbound.kept_for.as_millis() as i64);
        for drawer in &mut self.kept.drawers {
            while drawer.make_room(&self.settings.inbound) {}
            while let Some((number, entry)) = drawer.entries.first_key_value()
                && entry.at.0 < before
            {
                let number = *number;
                drawer.remove(number);
            }
        }
    }

    /// Writes one again whose newest record is in a group that is to go.
    pub(crate) fn carry_kept(&mut self, group: u64, drawer: Drawer, number: u64) {
        let entry = self.kept.drawers[drawer as usize].entries.get_mut(&number);
        let Some(entry) = entry.filter(|entry| entry.group == group) else { return };
        entry.group = self.group_number;
        record_kept(&mut self.group, drawer, number, entry);
        self.ring.add(self.group_number, Item::Kept(drawer, number));
    }

    /// A page for the operator. Receipts that still wait for a response come behind those that are given up.
    pub(crate) fn kept_page(
        &self,
        drawer: Drawer,
        provider: Option<&str>,
        phone: &str,
        from: u64,
        most: usize,
    ) -> Option<KeptPage> {
        let wanted = match provider {
            Some(id) => Some(self.providers.index_of(id)?),
            None => None,
        };
        let is_wanted = |of: u16| wanted.is_none_or(|wanted| wanted == of);
        let waiting = if drawer == Drawer::Unmatched { self.waiting_receipts() } else { Vec::new() };
        let mut page = KeptPage {
            total: self.kept.of(drawer).len() + waiting.len(),
            waiting: waiting.len(),
            ..KeptPage::default()
        };
        let kept = self
            .kept
            .of(drawer)
            .range(from..)
            .map(|(number, entry)| (*number, entry.provider, entry.at, self.what(drawer, &entry.octets)));
        let first = self.kept.next.max(from);
        let skipped = usize::try_from(first - self.kept.next).unwrap_or(usize::MAX);
        let waiting = waiting.into_iter().skip(skipped).zip(first..);
        let waiting = waiting.map(|((provider, at, what), number)| (number, provider, at, Some(what)));
        for (looked_at, (number, provider, at, what)) in kept.chain(waiting).enumerate() {
            if page.rows.len() >= most || looked_at >= LOOKED_AT_MAX {
                page.next = Some(number);
                break;
            }
            if is_wanted(provider)
                && let Some(what) = what.filter(|what| what.is_of_phone(phone))
            {
                let name = self.providers.get(provider).map(|entry| entry.id.clone()).unwrap_or_default();
                page.rows.push(KeptRow { number, provider: name, at, what });
            }
        }
        Some(page)
    }

    fn what(&self, drawer: Drawer, octets: &[u8]) -> Option<KeptWhat> {
        match drawer {
            Drawer::Unmatched => crate::receipts::read_unmatched(octets),
            Drawer::Unrouted => {
                let (body, _) = Body::read(octets)?;
                Some(KeptWhat::Message {
                    from: body.phone().into_owned(),
                    to: body.address().to_vec(),
                    encoding: body.encoding.name(),
                    parts: body.parts,
                    missing: body.missing(),
                    octets: body.octets.len(),
                })
            }
        }
    }
}

impl Entry {
    pub fn new(provider: u16, at: Wall, octets: &[u8]) -> Entry {
        Entry { provider, at, group: 0, octets: octets.into() }
    }
}

fn record_kept(group: &mut Vec<u8>, drawer: Drawer, number: u64, entry: &Entry) {
    let Entry { provider, at, octets, .. } = entry;
    let (drawer, provider) = (drawer as u8, *provider);
    record::write(group, &Record::Kept { drawer, number, provider, at: at.0, entry: octets });
}
