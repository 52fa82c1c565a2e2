//! Which addresses the hub's computes were told for which name.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use bastide_inspect::Name;

/// The addresses of each name, as the resolver answered them to this hub (egress.md rows 1 and 28).
///
/// The firewall connects to nothing else. An address is held as long as a client may remember it, and [`GRACE`] longer;
/// connections that live are bound to their name and do not ask again.
#[derive(Debug)]
pub struct Pins {
    table: RwLock<Table>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Table {
    names: HashMap<Name, Vec<Pin>>,
    /// The name that was last answered with an address. It may have been forgotten since.
    leads: HashMap<Ipv4Addr, Name>,
}

#[derive(Debug, Clone, Copy)]
struct Pin {
    address: Ipv4Addr,
    until: Instant,
    /// Whether the latest answer holds it.
    latest: bool,
}

impl Pins {
    /// Pins of at most so many names.
    pub fn new(capacity: usize) -> Self {
        Self { table: RwLock::default(), capacity: capacity.max(1) }
    }

    /// Notes an answer that clients may remember for `ttl`.
    pub fn put(&self, name: &Name, addresses: &[Ipv4Addr], ttl: Duration, now: Instant) {
        let until = now + ttl + GRACE;
        let mut table = self.write();
        if table.names.len() >= self.capacity && !table.names.contains_key(name) {
            make_room(&mut table.names, now);
        }
        if table.leads.len() >= self.capacity {
            table.leads.clear();
        }
        table.leads.extend(addresses.iter().take(MAX_ADDRESSES).map(|address| (*address, name.clone())));
        let pins = table.names.entry(name.clone()).or_default();
        pins.retain_mut(|pin| {
            pin.latest = false;
            pin.until > now && !addresses.contains(&pin.address)
        });
        let latest = addresses.iter().map(|address| Pin { address: *address, until, latest: true });
        pins.splice(..0, latest);
        pins.truncate(MAX_ADDRESSES);
    }

    /// The addresses that a name may be connected to, those of the latest answer first.
    pub fn addresses(&self, name: &Name, now: Instant) -> Vec<Ipv4Addr> {
        let table = self.read();
        let pins = table.names.get(name).into_iter().flatten();
        pins.filter(|pin| pin.until > now).map(|pin| pin.address).collect()
    }

    /// The addresses of the latest answer, as long as that may be remembered.
    pub fn latest(&self, name: &Name, now: Instant) -> Vec<Ipv4Addr> {
        let table = self.read();
        let pins = table.names.get(name).into_iter().flatten();
        pins.filter(|pin| pin.latest && pin.until > now).map(|pin| pin.address).collect()
    }

    /// The name that was last answered with an address, for records about packets, which name none.
    pub fn name_of(&self, address: Ipv4Addr, now: Instant) -> Option<Name> {
        let table = self.read();
        let name = table.leads.get(&address)?;
        let leads_there = |pins: &Vec<Pin>| pins.iter().any(|pin| pin.address == address && pin.until > now);
        table.names.get(name).is_some_and(leads_there).then(|| name.clone())
    }

    /// A name among those that an address may be connected for, if any is `wanted`.
    pub fn find(&self, address: Ipv4Addr, now: Instant, wanted: impl Fn(&Name) -> bool) -> Option<Name> {
        let table = self.read();
        let leads_there = |pins: &[Pin]| pins.iter().any(|pin| pin.address == address && pin.until > now);
        let mut names = table.names.iter().filter(|(_, pins)| leads_there(pins));
        names.find(|(name, _)| wanted(name)).map(|(name, _)| name.clone())
    }

