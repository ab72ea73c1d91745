//! A leaf of the index: up to [`SLOTS`] entries in the order of their hashes, each in the slot that its hash points to or as near as
//! there is room. It does not know what an entry means, and whoever owns it says which hashes are its own.

/// Slots of a leaf: of 4,096 octets, as the allocator gives them, one stays over.
pub const SLOTS: usize = 273;
/// As many of them hashes point to, from few to all: few entries lie together, in few cache lines.
const HOMES: [usize; 3] = [68, 136, SLOTS];

/// What is left of a hash and what it stands for, in 15 octets. All of them are 0 where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry([u8; 15]);

impl Entry {
    pub const VACANT: Entry = Entry([0; 15]);
    /// The rest of a hash is below this.
    pub const REST_END: u64 = 1 << 56;

    /// `rest` is in 1 .. [`REST_END`](Entry::REST_END).
    pub fn new(rest: u64, value: u64) -> Entry {
        let [a, b, c, d, e, f, g, _] = rest.to_le_bytes();
        let [h, i, j, k, l, m, n, o] = value.to_le_bytes();
        Entry([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o])
    }

    pub fn rest(&self) -> u64 {
        let [a, b, c, d, e, f, g, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, 0])
    }

    pub fn value(&self) -> u64 {
        let [.., h, i, j, k, l, m, n, o] = self.0;
        u64::from_le_bytes([h, i, j, k, l, m, n, o])
    }

    fn is_vacant(&self) -> bool {
        self.rest() == 0
    }
}

#[derive(Clone, Debug)]
pub struct Leaf {
    /// The least rest of a hash that belongs here.
    low: u64,
    /// How far it is from one slot that rests point to to the next, as 2^64 by that distance.
    scale: u64,
    homes: u16,
    len: u16,
    /// In ascending order but for vacant ones. None is vacant between the slot that a rest points to and the one where its entry is:
    /// that is behind it mostly, and before it where all behind it were taken.
    slots: Box<[Entry; SLOTS]>,
}

impl Leaf {
    pub fn new() -> Leaf {
        let mut leaf = Leaf { low: 0, scale: 0, homes: 0, len: 0, slots: Box::new([Entry::VACANT; SLOTS]) };
        leaf.lay_out(0, Entry::REST_END, &[]);
        leaf
    }

    pub fn low(&self) -> u64 {
        self.low
    }

    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.slots.iter().copied().filter(|entry| !entry.is_vacant())
    }

    pub fn find(&self, rest: u64) -> Option<u64> {
        self.place(rest).ok().map(|at| self.slots[at].value())
    }

    /// Puts a value in the place of another one, or says where it would be.
    pub fn replace(&mut self, rest: u64, value: u64) -> Result<(), usize> {
        let at = self.place(rest)?;
        self.slots[at] = Entry::new(rest, value);
        Ok(())
    }

    /// Puts in an entry that is not here, where `replace` said. There must be room.
    pub fn insert(&mut self, at: usize, entry: Entry) {
        let behind = self.slots[at..].iter().position(Entry::is_vacant);
        if let Some(behind) = behind {
            self.slots.copy_within(at..at + behind, at + 1);
            self.slots[at] = entry;
        } else {
            let vacant = self.slots[..at].iter().rposition(Entry::is_vacant).expect("a leaf has room");
            self.slots.copy_within(vacant + 1..at, vacant);
            self.slots[at - 1] = entry;
        }
        self.len += 1;
    }

    /// Takes the entry of a hash out, if its value is meant; whether it was here.
    pub fn remove(&mut self, rest: u64, is_meant: impl Fn(u64) -> bool) -> bool {
        let Some(at) = self.place(rest).ok().filter(|at| is_meant(self.slots[*at].value())) else {
            return false;
        };
        // Those that are not in their own slot because this one was taken come nearer to it: from behind, or from before.
        let is_behind =
            |(slot, entry): &(usize, &Entry)| !entry.is_vacant() && self.home(entry.rest()) < *slot;
        let behind = self.slots.iter().enumerate().skip(at + 1).take_while(is_behind).count();
        let is_before =
            |(slot, entry): &(usize, &Entry)| !entry.is_vacant() && self.home(entry.rest()) > *slot;
        let before = if behind > 0 {
            0
        } else {
            self.slots.iter().enumerate().take(at).rev().take_while(is_before).count()
        };
        self.slots.copy_within(at + 1..at + 1 + behind, at);
        self.slots.copy_within(at - before..at, at - before + 1);
        self.slots[at + behind - before] = Entry::VACANT;
        self.len -= 1;
        true
    }

    /// 31 of 32 slots are taken, of those that rests point to.
    pub fn is_crowded(&self) -> bool {
        self.len() * 32 >= usize::from(self.homes) * 31
    }

    /// All slots are used: there is room for more in another leaf only.
    pub fn is_whole(&self) -> bool {
        usize::from(self.homes) == SLOTS
    }

    /// Fewer than three of ten slots are taken, and fewer could be used.
    pub fn is_sparse(&self) -> bool {
        usize::from(self.homes) > HOMES[0] && self.len() * 10 < usize::from(self.homes) * 3
    }

    /// Holds these entries from now on, which are in order, and has all rests from `low` to before `end`.
    pub fn lay_out(&mut self, low: u64, end: u64, entries: &[Entry]) {
        let homes = HOMES.into_iter().find(|homes| entries.len() * 10 <= homes * 7).unwrap_or(SLOTS);
        let scale = ((homes as u128) << u64::BITS) / u128::from(end - low);
        (self.low, self.homes, self.len) = (low, homes as u16, entries.len() as u16);
        // Where there are fewer rests than slots the first slots do for all.
        self.scale = u64::try_from(scale).unwrap_or(u64::MAX);
        self.slots.fill(Entry::VACANT);
        let mut next = 0;
        for (place, entry) in entries.iter().enumerate() {
            let last = SLOTS - (entries.len() - place);
            let slot = self.home(entry.rest()).max(next).min(last);
            self.slots[slot] = *entry;
            next = slot + 1;
        }
    }

    /// Where the entry of a rest is, or where it would be.
    fn place(&self, rest: u64) -> Result<usize, usize> {
        let mut at = self.home(rest);
        if self.slots[at].rest() > rest {
            while at > 0 && self.slots[at - 1].rest() >= rest {
                at -= 1;
            }
        } else {
            while self.slots.get(at).is_some_and(|entry| !entry.is_vacant() && entry.rest() < rest) {
                at += 1;
            }
        }
        let is_here = self.slots.get(at).is_some_and(|entry| entry.rest() == rest);
        if is_here { Ok(at) } else { Err(at) }
    }

    /// The slot that a rest points to: the same part of the slots as it is of the rests of this leaf.
    fn home(&self, rest: u64) -> usize {
        ((u128::from(rest - self.low) * u128::from(self.scale)) >> u64::BITS) as usize
    }
}
