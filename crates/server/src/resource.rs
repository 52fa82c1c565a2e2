//! Reading, writing and deleting one resource of any type: the part that all types share.

use std::collections::BTreeMap;

use bastide_arm::envelope::Envelope;
use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::merge;
use bastide_arm::resource_type::{
    Admission, Admitted, Author, DataPlane, Descriptor, Dismissal, Document, Effect, Existing, Linked, Placement, View,
};
use bastide_hub::private_endpoint_connection::{Endpoint, is_connection};
use bastide_store::{Change, Expectation, ResourceQuery};
use http::{Method, StatusCode, header};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::action::fresh_secret;
use crate::authorization::own_principal;
use crate::companion::Made;
use crate::failure::Failure;
use crate::front::Front;
use crate::host_name;
use crate::identities;
use crate::ledger::{Entries, Entry, group_not_found};
use crate::operations::{accepted, following};
use crate::pass::Pass;
use crate::preconditions::check_preconditions;
use crate::private_endpoints::forget_decision;
use crate::providers::{self, resource_group};
use crate::registry::Registered;
use crate::reply::Reply;
use crate::request::Request;
use crate::soft_delete::{self, is_forced, refuse_recovery};
use crate::surroundings::{Around, link_changes};

/// What a body asks for, and what is to be said with the answer.
pub(crate) struct Wish {
    pub envelope: Envelope,
    pub document: Document,
    pub warnings: Vec<String>,
}

/// A write that was judged and not yet made.
pub(crate) struct Decided {
    pub id: ResourceId,
    pub existing: Option<Entry>,
    pub document: Document,
    pub entries: Entries,
    pub effects: Vec<Effect>,
    pub warnings: Vec<String>,
    /// What the writer had to be allowed beside the write itself.
    pub granted: Vec<&'static str>,
}

/// What a decision comes to.
pub(crate) enum Settled {
    /// Nothing: this is what stands.
    Same(Box<Entry>),
    /// These writes.
    Changed(Entries),
}

impl Front {
    /// GET of a resource.
    pub(crate) async fn read_resource(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        if is_connection(&request.registered()?.name) {
            return self.read_connection(request, pass).await;
        }
        let entry = match self.own_or_lent(request, pass).await? {
            Some(entry) => entry,
            None => self.entry_or_404(request, pass).await?,
        };
        let body = self.wire_form(request, pass, request.registered()?, &entry).await?;
        Ok(Reply::ok(body).header(header::ETAG, &quoted(&entry.row.etag)))
    }

    /// HEAD of a resource: 204 or 404.
    pub(crate) async fn check_resource(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let entry = self.entry_or_404(request, pass).await?;
        Ok(Reply::empty(StatusCode::NO_CONTENT).header(header::ETAG, &quoted(&entry.row.etag)))
    }

    /// PUT of a resource: the whole document, new or in place of the old one.
    pub(crate) async fn put_resource(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let registered = request.registered()?;
        if is_connection(&registered.name) {
            return self.decide_connection(request, pass).await;
        }
        let descriptor = registered.rules.descriptor();
        let mut existing = self.ledger.resource(pass, &request.matched.target).await?;
        check_preconditions(request, existing.as_ref())?;
        let was_new = existing.is_none();
        let mut warnings = Vec::new();
        if let Some(soft) = registered.rules.soft_delete().filter(|_| !request.is_rehearsal) {
            match &existing {
                Some(stands) => refuse_recovery(soft, request.body, &stands.id)?,
                None => (existing, warnings) = self.recovered(request, pass, soft).await?,
            }
            if let Some(back) = existing.take_if(|_| was_new && !soft.recovery_changes) {
                return self.written(request, pass, registered, false, back, &warnings).await;
            }
        }
        let mut envelope = Envelope::read_patch(request.object()?)?;
        for name in descriptor.read_only {
            envelope.properties.remove(*name);
        }
        let document = document_of_put(&mut envelope, descriptor, existing.as_ref(), &request.matched.target)?;
        Box::pin(self.write_resource(request, pass, existing, Wish { envelope, document, warnings })).await
    }

