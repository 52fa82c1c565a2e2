//! POST actions.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{Author, Document, Effect, Existing, Linked, Observed, Secret};
use crate::api_version::ApiVersion;
use crate::id::ResourceId;

/// A POST action on a resource.
pub struct ActionCall<'a> {
    /// The resource's id in canonical spelling.
    pub id: &'a ResourceId,
    /// The action in canonical spelling.
    pub action: &'a str,
    /// What the path says after the action ([`ResourceType::takes_argument`](super::ResourceType::takes_argument)).
    pub argument: Option<&'a str>,
    /// The resource.
    pub existing: Existing<'a>,
    /// The body, `{}` when there was none.
    pub body: &'a Value,
    /// The resource's secrets by field.
    pub secrets: &'a BTreeMap<String, Secret>,
    /// The resources this one links to ([`Surroundings::linked`](super::Surroundings::linked)), by lower-cased id.
    pub linked: &'a BTreeMap<String, Linked>,
    /// Their secrets by field, by lower-cased id; only for actions that are [`Action::secret`](super::Action::secret).
    pub linked_secrets: &'a BTreeMap<String, BTreeMap<String, Secret>>,
    /// What was last seen of it outside the database, if anything enforces it.
    pub observed: Option<&'a Observed>,
    /// The version the client speaks.
    pub api_version: &'a ApiVersion,
    /// The origin to build URLs with.
    pub origin: &'a str,
    /// The tenant.
    pub tenant_id: Uuid,
    /// Who asks.
    pub author: &'a Author,
    /// The time of the call.
    pub now: Timestamp,
    /// Makes random secrets; injected so that actions stay pure.
    pub fresh_secret: &'a dyn Fn() -> Secret,
}

/// The outcome of an action.
#[derive(Debug, Default)]
pub struct Acted {
    /// The body of the answer; none is 200 without a body.
    pub answer: Option<Value>,
    /// The document that takes the place of the one there is.
    pub document: Option<Document>,
    /// What to commit.
    pub effects: Vec<Effect>,
    /// It goes on after the answer, which is 202 with an operation to follow.
    pub accepted: bool,
}
