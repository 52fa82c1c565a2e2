//! How policies see a resource: its wire form, whole, with its group, its subscription and the hub it belongs to.
//!
//! They see it in the newest shape, whatever version a client speaks: nobody can hide a property behind an old one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bastide_access::policy::Subject;
use bastide_arm::api_version::ApiVersion;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Document, Linked, View};
use bastide_identity::PrincipalKind;
use bastide_store::{Change, Resource, ResourcePut};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::book::Book;
use crate::context::Context;
use crate::failure::Failure;
use crate::pass::{Pass, WORKSPACE};
use crate::providers::resource_group;
use crate::subscription::SUBSCRIPTION;

/// A resource as policies see it.
pub(super) struct Sight {
    key: String,
    pub(super) resource: Value,
    is_indexed: bool,
    under: Option<String>,
    group: Option<Value>,
    subscription: Option<Value>,
    api_version: String,
    caller: Value,
    now: Timestamp,
}

/// Who asks, when and in which version.
pub(super) struct Asking {
    caller: Value,
    api_version: String,
    now: Timestamp,
}

/// A resource that stands, is to be written, or is asked for.
pub(super) struct Seen {
    pub(super) id: ResourceId,
    pub(super) type_name: String,
    incarnation: Uuid,
    pub(super) document: Document,
    /// Whether the document is what a client sent, which the type has not looked at yet.
    is_raw: bool,
}

/// Looks at resources; what they have around them is read once.
pub(super) struct Sights<'a> {
    book: &'a Book,
    changes: &'a [Change],
    known: Mutex<HashMap<String, Option<Arc<Seen>>>>,
}

impl Sight {
    pub(super) fn subject(&self) -> Subject<'_> {
        Subject {
            key: &self.key,
            resource: &self.resource,
            is_indexed: self.is_indexed,
            under: self.under.as_deref(),
            group: self.group.as_ref(),
            subscription: self.subscription.as_ref(),
            api_version: &self.api_version,
            caller: &self.caller,
            now: self.now,
        }
    }
}

impl Asking {
    pub(super) fn of(context: &Context, pass: &Pass) -> Self {
        let principal = pass.principal();
        let is_user = principal.kind == PrincipalKind::User;
        let mut claims = json!({"oid": principal.object_id, "idtyp": if is_user { "user" } else { "app" }});
        if let (Some(claims), Some(app_id)) = (claims.as_object_mut(), principal.app_id) {
            claims.insert("appid".to_owned(), json!(app_id));
        }
        let api_version = context.query_value("api-version").unwrap_or_default();
        Self { caller: claims, api_version, now: context.now }
    }
}

impl Seen {
    /// What is to be written.
    pub(super) fn written(put: &ResourcePut) -> Result<Self, Failure> {
        Self::new(&put.id, &put.type_name, put.incarnation, &put.body, &put.tags)
    }

    /// What stands.
    pub(super) fn stored(row: &Resource) -> Result<Self, Failure> {
        Self::new(&row.id, &row.type_name, row.incarnation, &row.body, &row.tags)
    }

    /// What a client asks for.
    pub(super) fn asked(id: &ResourceId, document: &Document) -> Self {
        let type_name = if id.is_resource_group() { resource_group::TYPE_NAME.to_owned() } else { id.type_name() };
        Self { id: id.clone(), type_name, incarnation: Uuid::nil(), document: document.clone(), is_raw: true }
    }

    /// What a template asks for, as far as it says so.
    pub(super) fn foreseen(id: &ResourceId, document: Document) -> Self {
        Self { is_raw: false, ..Self::asked(id, &document) }
    }

    fn new(
        id: &str,
        type_name: &str,
        incarnation: Uuid,
        body: &Value,
        tags: &BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        let mut document: Document = serde_json::from_value(body.clone())
            .map_err(|error| Failure::internal(format!("{id} cannot be read: {error}")))?;
        document.tags.clone_from(tags);
        let id = ResourceId::parse(id)?;
        Ok(Self { id, type_name: type_name.to_owned(), incarnation, document, is_raw: false })
    }

    pub(super) fn linked(&self) -> Linked {
        Linked { id: self.id.clone(), incarnation: self.incarnation, document: self.document.clone() }
    }

    /// The hub of a project.
    fn hub(&self) -> Option<String> {
        if !self.type_name.eq_ignore_ascii_case(WORKSPACE) {
            return None;
        }
        let hub = self.document.properties.get("hubResourceId").and_then(Value::as_str)?;
        Some(hub.trim_end_matches('/').to_ascii_lowercase())
    }
}

impl<'a> Sights<'a> {
    /// Sees through changes that are about to be made.
    pub(super) fn new(book: &'a Book, changes: &'a [Change]) -> Self {
        Self { book, changes, known: Mutex::default() }
    }