    /// PATCH of a resource: what the body names changes, the rest stays.
    pub(crate) async fn patch_resource(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let registered = request.registered()?;
        let descriptor = registered.rules.descriptor();
        let existing = self.entry_or_404(request, pass).await?;
        check_preconditions(request, Some(&existing))?;
        let mut envelope = Envelope::read_patch(request.object()?)?;
        for name in descriptor.read_only {
            envelope.properties.remove(*name);
        }
        let document = document_of_patch(&mut envelope, descriptor, &existing)?;
        let wish = Wish { envelope, document, warnings: Vec::new() };
        Box::pin(self.write_resource(request, pass, Some(existing), wish)).await
    }

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

    /// The wire form of a resource.
    pub(crate) async fn wire_form(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        registered: &Registered,
        entry: &Entry,
    ) -> Result<Value, Failure> {
        let around = self.around(request.context, pass, registered, entry).await?;
        let zone = format!("{}{}", self.origins.zone(), request.context.origin.port_suffix());
        // A project has its hub's network.
        let hub = || around.linked.values().find_map(|linked| self.networks.observed(&linked.id));
        let observed = self.seen(registered, entry).or_else(hub);
        let view = View {
            id: &entry.id,
            incarnation: entry.row.incarnation,
            document: &entry.document,
            parts: &around.parts,
            referrers: &around.referrers,
            linked: &around.linked,
            observed: observed.as_deref(),
            api_version: request.api_version,
            origin: request.context.origin.as_str(),
            zone: &zone,
            tenant_id: request.tenant_id,
            now: request.context.now,
        };
        let mut properties = registered.rules.answer(&view);
        if around.referrers.iter().any(|referrer| Endpoint::of(referrer).is_some()) {
            let connections = self.connection_answers(&entry.id, request.context.now).await?;
            properties.insert("privateEndpointConnections".to_owned(), connections.into());
        }
        Ok(wire_form(registered, entry, properties, request.tenant_id))
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
        let mut query = ResourceQuery { prefix: Some(id.prefix()), limit: 500, ..ResourceQuery::default() };
        let mut gone = Vec::new();
        loop {
            let below = self.ledger.resources(pass, &query).await?;
            let rest_after = below.last().filter(|_| below.len() == 500).map(|last| last.row.key.clone());
            for entry in below {
                entries.expect.push(entry.stands());
                self.remove(&entry, entries)?;
                gone.push(entry);
            }
            match rest_after {
                Some(after) => query.after = Some(after),
                None => break,
            }
        }
        let count = i64::try_from(gone.len()).unwrap_or(i64::MAX);
        entries.expect.push(Expectation::CountBelow { prefix: id.prefix(), count });
        Ok(gone)
    }

    /// The common end of PUT and PATCH: what the new resource gets beside it, then the decision, then one commit.
    pub(crate) async fn write_resource(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        existing: Option<Entry>,
        mut wish: Wish,
    ) -> Result<Reply, Failure> {
        let registered = request.registered()?;
        let is_new = existing.is_none();
        let mut made = match is_new && !request.is_rehearsal {
            true => self.companions(request, pass, &mut wish.document).await?,
            false => Made::default(),
        };
        let decided = self.decide(request, pass, existing, wish, &made.linked).await?;
        if request.is_rehearsal {
            let Some(entry) = decided.existing else { return Err(ArmError::resource_not_found(&decided.id).into()) };
            let foreseen = Entry { id: decided.id, document: decided.document, row: entry.row };
            return self.written(request, pass, registered, false, foreseen, &decided.warnings).await;
        }
        made.grant(decided.document.identity.as_ref(), request.context.now)?;
        let (id, warnings, granted) = (decided.id.clone(), decided.warnings.clone(), decided.granted.clone());
        let runs = registered.rules.instances(Uuid::nil(), &decided.document).is_some();
        let states = (decided.existing.as_ref(), Some(&decided.document));
        let operation = runs.then(|| self.awaiting(request, pass, registered, &id, states));
        let _turn = match registered.rules.demand(&decided.document) {
            Some(_) => Some(self.quota_turn.lock().await),
            None => None,
        };
        let entry = match self.settle(request, pass, registered, decided).await? {
            Settled::Same(entry) => return self.written(request, pass, registered, is_new, *entry, &warnings).await,
            Settled::Changed(changed) => {
                let mut entries = made.entries;
                entries.expect.extend(changed.expect);
                entries.changes.extend(changed.changes);
                if let Some(operation) = &operation {
                    self.provision_by_compute(pass, &id, &mut entries).await?;
                    entries.changes.push(Change::PutOperation(operation.clone()));
                }
                let committed = self.ledger.commit_granted(request.context, pass, &granted, entries).await?;
                let row = committed.resources.into_iter().find(|row| row.key == id.key());
                Entry::read(row.ok_or_else(|| Failure::internal("a commit without its resource"))?)?
            }
        };
        let Some(operation) = operation else {
            return self.written(request, pass, registered, is_new, entry, &warnings).await;
        };
        self.queue.accept(operation.id);
        let reply = self.answered(request, pass, registered, is_new, entry, &warnings).await?;
        Ok(following(reply, request, &id, operation.id))
    }

