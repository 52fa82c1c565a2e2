//! Policy assignments: `{scope}/providers/Microsoft.Authorization/policyAssignments/{name}`.

use bastide_arm::envelope::{Envelope, IdentityRequest};
use bastide_arm::error::ArmError;
use bastide_arm::filter::Property;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Document, IdentitySupport};
use bastide_store::{Change, Expectation};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::book::read_assignment;
use super::{ASSIGNMENT, Filter, asked_properties, check_name, refused, stamp, unstamped};
use crate::authorization::page_of;
use crate::failure::Failure;
use crate::front::Front;
use crate::identities;
use crate::ledger::{Entries, Entry};
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// GET of the assignments at a scope, above it and below it, as the filter says.
    pub(crate) async fn list_policy_assignments(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let filter = Filter::read(request, PROPERTIES)?;
        let scope = &request.matched.target;
        let edition = self.policies.edition(pass.epoch()).await?;
        let mut found = Vec::new();
        for entry in edition.of_type(ASSIGNMENT) {
            let policy = entry.document.properties.get("policyDefinitionId").and_then(Value::as_str);
            let fits = filter.matches(&|property| match property.name {
                "policyDefinitionId" => policy,
                "name" => Some(entry.id.name()),
                _ => None,
            });
            if fits && filter.reaches(&entry.id.parent().unwrap_or_else(ResourceId::tenant), scope) {
                found.push((entry.row.key.clone(), entry));
            }
        }
        page_of(request, found, |entry| answer(entry, request.tenant_id))
    }

    /// GET of one.
    pub(crate) async fn read_policy_assignment(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let entry = self.policy_assignment(request, pass).await?;
        Ok(Reply::ok(answer(&entry, request.tenant_id)))
    }

    /// PUT of one: 201 always, as clients want it. PATCH of its identity, location and properties: 200.
    pub(crate) async fn put_policy_assignment(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let is_patch = request.context.method == Method::PATCH;
        let id = &request.matched.target;
        check_name(id, ASSIGNMENT)?;
        let mut entries = Entries::default();
        let scope = self.policy_scope(pass, id, &mut entries).await?;
        let existing = if is_patch {
            Some(self.policy_assignment(request, pass).await?)
        } else {
            self.ledger.resource(pass, id).await?
        };
        let envelope = Envelope::read_patch(request.object()?)?;
        let mut document = match (&existing, is_patch) {
            (Some(entry), true) => entry.document.clone(),
            _ => Document::default(),
        };
        document.location = envelope.location.as_ref().map(|place| place.as_str().to_owned()).or(document.location);
        if !is_patch || !envelope.properties.is_empty() {
            document.properties.extend(asked_properties(request, READ_ONLY)?);
        }
        complete(&mut document.properties, &scope, existing.as_ref());
        let id = existing.as_ref().map_or_else(|| id.with_spelling_of(&scope), |entry| entry.id.clone());
        self.check_assignment(pass, &id, &scope, &document).await?;
        let effects = self
            .assignment_identity(request, pass, (&id, &envelope, existing.as_ref()), &mut document, &mut entries)
            .await?;
        let status = if is_patch { 200 } else { 201 };
        let stands = existing.as_ref().filter(|entry| {
            effects.is_empty()
                && entry.document.identity == document.identity
                && entry.document.location == document.location
                && unstamped(&entry.document.properties) == unstamped(&document.properties)
        });
        if let Some(entry) = stands {
            return Ok(Reply::json(status, answer(entry, request.tenant_id)));
        }
        let before = existing.as_ref().map(|entry| &entry.document.properties);
        stamp(&mut document.properties, before, request.context, pass);
        entries.expect.push(match &existing {
            Some(entry) => entry.unchanged(),
            None => Expectation::ResourceAbsent(id.key().to_owned()),
        });
        let incarnation = existing.as_ref().map_or_else(Uuid::new_v4, |entry| entry.row.incarnation);
        self.apply_effects(incarnation, &id, effects, &mut entries.changes)?;
        entries.changes.push(Entry::put(&id, ASSIGNMENT, incarnation, false, document, pass)?);
        entries.changes.push(Change::RaiseAccessEpoch);
        let committed = self.ledger.commit(request.context, pass, entries).await?;
        let row = committed.resources.into_iter().find(|row| row.key == id.key());
        let entry = Entry::read(row.ok_or_else(|| Failure::internal("a commit without its resource"))?)?;
        Ok(Reply::json(status, answer(&entry, request.tenant_id)))
    }

    /// DELETE of one: 200 with what it was, 204 when there was none.
    pub(crate) async fn delete_policy_assignment(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let Some(entry) = self.ledger.resource(pass, &request.matched.target).await? else {
            return Ok(Reply::empty(StatusCode::NO_CONTENT));
        };
        let mut entries = Entries { expect: vec![entry.unchanged()], changes: Vec::new() };
        self.remove(&entry, &mut entries)?;
        self.ledger.commit(request.context, pass, entries).await?;
        Ok(Reply::ok(answer(&entry, request.tenant_id)))
    }

    /// What an assignment or exemption hangs on; policies hold in subscriptions.
    pub(super) async fn policy_scope(
        &self,
        pass: &Pass,
        id: &ResourceId,
        entries: &mut Entries,
    ) -> Result<ResourceId, Failure> {
        let scope = self.standing_scope(pass, id, entries).await?;
        if !scope.is_tenant() {
            return Ok(scope);
        }
        let message = "Policies are assigned at a subscription, a resource group or a resource, not at the tenant.";
        Err(ArmError::new(400, "InvalidPolicyScope", message).into())
    }

    async fn policy_assignment(&self, request: &Request<'_>, pass: &Pass) -> Result<Entry, Failure> {
        let id = &request.matched.target;
        self.ledger.resource(pass, id).await?.ok_or_else(|| {
            let message = format!("The policy assignment '{}' could not be found at its scope.", id.name());
            ArmError::new(404, "PolicyAssignmentNotFound", message).into()
        })
    }

    async fn check_assignment(
        &self,
        pass: &Pass,
        id: &ResourceId,
        scope: &ResourceId,
        document: &Document,
    ) -> Result<(), Failure> {
        let read = bastide_access::policy::Assignment::read(&id.to_string(), &scope.to_string(), &document.properties);
        let assignment = read.map_err(|error| refused(&error))?;
        check_reach(&assignment.policy_id, scope)?;
        let edition = self.policies.edition(pass.epoch()).await?;
        edition.catalogue.check_assignment(&assignment).map_err(|error| {
            let status = if error.code == "PolicyDefinitionNotFound" { 404 } else { 400 };
            ArmError::new(status, error.code, error.message.clone()).with_target(error.place.clone())
        })?;
        // Exemptions hang on rules of it by name; those that no longer fit any are harmless.
        Ok(())
    }

    /// The identity that an assignment carries for templates that give it roles. Policies here need none: what they
    /// change of a request they change themselves.
    async fn assignment_identity(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        (id, envelope, existing): (&ResourceId, &Envelope, Option<&Entry>),
        document: &mut Document,
        entries: &mut Entries,
    ) -> Result<Vec<bastide_arm::resource_type::Effect>, Failure> {
        let carries = |asked: &IdentityRequest| asked.system_assigned || !asked.user_assigned.is_empty();
        if envelope.identity.as_ref().is_some_and(carries) && document.location.is_none() {
            let message = "An assignment with an identity needs a location.";
            return Err(ArmError::invalid_parameter("location", message).into());
        }
        let before = existing.and_then(|entry| entry.document.identity.clone());
        let stood = identities::links_of(before.as_ref())?;
        let linked =
            self.linked(pass, &identities::links(envelope.identity.as_ref()), &stood, &mut entries.expect).await?;
        let asked = identities::Asked {
            support: IdentitySupport::Optional,
            request: envelope.identity.as_ref(),
            is_patch: request.context.method == Method::PATCH,
        };
        let (identity, effects) = identities::resolve(&asked, before, &linked, id)?;
        document.identity = identity;
        Ok(effects)
    }
}

