//! Policy definitions and initiatives (policy set definitions): the built-in ones, and those of a subscription.

use bastide_access::policy::{
    Definition, Initiative, PolicyError, builtin_definitions, builtin_initiatives, builtin_properties,
};
use bastide_arm::error::ArmError;
use bastide_arm::filter::Property;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::Document;
use bastide_store::{Change, Expectation};
use http::StatusCode;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    DEFINITION, Filter, Reach, SET_DEFINITION, asked_properties, check_name, head, refused, stamp, unstamped, wire_form,
};
use crate::authorization::page_of;
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;
use crate::routes::Operation;

/// The two kinds, which differ in what their properties say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Definition,
    Initiative,
}

impl Front {
    /// GET of the definitions, or initiatives, that can be assigned in a subscription; at the tenant, the built-in ones.
    pub(crate) async fn list_policy_definitions(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let (kind, scope) = (Kind::of(request), &request.matched.target);
        let filter = Filter::read(request, PROPERTIES)?;
        let edition = self.policies.edition(pass.epoch()).await?;
        let mut found: Vec<(String, Value)> = Vec::new();
        // What is made at the scope itself is not built in.
        if filter.reach != Reach::Exact {
            found.extend(kind.builtin_ids().map(|id| (id.to_ascii_lowercase(), builtin(kind, &id))));
        }
        let own = edition.of_type(kind.type_name()).filter(|entry| entry.id.parent().as_ref() == Some(scope));
        found.extend(own.map(|entry| (entry.row.key.clone(), wire_form(entry))));
        found.retain(|(_, body)| {
            filter.matches(&|property| match property.name {
                "policyType" => body.pointer("/properties/policyType")?.as_str(),
                "category" => body.pointer("/properties/metadata/category")?.as_str(),
                "displayName" => body.pointer("/properties/displayName")?.as_str(),
                _ => None,
            })
        });
        page_of(request, found, Value::clone)
    }

    /// GET of one.
    pub(crate) async fn read_policy_definition(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let kind = Kind::of(request);
        Ok(Reply::ok(self.policy_definition(request, pass, kind).await?))
    }

    /// GET of the versions of one, of which there is always the present one alone.
    pub(crate) async fn list_policy_versions(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let kind = Kind::of(request);
        let version = version_of(&self.policy_definition(request, pass, kind).await?, kind);
        page_of(request, vec![(String::new(), version)], Value::clone)
    }

    /// GET of one version.
    pub(crate) async fn read_policy_version(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let kind = Kind::of(request);
        let version = version_of(&self.policy_definition(request, pass, kind).await?, kind);
        let asked = request.matched.values.last().map(String::as_str).unwrap_or_default();
        if version.get("name").and_then(Value::as_str) == Some(asked) {
            return Ok(Reply::ok(version));
        }
        let message = format!("The version '{asked}' could not be found; there is the present version alone.");
        Err(ArmError::new(404, format!("{}VersionNotFound", kind.code()), message).into())
    }

