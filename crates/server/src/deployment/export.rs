//! A template of what stands in a group: `az group export`.
//!
//! Each resource is read through the front door with the rights of whoever asks, and what a GET shows, a PUT takes back;
//! so a template is what is read, without what only reading shows, with names as parameters and ids as expressions.
//! Whatever cannot be had that way is left out and named in the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::Descriptor;
use bastide_store::ResourceQuery;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use serde_json::{Map, Value, json};

use super::lookups::Lookups;
use super::redaction::Redaction;
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entry, group_not_found};
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// POST of exportTemplate on a group. Answered at once: nothing in it waits for anything.
    pub(crate) async fn export_group(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let group = &request.matched.target;
        let asked = Asked::read(request, group)?;
        let Some(group) = self.ledger.resource(pass, group).await? else { return Err(group_not_found(group).into()) };
        let lookups = Lookups::new(self, pass.principal(), request.context, Arc::new(Redaction::default()));
        let mut template = Template::new(asked);
        let mut refused = Vec::new();
        let entries = self.exportable(pass, &group.id).await?;
        for wanted in template.asked.resources.iter().flatten() {
            if !entries.iter().any(|entry| entry.id == *wanted) {
                refused.push(ArmError::resource_not_found(wanted).with_target(wanted.to_string()));
            }
        }
        for entry in entries {
            if template.asked.resources.as_ref().is_some_and(|wanted| !wanted.contains(&entry.id)) {
                continue;
            }
            match self.exported(&lookups, &entry).await {
                Ok(source) => template.sources.push(source),
                Err(Failure::Refused(error)) => refused.push(error.with_target(entry.id.to_string())),
                Err(failure) => return Err(failure),
            }
        }
        let mut body = json!({"template": template.written(&mut refused)});
        if let (false, Some(fields)) = (refused.is_empty(), body.as_object_mut()) {
            let message = "The template lacks some of what stands in the group; see the details for what and why.";
            let details: Vec<Value> = refused.iter().map(ArmError::to_error_value).collect();
            fields
                .insert("error".into(), json!({"code": COMPLETED_WITH_ERRORS, "message": message, "details": details}));
        }
        Ok(Reply::ok(body))
    }

    /// What stands in a group, parents before children.
    async fn exportable(&self, pass: &Pass, group: &ResourceId) -> Result<Vec<Entry>, Failure> {
        let mut query = ResourceQuery { prefix: Some(group.prefix()), limit: PAGE, ..ResourceQuery::default() };
        let mut entries = Vec::new();
        loop {
            let page = self.ledger.resources(pass, &query).await?;
            let rest_after = page.last().filter(|_| page.len() == PAGE as usize).map(|last| last.row.key.clone());
            entries.extend(page.into_iter().filter(|entry| !is_about_others(&entry.id)));
            if entries.len() > MAX_RESOURCES {
                let message = format!(
                    "The group holds more than {MAX_RESOURCES} resources, which is what a template may have. Name those \
                     to export."
                );
                return Err(ArmError::new(400, "ExportTemplateTooLarge", message).into());
            }
            match rest_after {
                Some(after) => query.after = Some(after),
                None => return Ok(entries),
            }
        }
    }

    /// One resource as a template would write it, or why it cannot. Boxed, because asking for it leads here again.
    fn exported<'a>(&'a self, lookups: &'a Lookups<'_>, entry: &'a Entry) -> BoxFuture<'a, Result<Source, Failure>> {
        let unexportable = |why: &str| Failure::from(ArmError::new(400, "ResourceNotExportable", why));
        async move {
            let registered = self.registry.find(&entry.row.type_name, "")?;
            let descriptor = registered.rules.descriptor();
            let Some(api_version) = newest(descriptor) else {
                return Err(unexportable("It is stored without being understood; write it into the template yourself."));
            };
            if descriptor.surroundings.secrets && !self.ledger.store().secrets(entry.row.incarnation).await?.is_empty() {
                return Err(unexportable(
                    "It holds a secret, which nobody can read back. Write it into the template with a secure parameter.",
                ));
            }
            let uri = lookups.uri(&entry.id.to_string(), None, Some(api_version))?;
            let read = lookups.ask(Method::GET, uri.clone(), None).await?.into_body().unwrap_or_default();
            let body = writable(read, descriptor);
            let context = lookups.context.step(Method::PUT, uri, self.clock.now());
            match self.rehearse(lookups.principal, &context, Value::Object(body.clone())).await {
                // Who exports need not be who deploys.
                Err(Failure::Refused(error)) if error.status != 403 && error.code != "ScopeLocked" => Err(error.into()),
                Err(failure @ (Failure::Internal(_) | Failure::Unavailable(_) | Failure::Full(_))) => Err(failure),
                _ => Ok(Source { id: entry.id.clone(), type_name: registered.name, api_version, body }),
            }
        }
        .boxed()
    }
}