/// What is assigned must be built in, or made in the same subscription.
pub(super) fn check_reach(policy_id: &str, scope: &ResourceId) -> Result<(), ArmError> {
    let not_found = || {
        let message = format!(
            "The policy definition '{policy_id}' could not be found. Give the id of a definition or an initiative of \
             this subscription, or of a built-in one."
        );
        ArmError::new(404, "PolicyDefinitionNotFound", message).with_target("properties.policyDefinitionId")
    };
    let id = ResourceId::parse(policy_id).map_err(|_| not_found())?;
    let made_at = id.parent().unwrap_or_else(ResourceId::tenant);
    if made_at.is_tenant() || scope.is_within(&made_at) { Ok(()) } else { Err(not_found()) }
}

/// What an assignment has without being told.
fn complete(properties: &mut Map<String, Value>, scope: &ResourceId, existing: Option<&Entry>) {
    properties.insert("scope".to_owned(), json!(scope.to_string()));
    for (name, value) in [("enforcementMode", json!("Default")), ("notScopes", json!([])), ("parameters", json!({}))] {
        properties.entry(name).or_insert(value);
    }
    let stands = existing.and_then(|entry| entry.document.properties.get("instanceId").cloned());
    properties.insert("instanceId".to_owned(), stands.unwrap_or_else(|| json!(Uuid::new_v4())));
}

fn answer(entry: &Entry, tenant_id: Uuid) -> Value {
    let mut body = super::wire_form(entry);
    if let (Some(fields), Some(identity)) = (body.as_object_mut(), &entry.document.identity) {
        fields.insert("identity".to_owned(), identity.answer(tenant_id));
    }
    body
}

/// Whether an assignment can be read; used where one is looked at by itself.
pub(super) fn understood(entry: &Entry) -> Result<bastide_access::policy::Assignment, Failure> {
    read_assignment(entry).map_err(|error| Failure::internal(format!("{} does not compile: {error}", entry.id)))
}

const READ_ONLY: &[&str] = &["scope", "instanceId", "latestDefinitionVersion", "effectiveDefinitionVersion"];

const PROPERTIES: &[Property] = &[Property::any_case("policyDefinitionId"), Property::any_case("name")];
