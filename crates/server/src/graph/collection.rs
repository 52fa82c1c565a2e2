//! Lists with `$filter`, `$top` and `@odata.nextLink`.

use bastide_arm::paging::{PageRequest, Skiptoken, next_link};
use bastide_identity::{Directory, IdentityError};
use serde_json::Value;
use uuid::Uuid;

use super::call::{Answer, Call};
use super::error::GraphError;
use super::filter::Filter;

/// A collection that can be listed.
pub(super) trait Collection {
    type Item;

    /// Its name in `@odata.context`.
    const NAME: &'static str;

    /// The items behind `after`, by object id.
    async fn page(directory: &Directory, after: Option<Uuid>, limit: u32) -> Result<Vec<Self::Item>, IdentityError>;

    /// The only items that can satisfy the filter, when an index finds them.
    async fn indexed(directory: &Directory, filter: &Filter) -> Result<Option<Vec<Self::Item>>, IdentityError>;

    /// Whether the item belongs to the collection at all.
    fn includes(_item: &Self::Item) -> bool {
        true
    }

    /// The item's object id.
    fn object_id(item: &Self::Item) -> Uuid;

    /// What filters look at.
    fn outline(call: &Call, item: &Self::Item) -> Value;

    /// What the caller sees.
    async fn shown(call: &Call, item: &Self::Item) -> Result<Value, GraphError>;
}

/// Answers a page of a collection.
pub(super) async fn list<C: Collection>(call: &Call) -> Result<Answer, GraphError> {
    if call.parameter("$search").is_some() {
        return Err(GraphError::bad_request("$search is not supported; use $filter with startswith."));
    }
    let filter = call.parameter("$filter").map(Filter::parse).transpose()?;
    if let Some(filter) = &filter
        && let Some(items) = C::indexed(call.directory(), filter).await?
    {
        let mut found = Vec::new();
        for item in items.iter().filter(|item| C::includes(item) && filter.admits(&C::outline(call, item))) {
            found.push(C::shown(call, item).await?);
        }
        return Ok(call.collection(C::NAME, found, None));
    }
    scan::<C>(call, filter.as_ref()).await
}

async fn scan<C: Collection>(call: &Call, filter: Option<&Filter>) -> Result<Answer, GraphError> {
    let list_name = format!("{}?{}", C::NAME, call.parameter("$filter").unwrap_or_default());
    let query = || call.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let page =
        PageRequest::from_query(query(), &list_name).map_err(|error| GraphError::bad_request(error.message.clone()))?;
    let top = usize::try_from(page.top.unwrap_or(DEFAULT_TOP)).unwrap_or(usize::MAX);
    let mut after = page.after.as_deref().and_then(|key| Uuid::try_parse(key).ok());
    let mut found = Vec::new();
    let next_page = |after: Option<Uuid>| {
        let token = after.map(|id| Skiptoken::after(id.to_string()).encode(&list_name)).unwrap_or_default();
        next_link(call.origin.as_str(), &call.raw_path, query(), &token)
    };
    for _ in 0..MOST_SCANS {
        let items = C::page(call.directory(), after, SCAN).await?;
        let is_last = items.len() < SCAN as usize;
        for item in items {
            if found.len() == top {
                return Ok(call.collection(C::NAME, found, Some(next_page(after))));
            }
            after = Some(C::object_id(&item));
            if C::includes(&item) && filter.is_none_or(|filter| filter.admits(&C::outline(call, &item))) {
                found.push(C::shown(call, &item).await?);
            }
        }
        if is_last {
            return Ok(call.collection(C::NAME, found, None));
        }
    }
    // A page may be short, even empty, and have a next one all the same.
    Ok(call.collection(C::NAME, found, Some(next_page(after))))
}

/// Graph's own default.
const DEFAULT_TOP: u32 = 100;
/// Objects read at a time.
const SCAN: u32 = 500;
/// How often, for one answer: a filter that nothing satisfies must not cost a reading of the whole directory.
const MOST_SCANS: u32 = 4;
