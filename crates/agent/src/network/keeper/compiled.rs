//! What follows from a plan and the facts of the node.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use bastide_plan::hub_plan::Target;
use bastide_plan::{AddressFilter, HubPlan};

use super::declared::{Declared, Placed};
use crate::network::conntrack::Admission;
use crate::network::facts::NodeFacts;
use crate::network::host::Uplink;
use crate::network::interface::Layout;
use crate::network::layout;
use crate::network::ruleset::Ruleset;
use crate::state::HubRecord;

/// What a hub's network must look like on this node.
pub(super) struct Compiled {
    pub plan: HubPlan,
    /// What the firewall is told instead of the record's plan, when that names targets: their addresses.
    pub told: Option<HubPlan>,
    pub facts: NodeFacts,
    pub ruleset: Ruleset,
    pub layout: Layout,
    /// Declared targets that cannot be let through to, by rule.
    pub refusals: BTreeMap<String, String>,
    pub admission: Admission,
    pub uplink: Uplink,
}

impl Compiled {
    /// Compiles what is known of a hub.
    pub fn new(record: &HubRecord, filter: AddressFilter, declared: &mut Declared) -> Self {
        let (plan, slot) = (record.merged(), record.slot);
        let Placed { externals, admitted, beside, chosen, refusals } = declared.places(&plan, &filter);
        let facts = NodeFacts { filter, slot, externals };
        Self {
            ruleset: Ruleset::new(&plan, &facts),
            layout: layout::hub(&plan, slot, std::process::id()),
            admission: Admission::new(&plan, &facts),
            uplink: Uplink { slot, admitted, beside },
            told: told(&record.plan, &chosen),
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

/// The plan with addresses in place of the names of declared targets. None: there are no such names.
fn told(plan: &HubPlan, chosen: &BTreeMap<String, Ipv4Addr>) -> Option<HubPlan> {
    let is_named = |target: &Target| match target {
        Target::Server => false,
        Target::External { host, .. } => host.parse::<Ipv4Addr>().is_err(),
    };
    let endpoints = plan.endpoints.iter().filter_map(|endpoint| endpoint.target.as_ref());
    if !endpoints.chain(plan.services.iter().map(|service| &service.target)).any(is_named) {
        return None;
    }
    let mut plan = plan.clone();
    let endpoints = plan.endpoints.iter_mut().filter_map(|endpoint| endpoint.target.as_mut());
    for target in endpoints.chain(plan.services.iter_mut().map(|service| &mut service.target)) {
        if let Target::External { host, .. } = target
            && let Some(address) = chosen.get(host)
        {
            *host = address.to_string();
        }
    }
    Some(plan)
}
