//! The directory: users, groups, service principals and managed identities, and their credentials.
//!
//! Every object is one record of kind `principal` under its object id, so that a request costs one read. Names are
//! records of their own that point to the object: their keys make them unique. Object ids are random; a deleted one
//! leaves a tombstone for as long as a token with it may still be about, so that none speaks for somebody else.

mod author;
mod credential;
mod group;
mod known;
mod managed_identity;
mod service_principal;
mod user;
mod warrant;

use std::collections::HashMap;
use std::sync::Arc;

use bastide_arm::clock::Clock;
use bastide_store::{Change, CommitError, Expectation, Record, RecordQuery, Store, Write};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

pub use author::Author;
pub use credential::{Credential, CredentialProof, NewCertificate, NewFederatedCredential, NewSecret};
pub use group::Group;
pub use managed_identity::IdentityEndpoint;
pub use service_principal::{ApplicationUris, NewServicePrincipal, ServicePrincipal, ServicePrincipalType};
pub use user::{NewUser, User, UserPrincipalName};
pub use warrant::Warrant;

use crate::access_token::LIFETIME;
use crate::error::IdentityError;
use crate::password::Passwords;
use crate::principal::{Principal, PrincipalKind};
use known::{Known, KnownPrincipal};

/// The principals of the tenant. Cheap to clone.
#[derive(Clone)]
pub struct Directory {
    store: Store,
    clock: Arc<dyn Clock>,
    passwords: Arc<Passwords>,
    tenant_id: Uuid,
    author: Author,
    /// What the author's changes rest on; Bastide's own need none.
    warrant: Option<Arc<dyn Warrant>>,
    known: Arc<Known>,
}

