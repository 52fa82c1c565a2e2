//! A plan as a rule set of nftables. Pure: the same plan and facts give the same text, byte for byte.
//!
//! A packet of a leg meets three questions. *May it be here?* (`origin`: the leg's own address, no options, IPv4.) *What is
//! it?* (`classify`: a new connection is marked as carried to the firewall, as let through by a rule, or not at all.) *Where
//! is it going?* (`input`, `forward`: only what carries the right mark passes; everything else is refused at once, so that
//! clients fail in milliseconds.) What is not asked about is dropped by the policy of the chain.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use bastide_plan::HubPlan;
use bastide_plan::hub_plan::{Action, Mode, PortRange, PrefixRule, Protocol};
use bastide_plan::log_prefix::LogPrefix;
use uuid::Uuid;

use super::facts::NodeFacts;
use super::names::leg_interface;
use super::ranges::Ranges;

/// The text of a hub's rule set, as `nft -f` reads it.
pub fn ruleset(plan: &HubPlan, facts: &NodeFacts) -> String {
    Ruleset::new(plan, facts).to_string()
}

/// A rule set, taken apart so that only what changed is sent to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    table: String,
    /// By name; a name says what the elements are, so that sets of one name are equal.
    sets: BTreeMap<String, String>,
    /// Sets that the kernel fills.
    meters: String,
    chains: String,
}

impl Ruleset {
    /// Compiles a plan.
    pub fn new(plan: &HubPlan, facts: &NodeFacts) -> Self {
        let mut writer = Writer { plan, facts, sets: BTreeMap::new(), chains: String::new() };
        writer.write();
        Self { table: TABLE.to_owned(), sets: writer.sets, meters: METERS.to_owned(), chains: writer.chains }
    }

    /// A rule set of sets and chains written elsewhere.
    pub(crate) fn of(table: &str, sets: BTreeMap<String, String>, chains: String) -> Self {
        Self { table: table.to_owned(), sets, meters: String::new(), chains }
    }

    /// Family and name of its table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Lets nothing through: for when a plan cannot be put in force.
    pub fn shut() -> Self {
        Self::of(TABLE, BTreeMap::new(), SHUT.to_owned())
    }

    /// One transaction that makes the kernel hold this rule set, whatever it held before.
    pub fn transaction(&self) -> String {
        // Adding first makes deleting succeed when there is none. All in one transaction: there is no moment without it.
        format!("add table {0}\ndelete table {0}\n{self}", self.table)
    }

    /// One transaction that turns `before`, which the kernel holds, into this one. Sets that stay are not sent again, and
    /// the kernel's counts of connections are kept.
    pub fn transaction_from(&self, before: &Self) -> String {
        if self.table != before.table || self.meters != before.meters {
            return self.transaction();
        }
        let table = &self.table;
        let mut text = format!("flush table {table}\ntable {table} {{\n");
        for (name, body) in self.sets.iter().filter(|(name, _)| !before.sets.contains_key(*name)) {
            write_set(&mut text, name, body);
        }
        let _ = writeln!(text, "{}}}", self.chains);
        for name in before.sets.keys().filter(|name| !self.sets.contains_key(*name)) {
            let _ = writeln!(text, "delete set {table} {name}");
        }
        text
    }
}

impl fmt::Display for Ruleset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sets = String::new();
        for (name, body) in &self.sets {
            write_set(&mut sets, name, body);
        }
        write!(formatter, "table {} {{\n{sets}{}{}}}\n", self.table, self.meters, self.chains)
    }
}

/// The name of a set that says what is in it, and its body.
pub(crate) fn set(label: &str, kind: &str, elements: &str) -> (String, String) {
    let mut body = format!("type {kind}\n");
    if !elements.is_empty() {
        let _ = writeln!(body, "elements = {{ {elements} }}");
    }
    // 64 bits of SHA-1: nobody but the planner chooses what goes in.
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, body.as_bytes()).simple().to_string();
    (format!("{label}_{}", digest.get(..16).unwrap_or(&digest)), body)
}

/// Elements joined as nft likes them.
pub(crate) fn join<T: fmt::Display>(elements: impl IntoIterator<Item = T>) -> String {
    let elements: Vec<_> = elements.into_iter().map(|element| element.to_string()).collect();
    elements.join(", ")
}

