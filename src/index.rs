//! Which messages there are of a tenant, and which go to a phone: for lists and searches of what is not in memory. It knows
//! whose a message is and where it goes; where its bytes are it does not care.
//!
//! A *chapter* is 1,024 blocks, as far as one database of the archive has them. While it is open its rows are in memory; when
//! it is full, or has long had no news, it is closed: for each tenant a run of its numbers, and 64 buckets of recipients by
//! hash. What comes for a closed chapter opens it again, and the next closing joins both. There is no row a message on disk.
//!
//! Notes beside the blocks (`storage::archive`): `T` tenant chapter: a run · `S` chapter bucket: recipients · `C` chapter: the
//! time of its oldest and its newest message. In the newest database `O` database chapter: it is open; what is in memory of
//! it is read again from its blocks after a crash. An open chapter is noted before what it is about can be on the disk, and
//! that note goes after its rows are: within one database the order of writes sees to that, between two a flush.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use engine::bytes::Reader;
use engine::columns::{self, integers};
use engine::hash::hash64;
use engine::message::number_of;
use engine::pages::{BLOCK_MESSAGES, block_of, order_of, place_of};
use storage::archive::{ArchiveError, Blocks, ReadBlocks};

use crate::radix;

/// Blocks of a chapter.
pub const CHAPTER_BLOCKS: u64 = 1_024;
const CHAPTER_MESSAGES: u64 = CHAPTER_BLOCKS * BLOCK_MESSAGES;
/// Chapters in memory; beyond, the one that has longest had no news is closed. A full one takes some 0.8 MB.
const OPEN_MAX: usize = 16;
const BUCKETS: u32 = 64;
const BUCKET_BITS: u32 = 6;
/// Of a recipient's hash, beside what names the bucket, this much is kept.
const HASH_BITS: u32 = 18;
const BLOCK_BITS: u32 = 10;
/// What a bucket keeps of a recipient.
const RECIPIENT_BITS: u32 = HASH_BITS + BLOCK_BITS;
/// A place in a chapter.
const PLACE_BITS: u32 = CHAPTER_MESSAGES.ilog2();
/// Tenants are numbered from 0, and never so far.
const INBOUND: u32 = 1 << 31;
const RECIPIENT_DOMAIN: u64 = 0x7265_6369;

/// A chapter as one database has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// The first block of the database.
    database: u64,
    chapter: u64,
}

impl Key {
    fn of(reader: &dyn ReadBlocks, block: u64) -> Option<Key> {
        Some(Key { database: reader.database_of(block)?, chapter: block / CHAPTER_BLOCKS })
    }

    /// A block of it.
    fn block(self) -> u64 {
        self.database.max(self.chapter * CHAPTER_BLOCKS)
    }
}

#[derive(Clone, Copy, Debug)]
struct Row {
    tenant: u32,
    /// In the chapter.
    place: u16,
    hash: u32,
}

struct Chapter {
    rows: Vec<Row>,
    /// Which places of each block have a row here.
    masks: Vec<u64>,
    /// When its messages came, those that have rows here.
    span: Span,
    /// The database that notes that it is open.
    noted_in: u64,
    /// For finding the one without news.
    touched: u64,
}

/// From the oldest to the newest, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub oldest: i64,
    pub newest: i64,
}

impl Span {
    const NONE: Span = Span { oldest: i64::MAX, newest: i64::MIN };

    fn join(self, other: Span) -> Span {
        Span { oldest: self.oldest.min(other.oldest), newest: self.newest.max(other.newest) }
    }
}

/// Where messages may be that are looked for: places of blocks, the newest first, and down to which number that is all.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    pub blocks: Vec<(u64, u64)>,
    /// The order of a number (`engine::pages::order_of`).
    pub floor: u64,
    pub span: Span,
}

/// The open chapters.
#[derive(Default)]
pub struct Index {
    chapters: BTreeMap<Key, Chapter>,
    touches: u64,
}

