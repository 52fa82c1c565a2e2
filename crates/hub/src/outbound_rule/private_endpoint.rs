//! Destinations by private endpoint: one sub resource of one resource (mission.md G4, G5, K1).

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::Parity;
use serde_json::{Map, Value, json};

use super::fqdn::Fqdn;
use crate::external_service;
use crate::field::{self, any_of, refused};

/// The destination of a private endpoint rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateEndpointDestination {
    /// The resource it leads to.
    pub target: ResourceId,
    /// Which service of it: `blob`, `vault`.
    pub subresource: String,
    /// Whether Spark would get it too; stored, there is no Spark.
    pub spark_enabled: bool,
    /// Names under which it is reached, beside the usual ones.
    pub names: Vec<Fqdn>,
}

impl PrivateEndpointDestination {
    /// Reads a rule's `destination` and `fqdns`; `at` is the place of the rule's properties in the body.
    pub fn read(rule: &Map<String, Value>, at: &str, parity: Parity) -> Result<Self, ArmError> {
        let place = format!("{at}.destination");
        let needs = "A PrivateEndpoint rule needs destination.serviceResourceId and destination.subresourceTarget.";
        let fields = field::object(rule, "destination", at)?.ok_or_else(|| refused(&place, needs))?;
        let given = field::text(fields, "serviceResourceId", &place)?.ok_or_else(|| refused(&place, needs))?;
        let target = ResourceId::parse(given).ok().filter(ResourceId::is_resource).ok_or_else(|| {
            let message = format!("'{given}' is not the id of a resource. Give the full id of the target resource.");
            refused(&format!("{place}.serviceResourceId"), message)
        })?;
        let asked = field::text(fields, "subresourceTarget", &place)?.ok_or_else(|| refused(&place, needs))?;
        let subresource = subresource(&target, asked, &place, parity)?;
        let spark_enabled = field::flag(fields, "sparkEnabled", &place)?.unwrap_or(false);
        let mut names = Vec::new();
        for name in field::texts(rule, "fqdns", at)? {
            names.push(Fqdn::parse(&name).map_err(|message| refused(&format!("{at}.fqdns"), message))?);
        }
        Ok(Self { target, subresource, spark_enabled, names })
    }

    /// The resource that is asked to let the endpoint in: the target itself, or what it is a part of (mission.md K12).
    pub fn resource(&self) -> ResourceId {
        resource(&self.target)
    }

    /// Whether it leads to a service that an administrator declared.
    pub fn is_external(&self) -> bool {
        is_external(&self.target)
    }

    /// As stored and answered.
    pub fn to_value(&self) -> Value {
        json!({
            "serviceResourceId": self.target.to_string(),
            "subresourceTarget": self.subresource,
            "sparkEnabled": self.spark_enabled,
        })
    }
}

/// The sub resources of a type that private endpoints lead to, the usual one first.
pub(crate) fn subresources_of(type_name: &str) -> Option<&'static [&'static str]> {
    TARGETS.iter().find(|(name, _)| name.eq_ignore_ascii_case(type_name)).map(|(_, words)| *words)
}

/// The nearest resource, upwards from a target, to which private endpoints lead.
fn resource(target: &ResourceId) -> ResourceId {
    let above = std::iter::successors(Some(target.clone()), |id| id.parent().filter(ResourceId::is_resource));
    let mut known = above.filter(|id| subresources_of(&id.type_name()).is_some());
    known.next().unwrap_or_else(|| target.clone())
}

/// Whether a target is a service that an administrator declared.
fn is_external(target: &ResourceId) -> bool {
    target.type_name().eq_ignore_ascii_case(external_service::TYPE_NAME)
}

fn subresource(target: &ResourceId, asked: &str, place: &str, parity: Parity) -> Result<String, ArmError> {
    let type_name = resource(target).type_name();
    if parity == Parity::Native && is_external(target) {
        if asked.eq_ignore_ascii_case(external_service::SUBRESOURCE) {
            return Ok(external_service::SUBRESOURCE.to_owned());
        }
        let message = format!("'{asked}' is not a sub resource of {}. Use tcp.", external_service::TYPE_NAME);
        return Err(refused(&format!("{place}.subresourceTarget"), message));
    }
    let known = TARGETS.iter().find(|(name, _)| name.eq_ignore_ascii_case(&type_name));
    match known {
        Some((name, words)) => {
            let word = words.iter().find(|word| word.eq_ignore_ascii_case(asked)).ok_or_else(|| {
                let message = format!("'{asked}' is not a sub resource of {name}. Use {}.", any_of(words));
                refused(&format!("{place}.subresourceTarget"), message)
            })?;
            Ok((*word).to_owned())
        }
        // The cloud's list is short; a private endpoint of Bastide leads anywhere (K2).
        None if parity == Parity::Native => Ok(asked.to_owned()),
        None => {
            let message =
                format!("A private endpoint cannot lead to '{type_name}'. Use a resource of a supported type.");
            Err(refused(&format!("{place}.serviceResourceId"), message))
        }
    }
}

