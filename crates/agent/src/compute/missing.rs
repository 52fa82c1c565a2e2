//! A node that can run nothing, and says why.

use std::os::fd::OwnedFd;
use std::time::Duration;

use bastide_plan::compute_report::Usage;
use bastide_plan::hub_plan::ComputeId;
use bastide_plan::way_in::Process;

use super::runtime::{Abilities, Execution, Observed, Order, Runtime, RuntimeError, Target};

/// In place of a runtime that cannot be used. Walls stand without it.
#[derive(Debug)]
pub struct Missing {
    /// Why, and what to do about it.
    pub reason: String,
}

impl Missing {
    fn say<T>(&self) -> Result<T, RuntimeError> {
        Err(RuntimeError::Unable(self.reason.clone()))
    }
}

impl Runtime for Missing {
    fn abilities(&self) -> Abilities {
        Abilities { name: "none".to_owned(), isolations: Vec::new(), confines: true, gpus: Vec::new() }
    }

    fn create(&self, _: &Order) -> Result<(), RuntimeError> {
        self.say()
    }

    fn start(&self, _: ComputeId) -> Result<(), RuntimeError> {
        self.say()
    }

    fn stop(&self, _: ComputeId, _: Duration) -> Result<(), RuntimeError> {
        self.say()
    }

    fn freeze(&self, _: ComputeId, _: bool) -> Result<(), RuntimeError> {
        self.say()
    }

    fn delete(&self, _: ComputeId) -> Result<(), RuntimeError> {
        self.say()
    }

    fn observe(&self, _: ComputeId) -> Result<Observed, RuntimeError> {
        Ok(Observed::Absent)
    }

    fn usage(&self, _: ComputeId) -> Result<Usage, RuntimeError> {
        self.say()
    }

    fn exec(&self, _: ComputeId, _: &Process) -> Result<Execution, RuntimeError> {
        self.say()
    }

    fn dial(&self, _: ComputeId, _: &Target) -> Result<OwnedFd, RuntimeError> {
        self.say()
    }

    fn list(&self) -> Result<Vec<ComputeId>, RuntimeError> {
        Ok(Vec::new())
    }
}