impl Index {
    /// Notes messages of a block of which no row is known; `known` are places that have theirs. It comes before they are written.
    pub fn note(
        &mut self,
        archive: &mut dyn Blocks,
        block: u64,
        messages: &[Vec<u8>],
        known: u64,
    ) -> Result<(), ArchiveError> {
        let Some(key) = Key::of(&*archive.reader(), block) else { return Ok(()) };
        let is_new =
            |message: &&Vec<u8>| number_of(message).is_some_and(|number| known & 1 << place_of(number) == 0);
        if !messages.iter().any(|message| is_new(&message)) {
            return Ok(());
        }
        self.touches += 1;
        let chapter = match self.chapters.entry(key) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(closed) => {
                let noted_in = newest(&*archive.reader());
                archive.put_note(noted_in, &open_name(key), &[])?;
                if noted_in != key.database {
                    archive.flush()?;
                }
                closed.insert(Chapter::new(noted_in))
            }
        };
        chapter.touched = self.touches;
        messages.iter().filter(is_new).for_each(|message| chapter.add(message));
        if chapter.rows.len() as u64 >= CHAPTER_MESSAGES {
            self.close(archive, key)?;
        }
        if self.chapters.len() > OPEN_MAX
            && let Some(quiet) = self.chapters.iter().min_by_key(|(_, chapter)| chapter.touched)
        {
            let quiet = *quiet.0;
            self.close(archive, quiet)?;
        }
        Ok(())
    }

    /// Closes every chapter: a new database begins, which would not know of them.
    pub fn close_all(&mut self, archive: &mut dyn Blocks) -> Result<(), ArchiveError> {
        while let Some(key) = self.chapters.keys().next().copied() {
            self.close(archive, key)?;
        }
        Ok(())
    }

    /// Ends a chapter in memory. In a database that is damaged there is nothing to be listed.
    fn close(&mut self, archive: &mut dyn Blocks, key: Key) -> Result<(), ArchiveError> {
        let Some(chapter) = self.chapters.remove(&key) else { return Ok(()) };
        let noted_in = chapter.noted_in;
        match write_rows(archive, key, chapter) {
            Err(error) if error.is_damage() && key.database != noted_in => {}
            written => written?,
        }
        if noted_in != key.database {
            archive.flush()?;
        }
        archive.remove_note(noted_in, &open_name(key))
    }

    /// The chapters that were open when the process before ended, each as a range of blocks that are to be noted again.
    pub fn left_open(reader: &dyn ReadBlocks) -> Result<Vec<std::ops::Range<u64>>, ArchiveError> {
        let mut left = Vec::new();
        // The newest database, and the one before it: a new one may just have begun.
        for noted_in in reader.databases().iter().rev().take(2) {
            let mut to = vec![b'O' + 1];
            loop {
                let (name, _) = match reader.note_before(noted_in.block, b"O", &to) {
                    Ok(Some(note)) => note,
                    Err(error) if !error.is_damage() => return Err(error),
                    Ok(None) | Err(_) => break,
                };
                left.extend(read_open_name(&name).map(|key| blocks_of(reader, key)));
                to = name;
            }
        }
        Ok(left)
    }

    /// The nearest open chapter of this database at or below a chapter of which `pick` finds rows.
    fn nearest<T>(&self, at: Key, pick: impl Fn(&Chapter) -> Option<T>) -> Option<(u64, T, Span)> {
        let lowest = Key { database: at.database, chapter: 0 };
        let mut below = self.chapters.range(lowest..=at).rev();
        below.find_map(|(key, chapter)| Some((key.chapter, pick(chapter)?, chapter.span)))
    }
}

impl Chapter {
    fn new(noted_in: u64) -> Chapter {
        let masks = vec![0; CHAPTER_BLOCKS as usize];
        Chapter { rows: Vec::new(), masks, span: Span::NONE, noted_in, touched: 0 }
    }

