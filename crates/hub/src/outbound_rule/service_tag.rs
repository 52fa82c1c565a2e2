//! Destinations by service tag or address prefix (mission.md G6, G7).

use std::net::{IpAddr, Ipv4Addr};

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::Parity;
use bastide_plan::address::NOT_INTERNET;
use ipnet::{IpNet, Ipv4Net};
use serde_json::{Map, Value, json};

use crate::field::{self, any_of, refused};
use crate::service_tag::{doubt, is_tag};

/// The destination of a service tag rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTagDestination {
    /// The tag, `AzureMonitor`; prefixes replace it.
    pub tag: Option<String>,
    /// `TCP`, `UDP`, `ICMP` or `*`.
    pub protocol: &'static str,
    /// The ports.
    pub ports: PortRanges,
    /// `Allow` or `Deny`.
    pub action: &'static str,
    /// Prefixes in CIDR form.
    pub prefixes: Vec<String>,
}

/// Ports as written, `80, 8080-8089`, and what that means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRanges {
    text: String,
    ranges: Vec<(u16, u16)>,
}

impl ServiceTagDestination {
    /// Reads a destination; `at` is its place in the body.
    pub fn read(fields: &Map<String, Value>, at: &str, parity: Parity) -> Result<Self, ArmError> {
        let tag = field::text(fields, "serviceTag", at)?.map(str::to_owned);
        if let Some(tag) = tag.as_deref().filter(|tag| !is_tag(tag)) {
            let message =
                format!("'{tag}' is not a service tag. Use a name such as AzureMonitor or Storage.WestEurope.");
            return Err(refused(&format!("{at}.serviceTag"), message));
        }
        if let Some(doubt) = tag.as_deref().filter(|_| parity == Parity::Strict).and_then(doubt) {
            return Err(refused(&format!("{at}.serviceTag"), doubt));
        }
        let prefixes = field::texts(fields, "addressPrefixes", at)?;
        if let Some(wrong) = prefixes.iter().find(|prefix| !is_prefix(prefix)) {
            let message = format!("'{wrong}' is not an address prefix. Use CIDR form, such as 192.0.2.0/24.");
            return Err(refused(&format!("{at}.addressPrefixes"), message));
        }
        if tag.is_none() && prefixes.is_empty() {
            return Err(refused(at, "A ServiceTag rule needs destination.serviceTag or destination.addressPrefixes."));
        }
        let protocol = match field::text(fields, "protocol", at)? {
            None => "*",
            Some(asked) if asked.eq_ignore_ascii_case("any") => "*",
            Some(asked) => PROTOCOLS.into_iter().find(|word| word.eq_ignore_ascii_case(asked)).ok_or_else(|| {
                let message = format!("'{asked}' is not a protocol. Use {}.", any_of(&PROTOCOLS));
                refused(&format!("{at}.protocol"), message)
            })?,
        };
        let ports = match field::text(fields, "portRanges", at)? {
            Some(text) => PortRanges::parse(text).map_err(|message| refused(&format!("{at}.portRanges"), message))?,
            None if matches!(protocol, "TCP" | "UDP") => {
                let message =
                    format!("A rule for {protocol} needs portRanges, such as '80, 8080-8089', or '*' for all.");
                return Err(refused(&format!("{at}.portRanges"), message));
            }
            None => PortRanges::all(),
        };
        let action = field::choice(fields, "action", at, &["Allow", "Deny"])?.unwrap_or("Allow");
        Ok(Self { tag, protocol, ports, action, prefixes })
    }

