//! Tags: `{scope}/providers/Microsoft.Resources/tags/default`, and the names and values in use in a subscription.

use std::collections::BTreeMap;

use bastide_arm::envelope::Envelope;
use bastide_arm::error::ArmError;
use bastide_arm::resource_type::Document;
use bastide_store::{Change, TagCount};
use http::StatusCode;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry, group_not_found};
use crate::pass::Pass;
use crate::preconditions::check_preconditions;
use crate::registry::Registered;
use crate::reply::Reply;
use crate::request::Request;
use crate::routes::Operation;

impl Front {
    /// GET of the tags of a subscription, group or resource.
    pub(crate) async fn read_tags(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let entry = self.tagged(request, pass).await?;
        Ok(Reply::ok(tags_resource(&entry, &entry.document.tags)))
    }

    /// PUT, PATCH (`Merge`, `Replace`, `Delete`) and DELETE of them.
    pub(crate) async fn change_tags(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let entry = self.tagged(request, pass).await?;
        check_preconditions(request, Some(&entry))?;
        let operation = request.matched.route.operation;
        let tags = match operation {
            Operation::DeleteTags => BTreeMap::new(),
            Operation::ReplaceTags => asked_tags(request)?,
            _ => patched_tags(request, &entry.document.tags)?,
        };
        if tags.len() > MAX_TAGS {
            let message =
                format!("A resource has at most {MAX_TAGS} tags; this would be {}. Delete some first.", tags.len());
            return Err(ArmError::invalid_parameter("properties.tags", message).into());
        }
        let mut asked = Document { tags, ..entry.document.clone() };
        self.policies.adjust(request, pass, &entry.id, &Envelope::default(), &mut asked).await?;
        let tags = asked.tags;
        if tags != entry.document.tags {
            let document = Document { tags: tags.clone(), ..entry.document.clone() };
            let put =
                Entry::put(&entry.id, &entry.row.type_name, entry.row.incarnation, entry.row.listed, document, pass)?;
            let entries = Entries { expect: vec![entry.unchanged()], changes: vec![put] };
            self.ledger.commit(request.context, pass, entries).await?;
        }
        Ok(match operation {
            Operation::DeleteTags => Reply::empty(StatusCode::OK),
            _ => Reply::ok(tags_resource(&entry, &tags)),
        })
    }

    /// GET of the tag names and values in use, and of those that were declared.
    pub(crate) async fn list_tag_names(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let subscription = &request.matched.target;
        let mut names: BTreeMap<String, TagCount> = BTreeMap::new();
        for count in self.ledger.tag_counts(pass).await? {
            names.insert(count.name.to_lowercase(), count);
        }
        for record in self.ledger.records(request.context, TAG_NAME, subscription.key()).await? {
            let text = |field: &str| record.body.get(field).and_then(Value::as_str).map(str::to_owned);
            let Some(name) = text("name") else { continue };
            let entry = names.entry(name.to_lowercase());
            let count = entry.or_insert_with(|| TagCount { name: name.clone(), count: 0, values: Vec::new() });
            if let Some(value) = text("value")
                && !count.values.iter().any(|known| known.value == value)
            {
                count.values.push(bastide_store::TagValueCount { value, count: 0 });
            }
        }
        let subscription = subscription.to_string();
        let values: Vec<Value> = names.values().map(|count| tag_name(&subscription, count)).collect();
        Ok(Reply::ok(json!({"value": values})))
    }

    /// PUT of a tag name: declares it.
    pub(crate) async fn put_tag_name(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let name = request.matched.value(0).to_owned();
        check_tag(&name, "")?;
        self.declare(request, pass, &name, None).await?;
        let count = TagCount { name, count: 0, values: Vec::new() };
        Ok(Reply::ok(tag_name(&request.matched.target.to_string(), &count)))
    }

    /// PUT of a tag value: declares it under its name.
    pub(crate) async fn put_tag_value(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let (name, value) = (request.matched.value(0).to_owned(), request.matched.value(1).to_owned());
        check_tag(&name, &value)?;
        if self.ledger.record(request.context, TAG_NAME, &record_key(request, &name, None)).await?.is_none() {
            let message =
                format!("The tag name '{name}' is not declared. Create it first with PUT .../tagNames/{name}.");
            return Err(ArmError::new(404, "TagNameNotFound", message).into());
        }
        self.declare(request, pass, &name, Some(&value)).await?;
        let id = format!("{}/tagNames/{name}/tagValues/{value}", request.matched.target);
        Ok(Reply::ok(json!({"id": id, "tagValue": value, "count": {"type": "Total", "value": 0}})))
    }

    /// DELETE of a tag name and its values; refused while resources carry it.
    pub(crate) async fn delete_tag_name(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        self.undeclare(request, pass, request.matched.value(0), None).await
    }

    /// DELETE of a tag value; refused while resources carry it.
    pub(crate) async fn delete_tag_value(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        self.undeclare(request, pass, request.matched.value(0), Some(request.matched.value(1))).await
    }

    async fn declare(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), Failure> {
        let put = Change::PutRecord {
            kind: TAG_NAME.to_owned(),
            key: record_key(request, name, value),
            owner: Some(request.matched.target.key().to_owned()),
            body: json!({"name": name, "value": value}),
            expires: None,
        };
        self.ledger.commit(request.context, pass, Entries { expect: Vec::new(), changes: vec![put] }).await?;
        Ok(())
    }

