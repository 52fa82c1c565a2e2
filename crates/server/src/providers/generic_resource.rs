//! Types nobody implements, stored and returned but never executed: only under `--generic-resources`, and each answer says
//! so (`bastide.dataPlane: "none"`).

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, IdentitySupport, NameRule, Placement, PutStatus, ResourceType,
    Surroundings, View,
};
use serde_json::{Map, Value};

/// A resource of any type.
#[derive(Debug)]
pub struct GenericResource;

impl ResourceType for GenericResource {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        Ok(Admitted { document: admission.document, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        properties.insert("provisioningState".into(), "Succeeded".into());
        properties
    }
}

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "",
    types: &[],
    placement: Placement::Extension,
    tracked: false,
    name: NameRule::GENERIC,
    identity: IdentitySupport::Optional,
    read_only: &["provisioningState"],
    patchable: None,
    put: PutStatus::CREATED,
    surroundings: Surroundings::NONE,
    actions: &[],
    api_versions: &[],
    data_plane: DataPlane::None,
};
