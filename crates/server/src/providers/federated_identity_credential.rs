//! `Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials`: whose tokens an identity was asked to
//! take for its own. The token service takes them, from issuers that the administrator trusts.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, Document, Effect, IdentitySupport, NameRule, Placement, PutStatus,
    ResourceType, Surroundings, View,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::stored::text;
use super::user_assigned_identity;

/// The credential type.
#[derive(Debug)]
pub struct FederatedIdentityCredential;

impl ResourceType for FederatedIdentityCredential {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document;
        let refuse = |target: &str, message: &str| Err(ArmError::validation(message).with_target(target));
        if !text(&document.properties, "issuer").is_some_and(|issuer| issuer.starts_with("https://")) {
            return refuse("properties.issuer", "properties.issuer is needed: the https URL of the token issuer.");
        }
        if text(&document.properties, "subject").is_none_or(str::is_empty) {
            return refuse("properties.subject", "properties.subject is needed: the 'sub' of the tokens to be taken.");
        }
        let audiences = document.properties.get("audiences").and_then(Value::as_array);
        if !audiences.is_some_and(|audiences| audiences.len() == 1 && audiences.iter().all(Value::is_string)) {
            return refuse("properties.audiences", "properties.audiences is needed: a list of one audience.");
        }
        let identity = admission.parent.and_then(|parent| user_assigned_identity::principal(&parent.document));
        let identity = identity.ok_or_else(|| ArmError::parent_resource_not_found(admission.id))?;
        let facts = [(PRINCIPAL, json!(identity.principal_id)), (NAME, json!(admission.id.name()))];
        document.properties.extend(facts.map(|(name, value)| (name.to_owned(), value)));
        let stands = admission.existing.is_some_and(|existing| existing.document.properties == document.properties);
        let effects = if stands { None } else { trust(&document) };
        Ok(Admitted { document, effects: effects.into_iter().collect(), ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        properties.retain(|name, _| ![PRINCIPAL, NAME].contains(&name.as_str()));
        properties
    }

    fn release(&self, document: &Document) -> Vec<Effect> {
        let (principal_id, name) = (principal(document), text(&document.properties, NAME));
        let distrust =
            |(principal_id, name): (Uuid, &str)| Effect::DistrustTokens { principal_id, name: name.to_owned() };
        principal_id.zip(name).map(distrust).into_iter().collect()
    }
}

/// What the token service is told of a credential.
fn trust(document: &Document) -> Option<Effect> {
    let text = |name: &str| text(&document.properties, name).map(str::to_owned);
    let audience = document.properties.get("audiences")?.get(0)?.as_str()?.to_owned();
    Some(Effect::TrustTokens {
        principal_id: principal(document)?,
        name: text(NAME)?,
        issuer: text("issuer")?,
        subject: text("subject")?,
        audience,
    })
}

fn principal(document: &Document) -> Option<Uuid> {
    text(&document.properties, PRINCIPAL)?.parse().ok()
}

/// Property that holds the object id of the identity, for when only the credential is at hand; never answered.
const PRINCIPAL: &str = "principalId";

/// Property that holds the credential's own name, likewise.
const NAME: &str = "credentialName";

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.ManagedIdentity",
    types: &["userAssignedIdentities", "federatedIdentityCredentials"],
    placement: Placement::ResourceGroup,
    tracked: false,
    name: NameRule::GENERIC,
    identity: IdentitySupport::None,
    read_only: &[PRINCIPAL, NAME],
    patchable: None,
    put: PutStatus::CREATED,
    surroundings: Surroundings::NONE,
    actions: &[],
    api_versions: &["2025-01-31-preview", "2024-11-30", "2023-01-31"],
    data_plane: DataPlane::Served,
};
