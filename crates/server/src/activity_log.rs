//! The activity log: what the audit chain says, in the words of `Microsoft.Insights/eventtypes/management/values`.
//!
//! Every write carries its record into its own transaction, and every action that reveals a secret has one before it
//! answers. What was refused leaves a record too, reads included, so that an attempt is seen; how many of those one
//! principal can leave is bounded, so that nobody can fill the disk with refusals.
//!
//! A record is told as two events, as clients know them: that it began, when the request came in, and how it ended.

mod event;
mod filter;
mod keeper;
mod selection;

pub use keeper::{AuditKeeper, AuditSettings, KeeperError};

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bastide_access::RoleAssignment;
use bastide_arm::id::ResourceId;
use bastide_arm::paging::PageRequest;
use bastide_identity::Principal;
use bastide_store::{AuditEntry, AuditQuery, Change, Write};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use self::event::{Phase, event};
use self::filter::Filter;
use self::selection::Selection;
use crate::context::Context;
use crate::failure::Failure;
use crate::front::Front;
use crate::list::{list_name, paged};
use crate::pass::{Pass, ROLE_ASSIGNMENT};
use crate::reply::Reply;
use crate::request::Request;

/// Counts the refusals that principals have put on record in this minute.
#[derive(Debug, Default)]
pub struct Refusals {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    minute: i64,
    /// By principal, and by whether it was a read.
    of: HashMap<(Uuid, bool), u32>,
}

/// Who did what to what, and under which ids it can be traced. Never a body: bodies may hold secrets.
pub fn record(context: &Context, principal: &Principal, action: &str, scope: &ResourceId) -> Value {
    let mut record = json!({
        "caller": principal.name,
        "objectId": principal.object_id,
        "principalType": principal.kind.as_principal_type(),
        "action": action,
        "scope": scope.to_string(),
        "method": context.method.as_str(),
        "status": "Succeeded",
        "correlationId": context.correlation_id,
        "requestId": context.request_id,
    });
    let optional = [
        ("appId", principal.app_id.map(|id| id.to_string())),
        ("clientIp", context.client_ip.map(|address| address.to_string())),
        ("clientRequestId", context.client_request_id.as_ref().and_then(|id| id.to_str().ok()).map(str::to_owned)),
    ];
    if let Some(fields) = record.as_object_mut() {
        fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))));
    }
    record
}

/// What a record says of the role assignments among changes: who is given which role where, and on what condition. It
/// outlives them.
pub fn roles_given(changes: &[Change]) -> Option<(String, Value)> {
    let assignments: Vec<Value> = changes
        .iter()
        .filter_map(|change| match change {
            Change::PutResource(put) if put.type_name.eq_ignore_ascii_case(ROLE_ASSIGNMENT) => Some(role(&put.body)),
            _ => None,
        })
        .collect();
    (!assignments.is_empty()).then(|| (ROLES.to_owned(), assignments.into()))
}

/// What a record says of a role assignment that is taken away.
pub fn role_taken(assignment: &RoleAssignment) -> Map<String, Value> {
    Map::from_iter([(ROLES.to_owned(), json!([role(&json!(assignment))]))])
}

/// The part of a role assignment that decides something.
fn role(body: &Value) -> Value {
    let told = ["roleDefinitionId", "principalId", "principalType", "scope", "condition"];
    let said = |name: &str| Some((name.to_owned(), body.get("properties")?.get(name)?.clone()));
    let properties: Map<String, Value> = told.into_iter().filter_map(said).collect();
    json!({"name": body.get("name"), "properties": properties})
}

impl Refusals {
    /// Whether one more refusal of this principal goes on record.
    fn admit(&self, principal: Uuid, is_read: bool, now: Timestamp) -> bool {
        let minute = now.as_second() / 60;
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.minute != minute {
            *counts = Counts { minute, of: HashMap::new() };
        }
        let count = counts.of.entry((principal, is_read)).or_default();
        *count += 1;
        // Reads count apart, so that they cannot push an attempted write off the record.
        *count <= if is_read { MAX_REFUSED_READS } else { MAX_REFUSALS }
    }
}

impl Front {
    /// Puts a refusal on record before the caller hears of it.
    pub(crate) async fn noted<T>(
        &self,
        context: &Context,
        principal: &Principal,
        action: Option<&str>,
        target: &ResourceId,
        outcome: Result<T, Failure>,
    ) -> Result<T, Failure> {
        let is_read = matches!(context.method, Method::GET | Method::HEAD);
        if let (Err(Failure::Refused(error)), Some(action)) = (&outcome, action)
            && REFUSALS.contains(&error.code.as_ref())
            && self.refusals.admit(principal.object_id, is_read, context.now)
        {
            let mut refusal = record(context, principal, action, target);
            if let Some(fields) = refusal.as_object_mut() {
                fields.insert("status".to_owned(), "Failed".into());
                fields.insert("statusCode".to_owned(), error.status.into());
                fields.insert("code".to_owned(), error.code.as_ref().into());
                let policies: Vec<Value> = error.additional_info.iter().map(|(_, info)| broken(info)).collect();
                if !policies.is_empty() {
                    fields.insert("policies".to_owned(), policies.into());
                }
            }
            let write = Write { audit: vec![refusal], ..Write::new(context.now) };
            if let Err(error) = self.ledger.store().commit(write).await {
                tracing::error!(request_id = %context.request_id, %error, "a refusal is not on record");
            }
        }
        outcome
    }

