//! The kernel's log of packets, as records of the flow log.
//!
//! The kernel tells each packet that a rule logs over a socket of `nfnetlink_log`, which the agent has bound. The packet's
//! bytes are a stranger's; everything around them is the kernel's, and is read as strictly all the same. Of what the crates
//! for netlink offer nothing reads the packet inside, so there would be two readers; this one is small and has no other use.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bastide_plan::flow::{FlowKind, FlowRecord, FlowVerdict};
use bastide_plan::log_prefix::LogPrefix;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::net::netlink::SocketAddrNetlink;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::clock::Clock;
use crate::explain::{missing_address, sentence};
use crate::flow_log::FlowLog;
use crate::resolver::Resolver;
use crate::view::{CurrentView, View};

/// Turns what the kernel logs into records.
#[derive(Debug)]
pub struct KernelLog {
    /// What is decided by.
    pub view: Arc<CurrentView>,
    /// Knows which names lead to an address.
    pub resolver: Arc<Resolver>,
    /// Where the records go.
    pub log: Arc<FlowLog>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// A packet that the kernel has logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// What the rule says about it.
    pub prefix: LogPrefix,
    /// Where it comes from.
    pub source: Ipv4Addr,
    /// Where it goes.
    pub destination: Ipv4Addr,
    /// What it is.
    pub kind: FlowKind,
    /// The destination port; 0 when there is none.
    pub port: u16,
    /// Its bytes, headers included.
    pub length: u16,
}

impl KernelLog {
    /// Reads from a socket for as long as it can be read.
    pub async fn read(self, socket: OwnedFd) {
        if let Err(error) = self.read_all(socket).await {
            tracing::error!(%error, "what the kernel refuses is no longer logged");
        }
    }

    async fn read_all(self, socket: OwnedFd) -> io::Result<()> {
        // SAFETY: an `OwnedFd` is one open descriptor until it is dropped, and it is dropped with the `AsyncFd`.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let mut ready = socket.readable().await?;
            match ready.try_io(|socket| receive(socket.get_ref(), &mut buffer)) {
                Ok(Ok(length)) => self.note(buffer.get(..length).unwrap_or_default()),
                // More was logged than fits between us: how much nobody knows, but that something is missing is said.
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => self.log.lose(1),
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
            }
        }
    }

    fn note(&self, message: &[u8]) {
        let Some(view) = self.view.load() else { return };
        for packet in packets(message) {
            self.log.push(self.record(&view, &packet));
        }
    }

    fn record(&self, view: &View, packet: &Packet) -> FlowRecord {
        let Packet { destination, kind, port, .. } = *packet;
        let name = self.resolver.name_of(destination);
        let rule = packet.prefix.rule_of(&view.policy.rest().prefixes);
        let reason = match (packet.prefix.allowed, &rule) {
            (true, _) => None,
            (false, Some(rule)) => Some(format!("Rule '{rule}' denies it.")),
            (false, None) => {
                let missing = missing_address(view, kind, destination, port, name.as_ref());
                Some(sentence(&missing.reason, &missing.advice))
            }
        };
        FlowRecord {
            at: self.clock.millis(),
            duration: 0,
            compute: view.leg(packet.source).map(|leg| leg.name.clone()),
            source: packet.source,
            kind,
            name: name.map(|name| name.to_string()),
            address: Some(destination),
            port,
            verdict: if packet.prefix.allowed { FlowVerdict::Allowed } else { FlowVerdict::Denied },
            rule,
            reason,
            sent: u64::from(packet.length),
            received: 0,
            count: 1,
        }
    }
}

/// The packets in a datagram of the kernel. What is not one of ours, or not IPv4, is passed over.
pub fn packets(datagram: &[u8]) -> impl Iterator<Item = Packet> {
    Messages(datagram).filter_map(|(kind, body)| if kind == PACKET { packet(body) } else { None })
}

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (length, _, sender) = rustix::net::recvfrom(socket, buffer, RecvFlags::DONTWAIT)?;
    // Everybody in the namespace who is privileged there could write to the socket; the kernel is number 0.
    let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
    Ok(if sender.is_some_and(|sender| sender.pid() == 0) { length } else { 0 })
}

