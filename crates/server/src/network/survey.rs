//! What the store says of a hub, as the planner needs it. It is read without a pass: the planner acts for nobody, and shows
//! nothing.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Document, Linked};
use bastide_hub::compute::legs::Addresses;
use bastide_hub::compute::{self, order};
use bastide_hub::isolation_mode::IsolationMode;
use bastide_hub::quota::Capacity;
use bastide_hub::workspace::is_provisioned;
use bastide_plan::compute_plan::Instance;
use bastide_plan::hub_plan::ComputeId;
use bastide_store::{Change, RecordQuery, ResourceQuery, Store, Write};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::WORKSPACE;
use crate::compute::Inside;
use crate::failure::Failure;
use crate::ledger::Entry;
use crate::surroundings::{LINK, linking};

/// A hub that needs a network.
#[derive(Debug)]
pub(super) struct Hub {
    /// The hub.
    pub hub: Linked,
    /// Its rules.
    pub rules: Vec<Linked>,
    /// Keys of its projects.
    pub projects: Vec<String>,
    /// What must run for it and its projects, older computes first.
    pub instances: Vec<Instance>,
    /// The names of the workspaces that the instances belong to.
    pub homes: Homes,
}

/// The project, or the hub, that each compute belongs to, by name.
pub(super) type Homes = BTreeMap<ComputeId, String>;

/// Reads the store for the planner.
#[derive(Debug, Clone)]
pub(crate) struct Survey {
    store: Store,
    capacity: Capacity,
    inside: Inside,
}

impl Survey {
    pub(crate) fn new(store: Store, capacity: Capacity, inside: Inside) -> Self {
        Self { store, capacity, inside }
    }

    /// The key of the hub of a workspace: itself, unless it is a project. `None`: there is no such workspace.
    pub(super) async fn hub_key(&self, key: &str) -> Result<Option<String>, Failure> {
        let Some(row) = self.store.resource(key).await? else { return Ok(None) };
        let hub = row.body.pointer("/properties/hubResourceId").and_then(Value::as_str);
        Ok(Some(hub.map_or_else(|| key.to_owned(), str::to_ascii_lowercase)))
    }

    /// A hub, if it needs a network: its own was provisioned, or there are computes that must stand in one (mission.md J1).
    pub(super) async fn hub(&self, key: &str) -> Result<Option<Hub>, Failure> {
        let Some(row) = self.store.resource(key).await? else { return Ok(None) };
        let entry = Entry::read(row)?;
        let hub = entry.linked();
        let mut homes = Homes::new();
        let mut computes = self.computes(&hub, None, &mut homes).await?;
        let mut projects = Vec::new();
        for key in self.projects(key).await? {
            let Some(row) = self.store.resource(&key).await? else { continue };
            computes.extend(self.computes(&Entry::read(row)?.linked(), Some(&hub), &mut homes).await?);
            projects.push(key);
        }
        if computes.is_empty() && !is_wanted(&hub.document) {
            return Ok(None);
        }
        computes.sort_by_key(|(made, _)| *made);
        let instances = computes.into_iter().flat_map(|(_, instances)| instances).collect();
        let rules = self.rules(&hub.id).await?;
        Ok(Some(Hub { hub, rules, projects, instances, homes }))
    }

    /// Keys of all workspaces.
    pub(super) async fn workspaces(&self) -> Result<Vec<String>, Failure> {
        let query = ResourceQuery { types: vec![WORKSPACE.to_owned()], ..ResourceQuery::default() };
        Ok(self.store.every_resource(query).await?.into_iter().map(|row| row.key).collect())
    }

    /// The addresses of a hub's instances, older ones first; `held` are those that were given before, as far as the planner knows. Who does
    /// not stand where its id puts it is written down before anybody hears of it.
    pub(super) async fn addresses(
        &self,
        hub: &Linked,
        subnet: ipnet::Ipv4Net,
        computes: &[ComputeId],
        held: Option<&BTreeMap<ComputeId, Ipv4Addr>>,
    ) -> Result<BTreeMap<ComputeId, Ipv4Addr>, Failure> {
        let key = hub.incarnation.to_string();
        let record = self.store.record(ADDRESSES, &key, Timestamp::MIN).await?;
        let written: BTreeMap<ComputeId, Ipv4Addr> =
            record.and_then(|record| serde_json::from_value(record.body).ok()).unwrap_or_default();
        let mut known = written.clone();
        known.extend(held.into_iter().flatten());
        let given = Addresses::give(subnet, computes, &known);
        if given.elsewhere != written {
            let (kind, body) = (ADDRESSES.to_owned(), json!(given.elsewhere));
            let record = Change::PutRecord { kind, key, owner: Some(hub.id.key().to_owned()), body, expires: None };
            let write = Write { changes: vec![record], ..Write::new(Timestamp::now()) };
            self.store.commit(write).await.map_err(|error| Failure::internal(error.to_string()))?;
        }
        Ok(given.all)
    }

    async fn projects(&self, hub: &str) -> Result<Vec<String>, Failure> {
        let query = RecordQuery {
            kind: LINK.to_owned(),
            owner: Some(hub.to_owned()),
            now: Timestamp::MIN,
            after: None,
            limit: MOST_PROJECTS,
        };
        let is_workspace =
            |key: &String| ResourceId::parse(key).is_ok_and(|id| id.type_name().eq_ignore_ascii_case(WORKSPACE));
        let records = self.store.records(&query).await?;
        Ok(records.iter().filter_map(|record| linking(record, hub)).map(str::to_owned).filter(is_workspace).collect())
    }

    /// What runs for the computes of one workspace, with the time each was made; `homes` takes note of whose they are.
    async fn computes(
        &self,
        workspace: &Linked,
        hub: Option<&Linked>,
        homes: &mut Homes,
    ) -> Result<Vec<(Timestamp, Vec<Instance>)>, Failure> {
        let query = ResourceQuery {
            prefix: Some(format!("{}computes/", workspace.id.prefix())),
            types: vec![compute::TYPE_NAME.to_owned()],
            ..ResourceQuery::default()
        };
        let mut computes = Vec::new();
        for row in self.store.every_resource(query).await? {
            let entry = Entry::read(row)?;
            let compute = entry.linked();
            let mut instances = order::instances(&compute, workspace, hub, &self.capacity);
            for instance in &mut instances {
                self.inside.furnish(instance, &compute, workspace);
                homes.insert(instance.compute, workspace.id.name().to_owned());
            }
            computes.push((entry.row.created.at, instances));
        }
        Ok(computes)
    }

    async fn rules(&self, hub: &ResourceId) -> Result<Vec<Linked>, Failure> {
        let query = ResourceQuery {
            prefix: Some(format!("{}outboundrules/", hub.prefix())),
            types: vec![format!("{WORKSPACE}/outboundRules")],
            ..ResourceQuery::default()
        };
        self.store.every_resource(query).await?.into_iter().map(|row| Ok(Entry::read(row)?.linked())).collect()
    }
}

/// Whether somebody has asked for the network itself.
fn is_wanted(document: &Document) -> bool {
    is_provisioned(document) && IsolationMode::of(&document.properties) != IsolationMode::Disabled
}

/// Kind of the records that hold addresses which cannot be told from ids, one a hub, by its incarnation.
const ADDRESSES: &str = "addresses";

/// More projects than this no hub has.
const MOST_PROJECTS: u32 = 5000;
