//! How much one compute may ask.
//!
//! Names are a way out for data: what is asked below a wildcard reaches the servers of that domain, letter by letter. A
//! compute therefore gets new names below one rule at a bounded rate (egress.md row 13), and everything else at rates that
//! no honest client notices and that keep one compute from taking the resolver from the others.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bastide_inspect::Name;
use bastide_plan::hub_plan::NameRule;
use thiserror::Error;

/// A bucket that fills steadily and lets one through for each token.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// How fast a bucket fills and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Tokens a second.
    pub a_second: f64,
    /// Tokens at most, and at first.
    pub burst: f64,
}

/// All budgets of a hub.
#[derive(Debug, Default)]
pub struct Budgets {
    spent: Mutex<Spent>,
}

#[derive(Debug, Default)]
struct Spent {
    legs: HashMap<Ipv4Addr, Leg>,
    /// Names below wildcards that exist and were asked for before, by the name above them: to ask for them again tells
    /// nothing new.
    known: HashMap<Name, HashSet<Name>>,
}

#[derive(Debug, Default)]
struct Leg {
    questions: Option<Bucket>,
    asked: Option<Bucket>,
    in_flight: usize,
    /// New names, by the wildcard's name that they are below.
    new_names: HashMap<Name, Option<Bucket>>,
}

/// The right to ask the host's resolver one thing; given back when dropped.
#[derive(Debug)]
pub struct Turn {
    budgets: Arc<Budgets>,
    leg: Ipv4Addr,
}

/// Why something may not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Overrun {
    /// More new names below a wildcard than [`NEW_NAMES`].
    #[error("too many new names below one wildcard; wait, or add FQDN rules for the names themselves")]
    Wildcard,
    /// A name that is longer below its wildcard than [`LONGEST_BELOW`] or [`DEEPEST_BELOW`].
    #[error("longer than the names of hosts below a wildcard are; add an FQDN rule for the name itself")]
    TooLong,
    /// More questions than [`ASKED`] or [`IN_FLIGHT`].
    #[error("the compute asks for too many names at once; ask again in a second")]
    Asked,
}

impl Budgets {
    /// Whether a compute may put one more question.
    pub fn question(&self, leg: Ipv4Addr, now: Instant) -> bool {
        Bucket::take(&mut self.spent().legs.entry(leg).or_default().questions, QUESTIONS, now)
    }

    /// Whether a compute may have the host's resolver asked for a name that `rule` approves.
    pub fn ask(
        self: &Arc<Self>,
        leg: Ipv4Addr,
        name: &Name,
        rule: Option<&NameRule>,
        now: Instant,
    ) -> Result<Turn, Overrun> {
        let mut spent = self.spent();
        let Spent { legs, known } = &mut *spent;
        let budget = legs.entry(leg).or_default();
        if let Some(rule) = rule.filter(|rule| rule.pattern.is_wildcard()) {
            if is_long_below(name, rule.pattern.name()) {
                return Err(Overrun::TooLong);
            }
            let is_known = known.get(rule.pattern.name()).is_some_and(|known| known.contains(name));
            let bucket = budget.new_names.entry(rule.pattern.name().clone()).or_default();
            if !is_known && !Bucket::take(bucket, NEW_NAMES, now) {
                return Err(Overrun::Wildcard);
            }
        }
        if budget.in_flight >= IN_FLIGHT || !Bucket::take(&mut budget.asked, ASKED, now) {
            return Err(Overrun::Asked);
        }
        budget.in_flight += 1;
        Ok(Turn { budgets: Arc::clone(self), leg })
    }

    /// Notes that a name below a wildcard exists, so that it is not new any more.
    pub fn know(&self, name: &Name, rule: &NameRule) {
        if !rule.pattern.is_wildcard() {
            return;
        }
        let mut spent = self.spent();
        let known = spent.known.entry(rule.pattern.name().clone()).or_default();
        // To forget them all costs honest computes a token each.
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(name.clone());
    }

    /// Forgets wildcards and legs that are gone.
    pub fn retain(&self, keeps_leg: impl Fn(Ipv4Addr) -> bool, keeps_wildcard: impl Fn(&Name) -> bool) {
        let mut spent = self.spent();
        spent.known.retain(|apex, _| keeps_wildcard(apex));
        spent.legs.retain(|leg, budget| budget.in_flight > 0 || keeps_leg(*leg));
        for budget in spent.legs.values_mut() {
            budget.new_names.retain(|apex, _| keeps_wildcard(apex));
        }
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(budget) = self.budgets.spent().legs.get_mut(&self.leg) {
            budget.in_flight = budget.in_flight.saturating_sub(1);
        }
    }
}

impl Bucket {
    fn take(bucket: &mut Option<Self>, rate: Rate, now: Instant) -> bool {
        let bucket = bucket.get_or_insert(Self { tokens: rate.burst, at: now });
        let passed = now.saturating_duration_since(bucket.at);
        bucket.tokens = passed.as_secs_f64().mul_add(rate.a_second, bucket.tokens).min(rate.burst);
        bucket.at = bucket.at.max(now);
        let has_one = bucket.tokens >= 1.0;
        if has_one {
            bucket.tokens -= 1.0;
        }
        has_one
    }
}

/// Whether a name says more below `apex` than the names of hosts do.
fn is_long_below(name: &Name, apex: &Name) -> bool {
    let below = name.as_str().len().saturating_sub(apex.as_str().len() + 1);
    below > LONGEST_BELOW || name.labels().count().saturating_sub(apex.labels().count()) > DEEPEST_BELOW
}