    /// What of it will have no effect, or hardly the one that was meant.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.tag.as_deref().and_then(doubt).into_iter().collect();
        match self.prefixes.iter().filter(|prefix| prefix.contains(':')).count() {
            0 => {}
            1 => warnings.push("An IPv6 prefix has no effect: hubs have no IPv6.".to_owned()),
            ipv6 => warnings.push(format!("{ipv6} IPv6 prefixes have no effect: hubs have no IPv6.")),
        }
        for (text, prefix) in self.ipv4() {
            if prefix.trunc() != prefix {
                warnings.push(format!("'{text}' stands for {}.", prefix.trunc()));
            }
            if self.is_allow() && is_private(prefix) {
                warnings.push(format!(
                    "'{text}' is no part of the internet, and stays closed unless the node counts it as such \
                     (--internet-range). Declare what is there as an external service, and lead a PrivateEndpoint rule to it."
                ));
            }
        }
        let is_told = !self.ports.is_all();
        if self.protocol == "ICMP" && is_told {
            warnings.push("ICMP has no ports: portRanges have no effect.".to_owned());
        } else if self.is_allow() && is_told && NAME_PORTS.iter().any(|port| self.ports.contains(*port)) {
            warnings.push(format!("{NAME_PORTS_CLOSED}."));
        }
        warnings
    }

    /// Whether it names no port that anything passes to.
    pub fn is_for_names_alone(&self) -> bool {
        let of_names = |(first, last): &(u16, u16)| (*first..=*last).all(|port| NAME_PORTS.contains(&port));
        self.is_allow() && matches!(self.protocol, "TCP" | "UDP") && self.ports.ranges.iter().all(of_names)
    }

    /// What it opens beside what is meant: what to call it in a sentence, and a sentence (mission.md F10, egress.md row 29).
    pub(crate) fn risk(&self) -> Option<(String, &'static str)> {
        if !self.is_allow() {
            return None;
        }
        if let Some((text, _)) = self.ipv4().find(|(_, prefix)| prefix.prefix_len() <= WIDE && !is_private(*prefix)) {
            return Some((
                format!("'{text}'"),
                "That is sixteen million addresses or more, whoever has them; data that is sent there is out.",
            ));
        }
        let tag = self.tag.as_deref().filter(|_| self.prefixes.is_empty())?;
        let is_below = |name: &str| {
            let (head, rest) = tag.split_at_checked(name.len()).unwrap_or_default();
            head.eq_ignore_ascii_case(name) && (rest.is_empty() || rest.starts_with('.'))
        };
        let is_anybodys = ANYBODYS.iter().any(|name| is_below(name));
        is_anybodys.then(|| {
            (format!("service tag '{tag}'"), "Anybody can have something there, and so receive what is sent to it.")
        })
    }

    fn is_allow(&self) -> bool {
        self.action == "Allow"
    }

    /// Prefixes as written, and what they are; a bare address is one of its own.
    fn ipv4(&self) -> impl Iterator<Item = (&str, Ipv4Net)> {
        let read = |text: &str| text.parse().ok().or_else(|| Some(Ipv4Net::from(text.parse::<Ipv4Addr>().ok()?)));
        self.prefixes.iter().filter_map(move |text| Some((text.as_str(), read(text)?)))
    }

    /// As stored and answered.
    pub fn to_value(&self) -> Value {
        let mut value = Map::new();
        if let Some(tag) = &self.tag {
            value.insert("serviceTag".into(), json!(tag));
        }
        value.insert("protocol".into(), json!(self.protocol));
        value.insert("portRanges".into(), json!(self.ports.text));
        value.insert("action".into(), json!(self.action));
        if !self.prefixes.is_empty() {
            value.insert("addressPrefixes".into(), json!(self.prefixes));
        }
        Value::Object(value)
    }
}

