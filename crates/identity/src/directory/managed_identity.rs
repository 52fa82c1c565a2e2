//! Identities of resources, and the secrets with which the machines that carry them ask for tokens.

use bastide_store::Change;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{Directory, IDENTITY_ENDPOINT, ServicePrincipal, ServicePrincipalType, Standing, absent, put_record};
use crate::error::IdentityError;
use crate::secret::{Secret, fingerprint};

impl Directory {
    /// What a write must contain to make the identity of a resource, in the same transaction as the resource.
    ///
    /// `object_id` and `client_id` are new random ids; a recreated resource gets new ones, so that no role assignment
    /// follows a name.
    pub fn managed_identity_changes(
        &self,
        object_id: Uuid,
        client_id: Uuid,
        name: &str,
        resource_id: &str,
    ) -> Vec<Change> {
        ServicePrincipal {
            object_id,
            app_id: client_id,
            display_name: name.to_owned(),
            service_principal_type: ServicePrincipalType::ManagedIdentity,
            service_principal_names: vec![client_id.to_string(), resource_id.to_owned()],
            redirect_uris: Vec::new(),
            resource_id: Some(resource_id.to_owned()),
            standing: Standing::new(self.clock.now()),
        }
        .puts()
    }

    /// What a write must contain to delete the identity of a resource. Its tokens stop working with that write.
    pub fn managed_identity_deletion(&self, object_id: Uuid) -> Vec<Change> {
        self.deletion(object_id)
    }

    /// Makes the secret with which a machine asks for tokens of these identities; the first one is the default.
    ///
    /// The secret is random and shown only here. It goes with `owner`: the identity or the machine it was made for.
    pub async fn add_identity_endpoint(&self, owner: Uuid, identities: Vec<Uuid>) -> Result<Secret, IdentityError> {
        for object_id in &identities {
            let object = self.required(*object_id).await?;
            object
                .as_service_principal()
                .filter(|identity| identity.service_principal_type == ServicePrincipalType::ManagedIdentity)
                .ok_or_else(|| absent("managed identity", *object_id))?;
        }
        let (secret, change) = Self::identity_endpoint_changes(owner, identities)?;
        self.commit("identityEndpoints/create", owner, Vec::new(), vec![change]).await?;
        Ok(secret)
    }

    /// As [`Directory::add_identity_endpoint`], for a write of the caller's own.
    pub fn identity_endpoint_changes(owner: Uuid, identities: Vec<Uuid>) -> Result<(Secret, Change), IdentityError> {
        let secret = Secret::generate("")?;
        let change = endpoint_put(owner, identities, secret.expose());
        Ok((secret, change))
    }

    /// What a write must contain so that `secret`, and no earlier one of this owner, asks for tokens of these
    /// identities. The secret must be random: at least 128 bits, made by the caller, who shows it once.
    pub fn identity_endpoint_replacement(owner: Uuid, identities: Vec<Uuid>, secret: &str) -> [Change; 2] {
        let earlier = Change::DeleteRecordsOf { kind: IDENTITY_ENDPOINT.into(), owner: owner.to_string() };
        [earlier, endpoint_put(owner, identities, secret)]
    }

    /// Makes the secrets of this owner worthless.
    pub async fn remove_identity_endpoints(&self, owner: Uuid) -> Result<(), IdentityError> {
        let change = Change::DeleteRecordsOf { kind: IDENTITY_ENDPOINT.into(), owner: owner.to_string() };
        self.commit("identityEndpoints/delete", owner, Vec::new(), vec![change]).await
    }

    /// The identities that this secret may ask for.
    pub(crate) async fn identity_endpoint(&self, secret: &str) -> Result<Option<IdentityEndpoint>, IdentityError> {
        // Looked up by its fingerprint: how long that takes tells nothing about the secret.
        let key = fingerprint(IDENTITY_ENDPOINT, secret);
        let Some(record) = self.record(IDENTITY_ENDPOINT, &key).await? else { return Ok(None) };
        let damaged = |_| IdentityError::Damaged { kind: IDENTITY_ENDPOINT, key };
        serde_json::from_value(record.body).map(Some).map_err(damaged)
    }
}

fn endpoint_put(owner: Uuid, identities: Vec<Uuid>, secret: &str) -> Change {
    let key = fingerprint(IDENTITY_ENDPOINT, secret);
    put_record(IDENTITY_ENDPOINT, key, Some(owner.to_string()), json!(IdentityEndpoint { identities }))
}

/// What a machine may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityEndpoint {
    /// Object ids of the identities; the first one answers when the machine names none.
    pub identities: Vec<Uuid>,
}
