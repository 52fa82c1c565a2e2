//! What a resource type is: the seam behind which every provider lives.
//!
//! A type is one file that says what it *accepts* (its [`Descriptor`]), what it *admits* (a pure function of the old and
//! the new document) and what it *answers*. Authorisation, locks, entity tags, tags, identities, storage, audit and status
//! codes are the front door's and the same for all types, so a type cannot forget one of them.
//!
//! Everything here is pure: what a type needs from elsewhere it declares as [`Link`]s, what it wants done beside its own
//! row it returns as [`Effect`]s; the front door loads the former and commits the latter in the same transaction.

mod action;
mod admission;
mod deletion;
mod descriptor;
mod document;
mod effect;
mod view;

pub use action::{Acted, ActionCall};
pub use admission::{Admission, Admitted, Author, Companion, Demand, Link, Making, Need, Parity, PartChange};
pub use deletion::{Dismissal, Dismissed, SoftDelete};
pub use descriptor::{
    Action, DataPlane, Descriptor, HostNames, IdentitySupport, NameRule, Placement, PutStatus, Surroundings,
};
pub use document::{AssignedIdentity, Document, Existing, Linked, Principal};
pub use effect::{Effect, Secret};
pub use view::{Observed, Progress, View};

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::ArmError;
use crate::id::ResourceId;
use crate::vocabulary::Vocabulary;

/// One resource type of one provider.
pub trait ResourceType: Send + Sync {
    /// The static facts: names, codes, what the envelope may hold.
    fn descriptor(&self) -> &Descriptor;

    /// The names of properties that count, for types that would let something through if one in another case did not.
    fn vocabulary(&self) -> Option<&Vocabulary> {
        None
    }

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
