//! The store as the front door sees it: nothing comes out, and nothing goes in, without a [`Pass`].
//!
//! A write carries its audit record and the access epoch of its pass into the one transaction, so neither can be
//! forgotten.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Document, Linked};
use bastide_store::{
    Change, Committed, Expectation, Record, RecordQuery, Resource, ResourcePut, ResourceQuery, Store, TagCount, Write,
};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::activity_log;
use crate::context::Context;
use crate::failure::Failure;
use crate::implied_rules;
use crate::network::Networks;
use crate::pass::Pass;
use crate::policy::Book;
use crate::registry::Registry;
use crate::rule_history;

/// The store behind its counter.
#[derive(Debug, Clone)]
pub struct Ledger {
    store: Store,
    networks: Networks,
    policies: Arc<Book>,
    registry: Registry,
    /// Keys of subscriptions that are known to be there.
    subscriptions: Arc<RwLock<HashSet<String>>>,
}

/// A resource that was read, with its body understood.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its id in canonical spelling.
    pub id: ResourceId,
    /// What is stored of it.
    pub document: Document,
    /// The row.
    pub row: Resource,
}

/// What to commit, beside the audit record and the epoch that the ledger adds.
#[derive(Debug, Default)]
pub struct Entries {
    /// What must hold.
    pub expect: Vec<Expectation>,
    /// What changes.
    pub changes: Vec<Change>,
}

impl Entries {
    /// What takes away something that decides access, as long as it is what was read.
    pub fn withdrawing(entry: &Entry) -> Self {
        Self {
            expect: vec![entry.unchanged()],
            changes: vec![Change::DeleteResource(entry.row.key.clone()), Change::RaiseAccessEpoch],
        }
    }
}

impl Ledger {
    /// A ledger over a store.
    pub(crate) fn new(store: Store, networks: Networks, policies: Arc<Book>, registry: Registry) -> Self {
        Self { store, networks, policies, registry, subscriptions: Arc::default() }
    }

    /// The resource of that id, if it is there. The pass must be for it or for something above it.
    pub async fn resource(&self, pass: &Pass, id: &ResourceId) -> Result<Option<Entry>, Failure> {
        check(pass, id)?;
        self.store.resource(id.key()).await?.map(Entry::read).transpose()
    }

    /// A resource beside the pass's scope: the group and parent that must stand, what a document links to, what links to
    /// it. It is shown to the rules, never to the caller as it is.
    pub async fn surrounding(&self, _pass: &Pass, id: &ResourceId) -> Result<Option<Entry>, Failure> {
        self.store.resource(id.key()).await?.map(Entry::read).transpose()
    }

    /// Resources beside the pass's scope, as [`Ledger::surrounding`].
    pub async fn surroundings(&self, _pass: &Pass, query: &ResourceQuery) -> Result<Vec<Entry>, Failure> {
        self.store.resources(query).await?.into_iter().map(Entry::read).collect()
    }

    /// As [`Ledger::surroundings`], every one of them.
    pub async fn every_surrounding(&self, _pass: &Pass, query: ResourceQuery) -> Result<Vec<Entry>, Failure> {
        self.store.every_resource(query).await?.into_iter().map(Entry::read).collect()
    }

    /// Whether a subscription is one of ours. Asked before anybody is authorised: an unknown subscription is 404 for
    /// everybody, as in ARM. Subscriptions never go, so one that was found once is not looked for again.
    pub async fn has_subscription(&self, id: &str) -> Result<bool, Failure> {
        let key = format!("/subscriptions/{}", id.to_ascii_lowercase());
        let known = |subscriptions: &HashSet<String>| subscriptions.contains(&key);
        if known(&self.subscriptions.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(true);
        }
        let is_there = self.store.resource_exists(&key).await?;
        if is_there {
            self.subscriptions.write().unwrap_or_else(PoisonError::into_inner).insert(key);
        }
        Ok(is_there)
    }

    /// A subscription, with its name.
    pub async fn subscription(&self, id: &str) -> Result<Option<Entry>, Failure> {
        let key = format!("/subscriptions/{}", id.to_ascii_lowercase());
        self.store.resource(&key).await?.map(Entry::read).transpose()
    }

    /// Resources below the pass's scope, in order of key.
    pub async fn resources(&self, pass: &Pass, query: &ResourceQuery) -> Result<Vec<Entry>, Failure> {
        check_below(pass, query)?;
        self.store.resources(query).await?.into_iter().map(Entry::read).collect()
    }

    /// Every resource below the pass's scope that a query is about, in order of key.
    pub async fn every_resource(&self, pass: &Pass, query: ResourceQuery) -> Result<Vec<Entry>, Failure> {
        check_below(pass, &query)?;
        self.store.every_resource(query).await?.into_iter().map(Entry::read).collect()
    }

    /// Tag names and values in use below the pass's scope.
    pub async fn tag_counts(&self, pass: &Pass) -> Result<Vec<TagCount>, Failure> {
        Ok(self.store.tag_counts(&pass.scope().prefix()).await?)
    }

    /// A record of the front door's own.
    pub async fn record(&self, context: &Context, kind: &str, key: &str) -> Result<Option<Record>, Failure> {
        Ok(self.store.record(kind, key, context.now).await?)
    }

    /// Records of the front door's own, in order of key.
    pub async fn records(&self, context: &Context, kind: &str, owner: &str) -> Result<Vec<Record>, Failure> {
        let query = RecordQuery {
            kind: kind.to_owned(),
            owner: Some(owner.to_owned()),
            now: context.now,
            after: None,
            limit: MAX_RECORDS,
        };
        Ok(self.store.records(&query).await?)
    }

