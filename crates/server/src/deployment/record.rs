//! A deployment as it is stored, and as a GET shows it.

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::Document;
use bastide_template::Plan;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::redaction::Redaction;
use crate::failure::Failure;
use crate::ledger::Entry;

/// What is stored of a deployment: everything that may be shown, and which run it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// This run; a PUT over a deployment that is over begins another.
    pub run: Uuid,
    /// The operation that works it off: the run's own, or that of the outermost deployment.
    pub operation: Uuid,
    /// How it stands.
    pub state: State,
    /// Whether somebody wants it to stop.
    #[serde(default)]
    pub cancel: bool,
    /// Under which its steps can be traced.
    pub correlation_id: Uuid,
    /// When it began.
    pub started: Timestamp,
    /// When it became terminal.
    pub ended: Option<Timestamp>,
    /// `Incremental` or `Complete`.
    pub mode: String,
    /// The link as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_link: Option<Value>,
    /// The engine's hash.
    pub template_hash: String,
    /// Parameters without the secret ones' values.
    pub parameters: Value,
    /// Namespaces and types it deploys.
    pub providers: Value,
    /// Which node waits for which.
    pub dependencies: Value,
    /// Outputs without the secret ones' values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Value>,
    /// Ids of what it deployed.
    #[serde(default)]
    pub output_resources: Vec<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ArmError>,
}

/// A run that begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Its id.
    pub id: Uuid,
    /// The operation that works it off.
    pub operation: Uuid,
    /// Under which its steps can be traced.
    pub correlation_id: Uuid,
    /// When it begins.
    pub now: Timestamp,
}

/// How a deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    /// Under way.
    Running,
    /// Everything stands.
    Succeeded,
    /// Something does not.
    Failed,
    /// Was called off.
    Canceled,
}

impl State {
    /// The word on the wire and in the store.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
        }
    }
}

impl Record {
    /// A run that begins now.
    pub(super) fn begin(plan: &Plan, run: Run, redaction: &Redaction) -> Self {
        let Run { id, operation, correlation_id, now } = run;
        let link = plan.context().deployment.template_uri.as_deref();
        Self {
            run: id,
            operation,
            state: State::Running,
            cancel: false,
            correlation_id,
            started: now,
            ended: None,
            mode: plan.mode().as_str().to_owned(),
            // A query may hold the signature that opens the address.
            template_link: link.map(|uri| json!({"uri": uri.split(['?', '#']).next().unwrap_or_default()})),
            template_hash: plan.template().hash(),
            parameters: plan.parameters(),
            // Names and locations may be made from secrets.
            providers: redaction.value(&plan.providers()),
            dependencies: redaction.value(&plan.dependencies()),
            outputs: None,
            output_resources: Vec::new(),
            error: None,
        }
    }

    /// What is stored.
    pub(super) fn read(document: &Document) -> Result<Self, Failure> {
        serde_json::from_value(Value::Object(document.properties.clone()))
            .map_err(|error| Failure::internal(format!("a deployment cannot be read: {error}")))
    }

    /// To be stored.
    pub(super) fn write(&self, document: &mut Document) -> Result<(), Failure> {
        match serde_json::to_value(self) {
            Ok(Value::Object(properties)) => {
                document.properties = properties;
                Ok(())
            }
            _ => Err(Failure::internal("a deployment cannot be written")),
        }
    }

    /// `properties` of a GET.
    pub(super) fn properties(&self) -> Map<String, Value> {
        let ended = self.ended.unwrap_or(self.started);
        let mut shown = Map::new();
        if let Some(link) = &self.template_link {
            shown.insert("templateLink".into(), link.clone());
        }
        shown.insert("templateHash".into(), self.template_hash.clone().into());
        shown.insert("parameters".into(), self.parameters.clone());
        shown.insert("mode".into(), self.mode.clone().into());
        shown.insert("provisioningState".into(), self.state.as_str().into());
        shown.insert("timestamp".into(), ended.to_string().into());
        shown.insert("duration".into(), duration(self.started, ended).into());
        shown.insert("correlationId".into(), self.correlation_id.to_string().into());
        shown.insert("providers".into(), self.providers.clone());
        shown.insert("dependencies".into(), self.dependencies.clone());
        if let Some(outputs) = &self.outputs {
            shown.insert("outputs".into(), outputs.clone());
        }
        if self.state != State::Running {
            shown.insert("outputResources".into(), ids(&self.output_resources));
        }
        if let Some(error) = &self.error {
            shown.insert("error".into(), error.to_error_value());
        }
        shown
    }
}

/// A deployment as a GET shows it.
pub(super) fn wire_form(entry: &Entry) -> Result<Value, Failure> {
    Ok(envelope(&entry.id, &entry.document, Record::read(&entry.document)?.properties()))
}

/// The envelope around the properties.
pub(super) fn envelope(id: &ResourceId, document: &Document, properties: Map<String, Value>) -> Value {
    let mut body = Map::new();
    body.insert("id".into(), id.to_string().into());
    body.insert("name".into(), id.name().into());
    body.insert("type".into(), super::TYPE_NAME.into());
    if let Some(location) = &document.location {
        body.insert("location".into(), location.clone().into());
    }
    if !document.tags.is_empty() {
        body.insert("tags".into(), json!(document.tags));
    }
    body.insert("properties".into(), Value::Object(properties));
    Value::Object(body)
}

/// `[{"id": ...}]`.
pub(super) fn ids(ids: &[String]) -> Value {
    ids.iter().map(|id| json!({"id": id})).collect()
}

/// ISO 8601, `PT1.5S`.
pub(super) fn duration(from: Timestamp, to: Timestamp) -> String {
    to.duration_since(from.min(to)).to_string()
}
