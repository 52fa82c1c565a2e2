//! Interfaces, addresses, routes and routing rules of one network namespace: what is there, what should be, and the
//! commands in between.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::netlink::{AF_INET, Routing, address, attributes, number};
use crate::tool::{self, ToolError};

/// What one network namespace looks like, as far as we care.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// By name.
    pub interfaces: BTreeMap<String, Interface>,
    /// All but what the kernel makes by itself.
    pub routes: BTreeSet<Route>,
    /// The table that packets with a mark are routed by.
    pub marks: BTreeSet<(u32, u32)>,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// How to make it (`ip link add NAME ...`). Empty in what was read, and when others make it.
    pub made_by: String,
    /// Whether it is up.
    pub is_up: bool,
    /// Its IPv4 addresses.
    pub addresses: BTreeSet<Ipv4Net>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where it leads.
    pub destination: Ipv4Net,
    /// By whom. None: the destination is on the link.
    pub gateway: Option<Ipv4Addr>,
    /// By which interface.
    pub interface: String,
    /// In a table of its own: deliver here what goes there.
    pub local_table: Option<u32>,
}

impl Layout {
    /// Reads the namespace of the calling thread.
    pub fn read() -> io::Result<Self> {
        let kernel = Routing::open()?;
        let mut layout = Self::default();
        let mut names = BTreeMap::new();
        for answer in kernel.dump(RTM_GETLINK, 0)? {
            let Some((index, name, is_up)) = read_link(&answer) else { continue };
            names.insert(index, name.clone());
            layout.interfaces.insert(name, Interface { is_up, ..Interface::default() });
        }
        for answer in kernel.dump(RTM_GETADDR, AF_INET)? {
            let Some((index, address)) = read_address(&answer) else { continue };
            if let Some(interface) = names.get(&index).and_then(|name| layout.interfaces.get_mut(name)) {
                interface.addresses.insert(address);
            }
        }
        let routes = kernel.dump(RTM_GETROUTE, AF_INET)?;
        layout.routes = routes.iter().filter_map(|answer| read_route(answer, &names)).collect();
        layout.marks = kernel.dump(RTM_GETRULE, AF_INET)?.iter().filter_map(|answer| read_rule(answer)).collect();
        Ok(layout)
    }

    /// The commands, for `ip -batch`, that make `found` match. Empty: it does.
    pub fn changes(&self, found: &Self) -> Vec<String> {
        let mut commands = Vec::new();
        for name in found.interfaces.keys().filter(|name| !self.interfaces.contains_key(*name)) {
            if !BUILT_IN.contains(&name.as_str()) {
                commands.push(format!("link delete {name}"));
            }
        }
        for (name, wanted) in &self.interfaces {
            wanted.changes(name, found.interfaces.get(name), &mut commands);
        }
        let missing = self.routes.difference(&found.routes);
        commands.extend(missing.map(|route| format!("route replace {}", route.words())));
        // A route of a missing interface went with it.
        let is_stale = |route: &&Route| !self.routes.contains(*route) && self.interfaces.contains_key(&route.interface);
        commands.extend(found.routes.iter().filter(is_stale).map(|route| format!("route delete {}", route.words())));
        let rule = |verb: &str, (mark, table): &(u32, u32)| format!("rule {verb} fwmark {mark} lookup {table}");
        commands.extend(self.marks.difference(&found.marks).map(|mark| rule("add", mark)));
        commands.extend(found.marks.difference(&self.marks).map(|mark| rule("delete", mark)));
        commands
    }

    /// Makes the namespace of the calling thread match, and has read it back when it returns. Whether anything had to be
    /// done.
    pub fn establish(&self) -> Result<bool, ToolError> {
        let unreadable = |source| ToolError::NotRun { tool: "netlink", source };
        let mut outcome = Ok(());
        for attempt in 0..ATTEMPTS {
            let commands = self.changes(&Self::read().map_err(unreadable)?);
            if commands.is_empty() {
                return Ok(attempt > 0);
            }
            // What went by itself in the meantime cannot be deleted, and need not be: what counts is what is read next.
            outcome = batch(&commands);
        }
        outcome?;
        let complaint = format!("{} stays undone", self.changes(&Self::read().map_err(unreadable)?).join("; "));
        Err(ToolError::Failed { tool: "ip", complaint })
    }
}

