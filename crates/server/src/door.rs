//! The door of a hub: whether what runs in it may be used, and its secrets read, from where somebody comes (mission.md
//! E1-E7).

use std::net::IpAddr;

use bastide_arm::id::ResourceId;
use bastide_hub::workspace::admits;
use serde_json::Value;

use crate::context::Context;
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entry;
use crate::pass::{Pass, WORKSPACE};
use crate::registry::Registered;
use crate::routes::Matched;

impl Front {
    /// 403 when the hub that a compute stands in, itself or by its project, is closed to an address.
    pub(crate) async fn check_door(
        &self,
        pass: &Pass,
        compute: &ResourceId,
        from: Option<IpAddr>,
    ) -> Result<(), Failure> {
        let Some(workspace) = compute.parent() else { return Ok(()) };
        self.check_door_of(pass, &workspace, from).await
    }

    /// 403 for a request that asks for a secret of a hub, or of a connection of an account, from where that is closed.
    /// Managing goes on from anywhere, as in the cloud; what a deployment asks for, the resource manager asks itself.
    pub(crate) async fn check_secrets_door(
        &self,
        context: &Context,
        pass: &Pass,
        matched: &Matched,
        registered: Option<&Registered>,
    ) -> Result<(), Failure> {
        let (Some(name), Some(registered)) = (&matched.action_name, registered) else { return Ok(()) };
        let reveals = registered.rules.descriptor().action(name).is_some_and(|action| action.secret);
        if !reveals {
            return Ok(());
        }
        let is_connection = registered.name.to_ascii_lowercase().ends_with("/connections");
        let has_door = |id: &ResourceId| {
            let of = id.type_name();
            of.eq_ignore_ascii_case(WORKSPACE) || is_connection && of.eq_ignore_ascii_case(ACCOUNT)
        };
        let mut above = std::iter::successors(Some(matched.target.clone()), ResourceId::parent);
        match above.find(has_door) {
            Some(house) => self.check_door_of(pass, &house, context.client_ip).await,
            None => Ok(()),
        }
    }

    async fn check_door_of(&self, pass: &Pass, house: &ResourceId, from: Option<IpAddr>) -> Result<(), Failure> {
        match self.hub_above(pass, house).await? {
            Some(hub) => Ok(admits(&hub.id, &hub.document.properties, from)?),
            None => Ok(()),
        }
    }

    /// The hub of a workspace: itself, unless it is a project, which has the door and the network of its hub.
    pub(crate) async fn hub_above(&self, pass: &Pass, workspace: &ResourceId) -> Result<Option<Entry>, Failure> {
        let Some(entry) = self.ledger.surrounding(pass, workspace).await? else { return Ok(None) };
        let above = entry.document.properties.get("hubResourceId").and_then(Value::as_str);
        let above = match above.and_then(|id| ResourceId::parse(id).ok()) {
            Some(id) => self.ledger.surrounding(pass, &id).await?,
            None => None,
        };
        Ok(Some(above.unwrap_or(entry)))
    }
}

const ACCOUNT: &str = "Microsoft.CognitiveServices/accounts";
