//! `Microsoft.CognitiveServices/accounts`: AI services and `OpenAI`.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Acted, Action, ActionCall, Admission, Admitted, DataPlane, Descriptor, Document, Effect, HostNames,
    IdentitySupport, NameRule, Placement, PutStatus, ResourceType, SoftDelete, Surroundings, View,
};
use bastide_arm::vocabulary::Vocabulary;
use bastide_hub::vocabulary::VOCABULARY;
use serde_json::{Map, Value, json};

use super::stored::{keep_or_make, new_keys, reveal, text, with_defaults};

/// The AI services account type.
#[derive(Debug)]
pub struct CognitiveServicesAccount;

impl ResourceType for CognitiveServicesAccount {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn vocabulary(&self) -> Option<&Vocabulary> {
        Some(&VOCABULARY)
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document.clone();
        if document.kind.is_none() {
            let message = "An account needs a kind, such as AIServices or OpenAI.";
            return Err(ArmError::validation(message).with_target("kind"));
        }
        document.sku = document.sku.take().or_else(|| Some(json!({"name": "S0"})));
        let now = admission.now.to_string();
        keep_or_make(&mut document.properties, &admission, "dateCreated", || json!(now));
        with_defaults(
            &mut document.properties,
            json!({"publicNetworkAccess": "Enabled", "disableLocalAuth": false, "allowProjectManagement": false}),
        );
        let effects = new_keys(&admission, &KEYS);
        Ok(Admitted { document, effects, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        let domain = text(&properties, "customSubDomainName")
            .filter(|domain| !domain.is_empty())
            .unwrap_or(view.id.name())
            .to_ascii_lowercase();
        let endpoint = format!("https://{domain}.cognitiveservices.{}/", view.zone);
        let endpoints: Map<String, Value> = APIS.iter().map(|api| ((*api).to_owned(), json!(endpoint))).collect();
        properties.insert("endpoint".into(), endpoint.into());
        properties.insert("endpoints".into(), Value::Object(endpoints));
        properties.insert("provisioningState".into(), "Succeeded".into());
        properties.insert("privateEndpointConnections".into(), json!([]));
        properties
    }

    fn soft_delete(&self) -> Option<&'static SoftDelete> {
        Some(&SOFT_DELETE)
    }

    fn kept_days(&self, _document: &Document) -> Option<u32> {
        Some(RETENTION_DAYS)
    }

    fn host_names(&self) -> Option<HostNames> {
        Some(HostNames { space: "cognitiveservices", taken: "CustomDomainInUse" })
    }

    fn act(&self, call: &ActionCall<'_>) -> Result<Acted, ArmError> {
        let mut effects = Vec::new();
        let mut answer = Map::new();
        for field in KEYS {
            answer.insert(field.to_owned(), reveal(call.secrets.get(field))?.into());
        }
        if call.action == "regenerateKey" {
            let asked = call.body.get("keyName").and_then(Value::as_str).unwrap_or_default();
            let Some(field) = KEYS.into_iter().find(|key| key.eq_ignore_ascii_case(asked)) else {
                let message = format!("'{asked}' is not a key of an account. Use Key1 or Key2.");
                return Err(ArmError::invalid_parameter("keyName", message));
            };
            let secret = (call.fresh_secret)();
            answer.insert(field.to_owned(), secret.reveal().into());
            effects.push(Effect::PutSecret { field: field.to_owned(), secret });
        }
        Ok(Acted { answer: Some(Value::Object(answer)), effects, ..Acted::default() })
    }
}

/// 2 to 64 letters, digits, dots, hyphens and underscores, starting with a letter or digit.
fn is_account_name(name: &str) -> bool {
    (2..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

const KEYS: [&str; 2] = ["key1", "key2"];

/// The APIs of the seeds (mission.md B1), by the names clients look for.
const APIS: &[&str] =
    &["OpenAI Language Model Instance API", "Content Safety", "Speech Services Speech to Text", "AI Foundry API"];

/// What Azure gives people to change their minds.
const RETENTION_DAYS: u32 = 2;

static SOFT_DELETE: SoftDelete = SoftDelete {
    noun: "account",
    leaves: "Microsoft.CognitiveServices/deletedAccounts",
    placement: Placement::Subscription,
    recovered_by: ("restore", "true"),
    recovery_changes: false,
    forced_by: None,
};

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.CognitiveServices",
    types: &["accounts"],
    placement: Placement::ResourceGroup,
    tracked: true,
    name: NameRule { accepts: is_account_name, explanation: "2 to 64 letters, digits, dots, hyphens or underscores" },
    identity: IdentitySupport::Optional,
    read_only: &[
        "endpoint",
        "endpoints",
        "provisioningState",
        "dateCreated",
        "privateEndpointConnections",
        "internalId",
        "capabilities",
        "restore",
        "deletionDate",
        "scheduledPurgeDate",
    ],
    patchable: None,
    put: PutStatus::CREATED,
    surroundings: Surroundings::NONE,
    actions: &[Action { name: "listKeys", secret: true }, Action { name: "regenerateKey", secret: true }],
    api_versions: &["2026-05-15-preview", "2025-09-01", "2025-06-01", "2024-10-01", "2023-05-01", "2021-10-01"],
    data_plane: DataPlane::None,
};
