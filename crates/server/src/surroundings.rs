//! What a type's rules see around a resource: its parts, what it links to, what links to it.
//!
//! Links are kept in an index, one record a link under the key of what it points at, written in the same transaction as
//! the resource that holds it. That is what tells a hub its projects, and a storage account who would miss it.

use std::collections::BTreeMap;

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Document, Link, Linked, PartChange};
use bastide_store::{Change, Expectation, Record, RecordQuery, ResourceQuery};
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use crate::context::Context;
use crate::failure::Failure;
use crate::front::Front;
use crate::identities;
use crate::ledger::{Entries, Entry};
use crate::pass::Pass;
use crate::registry::Registered;

/// What stands around a resource, as far as its type asks.
#[derive(Debug, Default)]
pub(crate) struct Around {
    /// Children that are parts of it, in order of name.
    pub parts: Vec<Linked>,
    /// Their rows, by key.
    pub part_rows: BTreeMap<String, Entry>,
    /// What links to it.
    pub referrers: Vec<Linked>,
    /// What it links to, by lower-cased id.
    pub linked: BTreeMap<String, Linked>,
}

impl Around {
    /// What must hold for a write that has judged all parts: none has come or gone.
    pub(crate) fn same_parts(&self, registered: &Registered, id: &ResourceId) -> Vec<Expectation> {
        let kinds = registered.rules.descriptor().surroundings.parts;
        let expectation = |kind: &&str| {
            let prefix = format!("{}{}/", id.prefix(), kind.to_ascii_lowercase());
            let count = self.part_rows.keys().filter(|key| key.starts_with(&prefix)).count();
            Expectation::CountBelow { prefix, count: i64::try_from(count).unwrap_or(i64::MAX) }
        };
        kinds.iter().map(expectation).collect()
    }
}

impl Front {
    /// What stands around a resource that is there. The rules decide what of it is shown.
    pub(crate) async fn around(
        &self,
        context: &Context,
        pass: &Pass,
        registered: &Registered,
        entry: &Entry,
    ) -> Result<Around, Failure> {
        let wanted = registered.rules.descriptor().surroundings;
        let mut around = Around::default();
        for kind in wanted.parts {
            for part in self.parts(pass, registered, &entry.id, kind).await? {
                around.parts.push(part.linked());
                around.part_rows.insert(part.row.key.clone(), part);
            }
        }
        if wanted.referrers {
            for referrer in self.referrers(context.now, &entry.id).await? {
                around.referrers.push(referrer.linked());
            }
        }
        if wanted.linked {
            for link in registered.rules.links(&entry.document)? {
                if let Some(linked) = self.ledger.surrounding(pass, &link.id).await? {
                    around.linked.insert(link.id.key().to_owned(), linked.linked());
                }
            }
        }
        Ok(around)
    }

    /// What links to a resource. The rules decide what of it is shown.
    pub(crate) async fn referrers(&self, now: Timestamp, id: &ResourceId) -> Result<Vec<Entry>, Failure> {
        let (kind, owner) = (LINK.to_owned(), Some(id.key().to_owned()));
        let query = RecordQuery { kind, owner, now, after: None, limit: MAX_REFERRERS };
        let records = self.ledger.store().records(&query).await?;
        let keys: Vec<&str> = records.iter().filter_map(|record| linking(record, id.key())).collect();
        self.ledger.store().resources_at(&keys).await?.into_iter().map(Entry::read).collect()
    }

    /// What must hold for a deletion that has seen who links to a resource: nobody new has come.
    pub(crate) async fn nobody_new_links(&self, now: Timestamp, id: &ResourceId) -> Result<Expectation, Failure> {
        let (kind, key) = (LAST_LINK.to_owned(), id.key().to_owned());
        Ok(match self.ledger.store().record(LAST_LINK, id.key(), now).await? {
            Some(record) => Expectation::RecordRevision { kind, key, revision: record.revision },
            None => Expectation::RecordAbsent { kind, key },
        })
    }

