//! The plan of a deployment: what it deploys, in which order, and the bodies and outputs once live state is there.

mod bind;
mod build;
mod graph;
mod nested;
mod node;
mod output;
mod schedule;
mod view;

use std::sync::Arc;

use serde_json::Value;

use crate::context::{Context, Mode};
use crate::error::Stop;
use crate::frame::{Frame, Iteration};
use crate::id::Scope;
use crate::limits::{Budget, Limits};
use crate::live::Live;
use crate::symbols::Symbols;
use crate::template::Template;

pub use node::{Evaluated, Node, NodeKind};
pub use output::Output;
pub use schedule::Schedule;

/// What a plan is made from.
pub struct Request<'a> {
    /// The template.
    pub template: Arc<Template>,
    /// `properties.parameters` of the deployment: `{name: {"value": ...}}` or `{name: {"reference": {...}}}`.
    pub parameters: &'a Value,
    /// Where the deployment runs.
    pub context: Context,
    /// Answers linked documents, and the locations of other groups. Live state of what is deployed is not used.
    pub live: &'a dyn Live,
    /// What the template may use.
    pub limits: Limits,
}

/// A deployment that has been checked and ordered. Nothing of it has been deployed.
#[derive(Debug, Clone)]
pub struct Plan {
    context: Arc<Context>,
    template: Arc<Template>,
    /// Where expressions are evaluated: the parent's frame for a nested template of outer scope.
    frame: Arc<Frame>,
    symbols: Arc<Symbols>,
    nodes: Vec<Node>,
    order: Vec<usize>,
    skipped: Vec<Skipped>,
    /// The turns of the parent's loops that a nested template of outer scope is in.
    loops: Vec<Iteration>,
}

/// A declared resource that is not deployed because its condition is false.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// JSON path of its declaration.
    pub place: String,
    /// Its type.
    pub type_name: String,
}

impl Plan {
    /// Plans a deployment: binds parameters, unrolls loops, works out names, conditions and dependencies, evaluates
    /// every body as far as it goes without live state, and refuses circles.
    ///
    /// [`Stop::Missing`] names linked documents, secrets or groups that must be answered before planning can go on.
    pub fn new(request: Request<'_>) -> Result<Self, Stop> {
        let Request { template, parameters, context, live, limits } = request;
        let given = bind::given(parameters, "$.parameters")?;
        let mut budget = Budget::new(limits);
        let parameters = bind::bind(&template, given, &mut budget)?;
        let frame = Arc::new(Frame::new(template.clone(), context.clone(), parameters, limits));
        build::Builder {
            template,
            frame,
            context: Arc::new(context),
            above: None,
            live,
            budget: &mut budget,
            total: &mut 0,
        }
        .build()
    }

    /// Where the deployment runs, and its name.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The deployment's own id.
    pub fn deployment_id(&self) -> String {
        self.context.deployment_id()
    }

    /// What happens to resources that are not declared.
    pub fn mode(&self) -> Mode {
        self.context.deployment.mode
    }

    /// The scope of resources that do not name another.
    pub fn scope(&self) -> Scope {
        self.context.scope()
    }

    /// The template as read.
    pub fn template(&self) -> &Arc<Template> {
        &self.template
    }

    /// Everything the template declares and whose condition holds, in the order of the template.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Positions in [`Self::nodes`], each after all it depends on.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// What is not deployed because its condition is false.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// A schedule of the nodes, none of them done yet.
    pub fn schedule(&self) -> Schedule {
        Schedule::new(&self.nodes)
    }

    /// The outputs, once everything they refer to is deployed.
    pub fn outputs(&self, live: &dyn Live) -> Result<Vec<Output>, Stop> {
        let mut budget = Budget::new(self.frame.limits);
        output::evaluate(&self.template, &self.frame, &self.symbols, live, &mut budget, &self.loops)
    }
}
