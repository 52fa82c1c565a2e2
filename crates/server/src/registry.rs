//! The resource types that exist, by name: one row a type, from one file a type.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Descriptor, ResourceType};

use crate::providers;

/// All resource types of this server.
#[derive(Clone)]
pub struct Registry {
    types: BTreeMap<String, Arc<dyn ResourceType>>,
    namespaces: BTreeMap<String, &'static str>,
    generic: Option<Arc<dyn ResourceType>>,
}

/// A type that was looked up, with the spelling to answer in.
#[derive(Clone)]
pub struct Registered {
    /// The type's rules.
    pub rules: Arc<dyn ResourceType>,
    /// `Namespace/type[/child]` in canonical spelling; the client's own spelling for a generic resource.
    pub name: String,
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    /// The built-in types; `generic_resources` adds storage for types nobody implements.
    pub fn new(generic_resources: bool) -> Self {
        let types = providers::all();
        let types: BTreeMap<_, _> =
            types.into_iter().map(|rules| (rules.descriptor().type_name().to_ascii_lowercase(), rules)).collect();
        let namespaces = types.values().map(|rules| rules.descriptor().namespace).chain(NAMESPACES_WITHOUT_TYPES);
        Self {
            namespaces: namespaces.map(|name| (name.to_ascii_lowercase(), name)).collect(),
            types,
            generic: generic_resources.then(providers::generic),
        }
    }

    /// The type of that name in any case; `InvalidResourceNamespace` or `InvalidResourceType` when nobody has it.
    pub fn find(&self, type_name: &str, api_version: &str) -> Result<Registered, ArmError> {
        if let Some(rules) = self.types.get(&type_name.to_ascii_lowercase()) {
            return Ok(Registered { rules: Arc::clone(rules), name: rules.descriptor().type_name() });
        }
        let (namespace, types) = type_name.split_once('/').unwrap_or((type_name, ""));
        let is_ours = OWN_NAMESPACES.iter().any(|own| own.eq_ignore_ascii_case(namespace));
        if let Some(rules) = self.generic.as_ref().filter(|_| !is_ours) {
            return Ok(Registered { rules: Arc::clone(rules), name: type_name.to_owned() });
        }
        if self.namespace(namespace).is_none() {
            return Err(ArmError::invalid_resource_namespace(namespace));
        }
        Err(ArmError::invalid_resource_type(namespace, types, api_version))
    }

    /// A namespace in canonical spelling.
    pub fn namespace(&self, name: &str) -> Option<&'static str> {
        self.namespaces.get(&name.to_ascii_lowercase()).copied()
    }

    /// Every namespace in canonical spelling, in order.
    pub fn namespaces(&self) -> impl Iterator<Item = &'static str> {
        self.namespaces.values().copied()
    }

    /// The types of a namespace, in order.
    pub fn types_of<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Descriptor> {
        self.types.values().map(|rules| rules.descriptor()).filter(move |descriptor| descriptor.namespace == namespace)
    }

    /// The rules of a namespace's types, by the namespace in any case.
    pub fn types_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a dyn ResourceType> {
        let rules = self.types.values().map(AsRef::as_ref);
        rules.filter(move |rules| rules.descriptor().namespace.eq_ignore_ascii_case(namespace))
    }

    /// Every built-in type.
    #[cfg(test)]
    pub fn all(&self) -> impl Iterator<Item = &Descriptor> {
        self.types.values().map(|rules| rules.descriptor())
    }
}

/// Namespaces that Terraform wants to find registered although none of their types is a resource here
/// (infrastructure-as-code.md 5.1: its core set).
const NAMESPACES_WITHOUT_TYPES: [&str; 9] = [
    "Microsoft.Authorization",
    "Microsoft.Compute",
    "Microsoft.CostManagement",
    "Microsoft.MarketplaceOrdering",
    "Microsoft.Network",
    "Microsoft.PolicyInsights",
    "Microsoft.Resources",
    "Microsoft.Storage",
    "Microsoft.Subscription",
];

/// What stands under these decides about rights and scopes; nothing is ever stored there without being understood.
const OWN_NAMESPACES: [&str; 3] = ["Microsoft.Authorization", "Microsoft.Resources", "Microsoft.Subscription"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_found_in_any_case_and_answered_in_canonical_spelling() {
        let registry = Registry::new(false);
        let found = registry.find("microsoft.machinelearningservices/WORKSPACES", "2024-10-01").unwrap();
        assert_eq!(found.name, "Microsoft.MachineLearningServices/workspaces");
    }

    #[test]
    fn a_type_nobody_implements_is_refused_unless_generic_resources_are_on() {
        let refused = |name| Registry::new(false).find(name, "2024-10-01").map(|found| found.name).unwrap_err();
        assert_eq!(refused("Microsoft.MachineLearningServices/nonsense").code, "InvalidResourceType");
        assert_eq!(refused("Contoso.Widgets/widgets").code, "InvalidResourceNamespace");
        let stored = Registry::new(true).find("Contoso.Widgets/widgets", "2024-10-01").unwrap();
        assert_eq!(stored.name, "Contoso.Widgets/widgets");
        for own in ["Microsoft.Authorization/roleAssignments", "microsoft.resources/subscriptions"] {
            let refused = Registry::new(true).find(own, "2024-10-01").map(|found| found.name).unwrap_err();
            assert_eq!(refused.code, "InvalidResourceType", "{own} decides about rights");
        }
    }

    #[test]
    fn descriptors_are_well_formed() {
        for descriptor in Registry::new(false).all() {
            let name = descriptor.type_name();
            assert!(!descriptor.types.is_empty(), "{name}");
            assert!(!descriptor.api_versions.is_empty(), "{name}");
            for version in descriptor.api_versions {
                assert!(bastide_arm::api_version::ApiVersion::parse(version).is_ok(), "{name} {version}");
            }
            assert!(matches!(descriptor.put.created, 200 | 201), "{name}");
            for action in descriptor.actions {
                assert!(action.name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{name}/{}", action.name);
            }
        }
    }
}
