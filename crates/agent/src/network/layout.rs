//! What the namespaces of a hub and of its legs look like.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use bastide_plan::HubPlan;
use bastide_plan::hub_plan::Leg;
use ipnet::Ipv4Net;

use super::facts::Slot;
use super::interface::{Interface, Layout, Route, Setting};
use super::names::{INNER, UPLINK, host_interface, leg_interface, leg_namespace};

/// The hub's own namespace. `agent` is the number of a process on the host's side.
pub fn hub(plan: &HubPlan, slot: Slot, agent: u32) -> Layout {
    let mut layout = Layout::default();
    let mut add = |name: &str, interface| layout.interfaces.insert(name.to_owned(), interface);
    // The hub's own addresses are on the loopback interface: a kernel may be without dummy interfaces, and what is local
    // is answered for on every leg.
    let own = [plan.gateway()].into_iter().chain(plan.endpoints.iter().map(|endpoint| endpoint.address));
    let own: BTreeSet<_> = own.map(Ipv4Net::from).chain(LOOPBACK).collect();
    add("lo", Interface::up(String::new(), own));
    let made_by = format!("type veth peer name {} netns {agent}", host_interface(plan.hub));
    add(UPLINK, Interface::up(made_by, Ipv4Net::new(slot.hub_address(), 31)));
    for leg in &plan.legs {
        let made_by = format!("type veth peer name {INNER} netns {}", leg_namespace(leg.compute));
        add(&leg_interface(leg.compute), Interface::up(made_by, []));
        layout.routes.insert(Route::to(leg.address, &leg_interface(leg.compute)));
    }
    layout.routes.insert(Route::default_by(slot.host_address(), UPLINK));
    layout.routes.insert(Route::everything_here(CARRIED_TABLE));
    layout.marks.insert((CARRIED_MARK, CARRIED_TABLE));
    layout
}

/// The namespace that a compute runs in.
pub fn leg(leg: &Leg, gateway: Ipv4Addr) -> Layout {
    let mut layout = Layout::default();
    let own = LOOPBACK.into_iter().chain([METADATA.into()]);
    layout.interfaces.insert("lo".to_owned(), Interface::up(String::new(), own));
    layout.interfaces.insert(INNER.to_owned(), Interface::up(String::new(), [leg.address.into()]));
    layout.routes.insert(Route::default_by(gateway, INNER));
    layout
}

/// Where whoever runs inside asks who it is (compute.md 2.3). Local to each leg: no packet to it ever leaves.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// The address that loopback interfaces have by themselves.
const LOOPBACK: [Ipv4Net; 1] = [Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8)];

const fn needed(key: &'static str, value: &'static str) -> Setting {
    Setting { key, value, is_optional: false }
}

const fn wanted(key: &'static str, value: &'static str) -> Setting {
    Setting { key, value, is_optional: true }
}

/// The kernel's settings in a hub's namespace.
pub const HUB_SETTINGS: [Setting; 20] = [
    // A kernel without IPv6 has none to switch off.
    wanted("net/ipv6/conf/all/disable_ipv6", "1"),
    wanted("net/ipv6/conf/default/disable_ipv6", "1"),
    needed("net/ipv4/conf/all/rp_filter", "1"),
    needed("net/ipv4/conf/default/rp_filter", "1"),
    needed("net/ipv4/conf/all/accept_redirects", "0"),
    needed("net/ipv4/conf/default/accept_redirects", "0"),
    needed("net/ipv4/conf/all/send_redirects", "0"),
    needed("net/ipv4/conf/default/send_redirects", "0"),
    needed("net/ipv4/conf/all/accept_source_route", "0"),
    // Refusals are answers that a client waits for; the kernel would send one a second.
    needed("net/ipv4/icmp_ratelimit", "0"),
    // The middle of a connection that nobody saw begin is not a connection (egress.md row 23) ...
    needed("net/netfilter/nf_conntrack_tcp_loose", "0"),
    // ... but what merely comes late in one that is known must not be answered with a reset.
    needed("net/netfilter/nf_conntrack_tcp_be_liberal", "1"),
    // How much and how long a connection has carried is told when it ends ...
    wanted("net/netfilter/nf_conntrack_acct", "1"),
    wanted("net/netfilter/nf_conntrack_timestamp", "1"),
    // ... of those that the rule set names, and of no others.
    wanted("net/netfilter/nf_conntrack_events", "0"),
    // Closed connections give their place back soon: a leg has a share of the table only.
    wanted("net/netfilter/nf_conntrack_tcp_timeout_time_wait", "10"),
    wanted("net/netfilter/nf_conntrack_tcp_timeout_syn_recv", "10"),
    wanted("net/netfilter/nf_conntrack_tcp_timeout_established", "86400"),
    wanted("net/ipv4/ip_local_port_range", "10240 65535"),
    needed("net/ipv4/ip_forward", "1"),
];

/// The kernel's settings in a compute's namespace.
pub const LEG_SETTINGS: [Setting; 2] =
    [wanted("net/ipv6/conf/all/disable_ipv6", "1"), wanted("net/ipv6/conf/default/disable_ipv6", "1")];

/// As in the rule set.
const CARRIED_MARK: u32 = 1;

const CARRIED_TABLE: u32 = 100;
