//! `Microsoft.MachineLearningServices/workspaces`: hubs, projects and plain workspaces are one type told apart by `kind`
//! (mission.md A5).

mod action;
mod associated;
mod companion;
mod diagnosis;
mod encryption;
mod inbound;
mod kind;
mod project;
mod properties;
mod required_rule;

pub use crate::managed_network::{is_provisioned, provision};
pub use action::DIAGNOSE;
pub(crate) use associated::link as link_to;
pub use diagnosis::{Diagnosis, Patient, Probe};
pub use inbound::admits;
pub use kind::Kind;
pub(crate) use required_rule::{PREFIX as SYSTEM_PREFIX, RequiredTag};

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{
    Acted, ActionCall, Admission, Admitted, Companion, DataPlane, Descriptor, Dismissal, Dismissed, Document,
    IdentitySupport, Link, Linked, Making, NameRule, Parity, Placement, PutStatus, ResourceType, SoftDelete,
    Surroundings, View,
};
use bastide_arm::vocabulary::Vocabulary;
use serde_json::{Map, Value, json};

use crate::field::{self, refused};
use crate::isolation_mode::IsolationMode;
use crate::managed_network;
use crate::outbound_rule::{KIND as OUTBOUND_RULES, Terms};
use crate::vocabulary::VOCABULARY;

/// The workspace type.
#[derive(Debug, Default)]
pub struct Workspace;

impl ResourceType for Workspace {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn vocabulary(&self) -> Option<&Vocabulary> {
        Some(&VOCABULARY)
    }

