//! The actions there are: those of the registered types, of the routes, and those the built-in roles name. Custom roles
//! may grant these; `providerOperations` lists the first two kinds.

use std::collections::{BTreeMap, BTreeSet};

use bastide_access::{ActionPattern, builtin_roles};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::front::Front;
use crate::list::paged;
use crate::registry::Registry;
use crate::reply::Reply;
use crate::request::Request;
use crate::routes::{Action, ROUTES};

/// What patterns of custom roles are held against.
pub(super) struct KnownActions {
    actions: BTreeSet<String>,
    data_actions: BTreeSet<String>,
    /// Patterns of built-in roles inside one provider: for parts of the cloud that nothing here implements, and roles
    /// written for it.
    patterns: Vec<ActionPattern>,
    data_patterns: Vec<ActionPattern>,
}

impl KnownActions {
    pub(super) fn new(registry: &Registry) -> Self {
        let mut known = Self {
            actions: own_actions(registry).into_values().flatten().collect(),
            data_actions: BTreeSet::new(),
            patterns: Vec::new(),
            data_patterns: Vec::new(),
        };
        for block in builtin_roles().iter().flat_map(|role| &role.permissions) {
            sort_in(block.actions.iter().chain(&block.not_actions), &mut known.actions, &mut known.patterns);
            let data_actions = block.data_actions.iter().chain(&block.not_data_actions);
            sort_in(data_actions, &mut known.data_actions, &mut known.data_patterns);
        }
        known
    }

    /// Whether a pattern covers at least one action there is.
    pub(super) fn include(&self, pattern: &ActionPattern, data: bool) -> bool {
        let (actions, patterns) =
            if data { (&self.data_actions, &self.data_patterns) } else { (&self.actions, &self.patterns) };
        actions.iter().any(|action| pattern.matches(action))
            || patterns.iter().any(|known| known.matches(pattern.as_str()))
    }
}

impl Front {
    /// GET of the operations of all providers, or of one.
    pub(crate) fn read_provider_operations(&self, request: &Request<'_>) -> Result<Reply, Failure> {
        let by_namespace = own_actions(&self.registry);
        let Some(asked) = request.matched.values.first() else {
            let values = by_namespace.iter().map(|(namespace, actions)| metadata(namespace, actions)).collect();
            return Ok(paged(request, values, None));
        };
        match by_namespace.iter().find(|(namespace, _)| namespace.eq_ignore_ascii_case(asked)) {
            Some((namespace, actions)) => Ok(Reply::ok(metadata(namespace, actions))),
            None => Err(bastide_arm::error::ArmError::invalid_resource_namespace(asked).into()),
        }
    }
}

/// Every control action of this server, by namespace.
fn own_actions(registry: &Registry) -> BTreeMap<String, BTreeSet<String>> {
    let mut actions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut add = |action: String| {
        let namespace = action.split('/').next().unwrap_or_default().to_owned();
        actions.entry(namespace).or_default().insert(action);
    };
    for descriptor in registry.namespaces().flat_map(|namespace| registry.types_of(namespace)) {
        let type_name = descriptor.type_name();
        for verb in ["read", "write", "delete"] {
            add(format!("{type_name}/{verb}"));
        }
        for action in descriptor.actions {
            add(format!("{type_name}/{}/action", action.name));
        }
    }
    for route in ROUTES {
        if let Action::Fixed(action) | Action::Delegated(action) = route.action {
            add(action.to_owned());
        }
    }
    actions
}

fn metadata(namespace: &str, actions: &BTreeSet<String>) -> Value {
    let mut types: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for action in actions {
        let words: Vec<&str> = action.split('/').skip(1).collect();
        // `{type}/{verb}`, but `{type}/{name}/action`.
        let tail = if words.last() == Some(&"action") { 2 } else { 1 };
        let type_name = words.get(..words.len().saturating_sub(tail)).unwrap_or_default().join("/");
        types.entry(type_name).or_default().push(json!({
            "name": action,
            "displayName": words.join(" "),
            "description": action,
            "origin": "user,system",
            "properties": null,
            "isDataAction": false,
        }));
    }
    let operations = types.remove("").unwrap_or_default();
    let types: Vec<Value> = types
        .into_iter()
        .map(|(name, operations)| json!({"name": name, "displayName": name, "operations": operations}))
        .collect();
    json!({
        "id": format!("/providers/Microsoft.Authorization/providerOperations/{namespace}"),
        "name": namespace,
        "type": "Microsoft.Authorization/providerOperations",
        "displayName": namespace,
        "resourceTypes": types,
        "operations": operations,
    })
}

fn sort_in<'a>(
    texts: impl Iterator<Item = &'a String>,
    actions: &mut BTreeSet<String>,
    patterns: &mut Vec<ActionPattern>,
) {
    for text in texts {
        if !text.contains('*') {
            actions.insert(text.clone());
        } else if text.split('/').next().is_some_and(|namespace| !namespace.contains('*')) {
            patterns.push(ActionPattern::new(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_held_against_what_there_is() {
        let known = KnownActions::new(&Registry::new(false));
        let include = |text: &str, data| known.include(&ActionPattern::new(text), data);
        for text in [
            "*",
            "*/read",
            "Microsoft.MachineLearningServices/workspaces/*",
            "microsoft.authorization/roleassignments/write",
            "Microsoft.Insights/alertRules/*",
        ] {
            assert!(include(text, false), "{text}");
        }
        assert!(!include("Microsoft.Nothing/read", false));
        assert!(!include("Microsoft.Resources/dances/read", false));
        assert!(include("Microsoft.CognitiveServices/*", true));
        assert!(
            !include("Microsoft.Authorization/roleAssignments/write", true),
            "control actions are not data actions"
        );
    }
}
