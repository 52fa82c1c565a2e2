//! What the identity service promises, tried through its public face on a real store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, unreachable_pub)]

mod access_token;
mod authorization_code;
mod certificate;
mod client_secret;
mod device_code;
mod directory;
mod discovery;
mod federated_token;
mod fixture;
mod forge;
mod https_key_source;
mod managed_identity;
mod password;
mod refresh_token;
mod secrecy;
mod signing_keys;
