//! What the kernel says of a connection that it forwarded, once that is over (`ctnetlink`, destroy events).

use std::net::Ipv4Addr;

use bastide_plan::flow::FlowKind;

use crate::netlink::{Attributes, Messages, attributes};

/// The ends of a connection, as the compute has them: no two have the same at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ends {
    /// What it is.
    pub kind: FlowKind,
    /// Where it comes from.
    pub source: Ipv4Addr,
    /// The source port; for ICMP, the number of the conversation.
    pub source_port: u16,
    /// Where it goes.
    pub destination: Ipv4Addr,
    /// The destination port; 0 for ICMP.
    pub port: u16,
}

/// A connection that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Which.
    pub ends: Ends,
    /// Bytes of packets from the compute.
    pub sent: u64,
    /// Bytes of packets to the compute.
    pub received: u64,
    /// Whether anything came back at all.
    pub is_answered: bool,
    /// Whether it was ended on request, by the agent, and not by itself.
    pub is_cut: bool,
    /// When it began, in milliseconds since 1970; none on a kernel without time stamps.
    pub began: Option<i64>,
    /// When the kernel gave it up, alike.
    pub given_up: Option<i64>,
    /// For how long the kernel had waited for more before that, in milliseconds.
    pub silence: u64,
}

/// The endings in a datagram of the kernel. What is not one, or not IPv4, is passed over.
pub fn endings(datagram: &[u8]) -> impl Iterator<Item = Ending> {
    Messages(datagram).filter_map(|message| {
        let ending = if message.kind == DELETED { ending(&attributes(message.body)?)? } else { return None };
        let is_cut = message.asked_by != 0;
        Some(Ending { is_cut, silence: if is_cut { 0 } else { ending.silence }, ..ending })
    })
}

/// Reads a message of `ctnetlink` (`linux/netfilter/nfnetlink_conntrack.h`).
fn ending(all: &Attributes<'_>) -> Option<Ending> {
    let ends = ends(&all.inside(TUPLE_ORIGINAL)?)?;
    let (sent, _) = all.inside(COUNTERS_ORIGINAL).as_ref().and_then(counters).unwrap_or_default();
    let (received, answers) = all.inside(COUNTERS_REPLY).as_ref().and_then(counters).unwrap_or_default();
    let stamps = all.inside(TIMESTAMP);
    let stamp = |which| stamps.as_ref().and_then(|stamps| stamps.value(which)).and_then(number).and_then(millis);
    let state = all.inside(PROTOCOL_INFO).and_then(|info| info.inside(INFO_TCP)?.value(TCP_STATE)?.first().copied());
    let status = all.value(STATUS).and_then(|value| Some(u32::from_be_bytes(*value.first_chunk()?))).unwrap_or(0);
    Some(Ending {
        ends,
        sent,
        received,
        is_answered: answers > 0,
        is_cut: false,
        began: stamp(TIMESTAMP_START),
        given_up: stamp(TIMESTAMP_STOP),
        silence: silence(ends.kind, state, status & ASSURED != 0),
    })
}

fn ends(tuple: &Attributes<'_>) -> Option<Ends> {
    let (addresses, protocol) = (tuple.inside(TUPLE_IP)?, tuple.inside(TUPLE_PROTOCOL)?);
    let address = |which| Some(Ipv4Addr::from(*addresses.value(which)?.first_chunk::<4>()?));
    let short = |which| Some(u16::from_be_bytes(*protocol.value(which)?.first_chunk()?));
    let kind = FlowKind::of_protocol(*protocol.value(PROTOCOL_NUMBER)?.first()?);
    let (source_port, port) = match kind {
        FlowKind::Icmp => (short(ICMP_ID)?, 0),
        FlowKind::Tcp | FlowKind::Udp => (short(SOURCE_PORT)?, short(DESTINATION_PORT)?),
        _ => (0, 0),
    };
    Some(Ends { kind, source: address(IP_SOURCE)?, source_port, destination: address(IP_DESTINATION)?, port })
}

/// Bytes and packets.
fn counters(counters: &Attributes<'_>) -> Option<(u64, u64)> {
    Some((number(counters.value(COUNTERS_BYTES)?)?, number(counters.value(COUNTERS_PACKETS)?)?))
}

fn number(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*value.first_chunk()?))
}

/// Of nanoseconds since 1970; 0 stands for none.
fn millis(nanoseconds: u64) -> Option<i64> {
    if nanoseconds == 0 { None } else { i64::try_from(nanoseconds / 1_000_000).ok() }
}

