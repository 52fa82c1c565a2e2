//! Targets outside that an administrator declared, as addresses.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _};

use bastide_plan::AddressFilter;
use bastide_plan::address::AddressClass;
use bastide_plan::hub_plan::{HubPlan, RuleName, Target};

/// A declared target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct External<'a> {
    /// By which rule; none for a service of Bastide's.
    pub rule: Option<&'a RuleName>,
    /// A name or an address.
    pub host: &'a str,
    /// A TCP port.
    pub port: u16,
    /// Whether an Owner admitted addresses of this host.
    pub host_allowed: bool,
}

/// The declared targets of a plan.
pub fn externals(plan: &HubPlan) -> impl Iterator<Item = External<'_>> {
    let endpoints = plan.endpoints.iter().map(|endpoint| (Some(&endpoint.rule), endpoint.target.as_ref()));
    let services = plan.services.iter().map(|service| (None, Some(&service.target)));
    endpoints.chain(services).filter_map(|(rule, target)| match target? {
        Target::Server => None,
        Target::External { host, port, host_allowed } => {
            Some(External { rule, host, port: *port, host_allowed: *host_allowed })
        }
    })
}

/// Why a hub cannot be let through to an address of a declared target. None: it can.
pub fn refusal(external: External<'_>, address: Ipv4Addr, filter: &AddressFilter) -> Option<String> {
    let name = if external.host.parse::<Ipv4Addr>().is_ok() { String::new() } else { format!("{} is ", external.host) };
    match filter.refuses(address.into()) {
        Some(class @ (AddressClass::Own | AddressClass::LinkLocal | AddressClass::Loopback))
            if !external.host_allowed =>
        {
            Some(format!("{name}{address}, {class}: an Owner must admit it"))
        }
        Some(class @ (AddressClass::Special | AddressClass::Ipv6)) => Some(format!("{name}{address}, {class}")),
        _ => None,
    }
}

/// The IPv4 addresses of a name or address. May take as long as the host's resolver does.
pub fn look_up(host: &str) -> BTreeSet<Ipv4Addr> {
    if let Ok(address) = host.parse() {
        return BTreeSet::from([address]);
    }
    let found = (host, 0).to_socket_addrs().into_iter().flatten();
    let addresses = found.filter_map(|address| match address {
        SocketAddr::V4(address) => Some(*address.ip()),
        SocketAddr::V6(_) => None,
    });
    addresses.collect()
}
