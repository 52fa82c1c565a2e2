//! The planner: passes over the hubs whose resources have changed, or whose node has something to say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Document, Linked, Observed};
use bastide_hub::isolation_mode::IsolationMode;
use bastide_hub::plan::{Compiled, Site, compile};
use bastide_hub::workspace::is_provisioned;
use bastide_plan::HubReport;
use bastide_plan::compute_report::ComputeState;
use bastide_plan::hub_plan::{HubId, Stamp};
use bastide_plan::message::{Answer, Request};
use bastide_store::{Change, ResourceQuery, Store, StoreError, Write};
use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::link::Event;
use super::node::{Away, Node};
use super::outside::Lookout;
use super::{Networks, WORKSPACE, observation};
use crate::failure::Failure;
use crate::ledger::Entry;

/// The one that follows what is committed. It reads the store without a pass: it acts for nobody, and shows nothing.
#[derive(Debug)]
pub(crate) struct Planner {
    networks: Networks,
    store: Store,
    site: Site,
    lookout: Lookout,
    /// What was last sent for each hub, and what came back.
    sent: BTreeMap<String, Sent>,
    /// Why the agent is away, while it is.
    lost: Option<String>,
}

#[derive(Debug)]
struct Sent {
    compiled: Compiled,
    answered: Result<HubReport, Away>,
}

impl Planner {
    pub(crate) fn new(networks: Networks, store: Store, site: Site) -> Self {
        Self { networks, store, site, lookout: Lookout::default(), sent: BTreeMap::new(), lost: None }
    }

    /// Runs for ever.
    pub(crate) async fn run(mut self) {
        let fence = loop {
            match self.fence().await {
                Ok(fence) => break fence,
                Err(error) => {
                    tracing::error!(%error, "no fencing token for the planner; trying again");
                    tokio::time::sleep(PERIOD).await;
                }
            }
        };
        let (events, mut happened) = mpsc::channel(64);
        let networks = self.networks.clone();
        let link = async {
            match &networks.shared.node {
                Node::Agent(link) => link.run(fence, events).await,
                Node::Absent | Node::Simulated => std::future::pending().await,
            }
        };
        let following = async {
            self.networks.touch_all();
            let mut revision = i64::MIN;
            loop {
                tokio::select! {
                    () = networks.shared.work.notified() => {}
                    event = happened.recv() => self.hear(event),
                    () = tokio::time::sleep(PERIOD) => {
                        // What was committed by another server, or by an operation, rings no bell here.
                        let now = *self.store.revisions().borrow();
                        if now != revision {
                            revision = now;
                            self.networks.hubs().all_wanted = true;
                        }
                    }
                }
                if let Err(error) = self.pass(fence).await {
                    tracing::error!(%error, "a pass over the networks failed; trying again");
                    self.networks.touch_all();
                    tokio::time::sleep(PERIOD).await;
                }
            }
        };
        tokio::join!(link, following);
    }

    /// The revision of a commit of our own: greater than any that an earlier planner of this store was given.
    async fn fence(&self) -> Result<i64, String> {
        let record = Change::PutRecord {
            kind: "planner".to_owned(),
            key: "fence".to_owned(),
            owner: None,
            body: serde_json::json!({}),
            expires: None,
        };
        let write = Write { changes: vec![record], ..Write::new(Timestamp::now()) };
        self.store.commit(write).await.map(|committed| committed.revision).map_err(|error| error.to_string())
    }

