//! What rights are made of, read from the store: once whole, then what each change of access was about.
//!
//! A copy shares everything with its original, so that a snapshot stays as it was while the next one is made of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bastide_access::{DenyAssignment, Project, RoleAssignment, RoleDefinition, builtin_roles};
use bastide_arm::id::ResourceId;
use bastide_store::{AccessChanges, Resource, ResourceQuery, Store};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::{DENY_ASSIGNMENT, ROLE_ASSIGNMENT, ROLE_DEFINITION, WORKSPACE};
use crate::failure::Failure;
use crate::lock::{LOCK, Locks};

/// What a snapshot is compiled from.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The built-in roles, then the custom ones.
    pub roles: Arc<Vec<RoleDefinition>>,
    /// Every role assignment.
    pub assignments: Assignments,
    /// Every deny assignment.
    pub denies: Arc<Vec<DenyAssignment>>,
    /// Every lock.
    pub locks: Arc<Locks>,
    /// The hub of each project, by the project's key.
    projects: Arc<BTreeMap<String, String>>,
}

/// Role assignments by name.
#[derive(Debug, Clone)]
pub struct Assignments {
    parts: Box<[Arc<Part>]>,
}

/// Some of the assignments. A change copies one of these.
type Part = HashMap<Uuid, Arc<RoleAssignment>>;

/// What became of the facts between two epochs.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Assignments that are gone, or as they were before.
    pub(super) removed: Vec<Arc<RoleAssignment>>,
    /// Assignments that are new, or as they are now.
    pub(super) added: Vec<Arc<RoleAssignment>>,
    /// Projects with another hub, or none.
    pub(super) projects: Vec<(String, Option<String>)>,
    /// Whether roles or deny assignments have changed, which takes a new compilation.
    pub(super) is_profound: bool,
}

impl Facts {
    /// Everything there is.
    pub(super) async fn read(store: &Store) -> Result<Self, Failure> {
        let mut facts = Self {
            roles: Arc::new(builtin_roles().to_vec()),
            assignments: Assignments::default(),
            denies: Arc::default(),
            locks: Arc::default(),
            projects: Arc::default(),
        };
        let mut query =
            ResourceQuery { types: ACCESS_TYPES.map(str::to_owned).to_vec(), limit: 1000, ..ResourceQuery::default() };
        loop {
            let page = store.resources(&query).await?;
            for row in &page {
                facts.add(row, &mut Difference::default())?;
            }
            match page.last() {
                Some(last) if page.len() == 1000 => query.after = Some(last.key.clone()),
                _ => return Ok(facts),
            }
        }
    }

    /// As they are after changes: what those were about is read again.
    pub(super) async fn changed(&self, store: &Store, changes: &AccessChanges) -> Result<(Self, Difference), Failure> {
        let (mut facts, mut difference) = (self.clone(), Difference::default());
        for prefix in &changes.below {
            for key in facts.keys_below(prefix) {
                facts.remove(&key, &mut difference);
            }
            let mut query = ResourceQuery {
                prefix: Some(prefix.clone()),
                types: ACCESS_TYPES.map(str::to_owned).to_vec(),
                limit: 1000,
                ..ResourceQuery::default()
            };
            loop {
                let page = store.resources(&query).await?;
                for row in &page {
                    facts.add(row, &mut difference)?;
                }
                match page.last() {
                    Some(last) if page.len() == 1000 => query.after = Some(last.key.clone()),
                    _ => break,
                }
            }
        }
        for key in changes.keys.iter().filter(|key| may_decide_access(key)) {
            facts.remove(key, &mut difference);
            if let Some(row) = store.resource(key).await? {
                facts.add(&row, &mut difference)?;
            }
        }
        Ok((facts, difference))
    }

    /// Every project with its hub.
    pub(super) fn projects(&self) -> Vec<Project> {
        let projects = self.projects.iter();
        projects.map(|(id, hub)| Project { id: id.clone(), hub: hub.clone() }).collect()
    }

    /// The key of a project's hub.
    pub fn hub_of(&self, project: &ResourceId) -> Option<&str> {
        self.projects.get(project.key()).map(String::as_str)
    }

    /// The projects of a hub, by their keys.
    pub fn projects_of<'a>(&'a self, hub: &'a ResourceId) -> impl Iterator<Item = &'a str> {
        self.projects.iter().filter(|(_, of)| *of == hub.key()).map(|(project, _)| project.as_str())
    }

    fn add(&mut self, row: &Resource, difference: &mut Difference) -> Result<(), Failure> {
        // What cannot be read grants nothing, and the rest goes on granting; but a deny or a lock must not be lost.
        if row.type_name.eq_ignore_ascii_case(ROLE_ASSIGNMENT) {
            if let Some(assignment) = understood::<RoleAssignment>(row) {
                let assignment = Arc::new(assignment);
                self.assignments.insert(Arc::clone(&assignment));
                difference.added.push(assignment);
            }
        } else if row.type_name.eq_ignore_ascii_case(ROLE_DEFINITION) {
            Arc::make_mut(&mut self.roles).extend(understood::<RoleDefinition>(row));
            difference.is_profound = true;
        } else if row.type_name.eq_ignore_ascii_case(DENY_ASSIGNMENT) {
            Arc::make_mut(&mut self.denies).push(read(row)?);
            difference.is_profound = true;
        } else if row.type_name.eq_ignore_ascii_case(LOCK) {
            Arc::make_mut(&mut self.locks).add(row)?;
        } else if let Some(hub) = hub_in(&row.body) {
            Arc::make_mut(&mut self.projects).insert(row.key.clone(), hub.clone());
            difference.projects.push((row.key.clone(), Some(hub)));
        }
        Ok(())
    }