    /// Links, identity, admission: what a write would store, and on what conditions. `beside` are resources that are made
    /// in the same transaction.
    pub(crate) async fn decide(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        existing: Option<Entry>,
        wish: Wish,
        beside: &BTreeMap<String, Linked>,
    ) -> Result<Decided, Failure> {
        let registered = request.registered()?;
        let descriptor = registered.rules.descriptor();
        let Wish { envelope, mut document, mut warnings } = wish;
        let (id, parent) = self.place(request, pass, registered, existing.as_ref()).await?;
        self.policies.adjust(request, pass, &id, &envelope, &mut document).await?;
        let before = existing.as_ref().map(|entry| &entry.document);
        let granted = registered.rules.further_actions(before, &document);
        for action in &granted {
            self.gatekeeper.authorise_linked(pass, action, &id).await?;
        }
        let mut entries = Entries::default();
        entries.expect.push(match &existing {
            Some(entry) => entry.unchanged(),
            None => Expectation::ResourceAbsent(id.key().to_owned()),
        });
        // A child was judged by what its parent said; a group only has to be there.
        entries.expect.extend(parent.iter().map(|parent| match parent.id.is_resource() {
            true => parent.unchanged(),
            false => parent.stands(),
        }));
        let mut links = registered.rules.links(&document)?;
        links.extend(identities::links(envelope.identity.as_ref()));
        links.retain(|link| !beside.contains_key(link.id.key()));
        let linked_before = match &existing {
            Some(entry) => {
                let mut before = registered.rules.links(&entry.document)?;
                before.extend(identities::links_of(entry.document.identity.as_ref())?);
                before
            }
            None => Vec::new(),
        };
        let mut linked = self.linked(pass, &links, &linked_before, &mut entries.expect).await?;
        linked.extend(beside.clone());
        // A body may be silent about what it keeps; the rules see that, too.
        for kept in linked_before {
            if !linked.contains_key(kept.id.key())
                && let Some(entry) = self.ledger.surrounding(pass, &kept.id).await?
            {
                linked.insert(kept.id.key().to_owned(), entry.linked());
            }
        }
        let around = match &existing {
            Some(entry) => self.around(request.context, pass, registered, entry).await?,
            None => Around::default(),
        };
        let old_identity = existing.as_ref().and_then(|entry| entry.document.identity.clone());
        let asked = identities::Asked {
            support: descriptor.identity,
            request: envelope.identity.as_ref(),
            is_patch: request.context.method == Method::PATCH,
        };
        let (identity, mut effects) = identities::resolve(&asked, old_identity, &linked, &id)?;
        document.identity = identity;
        let parent_linked = parent.as_ref().map(Entry::linked);
        let secrets = match &existing {
            Some(entry) if descriptor.surroundings.secrets => self.secrets(entry.row.incarnation).await?,
            _ => BTreeMap::new(),
        };
        let silent = Map::new();
        let admitted = registered.rules.admit(Admission {
            id: &id,
            existing: existing.as_ref().map(Entry::existing),
            document,
            asked: request.body.and_then(|body| body.get("properties")?.as_object()).unwrap_or(&silent),
            secrets: &secrets,
            linked: &linked,
            parent: parent_linked.as_ref(),
            parts: &around.parts,
            referrers: &around.referrers,
            api_version: request.api_version,
            zone: self.origins.zone(),
            parity: request.parity,
            tenant_id: request.tenant_id,
            author: &author(pass),
            now: request.context.now,
            fresh_id: &Uuid::new_v4,
            fresh_secret: &fresh_secret,
        })?;
        let Admitted { document, parts, effects: more, warnings: said } = admitted;
        self.check_needs(pass, registered, &document, parent_linked.as_ref()).await?;
        if existing.is_none() {
            self.check_public_address(pass, &id, &document).await?;
        }
        let before = existing.as_ref().map(|entry| &entry.document);
        entries.changes.extend(link_changes(registered, &id, before, Some(&document))?);
        let stands = existing.as_ref().map(|_| &around.part_rows);
        entries.expect.extend(existing.iter().flat_map(|_| around.same_parts(registered, &id)));
        self.part_changes(pass, (registered, &id), stands, parts, &mut entries)?;
        self.dependant_changes(pass, registered, before, Some(&document), &mut entries).await?;
        effects.extend(more);
        warnings.extend(said);
        Ok(Decided { id, existing, document, entries, effects, warnings, granted })
    }

