//! `GET {hub}/bastide/explain?to=&port=&compute=` and `GET {hub}/bastide/flows?...`.

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
    pub(crate) async fn explain_network(&self, request: &Request<'_>, _pass: &Pass) -> Result<Reply, Failure> {
        let context = request.context;
        let Some(to) = context.query_value("to").filter(|to| !to.is_empty()) else {
            let message = "Name the destination in the query: ?to=pypi.org or ?to=pypi.org&port=443.";
            return Err(ArmError::invalid_parameter("to", message).into());
        };
        let question = Question { compute: context.query_value("compute"), to, port: port(context)? };
        match self.networks.explain(&request.matched.target, question).await {
            Ok(explanation) => Ok(Reply::ok(json!(explanation))),
            Err(away) => Err(refusal(away).into()),
        }
    }

    /// What happened at the wall of a hub: a page of the latest records, all that are wanted as lines, or what happens from
    /// now on.
    pub(crate) async fn list_flows(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let (context, hub) = (request.context, &request.matched.target);
        let query = flow_query(context)?;
        let is_live = context.query_value("stream").is_some_and(|text| text.eq_ignore_ascii_case("true"));
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
            let flows = self.networks.flows(hub, query).await.map_err(refusal)?;
            let mut body = json!({"value": flows.records, "dropped": flows.dropped});
            if let (Some(older), Some(fields)) = (flows.older, body.as_object_mut()) {
                fields.insert("nextLink".into(), older_link(context, older).into());
            }
            return Ok(Reply::ok(body));
        };
        // Whether there is a log is said before the answer begins.
        let latest = FlowQuery { limit: 1, ..FlowQuery::default() };
        let now = self.networks.flows(hub, latest).await.map_err(refusal)?;
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
    pub(crate) async fn count_flows(&self, request: &Request<'_>, _pass: &Pass) -> Result<Reply, Failure> {
        let hub = &request.matched.target;
        let counts = self.networks.flow_counts(hub).await.map_err(refusal)?;
        Ok(Reply::text(
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            super::flow_metrics::text(hub, &counts),
        ))
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
        denied: context.query_value("denied").is_some_and(|text| text.eq_ignore_ascii_case("true")),
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
    parsed(context, "port", "a port. Use a number from 1 to 65535.")
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
pub(crate) fn refusal(away: Away) -> ArmError {
    let status = if matches!(away, Away::Silent(_)) { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::CONFLICT };
    ArmError::new(status.as_u16(), "NetworkNotEnforced", away.to_string())
}

const DEFAULT_LIMIT: u32 = 500;
const MAX_LIMIT: u32 = 10_000;

/// Records that a stream asks for at a time.
const PAGE: u32 = 1000;
