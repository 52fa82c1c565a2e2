//! `Bastide.Network/externalServices`: a service outside that an administrator declares, so that a private endpoint of a hub
//! may lead to it: a database in the building, a machine with GPUs on the local network (mission.md K2, (c) 11).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, Dismissal, Dismissed, Document, HostNames, IdentitySupport, Linked,
    NameRule, Placement, PutStatus, ResourceType, Surroundings, View,
};
use bastide_arm::vocabulary::Vocabulary;
use bastide_inspect::Name;
use bastide_plan::AddressFilter;
use bastide_plan::address::AddressClass;
use bastide_plan::hub_plan::Target;
use serde_json::{Map, Value, json};

use crate::field::{self, refused};
use crate::outbound_rule::NAME_PORTS;
use crate::vocabulary::VOCABULARY;

/// The type of external services.
#[derive(Debug, Default)]
pub struct ExternalService;

/// Where an external service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalTarget {
    host: Host,
    port: u16,
    host_allowed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Name(Name),
    Address(Ipv4Addr),
}

/// Type name in canonical spelling.
pub const TYPE_NAME: &str = "Bastide.Network/externalServices";

/// The sub resource that rules name: a TCP port, whatever is spoken there.
pub const SUBRESOURCE: &str = "tcp";

/// What the maker of a rule must be allowed to do on the service it leads to.
pub const JOIN: &str = "Bastide.Network/externalServices/join/action";

/// The name by which the inside of hubs knows an external service. It is no name below `localhost`, which clients take for
/// their own machine without asking anybody.
pub fn private_name(service: &str) -> Option<Name> {
    Name::parse(&format!("{service}.external.bastide.internal")).ok()
}

impl ResourceType for ExternalService {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn vocabulary(&self) -> Option<&Vocabulary> {
        Some(&VOCABULARY)
    }

    /// An address of the host itself, or of what sits beside it such as a metadata service, is let into hubs by an Owner
    /// and by nobody else.
    fn further_actions(&self, existing: Option<&Document>, document: &Document) -> Vec<&'static str> {
        let granted = |document: &Document| ExternalTarget::of(document).filter(|target| target.host_allowed);
        match (existing.and_then(granted), granted(document)) {
            (_, None) => Vec::new(),
            (Some(before), Some(now)) if before == now => Vec::new(),
            _ => vec![ASSIGN],
        }
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document;
        let target = ExternalTarget::read(&document.properties)?;
        let mut stored = Map::from_iter([("target".to_owned(), json!(target.to_string()))]);
        if let Some(description) = field::text(&document.properties, "description", "properties")? {
            stored.insert("description".to_owned(), description.into());
        }
        if target.host_allowed {
            stored.insert("allowHostTarget".to_owned(), true.into());
        }
        document.properties = stored;
        Ok(Admitted { document, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        let rules: Vec<Value> = view
            .referrers
            .iter()
            .map(|rule| json!({"id": rule.id.to_string(), "name": rule.id.name(), "type": rule.id.type_name()}))
            .collect();
        properties.entry("allowHostTarget").or_insert(false.into());
        properties.insert("privateFqdn".into(), json!(private_name(view.id.name()).map(|name| name.to_string())));
        properties.insert("usedBy".into(), json!(rules));
        properties.insert("provisioningState".into(), "Succeeded".into());
        properties
    }

    fn host_names(&self) -> Option<HostNames> {
        Some(HostNames { space: "external", taken: "ExternalServiceNameTaken" })
    }

    fn dismiss(&self, dismissal: &Dismissal<'_>) -> Result<Dismissed, ArmError> {
        let users: Vec<String> = dismissal.referrers.iter().map(|rule: &Linked| format!("'{}'", rule.id)).collect();
        if users.is_empty() {
            return Ok(Dismissed::default());
        }
        let message = format!("Outbound rules lead to it: {}. Remove them first, or keep it.", users.join(", "));
        Err(ArmError::conflict(message))
    }
}

impl ExternalTarget {
    /// Reads the `properties` of a body.
    pub fn read(properties: &Map<String, Value>) -> Result<Self, ArmError> {
        let text = field::text(properties, "target", "properties")?.ok_or_else(|| {
            refused(
                TARGET,
                "An external service needs properties.target, such as 'db.example.lan:5432' or '10.1.2.3:5432'.",
            )
        })?;
        let host_allowed = field::flag(properties, "allowHostTarget", "properties")?.unwrap_or(false);
        let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
        let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| {
            refused(
                TARGET,
                format!(
                    "'{text}' does not end in a port from 1 to 65535. Write host:port, such as 'db.example.lan:5432'."
                ),
            )
        })?;
        if NAME_PORTS.contains(&port) {
            let message = format!(
                "Port {port} is for questions about names, which a hub asks its own resolver alone. Let the service listen at another port."
            );
            return Err(refused(TARGET, message));
        }
        let target = Self { host: Host::parse(host).map_err(|message| refused(TARGET, message))?, port, host_allowed };
        target.check()?;
        Ok(target)
    }

    /// What a stored service says.
    pub fn of(document: &Document) -> Option<Self> {
        Self::read(&document.properties).ok()
    }

    /// The port at which the service is, there and inside the hub.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As plans have it.
    pub fn to_plan(&self) -> Target {
        Target::External { host: self.host.to_string(), port: self.port, host_allowed: self.host_allowed }
    }

