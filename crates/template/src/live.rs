//! Live state: what an expression may ask of the world, answered by whoever runs the deployment.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

/// One question to the world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Need {
    /// The whole resource as a GET answers it: `reference()`, or `resourceGroup()` of a group other than the root's.
    Resource {
        /// Full resource id, in the spelling of the template.
        id: String,
        /// The version asked for, or the one the template declares the resource with.
        api_version: Option<String>,
    },
    /// The answer of a POST to `{id}/{function}`: `listKeys()` and its kin. Always secret.
    List {
        /// Full resource id.
        id: String,
        /// The action, `listKeys` for instance, in the spelling of the template.
        function: String,
        /// The version asked for.
        api_version: Option<String>,
        /// The request body, as JSON text; `None` when the call has none.
        body: Option<String>,
    },
    /// A secret of a key vault, named by a parameter of a deployment. Always secret.
    Secret {
        /// Resource id of the vault.
        vault: String,
        /// Name of the secret.
        name: String,
        /// Its version; the newest when absent.
        version: Option<String>,
    },
    /// A linked template or parameter file, wanted while planning. Whoever answers decides which addresses are
    /// fetched; [`Answer::Failed`] refuses one.
    Document {
        /// The address.
        uri: String,
    },
}

impl Need {
    /// The resource, or the document, the question is about.
    pub fn id(&self) -> &str {
        match self {
            Self::Resource { id, .. } | Self::List { id, .. } => id,
            Self::Secret { vault, .. } => vault,
            Self::Document { uri } => uri,
        }
    }
}

/// What is known about a need.
#[derive(Clone, PartialEq)]
pub enum Answer {
    /// The value: the whole resource for [`Need::Resource`], the reply for [`Need::List`], the text for
    /// [`Need::Secret`], the parsed document for [`Need::Document`].
    Known {
        /// The value itself.
        value: Value,
        /// Whether it must never be shown. Lists and secrets count as secret whatever is said here.
        secret: bool,
    },
    /// Nobody has looked yet.
    Missing,
    /// It was looked up and could not be had; the sentence becomes part of the template error.
    Failed(String),
}

/// Without the value, which may be secret.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known { .. } => f.write_str("Known"),
            Self::Missing => f.write_str("Missing"),
            Self::Failed(sentence) => write!(f, "Failed({sentence})"),
        }
    }
}

/// Answers needs. The engine does no I/O: an implementation answers from what has been fetched already.
pub trait Live {
    /// What is known about `need`.
    fn look_up(&self, need: &Need) -> Answer;

    /// Whether an output of the deployment with this id may be shown although the answer about it as a whole may not.
    fn shows_output(&self, deployment: &str, output: &str) -> bool {
        let _ = (deployment, output);
        false
    }
}

/// Knows nothing: every need is missing. Used while planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

impl Live for Nothing {
    fn look_up(&self, _: &Need) -> Answer {
        Answer::Missing
    }
}

/// Answers collected so far; a runner fetches what an evaluation misses, adds it here and evaluates again.
#[derive(Clone, Default)]
pub struct Facts(HashMap<Need, Answer>);

/// Without the answers, which may be secret.
impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys().map(Need::id)).finish()
    }
}

impl Facts {
    /// Remembers an answer.
    pub fn insert(&mut self, need: Need, answer: Answer) {
        self.0.insert(need, answer);
    }
}

impl Live for Facts {
    fn look_up(&self, need: &Need) -> Answer {
        self.0.get(need).cloned().unwrap_or(Answer::Missing)
    }
}
