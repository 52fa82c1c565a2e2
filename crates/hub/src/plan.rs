//! A hub's resources become the plan that firewall, resolver and kernel work by.

mod outside;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Linked, Parity};
use bastide_inspect::{Name, NamePattern};
use bastide_plan::hub_plan::{
    Action, End, Ending, Endpoint, HubId, HubPlan, Leg, Mode, NameRule, PLAN_VERSION, PortRange, PrefixRule, Protocol,
    RuleName, Service, Stamp, Target,
};
use ipnet::Ipv4Net;
use jiff::Timestamp;

use crate::external_service::{self, ExternalTarget};
use crate::isolation_lift::IsolationLift;
use crate::isolation_mode::IsolationMode;
use crate::outbound_rule::{
    Category, Destination, Fqdn, NAME_PORTS_CLOSED, PrivateEndpointDestination, Rule, ServiceTagDestination,
};
use crate::workspace::RequiredTag;

pub use outside::{Outside, Wanted};

/// Where a hub's network stands, beside its own resources.
#[derive(Debug, Clone)]
pub struct Site {
    /// The addresses inside every hub.
    pub subnet: Ipv4Net,
    /// The name and port under which the inside finds Bastide's API, if it is to.
    pub api: Option<(Name, u16)>,
    /// The DNS suffix of the services, without a port.
    pub zone: String,
}

/// A plan, and what of the rules it does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The plan.
    pub plan: HubPlan,
    /// Rules that stand for nothing yet, with the reason; all others are in the plan.
    pub without_effect: BTreeMap<RuleName, String>,
    /// Rules that need nothing of their own in the plan: services of Bastide's stand for them, which every hub reaches.
    pub by_service: BTreeSet<RuleName>,
}

/// Compiles the plan of a hub from the hub, its rules, what those lead to and the legs of its computes. The same in gives
/// the same out.
pub fn compile(
    hub: &Linked,
    rules: &[Linked],
    legs: Vec<Leg>,
    outside: &Outside,
    site: &Site,
    stamp: Stamp,
) -> Compiled {
    let mut compiler = Compiler { hub, outside, site, taken: legs.iter().map(|leg| leg.address).collect(), legs };
    // Without a clock nothing is open that was opened for a time.
    let properties = &hub.document.properties;
    let mode = planned(IsolationMode::of(properties));
    let lift = outside.now.and_then(|now| IsolationLift::in_force(properties, now));
    let mut plan = HubPlan {
        version: PLAN_VERSION,
        hub: HubId(hub.incarnation),
        name: hub.id.name().to_owned(),
        stamp,
        mode: if lift.is_some() { Mode::Disabled } else { mode },
        subnet: site.subnet,
        legs: Vec::new(),
        names: Vec::new(),
        prefixes: Vec::new(),
        endpoints: Vec::new(),
        services: site
            .api
            .iter()
            .map(|(name, port)| Service { name: name.clone(), port: *port, target: Target::Server })
            .collect(),
        ends: lift.map(|lift| end(lift.until, Ending::Mode(mode))).into_iter().collect(),
    };
    let (mut without_effect, mut by_service) = (BTreeMap::new(), BTreeSet::new());
    let mut sorted: Vec<&Linked> = rules.iter().collect();
    sorted.sort_by(|one, other| one.id.name().cmp(other.id.name()));
    for row in sorted {
        let name = RuleName(row.id.name().to_owned());
        let added = match Rule::read(&row.document.properties, "properties", Parity::Native) {
            Ok(rule) => compiler.add(&mut plan, &name, row, rule),
            Err(error) => Err(error.message.clone()),
        };
        match added {
            Ok(Effect::Planned) => {}
            Ok(Effect::ByService) => drop(by_service.insert(name)),
            Err(reason) => drop(without_effect.insert(name, reason)),
        }
    }
    plan.legs = compiler.legs;
    plan.legs.sort_by_key(|leg| leg.compute);
    plan.ends.sort();
    Compiled { plan, without_effect, by_service }
}

