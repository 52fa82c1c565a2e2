//! What stands outside of hubs and decides what their rules mean: the targets of private endpoints, the packs of service tags.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bastide_arm::resource_type::Linked;
use bastide_hub::plan::{Outside, Wanted};
use bastide_hub::service_tag::TagBook;
use bastide_store::Store;
use jiff::Timestamp;

use crate::failure::Failure;
use crate::ledger::Entry;
use crate::service_tags;

/// Looks at the outside for the planner. Packs are large and change once a week, so what they come to is kept.
#[derive(Debug, Default)]
pub(super) struct Lookout {
    /// By subscription: the revision of its packs, and what they come to.
    books: Mutex<BTreeMap<String, (i64, Arc<TagBook>)>>,
}

impl Lookout {
    /// What the rules of a hub lead to, at this moment.
    pub(super) async fn outside(&self, store: &Store, hub: &Linked, rules: &[Linked]) -> Result<Outside, Failure> {
        let wanted = Wanted::by(rules);
        let mut outside = Outside::default();
        for id in &wanted.targets {
            if let Some(row) = store.resource(id.key()).await? {
                outside.targets.insert(id.key().to_owned(), Entry::read(row)?.linked());
            }
        }
        if let Some(subscription) = hub.id.subscription_id().filter(|_| wanted.tags) {
            outside.tags = self.book(store, subscription).await?;
        }
        Ok(outside)
    }

    async fn book(&self, store: &Store, subscription: &str) -> Result<Arc<TagBook>, Failure> {
        let subscription = subscription.to_ascii_lowercase();
        let now = Timestamp::now();
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
