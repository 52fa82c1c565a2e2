//! The first start: an installation, its first principals and subscription, and the file that tells about them.
//!
//! Each step looks at what is there before it does anything, and later steps depend only on what earlier ones stored.
//! So a start that was killed between any two of them is finished by the next one. Secrets are shown once, in the answer
//! that makes them; when they were lost on the way to the file, new ones are issued. Once the file was written, they are
//! replaced only on demand.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bastide_arm::clock::Clock;
use bastide_identity::{
    BootstrapIds, BootstrapNames, BootstrapSecrets, Bootstrapped, Identity, IdentityError, PasswordCost, Principal,
    Settings, TrustedIssuer, WELL_KNOWN_RESOURCE_MANAGER_AUDIENCES,
};
use bastide_server::origin::Origins;
use bastide_server::{Failure, Founding, graph};
use bastide_store::{Change, CommitError, Expectation, Store, StoreError, Write};
use bastide_vault::{SealError, Sealer};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::bootstrap::{Bootstrap, BootstrapError};

/// What is decided once and never changes: it is stored before anything that depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Installation {
    pub(crate) tenant_id: Uuid,
    /// The first subscription.
    pub(crate) subscription_id: Uuid,
}

/// An opened installation.
#[derive(Clone)]
pub(crate) struct Founded {
    pub(crate) installation: Installation,
    pub(crate) store: Store,
    pub(crate) sealer: Sealer,
    pub(crate) identity: Identity,
}

/// What founding needs to know.
pub(crate) struct Plan<'a> {
    pub(crate) sealing_key: &'a Path,
    /// What the first start writes, once there is an installation to tell of.
    pub(crate) bootstrap: &'a Path,
    pub(crate) origins: &'a Origins,
    pub(crate) allow_password_grant: bool,
    pub(crate) trusted_issuers: &'a [TrustedIssuer],
    pub(crate) password_cost: PasswordCost,
}

/// When the secrets of the first principals are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// When a start was killed before it could write them down.
    WhenLost,
    /// Now: the operator asks for it.
    Now,
}

/// Why an installation cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FoundingError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the first start was not recorded: {0}")]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the first subscription was not made: {0}")]
    Subscription(#[from] Failure),
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    #[error("the record of the first start is damaged ({0}): restore the database from a backup")]
    Damaged(serde_json::Error),
    #[error(
        "the database is empty, but {} tells of what was founded here: restore the database from a backup; to found \
         anew and give up what was there, move that file away first",
        .0.display()
    )]
    Lost(PathBuf),
    #[error("the bootstrap {0} was deleted before the first subscription was made: start with an empty data directory")]
    Vanished(&'static str),
}

impl Founded {
    /// Opens the installation in `store`, founding it when the store is new.
    pub(crate) async fn open(store: Store, plan: &Plan<'_>, clock: &Arc<dyn Clock>) -> Result<Self, FoundingError> {
        let found = Installation::read(&store, clock.as_ref()).await?;
        if found.is_none() && plan.bootstrap.exists() {
            // A log left beside the file would be played into the backup that is to take its place.
            store.close().await;
            return Err(FoundingError::Lost(plan.bootstrap.to_owned()));
        }
        // Only beside a new store may there be a new key: an old store's secrets open with the old key alone.
        let sealer = match found {
            Some(_) => Sealer::open(plan.sealing_key)?,
            None => Sealer::open_or_create(plan.sealing_key)?,
        };
        let installation = match found {
            Some(installation) => installation,
            None => Installation::create(&store, clock.as_ref()).await?,
        };
        let settings = settings(plan, installation.tenant_id);
        let identity = Identity::open(store.clone(), sealer.clone(), Arc::clone(clock), settings).await?;
        Ok(Self { installation, store, sealer, identity })
    }