fn planned(mode: IsolationMode) -> Mode {
    match mode {
        IsolationMode::Disabled => Mode::Disabled,
        IsolationMode::AllowInternetOutbound => Mode::InternetOutbound,
        IsolationMode::AllowOnlyApprovedOutbound => Mode::ApprovedOutbound,
    }
}

fn end(at: Timestamp, of: Ending) -> End {
    End { at: at.as_millisecond(), of }
}

/// How a rule takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// By what stands in the plan.
    Planned,
    /// By a service of Bastide's that is there for every hub.
    ByService,
}

/// What stands behind a private endpoint.
struct Behind {
    names: Vec<Name>,
    port: u16,
    target: Result<Target, String>,
}

struct Compiler<'a> {
    hub: &'a Linked,
    outside: &'a Outside,
    site: &'a Site,
    legs: Vec<Leg>,
    taken: BTreeSet<Ipv4Addr>,
}

impl Compiler<'_> {
    fn add(&mut self, plan: &mut HubPlan, name: &RuleName, row: &Linked, rule: Rule) -> Result<Effect, String> {
        if !rule.extension.is_enabled {
            return Err(
                "The rule is disabled. Enable it (bastide network enable), or set bastide.enabled in its properties \
                        to true."
                    .to_owned(),
            );
        }
        if let (Some(at), Some(now)) = (rule.extension.expires_on, self.outside.now) {
            if at <= now {
                return Err(format!("The rule has ended, at {at}. Give it a later bastide.expiresOn, or remove it."));
            }
            plan.ends.push(end(at, Ending::Rule(name.clone())));
        }
        match rule.destination {
            Destination::Fqdn(fqdn) => {
                let ports = Some(rule.extension.ports).filter(|ports| !ports.is_empty());
                let ports = ports.unwrap_or_else(|| WEB.to_vec());
                plan.names.push(NameRule { rule: name.clone(), pattern: fqdn.pattern().clone(), ports });
            }
            // No pack of addresses widens what the hub itself asks for: its services are Bastide's own (mission.md H15).
            Destination::ServiceTag(destination) if rule.category == Category::Required => {
                let tag = destination.tag.as_deref().unwrap_or_default();
                return RequiredTag::find(tag, destination.protocol).stands_for(tag, self.site.api.as_ref());
            }
            Destination::ServiceTag(destination) => {
                plan.prefixes.push(prefix_rule(name, &destination, self.outside)?);
            }
            Destination::PrivateEndpoint(destination) => {
                let (endpoint, reason) = self.endpoint(name, row, &destination);
                // Also one that leads nowhere is in the plan: its names must not mean the public address.
                plan.endpoints.push(endpoint);
                return reason.map_or(Ok(Effect::Planned), Err);
            }
        }
        Ok(Effect::Planned)
    }

    fn endpoint(
        &mut self,
        name: &RuleName,
        row: &Linked,
        destination: &PrivateEndpointDestination,
    ) -> (Endpoint, Option<String>) {
        let Behind { mut names, port, target } = self.behind(destination);
        let given = destination.names.iter().map(Fqdn::pattern);
        names.extend(given.filter(|pattern| !pattern.is_wildcard()).map(NamePattern::name).cloned());
        names.sort();
        names.dedup();
        // Whether anything is there is nobody's to know whom the target does not let in.
        let target = self.outside.refused.get(name).map_or(target, |reason| Err(reason.clone()));
        let (target, reason) = match target {
            Ok(target) => (Some(target), None),
            Err(reason) => (None, Some(reason)),
        };
        let address = self.free_address(row.incarnation.as_u128());
        (Endpoint { rule: name.clone(), names, address, ports: vec![port], target }, reason)
    }

    fn behind(&self, destination: &PrivateEndpointDestination) -> Behind {
        let id = &destination.resource();
        if destination.is_external() {
            let stands = self.outside.targets.get(id.key());
            let target = stands.and_then(|stands| ExternalTarget::of(&stands.document));
            return Behind {
                names: external_service::private_name(id.name()).into_iter().collect(),
                port: target.as_ref().map_or(443, ExternalTarget::port),
                target: target.map(|target| target.to_plan()).ok_or_else(|| {
                    format!("The external service '{id}' is not there any more. Declare it again, or remove the rule.")
                }),
            };
        }
        let name = private_name(id, &destination.subresource, &self.site.zone);
        let mut names: Vec<Name> = name.into_iter().collect();
        match self.site.api.as_ref().filter(|_| *id == self.hub.id) {
            Some((name, port)) => {
                names.push(name.clone());
                Behind { names, port: *port, target: Ok(Target::Server) }
            }
            None => Behind {
                names,
                port: 443,
                target: Err(format!(
                    "No service behind it: Bastide has no data plane for '{}' of {} yet. Its private name leads to an \
                     address that refuses connections.",
                    destination.subresource,
                    id.type_name()
                )),
            },
        }
    }

    /// An address in the upper half of the subnet that stays the same while others come and go, but for the rare case
    /// that two want the same one.
    fn free_address(&mut self, seed: u128) -> Ipv4Addr {
        let bits = 32 - u32::from(self.site.subnet.prefix_len());
        let half = 1u32 << bits.saturating_sub(1);
        let first = u32::from(self.site.subnet.network()) | half;
        let spread = half.saturating_sub(2).max(1);
        let start = u32::try_from(seed % u128::from(spread)).unwrap_or_default();
        let candidates = (0..spread).map(|step| Ipv4Addr::from(first + (start + step) % spread));
        let address = candidates.into_iter().find(|address| !self.taken.contains(address)).unwrap_or(first.into());
        self.taken.insert(address);
        address
    }
}

