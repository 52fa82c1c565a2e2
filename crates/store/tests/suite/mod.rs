//! What a store promises, each promise a function over a database of any kind.

pub(crate) mod audit;
pub(crate) mod commits;
pub(crate) mod model;
pub(crate) mod records;
pub(crate) mod resources;
pub(crate) mod schema;
