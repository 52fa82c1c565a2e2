//! Role assignments: `{scope}/providers/Microsoft.Authorization/roleAssignments/{guid}`.

use std::collections::{BTreeMap, HashSet};

use bastide_access::guard::{self, GuardError};
use bastide_access::{Condition, PrincipalType, RoleAssignment, RoleDefinition};
use bastide_arm::error::ArmError;
use bastide_arm::filter::Property;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::Document;
use bastide_identity::PrincipalKind;
use bastide_store::{Change, Expectation, ResourcePut};
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::asked::{asked_properties, check_texts};
use super::filter::Filter;
use super::{guarded, page_of};
use crate::activity_log::role_taken;
use crate::failure::Failure;
use crate::founding;
use crate::front::Front;
use crate::ledger::Entries;
use crate::pass::{OWNER, Pass, ROLE_ASSIGNMENT, Snapshot, WORKSPACE};
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// GET of the assignments at, above and below a scope.
    pub(crate) async fn list_role_assignments(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let filter = Filter::read(request, PROPERTIES)?;
        let assignees = match filter.assigned_to {
            Some(principal) => Some(self.with_groups(principal).await?),
            None => None,
        };
        let scope = request.matched.target.key();
        let rights = self.gatekeeper.rights(pass).await?;
        // Those of a project's hub that reach its projects count as made above.
        let reaching: HashSet<Uuid> = match rights.facts().hub_of(&request.matched.target) {
            Some(_) => rights.access().assignments_reaching(scope).into_iter().collect(),
            None => HashSet::new(),
        };
        let found = rights.facts().assignments.iter().filter(|assignment| {
            let principal = assignment.principal_id.to_string();
            let role = assignment.role_definition_id.to_string();
            (filter.reaches(&assignment.scope, scope)
                || reaching.contains(&assignment.name) && !filter.at_scope_and_below)
                && assignees.as_ref().is_none_or(|assignees| assignees.contains(&assignment.principal_id))
                && filter.matches(&|property| match property.name {
                    "principalId" => Some(&principal),
                    "roleDefinitionId" => Some(&role),
                    _ => None,
                })
        });
        let found = found.map(|assignment| (assignment.id().to_ascii_lowercase(), assignment)).collect();
        page_of(request, found, |assignment| seen_from(&request.matched.target, answer(assignment)))
    }

    /// GET of one.
    pub(crate) async fn read_role_assignment(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let id = &request.matched.target;
        let name = super::guid(id.name(), "role assignment")?;
        let rights = self.gatekeeper.rights(pass).await?;
        if let Some(assignment) = rights.assignment(name).filter(|found| is_at(found, id)) {
            return Ok(Reply::ok(answer(assignment)));
        }
        let message = format!("The role assignment '{name}' is not found.");
        Err(ArmError::new(404, "RoleAssignmentNotFound", message).into())
    }

    /// PUT of one: 201 when it is new, 200 when it stood or was changed.
    pub(crate) async fn put_role_assignment(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let name = super::guid(request.matched.target.name(), "role assignment")?;
        let mut entries = Entries::default();
        let scope = self.standing_scope(pass, &request.matched.target, &mut entries).await?;
        let asked = asked_assignment(request, name, &scope)?;
        let rights = self.gatekeeper.rights(pass).await?;
        let stored = rights.assignment(name);
        let attributes = guard::delegation_attributes(stored, Some(&asked));
        let pass = self.gatekeeper.weigh(pass, &attributes).await?;
        guard::may_put(rights.facts().assignments.iter(), &asked).map_err(|error| guarded(&error))?;
        check_role(rights.role(asked.role_definition_id), &asked)?;
        check_condition(&asked)?;
        self.check_reach(&pass, &scope, &asked).await?;
        let asked = match stored {
            Some(stored) => {
                let asked = updated(stored, asked, &pass, request)?;
                if asked == *stored {
                    return Ok(Reply::ok(answer(stored)));
                }
                self.administrator_remains(&rights, stored, Some(&asked)).await?;
                asked
            }
            None => self.with_principal_type(request, asked, &pass).await?,
        };
        entries.expect.push(match stored {
            Some(_) => Expectation::ResourcePresent(pass.scope().key().to_owned()),
            None => Expectation::ResourceAbsent(pass.scope().key().to_owned()),
        });
        entries.changes = vec![put(&asked, &pass)?, Change::RaiseAccessEpoch];
        self.ledger.commit(request.context, &pass, entries).await?;
        Ok(Reply::json(if stored.is_some() { 200 } else { 201 }, answer(&asked)))
    }

    /// Only a hub has projects for its assignments to reach (mission.md D7).
    async fn check_reach(&self, pass: &Pass, scope: &ResourceId, asked: &RoleAssignment) -> Result<(), Failure> {
        if !asked.reaches_projects {
            return Ok(());
        }
        let entry = self.ledger.surrounding(pass, scope).await?;
        let is_hub = scope.type_name().eq_ignore_ascii_case(WORKSPACE)
            && entry.and_then(|entry| entry.document.kind).is_some_and(|kind| kind.eq_ignore_ascii_case("hub"));
        if is_hub {
            return Ok(());
        }
        let message = format!(
            "'{scope}' is no hub, so its role assignments have no projects to reach. Leave properties.bastide.projects \
             out, or assign the role at the hub."
        );
        Err(ArmError::invalid_parameter("properties.bastide.projects", message).into())
    }

    /// DELETE of one: 200 with what it was, 204 when there was none.
    pub(crate) async fn delete_role_assignment(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let id = &request.matched.target;
        let name = super::guid(id.name(), "role assignment")?;
        let rights = self.gatekeeper.rights(pass).await?;
        let Some(stored) = rights.assignment(name).filter(|found| is_at(found, id)) else {
            return Ok(Reply::empty(StatusCode::NO_CONTENT));
        };
        let attributes = guard::delegation_attributes(Some(stored), None);
        let pass = self.gatekeeper.weigh(pass, &attributes).await?;
        self.administrator_remains(&rights, stored, None).await?;
        let entries = Entries {
            expect: vec![Expectation::ResourcePresent(id.key().to_owned())],
            changes: vec![Change::DeleteResource(id.key().to_owned()), Change::RaiseAccessEpoch],
        };
        self.ledger.commit_noted(request.context, &pass, role_taken(stored), entries).await?;
        Ok(Reply::ok(answer(stored)))
    }

    /// Whoever creates a hub or a project owns it (security.md 1.4), unless they own it already from above.
    pub(crate) async fn creator_owns(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        id: &ResourceId,
        kind: Option<&str>,
        entries: &mut Entries,
    ) -> Result<(), Failure> {
        let is_owned = kind.is_some_and(|kind| OWNED_KINDS.iter().any(|owned| owned.eq_ignore_ascii_case(kind)));
        if !is_owned || !id.type_name().eq_ignore_ascii_case(WORKSPACE) {
            return Ok(());
        }
        let rights = self.gatekeeper.rights(pass).await?;
        let principal = pass.principal();
        let reaching = rights.access().assignments_of(principal.object_id, &principal.groups, id.key());
        let owns = |name: &Uuid| {
            let assignment = rights.assignment(*name);
            assignment.is_some_and(|held| held.role_definition_id == OWNER && held.condition.is_none())
        };
        if !reaching.iter().any(owns) {
            entries.changes.push(founding::role_assignment(id, principal, OWNER, request.context.now)?);
        }
        // Roles at its hub may reach a new project from its first moment on.
        entries.changes.push(Change::RaiseAccessEpoch);
        Ok(())
    }

    /// A hub's own identity administers what the hub needs in its group (security.md 1.4: `Azure AI Administrator`).
    /// `before` is the principal that it had already.
    pub(crate) fn identity_administers(
        &self,
        request: &Request<'_>,
        id: &ResourceId,
        before: Option<Uuid>,
        after: &Document,
        changes: &mut Vec<Change>,
    ) -> Result<(), Failure> {
        let is_hub = after.kind.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("hub"));
        if !is_hub || !id.type_name().eq_ignore_ascii_case(WORKSPACE) {
            return Ok(());
        }
        let (Some(principal), Some(group)) = (own_principal(after), id.resource_group_id()) else { return Ok(()) };
        if before == Some(principal) {
            return Ok(());
        }
        let mut assignment =
            RoleAssignment::new(own_role_name(principal), group.to_string(), AI_ADMINISTRATOR, principal);
        assignment.principal_type = PrincipalType::ServicePrincipal;
        assignment.description = Some(format!("The identity of the hub {id}."));
        assignment.created_on = Some(request.context.now);
        assignment.updated_on = Some(request.context.now);
        changes.push(founding::stored(&assignment)?);
        changes.push(Change::RaiseAccessEpoch);
        Ok(())
    }

    /// A principal and its groups; of one that is gone, what still names it.
    pub(super) async fn with_groups(&self, object_id: Uuid) -> Result<Vec<Uuid>, Failure> {
        let groups = self.principal_of(object_id).await?.map(|principal| principal.groups).unwrap_or_default();
        Ok(std::iter::once(object_id).chain(groups).collect())
    }

    /// The subscription must keep somebody who can assign roles there, when `removed` goes or becomes `replacement`.
    async fn administrator_remains(
        &self,
        rights: &Snapshot,
        removed: &RoleAssignment,
        replacement: Option<&RoleAssignment>,
    ) -> Result<(), Failure> {
        let roles = &rights.facts().roles;
        let suffices = |other: Option<&RoleAssignment>| {
            let mut both = vec![removed.clone()];
            both.extend(other.map(|other| RoleAssignment { name: Uuid::nil(), ..other.clone() }));
            guard::may_delete(&both, roles, removed.name)
        };
        let Err(refused) = suffices(replacement) else { return Ok(()) };
        for other in rights.facts().assignments.iter() {
            // An assignment to somebody who is gone lets nobody in.
            if other.name != removed.name
                && suffices(Some(other)).is_ok()
                && self.directory_object(other.principal_id).await?.is_some()
            {
                return Ok(());
            }
        }
        Err(guarded(&refused).into())
    }

    /// A new assignment's principal must exist, and be what the client takes it for.
    async fn with_principal_type(
        &self,
        request: &Request<'_>,
        mut asked: RoleAssignment,
        pass: &Pass,
    ) -> Result<RoleAssignment, Failure> {
        let (principal, tenant) = (asked.principal_id.simple(), request.tenant_id);
        let Some(object) = self.directory_object(asked.principal_id).await? else {
            let message = format!(
                "Principal {principal} does not exist in the directory {tenant}. Check that you have the correct \
                 principal ID."
            );
            return Err(ArmError::new(400, "PrincipalNotFound", message).with_target("properties.principalId").into());
        };
        let is = principal_type(object.kind());
        let given = request.object()?.pointer("/properties/principalType").is_some_and(|given| !given.is_null());
        if given && is != asked.principal_type {
            let message = format!(
                "The PrincipalId '{principal}' has type '{is:?}', which is different from specified PrincipalType '{:?}'.",
                asked.principal_type
            );
            return Err(ArmError::new(400, "UnmatchedPrincipalType", message).into());
        }
        asked.principal_type = is;
        asked.created_on = Some(request.context.now);
        asked.created_by = Some(pass.principal().object_id.to_string());
        asked.updated_on.clone_from(&asked.created_on);
        asked.updated_by.clone_from(&asked.created_by);
        Ok(asked)
    }
}

