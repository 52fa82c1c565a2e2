//! The properties of a workspace in one form, however a client wrote them: the SDK's template sends booleans as text and
//! empty text for what it has nothing to say about (infrastructure-as-code.md, SDK-specific traps).

use bastide_arm::api_version::ApiVersion;
use bastide_arm::error::ArmError;
use bastide_arm::resource_type::Document;
use serde_json::{Map, Value};

use super::kind::Kind;
use crate::field::{self, is_same, refused};

/// What a property holds.
enum Shape {
    Text,
    Flag,
    /// A flag that asks for something to be done; not asking for it leaves nothing behind.
    Deed,
    Object,
    Texts,
    List,
    Count,
    Choice(&'static [&'static str]),
}

/// Brings every known property into its one form; what is null or empty goes.
pub(super) fn normalise(properties: &mut Map<String, Value>) -> Result<(), ArmError> {
    for (name, shape) in SHAPES {
        if !properties.contains_key(*name) {
            continue;
        }
        let value = match shape {
            Shape::Text => field::text(properties, name, AT)?.map(Value::from),
            Shape::Flag => field::flag(properties, name, AT)?.map(Value::from),
            Shape::Deed => field::flag(properties, name, AT)?.filter(|asked| *asked).map(Value::from),
            Shape::Object => {
                field::object(properties, name, AT)?.cloned().map(Value::Object).filter(|object| !says_nothing(object))
            }
            Shape::Texts => {
                Some(field::texts(properties, name, AT)?).filter(|texts| !texts.is_empty()).map(Value::from)
            }
            Shape::List => list(properties, name)?,
            Shape::Count => count(properties, name)?,
            Shape::Choice(words) => field::choice(properties, name, AT, words)?.map(Value::from),
        };
        match value {
            Some(value) => properties.insert((*name).to_owned(), value),
            None => properties.remove(*name),
        };
    }
    properties.retain(|_, value| !value.is_null());
    Ok(())
}

/// What every workspace has. Clients print the first two of every workspace they read.
pub(super) fn defaults(properties: &mut Map<String, Value>, name: &str, kind: Kind) {
    properties.entry("friendlyName").or_insert_with(|| name.into());
    properties.entry("description").or_insert_with(|| "".into());
    for flag in ["hbiWorkspace", "v1LegacyMode", "allowPublicAccessWhenBehindVnet", "enableDataIsolation"] {
        properties.entry(flag).or_insert_with(|| false.into());
    }
    if kind != Kind::Project {
        properties.entry("publicNetworkAccess").or_insert_with(|| "Enabled".into());
        properties.entry("systemDatastoresAuthMode").or_insert_with(|| "AccessKey".into());
    }
}

/// What is fixed at creation keeps its value when a body is silent about it, and refuses another one; what can only be
/// replaced keeps its value too.
pub(super) fn keep(old: &Document, new: &mut Document, version: &ApiVersion) -> Result<(), ArmError> {
    if old.kind != new.kind {
        let kind = old.kind.as_deref().unwrap_or_default();
        return Err(refused("kind", format!("The kind of a workspace is fixed at creation; this one is a {kind}.")));
    }
    for name in CREATE_ONLY {
        let Some(before) = old.properties.get(*name) else { continue };
        match new.properties.get(*name) {
            Some(after) if !is_same(before, after) => {
                let message = format!("{name} cannot be changed after creation. Leave it out, or send {before}.");
                return Err(refused(&format!("{AT}.{name}"), message));
            }
            _ => drop(new.properties.insert((*name).to_owned(), before.clone())),
        }
    }
    // A project repeats what it shows of its hub, which is judged there.
    let chosen_once = if Kind::of(old) == Kind::Project { &[] } else { NEVER_LATER };
    for (name, reason) in chosen_once {
        let is_silent = !matches!(new.properties.get(*name), Some(value) if *value != Value::Bool(false));
        if !old.properties.contains_key(*name) && !is_silent {
            let message = format!("{name} cannot be set after creation: {reason}. Leave it out, or create a new hub.");
            return Err(refused(&format!("{AT}.{name}"), message));
        }
    }
    // A client that speaks a stable version cannot say these, and means nothing by its silence.
    let unspoken: &[&str] = if version.is_preview() { &[] } else { PREVIEW_ONLY };
    for name in ONCE.iter().chain(KEPT).chain(unspoken) {
        if ONCE.contains(name) {
            new.properties.remove(*name);
        }
        if let (Some(before), None) = (old.properties.get(*name), new.properties.get(*name)) {
            new.properties.insert((*name).to_owned(), before.clone());
        }
    }
    new.sku = new.sku.take().or_else(|| old.sku.clone());
    Ok(())
}

