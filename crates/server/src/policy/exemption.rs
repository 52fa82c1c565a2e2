//! Policy exemptions: `{scope}/providers/Microsoft.Authorization/policyExemptions/{name}`.

use bastide_access::policy::Exemption;
use bastide_arm::error::ArmError;
use bastide_arm::filter::Property;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::Document;
use bastide_store::{Change, Expectation};
use http::{Method, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use super::book::read_exemption;
use super::sight::{Seen, Sights};
use super::{ASSIGNMENT, EXEMPTION, Filter, asked_properties, check_name, refused, stamp, unstamped, wire_form};
use crate::authorization::page_of;
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// GET of the exemptions at a scope, above it and below it, as the filter says.
    pub(crate) async fn list_policy_exemptions(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let filter = Filter::read(request, &[Property::any_case("policyAssignmentId")])?;
        let edition = self.policies.edition(pass.epoch()).await?;
        let mut found = Vec::new();
        for entry in edition.of_type(EXEMPTION) {
            let assignment = entry.document.properties.get("policyAssignmentId").and_then(Value::as_str);
            let is_over = read_exemption(entry).is_ok_and(|exemption| exemption.has_expired(request.context.now));
            let fits = filter.matches(&|_| assignment) && !(filter.exclude_expired && is_over);
            let made_at = entry.id.parent().unwrap_or_else(ResourceId::tenant);
            if fits && filter.reaches(&made_at, &request.matched.target) {
                found.push((entry.row.key.clone(), entry));
            }
        }
        page_of(request, found, |entry| wire_form(entry))
    }

    /// GET of one.
    pub(crate) async fn read_policy_exemption(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        Ok(Reply::ok(wire_form(&self.policy_exemption(request, pass).await?)))
    }

    /// PUT of one, 201 when it is new; and PATCH. Who makes one must be allowed to let things off the assignment.
    pub(crate) async fn put_policy_exemption(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let is_patch = request.context.method == Method::PATCH;
        let id = &request.matched.target;
        check_name(id, EXEMPTION)?;
        let mut entries = Entries::default();
        let scope = self.policy_scope(pass, id, &mut entries).await?;
        let existing = if is_patch {
            Some(self.policy_exemption(request, pass).await?)
        } else {
            self.ledger.resource(pass, id).await?
        };
        let mut properties = match (&existing, is_patch) {
            (Some(entry), true) => entry.document.properties.clone(),
            _ => serde_json::Map::new(),
        };
        properties.extend(asked_properties(request, &[])?);
        let id = existing.as_ref().map_or_else(|| id.with_spelling_of(&scope), |entry| entry.id.clone());
        let exemption =
            Exemption::read(&id.to_string(), &scope.to_string(), &properties).map_err(|error| refused(&error))?;
        properties.insert("exemptionCategory".to_owned(), exemption.category.name().into());
        self.check_exemption(pass, &exemption, &scope, &mut entries).await?;
        let status = if existing.is_some() { 200 } else { 201 };
        if let Some(entry) =
            existing.as_ref().filter(|entry| unstamped(&entry.document.properties) == unstamped(&properties))
        {
            return Ok(Reply::ok(wire_form(entry)));
        }
        stamp(&mut properties, existing.as_ref().map(|entry| &entry.document.properties), request.context, pass);
        entries.expect.push(match &existing {
            Some(entry) => entry.unchanged(),
            None => Expectation::ResourceAbsent(id.key().to_owned()),
        });
        let incarnation = existing.as_ref().map_or_else(Uuid::new_v4, |entry| entry.row.incarnation);
        let document = Document { properties, ..Document::default() };
        entries.changes =
            vec![Entry::put(&id, EXEMPTION, incarnation, false, document, pass)?, Change::RaiseAccessEpoch];
        let committed = self.ledger.commit(request.context, pass, entries).await?;
        let row =
            committed.resources.into_iter().next().ok_or_else(|| Failure::internal("a commit without its resource"))?;
        Ok(Reply::json(status, wire_form(&Entry::read(row)?)))
    }

    /// DELETE of one.
    pub(crate) async fn delete_policy_exemption(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let Some(entry) = self.ledger.resource(pass, &request.matched.target).await? else {
            return Ok(Reply::empty(StatusCode::NO_CONTENT));
        };
        self.ledger.commit(request.context, pass, Entries::withdrawing(&entry)).await?;
        Ok(Reply::empty(StatusCode::OK))
    }

    async fn policy_exemption(&self, request: &Request<'_>, pass: &Pass) -> Result<Entry, Failure> {
        let id = &request.matched.target;
        self.ledger.resource(pass, id).await?.ok_or_else(|| {
            let message = format!("The policy exemption '{}' could not be found at its scope.", id.name());
            ArmError::new(404, "PolicyExemptionNotFound", message).into()
        })
    }

    /// The assignment must be there and reach the scope; and letting something off it takes a right on the assignment
    /// itself, or whoever may write at a narrow scope could free themselves.
    async fn check_exemption(
        &self,
        pass: &Pass,
        exemption: &Exemption,
        scope: &ResourceId,
        entries: &mut Entries,
    ) -> Result<(), Failure> {
        let target = "properties.policyAssignmentId";
        let not_found = || {
            let message = format!("The policy assignment '{}' could not be found.", exemption.assignment_id);
            ArmError::new(404, "PolicyAssignmentNotFound", message).with_target(target)
        };
        let id = ResourceId::parse(&exemption.assignment_id).map_err(|_| not_found())?;
        self.gatekeeper.authorise_linked(pass, EXEMPT, &id).await?;
        let edition = self.policies.edition(pass.epoch()).await?;
        let entry = edition.entry(&id).filter(|entry| entry.row.type_name == ASSIGNMENT).ok_or_else(not_found)?;
        entries.expect.push(entry.stands());
        let assigned_at = id.parent().unwrap_or_else(ResourceId::tenant);
        if !scope.is_within(&assigned_at) && !self.is_under(pass, scope, &assigned_at).await? {
            let message = format!(
                "The assignment '{}' holds at '{assigned_at}' and below; '{scope}' is not there, so there is nothing to \
                 be exempt from.",
                entry.id.name()
            );
            return Err(ArmError::new(400, "InvalidPolicyExemptionScope", message).with_target(target).into());
        }
        let assignment = super::assignment::understood(entry)?;
        if exemption.reference_ids.is_empty() {
            return Ok(());
        }
        let initiative = edition.catalogue.initiative(&assignment.policy_id);
        let is_known = |reference: &&String| {
            let members = initiative.map(|initiative| initiative.members.as_slice()).unwrap_or_default();
            members.iter().any(|member| member.reference_id.eq_ignore_ascii_case(reference))
        };
        match exemption.reference_ids.iter().find(|reference| !is_known(reference)) {
            None => Ok(()),
            Some(unknown) => {
                let message =
                    format!("The assignment has no rule '{unknown}'. Leave the reference ids out, or correct them.");
                let target = "properties.policyDefinitionReferenceIds";
                Err(ArmError::new(400, "InvalidPolicyExemption", message).with_target(target).into())
            }
        }
    }

    /// Whether a scope is, or is in, a project of a hub.
    async fn is_under(&self, pass: &Pass, scope: &ResourceId, hub: &ResourceId) -> Result<bool, Failure> {
        let Some(entry) = self.ledger.surrounding(pass, scope).await? else { return Ok(false) };
        let under = Sights::new(&self.policies, &[]).hub_of(&Seen::stored(&entry.row)?).await?;
        Ok(under.as_deref() == Some(hub.key()))
    }
}

const EXEMPT: &str = "Microsoft.Authorization/policyAssignments/exempt/action";
