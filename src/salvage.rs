//! `tidegate journal salvage`: what checks of a damaged journal, written to a new one that a start takes in its place. It changes
//! nothing of the store that it reads.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use config::Config;
use connectors::clock::Clock;
use engine::flushes::Flushes;
use engine::{Engine, MendedWallet};
use serde_json::json;
use storage::OpenError;
use storage::archive::{self, Archive, Blocks};
use storage::journal::{self, SalvageError, SalvageReport};
use storage::layout::{FORMAT, Layout};
use storage::parked::{Parked, ParkedBlocks};

use crate::shelves::ReadError;
use crate::store::{self, StoreStartError, archive_options, failed, journal_options};
use crate::{fold, packing};

/// Writes what checks of the journal to a new store.
pub fn run(config: Option<&Path>, to: &Path, as_json: bool) -> ExitCode {
    let salvaged = crate::settings::read(config).map_err(|error| failed(&error));
    let salvaged = salvaged.and_then(|config| salvage(&config, to).map_err(|error| failed(&error)));
    match salvaged {
        Ok(salvaged) if as_json => crate::say::line(format_args!("{}", as_json_text(&salvaged))),
        Ok(salvaged) => print(&salvaged, to),
        Err(code) => return code,
    }
    ExitCode::SUCCESS
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
    #[error("cannot use {path}")]
    Target { path: String, source: io::Error },
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
    /// Why the archive was not looked at.
    archive_unread: Option<String>,
}

impl Salvaged {
    fn has_lost(&self) -> bool {
        !self.report.lost.is_empty() || !self.report.unchained.is_empty() || self.messages_lost > 0
    }
}

/// What did not come to its end leaves nothing in `to`.
fn salvage(config: &Config, to: &Path) -> Result<Salvaged, SalvageStop> {
    let report = journal::salvage(&config.storage.path, to, journal_options(config));
    let is_ours = !matches!(report, Err(SalvageError::TargetExists { .. }));
    let salvaged = report.map_err(SalvageStop::from).and_then(|report| mend(config, to, report));
    if salvaged.is_err() && is_ours {
        empty(to).map_err(|source| SalvageStop::Target { path: to.display().to_string(), source })?;
    }
    salvaged
}

/// Removes all that is in a directory, if it is one.
fn empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Adds the group that makes a salvaged journal whole in itself: a new epoch behind all that any store has, wallets that fit what is
/// left, and an end for what no store has.
fn mend(config: &Config, to: &Path, report: SalvageReport) -> Result<Salvaged, SalvageStop> {
    let clock = Clock::start();
    let (mut journal, recovery) = journal::create_or_open(to, journal_options(config))?;
    // Ids are not needed to fold, so any key will do.
    let mut engine = Engine::new(&[0; 32], clock.system());
    engine.expect_loss();
    let next_group = fold::fold(recovery, &mut engine, |_| {})?;
    let layout = Layout::new(&config.storage.path);
    let mut found = Flushes { parked: None, ..engine.flushes() };
    // What is parked stays where it is, and its money in reserve.
    if layout.parked().exists() {
        let parked = Parked::open(&layout.parked())?;
        found.parked = Some(parked.flushes());
        store::fold_parked(&parked, &mut engine)?;
    }
    // A start, which does not go without it, finds out then what is nowhere.
    let archive_unread = match fold_archive(config, &layout, &mut engine) {
        Ok(flushes) => {
            found.archive = flushes;
            None
        }
        Err(error) => Some(crate::say::whole(&error)),
    };
    engine.found_flushes(found);
    let messages_lost = if archive_unread.is_none() { engine.lose_apart() } else { 0 };
    let wallets = engine.mend_after_loss(clock.system(), next_group);
    let mut packed = Vec::new();
    packing::pack(&engine.take_group().records, &mut packed);
    journal.append(&packed)?;
    journal.flush()?;
    journal.close()?;
    Ok(Salvaged { report, wallets, messages_lost, archive_unread })
}

/// Looks in the archive for what the journal goes on with, and goes beyond what it has. What its newest database counts.
fn fold_archive(
    config: &Config,
    layout: &Layout,
    engine: &mut Engine,
) -> Result<Option<(u64, u64)>, StoreStartError> {
    let found = layout.version()?;
    if let Some(found) = found.filter(|found| *found != FORMAT) {
        let path = layout.root().display().to_string();
        return Err(StoreStartError::OlderFormat { path, found });
    }
    let path = layout.archive();
    if !path.exists() || !archive::is_there(&path)? {
        return Ok(None);
    }
    let archive = Archive::open(&path, archive_options(config))?;
    let reader = archive.reader();
    if let Some(last) = reader.last_block().map_err(ReadError::from)? {
        engine.go_beyond(last);
    }
    store::fold_archived(&*reader, engine)?;
    Ok(archive.flushes().map_err(ReadError::from)?)
}

fn as_json_text(salvaged: &Salvaged) -> serde_json::Value {
    let Salvaged { report, wallets, messages_lost, archive_unread } = salvaged;
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
        "archive_unread": archive_unread, "wallets": wallets,
    })
}

fn print(salvaged: &Salvaged, to: &Path) {
    let Salvaged { report, wallets, messages_lost, archive_unread } = salvaged;
    crate::say::line(format_args!(
        "{} groups ({} octets) of groups {} to {} were written to {}",
        report.groups_copied,
        report.bytes_copied,
        report.oldest_group,
        report.newest_group,
        to.display()
    ));
    for range in &report.lost {
        crate::say::line(format_args!("lost: groups {} to {}", range.start(), range.end()));
    }
    for group in &report.unchained {
        crate::say::line(format_args!("group {group} does not follow what was found before it"));
    }
    if *messages_lost > 0 {
        crate::say::line(format_args!(
            "lost: {messages_lost} messages that the journal goes on with, and neither the parked store nor the archive has"
        ));
    }
    if !salvaged.has_lost() {
        crate::say::line(format_args!("nothing of the journal is lost"));
    }
    if let Some(why) = archive_unread {
        crate::say::line(format_args!("the archive was not looked at: {why}"));
    }
    for MendedWallet { tenant, reserved, adjusted } in wallets {
        crate::say::line(format_args!(
            "the reserve of tenant {tenant} is changed by {reserved} to what its messages hold; {adjusted} is given to it for that"
        ));
    }
    crate::say::line(format_args!(
        "to use it, put its `journal` and `flushed` in the place of those of the damaged store"
    ));
}

#[cfg(test)]
mod tests;
