//! What a workspace admits.

use std::collections::BTreeMap;

use bastide_arm::api_version::ApiVersion;
use bastide_arm::resource_type::{Author, Existing, PartChange, Secret};
use uuid::Uuid;

use super::*;

const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-0000000000b2/resourceGroups/rg/providers";

/// A workspace and what stands around it.
struct Stage {
    existing: Option<Document>,
    parts: Vec<Linked>,
    linked: BTreeMap<String, Linked>,
    parity: Parity,
    version: &'static str,
}

impl Stage {
    fn new() -> Self {
        Self {
            existing: None,
            parts: Vec::new(),
            linked: BTreeMap::new(),
            parity: Parity::Native,
            version: "2024-10-01-preview",
        }
    }

    /// With another resource there.
    fn beside(mut self, kind: &str, name: &str, kind_of: Option<&str>, properties: Value) -> Self {
        let id = ResourceId::parse(&format!("{GROUP}/{kind}/{name}")).unwrap();
        let document = Document {
            kind: kind_of.map(str::to_owned),
            properties: properties.as_object().cloned().unwrap(),
            ..Document::default()
        };
        self.linked.insert(id.key().to_owned(), Linked { id, incarnation: Uuid::nil(), document });
        self
    }

    /// After a hub was made with these properties.
    fn after(mut self, properties: Value) -> Self {
        let admitted = self.put(properties).unwrap();
        self.parts = admitted
            .parts
            .into_iter()
            .filter_map(|part| match part {
                PartChange::Put { kind, name, document } => Some(Linked {
                    id: hub_id().child(kind, &name).unwrap(),
                    incarnation: Uuid::nil(),
                    document: *document,
                }),
                PartChange::Delete { .. } => None,
            })
            .collect();
        self.existing = Some(admitted.document);
        self
    }

    fn put(&self, properties: Value) -> Result<Admitted, ArmError> {
        self.put_as("hub", properties)
    }

    fn put_as(&self, kind: &str, properties: Value) -> Result<Admitted, ArmError> {
        let asked = properties.as_object().cloned().unwrap();
        let document = Document {
            location: Some("westeurope".to_owned()),
            kind: Some(kind.to_owned()),
            properties: asked.clone(),
            ..Document::default()
        };
        let version = ApiVersion::parse(self.version).unwrap();
        Workspace.admit(Admission {
            id: &hub_id(),
            existing: self.existing.as_ref().map(|document| Existing { incarnation: Uuid::nil(), document }),
            document,
            asked: &asked,
            secrets: &BTreeMap::new(),
            linked: &self.linked,
            parent: None,
            parts: &self.parts,
            referrers: &[],
            api_version: &version,
            zone: "bastide.localhost",
            parity: self.parity,
            tenant_id: Uuid::nil(),
            author: &Author::default(),
            now: now(),
            fresh_id: &|| Uuid::nil(),
            fresh_secret: &|| Secret::new("secret"),
        })
    }
}

fn now() -> jiff::Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn hub_id() -> ResourceId {
    ResourceId::parse(&format!("{GROUP}/Microsoft.MachineLearningServices/workspaces/hub")).unwrap()
}

fn network(mode: &str, rules: Value) -> Value {
    json!({"managedNetwork": {"isolationMode": mode, "outboundRules": rules}})
}

fn pypi() -> Value {
    json!({"type": "FQDN", "destination": "pypi.org"})
}

fn registry(name: &str) -> String {
    format!("{GROUP}/Microsoft.ContainerRegistry/registries/{name}")
}

fn names(parts: &[PartChange]) -> Vec<String> {
    let name = |part: &PartChange| match part {
        PartChange::Put { name, .. } => format!("+{name}"),
        PartChange::Delete { name, .. } => format!("-{name}"),
    };
    parts.iter().map(name).collect()
}

