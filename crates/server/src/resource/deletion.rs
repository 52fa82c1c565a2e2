//! How a resource goes, and what goes with it.

use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::Dismissal;
use bastide_hub::private_endpoint_connection::{Endpoint, is_connection};
use bastide_store::{Change, Expectation, ResourceQuery};
use http::StatusCode;
use uuid::Uuid;

use crate::failure::Failure;
use crate::front::Front;
use crate::host_name;
use crate::identities;
use crate::ledger::{Entries, Entry};
use crate::operations::accepted;
use crate::pass::Pass;
use crate::preconditions::check_preconditions;
use crate::private_endpoints::forget_decision;
use crate::reply::Reply;
use crate::request::Request;
use crate::soft_delete::{self, is_forced};
use crate::surroundings::link_changes;

impl Front {
    /// DELETE of a resource and everything below it. What its type keeps can be restored, unless the caller wants it gone
    /// for good.
    pub(crate) async fn delete_resource(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let id = &request.matched.target;
        if is_connection(&request.registered()?.name) {
            return self.disconnect(request, pass).await;
        }
        let registered = request.registered()?;
        let is_for_good = is_forced(registered.rules.soft_delete(), request);
        let Some(existing) = self.ledger.resource(pass, id).await? else {
            check_preconditions(request, None)?;
            self.group_stands(pass, id).await?;
            let purged = if is_for_good { self.purge_kept_of(request, pass, id).await? } else { 0 };
            return Ok(Reply::empty(if purged > 0 { StatusCode::OK } else { StatusCode::NO_CONTENT }));
        };
        check_preconditions(request, Some(&existing))?;
        let mut entries = Entries { expect: vec![existing.unchanged()], changes: Vec::new() };
        let around = self.around(request.context, pass, registered, &existing).await?;
        if registered.rules.descriptor().surroundings.referrers {
            entries.expect.push(self.nobody_new_links(request.context.now, id).await?);
        }
        let dismissed = registered.rules.dismiss(&Dismissal {
            id: &existing.id,
            existing: existing.existing(),
            referrers: &around.referrers,
            query: &request.context.query(),
        })?;
        let mut gone = vec![existing];
        gone.extend(self.remove_below(pass, id, &mut entries).await?);
        for id in dismissed.also {
            let action = format!("{}/delete", id.type_name());
            let there = self.gatekeeper.authorise_linked(pass, &action, &id).await?;
            if let Some(entry) = self.ledger.resource(&there, &id).await? {
                entries.expect.push(entry.unchanged());
                let below = self.remove_below(&there, &id, &mut entries).await?;
                self.remove(&entry, &mut entries)?;
                gone.push(entry);
                gone.extend(below);
            }
        }
        if let Some(existing) = gone.first() {
            self.remove(existing, &mut entries)?;
        }
        if !is_for_good {
            self.keep(pass, request.context.now, &gone, &mut entries).await?;
        }
        let existing = gone.first().filter(|existing| existing.id == *id);
        let runs = existing.filter(|existing| registered.rules.instances(Uuid::nil(), &existing.document).is_some());
        let operation = runs.map(|existing| self.awaiting(request, pass, registered, id, (Some(existing), None)));
        entries.changes.extend(operation.clone().map(Change::PutOperation));
        self.ledger.commit(request.context, pass, entries).await?;
        if let Some(operation) = operation {
            self.queue.accept(operation.id);
            return Ok(accepted(request, id, operation.id));
        }
        self.networks.settle(id).await;
        let without_content = registered.rules.is_deleted_without_content();
        Ok(Reply::empty(if without_content { StatusCode::NO_CONTENT } else { StatusCode::OK }))
    }

    /// The removal of one resource: its row, its secrets, what the type wants released, its identity.
    pub(crate) fn remove(&self, entry: &Entry, entries: &mut Entries) -> Result<(), Failure> {
        let mut effects = Vec::new();
        // A type may be unknown: stored while generic resources were on, deleted after they were switched off.
        if let Ok(registered) = self.registry.find(&entry.row.type_name, "") {
            effects = registered.rules.release(&entry.document);
            entries.changes.extend(registered.rules.host_names().map(|_| host_name::release(entry.row.incarnation)));
            entries.changes.extend(link_changes(&registered, &entry.id, Some(&entry.document), None)?);
            for (id, document) in registered.rules.dependants(&entry.document) {
                let dependant = self.registry.find(&id.type_name(), "")?;
                entries.changes.extend(link_changes(&dependant, &id, Some(&document), None)?);
                entries.changes.push(Change::DeleteResource(id.key().to_owned()));
            }
        }
        if Endpoint::of(&entry.linked()).is_some() {
            entries.changes.push(forget_decision(entry));
        }
        entries.changes.extend(soft_delete::forget(entry));
        effects.extend(identities::release(entry.document.identity.as_ref()));
        self.apply_effects(entry.row.incarnation, &entry.id, effects, &mut entries.changes)?;
        if crate::pass::decides_access(&entry.row.type_name) || crate::policy::decides(&entry.row.type_name) {
            entries.changes.push(Change::RaiseAccessEpoch);
        }
        entries.changes.push(Change::DeleteResource(entry.row.key.clone()));
        Ok(())
    }

    /// The removal of everything below a resource, on condition that nothing comes in meanwhile; what that was.
    pub(crate) async fn remove_below(
        &self,
        pass: &Pass,
        id: &ResourceId,
        entries: &mut Entries,
    ) -> Result<Vec<Entry>, Failure> {
        let query = ResourceQuery { prefix: Some(id.prefix()), ..ResourceQuery::default() };
        let gone = self.ledger.every_resource(pass, query).await?;
        for entry in &gone {
            entries.expect.push(entry.stands());
            self.remove(entry, entries)?;
        }
        let count = i64::try_from(gone.len()).unwrap_or(i64::MAX);
        entries.expect.push(Expectation::CountBelow { prefix: id.prefix(), count });
        Ok(gone)
    }
}
