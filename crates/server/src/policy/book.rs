//! All policies, compiled, as of an access epoch; and what they say about what is to be written.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use bastide_access::policy::{
    Assignment, Catalogue, Change as Adjusted, Definition, Exemption, Finding, Initiative, Policies, PolicyError,
    Target,
};
use bastide_arm::envelope::Envelope;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::Document;
use bastide_store::{Change, ResourcePut, ResourceQuery, Store};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::sight::{Asking, Seen, Sights};
use super::{ASSIGNMENT, DEFINITION, EXEMPTION, SET_DEFINITION, TYPES, disallowed};
use crate::activity_log;
use crate::context::Context;
use crate::failure::Failure;
use crate::ledger::Entry;
use crate::pass::{Pass, ROLE_ASSIGNMENT};
use crate::providers::resource_group;
use crate::registry::Registry;
use crate::request::Request;

/// The policies there are.
pub(crate) struct Book {
    pub(super) store: Store,
    pub(super) registry: Registry,
    pub(super) zone: String,
    pub(super) tenant_id: Uuid,
    current: RwLock<Option<Arc<Edition>>>,
    /// Held while an edition is read.
    reading: Mutex<()>,
}

/// The policies at one access epoch.
pub(super) struct Edition {
    epoch: i64,
    pub(super) catalogue: Catalogue,
    pub(super) policies: Policies,
    /// What they were compiled from.
    pub(super) entries: Vec<Entry>,
}

impl fmt::Debug for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Book").finish_non_exhaustive()
    }
}

impl Book {
    /// A book over a store.
    pub(crate) fn new(store: Store, registry: Registry, zone: &str, tenant_id: Uuid) -> Self {
        let (current, reading) = (RwLock::new(None), Mutex::new(()));
        Self { store, registry, zone: zone.to_owned(), tenant_id, current, reading }
    }

    /// What policies say about changes that are to be committed: a refusal, or what is to be put on record.
    ///
    /// Changes of policies raise the access epoch, so one that comes after this question stops the commit.
    pub(crate) async fn judge(
        &self,
        context: &Context,
        pass: &Pass,
        changes: &[Change],
    ) -> Result<Vec<Value>, Failure> {
        let edition = self.edition(pass.epoch()).await?;
        // A deletion may leave notes behind; no policy keeps anything from going.
        if edition.policies.is_empty() || is_deletion(pass) {
            return Ok(Vec::new());
        }
        let asking = Asking::of(context, pass);
        let sights = Sights::new(self, changes);
        let mut audits = Vec::new();
        let written = changes.iter().filter_map(|change| match change {
            Change::PutResource(put) if is_governed(put, pass) => Some(put),
            _ => None,
        });
        let mut written: Vec<&ResourcePut> = written.collect();
        // What was asked for first, then what is made with it.
        written.sort_by_key(|put| !put.id.eq_ignore_ascii_case(pass.scope().key()));
        for put in written {
            let seen = Seen::written(put)?;
            let sight = sights.of(&seen, &asking).await?;
            let judgement = edition.policies.judge(&sight.subject());
            if !judgement.denials.is_empty() {
                return Err(disallowed(&seen.id, &judgement.denials).into());
            }
            if !judgement.audits.is_empty() {
                audits.push(audit(context, pass, &seen.id, &judgement.audits));
            }
        }
        Ok(audits)
    }

    /// Changes what is asked for as policies want it, before the rules of its type decide.
    pub(crate) async fn adjust(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        id: &ResourceId,
        envelope: &Envelope,
        document: &mut Document,
    ) -> Result<(), Failure> {
        let edition = self.edition(pass.epoch()).await?;
        if edition.policies.is_empty() {
            return Ok(());
        }
        let seen = Seen::asked(id, document);
        let mut sight = Sights::new(self, &[]).of(&seen, &Asking::of(request.context, pass)).await?;
        if let (Some(identity), Some(resource)) = (&envelope.identity, sight.resource.as_object_mut()) {
            let word = match (identity.system_assigned, identity.user_assigned.is_empty()) {
                (true, true) => "SystemAssigned",
                (true, false) => "SystemAssigned,UserAssigned",
                (false, false) => "UserAssigned",
                (false, true) => "None",
            };
            resource.insert("identity".to_owned(), json!({"type": word}));
        }
        let adjustment = edition.policies.adjust(&sight.subject());
        if !adjustment.refusals.is_empty() {
            return Err(disallowed(id, &adjustment.refusals).into());
        }
        for change in adjustment.changes {
            apply(change, document);
        }
        Ok(())
    }

