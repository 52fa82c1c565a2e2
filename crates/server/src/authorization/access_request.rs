//! Access requests, `{scope}/providers/Bastide.Authorization/accessRequests/{guid}`: whoever is refused can ask, and
//! whoever may grant decides (mission.md A9).
//!
//! Anybody may ask for themselves, for any scope of a subscription that is there: whether the scope itself is there is
//! not told. A request is seen by who made it and by those who may assign roles at its scope. To approve one is to
//! assign the role, with the rights of the approver at that moment, under the request's own name.

mod stored;

use bastide_access::guard;
use bastide_access::{PrincipalType, RoleAssignment};
use bastide_arm::error::ArmError;
use bastide_arm::filter::{Expr, Property};
use bastide_arm::id::ResourceId;
use bastide_arm::path::PathSegments;
use bastide_store::{Change, Expectation, RecordQuery};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use self::stored::{AccessRequest, KIND, Standing, Status};
use super::page_of;
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entries;
use crate::lock::Intent;
use crate::pass::{ASSIGN, Pass};
use crate::reply::Reply;
use crate::request::Request;
use crate::routes;

impl Front {
    /// GET of the requests at and below a scope: the caller's own, and those the caller may decide.
    pub(crate) async fn list_access_requests(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let scope = &request.matched.target;
        let filter = request.context.query_value("$filter").filter(|text| !text.trim().is_empty());
        let filter = filter.map(|text| Expr::parse(&text, PROPERTIES)).transpose()?;
        let mut found = Vec::new();
        for Standing { request: asked, .. } in self.access_requests(request).await? {
            let status = asked.status_at(request.context.now).as_str();
            let matches = |property: &Property| (property.name == "status").then_some(status);
            if asked.scope_id()?.is_within(scope)
                && filter.as_ref().is_none_or(|filter| filter.matches(&matches))
                && self.may_see_request(pass, &asked).await?
            {
                found.push((asked.id().to_ascii_lowercase(), asked));
            }
        }
        let mut answers = Vec::with_capacity(found.len());
        for (key, asked) in found {
            answers.push((key, self.access_request_answer(request, pass, &asked).await?));
        }
        page_of(request, answers, Value::clone)
    }

    /// GET of one.
    pub(crate) async fn read_access_request(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let (name, scope) = (request.matched.target.name(), request.matched.target.scope());
        let standing = self.access_request(request, pass, name, &scope).await?;
        Ok(Reply::ok(self.access_request_answer(request, pass, &standing.request).await?))
    }

    /// PUT of one: 201, or 200 when the same was asked before.
    pub(crate) async fn put_access_request(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let id = &request.matched.target;
        let name = super::guid(id.name(), "access request")?;
        let asked = AccessRequest::asked(request.object()?, name, &id.scope(), pass.principal(), request.context.now)?;
        let rights = self.gatekeeper.rights(pass).await?;
        if rights.role(asked.role_definition_id).is_none() {
            let message =
                format!("The specified role definition with ID '{}' does not exist.", asked.role_definition_id);
            let error = ArmError::new(400, "RoleDefinitionDoesNotExist", message);
            return Err(error.with_target("properties.roleDefinitionId").into());
        }
        if rights.assignment(name).is_some() {
            return Err(taken(name).into());
        }
        let mut pending = 0;
        for Standing { request: other, .. } in self.access_requests(request).await? {
            let is_mine = other.principal_id == asked.principal_id;
            if other.name == name {
                return match is_mine && other.asks_the_same(&asked) {
                    true => Ok(Reply::ok(self.access_request_answer(request, pass, &other).await?)),
                    false => Err(taken(name).into()),
                };
            }
            if is_mine && other.status_at(request.context.now) == Status::Pending {
                if other.asks_the_same(&asked) {
                    let message = format!("The same is asked already, by '{}'. Wait for its decision.", other.id());
                    return Err(ArmError::new(409, "AccessRequestExists", message).into());
                }
                pending += 1;
            }
        }
        if pending >= MAX_PENDING {
            let message = format!("{MAX_PENDING} of your requests are pending. Withdraw one, or wait for a decision.");
            return Err(ArmError::new(409, "TooManyAccessRequests", message).into());
        }
        let expect = vec![Expectation::RecordAbsent { kind: KIND.to_owned(), key: name.to_string() }];
        self.ledger.commit(request.context, pass, Entries { expect, changes: vec![asked.put()?] }).await?;
        Ok(Reply::json(201, self.access_request_answer(request, pass, &asked).await?))
    }

    /// DELETE of one, by who made it.
    pub(crate) async fn delete_access_request(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let id = &request.matched.target;
        let found = self.access_request(request, pass, id.name(), &id.scope()).await;
        let Ok(Standing { request: asked, unchanged }) = found else {
            return Ok(Reply::empty(StatusCode::NO_CONTENT));
        };
        if asked.principal_id != pass.principal().object_id {
            let message = "Only who made an access request can withdraw it. Deny it instead: POST its /deny.";
            return Err(ArmError::new(403, "AccessRequestOfAnother", message).into());
        }
        let delete = Change::DeleteRecord { kind: KIND.to_owned(), key: asked.name.to_string() };
        let entries = Entries { expect: vec![unchanged], changes: vec![delete] };
        self.ledger.commit(request.context, pass, entries).await?;
        Ok(Reply::empty(StatusCode::OK))
    }

