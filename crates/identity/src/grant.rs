//! The grants: one file for each way to get a token.

mod client_credentials;

use crate::identity::Service;
use crate::oauth_error::Refusal;
use crate::token_answer::TokenAnswer;
use crate::token_endpoint::TokenEndpoint;
use crate::token_form::TokenForm;

impl Service {
    pub(crate) async fn grant(&self, endpoint: &TokenEndpoint, form: &TokenForm) -> Result<TokenAnswer, Refusal> {
        let form = form.checked()?;
        match form.required("grant_type")? {
            "client_credentials" => self.client_credentials(endpoint, form).await,
            _ => Err(Refusal::unsupported_grant()),
        }
    }
}
