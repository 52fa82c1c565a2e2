//! The door of a hub: whether what runs in it may be used from where somebody comes (mission.md E1-E7).

use std::net::IpAddr;

use bastide_arm::id::ResourceId;
use bastide_hub::workspace::admits;
use serde_json::Value;

use crate::failure::Failure;
use crate::front::Front;
use crate::pass::Pass;

impl Front {
    /// 403 when the hub that a compute stands in, itself or by its project, is closed to an address.
    pub(crate) async fn check_door(
        &self,
        pass: &Pass,
        compute: &ResourceId,
        from: Option<IpAddr>,
    ) -> Result<(), Failure> {
        let Some(workspace) = compute.parent() else { return Ok(()) };
        let Some(mut hub) = self.ledger.surrounding(pass, &workspace).await? else { return Ok(()) };
        let above = hub.document.properties.get("hubResourceId").and_then(Value::as_str);
        if let Some(id) = above.and_then(|id| ResourceId::parse(id).ok())
            && let Some(above) = self.ledger.surrounding(pass, &id).await?
        {
            hub = above;
        }
        Ok(admits(&hub.id, &hub.document.properties, from)?)
    }
}