    /// POST of a decision: the role is assigned, or it is not.
    pub(crate) async fn decide_access_request(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        is_approved: bool,
    ) -> Result<Reply, Failure> {
        let scope = &request.matched.target;
        let Standing { request: mut asked, unchanged } =
            self.access_request(request, pass, request.matched.value(0), scope).await?;
        // Who may not assign the role may not decide about it either, also not to say no.
        let assignment = asked.assignment();
        let may = self.gatekeeper.admit_to_delegation(pass.caller(), ASSIGN, scope).await?;
        self.gatekeeper.weigh(&may, &guard::delegation_attributes(None, Some(&assignment))).await?;
        let status = asked.status_at(request.context.now);
        if status != Status::Pending {
            let message = format!("The access request '{}' is {} already; ask anew.", asked.name, status.as_str());
            return Err(ArmError::new(409, "AccessRequestDecided", message).into());
        }
        if is_approved {
            self.assign_as_asked(request, pass, &assignment).await?;
        }
        let status = if is_approved { Status::Approved } else { Status::Denied };
        asked.decide(status, request.body, pass.principal(), request.context.now)?;
        let entries = Entries { expect: vec![unchanged], changes: vec![asked.put()?] };
        self.ledger.commit(request.context, pass, entries).await?;
        Ok(Reply::ok(self.access_request_answer(request, pass, &asked).await?))
    }

    /// The same as a PUT of the assignment by the approver. Its name is the request's, so that an approval that broke off
    /// before it was noted can be given again.
    async fn assign_as_asked(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        assignment: &RoleAssignment,
    ) -> Result<(), Failure> {
        let matched = routes::find(&Method::PUT, &PathSegments::parse(&assignment.id())?)?;
        self.gatekeeper.check_locks(pass, Intent::Write, &matched.target).await?;
        let pass = self.gatekeeper.admit_to_delegation(pass.caller(), ASSIGN, &matched.target).await?;
        let body = json!({"properties": {
            "roleDefinitionId": assignment.role_definition_id,
            "principalId": assignment.principal_id,
            "description": assignment.description,
        }});
        let put = Request { matched: &matched, body: Some(&body), ..*request };
        match self.put_role_assignment(&put, &pass).await {
            // Somebody gave it to them otherwise.
            Err(Failure::Refused(error)) if error.code == "RoleAssignmentExists" => Ok(()),
            other => other.map(drop),
        }
    }

    /// A request that the caller may see, or 404.
    async fn access_request(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        name: &str,
        scope: &ResourceId,
    ) -> Result<Standing, Failure> {
        let name = super::guid(name, "access request")?;
        let record = self.ledger.record(request.context, KIND, &name.to_string()).await?;
        if let Some(standing) = record.map(Standing::read).transpose()?
            && standing.request.scope_id()? == *scope
            && self.may_see_request(pass, &standing.request).await?
        {
            return Ok(standing);
        }
        let message = format!("The access request '{name}' is not found.");
        Err(ArmError::new(404, "AccessRequestNotFound", message).into())
    }

    async fn access_requests(&self, request: &Request<'_>) -> Result<Vec<Standing>, Failure> {
        let mut query =
            RecordQuery { kind: KIND.to_owned(), owner: None, now: request.context.now, after: None, limit: 1000 };
        let mut found = Vec::new();
        loop {
            let page = self.ledger.store().records(&query).await?;
            query.after = page.last().map(|record| record.key.clone());
            let is_last = page.len() < 1000;
            for record in page {
                found.push(Standing::read(record)?);
            }
            if is_last {
                return Ok(found);
            }
        }
    }

    async fn may_see_request(&self, pass: &Pass, asked: &AccessRequest) -> Result<bool, Failure> {
        if asked.principal_id == pass.principal().object_id {
            return Ok(true);
        }
        self.gatekeeper.may_assign(pass.caller(), &asked.scope_id()?).await
    }

    async fn access_request_answer(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        asked: &AccessRequest,
    ) -> Result<Value, Failure> {
        let rights = self.gatekeeper.rights(pass).await?;
        let role = rights.role(asked.role_definition_id).map(|role| role.role_name.as_str());
        let mut answer = asked.answer(role, request.context.now);
        if let Some(properties) = answer.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("principal".to_owned(), self.person(asked.principal_id).await?);
            if let Some(decider) = asked.decided_by {
                properties.insert("decidedBy".to_owned(), self.person(decider).await?);
            }
        }
        Ok(answer)
    }
}

impl AccessRequest {
    /// The assignment that an approval makes.
    fn assignment(&self) -> RoleAssignment {
        let mut assignment =
            RoleAssignment::new(self.name, self.scope.as_str(), self.role_definition_id, self.principal_id);
        assignment.principal_type = PrincipalType::User;
        if self.is_service_principal {
            assignment.principal_type = PrincipalType::ServicePrincipal;
        }
        assignment.description = Some(self.justification.clone()).filter(|text| !text.is_empty());
        assignment
    }
}

fn taken(name: Uuid) -> ArmError {
    let message = format!("The name '{name}' is taken. Choose a new GUID.");
    ArmError::new(409, "AccessRequestNameTaken", message)
}

const PROPERTIES: &[Property] = &[Property::any_case("status")];

/// Pending requests of one principal.
const MAX_PENDING: usize = 20;