    fn add(&mut self, message: &[u8]) {
        let (Some(number), Some(tenant)) = (number_of(message), columns::tenant(message)) else { return };
        let tenant = owner(tenant, columns::is_inbound(message));
        let (block, bit) = (block_of(number) % CHAPTER_BLOCKS, 1 << place_of(number));
        let Some(mask) = self.masks.get_mut(block as usize) else { return };
        if *mask & bit != 0 {
            return;
        }
        *mask |= bit;
        let destination = columns::destination(message).unwrap_or(0);
        let place = (order_of(number) % CHAPTER_MESSAGES) as u16;
        self.rows.push(Row { tenant, place, hash: recipient_hash(tenant, destination) });
        if let Some(accepted) = columns::accepted_millis(message) {
            self.span = self.span.join(Span { oldest: accepted, newest: accepted });
        }
    }
}

/// Whose messages these are in the index: those from phones have runs and recipients of their own, or a list of a few would go
/// over all that the tenant sent.
pub fn owner(tenant: u32, inbound: bool) -> u32 {
    if inbound { tenant | INBOUND } else { tenant }
}

/// Where open chapters are noted.
fn newest(reader: &dyn ReadBlocks) -> u64 {
    reader.databases().last().map_or(0, |newest| newest.block)
}

/// The blocks of a chapter. A block of the next database has a chapter of its own.
fn blocks_of(reader: &dyn ReadBlocks, key: Key) -> std::ops::Range<u64> {
    let end = (key.chapter + 1) * CHAPTER_BLOCKS;
    let ends = (key.block()..end).find(|block| reader.database_of(*block) != Some(key.database));
    key.block()..ends.unwrap_or(end)
}

/// Joins the rows of a chapter with what is on disk of it.
fn write_rows(archive: &mut dyn Blocks, key: Key, chapter: Chapter) -> Result<(), ArchiveError> {
    let (reader, block) = (archive.reader(), key.block());
    let span = reader.read_note(block, &span_name(key.chapter))?.and_then(|bytes| read_span(&bytes));
    let stored = |name: &[u8]| if span.is_some() { reader.read_note(block, name) } else { Ok(None) };
    let (places, recipients) = in_order(&chapter.rows);
    for places in places.chunk_by(|one, other| one >> PLACE_BITS == other >> PLACE_BITS) {
        let Some(first) = places.first() else { continue };
        let name = run_name((first >> PLACE_BITS) as u32, key.chapter);
        let mut places: Vec<u64> = places.iter().map(|place| place & (CHAPTER_MESSAGES - 1)).collect();
        places.extend(stored(&name)?.map(|bytes| read_run(&bytes)).unwrap_or_default());
        archive.put_note(block, &name, &write_run(places))?;
    }
    for recipients in recipients.chunk_by(|one, other| one >> RECIPIENT_BITS == other >> RECIPIENT_BITS) {
        let Some(first) = recipients.first() else { continue };
        let name = bucket_name(key.chapter, (first >> RECIPIENT_BITS) as u8);
        let mut recipients: Vec<u64> =
            recipients.iter().map(|recipient| recipient & ((1 << RECIPIENT_BITS) - 1)).collect();
        recipients.extend(stored(&name)?.map(|bytes| read_sorted(&bytes)).unwrap_or_default());
        archive.put_note(block, &name, &write_sorted(recipients))?;
    }
    let span = chapter.span.join(span.unwrap_or(Span::NONE));
    archive.put_note(block, &span_name(key.chapter), &write_span(span))
}

/// The places of rows, by tenant, which is in the bits above; and their recipients, by bucket, which is above them.
fn in_order(rows: &[Row]) -> (Vec<u64>, Vec<u64>) {
    let mut places: Vec<u64> =
        rows.iter().map(|row| u64::from(row.tenant) << PLACE_BITS | u64::from(row.place)).collect();
    let bucketed = |row: &Row| {
        let recipient = recipient(row.hash, u64::from(row.place) / BLOCK_MESSAGES);
        u64::from(row.hash % BUCKETS) << RECIPIENT_BITS | recipient
    };
    let mut recipients: Vec<u64> = rows.iter().map(bucketed).collect();
    let mut room = Vec::new();
    // Rows come in about the order of their places.
    radix::sort(&mut places, &mut room, 0..PLACE_BITS);
    radix::sort(&mut places, &mut room, PLACE_BITS..PLACE_BITS + u32::BITS);
    radix::sort(&mut recipients, &mut room, 0..BLOCK_BITS);
    radix::sort(&mut recipients, &mut room, BLOCK_BITS..RECIPIENT_BITS + BUCKET_BITS);
    (places, recipients)
}