/// The name under which clients know a service of a resource, `{account}.blob.{zone}`.
pub(crate) fn private_name(resource: &ResourceId, subresource: &str, zone: &str) -> Option<Name> {
    let type_name = resource.type_name();
    let (_, word) = SERVICE_WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(&type_name))?;
    Name::parse(&format!("{}.{}.{zone}", resource.name(), word.unwrap_or(subresource))).ok()
}

/// The address of a compute's leg, in the lower half of the subnet; `taken` are those of the hub's other legs. It is
/// chosen once, when the compute is made.
pub fn leg_address(subnet: Ipv4Net, seed: u128, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    let half = 1u32 << (31 - u32::from(subnet.prefix_len()).min(31));
    // The network's own address and the gateway are not for legs.
    let spread = half.checked_sub(RESERVED).filter(|spread| *spread > 0)?;
    let first = u32::from(subnet.network()) + RESERVED;
    let start = u32::try_from(seed % u128::from(spread)).unwrap_or_default();
    (0..spread).map(|step| Ipv4Addr::from(first + (start + step) % spread)).find(|address| !taken.contains(address))
}

/// Prefixes that a rule lists itself take the place of what its tag means (mission.md G7).
fn prefix_rule(name: &RuleName, destination: &ServiceTagDestination, outside: &Outside) -> Result<PrefixRule, String> {
    let prefixes = match (destination.prefixes.as_slice(), destination.tag.as_deref()) {
        _ if destination.is_for_names_alone() => {
            return Err(format!("{NAME_PORTS_CLOSED}. Name other ports in portRanges, or remove the rule."));
        }
        ([], Some("VirtualNetwork")) => return Err(OWN_NETWORK.to_owned()),
        ([], tag) => outside.tags.prefixes(tag.unwrap_or_default())?.to_vec(),
        (listed, _) => {
            let prefixes: Vec<Ipv4Net> = listed.iter().filter_map(|text| prefix(text)).collect();
            if prefixes.is_empty() {
                return Err(
                    "All its addressPrefixes are IPv6, which hubs do not have; it stands for nothing.".to_owned()
                );
            }
            let mut prefixes = Ipv4Net::aggregate(&prefixes);
            prefixes.sort();
            prefixes
        }
    };
    Ok(PrefixRule {
        rule: name.clone(),
        action: if destination.action == "Deny" { Action::Deny } else { Action::Allow },
        protocol: match destination.protocol {
            "TCP" => Protocol::Tcp,
            "UDP" => Protocol::Udp,
            "ICMP" => Protocol::Icmp,
            _ => Protocol::Any,
        },
        prefixes,
        ports: ports(destination.ports.ranges()),
    })
}

