//! `deletedWorkspaces`: what is left of a workspace that was deleted, until it is restored, purged or its time is over
//! (mission.md P7). Each deletion leaves one, called by the id of the workspace, so that a name can be given again at once
//! and what stood there before can still come back.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Action, Admission, Admitted, DataPlane, Descriptor, IdentitySupport, NameRule, Placement, PutStatus, ResourceType,
    Surroundings, View,
};
use serde_json::{Map, Value};

use crate::workspace::API_VERSIONS;

/// The type of deleted workspaces.
#[derive(Debug, Default)]
pub struct DeletedWorkspace;

/// Type name in canonical spelling.
pub const TYPE_NAME: &str = "Microsoft.MachineLearningServices/deletedWorkspaces";

/// Property that holds what would be restored; it is never answered.
pub const MEMBERS: &str = "members";

/// Days for which a deleted workspace is kept when its `softDeleteRetentionInDays` does not say (P7).
pub const RETENTION_DAYS: u32 = 14;

impl ResourceType for DeletedWorkspace {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let message = format!(
            "'{}' is what a deletion left. It can be restored (POST restore) or purged (DELETE), not written.",
            admission.id
        );
        Err(ArmError::new(405, "MethodNotAllowed", message))
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        properties.shift_remove(MEMBERS);
        properties
    }
}

fn is_workspace_id(name: &str) -> bool {
    name.len() == 36 && name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.MachineLearningServices",
    types: &["deletedWorkspaces"],
    placement: Placement::ResourceGroup,
    tracked: false,
    name: NameRule { accepts: is_workspace_id, explanation: "the workspaceId of the deleted workspace" },
    identity: IdentitySupport::None,
    read_only: &[],
    patchable: None,
    put: PutStatus::OK,
    surroundings: Surroundings::NONE,
    actions: &[Action { name: "restore", secret: false }],
    api_versions: API_VERSIONS,
    data_plane: DataPlane::Served,
};
