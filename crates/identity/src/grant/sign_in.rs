//! What a person's sign-in turns into: an access token, an id token, and a refresh token that carries on.

use bastide_store::{Change, Expectation, Record, Write};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::refresh_token::StoredRefreshToken;
use crate::audience::Requested;
use crate::directory::{Author, DirectoryObject, SIGN_IN, User};
use crate::error::IdentityError;
use crate::identity::{Grant, Service};
use crate::oauth_error::Refusal;
use crate::secret::{Secret, fingerprint};
use crate::token_answer::TokenAnswer;
use crate::token_endpoint::TokenEndpoint;
use crate::token_form::TokenForm;

impl Service {
    /// The user, as long as nothing has ended what began at `since`.
    pub(super) async fn standing_user(&self, object_id: Uuid, since: Timestamp) -> Result<User, Refusal> {
        match self.directory.object(object_id).await? {
            Some(DirectoryObject::User(user)) if user.standing.admits(since) => Ok(user),
            _ => Err(Refusal::account_disabled()),
        }
    }

    /// The time of a sign-in that happens now: later than any revocation so far, be it in the same second.
    pub(super) async fn sign_in_time(&self, user: Uuid) -> Result<Option<Timestamp>, IdentityError> {
        let object = self.directory.object(user).await?;
        let user = object.as_ref().and_then(DirectoryObject::as_user).filter(|user| user.standing.enabled);
        Ok(user.map(|user| user.standing.issue_time(self.now())))
    }

    /// What the scope (or the v1 parameter `resource`) asks for.
    pub(crate) fn wish(&self, form: &TokenForm) -> Result<Wish, Refusal> {
        let requested = self.audiences.requested(form.field("scope").unwrap_or_default())?;
        let Requested { resource, scopes, openid, offline_access } = requested;
        let resource = match (resource, form.field("resource")) {
            (Some(resource), _) => resource,
            (None, Some(resource)) => self.audiences.resource(resource)?,
            (None, None) => self.audiences.default_resource()?,
        };
        Ok(Wish { resource, scopes, openid, offline_access })
    }

    /// The answer to a person's client.
    pub(super) async fn person_answer(
        &self,
        endpoint: &TokenEndpoint,
        user: &User,
        answer: PersonAnswer<'_>,
    ) -> Result<TokenAnswer, Refusal> {
        let PersonAnswer { client_id, wish, nonce, signed_in, refresh_token } = answer;
        let object = DirectoryObject::User(user.clone());
        let grant = Grant { object: &object, client_id, resource: &wish.resource, scope: Some("user_impersonation") };
        let issued = self.access_token(&grant).await?;
        let id_token = if wish.openid {
            let claims = json!({
                "iss": endpoint.issuer(self.settings.tenant_id)?,
                "aud": client_id,
                "tid": self.settings.tenant_id,
                "oid": user.object_id,
                "sub": user.object_id,
                "preferred_username": user.user_principal_name,
                "upn": user.user_principal_name,
                "name": user.display_name,
                "ver": "2.0",
                "iat": issued.not_before,
                "nbf": issued.not_before,
                "exp": issued.expires,
                "auth_time": signed_in.as_second(),
            });
            Some(Secret::new(self.keys.sign(ID_TOKEN_TYPE, &with_nonce(claims, nonce)).await?))
        } else {
            None
        };
        Ok(TokenAnswer {
            access_token: issued.token,
            expires_in: issued.lifetime,
            scope: Some(wish.granted()),
            refresh_token_expires_in: refresh_token.as_ref().map(|_| LONGEST_SIGN_IN.as_secs()),
            refresh_token,
            id_token,
            client_info: Some(self.client_info(user.object_id)),
        })
    }

    /// What a write must contain to begin a sign-in, and its first refresh token.
    pub(super) fn sign_in_changes(&self, sign_in: &StoredSignIn) -> Result<(Uuid, Secret, Vec<Change>), Refusal> {
        let id = Uuid::new_v4();
        let ends = sign_in.ends();
        let sign_in_put = Change::PutRecord {
            kind: SIGN_IN.into(),
            key: id.to_string(),
            owner: Some(sign_in.user.to_string()),
            body: json!(sign_in),
            expires: Some(ends),
        };
        let (token, token_put) = StoredRefreshToken::issue(id, sign_in, self.now())?;
        Ok((id, token, vec![sign_in_put, token_put]))
    }

    /// What ends a sign-in with all its refresh tokens.
    pub(super) fn sign_in_deletion(sign_in: Uuid) -> Vec<Change> {
        vec![
            Change::DeleteRecord { kind: SIGN_IN.into(), key: sign_in.to_string() },
            Change::DeleteRecordsOf { kind: super::refresh_token::KIND.into(), owner: sign_in.to_string() },
        ]
    }

    /// A record under the fingerprint of a secret that a client presents.
    pub(super) async fn presented<T: DeserializeOwned>(
        &self,
        kind: &'static str,
        secret: &str,
    ) -> Result<Option<(Record, T)>, IdentityError> {
        let key = fingerprint(kind, secret);
        let Some(record) = self.store.record(kind, &key, self.now()).await? else { return Ok(None) };
        let damaged = |_| IdentityError::Damaged { kind, key };
        let body = serde_json::from_value(record.body.clone()).map_err(damaged)?;
        Ok(Some((record, body)))
    }

    pub(super) async fn write(
        &self,
        action: &str,
        object_id: Uuid,
        expect: Vec<Expectation>,
        changes: Vec<Change>,
    ) -> Result<(), IdentityError> {
        let audit = vec![Author::Bastide.record(action, object_id, None)];
        self.store.commit(Write { expect, changes, audit, ..Write::new(self.now()) }).await?;
        Ok(())
    }
}

/// What a person's client wants a token for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wish {
    pub(crate) resource: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) openid: bool,
    pub(crate) offline_access: bool,
}

impl Wish {
    /// The scope of the answer.
    fn granted(&self) -> String {
        let mut scopes = self.scopes.clone();
        if scopes.is_empty() {
            scopes.push(format!("{}/.default", self.resource));
        }
        if self.openid {
            scopes.extend(["openid", "profile"].map(ToOwned::to_owned));
        }
        if self.offline_access {
            scopes.push("offline_access".to_owned());
        }
        scopes.join(" ")
    }
}

/// What goes into an answer beside the user.
pub(super) struct PersonAnswer<'a> {
    pub(super) client_id: Uuid,
    pub(super) wish: &'a Wish,
    /// Echoed in the id token.
    pub(super) nonce: Option<&'a str>,
    /// When the person signed in.
    pub(super) signed_in: Timestamp,
    pub(super) refresh_token: Option<Secret>,
}

/// A sign-in that refresh tokens carry on: one person, one client.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredSignIn {
    pub(super) user: Uuid,
    pub(super) client_id: Uuid,
    pub(super) began: Timestamp,
    pub(super) wish: Wish,
}

impl StoredSignIn {
    pub(super) fn ends(&self) -> Timestamp {
        self.began.checked_add(LONGEST_SIGN_IN).unwrap_or(Timestamp::MAX)
    }
}

fn with_nonce(mut claims: serde_json::Value, nonce: Option<&str>) -> serde_json::Value {
    if let (Some(claims), Some(nonce)) = (claims.as_object_mut(), nonce) {
        claims.insert("nonce".to_owned(), json!(nonce));
    }
    claims
}

const ID_TOKEN_TYPE: &str = "JWT";
/// How long refresh tokens can carry on one sign-in.
const LONGEST_SIGN_IN: SignedDuration = SignedDuration::from_hours(90 * 24);