/// Deployments, role assignments, locks and policies say something about what stands in a group, and are no part of it.
fn is_about_others(id: &ResourceId) -> bool {
    let own = ["Microsoft.Authorization", "Microsoft.Resources"];
    id.is_extension() || own.iter().any(|own| own.eq_ignore_ascii_case(id.namespace()))
}

/// What the caller wants.
struct Asked {
    /// These only; none for all.
    resources: Option<Vec<ResourceId>>,
    names_as_parameters: bool,
    default_values: bool,
    comments: bool,
}

/// A resource as it was read, ready to be written.
struct Source {
    id: ResourceId,
    type_name: String,
    api_version: &'static str,
    body: Map<String, Value>,
}

struct Template {
    asked: Asked,
    sources: Vec<Source>,
}

impl Asked {
    fn read(request: &Request<'_>, group: &ResourceId) -> Result<Self, ArmError> {
        let body = request.object()?;
        let resources = body.get("resources").and_then(Value::as_array).filter(|resources| !resources.is_empty());
        let resources = resources.ok_or_else(|| {
            ArmError::invalid_parameter("resources", "Say which resources to export: their ids, or \"*\" for all.")
        })?;
        let is_all = resources.iter().any(|resource| resource == "*");
        let id = |resource: &Value| match resource.as_str().map(ResourceId::parse) {
            Some(Ok(id)) if id.is_within(group) => Ok(id),
            _ => Err(ArmError::invalid_parameter(
                "resources",
                format!("{resource} is no id of a resource in '{group}'."),
            )),
        };
        let resources = if is_all { None } else { Some(resources.iter().map(id).collect::<Result<_, _>>()?) };
        let mut asked = Self { resources, names_as_parameters: true, default_values: false, comments: false };
        let options = body.get("options").and_then(Value::as_str).unwrap_or_default();
        for option in options.split(',').map(str::trim).filter(|option| !option.is_empty()) {
            match option.to_ascii_lowercase().as_str() {
                "includeparameterdefaultvalue" => asked.default_values = true,
                "includecomments" => asked.comments = true,
                "skipresourcenameparameterization" | "skipallparameterization" => asked.names_as_parameters = false,
                _ => {
                    let message = "Use IncludeParameterDefaultValue, IncludeComments, \
                        SkipResourceNameParameterization or SkipAllParameterization.";
                    return Err(ArmError::invalid_parameter("options", message));
                }
            }
        }
        Ok(asked)
    }
}

impl Template {
    fn new(asked: Asked) -> Self {
        Self { asked, sources: Vec::new() }
    }

