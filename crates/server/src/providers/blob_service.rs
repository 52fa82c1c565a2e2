//! `Microsoft.Storage/storageAccounts/blobServices` and the containers in it.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, IdentitySupport, NameRule, Placement, PutStatus, ResourceType,
    Surroundings, View,
};
use serde_json::{Map, Value, json};

use super::stored::with_defaults;

/// The blob service of an account; there is one, called `default`.
#[derive(Debug)]
pub struct BlobService;

/// A container.
#[derive(Debug)]
pub struct BlobContainer;

impl ResourceType for BlobService {
    fn descriptor(&self) -> &Descriptor {
        &SERVICE
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document;
        with_service_defaults(&mut document.properties);
        Ok(Admitted { document, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        with_service_defaults(&mut properties);
        properties
    }
}

impl ResourceType for BlobContainer {
    fn descriptor(&self) -> &Descriptor {
        &CONTAINER
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document;
        with_defaults(&mut document.properties, json!({"publicAccess": "None", "metadata": {}}));
        Ok(Admitted { document, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        with_defaults(
            &mut properties,
            json!({"leaseStatus": "Unlocked", "leaseState": "Available", "hasImmutabilityPolicy": false, "hasLegalHold": false}),
        );
        properties
    }
}

/// 3 to 63 lower-case letters, digits and single inner hyphens; `$web`, `$root` and `$logs` are the service's own.
/// A service that nobody has written answers with them, too.
fn with_service_defaults(properties: &mut Map<String, Value>) {
    with_defaults(properties, json!({"cors": {"corsRules": []}, "deleteRetentionPolicy": {"enabled": false}}));
}

fn is_container_name(name: &str) -> bool {
    if matches!(name, "$web" | "$root" | "$logs") {
        return true;
    }
    (3..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

static SERVICE: Descriptor = Descriptor {
    namespace: "Microsoft.Storage",
    types: &["storageAccounts", "blobServices"],
    placement: Placement::ResourceGroup,
    tracked: false,
    name: NameRule { accepts: |name| name.eq_ignore_ascii_case("default"), explanation: "the name 'default'" },
    identity: IdentitySupport::None,
    read_only: &[],
    patchable: None,
    put: PutStatus::OK,
    surroundings: Surroundings::NONE,
    actions: &[],
    api_versions: API_VERSIONS,
    data_plane: DataPlane::None,
};

static CONTAINER: Descriptor = Descriptor {
    namespace: "Microsoft.Storage",
    types: &["storageAccounts", "blobServices", "containers"],
    placement: Placement::ResourceGroup,
    tracked: false,
    name: NameRule {
        accepts: is_container_name,
        explanation: "3 to 63 lower-case letters, digits and single inner hyphens",
    },
    identity: IdentitySupport::None,
    read_only: &["leaseStatus", "leaseState", "hasImmutabilityPolicy", "hasLegalHold", "lastModifiedTime"],
    patchable: None,
    put: PutStatus::CREATED,
    surroundings: Surroundings::NONE,
    actions: &[],
    api_versions: API_VERSIONS,
    data_plane: DataPlane::None,
};

const API_VERSIONS: &[&str] = &["2025-08-01", "2024-01-01", "2023-05-01", "2023-04-01", "2021-04-01", "2019-06-01"];
