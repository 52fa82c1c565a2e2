//! A person signs in on one machine for a client on another (RFC 8628).

use aws_lc_rs::rand;
use bastide_store::{Change, Expectation, Record, Write};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
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
    /// Begins a sign-in: the JSON answer with the code that the client shows. The page for it is `{origin}/devicelogin`.
    pub async fn start_device_code(&self, origin: &str, form: &TokenForm) -> Result<Value, OAuthError> {
        self.0.start_device_code(origin, form).await.map_err(|refusal| self.0.stamp(refusal, form))
    }

    /// What the person is about to approve: show the client's name, and who asked. Guesses at codes are counted by the
    /// person who makes them.
    pub async fn device_sign_in(&self, user_code: &str, user: &Principal) -> Result<DeviceSignIn, DeviceCodeError> {
        let (_, device) = self.0.pending(user_code, user).await?;
        Ok(DeviceSignIn { client_id: device.client_id, client_name: device.client_name })
    }

    /// The person says yes.
    pub async fn approve_device_code(&self, user_code: &str, user: &Principal) -> Result<(), DeviceCodeError> {
        let at = self.0.sign_in_time(user.object_id).await?.ok_or(DeviceCodeError::Unknown)?;
        self.0.decide(user_code, user, Decision::Approved { user: user.object_id, at }).await
    }

    /// The person says no.
    pub async fn deny_device_code(&self, user_code: &str, user: &Principal) -> Result<(), DeviceCodeError> {
        self.0.decide(user_code, user, Decision::Denied).await
    }
}

impl Service {
    async fn start_device_code(&self, origin: &str, form: &TokenForm) -> Result<Value, Refusal> {
        let client = self.unproved_client(form.checked()?).await?;
        self.limits.begin_device_code(form.source, self.now()).map_err(Refusal::too_many_device_codes)?;
        let (device_code, now) = (Secret::generate("")?, self.now());
        let device = StoredDevice {
            client_id: client.id(),
            client_name: client.name().to_owned(),
            wish: self.wish(form)?,
            began: now,
            decision: Decision::Pending,
        };
        let key = fingerprint(KIND, device_code.expose());
        let user_code = new_user_code()?;
        let name = Change::PutRecord {
            kind: USER_CODE.into(),
            key: fingerprint(USER_CODE, &user_code),
            owner: Some(key.clone()),
            body: json!({}),
            expires: Some(device.ends()),
        };
        // Should the code be in use already, the client gets an error and tries again: one chance in 10^10.
        let expect =
            vec![Expectation::RecordAbsent { kind: USER_CODE.into(), key: fingerprint(USER_CODE, &user_code) }];
        // Nothing for the auditor, who hears of the decision: anybody may start, and the audit is kept for ever.
        let changes = vec![device.put(key), name];
        self.store.commit(Write { expect, changes, ..Write::new(now) }).await.map_err(IdentityError::from)?;

        let shown = shown(&user_code);
        let page = format!("{origin}/devicelogin");
        let message = format!(
            "To sign in, use a web browser to open the page {page} and enter the code {shown} to authenticate."
        );
        Ok(json!({
            "user_code": shown,
            "device_code": device_code.expose(),
            "verification_uri": page,
            "verification_url": page,
            "expires_in": LIFETIME.as_secs(),
            "interval": INTERVAL.as_secs(),
            "message": message,
        }))
    }

    pub(super) async fn poll_device_code(
        &self,
        endpoint: &TokenEndpoint,
        form: &TokenForm,
    ) -> Result<TokenAnswer, Refusal> {
        // az sends it under both names.
        let presented = form.field("device_code").or(form.field("code"));
        let presented = presented.ok_or_else(|| Refusal::missing_parameter("device_code"))?;
        let client = self.client(endpoint, form).await?;
        let found = self.presented::<StoredDevice>(KIND, presented).await?;
        let (record, device) = found.ok_or_else(Refusal::invalid_grant)?;
        if device.client_id != client.id() {
            return Err(Refusal::invalid_grant());
        }
        let now = self.now();
        if device.ends() <= now {
            return Err(Refusal::expired_device_code());
        }
        match device.decision {
            Decision::Pending if self.polls.begin(&record.key, now).is_err() => Err(Refusal::slow_down()),
            Decision::Pending => Err(Refusal::authorization_pending()),
            Decision::Denied => Err(Refusal::declined()),
            Decision::Approved { user, at } => self.redeem_device_code(endpoint, &record, &device, user, at).await,
        }
    }

    async fn redeem_device_code(
        &self,
        endpoint: &TokenEndpoint,
        record: &Record,
        device: &StoredDevice,
        user: Uuid,
        approved: Timestamp,
    ) -> Result<TokenAnswer, Refusal> {
        let user = self.standing_user(user, approved).await?;
        let sign_in = StoredSignIn {
            user: user.object_id,
            client_id: device.client_id,
            began: approved,
            wish: device.wish.clone(),
        };
        let begun = device.wish.offline_access.then(|| self.sign_in_changes(&sign_in)).transpose()?;
        let (refresh_token, mut changes) = match begun {
            Some((_, token, changes)) => (Some(token), changes),
            None => (None, Vec::new()),
        };
        changes.push(Change::DeleteRecord { kind: KIND.into(), key: record.key.clone() });
        match self.write("signIns/begin", user.object_id, vec![revision_of(record)], changes).await {
            Ok(()) => {}
            Err(IdentityError::Conflict) => return Err(Refusal::invalid_grant()),
            Err(error) => return Err(error.into()),
        }
        let answer = PersonAnswer {
            client_id: device.client_id,
            wish: &device.wish,
            nonce: None,
            signed_in: approved,
            refresh_token,
        };
        self.person_answer(endpoint, &user, answer).await
    }

