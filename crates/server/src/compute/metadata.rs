//! The metadata service: who runs in a compute asks 169.254.169.254 who that is, and gets tokens of its identities.
//!
//! The socket is one that the agent has opened inside of the instance, so what arrives at it comes from that instance and
//! from nowhere else: no address and no header says who asks, and none could be forged. What it carries is read from the
//! store for each question, so an identity that was taken away, or a compute that is gone, gets no more tokens.
//!
//! Two protocols lead to the same tokens: IMDS of virtual machines, and that of Azure Machine Learning (`MSI_ENDPOINT` and
//! `MSI_SECRET`), which the clients prefer where it is (security.md 2.2).

mod answer;
mod describe;
mod machine;
mod port;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bastide_hub::compute;
use bastide_plan::hub_plan::ComputeId;
use bastide_plan::way_in::WayIn;
use bastide_store::ResourceQuery;
use tokio::task::AbortHandle;

use super::caretaker::machines;
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entry;
use machine::Machine;

/// Where clients find the tokens of Azure Machine Learning.
pub(super) const MSI_ENDPOINT: &str = "http://169.254.169.254/msi/token";

/// Serves the instances that run.
pub(crate) struct Metadata {
    front: Arc<Front>,
    served: HashMap<ComputeId, Served>,
}

/// An instance that is served, until this is dropped.
struct Served {
    start: u64,
    task: AbortHandle,
}

impl Metadata {
    pub(crate) fn new(front: Arc<Front>) -> Self {
        Self { front, served: HashMap::new() }
    }

    /// Serves for ever; not at all where nothing runs.
    pub(crate) async fn run(mut self) {
        if !self.front.networks.is_planned() {
            return std::future::pending().await;
        }
        let mut changes = self.front.networks.computes_changed();
        loop {
            if let Err(error) = self.look().await {
                tracing::error!(%error, "who runs in computes cannot ask who they are; trying again");
            }
            // What was cut off is served again also when nobody has said anything.
            let _ = tokio::time::timeout(ROUND, changes.changed()).await;
        }
    }

    async fn look(&mut self) -> Result<(), Failure> {
        let running = self.front.networks.inhabited();
        let is_current = |compute: &ComputeId, served: &Served| running.get(compute) == Some(&served.start);
        self.served.retain(|compute, served| is_current(compute, served) && !served.task.is_finished());
        if running.keys().all(|compute| self.served.contains_key(compute)) {
            return Ok(());
        }
        let machines = self.machines().await?;
        for (compute, start) in running {
            if let Some(machine) = machines.get(&compute).filter(|_| !self.served.contains_key(&compute)) {
                let task = tokio::spawn(serve(Arc::clone(machine))).abort_handle();
                self.served.insert(compute, Served { start, task });
            }
        }
        Ok(())
    }

    /// What runs, or could, for every compute there is.
    async fn machines(&self) -> Result<BTreeMap<ComputeId, Arc<Machine>>, Failure> {
        let types = vec![compute::TYPE_NAME.to_owned()];
        let query = ResourceQuery { types, ..ResourceQuery::default() };
        let mut found = BTreeMap::new();
        for row in self.front.ledger.store().every_resource(query).await? {
            let entry = Entry::read(row)?;
            for compute in machines(entry.row.incarnation, &entry.document) {
                found.insert(compute, Arc::new(Machine::new(Arc::clone(&self.front), &entry, compute)));
            }
        }
        Ok(found)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one instance until the agent hangs up, which it does when the instance goes.
async fn serve(machine: Arc<Machine>) {
    let compute = machine.compute;
    let served = async {
        let mut opened =
            machine.front.networks.open(compute, WayIn::Metadata).await.map_err(|away| away.to_string())?;
        let socket = opened.ends.pop().ok_or("no socket has come")?;
        let listener = port::listener(socket).map_err(|error| error.to_string())?;
        tokio::select! {
            () = port::serve(listener, machine) => {}
            ended = opened.exited() => tracing::debug!(%compute, ?ended, "its metadata socket is gone"),
        }
        Ok::<(), String>(())
    };
    if let Err(reason) = served.await {
        tracing::warn!(%compute, reason, "who runs in a compute cannot ask who it is; trying again");
    }
    tokio::time::sleep(PAUSE).await;
}

const ROUND: Duration = Duration::from_secs(1);

/// Before something is tried again that has just failed.
const PAUSE: Duration = Duration::from_secs(1);
