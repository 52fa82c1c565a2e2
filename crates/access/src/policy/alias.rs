//! Aliases: the names under which policies know the properties of a type. The names are Azure's; the paths follow from
//! them, `properties.` and the rest, but for the few that stand elsewhere.

use super::PolicyError;
use super::field::{Found, Step};

/// A property of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alias {
    /// The type in canonical spelling.
    pub(super) type_name: &'static str,
    /// The name after the type, in canonical spelling.
    pub(super) tail: &'static str,
    /// The way from the resource to the property.
    pub(super) steps: Vec<Step>,
}

/// Every alias: the type, the name after it, and whether effect `modify` can change it.
pub fn aliases() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    let of_type = |(type_name, tails): &(&'static str, &'static [&'static str])| {
        let type_name = *type_name;
        tails.iter().map(move |tail| {
            let (tail, modifiable) = tail.strip_prefix('~').map_or((*tail, false), |tail| (tail, true));
            (type_name, tail, modifiable)
        })
    };
    ALIASES.iter().flat_map(of_type)
}

impl Alias {
    /// The alias of that name in any case, or the list whose elements are one. One that does not exist is refused: a
    /// condition on it would never hold, and nobody would notice.
    pub(super) fn read(text: &str, place: &str) -> Result<Self, PolicyError> {
        let found = aliases().find_map(|(type_name, tail, _)| {
            let rest = text.get(type_name.len()..)?.strip_prefix('/')?;
            text.get(..type_name.len()).filter(|head| head.eq_ignore_ascii_case(type_name))?;
            let names = [Some(tail), tail.strip_suffix("[*]")];
            let tail = names.into_iter().flatten().find(|name| name.eq_ignore_ascii_case(rest))?;
            Some((type_name, tail))
        });
        let Some((type_name, tail)) = found else {
            return Err(PolicyError::new("InvalidPolicyAlias", place, unknown(text)));
        };
        Ok(Self { type_name, tail, steps: steps(type_name, tail) })
    }

    /// Whether effect `modify` can change it.
    pub(super) fn is_modifiable(&self) -> bool {
        aliases().any(|(type_name, tail, modifiable)| modifiable && (type_name, tail) == (self.type_name, self.tail))
    }

    /// What a resource of another type has.
    pub(super) fn nothing(&self) -> Found {
        if self.steps.contains(&Step::Each) { Found::Many(Vec::new()) } else { Found::Missing }
    }

    /// The whole name.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.type_name, self.tail)
    }
}

fn steps(type_name: &str, tail: &str) -> Vec<Step> {
    let member = |name: &str| Step::Member(name.to_owned());
    // A compute's own settings are one level below its envelope.
    let is_nested = type_name.ends_with("/computes") && !COMPUTE_ENVELOPE.contains(&tail);
    let mut steps = match tail.split('.').next() {
        Some("sku") if !SKU_IN_PROPERTIES.contains(&type_name) => Vec::new(),
        _ if is_nested => vec![member("properties"), member("properties")],
        _ => vec![member("properties")],
    };
    for part in tail.split('.') {
        match part.strip_suffix("[*]") {
            Some(name) => steps.extend([member(name), Step::Each]),
            None => steps.push(member(part)),
        }
    }
    steps
}

fn unknown(text: &str) -> String {
    let of_type = |(type_name, _, _): &(&str, &str, bool)| {
        let type_name = type_name.len();
        text.get(type_name..).is_some_and(|rest| rest.starts_with('/'))
    };
    let near: Vec<&str> = aliases()
        .filter(of_type)
        .filter(|(type_name, _, _)| {
            text.get(..type_name.len()).is_some_and(|head| head.eq_ignore_ascii_case(type_name))
        })
        .map(|(_, tail, _)| tail)
        .take(40)
        .collect();
    if near.is_empty() {
        return format!(
            "The 'field' property '{text}' of the policy rule doesn't exist as an alias, and no type of that name has \
             aliases here. Fields are id, name, fullName, type, kind, location, identity.type, tags, tags['name'] and \
             the aliases of types."
        );
    }
    format!(
        "The 'field' property '{text}' of the policy rule doesn't exist as an alias. Its type has: {}.",
        near.join(", ")
    )
}

