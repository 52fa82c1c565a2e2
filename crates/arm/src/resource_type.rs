//! What a resource type is: the seam behind which every provider lives.
//!
//! A type is one file that says what it *accepts* (its [`Descriptor`]), what it *admits* (a pure function of the old and
//! the new document) and what it *answers*. Authorisation, locks, entity tags, tags, identities, storage, audit and status
//! codes are the front door's and the same for all types, so a type cannot forget one of them.
//!
//! Everything here is pure: what a type needs from elsewhere it declares as [`Link`]s, what it wants done beside its own
//! row it returns as [`Effect`]s; the front door loads the former and commits the latter in the same transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::api_version::ApiVersion;
use crate::error::ArmError;
use crate::id::ResourceId;

/// One resource type of one provider.
pub trait ResourceType: Send + Sync {
    /// The static facts: names, codes, what the envelope may hold.
    fn descriptor(&self) -> &Descriptor;

    /// The resources a document points at. The caller must be allowed to use each of them, and the front door hands
    /// those that exist to [`ResourceType::admit`].
    fn links(&self, document: &Document) -> Result<Vec<Link>, ArmError> {
        let _ = document;
        Ok(Vec::new())
    }

    /// Decides whether the new document may stand, and what is stored of it.
    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError>;

    /// The wire form of `properties`, read-only outputs included. The envelope around it is the front door's.
    fn answer(&self, view: &View<'_>) -> Map<String, Value>;

    /// Decides whether the resource may go, and what goes with it.
    fn dismiss(&self, dismissal: &Dismissal<'_>) -> Result<Dismissed, ArmError> {
        let _ = dismissal;
        Ok(Dismissed::default())
    }

    /// How a deletion can be taken back; none: what is deleted is gone.
    fn soft_delete(&self) -> Option<&'static SoftDelete> {
        None
    }

    /// For how many days a deletion of this resource can be taken back; none: it is for good.
    fn kept_days(&self, document: &Document) -> Option<u32> {
        let _ = document;
        None
    }

    /// Whether a list that was asked for with these query parameters shows the resource.
    fn is_listed(&self, document: &Document, query: &[(String, String)]) -> bool {
        let _ = (document, query);
        true
    }

    /// The resource whose children of this type stand beside those of `parent`, as far as they are lent: a project sees
    /// the connections its hub shares.
    fn lender(&self, parent: &Document) -> Option<ResourceId> {
        let _ = parent;
        None
    }

    /// Whether a resource is seen from where [`ResourceType::lender`] points at its parent.
    fn is_lent(&self, document: &Document) -> bool {
        let _ = document;
        false
    }

    /// The list of a collection without rows: what its parent implies.
    fn implied(&self, parent: &Linked) -> Option<Vec<Value>> {
        let _ = parent;
        None
    }

    /// The resources that a new one needs beside it and that its body leaves to Bastide. They are made in the same
    /// transaction, with the caller's rights, and take the place of what the body left out.
    fn companions(&self, making: &Making<'_>) -> Result<Vec<Companion>, ArmError> {
        let _ = making;
        Ok(Vec::new())
    }

    /// Whether a DELETE answers 204 also when there was something to delete. Most clients take 200 as well, as ARM has it.
    fn is_deleted_without_content(&self) -> bool {
        false
    }

    /// Whether a resource of this type comes back when a deleted resource that it stood in is restored. What runs does
    /// not: it is made anew.
    fn comes_back(&self) -> bool {
        true
    }

    /// Resources elsewhere that stand and fall with one of this type, written and removed in its transactions: the rule that
    /// a connection brings along on the network of its hub.
    fn dependants(&self, document: &Document) -> Vec<(ResourceId, Document)> {
        let _ = document;
        Vec::new()
    }

    /// What identities must be allowed to do so that the resource can do what it is for: a connection that is used in the
    /// name of the hub's identity.
    fn needs(&self, document: &Document, parent: Option<&Linked>) -> Vec<Need> {
        let _ = (document, parent);
        Vec::new()
    }