/// Leaves out what the client's version does not know (arm-models.md section 7).
pub(super) fn in_shape_of(version: &ApiVersion, properties: &mut Map<String, Value>) {
    if !version.is_preview() {
        properties.retain(|name, _| !PREVIEW_ONLY.contains(&name.as_str()));
    }
}

/// What the SDK's template sends where nobody has said anything: `{"computeruntime": {"SparkRuntimeVersion": ""}}`.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.values().all(says_nothing),
        _ => false,
    }
}

fn list(properties: &Map<String, Value>, name: &str) -> Result<Option<Value>, ArmError> {
    match properties.get(name) {
        Some(Value::Array(items)) if items.is_empty() => Ok(None),
        Some(Value::Array(items)) => Ok(Some(Value::Array(items.clone()))),
        None | Some(Value::Null) => Ok(None),
        Some(_) => Err(refused(&format!("{AT}.{name}"), format!("{name} must be a list."))),
    }
}

fn count(properties: &Map<String, Value>, name: &str) -> Result<Option<Value>, ArmError> {
    let wrong = || refused(&format!("{AT}.{name}"), format!("{name} must be a whole number from 0 on."));
    match properties.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => text.parse::<u32>().map(|count| Some(count.into())).map_err(|_| wrong()),
        Some(value) if value.as_u64().is_some() => Ok(Some(value.clone())),
        Some(_) => Err(wrong()),
    }
}

/// Place of the properties in the body.
const AT: &str = "properties";

const SHAPES: &[(&str, Shape)] = &[
    ("friendlyName", Shape::Text),
    ("description", Shape::Text),
    ("hubResourceId", Shape::Text),
    ("storageAccount", Shape::Text),
    ("keyVault", Shape::Text),
    ("applicationInsights", Shape::Text),
    ("containerRegistry", Shape::Text),
    ("imageBuildCompute", Shape::Text),
    ("primaryUserAssignedIdentity", Shape::Text),
    ("publicNetworkAccess", Shape::Choice(&["Enabled", "Disabled"])),
    ("systemDatastoresAuthMode", Shape::Choice(&["AccessKey", "Identity", "UserDelegationSAS"])),
    ("hbiWorkspace", Shape::Flag),
    ("v1LegacyMode", Shape::Flag),
    ("allowPublicAccessWhenBehindVnet", Shape::Flag),
    ("allowRoleAssignmentOnRG", Shape::Flag),
    ("allowRecoverSoftDeletedWorkspace", Shape::Deed),
    ("softDeleteEnabled", Shape::Deed),
    ("provisionNetworkNow", Shape::Deed),
    ("enableDataIsolation", Shape::Flag),
    ("enableServiceSideCMKEncryption", Shape::Flag),
    ("enableSimplifiedCmk", Shape::Flag),
    ("enableSoftwareBillOfMaterials", Shape::Flag),
    ("updateDependentResources", Shape::Flag),
    ("softDeleteRetentionInDays", Shape::Count),
    ("serverlessComputeSettings", Shape::Object),
    ("serviceManagedResourcesSettings", Shape::Object),
    ("featureStoreSettings", Shape::Object),
    ("workspaceHubConfig", Shape::Object),
    ("networkAcls", Shape::Object),
    ("encryption", Shape::Object),
    ("managedNetwork", Shape::Object),
    ("sharedPrivateLinkResources", Shape::List),
    ("ipAllowlist", Shape::Texts),
    ("existingWorkspaces", Shape::Texts),
    ("storageAccounts", Shape::Texts),
    ("keyVaults", Shape::Texts),
    ("containerRegistries", Shape::Texts),
];

/// Fixed at creation (arm-models.md section 3).
const CREATE_ONLY: &[&str] = &[
    "hubResourceId",
    "storageAccount",
    "keyVault",
    "hbiWorkspace",
    "workspaceHubConfig",
    "enableServiceSideCMKEncryption",
];

/// What was not chosen at creation is not chosen later (mission.md M2, N8).
const NEVER_LATER: &[(&str, &str)] = &[
    ("keyVault", "the hub's secrets are kept by Bastide, and do not move"),
    ("enableServiceSideCMKEncryption", "how data is encrypted is chosen once"),
];

/// Means something at creation only; what a later body says is passed over.
const ONCE: &[&str] = &["provisionNetworkNow", "allowRecoverSoftDeletedWorkspace"];

/// Can be replaced, never unset (mission.md O7).
const KEPT: &[&str] = &["applicationInsights", "containerRegistry"];

/// In preview versions only (arm-models.md section 7).
const PREVIEW_ONLY: &[&str] = &[
    "allowRoleAssignmentOnRG",
    "containerRegistries",
    "enableSimplifiedCmk",
    "enableSoftwareBillOfMaterials",
    "existingWorkspaces",
    "ipAllowlist",
    "keyVaults",
    "networkAcls",
    "softDeleteRetentionInDays",
    "storageAccounts",
];
