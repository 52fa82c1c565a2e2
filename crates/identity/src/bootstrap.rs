//! The first user and the first application.

use bastide_store::{Change, CommitError, Expectation, Write};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::directory::{NewServicePrincipal, NewUser, UserPrincipalName};
use crate::error::IdentityError;
use crate::identity::Identity;
use crate::secret::Secret;

impl Identity {
    /// Makes the tenant's admin user and the bootstrap client, in one write, unless that happened before.
    pub async fn bootstrap(&self, names: &BootstrapNames) -> Result<Bootstrapped, IdentityError> {
        if let Some(ids) = self.bootstrap_ids().await? {
            return Ok(Bootstrapped { ids, secrets: None });
        }
        let directory = self.directory();
        let ids = BootstrapIds {
            admin_object_id: Uuid::new_v4(),
            client_object_id: Uuid::new_v4(),
            client_id: Uuid::new_v4(),
        };
        let admin_password = Secret::generate("")?;
        let admin = NewUser {
            user_principal_name: UserPrincipalName::parse(&names.admin)?,
            display_name: "Administrator".to_owned(),
            password: admin_password.clone(),
        };
        let client = NewServicePrincipal { display_name: names.client.clone(), ..NewServicePrincipal::default() };
        let secret = directory.secret("bootstrap", None)?;

        let (_, mut expect, mut changes) = directory.user_creation(ids.admin_object_id, admin).await?;
        let creation = directory.service_principal_creation(ids.client_object_id, ids.client_id, client);
        expect.extend(creation.1);
        changes.extend(creation.2);
        changes.push(secret.credential.put(ids.client_object_id));
        expect.push(Expectation::RecordAbsent { kind: KIND.into(), key: KEY.into() });
        changes.push(Change::PutRecord {
            kind: KIND.into(),
            key: KEY.into(),
            owner: None,
            body: json!(ids),
            expires: None,
        });
        let audit = vec![json!({"caller": "Bastide", "action": "identity/bootstrap", "ids": ids})];
        let write = Write { expect, changes, audit, ..Write::new(self.0.now()) };
        match self.0.store.commit(write).await {
            Ok(_) => {
                let secrets = BootstrapSecrets { admin_password, client_secret: secret.secret };
                Ok(Bootstrapped { ids, secrets: Some(secrets) })
            }
            // Another process was first.
            Err(CommitError::Conflict(_)) => {
                let ids = self.bootstrap_ids().await?.ok_or(IdentityError::Conflict)?;
                Ok(Bootstrapped { ids, secrets: None })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// New secrets for the admin user and the bootstrap client, for when the first ones were lost before anybody read
    /// them (a crash between the first write and the bootstrap file). The client's other secrets stay.
    pub async fn renew_bootstrap_secrets(&self) -> Result<BootstrapSecrets, IdentityError> {
        let ids = self.bootstrap_ids().await?.ok_or(IdentityError::Absent { kind: "bootstrap", id: Uuid::nil() })?;
        let admin_password = Secret::generate("")?;
        self.directory().set_password(ids.admin_object_id, admin_password.clone()).await?;
        let client_secret = self.directory().add_secret(ids.client_object_id, "bootstrap", None).await?.secret;
        Ok(BootstrapSecrets { admin_password, client_secret })
    }

    async fn bootstrap_ids(&self) -> Result<Option<BootstrapIds>, IdentityError> {
        let Some(record) = self.0.store.record(KIND, KEY, self.0.now()).await? else { return Ok(None) };
        let damaged = |_| IdentityError::Damaged { kind: KIND, key: KEY.into() };
        serde_json::from_value(record.body).map(Some).map_err(damaged)
    }
}

/// What the first principals are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootstrapNames {
    /// The admin's user principal name.
    pub admin: String,
    /// The client's display name.
    pub client: String,
}

/// The first principals.
#[derive(Debug, Clone)]
pub struct Bootstrapped {
    /// Who they are.
    pub ids: BootstrapIds,
    /// Their secrets; only in the answer that made them.
    pub secrets: Option<BootstrapSecrets>,
}

/// The ids of the first principals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootstrapIds {
    /// The admin user's object id.
    pub admin_object_id: Uuid,
    /// The client's object id.
    pub client_object_id: Uuid,
    /// The client's application id.
    pub client_id: Uuid,
}

/// The secrets of the first principals. `Debug` shows none.
#[derive(Debug, Clone)]
pub struct BootstrapSecrets {
    /// The admin user's password.
    pub admin_password: Secret,
    /// The client's secret.
    pub client_secret: Secret,
}

const KIND: &str = "bootstrap";
const KEY: &str = "tenant";
