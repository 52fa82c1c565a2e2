//! What stands outside of hubs and decides what their rules mean: the targets of private endpoints and whether they let them
//! in, the packs of service tags.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bastide_arm::clock::Clock;
use bastide_arm::resource_type::Linked;
use bastide_hub::plan::{Outside, Wanted};
use bastide_hub::service_tag::TagBook;
use bastide_plan::RuleName;
use bastide_store::Store;
use jiff::Timestamp;

use crate::failure::Failure;
use crate::ledger::Entry;
use crate::private_endpoints::Approvals;
use crate::service_tags;

/// Looks at the outside for the planner, and for who wants to know what another set of rules would mean. Packs are large and
/// change once a week, so what they come to is kept.
#[derive(Clone)]
pub(crate) struct Lookout {
    approvals: Approvals,
    /// By subscription: the revision of its packs, and what they come to.
    books: Arc<Mutex<Books>>,
    /// When the next thing of each hub ends.
    ends: Arc<Mutex<BTreeMap<String, Timestamp>>>,
    clock: Arc<dyn Clock>,
}

type Books = BTreeMap<String, (i64, Arc<TagBook>)>;

impl Lookout {
    /// A lookout that knows rights as the gatekeeper does.
    pub(crate) fn new(approvals: Approvals, clock: Arc<dyn Clock>) -> Self {
        Self { approvals, books: Arc::default(), ends: Arc::default(), clock }
    }

    /// What the rules of a hub lead to, at this moment. When the next of them ends is remembered.
    pub(super) async fn outside(&self, hub: &Linked, rules: &[Linked]) -> Result<Outside, Failure> {
        let now = self.clock.now();
        let wanted = Wanted::by(hub, rules, now);
        self.remember_end(hub, wanted.ends.iter().filter(|end| **end > now).min().copied());
        self.look(hub, &wanted, now).await
    }

    /// What rules that nobody has made would lead to.
    pub(super) async fn outside_of_proposal(&self, hub: &Linked, rules: &[Linked]) -> Result<Outside, Failure> {
        let now = self.clock.now();
        self.look(hub, &Wanted::by(hub, rules, now), now).await
    }

    async fn look(&self, hub: &Linked, wanted: &Wanted<'_>, now: Timestamp) -> Result<Outside, Failure> {
        let store = &self.approvals.store;
        let mut outside = Outside { now: Some(now), ..Outside::default() };
        for (rule, endpoint) in &wanted.endpoints {
            let id = endpoint.destination.resource();
            if !outside.targets.contains_key(id.key())
                && let Some(row) = store.resource(id.key()).await?
            {
                outside.targets.insert(id.key().to_owned(), Entry::read(row)?.linked());
            }
            let there = outside.targets.get(id.key()).map(|target| target.incarnation);
            let standing = self.approvals.standing(hub, rule, endpoint, there, now).await?;
            if let Some(reason) = standing.why_not() {
                outside.refused.insert(RuleName(rule.id.name().to_owned()), reason);
            }
        }
        if let Some(subscription) = hub.id.subscription_id().filter(|_| wanted.tags) {
            outside.tags = self.book(store, subscription, now).await?;
        }
        Ok(outside)
    }

    /// The hubs in which something has ended since they were last looked at.
    pub(super) fn due(&self) -> Vec<String> {
        let now = self.clock.now();
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let due: Vec<String> = ends.iter().filter(|(_, end)| **end <= now).map(|(hub, _)| hub.clone()).collect();
        for hub in &due {
            ends.remove(hub);
        }
        due
    }

    fn remember_end(&self, hub: &Linked, next: Option<Timestamp>) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        match next {
            Some(next) => drop(ends.insert(hub.id.key().to_owned(), next)),
            None => drop(ends.remove(hub.id.key())),
        }
    }

    async fn book(&self, store: &Store, subscription: &str, now: Timestamp) -> Result<Arc<TagBook>, Failure> {
        let subscription = subscription.to_ascii_lowercase();
        let revision = service_tags::revision(store, &subscription, now).await?;
        let kept = self.books.lock().unwrap_or_else(PoisonError::into_inner).get(&subscription).cloned();
        if let Some((_, book)) = kept.filter(|(of, _)| *of == revision) {
            return Ok(book);
        }
        let packs = service_tags::packs(store, &subscription, now).await?;
        let book = Arc::new(TagBook::new(packs.into_iter().map(|kept| (kept.name, kept.pack))));
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.insert(subscription, (revision, Arc::clone(&book)));
        Ok(book)
    }
}

impl fmt::Debug for Lookout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lookout").finish_non_exhaustive()
    }
}