impl Directory {
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>, passwords: Arc<Passwords>, tenant_id: Uuid) -> Self {
        Self { store, clock, passwords, tenant_id, author: Author::Bastide, warrant: None, known: Arc::default() }
    }

    /// The same directory, changed on somebody's behalf: the audit names them, and each change is made only while the
    /// warrant holds.
    #[must_use]
    pub fn on_behalf_of(&self, author: Author, warrant: Arc<dyn Warrant>) -> Self {
        Self { author, warrant: Some(warrant), ..self.clone() }
    }

    /// The object with this id, of whatever kind.
    pub async fn object(&self, object_id: Uuid) -> Result<Option<DirectoryObject>, IdentityError> {
        let record = self.record(PRINCIPAL, &object_id.to_string()).await?;
        record.as_ref().map(DirectoryObject::read).transpose()
    }

    /// The objects with these ids, in their order; unknown ids are left out (Graph's `getByIds`).
    pub async fn objects(&self, object_ids: &[Uuid]) -> Result<Vec<DirectoryObject>, IdentityError> {
        let keys: Vec<String> = object_ids.iter().map(Uuid::to_string).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let records = self.store.records_at(PRINCIPAL, &keys, self.clock.now()).await?;
        let known: HashMap<&str, &Record> = records.iter().map(|record| (record.key.as_str(), record)).collect();
        keys.iter().filter_map(|key| known.get(key)).map(|record| DirectoryObject::read(record)).collect()
    }

    /// The object as a principal with all its groups. Says nothing about whether it may sign in.
    pub async fn principal(&self, object: &DirectoryObject) -> Result<Principal, IdentityError> {
        Ok(Principal {
            object_id: object.object_id(),
            tenant_id: self.tenant_id,
            kind: object.kind(),
            name: object.name().to_owned(),
            app_id: object.as_service_principal().map(|service_principal| service_principal.app_id),
            groups: self.transitive_groups(object.object_id()).await?,
        })
    }

    /// The principal with this id as it is now, if what it was allowed `since` then still counts: it exists, may sign in,
    /// and its sessions were not revoked after that.
    pub async fn standing_principal(
        &self,
        object_id: Uuid,
        since: Timestamp,
    ) -> Result<Option<Principal>, IdentityError> {
        match self.object(object_id).await? {
            Some(object) if object.standing().admits(since) => Ok(Some(self.principal(&object).await?)),
            _ => Ok(None),
        }
    }

    /// The object that signs in, with all its groups, as of the access epoch that is returned with it or later.
    pub(crate) async fn signs_in(&self, object_id: Uuid) -> Result<(i64, Option<Arc<KnownPrincipal>>), IdentityError> {
        // Read first: what is known must never be older than what it is kept under.
        let epoch = self.store.access_epoch().await?;
        if let Some(known) = self.known.at(epoch, object_id) {
            return Ok((epoch, Some(known)));
        }
        let Some(object) = self.object(object_id).await? else { return Ok((epoch, None)) };
        let known = KnownPrincipal { standing: *object.standing(), principal: self.principal(&object).await? };
        Ok((epoch, Some(self.known.keep(epoch, known))))
    }

    /// Changes the name that people are shown; of a group, what it is for as well.
    pub async fn rename(&self, object_id: Uuid, names: Names) -> Result<(), IdentityError> {
        self.update(object_id, "principals/rename", &[], |object, _| {
            let display_name = match object {
                DirectoryObject::User(user) => &mut user.display_name,
                DirectoryObject::Group(group) => {
                    group.description = names.description.clone().or(group.description.take());
                    &mut group.display_name
                }
                DirectoryObject::ServicePrincipal(service_principal) => &mut service_principal.display_name,
            };
            if let Some(new) = &names.display_name {
                display_name.clone_from(new);
            }
        })
        .await
    }

    /// Lets or no longer lets the object sign in. Disabling also ends its sessions.
    pub async fn set_enabled(&self, object_id: Uuid, enabled: bool) -> Result<(), IdentityError> {
        let action = if enabled { "principals/enable" } else { "principals/disable" };
        self.update(object_id, action, &[], |object, now| {
            let standing = object.standing_mut();
            standing.enabled = enabled;
            if !enabled {
                standing.tokens_valid_from = next_second(now);
            }
        })
        .await
    }

    /// Ends every session of the object: each token issued until now is refused from the next request on.
    pub async fn revoke_sessions(&self, object_id: Uuid) -> Result<(), IdentityError> {
        self.update(object_id, "principals/revokeSessions", &[], |object, now| {
            object.standing_mut().tokens_valid_from = next_second(now);
        })
        .await
    }

    /// Deletes a user, group or service principal with everything that hangs on it. Its object id never comes back.
    /// Managed identities go with their resource: see [`Directory::managed_identity_deletion`].
    pub async fn delete(&self, object_id: Uuid) -> Result<(), IdentityError> {
        let object = self.required(object_id).await?;
        let mut changes = self.deletion(object_id);
        if matches!(object, DirectoryObject::Group(_)) {
            let members = self.members(object_id).await?;
            changes.extend(members.into_iter().map(|member| group::membership_deletion(object_id, member)));
        }
        self.commit("principals/delete", object_id, Vec::new(), changes).await
    }

    /// Applies `change` to the object as it is stored now, again when somebody else was faster. `others` go with it, in the
    /// same write.
    async fn update(
        &self,
        object_id: Uuid,
        action: &'static str,
        others: &[Change],
        change: impl Fn(&mut DirectoryObject, Timestamp),
    ) -> Result<(), IdentityError> {
        let key = object_id.to_string();
        for _ in 0..UPDATE_ATTEMPTS {
            let record = self.record(PRINCIPAL, &key).await?.ok_or_else(|| absent("object", object_id))?;
            let mut object = DirectoryObject::read(&record)?;
            change(&mut object, self.clock.now());
            let expect = vec![Expectation::RecordRevision {
                kind: PRINCIPAL.into(),
                key: key.clone(),
                revision: record.revision,
            }];
            let changes = std::iter::once(object.put()).chain(others.iter().cloned()).collect();
            match self.commit(action, object_id, expect, changes).await {
                Err(IdentityError::Conflict) => {}
                other => return other,
            }
        }
        Err(IdentityError::Conflict)
    }

    /// One write, with its line for the auditor.
    async fn commit(
        &self,
        action: &str,
        object_id: Uuid,
        expect: Vec<Expectation>,
        changes: Vec<Change>,
    ) -> Result<(), IdentityError> {
        self.commit_about(action, object_id, None, expect, changes).await
    }

    /// As [`Directory::commit`], with what else the line names.
    async fn commit_about(
        &self,
        action: &str,
        object_id: Uuid,
        other: Option<(&str, Uuid)>,
        expect: Vec<Expectation>,
        mut changes: Vec<Change>,
    ) -> Result<(), IdentityError> {
        // Who is in which group and who may sign in decides about rights: a write that was authorised before this one
        // must not commit after it.
        changes.push(Change::RaiseAccessEpoch);
        let audit = vec![self.author.record(action, object_id, other)];
        let write = Write { expect, changes, audit, ..Write::new(self.clock.now()) };
        for _ in 0..WARRANT_ATTEMPTS {
            let mut write = write.clone();
            if let Some(warrant) = &self.warrant {
                let epoch = warrant.epoch().await.ok_or(IdentityError::Unwarranted)?;
                write.expect.insert(0, Expectation::AccessEpoch(epoch));
            }
            return match self.store.commit(write).await {
                Ok(_) => Ok(()),
                // Somebody's rights have changed since, perhaps the author's.
                Err(CommitError::Conflict(Expectation::AccessEpoch(_))) => continue,
                Err(CommitError::Conflict(Expectation::RecordAbsent { key, .. })) => Err(IdentityError::Taken(key)),
                Err(error) => Err(error.into()),
            };
        }
        Err(IdentityError::Conflict)
    }

    async fn record(&self, kind: &str, key: &str) -> Result<Option<Record>, IdentityError> {
        Ok(self.store.record(kind, key, self.clock.now()).await?)
    }

    async fn required(&self, object_id: Uuid) -> Result<DirectoryObject, IdentityError> {
        self.object(object_id).await?.ok_or_else(|| absent("object", object_id))
    }

    /// The object that a name record points to.
    async fn named(&self, kind: &str, key: &str) -> Result<Option<DirectoryObject>, IdentityError> {
        let Some(record) = self.record(kind, key).await? else { return Ok(None) };
        match record.owner.as_deref().and_then(|owner| Uuid::try_parse(owner).ok()) {
            Some(object_id) => self.object(object_id).await,
            None => Err(IdentityError::Damaged { kind: "name", key: key.to_owned() }),
        }
    }

    /// A page of the objects of one kind, by object id.
    async fn list(&self, kind: &str, after: Option<Uuid>, limit: u32) -> Result<Vec<DirectoryObject>, IdentityError> {
        let query = RecordQuery {
            kind: PRINCIPAL.into(),
            owner: Some(kind.into()),
            now: self.clock.now(),
            after: after.map(|id| id.to_string()),
            limit,
        };
        self.store.records(&query).await?.iter().map(DirectoryObject::read).collect()
    }

    /// What deletes an object, apart from the members of a group.
    fn deletion(&self, object_id: Uuid) -> Vec<Change> {
        let key = object_id.to_string();
        let mut changes = vec![
            Change::DeleteRecord { kind: PRINCIPAL.into(), key: key.clone() },
            Change::PutRecord {
                kind: TOMBSTONE.into(),
                key: key.clone(),
                owner: None,
                body: json!({}),
                expires: self.clock.now().checked_add(LIFETIME).ok(),
            },
            Change::RaiseAccessEpoch,
        ];
        let owned = [USER_NAME, SERVICE_PRINCIPAL_NAME, PASSWORD, CREDENTIAL, MEMBERSHIP, IDENTITY_ENDPOINT, SIGN_IN];
        changes.extend(owned.iter().map(|kind| Change::DeleteRecordsOf { kind: (*kind).into(), owner: key.clone() }));
        changes
    }
}

