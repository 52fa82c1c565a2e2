//! Locks: `{scope}/providers/Microsoft.Authorization/locks/{name}`.
//!
//! A lock holds at its scope and everywhere below, whatever roles grant. `CanNotDelete` forbids deletions; `ReadOnly`
//! forbids every change, POST actions included. What holds something locked cannot be deleted either. Locks themselves
//! are never locked, or nobody could take one off.

use std::collections::BTreeMap;

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Document, NameRule};
use bastide_store::{Change, Expectation, Resource};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::authorization::page_of;
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;
use crate::routes::{Operation, Route};

/// The type under which locks are stored.
pub const LOCK: &str = "Microsoft.Authorization/locks";

/// What a request does to its target, as far as a lock cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// It looks.
    Read,
    /// It changes something: PUT, PATCH and POST.
    Write,
    /// It deletes its target, and what is in it.
    Delete,
    /// It deletes something that is kept by its target and leaves the target where it is.
    Remove,
}

/// Every lock there is.
#[derive(Debug, Clone, Default)]
pub struct Locks {
    /// By key of the scope they are on.
    by_scope: BTreeMap<String, Vec<Lock>>,
}

/// One lock.
#[derive(Debug, Clone)]
pub struct Lock {
    id: ResourceId,
    level: Level,
    properties: Map<String, Value>,
}

/// How much a lock forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    CanNotDelete,
    ReadOnly,
}

impl Intent {
    /// What a route does.
    pub fn of(route: &Route) -> Self {
        match (&route.method, route.operation) {
            (
                _,
                Operation::PutLock
                | Operation::DeleteLock
                | Operation::CheckAccess
                | Operation::QueryPolicyStates
                | Operation::SummarizePolicyStates
                | Operation::TriggerPolicyEvaluation
                | Operation::PutAccessRequest
                | Operation::DeleteAccessRequest
                | Operation::ApproveAccessRequest
                | Operation::DenyAccessRequest
                | Operation::ValidateDeployment
                | Operation::ForetellDeployment
                | Operation::ExportResourceGroup
                | Operation::CheckNameAvailability,
            )
            | (&Method::GET | &Method::HEAD, _) => Self::Read,
            (
                _,
                Operation::DeleteTags
                | Operation::DeleteTagName
                | Operation::DeleteTagValue
                | Operation::DeletePolicyDefinition
                | Operation::DeletePolicySetDefinition
                | Operation::DeleteTagPack
                | Operation::PurgeDeleted,
            ) => Self::Remove,
            (&Method::DELETE, _) => Self::Delete,
            _ => Self::Write,
        }
    }
}

impl Locks {
    /// Takes in a lock as it is stored.
    pub fn add(&mut self, row: &Resource) -> Result<(), Failure> {
        let unreadable = || Failure::internal(format!("lock {} cannot be read", row.id));
        let id = ResourceId::parse(&row.id)?;
        let scope = id.parent().ok_or_else(unreadable)?;
        let properties = row.body.get("properties").and_then(Value::as_object).ok_or_else(unreadable)?.clone();
        let level = properties.get("level").and_then(Value::as_str).and_then(Level::read).ok_or_else(unreadable)?;
        self.by_scope.entry(scope.key().to_owned()).or_default().push(Lock { id, level, properties });
        Ok(())
    }

    /// Whether there is a lock with that key.
    pub fn has(&self, key: &str) -> bool {
        self.by_scope.values().flatten().any(|lock| lock.id.key() == key)
    }

    /// Forgets the lock with that key.
    pub fn remove(&mut self, key: &str) {
        self.by_scope.retain(|_, locks| {
            locks.retain(|lock| lock.id.key() != key);
            !locks.is_empty()
        });
    }

    /// The keys of all.
    pub fn keys(&self) -> impl Iterator<Item = String> {
        self.by_scope.values().flatten().map(|lock| lock.id.key().to_owned())
    }