    /// Commits under a pass: expectations, changes, the audit record and the pass's epoch in one transaction. Policies
    /// are asked here, so that no way of writing goes round them (mission.md A10).
    pub async fn commit(&self, context: &Context, pass: &Pass, entries: Entries) -> Result<Committed, Failure> {
        self.commit_granted(context, pass, &[], entries).await
    }

    /// As [`Ledger::commit`], with what else the writer had to be allowed: it goes on record with the write.
    pub async fn commit_granted(
        &self,
        context: &Context,
        pass: &Pass,
        granted: &[&'static str],
        entries: Entries,
    ) -> Result<Committed, Failure> {
        let notes = (!granted.is_empty()).then(|| ("granted".to_owned(), granted.into()));
        self.commit_noted(context, pass, notes.into_iter().collect(), entries).await
    }

    /// As [`Ledger::commit`], with what else goes on record with the write.
    pub async fn commit_noted(
        &self,
        context: &Context,
        pass: &Pass,
        notes: Map<String, Value>,
        entries: Entries,
    ) -> Result<Committed, Failure> {
        if !pass.is_for_writing() {
            return Err(Failure::internal("a write under a pass for a list"));
        }
        let Entries { mut expect, mut changes } = entries;
        let implied = implied_rules::of(&self.store, &self.registry, pass, &changes).await?;
        expect.extend(implied.expect);
        changes.extend(implied.changes);
        let by = &pass.principal().name;
        changes.extend(rule_history::records(&self.store, &changes, by, context.now).await?);
        expect.push(Expectation::AccessEpoch(pass.epoch()));
        let mut record = activity_log::record(context, pass.principal(), pass.action(), pass.scope());
        if let Some(fields) = record.as_object_mut() {
            fields.extend(activity_log::roles_given(&changes));
            fields.extend(notes);
        }
        let mut audit = vec![record];
        audit.extend(self.policies.judge(context, pass, &changes).await?);
        let touched = if self.networks.is_planned() { touched(&changes) } else { Vec::new() };
        let committed = self.store.commit(Write { at: context.now, expect, changes, audit }).await?;
        for id in touched {
            match id.namespace().eq_ignore_ascii_case("Bastide.Network") {
                // Rules of any hub may lead there.
                true => self.networks.touch_all(),
                false => self.networks.touch(&id),
            }
        }
        Ok(committed)
    }

    /// The store, for what is not a resource: operations, sealed secrets, readiness.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

impl Entry {
    /// Understands a row.
    pub fn read(row: Resource) -> Result<Self, Failure> {
        let unreadable = |what: String| Failure::internal(format!("resource {} cannot be read: {what}", row.id));
        let id = ResourceId::parse(&row.id).map_err(|error| unreadable(error.message.clone()))?;
        let mut document: Document =
            serde_json::from_value(row.body.clone()).map_err(|error| unreadable(error.to_string()))?;
        document.tags.clone_from(&row.tags);
        Ok(Self { id, document, row })
    }

    /// The write of a new document over (or as) a resource.
    pub fn put(
        id: &ResourceId,
        type_name: &str,
        incarnation: Uuid,
        listed: bool,
        document: Document,
        pass: &Pass,
    ) -> Result<Change, Failure> {
        let tags = document.tags.clone();
        let body = serde_json::to_value(&document).map_err(|error| Failure::internal(error.to_string()))?;
        Ok(Change::PutResource(ResourcePut {
            id: id.to_string(),
            type_name: type_name.to_owned(),
            incarnation,
            listed,
            tags,
            body,
            by: author(pass),
            by_type: pass.principal().kind.as_created_by_type().to_owned(),
        }))
    }

    /// What must hold for a write that read this entry.
    pub fn unchanged(&self) -> Expectation {
        Expectation::ResourceRevision { key: self.row.key.clone(), revision: self.row.revision }
    }

    /// What must hold for a write below this entry: it is still the same incarnation.
    pub fn stands(&self) -> Expectation {
        Expectation::ResourceIncarnation { key: self.row.key.clone(), incarnation: self.row.incarnation }
    }

    /// As an admission sees it.
    pub fn linked(&self) -> Linked {
        Linked { id: self.id.clone(), incarnation: self.row.incarnation, document: self.document.clone() }
    }
}

/// The resources that changes are about.
fn touched(changes: &[Change]) -> Vec<ResourceId> {
    let keys = changes.iter().filter_map(|change| match change {
        Change::PutResource(put) => Some(put.id.as_str()),
        Change::DeleteResource(key) => Some(key.as_str()),
        _ => None,
    });
    keys.filter_map(|key| ResourceId::parse(key).ok()).collect()
}

/// The name people read in `systemData.createdBy`.
fn author(pass: &Pass) -> String {
    let principal = pass.principal();
    match principal.app_id {
        Some(app_id) => app_id.to_string(),
        None => principal.name.clone(),
    }
}

fn check(pass: &Pass, id: &ResourceId) -> Result<(), Failure> {
    if id.is_within(pass.scope()) {
        return Ok(());
    }
    Err(Failure::internal(format!("{id} asked for under a pass for {}", pass.scope())))
}

fn check_below(pass: &Pass, query: &ResourceQuery) -> Result<(), Failure> {
    let prefix = query.prefix.as_deref().unwrap_or_default();
    if pass.scope().is_tenant() || prefix.starts_with(&pass.scope().prefix()) {
        return Ok(());
    }
    Err(Failure::internal(format!("a list of '{prefix}' under a pass for {}", pass.scope())))
}

/// More records of one kind and owner than this are nobody's.
const MAX_RECORDS: u32 = 5000;

/// 404 in ARM's order: the group before what is in it.
pub fn group_not_found(id: &ResourceId) -> ArmError {
    ArmError::resource_group_not_found(id.resource_group().unwrap_or_default())
}