    /// Forgets all names that are not to be kept.
    pub fn retain(&self, keep: impl Fn(&Name) -> bool) {
        self.write().names.retain(|name, _| keep(name));
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Pins {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

/// Forgets what has ended; when nothing has, what ends soonest. A forgotten name is only resolved again.
fn make_room(table: &mut HashMap<Name, Vec<Pin>>, now: Instant) {
    let before = table.len();
    table.retain(|_, pins| pins.iter().any(|pin| pin.until > now));
    if table.len() == before {
        // A part at once, so that a flood does not have all pins looked through for each new one.
        let end = |pins: &Vec<Pin>| pins.iter().map(|pin| pin.until).max();
        let mut ends: Vec<_> = table.values().map(end).collect();
        let part = ends.len() / MADE_ROOM;
        if part < ends.len() {
            let (_, last, _) = ends.select_nth_unstable(part);
            table.retain(|_, pins| end(pins) > *last);
        }
    }
}

/// How long an address is held beyond what a client may remember: a client that asked just before the end still connects.
pub const GRACE: Duration = Duration::from_secs(10);

/// Names pinned at once, unless told otherwise.
pub const CAPACITY: usize = 8192;

/// When there is no room, one name of so many goes.
const MADE_ROOM: usize = 16;

/// Addresses of one name: several answers of a site with a few. Of a site with more the first ones are connected to.
const MAX_ADDRESSES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn address(last: u8) -> Ipv4Addr {
        [198, 18, 0, last].into()
    }

    #[test]
    fn an_address_is_held_as_long_as_clients_remember_it_and_a_little_longer() {
        let (pins, start) = (Pins::default(), Instant::now());
        pins.put(&name("a.org"), &[address(1)], TTL, start);
        let at = |seconds| pins.addresses(&name("a.org"), start + Duration::from_secs(seconds));
        assert_eq!(at(0), [address(1)]);
        assert_eq!(at(39), [address(1)]);
        assert!(at(40).is_empty());
        assert!(pins.addresses(&name("b.org"), start).is_empty());
    }

    #[test]
    fn a_change_of_address_keeps_the_old_one_behind_the_new_one() {
        let (pins, start) = (Pins::default(), Instant::now());
        pins.put(&name("a.org"), &[address(1), address(2)], TTL, start);
        let later = start + Duration::from_secs(20);
        pins.put(&name("a.org"), &[address(2), address(3)], TTL, later);
        assert_eq!(pins.addresses(&name("a.org"), later), [address(2), address(3), address(1)]);
        assert_eq!(pins.latest(&name("a.org"), later), [address(2), address(3)]);
        let end = later + Duration::from_secs(25);
        assert_eq!(pins.addresses(&name("a.org"), end), [address(2), address(3)], "the old one has ended");
    }

    #[test]
    fn names_are_found_by_address_and_forgotten_by_choice() {
        let (pins, now) = (Pins::default(), Instant::now());
        pins.put(&name("b.org"), &[address(1)], TTL, now);
        pins.put(&name("a.org"), &[address(1)], TTL, now);
        assert_eq!(pins.name_of(address(1), now), Some(name("a.org")));
        assert_eq!(pins.name_of(address(9), now), None);
        assert_eq!(pins.name_of(address(1), now + TTL + GRACE), None);
        pins.retain(|kept| *kept == name("b.org"));
        assert_eq!(pins.name_of(address(1), now), None);
        assert_eq!(pins.addresses(&name("b.org"), now), [address(1)]);
    }

    #[test]
    fn a_flood_of_names_and_addresses_stays_within_bounds() {
        let (pins, now) = (Pins::new(3), Instant::now());
        for number in 0..100 {
            pins.put(&name(&format!("n{number}.org")), &[address(1)], TTL, now + Duration::from_millis(number));
        }
        assert_eq!(pins.read().names.len(), 3);
        assert_eq!(pins.addresses(&name("n99.org"), now).len(), 1, "the newest stays");
        let many: Vec<_> = (0..=255).map(address).collect();
        pins.put(&name("many.org"), &many, TTL, now);
        assert_eq!(pins.addresses(&name("many.org"), now).len(), MAX_ADDRESSES);
        assert!(pins.read().leads.len() <= 3 + MAX_ADDRESSES);
    }
}
