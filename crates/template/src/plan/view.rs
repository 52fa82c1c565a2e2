//! What a deployment shows of its plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Node, NodeKind, Plan};
use crate::data::Data;
use crate::evaluator::Evaluator;
use crate::limits::Budget;
use crate::live::Nothing;
use crate::parameter::Bound;
use crate::types::Types;

impl Plan {
    /// `properties.parameters` as a GET of the deployment shows them: types and values, secret ones without a value.
    pub fn parameters(&self) -> Value {
        let types = Types::new(&self.template.definitions);
        let mut shown = Map::new();
        for parameter in &self.template.parameters {
            let mut entry = json!({ "type": types.shown(&parameter.schema) });
            let value = self.shown_parameter(&parameter.name);
            if let (Some(entry), Some(value)) = (entry.as_object_mut(), value) {
                entry.insert("value".to_owned(), value);
            }
            shown.insert(parameter.name.clone(), entry);
        }
        Value::Object(shown)
    }

    /// `properties.dependencies` as a GET of the deployment shows them.
    pub fn dependencies(&self) -> Value {
        let named = |node: &Node| json!({"id": node.id, "resourceType": node.type_name, "resourceName": node.name});
        let waiting = self.nodes.iter().filter(|node| !node.depends_on.is_empty());
        let entry = |node: &Node| {
            let before: Value =
                node.depends_on.iter().filter_map(|position| self.nodes.get(*position)).map(named).collect();
            json!({"dependsOn": before, "id": node.id, "resourceType": node.type_name, "resourceName": node.name})
        };
        waiting.map(entry).collect()
    }

    /// `properties.providers` as a GET of the deployment shows them.
    pub fn providers(&self) -> Value {
        let mut namespaces: BTreeMap<&str, BTreeMap<&str, BTreeSet<String>>> = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| node.kind != NodeKind::Existing) {
            let Some((namespace, kind)) = node.type_name.split_once('/') else {
                continue;
            };
            let locations = namespaces.entry(namespace).or_default().entry(kind).or_default();
            locations.extend(node.location());
        }
        let types = |types: BTreeMap<&str, BTreeSet<String>>| -> Value {
            types.into_iter().map(|(kind, places)| json!({"resourceType": kind, "locations": places})).collect()
        };
        let shown = namespaces.into_iter();
        shown.map(|(namespace, kinds)| json!({"namespace": namespace, "resourceTypes": types(kinds)})).collect()
    }

    /// A parameter's value, unless it is secret or not known yet.
    fn shown_parameter(&self, name: &str) -> Option<Value> {
        // A nested template of outer scope never sees parameters of its own.
        if !Arc::ptr_eq(&self.frame.template, &self.template) {
            return None;
        }
        if let Some(Bound::Value { data, secret: false }) = self.frame.parameters.get(&name.to_ascii_lowercase()) {
            return Some(data.to_value());
        }
        let mut budget = Budget::new(self.frame.limits);
        let nothing = Nothing;
        let mut evaluator = Evaluator::new(&self.frame, &self.symbols, &nothing, &mut budget);
        let value: Option<Data> = evaluator.parameter(name).and_then(Result::ok);
        value.filter(|_| !evaluator.secret).map(|data| data.to_value())
    }
}
