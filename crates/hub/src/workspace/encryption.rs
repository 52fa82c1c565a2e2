//! Customer-managed keys: chosen at creation, moved between versions in one vault (mission.md group M). The settings are
//! kept and checked; nothing is wrapped with the key yet, and the answer says so.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Document, Link};
use serde_json::{Map, Value, json};

use super::associated;
use crate::field::{self, refused};

/// Checks the encryption asked for against what stands, and brings it into its one form.
pub(super) fn admit(properties: &mut Map<String, Value>, existing: Option<&Document>) -> Result<(), ArmError> {
    let asked = properties.remove("encryption");
    let before = existing.and_then(|document| document.properties.get("encryption")).and_then(Value::as_object);
    let Some(asked) = asked.as_ref().and_then(Value::as_object).filter(|asked| !asked.is_empty()) else {
        properties.extend(before.map(|before| ("encryption".to_owned(), Value::Object(before.clone()))));
        return Ok(());
    };
    // The SDK's update names the key alone; its template says "Disabled" and names an empty one.
    let status = field::choice(asked, "status", AT, &["Enabled", "Disabled"])?;
    if status != Some("Enabled") && (status.is_some() || !names_a_key(asked)) {
        if before.is_some() {
            let message = "Encryption with a customer-managed key is chosen at creation and cannot be disabled. Leave \
                           encryption out, or create a new hub.";
            return Err(refused(&format!("{AT}.status"), message));
        }
        return Ok(());
    }
    if existing.is_some() && before.is_none() {
        let message =
            "A customer-managed key can be chosen at creation only. Leave encryption out, or create a new hub.";
        return Err(refused(AT, message));
    }
    let encryption = read(asked)?;
    if let Some(before) = before {
        check_move(before, &encryption)?;
    }
    properties.insert("encryption".into(), Value::Object(encryption));
    Ok(())
}

/// The vault of the key.
pub(super) fn link(properties: &Map<String, Value>) -> Result<Option<Link>, ArmError> {
    let Some(encryption) = field::object(properties, "encryption", "properties")? else { return Ok(None) };
    let Some(key) = field::object(encryption, "keyVaultProperties", AT)? else { return Ok(None) };
    let target = format!("{AT}.keyVaultProperties.keyVaultArmId");
    let vault = field::text(key, "keyVaultArmId", AT)?;
    let action = "Microsoft.KeyVault/vaults/read";
    vault.map(|vault| associated::link(vault, "Microsoft.KeyVault/vaults", action, target)).transpose()
}

/// The wire form: what is kept, and that it protects nothing yet.
pub(super) fn answer(properties: &mut Map<String, Value>) {
    if let Some(Value::Object(encryption)) = properties.get_mut("encryption") {
        let state = json!({
            "state": "StoredNotProtecting",
            "reason": "The key is recorded, but data is not wrapped with it yet.",
        });
        encryption.insert("bastide".into(), state);
    }
}

fn read(asked: &Map<String, Value>) -> Result<Map<String, Value>, ArmError> {
    let place = format!("{AT}.keyVaultProperties");
    let needs = "A customer-managed key needs keyVaultProperties with keyVaultArmId and keyIdentifier.";
    let given = field::object(asked, "keyVaultProperties", AT)?.ok_or_else(|| refused(&place, needs))?;
    let vault = field::text(given, "keyVaultArmId", &place)?.ok_or_else(|| refused(&place, needs))?;
    let identifier = field::text(given, "keyIdentifier", &place)?.ok_or_else(|| refused(&place, needs))?;
    let host = vault_host(identifier).ok_or_else(|| {
        let message = format!(
            "'{identifier}' is not a key identifier. Use the URL of a key with its version: \
             https://<vault>/keys/<name>/<version>."
        );
        refused(&format!("{place}.keyIdentifier"), message)
    })?;
    let vault_name = vault.rsplit('/').next().unwrap_or_default();
    if !host.split('.').next().is_some_and(|label| label.eq_ignore_ascii_case(vault_name)) {
        let message = format!("The key is in '{host}', not in the vault '{vault_name}' that keyVaultArmId names.");
        return Err(refused(&format!("{place}.keyIdentifier"), message));
    }
    let mut key = given.clone();
    key.retain(|_, value| !is_nothing(value));
    let mut encryption = asked.clone();
    encryption.retain(|name, value| !is_nothing(value) && name != "bastide");
    encryption.insert("status".into(), "Enabled".into());
    encryption.insert("keyVaultProperties".into(), Value::Object(key));
    Ok(encryption)
}

/// A key moves to another version or name in the same vault, and nowhere else (M5).
fn check_move(before: &Map<String, Value>, after: &Map<String, Value>) -> Result<(), ArmError> {
    let part = |encryption: &Map<String, Value>, name: &str| {
        let text = encryption.get("keyVaultProperties").and_then(|key| key.get(name)).and_then(Value::as_str);
        text.unwrap_or_default().to_ascii_lowercase()
    };
    let host = |encryption| vault_host(&part(encryption, "keyIdentifier")).map(str::to_owned);
    if part(before, "keyVaultArmId") != part(after, "keyVaultArmId") || host(before) != host(after) {
        let message = "The key can move to another version in its vault, not to another vault. Keep keyVaultArmId.";
        return Err(refused(&format!("{AT}.keyVaultProperties"), message));
    }
    if before.get("identity") != after.get("identity") {
        let message = "The identity that reaches the key is fixed at creation. Leave encryption.identity as it was.";
        return Err(refused(&format!("{AT}.identity"), message));
    }
    Ok(())
}

fn names_a_key(asked: &Map<String, Value>) -> bool {
    asked.get("keyVaultProperties").and_then(|key| key.get("keyIdentifier")).is_some_and(|key| !is_nothing(key))
}

/// The host of a key URL with a version.
fn vault_host(identifier: &str) -> Option<&str> {
    let rest = identifier.strip_prefix("https://")?;
    let mut parts = rest.split('/');
    let host = parts.next().filter(|host| !host.is_empty())?;
    let is_key = parts.next().is_some_and(|word| word.eq_ignore_ascii_case("keys"));
    let is_versioned = parts.next().is_some_and(|name| !name.is_empty())
        && parts.next().is_some_and(|version| !version.is_empty())
        && parts.next().is_none();
    Some(host).filter(|_| is_key && is_versioned)
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

const AT: &str = "properties.encryption";