    /// PUT of one: definitions 201 always, as clients want it; initiatives 201 when new.
    pub(crate) async fn put_policy_definition(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let kind = Kind::of(request);
        let id = own_id(request, kind)?;
        check_name(&id, kind.type_name())?;
        let mut properties = asked_properties(request, &["versions"])?;
        let given = properties.get("policyType").and_then(Value::as_str).unwrap_or("Custom");
        if !["Custom", "NotSpecified"].iter().any(|known| known.eq_ignore_ascii_case(given)) {
            let message = "properties.policyType is Custom for what is made here; leave it out.";
            return Err(ArmError::invalid_parameter("properties.policyType", message).into());
        }
        properties.insert("policyType".to_owned(), "Custom".into());
        let version = properties.entry("version").or_insert_with(|| "1.0.0".into()).clone();
        properties.insert("versions".to_owned(), json!([version]));
        if kind == Kind::Definition {
            let mode = properties.get("mode").and_then(Value::as_str).unwrap_or("Indexed");
            properties.insert("mode".to_owned(), canonical_mode(mode).into());
        }
        kind.check(&id.to_string(), &properties).map_err(|error| refused(&error))?;
        let existing = self.ledger.resource(pass, &id).await?;
        let mut entries = Entries::default();
        entries.expect.push(match &existing {
            Some(entry) => entry.unchanged(),
            None => Expectation::ResourceAbsent(id.key().to_owned()),
        });
        let created = if kind == Kind::Definition || existing.is_none() { 201 } else { 200 };
        let before = existing.as_ref().map(|entry| &entry.document.properties);
        if let Some(entry) =
            existing.as_ref().filter(|entry| unstamped(&entry.document.properties) == unstamped(&properties))
        {
            return Ok(Reply::json(created, wire_form(entry)));
        }
        stamp(&mut properties, before, request.context, pass);
        let incarnation = existing.as_ref().map_or_else(Uuid::new_v4, |entry| entry.row.incarnation);
        let id = existing.as_ref().map_or(id, |entry| entry.id.clone());
        let document = Document { properties, ..Document::default() };
        self.others_still_stand(pass, &id, kind, Some(&document)).await?;
        let put = Entry::put(&id, kind.type_name(), incarnation, false, document, pass)?;
        entries.changes = vec![put, Change::RaiseAccessEpoch];
        let committed = self.ledger.commit(request.context, pass, entries).await?;
        let row =
            committed.resources.into_iter().next().ok_or_else(|| Failure::internal("a commit without its resource"))?;
        Ok(Reply::json(created, wire_form(&Entry::read(row)?)))
    }

    /// DELETE of one that nothing refers to.
    pub(crate) async fn delete_policy_definition(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let kind = Kind::of(request);
        let id = own_id(request, kind)?;
        let Some(entry) = self.ledger.resource(pass, &id).await? else {
            return Ok(Reply::empty(StatusCode::NO_CONTENT));
        };
        self.others_still_stand(pass, &entry.id, kind, None).await?;
        self.ledger.commit(request.context, pass, Entries::withdrawing(&entry)).await?;
        Ok(Reply::ok(wire_form(&entry)))
    }

    async fn policy_definition(&self, request: &Request<'_>, pass: &Pass, kind: Kind) -> Result<Value, Failure> {
        let name = request.matched.values.iter().rev().nth(usize::from(has_version(request)));
        let name = name.map(String::as_str).unwrap_or_default();
        let scope = &request.matched.target;
        if scope.is_subscription() {
            let id = ResourceId::parse(&format!("{scope}/providers/{}/{name}", kind.type_name()))?;
            return match self.ledger.resource(pass, &id).await? {
                Some(entry) => Ok(wire_form(&entry)),
                None => Err(not_found(kind, name).into()),
            };
        }
        // The tenant, or what az takes for a management group: the built-in ones are the same everywhere.
        let id =
            kind.builtin_ids().find(|id| id.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(name)));
        id.map(|id| builtin(kind, &id)).ok_or_else(|| not_found(kind, name).into())
    }

    /// What refers to a definition or initiative must still stand when it is changed, or goes.
    async fn others_still_stand(
        &self,
        pass: &Pass,
        id: &ResourceId,
        kind: Kind,
        replacement: Option<&Document>,
    ) -> Result<(), Failure> {
        let edition = self.policies.edition(pass.epoch()).await?;
        let replacement = match (edition.entry(id), replacement) {
            (Some(entry), Some(document)) => Some(Entry { document: document.clone(), ..entry.clone() }),
            // A new one: nothing can refer to it, but what it refers to must be there.
            (None, Some(document)) => return self.check_new(&edition.catalogue, id, kind, document),
            (_, None) => None,
        };
        edition.without(id.key(), replacement.as_ref()).map_err(|(other, error)| {
            if replacement.is_some() && other.eq_ignore_ascii_case(id.key()) {
                return refused(&error).into();
            }
            let (code, deed) = match replacement {
                Some(_) => (format!("Invalid{}", kind.code()), "changed like this"),
                None => (format!("InvalidDelete{}Request", kind.code()), "deleted"),
            };
            let message = format!(
                "The {} '{}' cannot be {deed}, because '{other}' refers to it: {error} Change or delete that first.",
                kind.words(),
                id.name()
            );
            Failure::from(ArmError::new(400, code, message))
        })
    }

    fn check_new(
        &self,
        catalogue: &bastide_access::policy::Catalogue,
        id: &ResourceId,
        kind: Kind,
        document: &Document,
    ) -> Result<(), Failure> {
        if kind == Kind::Initiative {
            let initiative =
                Initiative::read(&id.to_string(), &document.properties).map_err(|error| refused(&error))?;
            let scope = id.parent().unwrap_or_else(ResourceId::tenant);
            for member in &initiative.members {
                super::assignment::check_reach(&member.definition_id, &scope)?;
            }
            catalogue.check_initiative(&initiative).map_err(|error| refused(&error))?;
        }
        Ok(())
    }
}

