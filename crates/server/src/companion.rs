//! Resources that are made with a new one, in the same transaction: a storage account and a vault for a hub that names
//! none, a hub for a project of somebody who has none (mission.md A4).
//!
//! Each goes the whole way of a PUT - the caller's right to make it, its locks, its admission - but for the commit, which
//! is the one of the resource it is made for. So neither is ever there without the other.

use std::collections::BTreeMap;

use bastide_access::{PrincipalType, RoleAssignment};
use bastide_arm::envelope::Envelope;
use bastide_arm::error::ArmError;
use bastide_arm::path::PathSegments;
use bastide_arm::resource_type::{AssignedIdentity, Companion, Document, Linked, Making};
use bastide_store::Change;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::failure::Failure;
use crate::founding;
use crate::front::Front;
use crate::ledger::Entries;
use crate::lock::Intent;
use crate::pass::Pass;
use crate::request::Request;
use crate::resource::{Settled, Wish, document_of_put};
use crate::routes;

/// Resources that are to be made with another one.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// As the other one's admission sees them, by lower-cased id.
    pub linked: BTreeMap<String, Linked>,
    /// Their writes.
    pub entries: Entries,
}

impl Made {
    /// The roles on what is made that the user-assigned identities of the other one get: they have no rights but those
    /// somebody gives them (mission.md C2). A system-assigned identity has its own.
    pub(crate) fn grant(&mut self, identity: Option<&AssignedIdentity>, now: Timestamp) -> Result<(), Failure> {
        let Some(identity) = identity.filter(|identity| identity.system.is_none()) else { return Ok(()) };
        for companion in self.linked.values() {
            let type_name = companion.id.type_name();
            let Some((_, role)) = ROLES.iter().find(|(known, _)| known.eq_ignore_ascii_case(&type_name)) else {
                continue;
            };
            for principal in identity.user.values() {
                let scope = companion.id.to_string();
                let mut assignment = RoleAssignment::new(Uuid::new_v4(), scope, *role, principal.principal_id);
                assignment.principal_type = PrincipalType::ServicePrincipal;
                assignment.created_on = Some(now);
                assignment.updated_on = Some(now);
                self.entries.changes.extend([founding::stored(&assignment)?, Change::RaiseAccessEpoch]);
            }
        }
        Ok(())
    }
}

impl Front {
    /// What a new resource gets beside it; its document names them from then on.
    pub(crate) async fn companions(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        document: &mut Document,
    ) -> Result<Made, Failure> {
        let companions = request.registered()?.rules.companions(&Making {
            id: &request.matched.target,
            document,
            parity: request.parity,
            fresh_id: &Uuid::new_v4,
        })?;
        let mut made = Made::default();
        for Companion { property, id, body } in companions {
            document.properties.insert(property.to_owned(), id.to_string().into());
            let (companion, entries) = self.companion(request, pass, id.to_string(), body).await?;
            made.linked.insert(companion.id.key().to_owned(), companion);
            made.entries.expect.extend(entries.expect);
            made.entries.changes.extend(entries.changes);
        }
        Ok(made)
    }

    /// One of them, with what it gets beside itself.
    fn companion<'a>(
        &'a self,
        request: &'a Request<'_>,
        pass: &'a Pass,
        path: String,
        body: Value,
    ) -> BoxFuture<'a, Result<(Linked, Entries), Failure>> {
        async move {
            let mut matched = routes::find(&Method::PUT, &PathSegments::parse(&path)?)?;
            let registered = self.settle_type(&mut matched, request.api_version)?;
            let action = matched.required_action(registered.as_ref().map(|found| found.name.as_str()));
            let action = action.ok_or_else(|| ArmError::resource_not_found(&matched.target))?;
            let own_pass = self.gatekeeper.authorise_linked(pass, &action, &matched.target).await?;
            self.gatekeeper.check_locks(&own_pass, Intent::of(matched.route), &matched.target).await?;
            let request = Request {
                matched: &matched,
                registered: registered.as_ref(),
                body: Some(&body),
                nested: None,
                ..*request
            };
            let mut envelope = Envelope::read_patch(&body)?;
            let descriptor = request.registered()?.rules.descriptor();
            let mut document = document_of_put(&mut envelope, descriptor, None, &request.matched.target)?;
            let Made { linked, mut entries } = self.companions(&request, &own_pass, &mut document).await?;
            let wish = Wish { envelope, document, warnings: Vec::new() };
            let decided = self.decide(&request, &own_pass, None, wish, &linked).await?;
            // Nobody sees it before the commit, so its incarnation is not known and not asked for.
            let companion =
                Linked { id: decided.id.clone(), incarnation: Uuid::nil(), document: decided.document.clone() };
            if let Settled::Changed(own) = self.settle(&request, &own_pass, request.registered()?, decided).await? {
                entries.expect.extend(own.expect);
                entries.changes.extend(own.changes);
            }
            Ok((companion, entries))
        }
        .boxed()
    }
}

/// What an identity is to do with each: data of the account, secrets of the vault.
const ROLES: [(&str, Uuid); 2] = [
    // Storage Blob Data Contributor, Key Vault Secrets Officer.
    ("Microsoft.Storage/storageAccounts", uuid::uuid!("ba92f5b4-2d11-453d-a403-e96b0029c9fe")),
    ("Microsoft.KeyVault/vaults", uuid::uuid!("b86a8fe4-44ce-4948-aee5-eccb2c155cd7")),
];
