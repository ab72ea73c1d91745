//! The settings file and the environment, read for the process; and `tidegate check`.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use config::{Config, Problem, Profiles, Unusable};
use connectors::profiles;
use serde_json::json;

use crate::{sandbox, usable};

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read {file}: {source}")]
    Unreadable { file: String, source: std::io::Error },
    #[error("{}", lines(.0))]
    Problems(Vec<Problem>),
}

/// The settings of a file, or the defaults, with the environment over both. What they name is not looked at: a command may need
/// little of it.
pub fn read(file: Option<&Path>) -> Result<Config, SettingsError> {
    load(file, |_| Vec::new())
}

/// The same for a start, which needs all that they name.
pub fn read_to_start(file: Option<&Path>) -> Result<Config, SettingsError> {
    load(file, usable::unusable)
}

fn load(
    file: Option<&Path>,
    unusable: impl FnOnce(&Config) -> Vec<Unusable>,
) -> Result<Config, SettingsError> {
    let mut text = None;
    if let Some(path) = file {
        let name = path.display().to_string();
        let read = std::fs::read_to_string(path);
        let read = read.map_err(|source| SettingsError::Unreadable { file: name.clone(), source })?;
        text = Some((name, read));
    }
    let file = text.as_ref().map(|(name, text)| (&name[..], &text[..]));
    let (environment, mut no_texts) = variables(std::env::vars_os());
    if no_texts.is_empty() {
        return config::load_usable(file, environment, PROFILES, unusable).map_err(SettingsError::Problems);
    }
    // What is wrong besides is told with them; what the settings name depends on all of them.
    no_texts.extend(config::load_with(file, environment, PROFILES).err().into_iter().flatten());
    Err(SettingsError::Problems(no_texts))
}

/// Variables as texts, and what is wrong with those of ours that are none: passed over, another setting would hold than was written.
fn variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> (Vec<(String, String)>, Vec<Problem>) {
    let (mut texts, mut no_texts) = (Vec::new(), Vec::new());
    for (name, value) in environment {
        let what = if name.to_str().is_none() { "name" } else { "value" };
        let shown = name.to_string_lossy().into_owned();
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => texts.push((name, value)),
            _ if shown.starts_with(config::VARIABLE_PREFIX) => no_texts.push(Problem {
                message: format!("the {what} of {shown} is not UTF-8"),
                file: shown,
                line: 0,
                column: 0,
                mend: "write it in UTF-8, or in the settings file".to_owned(),
            }),
            _ => {}
        }
    }
    no_texts.sort();
    (texts, no_texts)
}

/// What entries of providers may name: the profiles that come along, and files of the operator's own.
const PROFILES: Profiles<'static> =
    Profiles { embedded: &profiles::ALL, read: &|path| std::fs::read_to_string(path) };

/// Validates a file, and what it names as a start would: prints what is wrong with it, and how to mend it.
pub fn check(file: &Path, as_json: bool) -> ExitCode {
    match (read_to_start(Some(file)), as_json) {
        (Ok(config), false) => {
            let remarks = remarks(&config).into_iter().map(|remark| format!("remark: {remark}\n"));
            let remarks = remarks.collect::<String>();
            crate::say::answer(format_args!("{}: fine\n{remarks}", file.display()), ExitCode::SUCCESS)
        }
        (Ok(config), true) => {
            let answer = json!({"ok": true, "problems": [], "remarks": remarks(&config)});
            crate::say::answer(format_args!("{answer}\n"), ExitCode::SUCCESS)
        }
        (Err(error), false) => {
            crate::say::complaint(format_args!("{error}"));
            ExitCode::FAILURE
        }
        (Err(error), true) => {
            let answer = json!({"ok": false, "problems": problems(&error)});
            crate::say::answer(format_args!("{answer}\n"), ExitCode::FAILURE)
        }
    }
}

/// What is not wrong and may be a slip.
fn remarks(config: &Config) -> Vec<&'static str> {
    let is_sandbox = config.is_empty_of_providers() && !config.tenant.is_empty();
    is_sandbox.then_some(sandbox::REMARK).into_iter().collect()
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

#[cfg(test)]
mod tests {
    use config::Provider;

    use super::*;

    fn provider(profile: &str) -> Provider {
        let entry = format!(
            "[[provider]]\nid = 'up'\nhost = 'a'\nsystem_id = 'me'\n{}\n",
            if profile.is_empty() { String::new() } else { format!("profile = '{profile}'") }
        );
        let config = config::load_with(Some(("test.toml", &entry)), [], PROFILES);
        config.unwrap_or_else(|problems| panic!("{profile}: {problems:#?}")).provider.remove(0)
    }

    #[test]
    fn every_profile_is_valid_says_where_from_and_does_something() {
        let without = Provider { profile: None, ..provider("") };
        for (name, text) in profiles::ALL {
            assert!(text.starts_with("# "), "{name} says nothing of itself");
            let with = provider(name);
            assert_eq!(with.profile.as_deref(), Some(name));
            assert_eq!(Provider { profile: None, ..with.clone() } == without, name == "plain", "{name}");
            // What is made of it for the engine and for the binds is made without a mistake.
            let definitions = crate::definitions::definitions(&Config {
                provider: vec![with.clone()],
                ..Config::default()
            });
            assert_eq!(definitions.providers[0].tlvs.len(), with.tlv.len(), "{name}");
        }
    }

    #[test]
    fn every_profile_in_the_folder_comes_along() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/connectors/profiles");
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        found.sort();
        assert_eq!(found, profiles::ALL.map(|(name, _)| name));
    }

    #[test]
    fn a_profile_may_be_a_file_of_ones_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        std::fs::write(&path, "message_id = 'hex'\n").unwrap();
        assert_eq!(provider(&path.display().to_string()).message_id, config::MessageIdForm::Hex);
    }
}
