//! Types that have no rules of their own: stored as they come, completed with what clients read, and saying of themselves
//! that nothing runs behind them. Templates and Terraform declare them around a hub (infrastructure-as-code.md section 4).

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Admission, Admitted, Descriptor, NameRule, Placement, PutStatus, ResourceType, View};
use serde_json::{Map, Value, json};

use super::stored::with_defaults;

/// A type that is stored.
#[derive(Debug)]
pub struct StoredType {
    descriptor: &'static Descriptor,
    /// What an answer shows where the body said nothing.
    defaults: fn() -> Value,
}

/// All of them.
pub fn all() -> impl Iterator<Item = StoredType> {
    TYPES.iter().map(|(descriptor, defaults)| StoredType { descriptor, defaults: *defaults })
}

/// The services every storage account has beside its blobs, by the last word of their types.
pub(super) const STORAGE_SERVICES: [&str; 3] = ["fileServices", "queueServices", "tableServices"];

impl ResourceType for StoredType {
    fn descriptor(&self) -> &Descriptor {
        self.descriptor
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document;
        with_defaults(&mut document.properties, (self.defaults)());
        Ok(Admitted { document, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        // A service that came with its account was never written.
        with_defaults(&mut properties, (self.defaults)());
        if self.descriptor.read_only.contains(&STATE) {
            properties.insert(STATE.into(), "Succeeded".into());
        }
        properties
    }
}

fn nothing() -> Value {
    json!({})
}

fn cors() -> Value {
    json!({"cors": {"corsRules": []}})
}

fn file_service() -> Value {
    json!({
        "cors": {"corsRules": []},
        "shareDeleteRetentionPolicy": {"enabled": true, "days": 7},
        "protocolSettings": {"smb": {}},
    })
}

fn share() -> Value {
    json!({"accessTier": "TransactionOptimized", "shareQuota": 5120, "enabledProtocols": "SMB"})
}

fn replication() -> Value {
    json!({"regionEndpointEnabled": true, "zoneRedundancy": "Disabled"})
}

fn capability_host() -> Value {
    json!({"capabilityHostKind": "Agents"})
}

const fn below(
    namespace: &'static str,
    types: &'static [&'static str],
    name: NameRule,
    api_versions: &'static [&'static str],
) -> Descriptor {
    Descriptor { name, ..Descriptor::stored(namespace, types, api_versions) }
}

const fn of_storage(types: &'static [&'static str], name: NameRule) -> Descriptor {
    below("Microsoft.Storage", types, name, STORAGE_VERSIONS)
}

const fn capability_hosts(types: &'static [&'static str]) -> Descriptor {
    let of_accounts = below("Microsoft.CognitiveServices", types, HYPHENATED, ACCOUNT_VERSIONS);
    Descriptor { read_only: &[STATE], put: PutStatus::CREATED, ..of_accounts }
}

type Stored = (Descriptor, fn() -> Value);

static TYPES: [Stored; 11] = [
    (of_storage(&["storageAccounts", "fileServices"], DEFAULT), file_service),
    (
        Descriptor { put: PutStatus::CREATED, ..of_storage(&["storageAccounts", "fileServices", "shares"], BELOW) },
        share,
    ),
    (of_storage(&["storageAccounts", "queueServices"], DEFAULT), cors),
    (of_storage(&["storageAccounts", "queueServices", "queues"], BELOW), nothing),
    (of_storage(&["storageAccounts", "tableServices"], DEFAULT), cors),
    (of_storage(&["storageAccounts", "tableServices", "tables"], TABLE), nothing),
    (of_storage(&["storageAccounts", "managementPolicies"], DEFAULT), nothing),
    (
        Descriptor {
            tracked: true,
            read_only: &[STATE, "status"],
            put: PutStatus::CREATED,
            ..below("Microsoft.ContainerRegistry", &["registries", "replications"], REPLICATION, REGISTRY_VERSIONS)
        },
        replication,
    ),
    (capability_hosts(&["accounts", "capabilityHosts"]), capability_host),
    (capability_hosts(&["accounts", "projects", "capabilityHosts"]), capability_host),
    (
        Descriptor {
            placement: Placement::Extension,
            ..below("Microsoft.Insights", &["diagnosticSettings"], NameRule::GENERIC, DIAGNOSTIC_VERSIONS)
        },
        nothing,
    ),
];

const STATE: &str = "provisioningState";

const DEFAULT: NameRule =
    NameRule { accepts: |name| name.eq_ignore_ascii_case("default"), explanation: "the name 'default'" };

const BELOW: NameRule = NameRule {
    accepts: |name| {
        (3..=63).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-')
            && !name.contains("--")
    },
    explanation: "3 to 63 lower-case letters, digits and single inner hyphens",
};

const TABLE: NameRule = NameRule {
    accepts: |name| {
        (3..=63).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && name.starts_with(|first: char| first.is_ascii_alphabetic())
    },
    explanation: "3 to 63 letters and digits, starting with a letter",
};

const REPLICATION: NameRule = NameRule {
    accepts: |name| (5..=50).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric()),
    explanation: "5 to 50 letters and digits, such as the name of the region",
};

const HYPHENATED: NameRule = super::stored::HYPHENATED;

const STORAGE_VERSIONS: &[&str] =
    &["2025-08-01", "2025-06-01", "2024-01-01", "2023-05-01", "2023-04-01", "2021-09-01", "2019-06-01"];
const REGISTRY_VERSIONS: &[&str] = &["2025-11-01", "2023-07-01", "2023-01-01-preview", "2021-09-01", "2019-05-01"];
const ACCOUNT_VERSIONS: &[&str] = &["2025-09-01", "2025-06-01", "2025-04-01-preview"];
const DIAGNOSTIC_VERSIONS: &[&str] = &["2021-05-01-preview", "2017-05-01-preview"];
