//! Address ranges, IPv4 and IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Arguments, Function, pure};
use crate::data::Data;
use crate::error::Trouble;

pub(super) const FUNCTIONS: &[Function] =
    &[pure("cidrHost", 2, 2, cidr_host), pure("cidrSubnet", 3, 3, cidr_subnet), pure("parseCidr", 1, 1, parse_cidr)];

/// A network: its first address as a number, its prefix, and how many bits an address has.
#[derive(Clone, Copy)]
struct Network {
    first: u128,
    prefix: u32,
    bits: u32,
}

impl Network {
    fn read(args: &Arguments<'_>) -> Result<Self, Trouble> {
        let wrong = || Trouble::from("argument 1 must be a range such as '10.0.0.0/16'.");
        let (address, prefix) = args.text(0)?.split_once('/').ok_or_else(wrong)?;
        let (address, bits) = match address.parse().map_err(|_| wrong())? {
            IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
            IpAddr::V6(address) => (u128::from(address), 128),
        };
        let prefix = prefix.parse::<u32>().ok().filter(|prefix| *prefix <= bits).ok_or_else(wrong)?;
        let mut network = Self { first: address, prefix, bits };
        network.first = address & !network.host_mask();
        Ok(network)
    }

    fn host_mask(self) -> u128 {
        // A shift by all 128 bits would overflow; that is the mask of the whole IPv6 space.
        1_u128.checked_shl(self.bits - self.prefix).map_or(u128::MAX, |size| size - 1)
    }

    fn last(self) -> u128 {
        self.first | self.host_mask()
    }

    fn address(self, number: u128) -> String {
        match u32::try_from(number) {
            Ok(number) if self.bits == 32 => Ipv4Addr::from(number).to_string(),
            _ => Ipv6Addr::from(number).to_string(),
        }
    }

    fn cidr(self) -> String {
        format!("{}/{}", self.address(self.first), self.prefix)
    }

    /// The addresses hosts may have: without network and broadcast address where there are such.
    fn usable(self) -> (u128, u128) {
        match self.bits - self.prefix {
            0 | 1 => (self.first, self.last()),
            _ if self.bits == 32 => (self.first + 1, self.last() - 1),
            _ => (self.first + 1, self.last()),
        }
    }
}

fn parse_cidr(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let network = Network::read(args)?;
    let (first, last) = network.usable();
    let mask = network.last() ^ network.first;
    let all = if network.bits == 32 { u128::from(u32::MAX) } else { u128::MAX };
    let text = |number: u128| Data::text(network.address(number));
    let mut members = vec![("network", text(network.first)), ("netmask", text(all ^ mask))];
    if network.bits == 32 {
        members.push(("broadcast", text(network.last())));
    }
    members.extend([
        ("firstUsable", text(first)),
        ("lastUsable", text(last)),
        ("cidr", Data::Int(i64::from(network.prefix))),
    ]);
    Ok(Data::object(members.into_iter().map(|(name, value)| (name.into(), value)).collect()))
}

fn cidr_subnet(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let network = Network::read(args)?;
    let Some(prefix) = u32::try_from(args.int(1)?).ok().filter(|new| (network.prefix..=network.bits).contains(new))
    else {
        return Err(format!("argument 2 must be between {} and {}.", network.prefix, network.bits).into());
    };
    let subnet = Network { prefix, ..network };
    let index = u128::try_from(args.int(2)?).ok();
    let offset = index.and_then(|index| index.checked_mul(subnet.host_mask().checked_add(1)?));
    match offset.and_then(|offset| network.first.checked_add(offset)).filter(|first| *first <= network.last()) {
        Some(first) => Ok(Data::text(Network { first, ..subnet }.cidr())),
        // Without a size in 128 bits the subnet is the whole space, which has one subnet only.
        None if index == Some(0) => Ok(Data::text(subnet.cidr())),
        None => Err("argument 3 is beyond the last subnet of the range.".into()),
    }
}

/// Index 0 is the first usable address.
fn cidr_host(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let network = Network::read(args)?;
    let (first, last) = network.usable();
    let host = u128::try_from(args.int(1)?).ok().and_then(|index| first.checked_add(index));
    match host.filter(|host| *host <= last) {
        Some(host) => Ok(Data::text(network.address(host))),
        None => Err("argument 2 is beyond the last usable address of the range.".into()),
    }
}
