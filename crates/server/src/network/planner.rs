//! The planner: passes over the hubs whose resources have changed, or whose node has something to say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bastide_arm::resource_type::{Linked, Observed};
use bastide_hub::plan::{Compiled, Site, compile};
use bastide_plan::compute_plan::{Instance, Run};
use bastide_plan::compute_report::ComputeState;
use bastide_plan::hub_plan::{ComputeId, HubId, Leg, PLAN_VERSION, Stamp};
use bastide_plan::message::{Answer, Request};
use bastide_plan::{ComputePlan, HubReport};
use bastide_store::{Change, Store, Write};
use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::computes::Places;
use super::link::Event;
use super::node::{Away, unexpected};
use super::outside::Lookout;
use super::survey::{Homes, Hub, Survey};
use super::{Networks, observation};
use crate::failure::Failure;

/// The one that follows what is committed. It reads the store without a pass: it acts for nobody, and shows nothing.
#[derive(Debug)]
pub(crate) struct Planner {
    networks: Networks,
    store: Store,
    survey: Survey,
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
    computes: ComputePlan,
    ran: Result<(), Away>,
    /// Keys of the hub's projects.
    projects: Vec<String>,
    places: Places,
}

impl Planner {
    pub(crate) fn new(networks: Networks, store: Store, site: Site, survey: Survey, lookout: Lookout) -> Self {
        Self { networks, store, survey, site, lookout, sent: BTreeMap::new(), lost: None }
    }

