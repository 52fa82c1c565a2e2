//! `Microsoft.KeyVault/vaults/accessPolicies`: the ways to change who may do what with what is in a vault.

use std::collections::BTreeMap;

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, Document, IdentitySupport, NameRule, Placement, PutStatus,
    ResourceType, Surroundings, View,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::stored::text;

/// The type as provider listings show it. Its changes are made to the vault.
#[derive(Debug)]
pub struct VaultAccessPolicy;

/// What is done with the policies in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Their permissions join those there are.
    Add,
    /// They take the place of those of the same identity.
    Replace,
    /// Their permissions are taken away.
    Remove,
}

/// The list of a vault's policies, one an identity.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessPolicies(Vec<AccessPolicy>);

/// What one identity, or an application in its name, may do.
#[derive(Debug, Clone, PartialEq)]
struct AccessPolicy {
    /// `tenantId`, `objectId`, `applicationId`.
    identity: Map<String, Value>,
    /// By kind: `keys`, `secrets`, `certificates`, `storage`.
    permissions: BTreeMap<String, Vec<Value>>,
}

/// Property that holds the list.
pub const ACCESS_POLICIES: &str = "accessPolicies";

/// Name of the type.
pub const TYPE_NAME: &str = "Microsoft.KeyVault/vaults/accessPolicies";

impl Change {
    /// By the name at the end of the path, in any case.
    pub fn read(name: &str) -> Result<Self, ArmError> {
        let known = [("add", Self::Add), ("replace", Self::Replace), ("remove", Self::Remove)];
        let found = known.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(name));
        found.map(|(_, change)| change).ok_or_else(|| {
            let message = format!("'{name}' is no change of access policies. Use {}.", DESCRIPTOR.name.explanation);
            ArmError::invalid_parameter("operationKind", message)
        })
    }
}

impl AccessPolicies {
    /// Those of a vault.
    pub fn of(vault: &Document) -> Self {
        let listed = vault.properties.get(ACCESS_POLICIES).and_then(Value::as_array).into_iter().flatten();
        Self(listed.filter_map(Value::as_object).map(AccessPolicy::of).collect())
    }

    /// Those of a body, which must say whom they are for.
    pub fn read(body: &Value, tenant: Uuid) -> Result<Self, ArmError> {
        let target = format!("properties.{ACCESS_POLICIES}");
        let Some(listed) = body.get("properties").and_then(|properties| properties.get(ACCESS_POLICIES)?.as_array())
        else {
            let message = "The body needs properties.accessPolicies, a list of objects with objectId and permissions.";
            return Err(ArmError::invalid_parameter(&target, message));
        };
        let read = |(index, policy)| AccessPolicy::read(policy, &format!("{target}[{index}]"), tenant);
        Ok(Self(listed.iter().enumerate().map(read).collect::<Result<_, _>>()?))
    }

    /// The list after a change.
    #[must_use]
    pub fn changed(mut self, change: Change, asked: Self) -> Self {
        for policy in asked.0 {
            match (change, self.0.iter_mut().find(|stands| stands.is_for_whom(&policy))) {
                (Change::Add, Some(stands)) => stands.join(policy),
                (Change::Replace, Some(stands)) => *stands = policy,
                (Change::Remove, Some(stands)) => stands.take(&policy),
                (Change::Add | Change::Replace, None) => self.0.push(policy),
                (Change::Remove, None) => {}
            }
        }
        if change == Change::Remove {
            self.0.retain(|policy| policy.permissions.values().any(|granted| !granted.is_empty()));
        }
        self
    }

    /// As the vault has it.
    pub fn to_value(&self) -> Value {
        self.0.iter().map(AccessPolicy::to_value).collect()
    }
}

impl AccessPolicy {
    fn of(policy: &Map<String, Value>) -> Self {
        let mut identity = policy.clone();
        let kinds = identity.remove("permissions");
        let kinds = kinds.as_ref().and_then(Value::as_object).into_iter().flatten();
        let permissions =
            kinds.filter_map(|(kind, granted)| Some((kind.clone(), granted.as_array()?.clone()))).collect();
        Self { identity, permissions }
    }

    fn read(policy: &Value, at: &str, tenant: Uuid) -> Result<Self, ArmError> {
        let refuse =
            |field: &str, message: &str| Err(ArmError::invalid_parameter(&format!("{at}.{field}"), message.to_owned()));
        let nothing = Map::new();
        let fields = policy.as_object().unwrap_or(&nothing);
        if text(fields, "objectId").is_none_or(str::is_empty) {
            return refuse("objectId", "An access policy needs objectId, the identity it is for.");
        }
        if text(fields, "tenantId").is_some_and(|asked| !asked.eq_ignore_ascii_case(&tenant.to_string())) {
            return refuse("tenantId", "Identities of another tenant cannot be granted anything in a vault.");
        }
        if !fields.get("permissions").is_some_and(Value::is_object) {
            return refuse("permissions", "An access policy needs permissions, an object of lists.");
        }
        let mut policy = Self::of(fields);
        policy.identity.entry("tenantId").or_insert_with(|| json!(tenant));
        Ok(policy)
    }

