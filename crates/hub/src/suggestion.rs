//! From what was refused to the rules that would let it through: the smallest set, each line with its evidence, and never a
//! wildcard that nobody asked for (mission.md (c) 4, I9).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use bastide_plan::AddressFilter;
use serde_json::{Map, Value, json};

use crate::outbound_rule::{Fqdn, MOST_PORTS, NAME_PORTS, NAME_PORTS_CLOSED};
use crate::preset;
use crate::rule_name;

/// Something that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// By whom.
    pub compute: Option<String>,
    /// `TCP`, `UDP`, `ICMP`; none for a question about a name.
    pub protocol: Option<&'static str>,
    /// The name asked for.
    pub name: Option<String>,
    /// The address it went to.
    pub address: Option<Ipv4Addr>,
    /// The port; 0 if there is none.
    pub port: u16,
    /// A rule in force that refuses it, as no other rule changes.
    pub denied_by: Option<String>,
    /// How many alike.
    pub count: u32,
}

/// What would let through what was refused.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Suggestions {
    rules: BTreeMap<String, Suggested>,
    /// What no rule lets through, by destination, with the reason.
    hopeless: BTreeMap<String, (String, Evidence)>,
}

#[derive(Debug, Clone, PartialEq)]
struct Suggested {
    properties: Value,
    evidence: Evidence,
    risk: Option<&'static str>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Evidence {
    count: u64,
    computes: BTreeSet<String>,
    ports: BTreeSet<u16>,
    first: i64,
    last: i64,
}

