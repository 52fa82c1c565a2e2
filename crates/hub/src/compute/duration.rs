//! Durations as the wire writes them, ISO 8601: `PT30M`.

use std::time::Duration;

use bastide_arm::error::ArmError;
use jiff::{Span, SpanRelativeTo};
use serde_json::{Map, Value};

use crate::field::{self, refused};

/// The duration under a name, between the shortest and the longest that are allowed.
pub(super) fn between(
    fields: &Map<String, Value>,
    name: &str,
    at: &str,
    (shortest, longest): (Duration, Duration),
) -> Result<Option<Duration>, ArmError> {
    let Some(text) = field::text(fields, name, at)? else { return Ok(None) };
    let duration = parse(text).filter(|duration| (shortest..=longest).contains(duration));
    duration.map(Some).ok_or_else(|| {
        let message = format!(
            "'{text}' is not a value of {name}. Use an ISO 8601 duration from {} to {}, such as PT30M.",
            shown(shortest),
            shown(longest)
        );
        refused(&format!("{at}.{name}"), message)
    })
}

/// A duration of days and less; a month has no length of its own.
pub(super) fn parse(text: &str) -> Option<Duration> {
    if !text.starts_with('P') {
        return None;
    }
    let span: Span = text.parse().ok()?;
    let exact = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(exact).ok()
}

fn shown(duration: Duration) -> String {
    let minutes = duration.as_secs() / 60;
    match minutes {
        0 => format!("{} seconds", duration.as_secs()),
        minutes if minutes % (24 * 60) == 0 => format!("{} days", minutes / (24 * 60)),
        minutes => format!("{minutes} minutes"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_are_iso_8601_and_nothing_else() {
        for (text, seconds) in
            [("PT30M", Some(1800)), ("PT120M", Some(7200)), ("P3D", Some(259_200)), ("P1DT1S", Some(86401))]
        {
            assert_eq!(parse(text).map(|duration| duration.as_secs()), seconds, "{text}");
        }
        for wrong in ["30", "30m", "2 hours", "-PT30M", "P1M", "PT", "", "P1Y"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_refusal_says_what_is_allowed() {
        let day = Duration::from_hours(24);
        let fields = json!({"idle": "PT14M"}).as_object().cloned().unwrap();
        let error = between(&fields, "idle", "properties", (Duration::from_mins(15), 3 * day)).unwrap_err();
        assert_eq!(error.target.as_deref(), Some("properties.idle"));
        assert!(error.message.contains("15 minutes") && error.message.contains("3 days"), "{}", error.message);
    }
}
