//! Resource ids: one spelling to print, one key to compare, and the tree they form.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

pub use self::arm_path::{ArmPath, Collection};
use self::grammar::{check_group, check_namespace, respell};
use crate::error::ArmError;
use crate::path::PathSegments;

mod arm_path;
mod grammar;
#[cfg(test)]
pub(crate) mod tests;

/// The id of a resource, or of a scope that holds some: the tenant (`/`), a subscription, a resource group.
///
/// ```
/// use bastide_arm::id::ResourceId;
///
/// let id = ResourceId::parse(
///     "/subscriptions/0B1F6471-1BF0-4DDA-AEC3-CB9272F09590/resourcegroups/Lab/providers/Microsoft.X/hubs/One",
/// )?;
/// assert_eq!(id.name(), "One");
/// assert_eq!(id.type_name(), "Microsoft.X/hubs");
/// assert_eq!(id.resource_group(), Some("Lab"));
/// assert!(id.key().ends_with("/resourcegroups/lab/providers/microsoft.x/hubs/one"));
/// # Ok::<(), bastide_arm::error::ArmError>(())
/// ```
///
/// Ids compare, sort and hash by [`key`](Self::key): letters differ in case only for the eye. Fixed words print in their
/// canonical spelling, a subscription in lower case, and names, types and namespaces as they were given
/// ([`with_spelling`](Self::with_spelling) sets the latter two right).
#[derive(Clone)]
pub struct ResourceId {
    root: Root,
    parts: Vec<ProviderPart>,
    key: String,
}

#[derive(Clone, PartialEq)]
enum Root {
    Tenant,
    Subscription { subscription: String },
    Group { subscription: String, group: String },
}

/// `/providers/{namespace}` and at least one pair.
#[derive(Clone)]
struct ProviderPart {
    namespace: String,
    pairs: Vec<Pair>,
}

#[derive(Clone)]
struct Pair {
    kind: String,
    name: String,
}

impl ResourceId {
    /// The tenant itself, `/`: the scope above all subscriptions.
    pub fn tenant() -> Self {
        Self::of(Root::Tenant, Vec::new())
    }

    /// A subscription.
    pub fn subscription(subscription: Uuid) -> Self {
        Self::of(Root::Subscription { subscription: subscription.to_string() }, Vec::new())
    }

    /// A resource group.
    ///
    /// # Errors
    /// 400 when the name is outside the grammar.
    pub fn group(subscription: Uuid, group: &str) -> Result<Self, ArmError> {
        check_group(group)?;
        Self::of(Root::Group { subscription: subscription.to_string(), group: group.to_owned() }, Vec::new()).checked()
    }

    /// Reads an id as it stands in a body: not percent-encoded. Repeated and trailing slashes are forgiven.
    ///
    /// # Errors
    /// 400 when the text is not a whole id.
    pub fn parse(text: &str) -> Result<Self, ArmError> {
        if !text.starts_with('/') {
            return Err(ArmError::invalid_resource_id(text, "it does not begin with '/'."));
        }
        Self::from_segments(PathSegments::of_plain_text(text)?.as_slice())
    }

    /// Reads an id from decoded segments.
    ///
    /// # Errors
    /// 400 when the segments are not a whole id.
    pub fn from_segments(segments: &[String]) -> Result<Self, ArmError> {
        match ArmPath::from_segments(segments)? {
            ArmPath::Resource(id) => Ok(id),
            ArmPath::Collection(_) | ArmPath::Under { .. } => {
                Err(ArmError::invalid_resource_id(&format!("/{}", segments.join("/")), "it does not end in a name."))
            }
        }
    }

    /// A child of this resource: `{self}/{type}/{name}`.
    ///
    /// # Errors
    /// 400 when this is no resource (a subscription or group has no children of its own, only
    /// [extensions](Self::extension)), or the type or name is outside the grammar.
    pub fn child(&self, kind: &str, name: &str) -> Result<Self, ArmError> {
        let mut parts = self.parts.clone();
        let Some(last) = parts.last_mut() else {
            return Err(ArmError::invalid_resource_id(&self.to_string(), "only a resource has children."));
        };
        last.pairs.push(Pair::new(kind, name)?);
        Self::of(self.root.clone(), parts).checked()
    }

