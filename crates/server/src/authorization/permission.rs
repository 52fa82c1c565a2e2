//! `GET {scope}/providers/Microsoft.Authorization/permissions`: what the caller's roles grant at a scope.

use bastide_access::Permission;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::front::Front;
use crate::list::paged;
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// The permission blocks of every role the caller holds here, directly or through a group. Deny assignments are not
    /// taken off: checkAccess answers for a single action.
    pub(crate) async fn list_permissions(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let rights = self.gatekeeper.rights(pass).await?;
        let caller = pass.principal();
        let scope = request.matched.target.key();
        let mut blocks: Vec<Value> = Vec::new();
        for name in rights.access().assignments_of(caller.object_id, &caller.groups, scope) {
            let Some(assignment) = rights.assignment(name) else { continue };
            let Some(role) = rights.role(assignment.role_definition_id) else { continue };
            blocks.extend(role.permissions.iter().map(|block| {
                // A condition of the assignment holds for all blocks of its role.
                let condition = block.condition.clone().or_else(|| assignment.condition.clone());
                let condition_version =
                    block.condition_version.clone().or_else(|| assignment.condition_version.clone());
                json!(Permission { condition, condition_version, ..block.clone() })
            }));
        }
        Ok(paged(request, blocks, None))
    }
}
