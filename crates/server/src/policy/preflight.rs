//! What policies would say about a deployment, before anything is deployed (mission.md A10).

use std::collections::BTreeMap;

use bastide_access::policy::{Judgement, Policies};
use bastide_arm::api_version::ApiVersion;
use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Admission, Admitted, Author, Document, Existing, Linked, Parity, PartChange, Secret};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::book::{Book, apply};
use super::disallowed;
use super::sight::{Asking, Seen, Sights};
use crate::context::Context;
use crate::failure::Failure;
use crate::pass::Pass;

impl Book {
    /// Whether nothing is in force.
    pub(crate) async fn is_empty(&self, pass: &Pass) -> Result<bool, Failure> {
        Ok(self.edition(pass.epoch()).await?.policies.is_empty())
    }

    /// Why a resource of a template would be refused, if that can be told: the rules of its type are asked what they
    /// would make of it, without the resources that the same template is about to make. It is judged again, and for
    /// good, when it is written.
    pub(crate) async fn foresee(
        &self,
        (context, pass, parity): (&Context, &Pass, Parity),
        id: &ResourceId,
        body: &Value,
    ) -> Result<Option<ArmError>, Failure> {
        let edition = self.edition(pass.epoch()).await?;
        let Some(mut document) = said(body).filter(|_| !super::decides(&id.type_name())) else { return Ok(None) };
        let (asking, sights) = (Asking::of(context, pass), Sights::new(self, &[]));
        let raw = sights.of(&Seen::asked(id, &document), &asking).await?;
        let adjustment = edition.policies.adjust(&raw.subject());
        if !adjustment.refusals.is_empty() {
            return Ok(Some(disallowed(id, &adjustment.refusals)));
        }
        adjustment.changes.into_iter().for_each(|change| apply(change, &mut document));
        let Some((document, parts)) = self.admitted(context, parity, id, body, document).await? else {
            return Ok(None);
        };
        let mut seen = vec![Seen::foreseen(id, document)];
        for part in parts {
            if let PartChange::Put { kind, name, document } = part {
                seen.push(Seen::foreseen(&id.child(kind, &name)?, *document));
            }
        }
        for seen in seen {
            let sight = sights.of(&seen, &asking).await?;
            let Judgement { denials, .. } = Policies::judge(&edition.policies, &sight.subject());
            if !denials.is_empty() {
                return Ok(Some(disallowed(&seen.id, &denials)));
            }
        }
        Ok(None)
    }

    /// What the rules of a type make of a document; nothing when they cannot say without what is not there yet.
    async fn admitted(
        &self,
        context: &Context,
        parity: Parity,
        id: &ResourceId,
        body: &Value,
        document: Document,
    ) -> Result<Option<(Document, Vec<PartChange>)>, Failure> {
        let Ok(registered) = self.registry.find(&id.type_name(), "") else { return Ok(None) };
        let Ok(links) = registered.rules.links(&document) else { return Ok(None) };
        let stored = |id: ResourceId| async move {
            match self.store.resource(id.key()).await? {
                Some(row) => Ok::<_, Failure>(Some(Seen::stored(&row)?.linked())),
                None => Ok(None),
            }
        };
        let mut linked: BTreeMap<String, Linked> = BTreeMap::new();
        for link in links {
            match stored(link.id.clone()).await? {
                Some(found) => drop(linked.insert(link.id.key().to_owned(), found)),
                None => return Ok(None),
            }
        }
        let parent = match id.parent().filter(ResourceId::is_resource) {
            Some(parent) => stored(parent).await?,
            None => None,
        };
        let existing = stored(id.clone()).await?;
        let silent = Map::new();
        let admitted = registered.rules.admit(Admission {
            id,
            existing: existing
                .as_ref()
                .map(|linked| Existing { incarnation: linked.incarnation, document: &linked.document }),
            document,
            asked: body.get("properties").and_then(Value::as_object).unwrap_or(&silent),
            secrets: &BTreeMap::new(),
            linked: &linked,
            parent: parent.as_ref(),
            parts: &[],
            referrers: &[],
            api_version: &ApiVersion::parse(super::sight::NEWEST)?,
            zone: &self.zone,
            parity,
            tenant_id: self.tenant_id,
            author: &Author::default(),
            now: context.now,
            fresh_id: &Uuid::new_v4,
            fresh_secret: &|| Secret::new(""),
        });
        // What the type refuses it will refuse in its own words.
        Ok(admitted.ok().map(|Admitted { document, parts, .. }| (document, parts)))
    }
}

/// The document that a body says.
fn said(body: &Value) -> Option<Document> {
    let parts = ["location", "kind", "sku", "properties"];
    let members = body.as_object()?;
    let fields = members.iter().filter(|(name, value)| parts.contains(&name.as_str()) && !value.is_null());
    let fields: Map<String, Value> = fields
        .map(|(name, value)| match (name.as_str(), value.as_str()) {
            ("location", Some(place)) => (name.clone(), place.replace(' ', "").to_ascii_lowercase().into()),
            _ => (name.clone(), value.clone()),
        })
        .collect();
    let mut document: Document = serde_json::from_value(Value::Object(fields)).ok()?;
    if let Some(tags) = members.get("tags").and_then(Value::as_object) {
        let texts = tags.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        document.tags = texts.collect();
    }
    Some(document)
}
