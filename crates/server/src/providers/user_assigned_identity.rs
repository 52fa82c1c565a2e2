//! `Microsoft.ManagedIdentity/userAssignedIdentities`: an identity with a life of its own, to be assigned to others.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Acted, Action, ActionCall, Admission, Admitted, DataPlane, Descriptor, Document, Effect, IdentitySupport, NameRule,
    Placement, Principal, PutStatus, ResourceType, Surroundings, View,
};
use serde_json::{Map, Value, json};

use crate::associated_resources::LIST_ASSOCIATED_RESOURCES;

/// The user-assigned identity type.
#[derive(Debug)]
pub struct UserAssignedIdentity;

impl ResourceType for UserAssignedIdentity {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut admitted = Admitted { document: admission.document, ..Admitted::default() };
        let existing = admission.existing.and_then(|existing| principal(existing.document));
        let principal = match existing {
            Some(principal) => principal,
            None => {
                let principal = Principal { principal_id: (admission.fresh_id)(), client_id: (admission.fresh_id)() };
                let name = admission.id.name().to_owned();
                admitted.effects.push(Effect::CreatePrincipal { principal, name });
                principal
            }
        };
        let isolation = admitted.document.properties.remove("isolationScope");
        admitted.document.properties = Map::from_iter([
            ("principalId".to_owned(), json!(principal.principal_id)),
            ("clientId".to_owned(), json!(principal.client_id)),
        ]);
        if let Some(isolation) = isolation.filter(|isolation| !isolation.is_null()) {
            admitted.document.properties.insert("isolationScope".to_owned(), isolation);
        }
        Ok(admitted)
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        properties.insert("tenantId".into(), json!(view.tenant_id));
        properties
    }

    fn release(&self, document: &Document) -> Vec<Effect> {
        principal(document).map(Effect::RemovePrincipal).into_iter().collect()
    }

    fn act(&self, call: &ActionCall<'_>) -> Result<Acted, ArmError> {
        match call.action {
            // Bastide's own: what a machine outside needs to be this identity. The secret is shown once and replaces the
            // one before; instances get theirs without this call.
            ISSUE_ENDPOINT_SECRET => {
                let secret = (call.fresh_secret)();
                let answer = json!({
                    "identityEndpoint": format!("{}/msi/token", call.origin),
                    "identityHeader": secret.reveal(),
                });
                let principal = principal(call.existing.document).ok_or_else(|| {
                    ArmError::conflict("The identity has no principal. Delete it and create it again.")
                })?;
                Ok(Acted {
                    answer: Some(answer),
                    effects: vec![Effect::IssueEndpointSecret { principal, secret }],
                    ..Acted::default()
                })
            }
            other => Err(ArmError::not_found(format!("A user-assigned identity has no action '{other}'."))),
        }
    }
}

/// The identity's ids as stored.
pub fn principal(document: &Document) -> Option<Principal> {
    let id = |name| document.properties.get(name).and_then(Value::as_str).and_then(|text| text.parse().ok());
    Some(Principal { principal_id: id("principalId")?, client_id: id("clientId")? })
}

/// 3 to 128 letters, digits, hyphens and underscores, starting with a letter or digit.
fn is_identity_name(name: &str) -> bool {
    (3..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

const ISSUE_ENDPOINT_SECRET: &str = "issueEndpointSecret";

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.ManagedIdentity",
    types: &["userAssignedIdentities"],
    placement: Placement::ResourceGroup,
    tracked: true,
    name: NameRule {
        accepts: is_identity_name,
        explanation: "3 to 128 letters, digits, hyphens or underscores, starting with a letter or digit",
    },
    identity: IdentitySupport::None,
    read_only: &["principalId", "clientId", "tenantId", "clientSecretUrl"],
    patchable: None,
    put: PutStatus::CREATED,
    surroundings: Surroundings::NONE,
    actions: &[
        Action { name: ISSUE_ENDPOINT_SECRET, secret: true },
        Action { name: LIST_ASSOCIATED_RESOURCES, secret: false },
    ],
    api_versions: &[
        "2025-05-31-preview",
        "2025-01-31-preview",
        "2024-11-30",
        "2023-01-31",
        "2022-01-31-preview",
        "2018-11-30",
    ],
    data_plane: DataPlane::Served,
};
