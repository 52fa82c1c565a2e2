//! What this process may do to the kernel.

use std::fs;

/// The capabilities that enforcing a hub's network takes, with what each is for.
pub(crate) const NEEDED: [Capability; 4] = [
    Capability { bit: 12, name: "CAP_NET_ADMIN", purpose: "interfaces, routes and nftables" },
    Capability { bit: 21, name: "CAP_SYS_ADMIN", purpose: "network and mount namespaces" },
    Capability { bit: 7, name: "CAP_SETUID", purpose: "a user of its own for each worker" },
    Capability { bit: 6, name: "CAP_SETGID", purpose: "a group of its own for each worker" },
];

/// A Linux capability, numbered as in `linux/capability.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capability {
    bit: u32,
    /// Its name, as in capabilities(7).
    pub(crate) name: &'static str,
    /// What Bastide does with it.
    pub(crate) purpose: &'static str,
}

/// The default network mode cannot run here.
#[derive(Debug, thiserror::Error)]
#[error(
    "this process lacks {missing}, without which the kernel cannot be made to enforce a network: start it as root (in a container: with these capabilities), or give --network simulated, which enforces nothing and says so"
)]
pub(crate) struct PrivilegeError {
    missing: String,
}

/// Refuses when a needed capability is not effective.
pub(crate) fn require() -> Result<(), PrivilegeError> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|capability| capability.name).collect();
    Err(PrivilegeError { missing: names.join(", ") })
}

/// The needed capabilities that are not effective in this process.
pub(crate) fn missing() -> Vec<Capability> {
    let effective = fs::read_to_string("/proc/self/status").ok().and_then(|status| effective(&status)).unwrap_or(0);
    NEEDED.into_iter().filter(|capability| effective & (1 << capability.bit) == 0).collect()
}

/// `CapEff` in the text of `/proc/PID/status` (see proc(5)).
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_effective_set() {
        let status = "Name:\tbastide\nCapPrm:\tffff\nCapEff:\t0000000000201000\nCapBnd:\tffff\n";
        assert_eq!(effective(status), Some(1 << 12 | 1 << 21));
        assert_eq!(effective("Name:\tbastide\n"), None);
    }
}
