//! Deletion that can be taken back: what goes is kept under a resource of its own - `deletedWorkspaces`, `deletedVaults`,
//! `deletedAccounts` - until it is restored, purged, or its time is over (mission.md P7).
//!
//! What comes back is the same incarnation with the same identity and the same sealed secrets. Access does not: role
//! assignments and locks go with what they stood on, as anywhere in ARM, and whoever restores owns what is restored.

mod by_name;
mod restore;

pub(crate) use restore::refuse_recovery;

use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Document, SoftDelete};
use bastide_store::{Change, RecordQuery, ResourceQuery, Write};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::pass::Pass;
use crate::providers::deleted::{MEMBERS, PURGE_DATE, RESOURCE, Remains, TYPE_NAMES, place_of, remains};
use crate::request::Request;

/// One resource of a deletion, as it was.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    id: String,
    type_name: String,
    incarnation: Uuid,
    listed: bool,
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    tags: std::collections::BTreeMap<String, String>,
    document: Document,
    has_secrets: bool,
}

impl Front {
    /// Keeps what a deletion removes, as far as its type wants that. The secrets stay where they are, sealed for the
    /// incarnations that may come back.
    pub(crate) async fn keep(
        &self,
        pass: &Pass,
        now: Timestamp,
        gone: &[Entry],
        entries: &mut Entries,
    ) -> Result<(), Failure> {
        let Some(first) = gone.first() else { return Ok(()) };
        let rules = self.registry.find(&first.row.type_name, "")?.rules;
        let (Some(soft), Some(days)) = (rules.soft_delete(), rules.kept_days(&first.document)) else { return Ok(()) };
        let mut members = Vec::new();
        for entry in gone {
            let comes_back = self.registry.find(&entry.row.type_name, "").is_ok_and(|found| found.rules.comes_back());
            if !comes_back {
                continue;
            }
            // What is kept is what was read, and nothing that came after.
            entries.expect.push(entry.unchanged());
            let secrets = self.ledger.store().secrets(entry.row.incarnation).await?;
            members.push(Member {
                id: entry.id.to_string(),
                type_name: entry.row.type_name.clone(),
                incarnation: entry.row.incarnation,
                listed: entry.row.listed,
                tags: entry.document.tags.clone(),
                document: entry.document.clone(),
                has_secrets: !secrets.is_empty(),
            });
            // Behind the deletion of their resource, which takes them along.
            entries.changes.extend(secrets.into_iter().map(Change::PutSecret));
        }
        let kept = remains(&first.document, tombstone(first, &members, now, days)?);
        let id = place_of(soft.leaves, soft.placement, &first.id, first.row.incarnation)?;
        entries.changes.push(Entry::put(&id, soft.leaves, Uuid::new_v4(), false, kept, pass)?);
        entries.changes.push(Change::PutRecord {
            kind: KEPT.to_owned(),
            key: id.key().to_owned(),
            owner: Some(first.id.key().to_owned()),
            body: Value::Null,
            expires: None,
        });
        Ok(())
    }

    /// What is kept of the deletions of an id, the last one at the end.
    pub(crate) async fn kept_of(&self, pass: &Pass, id: &ResourceId) -> Result<Vec<Entry>, Failure> {
        let (kind, owner) = (KEPT.to_owned(), Some(id.key().to_owned()));
        let query = RecordQuery { kind, owner, now: self.clock.now(), after: None, limit: MAX_KEPT };
        let mut kept = Vec::new();
        for record in self.ledger.store().records(&query).await? {
            kept.extend(self.ledger.surrounding(pass, &ResourceId::parse(&record.key)?).await?);
        }
        kept.sort_by_key(|entry| entry.row.revision);
        Ok(kept)
    }

    /// Forgets for good what was kept of an id; how many deletions that were.
    pub(crate) async fn purge_kept_of(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        id: &ResourceId,
    ) -> Result<usize, Failure> {
        let kept = self.kept_of(pass, id).await?;
        self.purge(request, pass, &kept).await?;
        Ok(kept.len())
    }

    /// Forgets deletions for good.
    async fn purge(&self, request: &Request<'_>, pass: &Pass, kept: &[Entry]) -> Result<(), Failure> {
        let mut entries = Entries::default();
        for entry in kept {
            entries.expect.push(entry.unchanged());
            self.remove(entry, &mut entries)?;
        }
        if !kept.is_empty() {
            self.ledger.commit(request.context, pass, entries).await?;
        }
        Ok(())
    }

