//! `Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials`: whose tokens an identity was asked to
//! take for its own. Stored only: the token service takes federated tokens for applications, not for identities yet.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, IdentitySupport, NameRule, Placement, PutStatus, ResourceType,
    Surroundings, View,
};
use serde_json::{Map, Value};

use super::stored::text;

/// The credential type.
#[derive(Debug)]
pub struct FederatedIdentityCredential;

impl ResourceType for FederatedIdentityCredential {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let document = admission.document;
        let refuse = |target: &str, message: &str| Err(ArmError::validation(message).with_target(target));
        if !text(&document.properties, "issuer").is_some_and(|issuer| issuer.starts_with("https://")) {
            return refuse("properties.issuer", "properties.issuer is needed: the https URL of the token issuer.");
        }
        if text(&document.properties, "subject").is_none_or(str::is_empty) {
            return refuse("properties.subject", "properties.subject is needed: the 'sub' of the tokens to be taken.");
        }
        let audiences = document.properties.get("audiences").and_then(Value::as_array);
        if !audiences.is_some_and(|audiences| audiences.len() == 1 && audiences.iter().all(Value::is_string)) {
            return refuse("properties.audiences", "properties.audiences is needed: a list of one audience.");
        }
        Ok(Admitted { document, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        view.document.properties.clone()
    }
}

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.ManagedIdentity",
    types: &["userAssignedIdentities", "federatedIdentityCredentials"],
    placement: Placement::ResourceGroup,
    tracked: false,
    name: NameRule::GENERIC,
    identity: IdentitySupport::None,
    read_only: &[],
    patchable: None,
    put: PutStatus::CREATED,
    surroundings: Surroundings::NONE,
    actions: &[],
    api_versions: &["2025-01-31-preview", "2024-11-30", "2023-01-31"],
    data_plane: DataPlane::None,
};
