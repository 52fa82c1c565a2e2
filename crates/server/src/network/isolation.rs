//! `GET {hub}/bastide/isolation`, `POST {hub}/bastide/liftIsolation` and `.../restoreIsolation`: isolation that an Owner lifts
//! for a time (mission.md F16, (c) 8). What a consent must say, and that it ends by itself, is the domain's; here is who
//! may give one, that nothing runs meanwhile, and that it goes on record.

use bastide_arm::resource_type::{Author, Document};
use bastide_hub::compute::{self, order};
use bastide_hub::isolation_lift::{self, IsolationLift};
use bastide_plan::compute_plan::Run;
use bastide_plan::hub_plan::HubId;
use bastide_store::{Expectation, ResourceQuery};
use serde_json::{Map, Value, json};

use super::WORKSPACE;
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::pass::{ASSIGN, Pass};
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// GET of how isolated a hub is, and what would have to stop before it is less so.
    pub(crate) async fn read_isolation(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let hub = self.addressed_hub(request, pass).await?;
        let running = self.running(request, pass, &hub, &mut Vec::new()).await?;
        Ok(Reply::ok(isolation_lift::state(&hub.document, &running, request.context.now)))
    }

    /// POST of `{hub, reason, expiresOn}` by an Owner: isolation is lifted until then. A consent on top of one that holds
    /// takes its place.
    pub(crate) async fn lift_isolation(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let (hub, now) = (self.addressed_hub(request, pass).await?, request.context.now);
        let by = Author { object_id: pass.principal().object_id, name: pass.principal().name.clone() };
        let lift = IsolationLift::read(request.object()?, &hub.linked(), &by, now, request.parity)?;
        let mut entries = Entries::default();
        if IsolationLift::in_force(&hub.document.properties, now).is_none() {
            let running = self.running(request, pass, &hub, &mut entries.expect).await?;
            isolation_lift::check_drained(&hub.linked(), &running)?;
        }
        let document = lift.put_on(&hub.document);
        let consent = json!({"hub": hub.id.name(), "reason": lift.reason, "since": lift.since, "until": lift.until});
        let notes = [("granted", json!([ASSIGN])), ("consent", consent)];
        let notes = notes.into_iter().map(|(name, note)| (name.to_owned(), note)).collect();
        self.put_isolation(request, pass, &hub, document, entries, notes).await
    }

    /// POST: isolation is back before its time. Whoever may change the hub may do that.
    pub(crate) async fn restore_isolation(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let hub = self.addressed_hub(request, pass).await?;
        match isolation_lift::taken_back(&hub.document) {
            Some(document) => self.put_isolation(request, pass, &hub, document, Entries::default(), Map::new()).await,
            None => Ok(Reply::ok(isolation_lift::state(&hub.document, &[], request.context.now))),
        }
    }

    async fn put_isolation(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        hub: &Entry,
        document: Document,
        mut entries: Entries,
        notes: Map<String, Value>,
    ) -> Result<Reply, Failure> {
        let answer = isolation_lift::state(&document, &[], request.context.now);
        let row = &hub.row;
        entries.expect.push(hub.unchanged());
        entries.changes.push(Entry::put(&hub.id, &row.type_name, row.incarnation, row.listed, document, pass)?);
        self.ledger.commit_noted(request.context, pass, notes, entries).await?;
        self.networks.settle(&hub.id).await;
        Ok(Reply::ok(answer))
    }

    /// The ids of the computes of a hub and its projects that run or are to run, and what must hold for that to stay so.
    async fn running(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        hub: &Entry,
        expect: &mut Vec<Expectation>,
    ) -> Result<Vec<String>, Failure> {
        let inhabited = self.networks.inhabited();
        let mut lingering = self.networks.shared.computes.held(HubId(hub.row.incarnation));
        lingering.retain(|held| inhabited.contains_key(held));
        let mut running = Vec::new();
        let projects = self.referrers(request.context.now, &hub.id).await?.into_iter();
        let projects = projects.filter(|referrer| referrer.row.type_name.eq_ignore_ascii_case(WORKSPACE));
        for workspace in std::iter::once(hub.clone()).chain(projects) {
            let of = (workspace.id != hub.id).then(|| hub.linked());
            for entry in self.computes_in(pass, &workspace, expect).await? {
                let instances = order::instances(&entry.linked(), &workspace.linked(), of.as_ref(), &self.capacity);
                let is_there = instances.iter().any(|instance| lingering.contains(&instance.compute));
                if is_there || instances.iter().any(|instance| instance.run == Run::Running) {
                    running.push(entry.id.to_string());
                }
                lingering.retain(|held| instances.iter().all(|instance| instance.compute != *held));
            }
        }
        // Machines that a cluster has given up, or of a compute that is being deleted.
        running.extend(lingering.iter().map(ToString::to_string));
        Ok(running)
    }

    async fn computes_in(
        &self,
        pass: &Pass,
        workspace: &Entry,
        expect: &mut Vec<Expectation>,
    ) -> Result<Vec<Entry>, Failure> {
        let prefix = format!("{}computes/", workspace.id.prefix());
        let query = ResourceQuery {
            prefix: Some(prefix.clone()),
            types: vec![compute::TYPE_NAME.to_owned()],
            ..ResourceQuery::default()
        };
        let computes = self.ledger.every_surrounding(pass, query).await?;
        let count = i64::try_from(computes.len()).unwrap_or(i64::MAX);
        expect.push(Expectation::CountBelow { prefix, count });
        expect.extend(computes.iter().map(Entry::unchanged));
        Ok(computes)
    }
}