    fn links(&self, document: &Document) -> Result<Vec<Link>, ArmError> {
        let properties = &document.properties;
        if let Some(hub) = field::text(properties, "hubResourceId", "properties")? {
            // A project's other resources are its hub's, whose maker was asked about them.
            let target = "properties.hubResourceId".to_owned();
            return Ok(vec![associated::link(hub, &DESCRIPTOR.type_name(), JOIN, target)?]);
        }
        let mut links = associated::links(properties)?;
        links.extend(encryption::link(properties)?);
        links.extend(managed_network::links(properties));
        Ok(links)
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document.clone();
        let kind = Kind::read(document.kind.as_deref())?;
        document.kind = Some(kind.as_str().to_owned());
        properties::normalise(&mut document.properties)?;
        inbound::admit(&mut document.properties)?;
        let consent = document.properties.remove("updateDependentResources") == Some(Value::Bool(true));
        let existing = admission.existing.map(|existing| existing.document);
        if let Some(existing) = existing {
            properties::keep(existing, &mut document, admission.api_version)?;
        }
        properties::defaults(&mut document.properties, admission.id.name(), kind);
        document.sku.get_or_insert_with(|| json!({"name": "Basic", "tier": "Basic"}));
        if let Some(hub) = project::hub(&document, admission.linked)? {
            document.properties.insert("hubResourceId".into(), hub.id.to_string().into());
            let warnings = project::admit(&mut document.properties, hub, admission.now)?;
            return Ok(Admitted { document, warnings, ..Admitted::default() });
        }
        let mut warnings = managed_network::admit(&mut document.properties, existing, admission.now)?;
        encryption::admit(&mut document.properties, existing)?;
        associated::respell(&mut document.properties, admission.linked);
        associated::check_storage(&document.properties, admission.linked, admission.parity)?;
        if let Some(existing) = existing {
            warnings.extend(associated::check_change(existing, &mut document.properties, &admission, consent)?);
        }
        check_identity(&document, &admission)?;
        let terms =
            Terms { mode: IsolationMode::of(&document.properties), zone: admission.zone, parity: admission.parity };
        let mut parts = required_rule::changes(admission.id, &document, admission.linked, admission.parts);
        parts.extend(managed_network::admit_rules(
            admission.asked,
            admission.parts,
            admission.linked,
            terms,
            &mut warnings,
        )?);
        Ok(Admitted { document, parts, warnings, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        let hub = properties.get("hubResourceId").and_then(Value::as_str).map(str::to_ascii_lowercase);
        match hub.and_then(|hub| view.linked.get(&hub)) {
            Some(hub) => project::inherit(&mut properties, &hub.document, view.observed, view.now),
            None => {
                let network = properties.get("managedNetwork").and_then(Value::as_object);
                if let Some(answer) =
                    network.map(|network| managed_network::answer(network, view.parts, view.observed, view.now))
                {
                    properties.insert("managedNetwork".into(), answer);
                }
            }
        }
        encryption::answer(&mut properties);
        associated::answer(&mut properties);
        let origin = view.origin;
        let host = origin.strip_prefix("https://").unwrap_or(origin);
        let hns = associated::has_hierarchical_namespace(&properties, view.linked).unwrap_or(false);
        let outputs = [
            ("workspaceId", json!(view.incarnation)),
            ("tenantId", json!(view.tenant_id)),
            ("provisioningState", json!("Succeeded")),
            ("discoveryUrl", json!(format!("{origin}/discovery"))),
            ("mlFlowTrackingUri", json!(format!("azureml://{host}/mlflow/v1.0{}", view.id))),
            ("storageHnsEnabled", json!(hns)),
            ("privateLinkCount", json!(0)),
            ("privateEndpointConnections", json!([])),
        ];
        properties.extend(outputs.map(|(name, value)| (name.to_owned(), value)));
        if Kind::of(view.document) == Kind::Hub {
            let projects: Vec<String> = projects(view.id, view.referrers).map(ResourceId::to_string).collect();
            properties.insert("associatedWorkspaces".into(), json!(projects));
        }
        properties::in_shape_of(view.api_version, &mut properties);
        properties
    }

    fn companions(&self, making: &Making<'_>) -> Result<Vec<Companion>, ArmError> {
        companion::of(making)
    }

    fn dismiss(&self, dismissal: &Dismissal<'_>) -> Result<Dismissed, ArmError> {
        // Projects go with their hub (mission.md P2).
        Ok(Dismissed { also: projects(dismissal.id, dismissal.referrers).cloned().collect() })
    }

    fn soft_delete(&self) -> Option<&'static SoftDelete> {
        Some(&SOFT_DELETE)
    }

    fn kept_days(&self, document: &Document) -> Option<u32> {
        let days = document.properties.get("softDeleteRetentionInDays").and_then(Value::as_u64);
        let days = days.map_or(RETENTION_DAYS, |days| u32::try_from(days).unwrap_or(u32::MAX));
        Some(days).filter(|days| *days > 0)
    }

    fn act(&self, call: &ActionCall<'_>) -> Result<Acted, ArmError> {
        action::act(call)
    }
}

/// The projects among what links to a hub.
fn projects<'a>(hub: &'a ResourceId, referrers: &'a [Linked]) -> impl Iterator<Item = &'a ResourceId> {
    let is_of_hub = move |referrer: &&Linked| {
        let named = referrer.document.properties.get("hubResourceId").and_then(Value::as_str);
        named.is_some_and(|named| named.eq_ignore_ascii_case(hub.key()))
    };
    referrers.iter().filter(is_of_hub).map(|referrer| &referrer.id)
}

/// The rules of user-assigned identities: the primary one is among them, and under strict parity they need the associated
/// resources to be given (mission.md C2).
fn check_identity(document: &Document, admission: &Admission<'_>) -> Result<(), ArmError> {
    let properties = &document.properties;
    let assigned = document.identity.as_ref().map(|identity| &identity.user);
    if let Some(primary) = properties.get("primaryUserAssignedIdentity").and_then(Value::as_str) {
        let is_assigned = assigned.is_some_and(|user| user.keys().any(|id| id.eq_ignore_ascii_case(primary)));
        if !is_assigned {
            let message = format!(
                "primaryUserAssignedIdentity names '{primary}', which is not assigned to the workspace. Add it to \
                 identity.userAssignedIdentities."
            );
            return Err(refused("properties.primaryUserAssignedIdentity", message));
        }
    }
    let has_user_only = document.identity.as_ref().is_some_and(|identity| identity.system.is_none())
        && assigned.is_some_and(|user| !user.is_empty());
    // What was made just now for a body that named none is not what the cloud asks for.
    let given = if admission.existing.is_some() { properties } else { admission.asked };
    let is_named = |name: &&str| given.get(*name).and_then(Value::as_str).is_some_and(|id| !id.is_empty());
    let missing = ["storageAccount", "keyVault", "containerRegistry"].into_iter().find(|name| !is_named(name));
    if let (Parity::Strict, true, Some(missing)) = (admission.parity, has_user_only, missing) {
        let message = format!(
            "A user-assigned identity needs an existing storage account, key vault and container registry; {missing} is \
             missing. Name it, or use the system-assigned identity."
        );
        return Err(refused(&format!("properties.{missing}"), message));
    }
    Ok(())
}

/// `^[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}$` (arm-models.md 1.1).
fn is_name(name: &str) -> bool {
    (3..=33).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// What workspaces and outbound rules may be called.
pub(crate) const NAME: NameRule = NameRule {
    accepts: is_name,
    explanation: "3 to 33 letters, digits, hyphens or underscores, starting with a letter or digit",
};

/// Days for which a deleted workspace is kept when its `softDeleteRetentionInDays` does not say (P7).
const RETENTION_DAYS: u32 = 14;

static SOFT_DELETE: SoftDelete = SoftDelete {
    noun: "workspace",
    leaves: "Microsoft.MachineLearningServices/deletedWorkspaces",
    placement: Placement::ResourceGroup,
    recovered_by: ("allowRecoverSoftDeletedWorkspace", "true"),
    recovery_changes: true,
    forced_by: Some("forceToPurge"),
};

/// What one must be allowed to do on a hub to make a project in it.
const JOIN: &str = "Microsoft.MachineLearningServices/workspaces/hubs/join/action";

/// Versions clients send for workspaces and what is in them (wire-azure-ai-ml.md section 2, infrastructure-as-code.md 4).
pub(crate) const API_VERSIONS: &[&str] = &[
    "2025-12-01",
    "2025-06-01",
    "2024-10-01-preview",
    "2024-10-01",
    "2024-04-01-preview",
    "2024-04-01",
    "2024-01-01-preview",
    "2023-08-01-preview",
    "2023-04-01-preview",
    "2022-12-01-preview",
    "2022-05-01",
    "2022-02-01-preview",
];

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.MachineLearningServices",
    types: &["workspaces"],
    placement: Placement::ResourceGroup,
    tracked: true,
    name: NAME,
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
        "agentsEndpointUri",
        "bastide",
        associated::CHANGES,
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
        "updateDependentResources",
    ]),
    // Never 201: azurerm and the SDK refuse it (infrastructure-as-code.md 5.3).
    put: PutStatus::OK,
    surroundings: Surroundings { parts: &[OUTBOUND_RULES], referrers: true, linked: true, secrets: false },
    actions: action::ACTIONS,
    api_versions: API_VERSIONS,
    data_plane: DataPlane::None,
};

#[cfg(test)]
mod tests;