    /// The writes of a decision. A re-PUT of what stands is none: no revision, no audit record.
    pub(crate) async fn settle(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        registered: &Registered,
        decided: Decided,
    ) -> Result<Settled, Failure> {
        let Decided { id, existing, document, mut entries, effects, .. } = decided;
        let is_new = existing.is_none();
        let before = existing.as_ref().map(|entry| &entry.document);
        let identity_before = before.and_then(own_principal);
        let mut quota = Entries::default();
        self.keep_quota(request, pass, registered, (&id, before, &document), &mut quota).await?;
        let incarnation = match existing {
            Some(entry) if entry.document == document && effects.is_empty() && entries.changes.is_empty() => {
                return Ok(Settled::Same(Box::new(entry)));
            }
            existing => existing.map_or_else(Uuid::new_v4, |entry| entry.row.incarnation),
        };
        entries.expect.extend(quota.expect);
        entries.changes.extend(quota.changes);
        self.apply_effects(incarnation, &id, effects, &mut entries.changes)?;
        let descriptor = registered.rules.descriptor();
        let is_listed =
            descriptor.tracked && !id.is_resource_group() || descriptor.types.is_empty() && id.types().len() == 1;
        let name = self.type_name_of(&id, registered);
        if is_new {
            if let Some(names) = registered.rules.host_names() {
                self.claim_host_name(request, names, &id, incarnation, &mut entries).await?;
            }
            self.creator_owns(request, pass, &id, document.kind.as_deref(), &mut entries).await?;
        }
        self.identity_administers(request, &id, identity_before, &document, &mut entries.changes)?;
        entries.changes.push(Entry::put(&id, &name, incarnation, is_listed, document, pass)?);
        if is_new {
            self.register_provider(pass, &id, &mut entries).await?;
        }
        Ok(Settled::Changed(entries))
    }

    async fn written(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        registered: &Registered,
        is_new: bool,
        entry: Entry,
        warnings: &[String],
    ) -> Result<Reply, Failure> {
        self.networks.settle(&entry.id).await;
        self.answered(request, pass, registered, is_new, entry, warnings).await
    }

    async fn answered(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        registered: &Registered,
        is_new: bool,
        entry: Entry,
        warnings: &[String],
    ) -> Result<Reply, Failure> {
        let body = self.wire_form(request, pass, registered, &entry).await?;
        let codes = registered.rules.descriptor().put;
        let status = match (&request.context.method, is_new) {
            (&Method::PATCH, _) => 200,
            (_, true) => codes.created,
            (_, false) => codes.replaced,
        };
        let reply = Reply::json(status, body).header(header::ETAG, &quoted(&entry.row.etag));
        Ok(if warnings.is_empty() { reply } else { reply.header(X_MS_BASTIDE_WARNING, &warnings.join(" ")) })
    }

    /// Where a resource stands: its id in the spelling of what it stands in, and its parent, which must be there.
    async fn place(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        registered: &Registered,
        existing: Option<&Entry>,
    ) -> Result<(ResourceId, Option<Entry>), Failure> {
        let descriptor = registered.rules.descriptor();
        let target = &request.matched.target;
        let group = self.group_stands(pass, target).await?;
        let parent = match (target.parent(), group) {
            (Some(parent), Some(group)) if parent == group.id => Some(group),
            (Some(parent), _) if !parent.is_tenant() => self.ledger.surrounding(pass, &parent).await?,
            _ => None,
        };
        if parent.is_none() && target.parent().is_some_and(|parent| !parent.is_tenant()) {
            return Err(ArmError::parent_resource_not_found(target).into());
        }
        if let Some(entry) = existing {
            return Ok((entry.id.clone(), parent));
        }
        check_placement(descriptor, target)?;
        if !(descriptor.name.accepts)(target.name()) {
            let rule = format!("Use {}.", descriptor.name.explanation);
            return Err(ArmError::invalid_resource_name(target.name(), &registered.name, &rule).into());
        }
        let id = parent.as_ref().map_or_else(|| target.clone(), |parent| target.with_spelling_of(&parent.id));
        Ok((id, parent))
    }

