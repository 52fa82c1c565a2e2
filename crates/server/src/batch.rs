//! Many outbound rules at once: one transaction, one revision, all of them or none. What the cloud's clients do rule by
//! rule, each re-applying the firewall (mission.md W4).

use bastide_arm::envelope::Envelope;
use bastide_arm::error::ArmError;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entry;
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;
use crate::resource::{Wish, X_MS_BASTIDE_WARNING, document_of_patch};

/// The action, of hubs and of managed networks of accounts.
pub(crate) const BATCH_OUTBOUND_RULES: &str = "batchOutboundRules";

impl Front {
    /// POST of a map of rules: what it names is written, a null removes, what it does not name stays. The answer lists all
    /// rules there are then.
    pub(crate) async fn batch_outbound_rules(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        entry: Entry,
    ) -> Result<Reply, Failure> {
        let registered = request.registered()?;
        let rules = request.object()?.pointer("/properties/managedNetwork/outboundRules").and_then(Value::as_object);
        let Some(rules) = rules else {
            let message = "Give the rules under properties.managedNetwork.outboundRules, each under its name.";
            return Err(ArmError::invalid_parameter("properties.managedNetwork.outboundRules", message).into());
        };
        // The right to the rules is not the right to the rest of the network.
        let properties = json!({"managedNetwork": {"outboundRules": rules}});
        let body = json!({"properties": properties});
        let request = Request { body: Some(&body), ..*request };
        let mut envelope = Envelope { properties: object(properties), ..Envelope::default() };
        let document = document_of_patch(&mut envelope, registered.rules.descriptor(), &entry)?;
        let wish = Wish { envelope, document, warnings: Vec::new() };
        let written = Box::pin(self.write_resource(&request, pass, Some(entry), wish)).await?;
        let warnings = written.header_text(&X_MS_BASTIDE_WARNING).map(str::to_owned);
        let id = &request.matched.target;
        let entry = self.ledger.resource(pass, id).await?.ok_or_else(|| ArmError::resource_not_found(id))?;
        let around = self.around(request.context, pass, registered, &entry).await?;
        let mut values = Vec::new();
        for rule in around.part_rows.values() {
            let of_rule = self.registry.find(&rule.row.type_name, "")?;
            values.push(self.wire_form(&request, pass, &of_rule, rule).await?);
        }
        let reply = Reply::ok(json!({"value": values}));
        Ok(warnings.into_iter().fold(reply, |reply, text| reply.header(X_MS_BASTIDE_WARNING, &text)))
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
