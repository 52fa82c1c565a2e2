//! What is different between two plans of a hub that differ in rules by name alone.

use std::cmp::Ordering;
use std::iter::Peekable;

use serde::{Deserialize, Serialize};

use crate::hub_plan::{HubPlan, NameRule, Stamp};

/// The way from one plan to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NameChange {
    /// Of the plan that this leads from; it leads nowhere from any other.
    pub from: Stamp,
    /// Of the plan that this leads to.
    pub to: Stamp,
    /// Rules that are gone, or are others under the same name; ordered.
    pub removed: Vec<NameRule>,
    /// Rules that are new, ordered.
    pub added: Vec<NameRule>,
}

impl NameChange {
    /// The way from one plan to another; none when more than rules by name is different, or more than a few of them.
    pub fn between(from: &HubPlan, to: &HubPlan) -> Option<Self> {
        let is_sorted = |plan: &HubPlan| plan.names.is_sorted_by(|one, other| one.rule < other.rule);
        if !is_same_but_for_names(from, to) || !is_sorted(from) || !is_sorted(to) {
            return None;
        }
        let mut change = Self { from: from.stamp, to: to.stamp, removed: Vec::new(), added: Vec::new() };
        let (mut old, mut new) = (from.names.iter().peekable(), to.names.iter().peekable());
        while let Some(order) = order(&mut old, &mut new) {
            let (gone, come) = match order {
                Ordering::Less => (old.next(), None),
                Ordering::Greater => (None, new.next()),
                Ordering::Equal => match (old.next(), new.next()) {
                    (before, after) if before == after => (None, None),
                    pair => pair,
                },
            };
            change.removed.extend(gone.cloned());
            change.added.extend(come.cloned());
            if change.removed.len() + change.added.len() > MOST {
                return None;
            }
        }
        Some(change)
    }
}

/// How the next rules of two plans stand to each other; none at the end of both.
fn order<'a>(
    old: &mut Peekable<impl Iterator<Item = &'a NameRule>>,
    new: &mut Peekable<impl Iterator<Item = &'a NameRule>>,
) -> Option<Ordering> {
    match (old.peek(), new.peek()) {
        (None, None) => None,
        (Some(_), None) => Some(Ordering::Less),
        (None, Some(_)) => Some(Ordering::Greater),
        (Some(before), Some(after)) => Some(before.rule.cmp(&after.rule)),
    }
}

fn is_same_but_for_names(one: &HubPlan, other: &HubPlan) -> bool {
    // Taken apart, so that a field that is added has to be thought of here. What ends is the agent's to end.
    let HubPlan { version, hub, name, stamp: _, mode, subnet, legs, names: _, prefixes, endpoints, services, ends: _ } =
        one;
    (version, hub, name, mode, subnet) == (&other.version, &other.hub, &other.name, &other.mode, &other.subnet)
        && (legs, prefixes, endpoints, services) == (&other.legs, &other.prefixes, &other.endpoints, &other.services)
}

/// Beyond so many rules the plan itself is not much more.
const MOST: usize = 100;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hub_plan::{HubId, Mode, PLAN_VERSION, RuleName};
    use crate::policy::Policy;

    fn plan(revision: i64, rules: &[(u8, u8)]) -> HubPlan {
        let mut names: Vec<NameRule> = rules
            .iter()
            .map(|(rule, host)| NameRule {
                rule: RuleName(format!("rule-{rule}")),
                pattern: format!("{}host-{}.example", if host % 2 == 0 { "*." } else { "" }, host / 2).parse().unwrap(),
                ports: vec![443],
            })
            .collect();
        names.sort_by(|one, other| one.rule.cmp(&other.rule));
        names.dedup_by(|one, other| one.rule == other.rule);
        HubPlan {
            version: PLAN_VERSION,
            hub: HubId(uuid::Uuid::nil()),
            name: "hub".into(),
            stamp: Stamp { fence: 1, revision },
            mode: Mode::ApprovedOutbound,
            subnet: "100.127.0.0/16".parse().unwrap(),
            legs: Vec::new(),
            names,
            prefixes: Vec::new(),
            endpoints: Vec::new(),
            services: Vec::new(),
            ends: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn the_way_between_two_plans_leads_from_the_one_to_the_other(
            from in proptest::collection::vec((0u8..40, 0u8..4), 0..30),
            to in proptest::collection::vec((0u8..40, 0u8..4), 0..30),
        ) {
            let (from, to) = (plan(1, &from), plan(2, &to));
            let change = NameChange::between(&from, &to).unwrap();
            let (from, to) = (Policy::new(from), Policy::new(to));
            prop_assert_eq!(to.changed(change.clone()), None, "it leads from one plan alone");
            prop_assert_eq!(from.changed(change), Some(to));
        }
    }

    #[test]
    fn what_differs_in_more_than_names_has_no_way() {
        let from = plan(1, &[(1, 1)]);
        let to = HubPlan { mode: Mode::InternetOutbound, ..plan(2, &[(1, 1)]) };
        assert_eq!(NameChange::between(&from, &to), None);
        let all: Vec<(u8, u8)> = (0..=u8::MAX).map(|rule| (rule, 1)).collect();
        assert_eq!(NameChange::between(&from, &plan(2, &all)), None, "nor what differs in many");
    }
}
