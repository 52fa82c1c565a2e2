//! The resolver behind the hubs' resolvers.

use std::fs;
use std::net::{IpAddr, SocketAddr};

/// The resolvers of the host, in its order; at most three, as in resolv.conf(5).
pub fn resolvers(configured: Option<SocketAddr>) -> Vec<SocketAddr> {
    if let Some(configured) = configured {
        return vec![configured];
    }
    let text = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    let found = parse(&text);
    if found.is_empty() {
        // What resolv.conf(5) says of a file that names none.
        return vec![SocketAddr::from(([127, 0, 0, 1], DNS))];
    }
    found
}

fn parse(text: &str) -> Vec<SocketAddr> {
    let words = text.lines().map(str::split_whitespace);
    let servers = words.filter_map(|mut words| (words.next() == Some("nameserver")).then(|| words.next()).flatten());
    let addresses = servers.filter_map(|server| server.parse::<IpAddr>().ok());
    addresses.map(|address| SocketAddr::new(address, DNS)).take(3).collect()
}

const RESOLV_CONF: &str = "/etc/resolv.conf";

const DNS: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameservers_are_read_as_the_host_reads_them() {
        let text = "# nameserver 9.9.9.9\nsearch example.org\nnameserver 192.0.2.53 # ours\n nameserver  fd00::53\nnameserver fe80::1%eth0\n";
        assert_eq!(parse(text), ["192.0.2.53:53".parse().unwrap(), "[fd00::53]:53".parse::<SocketAddr>().unwrap()]);
        assert_eq!(parse(""), []);
    }
}
