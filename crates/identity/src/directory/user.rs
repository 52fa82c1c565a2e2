//! People.

use std::fmt;

use bastide_store::Expectation;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{
    Directory, DirectoryObject, PASSWORD, Standing, USER_NAME, USERS, absent, next_second, put_record, unused,
};
use crate::error::IdentityError;
use crate::secret::Secret;

impl Directory {
    /// Makes a user. The name must be free, whatever its case.
    pub async fn create_user(&self, new: NewUser) -> Result<User, IdentityError> {
        let object_id = Uuid::new_v4();
        let (user, expect, changes) = self.user_creation(object_id, new).await?;
        self.commit("users/create", object_id, expect, changes).await?;
        Ok(user)
    }

    /// The parts of a write that makes a user.
    pub(crate) async fn user_creation(
        &self,
        object_id: Uuid,
        new: NewUser,
    ) -> Result<(User, Vec<Expectation>, Vec<bastide_store::Change>), IdentityError> {
        let NewUser { user_principal_name, display_name, password } = new;
        check_password_rules(&password)?;
        let key = user_principal_name.key();
        let user = User { object_id, user_principal_name, display_name, standing: Standing::new(self.clock.now()) };
        let mut expect = vec![Expectation::RecordAbsent { kind: USER_NAME.into(), key: key.clone() }];
        expect.extend(unused(object_id));
        let owner = Some(object_id.to_string());
        let hash = self.passwords.hash(password).await?;
        let changes = vec![
            DirectoryObject::User(user.clone()).put(),
            put_record(USER_NAME, key, owner.clone(), json!({})),
            put_record(PASSWORD, object_id.to_string(), owner, json!({ "hash": hash })),
        ];
        Ok((user, expect, changes))
    }

    /// The user with this name, in any case.
    pub async fn user_by_name(&self, name: &str) -> Result<Option<User>, IdentityError> {
        let Ok(name) = UserPrincipalName::parse(name) else { return Ok(None) };
        Ok(match self.named(USER_NAME, &name.key()).await? {
            Some(DirectoryObject::User(user)) => Some(user),
            _ => None,
        })
    }

    /// A page of users, by object id.
    pub async fn users(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<User>, IdentityError> {
        let objects = self.list(USERS, after, limit).await?;
        Ok(objects.into_iter().filter_map(|object| object.as_user().cloned()).collect())
    }

    /// Replaces a user's password and ends all sessions that began with the old one.
    pub async fn set_password(&self, object_id: Uuid, password: Secret) -> Result<(), IdentityError> {
        check_password_rules(&password)?;
        let object = self.required(object_id).await?;
        object.as_user().ok_or_else(|| absent("user", object_id))?;
        let hash = self.passwords.hash(password).await?;
        let key = object_id.to_string();
        let password = put_record(PASSWORD, key.clone(), Some(key), json!({ "hash": hash }));
        // One write: whoever changes a password that was stolen wants the thief out with it, come what may.
        self.update(object_id, "users/setPassword", &[password], |object, now| {
            object.standing_mut().tokens_valid_from = next_second(now);
        })
        .await
    }

    /// The user, if name and password are right and the account is enabled. Takes as long for a name that does not
    /// exist as for a wrong password.
    pub(crate) async fn user_by_password(&self, name: &str, password: Secret) -> Result<Option<User>, IdentityError> {
        let user = self.user_by_name(name).await?;
        let record = match &user {
            Some(user) => self.record(PASSWORD, &user.object_id.to_string()).await?,
            None => None,
        };
        let hash = record.and_then(|record| record.body.get("hash")?.as_str().map(Secret::new));
        let right = self.passwords.verify(hash, password).await?;
        Ok(user.filter(|user| right && user.standing.enabled))
    }
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// The immutable id.
    pub object_id: Uuid,
    /// The name to sign in with.
    pub user_principal_name: UserPrincipalName,
    /// The name to show.
    pub display_name: String,
    /// Whether the account works.
    #[serde(flatten)]
    pub standing: Standing,
}

/// A user that does not exist yet.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The name to sign in with.
    pub user_principal_name: UserPrincipalName,
    /// The name to show.
    pub display_name: String,
    /// At least twelve characters.
    pub password: Secret,
}

/// `someone@domain`, as it was given; compared without case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserPrincipalName(String);

impl UserPrincipalName {
    /// Accepts the characters Entra accepts: ASCII letters, digits and `'.-_!#^~+` before one `@` and a host name.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let rule = "must look like someone@domain, with ASCII letters, digits and '.-_!#^~+, at most 113 characters";
        let fits = text.len() <= LONGEST_NAME
            && text.split_once('@').is_some_and(|(local, domain)| {
                !local.is_empty()
                    && local.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"'.-_!#^~+".contains(&byte))
                    && !domain.is_empty()
                    && domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
            });
        if fits { Ok(Self(text.to_owned())) } else { Err(IdentityError::Invalid { what: "user principal name", rule }) }
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for UserPrincipalName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// NIST SP 800-63B: length is what counts. The upper bound keeps hashing cheap to feed.
fn check_password_rules(password: &Secret) -> Result<(), IdentityError> {
    let characters = password.expose().chars().count();
    if (SHORTEST_PASSWORD..=LONGEST_PASSWORD).contains(&characters) {
        return Ok(());
    }
    Err(IdentityError::Invalid { what: "password", rule: "must have between 12 and 256 characters" })
}

const LONGEST_NAME: usize = 113;
const SHORTEST_PASSWORD: usize = 12;
const LONGEST_PASSWORD: usize = 256;