const STORAGE: &[&str] = &[
    "blob",
    "blob_secondary",
    "table",
    "table_secondary",
    "queue",
    "queue_secondary",
    "file",
    "web",
    "web_secondary",
    "dfs",
    "dfs_secondary",
];

/// What private endpoints lead to, and the sub resources of each (mission.md K1).
const TARGETS: &[(&str, &[&str])] = &[
    ("Microsoft.MachineLearningServices/workspaces", &["amlworkspace"]),
    ("Microsoft.MachineLearningServices/registries", &["amlregistry"]),
    ("Microsoft.Search/searchServices", &["searchService"]),
    ("Microsoft.CognitiveServices/accounts", &["account"]),
    ("Microsoft.ApiManagement/service", &["Gateway"]),
    ("Microsoft.ContainerRegistry/registries", &["registry"]),
    (
        "Microsoft.DocumentDB/databaseAccounts",
        &["Sql", "MongoDB", "Cassandra", "Gremlin", "Table", "Analytical", "SqlDedicated"],
    ),
    ("Microsoft.DataFactory/factories", &["dataFactory", "portal"]),
    ("Microsoft.DBforMariaDB/servers", &["mariadbServer"]),
    ("Microsoft.DBforMySQL/servers", &["mysqlServer"]),
    ("Microsoft.DBforMySQL/flexibleServers", &["mysqlServer"]),
    ("Microsoft.DBforPostgreSQL/servers", &["postgresqlServer"]),
    ("Microsoft.DBforPostgreSQL/flexibleServers", &["postgresqlServer"]),
    ("Microsoft.Databricks/workspaces", &["databricks_ui_api", "browser_authentication"]),
    ("Microsoft.EventHub/namespaces", &["namespace"]),
    ("Microsoft.KeyVault/vaults", &["vault"]),
    ("Microsoft.Cache/redis", &["redisCache"]),
    ("Microsoft.Sql/servers", &["sqlServer"]),
    ("Microsoft.Storage/storageAccounts", STORAGE),
    ("Microsoft.Insights/privateLinkScopes", &["azuremonitor"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-0000000000b2/resourceGroups/rg/providers";

    fn read(kind: &str, sub: &str, parity: Parity) -> Result<PrivateEndpointDestination, ArmError> {
        let rule =
            json!({"destination": {"serviceResourceId": format!("{GROUP}/{kind}/one"), "subresourceTarget": sub}});
        PrivateEndpointDestination::read(rule.as_object().unwrap(), "properties", parity)
    }

    #[test]
    fn sub_resources_are_checked_against_their_type() {
        let found = read("microsoft.storage/storageaccounts", "BLOB", Parity::Native).unwrap();
        assert_eq!(found.subresource, "blob");
        let refused = read("Microsoft.KeyVault/vaults", "blob", Parity::Native).unwrap_err();
        assert_eq!(refused.target.as_deref(), Some("properties.destination.subresourceTarget"));
        assert!(refused.message.contains("Use vault."), "{}", refused.message);
    }

    #[test]
    fn a_part_of_a_resource_stands_for_the_resource() {
        let part = read("Microsoft.Storage/storageAccounts/lake/blobServices", "blob", Parity::Strict).unwrap();
        assert_eq!(part.resource().to_string(), format!("{GROUP}/Microsoft.Storage/storageAccounts/lake"));
        assert!(part.to_value()["serviceResourceId"].as_str().unwrap().ends_with("/blobServices/one"), "as written");
    }

    #[test]
    fn other_types_are_targets_unless_parity_is_strict() {
        assert_eq!(read("Contoso.Data/lakes", "sql", Parity::Native).unwrap().subresource, "sql");
        assert!(read("Contoso.Data/lakes", "sql", Parity::Strict).is_err());
    }

    #[test]
    fn what_is_missing_is_named() {
        let cases = [
            (json!({}), "properties.destination"),
            (json!({"destination": "x"}), "properties.destination"),
            (json!({"destination": {"subresourceTarget": "blob"}}), "properties.destination"),
            (
                json!({"destination": {"serviceResourceId": "x", "subresourceTarget": "blob"}}),
                "properties.destination.serviceResourceId",
            ),
        ];
        for (body, target) in cases {
            let refused = PrivateEndpointDestination::read(body.as_object().unwrap(), "properties", Parity::Native);
            assert_eq!(refused.unwrap_err().target.as_deref(), Some(target), "{body}");
        }
    }
}
