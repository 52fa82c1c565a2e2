//! The names of service tags that the cloud fixes, and which of them are told by region.

use bastide_arm::location::Location;

/// Whether a text can be the name of a tag: words of letters and digits, with dots between them.
pub fn is_tag(tag: &str) -> bool {
    tag.len() <= 128
        && tag.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Why a tag is none of those the cloud has; a sentence. A pack of one's own may have it all the same.
pub fn doubt(tag: &str) -> Option<String> {
    let is_fixed = |name: &str| FIXED.iter().any(|(fixed, _)| fixed.eq_ignore_ascii_case(name));
    if is_fixed(tag) {
        return None;
    }
    if let Some((name, region)) = tag.rsplit_once('.')
        && is_fixed(name)
    {
        let is_regional = FIXED.iter().any(|(fixed, regional)| *regional && fixed.eq_ignore_ascii_case(name));
        let is_region = Location::known().any(|(known, _)| known.as_str().eq_ignore_ascii_case(region));
        return match (is_regional, is_region) {
            (true, true) => None,
            (true, false) => Some(format!("'{region}' is not a region; write '{name}.WestEurope', for instance.")),
            (false, _) => Some(format!("'{name}' is not told by region; use it alone.")),
        };
    }
    let near = nearest(tag).map(|name| format!(" Is '{name}' meant?")).unwrap_or_default();
    Some(format!("'{tag}' is none of the cloud's tags.{near}"))
}

/// The fixed name that a slip may have come from.
fn nearest(tag: &str) -> Option<&'static str> {
    let near = FIXED.iter().map(|(name, _)| (distance(&tag.to_ascii_lowercase(), &name.to_ascii_lowercase()), *name));
    near.min().filter(|(distance, name)| *distance <= name.len().div_ceil(5)).map(|(_, name)| name)
}

/// How many letters must be put in, left out or exchanged to make one text of another.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.bytes().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (above, with) in row.iter().skip(1).zip(other.bytes()) {
            left = (diagonal + usize::from(letter != with)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// The cloud's tags, and whether they may be followed by a region.
const FIXED: &[(&str, bool)] = &[
    ("ActionGroup", false),
    ("ApiManagement", true),
    ("AppConfiguration", false),
    ("ApplicationInsightsAvailability", false),
    ("AppService", true),
    ("AppServiceManagement", false),
    ("AutonomousDevelopmentPlatform", false),
    ("AzureActiveDirectory", false),
    ("AzureActiveDirectoryDomainServices", false),
    ("AzureAdvancedThreatProtection", false),
    ("AzureArcInfrastructure", true),
    ("AzureAttestation", false),
    ("AzureBackup", true),
    ("AzureBotService", false),
    ("AzureCloud", true),
    ("AzureCognitiveSearch", true),
    ("AzureConnectors", true),
    ("AzureContainerAppsService", false),
    ("AzureContainerRegistry", true),
    ("AzureCosmosDB", true),
    ("AzureDatabricks", false),
    ("AzureDataExplorerManagement", false),
    ("AzureDeviceUpdate", false),
    ("AzureDevOps", true),
    ("AzureDigitalTwins", false),
    ("AzureEventGrid", false),
    ("AzureFrontDoor.Backend", false),
    ("AzureFrontDoor.FirstParty", false),
    ("AzureFrontDoor.Frontend", false),
    ("AzureFrontDoor.MicrosoftSecurity", false),
    ("AzureHealthcareAPIs", false),
    ("AzureInformationProtection", false),
    ("AzureIoTHub", true),
    ("AzureKeyVault", true),
    ("AzureLoadBalancer", false),
    ("AzureMachineLearning", true),
    ("AzureMachineLearningInference", false),
    ("AzureManagedGrafana", false),
    ("AzureMonitor", true),
    ("AzureMonitorForSAP", false),
    ("AzureOpenDatasets", false),
    ("AzurePlatformDNS", false),
    ("AzurePlatformIMDS", false),
    ("AzurePlatformLKM", false),
    ("AzureResourceManager", true),
    ("AzureSentinel", false),
    ("AzureSignalR", false),
    ("AzureSiteRecovery", false),
    ("AzureSphere", false),
    ("AzureSpringCloud", false),
    ("AzureStack", false),
    ("AzureTrafficManager", false),
    ("AzureUpdateDelivery", false),
    ("AzureWebPubSub", false),
    ("BatchNodeManagement", true),
    ("ChaosStudio", false),
    ("CognitiveServicesFrontend", false),
    ("CognitiveServicesManagement", false),
    ("DataFactory", true),
    ("DataFactoryManagement", false),
    ("Dynamics365BusinessCentral", false),
    ("Dynamics365ForMarketingEmail", true),
    ("EventHub", true),
    ("GatewayManager", false),
    ("GuestAndHybridManagement", false),
    ("HDInsight", true),
    ("Internet", false),
    ("LogicApps", true),
    ("LogicAppsManagement", false),
    ("M365ManagementActivityApi", false),
    ("M365ManagementActivityApiWebhook", false),
    ("MicrosoftAzureFluidRelay", false),
    ("MicrosoftCloudAppSecurity", false),
    ("MicrosoftContainerRegistry", true),
    ("MicrosoftDefenderForEndpoint", false),
    ("MicrosoftPurviewPolicyDistribution", false),
    ("OneDsCollector", false),
    ("PowerBI", true),
    ("PowerPlatformInfra", true),
    ("PowerPlatformPlex", true),
    ("PowerQueryOnline", true),
    ("Scuba", false),
    ("SerialConsole", true),
    ("ServiceBus", true),
    ("ServiceFabric", true),
    ("Sql", true),
    ("SqlManagement", true),
    ("Storage", true),
    ("StorageMover", false),
    ("StorageSyncService", true),
    ("TrustedHardwareIdentityManagement", false),
    ("VideoIndexer", false),
    ("VirtualDesktop", false),
    ("VirtualNetwork", false),
    ("WindowsAdminCenter", false),
    ("WindowsVirtualDesktop", false),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clouds_own_names_are_known_also_by_region() {
        for tag in
            ["AzureMonitor", "azuremonitor", "Storage.WestEurope", "storage.westus2", "AzureFrontDoor.FirstParty"]
        {
            assert_eq!(doubt(tag), None, "{tag}");
        }
    }

    #[test]
    fn a_doubt_says_what_is_meant() {
        let cases = [
            ("AzureMonitr", "Is 'AzureMonitor' meant?"),
            ("AzureActiveDirectory.WestEurope", "not told by region"),
            ("Storage.Atlantis", "not a region"),
            ("OurOffice", "none of the cloud's tags."),
        ];
        for (tag, expected) in cases {
            assert!(doubt(tag).unwrap().contains(expected), "{tag}: {:?}", doubt(tag));
        }
    }
}
