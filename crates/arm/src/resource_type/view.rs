//! What an answer is made from.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{Document, Linked};
use crate::api_version::ApiVersion;
use crate::error::ArmError;
use crate::id::ResourceId;

/// What an answer is made from.
pub struct View<'a> {
    /// The resource's id in canonical spelling.
    pub id: &'a ResourceId,
    /// Its incarnation.
    pub incarnation: Uuid,
    /// What is stored of it.
    pub document: &'a Document,
    /// Child resources that are parts of this one ([`Surroundings::parts`](super::Surroundings::parts)), in order of name.
    pub parts: &'a [Linked],
    /// The resources that link to this one ([`Surroundings::referrers`](super::Surroundings::referrers)).
    pub referrers: &'a [Linked],
    /// The resources this one links to ([`Surroundings::linked`](super::Surroundings::linked)), by lower-cased id.
    pub linked: &'a BTreeMap<String, Linked>,
    /// What was last seen of it outside the database, if anything enforces it.
    pub observed: Option<&'a Observed>,
    /// The version the client speaks.
    pub api_version: &'a ApiVersion,
    /// The origin to build URLs with, `https://host:port`.
    pub origin: &'a str,
    /// The DNS suffix of the services with the port, `bastide.localhost:8443`.
    pub zone: &'a str,
    /// The tenant.
    pub tenant_id: Uuid,
    /// When it is looked at.
    pub now: Timestamp,
}

/// What was last seen of a resource outside the database: whether the kernel does what it asks for. Words such as `Active`
/// come from here and from nowhere else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// What enforces it: `kernel`, `simulated` or `none`.
    pub by: &'static str,
    /// Why it is not in force, a sentence; none: it is.
    pub why_not: Option<String>,
    /// What the node reported of it, in the words of the plan's documents.
    pub detail: Value,
    /// Its parts, by lower-cased name.
    pub parts: BTreeMap<String, Arc<Observed>>,
}

/// How far something has come that goes on after it was answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// It goes on.
    Running,
    /// It is as asked for.
    Done,
    /// It will not become so by itself.
    Failed(ArmError),
}

impl Observed {
    /// Something without parts, in force unless there is a reason why not.
    pub fn new(by: &'static str, why_not: Option<String>) -> Self {
        Self { by, why_not, detail: Value::Null, parts: BTreeMap::new() }
    }

    /// Whether it is in force.
    pub fn is_in_force(&self) -> bool {
        self.why_not.is_none()
    }
}