impl Interface {
    /// One that is up.
    pub fn up(made_by: String, addresses: impl IntoIterator<Item = Ipv4Net>) -> Self {
        Self { made_by, is_up: true, addresses: addresses.into_iter().collect() }
    }

    fn changes(&self, name: &str, found: Option<&Self>, commands: &mut Vec<String>) {
        if found.is_none() && !self.made_by.is_empty() {
            commands.push(format!("link add {name} {}", self.made_by));
        }
        let nothing = Self::default();
        let found = found.unwrap_or(&nothing);
        let add = self.addresses.difference(&found.addresses);
        commands.extend(add.map(|address| format!("address add {address} dev {name}")));
        let delete = found.addresses.difference(&self.addresses);
        commands.extend(delete.map(|address| format!("address delete {address} dev {name}")));
        if self.is_up && !found.is_up {
            commands.push(format!("link set {name} up"));
        }
    }
}

impl Route {
    /// The way to everywhere else.
    pub fn default_by(gateway: Ipv4Addr, interface: &str) -> Self {
        Self {
            destination: Ipv4Net::default(),
            gateway: Some(gateway),
            interface: interface.to_owned(),
            local_table: None,
        }
    }

    /// The way to one address.
    pub fn to(address: Ipv4Addr, interface: &str) -> Self {
        Self { destination: address.into(), gateway: None, interface: interface.to_owned(), local_table: None }
    }

    /// Everything is here, in a table that only marked packets are routed by.
    pub fn everything_here(table: u32) -> Self {
        Self { destination: Ipv4Net::default(), gateway: None, interface: "lo".to_owned(), local_table: Some(table) }
    }

    fn words(&self) -> String {
        let Self { destination, gateway, interface, local_table } = self;
        match (local_table, gateway) {
            (Some(table), _) => format!("local {destination} dev {interface} table {table}"),
            (None, Some(gateway)) => format!("{destination} via {gateway} dev {interface} onlink"),
            (None, None) => format!("{destination} dev {interface} scope link"),
        }
    }
}

/// Runs commands of `ip` in one go, in the namespace of the calling thread; one that fails does not keep the others from
/// being done.
pub fn batch(commands: &[String]) -> Result<(), ToolError> {
    let mut text = commands.join("\n");
    text.push('\n');
    tool::run("ip", &["-force", "-batch", "-"], &text).map(|_| ())
}

/// Sets what the kernel keeps under `/proc/sys` for the network namespace of the calling thread. Whether anything had to
/// be done. What this kernel does not have is left out when it may be.
pub fn settle(settings: &[Setting]) -> io::Result<bool> {
    let mut has_changed = false;
    for setting in settings.iter().filter(|setting| !setting.holds()) {
        let path = setting.path();
        fs::write(&path, setting.value).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
        has_changed = true;
    }
    Ok(has_changed)
}

/// A value under `/proc/sys`.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its path there.
    pub key: &'static str,
    /// What it must be.
    pub value: &'static str,
    /// Whether a kernel without it will do.
    pub is_optional: bool,
}

impl Setting {
    /// Whether it is so in the network namespace of the calling thread.
    pub fn holds(&self) -> bool {
        match fs::read_to_string(self.path()) {
            Ok(found) => found.split_whitespace().eq(self.value.split_whitespace()),
            Err(error) => error.kind() == io::ErrorKind::NotFound && self.is_optional,
        }
    }

    fn path(&self) -> String {
        format!("/proc/sys/{}", self.key)
    }
}

/// Index, name, and whether it is up, of an answer to [`RTM_GETLINK`] (`struct ifinfomsg`).
fn read_link(answer: &[u8]) -> Option<(u32, String, bool)> {
    let index = number(answer.get(4..)?)?;
    let flags = number(answer.get(8..)?)?;
    let name = attribute(answer.get(16..)?, IFLA_IFNAME)?;
    let name = String::from_utf8_lossy(name.strip_suffix(&[0]).unwrap_or(name)).into_owned();
    Some((index, name, flags & IFF_UP != 0))
}