    /// 409 when a lock at the target, above it, or (for a deletion) below it stands in the way.
    pub fn check(&self, intent: Intent, target: &ResourceId) -> Result<(), ArmError> {
        let Some(lock) = self.obstacle(intent, target) else { return Ok(()) };
        let operation = if intent == Intent::Write { "write" } else { "delete" };
        let scope = lock.id.parent().unwrap_or_else(ResourceId::tenant);
        let message = format!(
            "The scope '{target}' cannot perform {operation} operation because following scope(s) are locked: \
             '{scope}'. Please remove the lock '{}' ({}) and try again.",
            lock.id.name(),
            lock.level.word(),
        );
        Err(ArmError::new(409, "ScopeLocked", message))
    }

    fn obstacle(&self, intent: Intent, target: &ResourceId) -> Option<&Lock> {
        if intent == Intent::Read || self.by_scope.is_empty() {
            return None;
        }
        let forbids = |lock: &&Lock| intent != Intent::Write || lock.level == Level::ReadOnly;
        let mut above = Some(target.clone());
        while let Some(scope) = above {
            let found = self.by_scope.get(scope.key()).and_then(|locks| locks.iter().find(forbids));
            if found.is_some() {
                return found;
            }
            above = scope.parent();
        }
        if intent == Intent::Delete { self.below(target).next() } else { None }
    }

    /// The locks that hold a scope, each with whether it forbids every change: those on it and on what it is in.
    pub fn holding(&self, scope: &ResourceId) -> Vec<(&ResourceId, bool)> {
        let above = std::iter::successors(Some(scope.clone()), ResourceId::parent);
        let locks = above.filter_map(|scope| self.by_scope.get(scope.key())).flatten();
        locks.map(|lock| (&lock.id, lock.level == Level::ReadOnly)).collect()
    }

    fn below(&self, scope: &ResourceId) -> impl Iterator<Item = &Lock> {
        let prefix = scope.prefix();
        let below = self.by_scope.range(prefix.clone()..).take_while(move |(key, _)| key.starts_with(&prefix));
        below.flat_map(|(_, locks)| locks)
    }

    fn at(&self, scope: &ResourceId) -> impl Iterator<Item = &Lock> {
        self.by_scope.get(scope.key()).into_iter().flatten()
    }
}

impl Lock {
    fn answer(&self) -> Value {
        answer(&self.id, &self.properties)
    }
}

impl Level {
    fn read(text: &str) -> Option<Self> {
        [Self::CanNotDelete, Self::ReadOnly].into_iter().find(|level| level.word().eq_ignore_ascii_case(text))
    }

    fn word(self) -> &'static str {
        match self {
            Self::CanNotDelete => "CanNotDelete",
            Self::ReadOnly => "ReadOnly",
        }
    }
}

impl Front {
    /// GET of the locks at a scope and below; with `atScope()`, at the scope alone.
    pub(crate) async fn list_locks(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let scope = &request.matched.target;
        let filter = request.context.query_value("$filter").unwrap_or_default();
        let here_only = match filter.trim().to_ascii_lowercase().as_str() {
            "" => false,
            "atscope()" | "atexactscope()" => true,
            _ => {
                let message = "The $filter of a list of locks is atScope() or nothing.";
                return Err(ArmError::new(400, "InvalidFilterInQueryString", message).into());
            }
        };
        let rights = self.gatekeeper.rights(pass).await?;
        let locks = &rights.facts().locks;
        let mut found: Vec<&Lock> = locks.at(scope).collect();
        if !here_only {
            found.extend(locks.below(scope));
        }
        let found = found.into_iter().map(|lock| (lock.id.key().to_owned(), lock)).collect();
        page_of(request, found, |lock| lock.answer())
    }

    /// GET of one.
    pub(crate) async fn read_lock(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let id = &request.matched.target;
        match self.ledger.resource(pass, id).await? {
            Some(entry) => Ok(Reply::ok(answer(&entry.id, &entry.document.properties))),
            None => {
                let message = format!("The lock '{}' could not be found at this scope.", id.name());
                Err(ArmError::new(404, "LockNotFound", message).into())
            }
        }
    }