    /// Makes sure of the first principals and the subscription they own, and that `file` tells how to use them at the
    /// canonical origin. A good file keeps its secrets; its addresses follow the configuration. A file that was there and
    /// is gone stays away, and so do its secrets from being replaced, unless `renewal` asks for it.
    pub(crate) async fn settle(
        &self,
        origins: &Origins,
        ca_file: PathBuf,
        file: &Path,
        renewal: Renewal,
        clock: &dyn Clock,
    ) -> Result<Option<Bootstrap>, FoundingError> {
        let names = BootstrapNames { admin: format!("admin@{}", origins.zone()), client: "bootstrap".to_owned() };
        let Bootstrapped { ids, secrets } = self.identity.bootstrap(&names).await?;
        self.subscribe(&ids, clock).await?;
        let endpoint = origins.public().to_string();
        let kept = Bootstrap::read(file)?.filter(|kept| {
            let is_ours = kept.tenant_id == self.installation.tenant_id && kept.client_id == ids.client_id;
            is_ours && secrets.is_none() && renewal == Renewal::WhenLost
        });
        let is_delivered = self.store.record(DELIVERED, KEY, clock.now()).await?.is_some();
        if kept.is_none() && is_delivered && renewal == Renewal::WhenLost {
            tracing::info!("bootstrap.json is not here: 'bastide up --renew-bootstrap' sets new secrets and writes it");
            return Ok(None);
        }
        let admin_user = match &kept {
            Some(kept) => kept.admin_user.clone(),
            None => self.principal(ids.admin_object_id).await?.map_or(names.admin, |admin| admin.name),
        };
        let (client_secret, admin_password) = if let Some(kept) = &kept {
            (kept.client_secret.clone(), kept.admin_password.clone())
        } else {
            let BootstrapSecrets { admin_password, client_secret } = self.secrets(secrets).await?;
            (client_secret.expose().to_owned(), admin_password.expose().to_owned())
        };
        let bootstrap = Bootstrap {
            portal_url: format!("{endpoint}/portal"),
            endpoint,
            ca_file,
            tenant_id: self.installation.tenant_id,
            subscription_id: self.installation.subscription_id,
            client_id: ids.client_id,
            client_secret,
            admin_user,
            admin_password,
        };
        if kept.as_ref() != Some(&bootstrap) {
            bootstrap.write(file)?;
        }
        if !is_delivered {
            self.note_delivery(clock).await?;
        }
        Ok(Some(bootstrap))
    }

    /// Remembers that the file was written: whoever deletes it later means it.
    async fn note_delivery(&self, clock: &dyn Clock) -> Result<(), FoundingError> {
        let mut write = Write::new(clock.now());
        write.changes.push(Change::PutRecord {
            kind: DELIVERED.into(),
            key: KEY.into(),
            owner: None,
            body: json!({}),
            expires: None,
        });
        self.store.commit(write).await?;
        Ok(())
    }

    /// The first subscription and its owners, unless it is there.
    async fn subscribe(&self, ids: &BootstrapIds, clock: &dyn Clock) -> Result<(), FoundingError> {
        let subscription_id = self.installation.subscription_id;
        if self.store.resource_exists(&format!("/subscriptions/{subscription_id}")).await? {
            return Ok(());
        }
        let client = self.principal(ids.client_object_id).await?.ok_or(FoundingError::Vanished("client"))?;
        let administrator = self.principal(ids.admin_object_id).await?.ok_or(FoundingError::Vanished("admin"))?;
        let founding = Founding { subscription_id, display_name: "Bastide".to_owned(), client, administrator };
        bastide_server::found(&self.store, &founding, clock.now()).await?;
        Ok(())
    }

    async fn principal(&self, object_id: Uuid) -> Result<Option<Principal>, FoundingError> {
        let directory = self.identity.directory();
        Ok(match directory.object(object_id).await? {
            Some(object) => Some(directory.principal(&object).await?),
            None => None,
        })
    }

    async fn secrets(&self, fresh: Option<BootstrapSecrets>) -> Result<BootstrapSecrets, FoundingError> {
        if let Some(secrets) = fresh {
            return Ok(secrets);
        }
        tracing::warn!("new secrets are issued for bootstrap.json");
        Ok(self.identity.renew_bootstrap_secrets().await?)
    }
}

impl Installation {
    async fn read(store: &Store, clock: &dyn Clock) -> Result<Option<Self>, FoundingError> {
        let record = store.record(KIND, KEY, clock.now()).await?;
        record.map(|record| serde_json::from_value(record.body).map_err(FoundingError::Damaged)).transpose()
    }

