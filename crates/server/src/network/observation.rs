//! What a report says, in the words that answers are made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use bastide_arm::resource_type::Observed;
use bastide_hub::plan::Compiled;
use bastide_plan::HubReport;
use bastide_plan::hub_plan::RuleName;
use bastide_plan::report::{RuleState, WallState};
use serde_json::json;

use super::node::Away;

/// What was seen of a hub whose plan a node has answered.
pub(super) fn observed(compiled: &Compiled, answered: &Result<HubReport, Away>, by: &'static str) -> Observed {
    let names = rule_names(compiled);
    let reason = match answered {
        Err(away) => Some(away.to_string()),
        Ok(HubReport { wall: WallState::Shut { reason }, .. }) => Some(reason.clone()),
        Ok(HubReport { wall: WallState::Simulated, .. }) => Some(Away::Simulated.to_string()),
        Ok(HubReport { stamp, wall: WallState::Standing, .. })
            if stamp.is_none_or(|stamp| stamp < compiled.plan.stamp) =>
        {
            Some("The node enforces an older state of the hub; this one is on its way.".to_owned())
        }
        Ok(_) => None,
    };
    let rule = |name: &RuleName| {
        let why_not = reason.clone().or_else(|| compiled.without_effect.get(name).cloned());
        if why_not.is_none() && compiled.by_service.contains(name) {
            return (name.0.to_ascii_lowercase(), Arc::new(Observed::new(by, None)));
        }
        let why_not = why_not.or_else(|| match answered.as_ref().ok()?.rules.get(name) {
            Some(RuleState::Active) => None,
            Some(RuleState::Inactive { reason }) => Some(reason.clone()),
            None => Some("The node does not report on this rule.".to_owned()),
        });
        (name.0.to_ascii_lowercase(), Arc::new(Observed::new(by, why_not)))
    };
    let parts = names.map(rule).collect::<BTreeMap<_, _>>();
    let obstacles = answered.as_ref().map_or(&[][..], |report| &report.obstacles);
    Observed { parts, detail: json!({"obstacles": obstacles}), ..Observed::new(by, reason) }
}

fn rule_names(compiled: &Compiled) -> impl Iterator<Item = &RuleName> {
    let plan = &compiled.plan;
    let names = plan.names.iter().map(|rule| &rule.rule);
    let prefixes = plan.prefixes.iter().map(|rule| &rule.rule);
    let endpoints = plan.endpoints.iter().map(|endpoint| &endpoint.rule);
    names.chain(prefixes).chain(endpoints).chain(compiled.without_effect.keys()).chain(&compiled.by_service)
}