    fn is_for_whom(&self, other: &Self) -> bool {
        let same = |name| {
            let (own, others) = (text(&self.identity, name), text(&other.identity, name));
            own.unwrap_or_default().eq_ignore_ascii_case(others.unwrap_or_default())
        };
        same("objectId") && same("applicationId")
    }

    fn join(&mut self, other: Self) {
        for (kind, wanted) in other.permissions {
            let granted = self.permissions.entry(kind).or_default();
            for permission in wanted {
                if !granted.iter().any(|there| is_same(there, &permission)) {
                    granted.push(permission);
                }
            }
        }
    }

    fn take(&mut self, other: &Self) {
        for (kind, gone) in &other.permissions {
            if let Some(granted) = self.permissions.get_mut(kind) {
                granted.retain(|there| !gone.iter().any(|permission| is_same(there, permission)));
            }
        }
    }

    fn to_value(&self) -> Value {
        let mut fields = self.identity.clone();
        fields.insert("permissions".into(), json!(self.permissions));
        Value::Object(fields)
    }
}

impl ResourceType for VaultAccessPolicy {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let message = "Access policies are changed by PUT of add, replace or remove below their vault.";
        Err(ArmError::invalid_resource_name(admission.id.name(), TYPE_NAME, message))
    }

    fn answer(&self, _view: &View<'_>) -> Map<String, Value> {
        Map::new()
    }
}

/// Permissions are words, whatever their case.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one.as_str(), other.as_str()) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        _ => one == other,
    }
}

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.KeyVault",
    types: &["vaults", "accessPolicies"],
    placement: Placement::ResourceGroup,
    tracked: false,
    name: NameRule { accepts: |name| Change::read(name).is_ok(), explanation: "add, replace or remove" },
    identity: IdentitySupport::None,
    read_only: &[],
    patchable: Some(&[]),
    put: PutStatus::OK,
    surroundings: Surroundings::NONE,
    actions: &[],
    api_versions: &["2026-02-01", "2025-05-01", "2024-11-01", "2023-07-01", "2022-07-01", "2021-10-01", "2019-09-01"],
    data_plane: DataPlane::None,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(listed: Value) -> AccessPolicies {
        AccessPolicies::read(&json!({"properties": {"accessPolicies": listed}}), Uuid::nil()).unwrap()
    }

    #[test]
    fn each_change_is_about_the_identities_it_names() {
        let stands = policies(json!([
            {"objectId": "a", "permissions": {"keys": ["get"], "secrets": ["Get", "list"]}},
            {"objectId": "b", "permissions": {"keys": ["get"]}},
        ]));
        let asked = policies(json!([{"objectId": "A", "permissions": {"secrets": ["get", "set"]}}]));
        let permissions = |change| {
            let after = stands.clone().changed(change, asked.clone()).to_value();
            assert_eq!(after[1]["permissions"], json!({"keys": ["get"]}), "the other one is left alone");
            after[0]["permissions"].clone()
        };
        assert_eq!(permissions(Change::Add), json!({"keys": ["get"], "secrets": ["Get", "list", "set"]}));
        assert_eq!(permissions(Change::Replace), json!({"secrets": ["get", "set"]}));
        assert_eq!(permissions(Change::Remove), json!({"keys": ["get"], "secrets": ["list"]}));
    }

    #[test]
    fn who_may_do_nothing_any_more_is_not_on_the_list() {
        let stands = policies(json!([{"objectId": "a", "permissions": {"keys": ["get"], "secrets": []}}]));
        assert_eq!(stands.clone().changed(Change::Remove, stands).to_value(), json!([]));
    }

    #[test]
    fn a_policy_says_whom_it_is_for_and_what_it_grants() {
        for (policy, field) in [
            (json!({"permissions": {}}), "objectId"),
            (json!({"objectId": "a"}), "permissions"),
            (json!({"objectId": "a", "tenantId": "b", "permissions": {}}), "tenantId"),
            (json!("a"), "objectId"),
        ] {
            let body = json!({"properties": {"accessPolicies": [policy]}});
            let error = AccessPolicies::read(&body, Uuid::nil()).unwrap_err();
            assert_eq!(error.target.as_deref(), Some(&*format!("properties.accessPolicies[0].{field}")));
        }
    }
}
