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
//! Whatever the engine cannot do is an error that names the place; no expression ever reaches a body as text.

mod context;
mod data;
mod declaration;
mod error;
mod evaluator;
mod expression;
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
pub use id::Scope;
pub use limits::Limits;
pub use live::{Answer, Facts, Live, Need, Nothing};
pub use plan::{Evaluated, Node, NodeKind, Output, Plan, Request, Schedule, Skipped};
pub use template::Template;