    async fn create(store: &Store, clock: &dyn Clock) -> Result<Self, FoundingError> {
        let installation = Self { tenant_id: Uuid::new_v4(), subscription_id: Uuid::new_v4() };
        let mut write = Write::new(clock.now());
        write.expect.push(Expectation::RecordAbsent { kind: KIND.into(), key: KEY.into() });
        write.changes.push(Change::PutRecord {
            kind: KIND.into(),
            key: KEY.into(),
            owner: None,
            body: json!(installation),
            expires: None,
        });
        write.audit.push(json!({ "caller": "Bastide", "action": "installation/create", "ids": installation }));
        match store.commit(write).await {
            Ok(_) => Ok(installation),
            // Another replica was first.
            Err(CommitError::Conflict(expectation)) => match Self::read(store, clock).await? {
                Some(installation) => Ok(installation),
                None => Err(CommitError::Conflict(expectation).into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}

fn settings(plan: &Plan<'_>, tenant_id: Uuid) -> Settings {
    let origins = plan.origins;
    let own = origins.all().map(ToString::to_string);
    let well_known = WELL_KNOWN_RESOURCE_MANAGER_AUDIENCES.map(str::to_owned);
    let audiences = own.chain(well_known).chain(graph::audiences(origins)).collect();
    Settings {
        allow_password: plan.allow_password_grant,
        trusted_issuers: plan.trusted_issuers.to_vec(),
        password_cost: plan.password_cost,
        // One issuer, whatever origin was asked.
        ..Settings::new(tenant_id, format!("{}/{tenant_id}/v2.0", origins.public()), audiences)
    }
}

const KIND: &str = "installation";
const KEY: &str = "self";
/// Whether the bootstrap file was written once.
const DELIVERED: &str = "bootstrap-delivered";

#[cfg(test)]
mod tests {
    use bastide_server::SystemClock;
    use bastide_server::origin::Origin;
    use bastide_store::Location;
    use tempfile::TempDir;

    use super::*;

    /// A data directory that is started on again and again, as far as each test says.
    struct Place {
        directory: TempDir,
        clock: Arc<dyn Clock>,
    }

    impl Place {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().unwrap(), clock: Arc::new(SystemClock) }
        }

        fn file(&self) -> PathBuf {
            self.directory.path().join("bootstrap.json")
        }

        fn sealing_key(&self) -> PathBuf {
            self.directory.path().join("sealing.key")
        }

        async fn open(&self) -> Result<Founded, FoundingError> {
            let store = Store::open(&Location::Sqlite(self.directory.path().join("bastide.db"))).await.unwrap();
            let plan = Plan {
                sealing_key: &self.sealing_key(),
                bootstrap: &self.file(),
                origins: &origins(8443),
                allow_password_grant: false,
                trusted_issuers: &[],
                password_cost: PasswordCost::for_tests(),
            };
            Founded::open(store, &plan, &self.clock).await
        }

        /// A whole start at this port.
        async fn start(&self, port: u16) -> Bootstrap {
            self.start_with(port, Renewal::WhenLost).await.expect("a bootstrap file")
        }

        async fn start_with(&self, port: u16, renewal: Renewal) -> Option<Bootstrap> {
            let founded = self.open().await.unwrap();
            let (origins, ca_file) = (origins(port), "/data/ca.pem".into());
            let settled = founded.settle(&origins, ca_file, &self.file(), renewal, self.clock.as_ref()).await.unwrap();
            if let Some(bootstrap) = &settled {
                founded.prove(bootstrap).await;
            }
            founded.store.close().await;
            settled
        }
    }

    impl Founded {
        /// What the file says is true: the client gets a token, the admin's password is right, the subscription is there.
        async fn prove(&self, bootstrap: &Bootstrap) {
            let form = format!(
                "grant_type=client_credentials&client_id={}&client_secret={}&scope=https://localhost:8443/.default",
                bootstrap.client_id, bootstrap.client_secret
            );
            let endpoint = bastide_identity::TokenEndpoint {
                flavour: bastide_identity::Flavour::Adfs,
                url: "https://localhost:8443/adfs/oauth2/v2.0/token".to_owned(),
            };
            let form = bastide_identity::TokenForm::parse(form.as_bytes());
            let answer = self.identity.token(&endpoint, &form).await;
            assert!(answer.is_ok(), "the client gets no token");
            let key = format!("/subscriptions/{}", bootstrap.subscription_id);
            assert!(self.store.resource_exists(&key).await.unwrap());
        }
    }

    fn origins(port: u16) -> Origins {
        Origins::new(Origin::parse(&format!("https://localhost:{port}")).unwrap(), Vec::new(), "bastide.localhost")
    }

    #[tokio::test]
    async fn a_second_start_changes_nothing() {
        let place = Place::new();
        let first = place.start(8443).await;
        assert!(place.start(8443).await == first);
    }

    #[tokio::test]
    async fn another_port_changes_the_addresses_and_keeps_the_secrets() {
        let place = Place::new();
        let first = place.start(8443).await;
        let second = place.start(9443).await;
        assert_eq!(second.endpoint, "https://localhost:9443");
        assert!(second.portal_url.starts_with("https://localhost:9443/"));
        assert!(
            second == Bootstrap { endpoint: second.endpoint.clone(), portal_url: second.portal_url.clone(), ..first }
        );
        assert!(Bootstrap::read(&place.file()).unwrap() == Some(second));
    }

    #[tokio::test]
    async fn a_start_killed_before_the_principals_is_finished() {
        let place = Place::new();
        let installation = place.open().await.unwrap().installation;
        assert_eq!(place.start(8443).await.tenant_id, installation.tenant_id);
    }

    #[tokio::test]
    async fn a_start_killed_before_the_installation_uses_its_key() {
        let place = Place::new();
        Sealer::open_or_create(&place.sealing_key()).unwrap();
        let key = std::fs::read(place.sealing_key()).unwrap();
        place.start(8443).await;
        assert_eq!(std::fs::read(place.sealing_key()).unwrap(), key);
    }

    #[tokio::test]
    async fn secrets_lost_before_the_subscription_and_the_file_are_issued_anew() {
        let place = Place::new();
        let founded = place.open().await.unwrap();
        let names = BootstrapNames { admin: "admin@bastide.localhost".to_owned(), client: "bootstrap".to_owned() };
        let lost = founded.identity.bootstrap(&names).await.unwrap();
        founded.store.close().await;
        let bootstrap = place.start(8443).await;
        assert_eq!(bootstrap.client_id, lost.ids.client_id);
        assert_ne!(bootstrap.client_secret, lost.secrets.unwrap().client_secret.expose());
    }

    #[tokio::test]
    async fn a_file_that_was_deleted_stays_away_and_its_secrets_stay_good() {
        let place = Place::new();
        let first = place.start(8443).await;
        std::fs::remove_file(place.file()).unwrap();
        assert!(place.start_with(8443, Renewal::WhenLost).await.is_none());
        assert!(!place.file().exists());
        place.open().await.unwrap().prove(&first).await;
    }

    #[tokio::test]
    async fn on_demand_the_same_client_and_admin_get_new_secrets() {
        let place = Place::new();
        let first = place.start(8443).await;
        std::fs::remove_file(place.file()).unwrap();
        let second = place.start_with(8443, Renewal::Now).await.unwrap();
        assert_eq!((second.client_id, second.subscription_id), (first.client_id, first.subscription_id));
        assert_ne!(second.client_secret, first.client_secret);
        assert_ne!(second.admin_password, first.admin_password);
        assert!(place.start(8443).await == second);
    }

    #[tokio::test]
    async fn the_file_of_another_installation_is_left_alone() {
        let (place, other) = (Place::new(), Place::new());
        place.start(8443).await;
        let foreign = other.start(8443).await;
        foreign.write(&place.file()).unwrap();
        assert!(place.start_with(8443, Renewal::WhenLost).await.is_none());
        assert!(Bootstrap::read(&place.file()).unwrap() == Some(foreign));
    }

    #[tokio::test]
    async fn beside_the_file_of_a_lost_database_nothing_is_founded() {
        let place = Place::new();
        let first = place.start(8443).await;
        let database = place.directory.path().join("bastide.db");
        let backup = std::fs::read(&database).unwrap();
        std::fs::write(&database, b"").unwrap();
        let refusal = place.open().await.err().unwrap().to_string();
        assert!(refusal.contains("restore the database from a backup"), "{refusal}");
        std::fs::write(&database, backup).unwrap();
        assert!(place.start(8443).await == first, "what the backup is opened with is still there");
    }

    #[tokio::test]
    async fn a_store_whose_key_is_gone_is_refused() {
        let place = Place::new();
        place.start(8443).await;
        std::fs::remove_file(place.sealing_key()).unwrap();
        let refusal = place.open().await.err().unwrap().to_string();
        assert!(refusal.contains("restore it from a backup"), "{refusal}");
        assert!(!place.sealing_key().exists(), "a new key would not open the old secrets");
    }
}
