//! Rules that a hub has because of others, which they name as their parents: they come with the first parent and go with the
//! last (mission.md H14, G16; arm-models.md 3.1).
//!
//! * The tag of the hub's own network, as soon as there is a private endpoint (H14).
//! * The `blob` service of a storage account that a rule reaches by `dfs`: clients of a data lake use both.

use std::collections::BTreeMap;

use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Document, Linked};
use serde_json::{Value, json};

use super::rule::{Category, Destination, Rule};
use crate::isolation_mode::IsolationMode;

/// Whether a rule of that name is one of these.
pub fn is_implied(name: &str) -> bool {
    name.eq_ignore_ascii_case(OWN_NETWORK) || name.to_ascii_lowercase().starts_with(&DEPENDENCY.to_ascii_lowercase())
}

/// Whether a rule may be a parent.
pub fn implies(document: &Document) -> bool {
    Rule::stored(&document.properties).is_some_and(|rule| matches!(rule.destination, Destination::PrivateEndpoint(_)))
}

/// The rules that the rules of a hub imply, by name. Those of `rules` that are implied themselves are passed over.
pub fn implied(hub: &Document, rules: &[Linked]) -> BTreeMap<String, Document> {
    let mut found = BTreeMap::new();
    if IsolationMode::of(&hub.properties) == IsolationMode::Disabled {
        return found;
    }
    let endpoints: Vec<(&str, ResourceId, String)> = rules.iter().filter_map(endpoint).collect();
    let mut parents: Vec<&str> = endpoints.iter().map(|(name, ..)| *name).collect();
    let mut lakes: BTreeMap<String, (ResourceId, Vec<&str>)> = BTreeMap::new();
    for (name, target, service) in &endpoints {
        let has_blob = || endpoints.iter().any(|(_, other, service)| other == target && service == BLOB);
        if service == DFS && target.type_name().eq_ignore_ascii_case(STORAGE) && !has_blob() {
            let lake = lakes.entry(target.key().to_owned()).or_insert_with(|| (target.clone(), Vec::new()));
            lake.1.push(name);
        }
    }
    for (target, because) in lakes.into_values() {
        let destination =
            json!({"serviceResourceId": target.to_string(), "subresourceTarget": BLOB, "sparkEnabled": false});
        let rule = document("PrivateEndpoint", Category::Dependency, &destination, &because);
        found.insert(format!("{DEPENDENCY}{}_{BLOB}", target.name()), rule);
    }
    let dependencies: Vec<String> = found.keys().cloned().collect();
    parents.extend(dependencies.iter().map(String::as_str));
    if !parents.is_empty() {
        parents.sort_unstable();
        let destination =
            json!({"serviceTag": "VirtualNetwork", "protocol": "*", "portRanges": "*", "action": "Allow"});
        let rule = document("ServiceTag", Category::Required, &destination, &parents);
        found.insert(OWN_NETWORK.to_owned(), rule);
    }
    found
}

/// A private endpoint that somebody or something else has made: its name, where it leads, and by which service.
fn endpoint(row: &Linked) -> Option<(&str, ResourceId, String)> {
    let name = row.id.name();
    match Rule::stored(&row.document.properties)?.destination {
        Destination::PrivateEndpoint(destination) if !is_implied(name) => {
            Some((name, destination.resource(), destination.subresource))
        }
        _ => None,
    }
}

fn document(type_name: &str, category: Category, destination: &Value, parents: &[&str]) -> Document {
    let fields = [
        ("type", json!(type_name)),
        ("category", json!(category.as_str())),
        ("destination", destination.clone()),
        (PARENTS, json!(parents)),
    ];
    let properties = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Document { properties, ..Document::default() }
}

/// Where an implied rule names its parents, in store and on the wire.
pub const PARENTS: &str = "parentRuleNames";

/// The rule of the hub's own network.
pub const OWN_NETWORK: &str = "__SYS_ST_VirtualNetwork";

/// How the names of dependencies of rules start.
const DEPENDENCY: &str = "__SYS_PE_dependency_";

const STORAGE: &str = "Microsoft.Storage/storageAccounts";
const BLOB: &str = "blob";
const DFS: &str = "dfs";

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers";

    fn hub(mode: &str) -> Document {
        let properties = json!({"managedNetwork": {"isolationMode": mode}});
        Document { properties: properties.as_object().unwrap().clone(), ..Document::default() }
    }

    fn row(name: &str, properties: Value) -> Linked {
        let path = format!("{GROUP}/Microsoft.MachineLearningServices/workspaces/hub/outboundRules/{name}");
        Linked {
            id: ResourceId::parse(&path).unwrap(),
            incarnation: Uuid::nil(),
            document: Document { properties: properties.as_object().unwrap().clone(), ..Document::default() },
        }
    }

    fn to(name: &str, account: &str, service: &str) -> Linked {
        let id = format!("{GROUP}/Microsoft.Storage/storageAccounts/{account}");
        let destination = json!({"serviceResourceId": id, "subresourceTarget": service});
        row(name, json!({"type": "PrivateEndpoint", "destination": destination}))
    }

    fn told(mode: &str, rules: &[Linked]) -> BTreeMap<String, Value> {
        let found = implied(&hub(mode), rules);
        found.into_iter().map(|(name, document)| (name, document.properties[PARENTS].clone())).collect()
    }

    #[test]
    fn a_private_endpoint_brings_the_tag_of_the_network_it_stands_in() {
        let name = row("pypi", json!({"type": "FQDN", "destination": "pypi.org"}));
        assert!(told("AllowOnlyApprovedOutbound", std::slice::from_ref(&name)).is_empty());
        assert!(told("Disabled", &[to("one", "data", "blob")]).is_empty());
        let rules = [name, to("two", "data", "file"), to("one", "data", "blob")];
        let found = told("AllowInternetOutbound", &rules);
        assert_eq!(found, BTreeMap::from([(OWN_NETWORK.to_owned(), json!(["one", "two"]))]));
    }

    #[test]
    fn a_data_lake_brings_its_blobs_once_and_names_all_who_need_them() {
        let rules = [to("one", "lake", "dfs"), to("two", "lake", "dfs")];
        let found = told("AllowOnlyApprovedOutbound", &rules);
        assert_eq!(found["__SYS_PE_dependency_lake_blob"], json!(["one", "two"]));
        assert_eq!(found[OWN_NETWORK], json!(["__SYS_PE_dependency_lake_blob", "one", "two"]));
        let own = [to("one", "lake", "dfs"), to("mine", "lake", "blob")];
        assert!(!told("AllowOnlyApprovedOutbound", &own).contains_key("__SYS_PE_dependency_lake_blob"));
    }

    #[test]
    fn what_is_implied_implies_nothing_more() {
        let mut rules = vec![to("one", "lake", "dfs")];
        let first = implied(&hub("AllowOnlyApprovedOutbound"), &rules);
        rules.extend(first.iter().map(|(name, rule)| row(name, Value::Object(rule.properties.clone()))));
        assert_eq!(implied(&hub("AllowOnlyApprovedOutbound"), &rules), first);
    }
}
