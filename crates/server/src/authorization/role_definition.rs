//! Role definitions: the built-in ones, and custom ones, which are stored at the tenant.

use std::collections::BTreeMap;

use bastide_access::{MAX_CUSTOM_ROLES, RoleDefinition, RoleKind, builtin_role, guard};
use bastide_arm::error::ArmError;
use bastide_arm::filter::Property;
use bastide_arm::id::ResourceId;
use bastide_store::{Change, Expectation, ResourcePut};
use http::StatusCode;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::asked::{asked_properties, check_lists, check_texts, wrong};
use super::filter::Filter;
use super::known_action::KnownActions;
use super::{covers, guarded, page_of};
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entries;
use crate::pass::{Pass, ROLE_DEFINITION, Snapshot};
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// GET of the roles that can be assigned at a scope; with `atScopeAndBelow()`, of those for what is below it too.
    pub(crate) async fn list_role_definitions(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let filter = Filter::read(request, PROPERTIES)?;
        let scope = &request.matched.target;
        let rights = self.gatekeeper.rights(pass).await?;
        let former = former_name(&filter);
        let mut found = Vec::new();
        for role in rights.facts().roles.iter() {
            let name = former.as_ref().filter(|(current, _)| *current == role.role_name).map(|(_, asked)| asked);
            let fits = filter.matches(&|property| match property.name {
                "roleName" => Some(name.unwrap_or(&role.role_name)),
                "type" => Some(kind(role)),
                _ => None,
            });
            if fits && is_offered(role, scope, &filter) && self.may_see(role, pass).await? {
                found.push((role.id.to_string(), role));
            }
        }
        page_of(request, found, |role| answer(role, scope))
    }

    /// GET of one.
    pub(crate) async fn read_role_definition(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let id = super::guid(request.matched.value(0), "role definition")?;
        let scope = scope_of(request);
        let rights = self.gatekeeper.rights(pass).await?;
        match rights.role(id) {
            Some(role) if is_near(role, &scope) && self.may_see(role, pass).await? => {
                Ok(Reply::ok(answer(role, &scope)))
            }
            _ => Err(not_found(id).into()),
        }
    }

    /// PUT of a custom role: always 201.
    pub(crate) async fn put_role_definition(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let id = super::guid(request.matched.value(0), "role definition")?;
        let mut asked = asked_definition(request, id)?;
        let rights = self.gatekeeper.rights(pass).await?;
        let stored = rights.role(id);
        if stored.is_some_and(|stored| stored.kind == RoleKind::BuiltIn) {
            let message = format!("The role '{id}' is built in and cannot be changed. Make a custom role of your own.");
            return Err(ArmError::new(403, "BuiltInRoleCannotBeModified", message).into());
        }
        let known = KnownActions::new(&self.registry);
        asked
            .validate_custom(|pattern, data| known.include(pattern, data))
            .map_err(|error| ArmError::new(400, error.code(), error.to_string()))?;
        let mut entries = Entries::default();
        self.standing_scope(pass, &request.matched.target, &mut entries).await?;
        // Whoever changes a role changes what it grants wherever it can be assigned, before and after.
        let before = stored.map(|stored| stored.assignable_scopes.clone()).unwrap_or_default();
        for scope in asked.assignable_scopes.iter().chain(&before) {
            self.gatekeeper.authorise_linked(pass, WRITE, &ResourceId::parse(scope)?).await?;
        }
        check_name_and_number(&rights, &asked)?;
        let by = pass.principal().object_id.to_string();
        asked.created_on = stored.map_or(Some(request.context.now), |stored| stored.created_on);
        asked.created_by = stored.map_or_else(|| Some(by.clone()), |stored| stored.created_by.clone());
        (asked.updated_on, asked.updated_by) = match stored {
            Some(stored) if is_same(stored, &asked) => (stored.updated_on, stored.updated_by.clone()),
            _ => (Some(request.context.now), Some(by)),
        };
        if stored != Some(&asked) {
            let key = key_of(id);
            entries.expect.push(match stored {
                Some(_) => Expectation::ResourcePresent(key),
                None => Expectation::ResourceAbsent(key),
            });
            entries.changes = vec![put(&asked, pass)?, Change::RaiseAccessEpoch];
            self.ledger.commit(request.context, pass, entries).await?;
        }
        Ok(Reply::json(201, answer(&asked, &scope_of(request))))
    }

    /// DELETE of a custom role: 200 with what it was, 204 when there was none.
    pub(crate) async fn delete_role_definition(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let id = super::guid(request.matched.value(0), "role definition")?;
        let rights = self.gatekeeper.rights(pass).await?;
        let Some(role) = rights.role(id) else { return Ok(Reply::empty(StatusCode::NO_CONTENT)) };
        if role.kind == RoleKind::BuiltIn {
            let message = format!("The role '{}' is built in and cannot be deleted.", role.role_name);
            return Err(ArmError::new(403, "BuiltInRoleCannotBeModified", message).into());
        }
        for scope in &role.assignable_scopes {
            self.gatekeeper.authorise_holder(pass, DELETE, &ResourceId::parse(scope)?).await?;
        }
        guard::may_delete_definition(rights.facts().assignments.iter(), id).map_err(|error| guarded(&error))?;
        let entries = Entries {
            expect: vec![Expectation::ResourcePresent(key_of(id))],
            changes: vec![Change::DeleteResource(key_of(id)), Change::RaiseAccessEpoch],
        };
        self.ledger.commit(request.context, pass, entries).await?;
        Ok(Reply::ok(answer(role, &scope_of(request))))
    }

    /// Built-in roles are no secret. Under a pass for a scope its roles may be seen; without one, those that the caller
    /// may read at one of the scopes they are for.
    async fn may_see(&self, role: &RoleDefinition, pass: &Pass) -> Result<bool, Failure> {
        if role.kind == RoleKind::BuiltIn || !pass.action().is_empty() {
            return Ok(true);
        }
        for scope in &role.assignable_scopes {
            if self.gatekeeper.holder_may(pass, READ, &ResourceId::parse(scope)?).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The wire form, as seen from a scope.
fn answer(role: &RoleDefinition, scope: &ResourceId) -> Value {
    let mut body = json!(role);
    if let Some(fields) = body.as_object_mut() {
        fields.insert("id".to_owned(), role.id_at(scope.key()).into());
    }
    body
}

/// The scope a definition is asked for at: the target of a path of its own, or what the target hangs on.
fn scope_of(request: &Request<'_>) -> ResourceId {
    request.matched.target.parent().unwrap_or_else(ResourceId::tenant)
}

fn asked_definition(request: &Request<'_>, id: Uuid) -> Result<RoleDefinition, ArmError> {
    let properties = asked_properties(request, &["roleName", "description", "assignableScopes", "permissions"])?;
    check_shape(&properties)?;
    let whole = json!({"name": id, "properties": properties});
    let mut asked: RoleDefinition = serde_json::from_value(whole).map_err(|_| {
        let message = "The properties are not those of a role definition. It has roleName, description, \
                       assignableScopes and permissions, a list of objects with actions and notActions.";
        ArmError::invalid_request_content(message).with_target("properties")
    })?;
    for scope in &mut asked.assignable_scopes {
        let trimmed = scope.trim_end_matches('/');
        scope.truncate(trimmed.len().max(1));
    }
    Ok(asked)
}

fn check_shape(properties: &Map<String, Value>) -> Result<(), ArmError> {
    if !properties.contains_key("roleName") {
        return Err(wrong("properties.roleName", "there: a text that names the role"));
    }
    check_texts(properties, &["roleName", "description"], "properties")?;
    check_lists(properties, &["assignableScopes"], "properties")?;
    let Some(permissions) = properties.get("permissions") else { return Ok(()) };
    let Some(permissions) = permissions.as_array() else {
        return Err(wrong("properties.permissions", "a list of objects"));
    };
    for (index, permission) in permissions.iter().enumerate() {
        let at = format!("properties.permissions[{index}]");
        let Some(permission) = permission.as_object() else { return Err(wrong(&at, "an object")) };
        check_lists(permission, &["actions", "notActions", "dataActions", "notDataActions"], &at)?;
        check_texts(permission, &["condition", "conditionVersion"], &at)?;
    }
    Ok(())
}

/// A name is unique among the roles, and there are only so many custom ones.
fn check_name_and_number(rights: &Snapshot, asked: &RoleDefinition) -> Result<(), ArmError> {
    let others = || rights.facts().roles.iter().filter(|role| role.id != asked.id);
    if others().any(|role| role.role_name.eq_ignore_ascii_case(&asked.role_name)) {
        let message =
            format!("A role named '{}' exists already. Choose another name, or change that role.", asked.role_name);
        return Err(ArmError::new(409, "RoleDefinitionWithSameNameExists", message));
    }
    if others().filter(|role| role.kind == RoleKind::Custom).count() >= MAX_CUSTOM_ROLES {
        let message =
            format!("The tenant has {MAX_CUSTOM_ROLES} custom roles, and may have no more. Delete some first.");
        return Err(ArmError::new(400, "RoleDefinitionLimitExceeded", message));
    }
    Ok(())
}

fn is_offered(role: &RoleDefinition, scope: &ResourceId, filter: &Filter) -> bool {
    role.is_assignable_at(scope.key()) || filter.at_scope_and_below && is_near(role, scope)
}

/// Whether a role can be assigned at a scope or somewhere below it.
fn is_near(role: &RoleDefinition, scope: &ResourceId) -> bool {
    role.is_assignable_at(scope.key()) || role.assignable_scopes.iter().any(|place| covers(scope.key(), place))
}

/// Names that were changed in 2026 are still understood: the present name of what is asked for, with the name asked for.
fn former_name(filter: &Filter) -> Option<(String, String)> {
    let equalities = filter.comparisons.as_ref()?.required_equalities();
    let (_, asked) = equalities.into_iter().find(|(property, _)| *property == "roleName")?;
    let role = builtin_role(asked).filter(|role| !role.role_name.eq_ignore_ascii_case(asked))?;
    Some((role.role_name.clone(), asked.to_owned()))
}

fn is_same(stored: &RoleDefinition, asked: &RoleDefinition) -> bool {
    let bare = |role: &RoleDefinition| RoleDefinition { updated_on: None, updated_by: None, ..role.clone() };
    bare(stored) == bare(asked)
}

fn put(role: &RoleDefinition, pass: &Pass) -> Result<Change, Failure> {
    Ok(Change::PutResource(ResourcePut {
        id: role.id_at(""),
        type_name: ROLE_DEFINITION.to_owned(),
        incarnation: role.id,
        listed: false,
        tags: BTreeMap::new(),
        body: serde_json::to_value(role).map_err(|error| Failure::internal(error.to_string()))?,
        by: pass.principal().object_id.to_string(),
        by_type: pass.principal().kind.as_created_by_type().to_owned(),
    }))
}

fn key_of(id: Uuid) -> String {
    format!("/providers/{ROLE_DEFINITION}/{id}").to_ascii_lowercase()
}

fn kind(role: &RoleDefinition) -> &'static str {
    match role.kind {
        RoleKind::BuiltIn => "BuiltInRole",
        RoleKind::Custom => "CustomRole",
    }
}

fn not_found(id: Uuid) -> ArmError {
    let message = format!("The specified role definition with ID '{}' does not exist.", id.simple());
    ArmError::new(404, "RoleDefinitionDoesNotExist", message)
}

const PROPERTIES: &[Property] = &[Property::any_case("roleName"), Property::any_case("type")];

const READ: &str = "Microsoft.Authorization/roleDefinitions/read";
const WRITE: &str = "Microsoft.Authorization/roleDefinitions/write";
const DELETE: &str = "Microsoft.Authorization/roleDefinitions/delete";