/// What an object is to be called; what is not given stays.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// The name that people are shown.
    pub display_name: Option<String>,
    /// What a group is for.
    pub description: Option<String>,
}

/// Anything in the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "objectType", rename_all = "camelCase")]
pub enum DirectoryObject {
    /// A person.
    User(User),
    /// A group.
    Group(Group),
    /// An application's or a resource's identity.
    ServicePrincipal(ServicePrincipal),
}

impl DirectoryObject {
    /// The immutable id.
    pub fn object_id(&self) -> Uuid {
        match self {
            Self::User(user) => user.object_id,
            Self::Group(group) => group.object_id,
            Self::ServicePrincipal(service_principal) => service_principal.object_id,
        }
    }

    /// What it is.
    pub fn kind(&self) -> PrincipalKind {
        match self {
            Self::User(_) => PrincipalKind::User,
            Self::Group(_) => PrincipalKind::Group,
            Self::ServicePrincipal(service_principal) => match service_principal.service_principal_type {
                ServicePrincipalType::Application => PrincipalKind::ServicePrincipal,
                ServicePrincipalType::ManagedIdentity => PrincipalKind::ManagedIdentity,
            },
        }
    }

    /// User principal name of a user, display name of anything else.
    pub fn name(&self) -> &str {
        match self {
            Self::User(user) => user.user_principal_name.as_str(),
            Self::Group(group) => &group.display_name,
            Self::ServicePrincipal(service_principal) => &service_principal.display_name,
        }
    }

