//! `connections`: how a hub or project, or an AI account or one of its projects, reaches a service (mission.md group R).
//! Credentials are sealed apart and shown by `listsecrets` alone.

mod category;
mod credentials;
mod dependency;

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{
    Acted, Action, ActionCall, Admission, Admitted, DataPlane, Descriptor, Document, IdentitySupport, Link, Linked,
    NameRule, Need, Placement, PutStatus, ResourceType, Surroundings, View,
};
use bastide_arm::vocabulary::Vocabulary;
use serde_json::{Map, Value, json};

use crate::field::{self, refused};
use crate::vocabulary::VOCABULARY;
use crate::workspace::{API_VERSIONS, Kind};
use credentials::AuthType;

/// The connection type, below one kind of parent.
#[derive(Debug)]
pub struct Connection {
    descriptor: &'static Descriptor,
    /// Whether its parent is a hub or project, whose network may have a private endpoint for it.
    is_of_workspace: bool,
}

impl Connection {
    /// Those of hubs and projects.
    pub fn of_workspaces() -> Self {
        Self { descriptor: &OF_WORKSPACES, is_of_workspace: true }
    }

    /// Those of AI accounts.
    pub fn of_accounts() -> Self {
        Self { descriptor: &OF_ACCOUNTS, is_of_workspace: false }
    }

    /// Those of the projects of AI accounts.
    pub fn of_account_projects() -> Self {
        Self { descriptor: &OF_ACCOUNT_PROJECTS, is_of_workspace: false }
    }

    fn answer_of(&self, id: &ResourceId, document: &Document) -> Map<String, Value> {
        let mut properties = document.properties.clone();
        properties.shift_remove(dependency::RULE);
        let category = properties.get("category").and_then(Value::as_str).unwrap_or_default().to_owned();
        properties.insert("group".into(), category::group(&category).into());
        if let Some(Value::Object(metadata)) = properties.get_mut("metadata") {
            complete(metadata, &category);
        }
        if let Some(workspace) = id.parent().filter(|_| self.is_of_workspace) {
            properties.insert("createdByWorkspaceArmId".into(), workspace.to_string().into());
        }
        properties
    }
}

impl ResourceType for Connection {
    fn descriptor(&self) -> &Descriptor {
        self.descriptor
    }

    fn vocabulary(&self) -> Option<&Vocabulary> {
        Some(&VOCABULARY)
    }

    fn links(&self, document: &Document) -> Result<Vec<Link>, ArmError> {
        Ok(dependency::link(&document.properties).into_iter().collect())
    }

    fn needs(&self, document: &Document, parent: Option<&Linked>) -> Vec<Need> {
        dependency::needs(document, parent)
    }