/// A prefix in CIDR form or a bare address. IPv6 has no way out of a hub, so there is nothing to let through.
fn prefix(text: &str) -> Option<Ipv4Net> {
    let net = text.parse().ok().or_else(|| Some(Ipv4Net::from(text.parse::<Ipv4Addr>().ok()?)))?;
    Some(Ipv4Net::trunc(&net))
}

/// Ranges merged and sorted; all ports are no ranges.
fn ports(ranges: &[(u16, u16)]) -> Vec<PortRange> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<PortRange> = Vec::new();
    for (first, last) in sorted {
        match merged.last_mut() {
            Some(before) if u32::from(first) <= u32::from(before.last) + 1 => before.last = before.last.max(last),
            _ => merged.push(PortRange { first, last }),
        }
    }
    if merged.first().is_some_and(|range| range.first <= 1 && range.last == u16::MAX) { Vec::new() } else { merged }
}

/// What a tag for the hub's own network says.
pub(crate) const OWN_NETWORK: &str = "It stands for the hub's own network, in which computes do not reach each other; private \
     endpoints are opened by rules of their own.";

/// What an FQDN rule opens (mission.md G9).
const WEB: [u16; 2] = [80, 443];

/// The word between name and zone in the names of services; none is the sub resource itself.
const SERVICE_WORDS: &[(&str, Option<&str>)] = &[
    ("Microsoft.Storage/storageAccounts", None),
    ("Microsoft.KeyVault/vaults", Some("vault")),
    ("Microsoft.ContainerRegistry/registries", Some("azurecr")),
    ("Microsoft.CognitiveServices/accounts", Some("cognitiveservices")),
    ("Microsoft.Search/searchServices", Some("search")),
];

