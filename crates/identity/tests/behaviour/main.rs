//! What the identity service promises, tried through its public face on a real store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, unreachable_pub)]

mod client_secret;
mod fixture;