    /// The policies at an epoch, or at a later one.
    pub(super) async fn edition(&self, epoch: i64) -> Result<Arc<Edition>, Failure> {
        if let Some(edition) = self.current(epoch) {
            return Ok(edition);
        }
        // One reads, the others wait for what it finds.
        let _reading = self.reading.lock().await;
        // The epoch is read before the policies are: an edition may be newer than it says, never older.
        let epoch = self.store.access_epoch().await?;
        if let Some(edition) = self.current(epoch) {
            return Ok(edition);
        }
        let edition = Arc::new(Edition::read(&self.store, epoch).await?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&edition));
        Ok(edition)
    }

    fn current(&self, epoch: i64) -> Option<Arc<Edition>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().filter(|edition| edition.epoch >= epoch).cloned()
    }
}

impl Edition {
    async fn read(store: &Store, epoch: i64) -> Result<Self, Failure> {
        let mut query =
            ResourceQuery { types: TYPES.map(str::to_owned).to_vec(), limit: 1000, ..ResourceQuery::default() };
        let mut entries = Vec::new();
        loop {
            let page = store.resources(&query).await?;
            query.after = page.last().filter(|_| page.len() == 1000).map(|last| last.key.clone());
            for row in page {
                entries.push(Entry::read(row)?);
            }
            if query.after.is_none() {
                break;
            }
        }
        let catalogue = catalogue(&entries, None).map_err(|(id, error)| unreadable(&id, &error))?;
        let (mut assignments, mut exemptions) = (Vec::new(), Vec::new());
        for entry in &entries {
            let understood = match entry.row.type_name.as_str() {
                ASSIGNMENT => read_assignment(entry).map(|read| assignments.push(read)),
                EXEMPTION => read_exemption(entry).map(|read| exemptions.push(read)),
                _ => Ok(()),
            };
            // One that is passed over would no longer forbid what it forbids.
            understood.map_err(|error| unreadable(&entry.row.id, &error))?;
        }
        let policies =
            Policies::compile(&catalogue, assignments, exemptions).map_err(|(id, error)| unreadable(&id, &error))?;
        Ok(Self { epoch, catalogue, policies, entries })
    }

    /// The entry of that id.
    pub(super) fn entry(&self, id: &ResourceId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.row.key == id.key())
    }

    /// The entries of a type.
    pub(super) fn of_type(&self, type_name: &'static str) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.row.type_name == type_name)
    }

    /// Whether everything that stands still can when a definition or initiative is replaced, or goes.
    pub(super) fn without(&self, key: &str, replacement: Option<&Entry>) -> Result<(), (String, PolicyError)> {
        let rest = self.entries.iter().filter(|entry| entry.row.key != key).chain(replacement);
        let rest: Vec<Entry> = rest.cloned().collect();
        let catalogue = catalogue(&rest, Some(key))?;
        for entry in rest.iter().filter(|entry| entry.row.type_name == ASSIGNMENT) {
            let at = |error| (entry.row.id.clone(), error);
            catalogue.check_assignment(&read_assignment(entry).map_err(at)?).map_err(at)?;
        }
        Ok(())
    }
}

/// The definitions and initiatives among entries. Initiatives are checked where `key` has changed.
fn catalogue(entries: &[Entry], changed: Option<&str>) -> Result<Catalogue, (String, PolicyError)> {
    let mut catalogue = Catalogue::default();
    for entry in entries {
        let (id, properties) = (entry.id.to_string(), &entry.document.properties);
        let at = |error| (entry.row.id.clone(), error);
        match entry.row.type_name.as_str() {
            DEFINITION => catalogue.define(Definition::read(&id, properties).map_err(at)?),
            SET_DEFINITION => catalogue.define_initiative(Initiative::read(&id, properties).map_err(at)?),
            _ => {}
        }
    }
    if changed.is_some() {
        for entry in entries.iter().filter(|entry| entry.row.type_name == SET_DEFINITION) {
            if let Some(initiative) = catalogue.initiative(&entry.row.key) {
                catalogue.check_initiative(initiative).map_err(|error| (entry.row.id.clone(), error))?;
            }
        }
    }
    Ok(catalogue)
}

