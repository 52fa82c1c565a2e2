//! What a compute has to do with its hub beyond its own document: the private endpoint that it may need, and the network
//! that the first one brings into being.

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::Document;
use bastide_hub::compute::{self, Kind};
use bastide_hub::workspace;
use bastide_store::ResourceQuery;
use serde_json::Value;

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::pass::Pass;

impl Front {
    /// An instance without a public address needs a hub with a private endpoint (mission.md E4).
    pub(crate) async fn check_public_address(
        &self,
        pass: &Pass,
        id: &ResourceId,
        document: &Document,
    ) -> Result<(), Failure> {
        let is_without =
            compute::inner(document).and_then(|inner| inner.get("enableNodePublicIp")) == Some(&Value::Bool(false));
        if !is_without || Kind::of(document) != Some(Kind::Instance) {
            return Ok(());
        }
        let Some(hub) = self.hub_entry(pass, id).await? else { return Ok(()) };
        if self.has_private_endpoint(pass, &hub.id).await? {
            return Ok(());
        }
        let message = format!(
            "An instance without a public IP needs a hub that is reached by a private endpoint. Create a \
             Microsoft.Network/privateEndpoints that leads to '{}' first, or leave enableNodePublicIp out: no compute of \
             Bastide has a public address either way.",
            hub.id
        );
        Err(ArmError::validation(message).with_target("properties.properties.enableNodePublicIp").into())
    }

    /// The first compute provisions the network of its hub, which stays when it goes (mission.md J1).
    pub(crate) async fn provision_by_compute(
        &self,
        pass: &Pass,
        id: &ResourceId,
        entries: &mut Entries,
    ) -> Result<(), Failure> {
        let Some(hub) = self.hub_entry(pass, id).await? else { return Ok(()) };
        let Some(document) = workspace::provision(&hub.document) else { return Ok(()) };
        entries.expect.push(hub.unchanged());
        entries.changes.push(Entry { document, ..hub }.put_again()?);
        Ok(())
    }

    /// The hub that a compute stands in, also that of a project.
    async fn hub_entry(&self, pass: &Pass, id: &ResourceId) -> Result<Option<Entry>, Failure> {
        let Some(parent) = id.parent() else { return Ok(None) };
        let Some(workspace) = self.ledger.surrounding(pass, &parent).await? else { return Ok(None) };
        match workspace.document.properties.get("hubResourceId").and_then(Value::as_str) {
            Some(hub) => self.ledger.surrounding(pass, &ResourceId::parse(hub)?).await,
            None => Ok(Some(workspace)),
        }
    }

    async fn has_private_endpoint(&self, pass: &Pass, hub: &ResourceId) -> Result<bool, Failure> {
        let Some(subscription) = hub.subscription_id() else { return Ok(false) };
        let mut query = ResourceQuery {
            prefix: Some(ResourceId::parse(&format!("/subscriptions/{subscription}"))?.prefix()),
            types: vec![PRIVATE_ENDPOINTS.to_owned()],
            limit: PAGE,
            ..ResourceQuery::default()
        };
        loop {
            let page = self.ledger.surroundings(pass, &query).await?;
            if page.iter().any(|endpoint| leads_to(&endpoint.document, hub)) {
                return Ok(true);
            }
            match page.last().filter(|_| page.len() == PAGE as usize) {
                Some(last) => query.after = Some(last.row.key.clone()),
                None => return Ok(false),
            }
        }
    }
}

fn leads_to(endpoint: &Document, hub: &ResourceId) -> bool {
    let connections = ["privateLinkServiceConnections", "manualPrivateLinkServiceConnections"];
    let connections = connections.iter().filter_map(|name| endpoint.properties.get(*name)?.as_array()).flatten();
    let mut targets =
        connections.filter_map(|connection| connection.get("properties")?.get("privateLinkServiceId")?.as_str());
    targets.any(|target| target.eq_ignore_ascii_case(hub.key()))
}

const PRIVATE_ENDPOINTS: &str = "Microsoft.Network/privateEndpoints";

/// Endpoints read at a time.
const PAGE: u32 = 500;