    /// Forgets for good what nobody has restored in its time.
    pub(crate) async fn purge_expired(&self) -> Result<(), Failure> {
        let now = self.clock.now();
        let types = TYPE_NAMES.map(str::to_owned).to_vec();
        let mut query = ResourceQuery { types, limit: MAX_KEPT, ..ResourceQuery::default() };
        loop {
            let page = self.ledger.store().resources(&query).await?;
            let rest_after = page.last().filter(|_| page.len() == MAX_KEPT as usize).map(|row| row.key.clone());
            for row in page {
                let entry = Entry::read(row)?;
                let until = until(&entry).parse::<Timestamp>().ok();
                if until.is_none_or(|until| until > now) {
                    continue;
                }
                let mut entries = Entries { expect: vec![entry.unchanged()], changes: Vec::new() };
                self.remove(&entry, &mut entries)?;
                let audit = json!({
                    "caller": "Bastide",
                    "action": format!("{}/delete", entry.row.type_name),
                    "scope": entry.id.to_string(),
                    "status": "Succeeded",
                });
                let write = Write { at: now, expect: entries.expect, changes: entries.changes, audit: vec![audit] };
                match self.ledger.store().commit(write).await.map_err(Failure::from) {
                    // Somebody restored or purged it just now.
                    Ok(_) | Err(Failure::Raced) => {}
                    Err(failure) => return Err(failure),
                }
            }
            match rest_after {
                Some(after) => query.after = Some(after),
                None => return Ok(()),
            }
        }
    }
}

/// What else must be forgotten when a kept deletion goes for good.
pub(crate) fn forget(kept: &Entry) -> Vec<Change> {
    if !TYPE_NAMES.iter().any(|name| kept.row.type_name.eq_ignore_ascii_case(name)) {
        return Vec::new();
    }
    let secretive = members(kept).unwrap_or_default().into_iter().filter(|member| member.has_secrets);
    let forgotten = secretive.map(|member| Change::DeleteSecrets(member.incarnation));
    forgotten.chain([Change::DeleteRecord { kind: KEPT.to_owned(), key: kept.row.key.clone() }]).collect()
}

/// Whether a DELETE wants its resource gone for good, and its type leaves that to whoever deletes.
pub(crate) fn is_forced(soft: Option<&SoftDelete>, request: &Request<'_>) -> bool {
    let asked = soft.and_then(|soft| soft.forced_by).and_then(|name| request.context.query_value(name));
    asked.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn tombstone(first: &Entry, members: &[Member], now: Timestamp, days: u32) -> Result<Map<String, Value>, Failure> {
    let days = days.min(MAX_DAYS);
    let until = now.checked_add(SignedDuration::from_hours(i64::from(days) * 24)).unwrap_or(Timestamp::MAX);
    let members = serde_json::to_value(members).map_err(|error| Failure::internal(error.to_string()))?;
    let properties = [
        ("incarnation", json!(first.row.incarnation)),
        (RESOURCE, first.id.to_string().into()),
        ("location", json!(first.document.location)),
        ("deletionDate", now.to_string().into()),
        (PURGE_DATE, until.to_string().into()),
        (MEMBERS, members),
    ];
    Ok(properties.map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
}

fn members(kept: &Entry) -> Result<Vec<Member>, Failure> {
    let members = kept.document.properties.get(MEMBERS).cloned().unwrap_or_default();
    serde_json::from_value(members).map_err(|error| Failure::internal(format!("{} cannot be read: {error}", kept.id)))
}

/// Until when something is kept.
fn until(kept: &Entry) -> &str {
    kept.document.properties.get(PURGE_DATE).and_then(Value::as_str).unwrap_or_default()
}

/// Id under which something stood.
fn stood_at(kept: &Entry) -> Result<ResourceId, Failure> {
    Ok(ResourceId::parse(Remains(&kept.document.properties).resource())?)
}

/// Kind of the records that find what is kept of an id, one a deletion.
const KEPT: &str = "deleted-resource";

/// Ten years.
const MAX_DAYS: u32 = 3650;

/// Deletions read at a time; of one name, more than these are found in the list alone.
const MAX_KEPT: u32 = 100;
