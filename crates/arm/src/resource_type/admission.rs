//! What the decision about a write looks at, and what comes out of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Document, Effect, Existing, Linked, Principal, Secret};
use crate::api_version::ApiVersion;
use crate::id::ResourceId;

/// Everything an admission may look at.
pub struct Admission<'a> {
    /// The resource's id in canonical spelling.
    pub id: &'a ResourceId,
    /// The resource as it stands, if it does.
    pub existing: Option<Existing<'a>>,
    /// The document asked for. For a PATCH the patch is already merged in.
    pub document: Document,
    /// The `properties` of the body as they came: what it says, and about what it is silent.
    pub asked: &'a Map<String, Value>,
    /// Secrets of the resource by field ([`Surroundings::secrets`](super::Surroundings::secrets)).
    pub secrets: &'a BTreeMap<String, Secret>,
    /// Linked resources that exist, by lower-cased id.
    pub linked: &'a BTreeMap<String, Linked>,
    /// The parent resource of a child type.
    pub parent: Option<&'a Linked>,
    /// Child resources that are parts of this one ([`Surroundings::parts`](super::Surroundings::parts)).
    pub parts: &'a [Linked],
    /// The resources that link to this one ([`Surroundings::referrers`](super::Surroundings::referrers)).
    pub referrers: &'a [Linked],
    /// The version the client speaks.
    pub api_version: &'a ApiVersion,
    /// The DNS suffix of the services, `bastide.localhost`.
    pub zone: &'a str,
    /// Whether to refuse what the cloud refuses.
    pub parity: Parity,
    /// The tenant.
    pub tenant_id: Uuid,
    /// Who asks.
    pub author: &'a Author,
    /// The time of the change.
    pub now: Timestamp,
    /// Makes object ids; injected so that admission stays a pure function.
    pub fresh_id: &'a dyn Fn() -> Uuid,
    /// Makes random secrets; injected likewise.
    pub fresh_secret: &'a dyn Fn() -> Secret,
}

/// A resource that a document points at.
#[derive(Debug, Clone)]
pub struct Link {
    /// The resource pointed at.
    pub id: ResourceId,
    /// The action the caller needs on it, such as `Microsoft.MachineLearningServices/workspaces/hubs/join/action`.
    pub action: String,
    /// The place in the body, for error targets: `properties.hubResourceId`.
    pub target: String,
    /// Whether it must exist.
    pub required: bool,
    /// Whether it may be in a subscription that Bastide does not know; then there is nobody to ask about it.
    pub foreign: bool,
}

/// Who asks for something.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Author {
    /// Object id in the directory.
    pub object_id: Uuid,
    /// The name people read.
    pub name: String,
}

/// How much of the cloud's behaviour is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parity {
    /// Lifts the limits that mission.md marks LIFT or K+.
    #[default]
    Native,
    /// Refuses what the cloud refuses.
    Strict,
}

/// The outcome of an admission.
#[derive(Debug, Clone, Default)]
pub struct Admitted {
    /// What is stored.
    pub document: Document,
    /// Children written or deleted in the same transaction.
    pub parts: Vec<PartChange>,
    /// What else is committed in the same transaction.
    pub effects: Vec<Effect>,
    /// Warnings for the caller (`x-ms-bastide-warning`), each a sentence.
    pub warnings: Vec<String>,
}

/// A new resource as its body asks for it, before anything is linked or admitted.
pub struct Making<'a> {
    /// Its id.
    pub id: &'a ResourceId,
    /// What the body says.
    pub document: &'a Document,
    /// Whether to refuse what the cloud refuses.
    pub parity: Parity,
    /// Makes the random part of names.
    pub fresh_id: &'a dyn Fn() -> Uuid,
}

/// A resource that is made with another one.
#[derive(Debug, Clone, PartialEq)]
pub struct Companion {
    /// The property of the other one that names it.
    pub property: &'static str,
    /// Its id.
    pub id: ResourceId,
    /// The body it is made from.
    pub body: Value,
}

/// A right that an identity must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Id of the identity, for people.
    pub identity: String,
    /// The identity.
    pub principal: Principal,
    /// What it must be allowed to do.
    pub action: &'static str,
    /// Name of a role that allows it.
    pub role: &'static str,
    /// On what.
    pub scope: ResourceId,
    /// The place in the body that asks for it.
    pub target: String,
}

/// What a resource takes of the host that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// Family of the machine size, `standardDSv2Family`.
    pub family: &'static str,
    /// Machines.
    pub machines: u64,
    /// Processor cores of all of them.
    pub cores: u64,
    /// Memory of all of them, in MiB.
    pub memory: u64,
}

/// A change of a child resource that is part of another one.
#[derive(Debug, Clone, PartialEq)]
pub enum PartChange {
    /// The child is written.
    Put {
        /// Last word of its type.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What is stored of it.
        document: Box<Document>,
    },
    /// The child goes.
    Delete {
        /// Last word of its type.
        kind: &'static str,
        /// Its name.
        name: String,
    },
}
