//! A rule understood: its category and destination, and in which mode it may stand.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::Parity;
use serde_json::{Map, Value, json};

use super::extension::{self, Extension};
use super::fqdn::Fqdn;
use super::private_endpoint::PrivateEndpointDestination;
use super::service_tag::ServiceTagDestination;
use crate::field::{self, refused};
use crate::isolation_mode::IsolationMode;
use crate::preset;

/// An outbound rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whose it is.
    pub category: Category,
    /// What it lets through, or stops.
    pub destination: Destination,
    /// What it says beyond the cloud's rules.
    pub extension: Extension,
}

/// Whose a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// The hub cannot do without it; nobody can remove it.
    Required,
    /// From a preset; whoever may change rules can change and remove it.
    Recommended,
    /// Made by somebody.
    UserDefined,
    /// Made because another rule or a connection needs it.
    Dependency,
}

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A host name or all below one, on ports 80 and 443.
    Fqdn(Fqdn),
    /// A service tag or address prefixes.
    ServiceTag(ServiceTagDestination),
    /// A private endpoint.
    PrivateEndpoint(PrivateEndpointDestination),
}

/// What a rule has to fit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    /// The mode of the hub's network.
    pub mode: IsolationMode,
    /// The DNS suffix of Bastide's own services.
    pub zone: &'a str,
    /// Whether to refuse what the cloud refuses.
    pub parity: Parity,
}

impl Rule {
    /// Reads a rule's properties; `at` is their place in the body. What the client says about status is the server's to
    /// know, and is passed over.
    pub fn read(properties: &Map<String, Value>, at: &str, parity: Parity) -> Result<Self, ArmError> {
        let type_name = field::choice(properties, "type", at, &TYPES)?.ok_or_else(|| {
            refused(&format!("{at}.type"), "A rule needs a type. Use FQDN, ServiceTag or PrivateEndpoint.")
        })?;
        let category = field::choice(properties, "category", at, &CATEGORIES.map(Category::as_str))?;
        let category = CATEGORIES.into_iter().find(|known| Some(known.as_str()) == category);
        let place = format!("{at}.destination");
        let destination = match type_name {
            FQDN => {
                let name = field::text(properties, "destination", at)?.ok_or_else(|| {
                    refused(&place, "An FQDN rule needs a destination, a host name such as pypi.org.")
                })?;
                Destination::Fqdn(Fqdn::parse(name).map_err(|message| refused(&place, message))?)
            }
            SERVICE_TAG => {
                let fields = field::object(properties, "destination", at)?.ok_or_else(|| {
                    refused(&place, "A ServiceTag rule needs a destination with serviceTag, protocol and portRanges.")
                })?;
                Destination::ServiceTag(ServiceTagDestination::read(fields, &place, parity)?)
            }
            _ => Destination::PrivateEndpoint(PrivateEndpointDestination::read(properties, at, parity)?),
        };
        let extension = Extension::read(properties, at, parity)?.unwrap_or_default();
        if !extension.ports.is_empty() && type_name != FQDN {
            let message =
                "Only an FQDN rule has its ports there. Use portRanges in the destination of a ServiceTag rule.";
            return Err(refused(&format!("{at}.{}.ports", extension::NAME), message));
        }
        Ok(Self { category: category.unwrap_or(Category::UserDefined), destination, extension })
    }

    /// Whether a rule of somebody's own may stand under these terms; the refusal names the rule and the mode.
    pub(crate) fn check(&self, name: &str, at: &str, terms: Terms<'_>) -> Result<(), ArmError> {
        let mode = terms.mode.as_str();
        let type_name = self.destination.type_name();
        match (terms.mode, &self.destination) {
            (IsolationMode::Disabled, _) => {
                let message = format!(
                    "Rule '{name}' needs an isolated network, but the isolation mode of the hub is {mode}. Set \
                     managedNetwork.isolationMode to AllowOnlyApprovedOutbound first."
                );
                Err(refused(at, message))
            }
            (IsolationMode::AllowInternetOutbound, Destination::Fqdn(_) | Destination::ServiceTag(_)) => {
                let message = format!(
                    "Rule '{name}' of type {type_name} cannot stand in isolation mode {mode}, which opens the internet \
                     and takes PrivateEndpoint rules only. Leave the rule out, or set isolationMode to \
                     AllowOnlyApprovedOutbound."
                );
                Err(refused(at, message))
            }
            (IsolationMode::AllowOnlyApprovedOutbound, Destination::Fqdn(fqdn)) => {
                self.check_storage(name, fqdn, at, terms)
            }
            _ => Ok(()),
        }
    }

    /// Its properties, were it in force: neither disabled nor ended.
    pub fn revived(mut self) -> Map<String, Value> {
        (self.extension.is_enabled, self.extension.expires_on) = (true, None);
        self.to_properties()
    }

