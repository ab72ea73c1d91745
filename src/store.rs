//! Opening the store and bringing the engine back from it.

use std::io::ErrorKind;
use std::panic;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use config::Config;
use connectors::clock::Clock;
use engine::effect::Shelf;
use engine::parking::RowsError;
use engine::record::{Record, Records};
use engine::{Engine, ReplayError};
use storage::archive::{self, Archive, Blocks, ReadBlocks};
use storage::catalog::Catalog;
use storage::journal::{self, Journal, Options};
use storage::layout::{FORMAT, Layout};
use storage::log::{Durability, LogKind};
use storage::parked::{Parked, ParkedBlocks};
use storage::space::{self, Level, Reserve, Room, Space};
use storage::{OpenError, StoreError};

use crate::moment::{self, Beyond, Older, Part};
use crate::secrets::Vault;
use crate::shelves::{self, ReadError};
use crate::{block, fold, packing};

/// Where the key of message ids is kept in the catalog.
const ID_KEY: &str = "ids/key";
/// A database a day.
pub const LATE_IDS: archive::Options = archive::Options { period_millis: 86_400_000, bytes_max: u64::MAX };
/// There in the catalog once a part of the store has been made.
const JOURNAL_MADE: &str = "journal/made";
const ARCHIVE_MADE: &str = "archive/made";
const LATE_IDS_MADE: &str = "late-ids/made";
const PARKED_MADE: &str = "parked/made";

/// What there is to do about parts that are not of one moment.
const CHOICES: &str = "Choices: put back a backup of the whole store, as it was at one moment; or put what `tidegate journal salvage DIR` writes in the place of the journal: then the parts are taken as they are, without what they lack, what is queued in the journal or in the parked store is sent, though it may have been before, and charged";

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreStartError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error(transparent)]
    Secret(#[from] storage::secret::SecretError),
    #[error("cannot use {path}")]
    Io { path: String, source: std::io::Error },
    #[error("only {free} octets are free for {path}, less than half of the reserve; {mend}")]
    DiskFull { path: String, free: u64, mend: &'static str },
    #[error(
        "group {group} of the journal checks and cannot be unpacked ({error}); put back a backup of the whole store"
    )]
    Group { group: u64, error: packing::UnpackError },
    #[error("group {group} of the journal is {error}; start that version")]
    NewerGroup { group: u64, error: packing::UnpackError },
    #[error("{error}. {choices}")]
    Rows { error: RowsError, choices: String },
    #[error("the messages of block {block} in the parked store cannot be read. {choices}")]
    ParkedMessages { block: u64, choices: String },
    #[error("the archive cannot be read")]
    Archive(#[from] ReadError),
    #[error("there is no store in {path}")]
    NoStore { path: String },
    #[error(
        "the store in {path} is of format {found}, and this program's is {FORMAT}: it is looked at after it was started once"
    )]
    OlderFormat { path: String, found: u32 },
    #[error(
        "{path} is missing, and the journal says that messages are in it: put it back, or put back a backup of the whole store"
    )]
    ArchiveGone { path: String },
    #[error(
        "{path} is missing, and this store had one: put it back, or put back a backup of the whole store"
    )]
    PartGone { path: String },
    #[error(
        "{path} has messages (of block {block}) that came after all that the journal knows: the journal was put back alone, or the store was copied while a gateway ran. {CHOICES}"
    )]
    JournalBehind { path: String, block: u64 },
    #[error(
        "{path} is older than the journal, was emptied, or has lost its end: it counts {found} flushes, and the journal knows of {known}. {CHOICES}"
    )]
    Older { path: String, known: u64, found: u64 },
    #[error("the catalog's {ID_KEY} is missing or damaged: put the catalog back from a backup")]
    IdKey,
}

/// An opened store, and the engine as its journal left it. Nothing outstanding has been taken up yet.
pub struct Store {
    pub layout: Layout,
    pub vault: Vault,
    pub catalog: Catalog,
    pub archive: Archive,
    pub late_ids: Archive,
    pub parked: Parked,
    pub journal: Journal,
    pub engine: Engine,
    /// What the free room of the disk allows in this run.
    pub room: Room,
    pub id_key: [u8; 32],
    /// The number that the next group gets.
    pub next_group: u64,
}