pub(super) fn read_assignment(entry: &Entry) -> Result<Assignment, PolicyError> {
    let scope = entry.id.parent().unwrap_or_else(ResourceId::tenant);
    Assignment::read(&entry.id.to_string(), &scope.to_string(), &entry.document.properties)
}

pub(super) fn read_exemption(entry: &Entry) -> Result<Exemption, PolicyError> {
    let scope = entry.id.parent().unwrap_or_else(ResourceId::tenant);
    Exemption::read(&entry.id.to_string(), &scope.to_string(), &entry.document.properties)
}

fn unreadable(id: &str, error: &PolicyError) -> Failure {
    Failure::internal(format!("policy {id} does not compile: {error}"))
}

/// Tags are deleted from something that stays.
fn is_deletion(pass: &Pass) -> bool {
    let action = pass.action().to_ascii_lowercase();
    action.ends_with("/delete") && action != "microsoft.resources/tags/delete"
}

/// Whether policies are asked about a write. They are not asked about themselves, or nobody could take a bad one back;
/// about the records of deployments, whose steps are asked about one by one; nor about what the server adds to a request
/// of its own accord.
fn is_governed(put: &ResourcePut, pass: &Pass) -> bool {
    let is = |type_name: &str| put.type_name.eq_ignore_ascii_case(type_name);
    if super::decides(&put.type_name)
        || put.type_name.to_ascii_lowercase().starts_with("microsoft.resources/deployments")
    {
        return false;
    }
    if is(ROLE_ASSIGNMENT) {
        // Whoever creates a hub owns it.
        return pass.action().to_ascii_lowercase().starts_with(&ROLE_ASSIGNMENT.to_ascii_lowercase());
    }
    let properties = put.body.get("properties").and_then(Value::as_object);
    !(is(resource_group::TYPE_NAME) && properties.is_some_and(resource_group::is_deleting))
}

/// The record of a write that policies with the effect audit have seen.
fn audit(context: &Context, pass: &Pass, id: &ResourceId, findings: &[Finding<'_>]) -> Value {
    let mut record =
        activity_log::record(context, pass.principal(), "Microsoft.Authorization/policies/audit/action", id);
    if let Some(fields) = record.as_object_mut() {
        fields.insert("policies".to_owned(), findings.iter().map(Finding::identifiers).collect());
    }
    record
}

/// Makes a change that a policy wants.
pub(super) fn apply(change: Adjusted, document: &mut Document) {
    match (change.target, change.value) {
        (Target::Tag(name), value) => {
            document.tags.retain(|known, _| !known.eq_ignore_ascii_case(&name));
            if let Some(Value::String(text)) = value {
                document.tags.insert(name, text);
            }
        }
        (Target::Property(path), Some(value)) => {
            if let Some(place) = place(document, &path) {
                *place = value;
            }
        }
        (Target::List(path), Some(value)) => {
            if let Some(place) = place(document, &path) {
                match place {
                    Value::Array(items) => items.push(value),
                    other => *other = json!([value]),
                }
            }
        }
        (Target::Property(path), None) => {
            if let Some((last, above)) = path.split_last()
                && let Some(Value::Object(members)) = place(document, above)
            {
                members.retain(|known, _| !known.eq_ignore_ascii_case(last));
            }
        }
        (Target::List(_), None) => {}
    }
}

/// The place a path leads to, made where it is not there.
fn place<'a>(document: &'a mut Document, path: &[String]) -> Option<&'a mut Value> {
    let (first, rest) = path.split_first()?;
    let (mut at, rest) = match first.as_str() {
        "properties" => {
            let (next, rest) = rest.split_first()?;
            (member(&mut document.properties, next), rest)
        }
        "sku" => (document.sku.get_or_insert_with(|| json!({})), rest),
        _ => return None,
    };
    for name in rest {
        if !at.is_object() {
            *at = json!({});
        }
        at = member(at.as_object_mut()?, name);
    }
    Some(at)
}

/// The member of that name in any case, made where it is not there.
fn member<'a>(members: &'a mut Map<String, Value>, name: &str) -> &'a mut Value {
    let known = members.keys().find(|known| known.eq_ignore_ascii_case(name)).cloned();
    members.entry(known.unwrap_or_else(|| name.to_owned())).or_insert(Value::Null)
}
