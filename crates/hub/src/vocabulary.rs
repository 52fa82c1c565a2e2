//! The names of properties that hubs, projects and what stands in them know, in the wire's spelling.

use std::sync::LazyLock;

use bastide_arm::vocabulary::Vocabulary;

/// The names that bodies of this crate's types may hold.
pub static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| Vocabulary::new(NAMES, OPEN));

/// Objects whose members the user names.
const OPEN: &[&str] = &["environmentVariables", "keys", "metadata", "outboundRules"];

#[rustfmt::skip]
const NAMES: &[&str] = &[
    // Workspaces and their networks.
    "additionalWorkspaceStorageAccounts", "allowPublicAccessWhenBehindVnet", "allowRecoverSoftDeletedWorkspace",
    "allowRoleAssignmentOnRG", "applicationInsights", "bypass", "computeRuntime", "containerRegistries",
    "containerRegistry", "cosmosDbArmId", "cosmosDbResourceId", "defaultAction", "defaultWorkspaceResourceGroup",
    "description", "discoveryUrl", "enableDataIsolation", "enableNetworkMonitor", "enableServiceSideCMKEncryption",
    "enableSimplifiedCmk", "enableSoftwareBillOfMaterials", "encryption", "existingWorkspaces", "featureStoreSettings",
    "firewallSku", "friendlyName", "hbiWorkspace", "hubResourceId", "identity", "identityClientId", "imageBuildCompute",
    "ipAllowlist", "ipRules", "isolationMode", "keyIdentifier", "keyVault", "keyVaultArmId", "keyVaultProperties",
    "keyVaults", "managedNetwork", "managedNetworkKind", "networkAcls", "primaryUserAssignedIdentity",
    "provisionNetworkNow", "publicNetworkAccess", "searchAccountArmId", "searchAccountResourceId",
    "serverlessComputeCustomSubnet", "serverlessComputeNoPublicIP", "serverlessComputeSettings",
    "serviceManagedResourcesSettings", "sharedPrivateLinkResources", "softDeleteEnabled", "softDeleteRetentionInDays",
    "sparkReady", "status", "storageAccount", "storageAccountArmId", "storageAccountResourceId", "storageAccounts",
    "systemDatastoresAuthMode", "userAssignedIdentity", "v1LegacyMode", "value", "virtualNetworkRules",
    "workspaceHubConfig",
    // Rules.
    "action", "addressPrefixes", "category", "destination", "fqdns", "portRanges", "protocol", "serviceResourceId",
    "serviceTag", "sparkEnabled", "sparkStatus", "subresourceTarget", "type",
    // Connections.
    "accessKeyId", "authType", "authUrl", "clientId", "clientSecret", "credentials", "developerToken", "error",
    "expiryTime", "isSharedToAll", "key", "password", "pat", "peRequirement", "refreshToken", "resourceId", "sas",
    "secretAccessKey", "securityToken", "sharedUserList", "target", "tenantId", "useWorkspaceManagedIdentity",
    "username",
    // Computes.
    "adminPublicKey", "adminUserName", "adminUserPassword", "adminUserSshPublicKey", "applicationSharingPolicy",
    "assignedUser", "computeInstanceAuthorizationType", "computeLocation", "computeStartStop", "computeType",
    "creationScript", "cron", "customServices", "dataMounts", "disableLocalAuth", "docker", "enableNodePublicIp",
    "enableOSPatching", "enableRootAccess", "enableSSO", "endpoints", "expression", "frequency", "hours", "id",
    "idleTimeBeforeShutdown", "image", "interval", "isolatedNetwork", "maxNodeCount", "minNodeCount", "minutes",
    "monthDays", "name", "nodeIdleTimeBeforeScaleDown", "objectId", "osType", "personalComputeInstanceSettings",
    "privileged", "properties", "published", "readOnly", "recurrence", "reference", "releaseQuotaOnStop",
    "remoteLoginPortPublicAccess", "scaleSettings", "schedule", "schedules", "scriptArguments", "scriptData",
    "scriptSource", "scripts", "setupScripts", "source", "sshPublicAccess", "sshSettings", "startTime", "startupScript",
    "subnet", "timeZone", "timeout", "triggerType", "userAccountCredentials", "virtualMachineImage", "vmPriority",
    "vmSize", "volumes", "weekDays",
    // What is Bastide's own.
    "allowHostTarget", "bastide",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_has_one_spelling() {
        let lower: BTreeSet<String> = NAMES.iter().chain(OPEN).map(|name| name.to_ascii_lowercase()).collect();
        assert_eq!(lower.len(), NAMES.len() + OPEN.len());
    }
}