    fn written(&self, refused: &mut Vec<ArmError>) -> Value {
        let mut parameters = Map::new();
        let mut needs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut resources = Vec::new();
        for source in &self.sources {
            if let Some(parameter) = self.parameter(&source.id) {
                let default = self.asked.default_values.then(|| source.id.name());
                let declared = match default {
                    Some(name) => json!({"defaultValue": escaped(name), "type": "String"}),
                    None => json!({"type": "String"}),
                };
                parameters.insert(parameter, declared);
            }
            let mut found = BTreeSet::new();
            let mut body = source.body.clone();
            for (name, member) in &mut body {
                let mut named = BTreeSet::new();
                self.rewrite(member, &mut named);
                // Whoever manages it, or is named in a label, need not be there first.
                if !matches!(name.as_str(), "managedBy" | "tags") {
                    found.extend(named);
                }
            }
            found.extend(source.id.parent().and_then(|parent| self.source(&parent)).map(|parent| parent.id.key()));
            found.remove(source.id.key());
            if let Some(circle) = found.iter().find(|need| reaches(&needs, need, source.id.key())) {
                let message = format!("It and '{circle}' name each other; deploy it a second time by itself.");
                refused.push(ArmError::new(400, "CircularDependency", message).with_target(source.id.to_string()));
                continue;
            }
            resources.push(self.resource(source, body, &found));
            needs.insert(source.id.key(), found);
        }
        json!({
            "$schema": "https://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json#",
            "contentVersion": "1.0.0.0",
            "parameters": parameters,
            "variables": {},
            "resources": resources,
        })
    }

    fn resource(&self, source: &Source, body: Map<String, Value>, needs: &BTreeSet<&str>) -> Value {
        let mut resource = Map::new();
        if self.asked.comments {
            resource.insert("comments".into(), format!("Generalized from resource: '{}'.", source.id).into());
        }
        resource.insert("type".into(), source.type_name.clone().into());
        resource.insert("apiVersion".into(), source.api_version.into());
        let words = self.name_words(&source.id);
        let name = match words.as_slice() {
            [word] if word.starts_with("parameters(") => format!("[{word}]"),
            words if words.iter().any(|word| word.starts_with("parameters(")) => {
                format!("[concat({})]", words.join(", '/', "))
            }
            _ => escaped(&source.id.names().join("/")),
        };
        resource.insert("name".into(), name.into());
        if !needs.is_empty() {
            let id = |key: &&str| self.sources.iter().find(|source| source.id.key() == *key).map(|it| self.id_of(it));
            let depends: Vec<String> = needs.iter().filter_map(id).map(|id| format!("[{id}]")).collect();
            resource.insert("dependsOn".into(), depends.into());
        }
        resource.extend(body);
        Value::Object(resource)
    }

