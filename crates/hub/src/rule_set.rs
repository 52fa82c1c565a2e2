//! The rules of a hub that somebody made, as a set that has a history: what a change was, what it takes to go back, how two
//! states differ (mission.md (c) 7).

use std::collections::BTreeMap;

use bastide_arm::resource_type::Linked;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::outbound_rule::is_removable;

/// Rules by name, each with its properties as stored.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleSet(BTreeMap<String, Map<String, Value>>);

/// What became of one rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleChange {
    /// Its name.
    pub name: String,
    /// What it was; none: it was not there.
    pub before: Option<Map<String, Value>>,
    /// What it is; none: it has gone.
    pub after: Option<Map<String, Value>>,
}

impl RuleSet {
    /// Those rules of a hub that are not the hub's own.
    pub fn of(rules: &[Linked]) -> Self {
        let own = rules.iter().filter(|rule| is_removable(&rule.document.properties));
        Self(own.map(|rule| (rule.id.name().to_owned(), rule.document.properties.clone())).collect())
    }

    /// The set before these changes, which are given the latest first.
    pub fn before<'a>(&self, changes: impl Iterator<Item = &'a RuleChange>) -> Self {
        let mut set = self.clone();
        for RuleChange { name, before, .. } in changes {
            // Names have no case.
            set.0.retain(|there, _| !there.eq_ignore_ascii_case(name));
            if let Some(before) = before {
                set.0.insert(name.clone(), before.clone());
            }
        }
        set
    }

    /// What it takes to make another set of this one.
    pub fn changes_to(&self, other: &Self) -> Vec<RuleChange> {
        let names: std::collections::BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let change = |name: &&String| {
            let (before, after) = (self.0.get(*name).cloned(), other.0.get(*name).cloned());
            (before != after).then(|| RuleChange { name: (*name).clone(), before, after })
        };
        names.iter().filter_map(change).collect()
    }
}

impl RuleChange {
    /// A change of a rule from one document to another; none, when it is not one that somebody made, or nothing changed.
    pub fn between(
        name: &str,
        before: Option<&Map<String, Value>>,
        after: Option<&Map<String, Value>>,
    ) -> Option<Self> {
        let own = |properties: Option<&Map<String, Value>>| properties.filter(|all| is_removable(all)).cloned();
        let (before, after) = (own(before), own(after));
        (before != after).then(|| Self { name: name.to_owned(), before, after })
    }
}

/// The rules of a body that brings changes about: properties under each name, null where one goes.
pub fn body(changes: &[RuleChange]) -> Map<String, Value> {
    let rule = |change: &RuleChange| {
        let value = match &change.after {
            None => Value::Null,
            Some(properties) => {
                let mut properties = properties.clone();
                // A body that is silent about extensions keeps those that stand.
                properties.entry("bastide").or_insert_with(|| json!({"enabled": true}));
                Value::Object(properties)
            }
        };
        (change.name.clone(), value)
    };
    changes.iter().map(rule).collect()
}

/// Changes as a list shows them: rules that came, went, or say something else.
pub fn told(changes: &[RuleChange]) -> Value {
    let of = |wanted: fn(&RuleChange) -> bool| changes.iter().filter(|change| wanted(change)).collect::<Vec<_>>();
    json!({
        "added": of(|change| change.before.is_none()),
        "removed": of(|change| change.after.is_none()),
        "changed": of(|change| change.before.is_some() && change.after.is_some()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(host: &str) -> Map<String, Value> {
        let rule = json!({"type": "FQDN", "category": "UserDefined", "destination": host});
        rule.as_object().unwrap().clone()
    }

    fn set(rules: &[(&str, &str)]) -> RuleSet {
        RuleSet(rules.iter().map(|(name, host)| ((*name).to_owned(), rule(host))).collect())
    }

    #[test]
    fn the_way_back_is_the_way_there_undone() {
        let states = [
            set(&[("one", "a.example")]),
            set(&[("one", "a.example"), ("two", "b.example")]),
            set(&[("one", "c.example"), ("two", "b.example")]),
            set(&[("two", "b.example")]),
        ];
        let steps: Vec<Vec<RuleChange>> = states.windows(2).map(|pair| pair[0].changes_to(&pair[1])).collect();
        for (state, place) in states.iter().zip(0..) {
            let undone = steps.iter().skip(place).rev().flatten();
            assert_eq!(&states[3].before(undone), state, "back to {place}");
        }
        assert!(states[0].changes_to(&states[0]).is_empty());
    }

    #[test]
    fn a_body_says_all_that_is_to_be() {
        let changes = set(&[("gone", "a.example")]).changes_to(&set(&[("new", "b.example")]));
        let body = body(&changes);
        assert_eq!(body["gone"], Value::Null);
        assert_eq!(body["new"]["bastide"]["enabled"], true, "what was switched off since is on again");
        let told = told(&changes);
        assert_eq!(
            (told["added"][0]["name"].as_str(), told["removed"][0]["name"].as_str()),
            (Some("new"), Some("gone"))
        );
    }

    #[test]
    fn what_the_hub_makes_itself_is_no_part_of_it() {
        let required = json!({"type": "FQDN", "category": "Required", "destination": "a.example"});
        assert_eq!(RuleChange::between("one", required.as_object(), None), None);
        assert_eq!(RuleChange::between("one", Some(&rule("a.example")), Some(&rule("a.example"))), None);
    }
}
