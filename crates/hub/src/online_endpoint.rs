//! Online and serverless endpoints of a workspace, and the deployments below the former. Nothing serves them yet: they are
//! stored, they go with their project (mission.md P3), their answers name no address, and say that nothing runs.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Acted, Action, ActionCall, Admission, Admitted, DataPlane, Descriptor, Effect, IdentitySupport, NameRule,
    Placement, PutStatus, ResourceType, Secret, Surroundings, View,
};
use serde_json::{Map, Value, json};

use crate::field::{self, refused};
use crate::workspace::API_VERSIONS;

/// An endpoint type, or the type of deployments below one.
#[derive(Debug)]
pub struct OnlineEndpoint(&'static Descriptor);

impl OnlineEndpoint {
    /// `workspaces/onlineEndpoints`.
    pub fn managed() -> Self {
        Self(&MANAGED)
    }

    /// `workspaces/onlineEndpoints/deployments`.
    pub fn deployment() -> Self {
        Self(&DEPLOYMENT)
    }

    /// `workspaces/serverlessEndpoints`.
    pub fn serverless() -> Self {
        Self(&SERVERLESS)
    }

    fn has_keys(&self) -> bool {
        !self.0.actions.is_empty()
    }
}

impl ResourceType for OnlineEndpoint {
    fn descriptor(&self) -> &Descriptor {
        self.0
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document;
        let mut effects = Vec::new();
        if self.has_keys() {
            let mode = field::choice(&document.properties, "authMode", AT, AUTH_MODES)?.ok_or_else(|| {
                let message = format!("An endpoint needs an authMode. Use {}.", field::any_of(AUTH_MODES));
                refused("properties.authMode", message)
            })?;
            document.properties.insert("authMode".into(), mode.into());
            let given = document.properties.shift_remove("keys");
            if admission.existing.is_none() {
                for field in KEYS {
                    let given = given.as_ref().and_then(|keys| keys.get(field)).and_then(Value::as_str);
                    let secret = given.map_or_else(|| (admission.fresh_secret)(), Secret::new);
                    effects.push(Effect::PutSecret { field: field.to_owned(), secret });
                }
            }
        }
        document.properties.retain(|_, value| !value.is_null());
        Ok(Admitted { document, effects, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        // What has succeeded is that it was taken down; the answer's `bastide.dataPlane` says that nothing runs.
        properties.insert("provisioningState".into(), "Succeeded".into());
        properties
    }

    fn comes_back(&self) -> bool {
        false
    }

    fn act(&self, call: &ActionCall<'_>) -> Result<Acted, ArmError> {
        let [primary, secondary] = KEYS;
        match call.action {
            "listKeys" => {
                let key = |name: &str| call.secrets.get(name).map(|secret| secret.reveal().to_owned());
                let answer = json!({primary: key(primary), secondary: key(secondary)});
                Ok(Acted { answer: Some(answer), ..Acted::default() })
            }
            "regenerateKeys" => {
                let empty = Map::new();
                let body = call.body.as_object().unwrap_or(&empty);
                let kind = field::choice(body, "keyType", "body", &["Primary", "Secondary"])?.ok_or_else(|| {
                    ArmError::invalid_parameter("keyType", "regenerateKeys needs a keyType, Primary or Secondary.")
                })?;
                let field = if kind == "Primary" { primary } else { secondary };
                let given = field::text(body, "keyValue", "body")?;
                let secret = given.map_or_else(|| (call.fresh_secret)(), Secret::new);
                let effects = vec![Effect::PutSecret { field: field.to_owned(), secret }];
                Ok(Acted { effects, ..Acted::default() })
            }
            _ => {
                let message = "Nothing serves this endpoint yet, so there are no tokens for it. Use its keys.";
                Err(ArmError::conflict(message))
            }
        }
    }
}

/// `^[a-zA-Z0-9][a-zA-Z0-9\-_]{0,254}$` (arm-models.md 1.1).
fn is_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// `^[a-zA-Z][a-zA-Z0-9-]{0,51}$` (the same).
fn is_serverless_name(name: &str) -> bool {
    (1..=52).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
}

const AT: &str = "properties";
const KEYS: [&str; 2] = ["primaryKey", "secondaryKey"];
const AUTH_MODES: &[&str] = &["Key", "AMLToken", "AADToken", "AAD", "KeyAndAAD"];

const NAME: NameRule = NameRule {
    accepts: is_name,
    explanation: "1 to 255 letters, digits, hyphens or underscores, starting with a letter or digit",
};

const SERVERLESS_NAME: NameRule =
    NameRule { accepts: is_serverless_name, explanation: "1 to 52 letters, digits or hyphens, starting with a letter" };

const KEY_ACTIONS: &[Action] = &[
    Action { name: "listKeys", secret: true },
    Action { name: "regenerateKeys", secret: true },
    Action { name: "token", secret: true },
];

static MANAGED: Descriptor = descriptor(&["workspaces", "onlineEndpoints"], NAME, KEY_ACTIONS);
static DEPLOYMENT: Descriptor = descriptor(&["workspaces", "onlineEndpoints", "deployments"], NAME, &[]);
static SERVERLESS: Descriptor = descriptor(&["workspaces", "serverlessEndpoints"], SERVERLESS_NAME, KEY_ACTIONS);

const fn descriptor(types: &'static [&'static str], name: NameRule, actions: &'static [Action]) -> Descriptor {
    Descriptor {
        namespace: "Microsoft.MachineLearningServices",
        types,
        placement: Placement::ResourceGroup,
        tracked: true,
        name,
        identity: IdentitySupport::Optional,
        read_only: &["provisioningState", "scoringUri", "swaggerUri", "endpointState", "inferenceEndpoint"],
        patchable: None,
        put: PutStatus::CREATED,
        surroundings: Surroundings::NONE,
        actions,
        api_versions: API_VERSIONS,
        data_plane: DataPlane::None,
    }
}
