//! The network of each hub: a namespace that no compute owns, a rule set, a leg for each compute, a firewall.

pub mod conntrack;
pub mod external;
pub mod facts;
pub mod firewall;
pub mod flow_store;
pub mod host;
pub mod hub;
pub mod hubs;
pub mod interface;
pub mod keeper;
pub mod layout;
pub mod leftover;
pub mod names;
pub mod namespace;
pub mod netlink;
pub mod obstacle;
pub mod probe;
pub mod ranges;
pub mod ruleset;
pub mod socket;
pub mod table;
pub mod upstream;
pub mod watcher;
pub mod worker;