    /// The device that shows this code, if it still waits.
    async fn pending(&self, user_code: &str, user: &Principal) -> Result<(Record, StoredDevice), DeviceCodeError> {
        let guesser = user.object_id.to_string();
        let now = self.now();
        self.limits.user_codes.begin(&guesser, now).map_err(DeviceCodeError::TooManyFailures)?;
        let code = normalised(user_code);
        let named = self.store.record(USER_CODE, &fingerprint(USER_CODE, &code), now).await;
        let named = named.map_err(IdentityError::from)?.and_then(|record| record.owner);
        let key = named.ok_or(DeviceCodeError::Unknown)?;
        let record = self.store.record(KIND, &key, now).await.map_err(IdentityError::from)?;
        let record = record.ok_or(DeviceCodeError::Unknown)?;
        let device: StoredDevice =
            serde_json::from_value(record.body.clone()).map_err(|_| IdentityError::Damaged { kind: KIND, key })?;
        if device.ends() <= now || device.decision != Decision::Pending {
            return Err(DeviceCodeError::Unknown);
        }
        self.limits.user_codes.succeeded(&guesser);
        Ok((record, device))
    }

    async fn decide(&self, user_code: &str, user: &Principal, decision: Decision) -> Result<(), DeviceCodeError> {
        let (record, device) = self.pending(user_code, user).await?;
        let decided = StoredDevice { decision, ..device };
        let expect = vec![revision_of(&record)];
        let name = fingerprint(USER_CODE, &normalised(user_code));
        let changes = vec![decided.put(record.key), Change::DeleteRecord { kind: USER_CODE.into(), key: name }];
        match self.write("signIns/decideDeviceCode", user.object_id, expect, changes).await {
            Err(IdentityError::Conflict) => Err(DeviceCodeError::Unknown),
            other => Ok(other?),
        }
    }
}

/// What a person is asked to approve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSignIn {
    /// The client that asks.
    pub client_id: Uuid,
    /// What it is called.
    pub client_name: String,
}

/// Why a code from a device was refused.
#[derive(Debug, thiserror::Error)]
pub enum DeviceCodeError {
    /// Nobody waits for this code: mistyped, expired, or decided already.
    #[error("This code is not valid. Check it, or start the sign-in on the device again.")]
    Unknown,
    /// Too many wrong codes; the number of seconds to wait.
    #[error("Too many wrong codes. Wait {0} seconds and try again.")]
    TooManyFailures(u16),
    /// The service cannot work.
    #[error("Sign-in does not work just now. Try again in a moment; the server's log says more.")]
    Unavailable(#[from] IdentityError),
}

/// A device that waits, as stored under the fingerprint of its code.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredDevice {
    client_id: Uuid,
    client_name: String,
    wish: Wish,
    began: Timestamp,
    decision: Decision,
}

impl StoredDevice {
    fn ends(&self) -> Timestamp {
        self.began.checked_add(LIFETIME).unwrap_or(Timestamp::MAX)
    }

    /// Remembered past its end, so that the client is told that it expired.
    fn put(&self, key: String) -> Change {
        let expires = self.ends().checked_add(LIFETIME).ok();
        Change::PutRecord { kind: KIND.into(), key, owner: None, body: json!(self), expires }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Decision {
    Pending,
    Denied,
    Approved { user: Uuid, at: Timestamp },
}

/// Nine letters that are hard to mistake and spell no words (RFC 8628 section 6.1): 38 bits.
fn new_user_code() -> Result<String, IdentityError> {
    let mut code = String::with_capacity(CODE_LENGTH);
    while code.len() < CODE_LENGTH {
        let mut byte = [0];
        rand::fill(&mut byte).map_err(|_| IdentityError::Randomness)?;
        // Bytes past the last whole multiple of the alphabet would make its first letters likelier.
        let usable = u8::MAX - u8::MAX % 20;
        if let Some(letter) = CODE_LETTERS.get(usize::from(byte[0] % 20)).filter(|_| byte[0] < usable) {
            code.push(char::from(*letter));
        }
    }
    Ok(code)
}

/// `BCDFGHJKL` as `BCD-FGH-JKL`.
fn shown(code: &str) -> String {
    let letters: Vec<char> = code.chars().collect();
    letters.chunks(3).map(String::from_iter).collect::<Vec<_>>().join("-")
}

/// What people type: any case, with or without dashes and spaces.
fn normalised(typed: &str) -> String {
    typed
        .chars()
        .filter(char::is_ascii_alphabetic)
        .take(CODE_LENGTH + 1)
        .map(|letter| letter.to_ascii_uppercase())
        .collect()
}

const KIND: &str = "device-code";
const USER_CODE: &str = "user-code";
const CODE_LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const CODE_LENGTH: usize = 9;
pub(crate) const LIFETIME: SignedDuration = SignedDuration::from_mins(15);
/// How long a client waits between two questions.
pub(crate) const INTERVAL: SignedDuration = SignedDuration::from_secs(5);
