//! The kernel's log, as records of the flow log.
//!
//! The kernel tells the first packet of whatever a rule logs over a socket of `nfnetlink_log`, and the end of each connection
//! that it forwarded over one of `ctnetlink`; the agent has bound both. What was refused is a record at once; what was let
//! through is one when it is over, with the bytes both ways. The packet's bytes are a stranger's; everything around them is
//! the kernel's, and is read as strictly all the same. Of what the crates for netlink offer nothing reads the packet inside,
//! so there would be two readers; this one is small and has no other use.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bastide_plan::RuleName;
use bastide_plan::flow::{FlowKind, FlowRecord, FlowVerdict};
use bastide_plan::hub_plan::Protocol;
use bastide_plan::log_prefix::LogPrefix;
use bastide_plan::policy::AddressVerdict;

use crate::clock::Clock;
use crate::ending::{Ending, Ends, endings};
use crate::explain::{missing_address, sentence};
use crate::flow_log::FlowLog;
use crate::netlink::{Heard, Messages, attributes, hear};
use crate::resolver::Resolver;
use crate::view::{CurrentView, View};

/// Turns what the kernel logs into records.
#[derive(Debug)]
pub struct KernelLog {
    view: Arc<CurrentView>,
    /// Knows which names lead to an address.
    resolver: Arc<Resolver>,
    log: Arc<FlowLog>,
    clock: Arc<dyn Clock>,
    open: Mutex<Open>,
}

/// Connections that were let through and are not over, as far as there is room: of one that is not among them the kernel
/// says enough at its end.
#[derive(Debug, Default)]
struct Open {
    /// By the order in which they came.
    records: BTreeMap<u64, (Ends, FlowRecord)>,
    places: HashMap<Ends, u64>,
    next: u64,
}

/// A packet that the kernel has logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// What the rule says about it.
    pub prefix: LogPrefix,
    /// Whence and whereto.
    pub ends: Ends,
    /// Its bytes, headers included.
    pub length: u16,
}

impl KernelLog {
    /// Decides by `view`, and writes to `log`.
    pub fn new(view: Arc<CurrentView>, resolver: Arc<Resolver>, log: Arc<FlowLog>, clock: Arc<dyn Clock>) -> Self {
        Self { view, resolver, log, clock, open: Mutex::default() }
    }

    /// Reads packets from a socket for as long as it can be read.
    pub async fn read_packets(self: Arc<Self>, socket: OwnedFd) {
        let outcome = hear(socket, |heard| match heard {
            Heard::Datagram(datagram) => self.note_packets(datagram),
            // That something is missing is said.
            Heard::Gap => self.log.lose(1),
        });
        if let Err(error) = outcome.await {
            tracing::error!(%error, "what the kernel refuses is no longer logged");
        }
    }

    /// Reads endings from a socket for as long as it can be read.
    pub async fn read_endings(self: Arc<Self>, socket: OwnedFd) {
        let outcome = hear(socket, |heard| match heard {
            Heard::Datagram(datagram) => self.note_endings(datagram),
            Heard::Gap => self.log.lose(1),
        });
        if let Err(error) = outcome.await {
            tracing::error!(%error, "what the kernel forwards is no longer logged");
        }
    }

    /// Records of connections that the kernel forwards, as they are now. How much they have carried it says at the end.
    pub fn records(&self) -> Vec<FlowRecord> {
        let now = self.clock.millis();
        let lasting = |record: &FlowRecord| u64::try_from(now.saturating_sub(record.at)).unwrap_or(0);
        let open = self.open();
        open.records.values().map(|(_, record)| FlowRecord { duration: lasting(record), ..record.clone() }).collect()
    }

    fn note_packets(&self, datagram: &[u8]) {
        let Some(view) = self.view.load() else { return };
        for packet in packets(datagram) {
            let rule = packet.prefix.rule_of(&view.policy.rest().prefixes);
            // Withdrawn since, it has decided all the same.
            let rule = rule.or_else(|| packet.prefix.rule.clone().map(RuleName));
            let record = FlowRecord { sent: packet.length.into(), ..self.record(&view, &packet.ends, rule) };
            if packet.prefix.allowed {
                self.open().begin(packet.ends, record);
            } else {
                self.log.push(self.denied(&view, record));
            }
        }
    }

    fn note_endings(&self, datagram: &[u8]) {
        let Some(view) = self.view.load() else { return };
        for ending in endings(datagram) {
            let begun = self.open().end(&ending.ends);
            let begun = begun.unwrap_or_else(|| self.record(&view, &ending.ends, admitting(&view, &ending.ends)));
            self.log.push(ended(&view, &ending, begun, self.clock.millis()));
        }
    }

    /// What is known of a connection by its ends.
    fn record(&self, view: &View, ends: &Ends, rule: Option<RuleName>) -> FlowRecord {
        let leg = view.leg(ends.source);
        FlowRecord {
            at: self.clock.millis(),
            duration: 0,
            compute: leg.map(|leg| leg.name.clone()),
            project: leg.and_then(|leg| leg.project.clone()),
            source: ends.source,
            kind: ends.kind,
            name: self.resolver.name_of(ends.destination).map(|name| name.to_string()),
            address: Some(ends.destination),
            port: ends.port,
            verdict: FlowVerdict::Allowed,
            rule,
            reason: None,
            sent: 0,
            received: 0,
            count: 1,
        }
    }

