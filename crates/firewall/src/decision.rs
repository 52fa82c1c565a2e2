//! What is decided about a connection.

use std::net::Ipv4Addr;

use bastide_inspect::Name;
use bastide_plan::RuleName;
use bastide_plan::hub_plan::{Action, Protocol};
use bastide_plan::policy::{AddressVerdict, NameVerdict};

use crate::explain::{approves_only, missing_name, sentence};
use crate::resolver::Resolver;
use crate::view::View;

/// What is decided about a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It passes. None: by the mode, not by a rule.
    Allow(Option<RuleName>),
    /// It does not.
    Deny(Denial),
}

/// Why a connection does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The rule that decided. None: there is none, and the mode did.
    pub rule: Option<RuleName>,
    /// Why, and what to do, in one sentence.
    pub reason: String,
}

impl View {
    /// Decides about a connection to a port that says it wants a name.
    pub fn decide(&self, name: &Name, port: u16) -> Decision {
        match self.policy.connect(name, port) {
            NameVerdict::Rule(rule) => Decision::Allow(Some(rule.rule.clone())),
            NameVerdict::Open => Decision::Allow(None),
            NameVerdict::Refused => match self.policy.resolve(name) {
                NameVerdict::Rule(rule) => deny(Some(&rule.rule), approves_only(rule)),
                _ => {
                    let missing = missing_name(self, name);
                    deny(None, sentence(&missing.reason, &missing.advice))
                }
            },
            NameVerdict::Endpoint(endpoint) => {
                let (rule, address) = (&endpoint.rule, endpoint.address);
                deny(Some(rule), format!("'{name}' is a private endpoint of the hub; connect to it at {address}."))
            }
            NameVerdict::Service(service) => {
                let (address, port) = (self.policy.rest().gateway(), service.port);
                deny(None, format!("'{name}' is a service of Bastide; connect to it at {address} and port {port}."))
            }
        }
    }

    /// The name, and the rule that opens this port for it, that the hub's resolver has answered with the address of a
    /// connection that names nobody. Weaker than a name that was said: other names may be at that address. So it is asked
    /// only on ports that a rule lists beside the web's, where protocols are spoken that say no name (mission.md G9).
    pub fn approved_for(&self, resolver: &Resolver, address: Ipv4Addr, port: u16) -> Option<(Name, RuleName)> {
        if WEB.contains(&port) {
            return None;
        }
        let rule = |name: &Name| match self.decide(name, port) {
            Decision::Allow(rule) => rule,
            Decision::Deny(_) => None,
        };
        let name = resolver.find_name(address, |name| rule(name).is_some())?;
        let rule = rule(&name)?;
        Some((name, rule))
    }

    /// Decides about a connection by its address alone, because it names nobody.
    pub fn decide_nameless(&self, address: Ipv4Addr, port: u16) -> Decision {
        match self.policy.address(address, Protocol::Tcp, port) {
            AddressVerdict::Rule(rule) if rule.action == Action::Allow => Decision::Allow(Some(rule.rule.clone())),
            AddressVerdict::Rule(rule) => deny(Some(&rule.rule), format!("Rule '{}' denies {address}.", rule.rule)),
            AddressVerdict::Open => match self.filter.refuses(address.into()) {
                None => Decision::Allow(None),
                Some(class) => deny(None, format!("{address} is {class}.")),
            },
            AddressVerdict::Refused => {
                let reason = format!("Hub '{}' approves hosts by name, and this connection names none.", self.hub());
                deny(None, reason)
            }
        }
    }
}

fn deny(rule: Option<&RuleName>, reason: String) -> Decision {
    Decision::Deny(Denial { rule: rule.cloned(), reason })
}

/// Ports where whoever says no name is refused.
const WEB: [u16; 2] = [80, 443];