/// What may be used of the disk, by the settings.
fn reserve(config: &Config) -> Reserve {
    Reserve { bytes: config.storage.reserve.0, percent: u64::from(config.storage.reserve_percent) }
}

pub fn durability(config: &Config) -> Durability {
    match config.storage.durability {
        config::Durability::Fsync => Durability::Fsync,
        config::Durability::Os => Durability::Os,
    }
}

/// A database of the archive for each month, or for an eighth of the retention where that is shorter: it goes as a whole.
pub fn archive_options(config: &Config) -> archive::Options {
    let period = config.storage.retention / 8;
    archive::Options {
        period_millis: i64::try_from(period.as_millis()).unwrap_or(i64::MAX),
        ..archive::Options::default()
    }
}

/// What the journal is to be kept in.
pub fn journal_log(config: &Config) -> LogKind {
    match config.storage.log {
        config::JournalLog::Sled => LogKind::Sled,
        config::JournalLog::Segments => LogKind::Segments,
    }
}

pub fn journal_options(config: &Config) -> Options {
    let log = journal_log(config);
    let ring_bytes_min = config.storage.ring.0;
    Options {
        log,
        durability: durability(config),
        ring_bytes_min,
        stamp: crate::secrets::random(),
        ..Options::default()
    }
}

/// Opens everything below the storage path and folds the journal.
pub fn open(config: &Config, use_ballast: bool, clock: Clock) -> Result<Store, StoreStartError> {
    let root = &config.storage.path;
    let layout = Layout::new(root);
    layout.prepare()?;
    let is_new = is_new(&layout)?;
    let mut catalog = open_catalog(config, &layout, use_ballast)?;
    nothing_is_gone(&layout, &catalog, is_new)?;
    let id_key = id_key(&mut catalog, is_new)?;
    if !is_new && !is_there(&config.secrets.key_file)? {
        let path = config.secrets.key_file.display();
        tracing::warn!(%path, "the key file is missing: a new one is made, which opens nothing that was sealed with another");
    }
    let vault = Vault::of_file(&config.secrets.key_file)?;
    // `nothing_is_gone` has seen that it is there; what a store of before has lost, its journal alone can say.
    let had_archive = catalog.get(ARCHIVE_MADE)?.is_some();
    let began = Instant::now();
    // The one waits for the disk and the other for the processor: a start takes as long as the longer of the two.
    let (shelves, folded) = thread::scope(|scope| {
        let shelves = thread::Builder::new().name("shelves".into());
        let shelves = shelves.spawn_scoped(scope, || open_shelves(config, &layout));
        let folded = fold_journal(config, &id_key, clock);
        let shelves = shelves.map(|thread| thread.join().unwrap_or_else(|cause| panic::resume_unwind(cause)));
        (shelves, folded)
    });
    let OpenShelves { archive, late_ids, parked } = shelves.map_err(|source| cannot_use(root, source))??;
    let Folded { journal, mut engine, next_group, names_archived } = folded?;
    if !had_archive && names_archived && archive.is_empty() {
        return Err(StoreStartError::ArchiveGone { path: layout.archive().display().to_string() });
    }
    // Not before: a start that was refused would be believed by the next one.
    for made in [JOURNAL_MADE, ARCHIVE_MADE, LATE_IDS_MADE, PARKED_MADE] {
        note_made(&mut catalog, made)?;
    }
    let journal_took = began.elapsed();
    of_one_moment(config, &layout, (&archive, &parked, &late_ids), &mut engine)?;
    fold_parked(&parked, &mut engine)?;
    fold_archived(&*archive.reader(), &mut engine)?;
    tracing::info!(
        journal_milliseconds = journal_took.as_millis() as u64,
        parked_milliseconds = (began.elapsed() - journal_took).as_millis() as u64,
        "the store is open"
    );
    let room = Room::new(reserve(config), use_ballast);
    Ok(Store { layout, vault, catalog, archive, late_ids, parked, journal, engine, room, id_key, next_group })
}

