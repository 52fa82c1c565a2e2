//! What a resource looks like on the wire.

use bastide_arm::resource_type::{DataPlane, View};
use bastide_hub::private_endpoint_connection::Endpoint;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entry;
use crate::pass::Pass;
use crate::registry::Registered;
use crate::request::Request;

impl Front {
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