    async fn undeclare(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        name: &str,
        value: Option<&str>,
    ) -> Result<Reply, Failure> {
        let used = self.ledger.tag_counts(pass).await?.into_iter().find(|count| count.name.eq_ignore_ascii_case(name));
        let is_used = used.is_some_and(|count| match value {
            Some(value) => count.values.iter().any(|known| known.value == value),
            None => count.count > 0,
        });
        if is_used {
            let message = format!("Resources carry the tag '{name}'. Take it off them first.");
            return Err(ArmError::conflict(message).into());
        }
        let key = record_key(request, name, value);
        let mut changes = Vec::new();
        for record in self.ledger.records(request.context, TAG_NAME, request.matched.target.key()).await? {
            if record.key == key || value.is_none() && record.key.starts_with(&format!("{key}/")) {
                changes.push(Change::DeleteRecord { kind: TAG_NAME.to_owned(), key: record.key });
            }
        }
        if changes.is_empty() {
            return Ok(Reply::empty(StatusCode::NO_CONTENT));
        }
        self.ledger.commit(request.context, pass, Entries { expect: Vec::new(), changes }).await?;
        Ok(Reply::empty(StatusCode::OK))
    }

    /// Subscriptions, and the types that are tracked. Anything else is stored in a form of its own, or is a part.
    fn carries_tags(&self, entry: &Entry) -> bool {
        let is_tracked = |registered: Registered| {
            let descriptor = registered.rules.descriptor();
            descriptor.tracked || descriptor.types.is_empty()
        };
        entry.id.is_subscription() || self.registry.find(&entry.row.type_name, "").is_ok_and(is_tracked)
    }

    async fn tagged(&self, request: &Request<'_>, pass: &Pass) -> Result<Entry, Failure> {
        let id = &request.matched.target;
        match self.ledger.resource(pass, id).await? {
            Some(entry) if !self.carries_tags(&entry) => {
                let message =
                    format!("A resource of type '{}' carries no tags. Tag what it belongs to.", entry.row.type_name);
                Err(ArmError::new(400, "ResourceTypeNotSupported", message).into())
            }
            Some(entry) => Ok(entry),
            None if id.is_resource_group() => Err(group_not_found(id).into()),
            None => Err(ArmError::resource_not_found(id).into()),
        }
    }
}

fn tags_resource(entry: &Entry, tags: &BTreeMap<String, String>) -> Value {
    let scope = entry.id.to_string();
    json!({
        "id": format!("{scope}/providers/Microsoft.Resources/tags/default"),
        "name": "default",
        "type": "Microsoft.Resources/tags",
        "properties": {"tags": tags},
    })
}

/// The body's `properties.tags`, held to the same limits as the tags of an envelope.
fn asked_tags(request: &Request<'_>) -> Result<BTreeMap<String, String>, Failure> {
    let body = request.object()?;
    let Some(tags) = body.pointer("/properties/tags") else {
        let message = "The body needs properties.tags, an object of names and values.";
        return Err(ArmError::invalid_parameter("properties.tags", message).into());
    };
    let envelope = Envelope::read_patch(&json!({"tags": tags}))?;
    Ok(envelope.tags.unwrap_or_default())
}

fn patched_tags(request: &Request<'_>, before: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Failure> {
    let asked = asked_tags(request)?;
    let operation = request.object()?.get("operation").and_then(Value::as_str).unwrap_or_default();
    let mut tags = before.clone();
    match operation.to_ascii_lowercase().as_str() {
        "replace" => return Ok(asked),
        "merge" => {
            for (name, value) in asked {
                tags.retain(|known, _| !known.eq_ignore_ascii_case(&name));
                tags.insert(name, value);
            }
        }
        "delete" => {
            // A name with an empty value goes whatever its value; with a value, only if that is the one.
            tags.retain(|known, value| {
                !asked.iter().any(|(name, gone)| known.eq_ignore_ascii_case(name) && (gone.is_empty() || gone == value))
            });
        }
        _ => {
            let message = format!("'{operation}' is not an operation on tags. Use Merge, Replace or Delete.");
            return Err(ArmError::invalid_parameter("operation", message).into());
        }
    }
    Ok(tags)
}

fn tag_name(subscription: &str, count: &TagCount) -> Value {
    let name = &count.name;
    let values: Vec<Value> = count
        .values
        .iter()
        .map(|value| {
            json!({
                "id": format!("{subscription}/tagNames/{name}/tagValues/{}", value.value),
                "tagValue": value.value,
                "count": {"type": "Total", "value": value.count},
            })
        })
        .collect();
    json!({
        "id": format!("{subscription}/tagNames/{name}"),
        "tagName": name,
        "count": {"type": "Total", "value": count.count},
        "values": values,
    })
}

fn check_tag(name: &str, value: &str) -> Result<(), ArmError> {
    Envelope::read_patch(&json!({"tags": {name: value}})).map(drop)
}

/// Names match in any case, values exactly.
fn record_key(request: &Request<'_>, name: &str, value: Option<&str>) -> String {
    let name = name.to_lowercase();
    let subscription = request.matched.target.key();
    value.map_or_else(|| format!("{subscription}/{name}"), |value| format!("{subscription}/{name}/{value}"))
}

/// Kind of the records of declared names and values.
const TAG_NAME: &str = "tag-name";

/// Tags on one resource (arm-models.md 1.1).
const MAX_TAGS: usize = 50;