#[test]
fn the_sdks_texts_become_real_values_and_empty_ones_go() {
    let admitted = Stage::new().put(json!({
        "hbiWorkspace": "false",
        "enableDataIsolation": "True",
        "primaryUserAssignedIdentity": "",
        "imageBuildCompute": "",
        "systemDatastoresAuthMode": "",
        "publicNetworkAccess": "PublicNetworkAccessType.DISABLED",
        "encryption": {"status": "Disabled", "keyVaultProperties": {"keyVaultArmId": "", "keyIdentifier": ""}},
        "containerRegistry": null,
    }));
    let properties = admitted.unwrap().document.properties;
    assert_eq!(properties["hbiWorkspace"], false);
    assert_eq!(properties["enableDataIsolation"], true);
    assert_eq!(properties["publicNetworkAccess"], "Disabled");
    assert_eq!(properties["systemDatastoresAuthMode"], "AccessKey");
    for name in ["primaryUserAssignedIdentity", "imageBuildCompute", "encryption", "containerRegistry"] {
        assert!(!properties.contains_key(name), "{name}");
    }
}

#[test]
fn bodies_that_cannot_stand_are_refused_with_their_place() {
    let cases = [
        (json!({"publicNetworkAccess": "Sometimes"}), "properties.publicNetworkAccess"),
        (json!({"hbiWorkspace": "yes"}), "properties.hbiWorkspace"),
        (json!({"friendlyName": 1}), "properties.friendlyName"),
        (json!({"managedNetwork": []}), "properties.managedNetwork"),
        (json!({"systemDatastoresAuthMode": "Guess"}), "properties.systemDatastoresAuthMode"),
        (json!({"hubResourceId": hub_id().to_string()}), "properties.hubResourceId"),
        (json!({"primaryUserAssignedIdentity": "/x"}), "properties.primaryUserAssignedIdentity"),
        (network("Open", json!({})), "properties.managedNetwork.isolationMode"),
        (json!({"managedNetwork": {"firewallSku": "Huge"}}), "properties.managedNetwork.firewallSku"),
        (network("AllowOnlyApprovedOutbound", json!([])), "properties.managedNetwork.outboundRules"),
        (
            network("AllowOnlyApprovedOutbound", json!({"a rule": pypi()})),
            "properties.managedNetwork.outboundRules.a rule",
        ),
        (
            network("AllowOnlyApprovedOutbound", json!({"rule": pypi(), "RULE": pypi()})),
            "properties.managedNetwork.outboundRules.RULE",
        ),
        (network("allow_internet_outbound", json!({"rule": pypi()})), "properties.managedNetwork.outboundRules.rule"),
        (network("Disabled", json!({"rule": pypi()})), "properties.managedNetwork.outboundRules.rule"),
        (json!({"encryption": {"status": "Enabled"}}), "properties.encryption.keyVaultProperties"),
    ];
    for (body, target) in cases {
        let error = Stage::new().put(body.clone()).map(|_| ()).unwrap_err();
        assert_eq!((error.status, error.target.as_deref()), (400, Some(target)), "{body}: {}", error.message);
    }
}

#[test]
fn rules_merge_by_name_and_only_null_removes_one() {
    let approved = |rules| network("AllowOnlyApprovedOutbound", rules);
    let stage = Stage::new().after(approved(json!({"pypi": pypi()})));
    let changed = |body: Value| stage.put(body).map(|admitted| names(&admitted.parts));
    let required = changed(json!({})).unwrap();
    assert!(required.iter().all(|name| name.starts_with("+__SYS_")), "{required:?}");
    for silent in
        [approved(json!({})), approved(Value::Null), json!({"managedNetwork": {}}), json!({"managedNetwork": null})]
    {
        assert_eq!(changed(silent.clone()).unwrap(), required, "{silent}");
    }
    let added = changed(approved(json!({"conda": {"type": "FQDN", "destination": "*.anaconda.org"}}))).unwrap();
    assert_eq!(added.last().map(String::as_str), Some("+conda"));
    let removed = changed(json!({"managedNetwork": {"outboundRules": {"PyPI": null}}})).unwrap();
    assert_eq!(removed.last().map(String::as_str), Some("-PyPI"));
    let refused =
        changed(json!({"managedNetwork": {"outboundRules": {"__SYS_ST_AzureMonitor_TCP": null}}})).unwrap_err();
    assert!(refused.message.contains("required"), "{}", refused.message);
}

