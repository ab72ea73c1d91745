//! Ids of one day, with whose they are: sorted runs in its database, so that an id costs a few octets of writing wherever its
//! hash falls, and a look-up a bounded number of reads. It does not know what an id or a number means.
//!
//! What comes is written as a *piece*, and is in memory as well until there is enough of it for a *run*: pages in the order of
//! hashes, each named by its first one. When a level has `FANOUT` runs they are merged into one of the next level, a little
//! with each piece that comes, so that no turn takes long. Of two owners of an id the newer one wins.
//!
//! Names: `1` piece: its ids · `2` run hash: a page of that run · `3`: the runs that count, version u8, then level u8 and run
//! u64 each. An id is hash u64, number u64; all integers are big-endian. A run that is not listed is what a crash, or a merge,
//! has left: its name is not used again, and its pages go with the day.

use std::collections::{BTreeMap, VecDeque};

use engine::bytes::Reader;
use storage::StoreError;
use storage::archive::{ArchiveError, Blocks, ReadBlocks};

const PIECE: u8 = 0x31;
const PAGE: u8 = 0x32;
const LIST: [u8; 1] = [0x33];
const VERSION: u8 = 1;
const ID_OCTETS: usize = 16;

/// How runs are cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Ids that make a run.
    pub run: usize,
    /// Pieces that make one though they have fewer ids: each is read by itself at a start, and removed by itself.
    pub pieces: usize,
    /// Ids of a page, which is one value of the database.
    pub page: usize,
    /// Runs of one level that are merged.
    pub fanout: usize,
}

impl Default for Cut {
    fn default() -> Cut {
        Cut { run: 65_536, pieces: 1_024, page: 250, fanout: 8 }
    }
}

/// Hash and number.
type Id = (u64, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    level: u8,
    name: u64,
}

/// The day that is written to.
pub struct Runs {
    pub day: u64,
    cut: Cut,
    /// What is in pieces, and in no run.
    open: BTreeMap<u64, u64>,
    pieces: Vec<u64>,
    /// Ids in pieces; more than are open where a provider gives the same ones again and again.
    in_pieces: usize,
    next_piece: u64,
    /// The older one of two first.
    list: Vec<Run>,
    next_run: u64,
    /// One a level at most.
    merges: Vec<Merge>,
    /// Merged runs whose pages are still to be removed.
    gone: VecDeque<u64>,
}

/// Runs of one level on their way into one of the next.
struct Merge {
    into: Run,
    /// The older one first.
    sources: Vec<Cursor>,
    page: Vec<Id>,
}

/// Where a merge is in one of its runs.
struct Cursor {
    run: u64,
    ids: VecDeque<Id>,
    /// The first hash that the next page may have; none at the end.
    from: Option<u64>,
}

impl Runs {
    /// What a day has; nothing of a new one.
    pub fn open(reader: &dyn ReadBlocks, day: u64, cut: Cut) -> Result<Runs, ArchiveError> {
        let (mut open, mut pieces, mut in_pieces) = (BTreeMap::new(), Vec::new(), 0);
        let mut from = vec![PIECE];
        while let Some(name) = first_of(reader, day, &from, PIECE, 9)? {
            let ids = reader.get(day, &name)?.unwrap_or_default();
            open.extend(read_ids(&ids));
            in_pieces += ids.len() / ID_OCTETS;
            let piece = number_at(&name, 1);
            pieces.push(piece);
            from = piece_name(piece + 1).to_vec();
        }
        let last = reader.last_before(day, &[PAGE], &[PAGE + 1])?;
        let list = runs_of(reader, day)?;
        // A run without pages has a name as well.
        let listed = list.iter().map(|run| run.name).max();
        let named = last.map(|(name, _)| number_at(&name, 1)).max(listed);
        let next_piece = pieces.last().map_or(0, |piece| piece + 1);
        let next_run = named.map_or(0, |name| name + 1);
        Ok(Runs {
            day,
            cut,
            open,
            pieces,
            in_pieces,
            next_piece,
            list,
            next_run,
            merges: Vec::new(),
            gone: VecDeque::new(),
        })
    }

    /// Writes ids, the newer of two owners last. A flush makes them durable.
    pub fn add(&mut self, store: &mut dyn Blocks, ids: &[Id]) -> Result<(), ArchiveError> {
        store.put(self.day, &piece_name(self.next_piece), &written(ids))?;
        self.pieces.push(self.next_piece);
        self.next_piece += 1;
        self.open.extend(ids.iter().copied());
        self.in_pieces += ids.len();
        if self.in_pieces >= self.cut.run || self.pieces.len() >= self.cut.pieces {
            self.close(store)?;
        }
        self.begin_merges();
        self.go_on(store, ids.len())
    }