impl PortRanges {
    /// Reads `80, 8080-8089`; `*` is all ports. The error is a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "*" {
            return Ok(Self::all());
        }
        let wrong = |part: &str| {
            format!("'{part}' is not a port range. Use numbers from 1 to 65535, as in '80, 8080-8089', or '*'.")
        };
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (port(first), port(last)) {
                (Some(first), Some(last)) if first <= last => ranges.push((first, last)),
                _ => return Err(wrong(part.trim())),
            }
        }
        Ok(Self { text: text.trim().to_owned(), ranges })
    }

    /// First and last port of each range.
    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.ranges
    }

    fn is_all(&self) -> bool {
        self.text == "*"
    }

    fn contains(&self, port: u16) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&port))
    }

    fn all() -> Self {
        Self { text: "*".to_owned(), ranges: vec![(1, u16::MAX)] }
    }
}

/// Whether a text is an address or a range in CIDR form.
pub(crate) fn is_prefix(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || text.parse::<IpNet>().is_ok()
}

fn is_private(prefix: Ipv4Net) -> bool {
    let mut never = NOT_INTERNET.iter().filter_map(|(network, length)| Ipv4Net::new(*network, *length).ok());
    never.any(|network| network.contains(&prefix))
}

/// What no rule opens: DNS and DNS over TLS are for the hub's resolver alone.
pub(crate) const NAME_PORTS: [u16; 2] = [53, 853];

/// Why; part of a sentence.
pub(crate) const NAME_PORTS_CLOSED: &str =
    "Ports 53 and 853 stay closed: a hub asks its own resolver about names, and no other";

/// The longest prefix that is wide: a 256th of all addresses.
const WIDE: u8 = 8;

/// Tags whose addresses anybody can rent something behind.
const ANYBODYS: [&str; 5] = ["Internet", "AzureCloud", "AzureFrontDoor.Frontend", "AppService", "Storage"];

