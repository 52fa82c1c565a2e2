//! The resolver of one hub: the only one its computes can reach.
//!
//! It answers names that a rule approves, the hub's private endpoints and Bastide's own services; everything else is
//! refused at once, with words that say which rule is missing (DESIGN, "Refusal of names"). What it asks the host's resolver
//! for is bounded, what it is told is filtered ([`bastide_plan::AddressFilter`]), and what it answered is pinned: the
//! firewall connects to nothing else.
//!
//! A question goes through the files in this order: `question` reads it, `verdict` decides, `budget` and `lookup` ask by way
//! of `upstream` and `reading`, `cache` remembers, `reply` says what came of it, `answer` writes it.

pub mod answer;
pub mod budget;
pub mod cache;
pub mod lookup;
pub mod question;
pub mod reading;
mod reply;
mod serve;
#[cfg(test)]
pub(crate) mod tests;
pub mod upstream;
pub mod verdict;

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bastide_inspect::Name;
use bastide_plan::address::AddressClass;
use bastide_plan::policy::NameVerdict;
use bastide_plan::worker::Transport;
use hickory_proto::rr::RecordType;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::flow_log::FlowLog;
use crate::pins::Pins;
use crate::view::CurrentView;

use budget::{Budgets, Overrun};
use cache::{Cache, Outcome};
use lookup::{Flights, Leads, leads};
use upstream::{Failure, Upstream};

/// The resolver of a hub.
#[derive(Debug)]
pub struct Resolver {
    view: Arc<CurrentView>,
    log: Arc<FlowLog>,
    clock: Arc<dyn Clock>,
    pins: Pins,
    cache: Cache,
    budgets: Arc<Budgets>,
    flights: Flights,
    upstream: Upstream,
}

/// Why a name leads to no address that may be connected to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unresolved {
    /// No rule approves it, or it is the hub's own.
    #[error("'{0}' is not a name that is asked for")]
    NotAskedFor(Name),
    /// It does not exist, or has no IPv4 address.
    #[error("'{0}' does not exist, or has no IPv4 address")]
    Nowhere(Name),
    /// It leads to what is out of reach.
    #[error("'{name}' leads to {address}, {class}; no rule by name reaches that")]
    Astray {
        /// The name.
        name: Name,
        /// One of its addresses.
        address: Ipv4Addr,
        /// Why that is out of reach.
        class: AddressClass,
    },
    /// The compute asks too much.
    #[error(transparent)]
    Overrun(#[from] Overrun),
    /// The host's resolver has not told.
    #[error("'{0}' could not be resolved: {1}")]
    Failed(Name, Failure),
}

impl Resolver {
    /// A resolver that decides by `view`, and writes to `log`. The sockets it asks for through `need` come by [`Resolver::add_upstream`].
    pub fn new(
        view: Arc<CurrentView>,
        log: Arc<FlowLog>,
        clock: Arc<dyn Clock>,
        need: mpsc::UnboundedSender<Transport>,
    ) -> Arc<Self> {
        Arc::new(Self {
            view,
            log,
            clock,
            pins: Pins::default(),
            cache: Cache::default(),
            budgets: Arc::default(),
            flights: Flights::default(),
            upstream: Upstream::new(need),
        })
    }

    /// Takes a socket that is connected to the host's resolver.
    pub fn add_upstream(&self, transport: Transport, descriptor: OwnedFd) -> io::Result<()> {
        self.upstream.add(transport, descriptor)
    }

    /// Forgets what belongs to names, rules and computes that the view has no more. To be called after it was replaced.
    pub fn forget(&self) {
        let Some(view) = self.view.load() else { return };
        let is_asked_for = |name: &Name| verdict::is_asked_for(&view, name);
        self.pins.retain(is_asked_for);
        self.cache.retain(is_asked_for);
        self.budgets.retain(|leg| view.leg(leg).is_some(), |apex| view.policy.rule_below(apex).is_some());
    }

    /// The addresses that computes were told for a name, as long as they may remember them.
    pub fn told(&self, name: &Name) -> Vec<Ipv4Addr> {
        self.pins.latest(name, self.clock.instant())
    }

    /// A name among those for which computes were told an address, if any is `wanted`.
    pub fn find_name(&self, address: Ipv4Addr, wanted: impl Fn(&Name) -> bool) -> Option<Name> {
        self.pins.find(address, self.clock.instant(), wanted)
    }

    /// A name for which computes were told an address.
    pub fn name_of(&self, address: Ipv4Addr) -> Option<Name> {
        self.pins.name_of(address, self.clock.instant())
    }

    /// The addresses that a compute's connection to a name may be carried to, best first: those it was told, or, when it has
    /// not asked or its time is over, those that it would be told now. All of them pass the filter of this moment.
    pub async fn addresses(self: &Arc<Self>, name: &Name, compute: Ipv4Addr) -> Result<Vec<Ipv4Addr>, Unresolved> {
        let Some(view) = self.view.load() else { return Err(Unresolved::NotAskedFor(name.clone())) };
        let rule = match view.policy.resolve(name) {
            NameVerdict::Rule(rule) => Some(rule),
            NameVerdict::Open => None,
            _ => return Err(Unresolved::NotAskedFor(name.clone())),
        };
        let mut pinned = self.pins.addresses(name, self.clock.instant());
        pinned.retain(|address| view.filter.refuses((*address).into()).is_none());
        if !pinned.is_empty() {
            return Ok(pinned);
        }
        let remembered = self.look_up(name, RecordType::A, rule, compute).await?;
        // The rule may have been withdrawn while the host's resolver thought about it.
        let view = self.view.load().filter(|view| verdict::is_asked_for(view, name));
        let Some(view) = view else { return Err(Unresolved::NotAskedFor(name.clone())) };
        let known = remembered.outcome.map_err(|failure| Unresolved::Failed(name.clone(), failure))?;
        match leads(&view, &known) {
            Leads::To(_, addresses) => {
                self.pins.put(name, &addresses, remembered.left, self.clock.instant());
                Ok(addresses)
            }
            Leads::Astray(address, class) => Err(Unresolved::Astray { name: name.clone(), address, class }),
            Leads::Own(..) | Leads::Nowhere => Err(Unresolved::Nowhere(name.clone())),
        }
    }

    /// What came of asking for a name's addresses, as far as it is remembered.
    pub fn remembered(&self, name: &Name) -> Option<Outcome> {
        let remembered = self.cache.find(name, RecordType::A, self.clock.instant())?;
        Some(remembered.outcome)
    }
}
