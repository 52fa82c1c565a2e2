//! Tenants, subscriptions and locations.

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::location::Location;
use bastide_arm::resource_type::Document;
use bastide_store::{Change, Expectation, ResourceQuery};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::failure::Failure;
use crate::founding;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::pass::{OWNER, Pass};
use crate::reply::Reply;
use crate::request::Request;

/// The type under which subscriptions are stored.
pub(crate) const SUBSCRIPTION: &str = "Microsoft.Resources/subscriptions";

impl Front {
    /// GET of the one tenant.
    pub(crate) fn list_tenants(&self) -> Reply {
        let tenant = self.tenant_id.to_string();
        Reply::ok(json!({"value": [{
            "id": format!("/tenants/{tenant}"),
            "tenantId": tenant,
            "displayName": "Bastide",
            "defaultDomain": self.origins.zone(),
            "domains": [self.origins.zone()],
            "tenantCategory": "Home",
            "tenantType": "AAD",
        }]}))
    }

    /// GET of the subscriptions in which the caller may read anything.
    pub(crate) async fn list_subscriptions(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let query = ResourceQuery {
            prefix: Some("/subscriptions/".to_owned()),
            types: vec![SUBSCRIPTION.to_owned()],
            limit: MAX_SUBSCRIPTIONS,
            ..ResourceQuery::default()
        };
        let mut values = Vec::new();
        for entry in self.ledger.resources(pass, &query).await? {
            if self.gatekeeper.sees(pass.caller(), READ, &entry.id).await? {
                values.push(answer(&entry, request.tenant_id));
            }
        }
        Ok(Reply::ok(json!({"value": values, "count": {"type": "Total", "value": values.len()}})))
    }

    /// GET of one.
    pub(crate) async fn read_subscription(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let id = &request.matched.target;
        let entry = self.ledger.resource(pass, id).await?;
        let entry = entry.ok_or_else(|| ArmError::subscription_not_found(id.name()))?;
        Ok(Reply::ok(answer(&entry, request.tenant_id)))
    }

    /// PUT of a subscription alias: how ARM makes subscriptions. Its creator owns it.
    pub(crate) async fn create_subscription(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let alias = request.matched.value(0);
        if alias.is_empty()
            || alias.len() > 64
            || !alias.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        {
            let rule = "Use 1 to 64 letters, digits, hyphens, underscores or dots.";
            return Err(ArmError::invalid_resource_name(alias, "Microsoft.Subscription/aliases", rule).into());
        }
        if let Some(record) = self.ledger.record(request.context, ALIAS, &alias.to_ascii_lowercase()).await? {
            return Ok(Reply::ok(record.body));
        }
        let body = request.object()?;
        let asked = |name: &str| body.pointer(&format!("/properties/{name}")).and_then(Value::as_str);
        if asked("subscriptionId").is_some_and(|id| !id.is_empty()) {
            let message =
                "An alias for an existing subscription is not supported. Leave properties.subscriptionId out.";
            return Err(ArmError::invalid_parameter("properties.subscriptionId", message).into());
        }
        let name = asked("displayName").filter(|name| !name.trim().is_empty()).unwrap_or(alias);
        if name.chars().count() > 64 || name.chars().any(char::is_control) {
            let message = "displayName must be 1 to 64 characters, none of them control characters.";
            return Err(ArmError::invalid_parameter("properties.displayName", message).into());
        }
        let subscription = Uuid::new_v4();
        let answer = json!({
            "id": format!("/providers/Microsoft.Subscription/aliases/{alias}"),
            "name": alias,
            "type": "Microsoft.Subscription/aliases",
            "properties": {
                "subscriptionId": subscription,
                "displayName": name,
                "provisioningState": "Succeeded",
                "createdTime": request.context.now.to_string(),
            },
        });
        let id = ResourceId::subscription(subscription);
        let owner = founding::role_assignment(&id, pass.principal(), OWNER, request.context.now)?;
        let entries = Entries {
            expect: vec![Expectation::RecordAbsent { kind: ALIAS.to_owned(), key: alias.to_ascii_lowercase() }],
            changes: vec![
                Entry::put(&id, SUBSCRIPTION, Uuid::new_v4(), false, document(name), pass)?,
                owner,
                Change::RaiseAccessEpoch,
                Change::PutRecord {
                    kind: ALIAS.to_owned(),
                    key: alias.to_ascii_lowercase(),
                    owner: None,
                    body: answer.clone(),
                    expires: None,
                },
            ],
        };
        self.ledger.commit(request.context, pass, entries).await?;
        Ok(Reply::json(201, answer))
    }

    /// GET of a subscription alias.
    pub(crate) async fn read_subscription_alias(&self, request: &Request<'_>, _pass: &Pass) -> Result<Reply, Failure> {
        let alias = request.matched.value(0);
        match self.ledger.record(request.context, ALIAS, &alias.to_ascii_lowercase()).await? {
            Some(record) => Ok(Reply::ok(record.body)),
            None => Err(ArmError::not_found(format!("There is no subscription alias '{alias}'.")).into()),
        }
    }

    /// GET of the locations. They are labels: everything runs here.
    pub(crate) fn list_locations(&self, request: &Request<'_>) -> Reply {
        let subscription = &request.matched.target;
        let line = |(location, display): (Location, &str)| {
            json!({
                "id": format!("{subscription}/locations/{location}"),
                "name": location.as_str(),
                "type": "Region",
                "displayName": display,
                "regionalDisplayName": display,
                "metadata": {"regionType": "Physical", "regionCategory": "Recommended"},
            })
        };
        Reply::ok(json!({"value": Location::known().map(line).collect::<Vec<_>>()}))
    }
}

/// A subscription as stored.
pub(crate) fn document(display_name: &str) -> Document {
    let properties = Map::from_iter([("displayName".to_owned(), Value::from(display_name))]);
    Document { properties, ..Document::default() }
}

fn answer(entry: &Entry, tenant_id: Uuid) -> Value {
    json!({
        "id": entry.id.to_string(),
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "tags": entry.document.tags,
        "subscriptionId": entry.id.subscription_id(),
        "tenantId": tenant_id,
        "displayName": entry.document.properties.get("displayName"),
        "state": "Enabled",
        "subscriptionPolicies": {
            "locationPlacementId": "Public_2014-09-01",
            "quotaId": "PayAsYouGo_2014-09-01",
            "spendingLimit": "Off",
        },
    })
}

const READ: &str = "Microsoft.Resources/subscriptions/read";

/// Kind of the records that name subscriptions.
const ALIAS: &str = "subscription-alias";

/// As many subscriptions as one list shows.
const MAX_SUBSCRIPTIONS: u32 = 5000;
