//! What stands outside of a hub and decides what its rules mean.

use std::collections::BTreeMap;
use std::sync::Arc;

use bastide_arm::resource_type::Linked;
use bastide_plan::hub_plan::RuleName;
use jiff::Timestamp;

use crate::isolation_lift::IsolationLift;
use crate::outbound_rule::{Category, Destination, Rule};
use crate::private_endpoint_connection::Endpoint;
use crate::service_tag::TagBook;

/// What the rules of a hub lead to, as it stands.
#[derive(Debug, Clone, Default)]
pub struct Outside {
    /// Targets of private endpoints, by key.
    pub targets: BTreeMap<String, Linked>,
    /// Private endpoints that their targets do not let in, with the reason.
    pub refused: BTreeMap<RuleName, String>,
    /// What service tags mean in the hub's subscription.
    pub tags: Arc<TagBook>,
    /// The time, for what ends: rules, and isolation that is lifted.
    pub now: Option<Timestamp>,
}

/// What of the outside the rules of a hub ask about.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'a> {
    /// Private endpoints, each with its rule.
    pub endpoints: Vec<(&'a Linked, Endpoint)>,
    /// Whether a tag must be looked up.
    pub tags: bool,
    /// When rules end, and when isolation is back that is lifted.
    pub ends: Vec<Timestamp>,
}

impl<'a> Wanted<'a> {
    /// By a hub and these rules.
    pub fn by(hub: &Linked, rules: &'a [Linked], now: Timestamp) -> Self {
        let mut wanted = Self::default();
        wanted.ends.extend(IsolationLift::in_force(&hub.document.properties, now).map(|lift| lift.until));
        for row in rules {
            let rule = Rule::stored(&row.document.properties);
            wanted.ends.extend(rule.as_ref().and_then(|rule| rule.extension.expires_on));
            match rule {
                Some(Rule { destination: Destination::PrivateEndpoint(destination), category, .. }) => {
                    wanted.endpoints.push((row, Endpoint { destination, category }));
                }
                Some(Rule { destination: Destination::ServiceTag(destination), category, .. }) => {
                    wanted.tags |= destination.prefixes.is_empty() && category != Category::Required;
                }
                _ => {}
            }
        }
        wanted
    }
}