/// The principal of a resource's own identity.
pub(crate) fn own_principal(document: &Document) -> Option<Uuid> {
    Some(document.identity.as_ref()?.system.as_ref()?.principal_id)
}

/// What takes away the role that a hub's identity was given with it.
pub(crate) fn identity_administers_no_more(id: &ResourceId, principal: Uuid) -> Option<Change> {
    let group = id.resource_group_id().filter(|_| id.type_name().eq_ignore_ascii_case(WORKSPACE))?;
    let assignment = RoleAssignment::new(own_role_name(principal), group.to_string(), AI_ADMINISTRATOR, principal);
    Some(Change::DeleteResource(assignment.id().to_ascii_lowercase()))
}

/// One name for one identity, so that it is found again when the identity goes.
fn own_role_name(principal: Uuid) -> Uuid {
    Uuid::new_v5(&principal, b"Azure AI Administrator")
}

/// The wire form.
pub(super) fn answer(assignment: &RoleAssignment) -> Value {
    json!(assignment)
}

/// A role is named as the subscription sees it that was asked: az finds a role's name by comparing ids with those in the
/// subscription's list of definitions.
fn seen_from(scope: &ResourceId, mut answer: Value) -> Value {
    if let (Some(subscription), Some(Value::String(role))) =
        (scope.subscription_id(), answer.pointer_mut("/properties/roleDefinitionId"))
        && role.starts_with("/providers/")
    {
        role.insert_str(0, &format!("/subscriptions/{subscription}"));
    }
    answer
}