/// What is known of a tenant's messages at or below a number's order, in the nearest chapter that has any. `None` at the end.
pub fn of_tenant(
    index: &std::sync::Mutex<Index>,
    reader: &dyn ReadBlocks,
    tenant: u32,
    at: u64,
) -> Result<Option<Step>, ArchiveError> {
    let block = at / BLOCK_MESSAGES;
    let Some(key) = Key::of(reader, block) else { return Ok(None) };
    // Memory first: what is closed meanwhile is on disk before it leaves memory.
    let open = lock(index).nearest(key, |chapter| {
        let rows = chapter.rows.iter().filter(|row| row.tenant == tenant);
        Some(rows.map(|row| u64::from(row.place)).collect::<Vec<u64>>()).filter(|places| !places.is_empty())
    });
    let to = run_name(tenant, key.chapter + 1);
    let prefix = to.get(..5).unwrap_or_default();
    let closed = reader.note_before(block, prefix, &to)?;
    let closed = closed.and_then(|(name, bytes)| Some((chapter_of(&name)?, read_run(&bytes))));
    let chapter =
        open.as_ref().map(|(chapter, ..)| *chapter).max(closed.as_ref().map(|(chapter, _)| *chapter));
    let Some(chapter) = chapter else { return Ok(Some(nothing_down_to(key.database))) };
    let mut span = closed_span(reader, key, chapter)?;
    let mut places = Vec::new();
    if let Some((_, found, of_open)) = open.filter(|(of, ..)| *of == chapter) {
        places.extend(found);
        span = span.join(of_open);
    }
    places.extend(closed.filter(|(of, _)| *of == chapter).map(|(_, found)| found).unwrap_or_default());
    let first = chapter * CHAPTER_MESSAGES;
    let orders = places.into_iter().map(|place| first + place).filter(|order| *order <= at);
    let mut blocks = BTreeMap::new();
    for order in orders {
        *blocks.entry(order / BLOCK_MESSAGES).or_insert(0) |= 1 << (order % BLOCK_MESSAGES);
    }
    let floor = first.max(key.database * BLOCK_MESSAGES);
    Ok(Some(Step { blocks: blocks.into_iter().rev().collect(), floor, span }))
}

/// Blocks that may have messages of a tenant to this phone, in the nearest chapter at or below a number's order that has any
/// messages. `None` at the end.
pub fn to_phone(
    index: &std::sync::Mutex<Index>,
    reader: &dyn ReadBlocks,
    tenant: u32,
    destination: u64,
    at: u64,
) -> Result<Option<Step>, ArchiveError> {
    let block = at / BLOCK_MESSAGES;
    let Some(key) = Key::of(reader, block) else { return Ok(None) };
    let hash = recipient_hash(tenant, destination);
    let open = lock(index).nearest(key, |chapter| {
        let rows = chapter.rows.iter().filter(|row| row.tenant == tenant && row.hash == hash);
        Some(rows.map(|row| u64::from(row.place) / BLOCK_MESSAGES).collect::<Vec<u64>>())
    });
    let closed = reader.note_before(block, b"C", &span_name(key.chapter + 1))?;
    let closed = closed.and_then(|(name, _)| chapter_of(&name));
    let Some(chapter) = open.as_ref().map(|(chapter, ..)| *chapter).max(closed) else {
        return Ok(Some(nothing_down_to(key.database)));
    };
    let mut span = closed_span(reader, key, chapter)?;
    let mut blocks = Vec::new();
    if let Some((_, found, of_open)) = open.filter(|(of, ..)| *of == chapter) {
        blocks.extend(found);
        span = span.join(of_open);
    }
    if closed == Some(chapter) {
        let name = bucket_name(chapter, (hash % BUCKETS) as u8);
        let bucket = reader.read_note(key.block(), &name)?.map(|bytes| read_sorted(&bytes));
        let wanted = recipient(hash, 0) >> BLOCK_BITS;
        let hits = bucket.unwrap_or_default().into_iter().filter(|found| found >> BLOCK_BITS == wanted);
        blocks.extend(hits.map(|found| found & ((1 << BLOCK_BITS) - 1)));
    }
    let first = chapter * CHAPTER_BLOCKS;
    blocks.iter_mut().for_each(|block| *block += first);
    blocks.retain(|found| *found <= block);
    blocks.sort_unstable_by(|one, other| other.cmp(one));
    blocks.dedup();
    let floor = (first * BLOCK_MESSAGES).max(key.database * BLOCK_MESSAGES);
    Ok(Some(Step { blocks: blocks.into_iter().map(|block| (block, u64::MAX)).collect(), floor, span }))
}

