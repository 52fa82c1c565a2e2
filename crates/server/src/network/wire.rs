//! `GET {hub}/bastide/explain?to=&port=&compute=` and `GET {hub}/bastide/flows?...`.

use std::num::NonZeroU16;
use std::str::FromStr;

use bastide_arm::error::ArmError;
use bastide_plan::explanation::Question;
use bastide_plan::flow::{FlowQuery, Place};
use http::StatusCode;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde_json::json;

use super::flow_stream::{FlowStream, Form};
use super::node::Away;
use crate::bearer::bearer;
use crate::context::Context;
use crate::failure::Failure;
use crate::front::Front;
use crate::pass::Pass;
use crate::reply::{Reply, Stream};
use crate::request::Request;

impl Front {
    /// What would happen to a connection from inside a hub, and what to add to have it let through.
    pub(crate) async fn explain_network(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let context = request.context;
        let Some(to) = context.query_value("to").filter(|to| !to.is_empty()) else {
            let message = "Name the destination in the query: ?to=pypi.org or ?to=pypi.org&port=443.";
            return Err(ArmError::invalid_parameter("to", message).into());
        };
        let question = Question { compute: context.query_value("compute"), to, port: port(context)? };
        let explained = match self.networks.explain(&request.matched.target, question.clone()).await {
            Ok(explained) => explained,
            Err(away) => return Err(self.unanswered(request, pass, away).await),
        };
        if explained.allowed {
            return Ok(Reply::ok(json!(explained)));
        }
        // On the heap: what every request may have to hold stays small.
        let not_in_force = Box::pin(self.not_in_force(request, pass, &question, &explained)).await?;
        let explained = not_in_force.iter().fold(explained, |explained, found| found.explain(explained));
        let mut answer = json!(explained);
        if let (Some(found), Some(fields)) = (not_in_force, answer.as_object_mut()) {
            fields.insert("notInForce".into(), json!(found));
        }
        Ok(Reply::ok(answer))
    }

    /// What happened at the wall of a hub: a page of the latest records, all that are wanted as lines, or what happens from
    /// now on.
    pub(crate) async fn list_flows(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let (context, hub) = (request.context, &request.matched.target);
        let query = flow_query(context)?;
        let is_live = flag(context, "stream")?;
        let form = match context.query_value("format").as_deref() {
            None | Some("json") if is_live => Some(Form::Events),
            None | Some("json") => None,
            Some("jsonl") => Some(Form::Lines),
            Some("ocsf") => Some(Form::Ocsf),
            Some(other) => {
                let message = format!("'{other}' is not a format of flows. Use json, jsonl or ocsf.");
                return Err(ArmError::invalid_parameter("format", message).into());
            }
        };
        let Some(form) = form else {
            let flows = match self.networks.flows(hub, query).await {
                Ok(flows) => flows,
                Err(away) => return Err(self.unanswered(request, pass, away).await),
            };
            let mut body = json!({"value": flows.records, "dropped": flows.dropped});
            if let (Some(older), Some(fields)) = (flows.older, body.as_object_mut()) {
                fields.insert("nextLink".into(), older_link(context, older).into());
            }
            return Ok(Reply::ok(body));
        };
        // Whether there is a log is said before the answer begins.
        let latest = FlowQuery { limit: 1, ..FlowQuery::default() };
        let now = match self.networks.flows(hub, latest).await {
            Ok(now) => now,
            Err(away) => return Err(self.unanswered(request, pass, away).await),
        };
        let resumed = request.headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<Place>().ok());
        let from_start = !is_live || query.since.is_some();
        let after = query.after.or(resumed).unwrap_or(if from_start { 0 } else { now.next });
        let token = bearer(request.headers).ok_or_else(ArmError::authentication_failed)?;
        let place = self.networks.stream_place().ok_or_else(|| {
            ArmError::new(429, "TooManyStreams", "Too many are following flow logs at this moment. Try again later.")
        })?;
        let query = FlowQuery { after: Some(after), before: None, limit: PAGE, ..query };
        let stream = FlowStream::new(hub.clone(), query, form, is_live, token, pass.epoch(), place);
        Ok(Reply::streaming(form.content_type(), Stream::new(move |front| stream.clone().open(front))))
    }

    /// GET of how often each rule of a hub has decided something, as Prometheus reads it.
    pub(crate) async fn count_flows(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let hub = &request.matched.target;
        let counts = match self.networks.flow_counts(hub).await {
            Ok(counts) => counts,
            Err(away) => return Err(self.unanswered(request, pass, away).await),
        };
        Ok(Reply::text(
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            super::flow_metrics::text(hub, &counts),
        ))
    }

    /// Why a question about a network has no answer: there is no such hub, or it is a project, or the node has none.
    pub(crate) async fn unanswered(&self, request: &Request<'_>, pass: &Pass, away: Away) -> Failure {
        let asked = &request.matched.target;
        match Box::pin(self.hub_above(pass, asked)).await {
            Err(failure) => failure,
            Ok(None) => ArmError::resource_not_found(asked).into(),
            Ok(Some(hub)) if hub.id != *asked => {
                let message = format!(
                    "'{}' is a project, whose computes stand in the network of its hub. Ask about hub '{}'.",
                    asked.name(),
                    hub.id.name()
                );
                ArmError::new(409, "NetworkOfHub", message).into()
            }
            Ok(Some(_)) => refusal(away).into(),
        }
    }
}