impl Kind {
    fn of(request: &Request<'_>) -> Self {
        match request.matched.route.operation {
            Operation::ListPolicySetDefinitions
            | Operation::ReadPolicySetDefinition
            | Operation::PutPolicySetDefinition
            | Operation::DeletePolicySetDefinition
            | Operation::ListPolicySetVersions
            | Operation::ReadPolicySetVersion => Self::Initiative,
            _ => Self::Definition,
        }
    }

    fn type_name(self) -> &'static str {
        match self {
            Self::Definition => DEFINITION,
            Self::Initiative => SET_DEFINITION,
        }
    }

    /// What its codes are made with.
    fn code(self) -> &'static str {
        match self {
            Self::Definition => "PolicyDefinition",
            Self::Initiative => "PolicySetDefinition",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Definition => "policy definition",
            Self::Initiative => "policy set definition",
        }
    }

    fn builtin_ids(self) -> Box<dyn Iterator<Item = String> + Send> {
        match self {
            Self::Definition => Box::new(builtin_definitions().iter().map(|definition| definition.id.clone())),
            Self::Initiative => Box::new(builtin_initiatives().iter().map(|initiative| initiative.id.clone())),
        }
    }

    fn check(self, id: &str, properties: &Map<String, Value>) -> Result<(), PolicyError> {
        match self {
            Self::Definition => Definition::read(id, properties).map(drop),
            Self::Initiative => Initiative::read(id, properties).map(drop),
        }
    }
}

/// The wire form of a built-in one.
fn builtin(kind: Kind, id: &str) -> Value {
    let mut body = head(id, kind.type_name());
    let mut properties = builtin_properties(id).cloned().unwrap_or_default();
    let version = properties.get("version").cloned().unwrap_or_else(|| "1.0.0".into());
    properties.insert("versions".to_owned(), json!([version]));
    body.insert("properties".to_owned(), Value::Object(properties));
    Value::Object(body)
}

fn version_of(definition: &Value, kind: Kind) -> Value {
    let version = definition.pointer("/properties/version").and_then(Value::as_str).unwrap_or("1.0.0");
    let id = definition.get("id").and_then(Value::as_str).unwrap_or_default();
    let mut body = head(&format!("{id}/versions/{version}"), &format!("{}/versions", kind.type_name()));
    let mut properties = definition.get("properties").cloned().unwrap_or_default();
    if let Some(fields) = properties.as_object_mut() {
        fields.remove("versions");
    }
    body.insert("properties".to_owned(), properties);
    Value::Object(body)
}

fn own_id(request: &Request<'_>, kind: Kind) -> Result<ResourceId, ArmError> {
    let name = request.matched.values.last().map(String::as_str).unwrap_or_default();
    ResourceId::parse(&format!("{}/providers/{}/{name}", request.matched.target, kind.type_name()))
}

fn has_version(request: &Request<'_>) -> bool {
    matches!(request.matched.route.operation, Operation::ReadPolicyVersion | Operation::ReadPolicySetVersion)
}

fn not_found(kind: Kind, name: &str) -> ArmError {
    let message = format!("The {} '{name}' could not be found.", kind.words());
    ArmError::new(404, format!("{}NotFound", kind.code()), message)
}

/// A mode in its one spelling; what is none is refused later.
fn canonical_mode(mode: &str) -> &str {
    ["All", "Indexed"].into_iter().find(|known| known.eq_ignore_ascii_case(mode)).unwrap_or(mode)
}

const PROPERTIES: &[Property] =
    &[Property::any_case("policyType"), Property::any_case("category"), Property::any_case("displayName")];
