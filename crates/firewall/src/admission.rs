//! How many connections a hub and each of its computes may hold at once (egress.md row 22).
//!
//! Each thread counts for itself, without locks; the kernel spreads connections over the threads evenly.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::rc::Rc;

use crate::switch::Switch;

/// The most connections at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one compute, that have not said yet what they want. One more ends the oldest of them: who floods ends its own
    /// flood, and a new honest connection still finds a place.
    pub waiting: usize,
    /// Of one compute, that were let through.
    pub of_compute: usize,
    /// Of the whole hub, that were let through.
    pub of_hub: usize,
}

/// Counts connections against the limits.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    next: Cell<u64>,
    live: Cell<usize>,
    computes: RefCell<HashMap<Ipv4Addr, Compute>>,
}

#[derive(Debug, Default)]
struct Compute {
    /// Connections that have not said yet what they want, oldest first.
    waiting: BTreeMap<u64, Rc<Switch>>,
    live: usize,
}

/// The place of one connection; dropping it makes room.
#[derive(Debug)]
pub struct Ticket {
    admission: Rc<Admission>,
    source: Ipv4Addr,
    number: u64,
    is_live: bool,
}

/// There is no room for one more connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The compute has its share.
    #[error("the compute holds {0} connections already, which is the limit")]
    Compute(usize),
    /// The hub has all.
    #[error("the hub holds {0} connections already, which is the limit")]
    Hub(usize),
}

impl Limits {
    /// The share of one of so many threads.
    pub fn share(self, threads: usize) -> Self {
        let share = |limit: usize| limit.div_ceil(threads.max(1));
        Self { waiting: share(self.waiting), of_compute: share(self.of_compute), of_hub: share(self.of_hub) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { waiting: 1024, of_compute: 4096, of_hub: 16_384 }
    }
}

impl Admission {
    /// Counts against these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, next: Cell::new(0), live: Cell::new(0), computes: RefCell::default() }
    }

    /// Takes in a connection that has not said yet what it wants. `switch` is thrown when it has to make room.
    pub fn admit(self: &Rc<Self>, source: Ipv4Addr, switch: Rc<Switch>) -> Ticket {
        let number = self.next.get();
        self.next.set(number + 1);
        let mut computes = self.computes.borrow_mut();
        let waiting = &mut computes.entry(source).or_default().waiting;
        waiting.insert(number, switch);
        if waiting.len() > self.limits.waiting
            && let Some((_, oldest)) = waiting.pop_first()
        {
            oldest.throw(format!(
                "it said nothing while {} newer connections of its compute waited",
                self.limits.waiting
            ));
        }
        Ticket { admission: Rc::clone(self), source, number, is_live: false }
    }
}

impl Ticket {
    /// The connection has said what it wants, and was let through.
    pub fn establish(&mut self) -> Result<(), Full> {
        if self.is_live {
            return Ok(());
        }
        let admission = &self.admission;
        let mut computes = admission.computes.borrow_mut();
        let compute = computes.entry(self.source).or_default();
        if compute.live >= admission.limits.of_compute {
            return Err(Full::Compute(compute.live));
        }
        if admission.live.get() >= admission.limits.of_hub {
            return Err(Full::Hub(admission.live.get()));
        }
        compute.waiting.remove(&self.number);
        compute.live += 1;
        admission.live.set(admission.live.get() + 1);
        self.is_live = true;
        Ok(())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut computes = self.admission.computes.borrow_mut();
        let Some(compute) = computes.get_mut(&self.source) else { return };
        compute.waiting.remove(&self.number);
        if self.is_live {
            compute.live -= 1;
            self.admission.live.set(self.admission.live.get() - 1);
        }
        if compute.live == 0 && compute.waiting.is_empty() {
            computes.remove(&self.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Ipv4Addr = Ipv4Addr::new(100, 127, 0, 2);
    const OTHER: Ipv4Addr = Ipv4Addr::new(100, 127, 0, 3);

    fn admission() -> Rc<Admission> {
        Rc::new(Admission::new(Limits { waiting: 2, of_compute: 2, of_hub: 3 }))
    }

    fn admit(admission: &Rc<Admission>, source: Ipv4Addr) -> (Ticket, Rc<Switch>) {
        let switch = Rc::new(Switch::default());
        (admission.admit(source, Rc::clone(&switch)), switch)
    }

    #[test]
    fn the_oldest_that_says_nothing_makes_room_for_the_next_of_its_compute() {
        let admission = admission();
        let others = [admit(&admission, OTHER), admit(&admission, OTHER)];
        let first = admit(&admission, ONE);
        let second = admit(&admission, ONE);
        assert!(!first.1.is_thrown());
        let third = admit(&admission, ONE);
        assert!(first.1.is_thrown() && !second.1.is_thrown() && !third.1.is_thrown());
        assert!(others.iter().all(|other| !other.1.is_thrown()), "another compute does not pay");
        drop(second);
        let fourth = admit(&admission, ONE);
        assert!(!third.1.is_thrown() && !fourth.1.is_thrown());
    }

    #[test]
    fn what_was_let_through_is_limited_by_compute_and_by_hub() {
        let admission = admission();
        let mut tickets: Vec<_> = [ONE, ONE, ONE, OTHER, OTHER].map(|source| admit(&admission, source).0).into();
        let results: Vec<_> = tickets.iter_mut().map(Ticket::establish).collect();
        assert_eq!(results, [Ok(()), Ok(()), Err(Full::Compute(2)), Ok(()), Err(Full::Hub(3))]);
        drop(tickets);
        assert!(admission.computes.borrow().is_empty());
        assert_eq!(admission.live.get(), 0);
    }
}
