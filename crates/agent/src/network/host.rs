//! The host's side: where the hubs' ways out end, and what may pass between them and the world.
//!
//! One table of our own beside whatever the host has; it drops and refuses, and changes nothing for anybody else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bastide_plan::AddressFilter;
use bastide_plan::hub_plan::HubId;
use bastide_plan::worker::Transport;
use ipnet::Ipv4Net;
use thiserror::Error;

use super::facts::Slot;
use super::interface::{Layout, batch};
use super::names::host_interface;
use super::namespace::{Namespace, NamespaceError};
use super::obstacle::obstacles;
use super::ruleset::{Ruleset, join, set, write_chain};
use super::table::{Change, Table, TableError};
use super::upstream::resolvers;
use super::watcher::News;
use super::{socket, watcher};
use crate::state::{State, StateError};
use crate::tool::{self, ToolError};

/// The host's network namespace.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    state: Arc<State>,
    upstream: Option<SocketAddr>,
    internet: Vec<Ipv4Net>,
    table_name: String,
    held: Mutex<Held>,
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Held {
    table: Table,
    uplinks: BTreeMap<HubId, Uplink>,
    /// The host's own addresses.
    own: BTreeSet<Ipv4Addr>,
    resolvers: Vec<SocketAddr>,
    repairs: u64,
    /// What rules of others do to hubs.
    obstacles: Vec<String>,
}

/// A hub's way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// Its place.
    pub slot: Slot,
    /// Addresses and ports of this host that an Owner admitted.
    pub admitted: BTreeSet<(Ipv4Addr, u16)>,
    /// Those of them on its loopback, which the hub's firewall speaks to by sockets that are made here.
    pub beside: BTreeSet<(Ipv4Addr, u16)>,
}

