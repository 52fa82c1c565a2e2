//! Asking for a way out: whoever is refused asks for a destination, whoever may change the rules approves it for a time or
//! for good, or says no (mission.md (c) 10). `POST {hub}/bastide/ask`, `GET {hub}/bastide/requests`, `POST .../approve` and
//! `.../deny`.

use bastide_arm::error::ArmError;
use bastide_hub::outbound_rule::{Fqdn, Wish};
use bastide_store::{Change, Expectation, RecordQuery};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::list::paged;
use crate::pass::{Pass, WORKSPACE};
use crate::reply::Reply;
use crate::request::Request;

/// A request as kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuleRequest {
    id: Uuid,
    destination: String,
    justification: String,
    /// For how long; none is for good.
    minutes: Option<i64>,
    asked_by: Uuid,
    asked_by_name: String,
    asked_at: Timestamp,
    status: Status,
    decided_by: Option<String>,
    decided_at: Option<Timestamp>,
    /// The rule that an approval made.
    rule: Option<String>,
    expires_on: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Status {
    Pending,
    Approved,
    Denied,
}

impl Front {
    /// POST by anybody who may see the hub: 201, or 200 when the same is asked already.
    pub(crate) async fn ask_for_rule(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let hub = &request.matched.target;
        let pass = &self.gatekeeper.authorise_holder(pass, &format!("{WORKSPACE}/read"), hub).await?;
        let (hub, rules) = self.hub_and_rules(request, pass).await?;
        let body = request.object()?;
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
        let destination =
            Fqdn::parse(&text("destination")).map_err(|message| ArmError::invalid_parameter("destination", message))?;
        Wish { hub: &hub.linked(), rules: &rules, destination: &destination, now: request.context.now }
            .check(self.origins.zone())?;
        let destination = destination.to_string();
        let asker = pass.principal();
        let asked = self.rule_requests(request, &hub).await?;
        let mine =
            asked.iter().filter(|(other, _)| other.asked_by == asker.object_id && other.status == Status::Pending);
        if let Some((same, _)) = mine.clone().find(|(other, _)| other.destination == destination) {
            return Ok(Reply::ok(json!(same)));
        }
        if mine.count() >= MAX_PENDING {
            let message = format!("{MAX_PENDING} of your requests are pending at this hub. Wait for a decision.");
            return Err(ArmError::new(409, "TooManyRuleRequests", message).into());
        }
        let new = RuleRequest {
            id: Uuid::new_v4(),
            destination,
            justification: text("justification").chars().take(MAX_TEXT).collect(),
            minutes: minutes(body)?,
            asked_by: asker.object_id,
            asked_by_name: asker.name.clone(),
            asked_at: request.context.now,
            status: Status::Pending,
            decided_by: None,
            decided_at: None,
            rule: None,
            expires_on: None,
        };
        let expect = vec![Expectation::RecordAbsent { kind: KIND.to_owned(), key: new.id.to_string() }];
        let entries = Entries { expect, changes: vec![new.put(&hub)?] };
        self.ledger.commit(request.context, pass, entries).await?;
        Ok(Reply::json(201, json!(new)))
    }

    /// GET of what was asked, the latest first.
    pub(crate) async fn list_rule_requests(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let (hub, _) = self.hub_and_rules(request, pass).await?;
        let mut asked = self.rule_requests(request, &hub).await?;
        asked.sort_by_key(|(asked, _)| std::cmp::Reverse(asked.asked_at));
        Ok(paged(request, asked.iter().map(|(asked, _)| json!(asked)).collect(), None))
    }

