//! The settings file and the environment, read for the process; and `tidegate check`.

use std::path::Path;
use std::process::ExitCode;

use config::{Config, Problem};
use serde_json::json;

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read {file}: {source}")]
    Unreadable { file: String, source: std::io::Error },
    #[error("{}", lines(.0))]
    Problems(Vec<Problem>),
}

/// The settings of a file, or the defaults, with the environment over both.
pub fn read(file: Option<&Path>) -> Result<Config, SettingsError> {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let Some(path) = file else {
        return config::load(None, environment).map_err(SettingsError::Problems);
    };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|source| SettingsError::Unreadable { file: name.clone(), source })?;
    config::load(Some((&name, &text)), environment).map_err(SettingsError::Problems)
}

/// Validates a file: prints what is wrong with it, and how to mend it.
pub fn check(file: &Path, as_json: bool) -> ExitCode {
    match (read(Some(file)), as_json) {
        (Ok(_), false) => crate::say::line(format_args!("{}: fine", file.display())),
        (Ok(_), true) => crate::say::line(format_args!("{}", json!({"ok": true, "problems": []}))),
        (Err(error), false) => {
            crate::say::complaint(format_args!("{error}"));
            return ExitCode::FAILURE;
        }
        (Err(error), true) => {
            crate::say::line(format_args!("{}", json!({"ok": false, "problems": problems(&error)})));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn problems(error: &SettingsError) -> Vec<serde_json::Value> {
    match error {
        SettingsError::Unreadable { file, source } => {
            vec![json!({"file": file, "message": source.to_string()})]
        }
        SettingsError::Problems(problems) => problems
            .iter()
            .map(|problem| {
                json!({"file": problem.file, "line": problem.line, "column": problem.column,
                       "message": problem.message, "mend": problem.mend})
            })
            .collect(),
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
