//! `Microsoft.Search/searchServices`.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Acted, Action, ActionCall, Admission, Admitted, DataPlane, Descriptor, Effect, HostNames, IdentitySupport,
    NameRule, Placement, PutStatus, ResourceType, Surroundings, View,
};
use serde_json::{Map, Value, json};

use super::search_query_key::{FIRST, QUERY_KEYS, QueryKeys};
use super::stored::{new_keys, reveal, with_defaults};

/// The search service type.
#[derive(Debug)]
pub struct SearchService;

impl ResourceType for SearchService {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document.clone();
        document.sku = document.sku.take().or_else(|| Some(json!({"name": "standard"})));
        // What a body says of it was taken out as read-only.
        if let Some(keys) = admission.existing.and_then(|existing| existing.document.properties.get(QUERY_KEYS)) {
            document.properties.insert(QUERY_KEYS.to_owned(), keys.clone());
        }
        default_network(&mut document.properties);
        with_defaults(
            &mut document.properties,
            json!({
                "replicaCount": 1,
                "partitionCount": 1,
                "hostingMode": "default",
                "publicNetworkAccess": "enabled",
                "disableLocalAuth": false,
                "semanticSearch": "disabled",
                "encryptionWithCmk": {"enforcement": "Unspecified"},
            }),
        );
        let effects = new_keys(&admission, &KEYS);
        Ok(Admitted { document, effects, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        properties.shift_remove(QUERY_KEYS);
        properties.insert("endpoint".into(), format!("https://{}.search.{}/", view.id.name(), view.zone).into());
        properties.insert("status".into(), "running".into());
        properties.insert("statusDetails".into(), "".into());
        properties.insert("provisioningState".into(), "succeeded".into());
        properties.insert("privateEndpointConnections".into(), json!([]));
        properties
    }

    fn host_names(&self) -> Option<HostNames> {
        Some(HostNames { space: "search", taken: "ServiceNameUnavailable" })
    }

    fn takes_argument(&self, action: &str) -> bool {
        action == REGENERATE
    }

    fn act(&self, call: &ActionCall<'_>) -> Result<Acted, ArmError> {
        let [primary, secondary, _] = KEYS;
        if call.action == "listQueryKeys" {
            let answer = QueryKeys::list(call.existing.document, call.secrets);
            return Ok(Acted { answer: Some(answer), ..Acted::default() });
        }
        let mut answer = Map::new();
        for field in [primary, secondary] {
            answer.insert(field.to_owned(), reveal(call.secrets.get(field))?.into());
        }
        let mut effects = Vec::new();
        if call.action == REGENERATE {
            let field = admin_key(call.argument)?;
            let secret = (call.fresh_secret)();
            // Revealed to whoever asked for it, and to nobody else.
            answer.insert(field.to_owned(), secret.reveal().into());
            effects.push(Effect::PutSecret { field: field.to_owned(), secret });
        }
        Ok(Acted { answer: Some(Value::Object(answer)), effects, ..Acted::default() })
    }
}

/// 2 to 60 lower-case letters, digits and single inner hyphens.
fn is_service_name(name: &str) -> bool {
    (2..=60).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

/// Clients read who may pass by whether or not anybody has said something about the network.
fn default_network(properties: &mut Map<String, Value>) {
    let rules = properties.entry("networkRuleSet").or_insert(Value::Null);
    if rules.is_null() {
        *rules = json!({});
    }
    if let Some(rules) = rules.as_object_mut() {
        with_defaults(rules, json!({"ipRules": [], "bypass": "None"}));
    }
}

/// The field of the admin key that a path names: `regenerateAdminKey/primary`.
fn admin_key(asked: Option<&str>) -> Result<&'static str, ArmError> {
    let asked = asked.unwrap_or_default();
    let kinds = [("primary", "primaryKey"), ("secondary", "secondaryKey")];
    let found = kinds.into_iter().find(|(kind, _)| kind.eq_ignore_ascii_case(asked)).map(|(_, field)| field);
    found.ok_or_else(|| {
        let message = format!("'{asked}' is not a kind of admin key. End the path with primary or secondary.");
        ArmError::invalid_parameter("keyKind", message)
    })
}

const REGENERATE: &str = "regenerateAdminKey";

const KEYS: [&str; 3] = ["primaryKey", "secondaryKey", FIRST];

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.Search",
    types: &["searchServices"],
    placement: Placement::ResourceGroup,
    tracked: true,
    name: NameRule {
        accepts: is_service_name,
        explanation: "2 to 60 lower-case letters, digits and single inner hyphens",
    },
    identity: IdentitySupport::Optional,
    read_only: &[
        "endpoint",
        "status",
        "statusDetails",
        "provisioningState",
        "privateEndpointConnections",
        "eTag",
        QUERY_KEYS,
    ],
    patchable: None,
    put: PutStatus::CREATED,
    surroundings: Surroundings::NONE,
    actions: &[
        Action { name: "listAdminKeys", secret: true },
        Action { name: "listQueryKeys", secret: true },
        Action { name: REGENERATE, secret: true },
    ],
    api_versions: &["2026-03-01-preview", "2025-05-01", "2024-06-01-preview", "2023-11-01", "2022-09-01"],
    data_plane: DataPlane::None,
};
