//! One thing a plan deploys.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::Plan;
use super::nested::{self, Waiting};
use crate::context::Context;
use crate::declaration::Nested;
use crate::error::Stop;
use crate::evaluator::Evaluator;
use crate::frame::{Frame, Iteration, Region};
use crate::gather::Trace;
use crate::id::{Scope, key};
use crate::limits::Budget;
use crate::live::{Live, Nothing};
use crate::symbols::Symbols;
use crate::tree::Tree;

/// A resource, a nested deployment, or a resource that must be there already.
#[derive(Debug, Clone)]
pub struct Node {
    /// The full resource id, in the spelling of the template.
    pub id: String,
    /// The full type, `Microsoft.X/a/b`.
    pub type_name: String,
    /// The full name, `a/b` for a child.
    pub name: String,
    /// The api-version it is declared with. Existing resources may have none, and templates with an `apiProfile` leave
    /// the choice to the resource manager.
    pub api_version: Option<String>,
    /// Its symbolic name, in templates that have such.
    pub symbol: Option<String>,
    /// JSON path of its declaration.
    pub place: String,
    /// What is to be done about it.
    pub kind: NodeKind,
    /// Positions of the nodes that come before it, ascending.
    pub depends_on: Vec<usize>,
    pub(super) frame: Arc<Frame>,
    pub(super) symbols: Arc<Symbols>,
    pub(super) context: Arc<Context>,
    pub(super) loops: Vec<Iteration>,
    pub(super) body: Arc<Tree>,
    pub(super) nested: Option<Arc<Nested>>,
    pub(super) plan: Option<Arc<Plan>>,
}

/// What is to be done about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// PUT it.
    Resource,
    /// Expand it ([`Node::expand`]) and run the plan that gives, as a deployment of its own.
    Deployment,
    /// Nothing: it must exist, and others wait for what it waits for.
    Existing,
}

/// A computed value, and which parts of it must never be shown.
#[derive(Clone, PartialEq)]
pub struct Evaluated {
    /// The value.
    pub value: Value,
    /// JSON pointers (RFC 6901) of the parts that something secret went into.
    pub secrets: Vec<String>,
}

/// Shows what [`Evaluated::redacted`] shows.
impl fmt::Debug for Evaluated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Evaluated({})", self.redacted())
    }
}

impl Evaluated {
    /// The value with everything secret blotted out: safe for answers, operations, logs and what-if.
    pub fn redacted(&self) -> Value {
        let mut value = self.value.clone();
        for pointer in &self.secrets {
            // A null that was dropped has no place any more.
            if let Some(secret) = value.pointer_mut(pointer) {
                *secret = Value::String(REDACTED.to_owned());
            }
        }
        value
    }
}

impl Node {
    /// The id in the form in which ids are compared.
    pub fn key(&self) -> String {
        key(&self.id)
    }

    /// The body to PUT: everything but `type`, `name`, `apiVersion` and the words of the template language. Members
    /// that are null are left out.
    ///
    /// [`Stop::Missing`] names the live state to look up before asking again.
    pub fn body(&self, live: &dyn Live) -> Result<Evaluated, Stop> {
        let mut budget = Budget::new(self.frame.limits);
        self.body_within(live, &mut budget)
    }

    /// The plan of a nested deployment as far as it was known when the plan around it was made: `None` for other
    /// nodes, and for deployments whose shape waits for live state.
    pub fn nested(&self) -> Option<&Plan> {
        self.plan.as_deref()
    }

    /// The plan of a nested deployment, with live state. `None` for other nodes.
    ///
    /// [`Stop::Missing`] names what its parameters still wait for: deployed is only what is known whole.
    pub fn expand(&self, live: &dyn Live) -> Result<Option<Plan>, Stop> {
        let mut budget = Budget::new(self.frame.limits);
        self.expand_within(Waiting::IsWanted, live, &mut budget, &mut 0)
    }

    pub(super) fn body_within(&self, live: &dyn Live, budget: &mut Budget) -> Result<Evaluated, Stop> {
        let mut trace = Trace::default();
        let body = self.evaluator(live, budget).tree(&self.body, &mut trace)?;
        Ok(Evaluated { value: body.to_body(), secrets: trace.secrets })
    }

    pub(super) fn expand_within(
        &self,
        waiting: Waiting,
        live: &dyn Live,
        budget: &mut Budget,
        total: &mut usize,
    ) -> Result<Option<Plan>, Stop> {
        match &self.nested {
            Some(nested) => nested::expand(self, nested, waiting, live, budget, total).map(Some),
            None => Ok(None),
        }
    }

    /// The location in its body, where that needs no live state.
    pub(super) fn location(&self) -> Option<String> {
        let location = self.body.member("location")?;
        let mut budget = Budget::new(self.frame.limits);
        let value = self.evaluator(&Nothing, &mut budget).value(&location).ok()?;
        value.as_text().map(str::to_owned)
    }

    /// Where the deployment that this node is goes to.
    pub(super) fn target(&self) -> Scope {
        let scope = self.id.rsplit_once("/providers/").map_or("", |(scope, _)| scope);
        Scope::parse(scope).unwrap_or_else(|| self.context.scope())
    }

    pub(super) fn evaluator<'a>(&'a self, live: &'a dyn Live, budget: &'a mut Budget) -> Evaluator<'a> {
        let mut evaluator = Evaluator::new(&self.frame, &self.symbols, live, budget);
        evaluator.region = Region::Body;
        evaluator.loops.clone_from(&self.loops);
        evaluator.place = Arc::from(self.place.as_str());
        evaluator
    }
}

/// What Azure's what-if shows in place of a secret.
const REDACTED: &str = "*******";
