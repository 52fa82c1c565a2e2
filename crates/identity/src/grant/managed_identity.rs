//! A machine asks for a token of the identity it carries (`reference/wire-az-cli.md` section 3, managed identity).

use uuid::Uuid;

use crate::directory::{DirectoryObject, ServicePrincipal};
use crate::identity::{Grant, Identity, Service};
use crate::oauth_error::{OAuthError, Refusal};
use crate::token_answer::ManagedIdentityAnswer;
use crate::token_form::TokenForm;

impl Identity {
    /// Answers `GET /msi/token`: `header` is what came as `X-IDENTITY-HEADER` or `secret`, `query` holds `resource` and
    /// perhaps one of `client_id`, `object_id` and `mi_res_id`, or their older spellings.
    pub async fn managed_identity_token(
        &self,
        header: Option<&str>,
        query: &TokenForm,
    ) -> Result<ManagedIdentityAnswer, OAuthError> {
        self.0.managed_identity_token(header, query).await.map_err(|refusal| self.0.stamp(refusal, query))
    }

    /// As [`Identity::managed_identity_token`], for a machine that is known without a header, by the wire it asks over:
    /// a token of one of the identities it carries, the first of which stands in when it names none.
    pub async fn machine_token(
        &self,
        carried: &[Uuid],
        query: &TokenForm,
    ) -> Result<ManagedIdentityAnswer, OAuthError> {
        self.0.machine_token(carried, query).await.map_err(|refusal| self.0.stamp(refusal, query))
    }
}

impl Service {
    async fn managed_identity_token(
        &self,
        header: Option<&str>,
        query: &TokenForm,
    ) -> Result<ManagedIdentityAnswer, Refusal> {
        let header = header.ok_or_else(Refusal::wrong_managed_identity_header)?;
        let endpoint = self.directory.identity_endpoint(header).await?;
        let endpoint = endpoint.ok_or_else(Refusal::wrong_managed_identity_header)?;
        self.machine_token(&endpoint.identities, query).await
    }

    async fn machine_token(&self, carried: &[Uuid], query: &TokenForm) -> Result<ManagedIdentityAnswer, Refusal> {
        let query = query.checked()?;
        let resource = self.audiences.resource(query.required("resource")?)?;
        let selector = Selector::read(query)?;
        let carried = self.directory.objects(carried).await?;
        let mut carried = carried.into_iter().filter(|object| object.standing().enabled);
        let object =
            carried.find(|object| object.as_service_principal().is_some_and(|identity| selector.fits(identity)));
        let object = object.ok_or_else(Refusal::unknown_managed_identity)?;
        let client_id = object.as_service_principal().map(|identity| identity.app_id);
        let client_id = client_id.ok_or_else(Refusal::unknown_managed_identity)?;
        self.answer_machine(&object, client_id, resource).await
    }

    async fn answer_machine(
        &self,
        object: &DirectoryObject,
        client_id: Uuid,
        resource: String,
    ) -> Result<ManagedIdentityAnswer, Refusal> {
        let issued = self.access_token(&Grant { object, client_id, resource: &resource, scope: None }).await?;
        Ok(ManagedIdentityAnswer {
            access_token: issued.token,
            expires_in: issued.lifetime,
            expires_on: issued.expires,
            not_before: issued.not_before,
            resource,
            client_id,
        })
    }
}

/// Which of the identities a machine carries.
enum Selector<'a> {
    /// The first one.
    Default,
    ClientId(Uuid),
    ObjectId(Uuid),
    ResourceId(&'a str),
}

impl<'a> Selector<'a> {
    fn read(query: &'a TokenForm) -> Result<Self, Refusal> {
        let named = |names: &[&str]| names.iter().find_map(|name| query.field(name));
        let id = |text: &str| Uuid::try_parse(text).map_err(|_| Refusal::unknown_managed_identity());
        let (client_id, object_id, resource_id) = (
            named(&["client_id", "clientid"]),
            named(&["object_id", "principal_id"]),
            named(&["mi_res_id", "msi_res_id"]),
        );
        match (client_id, object_id, resource_id) {
            (None, None, None) => Ok(Self::Default),
            (Some(client_id), None, None) => Ok(Self::ClientId(id(client_id)?)),
            (None, Some(object_id), None) => Ok(Self::ObjectId(id(object_id)?)),
            (None, None, Some(resource_id)) => Ok(Self::ResourceId(resource_id)),
            _ => Err(Refusal::malformed("Name the identity by one of client_id, object_id and mi_res_id.")),
        }
    }

    fn fits(&self, identity: &ServicePrincipal) -> bool {
        match self {
            Self::Default => true,
            Self::ClientId(client_id) => identity.app_id == *client_id,
            Self::ObjectId(object_id) => identity.object_id == *object_id,
            Self::ResourceId(named) => {
                identity.resource_id.as_ref().is_some_and(|resource_id| resource_id.eq_ignore_ascii_case(named))
            }
        }
    }
}