/// Reads the body; what only the server writes is dropped.
fn asked_assignment(request: &Request<'_>, name: Uuid, scope: &ResourceId) -> Result<RoleAssignment, ArmError> {
    let mut properties = asked_properties(request, &WRITABLE)?;
    check_texts(&properties, &TEXTS, "properties")?;
    for needed in ["roleDefinitionId", "principalId"] {
        if properties.get(needed).and_then(Value::as_str).is_none_or(str::is_empty) {
            let target = format!("properties.{needed}");
            return Err(ArmError::invalid_parameter(&target, format!("{target} is needed, as a text.")));
        }
    }
    properties.insert("scope".to_owned(), scope.to_string().into());
    let whole = json!({"name": name, "properties": properties});
    let mut asked: RoleAssignment = serde_json::from_value(whole).map_err(|_| {
        let message = "The properties are not those of a role assignment. It has roleDefinitionId, the id of a role; \
                       principalId, a GUID; and principalType: User, Group, ServicePrincipal, ForeignGroup or Device.";
        ArmError::invalid_request_content(message).with_target("properties")
    })?;
    if asked.condition.as_deref().is_some_and(|condition| condition.trim().is_empty()) {
        asked.condition = None;
    }
    if asked.condition.is_none() {
        asked.condition_version = None;
    }
    if asked.description.as_ref().is_some_and(|text| text.chars().count() > MAX_DESCRIPTION) {
        let message = format!("properties.description has at most {MAX_DESCRIPTION} characters.");
        return Err(ArmError::invalid_parameter("properties.description", message));
    }
    Ok(asked)
}

