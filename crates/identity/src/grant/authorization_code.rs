//! A person signs in with the browser (RFC 6749 section 4.1, with PKCE as RFC 7636 wants it).

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bastide_store::Change;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::refresh_token::revision_of;
use super::sign_in::{PersonAnswer, StoredSignIn, Wish};
use crate::error::IdentityError;
use crate::identity::{Identity, Service};
use crate::oauth_error::{OAuthError, Refusal};
use crate::principal::Principal;
use crate::secret::{Secret, fingerprint};
use crate::token_answer::TokenAnswer;
use crate::token_endpoint::TokenEndpoint;
use crate::token_form::TokenForm;

impl Identity {
    /// Reads what a client sent the browser to the authorization endpoint with, before anybody is asked to sign in.
    pub async fn authorize_request(&self, form: &TokenForm) -> Result<AuthorizeRequest, AuthorizeError> {
        self.0.authorize_request(form).await
    }

    /// A code for the client, after the person has signed in. It works once, for five minutes, for that client, that
    /// address and that challenge.
    pub async fn issue_code(&self, user: &Principal, request: &AuthorizeRequest) -> Result<Secret, OAuthError> {
        let issued = self.0.issue_code(user, request).await;
        issued.map_err(|refusal| self.0.stamp(refusal, &TokenForm::default()))
    }
}

impl Service {
    async fn authorize_request(&self, form: &TokenForm) -> Result<AuthorizeRequest, AuthorizeError> {
        let stay = |refusal| AuthorizeError { error: self.stamp(refusal, form), back_to: None };
        form.checked().map_err(stay)?;
        let client = self.unproved_client(form).await.map_err(stay)?;
        let redirect_uri = form.required("redirect_uri").map_err(stay)?;
        if !client.may_redirect_to(redirect_uri) {
            return Err(stay(Refusal::wrong_redirect_uri()));
        }
        let response_mode = match form.field("response_mode") {
            Some("form_post") => ResponseMode::FormPost,
            None | Some("query") => ResponseMode::Query,
            Some(_) => return Err(stay(Refusal::unsupported_response_type())),
        };
        let back_to = ReturnAddress {
            redirect_uri: redirect_uri.to_owned(),
            response_mode,
            state: form.field("state").map(ToOwned::to_owned),
        };
        // From here on the client is known and hears itself what is wrong.
        let back = |refusal| AuthorizeError { error: self.stamp(refusal, form), back_to: Some(back_to.clone()) };
        if form.required("response_type").map_err(back)? != "code" {
            return Err(back(Refusal::unsupported_response_type()));
        }
        let challenge = form.field("code_challenge").filter(|challenge| is_challenge(challenge));
        let challenge = challenge.filter(|_| form.field("code_challenge_method") == Some("S256"));
        let code_challenge = challenge.ok_or_else(|| back(Refusal::pkce_needed()))?.to_owned();
        let wish = self.wish(form).map_err(back)?;
        Ok(AuthorizeRequest {
            client_id: client.id(),
            client_name: client.name().to_owned(),
            login_hint: form.field("login_hint").map(ToOwned::to_owned),
            nonce: form.field("nonce").map(ToOwned::to_owned),
            back_to,
            code_challenge,
            wish,
        })
    }

    async fn issue_code(&self, user: &Principal, request: &AuthorizeRequest) -> Result<Secret, Refusal> {
        let code = Secret::generate("")?;
        let issued = self.sign_in_time(user.object_id).await?.ok_or_else(Refusal::account_disabled)?;
        let stored = StoredCode {
            user: user.object_id,
            client_id: request.client_id,
            redirect_uri: request.back_to.redirect_uri.clone(),
            code_challenge: request.code_challenge.clone(),
            nonce: request.nonce.clone(),
            wish: request.wish.clone(),
            issued,
            used: false,
            sign_in: None,
        };
        let put = stored.put(fingerprint(KIND, code.expose()));
        self.write("signIns/issueCode", user.object_id, Vec::new(), vec![put]).await?;
        Ok(code)
    }