/// The messages of a datagram: type and body (`struct nlmsghdr`).
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk()?;
        let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
        let kind = u16::from_ne_bytes(*rest.first_chunk()?);
        let body = self.0.get(MESSAGE_HEAD..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some((kind, body))
    }
}

/// The attributes of a message: type and value (`struct nlattr`).
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let kind = u16::from_ne_bytes(*rest.first_chunk()?) & ATTRIBUTE_TYPE;
        let value = self.0.get(ATTRIBUTE_HEAD..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// Reads a message of `nfnetlink_log` (`linux/netfilter/nfnetlink_log.h`).
fn packet(body: &[u8]) -> Option<Packet> {
    let (mut prefix, mut payload) = (None, None);
    for (kind, value) in Attributes(body.get(FAMILY_HEAD..)?) {
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
    let ports = packet.get(words * 4..).filter(|_| is_first);
    let port = match ports {
        Some(&[_, _, high, low, ..]) => u16::from_be_bytes([high, low]),
        _ => 0,
    };
    let (kind, port) = match protocol {
        ICMP => (FlowKind::Icmp, 0),
        TCP => (FlowKind::Tcp, port),
        UDP => (FlowKind::Udp, port),
        _ => (FlowKind::Other, 0),
    };
    let (source, destination) = ([s1, s2, s3, s4].into(), [d1, d2, d3, d4].into());
    Some(Packet { prefix, source, destination, kind, port, length: u16::from_be_bytes([l1, l2]) })
}

/// Everything in netlink begins at a multiple of four.
fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// What one read takes: the kernel gathers a page at most before it sends.
const BUFFER: usize = 1 << 16;

/// Bytes of `struct nlmsghdr`, `struct nlattr` and `struct nfgenmsg`.
const MESSAGE_HEAD: usize = 16;
const ATTRIBUTE_HEAD: usize = 4;
const FAMILY_HEAD: usize = 4;

/// `NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET`.
const PACKET: u16 = 4 << 8;

/// `NFULA_PAYLOAD` and `NFULA_PREFIX`.
const PAYLOAD: u16 = 9;
const PREFIX: u16 = 10;

/// `NLA_TYPE_MASK`.
const ATTRIBUTE_TYPE: u16 = 0x3fff;

/// RFC 791, section 3.1.
const IPV4_HEAD: usize = 20;
const FRAGMENT_OFFSET: u16 = 0x1fff;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

#[cfg(test)]
mod tests {
    use bastide_plan::AddressFilter;
    use bastide_plan::RuleName;
    use bastide_plan::flow::FlowQuery;
    use bastide_plan::hub_plan::Mode;
    use proptest::prelude::*;

    use super::*;
    use crate::clock::ManualClock;
    use crate::resolver::tests::plan;

    // What Linux 6.18 sends for a SYN to 127.0.0.1:4444, five bytes to UDP 4445 and a ping, little-endian.
    const SYN: &str = "8800000000040000000000000000000002000005080001000800030014000a00626173746964653a64656e6965643a000800\
        05000000000108000b000000000008000e0000000000400009004500003cb7814000400685387f0000017f000001a0ec115cd24b7b2a0000\
        0000a002ffd7fe3000000204ffd70402080a3f02989f000000000103030a";
    const DATAGRAM: &str = "7c0000000004000000000000000000000200000508000100080003001e000a00626173746964653a616c6c6f776564\
        3a646174612d6c616b65000000080005000000000108000b000000000008000e00000000002500090045000021de3e400040115e8b7f0000\
        017f000001a9e3115d000dfe2068656c6c6f000000";
    const PING: &str = "6800000000040000000000000000000002000005080001000800030014000a00626173746964653a64656e6965643a0008\
        0005000000000108000b000000000008000e0000000000200009004500001cdd5c400040015f827f0000017f00000108000000000100\
        01";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<_> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
    }

    fn read(datagram: &[u8]) -> Vec<Packet> {
        packets(datagram).collect()
    }

    #[test]
    fn what_a_kernel_sends_is_read() {
        let local = Ipv4Addr::LOCALHOST;
        let packet = |prefix: &str, kind, port, length| Packet {
            prefix: prefix.parse().unwrap(),
            source: local,
            destination: local,
            kind,
            port,
            length,
        };
        let syn = packet("bastide:denied:", FlowKind::Tcp, 4444, 60);
        let datagram = packet("bastide:allowed:data-lake", FlowKind::Udp, 4445, 33);
        let ping = packet("bastide:denied:", FlowKind::Icmp, 0, 28);
        let all = [bytes(SYN), bytes(DATAGRAM), bytes(PING)].concat();
        assert_eq!(read(&all), [syn, datagram, ping], "several in one datagram, as the kernel gathers them");
    }

    #[test]
    fn what_is_cut_or_somebody_elses_is_passed_over() {
        let syn = bytes(SYN);
        for length in 0..syn.len() {
            assert_eq!(read(&syn[..length]), [], "{length}");
        }
        let mut other = syn.clone();
        other[4] = 3;
        assert_eq!(read(&other), []);
        let foreign = SYN.replace("62617374", "78787878");
        assert_eq!(read(&bytes(&foreign)), []);
        let mut six = syn.clone();
        let place = six.len() - 60;
        six[place] = 0x65;
        assert_eq!(read(&six), []);
    }

    #[test]
    fn a_later_fragment_has_no_port() {
        let mut syn = bytes(SYN);
        let place = syn.len() - 60 + 6;
        syn[place..place + 2].copy_from_slice(&[0x20, 0x01]);
        assert_eq!(read(&syn).first().map(|packet| packet.port), Some(0));
    }

    #[tokio::test]
    async fn a_packet_becomes_a_record_that_says_what_to_do() {
        let view = Arc::new(CurrentView::default());
        let (log, clock): (Arc<FlowLog>, Arc<dyn Clock>) = (Arc::default(), Arc::new(ManualClock::new()));
        let (need, _needed) = tokio::sync::mpsc::unbounded_channel();
        let resolver = Resolver::new(Arc::clone(&view), Arc::clone(&log), Arc::clone(&clock), need);
        view.replace(Arc::new(View::new(plan(Mode::ApprovedOutbound), Vec::new(), AddressFilter::default())));
        let kernel = KernelLog { view, resolver, log: Arc::clone(&log), clock };

        let mut syn = bytes(SYN);
        let place = syn.len() - 60 + 16;
        syn[place..place + 4].copy_from_slice(&[198, 18, 0, 9]);
        kernel.note(&[syn.clone(), syn].concat());
        kernel.note(&bytes(SYN));
        kernel.note(&bytes(DATAGRAM));

        let records = log.query(&FlowQuery { limit: 9, ..FlowQuery::default() }).records;
        let [missing, local, allowed] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!((missing.compute.as_deref(), missing.count, missing.port), (Some("dev"), 2, 4444));
        assert_eq!(
            missing.reason.as_deref(),
            Some(
                "No rule of hub 'research' approves TCP port 4444 to 198.18.0.9; add a ServiceTag rule with the address \
                 prefix 198.18.0.9/32 for TCP port 4444 to hub 'research'."
            )
        );
        assert!(local.reason.as_deref().unwrap().contains("inside hub 'research'"), "{local:?}");
        assert_eq!((allowed.verdict, allowed.reason.as_ref(), allowed.sent), (FlowVerdict::Allowed, None, 33));
        assert_eq!(allowed.rule, None, "the plan has no such rule any more");
    }

    #[test]
    fn a_rule_that_denies_is_named() {
        let mut plan = plan(Mode::ApprovedOutbound);
        plan.prefixes.push(bastide_plan::hub_plan::PrefixRule {
            rule: RuleName("data-lake".into()),
            action: bastide_plan::hub_plan::Action::Deny,
            protocol: bastide_plan::hub_plan::Protocol::Udp,
            prefixes: Vec::new(),
            ports: Vec::new(),
        });
        let packet = &read(&bytes(DATAGRAM))[0];
        assert_eq!(packet.prefix.rule_of(&plan.prefixes), Some(RuleName("data-lake".into())));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes);
        }

        #[test]
        fn damaged_messages_are_read_without_harm(place in 0usize..136, byte: u8, second in 0usize..136, other: u8) {
            let mut bytes = bytes(SYN);
            (bytes[place], bytes[second]) = (byte, other);
            prop_assert!(read(&bytes).len() <= 4);
        }
    }
}
