//! The private endpoint that a connection brings along: a rule of category `Dependency` on the hub's network, made and
//! removed with the connection (mission.md K5, K12, R5).

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Document, Link, Linked, Need};
use serde_json::{Map, Value, json};

use crate::outbound_rule::{self, subresources_of};
use crate::workspace::{Kind, SYSTEM_PREFIX};

/// Notes which rule the connection brings along, if any.
pub(super) fn admit(properties: &mut Map<String, Value>, id: &ResourceId, parent: &Linked) -> Result<(), ArmError> {
    properties.shift_remove(RULE);
    let is_wanted = !matches!(word(properties, "peRequirement"), Some("NotRequired" | "NotApplicable"));
    if !is_wanted || target(properties).is_none() {
        return Ok(());
    }
    let hub = match Kind::of(&parent.document) {
        Kind::Project => ResourceId::parse(word(&parent.document.properties, "hubResourceId").unwrap_or_default())?,
        _ => parent.id.clone(),
    };
    let own = if hub == parent.id { String::new() } else { format!("{}.", parent.id.name()) };
    let rule = hub.child(outbound_rule::KIND, &format!("{SYSTEM_PREFIX}PE_connection_{own}{}", id.name()))?;
    properties.insert(RULE.to_owned(), rule.to_string().into());
    Ok(())
}

/// The rule as it stands on the hub.
pub(super) fn rule(document: &Document) -> Option<(ResourceId, Document)> {
    let properties = &document.properties;
    let id = ResourceId::parse(word(properties, RULE)?).ok()?;
    let (target, subresource) = target(properties)?;
    let destination = json!({
        "serviceResourceId": target.to_string(),
        "subresourceTarget": subresource,
        "sparkEnabled": false,
    });
    let fields = [("type", json!("PrivateEndpoint")), ("category", json!("Dependency")), ("destination", destination)];
    let properties = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Some((id, Document { properties, ..Document::default() }))
}

/// The resource a connection leads to: whoever opens a way to it must be able to see it.
pub(super) fn link(properties: &Map<String, Value>) -> Option<Link> {
    let (id, _) = target(properties)?;
    let action = format!("{}/read", id.type_name());
    // A connection may also lead to a resource in the cloud.
    Some(Link { id, action, target: "properties.metadata.ResourceId".to_owned(), required: false, foreign: true })
}

/// A connection to AI services without a key is used in the name of the workspace's identity. A user-assigned one has no
/// rights but those somebody gave it, so it must have them before (mission.md C3, C4).
pub(super) fn needs(document: &Document, parent: Option<&Linked>) -> Vec<Need> {
    let is_keyless = matches!(word(&document.properties, "authType"), Some("AAD" | "ManagedIdentity"));
    let identity = parent.and_then(|parent| parent.document.identity.as_ref());
    let Some(identity) = identity.filter(|identity| is_keyless && identity.system.is_none()) else { return Vec::new() };
    let is_account = |id: &ResourceId| id.type_name().eq_ignore_ascii_case("Microsoft.CognitiveServices/accounts");
    let Some((scope, _)) = target(&document.properties).filter(|(id, _)| is_account(id)) else { return Vec::new() };
    let primary = parent.and_then(|parent| word(&parent.document.properties, "primaryUserAssignedIdentity"));
    let named = identity.user.iter().find(|(id, _)| primary.is_none_or(|primary| primary.eq_ignore_ascii_case(id)));
    let need = named.map(|(id, principal)| Need {
        identity: id.clone(),
        principal: *principal,
        action: "Microsoft.CognitiveServices/accounts/write",
        role: "Cognitive Services Contributor",
        scope,
        target: "properties.metadata.ResourceId".to_owned(),
    });
    need.into_iter().collect()
}

/// The resource that a private endpoint can lead to, and which service of it. The connection may name something below it,
/// such as a container of a storage account (K12).
fn target(properties: &Map<String, Value>) -> Option<(ResourceId, &'static str)> {
    let metadata = properties.get("metadata").and_then(Value::as_object).into_iter().flatten();
    let by_metadata =
        metadata.filter(|(name, _)| name.eq_ignore_ascii_case("ResourceId")).find_map(|(_, id)| id.as_str());
    let named = by_metadata.filter(|id| !id.is_empty()).or_else(|| word(properties, "target"))?;
    let mut id = ResourceId::parse(named).ok().filter(ResourceId::is_resource)?;
    let words = loop {
        match subresources_of(&id.type_name()) {
            Some(words) => break words,
            None => id = id.parent().filter(ResourceId::is_resource)?,
        }
    };
    let category = word(properties, "category").unwrap_or_default();
    let by_category = BY_CATEGORY.iter().find(|(known, _)| *known == category).map(|(_, word)| *word);
    let word = by_category.filter(|word| words.contains(word)).or_else(|| words.first().copied())?;
    Some((id, word))
}

fn word<'a>(properties: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    properties.get(name).and_then(Value::as_str)
}

/// Property that names the rule; it is never answered.
pub(super) const RULE: &str = "dependencyRule";

/// Which service of a resource a category means, where that is not the first one.
const BY_CATEGORY: &[(&str, &str)] =
    &[("ADLSGen2", "dfs"), ("AzureTableStorage", "table"), ("CosmosDbMongoDbApi", "MongoDB")];

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-0000000000b2/resourceGroups/rg/providers";

    fn found(properties: Value) -> Option<(String, &'static str)> {
        target(properties.as_object().unwrap()).map(|(id, word)| (id.name().to_owned(), word))
    }

    #[test]
    fn the_target_is_found_where_clients_put_it() {
        let account = format!("{GROUP}/Microsoft.CognitiveServices/accounts/ai");
        let storage = format!("{GROUP}/Microsoft.Storage/storageAccounts/lake");
        let container = format!("{storage}/blobServices/default/containers/one");
        let cases = [
            (json!({"category": "AIServices", "metadata": {"ResourceId": account}}), Some(("ai", "account"))),
            (json!({"category": "AIServices", "metadata": {"resourceid": account}}), Some(("ai", "account"))),
            (json!({"category": "AzureBlob", "target": storage}), Some(("lake", "blob"))),
            (json!({"category": "ADLSGen2", "target": storage}), Some(("lake", "dfs"))),
            (json!({"category": "AzureBlob", "target": container}), Some(("lake", "blob"))),
            (json!({"category": "AzureBlob", "target": "https://lake.blob.core.windows.net/one"}), None),
            (json!({"category": "Git", "target": format!("{GROUP}/Contoso.Code/repositories/one")}), None),
            (json!({"category": "CustomKeys"}), None),
        ];
        for (properties, expected) in cases {
            let expected = expected.map(|(name, word)| (name.to_owned(), word));
            assert_eq!(found(properties.clone()), expected, "{properties}");
        }
    }
}
