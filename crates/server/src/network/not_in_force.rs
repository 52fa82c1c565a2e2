//! Why the wall refuses what a rule names: that rule is disabled, has ended, or has no effect for another reason. The node
//! knows rules in force alone, so whoever asks it why is told here (mission.md (c) 2).

use std::net::Ipv4Addr;

use bastide_arm::resource_type::{Linked, Observed};
use bastide_hub::outbound_rule::Rule;
use bastide_inspect::Name;
use bastide_plan::explanation::{Explanation, Question};
use bastide_plan::hub_plan::{Action, Protocol};
use bastide_plan::packet::{Packet, PacketVerdict};
use bastide_plan::policy::NameVerdict;
use bastide_plan::{AddressFilter, Policy, RuleName};
use serde::Serialize;

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entry;
use crate::pass::Pass;
use crate::request::Request;

/// A rule that speaks about a connection and is not in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct NotInForce {
    rule: RuleName,
    /// Why not, and what to do; sentences.
    reason: String,
}

impl Front {
    /// The rule that would let through what the wall refuses, or that stands for it without effect.
    pub(super) async fn not_in_force(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        question: &Question,
        explained: &Explanation,
    ) -> Result<Option<NotInForce>, Failure> {
        let hub = &request.matched.target;
        // A network that is not in force as a whole says so itself.
        let Some(observed) = self.networks.observed(hub).filter(|observed| observed.is_in_force()) else {
            return Ok(None);
        };
        if let Some(found) = explained.rule.as_ref().and_then(|rule| NotInForce::seen(&observed, rule)) {
            return Ok(Some(found));
        }
        // What a rule denies, no other rule opens.
        if explained.rule.is_some() && explained.suggestion.is_none() {
            return Ok(None);
        }
        let mut idle = Vec::new();
        for (name, _) in observed.parts.iter().filter(|(_, part)| part.why_not.is_some()).take(MOST) {
            let row = self.ledger.store().resource(hub.child("outboundRules", name)?.key()).await?;
            idle.extend(row.map(Entry::read).transpose()?.and_then(|entry| revived(entry.linked())));
        }
        if idle.is_empty() {
            return Ok(None);
        }
        let policy = self.policy_of(&self.addressed_hub(request, pass).await?, &idle).await?;
        let filter = AddressFilter { internet: self.internet.clone(), own: Vec::new() };
        Ok(opening(&policy, &filter, question).and_then(|rule| NotInForce::seen(&observed, &rule)))
    }
}

impl NotInForce {
    fn seen(observed: &Observed, rule: &RuleName) -> Option<Self> {
        let reason = observed.parts.get(&rule.0.to_ascii_lowercase())?.why_not.clone()?;
        Some(Self { rule: rule.clone(), reason })
    }

    /// The explanation, with this for its reason: another rule would not be the way.
    pub(super) fn explain(&self, explained: Explanation) -> Explanation {
        let Self { rule, reason } = self;
        let said = match &explained.rule {
            Some(_) => format!("{} {reason}", explained.reason),
            None => format!("Rule '{rule}' would let it through, but is not in force. {reason}"),
        };
        Explanation { reason: said, suggestion: None, ..explained }
    }
}

/// A rule as if it were in force.
fn revived(mut row: Linked) -> Option<Linked> {
    row.document.properties = Rule::stored(&row.document.properties)?.revived();
    Some(row)
}

/// The rule of a policy that lets a connection through.
fn opening(policy: &Policy, filter: &AddressFilter, question: &Question) -> Option<RuleName> {
    let port = question.port.unwrap_or(HTTPS);
    let to = question.to.trim();
    if let Ok(address) = to.parse::<Ipv4Addr>() {
        return match policy.packet(filter, Packet { address, protocol: Some(Protocol::Tcp), port }) {
            PacketVerdict::Rule(rule) if rule.action == Action::Allow => Some(rule.rule.clone()),
            _ => None,
        };
    }
    match policy.connect(&Name::parse(to).ok()?, port) {
        NameVerdict::Rule(rule) => Some(rule.rule.clone()),
        _ => None,
    }
}

/// Rules that are looked at: what is out of force is rarely much.
const MOST: usize = 1000;

/// What a question without a port is about.
const HTTPS: u16 = 443;
