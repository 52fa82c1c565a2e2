//! The Azure Resource Manager wire protocol as types: what a request may say, and what an answer looks like.
//!
//! Pure: no sockets, no SQL, no wall clock. Everything here takes bytes or text from a stranger and gives back either a
//! value that is valid by construction or an [`error::ArmError`] that can be sent as it is.
#![forbid(unsafe_code)]

pub mod api_version;
pub mod clock;
pub mod envelope;
pub mod error;
pub mod filter;
pub mod id;
pub mod json;
pub mod location;
pub mod merge;
pub mod operation;
pub mod paging;
pub mod path;
pub mod resource_type;
pub mod vocabulary;