    fn denied(&self, view: &View, record: FlowRecord) -> FlowRecord {
        let destination = record.address.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let reason = match &record.rule {
            Some(rule) => format!("Rule '{rule}' denies it."),
            None => {
                let name = self.resolver.name_of(destination);
                let missing = missing_address(view, record.kind, destination, record.port, name.as_ref());
                sentence(&missing.reason, &missing.advice)
            }
        };
        FlowRecord { verdict: FlowVerdict::Denied, reason: Some(reason), ..record }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn begin(&mut self, ends: Ends, record: FlowRecord) {
        // The kernel knows one connection between two ends at a time: an earlier one is over, and its end was not heard.
        self.end(&ends);
        if self.records.len() >= MOST_OPEN
            && let Some((_, (oldest, _))) = self.records.pop_first()
        {
            self.places.remove(&oldest);
        }
        self.places.insert(ends, self.next);
        self.records.insert(self.next, (ends, record));
        self.next += 1;
    }

    fn end(&mut self, ends: &Ends) -> Option<FlowRecord> {
        let place = self.places.remove(ends)?;
        self.records.remove(&place).map(|(_, record)| record)
    }
}

/// The record of a connection that is over.
fn ended(view: &View, ending: &Ending, begun: FlowRecord, now: i64) -> FlowRecord {
    let at = ending.began.unwrap_or(begun.at);
    let lasted = u64::try_from(ending.given_up.unwrap_or(now).saturating_sub(at)).unwrap_or(0);
    let (verdict, reason) = match ending.is_cut {
        true if view.leg(ending.ends.source).is_none() => {
            (FlowVerdict::Cut, Some("Its compute was removed from the hub."))
        }
        true => (FlowVerdict::Cut, Some("Nothing lets it through any more.")),
        false if ending.ends.kind == FlowKind::Tcp && !ending.is_answered => {
            (FlowVerdict::Failed, Some("The destination did not answer."))
        }
        false => (FlowVerdict::Allowed, None),
    };
    FlowRecord {
        at,
        duration: lasted.saturating_sub(ending.silence),
        verdict,
        reason: reason.map(str::to_owned),
        sent: ending.sent,
        received: ending.received,
        ..begun
    }
}

/// The rule that lets a connection through at this moment. None: the mode does.
fn admitting(view: &View, ends: &Ends) -> Option<RuleName> {
    let protocol = match ends.kind {
        FlowKind::Udp => Protocol::Udp,
        FlowKind::Icmp => Protocol::Icmp,
        _ => Protocol::Tcp,
    };
    match view.policy.address(ends.destination, protocol, ends.port) {
        AddressVerdict::Rule(rule) => Some(rule.rule.clone()),
        _ => None,
    }
}

/// The packets in a datagram of the kernel. What is not one of ours, or not IPv4, is passed over.
pub fn packets(datagram: &[u8]) -> impl Iterator<Item = Packet> {
    Messages(datagram).filter_map(|message| if message.kind == PACKET { packet(message.body) } else { None })
}

/// Reads a message of `nfnetlink_log` (`linux/netfilter/nfnetlink_log.h`).
fn packet(body: &[u8]) -> Option<Packet> {
    let (mut prefix, mut payload) = (None, None);
    for (kind, value) in attributes(body)? {
        match kind {
            PREFIX => prefix = std::str::from_utf8(value).ok()?.trim_end_matches('\0').parse::<LogPrefix>().ok(),
            PAYLOAD => payload = Some(value),
            _ => {}
        }
    }
    let (prefix, packet) = (prefix?, payload?);
    let header = packet.first_chunk::<IPV4_HEAD>()?;
    let [first, _, l1, l2, _, _, f1, f2, _, protocol, _, _, s1, s2, s3, s4, d1, d2, d3, d4] = *header;
    let words = usize::from(first & 0xf);
    if first >> 4 != 4 || words < 5 {
        return None;
    }
    // A later fragment has no ports, and what stands there is the sender's to choose.
    let is_first = u16::from_be_bytes([f1, f2]) & FRAGMENT_OFFSET == 0;
    let rest = packet.get(words * 4..).filter(|_| is_first).unwrap_or_default();
    let short = |place| {
        rest.get(place..).and_then(|bytes: &[u8]| bytes.first_chunk()).map_or(0, |pair| u16::from_be_bytes(*pair))
    };
    let kind = FlowKind::of_protocol(protocol);
    let (source_port, port) = match kind {
        // The number of a conversation stands behind type, code and checksum (RFC 792).
        FlowKind::Icmp => (short(4), 0),
        FlowKind::Tcp | FlowKind::Udp => (short(0), short(2)),
        _ => (0, 0),
    };
    let (source, destination) = ([s1, s2, s3, s4].into(), [d1, d2, d3, d4].into());
    let ends = Ends { kind, source, source_port, destination, port };
    Some(Packet { prefix, ends, length: u16::from_be_bytes([l1, l2]) })
}

/// Connections that are remembered while they last.
const MOST_OPEN: usize = 8192;

/// `NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET`.
const PACKET: u16 = 4 << 8;

/// `NFULA_PAYLOAD` and `NFULA_PREFIX`.
const PAYLOAD: u16 = 9;
const PREFIX: u16 = 10;

/// RFC 791, section 3.1.
const IPV4_HEAD: usize = 20;
const FRAGMENT_OFFSET: u16 = 0x1fff;

#[cfg(test)]
mod tests;