    /// As stored.
    pub(crate) fn to_properties(&self) -> Map<String, Value> {
        let mut properties = Map::new();
        properties.insert("type".into(), self.destination.type_name().into());
        properties.insert("category".into(), self.category.as_str().into());
        let destination = match &self.destination {
            Destination::Fqdn(fqdn) => json!(fqdn.to_string()),
            Destination::ServiceTag(destination) => destination.to_value(),
            Destination::PrivateEndpoint(destination) => destination.to_value(),
        };
        properties.insert("destination".into(), destination);
        if let Destination::PrivateEndpoint(destination) = &self.destination
            && !destination.names.is_empty()
        {
            let names: Vec<String> = destination.names.iter().map(Fqdn::to_string).collect();
            properties.insert("fqdns".into(), json!(names));
        }
        properties.extend(self.extension.to_value().map(|value| (extension::NAME.to_owned(), value)));
        properties
    }

    /// A name of a storage service would open a way out to anybody's account (G10). An Owner may admit one host by name.
    fn check_storage(&self, name: &str, fqdn: &Fqdn, at: &str, terms: Terms<'_>) -> Result<(), ArmError> {
        let is_storage = STORAGE_SERVICES.iter().any(|service| {
            ["core.windows.net", terms.zone].iter().any(|zone| fqdn.reaches_below(&format!("{service}.{zone}")))
        });
        let is_admitted = self.extension.allows_storage && !fqdn.pattern().is_wildcard();
        if !is_storage || is_admitted && terms.parity == Parity::Native {
            return Ok(());
        }
        let way_round = if fqdn.pattern().is_wildcard() || terms.parity == Parity::Strict {
            ""
        } else {
            ", or have an Owner of the hub say bastide.allowStorageAccount in the rule's properties, if it is this one host \
             that is needed"
        };
        let message = format!(
            "Rule '{name}' lets '{fqdn}' through, which reaches storage accounts; in isolation mode {} that is a way out for \
             data. Use a PrivateEndpoint rule to the storage account{way_round}.",
            terms.mode.as_str()
        );
        Err(refused(&format!("{at}.destination"), message))
    }
}

impl Category {
    /// The wire's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "Required",
            Self::Recommended => "Recommended",
            Self::UserDefined => "UserDefined",
            Self::Dependency => "Dependency",
        }
    }
}

impl Destination {
    /// The wire's word for its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Fqdn(_) => FQDN,
            Self::ServiceTag(_) => SERVICE_TAG,
            Self::PrivateEndpoint(_) => PRIVATE_ENDPOINT,
        }
    }

    /// What of it opens more than is meant, and how: what to call it in a sentence, and a sentence (mission.md F10, G17).
    pub(crate) fn risk(&self) -> Option<(String, &'static str)> {
        match self {
            Self::Fqdn(fqdn) => preset::risk(fqdn).map(|risk| (format!("'{fqdn}'"), risk)),
            Self::ServiceTag(destination) => destination.risk(),
            Self::PrivateEndpoint(_) => None,
        }
    }
}

const FQDN: &str = "FQDN";
const SERVICE_TAG: &str = "ServiceTag";
const PRIVATE_ENDPOINT: &str = "PrivateEndpoint";
const TYPES: [&str; 3] = [FQDN, SERVICE_TAG, PRIVATE_ENDPOINT];
const CATEGORIES: [Category; 4] =
    [Category::Required, Category::Recommended, Category::UserDefined, Category::Dependency];
