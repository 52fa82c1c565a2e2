//! `GET {hub}/bastide/explain?to=&port=&compute=` and `GET {hub}/bastide/flows?since=&denied=&compute=&$top=`.

use bastide_arm::error::ArmError;
use bastide_plan::explanation::Question;
use bastide_plan::flow::FlowQuery;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::json;

use super::node::Away;
use crate::failure::Failure;
use crate::front::Front;
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// What would happen to a connection from inside a hub, and what to add to have it let through.
    pub(crate) async fn explain_network(&self, request: &Request<'_>, _pass: &Pass) -> Result<Reply, Failure> {
        let context = request.context;
        let Some(to) = context.query_value("to").filter(|to| !to.is_empty()) else {
            let message = "Name the destination in the query: ?to=pypi.org or ?to=pypi.org&port=443.";
            return Err(ArmError::invalid_parameter("to", message).into());
        };
        let port = match context.query_value("port") {
            None => None,
            Some(text) => Some(text.parse::<u16>().map_err(|_| {
                ArmError::invalid_parameter("port", format!("'{text}' is not a port. Use a number from 1 to 65535."))
            })?),
        };
        let question = Question { compute: context.query_value("compute"), to, port };
        match self.networks.explain(&request.matched.target, question).await {
            Ok(explanation) => Ok(Reply::ok(json!(explanation))),
            Err(away) => Err(refusal(away).into()),
        }
    }

    /// What happened at the wall of a hub, the latest records of it.
    pub(crate) async fn list_flows(&self, request: &Request<'_>, _pass: &Pass) -> Result<Reply, Failure> {
        let context = request.context;
        let since = match context.query_value("since") {
            None => None,
            Some(text) => Some(text.parse::<Timestamp>().map_err(|_| {
                let message = format!("'{text}' is not a time. Use one such as 2026-11-22T10:00:00Z.");
                ArmError::invalid_parameter("since", message)
            })?),
        };
        let limit = match context.query_value("$top") {
            None => DEFAULT_LIMIT,
            Some(text) => text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(|| {
                let message = format!("'{text}' is not a number of records. Use 1 to {MAX_LIMIT}.");
                ArmError::invalid_parameter("$top", message)
            })?,
        };
        let query = FlowQuery {
            since: since.map(Timestamp::as_millisecond),
            denied: context.query_value("denied").is_some_and(|text| text.eq_ignore_ascii_case("true")),
            compute: context.query_value("compute"),
            limit,
            ..FlowQuery::default()
        };
        match self.networks.flows(&request.matched.target, query).await {
            Ok(flows) => Ok(Reply::ok(json!({"value": flows.records, "dropped": flows.dropped}))),
            Err(away) => Err(refusal(away).into()),
        }
    }
}

/// The state of the host stands in the way, not the request.
pub(crate) fn refusal(away: Away) -> ArmError {
    let status = if matches!(away, Away::Silent(_)) { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::CONFLICT };
    ArmError::new(status.as_u16(), "NetworkNotEnforced", away.to_string())
}

const DEFAULT_LIMIT: u32 = 500;
const MAX_LIMIT: u32 = 10_000;
