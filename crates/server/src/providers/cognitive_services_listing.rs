//! What is listed below an AI account without having rows: the SKUs it may have, what it uses, the models it offers.

use bastide_arm::resource_type::Linked;
use bastide_hub::listing::Listing;
use serde_json::{Value, json};

/// `accounts/skus`: the one SKU that there is for Bastide's accounts, and the one it has.
pub const SKUS: Listing = listed(&["accounts", "skus"], skus);

/// `accounts/usages`: nothing, because nothing runs behind an account that could be used.
pub const USAGES: Listing = listed(&["accounts", "usages"], |_| Vec::new());

/// `accounts/models`: nothing, because Bastide offers no models of its own.
pub const MODELS: Listing = listed(&["accounts", "models"], |_| Vec::new());

fn skus(account: &Linked) -> Vec<Value> {
    let standing = account.document.sku.clone().unwrap_or_else(|| json!({"name": "S0"}));
    let mut skus = vec![json!({"name": "S0", "tier": "Standard"})];
    if standing.get("name") != Some(&json!("S0")) {
        skus.insert(0, standing);
    }
    skus.into_iter().map(|sku| json!({"resourceType": "accounts", "sku": sku})).collect()
}

const fn listed(types: &'static [&'static str], of: fn(&Linked) -> Vec<Value>) -> Listing {
    Listing::new("Microsoft.CognitiveServices", types, API_VERSIONS, of)
}

const API_VERSIONS: &[&str] = &["2026-05-15-preview", "2025-09-01", "2025-06-01", "2024-10-01", "2023-05-01"];
