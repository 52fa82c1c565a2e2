//! What decisions want done beside the rows of resources, and the secrets they seal.

use std::collections::BTreeMap;

use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Effect, Principal, Secret};
use bastide_identity::{Directory, NewFederatedCredential};
use bastide_store::{Change, SealedSecret};
use uuid::Uuid;

use super::Front;
use crate::authorization::identity_administers_no_more;
use crate::failure::Failure;

impl Front {
    /// Turns what an admission or action wants done elsewhere into changes of the same commit.
    pub(crate) fn apply_effects(
        &self,
        incarnation: Uuid,
        id: &ResourceId,
        effects: Vec<Effect>,
        changes: &mut Vec<Change>,
    ) -> Result<(), Failure> {
        let directory = self.identity.directory();
        for effect in effects {
            match effect {
                Effect::CreatePrincipal { principal: Principal { principal_id, client_id }, name } => {
                    changes.extend(directory.managed_identity_changes(principal_id, client_id, &name, &id.to_string()));
                }
                Effect::RemovePrincipal(principal) => {
                    changes.extend(directory.managed_identity_deletion(principal.principal_id));
                    changes.extend(identity_administers_no_more(id, principal.principal_id));
                    // A write that was authorised as this identity must not commit after it is gone.
                    changes.push(Change::RaiseAccessEpoch);
                }
                Effect::IssueEndpointSecret { principal, secret } => {
                    let owner = principal.principal_id;
                    // Revealed to be fingerprinted; only the caller's answer carries it further.
                    let replacement = Directory::identity_endpoint_replacement(owner, vec![owner], secret.reveal());
                    changes.extend(replacement);
                }
                Effect::TrustTokens { principal_id, name, issuer, subject, audience } => {
                    changes.push(directory.issuer_trust(NewFederatedCredential {
                        service_principal: principal_id,
                        display_name: name,
                        issuer,
                        subject,
                        audience,
                    }));
                }
                Effect::DistrustTokens { principal_id, name } => {
                    changes.push(Directory::issuer_distrust(principal_id, &name));
                }
                Effect::ForgetSecrets => changes.push(Change::DeleteSecrets(incarnation)),
                Effect::PutSecret { field, secret } => {
                    let sealed = self.seal(incarnation, &field, &secret)?;
                    changes.push(Change::PutSecret(SealedSecret { incarnation, field, sealed }));
                }
            }
        }
        Ok(())
    }

    /// The secrets of a resource, opened.
    pub(crate) async fn secrets(&self, incarnation: Uuid) -> Result<BTreeMap<String, Secret>, Failure> {
        let mut secrets = BTreeMap::new();
        for sealed in self.ledger.store().secrets(incarnation).await? {
            let context = bastide_vault::SealContext { owner: incarnation, field: &sealed.field };
            let plain = self
                .sealer
                .open_sealed(&context, &sealed.sealed)
                .map_err(|error| Failure::internal(error.to_string()))?;
            let text = String::from_utf8(plain.to_vec()).map_err(|_| Failure::internal("a secret is not text"))?;
            secrets.insert(sealed.field, Secret::new(text));
        }
        Ok(secrets)
    }

    pub(crate) fn seal(&self, incarnation: Uuid, field: &str, secret: &Secret) -> Result<Vec<u8>, Failure> {
        let context = bastide_vault::SealContext { owner: incarnation, field };
        // Revealed to be sealed; the plain text goes no further.
        self.sealer.seal(&context, secret.reveal().as_bytes()).map_err(|error| Failure::internal(error.to_string()))
    }
}