fn write_set(text: &mut String, name: &str, body: &str) {
    let _ = writeln!(text, "\tset {name} {{");
    for line in body.lines() {
        let _ = writeln!(text, "\t\t{line}");
    }
    let _ = writeln!(text, "\t}}");
}

struct Writer<'a> {
    plan: &'a HubPlan,
    facts: &'a NodeFacts,
    sets: BTreeMap<String, String>,
    chains: String,
}

impl Writer<'_> {
    fn write(&mut self) {
        let fragments =
            if self.is_approved() { vec!["ip frag-off & 0x3fff != 0x0 drop".to_owned()] } else { Vec::new() };
        // Before the kernel puts fragments together again (-400).
        self.chain("fragments", "type filter hook prerouting priority -450; policy accept;", &fragments);
        self.write_origin();
        self.write_classify();
        self.write_deliver();
        self.write_output();
        let subnet = self.plan.subnet;
        self.chain(
            "outbound",
            "type nat hook postrouting priority srcnat; policy accept;",
            &[format!("oifname \"uplink\" ip saddr {subnet} masquerade")],
        );
    }

    /// May it be here?
    fn write_origin(&mut self) {
        let legs = self.plan.legs.iter().map(|leg| format!("\"{}\" . {}", leg_interface(leg.compute), leg.address));
        let legs = self.set("legs", "ifname . ipv4_addr", &join(legs));
        let lines = [
            "iifname \"lo\" accept".to_owned(),
            "meta nfproto != ipv4 drop".to_owned(),
            "ip hdrlength != 5 drop".to_owned(),
            "iifname \"uplink\" accept".to_owned(),
            format!("iifname . ip saddr @{legs} accept"),
        ];
        self.chain("origin", "type filter hook prerouting priority raw; policy drop;", &lines);
    }

    /// What is it?
    fn write_classify(&mut self) {
        let inside =
            [self.plan.gateway()].into_iter().chain(self.plan.endpoints.iter().map(|endpoint| endpoint.address));
        let inside = self.set("inside", "ipv4_addr", &join(inside));
        let unreachable = self.unreachable();
        let mut lines = vec![
            "iifname != \"leg*\" accept".to_owned(),
            format!("ct mark {FORWARDED} accept"),
            format!("ct mark {CARRIED} meta l4proto tcp goto intercept"),
            "ct state != new accept".to_owned(),
            format!("add @connections {{ ip saddr ct count over {CONNECTIONS_PER_LEG} }} drop"),
            format!("ip daddr @{inside} accept"),
            format!("ip daddr @{unreachable} accept"),
            "meta l4proto != { tcp, udp, icmp } accept".to_owned(),
            "meta l4proto icmp icmp type != echo-request accept".to_owned(),
        ];
        if self.is_approved() {
            lines.push("meta l4proto { tcp, udp } th dport { 53, 853 } accept".to_owned());
        }
        let denials = self.lines(Action::Deny, |prefix| {
            format!(
                "meta mark set {LOGGED} update @logged {{ ip saddr limit rate 10/second burst 20 packets }} {}",
                log(prefix)
            )
        });
        if !denials.is_empty() {
            lines.extend(denials.into_iter().map(|line| format!("meta mark 0x0 {line}")));
            lines.push(format!("meta mark {LOGGED} accept"));
        }
        lines.extend(self.lines(Action::Allow, |prefix| format!("{} {} accept", forward(), log(prefix))));
        if self.is_approved() {
            let ports = join(self.ports());
            if !ports.is_empty() {
                lines.push(format!("tcp dport {{ {ports} }} ct mark set {CARRIED} goto intercept"));
            }
        } else {
            lines.push(format!("{} {} accept", forward(), log(&LogPrefix::new(true, None))));
        }
        self.chain("classify", "type filter hook prerouting priority mangle; policy accept;", &lines);
        let to = |port: u16| format!("tproxy ip to 127.0.0.1:{port} meta mark set {CARRIED} accept");
        let intercept = [format!("tcp dport 80 {}", to(HTTP_PORT)), format!("meta l4proto tcp {}", to(TLS_PORT))];
        self.chain("intercept", "", &intercept);
    }

    /// Where is it going?
    fn write_deliver(&mut self) {
        let gateway = self.plan.gateway();
        let services = self.plan.services.iter().map(|service| format!("{gateway} . {}", service.port));
        let endpoints = self.plan.endpoints.iter();
        let endpoints =
            endpoints.flat_map(|endpoint| endpoint.ports.iter().map(|port| format!("{} . {port}", endpoint.address)));
        let mut relays: Vec<_> = services.chain(endpoints).collect();
        relays.sort_unstable();
        relays.dedup();
        let relays = self.set("relays", "ipv4_addr . inet_service", &join(relays));
        let input = [
            "iifname \"lo\" accept".to_owned(),
            "ct state established,related accept".to_owned(),
            format!("iifname \"leg*\" meta mark {CARRIED} meta l4proto tcp ct state new accept"),
            format!("iifname \"leg*\" ip daddr {gateway} meta l4proto {{ tcp, udp }} th dport 53 ct state new accept"),
            format!("iifname \"leg*\" ip daddr . tcp dport @{relays} ct state new accept"),
            "iifname \"leg*\" goto refuse".to_owned(),
        ];
        self.chain("input", "type filter hook input priority filter; policy drop;", &input);
        let forward = [
            format!("ct mark {FORWARDED} ct state established,related accept"),
            format!("ct mark {FORWARDED} ct state new iifname \"leg*\" oifname \"uplink\" accept"),
            "iifname \"leg*\" goto refuse".to_owned(),
        ];
        self.chain("forward", "type filter hook forward priority filter; policy drop;", &forward);
        let refuse = [
            format!(
                "meta mark != {LOGGED} update @logged {{ ip saddr limit rate 10/second burst 20 packets }} {}",
                log(&LogPrefix::new(false, None))
            ),
            "meta l4proto tcp reject with tcp reset".to_owned(),
            "meta l4proto udp reject with icmp port-unreachable".to_owned(),
            "reject with icmp admin-prohibited".to_owned(),
        ];
        self.chain("refuse", "", &refuse);
    }

    /// What the hub itself sends: answers, refusals, and what its firewall asks of the internet for a leg.
    fn write_output(&mut self) {
        let externals = self.facts.externals.iter().map(|(address, port)| format!("{address} . {port}"));
        let externals = self.set("externals", "ipv4_addr . inet_service", &join(externals));
        let unreachable = self.unreachable();
        let user = self.facts.slot.user();
        let output = [
            "oifname \"lo\" accept".to_owned(),
            "ct state established,related accept".to_owned(),
            "oifname \"leg*\" tcp flags & rst == rst accept".to_owned(),
            "oifname \"leg*\" icmp type destination-unreachable accept".to_owned(),
            format!("oifname \"uplink\" meta skuid {user} meta l4proto tcp ct state new goto outward"),
            format!("meta skuid {user} reject with icmp admin-prohibited"),
        ];
        self.chain("output", "type filter hook output priority filter; policy drop;", &output);
        let mut outward = vec![
            format!("ip daddr . tcp dport @{externals} accept"),
            // The firewall looks before it connects; the kernel looks again (egress.md row 15).
            format!("ip daddr @{unreachable} reject with icmp admin-prohibited"),
        ];
        outward.extend(self.lines(Action::Deny, |_| "reject with icmp admin-prohibited".to_owned()));
        outward.push("accept".to_owned());
        self.chain("outward", "", &outward);
    }

    /// A line for each rule of an action that has addresses.
    fn lines(&mut self, action: Action, deed: impl Fn(&LogPrefix) -> String) -> Vec<String> {
        let mut lines = Vec::new();
        for rule in self.plan.prefixes.iter().filter(|rule| rule.action == action) {
            let ranges: Ranges = rule.prefixes.iter().copied().collect();
            if ranges.is_empty() {
                continue;
            }
            let prefixes = self.set("prefixes", "ipv4_addr\nflags interval", &ranges.to_string());
            let deed = deed(&prefix(action, rule));
            for kind in kinds(rule) {
                lines.push(format!("ip daddr @{prefixes} {kind} {deed}"));
            }
        }
        lines
    }

    /// The ports of the rules by name, sorted.
    fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<_> = self.plan.names.iter().flat_map(|rule| rule.ports.iter().copied()).collect();
        ports.extend(INTERCEPTED);
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    fn unreachable(&mut self) -> String {
        let ranges = Ranges::unreachable(&self.facts.filter, self.plan.subnet);
        self.set("unreachable", "ipv4_addr\nflags interval", &ranges.to_string())
    }

    fn is_approved(&self) -> bool {
        self.plan.mode == Mode::ApprovedOutbound
    }

    fn set(&mut self, label: &str, kind: &str, elements: &str) -> String {
        let (name, body) = set(label, kind, elements);
        self.sets.insert(name.clone(), body);
        name
    }

    fn chain(&mut self, name: &str, hook: &str, lines: &[String]) {
        write_chain(&mut self.chains, name, hook, lines);
    }
}

