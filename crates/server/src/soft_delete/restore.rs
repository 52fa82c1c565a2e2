//! How a deletion is taken back.

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Document, Effect, Link, Parity, SoftDelete};
use bastide_store::{Change, Expectation};
use serde_json::Value;

use super::{KEPT, Member, members, until};
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::pass::Pass;
use crate::registry::Registered;
use crate::reply::Reply;
use crate::request::Request;
use crate::surroundings::link_changes;

impl Front {
    /// POST of restore on what a deletion has left.
    pub(crate) async fn restore_resource(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let soft = self.soft_delete_of(pass)?;
        let text = format!("{}/providers/{}/{}", request.matched.target, soft.leaves, request.matched.value(0));
        let id = ResourceId::parse(&text)?;
        let kept = self.ledger.resource(pass, &id).await?.ok_or_else(|| ArmError::resource_not_found(&id))?;
        let restored = self.restore(request, pass, &kept).await?;
        let registered = self.registry.find(&restored.type_name(), "")?;
        let there = self.gatekeeper.authorise_holder(pass, &format!("{}/read", registered.name), &restored).await?;
        let entry = self.ledger.resource(&there, &restored).await?;
        let entry = entry.ok_or_else(|| ArmError::resource_not_found(&restored))?;
        Ok(Reply::ok(self.wire_form(request, &there, &registered, &entry).await?))
    }

    /// What a PUT of a name meets that was deleted before: the restored resource where the body asks for that, else what
    /// the caller has to know. Strict parity has no second resource of that name.
    pub(crate) async fn recovered(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        soft: &SoftDelete,
    ) -> Result<(Option<Entry>, Vec<String>), Failure> {
        let id = &request.matched.target;
        match (self.kept_of(pass, id).await?.pop(), asks_for_it(soft, request.body)) {
            (Some(kept), true) => {
                self.restore(request, pass, &kept).await?;
                Ok((self.ledger.resource(pass, id).await?, Vec::new()))
            }
            (None, true) if !soft.recovery_changes => Err(nothing_kept(soft, id).into()),
            (Some(kept), false) if request.parity == Parity::Strict => Err(taken(soft, &kept).into()),
            (Some(kept), false) => Ok((None, vec![notice(soft, &kept)])),
            (None, _) => Ok((None, Vec::new())),
        }
    }

    /// Brings everything of a deletion back in one transaction, or says what is in the way.
    async fn restore(&self, request: &Request<'_>, pass: &Pass, kept: &Entry) -> Result<ResourceId, Failure> {
        let members = members(kept)?;
        let mut entries = Entries { expect: vec![kept.unchanged()], changes: Vec::new() };
        for member in &members {
            let id = ResourceId::parse(&member.id)?;
            let registered = self.registry.find(&member.type_name, "")?;
            if !registered.rules.descriptor().is_child() {
                let over_there =
                    self.gatekeeper.authorise_linked(pass, &format!("{}/write", registered.name), &id).await?;
                self.check_way_back(&over_there, (&registered, &member.document), &members, &id, &mut entries).await?;
                self.creator_owns(request, &over_there, &id, member.document.kind.as_deref(), &mut entries).await?;
                self.identity_administers(request, &id, None, &member.document, &mut entries.changes)?;
            }
            entries.expect.push(Expectation::ResourceAbsent(id.key().to_owned()));
            if let Some(names) = registered.rules.host_names() {
                self.claim_host_name(request, names, &id, member.incarnation, &mut entries).await?;
            }
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

    /// What stands in the way of what was deleted: its group or its hub has gone, or its name was given again.
    async fn check_way_back(
        &self,
        pass: &Pass,
        (registered, document): (&Registered, &Document),
        members: &[Member],
        id: &ResourceId,
        entries: &mut Entries,
    ) -> Result<(), Failure> {
        if let Some(group) = self.group_stands(pass, id).await? {
            entries.expect.push(group.stands());
        }
        if self.ledger.resource(pass, id).await?.is_some() {
            let message = format!(
                "'{id}' has been made again since. To bring the deleted one back, delete the new one{} first.",
                by_force(registered.rules.soft_delete())
            );
            return Err(ArmError::conflict(message).into());
        }
        let is_of_type = |link: &Link| link.id.type_name().eq_ignore_ascii_case(&id.type_name());
        for link in registered.rules.links(document)?.iter().filter(|link| is_of_type(link)) {
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

/// Whether a PUT asks for the deleted resource of its name.
fn asks_for_it(soft: &SoftDelete, body: Option<&Value>) -> bool {
    let (property, wanted) = soft.recovered_by;
    match body.and_then(|body| body.get("properties")?.get(property)) {
        Some(Value::Bool(asked)) => asked.to_string() == wanted,
        Some(Value::String(asked)) => asked.eq_ignore_ascii_case(wanted),
        _ => false,
    }
}

/// The refusal of a PUT that asks for a deleted resource where one stands that would only lose by it.
pub(crate) fn refuse_recovery(soft: &SoftDelete, body: Option<&Value>, id: &ResourceId) -> Result<(), ArmError> {
    let (property, wanted) = soft.recovered_by;
    if soft.recovery_changes || !asks_for_it(soft, body) {
        return Ok(());
    }
    let message = format!("'{id}' is not deleted, so there is nothing to bring back. Leave out {property}: {wanted}.");
    Err(ArmError::conflict(message).with_target(format!("properties.{property}")))
}

/// What a caller hears who makes a resource where a deleted one is kept.
fn notice(soft: &SoftDelete, kept: &Entry) -> String {
    format!(
        "A deleted {} of this name is kept until {} as '{}'; this one is new. To bring the deleted one back, delete this \
         one{} and restore that one.",
        soft.noun,
        until(kept),
        kept.id,
        by_force(Some(soft))
    )
}

/// The refusal under strict parity, which has only one resource of a name, deleted or not.
fn taken(soft: &SoftDelete, kept: &Entry) -> ArmError {
    let (property, value) = soft.recovered_by;
    let purge = match soft.forced_by {
        Some(name) => format!("purge it by DELETE with {name}=true"),
        None => "purge it".to_owned(),
    };
    ArmError::conflict(format!(
        "A deleted {} of this name is kept until {} as '{}'. Send properties.{property}: {value} to restore it, or \
         {purge}.",
        soft.noun,
        until(kept),
        kept.id
    ))
}

fn nothing_kept(soft: &SoftDelete, id: &ResourceId) -> ArmError {
    let (property, value) = soft.recovered_by;
    let message = format!(
        "Nothing is kept of a deleted {} '{id}', so there is nothing to bring back. Leave out {property}: {value} to make \
         a new one.",
        soft.noun
    );
    ArmError::not_found(message).with_target(format!("properties.{property}"))
}

fn by_force(soft: Option<&SoftDelete>) -> String {
    soft.and_then(|soft| soft.forced_by).map(|name| format!(" with {name}=true")).unwrap_or_default()
}
