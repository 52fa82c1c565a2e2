//! `workspaces/endpoints`: the built-in model endpoints that templates declare below a hub, `Azure.OpenAI` and its like, with
//! the AI services account behind each (mission.md B1, infrastructure-as-code.md section 4).

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, Document, IdentitySupport, Link, NameRule, Placement, PutStatus,
    ResourceType, Surroundings, View,
};
use serde_json::{Map, Value};

use crate::field::{self, any_of, refused};
use crate::workspace::link_to;

/// The type of built-in endpoints.
#[derive(Debug, Default)]
pub struct ModelEndpoint;

impl ResourceType for ModelEndpoint {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn links(&self, document: &Document) -> Result<Vec<Link>, ArmError> {
        let Some(account) = field::text(&document.properties, ASSOCIATED, AT)? else { return Ok(Vec::new()) };
        let target = format!("{AT}.{ASSOCIATED}");
        Ok(vec![link_to(account, ACCOUNT, "Microsoft.CognitiveServices/accounts/read", target)?])
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document;
        let properties = &mut document.properties;
        let kind = field::choice(properties, "endpointType", AT, KINDS)?.ok_or_else(|| {
            refused("properties.endpointType", format!("An endpoint needs an endpointType. Use {}.", any_of(KINDS)))
        })?;
        properties.insert("endpointType".into(), kind.into());
        field::text(properties, "name", AT)?;
        properties.entry("name").or_insert_with(|| admission.id.name().into());
        properties.retain(|_, value| !value.is_null());
        Ok(Admitted { document, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        properties.insert("provisioningState".into(), "Succeeded".into());
        properties
    }
}

/// `Azure.OpenAI` is one: dots belong to these names (arm-models.md 1.1 has them for other endpoints without).
fn is_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

const AT: &str = "properties";
const ASSOCIATED: &str = "associatedResourceId";
const ACCOUNT: &str = "Microsoft.CognitiveServices/accounts";

/// The built-in kinds; endpoints that a project deploys are types of their own.
const KINDS: &[&str] = &["Azure.OpenAI", "Azure.Speech", "Azure.ContentSafety", "Azure.Llama"];

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.MachineLearningServices",
    types: &["workspaces", "endpoints"],
    placement: Placement::ResourceGroup,
    tracked: false,
    name: NameRule { accepts: is_name, explanation: "1 to 255 letters, digits, dots, hyphens or underscores" },
    identity: IdentitySupport::None,
    read_only: &["provisioningState", "failureReason", "endpointUri", "deployments"],
    patchable: None,
    put: PutStatus::OK,
    surroundings: Surroundings::NONE,
    actions: &[],
    api_versions: &["2024-10-01-preview", "2024-04-01-preview", "2023-08-01-preview"],
    data_plane: DataPlane::None,
};