    fn check(&self) -> Result<(), ArmError> {
        let Some(class) = self.class() else { return Ok(()) };
        let host = &self.host;
        match class {
            AddressClass::Special | AddressClass::Ipv6 => {
                Err(refused(TARGET, format!("{host} is {class}. Name the host that serves.")))
            }
            AddressClass::Loopback | AddressClass::LinkLocal | AddressClass::Own if !self.host_allowed => {
                let message = format!(
                    "{host} is {class}. Services of the host itself are let into hubs by an Owner alone: set \
                     allowHostTarget to true."
                );
                Err(refused(TARGET, message))
            }
            _ => Ok(()),
        }
    }

    /// What is known of the target before anybody looks its name up: what the node finds out later makes the rule that
    /// leads to it inactive, with the reason.
    fn class(&self) -> Option<AddressClass> {
        match &self.host {
            Host::Address(address) => AddressFilter::default().refuses(IpAddr::V4(*address)),
            Host::Name(name) if name.as_str() == "localhost" || name.as_str().ends_with(".localhost") => {
                Some(AddressClass::Loopback)
            }
            Host::Name(_) => None,
        }
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        if text.starts_with('[') || text.matches(':').count() > 1 {
            return Err(format!(
                "'{text}' is an IPv6 address, which hubs do not reach. Use an IPv4 address or a name."
            ));
        }
        Name::parse(text).map(Self::Name).map_err(|error| format!("'{text}' is not a host: {error}"))
    }
}

impl fmt::Display for ExternalTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(formatter),
            Self::Address(address) => address.fmt(formatter),
        }
    }
}

/// A label of a host name in lower case.
fn is_label(name: &str) -> bool {
    (2..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

const TARGET: &str = "properties.target";

/// What Owners may do and contributors may not.
const ASSIGN: &str = "Microsoft.Authorization/roleAssignments/write";

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Bastide.Network",
    types: &["externalServices"],
    placement: Placement::ResourceGroup,
    tracked: false,
    name: NameRule { accepts: is_label, explanation: "2 to 63 lower-case letters, digits or inner hyphens" },
    identity: IdentitySupport::None,
    read_only: &["privateFqdn", "usedBy", "provisioningState"],
    patchable: None,
    put: PutStatus::CREATED,
    surroundings: Surroundings { referrers: true, ..Surroundings::NONE },
    actions: &[],
    api_versions: &["2026-11-01"],
    data_plane: DataPlane::Served,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &Value) -> Result<ExternalTarget, ArmError> {
        ExternalTarget::read(body.as_object().unwrap())
    }

    #[test]
    fn a_target_is_a_host_and_a_port() {
        for (text, expected) in [
            ("10.1.2.3:5432", "10.1.2.3:5432"),
            ("DB.Example.LAN:6379", "db.example.lan:6379"),
            ("gpu:11434", "gpu:11434"),
        ] {
            assert_eq!(read(&json!({"target": text})).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_target_is_refused_with_the_reason() {
        let cases = [
            ("", "needs properties.target"),
            ("db.example.lan", "does not end in a port"),
            ("db.example.lan:0", "does not end in a port"),
            ("db.example.lan:65536", "does not end in a port"),
            ("http://db:80", "not a host"),
            ("[2001:db8::1]:443", "IPv6"),
            ("10.0.0.256:1", "not a host"),
            ("0.0.0.0:80", "not an address of a host"),
            ("224.0.0.1:80", "not an address of a host"),
            ("dns.example.lan:53", "its own resolver"),
        ];
        for (text, reason) in cases {
            let error = read(&json!({"target": text})).expect_err(text);
            assert!(error.message.contains(reason), "{text}: {}", error.message);
            assert_eq!(error.target.as_deref(), Some("properties.target"));
        }
    }

    #[test]
    fn the_host_itself_takes_an_owners_grant() {
        for text in ["127.0.0.1:11434", "localhost:11434", "x.localhost:1", "169.254.169.254:80"] {
            let error = read(&json!({"target": text})).expect_err(text);
            assert!(error.message.contains("allowHostTarget"), "{}", error.message);
            assert!(read(&json!({"target": text, "allowHostTarget": true})).is_ok(), "{text}");
        }
        for text in ["0.0.0.0:1", "255.255.255.255:1"] {
            assert!(read(&json!({"target": text, "allowHostTarget": true})).is_err(), "{text}");
        }
    }

    #[test]
    fn a_grant_asks_for_the_right_once_and_again_when_its_target_changes() {
        let document =
            |value: Value| Document { properties: value.as_object().unwrap().clone(), ..Document::default() };
        let plain = document(json!({"target": "10.0.0.1:1"}));
        let granted = document(json!({"target": "127.0.0.1:1", "allowHostTarget": true}));
        let moved = document(json!({"target": "169.254.169.254:80", "allowHostTarget": true}));
        let asked = |before, after| !ExternalService.further_actions(before, after).is_empty();
        assert!(asked(None, &granted) && asked(Some(&plain), &granted) && asked(Some(&granted), &moved));
        assert!(!asked(None, &plain) && !asked(Some(&granted), &granted) && !asked(Some(&granted), &plain));
    }
}
