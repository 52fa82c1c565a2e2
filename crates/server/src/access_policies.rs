//! `vaults/accessPolicies/{add|replace|remove}`: a change of a vault's list of access policies without the rest of the vault,
//! as templates and Terraform make it. There is no such resource: the list is the vault's.

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::Document;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::pass::Pass;
use crate::providers::vault_access_policy::{ACCESS_POLICIES, AccessPolicies, Change};
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// GET of what a vault grants, under any of the three names: what-if compares with it.
    pub(crate) async fn read_access_policies(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let vault =
            self.vault(request, pass).await?.ok_or_else(|| ArmError::resource_not_found(&request.matched.target))?;
        let policies = AccessPolicies::of(&vault.document);
        Ok(Reply::ok(shown(&request.matched.target, &policies)))
    }

    /// PUT of a change. The answer has the whole list there is then.
    pub(crate) async fn change_access_policies(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let id = &request.matched.target;
        let change = Change::read(id.name())?;
        let asked = AccessPolicies::read(request.object()?, self.tenant_id)?;
        let vault = self.vault(request, pass).await?.ok_or_else(|| ArmError::parent_resource_not_found(id))?;
        let before = AccessPolicies::of(&vault.document);
        let after = before.clone().changed(change, asked);
        if after != before && !request.is_rehearsal {
            let mut document: Document = vault.document.clone();
            document.properties.insert(ACCESS_POLICIES.into(), after.to_value());
            let row = &vault.row;
            let put = Entry::put(&vault.id, &row.type_name, row.incarnation, row.listed, document, pass)?;
            let entries = Entries { expect: vec![vault.unchanged()], changes: vec![put] };
            self.ledger.commit(request.context, pass, entries).await?;
        }
        Ok(Reply::ok(shown(id, &after)))
    }

    /// The vault that a path below it is about. Who may change its policies need not be allowed to see the rest of it.
    async fn vault(&self, request: &Request<'_>, pass: &Pass) -> Result<Option<Entry>, Failure> {
        match request.matched.target.parent() {
            Some(vault) => self.ledger.surrounding(pass, &vault).await,
            None => Ok(None),
        }
    }
}

fn shown(id: &ResourceId, policies: &AccessPolicies) -> Value {
    let properties = Map::from_iter([(ACCESS_POLICIES.to_owned(), policies.to_value())]);
    json!({"id": id.to_string(), "name": id.name(), "type": id.type_name(), "properties": properties})
}