/// A place at or above the last message that came before a time, in milliseconds since 1970, as far as closed chapters tell.
///
/// Numbers are given in the order of time, so it is searched for by halves. The chapter in which the time falls is within: what
/// of it is still in memory has no span.
pub fn place_before(reader: &dyn ReadBlocks, until: i64) -> Result<u64, ArchiveError> {
    let databases = reader.databases();
    let Some(begin) = databases.iter().rposition(|begin| begin.millis < until) else { return Ok(u64::MAX) };
    let first = databases.get(begin).map_or(0, |begin| begin.block);
    let end = match databases.get(begin + 1) {
        Some(next) => next.block.saturating_sub(1) / CHAPTER_BLOCKS,
        None => {
            let last = reader.note_before(first, b"C", &span_name(u64::MAX))?;
            last.and_then(|(name, _)| chapter_of(&name)).unwrap_or(0)
        }
    };
    let key = Key { database: first, chapter: first / CHAPTER_BLOCKS };
    // Behind the last closed chapter of the newest database any number of open ones may follow.
    let up_to =
        |high: u64| if high > end && databases.get(begin + 1).is_none() { u64::MAX } else { above(high) };
    let (mut low, mut high) = (key.chapter, end + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let span = closed_span(reader, key, middle)?;
        if span.oldest == i64::MAX {
            // One that is not closed tells nothing: what is above it is looked at one by one.
            return Ok(up_to(high));
        }
        if span.oldest < until { low = middle + 1 } else { high = middle }
    }
    Ok(up_to(high))
}

/// The last place of a chapter.
fn above(chapter: u64) -> u64 {
    (chapter + 1).saturating_mul(CHAPTER_MESSAGES) - 1
}

fn nothing_down_to(database: u64) -> Step {
    Step { blocks: Vec::new(), floor: database * BLOCK_MESSAGES, span: Span::NONE }
}

fn closed_span(reader: &dyn ReadBlocks, key: Key, chapter: u64) -> Result<Span, ArchiveError> {
    let block = Key { chapter, ..key }.block();
    let found = reader.read_note(block, &span_name(chapter))?;
    Ok(found.and_then(|bytes| read_span(&bytes)).unwrap_or(Span::NONE))
}

fn lock(index: &std::sync::Mutex<Index>) -> std::sync::MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn recipient_hash(tenant: u32, destination: u64) -> u32 {
    let mut octets = [0; 12];
    octets[..4].copy_from_slice(&tenant.to_le_bytes());
    octets[4..].copy_from_slice(&destination.to_le_bytes());
    hash64(RECIPIENT_DOMAIN, &octets) as u32
}

/// What a bucket keeps: some of the hash, and the block in the chapter.
fn recipient(hash: u32, block: u64) -> u64 {
    u64::from(hash >> BUCKET_BITS & ((1 << HASH_BITS) - 1)) << BLOCK_BITS | block
}

