//! Where a deployment runs: what its expressions may know, in a form that is stored with the run so that a plan made again
//! after a crash is the same plan.

use bastide_access::builtin_roles;
use bastide_arm::id::ResourceId;
use bastide_identity::Principal;
use bastide_template::{Context, Deployment, Endpoints, Mode, ResourceGroup, Subscription, environment};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::asked::Asked;
use crate::front::Front;
use crate::ledger::Entry;
use crate::origin::Origin;

/// The facts a deployment is planned with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Setting {
    subscription: Option<Named>,
    group: Option<Group>,
    name: String,
    location: Option<String>,
    complete: bool,
    template_uri: Option<String>,
    deployer: Value,
    now: Timestamp,
    seed: Uuid,
    /// The origin the request came to; URLs in bodies are built with it.
    pub(super) origin: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Named {
    id: String,
    name: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Group {
    name: String,
    location: Option<String>,
    tags: Value,
    manager: Option<String>,
}

/// What stands around a deployment.
#[derive(Debug, Default)]
pub(super) struct Ground {
    /// Its subscription.
    pub(super) subscription: Option<Entry>,
    /// Its resource group.
    pub(super) group: Option<Entry>,
}

impl Setting {
    /// The facts for a deployment that is asked for now.
    pub(super) fn new(id: &ResourceId, asked: &Asked, ground: &Ground, deployer: &Principal, facts: Facts<'_>) -> Self {
        Self {
            subscription: ground.subscription.as_ref().map(|entry| Named {
                id: entry.id.subscription_id().unwrap_or_default().to_owned(),
                name: entry
                    .document
                    .properties
                    .get("displayName")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
            }),
            group: ground.group.as_ref().map(|entry| Group {
                name: entry.id.name().to_owned(),
                location: entry.document.location.clone(),
                tags: json!(entry.document.tags),
                manager: entry.document.managed_by.clone(),
            }),
            name: id.name().to_owned(),
            location: asked.location.clone(),
            complete: asked.mode == Mode::Complete,
            template_uri: asked.template_uri().map(str::to_owned),
            deployer: json!({
                "objectId": deployer.object_id,
                "tenantId": deployer.tenant_id,
                "userPrincipalName": deployer.name,
            }),
            now: facts.now,
            seed: Uuid::new_v4(),
            origin: facts.origin.as_str().to_owned(),
        }
    }
}

/// When and where a deployment was asked for.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) now: Timestamp,
    pub(super) origin: &'a Origin,
}

impl Front {
    /// The template engine's form of the facts.
    pub(super) fn template_context(&self, setting: &Setting) -> Context {
        Context {
            tenant_id: self.tenant_id.to_string(),
            subscription: setting
                .subscription
                .as_ref()
                .map(|named| Subscription { id: named.id.clone(), display_name: named.name.clone() }),
            group: setting.group.as_ref().map(|group| ResourceGroup {
                name: group.name.clone(),
                location: group.location.clone(),
                tags: group.tags.clone(),
                managed_by: group.manager.clone(),
            }),
            management_group: None,
            deployment: Deployment {
                name: setting.name.clone(),
                location: setting.location.clone(),
                mode: if setting.complete { Mode::Complete } else { Mode::Incremental },
                template_uri: setting.template_uri.clone(),
            },
            deployer: setting.deployer.clone(),
            environment: self.environment(&setting.origin),
            providers: self.provider_facts(),
            roles: builtin_roles().iter().map(|role| (role.role_name.to_lowercase(), role.id.to_string())).collect(),
            now: setting.now,
            seed: setting.seed,
        }
    }

    /// The suffixes are without the port that `az` is told of: templates make names of DNS zones of them,
    /// `privatelink${environment().suffixes.keyvaultDns}`, and read whole addresses from the resources.
    fn environment(&self, origin: &str) -> Value {
        let zone = self.origins.zone();
        environment(&Endpoints {
            portal: format!("{origin}/portal"),
            resource_manager: format!("{origin}/"),
            login: format!("{origin}/"),
            audience: origin.to_owned(),
            graph: format!("{origin}/graph/"),
            storage: zone.to_owned(),
            vault: format!(".vault.{zone}"),
            registry: format!(".azurecr.{zone}"),
        })
    }

    fn provider_facts(&self) -> Map<String, Value> {
        let fact = |namespace: &'static str| {
            let types: Vec<Value> = self
                .registry
                .types_of(namespace)
                .map(|descriptor| {
                    json!({
                        "resourceType": descriptor.types.join("/"),
                        "apiVersions": descriptor.api_versions,
                        "locations": [],
                    })
                })
                .collect();
            (namespace.to_ascii_lowercase(), json!({"namespace": namespace, "resourceTypes": types}))
        };
        self.registry.namespaces().map(fact).collect()
    }
}
