//! `GET {scope}/providers/Bastide.Authorization/users`: who has access to a hub and its projects, or to any scope, and
//! through what (mission.md D4 to D8).

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use bastide_access::{PrincipalType, RoleAssignment};
use bastide_arm::id::ResourceId;
use bastide_identity::DirectoryObject;
use serde_json::{Value, json};
use uuid::Uuid;

use super::why_access::person;
use super::{covers, page_of};
use crate::failure::Failure;
use crate::front::Front;
use crate::pass::{Pass, Snapshot};
use crate::reply::Reply;
use crate::request::Request;

/// What somebody has: an assignment, the scopes looked at that it reaches, and the group it is held through.
struct Held<'a> {
    assignment: &'a RoleAssignment,
    reaches: BTreeSet<String>,
    group: Option<Uuid>,
}

impl Front {
    /// Everybody with an assignment at the scope, above or below it, or at one of the hub's projects that the caller may
    /// see the assignments of; members of groups by themselves, so that the page shows people.
    pub(crate) async fn list_users(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let target = &request.matched.target;
        let rights = self.gatekeeper.rights(pass).await?;
        let mut scopes = vec![target.clone()];
        for project in rights.facts().projects_of(target) {
            let project = ResourceId::parse(project)?;
            if self.gatekeeper.may(pass.caller(), READ_ASSIGNMENTS, &project).await? {
                scopes.push(self.spelled(pass, project).await?);
            }
        }
        let mut people: BTreeMap<Uuid, Vec<Held<'_>>> = BTreeMap::new();
        let mut members = HashMap::new();
        for (assignment, reaches) in assignments_about(&rights, &scopes) {
            if assignment.principal_type == PrincipalType::Group {
                let group = assignment.principal_id;
                if let Entry::Vacant(unknown) = members.entry(group) {
                    unknown.insert(self.all_members(group).await?);
                }
                for member in members.get(&group).into_iter().flatten() {
                    let held = Held { assignment, reaches: reaches.clone(), group: Some(group) };
                    people.entry(*member).or_default().push(held);
                }
            }
            people.entry(assignment.principal_id).or_default().push(Held { assignment, reaches, group: None });
        }
        let ids: Vec<Uuid> = people.keys().chain(members.keys()).copied().collect();
        let objects = self.identity.directory().objects(&ids).await?;
        let known: HashMap<Uuid, DirectoryObject> =
            objects.into_iter().map(|object| (object.object_id(), object)).collect();
        let rows = people.into_iter().map(|(id, held)| (id.to_string(), user_row(&rights, id, &held, &known)));
        page_of(request, rows.collect(), Value::clone)
    }

    /// Everybody in a group, also through other groups.
    async fn all_members(&self, group: Uuid) -> Result<BTreeSet<Uuid>, Failure> {
        let mut members = self.identity.directory().transitive_members(group, MAX_MEMBERS).await?;
        members.remove(&group);
        Ok(members)
    }

    /// A project's id in the spelling it is stored in.
    async fn spelled(&self, pass: &Pass, id: ResourceId) -> Result<ResourceId, Failure> {
        Ok(self.ledger.surrounding(pass, &id).await?.map_or(id, |entry| entry.id))
    }
}

fn user_row(rights: &Snapshot, principal: Uuid, held: &[Held<'_>], known: &HashMap<Uuid, DirectoryObject>) -> Value {
    let access = held.iter().map(|Held { assignment, reaches, group }| {
        json!({
            "roleAssignmentId": assignment.id(),
            "scope": assignment.scope,
            "roleDefinitionId": assignment.role_definition_id,
            "roleName": rights.role(assignment.role_definition_id).map(|role| role.role_name.as_str()),
            "group": group.map(|group| person(group, known.get(&group))),
            "condition": assignment.condition,
            "reachesProjects": assignment.reaches_projects,
            "reaches": reaches,
        })
    });
    let object = known.get(&principal);
    let user = object.and_then(DirectoryObject::as_user);
    json!({
        "principal": {
            "objectId": principal,
            // Assignments of deleted principals stay, and serve nobody.
            "name": object.map(DirectoryObject::name),
            "type": object.map_or("Unknown", |object| object.kind().as_principal_type()),
            "displayName": user.map(|user| user.display_name.as_str()),
        },
        "access": access.collect::<Vec<Value>>(),
    })
}

/// The assignments that reach one of the scopes, or are below one, each with the scopes it has to do with.
fn assignments_about<'a>(rights: &'a Snapshot, scopes: &[ResourceId]) -> Vec<(&'a RoleAssignment, BTreeSet<String>)> {
    let mut reached: HashMap<Uuid, BTreeSet<String>> = HashMap::new();
    for scope in scopes {
        for name in rights.access().assignments_reaching(scope.key()) {
            reached.entry(name).or_default().insert(scope.to_string());
        }
    }
    let mut about: Vec<_> = rights
        .facts()
        .assignments
        .iter()
        .filter_map(|assignment| {
            let below = scopes.iter().filter(|scope| covers(scope.key(), &assignment.scope));
            let mut reaches = reached.remove(&assignment.name).unwrap_or_default();
            reaches.extend(below.map(ToString::to_string));
            (!reaches.is_empty()).then_some((assignment, reaches))
        })
        .collect();
    about.sort_unstable_by(|(one, _), (other, _)| (&one.scope, one.name).cmp(&(&other.scope, other.name)));
    about
}

const READ_ASSIGNMENTS: &str = "Microsoft.Authorization/roleAssignments/read";

/// Larger groups are shown by their name, and their first members.
const MAX_MEMBERS: u32 = 5000;
