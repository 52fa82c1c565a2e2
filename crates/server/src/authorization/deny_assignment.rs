//! Deny assignments: read only, because only the system makes them.

use bastide_access::DenyAssignment;
use bastide_arm::error::ArmError;
use bastide_arm::filter::Property;
use serde_json::json;

use super::filter::Filter;
use super::page_of;
use crate::failure::Failure;
use crate::front::Front;
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// GET of the deny assignments at, above and below a scope.
    pub(crate) async fn list_deny_assignments(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let filter = Filter::read(request, PROPERTIES)?;
        let assignees = match filter.assigned_to {
            Some(principal) => Some(self.with_groups(principal).await?),
            None => None,
        };
        let scope = request.matched.target.key();
        let rights = self.gatekeeper.rights(pass).await?;
        let found = rights.facts().denies.iter().filter(|deny| {
            let names = |id| deny.principals.iter().any(|principal| principal.id == id);
            filter.reaches(&deny.scope, scope)
                && assignees.as_ref().is_none_or(|assignees| assignees.iter().any(|id| names(*id)))
                && deny.principals.iter().any(|principal| {
                    let principal = principal.id.to_string();
                    filter.matches(&|property| match property.name {
                        "principalId" => Some(&principal),
                        "denyAssignmentName" => Some(&deny.deny_assignment_name),
                        _ => None,
                    })
                })
        });
        let found = found.map(|deny| (deny.id().to_ascii_lowercase(), deny)).collect();
        page_of(request, found, |deny| json!(deny))
    }

    /// GET of one.
    pub(crate) async fn read_deny_assignment(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let id = &request.matched.target;
        let rights = self.gatekeeper.rights(pass).await?;
        let is_it = |deny: &&DenyAssignment| deny.id().eq_ignore_ascii_case(id.key());
        if let Some(deny) = rights.facts().denies.iter().find(is_it) {
            return Ok(Reply::ok(json!(deny)));
        }
        let message = format!("The deny assignment '{}' is not found.", id.name());
        Err(ArmError::new(404, "DenyAssignmentNotFound", message).into())
    }
}

const PROPERTIES: &[Property] = &[Property::any_case("principalId"), Property::any_case("denyAssignmentName")];
