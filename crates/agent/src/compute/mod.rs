//! Instances: sandboxes behind the wall of a hub.

pub mod image;
pub mod runtime;
pub mod way;