    /// Actions that the writer must be allowed beside the write itself, on the resource, for what the document asks for: a
    /// grant that is an Owner's to give. Each that was needed is on record with the write.
    fn further_actions(&self, existing: Option<&Document>, document: &Document) -> Vec<&'static str> {
        let _ = (existing, document);
        Vec::new()
    }

    /// What a resource takes of the host; the write that asks for more than its quotas leave is refused.
    fn demand(&self, document: &Document) -> Option<Demand> {
        let _ = document;
        None
    }

    /// The instances that a node runs for a resource, by the ids that reports call them. `None`: nothing ever runs for this
    /// type. What is reported of them is shown to [`ResourceType::answer`] as the parts of what was observed, and a write is
    /// answered with an operation that ends as [`ResourceType::progress`] says.
    fn instances(&self, incarnation: Uuid, document: &Document) -> Option<Vec<Uuid>> {
        let _ = (incarnation, document);
        None
    }

    /// How far the node has come with what a document asks for.
    fn progress(&self, incarnation: Uuid, document: &Document, observed: Option<&Observed>) -> Progress {
        let _ = (incarnation, document, observed);
        Progress::Done
    }

    /// What must happen elsewhere when the resource goes.
    fn release(&self, document: &Document) -> Vec<Effect> {
        let _ = document;
        Vec::new()
    }

    /// The space in which names of this type are unique in all of Bastide, for types whose names become host names.
    fn host_names(&self) -> Option<HostNames> {
        None
    }

    /// Whether an action is told in the path what it is about: `regenerateAdminKey/primary`.
    fn takes_argument(&self, action: &str) -> bool {
        let _ = action;
        false
    }

    /// Answers a POST action that [`Descriptor::actions`] declares.
    fn act(&self, call: &ActionCall<'_>) -> Result<Acted, ArmError> {
        let message = format!("'{}' has no action '{}'. See the provider's list of operations.", call.id, call.action);
        Err(ArmError::not_found(message))
    }
}

/// A space of names that become host names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostNames {
    /// Its name, `vault`.
    pub space: &'static str,
    /// The error code clients know for a name that is taken.
    pub taken: &'static str,
}

/// The static facts of a resource type.
#[derive(Debug, Clone)]
pub struct Descriptor {
    /// Provider namespace in canonical spelling, `Microsoft.MachineLearningServices`.
    pub namespace: &'static str,
    /// Type path in canonical spelling, one segment a level: `["workspaces", "connections"]`.
    pub types: &'static [&'static str],
    /// Where resources of this type live.
    pub placement: Placement,
    /// Has a location and tags and shows up in the subscription's list of resources.
    pub tracked: bool,
    /// What a name may look like.
    pub name: NameRule,
    /// Which managed identities the envelope may ask for.
    pub identity: IdentitySupport,
    /// Properties that only the server writes; a body that carries them (GET, change, PUT) is accepted without them.
    pub read_only: &'static [&'static str],
    /// Which properties a PATCH may carry; `None` is all that are not read-only.
    pub patchable: Option<&'static [&'static str]>,
    /// Success statuses of PUT. Clients are strict per type (status-codes.txt, arm-models.md section 2).
    pub put: PutStatus,
    /// What the type wants to see of its surroundings when it admits and answers.
    pub surroundings: Surroundings,
    /// Actions by POST, in canonical spelling.
    pub actions: &'static [Action],
    /// api-versions to name in provider listings, newest first. Reading never depends on them.
    pub api_versions: &'static [&'static str],
    /// What serves the resource beyond its row.
    pub data_plane: DataPlane,
}

/// The level a type's resources live at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// In a resource group (or below a resource in one, for child types).
    ResourceGroup,
    /// Directly in a subscription: resource groups.
    Subscription,
    /// Anywhere: an extension of any scope.
    Extension,
}

/// A name grammar with the sentence that explains it.
#[derive(Debug, Clone, Copy)]
pub struct NameRule {
    /// Whether a name is acceptable.
    pub accepts: fn(&str) -> bool,
    /// What an acceptable name looks like, to follow "Use".
    pub explanation: &'static str,
}

/// Which managed identities a type may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentitySupport {
    /// None; the envelope's `identity` is ignored.
    None,
    /// System- and user-assigned; without a word about it, none.
    Optional,
    /// System- and user-assigned; without a word about it, system-assigned.
    SystemByDefault,
}

/// Success statuses of PUT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutStatus {
    /// When the resource is new.
    pub created: u16,
    /// When it was there.
    pub replaced: u16,
}

/// What a type wants to see of its surroundings. Each costs a read, so none is shown unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surroundings {
    /// Child types whose resources are parts of this one on the wire, by their last word: `["outboundRules"]`.
    pub parts: &'static [&'static str],
    /// The resources that link to this one.
    pub referrers: bool,
    /// The resources this one links to, also when answering.
    pub linked: bool,
    /// Its own secrets, when admitting: whether a body that repeats them changes anything.
    pub secrets: bool,
}