fn run_name(tenant: u32, chapter: u64) -> [u8; 13] {
    let mut name = [b'T'; 13];
    name[1..5].copy_from_slice(&tenant.to_be_bytes());
    name[5..].copy_from_slice(&chapter.to_be_bytes());
    name
}

fn bucket_name(chapter: u64, bucket: u8) -> [u8; 10] {
    let mut name = [b'S'; 10];
    name[1..9].copy_from_slice(&chapter.to_be_bytes());
    name[9] = bucket;
    name
}

fn span_name(chapter: u64) -> [u8; 9] {
    let mut name = [b'C'; 9];
    name[1..].copy_from_slice(&chapter.to_be_bytes());
    name
}

fn open_name(key: Key) -> [u8; 17] {
    let mut name = [b'O'; 17];
    name[1..9].copy_from_slice(&key.database.to_be_bytes());
    name[9..].copy_from_slice(&key.chapter.to_be_bytes());
    name
}

fn read_open_name(name: &[u8]) -> Option<Key> {
    let database = u64::from_be_bytes(name.get(1..9)?.try_into().ok()?);
    Some(Key { database, chapter: chapter_of(name)? })
}

/// The chapter, which ends the names of runs, spans and open chapters.
fn chapter_of(name: &[u8]) -> Option<u64> {
    name.last_chunk().map(|chapter| u64::from_be_bytes(*chapter))
}

fn write_span(span: Span) -> Vec<u8> {
    [span.oldest.to_le_bytes(), span.newest.to_le_bytes()].concat()
}

fn read_span(bytes: &[u8]) -> Option<Span> {
    let mut reader = Reader::new(bytes);
    Some(Span { oldest: reader.i64()?, newest: reader.i64()? })
}

/// Stretches of neighbours: their count, where each begins, how many follow its first.
fn write_run(mut places: Vec<u64>) -> Vec<u8> {
    places.sort_unstable();
    places.dedup();
    let stretches = places.chunk_by(|one, other| one + 1 == *other);
    let (firsts, lengths): (Vec<u64>, Vec<u64>) =
        stretches.filter_map(|stretch| Some((*stretch.first()?, stretch.len() as u64 - 1))).unzip();
    let mut bytes = Vec::new();
    integers::push_varint(&mut bytes, firsts.len() as u64);
    integers::write(&firsts, &[], &mut bytes);
    integers::write(&lengths, &[], &mut bytes);
    bytes
}

/// What of it is a run of a chapter; damage was found by the store.
fn read_run(bytes: &[u8]) -> Vec<u64> {
    let read = |bytes| {
        let mut reader = Reader::new(bytes);
        let count = integers::read_varint(&mut reader).filter(|count| *count <= CHAPTER_MESSAGES)? as usize;
        let (mut firsts, mut lengths) = (Vec::new(), Vec::new());
        integers::read(&mut reader, count, &[], &mut firsts)?;
        integers::read(&mut reader, count, &[], &mut lengths)?;
        let stretches = firsts.into_iter().zip(lengths);
        let places =
            stretches.flat_map(|(first, length)| first..=first.saturating_add(length.min(CHAPTER_MESSAGES)));
        Some(places.filter(|place| *place < CHAPTER_MESSAGES).collect())
    };
    read(bytes).unwrap_or_default()
}

fn write_sorted(mut values: Vec<u64>) -> Vec<u8> {
    values.sort_unstable();
    values.dedup();
    let mut bytes = Vec::new();
    integers::push_varint(&mut bytes, values.len() as u64);
    integers::write(&values, &[], &mut bytes);
    bytes
}

fn read_sorted(bytes: &[u8]) -> Vec<u64> {
    let mut reader = Reader::new(bytes);
    let mut values = Vec::new();
    let count = integers::read_varint(&mut reader).filter(|count| *count <= CHAPTER_MESSAGES);
    let read = count.and_then(|count| integers::read(&mut reader, count as usize, &[], &mut values));
    if read.is_some() { values } else { Vec::new() }
}
