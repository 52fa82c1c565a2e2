//! A client hands over a person's name and password (RFC 6749 section 4.3): deprecated, off unless the operator allows it,
//! and only on the adfs flavour, because MSAL's other one cannot do it on a port of our own.

use super::sign_in::{PersonAnswer, StoredSignIn};
use crate::identity::Service;
use crate::login::LoginError;
use crate::oauth_error::Refusal;
use crate::secret::Secret;
use crate::token_answer::TokenAnswer;
use crate::token_endpoint::{Flavour, TokenEndpoint};
use crate::token_form::TokenForm;

impl Service {
    pub(super) async fn password(&self, endpoint: &TokenEndpoint, form: &TokenForm) -> Result<TokenAnswer, Refusal> {
        if !self.settings.allow_password || endpoint.flavour != Flavour::Adfs {
            return Err(Refusal::password_grant_is_off());
        }
        let client = self.client(endpoint, form).await?;
        let wish = self.wish(form)?;
        let (name, password) = (form.required("username")?, Secret::new(form.required("password")?));
        let user = self.user_by_password(name, &password, form.source).await?;

        let began = user.standing.issue_time(self.now());
        let sign_in = StoredSignIn { user: user.object_id, client_id: client.id(), began, wish };
        let mut refresh_token = None;
        if sign_in.wish.offline_access {
            let (_, token, changes) = self.sign_in_changes(&sign_in)?;
            self.write("signIns/begin", user.object_id, Vec::new(), changes).await?;
            refresh_token = Some(token);
        }
        let answer =
            PersonAnswer { client_id: client.id(), wish: &sign_in.wish, nonce: None, signed_in: began, refresh_token };
        self.person_answer(endpoint, &user, answer).await
    }
}

impl From<LoginError> for Refusal {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Wrong => Self::wrong_password(),
            LoginError::TooManyFailures(seconds) => Self::too_many_failures(seconds),
            LoginError::Busy => Self::busy(),
            LoginError::Unavailable(error) => error.into(),
        }
    }
}
