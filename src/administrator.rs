//! `tidegate administrator renew`: a new administrator's key for a store whose key is lost or known to others. It opens the catalog
//! by itself, so the gateway must not be running; who may write the store may do this, and nobody else.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use codecs::time::rfc3339_string;
use connectors::clock::Clock;
use serde_json::json;
use storage::OpenError;
use storage::catalog::Catalog;
use storage::layout::Layout;

use crate::first_run::{self, FirstRunError};
use crate::settings::{self, SettingsError};
use crate::{say, store};

const REASON_OCTETS_MAX: usize = 200;

#[derive(Subcommand)]
pub enum Administrator {
    /// Make a new key, with the gateway stopped and as the user that it runs as. The old one is worth nothing from then on.
    Renew {
        /// Why: every start says it in the log, with the time.
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
        /// The settings file of the gateway, which names its store.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print one JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
}

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("there is no store at {}: its first start makes a key", .0.display())]
    NoStore(PathBuf),
    #[error(transparent)]
    FirstRun(#[from] FirstRunError),
}

pub fn run(command: &Administrator, settings: Option<PathBuf>) -> ExitCode {
    let Administrator::Renew { reason, config, json } = command;
    match renew(config.as_deref().or(settings.as_deref()), reason) {
        Ok(file) if *json => say::line(format_args!("{}", json!({"file": file.display().to_string()}))),
        Ok(file) => {
            let file = file.display();
            say::line(format_args!(
                "the new key is in {file}, which only its owner can read; the old one is worth nothing now"
            ));
        }
        Err(error) => return store::failed(&error),
    }
    ExitCode::SUCCESS
}

fn renew(config: Option<&Path>, reason: &str) -> Result<PathBuf, RenewError> {
    let layout = Layout::new(&settings::read(config)?.storage.path);
    if layout.version()?.is_none() {
        return Err(RenewError::NoStore(layout.root().to_owned()));
    }
    let mut catalog = Catalog::open(&layout.catalog())?;
    let at = rfc3339_string(Clock::start().now().wall);
    let file = layout.administrator_key();
    first_run::renew_administrator(&mut catalog, file.clone(), at, reason.to_owned())?;
    Ok(file)
}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    match (1..=REASON_OCTETS_MAX).contains(&text.len()) && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err("1 to 200 octets of text in one line".to_owned()),
    }
}
