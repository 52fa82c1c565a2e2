//! Applications, and the shape they share with managed identities.

use bastide_store::{Change, Expectation};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{
    Directory, DirectoryObject, PRINCIPAL, SERVICE_PRINCIPAL_NAME, SERVICE_PRINCIPALS, Standing, UPDATE_ATTEMPTS,
    absent, put_record, unused,
};
use crate::error::IdentityError;

impl Directory {
    /// Makes a service principal with a new application id, and without a credential.
    pub async fn create_service_principal(&self, new: NewServicePrincipal) -> Result<ServicePrincipal, IdentityError> {
        let object_id = Uuid::new_v4();
        let (service_principal, expect, changes) = self.service_principal_creation(object_id, Uuid::new_v4(), new);
        self.commit("servicePrincipals/create", object_id, expect, changes).await?;
        Ok(service_principal)
    }

    /// The parts of a write that makes a service principal.
    pub(crate) fn service_principal_creation(
        &self,
        object_id: Uuid,
        app_id: Uuid,
        new: NewServicePrincipal,
    ) -> (ServicePrincipal, Vec<Expectation>, Vec<Change>) {
        let service_principal = ServicePrincipal {
            object_id,
            app_id,
            display_name: new.display_name,
            service_principal_type: ServicePrincipalType::Application,
            service_principal_names: std::iter::once(app_id.to_string()).chain(new.identifier_uris).collect(),
            redirect_uris: new.redirect_uris,
            resource_id: None,
            standing: Standing::new(self.clock.now()),
        };
        let mut expect = unused(object_id);
        expect.extend(
            service_principal
                .name_keys()
                .map(|key| Expectation::RecordAbsent { kind: SERVICE_PRINCIPAL_NAME.into(), key }),
        );
        let changes = service_principal.puts();
        (service_principal, expect, changes)
    }

    /// Gives an application other URIs. An identifier URI must be free, whatever its case.
    pub async fn set_uris(&self, object_id: Uuid, uris: ApplicationUris) -> Result<(), IdentityError> {
        for _ in 0..UPDATE_ATTEMPTS {
            let key = object_id.to_string();
            let record = self.record(PRINCIPAL, &key).await?.ok_or_else(|| absent("application", object_id))?;
            let DirectoryObject::ServicePrincipal(stored) = DirectoryObject::read(&record)? else {
                return Err(absent("application", object_id));
            };
            let mut new = stored.clone();
            if let Some(uris) = &uris.identifier {
                let own = std::iter::once(stored.app_id.to_string());
                new.service_principal_names = own.chain(uris.iter().cloned()).collect();
            }
            if let Some(uris) = &uris.redirect {
                new.redirect_uris.clone_from(uris);
            }
            let (before, after): (Vec<String>, Vec<String>) = (stored.name_keys().collect(), new.name_keys().collect());
            let unheard_of = after.iter().filter(|name| !before.contains(name)).cloned();
            let absent = |key| Expectation::RecordAbsent { kind: SERVICE_PRINCIPAL_NAME.into(), key };
            let mut expect: Vec<Expectation> = unheard_of.map(absent).collect();
            expect.push(Expectation::RecordRevision { kind: PRINCIPAL.into(), key, revision: record.revision });
            let given_up = before.into_iter().filter(|name| !after.contains(name));
            let deletion = |key| Change::DeleteRecord { kind: SERVICE_PRINCIPAL_NAME.into(), key };
            let changes = new.puts().into_iter().chain(given_up.map(deletion)).collect();
            match self.commit("servicePrincipals/setUris", object_id, expect, changes).await {
                Err(IdentityError::Conflict) => {}
                other => return other,
            }
        }
        Err(IdentityError::Conflict)
    }

    /// The service principal or managed identity with this application id.
    pub async fn service_principal_by_app_id(&self, app_id: Uuid) -> Result<Option<ServicePrincipal>, IdentityError> {
        self.service_principal_by_name(&app_id.to_string()).await
    }

    /// The service principal with this among its `servicePrincipalNames`: its application id, an identifier URI, or
    /// the resource id of a managed identity; in any case.
    pub async fn service_principal_by_name(&self, name: &str) -> Result<Option<ServicePrincipal>, IdentityError> {
        if name.contains('\0') {
            // Not every store can be asked for it.
            return Ok(None);
        }
        let object = self.named(SERVICE_PRINCIPAL_NAME, &name.to_ascii_lowercase()).await?;
        Ok(object.and_then(|object| object.as_service_principal().cloned()))
    }

    /// A page of service principals and managed identities, by object id.
    pub async fn service_principals(
        &self,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<ServicePrincipal>, IdentityError> {
        let objects = self.list(SERVICE_PRINCIPALS, after, limit).await?;
        Ok(objects.into_iter().filter_map(|object| object.as_service_principal().cloned()).collect())
    }
}

/// An application's identity in the tenant, or the identity of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePrincipal {
    /// The immutable id that role assignments name.
    pub object_id: Uuid,
    /// The client id.
    pub app_id: Uuid,
    /// The name to show.
    pub display_name: String,
    /// Application or managed identity.
    pub service_principal_type: ServicePrincipalType,
    /// The client id and other unique names.
    pub service_principal_names: Vec<String>,
    /// Where the browser may be sent back to, compared exactly.
    pub redirect_uris: Vec<String>,
    /// The resource a managed identity belongs to, as it spells its id.
    pub resource_id: Option<String>,
    /// Whether it works.
    #[serde(flatten)]
    pub standing: Standing,
}

impl ServicePrincipal {
    /// The records that make it and its names.
    pub(super) fn puts(&self) -> Vec<Change> {
        let owner = self.object_id.to_string();
        let names = self.name_keys().map(|key| put_record(SERVICE_PRINCIPAL_NAME, key, Some(owner.clone()), json!({})));
        std::iter::once(DirectoryObject::ServicePrincipal(self.clone()).put()).chain(names).collect()
    }

    fn name_keys(&self) -> impl Iterator<Item = String> {
        self.service_principal_names.iter().map(|name| name.to_ascii_lowercase())
    }
}

/// The kinds of service principals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServicePrincipalType {
    /// An application with credentials of its own.
    Application,
    /// The identity of a resource, which never has a credential that could leak.
    ManagedIdentity,
}

/// The URIs an application is to have instead of its own; what is not given stays.
#[derive(Debug, Clone, Default)]
pub struct ApplicationUris {
    /// Unique names beside the client id.
    pub identifier: Option<Vec<String>>,
    /// Where the browser may be sent back to.
    pub redirect: Option<Vec<String>>,
}

/// A service principal that does not exist yet.
#[derive(Debug, Clone, Default)]
pub struct NewServicePrincipal {
    /// The name to show.
    pub display_name: String,
    /// Unique names beside the client id.
    pub identifier_uris: Vec<String>,
    /// Where the browser may be sent back to.
    pub redirect_uris: Vec<String>,
}