    fn hear(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Connected(computes)) => {
                self.lost = None;
                *self.networks.computes() = computes.into_iter().map(|report| (report.compute, report)).collect();
                // Whatever it holds, it is told anew.
                for sent in self.sent.values_mut() {
                    sent.answered = Err(Away::Silent("it was away".to_owned()));
                }
                self.networks.hubs().all_wanted = true;
            }
            Some(Event::Changed(report)) => {
                let changed = self.sent.iter_mut().find(|(_, sent)| sent.compiled.plan.hub == report.hub);
                // An event may have been overtaken by the answer to a question that was asked later.
                let is_news = |sent: &Sent| match &sent.answered {
                    Ok(held) => (held.stamp, held.at) <= (report.stamp, report.at),
                    Err(_) => true,
                };
                if let Some((key, sent)) = changed.filter(|(_, sent)| is_news(sent)) {
                    sent.answered = Ok(*report);
                    let observed =
                        observation::observed(&sent.compiled, &sent.answered, self.networks.shared.node.word());
                    self.networks.observe(key, Some(observed));
                }
            }
            Some(Event::ComputeChanged(report)) => {
                let mut computes = self.networks.computes();
                match report.state {
                    ComputeState::Gone => computes.remove(&report.compute),
                    _ => computes.insert(report.compute, *report),
                };
            }
            Some(Event::Lost(why)) if self.lost.as_ref() != Some(&why) => {
                for (key, sent) in &mut self.sent {
                    sent.answered = Err(Away::Silent(why.clone()));
                    let observed =
                        observation::observed(&sent.compiled, &sent.answered, self.networks.shared.node.word());
                    self.networks.observe(key, Some(observed));
                }
                self.lost = Some(why);
            }
            Some(Event::Lost(_)) | None => {}
        }
    }

    /// One pass over every hub that wants one.
    async fn pass(&mut self, fence: i64) -> Result<(), Failure> {
        let (all, mut wanted) = {
            let mut hubs = self.networks.hubs();
            (std::mem::take(&mut hubs.all_wanted), std::mem::take(&mut hubs.wanted))
        };
        if all {
            wanted.extend(self.networks.hubs().by_key.keys().cloned());
            wanted.extend(self.all_hubs().await?);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        // What was wanted up to here is what this pass sees.
        let seen: Vec<(String, u64)> = {
            let hubs = self.networks.hubs();
            wanted.into_iter().map(|key| (key.clone(), hubs.by_key.get(&key).map_or(0, |hub| hub.wanted))).collect()
        };
        let mut is_fewer = all;
        let outcomes: Vec<Outcome> = stream::iter(seen)
            .map(|(key, wanted)| self.look(key, wanted, fence))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for Outcome { key, wanted, looked } in outcomes {
            match looked {
                Ok(Some((sent, observed))) => {
                    let id = sent.compiled.plan.hub;
                    self.sent.insert(key.clone(), sent);
                    self.networks.close(&key, wanted, Some((id, observed)));
                }
                Ok(None) => {
                    is_fewer |= self.sent.remove(&key).is_some();
                    self.networks.close(&key, wanted, None);
                }
                Err(error) => {
                    tracing::error!(hub = key, %error, "a pass over the network of a hub failed; trying again");
                    self.networks.hubs().wanted.insert(key.clone());
                    tokio::time::sleep(PERIOD).await;
                    self.networks.shared.work.notify_one();
                }
            }
        }
        if is_fewer {
            self.retain().await;
        }
        self.networks.shared.passes.send_modify(|passes| *passes += 1);
        Ok(())
    }

    /// Looks at one hub. `None`: it has no network (any more).
    async fn look(&self, key: String, wanted: u64, fence: i64) -> Outcome {
        let looked = self.looked(&key, fence).await;
        Outcome { key, wanted, looked }
    }

    async fn looked(&self, key: &str, fence: i64) -> Result<Option<(Sent, Observed)>, Failure> {
        // Before anything is read: what is committed meanwhile is for a later plan.
        let revision = *self.store.revisions().borrow();
        let Some(hub) = self.hub(key).await? else { return Ok(None) };
        let rules = self.rules(&hub.id).await?;
        // Two plans of a hub that differ never have the same stamp, by which a node tells them apart.
        let next = self.sent.get(key).map_or(i64::MIN, |sent| sent.compiled.plan.stamp.revision + 1);
        let revision = revision.max(next);
        let rules: Vec<Linked> = rules.iter().map(Entry::linked).collect();
        let stamp = Stamp { fence, revision };
        let hub = hub.linked();
        let outside = self.lookout.outside(&self.store, &hub, &rules).await?;
        let mut compiled = compile(&hub, &rules, Vec::new(), &outside, &self.site, stamp);
        let word = self.networks.shared.node.word();
        if let Some(sent) = self.sent.get(key)
            && sent.answered.is_ok()
            && same(&sent.compiled, &compiled)
        {
            compiled.plan.stamp = sent.compiled.plan.stamp;
            let answered = sent.answered.clone();
            let observed = observation::observed(&compiled, &answered, word);
            return Ok(Some((Sent { compiled, answered }, observed)));
        }
        let answered = self.networks.shared.node.apply(&compiled.plan).await;
        if let Err(away) = &answered {
            tracing::debug!(hub = key, %away, "a plan was not applied");
        }
        let observed = observation::observed(&compiled, &answered, word);
        Ok(Some((Sent { compiled, answered }, observed)))
    }

    /// Tells the node which hubs there are, so that it takes down all others.
    async fn retain(&self) {
        let hubs: BTreeSet<HubId> = self.sent.values().map(|sent| sent.compiled.plan.hub).collect();
        match self.networks.shared.node.ask(Request::Retain { hubs: hubs.into_iter().collect() }).await {
            Ok(Answer::Retained { remaining }) if !remaining.is_empty() => {
                tracing::warn!(?remaining, "networks of hubs that are gone are still being taken down");
            }
            Ok(_) | Err(Away::Absent | Away::Simulated) => {}
            Err(away) => {
                tracing::warn!(%away, "the node was not told which hubs there are");
                self.networks.hubs().all_wanted = true;
            }
        }
    }

    async fn hub(&self, key: &str) -> Result<Option<Entry>, Failure> {
        let Some(row) = self.store.resource(key).await? else { return Ok(None) };
        let entry = Entry::read(row)?;
        Ok(has_network(&entry.document).then_some(entry))
    }

    async fn rules(&self, hub: &ResourceId) -> Result<Vec<Entry>, Failure> {
        let query = ResourceQuery {
            prefix: Some(format!("{}outboundrules/", hub.prefix())),
            types: vec![format!("{WORKSPACE}/outboundRules")],
            ..ResourceQuery::default()
        };
        self.every(query).await?.into_iter().map(Entry::read).collect()
    }

    async fn all_hubs(&self) -> Result<Vec<String>, Failure> {
        let query = ResourceQuery { types: vec![WORKSPACE.to_owned()], ..ResourceQuery::default() };
        Ok(self.every(query).await?.into_iter().map(|row| row.key).collect())
    }

    async fn every(&self, mut query: ResourceQuery) -> Result<Vec<bastide_store::Resource>, StoreError> {
        const PAGE: u32 = 1000;
        query.limit = PAGE;
        let mut all = Vec::new();
        loop {
            let page = self.store.resources(&query).await?;
            let is_last = page.len() < PAGE as usize;
            query.after = page.last().map(|row| row.key.clone());
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }
}

impl Networks {
    /// A pass over a hub has ended: this is what was seen, or nothing when it has no network.
    fn close(&self, key: &str, wanted: u64, seen: Option<(HubId, Observed)>) {
        let mut hubs = self.hubs();
        let Some((id, observed)) = seen else {
            // Who has no network needs no memory, unless somebody waits for the next pass over it.
            match hubs.by_key.get_mut(key) {
                Some(hub) if hub.wanted > wanted => (hub.done, hub.observed, hub.id) = (wanted, None, None),
                _ => drop(hubs.by_key.remove(key)),
            }
            return;
        };
        let hub = hubs.by_key.entry(key.to_owned()).or_default();
        (hub.done, hub.id, hub.observed) = (wanted, Some(id), Some(Arc::new(observed)));
    }

    /// Something new was seen of a hub between two passes.
    fn observe(&self, key: &str, observed: Option<Observed>) {
        if let Some(hub) = self.hubs().by_key.get_mut(key) {
            hub.observed = observed.map(Arc::new);
        }
        self.shared.passes.send_modify(|passes| *passes += 1);
    }
}

struct Outcome {
    key: String,
    wanted: u64,
    looked: Result<Option<(Sent, Observed)>, Failure>,
}

/// A network comes into being when it is provisioned or when the first compute needs it (mission.md J1).
fn has_network(document: &Document) -> bool {
    is_provisioned(document) && IsolationMode::of(&document.properties) != IsolationMode::Disabled
}

/// Whether two plans ask for the same, whenever they were made.
fn same(one: &Compiled, other: &Compiled) -> bool {
    let stamped = |compiled: &Compiled| Compiled {
        plan: bastide_plan::HubPlan { stamp: Stamp::NONE, ..compiled.plan.clone() },
        ..compiled.clone()
    };
    stamped(one) == stamped(other)
}

/// How long a change may go unnoticed that rang no bell.
const PERIOD: Duration = Duration::from_secs(1);

/// Hubs that are looked at side by side.
const AT_ONCE: usize = 8;
