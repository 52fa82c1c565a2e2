//! `Microsoft.Resources/resourceGroups`. Deleting one is a long-running operation: [`crate::operations`].

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, IdentitySupport, NameRule, Placement, PutStatus, ResourceType,
    Surroundings, View,
};
use serde_json::{Map, Value, json};

/// The resource group type.
#[derive(Debug)]
pub struct ResourceGroup;

/// Type name in canonical spelling.
pub const TYPE_NAME: &str = "Microsoft.Resources/resourceGroups";

/// The state of a group whose deletion has been accepted.
pub const DELETING: &str = "Deleting";

impl ResourceType for ResourceGroup {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        if admission.existing.is_some_and(|existing| is_deleting(&existing.document.properties)) {
            return Err(ArmError::resource_group_being_deleted(admission.id.name()));
        }
        let mut document = admission.document;
        // A group has no properties of its own; what a GET showed comes back and is dropped.
        document.properties = Map::new();
        Ok(Admitted { document, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let state = if is_deleting(&view.document.properties) { DELETING } else { "Succeeded" };
        Map::from_iter([("provisioningState".to_owned(), json!(state))])
    }
}

/// Whether the group's deletion has been accepted.
pub fn is_deleting(properties: &Map<String, Value>) -> bool {
    properties.get("provisioningState").is_some_and(|state| state == DELETING)
}

/// Up to 90 letters, digits and `-_().`, not ending in a dot (arm-models.md 1.1). Letters of any script: the cloud's
/// trouble with them was its container registry's (mission.md A20).
fn is_group_name(name: &str) -> bool {
    (1..=90).contains(&name.chars().count())
        && name.chars().all(|letter| letter.is_alphanumeric() || "-_().".contains(letter))
        && !name.ends_with('.')
}

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.Resources",
    types: &["resourceGroups"],
    placement: Placement::Subscription,
    tracked: true,
    name: NameRule {
        accepts: is_group_name,
        explanation: "1 to 90 letters, digits, hyphens, underscores, parentheses or dots, not ending in a dot",
    },
    identity: IdentitySupport::None,
    read_only: &["provisioningState"],
    patchable: Some(&[]),
    put: PutStatus::CREATED,
    surroundings: Surroundings::NONE,
    actions: &[],
    api_versions: &["2025-04-01", "2024-11-01", "2024-03-01", "2022-09-01", "2021-04-01", "2020-06-01"],
    data_plane: DataPlane::Served,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["rg", "a", "My_Group-1.(x)", "größe", &"x".repeat(90)] {
            assert!(is_group_name(name), "{name}");
        }
        for name in ["", "rg.", "a b", "a/b", "a%b", "a\u{0}", &"x".repeat(91)] {
            assert!(!is_group_name(name), "{name}");
        }
    }
}
