//! `GET {hub}/bastide/suggest?since=&compute=`: the rules that would let through what was refused (mission.md (c) 4).

use bastide_arm::error::ArmError;
use bastide_hub::suggestion::{Refused, Suggestions};
use bastide_plan::flow::{FlowKind, FlowQuery, FlowRecord};
use bastide_plan::{AddressFilter, RuleName};
use jiff::Timestamp;

use crate::failure::Failure;
use crate::front::Front;
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// GET of suggestions, from what the flow log has.
    pub(crate) async fn suggest_rules(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
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
        let flows = match self.networks.flows(&request.matched.target, query).await {
            Ok(flows) => flows,
            Err(away) => return Err(self.unanswered(request, pass, away).await),
        };
        let (hub, rules) = self.hub_and_rules(request, pass).await?;
        let policy = Box::pin(self.policy_of(&hub, &rules)).await?;
        let filter = AddressFilter { internet: self.internet.clone(), own: Vec::new() };
        let refused = flows.records.into_iter().filter_map(|record| {
            let now = policy.judge(&filter, &record);
            // What is approved meanwhile needs no other rule.
            let is_approved = now.as_ref().is_some_and(|now| now.allowed);
            (!is_approved).then(|| refused(record, now.and_then(|now| now.rule)))
        });
        let refused: Vec<Refused> = refused.collect();
        let taken = rules.iter().map(|rule| rule.id.name().to_owned());
        Ok(Reply::ok(Suggestions::from(&refused, taken).answer()))
    }
}

fn refused(record: FlowRecord, denied_by: Option<RuleName>) -> Refused {
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
        denied_by: denied_by.map(|rule| rule.0),
        count: record.count,
    }
}

/// Records that are looked at.
const MOST: u32 = 10_000;