    /// The resource group of an id must exist, and must not be on its way out.
    pub(crate) async fn group_stands(&self, pass: &Pass, id: &ResourceId) -> Result<Option<Entry>, Failure> {
        let Some(group) = id.resource_group_id().filter(|group| group != id) else { return Ok(None) };
        let Some(entry) = self.ledger.surrounding(pass, &group).await? else { return Err(group_not_found(id).into()) };
        if resource_group::is_deleting(&entry.document.properties) {
            return Err(ArmError::resource_group_being_deleted(entry.id.name()).into());
        }
        Ok(Some(entry))
    }

    async fn entry_or_404(&self, request: &Request<'_>, pass: &Pass) -> Result<Entry, Failure> {
        let id = &request.matched.target;
        if let Some(entry) = self.ledger.resource(pass, id).await? {
            return Ok(entry);
        }
        if id.is_resource_group() {
            return Err(group_not_found(id).into());
        }
        if let Some(group) = id.resource_group_id()
            && self.ledger.surrounding(pass, &group).await?.is_none()
        {
            return Err(group_not_found(id).into());
        }
        Err(ArmError::resource_not_found(id).into())
    }

    fn type_name_of(&self, id: &ResourceId, registered: &Registered) -> String {
        if id.is_resource_group() { providers::resource_group::TYPE_NAME.to_owned() } else { registered.name.clone() }
    }
}

impl Entry {
    /// As an admission sees the resource it changes.
    pub(crate) fn existing(&self) -> Existing<'_> {
        Existing { incarnation: self.row.incarnation, document: &self.document }
    }
}

/// The envelope around a type's properties.
pub(crate) fn wire_form(registered: &Registered, entry: &Entry, properties: Map<String, Value>, tenant: Uuid) -> Value {
    let descriptor = registered.rules.descriptor();
    let document = &entry.document;
    let mut body = Map::new();
    body.insert("id".into(), entry.id.to_string().into());
    body.insert("name".into(), entry.id.name().into());
    body.insert("type".into(), entry.row.type_name.clone().into());
    if let Some(location) = &document.location {
        body.insert("location".into(), location.clone().into());
    }
    if descriptor.tracked || !document.tags.is_empty() {
        body.insert("tags".into(), json!(document.tags));
    }
    if let Some(kind) = &document.kind {
        body.insert("kind".into(), kind.clone().into());
    }
    if let Some(sku) = &document.sku {
        body.insert("sku".into(), sku.clone());
    }
    if let Some(identity) = &document.identity {
        body.insert("identity".into(), identity.answer(tenant));
    }
    if let Some(manager) = &document.managed_by {
        body.insert("managedBy".into(), manager.clone().into());
    }
    body.extend(document.extra.clone());
    body.insert("properties".into(), Value::Object(properties));
    if !entry.id.is_resource_group() {
        body.insert("systemData".into(), system_data(entry));
    }
    if descriptor.data_plane == DataPlane::None {
        body.insert("bastide".into(), json!({"dataPlane": "none"}));
    }
    Value::Object(body)
}

pub(crate) fn system_data(entry: &Entry) -> Value {
    let (created, changed) = (&entry.row.created, &entry.row.changed);
    json!({
        "createdBy": created.by,
        "createdByType": created.by_type,
        "createdAt": created.at.to_string(),
        "lastModifiedBy": changed.by,
        "lastModifiedByType": changed.by_type,
        "lastModifiedAt": changed.at.to_string(),
    })
}

