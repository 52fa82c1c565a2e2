//! The history of a hub's rules: every commit that changes some of them leaves what they were and are, under the one revision
//! that it has. `GET {hub}/bastide/revisions` and `diff`, `POST {hub}/bastide/rollback` (mission.md (c) 7).

use std::collections::BTreeMap;

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::Document;
use bastide_hub::rule_set::{self, RuleChange, RuleSet};
use bastide_store::{Change, RecordQuery, Store};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::failure::Failure;
use crate::front::Front;
use crate::list::paged;
use crate::pass::{Pass, WORKSPACE};
use crate::reply::Reply;
use crate::request::Request;

/// What one commit changed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Revision {
    /// Of the store, so that commits have one order; it is known once the record is there.
    #[serde(skip)]
    revision: i64,
    at: Timestamp,
    by: String,
    changes: Vec<RuleChange>,
}

/// The records of what a commit changes of the rules of hubs that are there.
pub(crate) async fn records(
    store: &Store,
    changes: &[Change],
    by: &str,
    now: Timestamp,
) -> Result<Vec<Change>, Failure> {
    let mut touched: BTreeMap<String, Vec<(ResourceId, Option<&Value>)>> = BTreeMap::new();
    for change in changes {
        let (id, body) = match change {
            Change::PutResource(put) if put.type_name.eq_ignore_ascii_case(RULES) => (put.id.as_str(), Some(&put.body)),
            Change::DeleteResource(key) if key.contains(RULES_IN_KEY) => (key.as_str(), None),
            _ => continue,
        };
        let Ok(id) = ResourceId::parse(id) else { continue };
        if let Some(hub) = id.parent().filter(|hub| hub.type_name().eq_ignore_ascii_case(WORKSPACE)) {
            touched.entry(hub.key().to_owned()).or_default().push((id, body));
        }
    }
    let mut records = Vec::new();
    for (hub, rules) in touched {
        // What a new hub brings along is where its history begins.
        let Some(hub) = store.resource(&hub).await? else { continue };
        let mut changes = Vec::new();
        for (id, body) in rules {
            let before = store.resource(id.key()).await?;
            let name =
                before.as_ref().map_or(id.name(), |row| row.id.rsplit('/').next().unwrap_or_default()).to_owned();
            let before = before.map(|row| properties(&row.body)).transpose()?;
            let after = body.map(properties).transpose()?;
            let document = |document: &Option<Document>| document.as_ref().map(|document| document.properties.clone());
            changes.extend(RuleChange::between(&name, document(&before).as_ref(), document(&after).as_ref()));
        }
        if changes.is_empty() {
            continue;
        }
        let revision = Revision { revision: 0, at: now, by: by.to_owned(), changes };
        records.push(Change::PutRecord {
            kind: REVISION.to_owned(),
            key: Uuid::new_v4().to_string(),
            owner: Some(hub.incarnation.to_string()),
            body: serde_json::to_value(revision).map_err(|error| Failure::internal(error.to_string()))?,
            expires: now.checked_add(KEPT).ok(),
        });
    }
    Ok(records)
}

impl Front {
    /// GET of what was changed, the latest first.
    pub(crate) async fn list_revisions(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let (_, revisions) = self.revisions(request, pass).await?;
        Ok(paged(request, revisions.iter().map(Revision::answer).collect(), None))
    }

    /// GET of how the rules right after one revision (`from`) differ from those after another (`to`, else from now).
    pub(crate) async fn diff_rules(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let (now, revisions) = self.revisions(request, pass).await?;
        let latest = *self.ledger.store().revisions().borrow();
        let asked = |name: &str| asked(request.context.query_value(name).as_deref(), name, latest);
        let from = asked("from")?;
        let from = from.ok_or_else(|| ArmError::invalid_parameter("from", "Name a revision: ?from=NUMBER."))?;
        let to = asked("to")?;
        let older = state_after(&now, &revisions, from);
        let newer = to.map_or_else(|| now.clone(), |to| state_after(&now, &revisions, to));
        Ok(Reply::ok(json!({"from": from, "to": to, "changes": rule_set::told(&older.changes_to(&newer))})))
    }

