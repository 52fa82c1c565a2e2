//! The resources a workspace stands on: storage, vault, insights, registry (mission.md groups B and O).

use std::collections::BTreeMap;

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Admission, Document, Link, Linked, Parity};
use serde_json::{Map, Value, json};

use crate::field::{self, is_same, refused};

/// An associated resource.
pub(super) struct Associated {
    /// The property that names it.
    pub property: &'static str,
    /// Its type.
    pub type_name: &'static str,
    /// What the caller must be allowed to do with it: the workspace does that in the caller's place from then on.
    pub action: &'static str,
    /// What a change breaks; `None` where it cannot be changed at all.
    pub breaks: Option<&'static str>,
}

/// The associated resources of a document.
pub(super) fn links(properties: &Map<String, Value>) -> Result<Vec<Link>, ArmError> {
    let mut links = Vec::new();
    for associated in ASSOCIATED {
        let Some(given) = field::text(properties, associated.property, "properties")? else { continue };
        let target = format!("properties.{}", associated.property);
        links.push(link(given, associated.type_name, associated.action, target)?);
    }
    Ok(links)
}

/// A link to a resource that must be of a type.
pub(crate) fn link(given: &str, type_name: &str, action: &str, target: String) -> Result<Link, ArmError> {
    let id = ResourceId::parse(given).ok().filter(|id| id.type_name().eq_ignore_ascii_case(type_name));
    let id = id.ok_or_else(|| {
        let message = format!("'{given}' is not the id of a resource of type {type_name}. Give its full resource id.");
        ArmError::invalid_parameter(&target, message)
    })?;
    Ok(Link { id, action: action.to_owned(), target, required: true, foreign: false })
}

/// Ids in the spelling of what they name: Terraform reads them with regard to case (infrastructure-as-code.md 5.3).
pub(super) fn respell(properties: &mut Map<String, Value>, linked: &BTreeMap<String, Linked>) {
    for associated in ASSOCIATED {
        let Some(Value::String(given)) = properties.get_mut(associated.property) else { continue };
        if let Some(there) = linked.get(&given.trim_end_matches('/').to_ascii_lowercase()) {
            *given = there.id.to_string();
        }
    }
}

/// Refuses to unset what cannot be unset, says what a change breaks, and puts it on record (O5-O7).
pub(super) fn check_change(
    old: &Document,
    new: &mut Map<String, Value>,
    admission: &Admission<'_>,
    consent: bool,
) -> Result<Vec<String>, ArmError> {
    let (asked, parity) = (admission.asked, admission.parity);
    let mut warnings = Vec::new();
    let mut changes = old.properties.get(CHANGES).and_then(Value::as_array).cloned().unwrap_or_default();
    for Associated { property, breaks, .. } in ASSOCIATED {
        let (Some(breaks), Some(before)) = (breaks, old.properties.get(*property)) else { continue };
        if asked.get(*property) == Some(&Value::Null) {
            let message =
                format!("{property} cannot be unset once it is set. Leave it out to keep it, or name another.");
            return Err(refused(&format!("properties.{property}"), message));
        }
        let Some(after) = new.get(*property).filter(|after| !is_same(before, after)) else { continue };
        let message = format!("Changing {property} from {before} to {after} breaks {breaks}.");
        if parity == Parity::Strict && !consent {
            let message = format!("{message} Send properties.updateDependentResources: true to consent.");
            return Err(refused(&format!("properties.{property}"), message));
        }
        warnings.push(message);
        changes.push(json!({
            "property": property,
            "from": before,
            "to": after,
            "at": admission.now.to_string(),
            "consent": consent,
            "breaks": breaks,
        }));
    }
    let surplus = changes.len().saturating_sub(MAX_CHANGES);
    changes.drain(..surplus);
    if !changes.is_empty() {
        new.insert(CHANGES.into(), Value::Array(changes));
    }
    Ok(warnings)
}

/// Shows the changes on record, apart from what the cloud's clients know.
pub(super) fn answer(properties: &mut Map<String, Value>) {
    if let Some(changes) = properties.shift_remove(CHANGES) {
        properties.insert("bastide".into(), json!({CHANGES: changes}));
    }
}

/// A default storage account must be without hierarchical namespace, as far as parity goes (A21).
pub(super) fn check_storage(
    properties: &Map<String, Value>,
    linked: &BTreeMap<String, Linked>,
    parity: Parity,
) -> Result<(), ArmError> {
    if parity == Parity::Strict && has_hierarchical_namespace(properties, linked) == Some(true) {
        let message =
            "The default storage account must not have a hierarchical namespace. Name an account without one.";
        return Err(refused("properties.storageAccount", message));
    }
    Ok(())
}

/// Whether the storage account has a hierarchical namespace, as far as it is there to be asked.
pub(super) fn has_hierarchical_namespace(
    properties: &Map<String, Value>,
    linked: &BTreeMap<String, Linked>,
) -> Option<bool> {
    let account = linked_by(properties, "storageAccount", linked)?;
    Some(account.document.properties.get("isHnsEnabled").and_then(Value::as_bool).unwrap_or(false))
}

/// The resource a property names, if it is there.
pub(super) fn linked_by<'a>(
    properties: &Map<String, Value>,
    property: &str,
    linked: &'a BTreeMap<String, Linked>,
) -> Option<&'a Linked> {
    linked.get(&properties.get(property)?.as_str()?.to_ascii_lowercase())
}

/// Property that keeps the last changes of associated resources with what each breaks.
pub(super) const CHANGES: &str = "associatedResourceChanges";

/// More than these are for the activity log to remember.
const MAX_CHANGES: usize = 20;

pub(super) const ASSOCIATED: &[Associated] = &[
    Associated {
        property: "storageAccount",
        type_name: "Microsoft.Storage/storageAccounts",
        action: "Microsoft.Storage/storageAccounts/listKeys/action",
        breaks: None,
    },
    Associated {
        property: "keyVault",
        type_name: "Microsoft.KeyVault/vaults",
        action: "Microsoft.KeyVault/vaults/write",
        breaks: None,
    },
    Associated {
        property: "applicationInsights",
        type_name: "Microsoft.Insights/components",
        action: "Microsoft.Insights/components/read",
        breaks: Some("the traces and logs of earlier jobs and deployed endpoints, which stay in the former component"),
    },
    Associated {
        property: "containerRegistry",
        type_name: "Microsoft.ContainerRegistry/registries",
        action: "Microsoft.ContainerRegistry/registries/listCredentials/action",
        breaks: Some("re-runs of earlier jobs and deployed endpoints whose images are in the former registry"),
    },
];
