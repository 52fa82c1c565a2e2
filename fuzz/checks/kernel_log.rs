//! What the kernel logs: every packet has a prefix of ours, and its addresses stand in the message.

use bastide_firewall::kernel_log::packets;

/// Reads the input as a datagram of the kernel.
pub fn check(data: &[u8]) {
    for packet in packets(data) {
        assert_eq!(packet.prefix.to_string().parse(), Ok(packet.prefix.clone()));
        for address in [packet.ends.source, packet.ends.destination] {
            assert!(data.windows(4).any(|bytes| bytes == address.octets()));
        }
    }
}