/// The filters of a request.
pub(super) fn flow_query(context: &Context) -> Result<FlowQuery, ArmError> {
    let limit = match context.query_value("$top") {
        None => DEFAULT_LIMIT,
        Some(text) => text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(|| {
            let message = format!("'{text}' is not a number of records. Use 1 to {MAX_LIMIT}.");
            ArmError::invalid_parameter("$top", message)
        })?,
    };
    Ok(FlowQuery {
        since: time(context, "since")?,
        until: time(context, "until")?,
        denied: flag(context, "denied")?,
        compute: context.query_value("compute"),
        project: context.query_value("project"),
        name: context.query_value("name").map(|name| name.to_ascii_lowercase()),
        verdict: word(context, "verdict", "allowed, denied, cut or failed")?,
        rule: context.query_value("rule"),
        kind: word(context, "kind", "dns, tls, http, relay, tcp, udp, icmp or other")?,
        port: port(context)?,
        before: place(context, "before")?,
        after: place(context, "after")?,
        limit,
    })
}

fn port(context: &Context) -> Result<Option<u16>, ArmError> {
    let port = parsed::<NonZeroU16>(context, "port", "a port. Use a number from 1 to 65535.")?;
    Ok(port.map(NonZeroU16::get))
}

/// Whether a query says so. A word that is neither yes nor no must not be taken for one: a dry run would be none, and
/// `denied` show what was let through.
pub(crate) fn flag(context: &Context, name: &str) -> Result<bool, ArmError> {
    let text = context.query_value(name).map(|text| text.to_ascii_lowercase());
    match text.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => {
            Err(ArmError::invalid_parameter(name, format!("'{other}' is neither true nor false. Use one of these.")))
        }
    }
}

fn place(context: &Context, name: &str) -> Result<Option<Place>, ArmError> {
    parsed(context, name, "a place of the log. Use one that an answer named.")
}

fn time(context: &Context, name: &str) -> Result<Option<i64>, ArmError> {
    let time = parsed::<Timestamp>(context, name, "a time. Use one such as 2026-11-22T10:00:00Z.")?;
    Ok(time.map(Timestamp::as_millisecond))
}

fn parsed<T: FromStr>(context: &Context, name: &str, what: &str) -> Result<Option<T>, ArmError> {
    let Some(text) = context.query_value(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| ArmError::invalid_parameter(name, format!("'{text}' is not {what}")))
}

fn word<T: DeserializeOwned>(context: &Context, name: &str, words: &str) -> Result<Option<T>, ArmError> {
    let Some(text) = context.query_value(name) else { return Ok(None) };
    let lower = text.to_ascii_lowercase();
    T::deserialize(StrDeserializer::<ValueError>::new(&lower))
        .map(Some)
        .map_err(|_| ArmError::invalid_parameter(name, format!("'{text}' is not a {name}. Use {words}.")))
}

fn older_link(context: &Context, older: Place) -> String {
    let mut pairs = url::form_urlencoded::Serializer::new(String::new());
    let kept = context.query().into_iter().filter(|(name, _)| !name.eq_ignore_ascii_case("before"));
    pairs.extend_pairs(kept).append_pair("before", &older.to_string());
    format!("{}{}?{}", context.origin.as_str(), context.uri.path(), pairs.finish())
}

/// The state of the host stands in the way, not the request.
pub(super) fn refusal(away: Away) -> ArmError {
    let status = if matches!(away, Away::Silent(_)) { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::CONFLICT };
    ArmError::new(status.as_u16(), "NetworkNotEnforced", away.to_string())
}

const DEFAULT_LIMIT: u32 = 500;
const MAX_LIMIT: u32 = 10_000;

/// Records that a stream asks for at a time.
const PAGE: u32 = 1000;
