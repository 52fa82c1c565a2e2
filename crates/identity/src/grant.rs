//! The grants: one file for each way to get a token.

mod assertion;
mod authorization_code;
mod client_credentials;
mod device_code;
mod managed_identity;
mod password;
mod refresh_token;
mod sign_in;

pub use authorization_code::{AuthorizeError, AuthorizeRequest, ResponseMode, ReturnAddress};
pub use device_code::{DeviceCodeError, DeviceSignIn};
pub(crate) use device_code::{INTERVAL as POLL_INTERVAL, LIFETIME as DEVICE_CODE_LIFETIME};

use uuid::Uuid;

use crate::identity::Service;
use crate::oauth_error::Refusal;
use crate::public_client::{Client, PublicClient};
use crate::token_answer::TokenAnswer;
use crate::token_endpoint::TokenEndpoint;
use crate::token_form::TokenForm;

impl Service {
    pub(crate) async fn grant(&self, endpoint: &TokenEndpoint, form: &TokenForm) -> Result<TokenAnswer, Refusal> {
        let form = form.checked()?;
        match form.required("grant_type")? {
            "client_credentials" => self.client_credentials(endpoint, form).await,
            "authorization_code" => self.redeem_code(endpoint, form).await,
            "refresh_token" => self.refresh(endpoint, form).await,
            // The second name is what clients used before RFC 8628.
            "urn:ietf:params:oauth:grant-type:device_code" | "device_code" => {
                self.poll_device_code(endpoint, form).await
            }
            "password" => self.password(endpoint, form).await,
            _ => Err(Refusal::unsupported_grant()),
        }
    }

    /// The client of a request to the token endpoint: a public one by its id, any other by its proof.
    pub(crate) async fn client(&self, endpoint: &TokenEndpoint, form: &TokenForm) -> Result<Client, Refusal> {
        let Some(client) = Uuid::try_parse(form.required("client_id")?).ok().and_then(PublicClient::by_id) else {
            return Ok(Client::Confidential(self.authenticated_client(endpoint, form).await?));
        };
        if form.field("client_secret").is_some() || form.field("client_assertion").is_some() {
            return Err(Refusal::public_client_with_secret());
        }
        Ok(Client::Public(client))
    }

    /// The client that a browser or a device speaks for. It proves itself later, at the token endpoint.
    pub(crate) async fn unproved_client(&self, form: &TokenForm) -> Result<Client, Refusal> {
        let client_id = form.required("client_id")?;
        if let Some(client) = Uuid::try_parse(client_id).ok().and_then(PublicClient::by_id) {
            return Ok(Client::Public(client));
        }
        Ok(Client::Confidential(self.enabled_client(client_id, 400).await?))
    }
}