#[test]
fn required_rules_follow_the_mode_and_what_is_private() {
    let storage = format!("{GROUP}/Microsoft.Storage/storageAccounts/store");
    let vault = format!("{GROUP}/Microsoft.KeyVault/vaults/vault");
    let stage = Stage::new()
        .beside("Microsoft.Storage/storageAccounts", "store", None, json!({"publicNetworkAccess": "Disabled"}))
        .beside("Microsoft.KeyVault/vaults", "vault", None, json!({"publicNetworkAccess": "Enabled"}));
    let required = |mode: &str, access: &str| {
        let admitted = stage.put(json!({
            "storageAccount": storage, "keyVault": vault, "publicNetworkAccess": access,
            "managedNetwork": {"isolationMode": mode},
        }));
        names(&admitted.unwrap().parts)
    };
    assert_eq!(required("Disabled", "Disabled"), Vec::<String>::new());
    assert_eq!(
        required("AllowInternetOutbound", "Enabled"),
        ["+__SYS_PE_storageAccount_blob", "+__SYS_PE_storageAccount_file"]
    );
    assert!(required("AllowInternetOutbound", "Disabled").contains(&"+__SYS_PE_workspace_amlworkspace".to_owned()));
    assert_eq!(
        required("AllowOnlyApprovedOutbound", "Enabled"),
        [
            "+__SYS_PE_keyVault_vault",
            "+__SYS_PE_storageAccount_blob",
            "+__SYS_PE_storageAccount_file",
            "+__SYS_PE_workspace_amlworkspace",
            "+__SYS_ST_AzureActiveDirectory_TCP",
            "+__SYS_ST_AzureFrontDoor_FirstParty_TCP",
            "+__SYS_ST_AzureMachineLearning_TCP",
            "+__SYS_ST_AzureMachineLearning_UDP",
            "+__SYS_ST_AzureMonitor_TCP",
            "+__SYS_ST_AzureResourceManager_TCP",
            "+__SYS_ST_BatchNodeManagement_westeurope_TCP",
            "+__SYS_ST_MicrosoftContainerRegistry_TCP",
        ]
    );
}

#[test]
fn isolation_changes_only_where_its_rules_can_stand() {
    let stage = Stage::new().after(network("AllowOnlyApprovedOutbound", json!({"pypi": pypi()})));
    let refused = |body: Value| stage.put(body).map(|_| ()).unwrap_err();
    let error = refused(network("Disabled", json!({})));
    assert!(error.message.contains("It can become AllowInternetOutbound"), "{}", error.message);
    let error = refused(network("AllowInternetOutbound", json!({})));
    assert!(error.message.contains("'pypi'") && error.message.contains("AllowInternetOutbound"), "{}", error.message);
    let admitted = stage.put(network("AllowInternetOutbound", json!({"pypi": null}))).unwrap();
    assert!(names(&admitted.parts).contains(&"-__SYS_ST_AzureMonitor_TCP".to_owned()));
}

