//! What is placed in the network of a hub, which must be there for it (mission.md J10).

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::Parity;
use bastide_hub::workspace;

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::pass::Pass;
use crate::request::Request;

impl Front {
    /// An online deployment provisions the network of its hub, as the first compute does. In the cloud it has to be there
    /// before, and so it has under strict parity.
    pub(crate) async fn place_deployment(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        id: &ResourceId,
        entries: &mut Entries,
    ) -> Result<(), Failure> {
        if !id.type_name().eq_ignore_ascii_case(DEPLOYMENT) {
            return Ok(());
        }
        let Some(workspace) = id.parent().and_then(|endpoint| endpoint.parent()) else { return Ok(()) };
        let Some(hub) = self.hub_above(pass, &workspace).await? else { return Ok(()) };
        let Some(document) = workspace::provision(&hub.document) else { return Ok(()) };
        if request.parity == Parity::Strict {
            let message = format!(
                "The managed network of '{}' is not provisioned, and an online deployment is placed in it. Provision it first \
                 (az ml workspace provision-network), or create a compute instance.",
                hub.id.name()
            );
            return Err(ArmError::new(400, "ManagedNetworkNotProvisioned", message).into());
        }
        entries.expect.push(hub.unchanged());
        entries.changes.push(Entry { document, ..hub }.put_again()?);
        Ok(())
    }
}

const DEPLOYMENT: &str = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments";