impl Suggestions {
    /// From what was refused, on a hub whose rules have the names `taken`. A name that a connection came for counts,
    /// whatever address it was at.
    pub fn from(refused: &[Refused], taken: impl IntoIterator<Item = String>) -> Self {
        let mut names: BTreeMap<String, Evidence> = BTreeMap::new();
        let mut addresses: BTreeMap<(Ipv4Addr, &'static str), Evidence> = BTreeMap::new();
        let mut suggestions = Self::default();
        for one in refused {
            if let Some((destination, why)) = one.hopeless() {
                suggestions.hopeless.entry(destination).or_insert_with(|| (why, Evidence::default())).1.add(one);
                continue;
            }
            match (&one.name, one.address, one.protocol) {
                (Some(name), _, _) => names.entry(name.clone()).or_default().add(one),
                (None, Some(address), Some(protocol)) => addresses.entry((address, protocol)).or_default().add(one),
                _ => {}
            }
        }
        let mut taken = taken.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        for (name, evidence) in names {
            suggestions.add_name(name, evidence, &mut taken);
        }
        for ((address, protocol), evidence) in addresses {
            suggestions.add_address(address, protocol, evidence, &mut taken);
        }
        suggestions
    }

    fn add_name(&mut self, name: String, evidence: Evidence, taken: &mut BTreeSet<String>) {
        let fqdn = match Fqdn::parse(&name) {
            Ok(fqdn) => fqdn,
            Err(why) => return drop(self.hopeless.insert(name, (why, evidence))),
        };
        let storage = ["blob", "dfs", "file", "queue", "table", "web"];
        if storage.iter().any(|service| fqdn.reaches_below(&format!("{service}.core.windows.net"))) {
            let why = "It is a storage account. Use a PrivateEndpoint rule, or have an Owner admit this one host \
                       (bastide.allowStorageAccount).";
            return drop(self.hopeless.insert(name, (why.to_owned(), evidence)));
        }
        if evidence.ports.len() > MOST_PORTS {
            let why = format!(
                "It was asked for at {} ports, and a rule lists at most {MOST_PORTS}. Make one with those that are needed.",
                evidence.ports.len()
            );
            return drop(self.hopeless.insert(name, (why, evidence)));
        }
        let mut properties = json!({"type": "FQDN", "destination": name});
        let is_web = evidence.ports.iter().all(|port| WEB.contains(port));
        if let (false, Some(fields)) = (is_web, properties.as_object_mut()) {
            fields.insert("bastide".to_owned(), json!({"enabled": true, "ports": evidence.ports}));
        }
        let risk = preset::risk(&fqdn);
        self.rules.insert(rule_name::free(&name, taken), Suggested { properties, evidence, risk });
    }

    fn add_address(
        &mut self,
        address: Ipv4Addr,
        protocol: &'static str,
        evidence: Evidence,
        taken: &mut BTreeSet<String>,
    ) {
        if let Some(class) = AddressFilter::default().refuses(address.into()) {
            let why =
                format!("It is {class}. Declare it as an external service, and make a PrivateEndpoint rule to that.");
            return drop(self.hopeless.insert(format!("{address} {protocol}"), (why, evidence)));
        }
        let ports: Vec<String> = evidence.ports.iter().map(u16::to_string).collect();
        let ports = if ports.is_empty() { "*".to_owned() } else { ports.join(", ") };
        let destination = json!({
            "protocol": protocol, "portRanges": ports, "action": "Allow", "addressPrefixes": [format!("{address}/32")],
        });
        let properties = json!({"type": "ServiceTag", "destination": destination});
        let risk = Some("An address may be anybody's: many sites share one. A rule by name is narrower.");
        let name = rule_name::free(&format!("{address}-{protocol}"), taken);
        self.rules.insert(name, Suggested { properties, evidence, risk });
    }

    /// The whole, with the rules in the forms that people keep them in.
    pub fn answer(&self) -> Value {
        let suggested = self.rules.iter().map(|(name, rule)| {
            json!({"name": name, "properties": rule.properties, "evidence": rule.evidence.answer(), "risk": rule.risk})
        });
        let hopeless = self.hopeless.iter().map(|(destination, (reason, evidence))| {
            json!({"destination": destination, "reason": reason, "evidence": evidence.answer()})
        });
        json!({
            "suggestions": suggested.collect::<Vec<_>>(),
            "noRule": hopeless.collect::<Vec<_>>(),
            "wider": self.wider(),
            "arm": self.arm(),
            "yaml": self.yaml(),
            "terraform": self.terraform(),
        })
    }

    /// Wildcards that would stand for several of the names. They are for people to decide about.
    fn wider(&self) -> Vec<Value> {
        let mut below: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for rule in self.rules.values() {
            let name = rule.properties.get("destination").and_then(Value::as_str);
            if let Some((name, parent)) = name.and_then(|name| Some((name, name.split_once('.')?.1)))
                && parent.contains('.')
            {
                below.entry(parent).or_default().push(name);
            }
        }
        let several = below.into_iter().filter(|(_, names)| names.len() >= SEVERAL);
        several.map(|(parent, names)| json!({"destination": format!("*.{parent}"), "insteadOf": names})).collect()
    }

    fn arm(&self) -> Value {
        let rules: Map<String, Value> =
            self.rules.iter().map(|(name, rule)| (name.clone(), rule.properties.clone())).collect();
        json!({"properties": {"managedNetwork": {"outboundRules": rules}}})
    }

    /// As `az ml workspace` reads it. Names, hosts and numbers need no quotes; lists of ports do.
    fn yaml(&self) -> String {
        let mut text = "managed_network:\n  outbound_rules:\n".to_owned();
        for (name, Suggested { properties, evidence, risk }) in &self.rules {
            let risk = risk.map(|risk| format!(" {risk}")).unwrap_or_default();
            // Writing to a text cannot fail.
            let _ = writeln!(text, "  # {}{risk}", evidence.sentence());
            let _ = writeln!(text, "  - name: {name}");
            match properties.get("destination") {
                Some(Value::String(host)) => {
                    if let Some(ports) = properties.pointer("/bastide/ports") {
                        let _ = writeln!(
                            text,
                            "    # az has no field for ports: set bastide.ports to {ports} by a PUT of the rule."
                        );
                    }
                    let _ = writeln!(text, "    type: fqdn\n    destination: '{host}'");
                }
                Some(destination) => {
                    let of = |field: &str| destination.get(field).and_then(Value::as_str).unwrap_or_default();
                    let prefix = destination.pointer("/addressPrefixes/0").and_then(Value::as_str).unwrap_or_default();
                    let (protocol, ports) = (of("protocol"), of("portRanges"));
                    let _ = writeln!(text, "    type: service_tag\n    destination:\n      protocol: {protocol}");
                    let _ = writeln!(text, "      port_ranges: '{ports}'\n      address_prefixes: ['{prefix}']");
                }
                None => {}
            }
        }
        text
    }

    /// For azapi, which knows every kind of rule.
    fn terraform(&self) -> String {
        let mut text = String::new();
        for (name, Suggested { properties, evidence, .. }) in &self.rules {
            let body = json!({"properties": properties});
            let _ = writeln!(
                text,
                "# {}\nresource \"azapi_resource\" \"{}\" {{\n  type      = \
                 \"Microsoft.MachineLearningServices/workspaces/outboundRules@2025-06-01\"\n  name      = \"{name}\"\n  \
                 parent_id = var.workspace_id\n  body      = jsondecode(<<JSON\n{body}\nJSON\n  )\n}}\n",
                evidence.sentence(),
                name.replace('-', "_"),
            );
        }
        text
    }
}

impl Refused {
    /// Where it went, and why no new rule lets it through.
    fn hopeless(&self) -> Option<(String, String)> {
        let to = || self.name.clone().or_else(|| Some(self.address?.to_string())).unwrap_or_default();
        if let Some(rule) = &self.denied_by {
            let why = format!("Rule '{rule}' denies it, and no other rule changes that. Change or remove that rule.");
            return Some((to(), why));
        }
        let is_question = self.protocol.is_some_and(|protocol| protocol != "ICMP") && NAME_PORTS.contains(&self.port);
        is_question.then(|| (format!("{}:{}", to(), self.port), format!("{NAME_PORTS_CLOSED}.")))
    }
}

impl Evidence {
    fn add(&mut self, one: &Refused) {
        self.first = if self.count == 0 { one.at } else { self.first.min(one.at) };
        self.last = self.last.max(one.at);
        self.count += u64::from(one.count);
        self.computes.extend(one.compute.clone());
        // A question about a name says nothing of ports.
        self.ports.extend(Some(one.port).filter(|port| *port > 0 && one.protocol.is_some()));
    }

