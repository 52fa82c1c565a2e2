//! What a deployment knows about where it runs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::id::Scope;

/// The surroundings of a deployment: the answers of `subscription()`, `resourceGroup()`, `deployment()` and their kin.
///
/// Planning with an equal context gives an equal plan, so a runner that stores it can plan again after a crash.
#[derive(Debug, Clone)]
pub struct Context {
    /// The tenant's id.
    pub tenant_id: String,
    /// The subscription deployed to, if any.
    pub subscription: Option<Subscription>,
    /// The resource group deployed to, if any.
    pub group: Option<ResourceGroup>,
    /// The management group deployed to, if any.
    pub management_group: Option<String>,
    /// The deployment itself.
    pub deployment: Deployment,
    /// The answer of `deployer()`: `objectId`, `tenantId`, `userPrincipalName`.
    pub deployer: Value,
    /// The answer of `environment()`; see [`environment`].
    pub environment: Value,
    /// The answer of `providers(namespace)`, by lower-cased namespace: `{namespace, resourceTypes: [...]}`.
    pub providers: Map<String, Value>,
    /// The built-in roles, their ids (UUIDs) by lower-cased name: for `roleDefinitions(name)`.
    pub roles: BTreeMap<String, String>,
    /// The instant `utcNow()` answers.
    pub now: Timestamp,
    /// What the values of `newGuid()` are derived from: random, and stored with the deployment.
    pub seed: Uuid,
}

/// A subscription as `subscription()` answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The subscription's id, a UUID.
    pub id: String,
    /// Its name for people.
    pub display_name: String,
}

/// A resource group as `resourceGroup()` answers it.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceGroup {
    /// The group's name in its canonical spelling.
    pub name: String,
    /// Its location. Unknown for groups that only a nested deployment names: those are looked up.
    pub location: Option<String>,
    /// Its tags, an object.
    pub tags: Value,
    /// The resource that manages it, if any.
    pub managed_by: Option<String>,
}

/// A deployment as `deployment()` answers it.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// The deployment's name.
    pub name: String,
    /// Where its record is kept; only deployments above resource groups have one.
    pub location: Option<String>,
    /// `Incremental` or `Complete`.
    pub mode: Mode,
    /// Where the template came from, when it was linked.
    pub template_uri: Option<String>,
}

/// What happens to resources of the group that the template does not declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They stay.
    Incremental,
    /// They are deleted.
    Complete,
}

impl Mode {
    /// Reads a mode in any case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Incremental, Self::Complete].into_iter().find(|mode| mode.as_str().eq_ignore_ascii_case(text))
    }

    /// The mode as it goes over the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incremental => "Incremental",
            Self::Complete => "Complete",
        }
    }
}

impl Context {
    /// The scope that resources without a scope of their own are deployed to.
    pub fn scope(&self) -> Scope {
        match (&self.subscription, &self.group, &self.management_group) {
            (Some(subscription), Some(group), _) => {
                Scope::Group { subscription: subscription.id.clone(), group: group.name.clone() }
            }
            (Some(subscription), None, _) => Scope::Subscription(subscription.id.clone()),
            (None, _, Some(name)) => Scope::ManagementGroup(name.clone()),
            (None, _, None) => Scope::Tenant,
        }
    }

    /// The context of a deployment nested in this one that goes to `scope`.
    pub(crate) fn nested(&self, scope: &Scope, deployment: Deployment) -> Self {
        let subscription = scope.subscription().map(|id| match &self.subscription {
            Some(own) if own.id.eq_ignore_ascii_case(id) => own.clone(),
            _ => Subscription { id: id.to_owned(), display_name: id.to_owned() },
        });
        let group = match scope {
            Scope::Group { group, .. } => Some(match &self.group {
                Some(own) if self.scope().id().eq_ignore_ascii_case(&scope.id()) => own.clone(),
                _ => ResourceGroup { name: group.clone(), location: None, tags: json!({}), managed_by: None },
            }),
            _ => None,
        };
        let management_group = match scope {
            Scope::ManagementGroup(name) => Some(name.clone()),
            _ => None,
        };
        let seed = Uuid::new_v5(&self.seed, format!("{}/{}", scope.id(), deployment.name).to_lowercase().as_bytes());
        Self { subscription, group, management_group, deployment, seed, ..self.clone() }
    }

    /// The id of the deployment.
    pub fn deployment_id(&self) -> String {
        format!("{}/providers/Microsoft.Resources/deployments/{}", self.scope().id(), self.deployment.name)
    }
}

/// Host names that `environment()` tells templates about; each includes what the service's names end in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The portal's address.
    pub portal: String,
    /// The address of the resource manager, with a trailing slash.
    pub resource_manager: String,
    /// The address of the token service, with a trailing slash.
    pub login: String,
    /// The audience of tokens for the resource manager.
    pub audience: String,
    /// The directory's address.
    pub graph: String,
    /// What storage host names end in, without a leading dot: `core.windows.net`.
    pub storage: String,
    /// What vault host names end in, with a leading dot: `.vault.azure.net`.
    pub vault: String,
    /// What registry host names end in, with a leading dot: `.azurecr.io`.
    pub registry: String,
}

/// The answer of `environment()`.
///
/// The name is always `AzureCloud`: public templates index maps by it that hold nothing else that would fit.
pub fn environment(endpoints: &Endpoints) -> Value {
    json!({
        "name": "AzureCloud",
        "gallery": endpoints.portal,
        "graph": endpoints.graph,
        "portal": endpoints.portal,
        "graphAudience": endpoints.graph,
        "activeDirectoryDataLake": "https://datalake.azure.net/",
        "batch": "https://batch.core.windows.net/",
        "media": "https://rest.media.azure.net",
        "sqlManagement": "https://management.core.windows.net:8443/",
        "vmImageAliasDoc": "https://raw.githubusercontent.com/Azure/azure-rest-api-specs/master/arm-compute/quickstart-templates/aliases.json",
        "resourceManager": endpoints.resource_manager,
        "authentication": {
            "loginEndpoint": endpoints.login,
            "audiences": [endpoints.audience, endpoints.resource_manager],
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "suffixes": {
            "acrLoginServer": endpoints.registry,
            "azureDatalakeAnalyticsCatalogAndJob": "azuredatalakeanalytics.net",
            "azureDatalakeStoreFileSystem": "azuredatalakestore.net",
            "azureFrontDoorEndpointSuffix": "azurefd.net",
            "keyvaultDns": endpoints.vault,
            "sqlServerHostname": ".database.windows.net",
            "storage": endpoints.storage,
        },
    })
}