    /// The user, if it is one.
    pub fn as_user(&self) -> Option<&User> {
        if let Self::User(user) = self { Some(user) } else { None }
    }

    /// The service principal (or managed identity), if it is one.
    pub fn as_service_principal(&self) -> Option<&ServicePrincipal> {
        if let Self::ServicePrincipal(service_principal) = self { Some(service_principal) } else { None }
    }

    /// Whether it may sign in, and from when on its tokens count.
    pub fn standing(&self) -> &Standing {
        match self {
            Self::User(user) => &user.standing,
            Self::Group(group) => &group.standing,
            Self::ServicePrincipal(service_principal) => &service_principal.standing,
        }
    }

    fn standing_mut(&mut self) -> &mut Standing {
        match self {
            Self::User(user) => &mut user.standing,
            Self::Group(group) => &mut group.standing,
            Self::ServicePrincipal(service_principal) => &mut service_principal.standing,
        }
    }

    fn read(record: &Record) -> Result<Self, IdentityError> {
        serde_json::from_value(record.body.clone())
            .map_err(|_| IdentityError::Damaged { kind: PRINCIPAL, key: record.key.clone() })
    }

    fn put(&self) -> Change {
        let partition = match self {
            Self::User(_) => USERS,
            Self::Group(_) => GROUPS,
            Self::ServicePrincipal(_) => SERVICE_PRINCIPALS,
        };
        put_record(PRINCIPAL, self.object_id().to_string(), Some(partition.into()), json!(self))
    }
}

/// Whether an object may sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Whether it may sign in at all.
    pub enabled: bool,
    /// When it was made.
    pub created: Timestamp,
    /// Tokens issued before this whole second are refused. Moves forward when sessions are revoked.
    pub tokens_valid_from: Timestamp,
}

impl Standing {
    fn new(now: Timestamp) -> Self {
        Self { enabled: true, created: now, tokens_valid_from: whole_second(now) }
    }

    /// The `iat` of a token issued now. Right after a revocation this lies up to a second ahead of the clock, so that
    /// the token is told apart from those the revocation was for.
    pub(crate) fn issue_time(&self, now: Timestamp) -> Timestamp {
        whole_second(now).max(self.tokens_valid_from)
    }

    /// Whether something that was issued then still counts.
    pub(crate) fn admits(&self, issued: Timestamp) -> bool {
        self.enabled && issued >= self.tokens_valid_from
    }
}

/// Expectations that an object id is not in use, nor was as lately as a token with it may say.
fn unused(object_id: Uuid) -> Vec<Expectation> {
    [PRINCIPAL, TOMBSTONE]
        .map(|kind| Expectation::RecordAbsent { kind: kind.into(), key: object_id.to_string() })
        .into()
}

fn put_record(kind: &str, key: String, owner: Option<String>, body: Value) -> Change {
    Change::PutRecord { kind: kind.into(), key, owner, body, expires: None }
}

fn absent(kind: &'static str, id: Uuid) -> IdentityError {
    IdentityError::Absent { kind, id }
}

fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn next_second(time: Timestamp) -> Timestamp {
    whole_second(time).checked_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX)
}

const PRINCIPAL: &str = "principal";
const TOMBSTONE: &str = "deleted-principal";
const USER_NAME: &str = "user-name";
const SERVICE_PRINCIPAL_NAME: &str = "service-principal-name";
const PASSWORD: &str = "password";
const CREDENTIAL: &str = "credential";
const MEMBERSHIP: &str = "group-membership";
const IDENTITY_ENDPOINT: &str = "identity-endpoint";
/// The sign-ins that refresh tokens belong to; see the refresh token grant.
pub(crate) const SIGN_IN: &str = "sign-in";

/// The owners that part principals by kind, so that each kind can be listed.
const USERS: &str = "users";
const GROUPS: &str = "groups";
const SERVICE_PRINCIPALS: &str = "service-principals";

const UPDATE_ATTEMPTS: usize = 8;

/// Every change of the directory, of a role or of an assignment may come in between; so many at once are not made by people.
const WARRANT_ATTEMPTS: usize = 100;
