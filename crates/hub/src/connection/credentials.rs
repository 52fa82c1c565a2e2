//! Credentials by authentication type (arm-models.md section 4). Every value is sealed, whether it is a secret or not, so
//! that no list of what is secret can be wrong.

use std::collections::BTreeMap;

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Effect, Secret};
use serde_json::{Map, Value};

use crate::field::{self, any_of, refused};

/// How a connection proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AuthType(&'static Kind);

#[derive(Debug, PartialEq, Eq)]
struct Kind {
    name: &'static str,
    /// What its credentials may hold; `keys` is a map of names of the user's own.
    fields: &'static [&'static str],
    /// What they must hold.
    required: &'static [&'static str],
}

impl AuthType {
    /// Reads `authType`, in any case.
    pub fn read(properties: &Map<String, Value>) -> Result<Self, ArmError> {
        let names: Vec<&'static str> = KINDS.iter().map(|kind| kind.name).collect();
        let asked = field::text(properties, "authType", "properties")?;
        let kind = KINDS.iter().find(|kind| asked.is_some_and(|asked| asked.eq_ignore_ascii_case(kind.name)));
        kind.map(Self).ok_or_else(|| {
            let message = match asked {
                Some(asked) => format!("'{asked}' is not an authType. Use {}.", any_of(&names)),
                None => format!("A connection needs properties.authType. Use {}.", any_of(&names)),
            };
            refused("properties.authType", message)
        })
    }

    /// The wire's spelling.
    pub fn as_str(self) -> &'static str {
        self.0.name
    }
}

/// What sealing the credentials of a body takes. A body without any keeps those that stand, because what is read never
/// has them; the same ones again change nothing.
pub(super) fn effects(
    auth_type: AuthType,
    given: Option<&Value>,
    before: Option<AuthType>,
    stands: &BTreeMap<String, Secret>,
) -> Result<Vec<Effect>, ArmError> {
    let wanted = match given {
        None | Some(Value::Null) if before == Some(auth_type) => return Ok(Vec::new()),
        None | Some(Value::Null) => BTreeMap::new(),
        Some(Value::Object(fields)) => read(auth_type, fields)?,
        Some(_) => return Err(refused(AT, "credentials must be an object.")),
    };
    let has =
        |name: &&&str| wanted.contains_key(**name) || wanted.keys().any(|key| key.starts_with(&format!("{name}/")));
    if let Some(missing) = auth_type.0.required.iter().find(|name| !has(name)) {
        let message = format!("authType {} needs credentials.{missing}.", auth_type.as_str());
        return Err(refused(&format!("{AT}.{missing}"), message));
    }
    // Revealed to be compared; the texts go nowhere.
    let is_same = wanted.len() == stands.len()
        && wanted.iter().all(|(name, text)| stands.get(name).is_some_and(|secret| secret.reveal() == text));
    if is_same {
        return Ok(Vec::new());
    }
    let forget = (!stands.is_empty()).then_some(Effect::ForgetSecrets);
    let puts = wanted.into_iter().map(|(field, text)| Effect::PutSecret { field, secret: Secret::new(text) });
    Ok(forget.into_iter().chain(puts).collect())
}

/// The credentials in the clear, for the one action that is there to show them; `None` for types without.
pub(super) fn revealed(auth_type: AuthType, secrets: &BTreeMap<String, Secret>) -> Option<Value> {
    if auth_type.0.fields.is_empty() {
        return None;
    }
    let mut credentials = Map::new();
    let mut keys = Map::new();
    for (field, secret) in secrets {
        match field.strip_prefix("keys/") {
            Some(name) => keys.insert(name.to_owned(), secret.reveal().into()),
            None => credentials.insert(field.clone(), secret.reveal().into()),
        };
    }
    if auth_type.0.fields.contains(&KEYS) {
        credentials.insert(KEYS.to_owned(), Value::Object(keys));
    }
    Some(Value::Object(credentials))
}

/// Field names and values to seal; the names of a user's own keys stand behind `keys/`.
fn read(auth_type: AuthType, given: &Map<String, Value>) -> Result<BTreeMap<String, String>, ArmError> {
    let mut fields = BTreeMap::new();
    for (name, value) in given {
        // The SDK sends the key of a storage account under this name (wire-azure-ai-ml.md section 2).
        let name = if auth_type.as_str() == "AccountKey" && name == "sas" { "key" } else { name.as_str() };
        let at = format!("{AT}.{name}");
        if value.is_null() {
            continue;
        }
        if !auth_type.0.fields.contains(&name) {
            let known = any_of(auth_type.0.fields);
            let message = match known.as_str() {
                "" => format!("authType {} has no credentials. Leave them out.", auth_type.as_str()),
                known => format!("authType {} has no credentials.{name}. Use {known}.", auth_type.as_str()),
            };
            return Err(refused(&at, message));
        }
        match value {
            Value::String(text) => drop(fields.insert(name.to_owned(), text.clone())),
            Value::Object(keys) if name == KEYS => {
                for (key, value) in keys.iter().filter(|(_, value)| !value.is_null()) {
                    let text = value.as_str().ok_or_else(|| {
                        refused(&format!("{at}.{key}"), format!("credentials.keys.{key} must be a string."))
                    })?;
                    fields.insert(format!("{KEYS}/{key}"), text.to_owned());
                }
            }
            _ => return Err(refused(&at, format!("credentials.{name} must be a string."))),
        }
    }
    Ok(fields)
}

const KEYS: &str = "keys";
const AT: &str = "properties.credentials";

const KINDS: &[Kind] = &[
    Kind { name: "None", fields: &[], required: &[] },
    Kind { name: "AAD", fields: &[], required: &[] },
    Kind { name: "ApiKey", fields: &["key"], required: &["key"] },
    Kind { name: "AccountKey", fields: &["key"], required: &["key"] },
    Kind { name: "PAT", fields: &["pat"], required: &["pat"] },
    Kind { name: "SAS", fields: &["sas"], required: &["sas"] },
    Kind { name: "UsernamePassword", fields: &["username", "password", "securityToken"], required: &["username"] },
    Kind { name: "ManagedIdentity", fields: &["clientId", "resourceId"], required: &[] },
    Kind {
        name: "AccessKey",
        fields: &["accessKeyId", "secretAccessKey"],
        required: &["accessKeyId", "secretAccessKey"],
    },
    Kind { name: "CustomKeys", fields: &[KEYS], required: &[KEYS] },
    Kind {
        name: "ServicePrincipal",
        fields: &["clientId", "clientSecret", "tenantId"],
        required: &["clientId", "clientSecret", "tenantId"],
    },
    Kind {
        name: "OAuth2",
        fields: &[
            "authUrl",
            "clientId",
            "clientSecret",
            "developerToken",
            "password",
            "refreshToken",
            "tenantId",
            "username",
        ],
        required: &[],
    },
];
