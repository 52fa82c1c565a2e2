//! The access API, `Microsoft.Authorization`: who holds which role where, and why somebody may or may not.
//!
//! Role assignments, custom roles and deny assignments are resources like others; what is special is that each of their
//! changes raises the access epoch in the same transaction, so it holds from the next request on, and that they are
//! answered from the snapshot decisions are made with.

mod access_request;
mod asked;
mod check_access;
mod deny_assignment;
mod filter;
mod known_action;
mod permission;
mod role_assignment;
mod role_definition;
mod user;
mod why_access;

pub(crate) use self::filter::terms;
pub(crate) use self::role_assignment::{identity_administers_no_more, own_principal};

use bastide_access::guard::GuardError;
use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::paging::PageRequest;
use bastide_identity::{DirectoryObject, Principal};
use serde_json::Value;
use uuid::Uuid;

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, group_not_found};
use crate::list::{list_name, paged};
use crate::pass::Pass;
use crate::providers::resource_group;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// The scope that something hangs on, in its stored spelling. It must be there, and still be when the change commits.
    pub(crate) async fn standing_scope(
        &self,
        pass: &Pass,
        id: &ResourceId,
        entries: &mut Entries,
    ) -> Result<ResourceId, Failure> {
        let scope = id.parent().unwrap_or_else(ResourceId::tenant);
        if scope.is_tenant() {
            return Ok(scope);
        }
        let Some(entry) = self.ledger.surrounding(pass, &scope).await? else {
            let missing =
                if scope.is_resource_group() { group_not_found(&scope) } else { ArmError::resource_not_found(&scope) };
            return Err(missing.into());
        };
        if scope.is_resource_group() && resource_group::is_deleting(&entry.document.properties) {
            return Err(ArmError::resource_group_being_deleted(entry.id.name()).into());
        }
        entries.expect.push(entry.stands());
        Ok(entry.id)
    }

    /// Somebody in the directory with all groups; `None` for an id that nobody has.
    async fn principal_of(&self, object_id: Uuid) -> Result<Option<Principal>, Failure> {
        let directory = self.identity.directory();
        match directory.object(object_id).await? {
            Some(object) => Ok(Some(directory.principal(&object).await?)),
            None => Ok(None),
        }
    }

    /// Why somebody's roles let nobody in at present, if so.
    async fn hindrance(&self, object_id: Uuid) -> Result<Option<&'static str>, Failure> {
        Ok(match self.directory_object(object_id).await? {
            None => Some("Nobody has this object id, or no longer. Assignments to it stay, and let nobody in."),
            Some(object) if !object.standing().enabled => {
                Some("The account is disabled. Its assignments stay, and count again once it is enabled.")
            }
            Some(_) => None,
        })
    }

    async fn directory_object(&self, object_id: Uuid) -> Result<Option<DirectoryObject>, Failure> {
        Ok(self.identity.directory().object(object_id).await?)
    }
}

/// One page of a list that is at hand, in order of key.
pub(crate) fn page_of<T>(
    request: &Request<'_>,
    mut items: Vec<(String, T)>,
    answer: impl Fn(&T) -> Value,
) -> Result<Reply, Failure> {
    let pairs = request.context.query();
    let parameters = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let asked = PageRequest::from_query(parameters, &list_name(request))?;
    items.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let first = asked.after.map_or(0, |after| items.partition_point(|(key, _)| *key <= after));
    let size = asked.top.map_or(PAGE, |top| top as usize);
    let page = items.iter().skip(first).take(size);
    let rest_after = if items.len() > first.saturating_add(size) { page.clone().last() } else { None };
    let values = page.clone().map(|(_, item)| answer(item)).collect();
    Ok(paged(request, values, rest_after.map(|(key, _)| key.as_str())))
}

/// A name that must be a GUID.
fn guid(text: &str, what: &str) -> Result<Uuid, ArmError> {
    // One spelling, with dashes: a name in another would be another key.
    Uuid::try_parse(text).ok().filter(|id| id.to_string().eq_ignore_ascii_case(text)).ok_or_else(|| {
        let message = format!("The {what} ID '{text}' is not valid. The {what} ID must be a GUID.");
        ArmError::new(400, format!("Invalid{}Id", what.split(' ').map(capitalised).collect::<String>()), message)
    })
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

/// Whether a scope is another one or lies below it, in any case; both without a trailing slash, but for `/` itself.
fn covers(ancestor: &str, scope: &str) -> bool {
    let (ancestor, scope) = (ancestor.trim_end_matches('/'), scope.trim_end_matches('/'));
    scope.get(..ancestor.len()).is_some_and(|head| head.eq_ignore_ascii_case(ancestor))
        && matches!(scope.as_bytes().get(ancestor.len()), None | Some(b'/'))
}

fn guarded(error: &GuardError) -> ArmError {
    let (status, code) = error.code();
    ArmError::new(status, code, error.to_string())
}

/// Items on a page when the client does not say.
const PAGE: usize = 1000;
