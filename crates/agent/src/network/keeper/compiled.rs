//! What follows from a plan and the facts of the node.

use std::collections::BTreeMap;

use bastide_plan::{AddressFilter, HubPlan};

use super::declared::{Declared, Placed};
use crate::network::conntrack::Admission;
use crate::network::facts::{NodeFacts, Slot};
use crate::network::host::Uplink;
use crate::network::interface::Layout;
use crate::network::layout;
use crate::network::ruleset::Ruleset;

/// What a hub's network must look like on this node.
pub(super) struct Compiled {
    pub plan: HubPlan,
    pub facts: NodeFacts,
    pub ruleset: Ruleset,
    pub layout: Layout,
    /// Declared targets that cannot be let through to, by rule.
    pub refusals: BTreeMap<String, String>,
    pub admission: Admission,
    pub uplink: Uplink,
}

impl Compiled {
    /// Compiles a plan for a place of this node.
    pub fn new(plan: HubPlan, slot: Slot, filter: AddressFilter, declared: &mut Declared) -> Self {
        let Placed { externals, admitted, refusals } = declared.places(&plan, &filter);
        let facts = NodeFacts { filter, slot, externals };
        Self {
            ruleset: Ruleset::new(&plan, &facts),
            layout: layout::hub(&plan, slot, std::process::id()),
            admission: Admission::new(&plan, &facts),
            uplink: Uplink { slot, admitted },
            plan,
            facts,
            refusals,
        }
    }

    /// Whether interfaces are the same.
    pub fn is_laid_like(&self, other: &Self) -> bool {
        self.layout == other.layout && self.uplink == other.uplink
    }
}
