//! What is listed below an AI account without having rows: the SKUs it may have, what it uses, the models it offers.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, IdentitySupport, Linked, NameRule, Placement, PutStatus, ResourceType,
    Surroundings, View,
};
use serde_json::{Map, Value, json};

/// A list that an account implies.
#[derive(Debug)]
pub struct Listing {
    descriptor: Descriptor,
    of: fn(&Linked) -> Vec<Value>,
}

/// `accounts/skus`: the one SKU that there is for Bastide's accounts, and the one it has.
pub const SKUS: Listing = Listing { descriptor: listed(&["accounts", "skus"]), of: skus };

/// `accounts/usages`: nothing, because nothing runs behind an account that could be used.
pub const USAGES: Listing = Listing { descriptor: listed(&["accounts", "usages"]), of: |_| Vec::new() };

/// `accounts/models`: nothing, because Bastide offers no models of its own.
pub const MODELS: Listing = Listing { descriptor: listed(&["accounts", "models"]), of: |_| Vec::new() };

impl ResourceType for Listing {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let message = format!("'{}' is not made by clients; list the collection instead.", admission.id.type_name());
        Err(ArmError::new(405, "MethodNotAllowed", message))
    }

    fn answer(&self, _view: &View<'_>) -> Map<String, Value> {
        Map::new()
    }

    fn implied(&self, parent: &Linked) -> Option<Vec<Value>> {
        Some((self.of)(parent))
    }
}

fn skus(account: &Linked) -> Vec<Value> {
    let standing = account.document.sku.clone().unwrap_or_else(|| json!({"name": "S0"}));
    let mut skus = vec![json!({"name": "S0", "tier": "Standard"})];
    if standing.get("name") != Some(&json!("S0")) {
        skus.insert(0, standing);
    }
    skus.into_iter().map(|sku| json!({"resourceType": "accounts", "sku": sku})).collect()
}

const fn listed(types: &'static [&'static str]) -> Descriptor {
    Descriptor {
        namespace: "Microsoft.CognitiveServices",
        types,
        placement: Placement::ResourceGroup,
        tracked: false,
        name: NameRule::GENERIC,
        identity: IdentitySupport::None,
        read_only: &[],
        patchable: None,
        put: PutStatus::OK,
        surroundings: Surroundings::NONE,
        actions: &[],
        api_versions: &["2026-05-15-preview", "2025-09-01", "2025-06-01", "2024-10-01", "2023-05-01"],
        data_plane: DataPlane::None,
    }
}
