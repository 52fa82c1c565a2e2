//! How a write is decided, settled and answered: the common end of PUT and PATCH.

use std::collections::BTreeMap;

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Admission, Admitted, Document, Effect, Linked};
use bastide_store::{Change, Expectation};
use http::{Method, header};
use serde_json::Map;
use uuid::Uuid;

use super::{Wish, X_MS_BASTIDE_WARNING, author, quoted};
use crate::action::fresh_secret;
use crate::authorization::own_principal;
use crate::companion::Made;
use crate::failure::Failure;
use crate::front::Front;
use crate::identities;
use crate::ledger::{Entries, Entry};
use crate::operations::following;
use crate::pass::Pass;
use crate::registry::Registered;
use crate::reply::Reply;
use crate::request::Request;
use crate::surroundings::{Around, link_changes};

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
            self.place_deployment(request, pass, &id, &mut entries).await?;
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

    pub(super) async fn written(
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

    pub(super) async fn answered(
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
}
