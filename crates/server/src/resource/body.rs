//! The document that a body asks for.

use bastide_arm::envelope::Envelope;
use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::merge;
use bastide_arm::resource_type::{Descriptor, Document};
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::ledger::Entry;

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