    /// Forgets what has this key, whatever it is.
    fn remove(&mut self, key: &str, difference: &mut Difference) {
        let name = key.rsplit('/').next().and_then(|name| Uuid::try_parse(name).ok());
        if let Some(name) = name
            && self.assignments.get(name).is_some_and(|held| held.id().eq_ignore_ascii_case(key))
        {
            // One that was added since the last snapshot is not in it.
            let new = difference.added.iter().position(|added| added.name == name);
            let removed = self.assignments.remove(name);
            match new {
                Some(new) => drop(difference.added.swap_remove(new)),
                None => difference.removed.extend(removed),
            }
        }
        let is_role = |role: &RoleDefinition| name == Some(role.id) && key.contains(ROLE_SEGMENT);
        if self.roles.iter().any(is_role) {
            // A built-in role is never stored, so it is never what is removed.
            let is_builtin = |role: &RoleDefinition| builtin_roles().iter().any(|builtin| builtin.id == role.id);
            Arc::make_mut(&mut self.roles).retain(|role| !is_role(role) || is_builtin(role));
            difference.is_profound = true;
        }
        if self.denies.iter().any(|deny| deny.id().eq_ignore_ascii_case(key)) {
            Arc::make_mut(&mut self.denies).retain(|deny| !deny.id().eq_ignore_ascii_case(key));
            difference.is_profound = true;
        }
        if self.locks.has(key) {
            Arc::make_mut(&mut self.locks).remove(key);
        }
        if self.projects.contains_key(key) {
            Arc::make_mut(&mut self.projects).remove(key);
            difference.projects.push((key.to_owned(), None));
        }
    }

    /// Keys of everything known below a prefix.
    fn keys_below(&self, prefix: &str) -> Vec<String> {
        let assignments = self.assignments.iter().map(|assignment| assignment.id().to_ascii_lowercase());
        let denies = self.denies.iter().map(|deny| deny.id().to_ascii_lowercase());
        let others = self.locks.keys().chain(self.projects.keys().cloned());
        assignments.chain(denies).chain(others).filter(|key| key.starts_with(prefix)).collect()
    }
}

impl Assignments {
    /// The assignment of that name.
    pub fn get(&self, name: Uuid) -> Option<&RoleAssignment> {
        self.parts.get(part_of(name))?.get(&name).map(AsRef::as_ref)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &RoleAssignment> {
        self.parts.iter().flat_map(|part| part.values().map(AsRef::as_ref))
    }

    fn insert(&mut self, assignment: Arc<RoleAssignment>) {
        if let Some(part) = self.parts.get_mut(part_of(assignment.name)) {
            Arc::make_mut(part).insert(assignment.name, assignment);
        }
    }

    fn remove(&mut self, name: Uuid) -> Option<Arc<RoleAssignment>> {
        self.parts.get_mut(part_of(name)).and_then(|part| Arc::make_mut(part).remove(&name))
    }
}

impl Default for Assignments {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| Arc::default()).collect() }
    }
}

/// Whether resources of a type decide what may be done: the access epoch rises whenever one of them comes or goes. A
/// workspace is one of them because roles at a hub may reach its projects.
pub fn decides_access(type_name: &str) -> bool {
    ACCESS_TYPES.iter().any(|known| known.eq_ignore_ascii_case(type_name))
}

/// As [`decides_access`], by the look of a key.
fn may_decide_access(key: &str) -> bool {
    ResourceId::parse(key).is_ok_and(|id| decides_access(&id.type_name()))
}

/// The hub that the body of a project names.
fn hub_in(body: &Value) -> Option<String> {
    let is_project = body.get("kind")?.as_str()?.eq_ignore_ascii_case("project");
    let hub = body.pointer("/properties/hubResourceId")?.as_str().filter(|_| is_project)?;
    ResourceId::parse(hub).ok().map(|hub| hub.key().to_owned())
}

fn understood<T: DeserializeOwned>(row: &Resource) -> Option<T> {
    read(row).inspect_err(|error| tracing::error!(%error, "access is decided without it")).ok()
}

fn read<T: DeserializeOwned>(row: &Resource) -> Result<T, Failure> {
    serde_json::from_value(row.body.clone())
        .map_err(|error| Failure::internal(format!("{} cannot be read: {error}", row.id)))
}

fn part_of(name: Uuid) -> usize {
    name.as_bytes().iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte))) % PARTS
}

/// What a snapshot is made of.
const ACCESS_TYPES: [&str; 5] = [ROLE_ASSIGNMENT, ROLE_DEFINITION, DENY_ASSIGNMENT, LOCK, WORKSPACE];

/// What the keys of role definitions have in them.
const ROLE_SEGMENT: &str = "/microsoft.authorization/roledefinitions/";

/// How finely changes are copied.
const PARTS: usize = 256;
