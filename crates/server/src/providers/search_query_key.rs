//! The query keys of a search service: which there are stands in its document, each key is a secret of its own.

use std::collections::BTreeMap;

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Document, Effect, Secret};
use serde_json::{Map, Value, json};

use super::stored::text;

/// The type that has them.
pub const SERVICE: &str = "Microsoft.Search/searchServices";

/// Property that lists them; never answered.
pub const QUERY_KEYS: &str = "queryKeys";

/// Field of the one that a service is made with, which has no name.
pub const FIRST: &str = "queryKey";

/// The query keys of a service.
#[derive(Debug)]
pub struct QueryKeys;

/// One of them: its name, if it has one, and the field of its secret.
struct QueryKey {
    name: Option<String>,
    field: String,
}

impl QueryKeys {
    /// All of them with the keys, as `listQueryKeys` answers.
    pub fn list(document: &Document, secrets: &BTreeMap<String, Secret>) -> Value {
        let shown = read(document).into_iter().filter_map(|key| {
            // Revealed to whoever may list them, and to nobody else.
            Some(json!({"name": key.name, "key": secrets.get(&key.field)?.reveal()}))
        });
        json!({ "value": shown.collect::<Vec<_>>() })
    }

    /// A new one of that name; what is written of it.
    pub fn create(document: &mut Document, name: &str, secret: &Secret) -> Result<Effect, ArmError> {
        let mut keys = read(document);
        if !is_name(name) {
            let message = "A query key has a name of 1 to 128 letters, digits, hyphens, underscores, dots or blanks.";
            return Err(ArmError::invalid_parameter("name", message));
        }
        if keys.iter().any(|key| key.name.as_deref() == Some(name)) {
            let message = format!("There is a query key '{name}' already. Delete it first, or choose another name.");
            return Err(ArmError::conflict(message));
        }
        let fields = std::iter::once(FIRST.to_owned()).chain((2..=MOST).map(|number| format!("{FIRST}{number}")));
        let free = fields.into_iter().find(|field| !keys.iter().any(|key| key.field == *field));
        let Some(field) = free else {
            let message = format!("A search service has at most {MOST} query keys. Delete one first.");
            return Err(ArmError::conflict(message));
        };
        keys.push(QueryKey { name: Some(name.to_owned()), field: field.clone() });
        write(document, &keys);
        Ok(Effect::PutSecret { field, secret: secret.clone() })
    }

    /// Takes the key off the list; what is written of it, none when it is not on it.
    pub fn delete(document: &mut Document, secrets: &BTreeMap<String, Secret>, key: &str) -> Option<Effect> {
        let mut keys = read(document);
        let is_it = |one: &QueryKey| secrets.get(&one.field).is_some_and(|secret| secret.reveal() == key);
        let at = keys.iter().position(is_it)?;
        let gone = keys.remove(at);
        write(document, &keys);
        // The field is used again by the next key.
        Some(Effect::PutSecret { field: gone.field, secret: Secret::new("") })
    }
}

/// Those a document lists; one that says nothing has the first.
fn read(document: &Document) -> Vec<QueryKey> {
    match document.properties.get(QUERY_KEYS).and_then(Value::as_array) {
        None => vec![QueryKey { name: None, field: FIRST.to_owned() }],
        Some(listed) => listed.iter().filter_map(Value::as_object).filter_map(QueryKey::read).collect(),
    }
}

fn write(document: &mut Document, keys: &[QueryKey]) {
    let listed = keys.iter().map(|key| json!({"name": key.name, "field": key.field}));
    document.properties.insert(QUERY_KEYS.to_owned(), listed.collect());
}

impl QueryKey {
    fn read(fields: &Map<String, Value>) -> Option<Self> {
        Some(Self { name: text(fields, "name").map(str::to_owned), field: text(fields, "field")?.to_owned() })
    }
}

fn is_name(name: &str) -> bool {
    (1..=128).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_. ".contains(&byte))
}

/// As many as Azure gives a service.
const MOST: usize = 50;
