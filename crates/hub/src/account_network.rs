//! `Microsoft.CognitiveServices/accounts/managedNetworks`: the second door to the managed network, the one that the core
//! of `az` drives (mission.md W3, wire-az-cli.md section 6). Modes, rules and refusals are those of a hub.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Acted, Action, ActionCall, Admission, Admitted, DataPlane, Descriptor, Document, IdentitySupport, Link, NameRule,
    Placement, PutStatus, ResourceType, Surroundings, View,
};
use bastide_arm::vocabulary::Vocabulary;
use serde_json::{Map, Value, json};

use crate::field;
use crate::isolation_mode::IsolationMode;
use crate::managed_network;
use crate::outbound_rule::{KIND as OUTBOUND_RULES, Terms};
use crate::vocabulary::VOCABULARY;

/// The managed network of an account; there is one, called `default`.
#[derive(Debug, Default)]
pub struct AccountNetwork;

impl ResourceType for AccountNetwork {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn vocabulary(&self) -> Option<&Vocabulary> {
        Some(&VOCABULARY)
    }

    fn links(&self, document: &Document) -> Result<Vec<Link>, ArmError> {
        Ok(managed_network::links(&document.properties))
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document;
        field::object(&document.properties, "managedNetwork", "properties")?;
        document.properties.retain(|name, _| name == "managedNetwork");
        let existing = admission.existing.map(|existing| existing.document);
        let mut warnings = managed_network::admit(&mut document.properties, existing, admission.now)?;
        let terms =
            Terms { mode: IsolationMode::of(&document.properties), zone: admission.zone, parity: admission.parity };
        let parts =
            managed_network::admit_rules(admission.asked, admission.parts, admission.linked, terms, &mut warnings)?;
        Ok(Admitted { document, parts, warnings, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let stored = view.document.properties.get("managedNetwork").and_then(Value::as_object);
        let network = managed_network::answer(stored.unwrap_or(&Map::new()), view.parts, view.observed, view.now);
        // What has succeeded is the setting; the network's own state is in its status.
        let properties = [("managedNetwork", network), ("provisioningState", json!("Succeeded"))];
        properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Its client takes 202 and 204 alone (wire-az-cli.md section 4).
    fn is_deleted_without_content(&self) -> bool {
        true
    }

    fn act(&self, call: &ActionCall<'_>) -> Result<Acted, ArmError> {
        let mode = IsolationMode::of(&call.existing.document.properties);
        Ok(Acted { answer: Some(managed_network::provisioned(mode, call.observed)), ..Acted::default() })
    }
}

/// Versions clients send for these types.
pub(crate) const API_VERSIONS: &[&str] = &["2026-05-15-preview", "2026-03-01", "2025-10-01-preview"];

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.CognitiveServices",
    types: &["accounts", "managedNetworks"],
    placement: Placement::ResourceGroup,
    tracked: false,
    name: NameRule { accepts: |name| name.eq_ignore_ascii_case("default"), explanation: "the name 'default'" },
    identity: IdentitySupport::None,
    read_only: &["provisioningState"],
    patchable: None,
    put: PutStatus::OK,
    surroundings: Surroundings { parts: &[OUTBOUND_RULES], referrers: false, linked: false, secrets: false },
    actions: &[
        Action { name: "provision", secret: false },
        Action { name: "provisionManagedNetwork", secret: false },
        Action { name: "batchOutboundRules", secret: false },
    ],
    api_versions: API_VERSIONS,
    data_plane: DataPlane::None,
};