    /// Makes a run of what is in pieces.
    pub fn close(&mut self, store: &mut dyn Blocks) -> Result<(), ArchiveError> {
        if self.open.is_empty() {
            return Ok(());
        }
        let run = self.new_run(0);
        let ids: Vec<Id> = std::mem::take(&mut self.open).into_iter().collect();
        for page in ids.chunks(self.cut.page) {
            put_page(store, self.day, run.name, page)?;
        }
        self.list.push(run);
        self.write_list(store)?;
        self.in_pieces = 0;
        for piece in self.pieces.drain(..) {
            store.remove(self.day, &piece_name(piece))?;
        }
        Ok(())
    }

    /// The owner of an id.
    pub fn find(&self, reader: &dyn ReadBlocks, hash: u64) -> Result<Option<u64>, ArchiveError> {
        match self.open.get(&hash) {
            Some(number) => Ok(Some(*number)),
            None => find(reader, self.day, &self.list, hash),
        }
    }

    /// How many runs there are, and pieces.
    #[cfg(test)]
    pub fn counts(&self) -> (usize, usize) {
        (self.list.len(), self.pieces.len())
    }

    fn new_run(&mut self, level: u8) -> Run {
        let name = self.next_run;
        self.next_run += 1;
        Run { level, name }
    }

    /// Older first: what is on a higher level came before all that is on a lower one.
    fn write_list(&mut self, store: &mut dyn Blocks) -> Result<(), ArchiveError> {
        self.list.sort_by_key(|run| (std::cmp::Reverse(run.level), run.name));
        let mut octets = vec![VERSION];
        for run in &self.list {
            octets.push(run.level);
            octets.extend_from_slice(&run.name.to_be_bytes());
        }
        store.put(self.day, &LIST, &octets)
    }

    fn begin_merges(&mut self) {
        let mut levels: Vec<u8> = self.list.iter().map(|run| run.level).collect();
        levels.dedup();
        for level in levels {
            let is_merging = self.merges.iter().any(|merge| merge.into.level == level + 1);
            let of_level = self.list.iter().filter(|run| run.level == level).take(self.cut.fanout);
            let sources: Vec<Cursor> = of_level.map(|run| Cursor::new(run.name)).collect();
            if !is_merging && sources.len() == self.cut.fanout {
                let into = self.new_run(level + 1);
                self.merges.push(Merge { into, sources, page: Vec::new() });
            }
        }
    }

    /// Goes on with every merge, by twice as many ids as have come: each is done long before the next of its level is due.
    fn go_on(&mut self, store: &mut dyn Blocks, come: usize) -> Result<(), ArchiveError> {
        let count = 2 * come + self.cut.page;
        let reader = store.reader();
        for mut merge in std::mem::take(&mut self.merges) {
            if !merge.go_on(&*reader, store, self.day, (self.cut.page, count))? {
                self.merges.push(merge);
                continue;
            }
            let merged = |run: &Run| merge.sources.iter().any(|source| source.run == run.name);
            self.list.retain(|run| !merged(run));
            self.list.push(merge.into);
            self.write_list(store)?;
            self.gone.extend(merge.sources.iter().map(|source| source.run));
        }
        self.remove_pages(&*reader, store, 2 * count / self.cut.page)
    }

    /// Removes pages of runs that are merged.
    fn remove_pages(
        &mut self,
        reader: &dyn ReadBlocks,
        store: &mut dyn Blocks,
        at_most: usize,
    ) -> Result<(), ArchiveError> {
        for _ in 0..at_most {
            let Some(run) = self.gone.front() else { return Ok(()) };
            match next_page(reader, self.day, *run, 0)? {
                Some(first) => store.remove(self.day, &page_name(*run, first))?,
                None => drop(self.gone.pop_front()),
            }
        }
        Ok(())
    }
}

