//! A client asks again, without the person (RFC 6749 section 6, RFC 9700 section 4.14).
//!
//! Each use of a refresh token answers with a new one. A token that was used before and comes back later than
//! [`GRACE`] has been stolen from somebody: the whole sign-in ends, for the thief and for the person, who signs in again.
//! Within the grace period a second use is let pass: `az` processes that start together share one token, and an answer
//! can get lost on the way.

use bastide_store::{Change, Expectation, Record};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::sign_in::{PersonAnswer, StoredSignIn, Wish};
use crate::directory::SIGN_IN;
use crate::error::IdentityError;
use crate::identity::Service;
use crate::oauth_error::Refusal;
use crate::secret::{Secret, fingerprint};
use crate::token_answer::TokenAnswer;
use crate::token_endpoint::TokenEndpoint;
use crate::token_form::TokenForm;

impl Service {
    pub(super) async fn refresh(&self, endpoint: &TokenEndpoint, form: &TokenForm) -> Result<TokenAnswer, Refusal> {
        let presented = form.required("refresh_token")?;
        let client = self.client(endpoint, form).await?;
        for _ in 0..ATTEMPTS {
            let found = self.presented::<StoredRefreshToken>(KIND, presented).await?;
            let (record, token) = found.ok_or_else(Refusal::invalid_grant)?;
            if token.client_id != client.id() {
                return Err(Refusal::invalid_grant());
            }
            let now = self.now();
            if token.issued.checked_add(LONGEST_IDLE).is_ok_and(|end| end <= now) {
                return Err(Refusal::expired_refresh_token());
            }
            let (sign_in_record, sign_in) = self.sign_in(token.sign_in).await?.ok_or_else(Refusal::revoked_grant)?;
            let user = self.standing_user(sign_in.user, sign_in.began).await?;
            if token.rotated.is_some_and(|rotated| now.duration_since(rotated) > GRACE) {
                let changes = Self::sign_in_deletion(token.sign_in);
                self.write("signIns/endAfterReuse", sign_in.user, Vec::new(), changes).await?;
                tracing::warn!(user = %sign_in.user, "a refresh token was used again; its sign-in has ended");
                return Err(Refusal::revoked_grant());
            }
            let wish = self.refreshed_wish(form, &sign_in.wish)?;

            let (successor, successor_put) = StoredRefreshToken::issue(token.sign_in, &sign_in, now)?;
            let changes = vec![token.rotated_put(&record, now), successor_put];
            let expect = vec![revision_of(&record), revision_of(&sign_in_record)];
            match self.write("signIns/refresh", sign_in.user, expect, changes).await {
                Ok(()) => {}
                // Used at the same time elsewhere: look again.
                Err(IdentityError::Conflict) => continue,
                Err(error) => return Err(error.into()),
            }
            let answer = PersonAnswer {
                client_id: token.client_id,
                wish: &wish,
                nonce: None,
                signed_in: sign_in.began,
                refresh_token: Some(successor),
            };
            return self.person_answer(endpoint, &user, answer).await;
        }
        Err(IdentityError::Conflict.into())
    }

    /// Without a scope the token is for what the sign-in was for; with one it may be for another resource.
    fn refreshed_wish(&self, form: &TokenForm, original: &Wish) -> Result<Wish, Refusal> {
        if form.field("scope").is_none() && form.field("resource").is_none() {
            return Ok(original.clone());
        }
        let wish = self.wish(form)?;
        Ok(Wish { openid: wish.openid && original.openid, offline_access: true, ..wish })
    }

    async fn sign_in(&self, id: Uuid) -> Result<Option<(Record, StoredSignIn)>, IdentityError> {
        let Some(record) = self.store.record(SIGN_IN, &id.to_string(), self.now()).await? else { return Ok(None) };
        let damaged = |_| IdentityError::Damaged { kind: SIGN_IN, key: id.to_string() };
        let sign_in = serde_json::from_value(record.body.clone()).map_err(damaged)?;
        Ok(Some((record, sign_in)))
    }
}

/// A refresh token as stored, under its fingerprint.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredRefreshToken {
    sign_in: Uuid,
    client_id: Uuid,
    issued: Timestamp,
    /// When it was first used.
    rotated: Option<Timestamp>,
}

impl StoredRefreshToken {
    /// A new token of a sign-in, and what stores it.
    pub(super) fn issue(sign_in: Uuid, of: &StoredSignIn, now: Timestamp) -> Result<(Secret, Change), IdentityError> {
        let token = Secret::generate("")?;
        let stored = Self { sign_in, client_id: of.client_id, issued: now, rotated: None };
        let put = stored.put(fingerprint(KIND, token.expose()), of.ends());
        Ok((token, put))
    }

    /// Marks its first use; a use in the grace period does not prolong it.
    fn rotated_put(&self, record: &Record, now: Timestamp) -> Change {
        let rotated = Self { rotated: Some(self.rotated.unwrap_or(now)), ..self.clone() };
        rotated.put(record.key.clone(), record.expires.unwrap_or(now))
    }

    fn put(&self, key: String, expires: Timestamp) -> Change {
        let owner = Some(self.sign_in.to_string());
        Change::PutRecord { kind: KIND.into(), key, owner, body: json!(self), expires: Some(expires) }
    }
}

pub(super) fn revision_of(record: &Record) -> Expectation {
    Expectation::RecordRevision { kind: record.kind.clone(), key: record.key.clone(), revision: record.revision }
}

pub(super) const KIND: &str = "refresh-token";
/// How long a token that was used may be used again.
const GRACE: SignedDuration = SignedDuration::from_secs(30);
/// How long a token waits for its use.
const LONGEST_IDLE: SignedDuration = SignedDuration::from_hours(14 * 24);
const ATTEMPTS: usize = 5;