/// Types whose SKU is one of their properties.
const SKU_IN_PROPERTIES: [&str; 2] = ["Microsoft.KeyVault/vaults", "Microsoft.OperationalInsights/workspaces"];

/// What a compute has beside its own settings.
const COMPUTE_ENVELOPE: [&str; 6] =
    ["computeType", "computeLocation", "description", "disableLocalAuth", "provisioningState", "resourceId"];

/// The aliases by type; `~` marks those that effect `modify` can change.
#[rustfmt::skip]
const ALIASES: &[(&str, &[&str])] = &[
    ("Microsoft.MachineLearningServices/workspaces", &[
        "~publicNetworkAccess", "~allowPublicAccessWhenBehindVnet", "allowRoleAssignmentOnRG", "applicationInsights",
        "associatedWorkspaces[*]", "containerRegistry", "description", "enableDataIsolation", "encryption",
        "encryption.identity", "encryption.identity.userAssignedIdentity", "encryption.keyVaultProperties",
        "encryption.keyVaultProperties.identityClientId", "encryption.keyVaultProperties.keyIdentifier",
        "encryption.keyVaultProperties.keyVaultArmId", "encryption.status", "friendlyName", "hbiWorkspace",
        "hubResourceId", "imageBuildCompute", "ipAllowlist[*]", "keyVault", "managedNetwork",
        "managedNetwork.firewallSku", "managedNetwork.isolationMode", "managedNetwork.status.sparkReady",
        "managedNetwork.status.status", "primaryUserAssignedIdentity", "privateEndpointConnections[*]",
        "privateEndpointConnections[*].privateEndpoint.id",
        "privateEndpointConnections[*].privateLinkServiceConnectionState.status",
        "provisionNetworkNow", "provisioningState", "sharedPrivateLinkResources[*]", "sku.name", "sku.tier",
        "storageAccount", "systemDatastoresAuthMode", "v1LegacyMode", "workspaceHubConfig.defaultWorkspaceResourceGroup",
    ]),
    ("Microsoft.MachineLearningServices/workspaces/computes", &[
        "applicationSharingPolicy", "computeInstanceAuthorizationType", "computeLocation", "computeType", "description",
        "~disableLocalAuth", "enableNodePublicIp", "enableOSPatching", "enableRootAccess", "enableSSO", "idleTimeBeforeShutdown",
        "isolatedNetwork", "osImageMetadata.isLatestOsImageVersion", "personalComputeInstanceSettings.assignedUser.objectId",
        "provisioningState", "remoteLoginPortPublicAccess", "resourceId", "scaleSettings.maxNodeCount",
        "scaleSettings.minNodeCount", "sku.name", "sshSettings.sshPublicAccess", "subnet.id", "vmPriority", "vmSize",
    ]),
    ("Microsoft.MachineLearningServices/workspaces/connections", &[
        "authType", "category", "expiryTime", "group", "isSharedToAll", "peRequirement", "sharedUserList[*]", "target",
        "useWorkspaceManagedIdentity",
    ]),
    ("Microsoft.MachineLearningServices/workspaces/outboundRules", &[
        "category", "destination", "destination.action", "destination.addressPrefixes[*]", "destination.portRanges",
        "destination.protocol", "destination.serviceResourceId", "destination.serviceTag", "destination.sparkEnabled",
        "destination.subresourceTarget", "status", "type",
    ]),
    ("Microsoft.CognitiveServices/accounts", &[
        "allowedFqdnList[*]", "apiProperties", "customSubDomainName", "disableLocalAuth", "encryption",
        "encryption.keySource", "encryption.keyVaultProperties.keyName", "encryption.keyVaultProperties.keyVaultUri",
        "networkAcls.bypass", "networkAcls.defaultAction", "networkAcls.ipRules[*]", "networkAcls.ipRules[*].value",
        "networkAcls.virtualNetworkRules[*]", "networkAcls.virtualNetworkRules[*].id", "privateEndpointConnections[*]",
        "privateEndpointConnections[*].privateLinkServiceConnectionState.status", "~publicNetworkAccess",
        "restrictOutboundNetworkAccess", "sku.name", "userOwnedStorage[*]",
    ]),
    ("Microsoft.CognitiveServices/accounts/managedNetworks/outboundRules", &[
        "category", "destination", "destination.portRanges", "destination.protocol", "destination.serviceResourceId",
        "destination.serviceTag", "destination.subresourceTarget", "status", "type",
    ]),
    ("Microsoft.CognitiveServices/accounts/managedNetworks", &[
        "managedNetwork.firewallSku", "managedNetwork.isolationMode",
    ]),
    ("Microsoft.ContainerRegistry/registries", &[
        "~adminUserEnabled", "~anonymousPullEnabled", "dataEndpointEnabled", "encryption.status",
        "networkRuleBypassOptions", "networkRuleSet.defaultAction", "networkRuleSet.ipRules[*]",
        "policies.azureADAuthenticationAsArmPolicy.status", "policies.exportPolicy.status",
        "privateEndpointConnections[*]", "privateEndpointConnections[*].privateLinkServiceConnectionState.status",
        "~publicNetworkAccess", "sku.name", "zoneRedundancy",
    ]),
    ("Microsoft.Insights/components", &[
        "Application_Type", "DisableIpMasking", "DisableLocalAuth", "Flow_Type", "ForceCustomerStorageForProfiler",
        "IngestionMode", "publicNetworkAccessForIngestion", "publicNetworkAccessForQuery", "RetentionInDays",
        "WorkspaceResourceId",
    ]),
    ("Microsoft.KeyVault/vaults", &[
        "accessPolicies[*]", "accessPolicies[*].objectId", "createMode", "enablePurgeProtection",
        "~enableRbacAuthorization", "enabledForDeployment", "enabledForDiskEncryption", "enabledForTemplateDeployment",
        "enableSoftDelete", "networkAcls.bypass", "~networkAcls.defaultAction", "networkAcls.ipRules[*]",
        "networkAcls.ipRules[*].value", "networkAcls.virtualNetworkRules[*]", "networkAcls.virtualNetworkRules[*].id",
        "privateEndpointConnections[*]", "privateEndpointConnections[*].privateLinkServiceConnectionState.status",
        "~publicNetworkAccess", "sku.family", "sku.name", "softDeleteRetentionInDays", "tenantId",
    ]),
    ("Microsoft.ManagedIdentity/userAssignedIdentities", &["clientId", "principalId", "tenantId"]),
    ("Microsoft.Network/virtualNetworks", &[
        "addressSpace.addressPrefixes[*]", "ddosProtectionPlan", "enableDdosProtection", "subnets[*]",
        "subnets[*].addressPrefix", "subnets[*].name", "subnets[*].networkSecurityGroup.id",
    ]),
    ("Microsoft.Network/virtualNetworks/subnets", &[
        "addressPrefix", "defaultOutboundAccess", "delegations[*].serviceName", "networkSecurityGroup.id",
        "privateEndpointNetworkPolicies", "routeTable.id", "serviceEndpoints[*].service",
    ]),
    ("Microsoft.Network/privateEndpoints", &[
        "manualPrivateLinkServiceConnections[*]", "manualPrivateLinkServiceConnections[*].groupIds[*]",
        "manualPrivateLinkServiceConnections[*].privateLinkServiceId", "privateLinkServiceConnections[*]",
        "privateLinkServiceConnections[*].groupIds[*]", "privateLinkServiceConnections[*].privateLinkServiceId",
        "subnet.id",
    ]),
    ("Microsoft.OperationalInsights/workspaces", &[
        "features.disableLocalAuth", "forceCmkForQuery", "publicNetworkAccessForIngestion",
        "publicNetworkAccessForQuery", "retentionInDays", "sku.name",
    ]),
    ("Microsoft.Search/searchServices", &[
        "~disableLocalAuth", "encryptionWithCmk.enforcement", "hostingMode", "networkRuleSet.ipRules[*]",
        "networkRuleSet.ipRules[*].value", "partitionCount", "privateEndpointConnections[*]",
        "privateEndpointConnections[*].privateLinkServiceConnectionState.status", "~publicNetworkAccess", "replicaCount",
        "sku.name",
    ]),
    ("Microsoft.Storage/storageAccounts", &[
        "accessTier", "~allowBlobPublicAccess", "~allowCrossTenantReplication", "~allowSharedKeyAccess",
        "defaultToOAuthAuthentication", "encryption.keySource", "encryption.requireInfrastructureEncryption",
        "isHnsEnabled", "isLocalUserEnabled", "isNfsV3Enabled", "isSftpEnabled", "keyPolicy.keyExpirationPeriodInDays",
        "~minimumTlsVersion", "networkAcls.bypass", "~networkAcls.defaultAction", "networkAcls.ipRules[*]",
        "networkAcls.ipRules[*].value", "networkAcls.resourceAccessRules[*]", "networkAcls.virtualNetworkRules[*]",
        "networkAcls.virtualNetworkRules[*].id", "~publicNetworkAccess", "sasPolicy.expirationAction",
        "sasPolicy.sasExpirationPeriod", "sku.name", "~supportsHttpsTrafficOnly",
    ]),
    ("Microsoft.Authorization/roleAssignments", &[
        "condition", "description", "principalId", "principalType", "roleDefinitionId", "scope",
    ]),
    ("Microsoft.Authorization/roleDefinitions", &[
        "assignableScopes[*]", "permissions[*].actions[*]", "permissions[*].notActions[*]", "roleName", "type",
    ]),
    ("Microsoft.Authorization/locks", &["level", "notes"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_that_does_not_exist_is_refused_with_those_that_do() {
        let refused =
            Alias::read("Microsoft.MachineLearningServices/workspaces/publicNetworkAcess", "if.field").unwrap_err();
        assert_eq!(refused.code, "InvalidPolicyAlias");
        assert!(refused.message.contains("publicNetworkAccess"), "{}", refused.message);
        let refused = Alias::read("Microsoft.Compute/virtualMachines/sku.name", "if.field").unwrap_err();
        assert!(refused.message.contains("no type of that name"), "{}", refused.message);
    }

    #[test]
    fn names_are_found_at_their_paths() {
        let path = |text: &str| {
            let alias = Alias::read(text, "").unwrap();
            let steps = alias.steps.iter().map(|step| match step {
                Step::Member(name) => name.as_str(),
                Step::Each => "*",
            });
            steps.collect::<Vec<_>>().join(".")
        };
        let workspaces = "microsoft.machinelearningservices/workspaces";
        assert_eq!(path(&format!("{workspaces}/sku.name")), "sku.name");
        assert_eq!(path(&format!("{workspaces}/computes/vmSize")), "properties.properties.vmSize");
        assert_eq!(path(&format!("{workspaces}/computes/computeType")), "properties.computeType");
        assert_eq!(path(&format!("{workspaces}/outboundRules/destination")), "properties.destination");
        let ids = "Microsoft.Network/privateEndpoints/privateLinkServiceConnections[*].groupIds[*]";
        assert_eq!(path(ids), "properties.privateLinkServiceConnections.*.groupIds.*");
    }

    #[test]
    fn no_alias_is_listed_twice() {
        let mut names: Vec<String> =
            aliases().map(|(type_name, tail, _)| format!("{type_name}/{tail}").to_lowercase()).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
