//! The declared targets of a hub: where they are, as the host has it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use bastide_plan::{AddressFilter, HubPlan};

use crate::network::external::{External, externals, look_up, refusal};
use crate::network::host::Host;
use crate::network::hub::Command;

/// Knows the addresses of declared targets.
pub(super) struct Declared {
    host: Arc<Host>,
    to_keeper: Sender<Command>,
    looked_up: BTreeMap<String, BTreeSet<Ipv4Addr>>,
}

/// Where the declared targets of a plan are.
#[derive(Debug, Default)]
pub(super) struct Placed {
    pub externals: Places,
    /// Those that are this host's.
    pub admitted: Places,
    /// Those on this host's loopback, which no way out leads to.
    pub beside: Places,
    /// The address that stands for each name.
    pub chosen: BTreeMap<String, Ipv4Addr>,
    /// Why others are refused, by rule.
    pub refusals: BTreeMap<String, String>,
}

pub(super) type Places = BTreeSet<(Ipv4Addr, u16)>;

impl Declared {
    /// Knows nothing yet; what is looked up comes to the keeper as a command.
    pub fn new(host: Arc<Host>, to_keeper: Sender<Command>) -> Self {
        Self { host, to_keeper, looked_up: BTreeMap::new() }
    }

    /// Takes note of the addresses of a name. Whether they are others than before.
    pub fn note(&mut self, name: String, addresses: BTreeSet<Ipv4Addr>) -> bool {
        self.looked_up.insert(name, addresses.clone()) != Some(addresses)
    }

    /// Where the declared targets of a plan are.
    pub fn places(&mut self, plan: &HubPlan, filter: &AddressFilter) -> Placed {
        let mut placed = Placed::default();
        for external in externals(plan) {
            for address in self.addresses(external) {
                if let Some(reason) = refusal(external, address, filter) {
                    placed.refusals.extend(external.rule.map(|rule| (rule.to_string(), reason)));
                    continue;
                }
                placed.chosen.entry(external.host.to_owned()).or_insert(address);
                if address.is_loopback() {
                    placed.beside.insert((address, external.port));
                    continue;
                }
                placed.externals.insert((address, external.port));
                if filter.own.iter().any(|own| own.contains(&address)) {
                    placed.admitted.insert((address, external.port));
                }
            }
        }
        placed
    }

    /// What is known of a declared target; a name is looked up beside, again and again.
    fn addresses(&mut self, external: External<'_>) -> BTreeSet<Ipv4Addr> {
        if external.host.parse::<Ipv4Addr>().is_ok() {
            return look_up(external.host);
        }
        if let Some(known) = self.looked_up.get(external.host) {
            return known.clone();
        }
        let (name, to_keeper, host) = (external.host.to_owned(), self.to_keeper.clone(), Arc::clone(&self.host));
        self.looked_up.insert(name.clone(), BTreeSet::new());
        let body = move || {
            if let Err(error) = host.enter() {
                return tracing::error!("{name} cannot be looked up: {error}");
            }
            while to_keeper.send(Command::LookedUp(name.clone(), look_up(&name))).is_ok() {
                std::thread::sleep(LOOK_UP_AGAIN);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("look-up".to_owned()).spawn(body) {
            tracing::error!("{} cannot be looked up: {error}", external.host);
        }
        BTreeSet::new()
    }
}

/// How often the names of declared targets are looked up.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(30);