    pub(super) async fn redeem_code(&self, endpoint: &TokenEndpoint, form: &TokenForm) -> Result<TokenAnswer, Refusal> {
        let presented = form.required("code")?;
        let verifier = form.required("code_verifier")?;
        let redirect_uri = form.required("redirect_uri")?;
        let client = self.client(endpoint, form).await?;
        let found = self.presented::<StoredCode>(KIND, presented).await?;
        let (record, code) = found.ok_or_else(Refusal::invalid_grant)?;
        if code.client_id != client.id() || code.redirect_uri != redirect_uri {
            return Err(Refusal::invalid_grant());
        }
        if code.used {
            return Err(self.code_used_again(&code).await?);
        }
        if code.ends() <= self.now() {
            return Err(Refusal::expired_code());
        }
        if !code.is_answered_by(verifier) {
            return Err(Refusal::wrong_code_verifier());
        }
        let user = self.standing_user(code.user, code.issued).await?;

        let sign_in =
            StoredSignIn { user: code.user, client_id: code.client_id, began: code.issued, wish: code.wish.clone() };
        let begun = code.wish.offline_access.then(|| self.sign_in_changes(&sign_in)).transpose()?;
        let (id, refresh_token, mut changes) = match begun {
            Some((id, token, changes)) => (Some(id), Some(token), changes),
            None => (None, None, Vec::new()),
        };
        changes.push(StoredCode { used: true, sign_in: id, ..code.clone() }.put(record.key.clone()));
        match self.write("signIns/begin", code.user, vec![revision_of(&record)], changes).await {
            Ok(()) => {}
            // Of two uses at the same time the second is a replay.
            Err(IdentityError::Conflict) => return Err(Refusal::invalid_grant()),
            Err(error) => return Err(error.into()),
        }
        let answer = PersonAnswer {
            client_id: code.client_id,
            wish: &code.wish,
            nonce: code.nonce.as_deref(),
            signed_in: code.issued,
            refresh_token,
        };
        self.person_answer(endpoint, &user, answer).await
    }

    /// A code that comes twice was stolen: what the first use began ends (RFC 6749 section 4.1.2).
    async fn code_used_again(&self, code: &StoredCode) -> Result<Refusal, Refusal> {
        if let Some(sign_in) = code.sign_in {
            let changes = Self::sign_in_deletion(sign_in);
            self.write("signIns/endAfterReuse", code.user, Vec::new(), changes).await?;
        }
        tracing::warn!(user = %code.user, "an authorization code was used again; its sign-in has ended");
        Ok(Refusal::invalid_grant())
    }
}

/// A checked request for a code: what the login page shows, and what the code will be bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizeRequest {
    /// The client that wants the code.
    pub client_id: Uuid,
    /// What it is called.
    pub client_name: String,
    /// The user name the client suggests.
    pub login_hint: Option<String>,
    /// Where the code goes.
    pub back_to: ReturnAddress,
    nonce: Option<String>,
    code_challenge: String,
    wish: Wish,
}

/// Where the browser goes back to, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnAddress {
    /// An address of the client, already checked.
    pub redirect_uri: String,
    /// How the answer travels.
    pub response_mode: ResponseMode,
    /// To be sent back as it came.
    pub state: Option<String>,
}

/// How an answer travels through the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseMode {
    /// As a form that the page posts; the only one az's listener takes.
    FormPost,
    /// In the query of a redirect.
    Query,
}

/// A request for a code that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct AuthorizeError {
    /// What is wrong.
    pub error: OAuthError,
    /// Where to send it. Without an address it stays on a page: the client's is not to be trusted.
    pub back_to: Option<ReturnAddress>,
}

/// An authorization code as stored, under its fingerprint.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredCode {
    user: Uuid,
    client_id: Uuid,
    redirect_uri: String,
    code_challenge: String,
    nonce: Option<String>,
    wish: Wish,
    issued: Timestamp,
    used: bool,
    sign_in: Option<Uuid>,
}

impl StoredCode {
    fn ends(&self) -> Timestamp {
        self.issued.checked_add(LIFETIME).unwrap_or(Timestamp::MAX)
    }

    /// RFC 7636 section 4.6.
    fn is_answered_by(&self, verifier: &str) -> bool {
        let hash = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
        (VERIFIER_LENGTH.contains(&verifier.len())) & bool::from(hash.as_bytes().ct_eq(self.code_challenge.as_bytes()))
    }

    /// Remembered for an hour, so that a late replay is still recognised.
    fn put(&self, key: String) -> Change {
        let owner = Some(self.user.to_string());
        let expires = self.issued.checked_add(REMEMBERED).ok();
        Change::PutRecord { kind: KIND.into(), key, owner, body: json!(self), expires }
    }
}

/// 43 characters: the base64url of a SHA-256.
fn is_challenge(text: &str) -> bool {
    URL_SAFE_NO_PAD.decode(text).is_ok_and(|hash| hash.len() == digest::SHA256_OUTPUT_LEN)
}

const KIND: &str = "authorization-code";
const LIFETIME: SignedDuration = SignedDuration::from_mins(5);
const REMEMBERED: SignedDuration = SignedDuration::from_hours(1);
/// RFC 7636 section 4.1.
const VERIFIER_LENGTH: std::ops::RangeInclusive<usize> = 43..=128;