const PROTOCOLS: [&str; 4] = ["TCP", "UDP", "ICMP", "*"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_ranges_tolerate_blanks() {
        let ranges = |text: &str| PortRanges::parse(text).map(|ports| ports.ranges().to_vec());
        assert_eq!(ranges("80, 8080-8089"), Ok(vec![(80, 80), (8080, 8089)]));
        assert_eq!(ranges("80,443 , 1 - 2"), Ok(vec![(80, 80), (443, 443), (1, 2)]));
        assert_eq!(ranges("*"), Ok(vec![(1, 65535)]));
        for wrong in ["", ",", "80,", "0", "65536", "90-80", "a", "80-", "-80", "1-2-3", "8o"] {
            assert!(ranges(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn destinations_are_understood_or_refused_with_their_place() {
        let read =
            |value: Value| ServiceTagDestination::read(value.as_object().unwrap(), "destination", Parity::Native);
        let good = read(json!({"serviceTag": "Storage.WestEurope", "protocol": "tcp", "portRanges": "443"})).unwrap();
        assert_eq!(
            good.to_value(),
            json!({"serviceTag": "Storage.WestEurope", "protocol": "TCP", "portRanges": "443", "action": "Allow"})
        );
        assert_eq!(read(json!({"addressPrefixes": ["10.0.0.0/8", "::1"], "action": "deny"})).unwrap().action, "Deny");
        let cases = [
            (json!({}), "destination"),
            (json!({"serviceTag": "no tag"}), "destination.serviceTag"),
            (json!({"serviceTag": "A", "protocol": "SCTP"}), "destination.protocol"),
            (json!({"serviceTag": "A", "protocol": "TCP"}), "destination.portRanges"),
            (json!({"serviceTag": "A", "portRanges": "1-"}), "destination.portRanges"),
            (json!({"serviceTag": "A", "action": "Maybe"}), "destination.action"),
            (json!({"addressPrefixes": ["10.0.0.0/33"]}), "destination.addressPrefixes"),
            (json!({"addressPrefixes": "10.0.0.0/8"}), "destination.addressPrefixes"),
            (json!({"addressPrefixes": ["198.18.9.0/024"]}), "destination.addressPrefixes"),
            (json!({"addressPrefixes": ["198.18.9.0/+24"]}), "destination.addressPrefixes"),
        ];
        for (body, target) in cases {
            assert_eq!(read(body.clone()).unwrap_err().target.as_deref(), Some(target), "{body}");
        }
    }

    fn native(body: &Value) -> ServiceTagDestination {
        ServiceTagDestination::read(body.as_object().unwrap(), "destination", Parity::Native).unwrap()
    }

    #[test]
    fn what_of_a_rule_has_no_effect_or_another_one_is_said() {
        let of = |prefix: &str, protocol: &str, ports: &str, action: &str| {
            let body =
                json!({"addressPrefixes": [prefix], "protocol": protocol, "portRanges": ports, "action": action});
            native(&body).warnings().join(" ")
        };
        let cases = [
            (of("198.18.0.5/24", "TCP", "443", "Allow"), "stands for 198.18.0.0/24"),
            (of("10.1.0.0/16", "TCP", "443", "Allow"), "external service"),
            (of("198.18.0.0/24", "ICMP", "443", "Allow"), "ICMP has no ports"),
            (of("198.18.0.0/24", "UDP", "50-60", "Allow"), "Ports 53 and 853 stay closed"),
        ];
        for (warnings, expected) in cases {
            assert!(warnings.contains(expected), "{expected}: {warnings}");
        }
        for quiet in [
            of("198.18.0.0/24", "TCP", "443", "Allow"),
            of("198.18.0.7", "ICMP", "*", "Allow"),
            of("198.18.0.0/24", "*", "*", "Allow"),
            of("10.1.0.0/16", "TCP", "53", "Deny"),
        ] {
            assert_eq!(quiet, "");
        }
    }

    #[test]
    fn rules_for_other_resolvers_alone_are_told_from_rules_that_open_more() {
        let of = |protocol: &str, ports: &str| {
            native(&json!({"addressPrefixes": ["8.8.8.8"], "protocol": protocol, "portRanges": ports}))
                .is_for_names_alone()
        };
        assert!(of("UDP", "53") && of("TCP", "53, 853"));
        // A rule for all protocols opens ICMP as well.
        assert!(!of("UDP", "53-54") && !of("TCP", "*") && !of("*", "53"));
    }

    #[test]
    fn wide_ranges_and_tags_of_everybody_have_a_risk() {
        let risk = |body: Value| native(&body).risk().map(|(what, _)| what);
        assert_eq!(risk(json!({"addressPrefixes": ["192.0.2.0/24", "0.0.0.0/0"]})), Some("'0.0.0.0/0'".to_owned()));
        let tag = |tag: &str| risk(json!({"serviceTag": tag}));
        assert_eq!(tag("storage.westeurope"), Some("service tag 'storage.westeurope'".to_owned()));
        for harmless in ["StorageSyncService", "AzureFrontDoor.FirstParty", "AzureMonitor"] {
            assert_eq!(tag(harmless), None, "{harmless}");
        }
        assert_eq!(risk(json!({"serviceTag": "Storage", "addressPrefixes": ["192.0.2.0/24"]})), None);
        assert_eq!(risk(json!({"addressPrefixes": ["0.0.0.0/0"], "action": "Deny"})), None);
        assert_eq!(risk(json!({"addressPrefixes": ["10.0.0.0/8"]})), None, "it stays closed");
    }

    #[test]
    fn tags_that_the_cloud_does_not_have_are_doubted_and_under_strict_parity_refused() {
        let body = json!({"serviceTag": "AzureMonitr", "addressPrefixes": ["2001:db8::/32", "192.0.2.0/24"]});
        let read = |parity| ServiceTagDestination::read(body.as_object().unwrap(), "destination", parity);
        let warnings = read(Parity::Native).unwrap().warnings();
        assert!(warnings[0].contains("Is 'AzureMonitor' meant?") && warnings[1].contains("An IPv6"), "{warnings:?}");
        assert_eq!(read(Parity::Strict).unwrap_err().target.as_deref(), Some("destination.serviceTag"));
    }
}
