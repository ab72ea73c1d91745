//! `tidegate journal salvage`: what checks of a damaged journal, written to a new one that a start takes in its place. It changes nothing that
//! the store's parts have; but it opens those beside the journal, as a start does.

use std::path::Path;
use std::process::ExitCode;

use config::Config;
use connectors::clock::Clock;
use engine::flushes::Flushes;
use engine::pages::place_of;
use engine::parking::row;
use engine::record::RECORD_HEADER;
use engine::{Engine, MendedWallet};
use serde_json::json;
use storage::OpenError;
use storage::archive::{self, Archive, Blocks, ReadBlocks};
use storage::journal::{self, Journal, SalvageError, SalvageReport, Unfinished};
use storage::layout::{FORMAT, Layout};
use storage::parked::{Parked, ParkedBlocks};

use crate::moment::{self, Older, Part};
use crate::shelves::{self, ReadError};
use crate::store::{self, LATE_IDS, StoreStartError, archive_options, failed, journal_options};
use crate::{fold, packing};

/// Octets of what is added that go in one group.
const GROUP_OCTETS: usize = 8 << 20;

/// Writes what checks of the journal to a new store.
pub fn run(config: Option<&Path>, to: &Path, as_json: bool) -> ExitCode {
    let salvaged = crate::settings::read(config).map_err(|error| failed(&error));
    let salvaged = salvaged.and_then(|config| salvage(&config, to).map_err(|error| failed(&error)));
    // Who has not seen what is lost does not know what to do with it.
    match salvaged {
        Ok(salvaged) if as_json => {
            crate::say::answer(format_args!("{}\n", as_json_text(&salvaged)), ExitCode::SUCCESS)
        }
        Ok(salvaged) => {
            crate::say::answer(format_args!("{}\n", lines(&salvaged, to).join("\n")), ExitCode::SUCCESS)
        }
        Err(code) => code,
    }
}

