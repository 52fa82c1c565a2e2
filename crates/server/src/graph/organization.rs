//! `/organization` and `/domains`: the one tenant.

use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::error::GraphError;

pub(super) fn list(call: &Call) -> Answer {
    call.collection("organization", vec![shown(call)], None)
}

pub(super) fn show(call: &Call, id: &str) -> Result<Answer, GraphError> {
    if id.parse() == Ok(call.caller.tenant_id) {
        Ok(call.object("organization", shown(call)))
    } else {
        Err(GraphError::not_found(id))
    }
}

pub(super) fn domains(call: &Call) -> Answer {
    call.collection(
        "domains",
        vec![json!({
            "id": call.domain(),
            "authenticationType": "Managed",
            "isDefault": true,
            "isInitial": true,
            "isRoot": true,
            "isVerified": true,
            "supportedServices": [],
        })],
        None,
    )
}

fn shown(call: &Call) -> Value {
    json!({
        "id": call.caller.tenant_id,
        "displayName": crate::discovery::CLOUD_NAME,
        "tenantType": "AAD",
        "verifiedDomains": [
            { "name": call.domain(), "isDefault": true, "isInitial": true, "type": "Managed", "capabilities": "" },
        ],
    })
}