    /// Checks that the caller may use each linked resource, and loads those that exist. A link that stood before was
    /// authorised when it was made; what stays as it is needs no right anew.
    pub(crate) async fn linked(
        &self,
        pass: &Pass,
        links: &[Link],
        before: &[Link],
        expect: &mut Vec<Expectation>,
    ) -> Result<BTreeMap<String, Linked>, Failure> {
        let mut linked = BTreeMap::new();
        for link in links {
            if link.foreign && !self.is_known(&link.id).await? {
                continue;
            }
            let stood = before.iter().any(|old| old.id == link.id && old.action == link.action);
            let found = if stood {
                self.ledger.surrounding(pass, &link.id).await?
            } else {
                let over_there = self.gatekeeper.authorise_linked(pass, &link.action, &link.id).await?;
                expect.push(Expectation::AccessEpoch(over_there.epoch()));
                self.ledger.resource(&over_there, &link.id).await?
            };
            match found {
                Some(entry) => {
                    expect.push(entry.stands());
                    linked.insert(link.id.key().to_owned(), entry.linked());
                }
                // What has gone since it was linked does not stand in the way of other changes.
                None if link.required && !stood => {
                    let message = format!(
                        "{} names '{}', which does not exist. Create it first, or correct the id.",
                        link.target, link.id
                    );
                    let error = ArmError::new(400, "LinkedResourceNotFound", message);
                    return Err(error.with_target(link.target.clone()).into());
                }
                None => {}
            }
        }
        Ok(linked)
    }

    async fn is_known(&self, id: &ResourceId) -> Result<bool, Failure> {
        match id.subscription_id() {
            Some(subscription) => self.ledger.has_subscription(subscription).await,
            None => Ok(true),
        }
    }

    /// The writes of what stands and falls with a resource elsewhere, when its document changes from one to another.
    pub(crate) async fn dependant_changes(
        &self,
        pass: &Pass,
        registered: &Registered,
        before: Option<&Document>,
        after: Option<&Document>,
        entries: &mut Entries,
    ) -> Result<(), Failure> {
        let of = |document: Option<&Document>| document.map(|document| registered.rules.dependants(document));
        let (before, after) = (of(before).unwrap_or_default(), of(after).unwrap_or_default());
        for (id, _) in before.iter().filter(|(id, _)| after.iter().all(|(kept, _)| kept != id)) {
            if let Some(entry) = self.ledger.surrounding(pass, id).await? {
                entries.expect.push(entry.unchanged());
                self.remove(&entry, entries)?;
            }
        }
        for (id, document) in after {
            let Some(parent) = id.parent() else { continue };
            // What it would stand in has gone; it comes with the next change that finds that again.
            let Some(parent) = self.ledger.surrounding(pass, &parent).await? else { continue };
            let stands = self.ledger.surrounding(pass, &id).await?;
            if stands.as_ref().is_some_and(|stands| stands.document == document) {
                continue;
            }
            let child_type = self.registry.find(&id.type_name(), "")?;
            entries.expect.push(parent.stands());
            entries.expect.push(match &stands {
                Some(stands) => stands.unchanged(),
                None => Expectation::ResourceAbsent(id.key().to_owned()),
            });
            let incarnation = stands.as_ref().map_or_else(Uuid::new_v4, |stands| stands.row.incarnation);
            let before = stands.as_ref().map(|stands| &stands.document);
            entries.changes.extend(link_changes(&child_type, &id, before, Some(&document))?);
            entries.changes.push(Entry::put(&id, &child_type.name, incarnation, false, document, pass)?);
        }
        Ok(())
    }