    /// Puts on record that somebody was refused a change of the directory, before they hear of it.
    pub(crate) async fn note_directory_refusal(&self, principal: &Principal, action: &str, target: Option<Uuid>) {
        let now = self.clock.now();
        if !self.refusals.admit(principal.object_id, false, now) {
            return;
        }
        let refusal = json!({
            "caller": principal.name,
            "objectId": principal.object_id,
            "principalType": principal.kind.as_principal_type(),
            "action": action,
            "target": target,
            "status": "Failed",
            "code": "Authorization_RequestDenied",
        });
        let write = Write { audit: vec![refusal], ..Write::new(now) };
        if let Err(error) = self.ledger.store().commit(write).await {
            tracing::error!(%error, action, "a refusal of the directory is not on record");
        }
    }

    /// GET of the events of a subscription, or of the tenant: the newest first.
    pub(crate) async fn list_events(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let scope = pass.scope();
        let filter = Filter::read(request)?;
        let selection = Selection::read(request)?;
        let pairs = request.context.query();
        let parameters = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let asked = PageRequest::from_query(parameters, &list_name(request))?;
        let size = asked.top.map_or(PAGE, |top| top as usize);
        // Entries stand in the order they were committed in, their times are when the requests came in: not quite the
        // same order.
        let (earliest, latest) = (earlier(filter.from), later(filter.to));
        let mut before = match asked.after.and_then(|after| after.parse().ok()) {
            Some(before) => before,
            None => self.first_after(latest).await?,
        };
        let mut events = Vec::new();
        for _ in 0..MAX_READS {
            let chunk = self.entries_before(before).await?;
            for entry in chunk.iter().rev() {
                if entry.at < earliest {
                    return Ok(paged(request, events, None));
                }
                if events.len() >= size {
                    return Ok(paged(request, events, Some(&before.to_string())));
                }
                before = entry.seq;
                let Some(resource) = resource_of(&entry.record, scope) else { continue };
                for phase in Phase::BOTH {
                    if filter.admits(entry, phase, &resource) {
                        events.push(selection.of(event(entry, phase, &resource, request.tenant_id)));
                    }
                }
            }
            if before <= 1 || chunk.is_empty() {
                return Ok(paged(request, events, None));
            }
        }
        // A filter that fits almost nothing: hand out what there is, and go on where reading stopped.
        Ok(paged(request, events, Some(&before.to_string())))
    }

    /// The entries right before a number, in order.
    async fn entries_before(&self, before: i64) -> Result<Vec<AuditEntry>, Failure> {
        let after = (before - 1 - i64::from(CHUNK)).max(0);
        let limit = u32::try_from((before - 1 - after).max(0)).unwrap_or(CHUNK);
        let mut entries = self.ledger.store().audit(&AuditQuery { after, limit }).await?;
        // Where the chain was cut there are fewer behind `after` than were asked for.
        entries.retain(|entry| entry.seq < before);
        Ok(entries)
    }

    /// The number of the first entry that is younger than a moment, or the next one to be written.
    async fn first_after(&self, moment: Timestamp) -> Result<i64, Failure> {
        let (mut old, mut young) = (0, 1);
        while self.is_old(young, moment).await? {
            (old, young) = (young, young * 2);
        }
        while young - old > 1 {
            let middle = old + (young - old) / 2;
            if self.is_old(middle, moment).await? { old = middle } else { young = middle }
        }
        Ok(young)
    }

    async fn is_old(&self, number: i64, moment: Timestamp) -> Result<bool, Failure> {
        let found = self.ledger.store().audit(&AuditQuery { after: number - 1, limit: 1 }).await?;
        Ok(found.first().is_some_and(|entry| entry.at <= moment))
    }
}

/// GET of the categories that events come in.
pub(crate) fn list_categories(request: &Request<'_>) -> Reply {
    paged(request, event::CATEGORIES.map(localised).into(), None)
}

/// What an entry is about, if that is within the scope asked for. The directory's own entries are about no resource.
fn resource_of(record: &Value, scope: &ResourceId) -> Option<ResourceId> {
    let id = ResourceId::parse(record.get("scope")?.as_str()?).ok()?;
    id.is_within(scope).then_some(id)
}

fn earlier(moment: Timestamp) -> Timestamp {
    moment.checked_sub(SLACK).unwrap_or(Timestamp::MIN)
}

fn later(moment: Timestamp) -> Timestamp {
    moment.checked_add(SLACK).unwrap_or(Timestamp::MAX)
}

/// The policy that a request broke: its ids, none of the values that were compared.
fn broken(info: &Value) -> Value {
    let names = ["policyDefinitionId", "policySetDefinitionId", "policyDefinitionEffect", "policyAssignmentId"];
    names.iter().filter_map(|name| Some(((*name).to_owned(), info.get(name)?.clone()))).collect()
}

/// A text of a record; empty when it has none.
fn text<'a>(record: &'a Value, name: &str) -> &'a str {
    record.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A word as the log prints it.
fn localised(word: &str) -> Value {
    Value::Object(Map::from_iter([("value".to_owned(), word.into()), ("localizedValue".to_owned(), word.into())]))
}

/// The field of a record that says who was given, or lost, which role.
const ROLES: &str = "roleAssignments";

/// What is worth a record when a request is refused for it.
const REFUSALS: [&str; 4] =
    ["AuthorizationFailed", "LinkedAuthorizationFailed", "RequestDisallowedByPolicy", "ScopeLocked"];

/// Refusals of one principal on record in a minute.
const MAX_REFUSALS: u32 = 60;

/// ... of its reads.
const MAX_REFUSED_READS: u32 = 20;

/// Events on a page when the client does not say.
const PAGE: usize = 200;

/// Entries read at once.
const CHUNK: u32 = 500;

/// Chunks read for one answer at most.
const MAX_READS: usize = 40;

/// How far the time of an entry may be from its place: a request may take that long from its arrival to its commit.
const SLACK: SignedDuration = SignedDuration::from_mins(10);
