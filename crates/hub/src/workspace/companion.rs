//! What a new workspace gets by itself: a storage account and a key vault of its own when its body names neither, as the
//! command line's default does, and a hub for a project of somebody who has none (mission.md A4).

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Companion, Making, Parity};
use serde_json::{Map, Value, json};

use super::kind::Kind;
use crate::field;
use crate::isolation_mode::IsolationMode;

/// The resources to make with a workspace.
pub(super) fn of(making: &Making<'_>) -> Result<Vec<Companion>, ArmError> {
    let properties = &making.document.properties;
    let is_named = |name: &str| field::text(properties, name, "properties").map(|text| text.is_some());
    if Kind::read(making.document.kind.as_deref())? == Kind::Project {
        let is_alone = making.parity == Parity::Native && !is_named("hubResourceId")?;
        return if is_alone { Ok(vec![hub(making)?]) } else { Ok(Vec::new()) };
    }
    if is_named("storageAccount")? {
        return Ok(Vec::new());
    }
    let mut companions = vec![storage(making)?];
    // A body that says null, or that chose its storage and no vault, wants secrets kept by Bastide itself (N6).
    if !properties.contains_key("keyVault") {
        companions.push(vault(making)?);
    }
    Ok(companions)
}

fn hub(making: &Making<'_>) -> Result<Companion, ArmError> {
    let own: String = making.id.name().chars().take(22).collect();
    let id =
        beside(making, "Microsoft.MachineLearningServices/workspaces", &format!("{own}-hub-{}", suffix(making, 6)))?;
    let mut body = body(making);
    body.insert("kind".into(), Kind::Hub.as_str().into());
    // What a project may not have of its own is its hub's.
    let properties = HUBS.iter().filter_map(|name| {
        let value = making.document.properties.get(*name)?;
        Some(((*name).to_owned(), value.clone()))
    });
    body.insert("properties".into(), Value::Object(properties.collect()));
    Ok(Companion { property: "hubResourceId", id, body: Value::Object(body) })
}

fn storage(making: &Making<'_>) -> Result<Companion, ArmError> {
    let name = format!("{}storage{}", stem(making), suffix(making, 9));
    let mut body = body(making);
    body.insert("kind".into(), "StorageV2".into());
    body.insert("sku".into(), json!({"name": "Standard_LRS"}));
    body.insert("properties".into(), json!({"allowBlobPublicAccess": false, "publicNetworkAccess": access(making)?}));
    let id = beside(making, "Microsoft.Storage/storageAccounts", &name)?;
    Ok(Companion { property: "storageAccount", id, body: Value::Object(body) })
}

fn vault(making: &Making<'_>) -> Result<Companion, ArmError> {
    let name = format!("{}keyvault{}", stem(making), suffix(making, 8));
    let mut body = body(making);
    let properties = json!({
        "sku": {"family": "A", "name": "standard"},
        "enableRbacAuthorization": true,
        "publicNetworkAccess": access(making)?,
    });
    body.insert("properties".into(), properties);
    let id = beside(making, "Microsoft.KeyVault/vaults", &name)?;
    Ok(Companion { property: "keyVault", id, body: Value::Object(body) })
}

/// Same place and same tags, so that policies that ask for a tag are content; and whose it is, so that a deployment in
/// complete mode that declares the workspace leaves it alone.
fn body(making: &Making<'_>) -> Map<String, Value> {
    let fields = [
        ("location", json!(making.document.location)),
        ("tags", json!(making.document.tags)),
        ("managedBy", json!(making.id.to_string())),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Closed to the public as soon as the network is isolated (wire-azure-ai-ml.md section 2, associatedResourcePNA).
fn access(making: &Making<'_>) -> Result<&'static str, ArmError> {
    let network = field::object(&making.document.properties, "managedNetwork", "properties")?;
    let mode = network.map(|network| IsolationMode::read(network, "properties.managedNetwork")).transpose()?.flatten();
    Ok(if mode.is_some_and(|mode| mode != IsolationMode::Disabled) { "Disabled" } else { "Enabled" })
}

fn beside(making: &Making<'_>, type_name: &str, name: &str) -> Result<ResourceId, ArmError> {
    let group = making.id.resource_group_id().map(|group| group.to_string()).unwrap_or_default();
    ResourceId::parse(&format!("{group}/providers/{type_name}/{name}"))
}

/// The beginning of a name, in what storage accounts and vaults take.
fn stem(making: &Making<'_>) -> String {
    let letters =
        making.id.name().chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase());
    // A vault's name starts with a letter.
    let stem: String = letters.skip_while(char::is_ascii_digit).take(8).collect();
    if stem.is_empty() { "hub".to_owned() } else { stem }
}

fn suffix(making: &Making<'_>, length: usize) -> String {
    (making.fresh_id)().simple().to_string().chars().take(length).collect()
}

/// Properties of a project that its own hub is made with.
const HUBS: &[&str] = &[
    "storageAccount",
    "keyVault",
    "applicationInsights",
    "containerRegistry",
    "managedNetwork",
    "encryption",
    "publicNetworkAccess",
    "systemDatastoresAuthMode",
    "provisionNetworkNow",
];
