//! The operations of a deployment: what became of each of its nodes. Stored as resources below the deployment, so that
//! they go with it.

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::Document;
use bastide_store::{Change, ResourcePut};
use bastide_template::Node;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::record::{State, duration};
use crate::failure::Failure;
use crate::ledger::Entry;

/// One operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Operation {
    /// Orders the operations of a run.
    pub position: usize,
    /// What was done.
    pub verb: Verb,
    /// How it stands.
    pub state: State,
    /// What it was done to.
    pub target: Target,
    /// The status the front door answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// The refusal, without the secrets in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ArmError>,
    /// When it began.
    pub started: Timestamp,
    /// When it last changed.
    pub changed: Timestamp,
    /// The id of the request that did it.
    pub request_id: Uuid,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Verb {
    /// A resource is put.
    Create,
    /// A resource is deleted: complete mode.
    Delete,
}

/// What an operation is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Target {
    /// Its id.
    pub id: String,
    /// `Microsoft.X/a/b`.
    pub resource_type: String,
    /// `a/b` for a child.
    pub resource_name: String,
}

impl Target {
    /// The node as a target.
    pub(super) fn of(node: &Node) -> Self {
        Self { id: node.id.clone(), resource_type: node.type_name.clone(), resource_name: node.name.clone() }
    }
}

impl Operation {
    /// Its id: the position, so that lists are in order, and what tells runs apart.
    pub(super) fn id(&self, run: Uuid) -> String {
        let key = format!("{:?} {}", self.verb, self.target.id.to_ascii_lowercase());
        let hash = Uuid::new_v5(&run, key.as_bytes()).as_u128() >> 80;
        format!("{:04X}{hash:012X}", self.position & 0xffff)
    }

    /// What is stored.
    pub(super) fn read(document: &Document) -> Result<Self, Failure> {
        serde_json::from_value(Value::Object(document.properties.clone()))
            .map_err(|error| Failure::internal(format!("an operation of a deployment cannot be read: {error}")))
    }

    /// The write of it below its deployment.
    pub(super) fn put(&self, deployment: &Entry, run: Uuid) -> Result<Change, Failure> {
        let id = deployment.id.child("operations", &self.id(run))?;
        let Ok(Value::Object(properties)) = serde_json::to_value(self) else {
            return Err(Failure::internal("an operation of a deployment cannot be written"));
        };
        let document = Document { properties, ..Document::default() };
        let body = serde_json::to_value(&document).map_err(|error| Failure::internal(error.to_string()))?;
        Ok(Change::PutResource(ResourcePut {
            incarnation: Uuid::new_v5(&run, id.key().as_bytes()),
            id: id.to_string(),
            type_name: TYPE_NAME.to_owned(),
            listed: false,
            tags: document.tags,
            body,
            by: deployment.row.changed.by.clone(),
            by_type: deployment.row.changed.by_type.clone(),
        }))
    }
}

/// An operation as a GET shows it.
pub(super) fn wire_form(entry: &Entry) -> Result<Value, Failure> {
    let operation = Operation::read(&entry.document)?;
    let mut properties = Map::new();
    properties.insert("provisioningOperation".into(), json!(operation.verb));
    properties.insert("provisioningState".into(), operation.state.as_str().into());
    properties.insert("timestamp".into(), operation.changed.to_string().into());
    properties.insert("duration".into(), duration(operation.started, operation.changed).into());
    properties.insert("trackingId".into(), operation.request_id.to_string().into());
    properties.insert("serviceRequestId".into(), operation.request_id.to_string().into());
    if let Some(status) = operation.status_code {
        properties.insert("statusCode".into(), reason(status).into());
    }
    if let Some(error) = &operation.error {
        let message = json!({"status": operation.state.as_str(), "error": error.to_error_value()});
        properties.insert("statusMessage".into(), message);
    }
    properties.insert("targetResource".into(), json!(operation.target));
    Ok(json!({
        "id": entry.id.to_string(),
        "operationId": entry.id.name(),
        "properties": properties,
    }))
}

/// The id of an operation below its deployment.
pub(super) fn id_of(deployment: &ResourceId, operation: &str) -> Result<ResourceId, ArmError> {
    deployment.child("operations", operation)
}

/// `NotFound` for 404: the reason phrase in one word.
fn reason(status: u16) -> String {
    let phrase = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    phrase.map_or_else(|| status.to_string(), |phrase| phrase.replace([' ', '-'], ""))
}

/// The type under which operations are stored.
pub(super) const TYPE_NAME: &str = "Microsoft.Resources/deployments/operations";
