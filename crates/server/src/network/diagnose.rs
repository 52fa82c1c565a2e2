//! `POST {workspace}/diagnose`: what the domain sees of a hub, and what its wall answers when it is asked (mission.md (c) 2).

use std::collections::BTreeMap;

use bastide_arm::resource_type::Linked;
use bastide_hub::isolation_mode::IsolationMode;
use bastide_hub::workspace::{Diagnosis, Patient};
use bastide_store::ResourceQuery;
use serde_json::Value;

use super::WORKSPACE;
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entry;
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// A project has the network of its hub and stands on what that stands on, so it has its hub's diagnosis.
    pub(crate) async fn diagnose(&self, request: &Request<'_>, pass: &Pass, entry: &Entry) -> Result<Reply, Failure> {
        let mut hub = entry.linked();
        let mut linked = self.stands_on(pass, &hub).await?;
        let is_hub = |linked: &&Linked| linked.id.type_name().eq_ignore_ascii_case(WORKSPACE);
        if let Some(its) = linked.values().find(is_hub).cloned() {
            linked = self.stands_on(pass, &its).await?;
            hub = its;
        }
        let (rules, observed) = (self.rules_of(pass, &hub).await?, self.networks.observed(&hub.id));
        let patient = Patient {
            hub: &hub,
            rules: &rules,
            linked: &linked,
            observed: observed.as_deref(),
            mode: IsolationMode::in_force(&hub.document.properties, request.context.now),
        };
        let mut diagnosis = patient.examine();
        self.ask_wall(&patient, &mut diagnosis).await;
        let rights = self.gatekeeper.rights(pass).await?;
        for held in patient.lockable() {
            for (lock, is_read_only) in rights.facts().locks.holding(held) {
                diagnosis.locked(held, lock, is_read_only);
            }
        }
        Ok(Reply::ok(diagnosis.answer(request.body.unwrap_or(&Value::Null))))
    }

    /// What a workspace links to, by lower-cased id.
    async fn stands_on(&self, pass: &Pass, workspace: &Linked) -> Result<BTreeMap<String, Linked>, Failure> {
        let mut linked = BTreeMap::new();
        for link in self.registry.find(WORKSPACE, "")?.rules.links(&workspace.document)? {
            if let Some(there) = self.ledger.surrounding(pass, &link.id).await? {
                linked.insert(link.id.key().to_owned(), there.linked());
            }
        }
        Ok(linked)
    }

    async fn rules_of(&self, pass: &Pass, hub: &Linked) -> Result<Vec<Linked>, Failure> {
        let query = ResourceQuery {
            prefix: Some(format!("{}outboundrules/", hub.id.prefix())),
            types: vec![format!("{WORKSPACE}/outboundRules")],
            limit: MOST_RULES,
            ..ResourceQuery::default()
        };
        Ok(self.ledger.surroundings(pass, &query).await?.iter().map(Entry::linked).collect())
    }

    async fn ask_wall(&self, patient: &Patient<'_>, diagnosis: &mut Diagnosis) {
        for probe in patient.probes(self.origins.zone()) {
            match self.networks.explain(&patient.hub.id, probe.question.clone()).await {
                Ok(explanation) => diagnosis.take_in(&probe, &explanation),
                // Who does not answer one question will not answer the next.
                Err(away) => return diagnosis.unanswered(&away.to_string()),
            }
        }
    }
}

/// Rules that are looked at.
const MOST_RULES: u32 = 10_000;