/// A POST action.
#[derive(Debug, Clone, Copy)]
pub struct Action {
    /// Name in canonical spelling, `listKeys`.
    pub name: &'static str,
    /// Whether the action answers with, or changes, secrets (its answer is never logged).
    pub secret: bool,
}

/// What serves a resource beyond its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataPlane {
    /// Bastide does what the type promises.
    Served,
    /// Stored only; answers say so with `bastide.dataPlane: "none"`.
    None,
}

/// A resource as stored: the envelope parts every type shares, and the type's own properties.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Normalised region name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Kind in canonical spelling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// SKU as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<Value>,
    /// Managed identities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<AssignedIdentity>,
    /// Id of the resource that manages this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
    /// Envelope parts that are stored as they are: `plan`, `zones`, `extendedLocation`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
    /// The type's own properties.
    #[serde(default)]
    pub properties: Map<String, Value>,
    /// Tags; stored beside the body because they are searched for.
    #[serde(skip)]
    pub tags: BTreeMap<String, String>,
}

/// The managed identities a resource carries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignedIdentity {
    /// Principal of the system-assigned identity; stable for the life of the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<Principal>,
    /// User-assigned identities by canonical ARM id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub user: BTreeMap<String, Principal>,
}

/// The two ids of a managed identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// Object id in the directory.
    pub principal_id: Uuid,
    /// Client (application) id.
    pub client_id: Uuid,
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

/// A linked resource as it stands.
#[derive(Debug, Clone)]
pub struct Linked {
    /// Its id in canonical spelling.
    pub id: ResourceId,
    /// Its incarnation.
    pub incarnation: Uuid,
    /// What is stored of it.
    pub document: Document,
}

/// The resource before the change.
#[derive(Debug, Clone, Copy)]
pub struct Existing<'a> {
    /// Its incarnation.
    pub incarnation: Uuid,
    /// What is stored of it.
    pub document: &'a Document,
}

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
    /// Secrets of the resource by field ([`Surroundings::secrets`]).
    pub secrets: &'a BTreeMap<String, Secret>,
    /// Linked resources that exist, by lower-cased id.
    pub linked: &'a BTreeMap<String, Linked>,
    /// The parent resource of a child type.
    pub parent: Option<&'a Linked>,
    /// Child resources that are parts of this one ([`Surroundings::parts`]).
    pub parts: &'a [Linked],
    /// The resources that link to this one ([`Surroundings::referrers`]).
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

/// Who asks for something.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Author {
    /// Object id in the directory.
    pub object_id: Uuid,
    /// The name people read.
    pub name: String,
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

/// What a deletion may look at.
pub struct Dismissal<'a> {
    /// The resource's id.
    pub id: &'a ResourceId,
    /// The resource.
    pub existing: Existing<'a>,
    /// The resources that link to it ([`Surroundings::referrers`]).
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

/// A change beside the resource's own row, committed with it.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// A managed identity comes into the directory.
    CreatePrincipal {
        /// Its ids.
        principal: Principal,
        /// Display name.
        name: String,
    },
    /// A managed identity goes; its tokens stop at once.
    RemovePrincipal(Principal),
    /// Whoever shows this secret to the token endpoint for managed identities is given this identity's tokens; secrets
    /// issued for it before are worthless.
    IssueEndpointSecret {
        /// The identity.
        principal: Principal,
        /// The secret.
        secret: Secret,
    },
    /// Tokens of an outside issuer stand for a managed identity from now on, under a name that tells what it trusts apart.
    TrustTokens {
        /// Object id of the identity.
        principal_id: Uuid,
        /// The name.
        name: String,
        /// Exactly the tokens' `iss`.
        issuer: String,
        /// Exactly their `sub`.
        subject: String,
        /// One of their `aud`.
        audience: String,
    },
    /// The trust of that name ends.
    DistrustTokens {
        /// Object id of the identity.
        principal_id: Uuid,
        /// The name.
        name: String,
    },
    /// All secrets of this resource go; what is put after this stays.
    ForgetSecrets,
    /// A secret of this resource is sealed under a field name.
    PutSecret {
        /// Field name, unique in the resource.
        field: String,
        /// The secret itself.
        secret: Secret,
    },
}