    fn dependants(&self, document: &Document) -> Vec<(ResourceId, Document)> {
        dependency::rule(document).into_iter().collect()
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document;
        let properties = &mut document.properties;
        let auth_type = AuthType::read(properties)?;
        let given = properties.remove("credentials");
        let before = admission.existing.and_then(|existing| AuthType::read(&existing.document.properties).ok());
        let effects = credentials::effects(auth_type, given.as_ref(), before, admission.secrets)?;
        properties.insert("authType".into(), auth_type.as_str().into());
        let category = field::text(properties, "category", AT)?.ok_or_else(|| {
            refused(
                "properties.category",
                "A connection needs a category, such as AzureOpenAI, AzureBlob or CustomKeys.",
            )
        })?;
        let category = category::canonical(category);
        let mut metadata = metadata(properties)?;
        complete(&mut metadata, &category);
        properties.insert("category".into(), category.into());
        properties.insert("metadata".into(), Value::Object(metadata));
        // What is made on a hub is for all of its projects (R3).
        let is_hub = |parent: &Linked| self.is_of_workspace && Kind::of(&parent.document) == Kind::Hub;
        let on_hub = admission.parent.is_some_and(is_hub);
        let is_shared = field::flag(properties, "isSharedToAll", AT)?.unwrap_or(on_hub);
        properties.insert("isSharedToAll".into(), is_shared.into());
        for name in ["target", "expiryTime"] {
            keep(properties, name, field::text(properties, name, AT)?.map(Value::from));
        }
        let identity = field::flag(properties, "useWorkspaceManagedIdentity", AT)?.map(Value::from);
        keep(properties, "useWorkspaceManagedIdentity", identity);
        let requirement =
            field::choice(properties, "peRequirement", AT, &["Required", "NotRequired", "NotApplicable"])?;
        keep(properties, "peRequirement", requirement.map(Value::from));
        let users = field::texts(properties, "sharedUserList", AT)?;
        keep(properties, "sharedUserList", Some(json!(users)));
        properties.retain(|_, value| !value.is_null());
        if let Some(parent) = admission.parent.filter(|_| self.is_of_workspace) {
            dependency::admit(properties, admission.id, parent)?;
        }
        Ok(Admitted { document, effects, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        self.answer_of(view.id, view.document)
    }

    fn is_listed(&self, document: &Document, query: &[(String, String)]) -> bool {
        ["category", "target"].into_iter().all(|name| {
            let asked =
                query.iter().find(|(parameter, value)| parameter.eq_ignore_ascii_case(name) && !value.is_empty());
            let stands = document.properties.get(name).and_then(Value::as_str).unwrap_or_default();
            asked.is_none_or(|(_, asked)| stands.eq_ignore_ascii_case(asked))
        })
    }

    fn lender(&self, parent: &Document) -> Option<ResourceId> {
        ResourceId::parse(parent.properties.get("hubResourceId")?.as_str()?).ok()
    }

    fn is_lent(&self, document: &Document) -> bool {
        document.properties.get("isSharedToAll") == Some(&Value::Bool(true))
    }

    fn act(&self, call: &ActionCall<'_>) -> Result<Acted, ArmError> {
        let document = call.existing.document;
        let mut properties = self.answer_of(call.id, document);
        let auth_type = AuthType::read(&document.properties)?;
        if let Some(credentials) = credentials::revealed(auth_type, call.secrets) {
            properties.insert("credentials".into(), credentials);
        }
        let answer = json!({
            "id": call.id.to_string(),
            "name": call.id.name(),
            "type": self.descriptor.type_name(),
            "properties": properties,
        });
        Ok(Acted { answer: Some(answer), ..Acted::default() })
    }
}

/// Always an object of strings: the SDK fails on a connection without one.
fn metadata(properties: &Map<String, Value>) -> Result<Map<String, Value>, ArmError> {
    let mut metadata = Map::new();
    for (name, value) in field::object(properties, "metadata", AT)?.into_iter().flatten() {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Array(_) | Value::Object(_) => {
                let message = format!("metadata.{name} must be a string. Metadata is a flat map of strings.");
                return Err(refused(&format!("{AT}.metadata.{name}"), message));
            }
        };
        metadata.insert(name.clone(), text.into());
    }
    Ok(metadata)
}

/// The SDK fails on a connection to AI services that does not say which (wire-azure-ai-ml.md section 2).
fn complete(metadata: &mut Map<String, Value>, category: &str) {
    if category == "AIServices" {
        metadata.entry("ResourceId").or_insert_with(|| "".into());
    }
}

fn keep(properties: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(properties.insert(name.to_owned(), value)),
        None => drop(properties.remove(name)),
    }
}

const AT: &str = "properties";

/// The published grammar ends at 33 characters, but Azure takes more: its own quickstarts name connections after the hub and
/// the service, `aih-demo-x1y2-connection-AzureOpenAI`.
const NAME: NameRule = NameRule {
    accepts: |name| {
        (3..=128).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
    },
    explanation: "3 to 128 letters, digits, hyphens or underscores, starting with a letter or digit",
};

static OF_WORKSPACES: Descriptor =
    below("Microsoft.MachineLearningServices", &["workspaces", "connections"], API_VERSIONS);
static OF_ACCOUNTS: Descriptor = below("Microsoft.CognitiveServices", &["accounts", "connections"], ACCOUNT_VERSIONS);
static OF_ACCOUNT_PROJECTS: Descriptor =
    below("Microsoft.CognitiveServices", &["accounts", "projects", "connections"], ACCOUNT_VERSIONS);

const ACCOUNT_VERSIONS: &[&str] = &["2026-05-15-preview", "2025-09-01", "2025-06-01"];

const fn below(
    namespace: &'static str,
    types: &'static [&'static str],
    api_versions: &'static [&'static str],
) -> Descriptor {
    Descriptor {
        namespace,
        types,
        placement: Placement::ResourceGroup,
        tracked: false,
        name: NAME,
        identity: IdentitySupport::None,
        read_only: &["group", "createdByWorkspaceArmId", "error", "peStatus", dependency::RULE],
        patchable: None,
        // Exactly 200, also when new (wire-azure-ai-ml.md section 2).
        put: PutStatus::OK,
        surroundings: Surroundings { parts: &[], referrers: false, linked: false, secrets: true },
        actions: &[Action { name: "listsecrets", secret: true }, Action { name: "testconnection", secret: false }],
        api_versions,
        data_plane: DataPlane::None,
    }
}

#[cfg(test)]
mod tests;
