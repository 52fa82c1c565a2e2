//! Images that strangers made: archives, their descriptions, and layers, read into a directory.
//!
//! Nothing in an image is trusted: not its paths, its links, its sizes, its owners, nor what it says of itself. It is read
//! by a process that sees nothing but the directory it fills (see [`confine`]).

pub mod archive;
pub mod confine;
pub mod description;
pub mod digest;
pub mod layer;
pub mod tar;
mod tree;
pub mod unpack;

pub use unpack::{Unpacked, unpack};
