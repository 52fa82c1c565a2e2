//! One instance, as its metadata service knows it.

use std::sync::Arc;

use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::AssignedIdentity;
use bastide_plan::hub_plan::ComputeId;
use uuid::Uuid;

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entry;

/// An instance.
pub(super) struct Machine {
    pub(super) front: Arc<Front>,
    pub(super) compute: ComputeId,
    /// The resource it runs for.
    pub(super) id: ResourceId,
    incarnation: Uuid,
}

impl Machine {
    pub(super) fn new(front: Arc<Front>, entry: &Entry, compute: ComputeId) -> Self {
        Self { front, compute, id: entry.id.clone(), incarnation: entry.row.incarnation }
    }

    /// The resource as it is now; none when it has gone, also if another one of that name has come.
    pub(super) async fn entry(&self) -> Result<Option<Entry>, Failure> {
        let row = self.front.ledger.store().resource(self.id.key()).await?;
        let row = row.filter(|row| row.incarnation == self.incarnation);
        row.map(Entry::read).transpose()
    }

    /// The identities it carries now, the one that stands in for who names none first. Read without a pass: it is the
    /// compute itself that asks.
    pub(super) async fn identity(&self) -> Result<Option<AssignedIdentity>, Failure> {
        Ok(self.entry().await?.and_then(|entry| entry.document.identity).filter(|identity| !identity.is_empty()))
    }
}
