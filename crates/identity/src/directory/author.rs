//! Who changes the directory, for the auditor.

use std::net::IpAddr;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::principal::Principal;

/// On whose behalf a change is made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Author {
    /// Bastide itself: the first start, sign-ins, the identities of resources.
    #[default]
    Bastide,
    /// A caller.
    Caller {
        /// Who it is.
        principal: Principal,
        /// Names the request in answers and logs.
        request_id: Uuid,
        /// Where it came from. Behind a proxy that is the proxy.
        source: Option<IpAddr>,
    },
}

impl Author {
    /// The line for the auditor. `objectId` is the caller, as in the records of resources; `target` is what was changed,
    /// and what else the change is about has a name of its own: the `member` of a group, a `credential`.
    pub(crate) fn record(&self, action: &str, target: Uuid, other: Option<(&str, Uuid)>) -> Value {
        let mut line = self.line(action, target);
        if let (Some((name, id)), Some(fields)) = (other, line.as_object_mut()) {
            fields.insert(name.to_owned(), json!(id));
        }
        line
    }

    fn line(&self, action: &str, target: Uuid) -> Value {
        let action = format!("identity/{action}");
        match self {
            Self::Bastide => json!({ "caller": "Bastide", "action": action, "target": target, "status": "Succeeded" }),
            Self::Caller { principal, request_id, source } => json!({
                "caller": principal.name,
                "objectId": principal.object_id,
                "principalType": principal.kind.as_principal_type(),
                "action": action,
                "target": target,
                "status": "Succeeded",
                "requestId": request_id,
                "source": source,
            }),
        }
    }
}
