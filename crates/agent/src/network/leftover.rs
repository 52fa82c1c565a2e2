//! What is still in the kernel of what an agent makes.

use std::fs;

use serde::Serialize;

use super::facts::is_firewall_user;
use super::interface::Layout;
use super::names::{HOST_INTERFACE, HUB_NAMESPACE, LEG_NAMESPACE};
use super::namespace;
use crate::compute::leftover;
use crate::compute::record::is_instance_user;
use crate::tool::{self, ToolError};

/// Everything on this host that bears the name of something an agent makes, whosever it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Leftovers {
    /// Network namespaces.
    pub namespaces: Vec<String>,
    /// Interfaces of the host.
    pub interfaces: Vec<String>,
    /// Tables of nftables, of the host.
    pub tables: Vec<String>,
    /// Processes of firewalls, and those in computes.
    pub processes: Vec<u32>,
    /// Control groups of computes.
    pub groups: Vec<String>,
    /// Disks of computes that are attached.
    pub disks: Vec<String>,
}

impl Leftovers {
    /// Looks, in the network namespace of the calling thread.
    pub fn find() -> Result<Self, ToolError> {
        let mut namespaces = namespace::named(HUB_NAMESPACE);
        namespaces.extend(namespace::named(LEG_NAMESPACE));
        let interfaces = Layout::read()
            .map_err(|source| ToolError::NotRun { tool: "netlink", source })?
            .interfaces
            .into_keys()
            .filter(|name| name.starts_with(HOST_INTERFACE));
        let listing = tool::run("nft", &["list", "tables"], "")?;
        let tables =
            listing.lines().filter_map(|line| line.strip_prefix("table ")).filter(|table| table.contains(" bastide"));
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Ok(Self {
            namespaces,
            interfaces: interfaces.collect(),
            tables: tables.map(str::to_owned).collect(),
            processes: processes.filter(|process| is_ours(*process)).collect(),
            groups: leftover::groups(),
            disks: leftover::disks(),
        })
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// By its user, which nobody but a firewall or an instance has.
fn is_ours(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    // One that has ended and that nobody has asked about yet.
    if status.contains("\nState:\tZ") {
        return false;
    }
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let user = line.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok());
    user.is_some_and(|user| is_firewall_user(user) || is_instance_user(user))
}
