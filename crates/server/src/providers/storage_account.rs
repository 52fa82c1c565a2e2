//! `Microsoft.Storage/storageAccounts`, with the services every account has.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Acted, Action, ActionCall, Admission, Admitted, DataPlane, Descriptor, Dismissal, Dismissed, Document, Effect,
    HostNames, IdentitySupport, NameRule, PartChange, Placement, PutStatus, ResourceType, Surroundings, View,
};
use serde_json::{Map, Value, json};

use super::stored::{dismiss_unless_shared, keep_or_make, new_keys, reveal, text, with_defaults};
use super::stored_type::STORAGE_SERVICES;

/// The storage account type.
#[derive(Debug)]
pub struct StorageAccount;

impl ResourceType for StorageAccount {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document.clone();
        let sku = document.sku.take().or_else(|| admission.existing.and_then(|existing| existing.document.sku.clone()));
        let name = sku.as_ref().and_then(|sku| sku.get("name")).and_then(Value::as_str).ok_or_else(|| {
            ArmError::validation("A storage account needs sku.name, such as Standard_LRS.").with_target("sku.name")
        })?;
        let tier = if name.to_ascii_lowercase().starts_with("premium") { "Premium" } else { "Standard" };
        document.sku = Some(json!({"name": name, "tier": tier}));
        document.kind.get_or_insert_with(|| "StorageV2".to_owned());
        let now = admission.now.to_string();
        keep_or_make(&mut document.properties, &admission, "creationTime", || json!(now));
        with_defaults(
            &mut document.properties,
            json!({
                "accessTier": "Hot",
                "allowBlobPublicAccess": false,
                "minimumTlsVersion": "TLS1_2",
                "supportsHttpsTrafficOnly": true,
                "publicNetworkAccess": "Enabled",
                "networkAcls": {
                    "bypass": "AzureServices", "defaultAction": "Allow", "ipRules": [], "virtualNetworkRules": [],
                },
                "encryption": {
                    "keySource": "Microsoft.Storage",
                    "services": {"blob": {"enabled": true}, "file": {"enabled": true}},
                },
            }),
        );
        let effects = new_keys(&admission, &KEYS);
        let service =
            |kind| PartChange::Put { kind, name: "default".to_owned(), document: Box::new(Document::default()) };
        let services = ["blobServices"].into_iter().chain(STORAGE_SERVICES);
        let parts = if admission.existing.is_none() { services.map(service).collect() } else { Vec::new() };
        Ok(Admitted { document, parts, effects, ..Admitted::default() })
    }

    fn dismiss(&self, dismissal: &Dismissal<'_>) -> Result<Dismissed, ArmError> {
        dismiss_unless_shared(dismissal)
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        let name = view.id.name();
        let endpoint = |service: &str| format!("https://{name}.{service}.{}/", view.zone);
        let services = ["blob", "dfs", "file", "queue", "table", "web"];
        let endpoints: Map<String, Value> =
            services.iter().map(|name| ((*name).to_owned(), json!(endpoint(name)))).collect();
        let created = properties.get("creationTime").cloned().unwrap_or_default();
        properties.insert("keyCreationTime".into(), json!({"key1": created, "key2": created}));
        properties.insert("primaryEndpoints".into(), Value::Object(endpoints));
        properties.insert("primaryLocation".into(), json!(view.document.location));
        properties.insert("statusOfPrimary".into(), "available".into());
        properties.insert("privateEndpointConnections".into(), json!([]));
        properties.insert("provisioningState".into(), "Succeeded".into());
        properties
    }

    fn host_names(&self) -> Option<HostNames> {
        Some(HostNames { space: "storage", taken: "StorageAccountAlreadyTaken" })
    }

    fn act(&self, call: &ActionCall<'_>) -> Result<Acted, ArmError> {
        let mut effects = Vec::new();
        let mut fresh = None;
        if call.action == "regenerateKey" {
            let asked = call.body.get("keyName").and_then(Value::as_str).unwrap_or_default();
            let Some(field) = KEYS.into_iter().find(|key| key.eq_ignore_ascii_case(asked)) else {
                let message = format!("'{asked}' is not a key of a storage account. Use key1 or key2.");
                return Err(ArmError::invalid_parameter("keyName", message));
            };
            let secret = (call.fresh_secret)();
            fresh = Some((field, secret.clone()));
            effects.push(Effect::PutSecret { field: field.to_owned(), secret });
        }
        let mut keys = Vec::new();
        for field in KEYS {
            let secret = match &fresh {
                Some((renewed, secret)) if *renewed == field => Some(secret),
                _ => call.secrets.get(field),
            };
            let created = text(&call.existing.document.properties, "creationTime");
            keys.push(json!({
                "keyName": field, "value": reveal(secret)?, "permissions": "FULL", "creationTime": created,
            }));
        }
        Ok(Acted { answer: Some(json!({"keys": keys})), effects, ..Acted::default() })
    }
}

/// 3 to 24 lower-case letters and digits: the name becomes a host name.
fn is_account_name(name: &str) -> bool {
    (3..=24).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

const KEYS: [&str; 2] = ["key1", "key2"];

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.Storage",
    types: &["storageAccounts"],
    placement: Placement::ResourceGroup,
    tracked: true,
    name: NameRule { accepts: is_account_name, explanation: "3 to 24 lower-case letters and digits" },
    identity: IdentitySupport::Optional,
    read_only: &[
        "provisioningState",
        "primaryEndpoints",
        "primaryLocation",
        "statusOfPrimary",
        "secondaryEndpoints",
        "secondaryLocation",
        "statusOfSecondary",
        "creationTime",
        "keyCreationTime",
        "privateEndpointConnections",
    ],
    patchable: None,
    // Never 201: the SDK and azurerm refuse it (status-codes.txt).
    put: PutStatus::OK,
    surroundings: Surroundings { referrers: true, ..Surroundings::NONE },
    actions: &[Action { name: "listKeys", secret: true }, Action { name: "regenerateKey", secret: true }],
    api_versions: &[
        "2025-08-01",
        "2025-06-01",
        "2024-01-01",
        "2023-05-01",
        "2023-04-01",
        "2022-09-01",
        "2019-06-01",
        "2019-04-01",
    ],
    data_plane: DataPlane::None,
};
