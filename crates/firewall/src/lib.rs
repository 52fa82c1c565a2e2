//! The unprivileged worker of one hub: its resolver, and the firewall that reads what connections say.
//!
//! It lives in the hub's network namespace, holds no privilege and opens nothing itself: listeners, sockets to the host's
//! resolver and the kernel's log are handed in by the agent. Everything it decides it decides by the [`view::View`] of the
//! moment, which is replaced as a whole when the plan changes.

pub mod clock;
pub mod explain;
pub mod flow_log;
pub mod pins;
pub mod resolver;
pub mod view;
