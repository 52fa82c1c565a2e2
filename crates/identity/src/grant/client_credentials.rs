//! An application asks in its own name (RFC 6749 section 4.4).

use uuid::Uuid;

use crate::directory::{DirectoryObject, ServicePrincipal};
use crate::identity::{Grant, Service};
use crate::oauth_error::Refusal;
use crate::secret::Secret;
use crate::token_answer::TokenAnswer;
use crate::token_endpoint::TokenEndpoint;
use crate::token_form::TokenForm;

impl Service {
    pub(super) async fn client_credentials(
        &self,
        endpoint: &TokenEndpoint,
        form: &TokenForm,
    ) -> Result<TokenAnswer, Refusal> {
        let resource = match (form.field("scope"), form.field("resource")) {
            (Some(scope), _) => self.audiences.requested(scope)?.resource.ok_or_else(Refusal::invalid_scope)?,
            (None, Some(resource)) => self.audiences.resource(resource)?,
            (None, None) => return Err(Refusal::missing_parameter("scope")),
        };
        let client = self.authenticated_client(endpoint, form).await?;
        let client_id = client.app_id;
        let object = DirectoryObject::ServicePrincipal(client);
        let grant = Grant { object: &object, client_id, resource: &resource, scope: None };
        let issued = self.access_token(&grant).await?;
        Ok(TokenAnswer {
            access_token: issued.token,
            expires_in: issued.lifetime,
            scope: None,
            refresh_token: None,
            refresh_token_expires_in: None,
            id_token: None,
            client_info: None,
        })
    }

    /// The application that has proved with the request that it is the one it says.
    pub(super) async fn authenticated_client(
        &self,
        endpoint: &TokenEndpoint,
        form: &TokenForm,
    ) -> Result<ServicePrincipal, Refusal> {
        let client = self.enabled_client(form.required("client_id")?, 401).await?;
        if let Some(assertion) = form.field("client_assertion") {
            self.check_assertion(endpoint, form, &client, assertion).await?;
            return Ok(client);
        }
        let secret = form.field("client_secret").ok_or_else(Refusal::missing_client_credential)?;
        self.check_secret(&client, &Secret::new(secret)).await?;
        Ok(client)
    }

    /// The application with this id. The status of the refusal depends on who hears it: a client that authenticates
    /// (401) or a browser (400).
    pub(super) async fn enabled_client(&self, client_id: &str, status: u16) -> Result<ServicePrincipal, Refusal> {
        let app_id = Uuid::try_parse(client_id).map_err(|_| Refusal::unknown_application(status))?;
        let client = self.directory.service_principal_by_app_id(app_id).await?;
        client.filter(|client| client.standing.enabled).ok_or_else(|| Refusal::unknown_application(status))
    }

    async fn check_secret(&self, client: &ServicePrincipal, secret: &Secret) -> Result<(), Refusal> {
        let credentials = self.directory.credentials(client.object_id).await?;
        let fitting = credentials.iter().find(|credential| credential.fits(secret));
        match fitting {
            Some(credential) if credential.is_expired(self.now()) => Err(Refusal::expired_client_secret()),
            Some(_) => Ok(()),
            None => Err(Refusal::wrong_client_secret()),
        }
    }
}