/// Why a salvage did not come to its end.
#[derive(Debug, thiserror::Error)]
enum SalvageStop {
    #[error(transparent)]
    Salvage(#[from] SalvageError),
    #[error("the salvaged journal cannot be folded")]
    Fold(#[from] StoreStartError),
    #[error(transparent)]
    Journal(#[from] journal::JournalError),
}

impl From<OpenError> for SalvageStop {
    fn from(error: OpenError) -> SalvageStop {
        SalvageStop::Fold(error.into())
    }
}

/// What a salvage has found, and what it has changed.
struct Salvaged {
    report: SalvageReport,
    wallets: Vec<MendedWallet>,
    /// Messages of which the journal has what happened to them, and no store has them.
    messages_lost: u64,
    /// What an operator should know beside it.
    remarks: Vec<String>,
}

impl Salvaged {
    fn has_lost(&self) -> bool {
        !self.report.lost.is_empty() || !self.report.unchained.is_empty() || self.messages_lost > 0
    }
}

/// What did not come to its end has no journal in `to`: a start would take it, and not miss what it lacks.
fn salvage(config: &Config, to: &Path) -> Result<Salvaged, SalvageStop> {
    let unfinished = Unfinished::begin(to)?;
    let report = journal::salvage(&config.storage.path, unfinished.path(), journal_options(config))?;
    let salvaged = mend(config, unfinished.path(), report)?;
    unfinished.finish()?;
    Ok(salvaged)
}

/// Adds what makes a salvaged journal whole in itself: a new epoch behind all that any store has, wallets that fit what is left, and an
/// end for what no store has.
fn mend(config: &Config, to: &Path, report: SalvageReport) -> Result<Salvaged, SalvageStop> {
    let clock = Clock::start();
    let (mut journal, recovery) = journal::create_or_open(to, journal_options(config))?;
    // Ids are not needed to fold, so any key will do.
    let mut engine = Engine::new(&[0; 32], clock.system());
    engine.expect_loss();
    let next_group = fold::fold(recovery, &mut engine, |_| {})?;
    let (messages_lost, remarks) = fold_others(config, &mut engine)?;
    let wallets = engine.mend_after_loss(clock.system(), next_group);
    append(&mut journal, &engine.take_group().records)?;
    journal.flush()?;
    journal.close()?;
    Ok(Salvaged { report, wallets, messages_lost, remarks })
}

/// Folds what the other parts of the store have, as they are. How many messages no part has, and what else there is to say.
fn fold_others(config: &Config, engine: &mut Engine) -> Result<(u64, Vec<String>), SalvageStop> {
    let layout = Layout::new(&config.storage.path);
    let known = engine.flushes();
    let mut remarks: Vec<String> = engine
        .nameless_tenants()
        .map(|tenant| {
            format!("tenant number {tenant} has lost its name: its wallet and its messages are nobody's")
        })
        .collect();
    let archive = open_archive(Part::Archive, &layout, archive_options(config), &mut remarks);
    let late_ids = open_archive(Part::LateIds, &layout, LATE_IDS, &mut remarks);
    // Without it a salvage would free the money of what waits in it: what is there and cannot be opened stops it.
    let is_there = layout.parked().exists();
    let parked = if is_there { Some(Parked::open(&layout.parked())?) } else { None };
    if !is_there {
        remarks.push(format!(
            "{} is not there: what waits in it is not counted, and its money is free",
            layout.parked().display()
        ));
    }
    let count = |part: &Option<Archive>, known| match part {
        Some(part) => part.flushes().unwrap_or(None),
        None => known,
    };
    let found = Flushes {
        archive: count(&archive, known.archive),
        parked: parked.as_ref().map(ParkedBlocks::flushes),
        late_ids: count(&late_ids, known.late_ids),
    };
    for Older { part, known, found } in moment::older(known, found) {
        remarks.push(format!(
            "{} is older than the journal, was emptied, or has lost its end ({found} flushes of {known}): what it lacks is lost, and not counted here",
            part.path(&layout).display()
        ));
    }
    let reader = archive.as_ref().map(Blocks::reader);
    if let Some(parked) = &parked {
        let is_older = moment::older(known, found).any(|older| older.part == Part::Parked);
        if let Some(reader) = reader.as_deref().filter(|_| is_older) {
            take_finished(parked, reader, engine)?;
        }
        store::fold_parked(parked, engine)?;
    }
    let is_read = reader.as_deref().is_some_and(|reader| {
        fold_archive(reader, engine).inspect_err(|error| remarks.push(crate::say::whole(error))).is_ok()
    });
    engine.found_flushes(found);
    // With a part that cannot be read now, a start, which does not go without it, finds out what is nowhere.
    let messages_lost = if is_read && is_there { engine.lose_apart() } else { 0 };
    Ok((messages_lost, remarks))
}

/// A part that a salvage can do without, with a remark. One of an older release is left to a start, which changes it.
fn open_archive(
    part: Part,
    layout: &Layout,
    options: archive::Options,
    remarks: &mut Vec<String>,
) -> Option<Archive> {
    let path = part.path(layout);
    let opened = || -> Result<Option<Archive>, StoreStartError> {
        if let Some(found) = layout.version()?.filter(|found| *found != FORMAT) {
            let path = layout.root().display().to_string();
            return Err(StoreStartError::OlderFormat { path, found });
        }
        let is_there = path.exists() && archive::is_there(&path)?;
        Ok(if is_there { Some(Archive::open(&path, options)?) } else { None })
    };
    let why = match opened() {
        Ok(Some(archive)) => return Some(archive),
        Ok(None) => format!("{} is not there", path.display()),
        Err(error) => crate::say::whole(&error),
    };
    remarks.push(format!("not looked at: {why}"));
    None
}

/// What an older parked store still has, and the archive as finished, is finished: it is not sent again.
fn take_finished(
    parked: &dyn ParkedBlocks,
    archive: &dyn ReadBlocks,
    engine: &mut Engine,
) -> Result<(), SalvageStop> {
    let mut waiting = Vec::new();
    let rows =
        parked.each_rows(&mut |block, rows| waiting.extend(row::places(rows).map(|places| (block, places))));
    rows.map_err(StoreStartError::from)?;
    for (block, places) in waiting {
        // Damage there costs what it has.
        let messages = shelves::read(archive, block).unwrap_or_default();
        let finished = messages.into_iter().filter(|(number, _)| places & 1 << place_of(*number) != 0);
        finished.for_each(|(_, message)| engine.take_finished(message));
    }
    Ok(())
}

/// Looks in the archive for what the journal goes on with, and goes beyond what it has.
fn fold_archive(reader: &dyn ReadBlocks, engine: &mut Engine) -> Result<(), StoreStartError> {
    if let Some(last) = reader.last_block().map_err(ReadError::from)? {
        engine.skip_beyond(last);
    }
    store::fold_archived(reader, engine)
}

/// Writes records in as many groups as they need.
fn append(journal: &mut Journal, records: &[u8]) -> Result<(), SalvageStop> {
    let mut packed = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while let Some(header) = records.get(at..at + RECORD_HEADER) {
        let length = header.last_chunk().map_or(0, |length| u32::from_le_bytes(*length));
        let end = at + RECORD_HEADER + length as usize;
        if end - begin > GROUP_OCTETS && at > begin {
            packing::pack(&records[begin..at], &mut packed);
            journal.append(&packed)?;
            begin = at;
        }
        at = end;
    }
    packing::pack(&records[begin..], &mut packed);
    journal.append(&packed)?;
    Ok(())
}

fn as_json_text(salvaged: &Salvaged) -> serde_json::Value {
    let Salvaged { report, wallets, messages_lost, remarks } = salvaged;
    let lost: Vec<_> = report.lost.iter().map(|range| [*range.start(), *range.end()]).collect();
    let wallet = |wallet: &MendedWallet| {
        json!({
            "tenant": wallet.tenant, "reserved": wallet.reserved.to_string(),
            "adjusted": wallet.adjusted.to_string(),
        })
    };
    let wallets: Vec<_> = wallets.iter().map(wallet).collect();
    json!({
        "oldest_group": report.oldest_group, "newest_group": report.newest_group,
        "groups_copied": report.groups_copied, "octets_copied": report.bytes_copied,
        "lost": lost, "unchained": report.unchained, "messages_lost": messages_lost,
        "remarks": remarks, "wallets": wallets,
    })
}

fn lines(salvaged: &Salvaged, to: &Path) -> Vec<String> {
    let Salvaged { report, wallets, messages_lost, remarks } = salvaged;
    let mut lines = vec![format!(
        "{} groups ({} octets) of groups {} to {} were written to {}",
        report.groups_copied,
        report.bytes_copied,
        report.oldest_group,
        report.newest_group,
        to.display()
    )];
    for range in &report.lost {
        lines.push(format!("lost: groups {} to {}", range.start(), range.end()));
    }
    for group in &report.unchained {
        lines.push(format!("group {group} does not follow what was found before it"));
    }
    if *messages_lost > 0 {
        lines.push(format!(
            "lost: {messages_lost} messages that the journal goes on with, and neither the parked store nor the archive has"
        ));
    }
    if !salvaged.has_lost() {
        lines.push("nothing of the journal is lost".to_owned());
    }
    lines.extend_from_slice(remarks);
    for MendedWallet { tenant, reserved, adjusted } in wallets {
        lines.push(format!(
            "the reserve of tenant {tenant} is changed by {reserved} to what its messages hold; {adjusted} is given to it for that"
        ));
    }
    lines.push(
        "to use it, put its `journal` and `flushed` in the place of those of the damaged store".to_owned(),
    );
    lines
}

#[cfg(test)]
mod tests;
