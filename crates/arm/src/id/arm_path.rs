//! What a request path means: an id, a collection, or words under a scope.

use super::grammar::{check_namespace, is_word, read_pairs};
use super::{Pair, ProviderPart, ResourceId, Root};
use crate::error::ArmError;
use crate::path::PathSegments;

/// A request path, read as far as Resource Manager's grammar goes.
///
/// Whether a path with an odd tail lists a collection or calls an action is for the method to say; see
/// [`split_action`](Self::split_action).
#[derive(Clone, Debug, PartialEq)]
pub enum ArmPath {
    /// A whole id: the tenant, a subscription, a resource group or a resource.
    Resource(ResourceId),
    /// `{scope}/providers/{namespace}/{type}[/{name}/{type}]...`, ending in a type.
    Collection(Collection),
    /// Words under a scope that are not a type: `/subscriptions`, `{subscription}/tagNames`, `{scope}/providers`,
    /// `{scope}/providers/{namespace}`, `{group}/exportTemplate`, ...
    Under {
        /// The scope that the words hang under.
        scope: ResourceId,
        /// The words, at least one, as the client spelled them.
        rest: Vec<String>,
    },
}

/// All resources of one type in one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    scope: ResourceId,
    namespace: String,
    types: Vec<String>,
    names: Vec<String>,
}

impl ArmPath {
    /// Reads the path of a request.
    ///
    /// # Errors
    /// 400 for a malformed subscription, group, type or name; 404 `InvalidResourceNamespace` for a word that cannot be
    /// a namespace.
    pub fn parse(path: &PathSegments) -> Result<Self, ArmError> {
        Self::from_segments(path.as_slice())
    }

    /// Takes the last word off as the name of an action: `POST {resource}/{action}`, `POST {scope}/{action}`, or
    /// `POST {scope}/providers/{namespace}/{action}` (then the target is the scope).
    ///
    /// `None` when the path ends in a name, or has several words under a bare scope.
    pub fn split_action(&self) -> Option<(ResourceId, &str)> {
        match self {
            Self::Resource(_) => None,
            Self::Collection(collection) => Some((collection.parent(), collection.types.last()?)),
            Self::Under { scope, rest } => match rest.as_slice() {
                [action] => Some((scope.clone(), action)),
                _ => None,
            },
        }
    }

    pub(super) fn from_segments(segments: &[String]) -> Result<Self, ArmError> {
        let (root, mut rest) = Root::read(segments)?;
        let mut scope = ResourceId::of(root, Vec::new());
        loop {
            match rest {
                [] => return Ok(Self::Resource(scope)),
                [keyword, namespace, tail @ ..] if is_word(keyword, "providers") && !tail.is_empty() => {
                    check_namespace(namespace)?;
                    let (pairs, open_type, after) = read_pairs(tail)?;
                    if let Some(open_type) = open_type {
                        return Ok(Self::Collection(Collection::new(scope, namespace, pairs, open_type)));
                    }
                    let mut parts = scope.parts;
                    parts.push(ProviderPart { namespace: namespace.clone(), pairs });
                    scope = ResourceId::of(scope.root, parts);
                    rest = after;
                }
                _ => return Ok(Self::Under { scope, rest: rest.to_vec() }),
            }
        }
    }
}

impl Collection {
    /// What the outermost type stands on: the tenant, subscription, group, or the resource that is extended.
    pub fn scope(&self) -> &ResourceId {
        &self.scope
    }

    /// The namespace of the type.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The full path of types, the last one being the type of the members.
    pub fn types(&self) -> Vec<&str> {
        self.types.iter().map(String::as_str).collect()
    }

    /// The names of the resources above the members; one fewer than there are types.
    pub fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    /// The full type of the members, `Namespace/type[/child]...`.
    pub fn type_name(&self) -> String {
        format!("{}/{}", self.namespace, self.types.join("/"))
    }

    /// The resource that holds the members; the scope when they are top-level.
    pub fn parent(&self) -> ResourceId {
        if self.names.is_empty() {
            return self.scope.clone();
        }
        let pair = |(kind, name): (&String, &String)| Pair { kind: kind.clone(), name: name.clone() };
        let pairs = self.types.iter().zip(&self.names).map(pair).collect();
        let mut parts = self.scope.parts.clone();
        parts.push(ProviderPart { namespace: self.namespace.clone(), pairs });
        ResourceId::of(self.scope.root.clone(), parts)
    }

    /// The prefix of the keys of the direct members (and of what lies below them); it ends in `/`.
    ///
    /// A list at a subscription also means the resources of that type in its groups: those are found by type below
    /// [`ResourceId::prefix`] of the scope.
    pub fn prefix(&self) -> String {
        let mut prefix = self.parent().prefix();
        if self.names.is_empty() {
            prefix.push_str("providers/");
            prefix.push_str(&self.namespace.to_ascii_lowercase());
            prefix.push('/');
        }
        prefix.push_str(&self.types.last().map(|kind| kind.to_ascii_lowercase()).unwrap_or_default());
        prefix.push('/');
        prefix
    }

    /// The id of the member called `name`.
    ///
    /// # Errors
    /// 400 when the name is outside the grammar.
    pub fn member(&self, name: &str) -> Result<ResourceId, ArmError> {
        let kind = self.types.last().map(String::as_str).unwrap_or_default();
        if self.names.is_empty() {
            self.scope.extension(&self.namespace, kind, name)
        } else {
            self.parent().child(kind, name)
        }
    }

    fn new(scope: ResourceId, namespace: &str, pairs: Vec<Pair>, open_type: &str) -> Self {
        let (mut types, names): (Vec<_>, Vec<_>) = pairs.into_iter().map(|pair| (pair.kind, pair.name)).unzip();
        types.push(open_type.to_owned());
        Self { scope, namespace: namespace.to_owned(), types, names }
    }
}