    pub(super) async fn of(&self, seen: &Seen, asking: &Asking) -> Result<Sight, Failure> {
        let group = match seen.id.resource_group_id().filter(|group| *group != seen.id) {
            Some(group) => self.look_up(&group).await?,
            None => None,
        };
        let subscription = match seen.id.subscription_id() {
            Some(subscription) => self.look_up(&ResourceId::parse(&format!("/subscriptions/{subscription}"))?).await?,
            None => None,
        };
        let (properties, is_tracked) = self.properties(seen, asking.now).await?;
        Ok(Sight {
            key: seen.id.key().to_owned(),
            resource: resource(seen, properties, self.book.tenant_id),
            is_indexed: is_tracked && !seen.id.is_resource_group(),
            under: self.hub_of(seen).await?,
            group: group.map(|group| as_group(&group)),
            subscription: subscription.map(|subscription| as_subscription(&subscription, self.book.tenant_id)),
            api_version: asking.api_version.clone(),
            caller: asking.caller.clone(),
            now: asking.now,
        })
    }

    /// The `properties` of the wire, and whether the type has tags and a location.
    async fn properties(&self, seen: &Seen, now: Timestamp) -> Result<(Map<String, Value>, bool), Failure> {
        let document = &seen.document;
        let Ok(registered) = self.book.registry.find(&seen.type_name, "") else {
            return Ok((document.properties.clone(), false));
        };
        let descriptor = registered.rules.descriptor();
        // A type nobody implements has what its resource has.
        let is_tracked = descriptor.tracked || descriptor.types.is_empty() && document.location.is_some();
        if seen.is_raw {
            return Ok((document.properties.clone(), is_tracked));
        }
        let mut linked = BTreeMap::new();
        for link in registered.rules.links(document).unwrap_or_default() {
            if let Some(found) = self.look_up(&link.id).await? {
                linked.insert(link.id.key().to_owned(), found.linked());
            }
        }
        let version = ApiVersion::parse(NEWEST)?;
        let view = View {
            id: &seen.id,
            incarnation: seen.incarnation,
            document,
            parts: &[],
            referrers: &[],
            linked: &linked,
            observed: None,
            api_version: &version,
            origin: "",
            zone: &self.book.zone,
            tenant_id: self.book.tenant_id,
            now,
        };
        Ok((registered.rules.answer(&view), is_tracked))
    }

    /// The hub that a project, or what is in it, belongs to: what is assigned there holds here (mission.md T2).
    pub(super) async fn hub_of(&self, seen: &Seen) -> Result<Option<String>, Failure> {
        let mut above = Some(seen.id.clone());
        if let Some(hub) = seen.hub() {
            return Ok(Some(hub));
        }
        while let Some(id) = above.filter(ResourceId::is_resource) {
            above = id.parent();
            if id != seen.id
                && id.type_name().eq_ignore_ascii_case(WORKSPACE)
                && let Some(project) = self.look_up(&id).await?
            {
                return Ok(project.hub());
            }
        }
        Ok(None)
    }

    async fn look_up(&self, id: &ResourceId) -> Result<Option<Arc<Seen>>, Failure> {
        let known = |key: &str| self.known.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some(found) = known(id.key()) {
            return Ok(found);
        }
        let changed = self.changes.iter().find_map(|change| match change {
            Change::PutResource(put) if put.id.eq_ignore_ascii_case(id.key()) => Some(put),
            _ => None,
        });
        let found = match changed {
            Some(put) => Some(Seen::written(put)?),
            None => self.book.store.resource(id.key()).await?.as_ref().map(Seen::stored).transpose()?,
        };
        let found = found.map(Arc::new);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(id.key().to_owned(), found.clone());
        Ok(found)
    }
}

fn resource(seen: &Seen, properties: Map<String, Value>, tenant_id: Uuid) -> Value {
    let document = &seen.document;
    let type_name = if seen.id.is_resource_group() { GROUP_IN_POLICIES } else { &seen.type_name };
    let mut body = super::head(&seen.id.to_string(), type_name);
    let optional = [
        ("location", document.location.as_ref().map(|location| json!(location))),
        ("kind", document.kind.as_ref().map(|kind| json!(kind))),
        ("sku", document.sku.clone()),
        ("identity", document.identity.as_ref().map(|identity| identity.answer(tenant_id))),
        ("managedBy", document.managed_by.as_ref().map(|manager| json!(manager))),
    ];
    body.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    body.insert("tags".to_owned(), json!(document.tags));
    body.insert("properties".to_owned(), Value::Object(properties));
    Value::Object(body)
}

fn as_group(group: &Seen) -> Value {
    let mut body = super::head(&group.id.to_string(), resource_group::TYPE_NAME);
    body.insert("location".to_owned(), json!(group.document.location));
    body.insert("tags".to_owned(), json!(group.document.tags));
    body.insert("managedBy".to_owned(), json!(group.document.managed_by));
    Value::Object(body)
}

fn as_subscription(subscription: &Seen, tenant_id: Uuid) -> Value {
    let mut body = super::head(&subscription.id.to_string(), SUBSCRIPTION);
    body.insert("subscriptionId".to_owned(), json!(subscription.id.subscription_id()));
    body.insert("displayName".to_owned(), json!(subscription.document.properties.get("displayName")));
    body.insert("tenantId".to_owned(), json!(tenant_id));
    body.insert("tags".to_owned(), json!(subscription.document.tags));
    Value::Object(body)
}

/// What policies call a resource group.
const GROUP_IN_POLICIES: &str = "Microsoft.Resources/subscriptions/resourceGroups";

/// A version that shows every property.
pub(super) const NEWEST: &str = "2026-01-01-preview";