    /// Runs for ever; not at all where there is nothing to plan for.
    pub(crate) async fn run(mut self) {
        if !self.networks.is_planned() {
            return;
        }
        let fence = loop {
            match self.fence().await {
                Ok(fence) => break fence,
                Err(error) => {
                    tracing::error!(%error, "no fencing token for the planner; trying again");
                    tokio::time::sleep(PERIOD).await;
                }
            }
        };
        let (events, happened) = mpsc::channel(64);
        let (forwarded, mut news) = mpsc::channel(64);
        let networks = self.networks.clone();
        let link = async {
            match networks.shared.node.link() {
                Some(link) => link.run(fence, events).await,
                None => std::future::pending().await,
            }
        };
        let following = async {
            self.networks.touch_all();
            let mut revision = i64::MIN;
            loop {
                tokio::select! {
                    () = networks.shared.work.notified() => {}
                    Some(event) = news.recv() => self.hear(event),
                    () = tokio::time::sleep(PERIOD) => {
                        // What was committed by another server, or by an operation, rings no bell here.
                        let now = *self.store.revisions().borrow();
                        if now != revision {
                            revision = now;
                            self.networks.hubs().all_wanted = true;
                        }
                    }
                }
                networks.hubs().wanted.extend(self.lookout.due());
                if let Err(error) = self.pass(fence).await {
                    tracing::error!(%error, "a pass over the networks failed; trying again");
                    self.networks.touch_all();
                    tokio::time::sleep(PERIOD).await;
                }
            }
        };
        tokio::join!(link, Self::forward(&networks, happened, &forwarded), following);
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

    /// What an agent says of instances needs no pass; the rest is for who makes them.
    async fn forward(networks: &Networks, mut happened: mpsc::Receiver<Event>, news: &mpsc::Sender<Event>) {
        while let Some(event) = happened.recv().await {
            let event = match event {
                Event::ComputeChanged(report) => {
                    let (hub, is_gone) = (report.hub, report.state == ComputeState::Gone);
                    networks.shared.computes.hear(*report);
                    if is_gone {
                        networks.touch_hub(hub);
                    }
                    continue;
                }
                Event::Connected(reports) => {
                    networks.shared.computes.greet(reports);
                    Event::Connected(Vec::new())
                }
                Event::Lost(why) => {
                    networks.shared.computes.lose(&why);
                    Event::Lost(why)
                }
                changed @ Event::Changed(_) => changed,
            };
            if news.send(event).await.is_err() {
                return;
            }
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Connected(_) => {
                self.lost = None;
                // Whatever it holds, it is told anew.
                for sent in self.sent.values_mut() {
                    sent.forget("it was away");
                }
                self.networks.hubs().all_wanted = true;
            }
            Event::Changed(report) => {
                let changed = self.sent.iter_mut().find(|(_, sent)| sent.compiled.plan.hub == report.hub);
                // An event may have been overtaken by the answer to a question that was asked later.
                let is_news = |sent: &Sent| match &sent.answered {
                    Ok(held) => (held.stamp, held.at) <= (report.stamp, report.at),
                    Err(_) => true,
                };
                if let Some((key, sent)) = changed.filter(|(_, sent)| is_news(sent)) {
                    sent.answered = Ok(*report);
                    self.networks.observe(key, sent.observed(&self.networks));
                }
            }
            Event::Lost(why) if self.lost.as_ref() != Some(&why) => {
                for (key, sent) in &mut self.sent {
                    sent.forget(&why);
                    self.networks.observe(key, sent.observed(&self.networks));
                }
                self.lost = Some(why);
            }
            Event::ComputeChanged(_) | Event::Lost(_) => {}
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
            wanted.extend(self.survey.workspaces().await?);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let seen = self.by_hub(wanted).await?;
        let mut is_fewer = all;
        let outcomes: Vec<Outcome> = stream::iter(seen)
            .map(|(key, wanting)| self.look(key, wanting, fence))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for Outcome { key, wanting, looked } in outcomes {
            match looked {
                Ok(sent) => {
                    let observed = sent.as_ref().map(|sent| (sent.compiled.plan.hub, sent.observed(&self.networks)));
                    match sent {
                        Some(sent) => drop(self.sent.insert(key.clone(), sent)),
                        None => {
                            if let Some(before) = self.sent.remove(&key) {
                                self.networks.shared.computes.place(Some(&before.places), &Places::default());
                                is_fewer = true;
                            }
                        }
                    }
                    self.networks.close(&key, &wanting, observed);
                }
                Err(error) => {
                    tracing::error!(hub = key, %error, "a pass over the network of a hub failed; trying again");
                    self.networks.hubs().wanted.extend(wanting.into_keys());
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

    /// The hubs of workspaces that want a pass, each with the workspaces that wanted it and what they have wanted up to here,
    /// which is what this pass sees.
    async fn by_hub(&self, wanted: BTreeSet<String>) -> Result<BTreeMap<String, BTreeMap<String, u64>>, Failure> {
        let mut by_hub: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        let count = |key: &str| self.networks.hubs().by_key.get(key).map_or(0, |hub| hub.wanted);
        for key in wanted {
            let up_to = count(&key);
            // The hub of a project that has gone is the one that it stood in.
            let stood_in =
                || self.sent.iter().find(|(_, sent)| sent.projects.contains(&key)).map(|(hub, _)| hub.clone());
            let hub = self.survey.hub_key(&key).await?.or_else(stood_in).unwrap_or_else(|| key.clone());
            let wanting = by_hub.entry(hub.clone()).or_insert_with(|| BTreeMap::from([(hub.clone(), count(&hub))]));
            wanting.insert(key, up_to);
        }
        Ok(by_hub)
    }

    /// Looks at one hub. Nothing: it has no network (any more).
    async fn look(&self, key: String, wanting: BTreeMap<String, u64>, fence: i64) -> Outcome {
        let looked = self.looked(&key, fence).await;
        Outcome { key, wanting, looked }
    }

    async fn looked(&self, key: &str, fence: i64) -> Result<Option<Sent>, Failure> {
        // Before anything is read: what is committed meanwhile is for a later plan.
        let revision = *self.store.revisions().borrow();
        let Some(Hub { hub, rules, projects, mut instances, homes }) = self.survey.hub(key).await? else {
            return Ok(None);
        };
        let before = self.sent.get(key);
        let outside = self.lookout.outside(&hub, &rules).await?;
        let (legs, places) = self.stand(&hub, &instances, &homes, before).await?;
        self.networks.shared.computes.place(before.map(|before| &before.places), &places);
        // Whoever finds no address cannot run.
        instances.retain(|instance| places.addresses.contains_key(&instance.compute));
        for instance in &mut instances {
            if instance.run == Run::Running && self.networks.shared.computes.is_frozen(instance.compute) {
                instance.run = Run::Frozen;
            }
        }
        instances.sort_by_key(|instance| instance.compute);
        // Two plans of a hub that differ never have the same stamp, by which a node tells them apart.
        let next = before.map_or(i64::MIN, |before| before.stamp().revision + 1);
        let stamp = Stamp { fence, revision: revision.max(next) };
        let last = before.map_or(stamp, |before| before.compiled.plan.stamp);
        let compiled = compile(&hub, &rules, legs, &outside, &self.site, last);
        let last = before.map_or(stamp, |before| before.computes.stamp);
        let computes = ComputePlan { version: PLAN_VERSION, hub: compiled.plan.hub, stamp: last, instances };
        let mut sent = Sent { compiled, answered: unasked(), computes, ran: unasked(), projects, places };
        self.tell(key, before, &mut sent, stamp).await;
        Ok(Some(sent))
    }

    /// Where the instances of a hub stand. Nobody's leg is taken away while something still runs on it.
    async fn stand(
        &self,
        hub: &Linked,
        instances: &[Instance],
        homes: &Homes,
        before: Option<&Sent>,
    ) -> Result<(Vec<Leg>, Places), Failure> {
        let named =
            |instance: &Instance| (instance.compute, instance.name.clone(), homes.get(&instance.compute).cloned());
        let mut names: Vec<(ComputeId, String, Option<String>)> = instances.iter().map(named).collect();
        let lingering = self.networks.shared.computes.held(HubId(hub.incarnation));
        for compute in lingering.into_iter().filter(|held| instances.iter().all(|instance| instance.compute != *held)) {
            let stood = before.and_then(|before| before.compiled.plan.legs.iter().find(|leg| leg.compute == compute));
            let name = stood.map_or_else(|| compute.to_string(), |leg| leg.name.clone());
            names.push((compute, name, stood.and_then(|leg| leg.project.clone())));
        }
        let computes: Vec<ComputeId> = names.iter().map(|(compute, ..)| *compute).collect();
        let held = before.map(|before| &before.places.addresses);
        let addresses = self.survey.addresses(hub, self.site.subnet, &computes, held).await?;
        let crowded_out = computes.into_iter().filter(|compute| !addresses.contains_key(compute)).collect();
        let leg = |(compute, name, project): (ComputeId, String, Option<String>)| {
            addresses.get(&compute).map(|address| Leg { compute, name, project, address: *address })
        };
        let legs = names.into_iter().filter_map(leg).collect();
        Ok((legs, Places { addresses, crowded_out }))
    }

    /// Tells the node what is new: first how the network must be, then what must run in it.
    async fn tell(&self, key: &str, before: Option<&Sent>, sent: &mut Sent, stamp: Stamp) {
        let node = &self.networks.shared.node;
        match before.filter(|before| before.answered.is_ok() && before.compiled == sent.compiled) {
            Some(before) => sent.answered.clone_from(&before.answered),
            None => {
                sent.compiled.plan.stamp = stamp;
                sent.answered = node.apply(&sent.compiled.plan).await;
                if let Err(away) = &sent.answered {
                    tracing::debug!(hub = key, %away, "a plan was not applied");
                }
            }
        }
        let has_run = before.is_some_and(|before| before.ran.is_ok() && before.computes == sent.computes);
        let is_nothing = sent.computes.instances.is_empty()
            && before.is_none_or(|before| before.ran.is_ok() && before.computes.instances.is_empty());
        if has_run || is_nothing {
            sent.ran = Ok(());
            return;
        }
        sent.computes.stamp = stamp;
        sent.ran = match node.ask(Request::Run { plan: Box::new(sent.computes.clone()) }).await {
            // Nothing runs in a simulation, and nothing is to be told of that again.
            Ok(Answer::Planned) | Err(Away::Simulated) => Ok(()),
            Ok(other) => Err(unexpected(&other)),
            Err(away) => Err(away),
        };
        if let Err(away) = &sent.ran {
            tracing::warn!(hub = key, %away, "the node was not told what must run");
        }
    }

    /// Tells the node which hubs there are, so that it takes down all others.
    async fn retain(&self) {
        let hubs: BTreeSet<HubId> = self.sent.values().map(|sent| sent.compiled.plan.hub).collect();
        match self.networks.shared.node.ask(Request::Retain { hubs: hubs.into_iter().collect() }).await {
            Ok(Answer::Retained { remaining }) if !remaining.is_empty() => {
                tracing::warn!(?remaining, "networks of hubs that are gone are still being taken down");
                self.networks.hubs().all_wanted = true;
            }
            Ok(_) | Err(Away::Absent | Away::Simulated) => {}
            Err(away) => {
                tracing::warn!(%away, "the node was not told which hubs there are");
                self.networks.hubs().all_wanted = true;
            }
        }
    }
}

impl Networks {
    /// A pass over a hub has ended: this is what was seen, or nothing when it has no network. `wanting` are the hub and its
    /// projects, with what each wanted that the pass has seen.
    fn close(&self, key: &str, wanting: &BTreeMap<String, u64>, seen: Option<(HubId, Observed)>) {
        let mut hubs = self.hubs();
        for (workspace, wanted) in wanting.iter().filter(|(workspace, _)| seen.is_none() || *workspace != key) {
            // Who has no network of its own needs no memory, unless somebody waits for the next pass over it.
            match hubs.by_key.get_mut(workspace) {
                Some(hub) if hub.wanted > *wanted => (hub.done, hub.observed, hub.id) = (*wanted, None, None),
                _ => drop(hubs.by_key.remove(workspace)),
            }
        }
        if let (Some((id, observed)), Some(wanted)) = (seen, wanting.get(key)) {
            let hub = hubs.by_key.entry(key.to_owned()).or_default();
            (hub.done, hub.id, hub.observed) = (*wanted, Some(id), Some(Arc::new(observed)));
        }
    }

    /// Something new was seen of a hub between two passes.
    fn observe(&self, key: &str, observed: Observed) {
        if let Some(hub) = self.hubs().by_key.get_mut(key) {
            hub.observed = Some(Arc::new(observed));
        }
        self.shared.passes.send_modify(|passes| *passes += 1);
    }
}

impl Sent {
    /// What was seen of the hub by what was answered.
    fn observed(&self, networks: &Networks) -> Observed {
        observation::observed(&self.compiled, &self.answered, networks.shared.node.word())
    }

    /// What was answered does not count any more.
    fn forget(&mut self, why: &str) {
        self.answered = Err(Away::Silent(why.to_owned()));
        self.ran = Err(Away::Silent(why.to_owned()));
    }

    /// The newer of the stamps of both plans.
    fn stamp(&self) -> Stamp {
        self.compiled.plan.stamp.max(self.computes.stamp)
    }
}

fn unasked<T>() -> Result<T, Away> {
    Err(Away::Silent("it was not asked yet".to_owned()))
}

struct Outcome {
    key: String,
    wanting: BTreeMap<String, u64>,
    looked: Result<Option<Sent>, Failure>,
}

/// How long a change may go unnoticed that rang no bell.
const PERIOD: Duration = Duration::from_secs(1);

/// Hubs that are looked at side by side.
const AT_ONCE: usize = 8;
