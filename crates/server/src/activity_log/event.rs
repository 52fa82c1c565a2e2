//! An entry of the audit chain as an `EventData` (security.md section 4).

use bastide_arm::id::ResourceId;
use bastide_store::AuditEntry;
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{localised, text};

/// The wire form of an entry about a resource.
pub(super) fn event(entry: &AuditEntry, resource: &ResourceId, tenant: Uuid) -> Value {
    let record = &entry.record;
    let id = event_id(entry);
    let (action, status, caller) = (text(record, "action"), text(record, "status"), text(record, "caller"));
    let failed = status == "Failed";
    let request = text(record, "requestId");
    json!({
        "authorization": {"action": action, "scope": resource.to_string()},
        "caller": if caller.is_empty() { text(record, "objectId") } else { caller },
        "channels": "Operation",
        "claims": claims(record),
        "correlationId": record.get("correlationId"),
        "description": "",
        "eventDataId": id,
        "eventName": {"value": "EndRequest", "localizedValue": "End request"},
        "category": localised("Administrative"),
        "httpRequest": {
            "clientRequestId": record.get("clientRequestId"),
            "clientIpAddress": record.get("clientIp"),
            "method": record.get("method"),
        },
        "id": format!("{resource}/events/{id}/ticks/{}", ticks(entry)),
        "level": if failed { "Error" } else { "Informational" },
        "resourceGroupName": resource.resource_group().unwrap_or_default(),
        "resourceProviderName": localised(resource.namespace()),
        "resourceId": resource.to_string(),
        "resourceType": localised(&resource.type_name()),
        "operationId": record.get("operationId").or(record.get("correlationId")),
        "operationName": localised(action),
        "properties": {
            "statusCode": status_word(record),
            "serviceRequestId": request,
            "eventCategory": "Administrative",
            "entity": resource.to_string(),
            "message": action,
            "hierarchy": format!("{tenant}/{}", resource.subscription_id().unwrap_or_default()),
            // Clients take nothing but texts here.
            "auditSequence": entry.seq.to_string(),
            "auditHash": entry.hash,
        },
        "status": localised(status),
        "subStatus": localised(text(record, "code")),
        "eventTimestamp": entry.at.to_string(),
        "submissionTimestamp": entry.at.to_string(),
        "subscriptionId": resource.subscription_id(),
        "tenantId": tenant,
    })
}

/// A copy of who it was, never the token. Clients take nothing but texts here.
fn claims(record: &Value) -> Value {
    let names = [("objectId", "objectId"), ("appid", "appId"), ("idtyp", "principalType")];
    let claims = names.iter().filter_map(|(claim, name)| Some(((*claim).to_owned(), record.get(name)?.clone())));
    Value::Object(claims.collect())
}

/// An id that follows from the entry's hash.
fn event_id(entry: &AuditEntry) -> Uuid {
    entry.hash.get(..32).and_then(|head| Uuid::try_parse(head).ok()).unwrap_or_default()
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

const TICKS_TO_1970: i64 = 621_355_968_000_000_000;
