//! What the decision about a deletion looks at, and how a deletion can be taken back.

use super::{Existing, Linked, Placement};
use crate::id::ResourceId;

/// What a deletion may look at.
pub struct Dismissal<'a> {
    /// The resource's id.
    pub id: &'a ResourceId,
    /// The resource.
    pub existing: Existing<'a>,
    /// The resources that link to it ([`Surroundings::referrers`](super::Surroundings::referrers)).
    pub referrers: &'a [Linked],
    /// The pairs of the request's query; none when it goes with something else.
    pub query: &'a [(String, String)],
}

/// What goes with a deleted resource, beside what is below it.
#[derive(Debug, Default)]
pub struct Dismissed {
    /// Other resources that are deleted in the same transaction; the caller needs the right to delete each.
    pub also: Vec<ResourceId>,
}

/// How the deletions of a type can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoftDelete {
    /// What people call a resource of the type, `vault`.
    pub noun: &'static str,
    /// Type of what a deletion leaves, in canonical spelling: `Microsoft.KeyVault/deletedVaults`.
    pub leaves: &'static str,
    /// Where that stands: in the resource group, with which it goes for good, or in the subscription, where it outlives the
    /// group.
    pub placement: Placement,
    /// Property of a PUT that asks for the deleted resource, and the value that does.
    pub recovered_by: (&'static str, &'static str),
    /// Whether the rest of such a PUT is applied to what has come back. Otherwise it comes back as it was, and there must
    /// be one.
    pub recovery_changes: bool,
    /// Query parameter of a DELETE that wants it gone for good, for types that let whoever deletes decide that.
    pub forced_by: Option<&'static str>,
}
