//! Computes: what is done with them while they run.
//!
//! Every way into one is a connection to this server, authorised like a request ([`visit`]): nothing in a compute listens
//! on an address that anybody outside of it could reach.

pub(crate) mod activity;
pub(crate) mod caretaker;
mod end;
mod exec;
pub mod frame;
mod inside;
mod jupyter;
pub(crate) mod metadata;
pub(crate) mod operation;
mod proxy;
mod script_log;
mod site;
mod socket;
mod surroundings;
mod ticket;
mod tunnel;
mod visit;

pub(crate) use inside::Inside;
pub(crate) use site::divert;
pub(crate) use socket::{Session, is_asked_for as is_websocket};
pub(crate) use ticket::{Ask, DOOR};
pub(crate) use visit::APPLICATION_ACCESS;

/// What is kept of the ways into computes, in this process only.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    visits: visit::Visits,
    starts: jupyter::Starts,
    used: ticket::Used,
}
