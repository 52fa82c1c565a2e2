//! `Microsoft.Insights/components`: Application Insights.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, Dismissal, Dismissed, IdentitySupport, NameRule, Placement, PutStatus,
    ResourceType, Surroundings, View,
};
use serde_json::{Map, Value, json};

use super::stored::{dismiss_unless_shared, keep_or_make, text, with_defaults};

/// The Application Insights type.
#[derive(Debug)]
pub struct InsightsComponent;

impl ResourceType for InsightsComponent {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document.clone();
        document.kind.get_or_insert_with(|| "web".to_owned());
        let properties = &mut document.properties;
        let now = admission.now.to_string();
        keep_or_make(properties, &admission, "InstrumentationKey", || json!((admission.fresh_id)()));
        keep_or_make(properties, &admission, "AppId", || json!((admission.fresh_id)()));
        keep_or_make(properties, &admission, "CreationDate", || json!(now));
        if let Some(billing) =
            admission.existing.and_then(|existing| existing.document.properties.get(BILLING_FEATURES))
        {
            properties.insert(BILLING_FEATURES.to_owned(), billing.clone());
        }
        with_defaults(
            properties,
            json!({
                "Application_Type": "web",
                "Flow_Type": "Bluefield",
                "Request_Source": "rest",
                "IngestionMode": "LogAnalytics",
                "RetentionInDays": 90,
                "publicNetworkAccessForIngestion": "Enabled",
                "publicNetworkAccessForQuery": "Enabled",
            }),
        );
        Ok(Admitted { document, ..Admitted::default() })
    }

    fn dismiss(&self, dismissal: &Dismissal<'_>) -> Result<Dismissed, ArmError> {
        dismiss_unless_shared(dismissal)
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        properties.shift_remove(BILLING_FEATURES);
        let key = text(&properties, "InstrumentationKey").unwrap_or_default().to_owned();
        let connection = format!("InstrumentationKey={key};IngestionEndpoint=https://insights.{}/", view.zone);
        properties.insert("ConnectionString".into(), connection.into());
        properties.insert("ApplicationId".into(), view.id.name().into());
        properties.insert("Name".into(), view.id.name().into());
        properties.insert("TenantId".into(), json!(view.tenant_id));
        properties.insert("provisioningState".into(), "Succeeded".into());
        properties
    }
}

/// Property that holds what was asked for of a component's billing; answered at a path of its own.
pub const BILLING_FEATURES: &str = "currentBillingFeatures";

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.Insights",
    types: &["components"],
    placement: Placement::ResourceGroup,
    tracked: true,
    name: NameRule::GENERIC,
    identity: IdentitySupport::None,
    read_only: &[
        "InstrumentationKey",
        "AppId",
        "ApplicationId",
        "ConnectionString",
        "CreationDate",
        "Name",
        "TenantId",
        "provisioningState",
        "PrivateLinkScopedResources",
        "LaMigrationDate",
        BILLING_FEATURES,
    ],
    patchable: None,
    put: PutStatus::OK,
    surroundings: Surroundings { referrers: true, ..Surroundings::NONE },
    actions: &[],
    api_versions: &["2020-02-02", "2020-02-02-preview", "2018-05-01-preview", "2015-05-01"],
    data_plane: DataPlane::None,
};