    fn answer(&self) -> Value {
        json!({"count": self.count, "computes": self.computes, "ports": self.ports, "first": self.first, "last": self.last})
    }

    fn sentence(&self) -> String {
        let computes: Vec<&str> = self.computes.iter().map(String::as_str).collect();
        let by = if computes.is_empty() { String::new() } else { format!(" by {}", computes.join(", ")) };
        format!("Refused {} times{by}.", self.count)
    }
}

const WEB: [u16; 2] = [80, 443];

/// Names below one parent from which on a wildcard is worth a thought.
const SEVERAL: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: Option<&str>, address: Option<&str>, protocol: Option<&'static str>, port: u16) -> Refused {
        Refused {
            at: 1000,
            compute: Some("mei-box".to_owned()),
            protocol,
            name: name.map(str::to_owned),
            address: address.map(|address| address.parse().unwrap()),
            port,
            denied_by: None,
            count: 2,
        }
    }

    fn suggested(log: &[Refused]) -> Value {
        Suggestions::from(log, ["Pypi-Org".to_owned()]).answer()
    }

    #[test]
    fn a_name_is_one_rule_with_its_evidence_and_never_a_wildcard() {
        let log = [
            refused(Some("cdn-1.hf.co"), None, None, 53),
            refused(Some("cdn-1.hf.co"), Some("203.0.113.1"), Some("TCP"), 443),
            refused(Some("cdn-2.hf.co"), None, None, 53),
            refused(Some("cdn-3.hf.co"), None, None, 53),
        ];
        let answer = suggested(&log);
        let rules = answer["suggestions"].as_array().unwrap();
        assert_eq!(rules.len(), 3);
        assert_eq!(
            rules[0]["properties"],
            json!({"type": "FQDN", "destination": "cdn-1.hf.co"}),
            "no ports: the usual ones"
        );
        assert_eq!(rules[0]["evidence"]["count"], 4);
        assert!(!answer["yaml"].as_str().unwrap().contains('*'));
        assert_eq!(answer["wider"][0]["destination"], "*.hf.co", "said, not done");
        assert!(answer["yaml"].as_str().unwrap().contains("# Refused 4 times by mei-box."));
        assert!(answer["terraform"].as_str().unwrap().contains("azapi_resource\" \"cdn_1_hf_co\""));
        assert_eq!(
            answer["arm"]["properties"]["managedNetwork"]["outboundRules"]["cdn-2-hf-co"]["destination"],
            "cdn-2.hf.co"
        );
    }

    #[test]
    fn other_ports_and_addresses_are_said_as_they_were_seen() {
        let log = [
            refused(Some("git.example"), Some("203.0.113.1"), Some("TCP"), 9418),
            refused(None, Some("203.0.113.9"), Some("UDP"), 123),
            refused(None, Some("203.0.113.9"), Some("UDP"), 124),
        ];
        let answer = suggested(&log);
        let rules = answer["suggestions"].as_array().unwrap();
        let by_name = |name: &str| rules.iter().find(|rule| rule["name"] == name).unwrap()["properties"].clone();
        assert_eq!(by_name("git-example")["bastide"]["ports"], json!([9418]));
        let ntp = by_name("203-0-113-9-udp")["destination"].clone();
        assert_eq!((&ntp["portRanges"], &ntp["addressPrefixes"][0]), (&json!("123, 124"), &json!("203.0.113.9/32")));
    }

    #[test]
    fn no_suggestion_takes_the_name_of_another_or_of_a_rule_that_is_there() {
        let hosts =
            ["pypi.org", "a-very-long-name-of-a-bucket-one.example", "a-very-long-name-of-a-bucket-two.example"];
        let answer = suggested(&hosts.map(|host| refused(Some(host), None, None, 53)));
        let names: Vec<&str> =
            answer["suggestions"].as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["a-very-long-name-of-a-bucket", "a-very-long-name-of-a-bucket-2", "pypi-org-2"]);
    }

    #[test]
    fn nothing_is_suggested_that_would_be_refused_or_without_effect() {
        let denied =
            Refused { denied_by: Some("no-ntp".to_owned()), ..refused(None, Some("203.0.113.9"), Some("UDP"), 123) };
        let scan = (1000..1020).map(|port| refused(Some("many.example"), None, Some("TCP"), port));
        let log: Vec<Refused> = [
            denied,
            refused(None, Some("8.8.8.8"), Some("UDP"), 53),
            refused(Some("dns.example"), Some("203.0.113.1"), Some("TCP"), 853),
        ]
        .into_iter()
        .chain(scan)
        .collect();
        let answer = suggested(&log);
        assert_eq!(answer["suggestions"], json!([]), "{answer}");
        let none = answer["noRule"].as_array().unwrap();
        let told = |to: &str| none.iter().find(|none| none["destination"] == to).unwrap()["reason"].to_string();
        assert!(told("203.0.113.9").contains("Rule 'no-ntp' denies it"));
        assert!(told("8.8.8.8:53").contains("own resolver") && told("dns.example:853").contains("own resolver"));
        assert!(told("many.example").contains("20 ports"));
    }

    #[test]
    fn what_no_rule_lets_through_says_what_does() {
        let log = [
            refused(None, Some("10.1.2.3"), Some("TCP"), 5432),
            refused(Some("lake.blob.core.windows.net"), None, None, 53),
        ];
        let answer = suggested(&log);
        assert!(answer["suggestions"].as_array().unwrap().is_empty());
        let reasons = answer["noRule"].to_string();
        assert!(reasons.contains("external service") && reasons.contains("storage account"), "{reasons}");
    }
}
