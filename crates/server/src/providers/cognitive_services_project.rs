//! `Microsoft.CognitiveServices/accounts/projects`: the projects of an AI account.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, IdentitySupport, Placement, PutStatus, ResourceType, Surroundings, View,
};
use serde_json::{Map, Value, json};

use super::stored::HYPHENATED;

/// The project type.
#[derive(Debug)]
pub struct CognitiveServicesProject;

impl ResourceType for CognitiveServicesProject {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let allows = |account: &Map<String, Value>| account.get("allowProjectManagement") == Some(&json!(true));
        if admission.parent.is_some_and(|account| !allows(&account.document.properties)) {
            let message = "The account has no projects. Set its allowProjectManagement to true first.";
            return Err(ArmError::validation(message).with_target("properties.allowProjectManagement"));
        }
        Ok(Admitted { document: admission.document, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        properties.insert("isDefault".into(), false.into());
        properties.insert("endpoints".into(), json!({}));
        properties.insert("provisioningState".into(), "Succeeded".into());
        properties
    }
}

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.CognitiveServices",
    types: &["accounts", "projects"],
    placement: Placement::ResourceGroup,
    tracked: true,
    name: HYPHENATED,
    identity: IdentitySupport::Optional,
    read_only: &["provisioningState", "endpoints", "isDefault"],
    patchable: None,
    put: PutStatus::CREATED,
    surroundings: Surroundings::NONE,
    actions: &[],
    api_versions: &["2026-05-15-preview", "2025-09-01", "2025-06-01"],
    data_plane: DataPlane::None,
};