/// What may change of an assignment that stands: its condition, its description, whether it reaches projects.
fn updated(
    stored: &RoleAssignment,
    asked: RoleAssignment,
    pass: &Pass,
    request: &Request<'_>,
) -> Result<RoleAssignment, ArmError> {
    // Another role is another assignment: the right to assign that one says nothing about taking this one away.
    if asked.role_definition_id != stored.role_definition_id {
        return Err(guarded(&GuardError::UpdateNotPermitted));
    }
    let mut updated = RoleAssignment {
        condition: asked.condition,
        condition_version: asked.condition_version,
        description: asked.description,
        reaches_projects: asked.reaches_projects,
        ..stored.clone()
    };
    if updated != *stored {
        updated.updated_on = Some(request.context.now);
        updated.updated_by = Some(pass.principal().object_id.to_string());
    }
    Ok(updated)
}

fn check_role(role: Option<&RoleDefinition>, asked: &RoleAssignment) -> Result<(), ArmError> {
    let Some(role) = role else {
        let message =
            format!("The specified role definition with ID '{}' does not exist.", asked.role_definition_id.simple());
        return Err(
            ArmError::new(400, "RoleDefinitionDoesNotExist", message).with_target("properties.roleDefinitionId")
        );
    };
    if role.is_assignable_at(&asked.scope) {
        return Ok(());
    }
    let message = format!(
        "The role '{}' cannot be assigned at '{}'. Assign it at or below one of its assignable scopes: {}.",
        role.role_name,
        asked.scope,
        role.assignable_scopes.join(", ")
    );
    Err(ArmError::new(400, "RoleAssignmentScopeNotAssignableToRoleDefinition", message))
}

/// A condition that cannot be read would grant nothing; better to say so now.
fn check_condition(asked: &RoleAssignment) -> Result<(), ArmError> {
    let Some(condition) = &asked.condition else { return Ok(()) };
    if asked.condition_version.as_deref() != Some("2.0") {
        let message = "A condition needs properties.conditionVersion '2.0', the only version there is.";
        return Err(ArmError::new(400, "InvalidConditionVersion", message).with_target("properties.conditionVersion"));
    }
    match condition.parse::<Condition>() {
        Ok(_) => Ok(()),
        Err(error) => {
            let message = format!("The condition cannot be read {error}.");
            Err(ArmError::new(400, "InvalidCondition", message).with_target("properties.condition"))
        }
    }
}

fn put(assignment: &RoleAssignment, pass: &Pass) -> Result<Change, Failure> {
    Ok(Change::PutResource(ResourcePut {
        id: assignment.id(),
        type_name: ROLE_ASSIGNMENT.to_owned(),
        incarnation: assignment.name,
        listed: false,
        tags: BTreeMap::new(),
        body: serde_json::to_value(assignment).map_err(|error| Failure::internal(error.to_string()))?,
        by: pass.principal().object_id.to_string(),
        by_type: pass.principal().kind.as_created_by_type().to_owned(),
    }))
}

fn is_at(assignment: &RoleAssignment, id: &ResourceId) -> bool {
    assignment.id().eq_ignore_ascii_case(id.key())
}

fn principal_type(kind: PrincipalKind) -> PrincipalType {
    match kind {
        PrincipalKind::User => PrincipalType::User,
        PrincipalKind::Group => PrincipalType::Group,
        PrincipalKind::ServicePrincipal | PrincipalKind::ManagedIdentity => PrincipalType::ServicePrincipal,
    }
}

/// Role `Azure AI Administrator`.
const AI_ADMINISTRATOR: Uuid = uuid::uuid!("b78c5d69-af96-48a3-bf8d-a8b4d589de94");

const OWNED_KINDS: [&str; 2] = ["hub", "project"];

const PROPERTIES: &[Property] = &[Property::any_case("principalId"), Property::any_case("roleDefinitionId")];

/// What of the properties a client decides.
const WRITABLE: [&str; 8] = [
    "roleDefinitionId",
    "principalId",
    "principalType",
    "description",
    "condition",
    "conditionVersion",
    "delegatedManagedIdentityResourceId",
    "bastide",
];

/// Those of them that are texts.
const TEXTS: [&str; 5] =
    ["principalType", "description", "condition", "conditionVersion", "delegatedManagedIdentityResourceId"];

/// Longest description, as the cloud has it.
const MAX_DESCRIPTION: usize = 1024;
