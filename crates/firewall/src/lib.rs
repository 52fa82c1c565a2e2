//! The unprivileged worker of one hub: its resolver, and the firewall that reads what connections say.
//!
//! It lives in the hub's network namespace, holds no privilege and opens nothing itself: listeners, sockets to the host's
//! resolver and the kernel's log are handed in by the agent. Everything it decides it decides by the [`view::View`] of the
//! moment, which is replaced as a whole when the plan changes.

mod admission;
mod arrival;
mod carry;
pub mod clock;
mod confine;
mod connect;
mod context;
pub mod control;
mod decision;
pub mod ending;
pub mod explain;
pub mod flow_log;
mod host;
mod http;
pub mod kernel_log;
mod live;
mod netlink;
pub mod pins;
mod relay;
pub mod resolver;
mod socket;
mod splice;
mod switch;
mod thread;
mod tls;
pub mod view;
pub mod worker;

pub use worker::{RunError, run};
