//! Everything the front door can be asked, one row each: method, path, the action it takes, the operation that answers.
//!
//! A row cannot be written without saying which action it takes, and [`crate::front::Front::answer`] authorises that
//! action before the operation runs.

mod binding;
mod operation;
mod table;
#[cfg(test)]
mod tests;

pub use operation::Operation;
pub use table::ROUTES;

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::path::PathSegments;
use http::Method;

use binding::{bind, takes};

/// One row of the table.
#[derive(Debug)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path: literal segments in lower case, `{name}` for one segment, `{scope}` for any resource id, `{level}` for
    /// the tenant, a subscription or a group, `{deployment}` for the name of a deployment there, and the generic forms
    /// `{resource}`, `{collection}`, `{resource}/{action}` and `{resource}/{action}/{argument}`.
    pub path: &'static str,
    /// What the caller must be allowed to do.
    pub action: Action,
    /// What answers.
    pub operation: Operation,
}

/// What a route's caller must be allowed to do on the route's target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing beyond being signed in; the operation shows only what the caller may read.
    SignedIn,
    /// This action on the target.
    Fixed(&'static str),
    /// This action on the target, which the caller may have for some roles and principals only: the operation authorises
    /// again with what the body asks for.
    Delegated(&'static str),
    /// This action, on what is the caller's own or what the operation itself sees to: it takes no role.
    Own(&'static str),
    /// `{type}/read` on the target.
    Read,
    /// `{type}/write` on the target.
    Write,
    /// `{type}/delete` on the target.
    Delete,
    /// `{type}/{action}/action` on the target.
    Invoke,
    /// Reading what the operation named in the path worked on; the operation looks it up.
    ReadOfOperation,
}

/// A request's path after the table has read it.
#[derive(Debug)]
pub struct Matched {
    /// The row.
    pub route: &'static Route,
    /// What the action is taken on: a resource, or the scope of a list.
    pub target: ResourceId,
    /// The type in question, `Namespace/type[/child]`, as the client spelled it; for the generic forms.
    pub type_name: Option<String>,
    /// The POST action, as the client spelled it.
    pub action_name: Option<String>,
    /// Values of the other `{name}` segments, in order.
    pub values: Vec<String>,
}

/// Finds the row for a request: 404 when no row has the path, 405 when none of those that have it takes the method.
pub fn find(method: &Method, path: &PathSegments) -> Result<Matched, ArmError> {
    let lower = path.lower();
    let mut allowed: Vec<&str> = Vec::new();
    let mut generic_allowed: Vec<&str> = Vec::new();
    for route in ROUTES {
        let is_generic = matches!(route.path, RESOURCE | COLLECTION | INVOCATION | INVOCATION_ABOUT);
        // A path of its own hides the generic forms: DELETE on a tag name must not delete a resource.
        if is_generic && !allowed.is_empty() {
            break;
        }
        if is_generic && route.method != *method {
            if takes(route, path) {
                generic_allowed.push(route.method.as_str());
            }
            continue;
        }
        let Some(bound) = bind(route, path, &lower) else { continue };
        if route.method == *method {
            return bound;
        }
        allowed.push(route.method.as_str());
    }
    allowed.extend(generic_allowed);
    allowed.dedup();
    if allowed.is_empty() {
        let message = format!(
            "Nothing answers at '/{}'. Check the path against the provider's list of operations.",
            path.as_slice().join("/")
        );
        return Err(ArmError::not_found(message));
    }
    Err(ArmError::method_not_allowed(method.as_str(), &allowed))
}

impl Matched {
    /// The action the caller needs on the target, in the provider's canonical spelling; none for the two kinds of route
    /// whose operation decides what to show.
    pub fn required_action(&self, canonical_type: Option<&str>) -> Option<String> {
        let type_name = canonical_type.or(self.type_name.as_deref()).unwrap_or_default();
        match self.route.action {
            Action::SignedIn | Action::ReadOfOperation => None,
            Action::Fixed(action) | Action::Delegated(action) | Action::Own(action) => Some(action.to_owned()),
            Action::Read => Some(format!("{type_name}/read")),
            Action::Write => Some(format!("{type_name}/write")),
            Action::Delete => Some(format!("{type_name}/delete")),
            Action::Invoke => Some(format!("{type_name}/{}/action", self.action_name.as_deref().unwrap_or_default())),
        }
    }

    /// The n-th `{name}` value.
    pub fn value(&self, index: usize) -> &str {
        self.values.get(index).map_or("", String::as_str)
    }
}

const MEBIBYTE: usize = 1024 * 1024;

const NAME: &str = "{name}";
const RESOURCE: &str = "{resource}";
const COLLECTION: &str = "{collection}";
const INVOCATION: &str = "{resource}/{action}";
const INVOCATION_ABOUT: &str = "{resource}/{action}/{argument}";