/// Text that must never be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself; name the reason where you call it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// What an answer is made from.
pub struct View<'a> {
    /// The resource's id in canonical spelling.
    pub id: &'a ResourceId,
    /// Its incarnation.
    pub incarnation: Uuid,
    /// What is stored of it.
    pub document: &'a Document,
    /// Child resources that are parts of this one ([`Surroundings::parts`]), in order of name.
    pub parts: &'a [Linked],
    /// The resources that link to this one ([`Surroundings::referrers`]).
    pub referrers: &'a [Linked],
    /// The resources this one links to ([`Surroundings::linked`]), by lower-cased id.
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

/// A POST action on a resource.
pub struct ActionCall<'a> {
    /// The resource's id in canonical spelling.
    pub id: &'a ResourceId,
    /// The action in canonical spelling.
    pub action: &'a str,
    /// What the path says after the action ([`ResourceType::takes_argument`]).
    pub argument: Option<&'a str>,
    /// The resource.
    pub existing: Existing<'a>,
    /// The body, `{}` when there was none.
    pub body: &'a Value,
    /// The resource's secrets by field.
    pub secrets: &'a BTreeMap<String, Secret>,
    /// The resources this one links to ([`Surroundings::linked`]), by lower-cased id.
    pub linked: &'a BTreeMap<String, Linked>,
    /// Their secrets by field, by lower-cased id; only for actions that are [`Action::secret`].
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

impl Descriptor {
    /// `Microsoft.X/a/b` in canonical spelling.
    pub fn type_name(&self) -> String {
        format!("{}/{}", self.namespace, self.types.join("/"))
    }

    /// Whether resources of this type live below another resource.
    pub fn is_child(&self) -> bool {
        self.types.len() > 1
    }

    /// The declared action of that name, in any case.
    pub fn action(&self, name: &str) -> Option<&Action> {
        self.actions.iter().find(|action| action.name.eq_ignore_ascii_case(name))
    }
}

impl Surroundings {
    /// Nothing: most types.
    pub const NONE: Self = Self { parts: &[], referrers: false, linked: false, secrets: false };
}

impl PutStatus {
    /// 201 when new, 200 when replaced: most types.
    pub const CREATED: Self = Self { created: 201, replaced: 200 };
    /// Always 200: workspaces, connections, storage accounts.
    pub const OK: Self = Self { created: 200, replaced: 200 };
    /// Always 201: role and policy definitions.
    pub const ALWAYS_CREATED: Self = Self { created: 201, replaced: 201 };
}

impl NameRule {
    /// 1 to 260 characters without `<>%&:\?/` and not ending in a blank or dot: the RPC's rule where a type states none.
    pub const GENERIC: Self = Self {
        accepts: is_generic_name,
        explanation: "1 to 260 characters, none of < > % & : \\ ? / and no trailing dot",
    };
}

impl AssignedIdentity {
    /// Whether it holds none at all.
    pub fn is_empty(&self) -> bool {
        self.system.is_none() && self.user.is_empty()
    }

    /// The wire's word for what is assigned.
    pub fn type_name(&self) -> &'static str {
        match (self.system.is_some(), !self.user.is_empty()) {
            (true, true) => "SystemAssigned,UserAssigned",
            (true, false) => "SystemAssigned",
            (false, true) => "UserAssigned",
            (false, false) => "None",
        }
    }

    /// The wire form.
    pub fn answer(&self, tenant_id: Uuid) -> Value {
        let mut body = Map::new();
        body.insert("type".into(), self.type_name().into());
        if let Some(system) = &self.system {
            body.insert("principalId".into(), system.principal_id.to_string().into());
            body.insert("tenantId".into(), tenant_id.to_string().into());
        }
        if !self.user.is_empty() {
            let user = self.user.iter().map(|(id, principal)| {
                let ids = serde_json::json!({
                    "principalId": principal.principal_id.to_string(),
                    "clientId": principal.client_id.to_string(),
                });
                (id.clone(), ids)
            });
            body.insert("userAssignedIdentities".into(), Value::Object(user.collect()));
        }
        Value::Object(body)
    }
}

fn is_generic_name(name: &str) -> bool {
    (1..=260).contains(&name.chars().count())
        && !name.contains(['<', '>', '%', '&', ':', '\\', '?', '/'])
        && !name.chars().any(char::is_control)
        && !name.ends_with(['.', ' '])
}
