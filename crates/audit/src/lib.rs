//! The audit chain: what was done, in an order nobody can quietly change.
//!
//! Each [`Entry`] carries the hash of the one before it, so a changed, removed, inserted or moved entry breaks the chain at
//! its place. Now and then a [`Checkpoint`] is signed: it says how far the chain had come and with which hash. A chain
//! that was rewritten or shortened no longer agrees with the checkpoints signed before, and whoever cannot sign cannot
//! make new ones. Only a checkpoint kept elsewhere reveals what somebody does who has the signing key as well.
//!
//! This crate does no I/O: a [`Walk`] is fed with entries from wherever they are, a database or an [`export`].
#![forbid(unsafe_code)]

mod checkpoint;
mod entry;
pub mod export;
mod key;
mod walk;

pub use checkpoint::{Checkpoint, NoteError};
pub use entry::{Entry, Head, canonical};
pub use key::{KeyError, SigningKey, VerifyingKey};
pub use walk::{Broken, Fault, Intact, Walk};