/// New names below one wildcard: a page or an installer touches dozens at once, then hardly any. With [`LONGEST_BELOW`]
/// this bounds what can be said through names to about 20 bytes a second.
pub const NEW_NAMES: Rate = Rate { a_second: 0.2, burst: 120.0 };

/// Bytes below a wildcard's apex: hosts of clouds put a label of 63 and a region there.
pub const LONGEST_BELOW: usize = 100;

/// Labels below a wildcard's apex.
pub const DEEPEST_BELOW: usize = 5;

/// Questions of one compute, answered from memory or not.
pub const QUESTIONS: Rate = Rate { a_second: 2000.0, burst: 4000.0 };

/// Questions of one compute that the host's resolver must answer.
pub const ASKED: Rate = Rate { a_second: 100.0, burst: 400.0 };

/// Such questions of one compute under way at once: less than there are sockets, so that a compute that asks for names
/// whose servers are slow does not hold up the others.
pub const IN_FLIGHT: usize = 16;

/// Names remembered below one wildcard.
const KNOWN: usize = 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bastide_plan::RuleName;

    use super::*;

    /// After so long every bucket is full again.
    const LONG: Duration = Duration::from_hours(1);
    const LEG: Ipv4Addr = Ipv4Addr::new(100, 127, 0, 2);
    const OTHER: Ipv4Addr = Ipv4Addr::new(100, 127, 0, 3);

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn rule(pattern: &str) -> NameRule {
        NameRule { rule: RuleName("r".into()), pattern: pattern.parse().unwrap(), ports: vec![443] }
    }

    /// How many of `names` may be asked one after the other at one moment.
    fn asked(budgets: &Arc<Budgets>, leg: Ipv4Addr, rule: &NameRule, names: u32, now: Instant) -> u32 {
        let mut count = 0;
        for number in 0..names {
            let name = name(&format!("n{number}-{names}.example.org"));
            count += u32::from(budgets.ask(leg, &name, Some(rule), now).is_ok());
        }
        count
    }

    #[test]
    fn new_names_below_a_wildcard_are_bounded_for_each_compute() {
        let (budgets, now, wild) = (Arc::new(Budgets::default()), Instant::now(), rule("*.example.org"));
        assert_eq!(asked(&budgets, LEG, &wild, 300, now), 120);
        assert_eq!(asked(&budgets, OTHER, &wild, 10, now), 10, "another compute has a budget of its own");
        assert_eq!(asked(&budgets, LEG, &wild, 301, now + Duration::from_mins(1)), 12);
        assert_eq!(asked(&budgets, LEG, &wild, 302, now + LONG), 120);
    }

    #[test]
    fn a_name_that_exists_is_new_only_once() {
        let (budgets, now, wild) = (Arc::new(Budgets::default()), Instant::now(), rule("*.example.org"));
        let known = name("www.example.org");
        budgets.know(&known, &wild);
        assert_eq!(asked(&budgets, LEG, &wild, 300, now), 120);
        assert!(budgets.ask(LEG, &known, Some(&wild), now).is_ok());
        budgets.retain(|_| true, |_| false);
        assert_eq!(asked(&budgets, LEG, &wild, 5, now), 5, "a rule made anew begins anew");
    }

    #[test]
    fn no_host_is_called_that_long() {
        let (budgets, now, wild) = (Arc::new(Budgets::default()), Instant::now(), rule("*.example.org"));
        let part = "a".repeat(50);
        for (text, is_long) in [
            (format!("{part}.{part}.example.org"), true),
            (format!("{part}.{}.example.org", &part[1..]), false),
            ("f.e.d.c.b.a.example.org".into(), true),
            ("e.d.c.b.a.example.org".into(), false),
        ] {
            let overrun = budgets.ask(LEG, &name(&text), Some(&wild), now).err();
            assert_eq!(overrun, is_long.then_some(Overrun::TooLong), "{text}");
        }
        assert!(
            budgets.ask(LEG, &name("f.e.d.c.b.a.example.org"), Some(&rule("f.e.d.c.b.a.example.org")), now).is_ok()
        );
    }

    #[test]
    fn one_compute_holds_only_so_many_questions_open() {
        let (budgets, now) = (Arc::new(Budgets::default()), Instant::now());
        let ask = |leg| budgets.ask(leg, &name("a.org"), None, now);
        let turns: Vec<_> = (0..IN_FLIGHT).map(|_| ask(LEG).unwrap()).collect();
        assert_eq!(ask(LEG).err(), Some(Overrun::Asked));
        assert!(ask(OTHER).is_ok());
        drop(turns);
        assert!(ask(LEG).is_ok());
    }

    #[test]
    fn questions_and_asking_have_rates_and_clocks_may_jump_back() {
        let (budgets, now) = (Arc::new(Budgets::default()), Instant::now() + LONG);
        assert_eq!((0..9000).filter(|_| budgets.question(LEG, now)).count(), 4000);
        assert!(!budgets.question(LEG, now.checked_sub(LONG).unwrap()));
        assert!(budgets.question(LEG, now + Duration::from_secs(1)));
        let asked = (0..900).filter(|_| budgets.ask(LEG, &name("a.org"), None, now).is_ok()).count();
        assert_eq!(asked, 400);
    }
}