impl Merge {
    /// Moves up to `count` ids; true at the end.
    fn go_on(
        &mut self,
        reader: &dyn ReadBlocks,
        store: &mut dyn Blocks,
        day: u64,
        (page, count): (usize, usize),
    ) -> Result<bool, ArchiveError> {
        for _ in 0..count {
            let mut least: Option<Id> = None;
            for source in &mut self.sources {
                let Some(id) = source.peek(reader, day)? else { continue };
                // Of the same id the newer run's, which comes later.
                if least.is_none_or(|least| id.0 <= least.0) {
                    least = Some(id);
                }
            }
            if let Some(id) = least {
                self.sources.iter_mut().for_each(|source| source.pass(id.0));
                self.page.push(id);
            }
            if self.page.len() >= page || (least.is_none() && !self.page.is_empty()) {
                put_page(store, day, self.into.name, &self.page)?;
                self.page.clear();
            }
            if least.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Cursor {
    fn new(run: u64) -> Cursor {
        Cursor { run, ids: VecDeque::new(), from: Some(0) }
    }

    fn peek(&mut self, reader: &dyn ReadBlocks, day: u64) -> Result<Option<Id>, ArchiveError> {
        while self.ids.is_empty()
            && let Some(from) = self.from
        {
            let first = next_page(reader, day, self.run, from)?;
            if let Some(first) = first {
                let page = reader.get(day, &page_name(self.run, first))?.unwrap_or_default();
                self.ids = read_ids(&page).collect();
            }
            self.from = first.and_then(|first| first.checked_add(1));
        }
        Ok(self.ids.front().copied())
    }

    fn pass(&mut self, hash: u64) {
        self.ids.pop_front_if(|id| id.0 == hash);
    }
}

/// The runs of a day, the older one of two first.
pub fn runs_of(reader: &dyn ReadBlocks, day: u64) -> Result<Vec<Run>, ArchiveError> {
    let octets = reader.get(day, &LIST)?.unwrap_or_default();
    let mut list = Reader::new(&octets);
    if let Some(found) = list.u8().filter(|version| *version > VERSION) {
        let (path, what) = ("late-ids".into(), "list of runs");
        return Err(StoreError::Newer { path, what, found: found.into(), known: VERSION.into() }.into());
    }
    let (runs, _) = list.rest().as_chunks::<9>();
    Ok(runs.iter().map(|run| Run { level: run[0], name: number_at(run, 1) }).collect())
}

/// The owner of an id in the runs of a day.
pub fn find(reader: &dyn ReadBlocks, day: u64, runs: &[Run], hash: u64) -> Result<Option<u64>, ArchiveError> {
    for run in runs.iter().rev() {
        let mut beyond = page_name(run.name, hash).to_vec();
        // Behind the page that begins with this hash, and before any other.
        beyond.push(u8::MAX);
        let prefix = &page_name(run.name, 0)[..9];
        let Some((_, page)) = reader.last_before(day, prefix, &beyond)? else { continue };
        if let Some((_, number)) = read_ids(&page).find(|id| id.0 == hash) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// The first hash of the first page of a run that is not below `from`.
fn next_page(reader: &dyn ReadBlocks, day: u64, run: u64, from: u64) -> Result<Option<u64>, ArchiveError> {
    let name = first_of(reader, day, &page_name(run, from), PAGE, 17)?;
    Ok(name.filter(|name| number_at(name, 1) == run).map(|name| number_at(&name, 9)))
}

/// The first name of this kind that is not below `from`, of which `length` octets are the name itself.
fn first_of(
    reader: &dyn ReadBlocks,
    day: u64,
    from: &[u8],
    kind: u8,
    length: usize,
) -> Result<Option<Vec<u8>>, ArchiveError> {
    let name = reader.first_name(day, from)?.filter(|name| name.first() == Some(&kind));
    Ok(name.and_then(|name| Some(name.get(..length)?.to_vec())))
}

fn put_page(store: &mut dyn Blocks, day: u64, run: u64, ids: &[Id]) -> Result<(), ArchiveError> {
    let Some((first, _)) = ids.first() else { return Ok(()) };
    store.put(day, &page_name(run, *first), &written(ids))
}

fn written(ids: &[Id]) -> Vec<u8> {
    ids.iter().flat_map(|(hash, number)| [hash.to_be_bytes(), number.to_be_bytes()]).flatten().collect()
}

fn read_ids(octets: &[u8]) -> impl Iterator<Item = Id> + '_ {
    octets.as_chunks::<ID_OCTETS>().0.iter().map(|id| (number_at(id, 0), number_at(id, 8)))
}

fn number_at(octets: &[u8], at: usize) -> u64 {
    octets.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |octets| u64::from_be_bytes(*octets))
}

fn piece_name(piece: u64) -> [u8; 9] {
    let mut name = [PIECE; 9];
    name[1..].copy_from_slice(&piece.to_be_bytes());
    name
}

fn page_name(run: u64, first: u64) -> [u8; 17] {
    let mut name = [PAGE; 17];
    name[1..9].copy_from_slice(&run.to_be_bytes());
    name[9..].copy_from_slice(&first.to_be_bytes());
    name
}
