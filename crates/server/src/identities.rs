//! The `identity` of an envelope: which managed identities a resource carries, and the principals behind them.

use std::collections::BTreeMap;

use bastide_arm::envelope::{IdentityRequest, UserAssigned};
use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{AssignedIdentity, Effect, IdentitySupport, Link, Linked, Principal};
use uuid::Uuid;

use crate::providers;

/// What a body asks for.
pub struct Asked<'a> {
    /// What the type supports.
    pub support: IdentitySupport,
    /// The body's `identity`; `None` when it is silent.
    pub request: Option<&'a IdentityRequest>,
    /// Whether identities the body does not name stay.
    pub is_patch: bool,
}

/// The user-assigned identities a body names, each of which the caller must be allowed to assign.
pub fn links(request: Option<&IdentityRequest>) -> Vec<Link> {
    let attached = request.into_iter().flat_map(|request| &request.user_assigned);
    attached.filter(|(_, wish)| **wish == UserAssigned::Attach).map(|(id, _)| link(id.clone())).collect()
}

/// The user-assigned identities a resource carries already; keeping one takes no right, and not even that it still is.
pub fn links_of(identity: Option<&AssignedIdentity>) -> Result<Vec<Link>, ArmError> {
    let carried = identity.into_iter().flat_map(|identity| identity.user.keys());
    carried.map(|id| ResourceId::parse(id).map(link)).collect()
}

fn link(id: ResourceId) -> Link {
    Link {
        id,
        action: "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action".to_owned(),
        target: "identity.userAssignedIdentities".to_owned(),
        required: true,
        foreign: false,
    }
}

/// What the resource carries afterwards, and what that does to the directory. The system-assigned principal is made once
/// and never changes while it is assigned: role assignments point at it.
pub fn resolve(
    asked: &Asked<'_>,
    before: Option<AssignedIdentity>,
    linked: &BTreeMap<String, Linked>,
    id: &ResourceId,
) -> Result<(Option<AssignedIdentity>, Vec<Effect>), ArmError> {
    if asked.support == IdentitySupport::None {
        return Ok((None, Vec::new()));
    }
    let was_absent = before.is_none();
    let before = before.unwrap_or_default();
    let (wants_system, user) = match asked.request {
        Some(request) => {
            let kept = if asked.is_patch { before.user.clone() } else { BTreeMap::new() };
            (request.system_assigned, user_assigned(request, kept, &before.user, linked)?)
        }
        // Silence keeps what is there, and founds what the type has by default.
        None if was_absent => (asked.support == IdentitySupport::SystemByDefault, BTreeMap::new()),
        None => (before.system.is_some(), before.user.clone()),
    };
    let (system, effects) = match (before.system, wants_system) {
        (None, true) => {
            let principal = Principal { principal_id: Uuid::new_v4(), client_id: Uuid::new_v4() };
            (Some(principal), vec![Effect::CreatePrincipal { principal, name: id.name().to_owned() }])
        }
        (Some(principal), false) => (None, vec![Effect::RemovePrincipal(principal)]),
        (stands, _) => (stands, Vec::new()),
    };
    let after = AssignedIdentity { system, user };
    let is_silent = asked.request.is_none() && was_absent && after.is_empty();
    Ok((Some(after).filter(|_| !is_silent), effects))
}

/// What happens to the directory when the resource goes. User-assigned identities have a life of their own.
pub fn release(identity: Option<&AssignedIdentity>) -> Vec<Effect> {
    identity.and_then(|identity| identity.system).map(Effect::RemovePrincipal).into_iter().collect()
}

fn user_assigned(
    request: &IdentityRequest,
    mut kept: BTreeMap<String, Principal>,
    before: &BTreeMap<String, Principal>,
    linked: &BTreeMap<String, Linked>,
) -> Result<BTreeMap<String, Principal>, ArmError> {
    for (id, wish) in &request.user_assigned {
        kept.retain(|known, _| !known.eq_ignore_ascii_case(id.key()));
        if *wish == UserAssigned::Detach {
            continue;
        }
        let carried = before.iter().find(|(known, _)| known.eq_ignore_ascii_case(id.key()));
        if let Some((known, principal)) = carried {
            kept.insert(known.clone(), *principal);
            continue;
        }
        let entry = linked.get(id.key());
        let principal = entry.and_then(|entry| providers::identity_principal(&entry.document));
        match (entry, principal) {
            (Some(entry), Some(principal)) => drop(kept.insert(entry.id.to_string(), principal)),
            _ => {
                let message = format!(
                    "'{id}' is not a user-assigned identity. Give the id of a Microsoft.ManagedIdentity/userAssignedIdentities resource."
                );
                return Err(ArmError::invalid_parameter("identity.userAssignedIdentities", message));
            }
        }
    }
    Ok(kept)
}