/// What holds messages that are not in memory, and the ids of those that did not succeed.
struct OpenShelves {
    archive: Archive,
    late_ids: Archive,
    parked: Parked,
}

fn open_shelves(config: &Config, layout: &Layout) -> Result<OpenShelves, StoreStartError> {
    Ok(OpenShelves {
        archive: Archive::open(&layout.archive(), archive_options(config))?,
        late_ids: Archive::open(&layout.late_ids(), LATE_IDS)?,
        parked: Parked::open(&layout.parked())?,
    })
}

fn note_made(catalog: &mut Catalog, made: &str) -> Result<(), StoreError> {
    if catalog.get(made)?.is_none() {
        catalog.put(made, b"1")?;
    }
    Ok(())
}

/// Whether there is no journal, and may be none: a store that has anything has a catalog, and that knows whether it has one.
fn is_new(layout: &Layout) -> Result<bool, StoreStartError> {
    let is_new = journal::kind_of(layout.root())?.is_none();
    let mut has_any = !is_new;
    for part in [layout.archive(), layout.late_ids(), layout.parked()] {
        has_any = has_any || is_there(&part)?;
    }
    if has_any && !is_there(&layout.catalog())? {
        return Err(gone(&layout.catalog()));
    }
    Ok(is_new)
}

/// What cannot be looked at is not missing.
fn is_there(path: &Path) -> Result<bool, StoreStartError> {
    path.try_exists().map_err(|error| cannot_use(path, error))
}

/// A part that was there and is not is a loss, and not an empty one. An archive that is there and has no database any more was made so by
/// an operator, who has left its list.
fn nothing_is_gone(layout: &Layout, catalog: &Catalog, is_new: bool) -> Result<(), StoreStartError> {
    let parts = [
        (JOURNAL_MADE, layout.journal(), !is_new),
        (ARCHIVE_MADE, layout.archive(), has_databases(&layout.archive())?),
        (LATE_IDS_MADE, layout.late_ids(), has_databases(&layout.late_ids())?),
        (PARKED_MADE, layout.parked(), is_there(&layout.parked())?),
    ];
    for (made, path, has_it) in parts {
        if !has_it && catalog.get(made)?.is_some() {
            // A directory of the archive's that was emptied lacks all, its list too.
            let emptied = [layout.archive(), layout.late_ids()].contains(&path) && is_there(&path)?;
            return Err(gone(&if emptied { path.join(archive::LIST) } else { path }));
        }
    }
    Ok(())
}

/// Whether there is an archive in a directory, though it may have nothing in it.
fn has_databases(path: &Path) -> Result<bool, StoreStartError> {
    Ok(is_there(path)? && archive::is_there(path)?)
}

fn gone(path: &Path) -> StoreStartError {
    StoreStartError::PartGone { path: path.display().to_string() }
}

/// The journal, and what it knows.
struct Folded {
    journal: Journal,
    engine: Engine,
    next_group: u64,
    /// Some messages have left it for the archive or the parked store.
    names_archived: bool,
}

fn fold_journal(config: &Config, id_key: &[u8; 32], clock: Clock) -> Result<Folded, StoreStartError> {
    let (journal, recovery) = journal::create_or_open(&config.storage.path, journal_options(config))?;
    let mut engine = Engine::new(id_key, clock.system());
    let mut names_archived = false;
    let next_group = fold::fold(recovery, &mut engine, |records| {
        names_archived = names_archived || self::names_archived(records);
    })?;
    Ok(Folded { journal, engine, next_group, names_archived })
}