#[test]
fn what_a_client_reads_it_may_send_back() {
    let body = json!({
        "managedNetwork": {"isolationMode": "AllowOnlyApprovedOutbound", "firewallSku": "basic", "outboundRules": {"pypi": pypi()}},
    });
    let stage = Stage::new().after(body);
    let stands = stage.existing.clone().unwrap();
    let stored = stands.properties["managedNetwork"].as_object().unwrap();
    assert_eq!(stored["firewallSku"], "basic", "kept as typed");
    let read = managed_network::answer(stored, &stage.parts, None, now());
    assert_eq!(read["status"], json!({"status": "Inactive", "sparkReady": false}));
    let mut properties = stands.properties.clone();
    properties.insert("managedNetwork".into(), read);
    let again = stage.put(Value::Object(properties)).unwrap();
    assert_eq!(again.document.properties, stands.properties);
    for part in again.parts {
        let PartChange::Put { name, document, .. } = part else { panic!("nothing is removed: {part:?}") };
        let stands = stage.parts.iter().find(|part| part.id.name() == name).unwrap();
        assert_eq!(*document, stands.document, "{name}");
    }
}

#[test]
fn registry_and_insights_are_replaced_with_a_word_and_never_unset() {
    let mut stage = Stage::new().after(json!({"containerRegistry": registry("one")}));
    assert_eq!(stage.put(json!({})).unwrap().document.properties["containerRegistry"], json!(registry("one")));
    let unset = stage.put(json!({"containerRegistry": null})).map(|_| ()).unwrap_err();
    assert_eq!(unset.target.as_deref(), Some("properties.containerRegistry"));
    let changed = stage.put(json!({"containerRegistry": registry("two")})).unwrap();
    assert!(changed.warnings[0].contains("breaks re-runs of earlier jobs"), "{:?}", changed.warnings);
    stage.parity = Parity::Strict;
    assert!(stage.put(json!({"containerRegistry": registry("two")})).is_err());
    let consented = json!({"containerRegistry": registry("two"), "updateDependentResources": true});
    assert!(!stage.put(consented).unwrap().document.properties.contains_key("updateDependentResources"));
    assert!(stage.put(json!({"containerRegistry": registry("ONE")})).unwrap().warnings.is_empty(), "ids have no case");
}

#[test]
fn what_is_fixed_at_creation_stays() {
    let stage = Stage::new().after(json!({"hbiWorkspace": true, "provisionNetworkNow": true}));
    let silent = stage.put(json!({})).unwrap().document;
    assert_eq!(silent.properties["hbiWorkspace"], true);
    assert_eq!(
        stage.put(json!({"provisionNetworkNow": false})).unwrap().document.properties["provisionNetworkNow"],
        true
    );
    assert!(stage.put(json!({"hbiWorkspace": "false"})).is_err());
    assert_eq!(stage.put_as("default", json!({})).map(|_| ()).unwrap_err().target.as_deref(), Some("kind"));
}

#[test]
fn a_key_is_chosen_at_creation_and_moves_within_its_vault() {
    let key = |vault: &str, identifier: &str| {
        let id = format!("{GROUP}/Microsoft.KeyVault/vaults/{vault}");
        json!({"encryption": {"status": "enabled", "keyVaultProperties": {"keyVaultArmId": id, "keyIdentifier": identifier}}})
    };
    let one = "https://one.vault.bastide.localhost:8443/keys/k/1";
    let stage = Stage::new().after(key("one", one));
    let moved = stage.put(key("one", "https://one.vault.bastide.localhost:8443/keys/k/2")).unwrap();
    assert_eq!(
        moved.document.properties["encryption"]["keyVaultProperties"]["keyIdentifier"],
        json!("https://one.vault.bastide.localhost:8443/keys/k/2")
    );
    assert_eq!(stage.put(json!({})).unwrap().document.properties, stage.existing.clone().unwrap().properties);
    let refused = [
        key("two", "https://two.vault.bastide.localhost:8443/keys/k/1"),
        key("one", "https://two.vault.bastide.localhost:8443/keys/k/1"),
        key("one", "https://one.vault.bastide.localhost:8443/keys/k"),
        json!({"encryption": {"status": "Disabled"}}),
    ];
    for body in refused {
        assert!(stage.put(body.clone()).is_err(), "{body}");
    }
    let key_alone = json!({"encryption": {"keyVaultProperties": {"keyIdentifier": one}}});
    for late in [key("one", one), key_alone] {
        assert!(Stage::new().after(json!({})).put(late.clone()).is_err(), "only at creation: {late}");
    }
    let mut shown = moved.document.properties;
    encryption::answer(&mut shown);
    assert_eq!(shown["encryption"]["bastide"]["state"], "StoredNotProtecting");
}