/// How long the kernel waits for more before it gives a connection up, in milliseconds: as the agent sets it, and else as
/// Linux does (`nf_conntrack_*_timeout*`).
fn silence(kind: FlowKind, tcp_state: Option<u8>, is_assured: bool) -> u64 {
    let seconds = match (kind, tcp_state) {
        (FlowKind::Tcp, Some(TCP_SYN_SENT | TCP_FIN_WAIT)) => 120,
        (FlowKind::Tcp, Some(TCP_CLOSE_WAIT)) => 60,
        (FlowKind::Tcp, Some(TCP_LAST_ACK)) => 30,
        (FlowKind::Tcp, Some(TCP_ESTABLISHED)) => 86_400,
        (FlowKind::Tcp, _) => 10,
        (FlowKind::Udp, _) if is_assured => 120,
        _ => 30,
    };
    seconds * 1000
}

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE`.
const DELETED: u16 = 1 << 8 | 2;

// `enum ctattr_type` and those inside.
const TUPLE_ORIGINAL: u16 = 1;
const STATUS: u16 = 3;
const PROTOCOL_INFO: u16 = 4;
const COUNTERS_ORIGINAL: u16 = 9;
const COUNTERS_REPLY: u16 = 10;
const TIMESTAMP: u16 = 20;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const IP_SOURCE: u16 = 1;
const IP_DESTINATION: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;
const ICMP_ID: u16 = 4;
const COUNTERS_PACKETS: u16 = 1;
const COUNTERS_BYTES: u16 = 2;
const TIMESTAMP_START: u16 = 1;
const TIMESTAMP_STOP: u16 = 2;
const INFO_TCP: u16 = 1;
const TCP_STATE: u16 = 1;

/// `IPS_ASSURED`.
const ASSURED: u32 = 1 << 2;

// `enum tcp_conntrack`.
const TCP_SYN_SENT: u8 = 1;
const TCP_ESTABLISHED: u8 = 3;
const TCP_FIN_WAIT: u8 = 4;
const TCP_CLOSE_WAIT: u8 = 5;
const TCP_LAST_ACK: u8 = 6;

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    // What Linux 6.18 says, little-endian, when it gives up: a SYN that nobody answered; a TCP connection of five bytes there
    // and fifty back, closed after a second; a datagram and its answer. Its timeouts were two seconds.
    pub(crate) const UNANSWERED: &str = "0401000002010000000000000000000002000000340001801400018008000100647f000208000200c612004d1c0002800500\
        01000600000006000200dae000000600030000160000340002801400018008000100c612004d08000200c61200011c000280\
        0500010006000000060002000016000006000300dae0000008000c00b98d4c2708000300000003981c0009800c0001000000\
        0000000000010c000200000000000000003c1c000a800c00010000000000000000000c00020000000000000000001c001480\
        0c00010018ea6829ea8ad55e0c00020018ea682a61bae196100004800c000180050001000100000008000800000000020c00\
        1b0018ea682a6329189a";
    pub(crate) const WHOLE: &str = "0401000002010000000000000000000002000000340001801400018008000100647f000208000200c61200021c0002800500\
        01000600000006000200c9d200000600030000160000340002801400018008000100c612000208000200c61200011c000280\
        0500010006000000060002000016000006000300c9d2000008000c00600918d1080003000000039e1c0009800c0001000000\
        0000000000060c00020000000000000001451c000a800c00010000000000000000040c000200000000000000010a1c001480\
        0c00010018ea6829aedd35230c00020018ea682a61bbe906100004800c000180050001000700000008000800000000020c00\
        1b0018ea682a632a1f88";
    pub(crate) const DATAGRAM: &str = "f400000002010000000000000000000002000000340001801400018008000100647f000208000200c61200021c0002800500\
        01001100000006000200a34600000600030014e90000340002801400018008000100c612000208000200c61200011c000280\
        05000100110000000600020014e9000006000300a346000008000c00c577aa2c080003000000039a1c0009800c0001000000\
        0000000000010c000200000000000000001d1c000a800c00010000000000000000010c000200000000000000001d1c001480\
        0c00010018ea6829ea859cbc0c00020018ea682a61bc756e08000800000000020c001b0018ea682a632aabaa";

    pub(crate) fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<_> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
    }

    /// The same, had somebody asked for it.
    pub(crate) fn on_request(hex: &str) -> Vec<u8> {
        let mut bytes = bytes(hex);
        bytes[12] = 77;
        bytes
    }

    fn ends(kind: FlowKind, source_port: u16, destination: [u8; 4], port: u16) -> Ends {
        Ends { kind, source: [100, 127, 0, 2].into(), source_port, destination: destination.into(), port }
    }

    #[test]
    fn what_a_kernel_says_is_read() {
        let unanswered = Ending {
            ends: ends(FlowKind::Tcp, 56032, [198, 18, 0, 77], 22),
            sent: 60,
            received: 0,
            is_answered: false,
            is_cut: false,
            began: Some(1_795_361_930_698),
            given_up: Some(1_795_361_930_698 + 2000),
            silence: 120_000,
        };
        let whole = Ending {
            ends: ends(FlowKind::Tcp, 51666, [198, 18, 0, 2], 22),
            sent: 325,
            received: 266,
            is_answered: true,
            began: Some(1_795_361_929_697),
            given_up: Some(1_795_361_929_697 + 3001),
            silence: 10_000,
            ..unanswered
        };
        let datagram = Ending {
            ends: ends(FlowKind::Udp, 41798, [198, 18, 0, 2], 5353),
            sent: 29,
            received: 29,
            began: Some(1_795_361_930_698),
            given_up: Some(1_795_361_930_698 + 2000),
            silence: 30_000,
            ..whole
        };
        let all = [bytes(UNANSWERED), bytes(WHOLE), bytes(DATAGRAM)].concat();
        assert_eq!(endings(&all).collect::<Vec<_>>(), [unanswered, whole, datagram]);
        // What is cut has not been waited for.
        let cut = Ending { is_cut: true, silence: 0, ..whole };
        assert_eq!(endings(&on_request(WHOLE)).collect::<Vec<_>>(), [cut]);
    }

    #[test]
    fn what_is_cut_short_or_something_else_is_passed_over() {
        let whole = bytes(WHOLE);
        for length in 0..whole.len() {
            assert_eq!(endings(&whole[..length]).count(), 0, "{length}");
        }
        let mut other = whole;
        other[4] = 0;
        assert_eq!(endings(&other).count(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = endings(&bytes).count();
        }

        #[test]
        fn damaged_messages_are_read_without_harm(place in 0usize..260, byte: u8, second in 0usize..260, other: u8) {
            let mut bytes = bytes(WHOLE);
            (bytes[place], bytes[second]) = (byte, other);
            let _ = endings(&bytes).count();
        }
    }
}
