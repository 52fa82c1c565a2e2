//! `Microsoft.MachineLearningServices/workspaces`: hubs, projects and plain workspaces are one type told apart by `kind`
//! (mission.md A5). The model is minimal still: an identity, a kind and the properties every client reads back.

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, Document, IdentitySupport, Link, NameRule, Placement, PutStatus,
    ResourceType, Surroundings, View,
};
use serde_json::{Map, Value, json};

/// The workspace type.
#[derive(Debug, Default)]
pub struct Workspace;

/// What a workspace is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A workspace that stands alone.
    Default,
    /// A hub: security, network and connections that its projects share.
    Hub,
    /// A project in a hub.
    Project,
    /// A feature store.
    FeatureStore,
}

impl ResourceType for Workspace {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn links(&self, document: &Document) -> Result<Vec<Link>, ArmError> {
        let Some(hub) = text(&document.properties, "hubResourceId")? else { return Ok(Vec::new()) };
        let target = "properties.hubResourceId".to_owned();
        let id = ResourceId::parse(hub).map_err(|error| error.with_target(target.clone()))?;
        if !id.type_name().eq_ignore_ascii_case(&DESCRIPTOR.type_name()) {
            let message = format!("'{hub}' is not the id of a hub. Give the resource id of a workspace of kind Hub.");
            return Err(ArmError::invalid_parameter(&target, message));
        }
        let action = "Microsoft.MachineLearningServices/workspaces/hubs/join/action".to_owned();
        Ok(vec![Link { id, action, target, required: true }])
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document;
        let kind = Kind::read(document.kind.as_deref())?;
        document.kind = Some(kind.as_str().to_owned());
        for name in TEXT_PROPERTIES {
            text(&document.properties, name)?;
        }
        public_network_access(&mut document.properties)?;
        managed_network(&mut document.properties, admission.existing.map(|existing| existing.document))?;
        // Clients print these two of every workspace they read.
        document.properties.entry("friendlyName").or_insert_with(|| admission.id.name().into());
        document.properties.entry("description").or_insert_with(|| "".into());
        if let Some(existing) = admission.existing {
            keep_create_only(existing.document, &mut document)?;
        }
        let hub = text(&document.properties, "hubResourceId")?.map(str::to_ascii_lowercase);
        match (kind, &hub) {
            (Kind::Project, Some(hub)) => {
                let linked = admission.linked.get(hub).and_then(|linked| linked.document.kind.as_deref());
                if linked != Some(Kind::Hub.as_str()) {
                    return Err(invalid(
                        "properties.hubResourceId",
                        "hubResourceId must name a workspace of kind Hub.",
                    ));
                }
            }
            (Kind::Project, None) => {
                let message = "A project needs properties.hubResourceId, the resource id of its hub.";
                return Err(invalid("properties.hubResourceId", message));
            }
            (_, Some(_)) => {
                let message =
                    "Only a workspace of kind Project has a hub. Leave hubResourceId out, or set kind to Project.";
                return Err(invalid("properties.hubResourceId", message));
            }
            (_, None) => {}
        }
        Ok(Admitted { document, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        properties.insert("workspaceId".into(), view.incarnation.to_string().into());
        properties.insert("tenantId".into(), view.tenant_id.to_string().into());
        properties.insert("provisioningState".into(), "Succeeded".into());
        properties.insert("discoveryUrl".into(), format!("{}/discovery", view.origin).into());
        if let Some(Value::Object(network)) = properties.get_mut("managedNetwork") {
            // No agent reports yet, so nothing about the kernel may be claimed.
            network.insert("status".into(), json!({"status": "Inactive", "sparkReady": false}));
        }
        properties
    }
}

impl Kind {
    /// Reads a kind in any case; absent is [`Kind::Default`].
    pub fn read(text: Option<&str>) -> Result<Self, ArmError> {
        let Some(text) = text else { return Ok(Self::Default) };
        [Self::Default, Self::Hub, Self::Project, Self::FeatureStore]
            .into_iter()
            .find(|kind| kind.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                invalid(
                    "kind",
                    &format!("'{text}' is not a kind of workspace. Use Hub, Project, Default or FeatureStore."),
                )
            })
    }

    /// The canonical spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "Default",
            Self::Hub => "Hub",
            Self::Project => "Project",
            Self::FeatureStore => "FeatureStore",
        }
    }
}

fn public_network_access(properties: &mut Map<String, Value>) -> Result<(), ArmError> {
    let asked = text(properties, "publicNetworkAccess")?.unwrap_or("Enabled");
    let canonical =
        ["Enabled", "Disabled"].into_iter().find(|word| word.eq_ignore_ascii_case(asked)).ok_or_else(|| {
            let message = format!("'{asked}' is not a value of publicNetworkAccess. Use Enabled or Disabled.");
            invalid("properties.publicNetworkAccess", &message)
        })?;
    properties.insert("publicNetworkAccess".into(), canonical.into());
    Ok(())
}

