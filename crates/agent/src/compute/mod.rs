//! Instances: sandboxes behind the wall of a hub.

mod check;
mod confinement;
mod deed;
pub mod engine;
pub mod fake;
pub mod image;
pub mod keeper;
pub mod leftover;
pub mod manager;
mod metadata;
pub mod missing;
pub mod oci;
pub mod permits;
pub mod probe;
pub mod record;
pub mod runtime;
mod script;
pub mod surroundings;
#[cfg(test)]
mod testing;
pub mod walls;
pub mod way;
