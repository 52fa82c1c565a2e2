//! An entry of the audit chain as an `EventData` (security.md section 4).

use bastide_arm::id::ResourceId;
use bastide_store::AuditEntry;
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ROLES, localised, text};
use crate::pass::ROLE_ASSIGNMENT;

/// Which of the two events of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// `BeginRequest`.
    Began,
    /// `EndRequest`.
    Ended,
}

impl Phase {
    /// Both, the newer first.
    pub(super) const BOTH: [Self; 2] = [Self::Ended, Self::Began];

    /// The status of that event.
    pub(super) fn status(self, record: &Value) -> &str {
        match self {
            Self::Began => "Started",
            Self::Ended => text(record, "status"),
        }
    }

    /// How much it matters.
    pub(super) fn level(self, record: &Value) -> &'static str {
        if self.status(record) == "Failed" { "Error" } else { "Informational" }
    }
}

/// The wire form of an entry about a resource.
pub(super) fn event(entry: &AuditEntry, phase: Phase, resource: &ResourceId, tenant: Uuid) -> Value {
    let record = &entry.record;
    let id = event_id(entry, phase);
    let (action, status, caller) = (text(record, "action"), phase.status(record), text(record, "caller"));
    let (name, localised_name) = match phase {
        Phase::Began => ("BeginRequest", "Begin request"),
        Phase::Ended => ("EndRequest", "End request"),
    };
    let request = text(record, "requestId");
    let [administrative, policy] = CATEGORIES;
    let category = if record.get("policies").is_some() { policy } else { administrative };
    let mut event = json!({
        "authorization": {"action": action, "scope": resource.to_string()},
        "caller": if caller.is_empty() { text(record, "objectId") } else { caller },
        "channels": CHANNEL,
        "claims": claims(record),
        "correlationId": record.get("correlationId"),
        "description": "",
        "eventDataId": id,
        "eventName": {"value": name, "localizedValue": localised_name},
        "category": localised(category),
        "httpRequest": {
            "clientRequestId": record.get("clientRequestId"),
            "clientIpAddress": record.get("clientIp"),
            "method": record.get("method"),
        },
        "id": format!("{resource}/events/{id}/ticks/{}", ticks(entry)),
        "level": phase.level(record),
        "resourceGroupName": resource.resource_group().unwrap_or_default(),
        "resourceProviderName": localised(resource.namespace()),
        "resourceId": resource.to_string(),
        "resourceType": localised(&resource.type_name()),
        "operationId": record.get("operationId").or(record.get("correlationId")),
        "operationName": localised(action),
        "properties": {
            "statusCode": if phase == Phase::Began { String::new() } else { status_word(record) },
            "serviceRequestId": request,
            "eventCategory": category,
            "entity": resource.to_string(),
            "message": action,
            "hierarchy": format!("{tenant}/{}", resource.subscription_id().unwrap_or_default()),
            // Clients take nothing but texts here.
            "auditSequence": entry.seq.to_string(),
            "auditHash": entry.hash,
        },
        "status": localised(status),
        "subStatus": localised(if phase == Phase::Began { "" } else { text(record, "code") }),
        "eventTimestamp": entry.at.to_string(),
        "submissionTimestamp": entry.at.to_string(),
        "subscriptionId": resource.subscription_id(),
        "tenantId": tenant,
    });
    if let Some(properties) = event.get_mut("properties").and_then(Value::as_object_mut) {
        let told = ["policies", "granted", "consent", ROLES]
            .into_iter()
            .filter_map(|name| Some((name, record.get(name)?.to_string())));
        properties.extend(told.map(|(name, text)| (name.to_owned(), text.into())));
        properties.extend(assignment_body(record, action, phase));
    }
    event
}

/// A role assignment where `az role assignment list-changelogs` looks for it: in the body of the request that makes one,
/// and of the answer that tells what it was. Nothing else of any body is known here.
fn assignment_body(record: &Value, action: &str, phase: Phase) -> Option<(String, Value)> {
    let (type_name, _) = action.rsplit_once('/')?;
    let assignment = record.get(ROLES)?.get(0).filter(|_| type_name.eq_ignore_ascii_case(ROLE_ASSIGNMENT))?;
    let name = match phase {
        Phase::Began => "requestbody",
        Phase::Ended => "responseBody",
    };
    Some((name.to_owned(), assignment.to_string().into()))
}

/// A copy of who it was, never the token. Clients take nothing but texts here.
fn claims(record: &Value) -> Value {
    let names = [("objectId", "objectId"), ("appid", "appId"), ("idtyp", "principalType")];
    let claims = names.iter().filter_map(|(claim, name)| Some(((*claim).to_owned(), record.get(name)?.clone())));
    Value::Object(claims.collect())
}

/// An id that follows from the entry's hash: one half of it for each event.
fn event_id(entry: &AuditEntry, phase: Phase) -> Uuid {
    let half = match phase {
        Phase::Ended => entry.hash.get(..32),
        Phase::Began => entry.hash.get(32..),
    };
    half.and_then(|half| Uuid::try_parse(half).ok()).unwrap_or_default()
}

/// Hundreds of nanoseconds since the year 1.
fn ticks(entry: &AuditEntry) -> i64 {
    TICKS_TO_1970 + entry.at.as_microsecond() * 10
}

fn status_word(record: &Value) -> String {
    let code = record.get("statusCode").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let code = code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::OK);
    code.canonical_reason().unwrap_or_default().replace(' ', "")
}

/// The channel that events come by.
pub(super) const CHANNEL: &str = "Operation";

/// The categories that events come in.
pub(super) const CATEGORIES: [&str; 2] = ["Administrative", "Policy"];

const TICKS_TO_1970: i64 = 621_355_968_000_000_000;
