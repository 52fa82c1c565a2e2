//! What the worker decides by at this moment.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bastide_plan::hub_plan::{HubPlan, Leg};
use bastide_plan::name_change::NameChange;
use bastide_plan::{AddressFilter, Policy};

/// A plan made ready, with what is not in it. Immutable: a change makes a new one.
#[derive(Debug)]
pub struct View {
    /// What the plan lets through.
    pub policy: Policy,
    /// Where names may lead.
    pub filter: Arc<AddressFilter>,
    attached: Arc<HashMap<Ipv4Addr, Leg>>,
}

/// The view of the moment, read without a lock. There is none until the first plan has come, and then nothing passes.
#[derive(Debug, Default)]
pub struct CurrentView(ArcSwapOption<View>);

impl View {
    /// A view by a plan. `attached` are legs that are not in it.
    pub fn new(plan: HubPlan, attached: Vec<Leg>, filter: AddressFilter) -> Self {
        let attached = attached.into_iter().map(|leg| (leg.address, leg)).collect();
        Self { policy: Policy::new(plan), filter: Arc::new(filter), attached: Arc::new(attached) }
    }

    /// What is decided by before there is a plan: nothing passes.
    pub fn closed() -> Self {
        Self { policy: Policy::closed(), filter: Arc::default(), attached: Arc::default() }
    }

    /// The same plan, with another word on where names may lead.
    pub fn with_filter(&self, filter: AddressFilter) -> Self {
        Self { policy: self.policy.clone(), filter: Arc::new(filter), attached: Arc::clone(&self.attached) }
    }

    /// The next plan, by a change; none when the change leads from another.
    pub fn changed(&self, change: NameChange) -> Option<Self> {
        let policy = self.policy.changed(change)?;
        Some(Self { policy, filter: Arc::clone(&self.filter), attached: Arc::clone(&self.attached) })
    }

    /// Whose address this is.
    pub fn leg(&self, address: Ipv4Addr) -> Option<&Leg> {
        self.policy.leg(address).or_else(|| self.attached.get(&address))
    }

    /// All legs, those of the plan first.
    pub fn legs(&self) -> impl Iterator<Item = &Leg> {
        self.policy.rest().legs.iter().chain(self.attached.values())
    }

    /// The hub's name, for sentences people read.
    pub fn hub(&self) -> &str {
        &self.policy.rest().name
    }
}

impl CurrentView {
    /// The view of this moment; `None` before the first plan.
    pub fn load(&self) -> Option<Arc<View>> {
        self.0.load_full()
    }

    /// Decides by another view from now on.
    pub fn replace(&self, view: Arc<View>) {
        self.0.store(Some(view));
    }
}
