//! `$select` of the activity log: which properties of its events are wanted.

use bastide_arm::error::ArmError;
use serde_json::Value;

use crate::request::Request;

/// The properties to show; all when nothing is said.
pub(super) struct Selection(Option<Vec<String>>);

impl Selection {
    pub(super) fn read(request: &Request<'_>) -> Result<Self, ArmError> {
        let Some(text) = request.context.query_value("$select").filter(|text| !text.trim().is_empty()) else {
            return Ok(Self(None));
        };
        let mut names = Vec::new();
        for name in text.split(',').map(str::trim) {
            let Some(known) = PROPERTIES.iter().find(|known| known.eq_ignore_ascii_case(name)) else {
                let shown: String = name.chars().filter(|letter| !letter.is_control()).take(100).collect();
                let message = format!("Events have no '{shown}'. $select takes names from: {}.", PROPERTIES.join(", "));
                return Err(ArmError::invalid_parameter("$select", message));
            };
            names.push((*known).to_owned());
        }
        Ok(Self(Some(names)))
    }

    /// What is wanted of an event.
    pub(super) fn of(&self, mut event: Value) -> Value {
        if let (Some(names), Some(fields)) = (&self.0, event.as_object_mut()) {
            fields.retain(|name, _| names.contains(name));
        }
        event
    }
}

/// What events have.
const PROPERTIES: [&str; 25] = [
    "authorization",
    "caller",
    "category",
    "channels",
    "claims",
    "correlationId",
    "description",
    "eventDataId",
    "eventName",
    "eventTimestamp",
    "httpRequest",
    "id",
    "level",
    "operationId",
    "operationName",
    "properties",
    "resourceGroupName",
    "resourceId",
    "resourceProviderName",
    "resourceType",
    "status",
    "subStatus",
    "submissionTimestamp",
    "subscriptionId",
    "tenantId",
];
