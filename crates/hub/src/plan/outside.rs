//! What stands outside of a hub and decides what its rules mean.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Linked, Parity};

use crate::outbound_rule::{Category, Destination, Rule};
use crate::service_tag::TagBook;

/// What the rules of a hub lead to, as it stands.
#[derive(Debug, Clone, Default)]
pub struct Outside {
    /// Targets of private endpoints, by key.
    pub targets: BTreeMap<String, Linked>,
    /// What service tags mean in the hub's subscription.
    pub tags: Arc<TagBook>,
}

/// What of the outside the rules of a hub ask about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Targets of private endpoints.
    pub targets: BTreeSet<ResourceId>,
    /// Whether a tag must be looked up.
    pub tags: bool,
}

impl Wanted {
    /// By these rules.
    pub fn by(rules: &[Linked]) -> Self {
        let mut wanted = Self::default();
        for row in rules {
            match Rule::read(&row.document.properties, "", Parity::Native) {
                Ok(Rule { destination: Destination::PrivateEndpoint(destination), .. }) => {
                    wanted.targets.insert(destination.target);
                }
                Ok(Rule { destination: Destination::ServiceTag(destination), category }) => {
                    wanted.tags |= destination.prefixes.is_empty() && category != Category::Required;
                }
                _ => {}
            }
        }
        wanted
    }
}
