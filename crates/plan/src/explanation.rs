//! What would happen to a connection, and why.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::hub_plan::RuleName;

/// A connection that has not been made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Question {
    /// From which compute, by name; any when none is named.
    pub compute: Option<String>,
    /// A host name or an IPv4 address, as somebody typed it.
    pub to: String,
    /// The destination port; 443 when none is named.
    pub port: Option<u16>,
}

/// The answer to a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Explanation {
    /// Whether the connection would be let through.
    pub allowed: bool,
    /// The rule that decides. None: the mode does.
    pub rule: Option<RuleName>,
    /// Why, in one sentence.
    pub reason: String,
    /// What to add to have it let through. None when it is, or when nothing would help.
    pub suggestion: Option<Suggestion>,
    /// What the resolver has told computes about the name, as far as it is remembered.
    pub addresses: Vec<Ipv4Addr>,
}

/// A rule that would let a connection through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Suggestion {
    /// The rule's type on the wire: `FQDN` or `ServiceTag`.
    pub rule_type: String,
    /// Its destination: a host name, or an address prefix.
    pub destination: String,
    /// Its ports, when it needs any.
    pub port: Option<u16>,
}
