//! From a name to what is known about it: remembered, under way already, or asked for.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bastide_inspect::Name;
use bastide_plan::address::AddressClass;
use bastide_plan::hub_plan::NameRule;
use bastide_plan::policy::NameVerdict;
use hickory_proto::rr::RecordType;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Resolver;
use super::budget::{Overrun, Turn};
use super::cache::{Outcome, Remembered};
use super::reading::{End, Known, Lie, MAX_ALIASES};
use super::upstream::{DEADLINE, Failure};
use super::verdict::{is_asked_for, is_open};
use crate::view::View;

/// What is being asked at this moment, so that nothing is asked twice at once: whoever wants to answer in the resolver's
/// place gets one attempt for a name, not as many as a compute has asked (RFC 5452, section 5).
#[derive(Debug, Default)]
pub struct Flights(Mutex<HashMap<(Name, RecordType), Landing>>);

/// What will come of asking.
#[derive(Debug, Clone)]
struct Landing(watch::Receiver<Option<Outcome>>);

/// Where a name leads, by the view of a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leads<'a> {
    /// To these addresses, and by these aliases.
    To(&'a [Name], Vec<Ipv4Addr>),
    /// To an address of the hub's own, by these aliases.
    Own(&'a [Name], Ipv4Addr),
    /// To addresses that are out of reach, all of them.
    Astray(Ipv4Addr, AddressClass),
    /// Nowhere.
    Nowhere,
}

impl Resolver {
    /// What is known about a name that `rule` approves, or the mode; asks the host's resolver on behalf of a compute.
    pub(super) async fn look_up(
        self: &Arc<Self>,
        name: &Name,
        kind: RecordType,
        rule: Option<&NameRule>,
        leg: Ipv4Addr,
    ) -> Result<Remembered, Overrun> {
        if let Some(remembered) = self.cache.find(name, kind, self.clock.instant()) {
            return Ok(remembered);
        }
        let outcome = self.take_off(name, kind, rule, leg)?.outcome().await;
        if let (Ok(known), Some(rule)) = (&outcome, rule)
            && matches!(known.end, End::Addresses(_))
        {
            self.budgets.know(name, rule);
        }
        let remembered = self.cache.find(name, kind, self.clock.instant());
        Ok(remembered.unwrap_or(Remembered { outcome, left: super::cache::LEAST }))
    }

    /// Joins who asks for the same, or asks.
    fn take_off(
        self: &Arc<Self>,
        name: &Name,
        kind: RecordType,
        rule: Option<&NameRule>,
        leg: Ipv4Addr,
    ) -> Result<Landing, Overrun> {
        let mut flights = self.flights.lock();
        let key = (name.clone(), kind);
        if let Some(landing) = flights.get(&key) {
            return Ok(landing.clone());
        }
        // Where the internet is open, a name is no way out that there were not others.
        let bounding = rule.filter(|_| !self.view.load().is_some_and(|view| is_open(&view)));
        let turn = self.budgets.ask(leg, name, bounding, self.clock.instant())?;
        let (land, landing) = watch::channel(None);
        let landing = Landing(landing);
        flights.insert(key.clone(), landing.clone());
        drop(flights);
        // A task of its own: it ends also when who asked has gone away.
        tokio::spawn(Arc::clone(self).fly(key, turn, land));
        Ok(landing)
    }

    async fn fly(self: Arc<Self>, key: (Name, RecordType), turn: Turn, land: watch::Sender<Option<Outcome>>) {
        let (name, kind) = &key;
        let outcome = match timeout(DEADLINE, self.follow(name, *kind)).await {
            Ok(result) => result.map(Arc::new),
            Err(_) => Err(Failure::Silent),
        };
        // The plan may have changed meanwhile, and what it does not ask for is not remembered.
        if self.view.load().is_some_and(|view| is_asked_for(&view, name)) {
            self.cache.keep(name, *kind, &outcome, self.clock.instant());
        }
        self.flights.lock().remove(&key);
        drop(turn);
        land.send_replace(Some(outcome));
    }

    /// Asks for a name, and for the last of its aliases as long as the answer ends there.
    async fn follow(&self, name: &Name, kind: RecordType) -> Result<Known, Failure> {
        let mut whole = Known { aliases: Vec::new(), end: End::Cut, ttl: u32::MAX, size: 0 };
        let mut current = name.clone();
        loop {
            let known = self.upstream.ask(&current, kind).await?;
            whole.ttl = whole.ttl.min(known.ttl);
            whole.end = known.end;
            whole.size += known.size;
            let is_circle = known.aliases.iter().any(|alias| alias == name || whole.aliases.contains(alias));
            if is_circle || whole.aliases.len() + known.aliases.len() > MAX_ALIASES {
                return Err(Lie::Aliases.into());
            }
            whole.aliases.extend(known.aliases);
            match (&whole.end, whole.aliases.last()) {
                (End::Cut, Some(last)) if !self.is_own(last) => current = last.clone(),
                _ => return Ok(whole),
            }
        }
    }

    /// Whether a name is the hub's own: it means something else inside, or nothing at all outside.
    fn is_own(&self, name: &Name) -> bool {
        self.view.load().is_some_and(|view| own_address(&view, name).is_some())
    }
}

impl Landing {
    async fn outcome(mut self) -> Outcome {
        match self.0.wait_for(Option::is_some).await {
            Ok(landed) => landed.clone().unwrap_or(Err(Failure::Silent)),
            Err(_) => Err(Failure::Silent),
        }
    }
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<(Name, RecordType), Landing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a name leads. An alias that is a private endpoint of the hub leads there, as private DNS zones have it.
pub fn leads<'a>(view: &View, known: &'a Known) -> Leads<'a> {
    for (place, alias) in known.aliases.iter().enumerate() {
        if let Some(address) = own_address(view, alias) {
            return Leads::Own(known.aliases.get(..=place).unwrap_or_default(), address);
        }
    }
    let End::Addresses(addresses) = &known.end else { return Leads::Nowhere };
    let (mut good, mut astray) = (Vec::with_capacity(addresses.len()), None);
    for address in addresses {
        match view.filter.refuses((*address).into()) {
            None => good.push(*address),
            Some(class) => astray = Some((*address, class)),
        }
    }
    match (good.is_empty(), astray) {
        (false, _) => Leads::To(&known.aliases, good),
        (true, Some((address, class))) => Leads::Astray(address, class),
        (true, None) => Leads::Nowhere,
    }
}

fn own_address(view: &View, name: &Name) -> Option<Ipv4Addr> {
    match view.policy.resolve(name) {
        NameVerdict::Endpoint(endpoint) => Some(endpoint.address),
        NameVerdict::Service(_) => Some(view.policy.rest().gateway()),
        NameVerdict::Rule(_) | NameVerdict::Open | NameVerdict::Refused => None,
    }
}
