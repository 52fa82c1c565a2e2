//! Destinations by service tag or address prefix (mission.md G6, G7).

use std::net::IpAddr;

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::Parity;
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
        let ipv6 = self.prefixes.iter().filter(|prefix| prefix.contains(':')).count();
        if ipv6 > 0 {
            warnings.push(format!("{ipv6} IPv6 prefixes have no effect: hubs have no IPv6."));
        }
        warnings
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

    fn all() -> Self {
        Self { text: "*".to_owned(), ranges: vec![(1, u16::MAX)] }
    }
}

/// Whether a text is an address or a range in CIDR form.
pub(crate) fn is_prefix(text: &str) -> bool {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    length.is_none_or(|length| length.parse::<u8>().is_ok_and(|length| length <= most))
}

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
        ];
        for (body, target) in cases {
            assert_eq!(read(body.clone()).unwrap_err().target.as_deref(), Some(target), "{body}");
        }
    }
    #[test]
    fn tags_that_the_cloud_does_not_have_are_doubted_and_under_strict_parity_refused() {
        let body = json!({"serviceTag": "AzureMonitr", "addressPrefixes": ["2001:db8::/32", "192.0.2.0/24"]});
        let read = |parity| ServiceTagDestination::read(body.as_object().unwrap(), "destination", parity);
        let warnings = read(Parity::Native).unwrap().warnings();
        assert!(warnings[0].contains("Is 'AzureMonitor' meant?") && warnings[1].contains("1 IPv6"), "{warnings:?}");
        assert_eq!(read(Parity::Strict).unwrap_err().target.as_deref(), Some("destination.serviceTag"));
    }
}