#[test]
fn a_project_has_what_its_hub_has() {
    let vault = format!("{GROUP}/Microsoft.KeyVault/vaults/vault");
    let stage = Stage::new().beside(
        "Microsoft.MachineLearningServices/workspaces",
        "parent",
        Some("Hub"),
        json!({"keyVault": vault, "publicNetworkAccess": "Enabled", "managedNetwork": {"isolationMode": "AllowInternetOutbound"}}),
    );
    let hub = format!("{GROUP}/Microsoft.MachineLearningServices/workspaces/PARENT");
    let project = |more: Value| {
        let mut properties = json!({"hubResourceId": hub});
        properties.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        stage.put_as("project", properties)
    };
    let admitted = project(json!({})).unwrap();
    assert!(
        admitted.document.properties["hubResourceId"].as_str().unwrap().ends_with("/parent"),
        "spelled like the hub"
    );
    let repeated = json!({"keyVault": vault.to_uppercase(), "managedNetwork": {"isolationMode": "allow_internet_outbound", "outboundRules": {}}});
    assert_eq!(project(repeated).unwrap().document, admitted.document);
    let refused = [
        (json!({"keyVault": format!("{vault}2")}), "properties.keyVault"),
        (json!({"storageAccount": vault}), "properties.storageAccount"),
        (network("AllowOnlyApprovedOutbound", json!({})), "properties.managedNetwork"),
        (network("Disabled", json!({})), "properties.managedNetwork"),
        (json!({"managedNetwork": {"outboundRules": {"pypi": pypi()}}}), "properties.managedNetwork"),
        (
            json!({"encryption": {"status": "Enabled", "keyVaultProperties": {"keyVaultArmId": vault}}}),
            "properties.encryption",
        ),
    ];
    for (body, target) in refused {
        let error = project(body.clone()).map(|_| ()).unwrap_err();
        assert_eq!(error.target.as_deref(), Some(target), "{body}");
        assert!(error.message.contains("'parent'"), "{}", error.message);
    }
    assert_eq!(project(json!({"publicNetworkAccess": "Disabled"})).unwrap().warnings.len(), 1);
    let mut shown = admitted.document.properties;
    project::inherit(&mut shown, &stage.linked.values().next().unwrap().document, None, now());
    assert_eq!(
        (&shown["keyVault"], &shown["managedNetwork"]["isolationMode"]),
        (&json!(vault), &json!("AllowInternetOutbound"))
    );
}

#[test]
fn stable_versions_do_not_show_or_drop_what_only_previews_have() {
    let mut stage = Stage::new().after(json!({"ipAllowlist": ["192.0.2.0/24"]}));
    stage.version = "2025-12-01";
    let mut kept = stage.put(json!({})).unwrap().document.properties;
    assert_eq!(kept["ipAllowlist"], json!(["192.0.2.0/24"]));
    properties::in_shape_of(&ApiVersion::parse("2025-12-01").unwrap(), &mut kept);
    assert!(!kept.contains_key("ipAllowlist"));
}

#[test]
fn strict_parity_refuses_what_the_cloud_refuses() {
    let account = format!("{GROUP}/Microsoft.Storage/storageAccounts/lake");
    let mut stage =
        Stage::new().beside("Microsoft.Storage/storageAccounts", "lake", None, json!({"isHnsEnabled": true}));
    assert!(stage.put(json!({"storageAccount": account})).is_ok());
    stage.parity = Parity::Strict;
    assert!(stage.put(json!({"storageAccount": account})).is_err());
}