/// Index of the interface, and address, of an answer to [`RTM_GETADDR`] (`struct ifaddrmsg`).
fn read_address(answer: &[u8]) -> Option<(u32, Ipv4Net)> {
    let attributes = answer.get(8..)?;
    let local = address(attribute(attributes, IFA_LOCAL)?)?;
    Some((number(answer.get(4..)?)?, Ipv4Net::new(local, *answer.get(1)?).ok()?))
}

/// A route that somebody made, of an answer to [`RTM_GETROUTE`] (`struct rtmsg`).
fn read_route(answer: &[u8], names: &BTreeMap<u32, String>) -> Option<Route> {
    let &[_, length, _, _, _, protocol, _, kind, ..] = answer else { return None };
    if protocol == RTPROT_KERNEL {
        return None;
    }
    let attributes = answer.get(12..)?;
    let destination = attribute(attributes, RTA_DST).and_then(address).unwrap_or(Ipv4Addr::UNSPECIFIED);
    let interface = names.get(&attribute(attributes, RTA_OIF).and_then(number)?)?.clone();
    let table = attribute(attributes, RTA_TABLE).and_then(number);
    Some(Route {
        destination: Ipv4Net::new(destination, length).ok()?,
        gateway: attribute(attributes, RTA_GATEWAY).and_then(address),
        interface,
        local_table: table.filter(|_| kind == RTN_LOCAL),
    })
}

/// Mark and table, of an answer to [`RTM_GETRULE`] (`struct fib_rule_hdr`).
fn read_rule(answer: &[u8]) -> Option<(u32, u32)> {
    let attributes = answer.get(12..)?;
    Some((number(attribute(attributes, FRA_FWMARK)?)?, number(attribute(attributes, FRA_TABLE)?)?))
}

fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

// linux/rtnetlink.h
const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;
const RTM_GETROUTE: u16 = 26;
const RTM_GETRULE: u16 = 34;
const RTPROT_KERNEL: u8 = 2;
const RTN_LOCAL: u8 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_TABLE: u16 = 15;
// linux/if_link.h, linux/if.h, linux/if_addr.h, linux/fib_rules.h
const IFLA_IFNAME: u16 = 3;
const IFF_UP: u32 = 1;
const IFA_LOCAL: u16 = 2;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;

/// Made by some kernels in every namespace.
const BUILT_IN: [&str; 10] =
    ["lo", "ifb0", "ifb1", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "sit0", "ip6tnl0"];

/// The first brings the interfaces, the second what their coming up took away.
const ATTEMPTS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let mut layout = Layout::default();
        let own = Interface::up("type dummy".to_owned(), ["10.0.0.1/32".parse().unwrap()]);
        layout.interfaces.insert("hub0".to_owned(), own);
        layout.routes.insert(Route::to(Ipv4Addr::new(10, 0, 0, 7), "hub0"));
        layout.routes.insert(Route::everything_here(100));
        layout.marks.insert((1, 100));
        layout
    }

    #[test]
    fn what_matches_takes_no_command() {
        assert_eq!(layout().changes(&layout()), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_made_in_an_order_that_works() {
        assert_eq!(
            layout().changes(&Layout::default()),
            [
                "link add hub0 type dummy",
                "address add 10.0.0.1/32 dev hub0",
                "link set hub0 up",
                "route replace local 0.0.0.0/0 dev lo table 100",
                "route replace 10.0.0.7/32 dev hub0 scope link",
                "rule add fwmark 1 lookup 100",
            ]
        );
    }

    #[test]
    fn what_is_too_much_is_taken_away() {
        let mut found = layout();
        found.interfaces.insert("eth7".to_owned(), Interface::default());
        found.interfaces.get_mut("hub0").unwrap().addresses.insert("10.0.0.9/32".parse().unwrap());
        found.routes.insert(Route::to(Ipv4Addr::new(10, 0, 0, 8), "hub0"));
        assert_eq!(
            layout().changes(&found),
            ["link delete eth7", "address delete 10.0.0.9/32 dev hub0", "route delete 10.0.0.8/32 dev hub0 scope link"]
        );
    }
}
