//! `GET {hub}/bastide/presets`, `POST {hub}/bastide/applyPreset` and `GET {hub}/bastide/cost`: lists of hosts applied as
//! ordinary rules in one call, and what the network would cost in the cloud (mission.md groups I and L).

use bastide_arm::error::ArmError;
use bastide_arm::path::PathSegments;
use bastide_arm::resource_type::Linked;
use bastide_hub::preset;
use bastide_hub::shadow_cost;
use http::Method;
use serde_json::{Map, Value, json};

use crate::batch::BATCH_OUTBOUND_RULES;
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entry;
use crate::list::paged;
use crate::pass::{ASSIGN, Pass, WORKSPACE};
use crate::reply::Reply;
use crate::request::Request;
use crate::routes;

impl Front {
    /// GET of the presets, with what of each the hub has.
    pub(crate) async fn list_presets(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let (_, rules) = self.hub_and_rules(request, pass).await?;
        Ok(paged(request, preset::all().iter().map(|preset| preset.answer(&rules)).collect(), None))
    }

    /// POST of `{preset, dryRun}`: what is missing of it becomes rules, in one transaction.
    pub(crate) async fn apply_preset(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let hub = &request.matched.target;
        let body = request.object()?;
        let asked = body.get("preset").and_then(Value::as_str).unwrap_or_default();
        let preset = preset::find(asked).ok_or_else(|| {
            let known: Vec<&str> = preset::all().iter().map(|preset| preset.name.as_str()).collect();
            let message = format!("'{asked}' is not a preset. Use one of {}.", known.join(", "));
            ArmError::invalid_parameter("preset", message)
        })?;
        let is_dry = match body.get("dryRun") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(is_dry)) => *is_dry,
            Some(other) => {
                let message = format!("{other} is neither true nor false. Use one of these.");
                return Err(ArmError::invalid_parameter("dryRun", message).into());
            }
        };
        let (entry, rules) = self.hub_and_rules(request, pass).await?;
        let is_owner = self.gatekeeper.holder_may(pass, ASSIGN, hub).await?;
        let application = preset.apply(&rules, is_owner);
        if !is_dry {
            let (alone, together) = application.added.clone().into_iter().partition(|(_, rule)| takes_owner(rule));
            self.add_rules(request, pass, entry, together, alone).await?;
        }
        Ok(Reply::ok(json!({
            "preset": preset.name,
            "version": preset.version,
            "source": preset.source,
            "dryRun": is_dry,
            "added": application.added,
            "present": application.present,
            "risks": preset.risks(&application),
            "leftOut": application.left_out.iter().map(|destination| json!({
                "destination": destination,
                "reason": "It reaches a storage account, which an Owner of the hub has to admit.",
            })).collect::<Vec<_>>(),
        })))
    }

    /// Most rules in one transaction; those that an Owner has to admit each by a PUT of its own, as the rule's type asks.
    async fn add_rules(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        hub: Entry,
        together: Map<String, Value>,
        alone: Map<String, Value>,
    ) -> Result<(), Failure> {
        let id = hub.id.clone();
        if !together.is_empty() {
            Box::pin(self.put_rules(request, pass, hub, Value::Object(together))).await?;
        }
        for (name, properties) in alone {
            let version = request.context.query_value("api-version").unwrap_or_default();
            let uri = format!("{id}/outboundRules/{name}?api-version={version}");
            let uri = uri.parse().map_err(|error| Failure::internal(format!("{uri}: {error}")))?;
            let step = request.context.step(Method::PUT, uri, self.clock.now());
            Box::pin(self.ask(pass.principal(), &step, Some(json!({"properties": properties})))).await?;
        }
        Ok(())
    }

    /// GET of what the hub's network would cost in the cloud.
    pub(crate) async fn read_cost(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let (hub, rules) = self.hub_and_rules(request, pass).await?;
        Ok(Reply::ok(shadow_cost::of(&hub.document, &rules)))
    }

    /// A hub, or 404.
    pub(crate) async fn addressed_hub(&self, request: &Request<'_>, pass: &Pass) -> Result<Entry, Failure> {
        let hub = &request.matched.target;
        let is_workspace = hub.type_name().eq_ignore_ascii_case(WORKSPACE);
        let entry = if is_workspace { self.ledger.resource(pass, hub).await? } else { None };
        Ok(entry.ok_or_else(|| ArmError::resource_not_found(hub))?)
    }

    /// A hub with all its rules, or 404.
    pub(crate) async fn hub_and_rules(
        &self,
        request: &Request<'_>,
        pass: &Pass,
    ) -> Result<(Entry, Vec<Linked>), Failure> {
        let entry = self.addressed_hub(request, pass).await?;
        let registered = self.registry.find(WORKSPACE, "")?;
        let around = self.around(request.context, pass, &registered, &entry).await?;
        Ok((entry, around.part_rows.values().map(Entry::linked).collect()))
    }

    /// The same as a POST of these rules to the hub's `batchOutboundRules`, by the holder of a pass.
    pub(crate) async fn put_rules(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        hub: Entry,
        rules: Value,
    ) -> Result<Reply, Failure> {
        let path = PathSegments::parse(&format!("{}/{BATCH_OUTBOUND_RULES}", hub.id))?;
        let mut matched = routes::find(&Method::POST, &path)?;
        let registered = self.settle_type(&mut matched, request.api_version)?;
        let action = format!("{WORKSPACE}/{BATCH_OUTBOUND_RULES}/action");
        let pass = self.gatekeeper.authorise_holder(pass, &action, &hub.id).await?;
        let body = json!({"properties": {"managedNetwork": {"outboundRules": rules}}});
        let batch = Request { matched: &matched, registered: registered.as_ref(), body: Some(&body), ..*request };
        self.batch_outbound_rules(&batch, &pass, hub).await
    }
}

/// Whether a rule says what only an Owner may say.
fn takes_owner(rule: &Value) -> bool {
    rule.pointer("/bastide/allowStorageAccount") == Some(&Value::Bool(true))
}
