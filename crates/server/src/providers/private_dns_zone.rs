//! `Microsoft.Network/privateDnsZones`, with the record every zone begins with, which Terraform reads with the zone
//! (infrastructure-as-code.md section 5). No name server answers from a zone: what computes are told comes from the hub.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, Document, IdentitySupport, NameRule, PartChange, Placement, PutStatus,
    ResourceType, Surroundings, View,
};
use serde_json::{Map, Value, json};

use super::stored::with_defaults;

/// The zone type.
#[derive(Debug)]
pub struct PrivateDnsZone;

/// The type of the record that says whose a zone is.
#[derive(Debug)]
pub struct StartOfAuthority;

impl ResourceType for PrivateDnsZone {
    fn descriptor(&self) -> &Descriptor {
        &ZONE
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let authority = PartChange::Put { kind: "SOA", name: APEX.to_owned(), document: Box::new(Document::default()) };
        let parts = if admission.existing.is_none() { vec![authority] } else { Vec::new() };
        Ok(Admitted { document: admission.document, parts, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        for (name, most) in LIMITS {
            properties.insert(name.into(), most.into());
        }
        properties.insert("provisioningState".into(), "Succeeded".into());
        properties
    }
}

impl ResourceType for StartOfAuthority {
    fn descriptor(&self) -> &Descriptor {
        &AUTHORITY
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        Ok(Admitted { document: admission.document, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        let zone = view.id.parent().map(|zone| zone.name().to_owned()).unwrap_or_default();
        with_defaults(&mut properties, json!({"ttl": 3600, "soaRecord": {}}));
        if let Some(record) = properties.get_mut("soaRecord").and_then(Value::as_object_mut) {
            // What Azure begins a zone with.
            with_defaults(
                record,
                json!({
                    "host": "azureprivatedns.net",
                    "email": "azureprivatedns-host.microsoft.com",
                    "serialNumber": 1,
                    "refreshTime": 3600,
                    "retryTime": 300,
                    "expireTime": 2_419_200,
                    "minimumTtl": 10,
                }),
            );
        }
        properties.insert("fqdn".into(), format!("{zone}.").into());
        properties.insert("isAutoRegistered".into(), false.into());
        properties
    }
}

/// The name of a record at the top of its zone.
const APEX: &str = "@";

/// How much a zone may hold in Azure; clients show it.
const LIMITS: [(&str, u64); 3] = [
    ("maxNumberOfRecordSets", 25_000),
    ("maxNumberOfVirtualNetworkLinks", 1_000),
    ("maxNumberOfVirtualNetworkLinksWithRegistration", 100),
];

const fn descriptor(types: &'static [&'static str], tracked: bool, read_only: &'static [&'static str]) -> Descriptor {
    Descriptor {
        namespace: "Microsoft.Network",
        types,
        placement: Placement::ResourceGroup,
        tracked,
        name: NameRule::GENERIC,
        identity: IdentitySupport::None,
        read_only,
        patchable: None,
        put: PutStatus::CREATED,
        surroundings: Surroundings::NONE,
        actions: &[],
        api_versions: super::network::DNS_API_VERSIONS,
        data_plane: DataPlane::None,
    }
}

static ZONE: Descriptor = descriptor(
    &["privateDnsZones"],
    true,
    &[
        "provisioningState",
        "internalId",
        "numberOfRecordSets",
        "maxNumberOfRecordSets",
        "numberOfVirtualNetworkLinks",
        "maxNumberOfVirtualNetworkLinks",
        "numberOfVirtualNetworkLinksWithRegistration",
        "maxNumberOfVirtualNetworkLinksWithRegistration",
    ],
);

static AUTHORITY: Descriptor = Descriptor {
    name: NameRule { accepts: |name| name == APEX, explanation: "the name '@'" },
    ..descriptor(&["privateDnsZones", "SOA"], false, &["fqdn", "isAutoRegistered"])
};