    /// PUT of one: 201 when it is new.
    pub(crate) async fn put_lock(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let id = &request.matched.target;
        if !(NameRule::GENERIC.accepts)(id.name()) {
            let rule = format!("Use {}.", NameRule::GENERIC.explanation);
            return Err(ArmError::invalid_resource_name(id.name(), LOCK, &rule).into());
        }
        let properties = asked_properties(request)?;
        let mut entries = Entries::default();
        let scope = self.standing_scope(pass, id, &mut entries).await?;
        if scope.is_tenant() {
            let message = "A lock hangs on a subscription, a resource group or a resource, not on the tenant.";
            return Err(ArmError::new(400, "InvalidLockScope", message).into());
        }
        let existing = self.ledger.resource(pass, id).await?;
        if let Some(entry) = existing.as_ref().filter(|entry| entry.document.properties == properties) {
            return Ok(Reply::ok(answer(&entry.id, &properties)));
        }
        entries.expect.push(match &existing {
            Some(entry) => entry.unchanged(),
            None => Expectation::ResourceAbsent(id.key().to_owned()),
        });
        let (id, incarnation) = match &existing {
            Some(entry) => (entry.id.clone(), entry.row.incarnation),
            None => (id.with_spelling_of(&scope), Uuid::new_v4()),
        };
        let document = Document { properties: properties.clone(), ..Document::default() };
        entries.changes = vec![Entry::put(&id, LOCK, incarnation, false, document, pass)?, Change::RaiseAccessEpoch];
        self.ledger.commit(request.context, pass, entries).await?;
        Ok(Reply::json(if existing.is_some() { 200 } else { 201 }, answer(&id, &properties)))
    }

    /// DELETE of one.
    pub(crate) async fn delete_lock(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let Some(entry) = self.ledger.resource(pass, &request.matched.target).await? else {
            return Ok(Reply::empty(StatusCode::NO_CONTENT));
        };
        self.ledger.commit(request.context, pass, Entries::withdrawing(&entry)).await?;
        Ok(Reply::empty(StatusCode::OK))
    }
}

fn answer(id: &ResourceId, properties: &Map<String, Value>) -> Value {
    json!({"id": id.to_string(), "name": id.name(), "type": LOCK, "properties": properties})
}

/// The properties of a body: the level in its one spelling, notes, owners.
fn asked_properties(request: &Request<'_>) -> Result<Map<String, Value>, ArmError> {
    let body = request.object()?;
    let asked = |name: &str| body.get("properties").and_then(|properties| properties.get(name));
    let Some(level) = asked("level").and_then(Value::as_str).and_then(Level::read) else {
        let message = "properties.level must be CanNotDelete or ReadOnly.";
        return Err(ArmError::invalid_parameter("properties.level", message));
    };
    let mut properties = Map::from_iter([("level".to_owned(), Value::from(level.word()))]);
    match asked("notes") {
        None | Some(Value::Null) => {}
        Some(Value::String(notes)) if notes.chars().count() <= MAX_NOTES => {
            properties.insert("notes".to_owned(), notes.clone().into());
        }
        Some(_) => {
            let message = format!("properties.notes must be a text of at most {MAX_NOTES} characters.");
            return Err(ArmError::invalid_parameter("properties.notes", message));
        }
    }
    match asked("owners") {
        None | Some(Value::Null) => {}
        Some(Value::Array(owners)) => {
            let ids = owners.iter().map(|owner| owner.get("applicationId").and_then(Value::as_str));
            let Some(ids) = ids.collect::<Option<Vec<_>>>().filter(|ids| ids.len() <= MAX_OWNERS) else {
                let message = format!("properties.owners must be at most {MAX_OWNERS} objects with an applicationId.");
                return Err(ArmError::invalid_parameter("properties.owners", message));
            };
            let owners: Vec<Value> = ids.into_iter().map(|id| json!({"applicationId": id})).collect();
            properties.insert("owners".to_owned(), owners.into());
        }
        Some(_) => {
            let message = "properties.owners must be a list of objects with an applicationId.";
            return Err(ArmError::invalid_parameter("properties.owners", message));
        }
    }
    Ok(properties)
}

/// Longest note, as the cloud has it.
const MAX_NOTES: usize = 512;

/// More owners than anybody notes down.
const MAX_OWNERS: usize = 100;
