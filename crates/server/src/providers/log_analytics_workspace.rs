//! `Microsoft.OperationalInsights/workspaces`: Log Analytics.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Acted, Action, ActionCall, Admission, Admitted, DataPlane, Descriptor, IdentitySupport, Placement, PutStatus,
    ResourceType, Surroundings, View,
};
use serde_json::{Map, Value, json};

use super::stored::{HYPHENATED, keep_or_make, new_keys, reveal, with_defaults};

/// The Log Analytics workspace type.
#[derive(Debug)]
pub struct LogAnalyticsWorkspace;

impl ResourceType for LogAnalyticsWorkspace {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document.clone();
        let now = admission.now.to_string();
        let properties = &mut document.properties;
        keep_or_make(properties, &admission, "customerId", || json!((admission.fresh_id)()));
        keep_or_make(properties, &admission, "createdDate", || json!(now));
        with_defaults(
            properties,
            json!({
                "sku": {"name": "PerGB2018"},
                "retentionInDays": 30,
                "publicNetworkAccessForIngestion": "Enabled",
                "publicNetworkAccessForQuery": "Enabled",
                "features": {"enableLogAccessUsingOnlyResourcePermissions": true},
            }),
        );
        Ok(Admitted { document, effects: new_keys(&admission, &KEYS), ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        properties.insert("provisioningState".into(), "Succeeded".into());
        properties
    }

    fn act(&self, call: &ActionCall<'_>) -> Result<Acted, ArmError> {
        let [primary, secondary] = KEYS;
        let answer = json!({
            "primarySharedKey": reveal(call.secrets.get(primary))?,
            "secondarySharedKey": reveal(call.secrets.get(secondary))?,
        });
        Ok(Acted { answer: Some(answer), ..Acted::default() })
    }
}

const KEYS: [&str; 2] = ["primarySharedKey", "secondarySharedKey"];

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.OperationalInsights",
    types: &["workspaces"],
    placement: Placement::ResourceGroup,
    tracked: true,
    name: HYPHENATED,
    identity: IdentitySupport::Optional,
    read_only: &["customerId", "createdDate", "modifiedDate", "provisioningState", "privateLinkScopedResources"],
    patchable: None,
    put: PutStatus::CREATED,
    surroundings: Surroundings::NONE,
    // The same by two names: templates call listKeys(), whatever the type.
    actions: &[Action { name: "sharedKeys", secret: true }, Action { name: "listKeys", secret: true }],
    api_versions: &["2025-02-01", "2023-09-01", "2022-10-01", "2021-06-01", "2020-08-01", "2015-03-20"],
    data_plane: DataPlane::None,
};