    /// Puts expressions in place of the ids of exported resources, and notes whose they were.
    fn rewrite<'a>(&'a self, value: &mut Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::String(text) => *text = self.rewritten(text, found),
            Value::Array(items) => items.iter_mut().for_each(|item| self.rewrite(item, found)),
            Value::Object(members) => {
                let rewritten = std::mem::take(members).into_iter().map(|(name, mut member)| {
                    self.rewrite(&mut member, found);
                    // Identities are named by their ids.
                    let name = if name.starts_with('/') { self.rewritten(&name, found) } else { name };
                    (name, member)
                });
                *members = rewritten.collect();
            }
            _ => {}
        }
    }

    fn rewritten<'a>(&'a self, text: &str, found: &mut BTreeSet<&'a str>) -> String {
        let key = text.to_ascii_lowercase();
        let is_named = |source: &&Source| key == source.id.key() || key.starts_with(&source.id.prefix());
        // The longest is the nearest.
        let Some(source) = self.sources.iter().filter(is_named).max_by_key(|source| source.id.key().len()) else {
            return escaped(text);
        };
        found.insert(source.id.key());
        let id = self.id_of(source);
        match text.get(source.id.key().len()..).filter(|rest| !rest.is_empty()) {
            Some(rest) => format!("[concat({id}, {})]", quoted(rest)),
            None => format!("[{id}]"),
        }
    }

    fn id_of(&self, source: &Source) -> String {
        format!("resourceId({}, {})", quoted(&source.type_name), self.name_words(&source.id).join(", "))
    }

    /// The segments of a name as words of an expression. The first is a parameter where its resource is exported.
    fn name_words(&self, id: &ResourceId) -> Vec<String> {
        let mut words: Vec<String> = id.names().into_iter().map(quoted).collect();
        let mut top = id.clone();
        while let Some(parent) = top.parent().filter(ResourceId::is_resource) {
            top = parent;
        }
        let parameter = self.source(&top).and_then(|_| self.parameter(&top));
        if let (Some(parameter), Some(first)) = (parameter, words.first_mut()) {
            *first = format!("parameters({})", quoted(&parameter));
        }
        words
    }

    /// The parameter of a resource's name; children are named after their parents.
    fn parameter(&self, id: &ResourceId) -> Option<String> {
        let [kind] = id.types()[..] else { return None };
        let is_plain = |letter: char| letter.is_ascii_alphanumeric();
        let name: String = id.name().chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
        let of_same_name = |other: &&Source| {
            other.id.key() < id.key() && other.id.types() == id.types() && other.id.name().len() == id.name().len()
        };
        // Names that differ in signs only would be one parameter.
        let same = self.sources.iter().filter(of_same_name).filter(|other| {
            let letters = other.id.name().chars().zip(name.chars());
            letters.into_iter().all(|(other, own)| if is_plain(other) { other == own } else { own == '_' })
        });
        let number = match same.count() {
            0 => String::new(),
            others => format!("_{}", others + 1),
        };
        self.asked.names_as_parameters.then(|| format!("{kind}_{name}_name{number}"))
    }

    fn source(&self, id: &ResourceId) -> Option<&Source> {
        self.sources.iter().find(|source| source.id == *id)
    }
}

/// The part of what a GET shows that a PUT is for.
fn writable(read: Value, descriptor: &Descriptor) -> Map<String, Value> {
    let Value::Object(mut body) = read else { return Map::new() };
    body.retain(|name, value| !READ_ONLY.contains(&name.as_str()) && !value.is_null());
    if body.get("tags").and_then(Value::as_object).is_some_and(Map::is_empty) {
        body.remove("tags");
    }
    if let Some(Value::Object(properties)) = body.get_mut("properties") {
        properties.retain(|name, value| !descriptor.read_only.contains(&name.as_str()) && !value.is_null());
    }
    if let Some(Value::Object(identity)) = body.get_mut("identity") {
        identity.retain(|name, _| matches!(name.as_str(), "type" | "userAssignedIdentities"));
        if let Some(Value::Object(assigned)) = identity.get_mut("userAssignedIdentities") {
            assigned.values_mut().for_each(|identity| *identity = json!({}));
        }
    }
    body
}

/// The first version that is no preview, else the first.
fn newest(descriptor: &Descriptor) -> Option<&'static str> {
    let versions = descriptor.api_versions;
    versions.iter().find(|version| !version.contains("preview")).or(versions.first()).copied()
}

/// Whether one resource waits for another, directly or through others.
fn reaches(needs: &BTreeMap<&str, BTreeSet<&str>>, from: &str, to: &str) -> bool {
    let mut frontier = vec![from];
    let mut seen = BTreeSet::new();
    while let Some(key) = frontier.pop() {
        if key == to {
            return true;
        }
        if seen.insert(key) {
            frontier.extend(needs.get(key).into_iter().flatten());
        }
    }
    false
}

/// A text that is no expression, whatever it begins with.
fn escaped(text: &str) -> String {
    if text.starts_with('[') { format!("[{text}") } else { text.to_owned() }
}

/// A text inside an expression.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What the front door says of a resource by itself.
const READ_ONLY: [&str; 6] = ["bastide", "etag", "id", "name", "systemData", "type"];

const COMPLETED_WITH_ERRORS: &str = "ExportTemplateCompletedWithErrors";

/// What a template may have (infrastructure-as-code.md 3.9: 800 resources).
const MAX_RESOURCES: usize = 800;

const PAGE: u32 = 500;
