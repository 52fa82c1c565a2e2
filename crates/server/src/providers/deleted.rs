//! What a deletion leaves until it is restored, purged or its time is over (mission.md P7): `deletedWorkspaces`,
//! `deletedVaults`, `deletedAccounts`. Each deletion leaves one, called by the incarnation of what was deleted, so that a
//! name can be given again at once and what stood there before can still come back.

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{
    Action, Admission, Admitted, DataPlane, Descriptor, Dismissal, Dismissed, Document, IdentitySupport, NameRule,
    Placement, PutStatus, ResourceType, Surroundings, View,
};
use serde_json::{Map, Value, json};

/// What deletions of one type leave.
#[derive(Debug)]
pub struct Deleted {
    descriptor: Descriptor,
    shape: fn(&Remains<'_>) -> Value,
}

/// What is known of something that was deleted, from the properties of what is left of it.
pub struct Remains<'a>(pub &'a Map<String, Value>);

/// `Microsoft.MachineLearningServices/deletedWorkspaces`.
pub const WORKSPACES: Deleted = Deleted {
    descriptor: left("Microsoft.MachineLearningServices", &["deletedWorkspaces"], Placement::ResourceGroup),
    shape: workspace,
};

/// `Microsoft.KeyVault/deletedVaults`.
pub const VAULTS: Deleted =
    Deleted { descriptor: left("Microsoft.KeyVault", &["deletedVaults"], Placement::Extension), shape: vault };

/// `Microsoft.CognitiveServices/deletedAccounts`.
pub const ACCOUNTS: Deleted = Deleted {
    descriptor: left("Microsoft.CognitiveServices", &["deletedAccounts"], Placement::Extension),
    shape: account,
};

/// The names of all of them.
pub const TYPE_NAMES: [&str; 3] = [
    "Microsoft.MachineLearningServices/deletedWorkspaces",
    "Microsoft.KeyVault/deletedVaults",
    "Microsoft.CognitiveServices/deletedAccounts",
];

/// Property that holds what would be restored, first what was deleted; it is never answered.
pub const MEMBERS: &str = "members";

/// Id under which it stood.
pub const RESOURCE: &str = "resourceId";

/// When it is forgotten for good.
pub const PURGE_DATE: &str = "scheduledPurgeDate";

impl ResourceType for Deleted {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let message = format!(
            "'{}' is what a deletion left. It can be restored (POST restore) or purged (DELETE), not written.",
            admission.id
        );
        Err(ArmError::new(405, "MethodNotAllowed", message))
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let remains = Remains(&view.document.properties);
        let mut properties = match (self.shape)(&remains) {
            Value::Object(properties) => properties,
            _ => Map::new(),
        };
        for name in ["deletionDate", PURGE_DATE] {
            properties.extend(remains.0.get(name).map(|time| (name.to_owned(), time.clone())));
        }
        properties
    }

    fn dismiss(&self, dismissal: &Dismissal<'_>) -> Result<Dismissed, ArmError> {
        let remains = Remains(&dismissal.existing.document.properties);
        if !remains.is_protected() {
            return Ok(Dismissed::default());
        }
        let message = format!(
            "'{}' had purge protection, so nobody can purge it before {}; then it goes by itself. Restore it, or wait.",
            remains.resource(),
            remains.text(PURGE_DATE)
        );
        Err(ArmError::new(405, "MethodNotAllowed", message))
    }
}

impl Remains<'_> {
    /// Id under which it stood.
    pub fn resource(&self) -> &str {
        self.text(RESOURCE)
    }

    /// Its location.
    pub fn location(&self) -> &str {
        self.text("location")
    }

    /// A property as text.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn is_protected(&self) -> bool {
        let document = self.members().first().and_then(|first| first.get("document"));
        let protection = document.and_then(|document| document.pointer("/properties/enablePurgeProtection"));
        protection == Some(&Value::Bool(true))
    }

    fn members(&self) -> &[Value] {
        self.0.get(MEMBERS).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

fn workspace(remains: &Remains<'_>) -> Value {
    let type_name = |member: &Value| member.get("typeName").cloned();
    let members = remains.members();
    // A hub takes its projects along (mission.md P2).
    let projects = members.iter().skip(1).filter(|member| type_name(member) == members.first().and_then(type_name));
    let projects: Vec<&Value> = projects.filter_map(|project| project.get("id")).collect();
    json!({
        "workspaceId": remains.text("incarnation"),
        "workspaceResourceId": remains.resource(),
        "location": remains.location(),
        "projects": projects,
    })
}

fn vault(remains: &Remains<'_>) -> Value {
    json!({
        "vaultId": remains.resource(),
        "location": remains.location(),
        "purgeProtectionEnabled": remains.is_protected(),
        "tags": remains.members().first().and_then(|first| first.get("tags")).cloned().unwrap_or_else(|| json!({})),
    })
}

fn account(remains: &Remains<'_>) -> Value {
    json!({"accountId": remains.resource()})
}

/// The id of what a deletion leaves, in the group or the subscription of what was deleted.
pub fn place_of(
    type_name: &str,
    placement: Placement,
    id: &ResourceId,
    incarnation: uuid::Uuid,
) -> Result<ResourceId, ArmError> {
    let scope = match placement {
        Placement::ResourceGroup => id.resource_group_id().map(|group| group.to_string()).unwrap_or_default(),
        _ => format!("/subscriptions/{}", id.subscription_id().unwrap_or_default()),
    };
    ResourceId::parse(&format!("{scope}/providers/{type_name}/{incarnation}"))
}

/// What is left of a deletion, as it is stored.
pub fn remains(first: &Document, properties: Map<String, Value>) -> Document {
    Document {
        kind: first.kind.clone(),
        sku: first.sku.clone(),
        tags: first.tags.clone(),
        properties,
        ..Document::default()
    }
}

fn is_incarnation(name: &str) -> bool {
    name.len() == 36 && name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

const fn left(namespace: &'static str, types: &'static [&'static str], placement: Placement) -> Descriptor {
    Descriptor {
        namespace,
        types,
        placement,
        tracked: false,
        name: NameRule { accepts: is_incarnation, explanation: "the id of the incarnation that was deleted" },
        identity: IdentitySupport::None,
        read_only: &[],
        patchable: None,
        put: PutStatus::OK,
        surroundings: Surroundings::NONE,
        actions: &[Action { name: "restore", secret: false }],
        api_versions: &["2026-05-15-preview", "2026-02-01", "2025-12-01", "2025-06-01", "2024-10-01"],
        data_plane: DataPlane::Served,
    }
}
