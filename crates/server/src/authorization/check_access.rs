//! `POST {scope}/providers/Microsoft.Authorization/checkAccess`: may somebody do these things here?

use bastide_access::{Attributes, Decision, Reason, Request as Question, RoleAssignment};
use bastide_arm::error::ArmError;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::failure::Failure;
use crate::front::Front;
use crate::pass::{Pass, Snapshot};
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// Answers for the caller, and for others to those who may read role assignments here (security.md 1.6).
    pub(crate) async fn check_access(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let body = request.object()?;
        let subject = subject(body)?.unwrap_or(pass.principal().object_id);
        self.may_ask_about(request, pass, subject).await?;
        let asked = actions(body)?;
        let groups = match self.hindrance(subject).await? {
            Some(_) => None,
            None => self.principal_of(subject).await?.map(|principal| principal.groups),
        };
        let rights = self.gatekeeper.rights(pass).await?;
        let decisions = asked.iter().map(|(action, data)| {
            let decision = groups.as_ref().map(|groups| {
                rights.access().decide(&Question {
                    principal: subject,
                    groups,
                    action,
                    data: *data,
                    scope: request.matched.target.key(),
                    attributes: &Attributes::NONE,
                })
            });
            answer(&rights, action, *data, decision)
        });
        Ok(Reply::ok(decisions.collect()))
    }

    /// Everybody may ask about themselves; about others, who may read role assignments.
    pub(super) async fn may_ask_about(&self, request: &Request<'_>, pass: &Pass, subject: Uuid) -> Result<(), Failure> {
        if subject != pass.principal().object_id {
            self.gatekeeper.authorise_holder(pass, READ_ASSIGNMENTS, &request.matched.target).await?;
        }
        Ok(())
    }
}

/// The object id in `Subject.Attributes.ObjectId`.
fn subject(body: &Value) -> Result<Option<Uuid>, ArmError> {
    let path = ["subject", "attributes", "objectid"];
    let Some(given) = path.iter().try_fold(body, |value, name| member(value, name)) else { return Ok(None) };
    match given.as_str().map(Uuid::try_parse) {
        Some(Ok(id)) => Ok(Some(id)),
        _ => Err(ArmError::invalid_parameter(
            "Subject.Attributes.ObjectId",
            "Subject.Attributes.ObjectId must be the object id of a principal.",
        )),
    }
}

fn actions(body: &Value) -> Result<Vec<(&str, bool)>, ArmError> {
    let asked = member(body, "actions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let read = |action| {
        let name = member(action, "id").and_then(Value::as_str)?;
        Some((name, member(action, "isdataaction").and_then(Value::as_bool).unwrap_or(false)))
    };
    match asked.iter().map(read).collect::<Option<Vec<_>>>() {
        Some(actions) if (1..=MAX_ACTIONS).contains(&actions.len()) => Ok(actions),
        _ => {
            let message = format!("Actions must be a list of 1 to {MAX_ACTIONS} objects with an Id.");
            Err(ArmError::invalid_parameter("Actions", message))
        }
    }
}

/// Clients spell the members of this body in both ways.
fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Nobody is who nobody knows: without a decision the answer is no.
fn answer(rights: &Snapshot, action: &str, data: bool, decision: Option<Decision>) -> Value {
    let assignment = match decision {
        Some(Decision::Allowed { assignment } | Decision::Denied(Reason::Condition(assignment))) => {
            rights.assignment(assignment).map(role_assignment)
        }
        _ => None,
    };
    let deny = match decision {
        Some(Decision::Denied(Reason::DenyAssignment(name))) => {
            rights.facts().denies.iter().find(|deny| deny.name == name).map(|deny| json!({"id": deny.id()}))
        }
        _ => None,
    };
    json!({
        "actionId": action,
        "isDataAction": data,
        "accessDecision": if decision.is_some_and(Decision::is_allowed) { "Allowed" } else { "NotAllowed" },
        "roleAssignment": assignment,
        "denyAssignment": deny,
        // A grant or revocation holds from the next request on, so an answer is good for this moment only.
        "timeToLiveInMs": 0,
    })
}

fn role_assignment(assignment: &RoleAssignment) -> Value {
    json!({
        "id": assignment.id(),
        "roleDefinitionId": assignment.role_definition_id,
        "principalId": assignment.principal_id,
        "principalType": assignment.principal_type,
        "scope": assignment.scope,
        "condition": assignment.condition,
        "conditionVersion": assignment.condition_version,
    })
}

const READ_ASSIGNMENTS: &str = "Microsoft.Authorization/roleAssignments/read";

/// Actions in one question.
const MAX_ACTIONS: usize = 1000;
