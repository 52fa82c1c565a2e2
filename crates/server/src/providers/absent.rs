//! Types of which there are never any, and whose lists clients want all the same before they go on.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Admission, Admitted, Descriptor, Linked, Placement, ResourceType, View};
use serde_json::{Map, Value};

/// A type without resources.
#[derive(Debug)]
pub struct Absent {
    descriptor: Descriptor,
    /// Why there are none, and what there is instead: a sentence.
    why: &'static str,
}

/// `az keyvault list-deleted` asks for them before it shows any vault.
pub const DELETED_MANAGED_HSMS: Absent = Absent {
    descriptor: of("Microsoft.KeyVault", &["deletedManagedHSMs"], &["2026-02-01", "2025-05-01", "2024-11-01"]),
    why: "Bastide has no managed HSMs. Use a vault.",
};

/// Terraform looks among them before it makes a workspace of that name.
pub const DELETED_LOG_WORKSPACES: Absent = Absent {
    descriptor: of(
        "Microsoft.OperationalInsights",
        &["deletedWorkspaces"],
        &["2025-02-01", "2022-10-01", "2020-08-01"],
    ),
    why: "A Log Analytics workspace that is deleted is gone. Make a new one.",
};

impl ResourceType for Absent {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let message = format!("'{}' cannot be made: {}", admission.id.type_name(), self.why);
        Err(ArmError::new(405, "MethodNotAllowed", message))
    }

    fn answer(&self, _view: &View<'_>) -> Map<String, Value> {
        Map::new()
    }

    fn implied(&self, _parent: &Linked) -> Option<Vec<Value>> {
        Some(Vec::new())
    }
}

const fn of(
    namespace: &'static str,
    types: &'static [&'static str],
    api_versions: &'static [&'static str],
) -> Descriptor {
    Descriptor { placement: Placement::Extension, ..Descriptor::stored(namespace, types, api_versions) }
}
