//! What the benches share: a server of their own, a client of it, a few statistics, and the table at the end.

pub mod api;
pub mod client;
pub mod numbers;
pub mod report;
pub mod server;
pub mod stage;

/// What may fail: a bench that cannot measure says why, and ends.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