/// Why the host's side could not be made to match.
#[derive(Debug, Error)]
pub enum HostError {
    /// The rule set.
    #[error(transparent)]
    Table(#[from] TableError),
    /// An interface.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// What is kept on disk.
    #[error(transparent)]
    State(#[from] StateError),
    /// The kernel's answers.
    #[error("the network of this host cannot be read: {0}")]
    Unread(#[from] io::Error),
    /// Forwarding.
    #[error("cannot switch {FORWARDING} on: {0}")]
    Forwarding(io::Error),
}

impl Host {
    /// For the namespace of the calling thread.
    pub fn open(state: Arc<State>, upstream: Option<SocketAddr>, internet: Vec<Ipv4Net>) -> Result<Self, HostError> {
        let namespace = Namespace::current().map_err(TableError::from)?;
        let id = state.node().id.simple().to_string();
        let mut held = Held {
            table: Table::open().map_err(TableError::from)?,
            uplinks: BTreeMap::new(),
            own: own_addresses()?,
            resolvers: resolvers(upstream),
            repairs: 0,
            obstacles: Vec::new(),
        };
        held.look_for_obstacles(obstacles());
        let table_name = format!("inet bastide_{}", id.get(..8).unwrap_or(&id));
        Ok(Self { namespace, state, upstream, internet, table_name, held: Mutex::new(held), turn: AtomicUsize::new(0) })
    }

    /// Looks after the host's side until `tell` says false; it is told when the addresses of the host have changed.
    pub fn watch(self: Arc<Self>, tell: impl Fn() -> bool + Send + 'static) -> Result<(), HostError> {
        let namespace = Arc::clone(&self);
        namespace.namespace.within(move || {
            watcher::watch(move |news| {
                match self.refresh(news) {
                    Ok(false) => {}
                    Ok(true) => return tell(),
                    Err(error) => tracing::error!("the host's side of the wall: {error}"),
                }
                // Asked with nothing new as well, so that an agent that has gone is noticed.
                news != News::Quiet || Arc::strong_count(&self) > 1
            })
        })?;
        Ok(())
    }

    /// Where names may lead.
    pub fn filter(&self) -> AddressFilter {
        let own = self.held().own.iter().copied().map(Ipv4Net::from).collect::<Vec<_>>();
        AddressFilter { internet: self.internet.clone(), own: [Slot::all_addresses()].into_iter().chain(own).collect() }
    }

    /// A place for a hub that neither `taken` nor anybody else on this host has.
    pub fn free_slot(&self, taken: &BTreeSet<Slot>) -> Option<Slot> {
        let layout = Layout::read().unwrap_or_default();
        let used = layout.interfaces.values().flat_map(|interface| &interface.addresses);
        let used: BTreeSet<_> = used.filter_map(|address| Slot::of(address.addr())).collect();
        Slot::free(|slot| taken.contains(&slot) || used.contains(&slot))
    }

    /// Readies the host for a hub's way out, before there is one: rules first.
    pub fn expect(&self, hub: HubId, uplink: Uplink) -> Result<(), HostError> {
        let mut held = self.held();
        held.uplinks.insert(hub, uplink);
        self.forward()?;
        self.settle(&mut held)
    }

    /// Connects the host's end of a hub's way out, which must be there.
    pub fn connect(&self, hub: HubId) -> Result<(), HostError> {
        let held = self.held();
        let Some(uplink) = held.uplinks.get(&hub) else { return Ok(()) };
        self.in_host(|| connect(hub, uplink))?
    }

    /// Forgets a hub's way out, which must be gone. With the last one, everything of ours goes.
    pub fn release(&self, hub: HubId) -> Result<(), HostError> {
        let mut held = self.held();
        held.uplinks.remove(&hub);
        if !held.uplinks.is_empty() {
            return self.settle(&mut held);
        }
        let table = &mut held.table;
        self.in_host(|| table.remove(&self.table_name))??;
        let others = self.in_host(|| tool::run("nft", &["list", "tables"], ""))??;
        if let Some(before) = self.state.node().forwarding_before {
            // Another Bastide on this host still needs it.
            if !others.contains("table inet bastide_") {
                self.in_host(|| fs::write(FORWARDING, &before))?.map_err(HostError::Forwarding)?;
            }
            self.state.change_node(|node| node.forwarding_before = None)?;
        }
        Ok(())
    }

    /// Moves the calling thread there, for good.
    pub fn enter(&self) -> Result<(), NamespaceError> {
        self.namespace.enter()
    }

    /// A socket to the host's resolver, for a user.
    pub fn upstream(&self, transport: Transport, user: u32) -> Result<OwnedFd, HostError> {
        let resolvers = self.held().resolvers.clone();
        // Each in its turn: one that is dead does not stop the others.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(resolvers.len()).unwrap_or(0);
        let resolver = resolvers.get(turn).copied().unwrap_or(SocketAddr::from(([127, 0, 0, 1], 53)));
        Ok(self.namespace.within(|| socket::spoken_for(resolver, transport, user))?)
    }

    /// A connection to a service of the host's loopback, for a user.
    pub fn beside(&self, to: SocketAddrV4, user: u32) -> Result<OwnedFd, HostError> {
        Ok(self.namespace.within(|| socket::spoken_for(to.into(), Transport::Tcp, user))?)
    }

    /// What rules of others do to hubs.
    pub fn obstacles(&self) -> Vec<String> {
        self.held().obstacles.clone()
    }

    /// How often somebody else's change was mended.
    pub fn repairs(&self) -> u64 {
        self.held().repairs
    }

    /// Reads everything again that may have changed. Whether the host's addresses have, or what stands in hubs' way.
    fn refresh(&self, news: News) -> Result<bool, HostError> {
        let obstacles = if news == News::Rules { Some(self.in_host(obstacles)?) } else { None };
        let own = if news == News::Interfaces { Some(self.in_host(own_addresses)??) } else { None };
        let mut held = self.held();
        held.resolvers = resolvers(self.upstream);
        let is_obstructed = obstacles.is_some_and(|obstacles| held.look_for_obstacles(obstacles));
        let is_moved = own.is_some_and(|own| {
            let is_moved = held.own != own;
            held.own = own;
            is_moved
        });
        let is_moved = is_moved || is_obstructed;
        if held.uplinks.is_empty() {
            return Ok(is_moved);
        }
        self.forward()?;
        self.settle(&mut held)?;
        if news == News::Quiet {
            let table = &mut held.table;
            self.in_host(|| table.memorise())??;
        }
        Ok(is_moved)
    }

    fn settle(&self, held: &mut Held) -> Result<(), HostError> {
        let ruleset = ruleset(&self.table_name, &held.uplinks, &held.resolvers);
        let change = self.in_host(|| held.table.hold(&ruleset))??;
        if change != Change::None {
            // At once, for it is small and others change tables of theirs beside it, such as another Bastide: what they do
            // must not look like a change of this one, which would be put back and look like one to them.
            self.in_host(|| held.table.memorise())??;
        }
        if change == Change::Repaired {
            held.repairs += 1;
            tracing::warn!("the host's table '{}' had been changed by somebody else; it is as it was", self.table_name);
        }
        Ok(())
    }

    /// Switches forwarding on, and remembers what it was.
    fn forward(&self) -> Result<(), HostError> {
        let now = self.in_host(|| fs::read_to_string(FORWARDING))?.map_err(HostError::Forwarding)?;
        if now.trim() == "1" {
            return Ok(());
        }
        self.state.change_node(|node| {
            node.forwarding_before.get_or_insert_with(|| now.trim().to_owned());
        })?;
        self.in_host(|| fs::write(FORWARDING, "1"))?.map_err(HostError::Forwarding)
    }

    fn in_host<T: Send>(&self, deed: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        self.namespace.within(|| Ok(deed()))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Takes note of what stands in the way of hubs. Whether that is new.
    fn look_for_obstacles(&mut self, found: Vec<String>) -> bool {
        for obstacle in found.iter().filter(|obstacle| !self.obstacles.contains(obstacle)) {
            tracing::warn!("{obstacle}");
        }
        let is_new = self.obstacles != found;
        self.obstacles = found;
        is_new
    }
}

fn connect(hub: HubId, uplink: &Uplink) -> Result<(), HostError> {
    let name = host_interface(hub);
    let found = Layout::read()?;
    let wanted = Ipv4Net::new(uplink.slot.host_address(), 31).unwrap_or_default();
    let is_there = |interface: &super::interface::Interface| interface.is_up && interface.addresses.contains(&wanted);
    if found.interfaces.get(&name).is_some_and(is_there) {
        return Ok(());
    }
    Ok(batch(&[format!("address replace {wanted} dev {name}"), format!("link set {name} up")])?)
}

fn ruleset(table: &str, uplinks: &BTreeMap<HubId, Uplink>, resolvers: &[SocketAddr]) -> Ruleset {
    let mut sets = BTreeMap::new();
    let mut add = |label, kind, elements: String| {
        let (name, body) = set(label, kind, &elements);
        sets.insert(name.clone(), body);
        name
    };
    let all = || uplinks.iter();
    let hubs = add("hubs", "ifname", join(all().map(|(hub, _)| format!("\"{}\"", host_interface(*hub)))));
    let source =
        |(hub, uplink): (&HubId, &Uplink)| format!("\"{}\" . {}", host_interface(*hub), uplink.slot.hub_address());
    let sources = add("sources", "ifname . ipv4_addr", join(all().map(source)));
    let admitted = all().flat_map(|(_, uplink)| {
        let source = uplink.slot.hub_address();
        uplink.admitted.iter().map(move |(address, port)| format!("{source} . {address} . {port}"))
    });
    let admitted = add("admitted", "ipv4_addr . ipv4_addr . inet_service", join(admitted));
    let beside = all().flat_map(|(_, uplink)| {
        let user = uplink.slot.user();
        uplink.beside.iter().map(move |(address, port)| format!("{user} . {address} . {port}"))
    });
    let beside = add("beside", "uid . ipv4_addr . inet_service", join(beside));
    let users = add("users", "uid", join(all().map(|(_, uplink)| uplink.slot.user())));
    let mut chains = String::new();
    let mut chain = |name, hook, lines: &[String]| write_chain(&mut chains, name, hook, lines);
    let origin = [
        format!("iifname @{hubs} meta nfproto != ipv4 drop"),
        // What a hub sends without its own rules (somebody flushed them) bears a leg's address, and ends here.
        format!("iifname @{hubs} iifname . ip saddr != @{sources} drop"),
    ];
    chain("origin", "type filter hook prerouting priority raw; policy accept;", &origin);
    let input = [
        format!("iifname @{hubs} ip saddr . ip daddr . tcp dport @{admitted} accept"),
        format!("iifname @{hubs} reject with icmp admin-prohibited"),
    ];
    chain("input", "type filter hook input priority filter - 10; policy accept;", &input);
    let forward = [
        format!("iifname @{hubs} oifname @{hubs} drop"),
        format!("oifname @{hubs} ct state established,related accept"),
        format!("oifname @{hubs} drop"),
        format!("iifname @{hubs} accept"),
    ];
    chain("forward", "type filter hook forward priority filter - 10; policy accept;", &forward);
    let mut output: Vec<_> = resolvers.iter().map(|resolver| speaks_to(&users, *resolver)).collect();
    output.push(format!("oifname \"lo\" meta skuid . ip daddr . tcp dport @{beside} accept"));
    output.push(format!("meta skuid @{users} drop"));
    chain("output", "type filter hook output priority filter - 10; policy accept;", &output);
    let outbound = [format!("iifname @{hubs} masquerade")];
    chain("outbound", "type nat hook postrouting priority srcnat; policy accept;", &outbound);
    Ruleset::of(table, sets, chains)
}

/// A firewall holds sockets of the host's side, to the resolver, and may use them for nothing else.
fn speaks_to(users: &str, resolver: SocketAddr) -> String {
    let family = match resolver.ip() {
        IpAddr::V4(_) => "ip",
        IpAddr::V6(_) => "ip6",
    };
    let (address, port) = (resolver.ip(), resolver.port());
    format!("meta skuid @{users} {family} daddr {address} meta l4proto {{ tcp, udp }} th dport {port} accept")
}

/// The IPv4 addresses of the calling thread's namespace, less loopback and the hubs' ways out.
fn own_addresses() -> Result<BTreeSet<Ipv4Addr>, HostError> {
    let layout = Layout::read()?;
    let addresses = layout.interfaces.values().flat_map(|interface| &interface.addresses).map(Ipv4Net::addr);
    Ok(addresses.filter(|address| !address.is_loopback() && Slot::of(*address).is_none()).collect())
}

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_host_side_of_two_hubs() {
        let slot = |wanted: usize| {
            let mut taken = BTreeSet::new();
            for _ in 0..wanted {
                taken.extend(Slot::free(|slot| taken.contains(&slot)));
            }
            Slot::free(|slot| taken.contains(&slot)).unwrap()
        };
        let admitted = BTreeSet::from([(Ipv4Addr::new(192, 0, 2, 2), 5432)]);
        let uplinks = BTreeMap::from([
            (
                HubId(Uuid::from_u128(1)),
                Uplink { slot: slot(0), admitted, beside: [(Ipv4Addr::LOCALHOST, 5432)].into() },
            ),
            (HubId(Uuid::from_u128(2)), Uplink { slot: slot(1), admitted: BTreeSet::new(), beside: BTreeSet::new() }),
        ]);
        let resolvers = ["192.0.2.53:53".parse().unwrap(), "[fd00::53]:5353".parse().unwrap()];
        insta::assert_snapshot!(ruleset("inet bastide_01234567", &uplinks, &resolvers));
    }
}
