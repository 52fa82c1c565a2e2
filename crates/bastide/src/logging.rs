//! Logs go to standard error, as text for people or as JSON for machines.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// One readable line an event.
    #[default]
    Text,
    /// One JSON object an event.
    Json,
}

/// Starts logging. The level comes from `BASTIDE_LOG`: a level for Bastide's own events (`debug`), or filter directives
/// that name their targets (`bastide=debug,sqlx=info`).
pub(crate) fn start(format: LogFormat) {
    let wanted = std::env::var("BASTIDE_LOG").unwrap_or_default();
    let (directives, complaint) = directives(&wanted);
    let filter = EnvFilter::new(directives);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    if let Some(complaint) = complaint {
        tracing::warn!("{complaint}");
    }
}

/// What `BASTIDE_LOG` asks for, and a complaint when it cannot be understood.
///
/// A bare level never reaches the libraries below us: at `trace` they print request heads, tokens included.
fn directives(wanted: &str) -> (String, Option<String>) {
    let own = |level: &str| format!("warn,bastide={level}");
    match wanted.trim() {
        "" => (own("info"), None),
        level if LEVELS.contains(&level.to_ascii_lowercase().as_str()) => (own(&level.to_ascii_lowercase()), None),
        directives if directives.contains('=') && EnvFilter::try_new(directives).is_ok() => {
            (directives.to_owned(), None)
        }
        _ => (own("info"), Some("BASTIDE_LOG is not understood: give error, warn, info, debug or trace".to_owned())),
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_is_for_our_own_events_only() {
        assert_eq!(directives("TRACE").0, "warn,bastide=trace");
        assert_eq!(directives("").0, "warn,bastide=info");
        assert_eq!(directives("sqlx=debug").0, "sqlx=debug");
    }

    #[test]
    fn nonsense_is_complained_about_and_changes_nothing() {
        let (directives, complaint) = directives("loud");
        assert_eq!(directives, "warn,bastide=info");
        assert!(complaint.is_some());
    }
}