pub(crate) fn write_chain(text: &mut String, name: &str, hook: &str, lines: &[String]) {
    let _ = writeln!(text, "\tchain {name} {{");
    if !hook.is_empty() {
        let _ = writeln!(text, "\t\t{hook}");
    }
    for line in lines {
        let _ = writeln!(text, "\t\t{line}");
    }
    let _ = writeln!(text, "\t}}");
}

/// What a rule says about protocol and ports; raw protocols and ICMP errors were sorted out before.
fn kinds(rule: &PrefixRule) -> Vec<String> {
    let ports = |ports: &[PortRange]| if ports.is_empty() { None } else { Some(join(ports)) };
    match (rule.protocol, ports(&rule.ports)) {
        (Protocol::Tcp, None) => vec!["meta l4proto tcp".to_owned()],
        (Protocol::Tcp, Some(ports)) => vec![format!("tcp dport {{ {ports} }}")],
        (Protocol::Udp, None) => vec!["meta l4proto udp".to_owned()],
        (Protocol::Udp, Some(ports)) => vec![format!("udp dport {{ {ports} }}")],
        (Protocol::Icmp, _) => vec!["meta l4proto icmp".to_owned()],
        (Protocol::Any, None) => vec!["meta l4proto { tcp, udp, icmp }".to_owned()],
        (Protocol::Any, Some(ports)) => {
            vec![format!("meta l4proto {{ tcp, udp }} th dport {{ {ports} }}"), "meta l4proto icmp".to_owned()]
        }
    }
}

