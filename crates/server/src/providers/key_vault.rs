//! `Microsoft.KeyVault/vaults`. The data plane comes with the vault issue.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, Dismissal, Dismissed, Document, HostNames, IdentitySupport, NameRule,
    Placement, PutStatus, ResourceType, SoftDelete, Surroundings, View,
};
use serde_json::{Map, Value, json};

use super::stored::{dismiss_unless_shared, text, with_defaults};

/// The key vault type.
#[derive(Debug)]
pub struct KeyVault;

impl ResourceType for KeyVault {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document;
        let properties = &mut document.properties;
        let tenant = admission.tenant_id.to_string();
        if text(properties, "tenantId").is_some_and(|asked| !asked.eq_ignore_ascii_case(&tenant)) {
            let message = format!("A vault belongs to the tenant of this Bastide. Set tenantId to {tenant}.");
            return Err(ArmError::invalid_parameter("properties.tenantId", message));
        }
        properties.insert("tenantId".into(), json!(tenant));
        with_defaults(
            properties,
            json!({
                "sku": {"family": "A", "name": "standard"},
                "accessPolicies": [],
                "enabledForDeployment": false,
                "enabledForDiskEncryption": false,
                "enabledForTemplateDeployment": false,
                "enableSoftDelete": true,
                "softDeleteRetentionInDays": 90,
                "enableRbacAuthorization": false,
                "publicNetworkAccess": "Enabled",
            }),
        );
        let days = properties.get("softDeleteRetentionInDays").and_then(Value::as_i64).unwrap_or_default();
        if !(7..=90).contains(&days) {
            let message = "softDeleteRetentionInDays must be a whole number from 7 to 90.";
            return Err(ArmError::invalid_parameter("properties.softDeleteRetentionInDays", message));
        }
        once_on_never_off(admission.existing.map(|existing| existing.document), properties)?;
        Ok(Admitted { document, ..Admitted::default() })
    }

    fn dismiss(&self, dismissal: &Dismissal<'_>) -> Result<Dismissed, ArmError> {
        dismiss_unless_shared(dismissal)
    }

    fn soft_delete(&self) -> Option<&'static SoftDelete> {
        Some(&SOFT_DELETE)
    }

    fn kept_days(&self, document: &Document) -> Option<u32> {
        let is_kept = document.properties.get("enableSoftDelete") != Some(&json!(false));
        let days = document.properties.get("softDeleteRetentionInDays").and_then(Value::as_u64);
        days.filter(|_| is_kept).and_then(|days| u32::try_from(days).ok())
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        properties.insert(
            "vaultUri".into(),
            format!("https://{}.vault.{}/", view.id.name().to_ascii_lowercase(), view.zone).into(),
        );
        properties.insert("provisioningState".into(), "Succeeded".into());
        properties
    }

    fn host_names(&self) -> Option<HostNames> {
        Some(HostNames { space: "vault", taken: "VaultAlreadyExists" })
    }
}

/// Soft delete and purge protection cannot be taken back (security.md section 3).
fn once_on_never_off(before: Option<&Document>, properties: &Map<String, Value>) -> Result<(), ArmError> {
    for name in ["enableSoftDelete", "enablePurgeProtection"] {
        let was_on = before.is_some_and(|before| before.properties.get(name) == Some(&json!(true)));
        if was_on && properties.get(name) != Some(&json!(true)) && properties.contains_key(name) {
            let message = format!("{name} cannot be turned off once it is on. Leave it out, or send true.");
            return Err(ArmError::invalid_parameter(&format!("properties.{name}"), message));
        }
    }
    Ok(())
}

/// 3 to 24 letters, digits and single inner hyphens, starting with a letter.
fn is_vault_name(name: &str) -> bool {
    (3..=24).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && !name.ends_with('-')
        && !name.contains("--")
}

/// To purge takes a right of its own (security.md section 3), so whoever deletes cannot skip the keeping.
static SOFT_DELETE: SoftDelete = SoftDelete {
    noun: "vault",
    leaves: "Microsoft.KeyVault/deletedVaults",
    placement: Placement::Subscription,
    recovered_by: ("createMode", "recover"),
    recovery_changes: false,
    forced_by: None,
};

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.KeyVault",
    types: &["vaults"],
    placement: Placement::ResourceGroup,
    tracked: true,
    name: NameRule {
        accepts: is_vault_name,
        explanation: "3 to 24 letters, digits and single hyphens, starting with a letter and not ending in a hyphen",
    },
    identity: IdentitySupport::None,
    read_only: &["vaultUri", "provisioningState", "hsmPoolResourceId", "privateEndpointConnections", "createMode"],
    patchable: None,
    put: PutStatus::OK,
    surroundings: Surroundings { referrers: true, ..Surroundings::NONE },
    actions: &[],
    api_versions: &["2026-02-01", "2025-05-01", "2024-11-01", "2023-07-01", "2022-07-01", "2021-10-01", "2019-09-01"],
    data_plane: DataPlane::None,
};