/// The engine as the journal and the parked store of a stopped gateway left it, to be looked at: nothing outstanding is taken up.
/// What a start does to a store of before is left to a start.
pub fn folded(config: &Config) -> Result<Engine, StoreStartError> {
    let layout = Layout::new(&config.storage.path);
    let path = || layout.root().display().to_string();
    match layout.version()? {
        None => return Err(StoreStartError::NoStore { path: path() }),
        Some(FORMAT) => {}
        Some(found) => return Err(StoreStartError::OlderFormat { path: path(), found }),
    }
    let is_new = is_new(&layout)?;
    if !is_there(&layout.catalog())? {
        return Err(StoreStartError::NoStore { path: path() });
    }
    // Held to the end, so that no gateway starts in between.
    let catalog = Catalog::open(&layout.catalog())?;
    nothing_is_gone(&layout, &catalog, is_new)?;
    if is_new {
        return Err(StoreStartError::NoStore { path: path() });
    }
    // Ids are not needed to fold, so any key will do.
    let Folded { journal, mut engine, .. } = fold_journal(config, &[0; 32], Clock::start())?;
    // What it goes on with in the archive is finished, and holds no money: that need not be read.
    fold_parked(&Parked::open(&layout.parked())?, &mut engine)?;
    drop((journal, catalog));
    Ok(engine)
}

fn cannot_use(path: &Path, source: std::io::Error) -> StoreStartError {
    StoreStartError::Io { path: path.display().to_string(), source }
}

/// Whether messages have left the journal for the archive.
fn names_archived(records: &[u8]) -> bool {
    Records::new(records).any(|record| matches!(record, Ok(Record::Parked { .. })))
}

/// What keeps messages and their ids beside the journal is no older than it, and it no older than they.
fn of_one_moment(
    config: &Config,
    layout: &Layout,
    (archive, parked, late_ids): (&Archive, &Parked, &Archive),
    engine: &mut Engine,
) -> Result<(), StoreStartError> {
    let (known, found) =
        (engine.flushes(), moment::flushes(archive, parked, late_ids).map_err(ReadError::from)?);
    let path = |part: Part| part.path(layout).display().to_string();
    for part in moment::without_newest(known, found) {
        let path = path(part);
        tracing::warn!(%path, "its newest database is not there: it was moved away, or this is an older one");
    }
    if let Some(Older { part, known, found }) = moment::older(known, found).next() {
        return Err(StoreStartError::Older { path: path(part), known, found });
    }
    // What was moved away on purpose is not missed again.
    engine.found_flushes(found);
    match moment::beyond(&*archive.reader(), &*parked.reader(), engine) {
        None => {}
        // What was not flushed when the power failed is gone, as that setting has it: no number of it that others know is given again.
        Some(Beyond { part, block }) if durability(config) == Durability::Os => {
            let path = path(part);
            tracing::warn!(%path, block, "the journal has lost its end: with durability = \"os\" that is what a power failure leaves");
            engine.skip_beyond(block);
        }
        Some(Beyond { part, block }) => {
            return Err(StoreStartError::JournalBehind { path: path(part), block });
        }
    }
    Ok(())
}

/// What waits in the parked store, where the journal does not know it better.
pub fn fold_parked(parked: &dyn ParkedBlocks, engine: &mut Engine) -> Result<(), StoreStartError> {
    let mut refused = None;
    parked.each_rows(&mut |block, rows| {
        if let Err(error) = engine.replay_row(block, rows) {
            refused.get_or_insert(error);
        }
    })?;
    let choices = storage::error::choices_of_parked;
    if let Some(error) = refused {
        return Err(StoreStartError::Rows { error, choices: choices() });
    }
    let reader = parked.reader();
    for load in engine.apart().into_iter().filter(|load| load.shelf == Shelf::Parked) {
        let stored = reader.messages(load.block)?.unwrap_or_default();
        let messages = block::messages(&stored);
        let messages = messages
            .map_err(|_| StoreStartError::ParkedMessages { block: load.block, choices: choices() })?;
        engine.replay_apart(load, messages.into_values().collect())?;
    }
    Ok(())
}