pub(crate) fn document_of_put(
    envelope: &mut Envelope,
    descriptor: &Descriptor,
    existing: Option<&Entry>,
    id: &ResourceId,
) -> Result<Document, Failure> {
    let asked = envelope.location.as_ref().map(|location| location.as_str().to_owned());
    let location = match (existing.and_then(|entry| entry.document.location.clone()), asked) {
        // A child inherits its parent's place; what `az resource create` sends for one is dropped.
        (stands, _) if !descriptor.tracked && !descriptor.types.is_empty() => stands,
        (Some(stands), Some(asked)) if stands != asked => {
            return Err(ArmError::invalid_resource_location(id, &stands, &asked).into());
        }
        (Some(stands), _) => Some(stands),
        (None, None) if descriptor.tracked => return Err(ArmError::location_required().into()),
        (None, asked) => asked,
    };
    Ok(Document {
        location,
        // A kind is for life; a body that is silent about it keeps it.
        kind: envelope.kind.take().or_else(|| existing.and_then(|entry| entry.document.kind.clone())),
        sku: envelope.sku.take().map(|sku| json!(sku)),
        identity: None,
        managed_by: envelope.managed_by.take(),
        extra: extra(envelope),
        properties: std::mem::take(&mut envelope.properties),
        tags: envelope.tags.take().unwrap_or_default(),
    })
}

pub(crate) fn document_of_patch(
    envelope: &mut Envelope,
    descriptor: &Descriptor,
    existing: &Entry,
) -> Result<Document, Failure> {
    let mut document = existing.document.clone();
    let is_child = !descriptor.tracked && !descriptor.types.is_empty();
    if let (Some(stands), Some(asked), false) = (&document.location, &envelope.location, is_child)
        && stands != asked.as_str()
    {
        return Err(ArmError::invalid_resource_location(&existing.id, stands, asked.as_str()).into());
    }
    if let Some(patchable) = descriptor.patchable {
        let fixed = envelope.properties.keys().find(|name| {
            !patchable.contains(&name.as_str()) && envelope.properties.get(*name) != document.properties.get(*name)
        });
        if let Some(name) = fixed {
            let message =
                format!("{name} cannot be changed by PATCH. Leave it out, or send the whole resource by PUT.");
            return Err(ArmError::invalid_parameter(&format!("properties.{name}"), message).into());
        }
    }
    // A non-empty map replaces the tags; an empty one is what the SDK sends when it has nothing to say about them.
    if let Some(tags) = envelope.tags.take().filter(|tags| !tags.is_empty()) {
        document.tags = tags;
    }
    document.kind = envelope.kind.take().or(document.kind);
    document.sku = envelope.sku.take().map(|sku| json!(sku)).or(document.sku);
    document.managed_by = envelope.managed_by.take().or(document.managed_by);
    document.extra.extend(extra(envelope));
    let mut properties = Value::Object(std::mem::take(&mut document.properties));
    merge::merge_patch(&mut properties, &Value::Object(std::mem::take(&mut envelope.properties)));
    if let Value::Object(merged) = properties {
        document.properties = merged;
    }
    Ok(document)
}

fn extra(envelope: &mut Envelope) -> Map<String, Value> {
    let plan = envelope.plan.take().map(Value::Object);
    let zones = envelope.zones.take().map(|zones| json!(zones));
    let extended_location = envelope.extended_location.take().map(Value::Object);
    [("plan", plan), ("zones", zones), ("extendedLocation", extended_location)]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

/// A type lives at its level and nowhere else; a generic resource wherever it is put.
fn check_placement(descriptor: &Descriptor, id: &ResourceId) -> Result<(), ArmError> {
    let right = match descriptor.placement {
        Placement::ResourceGroup => id.resource_group().is_some() && !id.is_extension(),
        // The generic form of a group's path is no group.
        Placement::Subscription => id.is_resource_group(),
        Placement::Extension => true,
    };
    if right {
        return Ok(());
    }
    let message = format!("A resource of type '{}' lives in a resource group; '{id}' is not in one.", id.type_name());
    Err(ArmError::new(400, "InvalidResourceId", message))
}

/// Who asks, as it is kept with what they make.
pub(crate) fn author(pass: &Pass) -> Author {
    let principal = pass.principal();
    Author { object_id: principal.object_id, name: principal.name.clone() }
}

pub(crate) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

pub(crate) const X_MS_BASTIDE_WARNING: header::HeaderName = header::HeaderName::from_static("x-ms-bastide-warning");
