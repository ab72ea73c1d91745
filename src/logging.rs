//! Where the program's log goes and how it looks: standard error, as text for people or JSON for machines. What is logged
//! is said where it happens.

use tracing_subscriber::EnvFilter;

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// The variables that choose what is logged, the first that is set and not empty.
const FILTER_VARIABLES: [&str; 2] = ["TIDEGATE_LOG", "RUST_LOG"];
const FORMAT_VARIABLE: &str = "TIDEGATE_LOG_FORMAT";
const FILTER_DEFAULT: &str = "info,sled=warn";

/// The variables hold something that is no filter or no format.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("{variable} is no log filter such as \"info\" or \"tidegate=debug\"")]
    Filter {
        variable: &'static str,
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("{FORMAT_VARIABLE} must be \"text\" or \"json\"")]
    Format,
    #[error("a log is set up already")]
    Twice,
}

/// Sets the log up for the whole process, once.
pub fn start() -> Result<(), LoggingError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let filter = filter(variable)?;
    let format = format(variable(FORMAT_VARIABLE).as_deref())?;
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| crate::say::Log);
    let started = match format {
        Format::Text => log.with_ansi(is_terminal).try_init(),
        Format::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|_| LoggingError::Twice)
}

fn filter(variable: impl Fn(&str) -> Option<String>) -> Result<EnvFilter, LoggingError> {
    for name in FILTER_VARIABLES {
        if let Some(value) = variable(name) {
            let parsed = EnvFilter::builder().parse(value);
            return parsed.map_err(|source| LoggingError::Filter { variable: name, source });
        }
    }
    Ok(EnvFilter::new(FILTER_DEFAULT))
}

fn format(value: Option<&str>) -> Result<Format, LoggingError> {
    match value {
        None | Some("text") => Ok(Format::Text),
        Some("json") => Ok(Format::Json),
        Some(_) => Err(LoggingError::Format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(set: &[(&str, &str)]) -> String {
        let variable =
            |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        match filter(variable) {
            Ok(filter) => filter.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn our_own_variable_comes_before_the_common_one() {
        assert_eq!(shown(&[("RUST_LOG", "debug")]), "debug");
        assert_eq!(shown(&[("RUST_LOG", "debug"), ("TIDEGATE_LOG", "warn")]), "warn");
        assert!(shown(&[]).contains("info"));
    }

    #[test]
    fn a_wrong_variable_is_named() {
        assert!(shown(&[("TIDEGATE_LOG", "tidegate=loud")]).starts_with("TIDEGATE_LOG"));
        assert!(format(Some("xml")).is_err_and(|error| error.to_string().contains("json")));
        assert!(matches!(format(Some("json")), Ok(Format::Json)));
        assert!(matches!(format(None), Ok(Format::Text)));
    }
}
