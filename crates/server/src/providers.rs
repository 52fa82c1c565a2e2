//! The resource types of this server: one small file each, listed here.

use std::sync::Arc;

use bastide_arm::resource_type::{Document, Principal, ResourceType};
use bastide_hub::network_dependency::private_link_resources;
use bastide_hub::private_endpoint_connection;

mod absent;
mod blob_service;
mod cognitive_services_account;
mod cognitive_services_deployment;
mod cognitive_services_listing;
mod cognitive_services_project;
mod container_registry;
pub(crate) mod deleted;
mod federated_identity_credential;
pub(crate) mod generic_resource;
mod insights_component;
mod key_vault;
mod log_analytics_workspace;
mod network;
mod private_dns_zone;
pub(crate) mod resource_group;
pub(crate) mod search_query_key;
mod search_service;
mod storage_account;
mod stored;
mod stored_type;
pub(crate) mod user_assigned_identity;
pub(crate) mod vault_access_policy;
mod virtual_network;

pub(crate) use insights_component::BILLING_FEATURES;

/// Every built-in type.
pub fn all() -> Vec<Arc<dyn ResourceType>> {
    let mut types: Vec<Arc<dyn ResourceType>> = vec![
        Arc::new(resource_group::ResourceGroup),
        Arc::new(crate::deployment::DeploymentType),
        Arc::new(user_assigned_identity::UserAssignedIdentity),
        Arc::new(federated_identity_credential::FederatedIdentityCredential),
        Arc::new(bastide_hub::workspace::Workspace),
        Arc::new(deleted::WORKSPACES),
        Arc::new(deleted::VAULTS),
        Arc::new(deleted::ACCOUNTS),
        Arc::new(bastide_hub::outbound_rule::OutboundRule::of_workspaces()),
        Arc::new(bastide_hub::outbound_rule::OutboundRule::of_accounts()),
        Arc::new(bastide_hub::account_network::AccountNetwork),
        Arc::new(bastide_hub::connection::Connection::of_workspaces()),
        Arc::new(bastide_hub::connection::Connection::of_accounts()),
        Arc::new(bastide_hub::connection::Connection::of_account_projects()),
        Arc::new(bastide_hub::compute::Compute::on(crate::capacity::of_host())),
        Arc::new(bastide_hub::model_endpoint::ModelEndpoint),
        Arc::new(bastide_hub::online_endpoint::OnlineEndpoint::managed()),
        Arc::new(bastide_hub::online_endpoint::OnlineEndpoint::deployment()),
        Arc::new(bastide_hub::online_endpoint::OnlineEndpoint::serverless()),
        Arc::new(bastide_hub::network_dependency::NETWORK_DEPENDENCIES),
        Arc::new(bastide_hub::external_service::ExternalService),
        Arc::new(virtual_network::VirtualNetwork),
        Arc::new(virtual_network::Subnet),
        Arc::new(private_dns_zone::PrivateDnsZone),
        Arc::new(private_dns_zone::StartOfAuthority),
        Arc::new(storage_account::StorageAccount),
        Arc::new(blob_service::BlobService),
        Arc::new(blob_service::BlobContainer),
        Arc::new(key_vault::KeyVault),
        Arc::new(vault_access_policy::VaultAccessPolicy),
        Arc::new(absent::DELETED_MANAGED_HSMS),
        Arc::new(insights_component::InsightsComponent),
        Arc::new(log_analytics_workspace::LogAnalyticsWorkspace),
        Arc::new(absent::DELETED_LOG_WORKSPACES),
        Arc::new(container_registry::ContainerRegistry),
        Arc::new(search_service::SearchService),
        Arc::new(cognitive_services_account::CognitiveServicesAccount),
        Arc::new(cognitive_services_deployment::CognitiveServicesDeployment),
        Arc::new(cognitive_services_project::CognitiveServicesProject),
        Arc::new(cognitive_services_listing::SKUS),
        Arc::new(cognitive_services_listing::USAGES),
        Arc::new(cognitive_services_listing::MODELS),
    ];
    types.extend(private_link_resources().into_iter().map(|links| Arc::new(links) as Arc<dyn ResourceType>));
    types.extend(private_endpoint_connection::all().map(|kind| Arc::new(kind) as Arc<dyn ResourceType>));
    types.extend(stored_type::all().map(|stored| Arc::new(stored) as Arc<dyn ResourceType>));
    types.extend(network::all().map(|network| Arc::new(network) as Arc<dyn ResourceType>));
    types
}

/// The ids of a user-assigned identity as stored.
pub fn identity_principal(document: &Document) -> Option<Principal> {
    user_assigned_identity::principal(document)
}

/// The rules for types nobody implements, under `--generic-resources`.
pub fn generic() -> Arc<dyn ResourceType> {
    Arc::new(generic_resource::GenericResource)
}