/// What the kernel's log says of a rule. One whose name nft would read as more than a name goes without it.
fn prefix(action: Action, rule: &PrefixRule) -> LogPrefix {
    let is_plain = rule.rule.0.chars().all(|each| (each == ' ' || each.is_ascii_graphic()) && !"\"\\$".contains(each));
    LogPrefix::new(action == Action::Allow, is_plain.then_some(&rule.rule))
}

/// Marks a connection as one that the kernel forwards, and whose end it tells.
fn forward() -> String {
    format!("ct mark set {FORWARDED} ct event set destroy")
}

fn log(prefix: &LogPrefix) -> String {
    format!("log prefix \"{prefix}\" group {LOG_GROUP} snaplen 96")
}

/// The table of a hub, in the hub's namespace.
pub const TABLE: &str = "inet bastide";

/// The group of the kernel's log that refused and admitted packets go to; the namespace is the hub's, so is the group.
pub const LOG_GROUP: u16 = 5;

/// Where the firewall takes what was on its way to port 80.
pub const HTTP_PORT: u16 = 8080;

/// Where it takes what was on its way to other ports of rules by name.
pub const TLS_PORT: u16 = 8443;

/// The mark of the routing rule, and of connections that the firewall carries.
pub const CARRIED: &str = "0x00000001";

/// The mark of connections that a rule by address, or the mode, lets through.
pub const FORWARDED: &str = "0x00000002";

/// Says that the log has the packet already.
const LOGGED: &str = "0x00000004";

/// The firewall looks at these even when no rule names them, so that it can say which rule is missing.
const INTERCEPTED: [u16; 2] = [80, 443];

/// A leg's share of the kernel's connection table, which has 262,144 places on the smallest machines we know.
const CONNECTIONS_PER_LEG: u32 = 8192;

const METERS: &str = "\tset connections {
\t\ttype ipv4_addr
\t\tsize 65535
\t\tflags dynamic
\t}
\tset logged {
\t\ttype ipv4_addr
\t\tsize 65535
\t\tflags dynamic,timeout
\t\ttimeout 1m
\t}
";

const SHUT: &str = "\tchain origin {
\t\ttype filter hook prerouting priority raw; policy drop;
\t}
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t}
\tchain forward {
\t\ttype filter hook forward priority filter; policy drop;
\t}
\tchain output {
\t\ttype filter hook output priority filter; policy drop;
\t}
";

#[cfg(test)]
mod tests;
