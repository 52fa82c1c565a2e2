//! `POST {hub}/bastide/replay`: what has happened, against rules that somebody has in mind. Nothing is changed by it.

use std::collections::{BTreeMap, BTreeSet};

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Document, Linked, Parity};
use bastide_hub::outbound_rule::implied::{implied, is_implied};
use bastide_hub::outbound_rule::{Category, Rule};
use bastide_hub::plan::compile;
use bastide_plan::flow::{FlowQuery, FlowRecord, FlowVerdict};
use bastide_plan::hub_plan::Stamp;
use bastide_plan::{AddressFilter, Policy, RuleName};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::wire::refusal;
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entry;
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// POST of `{outboundRules, since}`: which recorded flows the rules would have cut or let through, and whose.
    pub(crate) async fn replay_flows(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let body = request.object()?;
        let proposed = body.get("outboundRules").and_then(Value::as_object).ok_or_else(|| {
            let message =
                "Give the rules as an object with a rule under each name, as managedNetwork.outboundRules has them.";
            ArmError::invalid_parameter("outboundRules", message)
        })?;
        let since = match body.get("since").and_then(Value::as_str) {
            None => None,
            Some(text) => Some(text.parse::<Timestamp>().map_err(|_| {
                let message = format!("'{text}' is not a time. Use one such as 2026-11-22T10:00:00Z.");
                ArmError::invalid_parameter("since", message)
            })?),
        };
        let (hub, rules) = self.hub_and_rules(request, pass).await?;
        let then = proposal(&hub, &rules, proposed)?;
        let (now, then) = (self.policy_of(&hub, &rules).await?, self.policy_of(&hub, &then).await?);
        let filter = AddressFilter { internet: self.internet.clone(), own: Vec::new() };
        let mut replay = Replay::new(now, then, filter);
        let query = FlowQuery { since: since.map(Timestamp::as_millisecond), limit: PAGE, ..FlowQuery::default() };
        let mut after = 0;
        loop {
            let page = FlowQuery { after: Some(after), ..query.clone() };
            let flows = self.networks.flows(&hub.id, page).await.map_err(refusal)?;
            flows.records.iter().for_each(|record| replay.examine(record));
            let is_last = flows.records.len() < PAGE as usize;
            if is_last || replay.examined >= MOST {
                return Ok(Reply::ok(replay.answer(!is_last)));
            }
            after = flows.next;
        }
    }

    /// What the wall of a hub would do by these rules. Of the host's own addresses only the node knows: no rule opens them.
    pub(crate) async fn policy_of(&self, hub: &Entry, rules: &[Linked]) -> Result<Policy, Failure> {
        let hub = hub.linked();
        let outside = self.lookout.outside_of_proposal(&hub, rules).await?;
        Ok(Policy::new(compile(&hub, rules, Vec::new(), &outside, &self.site, Stamp::NONE).plan))
    }
}

/// The rules as proposed, with those that the hub has whatever anybody proposes: its own, those of its connections, and what
/// all of these imply.
fn proposal(hub: &Entry, rules: &[Linked], proposed: &Map<String, Value>) -> Result<Vec<Linked>, ArmError> {
    let is_fixed = |rule: &&Linked| {
        let stored = Rule::stored(&rule.document.properties);
        stored.is_some_and(|rule| matches!(rule.category, Category::Required | Category::Dependency))
            && !is_implied(rule.id.name())
    };
    let named = |name: &str, document: Document| {
        let id = hub.id.child("outboundRules", name)?;
        let known = rules.iter().find(|rule| rule.id.key() == id.key()).map(|rule| rule.incarnation);
        Ok::<_, ArmError>(Linked { id, incarnation: known.unwrap_or(Uuid::nil()), document })
    };
    let mut all: Vec<Linked> = rules.iter().filter(is_fixed).cloned().collect();
    for (name, rule) in proposed {
        let at = format!("outboundRules.{name}");
        let Value::Object(properties) = rule else {
            return Err(ArmError::invalid_parameter(&at, "A rule is an object with type and destination."));
        };
        Rule::read(properties, &at, Parity::Native)?;
        let rule = named(name, Document { properties: properties.clone(), ..Document::default() })?;
        if all.iter().all(|other| other.id.key() != rule.id.key()) && !is_implied(name) {
            all.push(rule);
        }
    }
    for (name, document) in implied(&hub.document, &all) {
        all.push(named(&name, document)?);
    }
    Ok(all)
}

struct Replay {
    now: Policy,
    then: Policy,
    filter: AddressFilter,
    examined: usize,
    unchanged: usize,
    /// What nothing can be said about.
    unknown: usize,
    cut: BTreeMap<Flow, Whose>,
    opened: BTreeMap<Flow, Whose>,
}

/// What flows are told apart by.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flow {
    to: String,
    port: u16,
    kind: String,
    /// The rule that has let it through, or would.
    rule: Option<RuleName>,
}

#[derive(Debug, Default)]
struct Whose {
    count: u64,
    computes: BTreeSet<String>,
    last: i64,
}

impl Replay {
    fn new(now: Policy, then: Policy, filter: AddressFilter) -> Self {
        Self { now, then, filter, examined: 0, unchanged: 0, unknown: 0, cut: BTreeMap::new(), opened: BTreeMap::new() }
    }

    fn examine(&mut self, record: &FlowRecord) {
        self.examined += 1;
        let Some(then) = self.then.judge(&self.filter, record) else {
            self.unknown += 1;
            return;
        };
        let passed = matches!(record.verdict, FlowVerdict::Allowed | FlowVerdict::Failed);
        // What was refused although the rules approve it was refused for something that no rule changes, such as where a
        // name led.
        let is_beyond_rules =
            || self.now.judge(&self.filter, record).is_some_and(|now| now.allowed && now.rule == then.rule);
        let (list, rule) = match (passed, then.allowed) {
            (true, false) => (&mut self.cut, record.rule.clone()),
            (false, true) if !is_beyond_rules() => (&mut self.opened, then.rule),
            _ => {
                self.unchanged += 1;
                return;
            }
        };
        let to = record.name.clone().or_else(|| record.address.map(|address| address.to_string()));
        let kind = json!(record.kind).as_str().unwrap_or_default().to_owned();
        let whose = list.entry(Flow { to: to.unwrap_or_default(), port: record.port, kind, rule }).or_default();
        whose.count += u64::from(record.count);
        whose.computes.extend(record.compute.clone());
        whose.last = whose.last.max(record.at);
    }

    fn answer(&self, is_truncated: bool) -> Value {
        let list = |flows: &BTreeMap<Flow, Whose>| -> Vec<Value> {
            let line = |(flow, whose): (&Flow, &Whose)| {
                json!({
                    "to": flow.to,
                    "port": flow.port,
                    "kind": flow.kind,
                    "rule": flow.rule,
                    "count": whose.count,
                    "computes": whose.computes,
                    "last": Timestamp::from_millisecond(whose.last).map(|at| at.to_string()).unwrap_or_default(),
                })
            };
            flows.iter().map(line).collect()
        };
        json!({
            "cut": list(&self.cut),
            "opened": list(&self.opened),
            "unchanged": self.unchanged,
            "unknown": self.unknown,
            "examined": self.examined,
            "truncated": is_truncated,
        })
    }
}

/// Records asked for at a time.
const PAGE: u32 = 10_000;

/// Records that are looked at, at most.
const MOST: usize = 500_000;
