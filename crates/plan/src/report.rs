//! What the kernel of a node holds, as the agent has read it back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hub_plan::{HubId, RuleName, Stamp};

/// The state of one hub's network on a node. `Active` on the wire comes from here and from nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HubReport {
    /// Which hub.
    pub hub: HubId,
    /// The plan that the kernel was last seen to match. None: none yet.
    pub stamp: Option<Stamp>,
    /// What holds.
    pub wall: WallState,
    /// Each rule of the plan. A rule that is not named is not enforced.
    pub rules: BTreeMap<RuleName, RuleState>,
    /// How often the kernel was found changed by somebody else, and mended.
    pub repairs: u64,
    /// What of the node keeps computes from the internet though the plan lets them: rules of others that drop what is
    /// forwarded. Sentences that say what to do.
    #[serde(default)]
    pub obstacles: Vec<String>,
    /// When the kernel was read, in milliseconds since 1970.
    pub at: i64,
}

/// Whether a hub's wall stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum WallState {
    /// The kernel was read and matches the plan; firewall and resolver answer.
    Standing,
    /// Everything is refused, because something could not be done.
    Shut {
        /// What, and what to do about it.
        reason: String,
    },
    /// A network that enforces nothing, asked for with `--network simulated`.
    Simulated,
}

/// Whether a rule is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum RuleState {
    /// The data path decides by it.
    Active,
    /// It has no effect.
    Inactive {
        /// Why, and what to do about it.
        reason: String,
    },
}
