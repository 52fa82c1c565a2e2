//! `listAssociatedResources` of a user-assigned identity: the resources that carry it.

use bastide_arm::error::ArmError;
use bastide_arm::filter::Property;
use bastide_arm::paging::PageRequest;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entry;
use crate::list::{filter, fits, list_name, page_body};
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// The resources that carry an identity, as far as the caller may read them, in the order of their ids.
    pub(crate) async fn list_associated_resources(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        identity: &Entry,
    ) -> Result<Reply, Failure> {
        let filter = filter(request, PROPERTIES)?;
        if request.context.query_value("$orderby").is_some_and(|order| !order.is_empty()) {
            let message = "Associated resources are listed in the order of their ids. Leave out $orderby.";
            return Err(ArmError::invalid_parameter("$orderby", message).into());
        }
        let pairs = request.context.query();
        let parameters = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let asked = PageRequest::from_query(parameters, &list_name(request))?;
        let rights = self.gatekeeper.rights(pass).await?;
        let mut carriers = self.referrers(request.context.now, &identity.id).await?;
        carriers.retain(|entry| {
            let read = format!("{}/read", entry.row.type_name);
            rights.allows(pass.principal(), &read, &entry.id) && fits(entry, filter.as_ref())
        });
        carriers.sort_by(|one, other| one.row.key.cmp(&other.row.key));
        let total = carriers.len();
        carriers.retain(|entry| asked.after.as_ref().is_none_or(|after| entry.row.key > *after));
        let skipped = match request.context.query_value("$skip").filter(|_| asked.after.is_none()) {
            Some(text) => text.parse().map_err(|_| ArmError::invalid_parameter("$skip", "$skip is a whole number."))?,
            None => 0,
        };
        carriers.drain(..usize::min(skipped, carriers.len()));
        let top = asked.top.unwrap_or(PAGE) as usize;
        let is_last = carriers.len() <= top;
        carriers.truncate(top);
        let mut values = Vec::with_capacity(carriers.len());
        for entry in &carriers {
            values.push(self.associated(entry).await?);
        }
        let last = carriers.last().map(|last| last.row.key.as_str());
        let mut body = page_body(request, values, last.filter(|_| !is_last));
        body.insert("totalCount".into(), total.into());
        Ok(Reply::ok(Value::Object(body)))
    }

    async fn associated(&self, entry: &Entry) -> Result<Value, Failure> {
        let subscription = entry.id.subscription_id().unwrap_or_default();
        let known = self.ledger.subscription(subscription).await?;
        Ok(json!({
            "id": entry.id.to_string(),
            "name": entry.id.name(),
            "type": entry.row.type_name.to_ascii_lowercase(),
            "resourceGroup": entry.id.resource_group(),
            "subscriptionId": subscription,
            "subscriptionDisplayName": known.and_then(|known| known.document.properties.get("displayName").cloned()),
        }))
    }
}

/// The action's name.
pub(crate) const LIST_ASSOCIATED_RESOURCES: &str = "listAssociatedResources";

/// What the list can be filtered by.
const PROPERTIES: &[Property] =
    &[Property::any_case("name"), Property::any_case("type"), Property::any_case("resourceGroup")];

/// Items on a page when the client does not say.
const PAGE: u32 = 100;