    /// A resource of another provider under this scope: `{self}/providers/{namespace}/{type}/{name}`.
    ///
    /// # Errors
    /// 400 when the namespace, type or name is outside the grammar.
    pub fn extension(&self, namespace: &str, kind: &str, name: &str) -> Result<Self, ArmError> {
        check_namespace(namespace)?;
        let mut parts = self.parts.clone();
        parts.push(ProviderPart { namespace: namespace.to_owned(), pairs: vec![Pair::new(kind, name)?] });
        Self::of(self.root.clone(), parts).checked()
    }

    /// The key to store and compare by: the printed id in lower case (ASCII letters only, so that no foreign letter
    /// folds into an ASCII one).
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The prefix of the keys of everything below this scope; it ends in `/`.
    pub fn prefix(&self) -> String {
        if self.is_tenant() { "/".to_owned() } else { format!("{}/", self.key) }
    }

    /// The last word: the name of the resource or group, the GUID of the subscription, `""` for the tenant.
    pub fn name(&self) -> &str {
        match (self.parts.last().and_then(|part| part.pairs.last()), &self.root) {
            (Some(pair), _) => &pair.name,
            (None, Root::Group { group, .. }) => group,
            (None, Root::Subscription { subscription }) => subscription,
            (None, Root::Tenant) => "",
        }
    }

    /// The names of the last provider part from the outermost resource to this one; empty for a bare scope.
    pub fn names(&self) -> Vec<&str> {
        self.parts.last().map(|part| part.pairs.iter().map(|pair| pair.name.as_str()).collect()).unwrap_or_default()
    }

    /// The full type, `Namespace/type[/child]...`, of the last provider part.
    ///
    /// A group is a `Microsoft.Resources/resourceGroups`, as its `type` field says on the wire (its *actions* are named
    /// `Microsoft.Resources/subscriptions/resourceGroups/...`).
    pub fn type_name(&self) -> String {
        match (self.parts.last(), &self.root) {
            (Some(part), _) => {
                part.pairs.iter().fold(part.namespace.clone(), |name, pair| format!("{name}/{}", pair.kind))
            }
            (None, Root::Group { .. }) => "Microsoft.Resources/resourceGroups".to_owned(),
            (None, Root::Subscription { .. }) => "Microsoft.Resources/subscriptions".to_owned(),
            (None, Root::Tenant) => "Microsoft.Resources/tenants".to_owned(),
        }
    }

    /// The types of the last provider part without the namespace; empty for a bare scope.
    pub fn types(&self) -> Vec<&str> {
        self.parts.last().map(|part| part.pairs.iter().map(|pair| pair.kind.as_str()).collect()).unwrap_or_default()
    }

    /// The namespace of the last provider part; `Microsoft.Resources` for a bare scope.
    pub fn namespace(&self) -> &str {
        self.parts.last().map_or("Microsoft.Resources", |part| &part.namespace)
    }

    /// The scope above: child -> its parent resource, extension -> the scope it extends, resource -> its group, group ->
    /// subscription, subscription -> tenant. `None` for the tenant.
    pub fn parent(&self) -> Option<Self> {
        let mut parts = self.parts.clone();
        let root = match (parts.last_mut(), &self.root) {
            (Some(last), root) => {
                last.pairs.pop();
                root.clone()
            }
            (None, Root::Group { subscription, .. }) => Root::Subscription { subscription: subscription.clone() },
            (None, Root::Subscription { .. }) => Root::Tenant,
            (None, Root::Tenant) => return None,
        };
        parts.retain(|part| !part.pairs.is_empty());
        Some(Self::of(root, parts))
    }

    /// The scope that the last provider part stands on: the group, subscription or tenant, or for an extension the
    /// resource it extends. A bare scope is its own.
    pub fn scope(&self) -> Self {
        let outer = self.parts.split_last().map(|(_, outer)| outer.to_vec()).unwrap_or_default();
        Self::of(self.root.clone(), outer)
    }

    /// The subscription's GUID in lower case.
    pub fn subscription_id(&self) -> Option<&str> {
        match &self.root {
            Root::Subscription { subscription } | Root::Group { subscription, .. } => Some(subscription),
            Root::Tenant => None,
        }
    }

