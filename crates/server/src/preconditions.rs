//! `If-Match` and `If-None-Match` (arm-models.md 1.4).

use bastide_arm::error::ArmError;
use http::{HeaderMap, Method, header};

use crate::ledger::Entry;
use crate::request::Request;

/// Refuses a request whose conditions do not hold for what stands.
pub(crate) fn check_preconditions(request: &Request<'_>, existing: Option<&Entry>) -> Result<(), ArmError> {
    let id = &request.matched.target;
    let etag = existing.map(|entry| entry.row.etag.as_str());
    let is_delete = request.context.method == Method::DELETE;
    if let Some(wanted) = tag_list(request.headers, &header::IF_MATCH) {
        let holds = match etag {
            Some(etag) => wanted.iter().any(|tag| tag == "*" || tag == etag),
            None => is_delete,
        };
        if !holds {
            return Err(ArmError::precondition_failed(id));
        }
    }
    if let (Some(unwanted), Some(etag)) = (tag_list(request.headers, &header::IF_NONE_MATCH), etag)
        && unwanted.iter().any(|tag| tag == "*" || tag == etag)
    {
        return Err(ArmError::precondition_failed(id));
    }
    Ok(())
}

fn tag_list(headers: &HeaderMap, name: &header::HeaderName) -> Option<Vec<String>> {
    let text = headers.get(name)?.to_str().ok()?;
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    Some(text.split(',').map(bare).filter(|tag| !tag.is_empty()).collect())
}