/// Addresses at the start of a subnet that are not for legs: the network's own, the gateway, and some for later.
const RESERVED: u32 = 16;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bastide_arm::id::ResourceId;
    use bastide_arm::resource_type::Document;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::service_tag::{TagBook, TagPack};

    const HUB: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/hub";

    fn site() -> Site {
        Site {
            subnet: "100.127.0.0/16".parse().unwrap(),
            api: Some((Name::parse("api.bastide.internal").unwrap(), 8443)),
            zone: "bastide.internal".into(),
        }
    }

    fn row(id: &str, seed: u128, properties: Value) -> Linked {
        let properties = properties.as_object().unwrap().clone();
        Linked {
            id: ResourceId::parse(id).unwrap(),
            incarnation: Uuid::from_u128(seed),
            document: Document { properties, ..Document::default() },
        }
    }

    fn rule(name: &str, properties: Value) -> Linked {
        row(&format!("{HUB}/outboundRules/{name}"), name.bytes().map(u128::from).sum(), properties)
    }

    fn compiled(mode: &str, rules: &[Linked]) -> Compiled {
        let hub = row(HUB, 1, json!({"managedNetwork": {"isolationMode": mode}}));
        compile(&hub, rules, Vec::new(), &Outside::default(), &site(), Stamp { fence: 1, revision: 7 })
    }

    fn rules() -> Vec<Linked> {
        let tag = |tag: &str, prefixes: Value| {
            json!({"type": "ServiceTag", "destination":
                {"serviceTag": tag, "protocol": "TCP", "portRanges": "8080-8089, 80, 81", "addressPrefixes": prefixes}})
        };
        let endpoint = |target: &str, subresource: &str| {
            json!({"type": "PrivateEndpoint", "destination":
                {"serviceResourceId": target, "subresourceTarget": subresource, "sparkEnabled": false}})
        };
        let vault = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers/Microsoft.KeyVault/vaults/secrets";
        vec![
            rule("pypi", json!({"type": "FQDN", "destination": "*.PyPI.org"})),
            rule("apex", json!({"type": "FQDN", "destination": "pypi.org"})),
            rule(
                "known",
                tag("AzureMonitor", json!(["192.0.2.128/25", "192.0.2.0/25", "2001:db8::/32", "198.18.0.7"])),
            ),
            rule("unknown", tag("AzureMonitor", json!([]))),
            rule("vault", endpoint(vault, "vault")),
            rule("hub", endpoint(HUB, "amlworkspace")),
        ]
    }

    #[test]
    fn what_is_for_a_time_says_when_it_ends() {
        let at = |hour: i8| jiff::civil::date(2026, 11, 22).at(hour, 0, 0, 0).in_tz("UTC").unwrap().timestamp();
        let lift = json!({"since": at(8), "until": at(12), "by": "priya", "byObjectId": Uuid::nil(), "reason": "r"});
        let network = json!({"isolationMode": "AllowOnlyApprovedOutbound", "isolationLift": lift});
        let hub = row(HUB, 1, json!({"managedNetwork": network}));
        let fqdn = |name: &str, hour: i8| {
            let for_a_time = json!({"expiresOn": at(hour)});
            rule(name, json!({"type": "FQDN", "destination": format!("{name}.example"), "bastide": for_a_time}))
        };
        let rules = [fqdn("evening", 18), fqdn("morning", 9), fqdn("noon", 11)];
        let outside = Outside { now: Some(at(10)), ..Outside::default() };
        let stamp = Stamp { fence: 1, revision: 7 };
        let plan = compile(&hub, &rules, Vec::new(), &outside, &site(), stamp).plan;
        assert_eq!(plan.mode, Mode::Disabled);
        let of_rule = |name: &str| Ending::Rule(RuleName(name.to_owned()));
        let ends = [(11, of_rule("noon")), (12, Ending::Mode(Mode::ApprovedOutbound)), (18, of_rule("evening"))];
        assert_eq!(plan.ends, ends.map(|(hour, of)| end(at(hour), of)));
    }

    #[test]
    fn every_kind_of_rule_has_its_place() {
        let Compiled { plan, without_effect, .. } = compiled("AllowOnlyApprovedOutbound", &rules());
        assert_eq!(plan.mode, Mode::ApprovedOutbound);
        let names: Vec<String> = plan.names.iter().map(|rule| format!("{} {}", rule.rule, rule.pattern)).collect();
        assert_eq!(names, ["apex pypi.org", "pypi *.pypi.org"]);
        let prefixes: Vec<String> =
            plan.prefixes.iter().map(|rule| format!("{:?} {:?}", rule.prefixes, rule.ports)).collect();
        let expected = "[192.0.2.0/24, 198.18.0.7/32] \
                        [PortRange { first: 80, last: 81 }, PortRange { first: 8080, last: 8089 }]";
        assert_eq!(prefixes, [expected]);
        let endpoints: Vec<String> = plan
            .endpoints
            .iter()
            .map(|endpoint| format!("{} {:?} {:?}", endpoint.rule, endpoint.names, endpoint.target))
            .map(|text| text.replace("Name(", "").replace(')', ""))
            .collect();
        assert!(endpoints[0].contains("api.bastide.internal") && endpoints[0].contains("Server"), "{endpoints:?}");
        assert!(
            endpoints[1].contains("secrets.vault.bastide.internal") && endpoints[1].contains("None"),
            "{endpoints:?}"
        );
        let silent: Vec<&str> = without_effect.keys().map(|rule| rule.0.as_str()).collect();
        assert_eq!(silent, ["unknown", "vault"], "what has no effect says so");
    }

    #[test]
    fn an_external_service_is_reached_by_its_own_name_and_port_while_it_is_there() {
        let service = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers/Bastide.Network/externalServices/ledger";
        let rules = [rule(
            "database",
            json!({"type": "PrivateEndpoint", "destination": {"serviceResourceId": service, "subresourceTarget": "tcp"}}),
        )];
        let hub = row(HUB, 1, json!({"managedNetwork": {"isolationMode": "AllowOnlyApprovedOutbound"}}));
        let stamp = Stamp { fence: 1, revision: 7 };
        let mut outside = Outside::default();
        let gone = compile(&hub, &rules, Vec::new(), &outside, &site(), stamp);
        assert!(gone.without_effect.values().all(|reason| reason.contains("not there any more")), "{gone:?}");
        assert_eq!(gone.plan.endpoints[0].target, None, "its name must not mean anything else");
        let stands = row(service, 2, json!({"target": "db.example.lan:5432", "allowHostTarget": true}));
        outside.targets.insert(stands.id.key().to_owned(), stands);
        let Compiled { plan, without_effect, .. } = compile(&hub, &rules, Vec::new(), &outside, &site(), stamp);
        assert!(without_effect.is_empty(), "{without_effect:?}");
        let Endpoint { names, ports, target, .. } = &plan.endpoints[0];
        assert_eq!(names[0].as_str(), "ledger.external.bastide.internal");
        let expected = Target::External { host: "db.example.lan".into(), port: 5432, host_allowed: true };
        assert_eq!((ports.as_slice(), target.as_ref()), ([5432].as_slice(), Some(&expected)));
    }

    #[test]
    fn a_pack_says_what_tags_mean_but_what_a_rule_lists_itself_wins_and_required_rules_never_ask_it() {
        let pack = json!({"changeNumber": 1, "values": [
            {"name": "AzureMonitor", "properties": {"addressPrefixes": ["203.0.113.0/24"]}},
            {"name": "AzureResourceManager", "properties": {"addressPrefixes": ["203.0.113.0/24"]}},
        ]});
        let tags = TagBook::new([("azure".to_owned(), TagPack::read(&pack).unwrap())]);
        let outside = Outside { tags: Arc::new(tags), ..Outside::default() };
        let mut rules = rules();
        let tag = |name: &str| {
            json!({"type": "ServiceTag", "category": "Required", "destination":
                {"serviceTag": name, "protocol": "TCP", "portRanges": "443"}})
        };
        rules.extend([
            rule("__SYS_ST_AzureResourceManager_TCP", tag("AzureResourceManager")),
            rule("__SYS_ST_AzureMonitor_TCP", tag("AzureMonitor")),
        ]);
        let hub = row(HUB, 1, json!({"managedNetwork": {"isolationMode": "AllowOnlyApprovedOutbound"}}));
        let compiled = compile(&hub, &rules, Vec::new(), &outside, &site(), Stamp { fence: 1, revision: 7 });
        let opened: Vec<String> =
            compiled.plan.prefixes.iter().map(|rule| format!("{} {:?}", rule.rule, rule.prefixes)).collect();
        assert_eq!(opened, ["known [192.0.2.0/24, 198.18.0.7/32]", "unknown [203.0.113.0/24]"]);
        let by_service: Vec<&str> = compiled.by_service.iter().map(|rule| rule.0.as_str()).collect();
        assert_eq!(by_service, ["__SYS_ST_AzureResourceManager_TCP"], "Bastide's own API stands for it (H10, H15)");
        let why = &compiled.without_effect[&RuleName("__SYS_ST_AzureMonitor_TCP".into())];
        assert!(why.contains("none is needed"), "{why}");
    }

    #[test]
    fn the_order_of_the_rules_does_not_matter() {
        let forwards = compiled("AllowOnlyApprovedOutbound", &rules());
        let backwards: Vec<Linked> = rules().into_iter().rev().collect();
        let backwards = compiled("AllowOnlyApprovedOutbound", &backwards);
        assert_eq!(serde_json::to_string(&forwards.plan).unwrap(), serde_json::to_string(&backwards.plan).unwrap());
    }

    #[test]
    fn endpoints_and_legs_never_share_an_address() {
        let plan = compiled("AllowInternetOutbound", &rules()).plan;
        let subnet = site().subnet;
        let mut taken = BTreeSet::new();
        for seed in 0..2000 {
            let address = leg_address(subnet, seed % 7, &taken).unwrap();
            assert!(subnet.contains(&address) && address != plan.gateway());
            assert!(plan.endpoints.iter().all(|endpoint| endpoint.address != address));
            assert!(taken.insert(address));
        }
    }

    #[test]
    fn a_full_subnet_has_no_more_legs() {
        let small: Ipv4Net = "100.127.0.0/26".parse().unwrap();
        let mut taken = BTreeSet::new();
        while let Some(address) = leg_address(small, 3, &taken) {
            taken.insert(address);
        }
        assert_eq!(taken.len(), 16);
    }
}