/// What had left the parked store for the archive when the process ended, and the journal did not know it yet.
pub fn fold_archived(archive: &dyn ReadBlocks, engine: &mut Engine) -> Result<(), StoreStartError> {
    for load in engine.apart().into_iter().filter(|load| load.shelf == Shelf::Archive) {
        let read = match shelves::read(archive, load.block) {
            Err(error) if error.is_damage() => Err(error),
            read => Ok(read?),
        };
        let is_retired = archive.database_of(load.block).is_none() && !archive.is_empty();
        let is_gone = is_retired || read.is_err();
        let messages = read.unwrap_or_else(|error| {
            tracing::error!(%error, "the journal goes on with messages in a damaged part of the archive");
            block::Messages::new()
        });
        if engine.replay_apart(load, messages.into_values().collect())? {
            continue;
        }
        // They came while that part was damaged.
        let aside = shelves::read_aside(archive, load.block);
        let is_whole = engine.replay_apart(load, aside.into_values().collect())?;
        if is_gone && !is_whole {
            engine.forget_apart(load.block);
        }
    }
    Ok(())
}

/// Whoever has the catalog has the store, and its ballast to make or to give up.
fn open_catalog(config: &Config, layout: &Layout, use_ballast: bool) -> Result<Catalog, StoreStartError> {
    let ballast = layout.ballast();
    let io = |source| cannot_use(&ballast, source);
    if !use_ballast {
        let found = space::space(layout.root()).map_err(io)?;
        if reserve(config).level(found) == Level::Stop {
            let path = layout.root().display().to_string();
            let mend = mend_of_full_disk(layout);
            return Err(StoreStartError::DiskFull { path, free: found.free_bytes, mend });
        }
        let catalog = Catalog::open(&layout.catalog())?;
        make_ballast(reserve(config), found, &ballast).map_err(io)?;
        return Ok(catalog);
    }
    // A full disk may not even take a catalog.
    Catalog::is_free(&layout.catalog())?;
    match space::use_ballast(&ballast).map_err(io)? {
        true => tracing::warn!(
            floor_octets = space::FLOOR_BYTES,
            "the ballast is given up: until the reserve is free again, only less than this ends the gateway"
        ),
        false => tracing::warn!("there is no ballast that could be given up"),
    }
    Ok(Catalog::open(&layout.catalog())?)
}

/// What an operator can do: a ballast that is not there is not advised.
pub fn mend_of_full_disk(layout: &Layout) -> &'static str {
    match layout.ballast().exists() {
        true => "free some, or give up the ballast: `tidegate serve --use-ballast`",
        false => "free some",
    }
}

/// What is kept free stays free: a ballast that would take of it is not made. None is no reason not to start.
fn make_ballast(reserve: Reserve, found: Space, ballast: &Path) -> std::io::Result<()> {
    if reserve.bytes == 0 {
        return Ok(());
    }
    let missing = space::ballast_missing(ballast, space::BALLAST_BYTES)?;
    let left = Space { free_bytes: found.free_bytes.saturating_sub(missing), ..found };
    let has_room = missing == 0 || (reserve.level(left) == Level::Fine && found.free_bytes >= missing);
    let made = match has_room {
        true => space::ensure_ballast(ballast, space::BALLAST_BYTES),
        false => Err(ErrorKind::StorageFull.into()),
    };
    match made {
        Err(error) if space::is_full(&error) => {
            tracing::warn!(
                %error,
                free_octets = found.free_bytes,
                ballast_octets = space::BALLAST_BYTES,
                "there is no room for the ballast beside the reserve: `--use-ballast` will have none to give up"
            );
            Ok(())
        }
        made => made,
    }
}

/// The key between numbers and ids: made once for a store, and never changed.
fn id_key(catalog: &mut Catalog, is_new: bool) -> Result<[u8; 32], StoreStartError> {
    if let Some(stored) = catalog.get(ID_KEY)? {
        return stored.try_into().map_err(|_| StoreStartError::IdKey);
    }
    if !is_new {
        return Err(StoreStartError::IdKey);
    }
    let key = crate::secrets::random::<32>();
    catalog.put(ID_KEY, &key)?;
    Ok(key)
}

/// Prints an error with its causes.
pub fn failed(error: &dyn std::error::Error) -> ExitCode {
    crate::say::complaint(format_args!("tidegate: {}", crate::say::whole(error)));
    ExitCode::FAILURE
}
