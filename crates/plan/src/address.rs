//! Which addresses a name may lead to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// Tells the internet from what must stay out of reach, for answers of the resolver and again right before a connection
/// (egress.md row 15).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddressFilter {
    /// Ranges that count as internet although they are private (`--internet-range`); every status names them.
    pub internet: Vec<Ipv4Net>,
    /// Addresses of the host and of all hubs, wherever they are; out of reach even inside `internet`.
    pub own: Vec<Ipv4Net>,
}

/// Why an address is out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AddressClass {
    /// Of this host or of a hub.
    Own,
    /// RFC 1918, or shared address space (RFC 6598).
    Private,
    /// 127.0.0.0/8.
    Loopback,
    /// 169.254.0.0/16, where clouds keep their metadata services.
    LinkLocal,
    /// Multicast, broadcast, reserved, "this network".
    Special,
    /// IPv6, which hubs do not have.
    Ipv6,
}

impl AddressFilter {
    /// Why an address is out of reach; `None` when it is on the internet.
    pub fn refuses(&self, address: IpAddr) -> Option<AddressClass> {
        // Also v4-mapped and NAT64 addresses are IPv6 to us: there is no way to send to them that was not asked for in IPv4.
        let IpAddr::V4(address) = address else { return Some(AddressClass::Ipv6) };
        if self.own.iter().any(|net| net.contains(&address)) {
            return Some(AddressClass::Own);
        }
        let class = class(address)?;
        let is_lifted = class != AddressClass::Loopback
            && class != AddressClass::LinkLocal
            && self.internet.iter().any(|net| net.contains(&address));
        (!is_lifted).then_some(class)
    }
}

/// The ranges that are never the internet, for rule sets of the kernel.
pub const NOT_INTERNET: [(Ipv4Addr, u8); 11] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// 198.18.0.0/15 is not among them: it is for tests of networks (RFC 2544), and DESIGN lets it pass.
fn class(address: Ipv4Addr) -> Option<AddressClass> {
    let is_listed = NOT_INTERNET
        .iter()
        .any(|(network, length)| Ipv4Net::new(*network, *length).is_ok_and(|net| net.contains(&address)));
    if !is_listed {
        return None;
    }
    Some(match address.octets() {
        [127, ..] => AddressClass::Loopback,
        [169, 254, ..] => AddressClass::LinkLocal,
        [10 | 172 | 100, ..] | [192, 168, ..] => AddressClass::Private,
        _ => AddressClass::Special,
    })
}

impl fmt::Display for AddressClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Own => "an address of this host or of a hub",
            Self::Private => "a private address",
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "a link-local address, where metadata services live",
            Self::Special => "not an address of a host",
            Self::Ipv6 => "an IPv6 address, which hubs do not have",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(filter: &AddressFilter, address: &str) -> Option<AddressClass> {
        filter.refuses(address.parse().unwrap())
    }

    #[test]
    fn the_internet_and_the_range_for_tests_pass() {
        let filter = AddressFilter::default();
        for address in
            ["1.1.1.1", "172.15.0.1", "172.32.0.1", "198.18.0.1", "198.19.255.255", "203.0.113.80", "100.128.0.1"]
        {
            assert_eq!(class_of(&filter, address), None, "{address}");
        }
    }

    #[test]
    fn everything_of_row_15_is_out_of_reach() {
        let filter = AddressFilter::default();
        for (address, class) in [
            ("10.1.2.3", AddressClass::Private),
            ("172.16.0.1", AddressClass::Private),
            ("192.168.1.1", AddressClass::Private),
            ("100.64.0.1", AddressClass::Private),
            ("169.254.169.254", AddressClass::LinkLocal),
            ("127.0.0.53", AddressClass::Loopback),
            ("0.0.0.0", AddressClass::Special),
            ("224.0.0.251", AddressClass::Special),
            ("255.255.255.255", AddressClass::Special),
            ("::1", AddressClass::Ipv6),
            ("::ffff:1.1.1.1", AddressClass::Ipv6),
            ("64:ff9b::101:101", AddressClass::Ipv6),
        ] {
            assert_eq!(class_of(&filter, address), Some(class), "{address}");
        }
    }

    #[test]
    fn an_internet_range_lifts_private_ranges_only_and_never_our_own() {
        let filter = AddressFilter {
            internet: vec![
                "10.0.0.0/8".parse().unwrap(),
                "127.0.0.0/8".parse().unwrap(),
                "169.254.0.0/16".parse().unwrap(),
            ],
            own: vec!["10.0.0.5/32".parse().unwrap(), "203.0.113.1/32".parse().unwrap()],
        };
        assert_eq!(class_of(&filter, "10.0.0.4"), None);
        assert_eq!(class_of(&filter, "10.0.0.5"), Some(AddressClass::Own));
        assert_eq!(class_of(&filter, "203.0.113.1"), Some(AddressClass::Own));
        assert_eq!(class_of(&filter, "127.0.0.1"), Some(AddressClass::Loopback));
        assert_eq!(class_of(&filter, "169.254.169.254"), Some(AddressClass::LinkLocal));
    }
}