/// The network as asked for. A body that is silent about it keeps it: Terraform's update is (infrastructure-as-code.md
/// 5.3). What only the server knows is dropped, so that a GET can be sent back.
fn managed_network(properties: &mut Map<String, Value>, existing: Option<&Document>) -> Result<(), ArmError> {
    let mut network = match properties.remove("managedNetwork") {
        Some(Value::Object(asked)) => asked,
        None | Some(Value::Null) => match existing.and_then(|document| document.properties.get("managedNetwork")) {
            Some(Value::Object(stands)) => stands.clone(),
            _ => Map::new(),
        },
        Some(_) => return Err(invalid("properties.managedNetwork", "managedNetwork must be an object.")),
    };
    for name in ["status", "networkId", "firewallPublicIpAddress", "changeableIsolationModes"] {
        network.remove(name);
    }
    let mode = isolation_mode(text(&network, "isolationMode")?)?;
    network.insert("isolationMode".into(), mode.into());
    properties.insert("managedNetwork".into(), Value::Object(network));
    Ok(())
}

/// Both spellings of the documents are read, in any case (mission.md F14); the wire's is answered.
fn isolation_mode(asked: Option<&str>) -> Result<&'static str, ArmError> {
    let Some(asked) = asked else { return Ok("Disabled") };
    let bare = asked.replace('_', "");
    ["Disabled", "AllowInternetOutbound", "AllowOnlyApprovedOutbound"]
        .into_iter()
        .find(|mode| mode.eq_ignore_ascii_case(&bare))
        .ok_or_else(|| {
            let message = format!(
                "'{asked}' is not an isolation mode. Use Disabled, AllowInternetOutbound or AllowOnlyApprovedOutbound."
            );
            invalid("properties.managedNetwork.isolationMode", &message)
        })
}

/// What is fixed at creation keeps its value when a body is silent about it, and refuses another one.
fn keep_create_only(old: &Document, new: &mut Document) -> Result<(), ArmError> {
    if old.kind != new.kind {
        let kind = old.kind.as_deref().unwrap_or_default();
        return Err(invalid("kind", &format!("The kind of a workspace is fixed at creation; this one is a {kind}.")));
    }
    for name in CREATE_ONLY_PROPERTIES {
        let Some(before) = old.properties.get(*name) else { continue };
        match new.properties.get(*name) {
            None | Some(Value::Null) => {
                new.properties.insert((*name).to_owned(), before.clone());
            }
            Some(after) if same_text(before, after) => {}
            Some(_) => {
                let message = format!("{name} cannot be changed after creation. Leave it out, or send {before}.");
                return Err(invalid(&format!("properties.{name}"), &message));
            }
        }
    }
    Ok(())
}

/// ARM ids compare without regard to case.
fn same_text(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.eq_ignore_ascii_case(b),
        (a, b) => a == b,
    }
}

/// The text of a property; `null` and the empty string stand for absent, as the SDK's template sends them.
fn text<'a>(properties: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, ArmError> {
    match properties.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(invalid(&format!("properties.{name}"), &format!("{name} must be a string."))),
    }
}

fn invalid(target: &str, message: &str) -> ArmError {
    ArmError::validation(message).with_target(target)
}

/// `^[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}$` (arm-models.md 1.1).
fn is_workspace_name(name: &str) -> bool {
    (3..=33).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

const TEXT_PROPERTIES: &[&str] =
    &["friendlyName", "description", "storageAccount", "keyVault", "applicationInsights", "containerRegistry"];

const CREATE_ONLY_PROPERTIES: &[&str] = &["hubResourceId", "storageAccount", "keyVault", "hbiWorkspace"];

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.MachineLearningServices",
    types: &["workspaces"],
    placement: Placement::ResourceGroup,
    tracked: true,
    name: NameRule {
        accepts: is_workspace_name,
        explanation: "3 to 33 letters, digits, hyphens or underscores, starting with a letter or digit",
    },
    identity: IdentitySupport::SystemByDefault,
    read_only: &[
        "workspaceId",
        "tenantId",
        "provisioningState",
        "discoveryUrl",
        "mlFlowTrackingUri",
        "notebookInfo",
        "privateLinkCount",
        "privateEndpointConnections",
        "serviceProvisionedResourceGroup",
        "storageHnsEnabled",
        "associatedWorkspaces",
    ],
    patchable: Some(&[
        "description",
        "friendlyName",
        "imageBuildCompute",
        "serviceManagedResourcesSettings",
        "primaryUserAssignedIdentity",
        "serverlessComputeSettings",
        "publicNetworkAccess",
        "applicationInsights",
        "containerRegistry",
        "featureStoreSettings",
        "managedNetwork",
        "enableDataIsolation",
        "v1LegacyMode",
        "encryption",
        "systemDatastoresAuthMode",
        "allowRoleAssignmentOnRG",
        "enableSoftwareBillOfMaterials",
        "ipAllowlist",
        "networkAcls",
        "softDeleteRetentionInDays",
    ]),
    // Never 201: azurerm and the SDK refuse it (infrastructure-as-code.md 5.3).
    put: PutStatus::OK,
    surroundings: Surroundings::NONE,
    actions: &[],
    api_versions: &[
        "2025-12-01",
        "2025-06-01",
        "2024-10-01-preview",
        "2024-10-01",
        "2024-04-01-preview",
        "2024-04-01",
        "2023-08-01-preview",
        "2022-12-01-preview",
    ],
    data_plane: DataPlane::None,
};
