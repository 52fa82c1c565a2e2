//! A kernel for one packet: reads the text of a rule set as nft does, as far as Bastide writes it, and panics at anything
//! else, so that nothing new in a rule set goes untried.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use bastide_plan::hub_plan::Protocol;
use bastide_plan::packet::Packet;

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It reached a listener at an address of the hub's.
    Delivered,
    /// It reached the firewall, wherever it was going.
    Carried,
    /// It left by the uplink.
    Forwarded,
    /// None of these.
    Refused,
}

/// The rule set of a hub, and the leg from which packets come.
pub struct Kernel {
    sets: BTreeMap<String, Vec<String>>,
    chains: BTreeMap<String, Vec<String>>,
    interface: String,
    source: Ipv4Addr,
    local: BTreeSet<Ipv4Addr>,
}

/// The packet on its way.
struct Way<'a> {
    kernel: &'a Kernel,
    packet: Packet,
    mark: u32,
    connection_mark: u32,
    is_forwarding: bool,
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Accept,
    Drop,
}

impl Kernel {
    pub fn new(text: &str, interface: String, source: Ipv4Addr, local: BTreeSet<Ipv4Addr>) -> Self {
        let (mut sets, mut chains) = (BTreeMap::new(), BTreeMap::new());
        let mut block: Option<(bool, String, Vec<String>)> = None;
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("set ").or_else(|| line.strip_prefix("chain ")) {
                block = Some((line.starts_with("set"), name.trim_end_matches(" {").to_owned(), Vec::new()));
            } else if line == "}" {
                if let Some((is_set, name, lines)) = block.take() {
                    if is_set {
                        sets.insert(name, elements(&lines))
                    } else {
                        chains.insert(name, lines)
                    };
                }
            } else if let Some((_, _, lines)) = &mut block {
                lines.push(line.to_owned());
            }
        }
        Self { sets, chains, interface, source, local }
    }

    /// Sends the first packet of a connection from the leg.
    pub fn send(&self, packet: Packet) -> Fate {
        let mut way = Way { kernel: self, packet, mark: 0, connection_mark: 0, is_forwarding: false };
        for chain in ["fragments", "origin", "classify"] {
            if self.chains.contains_key(chain) && way.pass(chain) == Verdict::Drop {
                return Fate::Refused;
            }
        }
        let is_carried = way.mark == 1;
        way.is_forwarding = !is_carried && !self.local.contains(&packet.address);
        match (way.pass(if way.is_forwarding { "forward" } else { "input" }), way.is_forwarding, is_carried) {
            (Verdict::Drop, ..) => Fate::Refused,
            (Verdict::Accept, true, _) => Fate::Forwarded,
            (Verdict::Accept, false, true) => Fate::Carried,
            (Verdict::Accept, false, false) => Fate::Delivered,
        }
    }
}

