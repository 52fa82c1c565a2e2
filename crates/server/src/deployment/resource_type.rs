//! The type as provider listings show it. Its resources have routes of their own.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, IdentitySupport, NameRule, Placement, PutStatus, ResourceType,
    Surroundings, View,
};
use serde_json::{Map, Value};

use super::record::Record;

/// The deployment type.
#[derive(Debug)]
pub(crate) struct DeploymentType;

impl ResourceType for DeploymentType {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let message = "A deployment is written by PUT of a template at a resource group, a subscription or the tenant.";
        Err(ArmError::new(400, "InvalidDeployment", message).with_target(admission.id.to_string()))
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        match Record::read(view.document) {
            Ok(record) => record.properties(),
            Err(_) => Map::new(),
        }
    }
}

/// Up to 64 letters, digits and `-._()`, not ending in a dot.
fn is_deployment_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._()".contains(&byte))
        && !name.ends_with('.')
}

pub(super) static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.Resources",
    types: &["deployments"],
    placement: Placement::Extension,
    tracked: false,
    name: NameRule {
        accepts: is_deployment_name,
        explanation: "1 to 64 letters, digits, hyphens, underscores, parentheses or dots, not ending in a dot",
    },
    identity: IdentitySupport::None,
    read_only: &[],
    patchable: Some(&[]),
    put: PutStatus::CREATED,
    surroundings: Surroundings::NONE,
    actions: &[],
    api_versions: &["2025-04-01", "2024-11-01", "2024-03-01", "2022-09-01", "2021-04-01", "2020-10-01", "2020-06-01"],
    data_plane: DataPlane::Served,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["a", "hub-1-4711", "Main_(2).x", &"x".repeat(64)] {
            assert!(is_deployment_name(name), "{name}");
        }
        for name in ["", "a.", "a b", "ä", "a/b", &"x".repeat(65)] {
            assert!(!is_deployment_name(name), "{name}");
        }
    }
}
