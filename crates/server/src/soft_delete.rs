//! Deletion that can be taken back: what goes is kept under a `deletedWorkspaces` resource in the same group until it is
//! restored, purged, or its time is over (mission.md P7).
//!
//! What comes back is the same incarnation with the same identity and the same sealed secrets. Access does not: role
//! assignments and locks go with what they stood on, as anywhere in ARM, and whoever restores owns what is restored.

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Document, Effect, Link, Parity};
use bastide_hub::deleted_workspace::{MEMBERS, TYPE_NAME};
use bastide_store::{Change, Expectation, RecordQuery, ResourceQuery, Write};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;
use crate::surroundings::link_changes;

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
    /// Keeps what a deletion removes. The secrets stay where they are, sealed for the incarnations that may come back.
    pub(crate) async fn keep(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        gone: &[Entry],
        days: u32,
        entries: &mut Entries,
    ) -> Result<(), Failure> {
        let Some(first) = gone.first() else { return Ok(()) };
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
        let kept = tombstone(first, &members, request.context.now, days)?;
        let id = place_of(&first.id, first.row.incarnation)?;
        entries.changes.push(Entry::put(&id, TYPE_NAME, Uuid::new_v4(), false, kept, pass)?);
        entries.changes.push(Change::PutRecord {
            kind: KEPT.to_owned(),
            key: id.key().to_owned(),
            owner: Some(first.id.key().to_owned()),
            body: Value::Null,
            expires: None,
        });
        Ok(())
    }

    /// POST of restore on a deleted workspace.
    pub(crate) async fn restore_resource(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let text = format!("{}/providers/{TYPE_NAME}/{}", request.matched.target, request.matched.value(0));
        let id = ResourceId::parse(&text)?;
        let kept = self.ledger.resource(pass, &id).await?.ok_or_else(|| ArmError::resource_not_found(&id))?;
        let restored = self.restore(request, pass, &kept).await?;
        let registered = self.registry.find(&restored.type_name(), "")?;
        let there = self.gatekeeper.authorise_holder(pass, &format!("{}/read", registered.name), &restored).await?;
        let entry = self.ledger.resource(&there, &restored).await?;
        let entry = entry.ok_or_else(|| ArmError::resource_not_found(&restored))?;
        Ok(Reply::ok(self.wire_form(request, &there, &registered, &entry).await?))
    }

    /// Brings everything of a deletion back in one transaction, or says what is in the way.
    pub(crate) async fn restore(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        kept: &Entry,
    ) -> Result<ResourceId, Failure> {
        let members = members(kept)?;
        let mut entries = Entries { expect: vec![kept.unchanged()], changes: Vec::new() };
        for member in &members {
            let id = ResourceId::parse(&member.id)?;
            let registered = self.registry.find(&member.type_name, "")?;
            if !registered.rules.descriptor().is_child() {
                let over_there =
                    self.gatekeeper.authorise_linked(pass, &format!("{}/write", registered.name), &id).await?;
                self.check_way_back(
                    &over_there,
                    &registered.rules.links(&member.document)?,
                    &members,
                    &id,
                    &mut entries,
                )
                .await?;
                self.creator_owns(request, &over_there, &id, member.document.kind.as_deref(), &mut entries).await?;
                self.identity_administers(request, &id, None, &member.document, &mut entries.changes)?;
            }
            entries.expect.push(Expectation::ResourceAbsent(id.key().to_owned()));
            let system = member.document.identity.as_ref().and_then(|identity| identity.system);
            let effects = system.map(|principal| Effect::CreatePrincipal { principal, name: id.name().to_owned() });
            self.apply_effects(member.incarnation, &id, effects.into_iter().collect(), &mut entries.changes)?;
            entries.changes.extend(link_changes(&registered, &id, None, Some(&member.document))?);
            let is_member = |id: &ResourceId| members.iter().any(|member| member.id.eq_ignore_ascii_case(id.key()));
            if registered.rules.dependants(&member.document).iter().any(|(id, _)| !is_member(id)) {
                self.dependant_changes(pass, &registered, None, Some(&member.document), &mut entries).await?;
            }
            let document = Document { tags: member.tags.clone(), ..member.document.clone() };
            entries.changes.push(Entry::put(&id, &registered.name, member.incarnation, member.listed, document, pass)?);
        }
        entries.changes.push(Change::DeleteResource(kept.row.key.clone()));
        entries.changes.push(Change::DeleteRecord { kind: KEPT.to_owned(), key: kept.row.key.clone() });
        self.ledger.commit(request.context, pass, entries).await?;
        let first = members.first().map(|member| member.id.as_str()).unwrap_or_default();
        Ok(ResourceId::parse(first)?)
    }

    /// What a PUT of a name meets that was deleted before: the restored resource where the body allows that, else what the
    /// caller has to know. Strict parity has no second resource of that name.
    pub(crate) async fn recovered(
        &self,
        request: &Request<'_>,
        pass: &Pass,
    ) -> Result<(Option<Entry>, Vec<String>), Failure> {
        let id = &request.matched.target;
        let Some(kept) = self.kept_of(pass, id).await?.pop() else { return Ok((None, Vec::new())) };
        let asked = request.body.and_then(|body| body.pointer("/properties/allowRecoverSoftDeletedWorkspace"));
        let is_wanted = asked.is_some_and(|asked| {
            asked.as_bool() == Some(true) || asked.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true"))
        });
        if is_wanted {
            self.restore(request, pass, &kept).await?;
            return Ok((self.ledger.resource(pass, id).await?, Vec::new()));
        }
        if request.parity == Parity::Strict {
            return Err(taken(&kept).into());
        }
        Ok((None, vec![notice(&kept)]))
    }

    /// The deleted workspaces that stood under an id, the one that was deleted last at the end.
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
        let mut entries = Entries::default();
        for entry in &kept {
            entries.expect.push(entry.unchanged());
            self.remove(entry, &mut entries)?;
        }
        if !kept.is_empty() {
            self.ledger.commit(request.context, pass, entries).await?;
        }
        Ok(kept.len())
    }

    /// Forgets for good what nobody has restored in its time.
    pub(crate) async fn purge_expired(&self) -> Result<(), Failure> {
        let now = self.clock.now();
        let mut query =
            ResourceQuery { types: vec![TYPE_NAME.to_owned()], limit: MAX_KEPT, ..ResourceQuery::default() };
        loop {
            let page = self.ledger.store().resources(&query).await?;
            let rest_after = page.last().filter(|_| page.len() == MAX_KEPT as usize).map(|row| row.key.clone());
            for row in page {
                let entry = Entry::read(row)?;
                let until = text(&entry.document, PURGE_DATE).and_then(|text| text.parse::<Timestamp>().ok());
                if until.is_none_or(|until| until > now) {
                    continue;
                }
                let mut entries = Entries { expect: vec![entry.unchanged()], changes: Vec::new() };
                self.remove(&entry, &mut entries)?;
                let audit = json!({
                    "caller": "Bastide",
                    "action": format!("{TYPE_NAME}/delete"),
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

    /// What stands in the way of a restored workspace: its group or its hub has gone, or its name was given again.
    async fn check_way_back(
        &self,
        pass: &Pass,
        links: &[Link],
        members: &[Member],
        id: &ResourceId,
        entries: &mut Entries,
    ) -> Result<(), Failure> {
        if let Some(group) = self.group_stands(pass, id).await? {
            entries.expect.push(group.stands());
        }
        if self.ledger.resource(pass, id).await?.is_some() {
            let message = format!(
                "'{id}' has been made again since. To bring the deleted one back, delete the new one with \
                 forceToPurge=true first."
            );
            return Err(ArmError::conflict(message).into());
        }
        for link in links.iter().filter(|link| link.id.type_name().eq_ignore_ascii_case(&id.type_name())) {
            if members.iter().any(|member| member.id.eq_ignore_ascii_case(link.id.key())) {
                continue;
            }
            let Some(hub) = self.ledger.surrounding(pass, &link.id).await? else {
                let message = format!("The hub '{}' of '{id}' is not there. Restore or create it first.", link.id);
                return Err(ArmError::conflict(message).into());
            };
            entries.expect.push(hub.stands());
        }
        Ok(())
    }
}

/// What else must be forgotten when a kept deletion goes for good.
pub(crate) fn purge(kept: &Entry) -> Vec<Change> {
    if !kept.row.type_name.eq_ignore_ascii_case(TYPE_NAME) {
        return Vec::new();
    }
    let secretive = members(kept).unwrap_or_default().into_iter().filter(|member| member.has_secrets);
    let forgotten = secretive.map(|member| Change::DeleteSecrets(member.incarnation));
    forgotten.chain([Change::DeleteRecord { kind: KEPT.to_owned(), key: kept.row.key.clone() }]).collect()
}

/// What a caller hears who makes a resource where a deleted one is kept.
fn notice(kept: &Entry) -> String {
    format!(
        "A deleted workspace of this name is kept until {} as '{}'; this one is new. To bring the deleted one back, \
         delete this one with forceToPurge=true and restore that one.",
        text(&kept.document, PURGE_DATE).unwrap_or_default(),
        kept.id
    )
}

/// The refusal under strict parity, which has only one workspace of a name, deleted or not.
fn taken(kept: &Entry) -> ArmError {
    ArmError::conflict(format!(
        "A deleted workspace of this name is kept until {} as '{}'. Send properties.allowRecoverSoftDeletedWorkspace: \
         true to restore it, or purge it by DELETE with forceToPurge=true.",
        text(&kept.document, PURGE_DATE).unwrap_or_default(),
        kept.id
    ))
}

fn tombstone(first: &Entry, members: &[Member], now: Timestamp, days: u32) -> Result<Document, Failure> {
    let days = days.min(MAX_DAYS);
    let until = now.checked_add(SignedDuration::from_hours(i64::from(days) * 24)).unwrap_or(Timestamp::MAX);
    let is_project = |member: &&Member| member.type_name == first.row.type_name && member.id != first.id.to_string();
    let projects: Vec<&str> = members.iter().filter(is_project).map(|member| member.id.as_str()).collect();
    let members = serde_json::to_value(members).map_err(|error| Failure::internal(error.to_string()))?;
    let properties = json!({
        "workspaceId": first.row.incarnation,
        RESOURCE: first.id.to_string(),
        "location": first.document.location,
        "deletionDate": now.to_string(),
        PURGE_DATE: until.to_string(),
        "projects": projects,
        MEMBERS: members,
    });
    let Value::Object(properties) = properties else { return Err(Failure::internal("properties are an object")) };
    Ok(Document {
        kind: first.document.kind.clone(),
        properties,
        tags: first.document.tags.clone(),
        ..Document::default()
    })
}

fn members(kept: &Entry) -> Result<Vec<Member>, Failure> {
    let members = kept.document.properties.get(MEMBERS).cloned().unwrap_or_default();
    serde_json::from_value(members).map_err(|error| Failure::internal(format!("{} cannot be read: {error}", kept.id)))
}

fn place_of(id: &ResourceId, incarnation: Uuid) -> Result<ResourceId, ArmError> {
    let group = id.resource_group_id().map(|group| group.to_string()).unwrap_or_default();
    ResourceId::parse(&format!("{group}/providers/{TYPE_NAME}/{incarnation}"))
}

fn text<'a>(document: &'a Document, name: &str) -> Option<&'a str> {
    document.properties.get(name).and_then(Value::as_str)
}

/// Kind of the records that find what is kept of an id, one a deletion.
const KEPT: &str = "deleted-workspace";

/// Id under which the workspace stood.
const RESOURCE: &str = "workspaceResourceId";

const PURGE_DATE: &str = "scheduledPurgeDate";

/// Ten years.
const MAX_DAYS: u32 = 3650;

/// Deleted workspaces read at a time; of one name, more than these are found in the list alone.
const MAX_KEPT: u32 = 100;