const STORAGE_SERVICES: [&str; 6] = ["blob", "dfs", "file", "queue", "table", "web"];

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(mode: IsolationMode) -> Terms<'static> {
        Terms { mode, zone: "bastide.localhost", parity: Parity::Native }
    }

    fn checked(body: Value, terms: Terms<'_>) -> Result<Map<String, Value>, ArmError> {
        let rule = Rule::read(body.as_object().unwrap(), "properties", terms.parity)?;
        rule.check("my-rule", "properties", terms)?;
        Ok(rule.to_properties())
    }

    fn fqdn(name: &str) -> Value {
        json!({"type": "FQDN", "destination": name})
    }

    fn tag() -> Value {
        json!({"type": "ServiceTag", "destination": {"serviceTag": "AzureMonitor", "protocol": "TCP", "portRanges": "443"}})
    }

    fn endpoint() -> Value {
        let id = "/subscriptions/00000000-0000-0000-0000-0000000000b2/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv";
        json!({"type": "PrivateEndpoint", "destination": {"serviceResourceId": id, "subresourceTarget": "vault"}})
    }

    #[test]
    fn each_mode_takes_its_rules_and_refusals_name_rule_and_mode() {
        use IsolationMode::{AllowInternetOutbound, AllowOnlyApprovedOutbound, Disabled};
        let cases = [
            (fqdn("pypi.org"), Disabled, false),
            (tag(), Disabled, false),
            (endpoint(), Disabled, false),
            (fqdn("pypi.org"), AllowInternetOutbound, false),
            (tag(), AllowInternetOutbound, false),
            (endpoint(), AllowInternetOutbound, true),
            (fqdn("pypi.org"), AllowOnlyApprovedOutbound, true),
            (tag(), AllowOnlyApprovedOutbound, true),
            (endpoint(), AllowOnlyApprovedOutbound, true),
        ];
        for (body, mode, is_taken) in cases {
            let outcome = checked(body.clone(), terms(mode));
            assert_eq!(outcome.is_ok(), is_taken, "{body} in {mode:?}");
            if let Err(error) = outcome {
                assert!(
                    error.message.contains("my-rule") && error.message.contains(mode.as_str()),
                    "{}",
                    error.message
                );
            }
        }
    }

    #[test]
    fn storage_names_are_no_way_out() {
        let approved = terms(IsolationMode::AllowOnlyApprovedOutbound);
        let refused = [
            "lake.blob.core.windows.net",
            "*.dfs.core.windows.net",
            "*.core.windows.net",
            "*.windows.net",
            "acct.blob.bastide.localhost",
            "*.bastide.localhost",
        ];
        for name in refused {
            let error = checked(fqdn(name), approved).expect_err(name);
            assert!(error.message.contains("PrivateEndpoint"), "{}", error.message);
        }
        for name in ["blob.example.com", "vault.bastide.localhost"] {
            assert!(checked(fqdn(name), approved).is_ok(), "{name}");
        }
    }

    #[test]
    fn one_storage_host_can_be_admitted_and_never_many() {
        let approved = terms(IsolationMode::AllowOnlyApprovedOutbound);
        let admitted =
            |name: &str| json!({"type": "FQDN", "destination": name, "bastide": {"allowStorageAccount": true}});
        let host = "vscode.blob.core.windows.net";
        let error = checked(fqdn(host), approved).unwrap_err();
        assert!(error.message.contains("allowStorageAccount"), "{}", error.message);
        assert!(checked(admitted(host), approved).is_ok());
        assert!(checked(admitted("*.blob.core.windows.net"), approved).is_err());
        assert!(checked(admitted(host), Terms { parity: Parity::Strict, ..approved }).is_err());
    }

    #[test]
    fn ports_are_for_names_and_never_those_of_resolvers() {
        let approved = terms(IsolationMode::AllowOnlyApprovedOutbound);
        let with = |mut body: Value, ports: Value| {
            body["bastide"] = json!({"ports": ports});
            checked(body, approved)
        };
        let stored = with(fqdn("git.example"), json!([9418, 443, 443])).unwrap();
        assert_eq!(stored["bastide"]["ports"], json!([443, 9418]));
        let tries = [json!([0]), json!([65536]), json!([53]), json!([853]), json!("443"), json!(["443"]), json!([-1])];
        for wrong in tries {
            assert!(with(fqdn("git.example"), wrong.clone()).is_err(), "{wrong}");
        }
        assert!(with(tag(), json!([443])).is_err());
    }

    #[test]
    fn a_slip_in_the_extension_is_refused_and_what_the_server_said_is_not() {
        let approved = terms(IsolationMode::AllowOnlyApprovedOutbound);
        let with = |extension: Value| {
            let mut body = fqdn("git.example");
            body["bastide"] = extension;
            checked(body, approved)
        };
        for slip in ["enabeld", "expires_on", "expiry", "Ports"] {
            let error = with(json!({slip: true, "enabled": true})).expect_err(slip);
            assert_eq!(error.target, Some(format!("properties.bastide.{slip}")));
            assert!(error.message.contains("expiresOn"), "{}", error.message);
        }
        assert_eq!(with(json!({"risk": "a", "purpose": "b"})).unwrap().get("bastide"), None);
        assert_eq!(with(json!({"risk": "a", "enabled": false})).unwrap()["bastide"], json!({"enabled": false}));
    }

    #[test]
    fn what_is_no_rule_is_refused_with_its_place() {
        let cases = [
            (json!({}), "properties.type"),
            (json!({"type": "CIDR"}), "properties.type"),
            (json!({"type": "FQDN"}), "properties.destination"),
            (json!({"type": "fqdn", "destination": {"host": "x"}}), "properties.destination"),
            (json!({"type": "FQDN", "destination": "10.0.0.1"}), "properties.destination"),
            (json!({"type": "FQDN", "destination": "*.net"}), "properties.destination"),
            (json!({"type": "ServiceTag"}), "properties.destination"),
            (json!({"type": "ServiceTag", "destination": "AzureMonitor"}), "properties.destination"),
            (json!({"type": "FQDN", "destination": "a.b", "category": "Mine"}), "properties.category"),
        ];
        for (body, target) in cases {
            let error = checked(body.clone(), terms(IsolationMode::AllowOnlyApprovedOutbound)).unwrap_err();
            assert_eq!(error.target.as_deref(), Some(target), "{body}");
        }
    }

    #[test]
    fn a_stored_rule_reads_back_as_itself() {
        let mut extended = fqdn("git.example");
        extended["bastide"] = json!({"enabled": false, "ports": [9418], "allowStorageAccount": true});
        let mut recommended = fqdn("pytorch.org");
        recommended["category"] = json!("Recommended");
        for body in [fqdn("*.Example.COM."), tag(), endpoint(), extended, recommended] {
            let stored = checked(body, terms(IsolationMode::AllowOnlyApprovedOutbound)).unwrap();
            assert_eq!(Rule::read(&stored, "", Parity::Native).unwrap().to_properties(), stored);
        }
    }
}
