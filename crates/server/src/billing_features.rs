//! `components/currentBillingFeatures`: how much an Application Insights component may take in a day. Terraform reads and
//! writes it with every component (infrastructure-as-code.md 5.3); nothing is taken in here, so nothing is capped.

use bastide_arm::error::ArmError;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::pass::Pass;
use crate::providers::BILLING_FEATURES;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// GET of them.
    pub(crate) async fn read_billing_features(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let component = self.component(request, pass).await?;
        Ok(Reply::ok(shown(component.document.properties.get(BILLING_FEATURES))))
    }

    /// PUT of them; what the body leaves out stays.
    pub(crate) async fn put_billing_features(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let component = self.component(request, pass).await?;
        let before = component.document.properties.get(BILLING_FEATURES);
        let mut after = shown(before);
        for name in [FEATURES, CAP] {
            match (request.object()?.get(name), after.get_mut(name)) {
                (Some(Value::Object(asked)), Some(Value::Object(cap))) => cap.extend(asked.clone()),
                (Some(asked @ Value::Array(_)), Some(features @ Value::Array(_))) => *features = asked.clone(),
                (None | Some(Value::Null), _) => {}
                (Some(_), _) => {
                    let message = format!("{name} is a list for {FEATURES} and an object for {CAP}.");
                    return Err(ArmError::invalid_parameter(name, message).into());
                }
            }
        }
        if before != Some(&after) {
            let mut document = component.document.clone();
            document.properties.insert(BILLING_FEATURES.to_owned(), after.clone());
            let row = &component.row;
            let put = Entry::put(&component.id, &row.type_name, row.incarnation, row.listed, document, pass)?;
            let entries = Entries { expect: vec![component.unchanged()], changes: vec![put] };
            self.ledger.commit(request.context, pass, entries).await?;
        }
        Ok(Reply::ok(after))
    }

    async fn component(&self, request: &Request<'_>, pass: &Pass) -> Result<Entry, Failure> {
        let id = &request.matched.target;
        let found = self.ledger.resource(pass, id).await?;
        let found = found.filter(|_| id.type_name().eq_ignore_ascii_case(COMPONENT));
        Ok(found.ok_or_else(|| ArmError::resource_not_found(id))?)
    }
}

/// What there is, with what Azure gives a component that nobody has asked anything for.
fn shown(stored: Option<&Value>) -> Value {
    let features = json!({
        FEATURES: ["Basic"],
        CAP: {
            "Cap": 100,
            "ResetTime": 0,
            "WarningThreshold": 90,
            "StopSendNotificationWhenHitCap": false,
            "StopSendNotificationWhenHitThreshold": false,
            "MaxHistoryCap": 1000,
        },
    });
    let stored = stored.and_then(Value::as_object).cloned().unwrap_or_default();
    let mut shown: Map<String, Value> = features.as_object().cloned().unwrap_or_default();
    shown.extend(stored);
    Value::Object(shown)
}

const COMPONENT: &str = "Microsoft.Insights/components";

const FEATURES: &str = "CurrentBillingFeatures";

const CAP: &str = "DataVolumeCap";
