//! `Microsoft.KeyVault/deletedManagedHSMs`: none. Bastide has no managed HSMs, but `az keyvault list-deleted` asks for them
//! before it shows any vault.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, IdentitySupport, Linked, NameRule, Placement, PutStatus, ResourceType,
    Surroundings, View,
};
use serde_json::{Map, Value};

/// The type of deleted managed HSMs.
#[derive(Debug)]
pub struct DeletedManagedHsm;

impl ResourceType for DeletedManagedHsm {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let message =
            format!("Bastide has no managed HSMs, so there is no '{}'. Use a vault.", admission.id.type_name());
        Err(ArmError::new(405, "MethodNotAllowed", message))
    }

    fn answer(&self, _view: &View<'_>) -> Map<String, Value> {
        Map::new()
    }

    fn implied(&self, _parent: &Linked) -> Option<Vec<Value>> {
        Some(Vec::new())
    }
}

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.KeyVault",
    types: &["deletedManagedHSMs"],
    placement: Placement::Extension,
    tracked: false,
    name: NameRule::GENERIC,
    identity: IdentitySupport::None,
    read_only: &[],
    patchable: None,
    put: PutStatus::OK,
    surroundings: Surroundings::NONE,
    actions: &[],
    api_versions: &["2026-02-01", "2025-05-01", "2024-11-01"],
    data_plane: DataPlane::None,
};
