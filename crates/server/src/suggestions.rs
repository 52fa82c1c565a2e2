//! `GET {hub}/bastide/suggest?since=&compute=`: the rules that would let through what was refused (mission.md (c) 4).

use bastide_hub::suggestion::{Refused, Suggestions};
use bastide_plan::flow::{FlowKind, FlowQuery, FlowRecord};
use jiff::Timestamp;

use bastide_arm::error::ArmError;

use crate::failure::Failure;
use crate::front::Front;
use crate::network::refusal;
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// GET of suggestions, from what the flow log has.
    pub(crate) async fn suggest_rules(&self, request: &Request<'_>, _pass: &Pass) -> Result<Reply, Failure> {
        let context = request.context;
        let since = context.query_value("since").map(|text| {
            let message = format!("'{text}' is not a time. Use one such as 2026-11-22T10:00:00Z.");
            text.parse::<Timestamp>().map_err(|_| ArmError::invalid_parameter("since", message))
        });
        let query = FlowQuery {
            since: since.transpose()?.map(Timestamp::as_millisecond),
            denied: true,
            compute: context.query_value("compute"),
            limit: MOST,
            ..FlowQuery::default()
        };
        let flows = self.networks.flows(&request.matched.target, query).await.map_err(refusal)?;
        let refused: Vec<Refused> = flows.records.into_iter().map(refused).collect();
        Ok(Reply::ok(Suggestions::from(&refused).answer()))
    }
}

fn refused(record: FlowRecord) -> Refused {
    Refused {
        at: record.at,
        compute: record.compute,
        protocol: match record.kind {
            FlowKind::Tls | FlowKind::Http | FlowKind::Relay | FlowKind::Tcp => Some("TCP"),
            FlowKind::Udp => Some("UDP"),
            FlowKind::Icmp => Some("ICMP"),
            FlowKind::Dns | FlowKind::Other => None,
        },
        name: record.name,
        address: record.address,
        port: record.port,
        count: record.count,
    }
}

/// Records that are looked at.
const MOST: u32 = 10_000;
