//! The ARM template language: what turns a template and its parameters into resources to deploy, in order.
//!
//! The crate does no I/O. A [`Template`] is read, a [`Plan`] is made of it and a [`Context`], and a runner deploys the
//! plan's nodes as its [`Schedule`] hands them out. What an expression wants to know about the world it asks through
//! [`Live`]; an evaluation that lacks an answer ends in [`Stop::Missing`], which names what to look up before asking
//! again:
//!
//! ```
//! use bastide_template::{Answer, Evaluated, Facts, Need, Node, Stop, TemplateError};
//!
//! fn body(node: &Node, fetch: impl Fn(&Need) -> Answer) -> Result<Evaluated, TemplateError> {
//!     let mut facts = Facts::default();
//!     loop {
//!         match node.body(&facts) {
//!             Ok(body) => return Ok(body),
//!             Err(Stop::Invalid(error)) => return Err(*error),
//!             Err(Stop::Missing(needs)) => {
//!                 for need in needs.certain {
//!                     let answer = fetch(&need);
//!                     facts.insert(need, answer);
//!                 }
//!             }
//!         }
//!     }
//! }
//! ```
//!
//! How a runner drives a deployment:
//!
//! 1. [`relaxed::parse`] the request, [`Template::read`] its `properties.template`, [`Plan::new`]. Nothing has been
//!    written yet, and circles, names that do not fit and errors in bodies have been found. Planning again with the same
//!    [`Context`] gives the same plan, so only the request and the context need to be stored.
//! 2. [`Plan::schedule`]: deploy what [`Schedule::take_ready`] hands out, in parallel; tell it what succeeded (after a
//!    crash: also what had succeeded before) and what failed, until [`Schedule::is_finished`].
//! 3. A node is done according to its [`NodeKind`]: PUT its [`Node::body`]; or run the plan that [`Node::expand`] gives as
//!    a deployment of its own, with [`Plan::deployment_id`]; or, for an existing resource, nothing. Facts about resources
//!    grow old: start with none for each node.
//! 4. [`Plan::outputs`], when every node has succeeded.
//!
//! What is shown to anybody goes through [`Evaluated::redacted`], [`Output::shown`] and [`Plan::parameters`]; `Debug` forms
//! are safe too. Names and ids are public by nature: a template that makes a name from a secret publishes it.
//!
//! Whatever the engine cannot do is an error that names the place; no expression ever reaches a body as text.

mod context;
mod data;
mod declaration;
mod error;
mod evaluator;
mod expression;
mod formula;
mod frame;
mod functions;
mod gather;
mod id;
mod limits;
mod live;
mod parameter;
mod parser;
mod plan;
pub mod relaxed;
mod symbols;
mod template;
mod tree;
mod types;
pub mod what_if;

pub use context::{Context, Deployment, Endpoints, Mode, ResourceGroup, Subscription, environment};
pub use error::{Code, Needs, Stop, TemplateError};
pub use formula::{Formula, HOST_FUNCTIONS, Host};
pub use id::Scope;
pub use limits::Limits;
pub use live::{Answer, Facts, Live, Need, Nothing};
pub use plan::{Evaluated, Node, NodeKind, Output, Plan, Request, Schedule, Skipped};
pub use template::Template;