impl Way<'_> {
    fn pass(&mut self, chain: &str) -> Verdict {
        let lines = &self.kernel.chains[chain];
        let mut policy = Verdict::Accept;
        for line in lines {
            if line.starts_with("type ") {
                policy = if line.contains("policy drop") { Verdict::Drop } else { Verdict::Accept };
            } else if let Some(verdict) = self.line(line) {
                return verdict;
            }
        }
        policy
    }

    /// What a line decides, if it does.
    fn line(&mut self, line: &str) -> Option<Verdict> {
        let mut rest = line;
        loop {
            rest = rest.trim_start();
            if rest.is_empty() {
                return None;
            }
            if rest == "accept" {
                return Some(Verdict::Accept);
            }
            if rest == "drop" || rest.starts_with("reject") {
                return Some(Verdict::Drop);
            }
            if let Some(chain) = rest.strip_prefix("goto ") {
                return Some(self.pass(chain));
            }
            let (holds, after) = self.word(rest);
            if !holds {
                return None;
            }
            rest = after;
        }
    }

    /// Does or asks what a line begins with: whether it holds, and what comes after it.
    fn word<'t>(&mut self, text: &'t str) -> (bool, &'t str) {
        let Packet { address, protocol, port } = self.packet;
        let has_port = matches!(protocol, Some(Protocol::Tcp | Protocol::Udp));
        if let Some(rest) = text.strip_prefix("meta mark set ") {
            let (value, rest) = item(rest);
            self.mark = number(value);
            return (true, rest);
        }
        if let Some(rest) = text.strip_prefix("ct mark set ") {
            let (value, rest) = item(rest);
            self.connection_mark = number(value);
            return (true, rest);
        }
        if let Some(rest) = text.strip_prefix("ct event set ") {
            return (true, item(rest).1);
        }
        if let Some(rest) = text.strip_prefix("iifname . ip saddr ") {
            let (set, rest) = item(rest);
            return (self.has(set, &format!("\"{}\" . {}", self.kernel.interface, self.kernel.source)), rest);
        }
        if let Some(rest) = text.strip_prefix("ip daddr . tcp dport ") {
            let (set, rest) = item(rest);
            return (protocol == Some(Protocol::Tcp) && self.has(set, &format!("{address} . {port}")), rest);
        }
        for (word, value) in [
            ("iifname ", format!("\"{}\"", self.kernel.interface)),
            ("oifname ", if self.is_forwarding { "\"uplink\"".to_owned() } else { String::new() }),
            ("meta nfproto ", "ipv4".to_owned()),
            ("ip hdrlength ", "5".to_owned()),
            ("ip frag-off & 0x3fff ", "0x0".to_owned()),
            ("ct mark ", format!("{:#x}", self.connection_mark)),
            ("ct state ", "new".to_owned()),
            ("meta mark ", format!("{:#x}", self.mark)),
            ("meta l4proto ", name(protocol).to_owned()),
            ("icmp type ", if protocol == Some(Protocol::Icmp) { "echo-request".to_owned() } else { String::new() }),
            ("ip daddr ", address.to_string()),
            ("tcp dport ", if protocol == Some(Protocol::Tcp) { port.to_string() } else { String::new() }),
            ("udp dport ", if protocol == Some(Protocol::Udp) { port.to_string() } else { String::new() }),
            ("th dport ", if has_port { port.to_string() } else { String::new() }),
        ] {
            let Some(rest) = text.strip_prefix(word) else { continue };
            let (is_negated, rest) = match rest.strip_prefix("!= ") {
                Some(rest) => (true, rest),
                None => (false, rest),
            };
            let (wanted, rest) = item(rest);
            return (self.has(wanted, &value) != is_negated && !value.is_empty(), rest);
        }
        if text.starts_with("add @connections ") {
            // No compute here has that many.
            return (false, "");
        }
        if text.starts_with("update @logged ") {
            return (true, text.split_once('}').unwrap().1);
        }
        if let Some(rest) = text.strip_prefix("log prefix \"") {
            let rest = rest.split_once("\" group ").unwrap().1;
            return (true, item(rest).1.trim_start_matches("snaplen 96"));
        }
        if let Some(rest) = text.strip_prefix("tproxy ip to ") {
            return (true, item(rest).1);
        }
        panic!("a rule set says what this kernel does not know: {text}");
    }

    fn has(&self, wanted: &str, value: &str) -> bool {
        if let Some(set) = wanted.strip_prefix('@') {
            return self.kernel.sets[set].iter().any(|element| is(element, value));
        }
        let listed = wanted.trim_start_matches('{').trim_end_matches('}');
        listed.split(',').any(|element| is(element.trim(), value))
    }
}

/// Whether an element of a set is, or holds, a value.
fn is(element: &str, value: &str) -> bool {
    if let Some(prefix) = element.strip_suffix("*\"") {
        return value.starts_with(prefix);
    }
    if let (Some((first, last)), false) = (element.split_once('-'), element.contains('"')) {
        if let (Ok(first), Ok(last), Ok(value)) =
            (first.parse::<Ipv4Addr>(), last.parse::<Ipv4Addr>(), value.parse::<Ipv4Addr>())
        {
            return first <= value && value <= last;
        }
        if let (Ok(first), Ok(last), Ok(value)) = (first.parse::<u16>(), last.parse::<u16>(), value.parse::<u16>()) {
            return first <= value && value <= last;
        }
    }
    match (element.strip_prefix("0x"), value.strip_prefix("0x")) {
        (Some(one), Some(other)) => u32::from_str_radix(one, 16).unwrap() == u32::from_str_radix(other, 16).unwrap(),
        _ => element == value,
    }
}

/// The next word, or list in braces, and what comes after it.
fn item(text: &str) -> (&str, &str) {
    if text.starts_with('{') {
        return text.split_at(text.find('}').unwrap() + 1);
    }
    text.split_once(' ').unwrap_or((text, ""))
}

fn elements(lines: &[String]) -> Vec<String> {
    let listed = lines.iter().find_map(|line| line.strip_prefix("elements = {"));
    let listed = listed.map(|rest| rest.trim_end_matches('}').trim());
    listed
        .unwrap_or_default()
        .split(',')
        .map(|element| element.trim().to_owned())
        .filter(|text| !text.is_empty())
        .collect()
}

fn number(text: &str) -> u32 {
    u32::from_str_radix(text.trim_start_matches("0x"), if text.starts_with("0x") { 16 } else { 10 }).unwrap()
}

fn name(protocol: Option<Protocol>) -> &'static str {
    match protocol {
        Some(Protocol::Tcp) => "tcp",
        Some(Protocol::Udp) => "udp",
        Some(Protocol::Icmp) => "icmp",
        Some(Protocol::Any) | None => "gre",
    }
}
