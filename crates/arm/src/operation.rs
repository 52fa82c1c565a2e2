//! The status document of a long-running operation.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::error::ArmError;

/// An operation as `Azure-AsyncOperation` URLs answer it.
///
/// Pollers read the top-level `status`; any word but the three terminal ones keeps them waiting for ever, so the words
/// come from [`Status`] alone, and a failed operation cannot be made without its error.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationDocument {
    /// Path of the status URL, without origin and query.
    pub id: String,
    /// Last word of the id.
    pub name: String,
    /// How it stands.
    pub outcome: Outcome,
    /// When it was accepted.
    pub started: Timestamp,
    /// When it became terminal.
    pub ended: Option<Timestamp>,
}

/// How an operation stands, with what belongs to each state.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Under way.
    Running {
        /// Progress from 0 to 100, if known.
        percent: Option<u8>,
    },
    /// Done.
    Succeeded {
        /// The result, sent as `properties`.
        properties: Option<Value>,
    },
    /// Came to nothing.
    Failed(ArmError),
    /// Was called off.
    Canceled(ArmError),
}

/// The word for a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Under way.
    Running,
    /// Done.
    Succeeded,
    /// Came to nothing.
    Failed,
    /// Was called off.
    Canceled,
}

impl OperationDocument {
    /// The JSON to send.
    pub fn to_body(&self) -> Value {
        let mut body = Map::new();
        body.insert("id".into(), self.id.clone().into());
        body.insert("name".into(), self.name.clone().into());
        body.insert("status".into(), self.outcome.status().as_str().into());
        body.insert("startTime".into(), self.started.to_string().into());
        if let Some(ended) = self.ended {
            body.insert("endTime".into(), ended.to_string().into());
        }
        match &self.outcome {
            Outcome::Running { percent } => {
                if let Some(percent) = percent {
                    body.insert("percentComplete".into(), (*percent).min(100).into());
                }
            }
            Outcome::Succeeded { properties } => {
                body.insert("percentComplete".into(), 100.into());
                if let Some(properties) = properties {
                    body.insert("properties".into(), properties.clone());
                }
            }
            Outcome::Failed(error) | Outcome::Canceled(error) => {
                body.insert("error".into(), error.to_error_value());
            }
        }
        Value::Object(body)
    }
}

impl Outcome {
    /// The word for this state.
    pub fn status(&self) -> Status {
        match self {
            Self::Running { .. } => Status::Running,
            Self::Succeeded { .. } => Status::Succeeded,
            Self::Failed(_) => Status::Failed,
            Self::Canceled(_) => Status::Canceled,
        }
    }
}

impl Status {
    /// The word on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
        }
    }

    /// Whether nothing will follow.
    pub fn is_terminal(self) -> bool {
        self != Self::Running
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        [Self::Running, Self::Succeeded, Self::Failed, Self::Canceled]
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownStatus(text.to_owned()))
    }
}

/// A word that is not the status of an operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not the status of an operation")]
pub struct UnknownStatus(String);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(outcome: Outcome, ended: Option<&str>) -> Value {
        OperationDocument {
            id: "/subscriptions/s/providers/Microsoft.X/locations/local/operationsStatus/op1".into(),
            name: "op1".into(),
            outcome,
            started: "2026-01-01T00:00:00Z".parse().unwrap(),
            ended: ended.map(|time| time.parse().unwrap()),
        }
        .to_body()
    }

    #[test]
    fn a_running_operation_shows_progress_and_no_end() {
        assert_eq!(
            document(Outcome::Running { percent: Some(40) }, None),
            json!({
                "id": "/subscriptions/s/providers/Microsoft.X/locations/local/operationsStatus/op1",
                "name": "op1", "status": "Running", "startTime": "2026-01-01T00:00:00Z", "percentComplete": 40
            })
        );
    }

    #[test]
    fn progress_never_exceeds_the_whole() {
        assert_eq!(document(Outcome::Running { percent: Some(200) }, None)["percentComplete"], json!(100));
        assert_eq!(document(Outcome::Running { percent: None }, None).get("percentComplete"), None);
    }

    #[test]
    fn success_carries_properties_and_failure_an_error() {
        let done = document(Outcome::Succeeded { properties: Some(json!({"a": 1})) }, Some("2026-01-01T00:00:05Z"));
        assert_eq!(
            (&done["status"], &done["properties"], &done["endTime"], done.get("error")),
            (&json!("Succeeded"), &json!({"a": 1}), &json!("2026-01-01T00:00:05Z"), None)
        );
        let failed = document(Outcome::Failed(ArmError::conflict("Busy.")), Some("2026-01-01T00:00:05Z"));
        assert_eq!(
            (&failed["status"], &failed["error"], failed.get("properties")),
            (&json!("Failed"), &json!({"code": "Conflict", "message": "Busy."}), None)
        );
    }

    #[test]
    fn only_three_words_are_terminal() {
        for (word, terminal) in [("Running", false), ("Succeeded", true), ("failed", true), ("CANCELED", true)] {
            assert_eq!(word.parse::<Status>().unwrap().is_terminal(), terminal);
        }
        assert!("InProgress".parse::<Status>().is_err());
    }
}
