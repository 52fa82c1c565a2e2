//! `Microsoft.ContainerRegistry/registries`.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Acted, Action, ActionCall, Admission, Admitted, DataPlane, Descriptor, Dismissal, Dismissed, Effect, HostNames,
    IdentitySupport, NameRule, Placement, PutStatus, ResourceType, Surroundings, View,
};
use serde_json::{Map, Value, json};

use super::stored::{dismiss_unless_shared, keep_or_make, new_keys, reveal, with_defaults};

/// The container registry type.
#[derive(Debug)]
pub struct ContainerRegistry;

impl ResourceType for ContainerRegistry {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document.clone();
        let sku = document.sku.take().or_else(|| admission.existing.and_then(|existing| existing.document.sku.clone()));
        let asked = sku.as_ref().and_then(|sku| sku.get("name")).and_then(Value::as_str).unwrap_or_default();
        let tier = ["Basic", "Standard", "Premium"].into_iter().find(|tier| tier.eq_ignore_ascii_case(asked));
        let Some(tier) = tier else {
            let message =
                format!("'{asked}' is not a tier of a container registry. Set sku.name to Basic, Standard or Premium.");
            return Err(ArmError::invalid_parameter("sku.name", message));
        };
        document.sku = Some(json!({"name": tier, "tier": tier}));
        let now = admission.now.to_string();
        keep_or_make(&mut document.properties, &admission, "creationDate", || json!(now));
        with_defaults(
            &mut document.properties,
            json!({
                "adminUserEnabled": false,
                "anonymousPullEnabled": false,
                "dataEndpointEnabled": false,
                "publicNetworkAccess": "Enabled",
                "networkRuleBypassOptions": "AzureServices",
                "zoneRedundancy": "Disabled",
            }),
        );
        let effects = new_keys(&admission, &PASSWORDS);
        Ok(Admitted { document, effects, ..Admitted::default() })
    }

    fn dismiss(&self, dismissal: &Dismissal<'_>) -> Result<Dismissed, ArmError> {
        dismiss_unless_shared(dismissal)
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        let name = view.id.name().to_ascii_lowercase();
        properties.insert("loginServer".into(), format!("{name}.azurecr.{}", view.zone).into());
        properties.insert("privateEndpointConnections".into(), json!([]));
        properties.insert("provisioningState".into(), "Succeeded".into());
        properties
    }

    fn host_names(&self) -> Option<HostNames> {
        Some(HostNames { space: "registry", taken: "AlreadyInUse" })
    }

    fn act(&self, call: &ActionCall<'_>) -> Result<Acted, ArmError> {
        if call.existing.document.properties.get("adminUserEnabled") != Some(&json!(true)) {
            let message = "The registry has no admin user. Set adminUserEnabled to true first.";
            return Err(ArmError::new(400, "UnAuthorizedForCredentialOperations", message));
        }
        let mut effects = Vec::new();
        if call.action == "regenerateCredential" {
            let asked = call.body.get("name").and_then(Value::as_str).unwrap_or_default();
            let Some(field) = PASSWORDS.into_iter().find(|name| name.eq_ignore_ascii_case(asked)) else {
                let message = format!("'{asked}' is not a password of a registry. Use password or password2.");
                return Err(ArmError::invalid_parameter("name", message));
            };
            effects.push(Effect::PutSecret { field: field.to_owned(), secret: (call.fresh_secret)() });
        }
        let mut passwords = Vec::new();
        for name in PASSWORDS {
            let renewed = effects.iter().find_map(|effect| match effect {
                Effect::PutSecret { field, secret } if field == name => Some(secret),
                _ => None,
            });
            passwords.push(json!({"name": name, "value": reveal(renewed.or_else(|| call.secrets.get(name)))?}));
        }
        let answer = json!({"username": call.id.name(), "passwords": passwords});
        Ok(Acted { answer: Some(answer), effects, ..Acted::default() })
    }
}

/// 5 to 50 letters and digits.
fn is_registry_name(name: &str) -> bool {
    (5..=50).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

const PASSWORDS: [&str; 2] = ["password", "password2"];

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.ContainerRegistry",
    types: &["registries"],
    placement: Placement::ResourceGroup,
    tracked: true,
    name: NameRule { accepts: is_registry_name, explanation: "5 to 50 letters and digits" },
    identity: IdentitySupport::Optional,
    read_only: &["loginServer", "creationDate", "provisioningState", "status", "privateEndpointConnections"],
    patchable: None,
    put: PutStatus::CREATED,
    surroundings: Surroundings { referrers: true, ..Surroundings::NONE },
    actions: &[Action { name: "listCredentials", secret: true }, Action { name: "regenerateCredential", secret: true }],
    api_versions: &["2026-09-01-preview", "2025-11-01", "2023-07-01", "2023-01-01-preview", "2021-09-01", "2019-05-01"],
    data_plane: DataPlane::None,
};