    /// The writes of what an admission changed of a resource's parts. `stands` are those there are; a resource that is new
    /// has none, and no other write can give it one before it is there.
    pub(crate) fn part_changes(
        &self,
        pass: &Pass,
        parent: (&Registered, &ResourceId),
        stands: Option<&BTreeMap<String, Entry>>,
        parts: Vec<PartChange>,
        entries: &mut Entries,
    ) -> Result<(), Failure> {
        let (registered, id) = parent;
        for part in parts {
            let (kind, name) = match &part {
                PartChange::Put { kind, name, .. } | PartChange::Delete { kind, name } => (*kind, name.as_str()),
            };
            let child = id.child(kind, name)?;
            let child_type = self.registry.find(&format!("{}/{kind}", registered.name), "")?;
            let there = stands.and_then(|stands| stands.get(child.key()));
            match (part, there) {
                (PartChange::Put { document, .. }, Some(entry)) if entry.document == *document => {}
                (PartChange::Put { document, .. }, there) => {
                    let incarnation = there.map_or_else(Uuid::new_v4, |entry| entry.row.incarnation);
                    if stands.is_some() {
                        entries.expect.push(match there {
                            Some(entry) => entry.unchanged(),
                            None => Expectation::ResourceAbsent(child.key().to_owned()),
                        });
                    }
                    let child = there.map_or(child, |entry| entry.id.clone());
                    let before = there.map(|entry| &entry.document);
                    entries.changes.extend(link_changes(&child_type, &child, before, Some(&document))?);
                    entries.changes.push(Entry::put(&child, &child_type.name, incarnation, false, *document, pass)?);
                }
                (PartChange::Delete { .. }, Some(entry)) => {
                    entries.expect.push(entry.unchanged());
                    self.remove(entry, entries)?;
                }
                (PartChange::Delete { .. }, None) => {}
            }
        }
        Ok(())
    }

    async fn parts(
        &self,
        pass: &Pass,
        registered: &Registered,
        id: &ResourceId,
        kind: &str,
    ) -> Result<Vec<Entry>, Failure> {
        let query = ResourceQuery {
            prefix: Some(format!("{}{}/", id.prefix(), kind.to_ascii_lowercase())),
            types: vec![format!("{}/{kind}", registered.name)],
            ..ResourceQuery::default()
        };
        self.ledger.every_resource(pass, query).await
    }
}

/// What the index of links must learn when a resource's document changes from one to another.
pub(crate) fn link_changes(
    registered: &Registered,
    id: &ResourceId,
    before: Option<&Document>,
    after: Option<&Document>,
) -> Result<Vec<Change>, ArmError> {
    let links = |document: Option<&Document>| match document {
        Some(document) => {
            let mut links = registered.rules.links(document)?;
            links.extend(identities::links_of(document.identity.as_ref())?);
            Ok(links)
        }
        None => Ok(Vec::new()),
    };
    let (before, after) = (links(before)?, links(after)?);
    let gone = before.iter().filter(|link| after.iter().all(|kept| kept.id != link.id));
    let new = after.iter().filter(|link| before.iter().all(|old| old.id != link.id));
    let removals =
        gone.map(|link| Change::DeleteRecord { kind: LINK.to_owned(), key: link_key(link.id.key(), id.key()) });
    let record = |kind: &str, key: String, link: &Link| Change::PutRecord {
        kind: kind.to_owned(),
        key,
        owner: Some(link.id.key().to_owned()),
        body: json!({"from": link.target}),
        expires: None,
    };
    let additions = new.flat_map(|link| {
        let made = record(LINK, link_key(link.id.key(), id.key()), link);
        [made, record(LAST_LINK, link.id.key().to_owned(), link)]
    });
    Ok(removals.chain(additions).collect())
}

/// The key of what links to a target, from a record of the index.
pub(crate) fn linking<'a>(record: &'a Record, target: &str) -> Option<&'a str> {
    record.key.strip_prefix(&link_key(target, ""))
}

/// A blank cannot stand in an id, so the two ids stay apart.
fn link_key(target: &str, source: &str) -> String {
    format!("{target} {source}")
}

/// Kind of the records that index links.
pub(crate) const LINK: &str = "link";

/// More than this do not link to one resource.
const MAX_REFERRERS: u32 = 5000;

/// Kind of the records that change whenever something new links to a resource, one record a target.
const LAST_LINK: &str = "lastLink";