    /// The name of the resource group.
    pub fn resource_group(&self) -> Option<&str> {
        match &self.root {
            Root::Group { group, .. } => Some(group),
            Root::Subscription { .. } | Root::Tenant => None,
        }
    }

    /// The id of the resource group that holds this resource (or that this is).
    pub fn resource_group_id(&self) -> Option<Self> {
        matches!(self.root, Root::Group { .. }).then(|| Self::of(self.root.clone(), Vec::new()))
    }

    /// Whether this is the tenant itself.
    pub fn is_tenant(&self) -> bool {
        self.parts.is_empty() && matches!(self.root, Root::Tenant)
    }

    /// Whether this is a subscription itself.
    pub fn is_subscription(&self) -> bool {
        self.parts.is_empty() && matches!(self.root, Root::Subscription { .. })
    }

    /// Whether this is a resource group itself.
    pub fn is_resource_group(&self) -> bool {
        self.parts.is_empty() && matches!(self.root, Root::Group { .. })
    }

    /// Whether this names a resource of a provider, not a bare scope.
    pub fn is_resource(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Whether this is a resource on top of another resource, `{resource}/providers/{namespace}/...`.
    pub fn is_extension(&self) -> bool {
        self.parts.len() > 1
    }

    /// Whether this is `scope` or lies below it.
    pub fn is_within(&self, scope: &Self) -> bool {
        scope.is_tenant()
            || self.key.strip_prefix(&scope.key).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The same id with the registry's spelling of the last namespace and types. Words that differ by more than case
    /// stay as they are, so the key never changes.
    pub fn with_spelling(&self, namespace: &str, types: &[&str]) -> Self {
        let mut id = self.clone();
        if let Some(part) = id.parts.last_mut() {
            respell(&mut part.namespace, namespace);
            for (pair, kind) in part.pairs.iter_mut().zip(types) {
                respell(&mut pair.kind, kind);
            }
        }
        id
    }

    /// The same id with the spelling of an ancestor (such as the stored group, or the hub a project hangs under) for
    /// the words they share. The key never changes.
    pub fn with_spelling_of(&self, ancestor: &Self) -> Self {
        let mut id = self.clone();
        if let (Root::Group { group, .. }, Root::Group { group: theirs, .. }) = (&mut id.root, &ancestor.root) {
            respell(group, theirs);
        }
        if self.is_within(ancestor) {
            for (part, theirs) in id.parts.iter_mut().zip(&ancestor.parts) {
                respell(&mut part.namespace, &theirs.namespace);
                for (pair, theirs) in part.pairs.iter_mut().zip(&theirs.pairs) {
                    respell(&mut pair.kind, &theirs.kind);
                    respell(&mut pair.name, &theirs.name);
                }
            }
        }
        id
    }

    fn of(root: Root, parts: Vec<ProviderPart>) -> Self {
        let mut id = Self { root, parts, key: String::new() };
        id.key = id.to_string().to_ascii_lowercase();
        id
    }

    /// Built ids obey the limits of parsed ones, so that whatever prints can be read again.
    fn checked(self) -> Result<Self, ArmError> {
        PathSegments::of_plain_text(&self.key)?;
        Ok(self)
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.root {
            Root::Tenant if self.parts.is_empty() => formatter.write_char('/')?,
            Root::Tenant => {}
            Root::Subscription { subscription } => write!(formatter, "/subscriptions/{subscription}")?,
            Root::Group { subscription, group } => {
                write!(formatter, "/subscriptions/{subscription}/resourceGroups/{group}")?;
            }
        }
        for part in &self.parts {
            write!(formatter, "/providers/{}", part.namespace)?;
            for pair in &part.pairs {
                write!(formatter, "/{}/{}", pair.kind, pair.name)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ResourceId({self})")
    }
}

impl FromStr for ResourceId {
    type Err = ArmError;

    fn from_str(text: &str) -> Result<Self, ArmError> {
        Self::parse(text)
    }
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for ResourceId {}

impl Hash for ResourceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl PartialOrd for ResourceId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ResourceId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl Serialize for ResourceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ResourceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|error| D::Error::custom(error.message.as_str()))
    }
}
