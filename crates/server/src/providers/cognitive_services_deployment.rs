//! `Microsoft.CognitiveServices/accounts/deployments`: which model an account was asked to offer.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, IdentitySupport, Placement, PutStatus, ResourceType, Surroundings, View,
};
use serde_json::{Map, Value, json};

use super::stored::{HYPHENATED, with_defaults};

/// The deployment type.
#[derive(Debug)]
pub struct CognitiveServicesDeployment;

impl ResourceType for CognitiveServicesDeployment {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document.clone();
        let model = document.properties.get("model").and_then(Value::as_object);
        for needed in ["format", "name"] {
            let given = model.and_then(|model| model.get(needed)?.as_str()).unwrap_or_default();
            if given.is_empty() {
                let target = format!("properties.model.{needed}");
                let message = format!("{target} is needed, as in {{\"format\": \"OpenAI\", \"name\": \"gpt-4o\"}}.");
                return Err(ArmError::validation(message).with_target(target));
            }
        }
        document.sku = document.sku.take().or_else(|| Some(json!({"name": "Standard", "capacity": 1})));
        let defaults = json!({"versionUpgradeOption": "OnceNewDefaultVersionAvailable"});
        with_defaults(&mut document.properties, defaults);
        Ok(Admitted { document, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        properties.insert("provisioningState".into(), "Succeeded".into());
        properties
    }
}

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.CognitiveServices",
    types: &["accounts", "deployments"],
    placement: Placement::ResourceGroup,
    tracked: false,
    name: HYPHENATED,
    identity: IdentitySupport::None,
    read_only: &["provisioningState", "capabilities", "rateLimits", "callRateLimit"],
    patchable: None,
    put: PutStatus::CREATED,
    surroundings: Surroundings::NONE,
    actions: &[],
    api_versions: &["2025-06-01", "2024-10-01", "2023-05-01"],
    data_plane: DataPlane::None,
};
