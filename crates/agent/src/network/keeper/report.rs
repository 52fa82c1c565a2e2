//! What a hub's network is seen to be, for those who ask.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bastide_plan::message::Answer;
use bastide_plan::report::{RuleState, WallState};
use bastide_plan::{HubPlan, HubReport, RuleName};

use super::Keeper;
use crate::compute::walls::Wall;
use crate::network::ranges::Ranges;

impl Keeper {
    /// Answers what can be answered, and says it to everybody when the state has changed.
    pub(super) fn answer(&mut self) {
        let report = self.report();
        self.surroundings.walls.set(report.hub, self.wall(&report));
        let is_settled = matches!(report.wall, WallState::Standing) || self.fault.is_some();
        self.questions.report(is_settled.then_some(self.record.plan.stamp), &report);
        self.questions
            .refuse_late(|| format!("the firewall of hub '{}' does not answer. Try again", self.record.plan.name));
        let is_same =
            self.published.as_ref().is_some_and(|published| HubReport { at: report.at, ..published.clone() } == report);
        if !is_same {
            (self.surroundings.publish)(Answer::Changed { report: Box::new(report.clone()) });
            self.published = Some(report);
        }
    }

    /// The wall that instances may run behind.
    fn wall(&self, report: &HubReport) -> Option<Wall> {
        let is_verified = report.wall == WallState::Standing && self.verified == Some(self.record.plan.stamp);
        let legs = || self.record.plan.legs.iter().chain(&self.record.attached).map(|leg| leg.compute);
        is_verified.then(|| Wall { resolver: self.record.plan.gateway(), legs: legs().collect() })
    }

    fn report(&self) -> HubReport {
        let plan = &self.record.plan;
        let wall = match &self.fault {
            Some(fault) => WallState::Shut { reason: fault.clone() },
            None if !self.firewall.runs() => {
                WallState::Shut { reason: "the firewall is being started again".to_owned() }
            }
            None if !self.firewall.stands_by(plan.stamp) => {
                WallState::Shut { reason: "the firewall has not yet taken the plan".to_owned() }
            }
            None => WallState::Standing,
        };
        let rules = match &wall {
            WallState::Standing => self.rules(),
            WallState::Shut { reason } => {
                rule_names(plan).map(|rule| (rule.clone(), RuleState::Inactive { reason: reason.clone() })).collect()
            }
            WallState::Simulated => BTreeMap::new(),
        };
        let repairs = self.repairs + self.surroundings.host.repairs();
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        HubReport {
            hub: plan.hub,
            stamp: self.verified,
            wall,
            rules,
            repairs,
            obstacles: self.surroundings.host.obstacles(),
            at: i64::try_from(at).unwrap_or(i64::MAX),
        }
    }

    fn rules(&self) -> BTreeMap<RuleName, RuleState> {
        let plan = &self.record.plan;
        let mut rules: BTreeMap<_, _> = rule_names(plan).map(|rule| (rule.clone(), RuleState::Active)).collect();
        let mut refuse = |rule: &RuleName, reason: String| {
            rules.insert(rule.clone(), RuleState::Inactive { reason });
        };
        if let Some(compiled) = &self.compiled {
            let unreachable = Ranges::unreachable(&compiled.facts.filter, plan.subnet);
            for rule in &plan.prefixes {
                if rule.prefixes.iter().all(|prefix| unreachable.contains_all(*prefix)) {
                    let reason = "None of its addresses is on the internet. Declare what is there as an external service, and lead a \
                                  PrivateEndpoint rule to it.";
                    refuse(&rule.rule, reason.to_owned());
                }
            }
            for endpoint in &plan.endpoints {
                if let Some(reason) = compiled.refusals.get(&endpoint.rule.0) {
                    refuse(&endpoint.rule, reason.clone());
                }
            }
        }
        for (rule, reason) in self.firewall.inactive() {
            refuse(rule, reason.clone());
        }
        rules
    }
}

fn rule_names(plan: &HubPlan) -> impl Iterator<Item = &RuleName> {
    let names = plan.names.iter().map(|rule| &rule.rule);
    names.chain(plan.prefixes.iter().map(|rule| &rule.rule)).chain(plan.endpoints.iter().map(|rule| &rule.rule))
}