    /// POST of `{revision}`: the rules become again what they were right after it; without one, what they were before the
    /// latest change. That is a change of its own, in one transaction, and can be undone likewise.
    pub(crate) async fn roll_back(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let (now, revisions) = self.revisions(request, pass).await?;
        let body = request.body.and_then(|body| body.get("revision")).filter(|revision| !revision.is_null());
        let wanted = match (body, revisions.first()) {
            (Some(revision), _) => {
                let number = revision.as_i64().filter(|number| revisions.iter().any(|known| known.revision == *number));
                number.ok_or_else(|| {
                    let message = format!(
                        "{revision} is no revision of these rules. See GET {}/bastide/revisions.",
                        request.matched.target
                    );
                    ArmError::invalid_parameter("revision", message)
                })?
            }
            (None, Some(latest)) => latest.revision - 1,
            (None, None) => {
                return Err(ArmError::conflict(
                    "The rules of this hub have no history yet: there is nothing to go back to.",
                )
                .into());
            }
        };
        let changes = now.changes_to(&state_after(&now, &revisions, wanted));
        if !changes.is_empty() {
            let (hub, _) = self.hub_and_rules(request, pass).await?;
            Box::pin(self.put_rules(request, pass, hub, Value::Object(rule_set::body(&changes)))).await?;
        }
        Ok(Reply::ok(json!({"revision": body, "changes": rule_set::told(&changes)})))
    }

    /// The rules as they are, and their history, the latest first.
    async fn revisions(&self, request: &Request<'_>, pass: &Pass) -> Result<(RuleSet, Vec<Revision>), Failure> {
        let (hub, rules) = self.hub_and_rules(request, pass).await?;
        let mut query = RecordQuery {
            kind: REVISION.to_owned(),
            owner: Some(hub.row.incarnation.to_string()),
            now: request.context.now,
            after: None,
            limit: PAGE,
        };
        let mut revisions = Vec::new();
        loop {
            let page = self.ledger.store().records(&query).await?;
            query.after = page.last().map(|record| record.key.clone());
            let is_last = page.len() < PAGE as usize;
            for record in page {
                let unreadable = |error: serde_json::Error| Failure::internal(format!("a revision: {error}"));
                let read: Revision = serde_json::from_value(record.body).map_err(unreadable)?;
                revisions.push(Revision { revision: record.revision, ..read });
            }
            if is_last {
                break;
            }
        }
        revisions.sort_by_key(|revision| std::cmp::Reverse(revision.revision));
        Ok((RuleSet::of(&rules), revisions))
    }
}

impl Revision {
    fn answer(&self) -> Value {
        json!({"revision": self.revision, "at": self.at, "by": self.by, "changes": rule_set::told(&self.changes)})
    }
}

/// The rules right after a revision: today's, with everything later undone.
fn state_after(now: &RuleSet, revisions: &[Revision], wanted: i64) -> RuleSet {
    let later = revisions.iter().take_while(|revision| revision.revision > wanted);
    now.before(later.flat_map(|revision| &revision.changes))
}

fn asked(text: Option<&str>, name: &str, latest: i64) -> Result<Option<i64>, Failure> {
    let number = |text: &str| {
        let number = text.parse().ok().filter(|number| (0..=latest).contains(number));
        number.ok_or_else(|| {
            let message = format!(
                "'{text}' is not a revision. Use a number that the history lists; there is none after {latest} yet."
            );
            ArmError::invalid_parameter(name, message)
        })
    };
    Ok(text.map(number).transpose()?)
}

fn properties(body: &Value) -> Result<Document, Failure> {
    serde_json::from_value(body.clone()).map_err(|error| Failure::internal(format!("a rule: {error}")))
}

const RULES: &str = "Microsoft.MachineLearningServices/workspaces/outboundRules";
const RULES_IN_KEY: &str = "/outboundrules/";

/// Kind of the records that hold what commits changed of rules, owned by the incarnation of the hub.
const REVISION: &str = "rule-revision";

/// A year of history.
const KEPT: SignedDuration = SignedDuration::from_hours(365 * 24);

const PAGE: u32 = 1000;