    /// POST of a decision by whoever may change the rules of the hub. An approval is a rule, with an end if one is set.
    pub(crate) async fn decide_rule_request(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        is_approved: bool,
    ) -> Result<Reply, Failure> {
        let (hub, _) = self.hub_and_rules(request, pass).await?;
        let name = request.matched.value(0);
        let found =
            self.rule_requests(request, &hub).await?.into_iter().find(|(asked, _)| asked.id.to_string() == name);
        let (mut asked, revision) =
            found.ok_or_else(|| ArmError::not_found(format!("There is no request '{name}' at this hub.")))?;
        if asked.status != Status::Pending {
            let message = format!("The request '{name}' is decided already ({:?}). Ask anew.", asked.status);
            return Err(ArmError::new(409, "RuleRequestDecided", message).into());
        }
        let now = request.context.now;
        if is_approved {
            let minutes = minutes(request.body.unwrap_or(&Value::Null))?.or(asked.minutes);
            asked.expires_on = minutes.and_then(|minutes| now.checked_add(SignedDuration::from_mins(minutes)).ok());
            let rule = format!("ask-{}", asked.id.simple().to_string().get(..8).unwrap_or_default());
            let extension = json!({"enabled": true, "expiresOn": asked.expires_on});
            let rules =
                json!({rule.as_str(): {"type": "FQDN", "destination": asked.destination, "bastide": extension}});
            let entry = self.ledger.resource(pass, &hub.id).await?;
            let entry = entry.ok_or_else(|| ArmError::resource_not_found(&hub.id))?;
            Box::pin(self.put_rules(request, pass, entry, rules)).await?;
            asked.rule = Some(rule);
        }
        asked.status = if is_approved { Status::Approved } else { Status::Denied };
        asked.decided_by = Some(pass.principal().name.clone());
        asked.decided_at = Some(now);
        let expect = vec![Expectation::RecordRevision { kind: KIND.to_owned(), key: asked.id.to_string(), revision }];
        let entries = Entries { expect, changes: vec![asked.put(&hub)?] };
        self.ledger.commit(request.context, pass, entries).await?;
        Ok(Reply::ok(json!(asked)))
    }

    async fn rule_requests(&self, request: &Request<'_>, hub: &Entry) -> Result<Vec<(RuleRequest, i64)>, Failure> {
        let query = RecordQuery {
            kind: KIND.to_owned(),
            owner: Some(hub.row.incarnation.to_string()),
            now: request.context.now,
            after: None,
            limit: MAX_KEPT,
        };
        let read = |record: bastide_store::Record| {
            let unreadable = |error: serde_json::Error| Failure::internal(format!("a request for a rule: {error}"));
            Ok((serde_json::from_value(record.body).map_err(unreadable)?, record.revision))
        };
        self.ledger.store().records(&query).await?.into_iter().map(read).collect()
    }
}

impl RuleRequest {
    fn put(&self, hub: &Entry) -> Result<Change, Failure> {
        Ok(Change::PutRecord {
            kind: KIND.to_owned(),
            key: self.id.to_string(),
            owner: Some(hub.row.incarnation.to_string()),
            body: serde_json::to_value(self).map_err(|error| Failure::internal(error.to_string()))?,
            expires: self.asked_at.checked_add(KEPT).ok(),
        })
    }
}

/// For how long; none when the body does not say.
fn minutes(body: &Value) -> Result<Option<i64>, Failure> {
    match body.get("minutes") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64().filter(|minutes| (1..=MAX_MINUTES).contains(minutes)) {
            Some(minutes) => Ok(Some(minutes)),
            None => {
                let message = format!("{value} is no time. Use 1 to {MAX_MINUTES} minutes, or leave it out for good.");
                Err(ArmError::invalid_parameter("minutes", message).into())
            }
        },
    }
}

/// Kind of the records that hold requests, owned by the incarnation of the hub.
const KIND: &str = "rule-request";

/// Pending requests of one principal at one hub.
const MAX_PENDING: usize = 20;

/// Requests of a hub that are looked at.
const MAX_KEPT: u32 = 2000;

/// Letters of a justification that are kept.
const MAX_TEXT: usize = 1000;

/// A year.
const MAX_MINUTES: i64 = 365 * 24 * 60;

/// How long a request is remembered.
const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);
